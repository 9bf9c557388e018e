"""The search for a regulariser and its strength for a net on a table, and the net that it returns."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from jaxreg.lab.cards import drawn_by
from jaxreg.lab.search.candidates import Candidate
from jaxreg.lab.search.fitted_model import Net
from jaxreg.lab.search.folds import PaddedRows, Setting, Split, deal, nested_splits, train
from jaxreg.lab.search.means import mean_net, on_outer_folds
from jaxreg.lab.search.nested import Nested, OuterFolds, nested, outer_splits
from jaxreg.lab.search.plan import Plan, _rounded, planned_for
from jaxreg.lab.search.rows import _figures, _rows, check
from jaxreg.lab.training.tasks import BINARY, CLASSES, NUMBERS, Task


@dataclasses.dataclass(frozen=True, eq=False)
class Search:
    """The result of a search.

    Attributes:
        plan: The plan.
        setting: The static part of all trainings.
        tried: The candidates.
        parts: The splits.
        lanes: The curves of every training: name -> array of shape (candidates, splits, …).
        spread: The variance of the target on the fold `test` of each split, in which R² counts; empty for classes.
        found: The choice, and estimates of how good it is.
        net: The model: the mean of nets of the chosen candidate, one of all rows and those that leave out a fold.
        rows: Number of rows that were trained on; equal ones that stay in one fold count once.
    """

    plan: Plan
    setting: Setting
    tried: list[Candidate]
    parts: list[Split]
    lanes: dict[str, np.ndarray]
    spread: np.ndarray
    found: Nested
    net: Net
    rows: int

    def __repr__(self) -> str:
        loss, gain = self.found.loss, self.found.loss_gain
        return (
            f"Search(chosen={self.chosen.label!r}, candidates={len(self.tried)}, rows={self.rows}, "
            f"loss={loss.mean:.4g} ± {loss.error:.2g}, loss_gain={gain.mean:.4g} ± {gain.error:.2g})"
        )

    def _repr_html_(self) -> str:
        return drawn_by("jaxreg.lab.search.report", self)

    @property
    def chosen(self) -> Candidate:
        """The candidate that was chosen from all rows."""
        return self.tried[self.found.chosen]

    @property
    def diverged(self) -> int:
        """The number of trainings that diverged."""
        return int((self.lanes["diverged_at"] >= 0).sum())


def search(
    x: np.ndarray,
    y: np.ndarray,
    task: Task,
    plan: Plan | None = None,
    *,
    weights: np.ndarray | None = None,
    store: Path | None = None,
) -> Search:
    """Search the regulariser and its strength.

    Rows of equal inputs stay in one fold, so that they never stand on both sides of a split. Those with equal targets
    too are one row that counts for all of them: a weight of 2 is the same as a row given twice. If most inputs repeat,
    so that new data would mostly contain known inputs (see `different_inputs`), rows are dealt to folds individually.
    The order of the rows does not matter.

    Args:
        x: Inputs, of shape (rows, inputs), finite.
        y: Targets, of shape (rows,): numbers, or classes as integers from 0.
        task: `NUMBERS`, `BINARY` or `CLASSES` of `jaxreg.lab`; two classes take one logit by either of them.
        plan: Methods, folds, repeats and epochs.
        weights: Weight of each row; 1 each if None.
        store: Folder to keep finished trainings in, to go on from.

    Raises:
        ValueError: If the task is another one, there are fewer rows than folds, one class only, a target that is
            constant, or a number that is too large for float32.
    """
    if task not in (NUMBERS, BINARY, CLASSES):
        raise ValueError(f"task is {task!r}; expected NUMBERS, BINARY or CLASSES of jaxreg.lab")
    plan = plan or Plan()
    x, y, w, group = _rows(x, y, weights, plan.folds)
    check(y, task, plan.folds)
    classes = int(y.max()) + 1 if task.classes else 0
    if task == BINARY and classes > 2:
        raise ValueError(f"task is BINARY, and there are {classes} classes; expected CLASSES")
    two = np.array([np.isin(column, (column.min(), column.max())).all() for column in x.T])
    mean, scale, target = _figures(x, y, w, two, task)
    setting, tried, rows = planned_for(plan, classes, len(x))
    # Inputs by eights, one of them for the bias: tables of about as many share a program.
    width, fill = _rounded(x.shape[1] + 1, 8) - 1, rows - len(x)
    rng = np.random.default_rng(plan.seed)
    heaviest = np.lexsort((-w, group))[np.searchsorted(np.sort(group), np.arange(group.max() + 1))]
    dealt = np.stack([deal(y[heaviest], plan.folds, rng, classes=classes > 0)[group] for _ in range(plan.repeats)])
    kind = np.int32 if classes > 2 else np.float32
    table = PaddedRows(
        x=np.pad((x - mean) / scale, [(0, fill), (0, width - x.shape[1])]).astype(np.float32),
        y=np.pad((y - target[0]) / target[1], (0, fill)).astype(kind),
        w=np.pad(w / w.mean(), (0, fill)).astype(np.float32),
        scaled=np.pad(~two, (0, width - x.shape[1])).astype(np.float32),
        inputs=np.float32(x.shape[1]),
        folds=np.pad(dealt, [(0, 0), (0, fill)], constant_values=-2).astype(np.int32),
        seed=np.int32(plan.seed),
    )
    parts = nested_splits(plan.repeats, plan.folds)
    lanes = train(setting, table, tried, parts, store)
    spread = np.zeros(0) if task.classes else _spread(table, parts)
    found = judged(
        tried, parts, lanes, spread, len(x), lambda picks: on_outer_folds(setting, table, parts, lanes, picks)
    )
    arrays = mean_net(setting, table, parts, lanes, found.chosen)
    arrays["hidden/kernel"] = arrays["hidden/kernel"][:, : x.shape[1]]
    net = Net(arrays | {"mean": mean, "scale": scale, "target": np.array(target)})
    lanes = {name: values for name, values in lanes.items() if not name.startswith("params/")}
    return Search(plan, setting, tried, parts, lanes, spread, found, net, len(x))


def judged(
    tried: Sequence[Candidate],
    parts: Sequence[Split],
    lanes: dict[str, np.ndarray],
    spread: np.ndarray,
    rows: int,
    outer: Callable[[tuple[int, ...]], OuterFolds] | None = None,
) -> Nested:
    """Choose a candidate by the curves of all trainings, and estimate how good it is.

    Args:
        tried: The candidates.
        parts: The splits.
        lanes: Curves, as `jaxreg.lab.search.folds.train` returns them.
        spread: Variance of the target on the fold `test` of each split; empty for classes.
        rows: Number of rows.
        outer: Function, places of the candidates chosen inside the outer folds -> losses of what is handed out, and
            their scores for classes; those of single nets if None.
    """
    test, validation = _losses(lanes, "test"), _losses(lanes, "validation")
    if not len(spread):
        scores = np.where(np.isfinite(test), lanes["test_accuracy"][..., -1], np.nan)
        return nested(tried, parts, test, validation, scores, rows, outer)
    spread = np.where(spread > 0, spread, np.nan)

    def with_scores(picks: tuple[int, ...]) -> OuterFolds:
        assert outer
        losses = outer(picks).loss
        return OuterFolds(1 - losses / spread[outer_splits(parts)], losses)

    return nested(tried, parts, test, validation, 1 - test / spread, 0, with_scores if outer else None)


def _losses(lanes: dict[str, np.ndarray], part: str) -> np.ndarray:
    return np.where(lanes["diverged_at"] < 0, lanes[f"{part}_loss"][..., -1], np.nan)


def _spread(table: PaddedRows, parts: Sequence[Split]) -> np.ndarray:
    spread = []
    for part in parts:
        w = table.w * ((table.folds[part.repeat] == part.test) | (part.test < 0))
        share, y = w / w.sum(), table.y.astype(np.float64)
        spread.append(share @ np.square(y - share @ y))
    return np.array(spread, np.float64)
