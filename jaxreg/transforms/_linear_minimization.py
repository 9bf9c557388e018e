"""Optimiser steps from a linear minimisation oracle: conditional gradient, steepest descent and steps on spheres.

A linear minimisation oracle is the method `lmo(direction)` of a constraint. It returns a point z of the set that
minimises ⟨direction, z⟩. For the optimiser's direction u, the transformations move the weights by or towards this
point. The set determines the direction of the step:

- `LinfBall`: the sign of u, as in signSGD and Lion
- `SpectralNorm`: U Vᵀ, as in Muon
- `MaxNorm`: u with each unit scaled to norm 1

Put them before the learning rate η in the chain. Use them with a running mean of the gradient, not with Adam:

    optax.chain(optax.ema(0.9, debias=False), jaxreg.conditional_gradient(rules), optax.scale_by_learning_rate(rate))
"""

import jax
import jax.numpy as jnp
import optax

from jaxreg._groups import group_norms
from jaxreg._hyperparameters import Number
from jaxreg._precision import wide
from jaxreg._protocols import ConstraintRules, Rule, facts
from jaxreg.constraints._spheres import tree_norm
from jaxreg.rules._evaluate import minimize_leaves
from jaxreg.rules._matching import Leaf, rule_axes
from jaxreg.transforms._base import with_constraints
from jaxreg.transforms._project import project


def conditional_gradient(rules: ConstraintRules) -> optax.GradientTransformation:
    """Move the weights towards a point of the constraint set: w ← (1 - η) w + η · lmo(u).

    lmo(u) is the point of the set with the smallest inner product with the optimiser's direction u, and η is the
    learning rate. This is the Frank-Wolfe method. Put it before the learning rate in the chain. η must be in [0, 1]. If
    the set is convex and contains the initial weights, it contains the weights after every step, without a projection.
    `jaxreg.projected` returns such initial weights.

    Decoupled decay is built in. SignSGD with learning rate r and decay d is this method with `LinfBall(1 / d)` and
    learning rate r · d. For Muon, use `SpectralNorm(1 / d)`.

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
    """Replace the direction u by steepest descent in the norm of the constraint: w ← w + η · lmo(u).

    lmo(u) is the point of the constraint set with the smallest inner product with u, and η is the learning rate. Put
    the transformation before the learning rate in the chain. The constraint must be a ball or a sphere. Each step has
    the norm η · limit, where `limit` is the radius of the ball or sphere, however large u is. A group of weights for
    which u is 0 is not moved. The constraint limits the steps, not the weights. To limit the weights, put
    `jaxreg.project` after the learning rate.

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
    """Take optimiser steps on a sphere of radius R: w ← R · unit(w - η R · unit(u)) with unit(x) = x / ‖x‖.

    Put it at the end of the chain, after `optax.scale_by_adam` or another transformation that returns a direction u. It
    applies the learning rate η and the projection itself. For small η, each step rotates the weights by at most about η
    radians, whatever their norm. Weight decay is not needed, because the norm is fixed.

    Args:
        rules: Spheres by path pattern, such as the rules of `jaxreg.initial_spheres`.
        learning_rate: η: a float, an array or an Optax schedule. It also applies to leaves without a rule.

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


def tangent(rules: ConstraintRules) -> optax.GradientTransformation:
    """Remove from the direction u its component along the weights: u ← u - ⟨u, w⟩ w / ‖w‖², for each group of weights.

    For weights on spheres, this component changes only the norm, and the projection undoes the change. Put the
    transformation first in the chain, so that momentum does not accumulate the component. Groups of zeros keep their
    direction.

    Args:
        rules: Spheres by path pattern, such as the rules of `jaxreg.initial_spheres`. Only their groups are used.

    Returns:
        A gradient transformation. Its state counts the updates. Its `update` needs `params`.

    Raises:
        ValueError: At `init`, if a pattern matches no leaf or two patterns match one leaf. At `update`, if `params` is
            missing.
        TypeError: At `update`, if a rule has no groups, such as `Box`.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> params = {"kernel": jnp.array([[2.0], [0.0]])}
        >>> tx = jr.tangent(jr.UnitNorm())
        >>> updates, _ = tx.update({"kernel": jnp.array([[5.0], [3.0]])}, tx.init(params), params)
        >>> print(updates["kernel"].ravel())
        [0. 3.]

    Reference:
        Absil, Mahony and Sepulchre, Optimization algorithms on matrix manifolds, 2008, section 3.6.
    """

    def change(rule: Rule, leaves: list[Leaf], steps: list[jax.Array], count: jax.Array) -> list[jax.Array]:
        units, alongs = [], []
        for leaf, u in zip(leaves, steps, strict=True):
            axes = rule_axes(rule, u.ndim)
            if axes is None:
                raise TypeError(
                    f"jaxreg.tangent: the rule for {leaf.path} is {rule!r}, which has no groups of weights; expected a "
                    "sphere, such as FrobeniusSphere or UnitNorm"
                )
            w = wide(leaf.array)
            norm = tree_norm([leaf.array for leaf in leaves]) if facts(rule).joint else group_norms(w, axes)
            units.append(w / jnp.where(norm > 0, norm, 1))
            alongs.append(jnp.sum(jnp.real(jnp.conj(units[-1]) * wide(u)), axes, keepdims=True))
        if facts(rule).joint:
            alongs = [jnp.sum(jnp.stack([along.reshape(()) for along in alongs]))] * len(leaves)
        return [(wide(u) - a * unit).astype(u.dtype) for u, a, unit in zip(steps, alongs, units, strict=True)]

    return with_constraints("tangent", rules, change)
