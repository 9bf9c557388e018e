"""Weight decay of well-known LSTMs, on digits read row by row: on kernel, recurrent kernel, bias, or all three.

Claim: weight decay helps LSTMs. Speech recognition uses 1e-6 (Pereyra and others 2017, Weiss and others 2017) and
neural architecture search 1e-4 (Zoph and Le 2017), as J. Brownlee's tutorial on weight decay lists. Keras's example has
0.01 on kernel, recurrent kernel and bias. A strength multiplies Σw², as in Keras's L2.
Command: jaxreg run lstm_digits
"""

from itertools import product

import jaxreg as jr
from jaxreg.lab import CLASSES, LSTM, Arm, Claim, Recipe, Size, Study, digits_by_row, linen

PRESETS = {"1e-6": 1e-6, "1e-4": 1e-4, "0.01": 0.01}
ON = {"kernel": (1, 0, 0), "recurrent": (0, 1, 0), "bias": (0, 0, 1), "all": (1, 1, 1)}

STUDY = Study(
    name="lstm_digits",
    title="weight decay of the literature's LSTMs, digits row by row, 200 rows, 16 units",
    model=linen(LSTM(units=(16,), outputs=10), inputs=(8, 8)),
    task=CLASSES,
    draws=lambda count: digits_by_row(range(count), train=200, validation=200),
    drawn_from="1,797 digits",
    arms=[
        Arm(
            "L2",
            lambda kernel, recurrent, bias: Recipe(
                penalties={
                    "lstm/kernel": jr.L2(kernel),
                    "lstm/recurrent_kernel": jr.L2(recurrent),
                    "lstm/bias": jr.L2(bias),
                }
            ),
            strengths=(
                (0, 0, 0),
                *(tuple(s * on for on in kinds) for s, kinds in product(PRESETS.values(), ON.values())),
            ),
            label=["none", *(f"{preset} {kinds}" for preset, kinds in product(PRESETS, ON))],
        )
    ],
    claims=[
        Claim("L2 of 1e-6 on all LSTM weights raises the test accuracy", "1e-6 all", margin=0.001),
        Claim(
            "L2 of 1e-6 on all LSTM weights lowers the cross-entropy",
            "1e-6 all",
            variable="test_loss",
            sign=-1,
            margin=0.005,
        ),
        Claim("L2 of 1e-4 on all LSTM weights raises the test accuracy", "1e-4 all", margin=0.001),
        Claim(
            "L2 of 1e-4 on all LSTM weights lowers the cross-entropy",
            "1e-4 all",
            variable="test_loss",
            sign=-1,
            margin=0.005,
        ),
        Claim("L2 of 0.01 on all LSTM weights raises the test accuracy", "0.01 all"),
        Claim("L2 of 0.01 on the recurrent kernel alone raises the test accuracy", "0.01 recurrent"),
    ],
    highlights=["1e-4 all", "0.01 all"],
    size=Size(seeds=1, draws=16, epochs=100),
    quick=Size(seeds=1, draws=2, epochs=3),
)
