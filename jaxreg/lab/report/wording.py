"""Phrases of the verdict: changes, intervals and counts."""

import xarray as xr

from jaxreg.lab.report.document import Quoted, Text
from jaxreg.lab.report.provenance import Source
from jaxreg.lab.report.quantities import quantity
from jaxreg.lab.studies import summaries
from jaxreg.lab.studies.results import Claim


def change(fresh: Source, recipe: str, variable: str) -> Text:
    """Describe the change of a recipe against the baseline: the mean, its interval, and how often it is better.

    Args:
        fresh: Dataset over draws.
        recipe: Label of the recipe.
        variable: Variable, such as "test_loss" or "test_accuracy".
    """
    gain, share = (fresh.find(figure, recipe, variable) for figure in (summaries.gain, summaries.outperforms))
    words = share.data.verdict
    return [*interval(gain, fresh.data, variable), ", better in ", *_share(share, gain), f": {words}"]


def interval(result: Source, dataset: xr.Dataset, variable: str) -> Text:
    """Describe a paired difference: its mean, with its unit, and its interval."""
    what = quantity(dataset, variable)
    mean, low, high = (result.number(field, what.form, what.times) for field in ("mean", "low", "high"))
    unit = f" {what.unit}" if what.unit else ""
    return [mean, f"{unit} (", result.number("confidence", ".0f", 100), " % interval ", low, " to ", high, ")"]


def counted(source: Source, claim: Claim) -> Text:
    """Describe the variable of a claim, and the difference in it that counts."""
    what = quantity(source.data.fresh, claim.variable)
    if not claim.margin and claim.sign:
        return [Quoted(what.words)]
    least = source.find(summaries.margin, claim.words).number(form="g", times=what.times)
    unit = f" {what.unit}" if what.unit else ""
    return [Quoted(what.words), " by more than " if claim.sign else " to within ", least, unit]


def _share(share: Source, paired: Source) -> Text:
    # With a digit, for an end just above one half is not to be read as one half.
    low, high = (share.number(field, ".1f", 100) for field in ("low", "high"))
    middle = share.number("probability", ".0f", 100)
    return [middle, f" % of the {paired.data.unit}s (", low, " to ", high, " %)"]
