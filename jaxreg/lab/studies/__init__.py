"""Case studies: train recipes on many seeds and draws, store the results and test claims about them."""

from jaxreg._lazy import attach

__all__, __getattr__, __dir__ = attach(__name__)
