"""The tutorials as notebooks, in docs/notebooks, from their pages: the same words, code and printed output.

python scripts/docs/notebooks.py
"""

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
OUT = ROOT / "docs" / "notebooks"
HOME = "https://github.com/jaxreg/jaxreg/blob/main/docs"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```\n?", re.MULTILINE | re.DOTALL)
INSTALL = 'pip install "jaxreg[lab] @ git+https://github.com/jaxreg/jaxreg"'


def notebook(page: Path) -> str:
    """Return a page as the text of a notebook.

    Args:
        page: Page of the tutorial. A block of Python is a cell, and a block without a language below it is its output.
    """
    text, cells, end = page.read_text("utf-8"), [], 0
    for block in BLOCK.finditer(text):
        between, (language, content) = text[end : block.start()].strip(), block.groups()
        end = block.end()
        if between:
            cells.append(words(between))
        if language == "python":
            outputs: list[Any] = []
            code = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": outputs}
            cells.append(code | {"source": lines(content.strip())})
        elif language == "" and not between:
            outputs.append({"name": "stdout", "output_type": "stream", "text": lines(content)})
        else:
            cells.append(words(block[0].strip()))
    cells.append(words(text[end:].strip()))
    title, _, rest = "".join(cells[0]["source"]).partition("\n")
    cells[0] |= words(f"{title}\n\nIt needs jaxreg: `{INSTALL}`.\n{rest}")
    for place, cell in enumerate(cells):
        cell["id"] = f"cell-{place}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    whole = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def words(text: str) -> dict[str, Any]:
    """Return a cell of Markdown, whose links lead to the pages in the repository."""
    linked = re.sub(r"\]\(\.\./", f"]({HOME}/", text)
    linked = re.sub(r"\]\((?=[\w-]+\.md)", f"]({HOME}/tutorials/", linked)
    raw = "https://raw.githubusercontent.com/jaxreg/jaxreg/main/docs"
    linked = re.sub(rf"(!\[[^\]]*\]\(){re.escape(HOME)}", rf"\1{raw}", linked)
    return {"cell_type": "markdown", "metadata": {}, "source": lines(linked)}


def lines(text: str) -> list[str]:
    """Return the lines of a text, each but the last with its end."""
    return text.splitlines(keepends=True)


def main() -> None:
    OUT.mkdir(exist_ok=True)
    for page in PAGES:
        path = OUT / f"{page.stem}.ipynb"
        path.write_text(notebook(page), "utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
