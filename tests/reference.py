"""Figures of Keras that several files of tests read."""

import json
from pathlib import Path

import numpy as np

DATA = Path(__file__).parent / "data"
GOLDEN = DATA / "golden"

with np.load(DATA / "keras_outputs.npz", allow_pickle=False) as _file:
    FIGURES = {name: _file[name] for name in _file.files}


def keras_figures(network):
    """(inputs, outputs, {path in Keras: weight}) of a network of scripts/keras_outputs.py."""
    start = f"{network}:w:"
    weights = {name.removeprefix(start): array for name, array in FIGURES.items() if name.startswith(start)}
    return FIGURES[f"{network}:x"], FIGURES[f"{network}:y"], weights


def keras_trace(name):
    """(what was trained, the arrays) of a training in tests/data/golden."""
    with np.load(GOLDEN / f"trace_{name}.npz", allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    return json.loads(arrays.pop("meta").tobytes()), arrays
