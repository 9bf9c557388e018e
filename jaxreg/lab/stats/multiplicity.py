"""P-values adjusted for multiple comparisons."""

import numpy as np
import xarray as xr
from scipy import stats as scipy_stats


def holm(p: xr.DataArray) -> xr.DataArray:
    """Adjust p-values by Holm's method, which controls the family-wise error rate.

    The family-wise error rate is the probability that at least one test is declared significant although its null
    hypothesis is true.

    Args:
        p: p-values of one family of tests, of any shape.

    Returns:
        Adjusted p-values with the same labels. Tests with an adjusted p-value below 0.05 are significant at a
        family-wise error rate of 5 %.

    Raises:
        ValueError: If a p-value is not between 0 and 1.

    Example:
        >>> holm(xr.DataArray([0.01, 0.04, 0.03], dims="recipe")).values
        array([0.03, 0.06, 0.06])

    Reference: Holm (1979), Scandinavian Journal of Statistics 6.
    """
    flat = _probabilities(p)
    order = np.argsort(flat)
    steps = np.maximum.accumulate(flat[order] * np.arange(flat.size, 0, -1))
    adjusted = np.empty_like(flat)
    adjusted[order] = np.minimum(steps, 1.0)
    return p.copy(data=adjusted.reshape(p.shape))


def benjamini_hochberg(p: xr.DataArray) -> xr.DataArray:
    """Adjust p-values by Benjamini and Hochberg's method, which controls the false discovery rate.

    The false discovery rate is the expected share of true null hypotheses among the tests that are declared
    significant.

    Args:
        p: p-values of one family of tests, of any shape.

    Returns:
        Adjusted p-values with the same labels. If all tests with an adjusted p-value below 0.05 are declared
        significant, the false discovery rate is at most 5 %.

    Raises:
        ValueError: If a p-value is not between 0 and 1.

    Example:
        >>> benjamini_hochberg(xr.DataArray([0.01, 0.04, 0.03], dims="recipe")).values
        array([0.03, 0.04, 0.04])

    Reference: Benjamini and Hochberg (1995), Journal of the Royal Statistical Society B 57;
    `scipy.stats.false_discovery_control`.
    """
    return p.copy(data=scipy_stats.false_discovery_control(_probabilities(p)).reshape(p.shape))


def _probabilities(p: xr.DataArray) -> np.ndarray:
    flat = p.values.astype(np.float64).ravel()
    if not ((flat >= 0) & (flat <= 1)).all():
        raise ValueError(f"the p-values are {flat.tolist()}; expected numbers from 0 to 1")
    return flat
