"""Penalties on the difference from reference weights."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxreg._hyperparameters import Number, hyperparameters
from jaxreg._precision import wide
from jaxreg._protocols import Cost, Penalty, Proximable, facts, innermost, refuse_other


@hyperparameters
class ToReference(Penalty):
    """Penalty on the difference from reference weights: penalty(w - reference).

    With L2 it is strength · Σ(w - w_ref)². This is L2-SP if the reference holds the pre-trained weights, and L2-init
    if it holds the initial weights. With L1 most weights stay exactly at the reference. `jaxreg.to_reference` makes
    one `ToReference` per leaf of a tree.

    Args:
        penalty: Penalty of this package, such as `L2(0.001)`.
        reference: Array with the shape of the weights.

    Raises:
        TypeError: If `penalty` is not a penalty of this package.
        ValueError: When called, if the weights do not have the shape of the reference.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> away = jr.ToReference(jr.L2(0.5), jnp.array([1.0, 1.0]))
        >>> print(away(jnp.array([3.0, 1.0])), away.prox(jnp.array([3.0, 1.0]), 1.0))
        2.0 [2. 1.]

    Reference:
        Li, Grandvalet and Davoine, Explicit inductive bias for transfer learning, 2018 (L2-SP); Kumar, Marklund and
        Van Roy, Maintaining plasticity via regenerative regularization, 2023 (L2-init).
    """

    penalty: Any
    reference: jax.Array

    def __post_init__(self) -> None:
        if not callable(self.penalty) or jax.tree_util.all_leaves([self.penalty]):
            raise TypeError(f"ToReference: penalty is {self.penalty!r}; expected a penalty such as jaxreg.L2(0.001)")
        refuse_other(self.penalty, Penalty, "ToReference: penalty", "jaxreg.project")

    def _away(self, w: jax.Array) -> jax.Array:
        if jnp.shape(self.reference) != w.shape:
            raise ValueError(
                f"ToReference: the weights have shape {w.shape}; expected the shape of the reference, "
                f"{jnp.shape(self.reference)}"
            )
        return wide(w) - jnp.asarray(self.reference, wide(w).dtype)

    def __call__(self, w: jax.Array) -> Cost:
        """Return the cost of `w`, a scalar."""
        return self.penalty(self._away(w))

    def prox(self, w: jax.Array, step: Number) -> jax.Array:
        """Return the proximal step of the penalty, towards the reference instead of 0."""
        if not isinstance(innermost(self.penalty), Proximable):
            raise TypeError(
                f"ToReference: {self.penalty!r} has no proximal step; use it in jaxreg.penalize or jaxreg.decay"
            )
        away = self._away(w)
        left = self.penalty.prox(away, step)
        # Adding the reference back would round, and so move weights that the penalty leaves unchanged.
        return jnp.where(left == away, wide(w), jnp.asarray(self.reference, away.dtype) + left).astype(w.dtype)

    def linear_minimum(self, slope: jax.Array, budget: Number) -> jax.Array:
        """Return the minimum of the penalty plus a linear function of the weights."""
        reference = jnp.asarray(self.reference, wide(slope).dtype)
        return jnp.real(jnp.vdot(slope, reference)) + self.penalty.linear_minimum(slope, budget)

    def wrapped_rule(self) -> Any:
        """Return the penalty."""
        return self.penalty

    def needs_order(self) -> bool:
        """Return whether the penalty needs the order of real numbers."""
        return facts(self.penalty).needs_order()

    def map_rules(self, function: Callable[[Any], Any]) -> "ToReference":
        """Apply `function` to the penalty and keep the reference."""
        return ToReference(function(self.penalty), self.reference)
