"""Many steps of a small net in one kernel of a GPU: a program a lane, which keeps its weights and Adam's means at hand.

XLA runs a training step as several kernels, between which weights, means and activations travel through the device's
memory. The tutorials' net is so small that all of it fits the registers of one multiprocessor: here it is read once for
all the steps between two points of the curves. It is the training of `jaxreg.lab.fit` with sums in another order.

Triton wants arrays whose sizes are powers of two and takes no element out of an array that is not in memory. So weights
are rows, vectors over the hidden units, filled up with units of zeros: nothing passes through such a unit, forward or
backward, and it stays at zero. The rows of the data come in blocks, whose gradients add up.
"""

from collections.abc import Callable
from functools import partial, reduce
from importlib.util import find_spec
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl

import jaxreg as jr
from jaxreg.groups import group_axes, group_size, rounding
from jaxreg.keras import EPSILON, AdamState
from jaxreg.lab.data import Data
from jaxreg.lab.metrics import binary_cross_entropy, squared_error
from jaxreg.lab.models import MLP, linen
from jaxreg.objects import eps, tiny
from jaxreg.paths import Leaf, Rule, Rules, Tree, assign, leaves

Net = dict[str, list[jax.Array]]
"""Path -> rows over the hidden units: one for each input, for the biases and for the output; the output's bias alone
is a number."""

B1, B2 = 0.9, 0.999


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

PATHS = ["hidden/bias", "hidden/kernel", "output/bias", "output/kernel"]

WARPS = 4
THREADS = 32 * WARPS

ROWS = 8
TILE = 2**12
"""At most so many rows in a block, and hidden values of these rows."""

MOST = 192
"""Numbers a thread may hold, of its 255 registers: with 192 of them, by `_held`, ptxas spills none, with 200 some."""


class _Group(NamedTuple):
    """What one norm of a leaf is of: a unit's weights or all; its rounding; each weight, if equal ones have norm 1."""

    whole: bool
    slack: float
    even: float


def available() -> bool:
    """Whether a GPU can run the kernel: JAX has Pallas's Triton, which its version 0.11 calls deprecated, and sees one.

    Without it the plain loop does everything.
    """
    return jax.default_backend() == "gpu" and find_spec("jax.experimental.pallas.triton") is not None


def applies(problem: Any, recipe: Any, params: Tree) -> bool:
    """Whether `train` trains this: the net, the batch, the optimiser and every rule are ones that the kernel has.

    They are one hidden layer of ReLU units and one output, in float32 and few enough for the registers; a loss of
    `LOSSES`; all rows in one batch; Keras's Adam; the penalties L1, L2 and L1L2 by their gradient; the constraints
    MaxNorm, MinMaxNorm, UnitNorm and NonNeg, on each unit of the hidden kernel or on the whole of a leaf; and no
    schedule.

    Args:
        problem: A `jaxreg.lab.problem.Problem`.
        recipe: A `jaxreg.lab.problem.Recipe`.
        params: The parameters or their shapes.
    """
    return (
        _is_net(problem, params)
        and recipe.optimizer is jr.keras.adam
        and recipe.decays is None
        and recipe.proximals is None
        and _is_number(recipe.learning_rate)
        and all(type(rule) in (jr.L1, jr.L2, jr.L1L2) for _, rule in _ruled(params, recipe.penalties))
        and all(_group(leaf, rule) is not None for leaf, rule in _ruled(params, recipe.constraints))
        and all(map(_is_number, jax.tree.leaves([recipe.penalties, recipe.constraints])))
    )


def train(
    problem: Any, recipe: Any, data: Data, carry: tuple[Tree, Any, jax.Array], last: jax.Array, interpret: bool = False
) -> tuple[Tree, Any, jax.Array]:
    """The steps between two points of the curves, the last of which is that of epoch `last`.

    Args:
        problem: A `jaxreg.lab.problem.Problem` to which this applies.
        recipe: A `jaxreg.lab.problem.Recipe`, likewise.
        data: One draw.
        carry: Parameters, the state of the recipe's chain, and the epoch at which the lane diverged or -1.
        last: The last epoch, of shape ().
        interpret: Whether to run the kernel's operations one by one, on any device.

    Returns:
        The carry after these steps.
    """
    params, state, diverged_at = carry
    adam = next(node for node in _nodes(state) if isinstance(node, AdamState))
    time = (adam.count + 1 + jnp.arange(problem.record_every)).astype(jnp.float32)
    numbers = {
        "penalties": {leaf.path: rule for leaf, rule in _ruled(params, recipe.penalties)},
        "constraints": {leaf.path: _limits(rule) for leaf, rule in _ruled(params, recipe.constraints)},
        "rate": recipe.learning_rate,
    }
    start = [_stacked(tree) for tree in (params, adam.mean, adam.square)]
    kernel = partial(
        _kernel,
        loss=LOSSES[problem.loss],
        groups={leaf.path: _group(leaf, rule) for leaf, rule in _ruled(params, recipe.constraints)},
        units=params["hidden"]["bias"].shape[0],
    )
    end, ended = pl.pallas_call(
        kernel,
        out_shape=jax.eval_shape(lambda: (start, jnp.zeros(1, jnp.int32))),
        interpret=interpret,
        compiler_params=None if interpret else _options(),
        name="fused_training",
    )(
        _batch(data, params),
        jnp.sqrt(1 - B2**time) / (1 - B1**time),
        jax.tree.map(lambda number: jnp.asarray(number, jnp.float32).reshape(1), numbers),
        jnp.stack([diverged_at, last - problem.record_every + 1]),
        start,
    )
    params, mean, square = (_unstacked(stacked, params) for stacked in end)
    after = AdamState(adam.count + problem.record_every, mean, square)
    rest = [after if isinstance(node, AdamState) else node + problem.record_every for node in _nodes(state)]
    structure = jax.tree.structure(state, is_leaf=lambda node: isinstance(node, AdamState))
    return params, jax.tree.unflatten(structure, rest), ended[0]


def _options() -> Any:
    from jax.experimental.pallas import triton

    return triton.CompilerParams(num_warps=WARPS, num_stages=1)


def _kernel(
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
    x, y, weights = batch
    numbers = jax.tree.map(lambda number: number[0], numbers)
    width = start[0]["hidden/bias"].shape[1]
    tile, inputs = _tile(x.shape[0], width), x.shape[1]

    def block(net: Net, number: Any) -> tuple[jax.Array, Net]:
        """The loss of some of the rows, and its gradient."""
        rows = pl.ds(number * tile, tile)
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
        cost, slopes = jax.lax.fori_loop(0, x.shape[0] // tile, add, (zero, jax.grad(penalty)(net)))
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


def _is_net(problem: Any, params: Tree) -> bool:
    found = {leaf.path: leaf.array for leaf in leaves(params)}
    if sorted(found) != PATHS or any(array.dtype != jnp.float32 for array in found.values()):
        return False
    x, y = problem.data.x_train, problem.data.y_train
    if x.ndim != 3 or y.ndim != 2 or x.dtype != jnp.float32 or y.shape[1] > problem.batch_size:
        return False
    inputs, units = x.shape[2], found["hidden/bias"].size
    shapes = {
        "hidden/bias": (units,),
        "hidden/kernel": (inputs, units),
        "output/bias": (1,),
        "output/kernel": (units, 1),
    }
    if {path: array.shape for path, array in found.items()} != shapes or problem.loss not in LOSSES:
        return False
    if _held(inputs, _width(units)) > MOST:
        return False
    return _program(problem.model.apply, params, x) == _program(linen(MLP(units), (inputs,)).apply, params, x)


def _program(apply: Callable[..., jax.Array], params: Tree, x: np.ndarray) -> str:
    # Two functions are the same if they lower to the same program.
    shapes = jax.tree.map(lambda array: _struct(array.shape), params)
    rows = _struct(x.shape[1:])
    return jax.jit(lambda params, x: apply(params, x)).lower(shapes, rows).as_text()


def _struct(shape: tuple[int, ...]) -> Any:
    return jax.ShapeDtypeStruct(shape, jnp.float32)  # type: ignore[no-untyped-call]


def _ruled(params: Tree, rules: Rules | None) -> list[tuple[Leaf, Rule]]:
    return [] if rules is None else [(leaf, rule) for leaf, rule in assign(params, rules) if rule is not None]


def _is_number(value: Any) -> bool:
    return not callable(value) and jnp.ndim(value) == 0


def _limits(rule: Rule) -> Rule:
    return jr.MinMaxNorm(1.0, 1.0) if isinstance(rule, jr.UnitNorm) else rule


def _group(leaf: Leaf, rule: Any) -> _Group | None:
    if type(rule) is jr.NonNeg:
        return _Group(False, 0.0, 0.0)
    if type(rule) not in (jr.MaxNorm, jr.MinMaxNorm, jr.UnitNorm):
        return None
    axes = group_axes(leaf.array.ndim, rule.axis)
    size = group_size(leaf.array.shape, axes)
    by_unit = leaf.path == "hidden/kernel" and axes == (0,)
    if not by_unit and size < leaf.array.size:
        return None
    return _Group(not by_unit, rounding(leaf.array, axes), float(1 / np.sqrt(size)))


def _nodes(state: Any) -> list[Any]:
    return jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, AdamState))


def _width(units: int) -> int:
    return max(16, pl.next_power_of_2(units))


def _tile(rows: int, width: int) -> int:
    return min(pl.next_power_of_2(rows), ROWS, max(1, TILE // width))


def _held(inputs: int, width: int) -> int:
    """Numbers that a thread holds: weights, means and slopes, inputs and errors of a block's rows, hidden values twice.

    Each thread has its units' values of all rows of the block.
    """
    units, rows = -(-width // THREADS), _tile(ROWS, width)
    return 4 * (inputs + 2) * units + rows * (inputs + 3) + 2 * rows * units


def _stacked(tree: Tree) -> dict[str, jax.Array]:
    """Path -> rows over the hidden units, filled up with units of zeros."""
    found = {leaf.path: jnp.atleast_2d(leaf.array) for leaf in leaves(tree)}
    found["output/kernel"] = found["output/kernel"].T
    units = found["hidden/bias"].size
    more = [(0, 0), (0, _width(units) - units)]
    return {path: rows if path == "output/bias" else jnp.pad(rows, more) for path, rows in found.items()}


def _unstacked(stacked: dict[str, jax.Array], tree: Tree) -> Tree:
    found = [stacked[leaf.path][:, : max(leaf.array.shape)].reshape(leaf.array.shape) for leaf in leaves(tree)]
    return jax.tree.unflatten(jax.tree.structure(tree), found)


def _batch(data: Data, params: Tree) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Inputs, targets and what each row counts of the whole loss; filled up with rows that count nothing."""
    x, y = jnp.asarray(data.x_train), jnp.asarray(data.y_train, jnp.float32)
    counts = jnp.ones_like(y) if data.w_train is None else jnp.asarray(data.w_train, jnp.float32)
    more = -len(y) % _tile(len(y), _width(params["hidden"]["bias"].size))
    share = counts / jnp.maximum(jnp.sum(counts), tiny(np.float32))
    return jnp.pad(x, [(0, more), (0, 0)]), jnp.pad(y, (0, more)), jnp.pad(share, (0, more))
