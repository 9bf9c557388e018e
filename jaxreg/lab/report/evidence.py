"""Evidence for a recipe: its change relative to the baseline, and in how many draws it is better."""

import math
from collections.abc import Sequence

from jaxreg.lab.report.document import Block, Code, Paragraph, Piece, Table, Text
from jaxreg.lab.report.provenance import Source
from jaxreg.lab.report.quantities import measured, quantity
from jaxreg.lab.report.wording import difference, size
from jaxreg.lab.stats.directions import off
from jaxreg.lab.stats.lanes import OVER, unit
from jaxreg.lab.studies import summaries
from jaxreg.lab.studies.results import AXIS, NONE

LOSS = "test_loss"


def measures(fresh: Source) -> list[str]:
    """Return the names of all metrics on test rows, the loss first.

    Args:
        fresh: Dataset with recipes and several draws.
    """
    return [f"test_{name}" for name in reversed(measured(fresh.data))]


def chosen(fresh: Source) -> str:
    """Return the recipe that most often has the lowest validation loss. Without validation rows, return the baseline.

    Args:
        fresh: Dataset with recipes and several draws.
    """
    return str(fresh.find(summaries.recommended).data) if validated(fresh) else NONE


def moved(fresh: Source) -> list[int]:
    """Return the direction of the chosen recipe's effect on each metric: 1 is better, −1 worse, 0 not significant.

    If the baseline is chosen, the list is empty.

    Args:
        fresh: Dataset with recipes and several draws.
    """
    label = chosen(fresh)
    return [] if label == NONE else [_direction(fresh, label, name) for name in measures(fresh)]


def improvements(fresh: Source, recipe: str) -> Text:
    """Describe the significant effects of a recipe, such as "halves the test loss and avoids one error in 15".

    Args:
        fresh: Dataset with recipes and several draws.
        recipe: Label of the recipe.
    """
    told: list[Piece] = []
    for name in measures(fresh):
        if _direction(fresh, recipe, name):
            told += [" and " if told else "", *size(fresh, recipe, name)]
    return told


def evidence(fresh: Source, recipe: str, draws: str, *, new: bool = False) -> list[Block]:
    """Return a sentence on how often a recipe is better, and a table that compares it with the baseline.

    Args:
        fresh: Dataset with recipes and several draws.
        recipe: Label of the recipe.
        draws: Words for the draws in the sentence, such as "draws".
        new: Whether each draw is known to be a new sample of the data.
    """
    gains = [fresh.find(summaries.gain, recipe, name) for name in measures(fresh)]
    units = f" {draws}" if gains[0].data.unit == "draw" else " seeds"
    told: list[Piece] = ["How sure: of ", gains[0].number("n", "d"), f"{units},"]
    rows: list[Sequence[Text]] = []
    for name, gain in zip(measures(fresh), gains, strict=True):
        what, direction = quantity(fresh.data, name), _direction(fresh, recipe, name)
        lower = summaries.lower_is_better(name) == (direction >= 0)
        words = "loss" if name == LOSS else what.words
        told += [" and " if rows else " ", f"the test {words} is {'lower' if lower else 'higher'} in "]
        told += [gain.number("losses" if direction < 0 else "wins", "d")]
        told += [" (equal in ", gain.number("ties", "d"), ")"] if gain.data.ties else []
        told += [] if direction else [", which may be chance"]
        means = [fresh.find(summaries.mean, label, name) for label in (NONE, recipe)]
        cells = [[mean.number(form=what.level, times=what.times)] for mean in means]
        rows.append([[what.label], *cells, difference(gain, fresh.data, name, unit=True)])
    over, confidence = gains[0].data.unit, gains[0].number("confidence", ".0f", 100)
    each = ", each a new sample of the data," if over == "draw" and new else ""
    caption: Text = [f"Means over the {over}s{each} and changes with ", confidence, " % intervals"]
    return [Paragraph([*told, "."]), Table(caption, ["test rows", Code(NONE), Code(recipe), "change"], rows)]


def advised_setting(sweep: Source) -> str:
    """Return the recommended setting of a sweep: the first of `sorted_settings`.

    Args:
        sweep: Dataset that `by_recipe` returned.
    """
    return sorted_settings(sweep)[0]


def sorted_settings(sweep: Source) -> list[str]:
    """Sort the settings of a sweep by how often they are chosen on validation rows, then by the mean validation loss.

    Without validation rows, sort them by the mean test loss.

    Args:
        sweep: Dataset that `by_recipe` returned.
    """
    if not validated(sweep):
        return list(sweep.find(summaries.ranked).data)
    ranked = sweep.find(summaries.ranked, "validation_loss").data
    return sorted(ranked, key=lambda label: -times_chosen(sweep, label).data)  # a stable sort


def times_chosen(fresh: Source, recipe: str) -> Source:
    """Return the number of draws in which a recipe has the lowest validation loss.

    Args:
        fresh: Dataset with recipes and several draws.
        recipe: Label of the recipe.
    """
    tally = fresh.find(summaries.choice).data.tally
    return Source(f"times_chosen({fresh.name}, {recipe!r})", tally.get(recipe, 0))


def sweep_verdict(sweep: Source) -> list[Block]:
    """Return the verdict on a sweep: the best setting, how much it changes the loss, and how certain the change is.

    Args:
        sweep: Dataset that `by_recipe` returned.
    """
    label, what = advised_setting(sweep), quantity(sweep.data, LOSS)
    loss = sweep.find(summaries.mean, label, LOSS).number(form=what.level)
    why: list[Piece] = [", the lowest of all settings"]
    if validated(sweep):
        one = unit_of(sweep)
        picked, units = times_chosen(sweep, label), sweep.find(summaries.lanes, one)
        why = [". It was chosen most often on the validation rows, in ", picked.number(form="d"), " of "]
        why += [units.number(form="d"), f" {one}s"]
    if label == NONE or NONE not in sweep.data["recipe"].values:
        blocks: list[Block] = [Paragraph([Code(label), f" has a test {what.words} of ", loss, *why, "."], lead=True)]
    else:
        found = improvements(sweep, label) or ["is not shown to change anything"]
        lead: Text = [Code(label), " ", *found, "."]
        reason: Text = [f"Its test {what.words} is ", loss, *why, "."]
        blocks = [Paragraph(lead, lead=True), Paragraph(reason), *evidence(sweep, label, f"{unit_of(sweep)}s")]
    for axis in without_effect(sweep):
        said: Text = ["All runs that differ only in ", Code(axis), " have the same loss. Does the function use "]
        end = "intervals are too narrow" if axis == unit_of(sweep) else f"one {axis} is enough"
        blocks.append(Paragraph([*said, Code(axis), f"? If not, {end}."], note=True))
    if told := at_the_end(sweep, label):
        blocks.append(Paragraph(told, note=True))
    if not validated(sweep):
        warning = (
            "This setting was chosen on the test rows, so its result is too optimistic. Choose on validation rows."
        )
        blocks.append(Paragraph([warning], note=True))
    return blocks


def without_effect(sweep: Source) -> list[str]:
    """Return the axes of repeated runs, "draw" or "seed", along which the test loss never changes.

    Args:
        sweep: Dataset that `by_recipe` returned.
    """
    loss = sweep.data[LOSS]
    repeated = [axis for axis in OVER if loss.sizes.get(axis, 1) > 1]
    firsts = {axis: loss.isel({axis: 0}, drop=True) for axis in repeated}
    same = {axis: (loss == first) | (loss.isnull() & first.isnull()) for axis, first in firsts.items()}
    return [axis for axis in repeated if bool(same[axis].all())]


def at_the_end(sweep: Source, label: str) -> Text:
    """Return a sentence if a setting has the smallest or the largest value that was tried on a numeric axis.

    Otherwise, return an empty text.

    Args:
        sweep: Dataset that `by_recipe` returned.
        label: Label of the setting.
    """
    labels = sweep.data["recipe"].values.tolist()
    if label == NONE:
        return []
    place = labels.index(label)
    coords = {str(name): values.values for name, values in sweep.data.coords.items()}
    axes = {name.removeprefix(AXIS): values for name, values in coords.items() if name.startswith(AXIS)}
    offs = {axis: off(axis, values) for axis, values in axes.items()}
    if not axes:
        axis = str(coords["method"][place])
        axes = {axis: coords["strength"]}
        offs = {axis: float(coords["strength"][labels.index(NONE)]) if NONE in labels else None}
    found = [
        (axis, *end)
        for axis, values in axes.items()
        if (end := end_of(values.tolist(), float(values[place]), offs[axis]))
    ]
    told: list[Piece] = [Code(label), " has "] if found else []
    for at, (axis, which, _) in enumerate(found):
        told += [" and " if at else "", f"the {which} ", Code(axis)]
        told += [" above 0"] if which == "smallest" and offs[axis] == 0 else []
    if len(found) == 1:
        return [*told, f" that was tried. A {found[0][2]} one may be better."]
    return [*told, " that were tried. Values beyond them may be better."] if found else []


def end_of(numbers: Sequence[float], mine: float, off: float | None = 0.0) -> tuple[str, str] | None:
    """Return at which end of the tried strengths or limits one of them is, and the direction to try next.

    Return None if it is not at an end.

    Args:
        numbers: All strengths or limits that were tried.
        mine: The one to look at.
        off: Strength of the baseline, which does not count as an end. None if there is no baseline.

    Example:
        >>> end_of([0.0, 0.01, 0.1], 0.1), end_of([0.0, 0.01, 0.1, 1.0], 0.1)
        (('largest', 'larger'), None)
    """
    tried = sorted({number for number in numbers if math.isfinite(number) and number != off})
    if len(tried) < 2 or mine not in (tried[0], tried[-1]):
        return None
    return ("smallest", "smaller") if mine == tried[0] else ("largest", "larger")


def unit_of(sweep: Source) -> str:
    """Return the name of the independent units of a sweep, "draw" or "seed".

    Args:
        sweep: Dataset that `by_recipe` returned.
    """
    return unit(sweep.data["diverged_at"].isel(recipe=0))


def validated(sweep: Source) -> bool:
    """Return whether the settings of a sweep can be chosen on validation rows.

    Args:
        sweep: Dataset that `by_recipe` returned.
    """
    # A setting is chosen in each draw or for each seed.
    return "validation_loss" in sweep.data and bool({*OVER} & {*sweep.data.dims})


def _direction(fresh: Source, recipe: str, variable: str) -> int:
    """Return 1 if a recipe is significantly better than the baseline, −1 if significantly worse, else 0.

    Both the mean change and the share of draws in which the recipe is better must be significant.
    """
    paired, share = (fresh.find(f, recipe, variable).data for f in (summaries.gain, summaries.outperforms))
    low, high = (-paired.high, -paired.low) if summaries.lower_is_better(variable) else (paired.low, paired.high)
    if low > 0 and share.low > 0.5:
        return 1
    return -1 if high < 0 and share.high < 0.5 else 0
