"""Building blocks of the transformations: how a change is made for each leaf and each rule."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxreg.rules._evaluate import grouped
from jaxreg.rules._matching import Leaf, Rule, Rules, Tree, assign
from jaxreg.transforms._landing import landing

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
