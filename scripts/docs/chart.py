"""The decision chart of docs/which-when.md.

    python scripts/docs/chart.py

Questions go down the page; each answer stands to the right of its question. The last two answers are the methods with
the least mean ranks in the headline `which_regulariser`, from its stored dataset. The picture has no background, and
its colours can be read on white and on black.
"""

import re
import runpy
import sys
from html import escape
from pathlib import Path

import xarray as xr

ROOT = Path(__file__).parents[2]
HEADLINES = ROOT / "experiments" / "headlines"
OUT = ROOT / "docs" / "pictures" / "which.svg"
GREY, BLUE = "#858585", "#3d8fd1"
SANS, MONOSPACED = "system-ui, 'DejaVu Sans', sans-serif", "ui-monospace, 'DejaVu Sans Mono', monospace"
WIDTH, TOP, STEP, HEIGHT = 480, 4, 84, 60
QUESTION, ANSWER = (4, 216), (262, 214)  # left edge and width of a box

ROWS = [
    (["Must a fixed share of", "the weights be 0?"], ["constraints=", "jr.Sparse, jr.NMSparse"]),
    (["Must weights, units or", "inputs become 0?"], ["proximals=", "jr.L1, jr.GroupLasso"]),
    (["Is there a size or sign", "that they may not pass?"], ["constraints=", "jr.MaxNorm, jr.Box"]),
    (["Do they start from", "trained weights?"], ["penalties=", "jr.to_reference(…, jr.L2)"]),
    (["Did you use AdamW's", "weight_decay d so far?"], ["decays=", "jr.L2(d / 2)"]),
]
LAST = (["Else, or unsure"], ["If that is not enough"])

FORMS = {
    "L1": ("proximals=", "jr.L1({})"),
    "L2": ("penalties=", "jr.L2({})"),
    "decay": ("decays=", "jr.L2({})"),
    "group lasso": ("proximals=", "jr.GroupLasso({}, axis=-1)"),
    "MaxNorm": ("constraints=", "jr.MaxNorm({})"),
}
"""Method of the search -> argument of `jaxreg.regularize`, and code with the strength. Methods that need more are not
answers."""


def trials() -> list[list[str]]:
    """Return the answers that have the least mean ranks, the best first."""
    sys.path.insert(0, str(HEADLINES))
    study = runpy.run_path(str(HEADLINES / "which_regulariser.py"))
    advice = study["advice"](xr.load_dataset(HEADLINES / "stored" / "which_regulariser.nc", engine="scipy"))
    named = [re.fullmatch(r"(.+?)\((.+)\)", each) for each in advice]
    found = [(match[1], match[2]) for match in named if match and match[1] in FORMS]
    return [[FORMS[method][0], FORMS[method][1].format(strength)] for method, strength in found]


def box(left: float, top: float, width: float, lines: list[str], colour: str, code: bool) -> list[str]:
    """Draw a box with centred lines."""
    family = MONOSPACED if code else SANS
    size = 13 if code else 15
    middle, first = left + width / 2, top + HEIGHT / 2 - 10 * (len(lines) - 1) + 5
    radius = 4 if code else 14
    return [
        f'<rect x="{left}" y="{top}" width="{width}" height="{HEIGHT}" rx="{radius}" fill="{colour}" '
        f'fill-opacity="0.1" stroke="{colour}" stroke-width="1.5"/>',
        *(
            f'<text x="{middle}" y="{first + 20 * place}" text-anchor="middle" font-family="{family}" '
            f'font-size="{size}" fill="{colour}">{escape(line)}</text>'
            for place, line in enumerate(lines)
        ),
    ]


def arrow(x: float, y: float, dx: float, dy: float, word: str) -> list[str]:
    """Draw an arrow with a word beside it."""
    end, beside = (x + dx, y + dy), (x + dx / 2, y - 5) if dx else (x + 8, y + dy / 2 + 5)
    head = "l-7 -4 v8 z" if dx else "l-4 -7 h8 z"
    anchor = "middle" if dx else "start"
    return [
        f'<path d="M{x} {y} L{end[0]} {end[1]} M{end[0]} {end[1]} {head}" fill="{GREY}" stroke="{GREY}" '
        'stroke-width="1.5"/>',
        f'<text x="{beside[0]}" y="{beside[1]}" text-anchor="{anchor}" font-family="{SANS}" font-size="13" '
        f'fill="{GREY}">{word}</text>',
    ]


def chart() -> str:
    """Return the chart as SVG."""
    parts = []
    rows = [*ROWS, *zip(LAST, trials(), strict=False)]
    for place, (question, answer) in enumerate(rows):
        top = TOP + STEP * place
        asks = place < len(ROWS)
        parts += box(QUESTION[0], top, QUESTION[1], question, GREY, code=False)
        parts += box(ANSWER[0], top, ANSWER[1], answer, BLUE, code=True)
        parts += arrow(QUESTION[0] + QUESTION[1], top + HEIGHT / 2, ANSWER[0] - sum(QUESTION), 0, "yes" if asks else "")
        if place < len(rows) - 1:
            parts += arrow(QUESTION[0] + QUESTION[1] / 2, top + HEIGHT, 0, STEP - HEIGHT, "no" if asks else "")
    height = 2 * TOP + STEP * len(rows) - (STEP - HEIGHT)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">'
    return "\n".join(['<?xml version="1.0" encoding="utf-8"?>', head, *parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    OUT.write_text(chart(), "utf-8")
    print(OUT)
