"""Conversion of pandas data frames to columns, without importing pandas."""

from pathlib import Path
from typing import Any

import numpy as np

from jaxreg.lab.tabular.columns import Columns


def is_frame(table: Any) -> bool:
    """Return whether an object is a pandas data frame."""
    return hasattr(table, "dtypes") and hasattr(table, "columns") and hasattr(table, "isna")


def has_words(table: Any) -> bool:
    """Return whether an object is a pandas data frame with at least one column that is not numeric."""
    return is_frame(table) and not all(_numeric(kind) for kind in table.dtypes)


def columns_of(frame: Any) -> Columns:
    """Convert a pandas data frame to `Columns`: a dict from the name of each column to the array of its cells.

    Args:
        frame: Pandas data frame.

    Returns:
        The columns. A numeric or boolean column becomes a float64 array with NaN for missing cells. Any other column
        becomes an array of text with None for missing cells.

    Raises:
        ValueError: If `frame` is not a data frame, or two of its columns have the same name.
    """
    if not is_frame(frame):
        what = f"the path {str(frame)!r}" if isinstance(frame, str | Path) else f"a {type(frame).__name__}"
        raise ValueError(f"the table is {what}; expected a data frame of pandas. Read a file with pandas.read_csv")
    names = [str(name) for name in frame.columns]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two columns of the data frame are named {twice!r}. Rename one of them")
    return Columns({name: _cells(frame.iloc[:, place]) for place, name in enumerate(names)})


def _numeric(kind: Any) -> bool:
    return getattr(kind, "kind", "O") in "biuf"


def _cells(column: Any) -> np.ndarray:
    if _numeric(column.dtype):
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
    missing = column.isna().to_numpy()
    words = [None if gone else str(cell) for cell, gone in zip(column, missing, strict=True)]
    return np.array(words, dtype=object)
