"""Paired comparisons over shared draws and seeds: whether a is better than b, by how much, how surely.

Both sides are trained on the same draws from the same seeds, so that what the draws have in common cancels. Differences
are a − b throughout.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import xarray as xr
from scipy import stats as scipy_stats

from jaxreg.lab.cards import card, short
from jaxreg.lab.stats.intervals import (
    check_confidence,
    constant,
    mean_interval,
    share_interval,
)
from jaxreg.lab.stats.lanes import OVER, differences, left_out, unit


@dataclass(frozen=True)
class Paired:
    """Result of `paired`. Numbers are in the units of the values compared.

    Attributes:
        mean: Mean of the differences a − b.
        low: Lower end of the interval of the mean; NaN if there is one unit only.
        high: Upper end.
        sd: Standard deviation of the differences over the units (n − 1); NaN if there is one unit only.
        wins: Units in which a is better than b.
        ties: Units in which they are equal to the precision of float32.
        losses: Units in which b is better.
        n: Number of units.
        unit: Dimension of the units, `"draw"` or `"seed"`.
        confidence: Confidence of the interval.
        diverged: Names of the runs left out because a or b was not finite there.
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
    lower_is_better: bool = False,
    drop_diverged: bool = False,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Paired:
    """Compare a with b on the same draws and seeds: mean difference, interval, wins and losses.

    Args:
        a: One number per run, e.g. `sweep.test_accuracy.sel(recipe="L2(0.001)").isel(epoch=-1)`.
        b: Baseline, with the same labels.
        over: Dimensions to average over, the outermost unit first: the draws are the units, with
            the seeds of a draw averaged first; with one draw only, the seeds are.
        lower_is_better: Whether less is better, as for a loss. Wins and losses change places, the difference stays
            a − b.
        drop_diverged: Whether to leave out, and name, the pairs in which a side is not finite, instead of refusing
            them. The result then speaks of the draws on which both trained; if there is none, of 0 units.
        confidence: Confidence of the interval.
        resamples: Number of bootstrap resamples.
        seed: Seed of the bootstrap; the same seed gives the same interval.

    Returns:
        A `Paired`.

    Raises:
        ValueError: If runs are not finite (they are named), labels differ, or dimensions are
            neither averaged nor selected.

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
    better = -gap.values if lower_is_better else gap.values
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
"""The probability of outperforming above which a better recipe is worth having (Bouthillier and others, 2021)."""


class Verdict(StrEnum):
    """Verdict on a probability of outperforming and its interval."""

    NOT_SIGNIFICANT = "not significantly better"
    NOT_MEANINGFUL = "significant but not meaningful"
    MEANINGFUL = "significant and meaningful"


@dataclass(frozen=True)
class Outperforming:
    """Result of `outperforms`.

    Attributes:
        probability: That a is better than b on a fresh draw; a tie counts one half.
        low: Lower end of its interval.
        high: Upper end.
        n: Number of units.
        verdict: Significant if `low` is above 0.5, meaningful if `high` is also above 0.75.
        diverged: Names of the runs left out because a or b was not finite there.
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
    lower_is_better: bool = False,
    drop_diverged: bool = False,
    confidence: float = 0.95,
) -> Outperforming:
    """Estimate how often a beats b on a fresh draw, and say whether that is significant and meaningful.

    The interval is Wilson's. The verdict is about a being better; for the reverse exchange the sides.

    Args:
        a: One number per run, on the same draws and seeds as `b`.
        b: Baseline, with the same labels.
        over: Dimensions to average over, the outermost unit first.
        lower_is_better: Whether less is better, as for a loss.
        drop_diverged: Whether to leave out, and name, the pairs in which a side is not finite.
        confidence: Confidence of the interval.

    Returns:
        An `Outperforming`.

    Raises:
        ValueError: As `paired` does.

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
    gap = differences(a, b, over, drop_diverged=drop_diverged).values * (-1 if lower_is_better else 1)
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
    """Test by Wilcoxon's signed ranks that the paired differences a − b lie symmetrically about 0.

    Args:
        a: One number per run, on the same draws and seeds as `b`.
        b: Baseline, with the same labels.
        over: Dimensions to average over, the outermost unit first.
        drop_diverged: Whether to leave out the pairs in which a side is not finite.

    Returns:
        The two-sided p-value; 1 if there is no difference at all, or no pair is left. Ties with 0 are
        left out, as Wilcoxon did, and differences that agree to 5 digits share a rank.

    Raises:
        ValueError: As `paired` does.

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
    """Result of `nadeau_bengio`.

    Attributes:
        mean: Mean of the differences a − b.
        low: Lower end of its corrected interval.
        high: Upper end.
        t: The corrected statistic.
        p: Its two-sided p-value.
        n: Number of splits.
        diverged: Names of the runs left out because a or b was not finite there.
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
    """Compare a with b over splits of one data set, which overlap and so are not independent.

    Student's t with the variance of the mean taken as sd² (1/J + n_test/n_train) over J splits. The plain
    sd²/J, and every bootstrap, would be far too sure of itself here: for fresh draws use `paired`.

    Args:
        a: One number per run; the first of `over` with several entries holds the splits.
        b: Baseline, on the same splits.
        n_train: Rows that each split trains on.
        n_test: Rows that each split tests on.
        over: Dimensions to average over, the splits first.
        drop_diverged: Whether to leave out, and name, the pairs in which a side is not finite.
        confidence: Confidence of the interval.

    Returns:
        A `Resampled`.

    Raises:
        ValueError: For fewer than two splits, sizes below 1 or a confidence outside (0, 1); as `paired` does.

    Example:
        >>> a = xr.DataArray([0.92, 0.95, 0.90, 0.93], dims="draw")
        >>> result = nadeau_bengio(a, a - np.array([0.01, 0.03, 0.02, 0.02]), n_train=30, n_test=70)
        >>> round(result.mean, 3), round(result.p, 2)
        (0.02, 0.22)

    Reference: Nadeau and Bengio (2003), Machine Learning 52.
    """
    check_confidence(confidence)
    if n_train < 1 or n_test < 1:
        raise ValueError(f"n_train, n_test: got {n_train} and {n_test}, expected the rows of a split, at least 1")
    gap = differences(a, b, over, drop_diverged=drop_diverged).values
    if gap.size < 2:
        raise ValueError(f"a comparison over splits needs at least 2 of them: got {gap.size}")
    mean, n = float(gap.mean()), gap.size
    sd = 0.0 if constant(gap) else float(gap.std(ddof=1))
    se = sd * float(np.sqrt(1 / n + n_test / n_train))
    t = mean / se if se else float(np.copysign(np.inf, mean)) if mean else 0.0
    half = float(scipy_stats.t.ppf((1 + confidence) / 2, n - 1)) * se
    p = 2 * float(scipy_stats.t.sf(abs(t), n - 1))
    return Resampled(mean, mean - half, mean + half, t, p, n, left_out(a, b))
