"""Conversion of rows of cells to named columns. Names come from the header row, from the user, or are c1, c2, …."""

import itertools
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from jaxreg.lab.tabular import dates
from jaxreg.lab.tabular.arguments import argument
from jaxreg.lab.tabular.columns import (
    Columns,
    _nothing,
    _unread,
    decimal_comma,
    name_problems,
    read_cells,
    words_of,
)
from jaxreg.lab.tabular.numerals import decimal_mark, is_missing, numeral

_SAMPLE = 200


def named(
    table: Sequence[Sequence[str]],
    name: str,
    wanted: Mapping[str, bool] | None,
    without: Collection[str],
    names: Sequence[str],
    delimiter: str = ",",
) -> Columns:
    """Turn the rows of a text file or sheet into named columns.

    Args:
        table: Cells of each row, including the header row if there is one.
        name: Name of the file, for messages.
        wanted: Column name -> whether the column contains text. Only these columns are read. None reads all columns.
        without: Names of columns that are not read.
        names: Names for the columns, in place of a header row. If empty, the header row is used.
        delimiter: Character between the cells.

    Raises:
        ValueError: If a row has too many or too few cells, or the number of `names` differs from the number of columns.
    """
    headed = _has_heading(table)
    heading, body = ([cell.strip() for cell in table[0]], table[1:]) if headed else ([], table)
    width = len(table[0])
    if headed and body and {len(row) for row in body} == {width + 1}:  # R writes row names without a column name
        heading, width = ["", *heading], width + 1
    for number, row in enumerate(body, 1):
        if len(row) != width:
            what = "header row" if headed else "first row"
            raise ValueError(
                f"row {number} of {name} has {len(row)} cells, but the {what} has {width}; expected the same number"
            )
    columns = dict(enumerate(zip(*body, strict=True)))
    unnamed = {place for place, cells in columns.items() if not (heading and heading[place]) and _nothing(place, cells)}
    notes = []
    if names:
        places = [place for place in range(width) if len(names) == width or place not in unnamed]
        if len(names) != len(places):
            raise ValueError(
                f"{argument('names')} has {len(names)} names, but {name} has {width} columns; expected one name per "
                "column"
            )
        given = dict(zip(places, map(str.strip, names), strict=True))
        if headed:
            notes.append(f"{name}: {argument('names')} replaces its header row {', '.join(map(repr, heading[:8]))}")
        heading = [given.get(place, "") for place in range(width)]
        unnamed -= given.keys()
    elif not headed:
        heading = [f"c{place + 1}" for place in range(width)]
        unnamed = set()
        notes.append(
            f"{name} has no header row, because its first row looks like data. Its columns are called c1 to c{width}; "
            f"use {argument('names')} to name them"
        )
    unread = {place for place, column in enumerate(heading) if _unread(column, wanted, without)} | unnamed
    # Columns that are not read may share a name or have no name.
    found = Columns()
    for place, cells in columns.items():
        if column := heading[place]:
            skipped = place in unread
            found[column] = np.broadcast_to(np.nan, len(cells)) if skipped else read_cells(column, cells, wanted)
    found.problems = name_problems(heading, unread if any(heading) else (), name)
    read = {heading[place]: columns[place] for place in columns if place not in unread and heading[place]}
    found.notes, found.headed = tuple(notes), headed or bool(names)
    _settle_decimals(found, read, delimiter)
    return found


def _settle_decimals(found: Columns, read: Mapping[str, Sequence[str]], delimiter: str) -> None:
    """Set the decimal mark of the file, and undo the reading of 1.234 as a decimal number if the mark is a comma.

    Args:
        found: Columns of the file, which are changed.
        read: Text of the cells of each column that is read.
        delimiter: Character between the cells.
    """
    texts = {name: found[name] for name in read}
    if decimal_comma(texts):
        found.decimal = ","
        for name, cells in read.items():
            if found[name].dtype != object and any("." in cell for cell in cells[:1000]):
                numerals = [each for cell in set(cells) if not is_missing(cell) and (each := numeral(cell)) is not None]
                if decimal_mark(numerals) is None:
                    found[name] = words_of(cells)
    elif delimiter == ";" and not any(
        values.dtype != object and any("." in cell for cell in read[name][:1000]) for name, values in texts.items()
    ):
        found.decimal = ","


def _has_heading(table: Sequence[Sequence[str]]) -> bool:
    """Return whether the first row is a header row, judged by its differences from the rows below."""
    first, body = [cell.strip() for cell in table[0]], table[1 : 1 + _SAMPLE]
    if not body:
        return True
    as_data, as_names, numbers = 0, 0, []
    for place, cell in enumerate(first):
        below = [row[place].strip() for row in body if place < len(row)]
        below = [each for each in below if not is_missing(each)]
        if not below or not cell:
            continue
        if sum(map(_is_numeric, below)) > 0.8 * len(below):
            if not _is_numeric(cell) and not is_missing(cell):
                return True
            numbers.append(cell)
        elif cell in below:
            as_data += 1
        elif len(set(below)) <= len(below) / 3:
            as_names += 1
    if numbers and not _counts(numbers):
        return as_names > as_data and as_names >= len(numbers)
    return as_data <= as_names


def _is_numeric(cell: str) -> bool:
    return numeral(cell) is not None or not np.isnan(dates.days(cell, "dmy")) or not np.isnan(dates.hours(cell))


def _counts(numbers: Sequence[str]) -> bool:
    """Return whether numbers in the first row are column names: 0, 1, 2, … as pandas writes them, or rising years."""
    if len(numbers) < 2 or not all(map(str.isdecimal, numbers)):
        return False
    whole = list(map(int, numbers))
    years = all(1800 <= each <= 2100 for each in whole) and all(a < b for a, b in itertools.pairwise(whole))
    return years or whole == list(range(len(whole)))
