"""The one training loop: a lane is a pure function of (problem, recipe, key).

The problem is what stays the same (model, data, loss, epochs, batch size) and is static; the recipe is what is swept,
and all of its numbers are traced. Nothing here does I/O, and a lane that diverges says so in its result.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxreg as jr
from jaxreg.lab.data import Data
from jaxreg.lab.labelled import Labelled
from jaxreg.lab.metrics import Measure, binary_accuracy, binary_cross_entropy
from jaxreg.lab.models import Model
from jaxreg.objects import Number, hyperparameters, known, static, tiny
from jaxreg.paths import KERNELS, RECURRENT_KERNELS, Rules, Tree, leaves


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """What every lane of a sweep shares.

    Args:
        model: What is trained.
        data: On what, for one or many draws.
        epochs: Passes over the training rows.
        loss: A value a row; its mean over the rows is minimised.
        metrics: Name -> a value a row, reported like the loss as the mean over the rows of each part of the data; or
            one number for all of its rows.
        batch_size: Rows a step; the rows are shuffled anew each epoch unless one batch holds them all.
        record_every: Epochs between two points of the curves; it divides `epochs`.
        shuffle: Whether the rows are shuffled; False takes them in their order, as a series may ask for.

    Raises:
        ValueError: If a number is not positive, `record_every` does not divide `epochs`, or the data holds NaN or
            infinity or arrays whose numbers of rows differ. Data that is traced is not looked into.
    """

    model: Model
    data: Data
    epochs: int
    loss: Measure = binary_cross_entropy
    metrics: Mapping[str, Measure] = dataclasses.field(default_factory=lambda: {"accuracy": binary_accuracy})
    batch_size: int = 32
    record_every: int = 1
    shuffle: bool = True

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "record_every"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"Problem: {name} is {value!r}; expected a whole number of at least 1")
        if self.epochs % self.record_every:
            raise ValueError(
                f"Problem: record_every is {self.record_every} and epochs {self.epochs}; expected a divisor of epochs"
            )
        weights = self.data.weights()
        for part, (x, y) in self.data.parts().items():
            if x.shape[:2] != y.shape[:2] or 0 in y.shape[:2]:
                raise ValueError(
                    f"Problem: x_{part} has shape {x.shape} and y_{part} {y.shape}; expected (draws, rows, …) for both"
                )
            w = weights[part]
            if w is not None and w.shape != y.shape[:2]:
                raise ValueError(f"Problem: w_{part} has shape {w.shape}; expected {y.shape[:2]}, a number a row")
            for name, array in ((f"x_{part}", x), (f"y_{part}", y), (f"w_{part}", w)):
                if array is None or not known(array):
                    continue
                bad = np.argwhere(~np.isfinite(array))
                if len(bad):
                    raise ValueError(
                        f"Problem: {name} holds {array[tuple(bad[0])]} at {tuple(map(int, bad[0]))}, one of "
                        f"{len(bad)} such values; expected finite numbers: drop or impute those rows"
                    )

    @property
    def recorded(self) -> np.ndarray:
        """The epochs at which the curves have a point, 0 being the initial weights."""
        return np.arange(0, self.epochs + 1, self.record_every)


@hyperparameters
class Recipe:
    """How a lane is trained: a pytree, so that an array in the place of a number makes a sweep.

    Args:
        penalties: Rules for `jaxreg.penalize`, or None: penalties by their gradient, ahead of the optimiser.
        constraints: Rules for `jaxreg.project`, or None.
        learning_rate: A float, an array or an Optax schedule.
        optimizer: learning rate -> Optax transformation; Keras's Adam by default. Static.
        decays: Rules for `jaxreg.decay`, or None: decoupled decay, in AdamW's place whatever the optimiser.
        proximals: Rules for `jaxreg.proximal`, or None: penalties by their proximal step, behind the optimiser.

    Example:
        >>> import jaxreg as jr
        >>> from jaxreg.lab import Recipe
        >>> recipe = Recipe(
        ...     penalties={jr.RECURRENT_KERNELS: jr.L2(1e-4)},
        ...     constraints={"lstm/kernel": jr.MaxNorm(3.0), jr.BIASES: jr.MaxNorm(2.0)},
        ...     decays={"output/kernel": jr.L2(5e-3)},
        ... )
    """

    penalties: Rules | None = None
    constraints: Rules | None = None
    learning_rate: Number = 1e-3
    optimizer: Callable[[Number], optax.GradientTransformation] = static(default=jr.keras.adam)
    decays: Rules | None = None
    proximals: Rules | None = None

    def transformation(self) -> optax.GradientTransformation:
        """The Optax chain: penalties, optimiser with the decay beside it, proximal steps, constraints."""
        optimizer = self.optimizer(self.learning_rate)
        if self.decays is not None:
            optimizer = _with_decay(optimizer, self.decays, self.learning_rate)
        links = [optimizer]
        if self.penalties is not None:
            links.insert(0, jr.penalize(self.penalties))
        if self.proximals is not None:
            links.append(jr.proximal(self.proximals, self.learning_rate))
        if self.constraints is not None:
            links.append(jr.project(self.constraints))
        return optax.chain(*links)

    def penalty(self, params: Tree, step: jax.Array | int | None = None) -> jax.Array:
        """What is minimised beside the loss: the penalties and those taken by their proximal step, a scalar.

        Args:
            params: Tree of weight arrays.
            step: The step at which scheduled strengths are read.
        """
        rules = [rules for rules in (self.penalties, self.proximals) if rules is not None]
        return sum((jr.penalty(params, each, step) for each in rules), jnp.zeros(()))


def _with_decay(optimizer: optax.GradientTransformation, rules: Rules, rate: Number) -> optax.GradientTransformation:
    # An optimiser hands on finished steps, learning rate and sign included: decay makes a step of its own beside it.
    decay = optax.chain(jr.decay(rules), optax.scale_by_learning_rate(rate))

    def init(params: Tree) -> Any:
        return optimizer.init(params), decay.init(params)

    def update(updates: Tree, states: Any, params: Tree | None = None) -> tuple[Tree, Any]:
        none = jax.tree.map(jnp.zeros_like, updates)
        steps, state = optimizer.update(updates, states[0], params)
        pulls, decay_state = decay.update(none, states[1], params)
        return jax.tree.map(jnp.add, steps, pulls), (state, decay_state)

    return optax.GradientTransformation(init, update)


def fit(
    problem: Problem, recipe: Recipe, key: jax.Array, draw: jax.Array | int = 0, keep: bool = False
) -> dict[str, Any]:
    """Train one lane.

    Args:
        problem: What all lanes share; static.
        recipe: What is swept; traced.
        key: The randomness of the initialisation and of the shuffling.
        draw: Which draw of the data.
        keep: Whether to hand back the final parameters too.

    Returns:
        Curves along `epoch` (`problem.recorded`): `train_loss`, `test_loss` (and `validation_loss`, if there are rows
        for it) and each metric likewise, all without the penalty; `penalty`; `violation`; `norm/<path>`, the
        Frobenius norm of each kernel. And `diverged_at`: the epoch whose loss was the first to be NaN or infinite, or
        -1. With `keep`, `params/<path>` for each leaf.

    Example:
        >>> import jax, jaxreg as jr
        >>> from jaxreg.lab import MLP, Problem, Recipe, fit, linen, tutorial_moons
        >>> problem = Problem(linen(MLP(hidden=16), (2,)), tutorial_moons(), epochs=10, record_every=5)
        >>> curves = fit(problem, Recipe(constraints={jr.KERNELS: jr.UnitNorm()}), jax.random.key(0))
        >>> curves["test_loss"].values.shape, float(curves["violation"].values[-1])
        ((3,), 0.0)
    """
    data = jax.tree.map(lambda array: jnp.asarray(array)[draw], problem.data)
    init_key, order_key = jax.random.split(key)
    params = problem.model.init(init_key)
    transformation = recipe.transformation()
    steps_an_epoch = -(-data.y_train.shape[0] // problem.batch_size)

    def mean_loss(params: Tree, x: jax.Array, y: jax.Array, weights: jax.Array | None) -> jax.Array:
        losses = problem.loss(problem.model.apply(params, x), y)
        if losses.shape != y.shape[:1]:  # padded rows have to be left out one by one
            raise ValueError(
                f"the loss of {y.shape[0]} rows has shape {losses.shape}; expected a value a row, ({y.shape[0]},)"
            )
        if weights is None:
            return jnp.mean(losses)
        # A batch may hold rows of weight 0 only: it moves nothing.
        return jnp.sum(losses * weights) / jnp.maximum(jnp.sum(weights), tiny(losses.dtype))

    def step(carry: Any, batch: tuple[jax.Array, jax.Array, jax.Array | None]) -> tuple[Any, jax.Array]:
        params, state = carry
        loss, gradients = jax.value_and_grad(mean_loss)(params, *batch)
        updates, state = transformation.update(gradients, state, params)
        return (optax.apply_updates(params, updates), state), loss

    def epoch(number: jax.Array, carry: Any) -> Any:
        params, state, diverged_at = carry
        batches = _batches(data, problem, jax.random.fold_in(order_key, number))
        if batches is None:
            (params, state), losses = step((params, state), (data.x_train, data.y_train, data.w_train))
        else:
            (params, state), losses = jax.lax.scan(step, (params, state), batches)
        bad = ~jnp.all(jnp.isfinite(losses)) & (diverged_at < 0)
        return params, state, jnp.where(bad, number, diverged_at)

    def measure(params: Tree, step: jax.Array) -> dict[str, jax.Array]:
        point = {"penalty": recipe.penalty(params, step), "violation": jnp.zeros(())}
        if recipe.constraints is not None:
            point["violation"] = jr.violation(params, recipe.constraints, step)
        weights = data.weights()
        for part, (x, y) in data.parts().items():
            outputs = _in_blocks(lambda rows: problem.model.apply(params, rows), x)
            for name, function in {"loss": problem.loss, **problem.metrics}.items():
                point[f"{part}_{name}"] = _mean(name, function(outputs, y), weights[part])
        for leaf in leaves(params):
            if leaf.kind in (KERNELS, RECURRENT_KERNELS):
                point[f"norm/{leaf.path}"] = jnp.linalg.norm(leaf.array)
        return point

    def train(carry: Any, last: jax.Array) -> Any:
        first = last - problem.record_every + 1
        return jax.lax.fori_loop(0, problem.record_every, lambda i, carry: epoch(first + i, carry), carry)

    def record(carry: Any, last: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
        # The first point is that of the initial weights: no training, so that the program holds `measure` once.
        carry = jax.lax.cond(last > 0, train, lambda carry, _: carry, carry, last)
        return carry, measure(carry[0], last * steps_an_epoch)

    start = (params, transformation.init(params), jnp.full((), -1, jnp.int32))
    (params, _, diverged_at), curves = jax.lax.scan(record, start, jnp.asarray(problem.recorded, jnp.int32))
    result: dict[str, Any] = {name: Labelled(values, ("epoch",)) for name, values in curves.items()}
    result["diverged_at"] = diverged_at
    if keep:
        result |= {f"params/{leaf.path}": leaf.array for leaf in leaves(params)}
    return result


def _mean(name: str, values: jax.Array, weights: jax.Array | np.ndarray | None) -> jax.Array:
    if weights is None:
        return jnp.mean(values)
    if values.shape != weights.shape:
        raise ValueError(f"{name} gives one number for all rows, and the rows have weights; expected a value a row")
    return jnp.sum(values * weights) / jnp.sum(weights)


def _in_blocks(apply: Callable[[jax.Array], jax.Array], x: jax.Array, most: int = 256) -> jax.Array:
    # The activations of thousands of rows leave the cache: blocks of 256 took a quarter of the time on a CPU.
    count = -(-len(x) // most)
    if count == 1:
        return apply(x)
    size = -(-len(x) // count)
    filled = jnp.pad(x, [(0, count * size - len(x)), *[(0, 0)] * (x.ndim - 1)])
    outputs = jax.lax.map(apply, filled.reshape(count, size, *x.shape[1:]))
    return outputs.reshape(count * size, *outputs.shape[2:])[: len(x)]


def _batches(data: Data, problem: Problem, key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array] | None:
    # The last batch is filled up with rows of weight 0. None: one batch holds all rows, in their order.
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
