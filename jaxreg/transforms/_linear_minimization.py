"""Steps towards the farthest point of a set against the gradient: conditional gradient, steepest descent, spheres.

Where a constraint has `lmo(direction)`, a point z of its set that minimises ⟨direction, z⟩ (a linear minimisation
oracle), these links replace the optimiser's direction u by it. They stand before the learning rate η. What
the set is decides what the step is: the sign of u for `LinfBall` (signSGD, Lion), U Vᵀ for `SpectralNorm` (Muon), u
of unit length, unit by unit, for `MaxNorm`. Adam needs no place in such a chain; a running mean of the gradient does:

    optax.chain(optax.ema(0.9, debias=False), jaxreg.conditional_gradient(rules), optax.scale_by_learning_rate(rate))
"""

import jax
import jax.numpy as jnp
import optax

from jaxreg._groups import group_norms
from jaxreg._hyperparameters import Number
from jaxreg._precision import wide
from jaxreg._protocols import ConstraintRules, Rule
from jaxreg.rules._evaluate import minimize_leaves
from jaxreg.rules._matching import Leaf, rule_axes
from jaxreg.transforms._base import with_constraints
from jaxreg.transforms._project import project


def conditional_gradient(rules: ConstraintRules) -> optax.GradientTransformation:
    """Go a share of the way to the farthest point of the set against u: w ← (1 - η) w + η · lmo(u).

    Stands before the learning rate, which is the share, in [0, 1]. From a start in a convex set every step stays in it
    with no projection (see `jaxreg.projected` for the start). Decoupled decay is built in: signSGD with AdamW's decay
    d at the rate r is this with `LinfBall(1 / d)` at the rate r d; Muon is the same with `SpectralNorm(1 / d)`.

    Args:
        rules: Constraints that have an `lmo`, by path pattern, or one for all kernels. Limits are floats, arrays or
            Optax schedules.

    Returns:
        A gradient transformation. Its state counts the updates. Its `update` needs `params`.

    Raises:
        ValueError: At `init`, if a pattern matches no leaf or two patterns match one leaf. At `update`, if `params` is
            missing.
        TypeError: At `update`, if a rule has no `lmo`.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr, optax
        >>> params = {"kernel": jnp.array([[1.0], [-2.0]])}
        >>> tx = optax.chain(jr.conditional_gradient(jr.LinfBall(4.0)), optax.scale_by_learning_rate(0.5))
        >>> updates, _ = tx.update({"kernel": jnp.array([[0.1], [-7.0]])}, tx.init(params), params)
        >>> print(optax.apply_updates(params, updates)["kernel"].ravel())
        [-1.5  1. ]

    Reference:
        Frank and Wolfe, An algorithm for quadratic programming, 1956; Pethick et al., Training deep learning models
        with norm-constrained LMOs, 2025 (Scion).
    """

    def change(rule: Rule, leaves: list[Leaf], steps: list[jax.Array], count: jax.Array) -> list[jax.Array]:
        ends = minimize_leaves(rule, leaves, steps, count)
        return [(leaf.array - end).astype(u.dtype) for leaf, end, u in zip(leaves, ends, steps, strict=True)]

    return with_constraints("conditional_gradient", rules, change)


def steepest(rules: ConstraintRules) -> optax.GradientTransformation:
    """Replace u by the step of one size that falls fastest along it: w ← w + η · lmo(u), for balls and spheres.

    Stands before the learning rate. The limit of the constraint is the size of the step, in its own norm, whatever the
    size of u; a group whose u is 0 stays. Nothing bounds the weights: that takes `jaxreg.project` behind it.

    Args:
        rules: Constraints that have an `lmo`, by path pattern, or one for all kernels. Limits are floats, arrays or
            Optax schedules.

    Returns:
        A gradient transformation. Its state counts the updates. Its `update` needs `params`.

    Raises:
        ValueError: At `init`, if a pattern matches no leaf or two patterns match one leaf. At `update`, if `params` is
            missing.
        TypeError: At `update`, if a rule has no `lmo`.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> params = {"kernel": jnp.ones((2, 2))}
        >>> tx = jr.steepest(jr.SpectralNorm(1.0))
        >>> updates, _ = tx.update({"kernel": jnp.diag(jnp.array([9.0, 0.1]))}, tx.init(params), params)
        >>> print(np.asarray(updates["kernel"]).round(4))
        [[1. 0.]
         [0. 1.]]

    Reference:
        Pethick et al., Training deep learning models with norm-constrained LMOs, 2025 (unconstrained Scion); Bernstein
        and Newhouse, Old optimizer, new norm, 2024.
    """

    def change(rule: Rule, leaves: list[Leaf], steps: list[jax.Array], count: jax.Array) -> list[jax.Array]:
        moved = []
        for end, u in zip(minimize_leaves(rule, leaves, steps, count), steps, strict=True):
            axes = rule_axes(rule, u.ndim)
            still = u == 0 if axes is None else group_norms(wide(u), axes) == 0
            moved.append(jnp.where(still, 0, -end))
        return moved

    return with_constraints("steepest", rules, change)


def hyperball(rules: ConstraintRules, learning_rate: Number) -> optax.GradientTransformation:
    """Steps that keep the norm, of a length that is a share of it: w ← R · unit(w - η R · unit(u)), unit(x) = x / ‖x‖.

    Replaces the learning rate and the constraint. Stands behind `optax.scale_by_adam` or another direction.
    The learning rate is the angle of a step, in radians while it is small, for weights of every size; there is nothing
    left for a decay to do.

    Args:
        rules: Which sphere for which leaves, such as `jaxreg.initial_spheres` gives.
        learning_rate: η; a float, an array or an Optax schedule. Leaves without a rule are moved by it too.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr, optax
        >>> params = {"kernel": jnp.array([[3.0, 0.0], [0.0, 4.0]])}
        >>> tx = optax.chain(optax.scale_by_adam(), jr.hyperball(jr.initial_spheres(params), 0.1))
        >>> updates, _ = tx.update({"kernel": jnp.ones((2, 2))}, tx.init(params), params)
        >>> print(round(float(jnp.linalg.norm(optax.apply_updates(params, updates)["kernel"])), 5))
        5.0

    Reference:
        Wen et al., Fantastic pretraining optimizers and where to find them II: hyperball optimization, 2026.
    """
    return optax.chain(steepest(rules), optax.scale_by_learning_rate(learning_rate), project(rules))
