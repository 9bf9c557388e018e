"""Exact projection onto a set with bounds on each weight and limits on the norm of each group of weights.

Let x be a group of weights. The bounds form a box. Of all points with norm c in the box, the nearest to x has the
largest inner product with x. Let y(t) be t x, clipped to the bounds. If y(t) has norm c for some t ≥ 0, y(t) is the
nearest point, because it minimises the Lagrangian over the box. The norm of y(t) grows with t, so bisection finds t.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._groups import from_rows, group_size, per_row, rounding, to_rows
from jaxreg._hyperparameters import Number, known
from jaxreg._precision import eps, inwards, outwards, wide
from jaxreg.constraints._bounds import bounds

Rows = tuple[jax.Array, ...]

HALVINGS = 42
"""Number of bisections of the interval for log t, from [-88, 88] to the precision of float32."""


def nearest_in_shell(
    w: jax.Array, box: tuple[Number, Number], norm: tuple[Number, Number], axes: tuple[int, ...]
) -> jax.Array:
    """Project `w` onto the set where every weight is within `box`, and the norm of every group is within `norm`.

    The bounds hold exactly, and the limits on the norm hold up to rounding. An upper limit without a lower limit holds
    exactly. If the bounds make every norm too small, the result has the largest possible norm. If the bounds make every
    norm too large, the result has the smallest possible norm.

    Raises:
        ValueError: If no group of weights can satisfy both the bounds and the limits. Traced values are not checked.
    """
    if w.size == 0:
        return w
    if known(*box, *norm):
        _refuse_empty(w, box, norm, axes)
    low, high = (jnp.broadcast_to(b, w.shape) for b in bounds(w, *box))
    x, lows, highs = (to_rows(wide(a), axes) for a in (w, low, high))
    smallest, largest = (per_row(limit, wide(w), axes) for limit in norm)
    start = jnp.clip(x, lows, highs)
    norms = row_norms(start)
    slack = jnp.asarray(rounding(wide(w), axes), x.dtype)  # `where` on two plain numbers may return float64
    narrow = smallest * (1 + 3 * slack) >= largest
    tolerance = jnp.where(narrow, slack + eps(w.dtype) / 2, 0)
    above, below = norms > largest * (1 + tolerance), norms < smallest * (1 - tolerance)
    room = jnp.where(narrow, 0, slack)
    goals = jnp.where(above, largest * (1 - room), jnp.where(below, smallest * (1 + room), 1))
    moved = goals * _on_unit_sphere(x, lows / goals, highs / goals)
    rounded = jnp.where(above, inwards(moved, w.dtype), outwards(moved, w.dtype))
    rounded = jnp.where(narrow, moved.astype(w.dtype), rounded)
    values = from_rows(jnp.where(above | below, rounded, start.astype(w.dtype)), w.shape, axes)
    kept = from_rows(jnp.broadcast_to(~above & ~below, x.shape), w.shape, axes) & (w >= low) & (w <= high)
    nearest = jnp.where(kept, w, jnp.clip(values, low, high))
    return _moving(nearest, (x, lows, highs), (smallest, largest), (above, below, narrow), axes)


@partial(jax.custom_jvp, nondiff_argnums=(4,))
def _moving(nearest: jax.Array, rows: Rows, limits: Rows, outside: Rows, axes: tuple[int, ...]) -> jax.Array:
    # `nearest`, with the derivative of the projection wherever it has one. Halvings have none of their own.
    return nearest


@_moving.defjvp
def _moving_jvp(axes: tuple[int, ...], primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    # Weights at a bound move with it. On a sphere the free ones are t times those of x, and have the norm that the
    # others leave them: y_F = t x_F and |y_F|^2 = c^2 - |y_B|^2. There is no derivative for a weight that equals its
    # bound, and none for a row without a direction. Such a weight is treated as free, and such a row as held.
    nearest, (x, lows, highs), limits, (above, below, narrow) = primals
    _, (moved, lowered, raised), grown, _ = tangents
    y, beyond = to_rows(wide(nearest), axes), above | below
    free = jnp.where(beyond, (y > lows) & (y < highs), (x >= lows) & (x <= highs))
    bound = jnp.where(free, 0, jnp.where(y <= lows, lowered, raised))
    length, before = (row_norms(jnp.where(free, rows, 0)) for rows in (y, x))
    size = jnp.where(length > 0, length, 1)
    unit = jnp.where(free, y / size, 0)
    ratio = jnp.where(before > 0, length / jnp.where(before > 0, before, 1), 0)
    norm, growth = (jnp.where(above, upper, lower) for lower, upper in (limits, grown))
    longer = norm / size * growth - jnp.sum(y / size * bound, axis=1, keepdims=True)
    turned = ratio * (moved - unit * jnp.sum(unit * moved, axis=1, keepdims=True)) + unit * longer
    change = jnp.where(free, jnp.where(beyond | narrow, turned, moved), bound)
    return nearest, from_rows(change.astype(nearest.dtype), nearest.shape, axes)


def row_norms(rows: jax.Array) -> jax.Array:
    """Return the Euclidean norm of each row of a matrix, as a column."""
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(rows), axis=1, keepdims=True))
    scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1)
    squares = jnp.sum(jnp.square(rows / scale), axis=1, keepdims=True)
    return jnp.where(squares > 0, scale * jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)


def _refuse_empty(w: jax.Array, box: tuple[Number, Number], norm: tuple[Number, Number], axes: tuple[int, ...]) -> None:
    lows, highs, smallest, largest = (np.asarray(limit, dtype=float) for limit in (*box, *norm))
    count = group_size(w.shape, axes)

    def root_of_sum(sizes: np.ndarray) -> np.ndarray:
        if sizes.ndim == 0:
            return np.sqrt(count) * sizes
        return np.sqrt(np.sum(np.square(np.broadcast_to(sizes, w.shape)), axes, keepdims=True))

    sizes = np.maximum(np.abs(lows), np.abs(highs))
    least, most = root_of_sum(np.abs(np.clip(0.0, lows, highs))), root_of_sum(sizes)
    slack = 1 + rounding(wide(w), axes) + eps(w.dtype)
    if np.any(small := most * slack < smallest):
        needed, reached = (first_of(limit, small) for limit in (smallest, most))
        advice = "Widen the bounds, or lower the norm"
        if sizes.ndim == 0 and sizes > 0:
            more = np.ceil((needed / float(sizes)) ** 2 - 1e-6)
            advice = f"Widen the bounds, lower the norm, or choose an axis with at least {more:.0f} weights per group"
        raise ValueError(
            f"the norm of a group must be at least {needed:g}, but {count} weights within the bounds have a norm of at "
            f"most {reached:g}. {advice}"
        )
    if np.any(large := least > largest * slack):
        limit, needed = (first_of(limit, large) for limit in (largest, least))
        raise ValueError(
            f"the norm of a group is limited to {limit:g}; expected a limit of at least {needed:g}, because {count} "
            "weights within the bounds cannot have a smaller norm. Raise the limit, widen the bounds, or choose an "
            "axis with fewer weights per group"
        )


def first_of(values: np.ndarray, where: np.ndarray) -> float:
    """Return the first of the values at which `where` is True, after both are broadcast to the shape of `where`."""
    return float(np.broadcast_to(values, where.shape)[where][0])


def _on_unit_sphere(x: jax.Array, lows: jax.Array, highs: jax.Array) -> jax.Array:
    # Rows of norm 1 within the bounds, nearest to the rows x. No weight exceeds 1, so the bounds are clipped there.
    lows, highs = jnp.clip(lows, -1, 1), jnp.clip(highs, -1, 1)
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(x), axis=1, keepdims=True))
    x = x / jnp.where(largest > 0, largest, 1)
    t = _multiplier(*(jax.lax.stop_gradient(a) for a in (x, lows, highs)))
    y = t * x
    free = (y > lows) & (y < highs) & (x != 0)
    held = jnp.where(free, 0, jnp.clip(y, lows, highs))
    # After the bisection the set of free weights is known, so the multiplier has a closed form.
    rest = 1 - jnp.sum(jnp.square(held), axis=1, keepdims=True)
    length = row_norms(jnp.where(free, x, 0))
    solvable = (rest > 0) & (length > 0)
    exact = jnp.sqrt(jnp.where(solvable, rest, 1)) / jnp.where(solvable, length, 1)
    scaled = jnp.clip(jnp.where(solvable, exact, t) * x, lows, highs)
    y = jnp.where(free, scaled, held)
    reached = jnp.sum(jnp.square(jnp.where(x == 0, jnp.clip(0.0, lows, highs), jnp.where(x > 0, highs, lows))), axis=1)
    return jnp.where(reached[:, None] >= 1, y, _beyond(x, lows, highs))


def _multiplier(x: jax.Array, lows: jax.Array, highs: jax.Array) -> jax.Array:
    # t with ‖clip(t x)‖ = 1, by bisection of its logarithm.
    def halve(_: int, between: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        less, more = between
        middle = (less + more) / 2
        short = jnp.sum(jnp.square(jnp.clip(jnp.exp(middle) * x, lows, highs)), axis=1, keepdims=True) < 1
        return jnp.where(short, middle, less), jnp.where(short, more, middle)

    ends = jnp.full_like(x[:, :1], -88.0), jnp.full_like(x[:, :1], 88.0)
    less, more = jax.lax.fori_loop(0, HALVINGS, halve, ends)
    return jnp.exp((less + more) / 2)


def _beyond(x: jax.Array, lows: jax.Array, highs: jax.Array) -> jax.Array:
    # For rows whose norm is too small even with every weight at the bound on its own side. First, weights of 0 grow,
    # which costs no inner product. Then weights cross over to the farther bound, those that lose the least first. The
    # loss is concave in the squares, so all of them but one cross fully (this is exact for equal bounds).
    far = jnp.where(jnp.abs(highs) >= jnp.abs(lows), highs, lows)
    side = jnp.where(far >= 0, 1, -1)
    near = jnp.where(far == highs, lows, highs)
    agreeing, zero, opposed = side * x > 0, x == 0, side * x < 0
    settled = jnp.sum(jnp.where(agreeing, far, jnp.where(opposed, near, 0)) ** 2, axis=1, keepdims=True)
    wanted = (1 - settled) / jnp.maximum(jnp.sum(zero, axis=1, keepdims=True, dtype=x.dtype), 1)
    even = side * jnp.clip(root(jnp.maximum(wanted, 0)), jnp.abs(jnp.clip(0, lows, highs)), jnp.abs(far))
    rest = 1 - settled - jnp.sum(jnp.where(zero, even, 0) ** 2, axis=1, keepdims=True)
    gains = jnp.where(opposed, far**2 - near**2, 0)
    order = jnp.argsort(jnp.where(opposed, jnp.abs(x), -1), axis=1)
    before = jnp.cumsum(jnp.take_along_axis(gains, order, axis=1), axis=1)
    before = jnp.take_along_axis(before, jnp.argsort(order, axis=1), axis=1) - gains
    left = rest - before
    left = jnp.clip(jnp.where(left > 8 * eps(x.dtype), left, 0), 0, gains)  # the root would amplify rounding
    crossed = jnp.where(left > 0, side * root(near**2 + left), near)
    return jnp.where(agreeing, far, jnp.where(zero, even, crossed))


@jax.custom_jvp
def root(square: jax.Array) -> jax.Array:
    """Return the square root, with derivative 0 at 0."""
    return jnp.sqrt(square)


@root.defjvp
def _root_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    value = root(*primals)
    return value, jnp.where(value > 0, tangents[0] / (2 * jnp.where(value > 0, value, 1)), 0)
