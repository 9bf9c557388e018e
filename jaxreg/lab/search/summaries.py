"""Figures of a search, each one call on what is read back from its folder."""

import dataclasses
import json
from pathlib import Path

import numpy as np

from jaxreg.lab.search.candidates import CONSTANT
from jaxreg.lab.search.fitted_model import load
from jaxreg.lab.search.folds import nested_splits
from jaxreg.lab.search.nested import Estimate, OuterFolds, estimate
from jaxreg.lab.search.plan import Plan, planned_for
from jaxreg.lab.search.run import Search, judged
from jaxreg.lab.sweeps.joined import open_store

__all__ = [
    "best_candidate",
    "change_in_loss",
    "change_in_score",
    "errors_saved",
    "loss_change",
    "loss_gain",
    "loss_saved",
    "mean_loss",
    "mean_score",
    "nets",
    "one_error_in",
    "open_search",
    "still_falls",
    "times_picked",
    "units",
    "win_rate",
]


def open_search(folder: Path) -> Search:
    """Read what `jaxreg search` wrote, and judge its trainings anew.

    Args:
        folder: Folder of the search.

    Raises:
        FileNotFoundError: If the folder does not exist, or the search is not finished.
        ValueError: If the search is damaged.
    """
    plan, verdict = (json.loads((folder / name).read_text("utf-8")) for name in ("plan.json", "verdict.json"))
    kept = Plan(**plan["plan"])
    model = load(folder / "model.safetensors")
    setting, tried, _ = planned_for(kept, len(model.classes), verdict["rows"])
    stored = open_store(folder / "trainings").load()
    lanes = {str(name): values.values for name, values in stored.items() if not str(name).startswith("params/")}
    parts = nested_splits(kept.repeats, kept.folds)
    spread = np.array(verdict["spread"], np.float64)
    # Without them, the search was one whose model is a single net.
    kept_folds = verdict.get("outer_folds")
    folds = kept_folds and OuterFolds(*(np.array(kept_folds[name], np.float64) for name in OuterFolds._fields))
    found = judged(tried, parts, lanes, spread, verdict["rows"], (lambda _: folds) if folds else None)
    return Search(kept, setting, tried, parts, lanes, spread, found, model.net, verdict["rows"])


def loss_change(search: Search) -> Estimate:
    """Return the loss of the whole procedure minus that of no regulariser, on the same outer folds."""
    gain = search.found.loss_gain
    return dataclasses.replace(gain, mean=0.0 - gain.mean)


def loss_saved(search: Search) -> float:
    """Return the share of the loss without a regulariser that the whole procedure saves on the outer folds."""
    return float(search.found.loss_gain.mean / search.found.outer.loss[1].mean())


def errors_saved(search: Search) -> float:
    """Return the share of the errors without a regulariser that the whole procedure saves; NaN if there are none."""
    errors = 1 - search.found.outer.score[1].mean()
    return float(search.found.score_gain.mean / errors) if errors else float("nan")


def one_error_in(search: Search) -> float:
    """Return n if the whole procedure saves, or adds, one n-th of the errors; infinite for no change."""
    share = abs(errors_saved(search))
    return 1 / share if share else float("inf")


def times_picked(search: Search, method: str) -> int:
    """Return the number of outer folds in which a method was chosen without them."""
    return search.found.tally(search.tried).get(method, 0)


def mean_score(search: Search, candidate: str) -> float:
    """Return the mean score of a candidate over the outer folds, by its label."""
    return float(search.found.scores[_place(search, candidate)].mean())


def mean_loss(search: Search, candidate: str) -> float:
    """Return the mean loss of a candidate over the outer folds."""
    return float(search.found.losses[_place(search, candidate)].mean())


def loss_gain(search: Search, candidate: str) -> float:
    """Return the mean loss of no regulariser minus that of a candidate."""
    return float(_gains(search, candidate).mean())


def change_in_loss(search: Search, candidate: str) -> Estimate:
    """Return the loss of a candidate minus that of no regulariser, over the outer folds."""
    return estimate(-_gains(search, candidate), 1 / (search.plan.folds - 1))


def change_in_score(search: Search, candidate: str) -> Estimate:
    """Return the score of a candidate minus that of no regulariser, over the outer folds."""
    scores = search.found.scores
    return estimate(scores[_place(search, candidate)] - scores[0], 1 / (search.plan.folds - 1))


def best_candidate(search: Search) -> str:
    """Return the label of the candidate with the least mean loss over the outer folds."""
    means = search.found.losses.mean(axis=1)
    return search.tried[int(np.nanargmin(means))].label


def win_rate(search: Search, candidate: str) -> float:
    """Return the share of the outer folds on which a candidate has less loss than no regulariser; a tie is a half."""
    gains = _gains(search, candidate)  # NaN if a training diverged
    return float(((1 + np.sign(gains)) / 2).mean())


def still_falls(search: Search, candidate: str) -> float:
    """Return the least share by which the loss fell to one of the last three points before the learning rate falls."""
    outer = [place for place, part in enumerate(search.parts) if part.test == part.validation >= 0]
    last = int(CONSTANT * search.setting.points)
    curve = search.lanes["test_loss"][_place(search, candidate), outer, last - 3 : last + 1].mean(axis=0)
    # A single fall may be that of a spike before it, which Adam makes on batches.
    return float((1 - curve[1:] / curve[:-1]).min())


def units(search: Search, layer: str) -> int:
    """Return the number of units of a hidden layer, counted from 1."""
    return search.setting.hidden[int(layer) - 1]


def nets(search: Search) -> int:
    """Return the number of nets trained: every candidate on every split."""
    return len(search.tried) * len(search.parts)


def _place(search: Search, candidate: str) -> int:
    labels = [each.label for each in search.tried]
    if candidate not in labels:
        raise ValueError(f"no candidate {candidate!r}; there are {', '.join(labels)}")
    return labels.index(candidate)


def _gains(search: Search, candidate: str) -> np.ndarray:
    losses = search.found.losses
    return np.asarray(losses[0] - losses[_place(search, candidate)])
