"""Complex weights: as pairs of real ones, and the conjugate transpose.

JAX's gradient of a real function of complex weights is the conjugate of the direction in which it grows fastest.
Optax adds updates as they are: gradients are conjugated before they reach a chain, and those of penalties are too.
"""

import jax
import jax.numpy as jnp


def to_pairs(x: jax.Array) -> jax.Array:
    """Return real and imaginary parts along a new last axis: norms over it too are those of the complex array."""
    return jnp.stack([jnp.real(x), jnp.imag(x)], axis=-1)


def from_pairs(pairs: jax.Array) -> jax.Array:
    """Return the complex array of which `pairs` are the parts."""
    return jax.lax.complex(pairs[..., 0], pairs[..., 1])


def squares(x: jax.Array) -> jax.Array:
    """Return the square of each magnitude."""
    return jnp.square(jnp.real(x)) + jnp.square(jnp.imag(x)) if jnp.iscomplexobj(x) else jnp.square(x)


def adjoint(matrix: jax.Array) -> jax.Array:
    """Return the conjugate transpose; the transpose of a real matrix."""
    return jnp.conj(matrix.T)
