"""Objects in a notebook and at a prompt: a few lines that say what they hold."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray as xr
from helpers.stored import make_study
from sklearn.datasets import load_iris

import jaxreg as jr
from jaxreg.lab import BINARY, MLP, Problem, Recipe, linen, moons, open_study, stats
from jaxreg.lab.cards import card, short
from jaxreg.lab.search import Plan, search

RNG = np.random.default_rng(0)
LOSS = xr.DataArray(RNG.random((3, 64)), dims=("strength", "draw"), coords={"strength": [0.0, 0.1, 1.0]})
WHERE = "<b>&\"'"


class Balanced(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.open = []
        self.words = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        if tag not in ("path", "use", "br", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("path", "use", "br", "input"):
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    first = LOSS.isel(strength=0)
    data = moons(range(2), train=20, test=9, validation=9)
    found = search(
        load_iris().data[50:, :2],
        load_iris().target[50:] - 1,
        BINARY,
        Plan(methods=("L2",), quick=True, hidden=4, epochs=8, folds=3, repeats=1),
    )
    return {
        "Paired": (stats.paired(first, LOSS.isel(strength=1)), [f"{float((first - LOSS[1]).mean()):.4g}"]),
        "NestedChoice": (stats.nested_choice(LOSS, LOSS, lower_is_better=True), ["64"]),
        "Problem": (Problem(linen(MLP(hidden=4), (2,)), data, 10), ["binary_cross_entropy", "(2, 20, 2)"]),
        "Recipe": (Recipe(penalties={jr.KERNELS: jr.L2(0.25)}), ["L2", "0.25"]),
        "StudyResults": (open_study(make_study(tmp_path_factory.mktemp("cards") / "s", draws=8)), ["L2(0.01)"]),
        "Search": (found, ["L2(0.01)"]),
    }


KINDS = ["Paired", "NestedChoice", "Problem", "Recipe", "StudyResults", "Search"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_shows_a_few_lines(kind, objects):
    value, _ = objects[kind]
    lines = repr(value).splitlines()
    assert len(lines) < 10
    assert sum(map(len, lines)) < 1500
    assert repr(value).startswith(f"{kind}(")
    assert not re.search(r"\d\.\d{9}", repr(value))


@pytest.mark.parametrize("kind", KINDS)
def test_a_notebook_shows_html_with_the_figures(kind, objects):
    value, said = objects[kind]
    html = value._repr_html_()
    words = Balanced(html).words
    assert all(word in words for word in said)
    assert "<script" not in html
    assert len(html) < 200_000


def test_styles_of_a_fragment_reach_nothing_else_on_the_page(objects):
    for kind in ("StudyResults", "Search"):
        (style,) = re.findall(r"<style>(.*?)</style>", objects[kind][0]._repr_html_(), re.DOTALL)
        assert style.startswith(".jaxreg {")
        assert ":root" not in style
        assert style.count("{") == style.count("}")


def test_a_card_shows_what_it_is_given_and_obeys_nothing():
    html = card(WHERE, [WHERE], [[WHERE, WHERE]], WHERE)
    assert WHERE not in html
    assert Balanced(html).words == WHERE * 4


def test_long_tuples_are_cut_and_counted():
    assert short(tuple(range(100))) == "(0, 1, 2, … 100 in all)"
    assert short(1 / 3) == "0.3333"
