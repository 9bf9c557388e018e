"""Reports of stored results: every number recomputed by its call, the same bytes twice, nothing foreign let in."""

import itertools
import math
import re

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from helpers.pages import Page, recompute
from helpers.stored import make_study, make_sweep

from jaxreg.lab import Labelled, open_study, stats, sweep
from jaxreg.lab.report import pictures, report, tables
from jaxreg.lab.report.compose import compose
from jaxreg.lab.report.html import html
from jaxreg.lab.report.markdown import markdown
from jaxreg.lab.report.provenance import Source, opened
from jaxreg.lab.studies import summaries
from jaxreg.lab.studies.results import Claim, open_sweep


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("studies") / "weight_regularization")


@pytest.fixture(scope="module")
def composed(study):
    return compose(opened([study]))


@pytest.fixture(scope="module")
def page(composed):
    return Page(html(*composed))


def test_every_number_of_a_study_is_recomputed_from_disk_by_its_call(page):
    assert len(page.numbers) > 100
    recompute(page)


def test_every_number_of_a_sweep_is_recomputed_from_disk_by_its_call(tmp_path):
    page = Page(report([make_sweep(tmp_path / "sweep")], tmp_path / "r.html").read_text("utf-8"))
    assert len(page.numbers) > 10
    recompute(page)


def test_a_study_of_fresh_draws_alone_is_recomputed_and_speaks_of_no_published_figures(tmp_path):
    claims = [Claim("it helps", "L2(0.01)"), Claim("it does not", "L2(0.01)", sign=-1, margin=0.001)]
    folder = make_study(tmp_path / "study", seeds=0, claims=claims, draws=8)
    title, blocks = compose(opened([folder]))
    page = Page(html(title, blocks))
    recompute(page)
    words = "".join(page.words)
    assert "ublished" not in words
    assert "contradicted" in words
    assert not re.findall(r"[^\n]{0,30}\d[^\n]{0,30}", words)
    _, shown, _ = tables.contents(next(iter(opened([folder]).values())))
    assert [["".join(map(str, row[0])), str(row[1][0])] for row in shown[-1].rows] == [
        ["it helps", "\N{CHECK MARK} holds"],
        ["it does not", "\N{BALLOT X} contradicted"],
    ]


def test_no_number_stands_in_the_words_of_a_page(page):
    words = "".join(page.words)
    assert not re.findall(r"[^\n]{0,30}\d[^\n]{0,30}", words)


def test_figures_agree_with_numpy(study):
    results = open_study(study)
    ours, base = (results.fresh["test_loss"].sel(recipe=r).isel(epoch=-1, seed=0).values for r in ("L2(0.01)", "none"))
    assert summaries.mean(results.fresh, "L2(0.01)", "test_loss") == pytest.approx(np.mean(ours, dtype=float))
    assert summaries.sd(results.fresh, "L2(0.01)", "test_loss") == pytest.approx(np.std(ours.astype(float), ddof=1))
    gained = summaries.gain(results.fresh, "L2(0.01)", "test_loss")
    assert gained.mean == pytest.approx(np.mean(ours.astype(float) - base))
    assert gained.wins == np.sum(ours < base)
    assert summaries.reduction(results.fresh, "L2(0.01)", "test_loss") == pytest.approx(
        1 - ours.mean() / base.mean(), rel=1e-5
    )
    assert summaries.outperforms(results.fresh, "L2(0.01)", "test_loss").probability == 1
    assert summaries.recommended(results.fresh) == "L2(0.01)"
    assert summaries.times_chosen(results.fresh, "L2(0.01)") == 64
    assert stats.draws_for_probability() == 29
    assert tables.MOST_ROWS == 40


@pytest.mark.parametrize("lost", ["L2(0.001)", "none"])
def test_a_recipe_that_diverged_on_every_draw_has_dashes_and_a_note(lost, study):
    results = open_study(study)
    fresh = results.fresh.copy(deep=True)
    fresh["diverged_at"].loc[{"recipe": lost}] = 50
    source = Source("study", results._replace(fresh=fresh))
    page = Page(html(*compose({study: source})))
    gained = summaries.gain(fresh, lost if lost != "none" else "L2(0.01)", "test_loss")
    assert (gained.n, len(gained.diverged)) == (0, 64)
    assert "nan" not in "".join(page.words)
    rows = {str(row[0][0]): row for row in tables.fresh_table(source).rows}
    assert "".join(map(str, rows["L2(0.001)"][2])) == "\N{EN DASH} (\N{EN DASH} to \N{EN DASH})"
    assert "Diverged runs are left out: " in "".join(map(str, tables.diverged_note(tables.parts(source))))
    assert summaries.significant(fresh, "test_loss") == (1 if lost != "none" else 0)


def test_a_share_of_nothing_is_not_known(study):
    """A published recipe that gains nothing, and a baseline that makes no error."""
    results = open_study(study)
    published, fresh = (part.copy(deep=True) for part in (results.published, results.fresh))
    published["test_accuracy"].loc[{"recipe": "L2(0.001)"}] = published["test_accuracy"].sel(recipe="none").values
    fresh["test_accuracy"][:] = 1.0
    assert math.isnan(summaries.share_of_published(results._replace(published=published), "L2(0.001)"))
    assert math.isnan(summaries.reduction(fresh, "L2(0.001)", "test_accuracy"))
    source = Source("study", results._replace(published=published, fresh=fresh))
    assert "nan" not in "".join(Page(html(*compose({study: source}))).words)


def test_the_best_of_the_grid_has_the_largest_accuracy(study):
    fresh = open_study(study).fresh
    means = {str(recipe): summaries.mean(fresh, recipe, "test_accuracy") for recipe in fresh["recipe"].values}
    found = summaries.choice(fresh, "accuracy")
    assert found.best_of_grid_label == max(means, key=means.get)
    assert found.best_of_grid == pytest.approx(max(means.values()))
    assert found.tally == summaries.choice(fresh).tally == {"L2(0.01)": 64}


def test_a_spread_over_several_seeds_is_not_said_to_be_one_over_draws(study):
    results = open_study(study)
    fresh = xr.concat([results.fresh, results.fresh.assign_coords(seed=[1]) + 0.0], "seed", data_vars="minimal")
    for part, words in ((results.fresh, "over the draws"), (fresh, "over the draws and their seeds")):
        source = Source("study", results._replace(fresh=part))
        assert f": mean {words}" in "".join(map(str, tables.fresh_table(source).caption))
        assert "".join(map(str, tables.weights_table(source).caption)).endswith(words.removeprefix("over "))


def test_settings_that_all_diverged_are_ranked_last():
    loss = xr.DataArray([[np.nan, 5.0, 3.0, 4.0]], dims=("draw", "recipe"), coords={"recipe": list("abcd")})
    dataset = xr.Dataset({"test_loss": loss, "diverged_at": -1 + 0 * loss.fillna(0)})
    assert summaries.ranked(dataset) == ["c", "d", "b", "a"]


def test_a_setting_that_diverged_is_not_the_best_of_a_sweep(tmp_path):
    """All losses are above 1: that of a lane that diverged is no number, and is not 1 either."""

    def run(l2, draw):
        loss = Labelled(jnp.full(3, 4 + l2 + 0.001 * draw), ("epoch",))
        return {"train_loss": loss, "test_loss": loss, "diverged_at": jnp.where(l2 > 5, 1, -1)}

    over = {"l2": [9.0, 0.0, 1.0], "draw": np.arange(9)}
    sweep(run, over, tmp_path / "sweep", coords={"epoch": [0, 1, 2]}, progress=False)
    words = "".join(Page(report([tmp_path / "sweep"], tmp_path / "r.html").read_text("utf-8")).words)
    assert "the lowest of all settings" in words
    assert open_sweep(tmp_path / "sweep")["recipe"].values[0] == "l2=9"
    text = report([tmp_path / "sweep"], tmp_path / "r.md", "markdown").read_text("utf-8")
    assert "`none` has a test loss of 4.004" in text


def test_a_report_is_the_same_bytes_twice(study, composed, tmp_path):
    assert report([study], tmp_path / "a.html").read_text("utf-8") == html(*composed)


def test_a_label_beside_long_numbers_is_inside_of_its_picture():
    drawn = []

    def draw(ax):
        ax.plot([0, 1], [-0.00604, 0.01234])
        ax.set_ylabel("difference in cross-entropy")
        drawn.append(ax)

    pictures._picture("tiny", "a difference", "that is tiny", draw)
    assert drawn[0].yaxis.get_tightbbox().x0 >= 0


def test_lines_of_long_names_are_labelled_inside_of_their_picture_and_apart():
    def draw(ax):
        for recipe in ("none", "pruned by 90%", "pruned by 98%"):
            for layer in ("hidden", "output"):
                ax.plot([0, 1], label=f"{recipe}, {layer}/kernel")
        drawn.append(ax)

    drawn = []
    pictures._picture("long", "many names", "that are long", draw, labelled=True)
    (ax,) = drawn
    boxes = sorted((text.get_window_extent() for text in ax.texts), key=lambda box: box.y0)
    assert len(boxes) == 6
    assert all(0 <= box.x0 < box.x1 <= ax.figure.bbox.x1 for box in boxes)
    assert all(below.y1 <= above.y0 + 1 for below, above in itertools.pairwise(boxes))


def test_only_the_stop_that_is_shown_is_marked_on_the_path(study):
    results = open_study(study)
    for chosen, place in (("L2(0.001)", 1), ("none", 0)):
        for picture in pictures.grid(results, chosen):
            seen = re.findall(r'<g id="mark-(\d)">', picture.svg)
            hidden = re.findall(r'<g id="mark-(\d)" visibility="hidden">', picture.svg)
            assert (seen, len(hidden)) == ([str(place)], 2)


def test_strengths_rise_in_every_table(study):
    results = open_study(study)
    turned = results._replace(fresh=results.fresh.isel(recipe=[2, 0, 1]))
    for table in (tables.fresh_table(Source("study", turned)), tables.weights_table(Source("study", turned))):
        assert [str(row[0][0]) for row in table.rows] == ["none", "L2(0.001)", "L2(0.01)"]


@pytest.mark.parametrize("value", [0.0, -0.0, -0.0004, 0.0004])
def test_a_number_that_rounds_to_zero_has_no_sign(value):
    assert Source("x", value).number(form="+.2f").text == "0.00"


def test_a_spread_of_a_positive_quantity_is_positive(study):
    """Ten draws of which one is far off: the standard deviation is more than the mean."""
    results = open_study(study)
    fresh = results.fresh.isel(draw=slice(10)).copy(deep=True)
    fresh["norm/hidden/kernel"][:] = np.where(np.arange(10) == 0, 9.0, 0.5)[None, None, :, None]
    row = tables.weights_table(Source("study", results._replace(fresh=fresh))).rows[0]
    assert "".join(map(str, row[1])) == "1.35 (0.50 to 1.35)"


def test_a_page_names_nothing_outside_of_itself(page):
    for tag, attributes in page.tags:
        assert tag not in ("link", "img", "iframe", "object", "embed"), tag
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "xlink:href", "action"):
                assert value.startswith("#"), (tag, value)


def test_a_policy_allows_the_script_of_the_page_alone(page):
    (policy,) = [a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]


def test_identifiers_on_a_page_are_used_once(page):
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(names) == len(set(names))
    for _, attributes in page.tags:
        for value in attributes.values():
            for name in re.findall(r"url\(#([^)]+)\)", value or ""):
                assert name in names


EVIL = "<script>alert('1')</script>&\"<img src=x onerror=alert(2)>"


def test_what_others_wrote_is_shown_and_never_obeyed(tmp_path):
    folder = make_study(tmp_path / "s", title=EVIL, label=EVIL + "{0:g}", draws=8)
    title, blocks = compose(opened([folder]))
    text = html(title, blocks)
    page = Page(text)
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert "img" not in [tag for tag, _ in page.tags]
    assert EVIL not in text
    written = markdown(blocks, "pictures")
    assert "<script>" not in re.sub(r"`[^`]*`|```.*?```", "", written, flags=re.DOTALL).replace("\\<", "")


def test_two_studies_on_the_same_draws_are_set_against_each_other(study, tmp_path):
    other = make_study(tmp_path / "other", loss={1e-3: -0.1, 1e-2: -0.2}, name="other", title="another one")
    page = Page(report([study, other], tmp_path / "r.html").read_text("utf-8"))
    recompute(page)
    assert any("against(weight_regularization.fresh, 'L2(0.01)', other.fresh" in call for _, call, _ in page.numbers)


def test_markdown_holds_the_same_figures_and_its_pictures(study, tmp_path):
    text = report([study], tmp_path / "r.md", "markdown").read_text("utf-8")
    assert text.startswith("# Which regulariser")
    gained = summaries.gain(open_study(study).fresh, "L2(0.01)", "test_loss").mean
    assert f"{gained:+.3f}".replace("-", "\N{MINUS SIGN}") in text
    named = re.findall(r"\]\((r-pictures/[^)]+\.svg)\)", text)
    assert len(named) > 10
    for name in named:
        assert (tmp_path / name).read_text("utf-8").lstrip().startswith("<?xml")


@pytest.mark.parametrize("mixed", [True, False])
def test_what_is_no_result_is_refused(study, tmp_path, mixed):
    (tmp_path / "empty").mkdir()
    folders = [study, tmp_path / "empty"] if mixed else [tmp_path / "empty"]
    with pytest.raises((ValueError, FileNotFoundError)):
        report(folders, tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_settings_of_a_sweep_become_recipes(tmp_path):
    dataset = open_sweep(make_sweep(tmp_path / "sweep"))
    assert dataset["recipe"].values.tolist() == ["none", "l2=0.001", "l2=0.01", "l2=0.1"]
    np.testing.assert_allclose(dataset["strength"], [0, 1e-3, 1e-2, 1e-1])
