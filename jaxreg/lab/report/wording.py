"""Phrases of the verdict: changes in plain words, intervals and counts."""

import math

import xarray as xr

from jaxreg.lab.report.document import Piece, Quoted, Text
from jaxreg.lab.report.provenance import Source, shown
from jaxreg.lab.report.quantities import quantity
from jaxreg.lab.studies import summaries
from jaxreg.lab.studies.results import NONE, Claim

_PARTS = (
    (0.22, 0.28, "a quarter"),
    (0.31, 0.36, "a third"),
    (0.64, 0.69, "two thirds"),
    (0.72, 0.78, "three quarters"),
)
_HALVES = ((0.43, 0.47, "nearly halves"), (0.47, 0.53, "halves"), (0.53, 0.64, "more than halves"))
"""Smallest and largest relative reduction for which each phrase is used."""
_LITTLE = 0.005
_SMALLEST = 1e-6  # smallest difference that is shown in the usual format


def size(fresh: Source, recipe: str, variable: str) -> Text:
    """Describe how much a recipe changes a metric, such as "halves the test loss".

    Args:
        fresh: Dataset over draws.
        recipe: Label of the recipe.
        variable: Variable, such as "test_loss" or "test_accuracy".
    """
    saved = fresh.find(summaries.reduction, recipe, variable)
    what = _named(fresh, variable)
    # A relative change of a loss that can be negative has no meaning.
    positive = variable.endswith("accuracy") or fresh.find(summaries.mean, NONE, variable).data > 0
    relative = variable.endswith("accuracy") or summaries.lower_is_better(variable)
    if not (math.isfinite(saved.data) and positive and relative):
        unit = quantity(fresh.data, variable)
        change = fresh.find(summaries.gain, recipe, variable).number("mean", unit.form, unit.times)
        return [f"changes {what} by ", change, f" {unit.unit}" if unit.unit else ""]
    if variable.endswith("accuracy"):
        return fewer_errors(saved, fresh.find(summaries.one_in, recipe, variable))
    return less_loss(saved, what)


def less_loss(saved: Source, what: str) -> Text:
    """Describe the relative reduction of a loss, such as "halves the test loss".

    Args:
        saved: Relative reduction; negative for an increase.
        what: Name of the loss with its article, such as "the test loss".
    """
    if abs(saved.data) < _LITTLE:
        return [f"hardly changes {what}"]
    for least, most, verb in _HALVES:
        if least <= saved.data < most:
            return [f"{verb} {what}"]
    part = next((words for least, most, words in _PARTS if least <= saved.data <= most), None)
    verb = "lowers" if saved.data > 0 else "raises"
    return [f"{verb} {what} by ", *([part] if part else [_percent(saved), " %"])]


def fewer_errors(saved: Source, one_in: Source) -> Text:
    """Describe the relative reduction of errors, such as "avoids one error in 15".

    Args:
        saved: Relative reduction; negative for an increase.
        one_in: The number n in "one error in n": errors of the baseline per error that is avoided or added.
    """
    if abs(saved.data) < _LITTLE:
        return ["hardly changes the number of errors"]
    for least, most, verb in _HALVES:
        if least <= saved.data < most:
            return [f"{verb} the errors"]
    if abs(saved.data) < _HALVES[0][0]:
        ending = "" if saved.data > 0 else " more"
        return ["avoids " if saved.data > 0 else "makes ", "one error in ", one_in.number(form=".0f"), ending]
    return ["makes ", _percent(saved), f" % {'fewer' if saved.data > 0 else 'more'} errors"]


def change(fresh: Source, recipe: str, variable: str) -> Text:
    """Describe how a recipe differs from the baseline: mean change, interval, and how often it is better.

    Args:
        fresh: Dataset over draws.
        recipe: Label of the recipe.
        variable: Variable, such as "test_loss" or "test_accuracy".
    """
    gain, share = (fresh.find(figure, recipe, variable) for figure in (summaries.gain, summaries.outperforms))
    words = share.data.verdict
    return [*interval(gain, fresh.data, variable), ", better in ", *share_of_units(share, gain), f": {words}"]


def interval(result: Source, dataset: xr.Dataset, variable: str) -> Text:
    """Describe a paired difference by its mean, unit and confidence interval."""
    what, form = quantity(dataset, variable), _form(result, dataset, variable)
    mean, low, high = (result.number(field, form, what.times) for field in ("mean", "low", "high"))
    unit = f" {what.unit}" if what.unit else ""
    return [mean, f"{unit} (", result.number("confidence", ".0f", 100), " % interval ", low, " to ", high, ")"]


def difference(result: Source, dataset: xr.Dataset, variable: str, *, unit: bool = False) -> Text:
    """Format a paired difference for a table cell: the mean, then the ends of its interval in brackets."""
    what, form = quantity(dataset, variable), _form(result, dataset, variable)
    mean, low, high = (result.number(field, form, what.times) for field in ("mean", "low", "high"))
    return [mean, f" {what.unit}" if unit and what.unit else "", " (", low, " to ", high, ")"]


def counted(source: Source, claim: Claim) -> Text:
    """Describe the variable and the margin of a claim, such as "accuracy by more than 0.5 points"."""
    what = quantity(source.data.fresh, claim.variable)
    if not claim.margin and claim.sign:
        return [Quoted(what.words)]
    if not claim.margin:
        return [Quoted(what.words), ", equal"]
    least = source.find(summaries.margin, claim.words).number(form="g", times=what.times)
    unit = f" {what.unit}" if what.unit else ""
    return [Quoted(what.words), " by more than " if claim.sign else ", equal to within ", least, unit]


def share_of_units(share: Source, paired: Source) -> Text:
    """Describe how often a recipe is better: the percentage of draws (or of seeds), and its confidence interval."""
    # One decimal, so that an end just above one half is not shown as one half.
    low, high = (share.number(field, ".1f", 100) for field in ("low", "high"))
    middle = share.number("probability", ".0f", 100)
    return [middle, f" % of the {paired.data.unit}s (", low, " to ", high, " %)"]


def _form(result: Source, dataset: xr.Dataset, variable: str) -> str:
    """Return the format of a difference, with enough digits to show that its interval excludes 0."""
    what, paired = quantity(dataset, variable), result.data
    nearest = what.times * min(abs(paired.low), abs(paired.high))
    known = what.form.endswith("f") and paired.low * paired.high > 0  # NaN is not
    if not known or nearest < _SMALLEST or shown(nearest, what.form) != shown(0.0, what.form):
        return what.form
    return f"+.{math.ceil(-math.log10(nearest))}f"


def _named(fresh: Source, variable: str) -> str:
    return "the test loss" if variable.endswith("_loss") else f"the test {quantity(fresh.data, variable).words}"


def _percent(saved: Source) -> Piece:
    return Source(f"abs({saved.name})", abs(saved.data)).number(form=".0f", times=100)
