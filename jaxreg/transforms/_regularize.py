"""An optimiser chain with all transformations in the right order."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxreg._checks import check_number
from jaxreg._hyperparameters import Number
from jaxreg._protocols import Constraint, ConstraintRules, Penalty, PenaltyRules, Tree
from jaxreg.transforms._base import refuse_other_leaves, watched
from jaxreg.transforms._decay import decay
from jaxreg.transforms._penalize import penalize
from jaxreg.transforms._project import project
from jaxreg.transforms._proximal import proximal


def regularize(
    optimizer: optax.GradientTransformation,
    learning_rate: Number | None = None,
    *,
    penalties: PenaltyRules | None = None,
    decays: PenaltyRules | None = None,
    proximals: PenaltyRules | None = None,
    constraints: ConstraintRules | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Add penalties, decay, proximal steps and constraints to an optimiser, each at the right place in the chain.

    Penalties come before the optimiser. Decay is added to the optimiser's updates. Proximal steps come after the
    optimiser, and constraints come last. If you build the chain yourself, a wrong order raises no error and is easily
    missed.

    Each of the last four arguments is a dict from path pattern to rule, or a single rule for all kernels. A single rule
    does not apply to biases. `jaxreg.explain` shows the rule of each leaf.

    Args:
        optimizer: Complete optimiser, whose updates are ready to be added to the parameters. Examples are
            `optax.adam(1e-3)` and a chain that ends in `optax.scale_by_learning_rate`. If you pass `decays`, use an
            optimiser without decay: with `optax.adamw`, the weights would decay twice. For L2 and L1L2, `jaxreg.check`
            reports this mistake.
        learning_rate: Learning rate of the optimiser: a float, an array or an Optax schedule. Needed for `decays` and
            `proximals`, which are scaled by it.
        penalties: Penalties for `jaxreg.penalize`. Their gradients are added to the gradient of the loss, as by Keras's
            `kernel_regularizer` (coupled regularisation).
        decays: Penalties for `jaxreg.decay`. Their gradients are added to the optimiser's direction, as in AdamW
            (decoupled regularisation). `L2(d / 2)` is AdamW's `weight_decay` d, because `L2(s)` has the gradient 2sw.
        proximals: Penalties for `jaxreg.proximal`. With SGD, `L1` then sets weights exactly to 0. With Adam, it sets
            fewer weights to 0 than `jaxreg.proximal_adam(rules, learning_rate)`. `proximal_adam` applies its rules
            itself: pass it as `optimizer`, without `proximals`.
        constraints: Constraints for `jaxreg.project`, which projects the weights after each step, like Keras's
            `kernel_constraint`.

    Returns:
        A complete optimiser. Its `update` needs `params`, and passes extra arguments to `optimizer`.

    Raises:
        ValueError: If `decays` or `proximals` are given without a learning rate, or the learning rate is negative. At
            `init`, if a pattern matches no leaf, or two patterns of equal precedence match one leaf (see
            `jaxreg.explain`).
        TypeError: If `optimizer` is not an Optax transformation. If rules are passed as `learning_rate`. If a rule is
            not a function. If a constraint is passed where a penalty is expected, or a penalty where a constraint is
            expected. At `init`, if a leaf of `params` is not an array, and the optimiser does not accept such leaves.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr, optax
        >>> params = {"kernel": jnp.array([[3.0], [4.0]]), "bias": jnp.zeros(1)}
        >>> tx = jr.regularize(optax.sgd(0.1), penalties=jr.L2(1e-3), constraints=jr.MaxNorm(1.0))
        >>> updates, _ = tx.update({"kernel": jnp.zeros((2, 1)), "bias": jnp.ones(1)}, tx.init(params), params)
        >>> print(np.asarray(optax.apply_updates(params, updates)["kernel"]).ravel().round(4))
        [0.6 0.8]
    """
    if not (callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))):
        raise TypeError(
            f"jaxreg.regularize: optimizer is {optimizer!r}; expected a complete Optax optimiser, such as "
            "optax.adam(1e-3)"
        )
    if isinstance(learning_rate, Mapping | Penalty | Constraint):
        raise TypeError(
            f"jaxreg.regularize: learning_rate is {learning_rate!r}; expected a number or an Optax schedule. Pass "
            "rules by name: penalties=, decays=, proximals= or constraints="
        )
    if learning_rate is not None:
        check_number(learning_rate, "jaxreg.regularize: learning_rate", "[0, inf)")
    for name, rules in (("decays", decays), ("proximals", proximals)):
        if rules is not None and learning_rate is None:
            raise ValueError(
                f"jaxreg.regularize: {name} are scaled by the learning rate, which is missing; pass learning_rate=, "
                "the learning rate of the optimiser"
            )
    links: list[optax.GradientTransformation] = [optax.with_extra_args_support(optimizer)]
    if decays is not None or proximals is not None:
        links = [watched(links[0], learning_rate)]
    if decays is not None:
        links = [_beside(links[0], optax.chain(decay(decays), optax.scale_by_learning_rate(learning_rate)))]
    if penalties is not None:
        links.insert(0, penalize(penalties))
    if proximals is not None:
        links.append(proximal(proximals, learning_rate))
    if constraints is not None:
        links.append(project(constraints))
    return _with_clear_init(optax.with_extra_args_support(optax.chain(*links)))


def _with_clear_init(tx: optax.GradientTransformationExtraArgs) -> optax.GradientTransformationExtraArgs:
    # Some optimisers accept other leaves than arrays, such as optax.sgd. So look for such leaves only after an error.
    def init(params: Tree) -> Any:
        try:
            return tx.init(params)
        except TypeError:
            refuse_other_leaves(params, "regularize")
            raise

    return optax.GradientTransformationExtraArgs(init, tx.update)


def _beside(
    optimizer: optax.GradientTransformation, pull: optax.GradientTransformation
) -> optax.GradientTransformationExtraArgs:
    # The optimiser has already applied learning rate and sign. So the decay computes its own step, which is added.
    def init(params: Tree) -> Any:
        return optimizer.init(params), pull.init(params)

    def update(updates: Tree, states: Any, params: Tree | None = None, **extra: Any) -> tuple[Tree, Any]:
        none = jax.tree.map(jnp.zeros_like, updates)
        steps, state = optimizer.update(updates, states[0], params, **extra)
        pulls, pull_state = pull.update(none, states[1], params)
        return jax.tree.map(jnp.add, steps, pulls), (state, pull_state)

    return optax.GradientTransformationExtraArgs(init, update)
