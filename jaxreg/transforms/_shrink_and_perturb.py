"""Warm starts that learn like fresh ones."""

import jax
import jax.numpy as jnp

from jaxreg._checks import check_number
from jaxreg._hyperparameters import Number
from jaxreg._protocols import Tree


def shrink_and_perturb(params: Tree, fresh: Tree, shrink: Number = 0.4, perturb: Number = 0.1) -> Tree:
    """Return shrink · params + perturb · fresh: a warm start that goes on learning when new data arrive.

    A network trained further on more data ends worse than one trained from scratch. Shrunk weights with some noise keep
    what was learned and regain the gradients of a fresh start. Call it before each new phase of a training, and start
    the optimiser anew.

    Args:
        params: Tree of trained weights.
        fresh: Tree like it: weights drawn anew by the model's own initialisers, with another key each time.
        shrink: Share of the trained weights, from 0 to 1; a float or an array.
        perturb: Share of the fresh weights, at least 0; a float or an array.

    Returns:
        A tree like `params`, in its dtypes. Leaves that are not of floating point stay as they are.

    Raises:
        ValueError: If a number is out of its range, or the trees differ in structure or shapes.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> trained, fresh = {"kernel": jnp.array([[2.0], [-4.0]])}, {"kernel": jnp.array([[0.5], [0.5]])}
        >>> print(jr.shrink_and_perturb(trained, fresh, shrink=0.5, perturb=1.0)["kernel"].ravel())
        [ 1.5 -1.5]

    Reference:
        Ash and Adams, On warm-starting neural network training, 2020.
    """
    check_number(shrink, "jaxreg.shrink_and_perturb: shrink", "[0, 1]")
    check_number(perturb, "jaxreg.shrink_and_perturb: perturb", "[0, inf)")
    here, there = (jax.tree.map(jnp.shape, tree) for tree in (params, fresh))
    if here != there:
        raise ValueError(
            f"jaxreg.shrink_and_perturb: params have the shapes {here} and fresh {there}; expected the same tree, "
            "drawn anew by the same model"
        )

    def mixed(trained: jax.Array, drawn: jax.Array) -> jax.Array:
        if not jnp.issubdtype(jnp.result_type(trained), jnp.inexact):
            return trained
        return jnp.asarray(shrink * trained + perturb * drawn).astype(jnp.result_type(trained))

    return jax.tree.map(mixed, params, fresh)
