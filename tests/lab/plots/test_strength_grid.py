import io

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from jaxreg.lab.plots import strength_grid, theme


@pytest.fixture
def ax():
    with theme.style():
        ax = Figure().add_subplot()
        yield ax
        ax.figure.savefig(io.BytesIO(), dpi=60)


def grid(l1, l2, n=3):
    x = np.random.default_rng(0).uniform(0.8, 1.0, (len(l1), n, len(l2)))
    return xr.DataArray(x, dims=("l1", "draw", "l2"), coords={"l1": l1, "l2": l2}, name="test_accuracy")


@pytest.mark.parametrize("n", [1, 64, 10_000])
def test_the_mean_of_every_pair_stands_where_its_strengths_say(ax, n):
    values = grid(np.float32([0.0, 1e-4, 1e-3]), [0.0, 1e-2], n)  # a sweep's coordinates are float32
    assert strength_grid.heat_map(ax, values, "l1", "l2", chosen=(np.float64(1e-3), 1e-2)) is ax
    mean = values.mean("draw").transpose("l2", "l1").values
    np.testing.assert_allclose(ax.collections[0].get_array(), mean)
    written = {(t.get_position()): t.get_text() for t in ax.texts}
    for (row, column), value in np.ndenumerate(mean):
        assert written[column + 0.5, row + 0.5] == f"{value:#.3g}"
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0", "0.0001", "0.001"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["0", "0.01"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("l1", "l2")
    assert ax.figure.axes[1].get_ylabel() == "test accuracy (fraction correct)"
    frame = ax.patches[0]
    assert (frame.get_xy(), frame.get_width(), frame.get_height()) == ((2, 1), 1, 1)


def test_a_cell_with_diverged_lanes_has_no_colour_and_says_how_many(ax):
    values = grid([0.0, 1e-3], [0.0, 1e-2], 5)
    values[1, :2, 0] = np.inf
    strength_grid.heat_map(ax, values, "l1", "l2")
    assert ax.collections[0].get_array().mask.tolist() == [[False, True], [False, False]]
    assert "2\ndiverged" in [t.get_text() for t in ax.texts]
    red, green, blue, _ = ax.get_facecolor()  # seen through it: a grey
    assert 0.5 < red == green == blue < 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (8, 8), (11, 9), (40, 30)])
def test_small_and_large_grids(ax, shape):
    values = grid(np.logspace(-6, 0, shape[0]), np.logspace(-6, 0, shape[1]))
    strength_grid.heat_map(ax, values, "l1", "l2")
    assert len(ax.texts) == (0 if max(shape) > 8 else shape[0] * shape[1])
    assert len(ax.get_xticks()) == shape[0] if shape[0] <= 8 else 4 <= len(ax.get_xticks()) <= 6
    for tick, label in zip(ax.get_xticks(), ax.get_xticklabels(), strict=True):
        assert tick % 1 == 0.5  # the middle of a cell
        assert float(label.get_text()) == pytest.approx(values.l1.values[int(tick)], rel=0.05)


def test_numbers_are_written_in_the_shade_farther_from_that_of_their_cell(ax):
    strength_grid.heat_map(ax, grid(np.arange(5), np.arange(4)), "l1", "l2")
    mesh = ax.collections[0]
    shades = mesh.to_rgba(mesh.get_array())[..., :3] @ (0.299, 0.587, 0.114)  # luma of ITU-R BT.601
    for text in ax.texts:
        column, row = map(int, text.get_position())
        assert text.get_color() == ("white" if shades[row, column] < 0.5 else "black")
    assert {text.get_color() for text in ax.texts} == {"white", "black"}


def test_a_grid_where_all_diverged_is_drawn_as_that(ax):
    strength_grid.heat_map(ax, grid([0.0, 1e-3], [0.0]) * np.nan, "l1", "l2")
    assert [t.get_text() for t in ax.texts] == ["3\ndiverged"] * 2


def test_axes_of_any_kind_are_labelled_with_their_names_and_values(ax):
    values = xr.DataArray(
        np.arange(24.0).reshape(2, 3, 4) + 100,
        dims=("optimizer", "width", "epoch"),
        coords={"optimizer": ["sgd", "adam"], "width": [64, 128, 1024], "epoch": [0, 10, 20, 30]},
        name="reward",
    )
    strength_grid.heat_map(ax, values.isel(epoch=-1), "width", "optimizer", chosen=(1024, "adam"))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("width", "optimizer")
    assert ax.figure.axes[1].get_ylabel() == "reward"
    assert [t.get_text() for t in ax.get_xticklabels()] == ["64", "128", "1024"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["sgd", "adam"]
    assert ax.patches[0].get_xy() == (2, 1)
    assert {t.get_text() for t in ax.texts} == {"103", "107", "111", "115", "119", "123"}
    over = strength_grid.heat_map(None, values.isel(optimizer=0), "epoch", "width")
    assert over.get_xlabel() == "epoch"
    close = strength_grid.heat_map(None, grid([0.121, 0.122, 0.5], [0.0]), "l1", "l2")
    assert [t.get_text() for t in close.get_xticklabels()] == ["0.121", "0.122", "0.5"]


def test_what_is_no_grid_is_refused(ax):
    values = grid([0.0, 1e-3], [0.0, 1e-2])
    with pytest.raises(ValueError, match=r"x is 'l1' and y is 'rate'; expected the names of two"):
        strength_grid.heat_map(ax, values, "l1", "rate")
    with pytest.raises(ValueError, match=r"Select one entry, e\.g\. \.isel\(epoch=-1\)"):
        strength_grid.heat_map(ax, values.expand_dims(epoch=3), "l1", "l2")
    with pytest.raises(ValueError, match=r"`chosen` is \(0.5, 0.0\); expected a pair .* the values \[0.0, 0.01\]$"):
        strength_grid.heat_map(ax, values, "l1", "l2", chosen=(0.5, 0.0))
