"""The verdict in words against studies whose truth is known."""

import dataclasses
import json

import numpy as np
import pytest
import xarray as xr
from helpers.stored import NOISE, make_study

from jaxreg.lab.report import tables
from jaxreg.lab.report.document import Listing, Paragraph, Table
from jaxreg.lab.report.provenance import Source
from jaxreg.lab.report.verdict import advised, reasons, verdict
from jaxreg.lab.report.wording import change, difference, size
from jaxreg.lab.stats.comparisons import Paired
from jaxreg.lab.stats.intervals import share_interval
from jaxreg.lab.studies import summaries
from jaxreg.lab.studies.results import Claim, open_study


def plain(text):
    return "".join(map(str, text))


def told(*folders):
    sources = [Source(folder.name, open_study(folder)) for folder in folders]
    lines = []
    for block in verdict(sources):
        match block:
            case Paragraph(text):
                lines.append(plain(text))
            case Listing(text):
                lines.append(text)
    return [advised(source) for source in sources], "\n".join([*lines, *map(plain, reasons(sources))])


CASES = {
    "helps in both": (
        {},
        "L2(0.01)",
        [
            "Use L2 with strength 0.01: it halves the test loss and avoids one error in ",
            "How sure: of 64 fresh draws of the data, the test loss is lower in 64 and the test accuracy is higher in",
            "jr.penalize",
            "significant and meaningful",
        ],
    ),
    "harms the accuracy": (
        {"accuracy": {1e-3: -0.03, 1e-2: -0.03}},
        "none",
        [
            "L2(0.01), chosen most often on the validation rows, improves one metric and worsens another: train",
            "On 64 fresh draws of the data, L2(0.01) compared with none:",
        ],
    ),
    "harms the loss": (
        {"loss": {1e-3: 0.2, 1e-2: 0.3}},
        "none",
        ["On the validation rows no recipe is chosen more often than none: train without a regulariser."],
    ),
    "nothing but noise": (
        {"loss": {1e-3: 0.0, 1e-2: 0.0}, "accuracy": {1e-3: 0.0, 1e-2: 0.0}},
        "none",
        ["On the validation rows no recipe is chosen more often than none"],
    ),
    "hardly more than noise": (
        {"loss": {1e-3: -0.001, 1e-2: -0.002}, "accuracy": {1e-3: 0.0, 1e-2: 0.0}},
        "none",
        ["L2(0.01), chosen most often on the validation rows, is not shown to help: train without a regulariser."],
    ),
    "few draws": ({"draws": 8}, "L2(0.01)", ["8 draws are few: it takes 29"]),
    "a trial run": ({"epochs": 20}, "L2(0.01)", ["A trial run: 20 epochs instead of 100", "not comparable"]),
    "no validation rows": ({"validation": False}, "none", ["there are no validation rows to choose one on"]),
    "best at the end": ({}, "L2(0.01)", ["L2(0.01) has the largest strength that was tried"]),
    "best inside": (
        {"loss": {1e-3: -0.3, 1e-2: -0.1}},
        "L2(0.001)",
        ["L2(0.001) has the smallest strength that was tried"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_verdict_says_what_is_so(case, tmp_path):
    options, label, sentences = CASES[case]
    advice, text = told(make_study(tmp_path / "study", **options))
    assert advice == [label]
    for sentence in sentences:
        assert sentence in text


@pytest.mark.parametrize("options", [{"validation": False}, {"loss": {1e-3: 0.2, 1e-2: 0.3}}])
def test_the_baseline_is_not_compared_with_itself(options, tmp_path):
    _, text = told(make_study(tmp_path / "study", **options))
    assert "none against none" not in text
    assert "even none" not in text


def changed(folder, **values):
    """A study whose fresh figures of its recipes are those given: variable -> recipe -> what is added or, for
    `diverged_at`, what is there instead."""
    results = open_study(folder)
    fresh = results.fresh.copy(deep=True)
    for variable, recipes in values.items():
        for recipe, value in recipes.items():
            place = {"recipe": recipe}
            fresh[variable].loc[place] = value if variable == "diverged_at" else fresh[variable].loc[place] + value
    return Source("study", results._replace(fresh=fresh))


def words(source):
    return "\n".join(plain(block.text) for block in verdict([source]) if hasattr(block, "text"))


def test_of_recipes_that_were_not_chosen_nothing_is_said(tmp_path):
    """L2(0.001) helps in both; L2(0.01), which the validation rows choose, helps one and harms the other."""
    source = changed(make_study(tmp_path / "study"), test_accuracy={"L2(0.01)": -0.05})
    assert summaries.gain(source.data.fresh, "L2(0.001)", "test_accuracy").low > 0
    assert summaries.gain(source.data.fresh, "L2(0.001)", "test_loss").high < 0
    assert "No recipe" not in words(source)
    assert words(source).startswith(
        "L2(0.01), chosen most often on the validation rows, improves one metric and worsens"
    )


def test_what_helps_in_most_draws_and_harms_more_in_a_few_is_not_advised(tmp_path):
    harm = xr.DataArray(np.where(np.arange(64) % 10, 0.0, 5.0), dims="draw")
    source = changed(make_study(tmp_path / "study", accuracy={1e-2: 0.0, 1e-3: 0.0}), test_loss={"L2(0.01)": harm})
    assert summaries.outperforms(source.data.fresh, "L2(0.01)", "test_loss").low > 0.5
    assert words(source).startswith("L2(0.01), chosen most often on the validation rows, is not shown to help")


def test_what_always_diverged_is_not_advised(tmp_path):
    source = changed(make_study(tmp_path / "study"), diverged_at={"none": 50})
    assert words(source).startswith(
        "L2(0.01) is chosen most often on the validation rows, but there is no draw in which"
    )
    assert "train without" not in words(source)


def test_an_end_just_above_one_half_does_not_read_as_one_half(tmp_path):
    """40 wins of 64: Wilson's interval begins at 0.5025."""
    folder = make_study(tmp_path / "study", loss={1e-3: -0.3}, accuracy={1e-3: 0.0})
    worse = np.where(np.arange(64) < 40, 0.0, 0.6)[None]
    source = changed(folder, test_loss={"L2(0.001)": worse[..., None]})
    low, high = (100 * end for end in share_interval(40 / 64, 64))
    assert f"better in 62 % of the draws ({low:.1f} to {high:.1f} %): significant" in verdict_text(source)
    assert round(low, 1) == 50.3


def verdict_text(source):
    return "".join(map(plain, reasons([source])))


def test_shares_are_of_the_units_that_were_compared(tmp_path):
    """With one draw the seeds are the units, and the share is one of seeds."""
    results = open_study(make_study(tmp_path / "study"))
    turned = results.fresh.rename(seed="draw", draw="seed").transpose("recipe", "seed", "draw", ...)
    assert "% of the seeds (" in "".join(map(str, change(Source("fresh", turned), "L2(0.01)", "test_loss")))


def test_of_one_strength_alone_no_other_is_asked_for(tmp_path):
    advice, text = told(make_study(tmp_path / "study", loss={1e-2: -0.4}, accuracy={1e-2: 0.005}))
    assert advice == ["L2(0.01)"]
    assert "strength tried" not in text


def test_a_recipe_of_another_name_is_advised_by_it(tmp_path):
    _, text = told(make_study(tmp_path / "study", label="held {0:g}"))
    assert text.startswith("Use held 0.01: ")


@pytest.mark.parametrize(
    ("code", "listing"),
    [
        (
            "jr.penalize({}),\njr.project({})",
            "optax.chain(\n    jr.penalize({}),\n    optimizer,\n    jr.project({}),\n)",
        ),
        ("jr.project({})", "optax.chain(\n    optimizer,\n    jr.project({}),\n)"),
        ("jr.proximal({}, 0.1)", "optax.chain(\n    optimizer,\n    jr.proximal({}, 0.1),\n)"),
        ("jr.decay({})", "jr.decay({})"),
        ("", None),
    ],
)
def test_each_link_is_given_its_place(code, listing, tmp_path):
    """At the end of a chain decay would add weights instead of taking them away."""
    file = make_study(tmp_path / "study") / "study.json"
    record = json.loads(file.read_text())
    record["arms"][0][4][-1] = code
    file.write_text(json.dumps(record))
    _, text = told(file.parent)
    assert ("import jaxreg as jr" in text) == bool(code)
    assert not code or listing in text
    assert ("decay goes between the optimiser's direction and the learning rate" in text) == ("decay" in code)


def gains(source):
    table = tables.published_gains_table([source])
    return [dict(zip(table.columns, map(plain, row), strict=True)) for row in table.rows] if table else []


def test_the_published_gain_is_set_against_that_on_fresh_draws(tmp_path):
    (row,) = gains(Source("study", open_study(make_study(tmp_path / "study"))))
    gained = 100 * (0.006 + 0.001 * float(NOISE[2, :64].mean()))
    assert (row["recipe"], row["published"], row["repeated"]) == ("L2(0.001)", "+2.90", "+2.86")
    assert row["on draws"].startswith(f"{gained:+.2f} (")
    assert row["of the repeated"] == f"{100 * gained / 2.86:.0f} %"


@pytest.mark.parametrize("drawn_from", ["", "100 moons"])
def test_draws_are_called_what_they_are(drawn_from, tmp_path):
    results = open_study(make_study(tmp_path / "study"))
    record = dataclasses.replace(results.record, drawn_from=drawn_from)
    source = Source("study", results._replace(record=record))
    text = words(source)
    assert (f"of 64 draws from the same {drawn_from}, " in text) == bool(drawn_from)
    assert ("fresh" in text) != bool(drawn_from)
    (caption,) = ["".join(map(str, block.caption)) for block in verdict([source]) if isinstance(block, Table)]
    assert ("each a new sample of the data" in caption) != bool(drawn_from)


def test_errors_that_nobody_makes_are_not_said_to_be_fewer(tmp_path):
    results = open_study(make_study(tmp_path / "study"))
    fresh = results.fresh.copy(deep=True)
    fresh["test_accuracy"][:] = 1.0
    text = words(Source("study", results._replace(fresh=fresh)))
    assert text.startswith("Use L2 with strength 0.01: it halves the test loss.")
    assert "error" not in text


def test_a_figure_that_was_not_met_is_not_called_published(tmp_path):
    (row,) = gains(Source("study", open_study(make_study(tmp_path / "study", published_gain=0.02))))
    assert (row["published"], row["repeated"]) == ("+2.90", "+2.00")


def test_a_trial_run_claims_nothing_about_the_published_figures(tmp_path):
    assert not gains(Source("study", open_study(make_study(tmp_path / "study", epochs=20))))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (0.8, 0.4, "halves the test loss"),
        (0.8, 0.36, "more than halves the test loss"),
        (0.8, 0.44, "nearly halves the test loss"),
        (0.8, 0.6, "lowers the test loss by a quarter"),
        (0.9, 0.6, "lowers the test loss by a third"),
        (0.8, 0.72, "lowers the test loss by 10 %"),
        (0.8, 0.96, "raises the test loss by 20 %"),
        (0.8, 0.798, "hardly changes the test loss"),
        (-0.8, -1.6, "changes the test loss by \N{MINUS SIGN}0.800 nats"),  # a log-likelihood has no share
    ],
)
def test_the_size_of_a_change_of_loss_is_told_in_words(before, after, said):
    assert plain(size(pair("test_loss", before, after), "L2", "test_loss")) == said


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (0.9, 0.95, "halves the errors"),
        (0.9, 0.91, "avoids one error in 10"),
        (0.9, 0.89, "makes one error in 10 more"),
        (0.9, 0.98, "makes 80 % fewer errors"),
        (0.9, 0.9001, "hardly changes the number of errors"),
    ],
)
def test_the_size_of_a_change_of_accuracy_is_told_in_errors(before, after, said):
    assert plain(size(pair("test_accuracy", before, after), "L2", "test_accuracy")) == said


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-0.04, -0.0003, "\N{MINUS SIGN}0.0202 (\N{MINUS SIGN}0.0400 to \N{MINUS SIGN}0.0003)"),
        (-0.04, 0.0003, "\N{MINUS SIGN}0.020 (\N{MINUS SIGN}0.040 to 0.000)"),  # which may be nothing
        (0.0, 0.0, "0.000 (0.000 to 0.000)"),
        (0.1, 0.2, "+0.150 (+0.100 to +0.200)"),
        (1e-9, 2e-9, "0.000 (0.000 to 0.000)"),  # rounding of float32
    ],
)
def test_a_sure_difference_has_the_digits_that_show_it(low, high, said):
    found = Source("gain", Paired((low + high) / 2, low, high, 0.1, 1, 0, 1, 2, "draw"))
    assert plain(difference(found, xr.Dataset(), "test_loss")) == said


def pair(variable, before, after):
    """Three draws of the baseline and of a recipe, each with one value."""
    values = np.tile([[before], [after]], 3)
    at = np.full(values.shape, -1)
    dataset = xr.Dataset(
        {variable: (("recipe", "draw"), values), "diverged_at": (("recipe", "draw"), at)},
        {"recipe": ["none", "L2"], "draw": np.arange(3)},
        {"unit": "nats"},
    )
    return Source("fresh", dataset)


def test_of_two_studies_the_better_is_advised_and_the_other_named(tmp_path):
    weak = make_study(
        tmp_path / "weak", loss={1e-3: -0.1, 1e-2: -0.2}, name="weak", title="weak ones", label="W({0:g})"
    )
    strong = make_study(tmp_path / "strong")
    for order in ((weak, strong), (strong, weak)):
        _, text = told(*order)
        assert text.startswith("Use L2 with strength 0.01: ")
        assert "In the study “weak ones”, W(0.01) is recommended." in text
        assert "better in 100 % of the draws" in text


def test_a_lane_that_diverged_is_left_out_and_its_recipe_still_judged(tmp_path):
    advice, text = told(make_study(tmp_path / "study", diverged=True))
    assert advice == ["L2(0.01)"]
    assert "nan" not in text


SAID = {
    "holds": [
        Claim("more accurate", "L2(0.01)"),
        Claim("less loss", "L2(0.01)", variable="test_loss", sign=-1),
        Claim("lighter", "L2(0.01)", variable="norm/output/kernel", sign=-1),
        Claim("as accurate, to within four points", "L2(0.01)", sign=0, margin=0.04),
        Claim("the same", "L2(0.001)", "L2(0.0005)", sign=0),
    ],
    "contradicted": [
        Claim("less accurate", "L2(0.01)", sign=-1),
        Claim("as accurate", "L2(0.01)", sign=0, margin=0.02),
        Claim("more loss", "L2(0.01)", "L2(0.001)", "test_loss", 1),
        Claim("less loss by half a nat", "L2(0.01)", variable="test_loss", sign=-1, margin=0.5),
    ],
    "not decided": [Claim("0.001 beats 0.0005", "L2(0.001)", "L2(0.0005)")],
}


def test_claims_are_held_against_the_fresh_draws(tmp_path):
    claims = [claim for said in SAID.values() for claim in said]
    effects = {"loss": {5e-4: -0.3, 1e-3: -0.3, 1e-2: -0.4}, "accuracy": {5e-4: 0.005, 1e-3: 0.005, 1e-2: 0.03}}
    folder = make_study(tmp_path / "study", seeds=0, claims=claims, noise=0.0, **effects)
    _, text = told(folder)
    assert text.startswith("Use L2 with strength 0.01: ")
    assert "published" not in text
    table = tables.claims_table([Source("study", open_study(folder))])
    rows = {plain(row[0]): dict(zip(table.columns, map(plain, row), strict=True)) for row in table.rows}
    marks = {
        "holds": "\N{CHECK MARK} holds",
        "contradicted": "\N{BALLOT X} contradicted",
        "not decided": "? not decided",
    }
    for finding, said in SAID.items():
        for claim in said:
            row = rows[claim.words]
            assert row["finding"] == marks[finding]
            assert row["compared"] == f"{claim.recipe} against {claim.against}"
    assert rows["as accurate, to within four points"]["variable"] == "accuracy, equal to within 4 points"
    assert rows["less loss by half a nat"]["variable"] == "cross-entropy by more than 0.5 nats"


def test_the_reader_learns_how_often_the_validation_rows_chose_what_is_advised_and_on_which_problem(tmp_path):
    folder = make_study(tmp_path / "study", loss={1e-3: -0.005, 1e-2: -0.008})
    study = open_study(folder)
    losses = study.fresh["validation_loss"].isel(epoch=-1).squeeze("seed").transpose("recipe", "draw")
    times = np.bincount(losses.values.argmin(axis=0), minlength=losses.sizes["recipe"])
    order = np.argsort(-times)
    first, second = losses["recipe"].values[order[:2]]
    assert times[order[1]] > 0
    sentence = f"{first} has the lowest loss on the validation rows in {times[order[0]]} of 64 draws, more often than "
    sentence += f"any other recipe. Next comes {second} with {times[order[1]]}. "
    text = told(folder)[1]
    assert sentence in text
    assert f"Using {second} instead of {first} changes the test cross-entropy by +0.00" in text
    assert f"Measured on this problem only: {study.record.title}." in text


@pytest.mark.parametrize(
    ("effects", "expected"),
    [
        (
            {1e-3: -0.3, 1e-2: 0.2},
            "Contradicted: “it helps”; “it is the same”. Not decided: “it is a lot”. The other claims hold.",
        ),
        ({1e-3: -0.3, 1e-2: -0.3}, "Not decided: “it is a lot”. The other claims hold."),
    ],
)
def test_claims_that_do_not_hold_are_named_before_the_table(effects, expected, tmp_path):
    claims = [
        Claim("it lowers the loss", "L2(0.001)", variable="test_loss", sign=-1),
        Claim("it helps", "L2(0.01)", variable="test_loss", sign=-1),
        Claim("it is a lot", "L2(0.001)", variable="test_loss", sign=-1, margin=0.3),
        Claim("it is the same", "L2(0.01)", "L2(0.001)", "test_loss", 0, 0.1),
    ]
    folder = make_study(tmp_path / "study", loss=effects, claims=claims)
    assert plain(tables.claims_summary([Source("study", open_study(folder))])) == expected
