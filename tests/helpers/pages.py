"""A page of a report, read as a browser would, and its numbers computed again."""

import math
from html.parser import HTMLParser

import pytest

NOT_WORDS = {"code", "pre", "svg", "style", "script", "title", "quoted", "figcaption", "output"}


class Page(HTMLParser):
    """The numbers of a page, the text outside of them, and the lines that set the recomputing up."""

    def __init__(self, text):
        super().__init__()
        self.numbers, self.words, self.listings, self.tags = [], [], [], []
        self.inside = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag in ("meta", "link", "input", "img", "path", "use", "br"):
            return
        self.inside.append("quoted" if attributes.get("class") == "quoted" else tag)
        if tag == "data":
            self.numbers.append([float(attributes["value"]), attributes["title"], ""])
        if tag == "pre":
            self.listings.append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in ("meta", "link", "input", "img", "path", "use", "br"):
            self.inside.pop()

    def handle_data(self, text):
        if "data" in self.inside:
            self.numbers[-1][2] += text
        elif "pre" in self.inside:
            self.listings[-1] += text
        elif not {*self.inside} & NOT_WORDS:
            self.words.append(text)


def shown(text):
    return float(text.replace("\N{MINUS SIGN}", "-"))


def recompute(page):
    names = {}
    exec(page.listings[-1], names)
    for value, call, text in page.numbers:
        found = float(eval(call, names))
        if math.isnan(value):
            assert math.isnan(found), call
            assert text == "\N{EN DASH}", call
            continue
        assert found == pytest.approx(value, rel=1e-9), call
        digits = len(text.partition(".")[2])
        assert abs(shown(text) - found) <= 0.5001 * 10**-digits, call
