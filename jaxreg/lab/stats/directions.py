"""Conclusions from names: whether lower values are better, and which value of an axis means no regulariser."""

import re
from collections.abc import Hashable

import numpy as np
import xarray as xr

_LOWER = re.compile(
    r"(^|_)(loss|losses|error|errors|rmse|mse|mae|nll|neg\w*_likelihood|perplexity|ppl|cost|entropy|deviance|brier)(_|$)"
)
_HIGHER = re.compile(r"(^|_)(accuracy|accuracies|acc|f1|auc|auroc|r2|precision|recall|score|kappa|mcc|likelihood)(_|$)")
_LIMIT = re.compile(r"(^|_)(limits?|max\w*|radius|radii|bounds?|upper|ceiling|clip|cap|ball|norm$)(_|$)")
_LOGARITHM = re.compile(r"(^|_)(log\d*|ln|exponent|power)(_|$)|^log")


def lower_is_better(name: Hashable) -> bool | None:
    """Return whether lower values are better, judging by the name of the values. None if the name does not say.

    Example:
        >>> lower_is_better("val_loss"), lower_is_better("test_accuracy"), lower_is_better("norm")
        (True, False, None)
    """
    words = _words(name)
    return True if _LOWER.search(words) else False if _HIGHER.search(words) else None


def lower(given: bool | None, *values: xr.DataArray) -> bool:
    """Return `given`. If it is None, return whether lower values are better, judging by the names of the values.

    If none of the values has a name, higher values are better.

    Args:
        given: Argument `lower_is_better` of a function; None if it was not given.
        values: Values to compare or to choose by.

    Raises:
        ValueError: If `given` is None, and the names do not say which values are better. Also if `given` is None, a
            name says that lower values are better, and a value is negative. Such values may be losses with their sign
            changed.

    Example:
        >>> lower(None, xr.DataArray([0.5, 0.25], dims="draw", name="test_loss"))
        True
    """
    if given is not None:
        return given
    named = min(values, key=lambda each: (lower_is_better(each.name) is None, each.name is None))
    is_lower = lower_by_name(named.name)
    if is_lower and any((each < 0).any() for each in values):
        raise ValueError(
            f"the values are named {str(named.name)!r}, but some are negative, so they may be negated losses. Pass "
            "lower_is_better=True for losses, or lower_is_better=False for negated losses"
        )
    return is_lower


def lower_by_name(name: Hashable) -> bool:
    """Return whether lower values are better, judging by the name of the values. If the name is None, return False.

    Raises:
        ValueError: If the name does not say whether lower values are better.

    Example:
        >>> lower_by_name("test_accuracy")
        False
    """
    if (found := lower_is_better(name)) is None and name is not None:
        raise ValueError(
            f"the name {str(name)!r} does not tell whether lower values are better; pass lower_is_better=True for "
            "losses and errors, or lower_is_better=False for scores"
        )
    return found is True


def is_limit(name: Hashable, values: np.ndarray) -> bool:
    """Return whether the values of an axis are limits. A smaller limit regularises more strongly.

    The values are limits if one of them is infinite, or if the axis has the name of a limit, such as `max_norm`.

    Args:
        name: Name of the axis.
        values: Values of the axis.

    Example:
        >>> is_limit("max_norm", np.array([1.0])), is_limit("c", np.array([1.0, np.inf])), is_limit("l2", np.zeros(1))
        (True, True, False)
    """
    return bool(np.isposinf(values).any() or _LIMIT.search(_words(name)))


def off(name: Hashable, values: np.ndarray) -> float | None:
    """Return the value of an axis that means "no regulariser", or None if the axis has no such value.

    If the axis contains infinity, return infinity, because only a limit can be infinite. Otherwise, if the axis
    contains 0, return 0. The exceptions are axes of limits, axes of logarithms and axes with negative values. There, 0
    has another meaning, and the result is None.

    Args:
        name: Name of the axis.
        values: Values of the axis.

    Example:
        >>> off("strength", np.array([0.0, 0.1])), off("limit", np.array([0.0, 1.0])), off("c", np.array([1.0, np.inf]))
        (0.0, None, inf)
    """
    if np.isposinf(values).any():
        return float("inf")
    signed = (values < 0).any() or _LOGARITHM.search(_words(name))
    return 0.0 if (values == 0).any() and not signed and not is_limit(name, values) else None


def _words(name: Hashable) -> str:
    """Return a name in lower case, its words separated by underscores: `maxNorm` becomes `max_norm`."""
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", str(name)).lower())
