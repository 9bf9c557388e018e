"""Convert Matplotlib figures to SVG that a page can colour. Equal figures always give equal bytes."""

import io
import re
from collections.abc import Sequence
from html import escape

from matplotlib import rc_context
from matplotlib.figure import Figure

from jaxreg.lab.plots.theme import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILION

# What a page gives in light and in dark; a picture on its own keeps Matplotlib's.
_COLOURS = {
    BLACK: "ink",
    "#ffffff": "paper",
    BLUE: "blue",
    ORANGE: "orange",
    GREEN: "green",
    VERMILION: "vermilion",
    GREY: "grey",
    "#b0b0b0": "line",
}


def svg(figure: Figure, name: str, hints: Sequence[str] = (), *, seen: int | None = None) -> str:
    """Convert a figure to an SVG document. Letters stay text instead of outlines. Equal figures give equal documents.

    Args:
        figure: Figure to convert.
        name: Name of the picture, unique on its page.
        hints: Tooltips of the Matplotlib artists with the gid `hint-0`, `hint-1`, …
        seen: The artist with the gid `mark-<seen>` is visible, and all other artists `mark-…` are hidden. None hides
            all of them.
    """
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = re.sub(r'\bd="[^"]*"', _rounded, buffer.getvalue())
    text = re.sub(r'(\b[xy]="-?\d+\.\d)\d+', r"\1", text)
    text = re.sub(r'<g clip-path="[^"]*">\s*(<use [^>]*/>\s*)+</g>', _shared_style, text)
    for place, hint in enumerate(hints):
        text = text.replace(f'<g id="hint-{place}">', f'<g id="hint-{place}"><title>{escape(hint)}</title>')
    return re.sub(
        r'<g id="mark-(\d+)">',
        lambda mark: mark[0] if int(mark[1]) == seen else f'{mark[0][:-1]} visibility="hidden">',
        text,
    )


def inline(document: str, name: str, title: str) -> str:
    """Turn an SVG document into an HTML element with unique identifiers, the page's colours and a title.

    Args:
        document: Document that `svg` wrote.
        name: Name of the picture, unique on the page.
        title: Caption, already escaped for HTML.
    """
    element = document[document.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = re.sub(r"<!--.*?-->|\n\s*", " ", element, flags=re.DOTALL)
    element = element.replace('<g id="hint-', '<g class="hint" id="hint-')
    element = re.sub(r'<g id="mark-(\d+)"', r'<g data-stop="\1" id="mark-\1"', element)
    element = re.sub(r"font-family: [^;\"]*;? ?|<style.*?</style>", "", element, flags=re.DOTALL)  # those of the page
    used = {*re.findall(r'(?:href="|url\()#([^")]+)', element)}
    element = re.sub(r' id="([^"]+)"', lambda own: f' id="{name}-{own[1]}"' if own[1] in used else "", element)
    element = re.sub(r'(href="|url\()#', rf"\1#{name}-", element)
    for colour, variable in _COLOURS.items():
        element = re.sub(rf"(: ?){colour}\b", rf"\1var(--{variable})", element, flags=re.IGNORECASE)
    head, _, rest = element.partition(">")
    head = re.sub(r' (width|height|version|xmlns|xmlns:xlink)="[^"]*"', "", head).replace("xlink:href", "href")
    return f'{head} role="img" aria-label="{title}">{rest}'.replace("xlink:href", "href")


def _rounded(path: re.Match[str]) -> str:
    text = re.sub(r"(\.\d\d)\d+" if "C" in path[0] else r"(\.\d)\d+", r"\1", path[0])  # curves are of small marks
    return re.sub(r" *\n| *$|(?<=[A-Za-z]) | (?=[A-Za-z])", "", text)


def _shared_style(group: re.Match[str]) -> str:
    """Write the style of points that all look the same only once, on their group."""
    styles = set(re.findall(r' style="[^"]*"', group[0]))
    if len(styles) != 1:
        return group[0]
    (style,) = styles
    return group[0].replace(style, "").replace("<g ", f"<g{style} ", 1)
