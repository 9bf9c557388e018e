"""Pictures inside a page: Matplotlib's SVG without its frame, the same bytes each time, in the page's own colours."""

import io
import re

from matplotlib import rc_context
from matplotlib.figure import Figure

from jaxreg.lab.plots import theme as style

# What a page gives in light and in dark; a picture on its own keeps Matplotlib's.
_COLOURS = {
    style.BLACK: "ink",
    "#ffffff": "paper",
    style.BLUE: "blue",
    style.ORANGE: "orange",
    style.GREEN: "green",
    style.VERMILION: "vermilion",
    style.GREY: "grey",
    "#b0b0b0": "line",
}


def svg(figure: Figure, name: str) -> str:
    """A figure as an SVG document: its text as text, no date, no identifier that chance made.

    Args:
        figure: What to draw.
        name: Its name, unique on the page it goes to.
    """
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return re.sub(r'd="[^"]*"', _rounded, buffer.getvalue())


def inline(document: str, name: str, title: str) -> str:
    """An SVG document as an element of a page: identifiers of its own, the page's colours, a title to be read out.

    Args:
        document: What `svg` gave.
        name: Its name, unique on the page.
        title: What it shows, escaped already.
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
