"""`read`: a table from a CSV, .npz or Parquet file."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np

from jaxreg.lab.tabular import parquet
from jaxreg.lab.tabular.columns import LARGEST, Columns, _check_names, _column, _unread
from jaxreg.lab.tabular.csv import _csv
from jaxreg.lab.tabular.npz import _npz


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
