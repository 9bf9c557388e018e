"""Record of the values on the axes of a sweep, for checks of traced numbers.

JAX raises no error for a traced index that is out of range: it takes the nearest row. So a sweep records the values of
its axes here while it traces its function. `fit` and `any_width` then check all values of an axis before anything is
computed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from jaxreg._hyperparameters import known

_noted: ContextVar[tuple[tuple[Any, np.ndarray], ...]] = ContextVar("axes of the sweep that is traced", default=())


@contextmanager
def noted(traced: Sequence[Any], values: Sequence[np.ndarray]) -> Iterator[None]:
    """Record the values of traced arrays for `values_of`, within a `with` block.

    Args:
        traced: One traced array per axis.
        values: All values of each axis.
    """
    token = _noted.set(tuple(zip(traced, values, strict=True)))
    try:
        yield
    finally:
        _noted.reset(token)


def values_of(number: Any) -> list[Any]:
    """Return all values that a number takes. For a traced number, these are the values of its axis.

    A number that is not traced has only its own value. For a traced number without an axis, the list is empty.

    Example:
        >>> values_of(3)
        [3]
    """
    if known(number):
        return [np.asarray(number).item()]
    return next((values.tolist() for traced, values in _noted.get() if traced is number), [])
