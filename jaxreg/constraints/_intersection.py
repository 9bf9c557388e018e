"""Several constraints at once: the nearest point of the sets' intersection."""

import dataclasses
from collections.abc import Callable
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._checks import refuse_class
from jaxreg._groups import Axis, axis_of, group_axes, group_size, limit_of_groups
from jaxreg._hyperparameters import Number, hyperparameters, known, static
from jaxreg._precision import wide
from jaxreg._sharding import partitioned
from jaxreg.constraints._bounded_norms import nearest_in_shell
from jaxreg.constraints._bounds import Box, LinfBall, NonNeg, clip
from jaxreg.constraints._norms import MaxNorm, MaxRMS, MinMaxNorm, UnitNorm
from jaxreg.constraints._sparsity import NMSparse, Sparse
from jaxreg.constraints._spectral import Orthonormal
from jaxreg.constraints._spheres import FrobeniusSphere, TreeNorm
from jaxreg.constraints._sums import L1Ball, Simplex, SumTo

Part = Callable[[jax.Array], jax.Array]

_BOUNDS = (NonNeg, Box, LinfBall)
_NORMS = (MaxNorm, MaxRMS, MinMaxNorm, UnitNorm)
_BALLS = (L1Ball, MaxNorm, MaxRMS)
_COUNTS = (Sparse, NMSparse)
_NOT_CONVEX = (MinMaxNorm, UnitNorm, Orthonormal, FrobeniusSphere, *_COUNTS)

ITERATIONS = 200
"""Rounds of Dykstra's algorithm; those after the last change cost time and change nothing."""


@hyperparameters
class _Plain:
    """A plain function as a part without hyperparameters: a bare one would be taken for a schedule."""

    function: Part = static()

    def __call__(self, w: jax.Array) -> jax.Array:
        return self.function(w)


@hyperparameters
class Intersection:
    """Several constraints at once: {w : w in every set}, projected onto the nearest point of all.

    Exact where there is a closed form: bounds with bounds; bounds with limits on the norms of the same groups
    (`UnitNorm` and `MinMaxNorm` too, though they are not convex); `NonNeg` with `L1Ball` or `SumTo`; `Sparse` or
    `NMSparse` with `NonNeg`, `L1Ball`, `MaxNorm` or `MaxRMS`, of the same groups or larger ones. Other convex sets by
    Dykstra's algorithm: 200 rounds; then the last part holds exactly, the others as far as the rounds have led.

    Args:
        *parts: Constraints, or functions that project onto a convex set. An intersection counts as its parts.
        axis: The axes of a group for the parts that leave theirs open.

    Raises:
        TypeError: If a part is not callable, needs many arrays at once, or is not convex and in no closed form (where
            that is for groups of other axes, when the array is seen).
        ValueError: If there are no parts, a `MinMaxNorm` has another rate than 1, for this goes the whole way, or, when
            the array is seen, known limits leave no common point.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> both = jr.Intersection(jr.UnitNorm(), jr.Box(0.0, 0.8))
        >>> print(np.asarray(both(jnp.array([5.0, 1.0, 1.0, -2.0]))).round(5))
        [0.8     0.42426 0.42426 0.     ]

    Reference:
        Boyle and Dykstra, A method for finding projections onto the intersection of convex sets, 1986; Bauschke,
        Bui and Wang, Projecting onto the intersection of a cone and a sphere, 2018.
    """

    parts: tuple[Part, ...]
    axis: Axis = static(default=None)

    def __init__(self, *several: Part, parts: tuple[Part, ...] = (), axis: Axis = None) -> None:
        # `parts` by name is for dataclasses.replace.
        parts = tuple(several) + tuple(parts)
        if not parts:
            raise ValueError(
                "Intersection: there are no parts; expected constraints: Intersection(UnitNorm(), NonNeg())"
            )
        for part in parts:
            refuse_class(part, "Intersection")
            if not callable(part) or isinstance(part, TreeNorm):
                raise TypeError(f"Intersection: a part is {part!r}; expected a constraint on one array")
        # A set that is not convex must be seen in an inner one too, whose rounds would be many for each of these.
        parts = tuple(each for part in parts for each in (part.placed if isinstance(part, Intersection) else [part]))
        parts = tuple(_Plain(part) if jax.tree_util.all_leaves([part]) else part for part in parts)
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "axis", axis)
        for part in parts:
            if isinstance(part, MinMaxNorm) and known(part.rate) and np.any(np.asarray(part.rate) != 1):
                raise ValueError(
                    f"Intersection: the rate of MinMaxNorm is {part.rate}; expected 1, for this goes the whole way"
                )
        self._closed_forms()

    @partitioned()
    def __call__(self, w: jax.Array) -> jax.Array:
        """The nearest array in every set; `w` itself, bit for bit, where it is in all."""
        if w.size == 0:
            return w
        if not self._closed_forms(w.ndim):
            _refuse_totals(self.placed, self.limits, w)
            return _dykstra(self.placed, w)
        bounds, counts, others = self._by_kind()
        if counts or (len(others) == 1 and isinstance(others[0], _BALLS) and _all_cones(bounds)):
            # Cones first, then a ball about their tip.
            return reduce(lambda w, part: part(w), [*(NonNeg() for _ in bounds[:1]), *counts, *others], w)
        if not others:
            return clip(w, *self.limits)
        if isinstance(others[0], SumTo):
            return Simplex(others[0].total, others[0].axis)(w)
        axes = group_axes(w.ndim, getattr(others[0], "axis"))  # noqa: B009
        return nearest_in_shell(w, self.limits, _common([_norm_limits(part, w) for part in others], "norms"), axes)

    @property
    def limits(self) -> tuple[Number, Number]:
        """The lower and the upper bound of every weight."""
        return _common([part.limits for part in self.parts if hasattr(part, "limits")], "bounds")

    @property
    def placed(self) -> list[Any]:
        """The parts, with the axis of all where theirs is left open."""
        is_open = [self.axis is not None and axis_of(part) is None for part in self.parts]
        return [
            dataclasses.replace(part, axis=self.axis) if fill else part  # type: ignore[type-var]
            for fill, part in zip(is_open, self.parts, strict=True)
        ]

    def _by_kind(self) -> tuple[list[Any], list[Any], list[Any]]:
        # Bounds, counts, and what is neither.
        bounds, counts = ([part for part in self.placed if isinstance(part, kind)] for kind in (_BOUNDS, _COUNTS))
        return bounds, counts, [part for part in self.placed if not isinstance(part, (*_BOUNDS, *_COUNTS))]

    def _closed_forms(self, ndim: int | None = None) -> bool:
        # Whether there is a closed form; refuses sets that need one. Axes are alike or not once their number is known.
        bounds, counts, others = self._by_kind()
        if counts:
            balls = [part for part in others if isinstance(part, _BALLS)]
            found = len(counts) == 1 and _all_cones(bounds) and len(balls) == len(others) <= 1
            found = found and all(ndim is None or _within(counts[0].axis, part.axis, ndim) for part in balls)
        elif all(isinstance(part, _NORMS) for part in others):
            found = ndim is None or len({frozenset(group_axes(ndim, part.axis)) for part in others}) <= 1
        else:
            found = len(others) == 1 and isinstance(others[0], L1Ball | SumTo) and bool(bounds) and _all_cones(bounds)
        for part in [] if found else self.parts:
            if isinstance(part, _NOT_CONVEX):
                beside = (
                    "it beside NonNeg, and one L1Ball, MaxNorm or MaxRMS of the same groups or larger ones, only"
                    if isinstance(part, _COUNTS)
                    else "convex sets, or norms and bounds of the same groups only"
                )
                raise TypeError(f"Intersection: {type(part).__name__} is not convex; expected {beside}")
        return found


def _within(inner: Axis, outer: Axis, ndim: int) -> bool:
    return set(group_axes(ndim, inner)) <= set(group_axes(ndim, outer))


def _all_cones(bounds: list[Any]) -> bool:
    return all(isinstance(part, NonNeg) for part in bounds)


def _norm_limits(part: Any, w: jax.Array) -> tuple[Number, Number]:
    if isinstance(part, MaxRMS):
        part = part.as_max_norm(w)
    if isinstance(part, UnitNorm):
        return 1.0, 1.0
    low, high = (0.0, part.limit) if isinstance(part, MaxNorm) else (part.min, part.max)
    axes = group_axes(w.ndim, part.axis)
    return limit_of_groups(low, wide(w), axes), limit_of_groups(high, wide(w), axes)


def _common(limits: list[tuple[Number, Number]], what: str) -> tuple[Number, Number]:
    if len(limits) == 1:
        return limits[0]
    if not limits:
        return -np.inf, np.inf
    lows, highs = zip(*limits, strict=True)
    xp: Any = np if known(*lows, *highs) else jnp
    low, high = reduce(xp.maximum, lows), reduce(xp.minimum, highs)
    if xp is np:
        with np.errstate(over="ignore"):  # in float32, for a limit that was rounded to it meets one that was not
            apart = np.asarray(low, np.float32) > np.asarray(high, np.float32)
        if np.any(apart):
            above, under = (np.broadcast_to(limit, apart.shape).flat[np.argmax(apart)] for limit in (low, high))
            raise ValueError(
                f"Intersection: the {what} leave nothing between {above:g} and {under:g}; expected sets that meet"
            )
    return low, high


def _refuse_totals(parts: list[Any], bounds: tuple[Number, Number], w: jax.Array) -> None:
    low, high = bounds
    for part in parts:
        if not isinstance(part, Simplex | SumTo) or not known(part.total, low, high) or np.ndim(low) or np.ndim(high):
            continue
        count = group_size(w.shape, group_axes(w.ndim, part.axis))
        total = np.asarray(part.total, float)
        slack = 1e-6 * np.abs(total)
        if np.any((total > count * high + slack) | (total < count * low - slack)):
            raise ValueError(
                f"Intersection: a total is {part.total}; expected one from {count * low:g} to {count * high:g}, the "
                f"sums of {count} weights from {low:g} to {high:g}: widen the bounds, or change the total"
            )


def _dykstra(parts: list[Part], w: jax.Array) -> jax.Array:
    x = wide(w)

    def round_of_parts(_: int, state: tuple[jax.Array, tuple[jax.Array, ...]]) -> Any:
        x, corrections = state
        later = []
        for part, correction in zip(parts, corrections, strict=True):
            before = x + correction
            # A correction of 0 must not flush subnormal weights either.
            before = jnp.where(correction == 0, x, before)
            x = part(before)
            later.append(before - x)
        return x, tuple(later)

    x, _ = jax.lax.fori_loop(0, ITERATIONS, round_of_parts, (x, tuple(jnp.zeros_like(x) for _ in parts)))
    inside = jnp.all(jnp.stack([jnp.all(part(w) == w) for part in parts]))
    ends = x.astype(w.dtype)
    for part in parts:  # what rounding to a narrower dtype has led out
        ends = part(ends)
    return jnp.where(inside, w, ends)
