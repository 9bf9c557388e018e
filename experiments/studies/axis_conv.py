"""Norm constraints on a Conv2D: the meaning of each axis of the kernel, and limits on kernel and bias.

Claim: the default axis of a constraint gives one norm per filter. J. Brownlee's tutorial on weight constraints puts
max_norm(3) on the kernel and the bias of a Conv2D. Keras's default axis, 0, does not give one norm per filter: a norm
there covers a column of 3 weights, and a filter has 3 such columns per input channel. The default here, axes (0, 1, 2),
gives one norm per filter.
Command: jaxreg run axis_conv
"""

from math import inf
from typing import Any

import jax
import jax.numpy as jnp

import jaxreg as jr
from jaxreg.lab import CLASSES, CNN, Arm, Claim, Recipe, Size, Study, digits, linen


def largest(params: Any) -> dict[str, jax.Array]:
    """Return the largest norm of a filter, and the largest norm of a column of a filter."""
    kernel = params["conv"]["kernel"]
    return {
        "largest_filter": jnp.sqrt(jnp.square(kernel).sum((0, 1, 2))).max(),
        "largest_column": jnp.linalg.norm(kernel, axis=0).max(),
    }


STUDY = Study(
    name="axis_conv",
    title="max_norm of a convolution per filter and over Keras's axis 0, digits, 200 rows, 16 filters",
    model=linen(CNN(filters=(16,), outputs=10), inputs=(8, 8, 1)),
    task=CLASSES,
    draws=lambda count: digits(range(count), train=200, validation=200),
    drawn_from="1,797 digits",
    arms=[
        Arm(
            "filter",
            lambda kernel, bias: Recipe(constraints={"conv/kernel": jr.MaxNorm(kernel), "conv/bias": jr.MaxNorm(bias)}),
            strengths=((inf, inf), (3, inf), (1, inf), (0.5, inf), (inf, 0.1), (3, 3), (0.5, 0.1)),
            label=[
                "none",
                "filter 3",
                "filter 1",
                "filter 0.5",
                "bias 0.1",
                "filter 3, bias 3",
                "filter 0.5, bias 0.1",
            ],
            quantity="limit",
        ),
        Arm(
            "axis 0",
            lambda limit: Recipe(constraints={"conv/kernel": jr.MaxNorm(limit, axis=0)}),
            strengths=(1.0, 0.5),
            label="axis 0, {0:g}",
            quantity="limit",
        ),
    ],
    claims=[
        Claim("Keras's axis 0 lets filters grow beyond the limit", "axis 0, 0.5", "filter 0.5", "largest_filter", 1),
        Claim(
            "max_norm(3) on kernel and bias changes nothing",
            "filter 3, bias 3",
            variable="test_loss",
            sign=0,
            margin=0.02,
        ),
        Claim("a limit of 0.5 per filter raises the test accuracy", "filter 0.5"),
        Claim(
            "a limit per filter is as accurate as one over Keras's axis 0",
            "filter 0.5",
            "axis 0, 0.5",
            sign=0,
            margin=0.01,
        ),
        Claim("a limit on the biases makes no difference", "bias 0.1", sign=0, margin=0.01),
    ],
    outputs=largest,
    highlights=["filter 0.5", "axis 0, 0.5"],
    size=Size(seeds=1, draws=24, epochs=100),
    quick=Size(seeds=1, draws=2, epochs=3),
)
