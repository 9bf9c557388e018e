"""Type-check every Python snippet of README and docs, word for word, by mypy, strictly, and pyright.

    python scripts/docs/check_snippets.py

The snippets of a page share their names, so they are checked as one file. Its other lines are empty there, so that a
message's line is that of the page. A penalty given as a constraint must be an error of types.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
OTHERS = ROOT / "docs" / "frameworks"  # their packages are not installed here
PAGES = [ROOT / "README.md", *(page for page in sorted(ROOT.glob("docs/**/*.md")) if page.parent != OTHERS)]
MIXED_UP = "import jaxreg as jr\n\njr.project({jr.KERNELS: jr.L2(1.0)})  # type: ignore[dict-item]\n"
"""mypy reports the comment if the line has no such error."""
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def snippets(page: str) -> str:
    """Return the Python of a page, every line at its place, and nothing else."""
    code, end = "", 0
    for block in BLOCK.finditer(page):
        code += "\n" * page.count("\n", end, block.start(1)) + block[1]
        end = block.end(1)
    return code


def main() -> int:
    """Check the snippets, print what is wrong with them, and return 1 if anything is."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "snippets"  # mypy's options for the package of this name are in pyproject.toml
        folder.mkdir()
        (folder / "__init__.py").touch()
        pages = {}
        for page in PAGES:
            if code := snippets(page.read_text("utf-8")):
                name = page.relative_to(ROOT).with_suffix("").as_posix().replace("/", "_").replace("-", "_")
                (folder / f"{name}.py").write_text(code, "utf-8")
                pages[str(folder / f"{name}.py")] = str(page.relative_to(ROOT))
        settings = {"pythonVersion": "3.11", "typeCheckingMode": "standard", "extraPaths": [str(ROOT)]}
        (folder / "pyrightconfig.json").write_text(json.dumps(settings))
        mixed_up = Path(place) / "mixed_up.py"
        mixed_up.write_text(MIXED_UP, "utf-8")
        commands = [
            [sys.executable, "-m", "mypy", *pages, mixed_up],
            [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--project", folder],
        ]
        wrong = False
        running = [
            subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for command in commands
        ]
        for command, process in zip(commands, running, strict=True):
            said, _ = process.communicate()
            for file, page in pages.items():
                said = said.replace(file, page)
            print(f"{command[2]}: {said.strip()}")
            wrong |= process.returncode != 0
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
