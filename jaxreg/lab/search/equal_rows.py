"""Duplicate rows, which equal another row in inputs and target: their share, and the scores on them.

Equal rows stay in one fold, so the scores on the outer folds are for rows with new inputs. New rows that are duplicates
of training rows are predicted better, mostly by models that memorise their training rows, such as a random forest. To
estimate the score on such rows, models are evaluated on the duplicate rows among their training rows: without one of
its copies, such a row would still be known.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxreg.lab.search.fitted_model import Net, Nets
from jaxreg.lab.search.folds import PaddedRows, Split
from jaxreg.lab.search.nested import ROUNDING, differences
from jaxreg.lab.search.rivals import KINDS, Rivals, scored

FEW = 0.02
"""Share of duplicate rows up to which they hardly change a score."""


class EqualRows(NamedTuple):
    """Share of duplicate rows in a table, and the scores of the networks on the duplicates of training rows.

    Args:
        share: Share of the rows whose inputs and target equal those of another row.
        score: Score of the averaged networks of each outer fold of the first repeat on the duplicate rows outside the
            fold, of shape (folds,).
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
    """Score the networks of each outer fold on those of their training rows that occur several times.

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
    """Return the scores of other models minus the scores of the networks, adjusted for duplicate rows.

    The assumed share of new rows that duplicate training rows is the share of duplicate rows in the table. A share of
    at most `FEW` counts as 0. A fold without duplicates in training takes the mean difference of the other folds.

    Args:
        rivals: Other models on the outer folds of the first repeat.
        scores: Scores of the nets on the same folds.
        equal_rows: Scores of the nets on duplicate rows; None if there are none.

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

    Of models with equal scores, the one with the lowest loss is best. If the losses are equal too, the networks are.

    Args:
        rivals: Other models on the outer folds of the first repeat.
        scores: Scores of the networks on the same folds.
        losses: Losses of the networks on the same folds.
        equal_rows: Scores of the networks on duplicate rows; None if there are none.
    """
    gained = np.append(0.0, gaps(rivals, scores, equal_rows).mean(axis=1))
    gained = np.nan_to_num(gained, nan=-np.inf)  # a model without a score in a fold is not compared
    lost = np.nan_to_num(np.append(0.0, differences(rivals.loss, losses).mean(axis=1)), nan=np.inf)
    highest = np.flatnonzero(gained >= gained.max() - ROUNDING)
    best = next(at for at in highest if lost[at] <= lost[highest].min() + ROUNDING)
    return KINDS[best - 1] if best else None
