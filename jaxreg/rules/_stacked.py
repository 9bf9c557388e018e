"""Rules for one matrix, on a stack of layers: an array whose first axes count them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxreg._groups import axis_of
from jaxreg._hyperparameters import Number, hyperparameters, static


def of_matrices(rule: Any) -> bool:
    """Whether `rule` leaves its axis open, and looks at the weights of a layer as one matrix."""
    is_matrix = getattr(rule, "whole", False) or any(map(of_matrices, getattr(rule, "parts", ())))
    return is_matrix and axis_of(rule) is None


@hyperparameters
class EachLayer:
    """A rule on each layer of a stack, with the same hyperparameters; the cost of a penalty is the sum of theirs.

    Args:
        rule: A penalty or a constraint, its axes those of one layer.
        axis: The axes of one layer: those behind the ones that count the layers.
    """

    rule: Any
    axis: tuple[int, ...] = static()

    def __call__(self, w: jax.Array) -> jax.Array:
        """What the rule makes of each layer of `w`, or its cost."""
        values = self._on_each(self.rule)(w)
        return jnp.sum(values) if values.ndim == self.axis[0] else values

    # As properties, which are there if the rule has them.
    @property
    def prox(self) -> Callable[[jax.Array, Number], jax.Array]:
        """The proximal step of each layer."""
        prox = self.rule.prox
        return lambda w, step: self._on_each(lambda layer: prox(layer, step))(w)

    @property
    def lmo(self) -> Callable[[jax.Array], jax.Array]:
        """The farthest point of the set for each layer."""
        return self._on_each(self.rule.lmo)

    @property
    def limits(self) -> Any:
        """The lower and the upper bound of every weight."""
        return self.rule.limits

    @property
    def placed(self) -> list[Any]:
        """The parts of an intersection, each on each layer."""
        return [EachLayer(part, self.axis) for part in self.rule.placed]

    def _on_each(self, function: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
        for _ in range(self.axis[0]):
            function = jax.vmap(function)
        return function
