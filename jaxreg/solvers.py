"""Minimisation of a loss with penalties or constraints, up to a tolerance."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxreg._checks import check_integer, check_number
from jaxreg._hyperparameters import Number
from jaxreg._precision import eps, wide
from jaxreg._protocols import (
    Constraint,
    DualBounded,
    LinearMinimizable,
    Penalty,
    Proximable,
    Rule,
    Rules,
    Tree,
    facts,
    innermost,
)
from jaxreg.rules._evaluate import at_rule, cost, grouped, project_leaves, prox_leaf
from jaxreg.rules._matching import Leaf

__all__ = ["Solution", "solve"]

Loss = Callable[[Any], jax.Array]
Group = tuple[Rule, list[int], list[Leaf]]

STEPS_PER_CHECK = 10
"""Steps between two evaluations of the gap. Each evaluation costs about as much as one step."""
GROWTH = 1.02
"""Growth of the step size after an accepted step. About one step in 36 is rejected, which halves the step size."""


class Solution(NamedTuple):
    """Result of `jaxreg.solve`: weights, value of loss + penalties, and an upper bound on value - minimum.

    Args:
        params: Weights after the last step, a tree like the initial weights.
        value: Loss plus penalties at `params`, a scalar.
        gap: Upper bound on `value` minus the minimum of loss + penalties. Infinite if a rule has no formula for this
            bound. Only an estimate if a leaf has no rule.
        residual: Norm of the proximal gradient step divided by the step size; 0 at a minimum.
        steps: Number of steps, including steps that the line search rejected.
        converged: True if the gap is at most the tolerance. If the gap is infinite, the residual is compared instead.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> found = jr.solve(lambda w: jnp.sum((w - 1.0) ** 2), {".*": jr.L2(1.0)}, jnp.zeros(2))
        >>> print(found.params, found.converged)
        [0.5 0.5] True
    """

    params: Tree
    value: jax.Array
    gap: jax.Array
    residual: jax.Array
    steps: jax.Array
    converged: jax.Array


class _State(NamedTuple):
    # Accepted weights with the gradient of the loss, and the extrapolated point, momentum and size of the next step.
    weights: list[jax.Array]
    slopes: list[jax.Array]
    ahead: list[jax.Array]
    momentum: jax.Array
    size: jax.Array
    steps: jax.Array


def solve(
    loss: Loss,
    rules: Rules,
    params: Tree,
    *,
    tolerance: Number = 1e-6,
    max_steps: int = 10_000,
    floor: Number = 0.0,
) -> Solution:
    """Minimise loss + penalties subject to the constraints, by accelerated proximal gradient steps.

    The method is FISTA with a backtracking line search. It restarts the momentum whenever the momentum points uphill.
    The method stops when the duality gap is at most `tolerance`. With some rules, the gap cannot be computed and is
    infinite. Examples are rules that are not convex, and constraints to an unbounded set, such as `NonNeg`. With such a
    rule, the method stops when the residual is at most `tolerance`. The residual is the norm of the proximal gradient
    step divided by the step size.

    The function works under `jax.jit` and `jax.vmap`. Use `vmap` over strengths, folds or initial weights to solve
    thousands of problems together.

    The solution can be differentiated with respect to strengths, limits and all other inputs of `loss` and `rules`, by
    the implicit function theorem. The derivatives are correct if the minimum is unique. They need memory for a dense
    matrix with one row and one column per weight. Of the fields of the result, only `params` has derivatives. Those of
    `value`, `gap`, `residual` and `steps` are 0.

    The gap is an upper bound on value - minimum if the loss is convex and at least `floor` everywhere, and each leaf
    has a rule. If a leaf has no rule, the gap is only an estimate. For each such leaf, the norm of its gradient times
    (1 + the norm of the leaf) is added to the gap.

    In float32, rounding errors of the gap are about 1e-5 of the value. If the value is above 0.1, the default
    `tolerance` may therefore be out of reach. Use a larger `tolerance`, or compute in float64 with
    `jax.config.update("jax_enable_x64", True)`.

    Args:
        loss: Differentiable function from a tree like `params` to one number. If it is convex, the minimum is global.
        rules: Constraints, or penalties with a proximal step. Pass a dict from path pattern to rule, or one rule for
            all kernels; see `jaxreg.explain`.
        params: Initial weights, a tree of arrays.
        tolerance: Largest gap at which the method stops, or largest residual if the gap is infinite. At least 0: a
            float or an array.
        max_steps: Maximum number of steps, rounded up to a multiple of 10.
        floor: Lower bound of the loss over all weights. At the minimum of loss + penalties, the loss is at least
            `floor`, and loss + penalties is at most its current value. So the penalties at the minimum are at most this
            value minus `floor`. The gap is computed with this bound. A higher floor makes the gap smaller, and the
            method stops earlier. The best floor is the smallest loss without rules, such as that of least squares in a
            regression.

    Returns:
        A `Solution`. If `converged` is False, the method stopped after `max_steps` steps or at a NaN.

    Raises:
        ValueError: If a number is out of range, or a strength is a schedule. Also if a pattern matches no leaf, or two
            patterns of equal precedence match one leaf (see `jaxreg.explain`).
        TypeError: If the loss does not return one real number, or a penalty has no proximal step.

    Example:
        >>> import jax, jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> x, y = jnp.eye(3) * 3**0.5, jnp.array([3.0, -1.0, 0.1]) * 3**0.5
        >>> def lasso(strength):
        ...     return jr.solve(lambda w: jnp.mean((x @ w - y) ** 2) / 2, {".*": jr.L1(strength)}, jnp.zeros(3)).params
        >>> print(np.asarray(jax.jit(jax.vmap(lasso))(jnp.array([0.0, 0.5]))).round(4))
        [[ 3.  -1.   0.1]
         [ 2.5 -0.5  0. ]]
        >>> print(jax.jacobian(lasso)(0.5))
        [-1.  1.  0.]

    Reference:
        Beck and Teboulle, A fast iterative shrinkage-thresholding algorithm, 2009; O'Donoghue and Candès, Adaptive
        restart for accelerated gradient schemes, 2015; Bertrand et al., Implicit differentiation for fast
        hyperparameter selection in non-smooth convex learning, 2022.
    """
    check_number(tolerance, "jaxreg.solve: tolerance", "[0, inf)")
    check_number(floor, "jaxreg.solve: floor", "(-inf, inf)")
    max_steps = check_integer(max_steps, "jaxreg.solve: max_steps", 1)
    structure = jax.tree.structure(params)
    start = [wide(jnp.asarray(leaf)) for leaf in jax.tree.leaves(params)]
    groups = _checked_groups(jax.tree.unflatten(structure, start), rules)
    problem = _Problem(_checked(loss, structure, start), groups, floor)
    first = problem.start(start)

    def iterate(_: Any, start: list[jax.Array]) -> tuple[list[jax.Array], Any]:
        return problem.run(first._replace(weights=start), tolerance, max_steps)

    size = jax.lax.stop_gradient(first.size)  # a fixed point for one step size is one for all
    weights, (value, gap, residual, steps) = jax.lax.custom_root(
        lambda w: _minus(w, problem.step(w, problem.slopes(w), size)), start, iterate, _solve_linear, has_aux=True
    )
    error = jnp.where(jnp.isfinite(gap), gap, residual)
    found = [w.astype(jnp.asarray(leaf).dtype) for w, leaf in zip(weights, jax.tree.leaves(params), strict=True)]
    converged = error <= tolerance
    return Solution(jax.tree.unflatten(structure, found), value, gap, residual, steps.astype(int), converged)


class _Problem:
    """A loss as a function of a list of leaves, and the rules for these leaves."""

    def __init__(self, loss: Loss, groups: list[Group], floor: Number) -> None:
        self.loss, self.groups, self.floor = loss, groups, floor

    def slopes(self, weights: list[jax.Array]) -> list[jax.Array]:
        return [jnp.conj(slope) for slope in jax.grad(self.loss)(weights)]

    def step(self, weights: list[jax.Array], slopes: list[jax.Array], size: jax.Array) -> list[jax.Array]:
        ends = [w - (size * slope).astype(w.dtype) for w, slope in zip(weights, slopes, strict=True)]
        for rule, places, leaves in self.groups:
            arrays = [ends[place] for place in places]
            if _is_constraint(rule, arrays):
                moved = project_leaves(rule, leaves, arrays, None)
            else:
                moved = [prox_leaf(rule, leaves[0], arrays[0], size.astype(arrays[0].real.dtype), None)]
            for place, end in zip(places, moved, strict=True):
                ends[place] = end
        return ends

    def start(self, weights: list[jax.Array]) -> _State:
        # The curvature along the gradient gives an upper bound of the step size. The line search reduces it.
        slopes = self.slopes(weights)
        length = _norm(slopes)
        reach = 0.01 * jnp.maximum(_norm(weights), 1)
        aims = [jnp.where(length > 0, slope / jnp.where(length > 0, length, 1), 1) for slope in slopes]
        moved = [(w - reach * aim).astype(w.dtype) for w, aim in zip(weights, aims, strict=True)]
        curvature = _norm(_minus(self.slopes(moved), slopes)) / jnp.maximum(_norm(_minus(moved, weights)), 1e-30)
        size = jnp.where(curvature > 0, 1 / jnp.where(curvature > 0, curvature, 1), 1)
        return _State(weights, slopes, weights, jnp.ones_like(size), size, jnp.zeros((), jnp.int32))

    def advance(self, _: int, state: _State) -> _State:
        slopes = self.slopes(state.ahead)
        end = self.step(state.ahead, slopes, state.size)
        after = self.slopes(end)
        moved, bent = _minus(end, state.ahead), _minus(after, slopes)
        # For a parabola, half of ⟨bent, moved⟩ is the difference between the loss and its tangent. Differences of the
        # loss itself would be lost in rounding much earlier than differences of its gradient.
        length = _norm(moved)
        noise = 4 * eps(length.dtype) * (_norm(slopes) + _norm(after)) * length
        accepted = _inner(bent, moved) <= jnp.square(length) / state.size + noise
        onwards = _minus(end, state.weights)
        uphill = _inner(moved, onwards) < 0
        size = state.size * GROWTH
        momentum = jnp.where(uphill, 1, (1 + jnp.sqrt(1 + 4 * jnp.square(state.momentum) / GROWTH)) / 2)
        share = jnp.where(uphill, 0, (state.momentum - 1) / momentum)
        ahead = [(w + share * way).astype(w.dtype) for w, way in zip(end, onwards, strict=True)]
        made = _State(end, after, ahead, momentum, size, state.steps)
        kept = state._replace(size=state.size / 2)
        chosen: _State = jax.tree.map(lambda new, old: jnp.where(accepted, new, old), made, kept)
        return chosen._replace(steps=state.steps + 1)

    def run(self, first: _State, tolerance: Number, max_steps: int) -> tuple[list[jax.Array], Any]:
        def going(carry: tuple[_State, Any]) -> jax.Array:
            state, (_, gap, residual) = carry
            error = jnp.where(jnp.isfinite(gap), gap, residual)
            return (error > tolerance) & (state.steps < max_steps)  # NaN ends the loop

        def several(carry: tuple[_State, Any]) -> tuple[_State, Any]:
            state = jax.lax.fori_loop(0, STEPS_PER_CHECK, self.advance, carry[0])
            return state, self.measure(state)

        state, measures = jax.lax.while_loop(going, several, (first, self.measure(first)))
        return state.weights, (*measures, state.steps.astype(measures[0].dtype))  # custom_root refuses integers

    def measure(self, state: _State) -> tuple[jax.Array, jax.Array, jax.Array]:
        weights, slopes = state.weights, state.slopes
        residual = _norm(_minus(weights, self.step(weights, slopes, state.size))) / state.size
        costs = {
            place: cost(rule, leaf._replace(array=weights[place]), None)
            for rule, places, leaves in self.groups
            for place, leaf in zip(places, leaves, strict=True)
            if not _is_constraint(rule, [weights[i] for i in places])
        }
        value = self.loss(weights) + sum(costs.values(), start=jnp.zeros((), residual.dtype))
        return value, self.gap(weights, slopes, value, costs).astype(residual.dtype), residual

    def gap(
        self, weights: list[jax.Array], slopes: list[jax.Array], value: jax.Array, costs: dict[int, jax.Array]
    ) -> jax.Array:
        """Return an upper bound on the difference between `value` and the minimum of loss + penalties.

        The tangent is the linear approximation of the loss. The bound is `value` minus the minimum of tangent +
        penalties. It is infinite if a rule has no formula for this minimum.

        A convex loss is nowhere below its tangent, so this is an upper bound. The minimum is taken only over points
        whose penalties are at most value - floor. At the minimum of loss + penalties, the penalties are not larger.
        """
        room = value - self.floor
        budget = jnp.where(room >= 0, room, jnp.inf)
        gap = jnp.zeros_like(value)
        ruled: dict[int, Rule] = {}
        for rule, places, _ in self.groups:
            ruled |= dict.fromkeys(places, rule)
        for place, (w, slope) in enumerate(zip(weights, slopes, strict=True)):
            if place not in ruled:
                gap += _norm([slope]) * (1 + _norm([w]))
                continue
            rule = at_rule(ruled[place], None)
            aim = innermost(ruled[place])
            if facts(rule).joint or not facts(rule).convex:
                return jnp.full_like(gap, jnp.inf)
            if place in costs and isinstance(aim, DualBounded):
                lowest = rule.linear_minimum(slope, budget)
            elif place not in costs and isinstance(aim, LinearMinimizable):
                lowest = _inner([slope], [rule.lmo(slope)])
            else:
                return jnp.full_like(gap, jnp.inf)
            gap += _inner([slope], [w]) + costs.get(place, 0) - lowest
        return gap


def _checked(loss: Loss, structure: Any, start: list[jax.Array]) -> Loss:
    if not callable(loss):
        raise TypeError(f"jaxreg.solve: loss is {loss!r}; expected a function of the parameters that returns a number")

    def of_leaves(leaves: list[jax.Array]) -> jax.Array:
        return jnp.asarray(loss(jax.tree.unflatten(structure, leaves)))

    given = jax.eval_shape(of_leaves, start)
    if given.shape != () or not jnp.issubdtype(given.dtype, jnp.floating):
        raise TypeError(
            f"jaxreg.solve: the loss returns an array of shape {given.shape} and type {given.dtype}; expected one real "
            "number, such as the mean across the rows"
        )
    return of_leaves


def _checked_groups(params: Tree, rules: Rules) -> list[Group]:
    groups = grouped(params, rules)
    for rule, _, leaves in groups:
        arrays = [leaf.array for leaf in leaves]
        at_rule(rule, None)  # raises for schedules
        if not (isinstance(innermost(rule), Proximable) or _is_constraint(rule, arrays)):
            prox_leaf(rule, leaves[0], arrays[0], 1.0, None)  # raises
    return groups


def _is_constraint(rule: Rule, arrays: list[jax.Array]) -> bool:
    # A bare function is recognised by its result: a penalty returns one number.
    inside = innermost(rule)
    if isinstance(inside, Penalty | Constraint):
        return isinstance(inside, Constraint)
    given = jax.eval_shape(rule, arrays if facts(rule).joint else arrays[0])
    return not isinstance(inside, Proximable) and jax.tree.leaves(given)[0].shape == arrays[0].shape


def _solve_linear(matrix: Callable[[Any], Any], goal: list[jax.Array]) -> list[jax.Array]:
    flat, rebuild = ravel_pytree(goal)

    def product(x: jax.Array) -> jax.Array:
        return ravel_pytree(matrix(rebuild(x)))[0]

    dense = jax.jacobian(product, holomorphic=jnp.iscomplexobj(flat))(flat)
    return rebuild(jnp.linalg.solve(dense, flat))


def _minus(a: list[jax.Array], b: list[jax.Array]) -> list[jax.Array]:
    return [x - y for x, y in zip(a, b, strict=True)]


def _inner(a: list[jax.Array], b: list[jax.Array]) -> jax.Array:
    terms = [jnp.real(jnp.vdot(x, y)) for x, y in zip(a, b, strict=True)]
    return jnp.asarray(sum(terms[1:], start=terms[0]))


def _norm(a: list[jax.Array]) -> jax.Array:
    return jnp.sqrt(_inner(a, a))
