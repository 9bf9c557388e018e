"""Reader of CSV files."""

import csv
import io
from collections.abc import Collection, Mapping, Sequence

from jaxreg.lab.tabular.columns import Columns, _check_names, _column, _nothing, _unread

_DELIMITERS = ",;\t|"


def _csv(raw: bytes, name: str, wanted: Mapping[str, bool] | None, without: Collection[str]) -> Columns:
    text = _decoded(raw, name).strip("\n\r")
    if not text:
        raise ValueError(f"{name} holds blank lines only; expected a heading and rows")
    delimiter = max(_DELIMITERS, key=lambda mark: _fits(text, mark))
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        table = list(rows)
    except csv.Error as error:
        raise ValueError(f"{name} is no CSV file from line {rows.line_num} on: {error}") from None
    # A blank line is a missing cell where there is one column, and nothing where there are several.
    table = [row or [""] for row in table] if len(table[0]) == 1 else [row for row in table if row]
    names = [cell.strip() for cell in table[0]]
    for number, row in enumerate(table[1:], 1):
        if len(row) != len(names):
            raise ValueError(
                f"row {number} of {name} has {len(row)} cells and the heading {len(names)}; expected as many"
            )
    columns = dict(enumerate(zip(*table[1:], strict=True)))
    unread = {place for place, column in enumerate(names) if _unread(column, wanted, without)}
    unread |= {place for place, cells in columns.items() if not names[place] and _nothing(place, cells)}
    _check_names(names, unread if any(names) else (), name)
    # Columns that are not looked at may share a name, or have none.
    return {
        names[place]: _column(names[place], cells, name, {} if place in unread else wanted)
        for place, cells in columns.items()
        if names[place]
    }


def _fits(text: str, delimiter: str) -> tuple[bool, int]:
    # A name may hold a comma that no row below has, such as "length, mm" among semicolons.
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    heading: Sequence[str] = []
    try:
        heading = next(rows)
        return len(heading) == len(next(filter(None, rows), [])) > 1, len(heading)
    except csv.Error:
        return False, len(heading)


def _decoded(raw: bytes, name: str) -> str:
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ValueError(f"{name} is in UTF-16, by the mark at its start; save it as UTF-8")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{name} is not in UTF-8: byte 0x{raw[error.start]:02x} in line {line}; save it as UTF-8"
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(f"{name} holds a zero byte in line {line}: it is no text, or UTF-16; save it as CSV in UTF-8")
    return text
