"""Rules that assign penalties or constraints to parameters, and functions that apply rules to a tree of parameters."""

from typing import TYPE_CHECKING

from jaxreg._lazy import missing
from jaxreg.rules._evaluate import apply_updates, feasible, penalty, projected, violation
from jaxreg.rules._explain import explain
from jaxreg.rules._factories import initial_boxes, initial_distributions, initial_spheres, to_reference
from jaxreg.rules._frameworks import BIASES, EMBEDDINGS, KERNELS, RECURRENT_KERNELS
from jaxreg.rules._lipschitz import lipschitz
from jaxreg.rules._matching import optional
from jaxreg.rules._reshaped import Reshaped

__all__ = [
    "BIASES",
    "EMBEDDINGS",
    "KERNELS",
    "RECURRENT_KERNELS",
    "Reshaped",
    "apply_updates",
    "explain",
    "feasible",
    "initial_boxes",
    "initial_distributions",
    "initial_spheres",
    "lipschitz",
    "optional",
    "penalty",
    "projected",
    "to_reference",
    "violation",
]

if not TYPE_CHECKING:  # type checkers would take any name for an attribute

    def __getattr__(name):
        raise missing(__name__, name)
