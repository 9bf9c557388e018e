"""max_norm with limits from 1 to 4, and the difference between max_norm(1) and unit_norm.

Claim: limits from 1 to 4 are worth trying. max_norm(1) leaves norms below 1 unchanged. unit_norm and min_max_norm(1, 1)
change them and are the same (J. Brownlee's tutorial on weight constraints; no figures published). The constraints are
on both kernels. The 2 incoming weights of a hidden unit stay below such limits; the 500 weights of the output reach
them.
Command: jaxreg run max_norm
"""

from math import inf
from typing import Any

import jax
import jax.numpy as jnp

import jaxreg as jr
from jaxreg.lab import MLP, Arm, Claim, Recipe, Size, Study, linen, moons


def norms(params: Any) -> dict[str, jax.Array]:
    """Return the smallest and the largest norm of the incoming weights of a unit, over all units."""
    units = jnp.concatenate([jnp.linalg.norm(layer["kernel"], axis=0) for layer in params.values()])
    return {"smallest_norm": units.min(), "largest_norm": units.max()}


STUDY = Study(
    name="max_norm",
    title="max_norm(1) to max_norm(4) and unit_norm on both kernels, moons, MLP 2-500-1",
    model=linen(MLP(hidden=500), inputs=(2,)),
    draws=lambda count: moons(range(count), train=30, test=1000, validation=70),
    arms=[
        Arm(
            "max_norm",
            lambda limit: Recipe(constraints={jr.KERNELS: jr.MaxNorm(limit)}),
            strengths=(inf, 1.0, 2.0, 3.0, 4.0),
            quantity="limit",
        ),
        Arm("unit_norm", lambda: Recipe(constraints={jr.KERNELS: jr.UnitNorm()})),
        Arm(
            "min_max_norm",
            lambda limit, rate: Recipe(constraints={jr.KERNELS: jr.MinMaxNorm(limit, limit, rate)}),
            strengths=((1.0, 1.0), (1.0, 0.01)),
            label=["min_max_norm(1, 1)", "min_max_norm(1, 1, rate 0.01)"],
            quantity="limit",
        ),
    ],
    claims=[
        Claim("max_norm(1) leaves norms below 1 unchanged", "max_norm(1)", "unit_norm", "smallest_norm", -1),
        Claim("unit_norm is more accurate than max_norm(1)", "unit_norm", "max_norm(1)", "test_accuracy", 1),
        Claim("min_max_norm(1, 1) is the same as unit_norm", "min_max_norm(1, 1)", "unit_norm", "test_loss", 0),
        Claim(
            "at a rate of 0.01 the largest norm exceeds 1",
            "min_max_norm(1, 1, rate 0.01)",
            "unit_norm",
            "largest_norm",
        ),
        Claim("max_norm(1) raises the test accuracy", "max_norm(1)"),
        Claim("max_norm(3) raises the test accuracy", "max_norm(3)"),
        Claim("max_norm(3) lowers the cross-entropy", "max_norm(3)", variable="test_loss", sign=-1),
    ],
    outputs=norms,
    highlights=["max_norm(1)", "unit_norm"],
    grid="max_norm",
    size=Size(seeds=1, draws=32),
    quick=Size(seeds=1, draws=3, epochs=100),
)
