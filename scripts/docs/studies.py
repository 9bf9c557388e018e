"""The page and the picture of every study in docs/studies, from its results.

    jaxreg run axis_dense layers max_norm --out results
    python scripts/docs/studies.py results

A study without results under that folder keeps its page. The pictures have no background. Their greys can be read on
white and on black.
"""

import re
import runpy
import sys
from pathlib import Path

from matplotlib import rc_context

from jaxreg.lab.report.document import Paragraph, Table
from jaxreg.lab.report.forest import forest_picture
from jaxreg.lab.report.markdown import markdown
from jaxreg.lab.report.provenance import Source, opened
from jaxreg.lab.report.tables import claims_table, fresh_table
from jaxreg.lab.report.verdict import advice, forest_of
from jaxreg.lab.studies.results import NONE

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "studies"
PICTURES = runpy.run_path(str(Path(__file__).with_name("pictures.py")))


def told(name: str) -> tuple[str, str]:
    """Return the claim and the finding that the table of experiments/README.md has for a study.

    Args:
        name: Name of the study.
    """
    rows = (ROOT / "experiments" / "README.md").read_text("utf-8")
    found = re.search(rf"^\| \[{name}\]\(.+?\).*? \| (.+?) \| (.+?) \| `jaxreg", rows, re.MULTILINE)
    assert found is not None, name
    return found[1], found[2]


def picture(source: Source, name: str) -> str:
    """Return the forest plot of a study as an SVG document.

    Args:
        source: `StudyResults`.
        name: Name of the picture.
    """
    effects = forest_of([source])
    with rc_context(PICTURES["MUTED"]):
        return PICTURES["recoloured"](forest_picture(effects, name).svg)


def page(source: Source, name: str, *, drawn: bool) -> str:
    """Return the page of a study.

    Args:
        source: `StudyResults`.
        name: Name of the study.
        drawn: Whether there is a picture of it.
    """
    record = source.data.record
    claim, found = told(name)
    head = f"# {name.replace('_', ' ')}\n\n{record.title}.\n\n**Claim:** {claim}.\n\n"
    head += f"**Command:** `jaxreg run {name}`, of the file [{name}.py](../../experiments/studies/{name}.py)\n\n"
    head += f"## Found\n\n{found}\n\nMeans over {record.draws}.\n\n"
    if drawn:
        head += f"![Change of every recipe against none, with 95 % intervals]({name}.svg)\n\n"
    blocks: list[Paragraph | Table] = []
    if "validation_loss" in source.data.fresh:
        blocks.append(Paragraph(advice(source), lead=True))
    if record.claims:
        blocks.append(claims_table([source]))
    return head + markdown([*blocks, fresh_table(source)], ".")


def main() -> None:
    sources = opened([folder for folder in sorted(Path(sys.argv[1]).iterdir()) if (folder / "study.json").exists()])
    for folder, source in sources.items():
        name = folder.name
        drawn = NONE in source.data.fresh["recipe"].values
        if drawn:
            (PAGES / f"{name}.svg").write_text(picture(source, name), "utf-8")
        (PAGES / f"{name}.md").write_text(page(source, name, drawn=drawn), "utf-8")
        print(PAGES / f"{name}.md")


if __name__ == "__main__":
    main()
