"""Preparation of the rows of a search: checks, merging of equal rows, and groups that must stay in one fold."""

from typing import Any

import numpy as np

from jaxreg.lab.tabular.columns import LARGEST
from jaxreg.lab.training.tasks import Task


def different_inputs(x: np.ndarray, folds: int) -> tuple[int, bool]:
    """Return the number of distinct input rows, and whether input rows are often repeated.

    Input rows count as often repeated if there are more than `OFTEN` rows per distinct input row, or fewer distinct
    input rows than folds. Most new rows will then have inputs that occurred in training. The test rows of a fold should
    be like the new rows, so equal rows may be in different folds. In all other tables, equal rows stay in one fold.

    Args:
        x: Inputs, of shape (rows, inputs).
        folds: Number of folds of the cross-validation.
    """
    different = len(np.unique(x, axis=0))
    return different, _often(different, len(x), folds)


def _often(different: int, rows: int, folds: int) -> bool:
    return different < folds or rows > OFTEN * different


OFTEN = 5
"""Number of rows per distinct input row above which the inputs of a table count as often repeated."""


def _rows(
    x: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray | None,
    folds: int,
    apart: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    # Return sorted inputs, targets and weights, the number of the group of each row, and how many equal rows were
    # merged into it. A group stays in one fold. If `apart` is given, its numbers are returned in the same order
    # instead, such as the groups that the user named.
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    for name, values in (("an input", x), ("a target", y)):
        if np.isnan(values).any():
            raise ValueError(
                f"{name} is NaN; expected numbers. Fill in the missing values, or pass a data frame, which may "
                "have missing cells"
            )
        if values.size and (largest := np.abs(values).max()) > LARGEST:
            raise ValueError(
                f"{name} is as large as {largest:g}; expected numbers up to {LARGEST:g}. Scale the values down"
            )
    w = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    if apart is not None:
        kept = np.flatnonzero(w > 0)
        kept = kept[np.lexsort(np.column_stack([x, y, w, apart])[kept].T[::-1])]
        return x[kept], y[kept], w[kept], apart[kept], np.ones(len(kept), int)
    rows = np.column_stack([x, y, w])[w > 0]
    rows = rows[np.lexsort(rows.T[::-1])]
    other = np.concatenate([[True], (rows[1:, :-2] != rows[:-1, :-2]).any(axis=1)])[: len(rows)]
    if _often(int(other.sum()), len(rows), folds):
        return rows[:, :-2], rows[:, -2], rows[:, -1], np.arange(len(rows)), np.ones(len(rows), int)
    group = np.cumsum(other) - 1
    other[1:] |= rows[1:, -2] != rows[:-1, -2]
    merged = np.cumsum(other) - 1
    total = np.bincount(merged, weights=rows[:, -1])
    return rows[other, :-2], rows[other, -2], total, group[other], np.bincount(merged)


def check(y: np.ndarray, task: Task, folds: int) -> None:
    """Raise `ValueError` if the target is constant or has too few rows for the folds.

    Args:
        y: Target of each row.
        task: Loss and metrics of the target.
        folds: Number of folds of the cross-validation.

    Raises:
        ValueError: If there are fewer rows than folds, or all rows have the same target.
    """
    if len(y) < folds:
        raise ValueError(f"there are n_samples={len(y)} rows for {folds} folds; expected at least one row per fold")
    if len(np.unique(y)) < 2:
        if task.classes:
            raise ValueError("the target holds only one class; expected at least two classes")
        raise ValueError(f"the target holds {y[0]:g} in every row; expected at least two distinct numbers")


def _figures(
    x: np.ndarray, y: np.ndarray, w: np.ndarray, two: np.ndarray, task: Task
) -> tuple[np.ndarray, np.ndarray, tuple[Any, Any]]:
    share = w / w.sum()
    mean = share @ x
    scale = _deviation(share, x - mean)
    # Binary columns are scaled by their range: their standard deviation would inflate the rarer value.
    scale = np.where(two, np.ptp(x, axis=0), scale)
    scale = np.where(scale > 0, scale, 1)
    if task.classes:
        return mean, scale, (0.0, 1.0)
    middle = share @ y
    return mean, scale, (float(middle), float(_deviation(share, y - middle)))


def _deviation(share: np.ndarray, gaps: np.ndarray) -> Any:
    # Divide by a power of 2, which is exact, so that squares of tiny numbers do not underflow to 0.
    unit = np.ldexp(1.0, np.frexp(np.abs(gaps).max(axis=0))[1])
    return unit * np.sqrt(share @ np.square(gaps / unit))
