"""Heat map of a metric over two axes of a sweep, such as two penalty strengths."""

from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.patches import Rectangle

from jaxreg.lab.plots.theme import VERMILION, as_lanes, axes, axis_label, number

# With more cells per side, cells show no numbers, and each axis gets only so many labels.
_CELLS = 8
_LABELS = 6


def heat_map(
    ax: Axes | None,
    values: xr.DataArray,
    x: Hashable,
    y: Hashable,
    *,
    chosen: tuple[Any, Any] | None = None,
) -> Axes:
    """Plot a heat map over two dimensions of a sweep, such as two penalty strengths. Colours show the mean across runs.

    A cell with a diverged run has no mean and is grey. In a grid with at most 8 cells per side, each cell shows its
    mean or its number of diverged runs.

    Args:
        ax: Matplotlib axes to plot into. None makes a new figure with a single plot.
        values: One number per run, with the dimensions `x` and `y`. Several runs lie along `draw`, `seed` or both. The
            name of the array is the label of the colour bar. Names that `jaxreg.lab.fit` returns are written out: for
            example, `test_loss` becomes "test loss". Other names do not change.
        x: Dimension on the horizontal axis. Its coordinates are numbers or words. Its name is the label of the axis.
        y: Dimension on the vertical axis. Its coordinates are numbers or words. Its name is the label of the axis.
        chosen: Pair of coordinates (x, y) of the cell that gets a frame.

    Returns:
        The axes with the plot.

    Raises:
        ValueError: If `x` or `y` is not a dimension of the values, or the chosen pair is not in the grid. Also if a
            dimension other than `x`, `y`, `draw` and `seed` has several entries. Select one entry of this dimension
            before plotting.

    Example:
        >>> from matplotlib.figure import Figure
        >>> grid = {"l1": [0.0, 1e-3], "l2": [0.0, 1e-3, 1e-2]}
        >>> accuracy = xr.DataArray(np.full((2, 3), 0.9), coords=grid, dims=("l1", "l2"), name="accuracy")
        >>> heat_map(Figure().add_subplot(), accuracy, "l2", "l1").get_xlabel()
        'l2'
    """
    ax = axes(ax)
    if not {x, y} <= set(values.dims):
        raise ValueError(
            f"heat_map: x is {x!r} and y is {y!r}; expected the names of two of the dimensions "
            f"{values.dims} of the values"
        )
    cells = as_lanes(values, y, x)
    dead = (~np.isfinite(cells)).sum(axis=0)
    mean = np.where(dead == 0, np.where(np.isfinite(cells), cells, 0.0).mean(axis=0), np.nan)
    ax.set_facecolor("#D0D0D0")
    ax.grid(visible=False)
    mesh = ax.pcolormesh(np.ma.masked_invalid(mean), cmap="cividis")
    if ax.figure is not None:
        ax.figure.colorbar(mesh, ax=ax, label=axis_label(values.name))
    for axis, dim in ((ax.xaxis, x), (ax.yaxis, y)):
        step = 1 if values.sizes[dim] <= _CELLS else -(-values.sizes[dim] // _LABELS)
        axis.set_ticks(np.arange(0, values.sizes[dim], step) + 0.5, _tick_labels(values[dim].values[::step]))
        axis.set_label_text(str(dim))
    _write_cells(ax, mesh, mean, dead)
    if chosen is not None:
        _frame(ax, values[x].values, values[y].values, chosen)
    return ax


def _write_cells(ax: Axes, mesh: QuadMesh, mean: np.ndarray, dead: np.ndarray) -> None:
    if max(mean.shape) > _CELLS:
        return
    for (row, column), value in np.ndenumerate(mean):
        if dead[row, column]:
            text, colour = f"{dead[row, column]}\ndiverged", "black"
        else:
            lightness = np.dot(mesh.to_rgba(value)[:3], (0.299, 0.587, 0.114))
            text, colour = f"{value:#.3g}".rstrip("."), "white" if lightness < 0.5 else "black"
        ax.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=7, color=colour)


def _tick_labels(values: np.ndarray) -> list[str]:
    # Numbers with as few digits as tell them apart, at least two.
    if not np.issubdtype(values.dtype, np.number):
        return list(map(str, values))
    labels: list[str] = []
    for digits in range(2, 7):
        labels = [number(value, digits) for value in values]
        if len(set(labels)) == len(labels):
            break
    return labels


def _frame(ax: Axes, xs: np.ndarray, ys: np.ndarray, chosen: tuple[Any, Any]) -> None:
    columns, rows = (
        np.flatnonzero(np.isclose(v, c, rtol=1e-5) if np.issubdtype(v.dtype, np.number) else v == c)
        for v, c in zip((xs, ys), chosen, strict=True)
    )
    if not (columns.size and rows.size):
        raise ValueError(
            f"`chosen` is {chosen}; expected a pair (x, y), where x is one of the values {xs.tolist()} and y is one of "
            f"the values {ys.tolist()}"
        )
    corner = (float(columns[0]), float(rows[0]))
    ax.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=VERMILION, linewidth=2.5, label="chosen", zorder=3))
