"""Complex weights: conversion to pairs of real numbers, squared magnitudes and the conjugate transpose.

JAX's gradient of a real function of complex weights is the conjugate of the direction of steepest ascent. Optax does
not conjugate gradients. So users must conjugate the gradient of their loss before an optimiser gets it. jaxreg
conjugates the gradients of its penalties itself.
"""

import jax
import jax.numpy as jnp


def to_pairs(x: jax.Array) -> jax.Array:
    """Return the real and imaginary parts of a complex array, stacked along a new last axis.

    The norm of the complex array over some axes equals the norm of the result over these axes and the last axis.
    """
    return jnp.stack([jnp.real(x), jnp.imag(x)], axis=-1)


def from_pairs(pairs: jax.Array) -> jax.Array:
    """Return the complex array whose real and imaginary parts are stacked along the last axis of `pairs`."""
    return jax.lax.complex(pairs[..., 0], pairs[..., 1])


def squares(x: jax.Array) -> jax.Array:
    """Return |x|² for each number x."""
    return jnp.square(jnp.real(x)) + jnp.square(jnp.imag(x)) if jnp.iscomplexobj(x) else jnp.square(x)


def adjoint(matrix: jax.Array) -> jax.Array:
    """Return the conjugate transpose of a complex matrix, or the transpose of a real matrix."""
    return jnp.conj(matrix.T)
