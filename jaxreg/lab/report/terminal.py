"""Print verdicts, tables and forest plots. Columns are dropped in a narrow terminal; words are never cut."""

import os
import textwrap
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text as Line

from jaxreg.lab.report.document import Block, Listing, Paragraph, Quoted, Table, Text, in_words
from jaxreg.lab.report.effects import Effects, row_places, span
from jaxreg.lab.report.provenance import Source, shown
from jaxreg.lab.report.tables import contents
from jaxreg.lab.report.verdict import forest_of, verdict
from jaxreg.lab.studies.results import NONE

_BETWEEN = 2  # spaces between columns
_PROSE = 24  # least width of a column of sentences
_LONGEST = 100  # of a line of words
_MARK = " <"
_LEGEND = "● the 95 % interval excludes 0, ○ contains 0, ◂ ▸ is longer than shown"


def terminal() -> Console:
    """Return a console for printing. Its width is 180 characters in a file or a pipe, unless COLUMNS is set."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 180
    return console


def print_source(source: Source) -> None:
    """Print the tables of a case study or of a sweep.

    Args:
        source: `StudyResults`, or a dataset of `open_sweep`.
    """
    console = terminal()
    title, tables, note = contents(source)
    console.print(Line(title, "bold"))
    for table in tables:
        print_table(table)
        console.print()
    print_words(note)


def print_verdict(sources: Sequence[Source]) -> None:
    """Print the verdict on case studies, and how each recipe differs from the baseline.

    Args:
        sources: Case studies, each a `StudyResults`.
    """
    print_blocks(verdict(sources))
    if all(NONE in source.data.fresh["recipe"].values for source in sources):
        print_forest(forest_of(sources))


def print_blocks(blocks: Sequence[Block]) -> None:
    """Print paragraphs, tables and listings of a report.

    Args:
        blocks: Blocks of a report. Blocks other than paragraphs, tables and listings are skipped.
    """
    console = terminal()
    for block in blocks:
        match block:
            case Paragraph(text, lead, _):
                print_words(text, bold=lead)
            case Table():
                print_table(block)
            case Listing(text):
                console.print(Line(textwrap.indent(text.replace("\n\n", "\n"), "    ")))


def print_words(text: Text, *, bold: bool = False) -> None:
    """Print a sentence. Wrap it in a terminal, but keep it on one line in a file or a pipe."""
    console = terminal()
    width = min(console.width, _LONGEST) if console.is_terminal or "COLUMNS" in os.environ else 0
    lines = _wrapped(_plain(text), width) if width else [_plain(text)]
    for line in lines:
        console.print(Line(line, "bold" if bold else ""))


def print_table(table: Table) -> None:
    """Print a table. Highlighted rows are bold and end in an arrow."""
    console = terminal()
    for line in table_lines(table, console.width):
        console.print(Line(line, "bold" if line.endswith(_MARK) else ""))


def table_lines(table: Table, width: int) -> list[str]:
    """Format a table as lines of text. Columns are left out if the table is wider than `width` characters.

    Args:
        table: Table to format.
        width: Number of characters per line.

    Returns:
        Lines with the caption, the header and the rows. The last line names the columns that were left out.

    Example:
        >>> table = Table(["Losses"], ["recipe", "loss", "spread"], [[["L2"], ["0.25"], ["0.01"]]], optional=["spread"])
        >>> table_lines(table, 18)[:3]
        ['Losses', 'recipe  loss', 'L2      0.25']
    """
    marks = len(_MARK) if table.marked else 0
    kept = list(range(len(table.columns)))
    names = list(map(str, table.columns))
    order = [names.index(column) for column in table.optional]
    order += [place for place in reversed(kept[1:]) if place not in order]
    while len(kept) > 2 and _least(table, kept) + marks > width and order:
        kept.remove(order.pop(0))
    columns: list[list[list[str]]] = []
    spare = width - marks - _least(table, kept)
    for place in kept:
        columns.append(_column(table, place, spare))
        spare -= len(columns[-1][0][0]) - _least(table, [place])
    lines = _wrapped(_plain(table.caption), width)
    firsts = ["", *(_plain(row[0]) for row in table.rows)]
    for name, row in zip(firsts, zip(*columns, strict=True), strict=True):
        height = max(map(len, row))
        for part in range(height):
            cells = [cell[part] if part < len(cell) else " " * len(cell[0]) for cell in row]
            mark = _MARK if name in table.marked and part == 0 else ""
            lines.append((" " * _BETWEEN).join(cells).rstrip() + mark)
    left = [name for place, name in enumerate(names) if place not in kept]
    return [*lines, *_wrapped(f"Not shown for lack of space: {', '.join(left)}", width)] if left else lines


def print_forest(effects: Effects) -> None:
    """Print a forest plot: how much each recipe differs from the baseline, with confidence intervals.

    Each metric has its own panel.

    Args:
        effects: Differences to plot.
    """
    console = terminal()
    for place, line in enumerate(forest_lines(effects, min(console.width, 120))):
        chosen = place >= 1 and line.startswith(f"{effects.chosen} ") and effects.chosen
        console.print(Line(line, "bold blue" if chosen else ""))
    if effects.labels:
        console.print(Line(_LEGEND, "dim"))


def forest_lines(effects: Effects, width: int) -> list[str]:
    """Format a forest plot as text.

    Args:
        effects: Differences to plot.
        width: Number of characters per line.

    Returns:
        A header, and one line per recipe. A bar shows the confidence interval of the recipe. The mean in the bar is ●
        if the interval excludes 0, else ○.
    """
    names = max(map(len, [*effects.labels, NONE]), default=0)
    panels = list(zip(effects.measures, effects.changes, strict=True))
    means = [[shown(row[0], one.what.form) for row in changes] for one, changes in panels]
    numbers = [max(map(len, texts), default=0) for texts in means]
    count = len(panels)
    size = (width - names - count * _BETWEEN - sum(numbers) - count) // count
    if size < 12 and count > 1:  # one measure below the other
        return [
            line
            for place, measure in enumerate(effects.measures)
            for line in forest_lines(effects._replace(measures=[measure], changes=effects.changes[[place]]), width)
        ]
    heads, columns = [], []
    for (measure, changes), texts, number in zip(panels, means, numbers, strict=True):
        what = measure.what
        unit = f" ({what.unit})" if what.unit else ""
        head = f"{'← better: ' if measure.lower else ''}{what.words}{unit}{'' if measure.lower else ': better →'}"
        heads.append(textwrap.shorten(head, size + 1 + number, placeholder="").ljust(size + 1 + number))
        low, high = span(changes, lower_is_better=measure.lower)
        rows = [_bar(row, low, high, size) for row in changes]
        columns.append([f"{bar} {text:>{number}}" for bar, text in zip(rows, texts, strict=True)])
    between = " " * _BETWEEN
    lines = [between.join([" " * names, *heads]).rstrip()]
    gaps = row_places(effects.groups)
    for place, label in enumerate(effects.labels):
        if place and gaps[place] - gaps[place - 1] > 1:
            lines.append("")
        lines.append(between.join([label.ljust(names), *(column[place] for column in columns)]).rstrip())
    return lines


def _bar(change: Sequence[float], low: float, high: float, size: int) -> str:
    def at(value: float) -> int:
        return min(max(round((value - low) / (high - low) * (size - 1)), 0), size - 1)

    cells = [" "] * size
    cells[at(0.0)] = "│"
    mean, start, end = change
    if start <= end:
        cells[at(start) : at(end) + 1] = "─" * (at(end) - at(start) + 1)
        cells[at(start)], cells[at(end)] = ("◂" if start < low else "─"), ("▸" if end > high else "─")
    if low <= mean <= high:
        cells[at(mean)] = "●" if start > 0 or end < 0 else "○"
    return "".join(cells)


def _wrapped(words: str, width: int) -> list[str]:
    return textwrap.wrap(words, width, break_long_words=False, break_on_hyphens=False)


def _plain(text: Text) -> str:
    return "".join(map(str, text)).replace("\n", " ")


def _prose(table: Table, place: int) -> bool:
    """Return whether a column holds sentences, which can be broken between words."""
    return any(row[place] and isinstance(row[place][0], Quoted) for row in table.rows)


def _width(table: Table, place: int) -> int:
    """Return the width of a column: its longest cell, or the longest word of its heading."""
    words = [len(word) for word in str(table.columns[place]).split()]
    return max([*words, *(len(_plain(row[place])) for row in table.rows)], default=0)


def _least(table: Table, kept: Sequence[int]) -> int:
    widths = [min(_width(table, place), _PROSE) if _prose(table, place) else _width(table, place) for place in kept]
    return sum(widths) + _BETWEEN * (len(kept) - 1)


def _column(table: Table, place: int, spare: int) -> list[list[str]]:
    """Return the heading and the cells of a column, each as a list of lines of the same width."""
    width = _width(table, place)
    if _prose(table, place):
        width = min(width, _PROSE + max(spare, 0))
    cells = [str(table.columns[place]), *(_plain(row[place]) for row in table.rows)]
    broken = [_wrapped(cell, max(width, 1)) or [""] for cell in cells]
    left = in_words(table, place)
    return [[line.ljust(width) if left else line.rjust(width) for line in cell] for cell in broken]
