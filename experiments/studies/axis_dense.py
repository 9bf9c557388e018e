"""Norm constraints on a Dense kernel: the meaning of each axis.

Claim: the default axis, 0, is right for a Dense layer, because it gives one norm per unit (Keras's documentation, and a
reader's question under J. Brownlee's tutorial on weight constraints). Axis 1 gives one norm per input, and axes (0, 1)
give one norm of the entire kernel. The limits allow the same total: 500 units of norm 0.25 make a kernel of norm 5.6,
and so do two inputs of norm 4.
Command: jaxreg run axis_dense
"""

from math import inf
from typing import Any

import jax
import jax.numpy as jnp

import jaxreg as jr
from jaxreg.lab import MLP, Arm, Claim, Recipe, Size, Study, linen, moons


def largest(params: Any) -> dict[str, jax.Array]:
    """Return the largest norm of the weights into a unit, and the largest norm of the weights out of an input."""
    kernel = params["hidden"]["kernel"]
    return {
        "largest_into_a_unit": jnp.linalg.norm(kernel, axis=0).max(),
        "largest_out_of_an_input": jnp.linalg.norm(kernel, axis=1).max(),
    }


STUDY = Study(
    name="axis_dense",
    title="max_norm of the hidden kernel over axis 0, 1 and both, moons, MLP 2-500-1",
    model=linen(MLP(hidden=500), inputs=(2,)),
    draws=lambda count: moons(range(count), train=30, test=1000, validation=70),
    arms=[
        Arm(
            "unit, axis 0",
            lambda limit: Recipe(constraints={"hidden/kernel": jr.MaxNorm(limit)}),
            strengths=(inf, 0.25, 3.0),
            label="unit, axis 0, {0:g}",
            quantity="limit",
        ),
        Arm(
            "input, axis 1",
            lambda limit: Recipe(constraints={"hidden/kernel": jr.MaxNorm(limit, axis=1)}),
            strengths=(4.0, 3.0),
            label="input, axis 1, {0:g}",
            quantity="limit",
        ),
        Arm(
            "whole, axis (0, 1)",
            lambda limit: Recipe(constraints={"hidden/kernel": jr.MaxNorm(limit, axis=(0, 1))}),
            strengths=(5.6, 3.0),
            label="whole, axis (0, 1), {0:g}",
            quantity="limit",
        ),
    ],
    claims=[
        Claim(
            "a limit of 3 on units of 2 weights changes nothing",
            "unit, axis 0, 3",
            variable="test_loss",
            sign=0,
            margin=0.02,
        ),
        Claim(
            "a limit of 3 over axis 1 makes the weights smaller",
            "input, axis 1, 3",
            variable="norm/hidden/kernel",
            sign=-1,
        ),
        Claim("a limit per unit is more accurate than one per input", "unit, axis 0, 0.25", "input, axis 1, 4"),
        Claim(
            "a limit per unit has a lower cross-entropy than one per input",
            "unit, axis 0, 0.25",
            "input, axis 1, 4",
            "test_loss",
            -1,
        ),
        Claim(
            "a limit per unit has a lower cross-entropy than one on the whole kernel",
            "unit, axis 0, 0.25",
            "whole, axis (0, 1), 5.6",
            "test_loss",
            -1,
        ),
        Claim("a limit per unit raises the test accuracy", "unit, axis 0, 0.25"),
    ],
    outputs=largest,
    highlights=["unit, axis 0, 0.25", "input, axis 1, 4", "whole, axis (0, 1), 5.6"],
    size=Size(seeds=1, draws=32),
    quick=Size(seeds=1, draws=3, epochs=100),
)
