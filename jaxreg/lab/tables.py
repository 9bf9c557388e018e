"""The tables of a case study and of a sweep: what each recipe reached, beside what was published."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table as Printed

from jaxreg.lab import figures, stats
from jaxreg.lab.blocks import Code, Piece, Table, Text
from jaxreg.lab.quote import Number, Source
from jaxreg.lab.record import NONE, StudyResults
from jaxreg.lab.verdict import ACCURACY, LOSS, advised

MOST_ROWS = 40


def published_table(source: Source) -> Table:
    """One row a recipe on the published data: published accuracies, ours, cross-entropy, norm of the first kernel.

    Args:
        source: Stands for a `StudyResults`.
    """
    study = source.at("published")
    kernel = figures.first_kernel(study.data)
    columns = ["recipe", "train, published", "train", "test, published", "test", "test cross-entropy"]
    rows: list[Sequence[Text]] = []
    for label in _labels(study):
        row: list[Text] = [[Code(label)]]
        for part in ("train", "test"):
            row.append([source.find(figures.published, label, part).number()])
            row.append(_spread(study, label, f"{part}_accuracy"))
        row.append(_spread(study, label, LOSS))
        rows.append([*row, _spread(study, label, f"norm/{kernel}", ".2f")] if kernel else row)
    seeds, epochs = study.find(figures.lanes, "seed"), study.find(figures.last_epoch)
    caption: Text = ["The published data, ", seeds.number(form="d"), " seeds, ", epochs.number(form="d")]
    caption = [*caption, " epochs: mean ± standard deviation over the seeds"]
    return Table(caption, [*columns, f"‖{kernel}‖"] if kernel else columns, rows)


def fresh_table(source: Source) -> Table:
    """One row a recipe on fresh draws: accuracy and cross-entropy, what each gains over the baseline, how often.

    Args:
        source: Stands for a `StudyResults`.
    """
    fresh = source.at("fresh")
    caption: Text = [fresh.find(figures.lanes, "draw").number(form="d"), " fresh draws of the data: mean ± standard "]
    caption = [*caption, "deviation over the draws; changes against ", Code(NONE), ", paired, with their "]
    caption = [*caption, fresh.find(figures.gain, NONE, LOSS).number("confidence", ".0f", 100), " % intervals"]
    return _compared(caption, fresh, _labels(fresh), [advised(source)])


def sweep_table(source: Source) -> Table:
    """One row a setting of any training sweep, the best on the test rows first if there are too many to show.

    Args:
        source: Stands for a dataset of `open_sweep`.
    """
    labels = _labels(source)
    caption: list[Piece] = ["Mean ± standard deviation over seeds and draws"]
    if len(labels) > MOST_ROWS:
        labels = sorted(labels, key=lambda label: figures.mean(source.data, label, LOSS))[:MOST_ROWS]
        caption += [": the best ", Number(MOST_ROWS, str(MOST_ROWS), "tables.MOST_ROWS"), " of "]
        caption += [
            source.find(figures.lanes, "recipe").number(form="d"),
            " settings by the cross-entropy on the test rows",
        ]
    return _compared(caption, source, labels, [])


def contents(source: Source) -> tuple[str, list[Table], Text]:
    """The title, the tables and the note on diverged lanes of a case study or of a sweep.

    Args:
        source: Stands for a `StudyResults`, or for a dataset of `open_sweep`.
    """
    if isinstance(source.data, StudyResults):
        parts = [source.at("published"), source.at("fresh")]
        return source.data.record.title, [published_table(source), fresh_table(source)], diverged_note(parts)
    return source.name, [sweep_table(source)], diverged_note([source])


def diverged_note(sources: Sequence[Source]) -> Text:
    """How many lanes diverged, and which."""
    names = [name for source in sources for name in stats.diverged(source.data)]
    if not names:
        return ["No lane diverged."]
    told: list[Piece] = []
    for source in sources:
        told += [source.find(figures.lost).number(form="d"), " lanes of ", Code(source.name), ", "]
    shown = "; ".join(names[:20]) + (" …" if len(names) > 20 else "")
    return [*told, "diverged and are left out: ", Code(shown), "."]


def print_source(source: Source) -> None:
    """Print the tables of a case study or of a sweep; wide enough for a file where there is no terminal.

    Args:
        source: Stands for a `StudyResults`, or for a dataset of `open_sweep`.
    """
    title, tables, note = contents(source)
    console = Console()
    if not console.is_terminal:
        console.width = 180
    console.print(title, style="bold", markup=False, highlight=False)
    for table in tables:
        printed = Printed(
            title="".join(map(str, table.caption)),
            title_justify="left",
            box=None,
            header_style="bold",
            pad_edge=False,
        )
        for number, column in enumerate(table.columns):
            printed.add_column(column, justify="left" if number == 0 else "right", no_wrap=number == 0)
        for row in table.rows:
            printed.add_row(*("".join(map(str, cell)) for cell in row))
        console.print(printed, "", markup=False)
    console.print("".join(map(str, note)), markup=False, highlight=False)


def _compared(caption: Text, source: Source, labels: Sequence[str], marked: Sequence[str]) -> Table:
    columns = ["recipe"]
    rows: list[list[Text]] = [[[Code(label)]] for label in labels]
    baseline = NONE in source.data["recipe"].values
    for name, title, form, times in ((ACCURACY, "test accuracy", "+.2f", 100), (LOSS, "test cross-entropy", "+.3f", 1)):
        if name not in source.data:
            continue
        columns += [title, "change in points" if name == ACCURACY else "change in nats", "better in"][
            : 1 + 2 * baseline
        ]
        for row, label in zip(rows, labels, strict=True):
            row.append(_spread(source, label, name))
            if baseline:
                row += [[], []] if label == NONE else _change(source, label, name, form, times)
    if "validation_loss" in source.data:
        columns.append("chosen in")
        for row, label in zip(rows, labels, strict=True):
            row.append([source.find(figures.times_chosen, label).number(form="d")])
    return Table(caption, columns, rows, [label for label in marked if label != NONE])


def _change(source: Source, label: str, variable: str, form: str, times: float) -> list[Text]:
    paired, share = source.find(figures.gain, label, variable), source.find(figures.outperforms, label, variable)
    mean, low, high = (paired.number(field, form, times) for field in ("mean", "low", "high"))
    return [[mean, " [", low, ", ", high, "]"], [share.number("probability", ".0f", 100), " %"]]


def _spread(source: Source, label: str, variable: str, form: str = ".3f") -> Text:
    mean, sd = (source.find(function, label, variable).number(form=form) for function in (figures.mean, figures.sd))
    return [mean, " ± ", sd]


def _labels(source: Source) -> list[str]:
    return [str(label) for label in source.data["recipe"].values]
