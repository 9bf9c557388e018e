"""Regularised weights: hidden kernel, output kernel and biases, each alone and all together.

Claim: the output layer and the biases are worth regularising too, and regularising all layers is a sound default
(extensions and answers in J. Brownlee's tutorials on weight decay and weight constraints; no figures published).
Command: jaxreg run layers
"""

from math import inf

import jaxreg as jr
from jaxreg.lab import MLP, Arm, Claim, Recipe, Size, Study, linen, moons

STUDY = Study(
    name="layers",
    title="hidden kernel, output kernel and biases, each alone and together, moons, MLP 2-500-1",
    model=linen(MLP(hidden=500), inputs=(2,)),
    draws=lambda count: moons(range(count), train=30, test=1000, validation=70),
    arms=[
        Arm(
            "L2",
            lambda hidden, output, biases: Recipe(
                penalties={"hidden/kernel": jr.L2(hidden), "output/kernel": jr.L2(output), jr.BIASES: jr.L2(biases)}
            ),
            strengths=((0, 0, 0), (1e-3, 0, 0), (0, 1e-3, 0), (0, 0, 1e-3), (1e-3, 1e-3, 0), (1e-3, 1e-3, 1e-3)),
            label=["none", "L2 hidden", "L2 output", "L2 biases", "L2 kernels", "L2 all"],
        ),
        Arm(
            "max_norm",
            lambda hidden, output, biases: Recipe(
                constraints={
                    "hidden/kernel": jr.MaxNorm(hidden),
                    "output/kernel": jr.MaxNorm(output),
                    jr.BIASES: jr.MaxNorm(biases),
                }
            ),
            strengths=((3, inf, inf), (inf, 3, inf), (inf, inf, 3), (3, inf, 3), (3, 3, 3), (1, 1, 1)),
            label=[
                "max_norm(3) hidden",
                "max_norm(3) output",
                "max_norm(3) biases",
                "max_norm(3) hidden and biases",
                "max_norm(3) all",
                "max_norm(1) all",
            ],
            quantity="limit",
        ),
    ],
    claims=[
        Claim("an L2 on the output kernel alone raises the test accuracy", "L2 output"),
        Claim("an L2 on the biases alone raises the test accuracy", "L2 biases"),
        Claim("L2 on all weights is more accurate than L2 on the hidden kernel alone", "L2 all", "L2 hidden"),
        Claim(
            "L2 on all weights has a lower cross-entropy than on the hidden kernel alone",
            "L2 all",
            "L2 hidden",
            "test_loss",
            -1,
        ),
        Claim("max_norm(3) on all weights raises the test accuracy", "max_norm(3) all"),
        Claim("max_norm(1) on all weights raises the test accuracy", "max_norm(1) all"),
    ],
    highlights=["L2 hidden", "L2 all", "max_norm(1) all"],
    size=Size(seeds=1, draws=32),
    quick=Size(seeds=1, draws=3, epochs=100),
)
