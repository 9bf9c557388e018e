"""Picture of the learning curves of a search."""

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from jaxreg.lab.plots.theme import BLUE, GREY, label_lines, style
from jaxreg.lab.report.document import Picture
from jaxreg.lab.report.svg import svg
from jaxreg.lab.search.run import Search


def curves(found: Search) -> Picture:
    """Plot learning curves of the chosen candidate and of the first candidate, which has no regulariser.

    Args:
        found: Result of the search.
    """
    with style(), rc_context({"figure.constrained_layout.use": False}):
        figure = Figure(figsize=(6.4, 3.6))
        ax = figure.add_subplot()
        outer = [at for at, part in enumerate(found.parts) if part.test == part.validation >= 0]
        epochs = np.linspace(0, found.setting.epochs, found.setting.points + 1)
        for place, colour in {0: GREY, found.found.chosen: BLUE if found.found.chosen else GREY}.items():
            for part, line in (("train", "--"), ("test", "-")):
                curve = found.lanes[f"{part}_loss"][place, outer].mean(axis=0)
                label = found.tried[place].label if part == "test" else "_"
                ax.plot(epochs, curve, line, color=colour, label=label)
        _readable(ax)
        ax.set_xlabel("epoch")
        ax.set_ylabel("loss")
        figure.subplots_adjust(right=1 - (0.1 + label_lines(ax)) / 6.4, left=0.12, bottom=0.15, top=0.97)
        caption = "Dashed lines: training rows. Solid lines: outer folds. Means over the folds, on a logarithmic axis."
        return Picture("curves", "Loss while training", caption, svg(figure, "curves"))


def _readable(ax: Axes) -> None:
    # Losses rarely span a power of ten, so the logarithmic axis needs labels between the powers.
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    low, high = ax.get_ylim()
    if high < 4 * low:  # the range may contain only one of the ticks 1, 2 and 5
        ax.yaxis.set_major_locator(FixedLocator(list(MaxNLocator(5).tick_values(low, high))))
        ax.set_ylim(low, high)
