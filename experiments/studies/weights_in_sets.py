"""Several constraints on one kernel: a norm of 1 with all weights between 0 and 0.05, and weights that sum to one.

Claim: a layer can satisfy both (readers' questions under J. Brownlee's tutorial on weight constraints; Keras accepts
only one constraint per weight array). The constraints are on the output kernel. Its 500 weights of at most 0.05 can
have a norm of 1, or each be a share of a sum of one.
Command: jaxreg run weights_in_sets
"""

from math import inf
from typing import Any

import jax
import jax.numpy as jnp

import jaxreg as jr
from jaxreg.lab import MLP, Arm, Claim, Recipe, Size, Study, linen, moons


def weights(params: Any) -> dict[str, jax.Array]:
    """Return the norm, the sum, the smallest and the largest weight, and the share of zeros of the output kernel."""
    kernel = params["output"]["kernel"]
    found = {"norm": jnp.linalg.norm(kernel), "sum": kernel.sum(), "smallest": kernel.min(), "largest": kernel.max()}
    return found | {"share_at_zero": jnp.mean(kernel == 0)}


STUDY = Study(
    name="weights_in_sets",
    title="norm 1 with weights in 0 … 0.05, and weights that sum to one, output kernel, moons, MLP 2-500-1",
    model=linen(MLP(hidden=500), inputs=(2,)),
    draws=lambda count: moons(range(count), train=30, test=1000, validation=70),
    arms=[
        Arm(
            "box",
            lambda low, high: Recipe(constraints={"output/kernel": jr.Box(low, high)}),
            strengths=((-inf, inf), (0.0, 0.05), (0.0, inf)),
            label=["none", "box(0, 0.05)", "non_neg"],
            quantity="limit",
        ),
        Arm(
            "norm 1 in box(0, 0.05)",
            lambda: Recipe(constraints={"output/kernel": jr.Intersection(jr.UnitNorm(), jr.Box(0.0, 0.05))}),
        ),
        Arm(
            "simplex",
            lambda total: Recipe(constraints={"output/kernel": jr.Simplex(total)}),
            strengths=(1.0, 10.0),
            quantity="total",
        ),
        Arm(
            "sum_to",
            lambda total: Recipe(constraints={"output/kernel": jr.SumTo(total)}),
            strengths=(1.0,),
            quantity="total",
        ),
    ],
    claims=[
        Claim("both constraints together make the norm smaller", "norm 1 in box(0, 0.05)", variable="norm", sign=-1),
        Claim("both constraints together cost accuracy", "norm 1 in box(0, 0.05)", sign=-1),
        Claim(
            "a norm of 1 in addition to the box costs nothing",
            "norm 1 in box(0, 0.05)",
            "box(0, 0.05)",
            sign=0,
            margin=0.005,
        ),
        Claim("weights that sum to one cost nothing", "sum_to(1)", sign=0, margin=0.005),
        Claim("nonnegative weights that sum to one cost accuracy", "simplex(1)", sign=-1),
    ],
    outputs=weights,
    highlights=["norm 1 in box(0, 0.05)", "simplex(1)", "sum_to(1)"],
    size=Size(seeds=1, draws=32),
    quick=Size(seeds=1, draws=3, epochs=100),
)
