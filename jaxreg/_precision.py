"""Floating-point precision: the dtype for norms, machine limits and directed rounding."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxreg._hyperparameters import Number


def wide(w: jax.Array) -> jax.Array:
    """Cast `w` to float32 unless its dtype is wider. Norms are computed in this precision."""
    wider = jnp.issubdtype(w.dtype, jnp.inexact) and w.dtype.itemsize > 4
    return w.astype(w.dtype if wider else jnp.float32)


def real_dtype(x: jax.Array) -> Any:
    """Return the dtype of `x`, or of the real part of a complex `x`."""
    return x.real.dtype if jnp.iscomplexobj(x) else x.dtype


def as_wide(value: Number, x: jax.Array) -> Number:
    """If `value` is an array, cast it to the real dtype of `x`. Return a Python number unchanged.

    Without the cast, a float64 of NumPy would widen the computation.
    """
    return value.astype(real_dtype(x)) if hasattr(value, "astype") else value


def eps(dtype: Any) -> float:
    """Return the distance from 1 to the next larger number of `dtype`."""
    return float(jnp.finfo(dtype).eps)  # type: ignore[no-untyped-call]


def tiny(dtype: Any) -> float:
    """Return the smallest normal number of `dtype`. Processors may treat smaller numbers as 0."""
    return float(jnp.finfo(dtype).tiny)  # type: ignore[no-untyped-call]


def inwards(x: jax.Array, dtype: Any) -> jax.Array:
    """Cast `x` to `dtype`, rounding towards zero.

    So a point of a ball stays in the ball. The same holds for every set that contains all points obtained by shrinking
    entries of its points.
    """
    rounded = x.astype(dtype)
    if rounded.dtype == x.dtype:
        return rounded
    grown = jnp.abs(rounded.astype(x.dtype)) > jnp.abs(x)
    return jnp.where(grown, beside(rounded, jnp.zeros_like(rounded)), rounded)


def outwards(x: jax.Array, dtype: Any) -> jax.Array:
    """Cast `x` to `dtype`, rounding away from zero."""
    rounded = x.astype(dtype)
    if rounded.dtype == x.dtype:
        return rounded
    shrunk = jnp.abs(rounded.astype(x.dtype)) < jnp.abs(x)
    return jnp.where(shrunk, beside(rounded, jnp.copysign(jnp.full_like(rounded, jnp.inf), rounded)), rounded)


@jax.custom_jvp
def beside(x: jax.Array, goal: jax.Array) -> jax.Array:
    """Return the next floating-point number from `x` in the direction of `goal`. Its derivative by `x` is 1."""
    return jnp.nextafter(x, goal)


@beside.defjvp
def _beside_jvp(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[Any, Any]:
    return beside(*primals), tangents[0]


@jax.custom_jvp
def held(w: jax.Array, nearest: jax.Array) -> jax.Array:
    """Return `w`, but differentiate as if `nearest` had been returned.

    `nearest` is the projection of `w` onto a set without interior, such as a sphere, and `w` lies in the set.
    """
    return w


@held.defjvp
def _held_jvp(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[Any, Any]:
    return primals[0], tangents[1].astype(primals[0].dtype)
