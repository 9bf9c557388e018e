"""Penalties and constraints as Optax transformations: links of a chain, all of which take `params`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxreg.landing import landing
from jaxreg.paths import Leaf, Rule, Rules, Tree, assign
from jaxreg.trees import at_rule, grouped, nearest, slope

Change = Callable[[Rule, Leaf, jax.Array, jax.Array], jax.Array]
"""(rule, leaf, its incoming update, number of updates so far) -> the update handed on."""

ChangeOfClaim = Callable[[Rule, list[Leaf], list[jax.Array], jax.Array], list[jax.Array]]
"""The same for all leaves of a claim (see `jaxreg.trees.grouped`)."""


class StepState(NamedTuple):
    """The number of updates made so far, at which schedules are read."""

    count: jax.Array  # type: ignore[assignment]  # Optax's name, and a method of tuples


def needed(params: Tree | None, name: str) -> None:
    """Refuse an update without parameters."""
    if params is None:
        raise ValueError(f"jaxreg.{name} got no params; expected update(grads, state, params): pass the parameters")


def leaves_like(params: Tree, tree: Tree) -> list[Any]:
    """What `tree` has in the place of each leaf of `params`, None included."""
    structure: Any = jax.tree.structure(params)
    return structure.flatten_up_to(tree)


def changed(updates: Tree, params: Tree, rules: Rules, count: jax.Array, change: ChangeOfClaim) -> Tree:
    """`updates` with `change` made to those of the leaves that `rules` name; an update of None stays None."""
    steps = leaves_like(params, updates)
    for rule, places, leaves in grouped(params, rules):
        if any(steps[place] is not None for place in places):
            arrays = [leaf.array for leaf in leaves]
            given = [jnp.zeros_like(w) if steps[i] is None else steps[i] for i, w in zip(places, arrays, strict=True)]
            for place, step in zip(places, change(rule, leaves, given, count), strict=True):
                steps[place] = step
    return jax.tree.unflatten(jax.tree.structure(params), steps)


def each(change: Change) -> ChangeOfClaim:
    """`change` made to one leaf after the other."""

    def change_all(rule: Rule, leaves: list[Leaf], steps: list[jax.Array], count: jax.Array) -> list[jax.Array]:
        return [change(rule, leaf, step, count) for leaf, step in zip(leaves, steps, strict=True)]

    return change_all


def by_leaf(name: str, rules: Rules, change: Change) -> optax.GradientTransformation:
    """The transformation `name`, which makes `change` to the update of each leaf that `rules` name."""
    return by_claim(name, rules, each(change))


def by_claim(name: str, rules: Rules, change: ChangeOfClaim) -> optax.GradientTransformation:
    """The transformation `name`, which makes `change` to the updates of the leaves that `rules` name."""

    def init(params: Tree) -> StepState:
        assign(params, rules)  # refuse bad rules before anything is compiled
        return StepState(jnp.zeros((), jnp.int32))

    def update(updates: Tree, state: StepState, params: Tree | None = None) -> tuple[Tree, StepState]:
        needed(params, name)
        made = changed(updates, params, rules, state.count, change)
        return made, StepState(optax.safe_increment(state.count))

    return optax.GradientTransformation(init, update)


def arriving(leaf: Leaf, update: jax.Array, move: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """The update that leads where `move` takes the point that `update` would lead to."""
    return landing(leaf.array, move(reached(leaf, update)), update.dtype)


def reached(leaf: Leaf, update: jax.Array) -> jax.Array:
    """The point that `update` leads to."""
    return (leaf.array + update).astype(leaf.array.dtype)


def penalize(rules: Rules) -> optax.GradientTransformation:
    """Add the gradient of the penalties to the incoming gradient: coupled regularisation, Keras's `kernel_regularizer`.

    The first link of a chain: an adaptive optimiser behind it rescales the penalty's gradient with the loss's. The
    loss itself stays free of the penalty; `jaxreg.penalty` gives its value.

    Args:
        rules: Which penalty for which leaves; strengths are floats, arrays or Optax schedules.

    Returns:
        A transformation whose state is the number of updates made, and whose update needs `params`.

    Raises:
        ValueError: At `init`, if a pattern matches nothing or two claim one leaf; at `update`, without `params`.

    Example:
        >>> import jax, jax.numpy as jnp, jaxreg as jr, optax
        >>> params = {"kernel": jnp.array([[1.0], [-2.0]])}
        >>> tx = optax.chain(jr.penalize({jr.KERNELS: jr.L2(0.5)}), optax.sgd(0.1))
        >>> updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
        >>> print(updates["kernel"].ravel())
        [-0.1  0.2]
    """

    def change(rule: Rule, leaf: Leaf, update: jax.Array, count: jax.Array) -> jax.Array:
        return update + slope(rule, leaf, count).astype(update.dtype)

    return by_leaf("penalize", rules, change)


def project(rules: Rules, every: int = 1) -> optax.GradientTransformation:
    """Make each step end on the nearest point of the constraints: Keras's `kernel_constraint`.

    The last link of a chain, behind the learning rate: it sees `params + updates`, the point that the step would reach,
    and hands on the update that leads to its projection. Where floating-point addition cannot reach that point
    exactly, `optax.apply_updates` ends beside it on the inner side, for bounds and for upper limits of a norm. Initial
    weights are as they are: `jaxreg.projected` makes a feasible start of them.

    Args:
        rules: Which constraint for which leaves; limits are floats, arrays or Optax schedules.
        every: Project at every `every`-th update only.

    Returns:
        A transformation whose state is the number of updates made, and whose update needs `params`.

    Raises:
        ValueError: At `init`, if a pattern matches nothing or two claim one leaf; at `update`, without `params`; if
            `every` is under 1.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr, optax
        >>> params = {"kernel": jnp.array([[0.6], [0.8]])}
        >>> tx = optax.chain(optax.sgd(1.0), jr.project({jr.KERNELS: jr.MaxNorm(1.0)}))
        >>> updates, _ = tx.update({"kernel": jnp.array([[-2.4], [-3.2]])}, tx.init(params), params)
        >>> print(np.asarray(optax.apply_updates(params, updates)["kernel"]).ravel().round(5))
        [0.6 0.8]
    """
    if not isinstance(every, int) or every < 1:
        raise ValueError(
            f"jaxreg.project: every is {every!r}; expected a whole number of at least 1 (for optax.inject_hyperparams, "
            'name it: static_args=("every",))'
        )

    def change(rule: Rule, leaves: list[Leaf], updates: list[jax.Array], count: jax.Array) -> list[jax.Array]:
        def landed() -> list[jax.Array]:
            there = [reached(leaf, update) for leaf, update in zip(leaves, updates, strict=True)]
            goals, read = nearest(rule, leaves, there, count), at_rule(rule, count)
            return [
                landing(leaf.array, goal, update.dtype, read)
                for leaf, goal, update in zip(leaves, goals, updates, strict=True)
            ]

        return landed() if every == 1 else jax.lax.cond((count + 1) % every == 0, landed, lambda: updates)

    return by_claim("project", rules, change)
