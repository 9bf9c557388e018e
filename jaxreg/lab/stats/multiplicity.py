"""Many comparisons at once: p-values adjusted for how many claims were looked at."""

import numpy as np
import xarray as xr
from scipy import stats as scipy_stats


def holm(p: xr.DataArray) -> xr.DataArray:
    """Adjust the p-values of a few claims, so that the chance of any false one stays at the level.

    Args:
        p: p-values, any dimensions; all of them belong to one family.

    Returns:
        Adjusted p-values with the same labels: claim what is below 0.05.

    Raises:
        ValueError: For numbers outside 0…1.

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
    """Adjust the p-values of a whole sweep, so that the share of false ones among the claims stays small.

    Args:
        p: p-values, any dimensions; all of them belong to one family.

    Returns:
        Adjusted p-values with the same labels: of those below 0.05, about 5 % are false.

    Raises:
        ValueError: For numbers outside 0…1.

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
        raise ValueError(f"p-values: got {flat.tolist()}, expected numbers from 0 to 1")
    return flat
