"""Columns that alone determine the target, as a copy of it does."""

from collections.abc import Mapping

import numpy as np

from jaxreg.lab.tabular.encoding import Encoding, Target
from jaxreg.lab.tabular.numerals import KINDS

_CHANCE = np.log(1e-9)
_GLANCE = 1000


def leaks(columns: Mapping[str, np.ndarray], encoding: Encoding, target: Target) -> list[str]:
    """Return the names of columns that determine the target in all rows, beyond chance.

    Args:
        columns: The table.
        encoding: The encoding of its inputs.
        target: The target.
    """
    found = []
    agree = _ranks_agree if target.task == "regression" else _classes_agree
    for column in encoding.columns:
        for rows in (target.rows[:_GLANCE], target.rows):
            inputs, _, _ = column.inputs(columns[column.name][rows])
            cells = np.stack(list(inputs.values()), axis=1).astype(np.float64)
            if not agree(cells, target.y[: len(rows)], beyond_chance=len(rows) == len(target.rows)):
                break
        else:
            found.append(column.name)
    return found


def _ranks_agree(cells: np.ndarray, y: np.ndarray, *, beyond_chance: bool) -> bool:
    """Return whether a column's numbers rise or fall with the target in all rows, and are more than a few."""
    x = cells[:, 0]
    if beyond_chance and min(len(np.unique(x)), len(np.unique(y))) <= KINDS:
        return False
    order = np.lexsort((y, x))
    rises, equal = np.diff(y[order]), np.diff(x[order]) == 0
    return not rises[equal].any() and bool((rises >= 0).all() or (rises <= 0).all())


def _classes_agree(cells: np.ndarray, y: np.ndarray, *, beyond_chance: bool) -> bool:
    """Return whether rows of equal cells have one class, or each class is one range of a column's numbers."""
    share = np.bincount(y) / len(y)
    unit = cells[:, 0] if cells.shape[1] == 1 else cells @ np.arange(1.0, cells.shape[1] + 1)
    _, group, size = np.unique(unit, return_inverse=True, return_counts=True)
    pairs = np.unique(np.stack([group, y]), axis=1)
    if pairs.shape[1] != len(size):
        return False
    if not beyond_chance or ((size[pairs[0]] - 1) * np.log(share[pairs[1]])).sum() < _CHANCE:
        return True
    ranges = 1 + np.count_nonzero(np.diff(y[np.argsort(unit, kind="stable")]))
    counts = np.bincount(y)
    return bool(ranges == (counts > 0).sum() and (counts * np.log(np.maximum(share, 1 / len(y)))).sum() < _CHANCE)
