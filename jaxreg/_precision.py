"""Floating-point precision: the dtype for norms, machine limits and directed rounding."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxreg._hyperparameters import Number


def wide(w: jax.Array) -> jax.Array:
    """Cast `w` to float32, the precision for norms. A float64 or complex array is returned unchanged."""
    wider = jnp.issubdtype(w.dtype, jnp.inexact) and w.dtype.itemsize > 4
    return w.astype(w.dtype if wider else jnp.float32)


def real_dtype(x: jax.Array) -> Any:
    """Return the dtype of `x`, or of the real part of a complex `x`."""
    return x.real.dtype if jnp.iscomplexobj(x) else x.dtype


def as_wide(value: Number, x: jax.Array) -> Number:
    """If `value` is an array, cast it to the real dtype of `x`. Return a Python number unchanged.

    Without the cast, a NumPy number in float64 would widen the computation.
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

    No entry grows in magnitude. So a point of a ball around 0 stays in the ball. A point of another set stays in that
    set if no shrinking of its entries leads out of the set.
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

    Use this if `w` already lies in a set without interior, such as a sphere. `nearest` is the projection of `w` onto
    this set.
    """
    return w


@held.defjvp
def _held_jvp(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[Any, Any]:
    return primals[0], tangents[1].astype(primals[0].dtype)
