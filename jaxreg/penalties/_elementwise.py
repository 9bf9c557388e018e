"""Penalties on single weights, with their proximal steps.

Each penalty is a pytree whose leaves are its hyperparameters. `penalty(w)` is a scalar in float32 (float64 for float64
weights). `penalty.prox(w, step)` is argmin_z penalty(z) + Σ (z - w)² / (2 step), in the shape and dtype of `w`. The
step size `step` is one number, or an array with one number per weight, as in an adaptive optimiser (see
`jaxreg.proximal_adam`).
"""

import jax
import jax.numpy as jnp

from jaxreg._checks import check
from jaxreg._complex import squares
from jaxreg._groups import directions, magnitudes
from jaxreg._hyperparameters import Number, hyperparameters
from jaxreg._precision import as_wide, wide
from jaxreg._protocols import Cost, Penalty


def _soft_threshold(x: jax.Array, threshold: jax.Array) -> jax.Array:
    return jnp.sign(x) * jnp.maximum(jnp.abs(x) - threshold, 0)


def of_norm(dual: jax.Array, strength: Number, budget: Number) -> jax.Array:
    """Return the minimum over u of strength · norm(u) + ⟨slope, u⟩, subject to strength · norm(u) ≤ `budget`.

    Args:
        dual: Dual norm of the slope: its largest inner product with a point of norm 1.
        strength: Strength of the norm.
        budget: Upper limit of strength · norm(u).
    """
    none = strength <= 0
    over = jnp.maximum(dual / jnp.where(none, 1, strength) - 1, 0)
    bound = jnp.where(over > 0, -budget * jnp.where(over > 0, over, 1), 0)
    return jnp.where(none, jnp.where(dual > 0, -jnp.inf, 0), bound).astype(dual.dtype)


def _of_squares(total: jax.Array, strength: Number) -> jax.Array:
    # The minimum of ⟨slope, u⟩ + strength · Σu², from the sum of squares of the slope.
    none = strength <= 0
    return jnp.where(none, jnp.where(total > 0, -jnp.inf, 0), -total / (4 * jnp.where(none, 1, strength)))


@hyperparameters
class L1(Penalty):
    """Sum of absolute values: strength · Σ|w|, with gradient 0 at 0.

    With the JAX backend, Keras has the gradient `strength` at 0 instead. So weights that start at 0, such as biases,
    differ from Keras's weights after one step.

    Args:
        strength: Non-negative number: a float, an array or an Optax schedule.

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
        check(self, "strength", "[0, inf)")

    def __call__(self, w: jax.Array) -> Cost:
        """Return the cost of `w`, a scalar."""
        x = wide(w)
        return as_wide(self.strength, x) * jnp.sum(magnitudes(x))

    def prox(self, w: jax.Array, step: Number) -> jax.Array:
        """Return the proximal step: move every weight towards 0 by `step` · strength, stopping at 0."""
        x = wide(w)
        return _soft_threshold(x, as_wide(step, x) * as_wide(self.strength, x)).astype(w.dtype)

    def linear_minimum(self, slope: jax.Array, budget: Number) -> jax.Array:
        """Return the smallest value of penalty(u) + ⟨slope, u⟩ over all arrays u with penalty(u) ≤ `budget`."""
        x = wide(slope)
        return of_norm(jnp.max(jnp.abs(x), initial=0), as_wide(self.strength, x), budget)


@hyperparameters
class L2(Penalty):
    """Sum of squares: strength · Σw², without a factor ½, as in Keras.

    The gradient equals that of coupled weight decay d = 2 · strength.

    Args:
        strength: Non-negative number: a float, an array or an Optax schedule.

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
        check(self, "strength", "[0, inf)")

    def __call__(self, w: jax.Array) -> Cost:
        """Return the cost of `w`, a scalar."""
        x = wide(w)
        return as_wide(self.strength, x) * jnp.sum(squares(x))

    def prox(self, w: jax.Array, step: Number) -> jax.Array:
        """Return the proximal step: w / (1 + 2 · step · strength)."""
        x = wide(w)
        return (x / (1 + 2 * as_wide(step, x) * as_wide(self.strength, x))).astype(w.dtype)

    def linear_minimum(self, slope: jax.Array, budget: Number) -> jax.Array:
        """Return the smallest value of penalty(u) + ⟨slope, u⟩ over all arrays u.

        Other penalties, such as `L1`, only consider arrays with penalty(u) ≤ `budget`, because otherwise the minimum
        may be -∞. Here the minimum is finite for any positive strength, so `budget` is not used.
        """
        x = wide(slope)
        return _of_squares(jnp.sum(squares(x)), as_wide(self.strength, x))


@hyperparameters
class L1L2(Penalty):
    """Sum of absolute values and of squares (elastic net): l1 · Σ|w| + l2 · Σw².

    The gradient at 0 is 0. With the JAX backend, Keras has the gradient `l1` at 0 instead. So weights that start at 0,
    such as biases, differ from Keras's weights after one step.

    Args:
        l1: Strength of the absolute values, at least 0: a float, an array or an Optax schedule.
        l2: Strength of the squares, at least 0: a float, an array or an Optax schedule.

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
        check(self, "l1", "[0, inf)")
        check(self, "l2", "[0, inf)")

    def __call__(self, w: jax.Array) -> Cost:
        """Return the cost of `w`, a scalar."""
        return L1(self.l1)(w) + L2(self.l2)(w)

    def prox(self, w: jax.Array, step: Number) -> jax.Array:
        """Return the proximal step: a soft threshold at `step` · l1, then division by 1 + 2 · `step` · l2."""
        x = wide(w)
        step, l1, l2 = (as_wide(value, x) for value in (step, self.l1, self.l2))
        return (_soft_threshold(x, step * l1) / (1 + 2 * step * l2)).astype(w.dtype)

    def linear_minimum(self, slope: jax.Array, budget: Number) -> jax.Array:
        """Return a lower bound on penalty(u) + ⟨slope, u⟩ for all arrays u with penalty(u) ≤ `budget`.

        The bound is the larger of two minima. The first is that of l1 · Σ|u| + ⟨slope, u⟩ over all u with
        l1 · Σ|u| ≤ `budget`. The second is that of penalty(u) + ⟨slope, u⟩ over all u, without a condition.
        """
        # Dropping either part gives a lower bound. The larger one is the minimum if one of the strengths is 0.
        x = wide(slope)
        excess = _soft_threshold(jnp.abs(x), as_wide(self.l1, x))
        without_l2 = L1(self.l1).linear_minimum(slope, budget)
        return jnp.maximum(_of_squares(jnp.sum(jnp.square(excess)), as_wide(self.l2, x)), without_l2)


@hyperparameters
class Lp(Penalty):
    """Sum of p-th powers of absolute values: strength · Σ|w|^p, with gradient 0 at 0.

    For p < 1 the gradient grows without limit near 0, so gradient steps can become very large. For p = 1 the gradient
    jumps at 0, so gradient steps move small weights back and forth across 0. In both cases, use `jaxreg.p_norm_decay`.
    It shrinks weights towards 0, but never moves them across 0.

    Args:
        strength: Non-negative number: a float, an array or an Optax schedule.
        p: Power, above 0 and at most 2: a float, an array or an Optax schedule.

    Raises:
        ValueError: If the strength is negative, infinite or NaN, or `p` is not in (0, 2].

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> print(jr.Lp(0.5, p=0.5)(jnp.array([4.0, 0.0, -1.0])))
        1.5

    Reference:
        Frank and Friedman, A statistical view of some chemometrics regression tools, 1993 (bridge regression).
    """

    strength: Number
    p: Number

    def __post_init__(self) -> None:
        check(self, "strength", "[0, inf)")
        check(self, "p", "(0, 2]")

    def __call__(self, w: jax.Array) -> Cost:
        """Return the cost of `w`, a scalar."""
        x = wide(w)
        powers = jnp.power(jnp.where(x == 0, 1, jnp.abs(x)), as_wide(self.p, x))
        return as_wide(self.strength, x) * jnp.sum(jnp.where(x == 0, 0, powers))


@hyperparameters
class MCP(Penalty):
    """Minimax concave penalty (MCP): like L1 for small weights, and constant for |w| ≥ γ · strength.

    With a = min(|w|, γ · strength), the penalty is Σ (strength · a - a² / (2γ)). Like L1, it sets weights to 0. Unlike
    L1, it does not shrink weights larger than γ · strength. It is not convex.

    Args:
        strength: Slope of the penalty just above 0, at least 0: a float, an array or an Optax schedule.
        gamma: γ, above 0: a float, an array or an Optax schedule. A larger γ makes the penalty more similar to L1.

    Raises:
        ValueError: If the strength is negative, infinite or NaN, or γ is not above 0 and finite.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> w = jnp.array([-3.0, 1.5, 0.5])
        >>> print(jr.MCP(1.0, gamma=2.0)(w), jr.MCP(1.0, gamma=2.0).prox(w, 1.0))
        2.375 [-3.  1.  0.]

    Reference:
        Zhang, Nearly unbiased variable selection under minimax concave penalty, 2010.
    """

    strength: Number
    gamma: Number = 3.0

    def __post_init__(self) -> None:
        check(self, "strength", "[0, inf)")
        check(self, "gamma", "(0, inf)")

    def __call__(self, w: jax.Array) -> Cost:
        """Return the cost of `w`, a scalar."""
        x = wide(w)
        strength, gamma = as_wide(self.strength, x), as_wide(self.gamma, x)
        sizes = jnp.minimum(magnitudes(x), gamma * strength)
        return jnp.sum(sizes * (strength - sizes / (2 * gamma)))

    def prox(self, w: jax.Array, step: Number) -> jax.Array:
        """Return the proximal step: small weights become 0, and large weights do not change.

        Let γ = `gamma`. Weights with |w| ≤ step · strength become 0. Weights with |w| > γ · strength do not change. In
        between, the result grows linearly with |w| (a firm threshold).

        If `step` is at least γ, the proximal step is instead a hard threshold. Weights with
        |w| ≤ strength · √(step · γ) become 0, and all other weights do not change.
        """
        x = wide(w)
        step, strength, gamma = (as_wide(value, x) for value in (step, self.strength, self.gamma))
        hard = step >= gamma
        between = _soft_threshold(x, step * strength) / jnp.where(hard, 1, 1 - step / gamma)
        free = jnp.abs(x) > strength * jnp.where(hard, jnp.sqrt(step * gamma), gamma)
        return jnp.where(free, x, jnp.where(hard, 0, between)).astype(w.dtype)


@hyperparameters
class Huber(Penalty):
    """Huber penalty: quadratic for |w| ≤ δ, and linear for larger |w|.

    The penalty is strength · Σ h(w). For |w| ≤ δ, h(w) = w² / 2, so the gradient grows with the weight. For |w| > δ,
    h(w) = δ (|w| - δ / 2), so the gradient has constant magnitude.

    With Adam, `jaxreg.decay(Huber(d, δ))` gives AdamHD with weight decay d. If δ is larger than every |w|, the result
    is AdamW with weight decay d.

    Args:
        strength: Non-negative number: a float, an array or an Optax schedule.
        delta: δ, above 0: a float, an array or an Optax schedule.

    Raises:
        ValueError: If the strength is negative, infinite or NaN, or δ is not above 0 and finite.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> w = jnp.array([-3.0, 0.5])
        >>> print(jr.Huber(1.0, delta=1.0)(w), jr.Huber(1.0, delta=1.0).prox(w, 1.0))
        2.625 [-2.    0.25]

    Reference:
        Huber, Robust estimation of a location parameter, 1964; Guo and Fan, AdamHD: decoupled Huber decay
        regularization for language model pre-training, 2025.
    """

    strength: Number
    delta: Number = 1.0

    def __post_init__(self) -> None:
        check(self, "strength", "[0, inf)")
        check(self, "delta", "(0, inf)")

    def __call__(self, w: jax.Array) -> Cost:
        """Return the cost of `w`, a scalar."""
        x = wide(w)
        sizes = magnitudes(x)
        near = jnp.minimum(sizes, as_wide(self.delta, x))
        return as_wide(self.strength, x) * jnp.sum(near * (sizes - near / 2))

    def prox(self, w: jax.Array, step: Number) -> jax.Array:
        """Return the proximal step of ½ strength · Σw², but move no weight by more than `step` · strength · `delta`."""
        x = wide(w)
        reach = as_wide(step, x) * as_wide(self.strength, x)
        sizes = magnitudes(x)
        return (directions(x) * (sizes - reach * jnp.minimum(sizes / (1 + reach), as_wide(self.delta, x)))).astype(
            w.dtype
        )


@hyperparameters
class SCAD(Penalty):
    """Smoothly clipped absolute deviation (SCAD): like L1 for small weights and constant for large ones.

    With s = strength, the cost of a weight is

    - s |w| if |w| ≤ s
    - (2 γ s |w| - w² - s²) / (2 (γ - 1)) if s < |w| ≤ γ s
    - s² (γ + 1) / 2 if |w| > γ s

    So the slope is s up to |w| = s. It then falls linearly to 0 at |w| = γ s, and stays 0. Like L1, the penalty sets
    weights to 0. Unlike L1, it does not shrink large weights. It is not convex.

    Args:
        strength: Slope of the penalty just above 0, at least 0: a float, an array or an Optax schedule.
        gamma: γ, above 2: a float, an array or an Optax schedule.

    Raises:
        ValueError: If the strength is negative, infinite or NaN, or γ is not above 2 and finite.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> w = jnp.array([-5.0, 2.5, 1.5, 0.5])
        >>> print(np.asarray(jr.SCAD(1.0).prox(w, 1.0)).round(3))
        [-5.     1.794  0.5    0.   ]

    Reference:
        Fan and Li, Variable selection via nonconcave penalized likelihood and its oracle properties, 2001.
    """

    strength: Number
    gamma: Number = 3.7

    def __post_init__(self) -> None:
        check(self, "strength", "[0, inf)")
        check(self, "gamma", "(2, inf)")

    def __call__(self, w: jax.Array) -> Cost:
        """Return the cost of `w`, a scalar."""
        x = wide(w)
        return jnp.sum(_clipped_deviation(magnitudes(x), as_wide(self.strength, x), as_wide(self.gamma, x)))

    def prox(self, w: jax.Array, step: Number) -> jax.Array:
        """Return the proximal step: a soft threshold for small weights, and no change for large weights.

        Let γ = `gamma`. Weights with |w| ≤ (1 + step) · strength move towards 0 by step · strength, stopping at 0 (the
        soft threshold). Weights with |w| > γ · strength do not change. In between, the result grows linearly with |w|.

        This holds if `step` is below γ - 1. For a larger step, the two ranges would overlap. Each weight then gets the
        soft threshold or does not change, whichever value z has the lower objective step · penalty(z) + (z - w)² / 2.
        """
        x = wide(w)
        step, strength, gamma = (as_wide(value, x) for value in (step, self.strength, self.gamma))
        sizes = magnitudes(x)
        steep = step >= gamma - 1
        soft = jnp.minimum(jnp.maximum(sizes - step * strength, 0), jnp.maximum(strength, 0))
        line = ((gamma - 1) * sizes - step * gamma * strength) / jnp.where(steep, 1, gamma - 1 - step)
        gentle = jnp.where(sizes > strength * (1 + step), line, jnp.maximum(sizes - step * strength, 0))
        free = jnp.maximum(sizes, gamma * strength)

        def objective(z: jax.Array) -> jax.Array:
            return step * _clipped_deviation(z, strength, gamma) + jnp.square(z - sizes) / 2

        better = jnp.where(objective(soft) < objective(free), soft, free)
        gentle = jnp.where(sizes > gamma * strength, sizes, gentle)
        return (directions(x) * jnp.where(steep, better, gentle)).astype(w.dtype)


def _clipped_deviation(sizes: jax.Array, strength: Number, gamma: Number) -> jax.Array:
    near = jnp.minimum(sizes, gamma * strength)  # the cost is constant from there on
    bent = (2 * gamma * strength * near - jnp.square(near) - jnp.square(strength)) / (2 * (gamma - 1))
    return jnp.where(near <= strength, strength * near, bent)


@hyperparameters
class LogSum(Penalty):
    """Sum of logarithms of absolute values: strength · Σ log(1 + |w| / ε), with gradient 0 at 0.

    The slope strength / (ε + |w|) is largest near 0. So the penalty sets more weights to 0 than L1, and shrinks large
    weights less. It is not convex.

    Args:
        strength: Non-negative number: a float, an array or an Optax schedule.
        epsilon: ε, above 0: a float, an array or an Optax schedule. At |w| = ε the slope is half of the slope near 0.

    Raises:
        ValueError: If the strength is negative, infinite or NaN, or ε is not above 0 and finite.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> w = jnp.array([-3.0, 0.5])
        >>> print(np.asarray(jr.LogSum(1.0, epsilon=1.0).prox(w, 1.0)).round(4))
        [-2.7321  0.    ]

    Reference:
        Candès, Wakin and Boyd, Enhancing sparsity by reweighted ℓ1 minimization, 2008.
    """

    strength: Number
    epsilon: Number = 1.0

    def __post_init__(self) -> None:
        check(self, "strength", "[0, inf)")
        check(self, "epsilon", "(0, inf)")

    def __call__(self, w: jax.Array) -> Cost:
        """Return the cost of `w`, a scalar."""
        x = wide(w)
        return as_wide(self.strength, x) * jnp.sum(jnp.log1p(magnitudes(x) / as_wide(self.epsilon, x)))

    def prox(self, w: jax.Array, step: Number) -> jax.Array:
        """Return the proximal step: small weights become 0, and large weights shrink less than medium ones.

        A weight that does not become 0 keeps its sign. With ε = `epsilon` and s = step · strength, its new magnitude is
        the larger solution z of (z - |w|) (ε + z) + s = 0.
        """
        x = wide(w)
        epsilon = as_wide(self.epsilon, x)
        reach = as_wide(step, x) * as_wide(self.strength, x)
        sizes = magnitudes(x)
        far = sizes + epsilon
        share = 4 * reach / far / far
        solvable = share < 1
        taken = far * share / (2 + 2 * jnp.sqrt(jnp.where(solvable, 1 - share, 1)))
        root = jnp.maximum(sizes - taken, 0)
        better = reach * jnp.log1p(root / epsilon) + jnp.square(taken) / 2 <= jnp.square(sizes) / 2
        kept = jnp.where(solvable & better, root, 0)
        return (directions(x) * jnp.where(jnp.isnan(sizes), sizes, kept)).astype(w.dtype)
