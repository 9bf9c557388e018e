"""Tables of a case study and of a sweep: figures of each recipe, beside those published."""

from collections.abc import Callable, Sequence
from functools import partial

from jaxreg.lab import stats
from jaxreg.lab.report.document import Code, Piece, Quoted, Table, Text
from jaxreg.lab.report.provenance import QuotedNumber, Source
from jaxreg.lab.report.quantities import measured, outputs, quantity
from jaxreg.lab.report.verdict import LOSS, advised
from jaxreg.lab.report.wording import counted, interval
from jaxreg.lab.studies import summaries
from jaxreg.lab.studies.results import NONE, StudyResults

MOST_ROWS = 40


def published_table(source: Source) -> Table:
    """Return a table of one draw of the data and many seeds, one row per recipe: published figures, if any, and ours.

    Args:
        source: `StudyResults` that have such a part.
    """
    study, record = source.at("published"), source.data.record
    *metrics, loss = measured(study.data)
    columns = ["recipe"]
    rows: list[list[Text]] = [[[Code(label)]] for label in _labels(study)]
    for metric in metrics:
        for part in ("train", "test"):
            if metric == "accuracy" and record.published:
                columns.append(f"{part}, published")
                _fill(rows, partial(_published, source, part))
            columns.append(part if metric == "accuracy" else f"{part} {quantity(study.data, f'test_{metric}').words}")
            _fill(rows, partial(_spread, study, f"{part}_{metric}"))
    columns.append(f"test {quantity(study.data, f'test_{loss}').words}")
    _fill(rows, partial(_spread, study, f"test_{loss}"))
    if kernel := summaries.first_kernel(study.data):
        columns.append(quantity(study.data, f"norm/{kernel}").words)
        _fill(rows, partial(_spread, study, f"norm/{kernel}", form=".2f"))
    seeds, epochs = study.find(summaries.lanes, "seed"), study.find(summaries.last_epoch)
    caption: Text = ["The published data, " if record.published else "One draw of the data, "]
    caption = [*caption, seeds.number(form="d"), " seeds, ", epochs.number(form="d")]
    return Table([*caption, " epochs: mean ± standard deviation over the seeds"], columns, rows)


def fresh_table(source: Source) -> Table:
    """Return a table over the draws, one row per recipe: metrics and loss, each with its change against the baseline.

    Args:
        source: `StudyResults`.
    """
    fresh = source.at("fresh")
    caption: Text = [fresh.find(summaries.lanes, "draw").number(form="d"), f" {source.data.record.draws}"]
    if fresh.data.sizes["seed"] > 1:
        caption = [*caption, ", ", fresh.find(summaries.lanes, "seed").number(form="d"), " seeds on each"]
    if source.data.published is None:
        caption = [*caption, ", ", fresh.find(summaries.last_epoch).number(form="d"), " epochs"]
    caption = [*caption, f": mean ± standard deviation over {_lanes(fresh)}"]
    if NONE in fresh.data["recipe"].values:
        confidence = fresh.find(summaries.gain, NONE, LOSS).number("confidence", ".0f", 100)
        caption = [*caption, "; changes against ", Code(NONE), ", paired, with their ", confidence, " % intervals"]
    return _compared(caption, fresh, _labels(fresh), [advised(source)])


def weights_table(source: Source) -> Table:
    """Return a table of the weights, one row per recipe: kernel norms after training and the study's own outputs.

    Args:
        source: `StudyResults`.
    """
    fresh = source.at("fresh")
    columns = ["recipe"]
    rows: list[list[Text]] = [[[Code(label)]] for label in _labels(fresh)]
    for name in [*(str(name) for name in fresh.data if str(name).startswith("norm/")), *outputs(fresh.data)]:
        columns.append(quantity(fresh.data, name).words)
        _fill(rows, partial(_spread, fresh, name, form=".2f" if name.startswith("norm/") else ".3g"))
    return Table([f"The weights after training: mean ± standard deviation over {_lanes(fresh)}"], columns, rows)


def claims_table(source: Source) -> Table:
    """Return a table of the claims, one row each, with the findings.

    Args:
        source: `StudyResults`.
    """
    fresh = source.at("fresh")
    rows: list[Sequence[Text]] = []
    for claim in source.data.record.claims:
        change = fresh.find(summaries.gain, claim.recipe, claim.variable, claim.against)
        finding = summaries.finding(source.data, claim)
        compared: Text = [Code(claim.recipe), " against ", Code(claim.against)]
        difference = interval(change, fresh.data, claim.variable)
        rows.append([[Quoted(claim.words)], compared, counted(source, claim), difference, [finding]])
    columns = ["claim", "compared", "in", "difference", "finding"]
    return Table(["The claims and what the draws say"], columns, rows)


def sweep_table(source: Source) -> Table:
    """Return a table of any training sweep, one row per setting, the best ones alone if there are too many.

    Args:
        source: Dataset of `open_sweep`.
    """
    labels = _labels(source)
    caption: list[Piece] = ["Mean ± standard deviation over seeds and draws"]
    if len(labels) > MOST_ROWS:
        labels = summaries.ranked(source.data)[:MOST_ROWS]
        caption += [": the best ", QuotedNumber(MOST_ROWS, str(MOST_ROWS), "tables.MOST_ROWS"), " of "]
        caption += [
            source.find(summaries.lanes, "recipe").number(form="d"),
            f" settings by the {quantity(source.data, LOSS).words} on the test rows",
        ]
    return _compared(caption, source, labels, [])


def contents(source: Source) -> tuple[str, list[Table], Text]:
    """Return the title, the tables and the note on diverged runs of a case study or of a sweep.

    Args:
        source: `StudyResults`, or a dataset of `open_sweep`.
    """
    if isinstance(source.data, StudyResults):
        shown = [published_table(source)] if source.data.published is not None else []
        shown += [fresh_table(source), weights_table(source)]
        shown += [claims_table(source)] if source.data.record.claims else []
        return source.data.record.title, shown, [*diverged_note(parts(source)), *reach_note(source)]
    return source.name, [sweep_table(source)], diverged_note([source])


def parts(source: Source) -> list[Source]:
    """Return the datasets of a case study.

    Args:
        source: `StudyResults`.
    """
    return [source.at(name) for name in ("published", "fresh") if getattr(source.data, name) is not None]


def diverged_note(sources: Sequence[Source]) -> Text:
    """Say how many runs diverged, and which."""
    names = [name for source in sources for name in stats.diverged(source.data)]
    if not names:
        return ["No lane diverged."]
    told: list[Piece] = []
    for source in sources:
        told += [source.find(summaries.lost).number(form="d"), " lanes of ", Code(source.name), ", "]
    shown = "; ".join(names[:20]) + (" …" if len(names) > 20 else "")
    return [*told, "diverged and are left out: ", Code(shown), "."]


def reach_note(source: Source) -> Text:
    """Say what the intervals do not cover if all draws are taken from the same rows.

    Args:
        source: `StudyResults`.
    """
    rows = source.data.record.drawn_from
    if not rows:
        return []
    reach = (
        "the intervals are over such draws and over initial weights. Over new data of this kind they would be wider."
    )
    return [" Every draw is taken from the same ", Quoted(rows), f": {reach}"]


def _compared(caption: Text, source: Source, labels: Sequence[str], marked: Sequence[str]) -> Table:
    columns = ["recipe"]
    rows: list[list[Text]] = [[[Code(label)]] for label in labels]
    baseline = NONE in source.data["recipe"].values
    for name in measured(source.data):
        what = quantity(source.data, f"test_{name}")
        columns.append(f"test {what.words}")
        _fill(rows, partial(_spread, source, f"test_{name}"))
        if baseline:
            columns += [f"change in {what.unit}" if what.unit else "change", "better in"]
            for row, label in zip(rows, labels, strict=True):
                row += [[], []] if label == NONE else _change(source, label, f"test_{name}")
    if "validation_loss" in source.data:
        columns.append("chosen in")
        _fill(rows, partial(_times_chosen, source))
    return Table(caption, columns, rows, [label for label in marked if label != NONE])


def _fill(rows: list[list[Text]], cell: Callable[[str], Text]) -> None:
    for row in rows:
        row.append(cell(str(row[0][0])))


def _change(source: Source, label: str, variable: str) -> list[Text]:
    what = quantity(source.data, variable)
    paired, share = source.find(summaries.gain, label, variable), source.find(summaries.outperforms, label, variable)
    mean, low, high = (paired.number(field, what.form, what.times) for field in ("mean", "low", "high"))
    return [[mean, " [", low, ", ", high, "]"], [share.number("probability", ".0f", 100), " %"]]


def _published(source: Source, part: str, label: str) -> Text:
    return [source.find(summaries.published, label, part).number()]


def _times_chosen(source: Source, label: str) -> Text:
    return [source.find(summaries.times_chosen, label).number(form="d")]


def _spread(source: Source, variable: str, label: str, form: str = ".3f") -> Text:
    mean, sd = (source.find(function, label, variable).number(form=form) for function in (summaries.mean, summaries.sd))
    return [mean, " ± ", sd]


def _lanes(fresh: Source) -> str:
    return "the draws and their seeds" if fresh.data.sizes["seed"] > 1 else "the draws"


def _labels(source: Source) -> list[str]:
    return [str(label) for label in source.data["recipe"].values]
