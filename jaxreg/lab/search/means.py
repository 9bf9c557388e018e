"""The mean of nets of one candidate: as the model, and on the folds that none of its nets has seen.

The trainings that leave out a fold of a repeat are one on all other rows and one for each inner fold. Their mean is
judged on that fold. The model is the mean of the net of all rows and of those that leave out one fold each, so that its
nets see more rows than those of the estimate, and there are more of them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxreg.lab.search.fitted_model import LEAST, Net, shares
from jaxreg.lab.search.folds import PaddedRows, Setting, Split, trained_on
from jaxreg.lab.search.nested import OuterFolds, outer_splits

Arrays = dict[str, np.ndarray]
"""Path -> weights; those of several nets have an axis more, the first."""


class Scales(NamedTuple):
    """Standardisation of inputs and target by the rows of one training.

    Args:
        mean: Mean of each input.
        scale: Standard deviation of each input, 1 for those that are centred only.
        middle: Mean of the target; 0 for classes.
        spread: Standard deviation of the target; 1 for classes.
    """

    mean: np.ndarray
    scale: np.ndarray
    middle: float
    spread: float


def scales(setting: Setting, table: PaddedRows, split: Split) -> Scales:
    """Return the standardisation that a training applies.

    Args:
        setting: The static part of the training.
        table: The rows.
        split: The folds that it left out.
    """
    w = trained_on(table.folds[split.repeat], table.w.astype(np.float64), split, forward=setting.forward)
    rows, x = w / w.sum(), table.x.astype(np.float64)
    mean = rows @ x
    variance = rows @ np.square(x) - np.square(mean)
    scale = np.sqrt(np.where((table.scaled > 0) & (variance > 1e-6), variance, 1))
    if setting.task.classes:
        return Scales(mean, scale, 0.0, 1.0)
    middle = rows @ table.y
    return Scales(mean, scale, middle, np.sqrt(max(rows @ np.square(table.y - middle), 1e-6)))


def mean_net(
    setting: Setting,
    parts: Sequence[Split],
    scaled: Sequence[Scales],
    lanes: dict[str, np.ndarray],
    place: int,
    outer: Split | None = None,
) -> Arrays:
    """Return the nets of a candidate whose mean is the model, or is judged on an outer fold.

    Args:
        setting: The static part of the trainings.
        parts: The splits.
        scaled: The scales of each split, which are folded into the weights here.
        lanes: Results of all trainings with their weights, as `jaxreg.lab.search.folds.train` returns them.
        place: Place of the candidate.
        outer: The outer fold, or None for the model. Nets that diverged are left out.
    """
    if setting.forward:
        wanted = -1 if outer is None else outer.test
        mine = [at for at, part in enumerate(parts) if part.test == wanted]
    elif outer is None:
        mine = [at for at, part in enumerate(parts) if part.test == part.validation]
    else:
        mine = [at for at, part in enumerate(parts) if part.repeat == outer.repeat and outer.test in part[1:]]
    kept = [at for at in mine if lanes["diverged_at"][place, at] < 0] or mine[-1:]
    nets = []
    for at in kept:
        net = {path: lanes[f"params/{path}"][place, at].astype(np.float64) for path in setting.weights}
        mean, scale, middle, spread = scaled[at]
        net["hidden/kernel"] /= scale[:, None]
        net["hidden/bias"] -= mean @ net["hidden/kernel"]
        net["output/kernel"] *= spread
        net["output/bias"] = middle + spread * net["output/bias"]
        nets.append(net)
    return {path: np.stack([net[path] for net in nets]).astype(np.float32) for path in setting.weights}


def on_outer_folds(
    setting: Setting,
    table: PaddedRows,
    parts: Sequence[Split],
    scaled: Sequence[Scales],
    lanes: dict[str, np.ndarray],
) -> OuterFolds:
    """Return scores, losses and ambiguities of the means of nets of each candidate on each outer fold.

    Args:
        setting: The static part of the trainings.
        table: The rows.
        parts: The splits.
        scaled: The scales of each split.
        lanes: Results of all trainings with their weights.
    """
    found = []
    for at in outer_splits(parts):
        mine = (table.folds[parts[at].repeat] == parts[at].test) & (table.w > 0)
        x, y, w = table.x[mine], table.y[mine], table.w[mine].astype(np.float64)
        share = w / w.sum()
        one = np.ones(x.shape[1])
        plain = {"mean": 0 * one, "scale": one, "target": np.array([0.0, 1.0])}
        for place in range(len(lanes["diverged_at"])):
            net = Net(mean_net(setting, parts, scaled, lanes, place, parts[at]) | plain)
            given = list(net.each(x))
            found.append(_classes(given, y, share) if setting.task.classes else _numbers(given, y, share))
    values = np.array(found).reshape(len(outer_splits(parts)), -1, 3)
    return OuterFolds(*values.transpose(2, 1, 0))


def _numbers(given: Sequence[np.ndarray], y: np.ndarray, share: np.ndarray) -> tuple[float, float, float]:
    # The squared error of a mean is the mean squared error less the variance (Krogh and Vedelsby, 1995).
    numbers = np.stack([each[:, 0] for each in given])
    mean = numbers.mean(axis=0)
    return np.nan, float(share @ np.square(mean - y)), float(share @ numbers.var(axis=0))


def _classes(given: Sequence[np.ndarray], y: np.ndarray, share: np.ndarray) -> tuple[float, float, float]:
    # So of the cross-entropy, in expectation over what the mean predicts.
    each = np.maximum(np.stack(list(map(shares, given))), LEAST)
    mean = each.mean(axis=0)
    gaps = (mean * (np.log(mean) - np.log(each).mean(axis=0))).sum(axis=1)
    right = mean[np.arange(len(y)), y.astype(int)]
    return float(share @ (mean.argmax(axis=1) == y)), float(share @ -np.log(right)), float(share @ gaps)
