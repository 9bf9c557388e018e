"""Changes of recipes relative to the baseline, in the order and units that all tables and plots use."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import xarray as xr

from jaxreg.lab.report.provenance import Source, shown
from jaxreg.lab.report.quantities import Quantity, measured, quantity
from jaxreg.lab.studies import summaries
from jaxreg.lab.studies.results import NONE

_GAP = 0.6  # rows between two groups
_NOTHING = 1e-9  # changes up to this size are rounding errors
_BEYOND = 1.5  # length of the worse side of the axis, relative to the better side


class Measure(NamedTuple):
    """One metric of a forest plot: its name and unit, and whether lower values are better.

    Args:
        what: Name, unit and format of the metric.
        lower: Whether lower values are better.
    """

    what: Quantity
    lower: bool

    def told(self, change: Sequence[float]) -> str:
        """Return a change of this metric as text, with its confidence interval."""
        mean, low, high = (shown(value, self.what.form) for value in change)
        unit = f" {self.what.unit}" if self.what.unit else ""
        return f"{mean}{unit} ({low} to {high})" if math.isfinite(change[0]) else "not known"


class Effects(NamedTuple):
    """Differences between recipes and the baseline (no regulariser), for each metric, with confidence intervals.

    Args:
        measures: Metrics of the plot.
        labels: Recipes, ordered by method and strength.
        groups: Method of each recipe.
        changes: Mean change, lower end and upper end of its interval, of shape (metrics, recipes, 3). Each change is in
            the unit of its metric.
        chosen: Recommended recipe; empty if there is none.
    """

    measures: Sequence[Measure]
    labels: Sequence[str]
    groups: Sequence[str]
    changes: np.ndarray
    chosen: str


def labels(dataset: xr.Dataset) -> list[str]:
    """Return the labels of all recipes: the baseline first, then each method with increasing strengths.

    Args:
        dataset: Sweep with recipes.

    Example:
        >>> coords = {"recipe": ["a(2)", "a(1)", "none"], "strength": ("recipe", [2.0, 1.0, 0.0])}
        >>> labels(xr.Dataset(coords=coords | {"method": ("recipe", ["a", "a", "none"])}))
        ['none', 'a(1)', 'a(2)']
    """
    names, methods = (dataset[name].values.tolist() for name in ("recipe", "method"))
    strengths = np.nan_to_num(dataset["strength"].values.astype(float), nan=0.0)
    order = sorted(range(len(names)), key=lambda at: (names[at] != NONE, methods.index(methods[at]), strengths[at], at))
    return [str(names[at]) for at in order]


def effects(sources: Sequence[Source], chosen: str) -> Effects:
    """Compute how each recipe of the datasets differs from the baseline. All datasets must have the same metrics.

    Args:
        sources: Datasets with recipes and a baseline.
        chosen: Recommended recipe; empty if there is none.
    """
    first = sources[0].data
    names = [f"test_{name}" for name in reversed(measured(first))]
    measures = [Measure(quantity(first, name), summaries.lower_is_better(name)) for name in names]
    recipes, groups, changes = [], [], []
    for source in sources:
        method = dict(zip(source.data["recipe"].values.tolist(), source.data["method"].values.tolist(), strict=True))
        for label in labels(source.data):
            if label == NONE:
                continue
            recipes.append(label)
            groups.append(f"{source.name}: {method[label]}")
            found = [source.find(summaries.gain, label, name).data for name in names]
            changes.append([
                [one.what.times * value for value in (gain.mean, gain.low, gain.high)]
                for one, gain in zip(measures, found, strict=True)
            ])  # fmt: skip
    shape = (len(recipes), len(measures), 3)
    return Effects(measures, recipes, groups, np.reshape(changes, shape).transpose(1, 0, 2), chosen)


def alike(source: Source, other: Source) -> bool:
    """Return whether two datasets have the same metrics, in the same units.

    Args:
        source: Dataset with recipes.
        other: Dataset with recipes.
    """
    one, two = (
        [(name, quantity(each.data, f"test_{name}")) for name in measured(each.data)] for each in (source, other)
    )
    return one == two


def row_places(groups: Sequence[str]) -> list[float]:
    """Return the vertical position of each row of a plot. Rows are 1 apart, with an additional gap between groups.

    Args:
        groups: Group of each row.

    Example:
        >>> row_places(["L1", "L1", "L2"])
        [0.0, 1.0, 2.6]
    """
    gaps = [0.0, *(1 + _GAP * (one != two) for one, two in pairwise(groups))]
    return np.cumsum(gaps[: len(groups)]).tolist()


def span(changes: np.ndarray, *, lower_is_better: bool) -> tuple[float, float]:
    """Return the limits of the horizontal axis of a plot. All improvements fit in; very large worsenings do not.

    Args:
        changes: Mean change, lower end and upper end of its interval, of shape (recipes, 3).
        lower_is_better: Whether lower values are better.

    Example:
        >>> span(np.array([[-1.0, -2.0, 0.5], [9.0, 8.0, 10.0]]), lower_is_better=True)
        (-2.16, 9.72)
    """
    sign = -1 if lower_is_better else 1
    known = np.where(np.isfinite(changes), changes, np.nan)
    ends = sign * known[np.isfinite(known).any(axis=1)]
    if not ends.size or np.nanmax(abs(ends)) < _NOTHING:
        return -1.0, 1.0
    better = max(float(np.nanmax(ends)), 0.0)
    worse = max(float(-np.nanmin(ends)), 0.0)
    sizes = np.nanmax(abs(ends), axis=1)
    middle = float(np.median(sizes[sizes >= _NOTHING]))
    shown = 1.08 * max(better, 0.15 * min(worse, middle)), 1.08 * min(worse, _BEYOND * max(better, middle))
    shown = max(shown[0], 0.05 * shown[1]), max(shown[1], 0.15 * shown[0])
    left, right = shown if sign < 0 else shown[::-1]
    return float(f"{-left:.6g}"), float(f"{right:.6g}")
