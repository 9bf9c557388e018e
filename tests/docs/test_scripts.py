"""The commands of a clone: whatever the shell that calls them has set, they run what is locked."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

TOLD = """
import os, sys
print([name for name in ("PYTHONPATH", "PYTHONHOME") if name in os.environ])
print(os.fspath(__file__).endswith("a clone \N{LATIN SMALL LETTER U WITH DIAERESIS}/jaxreg/__main__.py"), sys.argv[-2:])
"""


@pytest.fixture
def clone(tmp_path):
    """A clone that is set up, with a Python of its own that finds the package by a line in a .pth, as after pip."""
    folder = tmp_path / "a clone \N{LATIN SMALL LETTER U WITH DIAERESIS}"
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    for name in ("requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    (folder / "jaxreg").mkdir()
    (folder / "jaxreg" / "__main__.py").write_text(TOLD)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
    (site,) = (folder / ".venv" / "lib").glob("python*/site-packages")
    (site / "clone.pth").write_text(f"{folder}\n", "utf-8")
    made = subprocess.run("cat requirements.lock pyproject.toml | cksum", shell=True, cwd=folder, capture_output=True)
    (folder / ".venv" / "made-from").write_bytes(made.stdout)
    return folder


@pytest.mark.parametrize("setting", [{}, {"PYTHONPATH": "elsewhere", "PYTHONHOME": "nowhere"}, {"LC_ALL": "C"}])
def test_reproduce_runs_from_anywhere_whatever_is_set(setting, clone, tmp_path):
    environment = {"PATH": os.environ["PATH"], **setting}
    command = [clone / "scripts" / "reproduce", "--out", "my results"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\nTrue ['--out', 'my results']\n"
