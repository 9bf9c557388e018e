"""Search for columns that alone determine the target, such as a copy of the target."""

from collections.abc import Mapping

import numpy as np

from jaxreg.lab.tabular.encoding import Encoding, Target
from jaxreg.lab.tabular.numerals import KINDS

_CHANCE = np.log(1e-9)
_GLANCE = 1000


def leaks(columns: Mapping[str, np.ndarray], encoding: Encoding, target: Target) -> list[str]:
    """Return the names of columns that alone determine the target, unless this may be chance.

    Args:
        columns: Table.
        encoding: Encoding of its columns as inputs.
        target: Target of the table.
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
    """Return whether the target is a monotonic function of a column's numbers.

    Args:
        cells: Inputs of the column, of shape (rows, inputs); only the first one is used.
        y: Target of each row.
        beyond_chance: Whether column and target must also have more than a few distinct numbers.
    """
    x = cells[:, 0]
    if beyond_chance and min(len(np.unique(x)), len(np.unique(y))) <= KINDS:
        return False
    order = np.lexsort((y, x))
    rises, equal = np.diff(y[order]), np.diff(x[order]) == 0
    return not rises[equal].any() and bool((rises >= 0).all() or (rises <= 0).all())


def _classes_agree(cells: np.ndarray, y: np.ndarray, *, beyond_chance: bool) -> bool:
    """Return whether rows with equal cells always have the same class.

    Args:
        cells: Inputs of the column, of shape (rows, inputs).
        y: Class of each row.
        beyond_chance: Whether this agreement must also be too improbable to be chance. It is improbable if many rows
            share their cells, or if each class is one range of the column's numbers.
    """
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
