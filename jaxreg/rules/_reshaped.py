"""Rules for weights in another shape, such as attention kernels that keep all heads in one axis."""

import math
from collections.abc import Callable
from typing import Any

import jax

from jaxreg._checks import refuse_class
from jaxreg._hyperparameters import Number, hyperparameters, static
from jaxreg._protocols import Facts, as_node, facts


@hyperparameters
class Reshaped(Facts):
    """Wrapper that applies a rule to reshaped weights, for example with an axis for the heads of an attention kernel.

    For example, the rule gets a kernel of shape (inputs, heads · size) in the shape (inputs, heads, size). A rule with
    `axis=(0, 2)` then treats each head as a group.

    Args:
        rule: Penalty or constraint. Its `axis` refers to the axes of `shape`. If its `axis` is None, a group spans all
            axes of `shape` but the last.
        shape: Shape of the reshaped weights. The product of its lengths is the number of weights. One length may be -1,
            which is then inferred.

    Raises:
        ValueError: If `shape` is not a tuple of positive lengths, of which one may be -1 instead. When called, if the
            weights cannot be reshaped to this shape.
        TypeError: If the rule is a class instead of an instance.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> heads = jr.Reshaped(jr.UnitNorm(axis=(0, 2)), shape=(-1, 2, 1))
        >>> print(np.asarray(heads(jnp.array([[3.0, 0.0], [4.0, 2.0]]))).round(4))
        [[0.6 0. ]
         [0.8 1. ]]
    """

    rule: Any
    shape: tuple[int, ...] = static()

    def __post_init__(self) -> None:
        refuse_class(self.rule, "Reshaped: the rule")
        lengths = self.shape if isinstance(self.shape, tuple) else ()
        if not lengths or any(not isinstance(n, int) or n == 0 or n < -1 for n in lengths) or lengths.count(-1) > 1:
            raise ValueError(
                f"Reshaped: shape is {self.shape!r}; expected a tuple of positive lengths, one of which may be -1, "
                "such as (-1, heads, size)"
            )
        object.__setattr__(self, "rule", as_node(self.rule))

    def __call__(self, w: jax.Array) -> jax.Array:
        """Apply the rule to the reshaped `w`. The result of a constraint has the original shape of `w` again."""
        return self._in_shape(self.rule, w)

    def prox(self, w: jax.Array, step: Number) -> jax.Array:
        """Return the proximal step of the wrapped penalty from `w` with the step size `step`, in the shape of `w`."""
        return self._in_shape(lambda x: self.rule.prox(x, step), w)

    def lmo(self, direction: jax.Array) -> jax.Array:
        """Return the minimiser z of ⟨direction, z⟩ over the wrapped constraint's set, in the shape of `direction`."""
        return self._in_shape(self.rule.lmo, direction)

    def tangent(self, w: jax.Array, direction: jax.Array) -> jax.Array:
        """Return the component of `direction` that is tangent to the wrapped constraint's set at the point `w`."""
        return self._in_shape(facts(self.rule).tangent, w, direction)

    def transported(self, before: jax.Array, after: jax.Array, moment: jax.Array) -> jax.Array:
        """Move the momentum `moment`, a tangent vector at `before`, to the tangent space at `after`."""
        return self._in_shape(facts(self.rule).transported, before, after, moment)

    def tangent_lmo(self, w: jax.Array, direction: jax.Array) -> jax.Array:
        """Return the tangent vector z at `w` that minimises ⟨direction, z⟩, with a norm of at most the sphere's radius.

        The sphere is the wrapped constraint's set: all arrays with a fixed norm, the radius. For example,
        `jaxreg.SpectralSphere` fixes the spectral norm.
        """
        return self._in_shape(facts(self.rule).tangent_lmo, w, direction)

    def needs_order(self) -> bool:
        """Return True if the wrapped rule rejects complex weights, because it needs numbers that have an order."""
        return facts(self.rule).needs_order()

    def exact_rule(self) -> Any:
        """Return a `Reshaped` that moves weights exactly to the nearest point of the wrapped constraint's set.

        Some constraints do not reach this point. A constraint with a `rate` below 1 moves weights only part of the way.
        A constraint of `jaxreg.keras` adds a small constant ε to each norm by which it divides. The result wraps the
        same constraint with rate 1 and without ε.
        """
        return Reshaped(facts(self.rule).exact_rule(), self.shape)

    def wrapped_rule(self) -> Any:
        """Return the wrapped rule."""
        return self.rule

    def view(self, w: jax.Array) -> jax.Array:
        """Return the weights `w` in the shape that the wrapped rule expects."""
        size = math.prod(n for n in self.shape if n > 0)
        if w.size != size if -1 not in self.shape else w.size % size:
            raise ValueError(
                f"Reshaped: weights of shape {w.shape} cannot be reshaped to {self.shape}; expected "
                f"lengths whose product is {w.size}, the number of weights"
            )
        return w.reshape(self.shape)

    def _in_shape(self, function: Callable[..., jax.Array], *arrays: jax.Array) -> jax.Array:
        found = function(*map(self.view, arrays))
        return found.reshape(arrays[0].shape) if found.size == arrays[0].size and found.ndim else found


def viewed(rule: Any, array: jax.Array) -> tuple[Any, jax.Array]:
    """If `rule` is a `Reshaped`, return its inner rule and the reshaped `array`. Otherwise return both unchanged."""
    return viewed(rule.rule, rule.view(array)) if isinstance(rule, Reshaped) else (rule, array)
