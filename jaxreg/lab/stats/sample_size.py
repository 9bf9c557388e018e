"""Number of draws needed to detect a difference."""

from collections.abc import Callable
from math import ceil, sqrt

import numpy as np
from scipy import stats as scipy_stats


def draws_for_mean(effect: float, sd: float, *, alpha: float = 0.05, power: float = 0.95) -> int:
    """Compute how many draws of the data a paired t-test needs to detect a given mean difference.

    Args:
        effect: Smallest mean difference worth detecting.
        sd: Standard deviation of the paired differences, e.g. `paired(...).sd` of a pilot run.
        alpha: Significance level of the two-sided test.
        power: Probability of detecting the effect if it exists.

    Returns:
        The smallest number of draws with that power.

    Raises:
        ValueError: If the effect is 0, the sd is not positive, or a probability is not between 0 and 1.

    Example:
        >>> draws_for_mean(0.5, 1.0, power=0.8)
        34

    Reference: Cohen (1988), Statistical power analysis, chapter 2.
    """
    _check_probabilities(alpha=alpha, power=power)
    if not (effect and sd > 0 and np.isfinite([effect, sd]).all()):
        raise ValueError(f"`effect` is {effect} and `sd` is {sd}; expected a nonzero effect and a positive sd")
    size = abs(effect) / sd

    def enough(n: int) -> bool:
        critical = scipy_stats.t.ppf(1 - alpha / 2, n - 1)
        shift = size * sqrt(n)
        reached = scipy_stats.nct.sf(critical, n - 1, shift) + scipy_stats.nct.cdf(-critical, n - 1, shift)
        return bool(reached >= power)

    return _smallest(enough, 2)


def draws_for_probability(probability: float = 0.75, *, alpha: float = 0.05, power: float = 0.95) -> int:
    """Compute how many draws of the data a test needs to show that one method beats another.

    The number is Noether's approximation for a one-sided Mann-Whitney test, with the same number of draws for both
    methods. This approximation is common in comparisons of learning algorithms. With the default arguments, it gives 29
    draws.

    `outperforms` is stricter, because it uses a two-sided interval. With 29 draws and a true probability of 0.75, it
    reports a significant difference in 83 % of cases.

    Args:
        probability: Probability that the first method is better on a new draw. Pass the smallest probability that is
            worth detecting. 0.5 would mean no difference. A probability below 0.5 means that the first method is
            worse. The result is the same for the probabilities p and 1 - p.
        alpha: Significance level of the one-sided test.
        power: Probability of detecting the difference if it exists.

    Returns:
        The number of draws.

    Raises:
        ValueError: If `probability` is 0.5, or one of the three arguments is not between 0 and 1.

    Example:
        >>> draws_for_probability(0.75)
        29

    Reference: Noether (1987), Journal of the American Statistical Association 82.
    """
    _check_probabilities(alpha=alpha, power=power, probability=probability)
    if probability == 0.5:
        raise ValueError("`probability` is 0.5, which means no difference; expected another number, e.g. 0.75")
    z = scipy_stats.norm.ppf(1 - alpha) + scipy_stats.norm.ppf(power)
    return ceil(z**2 / (6 * (probability - 0.5) ** 2))


def _smallest(enough: Callable[[int], bool], start: int) -> int:
    high = start
    while not enough(high):
        high *= 2
    low = max(start, high // 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return high


def _check_probabilities(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < 1:
            raise ValueError(f"`{name}` is {value}; expected a number between 0 and 1")
