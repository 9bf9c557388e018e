"""Weight regularisation and weight constraints for JAX, as pure functions and Optax transformations."""

from jaxreg import keras
from jaxreg.boxes import Box, LinfBall, NonNeg
from jaxreg.constraints import MaxNorm, MaxRMS, MinMaxNorm, UnitNorm
from jaxreg.matrices import Orthonormal, SpectralNorm
from jaxreg.paths import BIASES, EMBEDDINGS, KERNELS, RECURRENT_KERNELS
from jaxreg.penalties import L1, L1L2, L2, GroupLasso, ToReference
from jaxreg.simplices import L1Ball, Simplex, SumTo
from jaxreg.spectral import Orthogonal, Spectral
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
    "Box",
    "GroupLasso",
    "L1Ball",
    "LinfBall",
    "MaxNorm",
    "MaxRMS",
    "MinMaxNorm",
    "NonNeg",
    "Orthogonal",
    "Orthonormal",
    "Simplex",
    "Spectral",
    "SpectralNorm",
    "SumTo",
    "ToReference",
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
