"""Any stored training sweep with its settings as recipes, so that tables and pictures can speak of it."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from jaxreg.lab.lanes import OVER
from jaxreg.lab.record import NONE
from jaxreg.lab.results import open_store


def open_sweep(folder: str | Path) -> xr.Dataset:
    """Read a stored training sweep, its axes other than seed and draw flattened into one dimension `recipe`.

    A setting is labelled by its axes, such as "l2=0.001"; where there is one axis, of numbers, they are its coordinate
    `strength`, and 0 is labelled "none", the baseline.

    Args:
        folder: The store of a sweep over `jaxreg.lab.fit`.

    Raises:
        FileNotFoundError: There is no store.
        ValueError: The store is damaged, not finished, or holds no trainings.

    Example:
        >>> import tempfile
        >>> from jaxreg.lab import sweep
        >>> def run(l2, seed):
        ...     return {"test_loss": (l2 - seed) ** 2, "diverged_at": -1 + 0 * seed}
        >>> with tempfile.TemporaryDirectory() as store:
        ...     _ = sweep(run, {"l2": [0.0, 0.5], "seed": [0, 1]}, store)
        ...     open_sweep(store)["recipe"].values.tolist()
        ['none', 'l2=0.5']
    """
    dataset = open_store(folder)
    if not {"diverged_at", "test_loss"} <= set(dataset):
        raise ValueError(
            f"{folder} holds {', '.join(map(str, dataset)) or 'nothing'}; expected a sweep of trainings, whose lanes "
            "have at least test_loss and diverged_at, as jaxreg.lab.fit gives them"
        )
    dataset = dataset.load()
    if "recipe" in dataset.dims:
        return dataset
    axes = [str(dim) for dim in dataset["diverged_at"].dims if dim not in OVER]
    values = [dataset[axis].values for axis in axes]
    numeric = len(axes) == 1 and np.issubdtype(values[0].dtype, np.number)
    labels = [_label(axes, point, numeric) for point in product(*values)]
    strength = values[0].astype(float) if numeric else np.full(len(labels), np.nan)
    flat = dataset.stack(recipe=axes, create_index=False) if axes else dataset.expand_dims("recipe")
    flat = flat.drop_vars(axes).assign_coords(
        recipe=labels,
        method=("recipe", [NONE if label == NONE else ", ".join(axes) or "all" for label in labels]),
        strength=("recipe", strength),
    )
    return flat if set(OVER) & set(flat["diverged_at"].dims) else flat.expand_dims(seed=[0])


def _label(axes: list[str], point: tuple[Any, ...], numeric: bool) -> str:
    if numeric and point[0] == 0:
        return NONE
    shown = [f"{value:g}" if isinstance(value, float | np.floating) else str(value) for value in point]
    return ", ".join(f"{axis}={value}" for axis, value in zip(axes, shown, strict=True)) or "all"
