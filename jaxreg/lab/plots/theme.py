"""Style of all plots: axis labels with units, and colours that also work in grey and for colour-blind readers."""

from collections.abc import Hashable
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from jaxreg.lab.stats.lanes import OVER, has_words, one_entry

# Okabe and Ito (2008), without yellow, which is invisible on white paper. Neighbours differ in lightness.
BLUE = "#0072B2"
ORANGE = "#E69F00"
GREEN = "#009E73"
VERMILION = "#D55E00"
SKY = "#56B4E9"
PURPLE = "#CC79A7"
BLACK = "#000000"
GREY = "#767676"
COLOURS = (BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, BLACK)
"""Colours of the curves in a plot, in order of use."""

_INSIDE = 3  # entries of a legend that fit inside the axes
_LABEL_HEIGHT = 0.42  # inches for the ticks and the label under the axes
_LINE_HEIGHT, _CHARACTER = 0.15, 0.062  # inches of a line of small text, and of a letter in it
_LONGEST = 30  # letters of a label next to a line

_PARTS = ("train", "validation", "test")
_METRICS = {"loss": "loss", "accuracy": "accuracy (fraction correct)"}
_UNITS = {
    **{f"{part}_{metric}": f"{part} {label}" for part in _PARTS for metric, label in _METRICS.items()},
    "violation": "largest violation (weight units)",
    "norm": "Frobenius norm (weight units)",
}
"""Labels of the variables that `jaxreg.lab.fit` returns. All other variables are labelled with their names."""


def style() -> AbstractContextManager[None]:
    """Return a context manager that sets the plot style inside a `with` block.

    Returns:
        A context manager.

    Example:
        >>> from matplotlib.figure import Figure
        >>> with style():
        ...     ax = Figure().add_subplot()
        >>> ax.spines["top"].get_visible()
        False
    """
    return mpl.rc_context(
        {
            "axes.axisbelow": True,
            "axes.grid": True,
            "axes.prop_cycle": cycler(color=COLOURS),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlesize": 10,
            "axes.titleweight": "bold",
            "figure.constrained_layout.use": True,
            "figure.figsize": (5.4, 3.6),
            "font.size": 9,
            "grid.alpha": 0.35,
            "grid.linewidth": 0.5,
            "legend.fontsize": 8,
            "legend.frameon": True,
            "legend.framealpha": 0.85,
            "legend.edgecolor": "none",
            "legend.title_fontsize": 8,
            "lines.linewidth": 1.6,
            "savefig.dpi": 160,
        }
    )


def axes(ax: Axes | None) -> Axes:
    """Return `ax`, or the axes of a new figure if `ax` is None.

    To save or show the new figure, use the attribute `figure` of the returned axes.

    Args:
        ax: Axes, or None.
    """
    return Figure(layout="constrained").add_subplot() if ax is None else ax


def next_colour(ax: Axes, first: str) -> str:
    """Return an unused colour for a new line: `first` if it is unused, otherwise the first unused colour of `COLOURS`.

    Args:
        ax: Axes with the existing lines.
        first: Preferred colour. It is also returned if all colours are in use.

    Example:
        >>> from matplotlib.figure import Figure
        >>> ax = Figure().add_subplot()
        >>> _ = ax.plot([0, 1], color=BLACK)
        >>> next_colour(ax, BLACK) == BLUE
        True
    """
    used = {to_hex(line.get_color()).upper() for line in ax.get_lines()}
    return next((colour for colour in (first, *COLOURS) if colour not in used), first)


def axis_label(name: Hashable | None) -> str:
    """Turn the name of a variable into an axis label.

    Args:
        name: Name of the variable, such as `"test_accuracy"` or `"norm/hidden/kernel"`.

    Returns:
        For a variable that `jaxreg.lab.fit` returns, the quantity and its unit. For any other variable, its name.

    Example:
        >>> axis_label("validation_loss")
        'validation loss'
        >>> axis_label("margin")
        'margin'
    """
    text = "value" if name is None else str(name)
    return _UNITS.get("norm" if text.startswith("norm/") else text, text)


def pair_labels(train: xr.DataArray, test: xr.DataArray) -> tuple[str, str, str]:
    """Return labels for a training curve, a test curve and their common axis, such as ("train", "test", "loss").

    Args:
        train: Values of the first curve.
        test: Values of the second curve.

    Returns:
        Labels of the first curve, the second curve and the axis. If the names of the values differ only before their
        first underscores, the words before the underscores label the curves. Otherwise, the labels of the curves are
        "train" and "test".

    Example:
        >>> pair_labels(xr.DataArray(0, name="fit_error"), xr.DataArray(0, name="val_error"))
        ('fit', 'val', 'error')
        >>> pair_labels(xr.DataArray(0, name="error"), xr.DataArray(0, name="error"))
        ('train', 'test', 'error')
    """
    (first, _, metric), (second, _, other) = (str(values.name).partition("_") for values in (train, test))
    if not metric or metric != other or first == second:
        return "train", "test", axis_label(test.name)
    return first, second, _METRICS[metric] if test.name in _UNITS else metric


def as_lanes(values: xr.DataArray, *shown: Hashable) -> np.ndarray:
    """Combine draws and seeds into one axis, and put it first. The other axes are the dimensions `shown`, in order.

    Args:
        values: Values with the dimensions of the plot, and with runs along the dimensions `draw` and `seed`.
        shown: Dimensions of the plot.

    Raises:
        ValueError: If a dimension other than `shown`, `draw` and `seed` has more than one entry.

    Example:
        >>> as_lanes(xr.DataArray(np.ones((2, 3, 4)), dims=("seed", "epoch", "draw")), "epoch").shape
        (8, 3)
    """
    for dim in values.dims:
        if dim not in (*shown, *OVER) and values.sizes[dim] > 1:
            free = [name for name in reversed(OVER) if name not in values.dims and not has_words(values, dim)]
            runs = f". If the entries are runs, rename the dimension: .rename({dim}={free[0]!r})" if free else ""
            raise ValueError(
                f"the values have the dimension {dim!r} with {values.sizes[dim]} entries, which the plot does not "
                "show; expected runs along 'draw' and 'seed' only. Select one entry, e.g. "
                f"{one_entry(values, dim)}{runs}"
            )
    ordered = values.transpose(..., *shown).astype(np.float64)
    return ordered.values.reshape(-1, *(values.sizes[dim] for dim in shown))


def number(value: float, digits: int) -> str:
    """Format a number with `digits` significant digits. Whole numbers below a million get all digits.

    Args:
        value: Number to write.
        digits: Number of significant digits.

    Example:
        >>> number(1024.0, 3), number(0.12345, 3), number(1e-5, 3)
        ('1024', '0.123', '1e-05')
    """
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e6 else f"{value:.{digits}g}"


def legend(ax: Axes, title: str = "", *, below: bool = False) -> None:
    """Add a legend of all labelled curves. Call `legend` again after adding more curves.

    Args:
        ax: Axes with the plot.
        title: Title of the legend, such as the meaning of the bands and points.
        below: Whether to place the legend below the axes. A legend with more than three entries is always placed below,
            because it would hide curves inside the axes.

    Example:
        >>> from matplotlib.figure import Figure
        >>> ax = Figure().add_subplot()
        >>> _ = ax.plot([0, 1], label="train")
        >>> legend(ax, "mean of 3 runs")
        >>> ax.get_legend().get_title().get_text()
        'mean of 3 runs'
    """
    entries = len(ax.get_legend_handles_labels()[1])
    place: dict[str, Any] = {}
    if below or entries > _INSIDE:
        under_the_label = ax.transAxes + ScaledTranslation(0, -_LABEL_HEIGHT, ax.figure.dpi_scale_trans)
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, 0.0), "bbox_transform": under_the_label}
        place |= {"ncols": min(entries, 2), "handlelength": 1.4, "handletextpad": 0.5, "columnspacing": 1.0}
    if entries:
        drawn = ax.legend(title=title or None, alignment="left", **place)
        if place and drawn.get_window_extent().width > ax.bbox.width:  # long names side by side
            drawn = ax.legend(title=title or None, alignment="left", **place | {"ncols": 1})
        for handle in drawn.legend_handles:
            if isinstance(handle, PathCollection):
                handle.set_sizes([24.0])  # the points of ten thousand draws are too small for a legend


def label_lines(ax: Axes) -> float:
    """Write each label next to the right end of its line, instead of a legend.

    Args:
        ax: Axes with all their lines and with their final limits.

    Returns:
        Width in inches that the labels need at the right of the axes.

    Example:
        >>> from matplotlib.figure import Figure
        >>> ax = Figure().add_subplot()
        >>> _ = ax.plot([0, 1], [2, 2], label="test"), ax.plot([0, 1], [2, 2], label="train")
        >>> label_lines(ax) > 0
        True
        >>> [text.get_text() for text in ax.texts]
        ['test', 'train']
    """
    if (key := ax.get_legend()) is not None:
        key.remove()
    ends: list[tuple[float, Line2D]] = []
    for line in ax.get_lines():
        y = np.asarray(line.get_ydata(), np.float64)
        if not str(line.get_label()).startswith("_") and np.isfinite(y).any():
            at = ax.transData.transform((0 if ax.get_xscale() == "linear" else 1, y[np.isfinite(y)][-1]))[1]
            ends.append((float(np.clip((at - ax.bbox.y0) / ax.bbox.height, 0, 1)), line))
    ends.sort(key=lambda end: end[0])
    heights = _apart([height for height, _ in ends], _LINE_HEIGHT * ax.figure.dpi / ax.bbox.height)
    for height, (_, line) in zip(heights, ends, strict=True):
        ax.annotate(
            _shortened(line), (1, height), (5, 0), "axes fraction", "offset points", va="center",
            color=line.get_color(), fontsize=8, annotation_clip=False,
        )  # fmt: skip
    return 0.1 + _CHARACTER * max((len(_shortened(line)) for _, line in ends), default=0)


def _shortened(line: Line2D) -> str:
    label = str(line.get_label())
    return label if len(label) <= _LONGEST else f"{label[: _LONGEST - 1]}…"


def _apart(heights: list[float], gap: float) -> list[float]:
    """Return sorted heights in [0, 1], moved so that neighbours differ by at least `gap`.

    Heights are moved upwards. Heights that are then above 1 are moved down again.
    """
    moved: list[float] = []
    for height in heights:
        moved.append(max(height, moved[-1] + gap) if moved else height)
    top = 1.0
    for place in reversed(range(len(moved))):
        moved[place] = min(moved[place], top)
        top = moved[place] - gap
    return moved
