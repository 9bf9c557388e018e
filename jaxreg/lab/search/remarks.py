"""Sentences of the verdict about other models, suspicious scores and the range of strengths that were tried."""

from collections.abc import Sequence

import numpy as np

from jaxreg.lab.report.document import Code, Quoted, Text
from jaxreg.lab.report.provenance import Source
from jaxreg.lab.search import advice, summaries
from jaxreg.lab.search.equal_rows import FEW
from jaxreg.lab.search.nested import ROUNDING, Estimate
from jaxreg.lab.search.rivals import BOOSTING, FOREST, KINDS, LINEAR
from jaxreg.lab.search.run import NETS, Search

MARGIN = 0.02
"""Difference in score above which the verdict names a model that may be better than the networks."""

LOW_RECALL = 0.6
"""Recall below which the verdict names a class."""

PERFECT = 0.999
"""Score above which the verdict warns that the columns may contain the target itself."""

_NAMES = {LINEAR: "A linear model", BOOSTING: "Boosted trees", FOREST: "A forest"}


def nothing_told(source: Source, score: str) -> Text | None:
    """Return a warning if the model is not significantly better than a constant prediction; otherwise None.

    If other models are significantly better than a constant prediction, the warning names the best of them. If no other
    models were evaluated, the warning says so. If the constant prediction was not evaluated, None is returned.

    Args:
        source: Result of the search.
        score: Name of the score.
    """
    found: Search = source.data
    if found.constant is None:
        return None
    gains = [source.find(each) for each in _OVER_CONSTANT]
    if any(np.isnan(gain.data.low) or gain.data.low > 0 for gain in gains):
        return None
    other = "always predicting the most frequent class" if found.setting.task.classes else "always predicting the mean"
    change: Text = [f" Compared with {other}, the change in {score} is ", *_spread(gains[0])]
    if found.rivals is None:
        return [
            "Use no net: the nets do not predict the target. Other models were not compared.", *change,
            ", which is no significant improvement. Compare other models, or find more informative columns, or more "
            "rows.",
        ]  # fmt: skip
    if not (better := _predicting(found)):
        return [
            "Use no model: these columns do not predict the target.", *change,
            ", which is no significant improvement. Find more informative columns, or more rows.",
        ]  # fmt: skip
    best, nets, name = better[0], found.kept == NETS, _NAMES[better[0]].lower()
    theirs, loss = (source.find(each, best) for each in _OVER_CONSTANT)
    does = "do" if best == BOOSTING else "does"
    whose = "nets" if nets else found.kept
    do_not = "do not" if nets or found.kept == BOOSTING else "does not"
    lead = f"{'Use no net: t' if nets else 'T'}he {whose} {do_not} predict the target, but {name} {does}."
    rest: Text = [f" for the {whose}, which is no significant improvement. "]
    if _surely(theirs.data):
        return [lead, *change, *rest, f"For {name}, it is ", *_spread(theirs), "."]
    return [lead, *change, *rest, f"The loss of {name} is lower than that of a constant prediction, by ",
            loss.number("mean"), " ± ", loss.number("error"), "."]  # fmt: skip


_OVER_CONSTANT = (summaries.score_over_constant, summaries.loss_over_constant)


def _surely(gain: Estimate) -> bool:
    return gain.lowest_of(len(KINDS)) > 0


def _predicting(found: Search) -> list[str]:
    """Return the other models that are significantly better than a constant, the highest score first."""
    scores, losses = ({kind: each(found, kind) for kind in KINDS} for each in _OVER_CONSTANT)
    better = [kind for kind in KINDS if _surely(scores[kind]) or _surely(losses[kind])]
    return sorted(better, key=lambda kind: -scores[kind].mean)


def kept_model(source: Source, score: str) -> Text:
    """Return sentences that recommend the chosen model, which is a linear model, boosted trees or a forest.

    Args:
        source: Result of the search.
        score: Name of the score.
    """
    kind = source.data.kept
    name, (they, have) = (kind, ("they are", "they have")) if kind == BOOSTING else (f"the {kind}", ("it is", "it has"))
    gain = summaries.gain_with_equal_rows(source.data, kind)
    if gain.low > 0:
        why = f"{they} better than the nets here"
    elif gain.mean <= ROUNDING:
        why = f"{have} the same {score} as the nets here"
        why += " and a lower loss" if summaries.best_model(source.data) == kind else ""
        why += f". {they.capitalize()} simpler" if kind == LINEAR else ""
    else:
        why = f"{have} a higher {score} than the nets here. The difference is not significant"
        why += f", but {they} simpler" if kind == LINEAR else ""
    return [f"Use {name}: {why}. The model file contains {'them' if kind == BOOSTING else 'it'}."]


def remarks(source: Source, score: str) -> list[Text]:
    """Return sentences about other models, duplicate rows, suspiciously high scores, low recall and range of strengths.

    Args:
        source: Result of the search.
        score: Name of the score.
    """
    found: Search = source.data
    told = [_against(source, score)] if found.rivals is not None else []
    if summaries.equal_share(found) > FEW:
        told.append(_on_equal_rows(source, score))
    if found.rivals is None and found.constant is not None:
        told.append(advice.other_models(found.caller))
    if (reached := source.find(summaries.model_score)).data.mean > PERFECT:
        told.append([
            f"Check the columns first: {score} ", reached.number("mean"), " is too good to be true, "
            "unless the columns determine the target. Leave out columns that are only known after the target.",
        ])  # fmt: skip
    low = [name for name in summaries.class_names(found) if summaries.recall(found, name) < LOW_RECALL]
    if low and found.kept == NETS:  # the recall of other models is unknown
        told.append(_recognised(source, low))
    return told + ([_at_the_edge(found)] if at_the_edge(found) else [])


_MOST_CLASSES = 5
"""Largest number of classes with a low recall that the verdict names."""


def _recognised(source: Source, names: Sequence[str]) -> Text:
    """Name the classes of which the nets predict few rows correctly, the lowest recall first."""
    recalls = {name: source.find(summaries.recall, name) for name in names}
    order = sorted(recalls, key=lambda name: recalls[name].data)[:_MOST_CLASSES]
    each: list[Text] = [
        [recalls[name].number(form=".0f", times=100), " % of the rows of class ", Quoted(name)] for name in order
    ]
    rest = len(recalls) - len(order)
    more = f" The recall of {rest} more {'class is' if rest == 1 else 'classes is'} low." if rest else ""
    return ["Low recall: the nets predict only ", *_listed(each, "and"), f" correctly.{more}"]


def at_the_edge(found: Search) -> bool:
    """Return whether the chosen strength is the largest one tried of its method, and has the method's lowest loss."""
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
    order = sorted(KINDS, key=lambda kind: -np.nan_to_num(gains[kind].data.mean, nan=-np.inf))
    each: list[Text] = [[f"{', ' if place else ''}{kind} ", *_range(gains[kind])] for place, kind in enumerate(KINDS)]
    folds = gains[order[0]].number("n", "d")
    pieces = [piece for one in each for piece in one]
    rest: Text = [
        f"Change in {score} compared with the nets on the same ", folds, " outer folds, with 95 % intervals: ", *pieces,
        ".", *_scope(source.data, score),
    ]  # fmt: skip
    if source.data.kept != NETS:
        return rest
    better = [kind for kind in order if gains[kind].data.low > 0]
    possible = [kind for kind in order if gains[kind].data.low <= 0 and gains[kind].data.high > MARGIN]
    lead: Text = [f"No other model is better than the nets here by more than {MARGIN:g} in {score}."]
    if better:
        verb = "are" if better[0] == BOOSTING else "is"
        lead = [f"{_NAMES[better[0]]} {verb} better than the nets here, by ", gains[better[0]].number("mean"),
                f" in {score}."]  # fmt: skip
    if possible:
        names: list[Text] = [
            [_NAMES[kind] if not place else _NAMES[kind].lower()] for place, kind in enumerate(possible)
        ]
        most: list[Text] = [[gains[kind].number("high", ".2f")] for kind in possible]
        lead = [
            *([*lead, " "] if better else []),
            *_listed(names, "or"), " may be better than the nets, by up to ", *_listed(most, "and"),
            f" in {score}: these folds do not tell.",
        ]  # fmt: skip
    if not better and gains[LINEAR].data.low <= 0 <= gains[LINEAR].data.high:
        lead = [*lead, " The linear model is not significantly worse than the nets, and simpler."]
    if (best := summaries.best_model(source.data)) != NETS:
        use = f"the model with the highest {score}"
        if summaries.gain_with_equal_rows(source.data, best).mean <= ROUNDING:
            use = f"the {best}, with the same {score} and a lower loss"
        lead = [*lead, f" To use {use}, pass ", *advice.any_model(source.data.caller), "."]
    return [*lead, " ", *rest]


def _scope(found: Search, score: str) -> list[str]:
    told = [" Other models are scored in the first repeat only."] if found.plan.repeats > 1 else []
    return [*told, f" This compares their {score}, not their loss."] if found.setting.task.classes else told


def _listed(parts: Sequence[Text], last: str) -> Text:
    between = ["", *[", "] * (len(parts) - 2), *[f" {last} "] * (len(parts) > 1)]
    return [piece for word, part in zip(between, parts, strict=True) for piece in [word, *part]]


def _on_equal_rows(source: Source, score: str) -> Text:
    """Describe the scores on duplicate rows, and whether another model is better if new rows include duplicates."""
    found: Search = source.data
    share = source.find(summaries.equal_share).number(form=".0f", times=100)
    nets = source.find(summaries.score_on_equal_rows, NETS).number()
    if found.rivals is None or not len(found.rivals.equal_rows):
        return [
            share, f" % of the rows are duplicates. The {score} above is for new inputs. On duplicates of known rows, "
            "it is ", nets, " for the nets.",
        ]  # fmt: skip
    gains = {kind: source.find(summaries.gain_with_equal_rows, kind) for kind in KINDS}
    best = max(KINDS, key=lambda kind: np.nan_to_num(gains[kind].data.mean, nan=-np.inf))
    theirs, name = source.find(summaries.score_on_equal_rows, best).number(), _NAMES[best]
    rest: Text = [
        f" This includes duplicates of known rows, on which the {score} of the nets is ", nets,
        f" and that of {name.lower()} is ", theirs, ". All other scores are for new inputs.",
    ]  # fmt: skip
    low, verb = gains[best].data.low, "are" if best == BOOSTING else "is"
    comparison = f"{verb} better" if low > 0 else f"{verb} not significantly better"
    return [
        "If new rows include as many duplicates as this table (", share, f" %), {name.lower()} {comparison} than the "
        f"nets: the change in {score} is ", *_range(gains[best]), ".", *rest,
    ]  # fmt: skip


def _range(gain: Source) -> Text:
    return [gain.number("mean", "+.3f"), " (", gain.number("low", "+.3f"), " to ", gain.number("high", "+.3f"), ")"]


def _spread(estimate: Source) -> Text:
    return [estimate.number("mean", "+.3f"), " ± ", estimate.number("error")]
