"""Optax gradient transformations for penalties, decay, proximal steps and constraints."""

from typing import TYPE_CHECKING

from jaxreg._lazy import missing
from jaxreg.transforms._bounded import FixedBound, InflectionBound, InitialBound, WarmBound, bounded
from jaxreg.transforms._bregman import bregman
from jaxreg.transforms._check import check
from jaxreg.transforms._decay import cautious_decay, corrected_decay, decay, independent_decay, mean_decay, p_norm_decay
from jaxreg.transforms._linear_minimization import (
    conditional_gradient,
    hyperball,
    radial_brake,
    relative_update,
    steepest,
    tangent,
)
from jaxreg.transforms._penalize import penalize
from jaxreg.transforms._project import project
from jaxreg.transforms._proximal import proximal, proximal_adam
from jaxreg.transforms._qk_clip import qk_clip
from jaxreg.transforms._regularize import regularize
from jaxreg.transforms._shrink_and_perturb import shrink_and_perturb
from jaxreg.transforms._transported import transported_momentum

__all__ = [
    "FixedBound",
    "InflectionBound",
    "InitialBound",
    "WarmBound",
    "bounded",
    "bregman",
    "cautious_decay",
    "check",
    "conditional_gradient",
    "corrected_decay",
    "decay",
    "hyperball",
    "independent_decay",
    "mean_decay",
    "p_norm_decay",
    "penalize",
    "project",
    "proximal",
    "proximal_adam",
    "qk_clip",
    "radial_brake",
    "regularize",
    "relative_update",
    "shrink_and_perturb",
    "steepest",
    "tangent",
    "transported_momentum",
]

if not TYPE_CHECKING:  # type checkers would take any name for an attribute

    def __getattr__(name):
        raise missing(__name__, name)
