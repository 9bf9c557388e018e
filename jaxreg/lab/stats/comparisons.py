"""Paired comparisons on shared draws and seeds: the mean difference, its interval and how often `a` beats `b`.

All differences are a − b. Both `a` and `b` are trained on the same draws and from the same seeds. So effects of a draw
or a seed on both of them cancel.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import xarray as xr
from scipy import stats as scipy_stats

from jaxreg.lab.cards import card, short
from jaxreg.lab.stats.directions import lower
from jaxreg.lab.stats.intervals import (
    check_confidence,
    constant,
    mean_interval,
    share_interval,
)
from jaxreg.lab.stats.lanes import OVER, differences, left_out, unit


@dataclass(frozen=True)
class Paired:
    """Result of `paired`: the mean difference with its confidence interval, and the numbers of wins and losses.

    A difference is the value of `a` minus the value of `b`, where `a` and `b` are the arguments of `paired`. Each draw
    gives one difference. If there is only one draw, each seed gives one difference.

    Attributes:
        mean: Mean of the differences a − b. If lower values are better, a negative mean is in favour of `a`.
        low: Lower end of the interval of the mean; NaN if there is only one difference.
        high: Upper end of the interval of the mean; NaN if there is only one difference.
        sd: Standard deviation of the differences (n − 1); NaN if there is only one difference.
        wins: Number of draws (or seeds) in which `a` is better than `b`: lower for a loss, higher for a score.
        ties: Number of draws (or seeds) in which `a` and `b` are equal up to rounding in float32.
        losses: Number of draws (or seeds) in which `b` is better than `a`.
        n: Number of differences.
        unit: Dimension along which the differences lie, such as `"draw"` or `"seed"`.
        confidence: Confidence level of the interval, such as 0.95.
        diverged: Coordinates of the runs that were dropped because `a` or `b` was not finite, such as "draw=3, seed=0".
    """

    mean: float
    low: float
    high: float
    sd: float
    wins: int
    ties: int
    losses: int
    n: int
    unit: str
    confidence: float = 0.95
    diverged: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Paired({', '.join(f'{name}={short(value)}' for name, value in vars(self).items())})"

    def _repr_html_(self) -> str:
        rows = [
            ["mean", short(self.mean)],
            [f"{100 * self.confidence:g} % interval", f"{short(self.low)} to {short(self.high)}"],
            ["better, equal, worse", f"{self.wins}, {self.ties}, {self.losses} of {self.n} {self.unit}s"],
            *([["left out, diverged", str(len(self.diverged))]] if self.diverged else []),
        ]
        return card("Paired differences a \N{MINUS SIGN} b", [], rows)


def paired(
    a: xr.DataArray,
    b: xr.DataArray,
    over: Sequence[Hashable] = OVER,
    *,
    lower_is_better: bool | None = None,
    drop_diverged: bool = False,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Paired:
    """Compare `a` with `b` on the same data and seeds: mean difference, confidence interval, wins and losses.

    Args:
        a: One number per run, e.g. `sweep.test_accuracy.sel(recipe="L2(0.001)").isel(epoch=-1)`.
        b: Baseline, with the same labels.
        over: Name or names of the dimensions along which there are runs, outermost first. By default, the seeds of each
            draw are averaged, and each draw gives one difference. With only one draw, each seed gives one difference.
        lower_is_better: True if lower values are better, False if higher values are better. By default, a word in the
            name of the values decides: "loss" or "error" stand for lower, "accuracy" or "score" for higher, and so on.
            Values without a name are better if they are higher. For any other name, this argument is required.
        drop_diverged: If True, pairs of runs in which `a` or `b` is not finite are dropped. The result then describes
            only the other pairs. If False, such a pair raises an error.
        confidence: Confidence level of the interval, between 0 and 1.
        resamples: Number of bootstrap resamples.
        seed: Seed of the bootstrap; the same seed gives the same interval.

    Returns:
        A `Paired`. The differences are always a − b, and `lower_is_better` affects only the wins and losses. The field
        `diverged` names the dropped runs. If no pair is left, the field `n` is 0.

    Raises:
        ValueError: If a run is not finite and `drop_diverged` is False; the error names the run. If the dimensions or
            labels of `a` and `b` differ. If they have none of the dimensions in `over`. If a dimension outside `over`
            has several entries. If the confidence is not between 0 and 1. If `lower_is_better` is None, and the name of
            the values contains no word that decides. If `lower_is_better` is None, and values named as a loss are
            negative. They may be negated losses, so it is unclear which values are better.
        TypeError: If `a` or `b` is not an `xarray.DataArray`.

    Example:
        On four draws, the accuracy with L2 is higher by 0.03, 0, 0.03 and -0.01.

        >>> with_l2 = xr.DataArray([0.93, 0.91, 0.95, 0.90], dims="draw")
        >>> without = xr.DataArray([0.90, 0.91, 0.92, 0.91], dims="draw")
        >>> result = paired(with_l2, without)
        >>> round(result.mean, 4), result.wins, result.ties, result.losses
        (0.0125, 2, 1, 1)
    """
    gone = left_out(a, b)
    if drop_diverged and len(gone) == a.size:
        check_confidence(confidence)
        nan = float("nan")
        return Paired(nan, nan, nan, nan, 0, 0, 0, 0, unit(a, over), confidence, gone)
    gap = differences(a, b, over, drop_diverged=drop_diverged)
    low, high = mean_interval(gap.values, confidence=confidence, resamples=resamples, seed=seed)
    better = -gap.values if lower(lower_is_better, a, b) else gap.values
    return Paired(
        mean=float(gap.mean()),
        low=float(low),
        high=float(high),
        sd=float(gap.std(ddof=1)) if gap.size > 1 else float("nan"),
        wins=int((better > 0).sum()),
        ties=int((better == 0).sum()),
        losses=int((better < 0).sum()),
        n=gap.size,
        unit=str(gap.dims[0]),
        confidence=confidence,
        diverged=gone,
    )


MEANINGFUL = 0.75
"""Threshold of `Verdict`, 0.75, for the probability that one recipe is better than another on a new draw.

A significant difference is also meaningful if the confidence interval of this probability reaches above the threshold.
So the upper end of the interval decides (Bouthillier and others, 2021).
"""


class Verdict(StrEnum):
    """Verdict of `outperforms`: not significant, significant but not meaningful, or significant and meaningful.

    The verdict depends on the confidence interval of P, the probability that `a` is better than `b` on a new draw. If
    even the upper end of the interval is at most 0.75, P is too small to matter in practice. A verdict equals its text,
    such as "not significantly better".

    Attributes:
        NOT_SIGNIFICANT: Verdict if the lower end of the interval is at most 0.5.
        NOT_MEANINGFUL: Verdict if the lower end is above 0.5, but the upper end is at most 0.75.
        MEANINGFUL: Verdict if the lower end is above 0.5, and the upper end is above 0.75.

    Reference: Bouthillier and others (2021), Accounting for variance in machine learning benchmarks.
    """

    NOT_SIGNIFICANT = "not significantly better"
    NOT_MEANINGFUL = "significant but not meaningful"
    MEANINGFUL = "significant and meaningful"


@dataclass(frozen=True)
class Outperforming:
    """Result of `outperforms`: the probability that `a` is better than `b`, its confidence interval and a verdict.

    Attributes:
        probability: Probability that `a` is better than `b` on a new draw; a tie counts one half.
        low: Lower end of the interval of the probability.
        high: Upper end of the interval of the probability.
        n: Number of draws, or number of seeds if there is only one draw.
        verdict: A `Verdict`. The difference is significant if `low` is above 0.5. A significant difference is also
            meaningful if the upper end of the interval, `high`, is above 0.75.
        diverged: Coordinates of the runs that were dropped because `a` or `b` was not finite, such as "draw=3, seed=0".
    """

    probability: float
    low: float
    high: float
    n: int
    verdict: Verdict
    diverged: tuple[str, ...] = ()


def outperforms(
    a: xr.DataArray,
    b: xr.DataArray,
    over: Sequence[Hashable] = OVER,
    *,
    lower_is_better: bool | None = None,
    drop_diverged: bool = False,
    confidence: float = 0.95,
) -> Outperforming:
    """Estimate the probability that `a` beats `b` on new data, and test whether this probability exceeds one half.

    `a` beats `b` on a draw if its value, averaged over the seeds, is better. The field `verdict` of the result says if
    the probability is significantly above one half. If so, it also says if the probability is large enough to be
    meaningful (see `Verdict`).

    The test has one direction: it shows if `a` is better, but not if `b` is better. To test the other direction, swap
    `a` and `b`.

    The interval of the probability is Wilson's. It assumes that the draws are independent, so each draw must be new
    data. Random splits of one table share rows, so they are not independent. For splits, use `nadeau_bengio`, because
    the interval here would be too narrow.

    Wilson's interval is only approximate for few draws. For example, 4 wins in 4 draws count as significant. If `a` and
    `b` are equally good, this happens with a probability of 1/16.

    `draws_for_probability` helps to choose the number of draws. With default arguments, `draws_for_probability` returns
    29. With 29 draws and a true probability of 0.75, `outperforms` reports a significant difference in 83 % of cases.

    Args:
        a: One number per run, on the same draws and seeds as `b`.
        b: Baseline, with the same labels.
        over: Name or names of the dimensions along which there are runs, outermost first. By default, the seeds of each
            draw are averaged, and each draw gives one difference. With only one draw, each seed gives one difference.
        lower_is_better: True if lower values are better, False if higher values are better. By default, a word in the
            name of the values decides: "loss" or "error" stand for lower, "accuracy" or "score" for higher, and so on.
            Values without a name are better if they are higher. For any other name, this argument is required.
        drop_diverged: If True, pairs of runs in which `a` or `b` is not finite are dropped. If False, such a pair
            raises an error.
        confidence: Confidence level of the interval, between 0 and 1.

    Returns:
        An `Outperforming`, with the fields `probability`, `low`, `high`, `n`, `verdict` and `diverged`. The field
        `diverged` names the dropped runs. If no pair is left, `n` is 0.

    Raises:
        ValueError: If a run is not finite and `drop_diverged` is False; the error names the run. If the dimensions or
            labels of `a` and `b` differ. If they have none of the dimensions in `over`. If a dimension outside `over`
            has several entries. If the confidence is not between 0 and 1. If `lower_is_better` is None, and the name of
            the values contains no word that decides. If `lower_is_better` is None, and values named as a loss are
            negative. They may be negated losses, so it is unclear which values are better.
        TypeError: If `a` or `b` is not an `xarray.DataArray`.

    Example:
        `a` is better in 22 of 29 draws.

        >>> a = xr.DataArray(np.r_[np.ones(22), np.zeros(7)], dims="draw")
        >>> result = outperforms(a, 1 - a)
        >>> round(result.probability, 3), result.verdict.value
        (0.759, 'significant and meaningful')

    Reference: Bouthillier and others (2021), Accounting for variance in machine learning benchmarks.
    """
    gone = left_out(a, b)
    if drop_diverged and len(gone) == a.size:
        check_confidence(confidence)
        nan = float("nan")
        return Outperforming(nan, nan, nan, 0, Verdict.NOT_SIGNIFICANT, gone)
    gap = differences(a, b, over, drop_diverged=drop_diverged).values * (-1 if lower(lower_is_better, a, b) else 1)
    probability = float(np.mean((gap > 0) + 0.5 * (gap == 0)))
    low, high = share_interval(probability, gap.size, confidence=confidence)
    if low <= 0.5:
        verdict = Verdict.NOT_SIGNIFICANT
    else:
        verdict = Verdict.MEANINGFUL if high > MEANINGFUL else Verdict.NOT_MEANINGFUL
    return Outperforming(probability, low, high, gap.size, verdict, gone)


def wilcoxon(
    a: xr.DataArray, b: xr.DataArray, over: Sequence[Hashable] = OVER, *, drop_diverged: bool = False
) -> float:
    """Test whether the paired differences a − b are symmetric around 0, by Wilcoxon's signed-rank test.

    The test ranks one difference per draw, or one per seed if there is only one draw.

    Args:
        a: One number per run, on the same draws and seeds as `b`.
        b: Baseline, with the same labels.
        over: Name or names of the dimensions along which there are runs, outermost first. By default, the seeds of each
            draw are averaged, and each draw gives one difference. With only one draw, each seed gives one difference.
        drop_diverged: If True, pairs of runs in which `a` or `b` is not finite are dropped. If False, such a pair
            raises an error.

    Returns:
        The two-sided p-value. Differences of 0 are dropped, as in Wilcoxon's original test. If no other difference is
        left, the p-value is 1. Differences that agree to 5 digits share a rank.

    Raises:
        ValueError: If a run is not finite and `drop_diverged` is False; the error names the run. If the dimensions or
            labels of `a` and `b` differ. If they have none of the dimensions in `over`. If a dimension outside `over`
            has several entries.
        TypeError: If `a` or `b` is not an `xarray.DataArray`.

    Example:
        >>> wilcoxon(xr.DataArray([1.0, 2.0, 3.0, 4.0, 5.0], dims="draw"), xr.DataArray(np.zeros(5), dims="draw"))
        0.0625

    Reference: Wilcoxon (1945), Biometrics Bulletin 1; `scipy.stats.wilcoxon`.
    """
    if drop_diverged and len(left_out(a, b)) == a.size:
        return 1.0
    gap = differences(a, b, over, drop_diverged=drop_diverged).values
    gap = np.array([float(f"{d:.4e}") for d in gap[gap != 0]])
    return float(scipy_stats.wilcoxon(gap).pvalue) if gap.size else 1.0


@dataclass(frozen=True)
class Resampled:
    """Result of `nadeau_bengio`: the mean difference with its corrected confidence interval, t statistic and p-value.

    A difference is the value of `a` minus the value of `b`, where `a` and `b` are the arguments of `nadeau_bengio`.

    Attributes:
        mean: Mean of the differences a − b over the splits.
        low: Lower end of the corrected interval of the mean.
        high: Upper end of the corrected interval of the mean.
        t: Corrected t statistic: `mean` divided by its corrected standard error.
        p: Two-sided p-value of `t`.
        n: Number of splits.
        diverged: Coordinates of the runs that were dropped because `a` or `b` was not finite, such as "draw=3, seed=0".
    """

    mean: float
    low: float
    high: float
    t: float
    p: float
    n: int
    diverged: tuple[str, ...] = ()


def nadeau_bengio(
    a: xr.DataArray,
    b: xr.DataArray,
    *,
    n_train: int,
    n_test: int,
    over: Sequence[Hashable] = OVER,
    drop_diverged: bool = False,
    confidence: float = 0.95,
) -> Resampled:
    """Compare `a` with `b` on random splits of one data set, by a t-test corrected for overlapping splits.

    Splits of one data set share rows, so their results are not independent. If each draw is new data, use `paired`.

    Let sd be the standard deviation of the differences a − b over the J splits. The usual t-test assumes that their
    mean has the variance sd²/J. For splits that share rows, this variance is far too small. A bootstrap makes the same
    mistake. This test uses the variance sd² · (1/J + n_test/n_train) instead.

    Use more rows for training than for testing, such as 3 of 4 rows. With more splits, 1/J shrinks, but n_test/n_train
    stays the same. So the interval cannot become narrower than this ratio allows. If n_test is 10 times n_train, the
    95 % interval reaches more than 6 sd to each side of the mean. Hardly any difference is then significant. If you can
    train on few rows only, use no more rows for testing than for training.

    Args:
        a: One number per run, with the splits along one dimension, by default `draw`.
        b: Baseline, on the same splits.
        n_train: Number of training rows per split.
        n_test: Number of test rows per split.
        over: Name or names of the dimensions along which there are runs, outermost first. The first of these dimensions
            that has more than one entry is the dimension of the splits. The values are averaged over the others: by
            default, over the seeds of each draw.
        drop_diverged: If True, pairs of runs in which `a` or `b` is not finite are dropped. If False, such a pair
            raises an error.
        confidence: Confidence level of the interval, between 0 and 1.

    Returns:
        A `Resampled`. Its field `diverged` names the dropped runs.

    Raises:
        ValueError: If fewer than two splits have finite runs, `n_train` or `n_test` is below 1, or the confidence is
            not between 0 and 1. If a run is not finite and `drop_diverged` is False. If the dimensions or labels of `a`
            and `b` differ. If they have none of the dimensions in `over`. If a dimension outside `over` has several
            entries.
        TypeError: If `a` or `b` is not an `xarray.DataArray`.

    Example:
        The differences on four splits are 0.01, 0.03, 0.02 and 0.02. Because of the many test rows, their mean of 0.02
        is not significant.

        >>> a = xr.DataArray([0.92, 0.95, 0.90, 0.93], dims="draw")
        >>> result = nadeau_bengio(a, a - np.array([0.01, 0.03, 0.02, 0.02]), n_train=30, n_test=70)
        >>> round(result.mean, 3), round(result.p, 2)
        (0.02, 0.22)

    Reference: Nadeau and Bengio (2003), Machine Learning 52.
    """
    check_confidence(confidence)
    if n_train < 1 or n_test < 1:
        raise ValueError(
            f"`n_train` is {n_train} and `n_test` is {n_test}; expected the numbers of training and test rows per "
            "split, at least 1 each"
        )
    gap = differences(a, b, over, drop_diverged=drop_diverged).values
    if gap.size < 2:
        raise ValueError(f"`nadeau_bengio`: the number of splits is {gap.size}; expected at least 2")
    mean, n = float(gap.mean()), gap.size
    sd = 0.0 if constant(gap) else float(gap.std(ddof=1))
    se = sd * float(np.sqrt(1 / n + n_test / n_train))
    t = mean / se if se else float(np.copysign(np.inf, mean)) if mean else 0.0
    half = float(scipy_stats.t.ppf((1 + confidence) / 2, n - 1)) * se
    p = 2 * float(scipy_stats.t.sf(abs(t), n - 1))
    return Resampled(mean, mean - half, mean + half, t, p, n, left_out(a, b))
