"""Sweeps: evaluate a function at every combination of named axes, in chunks that are stored as they finish."""

from jaxreg._lazy import attach

__all__, __getattr__, __dir__ = attach(__name__)
