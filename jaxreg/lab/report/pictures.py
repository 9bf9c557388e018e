"""Plots of a case study and of a sweep, made only from stored results.

All plots use the same colours and markers. The baseline is grey, the recommended recipe is blue, and everything else is
black. Training rows have dashed lines or filled markers. Test rows have solid lines or hollow markers. Each class has
its own marker.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxreg.lab import plots, stats
from jaxreg.lab.plots.epochs import shown, spread
from jaxreg.lab.plots.strengths import along, mark
from jaxreg.lab.plots.theme import BLACK, BLUE, GREY, label_lines, style
from jaxreg.lab.report.document import Picture
from jaxreg.lab.report.quantities import measured, per_run, quantity
from jaxreg.lab.report.svg import svg
from jaxreg.lab.report.titles import best_at, heavier, learned, often
from jaxreg.lab.studies import summaries
from jaxreg.lab.studies.results import FRESH, NONE, PUBLISHED, StudyResults

# Margins of our own, in inches: all stops of a walk have their axes in one place, and Matplotlib's layout engine would
# take half of the time that drawing takes.
_WIDTH, _HEIGHT = 4.2, 3.0
_LEFT, _RIGHT, _BOTTOM, _TOP = 0.66, 0.1, 0.48, 0.12
_KERNELS: tuple[Any, ...] = ("-", (0, (1, 1)), (0, (5, 1, 1, 1)))
"""Line styles of the kernels. Dashes are left out, because they mark training rows."""


def data(results: StudyResults) -> list[Picture]:
    """Plot the data of a study with a single draw and two features. For other studies, return an empty list."""
    if not results.record.points:
        return []
    counts = {part: len(rows) for part, rows in results.record.points.items()}
    title = "Few training rows, many test rows" if 2 * counts.get("train", 0) < counts.get("test", 0) else "The data"
    markers = "circles are class 0, triangles class 1. Training rows are filled, test rows hollow."
    caption = f"{_capital(one_draw(results))}: {markers}"
    return [_picture(f"{results.record.name}-data", title, caption, partial(_points, results=results))]


def learning(results: StudyResults, recipe: str) -> list[Picture]:
    """Plot learning curves of the baseline and of a recipe.

    The loss is plotted for the runs on many draws. Other metrics are plotted for the runs on the single draw. If the
    study has no single draw, all metrics are plotted for the runs on many draws.
    """
    return [
        _picture(
            f"{results.record.name}-curves-{kind}-{name}",
            learned(dataset, recipe, name),
            f"{_capital(where)}. Dashed: training rows; solid: test rows. {_runs(dataset)}",
            partial(_compared, dataset=dataset, recipes=list(dict.fromkeys((NONE, recipe))), name=name),
            labelled=True,
        )
        for name, kind, dataset, where in _shown(results)
        if kind == PUBLISHED or name == "loss" or results.published is None
    ]


def grid(results: StudyResults, chosen: str) -> list[Picture]:
    """Plot each metric against the strength of the method that the study names as its `grid`.

    Each strength has a vertical line. Only the line of one strength is visible: the one at the position of the report's
    slider.

    Args:
        results: Case study.
        chosen: Recipe whose line is visible before the slider is moved.
    """
    if not results.record.grid or np.isnan(results.record.arm(results.record.grid).numbers).any():
        return []
    arm = results.record.arm(results.record.grid)
    number = dict(zip(arm.labels, arm.numbers, strict=True))

    def draw(ax: Axes, dataset: xr.Dataset, name: str) -> None:
        last = dataset.isel(epoch=-1, recipe=_on_grid(results, dataset))
        nothing = "at 0: no limit" if arm.quantity == "limit" else "0: none"
        _path(ax, last, name, f"{arm.quantity} of {arm.method} ({nothing})")
        for place, stop in enumerate(stops(results)):
            strength = 0.0 if stop == NONE else number[stop]
            line = mark(ax, along(last[f"test_{name}"]), strength).lines[-1]
            line.set(gid=f"mark-{place}", color=GREY if stop == NONE else BLUE if stop == chosen else BLACK, label="_")

    return [
        _picture(
            f"{results.record.name}-grid-{kind}-{name}",
            best_at(dataset.isel(recipe=_on_grid(results, dataset)), name),
            f"{_capital(where)}. Dashed: training rows; solid: test rows. {_runs(dataset)}",
            partial(draw, dataset=dataset, name=name),
            labelled=True,
            seen=stops(results).index(chosen) if chosen in stops(results) else 0,
        )
        for name, kind, dataset, where in _shown(results)
    ]


def norms(results: StudyResults, recipe: str) -> list[Picture]:
    """Plot the norm of each kernel against the epoch, for the baseline and for a recipe."""
    dataset = results.fresh if results.published is None else results.published
    kernels = [str(name) for name in dataset if str(name).startswith("norm/")]

    def draw(ax: Axes) -> None:
        for label, colour in _coloured((NONE, recipe)):
            for place, kernel in enumerate(kernels):
                line, name = _KERNELS[place % len(_KERNELS)], kernel.removeprefix("norm/")
                plots.curve(ax, dataset[kernel].sel(recipe=label), colour=colour, label=name, linestyle=line)
        ax.set_ylim(bottom=0)
        ax.set_ylabel("norm of the kernel")

    where = "All draws" if results.published is None else _capital(one_draw(results))
    caption = f"{where}. Grey: {NONE}; colour: {recipe}. {_runs(dataset)}"
    return [_picture(f"{results.record.name}-norms", heavier(dataset, recipe), caption, draw, labelled=True)]


def one_draw(results: StudyResults) -> str:
    """Return a name for the single draw, for captions.

    The name is "the published data" if the study has published results, and "one draw of the data" otherwise.
    """
    return "the published data" if results.record.published else "one draw of the data"


def differences(results: StudyResults, recipe: str) -> list[Picture]:
    """Plot the difference between a recipe and the baseline in every draw, one plot per metric."""

    def draw(ax: Axes, variable: str) -> None:
        what = quantity(results.fresh, variable)
        ours, theirs = (what.times * summaries.final(results.fresh, label, variable) for label in (recipe, NONE))
        gap = stats.differences(ours, theirs, drop_diverged=True).rename(variable)
        lower = summaries.lower_is_better(variable)
        paired = stats.paired(ours, theirs, lower_is_better=lower, drop_diverged=True)
        unit = f" ({what.unit})" if what.unit else ""
        plots.paired_differences(ax, gap, paired, lower_is_better=lower, ylabel=f"change in {what.words}{unit}")
        if (key := ax.get_legend()) is not None:
            key.remove()

    pictures = []
    for name in measured(results.fresh):
        gain = summaries.gain(results.fresh, recipe, f"test_{name}")
        if gain.n:
            title = often(gain, recipe, quantity(results.fresh, f"test_{name}").words)
            caption = (
                f"Each {gain.unit}, sorted: ▲ better, ▼ worse than {NONE}. Dashed line: the mean; band: its interval."
            )
            picture = f"{results.record.name}-draws-{name}"
            pictures.append(_picture(picture, title, caption, partial(draw, variable=f"test_{name}")))
    return pictures


def stops(results: StudyResults) -> list[str]:
    """Return the recipes along the slider: the baseline, then one method with increasing strengths."""
    arm = results.record.arm(results.record.grid)
    order = np.argsort(arm.numbers, kind="stable")
    return [NONE, *(arm.labels[place] for place in order if arm.labels[place] != NONE)]


def stop(results: StudyResults, recipe: str, chosen: str) -> list[Picture]:
    """Plot the decision surface, the learning curves and the weights of the recipe at one position of the slider.

    The plots show the runs on the single draw. If the study has no single draw, they show the runs on many draws.
    """
    dataset = results.fresh if results.published is None else results.published
    walk = dataset.isel(recipe=_on_grid(results, dataset))
    lanes, baseline = walk.sel(recipe=recipe), walk.sel(recipe=NONE)
    name = f"{results.record.name}-stop-{stops(results).index(recipe)}"
    colour = GREY if recipe == NONE else BLUE if recipe == chosen else BLACK

    def surface(ax: Axes) -> None:
        first = lanes.isel(seed=0, draw=0)
        plots.decision_surface(ax, first["x1"], first["x2"], first["probability"])
        _points(ax, results, parts=("train",))

    def curves(ax: Axes) -> None:
        ylabel = quantity(walk, "test_loss").label
        both = lanes["train_loss"], lanes["test_loss"]
        plots.learning_curves(ax, *both, colours=(colour, colour), ylabel=ylabel)
        if recipe != NONE:
            mean = baseline["test_loss"].mean(("seed", "draw"))
            plots.curve(ax, mean, colour=GREY, label=f"test, {NONE}", ylabel=ylabel)
        ax.set_ylim(0, 1.05 * float(walk["test_loss"].max()))

    def weights(ax: Axes) -> None:
        kernels = walk[f"params/{summaries.first_kernel(walk)}"].isel(seed=0, draw=0)
        names = (NONE, "_" if recipe == NONE else recipe)
        sides = (kernels.sel(recipe=label).values for label in (NONE, recipe))
        plots.weight_histograms(ax, *sides, names=names, colours=(GREY, colour))
        edge = 1.05 * float(abs(kernels).max())
        ax.set_xlim(-edge, edge)

    caption = f"Dashed: training rows; solid: test rows. {_runs(walk)}"
    drawn = [_picture(f"{name}-curves", learned(walk, recipe, "loss"), caption, curves, labelled=True)]
    if "probability" in walk:
        caption = (
            "First seed, training rows. A darker grey is a higher probability of class 1; the line is the boundary."
        )
        drawn.insert(0, _picture(f"{name}-surface", f"Decision surface of {recipe}", caption, surface))
        caption = f"First seed. Filled: {NONE}; outline: {recipe}." if recipe != NONE else "First seed."
        drawn.append(_picture(f"{name}-weights", "Weights of the first kernel after training", caption, weights))
    return drawn


def sweep(dataset: xr.Dataset, name: str, recipes: Sequence[str]) -> list[Picture]:
    """Plot the learning curves of some recipes of a sweep, and the metrics of all recipes against their strength."""
    strength = dataset["strength"].values
    numbers = not np.isnan(strength).any() and (strength >= 0).all()
    both = np.isinf(strength).any() and (strength == 0).any()  # the axis has one baseline
    path = len(set(strength)) == strength.size > 1 and numbers and not both
    axis = next((str(method) for method in dataset["method"].values if method != NONE), NONE)
    drawn = []
    for measure in reversed(measured(dataset)):
        parts = [part for part in ("train", "test") if _is_drawn(dataset, f"{part}_{measure}")]
        curves = [part for part in parts if "epoch" in dataset[f"{part}_{measure}"].dims]
        draw: Callable[[Axes], object] = partial(
            _compared, dataset=dataset, recipes=recipes, name=measure, parts=curves
        )
        if curves:
            title = f"Training {measure} over the epochs" if "test" not in curves else _capital(measure)
            title = learned(dataset, recipes[-1], measure) if "test" in curves and recipes[0] == NONE else title
            words = f"{_rows(curves)} {_runs(dataset)}"
            drawn.append(_picture(f"{name}-curves-{measure}", title, words, draw, labelled=True))
        if path:
            last = dataset.isel(epoch=-1, missing_dims="ignore")
            draw = partial(
                _path,
                dataset=last,
                name=measure,
                xlabel=axis,
                parts=parts,
            )
            words = f"{_rows(parts)} {_runs(dataset)}"
            drawn.append(_picture(f"{name}-path-{measure}", best_at(dataset, measure), words, draw, labelled=True))
    return drawn


def _is_drawn(dataset: xr.Dataset, variable: str) -> bool:
    return variable in dataset and per_run(dataset[variable])


def _rows(parts: Sequence[str]) -> str:
    if len(parts) == 2:
        return "Dashed: training rows; solid: test rows."
    return "Training rows." if parts == ["train"] else "Test rows."


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]


def _runs(dataset: xr.Dataset) -> str:
    words = shown(dataset["test_loss"].isel(epoch=-1, missing_dims="ignore").size // dataset.sizes["recipe"])
    return f"{_capital(words.replace('lanes', 'runs'))}." if words else ""


def _coloured(recipes: Sequence[str]) -> list[tuple[str, str]]:
    return [(label, GREY if label == NONE else BLUE) for label in dict.fromkeys(recipes)]


def _picture(
    name: str,
    title: str,
    caption: str,
    draw: Callable[[Axes], object],
    *,
    labelled: bool = False,
    seen: int | None = None,
) -> Picture:
    with style(), rc_context({"figure.constrained_layout.use": False}):
        figure = Figure(figsize=(_WIDTH, _HEIGHT))
        figure.subplots_adjust(_LEFT / _WIDTH, _BOTTOM / _HEIGHT, 1 - _RIGHT / _WIDTH, 1 - _TOP / _HEIGHT)
        ax = figure.add_subplot()
        draw(ax)
        if (key := ax.get_legend()) is not None:
            key.remove()
        if labelled:
            figure.subplots_adjust(right=1 - (_RIGHT + label_lines(ax)) / _WIDTH)
        if (labels := ax.yaxis.get_tightbbox()) is not None and labels.x0 < 0:  # long numbers push the label out
            figure.subplots_adjust(left=_LEFT / _WIDTH - labels.x0 / figure.bbox.width)
        return Picture(name, title, caption, svg(figure, name, seen=seen))


def _points(ax: Axes, results: StudyResults, parts: Sequence[str] = ("test", "train")) -> None:
    for part in parts:
        if rows := results.record.points.get(part):
            x1, x2, label = np.transpose(rows)
            plots.data(ax, np.column_stack([x1, x2]), label, name=part, hollow=part != "train")


def _compared(
    ax: Axes, dataset: xr.Dataset, recipes: Sequence[str], name: str, parts: Sequence[str] = ("train", "test")
) -> None:
    what = quantity(dataset, f"test_{name}")
    ends = []
    for label, colour in _coloured(recipes):
        curves = [what.times * dataset[f"{part}_{name}"].sel(recipe=label) for part in parts]
        if len(curves) == 2:
            plots.learning_curves(ax, *curves, name=label, colours=(colour, colour), ylabel=what.label)
        else:
            dashes = "--" if parts[0] == "train" else "-"
            plots.curve(ax, curves[0], colour=colour, label=label, linestyle=dashes, ylabel=what.label)
        for line in ax.get_lines():  # dashes tell training rows apart
            words = str(line.get_label())
            line.set_label("_" if words == f"{label}, train" else words.removesuffix(", test"))
        ends += [spread(curve.transpose(..., "epoch").values.reshape(-1, curve.sizes["epoch"])) for curve in curves]
    _frame(ax, ends)


def _frame(ax: Axes, curves: Sequence[Any]) -> None:
    """Fit the vertical axis to the values after the first epochs, because the first values are much larger."""
    start = min(max(1, len(curves[0].mean) // 20), len(curves[0].mean) - 1)
    known = np.concatenate([np.ravel([curve.low[start:], curve.high[start:]]) for curve in curves])
    known = known[np.isfinite(known)]
    if known.size and (margin := 0.06 * float(np.ptp(known))) > 0:
        ax.set_ylim(known.min() - margin, known.max() + margin)


def _path(ax: Axes, dataset: xr.Dataset, name: str, xlabel: str, parts: Sequence[str] = ("train", "test")) -> None:
    what = quantity(dataset, f"test_{name}")
    test = what.times * dataset[f"test_{name}"]
    train = what.times * dataset[f"train_{name}"] if "train" in parts else None
    plots.strength_path(ax, train, test, xlabel=xlabel, ylabel=what.label)


def _on_grid(results: StudyResults, dataset: xr.Dataset) -> np.ndarray:
    return np.isin(dataset["recipe"], stops(results))


def _shown(results: StudyResults) -> list[tuple[str, str, xr.Dataset, str]]:
    # Of the data of many seeds the metrics, as they were published; of the draws those and the loss.
    metrics = [name for name in reversed(measured(results.fresh)) if f"train_{name}" in results.fresh]
    draws = results.fresh.sizes["draw"]
    drawn = [(name, FRESH, results.fresh, f"{draws} draws") for name in metrics]
    if results.published is None:
        return drawn
    where = f"{one_draw(results)}, {results.published.sizes['seed']} seeds"
    return [*drawn, *((name, PUBLISHED, results.published, where) for name in metrics if name != "loss")]
