"""Constraints on the sum of each group of weights: simplex, hyperplane, L1 ball and L1 sphere.

In the code, each group is a row of a matrix. Adding one number to all weights of a row does not change the projection
of this row onto a set of fixed sum. So each row is first shifted until one of its weights is 0. This shift makes the
projection as precise for weights near 1e30 as for weights near 0.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp

from jaxreg._checks import check, refuse_complex
from jaxreg._groups import directions, from_rows, group_axes, magnitudes, per_row, rounding, simplex_rows, to_rows
from jaxreg._hyperparameters import Axis, Number, hyperparameters, static
from jaxreg._precision import eps, held, inwards, tiny, wide
from jaxreg._protocols import Constraint, Limits
from jaxreg._sharding import partitioned


def _largest(rows: jax.Array) -> jax.Array:
    # 1 at the first largest entry of each row, 0 elsewhere. NaN stays NaN.
    return jnp.where(jnp.isnan(rows), rows, jax.nn.one_hot(jnp.argmax(rows, axis=1), rows.shape[1], dtype=rows.dtype))


def sum_tolerance(x: jax.Array, w: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Return a bound on the rounding error of each row sum of `x`. A row is one group of the weights `w`."""
    return tolerance_of_sums(jnp.sum(jnp.abs(x), axis=1, keepdims=True), x.shape[1], w, axes)


def tolerance_of_sums(sizes: jax.Array, count: int, w: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Return a bound on the rounding error of a sum of `count` terms whose absolute values add up to `sizes`.

    Each weight was rounded once to the dtype of `w`. The rounding error of a weight is at most half an ulp, or the
    smallest subnormal number if this number is larger.
    """
    relative = rounding(w, axes) if wide(w).dtype == w.dtype else eps(w.dtype)
    return sizes * relative + count * tiny(w.dtype) * eps(w.dtype)


@hyperparameters
class Simplex(Constraint):
    """Non-negative weights with a fixed sum per group: {w : w ≥ 0, sum of each group = total}.

    By default, each group consists of the incoming weights of one unit. If the constraint is called with a vector, as
    in the example, the whole vector is one group.

    Args:
        total: Non-negative number: a float, an array or an Optax schedule.
        axis: Axes that one sum covers. Default: the fan-in axes, one sum per unit.

    Raises:
        ValueError: If the total is negative, infinite or NaN.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> print(jr.Simplex(1.0)(jnp.array([0.75, 1.25, -1.0])))
        [0.25 0.75 0.  ]

    Reference:
        Duchi et al., Efficient projections onto the l1-ball, 2008; Optax `projections.projection_simplex` for one
        vector.
    """

    total: Number
    axis: Axis = static(default=None)
    section: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self, "total", "[0, inf)")

    @partitioned()
    def __call__(self, w: jax.Array) -> jax.Array:
        """Return the nearest array in the set. Groups already in it, up to rounding, are returned bit for bit."""
        refuse_complex(self, w)
        if w.size == 0:
            return w
        axes = group_axes(w.ndim, self.axis)
        x = to_rows(wide(w), axes)
        totals = per_row(self.total, wide(w), axes)
        off = jnp.abs(jnp.sum(x, axis=1, keepdims=True) - totals)
        inside = jnp.all(x >= 0, axis=1, keepdims=True) & (off <= sum_tolerance(x, w, axes))
        own, nearest = to_rows(w, axes), simplex_rows(x, totals).astype(w.dtype)
        rows = jnp.where(inside, held(own, nearest), nearest)
        return from_rows(rows, w.shape, axes)

    @partitioned()
    def lmo(self, direction: jax.Array) -> jax.Array:
        """Return a minimiser z of ⟨direction, z⟩ over the set, with the shape of `direction`.

        In each group, z is `total` (the required sum) at the smallest entry of `direction`, and 0 elsewhere.
        """
        if direction.size == 0:
            return direction
        axes = group_axes(direction.ndim, self.axis)
        x = to_rows(wide(direction), axes)
        rows = per_row(self.total, wide(direction), axes) * _largest(-x)
        return from_rows(rows.astype(direction.dtype), direction.shape, axes)

    def group_sum(self) -> Number:
        """Return `total`, the sum that every group of weights must have."""
        return self.total

    def bounds(self) -> Limits:
        """Return the bounds of every weight, 0 and infinity.

        The upper bound is not `total`, because the sum and the lower bound already keep every weight at or below
        `total`.
        """
        return 0.0, float("inf")

    def needs_order(self) -> bool:
        """Return True: the weights must be real, because complex numbers cannot be compared with 0."""
        return True


@hyperparameters
class SumTo(Constraint):
    """Fixed sum of each group, with weights of either sign: {w : sum of each group = total}.

    The projection shifts all weights of a group by the same amount. By default, each group consists of the incoming
    weights of one unit. If the constraint is called with a vector, as in the example, the whole vector is one group.
    With total 0, the mean of each group is 0, as in weight standardisation.

    Args:
        total: Finite number: a float, an array or an Optax schedule.
        axis: Axes that one sum covers. Default: the fan-in axes, one sum per unit.

    Raises:
        ValueError: If the total is infinite or NaN.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> print(jr.SumTo(0.0)(jnp.array([1.0, 2.0, 6.0])))
        [-2. -1.  3.]

    Reference:
        Optax `projections.projection_hyperplane`.
    """

    total: Number
    axis: Axis = static(default=None)
    section: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self, "total", "(-inf, inf)")

    @partitioned()
    def __call__(self, w: jax.Array) -> jax.Array:
        """Return the nearest array in the set. Groups already in it, up to rounding, are returned bit for bit."""
        if w.size == 0:
            return w
        axes = group_axes(w.ndim, self.axis)
        x = to_rows(wide(w), axes)
        totals = per_row(self.total, wide(w), axes)
        off = jnp.abs(jnp.sum(x, axis=1, keepdims=True) - totals)
        # Measured from one weight of the group: the small differences between weights of 1e30 are exact.
        moved = x - jax.lax.stop_gradient(x[:, :1])
        for _ in range(3):  # each round removes the rounding error of the one before
            moved = moved + (totals / x.shape[1] - jnp.mean(moved, axis=1, keepdims=True))
        inside, own, nearest = off <= sum_tolerance(x, w, axes), to_rows(w, axes), moved.astype(w.dtype)
        rows = jnp.where(inside, held(own, nearest), nearest)
        return from_rows(rows, w.shape, axes)

    def group_sum(self) -> Number:
        """Return `total`, the sum that every group of weights must have."""
        return self.total

    def non_negative(self) -> Simplex:
        """Return the `Simplex` with the same total. It is the intersection of this constraint with w ≥ 0."""
        return Simplex(self.total, self.axis)


@hyperparameters
class L1Ball(Constraint):
    """Upper limit on the L1 norm of each group w_j: {w : ‖w_j‖₁ ≤ radius}. The projection sets small weights to 0.

    By default, each group w_j consists of the incoming weights of one unit. If the constraint is called with a vector,
    as in the example, the whole vector is one group.

    Args:
        radius: Non-negative number: a float, an array or an Optax schedule. Infinity means no constraint.
        axis: Axes that one sum covers. Default: the fan-in axes, one sum per unit.

    Raises:
        ValueError: If the radius is negative or NaN.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> print(np.asarray(jr.L1Ball(1.0)(jnp.array([-0.75, 1.25, 0.1]))).round(5))
        [-0.25  0.75  0.  ]

    Reference:
        Duchi et al., Efficient projections onto the l1-ball, 2008; Optax `projections.projection_l1_ball`.
    """

    radius: Number
    axis: Axis = static(default=None)
    ball: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self, "radius", "[0, inf]")

    @partitioned()
    def __call__(self, w: jax.Array) -> jax.Array:
        """Return the nearest array in the set. Groups already in the set are returned bit for bit."""
        if w.size == 0:
            return w
        axes = group_axes(w.ndim, self.axis)
        x = to_rows(wide(w), axes)
        radii = per_row(self.radius, wide(w), axes)
        signs = directions(x)
        outside = jnp.sum(jnp.abs(x), axis=1, keepdims=True) > radii
        goals = jnp.where(outside, radii, 1) * (1 - 2 * rounding(wide(w), axes))
        nearest = signs * simplex_rows(jnp.abs(x) if jnp.iscomplexobj(x) else x * signs, goals)
        return from_rows(jnp.where(outside, inwards(nearest, w.dtype), to_rows(w, axes)), w.shape, axes)

    @partitioned()
    def lmo(self, direction: jax.Array) -> jax.Array:
        """Return a minimiser z of ⟨direction, z⟩ over the set, with the shape of `direction`.

        In each group, let d be the entry of `direction` with the largest magnitude. Then z is -radius · sign(d) at the
        position of d, and 0 elsewhere.
        """
        if direction.size == 0:
            return direction
        axes = group_axes(direction.ndim, self.axis)
        x = to_rows(wide(direction), axes)
        rows = -per_row(self.radius, wide(direction), axes) * _largest(jnp.abs(x)) * jnp.sign(x)
        return from_rows(inwards(rows, direction.dtype), direction.shape, axes)


@hyperparameters
class L1Sphere(Constraint):
    """Fixed L1 norm of each group w_j: {w : ‖w_j‖₁ = radius}.

    By default, each group w_j consists of the incoming weights of one unit: a column of the matrix in the example. The
    set is not convex.

    - If the L1 norm of a group is above the radius, the projection is that of `L1Ball`: small weights become exactly 0.
    - If the L1 norm is below the radius, the magnitudes of all weights of the group grow by the same amount. A weight
      of 0 becomes positive.

    Args:
        radius: Positive number: a float, an array or an Optax schedule.
        axis: Axes that one sum covers. Default: the fan-in axes, one sum per unit.

    Raises:
        ValueError: If the radius is 0, negative, infinite or NaN.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> print(np.asarray(jr.L1Sphere(1.0)(jnp.array([[-0.75, -0.1], [1.25, 0.3]]))).round(5))
        [[-0.25 -0.4 ]
         [ 0.75  0.6 ]]

    Reference:
        Optax `projections.projection_l1_sphere`, which returns NaN for radius 0.
    """

    radius: Number
    axis: Axis = static(default=None)
    convex: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check(self, "radius", "(0, inf)")

    @partitioned()
    def __call__(self, w: jax.Array) -> jax.Array:
        """Return the nearest array in the set. Groups already in it, up to rounding, are returned bit for bit."""
        if w.size == 0:
            return w
        axes = group_axes(w.ndim, self.axis)
        x = to_rows(wide(w), axes)
        radii = per_row(self.radius, wide(w), axes)
        sizes = magnitudes(x)
        off = jnp.abs(jnp.sum(sizes, axis=1, keepdims=True) - radii)
        nearest = (jnp.where(x == 0, 1, directions(x)) * simplex_rows(sizes, radii)).astype(w.dtype)
        own = to_rows(w, axes)
        rows = jnp.where(off <= sum_tolerance(x, w, axes), held(own, nearest), nearest)
        return from_rows(rows, w.shape, axes)
