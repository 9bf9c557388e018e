"""Constraints on norms of groups of weights. They keep shape and dtype.

Each constraint is a pytree whose leaves are its limits. The argument `axis` contains the axes that one norm sums over,
as in Keras. Its default is the fan-in axes:

- If a constraint is called with an array, the fan-in axes are all axes except the last. A vector is one group.
- `jaxreg.project` infers the fan-in axes from the path of the array in the tree and from its shape; see
  `jaxreg.explain`.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._checks import check, check_order
from jaxreg._complex import from_pairs, to_pairs
from jaxreg._groups import group_axes, group_norms, group_size, limit_of_groups, rounding, scale_for
from jaxreg._hyperparameters import Axis, Number, hyperparameters, static
from jaxreg._precision import eps, inwards, outwards, real_dtype, wide
from jaxreg._protocols import Constraint, Limits


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def shrunk(x: jax.Array, limit: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Scale each group of `x` down so that its norm is at most `limit`. A group spans the axes `axes`."""
    # One pass for the norms and one for the rest, without a branch. A branch keeps XLA on CPUs from updating weights in
    # place, and a fresh copy costs more than all of the arithmetic.
    factor, _ = _shrinking(x, limit, axes)
    return jnp.where(factor < 1, x * factor, x)


def _shrinking(x: jax.Array, limit: jax.Array, axes: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    # Two factors per group: the one that moves it into the set (1 if it is inside), and the one to norm 1.
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
    # `w`, for groups inside the limits. On a sphere its derivative is that of the projection: along the sphere only.
    return w


@_held.defjvp
def _held_jvp(primals: Any, tangents: Any) -> Any:
    (w, direction, nearest, narrow, *rate), (moved, turned, raised, *_) = primals, tangents
    along = nearest * turned + raised * direction
    for share in rate:
        along = share * along + (1 - share) * moved
    return w, jnp.where(narrow, along.astype(w.dtype), moved)


def off_radius(w: jax.Array, direction: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Remove the component along `w` from each group of `direction`. Nothing is removed where a group of `w` is 0."""
    norm = group_norms(w, axes)
    unit = w / jnp.where(norm > 0, norm, 1)
    return direction - jnp.sum(jnp.real(jnp.conj(unit) * direction), axes, keepdims=True) * unit


def turned(before: Any, after: Any, moment: Any, inner: Callable[[Any, Any], jax.Array]) -> Any:
    """Move tangent vectors of unit spheres from the points `before` to the points `after` by parallel transport.

    The path is a great circle. If `after` is nearly opposite to `before`, the great circle is not unique. Then only the
    component along `after` is removed from the tangent vectors.

    Args:
        before: Unit vectors: an array or a tree of arrays.
        after: Unit vectors, in the form of `before`.
        moment: Tangent vectors at `before`, in the form of `before`.
        inner: Function that returns the real inner products of two trees. It returns one number per group, in a shape
            that broadcasts to the arrays.
    """
    overlap = 1 + inner(before, after)
    unique = overlap > 1e-3
    both = jax.tree.map(jnp.add, before, after)
    # The rotation takes `before` to `after` and leaves all vectors that are orthogonal to both unchanged.
    away = jnp.where(unique, inner(both, moment) / jnp.where(unique, overlap, 1), 0)
    back = jnp.where(unique, 2 * inner(before, moment), 0)
    moved = jax.tree.map(lambda m, s, b: m - away * s + back * b, moment, both, after)
    along = inner(after, moved)
    return jax.tree.map(lambda m, b: m - along * b, moved, after)


def turned_groups(before: jax.Array, after: jax.Array, moment: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Apply `turned` to each group of weights, with `before` and `after` scaled to norm 1.

    If a group of `before` is 0, only the component along `after` is removed from the group of `moment`. If a group of
    `after` is 0, only the component along `before` is removed.
    """

    def unit(w: jax.Array) -> jax.Array:
        norms = group_norms(w, axes)
        return w / jnp.where(norms > 0, norms, 1)

    def inner(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.sum(jnp.real(jnp.conj(a) * b), axes, keepdims=True)

    return turned(unit(before), unit(after), moment, inner)


@hyperparameters
class MaxNorm(Constraint):
    """Upper limit on the norm of each group w_j: {w : ‖w_j‖ ≤ limit}, projected by w_j · min(1, limit / ‖w_j‖).

    By default, each group w_j consists of the incoming weights of one unit.

    Args:
        limit: Positive float, array or Optax schedule. An array may contain one limit per group. Infinity means no
            constraint. If the norm of a group exceeds 10^30 · limit, the computation can overflow in float32, and the
            group becomes 0.
        axis: Axes that one norm sums over. Default: the fan-in axes, one norm per unit.

    Raises:
        ValueError: If the limit is 0, negative or NaN. When called, if the limit is neither one number nor one number
            per group.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> w = jr.MaxNorm(1.0)(jnp.array([[3.0, 0.3], [4.0, 0.4]]))
        >>> print(np.asarray(w).round(5))
        [[0.6 0.3]
         [0.8 0.4]]

    Reference:
        Srivastava et al., Dropout, 2014; Keras `constraints.MaxNorm`, but without its ε.
    """

    limit: Number
    axis: Axis = static(default=None)
    shell: ClassVar[bool] = True
    ball: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self, "limit", "(0, inf]")

    def __call__(self, w: jax.Array) -> jax.Array:
        """Return the nearest array in the set. Groups already in the set are returned bit for bit."""
        x, axes = wide(w), group_axes(w.ndim, self.axis)
        limit = jnp.asarray(limit_of_groups(self.limit, x, axes), real_dtype(x))
        if jnp.iscomplexobj(x):
            limit = limit if limit.ndim == 0 else limit[..., None]
            return from_pairs(shrunk(to_pairs(x), limit, (*axes, x.ndim)))
        return inwards(shrunk(x, limit, axes), w.dtype)

    def lmo(self, direction: jax.Array) -> jax.Array:
        """Return the z in the set that minimises ⟨direction, z⟩: z = -limit · d / ‖d‖ for each group d of `direction`.

        If d is 0, z is 0.
        """
        x, axes = wide(direction), group_axes(direction.ndim, self.axis)
        norms, limit = group_norms(x, axes), limit_of_groups(self.limit, x, axes)
        return inwards(-(x / jnp.where(norms == 0, 1, norms)) * (limit * (1 - rounding(x, axes))), direction.dtype)

    def norm_limits(self, w: jax.Array) -> Limits:
        """Return the lower and the upper limit on the norm of each group of `w`."""
        axes = group_axes(w.ndim, self.axis)
        return limit_of_groups(0.0, wide(w), axes), limit_of_groups(self.limit, wide(w), axes)


@hyperparameters
class MaxRMS(Constraint):
    """Upper limit on the root mean square of each group w_j of n weights: {w : ‖w_j‖ ≤ limit · √n}.

    By default, each group w_j consists of the incoming weights of one unit. The constraint is equivalent to a `MaxNorm`
    whose limit is larger by the factor √n. So one value of `limit` suits layers of any width.

    Args:
        limit: Positive float, array or Optax schedule. An array may contain one limit per group. Infinity means no
            constraint.
        axis: Axes that one mean is taken over. Default: the fan-in axes, one mean per unit.

    Raises:
        ValueError: If the limit is 0, negative or NaN. When called, if the limit is neither one number nor one number
            per group.

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
        """Return the nearest array in the set. Groups already in the set are returned bit for bit."""
        return self.as_max_norm(w)(w)

    def lmo(self, direction: jax.Array) -> jax.Array:
        """Return the z in the set that minimises ⟨direction, z⟩.

        For each group d of `direction`, z = -limit · √n · d / ‖d‖, where n is the number of weights in a group. If d is
        0, z is 0.
        """
        return self.as_max_norm(direction).lmo(direction)

    def as_max_norm(self, w: jax.Array) -> MaxNorm:
        """Return the equivalent `MaxNorm` for arrays of the shape of `w`."""
        axes = group_axes(w.ndim, self.axis)
        count, limit = group_size(w.shape, axes), limit_of_groups(self.limit, wide(w), axes)
        return MaxNorm(limit * float(np.sqrt(max(count, 1))), self.axis)

    def norm_limits(self, w: jax.Array) -> Limits:
        """Return the lower and the upper limit on the norm of each group of `w`."""
        return self.as_max_norm(w).norm_limits(w)


@hyperparameters
class MinMaxNorm(Constraint):
    """Lower and upper limit on the norm of each group w_j: {w : min ≤ ‖w_j‖ ≤ max}.

    By default, each group w_j consists of the incoming weights of one unit. One call changes the norm n of a group to
    rate · clip(n, min, max) + (1 - rate) · n. A group of zeros has no direction, so all its weights get the same value.

    Args:
        min: Lower limit, at least 0: a float, an array or an Optax schedule. An array may contain one limit per group.
        max: Upper limit, above 0 and at least `min`: a float, an array or an Optax schedule. An array may contain one
            limit per group.
        rate: Share of the distance to the limits that one call covers, above 0 and at most 1: a float, an array or an
            Optax schedule.
        axis: Axes that one norm sums over. Default: the fan-in axes, one norm per unit.

    Raises:
        ValueError: If `min` is negative, infinite or NaN. If `max` is 0, negative, NaN or below `min`. If `rate` is
            outside (0, 1]. When called, if the shape of an array does not fit the groups of weights.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> w = jr.MinMaxNorm(1.0, 2.0, rate=0.5)(jnp.array([[0.0, 3.0], [4.0, 0.0]]))
        >>> print(np.asarray(w).round(5))
        [[0.  2.5]
         [3.  0. ]]

    Reference:
        Keras `constraints.MinMaxNorm`, but without its ε.
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
        check_order(self, "min", "max")

    def __call__(self, w: jax.Array) -> jax.Array:
        """Move each norm towards its limits. Groups within the limits are returned bit for bit."""
        x, axes = wide(w), group_axes(w.ndim, self.axis)
        norms = group_norms(x, axes)
        limits = (limit_of_groups(limit, x, axes) for limit in (self.min, self.max, self.rate))
        # As arrays, because `where` on two plain numbers may return float64.
        least, most, rate, slack = (jnp.asarray(value, real_dtype(x)) for value in (*limits, rounding(x, axes)))
        # Limits with a gap between them leave room to round inwards. Equal limits hold only to rounding.
        narrow = least * (1 + 3 * slack) >= most
        tolerance = jnp.where(narrow, slack + eps(w.dtype) / 2, 0)
        above, below = norms > most * (1 + tolerance), norms < least * (1 - tolerance)
        nearest = jnp.where(above, most, least) * jnp.where(narrow, 1, jnp.where(above, 1 - slack, 1 + slack))
        goal = jnp.where(above | below, rate * nearest + (1 - rate) * norms, 1)
        # Divide before scaling: the reciprocal of a subnormal norm overflows, and so does its square in the derivative.
        # After division by the constant norm, the norm to differentiate is 1.
        safe = jnp.where(norms > 0, norms, 1)
        fixed = jax.lax.stop_gradient(safe)
        even = float(1 / np.sqrt(max(group_size(w.shape, axes), 1)))
        direction = jnp.where(norms > 0, (x / fixed) / (safe / fixed), even)
        moved = direction * goal
        rounded = jnp.where(above, inwards(moved, w.dtype), outwards(moved, w.dtype))
        rounded = jnp.where(narrow | (rate < 1), moved.astype(w.dtype), rounded)
        partly = () if isinstance(self.rate, int | float) and self.rate == 1 else (rate,)  # passed only if needed
        return jnp.where(above | below, rounded, _held(w, direction, nearest, narrow, *partly))

    def lmo(self, direction: jax.Array) -> jax.Array:
        """Return the z in the set that minimises ⟨direction, z⟩: z = -max · d / ‖d‖ for each group d of `direction`.

        Here max is the upper limit of the constraint, which must be finite. If d is 0, all weights of the group in z
        are equal, and their norm is max.
        """
        return MinMaxNorm(self.max, self.max, axis=self.axis)(-direction)

    def transported(self, before: jax.Array, after: jax.Array, moment: jax.Array) -> jax.Array:
        """Move the momentum `moment`, a tangent vector at `before`, to the tangent space at `after`.

        If the two limits of a group are equal, the group lies on a sphere, and the momentum is moved by parallel
        transport. For any other group, the result is the component of the momentum that is tangent at `after`.
        """
        axes = group_axes(after.ndim, self.axis)
        least, most = self.norm_limits(after)
        along = turned_groups(before, after, moment, axes)
        return jnp.where(jnp.asarray(least) == most, along, self.tangent(after, moment))

    def norm_limits(self, w: jax.Array) -> Limits:
        """Return the lower and the upper limit on the norm of each group of `w`."""
        axes = group_axes(w.ndim, self.axis)
        return limit_of_groups(self.min, wide(w), axes), limit_of_groups(self.max, wide(w), axes)

    def whole_way(self) -> Any:
        """Return the constraint with `rate=1`. One call then moves the norms all the way to their limits."""
        return dataclasses.replace(self, rate=1.0)


@hyperparameters
class UnitNorm(Constraint):
    """Unit norm of each group w_j: {w : ‖w_j‖ = 1}, projected by w_j / ‖w_j‖.

    By default, each group w_j consists of the incoming weights of one unit. A group of zeros has no direction, so all
    its weights get the same value.

    Args:
        axis: Axes that one norm sums over. Default: the fan-in axes, one norm per unit.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> print(jr.UnitNorm()(jnp.array([[3.0, 0.0], [4.0, 0.5]])))
        [[0.6 0. ]
         [0.8 1. ]]

    Reference:
        Keras `constraints.UnitNorm`, but without its ε.
    """

    axis: Axis = static(default=None)
    shell: ClassVar[bool] = True
    convex: ClassVar[bool] = False

    def __call__(self, w: jax.Array) -> jax.Array:
        """Return the nearest array in the set. A group whose norm is 1 up to rounding is returned bit for bit."""
        return MinMaxNorm(1.0, 1.0, axis=self.axis)(w)

    def lmo(self, direction: jax.Array) -> jax.Array:
        """Return the z in the set that minimises ⟨direction, z⟩: z = -d / ‖d‖ for each group d of `direction`.

        If d is 0, all weights of the group in z are equal, and their norm is 1.
        """
        return self(-direction)

    def tangent(self, w: jax.Array, direction: jax.Array) -> jax.Array:
        """Remove the component along `w` from each group of `direction`."""
        return off_radius(w, direction, group_axes(w.ndim, self.axis))

    def transported(self, before: jax.Array, after: jax.Array, moment: jax.Array) -> jax.Array:
        """Move the tangent vector `moment` from the point `before` to the point `after` by parallel transport."""
        return turned_groups(before, after, moment, group_axes(after.ndim, self.axis))

    def norm_limits(self, w: jax.Array) -> Limits:
        """Return the lower and the upper limit on the norm of each group of `w`."""
        return 1.0, 1.0
