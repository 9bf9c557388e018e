"""Read a table from a CSV, Excel, .npz or Parquet file."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxreg.lab.tabular import csv, excel, parquet
from jaxreg.lab.tabular.arguments import argument, called_by
from jaxreg.lab.tabular.columns import LARGEST, Columns, _unread, name_problems, read_cells
from jaxreg.lab.tabular.headings import named
from jaxreg.lab.tabular.npz import _npz


@called_by("read")
def read(
    file: Path | str,
    wanted: Mapping[str, bool] | None = None,
    without: Collection[str] = (),
    names: Sequence[str] = (),
) -> Columns:
    """Read the columns of a table from a file.

    Args:
        file: Path that ends in .csv, .tsv, .txt, .data, .xlsx, .npz or .parquet. The file may be compressed by gzip.
        wanted: Dict whose keys are the names of the columns to read. The value True keeps the cells as text, even if
            they look like numbers (such as the code 02134). The value False converts the cells to numbers if all of
            them are numbers or missing. If `wanted` is None, all columns are read as with the value False.
        without: Names of columns not to read, even if they are in `wanted`.
        names: Names of all columns of a text file or sheet, in order. They replace the header row, if there is one.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a table, or a column has an error, such as a repeated name. The message says
            where the problem is and what to do.
    """
    columns = opened(file, wanted, without, names)
    if columns.problems:
        raise ValueError("; ".join(columns.problems))
    return columns


def opened(
    file: Path | str,
    wanted: Mapping[str, bool] | None = None,
    without: Collection[str] = (),
    names: Sequence[str] = (),
) -> Columns:
    """Read the columns of a file. Problems with single columns raise no error; `Columns.problems` lists them.

    Args:
        file: Path of the file, as for `read`.
        wanted: Columns to read, as for `read`.
        without: Columns not to read, as for `read`.
        names: Column names, as for `read`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a table.
    """
    file = Path(file)
    if file.is_dir():
        raise ValueError(f"{str(file)!r} is a folder; expected a file with {_KNOWN}")
    if not file.exists():
        raise FileNotFoundError(f"there is no file {str(file)!r}; expected {_KNOWN}")
    return loaded(file.read_bytes(), file.name, wanted, without, names)


@called_by("read")
def parsed(
    raw: bytes,
    name: str,
    wanted: Mapping[str, bool] | None = None,
    without: Collection[str] = (),
    names: Sequence[str] = (),
) -> Columns:
    """Read the columns of a table from the bytes of a file.

    Args:
        raw: Content of the file.
        name: Name of the file. Its ending determines the format. Error messages and notes contain the name.
        wanted: Dict whose keys are the names of the columns to read. The value True keeps the cells as text, even if
            they look like numbers. The value False converts the cells to numbers if all of them are numbers or missing.
            If `wanted` is None, all columns are read as with the value False.
        without: Names of columns not to read, even if they are in `wanted`.
        names: Names of all columns of a text file or sheet, in order. They replace the header row, if there is one.

    Raises:
        ValueError: If the content is not a table, or a column has an error, such as a repeated name.
    """
    columns = loaded(raw, name, wanted, without, names)
    if columns.problems:
        raise ValueError("; ".join(columns.problems))
    return columns


def loaded(
    raw: bytes,
    name: str,
    wanted: Mapping[str, bool] | None = None,
    without: Collection[str] = (),
    names: Sequence[str] = (),
) -> Columns:
    """Read the columns from the content of a file. Problems with single columns are listed in `Columns.problems`.

    Args:
        raw: Content of the file.
        name: Name of the file. Its ending determines the format. Error messages and notes contain the name.
        wanted: Columns to read, as for `read`.
        without: Columns not to read, as for `read`.
        names: Column names, as for `read`.

    Raises:
        ValueError: If the content is not a table.
    """
    if not raw:
        raise ValueError(f"{name} is empty; expected {_KNOWN}")
    ending = Path(name.lower().removesuffix(".gz")).suffix
    if raw[:2] == b"\x1f\x8b":
        raw = csv.unpacked(raw, name)
    if raw[:1] == b"\x80" or ending in (".pkl", ".pickle", ".joblib"):
        raise ValueError(f"{name} is a pickle, which can run any code when it is read; expected {_KNOWN}")
    if ending in _TEXT:
        rows, delimiter, notes = csv.rows(raw, name)
        columns = named(rows, name, wanted, without, names, delimiter)
        columns.notes = (*notes, *columns.notes)
    elif ending in _SHEETS:
        rows, notes = excel.rows(raw, name)
        columns = named(rows, name, wanted, without, names)
        columns.notes = (*notes, *columns.notes)
    elif ending not in _TYPED:
        raise ValueError(f"{name} ends in {Path(name).suffix!r}; expected {_KNOWN}")
    elif names:
        raise ValueError(
            f"{argument('names')} can't be used with {name}, which has column names already. Remove {argument('names')}"
        )
    else:
        columns = _TYPED[ending](raw, name, wanted, without)
    if not columns.problems and (not columns or not len(next(iter(columns.values())))):
        raise ValueError(f"{name} has column names but no data rows; expected at least one data row")
    columns.problems = (*columns.problems, *_infinite(columns, name, wanted, without))
    return columns


def _infinite(
    columns: Columns, name: str, wanted: Mapping[str, bool] | None, without: Collection[str]
) -> Iterator[str]:
    for column, values in columns.items():
        if values.dtype == object or _unread(column, wanted, without):
            continue
        if (beyond := np.flatnonzero(np.abs(values) > LARGEST)).size:
            number = values[beyond[0]]
            yield (
                f"row {beyond[0] + 1}, column {column!r} of {name} is {number:g}; expected a number between "
                f"{-LARGEST:g} and {LARGEST:g}"
            )


def _parquet(raw: bytes, name: str, wanted: Mapping[str, bool] | None, without: Collection[str]) -> Columns:
    found = parquet.columns(raw, name, lambda column: _unread(column.strip(), wanted, without))
    names = [column.strip() for column, _ in found]
    columns = Columns(
        {
            column: cells if isinstance(cells, np.ndarray) else read_cells(column, cells, wanted)
            for column, (_, cells) in zip(names, found, strict=True)
        }
    )
    unread = {place for place, column in enumerate(names) if _unread(column, wanted, without)}
    columns.problems = name_problems(names, unread, name)
    return columns


def is_table(file: Path) -> bool:
    """Return whether the name of a file has the ending of a table, such as .csv or .csv.gz.

    Args:
        file: Path of the file, which need not exist.
    """
    return Path(file.name.lower().removesuffix(".gz")).suffix in (*_TEXT, *_SHEETS, *_TYPED)


_TEXT = (".csv", ".tsv", ".txt", ".data", ".dat", ".tab")
_SHEETS = (".xlsx", ".xlsm")
_TYPED = {".npz": _npz, ".parquet": _parquet}
_KNOWN = "a table as .csv, .xlsx, .npz or .parquet"
