"""Penalties on the singular values of a kernel."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from jaxreg._checks import check, refuse_steps
from jaxreg._groups import from_rows, group_axes, limit_of_groups, to_rows
from jaxreg._hyperparameters import Axis, Number, hyperparameters, static
from jaxreg._precision import as_wide, real_dtype, wide
from jaxreg._protocols import Cost, Penalty
from jaxreg._sharding import partitioned
from jaxreg._singular_values import clipped, sum_of_values
from jaxreg.penalties._elementwise import of_norm


@jax.custom_jvp
def _largest_singular_value(matrix: jax.Array) -> jax.Array:
    return jnp.linalg.svd(matrix, compute_uv=False)[0]


@_largest_singular_value.defjvp
def _(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    # u₁ v₁ᵀ is a subgradient at 0 and where the largest value is repeated. JAX's derivative of the SVD is NaN there.
    (matrix,), (change,) = primals, tangents
    left, values, right = jnp.linalg.svd(matrix, full_matrices=False)
    return values[0], jnp.real(jnp.conj(left[:, 0]) @ change @ jnp.conj(right[0]))


@hyperparameters
class Spectral(Penalty):
    """Squared distance of the largest singular value from a target: strength/2 · (σ₁(W) - target)².

    Here σ₁(W) is the largest singular value of W, the weights as a matrix with one column per unit. With target 0 the
    penalty is strength/2 times the squared spectral norm, and it is convex. With a target above 0 it is not convex.

    Args:
        strength: Non-negative number: a float, an array or an Optax schedule.
        axis: Fan-in axes, which contain the weights of one unit (a column of W). Default: every axis but the last.
        target: Value of σ₁(W) at which the penalty is 0. Non-negative float, array or Optax schedule.

    Raises:
        ValueError: If `strength` or `target` is negative, infinite or NaN, or an axis is out of range for the array.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> w = jnp.diag(jnp.array([3.0, 2.0, 0.5]))
        >>> print(round(float(jr.Spectral(1.0)(w)), 4), np.diag(jr.Spectral(1.0).prox(w, 0.5)).round(4))
        4.5 [2.  2.  0.5]

    Reference:
        Yoshida and Miyato, Spectral norm regularization for improving the generalizability of deep learning, 2017;
        Lewandowski et al., Learning continually by spectral regularization, 2024, for the target of 1.
    """

    strength: Number
    axis: Axis = static(default=None)
    target: Number = 0.0
    matrix: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self, "strength", "[0, inf)")
        check(self, "target", "[0, inf)")

    @partitioned(number=True)
    def __call__(self, w: jax.Array) -> Cost:
        """Return the cost of `w`, a scalar."""
        x = wide(w)
        if not x.size:
            return as_wide(self.strength, x) * jnp.zeros((), real_dtype(x))
        rows = to_rows(x, group_axes(w.ndim, self.axis))
        away = _largest_singular_value(rows) - as_wide(self.target, x)
        return as_wide(self.strength, x) / 2 * jnp.square(away)

    @partitioned()
    def prox(self, w: jax.Array, step: Number) -> jax.Array:
        """Return the proximal step, which moves the largest singular values towards the target.

        Let σ₁ ≥ σ₂ ≥ … be the singular values of `w`, and s = step · strength. The step size `step` must be a single
        number.

        If σ₁ is above the target, all singular values are clipped at the number c that solves
        s · (c - target) = Σ max(σ_i - c, 0). The solution is the maximum over k = 1, 2, … of
        (σ₁ + … + σ_k + s · target) / (s + k).

        If σ₁ is below the target, only σ₁ changes: it rises to (σ₁ + s · target) / (s + 1).
        """
        refuse_steps(self, step)
        x = wide(w)
        if not x.size:
            return w
        axes = group_axes(w.ndim, self.axis)
        matrix = to_rows(x, axes)
        left, values, right = jnp.linalg.svd(matrix, full_matrices=False)
        pull = as_wide(step, x) * limit_of_groups(self.strength, matrix, (0, 1))
        target = limit_of_groups(self.target, matrix, (0, 1))
        held = (jnp.cumsum(values) + pull * target) / (pull + jnp.arange(1, values.size + 1, dtype=values.dtype))
        excess = jnp.maximum(values - jnp.max(held), 0)
        # A largest value below the target moves up, by the same share of the way.
        excess = jnp.where(values[0] < target, jnp.zeros_like(excess).at[0].set(values[0] - held[0]), excess)[None]
        return (x - from_rows(jnp.matmul(left * excess, right, precision="highest"), w.shape, axes)).astype(w.dtype)

    @partitioned(number=True)
    def linear_minimum(self, slope: jax.Array, budget: Number) -> jax.Array:
        """Return the smallest value of penalty(u) + ⟨slope, u⟩ over all arrays u, or -inf if `target` is above 0.

        `jaxreg.solve` computes its duality gap from this minimum. With a target above 0, the penalty is not convex, and
        the minimum is not computed. The result is then -inf, which is a valid lower bound, and the gap is infinite. The
        argument `budget` is not used.
        """
        # The conjugate of the square of a norm is the square of its dual norm, the sum of the singular values.
        x = wide(slope)
        total = sum_of_values(to_rows(x, group_axes(slope.ndim, self.axis))) if x.size else jnp.zeros(())
        strength = as_wide(self.strength, x)
        none = strength <= 0
        least = -jnp.square(total) / (2 * jnp.where(none, 1, strength))
        least = jnp.where(none, jnp.where(total > 0, -jnp.inf, 0), least)
        return jnp.where(as_wide(self.target, x) == 0, least, -jnp.inf)


@hyperparameters
class Nuclear(Penalty):
    """Nuclear norm, the sum of the singular values: strength · Σ σ_i. It favours weights of low rank.

    The σ_i are the singular values of the weights as a matrix with one column per unit.

    Args:
        strength: Non-negative number: a float, an array or an Optax schedule.
        axis: Fan-in axes, which contain the weights of one unit (a column of the matrix). Default: every axis but the
            last.

    Raises:
        ValueError: If the strength is negative, infinite or NaN, or an axis is out of range for the array.

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
    matrix: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self, "strength", "[0, inf)")

    @partitioned(number=True)
    def __call__(self, w: jax.Array) -> Cost:
        """Return the cost of `w`, a scalar."""
        x = wide(w)
        total = sum_of_values(to_rows(x, group_axes(w.ndim, self.axis))) if x.size else jnp.zeros((), real_dtype(x))
        return as_wide(self.strength, x) * total

    @partitioned()
    def prox(self, w: jax.Array, step: Number) -> jax.Array:
        """Return the proximal step: lower every singular value of `w` by `step` · strength, stopping at 0.

        The step size `step` must be a single number.
        """
        refuse_steps(self, step)
        if w.size == 0:
            return w
        x, axes = wide(w), group_axes(w.ndim, self.axis)
        matrix = to_rows(x, axes)
        by = jnp.asarray(as_wide(step, x) * limit_of_groups(self.strength, matrix, (0, 1)), real_dtype(x))
        taken, largest = clipped(matrix, by)  # `left` has 0 for singular values up to `by`
        left = x - from_rows(taken, w.shape, axes)
        return jnp.where(largest <= by, 0, left).astype(w.dtype)  # exactly 0 if all singular values are

    @partitioned(number=True)
    def linear_minimum(self, slope: jax.Array, budget: Number) -> jax.Array:
        """Return the smallest value of penalty(u) + ⟨slope, u⟩ over all arrays u with penalty(u) ≤ `budget`.

        `jaxreg.solve` computes its duality gap from this minimum.
        """
        x = wide(slope)
        rows = to_rows(x, group_axes(slope.ndim, self.axis))
        largest = _largest_singular_value(rows) if x.size else jnp.zeros(())
        return of_norm(largest, as_wide(self.strength, x), budget)
