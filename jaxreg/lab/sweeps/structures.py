"""Conversion of stored outputs back to the tree that `run` returned, such as a module or an optimiser state."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxreg.lab.labelled import Labelled
from jaxreg.lab.sweeps.grid import LANE
from jaxreg.lab.sweeps.outputs import is_labelled, key_name


@dataclass(frozen=True)
class Structure:
    """Structure of the outputs of `run`: the tree, and the name, shape and type of each array.

    For a leaf that is not an array, the structure contains the leaf itself.
    """

    tree: Any
    leaves: tuple[tuple[str, Any], ...]

    @classmethod
    def of(cls, outputs: Any) -> "Structure":
        """Return the structure of a tree of outputs. The arrays may be traced."""
        found, tree = jax.tree_util.tree_flatten_with_path(outputs, is_leaf=is_labelled)
        return cls(tree, tuple(("/".join(map(key_name, path)), _described(leaf)) for path, leaf in found))

    def filled(self, dataset: xr.Dataset) -> Any:
        """Convert the dataset of a single run to a tree of outputs with this structure."""
        return jax.tree.unflatten(self.tree, [_value(dataset, name, leaf) for name, leaf in self.leaves])


def _described(leaf: Any) -> Any:
    values = leaf.values if isinstance(leaf, Labelled) else leaf
    if isinstance(values, bool | int | float | complex):
        values = jnp.asarray(values)
    if not hasattr(values, "dtype"):
        return values
    return jax.ShapeDtypeStruct(values.shape, values.dtype)  # type: ignore[no-untyped-call]


def _value(dataset: xr.Dataset, name: str, leaf: Any) -> Any:
    if not isinstance(leaf, jax.ShapeDtypeStruct):
        return leaf
    if name not in dataset:
        raise ValueError(
            f"the dataset has no output {name!r}; expected one of {', '.join(map(str, dataset.data_vars))}"
        )
    values = dataset[name].values
    if _is_missing(dataset, name, leaf, values):
        raise ValueError(
            f"output {name!r} of this run is missing: keep=best(…) dropped it, or the run was stopped. Select one of "
            "the best runs"
        )
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.asarray(values.astype(np.uint32)), impl=leaf.dtype._impl.name)
    if values.ndim != len(leaf.shape) or any(
        size < wanted for size, wanted in zip(values.shape, leaf.shape, strict=True)
    ):
        raise ValueError(f"output {name!r} of this run has shape {values.shape}; expected {leaf.shape}")
    return jnp.asarray(values[tuple(map(slice, leaf.shape))]).astype(leaf.dtype)


def _is_missing(dataset: xr.Dataset, name: str, leaf: Any, values: np.ndarray) -> bool:
    """Tell whether a value is NaN because it was not stored, not because the run diverged."""
    if not values.size or values.dtype.kind not in "fc" or not np.isnan(values).all():
        return False
    return not jnp.issubdtype(leaf.dtype, jnp.inexact) or f'"{name}"' in dataset.attrs.get("keep", "")


_known: dict[str, tuple[np.ndarray | None, tuple[Structure, ...]]] = {}
"""Hash of a sweep -> the structures of its outputs, and the index of each lane's structure if there are several."""


def remember(sweep: str, structures: Sequence[Structure], part: np.ndarray | None = None) -> None:
    """Remember the tree structures of a sweep's outputs until this process ends.

    Args:
        sweep: Hash of the sweep.
        structures: Structure of the outputs of each compiled program of the sweep.
        part: For each run, the index of its program; None for a single program.
    """
    _known[sweep] = part, tuple(structures)


def unflatten(dataset: xr.Dataset, lane: int | Mapping[str, Any], like: Any = None) -> Any:
    """Return the outputs of one run in the tree structure that your function `run` returned.

    Args:
        dataset: Results of a sweep, as `sweep` or `open_store` returns them.
        lane: Index of the run, with the last axis varying fastest. Or a dict from axes to coordinate values.
        like: Tree with the structure of the outputs, such as ``{"params": params}``. Its leaves are arrays or shapes.
            `like` is not needed in the process that ran the sweep. In another process, pass `like`, or first call
            `sweep` again with the same arguments and store.

    Returns:
        The tree, with JAX arrays. Stored random keys are JAX keys again.

    Raises:
        ValueError: If the structure of the outputs is unknown, or `lane` does not select exactly one run.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> from jaxreg.lab import sweep
        >>> def run(rate):
        ...     return {"state": optax.adam(rate).init(jnp.zeros(3)), "square": rate**2}
        >>> found = sweep(run, {"rate": [0.1, 0.2]}, progress=False)
        >>> type(unflatten(found, {"rate": 0.2})["state"][0]).__name__
        'ScaleByAdamState'
    """
    text = dataset.attrs.get("grid", "")
    dims = [LANE] if " + " in text else re.findall(r"(\w+) \(", text)
    sizes = {dim: dataset.sizes[dim] for dim in dims if dim in dataset.sizes}
    total = int(np.prod(list(sizes.values())))
    if isinstance(lane, Mapping):
        index = _found(dataset, lane, sizes)
    elif isinstance(lane, bool) or not isinstance(lane, int | np.integer) or not 0 <= lane < total:
        raise ValueError(f"`lane` is {lane!r}; expected an index from 0 to {total - 1}, or a dict from axis to value")
    else:
        index = [int(row) for row in np.unravel_index(lane, tuple(sizes.values()))]
    here = dataset.isel(dict(zip(sizes, index, strict=True)))
    if "unfinished" in dataset.attrs and not here.coords["finished"].item():
        raise ValueError(f"run {lane} is not finished: call the same sweep again to complete it")
    return _structure(dataset, like, index, tuple(sizes.values())).filled(here)


def _found(dataset: xr.Dataset, lane: Mapping[str, Any], sizes: Mapping[str, int]) -> list[int]:
    """Return the index along each axis of the single run whose coordinates have the given values."""
    left = {dim: np.ones(size, bool) for dim, size in sizes.items()}
    for name, value in lane.items():
        coordinate = dataset[name] if name in dataset.coords or name in sizes else None
        if coordinate is None or len(coordinate.dims) != 1 or coordinate.dims[0] not in sizes:
            raise ValueError(
                f"`lane` has an entry {name!r}, which is neither an axis nor a setting; expected one of "
                f"{', '.join(sizes)}"
            )
        values = coordinate.values
        same = values == value
        if values.dtype.kind == "f" and value is None:
            same = np.isnan(values)
        elif values.dtype.kind == "f" and isinstance(value, int | float | np.number) and not same.any():
            same = np.isclose(values, value, 1e-6, 0)
        left[str(coordinate.dims[0])] &= same
    for dim, rows in left.items():
        if rows.sum() != 1:
            found = "no run" if not rows.any() else f"{rows.sum()} entries of {dim!r}"
            raise ValueError(f"{dict(lane)} selects {found}; expected a dict that selects exactly one run")
    return [int(rows.argmax()) for rows in left.values()]


def _structure(dataset: xr.Dataset, like: Any, index: list[int], shape: tuple[int, ...]) -> Structure:
    if like is not None:
        return Structure.of(like)
    part, structures = _known.get(dataset.attrs.get("sweep", ""), (None, ()))
    instead = "Or pass like=tree, where `tree` has the structure of the outputs of the selected run"
    if not structures:
        raise ValueError(
            "the structure of the outputs is unknown, because this process did not run the sweep. First call the same "
            f"`sweep` again, which reads finished runs from its store. {instead}"
        )
    if part is None or len(structures) == 1:
        return structures[0]
    if part.size != np.prod(shape):
        raise ValueError(
            f"the dataset has {int(np.prod(shape))} of the {part.size} runs of the sweep; expected all runs. The "
            "structure of the outputs may differ between runs, and is looked up by the index of the run in the whole "
            f"sweep. Pass the whole dataset. {instead}"
        )
    return structures[part[np.ravel_multi_index(index, shape)]]
