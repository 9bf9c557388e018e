"""Conversion of a splitter of scikit-learn to the folds of a search."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from sklearn.model_selection import check_cv


def folds_of(cv: Any, y: np.ndarray, groups: Any = None, *, classes: bool) -> np.ndarray:
    """Convert a scikit-learn splitter to fold numbers: an array of shape (repeats, rows).

    Args:
        cv: Splitter of scikit-learn, number of folds, or iterable of (train, test) index arrays.
        y: Target of each row.
        groups: Group of each row, which the splitter may need.
        classes: Whether the targets are classes.

    Raises:
        ValueError: If a row is not tested exactly once per repeat. If a split does not use every row. If there are
            fewer than three splits per repeat.

    Example:
        >>> from sklearn.model_selection import GroupKFold
        >>> folds_of(GroupKFold(3), np.zeros(6), [7, 7, 8, 8, 9, 9], classes=False).tolist()
        [[2, 2, 1, 1, 0, 0]]
    """
    if not (isinstance(cv, int | np.integer) or hasattr(cv, "split") or isinstance(cv, Iterable)):
        raise ValueError(
            f"`cv` is {cv!r}; expected a splitter, a number of folds or an iterable of (train, test) indices"
        )
    rows = np.arange(len(y))
    repeats: list[np.ndarray] = []
    open_ = np.full(0, -1)
    for number, (train, test) in enumerate(check_cv(cv, y, classifier=classes).split(rows[:, None], y, groups), 1):
        if not (open_ < 0).any():
            open_ = np.full(len(y), -1)
            repeats.append(open_)
        tested = np.isin(rows, rows[test])
        if not np.array_equal(np.flatnonzero(~tested), np.sort(rows[train])):
            raise ValueError(
                f"split {number} of `cv` leaves out a row or uses a row twice; expected each row exactly once, either "
                "for training or for testing. Use a splitter like KFold or GroupKFold. For rows in time order, use "
                "search(..., time=...)"
            )
        if not tested.any() or (open_[tested] >= 0).any():
            found = (
                "there are no test rows"
                if not tested.any()
                else "the test rows contain a row that is also in an earlier test split"
            )
            raise ValueError(
                f"in split {number} of `cv`, {found}; expected each row in exactly one test split, as with KFold or "
                "GroupKFold"
            )
        open_[tested] = open_.max() + 1
    counts = {int(each.max()) + 1 for each in repeats}
    if not repeats or (open_ < 0).any() or len(counts) > 1:
        raise ValueError("`cv` does not test each row exactly once; expected a splitter like KFold or GroupKFold")
    if max(counts) < 3:
        raise ValueError(
            f"`cv` has {max(counts)} folds; expected at least 3, because nested cross-validation needs two folds "
            "besides each test fold"
        )
    return np.stack(repeats).astype(np.int32)
