"""Weight decay of well-known LSTMs, on a time series: on kernel, recurrent kernel, bias, or all three.

Claim: weight decay helps LSTMs. Speech recognition uses 1e-6 (Pereyra and others 2017, Weiss and others 2017) and
neural architecture search 1e-4 (Zoph and Le 2017), as J. Brownlee's tutorial on weight decay lists. Keras's example has
0.01 on kernel, recurrent kernel and bias. A strength multiplies Σw², as in Keras's L2. The network predicts the
sunspots of a year from the 12 years before. The error is in standard deviations of the training years; lower is better.
Command: jaxreg run lstm_sunspots
"""

from itertools import product

import jaxreg as jr
from jaxreg.lab import LSTM, NUMBERS, Arm, Claim, Recipe, Size, Study, linen, sunspots

PRESETS = {"1e-6": 1e-6, "1e-4": 1e-4, "0.01": 0.01}
ON = {"kernel": (1, 0, 0), "recurrent": (0, 1, 0), "bias": (0, 0, 1), "all": (1, 1, 1)}

STUDY = Study(
    name="lstm_sunspots",
    title="weight decay of the literature's LSTMs, yearly sunspots, 100 windows of 12 years, 8 units",
    model=linen(LSTM(units=(8,)), inputs=(12, 1)),
    task=NUMBERS,
    draws=lambda count: sunspots(range(count), length=12, train=100, validation=40, test=60),
    drawn_from="309 years of sunspots",
    arms=[
        Arm(
            "L2",
            lambda kernel, recurrent, bias: Recipe(
                penalties={
                    "lstm/kernel": jr.L2(kernel),
                    "lstm/recurrent_kernel": jr.L2(recurrent),
                    "lstm/bias": jr.L2(bias),
                },
                learning_rate=0.01,
            ),
            strengths=(
                (0, 0, 0),
                *(tuple(s * on for on in kinds) for s, kinds in product(PRESETS.values(), ON.values())),
            ),
            label=["none", *(f"{preset} {kinds}" for preset, kinds in product(PRESETS, ON))],
        )
    ],
    claims=[
        Claim(
            "L2 of 1e-6 on all LSTM weights lowers the error", "1e-6 all", variable="test_rmse", sign=-1, margin=0.005
        ),
        Claim(
            "L2 of 1e-4 on all LSTM weights lowers the error", "1e-4 all", variable="test_rmse", sign=-1, margin=0.005
        ),
        Claim(
            "L2 of 0.01 on all LSTM weights lowers the error", "0.01 all", variable="test_rmse", sign=-1, margin=0.005
        ),
        Claim(
            "L2 of 0.01 on the kernel alone lowers the error",
            "0.01 kernel",
            variable="test_rmse",
            sign=-1,
            margin=0.005,
        ),
        Claim(
            "L2 of 0.01 on the recurrent kernel alone lowers the error",
            "0.01 recurrent",
            variable="test_rmse",
            sign=-1,
            margin=0.005,
        ),
        Claim(
            "L2 of 0.01 on the bias alone lowers the error", "0.01 bias", variable="test_rmse", sign=-1, margin=0.005
        ),
    ],
    highlights=["1e-4 all", "0.01 all"],
    size=Size(seeds=1, draws=32, epochs=100),
    quick=Size(seeds=1, draws=3, epochs=3),
)
