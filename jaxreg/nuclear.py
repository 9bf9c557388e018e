"""The sum of singular values, as a penalty and as a limit: few singular values stay, the others are 0."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from jaxreg.groups import Axis, from_rows, group_axes, limit_of_groups, rounding, to_rows
from jaxreg.objects import Number, as_wide, check, eps, hyperparameters, partitioned, refuse_steps, static, wide
from jaxreg.polar import clipped, lowered, sum_of_values


@hyperparameters
class Nuclear:
    """Sum of the singular values (nuclear norm): strength · Σ σ_i; weights of low rank.

    Args:
        strength: Number of at least 0; a float, an array or an Optax schedule.
        axis: Axes of the incoming weights of one unit, a column of W; by default every axis but the last.

    Raises:
        ValueError: If the strength is negative, infinite or NaN, or an axis is not one of the array's.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> w = jnp.diag(jnp.array([3.0, 2.0, 0.5]))
        >>> print(round(float(jr.Nuclear(1.0)(w)), 4), np.diag(jr.Nuclear(1.0).prox(w, 0.75)).round(4))
        5.5 [2.25 1.25 0.  ]

    Reference:
        Cai, Candès and Shen, A singular value thresholding algorithm for matrix completion, 2010.
    """

    strength: Number
    axis: Axis = static(default=None)
    whole: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self, "strength")

    @partitioned(number=True)
    def __call__(self, w: jax.Array) -> jax.Array:
        """The cost of `w`, a scalar."""
        x = wide(w)
        total = sum_of_values(to_rows(x, group_axes(w.ndim, self.axis))) if x.size else jnp.zeros((), x.dtype)
        return as_wide(self.strength, x) * total

    @partitioned()
    def prox(self, w: jax.Array, step: Number) -> jax.Array:
        """The proximal step: every singular value `step` · strength nearer to 0, and no further."""
        refuse_steps(self, step)
        if w.size == 0:
            return w
        x, axes = wide(w), group_axes(w.ndim, self.axis)
        matrix = to_rows(x, axes)
        by = jnp.asarray(as_wide(step, x) * limit_of_groups(self.strength, matrix, (0, 1)), x.dtype)
        taken, largest = clipped(matrix, by)  # what is left is 0 where all of a singular value is taken
        left = x - from_rows(taken, w.shape, axes)
        return jnp.where(largest <= by, 0, left).astype(w.dtype)  # where all are, to the last bit


@hyperparameters
class NuclearBall:
    """Sum of the singular values at most `radius`: {W : Σ σ_i ≤ radius}; weights of low rank.

    Projected by bringing the singular values to the nearest ones of that sum.

    Args:
        radius: Number above 0; a float, an array or an Optax schedule.
        axis: The incoming axes, the rows of the matrix; by default every axis but the last.

    Raises:
        ValueError: If the radius is 0, negative, infinite or NaN.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> print(np.abs(np.asarray(jr.NuclearBall(2.0)(jnp.diag(jnp.array([3.0, 1.5]))))).round(4))
        [[1.75 0.  ]
         [0.   0.25]]

    Reference:
        Cai, Candès and Shen, A singular value thresholding algorithm for matrix completion, 2010; Jaggi, Revisiting
        Frank-Wolfe, 2013, for its `lmo`.
    """

    radius: Number
    axis: Axis = static(default=None)
    whole: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self, "radius", above=True)

    @partitioned()
    def __call__(self, w: jax.Array) -> jax.Array:
        """The nearest array in the set; `w` itself, bit for bit, where it is in it."""
        if w.size == 0:
            return w
        axes = group_axes(w.ndim, self.axis)
        matrix = to_rows(wide(w), axes)
        radius = jnp.asarray(limit_of_groups(self.radius, matrix, (0, 1)), matrix.dtype)
        nearest, total = lowered(matrix, radius * self._share(w))
        inside = total <= radius
        return jnp.where(inside, w, from_rows(nearest, w.shape, axes).astype(w.dtype))

    @partitioned()
    def lmo(self, direction: jax.Array) -> jax.Array:
        """A point of the set farthest against `direction`, of rank 1: -radius · u₁ v₁ᵀ, and 0 where it is 0."""
        if direction.size == 0:
            return direction
        axes = group_axes(direction.ndim, self.axis)
        u, s, vt = jnp.linalg.svd(to_rows(wide(direction), axes), full_matrices=False)
        end = -as_wide(self.radius, u) * self._share(direction) * jnp.where(s[0] > 0, jnp.outer(u[:, 0], vt[0]), 0)
        return from_rows(end, direction.shape, axes).astype(direction.dtype)

    def _share(self, w: jax.Array) -> float:
        # The rounding of an SVD and of the product, and what rounding to a narrower dtype does to every value.
        narrower = eps(w.dtype) * min(w.shape, default=1) if w.dtype != wide(w).dtype else 0
        return 1 - 4 * rounding(wide(w), tuple(range(w.ndim))) - narrower
