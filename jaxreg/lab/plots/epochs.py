"""Plots over the epochs: learning curves, weight norms, violation.

A curve of few runs is drawn as the mean and every run; of many, as the mean and the band that holds the middle 80 % of
the runs. Runs that diverged leave both from that epoch on, and are counted in the legend.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from jaxreg.lab.plots.theme import BLUE, COLOURS, VERMILION, axes, axis_label, legend

FEW = 8
QUANTILES = (0.1, 0.9)


class Spread(NamedTuple):
    """Mean and middle 80 % of runs: arrays of shape (points,), NaN where no run is finite."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def spread(lanes: np.ndarray) -> Spread:
    """Summarise runs point by point: the mean, and the ends of the middle 80 %, of the finite ones.

    Args:
        lanes: Values of shape (lanes, points).

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
    ax: Axes | None, values: xr.DataArray, *, colour: str, label: str, linestyle: str = "-", ylabel: str = ""
) -> Axes:
    """Draw one quantity over the epochs, with its spread over runs.

    Args:
        ax: Axes to draw into. None makes a figure with one pair of axes.
        values: Dimension `epoch`; every other dimension holds runs.
        colour: Colour of the line and its band.
        label: Label in the legend; the number of diverged runs is added to it.
        linestyle: Line style of Matplotlib.
        ylabel: Label of the vertical axis; by the name of the values if empty.

    Returns:
        The same axes.

    Raises:
        ValueError: If there is no dimension `epoch`.

    Example:
        >>> from matplotlib.figure import Figure
        >>> loss = xr.DataArray(np.ones((3, 5)), dims=("seed", "epoch"), name="test_loss")
        >>> ax = curve(Figure().add_subplot(), loss, colour=BLUE, label="test")
        >>> ax.get_ylabel()
        'loss'
    """
    ax = axes(ax)
    epochs, lanes = _lanes(values)
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
    ax.set_xlabel("epoch")
    ax.set_ylabel(ylabel or axis_label(values.name))
    legend(ax, shown(len(lanes)))
    return ax


def learning_curves(
    ax: Axes | None,
    train: xr.DataArray,
    test: xr.DataArray,
    *,
    name: str = "",
    colours: tuple[str, str] = (BLUE, BLUE),
    ylabel: str = "",
) -> Axes:
    """Draw train (dashed) and test (solid) over the epochs.

    For two recipes call it twice on the same axes, with a name and one colour each, such as
    `colours=(GREY, GREY)` for the baseline.

    Args:
        ax: Axes to draw into. None makes a figure with one pair of axes.
        train: Dimension `epoch`; every other dimension holds runs.
        test: Same on the test data.
        name: Name of the recipe, for the legend.
        colours: Colours of train and of test.
        ylabel: Label of the vertical axis; by the name of the values if empty.

    Returns:
        The same axes.

    Raises:
        ValueError: If there is no dimension `epoch`.

    Example:
        >>> from matplotlib.figure import Figure
        >>> accuracy = xr.DataArray(np.ones((3, 5)), dims=("seed", "epoch"), name="test_accuracy")
        >>> ax = learning_curves(Figure().add_subplot(), accuracy, accuracy, name="L2(0.001)")
        >>> ax.get_legend_handles_labels()[1]
        ['L2(0.001), train', 'L2(0.001), test']
    """
    ax = axes(ax)
    before = f"{name}, " if name else ""
    curve(ax, train, colour=colours[0], label=f"{before}train", linestyle="--", ylabel=ylabel)
    return curve(ax, test, colour=colours[1], label=f"{before}test", ylabel=ylabel)


def weight_norms(ax: Axes | None, sweep: xr.Dataset, *, name: str = "", linestyle: str = "-") -> Axes:
    """Draw the norm of every kernel over the epochs, one colour per kernel.

    For two recipes call it twice on the same axes, with a name and a line style each.

    Args:
        ax: Axes to draw into. None makes a figure with one pair of axes.
        sweep: Dataset with variables `norm/<path>`; dimension `epoch`, all others hold runs.
        name: Name of the recipe, for the legend.
        linestyle: Line style of Matplotlib.

    Returns:
        The same axes.

    Raises:
        ValueError: If the sweep has no such variable.

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
            f"no weight norms to draw: got variables {sorted(map(str, sweep.data_vars))}, expected some named "
            f"'norm/<path of the kernel>', as a training sweep stores them"
        )
    before = f"{name}, " if name else ""
    for place, (key, values) in enumerate(norms.items()):
        colour = COLOURS[place % len(COLOURS)]
        curve(ax, values, colour=colour, label=before + key.removeprefix("norm/"), linestyle=linestyle)
    ax.set_ylim(bottom=0)
    return ax


def violation(ax: Axes | None, values: xr.DataArray, *, name: str = "violation", colour: str = VERMILION) -> Axes:
    """Draw how far the weights are outside their constraint over the epochs; 0 is feasible.

    Args:
        ax: Axes to draw into. None makes a figure with one pair of axes.
        values: Dimension `epoch`; every other dimension holds runs. In units of the weights.
        name: Name of the recipe, for the legend.
        colour: Colour of the line and its band.

    Returns:
        The same axes.

    Raises:
        ValueError: If there is no dimension `epoch`.

    Example:
        >>> from matplotlib.figure import Figure
        >>> outside = xr.DataArray([0.5, 0.0, 0.0], dims="epoch", name="violation")
        >>> violation(Figure().add_subplot(), outside).get_ylabel()
        'largest violation (weight units)'
    """
    ax = axes(ax)
    ax.axhline(0.0, color="black", linewidth=0.8)
    curve(ax, values, colour=colour, label=name, ylabel=axis_label("violation"))
    if not np.nanmax(values.values, initial=0.0) > 0:
        ax.set_ylim(-0.05, 1.0)
    return ax


def shown(lanes: int) -> str:
    """Return the title of a legend that says how so many runs are drawn.

    Args:
        lanes: Number of runs.

    Returns:
        A few words; none for a single lane, which stands for itself.

    Example:
        >>> shown(64)
        'mean and middle 80 % of 64 lanes'
    """
    if lanes == 1:
        return ""
    return f"mean and each of {lanes} lanes" if lanes <= FEW else f"mean and middle 80 % of {lanes:,} lanes"


def with_diverged(label: str, lanes: np.ndarray) -> str:
    """Add to a label the number of runs that diverged.

    Args:
        label: Label in the legend.
        lanes: Values of shape (lanes, points).

    Returns:
        The label, unchanged if every lane is finite.

    Example:
        >>> with_diverged("test", np.array([[1.0, np.nan], [1.0, 2.0]]))
        'test, 1 of 2 diverged'
    """
    dead = int((~np.isfinite(lanes)).any(axis=1).sum())
    return f"{label}, {dead} of {len(lanes)} diverged" if dead else label


def _lanes(values: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    if "epoch" not in values.dims:
        raise ValueError(f"a curve needs a value per epoch: got dimensions {values.dims}, expected 'epoch' among them")
    ordered = values.transpose(..., "epoch")
    return values["epoch"].values, ordered.values.reshape(-1, values.sizes["epoch"]).astype(np.float64)
