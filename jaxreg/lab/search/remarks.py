"""Sentences of a verdict on what the outer folds show beside the regulariser: what to do first, then the evidence."""

import numpy as np

from jaxreg.lab.report.document import Code, Text
from jaxreg.lab.report.provenance import Source
from jaxreg.lab.search import summaries
from jaxreg.lab.search.nested import Estimate
from jaxreg.lab.search.rivals import BOOSTING, FOREST, KINDS, LINEAR
from jaxreg.lab.search.run import NETS, Search

SURE = 2
"""Standard errors beyond which a difference is shown."""

PERFECT = 0.999
"""A score beyond which a table may give the target away."""

_NAMES = {LINEAR: "A linear model", BOOSTING: "Boosted trees", FOREST: "A forest"}


def steps(gain: Estimate) -> float:
    """Return how many standard errors a gain is away from nothing; NaN if that is not known."""
    if gain.mean == 0 or np.isnan(gain.mean):
        return gain.mean
    return gain.mean / gain.error if gain.error > 0 else float(np.copysign(np.inf, gain.mean))


def nothing_told(source: Source, score: str) -> Text | None:
    """Return the sentence that the columns do not tell the target, or None if they do or it is not known.

    Args:
        source: The search.
        score: Name of the score.
    """
    found: Search = source.data
    if found.constant is None:
        return None
    gains = [source.find(function) for function in (summaries.score_over_constant, summaries.loss_over_constant)]
    if not all(steps(gain.data) <= SURE for gain in gains):
        return None
    other = "always predicting the most frequent class" if found.setting.task.classes else "always predicting the mean"
    return [
        f"Use no model: these columns do not predict the target. Against {other}, a net has {score} ",
        *_spread(gains[0]), ", which may be chance: find more informative columns, or more rows.",
    ]  # fmt: skip


def remarks(source: Source, score: str) -> list[Text]:
    """Return a sentence each on other models, on a score too good to be true and on strengths at the edge.

    Args:
        source: The search.
        score: Name of the score.
    """
    found: Search = source.data
    told = [_against(source, score)] if found.rivals is not None else []
    if found.rivals is None and found.constant is not None:
        told.append([
            "No linear model, boosted trees or forest were tried. To compare with them, search without ",
            Code("--quick"), ", or with ", Code("rivals=True"), " from Python.",
        ])  # fmt: skip
    if found.found.score.mean > PERFECT:
        told.append([
            f"Check the columns first: {score} ", source.at("found.score").number("mean"), " is too good to be true, "
            "unless the target follows from them. Is each of them known before the target?",
        ])  # fmt: skip
    return told + ([_at_the_edge(found)] if at_the_edge(found) else [])


def at_the_edge(found: Search) -> bool:
    """Return whether the chosen strength is the strongest that was tried of its method, and no other was as good."""
    mine = [at for at, each in enumerate(found.tried) if (each.method, each.shape) == _kind(found)]
    strongest = max(mine, key=lambda at: found.tried[at].strength)
    means = found.found.losses.mean(axis=1)
    return len(mine) > 2 and found.found.chosen == strongest == mine[int(np.nanargmin(means[mine]))]


def _kind(found: Search) -> tuple[str, object]:
    return found.chosen.method, found.chosen.shape


def _at_the_edge(found: Search) -> Text:
    return [
        "Try fewer inputs or more rows: ", Code(found.chosen.label), " is the strongest that was tried, and a stronger "
        "one may be better still.",
    ]  # fmt: skip


def _against(source: Source, score: str) -> Text:
    gains = {kind: source.find(summaries.rival_gain, kind) for kind in KINDS}
    best = max(KINDS, key=lambda kind: np.nan_to_num(gains[kind].data.mean, nan=-np.inf))
    gain: Estimate = gains[best].data
    others: list[Text] = [[f", {kind} ", gains[kind].number("mean", "+.3f")] for kind in KINDS if kind != best]
    rest: Text = [f"{score} ", *_spread(gains[best]), *(piece for each in others for piece in each)]
    if source.data.kept != NETS:
        are = f"{_NAMES[best]} {'are' if best == BOOSTING else 'is'}"
        return [f"{are} better than the nets on the same folds, and kept as the model: ", *rest, "."]
    if not gain.mean > 0:
        return [f"No other model is better on the same folds: {best} ", *rest, "."]
    be = "are" if best == BOOSTING else "is"
    lead = f"{be} better here: use that by " if steps(gain) > 1 else "may be better here: try "
    return [f"{_NAMES[best]} {lead}", Code("--any-model"), ". On the same folds: ", *rest, "."]


def _spread(estimate: Source) -> Text:
    return [estimate.number("mean", "+.3f"), " ± ", estimate.number("error")]
