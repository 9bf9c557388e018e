"""The site builds without a warning; the pages about the project agree with the package."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import jaxreg

ROOT = Path(__file__).parents[2]


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("furo", reason="the site needs the extra docs")
    pytest.importorskip("myst_parser", reason="the site needs the extra docs")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "-d",
        tmp_path / "doctrees",
        ROOT / "docs",
        tmp_path / "site",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "api" / "jaxreg.MaxNorm.html").read_text("utf-8")
    assert re.match(r"[\w ]+", jaxreg.MaxNorm.__doc__)[0].strip() in page


def test_no_page_has_the_name_of_one_of_the_sites_own():
    assert not {"search", "genindex", "py-modindex"} & {page.stem for page in (ROOT / "docs").glob("*.md")}


def test_the_citation_is_of_this_version():
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    assert cited is not None
    assert cited[1] == jaxreg.__version__
