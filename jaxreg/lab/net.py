"""A fitted net in NumPy, for predictions without JAX."""

import dataclasses
from typing import Literal

import numpy as np

Task = Literal["classification", "regression"]


@dataclasses.dataclass(frozen=True, eq=False)
class Net:
    """A fitted net in NumPy: x ↦ relu(((x − mean) / scale) W + b) V + c, for a number in the target's units.

    Args:
        arrays: `mean` and `scale` of the inputs; `hidden/kernel`, `hidden/bias`, `output/kernel`, `output/bias`; and
            `target`, the mean and the scale of the target.
    """

    arrays: dict[str, np.ndarray]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Inputs of shape (rows, inputs) -> outputs of shape (rows, outputs)."""
        a = self.arrays
        inputs = (np.asarray(x, np.float64) - a["mean"]) / a["scale"]
        hidden = np.maximum(inputs @ a["hidden/kernel"] + a["hidden/bias"], 0)
        middle, scale = a["target"]
        return middle + scale * (hidden @ a["output/kernel"] + a["output/bias"])

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """Inputs of shape (rows, inputs) -> the probability of each class, of shape (rows, classes)."""
        logits = self(x)
        if logits.shape[1] == 1:
            logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)
