"""A report as one HTML file that loads nothing from the network and has a light and a dark theme."""

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from importlib.resources import files

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
    Piece,
    Quoted,
    Summary,
    Table,
    Text,
    Walk,
    in_words,
)
from jaxreg.lab.report.provenance import QuotedNumber
from jaxreg.lab.report.svg import inline

_STYLE = files("jaxreg.lab.report").joinpath("page.css").read_text("utf-8")
_SCRIPT = files("jaxreg.lab.report").joinpath("page.js").read_text("utf-8")


def html(title: str, blocks: Sequence[Block]) -> str:
    """Return the content of a report as an HTML page.

    Args:
        title: Title of the page, for the browser's window.
        blocks: Blocks of the report.
    """
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'"
    )
    return f"""<!doctype html>
<html lang="en-GB">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
<noscript><style>.stop[hidden] {{ display: block !important; }}</style></noscript>
</head>
<body>
<main>
{_all(blocks)}
</main>
<script>{_SCRIPT}</script>
</body>
</html>
"""


def fragment(blocks: Sequence[Block]) -> str:
    """Return the content of a report as HTML for use inside another page. The style of that page does not change.

    Args:
        blocks: Blocks of the report.
    """
    style = _STYLE.replace(":root", "&").replace("body {", "& {")
    return f'<div class="jaxreg"><style>.jaxreg {{ {style} }}</style>\n{_all(blocks)}</div>'


def _all(blocks: Sequence[Block]) -> str:
    return "\n".join(map(_block, blocks))


def _block(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{_text(text)}</h{level}>"
        case Paragraph(text, lead, note):
            return f"<p{' class=lead' if lead else ' class=note' if note else ''}>{_text(text)}</p>"
        case Bullets(items):
            return "<ul>" + "".join(f"<li>{_text(item)}</li>" for item in items) + "</ul>"
        case Table():
            return _table(block)
        case Pictures(pictures):
            return _pictures(pictures)
        case Walk():
            return _walk(block)
        case Listing(text):
            return f"<pre><code>{escape(text)}</code></pre>"
        case Details(title, inner, printed):
            kind = ' class="printed"' if printed else ""
            return f"<details{kind}><summary>{escape(title)}</summary>\n{_all(inner)}\n</details>"
        case Summary(inner, picture):
            beside = _picture(picture, scrolls=True) if picture else ""
            return f'<section class="verdict" aria-label="Verdict">\n<div>{_all(inner)}</div>\n{beside}</section>'


def _text(text: Text) -> str:
    return "".join(map(_piece, text)).replace(" %", "&nbsp;%")


def _piece(piece: Piece) -> str:
    match piece:
        case QuotedNumber(value, shown, call):
            return f'<data value="{value!r}" title="{escape(call)}">{escape(shown)}</data>'
        case Code(text):
            return f"<code>{escape(text)}</code>"
        case Quoted(text):
            return f'<span class="quoted">{escape(text)}</span>'
        case _:
            return escape(piece)


def _table(table: Table) -> str:
    dropped = [_kind(table, place) for place in range(len(table.columns))]
    head = "".join(
        f'<th scope="col"{kind}>{_piece(column)}</th>' for column, kind in zip(table.columns, dropped, strict=True)
    )
    names = [f' data-column="{escape(str(column))}"' for column in table.columns]
    rows = []
    for row in table.rows:
        name = "".join(map(str, row[0]))
        marked = ' class="marked"' if name in table.marked else ""
        cells = "".join(
            f"<td{kind}{column}>{_text(cell)}</td>"
            for cell, kind, column in zip(row[1:], dropped[1:], names[1:], strict=True)
        )
        rows.append(f'<tr{marked}><th scope="row">{_text(row[0])}</th>{cells}</tr>')
    inner = f"<thead><tr>{head}</tr></thead>\n<tbody>" + "\n".join(rows) + "</tbody>"
    label = escape("".join(map(str, table.caption)))
    wide = f'<div class="wide" tabindex="0" role="group" aria-label="{label}"><table>{inner}</table></div>'
    return f'<div class="table"><p class="caption">{_text(table.caption)}</p>\n{wide}</div>'


def _kind(table: Table, place: int) -> str:
    """Return the CSS classes of a column: "optional" if it can be left out, "words" if it contains words."""
    kinds = ["optional"] * (str(table.columns[place]) in table.optional) + ["words"] * in_words(table, place)
    return f' class="{" ".join(kinds)}"' if kinds else ""


def _pictures(pictures: Sequence[Picture]) -> str:
    return '<div class="pictures">' + "\n".join(map(_picture, pictures)) + "</div>"


def _picture(picture: Picture, scrolls: bool = False) -> str:
    # On a phone the picture of the verdict scrolls sideways: with a tabindex the arrow keys can scroll it too.
    focus = ' tabindex="0"' if scrolls else ""
    title, caption = escape(picture.title), escape(picture.caption)
    head = f"<figcaption><b>{title}</b> <span>{caption}</span></figcaption>"
    return f"<figure{focus}>{head}{inline(picture.svg, picture.name, f'{title}. {caption}')}</figure>"


def _walk(walk: Walk) -> str:
    stops = []
    for place, stop in enumerate(walk.stops):
        hidden = "" if place == walk.start else " hidden"
        stops.append(
            f'<div class="stop" data-label="{escape(stop.label)}"{hidden}>'
            f"<p><code>{escape(stop.label)}</code>: {_text(stop.text)}</p>{_pictures(stop.pictures)}</div>"
        )
    here, last = escape(walk.stops[walk.start].label), len(walk.stops) - 1
    ticks = "".join(f"<span><code>{escape(tick)}</code></span>" for tick in walk.ticks)
    marks = "".join(f'<option value="{place}"></option>' for place in range(last + 1))
    return f"""<section class="walk">
<p><label for="{walk.name}">{_text(walk.what)}</label> <output for="{walk.name}">{here}</output></p>
<div class="slider"><input type="range" id="{walk.name}" list="{walk.name}-ticks" min="0" max="{last}" \
value="{walk.start}" aria-valuetext="{here}"><datalist id="{walk.name}-ticks">{marks}</datalist>
<p class="ticks" aria-hidden="true">{ticks}</p></div>
{"".join(stops)}
{_pictures(walk.shared) if walk.shared else ""}
</section>"""
