"""Which regulariser, and how strong, for a net on a table of one's own: the search, and the net that it hands back."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxreg.lab.candidates import METHODS, Candidate, candidates
from jaxreg.lab.folds import WEIGHTS, Setting, Split, Table, deal, splits, train
from jaxreg.lab.nested import Nested, nested
from jaxreg.lab.net import Net, Task
from jaxreg.lab.reading import LARGEST
from jaxreg.lab.width import cores

MOST_EPOCHS = 500
ROWS_SEEN = 120_000
"""Rows that a training sees in all, where nobody says how many epochs."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to try, and how.

    Args:
        methods: Names out of `jaxreg.lab.candidates.METHODS`.
        hidden: Hidden units.
        epochs: Passes over the rows; None for as many as see 120,000 rows, 20 at least and 500 at most.
        learning_rate: Of Adam, for three quarters of the steps; then it falls to 0.
        folds: Folds of the cross-validation.
        repeats: How often the rows are dealt to folds anew, with initial weights anew.
        quick: Whether to try every other strength only.
        seed: Of folds, initial weights and the order of the rows.

    Raises:
        ValueError: If a number is out of its range.
    """

    methods: Sequence[str] = METHODS
    hidden: int = 32
    epochs: int | None = None
    learning_rate: float = 0.01
    folds: int = 5
    repeats: int = 2
    quick: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "methods", tuple(self.methods))
        if not isinstance(self.quick, bool | np.bool_):
            raise ValueError(f"quick is {self.quick!r}; expected True or False")
        for name, least in (("hidden", 1), ("epochs", 1), ("folds", 3), ("repeats", 1)):
            value = getattr(self, name)
            if value is None and name == "epochs":
                continue
            if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name} is {value!r}; expected a whole number of at least {least}")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed is {self.seed!r}; expected a whole number from 0 to 2147483647")
        if not isinstance(self.learning_rate, int | float | np.number) or not 0 < self.learning_rate < np.inf:
            raise ValueError(f"learning_rate is {self.learning_rate!r}; expected a number above 0")

    def passes(self, rows: int) -> tuple[int, int]:
        """Epochs for a table of so many rows, and the points of a curve, which divide them."""
        epochs = self.epochs or 10 * round(min(max(ROWS_SEEN / rows, 20), MOST_EPOCHS) / 10)
        return epochs, next(points for points in range(10, 0, -1) if epochs % points == 0)


@dataclasses.dataclass(frozen=True, eq=False)
class Search:
    """What a search found.

    Attributes:
        task: What was learnt.
        plan: What was tried, and how.
        setting: What all trainings shared.
        tried: The candidates.
        parts: The splits.
        lanes: The curves of every training: name -> array of shape (candidates, splits, …).
        spread: The variance of the target on the fold `test` of each split, in which R² counts; empty for classes.
        found: What is chosen, and how good that is.
        net: The chosen one, trained on all rows.
        rows: How many were trained on; equal ones that stay in one fold are one.
    """

    task: Task
    plan: Plan
    setting: Setting
    tried: list[Candidate]
    parts: list[Split]
    lanes: dict[str, np.ndarray]
    spread: np.ndarray
    found: Nested
    net: Net
    rows: int

    @property
    def chosen(self) -> Candidate:
        """The candidate that was chosen from all rows."""
        return self.tried[self.found.chosen]

    @property
    def diverged(self) -> int:
        """How many trainings diverged."""
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

    Rows of equal inputs stay in one fold, and those with equal targets too are one row that counts for all of them:
    they never stand on both sides of a split, and a weight of 2 is the same as a row given twice. Only where inputs
    come back so often that new rows will hardly bring others (see `different_inputs`), each row is dealt by itself.
    The order of the rows does not matter.

    Args:
        x: Inputs, of shape (rows, inputs), finite.
        y: Targets, of shape (rows,): numbers, or classes as integers from 0.
        task: What to learn.
        plan: What to try, and how.
        weights: What each row counts; 1 each if None.
        store: Folder to keep finished trainings in, to go on from.

    Raises:
        ValueError: If there are fewer rows than folds, one class only, a target that is constant, or a number that is
            too large for float32.
    """
    plan = plan or Plan()
    x, y, w, group = _rows(x, y, weights, plan.folds)
    check(y, task, plan.folds)
    classes = int(y.max()) + 1 if task == "classification" else 0
    two = np.array([np.isin(column, (column.min(), column.max())).all() for column in x.T])
    mean, scale, target = _figures(x, y, w, two, task)
    setting, tried, rows = planned_for(plan, task, classes, len(x))
    # Inputs by eights, one of them for the bias: tables of about as many share a program.
    width, fill = _rounded(x.shape[1] + 1, 8) - 1, rows - len(x)
    rng = np.random.default_rng(plan.seed)
    heaviest = np.lexsort((-w, group))[np.searchsorted(np.sort(group), np.arange(group.max() + 1))]
    dealt = np.stack([deal(y[heaviest], plan.folds, rng, classes=classes > 0)[group] for _ in range(plan.repeats)])
    kind = np.int32 if classes > 2 else np.float32
    table = Table(
        x=np.pad((x - mean) / scale, [(0, fill), (0, width - x.shape[1])]).astype(np.float32),
        y=np.pad((y - target[0]) / target[1], (0, fill)).astype(kind),
        w=np.pad(w / w.mean(), (0, fill)).astype(np.float32),
        scaled=np.pad(~two, (0, width - x.shape[1])).astype(np.float32),
        inputs=np.float32(x.shape[1]),
        folds=np.pad(dealt, [(0, 0), (0, fill)], constant_values=-2).astype(np.int32),
        seed=np.int32(plan.seed),
    )
    parts = splits(plan.repeats, plan.folds)
    lanes = train(setting, table, tried, parts, store)
    spread = _spread(table, parts) if task == "regression" else np.zeros(0)
    found = judged(tried, parts, lanes, spread, len(x))
    arrays = {path: lanes[f"params/{path}"][found.chosen, -1] for path in WEIGHTS}
    arrays["hidden/kernel"] = arrays["hidden/kernel"][: x.shape[1]]
    net = Net(arrays | {"mean": mean, "scale": scale, "target": np.array(target)})
    lanes = {name: values for name, values in lanes.items() if not name.startswith("params/")}
    return Search(task, plan, setting, tried, parts, lanes, spread, found, net, len(x))


def planned_for(plan: Plan, task: Task, classes: int, rows: int) -> tuple[Setting, list[Candidate], int]:
    """What the trainings of a table share, the candidates, and how many rows it is filled up to.

    Args:
        plan: What to try, and how.
        task: What to learn.
        classes: How many there are; 0 for a number.
        rows: Different rows.
    """
    # Sizes that many tables share, for few programs.
    filled = _rounded(rows, 128 if rows <= 256 else max(64, 2 ** (int(np.log2(rows)) - 3)))
    epochs, points = plan.passes(rows)
    setting = Setting(task, classes if classes > 2 else 1, plan.hidden, epochs, plan.learning_rate, points)
    return setting, candidates(plan.methods, epochs, setting.steps(filled), quick=plan.quick), filled


def judged(
    tried: Sequence[Candidate], parts: Sequence[Split], lanes: dict[str, np.ndarray], spread: np.ndarray, rows: int
) -> Nested:
    """What is chosen, and how good that is, by the curves of all trainings.

    Args:
        tried: The candidates.
        parts: The splits.
        lanes: As `jaxreg.lab.folds.train` gives them.
        spread: The variance of the target on the fold `test` of each split; empty for classes.
        rows: How many there are.
    """
    test, validation = _losses(lanes, "test"), _losses(lanes, "validation")
    if len(spread):
        scores = 1 - test / np.where(spread > 0, spread, np.nan)
    else:
        scores = np.where(np.isfinite(test), lanes["test_accuracy"][..., -1], np.nan)
    return nested(tried, parts, (test, scores), validation, 0 if len(spread) else rows)


def planned(
    shape: tuple[int, ...],
    budget: float | None,
    *,
    quick: bool = False,
    seed: int = 0,
    epochs: int | None = None,
) -> Plan:
    """The plan for a table: as many repeats as a budget allows, and fewer strengths and epochs where it allows not one.

    Args:
        shape: Rows and inputs.
        budget: Seconds on the clock that the search may take, or None.
        quick: Whether to try every other strength only, once.
        seed: Of the plan.
        epochs: Of the plan, whatever the budget; its own if None.
    """
    plan = Plan(epochs=epochs, quick=quick, repeats=1 if quick else 2, seed=seed)
    if budget is None:
        return plan
    ladder = [dataclasses.replace(plan, repeats=repeats) for repeats in range(10, 0, -1)]
    quickly = dataclasses.replace(plan, repeats=1, quick=True)
    most, _ = plan.passes(shape[0])
    shorter = [most // part // 10 * 10 or most // part for part in (1, 2, 4, 8, 16)]  # 30 steps at least
    ladder += [quickly] if epochs else [dataclasses.replace(quickly, epochs=each) for each in shorter]
    return next((each for each in ladder if _seconds(shape, each) <= budget), ladder[-1])


def _seconds(shape: tuple[int, ...], plan: Plan) -> float:
    # Half as much again as measured on a core of a shared server: what a process takes to start and compile, then a
    # step's fixed cost and its arithmetic.
    setting, tried, rows = planned_for(plan, "regression", 0, shape[0])
    steps = setting.epochs * setting.steps(rows)
    lane = 4e-6 * steps + setting.epochs * rows * (shape[1] + 3) * plan.hidden * 6 / 3e10
    nets = len(tried) * len(splits(plan.repeats, plan.folds))
    return 15 + nets * lane / cores()


def different_inputs(x: np.ndarray, folds: int) -> tuple[int, bool]:
    """How many different inputs a table has, and whether they come back so often that each row is dealt by itself.

    Of a table of few different inputs new rows will mostly have the same: an estimate without them would be of another
    task. They come back often if there are more than `OFTEN` rows for each of them, or fewer of them than folds.

    Args:
        x: Inputs, of shape (rows, inputs).
        folds: Of the cross-validation.
    """
    different = len(np.unique(x, axis=0))
    return different, _often(different, len(x), folds)


def _often(different: int, rows: int, folds: int) -> bool:
    return different < folds or rows > OFTEN * different


OFTEN = 5
"""Rows for each different input from which on a table is one of few inputs that come back."""


def _rows(
    x: np.ndarray, y: np.ndarray, weights: np.ndarray | None, folds: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    # Inputs, targets and weights in an order of their own, and the group of each, which stays in one fold.
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    for name, values in (("an input", x), ("a target", y)):
        if values.size and (largest := np.abs(values).max()) > LARGEST:
            raise ValueError(f"{name} is as large as {largest:g}; expected numbers up to {LARGEST:g}: scale them down")
    w = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    rows = np.column_stack([x, y, w])[w > 0]
    rows = rows[np.lexsort(rows.T[::-1])]
    # Equal rows are neighbours now.
    other = np.concatenate([[True], (rows[1:, :-2] != rows[:-1, :-2]).any(axis=1)])[: len(rows)]
    if _often(int(other.sum()), len(rows), folds):
        return rows[:, :-2], rows[:, -2], rows[:, -1], np.arange(len(rows))
    group = np.cumsum(other) - 1
    other[1:] |= rows[1:, -2] != rows[:-1, -2]
    total = np.bincount(np.cumsum(other) - 1, weights=rows[:, -1])
    return rows[other, :-2], rows[other, -2], total, group[other]


def check(y: np.ndarray, task: Task, folds: int) -> None:
    """Refuse a target that nothing can be learnt from.

    Args:
        y: Of each row.
        task: What is learnt.
        folds: Of the cross-validation.

    Raises:
        ValueError: If there are fewer rows than folds, or all have one target.
    """
    if len(y) < folds:
        raise ValueError(f"there are n_samples={len(y)} rows for {folds} folds; expected as many at least")
    if len(np.unique(y)) < 2:
        what = "one class only" if task == "classification" else f"{y[0]:g} in every row"
        raise ValueError(f"the target holds {what}; expected two different {_KINDS[task]} at least")


_KINDS = {"classification": "classes", "regression": "numbers"}


def _figures(
    x: np.ndarray, y: np.ndarray, w: np.ndarray, two: np.ndarray, task: Task
) -> tuple[np.ndarray, np.ndarray, tuple[Any, Any]]:
    share = w / w.sum()
    mean = share @ x
    scale = _deviation(share, x - mean)
    # What is two values only keeps their distance as its unit: the rarer one would stand out else.
    scale = np.where(two, np.ptp(x, axis=0), scale)
    scale = np.where(scale > 0, scale, 1)
    if task == "classification":
        return mean, scale, (0.0, 1.0)
    middle = share @ y
    return mean, scale, (float(middle), float(_deviation(share, y - middle)))


def _deviation(share: np.ndarray, gaps: np.ndarray) -> Any:
    # By powers of 2, which change no bit, so that squares of tiny numbers are not 0.
    unit = np.ldexp(1.0, np.frexp(np.abs(gaps).max(axis=0))[1])
    return unit * np.sqrt(share @ np.square(gaps / unit))


def _losses(lanes: dict[str, np.ndarray], part: str) -> np.ndarray:
    return np.where(lanes["diverged_at"] < 0, lanes[f"{part}_loss"][..., -1], np.nan)


def _spread(table: Table, parts: Sequence[Split]) -> np.ndarray:
    spread = []
    for part in parts:
        w = table.w * ((table.folds[part.repeat] == part.test) | (part.test < 0))
        share, y = w / w.sum(), table.y.astype(np.float64)
        spread.append(share @ np.square(y - share @ y))
    return np.array(spread, np.float64)


def _rounded(count: int, step: int) -> int:
    return -(-count // step) * step
