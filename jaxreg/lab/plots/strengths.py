"""Plots of training values, test values and sparsity against the strength of a penalty, or another numeric axis.

The horizontal axis is logarithmic. A baseline, such as a recipe without a penalty, is shown at an end of this axis. A
baseline of strength 0 is at the left end, with the label 0. A baseline with an infinite limit is at the right end, with
the label ∞. A dotted line extends the level of the baseline across the plot. An axis with negative values is linear and
has no baseline.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from jaxreg.lab.plots.epochs import FEW, shown, spread, with_diverged
from jaxreg.lab.plots.theme import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    as_lanes,
    axes,
    axis_label,
    legend,
    next_colour,
    number,
    pair_labels,
)

# With more strengths than this only the powers of ten get a label.
_TICKS = 8
_STRENGTH = "strength of the penalty"
_CHARACTER, _SPACE = 0.075, 0.06  # inches: width of a letter of a label, and space between two labels
_CURVE, _LEVEL = "strengths", "baseline-level"
"""Group ids of lines: a curve over the strengths, and the level of a baseline."""
_ENDS = {0.0: "baseline", np.inf: "baseline-limit"}
"""Group ids of lines at an end of the axis: at the left end for strength 0, at the right end for an infinite limit."""
_BAR: dict[str, Any] = {"linewidth": 1.2, "alpha": 0.6}


class StrengthPath(NamedTuple):
    """Values of all runs, sorted by penalty strength. Values of runs without a penalty are stored in `baseline`.

    Attributes:
        strength: Positions on the axis, ascending, of shape (points,). On a logarithmic axis, all are positive.
        lanes: Values, of shape (runs, points). There is one run per pair of draw and seed.
        baseline: Values of the baseline, of shape (runs,). None if there is no baseline. A linear axis never has one.
        off: Strength of the baseline: 0 for penalties, infinity for the limits of a constraint.
    """

    strength: np.ndarray
    lanes: np.ndarray
    baseline: np.ndarray | None
    off: float = 0.0

    @property
    def linear(self) -> bool:
        """True if some strengths are negative. The axis must then be linear."""
        return bool((self.strength < 0).any())


def strength_path(
    ax: Axes | None,
    train: xr.DataArray | None,
    test: xr.DataArray,
    *,
    name: str = "",
    chosen: float | None = None,
    colours: tuple[str, str] | None = None,
    xlabel: str = "",
    ylabel: str = "",
    x: Hashable = "strength",
) -> Axes:
    """Plot training values (dashed) and test values (solid) against the penalty strength, with the spread across runs.

    To plot against another numeric coordinate of your sweep, pass its name as `x`. The horizontal axis is linear if the
    coordinate has negative values, and logarithmic otherwise.

    On a logarithmic axis, a recipe without a regulariser is the baseline. On an axis of strengths, the baseline has the
    coordinate 0. On an axis of limits, such as the largest norm of `MaxNorm`, it has the coordinate infinity. A
    coordinate that is not itself a dimension, such as `strength` along the dimension `recipe`, may be NaN for a recipe
    without a strength. This NaN counts as 0. The baseline is drawn as a hollow point at the left end (0) or the right
    end (∞), with a dotted line at its level. It has no entry in the legend.

    To compare two methods, call the function twice on the same axes, with a different `name` each time. Each call takes
    the next colour of the theme. The baseline of the first call is grey. If the second call has an equal baseline, it
    is not drawn again. A different baseline gets the colour of the second method.

    Args:
        ax: Matplotlib axes to plot into. None makes a new figure with a single plot.
        train: Training values, one number per run, or None. The values have the coordinate that `x` names, along one
            dimension. Repeated runs lie along `draw` and `seed`. Either of these two dimensions may be missing.
        test: Test values, or other results, with the dimensions and coordinates of `train`. If the names of both arrays
            differ only before the first underscore, the legend shows the words before it, such as "train" and "val" for
            `train_loss` and `val_loss`. Otherwise, it shows "train" and "test".
        name: Name of the method in the legend.
        chosen: Value of the coordinate to mark with a vertical line. To mark the baseline, pass 0. If the
            coordinate holds limits, such as the largest norm of `MaxNorm`, pass infinity instead.
        colours: Colours of the training and the test curve. By default, both curves have the next unused colour.
        xlabel: Label of the horizontal axis; made from `x` if empty.
        ylabel: Label of the vertical axis; made from the name of the values if empty.
        x: Name of the coordinate on the horizontal axis.

    Returns:
        The Matplotlib axes with the plot.

    Raises:
        ValueError: If there is no numeric coordinate `x` along one dimension. If a value of the coordinate is repeated.
            If a value of the coordinate is minus infinity, or a value of "strength" is negative. If a value is NaN, and
            the coordinate is itself a dimension. If one value is infinity, and another is 0 or negative. If the values
            have a coordinate `method` that contains more than one method, not counting the baseline. If a further
            dimension, such as the epoch, has several entries; select one entry first. If the value `chosen` is not
            plotted.

    Example:
        The baseline of strength 0 is drawn without an entry in the legend.

        >>> from matplotlib.figure import Figure
        >>> accuracy = xr.DataArray(
        ...     [0.91, 0.94, 0.83], dims="strength", coords={"strength": [0, 1e-3, 1e-1]}, name="accuracy"
        ... )
        >>> ax = strength_path(Figure().add_subplot(), accuracy, accuracy, chosen=1e-3)
        >>> ax.get_legend_handles_labels()[1]
        ['train', 'test', 'chosen: 0.001']
    """
    ax = axes(ax)
    path = along(test, x)
    metric = axis_label(test.name)
    label = name or ("result" if test.name is None else str(test.name))
    colours = colours or (next_colour(ax, BLACK),) * 2
    levels = _levels(ax)
    if train is not None:
        first, second, metric = pair_labels(train, test)
        before = f"{name}, " if name else ""
        _draw(ax, along(train, x), levels, label=before + first, colour=colours[0], linestyle="--")
        label = before + second
    _draw(ax, path, levels, label=label, colour=colours[1], linestyle="-")
    if chosen is not None:
        mark(ax, path, chosen)
    strength_axis(ax, path, xlabel or _xlabel(path, x))
    ax.set_ylabel(ylabel or metric)
    legend(ax, shown(len(path.lanes)))
    return ax


def sparsity_path(
    ax: Axes | None,
    zeros: xr.DataArray,
    *,
    name: str = "weights",
    chosen: float | None = None,
    colour: str = "",
    x: Hashable = "strength",
) -> Axes:
    """Plot the share of weights that are exactly 0 against the penalty strength, with the spread across runs.

    To compare several kernels or methods, call the function once for each of them, on the same axes, with a different
    `name` each time.

    The horizontal axis and the baseline (the recipe without a regulariser) are drawn as in `strength_path`.

    Args:
        ax: Matplotlib axes to plot into. None makes a new figure with a single plot.
        zeros: Shares between 0 and 1, one number per run. The array has the coordinate that `x` names, along one
            dimension. Repeated runs lie along `draw` and `seed`. Either of these two dimensions may be missing.
        name: Name of the weights or the method in the legend.
        chosen: Value of the coordinate to mark with a vertical line. To mark the baseline, pass 0. If the
            coordinate holds limits, such as the largest norm of `MaxNorm`, pass infinity instead.
        colour: Colour of the line and its band; the next unused colour if empty.
        x: Name of the coordinate on the horizontal axis.

    Returns:
        The Matplotlib axes with the plot.

    Raises:
        ValueError: If a share is not between 0 and 1. Also if `strength_path` raises an error for these values.

    Example:
        >>> from matplotlib.figure import Figure
        >>> zeros = xr.DataArray([0.1, 0.8], dims="strength", coords={"strength": [1e-3, 1e-2]})
        >>> sparsity_path(Figure().add_subplot(), zeros, name="hidden/kernel").get_ylabel()
        'weights that are exactly 0 (%)'
    """
    ax = axes(ax)
    if ((zeros < 0) | (zeros > 1)).any():
        raise ValueError(
            f"the values of `zeros` range from {float(zeros.min()):g} to {float(zeros.max()):g}; expected shares "
            "between 0 and 1"
        )
    path = along(100 * zeros, x)
    colour = colour or next_colour(ax, GREEN)
    _draw(ax, path, _levels(ax), label=name, colour=colour, linestyle="-")
    if chosen is not None:
        mark(ax, path, chosen)
    strength_axis(ax, path, _xlabel(path, x))
    ax.set_ylim(-3, 103)
    ax.set_ylabel("weights that are exactly 0 (%)")
    legend(ax, shown(len(path.lanes)))
    return ax


def along(values: xr.DataArray, x: Hashable = "strength") -> StrengthPath:
    """Sort runs by penalty strength, and return the runs without a penalty separately.

    Args:
        values: One number per run. The array has the coordinate that `x` names, along one dimension. Repeated runs lie
            along `draw` and `seed`.
        x: Name of the coordinate.

    Returns:
        A `StrengthPath`.

    Raises:
        ValueError: If `strength_path` raises an error for these values.

    Example:
        >>> along(xr.DataArray([0.8, 0.9], dims="strength", coords={"strength": [0.1, 0.01]})).lanes
        array([[0.9, 0.8]])
    """
    if x not in values.coords or values[x].ndim != 1:
        raise ValueError(
            f"the values have the coordinates {list(map(str, values.coords))} and the dimensions {values.dims}; "
            f"expected a one-dimensional coordinate {x!r}. Name another coordinate with x="
        )
    if not np.issubdtype(values[x].dtype, np.number):
        raise ValueError(
            f"the values of {x!r} are {values[x].values.tolist()}; expected numbers. Pass the name of a numeric "
            "coordinate as x="
        )
    dim = values[x].dims[0]
    strength = values[x].values.astype(np.float64)
    if x != dim:  # a recipe without a strength
        strength = np.nan_to_num(strength, nan=0.0, posinf=np.inf, neginf=-np.inf)
    off = np.inf if np.isposinf(strength).any() else 0.0
    if off and (strength <= 0).any():
        raise ValueError(
            f"the values of {x!r} are {strength.tolist()}. Because they contain infinity, they are read as limits of a "
            "constraint; expected limits above 0. Remove the values that are 0, NaN or negative"
        )
    strength = np.where(np.isposinf(strength), 0.0, strength)
    _check(values, strength, x)
    lanes = as_lanes(values, dim)
    order = np.argsort(strength)
    if (strength < 0).any():
        return StrengthPath(strength[order], lanes[:, order], None)
    order = order[strength[order] > 0]
    none = np.flatnonzero(strength == 0)
    return StrengthPath(strength[order], lanes[:, order], lanes[:, none[0]] if none.size else None, off)


def mark(ax: Axes, path: StrengthPath, chosen: float) -> Axes:
    """Mark the chosen strength with a vertical line.

    Args:
        ax: Axes to plot into.
        path: StrengthPath that was plotted.
        chosen: Strength of `path` to mark. The strength of a baseline is 0. For limits, it is infinity.

    Returns:
        The same axes.

    Raises:
        ValueError: If the chosen strength is not plotted.

    Example:
        >>> from matplotlib.figure import Figure
        >>> path = StrengthPath(np.array([0.1, 1.0]), np.ones((1, 2)), None)
        >>> mark(Figure().add_subplot(), path, 0.1).lines[0].get_label()
        'chosen: 0.1'
    """
    at = path.strength[np.isclose(path.strength, chosen, rtol=1e-5, atol=0)]
    ends = chosen == path.off and path.baseline is not None
    if ends:
        at = np.array([_end(_strengths(ax, path), path.off)])
    if not at.size:
        raise ValueError(
            f"`chosen` is {chosen:g}, which is not plotted; expected one of "
            f"{[float(f'{s:g}') for s in path.strength]}" + (f" or {path.off:g}" if path.baseline is not None else "")
        )
    label, gid = f"chosen: {_number(chosen)}", _ENDS[path.off] if ends else None
    ax.axvline(at[0], color=BLUE, linestyle=":", linewidth=1.4, label=label, zorder=1, gid=gid)
    return ax


def strength_axis(ax: Axes, path: StrengthPath, label: str) -> Axes:
    """Make the horizontal axis logarithmic, with the baseline at an end of the axis.

    The baseline of penalties is at the left end, with the label 0. The baseline of limits is at the right end, with the
    label ∞. The axis covers all paths that were plotted. If one of these paths has negative strengths, the axis stays
    linear.

    Args:
        ax: Axes to change.
        path: StrengthPath that was plotted.
        label: Label of the axis.

    Returns:
        The same axes.

    Example:
        >>> from matplotlib.figure import Figure
        >>> path = StrengthPath(np.array([0.1, 1.0]), np.ones((1, 2)), None)
        >>> strength_axis(Figure().add_subplot(), path, "strength").get_xscale()
        'log'
    """
    ax.set_xlabel(label)
    strength = _strengths(ax, path)
    left, right = ([_end(strength, off)] if _lines(ax, gid) else [] for off, gid in _ENDS.items())
    for end, gid in zip((left, right), _ENDS.values(), strict=True):
        for line in _lines(ax, gid):
            line.set_xdata(np.full_like(line.get_xdata(), end[0]))
    if strength.size and strength[0] < 0:
        return ax
    places = [*left, *strength, *right]
    margin = _gap(strength) ** 0.3
    ax.set_xscale("log")
    ax.set_xlim(places[0] / margin, places[-1] * margin)
    if strength.size > _TICKS:
        decades = LogLocator().tick_values(strength[0], strength[-1])
        places = [*left, *(x for x in decades if strength[0] / 1.01 <= x <= strength[-1] * 1.01), *right]
    ax.xaxis.set_major_locator(FixedLocator(places))
    ends = {place: _number(off) for off, end in zip(_ENDS, (left, right), strict=True) for place in end}
    labels = _labels(ax, places, ends)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: labels.get(x, "")))
    ax.fmt_xdata = "{:.3g}".format
    ax.xaxis.set_minor_locator(NullLocator())
    return ax


def _xlabel(path: StrengthPath, x: Hashable) -> str:
    return (_STRENGTH if x == "strength" else str(x)) + ("" if path.linear else " (logarithmic)")


def _check(values: xr.DataArray, strength: np.ndarray, x: Hashable) -> None:
    if (x == "strength" and (strength < 0).any()) or not np.isfinite(strength).all():
        least = ", at least 0" if x == "strength" else ""
        raise ValueError(f"the values of {x!r} are {strength.tolist()}; expected finite numbers{least}")
    methods = set(values["method"].values[strength > 0]) if "method" in values.coords else set()
    dim = values[x].dims[0]
    if len(methods) > 1:
        raise ValueError(
            f"the values are from several methods, {sorted(map(str, methods))}; expected one method and, optionally, "
            f"the baseline. Select them, e.g. by .sel({dim}=values.method.isin(['none', 'L2']))"
        )
    first = np.unique(strength, return_index=True)[1]
    if len(first) < strength.size:
        raise ValueError(
            f"the values of {x!r} are {values[x].values.tolist()}; expected different numbers (NaN counts as 0). "
            f"Select one entry per number, e.g. by .isel({dim}={sorted(first.tolist())})"
        )


def _lines(ax: Axes, gid: str) -> list[Line2D]:
    return [line for line in ax.get_lines() if line.get_gid() == gid]


def _strengths(ax: Axes, path: StrengthPath) -> np.ndarray:
    """Return the sorted strengths of a path and of all paths that were plotted before."""
    return np.unique(np.concatenate([path.strength, *(np.asarray(line.get_xdata()) for line in _lines(ax, _CURVE))]))


def _end(strength: np.ndarray, off: float) -> float:
    """Return the position of the baseline: beside all strengths on a logarithmic axis, and 0 on a linear axis.

    A strength of 0 is left of them, and an infinite limit is right of them.
    """
    if strength.size and strength[0] < 0:
        return 0.0
    if not strength.size:
        return 1.0
    return float(strength[-1] * _gap(strength) if off else strength[0] / _gap(strength))


def _number(strength: float) -> str:
    return "∞" if np.isposinf(strength) else number(strength, 3)


def _gap(strength: np.ndarray) -> float:
    # Distance of the baseline from the strengths: a third of their range, but at least a factor of 2, at most 10.
    decades = np.log10(strength[-1] / strength[0]) if strength.size else 0
    return float(10 ** np.clip(decades / 3, 0.3, 1))


def _labels(ax: Axes, places: Sequence[float], ends: Mapping[float, str]) -> dict[float, str]:
    # A label that would overlap the one before it is dropped.
    low, high = np.log10(ax.get_xlim())
    inches = ax.get_window_extent().width / ax.figure.dpi / (high - low)
    labels: dict[float, str] = {}
    for place in places:
        label = ends.get(place, number(place, 3))
        if labels:
            last, before = next(reversed(labels.items()))
            if np.log10(place / last) * inches < _SPACE + _CHARACTER * (len(before) + len(label)) / 2:
                continue
        labels[place] = label
    return labels


def _levels(ax: Axes) -> list[float]:
    return [float(np.asarray(line.get_ydata())[0]) for line in _lines(ax, _LEVEL)]


def _draw(
    ax: Axes,
    path: StrengthPath,
    levels: Sequence[float],
    *,
    label: str,
    colour: str,
    linestyle: str,
) -> None:
    drawn = spread(path.lanes)
    everything = path.lanes if path.baseline is None else np.column_stack([path.lanes, path.baseline])
    label = with_diverged(label, everything)
    points: dict[str, Any] = {"marker": "o", "markersize": 4}
    ax.plot(path.strength, drawn.mean, color=colour, linestyle=linestyle, label=label, gid=_CURVE, **points)
    if 1 < len(path.lanes) <= FEW:
        ax.plot(path.strength, path.lanes.T, color=colour, linestyle="", marker=".", markersize=4, alpha=0.5)
    elif len(path.lanes) > FEW and path.strength.size > 1:
        ax.fill_between(path.strength, drawn.low, drawn.high, color=colour, alpha=0.2, linewidth=0)
    elif len(path.lanes) > FEW:
        ax.vlines(path.strength, drawn.low, drawn.high, color=colour, **_BAR)
    if path.baseline is not None:
        at = _end(_strengths(ax, path), path.off)
        _draw_baseline(ax, path.baseline, at, levels, colour if levels else GREY, _ENDS[path.off])


def _draw_baseline(ax: Axes, lanes: np.ndarray, at: float, levels: Sequence[float], colour: str, gid: str) -> None:
    """Plot a baseline at an end of the axis, and its level across the axis. A known level is not drawn again."""
    level = spread(lanes[:, None])
    if level.mean[0] in levels:
        return
    ax.axhline(level.mean[0], color=colour, linestyle=":", linewidth=1.0, gid=_LEVEL)
    ax.plot([at], level.mean, color=colour, marker="o", markersize=4, markerfacecolor="white", gid=gid)
    if 1 < len(lanes) <= FEW:
        dots: dict[str, Any] = {"linestyle": "", "marker": ".", "alpha": 0.5}
        ax.plot(np.full(len(lanes), at), lanes, color=colour, gid=gid, **dots)
    elif len(lanes) > FEW:
        ax.plot([at, at], [level.low[0], level.high[0]], color=colour, gid=gid, **_BAR)
