"""The laboratory: train thousands of models in one compiled program and store the results as labelled arrays."""

from jaxreg._lazy import attach

__all__, __getattr__, __dir__ = attach(__name__)
