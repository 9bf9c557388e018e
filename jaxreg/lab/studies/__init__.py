"""Case studies: recipes and claims, trained over seeds and draws, stored and read back."""

from jaxreg._lazy import attach

__all__, __getattr__, __dir__ = attach(__name__)
