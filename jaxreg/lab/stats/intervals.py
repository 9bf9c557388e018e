"""Confidence intervals of means and proportions, built on SciPy."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import xarray as xr
from scipy import stats as scipy_stats

from jaxreg.lab.stats.lanes import OVER, finite, per_unit, refuse, units_last

# With fewer values, even the range of all resamples, from the smallest to the largest value, is no 95 % interval.
_FEW = 8


Values = TypeVar("Values", np.ndarray, xr.DataArray)


def mean_interval(
    values: Values,
    over: Sequence[Hashable] = OVER,
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[Values, Values]:
    """Compute a confidence interval of a mean by the BCa bootstrap, widened for small samples.

    A plain bootstrap interval of n values is too narrow, for two reasons. Its width is too small by the factor
    √((n − 1)/n), and it ignores that the spread is estimated from the same values. So the nominal level is raised,
    following Hesterberg. For symmetric data, the bootstrap interval is then close to Student's t interval. For skewed
    data, BCa corrects the ends. With fewer than 8 values, no bootstrap is used, and Student's t interval is returned.

    In simulations with 32 and 64 values, 95 % intervals contained the true mean in 93–96 % of cases for normal,
    discrete and exponential values. For heavy tails (Student's t with 3 degrees of freedom, log-normal), they contained
    the true mean in 90–93 % of cases.

    Args:
        values: An `xarray.DataArray` with one number per run, such as a result of a sweep, or a NumPy array of shape
            (..., n). The values of a NumPy array must be independent along the last axis.
        over: Name or names of the dimensions of a DataArray along which there are runs, outermost first: for example
            draws, then the seeds of each draw. By default, the seeds of each draw are averaged first, and the n values
            are the means of the draws. With only one draw, the n values are those of the seeds.
        confidence: Confidence level of the interval.
        resamples: Number of bootstrap resamples.
        seed: Seed of the bootstrap.

    Returns:
        Lower and upper end of each interval. For a NumPy array, each end has the shape (...). For a DataArray, each end
        has all dimensions of `values` except those in `over`. If all n values are equal, both ends are that value. With
        one value, or if one of the n values is not finite, both ends are NaN.

    Raises:
        ValueError: If a DataArray has none of the dimensions in `over`, the confidence is not between 0 and 1, or there
            are no values.

    Example:
        >>> low, high = mean_interval(np.arange(32.0))
        >>> bool(low < 15.5 < high)
        True
        >>> losses = xr.DataArray(np.ones((20, 3)), dims=("seed", "rate"), coords={"rate": [0.01, 0.1, 1.0]})
        >>> low, high = mean_interval(losses)  # over the seeds, one per rate
        >>> low.sel(rate=0.1).item()
        1.0

    Reference: Efron and Tibshirani (1993), chapter 14; Hesterberg (2015), The American Statistician 69.
    """
    if isinstance(values, xr.DataArray):
        units = units_last(values, over)
        ends: tuple[xr.DataArray, xr.DataArray] = xr.apply_ufunc(
            partial(mean_interval, confidence=confidence, resamples=resamples, seed=seed),
            units,
            input_core_dims=[[units.dims[-1]]],
            output_core_dims=[[], []],
            keep_attrs=True,
        )
        return ends
    x = np.asarray(values, dtype=np.float64)
    n = x.shape[-1] if x.ndim else 0
    check_confidence(confidence)
    if n == 0:
        raise ValueError(f"`values` has shape {x.shape}; expected at least one value along the last axis")
    if n == 1:
        return np.full(x.shape[:-1], np.nan), np.full(x.shape[:-1], np.nan)
    finite = np.asarray(np.isfinite(x).all(axis=-1))
    x = np.where(finite[..., None], x, 0.0)
    mean = np.where(finite, x.mean(axis=-1), np.nan)
    same = constant(x)
    quantile = scipy_stats.t.ppf((1 + confidence) / 2, n - 1)
    if n < _FEW:
        half = np.where(same, 0.0, quantile * x.std(axis=-1, ddof=1) / np.sqrt(n))
        return mean - half, mean + half
    found = scipy_stats.bootstrap(
        (np.where(same[..., None], np.arange(n, dtype=np.float64), x),),
        np.mean,
        axis=-1,
        n_resamples=resamples,
        batch=max(1, 4_000_000 // x.size),
        confidence_level=1 - 2 * scipy_stats.norm.sf(quantile * np.sqrt(n / (n - 1))),
        method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return np.where(same, mean, found.low), np.where(same, mean, found.high)


def constant(values: np.ndarray) -> np.ndarray:
    """Return whether all values along the last axis are equal, up to rounding in float64.

    Args:
        values: Shape (..., n).

    Returns:
        Booleans of shape (...).

    Example:
        >>> constant(np.array([0.3, 0.1 + 0.2])).item()
        True
    """
    return np.asarray(np.ptp(values, axis=-1) <= 1e-12 * np.abs(values).max(axis=-1))


def check_confidence(confidence: float) -> None:
    """Raise if a confidence level is not between 0 and 1. For 95 %, pass 0.95.

    Args:
        confidence: Confidence level of an interval.

    Raises:
        ValueError: If the number is not between 0 and 1.

    Example:
        >>> check_confidence(0.95)
    """
    if not 0 < confidence < 1:
        raise ValueError(f"`confidence` is {confidence}; expected a number between 0 and 1, such as 0.95")


def share_interval(share: float, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Compute Wilson's confidence interval for a proportion, such as the share of wins in `n` independent comparisons.

    If all comparisons are won, a bootstrap interval shrinks to a point. Wilson's interval stays wide, as it should: 3
    wins in 3 comparisons are weak evidence. A tie may count as half a win. Ties reduce the variance of the share, so
    the interval is then slightly too wide.

    Args:
        share: Observed proportion, between 0 and 1.
        n: Number of independent comparisons, such as draws of the data.
        confidence: Confidence level of the interval.

    Returns:
        Lower and upper end of the interval, both between 0 and 1.

    Raises:
        ValueError: If the share is not between 0 and 1, `n` is below 1, or the confidence is not between 0 and 1.

    Example:
        >>> [round(end, 3) for end in share_interval(1.0, 3)]
        [0.439, 1.0]

    Reference: Wilson (1927), Journal of the American Statistical Association 22.
    """
    check_confidence(confidence)
    if not (0 <= share <= 1 and n >= 1):
        raise ValueError(f"`share` is {share} and `n` is {n}; expected a share from 0 to 1 and an n of at least 1")
    z2 = scipy_stats.norm.ppf((1 + confidence) / 2) ** 2
    middle = (share * n + z2 / 2) / (n + z2)
    half = np.sqrt(z2) / (n + z2) * np.sqrt(n * share * (1 - share) + z2 / 4)
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))


@dataclass(frozen=True)
class InterquartileMean:
    """Result of `interquartile_mean`: the mean of the middle half of the values, with its confidence interval.

    There is one value per draw of each data set: the mean over the seeds of the draw.

    Attributes:
        value: Mean of the middle half of the values. The values of all data sets are pooled before the lowest and the
            highest quarter are dropped.
        low: Lower end of the confidence interval of `value`. Its level is the argument `confidence`, 95 % by default.
        high: Upper end of this interval.
        n: Number of values of each data set.
        strata: Number of data sets (strata).
    """

    value: float
    low: float
    high: float
    n: int
    strata: int


def interquartile_mean(
    values: xr.DataArray,
    over: Sequence[Hashable] = OVER,
    *,
    strata: Hashable = "dataset",
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> InterquartileMean:
    """Compute the interquartile mean of results on several data sets, with a bootstrap confidence interval.

    First, the seeds of each draw are averaged, which gives one value per draw of each data set. With only one draw,
    there is one value per seed instead. Then the values of all data sets are pooled, the lowest and the highest quarter
    are dropped, and the rest is averaged. The bootstrap resamples the values within each data set. So each resample has
    the same number of values per data set.

    With few draws, the intervals are too narrow. In simulations of three data sets, 95 % intervals contained the true
    value in this share of cases:

    - 10 or 32 draws per data set: 93 %
    - 5 draws: 90 %
    - 3 draws: 84 %
    - 2 draws: 76 %

    Args:
        values: One number per run, on a scale that all data sets share, such as accuracies.
        over: Name or names of the dimensions along which there are runs, outermost first: for example draws, then the
            seeds of each draw. The first of these dimensions that has more than one entry gives the values to pool. All
            other dimensions in `over` are averaged first.
        strata: Name of the dimension of the data sets. Without this dimension, all runs are one data set.
        confidence: Confidence level of the interval.
        resamples: Number of bootstrap resamples.
        seed: Seed of the bootstrap.

    Returns:
        An `InterquartileMean`.

    Raises:
        ValueError: If a run is not finite, a data set has fewer than two values, or the confidence is not between 0 and
            1. Also if `values` has none of the dimensions in `over`, or a further dimension with more than one entry.

    Example:
        >>> values = xr.DataArray([[1.0, 2.0, 3.0, 90.0], [1.0, 2.0, 3.0, 4.0]], dims=("dataset", "draw"))
        >>> interquartile_mean(values).value
        2.5

    Reference: Agarwal and others (2021), Deep reinforcement learning at the edge of the statistical precipice.
    """
    check_confidence(confidence)
    table = values if strata in values.dims else values.expand_dims({strata: 1})
    refuse(~finite(table))
    groups = [per_unit(table.isel({strata: i}), over).values for i in range(table.sizes[strata])]
    n = len(groups[0])
    if n < 2:
        raise ValueError(
            f"`interquartile_mean`: each data set has {n} draw; expected at least 2, because the bootstrap resamples "
            "the draws"
        )

    def pooled(*samples: np.ndarray, axis: int) -> Any:
        return scipy_stats.trim_mean(np.concatenate(samples, axis=axis), 0.25, axis=axis)

    ends = scipy_stats.bootstrap(
        groups,
        pooled,
        axis=-1,
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, 4_000_000 // (n * len(groups))),
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    value = float(pooled(*groups, axis=-1))
    return InterquartileMean(value, float(ends.low), float(ends.high), n, len(groups))
