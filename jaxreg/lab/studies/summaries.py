"""Figures of a report, each one call on a dataset read back from disk.

A report shows no other numbers than these, attributes of what is stored, and counts, and quotes the call of each.
Datasets have the dimension `recipe`, as those of `open_study` and `open_sweep` do. Figures are of the last epoch, and
leave diverged runs out.
"""

from collections.abc import Hashable
from enum import StrEnum

import numpy as np
import xarray as xr

from jaxreg.lab import stats
from jaxreg.lab.studies.results import NONE, Claim, StudyResults

__all__ = [
    "Finding",
    "against",
    "beats",
    "choice",
    "choice_gain",
    "choice_outperforms",
    "compared",
    "final",
    "finding",
    "first_kernel",
    "gain",
    "high",
    "lanes",
    "last_epoch",
    "lost",
    "low",
    "lower_is_better",
    "margin",
    "mean",
    "one_in",
    "outperforms",
    "published",
    "published_gain",
    "ranked",
    "recommended",
    "reduction",
    "same_draws",
    "sd",
    "share_of_published",
    "significant",
    "times_chosen",
]

_RECIPE = ("recipe", "method", "strength")


class Finding(StrEnum):
    """Outcome of a claim on the draws."""

    HOLDS = "holds"
    OPEN = "not shown"
    CONTRADICTED = "contradicted"


def final(dataset: xr.Dataset, recipe: Hashable, variable: str) -> xr.DataArray:
    """Return one number per run of one recipe at the last epoch, NaN for a run that diverged.

    Args:
        dataset: Sweep with recipes.
        recipe: Label of the recipe.
        variable: Name of the variable, such as `"test_accuracy"`.

    Raises:
        ValueError: If there is no such recipe or variable.
    """
    for what, name, names in (("recipe", recipe, dataset["recipe"].values), ("variable", variable, dataset)):
        if name not in names:
            raise ValueError(f"no {what} {name!r}; there are {', '.join(map(str, names))}")
    return _last(dataset.sel(recipe=recipe), variable).drop_vars(_RECIPE, errors="ignore")


def mean(dataset: xr.Dataset, recipe: Hashable, variable: str) -> float:
    """Return the mean over the runs of a recipe that did not diverge."""
    return float(final(dataset, recipe, variable).astype(np.float64).mean())


def ranked(dataset: xr.Dataset, variable: str = "test_loss") -> list[str]:
    """Return all recipes, the lowest mean first and those whose runs all diverged last."""
    means = np.array([mean(dataset, recipe, variable) for recipe in dataset["recipe"].values])
    return [str(recipe) for recipe in dataset["recipe"].values[np.argsort(means, kind="stable")]]


def sd(dataset: xr.Dataset, recipe: Hashable, variable: str) -> float:
    """Return the standard deviation (n − 1) over the runs of a recipe that did not diverge; NaN for fewer than two."""
    lanes = final(dataset, recipe, variable).astype(np.float64)
    return float(lanes.std(ddof=1)) if int(lanes.notnull().sum()) > 1 else float("nan")


def low(dataset: xr.Dataset, recipe: Hashable, variable: str) -> float:
    """Return the 10th percentile over the runs of a recipe that did not diverge."""
    return _quantile(dataset, recipe, variable, 0.1)


def high(dataset: xr.Dataset, recipe: Hashable, variable: str) -> float:
    """Return the 90th percentile over the runs of a recipe that did not diverge."""
    return _quantile(dataset, recipe, variable, 0.9)


def lower_is_better(variable: str) -> bool:
    """Return whether less of a variable is better, as it is for all but accuracies."""
    return not variable.endswith("accuracy")


def gain(dataset: xr.Dataset, recipe: Hashable, variable: str, baseline: Hashable = NONE) -> stats.Paired:
    """Compare a recipe with the baseline, paired on the same draws and seeds."""
    return against(dataset, recipe, dataset, baseline, variable)


def outperforms(dataset: xr.Dataset, recipe: Hashable, variable: str, baseline: Hashable = NONE) -> stats.Outperforming:
    """Estimate how often a recipe beats the baseline on a draw."""
    return beats(dataset, recipe, dataset, baseline, variable)


def lanes(dataset: xr.Dataset, dim: str) -> int:
    """Return the number of seeds, draws or other entries of a dimension."""
    return int(dataset.sizes[dim])


def last_epoch(dataset: xr.Dataset) -> int:
    """Return the number of epochs of each run."""
    return int(dataset["epoch"][-1])


def lost(dataset: xr.Dataset) -> int:
    """Return the number of runs that diverged."""
    return len(stats.diverged(dataset))


def choice(dataset: xr.Dataset, variable: str = "loss") -> stats.NestedChoice:
    """Choose a recipe in each draw by the loss on its validation rows, and read its test rows once.

    Args:
        dataset: Draws with validation rows.
        variable: Metric to read on the test rows, such as "loss" or "accuracy".
    """
    validation, test = (_last(dataset, name) for name in ("validation_loss", f"test_{variable}"))
    if lower_is_better(f"test_{variable}"):
        return stats.nested_choice(validation, test, lower_is_better=True)
    return stats.nested_choice(-validation, test)


def recommended(dataset: xr.Dataset) -> str:
    """Return the recipe that is chosen in most draws.

    The mean over the draws would follow the few in which a recipe is far off, whatever it costs in all the others.

    Args:
        dataset: Draws with validation rows.
    """
    return str(next(iter(choice(dataset).tally)))


def choice_gain(dataset: xr.Dataset, variable: str, baseline: Hashable = NONE) -> stats.Paired:
    """Compare the test rows of what is chosen in each draw on its validation rows with those of the baseline."""
    name = f"test_{variable}"
    sides = choice(dataset, variable).test, final(dataset, baseline, name)
    return stats.paired(*sides, lower_is_better=lower_is_better(name), drop_diverged=True)


def choice_outperforms(dataset: xr.Dataset, variable: str, baseline: Hashable = NONE) -> stats.Outperforming:
    """Estimate how often choosing in each draw on its validation rows beats the baseline."""
    name = f"test_{variable}"
    sides = choice(dataset, variable).test, final(dataset, baseline, name)
    return stats.outperforms(*sides, lower_is_better=lower_is_better(name), drop_diverged=True)


def times_chosen(dataset: xr.Dataset, recipe: str) -> int:
    """Return the number of draws in which a recipe is the one chosen on the validation rows."""
    return choice(dataset).tally.get(recipe, 0)


def published(study: StudyResults, recipe: str, part: str) -> float:
    """Return the published accuracy of a recipe on the training or the test rows; NaN if none was published."""
    train, test = study.record.published.get(recipe, (float("nan"), float("nan")))
    return {"train": train, "test": test}[part]


def published_gain(study: StudyResults, recipe: str) -> float:
    """Return the published test accuracy of a recipe minus that of the baseline; NaN if one was not published."""
    return published(study, recipe, "test") - published(study, NONE, "test")


def share_of_published(study: StudyResults, recipe: str) -> float:
    """Return the gain in accuracy over the draws as a share of that on the published data; NaN without such a gain."""
    if study.published is None or not (theirs := gain(study.published, recipe, "test_accuracy").mean):
        return float("nan")
    return gain(study.fresh, recipe, "test_accuracy").mean / theirs


def finding(study: StudyResults, claim: Claim) -> Finding:
    """Judge a claim by the interval of the paired difference over the draws.

    A claim of more or less holds if the whole interval lies beyond the margin, a claim of the same if it lies within.
    """
    change = gain(study.fresh, claim.recipe, claim.variable, claim.against)
    if not change.low <= change.high:  # one draw has no interval
        return Finding.OPEN
    if claim.sign == 0:
        apart = change.low > claim.margin or change.high < -claim.margin
        within = -claim.margin <= change.low and change.high <= claim.margin
        return Finding.HOLDS if within else Finding.CONTRADICTED if apart else Finding.OPEN
    low, high = (change.low, change.high) if claim.sign > 0 else (-change.high, -change.low)
    return Finding.HOLDS if low > claim.margin else Finding.CONTRADICTED if high < claim.margin else Finding.OPEN


def margin(study: StudyResults, words: str) -> float:
    """Return the largest difference that does not count in a claim, by its words."""
    return next(claim.margin for claim in study.record.claims if claim.words == words)


def reduction(dataset: xr.Dataset, recipe: Hashable, variable: str, baseline: Hashable = NONE) -> float:
    """Return the share of the baseline's mean loss, or errors, that a recipe saves; NaN if the baseline has none."""
    ends = [mean(dataset, name, variable) for name in (recipe, baseline)]
    after, before = ends if lower_is_better(variable) else [1 - end for end in ends]
    return 1 - after / before if before else float("nan")


def one_in(dataset: xr.Dataset, recipe: Hashable, variable: str, baseline: Hashable = NONE) -> float:
    """Return n if a recipe saves, or adds, one n-th of the baseline's mean loss or errors; infinite for no change."""
    share = abs(reduction(dataset, recipe, variable, baseline))
    return 1 / share if share else float("inf")


def against(
    dataset: xr.Dataset, recipe: Hashable, other: xr.Dataset, other_recipe: Hashable, variable: str
) -> stats.Paired:
    """Compare a recipe of one study with a recipe of another one on the same draws and seeds."""
    sides = final(dataset, recipe, variable), final(other, other_recipe, variable)
    return stats.paired(*sides, lower_is_better=lower_is_better(variable), drop_diverged=True)


def beats(
    dataset: xr.Dataset, recipe: Hashable, other: xr.Dataset, other_recipe: Hashable, variable: str
) -> stats.Outperforming:
    """Estimate how often a recipe of one study beats a recipe of another one on the same draws and seeds."""
    sides = final(dataset, recipe, variable), final(other, other_recipe, variable)
    return stats.outperforms(*sides, lower_is_better=lower_is_better(variable), drop_diverged=True)


def same_draws(dataset: xr.Dataset, other: xr.Dataset) -> bool:
    """Return whether two sweeps share draws and seeds: their baselines then start alike."""
    sides = (each["test_loss"].sel(recipe=NONE).isel(epoch=0).drop_vars(_RECIPE) for each in (dataset, other))
    try:
        one, two = xr.align(*sides, join="exact")
    except ValueError:
        return False
    return bool(np.allclose(one.transpose(*two.dims), two, rtol=1e-3, equal_nan=True))


def compared(dataset: xr.Dataset) -> int:
    """Return the number of recipes beside the baseline."""
    return int((dataset["recipe"] != NONE).sum())


def significant(dataset: xr.Dataset, variable: str) -> int:
    """Count the recipes that differ from the baseline at 5 % by Wilcoxon's test, after Holm's correction."""
    baseline = final(dataset, NONE, variable)
    others = [recipe for recipe in dataset["recipe"].values if recipe != NONE]
    p = [stats.wilcoxon(final(dataset, recipe, variable), baseline, drop_diverged=True) for recipe in others]
    return int((stats.holm(xr.DataArray(p, dims="recipe")) < 0.05).sum())


def first_kernel(dataset: xr.Dataset) -> str:
    """Return the path of the first kernel whose norm is stored, or an empty string."""
    return next((str(name).removeprefix("norm/") for name in dataset if str(name).startswith("norm/")), "")


def _quantile(dataset: xr.Dataset, recipe: Hashable, variable: str, share: float) -> float:
    lanes = final(dataset, recipe, variable).values
    known = lanes[np.isfinite(lanes)]
    return float(np.quantile(known, share)) if known.size else float("nan")


def _last(dataset: xr.Dataset, variable: str) -> xr.DataArray:
    last = dataset[[variable, "diverged_at"]].isel(epoch=-1, missing_dims="ignore")
    # As float64, in which integers can be blanked too.
    return stats.mask_diverged(last.astype(np.float64))[variable]
