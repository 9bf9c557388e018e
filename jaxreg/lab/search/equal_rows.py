"""Rows that equal another row: how many there are, and the scores on them.

Equal rows stay in one fold, so the outer folds tell the scores on rows with new inputs. New rows that repeat known ones
are predicted better, mostly by models that remember their training rows, such as a random forest. The score on them
is that on training rows that equal another row in inputs and target: without one of its copies, such a row is still
known.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxreg.lab.search.fitted_model import Net, Nets
from jaxreg.lab.search.folds import PaddedRows, Split
from jaxreg.lab.search.rivals import Rivals, scored

FEW = 0.02
"""Share of rows up to which rows that equal another one hardly change a score."""


class EqualRows(NamedTuple):
    """Share of rows that equal another row, and the scores of the nets on such rows.

    Args:
        share: Share of the rows that equal another row in inputs and target.
        score: Score of the averaged networks of each outer fold of the first repeat on those of these rows that are
            not in the fold, of shape (folds,).
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
    """Evaluate the averaged networks of each outer fold on rows that equal another row and are not in the fold.

    Args:
        nets: Networks of each outer fold. They use the scales of `table` for inputs and target.
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
    """Return the scores of other models minus those of the nets, for rows of which some repeat known ones.

    As large a share of the rows repeats known ones as of the rows of the table. A share of at most `FEW`
    counts as none. A fold that was trained on no such row takes the mean difference of the other folds on them.

    Args:
        rivals: Other models on the outer folds of the first repeat.
        scores: Scores of the nets on the same folds.
        equal_rows: Scores of the nets on rows that equal another row; None if there are none.

    Returns:
        Differences, of shape (models, folds).
    """
    new = rivals.score - scores
    if equal_rows is None or equal_rows.share <= FEW or not len(rivals.equal_rows):
        return new
    again = rivals.equal_rows - equal_rows.score
    there = np.isfinite(again).all(axis=0)
    if not there.any():
        return new
    again = np.where(there, again, again[:, there].mean(axis=1, keepdims=True))
    return (1 - equal_rows.share) * new + equal_rows.share * again
