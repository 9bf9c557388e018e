"""Named axes, and the grid of the combinations of their entries.

An axis is a pytree whose leaves have the same length along their first dimension. A lane is one combination: one entry
of each axis. Lanes are numbered in row-major order, so the last axis varies fastest. The entries of a lane follow from
its number, so a list of all lanes is never created.
"""

import hashlib
import math
import re
from collections.abc import Iterator, Mapping, MappingView, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

LANE = "lane"
SOME = " lane"
"""Dimension of a selection of lanes, whose coordinate is the lane number. No axis has a name with a space."""


@dataclass(frozen=True)
class Axis:
    """One axis of a sweep: its values as stacked arrays, and its coordinate in the results."""

    name: str
    leaves: tuple[np.ndarray, ...]
    keys: tuple[str | None, ...]
    structure: Any
    coordinate: np.ndarray

    @property
    def size(self) -> int:
        """Number of entries of the axis."""
        return len(self.coordinate)

    def take(self, rows: np.ndarray) -> "Axis":
        """Return a new axis that contains only the given entries."""
        one = len(self.leaves) == 1 and self.leaves[0].ndim == 1 and self.keys == (None,)
        numbers = one and self.structure == jax.tree.structure(0)
        leaves = tuple(leaf[rows] for leaf in self.leaves)
        return replace(self, leaves=leaves, coordinate=self.coordinate[rows] if numbers else np.arange(len(rows)))

    def entry(self, leaves: Sequence[Any]) -> Any:
        """Convert one row of the stacked arrays back to the axis value that the user gave."""
        wrapped = [
            leaf if key is None else jax.random.wrap_key_data(leaf, impl=key)
            for leaf, key in zip(leaves, self.keys, strict=True)
        ]
        return jax.tree.unflatten(self.structure, wrapped)

    def digest(self) -> str:
        """Return a hash of the axis: names, shapes, types and every byte of its entries."""
        # A function that is static in an entry prints its address, which is another in each process. The program's own
        # hash tells what the function does.
        structure = re.sub(r" at 0x[0-9a-f]+", "", str(self.structure))
        digest = hashlib.sha256(f"{self.name} {structure} {self.keys}".encode())
        for leaf in (*self.leaves, self.coordinate):
            digest.update(f"{leaf.dtype.str} {leaf.shape}".encode())
            digest.update(np.ascontiguousarray(leaf).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Grid:
    """Grid of runs: all combinations of the entries of several axes, or a selection of these combinations.

    Args:
        axes: Named axes.
        zipped: Whether the axes are combined entry by entry instead of as a product.
        lanes: Numbers of the selected lanes; None for all lanes.
    """

    axes: tuple[Axis, ...]
    zipped: bool
    lanes: np.ndarray | None = None

    @property
    def dims(self) -> dict[str, int]:
        """Dict from each dimension of the results to its size."""
        return self._spanned if self.lanes is None else {SOME: len(self.lanes)}

    @property
    def _spanned(self) -> dict[str, int]:
        if self.zipped:
            return {LANE: self.axes[0].size}
        return {axis.name: axis.size for axis in self.axes}

    @property
    def size(self) -> int:
        """Number of runs in the grid."""
        return math.prod(self.dims.values())

    def indices(self, lanes: np.ndarray) -> tuple[np.ndarray, ...]:
        """Convert run indices to indices along the axes. Return one int32 array per axis."""
        lanes = lanes if self.lanes is None else self.lanes[lanes]
        if self.zipped:
            return tuple(lanes.astype(np.int32) for _ in self.axes)
        shape = tuple(self._spanned.values())
        return tuple(index.astype(np.int32) for index in np.unravel_index(lanes, shape))

    def coords(self) -> dict[str, tuple[str, np.ndarray]]:
        """Return the coordinates of the axes, as a dict from name to (dimension, values)."""
        if self.lanes is not None:
            return {SOME: (SOME, self.lanes)}
        return {axis.name: (LANE if self.zipped else axis.name, axis.coordinate) for axis in self.axes}

    def describe(self) -> str:
        """Return the axes and their sizes as text, such as ``l2 (3) x seed (100)``."""
        return (" + " if self.zipped else " x ").join(f"{axis.name} ({axis.size})" for axis in self.axes)

    def take(self, rows: Mapping[str, np.ndarray]) -> "Grid":
        """Return a new grid that contains only the given entries of each dimension."""
        axes = tuple(axis.take(rows[LANE if self.zipped else axis.name]) for axis in self.axes)
        return Grid(axes, self.zipped)

    def digest(self) -> str:
        """Return a hash of the names and entries of all axes."""
        parts = [str(self.zipped), *(axis.digest() for axis in self.axes)]
        if self.lanes is not None:
            parts.append(hashlib.sha256(self.lanes.tobytes()).hexdigest())
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def make_grid(over: Mapping[str, Any], *, zipped: bool = False) -> Grid:
    """Make the grid of a sweep from its axes.

    Args:
        over: Dict from the name of each axis to its entries. A list, tuple or range has one entry per element. Its
            elements are numbers, arrays with the same shape, or pytrees with the same structure. An array has one entry
            per row. Any other pytree, such as a dict or a registered dataclass, has one entry per row of its leaves.
        zipped: Whether to combine the axes entry by entry instead of as a product.

    Returns:
        The grid. The coordinate of an axis of numbers holds these numbers. The coordinate of any other axis holds the
        indices of the entries.

    Raises:
        ValueError: If an axis is empty, ragged or too long, or contains NaN; or if zipped axes have different lengths.
        TypeError: If an axis contains something that JAX cannot trace.

    Example:
        >>> make_grid({"l2": [0.0, 1e-3], "seed": range(50)}).describe()
        'l2 (2) x seed (50)'
    """
    if not over:
        raise ValueError("`over` is empty; expected a dict with at least one axis, such as over={'seed': range(10)}")
    grid = Grid(tuple(_axis(name, entries) for name, entries in over.items()), zipped)
    sizes = {axis.name: axis.size for axis in grid.axes}
    if zipped and len(set(sizes.values())) > 1:
        raise ValueError(f"the zipped axes have the lengths {sizes}; expected equal lengths")
    if grid.size >= 2**63:
        raise ValueError(
            f"the axes have sizes {sizes}, which makes {grid.size:.1e} runs; expected at most 2**63 - 1. Use fewer "
            "values"
        )
    if max(sizes.values()) >= 2**31:
        raise ValueError(f"the axes have sizes {sizes}; expected at most 2**31 - 1 values per axis")
    return grid


def _axis(name: object, entries: Any) -> Axis:
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"axis name {name!r} can't be an argument of `run`: use a Python identifier")
    single = isinstance(entries, str | bytes | int | float | complex | np.generic | None)
    if single or (isinstance(entries, np.ndarray | jax.Array) and entries.ndim == 0):
        raise ValueError(f"axis {name!r} must be a sequence of values, got {entries!r}: write [{entries!r}]")
    if isinstance(entries, Iterator | Set | MappingView):
        raise TypeError(
            f"axis {name!r} is a {type(entries).__name__}; expected a list, a range or an array: write list(…)"
        )
    stacked = stack(name, entries)
    leaves, structure = jax.tree.flatten(stacked)
    if not leaves or any(np.shape(leaf)[:1] == (0,) for leaf in leaves):
        raise ValueError(f"axis {name!r} is empty: give it at least one value or remove it")
    keys = tuple(_key_name(leaf) for leaf in leaves)
    arrays = tuple(traceable(name, leaf) for leaf in leaves)
    lengths = {array.shape[0] if array.ndim else None for array in arrays}
    if len(lengths) > 1 or None in lengths:
        shapes = [array.shape for array in arrays]
        raise ValueError(
            f"the leaves of axis {name!r} have shapes {shapes}; expected leaves with the same first dimension"
        )
    size = arrays[0].shape[0]
    numbers = len(arrays) == 1 and arrays[0].ndim == 1 and leaves[0] is stacked and keys == (None,)
    if numbers:
        check_apart(name, np.asarray(stacked), arrays[0])
    coordinate = storable(np.asarray(stacked)) if numbers else np.arange(size)
    return Axis(name, arrays, keys, structure, coordinate)


def check_apart(name: str, values: np.ndarray, narrow: np.ndarray, *, from_zero_only: bool = False) -> None:
    """Raise an error if rounding to the program's dtype makes two values of an axis equal, or turns a value into 0.

    Without the error, the program would compute the same run twice. With `from_zero_only`, values that become equal are
    allowed, and only values that become 0 raise an error.
    """
    found, first = np.unique(values, return_index=True)
    seen = narrow[first]
    same = np.flatnonzero(seen[1:] == seen[:-1])[: 0 if from_zero_only else None]
    zero = np.flatnonzero((found != 0) & (seen == 0))
    if same.size or zero.size:
        low, high = found[same[0] : same[0] + 2] if same.size else (0.0, found[zero[0]])
        shown, fault = (f"{low} and {high}", "are equal") if same.size else (f"{high}", "is 0")
        raise ValueError(
            f"axis {name!r} holds {shown}, which {fault} after rounding to {narrow.dtype}. Use other values, or call "
            "jax.config.update('jax_enable_x64', True) first"
        )


def storable(array: np.ndarray) -> np.ndarray:
    """Convert a coordinate to a dtype that files and pandas support.

    Objects become text. Narrow types such as bfloat16 become float32 or int32.
    """
    if array.dtype.kind in "OT":  # objects, or NumPy's strings of any length, which it saves as objects
        return array.astype(object).astype(np.str_)
    if array.dtype == np.float16 or (array.dtype.isbuiltin == 2 and jnp.issubdtype(array.dtype, np.floating)):
        return array.astype(np.float32)
    return array.astype(np.int32) if jnp.issubdtype(array.dtype, np.integer) and array.dtype.isbuiltin == 2 else array


def stack(name: str, entries: Any) -> Any:
    """Stack a list, tuple or range of entries along a new first axis. Return anything else unchanged."""
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(entries)):
        raise TypeError(f"axis {name!r} holds a traced value: call sweep outside of jit, grad and vmap")
    if isinstance(entries, range):
        return np.asarray(entries)
    if not isinstance(entries, list | tuple) or hasattr(entries, "_fields"):
        return entries
    if not entries:
        raise ValueError(f"axis {name!r} is empty: give it at least one value or remove it")
    structures = {jax.tree.structure(entry) for entry in entries}
    if len(structures) > 1:
        raise ValueError(
            f"the entries of axis {name!r} differ in tree structure; expected the same structure. To compile a "
            "separate program for each entry, pass them with labels, as in jaxreg.lab.choices(a=…, b=…)"
        )
    try:
        return jax.tree.map(_stacked, *entries)
    except ValueError as error:
        raise ValueError(f"the entries of axis {name!r} can't be stacked: {error}") from None


def _key_name(leaf: Any) -> str | None:
    is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return str(jax.random.key_impl(leaf)) if is_key else None


def plain(array: Any) -> Any:
    """Convert JAX random keys to arrays of integers. Return any other array unchanged."""
    return jax.random.key_data(array) if _key_name(array) else array


def _stacked(*leaves: Any) -> Any:
    kinds = {_key_name(leaf) for leaf in leaves}
    if len(kinds) > 1:
        raise ValueError(
            "the random keys belong to different random number generators; expected keys of the same generator"
        )
    return np.stack([np.asarray(leaf) for leaf in leaves]) if None in kinds else jnp.stack(leaves)


def traceable(name: str, leaf: Any) -> np.ndarray:
    """Convert the values of an axis to a NumPy array with a dtype that JAX supports.

    Raises an error if a value is masked or NaN, can't be traced, or is out of range for this type.
    """
    if _key_name(leaf):
        return np.asarray(plain(leaf))
    if np.ma.is_masked(leaf):
        raise ValueError(f"axis {name!r} has masked values: remove them, as in axis.compressed()")
    array = np.asarray(leaf)
    if array.dtype != bool and (array.dtype.kind == "m" or not jnp.issubdtype(array.dtype, np.number)):
        raise TypeError(
            f"axis {name!r} holds {array.dtype} values such as {array.flat[0]!r}, which can't be traced; expected "
            "numbers. To compile a separate program for each value, use jaxreg.lab.choices(…)"
        )
    if array.dtype.kind in "fc" and np.isnan(array).any():
        raise ValueError(f"axis {name!r} holds NaN: every value of an axis must be a number")
    if array.dtype.isbuiltin == 2 and jnp.issubdtype(array.dtype, np.integer):  # not != 1: 0 is NumPy's, unpickled
        return array.astype(np.int8)  # XLA packs integers of less than 8 bits as no array on the host is
    return narrowed(f"axis {name!r}", array)


def narrowed(what: str, array: np.ndarray) -> np.ndarray:
    """Cast a 64-bit array to 32 bits, unless `jax_enable_x64` is set.

    Args:
        what: Name of the array, for the error message.
        array: Array of any type that JAX supports.

    Raises:
        ValueError: If a value is out of range for 32 bits. JAX would wrap it around or replace it by infinity.
    """
    with np.errstate(over="ignore"):
        narrow = array.astype(jax.dtypes.canonicalize_dtype(array.dtype))
    if array.dtype.kind in "iu":
        lost, kind = narrow != array, "integers"
    elif array.dtype.kind in "fc":
        lost, kind = np.isfinite(array) & ~np.isfinite(narrow), "numbers"
    else:
        return narrow
    if lost.any():
        raise ValueError(
            f"{what} holds {kind} out of range for {narrow.dtype}, such as {array[lost].flat[0]}. Use smaller "
            f"{kind}, or call jax.config.update('jax_enable_x64', True) first"
        )
    return narrow
