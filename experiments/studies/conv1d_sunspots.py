"""L2 on the kernel and the bias of a Conv1D, on a time series.

Claim: a Conv1D accepts one regulariser on its kernel and one on its bias, such as L2 of 0.01 (J. Brownlee's tutorial on
weight decay). The network predicts the sunspots of a year from the 12 years before. The error is in standard deviations
of the training years; lower is better.
Command: jaxreg run conv1d_sunspots
"""

import jaxreg as jr
from jaxreg.lab import CNN, NUMBERS, Arm, Claim, Recipe, Size, Study, linen, sunspots

STUDY = Study(
    name="conv1d_sunspots",
    title="L2 on the kernel and the bias of a Conv1D, yearly sunspots, 100 windows of 12 years, 16 filters",
    model=linen(CNN(filters=(16,), window=(3,)), inputs=(12, 1)),
    task=NUMBERS,
    draws=lambda count: sunspots(range(count), length=12, train=100, validation=40, test=60),
    drawn_from="309 years of sunspots",
    arms=[
        Arm(
            "L2",
            lambda kernel, bias: Recipe(
                penalties={"conv/kernel": jr.L2(kernel), "conv/bias": jr.L2(bias)}, learning_rate=0.01
            ),
            strengths=((0, 0), (1e-3, 0), (0.01, 0), (0, 0.01), (0.01, 0.01)),
            label=["none", "kernel 0.001", "kernel 0.01", "bias 0.01", "both 0.01"],
        )
    ],
    claims=[
        Claim("L2 of 0.01 on the kernel lowers the error", "kernel 0.01", variable="test_rmse", sign=-1, margin=0.005),
        Claim("L2 of 0.01 on the bias lowers the error", "bias 0.01", variable="test_rmse", sign=-1, margin=0.005),
        Claim("L2 of 0.01 on both lowers the error", "both 0.01", variable="test_rmse", sign=-1, margin=0.005),
    ],
    highlights=["kernel 0.01", "both 0.01"],
    size=Size(seeds=1, draws=32, epochs=100),
    quick=Size(seeds=1, draws=3, epochs=3),
)
