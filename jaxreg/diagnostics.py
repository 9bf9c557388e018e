"""Diagnostics of weights under rules: pure functions that work inside `jax.jit` and `jax.vmap`.

Each function except `penalties` returns a dictionary with one entry per leaf that has a rule: the path of the leaf, and
an array. `penalties` returns one entry per pattern.
"""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from jaxreg._groups import group_axes, group_norms
from jaxreg._lazy import missing
from jaxreg._precision import eps, wide
from jaxreg._protocols import ConstraintRules, PenaltyRules, Rules, Tree, facts, has_groups
from jaxreg.constraints._spheres import tree_norm
from jaxreg.rules._evaluate import constrained, cost, distance, penalized, project_leaves
from jaxreg.rules._matching import Leaf, assign, rule_axes
from jaxreg.rules._stacked import EachLayer

__all__ = ["at_limit", "exact_zeros", "moves", "penalties", "unit_norms", "violations"]

if not TYPE_CHECKING:  # type checkers would take any name for an attribute

    def __getattr__(name):
        raise missing(__name__, name)


Step = jax.Array | int | None


def unit_norms(params: Tree, rules: Rules) -> dict[str, jax.Array]:
    """Return the Euclidean norm of each group of weights. By default, a group is the incoming weights of one unit.

    Args:
        params: Tree of weight arrays.
        rules: Rules by path pattern, or one rule for all kernels. The patterns select the leaves. The `axis` of a rule
            defines the groups, and its limits and strengths are ignored. A rule without an `axis` has the default
            groups. So do the wrappers `Reshaped` and `ToReference`. For an `Intersection`, only its own `axis` counts,
            not those of its parts.

    Returns:
        A dict from the path of a leaf to the norms of its groups. The array of norms has the shape of the leaf without
        the summed axes. Its dtype is float32 or wider.

    Raises:
        ValueError: If a pattern matches no leaf, or two patterns of equal precedence match one leaf (see
            `jaxreg.explain`).

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> params = {"kernel": jnp.array([[3.0, 0.0], [4.0, 2.0]]), "bias": jnp.ones(2)}
        >>> print(jr.diagnostics.unit_norms(params, jr.MaxNorm(1.0))["kernel"])
        [5. 2.]
    """

    def norms(leaf: Leaf, rule: Any) -> jax.Array:
        has_own = has_groups(rule) and not isinstance(rule, EachLayer)
        axes = group_axes(leaf.array.ndim, facts(rule).axis if has_own else leaf.axes)
        return group_norms(wide(leaf.array), axes).squeeze(axes)

    return {leaf.path: norms(leaf, rule) for leaf, rule in assign(params, rules) if rule is not None}


def violations(params: Tree, rules: ConstraintRules, step: Step = None) -> dict[str, jax.Array]:
    """Return, for each leaf, the largest Euclidean distance of a group of weights from the constraint set.

    Args:
        params: Tree of weight arrays.
        rules: Constraints by path pattern, or one constraint for all kernels.
        step: Optimiser step at which to evaluate scheduled limits. Needed only if there are schedules.

    Returns:
        A dict from path to the largest distance, which is 0 if the constraint holds. An equality constraint counts as
        holding if it holds up to rounding. All leaves under one `jaxreg.TreeNorm` get one common number, their joint
        distance. The rules of `jaxreg.keras` divide by a norm plus a small constant ε, as Keras does. Their distances
        are those of the same rules without ε.

    Raises:
        ValueError: If a pattern matches no leaf, two patterns of equal precedence match one leaf (see
            `jaxreg.explain`), or a scheduled limit needs `step`.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> params = {"kernel": jnp.array([[3.0, 0.0], [4.0, 2.0]])}
        >>> print(round(float(jr.diagnostics.violations(params, jr.MaxNorm(1.5))["kernel"]), 3))
        3.5
    """
    return {
        leaf.path: jnp.max(distance(rule, members, [leaf.array for leaf in members], step), initial=0)
        for rule, _, members in constrained(params, rules, "diagnostics.violations")
        for leaf in members
    }


def at_limit(params: Tree, rules: ConstraintRules, step: Step = None, tolerance: float = 1e-3) -> dict[str, jax.Array]:
    """Return the share of groups of weights that lie at the limit of their constraint.

    A group counts as at the limit if scaling by 1 + `tolerance` or by 1 - `tolerance` moves it out of the set. Groups
    outside the set also count. For bounds on single weights, each weight w is a group. Such a weight is moved up and
    down by `tolerance` · (|w| + 1e-6) instead of scaled. So a weight of 0 counts as at its limit if a bound is 0.

    Args:
        params: Tree of weight arrays.
        rules: Constraints by path pattern, or one constraint for all kernels.
        step: Optimiser step at which to evaluate scheduled limits. Needed only if there are schedules.
        tolerance: Largest relative distance from the limit at which a group still counts as at the limit. The rounding
            error of the dtype is added.

    Returns:
        A dict from path to a share between 0 and 1.

    Raises:
        ValueError: If a pattern matches no leaf, two patterns of equal precedence match one leaf (see
            `jaxreg.explain`), or a scheduled limit needs `step`.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> params = {"kernel": jnp.array([[3.0, 0.0], [4.0, 2.0]])}
        >>> print(jr.diagnostics.at_limit(params, jr.MaxNorm(5.0))["kernel"])
        0.5
    """

    def share(rule: Any, members: list[Leaf]) -> jax.Array:
        arrays = [leaf.array for leaf in members]
        axes = rule_axes(rule, arrays[0].ndim)
        if facts(rule).sets():  # the distances of an intersection are those of its own groups
            axes = group_axes(arrays[0].ndim, facts(rule).axis)
        reach = tolerance + 2 * max(float(eps(w.dtype)) for w in arrays)
        wides = [wide(w) for w in arrays]
        # A weight of 0 cannot be scaled. It is moved by a small number instead.
        moved = [reach * (x if axes is not None else jnp.abs(x) + 1e-6) for x in wides]
        longer = distance(rule, members, [x + move for x, move in zip(wides, moved, strict=True)], step)
        shorter = distance(rule, members, [x - move for x, move in zip(wides, moved, strict=True)], step)
        size = tree_norm(moved) if len(arrays) > 1 else group_norms(moved[0], axes or ())
        return _share(jnp.maximum(longer, shorter) > 0.1 * size)

    return {
        leaf.path: share(rule, members)
        for rule, _, members in constrained(params, rules, "diagnostics.at_limit")
        for leaf in members
    }


def _share(which: jax.Array) -> jax.Array:
    # 0 for an empty array.
    return jnp.sum(which, dtype=jnp.float32) / max(which.size, 1)


def exact_zeros(params: Tree, rules: Rules) -> dict[str, jax.Array]:
    """Return the share of weights that are exactly 0.

    Args:
        params: Tree of weight arrays.
        rules: Rules by path pattern, or one rule for all kernels. The patterns select the leaves. Limits and strengths
            are ignored.

    Returns:
        A dict from path to a share between 0 and 1.

    Raises:
        ValueError: If a pattern matches no leaf, or two patterns of equal precedence match one leaf (see
            `jaxreg.explain`).

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> print(jr.diagnostics.exact_zeros({"kernel": jnp.array([[3.0, 0.0], [4.0, 2.0]])}, jr.L1(0.1))["kernel"])
        0.25
    """
    claimed = [leaf for leaf, rule in assign(params, rules) if rule is not None]
    return {leaf.path: _share(leaf.array == 0) for leaf in claimed}


def penalties(params: Tree, rules: PenaltyRules, step: Step = None) -> dict[str, jax.Array]:
    """Return the penalty of each rule separately. Their sum is the result of `jaxreg.penalty`.

    Args:
        params: Tree of weight arrays.
        rules: Penalties by path pattern, or one penalty for all kernels.
        step: Optimiser step at which to evaluate scheduled strengths. Needed only if there are schedules.

    Returns:
        A dict from pattern to penalty, a scalar. If `rules` is a single penalty, the keys are `jaxreg.KERNELS` and
        `jaxreg.RECURRENT_KERNELS`. A key is left out if the tree has no such kernel.

    Raises:
        ValueError: If a pattern matches no leaf, two patterns of equal precedence match one leaf (see
            `jaxreg.explain`), or a scheduled strength needs `step`.
        TypeError: If a rule does not return a single number.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> params = {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}
        >>> by_rule = jr.diagnostics.penalties(params, {jr.KERNELS: jr.L2(0.5), "bias": jr.L1(1.0)})
        >>> print(by_rule[jr.KERNELS], by_rule["bias"])
        3.0 3.0
    """
    sums: dict[str, jax.Array] = {}
    for leaf, pattern, rule in penalized(params, rules, "diagnostics.penalties"):
        sums[pattern] = sums.get(pattern, 0) + cost(rule, leaf, step)
    return sums


def moves(params: Tree, rules: ConstraintRules, step: Step = None) -> dict[str, jax.Array]:
    """Return the Euclidean distance by which the projection onto the constraints moves each leaf.

    During training, pass the weights as they are after the optimiser step and before the projection.

    Args:
        params: Tree of weight arrays.
        rules: Constraints by path pattern, or one constraint for all kernels.
        step: Optimiser step at which to evaluate scheduled limits. Needed only if there are schedules.

    Returns:
        A dict from path to distance.

    Raises:
        ValueError: If a pattern matches no leaf, two patterns of equal precedence match one leaf (see
            `jaxreg.explain`), or a scheduled limit needs `step`.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> moved = jr.diagnostics.moves({"kernel": jnp.array([[3.0, 0.0], [4.0, 2.0]])}, jr.MaxNorm(2.0))
        >>> print(np.asarray(moved["kernel"]).round(5))
        3.0
    """
    moved = {}
    for rule, _, members in constrained(params, rules, "diagnostics.moves"):
        ends = project_leaves(rule, members, [leaf.array for leaf in members], step)
        for leaf, end in zip(members, ends, strict=True):
            moved[leaf.path] = tree_norm(wide(end) - wide(leaf.array))
    return moved
