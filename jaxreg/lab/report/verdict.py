"""The verdict of a report on case studies: which recipe to use, and the evidence for it, in words.

The numbers decide which sentences are written, so that no sentence claims more than its numbers show.
"""

from collections.abc import Sequence

from jaxreg.lab import stats
from jaxreg.lab.report.document import Block, Code, Listing, Paragraph, Piece, Quoted, Text
from jaxreg.lab.report.effects import Effects, alike, effects
from jaxreg.lab.report.evidence import (
    LOSS,
    chosen,
    end_of,
    evidence,
    improvements,
    measures,
    moved,
    times_chosen,
    validated,
)
from jaxreg.lab.report.provenance import Source
from jaxreg.lab.report.quantities import quantity
from jaxreg.lab.report.wording import change, difference, interval, share_of_units
from jaxreg.lab.studies import summaries
from jaxreg.lab.studies.results import NONE, ArmRecord, Record


def verdict(sources: Sequence[Source]) -> list[Block]:
    """Return the verdict on case studies: the recipe to use, its effect, the evidence for it, and example code.

    Args:
        sources: Case studies, each a `StudyResults`.
    """
    best = ranked(sources)[0]
    fresh = best.at("fresh")
    blocks: list[Block] = [Paragraph(advice(best), lead=True)]
    blocks += [Paragraph(_trial(source), note=True) for source in sources if not comparable(source)][:1]
    if (label := chosen(fresh)) != NONE and fresh.find(summaries.gain, label, LOSS).data.n:
        record = best.data.record
        blocks += [Paragraph(_why(fresh, label)), *evidence(fresh, label, record.draws, new=not record.drawn_from)]
        blocks.append(Paragraph(["Measured on this problem only: ", Quoted(best.data.record.title), "."], note=True))
    notes = [Paragraph(note, note=True) for note in (*_few(best), *_edges(best))]
    return [*blocks, *_code(best), *notes]


def forest_of(sources: Sequence[Source]) -> Effects:
    """Compute the effects for a forest plot of the best study and of all other studies with the same metrics.

    Args:
        sources: Case studies, each a `StudyResults`.
    """
    best = ranked(sources)[0]
    same = [source.at("fresh") for source in sources if alike(source.at("fresh"), best.at("fresh"))]
    label = advised(best)
    return effects(same, "" if label == NONE else label)


def ranked(sources: Sequence[Source]) -> list[Source]:
    """Sort case studies by their recommended recipes: the study with the best recipe comes first.

    Args:
        sources: Case studies, each a `StudyResults`.
    """
    return sorted(sources, key=lambda source: _beaten(source, sources))


def reasons(sources: Sequence[Source]) -> list[Text]:
    """Return sentences on how the recommended recipe was chosen, and on the recipes of the other studies.

    Args:
        sources: Case studies, each a `StudyResults`.
    """
    best, *rest = ranked(sources)
    told: list[Text] = []
    if chosen(best.at("fresh")) != NONE:
        told += [_over(best), *_changes(best)]
    told += [sentence for other in rest for sentence in _other(best, other)]
    return [*told, *_chosen(best), *(sentence for source in rest for sentence in _edges(source))]


def advised(source: Source) -> str:
    """Return the label of the recommended recipe; "none" means that no regulariser is recommended.

    The recipe chosen most often on validation rows is recommended if it significantly improves at least one metric, and
    significantly worsens none.
    """
    moves = moved(source.at("fresh"))
    return chosen(source.at("fresh")) if 1 in moves and -1 not in moves else NONE


def comparable(source: Source) -> bool:
    """Return whether a study was trained for all its epochs. If not, do not compare it with published results."""
    return bool(summaries.last_epoch(source.data.fresh) == source.data.record.epochs)


def _beaten(source: Source, sources: Sequence[Source]) -> float:
    """Return how often the recommended recipes of other studies beat the one of this study, as a sum of probabilities.

    They are compared by validation loss, and only on the same draws. A study without a recommended recipe gets the
    number of studies, so that it comes last.
    """
    mine = source.at("fresh").data
    if advised(source) == NONE:
        return float(len(sources))
    others = [(other.at("fresh").data, advised(other)) for other in sources if other is not source]
    rivals = [(data, label) for data, label in others if label != NONE and summaries.same_draws(mine, data)]
    return sum(summaries.beats(*rival, mine, advised(source), "validation_loss").probability for rival in rivals)


def _trial(source: Source) -> Text:
    ran = source.at("fresh").find(summaries.last_epoch).number(form="d")
    full = source.at("record.epochs").number(form="d")
    told: list[Piece] = ["A trial run: ", ran, " epochs instead of ", full, ". "]
    if source.data.record.published:
        told.append("Its numbers are not comparable with the published ones. ")
    return [*told, "Its advice holds only for such a short training."]


def advice(source: Source) -> Text:
    """Return a sentence with the recipe to use and the size of its effect, or on why no recipe is recommended.

    Args:
        source: Case study, as `StudyResults`.
    """
    label = advised(source)
    if not validated(source.at("fresh")):
        return ["No recipe can be recommended, because there are no validation rows to choose one on."]
    if label == NONE:
        return _unadvised(source)
    arm = _arm(source, label)
    number = f"{_number(arm, label):g}"
    told: list[Piece] = ["Use ", Code(label)]
    if label == f"{arm.method}({number})":
        told = ["Use ", Code(arm.method), f" with {arm.quantity} ", Code(number)]
    return [*told, ": it ", *improvements(source.at("fresh"), label), "."]


def _unadvised(source: Source) -> Text:
    """Return a sentence on why no recipe is recommended."""
    fresh = source.at("fresh")
    tried = chosen(fresh)
    without = "." if _few(source) else ": train without a regulariser."
    if tried == NONE:
        return ["On the validation rows no recipe is chosen more often than ", Code(NONE), without]
    if not fresh.find(summaries.gain, tried, LOSS).data.n:
        apart = " is chosen most often on the validation rows, but there is no draw in which both it and "
        return [Code(tried), apart, Code(NONE), " trained without diverging."]
    found = "improves one metric and worsens another" if 1 in moved(fresh) else "is not shown to help"
    return [Code(tried), ", chosen most often on the validation rows, ", found, without]


def _why(fresh: Source, label: str) -> Text:
    """Return a sentence on how often a recipe was chosen on validation rows, and which recipe came second."""
    tally = {name: times_chosen(fresh, name) for name in fresh.data["recipe"].values.tolist()}
    draws = fresh.find(summaries.lanes, "draw").number(form="d")
    told: list[Piece] = ["Why this one: ", Code(label), " has the lowest loss on the validation rows in "]
    told += [tally.pop(label).number(form="d"), " of ", draws, " draws"]
    second = max(tally, key=lambda name: tally[name].data)
    if not tally[second].data:
        return [*told, "."]
    told += [", more often than any other recipe. Next comes ", Code(second), " with "]
    told += [tally[second].number(form="d"), ". "]
    apart: list[Piece] = []
    for name in measures(fresh):
        change = fresh.find(summaries.gain, second, name, label)
        if change.data.low > 0 or change.data.high < 0:
            what = quantity(fresh.data, name)
            apart += [
                " and " if apart else "",
                f"test {what.words} by ",
                *difference(change, fresh.data, name, unit=True),
            ]
    if not apart:
        return [*told, "The two are not shown to differ."]
    return [*told, "Using ", Code(second), " instead of ", Code(label), " changes the ", *apart, "."]


def _code(source: Source) -> list[Block]:
    label = advised(source)
    code = "" if label == NONE else _recipe_code(source, label)
    if not code:
        return []
    if "jr.decay(" in code:
        told: list[Piece] = ["In an Optax chain, ", Code("decay"), " goes between the optimiser's direction and "]
        told += ["the learning rate. The links are, in this order:"]
        return [Paragraph(told), Listing(f"import jaxreg as jr\n\n{code}")]
    links = code.split(",\n")
    before = [link for link in links if link.startswith("jr.penalize(")]
    after = [link for link in links if link not in before]
    chain = "".join(f"    {link},\n" for link in (*before, "optimizer", *after))
    written = f"import jaxreg as jr\nimport optax\n\noptax.chain(\n{chain})"
    return [Paragraph(["In your training, around your own Optax ", Code("optimizer"), ":"]), Listing(written)]


def _over(source: Source) -> Text:
    fresh, draws = source.at("fresh"), source.data.record.draws
    count = fresh.find(summaries.lanes, "draw").number(form="d")
    return ["On ", count, f" {draws}, ", Code(chosen(fresh)), " compared with ", Code(NONE), ":"]


def _changes(source: Source) -> list[Text]:
    fresh = source.at("fresh")
    label = chosen(fresh)
    told: list[Text] = []
    for name in measures(fresh):
        what = quantity(fresh.data, name)
        means = [fresh.find(summaries.mean, recipe, name) for recipe in (NONE, label)]
        before, after = (mean.number(form=what.level, times=what.times) for mean in means)
        told.append([f"Test {what.label} ", before, " → ", after, ": ", *change(fresh, label, name), "."])
    return told


def _chosen(source: Source) -> list[Text]:
    fresh = source.at("fresh")
    if not validated(fresh):
        return []
    label = fresh.find(summaries.recommended).data
    picked, draws = times_chosen(fresh, label), fresh.find(summaries.lanes, "draw")
    loss = quantity(fresh.data, LOSS).words
    told: list[Piece] = [f"In each draw, the recipe with the lowest {loss} on the validation rows is chosen. "]
    told += [Code(label), " is chosen in ", picked.number(form="d"), " of ", draws.number(form="d")]
    told += [" draws, and no other recipe in more. Mean change by the recipes chosen in this way: "]
    for place, name in enumerate(measures(fresh)):
        part = name.removeprefix("test_")
        told += ["; " if place else "", f"test {quantity(fresh.data, name).words} "]
        gain = fresh.find(summaries.choice_gain, part)
        told += interval(gain, fresh.data, name)
        told += [", better in ", *share_of_units(fresh.find(summaries.choice_outperforms, part), gain)]
    return [[*told, "."]]


def _edges(source: Source) -> list[Text]:
    label = advised(source)
    if label == NONE:
        return []
    arm = _arm(source, label)
    if not (found := end_of(arm.numbers, _number(arm, label))):
        return []
    end, beyond = found
    return [[Code(label), f" has the {end} {arm.quantity} that was tried. A {beyond} one may be better."]]


def _few(source: Source) -> list[Text]:
    draws = source.at("fresh").find(summaries.lanes, "draw")
    needed = Source("stats.draws_for_probability()", stats.draws_for_probability())
    if draws.data >= needed.data:
        return []
    few, enough = draws.number(form="d"), needed.number(form="d")
    return [[few, " draws are few: it takes ", enough, " draws to show that a recipe wins in three of four draws."]]


def _other(best: Source, other: Source) -> list[Text]:
    label, mine = advised(other), advised(best)
    fresh, ours = other.at("fresh"), best.at("fresh")
    told: list[Piece] = ["In the study “", Quoted(other.data.record.title), "”, "]
    if label == NONE:
        return [[*told, "no recipe is recommended."]]
    told += [Code(label), " is recommended. Its mean change: "]
    for place, name in enumerate(measures(fresh)):
        change = fresh.find(summaries.gain, label, name)
        told += [
            "; " if place else "",
            f"test {quantity(fresh.data, name).words} ",
            *interval(change, fresh.data, name),
        ]
    if summaries.same_draws(ours.data, fresh.data):
        head, share = (ours.find(f, mine, fresh, label, LOSS) for f in (summaries.against, summaries.beats))
        told += [
            ". On the same draws, the test ",
            quantity(fresh.data, LOSS).words,
            " of ",
            Code(mine),
            " minus that of ",
            Code(label),
            " is ",
            *interval(head, fresh.data, LOSS),
        ]
        told += [". ", Code(mine), " is better in ", *share_of_units(share, head)]
    return [[*told, "."]]


def _arm(source: Source, label: str) -> ArmRecord:
    record: Record = source.data.record
    return next(arm for arm in record.arms if label in arm.labels)


def _number(arm: ArmRecord, label: str) -> float:
    return arm.numbers[list(arm.labels).index(label)]


def _recipe_code(source: Source, label: str) -> str:
    arm = _arm(source, label)
    return arm.code[list(arm.labels).index(label)]
