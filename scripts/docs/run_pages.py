"""Run the Python snippets of pages and compare what they print with the text.

    python scripts/docs/run_pages.py PAGE ...

The snippets of a page share their names. A fenced block without a language is what the snippet before it prints.
Exits with 1 if a page prints anything else.
"""

import contextlib
import io
import re
import sys
import traceback
from pathlib import Path

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(text: str, name: str, names: dict[str, object] | None = None) -> list[str]:
    """Run the snippets of a page and return one sentence per output that differs from the text.

    Args:
        text: The page, in Markdown.
        name: Its name in tracebacks.
        names: Names that the snippets may use, such as those of the pages before.
    """
    names = {**(names or {}), "__name__": name}
    found, printed = [], ""
    for language, block in [*BLOCK.findall(text), ("python", "")]:
        if language == "python":
            if printed:
                found.append(f"the page does not show:\n{printed}")
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(compile(block, f"{name}, {block.partition(chr(10))[0]}", "exec"), names)
            printed = output.getvalue()
        elif not language:
            if block != printed:
                found.append(f"the page shows:\n{block}the snippet prints:\n{printed}")
            printed = ""
    return found


def main() -> int:
    """Run the pages, print which passed, and return 1 if any did not."""
    failed = 0
    for page in sys.argv[1:]:
        try:
            faults = run(Path(page).read_text("utf-8"), page)
        except Exception:
            faults = [traceback.format_exc()]
        failed |= bool(faults)
        print("\n".join([f"{page}: {'failed' if faults else 'passed'}", *faults]), flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
