"""Sweeps: evaluate a function at every combination of named axes, and store the results in chunks."""

from jaxreg._lazy import attach

__all__, __getattr__, __dir__ = attach(__name__)
