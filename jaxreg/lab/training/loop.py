"""The training loop: each run is a pure function of (problem, recipe, key).

The problem is static: model, data, loss, number of epochs and batch size. A sweep varies the recipe, and all numbers of
the recipe are traced. The loop reads and writes no files. A run that diverges raises no error. Its result includes the
epoch at which it diverged.
"""

from collections.abc import Callable
from contextlib import nullcontext
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxreg._precision import tiny
from jaxreg._protocols import Tree
from jaxreg.lab.data import Data
from jaxreg.lab.labelled import Labelled
from jaxreg.lab.sweeps.axis_values import values_of
from jaxreg.lab.sweeps.lanes import TOGETHER
from jaxreg.lab.training.problem import Problem
from jaxreg.lab.training.recipe import Recipe
from jaxreg.rules._evaluate import largest_distance, whole_way
from jaxreg.rules._frameworks import KERNELS, RECURRENT_KERNELS
from jaxreg.rules._matching import leaves


def fit(
    problem: Problem, recipe: Recipe, key: jax.Array, draw: jax.Array | int = 0, keep: bool = False
) -> dict[str, Any]:
    """Train a model on one draw of the data, with the regularisers and optimiser of one recipe.

    Args:
        problem: Static part of the training, which all runs share.
        recipe: Traced part of the training, which a sweep varies.
        key: Random key for the initialisation and the shuffling.
        draw: Index of the draw of the data.
        keep: True to return the final parameters too.

    Raises:
        ValueError: If `problem` or `recipe` has the wrong type, or the data has no draw with the index `draw`. A sweep
            knows all values of its axes. So if `draw` is an axis of a sweep, all its values are checked before the
            training. A traced `draw` that is not an axis is not checked.

    Returns:
        A dict with learning curves and other results. Each curve is a `Labelled`: its field `values` is a JAX array,
        whose only dimension is named `epoch`. A curve has one value for the initial weights (epoch 0), and one value
        after every `problem.record_every` epochs. The curves are:

        - `train_loss` and `test_loss`: the mean loss, without the penalty. `validation_loss`, if there are validation
          rows.
        - `train_<name>`, `test_<name>` and `validation_<name>` for each metric, such as `test_accuracy`.
        - `penalty`: the penalty of the weights.
        - `violation`: the largest distance of a group of weights from its constraint set. For rules of `jaxreg.keras`,
          it is the distance by which the rule itself moves the weights. These rules add a small ε to each norm, so the
          distance may be about 1e-7 for weights inside the set. `jaxreg.violation` measures without ε.
        - `norm/<path>`: the Frobenius norm of each kernel.

        The other results are JAX arrays:

        - `diverged_at`: the first epoch, counted from 1, with an optimiser step whose loss is NaN or infinite; -1 if
          there is none. The loss of a step is that of the weights before the step, so it does not show whether this
          step diverged. Therefore the training loss after the last step is checked too. If only this loss is not
          finite, `diverged_at` is the number of epochs.
        - `params/<path>`, with `keep`: each weight array after the last epoch.

    Example:
        The three points are those of the epochs 0, 5 and 10:

        >>> import jax, jaxreg as jr
        >>> from jaxreg.lab import MLP, Problem, Recipe, linen, tutorial_moons
        >>> from jaxreg.lab import fit
        >>> problem = Problem(linen(MLP(hidden=16), (2,)), tutorial_moons(), epochs=10, record_every=5)
        >>> curves = fit(problem, Recipe(constraints={jr.KERNELS: jr.UnitNorm()}), jax.random.key(0))
        >>> curves["test_loss"].values.shape, float(curves["violation"].values[-1])
        ((3,), 0.0)
    """
    if not isinstance(problem, Problem) or not isinstance(recipe, Recipe):
        got = f"a {type(problem).__name__} and a {type(recipe).__name__}"
        raise ValueError(f"`fit`: the first two arguments are {got}; expected a Problem and a Recipe")
    data = _of_draw(problem, draw)
    steps_an_epoch = -(-data.y_train.shape[0] // problem.batch_size)

    def measure(params: Tree, step: jax.Array) -> dict[str, jax.Array]:
        point = {"penalty": recipe.penalty(params, step), "violation": jnp.zeros(())}
        if recipe.constraints is not None:
            # By the rule's own formula, Keras's ε included, so that stored records go on unchanged.
            point["violation"] = largest_distance(params, recipe.constraints, step, "violation", whole_way)
        weights, measures = data.weights(), {"loss": problem.loss, **problem.metrics}
        for parts, (x, y) in data.rows().items():
            outputs = _in_blocks(lambda rows: problem.model.apply(params, rows), x)
            values = {name: measure(outputs, y) for name, measure in measures.items()}
            for part, name in product(parts, values):
                point[f"{part}_{name}"] = _mean(name, values[name], len(y), weights[part])
        for leaf in leaves(params):
            if leaf.kind in (KERNELS, RECURRENT_KERNELS):
                point[f"norm/{leaf.path}"] = jnp.linalg.norm(leaf.array)
        return point

    def train(state: State, last: jax.Array) -> State:
        return _train(problem, recipe, key, state, last - problem.record_every, problem.record_every, data, draw)

    def record(state: State, last: jax.Array) -> tuple[State, dict[str, jax.Array]]:
        # The first point, of the initial weights, comes from the same loop, so that `measure` is compiled only once.
        state = jax.lax.cond(last > 0, train, lambda state, _: state, state, last)
        return state, measure(state.params, last * steps_an_epoch)

    last, curves = jax.lax.scan(record, begin(problem, recipe, key), jnp.asarray(problem.recorded, jnp.int32))
    result: dict[str, Any] = {name: Labelled(values, ("epoch",)) for name, values in curves.items()}
    # The last optimiser step may be the one that diverges, and no later epoch would notice it.
    lost = (last.diverged_at < 0) & ~jnp.isfinite(curves["train_loss"][-1])
    result["diverged_at"] = jnp.where(lost, problem.epochs, last.diverged_at)
    if keep:
        result |= {f"params/{leaf.path}": leaf.array for leaf in leaves(last.params)}
    return result


class State(NamedTuple):
    """State of a run between two epochs.

    Args:
        params: Tree of weight arrays.
        chain: State of the recipe's Optax chain.
        diverged_at: First epoch with a loss that is NaN or infinite; -1 if there is none.
    """

    params: Tree
    chain: Any
    diverged_at: jax.Array


def begin(problem: Problem, recipe: Recipe, key: jax.Array) -> State:
    """Return the state of a run before its first epoch: initial weights, and the initial state of the optimiser.

    Args:
        problem: Problem whose model is trained.
        recipe: Recipe whose optimiser and rules are used.
        key: Random key for the initialisation and the shuffling. Pass the same key to `advance`.
    """
    params = problem.model.init(jax.random.split(key)[0])
    return State(params, recipe.transformation().init(params), jnp.full((), -1, jnp.int32))


def advance(
    problem: Problem,
    recipe: Recipe,
    key: jax.Array,
    state: State,
    trained: jax.Array | int,
    epochs: int,
    draw: jax.Array | int = 0,
) -> State:
    """Continue the training of a run for `epochs` more epochs.

    Several calls of `advance` in sequence train like one call of `fit`. Between two calls, you can change strengths. To
    stop a run early, do not call `advance` again.

    Args:
        problem: Problem that was passed to `begin`. Its number of epochs is ignored. A learning-rate schedule of the
            recipe continues from call to call, because the state counts the optimiser steps.
        recipe: Recipe with the same optimiser and the same rules as the recipe that was passed to `begin`. Its
            strengths, its limits and its learning rate may be different.
        key: Key that was passed to `begin`.
        state: State after `trained` epochs.
        trained: Number of epochs so far.
        epochs: Number of epochs to add.
        draw: Index of the draw of the data.

    Returns:
        The state after `trained` + `epochs` epochs.

    Example:
        >>> import jax
        >>> from jaxreg.lab import MLP, Problem, Recipe, linen, tutorial_moons
        >>> from jaxreg.lab import fit
        >>> problem, key = Problem(linen(MLP(hidden=16), (2,)), tutorial_moons(), epochs=10), jax.random.key(0)
        >>> half = advance(problem, Recipe(), key, begin(problem, Recipe(), key), 0, 5)
        >>> whole = advance(problem, Recipe(), key, half, 5, 5)
        >>> at_once = fit(problem, Recipe(), key, keep=True)["params/hidden/kernel"]
        >>> bool(jax.numpy.allclose(whole.params["hidden"]["kernel"], at_once, atol=1e-6))
        True
    """
    return _train(problem, recipe, key, state, trained, epochs, _of_draw(problem, draw), draw)


def _of_draw(problem: Problem, draw: jax.Array | int) -> Any:  # a Data of arrays of JAX
    draws = len(problem.data.x_train)
    for index in values_of(draw):
        if not 0 <= index < draws:  # JAX would silently use the last draw
            raise ValueError(
                f"`draw` is {index}; expected an index from 0 to {draws - 1}, which selects one draw of the data"
            )
    return Data._make(None if array is None else jnp.asarray(array)[draw] for array in problem.data)


def _train(
    problem: Problem,
    recipe: Recipe,
    key: jax.Array,
    state: State,
    trained: jax.Array | int,
    epochs: int,
    data: Any,
    draw: jax.Array | int,
) -> State:
    transformation, order_key = recipe.transformation(), jax.random.split(key)[1]
    if problem.model.train is not None:
        noise_key = jax.random.fold_in(order_key, 0)  # epochs are counted from 1
    if data.w_train is not None:
        mean_weight = jnp.sum(data.w_train) / jnp.maximum(jnp.sum(data.w_train > 0), 1)

    def mean_loss(params: Tree, x: jax.Array, y: jax.Array, weights: jax.Array | None, noise: Any) -> jax.Array:
        model = problem.model
        outputs = model.apply(params, x) if model.train is None else model.train(params, x, noise)
        losses = problem.loss(outputs, y)
        if losses.shape != y.shape[:1]:  # padded rows must be excluded one by one
            raise ValueError(
                f"the loss returns an array of shape {losses.shape} for {y.shape[0]} rows; expected one value per row, "
                f"of shape ({y.shape[0]},)"
            )
        if weights is None:
            return jnp.mean(losses)
        # A batch counts by its number of real rows, not by their weights. Otherwise all batches would count equally,
        # however heavy their rows, and the mean would not be that of all rows. A batch may only hold rows of weight 0;
        # its loss is 0.
        loss = jnp.sum(losses * weights)
        total = jnp.sum(weights) if data.w_train is None else mean_weight * jnp.sum(weights > 0)
        return loss / jnp.maximum(total, tiny(losses.dtype))

    def step(carry: Any, batch: tuple[jax.Array | None, ...]) -> tuple[Any, jax.Array]:
        params, chain = carry
        loss, gradients = jax.value_and_grad(mean_loss)(params, *batch)
        updates, chain = transformation.update(gradients, chain, params)
        return (optax.apply_updates(params, updates), chain), loss

    def epoch(done: int, state: State) -> State:
        number = trained + 1 + done
        carry = state.params, state.chain
        batches = _batches(data, problem, jax.random.fold_in(order_key, number))
        noise = None if problem.model.train is None else _step_keys(jax.random.fold_in(noise_key, number), batches)
        if batches is None:
            carry, losses = step(carry, (data.x_train, data.y_train, data.w_train, None if noise is None else noise[0]))
        else:
            carry, losses = jax.lax.scan(step, carry, (*batches, noise))
        bad = ~jnp.all(jnp.isfinite(losses)) & (state.diverged_at < 0)
        return State(*carry, jnp.where(bad, number, state.diverged_at))

    # A batch of runs is fast if each run has its own data. With data that they share, XLA transposes what they compute.
    with jax.named_scope(TOGETHER) if isinstance(draw, jax.core.Tracer) else nullcontext():
        return jax.lax.fori_loop(0, epochs, epoch, state)


def _step_keys(key: jax.Array, batches: tuple[jax.Array, ...] | None) -> jax.Array:
    count = 1 if batches is None else len(batches[0])
    return jax.vmap(lambda step: jax.random.fold_in(key, step))(jnp.arange(count))


def _mean(name: str, values: jax.Array, rows: int, weights: jax.Array | np.ndarray | None) -> jax.Array:
    if values.shape not in ((), (rows,)):
        raise ValueError(
            f"`{name}` returns an array of shape {values.shape} for {rows} rows; expected shape ({rows},), or a scalar"
        )
    if weights is None:
        return jnp.mean(values)
    if values.shape != weights.shape:
        raise ValueError(f"`{name}` returns a scalar, but the rows have weights; expected one value per row")
    return jnp.sum(values * weights) / jnp.sum(weights)


def _in_blocks(apply: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    # The activations of thousands of rows do not fit the cache: blocks of 256 rows took a quarter of the time on a CPU.
    count = -(-len(x) // 256)
    if count == 1:
        return apply(x)
    size = -(-len(x) // count)
    filled = jnp.pad(x, [(0, count * size - len(x)), *[(0, 0)] * (x.ndim - 1)])
    outputs = jax.lax.map(apply, filled.reshape(count, size, *x.shape[1:]))
    return outputs.reshape(count * size, *outputs.shape[2:])[: len(x)]


def _batches(data: Data, problem: Problem, key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array] | None:
    # The last batch is padded with rows of weight 0. Returns None if one batch holds all rows, in their order.
    rows, size = data.y_train.shape[0], problem.batch_size
    if rows <= size:
        return None
    count = -(-rows // size)
    order = jax.random.permutation(key, rows) if problem.shuffle else jnp.arange(rows)
    order = jnp.pad(order, (0, count * size - rows))
    weights = (jnp.arange(count * size) < rows).astype(jnp.float32)
    if data.w_train is not None:
        weights *= data.w_train[order]
    x, y = data.x_train[order], data.y_train[order]
    return x.reshape(count, size, *x.shape[1:]), y.reshape(count, size, *y.shape[1:]), weights.reshape(count, size)
