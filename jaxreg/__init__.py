"""Weight regularisation and weight constraints for JAX, as pure functions and Optax transformations."""

from jaxreg._lazy import attach

__version__ = "0.1.0"
__all__, __getattr__, __dir__ = attach(__name__)
