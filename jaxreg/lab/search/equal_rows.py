"""Duplicate rows, which equal another row in inputs and target: their share, and the scores on them.

Rows with equal inputs are always in the same fold. So the scores on the outer folds are for rows with new inputs. But a
row that a model later predicts may equal a training row. Models predict such a row better, in particular models that
memorise their training rows, such as a random forest.

To estimate the score on such rows, each model is evaluated on its duplicate training rows. If one copy of a duplicate
row were left out of the training, the model would still know the row from the other copies.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxreg.lab.search.fitted_model import Net, Nets
from jaxreg.lab.search.folds import PaddedRows, Split
from jaxreg.lab.search.nested import ROUNDING, differences
from jaxreg.lab.search.rivals import KINDS, Rivals, scored

FEW = 0.02
"""Share of duplicate rows. Up to this share, duplicate rows hardly change a score, so they are ignored."""


class EqualRows(NamedTuple):
    """Share of duplicate rows in a table, and the scores of the networks on their duplicate training rows.

    Args:
        share: Share of the rows whose inputs and target equal those of another row.
        score: One score per outer fold of the first repeat, of shape (folds,). The networks of the fold are averaged.
            They are scored on the duplicate rows outside the fold, which they were trained on. NaN if there are none.
    """

    share: float
    score: np.ndarray


def on_equal_rows(
    nets: Sequence[Net | Nets],
    splits: Sequence[Split],
    table: PaddedRows,
    copies: np.ndarray,
    spread: np.ndarray,
    *,
    classes: int,
) -> EqualRows:
    """Score the networks of each outer fold on their duplicate training rows, which occur several times in the table.

    Args:
        nets: Networks of each outer fold. Their inputs and outputs have the same scales as in `table`.
        splits: Splits of the outer folds of the first repeat.
        table: Rows of the table.
        copies: Number of equal rows that each row of the table stands for, of shape (rows,).
        spread: Variance of the target on each outer fold; empty for classes.
        classes: Number of classes; 0 for regression.
    """
    count, scores = len(copies), []
    x, y, w = table.x[:count, : int(table.inputs)], table.y[:count], table.w[:count].astype(np.float64)
    for fold, (net, split) in enumerate(zip(nets, splits, strict=True)):
        again = (copies > 1) & (table.folds[split.repeat][:count] != split.test)
        if not again.any():
            scores.append(np.nan)
            continue
        given = net.probabilities(x[again]) if classes else net(x[again])[:, 0]
        scores.append(scored(given, y[again], w[again], 1.0 if classes else spread[fold]))
    return EqualRows(float(w[copies > 1].sum() / w.sum()), np.array(scores))


def gaps(rivals: Rivals, scores: np.ndarray, equal_rows: EqualRows | None) -> np.ndarray:
    """Return the scores of other models minus the scores of the networks, adjusted for duplicate rows.

    The result is a weighted mean of two differences: on rows with new inputs, and on duplicate rows. The weight of the
    duplicate rows is their share of the table. A share of at most `FEW` counts as 0. A fold without duplicate training
    rows gets the mean difference of the other folds on duplicate rows.

    Args:
        rivals: Other models on the outer folds of the first repeat.
        scores: Scores of the networks on the same folds.
        equal_rows: Scores of the networks on duplicate rows; None if the table has no duplicate rows.

    Returns:
        Differences, of shape (models, folds).
    """
    new = differences(rivals.score, scores)
    if equal_rows is None or equal_rows.share <= FEW or not len(rivals.equal_rows):
        return new
    again = differences(rivals.equal_rows, equal_rows.score)
    there = np.isfinite(again).all(axis=0)
    if not there.any():
        return new
    again = np.where(there, again, again[:, there].mean(axis=1, keepdims=True))
    return (1 - equal_rows.share) * new + equal_rows.share * again


def best_rival(rivals: Rivals, scores: np.ndarray, losses: np.ndarray, equal_rows: EqualRows | None) -> str | None:
    """Return the model with the highest score, from `KINDS`; None if no model beats the networks.

    If several models have the highest score, the lowest loss decides. If the losses are equal too, the networks win.

    Args:
        rivals: Other models on the outer folds of the first repeat.
        scores: Scores of the networks on the same folds.
        losses: Losses of the networks on the same folds.
        equal_rows: Scores of the networks on duplicate rows; None if the table has no duplicate rows.
    """
    gained = np.append(0.0, gaps(rivals, scores, equal_rows).mean(axis=1))
    gained = np.nan_to_num(gained, nan=-np.inf)  # a model without a score in a fold is not compared
    lost = np.nan_to_num(np.append(0.0, differences(rivals.loss, losses).mean(axis=1)), nan=np.inf)
    highest = np.flatnonzero(gained >= gained.max() - ROUNDING)
    best = next(at for at in highest if lost[at] <= lost[highest].min() + ROUNDING)
    return KINDS[best - 1] if best else None
