"""Pictures of a case study and of a sweep, drawn from stored results alone."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import xarray as xr
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxreg.lab import plots, stats
from jaxreg.lab.plots.epochs import shown
from jaxreg.lab.plots.theme import BLUE, GREY, ORANGE, legend, style
from jaxreg.lab.report.document import Picture
from jaxreg.lab.report.quantities import measured, quantity
from jaxreg.lab.report.svg import svg
from jaxreg.lab.studies import summaries
from jaxreg.lab.studies.results import FRESH, NONE, PUBLISHED, StudyResults

# Margins of our own, in inches: all stops of a walk have their axes in one place, and Matplotlib's layout engine would
# take half of the time that drawing takes.
_WIDTH, _HEIGHT = 4.2, 3.7
_LEFT, _RIGHT, _BOTTOM, _TOP = 0.66, 0.08, 1.15, 0.12


def data(results: StudyResults) -> list[Picture]:
    """Draw the published data, training rows filled and test rows hollow; nothing unless they have two features."""
    if not results.record.points:
        return []
    caption = "The published data: training rows filled, test rows hollow"
    return [_picture(f"{results.record.name}-data", caption, partial(_points, results=results))]


def learning(results: StudyResults, recipe: str) -> list[Picture]:
    """Draw learning curves of the baseline and of a recipe: metrics on published data, the loss everywhere."""
    return [
        _picture(
            f"{results.record.name}-curves-{kind}-{name}",
            f"{_title(results.fresh, name)} over the epochs, {where}",
            partial(_compared, dataset=dataset, recipes=list(dict.fromkeys((NONE, recipe))), name=name),
        )
        for name, kind, dataset, where in _shown(results)
        if kind == PUBLISHED or name == "loss" or results.published is None
    ]


def grid(results: StudyResults, chosen: str) -> list[Picture]:
    """Draw train and test against the strengths of the study's `grid`, with the chosen recipe marked, if any."""
    if not results.record.grid or np.isnan(results.record.arm(results.record.grid).numbers).any():
        return []
    arm = results.record.arm(results.record.grid)
    strengths = {label: number for label, number in zip(arm.labels, arm.numbers, strict=True) if label != NONE}
    mark = strengths.get(chosen)  # none where nothing is advised: a mark would read as a choice

    def draw(ax: Axes, dataset: xr.Dataset, name: str) -> None:
        last = dataset.isel(epoch=-1, recipe=_on_grid(results, dataset))
        nothing = "at 0: no limit" if arm.quantity == "limit" else "0: none"
        plots.strength_path(
            ax,
            last[f"train_{name}"],
            last[f"test_{name}"],
            chosen=mark,
            xlabel=f"{arm.quantity} of {arm.method} (logarithmic; {nothing})",
            ylabel=quantity(dataset, f"test_{name}").label,
        )
        legend(ax, shown(last[f"test_{name}"].size // last.sizes["recipe"]), below=True)

    return [
        _picture(
            f"{results.record.name}-grid-{kind}-{name}",
            f"{_title(dataset, name)} against the {arm.quantity} of {arm.method}, {where}",
            partial(draw, dataset=dataset, name=name),
        )
        for name, kind, dataset, where in _shown(results)
    ]


def norms(results: StudyResults, recipe: str) -> list[Picture]:
    """Draw weight norms of the baseline and of the highlighted recipes, or else of one."""
    dataset = results.fresh if results.published is None else results.published
    others = results.record.highlights or [recipe]

    def draw(ax: Axes) -> None:
        for label, line in zip(dict.fromkeys((NONE, *others)), ("-", "--", ":", "-."), strict=False):
            plots.weight_norms(ax, dataset.sel(recipe=label), name=label, linestyle=line)
        ax.autoscale(axis="y")
        ax.set_ylim(bottom=0)

    where = "all draws" if results.published is None else one_draw(results)
    return [_picture(f"{results.record.name}-norms", f"Weight norms over the epochs, {where}", draw)]


def one_draw(results: StudyResults) -> str:
    """Name the data of many seeds."""
    return "the published data" if results.record.published else "one draw of the data"


def differences(results: StudyResults, recipe: str) -> list[Picture]:
    """Draw the change of a recipe against the baseline in every draw."""

    def draw(ax: Axes, variable: str) -> None:
        ours, theirs = (summaries.final(results.fresh, label, variable) for label in (recipe, NONE))
        gap = stats.differences(ours, theirs, drop_diverged=True).rename(variable)
        paired = summaries.gain(results.fresh, recipe, variable)
        lower, words = summaries.lower_is_better(variable), quantity(results.fresh, variable).words
        plots.paired_differences(ax, gap, paired, lower_is_better=lower, ylabel=f"difference in {words}")

    return [
        _picture(
            f"{results.record.name}-draws-{name}",
            f"{_title(results.fresh, name)} of {recipe} minus {NONE} in each draw",
            partial(draw, variable=f"test_{name}"),
        )
        for name in measured(results.fresh)
        if summaries.gain(results.fresh, recipe, f"test_{name}").n
    ]


def stops(results: StudyResults) -> list[str]:
    """Return the recipes of the walk: the baseline, then the strengths of the drawn method, ascending."""
    arm = results.record.arm(results.record.grid)
    order = np.argsort(arm.numbers, kind="stable")
    return [NONE, *(arm.labels[place] for place in order if arm.labels[place] != NONE)]


def stop(results: StudyResults, recipe: str) -> list[Picture]:
    """Draw surface, curves and weights of one recipe, from many seeds on one draw, or else on all draws."""
    dataset = results.fresh if results.published is None else results.published
    walk = dataset.isel(recipe=_on_grid(results, dataset))
    lanes, baseline = walk.sel(recipe=recipe), walk.sel(recipe=NONE)
    name = f"{results.record.name}-stop-{stops(results).index(recipe)}"

    def surface(ax: Axes) -> None:
        first = lanes.isel(seed=0, draw=0)
        plots.decision_surface(ax, first["x1"], first["x2"], first["probability"])
        _points(ax, results)

    def learned(ax: Axes) -> None:
        ylabel = quantity(walk, "test_loss").label
        plots.learning_curves(ax, lanes["train_loss"], lanes["test_loss"], ylabel=ylabel)
        if recipe != NONE:
            mean = baseline["test_loss"].mean(("seed", "draw"))
            plots.curve(ax, mean, colour=GREY, label=f"test, {NONE}", ylabel=ylabel)
        ax.set_ylim(0, 1.05 * float(walk["test_loss"].max()))
        legend(ax, shown(lanes["test_loss"].size // lanes.sizes["epoch"]), below=True)

    def weights(ax: Axes) -> None:
        kernels = walk[f"params/{summaries.first_kernel(walk)}"].isel(seed=0, draw=0)
        names = (NONE, "_" if recipe == NONE else recipe)
        plots.weight_histograms(ax, kernels.sel(recipe=NONE).values, kernels.sel(recipe=recipe).values, names=names)
        edge = 1.05 * float(abs(kernels).max())
        ax.set_xlim(-edge, edge)
        legend(ax, below=True)

    drawn = [_picture(f"{name}-curves", f"{_title(walk, 'loss')} over the epochs, all lanes", learned)]
    if "probability" in walk:
        drawn.insert(0, _picture(f"{name}-surface", "Decision surface, first seed", surface))
        drawn.append(_picture(f"{name}-weights", "Weights of the first kernel after training, first seed", weights))
    return drawn


def sweep(dataset: xr.Dataset, name: str, recipes: Sequence[str]) -> list[Picture]:
    """Draw a training sweep: learning curves of some recipes, and the path along their strength."""
    last = dataset.isel(epoch=-1)
    strength = dataset["strength"].values
    path = len(set(strength)) == strength.size > 1 and np.isfinite(strength).all() and (strength >= 0).all()
    drawn = []
    for name_of in measured(dataset):
        caption = f"{_title(dataset, name_of)} over the epochs"
        draw: Callable[[Axes], object] = partial(_compared, dataset=dataset, recipes=recipes, name=name_of)
        drawn.append(_picture(f"{name}-curves-{name_of}", caption, draw))
        if path:
            train, test = last[f"train_{name_of}"], last[f"test_{name_of}"]
            caption = f"{_title(dataset, name_of)} against {dataset['method'].values[-1]}"
            draw = partial(plots.strength_path, train=train, test=test)
            drawn.append(_picture(f"{name}-path-{name_of}", caption, draw))
    return drawn


def _title(dataset: xr.Dataset, name: str) -> str:
    words = quantity(dataset, f"test_{name}").words
    return words[0].upper() + words[1:]


def _picture(name: str, caption: str, draw: Callable[[Axes], object]) -> Picture:
    with style(), rc_context({"figure.constrained_layout.use": False}):
        figure = Figure(figsize=(_WIDTH, _HEIGHT))
        figure.subplots_adjust(_LEFT / _WIDTH, _BOTTOM / _HEIGHT, 1 - _RIGHT / _WIDTH, 1 - _TOP / _HEIGHT)
        ax = figure.add_subplot()
        draw(ax)
        if (labels := ax.yaxis.get_tightbbox()) is not None and labels.x0 < 0:  # long numbers push the label out
            figure.subplots_adjust(left=_LEFT / _WIDTH - labels.x0 / figure.bbox.width)
        if (key := ax.get_legend()) is not None and (lacks := -key.get_window_extent().y0 / figure.dpi) > 0:
            height = _HEIGHT + lacks + _TOP
            figure.set_figheight(height)
            figure.subplots_adjust(bottom=1 - (_HEIGHT - _BOTTOM) / height, top=1 - _TOP / height)
        return Picture(name, caption, svg(figure, name))


def _points(ax: Axes, results: StudyResults) -> None:
    for part, rows in reversed(list(results.record.points.items())):
        x1, x2, label = np.transpose(rows)
        plots.data(ax, np.column_stack([x1, x2]), label, name=part, hollow=part != "train")


def _compared(ax: Axes, dataset: xr.Dataset, recipes: Sequence[str], name: str) -> None:
    ylabel = quantity(dataset, f"test_{name}").label
    for label, colour in zip(recipes, (BLUE, ORANGE), strict=False):
        train, test = (dataset[f"{part}_{name}"].sel(recipe=label) for part in ("train", "test"))
        plots.learning_curves(ax, train, test, name=label, colours=(colour, colour), ylabel=ylabel)


def _on_grid(results: StudyResults, dataset: xr.Dataset) -> np.ndarray:
    return np.isin(dataset["recipe"], stops(results))


def _shown(results: StudyResults) -> list[tuple[str, str, xr.Dataset, str]]:
    # Of the data of many seeds the metrics, as they were published; of the draws those and the loss.
    metrics = measured(results.fresh)
    draws = results.fresh.sizes["draw"]
    shown = [(name, FRESH, results.fresh, f"{draws} draws") for name in metrics]
    if results.published is None:
        return shown
    where = f"{one_draw(results)}, {results.published.sizes['seed']} seeds"
    return [*((name, PUBLISHED, results.published, where) for name in metrics if name != "loss"), *shown]
