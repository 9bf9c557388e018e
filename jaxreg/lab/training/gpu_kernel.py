"""The kernel of `jaxreg.lab.fused`: all steps of one lane between two points of its curves, written for Triton.

Triton wants arrays whose sizes are powers of two and takes no element out of an array that is not in memory. So weights
are rows, vectors over the hidden units, filled up with units of zeros: nothing passes through such a unit, forward or
backward, and it stays at zero. The rows of the data come in blocks, whose gradients add up.
"""

from collections.abc import Callable
from functools import reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl

import jaxreg as jr
from jaxreg._precision import eps
from jaxreg.keras import EPSILON
from jaxreg.lab.training.metrics import binary_cross_entropy, squared_error

Net = dict[str, list[jax.Array]]
"""Path -> rows over the hidden units: one for each input, for the biases and for the output; the output's bias alone
is a number."""

B1, B2 = 0.9, 0.999


ROWS = 8
TILE = 2**12
"""At most so many rows in a block, and hidden values of these rows."""


class Group(NamedTuple):
    """What one norm of a leaf is of: a unit's weights or all; its rounding; each weight, if equal ones have norm 1."""

    whole: bool
    slack: float
    even: float


def _cross_entropy(z: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    small = jnp.exp(-jnp.abs(z))
    value = jnp.where(z < 0, 0, z) - z * y + jnp.log1p(small)
    return value, jnp.where(z < 0, small, 1) / (1 + small) - y


def _square(z: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    return (z - y) * (z - y), 2 * (z - y)


LOSSES: dict[Any, Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]] = {
    binary_cross_entropy: _cross_entropy,
    squared_error: _square,
}
"""Loss -> its value and its slope for one output and target, as Triton takes them."""


def tile(rows: int, width: int) -> int:
    """Rows of a block, of so many rows in all, where the hidden units are filled up to `width`."""
    return min(pl.next_power_of_2(rows), ROWS, max(1, TILE // width))


def kernel(
    batch: Any,
    factors: Any,
    numbers: Any,
    marks: Any,
    start: Any,
    end: Any,
    ended: Any,
    *,
    loss: Any,
    groups: Any,
    units: int,
) -> None:
    """All steps of one lane, in one program of the grid.

    Args:
        batch: References to inputs of shape (rows, inputs), targets and each row's share of the loss, of shape (rows,).
        factors: Of each step, what bias correction makes of the learning rate.
        numbers: Penalties and constraints by path, and the learning rate, each number an array of one.
        marks: The epoch at which the lane diverged or -1, and the epoch of the first step.
        start: Weights, means and mean squares: path -> rows over the hidden units.
        end: Likewise, to be written.
        ended: What `marks` holds first, to be written.
        loss: Out of the values of `LOSSES`.
        groups: Path -> what a constraint's norm there is of.
        units: Hidden units in truth.
    """
    x, y, weights = batch
    numbers = jax.tree.map(lambda number: number[0], numbers)
    width = start[0]["hidden/bias"].shape[1]
    size, inputs = tile(x.shape[0], width), x.shape[1]

    def block(net: Net, number: Any) -> tuple[jax.Array, Net]:
        """The loss of some of the rows, and its gradient."""
        rows = pl.ds(number * size, size)
        columns = [x[rows, k][:, None] for k in range(inputs)]
        out = net["output/kernel"][0]
        into = sum(c * w[None, :] for c, w in zip(columns, net["hidden/kernel"], strict=True))
        into += net["hidden/bias"][0][None, :]
        hidden = jnp.where(into <= 0, 0, into)  # not `maximum`, which on a GPU makes 0 of NaN
        value, slope = loss(jnp.sum(hidden * out[None, :], 1) + net["output/bias"][0], y[rows])
        error = slope * weights[rows]
        through = jnp.where(into <= 0, 0, error[:, None])
        gradient = {
            "hidden/kernel": [jnp.sum(through * c, 0) * out for c in columns],
            "hidden/bias": [jnp.sum(through, 0) * out],
            "output/kernel": [jnp.sum(hidden * error[:, None], 0)],
            "output/bias": [jnp.sum(error)],
        }
        return jnp.sum(value * weights[rows]), gradient

    def penalty(net: Net) -> jax.Array:
        return sum((rule(row) for path, rule in numbers["penalties"].items() for row in net[path]), jnp.zeros(()))

    def step(number: jax.Array, carry: Any) -> Any:
        net, mean, square, diverged_at = carry
        zero = np.float32(0)
        add = lambda number, sums: jax.tree.map(jnp.add, sums, block(net, number))  # noqa: E731
        cost, slopes = jax.lax.fori_loop(0, x.shape[0] // size, add, (zero, jax.grad(penalty)(net)))
        mean = jax.tree.map(lambda m, g: m + (g - m) * (1 - B1), mean, slopes)
        square = jax.tree.map(lambda v, g: v + (g * g - v) * (1 - B2), square, slopes)
        rate = numbers["rate"] * factors[number]
        net = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + EPSILON), net, mean, square)
        for path, rule in numbers["constraints"].items():
            net[path] = _constrained(net[path], rule, groups[path], units)
        diverges = (diverged_at < 0) & ~(jnp.abs(cost) < jnp.inf)
        return net, mean, square, jnp.where(diverges, marks[1] + number, diverged_at)

    found = [{path: _rows(ref) for path, ref in refs.items()} for refs in start]
    *found, ended[0] = jax.lax.fori_loop(0, factors.shape[0], step, (*found, marks[0]))
    for refs, net in zip(end, found, strict=True):
        for path, rows in net.items():
            for k, row in enumerate(rows):
                refs[path][k, slice(None) if row.ndim else 0] = row


def _rows(ref: Any) -> list[jax.Array]:
    return [ref[k, :] for k in range(ref.shape[0])] if ref.shape[1] > 1 else [ref[0, 0]]


def _constrained(rows: list[jax.Array], rule: Any, group: Any, units: int) -> list[jax.Array]:
    """What `rule` makes of a leaf: the formulas of `jaxreg.constraints` and `jaxreg.boxes`, on rows."""
    if isinstance(rule, jr.NonNeg):
        return [rule(row) for row in rows]

    def along(fold: Callable[[jax.Array], jax.Array], values: jax.Array) -> jax.Array:
        return fold(values) if group.whole and values.ndim else values

    # Constants with a type: where all is one number, Triton gives a bare 0 or 1 the type of the condition.
    zero, one = np.float32(0), np.float32(1)
    largest = along(jnp.max, reduce(jnp.maximum, map(jnp.abs, rows)))
    scale = jnp.where(largest > 0, largest, one)
    norms = scale * jnp.sqrt(along(jnp.sum, reduce(jnp.add, (jnp.square(row / scale) for row in rows))))
    safe = jnp.where(norms > 0, norms, one)
    if isinstance(rule, jr.MaxNorm):
        outside = norms > rule.limit
        goal = jnp.where(outside, rule.limit * (1 - group.slack), one)
        return [jnp.where(outside, row / safe * goal, row) for row in rows]
    narrow = rule.min * (1 + 3 * group.slack) >= rule.max
    tolerance = jnp.where(narrow, np.float32(group.slack + eps(np.float32) / 2), zero)
    above, below = norms > rule.max * (1 + tolerance), norms < rule.min * (1 - tolerance)
    inward = jnp.where(narrow, zero, np.float32(group.slack))
    nearest = jnp.where(above, rule.max * (1 - inward), rule.min * (1 + inward))
    goal = rule.rate * nearest + (1 - rule.rate) * norms
    even: Any = np.float32(group.even)
    if rows[0].ndim:
        even = jnp.where(jnp.arange(rows[0].shape[0]) < units, even, zero)
    return [jnp.where(above | below, jnp.where(norms > 0, row / safe, even) * goal, row) for row in rows]
