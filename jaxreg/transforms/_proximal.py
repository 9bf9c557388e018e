"""Proximal steps as Optax transformations. With penalties such as L1, they can set weights exactly to 0."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxreg._checks import check_number
from jaxreg._hyperparameters import Number, rate_at
from jaxreg._precision import wide
from jaxreg._protocols import PenaltyRules, Rule, Tree
from jaxreg.rules._evaluate import prox_leaf
from jaxreg.rules._matching import Leaf, assign
from jaxreg.transforms._base import (
    leaves_like,
    map_updates,
    per_leaf,
    refuse_constraints,
    refuse_other_leaves,
    require_params,
    update_towards,
    with_penalties,
)


def proximal(rules: PenaltyRules, learning_rate: Number) -> optax.GradientTransformation:
    """Apply the proximal step of the penalties after each update, with the learning rate as step size.

    Put the transformation after the learning rate in the chain. Let u be the optimiser's direction and η the learning
    rate, so that the optimiser moves the weights w to w - ηu. A step with this transformation is

        w ← argmin_z η · penalty(z) + ‖z - (w - ηu)‖² / 2.

    If the optimiser in the chain is SGD, training minimises loss + penalty. `L1` and `GroupLasso` then set weights
    exactly to 0.

    If the optimiser is Adam, training converges to a different point, because Adam has a separate step size per weight.
    To minimise loss + penalty with Adam, use `jaxreg.proximal_adam`. Adam with the penalty `L2(d / 2)` is the proximal
    form of AdamW with the decay d: w ← (w - ηu) / (1 + ηd).

    Args:
        rules: Penalties by path pattern, or one penalty for all kernels. Each penalty must have a proximal step.
            Strengths are floats, arrays or Optax schedules.
        learning_rate: η, the learning rate of the optimiser, at least 0: a float, an array or an Optax schedule.

    Returns:
        A gradient transformation. Its state counts the updates. Its `update` needs `params`.

    Raises:
        ValueError: If a number is out of range. At `init`, if a pattern matches no leaf, or two patterns of equal
            precedence match one leaf (see `jaxreg.explain`). At `update`, if `params` is missing.
        TypeError: At `update`, if a rule has no proximal step.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr, optax
        >>> params = {"kernel": jnp.array([[1.0], [-0.1]])}
        >>> tx = optax.chain(optax.sgd(0.5), jr.proximal(jr.L1(0.5), 0.5))
        >>> updates, _ = tx.update({"kernel": jnp.array([[0.5], [0.0]])}, tx.init(params), params)
        >>> print(optax.apply_updates(params, updates)["kernel"].ravel())
        [0.5 0. ]

    Reference:
        Parikh and Boyd, Proximal algorithms, 2014.
    """
    check_number(learning_rate, "jaxreg.proximal: learning_rate", "[0, inf)")

    def change(rule: Rule, leaf: Leaf, update: jax.Array, count: jax.Array) -> jax.Array:
        size = rate_at(learning_rate, count)
        return update_towards(leaf, update, lambda there: prox_leaf(rule, leaf, there, size, count))

    return with_penalties("proximal", rules, change)


def proximal_adam(
    rules: PenaltyRules, learning_rate: Number, b1: Number = 0.9, b2: Number = 0.999, eps: Number = 1e-8
) -> optax.GradientTransformation:
    """Return Adam for loss + penalty, with a proximal step that uses Adam's step size for each weight.

    Adam divides the step of weight i by d_i = √v_i + eps. Here v_i is the running mean of the squared gradient of
    weight i, with Adam's bias correction. Let x be the weights after Adam's step. The proximal step moves them to

        argmin_z η · penalty(z) + Σ d_i (z_i - x_i)² / 2.

    So weight i has the step size η / d_i. Training converges to a stationary point of loss + penalty. (With
    `jaxreg.proximal` in a chain with Adam, training converges to a different point.) For `L1`, the proximal step is a
    soft threshold per weight. For `GroupLasso`, Newton's method computes the proximal step.

    Args:
        rules: Penalties by path pattern, or one penalty for all kernels. The proximal step of each penalty must accept
            one step size per weight. `Spectral` and `Nuclear` cannot be used.
        learning_rate: η, at least 0: a float, an array or an Optax schedule.
        b1: Decay rate of the mean of the gradient, in [0, 1).
        b2: Decay rate of the mean of the squared gradient, in [0, 1).
        eps: Number that is added to √v_i, above 0.

    Returns:
        A complete optimiser, whose updates include the learning rate and the sign. Its state is that of
        `optax.scale_by_adam`. Gradients in float16 or bfloat16 are first cast to float32, because in float16 `eps` and
        small squared gradients would be rounded to 0. So both running means are in float32 or wider.

    Raises:
        ValueError: If a number is out of range. At `init`, if a pattern matches no leaf, or two patterns of equal
            precedence match one leaf (see `jaxreg.explain`). At `update`, if `params` is missing.
        TypeError: At `init`, if a leaf of `params` is not an array. At `update`, if a rule has no proximal step.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr, optax
        >>> params, tx = {"kernel": jnp.array([[0.5], [0.02]])}, jr.proximal_adam(jr.L1(0.1), 0.1)
        >>> updates, _ = tx.update({"kernel": jnp.array([[2.0], [0.1]])}, tx.init(params), params)
        >>> print(np.asarray(optax.apply_updates(params, updates)["kernel"]).ravel().round(4))
        [0.395 0.   ]

    Reference:
        Yun, Lozano and Yang, Adaptive proximal gradient methods for structured neural networks, 2021.
    """
    refuse_constraints(rules, "proximal_adam")
    check_number(learning_rate, "jaxreg.proximal_adam: learning_rate", "[0, inf)")
    for name, decay in (("b1", b1), ("b2", b2)):
        check_number(decay, f"jaxreg.proximal_adam: {name}", "[0, 1)")
    check_number(eps, "jaxreg.proximal_adam: eps", "(0, inf)")
    adam = optax.scale_by_adam(b1, b2, eps)

    def init(params: Tree) -> optax.ScaleByAdamState:
        refuse_other_leaves(params, "proximal_adam")
        assign(params, rules)  # refuse bad rules before anything is compiled
        return adam.init(_widened(params))

    def update(
        updates: Tree, state: optax.ScaleByAdamState, params: Tree | None = None
    ) -> tuple[Tree, optax.ScaleByAdamState]:
        require_params(params, "proximal_adam")
        directions, after = adam.update(_widened(updates), state, params)
        rate = rate_at(learning_rate, state.count)
        steps = jax.tree.map(lambda u, given: (-rate * u).astype(given.dtype), directions, updates)
        paths = [leaf.path for leaf, _ in assign(params, rules)]
        squares = dict(zip(paths, leaves_like(params, after.nu), strict=True))
        share = 1 - jnp.asarray(b2, jnp.float32) ** after.count  # Adam's bias correction

        def change(rule: Rule, leaf: Leaf, step: jax.Array, count: jax.Array) -> jax.Array:
            size = rate / (jnp.sqrt(wide(squares[leaf.path]) / share) + eps)
            return update_towards(leaf, step, lambda there: prox_leaf(rule, leaf, there, size, count))

        return map_updates(steps, params, rules, state.count, per_leaf(change)), after

    return optax.GradientTransformation(init, update)


def _widened(tree: Tree) -> Tree:
    def widened(array: Any) -> Any:
        dtype = jnp.result_type(array)
        return wide(array) if jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize < 4 else array

    return jax.tree.map(widened, tree)
