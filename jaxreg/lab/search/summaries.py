"""Functions for the numbers of a report. Each computes one number from a search that `open_search` has read.

The score is the accuracy for classification, and R² for regression. The loss is the cross-entropy in nats for
classification, and the squared error of the standardised target for regression.

Scores and losses are measured on the outer folds of the cross-validation. For each outer fold, the search chooses and
trains a candidate without the rows of this fold. A candidate is a network architecture and a regulariser with its
strength. The label of a candidate is, for example, "L2(0.01)", or "none" without a regulariser.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit

from jaxreg.lab.search.candidates import CONSTANT, Shape, shaped
from jaxreg.lab.search.clock import MOST_REPEATS
from jaxreg.lab.search.details import Details
from jaxreg.lab.search.equal_rows import EqualRows, best_rival, gaps
from jaxreg.lab.search.fitted_model import load
from jaxreg.lab.search.folds import forward_splits, nested_splits
from jaxreg.lab.search.groups import joined, repeat_folder
from jaxreg.lab.search.nested import (
    Estimate,
    OuterFolds,
    at_least_binomial,
    differences,
    estimate,
    is_forward,
    outer_splits,
    rows_ratio,
    unregularised,
)
from jaxreg.lab.search.plan import Plan, planned_for
from jaxreg.lab.search.rivals import KINDS, Rivals
from jaxreg.lab.search.run import NETS, Caller, Search, judged
from jaxreg.lab.sweeps.joined import open_store
from jaxreg.lab.tabular.encoding import spoken

__all__ = [
    "averaged",
    "best_candidate",
    "change_in_loss",
    "change_in_score",
    "constant_loss",
    "constant_score",
    "equal_share",
    "errors_needed",
    "errors_saved",
    "gain_with_equal_rows",
    "importance",
    "loss_change",
    "loss_gain",
    "loss_over_constant",
    "loss_saved",
    "mean_loss",
    "mean_score",
    "model_loss",
    "model_score",
    "nets",
    "one_error_in",
    "open_search",
    "plain_loss",
    "plain_score",
    "recall",
    "repeats_needed",
    "rival_gain",
    "score_on_equal_rows",
    "score_over_constant",
    "score_range",
    "still_falls",
    "times_longer",
    "times_picked",
    "units",
    "win_rate",
]


def open_search(folder: Path | str) -> Search:
    """Read the results of `jaxreg search` from a folder. The scores are recomputed from the stored training runs.

    Args:
        folder: Folder of the search.

    Raises:
        FileNotFoundError: If the folder does not exist, or the search is unfinished.
        ValueError: If a file of the search is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {str(folder)!r}; expected the folder that `jaxreg search` wrote")
    if not (folder / "plan.json").exists():
        raise FileNotFoundError(
            f"the folder {str(folder)!r} has no plan.json; expected a folder that the command `jaxreg search` wrote. "
            "The Python function `search` writes only training runs to its folder `store`. To save the result of this "
            "function, use pickle.dump"
        )
    if not (folder / "verdict.json").exists():
        raise FileNotFoundError(
            f"the search in the folder {str(folder)!r} is unfinished. Run the same command again to finish it"
        )
    plan, verdict = (json.loads((folder / name).read_text("utf-8")) for name in ("plan.json", "verdict.json"))
    kept = Plan(**plan["plan"])
    model = load(folder / "model.safetensors")
    setting, tried, _ = planned_for(kept, len(model.classes), verdict["rows"])
    stores = [folder / "trainings"]
    outer = rivals = constant = means = equal_rows = None
    # Older searches, whose model is a single network, have no such file.
    if (folder / "folds.json").exists():
        kept_folds = json.loads((folder / "folds.json").read_text("utf-8"))
        outer = OuterFolds(*(np.array(kept_folds[name], np.float64) for name in OuterFolds._fields))
        tried = [
            *tried,
            *(
                each
                for shape in kept_folds["shapes"]
                for each in shaped(Shape(tuple(shape["hidden"]), shape["coding"]))
            ),
        ]
        constant = Rivals(**{name: np.array(each, np.float64) for name, each in kept_folds["constant"].items()})
        # A search without these has the networks of one candidate as its model.
        if "means" in kept_folds:
            means = {
                (each["fold"], tuple(each["members"])): (each["score"], each["loss"]) for each in kept_folds["means"]
            }
        if kept_folds["rivals"]:
            rivals = Rivals(**{name: np.array(each, np.float64) for name, each in kept_folds["rivals"].items()})
        if kept_folds.get("equal_rows"):
            told = kept_folds["equal_rows"]
            equal_rows = EqualRows(told["share"], np.array(told["score"], np.float64))
        stores += [folder / f"trainings-{place}" for place in range(1, 1 + len(kept_folds["shapes"]))]
    forward = outer is not None and bool(kept_folds["forward"])
    repeats = 1 if outer is None else kept_folds.get("repeats", 1)
    stored = [[_curves(_of_repeat(place, repeat)) for repeat in range(repeats)] for place in stores]
    each = [joined(found, forward=forward) if repeats > 1 else found[0] for found in stored]
    lanes = {name: np.concatenate([group[name] for group in each]) for name in each[0]}
    kept = dataclasses.replace(kept, repeats=max(kept.repeats, repeats))
    setting = dataclasses.replace(setting, forward=forward)
    parts = (forward_splits if forward else nested_splits)(kept.repeats, kept.folds)
    spread = np.array(verdict["spread"], np.float64)
    mean_of = None if means is None else lambda number, members: means[number, members]
    found = judged(tried, parts, lanes, spread, verdict["rows"], outer, mean_of)
    return Search(
        kept,
        setting,
        tried,
        parts,
        lanes,
        spread,
        outer,
        rivals,
        constant,
        found,
        model.net,
        verdict.get("model", NETS),
        verdict["rows"],
        None if outer is None else _details(kept_folds.get("details")),
        model=model,
        columns=() if outer is None else tuple(kept_folds.get("columns", ())),
        means=means,
        equal_rows=equal_rows,
        notes=tuple(verdict.get("notes", ())),
        caller=Caller("command", plan["request"]["budget"] is not None),
    )


def _details(told: dict[str, Any] | None) -> Details | None:
    if told is None:
        return None
    recall, auc = (np.array(told[name], np.float64) for name in ("recall", "auc"))
    return Details(recall, auc, [_estimate(**each) for each in told["importance"]])


def _estimate(mean: float | None, error: float | None, n: int) -> Estimate:
    return Estimate(np.nan if mean is None else mean, np.nan if error is None else error, n)


def _of_repeat(store: Path, repeat: int) -> Path:
    # The folder name of every network but the first ends with the number of the network.
    name, _, number = store.name.partition("-")
    first = repeat_folder(store.with_name(name), repeat)
    return first.with_name(f"{first.name}-{number}") if number else first


def _curves(store: Path) -> dict[str, np.ndarray]:
    loaded = open_store(store).load()
    return {str(name): loaded[name].values for name in loaded.data_vars if not str(name).startswith("params/")}


def loss_change(search: Search) -> Estimate:
    """Return the loss of the chosen networks minus the loss of networks like them, but without a regulariser.

    For each outer fold, the networks that the search chooses are compared with networks of the same architecture, but
    without a regulariser. A negative mean shows that the search lowers the loss.

    Returns:
        Mean over the outer folds, with its standard error.
    """
    gain = search.found.loss_gain
    return dataclasses.replace(gain, mean=0.0 - gain.mean)


def loss_saved(search: Search) -> float:
    """Return the relative reduction of the loss by the search, compared with no regulariser: 0.2 for a 20 % lower loss.

    Both losses are means over the outer folds. The result is negative if the search raises the loss.
    """
    gain = search.found.loss_gain.mean
    return float(gain / (search.found.loss.mean + gain))


def errors_saved(search: Search) -> float:
    """Return the relative reduction of the errors by the search, compared with no regulariser: 0.2 for 20 % fewer.

    For classification, the errors are the share of misclassified rows on the outer folds. For regression, they are
    1 - R². The result is negative if the search makes more errors. It is NaN if there are no errors without a
    regulariser.
    """
    gain = search.found.score_gain.mean
    errors = 1 - (search.found.score.mean - gain)
    return float(gain / errors) if errors else float("nan")


def one_error_in(search: Search) -> float:
    """Return n such that the search avoids one of every n errors that are made without a regulariser.

    This is n = 1 / |`errors_saved`|, where `errors_saved` is the share of these errors that the search avoids. If the
    search makes more errors instead, it adds one error to every n. If the number of errors does not change, n is
    infinity.
    """
    share = abs(errors_saved(search))
    return 1 / share if share else float("inf")


def errors_needed(search: Search) -> float:
    """Return the number of standard errors by which a mean change must differ from 0 to be statistically significant.

    The change is that of the score or the loss, compared with no regulariser. For n outer folds, the result is the
    97.5 % quantile of Student's t distribution with n - 1 degrees of freedom.
    """
    return float(stdtrit(search.found.loss_gain.n - 1, 0.975))


def repeats_needed(search: Search) -> float:
    """Return the number of repeats of the cross-validation that would make the reduction of the loss significant.

    The reduction is the loss without a regulariser minus the loss of the networks that the search chooses. Its mean and
    its spread over the outer folds are assumed to stay the same. The result is always above the number of repeats in
    `search`, even if the reduction is already significant. The result is infinity if 100 repeats (`MOST_REPEATS`) are
    not enough. All repeats use the same rows, so even many repeats may not be enough. If later rows are predicted from
    earlier rows, all repeats would have the same folds, and the result is infinity.
    """
    if is_forward(search.parts):
        return float("inf")
    gain, ratio = search.found.loss_gain, rows_ratio(search.parts)
    spread = gain.error / (1 / gain.n + ratio) ** 0.5
    for repeats in range(search.plan.repeats + 1, MOST_REPEATS + 1):
        folds = repeats * search.plan.folds
        if gain.mean > stdtrit(folds - 1, 0.975) * spread * (1 / folds + ratio) ** 0.5:
            return repeats
    return float("inf")


def times_longer(search: Search) -> float:
    """Return how many times as long this search would take with the number of repeats that `repeats_needed` returns.

    With this number of repeats, the reduction of the loss, compared with no regulariser, would be significant (see
    `jaxreg.lab.search.repeats_needed`). The time is assumed to be proportional to the number of repeats. The result is
    rounded up to a whole number. It is infinity if `repeats_needed` is infinity, for example because 100 repeats are
    not enough.
    """
    return float(np.ceil(repeats_needed(search) / search.plan.repeats))


def importance(search: Search, column: str) -> Estimate:
    """Return the increase of the loss when the values of a column are permuted.

    The loss is that of the chosen networks on the outer folds of the first repeat. A positive mean shows that the
    networks use the column.

    Args:
        search: Result of the search.
        column: Name of the column.

    Returns:
        Mean over the outer folds of the first repeat, with its standard error.

    Raises:
        ValueError: If the table has no such input column, or the importances were not measured. Only the command
            `jaxreg search` without `--quick` measures them.
    """
    if search.details is None or column not in search.columns:
        columns = "" if search.details is None else ", ".join(map(repr, search.columns))
        expected = (
            f"one of the columns {columns}" if columns else "a search with importances, which a quick search skips"
        )
        raise ValueError(f"there is no importance for column {column!r}; expected {expected}")
    return search.details.importance[search.columns.index(column)]


def class_names(search: Search) -> list[str]:
    """Return the names of the classes whose recall was measured.

    Only the command `jaxreg search` without `--quick` measures the recall. Otherwise, and for regression, the list is
    empty.
    """
    return [] if search.model is None or search.details is None else list(map(spoken, search.model.classes))


def recall(search: Search, class_name: str) -> float:
    """Return the share of a class's rows that are predicted correctly.

    The rows are those of all outer folds of the first repeat. Each fold is predicted by the networks that the search
    chooses for this fold and trains without its rows.

    Args:
        search: Result of the search.
        class_name: Name of the class.

    Raises:
        ValueError: If the target has no such class, or the recall was not measured. Only the command `jaxreg search`
            without `--quick` measures it.
    """
    names = class_names(search)
    if class_name not in names:
        expected = f"one of the classes {', '.join(map(repr, names))}" if names else "a full (not quick) classification"
        raise ValueError(f"there is no recall for class {class_name!r}; expected {expected}")
    assert search.details is not None
    return float(search.details.recall[names.index(class_name)])


def times_picked(search: Search, method: str) -> int:
    """Return the number of outer folds for which the search chose a candidate of a method.

    Args:
        search: Result of the search.
        method: Name of the method, such as "L2" or "none".
    """
    return search.found.tally(search.tried).get(method, 0)


def mean_score(search: Search, candidate: str) -> float:
    """Return the mean score of a candidate over the outer folds. NaN if a training run of the candidate diverged there.

    Args:
        search: Result of the search.
        candidate: Label of the candidate, such as "L2(0.01)".

    Raises:
        ValueError: If the search has no candidate with this label.
    """
    return float(search.found.scores[_place(search, candidate)].mean())


def mean_loss(search: Search, candidate: str) -> float:
    """Return the mean loss of a candidate over the outer folds. NaN if a training run of the candidate diverged there.

    Args:
        search: Result of the search.
        candidate: Label of the candidate, such as "L2(0.01)".

    Raises:
        ValueError: If the search has no candidate with this label.
    """
    return float(search.found.losses[_place(search, candidate)].mean())


def loss_gain(search: Search, candidate: str) -> float:
    """Return the mean loss without a regulariser minus the mean loss of a candidate, on the outer folds.

    Both losses are measured with the same network architecture, that of the candidate. The result is a difference, not
    a ratio. It is positive if the candidate's loss is lower.

    Args:
        search: Result of the search.
        candidate: Label of the candidate, such as "L2(0.01)".

    Raises:
        ValueError: If the search has no candidate with this label.
    """
    return float(_gains(search, candidate).mean())


def change_in_loss(search: Search, candidate: str) -> Estimate:
    """Return the loss of a candidate minus the loss of the same network architecture without a regulariser.

    A negative mean shows that the candidate's loss is lower.

    Args:
        search: Result of the search.
        candidate: Label of the candidate, such as "L2(0.01)".

    Returns:
        Mean over the outer folds, with its standard error.

    Raises:
        ValueError: If the search has no candidate with this label.
    """
    return estimate(-_gains(search, candidate), rows_ratio(search.parts))


def change_in_score(search: Search, candidate: str) -> Estimate:
    """Return the score of a candidate minus the score of the same network architecture without a regulariser.

    The score is the accuracy for classification, and R² for regression. A positive mean shows that the candidate is
    better.

    Args:
        search: Result of the search.
        candidate: Label of the candidate, such as "L2(0.01)".

    Returns:
        Mean over the outer folds, with its standard error.

    Raises:
        ValueError: If the search has no candidate with this label.
    """
    scores, place = search.found.scores, _place(search, candidate)
    gains = scores[place] - scores[unregularised(search.tried, place)]
    return estimate(gains, rows_ratio(search.parts))


def best_candidate(search: Search) -> str:
    """Return the label of the candidate with the lowest mean loss over the outer folds, such as "L2(0.01)"."""
    means = search.found.losses.mean(axis=1)
    return search.tried[int(np.nanargmin(means))].label


def win_rate(search: Search, candidate: str) -> float:
    """Return the share of outer folds on which a candidate beats the same network architecture without a regulariser.

    On each fold, the lower loss wins. A tie counts one half. The result is NaN if a training run for one of these
    losses diverged.

    Args:
        search: Result of the search.
        candidate: Label of the candidate, such as "L2(0.01)".

    Raises:
        ValueError: If the search has no candidate with this label.
    """
    gains = _gains(search, candidate)  # NaN if a training diverged
    return float(((1 + np.sign(gains)) / 2).mean())


def still_falls(search: Search, candidate: str) -> float:
    """Return the relative decrease of a candidate's test loss, just before the learning rate begins to decay.

    The learning rate begins to decay after three quarters of the epochs. The learning curve is averaged over the outer
    folds. Of this averaged curve, the part before the decay is used, and of this part the last four points. They give
    three relative decreases, each from one point to the next. The result is the smallest of the three. So 0.02 means
    that the loss falls by at least 2 % from point to point. The result is negative if the loss rises between two of the
    points.

    Args:
        search: Result of the search.
        candidate: Label of the candidate, such as "L2(0.01)".

    Raises:
        ValueError: If the search has no candidate with this label.
    """
    outer = outer_splits(search.parts)
    last = int(CONSTANT * search.setting.points)
    curve = search.lanes["test_loss"][_place(search, candidate), outer, last - 3 : last + 1].mean(axis=0)
    # A single decrease may only undo a spike of the loss, which training on batches sometimes causes.
    return float((1 - curve[1:] / curve[:-1]).min())


def rival_gain(search: Search, kind: str) -> Estimate:
    """Return the score of another model, such as boosted trees, minus the score of the networks.

    The networks are those that the search chooses for each outer fold. The score is the accuracy for classification,
    and R² for regression. A positive mean shows that the other model is better.

    Args:
        search: Result of a search with `rivals` or `any_model`.
        kind: Name of the other model: "linear model", "boosted trees" or "forest".

    Returns:
        Mean over the outer folds of the first repeat, with its standard error.
    """
    assert search.rivals is not None
    mine = search.found.picked_scores[: search.plan.folds]
    return estimate(differences(search.rivals.score[KINDS.index(kind)], mine), rows_ratio(search.parts))


def gain_with_equal_rows(search: Search, kind: str) -> Estimate:
    """Return another model's score minus the networks' score, on new rows of which some equal training rows.

    The result is a weighted mean of two differences of scores: on rows with new inputs (`rival_gain`), and on training
    rows that occur several times (see `score_on_equal_rows`). The weight of the second difference is `equal_share`, the
    share of the table's rows that equal another row. This assumes that copies of training rows are as frequent among
    new rows as in the table. If the share is at most 2 %, it counts as 0. A positive mean shows that the other model is
    better.

    Args:
        search: Result of a search with `rivals` or `any_model`.
        kind: Name of the other model: "linear model", "boosted trees" or "forest".

    Returns:
        Mean over the outer folds of the first repeat, with its standard error.
    """
    assert search.rivals is not None
    each = gaps(search.rivals, search.found.picked_scores[: search.plan.folds], search.equal_rows)
    return estimate(each[KINDS.index(kind)], rows_ratio(search.parts))


def best_model(search: Search) -> str:
    """Return the type of model that a search with `any_model` chooses.

    Returns:
        "nets", "linear model", "boosted trees" or "forest".
    """
    assert search.rivals is not None
    mine = search.found.picked_scores[: search.plan.folds], search.found.picked_losses[: search.plan.folds]
    return best_rival(search.rivals, *mine, search.equal_rows) or NETS


def equal_share(search: Search) -> float:
    """Return the share of the table's rows that equal another row in inputs and target, weighted by the sample weights.

    A search usually merges rows with equal inputs and equal target into one row. If it merges no rows, the result is 0,
    even if the table has equal rows. The search merges no rows if there are groups, times or given folds. It also
    merges none if inputs repeat very often: if each distinct combination of inputs occurs in more than five rows on
    average, or if there are fewer distinct combinations than folds.
    """
    return 0.0 if search.equal_rows is None else search.equal_rows.share


def score_on_equal_rows(search: Search, model: str) -> float:
    """Return the mean score of a model on duplicate training rows: rows that occur several times in the table.

    Duplicate rows have equal inputs and equal targets, and are always in the same fold. The result is the score to
    expect on new rows that equal a training row. For each outer fold of the first repeat, the model is trained on the
    rows outside the fold. It is then scored on the duplicate rows among its own training rows. A fold is left out if
    its model has no such training rows. The score is the accuracy for classification, and R² for regression.

    Args:
        search: Result of the search. Its `equal_share` must be above 0.
        model: Type of model: "nets" for the networks that the search chooses for each outer fold, or "linear model",
            "boosted trees" or "forest".
    """
    assert search.equal_rows is not None
    scores = search.equal_rows.score
    if model != NETS:
        assert search.rivals is not None
        scores = search.rivals.equal_rows[KINDS.index(model)]
    there = scores[np.isfinite(scores)]  # without folds that were trained on no such row
    return float(there.mean()) if there.size else float("nan")


def model_score(search: Search) -> Estimate:
    """Return the score to expect from the final model on new rows: the accuracy for classification, R² for regression.

    The score is measured on the outer folds. For each outer fold, networks are chosen and trained without the rows of
    this fold. If the search ran with `any_model`, the final model may be of another type, such as boosted trees. The
    score is then that of models of this type. For each outer fold of the first repeat of the cross-validation, such a
    model is trained without the rows of the fold.

    Returns:
        Mean over the outer folds, with its standard error.
    """
    if search.kept == NETS:
        return search.found.score
    score = estimate(_on_folds(search, search.kept)[0], rows_ratio(search.parts))
    return at_least_binomial(score, search.rows) if search.setting.task.classes else score


def model_loss(search: Search) -> Estimate:
    """Return the loss to expect from the final model on new rows, measured on the same folds as `model_score`.

    The loss is the cross-entropy in nats for classification. For regression, it is the squared error of the
    standardised target.

    Returns:
        Mean over the outer folds, with its standard error.
    """
    return (
        search.found.loss
        if search.kept == NETS
        else estimate(_on_folds(search, search.kept)[1], rows_ratio(search.parts))
    )


class ScoreRange(NamedTuple):
    """Confidence interval of a score: its two ends and its confidence level."""

    low: float
    high: float
    confidence: float


def score_range(search: Search) -> ScoreRange:
    """Return the 95 % confidence interval of `model_score`, the score to expect from the final model on new rows.

    The upper end is at most 1. For classification, the lower end is at least 0.
    """
    score = model_score(search)
    return ScoreRange(max(0.0, score.low) if search.setting.task.classes else score.low, min(1.0, score.high), 0.95)


def score_over_constant(search: Search, model: str | None = None) -> Estimate:
    """Return the score of a model minus the score of a constant prediction, on the outer folds.

    A positive mean difference shows that the model is better. The constant prediction is the most frequent class of the
    training rows. For regression, it is the mean of the target over these rows.

    Args:
        search: Result of the search.
        model: Type of model: "nets" for the networks that the search chooses for each outer fold, or "linear model",
            "boosted trees" or "forest". None for the type of the final model.

    Returns:
        Mean over the outer folds, with its standard error. For other models than networks, the folds are those of the
        first repeat.
    """
    assert search.constant is not None
    scores, _ = _on_folds(search, model or search.kept)
    return estimate(differences(scores, search.constant.score[: len(scores)]), rows_ratio(search.parts))


def loss_over_constant(search: Search, model: str | None = None) -> Estimate:
    """Return the reduction of the loss by a model: the loss of a constant prediction minus the loss of the model.

    A positive mean reduction shows that the model is better. The losses are those on the outer folds. The constant
    prediction gives each class its share of the training rows as probability. For regression, it is the mean of the
    target over these rows.

    Args:
        search: Result of the search.
        model: Type of model: "nets" for the networks that the search chooses for each outer fold, or "linear model",
            "boosted trees" or "forest". None for the type of the final model.

    Returns:
        Mean over the outer folds, with its standard error. For other models than networks, the folds are those of the
        first repeat.
    """
    assert search.constant is not None
    _, losses = _on_folds(search, model or search.kept)
    return estimate(differences(search.constant.loss[: len(losses)], losses), rows_ratio(search.parts))


def constant_score(search: Search) -> float:
    """Return the mean score of a constant prediction, on the same outer folds as `model_score`.

    If the final model consists of one or more networks, these are the folds of all repeats. If it is of another type,
    such as boosted trees, these are the folds of the first repeat. For classification, the constant prediction is the
    most frequent class of the training rows. For regression, it is the mean of the target over these rows.
    """
    assert search.constant is not None
    return float(search.constant.score[: model_score(search).n].mean())


def constant_loss(search: Search) -> float:
    """Return the mean loss of a constant prediction on the outer folds of all repeats.

    For classification, the constant prediction gives each class its share of the training rows as probability. For
    regression, it is the mean of the target over these rows.
    """
    assert search.constant is not None
    return float(search.constant.loss.mean())


def plain_score(search: Search) -> float:
    """Return the mean score, on the outer folds, of networks like the chosen ones, but without a regulariser.

    For each outer fold, the candidate that the search chooses is replaced by the candidate with the same network
    architecture and no regulariser.
    """
    return search.found.score.mean - search.found.score_gain.mean


def plain_loss(search: Search) -> float:
    """Return the mean loss, on the outer folds, of networks like the chosen ones, but without a regulariser.

    For each outer fold, the candidate that the search chooses is replaced by the candidate with the same network
    architecture and no regulariser.
    """
    return search.found.loss.mean + search.found.loss_gain.mean


def _on_folds(search: Search, model: str) -> tuple[np.ndarray, np.ndarray]:
    # Scores and losses of the model. Models other than nets have those of the first repeat only.
    if model == NETS:
        return search.found.picked_scores, search.found.picked_losses
    assert search.rivals is not None
    kind = KINDS.index(model)
    return search.rivals.score[kind], search.rivals.loss[kind]


def averaged(search: Search) -> int:
    """Return the number of networks that the final model averages, assuming that no training run diverged.

    If `any_model=True` has replaced the networks by a linear model or trees, the result is the number of networks that
    would have been averaged.
    """
    kinds = len(search.found.members)
    if search.setting.forward:
        return kinds * search.plan.repeats
    return kinds * (1 + search.plan.repeats * search.plan.folds) if search.outer is not None else 1


def units(search: Search, layer: str) -> int:
    """Return the number of units of a hidden layer.

    If the search tried two network architectures, the result is for the first one.

    Args:
        search: Result of the search.
        layer: Number of the layer, as text: "1" for the first hidden layer.
    """
    return search.setting.hidden[int(layer) - 1]


def nets(search: Search) -> int:
    """Return the number of trained networks: one per candidate and split.

    A split leaves out two folds of the table, one fold or none. The network is trained on the other folds. The folds
    that are left out serve to choose or to test candidates. `Search.parts` lists all splits.
    """
    return len(search.tried) * len(search.parts)


def _place(search: Search, candidate: str) -> int:
    labels = [each.label for each in search.tried]
    if candidate not in labels:
        raise ValueError(f"there is no candidate {candidate!r}; expected one of {', '.join(map(repr, labels))}")
    return labels.index(candidate)


def _gains(search: Search, candidate: str) -> np.ndarray:
    losses, place = search.found.losses, _place(search, candidate)
    return np.asarray(losses[unregularised(search.tried, place)] - losses[place])
