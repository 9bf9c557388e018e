"""Pictures of data, models, weights and comparisons. Axes in, axes out; nothing is computed by training.

Every picture is made for any number of lanes from one to ten thousand. The pictures over the epochs and
over the strength live in modules of their own and are named here too, so that `plots` has them all.
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from jaxreg.lab.curves import curve, learning_curves, violation, weight_norms
from jaxreg.lab.strengths import strength_path
from jaxreg.lab.style import BLUE, COLOURS, ORANGE, legend, style

__all__ = [
    "COLOURS",
    "curve",
    "data",
    "learning_curves",
    "strength_path",
    "style",
    "violation",
    "weight_norms",
]


def data(ax: Axes, points: ArrayLike, labels: ArrayLike, *, name: str = "", hollow: bool = False) -> Axes:
    """Draw the points of two classes, told apart by colour and by shape.

    Args:
        ax: where to draw.
        points: shape (n, 2).
        labels: shape (n,), 0 or 1.
        name: of the set, for the legend, e.g. `"train"`.
        hollow: draw outlines only, e.g. for test data over train data.

    Returns:
        The same axes.

    Raises:
        ValueError: for shapes that do not fit, or labels other than 0 and 1.

    Example:
        >>> from matplotlib.figure import Figure
        >>> ax = data(Figure().add_subplot(), [[0.0, 1.0], [1.0, 0.0]], [0, 1], name="train")
        >>> ax.get_legend_handles_labels()[1]
        ['train, class 0', 'train, class 1']
    """
    x, y = _two_classes(points, labels)
    size = float(np.clip(4000 / max(len(x), 1), 4, 26))
    for place, (marker, colour) in enumerate((("o", BLUE), ("^", ORANGE))):
        part = x[y == place]
        ax.scatter(
            part[:, 0],
            part[:, 1],
            s=size,
            marker=marker,
            facecolors="none" if hollow else colour,
            edgecolors=colour if hollow else "white",
            linewidths=1.0 if hollow else 0.4,
            label=f"{name}, class {place}" if name else f"class {place}",
        )
    ax.set_xlabel("first feature")
    ax.set_ylabel("second feature")
    ax.set_aspect("equal", adjustable="datalim")
    legend(ax)
    return ax


def _two_classes(points: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    x, y = np.asarray(points, dtype=np.float64), np.asarray(labels).squeeze()
    y = y.reshape(-1)
    if x.ndim != 2 or x.shape[1] != 2 or len(x) != len(y):
        raise ValueError(f"points and labels: got shapes {x.shape} and {np.shape(labels)}, expected (n, 2) and (n,)")
    if not np.isin(y, (0, 1)).all():
        raise ValueError(f"labels: got {np.unique(y).tolist()}, expected 0 and 1 only")
    return x, y.astype(int)
