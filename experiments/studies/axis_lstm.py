"""Norm constraints on an LSTM: separate limits on kernel, recurrent kernel and bias, and the meaning of each axis.

Claim: an LSTM accepts one constraint on its kernel, one on its recurrent kernel and one on its bias (J. Brownlee's
tutorial on weight constraints). The default axis, 0, gives one norm per unit and gate. Axis 1 gives one norm per input,
which covers all units and gates.
Command: jaxreg run axis_lstm
"""

from math import inf
from typing import Any

import jax
import jax.numpy as jnp

import jaxreg as jr
from jaxreg.lab import CLASSES, LSTM, Arm, Claim, Recipe, Size, Study, digits_by_row, linen


def largest(params: Any) -> dict[str, jax.Array]:
    """Return the largest norms of the recurrent weights into a gate and out of a unit."""
    kernel = params["lstm"]["recurrent_kernel"]
    return {
        "largest_into_a_gate": jnp.linalg.norm(kernel, axis=0).max(),
        "largest_out_of_a_unit": jnp.linalg.norm(kernel, axis=1).max(),
    }


STUDY = Study(
    name="axis_lstm",
    title="max_norm of an LSTM's kernel, recurrent kernel and bias, digits row by row, 200 rows, 16 units",
    model=linen(LSTM(units=(16,), outputs=10), inputs=(8, 8)),
    task=CLASSES,
    draws=lambda count: digits_by_row(range(count), train=200, validation=200),
    drawn_from="1,797 digits",
    arms=[
        Arm(
            "gate",
            lambda kernel, recurrent, bias: Recipe(
                constraints={
                    "lstm/kernel": jr.MaxNorm(kernel),
                    "lstm/recurrent_kernel": jr.MaxNorm(recurrent),
                    "lstm/bias": jr.MaxNorm(bias),
                }
            ),
            strengths=((inf, inf, inf), (1, inf, inf), (inf, 1, inf), (inf, inf, 1), (1, 1, 1), (3, 3, 3)),
            label=["none", "kernel 1", "recurrent 1", "bias 1", "all 1", "all 3"],
            quantity="limit",
        ),
        Arm(
            "unit, axis 1",
            lambda limit: Recipe(constraints={"lstm/recurrent_kernel": jr.MaxNorm(limit, axis=1)}),
            strengths=(1.0, 2.0),
            label="recurrent, axis 1, {0:g}",
            quantity="limit",
        ),
    ],
    claims=[
        Claim(
            "a limit over axis 1 lets gates grow beyond it",
            "recurrent, axis 1, 2",
            "recurrent 1",
            "largest_into_a_gate",
            1,
        ),
        Claim("max_norm(1) on the kernel makes no difference", "kernel 1", sign=0, margin=0.01),
        Claim("max_norm(1) on the recurrent kernel makes no difference", "recurrent 1", sign=0, margin=0.01),
        Claim("max_norm(1) on the bias makes no difference", "bias 1", sign=0, margin=0.01),
        Claim("max_norm(1) on all three raises the test accuracy", "all 1"),
        Claim("max_norm(3) on all three changes nothing", "all 3", variable="test_loss", sign=0, margin=0.02),
    ],
    outputs=largest,
    highlights=["all 1", "recurrent 1"],
    size=Size(seeds=1, draws=16, epochs=100),
    quick=Size(seeds=1, draws=2, epochs=3),
)
