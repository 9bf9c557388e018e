"""Penalties: a weight array -> its cost, and its proximal step.

Each is a pytree whose hyperparameters are leaves. `penalty(w)` is a scalar in float32 (float64 for float64
weights); `penalty.prox(w, step)` is argmin_z penalty(z) + ‖z - w‖² / (2 step), in the shape and dtype of `w`.
"""

import jax
import jax.numpy as jnp

from jaxreg.objects import Number, check, hyperparameters, wide


def _soft_threshold(x: jax.Array, threshold: jax.Array) -> jax.Array:
    return jnp.sign(x) * jnp.maximum(jnp.abs(x) - threshold, 0)


def _sum_abs(x: jax.Array) -> jax.Array:
    # jax.grad(jnp.abs)(0.) is 1, which lets Adam kick every zero weight; the sign held fixed gives 0.
    return jnp.sum(x * jax.lax.stop_gradient(jnp.sign(x)))


@hyperparameters
class L1:
    """Sum of absolute values: strength · Σ|w|, with gradient 0 at 0.

    Args:
        strength: Number of at least 0; a float, an array or an Optax schedule.

    Raises:
        ValueError: If the strength is negative, infinite or NaN.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> w = jnp.array([-3.0, 0.5, 0.0])
        >>> print(jr.L1(0.1)(w), jr.L1(0.1).prox(w, 10.0))
        0.35 [-2.  0.  0.]

    Reference:
        Tibshirani, Regression shrinkage and selection via the lasso, 1996; Keras `regularizers.L1`.
    """

    strength: Number

    def __post_init__(self) -> None:
        check(self, "strength")

    def __call__(self, w: jax.Array) -> jax.Array:
        """The cost of `w`, a scalar."""
        return self.strength * _sum_abs(wide(w))

    def prox(self, w: jax.Array, step: Number) -> jax.Array:
        """The proximal step: every weight `step` · strength nearer to 0, and no further."""
        return _soft_threshold(wide(w), step * self.strength).astype(w.dtype)


@hyperparameters
class L2:
    """Sum of squares: strength · Σw², without a factor ½, as in Keras.

    A coupled decay of 2 · strength has the same gradient.

    Args:
        strength: Number of at least 0; a float, an array or an Optax schedule.

    Raises:
        ValueError: If the strength is negative, infinite or NaN.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> w = jnp.array([3.0, 4.0])
        >>> print(jr.L2(0.1)(w), jr.L2(0.1).prox(w, 5.0))
        2.5 [1.5 2. ]

    Reference:
        Krogh and Hertz, A simple weight decay can improve generalization, 1991; Keras `regularizers.L2`.
    """

    strength: Number

    def __post_init__(self) -> None:
        check(self, "strength")

    def __call__(self, w: jax.Array) -> jax.Array:
        """The cost of `w`, a scalar."""
        return self.strength * jnp.sum(jnp.square(wide(w)))

    def prox(self, w: jax.Array, step: Number) -> jax.Array:
        """The proximal step: w / (1 + 2 · step · strength)."""
        return (wide(w) / (1 + 2 * step * self.strength)).astype(w.dtype)


@hyperparameters
class L1L2:
    """Sum of absolute values and of squares (elastic net): l1 · Σ|w| + l2 · Σw².

    Args:
        l1: Strength of the absolute values, at least 0; a float, an array or an Optax schedule.
        l2: Strength of the squares, likewise.

    Raises:
        ValueError: If a strength is negative, infinite or NaN.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> w = jnp.array([-3.0, 0.5])
        >>> print(jr.L1L2(l1=0.1, l2=0.1).prox(w, 5.0))
        [-1.25  0.  ]

    Reference:
        Zou and Hastie, Regularization and variable selection via the elastic net, 2005; Keras `regularizers.L1L2`.
    """

    l1: Number
    l2: Number

    def __post_init__(self) -> None:
        check(self, "l1")
        check(self, "l2")

    def __call__(self, w: jax.Array) -> jax.Array:
        """The cost of `w`, a scalar."""
        return L1(self.l1)(w) + L2(self.l2)(w)

    def prox(self, w: jax.Array, step: Number) -> jax.Array:
        """The proximal step: that of the absolute values, then that of the squares."""
        return (_soft_threshold(wide(w), step * self.l1) / (1 + 2 * step * self.l2)).astype(w.dtype)
