"""Stores of several programs, or of a sweep that has grown, read as one.

``joined.json`` is the manifest of the whole; its attribute ``parts`` names the folders of the stores that it consists
of, in order ("." is the folder itself). ``joined-<hash>.npz`` holds the coordinates of the whole, and for each lane
which store it is in and which of that store's lanes it is. Each part is a store like any other.
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
"""Part of a lane of a segment that comes after the run was stopped."""
_PART, _PLACE = " part", " place"  # no name of a coordinate begins with a space
_KEPT = 2**28
"""Bytes of chunks that a dataset keeps in memory, so that not every variable reads all chunks again."""


class Chunked(Protocol):
    """Results in numbered chunks: a store, in a folder or in memory, or several joined."""

    @property
    def manifest(self) -> Manifest:
        """Layout of the results."""

    @property
    def count(self) -> int:
        """Number of chunks."""

    def find(self, lanes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the number of the chunk that holds each lane, and the place of the lane in that chunk."""

    def has(self, number: int) -> bool:
        """Tell whether a chunk is there."""

    def present(self) -> set[int]:
        """Return the numbers of the chunks that are there."""

    def read(self, number: int) -> dict[str, np.ndarray] | None:
        """Return a chunk's arrays, or None if it is missing or damaged."""

    def file(self, number: int) -> Path:
        """Return the path of a chunk, whether or not it is there."""

    def stores(self) -> list[Keeping]:
        """Return the stores that it consists of, none of which is joined."""

    def state(self, number: int, names: Set[str]) -> dict[str, np.ndarray] | None:
        """Return the state at the end of a chunk, or None if it is missing or damaged."""

    def forget_states(self) -> None:
        """Remove the states of all chunks."""

    def drop(self, number: int) -> None:
        """Remove a chunk, so that it is computed again."""

    def coords(self) -> Coordinates | None:
        """Return the coordinates, each with its dimension, or None if they are damaged."""


class Joined:
    """Several stores as one.

    Args:
        manifest: Layout of the whole.
        coords: Its coordinates.
        parts: The stores.
        part: Store of each lane.
        place: Lane of each lane in its store.
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
        """Return the number of the chunk that holds each lane, and the place of the lane in that chunk.

        The number is -1 for a lane that is nowhere, and `STOPPED` for one that is not to be.
        """
        numbers, places = np.where(self.part[lanes] == STOPPED, STOPPED, -1), np.zeros(lanes.shape, int)
        for number, part in enumerate(self.parts):
            here = self.part[lanes] == number
            chunks, places[here] = part.find(self.place[lanes[here]])
            numbers[here] = np.where(chunks < 0, -1, chunks + self._starts[number])
        return numbers, places

    def unreadable(self, parts: int) -> np.ndarray:
        """Tell for each lane whether it is in one of the first so many parts, and its chunk is missing or damaged."""
        numbers, _ = self.find(np.arange(self.manifest.lanes))
        needed = np.unique(numbers[(numbers >= 0) & (self.part < parts)])
        return np.isin(numbers, [number for number in needed if self.read(int(number)) is None])

    @property
    def stopped(self) -> int:
        """Number of lanes that are not to be: segments of runs that were stopped before."""
        return int((self.part == STOPPED).sum())

    def lanes_of_last(self) -> np.ndarray:
        """Return the lanes of the last part, in their order there."""
        lanes = np.flatnonzero(self.part == len(self.parts) - 1)
        return lanes[np.argsort(self.place[lanes])]

    def has(self, number: int) -> bool:
        """Tell whether a chunk is there."""
        part, own = self._own(number)
        return part.has(own)

    def present(self) -> set[int]:
        """Return the numbers of the chunks that are there."""
        starts = map(int, self._starts)
        return {start + number for start, part in zip(starts, self.parts, strict=False) for number in part.present()}

    def read(self, number: int) -> dict[str, np.ndarray] | None:
        """Return a chunk's arrays, or None if it is missing or damaged."""
        part, own = self._own(number)
        return part.read(own)

    def file(self, number: int) -> Path:
        """Return the path of a chunk, whether or not it is there."""
        part, own = self._own(number)
        return part.file(own)

    def stores(self) -> list[Keeping]:
        """Return the stores that it consists of, none of which is joined."""
        return [store for part in self.parts for store in part.stores()]

    def state(self, number: int, names: Set[str]) -> dict[str, np.ndarray] | None:
        """Return the state at the end of a chunk, or None if it is missing or damaged."""
        part, own = self._own(number)
        return part.state(own, names)

    def forget_states(self) -> None:
        """Remove the states of all chunks."""
        for part in self.parts:
            part.forget_states()

    def drop(self, number: int) -> None:
        """Remove a chunk, so that it is computed again."""
        part, own = self._own(number)
        part.drop(own)

    def coords(self) -> Coordinates:
        """Return the coordinates, each with its dimension."""
        return self._coords

    def _own(self, number: int) -> tuple[Chunked, int]:
        part = int(np.searchsorted(self._starts, number, side="right")) - 1
        return self.parts[part], number - int(self._starts[part])


def union(outputs: Sequence[dict[str, Variable]]) -> dict[str, Variable]:
    """Return the layout that holds the outputs of several programs.

    A dimension has its largest length. What is missing in a program, or shorter there, is filled with NaN.

    Raises:
        ValueError: If an output has other dimensions in one program than in another.
    """
    joined: dict[str, Variable] = {}
    for name in dict.fromkeys(name for one in outputs for name in one):
        found = [one[name] for one in outputs if name in one]
        if len({variable.dims for variable in found}) > 1:
            dims = " and ".join(sorted({str(variable.dims) for variable in found}))
            raise ValueError(f"output {name!r} has the dimensions {dims}: give it the same dimensions in every program")
        dtype = np.result_type(*(np.dtype(variable.dtype) for variable in found)).name
        gaps = len(found) < len(outputs) or len({variable.shape for variable in found}) > 1
        shape = tuple(max(sizes) for sizes in zip(*(variable.shape for variable in found), strict=True))
        joined[name] = Variable(found[0].dims, shape, with_missing(dtype) if gaps else dtype)
    lengths: dict[str, int] = {}
    for name, variable in joined.items():
        for dim, length in zip(variable.dims, variable.shape, strict=True):
            if lengths.setdefault(dim, length) != length:
                raise ValueError(
                    f"dimension {dim!r} has length {length} in output {name!r} and {lengths[dim]} in another"
                )
    return joined


def write_joined(path: Path, manifest: Manifest, coords: Coordinates, part: np.ndarray, place: np.ndarray) -> None:
    """Write the files that join stores into one.

    Args:
        path: The folder, which is made if needed.
        manifest: Manifest of the whole, with the folders of the stores as the attribute ``parts``.
        coords: Coordinates of the whole.
        part: Store of each lane.
        place: Lane of each lane in its store.
    """
    path.mkdir(parents=True, exist_ok=True)
    arrays = {name: values for name, (_, values) in coords.items()}
    _write_sealed(_map_file(path, manifest), {**arrays, _PART: part, _PLACE: place}, _seal_of(manifest))
    _write(path / JOINED, manifest.encode())


def find_joined(path: Path) -> Joined | None:
    """Return the joined stores of a folder, or None if it has no ``joined.json``.

    Raises:
        ValueError: If a file of it is damaged.
    """
    try:
        manifest = _read_manifest(path / JOINED)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (DamagedError, IsADirectoryError):
        raise ValueError(
            f"{path / JOINED} is damaged: delete it and run the same sweep again to repair the store"
        ) from None
    names = manifest.attrs.get("parts")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{path / JOINED} is damaged: it names no parts")
    names_there = manifest.coords.keys() | {_PART, _PLACE}
    arrays = _read_sealed(_map_file(path, manifest), _seal_of(manifest), names_there)
    if arrays is None or not _fits(arrays, manifest, len(names)):
        raise ValueError(f"{_map_file(path, manifest)} is damaged: run the same sweep again to repair the store")
    part, place = arrays.pop(_PART), arrays.pop(_PLACE)
    coords = {name: (manifest.coords[name], values) for name, values in arrays.items()}
    parts = [_open_part(path, name) for name in names]
    return Joined(manifest, coords, parts, part, place)


def _fits(arrays: dict[str, np.ndarray], manifest: Manifest, parts: int) -> bool:
    """Tell whether coordinates and the places of lanes are those of a manifest."""
    part, place = arrays[_PART], arrays[_PLACE]
    whole = part.shape == place.shape == (manifest.lanes,) and part.dtype == np.int32 and place.dtype == np.int64
    return whole and bool((part >= STOPPED).all() and (part < parts).all() and (place >= 0).all())


def _open_part(path: Path, name: str) -> Chunked:
    if name == ".":
        return open_folder(path)
    if Path(name).name != name:
        raise ValueError(f"{path / JOINED} is damaged: its part {name!r} is not a folder of the store")
    return open_any(path / name)


def open_any(path: Path) -> Chunked:
    """Open a store, or stores that are joined."""
    return find_joined(path) or open_folder(path)


def absolute(store: Chunked) -> Chunked:
    """Return a store that is read from any working directory."""
    if isinstance(store, Joined):
        return Joined(store.manifest, store.coords(), [absolute(part) for part in store.parts], store.part, store.place)
    return Store(store.path.absolute(), store.manifest) if isinstance(store, Store) else store


def needed_chunks(store: Chunked) -> range | set[int]:
    """Return the numbers of the chunks that hold the lanes of a store, -1 for lanes that are nowhere."""
    if not isinstance(store, Joined):
        return range(store.count)  # not written out: a manifest may claim any number of lanes
    return set(np.unique(store.find(np.arange(store.manifest.lanes))[0]).tolist()) - {STOPPED}


def _map_file(path: Path, manifest: Manifest) -> Path:
    return path / f"joined-{_seal_of(manifest)[:16]}.npz"


def _seal_of(manifest: Manifest) -> str:
    return replace(manifest, identity={**manifest.identity, "parts": " ".join(manifest.attrs["parts"])}).sweep


def as_dataset(store: Chunked, *, partial: bool = False) -> xr.Dataset:
    """Return the dataset of chunks, read when values are used.

    Args:
        store: The chunks.
        partial: Whether to leave out what is missing: see `open_store`.
    """
    store = absolute(store)  # values are read later, maybe from another working directory
    manifest, find = store.manifest, store.find
    attrs = {name: value for name, value in manifest.attrs.items() if name != "parts"}
    coords = store.coords()
    if coords is None:
        raise ValueError("the coordinates of the store are damaged: run the same sweep again to repair them")
    if isinstance(store, Joined) and store.stopped:
        trained = (store.part >= 0).reshape(tuple(manifest.dims.values())).sum(-1)
        coords = {**coords, "segments": (tuple(manifest.dims)[:-1], trained)}  # type: ignore[dict-item]
    if partial:
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
        path: Folder or address of the store. If it is an address, all files are downloaded first.
        partial: Whether to open an unfinished sweep. Values of missing runs are NaN; integers become float64 and
            booleans float32. The coordinate `finished` is true for runs that are finished, or that were stopped in an
            earlier segment. The attributes `finished` and `unfinished` count the runs. Open the store again to see runs
            that finish later.

    Returns:
        A dataset whose values are read when they are used. Each chunk is verified when it is read. `Dataset.load` reads
        all chunks. A selection such as `.sel(…)` reads only the chunks that it needs.

    Raises:
        FileNotFoundError: If the folder holds no store.
        ValueError: If the store is damaged or unfinished. Reading a damaged chunk later raises this error too.

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
    """A store as xarray opens it: lazily, and chunks that have been read are kept."""

    def open_dataset(self, filename_or_obj: Any, *, drop_variables: Any = None, partial: bool = False) -> xr.Dataset:
        path = Path(filename_or_obj)
        store = open_any(path)
        needed = needed_chunks(store)
        missing = len(needed) - sum(number in needed for number in store.present())
        if missing and not partial:
            raise ValueError(
                f"{missing} of {len(needed)} chunks of {path} are missing: run the same sweep again to complete it, or "
                "open the finished runs with partial=True"
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
            state = "damaged" if store.has(number) else "gone"
            raise ValueError(f"{store.file(number)} is {state}: run the same sweep again to compute this chunk")
        return arrays

    return read
