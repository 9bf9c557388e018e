"""Blocks of a report, in any format: sentences, tables, pictures, and a walk along the strengths."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from jaxreg.lab.report.provenance import QuotedNumber


@dataclasses.dataclass(frozen=True)
class Code:
    """Text that is not prose: a label, a command, a call.

    Args:
        text: Text as it is.
    """

    text: str

    def __str__(self) -> str:
        return self.text


@dataclasses.dataclass(frozen=True)
class Quoted:
    """Words by somebody else that the report repeats, such as a title.

    Args:
        text: Text as it is.
    """

    text: str

    def __str__(self) -> str:
        return self.text


Piece = str | QuotedNumber | Code | Quoted
Text = Sequence[Piece]
"""A sentence: words, numbers, labels, and words that were given."""


@dataclasses.dataclass(frozen=True)
class Heading:
    """A heading: level 1 is the title, 2 a part, 3 a section of it."""

    text: Text
    level: int = 2


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """A paragraph: the lead is for readers in a hurry, a note is set smaller."""

    text: Text
    lead: bool = False
    note: bool = False


@dataclasses.dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: Sequence[Text]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table; the first cell of a row names it, and the marked rows stand out.

    Args:
        caption: Title, with the meaning of the numbers.
        columns: Names of the columns.
        rows: Cells, row by row.
        marked: Names of the rows that stand out.
        optional: Columns to leave out where there is no room for all, the first of them first.
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
        name: Name among those of the report.
        title: What is seen, in a few words.
        caption: How it is drawn.
        svg: The picture.
    """

    name: str
    title: str
    caption: str
    svg: str


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Pictures side by side where there is room."""

    pictures: Sequence[Picture]


@dataclasses.dataclass(frozen=True)
class Stop:
    """One stop of a walk: its label, a sentence on it, and its pictures."""

    label: str
    text: Text
    pictures: Sequence[Picture]


@dataclasses.dataclass(frozen=True)
class Walk:
    """A walk along the strengths of one method, one stop at a time.

    Args:
        name: Name on the page.
        what: What is walked along.
        stops: Stops, the weakest strength first.
        start: Place of the first stop to show.
        ticks: Short name of each stop, for the scale of the slider.
        shared: Pictures of all stops, in which groups named `stop-<place>` mark one of them.
    """

    name: str
    what: Text
    stops: Sequence[Stop]
    start: int
    ticks: Sequence[str]
    shared: Sequence[Picture] = ()


@dataclasses.dataclass(frozen=True)
class Listing:
    """Lines to be typed or kept as they are."""

    text: str


@dataclasses.dataclass(frozen=True)
class Details:
    """Blocks that belong together; folded away under their title unless opened, and printed if asked for."""

    title: str
    blocks: Sequence["Block"]
    printed: bool = False


@dataclasses.dataclass(frozen=True)
class Summary:
    """The verdict: blocks to read first, and a picture beside them."""

    blocks: Sequence["Block"]
    picture: Picture | None = None


Block = Heading | Paragraph | Bullets | Table | Pictures | Walk | Listing | Details | Summary


def numbers(content: Any) -> list[QuotedNumber]:
    """Return every number in blocks or sentences, in their order.

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
    """Return whether a column of a table holds words instead of numbers.

    Args:
        table: Table.
        place: Place of the column.
    """
    first = [row[place][0] for row in table.rows if row[place]]
    return place == 0 or any(not isinstance(piece, QuotedNumber) for piece in first)


def recomputing(blocks: Sequence[Block], lines: Sequence[str]) -> Block:
    """Return a table of every number in some blocks with its call.

    Args:
        blocks: Blocks with the numbers.
        lines: Python code to run before the calls.
    """
    calls = {number.call: number for number in numbers(blocks)}
    rows: list[Sequence[Text]] = [[[number], [Code(call)]] for call, number in calls.items()]
    how: Text = ["Point at a number to see the call that gives it. After these lines each of the calls runs as it is:"]
    table = Table(["Every number here and its call"], ["number", "call"], rows)
    return Details("Recompute any number", [Paragraph(how), Listing("\n".join(lines)), table])


def as_plain(table: Table) -> dict[str, Any]:
    """Return a table as JSON can hold it, every number with its call.

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
