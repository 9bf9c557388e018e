"""Keras's own formulas for optimisers, a penalty and constraints, including its small constant ε = 1e-7.

The results equal those of Keras 3.15. Use this module only to reproduce Keras. All other modules compute exact
projections and penalties.
"""

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxreg._checks import check, check_order
from jaxreg._complex import adjoint, squares
from jaxreg._hyperparameters import Axis, Number, hyperparameters, rate_at, static
from jaxreg._lazy import missing
from jaxreg._precision import as_wide, real_dtype, wide
from jaxreg._protocols import Constraint, Cost, Penalty
from jaxreg._sharding import partitioned
from jaxreg.constraints import _norms as exact

__all__ = ["AdamState", "MaxNorm", "MinMaxNorm", "OrthogonalRegularizer", "UnitNorm", "adam", "adamw"]

EPSILON = 1e-7

if not TYPE_CHECKING:  # type checkers would take any name for an attribute

    def __getattr__(name):
        raise missing(__name__, name)


class AdamState(NamedTuple):
    """State of `adam`: number of updates, and running means of the gradient and of its square."""

    count: jax.Array  # type: ignore[assignment]  # Optax's name, and a method of tuples
    mean: Any
    square: Any


def adam(
    learning_rate: Number = 1e-3, b1: Number = 0.9, b2: Number = 0.999, epsilon: Number = EPSILON
) -> optax.GradientTransformation:
    """Return Keras's Adam, which adds ε before the bias correction, unlike `optax.adam`.

    Let m and v be the running means of the gradient and of its square. Step t is
    w ← w - η √(1 - b2ᵗ) / (1 - b1ᵗ) · m / (√v + ε). The result differs from Keras only by rounding.

    `optax.adam(eps=1e-7)` corrects v before it adds ε. So its step is the formula above with ε · √(1 - b2ᵗ) in place of
    ε. In the first step, with the default b2, the factor √(1 - b2ᵗ) is 1/32. For gradients near 6e-7, the first steps
    of Optax and Keras then differ by up to 0.7 η. For gradients above 0.01, they differ by less than 0.001 η.

    This function is the default `optimizer` of `jaxreg.lab.Recipe`.

    Args:
        learning_rate: η: a float, an array or an Optax schedule.
        b1: Decay rate of the mean of the gradient, in [0, 1).
        b2: Decay rate of the mean of the squared gradient, in [0, 1).
        epsilon: ε, at least 0.

    Returns:
        A complete optimiser. Its updates include the learning rate and the sign.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> tx, w = jr.keras.adam(0.1), jnp.array([1.0])
        >>> updates, _ = tx.update(jnp.array([2.0]), tx.init(w))
        >>> print(np.asarray(updates).round(5))
        [-0.1]

    Reference:
        Kingma and Ba, Adam, 2015, end of section 2; Keras 3.15 `optimizers.Adam`.
    """

    def init(params: Any) -> AdamState:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return AdamState(jnp.zeros((), jnp.int32), zeros, zeros)

    def update(updates: Any, state: AdamState, params: Any = None) -> tuple[Any, AdamState]:
        count = optax.safe_increment(state.count)
        mean = jax.tree.map(lambda m, g: m + (g - m) * (1 - b1), state.mean, updates)
        square = jax.tree.map(lambda v, g: v + (jnp.square(g) - v) * (1 - b2), state.square, updates)
        rate = rate_at(learning_rate, state.count)
        time = count.astype(jnp.result_type(jnp.float32, *map(real_dtype, jax.tree.leaves(state.mean))))
        alpha = rate * jnp.sqrt(1 - b2**time) / (1 - b1**time)
        steps = jax.tree.map(lambda m, v: (-alpha * m / (jnp.sqrt(v) + epsilon)).astype(m.dtype), mean, square)
        return steps, AdamState(count, mean, square)

    return optax.GradientTransformation(init, update)


def adamw(
    learning_rate: Number = 1e-3,
    weight_decay: Number = 0.004,
    b1: Number = 0.9,
    b2: Number = 0.999,
    epsilon: Number = EPSILON,
) -> optax.GradientTransformation:
    """Return Keras's AdamW, which decays every weight, including biases.

    Each step is the decay w ← w - η λ w, followed by a step of Keras's Adam. Here η is the learning rate and λ the
    weight decay.

    To reproduce Keras's `exclude_from_weight_decay`, use `optax.partition` with `adam` for the excluded weights.

    Args:
        learning_rate: η: a float, an array or an Optax schedule.
        weight_decay: λ, multiplied by the current learning rate.
        b1: Decay rate of the mean of the gradient, in [0, 1).
        b2: Decay rate of the mean of the squared gradient, in [0, 1).
        epsilon: ε, at least 0.

    Returns:
        A complete optimiser. Its updates include the learning rate and the sign. Its `update` needs `params`.

    Raises:
        ValueError: At `update`, if `params` is missing.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> tx, w = jr.keras.adamw(0.1, weight_decay=0.5), jnp.array([1.0])
        >>> updates, _ = tx.update(jnp.array([2.0]), tx.init(w), w)
        >>> print(np.asarray(updates).round(5))
        [-0.15]

    Reference:
        Loshchilov and Hutter, Decoupled weight decay regularization, 2019; Keras 3.15 `optimizers.AdamW`.
    """
    step = adam(learning_rate, b1, b2, epsilon)

    def update(updates: Any, state: AdamState, params: Any = None) -> tuple[Any, AdamState]:
        if params is None:
            raise ValueError("jaxreg.keras.adamw got no params; call update(grads, state, params) with the parameters")
        rate = rate_at(learning_rate, state.count)
        steps, after = step.update(updates, state)
        return jax.tree.map(lambda s, w: (s - w * weight_decay * rate).astype(s.dtype), steps, params), after

    return optax.GradientTransformation(step.init, update)


@hyperparameters
class OrthogonalRegularizer(Penalty):
    """Keras's penalty on non-orthogonal rows or columns: factor · mean |cosine| of all pairs.

    A row or column of zeros counts as orthogonal to all others. The gradient of the penalty is 0 at these zeros. In
    Keras, it is NaN. If there is only one row or column to compare, there are no pairs, and the penalty is 0.

    Args:
        factor: Strength, at least 0.
        mode: Vectors to compare, "rows" or "columns".

    Raises:
        ValueError: If `factor` is negative, infinite or NaN, or `mode` is neither "rows" nor "columns". When called, if
            the array is not a matrix.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> w = jnp.array([[1.0, 1.0], [0.0, 1.0]])
        >>> print(round(float(jr.keras.OrthogonalRegularizer(1.0, mode="columns")(w)), 4))
        0.7071

    Reference:
        Keras 3.15 `regularizers.OrthogonalRegularizer`.
    """

    factor: Number = 0.01
    mode: str = static(default="rows")

    def __post_init__(self) -> None:
        check(self, "factor", "[0, inf)")
        if self.mode not in ("rows", "columns"):
            raise ValueError(f"OrthogonalRegularizer: mode is {self.mode!r}; expected 'rows' or 'columns'")

    @partitioned(number=True)
    def __call__(self, w: jax.Array) -> Cost:
        """Return the cost of `w`, a scalar."""
        if w.ndim != 2:
            raise ValueError(
                f"OrthogonalRegularizer got weights of shape {w.shape}; expected a matrix. Use a pattern that matches "
                "only matrices"
            )
        x = wide(w)
        vectors = x if self.mode == "rows" else x.T
        lengths = jnp.sum(squares(vectors), axis=1, keepdims=True)
        # The gradient of the square root is infinite at 0, so 0 must not reach it.
        inverse = jnp.where(lengths > 0, jax.lax.rsqrt(jnp.where(lengths > 0, lengths, 1)), 0)
        unit = vectors * jnp.minimum(inverse, 1 / EPSILON)
        count = len(vectors)
        others = (unit @ adjoint(unit)) * (1 - jnp.eye(count, dtype=x.dtype))
        return as_wide(self.factor, x) * 0.5 * jnp.sum(jnp.abs(others)) / max(count * (count - 1) / 2, 1)


@hyperparameters
class MaxNorm(Constraint):
    """Keras's MaxNorm, which divides by norm + ε, with ε = 1e-7. So groups below the limit shrink slightly too.

    Each group w_j becomes w_j · clip(‖w_j‖, 0, limit) / (ε + ‖w_j‖).

    Args:
        limit: Positive number.
        axis: Axes that one norm sums over. Default: 0, for convolutions too, as in Keras.

    Raises:
        ValueError: If the limit is 0, negative, infinite or NaN.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> w = jr.keras.MaxNorm(1.0)(jnp.array([[3.0, 3e-5], [4.0, 4e-5]]))
        >>> print(np.asarray(w * 1e5).round(2))  # not the identity inside the ball
        [[6.00e+04 2.99e+00]
         [8.00e+04 3.99e+00]]

    Reference:
        Keras 3.15 `constraints.MaxNorm`.
    """

    limit: Number = 2.0
    axis: Axis = static(default=0)

    def __post_init__(self) -> None:
        check(self, "limit", "(0, inf)")

    def __call__(self, w: jax.Array) -> jax.Array:
        """Apply Keras's formula to `w`."""
        x = wide(w)
        norms = jnp.sqrt(jnp.sum(squares(x), self.axis, keepdims=True))
        return (x * (jnp.clip(norms, 0, self.limit) / (EPSILON + norms))).astype(w.dtype)

    def exact_rule(self) -> Any:
        """Return `jaxreg.MaxNorm` with the same limit and axis. Its formula has no ε, so it projects exactly."""
        return exact.MaxNorm(self.limit, self.axis)


@hyperparameters
class MinMaxNorm(Constraint):
    """Keras's MinMaxNorm, which divides by norm + ε, with ε = 1e-7. So groups within the limits shrink slightly too.

    Each group w_j becomes w_j · (rate · clip(‖w_j‖, min, max) + (1 - rate) ‖w_j‖) / (ε + ‖w_j‖).

    Args:
        min: Lower limit, at least 0.
        max: Upper limit, above 0 and at least `min`.
        rate: Number above 0 and at most 1. If a norm is outside the limits, one call moves it this share of the way to
            the nearer limit. A group of zeros stays 0.
        axis: Axes that one norm sums over. Default: 0, as in Keras.

    Raises:
        ValueError: If `min` is negative, infinite or NaN. Also if `max` is 0, negative, infinite, NaN or below `min`.
            Also if the rate is not in (0, 1].

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> w = jr.keras.MinMaxNorm(1.0, 2.0, rate=0.5)(jnp.array([[0.0, 3.0], [4.0, 0.0]]))
        >>> print(np.asarray(w).round(5))
        [[0.  2.5]
         [3.  0. ]]

    Reference:
        Keras 3.15 `constraints.MinMaxNorm`.
    """

    convex: ClassVar[bool] = False

    min: Number = 0.0
    max: Number = 1.0
    rate: Number = 1.0
    axis: Axis = static(default=0)

    def __post_init__(self) -> None:
        check(self, "min", "[0, inf)")
        check(self, "max", "(0, inf)")
        check_order(self, "min", "max")
        check(self, "rate", "(0, 1]")

    def __call__(self, w: jax.Array) -> jax.Array:
        """Apply Keras's formula to `w`."""
        x = wide(w)
        norms = jnp.sqrt(jnp.sum(squares(x), self.axis, keepdims=True))
        goal = self.rate * jnp.clip(norms, self.min, self.max) + (1 - self.rate) * norms
        return (x * (goal / (EPSILON + norms))).astype(w.dtype)

    def whole_way(self) -> Any:
        """Return the constraint with `rate=1`. One call then moves the norms all the way to their limits."""
        return dataclasses.replace(self, rate=1.0)

    def exact_rule(self) -> Any:
        """Return `jaxreg.MinMaxNorm` with the same limits and axis, and rate 1.

        Its formula has no ε, so it projects exactly.
        """
        return exact.MinMaxNorm(self.min, self.max, axis=self.axis)


@hyperparameters
class UnitNorm(Constraint):
    """Keras's UnitNorm, which divides by norm + ε, with ε = 1e-7. So a group of zeros stays zero.

    Each group w_j becomes w_j / (ε + ‖w_j‖).

    Args:
        axis: Axes that one norm sums over. Default: 0, as in Keras.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> print(np.asarray(jr.keras.UnitNorm()(jnp.array([[3.0, 0.0], [4.0, 0.0]]))).round(5))
        [[0.6 0. ]
         [0.8 0. ]]

    Reference:
        Keras 3.15 `constraints.UnitNorm`.
    """

    convex: ClassVar[bool] = False

    axis: Axis = static(default=0)

    def __call__(self, w: jax.Array) -> jax.Array:
        """Apply Keras's formula to `w`."""
        x = wide(w)
        return (x / (EPSILON + jnp.sqrt(jnp.sum(squares(x), self.axis, keepdims=True)))).astype(w.dtype)

    def exact_rule(self) -> Any:
        """Return `jaxreg.UnitNorm` with the same axis. Its formula has no ε, so it projects exactly."""
        return exact.UnitNorm(self.axis)
