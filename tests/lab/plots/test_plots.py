import ast
import io
import itertools
import pathlib

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from jaxreg.lab import plots, stats
from jaxreg.lab.plots import theme

RNG = np.random.default_rng(0)


@pytest.fixture
def ax():
    with plots.style():
        ax = Figure().add_subplot()
        yield ax
        ax.figure.savefig(io.BytesIO(), dpi=60)


def points(collection):
    return np.asarray(collection.get_offsets())


@pytest.mark.parametrize(
    "module", ["comparisons", "epochs", "forest_plot", "models", "strength_grid", "strengths", "theme"]
)
def test_pictures_import_neither_jax_nor_the_global_state_of_pyplot(module):
    source = pathlib.Path(plots.__path__[0], f"{module}.py").read_text(encoding="utf-8")
    names = [
        name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
    ]
    assert {"jax", "flax", "optax"}.isdisjoint(name.split(".")[0] for name in names)
    assert "matplotlib.pyplot" not in names


def test_plots_names_every_picture():
    assert all(callable(getattr(plots, name)) for name in plots.__all__ if name != "COLOURS")


@pytest.mark.parametrize("n", [1, 30, 10_000])
def test_data_are_drawn_by_class(ax, n):
    x, y = RNG.normal(size=(n, 2)), RNG.integers(0, 2, n)
    assert plots.data(ax, x, y[:, None], name="train") is ax
    for place in (0, 1):
        np.testing.assert_allclose(points(ax.collections[place]).reshape(-1, 2), x[y == place])
    assert ax.get_legend_handles_labels()[1] == ["train, class 0", "train, class 1"]
    shapes = [c.get_paths()[0].vertices.shape for c in ax.collections[:2]]
    assert shapes[0] != shapes[1]  # told apart without colour


def test_hollow_points_lie_over_solid_ones(ax):
    plots.data(ax, [[0.0, 1.0], [1.0, 0.0]], [0, 1], name="train")
    plots.data(ax, [[0.5, 1.0], [1.0, 0.5]], [0, 1], name="test", hollow=True)
    assert [len(c.get_facecolor()) for c in ax.collections] == [1, 1, 0, 0]


def test_data_that_are_not_two_classes_in_the_plane_are_refused(ax):
    with pytest.raises(ValueError, match=r"expected \(n, 2\) and \(n,\)"):
        plots.data(ax, np.zeros((4, 3)), np.zeros(4))
    with pytest.raises(ValueError, match=r"expected \(n, 2\) and \(n,\)"):
        plots.data(ax, np.zeros((4, 2)), np.zeros(3))
    with pytest.raises(ValueError, match=r"the labels are \[0, 2\]; expected only 0 and 1"):
        plots.data(ax, np.zeros((2, 2)), [0, 2])


def test_the_boundary_is_where_the_probability_is_one_half(ax):
    x, y = np.linspace(-2, 3, 51), np.linspace(-1, 2, 31)
    probability = 1 / (1 + np.exp(-4 * (x[None, :] - 0.7 * y[:, None] - 0.35)))
    assert plots.decision_surface(ax, x, y, probability) is ax
    shades, boundary = ax.collections
    line = np.concatenate([p.vertices for p in boundary.get_paths()])
    np.testing.assert_allclose(line[:, 0] - 0.7 * line[:, 1], 0.35, atol=5e-3)
    assert np.ptp(line[:, 1]) > 2.9
    colours = shades.get_facecolor()
    np.testing.assert_allclose(colours[:, 0], colours[:, 2])  # grey
    assert colours[0][3] < 0.1 < 0.4 < colours[-1][3]  # class 1 is shaded
    assert ax.get_legend_handles_labels()[1] == ["boundary, p = ½"]


@pytest.mark.parametrize("level", [0.0, 0.2, 0.5, 1.0])
def test_a_surface_without_a_boundary_has_no_line(ax, level):
    plots.decision_surface(ax, [0, 1, 2], [0, 1], np.full((2, 3), level))
    assert ax.get_legend_handles_labels()[1] == []


def test_a_surface_that_does_not_fit_or_is_no_probability_is_refused(ax):
    with pytest.raises(ValueError, match=r"`x` has 3 values and `y` has 2 values; expected shape"):
        plots.decision_surface(ax, [0, 1, 2], [0, 1], np.zeros((3, 2)))
    with pytest.raises(ValueError, match="2 of 4 predictions are not probabilities"):
        plots.decision_surface(ax, [0, 1], [0, 1], [[0.1, np.nan], [1.5, 0.2]])


def stairs(ax, label):
    return next(p for p in ax.patches if p.get_label().startswith(label)).get_data()


@pytest.mark.parametrize("shape", [(1,), (2, 500), (10_000, 50)])
def test_histograms_share_their_bins_and_count_every_weight(ax, shape):
    before = RNG.normal(size=shape)
    plots.weight_histograms(ax, before, before / 3, names=("none", "L2(0.01)"))
    first, second = stairs(ax, "none"), stairs(ax, "L2(0.01)")
    np.testing.assert_array_equal(first.edges, second.edges)
    for side, weights in ((first, before), (second, before / 3)):
        np.testing.assert_allclose(side.values.sum(), 100)
        inside = (weights >= side.edges[0]) & (weights < side.edges[1])
        np.testing.assert_allclose(side.values[0], 100 * inside.mean())
    assert ax.get_ylabel() == "share of the weights (%)"


def test_exact_zeros_are_said_and_not_drawn(ax):
    after = np.r_[np.zeros(75), RNG.normal(size=25)]
    plots.weight_histograms(ax, RNG.normal(size=100), after)
    np.testing.assert_allclose(stairs(ax, "after: 75 % are exactly 0").values.sum(), 25)
    plots.weight_histograms(ax, np.zeros(5), np.zeros(5), names=("all", "none left"))
    assert stairs(ax, "none left: 100 %").values.sum() == 0


def test_weights_of_a_diverged_model_are_refused(ax):
    with pytest.raises(ValueError, match="the array 'after' has NaN or infinity in 1 of its 2 weights"):
        plots.weight_histograms(ax, [1.0], [1.0, np.nan])
    with pytest.raises(ValueError, match=r"the array 'before' is empty; expected at least one weight$"):
        plots.weight_histograms(ax, [], [1.0])


def sides(n, key=0):
    rng = np.random.default_rng(key)
    a, b = (
        xr.DataArray(rng.integers(60, 70, (n, 1)) / 70, dims=("draw", "seed"), name="test_accuracy") for _ in range(2)
    )
    return a, b


@pytest.mark.parametrize("lower_is_better", [False, True])
@pytest.mark.parametrize("n", [1, 2, 64, 10_000])
def test_every_difference_is_drawn_once_in_order_with_mean_and_interval(ax, n, lower_is_better):
    a, b = sides(n)
    result = stats.paired(a, b, lower_is_better=lower_is_better, resamples=200)
    gap = stats.differences(a, b)
    assert plots.paired_differences(ax, gap, result, lower_is_better=lower_is_better) is ax
    drawn = np.concatenate([points(c) for c in ax.collections])
    np.testing.assert_array_equal(np.sort(drawn[:, 0]), np.arange(1, n + 1))
    np.testing.assert_allclose(drawn[np.argsort(drawn[:, 0]), 1], np.sort(gap.values))
    groups = {c.get_label().split(":")[0]: points(c)[:, 1] for c in ax.collections}
    sign = -1 if lower_is_better else 1
    assert (sign * groups.get("better", np.array([sign])) > 0).all()
    assert (sign * groups.get("worse", np.array([-sign])) < 0).all()
    mean = next(line for line in ax.lines if line.get_label().startswith("mean: "))
    np.testing.assert_allclose(mean.get_ydata(), result.mean)
    if n > 1:
        np.testing.assert_allclose(
            [ax.patches[0].get_y(), ax.patches[0].get_y() + ax.patches[0].get_height()], [result.low, result.high]
        )
    else:
        assert not ax.patches
    assert ax.get_ylabel() == "difference in test accuracy (fraction correct)"
    assert ax.get_xlabel() == ("1 draw" if n == 1 else f"{n:,} draws") + ", sorted by difference"


def test_pairs_left_out_are_counted(ax):
    a, b = sides(20)
    a[3], b[5] = np.nan, np.inf
    gap, result = stats.differences(a, b, drop_diverged=True), stats.paired(a, b, drop_diverged=True)
    plots.paired_differences(ax, gap, result)
    assert ax.get_legend().get_title().get_text() == "2 diverged pairs left out"
    assert sum(len(points(c)) for c in ax.collections) == 18


def test_differences_of_another_comparison_are_refused(ax):
    a, b = sides(30)
    with pytest.raises(ValueError, match=r"but 17, 2, 11 in `result`; expected the same three numbers"):
        plots.paired_differences(ax, stats.differences(*sides(30, key=1)), stats.paired(a, b))
    with pytest.raises(ValueError, match=r"but 17, 2, 11 in `result`; expected the same three numbers"):
        plots.paired_differences(ax, stats.differences(a, b), stats.paired(a, b), lower_is_better=True)


def test_a_whole_figure_of_pictures_is_laid_out_without_a_warning():
    with plots.style():
        figure = Figure(figsize=(9, 6))
        axes = figure.subplots(2, 2)
        epochs = xr.DataArray(RNG.uniform(size=(12, 20)), dims=("draw", "epoch"), name="test_accuracy")
        plots.learning_curves(axes[0, 0], epochs, epochs)
        plots.data(axes[0, 1], RNG.normal(size=(30, 2)), RNG.integers(0, 2, 30))
        a, b = sides(40)
        plots.paired_differences(axes[1, 0], stats.differences(a, b), stats.paired(a, b))
        plots.weight_histograms(axes[1, 1], RNG.normal(size=500), RNG.normal(size=500))
        figure.savefig(io.BytesIO(), dpi=60)
    for ax in axes.flat:
        assert ax.get_xlabel()
        assert ax.get_ylabel()
        assert ax.get_window_extent().width > 150
    assert theme.BLUE in plots.COLOURS


CHANGES = [[-0.3, -0.4, -0.2], [0.1, -0.1, 0.3], [5.0, 4.0, 6.0], [np.nan, np.nan, np.nan]]


def test_a_forest_plot_has_means_intervals_and_the_chosen_one_in_colour(ax):
    labels = ["a", "b", "c", "lost"]
    assert plots.forest(ax, labels, CHANGES, rows=[0, 1, 2.6, 3.6], chosen="a", span=(-0.5, 1.0)) is ax
    bars = [line for line in ax.lines if line.get_linestyle() == "-" and len(line.get_xdata()) == 2][1:]
    assert [tuple(line.get_xdata()) for line in bars] == [(-0.4, -0.2), (-0.1, 0.3), (1.0, 1.0)]
    assert [line.get_color() == theme.BLUE for line in bars] == [True, False, False]
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert [float(line.get_xdata()[0]) for line in dots] == [-0.3, 0.1]
    assert [line.get_markerfacecolor() == "white" for line in dots] == [False, True]  # the second may be 0
    assert [line.get_ydata()[0] for line in ax.lines if line.get_marker() == ">"] == [2.6]  # cut off
    assert [label.get_text() for label in ax.get_yticklabels()] == labels
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first on top


def test_a_forest_plot_shows_everything_unless_told_otherwise(ax):
    plots.forest(ax, ["a", "b", "c", "lost"], CHANGES)
    low, high = ax.get_xlim()
    assert low < -0.4
    assert high > 6.0
    assert not [line for line in ax.lines if line.get_marker() in "<>"]


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e4])
def test_labels_of_a_forest_plot_do_not_run_into_each_other(ax, scale):
    plots.forest(ax, ["a"], [[0.1 * scale, -0.03 * scale, 0.6 * scale]])
    ax.set_position([0.2, 0.2, 0.35, 0.7])  # as narrow as one of two panels
    ax.figure.draw_without_rendering()
    low, high = ax.get_xlim()
    labels = [each for each in ax.get_xticklabels() if low <= each.get_position()[0] <= high]
    boxes = [label.get_window_extent() for label in labels]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_a_forest_plot_of_other_shapes_is_refused(ax):
    with pytest.raises(
        ValueError,
        match=r"`labels` has 2 entries, but `changes` has shape \(4, 3\); expected shape \(2, 3\), with .* change$",
    ):
        plots.forest(ax, ["a", "b"], CHANGES)
    with pytest.raises(ValueError, match=r"`labels` has 4 entries, but `rows` has 1; expected one per label$"):
        plots.forest(ax, list("abcd"), CHANGES, rows=[0])


def test_lines_are_labelled_at_their_ends_and_apart(ax):
    for label, end in (("low", 0.0), ("high", 1.0), ("as high", 1.0), ("_", 0.5)):
        ax.plot([0, 1], [0.5, end], label=label)
    assert theme.label_lines(ax) > 0
    places = {text.get_text(): text.xy[1] for text in ax.texts}
    assert set(places) == {"low", "high", "as high"}
    assert places["low"] < places["high"]
    assert abs(places["high"] - places["as high"]) * ax.bbox.height / ax.figure.dpi > 0.1  # inches
    assert ax.get_legend() is None
