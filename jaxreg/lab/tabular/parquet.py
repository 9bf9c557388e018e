"""Reader of Parquet files. It imports pyarrow only when a Parquet file is read.

The types in the file determine the columns. Numbers stay numbers. Booleans, strings, dates and categories become text,
as in a CSV file. The size that the file declares is checked before memory is allocated.
"""

import importlib
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxreg.lab.tabular.arguments import ignoring

MOST_CELLS = 200_000_000
"""Largest number of cells of a table; as float64 they take 1.6 GB."""

_MARK = b"PAR1"
_SMALL = 2**24
"""Largest number of bytes of a string, and of entries of a list, in the footer of a file."""
_INDEX = "__index_level_"
"""Start of the name that pandas gives to an index without a name. Such an index numbers the rows and is not read."""


def columns(raw: bytes, name: str, unread: Callable[[str], bool]) -> list[tuple[str, np.ndarray | Sequence[str]]]:
    """Return the columns of a Parquet file, as a list of (name, cells).

    Columns of numbers become float64, with NaN for missing cells. All other columns become text, with "" for missing
    cells. If a column is not read, all its cells are "".

    Args:
        raw: Content of the file.
        name: Name of the file, for messages.
        unread: Function of the name of a column, which returns True if the column should not be read.

    Raises:
        ValueError: If the file is not a Parquet file, is damaged or is too large. If a column has an unsupported type,
            such as lists. If pyarrow is not installed.
    """
    if len(raw) < 12 or raw[:4] != _MARK or raw[-4:] != _MARK:
        raise ValueError(f"{name} is not a Parquet file, or is incomplete: the marker at its start or end is missing")
    try:
        arrow, parquet = (importlib.import_module(module) for module in ("pyarrow", "pyarrow.parquet"))
    except ImportError:
        raise ValueError(
            f"reading {name} needs pyarrow. Run: pip install 'jaxreg[parquet]', or save the table as CSV"
        ) from None
    try:
        file = parquet.ParquetFile(io.BytesIO(raw), thrift_string_size_limit=_SMALL, thrift_container_size_limit=_SMALL)
        fields = [field for field in file.schema_arrow if not field.name.startswith(_INDEX)]
        size = _size(file.metadata)
    except Exception as error:
        raise _damaged(name, error) from None
    if size > MOST_CELLS:
        raise ValueError(f"{name} has {size} cells according to its metadata; expected at most {MOST_CELLS}")
    for field in fields:
        if unread(field.name):
            continue
        if not _is_numbers(arrow.types, field.type) and not _is_words(arrow.types, field.type):
            raise ValueError(
                f"column {field.name!r} of {name} is of type {_short(field.type)}; expected numbers, strings, "
                f"dates, categories or booleans. Convert the column, or {ignoring('it')}"
            )
    try:
        table = file.read(use_threads=False)
        table.validate(full=True)
        return [
            (column, [""] * len(cells) if unread(column) else _cells(arrow, cells))
            for column, cells in zip(table.column_names, table.columns, strict=True)
            if not column.startswith(_INDEX)
        ]
    except Exception as error:
        raise _damaged(name, error) from None


def _size(metadata: Any) -> int:
    """Return the number of cells of a file, or the number of float64 that its declared size can store, if larger.

    Single columns are not read here, because pyarrow crashes if a damaged footer lacks one.
    """
    groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
    rows = max(metadata.num_rows, sum(group.num_rows for group in groups))
    return max(rows * metadata.num_columns, sum(group.total_byte_size for group in groups) // 8)


def _is_numbers(types: Any, kind: Any) -> bool:
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind))


def _is_words(types: Any, kind: Any) -> bool:
    if types.is_dictionary(kind):
        kind = kind.value_type
        return _is_numbers(types, kind) or _is_words(types, kind)
    # Dates and times are recognised by their text, as in a CSV file.
    tests = (
        types.is_date,
        types.is_timestamp,
        types.is_time,
        types.is_boolean,
        types.is_string,
        types.is_large_string,
        types.is_string_view,
    )
    return any(test(kind) for test in tests)


def _cells(arrow: Any, column: Any) -> np.ndarray | Sequence[str]:
    if _is_numbers(arrow.types, column.type):
        return np.array(column.cast(arrow.float64(), safe=False).to_numpy(), dtype=np.float64)
    return ["" if cell is None else str(cell) for cell in column.to_pylist()]


def _damaged(name: str, error: Exception) -> ValueError:
    return ValueError(f"{name} is not a Parquet file, or is incomplete: {_short(error) or type(error).__name__}")


def _short(what: object) -> str:
    words = " ".join(str(what).split())
    return words if len(words) <= 120 else words[:120] + "…"
