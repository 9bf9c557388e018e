"""Blocks of a report, in any format: sentences, tables, pictures, and a slider along the strengths."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from jaxreg.lab.report.provenance import QuotedNumber


@dataclasses.dataclass(frozen=True)
class Code:
    """Text that is not prose, such as a label, a command or a call.

    Args:
        text: Text as it is.
    """

    text: str

    def __str__(self) -> str:
        return self.text


@dataclasses.dataclass(frozen=True)
class Quoted:
    """Words that the report quotes, such as a title.

    Args:
        text: Text as it is.
    """

    text: str

    def __str__(self) -> str:
        return self.text


Piece = str | QuotedNumber | Code | Quoted
Text = Sequence[Piece]
"""A sentence: words, numbers, labels, and quoted words."""


@dataclasses.dataclass(frozen=True)
class Heading:
    """A heading: level 1 is the title, 2 a part, 3 a section."""

    text: Text
    level: int = 2


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """A paragraph; a lead is emphasised, a note is set smaller."""

    text: Text
    lead: bool = False
    note: bool = False


@dataclasses.dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: Sequence[Text]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table; the first cell of a row names the row, and marked rows are highlighted.

    Args:
        caption: Title, with the meaning of the numbers.
        columns: Names of the columns.
        rows: Cells, row by row.
        marked: Names of the highlighted rows.
        optional: Columns to drop if the table is too wide; the first one is dropped first.
    """

    caption: Text
    columns: Sequence[str | Code]
    rows: Sequence[Sequence[Text]]
    marked: Sequence[str] = ()
    optional: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture.

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
    """Pictures side by side if there is enough space."""

    pictures: Sequence[Picture]


@dataclasses.dataclass(frozen=True)
class Stop:
    """One position of a slider: its label, a sentence and its pictures."""

    label: str
    text: Text
    pictures: Sequence[Picture]


@dataclasses.dataclass(frozen=True)
class Walk:
    """A slider along the strengths of one method, with one position per strength.

    Args:
        name: Name on the page.
        what: Description of the slider.
        stops: Positions, the weakest strength first.
        start: Index of the first position to show.
        ticks: Short name of each position, for the scale of the slider.
        shared: Pictures that all positions share, in which groups named `stop-<place>` mark one position.
    """

    name: str
    what: Text
    stops: Sequence[Stop]
    start: int
    ticks: Sequence[str]
    shared: Sequence[Picture] = ()


@dataclasses.dataclass(frozen=True)
class Listing:
    """Lines of code or text that are shown as they are."""

    text: str


@dataclasses.dataclass(frozen=True)
class Details:
    """Blocks under a title that can be folded away; shown in the terminal only if `printed`."""

    title: str
    blocks: Sequence["Block"]
    printed: bool = False


@dataclasses.dataclass(frozen=True)
class Summary:
    """The verdict: blocks to read first, and a picture next to them."""

    blocks: Sequence["Block"]
    picture: Picture | None = None


Block = Heading | Paragraph | Bullets | Table | Pictures | Walk | Listing | Details | Summary


def numbers(content: Any) -> list[QuotedNumber]:
    """Return every number in blocks or sentences, in order.

    Args:
        content: A block, or a sequence of blocks, sentences or parts of one.
    """
    if isinstance(content, QuotedNumber):
        return [content]
    if content is None or isinstance(content, str | Code | Quoted | Picture | Listing | int):
        return []
    parts = content if isinstance(content, Sequence) else vars(content).values()
    return [number for part in parts for number in numbers(part)]


def in_words(table: Table, place: int) -> bool:
    """Check if a column of a table holds words instead of numbers.

    Args:
        table: Table.
        place: Index of the column.
    """
    first = [row[place][0] for row in table.rows if row[place]]
    return place == 0 or any(not isinstance(piece, QuotedNumber) for piece in first)


def recomputing(blocks: Sequence[Block], lines: Sequence[str]) -> Block:
    """Return a table of every number in some blocks, with the call that computes it.

    Args:
        blocks: Blocks with the numbers.
        lines: Python code to run before the calls.
    """
    calls = {number.call: number for number in numbers(blocks)}
    rows: list[Sequence[Text]] = [[[number], [Code(call)]] for call, number in calls.items()]
    how: Text = ["Point at a number to see the call that computes it. After these lines, each call runs as it is:"]
    table = Table(["Every number here and its call"], ["number", "call"], rows)
    return Details("Recompute any number", [Paragraph(how), Listing("\n".join(lines)), table])


def as_plain(table: Table) -> dict[str, Any]:
    """Return a table in the form of JSON, with the call of every number.

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
