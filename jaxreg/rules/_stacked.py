"""Rules for one matrix, applied to each layer of a stack. A stack is an array with the weights of several layers."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._hyperparameters import Number, hyperparameters, static
from jaxreg._protocols import Facts, Limits, facts, has_groups


def of_matrices(rule: Any) -> bool:
    """Return whether `rule` has no `axis` and treats all weights of a layer as one matrix or vector."""
    is_matrix = facts(rule).matrix or any(map(of_matrices, facts(rule).sets()))
    return is_matrix and (facts(rule).axis is None or not has_groups(rule))


@hyperparameters
class EachLayer(Facts):
    """A rule that is applied to each layer of a stack. The cost of a penalty is the sum over the layers.

    Args:
        rule: Penalty or constraint. Its `axis` refers to the axes of a single layer. All layers share its
            hyperparameters. In a rule for matrices, a hyperparameter can also be an array with one value per layer.
        axis: Axes of the stack that belong to one layer. Along the other axes, layers are stacked.
    """

    rule: Any
    axis: tuple[int, ...] = static()

    def __call__(self, w: jax.Array) -> jax.Array:
        """Apply the rule to each layer of `w`. For a penalty, return the sum of the costs."""
        return self._on_each(lambda rule, layer: rule(layer), w)

    def prox(self, w: jax.Array, step: Number) -> jax.Array:
        """Return the proximal step of each layer."""
        return self._on_each(lambda rule, layer: rule.prox(layer, step), w)

    def lmo(self, direction: jax.Array) -> jax.Array:
        """Return the minimiser z of ⟨direction, z⟩ over the set, separately for each layer."""
        return self._on_each(lambda rule, layer: rule.lmo(layer), direction)

    def tangent(self, w: jax.Array, direction: jax.Array) -> jax.Array:
        """Return, for each layer, the component of `direction` that is tangent to the constraint set."""
        return self._on_each(lambda rule, layer, u: facts(rule).tangent(layer, u), w, direction)

    def transported(self, before: jax.Array, after: jax.Array, moment: jax.Array) -> jax.Array:
        """Apply the method `transported` of the wrapped rule to each layer."""
        return self._on_each(lambda rule, *arrays: facts(rule).transported(*arrays), before, after, moment)

    def tangent_lmo(self, w: jax.Array, direction: jax.Array) -> jax.Array:
        """Apply the method `tangent_lmo` of the wrapped rule to each layer."""
        return self._on_each(lambda rule, layer, u: facts(rule).tangent_lmo(layer, u), w, direction)

    def linear_minimum(self, slope: jax.Array, budget: Number) -> jax.Array:
        """Return a lower bound on the minimum of penalty(u) + ⟨slope, u⟩ subject to penalty(u) ≤ `budget`.

        The bound is the sum of the minima of all layers, where each layer may use the whole `budget`.
        """
        return self._on_each(lambda rule, layer: rule.linear_minimum(layer, budget), slope)

    def bounds(self) -> Limits | None:
        """Return the lower and the upper bound of every weight."""
        return facts(self.rule).bounds()

    def operator_bound(self, places: int) -> Number | None:
        """Return an upper bound on the operator norm of each layer."""
        return facts(self.rule).operator_bound(places)

    def sets(self) -> tuple[Any, ...]:
        """Return the constraints of an intersection, each wrapped to apply to every layer."""
        return tuple(EachLayer(part, self.axis) for part in facts(self.rule).sets())

    def wrapped_rule(self) -> Any:
        """Return the rule for one layer."""
        return self.rule

    def needs_order(self) -> bool:
        """Return whether the rule rejects complex weights."""
        return facts(self.rule).needs_order()

    def map_rules(self, function: Callable[[Any], Any]) -> "EachLayer":
        """Replace the wrapped rule by `function(rule)` and return the new wrapper."""
        return EachLayer(function(self.rule), self.axis)

    def _on_each(self, function: Callable[..., jax.Array], *arrays: jax.Array) -> jax.Array:
        w = arrays[0]
        layers = tuple(a for a in range(w.ndim) if a not in self.axis)
        front = tuple(range(len(layers)))
        counts = tuple(w.shape[a] for a in layers)
        values, structure = jax.tree.flatten(self.rule)
        own = [facts(self.rule).matrix and np.shape(value) == counts for value in values]  # one value per layer

        def on_one(mapped: list[Any], *parts: jax.Array) -> jax.Array:
            given = iter(mapped)
            rule = jax.tree.unflatten(
                structure, [next(given) if one else v for one, v in zip(own, values, strict=True)]
            )
            return function(rule, *parts)

        for _ in layers:
            on_one = jax.vmap(on_one)
        moved = [jnp.moveaxis(array, layers, front) for array in arrays]
        found = on_one([v for is_own, v in zip(own, values, strict=True) if is_own], *moved)
        return jnp.sum(found) if found.ndim == len(layers) else jnp.moveaxis(found, front, layers)
