"""Results of a search as sentences, tables, JSON and a report page."""

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
from jaxreg.lab.search import advice, summaries
from jaxreg.lab.search.candidates import NONE, Candidate, Shape
from jaxreg.lab.search.changes import forest
from jaxreg.lab.search.details import Details
from jaxreg.lab.search.nested import ROUNDING, WORTH, Estimate
from jaxreg.lab.search.pictures import curves
from jaxreg.lab.search.remarks import kept_model, nothing_told, remarks
from jaxreg.lab.search.rivals import KINDS
from jaxreg.lab.search.run import NETS, Search

_POINTS = 5
"""Smallest number of points of a learning curve for a statement about its last points."""

_COLUMNS = 10
"""Largest number of columns in the table of importances."""

_SCORE = {"classification": "accuracy", "regression": "R²"}
_LOSS = {
    "classification": "cross-entropy, which is minus the logarithm of the probability of the true class, on average",
    "regression": "squared error, as a share of the target's variance",
}


def verdict(source: Source) -> list[Text]:
    """Return the verdict as sentences: what to use, how certain this is, and which score to expect.

    Args:
        source: Result of the search.
    """
    found: Search = source.data
    nested, score = found.found, _SCORE[found.setting.task.name]
    method = found.chosen.method
    estimates, outer = source.at("found"), _outer_folds(source)
    other = found.kept != NETS
    use = "For a net, use " if other else "Use "
    told: list[Text] = [
        [use, "no regulariser: no candidate reduces the loss by more than one standard error and by two per cent."]
    ]
    if method != NONE:
        chosen: Text = [Code(found.chosen.label), ": ", *_meaning(found.chosen), "."]
        probably = [" It mostly improves the probabilities, hardly the answers."] if _hardly_the_answers(found) else []
        told = [
            [use, *chosen, *probably],
            [
                "On the outer folds (rows that were used neither for training nor for the choice), choosing a "
                "regulariser ",
                *_size(source),
                ", compared with the same nets without one.",
            ],
        ]
        if not nested.loss_gain.low > 0:
            held = [] if other else [" The model uses this regulariser."]
            lead: Text = ["The outer folds do not show that a regulariser helps. If you want one, use "]
            if _too_few(found):
                needed = source.find(summaries.errors_needed).number(form=".1f")
                enough = np.isfinite(source.find(summaries.repeats_needed).data)
                too_few: Text = ["These ", outer, " outer folds are"] if enough else ["The rows of this table are"]
                lead = [
                    *too_few, " too few to show that a regulariser helps (change in loss ",
                    *_spread(source.find(summaries.loss_change), "+.3f"), "; with so few folds, it must exceed ",
                    needed, " standard errors, by Student's t distribution). ", *advice.more_folds(source),
                    " If you want one now, use ",
                ]  # fmt: skip
            told = [[*lead, *chosen, *held]]
        elif 2 * nested.tally(found.tried).get(method, 0) <= len(nested.picks):
            told[0] = ["A regulariser helps, but the outer folds do not agree on which. One is ", *chosen, *probably]
        if (no_better := _no_better_than_constant(source, score)) is not None:
            told.append(no_better)
        told.append(_why(source))
    if len(nested.members) > 1:
        kinds = [[Code(found.tried[place].label)] for place in nested.members]
        whose = "The mean of nets averages" if other else "The model averages"
        told.append([whose, " the nets of ", *_joined(kinds, " and "), ": none of them is clearly better."])
    told += [_other_net(shape) for shape in dict.fromkeys(each.shape for each in found.tried) if shape is not None]
    expected = _expected(source, score)
    if (nothing := nothing_told(source, score)) is not None:
        told = [nothing, *expected]
    elif other:
        told = [kept_model(source, score), *expected, *told]
    else:
        told += expected
    told.append([
        f"Change by the search{' for a net' if other else ''}, which chooses anew for each outer fold, compared with "
        f"the nets of that choice without a regulariser: {score} ",
        *_spread(estimates.at("score_gain"), "+.3f"),
        f" ({_sure(nested.score_gain)}), loss ", *_spread(source.find(summaries.loss_change), "+.3f"),
        f" ({_sure(nested.loss_gain)}).",
    ])  # fmt: skip
    if np.isnan(source.find(summaries.model_score).data.mean):
        told.append([f"{score} is unknown, because each outer fold needs at least two rows with distinct targets."])
    counts = {name: source.find(summaries.times_picked, name) for name in nested.tally(found.tried)}
    times = [
        [Code(name), " ", count.number(form="d"), " times" if count.data > 1 else " time"]
        for name, count in counts.items()
    ]
    told.append(["Methods chosen for the ", outer, " outer folds: ", *_joined(times), "."])
    if rivals := [name for name in nested.rivals if name != method]:
        others = _joined([[Code(name)] for name in rivals])
        told.append(["Other methods within one standard error of the lowest loss: ", *others, "."])
    # Early stopping ends before the learning rate decreases.
    enough = found.setting.points >= _POINTS and method != "early stopping"
    if enough and (falls := source.find(summaries.still_falls, found.chosen.label)).data > WORTH:
        told.append([
            "More epochs may lower the loss and change the choice. Set them with ", *advice.epochs(found.caller),
            ". The loss of ",
            Code(found.chosen.label), " on the outer folds was still falling when the learning rate began to decrease: "
            "by ", falls.number(form=".0f", times=100), " % or more between the last four points of its curve.",
        ])  # fmt: skip
    told += remarks(source, score)
    if found.diverged:
        lost = source.at("diverged").number(form="d")
        trainings = " training runs diverged" if found.diverged > 1 else " training run diverged"
        told.append([lost, trainings, ". A candidate is not chosen if a run needed for its choice diverged."])
    return told


def _too_few(found: Search) -> bool:
    """Return whether the gain is beyond one standard error and 2 %, and more outer folds can be had."""
    gain = found.found.loss_gain
    return gain.mean > gain.error and summaries.loss_saved(found) > WORTH and not found.setting.forward


def _hardly_the_answers(found: Search) -> bool:
    """Return whether the loss improves significantly, but the share of right answers does not."""
    gains = found.found.loss_gain, found.found.score_gain
    return bool(found.setting.task.classes and gains[0].low > 0 and not gains[1].significant)


def _other_net(shape: Shape) -> Text:
    """Return a sentence that explains the label of a network other than the first."""
    coding = ", and numbers are cut in pieces at quantiles" if shape.coding == "pieces" else ""
    return [Code(shape.label), f" is a second net: the label has the units of its hidden layers{coding}."]


def _no_better_than_constant(source: Source, score: str) -> Text | None:
    """Return a sentence if the loss of the nets without a regulariser is no lower than that of a constant guess."""
    found: Search = source.data
    if found.constant is None:
        return None
    plain, guess = source.find(summaries.plain_loss), source.find(summaries.constant_loss)
    if not plain.data > guess.data - ROUNDING:
        return None
    what = "shares of the classes" if found.setting.task.classes else "mean"
    scores = source.find(summaries.plain_score), source.find(summaries.constant_score)
    told: Text = [
        f"Without a regulariser, the nets are no better than a constant guess, the {what}: their loss is ",
        plain.number(), ", that of the guess ", guess.number(), ".",
    ]  # fmt: skip
    if found.setting.task.classes and scores[0].data > scores[1].data + ROUNDING:
        better: Text = [f" Only their {score} is better: ", scores[0].number(), " instead of ", scores[1].number(), "."]
        return [*told, *better]
    return told


def _expected(source: Source, score: str) -> list[Text]:
    """Return sentences about the expected score of the model on new rows."""
    found: Search = source.data
    estimated, span = source.find(summaries.model_score), source.find(summaries.score_range)
    whose = "the nets" if found.kept == NETS else f"the {found.kept}"
    between: Text = []
    if np.isfinite(span.data.low):
        between = [
            " With a confidence of ", span.number("confidence", ".0f", 100), f" %, the {score} is between ",
            span.number("low", ".2f"), " and ", span.number("high", ".2f"), ".",
        ]  # fmt: skip
    frequent: Text = []
    if found.constant is not None and found.setting.task.classes:
        guess = source.find(summaries.constant_score).number()
        frequent = [" (always predicting the most frequent class: ", guess, ")"]
    expected: Text = [
        f"Expected on new rows, for {whose}: {score} ", *_spread(estimated), *frequent, ", loss ",
        *_spread(source.find(summaries.model_loss)), ".", *between,
    ]  # fmt: skip
    floor = " The standard error of the accuracy is at least the binomial one for this number of rows."
    flattering = " The type of the model was chosen on the same folds, so its score is slightly too good."
    first = " of the first repeat" if found.kept != NETS and found.plan.repeats > 1 else ""
    error: Text = [
        f"The loss is the {_LOSS[found.setting.task.name]}. The number after ± is the standard error over ",
        estimated.number("n", "d"), f" outer folds{first}, which were used "
        "neither for training nor for the choice.", floor if found.setting.task.classes else "",
        flattering if found.kept != NETS else "",
    ]  # fmt: skip
    return [expected, error]


def table(source: Source) -> Table:
    """Return a table of candidates: the chosen one, the best of each method, and those without a regulariser.

    The table is sorted by loss, the lowest loss first.

    Args:
        source: Result of the search.
    """
    found: Search = source.data
    means = found.found.losses.mean(axis=1)
    order = sorted(range(len(found.tried)), key=lambda at: (not np.isfinite(means[at]), means[at]))
    best = {found.tried[at].method: at for at in reversed(order)}
    shown = [
        at for at in order if at in (best[found.tried[at].method], found.found.chosen) or found.tried[at].method == NONE
    ]
    return _candidates(source, shown, "Best candidate of each method, the lowest loss first")


def _candidates(source: Source, places: Sequence[int], words: str) -> Table:
    rows: list[Sequence[Text]] = []
    for place in places:
        label = source.data.tried[place].label
        score, loss = (source.find(one, label).number() for one in (summaries.mean_score, summaries.mean_loss))
        change = source.find(summaries.change_in_loss, label)
        share = source.find(summaries.win_rate, label).number(form=".0f", times=100)
        plain = source.data.tried[place].method == NONE
        cells: list[Text] = [[], []] if plain else [_spread(change, "+.3f"), [share, " %"]]
        rows.append([[Code(label)], [loss], cells[0], cells[1], [score]])
    rest = (
        " outer folds. A change is that of one candidate in all folds, compared with the same net without a "
        "regulariser, ± one standard error. The verdict has the change by the search instead, which chooses anew for "
        "each fold. The column 'better in' is the share of folds with a lower loss"
    )
    caption: Text = [f"{words}. Means over ", _outer_folds(source), rest]
    columns = ["candidate", "loss", "change in loss", "better in", _SCORE[source.data.setting.task.name]]
    return Table(caption, columns, rows, [source.data.chosen.label], ["better in"])


def blocks(source: Source, folder: Path, name: str, notes: Sequence[str], command: str) -> list[Block]:
    """Return the content of the report of a search: headings, paragraphs, tables and pictures.

    Args:
        source: Result of the search.
        folder: Folder of the search.
        name: Name of the table.
        notes: Notes about the table.
        command: Command that ran the search.
    """
    first, *rest = verdict(source)
    made: list[Text] = [["Command: ", Code(command)], _sizes(source), ["Versions: ", Code(_versions())]]
    parts: list[Block] = [
        Heading(["Which regulariser for ", Quoted(name), "?"], 1),
        Summary(
            [Paragraph(first, lead=True), *map(Paragraph, rest)], forest_picture(forest(source), "forest", "candidate")
        ),
    ]
    if notes:
        parts += [Heading(["Notes about the table"]), Bullets([[Quoted(note)] for note in notes])]
    everything = _candidates(source, range(len(source.data.tried)), "All candidates, by method")
    if source.data.details is not None and source.data.columns:
        parts += [Heading(["Importance of columns"]), _importances(source)]
    if source.data.details is not None and source.data.setting.task.classes:
        parts += [Heading(["Recall of each class"]), _recalls(source)]
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
    caption = f"Columns with the largest importance ({len(order)}): increase of the loss on the outer folds when the "
    caption += f"column is permuted, ± one standard error{_of_the_nets(source)}"
    return Table(
        [caption], ["column", "increase of loss"], [[[Quoted(name)], _spread(gains[name], "+.3f")] for name in order]
    )


def _recalls(source: Source) -> Table:
    caption = "Share of the rows of each class that are predicted correctly, on the outer folds of the first repeat"
    rows: list[Sequence[Text]] = [
        [[Quoted(name)], [source.find(summaries.recall, name).number()]] for name in summaries.class_names(source.data)
    ]
    return Table([caption + _of_the_nets(source)], ["class", "recall"], rows)


def _of_the_nets(source: Source) -> str:
    return "" if source.data.kept == NETS else f". These are figures of the nets, not of the {source.data.kept}"


def sentences(search: Search) -> list[str]:
    """Return the verdict of a search as plain sentences.

    Args:
        search: Result of the search.
    """
    return ["".join(map(str, sentence)) for sentence in verdict(Source("search", search))]


def notebook(search: Search) -> str:
    """Return the verdict, the table and the forest plot as HTML for a notebook.

    Args:
        search: Result of the search.
    """
    source = Source("search", search)
    first, *rest = verdict(source)
    told: list[Block] = [Paragraph(first, lead=True), *map(Paragraph, rest), table(source)]
    return fragment([Summary(told, forest_picture(forest(source), "forest", "candidate"))])


def summary(source: Source) -> dict[str, Any]:
    """Return the verdict of a search as a dict for JSON.

    Args:
        source: Result of the search.
    """
    found: Search = source.data
    nested = found.found
    return {
        "chosen": {"label": found.chosen.label, "method": found.chosen.method, "strength": found.chosen.shown},
        "task": found.setting.task.name,
        _SCORE[found.setting.task.name]: _known(summaries.model_score(found)),
        "loss": _known(summaries.model_loss(found)),
        "score_gain": _known(nested.score_gain),
        "loss_gain": _known(nested.loss_gain),
        "picks": nested.tally(found.tried),
        "rivals": list(nested.rivals),
        "nets": summaries.nets(found),
        "model": found.kept,
        "other_models": {kind: _gain(summaries.rival_gain(found, kind)) for kind in KINDS} if found.rivals else None,
        "equal_rows": _equal_rows(found),
        "diverged": found.diverged,
        "rows": found.rows,
        "spread": _plain(found.spread),
        "verdict": ["".join(map(str, sentence)) for sentence in verdict(source)],
    }


def folds(found: Search, *, apart: bool) -> dict[str, Any]:
    """Return the results on the outer folds as a dict for JSON, which `jaxreg.lab.search.open_search` reads.

    Args:
        found: Result of the search.
        apart: Whether the training runs of each repeat are in a separate folder.
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
        "equal_rows": None
        if found.equal_rows is None
        else {"share": found.equal_rows.share, "score": _plain(found.equal_rows.score)},
        "forward": found.setting.forward,
        "details": None if found.details is None or not found.columns else _told(found.details),
        "columns": list(found.columns),
        "means": [
            {"fold": fold, "members": list(members), "score": _or_none(score), "loss": loss}
            for (fold, members), (score, loss) in (found.means or {}).items()
        ],
    }


def _told(details: Details) -> dict[str, Any]:
    return {
        "recall": _plain(details.recall),
        "auc": _plain(details.auc),
        "importance": [_known(each) for each in details.importance],
    }


_MEANING = {
    "L1": "a penalty on the absolute values of the weights, which sets unimportant weights to zero",
    "L2": "a penalty on the squares of the weights",
    "L1L2": "a penalty on the absolute values and the squares of the weights",
    "group lasso": "a penalty that can set all weights of an input to zero",
    "MaxNorm": "an upper limit on the norm of each hidden unit's incoming weights",
    "UnitNorm": "the incoming weights of each hidden unit are scaled to norm one",
    "dropout": "each training step leaves out each hidden unit with this probability",
    "early stopping": "stop the training after this number of epochs",
}


def _meaning(candidate: Candidate) -> Text:
    """Explain the method of a candidate."""
    if candidate.method == "decay":
        # AdamW subtracts `weight_decay` times the weight, and L2 has the gradient of a square.
        return ["decoupled weight decay, as by AdamW with ", Code(f"weight_decay={2 * candidate.strength:g}")]
    return [_MEANING[candidate.method]]


def _size(source: Source) -> Text:
    """Describe the change in loss and errors by the procedure on the outer folds, such as "halves the loss"."""
    told = [less_loss(source.find(summaries.loss_saved), "the loss")]
    gain, saved = source.data.found.score_gain, source.find(summaries.errors_saved)
    if source.data.setting.task.classes and np.isfinite(saved.data) and gain.significant:
        told.append(fewer_errors(saved, source.find(summaries.one_error_in)))
    return _joined(told, " and ")


def _why(source: Source) -> Text:
    """Explain why this candidate was chosen."""
    chosen, label = source.data.chosen, source.find(summaries.best_candidate).data
    best = next(each for each in source.data.tried if each.label == label)
    if chosen == best:
        start: Text = [Code(label), " has the lowest loss of all candidates. "]
        return [
            *start, "A stronger one of the same method with nearly this loss (within one standard error) would be "
            "preferred, but there is none.",
        ]  # fmt: skip
    if chosen.shape != best.shape:
        start = [Code(label), " has the lowest loss of all candidates. For its net, a simpler candidate is preferred. "]
        return [*start, Code(chosen.label), " has the lowest loss of the candidates that are preferred for each net."]
    start = [Code(label), " has the lowest loss of all candidates. ", Code(chosen.label), " is preferred: it is the "]
    return [*start, "strongest candidate of its method within one standard error of this loss."]


def _equal_rows(found: Search) -> dict[str, Any] | None:
    if found.equal_rows is None:
        return None
    rivals = KINDS if found.rivals is not None else ()
    return {
        "share": found.equal_rows.share,
        "scores": {name: _or_none(summaries.score_on_equal_rows(found, name)) for name in (NETS, *rivals)},
        "other_models": {kind: _gain(summaries.gain_with_equal_rows(found, kind)) for kind in rivals},
    }


def _gain(estimate: Estimate) -> dict[str, float | None]:
    return _known(estimate) | {"low": _or_none(estimate.low), "high": _or_none(estimate.high)}


def _known(estimate: Estimate) -> dict[str, float | None]:
    # JSON has no NaN.
    return {name: _or_none(value) for name, value in vars(estimate).items()}


def _plain(values: np.ndarray) -> list[Any]:
    return [_plain(row) for row in values] if values.ndim > 1 else [_or_none(value) for value in values.tolist()]


def _or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _sure(gain: Estimate) -> str:
    if np.isnan(gain.low):
        return "unknown"
    if gain.mean == gain.error == 0:
        return "no change"
    if not gain.significant:
        return "not significant"
    return f"significantly {'better' if gain.mean > 0 else 'worse'}"


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
        candidates, " candidates, ", trainings, " training runs each: ", source.find(summaries.nets).number(form="d"),
        " trained nets. Hidden units of the first net: ", *units, ". Epochs: ", epochs, ". Rows: ", rows,
        ". Cross-validation: ", folds, " folds, ", repeats,
        " repeats" if source.data.plan.repeats > 1 else " repeat", ", seed ", seed, ". Nets averaged: ",
        source.find(summaries.averaged).number(form="d"),
    ]  # fmt: skip


def _versions() -> str:
    found = [f"{name} {version(name)}" for name in ("jaxreg", "jax", "jaxlib", "numpy")]
    return f"{', '.join(found)}, Python {platform.python_version()}"
