"""L1, L2 and both together, with a finer grid of strengths around the best power of ten.

Claim: L1 and L1L2 are worth trying in addition to L2, and so is a finer grid around the best power of ten. All of them
shrink the weights (extensions that J. Brownlee's tutorial on weight decay proposes; no figures published).
Command: jaxreg run l1_l2
"""

import jaxreg as jr
from jaxreg.lab import MLP, Arm, Claim, Recipe, Size, Study, linen, moons

STUDY = Study(
    name="l1_l2",
    title="L1, L2 and both on the hidden kernel, a finer grid, moons, MLP 2-500-1",
    model=linen(MLP(hidden=500), inputs=(2,)),
    draws=lambda count: moons(range(count), train=30, test=1000, validation=70),
    arms=[
        Arm(
            "L2",
            lambda strength: Recipe(penalties={"hidden/kernel": jr.L2(strength)}),
            strengths=(0.0, 3e-4, 1e-3, 2e-3, 3e-3, 5e-3, 7e-3, 1e-2, 2e-2, 3e-2),
        ),
        Arm(
            "L1",
            lambda strength: Recipe(penalties={"hidden/kernel": jr.L1(strength)}),
            strengths=(1e-5, 1e-4, 3e-4, 1e-3, 3e-3),
        ),
        Arm(
            "L1L2",
            lambda l1, l2: Recipe(penalties={"hidden/kernel": jr.L1L2(l1, l2)}),
            strengths=((1e-4, 1e-3), (1e-3, 1e-3), (1e-4, 1e-2)),
            label="L1L2({0:g}, {1:g})",
        ),
    ],
    claims=[
        Claim("L2 shrinks the weights", "L2(0.001)", variable="norm/hidden/kernel", sign=-1),
        Claim("L1 shrinks the weights", "L1(0.001)", variable="norm/hidden/kernel", sign=-1),
        Claim("L1 raises the test accuracy", "L1(0.001)"),
        Claim("L1 and L2 together raise the test accuracy", "L1L2(0.0001, 0.001)"),
        Claim("L2 of 0.003 is more accurate than L2 of 0.001", "L2(0.003)", "L2(0.001)"),
        Claim("L2 of 0.003 has a lower cross-entropy than L2 of 0.001", "L2(0.003)", "L2(0.001)", "test_loss", -1),
    ],
    highlights=["L2(0.003)", "L1(0.001)", "L1L2(0.0001, 0.001)"],
    grid="L2",
    size=Size(seeds=1, draws=32),
    quick=Size(seeds=1, draws=3, epochs=100),
)
