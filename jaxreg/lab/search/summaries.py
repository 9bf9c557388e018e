"""Functions for the numbers of a report. Each computes one number from a search that `open_search` has read.

Here, the score or loss of a search is that of the entire procedure, including the choice of a candidate. It is measured
on the outer folds, which are used neither for training nor for the choice.
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
    outer_splits,
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
        raise FileNotFoundError(f"there is no folder {folder}; expected the folder that `jaxreg search` wrote")
    if not (folder / "plan.json").exists():
        raise FileNotFoundError(
            f"{folder} has no plan.json; expected the folder that `jaxreg search` wrote. The `store` of `search` has "
            "only training runs: to keep a search from Python, use pickle.dump"
        )
    if not (folder / "verdict.json").exists():
        raise FileNotFoundError(f"the search in {folder} is unfinished. Run the same command again to finish it")
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
                for each in shaped(kept.methods, Shape(tuple(shape["hidden"]), shape["coding"]))
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
    """Return how much the search changes the loss on the outer folds, compared with no regulariser."""
    gain = search.found.loss_gain
    return dataclasses.replace(gain, mean=0.0 - gain.mean)


def loss_saved(search: Search) -> float:
    """Return the fraction by which the search lowers the loss, compared with no regulariser."""
    gain = search.found.loss_gain.mean
    return float(gain / (search.found.loss.mean + gain))


def errors_saved(search: Search) -> float:
    """Return the fraction by which the search lowers the number of errors, compared with no regulariser.

    NaN if there are no errors without a regulariser.
    """
    gain = search.found.score_gain.mean
    errors = 1 - (search.found.score.mean - gain)
    return float(gain / errors) if errors else float("nan")


def one_error_in(search: Search) -> float:
    """Return the number n in "one error in n", which the search avoids (or adds) compared with no regulariser.

    Infinity if the number of errors does not change.
    """
    share = abs(errors_saved(search))
    return 1 / share if share else float("inf")


def errors_needed(search: Search) -> float:
    """Return how many standard errors a mean change must exceed to be significant at 95 %, by Student's t."""
    return float(stdtrit(search.found.loss_gain.n - 1, 0.975))


def repeats_needed(search: Search) -> float:
    """Return the number of repeats that would make the gain in loss significant, if its mean and spread do not change.

    Infinity if `MOST_REPEATS` are not enough. All repeats use the same rows, so even many repeats may not be enough.
    """
    gain, ratio = search.found.loss_gain, 1 / (search.plan.folds - 1)
    spread = gain.error / (1 / gain.n + ratio) ** 0.5
    for repeats in range(search.plan.repeats + 1, MOST_REPEATS + 1):
        folds = repeats * search.plan.folds
        if gain.mean > stdtrit(folds - 1, 0.975) * spread * (1 / folds + ratio) ** 0.5:
            return repeats
    return float("inf")


def times_longer(search: Search) -> float:
    """Return about how many times as long a search with `repeats_needed` repeats would take. It is a whole number."""
    return float(np.ceil(repeats_needed(search) / search.plan.repeats))


def importance(search: Search, column: str) -> Estimate:
    """Return how much the loss increases when a column is permuted, on the outer folds of the first repeat.

    Raises:
        ValueError: If the importance of the column is unknown.
    """
    if search.details is None or column not in search.columns:
        columns = "" if search.details is None else ", ".join(map(repr, search.columns))
        expected = (
            f"one of the columns {columns}" if columns else "a search with importances, which a quick search skips"
        )
        raise ValueError(f"there is no importance for column {column!r}; expected {expected}")
    return search.details.importance[search.columns.index(column)]


def class_names(search: Search) -> list[str]:
    """Return the names of the classes whose recall is known. The list is empty for regression or a quick search."""
    return [] if search.model is None or search.details is None else list(map(spoken, search.model.classes))


def recall(search: Search, class_name: str) -> float:
    """Return the share of a class's rows that the networks predict correctly, on the outer folds of the first repeat.

    Args:
        search: Result of the search.
        class_name: Name of the class.

    Raises:
        ValueError: If the recall of the class is unknown.
    """
    names = class_names(search)
    if class_name not in names:
        expected = f"one of the classes {', '.join(map(repr, names))}" if names else "a full (not quick) classification"
        raise ValueError(f"there is no recall for class {class_name!r}; expected {expected}")
    assert search.details is not None
    return float(search.details.recall[names.index(class_name)])


def times_picked(search: Search, method: str) -> int:
    """Return the number of outer folds for which a method was chosen."""
    return search.found.tally(search.tried).get(method, 0)


def mean_score(search: Search, candidate: str) -> float:
    """Return the mean score of a candidate across the outer folds."""
    return float(search.found.scores[_place(search, candidate)].mean())


def mean_loss(search: Search, candidate: str) -> float:
    """Return the mean loss of a candidate across the outer folds."""
    return float(search.found.losses[_place(search, candidate)].mean())


def loss_gain(search: Search, candidate: str) -> float:
    """Return how much a candidate lowers the mean loss, compared with the same network without a regulariser."""
    return float(_gains(search, candidate).mean())


def change_in_loss(search: Search, candidate: str) -> Estimate:
    """Return how much a candidate changes the loss, compared with the same network without a regulariser."""
    return estimate(-_gains(search, candidate), 1 / (search.plan.folds - 1))


def change_in_score(search: Search, candidate: str) -> Estimate:
    """Return how much a candidate changes the score, compared with the same network without a regulariser."""
    scores, place = search.found.scores, _place(search, candidate)
    gains = scores[place] - scores[unregularised(search.tried, place)]
    return estimate(gains, 1 / (search.plan.folds - 1))


def best_candidate(search: Search) -> str:
    """Return the label of the candidate with the lowest mean loss across the outer folds."""
    means = search.found.losses.mean(axis=1)
    return search.tried[int(np.nanargmin(means))].label


def win_rate(search: Search, candidate: str) -> float:
    """Return the share of outer folds on which a candidate has a lower loss than its network without a regulariser.

    A tie counts one half.
    """
    gains = _gains(search, candidate)  # NaN if a training diverged
    return float(((1 + np.sign(gains)) / 2).mean())


def still_falls(search: Search, candidate: str) -> float:
    """Return how much the test loss still decreases just before the learning rate begins to decay, as a fraction.

    The result is the smallest relative decrease between successive points of the mean learning curve on the outer
    folds. Only the last three intervals are compared.
    """
    outer = outer_splits(search.parts)
    last = int(CONSTANT * search.setting.points)
    curve = search.lanes["test_loss"][_place(search, candidate), outer, last - 3 : last + 1].mean(axis=0)
    # A single decrease may only undo a spike of the loss, which training on batches sometimes causes.
    return float((1 - curve[1:] / curve[:-1]).min())


def rival_gain(search: Search, kind: str) -> Estimate:
    """Return the score of another model, such as boosted trees, minus the score of the networks.

    Args:
        search: Result of the search.
        kind: Name of the other model, from `jaxreg.lab.search.rivals.KINDS`.
    """
    assert search.rivals is not None
    mine = search.found.picked_scores[: search.plan.folds]
    return estimate(differences(search.rivals.score[KINDS.index(kind)], mine), 1 / (search.plan.folds - 1))


def gain_with_equal_rows(search: Search, kind: str) -> Estimate:
    """Return the score of another model minus the score of the networks, for new rows that include duplicates.

    A duplicate is a new row that equals a training row. The share of duplicates is assumed to be that in the table.

    Args:
        search: Result of the search.
        kind: Name of the other model, from `jaxreg.lab.search.rivals.KINDS`.
    """
    assert search.rivals is not None
    each = gaps(search.rivals, search.found.picked_scores[: search.plan.folds], search.equal_rows)
    return estimate(each[KINDS.index(kind)], 1 / (search.plan.folds - 1))


def best_model(search: Search) -> str:
    """Return the type of model that `any_model` chooses: `NETS`, or a name from `jaxreg.lab.search.rivals.KINDS`."""
    assert search.rivals is not None
    mine = search.found.picked_scores[: search.plan.folds], search.found.picked_losses[: search.plan.folds]
    return best_rival(search.rivals, *mine, search.equal_rows) or NETS


def equal_share(search: Search) -> float:
    """Return the share of duplicate rows. A duplicate row has the same inputs, target and fold as another row."""
    return 0.0 if search.equal_rows is None else search.equal_rows.share


def score_on_equal_rows(search: Search, model: str) -> float:
    """Return the mean score of a model on duplicates of its training rows.

    Args:
        search: Result of the search.
        model: "nets", or a name from `jaxreg.lab.search.rivals.KINDS`.
    """
    assert search.equal_rows is not None
    scores = search.equal_rows.score
    if model != NETS:
        assert search.rivals is not None
        scores = search.rivals.equal_rows[KINDS.index(model)]
    there = scores[np.isfinite(scores)]  # without folds that were trained on no such row
    return float(there.mean()) if there.size else float("nan")


def model_score(search: Search) -> Estimate:
    """Return the score of the final model (networks or another kind of model) on the outer folds."""
    if search.kept == NETS:
        return search.found.score
    score = estimate(_on_folds(search, search.kept)[0], 1 / (search.plan.folds - 1))
    return at_least_binomial(score, search.rows) if search.setting.task.classes else score


def model_loss(search: Search) -> Estimate:
    """Return the loss of the final model (networks or another kind of model) on the outer folds."""
    return (
        search.found.loss
        if search.kept == NETS
        else estimate(_on_folds(search, search.kept)[1], 1 / (search.plan.folds - 1))
    )


class ScoreRange(NamedTuple):
    """Confidence interval of a score: its two ends and its confidence level."""

    low: float
    high: float
    confidence: float


def score_range(search: Search) -> ScoreRange:
    """Return the 95 % confidence interval of the score of the final model on new rows."""
    score = model_score(search)
    return ScoreRange(max(0.0, score.low) if search.setting.task.classes else score.low, min(1.0, score.high), 0.95)


def score_over_constant(search: Search, model: str | None = None) -> Estimate:
    """Return the score of a model minus the score of a constant prediction.

    The constant prediction is the most frequent class for classification, and the mean of the target for regression.

    Args:
        search: Result of the search.
        model: "nets", or a name from `jaxreg.lab.search.rivals.KINDS`. None stands for the final model.
    """
    assert search.constant is not None
    scores, _ = _on_folds(search, model or search.kept)
    return estimate(differences(scores, search.constant.score[: len(scores)]), 1 / (search.plan.folds - 1))


def loss_over_constant(search: Search, model: str | None = None) -> Estimate:
    """Return the loss of a constant prediction minus the loss of a model.

    The constant prediction is the shares of the classes for classification, and the mean of the target for regression.

    Args:
        search: Result of the search.
        model: "nets", or a name from `jaxreg.lab.search.rivals.KINDS`. None stands for the final model.
    """
    assert search.constant is not None
    _, losses = _on_folds(search, model or search.kept)
    return estimate(differences(search.constant.loss[: len(losses)], losses), 1 / (search.plan.folds - 1))


def constant_score(search: Search) -> float:
    """Return the score of always predicting the most frequent class, or the mean, on the final model's outer folds."""
    assert search.constant is not None
    return float(search.constant.score[: model_score(search).n].mean())


def constant_loss(search: Search) -> float:
    """Return the loss of always predicting the shares of the classes, or the mean, on the outer folds."""
    assert search.constant is not None
    return float(search.constant.loss.mean())


def plain_score(search: Search) -> float:
    """Return the score that the chosen networks reach on the outer folds without a regulariser."""
    return search.found.score.mean - search.found.score_gain.mean


def plain_loss(search: Search) -> float:
    """Return the loss that the chosen networks reach on the outer folds without a regulariser."""
    return search.found.loss.mean + search.found.loss_gain.mean


def _on_folds(search: Search, model: str) -> tuple[np.ndarray, np.ndarray]:
    # Scores and losses of the model. Models other than nets have those of the first repeat only.
    if model == NETS:
        return search.found.picked_scores, search.found.picked_losses
    assert search.rivals is not None
    kind = KINDS.index(model)
    return search.rivals.score[kind], search.rivals.loss[kind]


def averaged(search: Search) -> int:
    """Return the number of networks that the final model averages, assuming that no training run diverged."""
    kinds = len(search.found.members)
    if search.setting.forward:
        return kinds * search.plan.repeats
    return kinds * (1 + search.plan.repeats * search.plan.folds) if search.outer is not None else 1


def units(search: Search, layer: str) -> int:
    """Return the number of units of a hidden layer in the first network architecture. Layers are numbered from 1."""
    return search.setting.hidden[int(layer) - 1]


def nets(search: Search) -> int:
    """Return the number of trained networks: one per candidate and split."""
    return len(search.tried) * len(search.parts)


def _place(search: Search, candidate: str) -> int:
    labels = [each.label for each in search.tried]
    if candidate not in labels:
        raise ValueError(f"there is no candidate {candidate!r}; expected one of {', '.join(labels)}")
    return labels.index(candidate)


def _gains(search: Search, candidate: str) -> np.ndarray:
    losses, place = search.found.losses, _place(search, candidate)
    return np.asarray(losses[unregularised(search.tried, place)] - losses[place])
