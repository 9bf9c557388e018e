"""Recall and AUC of each class, and importance of each input, measured on the outer folds."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from sklearn.metrics import roc_auc_score

from jaxreg.lab.search.fitted_model import Net, Nets
from jaxreg.lab.search.folds import PaddedRows, Split
from jaxreg.lab.search.nested import Estimate, estimate

MOST_ROWS = 2000
"""Largest number of rows of a fold that are used to measure the importance of inputs."""


@dataclasses.dataclass(frozen=True, eq=False)
class Details:
    """Recall and AUC of each class, and the importance of blocks of inputs, on the outer folds of the first repeat.

    Attributes:
        recall: For each class, the share of its rows that are predicted correctly. Empty for regression.
        auc: For each class, the area under the ROC curve against all other classes. NaN if the class has all rows or no
            row. Empty for regression.
        importance: For each block of inputs, the increase of the loss when the block is permuted.
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
    ratio: float,
) -> Details:
    """Compute recall, AUC and importance of inputs. Each outer fold is predicted by networks trained on other folds.

    Args:
        nets: For each outer fold, the networks that were trained on the other folds. Their inputs and outputs are
            scaled like those of `table`.
        splits: Splits of the outer folds of the first repeat.
        table: Rows of the table.
        blocks: Blocks of inputs that are permuted together, such as the inputs of one column. Each block is a list of
            indices.
        classes: Number of classes; 0 for regression.
        ratio: Number of test rows per training row of a fold, for the standard errors (see `estimate`).
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
    importance = [estimate(each, ratio) for each in added]
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
