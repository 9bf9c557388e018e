"""Read CSV files, and infer their encoding, their delimiter and their quotation mark."""

import csv
import gzip
import io
import itertools
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from jaxreg.lab.tabular.numerals import numeral

_DELIMITERS = "\t;|, "
"""Delimiters in order of preference. A semicolon comes before a comma, because the comma may be a decimal mark."""
_SAMPLE = 100
_GLANCE = 1_000_000
_LARGEST = 2**32
"""Largest size of a decompressed file, in bytes."""


def rows(raw: bytes, name: str) -> tuple[list[list[str]], str, list[str]]:
    """Return the cells of each row of a CSV file, the delimiter, and notes for the user.

    Args:
        raw: Content of the file.
        name: Name of the file, for messages.

    Raises:
        ValueError: If the file is not text, is not a valid CSV file, or has no rows.
    """
    text, notes = decoded(raw, name)
    text = text.strip("\n\r")
    if not text.strip():
        raise ValueError(f"{name} holds only blank lines; expected a header row and data rows")
    said = re.match(r'"?sep=([^\n\r])"?[,;\t ]*[\n\r]+', text, re.IGNORECASE)  # Excel uses this line
    text = text[said.end() :] if said else text
    if not text.strip():
        raise ValueError(
            f"{name} contains only the line {said[0].strip() if said else ''!r}; expected a header row and data rows"
        )
    sample = "".join(itertools.islice(io.StringIO(text[:_GLANCE], newline=""), _SAMPLE))
    quote = _quote(sample)
    delimiter = said[1] if said else max(_DELIMITERS, key=lambda mark: _fits(sample, mark, quote))
    reader = _reader(text, delimiter, quote)
    try:
        table = list(reader)
    except csv.Error as error:
        raise ValueError(f"{name} is not a valid CSV file: line {reader.line_num}, {error}") from None
    # In a file with one column, a blank line is a missing cell. Otherwise blank lines are ignored.
    table = [row or [""] for row in table] if len(table[0]) == 1 else [row for row in table if row]
    return table, delimiter, notes


def _reader(text: str, delimiter: str, quote: str) -> Any:
    spaces = delimiter == " "
    if spaces:  # any number of spaces separates two cells
        text = re.sub(r"[ \t]+$", "", text.replace("\t", " "), flags=re.MULTILINE)
    lines = io.StringIO(text, newline="")
    return csv.reader(lines, delimiter=delimiter, quotechar=quote, skipinitialspace=spaces, strict=True)


def _quote(sample: str) -> str:
    pattern = r"(?:^|[,;\t| ]){0}[^{0}\n]*{0}(?=[,;\t| ]|$)"
    single, double = (len(re.findall(pattern.format(mark), sample, re.MULTILINE)) for mark in ("'", '"'))
    return "'" if single > double and single >= sample.count("\n") / 2 else '"'


def _fits(sample: str, delimiter: str, quote: str) -> tuple[float, float, int]:
    # The header row may have more commas than the rows below, such as in "length, mm" between semicolons.
    heading, *more = [row for row in _some(sample, delimiter, quote) if row] or [[]]
    width = len(heading)
    share = sum(len(row) in (width, width + 1) for row in more) / len(more) if more else 0.0
    share = share if width > 1 or (delimiter == " " and more and share == 1) else 0.0
    if delimiter == " " and (share < 1 or not _tabular([heading, *more])):
        return 0.0, 0, 0
    return share, -_DELIMITERS.index(delimiter) if share else 0, width


def _some(sample: str, delimiter: str, quote: str) -> Iterator[list[str]]:
    # The end of the sample may be inside a quoted cell.
    try:
        yield from _reader(sample, delimiter, quote)
    except csv.Error:
        return


def _tabular(table: Sequence[Sequence[str]]) -> bool:
    """Return whether rows that were split at spaces are cells of a table, not sentences."""
    cells = [cell for row in table[1:] for cell in row]
    return len(table[-1]) > 1 and sum(numeral(cell) is not None for cell in cells) >= len(cells) / 2


def decoded(raw: bytes, name: str) -> tuple[str, list[str]]:
    """Decode the bytes of a file to text. Also return notes for the user about the encoding of the file.

    Args:
        raw: Content of the file.
        name: Name of the file, for messages.

    Raises:
        ValueError: If the content is not text.
    """
    for encoding, zeros in (("utf-16-le", raw[1:2000:2]), ("utf-16-be", raw[:2000:2])):
        marked = raw.startswith({"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}[encoding])
        if marked or (len(zeros) > 4 and zeros.count(0) > 0.8 * len(zeros)):
            try:
                text = raw.decode(encoding).removeprefix("\ufeff")
            except UnicodeDecodeError:
                raise ValueError(f"{name} is not complete UTF-16 text. Save it as CSV in UTF-8") from None
            return _without_zeros(text, name), []
    try:
        return _without_zeros(raw.decode("utf-8-sig"), name), []
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        try:
            text = raw.decode("cp1252")
        except UnicodeDecodeError:
            text = raw.decode("latin-1")
        text = _without_zeros(text, name)
        sign = text[error.start : error.start + 1]
        return text, [f"{name} is not in UTF-8. It was read as Latin-1: check that line {line} should contain {sign!r}"]


def _without_zeros(text: str, name: str) -> str:
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(f"{name} contains a zero byte in line {line}, so it is not text. Save it as CSV in UTF-8")
    return text


def unpacked(raw: bytes, name: str) -> bytes:
    """Decompress the content of a gzip file.

    Args:
        raw: Content of the file.
        name: Name of the file, for messages.

    Raises:
        ValueError: If the file is damaged or too large.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
            content = file.read(_LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{name} is a damaged gzip file: {error}. Copy or download it again") from None
    if len(content) > _LARGEST:
        raise ValueError(
            f"{name} has more than {_LARGEST} bytes when decompressed; expected at most that many. Use fewer rows"
        )
    return content
