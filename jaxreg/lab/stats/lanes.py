"""Runs of a stored sweep as the statistics see them: diverged ones, and independent units.

Runs that share a draw of the data are not independent of each other. So the draws are the units of every mean and
interval, and the seeds inside a draw are averaged first. With one draw only, the seeds are the units, and the result is
about that one data set.

A run that diverged is named wherever it matters and is never averaged silently.
"""

from collections.abc import Hashable, Sequence

import numpy as np
import xarray as xr

OVER = ("draw", "seed")

# Sweeps are stored in float32, so means that agree to a few of its last digits are the same result.
TIE = 4 * float(np.finfo(np.float32).eps)


def diverged(dataset: xr.Dataset) -> tuple[str, ...]:
    """Return the names of the runs of a sweep that diverged.

    Args:
        dataset: A stored training sweep with the variable `diverged_at` (an epoch, or -1).

    Returns:
        One name per run, such as `"recipe=L2(0.1), seed=0, draw=3"`, in the order of the dataset.

    Raises:
        ValueError: If the dataset has no `diverged_at`.

    Example:
        >>> at = xr.DataArray([-1, 250], dims="seed", coords={"seed": [0, 1]})
        >>> diverged(xr.Dataset({"diverged_at": at}))
        ('seed=1',)
    """
    return named(_diverged_at(dataset) >= 0)


def mask_diverged(dataset: xr.Dataset) -> xr.Dataset:
    """Replace every figure of a diverged run by NaN, from the epoch on at which it diverged.

    The accuracy of a diverged model is a finite number that means nothing. Blanked, the run is refused and named by
    every statistic.

    Args:
        dataset: A stored training sweep with the variable `diverged_at` (an epoch, or -1). Variables
            without an `epoch` dimension are taken to be measured at the end.

    Returns:
        The dataset with floating-point variables blanked; the others are as they were.

    Raises:
        ValueError: If the dataset has no `diverged_at`.

    Example:
        >>> at = xr.DataArray([-1, 2], dims="seed")
        >>> loss = xr.DataArray(np.ones((2, 3)), dims=("seed", "epoch"), coords={"epoch": [0, 1, 2]})
        >>> mask_diverged(xr.Dataset({"loss": loss, "diverged_at": at})).loss.values.tolist()
        [[1.0, 1.0, 1.0], [1.0, 1.0, nan]]
    """
    at = _diverged_at(dataset)

    def blank(values: xr.DataArray) -> xr.DataArray:
        if not (np.issubdtype(values.dtype, np.floating) and set(at.dims) <= set(values.dims)):
            return values
        alive = (at < 0) | (values["epoch"] < at) if "epoch" in values.dims else at < 0
        return values.where(alive).transpose(*values.dims)

    return dataset.assign({name: blank(values) for name, values in dataset.data_vars.items()})


def named(flags: xr.DataArray) -> tuple[str, ...]:
    """Return the names of the true entries of a boolean array, by their labels along every dimension.

    Args:
        flags: A boolean array; a dimension without labels is named by position.

    Returns:
        One name per entry, such as `"draw=3, seed=0"`.

    Example:
        >>> named(xr.DataArray([False, True], dims="draw", coords={"draw": [10, 11]}))
        ('draw=11',)
    """
    return tuple(
        ", ".join(f"{dim}={flags[dim].values[at]}" for dim, at in zip(flags.dims, place, strict=True))
        for place in np.argwhere(flags.values)
    )


def finite(values: xr.DataArray) -> xr.DataArray:
    """Return whether each entry is a finite number.

    Args:
        values: Any numbers.

    Returns:
        A boolean array with the labels of `values`.

    Example:
        >>> finite(xr.DataArray([1.0, np.nan])).values.tolist()
        [True, False]
    """
    flags: xr.DataArray = xr.apply_ufunc(np.isfinite, values)
    return flags


def unit(values: xr.DataArray, over: Sequence[Hashable] = OVER) -> str:
    """Return the dimension of the independent units: the first of `over` with more than one entry.

    Args:
        values: One number per run.
        over: Dimensions to average over, the outermost unit first.

    Returns:
        A dimension of `values`: `"draw"` when there are several draws, `"seed"` when there is one.

    Raises:
        ValueError: If `values` has none of these dimensions, or a longer one that is not among them.

    Example:
        >>> unit(xr.DataArray(np.zeros((4, 3)), dims=("draw", "seed")))
        'draw'
        >>> unit(xr.DataArray(np.zeros((1, 3)), dims=("draw", "seed")))
        'seed'
    """
    present = [dim for dim in over if dim in values.dims]
    if not present:
        raise ValueError(
            f"no dimension to average over: got dimensions {values.dims}, expected at least one of "
            f"{tuple(over)}; name the dimensions with over=(...)"
        )
    left = [dim for dim in values.dims if dim not in over and values.sizes[dim] > 1]
    if left:
        raise ValueError(
            f"dimension {left[0]!r} has {values.sizes[left[0]]} entries and is not averaged: got dimensions "
            f"{values.dims}, expected only {tuple(over)}; select one entry first, e.g. .isel({left[0]}=-1)"
        )
    return str(next((dim for dim in present if values.sizes[dim] > 1), present[0]))


def per_unit(values: xr.DataArray, over: Sequence[Hashable] = OVER, *, drop: bool = False) -> xr.DataArray:
    """Average the runs inside each unit: one number per draw (or a seed, if there is one draw).

    Args:
        values: One number per run.
        over: Dimensions to average over, the outermost unit first.
        drop: Leave lanes that are not finite out instead of refusing them. Whoever asks for it also
            reports their names (`named(~finite(values))`).

    Returns:
        Float64 numbers along one dimension; units in which no lane is left are gone.

    Raises:
        ValueError: For a lane that is not finite, naming it; if no lane is left; and as `unit` does.

    Example:
        >>> per_unit(xr.DataArray([[1.0, 3.0], [5.0, 7.0]], dims=("draw", "seed"))).values
        array([2., 6.])
    """
    along = unit(values, over)
    lanes = values.astype(np.float64).squeeze([dim for dim in values.dims if dim not in over])
    bad = ~finite(lanes)
    if not drop:
        refuse(bad)
    inner = [dim for dim in lanes.dims if dim != along]
    means = lanes.where(~bad).mean(inner, skipna=True) if inner else lanes.where(~bad)
    means = means.dropna(along)
    if means.size == 0:
        raise ValueError(f"no finite lane is left of {bad.size}: got only diverged ones, expected at least one")
    return means


def differences(
    a: xr.DataArray, b: xr.DataArray, over: Sequence[Hashable] = OVER, *, drop_diverged: bool = False
) -> xr.DataArray:
    """Compute the paired differences a − b, one per unit: the numbers behind every comparison.

    Args:
        a: One number per run, on the same draws and seeds as `b`.
        b: The other side.
        over: Dimensions to average over, the outermost unit first.
        drop_diverged: Whether to leave out the pairs in which a side is not finite, instead of refusing them.

    Returns:
        Float64 differences along the unit's dimension. Differences within rounding (4 ulp of float32)
        are exactly 0.

    Raises:
        ValueError: If the sides have different labels or dimensions; for lanes that are not finite.

    Example:
        >>> a = xr.DataArray([[0.9, 0.7], [0.8, 0.8]], dims=("draw", "seed"))
        >>> b = xr.DataArray([[0.7, 0.7], [0.8, 0.8]], dims=("draw", "seed"))
        >>> differences(a, b).values.round(3)
        array([0.1, 0. ])
    """
    x, y = _aligned(a, b)
    both = finite(x) & finite(y)
    first = per_unit(x.where(both), over, drop=drop_diverged)
    second = per_unit(y.where(both), over, drop=drop_diverged)
    gap = first - second
    return gap.where(abs(gap) > TIE * np.maximum(abs(first), abs(second)), 0.0)


def left_out(a: xr.DataArray, b: xr.DataArray) -> tuple[str, ...]:
    """Return the names of the runs that `differences` leaves out with `drop_diverged`.

    Args:
        a: One number per run, on the same draws and seeds as `b`.
        b: The other side.

    Returns:
        One name per pair in which a side is not finite.

    Raises:
        ValueError: If the sides have different labels or dimensions.

    Example:
        >>> left_out(xr.DataArray([1.0, np.nan], dims="draw"), xr.DataArray([1.0, 1.0], dims="draw"))
        ('draw=1',)
    """
    x, y = _aligned(a, b)
    return named(~(finite(x) & finite(y)))


def refuse(bad: xr.DataArray) -> None:
    """Raise if there are runs that cannot be averaged, naming the first few.

    Args:
        bad: True where a lane is not finite.

    Raises:
        ValueError: If any is.

    Example:
        >>> refuse(xr.DataArray([False, False], dims="draw"))
    """
    names = named(bad)
    if names:
        shown = "; ".join(names[:5]) + (" …" if len(names) > 5 else "")
        raise ValueError(
            f"{len(names)} of {bad.size} lanes are not finite: {shown}. Expected finite numbers, because a "
            f"diverged lane has no mean: report it, or leave it out with drop_diverged=True where there is one"
        )


def _diverged_at(dataset: xr.Dataset) -> xr.DataArray:
    if "diverged_at" not in dataset:
        raise ValueError(
            f"the dataset has no variable 'diverged_at': got {sorted(map(str, dataset.data_vars))}, expected "
            f"a training sweep, which stores the epoch at which each lane diverged (-1 if it did not)"
        )
    return dataset["diverged_at"]


def _aligned(a: xr.DataArray, b: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    if set(a.dims) != set(b.dims):
        raise ValueError(
            f"the sides of a paired comparison differ in their dimensions: got {a.dims} and {b.dims}, "
            f"expected the same draws and seeds on both; select one recipe and one epoch on each side"
        )
    try:
        return xr.align(a.astype(np.float64), b.astype(np.float64).transpose(*a.dims), join="exact")
    except ValueError as error:
        raise ValueError(
            f"the sides of a paired comparison were not run on the same lanes: got {dict(a.sizes)} and "
            f"{dict(b.sizes)} with labels that differ, expected the same draws and seeds on both ({error})"
        ) from error
