"""Reports of sweeps that people write themselves: from a dataset, from a store, with the measures that they return."""

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from helpers.pages import Page, recompute

import jaxreg.lab
import jaxreg.lab.report
from jaxreg.lab import open_store, sweep
from jaxreg.lab.cli import studies
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
    with pytest.raises(ValueError, match=r"Name it test_loss or test$") as refused:
        jaxreg.lab.report(dataset, tmp_path / "r.html")
    assert str(refused.value).startswith(f"the dataset has the outputs {', '.join(names) or '(none)'}; expected a loss")
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
