"""Parts of a sweep: the compiled program and the store of each box (see `jaxreg.lab.sweeps.boxes`)."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from jaxreg.lab.sweeps.boxes import Box, Design
from jaxreg.lab.sweeps.dataset import Coordinates, with_missing
from jaxreg.lab.sweeps.grid import SOME, Grid, make_grid, storable
from jaxreg.lab.sweeps.growth import (
    as_wide_as_needed,
    cut_labels,
    extended,
    find_grown,
    newest,
    resumed,
    rows_there,
    take_over,
)
from jaxreg.lab.sweeps.joined import JOINED, Chunked, Joined, as_dataset, find_joined, union, write_joined
from jaxreg.lab.sweeps.keeping import rule_of
from jaxreg.lab.sweeps.lanes import BATCHED
from jaxreg.lab.sweeps.manifest import Manifest, Variable
from jaxreg.lab.sweeps.memory import InMemoryStore
from jaxreg.lab.sweeps.options import SweepOptions
from jaxreg.lab.sweeps.program import Program
from jaxreg.lab.sweeps.runners import Carried, ChunkRunner, ExecutorRunner, LocalRunner
from jaxreg.lab.sweeps.segments import SEGMENT
from jaxreg.lab.sweeps.store import OtherSweepError, Store, create, difference, find_manifest
from jaxreg.lab.sweeps.structures import remember


@dataclass(frozen=True)
class Part:
    """The runs of a sweep that share one compiled program, with their runner and their store.

    The label lists the choices of this program, such as "optimizer=adam". It is empty for a sweep without choices.
    """

    runner: ChunkRunner
    store: Store | InMemoryStore
    whole: Chunked
    segment: int = 0
    label: str = ""

    def lanes(self, number: int) -> np.ndarray:
        """Return the indices of the runs in a chunk, counted over all runs of the program."""
        lanes = np.array(self.store.manifest.chunks.lanes(number))
        own = self.store.coords() or {}
        return own[SOME][1][lanes] if SOME in own else lanes

    def points(self, number: int) -> dict[str, np.ndarray]:
        """Return the coordinates of the runs in a chunk, with one value per run.

        For an axis made by `points`, the dict contains the settings instead of the axis itself.
        """
        lanes, dims = self.lanes(number), self.whole.manifest.dims
        places = dict(zip(dims, np.unravel_index(lanes, tuple(dims.values())), strict=True))
        there = {name: (dim, values) for name, (dim, values) in (self.whole.coords() or {}).items() if dim in places}
        described = {dim for name, (dim, _) in there.items() if name != dim}
        points = {name: values[places[dim]] for name, (dim, values) in there.items() if name not in described}
        return points | ({SEGMENT: np.full(len(lanes), self.segment)} if self.segment else {})

    def start(self) -> None:
        """Start compiling the program in the background, unless all chunks are stored."""
        if len(self.store.present()) < self.store.count:
            self.runner.start()


@dataclass(frozen=True)
class Arranged:
    """All parts of a sweep, one per compiled program, and their joined results."""

    parts: list[Part]
    whole: Chunked

    def dataset(self) -> xr.Dataset:
        """Return the results of all parts as an xarray dataset. Stored values are read when they are used."""
        for part in self.parts:
            if isinstance(part.store, InMemoryStore):
                part.store.gather()
        found = as_dataset(self.whole)
        store = self.parts[0].store
        return found.load() if isinstance(store, InMemoryStore) and rule_of(store.manifest) is None else found

    def close(self) -> None:
        """Cancel the chunks that have not started."""
        for part in self.parts:
            part.runner.close()


def alone(runner: ChunkRunner, grid: Grid, path: Path | None, options: SweepOptions) -> Arranged:
    """Create the store of a sweep with a single program, whose runner exists already.

    Args:
        runner: Runner of the program.
        grid: Grid of the program.
        path: Folder of the store, or None to keep results in memory.
        options: Options of the sweep.
    """
    labels = labels_of(grid.dims, runner.outputs, grid.coords(), options.coords or {})
    manifest = manifest_of(grid, runner, labels, options)
    store: Store | InMemoryStore = InMemoryStore(manifest, labels)
    if path is not None:
        store = create(path, manifest, {name: values for name, (_, values) in labels.items()})
    return Arranged([Part(runner, store, store)], store)


def arrange(design: Design, path: Path | None, options: SweepOptions) -> Arranged:
    """Trace all programs of a sweep, and open or create their stores. On a CPU, the programs are not compiled yet.

    Args:
        design: Boxes of the sweep.
        path: Folder of the store, or None to keep results in memory.
        options: Options of the sweep.
    """
    flat = path is None or design.zipped or not design.boxes[0].chosen or find_manifest(path) is not None
    if len(design.boxes) == 1 and flat:  # one choice has a folder of its own, so that others can be added
        part = _part(design.boxes[0], design.coords, options.coords or {}, path, design.zipped, options)
        return Arranged([part], part.whole)
    if path is not None:
        _check_free(path, [box.label for box in design.boxes])
    parts: list[Part] = []
    try:
        for box in design.boxes:
            known, given = along(design, box, options.coords or {})
            folder = None if path is None else path / box.label
            parts.append(_part(box, known, given, folder, False, options))
        whole = joined_parts(design, parts, options.coords or {})
    except BaseException:
        for part in parts:
            part.runner.close()
        raise
    if path is not None and not _is_within(whole, path):
        write_joined(path, whole.manifest, whole.coords(), whole.part, whole.place)
    structures = [box.run.structure for box in design.boxes]
    if all(structures):
        remember(whole.manifest.sweep, [one for one in structures if one], whole.part)
    return Arranged(parts, whole)


class Source:
    """Factory of runners for one program of a sweep. A runner computes all runs of the program, or some of them.

    Args:
        box: Box of the sweep.
        zipped: Whether the axes are combined entry by entry instead of as a product.
        options: Options of the sweep.
        old: Existing results in the store, or None. Their chunk width and compiler options are used again.
    """

    def __init__(self, box: Box, zipped: bool, options: SweepOptions, old: Chunked | None) -> None:
        identity = old.manifest.identity if old else {}
        self.box, self.grid = box, make_grid(box.over, zipped=zipped)
        self._zipped, self._options = zipped, options
        self._chunk = int(options.chunk) if options.chunk else old.manifest.chunk if old else None
        self._arranged = identity.get("lanes", BATCHED) if old else None
        self._compiled = identity.get("compiled")
        self._names_cores = old is None or "cores" in identity
        self._first: Program | ExecutorRunner
        self._first = self._program(self.grid) if options.executor is None else self._sent(None)

    def runner(self, lanes: np.ndarray | None = None, carried: Carried | None = None) -> ChunkRunner:
        """Return a runner for all runs of the program, or for a selection of them.

        Args:
            lanes: Indices of the selected runs; None for all runs.
            carried: Function that returns the state at which a chunk begins; None for the first segment.
        """
        if isinstance(self._first, Program):
            return LocalRunner(self._first if lanes is None else self._first.on(lanes), None, carried)
        return (self._first if lanes is None else self._sent(lanes)).going_on(carried)

    def runner_over(self, grid: Grid) -> ChunkRunner:
        """Return a runner for the same function on another grid, to compare the two programs."""
        return LocalRunner(self._program(grid))

    def _program(self, grid: Grid) -> Program:
        box, devices = self.box, self._options.devices
        program = Program(box.run, grid, self._chunk, devices, arranged=self._arranged, begin=box.begin)
        if self._compiled is not None:
            program.compile_as(self._compiled)
        program.names_cores = self._names_cores
        return program

    def _sent(self, lanes: np.ndarray | None) -> ExecutorRunner:
        executor, box = self._options.executor, self.box
        assert executor is not None
        chunk, arranged = self._chunk, self._arranged
        if lanes is not None:  # a part of the runs is computed like all of them, also when the sweep is continued
            chunk, arranged = self._first.chunk, self._first.arranged
        return ExecutorRunner(executor, box.run, box.over, self._zipped, chunk, lanes, arranged, box.begin)


def _part(
    box: Box,
    known: Coordinates,
    given: Mapping[str, Any],
    path: Path | None,
    zipped: bool,
    options: SweepOptions,
) -> Part:
    old = None if path is None else newest(path)
    return placed(Source(box, zipped, options, old), known, given, path, options)


def placed(
    source: Source,
    known: Coordinates,
    given: Mapping[str, Any],
    path: Path | None,
    options: SweepOptions,
    segment: int = 0,
    carried: Carried | None = None,
    grows: bool = True,
) -> Part:
    """Open or create the store of a program. Stored chunks are reused.

    Args:
        source: Source of runners for the program.
        known: Coordinates of the axes.
        given: Coordinates that the user passed to `sweep`.
        path: Folder of the store, or None to keep results in memory.
        options: Options of the sweep.
        segment: Number of the segment, counted from 1; 0 for a sweep without segments.
        carried: Function that returns the state at which a chunk begins; None for the first segment.
        grows: Whether the stored results of a smaller sweep may be used again.
    """
    old = None if path is None else newest(path)
    grid, runner, label = source.grid, source.runner(None, carried), source.box.label if source.box.chosen else ""
    try:
        labels = labels_of(grid.dims, runner.outputs, {**grid.coords(), **known}, given)
        manifest = manifest_of(grid, runner, labels, options, segment)
        if source.box.run.structure is not None:
            remember(manifest.sweep, [source.box.run.structure])
        if path is None:
            store = InMemoryStore(manifest, labels)
            return Part(runner, store, store, segment, label)
        _check_callbacks(manifest)
        base, values = find_manifest(path), {name: array for name, (_, array) in labels.items()}
        if old is None or manifest.sweep == (base and base.sweep):
            kept = create(path, manifest, values)
            return Part(runner, kept, kept, segment, label)
        if old.manifest.sweep != manifest.sweep:
            old = find_grown(path, manifest.sweep) or old
        if isinstance(old, Joined) and old.manifest.sweep == manifest.sweep:
            whole = resumed(old)
        else:
            rows = rows_there(old, labels, manifest.dims) if grows else None
            cut, along = (grid.take(rows), cut_labels(labels, rows)) if rows else (grid, labels)
            smaller = rows and manifest_of(cut, source.runner_over(cut), along, options, segment)
            if not rows or not smaller or smaller.identity != old.manifest.identity:
                raise OtherSweepError(
                    f"the store {path} belongs to another sweep: "
                    f"{difference(old.manifest, old.coords(), manifest, values)}"
                )
            whole = take_over(old, rows, manifest, labels)
        if whole is not old:
            new = np.flatnonzero(whole.part < 0)
            some = replace(grid, lanes=new)
            added = manifest_of(some, runner, some.coords(), options, segment) if new.size else None
            whole = extended(path, whole, added)
        last = whole.parts[-1]
        if not isinstance(last, Store):
            raise OtherSweepError(
                f"the store {path} belongs to a sweep with several compiled programs, but this sweep has only one: use "
                "another folder"
            )
        return Part(source.runner(whole.lanes_of_last(), carried), last, whole, segment, label)
    except BaseException:
        runner.close()
        raise


def along(design: Design, box: Box, given: Mapping[str, Any]) -> tuple[Coordinates, dict[str, Any]]:
    """Return the coordinates of one program: the values of its axes, and the user's own coordinates."""
    rows = dict(zip(box.over, box.rows, strict=True))
    taken = {name: slice(None) if row is None else row for name, row in rows.items()}
    known = {name: (dim, as_wide_as_needed(values[taken[dim]])) for name, (dim, values) in design.coords.items()}
    ours: dict[str, Any] = {}
    for name, values in given.items():
        dim = design.coords[name][0] if name in design.coords else name
        row = rows.get(dim)
        if row is None:
            ours |= {name: values} if dim in rows else {}
        elif len(values) != design.sizes[dim]:
            raise ValueError(f"coords[{name!r}] has length {len(values)}; expected {design.sizes[dim]}")
        else:
            ours[name] = as_wide_as_needed(np.asarray(values)[row])
    return known, ours


def joined_parts(design: Design, parts: list[Part], given: Mapping[str, Any]) -> Joined:
    """Join the parts of a sweep: find the dimensions of the joined results, and the store of each run."""
    manifests = [part.whole.manifest for part in parts]
    dims = {name: design.sizes.get(name, size) for name, size in manifests[0].dims.items()}
    first = parts[0].whole.coords() or {}
    plain = {name: first[name] for name in dims if name not in design.sizes}
    numbered = {name: (name, np.arange(size)) for name, size in design.sizes.items()}
    outputs = union([manifest.outputs for manifest in manifests])
    labels = labels_of(dims, outputs, {**numbered, **plain, **design.coords}, given)
    labels = {name: labels[name] for name in [*dims, *labels]}
    names = dict.fromkeys(name for manifest in manifests for name in manifest.identity if name != "keep")
    identity = {name: _shared([manifest.identity.get(name, "") for manifest in manifests]) for name in names}
    identity["grid"] = digest_of(labels, " ".join(manifest.sweep for manifest in manifests))
    shown = {"grid": " x ".join(f"{name} ({size})" for name, size in dims.items())}
    part, place = (np.empty(tuple(dims.values()), kind) for kind in (np.int32, np.int64))
    for number, (box, manifest) in enumerate(zip(design.boxes, manifests, strict=True)):
        here = np.ix_(*(np.arange(n) if r is None else r for n, r in zip(dims.values(), box.rows, strict=True)))
        part[here] = number
        place[here] = np.arange(manifest.lanes).reshape(tuple(manifest.dims.values()))
    whole = Manifest(
        identity=identity,
        dims=dims,
        chunk=max(manifest.chunk for manifest in manifests),
        coords={name: dim for name, (dim, _) in labels.items()},
        outputs=outputs,
        attrs={
            **manifests[0].attrs,
            **identity,
            **shown,
            "parts": [box.label for box in design.boxes],
            "sweeps": [manifest.sweep for manifest in manifests],
        },
    )
    return Joined(whole, labels, [part.whole for part in parts], part.ravel(), place.ravel())


def _is_within(whole: Joined, path: Path) -> bool:
    """Return whether the joined results in the folder `path` contain all runs of `whole` and more, after a growth."""
    try:
        larger = find_joined(path)
    except (ValueError, FileNotFoundError):
        return False
    if larger is None or "sweeps" not in larger.manifest.attrs:
        return False
    if larger.manifest.lanes <= whole.manifest.lanes or _of_outputs(larger) != _of_outputs(whole):
        return False
    return rows_there(whole, larger.coords(), larger.manifest.dims) is not None


def _of_outputs(whole: Joined) -> dict[str, tuple[str, list[Any]]]:
    """Return the coordinates of the dimensions that only the outputs have."""
    coords = whole.coords().items()
    return {name: (dim, values.tolist()) for name, (dim, values) in coords if dim not in whole.manifest.dims}


def _shared(values: list[str]) -> str:
    """Return the common value if all values are equal, otherwise a hash of all values."""
    return values[0] if len(set(values)) == 1 else hashlib.sha256(" ".join(values).encode()).hexdigest()


def _check_free(path: Path, parts: list[str]) -> None:
    """Raise if a folder contains anything other than the stores of the given parts."""
    if find_manifest(path) is not None:
        raise OtherSweepError(
            f"the store {path} belongs to a sweep with a single compiled program, but this sweep has several: use "
            "another folder"
        )
    if not path.exists() or (path / JOINED).exists():
        return
    others = {entry.name for entry in path.iterdir() if not entry.name.startswith((".", "joined-"))} - set(parts)
    if others:
        raise ValueError(f"the folder {path} holds other files ({sorted(others)[0]}): use an empty folder")


def digest_of(labels: Coordinates, of: str) -> str:
    """Return a hash of the coordinates together with a text."""
    digest = hashlib.sha256(of.encode())
    for name, (dim, values) in labels.items():
        digest.update(f"{name} {dim} {values.dtype.str} {values.shape}".encode() + values.tobytes())
    return digest.hexdigest()


def labels_of(
    dims: Mapping[str, int], outputs: Mapping[str, Variable], known: Coordinates, coords: Mapping[str, Any]
) -> dict[str, tuple[str, np.ndarray]]:
    """Return all coordinates of the results, as a dict from name to (dimension, values).

    The result contains the coordinates of the axes and the coordinates that the user passed to `sweep`.
    """
    labels = dict(known)
    sizes = dict(dims)
    if taken := labels.keys() & {*outputs, *(dim for output in outputs.values() for dim in output.dims)}:
        raise ValueError(f"{sorted(taken)[0]!r} is the name of a setting and of an output: rename one of them")
    for output in outputs.values():
        sizes |= dict(zip(output.dims, output.shape, strict=True))
    for name, values in coords.items():
        dim = labels[name][0] if name in labels else name
        try:
            array = np.asarray(values)
        except ValueError:
            raise ValueError(f"coords[{name!r}] is ragged: give it one value per entry of {name!r}") from None
        if dim not in sizes:
            raise ValueError(
                f"`coords` has an entry {name!r}, which is not a dimension; expected one of {sorted(sizes)}"
            )
        if array.shape != (sizes[dim],):
            raise ValueError(f"coords[{name!r}] has shape {array.shape}; expected ({sizes[dim]},)")
        if array.dtype == object:
            array = xr.Variable(dim, array).values  # Python's datetimes become NumPy's
        labels[name] = (dim, storable(array))
    return labels


def _check_callbacks(manifest: Manifest) -> None:
    """Raise if a program with a store calls code outside of JAX, and the user passed no `token`."""
    if "callbacks" in manifest.identity and "token" not in manifest.identity:
        raise ValueError(
            f"`run` calls Python code outside of JAX ({manifest.identity['callbacks']}), and a store can't notice when "
            "that code changes. Pass the version of the code as `token`, such as token='1', and change it with the "
            "code. Or remove `store`"
        )


def manifest_of(
    grid: Grid, runner: ChunkRunner, labels: Coordinates, options: SweepOptions, segment: int = 0
) -> Manifest:
    """Return the manifest for the results that a runner will compute."""
    outputs, token = dict(runner.outputs), options.token
    named = {**({"token": token} if token else {}), **({SEGMENT: str(segment)} if segment else {})}
    if options.keep is not None:
        named["keep"] = options.keep.written(outputs)
        for name in options.keep.large(outputs):
            outputs[name] = replace(outputs[name], dtype=with_missing(outputs[name].dtype))
    identity = {**runner.identity, **named, "grid": digest_of(labels, grid.digest())}
    return Manifest(
        identity=identity,
        dims=grid.dims,
        chunk=runner.chunk,
        coords={name: dim for name, (dim, _) in labels.items()},
        outputs=outputs,
        attrs={**identity, "grid": grid.describe(), "chunk": runner.chunk, "numpy": np.__version__},
    )
