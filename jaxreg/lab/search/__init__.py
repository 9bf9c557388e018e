"""Search for the best regulariser of a neural network on a table, by nested cross-validation."""

from jaxreg._lazy import attach

__all__, __getattr__, __dir__ = attach(__name__)
