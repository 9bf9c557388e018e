"""`Plan` of a search: methods, folds, repeats and epochs, chosen for a table size and a time budget."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from jaxreg._checks import check_integer
from jaxreg.lab.search.candidates import METHODS, OTHER, SMALL, Candidate, candidates, shaped
from jaxreg.lab.search.folds import Setting, nested_splits, searched_task
from jaxreg.lab.sweeps.chunk_size import cores

MOST_EPOCHS = 500
ROWS_SEEN = 120_000
"""Rows that a training sees in all, if the number of epochs is not given."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Settings of a search: methods, folds, repeats and epochs.

    Args:
        methods: Names from `jaxreg.lab.search.candidates.METHODS`.
        hidden: Number of units of each hidden layer; an integer for one layer. None tries one layer of 32 units with
            all methods and, unless `quick` is given, another network on coded numbers with decay
            (`jaxreg.lab.search.candidates.OTHER`).
        epochs: Number of passes over the rows. None chooses the number so that a training sees 120,000 rows, but at
            least 20 and at most 500 passes.
        learning_rate: Learning rate of Adam. It is constant for three quarters of the training, then decreases to 0.
        folds: Number of folds of the cross-validation.
        repeats: Number of cross-validations, each with another assignment of rows to folds and new initial weights.
        quick: Whether to try only every other strength.
        seed: Seed for folds, initial weights and the order of the rows.

    Raises:
        ValueError: If an argument is out of its range.
    """

    methods: Sequence[str] = METHODS
    hidden: int | Sequence[int] | None = None
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
        layers = (
            self.hidden if isinstance(self.hidden, Sequence) else (SMALL[0] if self.hidden is None else self.hidden,)
        )
        if not layers or isinstance(layers, str):
            raise ValueError(f"hidden is {self.hidden!r}; expected the number of units of each hidden layer")
        for units in layers:
            check_integer(units, "hidden", 1)
        if self.hidden is not None:
            object.__setattr__(self, "hidden", tuple(map(int, layers)))
        for name, least in (("epochs", 1), ("folds", 3), ("repeats", 1)):
            value = getattr(self, name)
            if value is None and name == "epochs":
                continue
            check_integer(value, name, least)
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed is {self.seed!r}; expected a whole number from 0 to 2147483647")
        if not isinstance(self.learning_rate, int | float | np.number) or not 0 < self.learning_rate < np.inf:
            raise ValueError(f"learning_rate is {self.learning_rate!r}; expected a number above 0")

    @property
    def open(self) -> bool:
        """Whether the search tries networks other than the first one."""
        return self.hidden is None and not self.quick

    @property
    def layers(self) -> tuple[int, ...]:
        """Number of units of each hidden layer of the first network."""
        return SMALL if self.hidden is None else tuple(self.hidden)  # type: ignore[arg-type]

    def passes(self, rows: int) -> tuple[int, int]:
        """Return the number of epochs for a number of rows, and the number of points of a curve, which divides it."""
        epochs = self.epochs or 10 * round(min(max(ROWS_SEEN / rows, 20), MOST_EPOCHS) / 10)
        return epochs, next(points for points in range(10, 0, -1) if epochs % points == 0)


def planned_for(plan: Plan, classes: int, rows: int) -> tuple[Setting, list[Candidate], int]:
    """Return the static part of the trainings of a table, the candidates, and the rows that it is padded to.

    Args:
        plan: The plan.
        classes: Number of classes; 0 for a number as target.
        rows: Number of different rows.
    """
    # Sizes that many tables share, for few programs.
    filled = rounded(rows, 128 if rows <= 256 else max(64, 2 ** (int(np.log2(rows)) - 3)))
    epochs, points = plan.passes(rows)
    setting = Setting(
        searched_task(classes), classes if classes > 2 else 1, plan.layers, epochs, plan.learning_rate, points
    )
    tried = candidates(plan.methods, epochs, setting.steps(filled), quick=plan.quick, fewer=plan.open)
    return setting, tried, filled


def planned(
    shape: tuple[int, ...],
    budget: float | None,
    *,
    quick: bool = False,
    seed: int = 0,
    epochs: int | None = None,
    hidden: Sequence[int] = (),
) -> Plan:
    """Plan a search: one repeat, with fewer strengths and epochs if a time budget seems too short for all of them.

    Without a budget there are two repeats, or one for a quick search. With a budget, the clock decides how many repeats
    follow.

    Args:
        shape: Number of rows and number of inputs.
        budget: Seconds left for compiling and training, or None.
        quick: Whether to try only every other strength, with one repeat.
        seed: Seed of the plan.
        epochs: Number of epochs, whatever the budget; None chooses it.
        hidden: Number of units of each hidden layer; empty for the default.
    """
    plan = Plan(hidden=tuple(hidden) or None, epochs=epochs, quick=quick, repeats=1 if quick else 2, seed=seed)
    if budget is None:
        return plan
    plan = dataclasses.replace(plan, repeats=1)
    quickly = dataclasses.replace(plan, quick=True)
    most, _ = plan.passes(shape[0])
    shorter = [most // part // 10 * 10 or most // part for part in (1, 2, 4, 8, 16)]  # 30 steps at least
    ladder = [plan]
    ladder += [quickly] if epochs else [dataclasses.replace(quickly, epochs=count) for count in shorter]
    return next((rung for rung in ladder if _seconds(shape, rung) <= budget), ladder[-1])


START = 3.0
"""Seconds that a process takes to import everything on a free machine."""

COMPILATION = 6.0
"""Seconds that a process takes to compile the programs of a search on a free machine, and to say what was found."""


def _seconds(shape: tuple[int, ...], plan: Plan) -> float:
    # Half as much again as measured on a core of a shared server: what a process takes to compile, then a step's fixed
    # cost and its arithmetic.
    setting, tried, rows = planned_for(plan, 0, shape[0])
    steps = setting.epochs * setting.steps(rows)
    sizes = (shape[1] + 1, *setting.hidden, 2)
    weights = sum(before * after for before, after in itertools.pairwise(sizes))
    lane = 4e-6 * steps + setting.epochs * rows * weights * 6 / 3e10
    others = 4 * len(shaped(plan.methods, OTHER)) if plan.open else 0
    nets = (len(tried) + others) * len(nested_splits(plan.repeats, plan.folds))
    return COMPILATION + nets * lane / cores()


def rounded(count: int, step: int) -> int:
    """Return the least multiple of `step` that is not below `count`."""
    return -(-count // step) * step
