"""Final figures of the tutorials' case study, computed by Keras itself.

Keras is no dependency of jaxreg. To make the figures again, in an environment of its own:

    python -m venv keras-env && keras-env/bin/pip install "keras==3.15.*" jax scikit-learn
    keras-env/bin/python scripts/references/keras_reference.py tests/data/keras_moons.json --seeds 24

The file holds one value a seed for each method (JAX backend, CPU, float32, about 5 s a model).
"""

import argparse
import json
import os
import platform

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np
import sklearn
from keras import constraints, layers, regularizers
from sklearn.datasets import make_moons

METHODS = {
    "none": {},
    "l2(0.001)": {"kernel_regularizer": regularizers.L2(0.001)},
    "unit_norm": {"kernel_constraint": constraints.UnitNorm()},
    "max_norm(1)": {"kernel_constraint": constraints.MaxNorm(1.0)},
}


def final_figures(options: dict, seed: int) -> dict[str, float]:
    """Train the tutorials' MLP once: accuracy, cross-entropy and weight norms at the end."""
    points, labels = make_moons(n_samples=100, noise=0.2, random_state=1)
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((2,)),
            layers.Dense(500, activation="relu", name="hidden", **options),
            layers.Dense(1, activation="sigmoid", name="output"),
        ]
    )
    model.compile(loss="binary_crossentropy", optimizer="adam")
    model.fit(points[:30], labels[:30], epochs=4000, batch_size=32, verbose=0)
    probability = np.asarray(model(points), np.float64)[:, 0]
    clipped = np.clip(probability, 1e-7, 1 - 1e-7)
    losses = -np.where(labels == 1, np.log(clipped), np.log1p(-clipped))
    right = (probability > 0.5) == (labels == 1)
    hidden, _, output, _ = (np.asarray(w, np.float64) for w in model.get_weights())
    return {
        "train_accuracy": float(right[:30].mean()),
        "test_accuracy": float(right[30:].mean()),
        "train_cross_entropy": float(losses[:30].mean()),
        "test_cross_entropy": float(losses[30:].mean()),
        "hidden_kernel_norm": float(np.linalg.norm(hidden)),
        "output_kernel_norm": float(np.linalg.norm(output)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("path")
    parser.add_argument("--seeds", type=int, default=24)
    arguments = parser.parse_args()
    versions = {m.__name__: m.__version__ for m in (keras, jax, np, sklearn)}
    runs: dict[str, dict[str, list[float]]] = {}
    for method, options in METHODS.items():
        figures = [final_figures(options, seed) for seed in range(arguments.seeds)]
        runs[method] = {name: [f[name] for f in figures] for name in figures[0]}
        print(method, {name: round(float(np.mean(v)), 4) for name, v in runs[method].items()}, flush=True)
    source = {
        "command": f"python scripts/references/keras_reference.py OUT --seeds {arguments.seeds}",
        "versions": versions | {"python": platform.python_version()},
        "what": "moons n=100 noise=0.2 random_state=1, 30 train / 70 test, 2-500-1, Adam, 4000 epochs",
    }
    with open(arguments.path, "w") as file:
        json.dump({"source": source, "runs": runs}, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
