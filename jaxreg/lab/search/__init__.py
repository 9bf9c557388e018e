"""Find the best regulariser for a neural network on tabular data, by nested cross-validation."""

from jaxreg._lazy import attach

__all__, __getattr__, __dir__ = attach(__name__)
