"""Means of several networks of one candidate, whose predictions are averaged.

There are two kinds of means:

- The mean for an outer fold is tested on this fold. It contains the networks of the same repeat that were trained
  without this fold. One network was trained on all other rows. Every other network was trained without one more fold.
- The mean for the model contains the network that was trained on all rows, and the networks that were trained without
  one fold.

The model therefore averages more networks than a mean for an outer fold, and its networks were trained on more rows. If
later rows are predicted from earlier rows, each mean contains one network per repeat.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxreg.lab.search.fitted_model import LEAST, Net, Nets, shares
from jaxreg.lab.search.folds import PaddedRows, Setting, Split, trained_on
from jaxreg.lab.search.nested import OuterFolds, outer_splits

Arrays = dict[str, np.ndarray]
"""Dict from paths to weight arrays. For several networks, the first axis of each array is the index of the network."""


class Scales(NamedTuple):
    """Means and standard deviations of inputs and target over the training rows of one run.

    Args:
        mean: Mean of each input.
        scale: Standard deviation of each input; 1 for an input that is only centred.
        middle: Mean of the target; 0 for classes.
        spread: Standard deviation of the target; 1 for classes.
    """

    mean: np.ndarray
    scale: np.ndarray
    middle: float
    spread: float


def scales(setting: Setting, table: PaddedRows, split: Split) -> Scales:
    """Return the means and standard deviations that standardise inputs and target in one training run.

    Args:
        setting: Static settings of the training run.
        table: Rows of the table.
        split: The folds that the training run left out.
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
    """Return the weights of those networks of one candidate whose predictions are averaged.

    Diverged networks are left out. The returned weights include the standardisation of the inputs and of the target.

    Args:
        setting: Static settings of the training runs.
        parts: The splits.
        scaled: Means and standard deviations of each split.
        lanes: Curves and weights of all training runs, as returned by `jaxreg.lab.search.folds.train`.
        place: Index of the candidate.
        outer: Split of the outer fold on which the mean is tested; None for the final model.
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
    """Test each candidate on each outer fold: the mean of its networks that were trained without this fold.

    Args:
        setting: Static settings of the training runs.
        table: Rows of the table.
        parts: The splits.
        scaled: Means and standard deviations of each split.
        lanes: Curves and weights of all training runs.
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


def on_fold(net: Net | Nets, table: PaddedRows, split: Split, *, classes: bool) -> tuple[float, float]:
    """Return the score and the loss on the test fold of a split. For regression, the score is NaN.

    Args:
        net: Networks for inputs and targets in the units of the table.
        table: The rows.
        split: The split.
        classes: Whether targets are classes.
    """
    mine = (table.folds[split.repeat] == split.test) & (table.w > 0)
    x, y, w = table.x[mine, : int(table.inputs)], table.y[mine], table.w[mine].astype(np.float64)
    share = w / w.sum()
    if not classes:
        return np.nan, float(share @ np.square(net(x)[:, 0] - y))
    given = net.probabilities(x)
    right = given[np.arange(len(y)), y.astype(int)]
    return float(share @ (given.argmax(axis=1) == y)), float(share @ -np.log(right))


def _numbers(given: Sequence[np.ndarray], y: np.ndarray, share: np.ndarray) -> tuple[float, float, float]:
    # The squared error of the mean of several predictions is the mean of their squared errors minus their variance
    # (Krogh and Vedelsby, 1995).
    numbers = np.stack([each[:, 0] for each in given])
    mean = numbers.mean(axis=0)
    return np.nan, float(share @ np.square(mean - y)), float(share @ numbers.var(axis=0))


def _classes(given: Sequence[np.ndarray], y: np.ndarray, share: np.ndarray) -> tuple[float, float, float]:
    # The same decomposition for the cross-entropy. It holds in expectation over the classes that the mean predicts.
    each = np.maximum(np.stack(list(map(shares, given))), LEAST)
    mean = each.mean(axis=0)
    gaps = (mean * (np.log(mean) - np.log(each).mean(axis=0))).sum(axis=1)
    right = mean[np.arange(len(y)), y.astype(int)]
    return float(share @ (mean.argmax(axis=1) == y)), float(share @ -np.log(right)), float(share @ gaps)
