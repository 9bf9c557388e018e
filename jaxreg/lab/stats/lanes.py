"""Find the diverged runs of a stored sweep, and average the runs of each independent unit.

Runs that share a draw of the data are not independent. So the draws are the units of every mean and interval, and the
seeds of a draw are averaged first. With only one draw, the seeds are the units. The result then holds for that one data
set only.

Statistics never average a diverged run silently. They raise an error with the name of the run, return NaN, or drop the
run and return its name.
"""

import warnings
from collections.abc import Hashable, Sequence

import numpy as np
import xarray as xr

OVER = ("draw", "seed")

# Sweeps are stored in float32, so two means that agree up to the last few digits are the same result.
TIE = 4 * float(np.finfo(np.float32).eps)


def diverged(dataset: xr.Dataset) -> tuple[str, ...]:
    """List the diverged runs of a sweep by their coordinates, such as "seed=0, draw=3".

    Args:
        dataset: Dataset of a sweep. Its variable `diverged_at` gives the epoch at which a run diverged, or -1. Without
            this variable, a run has diverged if a floating-point variable with one number per run is NaN or infinite.

    Returns:
        One name per diverged run, such as `"recipe=L2(0.1), seed=0, draw=3"`, in the order of the dataset.

    Raises:
        ValueError: If the dataset has neither `diverged_at` nor a floating-point variable with one number per run.

    Example:
        >>> at = xr.DataArray([-1, 250], dims="seed", coords={"seed": [0, 1]})
        >>> diverged(xr.Dataset({"diverged_at": at}))
        ('seed=1',)
    """
    return named(_diverged_at(dataset) >= 0)


def mask_diverged(dataset: xr.Dataset) -> xr.Dataset:
    """Replace the values of diverged runs by NaN, from the epoch of divergence on.

    A diverged model still has an accuracy, which is a finite but meaningless number. After the replacement,
    statistics cannot average this number unnoticed. They raise an error that names the run, return NaN, or drop the run
    on request.

    Args:
        dataset: Dataset of a sweep. Its variable `diverged_at` gives the epoch at which a run diverged, or -1.
            Variables without an `epoch` dimension are assumed to be measured after the last epoch. Without
            `diverged_at`, a run has diverged if a floating-point variable with one number per run (so without an
            `epoch` dimension) is NaN or infinite. All values of this run, at every epoch, are then replaced.

    Returns:
        The dataset, with NaN for the values of diverged runs from the epoch of divergence on. This applies to
        floating-point variables with one or more values per run. All other variables are unchanged.

    Raises:
        ValueError: If the dataset has neither `diverged_at` nor a floating-point variable with one number per run.

    Example:
        >>> at = xr.DataArray([-1, 2], dims="seed")
        >>> loss = xr.DataArray(np.ones((2, 3)), dims=("seed", "epoch"), coords={"epoch": [0, 1, 2]})
        >>> mask_diverged(xr.Dataset({"loss": loss, "diverged_at": at})).loss.values.tolist()
        [[1.0, 1.0, 1.0], [1.0, 1.0, nan]]
    """
    at = _diverged_at(dataset)
    if (at < 0).all():
        return dataset

    def blank(values: xr.DataArray) -> xr.DataArray:
        if not (np.issubdtype(values.dtype, np.floating) and set(at.dims) <= set(values.dims)):
            return values
        staged = "epoch" in values.dims and "diverged_at" in dataset
        alive = (at < 0) | (values["epoch"] < at) if staged else at < 0
        return values.where(alive).transpose(*values.dims)

    return dataset.assign({name: blank(values) for name, values in dataset.data_vars.items()})


def named(flags: xr.DataArray) -> tuple[str, ...]:
    """Return the coordinates of each true entry of a boolean array as text, such as "seed=1, draw=3".

    Args:
        flags: Boolean array. In a dimension without labels, the position stands for the label.

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


def dims_of(over: Sequence[Hashable]) -> tuple[Hashable, ...]:
    """Return the names in an argument `over` as a tuple. The argument is a sequence of names or a single name.

    Example:
        >>> dims_of("seed"), dims_of(["draw", "seed"])
        (('seed',), ('draw', 'seed'))
    """
    return (over,) if isinstance(over, str) else tuple(over)


def has_words(values: xr.DataArray, dim: Hashable) -> bool:
    """Return whether the labels of a dimension are words. The entries of such a dimension are settings, not runs.

    Example:
        >>> has_words(xr.DataArray([1.0], dims="kind", coords={"kind": ["L2"]}), "kind")
        True
    """
    return dim in values.coords and all(isinstance(label, str) for label in values[dim].values.tolist())


def one_entry(values: xr.DataArray, dim: Hashable) -> str:
    """Return code that selects the last entry of a dimension, for an error message.

    The code uses the label if the labels are words, and the position otherwise.

    Example:
        >>> one_entry(xr.DataArray([1.0, 2.0], dims="kind", coords={"kind": ["L1", "L2"]}), "kind")
        ".sel(kind='L2')"
        >>> one_entry(xr.DataArray([1.0, 2.0], dims="rate"), "rate")
        '.isel(rate=-1)'
    """
    return f".sel({dim}={values[dim].values.tolist()[-1]!r})" if has_words(values, dim) else f".isel({dim}=-1)"


def finite(values: xr.DataArray) -> xr.DataArray:
    """Return a boolean array that is True where an entry of `values` is finite.

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
    """Return the name of the dimension whose entries are statistically independent, such as "draw".

    This is the first dimension in `over` with more than one entry. Means and intervals are taken across its entries.

    Args:
        values: One number per run.
        over: Name or names of the dimensions along which there are runs, outermost first.

    Returns:
        A dimension of `values`. By default, it is `"draw"` if there are several draws, and `"seed"` if there is only
            one draw.

    Raises:
        ValueError: If `values` has none of the dimensions in `over`. If a dimension outside `over` has several entries.

    Example:
        >>> unit(xr.DataArray(np.zeros((4, 3)), dims=("draw", "seed")))
        'draw'
        >>> unit(xr.DataArray(np.zeros((1, 3)), dims=("draw", "seed")))
        'seed'
    """
    along, over = _outermost(values, over), dims_of(over)
    left = [dim for dim in values.dims if dim not in over and values.sizes[dim] > 1]
    if left:
        runs = "" if has_words(values, left[0]) else f". If its entries are runs, pass over={(*over, left[0])}"
        raise ValueError(
            f"dimension {left[0]!r} has {values.sizes[left[0]]} entries; expected 1, because only {over} are "
            f"averaged. Select one entry, e.g. {one_entry(values, left[0])}{runs}"
        )
    return along


def units_last(values: xr.DataArray, over: Sequence[Hashable] = OVER) -> xr.DataArray:
    """Average all runs on the same draw of the data, for every combination of the other dimensions.

    Args:
        values: One number per run, with further dimensions such as settings.
        over: Name or names of the dimensions along which there are runs, outermost first. The result keeps one of
            these dimensions: the first that has more than one entry. The values are averaged over the others.

    Returns:
        Float64 numbers. The last dimension is `draw`, or `seed` if there is only one draw. A mean is NaN if one of its
        runs is not finite.

    Raises:
        ValueError: If `values` has none of the dimensions in `over`.

    Example:
        >>> units_last(xr.DataArray(np.ones((2, 3, 4)), dims=("seed", "draw", "rate"))).sizes
        Frozen({'rate': 4, 'draw': 3})
    """
    along, over = _outermost(values, over), dims_of(over)
    inner = [dim for dim in values.dims if dim in over and dim != along]
    return values.astype(np.float64).mean(inner, skipna=False).transpose(..., along)


def per_unit(values: xr.DataArray, over: Sequence[Hashable] = OVER, *, drop: bool = False) -> xr.DataArray:
    """Average all runs on the same draw of the data. If there is only one draw, return one value per seed.

    Args:
        values: One number per run.
        over: Name or names of the dimensions along which there are runs, outermost first. The result keeps one of
            these dimensions: the first that has more than one entry. The values are averaged over the others.
        drop: If True, runs that are not finite are dropped. The caller must then report the names of the dropped runs,
            which are `named(~finite(values))`. If False, runs that are not finite raise an error.

    Returns:
        Float64 numbers along one dimension. Draws (or seeds) without a finite run are dropped.

    Raises:
        ValueError: If `drop` is False and a run is not finite (the error names the run). If all runs would be dropped.
            If `unit` raises an error for these values.

    Example:
        >>> per_unit(xr.DataArray([[1.0, 3.0], [5.0, 7.0]], dims=("draw", "seed"))).values
        array([2., 6.])
    """
    along, over = unit(values, over), dims_of(over)
    lanes = values.astype(np.float64).squeeze([dim for dim in values.dims if dim not in over])
    there = np.isfinite(lanes.values)  # in NumPy: a report makes hundreds of comparisons, and xarray takes milliseconds
    if not (drop or there.all()):
        refuse(lanes.copy(data=~there))
    inner = [place for place, dim in enumerate(lanes.dims) if dim != along]
    counts, sums = (np.sum(each, axis=tuple(inner)) for each in (there, np.where(there, lanes.values, 0.0)))
    # A coordinate along both the units and other runs has no value per unit.
    if mixed := [name for name, coordinate in lanes.coords.items() if coordinate.ndim > 1]:
        lanes = lanes.drop_vars(mixed)
    means = lanes.isel({lanes.dims[place]: 0 for place in inner}, drop=True)
    means = means.copy(data=sums / np.maximum(counts, 1)).isel({along: counts > 0})
    if means.size == 0:
        raise ValueError(f"all {there.size} runs diverged; expected at least one finite run")
    return means


def differences(
    a: xr.DataArray, b: xr.DataArray, over: Sequence[Hashable] = OVER, *, drop_diverged: bool = False
) -> xr.DataArray:
    """Compute the paired differences a − b: one per draw of the data, or one per seed if there is only one draw.

    All comparisons of `jaxreg.lab.stats` use these differences.

    Args:
        a: One number per run, on the same draws and seeds as `b`.
        b: Baseline, with the same labels.
        over: Name or names of the dimensions along which there are runs, outermost first. The result keeps one of
            these dimensions: the first that has more than one entry. The values are averaged over the others: by
            default, over the seeds of each draw.
        drop_diverged: If True, pairs of runs in which `a` or `b` is not finite are dropped. If False, such a pair
            raises an error.

    Returns:
        Float64 differences along one dimension. A difference that may be a rounding error (up to 4 ulp of float32) is
        exactly 0.

    Raises:
        ValueError: If `a` and `b` differ in their labels or dimensions. If they have none of the dimensions in `over`,
            or a dimension outside `over` has several entries. If `drop_diverged` is False and a run is not finite. If
            all runs would be dropped.
        TypeError: If `a` or `b` is not an `xarray.DataArray`.

    Example:
        >>> a = xr.DataArray([[0.9, 0.7], [0.8, 0.8]], dims=("draw", "seed"))
        >>> b = xr.DataArray([[0.7, 0.7], [0.8, 0.8]], dims=("draw", "seed"))
        >>> differences(a, b).values.round(3)
        array([0.1, 0. ])
    """
    x, y = _aligned(a, b)
    both = np.isfinite(x.values) & np.isfinite(y.values)
    first, second = (
        per_unit(side.copy(data=np.where(both, side.values, np.nan)), over, drop=drop_diverged) for side in (x, y)
    )
    gap = first.values - second.values
    larger = np.maximum(abs(first.values), abs(second.values))
    return first.copy(data=np.where(abs(gap) > TIE * larger, gap, 0.0))


def left_out(a: xr.DataArray, b: xr.DataArray) -> tuple[str, ...]:
    """List the coordinates of the diverged runs that `differences(…, drop_diverged=True)` leaves out.

    Args:
        a: One number per run, on the same draws and seeds as `b`.
        b: Baseline, with the same labels.

    Returns:
        One name per pair in which `a` or `b` is not finite, such as "draw=3, seed=0".

    Raises:
        ValueError: If `a` and `b` have different labels or dimensions.
        TypeError: If `a` or `b` is not an `xarray.DataArray`.

    Example:
        >>> left_out(xr.DataArray([1.0, np.nan], dims="draw"), xr.DataArray([1.0, 1.0], dims="draw"))
        ('draw=1',)
    """
    x, y = _aligned(a, b)
    return named(x.copy(data=~(np.isfinite(x.values) & np.isfinite(y.values))))


def refuse(bad: xr.DataArray) -> None:
    """Raise an error if any run has a NaN or infinite value. The error names the first few runs with such values.

    Args:
        bad: True for each run that is not finite.

    Raises:
        ValueError: If any entry is true.

    Example:
        >>> refuse(xr.DataArray([False, False], dims="draw"))
    """
    names = named(bad)
    if names:
        shown = "; ".join(names[:5]) + (" …" if len(names) > 5 else "")
        raise ValueError(
            f"{len(names)} of {bad.size} runs have NaN or infinite values: {shown}. Their mean "
            "would not be finite. To leave them out, pass drop_diverged=True if the function has this argument, and "
            "say in your results how many were left out"
        )


def _outermost(values: xr.DataArray, over: Sequence[Hashable]) -> str:
    present = [dim for dim in dims_of(over) if dim in values.dims]
    if not present:
        raise ValueError(
            f"the values have dimensions {values.dims}; expected at least one of {dims_of(over)}. To average over "
            "other dimensions, pass their names as over=(...)"
        )
    along = str(next((dim for dim in present if values.sizes[dim] > 1), present[0]))
    if along in values.indexes and values.indexes[along].has_duplicates:
        different = values.indexes[along].nunique()
        warnings.warn(
            f"{along} has {values.sizes[along]} entries, but only {different} different values. Equal values give the "
            "same run again, so intervals are too narrow. Use different values, such as range(32) for seeds",
            stacklevel=3,
        )
    return along


def _diverged_at(dataset: xr.Dataset) -> xr.DataArray:
    # The epoch at which each run diverged, or -1. Without such an output: 0 for a run with a number that is not finite.
    if "diverged_at" in dataset:
        return dataset["diverged_at"]
    floating = [values for values in dataset.data_vars.values() if np.issubdtype(values.dtype, np.floating)]
    runs = set.intersection(*(set(values.dims) for values in floating)) - {"epoch"} if floating else set()
    single = [values for values in floating if set(values.dims) == runs]
    if not single:
        raise ValueError(
            f"the dataset has the variables {sorted(map(str, dataset.data_vars))}; expected a floating-point variable "
            "with one number per run. Add such a variable, or a variable 'diverged_at': the epoch at which each run "
            "diverged, or -1 for a run that did not diverge"
        )
    finite = np.logical_and.reduce([np.isfinite(values.transpose(*single[0].dims).values) for values in single])
    return single[0].copy(data=np.where(finite, -1, 0))


def _aligned(a: xr.DataArray, b: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    for name, side in (("a", a), ("b", b)):
        if not isinstance(side, xr.DataArray):
            raise TypeError(
                f"`{name}` is {type(side).__name__}; expected an xarray.DataArray whose dimensions have names, such as "
                f'xr.DataArray({name}, dims="seed")'
            )
    if set(a.dims) != set(b.dims):
        other = ", ".join(sorted(map(repr, set(a.dims) ^ set(b.dims))))
        raise ValueError(
            f"`a` has the dimensions {a.dims}, and `b` has {b.dims}; expected the same dimensions. Not in both: "
            f"{other}. Select one entry of such a dimension, average over it if its entries are repeated runs, or "
            "rename it"
        )
    try:
        return xr.align(a.astype(np.float64), b.astype(np.float64).transpose(*a.dims), join="exact")
    except ValueError as error:
        raise ValueError(
            f"`a` and `b` have different sizes or labels; expected the same runs in both. The sizes are "
            f"{dict(a.sizes)} and {dict(b.sizes)} ({error})"
        ) from error
