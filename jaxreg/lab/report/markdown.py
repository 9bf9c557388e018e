"""A report as Markdown: the same words and tables, the pictures as files beside it."""

from collections.abc import Sequence

from jaxreg.lab.report import document as b


def markdown(blocks: Sequence[b.Block], pictures: str) -> str:
    """The blocks as Markdown.

    Args:
        blocks: What the report holds.
        pictures: The folder of the pictures, as seen from the report.
    """
    return "\n\n".join(part for block in blocks for part in _block(block, pictures)) + "\n"


def drawn(blocks: Sequence[b.Block]) -> list[b.Picture]:
    """The pictures of the blocks, which `markdown` refers to by their names."""
    found: list[b.Picture] = []
    for block in blocks:
        match block:
            case b.Pictures(pictures):
                found += pictures
            case b.Walk():
                found += [picture for stop in block.stops for picture in stop.pictures]
            case b.Part(_, inner) | b.Verdict(inner):
                found += drawn(inner)
    return found


def _block(block: b.Block, folder: str) -> list[str]:
    match block:
        case b.Heading(text, level):
            return [f"{'#' * level} {_text(text)}"]
        case b.Paragraph(text, lead):
            return [f"**{_text(text)}**" if lead else _text(text)]
        case b.Bullets(items):
            return ["\n".join(f"- {_text(item)}" for item in items)]
        case b.Table():
            return [f"*{_text(block.caption)}*", _table(block)]
        case b.Pictures(pictures):
            return [_picture(picture, folder) for picture in pictures]
        case b.Walk():
            return [
                f"*{_text(block.what)}*",
                *(
                    part
                    for stop in block.stops
                    for part in (
                        f"`{stop.label}`: {_text(stop.text)}",
                        *(_picture(picture, folder) for picture in stop.pictures),
                    )
                ),
            ]
        case b.Listing(text):
            return [f"```python\n{text}\n```"]
        case b.Part(title, inner):
            return [f"## {title}", *(part for one in inner for part in _block(one, folder))]
        case b.Verdict(inner):
            return [part for one in inner for part in _block(one, folder)]


def _table(table: b.Table) -> str:
    rows = [[_text(cell) for cell in row] for row in table.rows]
    for row, shown in zip(table.rows, rows, strict=True):
        if "".join(map(str, row[0])) in table.marked:
            shown[0] = f"**{shown[0]}**"
    lines = [list(map(_plain, table.columns)), ["---", *["---:"] * (len(table.columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _picture(picture: b.Picture, folder: str) -> str:
    return f"![{_plain(picture.caption)}]({folder}/{picture.name}.svg)"


def _text(text: b.Text) -> str:
    return "".join(f"`{_one_line(part.text)}`" if isinstance(part, b.Code) else _plain(str(part)) for part in text)


def _plain(text: str) -> str:
    # Whatever would be markup: labels and titles come from files.
    return "".join(f"\\{letter}" if letter in r"\`*_[]<>#|" else letter for letter in text.replace("\n", " "))


def _one_line(text: str) -> str:
    return text.replace("\n", " ").replace("`", "'").replace("|", "\\|")
