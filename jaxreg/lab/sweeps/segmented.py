"""Sweep in segments: one store per segment. A segment begins at the states that the previous segment stored.

The folders ``segment-00000``, ``segment-00001``, … are complete stores. ``joined.json`` joins them along the dimension
``segment``. Each chunk has a second file, with the final states of its runs. This file is removed when the next segment
is finished. If states are lost before they are used, their chunk is computed again.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from jaxreg.lab.sweeps.boxes import Design
from jaxreg.lab.sweeps.dataset import Coordinates, with_missing
from jaxreg.lab.sweeps.grid import SOME
from jaxreg.lab.sweeps.growth import newest
from jaxreg.lab.sweeps.joined import JOINED, STOPPED, Chunked, Joined, as_dataset, find_joined, write_joined
from jaxreg.lab.sweeps.manifest import Manifest
from jaxreg.lab.sweeps.memory import InMemoryStore
from jaxreg.lab.sweeps.options import SweepOptions
from jaxreg.lab.sweeps.outputs import Arrays
from jaxreg.lab.sweeps.parts import Part, Source, along, digest_of, joined_parts, labels_of, manifest_of, placed
from jaxreg.lab.sweeps.runners import Carried
from jaxreg.lab.sweeps.segments import SEGMENT, best_half
from jaxreg.lab.sweeps.store import OtherSweepError, create, find_manifest
from jaxreg.lab.sweeps.structures import remember


class LostStateError(Exception):
    """Error for a chunk whose runs can't continue, because the stored states of the previous segment can't be read.

    Args:
        part: Part of the sweep to which the chunk belongs.
        number: Number of the chunk.
        before: Results of the previous segment.
        lost: Numbers of the chunks of the previous segment whose states are lost.
    """

    def __init__(self, part: Part, number: int, before: Chunked, lost: list[int]) -> None:
        super().__init__("; ".join(f"the state of {before.file(one)} is lost" for one in lost))
        self.part, self.number, self.before, self.lost = part, number, before, lost


class LostLossesError(Exception):
    """Error for a segment that can't start because losses can't be read. These losses decide which runs continue.

    Args:
        before: Results of the previous segment.
        lost: Numbers of the chunks that can't be read.
    """

    def __init__(self, before: Chunked, lost: list[int]) -> None:
        super().__init__("; ".join(f"{before.file(one)} is lost" for one in lost))


class SegmentedSweep:
    """A sweep of long runs, computed segment by segment.

    Each compiled program has one `Part` per segment.

    Args:
        design: Boxes of the sweep.
        path: Folder of the store, or None to keep results in memory.
        options: Options of the sweep.
    """

    def __init__(self, design: Design, path: Path | None, options: SweepOptions) -> None:
        assert options.segments is not None
        self.segments, self._design, self._path = options.segments, design, path
        given = dict(options.coords or {})
        self._labels = given.pop(SEGMENT, range(1, self.segments.count + 1))
        self._options = replace(options, coords=given)
        if jax.process_count() > 1:
            raise ValueError(
                "`segments` doesn't work with jax.distributed. Instead, start separate processes that share one store"
            )
        if self.segments.halve is not None and len(design.boxes) > 1:
            raise ValueError(
                f"the sweep needs {len(design.boxes)} compiled programs, but `halve` allows only one. Each string on "
                "an axis, each value of choices(…) and the value None needs its own program. Call `sweep` once for "
                "each of them, or leave out `halve`"
            )
        if path is not None:
            _check_free(path)
        self._sources = [
            Source(box, design.zipped, self._options, self._old(number)) for number, box in enumerate(design.boxes)
        ]
        self._parts: list[list[Part]] = []
        while len(self._parts) < self.segments.count and self._known(len(self._parts)):
            self._parts.append(self._made(len(self._parts)))
        self._check_halving()
        self.whole = self._joined()

    @property
    def lanes(self) -> int:
        """Number of segments of all runs together. A run that `halve` stops has fewer segments."""
        runs, total = sum(part.whole.manifest.lanes for part in self._parts[0]), 0
        for segment in range(self.segments.count):
            runs = max(1, runs // 2) if segment and self.segments.halves(segment) else runs
            total += runs
        return total

    def parts(self, segment: int) -> list[Part]:
        """Return the parts of a segment, one per compiled program. The previous segment must be finished."""
        if segment == len(self._parts):
            self._parts.append(self._made(segment))
            while len(self._parts) < self.segments.count and self._known(len(self._parts)):
                self._parts.append(self._made(len(self._parts)))
            self.whole = self._joined()
        return self._parts[segment]

    def finished(self, segment: int) -> None:
        """Remove the stored states from which a finished segment started. They are no longer needed."""
        for part in self._parts[segment - 1] if segment else ():
            part.whole.forget_states()

    def recover(self, error: LostStateError | LostLossesError, segment: int) -> bool:
        """Prepare to compute lost states or results again.

        The parts of the affected segments are created again when they are needed.

        Args:
            error: Error that says what is lost.
            segment: Index of the segment that could not start or continue.

        Returns:
            True if chunks of the previous segment must be computed again. False if another process has already finished
            the chunk that needed the lost states.
        """
        again = True
        if isinstance(error, LostStateError):
            again = error.part.store.read(error.number) is None  # another process may have finished it meanwhile
            for number in error.lost if again else ():
                error.before.drop(number)
        first = segment - again
        for parts in self._parts[first:]:
            for part in parts:
                part.runner.close()
        del self._parts[first:]
        return again

    def dataset(self) -> xr.Dataset:
        """Return the results of all segments as a dataset."""
        found = as_dataset(self.whole)
        return found.load() if self._path is None and self._options.keep is None else found

    def close(self) -> None:
        """Cancel the chunks that have not started."""
        for parts in self._parts:
            for part in parts:
                part.runner.close()

    def _folder(self, segment: int, box: int) -> str:
        label = f",{self._design.boxes[box].label}" if len(self._design.boxes) > 1 else ""
        return f"segment-{segment:05d}{label}"

    def _old(self, box: int) -> Chunked | None:
        return None if self._path is None else newest(self._path / self._folder(0, box))

    def _known(self, segment: int) -> bool:
        """Tell whether the runs of a segment are known before the previous segment is finished."""
        return not (segment and self.segments.halves(segment))

    def _made(self, segment: int) -> list[Part]:
        return [self._part(segment, box) for box in range(len(self._sources))]

    def _part(self, segment: int, box: int) -> Part:
        source, design = self._sources[box], self._design
        path = None if self._path is None else self._path / self._folder(segment, box)
        before = self._parts[segment - 1][box] if segment else None
        found: list[Part] = []
        carried = _carried(found, before) if before else None
        stays = self._going_on(segment) if before else None
        if before is None or stays is None:
            known, given = design.coords, self._options.coords or {}
            if len(design.boxes) > 1:
                known, given = along(design, source.box, given)
            grows = self.segments.halve is None  # more runs would be others that stop
            part = placed(source, known, given, path, self._options, segment + 1, carried, grows)
        else:
            part = self._some(source, before, stays, path, segment + 1, carried)
        found.append(part)
        return part

    def _going_on(self, segment: int) -> np.ndarray | None:
        """Return the indices of the runs that continue in a segment, or None for all runs."""
        before = self._parts[segment - 1][0]
        own = before.store.coords() or {}
        lanes = own[SOME][1] if SOME in own and self.segments.halve else None
        if not self.segments.halves(segment):
            return lanes
        lanes = np.arange(before.whole.manifest.lanes) if lanes is None else lanes
        losses, lost = _rows(before.whole, lanes, before.whole.read)
        if lost:
            raise LostLossesError(before.whole, lost)
        return lanes[best_half(losses[self.segments.halve or ""])]

    def _some(
        self, source: Source, before: Part, lanes: np.ndarray, path: Path | None, segment: int, carried: Carried | None
    ) -> Part:
        """Return the part of a segment in which only the given runs continue."""
        runner = source.runner(lanes, carried)
        grid = replace(source.grid, lanes=lanes)
        manifest = manifest_of(grid, runner, grid.coords(), self._options, segment)
        store = InMemoryStore(manifest, grid.coords()) if path is None else create(path, manifest, {SOME: lanes})
        whole = before.whole
        part, place = np.full(whole.manifest.lanes, STOPPED, np.int32), np.zeros(whole.manifest.lanes, np.int64)
        part[lanes], place[lanes] = 0, np.arange(len(lanes))
        return Part(runner, store, Joined(whole.manifest, whole.coords() or {}, [store], part, place), segment)

    def _check_halving(self) -> None:
        halve, outputs = self.segments.halve, self._parts[0][0].runner.outputs
        if halve is None:
            return
        one = [name for name, v in outputs.items() if not v.shape and np.dtype(v.dtype).kind in "iuf"]
        if halve not in one:
            raise ValueError(
                f"`halve` is {halve!r}; expected the name of an output with one number per run (here "
                f"{' or '.join(map(repr, one)) or 'there is none'})"
            )
        manifest = self._parts[0][0].whole.manifest
        if "segments" in manifest.outputs or "segments" in manifest.coords:
            raise ValueError(
                "'segments' is the name of an axis, setting or output, but a sweep with `halve` reserves this name: "
                "rename the axis, setting or output"
            )

    def _joined(self) -> Joined:
        """Join the segments whose runs are known: find the joint layout, and the store of each run in each segment."""
        design, count, first = self._design, self.segments.count, self._parts[0]
        base = first[0].whole if len(first) == 1 else joined_parts(design, first, self._options.coords or {})
        manifest, shape = base.manifest, (base.manifest.lanes, count)
        own = base.part if isinstance(base, Joined) and len(first) > 1 else np.zeros(manifest.lanes, np.int32)
        home = base.place if isinstance(base, Joined) and len(first) > 1 else np.arange(manifest.lanes)
        part, place = np.full(shape, -1, np.int32), np.zeros(shape, np.int64)
        stores: list[Chunked] = []
        for number, parts in enumerate(self._parts):
            part[:, number], place[:, number] = own + len(stores), home
            one = parts[0]
            if self.segments.halve and isinstance(one.whole, Joined) and SOME in (one.store.coords() or {}):
                stays = one.whole.part >= 0
                part[:, number] = np.where(stays, len(stores), STOPPED)
                place[:, number] = one.whole.place
                stores.append(one.store)
            else:
                stores += [one.whole for one in parts]
        dims = {**manifest.dims, SEGMENT: count}
        outputs = manifest.outputs
        if self.segments.halve:
            outputs = {name: replace(v, dtype=with_missing(v.dtype)) for name, v in outputs.items()}
        known: Coordinates = {**(base.coords() or {}), SEGMENT: (SEGMENT, np.arange(count))}
        labels = labels_of(dims, outputs, known, {SEGMENT: self._labels})
        identity = {name: value for name, value in manifest.identity.items() if name not in (SEGMENT, "keep")}
        identity["grid"] = digest_of(labels, " ".join(store.manifest.sweep for store in stores))
        names = [self._folder(number, box) for number in range(len(self._parts)) for box in range(len(first))]
        shown: dict[str, Any] = {"grid": " x ".join(f"{name} ({size})" for name, size in dims.items())}
        shown |= {"parts": names, "sweeps": [store.manifest.sweep for store in stores]}
        attrs = (
            {name: value for name, value in manifest.attrs.items() if name not in (SEGMENT, "keep")} | identity | shown
        )
        coords = {name: dim for name, (dim, _) in labels.items()}
        whole = Manifest(identity, dims, manifest.chunk, coords, outputs, attrs)
        self._remember(whole, own)
        joined = Joined(whole, labels, stores, part.ravel(), place.ravel())
        if self._path is not None and not self._has_more(names):
            write_joined(self._path, whole, labels, joined.part, joined.place)
        return joined

    def _has_more(self, names: list[str]) -> bool:
        """Tell whether the store has these segments and later ones."""
        try:
            found = find_joined(self._path) if self._path else None
        except (ValueError, FileNotFoundError):
            return False
        there = list(found.manifest.attrs["parts"]) if found else []
        return len(there) > len(names) and there[: len(names)] == names

    def _remember(self, whole: Manifest, own: np.ndarray) -> None:
        structures = [source.box.run.structure for source in self._sources]
        if all(structures):
            remember(whole.sweep, [one for one in structures if one], np.repeat(own, self.segments.count))


def _carried(parts: list[Part], before: Part) -> Carried:
    """Return a function that reads the states at which a chunk begins. The caller adds its part to `parts` later."""

    def carried(number: int) -> Arrays:
        (part,) = parts
        names = part.runner.states
        state, lost = _rows(before.whole, part.lanes(number), lambda one: before.whole.state(one, names))
        if lost:
            raise LostStateError(part, number, before.whole, lost)
        return {name: state[name] for name in sorted(names, key=lambda name: int(name.rpartition("/")[2]))}

    return carried


def _rows(
    whole: Chunked, lanes: np.ndarray, read: Callable[[int], Mapping[str, np.ndarray] | None]
) -> tuple[dict[str, Any], list[int]]:
    """Return the arrays of the given runs, and the indices of the chunks that can't be read."""
    numbers, places = whole.find(lanes)
    found: dict[str, np.ndarray] = {}
    lost = []
    for number in np.unique(numbers).tolist():
        arrays = read(number)
        if arrays is None:
            lost.append(number)
            continue
        rows = numbers == number
        for name, values in arrays.items():
            if name not in found:
                found[name] = np.empty((len(lanes), *values.shape[1:]), values.dtype)
            found[name][rows] = values[places[rows]]
    return found, lost


def _check_free(path: Path) -> None:
    """Raise if a folder contains anything other than segments."""
    if find_manifest(path) is not None:
        raise OtherSweepError(
            f"the store {path} belongs to a sweep without segments, but this sweep has segments: use another folder"
        )
    if not path.exists():
        return
    names = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith((".", "joined-", "segment-")))
    if others := [name for name in names if name != JOINED]:
        raise ValueError(f"the folder {path} holds other files ({others[0]}): use an empty folder")
