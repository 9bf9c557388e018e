"""The tutorials' notebooks are the pages, and run in a quick form."""

import json
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "docs" / "notebooks.py"))


def test_there_is_one_for_each_tutorial():
    assert [path.stem for path in NOTEBOOKS] == [page.stem for page in SCRIPT["PAGES"]]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_its_page(path):
    page = (ROOT / "docs" / "tutorials" / f"{path.stem}.md").read_text("utf-8")
    cells = json.loads(path.read_text("utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert code == [block.strip() for block in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)]
    printed = ["".join(output["text"]) for cell in cells for output in cell.get("outputs", [])]
    assert all(f"```\n{text}```" in page for text in printed)
    assert len(printed) == len(re.findall(r"```\n\n```\n", page))
    assert path.read_text("utf-8") == SCRIPT["notebook"](ROOT / "docs" / "tutorials" / f"{path.stem}.md")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_in_a_quick_form(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            source = re.sub(r"(epochs|record_every)=4000?\b", r"\1=40", "".join(cell["source"]))
            before = capsys.readouterr()
            assert before.err == ""
            exec(re.sub(r"hidden=500", "hidden=20", source), names)
            assert bool(capsys.readouterr().out) == bool(cell["outputs"])
