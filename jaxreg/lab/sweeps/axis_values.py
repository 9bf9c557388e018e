"""Values of the axes of a sweep, for functions that get only a traced entry of an axis.

A traced index that is out of range raises no error: JAX takes the nearest row. While a sweep traces its function, it
notes the values of each axis here, so that `fit` and `any_width` can check them before anything is computed.
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
    """Context in which `values_of` knows the values of each of these traced arrays."""
    token = _noted.set(tuple(zip(traced, values, strict=True)))
    try:
        yield
    finally:
        _noted.reset(token)


def values_of(number: Any) -> list[Any]:
    """Return all values that a number takes: itself, or those of its axis. Empty if a traced number is no axis.

    Example:
        >>> values_of(3)
        [3]
    """
    if known(number):
        return [np.asarray(number).item()]
    return next((values.tolist() for traced, values in _noted.get() if traced is number), [])
