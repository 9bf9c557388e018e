import itertools

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from jaxreg.lab.plots import theme

# What a dichromat sees, for linear RGB: Machado, Oliveira and Fernandes (2009), severity 1.0.
EYES = {
    "ordinary": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def linear(colour):
    c = np.array(to_rgb(colour))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIE 1976 L*a*b* of linear sRGB, D65."""
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    t = np.clip(matrix @ rgb, 0, None) / [0.9505, 1.0, 1.089]
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eyes", EYES)
def test_every_two_colours_differ_for_every_eye(eyes):
    seen = {c: lab(EYES[eyes] @ linear(c)) for c in theme.COLOURS}
    # 10 is several times the difference that is just noticed.
    assert min(np.linalg.norm(seen[a] - seen[b]) for a, b in itertools.combinations(seen, 2)) > 10


def test_the_pair_of_train_and_test_differs_in_print_without_colour():
    assert abs(lab(linear(theme.BLUE))[0] - lab(linear(theme.ORANGE))[0]) > 20


def test_every_colour_shows_on_white():
    assert all(lab(linear(c))[0] < 75 for c in (*theme.COLOURS, theme.GREY))


def test_the_style_holds_inside_its_block_only():
    before = dict(mpl.rcParams)
    with theme.style():
        assert mpl.rcParams["axes.spines.top"] is False
        assert mpl.rcParams["axes.prop_cycle"].by_key()["color"] == list(theme.COLOURS)
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("train_loss", "train loss"),
        ("validation_accuracy", "validation accuracy (fraction correct)"),
        ("norm/hidden/kernel", "Frobenius norm (weight units)"),
        ("violation", "largest violation (weight units)"),
        ("penalty", "penalty"),
        ("equal error rate", "equal error rate"),
        ("generator_loss", "generator_loss"),
        ("gradient_norm", "gradient_norm"),
        ("accuracy", "accuracy"),
        (None, "value"),
    ],
)
def test_variables_of_a_training_have_units_and_others_their_names(name, label):
    assert theme.axis_label(name) == label


@pytest.mark.parametrize("height", [2.0, 4.0, 9.0])
def test_a_long_legend_stands_clear_of_the_axes_at_any_size(height):
    with theme.style():
        figure = Figure(figsize=(5.0, height))
        ax = figure.add_subplot()
        for i in range(5):
            ax.plot([0, 1], [0, i], label=f"recipe {i}")
        ax.set_xlabel("epoch")
        theme.legend(ax, "mean and middle 80 % of 64 runs")
        figure.draw_without_rendering()
    box = ax.get_legend().get_window_extent()
    assert box.y1 < ax.xaxis.label.get_window_extent().y0 + 2
    assert box.y0 >= 0


def test_nothing_to_explain_no_legend():
    ax = Figure().add_subplot()
    theme.legend(ax)
    assert ax.get_legend() is None


@pytest.mark.parametrize(
    ("runs", "free"), [(("seed",), "draw"), (("draw",), "seed"), ((), "seed"), (("draw", "seed"), "")]
)
@pytest.mark.parametrize("dim", ["epoch", "fold"])
def test_what_is_advised_about_a_further_dimension_works(runs, free, dim):
    values = xr.DataArray(np.arange(2.0 ** (2 + len(runs))).reshape(*[2] * (2 + len(runs))), dims=("x", dim, *runs))
    with pytest.raises(ValueError, match=rf"the dimension '{dim}' with 2 entries, .* \.isel\({dim}=-1\)") as refused:
        theme.as_lanes(values, "x")
    expected = values.isel({dim: -1}).transpose(*runs, "x").values.reshape(-1, 2)
    np.testing.assert_array_equal(theme.as_lanes(values.isel({dim: -1}), "x"), expected)
    assert (f".rename({dim}={free!r})" in str(refused.value)) == bool(free)
    assert ("rename" in str(refused.value)) == bool(free)
    if free:
        assert theme.as_lanes(values.rename({dim: free}), "x").shape == (2 ** (1 + len(runs)), 2)
    words = values.assign_coords({dim: ["first", "last"]})
    with pytest.raises(ValueError, match=rf"\.sel\({dim}='last'\)$"):
        theme.as_lanes(words, "x")
    np.testing.assert_array_equal(theme.as_lanes(words.sel({dim: "last"}), "x"), expected)
