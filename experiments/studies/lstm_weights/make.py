"""Make the weights in this folder: an LSTM trained on sine waves, in CSV files of numbers.

Command: python experiments/studies/lstm_weights/make.py
"""

from pathlib import Path

import jax
import numpy as np

from jaxreg.lab import LSTM, NUMBERS, Data, Problem, Recipe, fit, linen
from jaxreg.lab.datasets import windows
from jaxreg.lab.weights import filled, save_csv


def main() -> None:
    """Train on windows of noisy sine waves with periods of 9 to 13 steps, and save the weights."""
    model, rng = linen(LSTM(units=(8,)), inputs=(12, 1)), np.random.default_rng(0)
    waves = [np.sin(2 * np.pi * (np.arange(60) / rng.uniform(9, 13) + rng.random())) * 1.4 for _ in range(12)]
    parts = [windows(wave + rng.normal(0, 0.2, wave.shape), 12) for wave in waves]
    x, y = (np.concatenate(arrays)[None].astype(np.float32) for arrays in zip(*parts, strict=True))
    problem = Problem(model, Data(x, y, x, y), 60, NUMBERS.loss, NUMBERS.metrics, record_every=60)
    lane = jax.jit(lambda: fit(problem, Recipe(learning_rate=0.01), jax.random.key(0), keep=True))()
    found = {name.removeprefix("params/"): w for name, w in lane.items() if name.startswith("params/")}
    save_csv(Path(__file__).parent, filled(jax.eval_shape(model.init, jax.random.key(0)), found))
    print(f"root mean squared error on the waves: {lane['test_rmse'].values[-1]:.3f}")


if __name__ == "__main__":
    main()
