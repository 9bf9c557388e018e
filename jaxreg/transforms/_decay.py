"""Decoupled decay: add the gradient of a penalty to the optimiser's direction. The optimiser does not rescale it.

Put the decay after the optimiser's scaling and before the learning rate, like the decay in AdamW:

    optax.chain(optax.scale_by_adam(), jaxreg.decay(rules), optax.scale_by_learning_rate(rate))

The penalty `L2(strength)` is strength · Σw², and its gradient is 2 · strength · w. So **AdamW with `weight_decay` d, in
Optax and PyTorch, is `decay(L2(d / 2))`.** `jaxreg.convert_strength` converts other conventions.

The proximal form of decay is `jaxreg.proximal`. With `L2(d / 2)` its step is w ← (w - ηu) / (1 + ηd).

In the formulas, w are the weights, u the optimiser's direction, η the learning rate and g the gradient of the penalty.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxreg._checks import check_number
from jaxreg._hyperparameters import Number, rate_at
from jaxreg._precision import wide
from jaxreg._protocols import PenaltyRules, Rule, Tree
from jaxreg.penalties._elementwise import Lp
from jaxreg.rules._evaluate import at_rule, like_leaf, penalty_gradient
from jaxreg.rules._matching import Leaf, assign
from jaxreg.transforms._base import (
    leaves_like,
    map_updates,
    per_leaf,
    refuse_constraints,
    require_params,
    update_towards,
    with_penalties,
)


def decay(rules: PenaltyRules) -> optax.GradientTransformation:
    """Add the gradient of any penalty to the optimiser's direction: decoupled weight decay, as in AdamW.

    A step is w ← w - η (u + g), with the direction u, the gradient g and the learning rate η. Put the transformation
    before the learning rate in the chain. The rule `L2(d / 2)` gives AdamW's `weight_decay` d. With
    `jaxreg.to_reference`, weights decay towards a reference.

    Args:
        rules: Penalties by path pattern, or one penalty for all kernels. Strengths are floats, arrays or Optax
            schedules.

    Returns:
        A gradient transformation. Its state counts the updates. Its `update` needs `params`.

    Raises:
        ValueError: At `init`, if a pattern matches no leaf, or two patterns of equal precedence match one leaf (see
            `jaxreg.explain`). At `update`, if `params` is missing.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr, optax
        >>> params = {"kernel": jnp.array([[1.0], [-2.0]])}
        >>> tx = optax.chain(optax.scale_by_adam(), jr.decay(jr.L2(0.25)), optax.scale_by_learning_rate(0.1))
        >>> updates, _ = tx.update({"kernel": jnp.zeros((2, 1))}, tx.init(params), params)
        >>> print(updates["kernel"].ravel())
        [-0.05  0.1 ]

    Reference:
        Loshchilov and Hutter, Decoupled weight decay regularization, 2019.
    """

    def change(rule: Rule, leaf: Leaf, update: jax.Array, count: jax.Array) -> jax.Array:
        return update + penalty_gradient(rule, leaf, count).astype(update.dtype)

    return with_penalties("decay", rules, change)


def independent_decay(rules: PenaltyRules, peak: Number) -> optax.GradientTransformation:
    """Decay weights in proportion to η / peak: the learning rate divided by its largest value.

    A step is w ← w - ηu - (η/peak) g. Here η is the current learning rate, u the optimiser's direction and g the
    gradient of the penalty. Put the transformation before the learning rate in the chain.

    The decay does not depend on the size of the largest learning rate, only on the shape of the schedule. The AdamW
    paper defines decay in this form.

    Args:
        rules: Penalties by path pattern, or one penalty for all kernels. Strengths are floats, arrays or Optax
            schedules.
        peak: Largest learning rate of the schedule, above 0: a float or an array.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr, optax
        >>> params = {"kernel": jnp.array([[1.0], [-2.0]])}
        >>> tx = optax.chain(jr.independent_decay(jr.L2(0.25), peak=0.1), optax.scale_by_learning_rate(0.1))
        >>> updates, _ = tx.update({"kernel": jnp.zeros((2, 1))}, tx.init(params), params)
        >>> print(updates["kernel"].ravel())
        [-0.5  1. ]

    Reference:
        Loshchilov and Hutter, Decoupled weight decay regularization, 2019, algorithm 2.
    """
    check_number(peak, "jaxreg.independent_decay: peak", "(0, inf)")

    def change(rule: Rule, leaf: Leaf, update: jax.Array, count: jax.Array) -> jax.Array:
        return update + (penalty_gradient(rule, leaf, count) / peak).astype(update.dtype)

    return with_penalties("independent_decay", rules, change)


def corrected_decay(rules: PenaltyRules, learning_rate: Number, peak: Number) -> optax.GradientTransformation:
    """Decay weights in proportion to the square of the learning rate, for layers followed by a normalisation layer.

    A step is w ← w - ηu - (η²/peak) g. Here η is the current learning rate, u the optimiser's direction and g the
    gradient of the penalty. Put the transformation before the learning rate in the chain.

    AdamW's decay is proportional to η. Late in a schedule, it lets the norms and gradients drift in layers that are
    followed by a normalisation layer. A decay proportional to η² keeps norms and gradients steady.

    Args:
        rules: Penalties by path pattern, or one penalty for all kernels. Strengths are floats, arrays or Optax
            schedules.
        learning_rate: η, the learning rate that follows in the chain: a float, an array or an Optax schedule.
        peak: Largest learning rate of the schedule, above 0: a float or an array.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr, optax
        >>> params = {"kernel": jnp.array([[1.0], [-2.0]])}
        >>> tx = optax.chain(jr.corrected_decay(jr.L2(0.25), 0.05, peak=0.1), optax.scale_by_learning_rate(0.05))
        >>> updates, _ = tx.update({"kernel": jnp.zeros((2, 1))}, tx.init(params), params)
        >>> print(updates["kernel"].ravel())
        [-0.0125  0.025 ]

    Reference:
        Defazio, Why gradients rapidly increase near the end of training, 2025 (AdamC).
    """
    check_number(learning_rate, "jaxreg.corrected_decay: learning_rate", "[0, inf)")
    check_number(peak, "jaxreg.corrected_decay: peak", "(0, inf)")

    def change(rule: Rule, leaf: Leaf, update: jax.Array, count: jax.Array) -> jax.Array:
        share = rate_at(learning_rate, count) / peak
        return update + (share * penalty_gradient(rule, leaf, count)).astype(update.dtype)

    return with_penalties("corrected_decay", rules, change)


def cautious_decay(rules: PenaltyRules) -> optax.GradientTransformation:
    """Decay only those weights that the decay and the optimiser move in the same direction.

    For these weights u · g ≥ 0, and a step is w ← w - η (u + g). For all other weights, a step is w ← w - η u. Here u
    is the optimiser's direction, g the gradient of the penalty and η the learning rate. Put the transformation before
    the learning rate in the chain.

    A weight for which u is exactly 0 decays too. So among minima with equal loss, training moves to smaller weights. An
    isolated minimum of the loss is not shifted: if a weight decays away from it, the next steps of the optimiser move
    the weight back, and the decay does not work against them.

    Args:
        rules: Penalties by path pattern, or one penalty for all kernels. Strengths are floats, arrays or Optax
            schedules.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> params = {"kernel": jnp.array([[1.0], [-2.0]])}
        >>> tx = jr.cautious_decay(jr.L2(0.25))
        >>> print(tx.update({"kernel": jnp.ones((2, 1))}, tx.init(params), params)[0]["kernel"].ravel())
        [1.5 1. ]

    Reference:
        Chen et al., Cautious weight decay, 2025.
    """

    def change(rule: Rule, leaf: Leaf, update: jax.Array, count: jax.Array) -> jax.Array:
        pull = penalty_gradient(rule, leaf, count).astype(update.dtype)
        agreement = jnp.real(jnp.sign(update) * jnp.sign(jnp.conj(pull)))  # the product itself could underflow
        return update + jnp.where(agreement >= 0, pull, 0)

    return with_penalties("cautious_decay", rules, change)


class MeanDecayState(NamedTuple):
    """State of `mean_decay`: `count`, the number of updates, and `mean`, the running mean of the weights.

    The mean is a tree like the parameters. It contains 0 for parameters without a penalty.
    """

    count: jax.Array  # type: ignore[assignment]  # Optax's name, and a method of tuples
    mean: Tree


def mean_decay(rules: PenaltyRules, memory: Number) -> optax.GradientTransformation:
    """Decay weights w towards their running mean m, along the gradient of penalty(w - m).

    A step is w ← w - η (u + g). Here η is the learning rate, u the optimiser's direction and g the gradient of the
    penalty at w - m. Put the transformation before the learning rate in the chain.

    The mean starts at the initial weights. Each update also changes the mean: m ← memory · m + (1 - memory) · w, with
    the weights w before the update. The decay damps the noise of the steps, without a pull to 0 or to the initial
    weights. For a fixed reference, use `jaxreg.decay` with `jaxreg.to_reference`.

    Args:
        rules: Penalties by path pattern, or one penalty for all kernels. Strengths are floats, arrays or Optax
            schedules. With `L2(d / 2)` the decay is d · (w - m).
        memory: Weight of the old mean, from 0 to 1: a float, an array or an Optax schedule. With 1 the mean stays at
            the initial weights.

    Returns:
        A gradient transformation. Its state is a `MeanDecayState`, with means in float32 or wider. Its `update` needs
        `params`.

    Raises:
        ValueError: If `memory` is below 0 or above 1. At `init`, if a pattern matches no leaf, or two patterns of equal
            precedence match one leaf (see `jaxreg.explain`). At `update`, if `params` is missing.

    Example:
        The mean starts at 0 in this example, because `init` gets weights of 0.

        >>> import jax.numpy as jnp, jaxreg as jr
        >>> params = {"kernel": jnp.array([[1.0], [-2.0]])}
        >>> tx = jr.mean_decay(jr.L2(0.25), memory=0.9)
        >>> state = tx.init({"kernel": jnp.zeros((2, 1))})
        >>> updates, state = tx.update({"kernel": jnp.zeros((2, 1))}, state, params)
        >>> print(updates["kernel"].ravel(), state.mean["kernel"].ravel())
        [ 0.5 -1. ] [ 0.1 -0.2]

    Reference:
        Zhang, Choromanska and LeCun, Deep learning with elastic averaging SGD, 2015, for one worker.
    """
    refuse_constraints(rules, "mean_decay")
    check_number(memory, "jaxreg.mean_decay: memory", "[0, 1]")

    def init(params: Tree) -> MeanDecayState:
        # Copies, so that a training step can donate the buffers of both the parameters and this state.
        means = [
            jnp.zeros(()) if rule is None else jnp.array(wide(leaf.array), copy=True)
            for leaf, rule in assign(params, rules)
        ]
        return MeanDecayState(jnp.zeros((), jnp.int32), jax.tree.unflatten(jax.tree.structure(params), means))

    def update(updates: Tree, state: MeanDecayState, params: Tree | None = None) -> tuple[Tree, MeanDecayState]:
        require_params(params, "mean_decay")
        paths = [leaf.path for leaf, _ in assign(params, rules)]
        means = dict(zip(paths, leaves_like(params, state.mean), strict=True))

        def change(rule: Rule, leaf: Leaf, step: jax.Array, count: jax.Array) -> jax.Array:
            away = wide(leaf.array) - means[leaf.path]
            share = rate_at(memory, count)
            means[leaf.path] = (means[leaf.path] + (1 - share) * away).astype(away.dtype)
            return step + penalty_gradient(rule, leaf._replace(array=away), count).astype(step.dtype)

        made = map_updates(updates, params, rules, state.count, per_leaf(change))
        mean = jax.tree.unflatten(jax.tree.structure(params), [means[path] for path in paths])
        return made, MeanDecayState(optax.safe_increment(state.count), mean)

    return optax.GradientTransformation(init, update)


def p_norm_decay(rules: PenaltyRules, learning_rate: Number) -> optax.GradientTransformation:
    """Decay weights so that Σ|w|^p falls. The steps are bounded, even if the gradient at 0 is infinite.

    A step is w ← (w - ηu) · a / (a + p · η · strength), with a = |w|^(2 - p). Here w are the weights before the step, u
    is the optimiser's direction and η the learning rate. Put the transformation after the learning rate in the chain.

    For each weight w, the penalty λ · |z|^p with strength λ is replaced by the parabola c · z² + d that has the same
    value and slope at z = w. The decay is the proximal step of this parabola. For p < 2, the decay drives small weights
    to 0, and a weight at 0 stays 0. For p = 2, the decay equals `jaxreg.proximal` with `L2(strength)`.

    Args:
        rules: `jaxreg.Lp` penalties by path pattern, or one penalty for all kernels. Strengths and powers are floats,
            arrays or Optax schedules.
        learning_rate: η, the learning rate of the optimiser: a float, an array or an Optax schedule.

    Raises:
        TypeError: At `update`, if a rule is not a `jaxreg.Lp`.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr, optax
        >>> params = {"kernel": jnp.array([[1.0], [0.25], [0.0]])}
        >>> tx = optax.chain(optax.sgd(1.0), jr.p_norm_decay(jr.Lp(1.0, p=1.0), 1.0))
        >>> updates, _ = tx.update({"kernel": jnp.zeros((3, 1))}, tx.init(params), params)
        >>> print(optax.apply_updates(params, updates)["kernel"].ravel())
        [0.5  0.05 0.  ]

    Reference:
        Outmezguine and Levi, Decoupled weight decay for any p norm, 2024.
    """
    check_number(learning_rate, "jaxreg.p_norm_decay: learning_rate", "[0, inf)")

    def change(rule: Rule, leaf: Leaf, update: jax.Array, count: jax.Array) -> jax.Array:
        if not isinstance(rule, Lp):
            raise TypeError(f"the rule {rule!r} for {leaf.shown} is not a jaxreg.Lp; expected jaxreg.Lp(strength, p)")
        norm: Any = at_rule(rule, count)
        weight = jnp.power(jnp.abs(wide(leaf.array)), 2 - norm.p)
        total = weight + norm.p * rate_at(learning_rate, count) * norm.strength
        left = jnp.where(total > 0, weight / jnp.where(total > 0, total, 1), 1)
        return update_towards(leaf, update, lambda there: like_leaf(rule, leaf, there, wide(there) * left))

    return with_penalties("p_norm_decay", rules, change)
