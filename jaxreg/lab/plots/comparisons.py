"""Plots of paired comparisons."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from jaxreg.lab.plots.theme import BLACK, BLUE, GREY, axes, axis_label, legend
from jaxreg.lab.stats import directions
from jaxreg.lab.stats.comparisons import Paired


def paired_differences(
    ax: Axes | None, differences: xr.DataArray, result: Paired, *, lower_is_better: bool | None = None, ylabel: str = ""
) -> Axes:
    """Plot paired differences in sorted order, with the mean and its confidence interval.

    Args:
        ax: Axes to plot into. None makes a figure with one pair of axes.
        differences: Differences from `stats.differences(a, b)`: one number per draw (or per seed).
        result: Result of `stats.paired(a, b)`.
        lower_is_better: Whether lower values are better. By default, the name of `differences` decides.
        ylabel: Label of the vertical axis. If it is empty, it is made from the name of `differences`.

    Returns:
        The axes with the plot.

    Raises:
        ValueError: If `differences` and `result` are not from the same comparison.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from jaxreg.lab import stats
        >>> a, b = (xr.DataArray(x, dims="draw", name="test_loss") for x in ([0.2, 0.3], [0.4, 0.3]))
        >>> gap, result = stats.differences(a, b), stats.paired(a, b, lower_is_better=True)
        >>> ax = paired_differences(Figure().add_subplot(), gap, result, lower_is_better=True)
        >>> ax.get_legend_handles_labels()[1][:2]
        ['better: 1', 'equal: 1']
    """
    ax = axes(ax)
    if lower_is_better is None:
        lower_is_better = directions.lower_by_name(differences.name)
    better = -differences.values if lower_is_better else differences.values
    groups = (better > 0, better == 0, better < 0)
    if tuple(int(g.sum()) for g in groups) != (result.wins, result.ties, result.losses):
        raise ValueError(
            "paired_differences: the numbers of wins, ties and losses are "
            f"{', '.join(str(int(g.sum())) for g in groups)} in `differences`, but {result.wins}, {result.ties}, "
            f"{result.losses} in `result`; expected the same three numbers in both. Compute both from the same values, "
            "with the same lower_is_better"
        )
    order = np.argsort(differences.values, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(1, order.size + 1)
    size = float(np.clip(3000 / order.size, 3, 28))
    words, markers, colours = ("better", "equal", "worse"), ("^", "o", "v"), (BLUE, GREY, BLACK)
    for word, marker, colour, group in zip(words, markers, colours, groups, strict=True):
        if group.any():
            ax.scatter(
                rank[group],
                differences.values[group],
                s=size,
                marker=marker,
                color=colour,
                linewidths=0,
                label=f"{word}: {int(group.sum()):,}",
            )
    ax.axhline(0.0, color=BLACK, linewidth=0.8)
    known = np.isfinite(result.low)
    interval = f"\n{100 * result.confidence:g} % interval: {result.low:+.3g} to {result.high:+.3g}" if known else ""
    ax.axhline(result.mean, color=BLACK, linestyle="--", label=f"mean: {result.mean:+.3g}{interval}")
    if known:
        ax.axhspan(result.low, result.high, color=BLACK, alpha=0.12, linewidth=0)
    ax.set_xlim(0, order.size + 1)
    ax.margins(y=0.1)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel(f"{result.n:,} {result.unit}{'s' * (result.n != 1)}, sorted by difference")
    ax.set_ylabel(ylabel or f"difference in {axis_label(differences.name)}")
    gone = len(result.diverged)
    legend(ax, f"{gone} diverged {'pairs' if gone > 1 else 'pair'} left out" if gone else "", below=True)
    return ax
