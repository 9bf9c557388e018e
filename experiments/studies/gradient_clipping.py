"""Gradient clipping compared with a weight constraint.

Claim: clipping the gradient and constraining the weights have different effects (a reader's question under J.
Brownlee's tutorial on weight constraints). Clipped updates can still add up to weights of any norm, and Adam divides by
the size of the gradient, which undoes the clipping. A constraint limits the norm itself.
Command: jaxreg run gradient_clipping
"""

from math import inf

import optax

import jaxreg as jr
from jaxreg.lab import MLP, Arm, Claim, Recipe, Size, Study, linen, moons

STUDY = Study(
    name="gradient_clipping",
    title="clipping of the gradient's norm against max_norm of the hidden kernel, moons, MLP 2-500-1",
    model=linen(MLP(hidden=500), inputs=(2,)),
    draws=lambda count: moons(range(count), train=30, test=1000, validation=70),
    arms=[
        Arm(
            "max_norm",
            lambda limit: Recipe(constraints={"hidden/kernel": jr.MaxNorm(limit)}),
            strengths=(inf, 0.5, 0.25, 0.1),
            quantity="limit",
        ),
        Arm(
            "clipping",
            lambda limit: Recipe(
                optimizer=lambda rate: optax.chain(optax.clip_by_global_norm(limit), jr.keras.adam(rate))
            ),
            strengths=(1.0, 0.1, 0.01),
            quantity="limit",
        ),
    ],
    claims=[
        Claim("a constraint makes the norm smaller", "max_norm(0.1)", variable="norm/hidden/kernel", sign=-1),
        Claim("clipping at 0.1 makes the norm smaller", "clipping(0.1)", variable="norm/hidden/kernel", sign=-1),
        Claim(
            "clipping and the constraint give the same norm",
            "clipping(0.1)",
            "max_norm(0.1)",
            "norm/hidden/kernel",
            0,
            0.5,
        ),
        Claim(
            "clipping and the constraint give the same cross-entropy",
            "clipping(0.1)",
            "max_norm(0.1)",
            "test_loss",
            0,
            0.02,
        ),
        Claim("clipping at 0.1 raises the test accuracy", "clipping(0.1)"),
        Claim("max_norm(0.1) lowers the cross-entropy", "max_norm(0.1)", variable="test_loss", sign=-1),
    ],
    highlights=["max_norm(0.1)", "clipping(0.1)"],
    grid="max_norm",
    size=Size(seeds=1, draws=32),
    quick=Size(seeds=1, draws=3, epochs=100),
)
