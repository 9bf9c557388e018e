"""Building blocks of a report, the same for all output formats: sentences, tables, pictures, sliders."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from jaxreg.lab.report.provenance import QuotedNumber


@dataclasses.dataclass(frozen=True)
class Code:
    """Code inside a sentence of a report, such as a command, a Python call or the label of a method.

    Args:
        text: The code.
    """

    text: str

    def __str__(self) -> str:
        return self.text


@dataclasses.dataclass(frozen=True)
class Quoted:
    """Words that the report quotes, such as the title of a study.

    Args:
        text: The words.
    """

    text: str

    def __str__(self) -> str:
        return self.text


Piece = str | QuotedNumber | Code | Quoted
Text = Sequence[Piece]
"""A sentence, as a sequence of pieces: words, numbers, code and quoted words."""


@dataclasses.dataclass(frozen=True)
class Heading:
    """A heading of a report. Level 1 is the title of the report. Level 2 starts a part, and level 3 a section."""

    text: Text
    level: int = 2


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """A paragraph in a report. If `lead` is true, its letters are larger. If `note` is true, they are smaller."""

    text: Text
    lead: bool = False
    note: bool = False


@dataclasses.dataclass(frozen=True)
class Bullets:
    """A bulleted list of sentences in a report."""

    items: Sequence[Text]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of a report. The first cell of a row is the name of the row.

    Args:
        caption: Title, which also says what the numbers mean.
        columns: Names of the columns.
        rows: Cells, row by row.
        marked: Names of the highlighted rows.
        optional: Columns to drop if the table is too wide, in the order in which they are dropped.
    """

    caption: Text
    columns: Sequence[str | Code]
    rows: Sequence[Sequence[Text]]
    marked: Sequence[str] = ()
    optional: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Picture:
    """One picture in a report.

    Args:
        name: Name of the picture, unique in the report.
        title: Main message of the picture, in a few words.
        caption: Meaning of lines and colours.
        svg: The picture as SVG.
    """

    name: str
    title: str
    caption: str
    svg: str


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Several pictures in a report, side by side if there is enough space."""

    pictures: Sequence[Picture]


@dataclasses.dataclass(frozen=True)
class Stop:
    """One position of a slider in a report: its label, a sentence and its pictures."""

    label: str
    text: Text
    pictures: Sequence[Picture]


@dataclasses.dataclass(frozen=True)
class Walk:
    """A slider in a report. Its positions show the results of one method with increasing strengths.

    Args:
        name: Name of the slider, unique on the page.
        what: Text in front of the slider.
        stops: Positions of the slider: the baseline, then increasing strengths.
        start: Index of the first position to show.
        ticks: Short name of each position, for the scale of the slider.
        shared: Pictures that are shown at every position. In each of them, the SVG group `mark-<index>` is visible only
            at the position with that index.
    """

    name: str
    what: Text
    stops: Sequence[Stop]
    start: int
    ticks: Sequence[str]
    shared: Sequence[Picture] = ()


@dataclasses.dataclass(frozen=True)
class Listing:
    """Lines of code or text that a report shows unchanged."""

    text: str


@dataclasses.dataclass(frozen=True)
class Details:
    """A section of a report that readers can fold away. If `printed` is false, the section is left out on paper."""

    title: str
    blocks: Sequence["Block"]
    printed: bool = False


@dataclasses.dataclass(frozen=True)
class Summary:
    """The first part of a report: the verdict, and a picture next to it."""

    blocks: Sequence["Block"]
    picture: Picture | None = None


Block = Heading | Paragraph | Bullets | Table | Pictures | Walk | Listing | Details | Summary


def numbers(content: Any) -> list[QuotedNumber]:
    """Return all numbers that the given content of a report contains, in the order of the report.

    Args:
        content: A block, a sentence or a piece of a sentence, or a sequence of blocks, sentences or pieces.
    """
    if isinstance(content, QuotedNumber):
        return [content]
    if content is None or isinstance(content, str | Code | Quoted | Picture | Listing | int):
        return []
    parts = content if isinstance(content, Sequence) else vars(content).values()
    return [number for part in parts for number in numbers(part)]


def in_words(table: Table, place: int) -> bool:
    """Return whether a column of a table contains words instead of numbers. The first column counts as words.

    Args:
        table: Table with the column.
        place: Index of the column.
    """
    first = [row[place][0] for row in table.rows if row[place]]
    return place == 0 or any(not isinstance(piece, QuotedNumber) for piece in first)


def recomputing(blocks: Sequence[Block], lines: Sequence[str]) -> Block:
    """Return a section of a report that lists each number in `blocks` with the Python call that computes it.

    Args:
        blocks: Blocks with the numbers.
        lines: Python code to run before the calls.
    """
    calls = {number.call: number for number in numbers(blocks)}
    rows: list[Sequence[Text]] = [[[number], [Code(call)]] for call, number in calls.items()]
    how: Text = ["Point at a number of this report to see the call that computes it. Run these lines, then any call:"]
    table = Table(["Every number of this report and the call that computes it"], ["number", "call"], rows)
    return Details("Recompute any number", [Paragraph(how), Listing("\n".join(lines)), table])


def as_plain(table: Table) -> dict[str, Any]:
    """Return a table as a dict for JSON. Each number has the Python call that computes it.

    Args:
        table: Table to convert.
    """

    def cell(text: Text) -> str | dict[str, Any]:
        shown = "".join(map(str, text))
        # JSON has no NaN.
        quoted = [{"value": n.value if math.isfinite(n.value) else None, "call": n.call} for n in numbers(text)]
        return {"text": shown, "numbers": quoted} if quoted else shown

    rows = [dict(zip(map(str, table.columns), map(cell, row), strict=True)) for row in table.rows]
    return {"caption": "".join(map(str, table.caption)), "rows": rows}
