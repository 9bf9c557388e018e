"""Pictures inside a page: Matplotlib's SVG, reproducible to the byte, in the page's own colours."""

import io
import re

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


def svg(figure: Figure, name: str) -> str:
    """Write a figure as an SVG document: text as text, without a date or random identifiers.

    Args:
        figure: Figure to write.
        name: Name of the picture, unique on its page.
    """
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return re.sub(r'd="[^"]*"', _rounded, buffer.getvalue())


def inline(document: str, name: str, title: str) -> str:
    """Turn an SVG document into an element of a page: unique identifiers, the page's colours, a title to be read out.

    Args:
        document: Document that `svg` wrote.
        name: Name of the picture, unique on the page.
        title: Caption, escaped already.
    """
    element = document[document.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', element)
    element = re.sub(r'(href="|url\()#', rf"\1#{name}-", element)
    for colour, variable in _COLOURS.items():
        element = re.sub(rf"(: ?){colour}\b", rf"\1var(--{variable})", element, flags=re.IGNORECASE)
    head, _, rest = element.partition(">")
    head = re.sub(r' (width|height|version|xmlns|xmlns:xlink)="[^"]*"', "", head).replace("xlink:href", "href")
    return f'{head} role="img" aria-label="{title}">{rest}'.replace("xlink:href", "href")


def _rounded(path: re.Match[str]) -> str:
    return re.sub(r"(\.\d\d)\d+", r"\1", path[0])
