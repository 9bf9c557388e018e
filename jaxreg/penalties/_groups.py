"""Penalties on the norms of groups of weights."""

import math

import jax
import jax.numpy as jnp

from jaxreg._checks import check, refuse_steps
from jaxreg._groups import from_rows, group_axes, group_norms, group_size, limit_of_groups, magnitudes, to_rows
from jaxreg._hyperparameters import Axis, Number, hyperparameters, static
from jaxreg._precision import as_wide, real_dtype, tiny, wide
from jaxreg._protocols import Cost, Penalty
from jaxreg._sharding import partitioned
from jaxreg.penalties._elementwise import of_norm

NEWTON_STEPS = 12
"""Number of Newton steps in `_shrink_in_metric`. In 48,000 random cases, 10 steps were always enough."""


@hyperparameters
class GroupLasso(Penalty):
    """Group lasso: strength · Σ_g √n · ‖w_g‖, summed over all groups g of n weights.

    The gradient is 0 at a group of zeros. The proximal step sets entire groups to zero. By default, a group is the
    incoming weights of one unit. With `axis=-1` on a dense kernel, a group is the outgoing weights of one input. With
    `axis=(0, 1)` on a 2D convolution kernel, a group is the window of one filter for one input channel.

    Args:
        strength: Non-negative number: a float, an array or an Optax schedule.
        axis: Axes of one group. Default: the fan-in axes, one group per unit.

    Raises:
        ValueError: If the strength is negative, infinite or NaN, or an axis is out of range for the array.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> w = jnp.array([[3.0, 0.1], [4.0, 0.1]])
        >>> print(jr.GroupLasso(2.5 / 2**0.5).prox(w, 1.0))
        [[1.5 0. ]
         [2.  0. ]]

    Reference:
        Yuan and Lin, Model selection and estimation in regression with grouped variables, 2006.
    """

    strength: Number
    axis: Axis = static(default=None)

    def __post_init__(self) -> None:
        check(self, "strength", "[0, inf)")

    def __call__(self, w: jax.Array) -> Cost:
        """Return the cost of `w`, a scalar."""
        x, axes = wide(w), group_axes(w.ndim, self.axis)
        return as_wide(self.strength, x) * _root_size(w, axes) * jnp.sum(group_norms(x, axes))

    def prox(self, w: jax.Array, step: Number) -> jax.Array:
        """Return the proximal step: shrink the norm of every group g, or set the group to 0.

        Let n be the number of weights in a group. With a single `step`, the norm ‖w_g‖ is lowered by
        step · strength · √n, stopping at 0, and the group keeps its direction. If a group contains NaN, its NaN weights
        stay NaN, and its other weights become 0.

        With an array `step` of one step size step_i per weight, the new group z minimises
        strength · √n · ‖z‖ + Σ (z_i - w_i)² / (2 · step_i). The direction of the group then changes too, because
        weights with a larger step size shrink more.
        """
        x, axes = wide(w), group_axes(w.ndim, self.axis)
        reach = as_wide(step, x) * as_wide(self.strength, x) * _root_size(w, axes)
        if jnp.ndim(step):
            return _shrink_in_metric(x, jnp.broadcast_to(reach, x.shape), axes).astype(w.dtype)
        norms = group_norms(x, axes)
        left = jnp.where(norms > reach, 1 - reach / jnp.where(norms > 0, norms, 1), 0)
        return (x * left).astype(w.dtype)

    def linear_minimum(self, slope: jax.Array, budget: Number) -> jax.Array:
        """Return the smallest value of penalty(u) + ⟨slope, u⟩ over all arrays u with penalty(u) ≤ `budget`.

        `jaxreg.solve` computes its duality gap from this minimum.
        """
        x, axes = wide(slope), group_axes(slope.ndim, self.axis)
        dual = jnp.max(group_norms(x, axes), initial=0)
        return of_norm(dual, as_wide(self.strength, x) * _root_size(slope, axes), budget)


def _root_size(w: jax.Array, axes: tuple[int, ...]) -> float:
    return math.sqrt(group_size(w.shape, axes))


def _shrink_in_metric(x: jax.Array, reach: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Return the z that minimises ‖z_g‖ + Σ (z_i - x_i)² / (2 reach_i) for each group g.

    With θ = ‖z_g‖ the optimality condition is z_i = x_i θ / (θ + reach_i). So θ is the root of φ(θ) = 1, where
    φ(θ) = Σ x_i² / (θ + reach_i)². If φ(0) ≤ 1 there is no root, and z_g is 0. As φ^(-1/2) is concave, Newton's
    method on φ^(-1/2) = 1 increases to the root from any θ below it.
    """
    norms = group_norms(x, axes)
    x = x / jnp.where(norms > 0, norms, 1)  # now θ is in [0, 1] at any scale of the weights
    reach = jnp.where(norms > 0, reach / jnp.where(norms > 0, norms, 1), 0)

    def summed(terms: jax.Array) -> jax.Array:
        return jnp.sum(terms, axes, keepdims=True)

    def ratios(theta: jax.Array) -> jax.Array:
        return jnp.where(x == 0, 0, jnp.abs(x) / jnp.where(x == 0, 1, theta + reach))

    def newton(_: int, theta: jax.Array) -> jax.Array:
        squares = jnp.square(ratios(theta))
        phi = summed(squares)
        slope = summed(jnp.where(x == 0, 0, squares / jnp.where(x == 0, 1, theta + reach)))
        return theta + phi * (jnp.sqrt(phi) - 1) / jnp.where(slope > 0, slope, 1)

    # Lower bounds of the root: no term of φ exceeds 1 there, nor does φ with the largest reach for every weight.
    largest = jnp.max(reach, axes, keepdims=True, initial=0)
    start = jnp.max(jnp.abs(x) - reach, axes, keepdims=True, initial=0)
    start = jnp.maximum(start, jnp.where(norms > 0, 1 - largest, 0))
    theta = jax.lax.fori_loop(0, NEWTON_STEPS, newton, start)
    empty = summed(jnp.square(ratios(jnp.zeros_like(theta)))) <= 1
    kept = jnp.where(x == 0, 0, x * (theta / jnp.where(x == 0, 1, theta + reach)))
    return jnp.where(empty, 0, kept * norms)


@hyperparameters
class Linf(Penalty):
    """Largest absolute value in each group g, summed over all groups: strength · Σ_g max|w_g|.

    By default, a group consists of the incoming weights of one unit. The gradient is 0 at a group of zeros. The penalty
    makes the largest weights of a group equal in magnitude, so the range of the group becomes small. A small range
    suits quantisation with one scale per group. `LinfBall` is the corresponding constraint.

    Args:
        strength: Non-negative number: a float, an array or an Optax schedule.
        axis: Axes of one group. Default: the fan-in axes, one group per unit.

    Raises:
        ValueError: If the strength is negative, infinite or NaN, or an axis is out of range for the array.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> w = jnp.array([-3.0, 2.0, 0.5])
        >>> print(jr.Linf(1.0)(w), jr.Linf(1.0).prox(w, 2.0))
        3.0 [-1.5  1.5  0.5]

    Reference:
        Parikh and Boyd, Proximal algorithms, 2014, section 6.5.
    """

    strength: Number
    axis: Axis = static(default=None)

    def __post_init__(self) -> None:
        check(self, "strength", "[0, inf)")

    def __call__(self, w: jax.Array) -> Cost:
        """Return the cost of `w`, a scalar."""
        x, axes = wide(w), group_axes(w.ndim, self.axis)
        sizes = magnitudes(x)
        return as_wide(self.strength, x) * jnp.sum(jnp.max(sizes, axes, initial=0))

    @partitioned()
    def prox(self, w: jax.Array, step: Number) -> jax.Array:
        """Return the proximal step: clip the weights of each group at a common magnitude.

        The magnitude c of a group is the solution of Σ max(|w_i| - c, 0) / step_i = strength. The sum is over the
        weights w_i of the group, and step_i is the step size of w_i. With a single `step`, all step_i are equal. If the
        sum is below the strength even at c = 0, the group becomes 0.
        """
        if w.size == 0:
            return w
        axes = group_axes(w.ndim, self.axis)
        reach = jnp.asarray(as_wide(step, wide(w)) * as_wide(self.strength, wide(w)), real_dtype(wide(w)))
        x, reach = (to_rows(each, axes) for each in (wide(w), jnp.broadcast_to(reach, w.shape)))
        sizes = jnp.abs(x)
        # If the k largest weights exceed c, c = (Σ |w_i| / reach_i - 1) / Σ 1 / reach_i. Any other k gives less.
        order = jnp.argsort(sizes, axis=1, descending=True)
        farthest = jnp.max(reach, axis=1, keepdims=True)
        shares = jnp.where(reach > 0, farthest / jnp.where(reach > 0, reach, 1), 0)
        totals, pulls = (
            jnp.cumsum(jnp.take_along_axis(each, order, axis=1), axis=1) for each in (sizes * shares, shares)
        )
        level = jnp.max((totals - farthest) / jnp.where(pulls > 0, pulls, 1), axis=1, keepdims=True, initial=0)
        rows = jnp.where((reach > 0) & (sizes > level), jnp.sign(x) * level, x)
        return from_rows(rows, w.shape, axes).astype(w.dtype)

    def linear_minimum(self, slope: jax.Array, budget: Number) -> jax.Array:
        """Return the smallest value of penalty(u) + ⟨slope, u⟩ over all arrays u with penalty(u) ≤ `budget`.

        `jaxreg.solve` computes its duality gap from this minimum.
        """
        x, axes = wide(slope), group_axes(slope.ndim, self.axis)
        return of_norm(jnp.max(jnp.sum(jnp.abs(x), axes), initial=0), as_wide(self.strength, x), budget)


@hyperparameters
class NormTarget(Penalty):
    """Squared distance of each group's norm from a target: strength/2 · Σ_g (‖w_g‖ - target)².

    By default, a group consists of the incoming weights of one unit. With `jaxreg.decay`, the norm of a group decays
    towards the target instead of 0, as in AdamWN. A group of zeros has no direction and stays zero. The penalty is not
    convex. Its gradient for a group is strength · (1 - target / ‖w_g‖) w_g.

    Args:
        strength: Non-negative number: a float, an array or an Optax schedule.
        target: Norm at which the penalty is 0. Non-negative float, array or Optax schedule. An array may contain one
            target per group.
        axis: Axes of one group. Default: the fan-in axes, one group per unit.

    Raises:
        ValueError: If `strength` or `target` is negative, infinite or NaN, or an axis is out of range for the array.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> w = jnp.array([[3.0, 0.3], [4.0, 0.4]])
        >>> print(np.asarray(jr.NormTarget(1.0, target=1.0).prox(w, 1.0)).round(4))
        [[1.8  0.45]
         [2.4  0.6 ]]

    Reference:
        Loshchilov, Weight norm control, 2023 (AdamWN).
    """

    strength: Number
    target: Number
    axis: Axis = static(default=None)

    def __post_init__(self) -> None:
        check(self, "strength", "[0, inf)")
        check(self, "target", "[0, inf)")

    def __call__(self, w: jax.Array) -> Cost:
        """Return the cost of `w`, a scalar."""
        x, axes = wide(w), group_axes(w.ndim, self.axis)
        away = group_norms(x, axes) - limit_of_groups(self.target, x, axes)
        return as_wide(self.strength, x) / 2 * jnp.sum(jnp.square(away))

    def prox(self, w: jax.Array, step: Number) -> jax.Array:
        """Return the proximal step, which moves the norm of each group towards the target.

        A norm of n becomes (n + step · strength · target) / (1 + step · strength). The group keeps its direction, and a
        group of zeros stays zero. The step size `step` must be a single number.
        """
        refuse_steps(self, step)
        x, axes = wide(w), group_axes(w.ndim, self.axis)
        norms = group_norms(x, axes)
        reach = as_wide(step, x) * as_wide(self.strength, x)
        taken = reach / (1 + reach) * (norms - limit_of_groups(self.target, x, axes))
        # The reciprocal of a subnormal norm overflows, so such a group counts as zeros.
        long = norms > tiny(x.dtype)
        return jnp.where(long, x - x / jnp.where(long, norms, 1) * taken, x).astype(w.dtype)
