"""One training with a growing weight decay, compared with a new training for each strength.

Claim: a fitted model can be trained further with a decay of 1e-6, then 1e-5, and so on, instead of a new training for
each strength (an extension that J. Brownlee's tutorial on weight decay proposes; no figures published). All recipes of
the path are the same training. A learning rate of 0 stops each of them after a different stage.
Command: jaxreg run warm_path
"""

from typing import Any

import jax.numpy as jnp
import optax

import jaxreg as jr
from jaxreg.lab import MLP, Arm, Claim, Recipe, Size, Study, linen, moons

STRENGTHS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
START, STAGE = 1000, 500  # epochs without decay, and at each strength; one step each
GROWING = optax.join_schedules(
    [optax.constant_schedule(strength) for strength in (0.0, *STRENGTHS)],
    [START + stage * STAGE for stage in range(len(STRENGTHS))],
)


def path(stages: Any) -> Recipe:
    return Recipe(
        penalties={"hidden/kernel": jr.L2(GROWING)},
        learning_rate=lambda step: jnp.where(step < START + stages * STAGE, 1e-3, 0.0),
    )


STUDY = Study(
    name="warm_path",
    title="one training with growing L2 against a new one for each strength, moons, MLP 2-500-1",
    model=linen(MLP(hidden=500), inputs=(2,)),
    draws=lambda count: moons(range(count), train=30, test=1000, validation=70),
    arms=[
        Arm(
            "L2",
            lambda strength: Recipe(penalties={"hidden/kernel": jr.L2(strength)}),
            strengths=(0.0, *STRENGTHS),
        ),
        Arm(
            "path",
            path,
            strengths=(1, 2, 3, 4, 5, 6),
            label=[f"path to {strength:g}" for strength in STRENGTHS],
            quantity="stages",
        ),
    ],
    claims=[
        Claim(
            "the path to 0.001 is as accurate as a new training",
            "path to 0.001",
            "L2(0.001)",
            sign=0,
            margin=0.005,
        ),
        Claim(
            "the path to 0.001 has the cross-entropy of a new training",
            "path to 0.001",
            "L2(0.001)",
            "test_loss",
            0,
            0.02,
        ),
        Claim(
            "the path to 0.01 has the cross-entropy of a new training", "path to 0.01", "L2(0.01)", "test_loss", 0, 0.02
        ),
        Claim("the path to 0.01 raises the test accuracy", "path to 0.01"),
    ],
    highlights=["L2(0.01)", "path to 0.01"],
    grid="L2",
    size=Size(seeds=2, draws=32),
    quick=Size(seeds=1, draws=2),
)
