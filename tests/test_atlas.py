"""The claims of docs/atlas.md: each block of code prints what the page shows; every picture it shows is there."""

import re

import test_docs


def test_each_claim_of_the_atlas_prints_what_the_page_shows():
    test_docs.test_pages_print_what_they_say("atlas.md")


def test_the_pictures_of_the_atlas_are_there():
    page = (test_docs.DOCS / "atlas.md").read_text()
    shown = re.findall(r"\]\((atlas/\w+\.svg)\)", page)
    assert len(shown) == 3
    assert all((test_docs.DOCS / name).read_text().lstrip().startswith("<?xml") for name in shown)
