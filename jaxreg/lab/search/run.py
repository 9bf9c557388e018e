"""The search for the best regulariser and its strength on a table, and the result of a search."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxreg.lab.cards import drawn_by
from jaxreg.lab.search.candidates import Candidate
from jaxreg.lab.search.clock import Clock, TimeUpError, TooShortError, seconds
from jaxreg.lab.search.constants import constants
from jaxreg.lab.search.dealing import deal, deal_groups, deal_time
from jaxreg.lab.search.details import Details, details
from jaxreg.lab.search.equal_rows import EqualRows, best_rival, on_equal_rows
from jaxreg.lab.search.fitted_model import FittedModel, Net, Nets, Trees
from jaxreg.lab.search.folds import FIRST, PaddedRows, Setting, Split, forward_splits, nested_splits
from jaxreg.lab.search.groups import Group, grouped, joined, repeat_folder, trained
from jaxreg.lab.search.inputs import inputs_of
from jaxreg.lab.search.means import Scales, mean_net, on_fold, on_outer_folds, scales
from jaxreg.lab.search.nested import Nested, OuterFolds, nested, outer_splits, rows_ratio
from jaxreg.lab.search.plan import Plan, plan_ladder, planned, planned_for, rounded, training_seconds
from jaxreg.lab.search.rivals import LINEAR, Rivals, arrays_of, fitted, judged_rivals
from jaxreg.lab.search.rows import _figures, _rows, check
from jaxreg.lab.tabular import Prepared, TaskName, columns_of, prepare_columns
from jaxreg.lab.tabular.arguments import called_by
from jaxreg.lab.tabular.frames import has_words, is_frame
from jaxreg.lab.training.tasks import BINARY, CLASSES, NUMBERS, Task

NETS = "nets"
"""Name of the default type of model: a mean of networks. With `any_model`, a search may choose another type."""


class Caller(NamedTuple):
    """Interface through which the user started the search. `Search.verdict` uses the argument names of this interface.

    Args:
        name: "command" for `jaxreg search`, "search" for the function `search`, "estimator" for a scikit-learn
            estimator.
        budget: True if there was a time limit, such as `--budget` of the command.
    """

    name: Literal["command", "search", "estimator"] = "search"
    budget: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Search:
    """Result of a search: the chosen regulariser, its scores on the outer folds, and the fitted model.

    Attributes:
        plan: Methods, folds, repeats and epochs.
        setting: Static settings of the training runs with the first network architecture.
        tried: All candidates. A candidate is a method with a strength, for one network architecture.
        parts: The splits of the cross-validation. Each split holds the indices of the test fold and the validation
            fold, which a training run leaves out. If a run leaves out a single fold, both indices are that of this
            fold. If a run is trained on all rows, both are -1. After a search with `time`, a run also leaves out all
            folds after the test fold.
        lanes: Results of all training runs: name of a result -> array. The first two axes of each array are the
            candidates in `tried` and the splits in `parts`. Learning curves, such as `test_loss`, have a third axis:
            the recorded epochs. `diverged_at` has one number per run: -1, or the epoch at which the run diverged.
        spread: Variance of the target on the test fold of each split, of shape (splits,). R² on a fold is 1 minus the
            loss divided by this variance. Empty for classification.
        outer: Score and loss of each candidate on each outer fold. A candidate predicts an outer fold by the mean
            prediction of its networks that were not trained on this fold. For regression, the scores here are NaN, and
            `found.scores` contains R². None for a stored search of an older version, which did not average networks.
        rivals: Scores and losses of other types of models on the outer folds of the first repeat; None if they were not
            evaluated.
        constant: Scores and losses of a constant prediction (`jaxreg.lab.search.constants`) on each outer fold; None if
            they were not computed.
        found: The chosen candidate and its estimated scores. For example, `found.score.mean` is the estimated score of
            the networks on new rows: the accuracy for classes, R² for numbers.
        net: The final model. Usually it averages the predictions of several networks of the chosen candidate. One
            network was trained on all rows. Each further network was trained on all rows except one fold. If the best
            candidate of another network architecture is as good, its networks are averaged too. After
            `search(…, any_model=True)`, the final model may be of another type.
        kept: Type of the final model: `NETS`, or one of `jaxreg.lab.search.rivals.KINDS`.
        rows: Number of training rows. Rows that were merged, because their inputs and targets are equal, count once.
        details: Recall and AUC of each class, and importance of the inputs; None if `search` was called without
            `blocks`.
        model: The final model with the encoding of the columns, to predict from data frames and files; None if the
            search was given arrays.
        columns: Names of the columns in `details.importance`; empty if they are unknown.
        means: Score and loss of the averaged predictions of several candidates, for all combinations that the search
            compared. It is a dict: (index of an outer fold, indices of the candidates) -> (score, loss) on this fold.
            For regression, the score is NaN, as in `outer`. None for a stored search of an older version, which did not
            average candidates.
        equal_rows: Scores of the networks on rows that occur several times in the table, with equal inputs and targets
            (see `jaxreg.lab.search.score_on_equal_rows`). None if the search merged no rows.
        notes: Notes about the table, such as how its columns were read; empty if the search was given arrays.
        caller: Interface through which the search was started. The advice in `verdict` uses the argument names of this
            interface, such as `--epochs` for the command `jaxreg search`.
    """

    plan: Plan
    setting: Setting
    tried: list[Candidate]
    parts: list[Split]
    lanes: dict[str, np.ndarray]
    spread: np.ndarray
    outer: OuterFolds | None
    rivals: Rivals | None
    constant: Rivals | None
    found: Nested
    net: Net | Nets | Trees
    kept: str
    rows: int
    details: Details | None = None
    model: FittedModel | None = None
    columns: tuple[str, ...] = ()
    means: Mapping[tuple[int, tuple[int, ...]], tuple[float, float]] | None = None
    equal_rows: EqualRows | None = None
    notes: tuple[str, ...] = ()
    caller: Caller = dataclasses.field(default_factory=Caller)

    def __repr__(self) -> str:
        loss, gain = self.found.loss, self.found.loss_gain
        return (
            f"Search(chosen={self.chosen.label!r}, candidates={len(self.tried)}, rows={self.rows}, "
            f"loss={loss.mean:.4g} ± {loss.error:.2g}, loss_gain={gain.mean:.4g} ± {gain.error:.2g})"
        )

    def _repr_html_(self) -> str:
        return drawn_by("jaxreg.lab.search.report", self)

    @property
    def verdict(self) -> str:
        """Verdict on the search, as text. The command `jaxreg search` prints it, with one statement per line."""
        return "\n".join(import_module("jaxreg.lab.search.report").sentences(self))

    @property
    def chosen(self) -> Candidate:
        """The chosen candidate. The choice uses the losses on all outer folds."""
        return self.tried[self.found.chosen]

    def predict(self, frame: Any) -> np.ndarray:
        """Predict the target of each row of a data frame, in the order of the rows.

        Columns are found by name. They may be in any order, and columns that the model does not use are ignored.

        A single `UserWarning` lists unknown text values, which did not occur in training. It also lists unexpected
        missing cells: those in columns without missing cells in training.

        In a column of text, an unexpected missing cell is replaced by the most frequent training value. An unknown
        value counts as none of the known values.

        In a column of numbers or dates, an unexpected missing cell is replaced by the median of the training cells. A
        text such as "n/a" counts as a missing cell. In training, such a column may also have contained words, such as
        "unlimited". Any other word is then replaced by the median too. If the column contained no words in training, a
        word raises a `ValueError`.

        Args:
            frame: Data frame with all columns that the model uses.

        Returns:
            Numbers for regression, otherwise classes, of shape (rows,).

        Raises:
            ValueError: If the search was run on arrays, or `frame` lacks a column. Also if a column of numbers or dates
                contains a word, but contained no words in training.
        """
        if self.model is None:
            raise ValueError(
                "this search was run on arrays, so it can't predict for a data frame. Call its `net` with an array, "
                "or run the search again on a data frame"
            )
        return self.model.predict(inputs_of(frame, self.model.encoding))

    def predict_proba(self, frame: Any) -> np.ndarray:
        """Predict class probabilities for the rows of a data frame. The result has the shape (rows, classes).

        The columns of the result are in the order of `classes`. As in `predict`, a `UserWarning` lists unknown text
        values and unexpected missing cells.

        Args:
            frame: Data frame with all columns that the model uses.

        Raises:
            ValueError: If the search was run on arrays or on a numeric target, or `frame` lacks a column. Also if a
                column of numbers or dates contains a word, but contained no words in training.
        """
        if self.model is None or not self.model.classes:
            raise ValueError(
                f"predict_proba: this search was run on {'arrays' if self.model is None else 'a numeric target'}; "
                "expected a search on a data frame with classes as target"
            )
        return self.net.probabilities(inputs_of(frame, self.model.encoding))

    @property
    def classes(self) -> tuple[str | float, ...]:
        """Classes of the target, in the order of the columns of `predict_proba`.

        Empty for regression. Also empty for a search on arrays, in which the classes are the integers from 0.
        """
        return () if self.model is None else self.model.classes

    @property
    def diverged(self) -> int:
        """Number of training runs that diverged."""
        return int((self.lanes["diverged_at"] >= 0).sum())


def search(
    x: Any,
    y: np.ndarray | None = None,
    task: Task | None = None,
    plan: Plan | None = None,
    *,
    target: str | None = None,
    weights: np.ndarray | None = None,
    groups: np.ndarray | str | None = None,
    time: np.ndarray | str | None = None,
    folds: np.ndarray | None = None,
    store: Path | str | None = None,
    rivals: bool = False,
    any_model: bool = False,
    budget: float | str | None = None,
    blocks: Sequence[Sequence[int]] | None = None,
    clock: Clock | None = None,
) -> Search:
    """Search for the best regulariser and its strength on a table.

    The order of the rows does not matter. By default, rows with equal inputs stay in one fold. So no network is tested
    on inputs that it was trained on. Rows with equal inputs and equal targets are merged into one row with their total
    weight. This default has two exceptions, in which no rows are merged:

    - If `groups`, `time` or `folds` is given, this argument alone decides which rows stay in one fold.
    - In a table with often repeated inputs, rows with equal inputs may be in different folds. Such a table has more
      than five rows per distinct input row, or fewer distinct input rows than folds. New rows for such a table will
      probably have inputs that occurred in training. For a realistic score, test rows should have such inputs too. The
      function `jaxreg.lab.search.rows.different_inputs` checks a table for this exception.

    Args:
        x: Finite inputs, of shape (rows, inputs), or a data frame. A data frame may have text and missing cells, and
            needs `target`.
        y: Targets, of shape (rows,): numbers, or classes as integers from 0. None with a data frame.
        task: `NUMBERS`, `BINARY` or `CLASSES` of `jaxreg.lab`. For two classes, both `BINARY` and `CLASSES` use a
            single logit. Required for arrays. With a data frame, None infers the task from the target.
        plan: Methods, folds, repeats and epochs.
        target: Name of the data frame's column to predict.
        weights: Weight of each row; None for equal weights. Only for arrays.
        groups: Group of each row. For a data frame, the name of the column of groups. Rows of one group stay in one
            fold.
        time: Time of each row. For a data frame, the name of the column of times. Folds follow each other in time, and
            each fold is predicted from the folds before it. The search then makes a single repeat.
        folds: Fold of each row in each repeat, of shape (repeats, rows), numbered from 0. These folds replace the folds
            and repeats of the plan. Only for arrays.
        store: Folder for finished training runs, which a later call reuses. The result is not stored there: to keep it,
            use `pickle`.
        rivals: If True, a linear model, boosted trees and a random forest are evaluated on the same folds
            (`jaxreg.lab.search.rivals`).
        any_model: If True, the final model may be a linear model, boosted trees or a random forest. Such a model is
            chosen if its score is higher than that of the networks, or if its score is equal and its loss is lower.
        budget: Time limit: a number of seconds, or text such as "60s", "5m" or "1h". The search makes as many repeats
            as the limit allows. If one repeat would take too long, the search omits the second network architecture
            (see `Plan`), then also some candidates and epochs. If `plan` or `store` is given, the limit still decides
            the number of repeats. But to save more time, the search can then omit only the second network architecture.
            It keeps all other candidates and all epochs. A limit that is much too short for the shortest possible
            search usually raises a `ValueError`.
        blocks: Blocks of inputs whose importance is measured for `Search.details`, such as the inputs of one column.
            Each block is a list of indices. With None, `Search.details` is None. Only for arrays.
        clock: Time limit that the command `jaxreg search` passes. In Python, pass `budget` instead.

    Returns:
        A `Search`. It contains the fitted model and the scores.

    Example:
        The variable `found` is the returned `Search`, which has a field of the same name. So `found.found.score` is the
        R² of the networks on the outer folds, with its standard error.

        >>> import numpy as np, pandas as pd
        >>> from jaxreg.lab.search import Plan, search
        >>> size, town = np.linspace(0, 1, 40), np.array(["Ulm", "Bonn"] * 20)
        >>> frame = pd.DataFrame({"size": size, "town": town, "price": 3 * size + (town == "Ulm")})
        >>> found = search(frame, target="price", plan=Plan(methods=["L2"], hidden=8, epochs=100, repeats=1))
        >>> found.predict(frame).shape, found.found.score.mean > 0.5
        ((40,), True)

    Raises:
        ValueError: If the task is unknown, there are fewer rows than folds, all targets are equal, or a number is too
            large for float32. If `budget` is much too short, or `budget` and `folds` are both given. If more than one
            of `groups`, `time` and `folds` is given.
    """
    start = perf_counter()
    if isinstance(x, str | Path):
        raise ValueError(f"`x` is {str(x)!r}; expected a data frame or an array. Read a file with pandas.read_csv")
    if not isinstance(clock, Clock | None):
        raise ValueError(
            f"`clock` is {clock!r}; expected None, because `clock` is internal: only the command `jaxreg search` "
            f"passes it. To set a time limit, pass budget={clock!r}"
        )
    limit = seconds(budget)
    if limit is not None and (other := "clock" if clock is not None else "folds" if folds is not None else ""):
        raise ValueError(f"both budget and {other} are given; expected only one. Remove budget or {other}")
    if not isinstance(target, str | None):
        raise ValueError(f"`target` is a {type(target).__name__}; expected the name of a column of the data frame")
    if target is not None:
        _check_frame(y=y, weights=weights, blocks=blocks, folds=folds, groups=groups, time=time)
        options = {"store": store, "rivals": rivals, "any_model": any_model, "budget": budget, "clock": clock}
        return _of_frame(x, target, task, plan, groups, time, **options)
    if y is None:
        raise ValueError("y is None; expected the target of each row. With a data frame, pass target=NAME")
    if is_frame(x) and (task is None or has_words(x)):
        raise ValueError(
            "`x` is a data frame, but `target` is None; expected the name of the column to predict. Put the target "
            "into the data frame and pass target=NAME instead of `y`"
        )
    if task not in (NUMBERS, BINARY, CLASSES):
        raise ValueError(f"`task` is {task!r}; expected NUMBERS, BINARY or CLASSES of jaxreg.lab")
    store = None if store is None else Path(store)
    asked, plan = plan, plan or Plan()
    given = [name for name, each in (("groups", groups), ("time", time), ("folds", folds)) if each is not None]
    if len(given) > 1:
        raise ValueError(
            f"both {given[0]} and {given[1]} are given; expected only one. Remove {given[0]} or {given[1]}"
        )
    patterns = np.zeros((0, 0), np.int32)
    apart = _apart(groups=groups, time=time, rows=len(y))
    if folds is not None:
        patterns, apart = np.unique(folds, axis=1, return_inverse=True)
        plan = dataclasses.replace(plan, folds=int(patterns.max()) + 1, repeats=len(patterns))
    x, y, w, group, copies = _rows(x, y, weights, plan.folds, None if apart is None else apart.ravel())
    check(y, task, plan.folds)
    if limit is not None:
        # Stored training runs belong to one plan, which is kept.
        ladder = plan_ladder(x.shape) if asked is None and store is None else [plan]
        plan = planned(x.shape, limit, ladder)
        clock = Clock(limit, start, ladder=ladder, option="budget={}")
    classes = int(y.max()) + 1 if task.classes else 0
    if task == BINARY and classes > 2:
        raise ValueError(f"task is BINARY, but there are {classes} classes; expected two. Use CLASSES")
    two = np.array([np.isin(column, (column.min(), column.max())).all() for column in x.T])
    mean, scale, units = _figures(x, y, w, two, task)
    setting, tried, rows = planned_for(plan, classes, len(x))
    # Pad the inputs and the bias to a multiple of eight, so that tables of similar width share a compiled program.
    width, fill = rounded(x.shape[1] + 1, 8) - 1, rows - len(x)
    rng = np.random.default_rng(plan.seed)
    forward = time is not None
    setting = dataclasses.replace(setting, forward=forward)

    count = plan.folds

    def dealt_anew() -> np.ndarray:
        if forward:
            return deal_time(group, count)
        if groups is not None:
            return deal_groups(y, group, count, rng, classes=classes > 0)
        heaviest = np.lexsort((-w, group))[np.searchsorted(np.sort(group), np.arange(group.max() + 1))]
        return deal(y[heaviest], count, rng, classes=classes > 0)[group]

    if clock is not None or forward:  # by time, the folds of all repeats are the same: more of them say nothing new
        plan = dataclasses.replace(plan, repeats=1)
    dealt = patterns[:, group] if folds is not None else np.stack([dealt_anew() for _ in range(plan.repeats)])
    if min(len(np.unique(each)) for each in dealt) < (FIRST if forward else 0) + plan.folds:
        raise ValueError("all rows of a fold have weight 0; expected a row with a weight above 0 in each fold")
    kind = np.int32 if classes > 2 else np.float32
    table = PaddedRows(
        x=np.pad((x - mean) / scale, [(0, fill), (0, width - x.shape[1])]).astype(np.float32),
        y=np.pad((y - units[0]) / units[1], (0, fill)).astype(kind),
        w=np.pad(w / w.mean(), (0, fill)).astype(np.float32),
        scaled=np.pad(~two, (0, width - x.shape[1])).astype(np.float32),
        inputs=np.float32(x.shape[1]),
        folds=np.pad(dealt, [(0, 0), (0, fill)], constant_values=-2).astype(np.int32),
        seed=np.int32(plan.seed),
    )
    splits = forward_splits if forward else nested_splits
    parts = splits(plan.repeats, plan.folds)
    plain = table.x[: len(x), : x.shape[1]], table.y[: len(x)], table.w[: len(x)]
    # Before the training, so that a clock knows the time when it judges how many training runs fit.
    others = None
    if rivals or any_model:
        others = judged_rivals(*plain, dealt[0], classes, plan.seed, forward=forward, copies=copies)
    while True:
        kinds = grouped(plan, setting, table, tried)
        if clock is not None:
            whole = training_seconds(x.shape, plan, others=False)
            shares = [(each, training_seconds(x.shape, each) / whole) for each in clock.ladder]
            clock.shorter = [(each, share) for each, share in shares if share < 1 and each != plan]
        try:
            results = trained(kinds, parts, store, clock)
            break
        except TooShortError as short:
            if clock is None or short.plan is None:
                raise
            plan = short.plan
            clock.repeat = 0.0
            clock.shortened(plan)
            setting, tried, _ = planned_for(plan, classes, len(x))
            setting = dataclasses.replace(setting, forward=forward)
    kinds = kinds[: len(results)]
    figures = {"mean": mean, "scale": scale, "target": np.array(units)}
    repeats = [results]
    begun = perf_counter()
    outer = _on_outer_folds(kinds, parts, results)
    if clock is not None:
        clock.repeat += perf_counter() - begun
    while clock is not None and not forward and clock.goes_on(len(repeats)):
        at, more = len(repeats), dealt_anew()[None]
        seed = int(np.random.default_rng([plan.seed, at]).integers(2**31))
        anew = [_dealt(kind, more, fill, seed) for kind in kinds]
        clock.begin()
        try:
            again = trained(anew, parts, store and repeat_folder(store, at), clock)
        except TimeUpError:
            break
        repeats.append(again)
        more_folds = _on_outer_folds(anew, parts, again)
        outer = OuterFolds(*(np.concatenate(pair, axis=1) for pair in zip(outer, more_folds, strict=True)))
        dealt = np.concatenate([dealt, more])
        clock.end()
    if len(repeats) > 1:
        plan = dataclasses.replace(plan, repeats=len(repeats))
        parts = splits(plan.repeats, plan.folds)
        kinds = [_dealt(kind, dealt, fill, plan.seed) for kind in kinds]
        table = table._replace(folds=kinds[0].table.folds)
        results = [joined(each, forward=False) for each in zip(*repeats, strict=True)]
    scaled = [[scales(kind.setting, kind.table, part) for part in parts] for kind in kinds]
    tried = [candidate for kind in kinds for candidate in kind.tried]
    curves = [name for name in results[0] if not name.startswith("params/")]
    lanes = {name: np.concatenate([lanes[name] for lanes in results]) for name in curves}
    spread = np.zeros(0) if task.classes else _spread(table, parts)
    means: dict[tuple[int, tuple[int, ...]], tuple[float, float]] = {}

    def mean_of(number: int, members: tuple[int, ...]) -> tuple[float, float]:
        split = parts[outer_splits(parts)[number]]
        net = _net(kinds, parts, scaled, results, members, _plain(x.shape[1]), split)
        means[number, members] = on_fold(net, table, split, classes=classes > 0)
        return means[number, members]

    found = judged(tried, parts, lanes, spread, len(x), outer, mean_of)
    constant = constants(setting, table, parts)
    first = outer_splits(parts)[: plan.folds]
    splits_of = [parts[at] for at in first]

    def picked() -> list[Net | Nets]:
        each = zip(found.picked, splits_of, strict=False)
        return [_net(kinds, parts, scaled, results, members, _plain(x.shape[1]), split) for members, split in each]

    equal_rows = None
    if (copies > 1).any():
        equal_rows = on_equal_rows(
            picked(), splits_of, table, copies, spread[first] if len(spread) else spread, classes=classes
        )
    kept = NETS
    if any_model and others is not None:
        mine = found.picked_scores[: plan.folds], found.picked_losses[: plan.folds]
        kept = best_rival(others, *mine, equal_rows) or NETS
    net: Net | Nets | Trees
    if kept == NETS:
        net = _net(kinds, parts, scaled, results, found.members, figures)
    else:
        arrays = arrays_of(kept, fitted(kept, *plain, classes, plan.seed)) | figures
        net = Net(arrays) if kept == LINEAR else Trees(arrays)
    told = None
    if blocks is not None:
        told = details(picked(), splits_of, table, blocks, classes=classes, ratio=rows_ratio(parts))
    return Search(
        plan,
        setting,
        tried,
        parts,
        lanes,
        spread,
        outer,
        others,
        constant,
        found,
        net,
        kept,
        len(x),
        told,
        means=means,
        equal_rows=equal_rows,
        caller=Caller("search", limit is not None),
    )


def _on_outer_folds(
    kinds: Sequence[Group], parts: Sequence[Split], results: Sequence[dict[str, np.ndarray]]
) -> OuterFolds:
    each = []
    for kind, lanes in zip(kinds, results, strict=True):
        scaled = [scales(kind.setting, kind.table, part) for part in parts]
        each.append(on_outer_folds(kind.setting, kind.table, parts, scaled, lanes))
    return OuterFolds(*np.concatenate(each, axis=1))


def _dealt(group: Group, dealt: np.ndarray, fill: int, seed: int) -> Group:
    folds = np.pad(dealt, [(0, 0), (0, fill)], constant_values=-2).astype(np.int32)
    return dataclasses.replace(group, table=group.table._replace(folds=folds, seed=np.int32(seed)))


def _plain(inputs: int) -> dict[str, np.ndarray]:
    return {"mean": np.zeros(inputs), "scale": np.ones(inputs), "target": np.array([0.0, 1.0])}


def _check_frame(**given: Any) -> None:
    for name, value in given.items():
        if name in ("groups", "time"):
            if not isinstance(value, str | None):
                raise ValueError(
                    f"`{name}` is a {type(value).__name__}; expected the name of a column of the data frame"
                )
        elif value is not None:
            raise ValueError(f"`{name}` is only for arrays, but a data frame is given. Remove `{name}`, or pass arrays")


def _apart(*, groups: Any, time: Any, rows: int) -> np.ndarray | None:
    # Replace the groups or times of the rows by integers from 0 in the same order, whatever their type was.
    for name, given in (("groups", groups), ("time", time)):
        if given is None:
            continue
        values = np.asarray(given)
        if values.shape != (rows,):
            raise ValueError(
                f"`{name}` has shape {values.shape}, but there are {rows} rows; expected one value per row"
            )
        return np.unique(values, return_inverse=True)[1].ravel()
    return None


@called_by("search")
def _of_frame(
    frame: Any, target: str, task: Task | None, plan: Plan | None, groups: Any, time: Any, **options: Any
) -> Search:
    name: TaskName | None = None if task is None else "classification" if task.classes else "regression"
    told = {option: given for option, given in (("groups", groups), ("time", time)) if isinstance(given, str)}
    table = prepare_columns(columns_of(frame), Path("the data frame"), target, name, **told)
    kind = task or (CLASSES if table.target.classes else NUMBERS)
    found = search(table.x, table.target.y, kind, plan, groups=table.groups, time=table.time, **options)
    return dataclasses.replace(found, model=fitted_model(found, table), notes=table.notes)


def fitted_model(found: Search, table: Prepared) -> FittedModel:
    """Combine the model of a search with the encoding of its table, so that it can predict for other tables.

    Args:
        found: Result of the search.
        table: Table of the search.
    """
    about = {"chosen": found.chosen.label, "model": found.kept}
    return FittedModel(found.net, table.encoding, table.name, table.target.task, table.target.classes, about, table.ids)


def _net(
    kinds: Sequence[Group],
    parts: Sequence[Split],
    scaled: Sequence[Sequence[Scales]],
    results: Sequence[dict[str, np.ndarray]],
    members: Sequence[int],
    figures: Mapping[str, np.ndarray],
    outer: Split | None = None,
) -> Net | Nets:
    nets = [Net({**_model(kinds, parts, scaled, results, place, outer), **figures}) for place in members]
    return nets[0] if len(nets) == 1 else Nets(tuple(nets))


def _model(
    kinds: Sequence[Group],
    parts: Sequence[Split],
    scaled: Sequence[Sequence[Scales]],
    results: Sequence[dict[str, np.ndarray]],
    chosen: int,
    outer: Split | None = None,
) -> dict[str, np.ndarray]:
    number = 0
    while chosen >= len(kinds[number].tried):
        chosen -= len(kinds[number].tried)
        number += 1
    group = kinds[number]
    arrays = mean_net(group.setting, parts, scaled[number], results[number], chosen, outer)
    arrays["hidden/kernel"] = arrays["hidden/kernel"][:, : int(group.table.inputs)]
    return arrays | {f"coding/{name}": array for name, array in group.maps.items()}


def judged(
    tried: Sequence[Candidate],
    parts: Sequence[Split],
    lanes: dict[str, np.ndarray],
    spread: np.ndarray,
    rows: int,
    outer: OuterFolds | None = None,
    means: Callable[[int, tuple[int, ...]], tuple[float, float]] | None = None,
) -> Nested:
    """Choose a candidate by the learning curves of all training runs, and estimate the score to expect on new rows.

    Args:
        tried: The candidates.
        parts: The splits.
        lanes: Learning curves of all training runs, as returned by `jaxreg.lab.search.folds.train`.
        spread: Variance of the target on the test fold of each split, of shape (splits,); empty for classification.
        rows: Number of rows.
        outer: Score and loss of each candidate's averaged networks on each outer fold; None if networks are not
            averaged.
        means: Function of the index of an outer fold and the indices of several candidates. It returns the score and
            the loss of the averaged predictions of these candidates. None if candidates are not averaged.
    """
    test, validation = _losses(lanes, "test"), _losses(lanes, "validation")
    if not len(spread):
        scores = np.where(np.isfinite(test), lanes["test_accuracy"][..., -1], np.nan)
        return nested(tried, parts, test, validation, scores, rows, outer, means)
    spread = np.where(spread > 0, spread, np.nan)
    if outer is not None:
        outer = outer._replace(score=1 - outer.loss / spread[outer_splits(parts)])
    scored = None
    if means is not None:

        def scored(number: int, members: tuple[int, ...]) -> tuple[float, float]:
            _, loss = means(number, members)
            return 1 - loss / spread[outer_splits(parts)[number]], loss

    return nested(tried, parts, test, validation, 1 - test / spread, 0, outer, scored)


def _losses(lanes: dict[str, np.ndarray], part: str) -> np.ndarray:
    return np.where(lanes["diverged_at"] < 0, lanes[f"{part}_loss"][..., -1], np.nan)


def _spread(table: PaddedRows, parts: Sequence[Split]) -> np.ndarray:
    spread = []
    for part in parts:
        w = table.w * ((table.folds[part.repeat] == part.test) | (part.test < 0))
        share, y = w / w.sum(), table.y.astype(np.float64)
        spread.append(share @ np.square(y - share @ y))
    return np.array(spread, np.float64)
