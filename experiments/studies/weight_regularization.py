"""L2 on the hidden kernel of an overfitted MLP.

Claim: weight regularisation raises the test accuracy on the moons from 0.914 to 0.943. The best strengths are 0.001 and
0.01 (J. Brownlee, How to Use Weight Decay to Reduce Overfitting of Neural Network in Keras).
Command: jaxreg run weight_regularization
"""

import jaxreg as jr
from jaxreg.lab import MLP, Arm, Claim, Recipe, Study, linen, moons, tutorial_moons

STUDY = Study(
    name="weight_regularization",
    title="L2 on the hidden kernel, moons, MLP 2-500-1",
    model=linen(MLP(hidden=500), inputs=(2,)),
    data=tutorial_moons(),
    draws=lambda count: moons(range(count), train=30, test=4000, validation=70),
    arms=[
        Arm(
            "L2",
            lambda strength: Recipe(penalties={"hidden/kernel": jr.L2(strength)}),
            strengths=(0.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6),
        ),
    ],
    published={
        "none": (1.000, 0.914),
        "L2(0.1)": (0.967, 0.829),
        "L2(0.01)": (1.000, 0.943),
        "L2(0.001)": (1.000, 0.943),
        "L2(0.0001)": (1.000, 0.929),
        "L2(1e-05)": (1.000, 0.929),
        "L2(1e-06)": (1.000, 0.914),
    },
    claims=[
        Claim("L2 of 0.001 raises the test accuracy", "L2(0.001)"),
        Claim("L2 of 0.01 is as accurate as L2 of 0.001", "L2(0.01)", "L2(0.001)", sign=0, margin=0.005),
        Claim("L2 of 0.1 is too strong and lowers the test accuracy", "L2(0.1)", sign=-1),
        Claim("L2 of 0.001 lowers the cross-entropy", "L2(0.001)", variable="test_loss", sign=-1),
        Claim("L2 of 0.001 shrinks the weights", "L2(0.001)", variable="norm/hidden/kernel", sign=-1),
    ],
    highlights=["L2(0.001)"],
    grid="L2",
    source="J. Brownlee, How to Use Weight Decay to Reduce Overfitting of Neural Network in Keras",
)
