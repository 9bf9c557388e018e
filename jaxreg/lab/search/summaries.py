"""The figures of a search, each one call on what is read back from its folder."""

import dataclasses
import json
from pathlib import Path

import numpy as np

from jaxreg.lab.search import fitted_model as model_file
from jaxreg.lab.search.candidates import CONSTANT
from jaxreg.lab.search.folds import splits
from jaxreg.lab.search.nested import Estimate
from jaxreg.lab.search.plan import Plan, planned_for
from jaxreg.lab.search.run import Search, judged
from jaxreg.lab.sweeps.dataset import open_store


def open_search(folder: Path) -> Search:
    """Read what `jaxreg search` wrote, and judge its trainings anew.

    Args:
        folder: The folder.

    Raises:
        FileNotFoundError: If there is none, or the search isn't finished.
        ValueError: If it is damaged.
    """
    plan, verdict = (json.loads((folder / name).read_text("utf-8")) for name in ("plan.json", "verdict.json"))
    kept = Plan(**plan["plan"])
    model = model_file.load(folder / "model.safetensors")
    setting, tried, _ = planned_for(kept, model.task, len(model.classes), verdict["rows"])
    stored = open_store(folder / "trainings").load()
    lanes = {str(name): values.values for name, values in stored.items() if not str(name).startswith("params/")}
    parts = splits(kept.repeats, kept.folds)
    spread = np.array(verdict["spread"], np.float64)
    found = judged(tried, parts, lanes, spread, verdict["rows"])
    return Search(model.task, kept, setting, tried, parts, lanes, spread, found, model.net, verdict["rows"])


def score(search: Search) -> Estimate:
    """Accuracy or R² of the whole procedure on outer folds that neither chose nor trained."""
    return search.found.score


def loss(search: Search) -> Estimate:
    """Its loss, likewise."""
    return search.found.loss


def score_gain(search: Search) -> Estimate:
    """What it gains in score over no regulariser on the same outer folds."""
    return search.found.score_gain


def loss_change(search: Search) -> Estimate:
    """By how much its loss is above that of no regulariser on the same outer folds."""
    gain = search.found.loss_gain
    return dataclasses.replace(gain, mean=0.0 - gain.mean)


def outer_folds(search: Search) -> int:
    """How many outer folds there are, over all repeats."""
    return len(search.found.picks)


def times_picked(search: Search, method: str) -> int:
    """In how many outer folds a method was chosen without them."""
    return search.found.tally(search.tried).get(method, 0)


def mean_score(search: Search, candidate: str) -> float:
    """Mean score of a candidate over the outer folds, by its label."""
    return float(search.found.scores[_place(search, candidate)].mean())


def mean_loss(search: Search, candidate: str) -> float:
    """Mean loss of a candidate over the outer folds."""
    return float(search.found.losses[_place(search, candidate)].mean())


def gain(search: Search, candidate: str) -> float:
    """By how much its mean loss is below that of no regulariser."""
    return float(_gains(search, candidate).mean())


def better(search: Search, candidate: str) -> float:
    """The share of the outer folds on which its loss is below that of no regulariser; a tie counts one half."""
    gains = _gains(search, candidate)  # NaN where a training diverged
    return float(((1 + np.sign(gains)) / 2).mean())


def still_falls(search: Search, candidate: str) -> float:
    """The least share by which its loss fell to one of the last three points before the learning rate falls."""
    outer = [place for place, part in enumerate(search.parts) if part.test == part.validation >= 0]
    last = int(CONSTANT * search.setting.points)
    curve = search.lanes["test_loss"][_place(search, candidate), outer, last - 3 : last + 1].mean(axis=0)
    # A single fall may be that of a spike before it, which Adam makes on batches.
    return float((1 - curve[1:] / curve[:-1]).min())


def candidates(search: Search) -> int:
    """How many candidates there are."""
    return len(search.tried)


def trainings(search: Search) -> int:
    """How many times each was trained."""
    return len(search.parts)


def nets(search: Search) -> int:
    """How many nets were trained in all."""
    return len(search.tried) * len(search.parts)


def diverged(search: Search) -> int:
    """How many trainings diverged."""
    return search.diverged


def rows(search: Search) -> int:
    """How many rows were trained on; equal ones that stay together are one."""
    return search.rows


def hidden(search: Search) -> int:
    """How many hidden units a net has."""
    return search.setting.hidden


def epochs(search: Search) -> int:
    """How many times a training passes over its rows."""
    return search.setting.epochs


def folds(search: Search) -> int:
    """How many folds there are."""
    return search.plan.folds


def repeats(search: Search) -> int:
    """How often the rows were dealt to folds."""
    return search.plan.repeats


def seed(search: Search) -> int:
    """The seed of folds and initial weights."""
    return search.plan.seed


def _place(search: Search, candidate: str) -> int:
    labels = [each.label for each in search.tried]
    if candidate not in labels:
        raise ValueError(f"no candidate {candidate!r}; there are {', '.join(labels)}")
    return labels.index(candidate)


def _gains(search: Search, candidate: str) -> np.ndarray:
    losses = search.found.losses
    return np.asarray(losses[0] - losses[_place(search, candidate)])
