"""Conversion of weight-decay strengths between the conventions of libraries and papers.

Six different numbers are called weight decay. Each is the share by which one optimiser step shrinks a weight, up to
factors that the table below lists: 2 or 1, the learning rate, and the number of steps.
"""

import enum
from typing import NamedTuple

from jaxreg._checks import check_number
from jaxreg._hyperparameters import Number

__all__ = ["Meaning", "convert_strength"]


class Meaning(enum.Enum):
    """Convention for a weight-decay strength: the term that it multiplies, and who uses it."""

    SQUARES = "strength · Σw² as a penalty: jaxreg.L2, Keras's L2"
    HALF_SQUARES = "strength/2 · Σw² as a penalty, coupled decay: weight_decay of PyTorch's SGD and Adam"
    LR_SCALED = "decoupled, times the learning rate: AdamW of PyTorch, Optax and Keras"
    INDEPENDENT = "decoupled, times schedule/peak: the paper on AdamW; jaxreg.independent_decay takes half of it"
    NORMALISED = "independent, times the square root of the number of steps: the appendix of that paper"
    CORRECTED = "decoupled, times the square of the learning rate, over its peak: AdamC"


class _Share(NamedTuple):
    """Share by which a step at the peak shrinks a weight: strength · factor · peak^rate · steps^time."""

    factor: float
    rate: float
    time: float


_SHARES = {
    Meaning.SQUARES: _Share(2, 1, 0),
    Meaning.HALF_SQUARES: _Share(1, 1, 0),
    Meaning.LR_SCALED: _Share(1, 1, 0),
    Meaning.INDEPENDENT: _Share(1, 0, 0),
    Meaning.NORMALISED: _Share(1, 0, -0.5),
    Meaning.CORRECTED: _Share(1, 1, 0),
}


def convert_strength(
    strength: Number, have: Meaning, want: Meaning, *, peak: Number | None = None, steps: Number | None = None
) -> Number:
    """Convert a weight-decay strength between conventions so that one step shrinks a weight equally.

    The result is exact at the peak of the learning rate, and at every step if the learning rate is constant. Under a
    schedule conventions differ, because some follow the schedule and some its square. `SQUARES` and `HALF_SQUARES`
    are for plain gradient descent, or for `jaxreg.decay`. If such a penalty is coupled to an adaptive optimiser, no
    strength makes it equal to the other conventions.

    Args:
        strength: Strength to convert: a float or an array.
        have: Convention of `strength`.
        want: Convention of the result.
        peak: Largest learning rate. Needed if only one of the conventions includes the learning rate.
        steps: Number of optimiser steps of the training. Needed if only one of the conventions is `NORMALISED`.

    Returns:
        The converted strength, with the type of `strength`.

    Raises:
        ValueError: If `peak` or `steps` is needed and missing, or is not above 0.
        TypeError: If `have` or `want` is not a `Meaning`.

    Example:
        >>> import jaxreg as jr
        >>> jr.convert_strength(0.01, jr.Meaning.LR_SCALED, jr.Meaning.SQUARES)  # AdamW's 0.01 is decay(L2(0.005))
        0.005
        >>> jr.convert_strength(0.5, jr.Meaning.NORMALISED, jr.Meaning.LR_SCALED, peak=0.01, steps=10_000)
        0.5

    Reference:
        Loshchilov and Hutter, Decoupled weight decay regularization, 2019, appendix B.
    """
    for name, meaning in (("have", have), ("want", want)):
        if not isinstance(meaning, Meaning):
            names = ", ".join(known.name for known in Meaning)
            raise TypeError(f"convert_strength: {name} is {meaning!r}; expected a jaxreg.Meaning, one of {names}")
    source, target = _SHARES[have], _SHARES[want]
    converted = strength * (source.factor / target.factor)
    if source.rate != target.rate:
        converted = converted * _given(peak, "peak", have, want) ** (source.rate - target.rate)
    if source.time != target.time:
        converted = converted * _given(steps, "steps", have, want) ** (source.time - target.time)
    return converted


def _given(value: Number | None, name: str, have: Meaning, want: Meaning) -> Number:
    if value is None:
        raise ValueError(f"convert_strength from {have.name} to {want.name} got no {name}; pass {name}=…")
    check_number(value, f"convert_strength: {name}", "(0, inf)")
    return value
