"""The claims of docs/atlas.md: each block of code prints what the page shows; every picture it shows is there."""

import re

import test_docs

DOCS = test_docs.ROOT / "docs"


def test_each_claim_of_the_atlas_prints_what_the_page_shows():
    test_docs.test_pages_print_what_they_say("docs/atlas.md")


def test_the_pictures_of_the_atlas_are_there():
    page = (DOCS / "atlas.md").read_text("utf-8")
    shown = re.findall(r"\]\((atlas/\w+\.svg)\)", page)
    assert len(shown) == 3
    assert all((DOCS / name).read_text("utf-8").lstrip().startswith("<?xml") for name in shown)
