import io
import itertools

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from jaxreg.lab.plots import strengths, theme

STRENGTH = [np.nan, 0.1, 0.01, 0.001, 1e-4]


@pytest.fixture
def ax():
    with theme.style():
        ax = Figure().add_subplot()
        yield ax
        ax.figure.savefig(io.BytesIO(), dpi=60)


def path(n, key=0, strength=STRENGTH, name="test_accuracy"):
    x = np.random.default_rng(key).uniform(0.5, 1.0, size=(len(strength), n))
    methods = ["none" if not s > 0 else "L2" for s in strength]
    return xr.DataArray(
        x,
        dims=("recipe", "draw"),
        coords={
            "recipe": [f"{m}({s:g})" for m, s in zip(methods, strength, strict=True)],
            "strength": ("recipe", strength),
            "method": ("recipe", methods),
        },
        name=name,
    )


def labelled(ax, label):
    return next(line for line in ax.lines if line.get_label() == label)


@pytest.mark.parametrize("n", [1, 5, 64, 10_000])
def test_train_and_test_rise_over_sorted_strengths_beside_their_baseline(ax, n):
    train, test = path(n, name="train_accuracy"), path(n, key=1)
    assert strengths.strength_path(ax, train, test, chosen=0.01) is ax
    for label, values, dashes in (("train", train, "--"), ("test", test, "-")):
        line = labelled(ax, label)
        np.testing.assert_allclose(line.get_xdata(), [1e-4, 1e-3, 1e-2, 1e-1])
        np.testing.assert_allclose(line.get_ydata(), values.values[[4, 3, 2, 1]].mean(axis=1), rtol=1e-9)
        assert line.get_linestyle() == dashes
        level = values.values[0].mean()
        assert any(
            np.allclose(other.get_ydata(), level) for other in ax.lines if other.get_linestyle() == ":"
        )  # carried across
        points = [other for other in ax.lines if np.allclose(other.get_xdata(), 1e-5)]
        assert any(np.allclose(other.get_ydata(), level) for other in points)  # and standing at the left
    assert ax.get_xscale() == "log"
    assert ax.get_ylabel() == "accuracy (fraction correct)"
    ticks = dict(zip(ax.get_xticks(), [t.get_text() for t in ax.get_xticklabels()], strict=True))
    assert ticks == {1e-5: "0", 1e-4: "0.0001", 1e-3: "0.001", 1e-2: "0.01", 0.1: "0.1"}


@pytest.mark.parametrize(
    "strength",
    [
        [0, 0.3, 0.6, 0.9, 1, 1.3, 1.6],
        [0, 1, 2, 3],
        [0, 0.25, 0.5, 1, 2],
        [0.001, 0.0012, 0.00123],
        [0.1],
        [0, 1, 1.01],
        [0, *(10.0 ** np.arange(-7, 2)).tolist()],
    ],
)
@pytest.mark.parametrize("width", [2.5, 4.2])
def test_labels_stand_apart(strength, width):
    with theme.style():
        figure = Figure(figsize=(width, 3.7))  # 4.2 inches: a picture of the report
        ax = figure.add_subplot()
        strengths.strength_path(ax, *2 * [path(5, strength=[np.nan if s == 0 else s for s in strength])])
        figure.savefig(io.BytesIO(), dpi=100)
    boxes = [label.get_window_extent() for label in ax.get_xticklabels() if label.get_text()]
    assert len(boxes) >= min(2, len(strength))
    for one, other in itertools.pairwise(boxes):
        assert one.x1 + 2 < other.x0
    assert len(ax.get_xticks()) == len(strength)  # every strength has its mark, with or without a label


def test_many_strengths_with_no_power_of_ten_among_them(ax):
    values = path(5, strength=np.linspace(2, 8, 9).tolist())
    strengths.strength_path(ax, values, values)
    low, high = ax.get_xlim()
    assert low < 2
    assert high > 8
    assert ax.format_coord(0.02, 0.5).startswith("(x, y) = (0.02,")


def test_many_lanes_have_a_band_and_few_have_every_lane(ax):
    values = path(40)
    strengths.strength_path(ax, values, values)
    edges = ax.collections[0].get_paths()[0].vertices
    at = edges[np.isclose(edges[:, 0], 0.01), 1]
    np.testing.assert_allclose([at.min(), at.max()], np.quantile(values.values[2], [0.1, 0.9]))
    other = Figure().add_subplot()
    few = path(3)
    strengths.strength_path(other, few, few)
    dots = [line.get_ydata() for line in other.lines if line.get_marker() == "." and len(line.get_xdata()) == 4]
    np.testing.assert_allclose(dots[:3], few.values[[4, 3, 2, 1]].T)


def test_the_chosen_strength_is_marked_where_it_is(ax):
    values = path(5)
    strengths.strength_path(ax, values, values, chosen=np.float32(0.001))
    np.testing.assert_allclose(labelled(ax, "chosen: 0.001").get_xdata(), 0.001)
    strengths.strength_path(ax, values, values, chosen=0)
    np.testing.assert_allclose(labelled(ax, "chosen: 0").get_xdata(), 1e-5)
    with pytest.raises(ValueError, match=r"`chosen` is 0.5, .*one of \[0.0001, 0.001, 0.01, 0.1\] or 0"):
        strengths.strength_path(ax, values, values, chosen=0.5)
    with pytest.raises(ValueError, match="`chosen` is 0,"):
        strengths.strength_path(ax, values[1:], values[1:], chosen=0)


@pytest.mark.parametrize("n", [1, 5, 64])
@pytest.mark.parametrize("strength", [[0.01], [np.nan, 0.01], [0.0], [1e-3, 1e-2]])
def test_short_paths(ax, n, strength):
    values = path(n, strength=strength)
    strengths.strength_path(ax, values, values)
    assert len(labelled(ax, "test").get_xdata()) == sum(s > 0 for s in strength)


def test_a_strength_dimension_of_its_own_and_lanes_over_two_dimensions(ax):
    values = xr.DataArray(
        np.random.default_rng(0).uniform(size=(3, 4, 2)),
        dims=("seed", "strength", "draw"),
        coords={"strength": [0.0, 1.0, 0.1, 0.01]},
        name="test_loss",
    )
    strengths.strength_path(ax, values, values)
    expected = values.mean(("seed", "draw")).values[[3, 2, 1]]
    np.testing.assert_allclose(labelled(ax, "test").get_ydata(), expected)


def test_a_fine_grid_labels_the_powers_of_ten_only(ax):
    values = path(2, strength=[0.0, *np.logspace(-5, -1, 33)])
    strengths.strength_path(ax, values, values)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0", "1e-05", "0.0001", "0.001", "0.01", "0.1"]


def test_diverged_lanes_leave_the_mean(ax):
    values = path(20)
    values[2, 5] = np.nan
    strengths.strength_path(ax, values, values)
    drawn = labelled(ax, "test, 1 of 20 diverged")
    np.testing.assert_allclose(drawn.get_ydata()[2], np.nanmean(values.values[2]))


def test_what_is_no_path_is_refused(ax):
    good = path(3)
    mixed = good.assign_coords(method=("recipe", ["none", "L1", "L1", "L2", "L2"]))
    cases = {
        "expected a one-dimensional coordinate 'strength'": good.drop_vars("strength"),
        r"dimension 'epoch' with 3 entries.*Select one entry, e\.g\. \.isel\(epoch=-1\)": good.expand_dims(epoch=3),
        r"several methods, \['L1', 'L2'\]": mixed,
        r"'strength' are \[0\.1, 0\.1\]; expected different numbers": path(3, strength=[0.1, 0.1]),
        r"\[nan, 0\.0, 0\.1\]; .*\.isel\(recipe=\[0, 2\]\)": path(3, strength=[np.nan, 0.0, 0.1]),
        "at least 0": path(3, strength=[-1.0, 0.1]),
        r"\[nan, 0.1\]; expected finite numbers, at least 0": own([np.nan, 0.1], dim="strength"),
    }
    for message, values in cases.items():
        with pytest.raises(ValueError, match=message):
            strengths.strength_path(ax, values, values)


def own(coordinates, runs=4, name="reward", dim="width"):
    x = np.random.default_rng(0).uniform(size=(len(coordinates), runs))
    return xr.DataArray(x, dims=(dim, "seed"), coords={dim: coordinates}, name=name)


def test_another_axis_without_training_values_is_labelled_as_it_is_called(ax):
    values = own([1024, 64, 128])
    strengths.strength_path(ax, None, values, x="width", chosen=1024)
    np.testing.assert_allclose(labelled(ax, "reward").get_xdata(), [64, 128, 1024])
    np.testing.assert_allclose(labelled(ax, "reward").get_ydata(), values.values[[1, 2, 0]].mean(axis=1))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("width (logarithmic)", "reward")
    assert ax.get_legend_handles_labels()[1] == ["reward", "chosen: 1024"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["64", "128", "1024"]
    zeros = strengths.sparsity_path(None, values, x="width")
    assert zeros.get_xlabel() == "width (logarithmic)"


def test_an_axis_with_negative_values_is_linear(ax):
    train, val = (own([-1.0, 2.0, 0.0], name=name, dim="offset") for name in ("train_loss", "val_loss"))
    strengths.strength_path(ax, train, val + 1, x="offset")
    assert (ax.get_xscale(), ax.get_xlabel(), ax.get_ylabel()) == ("linear", "offset", "loss")
    np.testing.assert_allclose(labelled(ax, "val").get_xdata(), [-1, 0, 2])
    np.testing.assert_allclose(labelled(ax, "train").get_ydata(), train.values[[0, 2, 1]].mean(axis=1))


def test_an_axis_of_words_or_of_another_name_is_refused(ax):
    with pytest.raises(ValueError, match=r"the values of 'width' are \['wide', 'thin'\]; expected numbers"):
        strengths.strength_path(ax, None, own(["wide", "thin"]), x="width")
    with pytest.raises(ValueError, match=r"coordinates \['width'\] .*coordinate 'strength'. Name another .* with x="):
        strengths.strength_path(ax, None, own([1, 2]))
    with pytest.raises(ValueError, match=r"expected finite numbers$"):
        strengths.strength_path(ax, None, own([1, np.nan]), x="width")
    with pytest.raises(ValueError, match=r"Because they contain infinity, they are read as limits"):
        strengths.strength_path(ax, None, own([0, np.inf]), x="width")


@pytest.mark.parametrize("n", [1, 5, 64])
def test_sparsity_is_a_percentage_over_the_strength(ax, n):
    zeros = path(n)
    strengths.sparsity_path(ax, zeros, name="hidden/kernel", chosen=0.01)
    strengths.sparsity_path(ax, zeros / 2, name="out/kernel", colour=theme.PURPLE)
    np.testing.assert_allclose(labelled(ax, "hidden/kernel").get_ydata(), 100 * zeros.values[[4, 3, 2, 1]].mean(axis=1))
    assert ax.get_ylabel() == "weights that are exactly 0 (%)"
    assert ax.get_ylim()[0] <= 0
    assert ax.get_ylim()[1] >= 100
    with pytest.raises(ValueError, match="expected shares between 0 and 1"):
        strengths.sparsity_path(ax, 100 * zeros)


def test_two_methods_on_one_pair_of_axes_have_their_names_in_the_legend(ax):
    for key, name in enumerate(("L1", "L2")):
        strengths.strength_path(ax, path(5, key), path(5, key + 2), name=name)
    words = ax.get_legend_handles_labels()[1]
    assert [word for word in words if "L" in word] == ["L1, train", "L1, test", "L2, train", "L2, test"]


def test_calls_on_one_pair_of_axes_have_colours_of_their_own_and_draw_an_equal_baseline_once(ax):
    first, second, third = (path(20, key) for key in range(3))
    second[0] = first[0]  # the same runs without a penalty
    for name, values in (("L1", first), ("L2", second), ("L3", third)):
        strengths.strength_path(ax, None, values, name=name)
    colours = [to_hex(labelled(ax, name).get_color()) for name in ("L1", "L2", "L3")]
    assert len(set(colours)) == 3
    dotted = [(to_hex(line.get_color()), line.get_ydata()[0]) for line in ax.lines if line.get_linestyle() == ":"]
    assert [colour for colour, _ in dotted] == [theme.GREY, colours[2]]
    np.testing.assert_allclose([level for _, level in dotted], [first.values[0].mean(), third.values[0].mean()])
    zeros = Figure().add_subplot()
    lines = [
        labelled(strengths.sparsity_path(zeros, values, name=name), name)
        for name, values in (("a", first), ("b", third))
    ]
    assert lines[0].get_color() != lines[1].get_color()


def at_zero(ax):
    """Where the tick of 0 is, and the levels of the hollow points there."""
    labels = {t.get_text(): x for x, t in zip(ax.get_xticks(), ax.get_xticklabels(), strict=True)}
    hollow = [line for line in ax.lines if line.get_markerfacecolor() == "white"]
    for line in hollow:
        np.testing.assert_allclose(line.get_xdata(), labels["0"])
    return labels["0"], [float(line.get_ydata()[0]) for line in hollow]


@pytest.mark.parametrize("n", [1, 5, 40])
@pytest.mark.parametrize("ranges", [([1e-6, 1e-5], [1e-2, 1e-1]), ([1e-2, 1e-1], [1e-6, 1e-5]), ([0.1], [1e-3, 1.0])])
@pytest.mark.parametrize("equal", [True, False])
def test_methods_of_different_strengths_share_an_axis_and_the_place_of_the_baseline(ax, n, ranges, equal):
    paths = [path(n, key, [np.nan, *strength]) for key, strength in enumerate(ranges)]
    if equal:
        paths[1][0] = paths[0][0]
    for name, values in zip(("L1", "L2"), paths, strict=True):
        strengths.strength_path(ax, None, values, name=name, chosen=0)
    low, high = ax.get_xlim()
    left, levels = at_zero(ax)
    assert low < left < min(map(min, ranges))
    assert max(map(max, ranges)) < high
    np.testing.assert_allclose(levels, [values.values[0].mean() for values in paths[: 1 if equal else 2]])
    marks = [line for line in ax.lines if line.get_label() == "chosen: 0"]
    np.testing.assert_allclose([line.get_xdata() for line in marks], left)
    beyond = [x for line in ax.lines if line.get_transform() == ax.transData for x in line.get_xdata()]
    assert all(x == left or x >= min(map(min, ranges)) for x in beyond)  # nothing stays at an earlier place
    assert {*np.concatenate(ranges)} <= {*ax.get_xticks()}


@pytest.mark.parametrize("draw", ["axhline", "plot"])
def test_dotted_lines_of_others_are_no_baselines(ax, draw):
    values = path(5)
    level = values.values[0].mean()
    if draw == "axhline":
        ax.axhline(level, linestyle=":", color="red")
    else:
        ax.plot([1e-4, 1e-1], [level, level], linestyle=":", color="red")
    strengths.strength_path(ax, None, values)
    assert at_zero(ax)[1] == pytest.approx([level])
    own = [line for line in ax.lines if line.get_linestyle() == ":" and line.get_color() != "red"]
    assert [to_hex(line.get_color()).upper() for line in own] == [theme.GREY]


def test_a_path_with_negative_values_keeps_the_axis_linear(ax):
    signed, positive = own([-1.0, 2.0, 0.0], dim="offset"), own([1.0, 3.0, 0.0], dim="offset")
    strengths.strength_path(ax, None, signed, x="offset", name="signed")
    strengths.strength_path(ax, None, positive, x="offset", name="positive")
    assert ax.get_xscale() == "linear"
    (point,) = [line for line in ax.lines if line.get_markerfacecolor() == "white"]
    np.testing.assert_allclose(point.get_xdata(), 0)
    low, high = ax.get_xlim()
    assert low <= -1
    assert high >= 3


@pytest.mark.parametrize("n", [1, 5, 64])
def test_an_infinite_limit_is_the_baseline_at_the_right_end(ax, n):
    limits = [np.inf, 2.0, 0.5]
    values = xr.DataArray(
        np.random.default_rng(0).uniform(size=(3, n)), dims=("limit", "seed"), coords={"limit": limits}, name="loss"
    )
    strengths.strength_path(ax, None, values, x="limit", chosen=np.inf)
    places = ax.xaxis.get_major_locator().locs
    assert [ax.xaxis.get_major_formatter()(place) for place in places] == ["0.5", "2", "∞"]
    assert list(places) == sorted(places)
    mean = float(values.sel(limit=np.inf).mean())
    (hollow,) = [line for line in ax.get_lines() if line.get_markerfacecolor() == "white"]
    np.testing.assert_allclose([*hollow.get_xdata(), *hollow.get_ydata()], [places[-1], mean])
    chosen = labelled(ax, "chosen: ∞")
    np.testing.assert_allclose(chosen.get_xdata()[0], places[-1])
    assert places[-1] <= ax.get_xlim()[1]
