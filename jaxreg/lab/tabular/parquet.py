"""Columns of a Parquet file, read by pyarrow, which is imported only when a Parquet file is read.

Its types say what a column is: numbers stay numbers; booleans, strings, dates and categories are text, as in a CSV
file. What
a file says of its own size is looked at before anything of that size is made.
"""

import importlib
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

MOST_CELLS = 200_000_000
"""Cells of a table: 1.6 GB of numbers."""

_MARK = b"PAR1"
_SMALL = 2**24
"""Bytes of one piece of text in a footer, and entries of one list in it."""
_INDEX = "__index_level_"
"""How pandas names an index without a name: the numbers of rows, which are nothing to learn from."""


def columns(raw: bytes, name: str, unread: Callable[[str], bool]) -> list[tuple[str, np.ndarray | Sequence[str]]]:
    """The name of each column with its float64 numbers, NaN where one is missing, or its words, "" where one is.

    A column that is not to be read has no words.

    Args:
        raw: All of the file.
        name: Its name, for what is said of it.
        unread: Whether a column of a name is not to be read, whatever its type.

    Raises:
        ValueError: If it is no Parquet file, is damaged, is too large, or has a column that is neither numbers nor
            words; or if there is no pyarrow.
    """
    if len(raw) < 12 or raw[:4] != _MARK or raw[-4:] != _MARK:
        raise ValueError(f"{name} is no Parquet file, or is incomplete: the marker at its start or end is missing")
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
        raise ValueError(f"{name} declares {size} cells; expected at most {MOST_CELLS}")
    for field in fields:
        if unread(field.name):
            continue
        if not _is_numbers(arrow.types, field.type) and not _is_words(arrow.types, field.type):
            raise ValueError(
                f"column {field.name!r} of {name} is of type {_short(field.type)}; expected numbers, strings, "
                "dates, categories or booleans: convert it, or ignore it with --leave-out"
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
    """Cells, or the bytes of all groups of rows over eight, if those are more.

    Nothing is asked of a single column: pyarrow ends the process where a damaged footer lacks one.
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
    return ValueError(f"{name} is no Parquet file, or is incomplete: {_short(error) or type(error).__name__}")


def _short(what: object) -> str:
    words = " ".join(str(what).split())
    return words if len(words) <= 120 else words[:120] + "…"
