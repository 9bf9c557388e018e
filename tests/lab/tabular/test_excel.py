"""Excel sheets: read as the CSV file of the same cells is, or refused in one sentence."""

import datetime
import io
import sys

import numpy as np
import pandas as pd
import pytest
from helpers.tables import mutated, outcome, prepared

from jaxreg.lab.tabular.files import parsed


def frame():
    rng = np.random.default_rng(0)
    return pd.DataFrame({
        "size": rng.normal(size=30),
        "count": rng.integers(0, 90, 30),
        "town": rng.choice(["Ulm", "Bonn", "None", None], 30),
        "open": rng.integers(0, 2, 30).astype(bool),
        "day": pd.date_range("2024-02-01", periods=30, freq="3D"),
        "at": [datetime.time(row % 24, 30) for row in range(30)],
        "y": rng.integers(0, 2, 30),
    })  # fmt: skip


def sheet(table, **options):
    pytest.importorskip("openpyxl")
    buffer = io.BytesIO()
    table.to_excel(buffer, index=False, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("options", [{}, {"startrow": 3, "startcol": 0}, {"header": False}])
def test_a_sheet_is_read_as_the_csv_file_of_the_same_cells(options):
    table = frame()
    headed = options.get("header", True)
    target, names = ("y", list(table)) if headed else ("c7", [])
    found = prepared(sheet(table, **options), target, "t.xlsx")
    wanted = prepared(table.to_csv(index=False, header=headed).encode(), target)
    np.testing.assert_allclose(found.x, wanted.x, rtol=1e-12)
    assert found.encoding.inputs == wanted.encoding.inputs
    assert not names or found.encoding.inputs[:2] == names[:2]


def test_the_first_of_several_sheets_is_read_and_told():
    pytest.importorskip("openpyxl")
    buffer = io.BytesIO()
    with pd.ExcelWriter(buffer) as book:
        frame().to_excel(book, sheet_name="people", index=False)
        frame().to_excel(book, sheet_name="notes", index=False)
    found = prepared(buffer.getvalue(), name="t.xlsx")
    assert found.notes[0] == "t.xlsx has 2 sheets, 'people', 'notes'. Only 'people' is read"


def test_without_openpyxl_it_is_asked_for(monkeypatch):
    file = io.BytesIO()
    np.savez(file, x=[1])  # a zip archive, as a workbook is
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    assert "needs openpyxl. Run: pip install 'jaxreg[excel]'" in outcome(parsed, file.getvalue(), "t.xlsx")[1]


def test_mutated_sheets_are_read_or_refused_in_one_sentence():
    file = sheet(frame())
    rng = np.random.default_rng(0)
    for _ in range(200):
        found, sentence = outcome(parsed, mutated(file, rng), "t.xlsx")
        assert sentence or len(found["y"])
