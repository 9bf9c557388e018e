"""Norm constraints on the hidden kernel of an overfitted MLP.

Claim: unit_norm, and min_max_norm with two equal limits near 1, raise the test accuracy on the moons from 0.914 to
0.943 (J. Brownlee, How to Reduce Overfitting Using Weight Constraints in Keras; the grid is from its readers'
questions).
Command: jaxreg run weight_constraints
"""

import math

import jaxreg as jr
from jaxreg.lab import MLP, Arm, Claim, Recipe, Study, linen, moons, tutorial_moons

STUDY = Study(
    name="weight_constraints",
    title="norm constraints on the hidden kernel, moons, MLP 2-500-1",
    model=linen(MLP(hidden=500), inputs=(2,)),
    data=tutorial_moons(),
    draws=lambda count: moons(range(count), train=30, test=4000, validation=70),
    arms=[
        Arm(
            "max_norm",
            lambda limit: Recipe(constraints={"hidden/kernel": jr.MaxNorm(limit)}),
            strengths=(math.inf, 1.0),
            quantity="limit",
        ),
        Arm("unit_norm", lambda: Recipe(constraints={"hidden/kernel": jr.UnitNorm()})),
        Arm(
            "min_max_norm",
            lambda limit: Recipe(constraints={"hidden/kernel": jr.MinMaxNorm(limit, limit)}),
            strengths=(0.3, 0.6, 0.9, 1.0, 1.3, 1.6),
            label="min_max_norm({0:g}, {0:g})",
            quantity="limit",
        ),
    ],
    published={
        "none": (1.000, 0.914),
        "unit_norm": (1.000, 0.943),
        "min_max_norm(0.3, 0.3)": (1.000, 0.929),
        "min_max_norm(0.6, 0.6)": (1.000, 0.929),
        "min_max_norm(0.9, 0.9)": (1.000, 0.943),
        "min_max_norm(1, 1)": (1.000, 0.943),
        "min_max_norm(1.3, 1.3)": (1.000, 0.943),
        "min_max_norm(1.6, 1.6)": (1.000, 0.929),
    },
    claims=[
        Claim("unit_norm raises the test accuracy", "unit_norm"),
        Claim("unit_norm lowers the cross-entropy", "unit_norm", variable="test_loss", sign=-1),
        Claim("min_max_norm(1, 1) is the same as unit_norm", "min_max_norm(1, 1)", "unit_norm", "test_loss", 0),
        Claim("max_norm(1) gives a smaller norm than unit_norm", "max_norm(1)", "unit_norm", "norm/hidden/kernel", -1),
        Claim("limits of 1 are more accurate than limits of 0.6", "min_max_norm(1, 1)", "min_max_norm(0.6, 0.6)"),
        Claim("limits of 1 are more accurate than limits of 1.6", "min_max_norm(1, 1)", "min_max_norm(1.6, 1.6)"),
    ],
    highlights=["unit_norm", "max_norm(1)"],
    grid="min_max_norm",
    source="J. Brownlee, How to Reduce Overfitting Using Weight Constraints in Keras; the grid: its readers' questions",
)
