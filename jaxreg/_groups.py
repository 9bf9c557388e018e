"""Groups of weights: the axes of a group, norms of groups, and bounds on rounding errors."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._complex import to_pairs
from jaxreg._hyperparameters import Axis, Number, known
from jaxreg._precision import as_wide, eps, real_dtype, tiny


def group_axes(ndim: int, axis: Axis) -> tuple[int, ...]:
    """Return the axes that a group of weights spans, as a tuple of non-negative integers.

    If `axis` is None, the result contains the fan-in axes of an array of shape (…, inputs, units): all axes except the
    last. A vector is one group.

    Raises:
        ValueError: If an axis is out of range or repeated.
        TypeError: If an axis is not an integer.
    """
    if axis is None:
        return tuple(range(ndim - 1)) if ndim > 1 else tuple(range(ndim))
    axes = tuple(axis) if isinstance(axis, tuple | list) else (axis,)
    if any(isinstance(a, bool) or not isinstance(a, int | np.integer) for a in axes):
        raise TypeError(f"`axis` is {axis!r}; expected a whole number, or a tuple of whole numbers")
    if any(not -ndim <= a < ndim for a in axes) or len({a % max(ndim, 1) for a in axes}) != len(axes):
        raise ValueError(
            f"`axis` is {axis} for an array with {ndim} axes; expected distinct integers between {-ndim} and {ndim - 1}"
        )
    return tuple(a % ndim for a in axes)


def group_size(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    """Return the number of weights in one group. A group spans the axes `axes` of an array of shape `shape`."""
    return int(np.prod([shape[a] for a in axes], dtype=int))


@partial(jax.jit, static_argnames="axes")  # without jit, the branches would be compiled at every call
def group_norms(x: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Return the Euclidean norm of each group of weights. The result keeps the axes `axes`, with length 1.

    The squares of large numbers do not overflow. The gradient of the norm of zeros is 0.
    """
    if jnp.iscomplexobj(x):
        return group_norms(to_pairs(x), (*axes, x.ndim))[..., 0]
    squares = jnp.sum(jnp.square(x), axes, keepdims=True)
    plain = (squares > tiny(x.dtype) / eps(x.dtype)) & jnp.isfinite(squares)

    def scaled(x: jax.Array) -> jax.Array:
        largest = jax.lax.stop_gradient(jnp.max(jnp.abs(x), axes, keepdims=True, initial=0))
        scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1)
        sums = jnp.sum(jnp.square(x / scale), axes, keepdims=True)
        norms = jnp.where(sums > 0, scale * jnp.sqrt(jnp.where(sums > 0, sums, 1)), 0)
        return jnp.where(jnp.isfinite(largest), norms, largest)  # NaN or infinite if the largest entry is

    def direct(x: jax.Array) -> jax.Array:
        return jnp.sqrt(jnp.where(plain, squares, 1))

    return jax.lax.cond(jnp.all(plain), direct, scaled, x)


def magnitudes(x: jax.Array) -> jax.Array:
    """Return the absolute value of each number in `x`. The gradient at 0 is 0."""
    # jax.grad(jnp.abs)(0.) is 1, and Adam would move every zero weight. With the sign held fixed the gradient is 0.
    return group_norms(x, ()) if jnp.iscomplexobj(x) else x * jax.lax.stop_gradient(jnp.sign(x))


def directions(x: jax.Array) -> jax.Array:
    """Return the sign of each number, or x / |x| for a complex number x.

    Signs of real numbers are constants under differentiation.
    """
    if not jnp.iscomplexobj(x):
        return jax.lax.stop_gradient(jnp.sign(x))
    sizes = group_norms(x, ())
    return x / jnp.where(sizes > 0, sizes, 1)


def scale_for(limit: jax.Array, count: int) -> jax.Array:
    """Return a power of 2 by which to scale weights and limits, so that their squares do not overflow.

    After scaling, the squares of numbers up to 10^30 · limit do not overflow. Squares that underflow change the sum of
    squares by less than its rounding error. Therefore, one pass over the numbers suffices for a norm. `group_norms` may
    need a second pass, which finds the largest number.
    """
    dtype = limit.dtype
    held = jnp.clip(limit, tiny(dtype), jnp.finfo(dtype).max)  # type: ignore[no-untyped-call]
    room = 2.0 ** math.floor(math.log2(eps(dtype) / (32 * max(count, 1) * tiny(dtype))) / 2)
    return jax.lax.stop_gradient(jnp.maximum(jnp.frexp(held)[0] / held / room, tiny(dtype)))


def rounding(x: jax.Array, axes: tuple[int, ...]) -> float:
    """Return a bound on the relative rounding error of a group's norm or sum.

    Each product rounds a few times. In the worst order of summation, the rounding error of a sum of N terms grows like
    √N. It stops growing at N = 16,384, because XLA sums long axes in blocks.
    """
    return eps(x.dtype) * (4 + min(float(np.sqrt(group_size(x.shape, axes))) / 4, 32))


def to_rows(x: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Return the groups of `x` as the rows of a matrix of shape (groups, weights per group)."""
    last = tuple(range(x.ndim - len(axes), x.ndim))
    return jnp.moveaxis(x, axes, last).reshape(-1, group_size(x.shape, axes))


def from_rows(rows: jax.Array, shape: tuple[int, ...], axes: tuple[int, ...]) -> jax.Array:
    """Return the array of shape `shape` whose groups are the given rows: the inverse of `to_rows`."""
    kept = [n for a, n in enumerate(shape) if a not in axes]
    last = tuple(range(len(kept), len(shape)))
    return jnp.moveaxis(rows.reshape(*kept, *(shape[a] for a in axes)), last, axes)


def limit_of_groups(limit: Number, x: jax.Array, axes: tuple[int, ...]) -> Number:
    """Reshape an array with one limit per group of weights, so that it broadcasts against `x`.

    A scalar stays a scalar.

    Args:
        limit: One number for all groups, or an array with one number per group. The array must broadcast to the shape
            of `x` without the axes `axes`.
        x: Weights. An array of limits is cast to the real dtype of `x`.
        axes: Axes of one group.

    Raises:
        ValueError: If an array of limits has the wrong shape.
    """
    given = np.shape(limit)
    if given == ():
        return as_wide(limit, x)
    kept = tuple(1 if a in axes else n for a, n in enumerate(x.shape))
    groups = tuple(n for a, n in enumerate(x.shape) if a not in axes)
    for shape in (groups, kept):
        if len(given) <= len(shape) and all(n in (1, m) for n, m in zip(given[::-1], shape[::-1], strict=False)):
            xp: Any = np if known(limit) else jnp  # NumPy, so that the value is known inside jit too
            return xp.broadcast_to(xp.asarray(limit, real_dtype(x)), shape).reshape(kept)
    raise ValueError(
        f"a limit has shape {given} for weights of shape {x.shape} whose groups span the axes {axes}; expected one "
        f"number, or an array of shape {groups} with one number per group"
    )


def per_row(limit: Any, x: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Return the limits of all groups as a column, with one number per row of `to_rows(x, axes)`.

    The argument `limit` is one number for all groups, or an array with one number per group.
    """
    kept = tuple(1 if a in axes else n for a, n in enumerate(x.shape))
    return to_rows(jnp.broadcast_to(jnp.asarray(limit_of_groups(limit, x, axes), real_dtype(x)), kept), axes)


def simplex_rows(rows: jax.Array, totals: jax.Array) -> jax.Array:
    """Project each row of a matrix onto a simplex: the set of all non-negative rows with a given sum.

    The column `totals` contains the sums, which must be at least 0.
    """
    positive = totals > 0
    goals = jnp.where(positive, totals, 1)
    scale, largest = jax.lax.stop_gradient((goals, jnp.max(rows, axis=1, keepdims=True)))
    # Entries more than the total below the largest end at 0, at any distance.
    unit = jnp.maximum(rows - largest, -scale) / scale
    # The sum is 1 at the level max_k (u₁ + … + u_k - 1) / k, u in descending order. The weights above it are held.
    sums = jnp.cumsum(jnp.sort(jax.lax.stop_gradient(unit), axis=1, descending=True), axis=1)
    level = jnp.max((sums - 1) / jnp.arange(1, rows.shape[1] + 1, dtype=rows.dtype)[None], axis=1, keepdims=True)
    held = ~(unit <= level)  # NaN stays NaN
    for _ in range(2):  # the second round removes the rounding error of the first
        count = jnp.sum(held, axis=1, keepdims=True, dtype=rows.dtype)
        surplus = jnp.sum(jnp.where(held, unit, 0), axis=1, keepdims=True) - goals / scale
        unit = unit - surplus / jnp.maximum(count, 1)
        held = held & ~(unit <= 0)
    return jnp.where(positive & held, scale * unit, 0)
