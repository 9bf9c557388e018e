"""Reader of Excel sheets. The module openpyxl is imported only when an Excel file is read."""

import datetime
import importlib
import io
import zipfile

from jaxreg.lab.tabular.encoding import spoken

_LARGEST = 2**31
"""Largest size of a decompressed workbook, in bytes."""


def rows(raw: bytes, name: str) -> tuple[list[list[str]], list[str]]:
    """Read the first visible sheet of an Excel file. Return its rows as lists of text, and notes for the user.

    Args:
        raw: Content of the file.
        name: Name of the file, for messages.

    Raises:
        ValueError: If the file is not a workbook, is damaged or is too large, the sheet is empty, or openpyxl is not
            installed.
    """
    damaged = f"{name} is not an Excel workbook, or is incomplete; expected an .xlsx file. Save it as .xlsx or as CSV"
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            size = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError):
        raise ValueError(damaged) from None
    if size > _LARGEST:
        raise ValueError(f"{name} has {size} bytes when decompressed; expected at most {_LARGEST}. Save it as CSV")
    try:
        openpyxl = importlib.import_module("openpyxl")
    except ImportError:
        raise ValueError(
            f"reading {name} needs openpyxl. Run: pip install 'jaxreg[excel]', or save the sheet as CSV"
        ) from None
    try:
        book = openpyxl.load_workbook(io.BytesIO(raw), read_only=True, data_only=True)
        sheets = book.worksheets
        sheet = next((each for each in sheets if each.sheet_state == "visible"), sheets[0])
        table = [[_text(cell) for cell in row] for row in sheet.iter_rows(values_only=True)]
    except Exception:
        raise ValueError(damaged) from None
    table = [row for row in table if any(row)]
    width = max((place + 1 for row in table for place, cell in enumerate(row) if cell), default=0)
    if not width:
        raise ValueError(f"the sheet {sheet.title!r} of {name} is empty; expected a header row and data rows")
    table = [[*row, *[""] * width][:width] for row in table]
    names = [each.title for each in sheets]
    note = f"{name} has {len(names)} sheets, {', '.join(map(repr, names[:8]))}. Only {sheet.title!r} is read"
    return table, [note] if len(names) > 1 else []


def _text(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        return spoken(cell)
    if isinstance(cell, datetime.timedelta):
        seconds = round(cell.total_seconds())
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return str(cell)
