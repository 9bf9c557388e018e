"""The examples in the documentation and in the docstrings of the library run, and print what they say they print."""

import doctest
import enum
import importlib
import pkgutil
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import jaxreg
import jaxreg.lab
from jaxreg.lab.cli.studies import find_study

ROOT = Path(__file__).parents[2]
PROSE = runpy.run_path(str(ROOT / "scripts" / "docs" / "prose.py"))
RUN = runpy.run_path(str(ROOT / "scripts" / "docs" / "run_pages.py"))["run"]
GUIDES = ("start", "which-when", "rules", "own-rules", "from", "recipes", "frameworks", "compare", "plots", "atlas")
PAGES = [
    "README.md",
    *(f"docs/{name}.md" for name in GUIDES),
    *sorted(
        f"docs/{kind}/{page.name}" for kind in ("recipes", "tutorials") for page in (ROOT / "docs" / kind).glob("*.md")
    ),
]
FRAMEWORKS = sorted((ROOT / "docs" / "frameworks").glob("*.md"))  # run by scripts/docs/try_frameworks
REPOSITORY = "https://raw.githubusercontent.com/jaxreg/jaxreg/main/"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CATALOGUE = (ROOT / "docs" / "catalogue.md").read_text("utf-8")
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(jaxreg.__path__, "jaxreg.")
    if not module.name.startswith("jaxreg.lab")
)


LONG = {page for page in PAGES if "/tutorials/" in page} | {"docs/recipes/large-models.md"}
"""Pages that train for half a minute: with the slow tests."""


@pytest.mark.parametrize("page", [pytest.param(page, marks=[pytest.mark.slow] * (page in LONG)) for page in PAGES])
def test_pages_print_what_they_say(page):
    assert RUN((ROOT / page).read_text("utf-8"), page) == []


@pytest.mark.parametrize(
    ("page", "faults"),
    [
        ("```python\nprint(1)\n```\n\n```\n1\n```\n", []),
        ("```python\nprint(1)\n```\n\n```\n2\n```\n", ["the page shows:\n2\nthe snippet prints:\n1\n"]),
        ("```python\nprint(1)\n```\nno more\n", ["the page does not show:\n1\n"]),
        ("```python\nx = 3\n```\n```text\nx is 4\n```\n```python\nprint(x)\n```\n```\n3\n```\n", []),
    ],
)
def test_what_a_page_shows_is_compared(page, faults):
    assert RUN(page, "page.md") == faults


@pytest.mark.parametrize("page", FRAMEWORKS, ids=lambda page: page.name)
def test_pages_of_other_frameworks_say_what_to_install_and_are_python(page):
    text = page.read_text("utf-8")
    assert re.search(r"^    pip install \S+", text, re.MULTILINE)
    code = [block for language, block in BLOCK.findall(text) if language == "python"]
    assert code
    for block in code:
        compile(block, page.name, "exec")


def test_the_study_of_the_docs_is_a_whole_file(tmp_path):
    page = (ROOT / "docs" / "compare.md").read_text("utf-8")
    (file,) = [text for _, text in BLOCK.findall(page) if "STUDY = " in text]
    (tmp_path / "mine.py").write_text(file, "utf-8")
    assert find_study(str(tmp_path / "mine.py")).name == "mine"


@pytest.mark.parametrize("name", MODULES)
def test_docstrings_print_what_they_say(name):
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, raise_on_error=False)
    assert failed == 0


def public():
    """What users call: {its full name: the object}; an enumeration is no such thing."""
    named = [getattr(jaxreg, name) for name in jaxreg.__all__]
    for module in (jaxreg.keras, jaxreg.diagnostics):
        named += [value for value in vars(module).values() if getattr(value, "__module__", "") == module.__name__]
    called = [value for value in named if callable(value) and not isinstance(value, enum.Enum | enum.EnumType)]
    return {f"{value.__module__}.{value.__name__}": value for value in called if not value.__name__.startswith("_")}


def test_every_public_object_has_an_example():
    without = {
        name for name, value in public().items() if not doctest.DocTestParser().get_examples(value.__doc__ or "")
    }
    assert without == {"jaxreg.keras.AdamState"}  # a state, made by adam


def test_the_catalogue_is_what_its_script_writes():
    assert runpy.run_path(str(ROOT / "scripts" / "docs" / "catalogue.py"))["page"]() == CATALOGUE


@pytest.mark.parametrize("package", [jaxreg, jaxreg.lab], ids=lambda package: package.__name__)
def test_the_catalogue_names_everything_public_once(package):
    named = re.findall(rf"^- `{re.escape(package.__name__)}\.(\w+)`: ", CATALOGUE, re.MULTILINE)
    modules = [name for name in package.__all__ if isinstance(getattr(package, name), ModuleType)]
    assert sorted([*named, *modules]) == sorted(package.__all__)
    assert all(f"\n## `{package.__name__}.{name}`\n" in CATALOGUE for name in modules)


@pytest.mark.parametrize(
    ("page", "count"),
    [("docs/atlas.md", 3), ("docs/which-when.md", 1), ("docs/tutorials/weight-decay.md", 4), ("README.md", 3)],
)
def test_the_pictures_of_a_page_are_there(page, count):
    shown = re.findall(r"^!\[.+\]\((\S+\.svg)\)$", (ROOT / page).read_text("utf-8"), re.MULTILINE)
    assert len(shown) == count
    pictures = [(ROOT / page).parent / name.removeprefix(REPOSITORY) for name in shown]
    assert all(picture.read_text("utf-8").lstrip().startswith("<?xml") for picture in pictures)


@pytest.mark.parametrize("picture", sorted((ROOT / "docs").glob("**/*.svg")), ids=lambda picture: picture.stem)
def test_a_picture_has_no_card_behind_it(picture):
    drawn = re.search(r'<g id="patch_1">\s*<path [^>]*style="(.*?)"', picture.read_text("utf-8"))  # the figure itself
    assert drawn is None or drawn[1] == "fill: none"


def test_the_gallery_shows_every_study():
    gallery = (ROOT / "docs" / "gallery.md").read_text("utf-8")
    for kind in ("md", "svg"):
        shown = set(re.findall(rf"\]\((studies/\w+\.{kind})\)", gallery))
        assert shown == {f"studies/{page.name}" for page in (ROOT / "docs" / "studies").glob(f"*.{kind}")}


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) < 120


@pytest.mark.parametrize("page", PROSE["pages"](), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_prose_is_plain(page):
    assert PROSE["faults"](PROSE["read"](page.read_text("utf-8"))) == []


def test_prose_is_measured():
    page = """# A heading is no sentence

Two words. Five words with `code in it`, [and a](long/link.md) more! They are three.
A line goes on: it is the same sentence, i.e. one of sixteen words or so.

- An item without a full stop
- Another one

    an indented block is code

| head | two words |
|---|---|
| a cell with five words | \u2212 |

```python
code = "is not prose"
```
"""
    found = PROSE["read"](page)
    assert [PROSE["words"](text) for text in found.sentences] == [2, 7, 3, 16, 6, 2]
    assert [PROSE["words"](text) for text in found.cells] == [1, 2, 0, 0, 5, 0]
    assert PROSE["faults"](found) == []
    long = PROSE["read"](" ".join(["word"] * 41) + ".\n\n| " + " ".join(["cell"] * 41) + " |\n\nShut, lest it rain.")
    assert [fault[:20] for fault in PROSE["faults"](long)] == [
        "22.5 words per sente", "a sentence of 41 wor", "a cell of 41 words: ", "a word to avoid: les",
    ]  # fmt: skip


def test_code_and_help_use_plain_words():
    files = [file for folder in ("jaxreg", "experiments", "scripts") for file in (ROOT / folder).rglob("*.py")]
    lines = {file: file.read_text("utf-8").splitlines() for file in files if file.name != "prose.py"}
    found = [
        f"{file.relative_to(ROOT)}:{number}: {word[0]}"
        for file, text in lines.items()
        for number, line in enumerate(text, 1)
        if (word := PROSE["WORST"].search(line))
    ]
    assert not found


@pytest.mark.parametrize("page", ["README.md", "docs/start.md"])
def test_each_door_has_all_of_its_imports(page):
    """Readers enter by one of three sections, and copy its code alone."""
    for section in (ROOT / page).read_text("utf-8").split("\n## ")[1:]:
        code = "\n".join(re.findall(r"```python\n(.*?)```", section, re.DOTALL))
        command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", "-"]
        done = subprocess.run(command, input=code, capture_output=True, text=True)
        assert done.returncode == 0, f"{section.splitlines()[0]}: {done.stdout}"
