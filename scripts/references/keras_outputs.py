"""Outputs of small networks with random weights, computed by Keras itself.

Keras is no dependency of jaxreg. To make the file again, in an environment of its own:

    python -m venv keras-env && keras-env/bin/pip install "keras==3.15.*" jax
    keras-env/bin/python scripts/references/keras_outputs.py tests/data/keras_outputs.npz

For each network it holds `<network>:x`, the inputs, `<network>:y`, the outputs, and `<network>:w:<path>`, each weight
by its path in Keras; `meta` is JSON as bytes: the versions and this command. JAX backend, CPU, float32.
"""

import json
import os
import sys

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np
from keras import layers

NETWORKS = {
    "mlp": [keras.Input((3,)), layers.Dense(7, activation="relu", name="hidden")],
    "conv1d": [
        keras.Input((9, 2)),
        layers.Conv1D(4, 3, activation="relu", name="conv"),
        layers.Conv1D(3, 3, activation="relu", name="conv_1"),
        layers.Flatten(),
    ],
    "conv2d": [
        keras.Input((8, 7, 2)),
        layers.Conv2D(4, (3, 2), activation="relu", name="conv"),
        layers.Conv2D(3, (3, 2), activation="relu", name="conv_1"),
        layers.Flatten(),
    ],
    "lstm": [
        keras.Input((6, 3)),
        layers.LSTM(5, return_sequences=True, name="lstm"),
        layers.LSTM(4, name="lstm_1"),
    ],
    "lstm_both": [
        keras.Input((6, 3)),
        layers.Bidirectional(layers.LSTM(5, return_sequences=True), name="lstm"),
        layers.Bidirectional(layers.LSTM(4), name="lstm_1"),
    ],
    "gru": [keras.Input((6, 3)), layers.GRU(5, return_sequences=True, name="gru"), layers.GRU(4, name="gru_1")],
    "gru_both": [keras.Input((6, 3)), layers.Bidirectional(layers.GRU(5), name="gru")],
}


def main() -> None:
    rng = np.random.default_rng(0)
    arrays = {}
    for name, stack in NETWORKS.items():
        model = keras.Sequential([*stack, layers.Dense(2, name="output")], name=f"network_{name}")
        model.set_weights([rng.normal(scale=0.5, size=w.shape).astype("float32") for w in model.get_weights()])
        x = rng.normal(size=(5, *model.input_shape[1:])).astype("float32")
        arrays |= {f"{name}:x": x, f"{name}:y": np.asarray(model(x))}
        arrays |= {f"{name}:w:{w.path}": np.asarray(w) for w in model.weights}
    versions = {m.__name__: m.__version__ for m in (keras, jax, np)}
    meta = {"command": "python scripts/references/keras_outputs.py tests/data/keras_outputs.npz", "versions": versions}
    np.savez_compressed(sys.argv[1], meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays)


if __name__ == "__main__":
    main()
