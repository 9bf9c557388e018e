"""Measure the prose of pages: words per sentence and per table cell, and words that a reader has to translate.

    python scripts/docs/prose.py [PAGE ...]    # every page but the diaries of docs/development by default

Exits with 1 if a page is above a limit: a mean of 17 words per sentence, 40 words in a sentence or a table cell.
"""

import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "docs/frameworks", "docs/recipes", "docs/studies", "docs/tutorials")
GENERATED = {"catalogue.md"}  # sentences of docstrings

MEAN, LONGEST = 17.0, 40
WORST = re.compile(
    r"\b(foretells?|foretold|lest|in the place of|whereof|wherein|thereof|likewise|(?:is|are) told|told apart|"
    r"not to be told|of one's own|their kin|which when|is none of (?:them|those)|needs must|be it|hold against|"
    r"held against)\b",
    re.IGNORECASE,
)
_FENCE = re.compile(r"^([ \t]*)(`{3,}|~{3,}|:{3,}).*?^\1\2[ \t]*$", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s+|^#{1,6}\s+|^>\s?")
_END = re.compile(r"(?<=[.!?])[\"')\]*_]*\s+(?=[\"'(\[*_`]*[^\sa-z])|(?<=[^\d\s]:)\s*$")


class Prose(NamedTuple):
    """The prose of a page: sentences and table cells without code, and the refused words."""

    sentences: list[str]
    cells: list[str]
    worst: list[str]

    def mean(self) -> float:
        """Return the mean number of words per sentence, 0 for a page without prose."""
        return sum(map(words, self.sentences)) / max(len(self.sentences), 1)


def words(text: str) -> int:
    """Count the words of a text; code in backticks is one word, signs alone are none."""
    return sum(any(sign.isalnum() for sign in word) for word in text.split())


def read(markdown: str) -> Prose:
    """Split a page in Markdown into sentences and table cells.

    Args:
        markdown: Text of the page.
    """
    text = re.sub(r"\A---\n.*?^---\n", "", markdown, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", _FENCE.sub("\n", text), flags=re.DOTALL)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "`code`", text, flags=re.DOTALL)
    paragraphs, cells = [""], []
    fresh = True  # after an empty line, where an indent of four means code
    for line in text.splitlines():
        if fresh and line.startswith(("    ", "\t")) and not _BLOCK.match(line):
            continue
        fresh = not line.strip()
        if line.lstrip().startswith("|"):
            cells += [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
            paragraphs.append("")
        elif fresh or _BLOCK.match(line):
            paragraphs.append(_BLOCK.sub("", line) if not line.lstrip().startswith("#") else "")
        else:
            paragraphs[-1] += " " + line.strip()
    sentences = [part.strip() for paragraph in paragraphs for part in _END.split(paragraph)]
    said = [sentence for sentence in sentences if words(sentence)]
    return Prose(said, cells, WORST.findall("\n".join([*said, *cells])))


def faults(prose: Prose) -> list[str]:
    """Say what is above a limit, one sentence per fault.

    Args:
        prose: What `read` found.
    """
    found = [f"{prose.mean():.1f} words per sentence; at most {MEAN:g}"] if prose.mean() > MEAN else []
    for kind, texts in (("sentence", prose.sentences), ("cell", prose.cells)):
        found += [f"a {kind} of {words(text)} words: {text[:90]}…" for text in texts if words(text) > LONGEST]
    return found + [f"a word to avoid: {word}" for word in prose.worst]


def pages() -> list[Path]:
    """Return the pages that the limits are for."""
    guides = [page for folder in FOLDERS for page in sorted((ROOT / folder).glob("*.md"))]
    ours = [page for page in guides if page.name not in GENERATED]
    others = [ROOT / folder / "README.md" for folder in ("docs/development", "experiments")]
    return [*sorted(ROOT.glob("*.md")), *ours, *others]


def main() -> None:
    failed = False
    for page in [Path(name).resolve() for name in sys.argv[1:]] or pages():
        prose = read(page.read_text("utf-8"))
        longest, widest = (max(map(words, texts), default=0) for texts in (prose.sentences, prose.cells))
        name = page.relative_to(ROOT) if page.is_relative_to(ROOT) else page
        print(f"{name}: {prose.mean():.1f} words per sentence, longest {longest}, longest cell {widest}")
        for fault in faults(prose):
            failed = True
            print(f"    {fault}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
