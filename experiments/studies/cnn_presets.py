"""Weight decay of well-known convolutional networks, on the digits: on the kernels, or on kernels and biases.

Claim: AlexNet and VGG use a decay of 5e-4, Inception V3 4e-5 and Xception 1e-5 (listed in J. Brownlee's tutorial on
weight decay). In these papers the decay is the penalty ½ strength · Σw², whose update is multiplied by the learning
rate. Here this penalty is L2 at half the strength, in the loss, with Adam as in the tutorials. A decay of 1e-2 is added
to show where an effect begins.
Command: jaxreg run cnn_presets
"""

from itertools import product

import jaxreg as jr
from jaxreg.lab import CLASSES, CNN, Arm, Claim, Recipe, Size, Study, digits, linen

PRESETS = {"AlexNet, VGG 5e-4": 5e-4, "Inception V3 4e-5": 4e-5, "Xception 1e-5": 1e-5, "1e-2": 1e-2}
ON = {"kernel": (1, 0), "bias": (0, 1), "kernel and bias": (1, 1)}
ALEXNET = "AlexNet, VGG 5e-4, kernel"

STUDY = Study(
    name="cnn_presets",
    title="weight decay of the literature's CNNs, digits, 200 rows, CNN of 16 filters",
    model=linen(CNN(filters=(16,), outputs=10), inputs=(8, 8, 1)),
    task=CLASSES,
    draws=lambda count: digits(range(count), train=200, validation=200),
    drawn_from="1,797 digits",
    arms=[
        Arm(
            "decay",
            lambda kernels, biases: Recipe(penalties={jr.KERNELS: jr.L2(kernels / 2), jr.BIASES: jr.L2(biases / 2)}),
            strengths=((0, 0), *((k * s, b * s) for s, (k, b) in product(PRESETS.values(), ON.values()))),
            label=["none", *(f"{preset}, {on}" for preset, on in product(PRESETS, ON))],
        )
    ],
    claims=[
        Claim("the decay of AlexNet and VGG raises the test accuracy", ALEXNET, margin=0.001),
        Claim("the decay of Inception V3 raises the test accuracy", "Inception V3 4e-5, kernel", margin=0.001),
        Claim("the decay of Xception raises the test accuracy", "Xception 1e-5, kernel", margin=0.001),
        Claim("the decay of AlexNet and VGG lowers the loss", ALEXNET, variable="test_loss", sign=-1, margin=0.005),
        Claim("decay on the biases as well makes no difference", f"{ALEXNET} and bias", ALEXNET, "test_loss", 0, 0.005),
        Claim("a decay of 1e-2 lowers the loss", "1e-2, kernel", variable="test_loss", sign=-1, margin=0.005),
    ],
    highlights=[ALEXNET, "1e-2, kernel"],
    size=Size(seeds=1, draws=32, epochs=100),
    quick=Size(seeds=1, draws=2, epochs=3),
)
