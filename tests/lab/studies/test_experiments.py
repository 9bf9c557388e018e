"""The case studies: each says its claim, has a row in experiments/README.md, and runs in its quick form."""

import ast
import re
import sys
from html import escape
from pathlib import Path

import numpy as np
import pytest

from jaxreg.lab import open_study
from jaxreg.lab.cli import studies
from jaxreg.lab.studies.results import NONE

ROOT = Path(__file__).parents[3]
README = (ROOT / "experiments" / "README.md").read_text("utf-8")
COMMAND = re.compile(r"`jaxreg run ([a-z0-9_]+)")
STUDIES, ROWS = (
    [line for line in part.splitlines() if line.startswith("| ") and "`jaxreg run " in line]
    for part in README.split("\n## What the tutorials ask", 1)
)
NAMES = [COMMAND.search(row).group(1) for row in STUDIES]
RESEMBLED = {"l1_l2", "layers", "max_norm", "axis_dense", "penalty_or_constraint", "weights_in_sets", "cnn_presets",
           "lstm_digits"}  # fmt: skip
"""Studies that others resemble in model, data and kind of arms; they run with the slow tests."""


@pytest.fixture(scope="module", autouse=True)
def _in_the_clone():
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(sys, "argv", ["jaxreg"])
        yield


def test_every_study_has_one_row_and_every_command_is_a_study():
    assert sorted(NAMES) == sorted(studies.experiments())
    assert set(COMMAND.findall(README)) == set(NAMES)


def test_every_row_of_the_tutorials_names_a_command():
    table = README.split("\n## What the tutorials ask", 1)[1].splitlines()
    asked = [line for line in table if line.startswith("| ") and not line.startswith(("| ---", "| Asked for", "| **"))]
    assert asked == ROWS
    assert len(ROWS) > 40


FIGURE = re.compile("[+\N{MINUS SIGN}]?[0-9]+(?:[.][0-9]+)?")


@pytest.mark.parametrize("row", STUDIES, ids=NAMES)
def test_the_figures_of_a_row_are_those_of_its_page(row):
    name = COMMAND.search(row).group(1)
    assert row.startswith(f"| [{name}](../docs/studies/{name}.md)")
    for picture in re.findall(r'src="../([^"]+)"', row):
        assert (ROOT / picture).is_file()
    page = (ROOT / "docs" / "studies" / f"{name}.md").read_text("utf-8")
    assert f"`jaxreg run {name}`" in page
    _, claim, found, _ = (cell.strip() for cell in row.strip("| ").split(" | "))
    assert claim in page
    figures = FIGURE.findall(found)
    assert figures
    assert [figure for figure in figures if figure not in FIGURE.findall(page)] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_study_says_its_claim_and_its_command(name):
    said = ast.get_docstring(ast.parse((ROOT / "experiments" / "studies" / f"{name}.py").read_text("utf-8")))
    title, rest = said.split("\n", 1)
    assert title.endswith(".")
    assert rest.startswith("\nClaim: ")
    assert re.search(rf"^Command: jaxreg run {name}$", rest, re.MULTILINE)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in RESEMBLED)) for name in NAMES])
def test_a_study_runs_in_its_quick_form(name, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")  # a narrow terminal breaks sentences into lines
    study = studies.find_study(name)
    studies.run([name], {"draws": 2, "seeds": 1}, tmp_path, quick=True)
    printed = capsys.readouterr().out
    results = open_study(tmp_path / name)
    labels = results.fresh["recipe"].values.tolist()
    assert labels == [label for arm in study.arms for label in arm.labels()]
    assert len(set(labels)) == len(labels)
    assert NONE in labels
    for label in [*labels, *(claim.words for claim in study.claims)]:
        assert label in printed
    for dataset in (results.fresh, results.published):
        if dataset is not None:
            assert np.isfinite(dataset["test_loss"]).all()
    assert study.claims
    page = (tmp_path / name / "report.html").read_text("utf-8")
    assert "<svg" in page
    assert all(escape(claim.words) in page for claim in study.claims)
