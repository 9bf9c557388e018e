"""Weight regularisation and weight constraints for JAX, as pure functions and Optax transformations."""

from jaxreg import diagnostics, keras
from jaxreg.augmented import FixedBound, InflectionBound, InitialBound, WarmBound, bounded
from jaxreg.boxes import Box, LinfBall, NonNeg
from jaxreg.bregman import bregman
from jaxreg.caps import SoftSpectralCap
from jaxreg.conditional import conditional_gradient, hyperball, initial_spheres, steepest
from jaxreg.constraints import MaxNorm, MaxRMS, MinMaxNorm, UnitNorm
from jaxreg.decay import cautious_decay, corrected_decay, decay, independent_decay, p_norm_decay
from jaxreg.intersection import Intersection
from jaxreg.matrices import Orthonormal, SpectralNorm
from jaxreg.meanings import Meaning, convert_strength
from jaxreg.nuclear import Nuclear, NuclearBall
from jaxreg.paths import BIASES, EMBEDDINGS, KERNELS, RECURRENT_KERNELS
from jaxreg.penalties import L1, L1L2, L2, MCP, GroupLasso, Lp
from jaxreg.proximal import proximal, proximal_adam
from jaxreg.reference import ToReference
from jaxreg.simplices import L1Ball, Linf, Simplex, SumTo
from jaxreg.sparsity import NMSparse, Sparse
from jaxreg.spectral import Orthogonal, Spectral
from jaxreg.spheres import FrobeniusSphere, TreeNorm, tree_norm
from jaxreg.table import explain
from jaxreg.transforms import penalize, project
from jaxreg.trees import apply_updates, feasible, penalty, projected, to_reference, violation

__version__ = "0.1.0"

__all__ = [
    "BIASES",
    "EMBEDDINGS",
    "KERNELS",
    "L1",
    "L1L2",
    "L2",
    "MCP",
    "RECURRENT_KERNELS",
    "Box",
    "FixedBound",
    "FrobeniusSphere",
    "GroupLasso",
    "InflectionBound",
    "InitialBound",
    "Intersection",
    "L1Ball",
    "Linf",
    "LinfBall",
    "Lp",
    "MaxNorm",
    "MaxRMS",
    "Meaning",
    "MinMaxNorm",
    "NMSparse",
    "NonNeg",
    "Nuclear",
    "NuclearBall",
    "Orthogonal",
    "Orthonormal",
    "Simplex",
    "SoftSpectralCap",
    "Sparse",
    "Spectral",
    "SpectralNorm",
    "SumTo",
    "ToReference",
    "TreeNorm",
    "UnitNorm",
    "WarmBound",
    "apply_updates",
    "bounded",
    "bregman",
    "cautious_decay",
    "conditional_gradient",
    "convert_strength",
    "corrected_decay",
    "decay",
    "diagnostics",
    "explain",
    "feasible",
    "hyperball",
    "independent_decay",
    "initial_spheres",
    "keras",
    "p_norm_decay",
    "penalize",
    "penalty",
    "project",
    "projected",
    "proximal",
    "proximal_adam",
    "steepest",
    "to_reference",
    "tree_norm",
    "violation",
]
