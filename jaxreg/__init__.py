"""Weight regularisation and weight constraints for JAX, as pure functions and Optax transformations."""

from jaxreg import keras
from jaxreg.constraints import MaxNorm, MinMaxNorm, NonNeg, UnitNorm
from jaxreg.paths import BIASES, EMBEDDINGS, KERNELS, RECURRENT_KERNELS
from jaxreg.penalties import L1, L1L2, L2
from jaxreg.transforms import penalize, project
from jaxreg.trees import apply_updates, feasible, penalty, projected, violation

__version__ = "0.1.0"

__all__ = [
    "BIASES",
    "EMBEDDINGS",
    "KERNELS",
    "L1",
    "L1L2",
    "L2",
    "RECURRENT_KERNELS",
    "MaxNorm",
    "MinMaxNorm",
    "NonNeg",
    "UnitNorm",
    "apply_updates",
    "feasible",
    "keras",
    "penalize",
    "penalty",
    "project",
    "projected",
    "violation",
]
