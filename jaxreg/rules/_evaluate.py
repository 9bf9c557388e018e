"""Rules on a whole parameter tree: its penalty, its projection and its distance from the constraints."""

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp

from jaxreg._groups import group_axes, group_norms
from jaxreg._hyperparameters import at_step, scheduled
from jaxreg._precision import real_dtype, wide
from jaxreg._protocols import (
    Constraint,
    ConstraintRules,
    LinearMinimizable,
    Penalty,
    PenaltyRules,
    Proximable,
    Rule,
    Rules,
    Tree,
    facts,
    innermost,
    refuse_other,
)
from jaxreg.constraints._spheres import tree_norm
from jaxreg.rules._matching import Leaf, matches
from jaxreg.rules._reshaped import viewed


def penalty(params: Tree, rules: PenaltyRules, step: jax.Array | int | None = None) -> jax.Array:
    """Return the sum of the penalties of `params`, a scalar in float32 (float64 if a leaf is float64).

    Args:
        params: Tree of weight arrays.
        rules: Penalties by path pattern, or one penalty for all kernels; see `jaxreg.explain`.
        step: Optimiser step at which to evaluate scheduled strengths. Needed only if there are schedules.

    Raises:
        ValueError: If a pattern matches no leaf, two patterns of equal precedence match one leaf (see
            `jaxreg.explain`), or a scheduled strength needs `step`.
        TypeError: If a rule does not return a single number.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> params = {"hidden": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}}
        >>> print(jr.penalty(params, {jr.KERNELS: jr.L2(0.5)}))
        3.0
    """
    costs = [cost(rule, leaf, step) for leaf, _, rule in penalized(params, rules, "penalty")]
    return sum(costs, start=jnp.zeros((), jnp.float32))


def cost(rule: Rule, leaf: Leaf, step: jax.Array | int | None) -> jax.Array:
    """Return the penalty of one leaf, a scalar. Raise if the rule returns anything else."""
    array = jnp.asarray(leaf.array)
    value = jnp.asarray(at_rule(rule, step)(array))
    if value.shape != ():
        raise TypeError(
            f"the rule {rule!r} for {leaf.shown} returns an array of shape {value.shape}; expected one number. If "
            "the rule is a penalty with an array as strength, use one number as strength. If the rule is a constraint, "
            "pass it to jaxreg.project"
        )
    return value.astype(real_dtype(wide(array)))  # the strength may have a wider dtype than the weights


def grouped(params: Tree, rules: Rules) -> list[tuple[Rule, list[int], list[Leaf]]]:
    """Return a list of (rule, indices of leaves, leaves): one entry per leaf with a rule, or per `joint` rule.

    A joint rule, such as `jaxreg.TreeNorm`, maps a list of arrays to a list of arrays. All leaves that match its
    pattern form one group. Rules are not compared by identity, because `jax.jit` does not preserve identity. If `rules`
    is a single joint rule, all kernels form one group, including recurrent kernels.
    """
    found: dict[Any, tuple[Rule, list[int], list[Leaf]]] = {}
    for place, (leaf, pattern, rule) in enumerate(matches(params, rules)):
        if rule is not None:
            key = (pattern if isinstance(rules, Mapping) else "") if facts(rule).joint else place
            _, places, leaves = found.setdefault(key, (rule, [], []))
            places.append(place)
            # NumPy's float64 is cast to the precision that JAX computes in.
            leaves.append(leaf._replace(array=jnp.asarray(leaf.array)))
    return list(found.values())


def penalized(params: Tree, rules: PenaltyRules, name: str) -> list[tuple[Leaf, str, Rule]]:
    """Return (leaf, pattern, penalty) for each leaf of `params` that has a penalty.

    Raise if a rule is a constraint. The error contains `name`, the name of the calling function.
    """
    found = [
        (leaf, pattern, rule)
        for leaf, pattern, rule in matches(params, rules)
        if pattern is not None and rule is not None
    ]
    for leaf, _, rule in found:
        place = f"jaxreg.{name}: the rule for {leaf.shown}"
        refuse_other(innermost(rule), Penalty, place, "jaxreg.project or jaxreg.violation")
    return found


def constrained(params: Tree, rules: ConstraintRules, name: str) -> list[tuple[Rule, list[int], list[Leaf]]]:
    """Return `grouped(params, rules)`. Raise if a rule is a penalty.

    The error contains `name`, the name of the calling function.
    """
    groups = grouped(params, rules)
    for rule, _, leaves in groups:
        place = f"jaxreg.{name}: the rule for {leaves[0].shown}"
        refuse_other(innermost(rule), Constraint, place, "jaxreg.penalize or jaxreg.penalty")
    return groups


def penalty_gradient(rule: Rule, leaf: Leaf, step: jax.Array | int | None) -> jax.Array:
    """Return the gradient of the penalty of one leaf, with the shape and dtype of the leaf.

    For complex weights, the result is the conjugate of JAX's gradient, as Optax optimisers need it.
    """
    return jnp.conj(jax.grad(lambda w: cost(rule, leaf._replace(array=w), step))(leaf.array))


def prox_leaf(rule: Rule, leaf: Leaf, array: jax.Array, size: Any, step: jax.Array | int | None) -> jax.Array:
    """Return the proximal step of `rule` from `array` with the step size `size`.

    Raise if the rule has no proximal step. `array` has the shape and the dtype of the leaf.
    """
    if not isinstance(innermost(rule), Proximable):
        raise TypeError(
            f"the rule {rule!r} for {leaf.shown} has no proximal step; expected a penalty with a method prox(w, step). "
            "Pass a penalty without this method to jaxreg.penalize or jaxreg.decay, and a constraint to jaxreg.project"
        )
    return like_leaf(rule, leaf, array, at_rule(rule, step).prox(array, size))


def minimize_leaves(
    rule: Rule, leaves: list[Leaf], directions: list[jax.Array], step: jax.Array | int | None, tangent: bool = False
) -> list[jax.Array]:
    """Return, for each leaf, the minimiser z of ⟨direction, z⟩ over the constraint set.

    `rule` and `leaves` are an entry of `grouped`, and `directions` has one array per leaf. With `tangent`, z is a
    tangent vector of the set at the weights.
    """
    if not isinstance(innermost(rule), LinearMinimizable):
        raise TypeError(
            f"the rule {rule!r} for {leaves[0].shown} has no method lmo; expected a constraint on a bounded set, such "
            "as LinfBall, L1Ball, MaxNorm, SpectralNorm or Simplex"
        )
    lmo = at_rule(rule, step).lmo
    if tangent:
        along = facts(at_rule(rule, step)).tangent_lmo
        weights = [wide(leaf.array) for leaf in leaves]
        moves = [wide(direction) for direction in directions]
        ends = along(weights, moves) if facts(rule).joint else [along(weights[0], moves[0])]
    else:
        ends = lmo(directions) if facts(rule).joint else [lmo(directions[0])]
    return [like_leaf(rule, *triple) for triple in zip(leaves, directions, ends, strict=True)]


def project_leaves(
    rule: Rule,
    leaves: list[Leaf],
    arrays: list[jax.Array],
    step: jax.Array | int | None,
    reach: Callable[[Rule], Any] = lambda rule: rule,
) -> list[jax.Array]:
    """Project the `arrays` onto the constraint `rule`.

    There is one array for each of the `leaves`. `rule` and `leaves` are an entry of `grouped`. `reach(rule)` is the
    constraint that is applied.
    """
    constraint = reach(at_rule(rule, step))
    try:
        values = constraint(arrays) if facts(rule).joint else [constraint(arrays[0])]
    except (TypeError, ValueError) as error:
        if type(error) not in (TypeError, ValueError):
            raise  # a subclass of JAX's own, which takes other arguments than a message
        raise type(error)(f"the rule {rule!r} for {leaves[0].shown}: {error}") from error
    return [like_leaf(rule, *triple) for triple in zip(leaves, arrays, values, strict=True)]


def like_leaf(rule: Rule, leaf: Leaf, array: jax.Array, value: Any) -> jax.Array:
    """Cast `value`, the result of a rule for `array`, to the dtype of `array`. Raise if their shapes differ."""
    refuse_other_shape(f"the rule {rule!r} for {leaf.shown}", array, value)
    return jnp.asarray(value).astype(array.dtype)


def refuse_other_shape(rule: str, array: jax.Array, value: Any) -> None:
    """Raise if `value`, the result of a rule for `array`, has another shape than `array`. `rule` names the rule."""
    if jnp.shape(value) != array.shape:
        raise TypeError(
            f"{rule} returns an array of shape {jnp.shape(value)} for weights of shape {array.shape}; expected the "
            "shape of the weights. If the rule is a penalty, pass it to jaxreg.penalize. If it has an array as "
            "hyperparameter, this array must broadcast to the shape of the weights, or of their groups"
        )


def exact_rule(rule: Rule) -> Any:
    """Return a constraint that moves weights exactly to the nearest point that `rule` allows."""
    return facts(rule).exact_rule()


def whole_way(rule: Rule) -> Any:
    """Return the constraint with `rate=1`. Its formula stays the same, including the ε of rules of `jaxreg.keras`."""
    return facts(rule).whole_way()


def distance(
    rule: Rule,
    leaves: list[Leaf],
    arrays: list[jax.Array],
    step: jax.Array | int | None,
    reach: Callable[[Rule], Any] = exact_rule,
) -> jax.Array:
    """Return the distance of each group of weights from the set of the constraint `rule`.

    `rule` and `leaves` are an entry of `grouped`. The distances are those of `arrays`, which replace the arrays of the
    leaves. `reach(rule)` is the constraint that moves weights into the set.

    A joint rule has one distance for all arrays together.
    """
    if not facts(rule).joint:
        return distances(at_rule(rule, step), arrays[0], reach, f" for {leaves[0].shown}")
    ends = project_leaves(rule, leaves, arrays, step)
    return tree_norm([wide(w) - wide(end) for w, end in zip(arrays, ends, strict=True)])


def projected(params: Tree, rules: ConstraintRules, step: jax.Array | int | None = None) -> Tree:
    """Project `params` onto the constraints. This is useful for initial weights and for averaged weights.

    The weights move all the way into the set, even if the `rate` of a constraint is below 1. Rules of `jaxreg.keras`
    are applied without Keras's ε: they divide by the norm, not by the norm plus 1e-7.

    Args:
        params: Tree of weight arrays.
        rules: Constraints by path pattern, or one constraint for all kernels; see `jaxreg.explain`.
        step: Optimiser step at which to evaluate scheduled limits. Needed only if there are schedules.

    Returns:
        A tree like `params`. Weights already in their set are returned bit for bit.

    Raises:
        ValueError: If a pattern matches no leaf, two patterns of equal precedence match one leaf (see
            `jaxreg.explain`), or a scheduled limit needs `step`.
        TypeError: If a rule changes the shape of an array.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> params = {"hidden": {"kernel": jnp.full((4, 1), 2.0), "bias": jnp.ones(1)}}
        >>> print(jr.projected(params, jr.UnitNorm())["hidden"]["kernel"].ravel())
        [0.5 0.5 0.5 0.5]
    """
    return _moved(params, constrained(params, rules, "projected"), step, exact_rule)


def _moved(
    params: Tree,
    groups: list[tuple[Rule, list[int], list[Leaf]]],
    step: jax.Array | int | None,
    *reach: Callable[[Rule], Any],
) -> Tree:
    arrays = jax.tree.leaves(params)
    for rule, places, leaves in groups:
        ends = project_leaves(rule, leaves, [leaf.array for leaf in leaves], step, *reach)
        for place, end in zip(places, ends, strict=True):
            arrays[place] = end
    return jax.tree.unflatten(jax.tree.structure(params), arrays)


def apply_updates(params: Tree, updates: Tree, rules: ConstraintRules, step: jax.Array | int | None = None) -> Tree:
    """Add `updates` to `params` and project the sum onto the constraints.

    Use this function instead of `optax.apply_updates` if the chain has no `jaxreg.project`. The result is the
    projection itself. In contrast, `jaxreg.project` turns the projection into an update, and adding this update rounds
    a second time. A constraint with a `rate` below 1 moves the weights only part of the way.

    Args:
        params: Tree of weight arrays.
        updates: Tree of the same structure, with the updates of the optimiser.
        rules: Constraints by path pattern, or one constraint for all kernels; see `jaxreg.explain`.
        step: Optimiser step at which to evaluate scheduled limits. Needed only if there are schedules.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> params = {"kernel": jnp.array([[0.3], [0.4]])}
        >>> print(jr.apply_updates(params, {"kernel": jnp.array([[-0.9], [0.0]])}, jr.NonNeg())["kernel"].ravel())
        [0.  0.4]
    """
    moved = jax.tree.map(lambda p, u: p if u is None else (p + u).astype(jnp.result_type(p)), params, updates)
    return _moved(moved, constrained(moved, rules, "apply_updates"), step)


def violation(params: Tree, rules: ConstraintRules, step: jax.Array | int | None = None) -> jax.Array:
    """Return the largest Euclidean distance of a group of weights from its constraint set, a scalar.

    The result is 0 if every constraint holds. For an equality constraint, a deviation within rounding error counts as
    0. The `axis` of a constraint defines its groups of weights. For a constraint without `axis`, such as `NonNeg`,
    every weight is a group.

    For a rule of `jaxreg.keras`, the set is given by its exact limits on the norm. Keras's own projection moves norms
    to slightly below a limit, because it divides by the norm plus 1e-7. The curve `violation` of `jaxreg.lab.fit`
    measures the distance to the result of Keras's projection instead.

    Args:
        params: Tree of weight arrays.
        rules: Constraints by path pattern, or one constraint for all kernels; see `jaxreg.explain`.
        step: Optimiser step at which to evaluate scheduled limits. Needed only if there are schedules.

    Raises:
        ValueError: If a pattern matches no leaf, two patterns of equal precedence match one leaf (see
            `jaxreg.explain`), or a scheduled limit needs `step`.
        TypeError: If a rule is a penalty of this package, or changes the shape of an array.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> params = {"kernel": jnp.array([[3.0, 0.1], [4.0, 0.2]])}
        >>> print(round(float(jr.violation(params, jr.MaxNorm(1.0))), 3))
        4.0
    """
    return largest_distance(params, rules, step, "violation")


def largest_distance(
    params: Tree,
    rules: ConstraintRules,
    step: jax.Array | int | None,
    name: str,
    reach: Callable[[Rule], Any] = exact_rule,
) -> jax.Array:
    """Return the largest distance of a group of weights from its set. See `distance` for `reach`."""
    worst = [
        jnp.max(distance(rule, leaves, [leaf.array for leaf in leaves], step, reach), initial=0)
        for rule, _, leaves in constrained(params, rules, name)
    ]
    return jnp.max(jnp.stack(worst or [jnp.zeros((), jnp.float32)]))


def feasible(
    params: Tree, rules: ConstraintRules, step: jax.Array | int | None = None, tolerance: float = 0.0
) -> jax.Array:
    """Return whether the distance of `params` from every constraint is at most `tolerance`.

    `jaxreg.diagnostics.violations` returns the distance per leaf, which shows the leaves that are outside.

    With a `rate` below 1, a constraint such as `MinMaxNorm` moves norms only a share of the way to its limits in each
    training step. This function tests the limits themselves, so it may return False after every step. If the limits
    must hold after training, call `jaxreg.projected(params, rules)`, which moves the weights all the way.

    Rules of `jaxreg.keras` are judged by their limits on the norm, without Keras's ε: Keras divides by the norm plus
    ε = 1e-7. So after a training step, norms lie slightly below a lower limit or a fixed norm. Rounding can also move
    norms above an upper limit. So use a tolerance of 1e-5.

    Args:
        params: Tree of weight arrays.
        rules: Constraints by path pattern, or one constraint for all kernels; see `jaxreg.explain`.
        step: Optimiser step at which to evaluate scheduled limits. Needed only if there are schedules.
        tolerance: Largest Euclidean distance of a group of weights from its set that counts as feasible.

    Returns:
        A boolean scalar.

    Raises:
        ValueError: If a pattern matches no leaf, two patterns of equal precedence match one leaf (see
            `jaxreg.explain`), or a scheduled limit needs `step`.
        TypeError: If a rule is a penalty of this package, or changes the shape of an array.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> print(jr.feasible({"kernel": jnp.array([[3.0], [4.0]])}, jr.MaxNorm(5.5)))
        True
    """
    return largest_distance(params, rules, step, "feasible") <= tolerance


def at_rule(rule: Rule, step: jax.Array | int | None) -> Any:
    """Return the rule with its schedules replaced by their values at `step`.

    Raise if the rule has schedules but `step` is None.
    """
    if step is not None:
        return at_step(rule, step)
    if scheduled(rule):
        raise ValueError(
            f"the rule {rule!r} has a schedule, but step is missing; pass step=, the optimiser step at "
            "which the schedule is evaluated"
        )
    return rule


def distances(
    constraint: Callable[[jax.Array], jax.Array],
    w: jax.Array,
    reach: Callable[[Rule], Any] = exact_rule,
    place: str = "",
) -> jax.Array:
    """Return the Euclidean distance of each group of `w` from the set of `constraint`.

    For a constraint on single weights, every weight is a group. For an intersection, the result is the largest of
    several distances: the distance from the computed projection, and the distance from each set. The distance from the
    computed projection can be too small if the sets have no common point or the projection has not converged.
    `place` follows the rule in an error.
    """
    constraint, w = viewed(constraint, w)
    end = reach(constraint)(w)
    refuse_other_shape(f"the rule {constraint!r}{place}", w, end)
    moved = wide(w) - wide(end)
    if facts(constraint).matrix:
        return group_norms(moved, tuple(range(w.ndim)))
    axes = group_axes(w.ndim, facts(constraint).axis)
    of_sets = [group_norms(distances(part, w, reach, place), axes) for part in facts(constraint).sets()]
    return reduce(jnp.maximum, of_sets, group_norms(moved, axes))
