"""The forest plot of a report: every recipe compared with the baseline, one panel per metric."""

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxreg.lab.plots.forest_plot import forest
from jaxreg.lab.plots.theme import BLUE, GREY, style
from jaxreg.lab.report.document import Picture
from jaxreg.lab.report.effects import Effects, Measure, row_places, span
from jaxreg.lab.report.svg import svg
from jaxreg.lab.studies.results import NONE

_LETTER = 0.072  # inches
_CAPTION = (
    "A line is the confidence interval of the mean change. A point is filled if its interval excludes zero. An arrow "
    "points to worse values outside the picture."
)


def forest_picture(effects: Effects, name: str, what: str = "recipe") -> Picture:
    """Plot how each recipe differs from the baseline in each metric, with confidence intervals.

    Args:
        effects: Changes of all recipes in all metrics.
        name: Name of the picture.
        what: Word that the title uses for the rows of the plot.
    """
    rows = row_places(effects.groups)
    names = 0.15 + _LETTER * max(map(len, effects.labels), default=0)
    width = max(6.4, names + 2.2 * len(effects.measures))
    height = 0.95 + 0.21 * (1 + max(rows, default=0))
    hints: list[str] = []
    with style(), rc_context({"figure.constrained_layout.use": False}):
        figure = Figure(figsize=(width, height))
        panels = figure.subplots(1, len(effects.measures), sharey=True, squeeze=False)[0]
        edges = {"left": names / width, "right": 1 - 0.12 / width, "bottom": 0.5 / height, "top": 1 - 0.3 / height}
        figure.subplots_adjust(**edges, wspace=0.08)
        for ax, measure, changes in zip(panels, effects.measures, effects.changes, strict=True):
            metric = measure.what
            unit = f" ({metric.unit})" if metric.unit else ""
            ends = span(changes, lower_is_better=measure.lower)
            xlabel = f"change in {metric.words}{unit}"
            forest(ax, effects.labels, changes, rows=rows, chosen=effects.chosen, span=ends, xlabel=xlabel)
            _headed(ax, measure)
            for label, row, change in zip(effects.labels, rows, changes, strict=True):
                ax.axhspan(row - 0.5, row + 0.5, color=GREY, alpha=0, linewidth=0, gid=f"hint-{len(hints)}")
                hints.append(f"{label}: test {metric.words} {measure.told(change)}")
        for label in panels[0].get_yticklabels():
            if label.get_text() == effects.chosen:
                label.set(color=BLUE, fontweight="bold")
        title = f"Change of every {what} against {NONE}, on test rows"
        return Picture(name, title, _CAPTION, svg(figure, name, hints))


def _headed(ax: Axes, measure: Measure) -> None:
    """Write the metric above its panel, with an arrow towards better values."""
    arrow, side = ("\N{LEFTWARDS ARROW} better", "left") if measure.lower else ("better \N{RIGHTWARDS ARROW}", "right")
    ax.set_title(f"test {measure.what.words}", loc="right" if measure.lower else "left")
    at = 0 if measure.lower else 1
    ax.annotate(arrow, (at, 1), (0, 6), "axes fraction", "offset points", ha=side, va="bottom", color=GREY)
