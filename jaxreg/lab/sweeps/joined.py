"""Several stores that are read as one store. They come from several programs, or from a sweep that has grown.

``joined.json`` is the manifest of the joined results. Its attribute ``parts`` lists the folders of the stores in order.
The name "." means the folder of ``joined.json`` itself. Its attribute ``sweeps`` lists the hash of the sweep in each
store (`Manifest.sweep`), because a folder can later contain a larger sweep. The file ``joined-<hash>.npz`` contains the
coordinates. For each run, it also contains the number of the store, and the number of the run inside of this store.
Each store is complete by itself. In a sweep with `Segments`, every segment of a run counts as a run here.
"""

from collections.abc import Sequence, Set
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xarray as xr
from xarray.backends import BackendEntrypoint

from jaxreg.lab.atomic_files import _write
from jaxreg.lab.sweeps.dataset import Coordinates, Read, dataset, with_missing
from jaxreg.lab.sweeps.keeping import Keeping
from jaxreg.lab.sweeps.manifest import DamagedError, Manifest, Variable
from jaxreg.lab.sweeps.places import place_of
from jaxreg.lab.sweeps.store import Store, _read_manifest, _read_sealed, _write_sealed, open_folder

JOINED = "joined.json"
STOPPED = -2
"""Part number of a segment that is never computed, because its run was stopped after an earlier segment."""
_PART, _PLACE = " part", " place"  # no name of a coordinate begins with a space
_DEEPEST = 3
"""Most joined stores around a joined store. A segment, and the grown store of one choice, are inside of one."""
_KEPT = 2**28
"""Bytes of recent chunks that a dataset keeps in memory, so that reading several outputs reads a chunk only once."""


class Chunked(Protocol):
    """Interface of stored results: a single store, or several stores that are read as one.

    Runs are stored in numbered chunks.
    """

    @property
    def manifest(self) -> Manifest:
        """Manifest: names, dimensions, shapes and types of the results."""

    @property
    def count(self) -> int:
        """Number of chunks."""

    def find(self, lanes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the chunk index of each run, and the position of the run in its chunk."""

    def has(self, number: int) -> bool:
        """Return whether a chunk is stored."""

    def present(self) -> set[int]:
        """Return the indices of the stored chunks."""

    def read(self, number: int) -> dict[str, np.ndarray] | None:
        """Return the arrays of a chunk, or None if the chunk is missing or damaged."""

    def file(self, number: int) -> Path:
        """Return the path of the file of a chunk, whether or not the file exists."""

    def stores(self) -> list[Keeping]:
        """Return the individual stores that hold the results, as a flat list."""

    def state(self, number: int, names: Set[str]) -> dict[str, np.ndarray] | None:
        """Return the final states of the runs in a chunk, or None if the states are missing or damaged."""

    def forget_states(self) -> None:
        """Remove the stored final states of all runs."""

    def drop(self, number: int) -> None:
        """Remove a chunk from the store, so that it is computed again."""

    def coords(self) -> Coordinates | None:
        """Return the coordinates as a dict from name to (dimension, values); None if they are damaged."""


class Joined:
    """Several stores that are read as one.

    Args:
        manifest: Layout of the joined results.
        coords: Coordinates of the joined results.
        parts: Stores that are joined.
        part: Index in `parts` of the store of each run; -1 for a missing run, `STOPPED` for a run that is never
            computed. In a sweep with `Segments`, every segment of a run counts as a run.
        place: Number of each run inside of its store.
    """

    def __init__(
        self, manifest: Manifest, coords: Coordinates, parts: Sequence[Chunked], part: np.ndarray, place: np.ndarray
    ) -> None:
        self.manifest = manifest
        self.parts, self.part, self.place = parts, part, place
        self._coords = coords
        self._starts = np.concatenate([[0], np.cumsum([part.count for part in parts])])
        self.count = int(self._starts[-1])

    def find(self, lanes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the chunk index of each run, and the position of the run in its chunk.

        The chunk index is -1 for a missing run, and `STOPPED` for a run that is never computed.
        """
        numbers, places = np.where(self.part[lanes] == STOPPED, STOPPED, -1), np.zeros(lanes.shape, int)
        for number, part in enumerate(self.parts):
            here = self.part[lanes] == number
            chunks, places[here] = part.find(self.place[lanes[here]])
            numbers[here] = np.where(chunks < 0, -1, chunks + self._starts[number])
        return numbers, places

    def unreadable(self, parts: int) -> np.ndarray:
        """Return a mask of the runs in the first `parts` stores that cannot be read."""
        numbers, _ = self.find(np.arange(self.manifest.lanes))
        needed = np.unique(numbers[(numbers >= 0) & (self.part < parts)])
        return np.isin(numbers, [number for number in needed if self.read(int(number)) is None])

    @property
    def stopped(self) -> int:
        """Number of segments that are never computed, because their run was stopped after an earlier segment."""
        return int((self.part == STOPPED).sum())

    def lanes_of_last(self) -> np.ndarray:
        """Return the indices of the runs in the last of the joined stores, in the order of that store."""
        lanes = np.flatnonzero(self.part == len(self.parts) - 1)
        return lanes[np.argsort(self.place[lanes])]

    def has(self, number: int) -> bool:
        """Return whether a chunk is stored."""
        part, own = self._own(number)
        return part.has(own)

    def present(self) -> set[int]:
        """Return the indices of the stored chunks."""
        starts = map(int, self._starts)
        return {start + number for start, part in zip(starts, self.parts, strict=False) for number in part.present()}

    def read(self, number: int) -> dict[str, np.ndarray] | None:
        """Return the arrays of a chunk, or None if the chunk is missing or damaged."""
        part, own = self._own(number)
        return part.read(own)

    def file(self, number: int) -> Path:
        """Return the path of the file of a chunk, whether or not the file exists."""
        part, own = self._own(number)
        return part.file(own)

    def stores(self) -> list[Keeping]:
        """Return the individual stores that hold the results, as a flat list."""
        return [store for part in self.parts for store in part.stores()]

    def state(self, number: int, names: Set[str]) -> dict[str, np.ndarray] | None:
        """Return the final states of the runs in a chunk, or None if the states are missing or damaged."""
        part, own = self._own(number)
        return part.state(own, names)

    def forget_states(self) -> None:
        """Remove the stored final states of all runs."""
        for part in self.parts:
            part.forget_states()

    def drop(self, number: int) -> None:
        """Remove a chunk from the store, so that it is computed again."""
        part, own = self._own(number)
        part.drop(own)

    def coords(self) -> Coordinates:
        """Return the coordinates of the results, as a dict from name to (dimension, values)."""
        return self._coords

    def _own(self, number: int) -> tuple[Chunked, int]:
        part = int(np.searchsorted(self._starts, number, side="right")) - 1
        return self.parts[part], number - int(self._starts[part])


def union(outputs: Sequence[dict[str, Variable]]) -> dict[str, Variable]:
    """Merge the descriptions of the outputs (names, dimensions and types) of several programs.

    If an output is longer in some programs than in others, the merged output has the largest length. Where an output is
    missing or shorter, it is filled with NaN.

    Raises:
        ValueError: If an output has different dimensions in two programs, or two merged outputs have different lengths
            along the same dimension.
    """
    joined: dict[str, Variable] = {}
    for name in dict.fromkeys(name for one in outputs for name in one):
        found = [one[name] for one in outputs if name in one]
        if len({variable.dims for variable in found}) > 1:
            dims = " and ".join(sorted({str(variable.dims) for variable in found}))
            raise ValueError(
                f"output {name!r} has different dimensions in different runs, {dims}; expected the same dimensions in "
                "all runs"
            )
        dtype = np.result_type(*(np.dtype(variable.dtype) for variable in found)).name
        gaps = len(found) < len(outputs) or len({variable.shape for variable in found}) > 1
        shape = tuple(max(sizes) for sizes in zip(*(variable.shape for variable in found), strict=True))
        joined[name] = Variable(found[0].dims, shape, with_missing(dtype) if gaps else dtype)
    lengths: dict[str, int] = {}
    for name, variable in joined.items():
        for dim, length in zip(variable.dims, variable.shape, strict=True):
            if lengths.setdefault(dim, length) != length:
                raise ValueError(
                    f"dimension {dim!r} has length {length} in output {name!r} and {lengths[dim]} in another output: "
                    "give the two dimensions different names"
                )
    return joined


def write_joined(path: Path, manifest: Manifest, coords: Coordinates, part: np.ndarray, place: np.ndarray) -> None:
    """Write ``joined.json`` and ``joined-<hash>.npz``, the two files that make several stores readable as one store.

    Args:
        path: Folder of the joined stores. It is created if needed.
        manifest: Manifest of the joined results. Its attribute ``parts`` lists the folders of the stores.
        coords: Coordinates of the joined results.
        part: Index of the store of each run; -1 for a missing run, `STOPPED` for a run that is never computed.
        place: Number of each run inside of its store.
    """
    path.mkdir(parents=True, exist_ok=True)
    arrays = {name: values for name, (_, values) in coords.items()}
    _write_sealed(_map_file(path, manifest), {**arrays, _PART: part, _PLACE: place}, _seal_of(manifest))
    _write(path / JOINED, manifest.encode())


def find_joined(path: Path, depth: int = 0, name: str = JOINED) -> Joined | None:
    """Return the joined stores of a folder, or None if the folder has no ``joined.json``.

    Args:
        path: Folder of the joined stores.
        depth: Number of joined stores around this one, if joined stores are nested.
        name: Name of the file that joins the stores.

    Raises:
        ValueError: If one of the files that join the stores is damaged.
    """
    try:
        manifest = _read_manifest(path / name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (DamagedError, IsADirectoryError):
        raise ValueError(
            f"{path / name} is damaged: delete this file and run the same sweep again to repair the store"
        ) from None
    names = manifest.attrs.get("parts")
    if not isinstance(names, list) or not names or not all(map(_is_folder_name, names)):
        raise ValueError(
            f"{path / name} is damaged: it does not list the names of the joined stores. Delete this file and run the "
            "same sweep again"
        )
    if depth > _DEEPEST:
        raise ValueError(
            f"{path / name} is damaged: joined stores are nested more than {_DEEPEST} deep. Delete this file and run "
            "the same sweep again"
        )
    names_there = manifest.coords.keys() | {_PART, _PLACE}
    arrays = _read_sealed(_map_file(path, manifest), _seal_of(manifest), names_there)
    if arrays is None or not _fits(arrays, manifest, len(names)):
        raise ValueError(f"{_map_file(path, manifest)} is damaged: run the same sweep again to repair the store")
    sweeps = manifest.attrs.get("sweeps", [None] * len(names))
    if not isinstance(sweeps, list) or len(sweeps) != len(names):
        raise ValueError(
            f"{path / name} is damaged: it does not list one sweep per joined store. Delete this file and run the same "
            "sweep again"
        )
    part, place = arrays.pop(_PART), arrays.pop(_PLACE)
    coords = {name: (manifest.coords[name], values) for name, values in arrays.items()}
    parts = {one: _open_part(path, *one, depth) for one in dict.fromkeys(zip(names, map(_text, sweeps), strict=True))}
    return Joined(manifest, coords, [parts[one] for one in zip(names, map(_text, sweeps), strict=True)], part, place)


def _fits(arrays: dict[str, np.ndarray], manifest: Manifest, parts: int) -> bool:
    """Tell whether the store and the number of each run are valid for a manifest."""
    part, place = arrays[_PART], arrays[_PLACE]
    whole = part.shape == place.shape == (manifest.lanes,) and part.dtype == np.int32 and place.dtype == np.int64
    return whole and bool((part >= STOPPED).all() and (part < parts).all() and (place >= 0).all())


def _open_part(path: Path, name: str, sweep: str, depth: int) -> Chunked:
    """Open the results of a sweep in the folder `name`; the newest ones if `sweep` is empty."""
    if name == ".":
        return open_folder(path)
    found: Chunked = find_joined(path / name, depth + 1) or open_folder(path / name)
    if sweep in ("", found.manifest.sweep):
        return found
    earlier = find_joined(path / name, depth + 1, grown_file(sweep)) or open_folder(path / name)
    if earlier.manifest.sweep != sweep:
        raise ValueError(
            f"the folder {path / name} does not hold the sweep that {path / JOINED} records. Move the folder away, "
            "and run the recorded sweep again"
        )
    return earlier


def grown_file(sweep: str) -> str:
    """Return the name of the file that joins the stores of one sweep, in a folder that can hold several sweeps."""
    return f"joined-{sweep[:16]}.json"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _is_folder_name(name: Any) -> bool:
    """Tell whether a part has the name of a folder, or is the folder of the joined stores itself."""
    if not isinstance(name, str) or not name.isprintable() or len(name) > 255:
        return False
    return name == "." or (Path(name).name == name and name != "..")


def open_any(path: Path) -> Chunked:
    """Open the results of a sweep. The folder holds a single store, or several joined stores."""
    return find_joined(path) or open_folder(path)


def absolute(store: Chunked) -> Chunked:
    """Return the store with an absolute path. It can then be read from any working directory."""
    if isinstance(store, Joined):
        return Joined(store.manifest, store.coords(), [absolute(part) for part in store.parts], store.part, store.place)
    return Store(store.path.absolute(), store.manifest) if isinstance(store, Store) else store


def needed_chunks(store: Chunked) -> range | set[int]:
    """Return the indices of all chunks that contain runs of the sweep.

    The index -1 is included if a run is missing.
    """
    if not isinstance(store, Joined):
        return range(store.count)  # not written out: a manifest may claim any number of lanes
    return set(np.unique(store.find(np.arange(store.manifest.lanes))[0]).tolist()) - {STOPPED}


def _map_file(path: Path, manifest: Manifest) -> Path:
    return path / f"joined-{_seal_of(manifest)[:16]}.npz"


def _seal_of(manifest: Manifest) -> str:
    return replace(manifest, identity={**manifest.identity, "parts": " ".join(manifest.attrs["parts"])}).sweep


def as_dataset(store: Chunked, *, partial: bool = False) -> xr.Dataset:
    """Return stored results as an xarray dataset. Values are read when they are used.

    Args:
        store: Stored results.
        partial: If True, chunks may be missing, as explained in `open_store`.
    """
    store = absolute(store)  # values are read later, maybe from another working directory
    manifest, find = store.manifest, store.find
    attrs = {name: value for name, value in manifest.attrs.items() if name not in ("parts", "sweeps")}
    coords = store.coords()
    if coords is None:
        raise ValueError("the coordinates of the store are damaged: run the same sweep again to repair them")
    if isinstance(store, Joined) and store.stopped:
        trained = (store.part >= 0).reshape(tuple(manifest.dims.values())).sum(-1)
        coords = {**coords, "segments": (tuple(manifest.dims)[:-1], trained)}  # type: ignore[dict-item]
    if partial:
        if "finished" in manifest.outputs or "finished" in coords:
            raise ValueError(
                "partial=True adds a coordinate 'finished', but an axis, setting or output of this sweep already has "
                "this name. Finish the sweep and open it without partial, or rename the axis, setting or output"
            )
        there = np.zeros(store.count, bool)
        there[list(store.present())] = True  # chunks may come while this is read

        def find(lanes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            numbers, places = store.find(lanes)
            return np.where((numbers >= 0) & ~there[numbers], -1, numbers), places

        finished = find(np.arange(manifest.lanes))[0] != -1
        shape = tuple(manifest.dims.values())
        coords = {**coords, "finished": (tuple(manifest.dims), finished.reshape(shape))}  # type: ignore[dict-item]
        attrs |= {"finished": int(finished.sum()), "unfinished": int((~finished).sum())}
        outputs = {name: replace(v, dtype=with_missing(v.dtype)) for name, v in manifest.outputs.items()}
        manifest = replace(manifest, outputs=outputs)
    return dataset(replace(manifest, attrs=attrs), coords, _reader(store), find)


def open_store(path: str | Path, *, partial: bool = False) -> xr.Dataset:
    """Open the results of a sweep.

    Args:
        path: Folder of the store, or an address such as ``s3://bucket/ridge``. From an address, all files are
            downloaded to a temporary folder first.
        partial: If True, the sweep may be unfinished. The values of missing runs are then NaN, so integers become
            float64 and booleans become float32. The dataset gets a boolean coordinate `finished`, which is False for
            runs that still have to be computed. The attributes `finished` and `unfinished` of the dataset are the
            numbers of True and False values in this coordinate. To see runs that finish later, open the store again.

    Returns:
        A dataset whose values are read from files when they are used. Each file, called a chunk, has one or more runs.
        `Dataset.load` reads all chunks. A selection such as `.sel(…)` reads only the chunks with selected runs. Each
        chunk is verified when it is read.

        If the sweep has `Segments`, the dataset has the dimension `segment`, and `finished` has one value for each
        segment of each run. `Segments` with `halve` stop the worse half of the runs early. The later segments of a
        stopped run are never computed. They contain NaN, but count as finished.

    Raises:
        FileNotFoundError: If the folder holds no store.
        ValueError: If the store is damaged, or unfinished without `partial`. If a chunk is damaged, the error is raised
            when the chunk is read.

    Example:
        >>> import tempfile
        >>> from jaxreg.lab import sweep
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = sweep(lambda x: {"square": x**2}, {"x": [1.0, 2.0, 3.0]}, folder)
        ...     open_store(folder)["square"].sel(x=3.0).item()
        9.0
    """
    place = place_of(path)
    with place.named():
        return xr.open_dataset(str(place.path), engine=_Entrypoint, partial=partial)


class _Entrypoint(BackendEntrypoint):
    """Backend with which xarray opens a store. Values are read when they are used."""

    def open_dataset(self, filename_or_obj: Any, *, drop_variables: Any = None, partial: bool = False) -> xr.Dataset:
        path = Path(filename_or_obj)
        store = open_any(path)
        needed = needed_chunks(store)
        missing = len(needed) - sum(number in needed for number in store.present())
        if missing and not partial:
            raise ValueError(
                f"{missing} of {len(needed)} chunks of {path} are missing: run the same sweep again to compute them, "
                "or pass partial=True to open only the finished runs"
            )
        if store.coords() is None:
            raise ValueError(f"the coordinates of {path} are damaged: run the same sweep again to repair them")
        return as_dataset(store, partial=partial).drop_vars(drop_variables or ())


def _reader(store: Chunked) -> Read:
    lane = sum(variable.nbytes for variable in store.manifest.outputs.values())

    @lru_cache(maxsize=max(4, _KEPT // max(1, lane * max(1, store.manifest.chunk))))
    def read(number: int) -> dict[str, np.ndarray]:
        arrays = store.read(number)
        if arrays is None:
            state = "damaged" if store.has(number) else "missing"
            raise ValueError(f"{store.file(number)} is {state}: run the same sweep again to compute this chunk")
        return arrays

    return read
