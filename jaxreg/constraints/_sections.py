"""Exact projections onto a set with a fixed sum per group, and with bounds on weights or limits on norms.

Let x be a group of n weights, and c the fixed sum.

- Bounds: the nearest point to x is clip(x - θ) for some θ, because the Lagrangian has a separate term for each weight.
  The sum of clip(x - θ) falls as θ grows, so bisection finds θ. For a weighted sum ⟨a, w⟩ = c, the nearest point is
  clip(x - θ a).
- Norms: the points with sum c and norm r form a sphere in a hyperplane. Its centre is (c/n, …, c/n). From the centre,
  the nearest point to x lies in the direction of x minus the mean of x.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._groups import from_rows, group_size, limit_of_groups, per_row, rounding, to_rows
from jaxreg._hyperparameters import Number, known
from jaxreg._precision import eps, held, wide
from jaxreg._protocols import Limits
from jaxreg.constraints._bounds import bounds
from jaxreg.constraints._box_and_norm import first_of, root, row_norms
from jaxreg.constraints._linear import plane
from jaxreg.constraints._sums import sum_tolerance, tolerance_of_sums

HALVINGS = 60
"""Number of bisections of the interval that contains θ, to almost the precision of float64. Newton steps follow."""


def nearest_of_sum_in_box(w: jax.Array, total: Number, box: Limits, axes: tuple[int, ...]) -> jax.Array:
    """Project `w` onto the set where every weight is within `box`, and the sum of every group is `total`.

    The bounds hold exactly, and the sum holds up to rounding.
    """
    low, high = (jnp.broadcast_to(b, w.shape) for b in bounds(w, *box))
    x, lows, highs = (to_rows(wide(a), axes) for a in (w, low, high))
    totals = per_row(total, wide(w), axes)
    off = jnp.abs(jnp.sum(x, axis=1, keepdims=True) - totals)
    inside = (off <= sum_tolerance(x, w, axes)) & jnp.all((x >= lows) & (x <= highs), axis=1, keepdims=True)
    y = x - _shift(*(jax.lax.stop_gradient(a) for a in (x, lows, highs, totals)))
    for _ in range(3):  # Newton steps: exact once the free weights are known, with the derivative of the root
        free = jnp.sum((y > lows) & (y < highs), axis=1, keepdims=True, dtype=x.dtype)
        surplus = jnp.sum(_within(y, lows, highs), axis=1, keepdims=True) - totals
        y = y - surplus / jnp.maximum(free, 1)
    nearest = from_rows(_within(y, lows, highs).astype(w.dtype), w.shape, axes)
    return jnp.where(from_rows(jnp.broadcast_to(inside, x.shape), w.shape, axes), held(w, nearest), nearest)


def _within(y: jax.Array, lows: jax.Array, highs: jax.Array) -> jax.Array:
    # A weight at its bound moves with the bound. The derivative of jnp.clip is a mean of both sides there, and a corner
    # of the box that has the sum makes such ties.
    return jnp.where(y >= highs, highs, jnp.where(y <= lows, lows, y))


def _shift(x: jax.Array, lows: jax.Array, highs: jax.Array, totals: jax.Array) -> jax.Array:
    # θ with Σ clip(x - θ) = total, by bisection.
    sizes = jnp.maximum(*(jnp.where(jnp.isfinite(bound), jnp.abs(bound), 0) for bound in (lows, highs)))
    reach = jnp.abs(totals) + jnp.sum(sizes, axis=1, keepdims=True)  # beyond it the sum is too large or too small

    def halve(_: int, between: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        less, more = between
        middle = less + (more - less) / 2
        too_large = jnp.sum(jnp.clip(x - middle, lows, highs), axis=1, keepdims=True) > totals
        return jnp.where(too_large, middle, less), jnp.where(too_large, more, middle)

    ends = jnp.min(x, axis=1, keepdims=True) - reach, jnp.max(x, axis=1, keepdims=True) + reach
    return jax.lax.fori_loop(0, HALVINGS, halve, ends)[1]


def nearest_of_weighted_sum_in_box(
    w: jax.Array, normal: Number, offset: Number, box: Limits, axes: tuple[int, ...]
) -> jax.Array:
    """Project `w` onto the set where every weight is within `box`, and ⟨normal, w_j⟩ = offset for every group w_j.

    The bounds hold exactly, and the weighted sum holds up to rounding.

    Raises:
        ValueError: If no weights within the bounds have the required weighted sum. Traced values are not checked.
    """
    low, high = (jnp.broadcast_to(b, w.shape) for b in bounds(w, *box))
    x, lows, highs = (to_rows(wide(b), axes) for b in (w, low, high))
    a, offsets = plane(normal, offset, w, axes)
    if known(normal, offset, *box):
        _refuse_far(normal, offset, box, w, axes)
    sizes = jnp.sum(jnp.abs(a * x), axis=1, keepdims=True)
    off = jnp.abs(jnp.sum(a * x, axis=1, keepdims=True) - offsets)
    inside = off <= tolerance_of_sums(sizes, x.shape[1], w, axes)
    inside = inside & jnp.all((x >= lows) & (x <= highs), axis=1, keepdims=True)
    y = x - a * _shift_along(*(jax.lax.stop_gradient(b) for b in (x, a, lows, highs, offsets)))
    for _ in range(3):  # Newton steps: exact once the free weights are known, with the derivative of the root
        squares = jnp.sum(jnp.where((y > lows) & (y < highs), jnp.square(a), 0), axis=1, keepdims=True)
        surplus = jnp.sum(a * _within(y, lows, highs), axis=1, keepdims=True) - offsets
        y = y - a * jnp.where(squares > 0, surplus / jnp.where(squares > 0, squares, 1), 0)
    nearest = from_rows(_within(y, lows, highs).astype(w.dtype), w.shape, axes)
    return jnp.where(from_rows(jnp.broadcast_to(inside, x.shape), w.shape, axes), held(w, nearest), nearest)


def _shift_along(x: jax.Array, a: jax.Array, lows: jax.Array, highs: jax.Array, offsets: jax.Array) -> jax.Array:
    # θ with ⟨a, clip(x - θ a)⟩ = offset, by bisection between the smallest and the largest θ at which a weight meets a
    # bound. Beyond them the sum is linear, so the Newton steps go on from there.
    slopes = jnp.where(a == 0, 1, a)
    meets = [jnp.where(jnp.isfinite(b) & (a != 0), (x - b) / slopes, jnp.nan) for b in (lows, highs)]
    found = jnp.nan_to_num(jnp.concatenate(meets, axis=1))

    def halve(_: int, between: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        less, more = between
        middle = less + (more - less) / 2
        too_large = jnp.sum(a * jnp.clip(x - middle * a, lows, highs), axis=1, keepdims=True) > offsets
        return jnp.where(too_large, middle, less), jnp.where(too_large, more, middle)

    ends = jnp.min(found, axis=1, keepdims=True), jnp.max(found, axis=1, keepdims=True)
    return jax.lax.fori_loop(0, HALVINGS, halve, ends)[1]


def _refuse_far(normal: Number, offset: Number, box: Limits, w: jax.Array, axes: tuple[int, ...]) -> None:
    last = tuple(range(w.ndim - len(axes), w.ndim))
    count = group_size(w.shape, axes)

    def rows(values: Number) -> np.ndarray:  # in NumPy, so that the values are known inside jit too
        return np.moveaxis(np.broadcast_to(np.asarray(values, float), w.shape), axes, last).reshape(-1, count)

    a = np.asarray(normal, float)[None] if np.shape(normal) == (count,) else rows(normal)
    with np.errstate(invalid="ignore"):  # 0 · inf
        ends = [np.where(a == 0, 0, a * rows(bound)) for bound in box]
    least, most = (np.sum(choose(*ends), axis=1) for choose in (np.minimum, np.maximum))
    offsets = np.reshape(limit_of_groups(offset, wide(w), axes), -1).astype(float)
    slack = 1e-6 * np.abs(offsets)
    far = (offsets > most + slack) | (offsets < least - slack)
    if np.any(far):
        required, low, high = (first_of(each, far) for each in (offsets, least, most))
        raise ValueError(
            f"Intersection: the required weighted sum of a group, the offset of Hyperplane, is {required:g}; expected "
            f"a number between {low:g} and {high:g}, the range of this sum for weights within the bounds. Widen the "
            "bounds, or change the offset"
        )


def nearest_of_sum_and_norm(w: jax.Array, total: Number, norm: Limits, axes: tuple[int, ...]) -> jax.Array:
    """Project `w` onto the set where every group has the sum `total` and a norm within the limits `norm`.

    The sum and the lower limit hold up to rounding. If all weights of a group are equal and its norm is too small, many
    points are equally near. Then the first two weights move apart, and the other weights stay equal.

    Raises:
        ValueError: If a group can't have both the sum and a norm within the limits. Traced values are not checked.
    """
    x = to_rows(wide(w), axes)
    size = x.shape[1]
    totals, smallest, largest = (per_row(limit, wide(w), axes) for limit in (total, *norm))
    if known(total, norm[1]):
        sums, limits = (
            np.reshape(limit_of_groups(limit, wide(w), axes), -1).astype(float) for limit in (total, norm[1])
        )
        least = np.abs(sums) / np.sqrt(size)
        if np.any(far := least > limits * (1 + 1e-6)):
            required, needed, most = (first_of(each, far) for each in (sums, least, limits))
            raise ValueError(
                f"the norm of a group is limited to {most:g}; expected a limit of at least {needed:g}, because the "
                f"sum of its {size} weights must have magnitude {abs(required):g}. Raise the limit, or choose a sum "
                "closer to 0"
            )
    slack = jnp.asarray(rounding(wide(w), axes), x.dtype)
    narrow = smallest * (1 + 3 * slack) >= largest
    tolerance = jnp.where(narrow, slack + eps(w.dtype) / 2, 0)
    norms = _norms(x)
    off = jnp.abs(jnp.sum(x, axis=1, keepdims=True) - totals)
    inside = (norms <= largest * (1 + tolerance)) & (norms >= smallest * (1 - tolerance))
    inside = inside & (off <= sum_tolerance(x, w, axes))
    away = x - jax.lax.stop_gradient(x[:, :1])
    for _ in range(3):  # each round removes the rounding error of the one before
        away = away - jnp.mean(away, axis=1, keepdims=True)
    lengths, center = _norms(away), totals / size
    room = jnp.where(narrow, 0, 2 * slack + jnp.where(w.dtype == x.dtype, 0, eps(w.dtype)))
    squares = (jnp.square(limit) - center * totals for limit in (smallest * (1 + room), largest * (1 - room)))
    low, high = (root(jnp.maximum(square, 0)) for square in squares)
    # A sphere has no length left to differentiate.
    goals = jnp.where(narrow | (lengths > high), high, jnp.where(lengths < low, low, lengths))
    first = jnp.zeros(size, x.dtype).at[:2].set(jnp.array([1, -1], x.dtype)[:size])[None] * 0.5**0.5
    direction = jnp.where(lengths == 0, first, away / jnp.where(lengths == 0, 1, lengths))
    nearest = from_rows((center + direction * goals).astype(w.dtype), w.shape, axes)
    return jnp.where(from_rows(jnp.broadcast_to(inside, x.shape), w.shape, axes), held(w, nearest), nearest)


def nearest_sparse_shares(w: jax.Array, sparse: Any, simplex: Any, axes: tuple[int, ...]) -> jax.Array:
    """Project `w` onto the intersection of the two constraints `simplex` and `sparse`.

    The projection keeps the largest values of each group. `sparse` on its own keeps the largest magnitudes. So `sparse`
    is applied to the differences from the smallest weight of the group, which are not negative.
    """
    inside = jnp.all((sparse(w) == w) & (simplex(w) == w), axes, keepdims=True)
    x = wide(jax.lax.stop_gradient(w))
    above = x - jnp.min(x, axes, keepdims=True)
    above = above + jnp.max(above, axes, keepdims=True) + 1  # no 0 among them, which would count as a zero
    kept = sparse(above) != 0
    return jnp.where(inside, w, jnp.where(kept, simplex(jnp.where(kept, w, -jnp.inf)), 0))


def _norms(rows: jax.Array) -> jax.Array:
    # `row_norms` is 0 for NaN; here a row with NaN has norm NaN.
    return jnp.where(jnp.any(jnp.isnan(rows), axis=1, keepdims=True), jnp.nan, row_norms(rows))
