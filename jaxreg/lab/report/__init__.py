"""Reports of stored results, as one HTML page or as Markdown."""

from jaxreg._lazy import attach

__all__, __getattr__, __dir__ = attach(__name__)
