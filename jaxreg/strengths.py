"""Conversion of weight-decay strengths between the conventions of libraries and papers.

The name weight decay stands for different numbers in different libraries and papers. Each number determines the share
by which one optimiser step shrinks a weight. Most numbers give this share when they are multiplied by factors: 2, the
learning rate, the number of steps or the width. Some numbers are a time or an angle instead. The table `_SHARES` lists
the formulas.
"""

import enum
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._checks import check_number
from jaxreg._hyperparameters import Number

__all__ = ["Meaning", "convert_strength"]


class Meaning(enum.Enum):
    """Enumeration of the conventions for a weight-decay strength λ.

    Under each convention, one optimiser step shrinks a weight by the share below. For the penalties `SQUARES` and
    `HALF_SQUARES`, it is the share in plain gradient descent. In the formulas, η is the learning rate, P its peak, T
    the number of steps of the training, and N the number of inputs of the layer.

    Attributes:
        SQUARES: Penalty λ · Σw², as in `jaxreg.L2` and Keras's L2. The share is 2ηλ.
        HALF_SQUARES: Penalty λ/2 · Σw², as in `weight_decay` of PyTorch's SGD and Adam. The share is ηλ.
        LR_SCALED: AdamW of PyTorch, Optax and Keras, or `jaxreg.decay` with `L2(λ / 2)`. The share is ηλ.
        INDEPENDENT: The AdamW paper, or `jaxreg.independent_decay` with `L2(λ / 2)`. The share is λ · η / P.
        NORMALISED: The appendix of the AdamW paper. The share is λ / √T · η / P.
        CORRECTED: AdamC, or `jaxreg.corrected_decay` with `L2(λ / 2)`. The share is λη² / P.
        SQUARED_LR: PaLM. The share is λη².
        WIDTH_SCALED: Scaling rule of Fan et al. (2025), with the same λ for layers of all widths. The share is ηλ · √N.
        TIME_SCALE: Number λ of steps in which a weight shrinks by about a factor of e. If η = P, the share is 1 / λ.
        HALF_LIFE: Number λ of steps in which a weight shrinks by half. If η = P, the share is 1 - ½^(1/λ).
        ROTATION: Angle λ in radians by which one step of AdamW rotates the weights in equilibrium. If η = P, the share
            is λ² / 2.
    """

    SQUARES = "penalty of strength · Σw²: jaxreg.L2, Keras's L2"
    HALF_SQUARES = "penalty of strength/2 · Σw², coupled decay: weight_decay of PyTorch's SGD and Adam"
    LR_SCALED = "decoupled decay by strength · learning rate: AdamW of PyTorch, Optax and Keras"
    INDEPENDENT = (
        "decoupled decay by strength · schedule/peak: the AdamW paper; jaxreg.independent_decay with L2(strength / 2)"
    )
    NORMALISED = "decoupled decay by strength / √steps · schedule/peak: the appendix of the AdamW paper"
    CORRECTED = "decoupled decay by strength · (learning rate)² / peak: AdamC"
    SQUARED_LR = "decoupled decay by strength · (learning rate)²: PaLM"
    WIDTH_SCALED = "decoupled decay by strength · learning rate · √width: transfer across widths"
    TIME_SCALE = "number of steps in which a weight shrinks by about a factor of e: 1 / share per step"
    HALF_LIFE = "number of steps in which a weight shrinks by half"
    ROTATION = "angle in radians by which one step of AdamW rotates the weights in equilibrium: √(2 · share per step)"


class _Share(NamedTuple):
    """Formula for the share by which one step at the peak learning rate shrinks a weight.

    The share is amount · factor · P^rate · T^time · N^width, with the peak learning rate P, the number of steps T and
    the number of inputs N.

    The amount is the strength itself, or `amount(strength)` if that function is given. `strength` is the inverse of
    `amount`.
    """

    factor: float = 1
    rate: float = 1
    time: float = 0
    width: float = 0
    amount: Callable[[Number], Number] | None = None
    strength: Callable[[Number], Number] | None = None


def _halving(share: Number) -> Number:
    log1p = jnp.log1p if isinstance(share, jax.Array) else np.log1p
    return -math.log(2) / log1p(-share)


_SHARES = {
    Meaning.SQUARES: _Share(factor=2),
    Meaning.HALF_SQUARES: _Share(),
    Meaning.LR_SCALED: _Share(),
    Meaning.INDEPENDENT: _Share(rate=0),
    Meaning.NORMALISED: _Share(rate=0, time=-0.5),
    Meaning.CORRECTED: _Share(),
    Meaning.SQUARED_LR: _Share(rate=2),
    Meaning.WIDTH_SCALED: _Share(width=0.5),
    Meaning.TIME_SCALE: _Share(rate=0, amount=lambda steps: 1 / steps, strength=lambda share: 1 / share),
    Meaning.HALF_LIFE: _Share(rate=0, amount=lambda steps: 1 - 0.5 ** (1 / steps), strength=_halving),
    Meaning.ROTATION: _Share(rate=0, amount=lambda angle: angle**2 / 2, strength=lambda share: (2 * share) ** 0.5),
}


def convert_strength(
    strength: Number,
    have: Meaning,
    want: Meaning,
    *,
    peak: Number | None = None,
    steps: Number | None = None,
    width: Number | None = None,
) -> Number:
    """Convert a weight-decay strength to another convention, so that one step shrinks weights by the same factor.

    `jaxreg.Meaning` lists the conventions and their formulas.

    With a constant learning rate, the result is exact at every step. With a schedule, the result is exact at the peak
    of the learning rate. At other steps the decays may differ. `CORRECTED` and `SQUARED_LR` decay in proportion to the
    square of the learning rate, and all other conventions in proportion to the learning rate itself.

    `SQUARES` and `HALF_SQUARES` are penalties. For them, the result holds for plain gradient descent and for
    `jaxreg.decay`. It does not hold if the gradient of the penalty passes through an adaptive optimiser such as Adam.
    Such a training has no equivalent in another convention.

    Args:
        strength: Strength to convert: a float or an array. It must be above 0 if `have` or `want` is `TIME_SCALE` or
            `HALF_LIFE`.
        have: Convention of `strength`.
        want: Convention of the result.
        peak: Largest learning rate. Needed if the two conventions depend on the learning rate in different ways.
        steps: Number of optimiser steps of the training. Needed if only one of the conventions is `NORMALISED`.
        width: Number of inputs of the layer. Needed if only one of the conventions is `WIDTH_SCALED`.

    Returns:
        The converted strength, with the type of `strength`.

    Raises:
        ValueError: If `peak`, `steps` or `width` is needed and missing, or is not above 0. Also if a strength of 0 is
            converted to or from `TIME_SCALE` or `HALF_LIFE`.
        TypeError: If `have` or `want` is not a `Meaning`.

    Example:
        AdamW's decay 0.01 · w is the gradient of the penalty 0.005 · Σw². In the second conversion, the result is
        0.5 / √10,000 / 0.01, which happens to be 0.5 again.

        >>> import jaxreg as jr
        >>> jr.convert_strength(0.01, jr.Meaning.LR_SCALED, jr.Meaning.SQUARES)  # AdamW's 0.01 is decay(L2(0.005))
        0.005
        >>> jr.convert_strength(0.5, jr.Meaning.NORMALISED, jr.Meaning.LR_SCALED, peak=0.01, steps=10_000)
        0.5
        >>> jr.convert_strength(0.1, jr.Meaning.LR_SCALED, jr.Meaning.TIME_SCALE, peak=0.001)  # in steps
        10000.0

    Reference:
        Loshchilov and Hutter, Decoupled weight decay regularization, 2019, appendix B (`NORMALISED`); Chowdhery et al.,
        PaLM, 2022 (`SQUARED_LR`); Wang and Aitchison, How to set AdamW's weight decay as you scale model and dataset
        size, 2024 (`TIME_SCALE`); Kosson, Messmer and Jaggi, Rotational equilibrium, 2023 (`ROTATION`); Fan et al.,
        Robust layerwise scaling rules by proper weight decay tuning, 2025 (`WIDTH_SCALED`).
    """
    for name, meaning in (("have", have), ("want", want)):
        if not isinstance(meaning, Meaning):
            names = ", ".join(known.name for known in Meaning)
            raise TypeError(f"convert_strength: `{name}` is {meaning!r}; expected a jaxreg.Meaning, one of {names}")
    source, target = _SHARES[have], _SHARES[want]
    timed = {Meaning.TIME_SCALE, Meaning.HALF_LIFE}
    if have != want and timed & {have, want}:
        check_number(strength, f"convert_strength from {have.name} to {want.name}: strength", "(0, inf)")
    amount = strength if source.amount is None else source.amount(strength)
    converted = amount * (source.factor / target.factor)
    if source.rate != target.rate:
        converted = converted * _given(peak, "peak", have, want) ** (source.rate - target.rate)
    if source.time != target.time:
        converted = converted * _given(steps, "steps", have, want) ** (source.time - target.time)
    if source.width != target.width:
        converted = converted * _given(width, "width", have, want) ** (source.width - target.width)
    return converted if target.strength is None else target.strength(converted)


def _given(value: Number | None, name: str, have: Meaning, want: Meaning) -> Number:
    if value is None:
        raise ValueError(
            f"convert_strength: {name} is missing, but required to convert {have.name} to {want.name}. Pass {name}=…"
        )
    check_number(value, f"convert_strength: {name}", "(0, inf)")
    return value
