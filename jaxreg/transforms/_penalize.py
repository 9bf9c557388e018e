"""Coupled regularisation: the gradient of the penalty is added to the gradient of the loss."""

import jax
import optax

from jaxreg._protocols import PenaltyRules, Rule
from jaxreg.rules._evaluate import penalty_gradient
from jaxreg.rules._matching import Leaf
from jaxreg.transforms._base import with_penalties


def penalize(rules: PenaltyRules) -> optax.GradientTransformation:
    """Add the gradient of the penalties to the incoming gradient, like Keras's `kernel_regularizer`.

    This is coupled regularisation. Put the transformation first in the chain. An adaptive optimiser then rescales the
    sum of both gradients. The value of your loss does not include the penalty. `jaxreg.penalty` returns the value of
    the penalty.

    For complex weights, all Optax optimisers need the conjugate of the gradient that `jax.grad` returns. So pass this
    conjugate. `penalize` adds the conjugate of the penalty's gradient to it.

    Args:
        rules: Penalties by path pattern, or one penalty for all kernels. Strengths are floats, arrays or Optax
            schedules.

    Returns:
        A gradient transformation. Its state counts the updates. Its `update` needs `params`.

    Raises:
        ValueError: At `init`, if a pattern matches no leaf, or two patterns of equal precedence match one leaf (see
            `jaxreg.explain`). At `update`, if `params` is missing.

    Example:
        >>> import jax, jax.numpy as jnp, jaxreg as jr, optax
        >>> params = {"kernel": jnp.array([[1.0], [-2.0]])}
        >>> tx = optax.chain(jr.penalize({jr.KERNELS: jr.L2(0.5)}), optax.sgd(0.1))
        >>> updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
        >>> print(updates["kernel"].ravel())
        [-0.1  0.2]
    """

    def change(rule: Rule, leaf: Leaf, update: jax.Array, count: jax.Array) -> jax.Array:
        return update + penalty_gradient(rule, leaf, count).astype(update.dtype)

    return with_penalties("penalize", rules, change)
