"""`Plan` of a search: methods, folds, repeats and epochs, chosen for a table size and a time budget."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from jaxreg._checks import check_integer
from jaxreg.lab.search.candidates import METHODS, NONE, OTHER, PROMISING, SMALL, Candidate, candidates, shaped
from jaxreg.lab.search.folds import Setting, nested_splits, searched_task
from jaxreg.lab.sweeps.chunk_size import cores

MOST_EPOCHS = 500
ROWS_SEEN = 120_000
"""Number of epochs times number of rows of a training run, if the number of epochs is not given."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Settings of a search: methods, folds, repeats and epochs.

    A search trains a first network with each of the `methods`. It may also train a second network, which has two hidden
    layers of 32 units each. For the second network, it tries only two methods: "none" (no regulariser) and "decay". The
    numeric inputs of this network are transformed by piecewise linear functions (`jaxreg.lab.search.codings`).

    Args:
        methods: Names from `jaxreg.lab.search.candidates.METHODS`.
        hidden: Number of units of each hidden layer of the first network; an integer for one layer. If the argument is
            None, the first network has one hidden layer of 32 units. The search then also trains the second network,
            unless `quick` is True or `methods` lacks "decay".
        epochs: Number of passes over the rows. Default: 120,000 divided by the number of rows, but at least 20 and at
            most 500.
        learning_rate: Learning rate of Adam. It is constant for three quarters of the training, then decreases to 0.
        folds: Number of folds of the cross-validation.
        repeats: Number of cross-validations, each with another assignment of rows to folds and new initial weights.
        quick: If True, the search tries only every second strength, and no second network.
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
            raise ValueError(f"`quick` is {self.quick!r}; expected True or False")
        layers = (
            self.hidden if isinstance(self.hidden, Sequence) else (SMALL[0] if self.hidden is None else self.hidden,)
        )
        if not layers or isinstance(layers, str):
            raise ValueError(
                f"`hidden` is {self.hidden!r}; expected the number of units of each hidden layer, such as (32, 16)"
            )
        for units in layers:
            check_integer(units, "`hidden`", 1)
        if self.hidden is not None:
            object.__setattr__(self, "hidden", tuple(map(int, layers)))
        for name, least in (("epochs", 1), ("folds", 3), ("repeats", 1)):
            value = getattr(self, name)
            if value is None and name == "epochs":
                continue
            check_integer(value, f"`{name}`", least)
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"`seed` is {self.seed!r}; expected a whole number from 0 to 2147483647")
        if not isinstance(self.learning_rate, int | float | np.number) or not 0 < self.learning_rate < np.inf:
            raise ValueError(f"`learning_rate` is {self.learning_rate!r}; expected a number above 0")

    @property
    def open(self) -> bool:
        """True if the plan includes the second network: `hidden` is None, `quick` is False, `methods` contains "decay".

        A search with a time limit may still omit the second network.
        """
        return self.hidden is None and not self.quick and "decay" in self.methods

    @property
    def layers(self) -> tuple[int, ...]:
        """Number of units of each hidden layer of the first network, the one that is trained with all methods."""
        return SMALL if self.hidden is None else tuple(self.hidden)  # type: ignore[arg-type]

    def passes(self, rows: int) -> tuple[int, int]:
        """Return the number of epochs and the number of points per learning curve, for a table with `rows` rows.

        The number of points divides the number of epochs.
        """
        epochs = self.epochs or 10 * round(min(max(ROWS_SEEN / rows, 20), MOST_EPOCHS) / 10)
        return epochs, next(points for points in range(10, 0, -1) if epochs % points == 0)


def planned_for(plan: Plan, classes: int, rows: int) -> tuple[Setting, list[Candidate], int]:
    """Return the settings, the candidates and the padded number of rows for a plan and a table.

    Args:
        plan: Plan of the search.
        classes: Number of classes; 0 for regression.
        rows: Number of distinct rows.
    """
    # Few distinct padded sizes, so that tables of similar size share compiled programs.
    filled = rounded(rows, 128 if rows <= 256 else max(64, 2 ** (int(np.log2(rows)) - 3)))
    epochs, points = plan.passes(rows)
    setting = Setting(
        searched_task(classes), classes if classes > 2 else 1, plan.layers, epochs, plan.learning_rate, points
    )
    tried = candidates(plan.methods, epochs, setting.steps(filled), quick=plan.quick, fewer=plan.open)
    return setting, tried, filled


def plan_ladder(
    shape: tuple[int, ...],
    *,
    quick: bool = False,
    seed: int = 0,
    epochs: int | None = None,
    hidden: Sequence[int] = (),
) -> list[Plan]:
    """Return plans for a table, from the slowest to the fastest.

    The second plan has every second strength, only the first network and one repeat. The third plan also has only the
    most promising methods. Each further plan has half as many epochs as the previous plan. If `epochs` is given, there
    are no further plans.

    Args:
        shape: Number of rows and number of inputs of the table.
        quick: If True, the plans try only every second strength, with one repeat.
        seed: Seed of the plans.
        epochs: Number of epochs of all plans. None chooses it from the number of rows.
        hidden: Number of units of each hidden layer; empty for the default.
    """
    plan = Plan(hidden=tuple(hidden) or None, epochs=epochs, quick=quick, repeats=1 if quick else 2, seed=seed)
    quickly = dataclasses.replace(plan, quick=True, repeats=1)
    most, _ = plan.passes(shape[0])
    whole = quickly if epochs else dataclasses.replace(quickly, epochs=most)
    promising = dataclasses.replace(whole, methods=(NONE, *PROMISING))
    fewer = [most // part // 10 * 10 or most // part for part in (2, 4, 8, 16)]  # at least 30 steps
    shorter = [] if epochs else [dataclasses.replace(promising, epochs=count) for count in fewer]
    return [plan, whole, promising, *shorter]


def planned(shape: tuple[int, ...], budget: float | None, ladder: Sequence[Plan]) -> Plan:
    """Return the first of several plans that fits a time budget.

    Without a budget, the first plan is returned. With a budget, the returned plan has one repeat, and further repeats
    follow while there is time. If no plan fits, the last plan is returned.

    Args:
        shape: Number of rows and number of inputs of the table.
        budget: Seconds for compiling and training, or None.
        ladder: Plans, as returned by `plan_ladder`.
    """
    if budget is None:
        return ladder[0]
    single = [dataclasses.replace(plan, repeats=1) for plan in ladder]
    return next((plan for plan in single if COMPILATION + training_seconds(shape, plan) <= budget), single[-1])


START = 3.0
"""Seconds to start Python and import all modules, on an idle machine."""

COMPILATION = 6.0
"""Seconds to compile the programs of a search and to write its results, on an idle machine."""


def training_seconds(shape: tuple[int, ...], plan: Plan, *, others: bool = True) -> float:
    """Estimate how many seconds all training runs of a plan take on an idle machine.

    Args:
        shape: Number of rows and number of inputs of the table.
        plan: The plan.
        others: If True, the training runs of the second network are included.
    """
    # A fixed time and the arithmetic of each optimiser step. The constants are 1.5 times the values measured on one
    # core of a shared server.
    setting, tried, rows = planned_for(plan, 0, shape[0])
    steps = setting.epochs * setting.steps(rows)
    sizes = (shape[1] + 1, *setting.hidden, 2)
    weights = sum(before * after for before, after in itertools.pairwise(sizes))
    lane = 4e-6 * steps + setting.epochs * rows * weights * 6 / 3e10
    more = 4 * len(shaped(OTHER)) if plan.open and others else 0
    nets = (len(tried) + more) * len(nested_splits(plan.repeats, plan.folds))
    return nets * lane / cores()


def rounded(count: int, step: int) -> int:
    """Round `count` up to a multiple of `step`."""
    return -(-count // step) * step
