"""Penalties on the difference from reference weights."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxreg._checks import check, refuse_complex, refuse_steps
from jaxreg._groups import from_rows, to_rows
from jaxreg._hyperparameters import Number, hyperparameters, static
from jaxreg._precision import as_wide, wide
from jaxreg._protocols import Cost, Penalty, Proximable, facts, innermost, refuse_other
from jaxreg._sharding import partitioned


@hyperparameters
class ToReference(Penalty):
    """Penalty on the difference from reference weights: penalty(w - reference).

    With `L2(strength)`, the penalty is strength · Σ (w - reference)². It is called L2-SP if the reference contains
    pre-trained weights, and L2-init if the reference contains the initial weights. With L1, most weights stay equal to
    the reference. `jaxreg.to_reference` makes one `ToReference` per leaf of a tree.

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
        """Return reference + z, with the proximal step z = penalty.prox(w - reference, step) of the wrapped penalty."""
        if not isinstance(innermost(self.penalty), Proximable):
            raise TypeError(
                f"ToReference: the penalty {self.penalty!r} has no proximal step; expected a penalty with a method "
                "prox(w, step). A penalty without this method can be passed to jaxreg.penalize or jaxreg.decay"
            )
        away = self._away(w)
        left = self.penalty.prox(away, step)
        # Adding the reference back would round, and so move weights that the penalty leaves unchanged.
        return jnp.where(left == away, wide(w), jnp.asarray(self.reference, away.dtype) + left).astype(w.dtype)

    def linear_minimum(self, slope: jax.Array, budget: Number) -> jax.Array:
        """Return the minimum of cost(u) + ⟨slope, u⟩ over all arrays u with cost(u) ≤ `budget`.

        Here cost(u) is penalty(u - reference), with the wrapped penalty. If the wrapped penalty's own `linear_minimum`
        returns only a lower bound, as that of `L1L2` does, this method also returns only a lower bound.
        """
        reference = jnp.asarray(self.reference, wide(slope).dtype)
        return jnp.real(jnp.vdot(slope, reference)) + self.penalty.linear_minimum(slope, budget)

    def wrapped_rule(self) -> Any:
        """Return the penalty that is applied to the difference from the reference."""
        return self.penalty

    def needs_order(self) -> bool:
        """Return whether the wrapped penalty rejects complex weights, because complex numbers have no order."""
        return facts(self.penalty).needs_order()

    def map_rules(self, function: Callable[[Any], Any]) -> "ToReference":
        """Return a new `ToReference` with the penalty `function(penalty)` and the same reference."""
        return ToReference(function(self.penalty), self.reference)


@hyperparameters
class Wasserstein(Penalty):
    """Squared distance from the distribution of reference weights: strength · Σ (sort(w) - sort(reference))².

    The penalty pulls the distribution of the weights towards the distribution of the reference. Permuting the weights
    of a layer does not change the penalty. So an individual weight may move far from its own entry in the reference.

    The initial weights are a useful reference, because a network with these weights is known to be trainable.
    `jaxreg.initial_distributions` makes one penalty per leaf of a tree. The penalty is not convex.

    Args:
        strength: Non-negative number: a float, an array or an Optax schedule.
        reference: Array with the shape of the weights.
        layers: Axes along which layers are stacked. Each layer is sorted separately.

    Raises:
        ValueError: If the strength is negative, infinite or NaN. When called, if the weights do not have the shape of
            the reference.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> near = jr.Wasserstein(0.5, jnp.array([0.0, 1.0, 2.0]))
        >>> print(near(jnp.array([2.0, 0.0, 1.0])), near.prox(jnp.array([4.0, 0.0, 1.0]), 1.0))
        0.0 [3. 0. 1.]

    Reference:
        Lewandowski et al., Directions of curvature as an explanation for loss of plasticity, 2023.
    """

    strength: Number
    reference: jax.Array
    layers: tuple[int, ...] = static(default=())

    def __post_init__(self) -> None:
        check(self, "strength", "[0, inf)")

    def __call__(self, w: jax.Array) -> Cost:
        """Return the cost of `w`, a scalar."""
        x = wide(w)
        return as_wide(self.strength, x) * jnp.sum(jnp.square(x - self._of_same_rank(w)))

    def prox(self, w: jax.Array, step: Number) -> jax.Array:
        """Return the proximal step: move the k-th smallest weight towards the k-th smallest reference weight.

        The weight moves by the share a / (1 + a) of the distance between the two, with a = 2 · `step` · strength. The
        step size must be a single number.
        """
        refuse_steps(self, step)
        x, aims = wide(w), self._of_same_rank(w)
        share = 2 * as_wide(step, x) * as_wide(self.strength, x)
        return (x + share / (1 + share) * (aims - x)).astype(w.dtype)

    def needs_order(self) -> bool:
        """Return True: the penalty rejects complex weights, because they cannot be sorted."""
        return True

    def _of_same_rank(self, w: jax.Array) -> jax.Array:
        # The reference weights in the order of `w`. They are constant, because ranks do not change near a point.
        refuse_complex(self, w)
        if jnp.shape(self.reference) != w.shape:
            raise ValueError(
                f"Wasserstein: the weights have shape {w.shape}; expected the shape of the reference, "
                f"{jnp.shape(self.reference)}"
            )
        axes = tuple(a for a in range(w.ndim) if a not in self.layers)
        return _matched(jax.lax.stop_gradient(w), jnp.asarray(self.reference), axes)


@partitioned()
def _matched(w: jax.Array, reference: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    if w.size == 0:
        return wide(w)
    rows, aims = (to_rows(wide(array), axes) for array in (w, reference))
    ranks = jnp.argsort(jnp.argsort(rows, axis=1), axis=1)
    return from_rows(jnp.take_along_axis(jnp.sort(aims, axis=1), ranks, axis=1), w.shape, axes)
