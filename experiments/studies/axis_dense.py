"""What each axis of a norm constraint means on a Dense kernel.

Claim: the default axis, 0, is right for a Dense layer: one norm a unit (Keras's documentation, and a reader's question
under J. Brownlee's tutorial on weight constraints). Axis 1 is one norm an input, (0, 1) one norm of the kernel. The
limits give each axis the same budget: all units at 0.25 are a kernel of norm 5.6, or two inputs of norm 4.
Command: jaxreg run axis_dense
"""

from math import inf
from typing import Any

import jax
import jax.numpy as jnp

import jaxreg as jr
from jaxreg.lab import MLP, Arm, Claim, Recipe, Size, Study, linen, moons


def largest(params: Any) -> dict[str, jax.Array]:
    """The largest norm of the weights into a unit, and of those out of an input."""
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
        Claim("over axis 1 the same limit binds", "input, axis 1, 3", variable="norm/hidden/kernel", sign=-1),
        Claim("per unit does better than per input", "unit, axis 0, 0.25", "input, axis 1, 4"),
        Claim(
            "per unit does better than per input, in cross-entropy",
            "unit, axis 0, 0.25",
            "input, axis 1, 4",
            "test_loss",
            -1,
        ),
        Claim(
            "per unit does better than the whole, in cross-entropy",
            "unit, axis 0, 0.25",
            "whole, axis (0, 1), 5.6",
            "test_loss",
            -1,
        ),
        Claim("per unit raises the test accuracy", "unit, axis 0, 0.25"),
    ],
    outputs=largest,
    highlights=["unit, axis 0, 0.25", "input, axis 1, 4", "whole, axis (0, 1), 5.6"],
    size=Size(seeds=1, draws=32),
    quick=Size(seeds=1, draws=3, epochs=100),
)
