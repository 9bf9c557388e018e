"""Plots of data and of trained models."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from numpy.typing import ArrayLike

from jaxreg.lab.plots.theme import BLACK, BLUE, GREY, axes, legend

_LEVELS = (0, 0.1, 0.3, 0.5, 0.7, 0.9, 1)


def data(ax: Axes | None, points: ArrayLike, labels: ArrayLike, *, name: str = "", hollow: bool = False) -> Axes:
    """Plot the points of two classes, each class with its own marker and shade.

    Args:
        ax: Axes to plot into. None makes a figure with one pair of axes.
        points: Points of shape (n, 2).
        labels: Class of each point, of shape (n,), 0 or 1.
        name: Name of the data in the legend, e.g. `"train"`.
        hollow: If True, only the outlines of the markers are plotted, e.g. for test data on top of training data.

    Returns:
        The axes with the plot.

    Raises:
        ValueError: If the shapes do not match, or a label is not 0 or 1.

    Example:
        >>> from matplotlib.figure import Figure
        >>> ax = data(Figure().add_subplot(), [[0.0, 1.0], [1.0, 0.0]], [0, 1], name="train")
        >>> ax.get_legend_handles_labels()[1]
        ['train, class 0', 'train, class 1']
    """
    ax = axes(ax)
    x, y = _two_classes(points, labels)
    size = float(np.clip(4000 / max(len(x), 1), 4, 26))
    for place, (marker, colour) in enumerate((("o", BLACK), ("^", GREY))):
        part = x[y == place]
        ax.scatter(
            part[:, 0],
            part[:, 1],
            s=size,
            marker=marker,
            facecolors="none" if hollow else colour,
            edgecolors=colour,
            linewidths=1.0 if hollow else 0.4,
            label=f"{name}, class {place}" if name else f"class {place}",
        )
    ax.set_xlabel("first feature")
    ax.set_ylabel("second feature")
    ax.set_aspect("equal")
    legend(ax, below=True)
    return ax


def decision_surface(ax: Axes | None, x: ArrayLike, y: ArrayLike, probability: ArrayLike) -> Axes:
    """Plot predicted probabilities of class 1 as shades of grey, and the decision boundary at probability ½.

    To show the data too, call `jaxreg.lab.plots.data` afterwards, so that its points are plotted on top.

    Args:
        ax: Axes to plot into. None makes a figure with one pair of axes.
        x: Ascending values of the first feature, of shape (columns,).
        y: Ascending values of the second feature, of shape (rows,).
        probability: Probability of class 1 at every (x, y), of shape (rows, columns).

    Returns:
        The axes with the plot.

    Raises:
        ValueError: If `probability` does not have the shape (rows, columns), or `x` or `y` has fewer than two values.
            If a probability is below 0, above 1 or NaN, as after divergence of the network.

    Example:
        >>> from matplotlib.figure import Figure
        >>> ax = decision_surface(Figure().add_subplot(), [0, 1, 2], [0, 1], [[0.0, 0.5, 1.0], [0.1, 0.6, 1.0]])
        >>> ax.get_xlabel()
        'first feature'
    """
    ax = axes(ax)
    across, up, p = (np.asarray(v, dtype=np.float64) for v in (x, y, probability))
    if p.shape != (up.size, across.size) or min(p.shape) < 2:
        raise ValueError(
            f"decision_surface: `probability` has shape {p.shape}, `x` has {across.size} values and `y` has {up.size} "
            "values; expected shape (len(y), len(x)), and at least two values in `x` and in `y`"
        )
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(
            f"decision_surface: {int((~((p >= 0) & (p <= 1))).sum())} of {p.size} predictions are not "
            f"probabilities; expected only numbers from 0 to 1. Plot a model that did not diverge"
        )
    clear = (*to_rgb(GREY), 0.0)
    shades = LinearSegmentedColormap.from_list("class 1", [clear, (*clear[:3], 0.5)])
    ax.contourf(across, up, p, levels=_LEVELS, cmap=shades, vmin=0, vmax=1)
    if p.min() < 0.5 < p.max():
        ax.contour(across, up, p, levels=[0.5], colors=[BLACK], linewidths=1.2)
        ax.plot([], [], color=BLACK, linewidth=1.2, label="boundary, p = ½")
    ax.set_xlabel("first feature")
    ax.set_ylabel("second feature")
    ax.set_aspect("equal")
    ax.grid(visible=False)
    legend(ax, below=True)
    return ax


def weight_histograms(
    ax: Axes | None,
    before: ArrayLike,
    after: ArrayLike,
    *,
    names: tuple[str, str] = ("before", "after"),
    colours: tuple[str, str] = (GREY, BLUE),
) -> Axes:
    """Plot histograms of two sets of weights, such as one kernel before and after training.

    Weights that are exactly 0 are not plotted, because their bar would be far higher than all other bars. The legend
    gives the share of zeros in per cent.

    Args:
        ax: Axes to plot into. None makes a figure with one pair of axes.
        before: First weights, of any shape.
        after: Second weights, of any shape.
        names: Names of the two histograms in the legend.
        colours: Colours of the two histograms.

    Returns:
        The axes with the plot.

    Raises:
        ValueError: If `before` or `after` is empty, or a weight is NaN or infinite.

    Example:
        >>> from matplotlib.figure import Figure
        >>> ax = weight_histograms(Figure().add_subplot(), [0.5, -0.5], [0.0, 0.2])
        >>> ax.get_legend_handles_labels()[1]
        ['before', 'after: 50 % are exactly 0, not plotted']
    """
    ax = axes(ax)
    sides = [np.asarray(w, dtype=np.float64).ravel() for w in (before, after)]
    for name, w in zip(names, sides, strict=True):
        if not w.size:
            raise ValueError(f"the array {name!r} is empty; expected at least one weight")
        if wrong := int((~np.isfinite(w)).sum()):
            raise ValueError(
                f"the array {name!r} has NaN or infinity in {wrong} of its {w.size} weights; expected only finite "
                "weights. Plot a model that did not diverge"
            )
    kept = [w[w != 0] for w in sides]
    count = int(np.clip(np.sqrt(max(w.size for w in kept)), 8, 60))
    edges = np.histogram_bin_edges(np.concatenate(kept), bins=count)
    for name, colour, fill, w, rest in zip(names, colours, (True, False), sides, kept, strict=True):
        zeros = 1 - rest.size / w.size
        label = f"{name}: {100 * zeros:.0f} % are exactly 0, not plotted" if zeros else name
        share = 100 * np.histogram(rest, edges)[0] / w.size
        ax.stairs(share, edges, fill=fill, color=colour, alpha=0.45 if fill else 1, linewidth=1.6, label=label)
    ax.set_xlabel("weight")
    ax.set_ylabel("share of the weights (%)")
    ax.margins(y=0.3)
    ax.set_ylim(bottom=0)
    legend(ax)
    return ax


def _two_classes(points: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(points, dtype=np.float64), np.asarray(labels).squeeze()
    y = y.reshape(-1)
    if x.ndim != 2 or x.shape[1] != 2 or len(x) != len(y):
        raise ValueError(f"points and labels have shapes {x.shape} and {np.shape(labels)}; expected (n, 2) and (n,)")
    if not np.isin(y, (0, 1)).all():
        raise ValueError(f"the labels are {np.unique(y).tolist()}; expected only 0 and 1")
    return x, y.astype(int)
