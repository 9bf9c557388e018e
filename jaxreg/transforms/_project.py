"""Projection after each update, like Keras's `kernel_constraint`."""

import jax
import optax

from jaxreg._checks import check_integer
from jaxreg._protocols import ConstraintRules, Rule
from jaxreg.rules._evaluate import at_rule, project_leaves
from jaxreg.rules._matching import Leaf
from jaxreg.transforms._base import after_update, with_constraints
from jaxreg.transforms._exact_update import landing


def project(rules: ConstraintRules, every: int = 1) -> optax.GradientTransformation:
    """Project the weights after each optimiser step onto the constraints, like Keras's `kernel_constraint`.

    Put the transformation last in the chain, after the learning rate. It projects `params + updates` and returns the
    update from `params` to the projection. Initial weights are not projected. To project them, use `jaxreg.projected`.

    The weights that `optax.apply_updates` returns can differ from the projection by a rounding error. The direction of
    this error is chosen so that bounds and upper limits on a norm still hold.

    Args:
        rules: Dict from path pattern to constraint, or one constraint for all kernels. Limits are floats, arrays or
            Optax schedules.
        every: Number of updates from one projection to the next, at least 1.

    Returns:
        A gradient transformation. Its state counts the updates. Its `update` needs `params`.

    Raises:
        ValueError: If `every` is below 1. At `init`, if a pattern matches no leaf, or two patterns of equal precedence
            match one leaf (see `jaxreg.explain`). At `update`, if `params` is missing.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr, optax
        >>> params = {"kernel": jnp.array([[0.6], [0.8]])}
        >>> tx = optax.chain(optax.sgd(1.0), jr.project({jr.KERNELS: jr.MaxNorm(1.0)}))
        >>> updates, _ = tx.update({"kernel": jnp.array([[-2.4], [-3.2]])}, tx.init(params), params)
        >>> print(np.asarray(optax.apply_updates(params, updates)["kernel"]).ravel().round(5))
        [0.6 0.8]
    """
    advice = ' (with optax.inject_hyperparams, pass static_args=("every",))'
    every = check_integer(every, "jaxreg.project: `every`", 1, advice)

    def change(rule: Rule, leaves: list[Leaf], updates: list[jax.Array], count: jax.Array) -> list[jax.Array]:
        def landed() -> list[jax.Array]:
            there = [after_update(leaf, update) for leaf, update in zip(leaves, updates, strict=True)]
            goals, read = project_leaves(rule, leaves, there, count), at_rule(rule, count)
            return [
                landing(leaf.array, goal, update.dtype, read)
                for leaf, goal, update in zip(leaves, goals, updates, strict=True)
            ]

        return landed() if every == 1 else jax.lax.cond((count + 1) % every == 0, landed, lambda: updates)

    return with_constraints("project", rules, change, every)
