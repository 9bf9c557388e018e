"""Columns of a table: checks of column names, and conversion of cells to plain numbers or text."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from jaxreg.lab.tabular.numerals import decimal_mark, is_missing, numeral

LARGEST = 1e38
"""Largest absolute value that a number in a table may have. Float32 cannot store values above 3.4e38."""


class Columns(dict[str, np.ndarray]):
    """Columns of a table by name: float64 numbers with NaN for missing cells, or text with None for blank cells.

    Attributes:
        notes: Sentences for the user about decisions made while reading, such as the names of columns without a header.
        problems: Sentences about errors in single columns, such as a repeated name. `jaxreg.lab.tabular.read` raises
            them as a ValueError.
        decimal: "," if the numbers have a decimal comma. None if they have a decimal point, or if it is unknown.
        headed: False if the file has no header row and the user gave no names, so that the columns are called c1, c2
            and so on.
    """

    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    decimal: str | None = None
    headed: bool = True


def plain_name(name: str) -> str:
    """Remove spaces at both ends of a column name, and replace successive spaces inside it by one space."""
    return " ".join(name.split())


def find(names: Collection[str], name: str) -> str | None:
    """Find a column name, ignoring additional spaces. Return None if there is no such column.

    Args:
        names: Names of all columns.
        name: Name that the user typed or copied.
    """
    return name if name in names else next((each for each in names if plain_name(each) == plain_name(name)), None)


def _unread(column: str, wanted: Mapping[str, bool] | None, without: Collection[str]) -> bool:
    return find(without, column) is not None or (wanted is not None and find(wanted, column) is None)


def name_problems(names: Sequence[str], unread: Collection[int], name: str) -> tuple[str, ...]:
    """Return a sentence for each column name that is empty or repeated.

    Args:
        names: Names of all columns.
        unread: Indices of columns that are not read; their names are not checked.
        name: Name of the file.
    """
    seen: dict[str, int] = {}
    problems = []
    for place, column in enumerate(names):
        if place in unread:
            continue
        if not column:
            problems.append(f"column {place + 1} of {name} has no name. Give it a name, or delete it")
        elif column in seen:
            problems.append(
                f"columns {seen[column] + 1} and {place + 1} of {name} are both named {column!r}. Rename one of them"
            )
        else:
            seen[column] = place
    more = f"{len(problems) - 8} more columns of {name} have no name or a repeated name"
    return (*problems[:8], more) if len(problems) > 8 else tuple(problems)


def _nothing(place: int, cells: Sequence[str]) -> bool:
    """Return whether a column without a name can be dropped.

    It can be dropped if it is the index that pandas and R write as first column, or if all its cells are blank.
    """
    index = place == 0 and len(set(cells)) == len(cells) and all(map(str.isdecimal, cells))
    return index or not any(map(str.strip, cells))


def typed(cells: Sequence[str]) -> np.ndarray:
    """Convert the cells of a column to float64 if all of them are plain numbers or missing. Otherwise, return text.

    Args:
        cells: Text of each cell.
    """
    raw = np.array(cells, dtype=object)
    try:
        numbers = raw.astype(np.float64)
        if not np.isnan(numbers).any() and "_" not in "".join(cells):  # Python also accepts 1_000
            return numbers
    except ValueError:
        pass
    different: dict[str, int] = {}
    codes = np.array([different.setdefault(cell, len(different)) for cell in cells])
    words = [word.strip() for word in different]
    values = np.array([_number(word) for word in words])
    if None not in values:
        return values.astype(np.float64)[codes]
    return np.array([word or None for word in words], dtype=object)[codes]


def _number(word: str) -> float | None:
    try:
        # Python also accepts 1_000.
        return None if "_" in word else float(word)
    except ValueError:
        return np.nan if is_missing(word) else None


def words_of(cells: Sequence[str]) -> np.ndarray:
    """Return the cells of a column as text, with None for each blank cell.

    Args:
        cells: Text of each cell.
    """
    return np.array([cell.strip() or None for cell in cells], dtype=object)


def read_cells(column: str, cells: Sequence[str], wanted: Mapping[str, bool] | None) -> np.ndarray:
    """Convert the cells of a column to numbers if possible. Return text if not, or if `wanted` requires text.

    Args:
        column: Name of the column.
        cells: Text of each cell.
        wanted: Dict with the names of columns as keys. The value is True if the cells of the column must stay text.
            None if the types of the columns are unknown.
    """
    known = None if wanted is None else find(wanted, column)
    return words_of(cells) if wanted is not None and known is not None and wanted[known] else typed(cells)


def decimal_comma(columns: Mapping[str, np.ndarray]) -> bool:
    """Return whether at least one column of a table has numbers with a decimal comma."""
    return any(
        decimal_mark([each for word in set(values[:1000]) if word is not None and (each := numeral(word))]) == ","
        for values in columns.values()
        if values.dtype == object
    )
