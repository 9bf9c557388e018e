"""Training runs of nested cross-validation: one run per candidate and split.

A training run leaves out two folds, one fold or no fold:

- Two folds i and j: the network is validated on fold j for the outer fold i, and on fold i for the outer fold j.
- One fold: the network is tested on this fold, which is the outer fold.
- No fold: the final network is trained on all rows.

A run that leaves out two folds serves two outer folds. With k folds, each candidate therefore needs k (k + 1) / 2 runs
per repeat instead of k².

Rows that are left out have weight 0. All runs share the inputs, so that one compiled program trains all networks.
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
from jaxreg.lab.search.candidates import Candidate, DropoutKnobs, Knobs, alike, used
from jaxreg.lab.search.clock import Clock
from jaxreg.lab.search.net import layer_names, model
from jaxreg.lab.sweeps.chunk_size import chunk_width, cores
from jaxreg.lab.sweeps.engine import prepare, prepare_program
from jaxreg.lab.sweeps.grid import make_grid
from jaxreg.lab.sweeps.options import SweepOptions
from jaxreg.lab.sweeps.program import Program
from jaxreg.lab.sweeps.store import OtherSweepError, Store, find_manifest
from jaxreg.lab.training.loop import fit
from jaxreg.lab.training.problem import Problem
from jaxreg.lab.training.tasks import BINARY, CLASSES, NUMBERS, Task

BATCH = 128
"""Largest number of rows per optimiser step. Compared with full batches, training takes 1.2 to 1.7 times as long and
the networks are better. The loss is a quarter lower if the target is a rough function
(`scripts/search/search_training.py`)."""


TIMED = 4
"""Factor by which chunks are smaller in a search with a clock. The clock needs the time of the first chunk early."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """Settings shared by all training runs of one network. They are constants in the compiled training program.

    Args:
        task: Loss and metrics.
        outputs: Number of outputs of the network; 1 for regression and for two classes.
        hidden: Number of units of each hidden layer.
        epochs: Number of passes over the rows.
        learning_rate: Learning rate of Adam before it decays (`jaxreg.lab.search.candidates.Rate`).
        points: Number of points of a learning curve, without the point before training. It must divide `epochs`.
        forward: Whether a training run uses only the folds before the fold that it leaves out.
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
        """Path of each weight array of the network."""
        return tuple(f"{name}/{part}" for name in layer_names(self.hidden) for part in ("kernel", "bias"))

    def batch(self, rows: int) -> int:
        """Return the number of rows per optimiser step."""
        return min(rows, BATCH)

    def steps(self, rows: int) -> int:
        """Return the number of optimiser steps per epoch."""
        return -(-rows // self.batch(rows))


def searched_task(classes: int) -> Task:
    """Return the loss and the metrics for a target with a given number of classes.

    Args:
        classes: Number of classes; 0 for regression.
    """
    if classes > 2:
        return CLASSES
    return BINARY._replace(loss=_cross_entropy) if classes else NUMBERS._replace(metrics={})


def _cross_entropy(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    # Binary cross-entropy for targets that are exactly 0 or 1. It needs half as many exponentials as the general
    # `binary_cross_entropy`, which saves a tenth of the time of an optimiser step. The last term makes the loss NaN for
    # an infinite logit, for which softplus could return a loss of 0.
    return jax.nn.softplus((1 - 2 * targets) * outputs[:, 0]) + 0 * outputs[:, 0]


class PaddedRows(NamedTuple):
    """Rows of a table, padded so that tables of similar size have the same shape and share a compiled program.

    Args:
        x: Inputs, of shape (rows, inputs), standardised over all rows; padded with 0.
        y: Targets, of shape (rows,).
        w: Weight of each row; 0 for a padding row.
        scaled: 1 for each input that is standardised, 0 for each input that is only centred; of shape (inputs,).
        inputs: Number of inputs without padding.
        folds: Index of each row's fold in each repeat, of shape (repeats, rows).
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
    """Repeat, test fold and validation fold of a training run. Both folds are left out of the training.

    If a run leaves out a single fold, both indices are that of this fold. If a run is trained on all rows, both are -1.
    """

    repeat: Any
    test: Any
    validation: Any


def nested_splits(repeats: int, folds: int) -> list[Split]:
    """Return all splits of nested cross-validation. The last split leaves no fold out.

    Args:
        repeats: Number of repeats, each with another assignment of rows to folds.
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
"""Index of the first outer fold if later rows are predicted from earlier rows.

The choice of a candidate for this outer fold uses the losses on the folds 1 and 2.
"""


def forward_splits(repeats: int, folds: int) -> list[Split]:
    """Return all splits for rows in time order: each fold is predicted from the folds before it.

    Fold 0 is used for training only. The first outer fold is fold `FIRST`. The choice of a candidate for an outer fold
    uses the losses on the folds from 1 up to the fold before the outer fold. The last splits, one per repeat, train on
    all rows.

    Args:
        repeats: Number of repeats, each with other initial weights.
        folds: Number of outer folds.
    """
    ahead = [Split(repeat, fold, fold) for repeat in range(repeats) for fold in range(1, FIRST + folds)]
    return [*ahead, *(Split(repeat, -1, -1) for repeat in range(repeats))]


def trained_on(dealt: Any, w: Any, split: Split, *, forward: bool) -> Any:
    """Return the weight of each row in a training run. Rows in left-out folds get weight 0.

    Args:
        dealt: Fold of each row, of shape (rows,).
        w: Weight of each row.
        split: The folds that the training leaves out.
        forward: Whether the training also leaves out all later folds.
    """
    if forward:
        return w * ((dealt < split.test) | (split.test < 0))
    return w * (dealt != split.test) * (dealt != split.validation)


def lane(setting: Setting, table: PaddedRows, knobs: Knobs, split: Split) -> dict[str, Any]:
    """Train one candidate on one split.

    Args:
        setting: Static settings.
        table: Rows of the table.
        knobs: Strengths of the regularisers.
        split: The folds that the training leaves out.

    Returns:
        Learning curves and weights, as returned by `fit`. There are curves for the training rows, for the test fold and
        for the validation fold of the split. If no fold is left out, all curves are for all rows.
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
            dropout=knobs.dropout if isinstance(knobs, DropoutKnobs) else None,
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
    """Prepare to train every candidate on every split. Compilation of the program starts in the background.

    The compiled program stays in memory and is reused for the next table with the same padded shape. This helps if an
    estimator is fitted several times, as in a cross-validation. Training runs that `store` already contains are not
    repeated.

    Args:
        setting: Static settings.
        table: Rows of the table.
        tried: The candidates.
        parts: The splits.
        store: Folder for finished training runs, or None.
        clock: Clock that measures the time of the chunks, or None.

    Returns:
        A function that trains every candidate on every split. It returns a dict from the names that `lane` returns to
        arrays of shape (candidates, splits, …).
    """
    tried, parts = tuple(tried), tuple(parts)
    structs = tuple((array.shape, array.dtype) for array in table)
    width = _width(setting, table.x.shape[0], len(tried) * len(parts))
    if clock is not None and width is not None:
        width = max(1, width // TIMED)
    if store is not None and (old := find_manifest(store)):
        width = old.chunk  # keep the chunk size of a store from a machine with another number of cores
    program = _program(setting, tried, parts, structs, width)
    watch = None
    if clock is not None:
        stored = 0 if store is None or not old else len(Store(store, old).present())
        watch = clock.watch(len(program.chunks), program.workers, stored)
    options = SweepOptions(
        coords=None if store is None else {"candidate": [candidate.label for candidate in tried]},
        progress=None if store is not None else False,
        on_chunk=watch,
    )
    try:
        run = prepare_program(program, {"table": table}, store, options)
    except OtherSweepError:
        # The store is from a version whose programs contained all regularisers, or also the table as a constant.
        try:
            program = _program(setting, tried, parts, structs, width, whole=True)
            run = prepare_program(program, {"table": table}, store, options)
        except OtherSweepError:
            axes = _axes(tried, parts, whole=True)
            run = prepare(lambda candidate, split: lane(setting, table, candidate, split), axes, store, options)

    def finish() -> dict[str, np.ndarray]:
        if watch is not None and watch.pending:
            program.load()  # wait for the compilation, whose time is not that of a chunk
            watch.begin()
        return {str(name): values.values for name, values in run().load().data_vars.items()}

    return finish


def train(
    setting: Setting, table: PaddedRows, tried: Sequence[Candidate], parts: Sequence[Split], store: Path | None = None
) -> dict[str, np.ndarray]:
    """Train every candidate on every split.

    Args:
        setting: Static settings.
        table: Rows of the table.
        tried: The candidates.
        parts: The splits.
        store: Folder for finished training runs, or None.

    Returns:
        A dict from the names that `lane` returns to arrays of shape (candidates, splits, …).
    """
    return prepare_training(setting, table, tried, parts, store)()


@lru_cache(maxsize=32)
def _program(
    setting: Setting,
    tried: tuple[Candidate, ...],
    parts: tuple[Split, ...],
    structs: tuple[Any, ...],
    width: int | None,
    *,
    whole: bool = False,
) -> Program:
    def run(table: PaddedRows, candidate: Knobs, split: Split) -> dict[str, Any]:
        return lane(setting, table, candidate, split)

    table = PaddedRows(*(np.empty(*struct) for struct in structs))
    return Program(run, make_grid(_axes(tried, parts, whole=whole)), width, operands={"table": table})


def _axes(tried: Sequence[Candidate], parts: Sequence[Split], *, whole: bool) -> dict[str, Any]:
    each = alike([candidate.knobs for candidate in tried])
    each = each if whole else used(each)
    knobs = jax.tree.map(lambda *values: np.asarray(values, np.float32), *each)
    knobs = dataclasses.replace(knobs, stop=np.asarray([candidate.knobs.stop for candidate in tried], np.int32))
    return {"candidate": knobs, "split": Split(*(np.asarray(part, np.int32) for part in zip(*parts, strict=True)))}


def _width(setting: Setting, rows: int, lanes: int) -> int | None:
    # Bytes per lane: the activations of a batch and their gradients. XLA's own estimate cannot be used, because it adds
    # the table to each lane, although all lanes share the table.
    lane = 8 * sum(setting.hidden) * setting.batch(rows)
    return chunk_width(lane, lanes, cores()) if jax.default_backend() == "cpu" else None
