"""Every plot makes a figure of its own where it is given no axes."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from jaxreg.lab import plots, stats

POINTS, CLASSES = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([0, 1, 1])
RUNS = xr.DataArray([[0.5, 0.4], [0.6, 0.3]], dims=("seed", "epoch"), coords={"epoch": [1, 2]})
PATH = xr.DataArray([[0.5, 0.4], [0.6, 0.3]], dims=("seed", "strength"), coords={"strength": [0.01, 0.1]})
PAIR = PATH.rename(strength="decay").expand_dims(rate=[0.1, 0.2, 0.3])
ONE, OTHER = (xr.DataArray(values, dims="draw") for values in ([1.0, 2.0, 2.5], [1.5, 2.1, 3.0]))
CALLS = {
    "curve": lambda ax: plots.curve(ax, RUNS, colour="k", label="loss"),
    "data": lambda ax: plots.data(ax, POINTS, CLASSES),
    "decision_surface": lambda ax: plots.decision_surface(ax, [0, 1], [0, 1], [[0.1, 0.9], [0.2, 0.8]]),
    "forest": lambda ax: plots.forest(ax, ["L2"], [[-0.3, -0.4, -0.2]]),
    "heat_map": lambda ax: plots.heat_map(ax, PAIR, "rate", "decay"),
    "learning_curves": lambda ax: plots.learning_curves(ax, RUNS, RUNS),
    "paired_differences": lambda ax: plots.paired_differences(
        ax, stats.differences(ONE, OTHER), stats.paired(ONE, OTHER)
    ),
    "sparsity_path": lambda ax: plots.sparsity_path(ax, PATH),
    "strength_path": lambda ax: plots.strength_path(ax, PATH, PATH),
    "violation": lambda ax: plots.violation(ax, RUNS),
    "weight_histograms": lambda ax: plots.weight_histograms(ax, POINTS, POINTS / 2),
    "weight_norms": lambda ax: plots.weight_norms(ax, xr.Dataset({"norm/kernel": RUNS})),
}


def test_every_plot_is_among_them():
    assert set(plots.__all__) - CALLS.keys() == {"COLOURS", "style"}


@pytest.mark.parametrize("name", CALLS)
def test_no_axes_are_a_figure_of_its_own(name):
    first, second = CALLS[name](None), CALLS[name](None)
    assert first.figure is not second.figure
    mine = Figure().add_subplot()
    assert CALLS[name](mine) is mine
    assert len(first.get_children()) == len(mine.get_children())


SETTINGS = {
    "curve": lambda values: plots.curve(None, values, colour="k", label="loss"),
    "heat_map": lambda values: plots.heat_map(
        None, values.rename(epoch="decay").expand_dims(width=2), "width", "decay"
    ),
    "learning_curves": lambda values: plots.learning_curves(None, values, values),
    "sparsity_path": lambda values: plots.sparsity_path(None, values, x="epoch"),
    "strength_path": lambda values: plots.strength_path(None, None, values, x="epoch"),
    "violation": lambda values: plots.violation(None, values),
    "weight_norms": lambda values: plots.weight_norms(None, xr.Dataset({"norm/kernel": values})),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_not_averaged_as_if_they_were_runs(name):
    several = xr.concat([RUNS, RUNS / 2], "rate")
    message = r"'rate' with 2 entries, .* 'seed' only\. Select .*\.isel\(rate=-1\)\. If .*\.rename\(rate='draw'\)$"
    with pytest.raises(ValueError, match=message):
        SETTINGS[name](several)
    for runs in (several[:1], several[0], several.rename(rate="draw")):
        SETTINGS[name](runs)
