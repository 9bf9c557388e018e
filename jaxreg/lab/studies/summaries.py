"""Functions that compute the numbers of a report from stored datasets.

A report quotes the function call behind each number. Attributes and sizes of the datasets are the only other numbers in
a report. The functions need datasets with the dimension `recipe`, such as those of `open_study` and `open_sweep`. They
use the last epoch and ignore diverged runs.
"""

from collections.abc import Hashable
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import xarray as xr

from jaxreg.lab import stats
from jaxreg.lab.stats import directions
from jaxreg.lab.stats.lanes import per_unit
from jaxreg.lab.stats.selection import preference, ranking
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
    "interval",
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
    """Result of testing a claim on many draws of the data: the claim holds, is contradicted, or is not decided.

    The function `finding` returns one of these members. Its description lists the exact conditions.

    Attributes:
        HOLDS: "holds". The confidence interval of the difference supports the claim.
        OPEN: "not decided". The interval neither supports nor excludes the claim.
        CONTRADICTED: "contradicted". The interval excludes the claim.
    """

    HOLDS = "holds"
    OPEN = "not decided"
    CONTRADICTED = "contradicted"


def final(dataset: xr.Dataset, recipe: Hashable, variable: str) -> xr.DataArray:
    """Return the value of a variable at the last epoch, for each run of a recipe; NaN for a diverged run.

    Args:
        dataset: Dataset with the dimension `recipe`.
        recipe: Label of the recipe.
        variable: Name of the variable, such as `"test_accuracy"`.

    Raises:
        ValueError: If the dataset has no such recipe or variable.
    """
    for what, name, names in (("recipe", recipe, dataset["recipe"].values), ("variable", variable, dataset)):
        if name not in names:
            raise ValueError(f"the dataset has no {what} {name!r}; expected one of {list(map(str, names))}")
    return _last(dataset[[variable, "diverged_at"]].sel(recipe=recipe), variable).drop_vars(_RECIPE, errors="ignore")


def mean(dataset: xr.Dataset, recipe: Hashable, variable: str) -> float:
    """Return the mean final value of a variable over the runs of a recipe. Diverged runs are ignored."""
    return float(final(dataset, recipe, variable).astype(np.float64).mean())


def ranked(dataset: xr.Dataset, variable: str = "test_loss") -> list[str]:
    """Sort all recipes by the mean final value of a variable, the lowest first.

    Recipes whose runs all diverged come last. Of recipes with equal means, the one with the larger strength comes
    first, as in `jaxreg.lab.stats.nested_choice`.
    """
    means = np.array([mean(dataset, recipe, variable) for recipe in dataset["recipe"].values])
    order = ranking(-means, preference(dataset, "recipe"))
    return [str(recipe) for recipe in dataset["recipe"].values[order]]


def sd(dataset: xr.Dataset, recipe: Hashable, variable: str) -> float:
    """Return the standard deviation of a variable's final value over the runs of a recipe, without diverged runs.

    The result is NaN if fewer than two runs are finite.
    """
    lanes = final(dataset, recipe, variable).astype(np.float64)
    return float(lanes.std(ddof=1)) if int(lanes.notnull().sum()) > 1 else float("nan")


def low(dataset: xr.Dataset, recipe: Hashable, variable: str) -> float:
    """Return the 10th percentile of a variable's final value over the runs of a recipe, without diverged runs."""
    return _quantile(dataset, recipe, variable, 0.1)


def high(dataset: xr.Dataset, recipe: Hashable, variable: str) -> float:
    """Return the 90th percentile of a variable's final value over the runs of a recipe, without diverged runs."""
    return _quantile(dataset, recipe, variable, 0.9)


class Interval(NamedTuple):
    """Confidence interval of a mean. Both ends are NaN if there is only one value."""

    low: float
    high: float


def interval(dataset: xr.Dataset, recipe: Hashable, variable: str) -> Interval:
    """Return the 95 % interval of the mean final value across draws, or across seeds if there is one draw.

    Diverged runs are ignored.
    """
    runs = final(dataset, recipe, variable)
    if not runs.notnull().any():
        return Interval(float("nan"), float("nan"))
    ends = stats.mean_interval(per_unit(runs, drop=True).values)
    return Interval(*map(float, ends))


def lower_is_better(variable: str) -> bool:
    """Return whether lower values of a variable are better, judged by its name.

    The result is False if the name contains a word for a score (such as `accuracy`, `f1`, `auc` or `r2`) and no word
    for a loss (such as `error`). Otherwise, it is True.
    """
    return directions.lower_is_better(variable) is not False


def gain(dataset: xr.Dataset, recipe: Hashable, variable: str, baseline: Hashable = NONE) -> stats.Paired:
    """Compare a recipe with the baseline on the same draws and seeds.

    Args:
        dataset: Results with the dimension `recipe`.
        recipe: Label of the recipe.
        variable: Name of the variable to compare at the last epoch, such as `"test_loss"`.
        baseline: Label of the baseline.

    Returns:
        A `Paired`. Its differences are the recipe's value minus the baseline's value. So a recipe that lowers a loss
        has a negative mean. The recipe wins a draw if its value is better (see `jaxreg.lab.studies.lower_is_better`).
    """
    return against(dataset, recipe, dataset, baseline, variable)


def outperforms(dataset: xr.Dataset, recipe: Hashable, variable: str, baseline: Hashable = NONE) -> stats.Outperforming:
    """Estimate the probability that a recipe beats the baseline on a draw, which is one random sample of the data.

    Args:
        dataset: Results with the dimension `recipe`.
        recipe: Label of the recipe.
        variable: Name of the variable to compare at the last epoch, such as `"test_loss"`. The name decides whether the
            lower or the higher value wins (see `jaxreg.lab.studies.lower_is_better`).
        baseline: Label of the baseline.

    Returns:
        An `Outperforming`: the probability, its confidence interval and a verdict.
    """
    return beats(dataset, recipe, dataset, baseline, variable)


def lanes(dataset: xr.Dataset, dim: str) -> int:
    """Return the length of a dimension of a dataset, such as the number of seeds or draws."""
    return int(dataset.sizes[dim])


def last_epoch(dataset: xr.Dataset) -> int:
    """Return the number of epochs per run."""
    return int(dataset["epoch"][-1])


def lost(dataset: xr.Dataset) -> int:
    """Return the number of diverged runs."""
    return len(stats.diverged(dataset))


def choice(dataset: xr.Dataset, variable: str = "loss") -> stats.NestedChoice:
    """Choose the recipe with the lowest validation loss in each draw. Return the test values of the chosen recipes.

    Args:
        dataset: Results of recipes that were trained on draws with validation rows.
        variable: Metric on the test rows, without the prefix `test_`, such as "loss" or "accuracy". The choice itself
            always uses the validation loss.
    """
    validation, test = (_last(dataset, name) for name in ("validation_loss", f"test_{variable}"))
    if lower_is_better(f"test_{variable}"):
        return stats.nested_choice(validation, test, lower_is_better=True)
    return stats.nested_choice(-validation, test, lower_is_better=False)


def recommended(dataset: xr.Dataset) -> str:
    """Return the recipe that has the lowest validation loss in the most draws.

    Mean validation losses are not compared, because a few draws with very large losses could dominate the means.

    Args:
        dataset: Results of recipes that were trained on draws with validation rows.
    """
    return str(next(iter(choice(dataset).tally)))


def choice_gain(dataset: xr.Dataset, variable: str, baseline: Hashable = NONE) -> stats.Paired:
    """Choose the recipe with the lowest validation loss in each draw, and compare its test value with the baseline's.

    Args:
        dataset: Results of recipes that were trained on draws with validation rows.
        variable: Metric to compare on the test rows, without the prefix `test_`, such as "loss" or "accuracy".
        baseline: Label of the baseline.

    Returns:
        A `Paired`. Each difference is the test value of the chosen recipe minus that of the baseline.
    """
    name = f"test_{variable}"
    sides = choice(dataset, variable).test, final(dataset, baseline, name)
    return stats.paired(*sides, lower_is_better=lower_is_better(name), drop_diverged=True)


def choice_outperforms(dataset: xr.Dataset, variable: str, baseline: Hashable = NONE) -> stats.Outperforming:
    """Estimate the probability that choosing a recipe by its validation loss beats the baseline on a draw.

    A draw is one random sample of the data. The choice is made anew in each draw: the recipe with the lowest validation
    loss is chosen. The test values of the chosen recipe and of the baseline are then compared.

    Args:
        dataset: Results of recipes that were trained on draws with validation rows.
        variable: Metric to compare on the test rows, without the prefix `test_`. The lower "loss" or the higher
            "accuracy" wins (see `jaxreg.lab.studies.lower_is_better`).
        baseline: Label of the baseline.

    Returns:
        An `Outperforming`: the probability, its confidence interval and a verdict.
    """
    name = f"test_{variable}"
    sides = choice(dataset, variable).test, final(dataset, baseline, name)
    return stats.outperforms(*sides, lower_is_better=lower_is_better(name), drop_diverged=True)


def times_chosen(dataset: xr.Dataset, recipe: str) -> int:
    """Return the number of draws in which a recipe has the lowest validation loss."""
    return choice(dataset).tally.get(recipe, 0)


def published(study: StudyResults, recipe: str, part: str) -> float:
    """Return the accuracy that a publication reports for a recipe, between 0 and 1; NaN if it reports none.

    The publication is the one that the study reproduces. The study's `source` names it.

    Args:
        study: Results of the study.
        recipe: Label of the recipe.
        part: `"train"` for the accuracy on the training rows, `"test"` for the accuracy on the test rows.
    """
    train, test = study.record.published.get(recipe, (float("nan"), float("nan")))
    return {"train": train, "test": test}[part]


def published_gain(study: StudyResults, recipe: str) -> float:
    """Return the published test accuracy of a recipe minus the published test accuracy of the baseline.

    Both numbers are from the publication that the study reproduces, as returned by `published`. The result is NaN if
    one of them is missing.
    """
    return published(study, recipe, "test") - published(study, NONE, "test")


def share_of_published(study: StudyResults, recipe: str) -> float:
    """Return the mean gain in test accuracy on fresh draws, divided by the gain on the data of the publication.

    A gain is the accuracy of the recipe minus the accuracy of the baseline. Both gains are measured by the study: one
    on `study.fresh`, the other on `study.published`. The numbers in the publication are not used. The result is NaN if
    `study.published` is None, or if the gain on it is 0.
    """
    if study.published is None or not (theirs := gain(study.published, recipe, "test_accuracy").mean):
        return float("nan")
    return gain(study.fresh, recipe, "test_accuracy").mean / theirs


def finding(study: StudyResults, claim: Claim) -> Finding:
    """Test a claim with the 95 % interval of the mean paired difference across the draws.

    The difference is the value of `claim.recipe` minus the value of `claim.against`. The margin m is `claim.margin`,
    the size up to which a difference is ignored.

    A claim that the first value is larger:

    - holds if the whole interval is above m,
    - is contradicted if the whole interval is below m.

    A claim that the first value is smaller:

    - holds if the whole interval is below -m,
    - is contradicted if the whole interval is above -m.

    A claim that the two values are equal:

    - holds if the whole interval lies between -m and m,
    - is contradicted if the whole interval is above m, or the whole interval is below -m.

    In all other cases, the claim is not decided.
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
    """Return the margin of the claim whose text is `words`: the size up to which a difference is ignored."""
    return next(claim.margin for claim in study.record.claims if claim.words == words)


def reduction(dataset: xr.Dataset, recipe: Hashable, variable: str, baseline: Hashable = NONE) -> float:
    """Return the relative reduction of the mean loss by a recipe: 0.2 for a loss 20 % below that of the baseline.

    Let b be the mean loss of the baseline, and r the mean loss of the recipe. The result is 1 - r / b. It is negative
    if the recipe raises the loss, and NaN if b is 0. For a variable whose name ends in "accuracy", b and r are mean
    error rates (1 - accuracy).
    """
    ends = [mean(dataset, name, variable) for name in (recipe, baseline)]
    after, before = [1 - end for end in ends] if variable.endswith("accuracy") else ends
    return 1 - after / before if before else float("nan")


def one_in(dataset: xr.Dataset, recipe: Hashable, variable: str, baseline: Hashable = NONE) -> float:
    """Return the number n such that a recipe avoids or adds one error for every n errors of the baseline.

    Let b be the mean loss of the baseline, and r the mean loss of the recipe. Then n is b / |b - r|. For a variable
    whose name ends in "accuracy", b and r are mean error rates (1 - accuracy). The result is infinity if b and r are
    equal, and NaN if b is 0. n does not show whether the recipe avoids or adds errors. The sign of
    `jaxreg.lab.studies.reduction` shows this: positive for avoided errors, negative for added errors.

    Args:
        dataset: Results with the dimension `recipe`.
        recipe: Label of the recipe.
        variable: Name of a loss or an accuracy, such as `"test_accuracy"`.
        baseline: Label of the baseline.
    """
    share = abs(reduction(dataset, recipe, variable, baseline))
    return 1 / share if share else float("inf")


def against(
    dataset: xr.Dataset, recipe: Hashable, other: xr.Dataset, other_recipe: Hashable, variable: str
) -> stats.Paired:
    """Compare a recipe of one study with a recipe of another, on the same draws and seeds.

    Args:
        dataset: Results of the first study.
        recipe: Label of a recipe of the first study.
        other: Results of the second study.
        other_recipe: Label of a recipe of the second study.
        variable: Name of the variable to compare at the last epoch, such as `"test_loss"`.

    Returns:
        A `Paired`. Its differences are first study minus second study. The name of the variable decides whether the
        lower or the higher value wins (see `jaxreg.lab.studies.lower_is_better`).
    """
    sides = final(dataset, recipe, variable), final(other, other_recipe, variable)
    return stats.paired(*sides, lower_is_better=lower_is_better(variable), drop_diverged=True)


def beats(
    dataset: xr.Dataset, recipe: Hashable, other: xr.Dataset, other_recipe: Hashable, variable: str
) -> stats.Outperforming:
    """Estimate the probability that a recipe of one study beats a recipe of another, on the same draws and seeds.

    Args:
        dataset: Results of the first study.
        recipe: Label of a recipe of the first study.
        other: Results of the second study.
        other_recipe: Label of a recipe of the second study.
        variable: Name of the variable to compare at the last epoch, such as `"test_loss"`. The name decides whether the
            lower or the higher value wins (see `jaxreg.lab.studies.lower_is_better`).

    Returns:
        An `Outperforming`: the probability that the first recipe wins on a new draw of the data, its confidence
        interval and a verdict.
    """
    sides = final(dataset, recipe, variable), final(other, other_recipe, variable)
    return stats.outperforms(*sides, lower_is_better=lower_is_better(variable), drop_diverged=True)


def same_draws(dataset: xr.Dataset, other: xr.Dataset) -> bool:
    """Return whether two sweeps use the same draws and seeds.

    The draws and seeds are assumed to agree if the baselines of both sweeps have equal test losses at the first epoch.
    """
    sides = (each["test_loss"].sel(recipe=NONE).isel(epoch=0).drop_vars(_RECIPE) for each in (dataset, other))
    try:
        one, two = xr.align(*sides, join="exact")
    except ValueError:
        return False
    return bool(np.allclose(one.transpose(*two.dims), two, rtol=1e-3, equal_nan=True))


def compared(dataset: xr.Dataset) -> int:
    """Return the number of recipes, not counting the baseline."""
    return int((dataset["recipe"] != NONE).sum())


def significant(dataset: xr.Dataset, variable: str) -> int:
    """Count the recipes that differ from the baseline at the 5 % level (Wilcoxon's test, Holm's correction)."""
    baseline = final(dataset, NONE, variable)
    others = [recipe for recipe in dataset["recipe"].values if recipe != NONE]
    p = [stats.wilcoxon(final(dataset, recipe, variable), baseline, drop_diverged=True) for recipe in others]
    return int((stats.holm(xr.DataArray(p, dims="recipe")) < 0.05).sum())


def first_kernel(dataset: xr.Dataset) -> str:
    """Return the path of the first kernel that has a stored norm, such as "hidden/kernel"; "" if there is none."""
    return next((str(name).removeprefix("norm/") for name in dataset if str(name).startswith("norm/")), "")


def _quantile(dataset: xr.Dataset, recipe: Hashable, variable: str, share: float) -> float:
    lanes = final(dataset, recipe, variable).values
    known = lanes[np.isfinite(lanes)]
    return float(np.quantile(known, share)) if known.size else float("nan")


def _last(dataset: xr.Dataset, variable: str) -> xr.DataArray:
    last = dataset[[variable, "diverged_at"]].isel(epoch=-1, missing_dims="ignore")
    # In float64, because integers cannot be NaN.
    return stats.mask_diverged(last.astype(np.float64))[variable]
