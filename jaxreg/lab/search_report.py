"""What a search found in words, as tables and as a page."""

import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jaxreg.lab.blocks import Block, Bullets, Code, Given, Heading, Paragraph, Picture, Pictures, Table, Text, Verdict
from jaxreg.lab.candidates import METHODS, NONE
from jaxreg.lab.nested import Estimate
from jaxreg.lab.search import Search
from jaxreg.lab.style import BLUE, GREY, ORANGE, style
from jaxreg.lab.svg import svg

_SCORE = {"classification": "accuracy", "regression": "R²"}
_LOSS = {"classification": "cross-entropy", "regression": "squared error (share of the target's variance)"}


def verdict(found: Search) -> list[str]:
    """What to do, how sure that is, and what to expect: a sentence each.

    Args:
        found: The search.
    """
    nested, score = found.found, _SCORE[found.task]
    method, label = found.chosen.method, found.chosen.label
    tally = nested.tally(found.tried)
    outer = len(nested.picks)
    if method == NONE:
        told = ["Use no regulariser: none of those that were tried is better by more than one standard error."]
    else:
        told = [f"Use {label}: {_MEANING[method]}."]
    told.append(
        f"On rows that neither trained nor chose, a net found in this way has {score} {_spread(nested.score)} "
        f"and {_LOSS[found.task]} {_spread(nested.loss)} ({outer} outer folds, ± a standard error)."
    )
    told.append(
        f"Against no regulariser on the same folds: {score} {nested.score_gain.mean:+.3f} ± "
        f"{nested.score_gain.error:.3f}, {_LOSS[found.task]} {-nested.loss_gain.mean:+.3f} ± "
        f"{nested.loss_gain.error:.3f}: {_sure(nested.loss_gain)}."
    )
    times = ", ".join(f"{name} {count} times" for name, count in tally.items())
    told.append(f"Chosen inside the {outer} outer folds: {times}.")
    if rivals := [name for name in nested.rivals if name != method]:
        told.append(f"Not to be told from the best by these rows: {', '.join(rivals)}.")
    if found.diverged:
        told.append(f"{found.diverged} trainings diverged; a candidate with such a training is not chosen.")
    return told


def table(found: Search) -> Table:
    """One row a candidate: score, loss and what it gains over no regulariser, on the outer folds.

    Args:
        found: The search.
    """
    nested = found.found
    rows: list[Sequence[Text]] = []
    for candidate, scores, losses in zip(found.tried, nested.scores, nested.losses, strict=True):
        gain = nested.losses[0] - losses
        cells = (f"{scores.mean():.3f}", f"{losses.mean():.3f}", f"{gain.mean():+.3f}", f"{(gain > 0).mean():.0%}")
        rows.append([[Code(candidate.label)], *([cell] for cell in cells)])
    caption: Text = [f"Mean over {len(nested.picks)} outer folds, before anything is chosen"]
    columns = ["candidate", _SCORE[found.task], "loss", "loss gained", "better in"]
    return Table(caption, columns, rows, [found.chosen.label])


def lines(found: Search) -> list[str]:
    """The table for a terminal, the candidates of each method by strength.

    Args:
        found: The search.
    """
    shown = table(found)
    rows = [list(shown.columns), *([str(cell[0]) for cell in row] for row in shown.rows)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    told = ["".join(map(str, shown.caption))]
    for row in rows:
        first, *rest = (
            cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in _wide(row, widths)
        )
        told.append("  ".join([first, *rest]) + (" <" if row[0] in shown.marked else ""))
    return told


def _wide(row: Sequence[str], widths: Sequence[int]) -> list[tuple[int, tuple[str, int]]]:
    return list(enumerate(zip(row, widths, strict=True)))


def blocks(found: Search, name: str, notes: Sequence[str], command: str) -> list[Block]:
    """The page of a search.

    Args:
        found: The search.
        name: Of the table.
        notes: What was noticed in reading it.
        command: What was run.
    """
    first, *rest = verdict(found)
    made: list[Text] = [["Command: ", Code(command)], [_sizes(found)], [_versions()]]
    parts: list[Block] = [
        Heading(["Which regulariser for ", Given(name), "?"], 1),
        Verdict([Paragraph([first], lead=True), *(Paragraph([sentence]) for sentence in rest)]),
    ]
    if notes:
        parts += [Heading(["What was noticed in the table"]), Bullets([[Given(note)] for note in notes])]
    pictures = Pictures([_strengths(found), _curves(found)])
    return [*parts, Heading(["Candidates"]), table(found), pictures, Heading(["How it was made"]), Bullets(made)]


def summary(found: Search) -> dict[str, Any]:
    """The same as plain JSON.

    Args:
        found: The search.
    """
    nested = found.found
    return {
        "chosen": {"label": found.chosen.label, "method": found.chosen.method, "strength": found.chosen.shown},
        "task": found.task,
        _SCORE[found.task]: vars(nested.score),
        "loss": vars(nested.loss),
        "score_gain": vars(nested.score_gain),
        "loss_gain": vars(nested.loss_gain),
        "picks": nested.tally(found.tried),
        "rivals": list(nested.rivals),
        "nets": len(found.tried) * len(found.parts),
        "diverged": found.diverged,
        "verdict": verdict(found),
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


def _sure(gain: Estimate) -> str:
    steps = gain.mean / gain.error if gain.error > 0 else np.inf * np.sign(gain.mean)
    if steps > 2:
        return "a gain that is sure"
    if steps > 1:
        return "a gain that is likely"
    return "no gain beyond chance" if steps > -1 else "a loss"


def _spread(estimate: Estimate) -> str:
    return f"{estimate.mean:.3f} ± {estimate.error:.3f}"


def _sizes(found: Search) -> str:
    plan, setting = found.plan, found.setting
    nets = len(found.tried) * len(found.parts)
    return (
        f"{len(found.tried)} candidates, {len(found.parts)} trainings each: {nets} nets of {setting.hidden} hidden "
        f"units, {setting.epochs} epochs, on {found.rows} different rows; {plan.folds} folds, {plan.repeats} repeats, "
        f"seed {plan.seed}"
    )


def _versions() -> str:
    found = [f"{name} {version(name)}" for name in ("jaxreg", "jax", "jaxlib", "numpy")]
    return f"Versions: {', '.join(found)}, Python {platform.python_version()}"


def _strengths(found: Search) -> Picture:
    with style():
        figure = Figure(figsize=(6.4, 3.6))
        ax = figure.add_subplot()
        nested = found.found
        names = [name for name in METHODS if any(each.method == name for each in found.tried)]
        for place, name in enumerate(names):
            mine = [at for at, each in enumerate(found.tried) if each.method == name]
            ax.plot([place] * len(mine), nested.losses[mine].mean(axis=1), "o", color=GREY, markersize=4)
        at = nested.chosen
        ax.plot(names.index(found.chosen.method), nested.losses[at].mean(), "o", color=ORANGE, markersize=7)
        ax.axhline(nested.losses[0].mean(), color=BLUE, linewidth=1, linestyle="--")
        ax.set_xticks(range(len(names)), names, rotation=30, ha="right")
        ax.set_yscale("log")
        ax.set_ylabel("loss on outer folds")
        caption = "Loss of every candidate (a dot a strength); the chosen one orange; the dashed line is no regulariser"
        return Picture("strengths", caption, svg(figure, "strengths"))


def _curves(found: Search) -> Picture:
    with style():
        figure = Figure(figsize=(6.4, 3.6))
        ax = figure.add_subplot()
        outer = [at for at, part in enumerate(found.parts) if part.test == part.validation >= 0]
        epochs = np.linspace(0, found.setting.epochs, found.setting.points + 1)
        for place, colour in dict.fromkeys([(0, BLUE), (found.found.chosen, ORANGE)]):
            label = found.tried[place].label
            for part, line in (("train", ":"), ("test", "-")):
                curve = found.lanes[f"{part}_loss"][place, outer].mean(axis=0)
                ax.plot(epochs, curve, line, color=colour, label=f"{label}, {part}")
        ax.set_yscale("log")
        ax.set_xlabel("epoch")
        ax.set_ylabel("loss")
        ax.legend()
        return Picture("curves", "Loss while training, mean over the outer folds", svg(figure, "curves"))
