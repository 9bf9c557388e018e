"""Many steps of a small net in one kernel of a GPU: a program a lane, which keeps its weights and Adam's means at hand.

XLA runs a training step as several kernels, between which weights, means and activations travel through the device's
memory. The tutorials' net is so small that all of it fits the registers of one multiprocessor: here it is read once for
all the steps between two points of the curves. It is the training of `jaxreg.lab.fit` with sums in another order. The
kernel is in `jaxreg.lab.fused_kernel`; here is where it applies, and how a lane gets in and out.
"""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl

import jaxreg as jr
from jaxreg._groups import group_axes, group_size, rounding
from jaxreg._precision import tiny
from jaxreg.keras import AdamState
from jaxreg.lab.data import Data
from jaxreg.lab.models import MLP, linen
from jaxreg.lab.training.gpu_kernel import B1, B2, LOSSES, ROWS, Group, kernel, tile
from jaxreg.lab.training.problem import Problem
from jaxreg.lab.training.recipe import Recipe
from jaxreg.rules._matching import Leaf, Rule, Rules, Tree, assign, leaves

PATHS = ["hidden/bias", "hidden/kernel", "output/bias", "output/kernel"]

WARPS = 4
THREADS = 32 * WARPS

MOST = 192
"""Numbers a thread may hold, of its 255 registers: with 192 of them, by `_held`, ptxas spills none, with 200 some."""


def available() -> bool:
    """Whether a GPU can run the kernel: JAX has Pallas's Triton, which its version 0.11 calls deprecated, and sees one.

    Without it the plain loop does everything.
    """
    return jax.default_backend() == "gpu" and find_spec("jax.experimental.pallas.triton") is not None


def applies(problem: Problem, recipe: Recipe, params: Tree) -> bool:
    """Whether `train` trains this: the net, the batch, the optimiser and every rule are ones that the kernel has.

    They are one hidden layer of ReLU units and one output, in float32 and few enough for the registers; a loss of
    `LOSSES`; all rows in one batch; Keras's Adam; the penalties L1, L2 and L1L2 by their gradient; the constraints
    MaxNorm, MinMaxNorm, UnitNorm and NonNeg, on each unit of the hidden kernel or on the whole of a leaf; and no
    schedule.

    Args:
        problem: What all lanes share.
        recipe: How a lane is trained.
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
    problem: Problem,
    recipe: Recipe,
    data: Data,
    carry: tuple[Tree, Any, jax.Array],
    last: jax.Array,
    interpret: bool = False,
) -> tuple[Tree, Any, jax.Array]:
    """The steps between two points of the curves, the last of which is that of epoch `last`.

    Args:
        problem: What all lanes share; one to which this applies.
        recipe: How a lane is trained, likewise.
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
    call = partial(
        kernel,
        loss=LOSSES[problem.loss],
        groups={leaf.path: _group(leaf, rule) for leaf, rule in _ruled(params, recipe.constraints)},
        units=params["hidden"]["bias"].shape[0],
    )
    end, ended = pl.pallas_call(
        call,
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


def _is_net(problem: Problem, params: Tree) -> bool:
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


def _group(leaf: Leaf, rule: Any) -> Group | None:
    if type(rule) is jr.NonNeg:
        return Group(False, 0.0, 0.0)
    if type(rule) not in (jr.MaxNorm, jr.MinMaxNorm, jr.UnitNorm):
        return None
    axes = group_axes(leaf.array.ndim, rule.axis)
    size = group_size(leaf.array.shape, axes)
    by_unit = leaf.path == "hidden/kernel" and axes == (0,)
    if not by_unit and size < leaf.array.size:
        return None
    return Group(not by_unit, rounding(leaf.array, axes), float(1 / np.sqrt(size)))


def _nodes(state: Any) -> list[Any]:
    return jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, AdamState))


def _width(units: int) -> int:
    return max(16, pl.next_power_of_2(units))


def _held(inputs: int, width: int) -> int:
    """Numbers that a thread holds: weights, means and slopes, inputs and errors of a block's rows, hidden values twice.

    Each thread has its units' values of all rows of the block.
    """
    units, rows = -(-width // THREADS), tile(ROWS, width)
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
    more = -len(y) % tile(len(y), _width(params["hidden"]["bias"].size))
    share = counts / jnp.maximum(jnp.sum(counts), tiny(np.float32))
    return jnp.pad(x, [(0, more), (0, 0)]), jnp.pad(y, (0, more)), jnp.pad(share, (0, more))
