"""Rows of one table as folds, and every training on all but one or two of them as a lane.

Two folds i and j are left out of a training that serves the inner validation of both: it is validated on j where i is
the outer fold, and on i where j is. With one fold left out it is the outer training, with none the final one. So
nested cross-validation of k folds takes k (k + 1) / 2 trainings a candidate in place of k². Which rows are left
out is a matter of weights: all lanes share the inputs, and one program trains them all.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg.lab.data import Data
from jaxreg.lab.search.candidates import Candidate, Knobs
from jaxreg.lab.search.clock import Clock
from jaxreg.lab.search.net import layer_names, model
from jaxreg.lab.sweeps.chunk_size import chunk_width, cores
from jaxreg.lab.sweeps.engine import prepare, prepare_program
from jaxreg.lab.sweeps.grid import make_grid
from jaxreg.lab.sweeps.options import SweepOptions
from jaxreg.lab.sweeps.program import Program
from jaxreg.lab.sweeps.store import OtherSweepError, find_manifest
from jaxreg.lab.training.loop import fit
from jaxreg.lab.training.problem import Problem
from jaxreg.lab.training.tasks import BINARY, CLASSES, NUMBERS, Task

BATCH = 128
"""Rows a step, where there are as many: nets are better than with whole tables as batches, by a quarter of the loss
where the target is rough, and take 1.2 to 1.7 times as long (`scripts/search/search_training.py`)."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """The static part of all trainings of a search, for which its program is compiled.

    Args:
        task: Loss and metrics.
        outputs: Outputs of the net: 1 for a number or two classes.
        hidden: Units of each hidden layer.
        epochs: Number of passes over the rows.
        learning_rate: Learning rate of Adam before its decay (`jaxreg.lab.search.candidates.Rate`).
        points: Points of a curve after that of the initial weights; it divides `epochs`.
        forward: Whether a training sees only the folds before the one that it leaves out.
    """

    task: Task = dataclasses.field(hash=False)
    outputs: int
    hidden: tuple[int, ...]
    epochs: int
    learning_rate: float
    points: int = 1
    forward: bool = False

    @property
    def weights(self) -> tuple[str, ...]:
        """The path of each array of the net's weights."""
        return tuple(f"{name}/{part}" for name in layer_names(self.hidden) for part in ("kernel", "bias"))

    def batch(self, rows: int) -> int:
        """Return the number of rows per step."""
        return min(rows, BATCH)

    def steps(self, rows: int) -> int:
        """Return the number of steps per epoch."""
        return -(-rows // self.batch(rows))


def searched_task(classes: int) -> Task:
    """Return the task of a table: so many classes, or a number if there are none.

    Args:
        classes: Number of classes, 0 for numbers.
    """
    if classes > 2:
        return CLASSES
    return BINARY._replace(loss=_cross_entropy) if classes else NUMBERS._replace(metrics={})


def _cross_entropy(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    # `binary_cross_entropy` where a target is 0 or 1 and nothing between: half as many exponentials, a tenth of a step.
    # The last term is NaN for an infinite logit, of which softplus would make a perfect one.
    return jax.nn.softplus((1 - 2 * targets) * outputs[:, 0]) + 0 * outputs[:, 0]


class PaddedRows(NamedTuple):
    """Rows of a table, padded to a size that tables of about as many rows share.

    Args:
        x: Inputs, of shape (rows, inputs), standardised over all rows; 0 in padding.
        y: Targets, of shape (rows,).
        w: Weight of each row; 0 for padding.
        scaled: 1 for each input that is brought to variance 1, 0 for one that is centred only, of shape (inputs,).
        inputs: Number of inputs without padding.
        folds: Fold of each row for each repeat, of shape (repeats, rows).
        seed: Seed for the initial weights and the order of the rows.
    """

    x: Any
    y: Any
    w: Any
    scaled: Any
    inputs: Any
    folds: Any
    seed: Any


class Split(NamedTuple):
    """The folds that a training leaves out: two different ones, one twice, or -1 for none."""

    repeat: Any
    test: Any
    validation: Any


def nested_splits(repeats: int, folds: int) -> list[Split]:
    """Return every split of nested cross-validation; the last leaves nothing out.

    Args:
        repeats: Number of times that the rows are dealt to folds.
        folds: Number of folds.

    Example:
        >>> [tuple(split)[1:] for split in nested_splits(repeats=1, folds=3)]
        [(0, 1), (0, 2), (1, 2), (0, 0), (1, 1), (2, 2), (-1, -1)]
    """
    splits = []
    for repeat in range(repeats):
        splits += [Split(repeat, *pair) for pair in itertools.combinations(range(folds), 2)]
        splits += [Split(repeat, fold, fold) for fold in range(folds)]
    return [*splits, Split(0, -1, -1)]


FIRST = 3
"""The first outer fold of forward folds: the choice inside it has two folds to be made by."""


def forward_splits(repeats: int, folds: int) -> list[Split]:
    """Return every split of forward folds, each of which is predicted from those before it; the last has all rows.

    The choice inside an outer fold, the first of which is number `FIRST`, is made by the folds before it.

    Args:
        repeats: Number of initial weights.
        folds: Number of outer folds.
    """
    ahead = [Split(repeat, fold, fold) for repeat in range(repeats) for fold in range(1, FIRST + folds)]
    return [*ahead, *(Split(repeat, -1, -1) for repeat in range(repeats))]


def trained_on(dealt: Any, w: Any, split: Split, *, forward: bool) -> Any:
    """Return the weight of each row in a training.

    Args:
        dealt: Fold of each row, of shape (rows,).
        w: Weight of each row.
        split: The folds that the training leaves out.
        forward: Whether the folds behind them are left out too.
    """
    if forward:
        return w * ((dealt < split.test) | (split.test < 0))
    return w * (dealt != split.test) * (dealt != split.validation)


def lane(setting: Setting, table: PaddedRows, knobs: Knobs, split: Split) -> dict[str, Any]:
    """Train one candidate on one split.

    Args:
        setting: The static part.
        table: The rows.
        knobs: Strengths of the regularisers.
        split: The folds that are left out.

    Returns:
        The result of `fit`: curves on the training rows, on the fold `test` and on the fold `validation` (on all rows
        if none is left out), and the weights.
    """
    dealt = jnp.asarray(table.folds)[split.repeat]
    w = jnp.asarray(table.w)
    nothing = split.test < 0
    weights = {
        "train": trained_on(dealt, w, split, forward=setting.forward),
        "test": jnp.where(nothing, w, w * (dealt == split.test)),
        "validation": jnp.where(nothing, w, w * (dealt == split.validation)),
    }
    x: Any = jnp.asarray(table.x)[None]
    y: Any = jnp.asarray(table.y)[None]
    data = Data(x, y, None, None, **{f"w_{part}": w[None] for part, w in weights.items()})
    problem = Problem(
        model(
            setting.hidden,
            setting.outputs,
            table,
            weights["train"],
            split.repeat,
            numbers=not setting.task.classes,
        ),
        data,
        setting.epochs,
        setting.task.loss,
        setting.task.metrics,
        setting.batch(table.x.shape[0]),
        setting.epochs // setting.points,
    )
    steps = setting.epochs * setting.steps(table.x.shape[0])
    recipe = knobs.recipe(setting.learning_rate, steps, len(setting.hidden))
    curves = fit(problem, recipe, jax.random.key(table.seed), keep=True)
    return {name: values for name, values in curves.items() if not name.startswith(("norm/", "penalty", "violation"))}


def prepare_training(
    setting: Setting,
    table: PaddedRows,
    tried: Sequence[Candidate],
    parts: Sequence[Split],
    store: Path | None = None,
    clock: Clock | None = None,
) -> Callable[[], dict[str, np.ndarray]]:
    """Prepare the training of every candidate on every split: compile its program in the background.

    The table is an operand of a program that is kept for the next table of that size, as an estimator in a
    cross-validation is fitted again and again. With a store it goes on from the trainings that are there.

    Args:
        setting: The static part of a training.
        table: The rows.
        tried: The candidates.
        parts: The splits.
        store: Folder to keep finished trainings in, or None.
        clock: The clock that times the chunks, or None.

    Returns:
        A function that trains them: name -> array of shape (candidates, splits, …), with the names of `lane`.
    """
    tried, parts = tuple(tried), tuple(parts)
    structs = tuple((array.shape, array.dtype) for array in table)
    width = _width(setting, table.x.shape[0], len(tried) * len(parts))
    if store is not None and (old := find_manifest(store)):
        width = old.chunk  # trainings from a machine with another number of cores go on as they are
    program = _program(setting, tried, parts, structs, width)
    options = SweepOptions(
        coords=None if store is None else {"candidate": [candidate.label for candidate in tried]},
        progress=None if store is not None else False,
        on_chunk=None if clock is None else clock.watch(len(program.chunks), program.workers),
    )
    try:
        run = prepare_program(program, {"table": table}, store, options)
    except OtherSweepError:  # a store made when programs still held their table
        axes = _axes(tried, parts)
        run = prepare(lambda candidate, split: lane(setting, table, candidate, split), axes, store, options)
    return lambda: {str(name): values.values for name, values in run().load().data_vars.items()}


def train(
    setting: Setting, table: PaddedRows, tried: Sequence[Candidate], parts: Sequence[Split], store: Path | None = None
) -> dict[str, np.ndarray]:
    """Train every candidate on every split.

    Args:
        setting: The static part of a training.
        table: The rows.
        tried: The candidates.
        parts: The splits.
        store: Folder of the sweep, or None.

    Returns:
        Name -> array of shape (candidates, splits, …), with the names of `lane`.
    """
    return prepare_training(setting, table, tried, parts, store)()


@lru_cache(maxsize=32)
def _program(
    setting: Setting,
    tried: tuple[Candidate, ...],
    parts: tuple[Split, ...],
    structs: tuple[Any, ...],
    width: int | None,
) -> Program:
    def run(table: PaddedRows, candidate: Knobs, split: Split) -> dict[str, Any]:
        return lane(setting, table, candidate, split)

    table = PaddedRows(*(np.empty(*struct) for struct in structs))
    return Program(run, make_grid(_axes(tried, parts)), width, operands={"table": table})


def _axes(tried: Sequence[Candidate], parts: Sequence[Split]) -> dict[str, Any]:
    knobs = jax.tree.map(lambda *values: np.asarray(values, np.float32), *(candidate.knobs for candidate in tried))
    knobs = dataclasses.replace(knobs, stop=np.asarray([candidate.knobs.stop for candidate in tried], np.int32))
    return {"candidate": knobs, "split": Split(*(np.asarray(part, np.int32) for part in zip(*parts, strict=True)))}


def _width(setting: Setting, rows: int, lanes: int) -> int | None:
    # A lane keeps the activations of a batch, forward and back: the program's own estimate counts, for each lane, the
    # table too, which all of them share.
    lane = 8 * sum(setting.hidden) * setting.batch(rows)
    return chunk_width(lane, lanes, cores()) if jax.default_backend() == "cpu" else None
