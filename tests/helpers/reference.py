"""Figures of Keras that several files of tests read."""

import json
from pathlib import Path

import jax
import numpy as np

import jaxreg as jr

DATA = Path(__file__).parents[1] / "data"
GOLDEN = DATA / "golden"

with np.load(DATA / "keras_outputs.npz", allow_pickle=False) as _file:
    FIGURES = {name: _file[name] for name in _file.files}


def keras_figures(network):
    """(inputs, outputs, {path in Keras: weight}) of a network of scripts/references/keras_outputs.py."""
    start = f"{network}:w:"
    weights = {name.removeprefix(start): array for name, array in FIGURES.items() if name.startswith(start)}
    return FIGURES[f"{network}:x"], FIGURES[f"{network}:y"], weights


def keras_trace(name):
    """(what was trained, the arrays) of a training in tests/data/golden."""
    with np.load(GOLDEN / f"trace_{name}.npz", allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    return json.loads(arrays.pop("meta").tobytes()), arrays


# {name of the class in Keras: from its configuration to an object of `library`, which is jaxreg or jaxreg.keras}
def axis_of(case):
    axis = case["axis"]
    return tuple(axis) if isinstance(axis, list) else axis


CONSTRAINTS = {
    "NonNeg": lambda library, case: jr.NonNeg(),
    "MaxNorm": lambda library, case: library.MaxNorm(case["max_value"], axis=axis_of(case)),
    "UnitNorm": lambda library, case: library.UnitNorm(axis=axis_of(case)),
    "MinMaxNorm": lambda library, case: library.MinMaxNorm(
        case["min_value"], case["max_value"], case["rate"], axis=axis_of(case)
    ),
}


PENALTIES = {
    "L1": lambda case: jr.L1(case["l1"]),
    "L2": lambda case: jr.L2(case["l2"]),
    "L1L2": lambda case: jr.L1L2(case["l1"], case["l2"]),
    "OrthogonalRegularizer": lambda case: jr.keras.OrthogonalRegularizer(case["factor"], case["mode"]),
}


def rules(meta, suffix, make):
    """What each layer's configuration says, as rules: {path of a weight: object}."""
    found = {}
    for layer in meta["layers"]:
        for key, case in layer.items():
            if key.endswith(suffix):
                kind = key.removesuffix(suffix).replace("recurrent", "recurrent_kernel")
                path = next(w for w in meta["weights"] if w.startswith(layer["name"]) and w.endswith(f"/{kind}"))
                found[path] = make(case)
    return found


def distance(found, expected):
    """How far the weights are from Keras's, relative to the norm of these."""
    pairs = list(zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True))
    return np.sqrt(sum(np.sum((a - b) ** 2) for a, b in pairs) / sum(np.sum(b**2) for _, b in pairs))
