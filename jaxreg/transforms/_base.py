"""Building blocks of the transformations: apply a change to the update of each leaf that has a rule."""

import dataclasses
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxreg._hyperparameters import Number
from jaxreg._protocols import (
    Constraint,
    ConstraintRules,
    Penalty,
    PenaltyRules,
    Rule,
    Rules,
    Tree,
    facts,
    has_groups,
    innermost,
)
from jaxreg.rules import _matching as matching
from jaxreg.rules._evaluate import grouped
from jaxreg.rules._matching import Leaf, assign, refuse_others
from jaxreg.transforms._exact_update import landing

Change = Callable[[Rule, Leaf, jax.Array, jax.Array], jax.Array]
"""(rule, leaf, incoming update of the leaf, number of updates so far) -> outgoing update."""
ChangeOfMatch = Callable[[Rule, list[Leaf], list[jax.Array], jax.Array], list[jax.Array]]
"""Like `Change`, but for the list of leaves in an entry of `jaxreg.rules._evaluate.grouped`."""


class StepState(NamedTuple):
    """State of a transformation: the number of updates so far, which is the step at which schedules are evaluated."""

    count: jax.Array  # type: ignore[assignment]  # Optax's name, and a method of tuples


@dataclasses.dataclass(frozen=True, eq=False)
class Link:
    """A jaxreg transformation in an Optax chain, as recorded for `jaxreg.check`."""

    name: str
    rules: Rules
    every: int = 1


class Wrapped(NamedTuple):
    """An optimiser that `jaxreg.regularize` wraps, with the learning rate that scales decays and proximal steps."""

    optimizer: optax.GradientTransformation
    learning_rate: Number


class Watch:
    """Context manager that records the jaxreg transformations of an Optax chain and can skip some of them.

    The transformations in an Optax chain are called links. The chain itself does not list its links. An update of the
    chain within this context records every link that the update reaches. A second update that skips a link shows the
    effect of this link.
    """

    _active: ContextVar["Watch | None"] = ContextVar("watch", default=None)

    def __init__(self, without: Sequence[Link] = ()) -> None:
        self.links: list[Link] = []
        self.wrapped: list[tuple[Wrapped, Tree]] = []
        self.without = without

    def __enter__(self) -> Self:
        self._token = self._active.set(self)
        return self

    def __exit__(self, *error: object) -> None:
        self._active.reset(self._token)

    @classmethod
    def leaves_out(cls, link: Link) -> bool:
        """Record that an update reached the transformation `link`, and return whether to skip `link`."""
        watch = cls._active.get()
        if watch is None:
            return False
        watch.links += [] if link in watch.links else [link]
        return link in watch.without

    @classmethod
    def meets(cls, wrapped: Wrapped, params: Tree) -> None:
        """Record the optimiser `wrapped` and the shapes of its weights, unless it is recorded already."""
        watch = cls._active.get()
        if watch is not None and all(other is not wrapped for other, _ in watch.wrapped):
            shapes = jax.tree.map(lambda w: np.zeros(np.shape(w), jnp.result_type(w)), params)
            watch.wrapped.append((wrapped, shapes))


def watched(optimizer: optax.GradientTransformationExtraArgs, learning_rate: Number) -> Any:
    """Wrap an optimiser so that a `Watch` can record the optimiser and its learning rate."""
    wrapped = Wrapped(optimizer, learning_rate)

    def update(updates: Tree, state: Any, params: Tree | None = None, **extra: Any) -> tuple[Tree, Any]:
        Watch.meets(wrapped, params)
        return optimizer.update(updates, state, params, **extra)

    return optax.GradientTransformationExtraArgs(optimizer.init, update)


def require_params(params: Tree | None, name: str) -> None:
    """Raise if an update is called without parameters."""
    if params is None:
        raise ValueError(f"jaxreg.{name} got no params; call update(grads, state, params) with the parameters")


def refuse_other_leaves(params: Tree, name: str) -> None:
    """Raise if `params` has a leaf that is not an array or a number, such as a function in an Equinox module."""
    for leaf in matching.leaves(params):
        if not (hasattr(leaf.array, "dtype") or isinstance(leaf.array, bool | int | float | complex)):
            raise TypeError(
                f"jaxreg.{name}: params holds {leaf.array!r} at {leaf.path!r}; expected only arrays. Pass a filtered "
                "tree, such as eqx.filter(model, eqx.is_inexact_array) in Equinox"
            )


def leaves_like(params: Tree, tree: Tree) -> list[Any]:
    """Return the entry of `tree` at each leaf of `params`: an array, a subtree or None."""
    structure: Any = jax.tree.structure(params)
    return structure.flatten_up_to(tree)


def map_updates(updates: Tree, params: Tree, rules: Rules, count: jax.Array, change: ChangeOfMatch) -> Tree:
    """Apply the function `change` to the updates of the leaves that have a rule.

    A rule is skipped if the updates of all its leaves are None.
    """
    steps = leaves_like(params, updates)
    for rule, places, leaves in grouped(params, rules):
        if any(steps[place] is not None for place in places):
            arrays = [leaf.array for leaf in leaves]
            given = [jnp.zeros_like(w) if steps[i] is None else steps[i] for i, w in zip(places, arrays, strict=True)]
            for place, step in zip(places, change(rule, leaves, given, count), strict=True):
                steps[place] = step
    return jax.tree.unflatten(jax.tree.structure(params), steps)


def per_leaf(change: Change) -> ChangeOfMatch:
    """Return a function that applies `change` to each leaf of a list."""

    def change_all(rule: Rule, leaves: list[Leaf], steps: list[jax.Array], count: jax.Array) -> list[jax.Array]:
        return [change(rule, leaf, step, count) for leaf, step in zip(leaves, steps, strict=True)]

    return change_all


def with_penalties(name: str, rules: PenaltyRules, change: Change) -> optax.GradientTransformation:
    """Return the transformation `name`, which applies `change` to the update of each leaf with a penalty."""
    refuse_constraints(rules, name)
    return _by_match(Link(name, rules), per_leaf(change))


def with_constraints(
    name: str, rules: ConstraintRules, change: ChangeOfMatch, every: int = 1
) -> optax.GradientTransformation:
    """Return the transformation `name`, which applies `change` to the updates of all leaves with a constraint."""
    refuse_others(rules, Constraint, name, "jaxreg.penalize, jaxreg.decay or jaxreg.proximal")
    return _by_match(Link(name, rules, every), change)


def refuse_constraints(rules: PenaltyRules, name: str) -> None:
    """Raise if the penalties for the transformation `name` include a constraint."""
    refuse_others(rules, Penalty, name, "jaxreg.project")


def _by_match(link: Link, change: ChangeOfMatch) -> optax.GradientTransformation:
    def init(params: Tree) -> StepState:
        assign(params, link.rules)  # raise for bad rules before anything is compiled
        return StepState(jnp.zeros((), jnp.int32))

    def update(updates: Tree, state: StepState, params: Tree | None = None) -> tuple[Tree, StepState]:
        require_params(params, link.name)
        if Watch.leaves_out(link):
            return updates, state
        made = map_updates(updates, params, link.rules, state.count, change)
        return made, StepState(optax.safe_increment(state.count))

    return optax.GradientTransformation(init, update)


def update_towards(leaf: Leaf, update: jax.Array, move: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """Return the update that leads to the weights `move(w)`, where w are the weights after `update`."""
    return landing(leaf.array, move(after_update(leaf, update)), update.dtype)


def after_update(leaf: Leaf, update: jax.Array) -> jax.Array:
    """Return the weights of the leaf after `update`."""
    return (leaf.array + update).astype(leaf.array.dtype)


def refuse_single_weights(rule: Rule, leaf: Leaf, name: str) -> None:
    """Raise if the rule of a leaf acts on single weights, not on groups. The error names the transformation `name`."""
    inside = facts(innermost(rule))
    if not (has_groups(inside) or inside.matrix or inside.joint):
        raise TypeError(
            f"jaxreg.{name}: the rule for {leaf.shown} is {rule!r}, which acts on single weights; expected a "
            "constraint on groups of weights, such as FrobeniusSphere or UnitNorm"
        )
