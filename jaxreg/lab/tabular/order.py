"""Dependence between rows: a test whether neighbouring rows are similar, and columns that give groups or times."""

import numpy as np

from jaxreg.lab.tabular import column_types
from jaxreg.lab.tabular.arguments import argument
from jaxreg.lab.tabular.column_types import Words

ALIKE = 0.6
"""Neighbouring rows are similar if their distance, relative to random pairs of rows, is below this number."""

_BINS = 5
_LEAST = 30
"""Smallest number of rows for this test."""


def neighbours_alike(x: np.ndarray, y: np.ndarray, *, classes: bool) -> float | None:
    """Return a number below `ALIKE` if neighbouring rows are similar, compared with random pairs of rows, else None.

    The number is the median distance of neighbouring rows, divided by the median distance of random pairs of rows.
    Both rows of each pair have the same class, or targets in the same fifth of all numbers. Otherwise, neighbouring
    rows would look similar in every file that is sorted by its target.

    Args:
        x: Inputs, of shape (rows, inputs).
        y: Target of each row.
        classes: Whether the target is a class.
    """
    if len(x) < _LEAST:
        return None
    z = (x - x.mean(axis=0)) / np.where(x.std(axis=0) > 0, x.std(axis=0), 1)
    bins = y if classes else np.searchsorted(np.quantile(y, np.linspace(0, 1, _BINS + 1)[1:-1]), y)
    rng = np.random.default_rng(0)
    near, far = [], []
    for each in np.unique(bins):
        rows = np.flatnonzero(bins == each)
        other = rng.permutation(rows)
        near.append(np.linalg.norm(z[rows[1:]] - z[rows[:-1]], axis=1))
        far.append(np.linalg.norm(z[other[1:]] - z[other[:-1]], axis=1))
    near_, far_ = np.concatenate(near), np.concatenate(far)
    share = float(np.median(near_) / np.median(far_)) if np.median(far_) > 0 else 1.0
    return share if 0 < share < ALIKE else None


def group_codes(name: str, values: np.ndarray) -> np.ndarray:
    """Return the index of each row's group. Groups are numbered from 0.

    Args:
        name: Name of the column that gives the groups.
        values: Cells of this column.

    Raises:
        ValueError: If a cell is blank, all cells are equal, or no two cells are equal.
    """
    given = f"{argument('groups')} names the column {name!r}, which"
    blank = np.array([cell is None for cell in values]) if values.dtype == object else np.isnan(values)
    if blank.any():
        row = int(np.flatnonzero(blank)[0]) + 1
        raise ValueError(f"{given} is blank in row {row}; expected a value in each row")
    different, codes = np.unique(values.astype(str) if values.dtype == object else values, return_inverse=True)
    if len(different) in (1, len(values)):
        told = "a different value in each row" if len(different) > 1 else "the same value in each row"
        raise ValueError(f"{given} has {told}; expected at least two groups, and at least one group of several rows")
    return codes.ravel()


def moments(name: str, values: np.ndarray, decimal: str | None = None) -> np.ndarray:
    """Convert the values of a time column to numbers.

    Args:
        name: Name of the column that gives the times.
        values: Cells of this column: numbers, dates or times.
        decimal: Decimal mark of the file, if it is known.

    Raises:
        ValueError: If a cell is not a number, a date or a time.
    """
    numbers = values
    if values.dtype == object:
        words = ["" if cell is None else str(cell) for cell in values]
        reading, _ = column_types.judged(list(dict.fromkeys(words)), decimal)
        numbers = np.full(len(words), np.nan) if isinstance(reading, Words) else reading.numbers(words, decimal)
    if np.isnan(numbers).any():
        row = int(np.flatnonzero(np.isnan(numbers))[0])
        raise ValueError(
            f"{argument('time')} names the column {name!r}, but row {row + 1} of this column is {values[row]!r}; "
            "expected a number, a date or a time"
        )
    return numbers
