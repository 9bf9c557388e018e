"""Rules for one matrix, on a stack of layers: an array whose first axes count them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxreg._hyperparameters import Number, hyperparameters, static
from jaxreg._protocols import Facts, Limits, facts


def of_matrices(rule: Any) -> bool:
    """Return whether `rule` leaves its axis open, and looks at the weights of a layer as one matrix."""
    is_matrix = facts(rule).matrix or any(map(of_matrices, facts(rule).sets()))
    return is_matrix and facts(rule).axis is None


@hyperparameters
class EachLayer(Facts):
    """A rule on each layer of a stack, with the same hyperparameters; the cost of a penalty is the sum of theirs.

    Args:
        rule: A penalty or a constraint, its axes those of one layer.
        axis: The axes of one layer: those behind the ones that count the layers.
    """

    rule: Any
    axis: tuple[int, ...] = static()

    def __call__(self, w: jax.Array) -> jax.Array:
        """Apply the rule to each layer of `w`; sum the costs of a penalty."""
        values = self._on_each(self.rule)(w)
        return jnp.sum(values) if values.ndim == self.axis[0] else values

    def prox(self, w: jax.Array, step: Number) -> jax.Array:
        """Return the proximal step of each layer."""
        return self._on_each(lambda layer: self.rule.prox(layer, step))(w)

    def lmo(self, direction: jax.Array) -> jax.Array:
        """Return the farthest point of the set for each layer."""
        return self._on_each(self.rule.lmo)(direction)

    def bounds(self) -> Limits | None:
        """Return the lower and the upper bound of every weight."""
        return facts(self.rule).bounds()

    def sets(self) -> tuple[Any, ...]:
        """Return the parts of an intersection, each on each layer."""
        return tuple(EachLayer(part, self.axis) for part in facts(self.rule).sets())

    def wrapped_rule(self) -> Any:
        """Return the rule for one layer."""
        return self.rule

    def map_rules(self, function: Callable[[Any], Any]) -> "EachLayer":
        """Return what `function` makes of the rule, on each layer."""
        return EachLayer(function(self.rule), self.axis)

    def _on_each(self, function: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
        for _ in range(self.axis[0]):
            function = jax.vmap(function)
        return function
