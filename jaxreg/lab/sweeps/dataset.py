"""Results of a sweep as a labelled dataset, which reads each chunk when its values are used."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from jaxreg.lab.sweeps.manifest import Manifest, Variable

Read = Callable[[int], Mapping[str, np.ndarray]]
"""Function from the number of a chunk to the arrays of the chunk."""
Find = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Function from lane numbers to two arrays: the chunk of each lane (-1 for a missing lane), and the position of each
lane in its chunk. A lane is one run of the sweep."""
Coordinates = Mapping[str, tuple[str, np.ndarray]]
"""Name of a coordinate -> its dimension and its values."""


def dataset(manifest: Manifest, coords: Coordinates, read: Read, find: Find | None = None) -> xr.Dataset:
    """Return the results of a sweep as an xarray dataset. Stored values are read when they are used.

    Args:
        manifest: Layout of the results.
        coords: Coordinates of the results.
        read: Function from the number of a chunk to the arrays of the chunk.
        find: Function that returns the chunk of each lane (run), and the position of the lane in the chunk. By default,
            all lanes are stored in order. The values of missing lanes become NaN. If a dimension is shorter in some
            lanes, its end is filled with NaN. In both cases, the types in `manifest` must be able to hold NaN.
    """
    variables = {}
    for name, variable in manifest.outputs.items():
        lazy = indexing.LazilyIndexedArray(_Lanes(manifest, name, variable, read, find))
        variables[name] = xr.Variable((*manifest.dims, *variable.dims), lazy)
    return xr.Dataset(variables, coords, {**manifest.attrs, "sweep": manifest.sweep})


def with_missing(dtype: str) -> str:
    """Return a dtype that can hold the values of `dtype` and NaN. NaN marks missing values.

    The result is float32 for booleans and float64 for integers. Other dtypes stay as they are if they can hold NaN.
    """
    kind = np.dtype(dtype).kind
    return dtype if kind in "fc" else "float32" if kind == "b" else "float64"


class _Lanes(BackendArray):
    """One output for all lanes of the grid. Indexing reads only the chunks that it needs."""

    def __init__(self, manifest: Manifest, name: str, variable: Variable, read: Read, find: Find | None) -> None:
        self.shape = (*manifest.dims.values(), *variable.shape)
        self.dtype = np.dtype(variable.dtype)
        self._manifest, self._name, self._read = manifest, name, read
        self._find = find or manifest.chunks.find

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._outer)

    def _outer(self, key: tuple[Any, ...]) -> np.ndarray:
        depth = len(self._manifest.dims)
        grid, inner = key[:depth], key[depth:]
        wanted = [np.arange(size)[k] for k, size in zip(grid, self.shape, strict=False)]
        lanes = np.ravel_multi_index(np.ix_(*map(np.atleast_1d, wanted)), self.shape[:depth]).ravel()
        numbers, places = self._find(lanes)
        order = np.argsort(numbers, kind="stable")
        needed, starts = np.unique(numbers[order], return_index=True)
        values = np.empty((lanes.size, *_take(np.empty((0, *self.shape[depth:])), inner).shape[1:]), self.dtype)
        for number, rows in zip(needed, np.split(order, starts)[1:], strict=True):
            found = self._read(int(number)).get(self._name) if number >= 0 else None
            values[rows] = np.nan if found is None else _take(_padded(found[places[rows]], self.shape[depth:]), inner)
        return values.reshape((*(w.size for w in wanted if w.ndim), *values.shape[1:]))


def _padded(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Pad the values of each lane to a shape, with NaN at the end of each dimension."""
    if values.shape[1:] == shape:
        return values
    padded = np.full((len(values), *shape), np.nan, with_missing(values.dtype.name))
    padded[(slice(None), *map(slice, values.shape[1:]))] = values
    return padded


def _take(values: np.ndarray, inner: tuple[Any, ...]) -> np.ndarray:
    """Index each dimension after the first with its own key."""
    for dim in reversed(range(len(inner))):
        values = values[(slice(None),) * (dim + 1) + (inner[dim],)]
    return values
