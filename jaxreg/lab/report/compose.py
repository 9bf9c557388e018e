"""The report of stored results: the verdict in words, then tables, pictures and the origin of each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import xarray as xr

from jaxreg.lab.atomic_files import write_whole
from jaxreg.lab.report import pictures, tables
from jaxreg.lab.report.document import (
    Block,
    Bullets,
    Code,
    Details,
    Heading,
    Paragraph,
    Picture,
    Pictures,
    Piece,
    Quoted,
    Stop,
    Summary,
    Text,
    Walk,
    recomputing,
)
from jaxreg.lab.report.html import html
from jaxreg.lab.report.markdown import drawn, markdown
from jaxreg.lab.report.provenance import Source, opened
from jaxreg.lab.report.quantities import measured, quantity
from jaxreg.lab.report.verdict import LOSS, advised, verdict
from jaxreg.lab.report.wording import change
from jaxreg.lab.studies import summaries
from jaxreg.lab.studies.results import NONE, StudyResults

_VERSIONS = ("jaxreg", "jax", "jaxlib", "numpy", "platform")
_WORDS = (
    "An interval holds the mean change with the confidence that it names. A recipe is significantly better if the "
    "interval of how often it wins, a tie as half a win, lies above one half, and meaningfully so if that reaches "
    "beyond three quarters. "
    "A draw is one sampling of the data, a seed one initialisation of the weights; changes are paired on both."
)


def report(folders: Sequence[Path], out: Path, form: Literal["html", "markdown"] = "html") -> Path:
    """Write one report of stored results.

    Args:
        folders: Case studies, which are compared with each other, or any training sweeps; not both.
        out: File to write.
        form: A self-contained page, or Markdown with its pictures in a folder beside it.

    Returns:
        The file.

    Raises:
        ValueError: If a folder holds no finished results, or case studies and sweeps are mixed.
        FileNotFoundError: If a folder does not exist.
    """
    return write(opened(folders), out, form)


def write(sources: Mapping[Path, Source], out: Path, form: Literal["html", "markdown"] = "html") -> Path:
    """Write a report of results that are open already.

    Args:
        sources: Folder -> its results, as `opened` gives them.
        out: File to write.
        form: Format, as `report` takes it.
    """
    title, blocks = compose(sources)
    if form == "html":
        write_whole(out, html(title, blocks))
        return out
    folder = out.with_name(f"{out.stem}-pictures")
    for picture in drawn(blocks):
        write_whole(folder / f"{picture.name}.svg", picture.svg)
    write_whole(out, markdown(blocks, folder.name))
    return out


def compose(sources: Mapping[Path, Source]) -> tuple[str, list[Block]]:
    """Return the title and the blocks of a report.

    Args:
        sources: Folder -> its results.
    """
    results = list(sources.values())
    if isinstance(results[0].data, StudyResults):
        title = "Which regulariser, and how strong?"
        blocks = _studies(title, results)
    else:
        title = "A sweep of trainings" if len(results) == 1 else "Sweeps of trainings"
        blocks = [Heading([title], 1)]
        for folder, source in sources.items():
            blocks += _sweep(source, folder)
    return title, [*blocks, _recomputing(blocks, sources)]


def _studies(title: str, sources: Sequence[Source]) -> list[Block]:
    titles = "; ".join(source.data.record.title for source in sources)
    blocks: list[Block] = [Heading([title], 1), Paragraph([Quoted(titles)]), verdict(sources), Paragraph([_WORDS])]
    for source in sources:
        blocks += _study(source)
    return blocks


def _study(source: Source) -> list[Block]:
    results: StudyResults = source.data
    label = advised(source)
    seen = label if label != NONE else next(iter(results.record.highlights), NONE)
    parts = tables.parts(source)
    blocks: list[Block] = [Heading([Quoted(results.record.title)])]
    blocks += [tables.fresh_table(source), Paragraph(_corrected(source.at("fresh")))]
    if results.published is not None:
        blocks.append(tables.published_table(source))
    blocks.append(tables.weights_table(source))
    if results.record.source:
        blocks.append(Paragraph(["Published: ", Quoted(results.record.source), "."]))
    blocks.append(Paragraph([*tables.diverged_note(parts), *tables.reach_note(source)]))
    if results.record.grid:
        blocks += _walk(source, label)
    drawings = [*pictures.data(results), *pictures.learning(results, seen), *pictures.grid(results, label)]
    drawings += pictures.differences(results, seen) if seen != NONE else []
    blocks += [Heading(["Pictures"], 3), Pictures([*drawings, *pictures.norms(results, seen)])]
    made: list[Text] = [["Command: ", Code(results.record.command or "from Python")]]
    return [*blocks, Details("How it was made", [Bullets([*made, *_made(parts)])])]


def _walk(source: Source, label: str) -> list[Block]:
    """Return the walk along the strengths, from the recipe to use or else from the baseline."""
    results: StudyResults = source.data
    stops = pictures.stops(results)
    arm = results.record.arm(results.record.grid)
    study, fresh = source.at("published"), source.at("fresh")

    def told(recipe: str) -> Text:
        parts: list[Piece] = [f"test {quantity(fresh.data, LOSS).words} "]
        if study.data is not None:
            parts += [study.find(summaries.mean, recipe, LOSS).number(), f" with {pictures.one_draw(results)}, "]
        parts += [fresh.find(summaries.mean, recipe, LOSS).number(), " over the draws"]
        if recipe != NONE:
            parts += [": ", *change(fresh, recipe, LOSS)]
        return [*parts, "."]

    walk = Walk(
        f"{source.name}-walk",
        [f"Move along the {arm.quantity} of ", Code(arm.method), ": "],
        [Stop(recipe, told(recipe), pictures.stop(results, recipe)) for recipe in stops],
        stops.index(label) if label in stops else 0,
    )
    return [Heading([f"What the {arm.quantity} does"], 3), walk]


def _corrected(fresh: Source) -> Text:
    told: list[Piece] = ["Of the ", fresh.find(summaries.compared).number(form="d"), " recipes compared with "]
    told += [Code(NONE), ", "]
    for place, name in enumerate(reversed(measured(fresh.data))):
        what = quantity(fresh.data, f"test_{name}").words
        differing = fresh.find(summaries.significant, f"test_{name}")
        told += [" and " if place else "", differing.number(form="d")]
        told += [f" differs in {what}" if differing.data == 1 else f" differ in {what}"]
    return [*told, " beyond chance, looking at all of them at once (Wilcoxon's test, Holm's correction)."]


def _sweep(source: Source, folder: Path) -> list[Block]:
    dataset: xr.Dataset = source.data
    labels = [str(label) for label in dataset["recipe"].values]
    best = summaries.ranked(dataset)[0]
    blocks: list[Block] = [Heading([Code(str(folder))]), Summary(_seen(source, best))]
    recipes = [label for label in dict.fromkeys((NONE, best)) if label in labels]
    drawings: list[Picture] = pictures.sweep(dataset, source.name, recipes) if "epoch" in dataset.dims else []
    blocks += [tables.sweep_table(source), Paragraph(tables.diverged_note([source])), Pictures(drawings)]
    return [*blocks, Details("How it was made", [Bullets(_made([source]))])]


def _seen(source: Source, best: str) -> list[Block]:
    validated = "validation_loss" in source.data and {"seed", "draw"} & set(source.data.dims)
    label = source.find(summaries.recommended).data if validated else best
    what, loss = quantity(source.data, LOSS).words, source.find(summaries.mean, label, LOSS).number()
    why = "chosen most often on the validation rows" if validated else "the lowest of all settings"
    blocks: list[Block] = [Paragraph([Code(label), f" has a test {what} of ", loss, f", {why}."], lead=True)]
    if NONE in source.data["recipe"].values and label != NONE:
        blocks.append(Paragraph(["Against ", Code(NONE), ": ", *change(source, label, LOSS), "."]))
    if not validated:
        warning = "It was found on the rows it is tested on, so it looks better than it is: choose on validation rows."
        blocks.append(Paragraph([warning]))
    return blocks


def _made(sources: Sequence[Source]) -> list[Text]:
    told: list[Text] = []
    for source in sources:
        sizes = ", ".join(f"{dim} ({size})" for dim, size in source.data["diverged_at"].sizes.items())
        told.append([Code(source.name), ", the grid: ", Code(sizes)])
    attrs = sources[0].data.attrs
    told.append(["Versions: ", Code(", ".join(f"{name} {attrs[name]}" for name in _VERSIONS if name in attrs))])
    return told


def _recomputing(blocks: Sequence[Block], sources: Mapping[Path, Source]) -> Block:
    study = isinstance(next(iter(sources.values())).data, StudyResults)
    opener = "open_study" if study else "open_sweep"
    lines = [
        "from pathlib import Path",
        "",
        "from jaxreg.lab import stats",
        "from jaxreg.lab.report import tables",
        "from jaxreg.lab.studies import *",
    ]
    lines += [f"{source.name} = {opener}(Path({str(folder)!r}))" for folder, source in sources.items()]
    return recomputing(blocks, lines)
