"""Plots of learning curves, weight norms and constraint violations against the epoch or another measure of time.

Up to 8 runs are plotted as their mean and one thin line per run. More runs are plotted as their mean and a band with
the middle 80 % of the runs. From the epoch of its divergence on, a diverged run is left out. The legend gives the
number of diverged runs.
"""

from collections.abc import Hashable
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from jaxreg.lab.plots.theme import (
    BLUE,
    COLOURS,
    VERMILION,
    as_lanes,
    axes,
    axis_label,
    legend,
    next_colour,
    pair_labels,
)

FEW = 8
QUANTILES = (0.1, 0.9)


class Spread(NamedTuple):
    """Mean, 10th and 90th percentile of the runs at each point of a curve, ignoring NaN and infinite values."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def spread(lanes: np.ndarray) -> Spread:
    """Compute the mean, 10th and 90th percentile of the runs at each point of a curve.

    NaN and infinite values are ignored.

    Args:
        lanes: Values of shape (runs, points).

    Returns:
        A `Spread`.

    Example:
        >>> spread(np.array([[1.0, 2.0], [3.0, np.nan]])).mean
        array([2., 2.])
    """
    x = np.asarray(lanes, dtype=np.float64)
    alive = np.isfinite(x)
    some = alive.any(axis=0)
    result = np.full((3, x.shape[1]), np.nan)
    if alive.all():
        result[0], result[1:] = x.mean(axis=0), np.quantile(x, QUANTILES, axis=0)
    elif some.any():
        part = np.where(alive, x, np.nan)[:, some]
        result[0, some], result[1:, some] = np.nanmean(part, axis=0), np.nanquantile(part, QUANTILES, axis=0)
    return Spread(*result)


def curve(
    ax: Axes | None,
    values: xr.DataArray,
    *,
    colour: str,
    label: str,
    linestyle: str = "-",
    ylabel: str = "",
    x: Hashable = "epoch",
) -> Axes:
    """Plot a quantity against the epoch, with its spread across runs.

    Up to 8 runs are plotted as their mean and one thin line per run. More runs are plotted as their mean and a band
    with the middle 80 % of the runs.

    Args:
        ax: Matplotlib axes to plot into. None makes a new figure with a single plot.
        values: Values with the dimension `x`. Several runs lie along `draw`, `seed` or both.
        colour: Colour of the lines and the band.
        label: Label in the legend. If runs diverged, their number is appended to the label.
        linestyle: Matplotlib line style.
        ylabel: Label of the vertical axis. If empty, the label is made from the name of the values.
        x: Dimension on the horizontal axis. The name of the dimension is the label of the axis.

    Returns:
        The axes of the plot.

    Raises:
        ValueError: If the dimension `x` is missing, or a dimension other than `x`, `draw` and `seed` has several
            entries. Select one entry of this dimension before plotting.

    Example:
        `BLUE` is the colour "#0072B2", from `jaxreg.lab.plots.theme`.

        >>> from matplotlib.figure import Figure
        >>> loss = xr.DataArray(np.ones((3, 5)), dims=("seed", "epoch"), name="test_loss")
        >>> ax = curve(Figure().add_subplot(), loss, colour=BLUE, label="test")
        >>> ax.get_ylabel()
        'test loss'
    """
    ax = axes(ax)
    epochs, lanes = _lanes(values, x)
    drawn = spread(lanes)
    ax.plot(
        epochs,
        drawn.mean,
        color=colour,
        linestyle=linestyle,
        marker="o" if epochs.size == 1 else None,
        label=with_diverged(label, lanes),
    )
    if 1 < len(lanes) <= FEW:
        ax.plot(epochs, lanes.T, color=colour, linestyle=linestyle, linewidth=0.6, alpha=0.5)
    elif len(lanes) > FEW:
        ax.fill_between(epochs, drawn.low, drawn.high, color=colour, alpha=0.2, linewidth=0)
    ax.set_xlabel(str(x))
    ax.set_ylabel(ylabel or axis_label(values.name))
    legend(ax, shown(len(lanes)))
    return ax


def learning_curves(
    ax: Axes | None,
    train: xr.DataArray,
    test: xr.DataArray,
    *,
    name: str = "",
    colours: tuple[str, str] | None = None,
    ylabel: str = "",
    x: Hashable = "epoch",
) -> Axes:
    """Plot training values (dashed) and test values (solid) against the epoch.

    Up to 8 runs are plotted as their mean and one thin line per run. More runs are plotted as their mean and a band
    with the middle 80 % of the runs.

    To compare two recipes, call the function twice on the same axes, each time with the `name` of the recipe. Each call
    takes the next colour of the theme, unless `colours` is given.

    Args:
        ax: Matplotlib axes to plot into. None makes a new figure with a single plot.
        train: Training values with the dimension `x`. Several runs lie along `draw`, `seed` or both.
        test: Test values with the same dimensions as `train`. The legend calls the curves "train" and "val" if the
            values are named `train_loss` and `val_loss`. Without such a pair of names, it calls them "train" and
            "test".
        name: Name of the recipe in the legend.
        colours: Colours of the training curve and the test curve, such as `(GREY, GREY)` for a baseline. By default,
            both curves have the next unused colour.
        ylabel: Label of the vertical axis. If empty, the label is made from the name of the values.
        x: Dimension on the horizontal axis. The name of the dimension is the label of the axis.

    Returns:
        The axes of the plot.

    Raises:
        ValueError: If the dimension `x` is missing, or a dimension other than `x`, `draw` and `seed` has several
            entries. Select one entry of this dimension before plotting.

    Example:
        >>> from matplotlib.figure import Figure
        >>> accuracy = xr.DataArray(np.ones((3, 5)), dims=("seed", "epoch"), name="test_accuracy")
        >>> ax = learning_curves(Figure().add_subplot(), accuracy, accuracy, name="L2(0.001)")
        >>> ax.get_legend_handles_labels()[1]
        ['L2(0.001), train', 'L2(0.001), test']
    """
    ax = axes(ax)
    before = f"{name}, " if name else ""
    first, second, metric = pair_labels(train, test)
    colours = colours or (next_colour(ax, BLUE),) * 2
    curve(ax, train, colour=colours[0], label=before + first, linestyle="--", x=x)
    return curve(ax, test, colour=colours[1], label=before + second, ylabel=ylabel or metric, x=x)


def weight_norms(ax: Axes | None, sweep: xr.Dataset, *, name: str = "", linestyle: str = "-") -> Axes:
    """Plot the norm of every kernel against the epoch, one colour per kernel.

    Up to 8 runs are plotted as their mean and one thin line per run. More runs are plotted as their mean and a band
    with the middle 80 % of the runs.

    To compare two recipes, call the function twice on the same axes. Give each recipe its own name and line style.

    Args:
        ax: Matplotlib axes to plot into. None makes a new figure with a single plot.
        sweep: Dataset with one variable `norm/<path>` along `epoch` per kernel, as `jaxreg.lab.fit` returns them.
            Several runs lie along `draw`, `seed` or both.
        name: Name of the recipe in the legend.
        linestyle: Matplotlib line style.

    Returns:
        The axes of the plot.

    Raises:
        ValueError: If the sweep has no variable `norm/<path>`, or such a variable lacks the dimension `epoch`. Also if
            such a variable has several entries along a dimension other than `epoch`, `draw` and `seed`.

    Example:
        >>> from matplotlib.figure import Figure
        >>> sweep = xr.Dataset({"norm/hidden/kernel": ("epoch", [3.0, 2.0, 1.0])})
        >>> weight_norms(Figure().add_subplot(), sweep).get_legend_handles_labels()[1]
        ['hidden/kernel']
    """
    ax = axes(ax)
    norms = {str(key): values for key, values in sweep.data_vars.items() if str(key).startswith("norm/")}
    if not norms:
        raise ValueError(
            f"weight_norms: the sweep has the variables {sorted(map(str, sweep.data_vars))}; expected variables "
            f"named 'norm/<path of the kernel>', which a training sweep stores"
        )
    before = f"{name}, " if name else ""
    for place, (key, values) in enumerate(norms.items()):
        colour = COLOURS[place % len(COLOURS)]
        curve(ax, values, colour=colour, label=before + key.removeprefix("norm/"), linestyle=linestyle)
    ax.set_ylim(bottom=0)
    return ax


def violation(ax: Axes | None, values: xr.DataArray, *, name: str = "violation", colour: str = "") -> Axes:
    """Plot the constraint violation against the epoch; 0 means that the weights are feasible.

    Up to 8 runs are plotted as their mean and one thin line per run. More runs are plotted as their mean and a band
    with the middle 80 % of the runs.

    Args:
        ax: Matplotlib axes to plot into. None makes a new figure with a single plot.
        values: Largest distance of a group of weights from its constraint set, such as the output `violation` of
            `jaxreg.lab.fit`. The values have the dimension `epoch`. Several runs lie along `draw`, `seed` or both.
        name: Name of the recipe in the legend.
        colour: Colour of the lines and the band. If empty, the next unused colour is taken.

    Returns:
        The axes of the plot.

    Raises:
        ValueError: If the dimension `epoch` is missing, or a dimension other than `epoch`, `draw` and `seed` has
            several entries.

    Example:
        >>> from matplotlib.figure import Figure
        >>> outside = xr.DataArray([0.5, 0.0, 0.0], dims="epoch", name="violation")
        >>> violation(Figure().add_subplot(), outside).get_ylabel()
        'largest violation (weight units)'
    """
    ax = axes(ax)
    ax.axhline(0.0, color="black", linewidth=0.8)
    curve(ax, values, colour=colour or next_colour(ax, VERMILION), label=name, ylabel=axis_label("violation"))
    if not np.nanmax(values.values, initial=0.0) > 0:
        ax.set_ylim(-0.05, 1.0)
    return ax


def shown(lanes: int) -> str:
    """Return a legend title that explains lines and bands, such as "mean and middle 80 % of 64 runs".

    Args:
        lanes: Number of runs.

    Returns:
        The title; empty for a single run.

    Example:
        >>> shown(64)
        'mean and middle 80 % of 64 runs'
    """
    if lanes == 1:
        return ""
    return f"mean and each of {lanes} runs" if lanes <= FEW else f"mean and middle 80 % of {lanes:,} runs"


def with_diverged(label: str, lanes: np.ndarray) -> str:
    """Append the number of diverged runs to a label.

    Args:
        label: Label in the legend.
        lanes: Values of shape (runs, points).

    Returns:
        The label with the number of diverged runs. The label is unchanged if no run diverged.

    Example:
        >>> with_diverged("test", np.array([[1.0, np.nan], [1.0, 2.0]]))
        'test, 1 of 2 diverged'
    """
    dead = int((~np.isfinite(lanes)).any(axis=1).sum())
    return f"{label}, {dead} of {len(lanes)} diverged" if dead else label


def _lanes(values: xr.DataArray, x: Hashable) -> tuple[np.ndarray, np.ndarray]:
    if x not in values.dims:
        raise ValueError(
            f"the values have dimensions {values.dims}; expected a dimension {x!r}. Name another dimension with x="
        )
    return values[x].values, as_lanes(values, x)
