"""Checks of arguments. Each error says what was given and what was expected."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._hyperparameters import Number, known


class Interval:
    """Interval of real numbers, created from its usual notation: `Interval("[0, inf)")`.

    A square bracket includes the bound next to it. A round bracket excludes the bound. So `inf]` allows infinity.
    """

    def __init__(self, text: str) -> None:
        low, high = text[1:-1].split(",")
        self.low, self.high = float(low), float(high)
        self.closed = text[0] == "[", text[-1] == "]"

    def outside(self, numbers: np.ndarray) -> np.ndarray:
        """Return a boolean array: True for numbers outside the interval and for NaN."""
        above = numbers >= self.low if self.closed[0] else numbers > self.low
        under = numbers <= self.high if self.closed[1] else numbers < self.high
        return np.asarray(~(above & under))

    def __str__(self) -> str:
        bounds = []
        if np.isfinite(self.low):
            bounds.append(f"{'of at least' if self.closed[0] else 'above'} {self.low:g}")
        if np.isfinite(self.high):
            bounds.append(f"{'at most' if self.closed[1] else 'under'} {self.high:g}")
        infinite = np.isfinite(self.high) or self.closed[1]
        return " ".join(["a number", " and ".join(bounds)]).rstrip() + ("" if infinite else ", not infinite")


def check(owner: object, name: str, within: str) -> None:
    """Raise if the hyperparameter `name` of `owner` is outside the interval `within`.

    An array is checked entry by entry. Traced values and schedules are accepted, because their numbers are not yet
    known.
    """
    check_number(getattr(owner, name), f"{type(owner).__name__}: {name}", within)


def check_order(owner: object, low: str, high: str) -> None:
    """Raise if the hyperparameter `low` of `owner` is above its hyperparameter `high`."""
    least, most = getattr(owner, low), getattr(owner, high)
    if known(least, most) and np.any(np.asarray(least) > np.asarray(most)):
        raise ValueError(
            f"{type(owner).__name__}: {low} is {least} and {high} is {most}; expected {high} to be at least {low}"
        )


def check_number(value: Number, what: str, within: str) -> None:
    """Raise if `value` is outside the interval `within`.

    An array is checked entry by entry. `what` names the value in the error.
    """
    if not known(value):
        return
    interval = Interval(within)
    try:
        # NumPy would read "3" as 3. To JAX, a list is a pytree of several leaves.
        numbers = None if isinstance(value, str | None | list | tuple) else np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = None
    if numbers is None:
        listed = isinstance(value, list | tuple)
        given = f"the {type(value).__name__} {value!r}" if listed else repr(value)
        arrays = ". For several numbers, pass a JAX or NumPy array" if listed else ""
        raise TypeError(f"{what} is {given}; expected {interval}{arrays}")
    wrong = numbers[interval.outside(numbers)]
    if wrong.size:
        raise ValueError(f"{what} is {float(wrong.flat[0]):g}; expected {interval}")


def check_integer(value: Any, what: str, low: int, advice: str = "") -> int:
    """Check that `value` is a whole number of at least `low`, and return it as an int.

    `what` names the value in the error. `advice` is the end of the error.

    NumPy integers are accepted. Booleans are rejected. JAX arrays are also rejected, because they may be traced.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < low:
        form = "" if isinstance(value, int | np.integer) else ", as a Python int"
        raise ValueError(f"{what} is {value!r}; expected a whole number of at least {low}{form}{advice}")
    return int(value)


def refuse_class(value: object, what: str) -> None:
    """Raise if a class was passed instead of an instance. `what` names the argument in the error."""
    if isinstance(value, type):
        raise TypeError(f"{what} is the class {value.__name__}; expected an instance. Write {value.__name__}(...)")


def refuse_complex(rule: object, w: jax.Array) -> None:
    """Raise if the weights `w` are complex. The error says that `rule` needs real weights."""
    if jnp.iscomplexobj(w):
        raise TypeError(
            f"{rule!r} got weights of type {w.dtype}; expected real weights, because complex numbers have no order"
        )


def refuse_steps(penalty: object, step: Number) -> None:
    """Raise if the step size `step` is an array with one value per weight instead of a single number.

    The proximal step of `penalty` has a closed form only for a single step size.
    """
    if jnp.ndim(step):
        raise ValueError(
            f"{type(penalty).__name__}: the step size has shape {jnp.shape(step)}; expected one number, because "
            "the proximal step has a closed form only for a single step size. Pass the penalty to jaxreg.proximal, "
            "jaxreg.penalize or jaxreg.decay"
        )
