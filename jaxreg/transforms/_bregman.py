"""Linearised Bregman iterations: weights start at 0 and become nonzero one by one, the most useful weights first."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxreg._checks import check_number
from jaxreg._hyperparameters import Number
from jaxreg._precision import wide
from jaxreg._protocols import PenaltyRules, Rule, Tree
from jaxreg.rules._evaluate import penalty_gradient, prox_leaf
from jaxreg.rules._matching import Leaf, assign
from jaxreg.transforms._base import leaves_like, map_updates, per_leaf, refuse_constraints, require_params
from jaxreg.transforms._exact_update import landing


class BregmanState(NamedTuple):
    """State of `bregman`: the number of updates, and the dual weights v. A parameter without a rule has a single 0."""

    count: jax.Array  # type: ignore[assignment]  # Optax's name, and a method of tuples
    dual: Any


def bregman(rules: PenaltyRules, delta: Number = 1.0) -> optax.GradientTransformation:
    """Add the optimiser's steps to dual weights v, and compute the weights from v by a proximal step.

    Each update is v ← v + step, then w ← prox(δ v). Here w are the weights, step is the optimiser's step, and
    δ is the scale from dual weights to weights. The function prox is the proximal operator of δ · penalty. At the
    start, v is w / δ plus the gradient of the penalty, so that prox(δ v) returns the initial weights.

    Put the transformation after the learning rate in the chain. After `optax.sgd`, with or without momentum, the
    algorithm is LinBreg. After `optax.adam`, it is AdaBreg.

    With `L1(strength)`, let a weight start at 0. Then its v is the sum of its steps, and the weight is
    δ · sign(v) · max(|v| - strength, 0). It stays 0 until |v| exceeds the strength. From then on, each further step
    moves the weight by the full step times δ. So the strength determines when a weight becomes nonzero, but not how
    large it gets. Start the training with few nonzero weights. Their number grows, so end the training before there are
    more nonzero weights than you want.

    Args:
        rules: Penalties with a proximal step, by path pattern, or one for all kernels. Strengths are floats, arrays or
            Optax schedules.
        delta: Scale δ from dual weights to weights, above 0. The effective learning rate is δ times the learning rate
            of the optimiser.

    Returns:
        A gradient transformation. Its state is a `BregmanState`. Its `update` needs `params`.

    Raises:
        ValueError: If δ is not above 0. At `init`, if a pattern matches no leaf, or two patterns of equal precedence
            match one leaf (see `jaxreg.explain`). At `update`, if `params` is missing.
        TypeError: At `update`, if a rule has no proximal step.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr, optax
        >>> params = {"kernel": jnp.zeros((2, 1))}
        >>> tx = optax.chain(optax.sgd(1.0), jr.bregman(jr.L1(1.0)))
        >>> state = tx.init(params)
        >>> for step in range(3):
        ...     updates, state = tx.update({"kernel": jnp.array([[-0.75], [0.25]])}, state, params)
        ...     params = optax.apply_updates(params, updates)
        ...     print(params["kernel"].ravel())
        [0. 0.]
        [0.5 0. ]
        [1.25 0.  ]

    Reference:
        Bungert, Roith, Tenbrinck and Burger, A Bregman learning framework for sparse neural networks, 2022.
    """
    refuse_constraints(rules, "bregman")
    check_number(delta, "jaxreg.bregman: delta", "(0, inf)")

    def init(params: Tree) -> BregmanState:
        count = jnp.zeros((), jnp.int32)
        duals = [
            jnp.zeros(())
            if rule is None
            else (wide(leaf.array) / delta).astype(wide(leaf.array).dtype) + wide(penalty_gradient(rule, leaf, count))
            for leaf, rule in assign(params, rules)
        ]
        return BregmanState(count, jax.tree.unflatten(jax.tree.structure(params), duals))

    def update(updates: Tree, state: BregmanState, params: Tree | None = None) -> tuple[Tree, BregmanState]:
        require_params(params, "bregman")
        paths = [leaf.path for leaf, _ in assign(params, rules)]
        duals = dict(zip(paths, leaves_like(params, state.dual), strict=True))

        def change(rule: Rule, leaf: Leaf, step: jax.Array, count: jax.Array) -> jax.Array:
            duals[leaf.path] = duals[leaf.path] + wide(step)
            goal = prox_leaf(rule, leaf, delta * duals[leaf.path], delta, count).astype(leaf.array.dtype)
            return landing(leaf.array, goal, step.dtype)

        made = map_updates(updates, params, rules, state.count, per_leaf(change))
        dual = jax.tree.unflatten(jax.tree.structure(params), [duals[path] for path in paths])
        return made, BregmanState(optax.safe_increment(state.count), dual)

    return optax.GradientTransformation(init, update)
