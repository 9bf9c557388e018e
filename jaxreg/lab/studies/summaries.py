"""The figures of a report, each one call on a dataset read back from disk.

A report shows no number that is not one of these, and names the call beside it. Datasets have the dimension `recipe`,
as those of `open_study` and `open_sweep` do; the last epoch is what counts, and diverged lanes are left out and named.
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
    "lanes",
    "last_epoch",
    "lost",
    "lower_is_better",
    "margin",
    "mean",
    "outperforms",
    "published",
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
    """What the draws say of a claim."""

    HOLDS = "holds"
    OPEN = "not shown"
    CONTRADICTED = "contradicted"


def final(dataset: xr.Dataset, recipe: Hashable, variable: str) -> xr.DataArray:
    """One number a lane of one recipe at the last epoch, NaN for a lane that diverged.

    Args:
        dataset: A sweep with recipes.
        recipe: Which of them.
        variable: Which variable, such as `"test_accuracy"`.

    Raises:
        ValueError: If there is no such recipe or variable.
    """
    for what, name, known in (("recipe", recipe, dataset["recipe"].values), ("variable", variable, dataset)):
        if name not in known:
            raise ValueError(f"no {what} {name!r}; there are {', '.join(map(str, known))}")
    return _last(dataset.sel(recipe=recipe), variable).drop_vars(_RECIPE, errors="ignore")


def mean(dataset: xr.Dataset, recipe: Hashable, variable: str) -> float:
    """Mean over the lanes of a recipe that did not diverge."""
    return float(final(dataset, recipe, variable).astype(np.float64).mean())


def ranked(dataset: xr.Dataset, variable: str = "test_loss") -> list[str]:
    """All recipes, those with the lowest mean first and those whose lanes all diverged last."""
    means = np.array([mean(dataset, recipe, variable) for recipe in dataset["recipe"].values])
    return [str(recipe) for recipe in dataset["recipe"].values[np.argsort(means, kind="stable")]]


def sd(dataset: xr.Dataset, recipe: Hashable, variable: str) -> float:
    """Standard deviation (n − 1) over the lanes of a recipe that did not diverge; NaN for fewer than two."""
    lanes = final(dataset, recipe, variable).astype(np.float64)
    return float(lanes.std(ddof=1)) if int(lanes.notnull().sum()) > 1 else float("nan")


def lower_is_better(variable: str) -> bool:
    """Whether less of a variable is better: so it is for all but accuracies."""
    return not variable.endswith("accuracy")


def gain(dataset: xr.Dataset, recipe: Hashable, variable: str, baseline: Hashable = NONE) -> stats.Paired:
    """What a recipe changes against the baseline, paired on the same draws and seeds."""
    return against(dataset, recipe, dataset, baseline, variable)


def outperforms(dataset: xr.Dataset, recipe: Hashable, variable: str, baseline: Hashable = NONE) -> stats.Outperforming:
    """How often a recipe beats the baseline on a draw."""
    return beats(dataset, recipe, dataset, baseline, variable)


def lanes(dataset: xr.Dataset, dim: str) -> int:
    """How many seeds, draws or other entries there are."""
    return int(dataset.sizes[dim])


def last_epoch(dataset: xr.Dataset) -> int:
    """The number of epochs of each training."""
    return int(dataset["epoch"][-1])


def lost(dataset: xr.Dataset) -> int:
    """How many lanes diverged."""
    return len(stats.diverged(dataset))


def choice(dataset: xr.Dataset, variable: str = "loss") -> stats.NestedChoice:
    """The recipe chosen anew in each draw by the loss on its validation rows, and what it has on the test rows.

    Args:
        dataset: Draws with validation rows.
        variable: What is read of the test rows, such as "loss" or "accuracy".
    """
    validation, test = (_last(dataset, name) for name in ("validation_loss", f"test_{variable}"))
    if lower_is_better(f"test_{variable}"):
        return stats.nested_choice(validation, test, lower_is_better=True)
    return stats.nested_choice(-validation, test)


def recommended(dataset: xr.Dataset) -> str:
    """The recipe that is chosen in most draws.

    The mean over the draws would follow the few in which a recipe is far off, whatever it costs in all the others.

    Args:
        dataset: Draws with validation rows.
    """
    return str(next(iter(choice(dataset).tally)))


def choice_gain(dataset: xr.Dataset, variable: str, baseline: Hashable = NONE) -> stats.Paired:
    """What choosing in each draw on its validation rows gains on the test rows, against the baseline."""
    name = f"test_{variable}"
    sides = choice(dataset, variable).test, final(dataset, baseline, name)
    return stats.paired(*sides, lower_is_better=lower_is_better(name), drop_diverged=True)


def choice_outperforms(dataset: xr.Dataset, variable: str, baseline: Hashable = NONE) -> stats.Outperforming:
    """How often choosing in each draw on its validation rows beats the baseline."""
    name = f"test_{variable}"
    sides = choice(dataset, variable).test, final(dataset, baseline, name)
    return stats.outperforms(*sides, lower_is_better=lower_is_better(name), drop_diverged=True)


def times_chosen(dataset: xr.Dataset, recipe: str) -> int:
    """In how many draws a recipe is the one chosen on the validation rows."""
    return choice(dataset).tally.get(recipe, 0)


def published(study: StudyResults, recipe: str, part: str) -> float:
    """The published accuracy of a recipe on the training or the test rows; NaN if none was published."""
    train, test = study.record.published.get(recipe, (float("nan"), float("nan")))
    return {"train": train, "test": test}[part]


def share_of_published(study: StudyResults, recipe: str) -> float:
    """The gain in accuracy over the draws as a share of that on the published data; NaN if there is none."""
    if study.published is None or not (theirs := gain(study.published, recipe, "test_accuracy").mean):
        return float("nan")
    return gain(study.fresh, recipe, "test_accuracy").mean / theirs


def finding(study: StudyResults, claim: Claim) -> Finding:
    """What the interval of a paired difference over the draws says of a claim.

    More or less of something is to lie beyond the margin with the whole interval, as much of it within the margin.
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
    """The difference that is too small to count in a claim, by its words."""
    return next(claim.margin for claim in study.record.claims if claim.words == words)


def reduction(dataset: xr.Dataset, recipe: Hashable, variable: str, baseline: Hashable = NONE) -> float:
    """By what share a recipe cuts the mean loss, or the mean share of errors, of the baseline; NaN if that is 0."""
    ends = [mean(dataset, name, variable) for name in (recipe, baseline)]
    after, before = ends if lower_is_better(variable) else [1 - end for end in ends]
    return 1 - after / before if before else float("nan")


def against(
    dataset: xr.Dataset, recipe: Hashable, other: xr.Dataset, other_recipe: Hashable, variable: str
) -> stats.Paired:
    """What a recipe of one study changes against a recipe of another one on the same draws and seeds."""
    sides = final(dataset, recipe, variable), final(other, other_recipe, variable)
    return stats.paired(*sides, lower_is_better=lower_is_better(variable), drop_diverged=True)


def beats(
    dataset: xr.Dataset, recipe: Hashable, other: xr.Dataset, other_recipe: Hashable, variable: str
) -> stats.Outperforming:
    """How often a recipe of one study beats a recipe of another one on the same draws and seeds."""
    sides = final(dataset, recipe, variable), final(other, other_recipe, variable)
    return stats.outperforms(*sides, lower_is_better=lower_is_better(variable), drop_diverged=True)


def same_draws(dataset: xr.Dataset, other: xr.Dataset) -> bool:
    """Whether two sweeps share draws and seeds: their baselines then start alike."""
    sides = (each["test_loss"].sel(recipe=NONE).isel(epoch=0).drop_vars(_RECIPE) for each in (dataset, other))
    try:
        one, two = xr.align(*sides, join="exact")
    except ValueError:
        return False
    return bool(np.allclose(one.transpose(*two.dims), two, rtol=1e-3, equal_nan=True))


def compared(dataset: xr.Dataset) -> int:
    """How many recipes there are beside the baseline."""
    return int((dataset["recipe"] != NONE).sum())


def significant(dataset: xr.Dataset, variable: str) -> int:
    """How many recipes differ from the baseline at 5 % by Wilcoxon's test, after Holm's correction for all of them."""
    baseline = final(dataset, NONE, variable)
    others = [recipe for recipe in dataset["recipe"].values if recipe != NONE]
    p = [stats.wilcoxon(final(dataset, recipe, variable), baseline, drop_diverged=True) for recipe in others]
    return int((stats.holm(xr.DataArray(p, dims="recipe")) < 0.05).sum())


def first_kernel(dataset: xr.Dataset) -> str:
    """The path of the first kernel whose norm is stored, or an empty string."""
    return next((str(name).removeprefix("norm/") for name in dataset if str(name).startswith("norm/")), "")


def _last(dataset: xr.Dataset, variable: str) -> xr.DataArray:
    # Whenever a lane diverged, it was before the end.
    values = dataset[variable]
    return (values.isel(epoch=-1) if "epoch" in values.dims else values).where(dataset["diverged_at"] < 0)
