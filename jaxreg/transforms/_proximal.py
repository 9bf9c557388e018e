"""Proximal steps as Optax transformations. With penalties such as L1 they set weights exactly to 0."""

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

    A step is w ← argmin_z η · penalty(z) + ‖z - (w - ηu)‖² / 2. Here u is the optimiser's direction and η the learning
    rate. Put the transformation after the learning rate in the chain. After SGD, it minimises loss + penalty. L1 and
    the group lasso then give weights that are exactly 0 after `optax.apply_updates`. After Adam, it converges to a
    different point, because Adam has a separate step size per weight. To minimise loss + penalty with Adam, use
    `jaxreg.proximal_adam`. After Adam, `L2(d / 2)` gives the proximal form of AdamW's decay d: w ← (w - ηu) / (1 + ηd).

    Args:
        rules: Penalties with a proximal step, by path pattern, or one for all kernels. Strengths are floats, arrays or
            Optax schedules.
        learning_rate: η, the learning rate of the optimiser, at least 0: a float, an array or an Optax schedule.

    Returns:
        A gradient transformation. Its state counts the updates. Its `update` needs `params`.

    Raises:
        ValueError: If a number is out of range. At `init`, if a pattern matches no leaf or two patterns match one leaf.
            At `update`, if `params` is missing.
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

    Let x be the weights after Adam's step, and d_i = √v_i + eps the divisor in this step. The result is
    argmin_z η · penalty(z) + Σ d_i (z_i - x_i)² / 2, so each weight has the step size η / d_i. Training converges to a
    stationary point of loss + penalty. With `jaxreg.proximal` after Adam, it converges to a different point. For `L1`,
    the proximal step is a soft threshold per weight. For `GroupLasso`, it is computed by Newton's method.

    Args:
        rules: Penalties whose proximal step accepts one step size per weight (not `Spectral` or `Nuclear`), by path
            pattern, or one for all kernels.
        learning_rate: η, at least 0: a float, an array or an Optax schedule.
        b1: Decay rate of the mean of the gradient, in [0, 1).
        b2: Decay rate of the mean of the squared gradient, in [0, 1).
        eps: Number that is added to √v, above 0.

    Returns:
        A complete optimiser. Its updates include the learning rate and the sign. Its state is that of
        `optax.scale_by_adam`, with both means in float32 or wider. In float16, `eps` and small squares would be 0.

    Raises:
        ValueError: If a number is out of range. At `init`, if a pattern matches no leaf or two patterns match one leaf.
            At `update`, if `params` is missing.
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
