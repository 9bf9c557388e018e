"""What a strength of L2 or of weight decay can mean, and how to turn one meaning into another.

Libraries and papers give one name to six numbers. Each is the share of a weight that one step takes away, up to factors
that the table here writes down: 2 or 1, the learning rate, the number of steps.
"""

import enum
from typing import NamedTuple

from jaxreg._checks import check_number
from jaxreg._hyperparameters import Number

__all__ = ["Meaning", "convert_strength"]


class Meaning(enum.Enum):
    """What a strength multiplies, and who means it so."""

    SQUARES = "strength · Σw² as a penalty: jaxreg.L2, Keras's L2"
    HALF_SQUARES = "strength/2 · Σw² as a penalty, coupled decay: weight_decay of PyTorch's SGD and Adam"
    LR_SCALED = "decoupled, times the learning rate: AdamW of PyTorch, Optax and Keras"
    INDEPENDENT = "decoupled, times schedule/peak alone: the paper on AdamW; jaxreg.independent_decay with half of it"
    NORMALISED = "independent, times the square root of the number of steps: the appendix of that paper"
    CORRECTED = "decoupled, times the square of the learning rate, over its peak: AdamC"


class _Share(NamedTuple):
    """The share of a weight that a step at the peak takes: strength · factor · peak^rate · steps^time."""

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
    """The strength that, meant as `want`, takes as much of a weight a step as `strength` does, meant as `have`.

    Equal at the peak of the learning rate, and at each step where it is constant; under a schedule the meanings part,
    for some follow it, some its square. The two penalties are as they act under plain gradient descent, or decoupled
    in `jaxreg.decay`: coupled behind an adaptive optimiser no strength makes them equal to the others.

    Args:
        strength: A float or an array.
        have: What `strength` means.
        want: What the result shall mean.
        peak: The largest learning rate; needed if one meaning has the learning rate in it and the other has not.
        steps: The number of steps of the training; needed if one meaning is normalised and the other is not.

    Returns:
        The strength, in the type of `strength`.

    Raises:
        ValueError: If the peak or the number of steps is needed and was not given, or is not above 0.
        TypeError: If a meaning is none.

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
        raise ValueError(f"convert_strength from {have.name} to {want.name} got no {name}; expected {name}=…")
    check_number(value, f"convert_strength: {name}", "(0, inf)")
    return value
