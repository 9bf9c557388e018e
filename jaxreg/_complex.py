"""Complex weights: conversion to pairs of real numbers, squared magnitudes and the conjugate transpose.

JAX's gradient of a real function of complex weights is the conjugate of the direction of steepest ascent. Optax adds
updates unchanged. So users conjugate their gradients before a chain, and the gradients of penalties are conjugated too.
"""

import jax
import jax.numpy as jnp


def to_pairs(x: jax.Array) -> jax.Array:
    """Stack real and imaginary parts along a new last axis. Norms that include it equal those of the complex array."""
    return jnp.stack([jnp.real(x), jnp.imag(x)], axis=-1)


def from_pairs(pairs: jax.Array) -> jax.Array:
    """Return the complex array whose real and imaginary parts are `pairs`."""
    return jax.lax.complex(pairs[..., 0], pairs[..., 1])


def squares(x: jax.Array) -> jax.Array:
    """Return the square of each magnitude."""
    return jnp.square(jnp.real(x)) + jnp.square(jnp.imag(x)) if jnp.iscomplexobj(x) else jnp.square(x)


def adjoint(matrix: jax.Array) -> jax.Array:
    """Return the conjugate transpose; the transpose of a real matrix."""
    return jnp.conj(matrix.T)
