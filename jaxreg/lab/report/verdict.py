"""The verdict on case studies in words: the recipe to use, its certainty, and the rest of a published gain.

Each sentence is chosen by the figures it quotes, so that it says no more than they do.
"""

import math
from collections.abc import Sequence

from jaxreg.lab import stats
from jaxreg.lab.report.document import Block, Bullets, Code, Heading, Listing, Paragraph, Piece, Quoted, Summary, Text
from jaxreg.lab.report.provenance import Source
from jaxreg.lab.report.quantities import measured, quantity
from jaxreg.lab.report.wording import _share, change, counted, interval
from jaxreg.lab.studies import summaries
from jaxreg.lab.studies.results import NONE, ArmRecord, Record

LOSS, ACCURACY = "test_loss", "test_accuracy"
_PLACES = {
    "penalize": "first",
    "decay": "between the optimiser's direction and the learning rate",
    "proximal": "behind the learning rate",
    "project": "last",
}


def verdict(sources: Sequence[Source]) -> Summary:
    """Return the verdict on case studies, the recommendation first.

    Args:
        sources: Case studies, each a `StudyResults`.
    """
    best, *rest = sorted(sources, key=lambda source: _beaten(source, sources))
    trials = [source for source in sources if not comparable(source)]
    blocks: list[Block] = [Paragraph(_trial(source), lead=True) for source in trials[:1]]
    blocks += [Paragraph(_advice(best), lead=not trials), *_code(best)]
    if _tried(best) != NONE:
        blocks += [Paragraph(_over(best)), Bullets(_changes(best))]
    notes = [sentence for other in rest for sentence in _other(best, other)]
    notes += [*_chosen(best), *(sentence for source in (best, *rest) for sentence in _edges(source)), *_few(best)]
    if notes:
        blocks += [Heading(["How it was chosen, and against what"], 3), Bullets(notes)]
    held = [sentence for source in sources for sentence in _held(source)]
    if held:
        blocks += [Heading(["What the draws say of the claims"], 3), Bullets(held)]
    claims = [sentence for source in sources for sentence in _claims(source)]
    if claims:
        blocks += [Heading(["What is left of the published gain"], 3), Bullets(claims)]
    return Summary(blocks)


def advised(source: Source) -> str:
    """Return the recipe chosen most often on validation rows if it improves a metric and worsens none, else none."""
    moves = _moves(source)
    return _tried(source) if 1 in moves and -1 not in moves else NONE


def comparable(source: Source) -> bool:
    """Return whether the runs were as long as the study's full ones, such as the published ones."""
    return bool(summaries.last_epoch(source.data.fresh) == source.data.record.epochs)


def _beaten(source: Source, sources: Sequence[Source]) -> float:
    """Add up how often the advice of the others is better on the validation rows of the same draws."""
    mine = source.at("fresh").data
    if advised(source) == NONE:
        return float(len(sources))
    others = [(other.at("fresh").data, advised(other)) for other in sources if other is not source]
    rivals = [(data, label) for data, label in others if label != NONE and summaries.same_draws(mine, data)]
    return sum(summaries.beats(*rival, mine, advised(source), "validation_loss").probability for rival in rivals)


def _measured(fresh: Source) -> list[str]:
    return [f"test_{name}" for name in reversed(measured(fresh.data))]


def _tried(source: Source) -> str:
    """Return the recipe chosen most often on validation rows, or the baseline if there are none."""
    fresh = source.at("fresh")
    return str(fresh.find(summaries.recommended).data) if "validation_loss" in fresh.data else NONE


def _moves(source: Source) -> list[int]:
    """Return the direction in which the recipe chosen most often moves each metric."""
    fresh, label = source.at("fresh"), _tried(source)
    return [] if label == NONE else [_moved(fresh, label, name) for name in _measured(fresh)]


def _moved(fresh: Source, recipe: str, variable: str) -> int:
    """Return 1 if a recipe is surely better than the baseline, in size and in how often, −1 if worse, else 0."""
    paired, share = (fresh.find(f, recipe, variable).data for f in (summaries.gain, summaries.outperforms))
    low, high = (-paired.high, -paired.low) if summaries.lower_is_better(variable) else (paired.low, paired.high)
    if low > 0 and share.low > 0.5:
        return 1
    return -1 if high < 0 and share.high < 0.5 else 0


def _trial(source: Source) -> Text:
    ran = source.at("fresh").find(summaries.last_epoch).number(form="d")
    full = source.at("record.epochs").number(form="d")
    told: list[Piece] = ["A trial run: ", ran, " epochs instead of ", full, ". "]
    if source.data.record.published:
        told.append("Its figures are not comparable with the published ones, and what it advises ")
    else:
        told.append("What it says ")
    return [*told, "holds for so short a training only."]


def _advice(source: Source) -> Text:
    label = advised(source)
    if "validation_loss" not in source.data.fresh:
        return ["No recipe can be recommended: there are no validation rows to choose one by."]
    if label == NONE:
        return _unadvised(source)
    arm = _arm(source, label)
    number = f"{_number(arm, label):g}"
    if label != f"{arm.method}({number})":
        return ["Use ", Code(label), "."]
    return ["Use ", Code(arm.method), f" with {arm.quantity} ", Code(number), "."]


def _unadvised(source: Source) -> Text:
    """Say why no recipe is recommended."""
    fresh, tried = source.at("fresh"), _tried(source)
    without = "." if _few(source) else ": train without a regulariser."
    if tried == NONE:
        return ["On the validation rows no recipe is chosen more often than ", Code(NONE), without]
    if not fresh.find(summaries.gain, tried, LOSS).data.n:
        beside = "every training beside it without a regulariser diverged."
        return [Code(tried), " is chosen most often on the validation rows; ", beside]
    found = "helps in one thing and harms in another" if 1 in _moves(source) else "is not shown to help"
    return [Code(tried), f", chosen most often on the validation rows, {found}", without]


def _code(source: Source) -> list[Block]:
    label = advised(source)
    code = "" if label == NONE else _recipe_code(source, label)
    if not code:
        return []
    used = [name for name in _PLACES if f"jr.{name}(" in code]
    told: list[Piece] = ["As a link" if len(used) == 1 else "As links", " of an Optax chain"]
    for name in used:
        told += [", ", Code(name), f" {_PLACES[name]}"]
    told.append(":")
    return [Paragraph(told), Listing(f"import jaxreg as jr\n\n{code}")]


def _over(source: Source) -> Text:
    draws = source.at("fresh").find(summaries.lanes, "draw").number(form="d")
    return ["Over ", draws, f" {source.data.record.draws}, ", Code(_tried(source)), " against ", Code(NONE), ":"]


def _changes(source: Source) -> list[Text]:
    fresh, label = source.at("fresh"), _tried(source)
    told: list[Text] = []
    for name in _measured(fresh):
        before, after = (fresh.find(summaries.mean, recipe, name).number() for recipe in (NONE, label))
        words = quantity(fresh.data, name).words
        told.append([f"Test {words} ", before, " → ", after, ": ", *change(fresh, label, name), "."])
    return told


def _chosen(source: Source) -> list[Text]:
    fresh = source.at("fresh")
    if "validation_loss" not in fresh.data:
        return []
    label = fresh.find(summaries.recommended).data
    picked, draws = fresh.find(summaries.times_chosen, label), fresh.find(summaries.lanes, "draw")
    loss = quantity(fresh.data, LOSS).words
    told: list[Piece] = [f"The {loss} of each draw's validation rows chose it: ", Code(label)]
    told += [" in ", picked.number(form="d"), " of ", draws.number(form="d"), " draws, no other more often. "]
    told += ["Choosing so anew in each draw and reading its test rows once: "]
    for place, name in enumerate(_measured(fresh)):
        part = name.removeprefix("test_")
        told += ["; " if place else "", f"test {quantity(fresh.data, name).words} "]
        gain = fresh.find(summaries.choice_gain, part)
        told += interval(gain, fresh.data, name)
        told += [", better in ", *_share(fresh.find(summaries.choice_outperforms, part), gain)]
    return [[*told, "."]]


def _edges(source: Source) -> list[Text]:
    label = advised(source)
    if label == NONE:
        return []
    arm = _arm(source, label)
    tried = sorted(strength for strength in arm.numbers if 0 < strength < math.inf)
    mine = _number(arm, label)
    if len(tried) < 2 or mine not in (tried[0], tried[-1]):
        return []
    end = "smallest" if mine == tried[0] else "largest"
    return [[Code(label), f" has the {end} {arm.quantity} tried: one beyond it may do better yet."]]


def _few(source: Source) -> list[Text]:
    draws = source.at("fresh").find(summaries.lanes, "draw")
    needed = Source("stats.draws_for_probability()", stats.draws_for_probability())
    if draws.data >= needed.data:
        return []
    few, enough = draws.number(form="d"), needed.number(form="d")
    return [[few, " draws are few: it takes ", enough, " to see that a recipe wins in three of four."]]


def _other(best: Source, other: Source) -> list[Text]:
    label, mine = advised(other), advised(best)
    fresh, ours = other.at("fresh"), best.at("fresh")
    told: list[Piece] = ["Of the ", Quoted(other.data.record.title), ": "]
    if label == NONE:
        return [[*told, "no recipe is recommended."]]
    told += [Code(label), " does best: "]
    for place, name in enumerate(_measured(fresh)):
        change = fresh.find(summaries.gain, label, name)
        told += [
            "; " if place else "",
            f"test {quantity(fresh.data, name).words} ",
            *interval(change, fresh.data, name),
        ]
    if summaries.same_draws(ours.data, fresh.data):
        head, share = (ours.find(f, mine, fresh, label, LOSS) for f in (summaries.against, summaries.beats))
        told += [
            ". On the same draws ",
            Code(mine),
            " has ",
            *interval(head, fresh.data, LOSS),
            f" of {quantity(fresh.data, LOSS).words} against it and is",
        ]
        told += [" better in ", *_share(share, head)]
    return [[*told, "."]]


def _held(source: Source) -> list[Text]:
    """State for each claim of the study whether the draws bear it out, and by which difference."""
    fresh = source.at("fresh")
    told: list[Text] = []
    for claim in source.data.record.claims:
        change = fresh.find(summaries.gain, claim.recipe, claim.variable, claim.against)
        finding = summaries.finding(source.data, claim)
        said: Text = [f"{finding.capitalize()}: ", Quoted(claim.words), ". ", Code(claim.recipe), " against "]
        said = [*said, Code(claim.against), ", ", *counted(source, claim), ": "]
        told.append([*said, *interval(change, fresh.data, claim.variable), "."])
    return told


def _claims(source: Source) -> list[Text]:
    """Compare the published gain of each highlight with that over the draws."""
    study, fresh, record = source.at("published"), source.at("fresh"), source.data.record
    if study.data is None or not comparable(source) or NONE not in record.published:
        return []
    told: list[Text] = []
    for label in [label for label in record.highlights if label in record.published]:
        ours = [study.find(summaries.mean, name, ACCURACY) for name in (label, NONE)]
        theirs = [source.find(summaries.published, name, "test") for name in (label, NONE)]
        same = all(abs(a.data - b.data) < 0.0005 for a, b in zip(ours, theirs, strict=True))
        gained, share = study.find(summaries.gain, label, ACCURACY), source.find(summaries.share_of_published, label)
        claim: list[Piece] = ["With the published data ", Code(label), " reaches ", ours[0].number()]
        claim += [" against ", ours[1].number(), ", as published" if same else ", published as "]
        claim += [] if same else [theirs[0].number(), " against ", theirs[1].number()]
        claim += [
            ": ",
            gained.number("mean", "+.2f", 100),
            " points. Over ",
            fresh.find(summaries.lanes, "draw").number(form="d"),
        ]
        claim += [f" {record.draws}: ", *change(fresh, label, ACCURACY)]
        if gained.data.mean > 0 and 0 < share.data < 1:
            claim += [". The gain is ", share.number(form=".0f", times=100), " % of the published one"]
        loss, errors = (fresh.find(summaries.reduction, label, name) for name in (LOSS, ACCURACY))
        what = quantity(fresh.data, LOSS).words.capitalize()
        beside = "" if math.isnan(errors.data) else f" gains {'more' if loss.data > errors.data else 'less'}"
        claim += [f". {what}{beside}: ", *change(fresh, label, LOSS), "; "]
        claim += [loss.number(form="z.0f", times=100), " % less"]
        claim += [", and ", errors.number(form="z.0f", times=100), " % fewer errors"] if beside else []
        told.append([*claim, "."])
    return told


def _arm(source: Source, label: str) -> ArmRecord:
    record: Record = source.data.record
    return next(arm for arm in record.arms if label in arm.labels)


def _number(arm: ArmRecord, label: str) -> float:
    return arm.numbers[list(arm.labels).index(label)]


def _recipe_code(source: Source, label: str) -> str:
    arm = _arm(source, label)
    return arm.code[list(arm.labels).index(label)]
