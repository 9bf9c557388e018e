"""Assignment of rows to folds: row by row, by groups of rows, or by time."""

import numpy as np

from jaxreg.lab.search.folds import FIRST


def deal_groups(y: np.ndarray, group: np.ndarray, folds: int, rng: np.random.Generator, *, classes: bool) -> np.ndarray:
    """Assign groups of rows to folds, so that the folds have similar sizes and similar shares of each class.

    Args:
        y: Targets, of shape (rows,).
        group: Group of each row, as an integer.
        folds: Number of folds.
        rng: Random generator.
        classes: Whether the targets are classes.

    Returns:
        The fold of each row, of shape (rows,).

    Raises:
        ValueError: If there are fewer groups than folds.

    Example:
        >>> y, group = np.array([0, 0, 1, 1, 0, 1]), np.array([7, 7, 3, 3, 5, 5])
        >>> sorted(np.bincount(deal_groups(y, group, 3, np.random.default_rng(0), classes=True)).tolist())
        [2, 2, 2]
    """
    names, place = np.unique(group, return_inverse=True)
    if len(names) < folds:
        raise ValueError(
            f"there are {len(names)} groups of rows for {folds} folds; expected at least one group per fold"
        )
    kinds = np.unique(y, return_inverse=True)[1] if classes else np.zeros(len(y), int)
    counts = np.zeros((len(names), kinds.max() + 1))
    np.add.at(counts, (place.ravel(), kinds.ravel()), 1)
    # The last column counts all rows: if two folds fit equally well by class, the smaller fold gets the group.
    counts = np.column_stack([counts, counts.sum(axis=1)]) / [*counts.sum(axis=0), counts.sum()]
    held, fold = np.zeros((folds, counts.shape[1])), np.empty(len(names), np.int32)
    shuffled = rng.permutation(len(names))
    for each in shuffled[np.argsort(-counts[shuffled].sum(axis=1), kind="stable")]:
        more = (np.square(held + counts[each]) - np.square(held)).sum(axis=1)
        fold[each] = np.argmin(more)
        held[fold[each]] += counts[each]
    return fold[place.ravel()]


def deal_time(time: np.ndarray, folds: int) -> np.ndarray:
    """Assign rows to folds in the order of their times. Rows with the same time get the same fold.

    Args:
        time: Time of each row.
        folds: Number of outer folds. Before the outer folds, there are `FIRST` other folds.

    Raises:
        ValueError: If there are too few distinct times.
    """
    count = FIRST + folds
    dealt = np.searchsorted(np.sort(time), time) * count // len(time)
    if len(np.unique(dealt)) < count:
        raise ValueError(
            f"the rows have too few distinct times for {count} folds. Use more precise times, or fewer folds"
        )
    return np.asarray(dealt, np.int32)


def deal(y: np.ndarray, folds: int, rng: np.random.Generator, *, classes: bool) -> np.ndarray:
    """Assign rows to folds at random. Fold sizes differ by at most one row, both in total and within each class.

    Args:
        y: Targets, of shape (rows,).
        folds: Number of folds.
        rng: Random generator.
        classes: Whether the targets are classes.

    Returns:
        The fold of each row, of shape (rows,).

    Example:
        >>> deal(np.array([0, 0, 0, 1, 1, 1]), 3, np.random.default_rng(0), classes=True).tolist()
        [1, 2, 0, 0, 2, 1]
    """
    order = rng.permutation(len(y))
    if classes:
        order = order[np.argsort(y[order], kind="stable")]
    dealt = np.empty(len(y), np.int32)
    dealt[order] = np.resize(rng.permutation(folds), len(y))
    return dealt
