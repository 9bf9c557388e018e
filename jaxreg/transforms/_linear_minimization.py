"""Optimiser steps from a linear minimisation oracle: conditional gradient, steepest descent and steps on spheres.

A linear minimisation oracle is the method `lmo(direction)` of a constraint. It returns a point z of the constraint set
at which the inner product ⟨direction, z⟩ is smallest. Let u be the optimiser's direction, such as a running mean of the
gradient: a plain step is w ← w - ηu. `conditional_gradient` moves the weights w towards the point lmo(u), and
`steepest` moves the weights by lmo(u). The point is opposite to u in a sense that depends on the set. It is a negative
multiple of:

- `LinfBall`: the sign of u, as in signSGD and Lion
- `SpectralNorm`: U Vᵀ from the SVD of u, as in Muon
- `MaxNorm`: u with each unit scaled to norm 1

Put `conditional_gradient` or `steepest` before the learning rate η in the chain. Use it with a running mean of the
gradient, not with Adam:

    optax.chain(optax.ema(0.9, debias=False), jaxreg.conditional_gradient(rules), optax.scale_by_learning_rate(rate))
"""

import jax
import jax.numpy as jnp
import optax

from jaxreg._checks import check_number
from jaxreg._groups import group_norms
from jaxreg._hyperparameters import Number, rate_at
from jaxreg._precision import eps, real_dtype, wide
from jaxreg._protocols import ConstraintRules, Rule, facts
from jaxreg.constraints._spheres import tree_norm
from jaxreg.rules._evaluate import at_rule, minimize_leaves
from jaxreg.rules._matching import Leaf, rule_axes
from jaxreg.rules._reshaped import viewed
from jaxreg.transforms._base import after_update, refuse_single_weights, with_constraints
from jaxreg.transforms._exact_update import landing
from jaxreg.transforms._project import project


def conditional_gradient(rules: ConstraintRules) -> optax.GradientTransformation:
    """Take Frank-Wolfe steps, which move the weights towards a point of the constraint set.

    A step is w ← (1 - η) w + η · lmo(u). Here w are the weights, and η is the learning rate, which must be from 0 to 1.
    u is the incoming direction, such as a running mean of the gradient. lmo(u) is the point of the set that has the
    smallest inner product with u. Put the transformation before the learning rate in the chain.

    If the set is convex and contains the initial weights, the weights stay in the set after every step. No projection
    is needed. `jaxreg.projected` moves initial weights into the set.

    The factor 1 - η is a decoupled weight decay, so no further decay is needed. With `LinfBall(1 / d)` and learning
    rate r · d, the method is SignSGD with learning rate r and decay d. With `SpectralNorm(1 / d)` and learning rate
    r · d, it is Muon with learning rate r and decay d, without Muon's factor for the shape of a kernel.

    Args:
        rules: Constraints that have an `lmo`, by path pattern, or one for all kernels. Limits are floats, arrays or
            Optax schedules.

    Returns:
        A gradient transformation. Its state counts the updates. Its `update` needs `params`.

    Raises:
        ValueError: At `init`, if a pattern matches no leaf, or two patterns of equal precedence match one leaf (see
            `jaxreg.explain`). At `update`, if `params` is missing.
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


def steepest(rules: ConstraintRules, tangent: bool = False) -> optax.GradientTransformation:
    """Replace the optimiser's direction by the direction of steepest descent in the norm of the constraint.

    The incoming direction u points uphill, like the gradient or its running mean. lmo(u) points downhill: it is the
    point of the constraint set that has the smallest inner product with u. The transformation returns -lmo(u). The
    learning rate η comes later in the chain and changes the sign. So a step of the weights w is w ← w + η · lmo(u).

    The constraint must be a ball or a sphere. It limits only the steps: each step has the norm η · radius, for small
    and for large u. A group of weights for which u is 0 is not moved. To limit the weights too, put `jaxreg.project`
    after the learning rate.

    Args:
        rules: Constraints that have an `lmo`, by path pattern, or one for all kernels. Limits are floats, arrays or
            Optax schedules.
        tangent: If True, replace lmo(u) by the minimiser of ⟨u, z⟩ over tangent steps z. These are tangent to the set
            at the weights, and their norm is at most the radius. Use this option for spheres. The weights must lie on
            the sphere. A group of weights is not moved if u is orthogonal to the sphere there.

    Returns:
        A gradient transformation. Its state counts the updates. Its `update` needs `params` and returns -lmo(u).

    Raises:
        ValueError: At `init`, if a pattern matches no leaf, or two patterns of equal precedence match one leaf (see
            `jaxreg.explain`). At `update`, if `params` is missing.
        TypeError: At `update`, if a rule has no `lmo`.

    Example:
        Here u is diag(9, 0.1), and lmo(u) is -I. The transformation returns -lmo(u), the identity matrix I.

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
        ends = minimize_leaves(rule, leaves, steps, count, tangent)
        idle = _without_tangent(rule, leaves, steps, count) if tangent else [None] * len(steps)
        for end, u, still in zip(ends, steps, idle, strict=True):
            inside, x = viewed(rule, u)
            if still is None:
                axes = rule_axes(inside, x.ndim)
                still = x == 0 if axes is None else group_norms(wide(x), axes) == 0
            moved.append(jnp.where(still, 0, -end.reshape(x.shape)).reshape(u.shape))
        return moved

    return with_constraints("steepest", rules, change)


def hyperball(rules: ConstraintRules, learning_rate: Number, tangent: bool = False) -> optax.GradientTransformation:
    """Take optimiser steps whose length is learning_rate · radius, and project the weights back onto their sphere.

    Put `hyperball` at the end of the chain, after `optax.scale_by_adam` or another transformation that returns a
    direction u. `hyperball` applies the learning rate η and the projection itself. Weight decay is not needed, because
    the norm is fixed. A step of the weights w depends on the sphere:

    - Spheres of the Euclidean norm, such as `FrobeniusSphere`: w ← R · unit(w - η R · unit(u)). Here R is the radius,
      and unit(x) = x / ‖x‖ for each group of weights. For small η, each step rotates the weights by at most about η
      radians, for every radius.
    - `SpectralSphere`: w ← s · unit(w - η s · U Vᵀ). Here u = U S Vᵀ is the SVD, s = radius · √(units / inputs) is the
      fixed spectral norm, and unit(x) divides x by its spectral norm. The chain needs no orthogonalisation of u, such
      as Muon's, because `hyperball` replaces u by U Vᵀ.

    Args:
        rules: Spheres by path pattern, such as the rules of `jaxreg.initial_spheres`.
        learning_rate: η, as a float, an array or an Optax schedule. It also applies to leaves without a rule.
        tangent: If True, replace unit(u) or U Vᵀ in the formula by the steepest direction that is tangent to the sphere
            at w. For the Euclidean norm, this is unit(u - ⟨u, w⟩ w / ‖w‖²). For `SpectralSphere`, True gives the
            spectral sphere optimiser (SSO), and False gives MuonSphere.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr, optax
        >>> params = {"kernel": jnp.array([[3.0, 0.0], [0.0, 4.0]])}
        >>> tx = optax.chain(optax.scale_by_adam(), jr.hyperball(jr.initial_spheres(params), 0.1))
        >>> updates, _ = tx.update({"kernel": jnp.ones((2, 2))}, tx.init(params), params)
        >>> print(round(float(jnp.linalg.norm(optax.apply_updates(params, updates)["kernel"])), 5))
        5.0

    Reference:
        Wen et al., Fantastic pretraining optimizers and where to find them II: hyperball optimization, 2026; Xie et
        al., Controlled LLM training on spectral sphere, 2026.
    """
    return optax.chain(steepest(rules, tangent), optax.scale_by_learning_rate(learning_rate), project(rules))


def tangent(rules: ConstraintRules) -> optax.GradientTransformation:
    """Keep only the component of the optimiser's direction u that is tangent to the constraint set.

    A step along the removed component would leave the set, and `jaxreg.project` at the end of the chain would move the
    weights back. Put `tangent` first in the chain, so that momentum does not accumulate this component. The direction u
    is then the gradient.

    The tangent component at the weights w depends on the constraint:

    - `FrobeniusSphere`, `TreeNorm` and `UnitNorm`: u - ⟨u, w⟩ w / ‖w‖². For a group of weights that are all 0, it is
      u.
    - `SpectralSphere`: u - ⟨Θ, u⟩ Θ. Here Θ = u₁ v₁ᵀ, from the first singular vectors u₁ and v₁ of w.
    - `Orthonormal`: u - w sym(wᵀu) with sym(X) = (X + Xᵀ) / 2. These are steps on the Stiefel manifold.
    - Other constraints on groups of weights: the derivative of the projection at w in the direction u. Constraints on
      single weights, such as `Box`, are not supported.

    Args:
        rules: Constraints by path pattern, such as the rules of `jaxreg.initial_spheres`.

    Returns:
        A gradient transformation. Its state counts the updates. Its `update` needs `params`.

    Raises:
        ValueError: At `init`, if a pattern matches no leaf, or two patterns of equal precedence match one leaf (see
            `jaxreg.explain`). At `update`, if `params` is missing.
        TypeError: At `update`, if a rule acts on single weights, such as `Box`.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> params = {"kernel": jnp.array([[2.0], [0.0]])}
        >>> tx = jr.tangent(jr.UnitNorm())
        >>> updates, _ = tx.update({"kernel": jnp.array([[5.0], [3.0]])}, tx.init(params), params)
        >>> print(updates["kernel"].ravel())
        [0. 3.]

    Reference:
        Absil, Mahony and Sepulchre, Optimization algorithms on matrix manifolds, 2008, sections 3.5 and 3.6.
    """

    def change(rule: Rule, leaves: list[Leaf], steps: list[jax.Array], count: jax.Array) -> list[jax.Array]:
        refuse_single_weights(rule, leaves[0], "tangent")
        weights, directions = [wide(leaf.array) for leaf in leaves], [wide(u) for u in steps]
        along = facts(at_rule(rule, count)).tangent
        ends = along(weights, directions) if facts(rule).joint else [along(weights[0], directions[0])]
        return [end.astype(u.dtype) for end, u in zip(ends, steps, strict=True)]

    return with_constraints("tangent", rules, change)


def radial_brake(rules: ConstraintRules, outward: Number) -> optax.GradientTransformation:
    """Slow down the growth of norms. If an optimiser step enlarges a norm, keep only the share `outward` of the growth.

    Put the transformation after the learning rate in the chain. It changes only the norm of each group of weights after
    the step, not the direction of the group. `outward=1` changes nothing. With `outward=0`, no norm grows. Steps that
    reduce a norm are not changed.

    Args:
        rules: Constraints by path pattern, such as the rules of `jaxreg.initial_spheres`. They only define the groups
            of weights; their limits are ignored.
        outward: Share of the growth that is kept, from 0 to 1: a float, an array or an Optax schedule.

    Returns:
        A gradient transformation. Its state counts the updates. Its `update` needs `params`.

    Raises:
        ValueError: If `outward` is not from 0 to 1. At `init`, if a pattern matches no leaf, or two patterns of equal
            precedence match one leaf (see `jaxreg.explain`). At `update`, if `params` is missing.
        TypeError: At `update`, if a rule acts on single weights, such as `Box`.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> params = {"kernel": jnp.array([[3.0], [4.0]])}
        >>> tx = jr.radial_brake(jr.UnitNorm(), outward=0.5)
        >>> updates, _ = tx.update({"kernel": jnp.array([[3.0], [4.0]])}, tx.init(params), params)
        >>> print(np.asarray(params["kernel"] + updates["kernel"]).ravel().round(4))
        [4.5 6. ]
    """
    check_number(outward, "jaxreg.radial_brake: outward", "[0, 1]")

    def change(rule: Rule, leaves: list[Leaf], steps: list[jax.Array], count: jax.Array) -> list[jax.Array]:
        refuse_single_weights(rule, leaves[0], "radial_brake")
        start = [leaf.array for leaf in leaves]
        there = [after_update(leaf, step) for leaf, step in zip(leaves, steps, strict=True)]
        share, braked = rate_at(outward, count), []
        for w, end, step, before, after in zip(
            start, there, steps, _norms(rule, start), _norms(rule, there), strict=True
        ):
            goal = before + share * (after - before)
            factor = jnp.where(after > before, goal / jnp.where(after > 0, after, 1), 1)
            inner = viewed(rule, end)[1]
            moved = (wide(inner) * factor).astype(end.dtype).reshape(end.shape)
            braked.append(jnp.where(moved == end, step, landing(w, moved, step.dtype)))
        return braked

    return with_constraints("radial_brake", rules, change)


def relative_update(rules: ConstraintRules) -> optax.GradientTransformation:
    """Scale the updates of each group of weights so that the norm of the updates equals the norm of the weights.

    For a group of weights w with the updates u, this is u ← ‖w‖ / ‖u‖ · u. Put the transformation after the optimiser's
    scaling and before the learning rate η in the chain. The length of each step is then η · ‖w‖. The norm ‖w‖ may
    change during the training. To keep it fixed, use `jaxreg.hyperball`, which takes steps of the same relative length.

    If all weights or all updates of a group are 0, u is not changed. A NaN makes the whole group NaN.

    `optax.scale_by_trust_ratio` takes one norm for an entire array, such as a stack of layers. In `relative_update`,
    the rules define the groups: layers, units, experts or heads.

    Args:
        rules: Constraints by path pattern, such as the rules of `jaxreg.initial_spheres`. They only define the groups
            of weights; their limits are ignored.

    Returns:
        A gradient transformation. Its state counts the updates. Its `update` needs `params`.

    Raises:
        ValueError: At `init`, if a pattern matches no leaf, or two patterns of equal precedence match one leaf (see
            `jaxreg.explain`). At `update`, if `params` is missing.
        TypeError: At `update`, if a rule acts on single weights, such as `Box`.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> params = {"kernel": jnp.array([[3.0, 0.6], [4.0, 0.8]])}
        >>> tx = jr.relative_update(jr.UnitNorm())
        >>> updates, _ = tx.update({"kernel": jnp.array([[2.0, 0.0], [0.0, 2.0]])}, tx.init(params), params)
        >>> print(np.asarray(updates["kernel"]).round(4))
        [[5. 0.]
         [0. 1.]]

    Reference:
        You, Gitman and Ginsburg, Large batch training of convolutional networks, 2017 (LARS); Liu, Bernstein, Meister
        and Yue, Learning by turning: neural architecture aware optimisation, 2021 (Nero), for one norm per unit.
    """

    def change(rule: Rule, leaves: list[Leaf], steps: list[jax.Array], count: jax.Array) -> list[jax.Array]:
        refuse_single_weights(rule, leaves[0], "relative_update")
        sizes, scaled = _norms(rule, [leaf.array for leaf in leaves]), []
        for u, size, length in zip(steps, sizes, _norms(rule, steps), strict=True):
            x = wide(viewed(rule, u)[1])
            none = (size == 0) | (length == 0)
            ends = jnp.where(none, x, x / jnp.where(none, 1, length) * size)
            scaled.append(ends.astype(u.dtype).reshape(u.shape))
        return scaled

    return with_constraints("relative_update", rules, change)


def _without_tangent(
    rule: Rule, leaves: list[Leaf], steps: list[jax.Array], count: jax.Array
) -> list[jax.Array | None]:
    # For each leaf, whether the direction of a group is orthogonal to the sphere: no part of it is tangent, except
    # rounding errors. None for a constraint without groups.
    weights, directions = [wide(leaf.array) for leaf in leaves], [wide(u) for u in steps]
    along = facts(at_rule(rule, count)).tangent
    error = 64 * max(eps(real_dtype(each)) for each in [*weights, *directions])
    if facts(rule).joint:
        return [tree_norm(along(weights, directions)) <= error * tree_norm(directions)] * len(steps)
    inside, u = viewed(rule, directions[0])
    axes = rule_axes(inside, u.ndim)
    if axes is None:
        return [None]
    part = viewed(rule, along(weights[0], directions[0]))[1]
    return [group_norms(part, axes) <= error * group_norms(u, axes)]


def _norms(rule: Rule, arrays: list[jax.Array]) -> list[jax.Array]:
    # The norm of each group, with length 1 along its axes.
    if facts(rule).joint:
        return [tree_norm(arrays)] * len(arrays)
    inside, w = viewed(rule, arrays[0])
    return [group_norms(wide(w), rule_axes(inside, w.ndim) or ())]
