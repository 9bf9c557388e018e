"""Constraints on norms: a weight array -> the nearest one in a set, in the same shape and dtype.

Each is a pytree whose limits are leaves. An `axis` says which axes are summed over in one norm, as in Keras; by default
these are the incoming weights of one unit: every axis but the last, or the whole of a vector. `jaxreg.project`
knows more, for it sees where in the tree an array lies (see `jaxreg.explain`).
"""

import dataclasses
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._checks import check
from jaxreg._complex import from_pairs, to_pairs
from jaxreg._groups import group_axes, group_norms, group_size, limit_of_groups, rounding, scale_for
from jaxreg._hyperparameters import Axis, Number, hyperparameters, known, static
from jaxreg._precision import eps, inwards, outwards, real_dtype, wide
from jaxreg._protocols import Constraint, Limits


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def shrunk(x: jax.Array, limit: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Return `x` with no norm over `axes` above the limit."""
    # In one pass over it for the norms and one for the rest: without a branch, which
    # would keep XLA on CPUs from updating weights in place, where a fresh copy costs more than all of the arithmetic.
    factor, _ = _shrinking(x, limit, axes)
    return jnp.where(factor < 1, x * factor, x)


def _shrinking(x: jax.Array, limit: jax.Array, axes: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    # What each group has to be multiplied by to end in the set, 1 where it is, and to end at norm 1.
    scale = scale_for(limit, group_size(x.shape, axes))
    squares = jnp.sum(jnp.square(x * scale), axes, keepdims=True)
    outside = jnp.sqrt(squares) > limit * scale
    norms = jnp.sqrt(jnp.where(outside, squares, 1))
    return jnp.where(outside, limit * scale * (1 - rounding(x, axes)) / norms, 1), scale / norms


@shrunk.defjvp
def _shrunk_jvp(axes: tuple[int, ...], primals: Any, tangents: Any) -> Any:
    (x, limit), (moved, raised) = primals, tangents
    factor, inverse = _shrinking(x, limit, axes)
    outside = factor < 1
    unit = jnp.where(outside, x * inverse, 0)
    across = moved - unit * jnp.sum(unit * moved, axes, keepdims=True)
    return jnp.where(outside, x * factor, x), jnp.where(outside, across * factor + unit * raised, moved)


@jax.custom_jvp
def _held(w: jax.Array, direction: jax.Array, nearest: jax.Array, narrow: jax.Array, *rate: jax.Array) -> jax.Array:
    # `w` where its norms hold. On a sphere it moves as the projection does around it: along the sphere, never off it.
    return w


@_held.defjvp
def _held_jvp(primals: Any, tangents: Any) -> Any:
    (w, direction, nearest, narrow, *rate), (moved, turned, raised, *_) = primals, tangents
    along = nearest * turned + raised * direction
    for share in rate:
        along = share * along + (1 - share) * moved
    return w, jnp.where(narrow, along.astype(w.dtype), moved)


@hyperparameters
class MaxNorm(Constraint):
    """Norm of each group at most `limit`: {w : ‖w_j‖ ≤ limit}, projected by w_j · min(1, limit / ‖w_j‖).

    Args:
        limit: Number above 0, or one a group; a float, an array or an Optax schedule. Infinity means no constraint. A
            group whose norm is more than 10^30 limits becomes 0.
        axis: Axes summed over in one norm; by default those of the incoming weights of one unit.

    Raises:
        ValueError: If the limit is 0, negative or NaN or, when called, is neither one number nor one a group.

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
    axis: Axis = static(default=None)
    shell: ClassVar[bool] = True
    ball: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self, "limit", "(0, inf]")

    def __call__(self, w: jax.Array) -> jax.Array:
        """Return the nearest array in the set; `w` itself, bit for bit, where it is in it."""
        x, axes = wide(w), group_axes(w.ndim, self.axis)
        limit = jnp.asarray(limit_of_groups(self.limit, x, axes), real_dtype(x))
        if jnp.iscomplexobj(x):
            limit = limit if limit.ndim == 0 else limit[..., None]
            return from_pairs(shrunk(to_pairs(x), limit, (*axes, x.ndim)))
        return inwards(shrunk(x, limit, axes), w.dtype)

    def lmo(self, direction: jax.Array) -> jax.Array:
        """Return the point of the set farthest against `direction`: -limit · d_j / ‖d_j‖, and 0 where d_j is 0."""
        x, axes = wide(direction), group_axes(direction.ndim, self.axis)
        norms, limit = group_norms(x, axes), limit_of_groups(self.limit, x, axes)
        return inwards(-(x / jnp.where(norms == 0, 1, norms)) * (limit * (1 - rounding(x, axes))), direction.dtype)

    def norm_limits(self, w: jax.Array) -> Limits:
        """Return the limits on the norms of the groups of `w`."""
        axes = group_axes(w.ndim, self.axis)
        return limit_of_groups(0.0, wide(w), axes), limit_of_groups(self.limit, wide(w), axes)


@hyperparameters
class MaxRMS(Constraint):
    """Root mean square of each group at most `limit`: {w : ‖w_j‖ ≤ limit · √n}, n weights in a group.

    `MaxNorm` with a limit that grows with the fan-in, so that one limit does for layers of every width.

    Args:
        limit: Number above 0, or one a group; a float, an array or an Optax schedule. Infinity means no constraint.
        axis: Axes summed over in one mean; by default those of the incoming weights of one unit.

    Raises:
        ValueError: If the limit is 0, negative or NaN or, when called, is neither one number nor one a group.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> w = jr.MaxRMS(1.0)(jnp.array([[6.0, 0.3], [8.0, 0.4]]))
        >>> print(np.asarray(w).round(5))
        [[0.84853 0.3    ]
         [1.13137 0.4    ]]

    Reference:
        He et al., Delving deep into rectifiers, 2015, for the scale of weights by fan-in.
    """

    limit: Number
    axis: Axis = static(default=None)
    shell: ClassVar[bool] = True
    ball: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self, "limit", "(0, inf]")

    def __call__(self, w: jax.Array) -> jax.Array:
        """Return the nearest array in the set; `w` itself, bit for bit, where it is in it."""
        return self.as_max_norm(w)(w)

    def lmo(self, direction: jax.Array) -> jax.Array:
        """Return the point of the set farthest against `direction`, as for `MaxNorm`."""
        return self.as_max_norm(direction).lmo(direction)

    def as_max_norm(self, w: jax.Array) -> MaxNorm:
        """Return the same set for arrays of the shape of `w`, by its norm."""
        axes = group_axes(w.ndim, self.axis)
        count, limit = group_size(w.shape, axes), limit_of_groups(self.limit, wide(w), axes)
        return MaxNorm(limit * float(np.sqrt(max(count, 1))), self.axis)

    def norm_limits(self, w: jax.Array) -> Limits:
        """Return the limits on the norms of the groups of `w`."""
        return self.as_max_norm(w).norm_limits(w)


@hyperparameters
class MinMaxNorm(Constraint):
    """Norm of each group between two limits: {w : min ≤ ‖w_j‖ ≤ max}, approached by `rate`.

    A group of norm n goes to norm rate · clip(n, min, max) + (1 - rate) · n. A group of zeros has no direction; all
    of its weights become equal, a nearest point like any other.

    Args:
        min: Lower limit, at least 0, or one a group; a float, an array or an Optax schedule.
        max: Upper limit, above 0 and at least `min`, in the same form.
        rate: Share of the way to the set, above 0 and at most 1, in the same form.
        axis: Axes summed over in one norm; by default those of the incoming weights of one unit.

    Raises:
        ValueError: If `min` is negative, infinite or NaN, `max` is not above 0 or is under `min`, or the rate is not in
            (0, 1]; when called, if one is an array that has not one number a group.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> w = jr.MinMaxNorm(1.0, 2.0, rate=0.5)(jnp.array([[0.0, 3.0], [4.0, 0.0]]))
        >>> print(np.asarray(w).round(5))
        [[0.  2.5]
         [3.  0. ]]

    Reference:
        Keras `constraints.MinMaxNorm`, whose ε this one does without.
    """

    min: Number
    max: Number
    rate: Number = 1.0
    axis: Axis = static(default=None)
    shell: ClassVar[bool] = True
    convex: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check(self, "min", "[0, inf)")
        check(self, "max", "(0, inf]")
        check(self, "rate", "(0, 1]")
        if known(self.min, self.max) and np.any(np.asarray(self.min) > np.asarray(self.max)):
            raise ValueError(f"MinMaxNorm: min is {self.min} and max is {self.max}; expected max of at least min")

    def __call__(self, w: jax.Array) -> jax.Array:
        """`w` with each norm moved towards the limits; `w` itself, bit for bit, where they hold."""
        x, axes = wide(w), group_axes(w.ndim, self.axis)
        norms = group_norms(x, axes)
        limits = (limit_of_groups(limit, x, axes) for limit in (self.min, self.max, self.rate))
        # As arrays: of two plain numbers, `where` may choose in float64.
        least, most, rate, slack = (jnp.asarray(value, real_dtype(x)) for value in (*limits, rounding(x, axes)))
        # Between limits that lie apart there is room to round inwards; limits that meet hold to rounding only.
        narrow = least * (1 + 3 * slack) >= most
        tolerance = jnp.where(narrow, slack + eps(w.dtype) / 2, 0)
        above, below = norms > most * (1 + tolerance), norms < least * (1 - tolerance)
        nearest = jnp.where(above, most, least) * jnp.where(narrow, 1, jnp.where(above, 1 - slack, 1 + slack))
        goal = jnp.where(above | below, rate * nearest + (1 - rate) * norms, 1)
        # Divide before scaling: the reciprocal of a subnormal norm overflows, and its square in the derivative long
        # before; the norm held fixed leaves one of 1 to differentiate.
        safe = jnp.where(norms > 0, norms, 1)
        fixed = jax.lax.stop_gradient(safe)
        even = float(1 / np.sqrt(max(group_size(w.shape, axes), 1)))
        direction = jnp.where(norms > 0, (x / fixed) / (safe / fixed), even)
        moved = direction * goal
        rounded = jnp.where(above, inwards(moved, w.dtype), outwards(moved, w.dtype))
        rounded = jnp.where(narrow | (rate < 1), moved.astype(w.dtype), rounded)
        partly = () if isinstance(self.rate, int | float) and self.rate == 1 else (rate,)  # an operand more, if needed
        return jnp.where(above | below, rounded, _held(w, direction, nearest, narrow, *partly))

    def lmo(self, direction: jax.Array) -> jax.Array:
        """Return a point of the set farthest against `direction`: -max · d_j / ‖d_j‖."""
        return MinMaxNorm(self.max, self.max, axis=self.axis)(-direction)

    def norm_limits(self, w: jax.Array) -> Limits:
        """Return the limits on the norms of the groups of `w`."""
        axes = group_axes(w.ndim, self.axis)
        return limit_of_groups(self.min, wide(w), axes), limit_of_groups(self.max, wide(w), axes)

    def whole_way(self) -> Any:
        """Return the same limits, reached in one call."""
        return dataclasses.replace(self, rate=1.0)


@hyperparameters
class UnitNorm(Constraint):
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

    axis: Axis = static(default=None)
    shell: ClassVar[bool] = True
    convex: ClassVar[bool] = False

    def __call__(self, w: jax.Array) -> jax.Array:
        """Return the nearest array in the set; `w` itself, bit for bit, where each norm is 1 to rounding."""
        return MinMaxNorm(1.0, 1.0, axis=self.axis)(w)

    def lmo(self, direction: jax.Array) -> jax.Array:
        """Return a point of the set farthest against `direction`: the one nearest to -direction."""
        return self(-direction)

    def norm_limits(self, w: jax.Array) -> Limits:
        """Return the limits on the norms of the groups of `w`."""
        return 1.0, 1.0
