"""Penalties and constraints as Optax transformations: links of a chain, all of which take `params`."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxreg.landing import landing
from jaxreg.paths import Rules, Tree, assign
from jaxreg.trees import cost, nearest


class StepState(NamedTuple):
    """The number of updates made so far, at which schedules are read."""

    count: jax.Array


def _start(params: Tree, rules: Rules) -> StepState:
    assign(params, rules)  # refuse bad rules before anything is compiled
    return StepState(jnp.zeros((), jnp.int32))


def _needed(params: Any, name: str) -> None:
    if params is None:
        raise ValueError(f"jaxreg.{name} got no params; expected update(grads, state, params): pass the parameters")


def penalize(rules: Rules) -> optax.GradientTransformation:
    """Add the gradient of the penalties to the incoming gradient: coupled regularisation, Keras's `kernel_regularizer`.

    The first link of a chain: an adaptive optimiser behind it rescales the penalty's gradient with the loss's. The
    loss itself stays free of the penalty; `jaxreg.penalty` gives its value.

    Args:
        rules: Which penalty for which leaves; strengths are floats, arrays or Optax schedules.

    Returns:
        A transformation whose state is the number of updates made, and whose update needs `params`.

    Raises:
        ValueError: At `init`, if a pattern matches nothing or two claim one leaf; at `update`, without `params`.

    Example:
        >>> import jax, jax.numpy as jnp, jaxreg as jr, optax
        >>> params = {"kernel": jnp.array([[1.0], [-2.0]])}
        >>> tx = optax.chain(jr.penalize({jr.KERNELS: jr.L2(0.5)}), optax.sgd(0.1))
        >>> updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
        >>> print(updates["kernel"].ravel())
        [-0.1  0.2]
    """

    def update(updates: Tree, state: StepState, params: Tree | None = None) -> tuple[Tree, StepState]:
        _needed(params, "penalize")
        gradients, structure = jax.tree.flatten(updates)
        for i, (leaf, rule) in enumerate(assign(params, rules)):
            if rule is not None:
                slope = jax.grad(lambda w, leaf=leaf, rule=rule: cost(rule, leaf._replace(array=w), state.count))
                gradients[i] = gradients[i] + slope(leaf.array).astype(gradients[i].dtype)
        return jax.tree.unflatten(structure, gradients), StepState(optax.safe_increment(state.count))

    return optax.GradientTransformation(lambda params: _start(params, rules), update)


def project(rules: Rules) -> optax.GradientTransformation:
    """Make each step end on the nearest point of the constraints: Keras's `kernel_constraint`.

    The last link of a chain, behind the learning rate: it sees `params + updates`, the point that the step would reach,
    and hands on the update that leads to its projection. Where floating-point addition cannot reach that point
    exactly, `optax.apply_updates` ends beside it on the inner side, for bounds and for upper limits of a norm.

    Args:
        rules: Which constraint for which leaves; limits are floats, arrays or Optax schedules.

    Returns:
        A transformation whose state is the number of updates made, and whose update needs `params`.

    Raises:
        ValueError: At `init`, if a pattern matches nothing or two claim one leaf; at `update`, without `params`.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr, optax
        >>> params = {"kernel": jnp.array([[0.6], [0.8]])}
        >>> tx = optax.chain(optax.sgd(1.0), jr.project({jr.KERNELS: jr.MaxNorm(1.0)}))
        >>> updates, _ = tx.update({"kernel": jnp.array([[-2.4], [-3.2]])}, tx.init(params), params)
        >>> print(np.asarray(optax.apply_updates(params, updates)["kernel"]).ravel().round(5))
        [0.6 0.8]
    """

    def update(updates: Tree, state: StepState, params: Tree | None = None) -> tuple[Tree, StepState]:
        _needed(params, "project")
        steps, structure = jax.tree.flatten(updates)
        for i, (leaf, rule) in enumerate(assign(params, rules)):
            if rule is not None:
                goal = nearest(rule, leaf, (leaf.array + steps[i]).astype(leaf.array.dtype), state.count)
                steps[i] = landing(leaf.array, goal, steps[i].dtype)
        return jax.tree.unflatten(structure, steps), StepState(optax.safe_increment(state.count))

    return optax.GradientTransformation(lambda params: _start(params, rules), update)
