"""Test errors of LSTMs on 36 months of shampoo sales, trained by Keras itself, with the state it keeps between batches.

Keras is no dependency of jaxreg. To make the figures again, in an environment of its own:

    python -m venv keras-env && keras-env/bin/pip install "keras==3.15.*" jax
    keras-env/bin/python scripts/keras_shampoo.py tests/data/keras_shampoo.json --seeds 12

The procedure is that of J. Brownlee, How to Use Weight Regularization with LSTM Networks for Time Series Forecasting
in Python, 2017, written anew: three units, batches of 4 rows in their order, 1000 epochs, the state set to zero after
each. The file holds one RMSE in sales a seed for each method (JAX backend, CPU, float32).
"""

import argparse
import json
import os
import platform

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np
from keras import layers, regularizers

SALES = [266.0, 145.9, 183.1, 119.3, 180.3, 168.5, 231.8, 224.5, 192.8, 122.9, 336.5, 185.9]
SALES += [194.3, 149.5, 210.1, 273.3, 191.4, 287.0, 226.0, 303.6, 289.9, 421.6, 264.5, 342.3]
SALES += [339.7, 440.4, 315.9, 439.3, 401.3, 437.4, 575.5, 407.6, 682.0, 475.3, 581.3, 646.9]
PLACES = {"kernel": "kernel_regularizer", "recurrent kernel": "recurrent_regularizer", "bias": "bias_regularizer"}
KINDS = {"L1": (0.01, 0.0), "L2": (0.0, 0.01), "L1L2": (0.01, 0.01)}
METHODS = {"none": {}} | {
    f"{kind} on the {place}": {argument: regularizers.L1L2(*strengths)}
    for place, argument in PLACES.items()
    for kind, strengths in KINDS.items()
}


def rmse(options: dict, seed: int) -> float:
    """Train once on the first two years, foretell the third month by month."""
    sales = np.array(SALES)
    changes = np.diff(sales)
    pairs = np.column_stack([changes[:-1], changes[1:]])
    known, asked = pairs[:22], pairs[22:]
    low, span = known.min(axis=0), np.ptp(known, axis=0)
    known, asked = (2 * (part - low) / span - 1 for part in (known, asked))
    keras.utils.set_random_seed(seed)
    lstm = layers.LSTM(3, stateful=True, **options)
    model = keras.Sequential([keras.Input(batch_shape=(4, 1, 1)), lstm, layers.Dense(1)])
    model.compile(loss="mean_squared_error", optimizer="adam")
    reset = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: lstm.reset_states())
    x, y = known[2:, :1, None], known[2:, 1:]
    model.fit(x, y, epochs=1000, batch_size=4, shuffle=False, verbose=0, callbacks=[reset])
    lstm.reset_states()
    forecast = model.predict(asked[:, :1, None], batch_size=4, verbose=0)[:, 0]
    forecast = sales[-13:-1] + (forecast + 1) / 2 * span[1] + low[1]
    return float(np.sqrt(np.mean(np.square(forecast - sales[-12:]))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--seeds", type=int, default=12)
    asked = parser.parse_args()
    found = {}
    for name, options in METHODS.items():
        found[name] = [rmse(options, seed) for seed in range(asked.seeds)]
        print(f"{name}: {np.mean(found[name]):.2f} ± {np.std(found[name], ddof=1):.2f}", flush=True)
    versions = {"keras": keras.__version__, "jax": jax.__version__, "python": platform.python_version()}
    with open(asked.file, "w") as file:
        json.dump({"versions": versions, "rmse": found}, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
