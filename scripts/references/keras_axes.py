"""Short trainings of a convolutional network under max-norm constraints that bind, over two axes, by Keras itself.

Keras is no dependency of jaxreg. To make the file again, in an environment of its own:

    python -m venv keras-env && keras-env/bin/pip install "keras==3.15.*" jax scikit-learn
    keras-env/bin/python scripts/references/keras_axes.py tests/data/keras_axes.npz

16 digits, full batch, Adam; the kernel of Conv2D has MaxNorm over axis 0, Keras's default, or over (0, 1, 2), the
filter. It holds `x`, `y`, `w0:<path>`, and for each axis `<axis>:w<steps>:<path>` and `<axis>:losses`; `meta` is JSON
as bytes. JAX backend, CPU, float32.
"""

import json
import os
import sys

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np
from keras import constraints, layers
from sklearn.datasets import load_digits

LIMITS = {"0": (0.2, 0), "012": (0.3, (0, 1, 2))}
STEPS = 20


def main() -> None:
    source = load_digits()
    x, y = (source.images[:16, ..., None] / 16).astype("float32"), source.target[:16].astype("int32")
    arrays = {"x": x, "y": y}
    for name, (limit, axis) in LIMITS.items():
        keras.utils.set_random_seed(3)
        norm = constraints.MaxNorm(limit, axis=axis)
        model = keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                layers.Conv2D(4, (3, 3), activation="relu", kernel_constraint=norm, name="conv"),
                layers.Flatten(),
                layers.Dense(10, activation="softmax", name="output"),
            ],
            name="network",
        )
        model.compile(loss="sparse_categorical_crossentropy", optimizer="adam")
        arrays |= {f"w0:{w.path}": np.asarray(w) for w in model.weights}
        losses = [float(model.train_on_batch(x, y)) for _ in range(STEPS)]
        arrays |= {f"{name}:w{STEPS}:{w.path}": np.asarray(w) for w in model.weights}
        arrays[f"{name}:losses"] = np.asarray(losses)
    versions = {m.__name__: m.__version__ for m in (keras, jax, np)}
    meta = {
        "command": "python scripts/references/keras_axes.py tests/data/keras_axes.npz",
        "versions": versions,
        "limits": {name: limit for name, (limit, _) in LIMITS.items()},
        "steps": STEPS,
    }
    np.savez_compressed(sys.argv[1], meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays)


if __name__ == "__main__":
    main()
