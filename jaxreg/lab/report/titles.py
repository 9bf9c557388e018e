"""Titles of plots. Each title states the main message of its plot, derived from the plotted numbers."""

import math

import xarray as xr

from jaxreg.lab import stats
from jaxreg.lab.report.quantities import quantity
from jaxreg.lab.studies import summaries
from jaxreg.lab.studies.results import NONE

_ONE_DRAW = " (one draw of the data)"
_RISE = 1.05  # times its smallest value; a loss above that is said to rise again


def learned(dataset: xr.Dataset, recipe: str, name: str) -> str:
    """Return a plot title that compares the test curves of the baseline and a recipe.

    Args:
        dataset: Runs of the baseline and of the recipe.
        recipe: Recipe to compare with the baseline, or the baseline itself.
        name: Metric, such as "loss" or "accuracy".
    """
    words = f"test {quantity(dataset, f'test_{name}').words}"
    one = _ONE_DRAW if dataset.sizes.get("draw") == 1 else ""
    if name == "loss":
        rises = {label: _rises(dataset, label) for label in dict.fromkeys((NONE, recipe))}
        if rises[NONE] and not rises[recipe]:
            return f"Without a regulariser the {words} rises again; with {recipe} it does not{one}"
        if rises[NONE] and rises[recipe]:
            return (
                f"The {words} rises again" + ("" if recipe == NONE else f", {_compared(dataset, recipe, name)}") + one
            )
    if recipe == NONE:
        return f"{_capital(words)} over the epochs"
    return f"{_capital(words)} ends {_compared(dataset, recipe, name)}{one}"


def best_at(dataset: xr.Dataset, name: str) -> str:
    """Return a plot title that names the recipe with the best mean on test rows.

    Args:
        dataset: Runs of recipes of one method.
        name: Metric, such as "loss" or "accuracy".
    """
    variable = f"test_{name}"
    means = {str(label): summaries.mean(dataset, label, variable) for label in dataset["recipe"].values}
    known = {label: mean for label, mean in means.items() if math.isfinite(mean)}
    words = f"Test {quantity(dataset, variable).words}"
    if not known:
        return f"{words} of every strength"
    best = (
        min(known, key=known.__getitem__) if summaries.lower_is_better(variable) else max(known, key=known.__getitem__)
    )
    return f"{words} is best with {best}{_ONE_DRAW if dataset.sizes.get('draw') == 1 else ''}"


def often(gain: stats.Paired, recipe: str, words: str) -> str:
    """Return a plot title that says how often a recipe is better than the baseline: in every draw, most, or some.

    Args:
        gain: Comparison of the recipe with the baseline.
        recipe: Label of the recipe.
        words: Name of the metric.
    """
    if gain.wins == gain.n:
        how = f"better in every {gain.unit}"
    elif gain.losses == gain.n:
        how = f"worse in every {gain.unit}"
    else:
        most = max(gain.wins, gain.losses) / gain.n
        part = "nearly all" if most > 0.9 else "most" if most > 0.6 else "some"
        how = f"{'worse' if gain.losses > gain.wins else 'better'} in {part} {gain.unit}s"
    return f"Test {words}: {recipe} is {how}"


def heavier(dataset: xr.Dataset, recipe: str) -> str:
    """Return a plot title that says whether a recipe makes the norm of the first kernel smaller or larger.

    Args:
        dataset: Runs with weight norms.
        recipe: Recipe to compare with the baseline.
    """
    kernel = summaries.first_kernel(dataset)
    ours, theirs = (summaries.mean(dataset, label, f"norm/{kernel}") for label in (recipe, NONE))
    if recipe == NONE or not math.isfinite(ours) or not math.isfinite(theirs):
        return "Weight norms over the epochs"
    if abs(ours - theirs) < 0.02 * theirs:
        return f"{recipe} hardly changes the norm of {kernel}"
    return f"{recipe} makes the norm of {kernel} {'smaller' if ours < theirs else 'larger'}"


def _rises(dataset: xr.Dataset, label: str) -> bool:
    curve = stats.mask_diverged(dataset.sel(recipe=label))["test_loss"].mean([*{"seed", "draw"} & set(dataset.dims)])
    return bool(curve[-1] > _RISE * curve.min())


def _compared(dataset: xr.Dataset, recipe: str, name: str) -> str:
    gain = summaries.gain(dataset, recipe, f"test_{name}")
    if not gain.low <= gain.high or gain.low <= 0 <= gain.high:
        return f"about the same with {recipe} as without"
    return f"{'lower' if gain.high < 0 else 'higher'} with {recipe} than without"


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]
