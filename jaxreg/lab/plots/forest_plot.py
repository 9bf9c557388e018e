"""Forest plots: one row per recipe, with the change that the recipe makes and its confidence interval."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import ArrayLike

from jaxreg.lab.plots.theme import BLACK, BLUE, GREY, axes

_TICKS = ((4, 5), (6, 3), (99, 2))
"""Number of intervals between ticks for which the labels fit, by the length in letters of the longest label."""


def forest(
    ax: Axes | None,
    labels: Sequence[str],
    changes: ArrayLike,
    *,
    rows: Sequence[float] = (),
    chosen: str = "",
    span: tuple[float, float] | None = None,
    xlabel: str = "",
) -> Axes:
    """Plot the change of each recipe relative to a baseline, with confidence intervals. The first recipe is on top.

    A filled point means that the interval excludes 0. An interval that extends beyond `span` is cut off and ends in an
    arrow. To show several metrics side by side, call the function once per metric, on subplots that share their
    vertical axis.

    Args:
        ax: Matplotlib axes to plot into. None makes a new figure with a single plot.
        labels: Names of the recipes.
        changes: Array of shape (recipes, 3) with the mean, the lower end and the upper end of each change. NaN means
            unknown.
        rows: Vertical position of each recipe, increasing downwards; 0, 1, 2, … by default.
        chosen: Name of the recipe to highlight in colour.
        span: Limits of the horizontal axis; by default all intervals fit.
        xlabel: Label of the horizontal axis.

    Returns:
        The Matplotlib axes with the plot.

    Raises:
        ValueError: If `changes` does not have shape (recipes, 3), or `rows` does not have one number per recipe.

    Example:
        >>> from matplotlib.figure import Figure
        >>> changes = [[-0.3, -0.4, -0.2], [0.1, -0.1, 0.3]]
        >>> ax = forest(Figure().add_subplot(), ["L2", "L1"], changes, chosen="L2")
        >>> [label.get_text() for label in ax.get_yticklabels()]
        ['L2', 'L1']
    """
    ax = axes(ax)
    values = np.asarray(changes, dtype=np.float64)
    if values.shape != (len(labels), 3):
        raise ValueError(
            f"`forest`: `labels` has {len(labels)} entries, but `changes` has shape {values.shape}; expected shape "
            f"({len(labels)}, 3), with mean, lower end and upper end of each change"
        )
    if rows and len(rows) != len(labels):
        raise ValueError(
            f"`forest`: `labels` has {len(labels)} entries, but `rows` has {len(rows)}; expected one per label"
        )
    rows = list(rows) or list(map(float, range(len(labels))))
    known = np.append(values[np.isfinite(values)], 0.0)
    room = 0.05 * (float(np.ptp(known)) or 1.0)
    low, high = span or (float(known.min()) - room, float(known.max()) + room)
    ax.axvline(0.0, color=GREY, linewidth=1.2, zorder=1)
    for label, row, (mean, start, end) in zip(labels, rows, values, strict=True):
        colour, wide = (BLUE, 2.6) if label == chosen else (BLACK, 1.4)
        if not np.isfinite(mean):
            continue
        ax.plot(np.clip([start, end], low, high), [row, row], color=colour, linewidth=wide, solid_capstyle="butt")
        sure = start > 0 or end < 0
        if low <= mean <= high:
            size = 8 if label == chosen else 5
            ax.plot(mean, row, "o", color=colour, markersize=size, markerfacecolor=colour if sure else "white")
        for beyond, edge, arrow in ((start < low, low, "<"), (end > high, high, ">")):
            if beyond:
                ax.plot(edge, row, arrow, color=colour, markersize=6, clip_on=False)
    ax.set_xlim(low, high)
    ax.set_ylim(max(rows, default=0) + 0.7, -0.7)
    ax.set_yticks(rows, list(labels))
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False, axis="y")
    ax.spines["left"].set_visible(False)
    longest = max(len(_signed(x, 0)) for x in MaxNLocator(5).tick_values(low, high))
    ax.xaxis.set_major_locator(MaxNLocator(next(count for letters, count in _TICKS if longest <= letters)))
    ax.xaxis.set_major_formatter(FuncFormatter(_signed))
    ax.set_xlabel(xlabel)
    return ax


def _signed(x: float, _: int | None) -> str:
    return f"{x:+.6g}".replace("-", "\N{MINUS SIGN}") if x else "0"
