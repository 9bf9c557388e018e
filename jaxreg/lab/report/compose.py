"""Report of stored results: the verdict in words, then tables, plots, and the way in which the results were made."""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

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
    Pictures,
    Piece,
    Quoted,
    Stop,
    Summary,
    Text,
    Walk,
    recomputing,
)
from jaxreg.lab.report.effects import effects
from jaxreg.lab.report.evidence import LOSS, advised_setting, sweep_verdict
from jaxreg.lab.report.forest import forest_picture
from jaxreg.lab.report.html import fragment, html
from jaxreg.lab.report.markdown import drawn, markdown
from jaxreg.lab.report.provenance import Source, opened
from jaxreg.lab.report.quantities import measured, quantity
from jaxreg.lab.report.verdict import advised, forest_of, reasons, verdict
from jaxreg.lab.report.wording import change
from jaxreg.lab.studies import summaries
from jaxreg.lab.studies.results import BY_NAME, NONE, StudyResults, by_recipe

_VERSIONS = ("jaxreg", "jax", "jaxlib", "numpy", "platform")
_MARKS = "✓: the draws support the claim. ✗: the draws contradict the claim. ?: the draws do not decide."
_WORDS = (
    "Each interval contains the mean change with the confidence that is given with it. A recipe is significantly "
    "better if it wins in more than half of the draws beyond chance: the whole interval of its share of wins is above "
    "one half. A tie counts as half a win. A recipe is also meaningfully better if it may win in three of four draws: "
    "the interval reaches above three quarters. This says how often it wins, not by how much. “Chosen in” counts the "
    "draws in which a recipe has the lowest validation loss of its study; of equal ones, the first counts. A draw is "
    "one sample of the data, and a seed is one initialisation of the weights. A change is always the difference "
    "between two recipes on the same draw and the same seed."
)


def report(
    results: xr.Dataset | Path | str | Sequence[Path],
    out: Path | str | None = None,
    form: Literal["html", "markdown"] = "html",
    *,
    baseline: Any = BY_NAME,
) -> Path:
    """Write a report of stored results, as one HTML page or as Markdown.

    Args:
        results: Folder of a case study, folder of a training sweep, or dataset that `jaxreg.lab.sweep` returned. Or
            several folders, either all of case studies or all of sweeps. Case studies are compared with each other.
        out: File to write. The default name is `report.html` or `report.md`. The default place is the folder of the
            results. For several folders, it is their common parent. For a dataset, it is the current folder. A dataset
            is also saved as a `.nc` file next to the report.
        form: `"html"` for a self-contained page, `"markdown"` for Markdown with its pictures in a folder next to it.
        baseline: For a sweep with one axis besides `seed` and `draw`, the value of this axis that means no regulariser.
            All other settings are compared with this setting. None means no baseline. The default in the signature is
            not a text to pass. It stands for a rule, which applies if the argument is left out:

            - The baseline is infinity, if the axis contains infinity.
            - Otherwise it is 0, if the axis contains 0 and no negative values. An axis that is named like a limit, such
              as `max_norm`, or like a logarithm, such as `log_l2`, is excluded.
            - Otherwise, there is no baseline. There is none either if the sweep has several axes besides `seed` and
              `draw`.

            The report states which setting is the baseline.

    Returns:
        Path of the report.

    Raises:
        ValueError: If a folder holds no finished results, or case studies and sweeps are mixed. If a sweep has no loss
            on test rows, named `test_loss` or `test`. If a loss on test or validation rows has a dimension that is
            neither `epoch` nor an axis of the sweep. If `baseline` is a value, but the sweep does not have exactly one
            axis besides `seed` and `draw`. If `baseline` is a value that is not on this axis. If `baseline` is passed
            for a case study, or for a sweep that already has a dimension `recipe`.
        FileNotFoundError: If a folder does not exist.

    Example:
        The dataset has the loss on test rows, for two values of the axis `l2` and three draws. The report names the
        setting l2=0.1, and compares it with the baseline l2=0.

        >>> import os, tempfile
        >>> losses = xr.DataArray([[0.5, 0.4, 0.6], [0.3, 0.2, 0.4]], dims=("l2", "draw"), coords={"l2": [0.0, 0.1]})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = report(xr.Dataset({"test": losses}), os.path.join(folder, "report.html"))
        ...     "l2=0.1" in page.read_text("utf-8")
        True
    """
    name = "report.html" if form == "html" else "report.md"
    if isinstance(results, xr.Dataset):
        file = Path(name if out is None else out)
        found = by_recipe(results, baseline=baseline)
        found = found.drop_vars([str(variable) for variable in found if "/" in str(variable)])  # no names in NetCDF
        data = file.with_suffix(".nc")
        stored = bytes(found.to_netcdf(engine="scipy"))
        write({data: Source("found", xr.load_dataset(io.BytesIO(stored), engine="scipy"))}, file, form)
        write_whole(data, stored)
        return file
    folders = [Path(results)] if isinstance(results, str | Path) else list(map(Path, results))
    return write(opened(folders, baseline), beside(folders) / name if out is None else Path(out), form)


def beside(folders: Sequence[Path]) -> Path:
    """Return the folder in which to write a report: the only folder of results, or the common parent of several.

    Args:
        folders: Folders of the results.
    """
    return folders[0] if len(folders) == 1 else Path(os.path.commonpath([folder.resolve() for folder in folders]))


def write(sources: Mapping[Path, Source], out: Path, form: Literal["html", "markdown"] = "html") -> Path:
    """Write a report of results that are already in memory.

    Args:
        sources: Results by folder, as `opened` returns them.
        out: File to write.
        form: Format, as in `report`.
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
    """Return the title and the content (headings, paragraphs, tables, pictures) of a report.

    Args:
        sources: Results by folder.
    """
    results = list(sources.values())
    if isinstance(results[0].data, StudyResults):
        title = "Which regulariser, and how strong?"
        blocks = _studies(title, results)
    else:
        title = "Training sweep" if len(results) == 1 else "Training sweeps"
        blocks = [Heading([title], 1)]
        for folder, source in sources.items():
            blocks += _sweep(source, folder)
    return title, [*blocks, _recomputing(blocks, sources)]


def notebook(results: StudyResults) -> str:
    """Return the verdict on a case study as HTML for a notebook.

    Args:
        results: Case study.
    """
    return fragment([_first_screen([Source("results", results)])])


def _first_screen(sources: Sequence[Source]) -> Summary:
    baseline = all(NONE in source.data.fresh["recipe"].values for source in sources)
    return Summary(verdict(sources), forest_picture(forest_of(sources), "forest") if baseline else None)


def _titles(titles: Sequence[str]) -> str:
    """Join titles of the form "change, problem"; a problem that all share is written once, in front."""
    changes, _, problems = zip(*(title.partition(", ") for title in titles), strict=True)
    if len(titles) > 1 and len(set(problems)) == 1 and problems[0]:
        return f"{problems[0]}: {'; '.join(changes)}"
    return "; ".join(titles)


def _studies(title: str, sources: Sequence[Source]) -> list[Block]:
    titles = _titles([source.data.record.title for source in sources])
    blocks: list[Block] = [Heading([title], 1), Paragraph([Quoted(titles)], note=True)]
    blocks.append(_first_screen(sources))
    claimed = [source for source in sources if source.data.record.claims]
    gains = tables.published_gains_table(sources)
    if claimed or gains:
        blocks.append(Heading(["Claims"]))
        if claimed:
            blocks += [Paragraph(tables.claims_summary(claimed)), Paragraph([_MARKS], note=True)]
            blocks.append(tables.claims_table(claimed))
        blocks += [gains] if gains else []
    blocks.append(Heading(["Tables"]))
    for source in sources:
        blocks += _tables(source, titled=len(sources) > 1)
    blocks.append(Heading(["Pictures"]))
    for source in sources:
        blocks += _pictures(source, titled=len(sources) > 1)
    chosen = Details(
        "How the recipe was chosen, and what it was compared with",
        [Bullets(reasons(sources)), Paragraph([_WORDS])],
        True,
    )
    made: list[Text] = []
    for source in sources:
        record = source.data.record
        command: list[Piece] = [", command: ", Code(record.command)] if record.command else []
        made.append([Quoted(record.title), *command])
        made += [["Published: ", Quoted(record.source), "."]] if record.source else []
        made += _made(tables.parts(source))
    return [
        *blocks,
        Heading(["How the results were made"]),
        chosen,
        Details("Commands, grids and versions", [Bullets(made)], True),
    ]


def _tables(source: Source, *, titled: bool) -> list[Block]:
    results: StudyResults = source.data
    blocks: list[Block] = [Heading([Quoted(results.record.title)], 3)] if titled else []
    blocks += [tables.fresh_table(source), Paragraph(_corrected(source.at("fresh")), note=True)]
    noted = [*tables.diverged_note(tables.parts(source)), *tables.reach_note(source)]
    blocks.append(Paragraph(noted, note=True))
    if results.published is not None:
        where = "The published data" if results.record.published else "One draw of the data, many seeds"
        blocks.append(Details(where, [tables.published_table(source)], printed=True))
    return [*blocks, Details("Weights after training", [tables.weights_table(source)], printed=True)]


def _pictures(source: Source, *, titled: bool) -> list[Block]:
    results: StudyResults = source.data
    label = advised(source)
    seen = label if label != NONE else next(iter(results.record.highlights), NONE)
    blocks: list[Block] = [Heading([Quoted(results.record.title)], 3)] if titled else []
    if results.record.grid:
        blocks.append(_walk(source, label))
    drawings = [*pictures.data(results), *pictures.learning(results, seen)]
    drawings += pictures.differences(results, seen) if seen != NONE else []
    return [*blocks, Pictures([*drawings, *pictures.norms(results, seen)])]


def _walk(source: Source, label: str) -> Block:
    """Return a slider along the strengths. It starts at the recommended recipe, or else at the baseline."""
    results: StudyResults = source.data
    stops = pictures.stops(results)
    arm = results.record.arm(results.record.grid)
    study, fresh = source.at("published"), source.at("fresh")

    def told(recipe: str) -> Text:
        what = quantity(fresh.data, LOSS)
        parts: list[Piece] = [f"test {what.label} "]
        if study.data is not None:
            parts += [study.find(summaries.mean, recipe, LOSS).number(form=what.level)]
            parts += [f" on {pictures.one_draw(results)}, "]
        parts += [fresh.find(summaries.mean, recipe, LOSS).number(form=what.level), " on average over the draws"]
        if recipe != NONE:
            parts += [": ", *change(fresh, recipe, LOSS)]
        return [*parts, "."]

    numbers = dict(zip(arm.labels, arm.numbers, strict=True))
    ticks = [NONE if stop == NONE else f"{numbers[stop]:g}" for stop in stops]
    return Walk(
        f"{source.name}-walk",
        [f"Choose the {arm.quantity} of ", Code(arm.method), ": "],
        [Stop(recipe, told(recipe), pictures.stop(results, recipe, label)) for recipe in stops],
        stops.index(label) if label in stops else 0,
        ticks if "nan" not in ticks else stops,
        pictures.grid(results, label),
    )


def _corrected(fresh: Source) -> Text:
    told: list[Piece] = ["Of the ", fresh.find(summaries.compared).number(form="d"), " recipes compared with "]
    told += [Code(NONE), ", "]
    for place, name in enumerate(reversed(measured(fresh.data))):
        what = quantity(fresh.data, f"test_{name}").words
        differing = fresh.find(summaries.significant, f"test_{name}")
        told += [" and " if place else "", differing.number(form="d")]
        told += [f" differs significantly in {what}" if differing.data == 1 else f" differ significantly in {what}"]
    return [*told, " (Wilcoxon's test, with Holm's correction for the number of recipes)."]


def _sweep(source: Source, folder: Path) -> list[Block]:
    dataset: xr.Dataset = source.data
    names = [str(label) for label in dataset["recipe"].values]
    label = advised_setting(source)
    baseline = NONE in names and len(names) > 1
    forest = forest_picture(effects([source], label), f"{source.name}-forest") if baseline else None
    blocks: list[Block] = [Heading([Code(str(folder))]), Summary(sweep_verdict(source), forest)]
    recipes = [one for one in dict.fromkeys((NONE, label)) if one in names]
    drawings = pictures.sweep(dataset, source.name, recipes)
    blocks += [tables.sweep_table(source)]
    blocks += [Paragraph(note, note=True) for note in tables.sweep_notes(source)]
    blocks += [*tables.outputs_tables(source), Pictures(drawings)]
    return [*blocks, Details("How the results were made", [Bullets(_made([source]))])]


def _made(sources: Sequence[Source]) -> list[Text]:
    told: list[Text] = []
    for source in sources:
        sizes = ", ".join(f"{dim} ({size})" for dim, size in source.data["diverged_at"].sizes.items())
        told.append([Code(source.name), ", the axes and their sizes: ", Code(sizes)])
    attrs = sources[0].data.attrs
    told.append(["Versions: ", Code(", ".join(f"{name} {attrs[name]}" for name in _VERSIONS if name in attrs))])
    return told


def _recomputing(blocks: Sequence[Block], sources: Mapping[Path, Source]) -> Block:
    lines = [
        "from pathlib import Path",
        "",
        "import xarray",
        "",
        "from jaxreg.lab import stats",
        "from jaxreg.lab.report import tables",
        "from jaxreg.lab.studies import *",
    ]
    for folder, source in sources.items():
        study = isinstance(source.data, StudyResults)
        opener, attrs = ("open_study", {}) if study else ("open_sweep", source.data.attrs)
        given = f", {attrs['none_argument']}" if "none_argument" in attrs else ""
        place = f"Path({str(folder)!r})"
        loaded = f'xarray.load_dataset({place}, engine="scipy")'
        kept = loaded if folder.suffix == ".nc" else f"{opener}({place}{given})"
        lines.append(f"{source.name} = {kept}")
    return recomputing(blocks, lines)
