"""Tables of case studies and sweeps: the results of each recipe, next to published results if there are any."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from jaxreg.lab import stats
from jaxreg.lab.report.document import Code, Piece, Quoted, Table, Text
from jaxreg.lab.report.effects import labels
from jaxreg.lab.report.evidence import LOSS, advised_setting, sorted_settings, times_chosen, unit_of, validated
from jaxreg.lab.report.provenance import QuotedNumber, Source
from jaxreg.lab.report.quantities import measured, outputs, per_run, quantity
from jaxreg.lab.report.verdict import advised, comparable
from jaxreg.lab.report.wording import counted, difference
from jaxreg.lab.stats.lanes import OVER
from jaxreg.lab.studies import summaries
from jaxreg.lab.studies.results import NONE, StudyResults
from jaxreg.lab.studies.summaries import Finding

MOST_ROWS = 40
_ACCURACY = "test_accuracy"
_MARKS = {Finding.HOLDS: "✓", Finding.CONTRADICTED: "✗", Finding.OPEN: "?"}
_CHOSEN = (
    ". “Chosen in” counts the {units} in which the recipe has the lowest validation loss. The recipe with the lowest "
    "mean may be another one, because a few {units} can move a mean"
)
_SPLITS = (
    "The intervals hold if each draw is a new sample of the data. If the draws are splits of one table, they share "
    "rows, and the intervals are too narrow. Compare splits by "
)
_MEANING = "mean, and in brackets the tenth and ninetieth percentiles of the "


def published_table(source: Source) -> Table:
    """Return a table with one row per recipe: its results on the published data, and the published accuracies.

    Args:
        source: `StudyResults` with results on the published data.
    """
    study, record = source.at("published"), source.data.record
    *metrics, loss = measured(study.data)
    metrics = [metric for metric in metrics if f"train_{metric}" in study.data]
    columns, optional = ["recipe"], []
    rows: list[list[Text]] = [[[Code(label)]] for label in labels(study.data)]
    for metric in metrics:
        what = quantity(study.data, f"test_{metric}").label
        for part in ("train", "test"):
            if metric == "accuracy" and record.published:
                columns.append(f"{part} {what}, published")
                _fill(rows, partial(_published, source, part))
                optional += columns[-1:] if part == "train" else []
            columns.append(f"{part} {what}")
            _fill(rows, partial(_spread, study, f"{part}_{metric}"))
            optional += columns[-1:] if part == "train" else []
    columns.append(f"test {quantity(study.data, f'test_{loss}').label}")
    _fill(rows, partial(_spread, study, f"test_{loss}"))
    if kernel := summaries.first_kernel(study.data):
        columns.append(quantity(study.data, f"norm/{kernel}").words)
        _fill(rows, partial(_spread, study, f"norm/{kernel}"))
        optional.insert(0, columns[-1])
    seeds, epochs = study.find(summaries.lanes, "seed"), study.find(summaries.last_epoch)
    caption: Text = ["The published data, " if record.published else "One draw of the data, "]
    caption = [*caption, seeds.number(form="d"), " seeds, ", epochs.number(form="d"), f" epochs: {_MEANING}seeds"]
    return Table(caption, columns, rows, optional=optional)


def fresh_table(source: Source) -> Table:
    """Return a table with one row per recipe: its means over all draws of the data, and its changes from the baseline.

    Args:
        source: `StudyResults`.
    """
    fresh = source.at("fresh")
    caption: Text = [fresh.find(summaries.lanes, "draw").number(form="d"), f" {source.data.record.draws}"]
    if fresh.data.sizes["seed"] > 1:
        caption = [*caption, ", ", fresh.find(summaries.lanes, "seed").number(form="d"), " seeds on each"]
    if source.data.published is None:
        caption = [*caption, ", ", fresh.find(summaries.last_epoch).number(form="d"), " epochs"]
    caption = [*caption, f": mean over {_lanes(fresh)}"]
    if NONE in fresh.data["recipe"].values:
        confidence = fresh.find(summaries.gain, NONE, LOSS).number("confidence", ".0f", 100)
        caption = [*caption, "; paired changes against ", Code(NONE), " with ", confidence, " % intervals"]
    return _compared(caption, fresh, labels(fresh.data), [advised(source)])


def weights_table(source: Source) -> Table:
    """Return a table with one row per recipe: the norms of its trained kernels, and the outputs that the study adds.

    Args:
        source: `StudyResults`.
    """
    fresh = source.at("fresh")
    columns = ["recipe"]
    rows: list[list[Text]] = [[[Code(label)]] for label in labels(fresh.data)]
    for name in [*(str(name) for name in fresh.data if str(name).startswith("norm/")), *outputs(fresh.data)]:
        columns.append(quantity(fresh.data, name).words)
        _fill(rows, partial(_spread, fresh, name))
    caption = [f"The weights after training: {_MEANING}{_lanes(fresh).removeprefix('the ')}"]
    return Table(caption, columns, rows, optional=columns[:1:-1])


def claims_table(sources: Sequence[Source]) -> Table:
    """Return a table with one row per claim of the studies: whether the claim holds, and the measured difference.

    Args:
        sources: Case studies, each a `StudyResults`.
    """
    rows: list[Sequence[Text]] = []
    for source in sources:
        fresh = source.at("fresh")
        for claim in source.data.record.claims:
            change = fresh.find(summaries.gain, claim.recipe, claim.variable, claim.against)
            finding = summaries.finding(source.data, claim)
            compared: Text = [Code(claim.recipe), " against ", Code(claim.against)]
            cell = difference(change, fresh.data, claim.variable, unit=True)
            rows.append(
                [[Quoted(claim.words)], [f"{_MARKS[finding]} {finding}"], compared, counted(source, claim), cell]
            )
    first = sources[0].data.record.claims[0]
    drawn = sources[0].at("fresh")
    change = drawn.find(summaries.gain, first.recipe, first.variable, first.against)
    caption: Text = ["Which claims hold on the draws: differences with ", change.number("confidence", ".0f", 100)]
    columns = ["claim", "finding", "compared", "variable", "difference"]
    return Table([*caption, " % intervals"], columns, rows, optional=["compared", "variable"])


def claims_summary(sources: Sequence[Source]) -> Text:
    """Return sentences that list the contradicted and the undecided claims.

    Args:
        sources: Case studies, each a `StudyResults`.
    """
    found: dict[Finding, list[str]] = {Finding.CONTRADICTED: [], Finding.OPEN: [], Finding.HOLDS: []}
    for source in sources:
        for claim in source.data.record.claims:
            found[summaries.finding(source.data, claim)].append(claim.words)
    held = found.pop(Finding.HOLDS)
    told: list[Piece] = []
    for finding, words in found.items():
        for place, word in enumerate(words):
            told += ["; " if place else f"{finding.capitalize()}: ", "“", Quoted(word), "”"]
        told += [". "] if words else []
    others = "The other claims hold." if told else "All claims hold."
    return [*told, others if held else "No claim holds."]


def published_gains_table(sources: Sequence[Source]) -> Table | None:
    """Return a table of published and measured gains in accuracy, or None if no gains were published.

    Args:
        sources: Case studies, each a `StudyResults`.
    """
    rows: list[Sequence[Text]] = []
    for source in sources:
        study, fresh, record = source.at("published"), source.at("fresh"), source.data.record
        if study.data is None or not comparable(source) or NONE not in record.published:
            continue
        for label in [label for label in record.highlights if label in record.published]:
            theirs = source.find(summaries.published_gain, label).number(form="+.2f", times=100)
            ours = study.find(summaries.gain, label, _ACCURACY).number("mean", "+.2f", 100)
            over = difference(fresh.find(summaries.gain, label, _ACCURACY), fresh.data, _ACCURACY)
            cells = [
                source.find(summaries.share_of_published, label),
                *(fresh.find(summaries.reduction, label, name) for name in (_ACCURACY, LOSS)),
            ]
            shares: list[Text] = [[cell.number(form=".0f", times=100), " %"] for cell in cells]
            rows.append([[Code(label)], [theirs], [ours], over, *shares])
    if not rows:
        return None
    columns = ["recipe", "published", "repeated", "on draws", "of the repeated", "errors avoided", "loss avoided"]
    caption = ["Gains in accuracy, in points: published, repeated on the published data, and measured on many draws. "]
    caption += ["“Of the repeated” is the gain on draws as a share of the repeated gain"]
    return Table(caption, columns, rows, optional=["loss avoided", "errors avoided", "repeated"])


def sweep_table(source: Source) -> Table:
    """Return a table of a training sweep, one row per setting.

    If the sweep has a single numeric axis or a baseline, the settings are in the order of `labels`: the baseline first,
    then increasing strengths. Otherwise they are sorted, with the recommended setting first. More than 40 settings are
    always sorted, and the table shows the first 40.

    Args:
        source: Dataset of `open_sweep`.
    """
    shown = labels(source.data)
    repeated = [f"{name}s" for name in reversed(OVER) if source.data.sizes.get(name, 1) > 1]
    caption: list[Piece] = [f"Mean over {' and '.join(repeated)}" if repeated else "One run of each setting"]
    cut = len(shown) > MOST_ROWS
    if cut or (NONE not in shown and np.isnan(source.data["strength"].values.astype(float)).any()):
        shown = sorted_settings(source)[:MOST_ROWS]
        by = f"the {quantity(source.data, LOSS).words} on the test rows"
        if validated(source):
            by = f"the number of {unit_of(source)}s in which they were chosen, then by the mean validation loss"
        if cut:
            caption += [": the first ", QuotedNumber(MOST_ROWS, str(MOST_ROWS), "tables.MOST_ROWS"), " of "]
            caption += [source.find(summaries.lanes, "recipe").number(form="d"), f" settings, sorted by {by}"]
        else:
            caption += [f", sorted by {by}"]
    return _compared(caption, source, shown, [advised_setting(source)])


def contents(source: Source) -> tuple[str, list[Table], Text]:
    """Return the title, the tables and the notes for a case study or a sweep.

    Args:
        source: `StudyResults`, or a dataset of `open_sweep`.
    """
    if isinstance(source.data, StudyResults):
        shown = [published_table(source)] if source.data.published is not None else []
        shown += [fresh_table(source), weights_table(source)]
        shown += [claims_table([source])] if source.data.record.claims else []
        return source.data.record.title, shown, [*diverged_note(parts(source)), *reach_note(source)]
    notes = [piece for note in sweep_notes(source) for piece in (" ", *note)]
    return source.name, [sweep_table(source), *outputs_tables(source)], notes[1:]


def sweep_notes(source: Source) -> list[Text]:
    """Return the notes below the table of a sweep: on the baseline, the diverged runs and the reach of the intervals.

    Args:
        source: Dataset of `by_recipe`.
    """
    told = source.data.attrs.get("none", "")
    notes: list[Text] = [*([[told]] if told else []), diverged_note([source])]
    if unit_of(source) == "draw" and source.data.sizes["draw"] > 1:
        notes.append([_SPLITS, Code("stats.nadeau_bengio"), "."])
    return notes


def outputs_tables(source: Source) -> list[Table]:
    """Return a list with one table of the other outputs of a sweep. The list is empty if there are no other outputs.

    The table has one row per setting.

    Args:
        source: Dataset of `by_recipe`.
    """
    compared = {f"test_{name}" for name in measured(source.data)}
    others = [str(name) for name in source.data if str(name).startswith("test_") and name not in compared]
    others = [name for name in others if per_run(source.data[name]) and "epoch" not in source.data[name].dims]
    names = [*others, *outputs(source.data)]
    names = [name for name in names if np.issubdtype(source.data[name].dtype, np.number)]
    shown = labels(source.data)
    cut = len(shown) > MOST_ROWS
    rows: list[list[Text]] = [[[Code(label)]] for label in (sorted_settings(source)[:MOST_ROWS] if cut else shown)]
    columns = ["setting"]
    for name in names:
        columns.append("test " * name.startswith("test_") + quantity(source.data, name).words)
        _fill(rows, partial(_spread, source, name))
    caption = f"Other outputs{' of the settings above' if cut else ''}: {_MEANING}runs"
    return [Table([caption], columns, rows, optional=columns[:1:-1])] if names else []


def parts(source: Source) -> list[Source]:
    """Return the parts of a case study: the results on the published data, if there are any, and those on many draws.

    Args:
        source: `StudyResults`.
    """
    return [source.at(name) for name in ("published", "fresh") if getattr(source.data, name) is not None]


def diverged_note(sources: Sequence[Source]) -> Text:
    """Return a sentence that counts and names the diverged runs."""
    names = [name for source in sources for name in stats.diverged(source.data)]
    if not names:
        return ["No run diverged."]
    told: list[Piece] = ["Diverged runs are left out: "]
    for place, source in enumerate(sources):
        told += [" and " if place else "", source.find(summaries.lost).number(form="d"), " of ", Code(source.name)]
    shown = "; ".join(names[:20]) + (" …" if len(names) > 20 else "")
    return [*told, ". They are: ", Code(shown), "."]


def reach_note(source: Source) -> Text:
    """Return a warning if all draws are samples of the same rows: intervals for new data would then be wider.

    Args:
        source: `StudyResults`.
    """
    rows = source.data.record.drawn_from
    if not rows:
        return []
    reach = "The intervals cover the variation between such draws and between initial weights. For new data they would "
    return [" Every draw is taken from the same ", Quoted(rows), f". {reach}be wider."]


def _compared(caption: Text, source: Source, recipes: Sequence[str], marked: Sequence[str]) -> Table:
    columns, optional = ["recipe"], []
    rows: list[list[Text]] = [[[Code(label)]] for label in recipes]
    baseline = NONE in source.data["recipe"].values
    for name in reversed(measured(source.data)):
        what = quantity(source.data, f"test_{name}")
        columns.append(f"test {what.label}")
        _fill(rows, partial(_mean, source, f"test_{name}"))
        if not baseline and source.data.sizes.get("draw", 1) * source.data.sizes.get("seed", 1) > 1:
            columns.append(f"{what.words}, 95 % interval")
            optional.append(columns[-1])
            _fill(rows, partial(_interval, source, f"test_{name}"))
        if baseline:
            # Two columns of one name would be one in JSON.
            columns += [f"change in {what.words}" + (f" ({what.unit})" if what.unit else ""), f"{what.words} better in"]
            optional += [columns[-1], f"test {what.label}"]
            for row, label in zip(rows, recipes, strict=True):
                row += [[], []] if label == NONE else _change(source, label, f"test_{name}")
    if validated(source):
        caption = [*caption, _CHOSEN.format(units=f"{unit_of(source)}s")]
        columns.append("chosen in")
        optional.append("chosen in")
        _fill(rows, partial(_times_chosen, source))
    optional.sort(key=lambda column: not column.endswith("better in"))
    return Table(caption, columns, rows, [label for label in marked if label != NONE], optional)


def _fill(rows: list[list[Text]], cell: Callable[[str], Text]) -> None:
    for row in rows:
        row.append(cell(str(row[0][0])))


def _change(source: Source, label: str, variable: str) -> list[Text]:
    paired, share = source.find(summaries.gain, label, variable), source.find(summaries.outperforms, label, variable)
    return [difference(paired, source.data, variable), [share.number("probability", ".0f", 100), " %"]]


def _published(source: Source, part: str, label: str) -> Text:
    return [source.find(summaries.published, label, part).number(form=".1f", times=100)]


def _times_chosen(source: Source, label: str) -> Text:
    return [times_chosen(source, label).number(form="d")]


def _mean(source: Source, variable: str, label: str) -> Text:
    what = quantity(source.data, variable)
    return [source.find(summaries.mean, label, variable).number(form=what.level, times=what.times)]


def _interval(source: Source, variable: str, label: str) -> Text:
    what, ends = quantity(source.data, variable), source.find(summaries.interval, label, variable)
    low, high = (ends.number(end, what.level, what.times) for end in ("low", "high"))
    return [low, " to ", high]


def _spread(source: Source, variable: str, label: str) -> Text:
    """Return the mean and the range of the middle 80 % of the runs.

    Mean ± standard deviation could contain impossible values, such as a loss below 0.
    """
    what = quantity(source.data, variable)
    mean, low, high = (
        source.find(figure, label, variable).number(form=what.level, times=what.times)
        for figure in (summaries.mean, summaries.low, summaries.high)
    )
    return [mean, " (", low, " to ", high, ")"]


def _lanes(fresh: Source) -> str:
    return "the draws and their seeds" if fresh.data.sizes["seed"] > 1 else "the draws"
