"""Constraints: a weight array -> the nearest one in a set, in the same shape and dtype.

Each is a pytree whose limits are leaves. An `axis` says which axes are summed over in one norm, as in Keras; by default
these are the incoming weights of one unit: every axis but the last, or the whole of a vector. `jaxreg.project`
knows more, for it sees where in the tree an array lies (see `jaxreg.explain`).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg.objects import Number, check, hyperparameters, static, wide

Axis = int | tuple[int, ...] | None


def group_axes(ndim: int, axis: Axis) -> tuple[int, ...]:
    """The axes of one group of weights: `axis`, or the incoming weights of a unit in an (…, inputs, units) array.

    Raises:
        ValueError: If an axis is not one of the array's.
    """
    if axis is None:
        return tuple(range(ndim - 1)) if ndim > 1 else tuple(range(ndim))
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    if any(not -ndim <= a < ndim for a in axes) or len({a % max(ndim, 1) for a in axes}) != len(axes):
        raise ValueError(
            f"axis is {axis} on an array of {ndim} axes; expected different numbers from {-ndim} to {ndim - 1}"
        )
    return tuple(a % ndim for a in axes)


def group_norms(x: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Euclidean norms over `axes` (kept, with length 1), without overflow or underflow, with gradient 0 at 0."""
    info = jnp.finfo(x.dtype)
    squares = jnp.sum(jnp.square(x), axes, keepdims=True)
    plain = (squares > info.tiny / info.eps) & (squares < info.max)

    def scaled(x: jax.Array) -> jax.Array:
        largest = jax.lax.stop_gradient(jnp.max(jnp.abs(x), axes, keepdims=True, initial=0))
        scale = jnp.where(largest > 0, largest, 1)
        sums = jnp.sum(jnp.square(x / scale), axes, keepdims=True)
        return jnp.where(sums > 0, scale * jnp.sqrt(jnp.where(sums > 0, sums, 1)), 0)

    def direct(x: jax.Array) -> jax.Array:
        return jnp.sqrt(jnp.where(plain, squares, 1))

    return jax.lax.cond(jnp.all(plain), direct, scaled, x)


def _rounding(x: jax.Array, axes: tuple[int, ...]) -> float:
    # What the norm of a rescaled group may be off by, relative to it: each product rounds once, and the
    # rounding of a sum of N squares grows like √N.
    count = np.prod([x.shape[a] for a in axes], dtype=float)
    return float(jnp.finfo(x.dtype).eps) * (2 + np.sqrt(count) / 4)


def _inwards(x: jax.Array, dtype: Any) -> jax.Array:
    # Rounding to a narrower dtype must not lead out of the set again: round towards zero.
    rounded = x.astype(dtype)
    if rounded.dtype == x.dtype:
        return rounded
    grown = jnp.abs(rounded.astype(x.dtype)) > jnp.abs(x)
    return jnp.where(grown, jnp.nextafter(rounded, jnp.zeros_like(rounded)), rounded)


@hyperparameters
class MaxNorm:
    """Norm of each group at most `limit`: {w : ‖w_j‖ ≤ limit}, projected by w_j · min(1, limit / ‖w_j‖).

    Args:
        limit: Number above 0; a float, an array or an Optax schedule. Infinity means no constraint.
        axis: Axes summed over in one norm; by default those of the incoming weights of one unit.

    Raises:
        ValueError: If the limit is 0, negative or NaN.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> w = jr.MaxNorm(1.0)(jnp.array([[3.0, 0.3], [4.0, 0.4]]))
        >>> print(np.asarray(w).round(5))
        [[0.6 0.3]
         [0.8 0.4]]

    Reference:
        Srivastava et al., Dropout, 2014; Keras `constraints.MaxNorm`, whose ε this one does without.
    """

    limit: Number
    axis: Axis = static(None)

    def __post_init__(self) -> None:
        check(self, "limit", above=True, infinite=True)

    def __call__(self, w: jax.Array) -> jax.Array:
        """The nearest array in the set; `w` itself, bit for bit, where it is in it."""
        x, axes = wide(w), group_axes(w.ndim, self.axis)
        norms = group_norms(x, axes)
        outside = norms > self.limit
        factor = self.limit * (1 - _rounding(x, axes)) / jnp.where(outside, norms, 1)
        return _inwards(x * jnp.where(outside, factor, 1), w.dtype)


@hyperparameters
class MinMaxNorm:
    """Norm of each group between two limits: {w : min ≤ ‖w_j‖ ≤ max}, approached by `rate`.

    A group of norm n goes to norm rate · clip(n, min, max) + (1 - rate) · n. A group of zeros has no direction; all
    of its weights become equal, a nearest point like any other.

    Args:
        min: Lower limit, at least 0; a float, an array or an Optax schedule.
        max: Upper limit, above 0 and not under `min`, likewise.
        rate: Share of the way to the set, above 0 and at most 1, likewise.
        axis: Axes summed over in one norm; by default those of the incoming weights of one unit.

    Raises:
        ValueError: If a limit is negative or NaN, `max` is under `min`, or the rate is not in (0, 1].

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> print(jr.MinMaxNorm(1.0, 2.0, rate=0.5)(jnp.array([[0.0, 3.0], [4.0, 0.0]])))
        [[0.  2.5]
         [3.  0. ]]

    Reference:
        Keras `constraints.MinMaxNorm`, whose ε this one does without.
    """

    min: Number
    max: Number
    rate: Number = 1.0
    axis: Axis = static(None)

    def __post_init__(self) -> None:
        check(self, "min")
        check(self, "max", above=True, infinite=True)
        check(self, "rate", above=True, high=1.0)
        known = [v for v in (self.min, self.max) if not callable(v) and not isinstance(v, jax.core.Tracer)]
        if len(known) == 2 and np.any(np.asarray(self.min) > np.asarray(self.max)):
            raise ValueError(f"MinMaxNorm: min is {self.min} and max is {self.max}; expected max of at least min")

    def __call__(self, w: jax.Array) -> jax.Array:
        """`w` with each norm moved towards the limits; `w` itself, bit for bit, where they hold."""
        x, axes = wide(w), group_axes(w.ndim, self.axis)
        norms = group_norms(x, axes)
        rounding = _rounding(x, axes) + float(jnp.finfo(w.dtype).eps) / 2
        low, high = self.min * (1 - rounding), self.max * (1 + rounding)
        outside = (norms < low) | (norms > high)
        goal = self.rate * jnp.clip(norms, self.min, self.max) + (1 - self.rate) * norms
        count = np.prod([x.shape[a] for a in axes], dtype=float)
        # Divide before scaling: the reciprocal of a subnormal norm overflows.
        direction = jnp.where(norms > 0, x / jnp.where(norms > 0, norms, 1), 1 / np.sqrt(max(count, 1.0)))
        return jnp.where(outside, direction * goal, x).astype(w.dtype)


@hyperparameters
class UnitNorm:
    """Norm of each group exactly 1: {w : ‖w_j‖ = 1}, projected by w_j / ‖w_j‖.

    A group of zeros has no direction; all of its weights become equal, a nearest point like any other.

    Args:
        axis: Axes summed over in one norm; by default those of the incoming weights of one unit.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> print(jr.UnitNorm()(jnp.array([[3.0, 0.0], [4.0, 0.5]])))
        [[0.6 0. ]
         [0.8 1. ]]

    Reference:
        Keras `constraints.UnitNorm`, whose ε this one does without.
    """

    axis: Axis = static(None)

    def __call__(self, w: jax.Array) -> jax.Array:
        """The nearest array in the set; `w` itself, bit for bit, where each norm is 1 to rounding."""
        return MinMaxNorm(1.0, 1.0, axis=self.axis)(w)


@hyperparameters
class NonNeg:
    """No negative weights: {w : w ≥ 0}, projected by max(w, 0).

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> print(jr.NonNeg()(jnp.array([-1.0, 2.0])))
        [0. 2.]

    Reference:
        Keras `constraints.NonNeg`; Optax `projections.projection_non_negative`.
    """

    def __call__(self, w: jax.Array) -> jax.Array:
        """The nearest array in the set."""
        return jnp.where(w < 0, jnp.zeros_like(w), w)


def distances(constraint: Callable[[jax.Array], jax.Array], w: jax.Array) -> jax.Array:
    """How far `w` is from the set of `constraint`: the Euclidean distance of each group, or of each weight."""
    if isinstance(constraint, MinMaxNorm):
        constraint = dataclasses.replace(constraint, rate=1.0)
    moved = wide(w) - wide(constraint(w))
    if not hasattr(constraint, "axis"):
        return jnp.abs(moved)
    return group_norms(moved, group_axes(w.ndim, constraint.axis))
