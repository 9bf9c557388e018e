"""The verdict in words against studies whose truth is known."""

import json

import pytest
from stored import NOISE, make_study

from jaxreg.lab.blocks import Bullets, Heading, Listing, Paragraph
from jaxreg.lab.quote import Source
from jaxreg.lab.record import Claim, open_study
from jaxreg.lab.verdict import advised, verdict


def told(*folders):
    sources = [Source(folder.name, open_study(folder)) for folder in folders]
    lines = []
    for block in verdict(sources).blocks:
        match block:
            case Paragraph(text) | Heading(text):
                lines.append("".join(map(str, text)))
            case Listing(text):
                lines.append(text)
            case Bullets(items):
                lines += ["".join(map(str, item)) for item in items]
    return [advised(source) for source in sources], "\n".join(lines)


CASES = {
    "helps in both": ({}, "L2(0.01)", ["Use L2 with strength 0.01.", "jr.penalize", "significant and meaningful"]),
    "harms the accuracy": (
        {"accuracy": {1e-3: -0.03, 1e-2: -0.03}},
        "none",
        ["No recipe tried here is shown to help", "is not shown to be better"],
    ),
    "harms the loss": ({"loss": {1e-3: 0.2, 1e-2: 0.3}}, "none", ["No recipe tried here is shown to help"]),
    "nothing but noise": (
        {"loss": {1e-3: 0.0, 1e-2: 0.0}, "accuracy": {1e-3: 0.0, 1e-2: 0.0}},
        "none",
        ["No recipe tried here is shown to help", "not significantly better"],
    ),
    "few draws": ({"draws": 8}, "L2(0.01)", ["8 draws are few: it takes 29"]),
    "a trial run": ({"epochs": 20}, "L2(0.01)", ["A trial run: 20 epochs instead of 100", "not comparable"]),
    "no validation rows": ({"validation": False}, "none", ["there are no validation rows to choose one by"]),
    "best at the end": ({}, "L2(0.01)", ["L2(0.01) has the largest strength tried"]),
    "best inside": ({"loss": {1e-3: -0.3, 1e-2: -0.1}}, "L2(0.001)", ["L2(0.001) has the smallest strength tried"]),
}


@pytest.mark.parametrize("case", CASES)
def test_the_verdict_says_what_is_so(case, tmp_path):
    options, label, sentences = CASES[case]
    advice, text = told(make_study(tmp_path / "study", **options))
    assert advice == [label]
    for sentence in sentences:
        assert sentence in text


def test_a_recipe_of_another_name_is_advised_by_it(tmp_path):
    _, text = told(make_study(tmp_path / "study", label="held {0:g}"))
    assert text.startswith("Use held 0.01.")


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("jr.penalize({}),\njr.project({})", "As links of an Optax chain, penalize first, project last:"),
        ("jr.project({})", "As a link of an Optax chain, project last:"),
        ("jr.proximal({}, 0.1)", "As a link of an Optax chain, proximal behind the learning rate:"),
        (
            "jr.decay({})",
            "As a link of an Optax chain, decay between the optimiser's direction and the learning rate:",
        ),
        ("", None),
    ],
)
def test_each_link_is_given_its_place(code, sentence, tmp_path):
    """At the end of a chain decay would add weights instead of taking them away."""
    file = make_study(tmp_path / "study") / "study.json"
    record = json.loads(file.read_text())
    record["arms"][0][4][-1] = code
    file.write_text(json.dumps(record))
    _, text = told(file.parent)
    assert ("of an Optax chain" in text) == bool(code)
    assert not code or f"{sentence}\nimport jaxreg as jr\n\n{code}" in text


def test_the_published_gain_is_set_against_that_on_fresh_draws(tmp_path):
    _, text = told(make_study(tmp_path / "study"))
    assert "L2(0.001) reaches 0.943 against 0.914, as published: +2.86 points." in text
    gained = 100 * (0.006 + 0.001 * float(NOISE[2, :64].mean()))
    assert f"Over 64 fresh draws: {gained:+.2f} points (95 % interval" in text
    assert f"The gain is {100 * gained / 2.86:.0f} % of the published one" in text
    assert "Cross-entropy gains more" in text


def test_a_figure_that_was_not_met_is_not_called_published(tmp_path):
    _, text = told(make_study(tmp_path / "study", published_gain=0.01))
    assert "as published:" not in text
    assert "published as 0.943 against 0.914" in text


def test_a_trial_run_claims_nothing_about_the_published_figures(tmp_path):
    _, text = told(make_study(tmp_path / "study", epochs=20))
    assert "as published" not in text
    assert "published gain" not in text


def test_accuracy_that_gains_more_is_said_to(tmp_path):
    options = {"loss": {1e-3: -0.01, 1e-2: -0.02}, "accuracy": {1e-3: 0.05, 1e-2: 0.05}}
    _, text = told(make_study(tmp_path / "study", **options))
    assert "Cross-entropy gains less" in text


def test_of_two_studies_the_better_is_advised_and_the_other_named(tmp_path):
    weak = make_study(
        tmp_path / "weak", loss={1e-3: -0.1, 1e-2: -0.2}, name="weak", title="weak ones", label="W({0:g})"
    )
    strong = make_study(tmp_path / "strong")
    for order in ((weak, strong), (strong, weak)):
        _, text = told(*order)
        assert text.startswith("Use L2 with strength 0.01.")
        assert "Of the weak ones: W(0.01) does best" in text
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
    "not shown": [Claim("0.001 beats 0.0005", "L2(0.001)", "L2(0.0005)")],
}


def test_claims_are_held_against_the_fresh_draws(tmp_path):
    claims = [claim for said in SAID.values() for claim in said]
    effects = {"loss": {5e-4: -0.3, 1e-3: -0.3, 1e-2: -0.4}, "accuracy": {5e-4: 0.005, 1e-3: 0.005, 1e-2: 0.03}}
    _, text = told(make_study(tmp_path / "study", seeds=0, claims=claims, noise=0.0, **effects))
    assert text.startswith("Use L2 with strength 0.01.")
    assert "published" not in text
    for finding, said in SAID.items():
        for claim in said:
            assert f"{finding.capitalize()}: {claim.words}. {claim.recipe} against {claim.against}, " in text
    assert ", accuracy to within 4 points: " in text
    assert ", cross-entropy by more than 0.5 nats: " in text
