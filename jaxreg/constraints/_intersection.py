"""Intersections of several constraints, with exact projections where a closed form is known."""

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._checks import refuse_class
from jaxreg._complex import from_pairs, to_pairs
from jaxreg._groups import group_axes, group_size
from jaxreg._hyperparameters import Axis, hyperparameters, known, static
from jaxreg._precision import held, real_dtype, wide
from jaxreg._protocols import Constraint, Limits, as_node, facts, innermost, public_name, refuse_other
from jaxreg._sharding import partitioned
from jaxreg.constraints._bounds import clip
from jaxreg.constraints._box_and_norm import nearest_in_shell
from jaxreg.constraints._linear import solvable
from jaxreg.constraints._sections import (
    nearest_of_sum_and_norm,
    nearest_of_sum_in_box,
    nearest_of_weighted_sum_in_box,
    nearest_sparse_shares,
)

Part = Callable[[jax.Array], jax.Array]

ITERATIONS = 200
"""Rounds of Dykstra's algorithm. Rounds after convergence change nothing but rounding errors."""


@hyperparameters
class Intersection(Constraint):
    """Intersection of several constraints, with a projection onto the arrays that satisfy all of them.

    The result is the nearest array in the intersection for the following combinations. "Bounds" stands for `NonNeg`,
    `Box` and `LinfBall`. "Limits on norms" are `MaxNorm`, `MaxRMS`, `MinMaxNorm` and `UnitNorm`, of which the last two
    are not convex.

    - several bounds
    - bounds with limits on norms. All limits must apply to the norms of the same groups of weights
    - bounds with one `Simplex`, `SumTo` or `Hyperplane`
    - `SumTo` with limits on the norms of the same groups, such as zero mean and unit norm
    - `NonNeg` with `L1Ball`
    - `Sparse` or `NMSparse` with `NonNeg`
    - `Sparse` or `NMSparse` with one `L1Ball`, `MaxNorm`, `MaxRMS` or `Simplex`, and possibly `NonNeg`. Each group of
      the second constraint must consist of one or more whole groups of the first

    For other combinations of convex sets, the result is approximate. It is computed by 200 rounds of Dykstra's
    algorithm, with momentum if there are two sets. The last constraint then holds exactly. The others hold only as far
    as the algorithm has converged. `jaxreg.violation` returns the remaining distance.

    For the combinations in the list, the derivative is that of the exact projection. If a set has no interior, such as
    a sphere, this derivative maps each direction to one that is tangent to the set. For other combinations, the
    derivative is computed through the rounds of the algorithm, so it is approximate like the result. If an array in the
    set has a weight exactly at its bound, the projection is not differentiable there. With bounds alone, or bounds with
    limits on norms, the derivative is then computed as if the weight were strictly between its bounds. In other
    combinations, the weight may count as fixed at its bound instead.

    Args:
        *parts: Constraints, or functions that project onto a convex set. If a part is an intersection, its own parts
            are used.
        axis: Axes of one group of weights, for parts without an `axis` of their own.

    Raises:
        TypeError: If a part is not callable, or is a constraint on several arrays together, such as `TreeNorm`. Also if
            a part is not convex and the combination is not in the list above. The conditions on groups in this list
            are checked only when the intersection is called, because groups depend on the shape of the weights. With
            complex weights, also if a `UnitNorm` or `MinMaxNorm` is combined with a part that does not limit norms.
        ValueError: If there are no parts, if the rate of a `MinMaxNorm` is not 1, or if the required sums contradict
            each other. When the intersection is called, if the required bounds, norms and sums contradict each other.
            Traced limits are not checked, and contradictions between other kinds of sets are not detected. If no array
            lies in all sets, `jaxreg.violation` of the result is above 0.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> both = jr.Intersection(jr.UnitNorm(), jr.Box(0.0, 0.8))
        >>> print(np.asarray(both(jnp.array([5.0, 1.0, 1.0, -2.0]))).round(5))
        [0.8     0.42426 0.42426 0.     ]

    Reference:
        Boyle and Dykstra, A method for finding projections onto the intersection of convex sets, 1986; Bauschke,
        Bui and Wang, Projecting onto the intersection of a cone and a sphere, 2018.
    """

    parts: tuple[Any, ...]
    axis: Axis = static(default=None)

    def __init__(self, *parts: Part, axis: Axis = None) -> None:
        if not parts:
            raise ValueError(
                "Intersection: there are no parts; expected constraints, as in Intersection(UnitNorm(), NonNeg())"
            )
        sets: list[Any] = []
        for part in parts:
            refuse_other(part, Constraint, "Intersection: a part", "jaxreg.penalize")
            refuse_class(part, "Intersection: a part")
            if not callable(part) or facts(part).joint:
                raise TypeError(f"Intersection: a part is {part!r}; expected a constraint on a single array")
            # Flatten nested intersections: non-convex parts must be seen, and nested Dykstra rounds would multiply.
            sets += facts(part).sets() or [part]
        for part in sets:
            rate = facts(part).rate
            if known(rate) and np.any(np.asarray(rate) != 1):
                raise ValueError(
                    f"Intersection: {type(part).__name__} has rate {rate}; expected rate 1, because an "
                    "intersection moves the weights all the way into its sets"
                )
        object.__setattr__(self, "parts", tuple(map(as_node, sets)))
        object.__setattr__(self, "axis", axis)
        self._has_closed_form()
        _refuse_equations(self.sets())

    @partitioned()
    def __call__(self, w: jax.Array) -> jax.Array:
        """Return the array nearest to `w` that lies in every set. If `w` is already in every set, it is unchanged."""
        if w.size == 0:
            return w
        boxes, cones, others = self._by_form()
        if jnp.iscomplexobj(w) and not cones:
            return self._of_complex(w)
        if not self._has_closed_form(w.ndim):
            _refuse_equations(self.sets(), w.ndim)
            _refuse_totals(self.sets(), self.bounds(), w)
            return _dykstra(self.sets(), w)
        if cones and others and facts(others[0]).section:
            return nearest_sparse_shares(w, cones[0], others[0], group_axes(w.ndim, facts(others[0]).axis))
        if cones or (len(others) == 1 and facts(others[0]).ball and _all_cones(boxes)):
            for part in [*boxes, *cones, *others]:  # cones first, then a ball centred at 0
                w = part(w)
            return w
        if not others:
            return clip(w, *self.bounds())
        axes = group_axes(w.ndim, facts(others[0]).axis)
        shells = [part for part in others if facts(part).shell]
        limits = _common([facts(part).norm_limits(w) for part in shells], "norms")
        if len(shells) == len(others):
            return nearest_in_shell(w, self.bounds(), limits, axes)
        section = next(part for part in others if not facts(part).shell)
        if shells:
            return nearest_of_sum_and_norm(w, facts(section).group_sum(), limits, axes)
        if not boxes:
            return section(w)
        if (weighted := facts(section).weighted_sum()) is not None:
            return nearest_of_weighted_sum_in_box(w, *weighted, self.bounds(), axes)
        _refuse_totals(self.sets(), self.bounds(), w)
        if _all_cones(boxes) and facts(section).non_negative() is not None:
            return facts(section).non_negative()(w)
        return nearest_of_sum_in_box(w, facts(section).group_sum(), self.bounds(), axes)

    def sets(self) -> tuple[Any, ...]:
        """Return the parts of the intersection. Parts whose `axis` is None get the `axis` of the intersection."""
        fill = [self.axis is not None and facts(part).axis is None for part in self.parts]
        return tuple(
            as_node(facts(part).with_axis(self.axis)) if is_open else part
            for is_open, part in zip(fill, self.parts, strict=True)
        )

    def map_rules(self, function: Callable[[Any], Any]) -> "Intersection":
        """Replace each part by `function(part)` and return the new intersection."""
        return Intersection(*map(function, self.parts), axis=self.axis)

    def with_axis(self, axis: Axis) -> "Intersection":
        """Return an intersection of the same parts. Parts without an `axis` of their own get the given `axis`."""
        return Intersection(*self.parts, axis=axis)

    def exact_rule(self) -> Any:
        """Return the intersection with exact constraints in place of those of `jaxreg.keras`.

        Each part that is a rule of `jaxreg.keras`, such as `jaxreg.keras.MaxNorm`, is replaced by its counterpart in
        `jaxreg`. The counterpart does not add Keras's small constant ε to each norm. All other parts stay the same.
        """
        exact = [facts(part).exact_rule() for part in self.parts]
        same = all(one is other for one, other in zip(exact, self.parts, strict=True))
        return self if same else Intersection(*exact, axis=self.axis)

    def needs_order(self) -> bool:
        """Return True if any part of the intersection rejects complex weights."""
        return any(facts(part).needs_order() for part in self.parts)

    def bounds(self) -> Limits:
        """Return the lower and the upper bound of every weight: the tightest that the parts require.

        Without bounds, the result is (-inf, inf).
        """
        return _common([facts(part).bounds() for part in self.sets()], "weights")

    def _of_complex(self, w: jax.Array) -> jax.Array:
        # Closed forms with bounds need real weights. Norms of complex weights are those of (real, imaginary) pairs.
        sets = self.sets()
        if all(facts(part).shell for part in sets) and self._has_closed_form(w.ndim):
            axes = group_axes(w.ndim, facts(sets[0]).axis)
            low, high = _common([facts(part).norm_limits(w) for part in sets], "norms")
            limits = [limit if np.ndim(limit) == 0 else limit[..., None] for limit in (low, high)]
            pairs = nearest_in_shell(to_pairs(w), (-np.inf, np.inf), (limits[0], limits[1]), (*axes, w.ndim))
            return from_pairs(pairs)
        for part in sets:
            if not facts(part).convex:
                raise TypeError(
                    f"Intersection: {part!r} is not convex. For complex weights, use only convex parts, or use only "
                    "limits on the norms of the same groups"
                )
        _refuse_equations(sets, w.ndim)
        _refuse_totals(sets, self.bounds(), w)
        return _dykstra(sets, w)

    def _by_form(self) -> tuple[list[Any], list[Any], list[Any]]:
        # (bounds, cones that are not bounds, all others)
        sets = self.sets()
        boxes = [part for part in sets if facts(part).box]
        cones = [part for part in sets if facts(part).cone and not facts(part).box]
        return boxes, cones, [part for part in sets if not facts(part).box and not facts(part).cone]

    def _has_closed_form(self, ndim: int | None = None) -> bool:
        # Raises for non-convex sets without a closed form. Axes can be compared once the number of axes is known.
        boxes, cones, others = self._by_form()
        if cones:
            closed = len(cones) == 1 and _all_cones(boxes) and len(others) <= 1
            closed = closed and all(
                (facts(part).ball or _is_simplex(part)) and _within(cones[0], part, ndim) for part in others
            )
        elif len(others) == 1 and not facts(others[0]).shell:
            closed = bool(boxes) and _all_cones(boxes)
            closed = (
                facts(others[0]).section
                or facts(others[0]).weighted_sum() is not None
                or (closed and (facts(others[0]).ball or facts(others[0]).non_negative() is not None))
            )
        else:
            sections = [part for part in others if facts(part).section and facts(part).bounds() is None]
            closed = all(facts(part).shell for part in others if part not in sections)
            closed = closed and (not sections or (len(sections) == 1 and not boxes))
            closed = closed and (
                ndim is None or len({frozenset(group_axes(ndim, facts(part).axis)) for part in others}) <= 1
            )
        for part in [] if closed else self.parts:
            if not facts(part).convex:
                name = public_name(type(innermost(part))).removeprefix("jaxreg.constraints.")
                allowed = (
                    "It allows only these other parts: NonNeg, and one L1Ball, MaxNorm, MaxRMS or Simplex. Each group "
                    f"of weights of the latter must consist of one or more whole groups of {name}"
                    if facts(part).cone
                    else "It allows only these other parts: limits on the norms of the same groups of weights, bounds "
                    "such as NonNeg, and one SumTo of the same groups. Bounds and a SumTo exclude each other"
                    if facts(part).shell
                    else "Of the constraints that are not convex, an Intersection accepts only jaxreg.UnitNorm, "
                    "jaxreg.MinMaxNorm, jaxreg.Sparse and jaxreg.NMSparse, and not those of jaxreg.keras"
                )
                raise TypeError(f"Intersection: {name} is not convex. {allowed}")
        return closed


def _within(inner: Any, outer: Any, ndim: int | None) -> bool:
    return ndim is None or set(group_axes(ndim, facts(inner).axis)) <= set(group_axes(ndim, facts(outer).axis))


def _is_simplex(part: Any) -> bool:
    return facts(part).section and facts(part).bounds() is not None


def _all_cones(boxes: list[Any]) -> bool:
    return all(facts(part).cone for part in boxes)


def _common(limits: Iterable[Limits | None], what: str) -> Limits:
    pairs = [pair for pair in limits if pair is not None]
    if len(pairs) == 1:
        return pairs[0]
    if not pairs:
        return -np.inf, np.inf
    lows, highs = zip(*pairs, strict=True)
    xp: Any = np if known(*lows, *highs) else jnp
    low, high = reduce(xp.maximum, lows), reduce(xp.minimum, highs)
    if xp is np:
        with np.errstate(over="ignore"):  # in float32, so that a limit rounded to it still meets the exact one
            apart = np.asarray(low, np.float32) > np.asarray(high, np.float32)
        if np.any(apart):
            above, under = (np.broadcast_to(limit, apart.shape).flat[np.argmax(apart)] for limit in (low, high))
            raise ValueError(
                f"Intersection: one part requires {what} of at least {above:g}, but another part requires {what} of at "
                f"most {under:g}. No array satisfies both. Change one of these limits"
            )
    return low, high


def _refuse_totals(parts: Sequence[Any], bounds: Limits, w: jax.Array) -> None:
    low, high = bounds
    for part in parts:
        value = facts(part).group_sum()
        if value is None or not known(value, low, high) or np.ndim(low) or np.ndim(high):
            continue
        count = group_size(w.shape, group_axes(w.ndim, facts(part).axis))
        total = np.asarray(value, float)
        slack = 1e-6 * np.abs(total)
        if np.any((total > count * high + slack) | (total < count * low - slack)):
            raise ValueError(
                f"Intersection: the required sum of a group is {value}; expected a sum between {count * low:g} and "
                f"{count * high:g}, because each group has {count} weights between {low:g} and {high:g}. Widen the "
                "bounds, or change the sum"
            )


def _refuse_equations(parts: Sequence[Any], ndim: int | None = None) -> None:
    # Without `ndim`, different ways to write the axes of the same groups are not recognised.
    groups: dict[Any, list[tuple[str, np.ndarray, np.ndarray]]] = {}
    coarse = 1e-5
    for part in parts:
        equations, axis = facts(part).equations(), facts(part).axis
        if equations is not None and known(*equations):
            narrow = any(jnp.result_type(each).itemsize == 2 for each in equations)
            coarse = 3e-2 if narrow else coarse
            rows, sides = np.atleast_2d(np.asarray(equations[0], float)), np.asarray(equations[1], float)
            sides = sides.reshape(len(rows), -1) if sides.ndim else np.full((len(rows), 1), sides)
            key = str(axis) if ndim is None else frozenset(group_axes(ndim, axis))
            groups.setdefault(key, []).append((type(innermost(part)).__name__, rows, sides))
    for found in groups.values():
        names, rows, sides = zip(*found, strict=True)
        coefficients, target = _below_each_other(rows), _below_each_other(sides)
        if len(found) == 1 or coefficients is None or target is None:
            continue
        if not solvable(coefficients, target, coarse):
            raise ValueError(
                f"Intersection: {' and '.join(names)} require contradictory sums, so no weights satisfy all parts. "
                "Change one of the sums, or remove a part"
            )


def _below_each_other(arrays: Sequence[np.ndarray]) -> np.ndarray | None:
    # A matrix with a single column has the same numbers in all columns. None if the widths do not fit.
    width = max(array.shape[1] for array in arrays)
    if any(array.shape[1] not in (1, width) for array in arrays):
        return None
    return np.concatenate([np.broadcast_to(array, (len(array), width)) for array in arrays])


def _dykstra(parts: Sequence[Part], w: jax.Array) -> jax.Array:
    x = _of_two(parts[0], parts[1], wide(w)) if len(parts) == 2 else _of_several(parts, wide(w))
    inside = jnp.all(jnp.stack([jnp.all(part(w) == w) for part in parts]))
    ends = x.astype(w.dtype)
    for part in parts:  # rounding to a narrower dtype may have left a set
        ends = part(ends)
    return jnp.where(inside, held(w, ends), ends)


def _of_several(parts: Sequence[Part], w: jax.Array) -> jax.Array:
    def round_of_parts(_: int, state: tuple[jax.Array, tuple[jax.Array, ...]]) -> Any:
        x, corrections = state
        later = []
        for part, correction in zip(parts, corrections, strict=True):
            before = _added(x, correction)
            x = part(before)
            later.append(before - x)
        return x, tuple(later)

    x, _ = jax.lax.fori_loop(0, ITERATIONS, round_of_parts, (w, tuple(jnp.zeros_like(w) for _ in parts)))
    return x


def _of_two(first: Part, second: Part, w: jax.Array) -> jax.Array:
    # With two sets, a round of Dykstra's algorithm is a proximal gradient step on the correction of the second set, for
    # the dual problem. So momentum accelerates it, with a restart whenever it points uphill, as in `jaxreg.solve`.
    def round_of_both(_: int, state: tuple[jax.Array, jax.Array, jax.Array, jax.Array]) -> Any:
        correction, ahead, momentum = state[1:]
        before = _added(first(_added(w, -ahead)), ahead)
        x = second(before)
        after = before - x
        onwards = after - correction
        uphill = jnp.nansum(jnp.real(jnp.conj(ahead - after) * onwards)) > 0  # a group with NaN does not vote
        larger = jnp.where(uphill, 1, (1 + jnp.sqrt(1 + 4 * jnp.square(momentum))) / 2)
        share = jnp.where(uphill, 0, (momentum - 1) / larger)
        return x, after, after + (share * onwards).astype(w.dtype), larger

    zeros = jnp.zeros_like(w)
    start = (w, zeros, zeros, jnp.ones((), real_dtype(w)))
    return jax.lax.fori_loop(0, ITERATIONS, round_of_both, start)[0]


def _added(x: jax.Array, correction: jax.Array) -> jax.Array:
    # Adding a correction of 0 would flush subnormal weights.
    return jnp.where(correction == 0, x, x + correction)
