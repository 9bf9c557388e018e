"""Checks of arguments, each with a sentence that says what was given and what was expected."""

import jax.numpy as jnp
import numpy as np

from jaxreg._hyperparameters import Number, known


def check(
    owner: object,
    name: str,
    low: float = 0.0,
    above: bool = False,
    infinite: bool = False,
    high: float = np.inf,
    under: bool = False,
) -> None:
    """Refuse the hyperparameter `name` of `owner` unless it is a number of at least `low` (above it if `above`).

    `high` is the largest one, or what it must be under if `under`. Traced values and schedules cannot be looked at, and
    pass.
    """
    check_number(getattr(owner, name), f"{type(owner).__name__}: {name}", low, above, infinite, high, under)


def check_number(
    value: Number,
    what: str,
    low: float = 0.0,
    above: bool = False,
    infinite: bool = False,
    high: float = np.inf,
    under: bool = False,
) -> None:
    """The same for any number; `what` says in the error which one it is."""
    if not known(value):
        return
    expected = "a number" if low == -np.inf else f"a number {'above' if above else 'of at least'} {low:g}"
    if np.isfinite(high):
        expected += f" and {'under' if under else 'at most'} {high:g}"
    elif not infinite:
        expected += ", not infinite"
    try:
        # NumPy would read "3" as 3.
        array = None if isinstance(value, str | None) else np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = None
    if array is None:
        raise TypeError(f"{what} is {value!r}; expected {expected}")
    right = (
        (array > low if above else array >= low)
        & ((array < high) if under else (array <= high))
        & (infinite | np.isfinite(array))
    )
    if not np.all(right):
        wrong = float(array[~right].flat[0]) if array.ndim else float(array)
        raise ValueError(f"{what} is {wrong:g}; expected {expected}")


def refuse_class(value: object, what: str) -> None:
    """Refuse a class in the place of an object of it; `what` says in the error for what it was given."""
    if isinstance(value, type):
        raise TypeError(f"{what}: {value.__name__} is a class; write {value.__name__}(...)")


def refuse_steps(penalty: object, step: Number) -> None:
    """Refuse a step for each weight, for which the proximal step of `penalty` has no closed form."""
    if jnp.ndim(step):
        raise ValueError(
            f"{type(penalty).__name__}: the step has shape {jnp.shape(step)}; expected one number, for with a step for "
            "each weight there is no closed form: use it in jaxreg.proximal, jaxreg.penalize or jaxreg.decay"
        )
