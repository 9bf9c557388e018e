"""Penalties: callables that map an array of weights to its cost. Most have a proximal step."""

from typing import TYPE_CHECKING

from jaxreg._lazy import missing
from jaxreg.penalties._elementwise import L1, L1L2, L2, MCP, SCAD, Huber, LogSum, Lp
from jaxreg.penalties._groups import GroupLasso, Linf, NormTarget
from jaxreg.penalties._orthogonality import Orthogonal
from jaxreg.penalties._reference import ToReference, Wasserstein
from jaxreg.penalties._spectral import Nuclear, Spectral

__all__ = [
    "L1",
    "L1L2",
    "L2",
    "MCP",
    "SCAD",
    "GroupLasso",
    "Huber",
    "Linf",
    "LogSum",
    "Lp",
    "NormTarget",
    "Nuclear",
    "Orthogonal",
    "Spectral",
    "ToReference",
    "Wasserstein",
]

if not TYPE_CHECKING:  # type checkers would take any name for an attribute

    def __getattr__(name):
        raise missing(__name__, name)
