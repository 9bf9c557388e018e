"""The laboratory: thousands of trainings in one compiled program, kept on disk as labelled arrays."""

from jaxreg._lazy import attach

__all__, __getattr__, __dir__ = attach(__name__)
