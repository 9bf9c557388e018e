"""Tables, verdicts and forest plots in terminals of any width: whole words, fewer columns, no cell lost in silence."""

import re

import numpy as np
import pytest
from helpers.stored import make_study

from jaxreg.lab.report import tables, terminal
from jaxreg.lab.report.document import Code, Quoted, Table
from jaxreg.lab.report.effects import Effects, Measure, effects, row_places, span
from jaxreg.lab.report.provenance import Source
from jaxreg.lab.report.quantities import Quantity
from jaxreg.lab.studies.results import Claim, open_study

MEASURES = [Measure(Quantity("loss", "nats"), lower=True), Measure(Quantity("accuracy", "points", "+.2f", 100), False)]
LONG = Claim("limits near one do better than all other limits that anybody has tried so far", "L2(0.01)")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = make_study(tmp_path_factory.mktemp("terminal") / "study", claims=[LONG], draws=8)
    return Source("study", open_study(folder))


def words(table):
    return {word for row in table.rows for cell in row for word in "".join(map(str, cell)).split()}


@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
def test_tables_fit_by_leaving_columns_out_and_never_by_cutting_words(source, width):
    _, shown, _ = tables.contents(source)
    for table in shown:
        lines = terminal.table_lines(table, width)
        assert max(map(len, lines)) <= width
        caption = "".join(map(str, table.caption)).replace(",", "")
        said = {"Not", "shown", "for", "lack", "of", "space:", "<", *caption.split()}
        said |= {word.rstrip(",") for column in table.columns for word in str(column).split()}
        shown = {word.rstrip(",") for line in lines for word in line.split()}
        assert shown <= said | {word.rstrip(",") for word in words(table)}
        assert all(word in shown for row in table.rows for word in "".join(map(str, row[0])).split())


def test_two_columns_of_words_share_the_width():
    words = "some words that fill a column of a table and go on for a while"
    table = Table([], ["claim", "finding", "variable"], [[[Quoted(words)], [Code("holds")], [Quoted(words)]]])
    for width in range(90, 150, 5):
        lines = terminal.table_lines(table, width)
        assert max(map(len, lines)) <= width
        assert " ".join(lines).count("while") == 2


def test_a_wide_terminal_shows_every_column(source):
    for table in tables.contents(source)[1]:
        text = "\n".join(terminal.table_lines(table, 250))
        assert "Not shown" not in text
        assert all(word in text for column in table.columns for word in column.split())


def test_columns_leave_in_the_order_of_the_table():
    table = Table(
        [], ["recipe", "first", "second", "third"], [[["L2"], ["11111"], ["22222"], ["33333"]]], [], ["second"]
    )
    for width, left in ((22, "second"), (15, "second, third")):
        assert " ".join(terminal.table_lines(table, width)).endswith(f"Not shown for lack of space: {left}")


def test_sentences_are_broken_between_words_and_marked_rows_end_in_an_arrow():
    rows = [[[Quoted("one two three four five six seven eight")], [Code("holds")]], [[Quoted("short")], [Code("?")]]]
    lines = terminal.table_lines(Table([], ["claim", "finding"], rows, ["short"]), 36)
    assert [line.split() for line in lines] == [
        ["claim", "finding"],
        ["one", "two", "three", "four", "five", "holds"],
        ["six", "seven", "eight"],
        ["short", "?", "<"],
    ]


def plotted(changes, width=80, chosen=""):
    labels = [f"recipe {place}" for place in range(len(changes[0]))]
    groups = ["a"] * len(labels)
    return terminal.forest_lines(Effects(MEASURES[: len(changes)], labels, groups, np.array(changes), chosen), width)


def test_a_forest_plot_in_characters_has_each_mean_where_it_is():
    """From −1 to 0 over 41 characters, a character is 1/40."""
    low, high = span(np.array([[-1.0, -1.0, -1.0], [0.0, 0.0, 0.0]]), lower_is_better=True)
    lines = plotted([[[-1.0, -1.0, -1.0], [0.0, 0.0, 0.0], [-0.5, -0.75, -0.25]]])
    bars = [line[len("recipe 0") + 2 : -len(" -1.000")] for line in lines[1:]]
    size = len(bars[0])
    assert bars[0].index("●") == pytest.approx((-1 - low) / (high - low) * (size - 1), abs=0.51)
    assert bars[1].index("○") == pytest.approx(-low / (high - low) * (size - 1), abs=0.51)
    middle = bars[2].index("●")
    assert (middle - bars[2].index("─")) == pytest.approx(0.25 / (high - low) * (size - 1), abs=1)


@pytest.mark.parametrize("width", [45, 80, 120])
def test_a_forest_plot_is_as_wide_as_the_terminal_and_puts_measures_below_each_other_if_it_must(width):
    change = [[-0.3, -0.4, -0.2], [0.1, -0.1, 0.3]]
    lines = plotted([change, change], width)
    assert max(map(len, lines)) <= width
    assert sum("better" in line for line in lines) == (2 if width == 45 else 1)
    assert all(sum(f"recipe {place}" in line for line in lines) == (2 if width == 45 else 1) for place in (0, 1))


def test_a_sure_change_has_a_filled_point_and_an_unsure_one_a_hollow_one():
    lines = plotted([[[-0.3, -0.4, -0.2], [-0.1, -0.3, 0.1], [np.nan] * 3]])
    assert ["●" in line for line in lines[1:]] == [True, False, False]
    assert ["○" in line for line in lines[1:]] == [False, True, False]


def test_the_axis_shows_all_that_is_better_and_cuts_what_is_far_worse():
    changes = np.array([[-1.0, -2.0, 0.5], [-0.5, -1.0, 0.0], [90.0, 80.0, 100.0]])
    for sign in (1, -1):
        low, high = span(np.sort(sign * changes), lower_is_better=sign > 0)
        better, worse = (-low, high) if sign > 0 else (high, -low)
        assert better > 2.0
        assert 0.5 < worse < 10
    for nothing in (np.nan, 0.0, 1e-17):  # not known, none, and one of rounding
        assert span(np.full((2, 3), nothing), lower_is_better=True) == (-1.0, 1.0)
    for others in (0, 3):  # nothing helps, and most change nothing
        changes = np.array([[0.001, 0.0005, 0.002]] + others * [[0.0, 0.0, 0.0]])
        low, high = span(changes, lower_is_better=True)
        assert low < 0 < 0.001 < high


def test_recipes_of_one_method_stand_together(source):
    found = effects([source.at("fresh")], "L2(0.01)")
    assert found.labels == ["L2(0.001)", "L2(0.01)"]
    assert row_places(["a", "a", "b"]) == [0.0, 1.0, 2.6]
    gained = 100 * float(np.mean(np.diff(final(source, "test_accuracy"), axis=0)))
    np.testing.assert_allclose(found.changes[1, 1, 0], gained, rtol=1e-4)


def final(source, variable):
    """Of the baseline and of the second recipe: a number per draw."""
    return source.data.fresh[variable].sel(recipe=["none", "L2(0.01)"]).isel(epoch=-1, seed=0).values.astype(float)


def test_the_verdict_is_printed_with_a_forest_plot(source, capsys):
    terminal.print_verdict([source])
    told = capsys.readouterr().out
    assert told.startswith("Use L2 with strength 0.01: it ")
    assert "jr.penalize" in told
    assert re.search(r"L2\(0.01\) +.*●", told)
