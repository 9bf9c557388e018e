"""Convert a report to Markdown, with the pictures in separate files."""

from collections.abc import Sequence

from jaxreg.lab.report.document import (
    Block,
    Bullets,
    Code,
    Details,
    Heading,
    Listing,
    Paragraph,
    Picture,
    Pictures,
    Summary,
    Table,
    Text,
    Walk,
)


def markdown(blocks: Sequence[Block], pictures: str) -> str:
    """Return the content of a report as Markdown.

    Args:
        blocks: Blocks of the report.
        pictures: Folder of the picture files, relative to the Markdown file.
    """
    return "\n\n".join(part for block in blocks for part in _block(block, pictures)) + "\n"


def drawn(blocks: Sequence[Block]) -> list[Picture]:
    """Return all pictures of a report. The text of `markdown` refers to each as the file `<pictures>/<name>.svg`."""
    gathered: list[Picture] = []
    for block in blocks:
        match block:
            case Pictures(pictures):
                gathered += pictures
            case Walk():
                gathered += [picture for stop in block.stops for picture in stop.pictures] + [*block.shared]
            case Details(_, inner):
                gathered += drawn(inner)
            case Summary(inner, picture):
                gathered += [*drawn(inner), *([picture] if picture else [])]
    return gathered


def _block(block: Block, folder: str) -> list[str]:
    match block:
        case Heading(text, level):
            return [f"{'#' * level} {_text(text)}"]
        case Paragraph(text, lead, _):
            return [f"**{_text(text)}**" if lead else _text(text)]
        case Bullets(items):
            return ["\n".join(f"- {_text(item)}" for item in items)]
        case Table():
            return [f"*{_text(block.caption)}*", _table(block)]
        case Pictures(pictures):
            return [_picture(picture, folder) for picture in pictures]
        case Walk():
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
                *(_picture(picture, folder) for picture in block.shared),
            ]
        case Listing(text):
            return [f"```python\n{text}\n```"]
        case Details(title, inner, _):
            return [f"### {title}", *(part for one in inner for part in _block(one, folder))]
        case Summary(inner, picture):
            shown = [_picture(picture, folder)] if picture else []
            return [*(part for one in inner for part in _block(one, folder)), *shown]


def _table(table: Table) -> str:
    rows = [[_text(cell) for cell in row] for row in table.rows]
    for row, shown in zip(table.rows, rows, strict=True):
        if "".join(map(str, row[0])) in table.marked:
            shown[0] = f"**{shown[0]}**"
    lines = [[_plain(str(column)) for column in table.columns], ["---", *["---:"] * (len(table.columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _picture(picture: Picture, folder: str) -> str:
    title, caption = _plain(picture.title), _plain(picture.caption)
    return f"**{title}.** {caption}\n\n![{title}]({folder}/{picture.name}.svg)"


def _text(text: Text) -> str:
    return "".join(f"`{_one_line(part.text)}`" if isinstance(part, Code) else _plain(str(part)) for part in text)


def _plain(text: str) -> str:
    # Escape everything that would be markup, because labels and titles come from files.
    return "".join(f"\\{letter}" if letter in r"\`*_[]<>#|" else letter for letter in text.replace("\n", " "))


def _one_line(text: str) -> str:
    return text.replace("\n", " ").replace("`", "'").replace("|", "\\|")
