"""The pictures of a case study, drawn from its results alone and saved beside them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from jaxreg.lab import curves, plots, strengths
from jaxreg.lab.data import Data
from jaxreg.lab.record import NONE, StudyResults
from jaxreg.lab.style import BLUE, ORANGE, style


def draw(results: StudyResults, data: Data, folder: Path) -> list[Path]:
    """Draw the data, the learning curves, the grid of strengths and the weight norms.

    Args:
        results: A case study.
        data: The published data; its first draw is shown.
        folder: Where the pictures go, as PNG.

    Returns:
        The pictures' files.
    """
    pictures: dict[str, Callable[[StudyResults, Data], Figure]] = {
        "data": _data,
        "curves": _curves,
        "strengths": _strengths,
        "norms": _norms,
    }
    files = []
    for name, picture in pictures.items():
        with style():
            file = folder / f"{name}.png"
            picture(results, data).savefig(file)
            files.append(file)
    return files


def _data(results: StudyResults, data: Data) -> Figure:
    figure = Figure()
    axes = figure.add_subplot()
    plots.data(axes, data.x_test[0], data.y_test[0], name="test", hollow=True)
    plots.data(axes, data.x_train[0], data.y_train[0], name="train")
    axes.set_title("The published data")
    return figure


def _curves(results: StudyResults, data: Data) -> Figure:
    figure = Figure(figsize=(10, 6.6))
    places = iter(np.ravel(figure.subplots(2, 2)))
    for quantity in ("accuracy", "loss"):
        for dataset, where in _both(results):
            axes = next(places)
            for label, colour in zip(_compared(results)[:2], (BLUE, ORANGE), strict=True):
                lanes = dataset.sel(recipe=label)
                train, test = lanes[f"train_{quantity}"], lanes[f"test_{quantity}"]
                curves.learning_curves(axes, train, test, name=label, colours=(colour, colour))
            axes.set_title(where)
    return figure


def _strengths(results: StudyResults, data: Data) -> Figure:
    figure = Figure(figsize=(10, 6.6))
    places = iter(np.ravel(figure.subplots(2, 2)))
    for quantity in ("accuracy", "loss"):
        for dataset, where in _both(results):
            axes = next(places)
            last = dataset.isel(epoch=-1)
            grid = last.isel(recipe=np.isin(last["method"], [NONE, results.record.grid]))
            strengths.strength_path(axes, grid[f"train_{quantity}"], grid[f"test_{quantity}"])
            axes.tick_params(axis="x", rotation=60)
            axes.set_xlabel(f"strength or limit of {results.record.grid} (logarithmic; 0: none)")
            axes.set_title(where)
    return figure


def _norms(results: StudyResults, data: Data) -> Figure:
    figure = Figure()
    axes = figure.add_subplot()
    for label, line in zip(_compared(results), ("-", "--", ":"), strict=False):
        curves.weight_norms(axes, results.published.sel(recipe=label), name=label, linestyle=line)
    axes.set_title("Weight norms on the published data")
    return figure


def _both(results: StudyResults) -> Sequence[tuple[xr.Dataset, Any]]:
    seeds, draws = results.published.sizes["seed"], results.fresh.sizes["draw"]
    return (results.published, f"the published data, {seeds} seeds"), (results.fresh, f"{draws} fresh draws")


def _compared(results: StudyResults) -> list[str]:
    return [NONE, *results.record.highlights]
