"""Reports of sweeps that people write themselves: from a dataset, from a store, with the measures that they return."""

import sys

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from helpers.pages import Page, recompute
from scipy import stats

import jaxreg.lab
import jaxreg.lab.report
from jaxreg.lab import Labelled, cli, open_store, sweep
from jaxreg.lab import stats as stats_of_the_lab
from jaxreg.lab.cli import studies
from jaxreg.lab.report.evidence import advised_setting, unit_of
from jaxreg.lab.report.provenance import Source
from jaxreg.lab.studies import by_recipe
from jaxreg.lab.studies.results import open_sweep


def training(strength, draw):
    """As the page on comparing teaches: losses only, each draw with an offset of its own."""
    loss = 1.0 - 0.5 * jnp.exp(-((jnp.log10(strength + 1e-6) + 1) ** 2)) + 0.01 * draw
    return {"train": loss / 2, "validation": loss, "test": loss}


GRID = {"strength": [0.0, 1e-2, 1e-1, 1.0], "draw": range(32)}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweeps") / "mine"
    sweep(training, GRID, folder, progress=False)
    return folder


def test_a_stored_sweep_of_losses_is_reported_and_shown(store, capsys):
    studies.write_report([store], "html", None)
    page = Page((store / "report.html").read_text("utf-8"))
    recompute(page)
    assert len(page.numbers) > 30
    studies.show(store)
    assert "strength=0.1" in capsys.readouterr().out


def test_a_dataset_is_reported_and_its_numbers_are_recomputed_from_the_file_beside_it(store, tmp_path):
    file = jaxreg.lab.report(open_store(store), tmp_path / "found.html")
    assert file == tmp_path / "found.html"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["found.html", "found.nc"]
    page = Page(file.read_text("utf-8"))
    recompute(page)
    words = "".join(page.words)
    assert "halves the test loss" in words  # 0.5 of 1.0 to 1.31
    assert "How sure: of  draws, the test loss is lower in ." in words


def test_the_advice_is_what_the_validation_rows_choose(store, tmp_path):
    text = jaxreg.lab.report(open_store(store), tmp_path / "found.md", "markdown").read_text("utf-8")
    assert "**`strength=0.1` " in text
    assert "chosen most often on the validation rows" in text
    assert "“Chosen in” counts the draws in which the recipe has the lowest validation loss." in text


def test_a_report_of_a_folder_lies_in_it(store):
    assert jaxreg.lab.report.report(store) == store / "report.html"
    assert jaxreg.lab.report.report([store], form="markdown") == store / "report.md"


def test_a_loss_that_is_not_finite_counts_as_diverged():
    test = xr.DataArray([[1.0, np.nan], [0.5, 0.25]], dims=("l2", "draw"), coords={"l2": [0.0, 0.1]})
    flat = by_recipe(xr.Dataset({"test": test}))
    assert flat["diverged_at"].sel(recipe="none").values.tolist() == [-1, 0]
    assert flat["diverged_at"].sel(recipe="l2=0.1").values.tolist() == [-1, -1]


@pytest.mark.parametrize("names", [(), ("loss",), ("train", "validation")])
def test_a_sweep_without_a_loss_on_test_rows_is_refused_in_one_sentence(names, tmp_path):
    dataset = xr.Dataset({name: ("draw", [1.0, 2.0]) for name in names})
    with pytest.raises(ValueError, match=r"named 'test_loss' or 'test', the loss on test rows$") as refused:
        jaxreg.lab.report(dataset, tmp_path / "r.html")
    found = f"the outputs {list(names)}" if names else "no outputs"
    assert str(refused.value).startswith(f"the dataset has {found}; expected an output")
    assert not list(tmp_path.iterdir())


def test_several_axes_become_settings_without_a_baseline(tmp_path):
    def run(l2, rate, draw):
        return {"test": l2 + rate + 0.1 * draw}

    found = sweep(run, {"l2": [0.1, 0.2], "rate": [1.0, 2.0], "draw": [0, 1, 2]}, progress=False)
    page = Page(jaxreg.lab.report(found, tmp_path / "r.html").read_text("utf-8"))
    recompute(page)
    assert "the lowest of all settings" in "".join(page.words)


def test_a_metric_beside_the_loss_is_reported_too(tmp_path):
    def run(l2, draw):
        loss = 1.0 - l2 + 0.1 * draw
        return {"train_loss": loss, "test_loss": loss, "train_accuracy": 1 - loss / 2, "test_accuracy": 1 - loss / 2}

    sweep(run, {"l2": [0.0, 0.5], "draw": range(9)}, tmp_path / "s", progress=False)
    page = Page(jaxreg.lab.report(tmp_path / "s", tmp_path / "r.html").read_text("utf-8"))
    recompute(page)
    assert any("'test_accuracy'" in call for _, call, _ in page.numbers)
    assert open_sweep(tmp_path / "s")["diverged_at"].max() == -1


def curves(strength, seed):
    """As a user writes it: a curve of the training loss beside numbers on validation and test rows."""
    level = (jnp.log10(strength + 1e-3) + 2) ** 2 + 0.1 * jnp.sin(seed + 100 * strength)
    epochs = jnp.exp(-jnp.arange(30.0))
    return {"train": level + epochs, "val": level + 2 * epochs, "val_loss": level, "test_loss": level + 0.1}


@pytest.mark.parametrize("labelled", [True, False])
def test_a_curve_beside_numbers_is_drawn_if_it_is_one_over_epochs(tmp_path, labelled):
    def run(strength, seed):
        found = curves(strength, seed)
        return {k: Labelled(v, ("epoch",)) if labelled and v.ndim else v for k, v in found.items()}

    sweep(run, {"strength": [0.0, 1e-2, 1.0], "seed": range(12)}, tmp_path / "s", progress=False)
    for results in (tmp_path / "s", open_store(tmp_path / "s")):
        text = jaxreg.lab.report(results, tmp_path / "r.html").read_text("utf-8")
        recompute(page := Page(text))
        words = "".join(page.words)
        assert ("Training loss over the epochs" in text) == labelled
        assert ("Training rows." in text) == labelled
        assert "Test loss is best with strength=0.01" in text
        assert "It was chosen most often on the validation rows, in  of  seeds." in words  # by val_loss
        assert "“Chosen in” counts the seeds" in words
        assert "chosen on the test rows" not in words


@pytest.mark.parametrize("name", ["test", "val", "validation_loss"])
def test_a_loss_with_a_dimension_that_is_no_axis_is_refused_by_its_name_and_leaves_nothing(tmp_path, name):
    losses = {"train": ("seed", [1.0, 2.0]), "val_loss" if name == "test" else "test": ("seed", [1.0, 2.0])}
    found = xr.Dataset({**losses, name: (("seed", f"{name}_0"), np.ones((2, 5)))})
    sentence = f"the dataset has the output '{name}' with the dimension '{name}_0', which is not an axis; expected"
    with pytest.raises(ValueError, match=f"^{sentence}"):
        jaxreg.lab.report(found, tmp_path / "r.html")
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_if_the_report_fails(tmp_path, monkeypatch):
    def fails(*_):
        raise RuntimeError("drawing")

    monkeypatch.setattr("jaxreg.lab.report.pictures.sweep", fails)
    with pytest.raises(RuntimeError, match="drawing"):
        jaxreg.lab.report(xr.Dataset({"test": ("seed", [1.0, 2.0])}), tmp_path / "r.html")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("strengths", [2, 15])  # 6 settings, and more than a table shows
def test_several_axes_have_the_chosen_setting_first_and_an_interval_over_the_seeds(tmp_path, strengths):
    values = np.random.default_rng(0).normal(size=(strengths, 3, 6))
    other = np.random.default_rng(1).normal(size=(strengths, 3, 6))
    dims, coords = ("strength", "rate", "seed"), {"strength": np.arange(strengths), "rate": [0.1, 0.2, 0.3]}
    found = xr.Dataset({"val_loss": (dims, values), "test_loss": (dims, other)}, coords)
    text = jaxreg.lab.report(found, tmp_path / "r.md", "markdown").read_text("utf-8")
    wins = np.zeros((strengths, 3), int)
    for seed in range(6):
        wins[np.unravel_index(values[..., seed].argmin(), wins.shape)] += 1
    order = sorted(np.ndindex(*wins.shape), key=lambda at: (-wins[at], values[at].mean()))[:40]
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith(("| `", "| **`"))]
    assert [row[0].strip("`* ") for row in rows] == [
        f"strength={at[0]}, rate={coords['rate'][at[1]]:g}" for at in order
    ]
    assert f"`{rows[0][0].strip(' *`')}` has a test loss" in text
    assert f"in {wins.max()} of 6 seeds." in text
    for row, at in zip(rows, order, strict=True):
        mean, half = other[at].mean(), stats.t.ppf(0.975, 5) * stats.sem(other[at])
        assert row[1].strip("* ") == f"{mean:.3f}".replace("-", "\N{MINUS SIGN}")
        ends = " to ".join(f"{end:.3f}" for end in (mean - half, mean + half))
        assert row[2].strip("* ") == ends.replace("-", "\N{MINUS SIGN}")
    assert "sorted by the number of seeds in which they were chosen, then by the mean validation loss" in text


@pytest.mark.parametrize(("axis", "output"), [("train", "train_loss"), ("val", "test"), ("validation", "test_loss")])
def test_an_axis_with_the_name_of_a_loss_stays_an_axis(axis, output):
    test = xr.DataArray(np.arange(6.0).reshape(2, 3), dims=(axis, "seed"), coords={axis: [10, 20]})
    flat = by_recipe(xr.Dataset({output: test, "test": test}))
    assert flat["recipe"].values.tolist() == [f"{axis}=10", f"{axis}=20"]
    np.testing.assert_array_equal(flat["test_loss"].transpose("recipe", "seed"), test)
    assert ("validation_loss" in flat) is False


@pytest.mark.parametrize("inner", ["test_0", "class"])
@pytest.mark.parametrize("others", [{}, {"train": (("l2", "seed"), np.ones((2, 3)))}])
def test_a_dimension_of_all_losses_is_an_axis_only_with_a_coordinate(inner, others, tmp_path):
    whole = xr.Dataset({"test": (("l2", "seed", inner), np.ones((2, 3, 4))), **others}, {"l2": [0.0, 0.1]})
    sentence = f"^the sweep 'mine' has the output 'test' with the dimension '{inner}', which is not an axis; expected"
    with pytest.raises(ValueError, match=sentence):
        by_recipe(whole, "mine")
    assert by_recipe(whole.assign_coords({inner: range(4)}).drop_vars(others)).sizes["recipe"] == 8  # an axis


@pytest.mark.parametrize("axes", [("l2",), ("l2", "rate"), ("l2", "rate", "width")])
@pytest.mark.parametrize("validated", [True, False])
def test_metrics_that_are_arrays_are_left_out(axes, validated, tmp_path):
    rng = np.random.default_rng(0)
    dims = (*axes, "seed")
    shape = (*([2] * len(axes)), 6)
    coords = {axis: [0.0, 0.1] for axis in axes}
    values = {name: (dims, rng.uniform(size=shape)) for name in ("train_loss", "test_loss", "train_f1", "test_f1")}
    values |= {f"{part}_recall": ((*dims, "class"), rng.uniform(size=(*shape, 3))) for part in ("train", "test")}
    values |= {"validation_loss": (dims, rng.uniform(size=shape))} if validated else {}
    for form, name in (("html", "r.html"), ("markdown", "r.md")):
        text = jaxreg.lab.report(xr.Dataset(values, coords), tmp_path / name, form).read_text("utf-8")
        assert "test f1" in text
        assert "recall" not in text
    recompute(Page((tmp_path / "r.html").read_text("utf-8")))


@pytest.mark.parametrize("settings", [6, 45])
def test_the_choice_is_made_once_however_many_settings_there_are(tmp_path, monkeypatch, settings):
    calls = []
    choose = stats_of_the_lab.nested_choice
    monkeypatch.setattr(stats_of_the_lab, "nested_choice", lambda *a, **k: calls.append(0) or choose(*a, **k))
    rng = np.random.default_rng(0)
    dims, coords = ("l2", "rate", "seed"), {"l2": np.arange(settings // 3), "rate": [0.1, 0.2, 0.3]}
    values = {name: (dims, rng.normal(size=(settings // 3, 3, 6))) for name in ("val_loss", "test_loss")}
    jaxreg.lab.report(xr.Dataset(values, coords), tmp_path / "r.md", "markdown")
    assert len(calls) == 1


@pytest.mark.parametrize(("sizes", "unit"), [((1, 1), "draw"), ((1, 5), "seed"), ((5, 1), "draw"), ((5, 5), "draw")])
def test_units_are_those_of_the_statistics(sizes, unit):
    losses = xr.DataArray(np.random.default_rng(0).normal(size=(2, *sizes)), dims=("l2", "draw", "seed"))
    flat = by_recipe(xr.Dataset({"test": losses, "val": losses}, {"l2": [0.0, 0.1]}))
    assert unit_of(Source("sweep", flat)) == unit == stats_of_the_lab.paired(losses[1], losses[0]).unit


@pytest.mark.parametrize("validated", [False, True])
def test_a_tie_goes_to_the_setting_that_the_nested_choice_takes(validated):
    losses = xr.DataArray(np.ones((3, 4)), dims=("strength", "seed"), coords={"strength": [0.0, 0.1, 0.2]})
    names = ["test_loss", "validation_loss"] if validated else ["test_loss"]
    flat = by_recipe(xr.Dataset(dict.fromkeys(names, losses)))
    choice = stats_of_the_lab.nested_choice(losses, losses, lower_is_better=True)
    assert next(iter(choice.tally)) == 0.2
    assert advised_setting(Source("sweep", flat)) == "strength=0.2"


def losses(axis, values, draws=6, **outputs):
    """Loss on test rows, lower with each value, beside other outputs."""
    level = np.arange(len(values), 0, -1)[:, None] + np.random.default_rng(0).uniform(0, 0.5, size=(1, draws))
    variables = {"test_loss": level, **{name: level * factor for name, factor in outputs.items()}}
    return xr.Dataset({name: ((axis, "draw"), each) for name, each in variables.items()}, {axis: list(values)})


BASELINES = {
    "a strength": ("l2", [0, 0.1, 1], {}, 0),
    "a limit": ("limit", [0, 0.5, 1, 2], {}, None),
    "a norm": ("max_norm", [0.0, 1.0], {}, None),
    "a radius": ("ballRadius", [0.0, 1.0], {}, None),
    "no limit": ("limit", [np.inf, 2, 1, 0.5], {}, np.inf),
    "no limit on an axis of any name": ("c", [1.0, np.inf], {}, np.inf),
    "no limit beside 0": ("limit", [0, 1, np.inf], {}, np.inf),
    "a logarithm": ("exponent", [-4, -2, 0], {}, None),
    "a positive logarithm": ("log_strength", [0, 1, 2], {}, None),
    "nothing that is off": ("rate", [0.1, 1.0], {}, None),
    "words": ("kind", ["a", "b"], {}, None),
    "given": ("limit", [0, 1, 2], {"baseline": 2}, 2),
    "given as float32": ("l2", [0, 0.1, 1], {"baseline": np.float32(0.1)}, 0.1),
    "given words": ("kind", ["a", "b"], {"baseline": "b"}, "b"),
    "given infinity": ("limit", [1, np.inf], {"baseline": np.inf}, np.inf),
    "refused": ("dropout", [0, 0.5], {"baseline": None}, None),
}


@pytest.mark.parametrize("case", BASELINES)
@pytest.mark.parametrize("form", ["html", "markdown"])
def test_the_baseline_is_the_setting_without_a_regulariser_and_the_page_says_which_it_is(case, form, tmp_path):
    axis, values, given, none = BASELINES[case]
    found = losses(axis, values)
    flat = by_recipe(found, **given)
    assert [value for value, label in zip(values, flat["recipe"].values, strict=True) if label == "none"] == (
        [] if none is None else [none]
    )
    text = jaxreg.lab.report(found, tmp_path / "r", form, **given).read_text("utf-8")
    if none is None:
        assert "There is no baseline" in text
        assert "change in" not in text
    else:
        shown = none if isinstance(none, str) else f"{none:g}"
        assert f"“none” is {axis}={shown}: " in text
        assert "change in loss" in text


@pytest.mark.parametrize("case", ["given", "given infinity", "refused", "no limit"])
def test_the_numbers_of_a_stored_sweep_are_recomputed_with_its_baseline(case, tmp_path):
    axis, values, given, _ = BASELINES[case]

    def run(draw, **point):
        return {"test": 1 / (1 + jnp.minimum(point[axis], 9.0)) + 0.1 * draw}

    sweep(lambda draw, limit=0, dropout=0: run(draw, limit=limit, dropout=dropout), {axis: values, "draw": range(4)},
          tmp_path / "s", progress=False)  # fmt: skip
    recompute(Page(jaxreg.lab.report(tmp_path / "s", **given).read_text("utf-8")))


@pytest.mark.parametrize(
    ("found", "given", "message"),
    [
        (losses("l2", [0, 1]), 3, r"^`baseline` is 3; expected a value of the axis 'l2': \[0, 1\]$"),
        (losses("l2", [0, 1]), "none", "^`baseline` is 'none'; expected a value of the axis 'l2'"),
        (losses("l2", [0, 1]).expand_dims(rate=[1, 2]), 0, r"has the axes .*; expected exactly one axis .*\. Keep"),
        (by_recipe(losses("l2", [0, 1])), 0, r"already has a dimension 'recipe', .*\. Leave out `baseline`, and"),
    ],
)
def test_a_baseline_that_is_no_value_of_the_only_axis_is_refused(found, given, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        jaxreg.lab.report(found, tmp_path / "r.html", baseline=given)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("axis", "values", "told"),
    [
        ("strength", [0, 1e-4, 1e-3], "`strength=0.001` has the largest `strength` that was tried. A larger one may"),
        ("limit", [np.inf, 2, 1, 0.5], "`limit=0.5` has the smallest `limit` that was tried. A smaller one may be"),
        ("limit", [2, 1, 0], "`limit=0` has the smallest `limit` that was tried. A smaller one may be better."),
        ("exponent", [-4, -2, 0], "`exponent=0` has the largest `exponent` that was tried. A larger one may be"),
        ("strength", [1, 2, 1.5], None),
        ("strength", [0, 1e-4], None),
        ("kind", ["a", "b"], None),
    ],
)
def test_a_best_value_at_the_end_of_the_grid_is_told(axis, values, told, tmp_path):
    text = jaxreg.lab.report(losses(axis, values), tmp_path / "r.md", "markdown").read_text("utf-8")
    assert told in text if told else "that was tried" not in text


def test_the_ends_of_several_axes_are_told(tmp_path):
    values = np.add.outer(np.arange(3, 0, -1), [1.0, 0.0, 2.0])[..., None] + np.zeros(4)
    coords = {"l2": [0, 0.1, 1], "rate": [0.1, 0.2, 0.3]}
    for coordinates, told in (
        (coords, "`l2=1, rate=0.2` has the largest `l2` that was tried. A larger one may be better."),
        (coords | {"rate": [1, 0.2, 2]}, "has the largest `l2` and the smallest `rate` that were tried. Values beyond"),
    ):
        found = xr.Dataset({"test": (("l2", "rate", "draw"), values)}, coordinates)
        assert told in jaxreg.lab.report(found, tmp_path / "r.md", "markdown").read_text("utf-8")


@pytest.mark.parametrize("unit", ["draw", "seed"])
def test_nothing_is_said_about_draws_that_the_report_does_not_know(unit, tmp_path):
    found = losses("l2", [0, 0.1, 1], draws=9).rename(draw=unit)
    text = jaxreg.lab.report(found, tmp_path / "r.md", "markdown").read_text("utf-8")
    assert "each a new sample" not in text
    assert ("If the draws are splits of one table" in text) == (unit == "draw") == ("stats.nadeau_bengio" in text)


def test_all_metrics_on_test_rows_and_other_outputs_are_shown(tmp_path):
    found = losses("l2", [0, 0.1, 1], test_accuracy=0.1, test_spread=0.5, norm=2.0)
    page = jaxreg.lab.report(found, tmp_path / "r.html")
    recompute(Page(page.read_text("utf-8")))
    text = jaxreg.lab.report(found, tmp_path / "r.md", "markdown").read_text("utf-8")
    accuracy = 10 * found["test_loss"].mean("draw")
    for value in accuracy.values:
        assert f"| {value:.1f} |" in text
    assert "change in accuracy (points)" in text
    assert "| setting | test spread | norm |" in text
    assert f"{2 * float(found['test_loss'][0].mean()):.3g} (" in text


def test_the_command_takes_a_baseline(store, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["jaxreg", "report", str(store), "--baseline", "0.01", "--out", f"{tmp_path}/r.html"]
    )
    cli.main()
    assert capsys.readouterr().out == f"{tmp_path}/r.html\n"
    page = Page((tmp_path / "r.html").read_text("utf-8"))
    recompute(page)
    assert "“none” is strength=0.01: " in "".join(page.words)


@pytest.mark.parametrize("used", [True, False])
def test_seeds_that_change_nothing_are_said(used, tmp_path):
    seeds = xr.DataArray([0.0, 0.1, 0.2], dims="seed", coords={"seed": [0, 1, 2]})
    found = losses("l2", [0.0, 0.1]) + (seeds if used else 0 * seeds)
    text = jaxreg.lab.report(found, tmp_path / "r.html").read_text("utf-8")
    assert ("Does the function use <code>seed</code>?" in text) is not used
