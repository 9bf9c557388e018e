"""Tables from files: CSV, NPZ and Parquet as named columns of numbers or words, or a sentence that says why not.

Nothing here runs code from a file: pickles are refused, declared sizes are checked before anything is read.
Rows are counted from 1, without the heading.
"""

import csv
import io
import math
import re
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxreg.lab import parquet

Columns = dict[str, np.ndarray]
"""Name -> float64 numbers, NaN where one is missing, or an object array of words, None where one is missing."""

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
LARGEST = 1e38
"""Numbers beyond it are no float32."""

_DELIMITERS = ",;\t|"
_MOSTLY = 0.9
_FEW = 12
"""Different numbers that may be names of a few kinds, such as months; more of them are numbers, some with mistakes."""


def read(file: Path, wanted: Mapping[str, bool] | None = None, without: Collection[str] = ()) -> Columns:
    """The columns of a file.

    Args:
        file: Ends in .csv, .tsv, .txt, .npz or .parquet.
        wanted: Name -> whether it holds words, even where all of a file's look like numbers, such as 02134; what other
            columns hold is not looked at. None where no column is known yet.
        without: Columns that are not looked at either.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no table: the sentence says what was found, where, and what to do.
    """
    if file.is_dir():
        raise ValueError(f"{file} is a folder; expected a file: {_KNOWN}")
    if not file.exists():
        raise FileNotFoundError(f"there is no file {file}")
    return parsed(file.read_bytes(), file.name, wanted, without)


def parsed(raw: bytes, name: str, wanted: Mapping[str, bool] | None = None, without: Collection[str] = ()) -> Columns:
    """The columns in the bytes of a file.

    Args:
        raw: All of it.
        name: The name of the file, for its ending and for what is said of it.
        wanted: As `read` takes it.
        without: Likewise.

    Raises:
        ValueError: As `read` does.
    """
    if not raw:
        raise ValueError(f"{name} is empty; expected {_KNOWN}")
    if raw[:2] == b"\x1f\x8b":
        raise ValueError(f"{name} is packed by gzip; expected {_KNOWN}: unpack it")
    if raw[:1] == b"\x80" or name.endswith((".pkl", ".pickle", ".joblib")):
        raise ValueError(f"{name} is a pickle, which can run any code when it is read; expected {_KNOWN}: save it so")
    parser = _PARSERS.get(Path(name).suffix.lower())
    if parser is None:
        raise ValueError(f"{name} ends in {Path(name).suffix!r}; expected {_KNOWN}")
    columns = parser(raw, name, wanted, without)
    if not columns or not len(next(iter(columns.values()))):
        raise ValueError(f"{name} holds a heading and no rows; expected rows")
    for column, values in columns.items():
        if _unread(column, wanted, without):
            continue
        if values.dtype != object and (beyond := np.flatnonzero(np.abs(values) > LARGEST)).size:
            found = values[beyond[0]]
            raise ValueError(f"row {beyond[0] + 1}, column {column!r} of {name} is {found:g}; expected a finite number")
    return columns


def _unread(column: str, wanted: Mapping[str, bool] | None, without: Collection[str]) -> bool:
    return column in without or (wanted is not None and column not in wanted)


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


def _check_names(names: Sequence[str], unread: Collection[int], name: str) -> None:
    seen: dict[str, int] = {}
    for place, column in enumerate(names):
        if place in unread:
            continue
        if not column:
            raise ValueError(f"column {place + 1} of {name} has no name; name it, or delete it")
        if column in seen:
            raise ValueError(
                f"columns {seen[column] + 1} and {place + 1} of {name} are both named {column!r}; rename one"
            )
        seen[column] = place


def _nothing(place: int, cells: Sequence[str]) -> bool:
    """Whether a column without a name is the index that pandas and R add in front, or what ends of commas leave."""
    index = place == 0 and len(set(cells)) == len(cells) and all(map(str.isdecimal, cells))
    return index or not any(map(str.strip, cells))


def _column(column: str, cells: Sequence[str], name: str, wanted: Mapping[str, bool] | None) -> np.ndarray:
    told = [cell.strip() for cell in cells]
    there = [word.lower() not in MISSING for word in told]
    spoken = np.array([word if known else None for word, known in zip(told, there, strict=True)], dtype=object)
    if wanted is not None and wanted.get(column, True):
        return spoken
    numbers = np.full(len(told), np.nan)
    wrong = []
    for place, word in enumerate(told):
        if not there[place]:
            continue
        try:
            if "_" in word:  # Python reads 1_000
                raise ValueError
            numbers[place] = float(word)
        except ValueError:
            wrong.append(place)
    if not wrong:
        return numbers
    count = sum(there) - len(wrong)
    where = f"row {wrong[0] + 1}, column {column!r} of {name} is {_short(told[wrong[0]])}"
    if count > _MOSTLY * sum(there) and len(np.unique(numbers[~np.isnan(numbers)])) > _FEW:
        raise ValueError(
            f"{where}, and {count} other cells are numbers; expected a number, or nothing where it is missing"
        )
    if len(set(told)) > _FEW:  # fewer may be names of kinds that look so
        for pattern, kind, rule in _UNREAD:
            if all(pattern.fullmatch(told[place]) for place in wrong):
                raise ValueError(f"{where}, {kind}; expected {rule}")
    return spoken


_UNREAD = (
    (
        re.compile(r"[+-]?\d+,\d+|[+-]?[1-9]\d{0,2}([.,' ])\d{3}(?:\1\d{3})*(?:(?!\1)[.,]\d+)?"),
        "a number with a comma or with marks between its thousands",
        "a point before the decimals and no other mark, such as 1234.5",
    ),
    (
        re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?:[T ].*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}"),
        "a date",
        "numbers or words: turn it into such, as a year or the days since another date, or leave it out by --leave-out",
    ),
)
"""What people write that is neither a number here nor a word that an input could be made of: how it looks, what it is,
what is wanted in its place."""


def _npz(raw: bytes, name: str, wanted: Mapping[str, bool] | None, without: Collection[str]) -> Columns:
    arrays = {}
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            for member in archive.infolist():
                key = member.filename.removesuffix(".npy")
                arrays[key] = _member(archive, member, name, unread=_unread(key, wanted, without))
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError, KeyError, zipfile.zlib.error):  # type: ignore[attr-defined]
        raise ValueError(f"{name} is no .npz file, or not a whole one; expected what numpy.savez writes") from None
    columns: dict[str, np.ndarray] = {}
    for key, array in arrays.items():
        flat = {key: array} if array.ndim == 1 else {f"{key}.{i}": column for i, column in enumerate(array.T)}
        for column, values in flat.items():
            if column in columns:
                raise ValueError(f"two columns of {name} are named {column!r}; rename one")
            columns[column] = values
    if len(lengths := {len(values) for values in columns.values()}) > 1:
        raise ValueError(f"the arrays of {name} have {sorted(lengths)} rows; expected as many in each")
    return columns


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, *, unread: bool) -> np.ndarray:
    whole = f"{name} is no .npz file, or not a whole one; expected what numpy.savez writes"
    if member.compress_size * 1100 < member.file_size:  # more than deflate can do
        raise ValueError(whole)
    with archive.open(member) as file:
        try:
            version = np.lib.format.read_magic(file)
            header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
            shape, fortran, dtype = header(file)
        except (ValueError, KeyError):
            raise ValueError(whole) from None
        if dtype.kind not in "biuf":
            if unread and len(shape) == 1 and shape[0] >= 0:
                return np.broadcast_to(np.nan, shape)
            raise ValueError(f"the array {member.filename} of {name} is of type {dtype}; expected numbers")
        if len(shape) not in (1, 2):
            raise ValueError(
                f"the array {member.filename} of {name} has shape {shape}; expected (rows,) or (rows, columns)"
            )
        content = file.read(member.file_size)
    if any(size < 0 for size in shape) or len(content) != math.prod(shape) * dtype.itemsize:
        raise ValueError(whole)
    array = np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")
    with np.errstate(over="ignore"):
        return array.astype(np.float64)


def _parquet(raw: bytes, name: str, wanted: Mapping[str, bool] | None, without: Collection[str]) -> Columns:
    found = parquet.columns(raw, name, lambda column: _unread(column.strip(), wanted, without))
    names = [column.strip() for column, _ in found]
    _check_names(names, {place for place, column in enumerate(names) if _unread(column, wanted, without)}, name)
    return {
        column: cells if isinstance(cells, np.ndarray) else _column(column, cells, name, wanted)
        for column, (_, cells) in zip(names, found, strict=True)
    }


_PARSERS: Mapping[str, Callable[[bytes, str, Mapping[str, bool] | None, Collection[str]], Columns]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".txt": _csv,
    ".npz": _npz,
    ".parquet": _parquet,
}
_KNOWN = "a table as .csv, .npz or .parquet"


def _short(word: str) -> str:
    return repr(word if len(word) <= 40 else word[:40] + "…")
