"""An LSTM that starts from weights of another training, stored in CSV files.

Claim: weights from a CSV file can be put into an LSTM (a reader's question under J. Brownlee's tutorial on weight
constraints). The weights in lstm_weights are those of the same network after training on sine waves
(lstm_weights/make.py). A short training on the sunspots should have a lower error from these weights than from random
ones. The weights are trained freely, or with a penalty on their distance from the start (L2-SP).
Command: jaxreg run lstm_from_csv
"""

from pathlib import Path

import jax

import jaxreg as jr
from jaxreg.lab import LSTM, NUMBERS, Arm, Claim, Model, Recipe, Size, Study, linen, sunspots
from jaxreg.lab.weights import filled, load_csv

FRESH = linen(LSTM(units=(8,)), inputs=(12, 1))
FOUND = filled(jax.eval_shape(FRESH.init, jax.random.key(0)), load_csv(Path(__file__).parent / "lstm_weights"))

STUDY = Study(
    name="lstm_from_csv",
    title="an LSTM from weights of sine waves, yearly sunspots, 100 windows of 12 years, 8 units",
    model=FRESH,
    task=NUMBERS,
    draws=lambda count: sunspots(range(count), length=12, train=100, validation=40, test=60),
    drawn_from="309 years of sunspots",
    arms=[
        Arm("L2", lambda strength: Recipe(penalties={".*kernel": jr.L2(strength)}), strengths=(0.0, 0.01)),
        Arm(
            "from CSV",
            lambda strength: Recipe(penalties=jr.to_reference(FOUND, {".*kernel": jr.L2(strength)})),
            strengths=(0.0, 0.01),
            label=["from CSV", "from CSV, L2-SP(0.01)"],
            model=Model(lambda _: FOUND, FRESH.apply),
        ),
    ],
    claims=[
        Claim("starting from weights found elsewhere lowers the error", "from CSV", variable="test_rmse", sign=-1),
        Claim(
            "a penalty on the distance from them lowers the error further",
            "from CSV, L2-SP(0.01)",
            "from CSV",
            "test_rmse",
            -1,
        ),
    ],
    highlights=["from CSV", "from CSV, L2-SP(0.01)"],
    size=Size(seeds=1, draws=32, epochs=30),
    quick=Size(seeds=1, draws=3, epochs=3),
)
