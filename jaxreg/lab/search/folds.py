"""Rows of one table as folds, and every training on all but one or two of them as a lane.

Two folds i and j are left out of a training that serves the inner validation of both: it is validated on j where i is
the outer fold, and on i where j is. With one fold left out it is the outer training, with none the final one. So
nested cross-validation of k folds takes k (k + 1) / 2 trainings a candidate in place of k². Which rows are left
out is a matter of weights: all lanes share the inputs, and one program trains them all.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg.lab.data import Data
from jaxreg.lab.models import MLP, Model, linen
from jaxreg.lab.search.candidates import HIDDEN, Candidate, Knobs
from jaxreg.lab.sweeps.chunk_size import CACHE, cores
from jaxreg.lab.sweeps.compilation import compile_with
from jaxreg.lab.sweeps.engine import sweep
from jaxreg.lab.sweeps.store import find_manifest
from jaxreg.lab.tabular.encoding import Task
from jaxreg.lab.training.loop import fit
from jaxreg.lab.training.metrics import (
    Measure,
    binary_accuracy,
    categorical_accuracy,
    categorical_cross_entropy,
    squared_error,
)
from jaxreg.lab.training.problem import Problem

BATCH = 128
"""Rows a step, where there are as many: nets are better than with whole tables as batches, by a quarter of the loss
where the target is rough, and take 1.2 to 1.7 times as long (`scripts/search/search_training.py`)."""

_BRIEFLY = {"xla_backend_optimization_level": 1}
"""On a CPU this program compiles in three quarters of the time and runs as fast."""

WEIGHTS = (HIDDEN, "hidden/bias", "output/kernel", "output/bias")


@dataclasses.dataclass(frozen=True)
class Setting:
    """What all trainings of a search share, and what its program is compiled for.

    Args:
        task: What is learnt.
        outputs: Outputs of the net: 1 for a number or two classes.
        hidden: Hidden units.
        epochs: Passes over the rows.
        learning_rate: Of Adam, before it falls (`jaxreg.lab.candidates.Rate`).
        points: Points of a curve after that of the initial weights; it divides `epochs`.
    """

    task: Task
    outputs: int
    hidden: int
    epochs: int
    learning_rate: float
    points: int = 1

    def batch(self, rows: int) -> int:
        """Rows a step."""
        return min(rows, BATCH)

    def steps(self, rows: int) -> int:
        """Steps an epoch."""
        return -(-rows // self.batch(rows))

    def measures(self) -> tuple[Measure, dict[str, Measure]]:
        """The loss, and what else is measured."""
        if self.task == "regression":
            return squared_error, {}
        if self.outputs == 1:
            return _cross_entropy, {"accuracy": binary_accuracy}
        return categorical_cross_entropy, {"accuracy": categorical_accuracy}


def _cross_entropy(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    # `binary_cross_entropy` where a target is 0 or 1 and nothing between: half as many exponentials, a tenth of a step.
    # The last term is NaN for an infinite logit, of which softplus would make a perfect one.
    return jax.nn.softplus((1 - 2 * targets) * outputs[:, 0]) + 0 * outputs[:, 0]


class Table(NamedTuple):
    """Rows, filled up to a size that tables of about as many rows share.

    Args:
        x: Inputs, of shape (rows, inputs), standardised over all rows; 0 where there is none.
        y: Targets, of shape (rows,).
        w: What each row counts; 0 for one that only fills up.
        scaled: 1 for each input that is brought to variance 1, 0 for one that is centred only, of shape (inputs,).
        inputs: How many inputs there are in truth.
        folds: The fold of each row, for each repeat, of shape (repeats, rows).
        seed: Of the initial weights and the order of the rows.
    """

    x: Any
    y: Any
    w: Any
    scaled: Any
    inputs: Any
    folds: Any
    seed: Any


class Split(NamedTuple):
    """Which folds are left out: two different ones, one twice, or -1 for none."""

    repeat: Any
    test: Any
    validation: Any


def splits(repeats: int, folds: int) -> list[Split]:
    """Every split of nested cross-validation; the last leaves nothing out.

    Args:
        repeats: How often the rows are dealt to folds anew.
        folds: How many.

    Example:
        >>> [tuple(split)[1:] for split in splits(repeats=1, folds=3)]
        [(0, 1), (0, 2), (1, 2), (0, 0), (1, 1), (2, 2), (-1, -1)]
    """
    found = []
    for repeat in range(repeats):
        found += [Split(repeat, *pair) for pair in itertools.combinations(range(folds), 2)]
        found += [Split(repeat, fold, fold) for fold in range(folds)]
    return [*found, Split(0, -1, -1)]


def deal(y: np.ndarray, folds: int, rng: np.random.Generator, *, classes: bool) -> np.ndarray:
    """The fold of each row: as many rows in each as can be, and of each class too.

    Args:
        y: Targets, of shape (rows,).
        folds: How many folds.
        rng: Chance.
        classes: Whether the targets are classes.

    Example:
        >>> deal(np.array([0, 0, 0, 1, 1, 1]), 3, np.random.default_rng(0), classes=True).tolist()
        [1, 2, 0, 0, 2, 1]
    """
    order = rng.permutation(len(y))
    if classes:
        order = order[np.argsort(y[order], kind="stable")]
    dealt = np.empty(len(y), np.int32)
    dealt[order] = np.resize(rng.permutation(folds), len(y))
    return dealt


def lane(setting: Setting, table: Table, knobs: Knobs, split: Split) -> dict[str, Any]:
    """One training.

    Args:
        setting: What is static.
        table: The rows.
        knobs: How it is regularised.
        split: What is left out.

    Returns:
        What `fit` gives: curves on the training rows, on the fold `test` and on the fold `validation` (on all rows
        where nothing is left out), and the weights.
    """
    dealt = jnp.asarray(table.folds)[split.repeat]
    w = jnp.asarray(table.w)
    nothing = split.test < 0
    weights = {
        "train": w * (dealt != split.test) * (dealt != split.validation),
        "test": jnp.where(nothing, w, w * (dealt == split.test)),
        "validation": jnp.where(nothing, w, w * (dealt == split.validation)),
    }
    rows: list[Any] = [jnp.asarray(table.x)[None], jnp.asarray(table.y)[None]] * 3
    data = Data(*rows, *(weights[part][None] for part in ("train", "test", "validation")))
    loss, metrics = setting.measures()
    problem = Problem(
        _model(setting, table, weights["train"], split.repeat),
        data,
        setting.epochs,
        loss,
        metrics,
        setting.batch(table.x.shape[0]),
        setting.epochs // setting.points,
    )
    steps = setting.epochs * setting.steps(table.x.shape[0])
    found = fit(problem, knobs.recipe(setting.learning_rate, steps), jax.random.key(table.seed), keep=True)
    return {name: value for name, value in found.items() if not name.startswith(("norm/", "penalty", "violation"))}


def _model(setting: Setting, table: Table, w: jax.Array, repeat: Any) -> Model:
    """The net on inputs that are standardised by the rows of one training, whose figures go into the first layer."""
    size, rows = table.x.shape[1], w / jnp.sum(w)
    net = linen(MLP(setting.hidden, setting.outputs), (size,))
    x = jnp.asarray(table.x)
    mean = rows @ x
    variance = rows @ jnp.square(x) - jnp.square(mean)
    scale = jnp.sqrt(jnp.where((jnp.asarray(table.scaled) > 0) & (variance > 1e-6), variance, 1))
    there = (jnp.arange(size) < table.inputs)[:, None]

    def init(key: jax.Array) -> Any:
        # Glorot's limit is that of the inputs that are there; every repeat has initial weights of its own.
        params = net.init(jax.random.fold_in(key, repeat))
        limit = jnp.sqrt((size + setting.hidden) / (table.inputs + setting.hidden))
        params["hidden"]["kernel"] = jnp.where(there, params["hidden"]["kernel"] * limit, 0)
        return params

    def apply(params: Any, inputs: jax.Array) -> jax.Array:
        # Units first, and the bias as the weight of one input more: on a CPU, XLA then neither moves the activations
        # about nor sums them for the bias, which took 40 % of a step.
        kernel, output = params["hidden"]["kernel"] / scale[:, None], params["output"]
        kernel = jnp.concatenate([kernel, (params["hidden"]["bias"] - mean @ kernel)[None]])
        ones = jnp.ones((len(inputs), 1), inputs.dtype)
        hidden = jax.nn.relu(kernel.T @ jnp.concatenate([inputs, ones], axis=1).T)
        return (output["kernel"].T @ hidden + output["bias"][:, None]).T

    if setting.task == "classification":
        return Model(init, apply)
    y = jnp.asarray(table.y)
    middle = rows @ y
    spread = jnp.sqrt(jnp.maximum(rows @ jnp.square(y - middle), 1e-6))
    return Model(init, lambda params, inputs: middle + spread * apply(params, inputs))


def train(
    setting: Setting, table: Table, tried: Sequence[Candidate], parts: Sequence[Split], store: Path | None = None
) -> dict[str, np.ndarray]:
    """Train every candidate on every split.

    A store makes it a `sweep`, which goes on from what is stored. Without one the lanes run from a program that is
    kept for the next table of that size, as an estimator in a cross-validation is fitted again and again.

    Args:
        setting: What is static.
        table: The rows.
        tried: The candidates.
        parts: The splits.
        store: Folder of the sweep, or None.

    Returns:
        Name -> array of shape (candidates, splits, …), as `lane` names them.
    """
    knobs = jax.tree.map(lambda *values: np.asarray(values, np.float32), *(each.knobs for each in tried))
    knobs = dataclasses.replace(knobs, stop=np.asarray([each.knobs.stop for each in tried], np.int32))
    chosen = Split(*(np.asarray(part, np.int32) for part in zip(*parts, strict=True)))
    width = _width(setting, table.x.shape[0], -(-len(tried) * len(parts) // cores()))
    if store is None:
        return _trained(setting, table, knobs, chosen, width)
    new = jax.default_backend() == "cpu" and find_manifest(store) is None
    found = sweep(
        lambda candidate, split: lane(setting, table, candidate, split),
        {"candidate": knobs, "split": chosen},
        store,
        coords={"candidate": [each.label for each in tried]},
        chunk=width if new else None,
    ).load()
    return {str(name): values.values for name, values in found.data_vars.items()}


def _trained(setting: Setting, table: Table, knobs: Knobs, parts: Split, width: int) -> dict[str, np.ndarray]:
    shape = (len(knobs.stop), len(parts.test))
    program = _program(setting, width, Table(*((array.shape, array.dtype.name) for array in table)))
    places = np.unravel_index(np.arange(shape[0] * shape[1]), shape)

    def chunk(start: int) -> dict[str, np.ndarray]:
        # The last chunk is filled up with its last lane.
        which = [
            np.pad(place[start : start + width], (0, max(0, start + width - len(place))), "edge") for place in places
        ]
        taken = [jax.tree.map(lambda a, at=at: a[at], tree) for tree, at in zip((knobs, parts), which, strict=True)]
        found = program(table, *taken)
        return {name: np.asarray(values)[: len(places[0]) - start] for name, values in found.items()}

    with ThreadPoolExecutor(cores()) as pool:
        done = list(pool.map(chunk, range(0, len(places[0]), width)))
    return {
        name: np.concatenate([each[name] for each in done]).reshape(*shape, *done[0][name].shape[1:])
        for name in done[0]
    }


def _width(setting: Setting, rows: int, most: int) -> int:
    # The activations of a chunk, forward and back, fit a core's second-level cache; a power of two, for few programs.
    fits = CACHE / (8 * setting.hidden * min(rows, setting.batch(rows)))
    return int(2 ** min(max(0, round(np.log2(fits))), np.ceil(np.log2(most)), 6))


@lru_cache(maxsize=32)
def _program(setting: Setting, width: int, of: Any) -> Any:
    def flat(table: Table, knobs: Knobs, split: Split) -> Mapping[str, Any]:
        return {name: getattr(value, "values", value) for name, value in lane(setting, table, knobs, split).items()}

    table = Table(*(_struct(*struct) for struct in of))
    knobs = jax.tree.map(lambda value: _struct((width,), "float32"), Knobs())
    part = _struct((width,), "int32")
    knobs = dataclasses.replace(knobs, stop=part)
    # Compiled here, ahead of the threads that call it.
    lowered = jax.jit(jax.vmap(flat, in_axes=(None, 0, 0))).lower(table, knobs, Split(part, part, part))
    return compile_with(lowered, _BRIEFLY if jax.default_backend() == "cpu" else {})


def _struct(shape: tuple[int, ...], dtype: str) -> Any:
    return jax.ShapeDtypeStruct(shape, np.dtype(dtype))  # type: ignore[no-untyped-call]
