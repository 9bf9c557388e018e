"""Survival curves: the share of runs that are still without an event, such as a collapse, after each time."""

from dataclasses import dataclass

import numpy as np
from scipy import stats as scipy_stats

from jaxreg.lab.stats.intervals import check_confidence


@dataclass(frozen=True)
class Survival:
    """Result of `kaplan_meier`: a survival curve with confidence intervals.

    The survival curve is the share of runs still without an event, such as a divergence, as a function of time. It is a
    step function, which is 1 before the first time.

    Attributes:
        times: Times at which at least one run had the event or ended without the event, in increasing order.
        share: Value of the survival curve after each time: the estimated share of runs still without an event.
        low: Lower end of the confidence interval of each share. NaN where the share is 0 or 1.
        high: Upper end of the confidence interval of each share. NaN where the share is 0 or 1.
        at_risk: Number of runs that are observed and still without an event just before each time.
        events: Number of events at each time.
    """

    times: np.ndarray
    share: np.ndarray
    low: np.ndarray
    high: np.ndarray
    at_risk: np.ndarray
    events: np.ndarray

    @property
    def median(self) -> float:
        """Median survival time: the first time at which the curve is at most 0.5. Infinity if there is no such time."""
        below = self.share <= 0.5
        return float(self.times[below][0]) if below.any() else float("inf")

    def at(self, time: float) -> float:
        """Return the estimated share of runs without an event, such as a divergence, up to and including `time`."""
        before = self.times <= time
        return float(self.share[before][-1]) if before.any() else 1.0


def kaplan_meier(times: np.ndarray, observed: np.ndarray, *, confidence: float = 0.95) -> Survival:
    """Estimate a Kaplan–Meier survival curve: the share of runs still without an event, such as a divergence.

    Some runs may end without the event (censored runs). The confidence intervals use Greenwood's variance, on the scale
    log(-log(S)), where S is the share of runs still without the event. So the ends of each interval lie between 0 and
    1. Each interval holds for one time, not for the whole curve.

    Args:
        times: Time at which each run had the event, or at which it ended without the event. Shape (n,).
        observed: True for a run that had the event, False for a run that ended without it. Shape (n,).
        confidence: Confidence level of the intervals.

    Returns:
        A `Survival`.

    Raises:
        ValueError: If there are no runs, the shapes differ, a time is not finite, or the confidence is not between 0
            and 1.

    Example:
        >>> found = kaplan_meier(np.array([3.0, 5.0, 5.0, 8.0]), np.array([True, True, False, False]))
        >>> print(found.times, found.share, found.median)
        [3. 5. 8.] [0.75 0.5  0.5 ] 5.0

    Reference: Kaplan and Meier (1958), Journal of the American Statistical Association 53; Kalbfleisch and Prentice
    (2002), The statistical analysis of failure time data, chapter 1.
    """
    check_confidence(confidence)
    x, event = np.asarray(times, dtype=np.float64), np.asarray(observed, dtype=bool)
    if x.ndim != 1 or x.shape != event.shape:
        raise ValueError(
            f"`times` has shape {x.shape} and `observed` has shape {event.shape}; expected two one-dimensional arrays "
            "of equal length, with one time and one boolean per run"
        )
    if not x.size:
        raise ValueError("`times` and `observed` are empty; expected at least one run")
    if not np.isfinite(x).all():
        raise ValueError(
            f"{int((~np.isfinite(x)).sum())} of {x.size} `times` are NaN or infinite; expected one finite time per "
            "run. For a run without an event, give the time at which the run ended"
        )
    ends, place = np.unique(x, return_inverse=True)
    ended = np.bincount(place, minlength=len(ends))
    events = np.bincount(place, weights=event, minlength=len(ends)).astype(int)
    at_risk = x.size - np.concatenate([[0], np.cumsum(ended)[:-1]])
    share = np.cumprod(1 - events / at_risk)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.cumsum(events / (at_risk * (at_risk - events)))
        half = scipy_stats.norm.ppf((1 + confidence) / 2) * np.sqrt(variance) / np.abs(np.log(share))
        low, high = share ** np.exp(half), share ** np.exp(-half)
    known = (share > 0) & (share < 1)
    return Survival(ends, share, np.where(known, low, np.nan), np.where(known, high, np.nan), at_risk, events)
