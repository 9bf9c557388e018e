"""Constraints: callables that replace an array of weights by the nearest array that satisfies the constraint."""

from typing import TYPE_CHECKING

from jaxreg._lazy import missing
from jaxreg.constraints._bounds import Box, LinfBall, NonNeg
from jaxreg.constraints._convolution import ConvNorm, conv_norm
from jaxreg.constraints._intersection import Intersection
from jaxreg.constraints._linear import Affine, HalfSpace, Hyperplane
from jaxreg.constraints._norms import MaxNorm, MaxRMS, MinMaxNorm, UnitNorm
from jaxreg.constraints._sparsity import NMSparse, Sparse
from jaxreg.constraints._spectral import (
    NuclearBall,
    Orthonormal,
    PositiveSemidefinite,
    SoftSpectralCap,
    SpectralNorm,
    SpectralSphere,
)
from jaxreg.constraints._spheres import FrobeniusSphere, TreeNorm, tree_norm
from jaxreg.constraints._sums import L1Ball, L1Sphere, Simplex, SumTo

__all__ = [
    "Affine",
    "Box",
    "ConvNorm",
    "FrobeniusSphere",
    "HalfSpace",
    "Hyperplane",
    "Intersection",
    "L1Ball",
    "L1Sphere",
    "LinfBall",
    "MaxNorm",
    "MaxRMS",
    "MinMaxNorm",
    "NMSparse",
    "NonNeg",
    "NuclearBall",
    "Orthonormal",
    "PositiveSemidefinite",
    "Simplex",
    "SoftSpectralCap",
    "Sparse",
    "SpectralNorm",
    "SpectralSphere",
    "SumTo",
    "TreeNorm",
    "UnitNorm",
    "conv_norm",
    "tree_norm",
]

if not TYPE_CHECKING:  # type checkers would take any name for an attribute

    def __getattr__(name):
        raise missing(__name__, name)
