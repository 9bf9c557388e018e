"""Statistics of repeated training runs: paired comparisons, confidence intervals, selection and variance."""

from jaxreg.lab.stats.comparisons import (
    MEANINGFUL,
    Outperforming,
    Paired,
    Resampled,
    Verdict,
    nadeau_bengio,
    outperforms,
    paired,
    wilcoxon,
)
from jaxreg.lab.stats.intervals import InterquartileMean, interquartile_mean, mean_interval, share_interval
from jaxreg.lab.stats.lanes import differences, diverged, mask_diverged
from jaxreg.lab.stats.multiplicity import benjamini_hochberg, holm
from jaxreg.lab.stats.sample_size import draws_for_mean, draws_for_probability
from jaxreg.lab.stats.selection import NestedChoice, OneStandardError, nested_choice, one_standard_error
from jaxreg.lab.stats.survival import Survival, kaplan_meier
from jaxreg.lab.stats.variance import VarianceSplit, variance_split

__all__ = [
    "MEANINGFUL",
    "InterquartileMean",
    "NestedChoice",
    "OneStandardError",
    "Outperforming",
    "Paired",
    "Resampled",
    "Survival",
    "VarianceSplit",
    "Verdict",
    "benjamini_hochberg",
    "differences",
    "diverged",
    "draws_for_mean",
    "draws_for_probability",
    "holm",
    "interquartile_mean",
    "kaplan_meier",
    "mask_diverged",
    "mean_interval",
    "nadeau_bengio",
    "nested_choice",
    "one_standard_error",
    "outperforms",
    "paired",
    "share_interval",
    "variance_split",
    "wilcoxon",
]
