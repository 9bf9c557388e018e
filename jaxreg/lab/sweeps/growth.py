"""Growth of a stored sweep: a larger sweep reuses the runs of a smaller sweep and computes only the new runs.

A run is also called a lane. The larger sweep recognises the smaller one by its identity: reduced to the entries of the
smaller sweep, the larger sweep must have the identity of the smaller sweep. The store of the smaller sweep is not
changed. The new runs get a separate store in a subfolder. ``joined.json`` lists the store of each run of the larger
sweep (`jaxreg.lab.sweeps.joined`).
"""

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from jaxreg.lab.atomic_files import _write
from jaxreg.lab.sweeps.dataset import Coordinates
from jaxreg.lab.sweeps.grid import SOME
from jaxreg.lab.sweeps.joined import Chunked, Joined, find_joined, grown_file, write_joined
from jaxreg.lab.sweeps.manifest import Manifest
from jaxreg.lab.sweeps.store import create, open_folder


def rows_there(old: Chunked, here: Coordinates, dims: Mapping[str, int]) -> dict[str, np.ndarray] | None:
    """Find the entries of a smaller sweep among the entries of a larger sweep, by their coordinates.

    Args:
        old: The smaller sweep.
        here: Coordinates of the larger sweep.
        dims: Dimensions of the larger sweep and their sizes.

    Returns:
        Dimension -> for each entry of the smaller sweep, its index in the larger sweep. The result is None if the
        larger sweep lacks an entry, or if the dimensions differ.
    """
    there = old.coords()
    if there is None or list(old.manifest.dims) != list(dims):
        return None
    rows = {}
    for dim in dims:
        names = [name for name, (along, _) in here.items() if along == dim]
        if not all(name in there and there[name][0] == dim for name in names):
            return None
        names = [name for name in names if name != dim] or names  # a number beside settings depends on the others
        places: dict[tuple[str, ...], list[int]] = {}
        for number, key in enumerate(_keys(here, names)):
            places.setdefault(key, []).append(number)
        found = [places[key].pop(0) if places.get(key) else -1 for key in _keys(there, names)]
        if -1 in found:
            return None
        rows[dim] = np.array(found)
    return rows


def _keys(coords: Coordinates, names: list[str]) -> list[tuple[str, ...]]:
    return list(zip(*([repr(value) for value in coords[name][1].tolist()] for name in names), strict=True))


def cut_labels(labels: Coordinates, rows: Mapping[str, np.ndarray]) -> Coordinates:
    """Select the coordinate values of a smaller sweep from the coordinates of a larger sweep.

    The result has the dtypes and the numbering with which the smaller sweep stores its coordinates.
    """
    cut = {}
    for name, (dim, values) in labels.items():
        taken = as_wide_as_needed(values[rows[dim]] if dim in rows else values)
        described = any(along == dim and other != name for other, (along, _) in labels.items())
        if name == dim and described and np.array_equal(values, np.arange(len(values))):
            taken = np.arange(len(taken))
        cut[name] = (dim, taken)
    return cut


def as_wide_as_needed(values: np.ndarray) -> np.ndarray:
    """Return an array of strings with a dtype as wide as its longest string. Return any other array unchanged.

    The dtype is part of the identity of the stored entries. A wider dtype, which fits the long name of a new entry,
    would change this identity.
    """
    return np.array(values.tolist()) if values.dtype.kind == "U" else values


def take_over(old: Chunked, rows: Mapping[str, np.ndarray], manifest: Manifest, coords: Coordinates) -> Joined:
    """Return the results of a larger sweep that contain the stored runs of a smaller sweep.

    All other runs are marked as missing. So are stored runs whose files can't be read.

    Args:
        old: The smaller sweep.
        rows: Dimension -> for each entry of the smaller sweep, its index in the larger sweep.
        manifest: Manifest of the larger sweep.
        coords: Coordinates of the larger sweep.
    """
    shape = tuple(manifest.dims.values())
    lanes = np.ravel_multi_index(np.ix_(*rows.values()), shape).ravel()
    parts = list(old.parts) if isinstance(old, Joined) else [old]
    names = list(old.manifest.attrs["parts"]) if isinstance(old, Joined) else ["."]
    part, place = np.full(manifest.lanes, -1, np.int32), np.zeros(manifest.lanes, np.int64)
    part[lanes] = old.part if isinstance(old, Joined) else 0
    place[lanes] = old.place if isinstance(old, Joined) else np.arange(len(lanes))
    whole = Joined(replace(manifest, attrs={**manifest.attrs, "parts": names}), coords, parts, part, place)
    return without(whole, whole.unreadable(len(parts)))


def without(whole: Joined, lanes: np.ndarray) -> Joined:
    """Return a copy of `whole` in which the runs selected by the mask `lanes` are marked as missing."""
    part = np.where(lanes, -1, whole.part).astype(np.int32)
    return Joined(whole.manifest, whole.coords(), whole.parts, part, whole.place)


def resumed(old: Joined) -> Joined:
    """Mark the runs whose files can't be read as missing, so that these runs are computed again."""
    lost = old.unreadable(len(old.parts) - 1)
    return without(old, lost | old.unreadable(len(old.parts))) if lost.any() else old


def extended(path: Path, whole: Joined, manifest: Manifest | None) -> Joined:
    """Create a store for runs that are not stored yet, and join it to the existing stores of a smaller sweep.

    Args:
        path: Folder of the larger sweep.
        whole: Results of the larger sweep, with the existing stores.
        manifest: Manifest for the store of the missing runs, or None if no run is missing.
    """
    if manifest is not None:
        lanes = np.flatnonzero(whole.part < 0)
        name = f"grown-{manifest.sweep[:16]}"
        store = create(path / name, manifest, {SOME: lanes})
        part, place = whole.part.copy(), whole.place.copy()
        part[lanes], place[lanes] = len(whole.parts), np.arange(len(lanes))
        attrs = {**whole.manifest.attrs, "parts": [*whole.manifest.attrs["parts"], name]}
        whole = Joined(replace(whole.manifest, attrs=attrs), whole.coords(), [*whole.parts, store], part, place)
    write_joined(path, whole.manifest, whole.coords(), whole.part, whole.place)
    _write(path / grown_file(whole.manifest.sweep), whole.manifest.encode())
    return whole


def find_grown(path: Path, sweep: str) -> Joined | None:
    """Open the results of a sweep that reuses runs of a smaller sweep. Return None if the results can't be read.

    The folder may also contain a later, still larger sweep.

    Args:
        path: Folder of the store.
        sweep: Hash that identifies the sweep.
    """
    with contextlib.suppress(FileNotFoundError, ValueError):
        found = find_joined(path, name=grown_file(sweep))
        return found if found and found.manifest.sweep == sweep else None
    return None


def newest(path: Path) -> Chunked | None:
    """Return the results in a folder: joined stores if there are any, otherwise a single store.

    The result is None if the folder has no results that can be read.
    """
    for find in (find_joined, open_folder):
        with contextlib.suppress(FileNotFoundError, ValueError):
            if (found := find(path)) is not None:
                return found
    return None
