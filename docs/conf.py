"""The site: `sphinx-build -W docs build/site`, with the extra `docs` installed. Nothing is fetched.

A page per public object is written to `docs/api` before the build, from the same lists as docs/catalogue.md.
"""

import re
import runpy
from enum import Enum
from pathlib import Path
from types import FunctionType
from typing import Any

import jaxreg
import jaxreg.lab

DOCS = Path(__file__).parent
CATALOGUE = runpy.run_path(str(DOCS.parent / "scripts" / "docs" / "catalogue.py"))
HOME = "https://github.com/jaxreg/jaxreg"

project = "jaxreg"
author = "The jaxreg authors"
project_copyright = author
version = release = jaxreg.__version__
html_title = "jaxreg"
html_theme = "furo"
html_theme_options = {"source_repository": HOME, "source_branch": "main", "source_directory": "docs/"}
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
pygments_dark_style = "a11y-dark"  # the theme's own underlines names of modules, as if they were links
highlight_language = "none"  # a block without a language is output
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["benchmarks"]
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the arguments' texts say more than their types
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
suppress_warnings = ["misc.highlighting_failure"]  # an excerpt of output has no language


CONTENTS: dict[str, str] = {}
"""Tables of contents beside the pages of objects, by their options."""


def setup(app: Any) -> None:
    """Write the API pages, and let docstrings use signs that reStructuredText gives a meaning."""
    app.connect("config-inited", lambda app, config: write_api(DOCS / "api"))
    app.connect("autodoc-process-docstring", escape, priority=400)
    app.connect("autodoc-skip-member", skip)
    app.connect("source-read", link_to_repository)
    app.connect("html-page-context", share_contents, priority=400)  # before the theme asks for the contents


def write_api(folder: Path) -> None:
    """Write a page per public object, and one per module that lists them.

    Only the modules are in the table of contents: it stands beside every page, and each entry makes every page slower.

    Args:
        folder: Folder of the pages.
    """
    folder.mkdir(exist_ok=True)
    pages = {"index": "# API\n\nOne page per public object. [One line each](../catalogue.md).\n"}
    modules = []
    for package in (jaxreg, jaxreg.lab):
        for module in CATALOGUE["sections"](package):
            page = f"module.{module.__name__}"
            lines = []
            for name in module.__all__:
                path = CATALOGUE["shortest"](package, module, name)
                lines.append(f"- [{name}]({path}.md): {CATALOGUE['sentence'](module, name)}\n")
                head = f"---\norphan: true\n---\n\n# {name}\n\nOf [{module.__name__}]({page}.md).\n\n"
                pages[path] = head + described(module, name, path)
            title = f"# {module.__name__}\n\n{CATALOGUE['first_sentence'](module.__doc__)}\n\n"
            pages[page] = title + "".join(lines)
            modules.append(page)
    pages["index"] += "\n" + toctree(modules)
    for stale in set(folder.glob("*.md")) - {folder / f"{name}.md" for name in pages}:
        stale.unlink()
    for name, text in pages.items():
        file = folder / f"{name}.md"
        if not file.exists() or file.read_text("utf-8") != text:
            file.write_text(text, "utf-8")


def described(module: Any, name: str, path: str) -> str:
    """Return the body of an object's page: its docstring by autodoc, or a constant's sentence."""
    value = getattr(module, name)
    if isinstance(value, type) and issubclass(value, Enum):
        members = "".join(f"- `{member.name}`: {member.value}\n" for member in value)
        return f"```{{eval-rst}}\n.. autoclass:: {path}\n```\n\n{members}"
    if isinstance(value, type):
        return f"```{{eval-rst}}\n.. autoclass:: {path}\n   :members:\n```\n"
    if isinstance(value, FunctionType):
        return f"```{{eval-rst}}\n.. autofunction:: {path}\n```\n"
    return f"`{path}`\n\n{CATALOGUE['sentence'](module, name)}\n"


def toctree(names: list[str]) -> str:
    """Return a table of contents of pages in the same folder."""
    return "```{toctree}\n:maxdepth: 1\n\n" + "\n".join(names) + "\n```\n"


def escape(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Escape `|` and `*` outside code and examples: in docstrings they are signs of mathematics."""
    for place, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = re.split(r"(`[^`]*`)", line)
            lines[place] = "".join(part if part.startswith("`") else re.sub(r"([|*])", r"\\\1", part) for part in parts)


def skip(app: Any, what: str, name: str, value: Any, skipped: bool, options: Any) -> bool | None:
    """Leave out what scikit-learn adds to estimators, whose text refers to pages of its own."""
    return True if re.fullmatch(r"set_\w+_request", name) else None


def share_contents(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Make the table of contents beside the pages of objects once: none of them is in it, so all have the same one."""
    make = context.get("toctree")
    if make and page.startswith("api/") and "orphan" in app.env.metadata.get(page, {}):
        context["toctree"] = lambda **options: (
            CONTENTS.get(str(options)) or CONTENTS.setdefault(str(options), make(**options))
        )


def link_to_repository(app: Any, page: str, source: list[str]) -> None:
    """Point links that leave the folder of the pages to the repository."""
    source[0] = re.sub(r"\]\(\.\./(benchmarks[^)]*)\)", rf"]({HOME}/blob/main/docs/\1)", source[0])
    source[0] = re.sub(
        r"\]\((?:\.\./)+((?:experiments|scripts|tests|jaxreg|CHANGELOG|CONTRIBUTING|README)[^)]*)\)",
        rf"]({HOME}/blob/main/\1)",
        source[0],
    )
