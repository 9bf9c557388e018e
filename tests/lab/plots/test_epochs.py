import io

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from jaxreg.lab.plots import epochs, theme


@pytest.fixture
def ax():
    with theme.style():
        ax = Figure().add_subplot()
        yield ax
        ax.figure.savefig(io.BytesIO(), dpi=60)  # every picture must also render without a warning


def lanes(n, epochs=30, name="test_accuracy", key=0):
    x = np.random.default_rng(key).uniform(0.5, 1.0, size=(n, 1, epochs)).astype(np.float32)
    return xr.DataArray(x, dims=("draw", "seed", "epoch"), coords={"epoch": np.arange(epochs) * 10}, name=name)


def labelled(ax, label):
    return next(line for line in ax.lines if line.get_label() == label)


def band(collection):
    """Lower and upper edge of a filled band, by its epochs."""
    points = collection.get_paths()[0].vertices
    return {x: (points[points[:, 0] == x, 1].min(), points[points[:, 0] == x, 1].max()) for x in points[:, 0]}


@pytest.mark.parametrize("n", [1, 2, 8, 9, 64, 10_000])
def test_the_mean_and_the_spread_of_any_number_of_lanes(ax, n):
    values = lanes(n)
    assert epochs.curve(ax, values, colour=theme.BLUE, label="test") is ax
    x = values.values.reshape(n, -1).astype(float)
    mean = labelled(ax, "test")
    np.testing.assert_array_equal(mean.get_xdata(), np.arange(30) * 10)
    np.testing.assert_allclose(mean.get_ydata(), x.mean(axis=0), rtol=1e-6)
    others = [line for line in ax.lines if line is not mean]
    if n == 1:
        assert not others
        assert not ax.collections
    elif n <= 8:
        np.testing.assert_allclose([line.get_ydata() for line in others], x, rtol=1e-6)
    else:
        assert not others
        edges = band(ax.collections[0])
        for place, epoch in enumerate(range(0, 300, 10)):
            np.testing.assert_allclose(edges[epoch], np.quantile(x[:, place], [0.1, 0.9]), rtol=1e-6)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "test accuracy (fraction correct)")


def test_the_order_of_dimensions_does_not_matter(ax):
    values = lanes(12)
    epochs.curve(ax, values, colour=theme.BLUE, label="a")
    epochs.curve(ax, values.transpose("epoch", "seed", "draw"), colour=theme.BLUE, label="b")
    np.testing.assert_allclose(labelled(ax, "a").get_ydata(), labelled(ax, "b").get_ydata())


def test_train_is_dashed_test_is_solid_and_two_recipes_keep_their_colours(ax):
    train, test = lanes(3, name="train_loss"), lanes(3, name="test_loss", key=1)
    epochs.learning_curves(ax, train, test, name="none", colours=(theme.BLUE,) * 2)
    epochs.learning_curves(ax, train / 2, test / 2, name="L2(0.001)", colours=(theme.ORANGE,) * 2)
    looks = {line.get_label(): (to_hex(line.get_color()).upper(), line.get_linestyle()) for line in ax.lines}
    assert looks["none, train"] == (theme.BLUE, "--")
    assert looks["none, test"] == (theme.BLUE, "-")
    assert looks["L2(0.001), test"] == (theme.ORANGE, "-")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "none, train",
        "none, test",
        "L2(0.001), train",
        "L2(0.001), test",
    ]
    np.testing.assert_allclose(labelled(ax, "L2(0.001), test").get_ydata(), test.mean(("draw", "seed")) / 2, rtol=1e-6)
    assert ax.get_ylabel() == "loss"


@pytest.mark.parametrize("n", [4, 20])
def test_diverged_lanes_are_counted_and_leave_the_mean(ax, n):
    values = lanes(n)
    values[0, 0, 12:], values[1, 0, 25:] = np.nan, np.inf
    epochs.curve(ax, values, colour=theme.BLUE, label="test")
    drawn = labelled(ax, f"test, 2 of {n} diverged").get_ydata()
    x = values.values[:, 0].astype(float)
    np.testing.assert_allclose(drawn[11], x[:, 11].mean(), rtol=1e-6)
    np.testing.assert_allclose(drawn[12], x[1:, 12].mean(), rtol=1e-6)
    np.testing.assert_allclose(drawn[29], x[2:, 29].mean(), rtol=1e-6)
    if n > 8:
        np.testing.assert_allclose(band(ax.collections[0])[290], np.quantile(x[2:, 29], [0.1, 0.9]), rtol=1e-6)


@pytest.mark.parametrize("n", [1, 4, 20])
def test_when_all_lanes_diverge_the_curve_ends(ax, n):
    values = lanes(n)
    values[:, :, 20:] = np.nan
    epochs.curve(ax, values, colour=theme.BLUE, label="test")
    drawn = labelled(ax, f"test, {n} of {n} diverged").get_ydata()
    assert np.isfinite(drawn[:20]).all()
    assert np.isnan(drawn[20:]).all()
    epochs.curve(ax, values * np.nan, colour=theme.BLUE, label="never")


def test_a_single_epoch_is_a_point(ax):
    epochs.curve(ax, lanes(1, epochs=1), colour=theme.BLUE, label="test")
    assert labelled(ax, "test").get_marker() == "o"


def test_one_colour_a_kernel(ax):
    norms = {f"norm/{leaf}/kernel": lanes(20, name=leaf, key=i) for i, leaf in enumerate(("hidden", "out"))}
    sweep = xr.Dataset({**norms, "test_loss": lanes(20)})
    epochs.weight_norms(ax, sweep, name="none")
    epochs.weight_norms(ax, sweep / 2, name="L2(0.01)", linestyle="--")
    for leaf, colour in (("hidden", theme.BLUE), ("out", theme.ORANGE)):
        mean = norms[f"norm/{leaf}/kernel"].mean(("draw", "seed"))
        for name, scale, dashes in (("none", 1, "-"), ("L2(0.01)", 2, "--")):
            line = labelled(ax, f"{name}, {leaf}/kernel")
            np.testing.assert_allclose(line.get_ydata() * scale, mean, rtol=1e-6)
            assert (line.get_color(), line.get_linestyle()) == (colour, dashes)
    assert ax.get_ylabel() == "Frobenius norm (weight units)"
    assert ax.get_ylim()[0] == 0
    with pytest.raises(ValueError, match=r"weight_norms: the sweep has the variables \['test_loss'\]"):
        epochs.weight_norms(ax, sweep[["test_loss"]])


@pytest.mark.parametrize("scale", [0.0, 0.3, 30.0])
def test_violation_has_its_zero_line_and_shows_a_flat_zero_as_one(ax, scale):
    values = scale * lanes(20, name="violation")
    values[3, 0, 7:] = np.nan
    epochs.violation(ax, values, name="MaxNorm(3)")
    mean = labelled(ax, "MaxNorm(3), 1 of 20 diverged").get_ydata()
    np.testing.assert_allclose(mean, values.mean(("draw", "seed")), rtol=1e-6)
    assert any(np.array_equal(line.get_ydata(), [0, 0]) for line in ax.lines)
    low, high = ax.get_ylim()
    assert low < 0 < high
    assert high == 1.0 if scale == 0 else scale / 2 < high < 2 * scale
    assert ax.get_ylabel() == "largest violation (weight units)"


def test_the_legend_says_what_stands_for_the_lanes(ax):
    for n, words in ((1, ""), (8, "mean and each of 8 runs"), (10_000, "mean and middle 80 % of 10,000 runs")):
        epochs.curve(ax, lanes(n), colour=theme.BLUE, label=str(n))
        assert ax.get_legend().get_title().get_text() == words


def test_values_without_epochs_are_refused(ax):
    with pytest.raises(
        ValueError, match=r"the values have dimensions \('draw', 'seed'\); expected a dimension 'epoch'"
    ):
        epochs.curve(ax, lanes(3).isel(epoch=-1), colour=theme.BLUE, label="test")


def test_labels_that_are_given_stand_on_the_axes(ax):
    epochs.learning_curves(ax, lanes(2), lanes(2), ylabel="accuracy in words")
    assert ax.get_ylabel() == "accuracy in words"
    epochs.curve(ax, lanes(2), colour=theme.BLUE, label="test")
    assert ax.get_ylabel() == "test accuracy (fraction correct)"


@pytest.mark.parametrize(
    ("names", "words", "ylabel"),
    [
        (("train_accuracy", "validation_accuracy"), ["train", "validation"], "accuracy (fraction correct)"),
        (("fit_error", "val_error"), ["fit", "val"], "error"),
        (("error", "error"), ["train", "test"], "error"),
        (("error_now", "loss_then"), ["train", "test"], "loss_then"),
    ],
)
def test_curves_are_called_as_their_values_are(ax, names, words, ylabel):
    one, other = (lanes(3, name=name).rename(epoch="step") for name in names)
    epochs.learning_curves(ax, one, other, x="step")
    assert ax.get_legend_handles_labels()[1] == words
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", ylabel)
    with pytest.raises(ValueError, match=r"expected a dimension 'epoch'. Name another dimension with x="):
        epochs.learning_curves(ax, one, other)


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax, values, name: epochs.learning_curves(ax, values, values, name=name),
        lambda ax, values, name: epochs.violation(ax, values, name=name),
    ],
)
def test_each_call_takes_a_colour_that_is_not_on_the_axes(ax, draw):
    seen = []
    for name in ("a", "b", "c"):
        draw(ax, lanes(3), name)
        seen.append({to_hex(line.get_color()) for line in ax.lines} - set().union(*seen))
    assert [len(colours - {"#000000"}) for colours in seen] == [1, 1, 1]
