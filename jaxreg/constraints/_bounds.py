"""Constraints on single weights: lower and upper bounds. Each weight is bounded by itself, so there is no `axis`."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._checks import check, check_order, refuse_complex
from jaxreg._complex import from_pairs, to_pairs
from jaxreg._hyperparameters import Number, hyperparameters
from jaxreg._precision import as_wide, beside, real_dtype, wide
from jaxreg._protocols import Constraint, Limits
from jaxreg._sharding import partitioned
from jaxreg.constraints._norms import shrunk


@partitioned()
def clip(w: jax.Array, low: Number, high: Number) -> jax.Array:
    """Clip `w` to the interval from `low` to `high`.

    The bounds are first cast to the dtype of `w`. The lower bound is rounded up, and the upper bound is rounded down.
    """
    floor, ceiling = bounds(w, low, high)
    # Not `maximum` and `minimum`, which flush subnormal weights to 0.
    return jnp.where(w < floor, floor, jnp.where(w > ceiling, ceiling, w))


def bounds(w: jax.Array, low: Number, high: Number) -> tuple[jax.Array, jax.Array]:
    """Cast two bounds to the dtype of `w`, rounding the lower bound up and the upper bound down."""
    exact = wide(w).dtype
    lowest, highest = jnp.asarray(low, exact), jnp.asarray(high, exact)
    floor, ceiling = lowest.astype(w.dtype), highest.astype(w.dtype)
    if w.dtype != exact:
        up, down = jnp.full_like(floor, jnp.inf), jnp.full_like(ceiling, -jnp.inf)
        floor = jnp.where(floor.astype(exact) < lowest, beside(floor, up), floor)
        ceiling = jnp.where(ceiling.astype(exact) > highest, beside(ceiling, down), ceiling)
    return floor, jnp.where(ceiling < floor, floor, ceiling)


@hyperparameters
class NonNeg(Constraint):
    """Non-negative weights: {w : w ≥ 0}, projected by max(w, 0).

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> print(jr.NonNeg()(jnp.array([-1.0, 2.0])))
        [0. 2.]

    Reference:
        Keras `constraints.NonNeg`; Optax `projections.projection_non_negative`.
    """

    box: ClassVar[bool] = True
    cone: ClassVar[bool] = True

    def __call__(self, w: jax.Array) -> jax.Array:
        """Return the nearest array in the set."""
        refuse_complex(self, w)
        return jnp.where(w < 0, jnp.zeros_like(w), w)

    def bounds(self) -> Limits:
        """Return 0 and infinity, the lower and the upper bound of every weight."""
        return 0.0, np.inf

    def needs_order(self) -> bool:
        """Return True: the constraint rejects complex weights, because complex numbers have no order."""
        return True


@hyperparameters
class Box(Constraint):
    """Lower and upper bound on every weight: {w : low ≤ w ≤ high}, projected by clipping.

    Args:
        low: Lower bound: a float, an array that broadcasts to the weights, or an Optax schedule. May be -inf.
        high: Upper bound, at least `low`: a float, an array that broadcasts to the weights, or an Optax schedule. May
            be inf.

    Raises:
        ValueError: If a bound is NaN or `low` is above `high`.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> print(jr.Box(-0.5, 1.0)(jnp.array([-2.0, 0.25, 3.0])))
        [-0.5   0.25  1.  ]

    Reference:
        Optax `projections.projection_box`. The Optax function sets subnormal weights to 0 and may round bounds
        outwards. `Box` does neither.
    """

    low: Number
    high: Number
    box: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self, "low", "[-inf, inf]")
        check(self, "high", "[-inf, inf]")
        check_order(self, "low", "high")

    def __call__(self, w: jax.Array) -> jax.Array:
        """Return the nearest array in the set. Weights between the bounds are returned unchanged."""
        refuse_complex(self, w)
        return clip(w, self.low, self.high)

    def lmo(self, direction: jax.Array) -> jax.Array:
        """Return the minimiser z of ⟨direction, z⟩ over the set. The bounds must be finite.

        An entry of z is `low` if its direction is positive, and `high` if its direction is negative. If its direction
        is 0, the entry is the number from `low` to `high` that is nearest to 0.
        """
        x = wide(direction)
        low, high = (jnp.asarray(bound, x.dtype) for bound in self.bounds())
        ends = jnp.where(x > 0, low, jnp.where(x < 0, high, jnp.abs(x)))
        return clip(ends.astype(direction.dtype), self.low, self.high)

    def bounds(self) -> Limits:
        """Return `low` and `high`, the bounds of every weight."""
        return self.low, self.high

    def needs_order(self) -> bool:
        """Return True: the constraint rejects complex weights, because complex numbers have no order."""
        return True


@hyperparameters
class LinfBall(Constraint):
    """Limit on the magnitude of every weight: {w : max|w| ≤ radius}, projected by clipping.

    Complex weights keep their phase.

    Args:
        radius: Non-negative number: a float, an array or an Optax schedule. Infinity means no constraint.

    Raises:
        ValueError: If the radius is negative or NaN.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> print(jr.LinfBall(1.0)(jnp.array([-2.0, 0.25, 3.0])))
        [-1.    0.25  1.  ]

    Reference:
        Optax `projections.projection_linf_ball`.
    """

    radius: Number
    box: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self, "radius", "[0, inf]")

    def __call__(self, w: jax.Array) -> jax.Array:
        """Return the nearest array in the set. Weights within the radius are returned unchanged."""
        if jnp.iscomplexobj(w):
            limit = jnp.asarray(self.radius, real_dtype(wide(w)))
            return from_pairs(shrunk(to_pairs(wide(w)), limit[..., None], (w.ndim,)))
        return clip(w, *self.bounds())

    def lmo(self, direction: jax.Array) -> jax.Array:
        """Return the minimiser z of ⟨direction, z⟩ over the set: -radius · sign(direction)."""
        x = wide(direction)
        return self((-as_wide(self.radius, x) * jnp.sign(x)).astype(direction.dtype))

    def bounds(self) -> Limits:
        """Return -radius and radius, the lower and the upper bound of every weight."""
        return -self.radius, self.radius
