"""The pictures of the headlines in docs/studies, drawn by their own code from their stored datasets.

    python scripts/docs/headlines.py

Nothing is trained. The pictures have no background. Their greys can be read on white and on black.
"""

import contextlib
import os
import runpy
import sys
from pathlib import Path

import xarray as xr
from matplotlib import rc_context

from jaxreg.lab.plots import style
from jaxreg.lab.report.svg import svg

ROOT = Path(__file__).parents[2]
HEADLINES = ROOT / "experiments" / "headlines"
PAGES = ROOT / "docs" / "studies"
PICTURES = runpy.run_path(str(Path(__file__).with_name("pictures.py")))


def picture(name: str) -> str:
    """Return the picture of a headline as an SVG document.

    Args:
        name: Name of the headline.
    """
    tell = runpy.run_path(str(HEADLINES / f"{name}.py"))["tell"]
    found = xr.load_dataset(HEADLINES / "stored" / f"{name}.nc", engine="scipy")
    with style(), rc_context(PICTURES["MUTED"]), open(os.devnull, "w") as silent, contextlib.redirect_stdout(silent):
        return PICTURES["recoloured"](svg(tell(found), name))


def main() -> None:
    sys.path.insert(0, str(HEADLINES))  # they share a module
    for name in sys.argv[1:] or sorted(file.stem for file in (HEADLINES / "stored").glob("*.nc")):
        page = PAGES / f"{name}.svg"
        page.write_text(picture(name), "utf-8")
        print(page.relative_to(ROOT))


if __name__ == "__main__":
    main()
