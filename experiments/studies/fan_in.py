"""One norm limit for all layers, or limits that grow with the number of incoming weights.

Claim: the limit should depend on the number of incoming weights of a unit, 500 or 10 (an unanswered reader's question
under J. Brownlee's tutorial on weight constraints). In the network 2-500-10-1, units have 2, 500 and 10 incoming
weights. max_norm has the same limit for all norms. The limit of max_rms is multiplied by the square root of this
number.
Command: jaxreg run fan_in
"""

from math import inf

from flax import linen as nn

import jaxreg as jr
from jaxreg.lab import Arm, Claim, Recipe, Size, Study, linen, moons

STUDY = Study(
    name="fan_in",
    title="max_norm against max_rms on all kernels, moons, MLP 2-500-10-1",
    model=linen(nn.Sequential([nn.Dense(500), nn.relu, nn.Dense(10), nn.relu, nn.Dense(1)]), inputs=(2,)),
    draws=lambda count: moons(range(count), train=30, test=1000, validation=70),
    arms=[
        Arm(
            "max_norm",
            lambda limit: Recipe(constraints={jr.KERNELS: jr.MaxNorm(limit)}),
            strengths=(inf, 0.5, 1.0, 2.0, 4.0),
            quantity="limit",
        ),
        Arm(
            "max_rms",
            lambda limit: Recipe(constraints={jr.KERNELS: jr.MaxRMS(limit)}),
            strengths=(0.05, 0.1, 0.2, 0.4),
            quantity="limit",
        ),
    ],
    claims=[
        Claim("one limit for all layers raises the test accuracy", "max_norm(1)"),
        Claim("a limit that grows with the fan-in raises the test accuracy", "max_rms(0.2)"),
        Claim("a limit that grows is more accurate than one limit for all", "max_rms(0.2)", "max_norm(1)"),
        Claim(
            "a limit that grows has a lower cross-entropy than one limit for all",
            "max_rms(0.2)",
            "max_norm(1)",
            "test_loss",
            -1,
        ),
    ],
    highlights=["max_norm(1)", "max_rms(0.2)"],
    grid="max_norm",
    size=Size(seeds=1, draws=32, epochs=1000),
    quick=Size(seeds=1, draws=3, epochs=100),
)
