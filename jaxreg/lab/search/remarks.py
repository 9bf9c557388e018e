"""Sentences of the verdict about other models, suspicious scores and the range of strengths that were tried."""

import numpy as np

from jaxreg.lab.report.document import Code, Text
from jaxreg.lab.report.provenance import Source
from jaxreg.lab.search import summaries
from jaxreg.lab.search.nested import Estimate
from jaxreg.lab.search.rivals import BOOSTING, FOREST, KINDS, LINEAR
from jaxreg.lab.search.run import NETS, Search

SURE = 2
"""Number of standard errors above which a difference counts as significant."""

PERFECT = 0.999
"""Score above which the columns may contain the target itself."""

_NAMES = {LINEAR: "A linear model", BOOSTING: "Boosted trees", FOREST: "A forest"}


def steps(gain: Estimate) -> float:
    """Return a gain divided by its standard error; NaN if the gain is unknown."""
    if gain.mean == 0 or np.isnan(gain.mean):
        return gain.mean
    return gain.mean / gain.error if gain.error > 0 else float(np.copysign(np.inf, gain.mean))


def nothing_told(source: Source, score: str) -> Text | None:
    """Return a warning if the networks do not predict significantly better than a constant; otherwise None.

    Also None if the constant was not evaluated.

    Args:
        source: Result of the search.
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
        f"Use no model: these columns do not predict the target. Compared with {other}, the change in {score} is ",
        *_spread(gains[0]), ", which is no significant improvement. Find more informative columns, or more rows.",
    ]  # fmt: skip


def kept_model(source: Source, score: str) -> Text:
    """Return a sentence that recommends the chosen model, if it is not a neural network.

    Args:
        source: Result of the search.
        score: Name of the score.
    """
    kind = source.data.kept
    name = kind if kind == BOOSTING else f"the {kind}"
    return [f"Use {name}: {_comparison(kind, source.data, score)}. The model file contains it."]


def _comparison(kind: str, found: Search, score: str) -> str:
    # A model is better only if its score exceeds that of the nets by more than `SURE` standard errors.
    they = "they are" if kind == BOOSTING else "it is"
    if steps(summaries.rival_gain(found, kind)) > SURE:
        return f"{they} better than the nets here"
    if kind == LINEAR:
        return "it is as good as the nets here, within two standard errors, and simpler"
    have = "they have" if kind == BOOSTING else "it has"
    return f"{have} a higher {score} than the nets here, but within two standard errors {they} only as good"


def remarks(source: Source, score: str) -> list[Text]:
    """Return sentences about other models, a suspiciously high score, and a choice of the largest strength.

    Args:
        source: Result of the search.
        score: Name of the score.
    """
    found: Search = source.data
    told = [_against(source, score)] if found.rivals is not None else []
    if found.rivals is None and found.constant is not None:
        told.append([
            "A linear model, boosted trees and a random forest were not compared. To compare them, search without ",
            Code("--quick"), ", or pass ", Code("rivals=True"), " in Python.",
        ])  # fmt: skip
    if (reached := source.find(summaries.model_score)).data.mean > PERFECT:
        told.append([
            f"Check the columns first: {score} ", reached.number("mean"), " is too good to be true, "
            "unless the columns determine the target. Leave out columns that are only known after the target.",
        ])  # fmt: skip
    return told + ([_at_the_edge(found)] if at_the_edge(found) else [])


def at_the_edge(found: Search) -> bool:
    """Return whether the chosen candidate is the strongest of its method and also the one with the lowest loss."""
    mine = [at for at, each in enumerate(found.tried) if (each.method, each.shape) == _kind(found)]
    strongest = max(mine, key=lambda at: found.tried[at].strength)
    means = found.found.losses.mean(axis=1)
    return len(mine) > 2 and found.found.chosen == strongest == mine[int(np.nanargmin(means[mine]))]


def _kind(found: Search) -> tuple[str, object]:
    return found.chosen.method, found.chosen.shape


def _at_the_edge(found: Search) -> Text:
    return [
        "Try fewer inputs or more rows. ", Code(found.chosen.label), " is the strongest candidate of its method that "
        "was tried, and it has the lowest loss of this method. An even stronger one may be better.",
    ]  # fmt: skip


def _against(source: Source, score: str) -> Text:
    gains = {kind: source.find(summaries.rival_gain, kind) for kind in KINDS}
    best = max(KINDS, key=lambda kind: np.nan_to_num(gains[kind].data.mean, nan=-np.inf))
    each: list[Text] = [[f"{', ' if place else ''}{kind} ", *_spread(gains[kind])] for place, kind in enumerate(KINDS)]
    folds = gains[best].number("n", "d")
    pieces = [piece for one in each for piece in one]
    rest: Text = [f"Change in {score} compared with the nets on the same ", folds, " outer folds: ", *pieces, "."]
    if source.data.kept != NETS:
        return rest
    if gains[best].data.mean > 0:
        them = "them" if best == BOOSTING else "it"
        comparison = _comparison(best, source.data, score)
        return [f"{_NAMES[best]}: {comparison}. To use {them}, pass ", Code("--any-model"), ". ", *rest]
    lead = "No other model is better than the nets here."
    if abs(steps(gains[LINEAR].data)) <= SURE:
        lead += " A linear model is as good, within two standard errors, and simpler."
    return [f"{lead} ", *rest]


def _spread(estimate: Source) -> Text:
    return [estimate.number("mean", "+.3f"), " ± ", estimate.number("error")]
