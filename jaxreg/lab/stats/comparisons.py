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

    Each draw gives one difference. If there is only one draw, each seed gives one difference.

    Attributes:
        mean: Mean of the differences a − b.
        low: Lower end of the interval of the mean; NaN if there is only one difference.
        high: Upper end of the interval of the mean; NaN if there is only one difference.
        sd: Standard deviation of the differences (n − 1); NaN if there is only one difference.
        wins: Number of draws (or seeds) in which `a` is better than `b`.
        ties: Number of draws (or seeds) in which `a` and `b` are equal to the precision of float32.
        losses: Number of draws (or seeds) in which `b` is better than `a`.
        n: Number of differences.
        unit: Dimension of the differences, `"draw"` or `"seed"`.
        confidence: Confidence of the interval.
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
        over: Name or names of the dimensions to average over, outermost dimension first. The seeds of a draw are
            averaged first, so each draw gives one difference. With only one draw, each seed gives one difference.
        lower_is_better: Whether lower values are better, which decides whether `a` or `b` wins. The mean difference is
            always a − b. By default, the name of the values decides, such as `test_loss` or `test_accuracy`. Values
            without a name count as better if they are higher. For any other name, this argument is required.
        drop_diverged: Whether to drop all pairs of runs in which `a` or `b` is not finite. By default, such a pair
            raises an error. The coordinates of the dropped runs are in `diverged`. The result then describes only the
            pairs in which neither run diverged. If no pair is left, n is 0.
        confidence: Confidence of the interval.
        resamples: Number of bootstrap resamples.
        seed: Seed of the bootstrap; the same seed gives the same interval.

    Returns:
        A `Paired`.

    Raises:
        ValueError: If a run is not finite. The error names the run. Also if the labels of `a` and `b` differ, or a
            dimension that is not in `over` has several entries. Also if `lower_is_better` is missing, and the name of
            the values does not tell which values are better, or losses are negative.

    Example:
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
"""Probability of outperforming above which a recipe is meaningfully better (Bouthillier and others, 2021)."""


class Verdict(StrEnum):
    """Verdict of `outperforms`: not significant, significant but not meaningful, or significant and meaningful.

    The difference is significant if the interval of the probability that `a` is better lies above 0.5. It is also
    meaningful if the upper end of the interval is above 0.75.
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
        verdict: Significant if `low` is above 0.5. A significant difference is meaningful if `high` is above 0.75.
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

    The verdict also says whether the difference is meaningful. It tells only whether `a` is better than `b`. To test
    whether `b` is better, swap `a` and `b`.

    The interval of the probability is Wilson's. It assumes that the draws are independent, so each draw must be new
    data. Random splits of one table share rows, so they are not independent. For splits, use `nadeau_bengio`, because
    the interval here would be too narrow.

    Wilson's interval is only approximate for few draws. For example, 4 wins in 4 draws count as significant. If `a` and
    `b` are equally good, this happens with a probability of 1/16. `draws_for_probability` says how many draws are
    enough.

    Args:
        a: One number per run, on the same draws and seeds as `b`.
        b: Baseline, with the same labels.
        over: Name or names of the dimensions to average over, outermost dimension first.
        lower_is_better: Whether lower values are better. By default, the name of the values decides, such as
            `test_loss` or `test_accuracy`. Values without a name count as better if they are higher. For any other
            name, this argument is required.
        drop_diverged: Whether to drop all pairs of runs in which `a` or `b` is not finite. By default, such a pair
            raises an error. The coordinates of the dropped runs are in `diverged`.
        confidence: Confidence of the interval.

    Returns:
        An `Outperforming`.

    Raises:
        ValueError: For the same reasons as in `paired`.

    Example:
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

    Args:
        a: One number per run, on the same draws and seeds as `b`.
        b: Baseline, with the same labels.
        over: Name or names of the dimensions to average over, outermost dimension first.
        drop_diverged: Whether to drop all pairs of runs in which `a` or `b` is not finite. By default, such a pair
            raises an error.

    Returns:
        The two-sided p-value. Differences of 0 are dropped, as in Wilcoxon's original test. If no other difference is
        left, the p-value is 1. Differences that agree to 5 digits share a rank.

    Raises:
        ValueError: For the same reasons as in `paired`.

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

    Attributes:
        mean: Mean of the differences a − b.
        low: Lower end of the corrected interval of the mean.
        high: Upper end of the corrected interval of the mean.
        t: Corrected t statistic.
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

    The test is Student's t-test with a larger variance of the mean over the J splits: sd² · (1/J + n_test/n_train). The
    usual variance is sd²/J. It would give intervals that are far too narrow, and so would every bootstrap.

    Use more rows for training than for testing, such as 3 of 4 rows. The term n_test/n_train stays the same with more
    splits. If n_test is 10 times n_train, the interval reaches more than 6 sd to each side of the mean. Hardly any
    difference is then significant. If you can train on few rows only, use no more rows for testing than for training.

    Args:
        a: One number per run. The first dimension of `over` with more than one entry holds the splits.
        b: Baseline, on the same splits.
        n_train: Number of training rows per split.
        n_test: Number of test rows per split.
        over: Name or names of the dimensions to average over, splits first.
        drop_diverged: Whether to drop all pairs of runs in which `a` or `b` is not finite. By default, such a pair
            raises an error. The coordinates of the dropped runs are in `diverged`.
        confidence: Confidence of the interval.

    Returns:
        A `Resampled`.

    Raises:
        ValueError: If there are fewer than two splits, `n_train` or `n_test` is below 1, or the confidence is not
            between 0 and 1. Also if a run is not finite, or the labels of `a` and `b` differ.

    Example:
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
