"""Recall and AUC of each class, and importance of each input, measured on the outer folds."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from sklearn.metrics import roc_auc_score

from jaxreg.lab.search.fitted_model import Net, Nets
from jaxreg.lab.search.folds import PaddedRows, Split
from jaxreg.lab.search.nested import Estimate, estimate

MOST_ROWS = 2000
"""Largest number of rows of a fold for which inputs are permuted."""


@dataclasses.dataclass(frozen=True, eq=False)
class Details:
    """Recall and AUC of each class, and the importance of each column, on the outer folds of the first repeat.

    Attributes:
        recall: Share of each class's rows that are predicted correctly; empty for regression.
        auc: Area under the ROC curve of each class against all other classes; NaN if a class has all rows or no row.
        importance: Increase of the loss when a block of inputs is permuted, for each block.
    """

    recall: np.ndarray
    auc: np.ndarray
    importance: list[Estimate]


def details(
    nets: Sequence[Net | Nets],
    splits: Sequence[Split],
    table: PaddedRows,
    blocks: Sequence[Sequence[int]],
    *,
    classes: int,
) -> Details:
    """Compute recall, AUC and importance on the outer folds. The networks were trained on the other folds.

    Args:
        nets: Networks of each outer fold. They use the scales of `table` for inputs and target.
        splits: Splits of the outer folds of the first repeat.
        table: Rows of the table.
        blocks: Indices of inputs that are permuted together, such as the inputs of one column.
        classes: Number of classes; 0 for regression.
    """
    added = np.zeros((len(blocks), len(splits)))
    rng = np.random.default_rng(0)
    predicted, truth, weight = [], [], []
    for fold, (net, split) in enumerate(zip(nets, splits, strict=True)):
        mine = np.flatnonzero((table.folds[split.repeat] == split.test) & (table.w > 0))
        x, y, w = table.x[mine, : int(table.inputs)], table.y[mine], table.w[mine].astype(np.float64)
        given = net.probabilities(x) if classes else net(x)
        predicted.append(given)
        truth.append(y)
        weight.append(w)
        few = slice(MOST_ROWS)
        before = _losses(given[few], y[few], classes)
        for place, block in enumerate(blocks):
            other = x[few].copy()
            other[:, list(block)] = other[rng.permutation(len(other))][:, list(block)]
            after = _losses(net.probabilities(other) if classes else net(other), y[few], classes)
            added[place, fold] = np.average(after - before, weights=w[few])
    importance = [estimate(each, 1 / max(1, len(splits) - 1)) for each in added]
    if not classes:
        return Details(np.zeros(0), np.zeros(0), importance)
    given, y, w = (np.concatenate(each) for each in (predicted, truth, weight))
    kinds = np.arange(classes)
    right = given.argmax(axis=1) == y
    recall = np.array(
        [np.average(right[y == kind], weights=w[y == kind]) if (y == kind).any() else np.nan for kind in kinds]
    )
    auc = [
        roc_auc_score(y == kind, given[:, kind], sample_weight=w) if 0 < (y == kind).sum() < len(y) else np.nan
        for kind in kinds
    ]
    return Details(recall, np.array(auc), importance)


def _losses(given: np.ndarray, y: np.ndarray, classes: int) -> np.ndarray:
    if classes:
        return np.asarray(-np.log(given[np.arange(len(y)), y.astype(int)]))
    return np.square(given[:, 0] - y)
