"""Warm starts that train as well as fresh initial weights."""

import jax
import jax.numpy as jnp

from jaxreg._checks import check_number
from jaxreg._hyperparameters import Number
from jaxreg._protocols import Tree


def shrink_and_perturb(params: Tree, fresh: Tree, shrink: Number = 0.4, perturb: Number = 0.1) -> Tree:
    """Shrink trained weights and add a share of fresh initial weights, as a warm start for training on new data.

    The result is shrink · params + perturb · fresh. A network that is trained further on more data often generalises
    worse than a network trained from scratch on all data. Shrinking the weights and adding fresh weights keeps what was
    learned, and makes the gradients similar to those of a fresh network. Call this function before each new phase of
    training, and reset the optimiser state.

    Args:
        params: Tree of trained weights.
        fresh: Tree like `params` with new initial weights, from the model's initialisers and a new random key.
        shrink: Factor of the trained weights, from 0 to 1: a float or an array.
        perturb: Factor of the fresh weights, at least 0: a float or an array.

    Returns:
        A tree like `params`, with its dtypes. Leaves that do not contain floating-point numbers are unchanged.

    Raises:
        ValueError: If a number is out of range, or the trees differ in structure or shapes.

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
            f"jaxreg.shrink_and_perturb: `params` has the shapes {here}, but `fresh` has {there}; expected the "
            "same shapes. Create `fresh` with the model that `params` belongs to"
        )

    def mixed(trained: jax.Array, drawn: jax.Array) -> jax.Array:
        if not jnp.issubdtype(jnp.result_type(trained), jnp.inexact):
            return trained
        return jnp.asarray(shrink * trained + perturb * drawn).astype(jnp.result_type(trained))

    return jax.tree.map(mixed, params, fresh)
