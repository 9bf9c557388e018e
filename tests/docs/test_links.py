"""Every link of a page leads to a file of the clone, and to a heading of it where it names one; nothing is fetched."""

import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    str(page.relative_to(ROOT))
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("experiments/**/*.md")]
)
HOME = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]["Homepage"]
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def links(page):
    return LINK.findall(CODE.sub("", (ROOT / page).read_text("utf-8")))


@cache
def anchors(page):
    """The names by which a page's headings are linked: lower case, no punctuation, a hyphen for each space."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def missing(page):
    """The links of a page that lead nowhere."""
    nowhere = []
    for link in links(page):
        path, _, anchor = re.sub(rf"^{re.escape(HOME)}/(blob|tree)/main/", "/", link).partition("#")
        if "://" in path:
            continue
        target = ROOT / page if not path else ROOT / path[1:] if path[0] == "/" else (ROOT / page).parent / path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            nowhere.append(link)
    return nowhere


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    assert not missing(page)


def test_links_of_the_readme_work_on_a_package_index():
    # A package index shows the README without the repository around it.
    relative = [link for link in links("README.md") if "://" not in link and not link.startswith("#")]
    assert not relative
