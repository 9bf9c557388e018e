"""A store as a labelled dataset, read chunk by chunk when its values are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray, BackendEntrypoint
from xarray.core import indexing

from jaxreg.lab.sweeps.store import Manifest, Store, Variable, open_folder

Read = Callable[[int], Mapping[str, np.ndarray]]

_KEPT = 2**28
"""Bytes of chunks that a dataset keeps in memory: each of its variables is read from all of them anew."""


def open_store(path: str | Path) -> xr.Dataset:
    """Open the results of a finished sweep.

    Args:
        path: the store's folder.

    Returns:
        The dataset. Values are read when they are used, and each chunk is verified when it is read:
        `Dataset.load` reads all of them, a selection only the chunks it needs.

    Raises:
        FileNotFoundError: there is no store.
        ValueError: the store is damaged or not finished; reading a damaged chunk later raises this too.

    Example:
        >>> import tempfile
        >>> from jaxreg.lab.sweeps.engine import sweep
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = sweep(lambda x: {"square": x**2}, {"x": [1.0, 2.0, 3.0]}, folder)
        ...     open_store(folder)["square"].sel(x=3.0).item()
        9.0
    """
    return xr.open_dataset(Path(path).expanduser(), engine=_Entrypoint)


def dataset(manifest: Manifest, coords: Mapping[str, Any], read: Read) -> xr.Dataset:
    """The dataset of a sweep, from what reads one chunk."""
    variables = {}
    for name, variable in manifest.outputs.items():
        lazy = indexing.LazilyIndexedArray(_Lanes(manifest, name, variable, read))
        variables[name] = xr.Variable((*manifest.dims, *variable.dims), lazy)
    return xr.Dataset(variables, coords, {**manifest.attrs, "sweep": manifest.sweep})


class _Entrypoint(BackendEntrypoint):
    """A store as xarray opens it: lazily, and what has been read is kept."""

    def open_dataset(self, filename_or_obj: Any, *, drop_variables: Any = None) -> xr.Dataset:
        path = Path(filename_or_obj)
        store = open_folder(path)
        missing = [number for number in range(store.manifest.chunks) if not store.file(number).exists()]
        if missing:
            raise ValueError(
                f"{len(missing)} of {store.manifest.chunks} chunks of {path} are missing: run the same sweep "
                "again to complete it"
            )
        coords = store.coords()
        if coords is None:
            raise ValueError(f"the coordinates of {path} are damaged: run the same sweep again to mend them")
        whole = Store(path.absolute(), store.manifest)  # values are read later, maybe from another working directory
        return dataset(store.manifest, coords, _reader(whole)).drop_vars(drop_variables or ())


def _reader(store: Store) -> Read:
    lane = sum(variable.nbytes for variable in store.manifest.outputs.values())

    @lru_cache(maxsize=max(4, _KEPT // max(1, lane * store.manifest.chunk)))
    def read(number: int) -> Mapping[str, np.ndarray]:
        arrays = store.read(number)
        if arrays is None:
            what = "damaged" if store.has(number) else "gone"
            raise ValueError(f"{store.file(number)} is {what}: run the same sweep again to compute it anew")
        return arrays

    return read


class _Lanes(BackendArray):
    """One variable over the whole grid, of which only what is asked for is read."""

    def __init__(self, manifest: Manifest, name: str, variable: Variable, read: Read) -> None:
        self.shape = (*manifest.dims.values(), *variable.shape)
        self.dtype = np.dtype(variable.dtype)
        self._manifest, self._name, self._read = manifest, name, read

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._outer)

    def _outer(self, key: tuple[Any, ...]) -> np.ndarray:
        depth = len(self._manifest.dims)
        grid, inner = key[:depth], key[depth:]
        wanted = [np.arange(size)[k] for k, size in zip(grid, self.shape, strict=False)]
        lanes = np.ravel_multi_index(np.ix_(*map(np.atleast_1d, wanted)), self.shape[:depth]).ravel()
        kept = _take(np.empty((0, *self.shape[depth:]), self.dtype), inner).shape[1:]
        found = np.empty((lanes.size, *kept), self.dtype)
        order = np.argsort(lanes // self._manifest.chunk, kind="stable")
        numbers, starts = np.unique(lanes[order] // self._manifest.chunk, return_index=True)
        for number, rows in zip(numbers, np.split(order, starts)[1:], strict=True):
            values = self._read(int(number))[self._name]
            found[rows] = _take(values[lanes[rows] - number * self._manifest.chunk], inner)
        return found.reshape((*(w.size for w in wanted if w.ndim), *kept))


def _take(values: np.ndarray, inner: tuple[Any, ...]) -> np.ndarray:
    """Index each dimension after the first by its own key."""
    for dim in reversed(range(len(inner))):
        values = values[(slice(None),) * (dim + 1) + (inner[dim],)]
    return values
