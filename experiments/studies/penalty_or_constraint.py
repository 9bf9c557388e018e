"""A penalty compared with a constraint that gives the same norm.

Claim: a penalty and a constraint reach the same accuracy on the same problem, 0.943 in one run each (a reader's
question under J. Brownlee's tutorial on weight constraints). Here the constraint limits the norm of the entire kernel.
Its limits are the norms with which the trainings with a penalty end, so that both leave weights of the same size.
Command: jaxreg run penalty_or_constraint
"""

import jaxreg as jr
from jaxreg.lab import BINARY, MLP, Arm, Claim, Recipe, Size, Study, equal_error_rate, linen, moons

STUDY = Study(
    name="penalty_or_constraint",
    title="L2 against max_norm of the whole hidden kernel, at matched norm, moons, MLP 2-500-1",
    model=linen(MLP(hidden=500), inputs=(2,)),
    task=BINARY._replace(metrics={**BINARY.metrics, "equal_error_rate": equal_error_rate}),
    draws=lambda count: moons(range(count), train=30, test=1000, validation=70),
    arms=[
        Arm(
            "L2",
            lambda strength: Recipe(penalties={"hidden/kernel": jr.L2(strength)}),
            strengths=(0.0, 1e-4, 1e-3, 1e-2),
        ),
        Arm(
            "max_norm",
            lambda limit: Recipe(constraints={"hidden/kernel": jr.MaxNorm(limit, axis=(0, 1))}),
            strengths=(6.8, 3.6, 1.7),
            quantity="limit",
        ),
    ],
    claims=[
        Claim("penalty and constraint give the same norm", "L2(0.001)", "max_norm(3.6)", "norm/hidden/kernel", 0, 0.5),
        Claim("penalty and constraint reach the same accuracy", "L2(0.001)", "max_norm(3.6)", sign=0, margin=0.005),
        Claim(
            "penalty and constraint reach the same cross-entropy", "L2(0.001)", "max_norm(3.6)", "test_loss", 0, 0.02
        ),
        Claim(
            "penalty and constraint reach the same equal error rate",
            "L2(0.001)",
            "max_norm(3.6)",
            "test_equal_error_rate",
            0,
            0.005,
        ),
        Claim(
            "at the next smaller norm they reach the same cross-entropy",
            "L2(0.01)",
            "max_norm(1.7)",
            "test_loss",
            0,
            0.02,
        ),
    ],
    highlights=["L2(0.001)", "max_norm(3.6)"],
    grid="L2",
    size=Size(seeds=1, draws=32),
    quick=Size(seeds=1, draws=3, epochs=100),
)
