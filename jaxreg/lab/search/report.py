"""What a search found in words, as tables and as a page."""

import dataclasses
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from jaxreg.lab.report.document import (
    Block,
    Bullets,
    Code,
    Heading,
    Paragraph,
    Pictures,
    Quoted,
    Summary,
    Table,
    Text,
    recomputing,
)
from jaxreg.lab.report.document import Details as Folded
from jaxreg.lab.report.forest import forest_picture
from jaxreg.lab.report.html import fragment
from jaxreg.lab.report.provenance import QuotedNumber, Source
from jaxreg.lab.report.wording import fewer_errors, less_loss
from jaxreg.lab.search import summaries
from jaxreg.lab.search.candidates import NONE
from jaxreg.lab.search.changes import forest
from jaxreg.lab.search.details import Details
from jaxreg.lab.search.nested import WORTH, Estimate
from jaxreg.lab.search.pictures import curves
from jaxreg.lab.search.remarks import nothing_told, remarks
from jaxreg.lab.search.rivals import KINDS
from jaxreg.lab.search.run import Search

_POINTS = 5
"""Points of a curve after that of the initial weights from which on the last three are its end."""

_COLUMNS = 10
"""Columns whose importance the page shows."""

_SHOWN = 2
"""Standard errors that the gain of choosing has to be above 0 on the outer folds for a regulariser to be named."""

_SCORE = {"classification": "accuracy", "regression": "R²"}
_LOSS = {"classification": "cross-entropy", "regression": "squared error (share of the target's variance)"}


def verdict(source: Source) -> list[Text]:
    """Return the verdict: a sentence each on what to do, how certain it is, and what to expect.

    Args:
        source: The search.
    """
    found: Search = source.data
    nested, task = found.found, found.setting.task.name
    score, loss = _SCORE[task], _LOSS[task]
    method = found.chosen.method
    estimates, outer = source.at("found"), _outer_folds(source)
    told: list[Text] = [
        ["Use no regulariser: no candidate reduces the loss by more than one standard error and two per cent."]
    ]
    if method != NONE:
        advice: Text = [Code(found.chosen.label), f": {_MEANING[method]}."]
        told = [["Use ", *advice], ["It ", *_size(source), "."]]
        if not (_steps(nested.loss_gain) > _SHOWN and method in nested.tally(found.tried)):
            told = [["No regulariser is shown to help here. If you must take one, take ", *advice]]
        told.append(_why(source))
    if (nothing := nothing_told(source, score)) is not None:
        told = [nothing]
    told.append([
        f"Expected on new rows: {score} ", *_spread(estimates.at("score")), f", {loss} ",
        *_spread(estimates.at("loss")), " (± a standard error, over ", outer, " folds that neither chose nor trained).",
    ])  # fmt: skip
    told.append([
        f"Against no regulariser on the same folds: {score} ", *_spread(estimates.at("score_gain"), "+.3f"),
        f" ({_sure(nested.score_gain)}), {loss} ", *_spread(source.find(summaries.loss_change), "+.3f"),
        f" ({_sure(nested.loss_gain)}).",
    ])  # fmt: skip
    if np.isnan(nested.score.mean):
        told.append([f"{score} is not known: it takes two rows of different targets in each fold."])
    counts = {name: source.find(summaries.times_picked, name) for name in nested.tally(found.tried)}
    times = [
        [Code(name), " ", count.number(form="d"), " times" if count.data > 1 else " time"]
        for name, count in counts.items()
    ]
    told.append(["Chosen inside the ", outer, " outer folds: ", *_joined(times), "."])
    if rivals := [name for name in nested.rivals if name != method]:
        told.append(["Statistically tied with the best: ", *_joined([[Code(name)] for name in rivals]), "."])
    enough = found.setting.points >= _POINTS and method != "early stopping"  # which stops before the rate falls
    if enough and (falls := source.find(summaries.still_falls, found.chosen.label)).data > WORTH:
        told.append([
            "When its learning rate began to fall, the loss of ", Code(found.chosen.label), " on these folds still "
            "fell, by ", falls.number(form=".0f", times=100), " % or more to each of the last three points of its "
            "curve: more epochs may change the choice and save more; set them by ", Code("--epochs"), ".",
        ])  # fmt: skip
    told += remarks(source, score)
    if found.diverged:
        lost = source.at("diverged").number(form="d")
        told.append([lost, " trainings diverged; a candidate is not chosen where one of its own did."])
    return told


def table(source: Source) -> Table:
    """Return a table of the best candidate of each method and of the chosen one, sorted by loss.

    Args:
        source: The search.
    """
    found: Search = source.data
    means = found.found.losses.mean(axis=1)
    order = sorted(range(len(found.tried)), key=lambda at: (not np.isfinite(means[at]), means[at]))
    best = {found.tried[at].method: at for at in reversed(order)}
    shown = [at for at in order if best[found.tried[at].method] == at or at == found.found.chosen]
    return _candidates(source, shown, "Best candidate of each method, the least loss first")


def _candidates(source: Source, places: Sequence[int], words: str) -> Table:
    rows: list[Sequence[Text]] = []
    for place in places:
        label = source.data.tried[place].label
        score, loss = (source.find(one, label).number() for one in (summaries.mean_score, summaries.mean_loss))
        change = source.find(summaries.change_in_loss, label)
        share = source.find(summaries.win_rate, label).number(form=".0f", times=100)
        cells: list[Text] = [_spread(change, "+.3f"), [share, " %"]] if place else [[], []]
        rows.append([[Code(label)], [loss], cells[0], cells[1], [score]])
    caption: Text = [f"{words}: means over ", _outer_folds(source), " outer folds, changes ± a standard error"]
    columns = ["candidate", "loss", "change in loss", "better in", _SCORE[source.data.setting.task.name]]
    return Table(caption, columns, rows, [source.data.chosen.label], ["better in"])


def blocks(source: Source, folder: Path, name: str, notes: Sequence[str], command: str) -> list[Block]:
    """Return the blocks of the report page of a search.

    Args:
        source: The search.
        folder: Folder of the search.
        name: Name of the table.
        notes: Notes from reading the table.
        command: Command that ran the search.
    """
    first, *rest = verdict(source)
    made: list[Text] = [["Command: ", Code(command)], _sizes(source), ["Versions: ", Code(_versions())]]
    parts: list[Block] = [
        Heading(["Which regulariser for ", Quoted(name), "?"], 1),
        Summary([Paragraph(first, lead=True), *map(Paragraph, rest)], forest_picture(forest(source), "forest")),
    ]
    if notes:
        parts += [Heading(["What was noticed in the table"]), Bullets([[Quoted(note)] for note in notes])]
    everything = _candidates(source, range(len(source.data.tried)), "Every candidate, strengths rising")
    if source.data.details is not None and source.data.columns:
        parts += [Heading(["Importance of columns"]), _importances(source)]
    parts += [Heading(["Candidates"]), table(source), Folded("Every candidate", [everything], printed=True)]
    parts += [Pictures([curves(source.data)]), Heading(["How it was made"]), Bullets(made)]
    opening = [
        "from pathlib import Path", "", "from jaxreg.lab.search import *", "",
        f"{source.name} = open_search(Path({str(folder)!r}))",
    ]  # fmt: skip
    return [*parts, recomputing(parts, opening)]


def _importances(source: Source) -> Table:
    found: Search = source.data
    gains = {name: source.find(summaries.importance, name) for name in found.columns}
    known = [name for name in gains if np.isfinite(gains[name].data.mean)]
    order = sorted(known, key=lambda name: -gains[name].data.mean)[:_COLUMNS]
    caption = f"Loss added by permuting a column on the outer folds, ± a standard error: the {len(order)} largest"
    return Table(
        [caption], ["column", "added loss"], [[[Quoted(name)], _spread(gains[name], "+.3f")] for name in order]
    )


def sentences(search: Search) -> list[str]:
    """Return the verdict as plain sentences.

    Args:
        search: The search.
    """
    return ["".join(map(str, sentence)) for sentence in verdict(Source("search", search))]


def notebook(search: Search) -> str:
    """Return the verdict and the forest plot as HTML for a notebook.

    Args:
        search: The search.
    """
    source = Source("search", search)
    first, *rest = verdict(source)
    told: list[Block] = [Paragraph(first, lead=True), *map(Paragraph, rest), table(source)]
    return fragment([Summary(told, forest_picture(forest(source), "forest"))])


def summary(source: Source) -> dict[str, Any]:
    """Return the verdict as plain JSON.

    Args:
        source: The search.
    """
    found: Search = source.data
    nested = found.found
    return {
        "chosen": {"label": found.chosen.label, "method": found.chosen.method, "strength": found.chosen.shown},
        "task": found.setting.task.name,
        _SCORE[found.setting.task.name]: _known(nested.score),
        "loss": _known(nested.loss),
        "score_gain": _known(nested.score_gain),
        "loss_gain": _known(nested.loss_gain),
        "picks": nested.tally(found.tried),
        "rivals": list(nested.rivals),
        "nets": summaries.nets(found),
        "model": found.kept,
        "other_models": {kind: _known(summaries.rival_gain(found, kind)) for kind in KINDS} if found.rivals else None,
        "diverged": found.diverged,
        "rows": found.rows,
        "spread": _plain(found.spread),
        "verdict": ["".join(map(str, sentence)) for sentence in verdict(source)],
    }


def folds(found: Search, *, apart: bool) -> dict[str, Any]:
    """Return the means of nets on the outer folds as plain JSON, for `jaxreg.lab.search.open_search`.

    Args:
        found: The search.
        apart: Whether each repeat was trained by itself, in a folder of its own.
    """
    assert found.outer is not None
    shapes = dict.fromkeys(each.shape for each in found.tried if each.shape is not None)
    told: dict[str, Any] = {name: _plain(values) for name, values in found.outer._asdict().items()}
    others = None if found.rivals is None else {n: _plain(values) for n, values in found.rivals._asdict().items()}
    return told | {
        "repeats": found.plan.repeats if apart else 1,
        "shapes": [dataclasses.asdict(shape) for shape in shapes],
        "rivals": others,
        "constant": None if found.constant is None else {n: _plain(v) for n, v in found.constant._asdict().items()},
        "forward": found.setting.forward,
        "details": None if found.details is None or not found.columns else _told(found.details),
        "columns": list(found.columns),
    }


def _told(details: Details) -> dict[str, Any]:
    return {
        "recall": _plain(details.recall),
        "auc": _plain(details.auc),
        "importance": [_known(each) for each in details.importance],
    }


_MEANING = {
    "L1": "a penalty on absolute weights, which empties those that don't matter",
    "L2": "a penalty on squared weights",
    "L1L2": "a penalty on absolute and on squared weights",
    "decay": "decoupled weight decay, as in AdamW",
    "group lasso": "a penalty that empties whole inputs",
    "MaxNorm": "a limit on the norm of each hidden unit's weights",
    "UnitNorm": "each hidden unit's weights at norm 1",
    "early stopping": "so many epochs and no more",
}


def _size(source: Source) -> Text:
    """Say in plain words what the whole procedure saves on the outer folds."""
    told = [less_loss(source.find(summaries.loss_saved), "the loss")]
    gain, saved = source.data.found.score_gain, source.find(summaries.errors_saved)
    if source.data.setting.task.classes and np.isfinite(saved.data) and abs(_steps(gain)) > _SHOWN:
        told.append(fewer_errors(saved, source.find(summaries.one_error_in)))
    return _joined(told, " and ")


def _why(source: Source) -> Text:
    """Say why the chosen candidate is the one of its method, and its method that of all."""
    label, best = source.data.chosen.label, source.find(summaries.best_candidate).data
    if label == best:
        return [Code(label), " has the least loss, and no stronger one is within a standard error of it."]
    rule = " is the strongest of its method within one standard error of "
    return [Code(label), rule, Code(best), ", which has the least loss: what is stronger is simpler."]


def _known(estimate: Estimate) -> dict[str, float | None]:
    # JSON has no NaN.
    return {name: _or_none(value) for name, value in vars(estimate).items()}


def _plain(values: np.ndarray) -> list[Any]:
    return [_plain(row) for row in values] if values.ndim > 1 else [_or_none(value) for value in values.tolist()]


def _or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _steps(gain: Estimate) -> float:
    # How many standard errors it is away from nothing; NaN where that is not known.
    if gain.mean == 0 or np.isnan(gain.mean):
        return gain.mean
    return gain.mean / gain.error if gain.error > 0 else float(np.copysign(np.inf, gain.mean))


def _sure(gain: Estimate) -> str:
    steps = _steps(gain)
    if np.isnan(steps):
        return "not known"
    if gain.mean == gain.error == 0:
        return "no change"
    if abs(steps) <= 1:
        return "no gain beyond chance" if steps >= 0 else "no loss beyond chance"
    return f"a {'gain' if steps > 0 else 'loss'} that is {'sure' if abs(steps) > _SHOWN else 'likely'}"


def _spread(estimate: Source, form: str = ".3f") -> Text:
    return [estimate.number("mean", form), " ± ", estimate.number("error")]


def _joined(parts: Sequence[Text], between: str = ", ") -> Text:
    return [piece for place, part in enumerate(parts) for piece in ([between] if place else []) + list(part)]


def _outer_folds(source: Source) -> QuotedNumber:
    return source.at("found.picks").find(len).number(form="d")


def _sizes(source: Source) -> Text:
    candidates, trainings = (source.at(name).find(len).number(form="d") for name in ("tried", "parts"))
    epochs, rows, folds, repeats, seed = (
        source.number(path, "d") for path in ("setting.epochs", "rows", "plan.folds", "plan.repeats", "plan.seed")
    )
    layers = range(1, len(source.data.setting.hidden) + 1)
    units = _joined([[source.find(summaries.units, str(layer)).number(form="d")] for layer in layers])
    return [
        candidates, " candidates, ", trainings, " trainings each: ", source.find(summaries.nets).number(form="d"),
        " nets of ", *units, " hidden units, ", epochs, " epochs, on ", rows, " rows; ", folds, " folds, ", repeats,
        " repeats" if source.data.plan.repeats > 1 else " repeat", ", seed ", seed, "; the mean of ",
        source.find(summaries.averaged).number(form="d"), " nets is taken",
    ]  # fmt: skip


def _versions() -> str:
    found = [f"{name} {version(name)}" for name in ("jaxreg", "jax", "jaxlib", "numpy")]
    return f"{', '.join(found)}, Python {platform.python_version()}"
