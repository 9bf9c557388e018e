"""The mean of nets of one candidate: as the model, and on the folds that none of its nets has seen.

The trainings that leave out a fold of a repeat are one on all other rows and one for each inner fold. Their mean is
judged on that fold. The model is the mean of the net of all rows and of those that leave out one fold each, so that its
nets see more rows than those of the estimate, and there are more of them.
"""

from collections.abc import Sequence

import numpy as np

from jaxreg.lab.search.fitted_model import Net
from jaxreg.lab.search.folds import PaddedRows, Setting, Split
from jaxreg.lab.search.nested import OuterFolds, outer_splits

Arrays = dict[str, np.ndarray]
"""Path -> weights; those of several nets have an axis more, the first."""


def standardised(setting: Setting, table: PaddedRows, weights: Arrays, split: Split) -> Arrays:
    """Return the weights of a net for inputs and targets as the table has them: its own scales folded in.

    Args:
        setting: The static part of its training.
        table: The rows.
        weights: Its weights as trained.
        split: The folds that its training left out.
    """
    dealt = table.folds[split.repeat]
    w = table.w.astype(np.float64) * (dealt != split.test) * (dealt != split.validation)
    rows, x = w / w.sum(), table.x.astype(np.float64)
    mean = rows @ x
    variance = rows @ np.square(x) - np.square(mean)
    scale = np.sqrt(np.where((table.scaled > 0) & (variance > 1e-6), variance, 1))
    made = {path: array.astype(np.float64) for path, array in weights.items()}
    made["hidden/kernel"] /= scale[:, None]
    made["hidden/bias"] -= mean @ made["hidden/kernel"]
    if not setting.task.classes:
        middle = rows @ table.y
        spread = np.sqrt(np.maximum(rows @ np.square(table.y - middle), 1e-6))
        made["output/kernel"] *= spread
        made["output/bias"] = middle + spread * made["output/bias"]
    return made


def mean_net(
    setting: Setting,
    table: PaddedRows,
    parts: Sequence[Split],
    lanes: dict[str, np.ndarray],
    place: int,
    split: Split | None = None,
) -> Arrays:
    """Return the weights of the nets of a candidate whose mean is the model, or is judged on an outer fold.

    Args:
        setting: The static part of the trainings.
        table: The rows.
        parts: The splits.
        lanes: Results of all trainings with their weights, as `jaxreg.lab.search.folds.train` returns them.
        place: Place of the candidate.
        split: The outer fold, or None for the model. Nets that diverged are left out.
    """
    if split is None:
        mine = [at for at, part in enumerate(parts) if part.test == part.validation]
    else:
        mine = [at for at, part in enumerate(parts) if part.repeat == split.repeat and split.test in part[1:]]
    kept = [at for at in mine if lanes["diverged_at"][place, at] < 0]
    nets = [
        standardised(setting, table, {path: lanes[f"params/{path}"][place, at] for path in setting.weights}, parts[at])
        for at in kept
    ]
    return {path: np.stack([net[path] for net in nets]).astype(np.float32) for path in setting.weights}


def on_outer_folds(
    setting: Setting, table: PaddedRows, parts: Sequence[Split], lanes: dict[str, np.ndarray], picks: Sequence[int]
) -> OuterFolds:
    """Return the losses of means of nets on the outer folds, and for classes their scores, which are NaN for numbers.

    Args:
        setting: The static part of the trainings.
        table: The rows.
        parts: The splits.
        lanes: Results of all trainings with their weights.
        picks: Place of the candidate chosen inside each outer fold. No regulariser has place 0.
    """
    found = []
    for pick, at in zip(picks, outer_splits(parts), strict=True):
        pair = (mean_net(setting, table, parts, lanes, place, parts[at]) for place in (pick, 0))
        found.append([_judged(setting, table, weights, parts[at]) for weights in pair])
    values = np.array(found)
    return OuterFolds(values[..., 0].T, values[..., 1].T)


def _judged(setting: Setting, table: PaddedRows, weights: Arrays, split: Split) -> tuple[float, float]:
    mine = (table.folds[split.repeat] == split.test) & (table.w > 0)
    x, y, share = table.x[mine], table.y[mine], table.w[mine] / table.w[mine].sum()
    one = np.ones(x.shape[1])
    net = Net(weights | {"mean": 0 * one, "scale": one, "target": np.array([0.0, 1.0])})
    if not setting.task.classes:
        return np.nan, float(share @ np.square(net(x)[:, 0] - y))
    shares = net.probabilities(x)
    right = shares[np.arange(len(y)), y.astype(int)]
    return float(share @ (shares.argmax(axis=1) == y)), float(share @ -np.log(right))
