"""Show results in notebooks and at the Python prompt, as small tables and short texts instead of all numbers."""

from collections.abc import Sequence
from html import escape
from importlib import import_module

_MOST = 3


def card(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], marked: str = "") -> str:
    """Return a table as HTML, with the first column left-aligned and the other columns right-aligned.

    Args:
        title: Caption of the table.
        columns: Names of the columns; empty for no header.
        rows: Cells, as text.
        marked: Text of the first cell of the row to highlight; empty for none.

    Example:
        >>> card("a < b", [], [["mean", "0.5"]])[:38]
        '<table style="margin: 0"><caption styl'
    """
    head = "".join(f"<th{_side(place)}>{escape(column)}</th>" for place, column in enumerate(columns))
    body = []
    for row in rows:
        bold = ' style="font-weight: bold"' if marked and row[0] == marked else ""
        cells = "".join(f"<td{_side(place)}>{escape(cell)}</td>" for place, cell in enumerate(row))
        body.append(f"<tr{bold}>{cells}</tr>")
    top = f'<caption style="text-align: left; font-weight: bold">{escape(title)}</caption>'
    heading = f"<thead><tr>{head}</tr></thead>" if columns else ""
    return f'<table style="margin: 0">{top}{heading}<tbody>{"".join(body)}</tbody></table>'


def drawn_by(module: str, value: object) -> str:
    """Convert a value to HTML for a notebook, with the function `notebook` of a module.

    Args:
        module: Name of the module. It is imported only when a value is shown.
        value: Value to show.
    """
    html: str = import_module(module).notebook(value)
    return html


def short(value: object) -> str:
    """Return a value as short text.

    A float is shown with four significant digits. A tuple with more than three entries is shown by its first three
    entries and the number of all entries. Any other value is shown by its `repr`.

    Args:
        value: Value to show.

    Example:
        >>> short(0.123456), short(64), short("draw")
        ('0.1235', '64', "'draw'")
    """
    if isinstance(value, tuple) and len(value) > _MOST:
        return f"({', '.join(map(repr, value[:_MOST]))}, … {len(value)} in all)"
    return f"{value:.4g}" if isinstance(value, float) else repr(value)


def _side(place: int) -> str:
    return f' style="text-align: {"right" if place else "left"}"'
