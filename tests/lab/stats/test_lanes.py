import numpy as np
import pytest
import xarray as xr

from jaxreg.lab import stats
from jaxreg.lab.stats import lanes


def sweep(*shape, dims=("draw", "seed"), key=0):
    coords = {dim: np.arange(10, 10 + size) for dim, size in zip(dims, shape, strict=True)}
    return xr.DataArray(np.random.default_rng(key).normal(size=shape), dims=dims, coords=coords)


UNITS = {  # sizes -> the unit, and the mean of every unit written out
    "draws and seeds": ({"draw": 5, "seed": 3}, "draw", lambda x: [np.mean(x[i, :]) for i in range(5)]),
    "one draw": ({"draw": 1, "seed": 3}, "seed", lambda x: [x[0, j] for j in range(3)]),
    "one seed": ({"draw": 5, "seed": 1}, "draw", lambda x: [x[i, 0] for i in range(5)]),
    "one lane": ({"draw": 1, "seed": 1}, "draw", lambda x: [x[0, 0]]),
    "no seeds": ({"draw": 5}, "draw", lambda x: list(x)),
    "no draws": ({"seed": 4}, "seed", lambda x: list(x)),
}


@pytest.mark.parametrize("case", UNITS)
def test_the_draw_is_the_unit_and_the_seed_where_there_is_one_draw(case):
    sizes, expected, means = UNITS[case]
    values = sweep(*sizes.values(), dims=tuple(sizes))
    assert lanes.unit(values) == expected
    result = lanes.per_unit(values)
    assert result.dims == (expected,)
    np.testing.assert_allclose(result.values, means(values.values), rtol=1e-12)
    np.testing.assert_array_equal(result[expected], values[expected])


@pytest.mark.parametrize("case", UNITS)
def test_the_order_of_dimensions_does_not_matter(case):
    values = sweep(*UNITS[case][0].values(), dims=tuple(UNITS[case][0]))
    xr.testing.assert_allclose(lanes.per_unit(values), lanes.per_unit(values.transpose()))


def test_other_dimensions_are_refused_by_name_unless_they_hold_one_entry():
    values = sweep(5, 3)
    assert lanes.per_unit(values.expand_dims(epoch=1)).sizes == {"draw": 5}
    with pytest.raises(ValueError, match=r"'epoch' has 2 entries.*\.isel\(epoch=-1\)"):
        lanes.per_unit(values.expand_dims(epoch=2))
    with pytest.raises(ValueError, match="To average over other dimensions, pass their names"):
        lanes.per_unit(values, over=("fold",))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_lane_that_is_not_finite_is_named_and_refused_or_left_out(bad):
    values = sweep(4, 2)
    values[1, 0] = bad
    values[2, :] = bad
    with pytest.raises(ValueError, match=r"3 of 8 runs.*draw=11, seed=10; draw=12, seed=10; draw=12, seed=11"):
        lanes.per_unit(values)
    kept = lanes.per_unit(values, drop=True)
    assert kept.draw.values.tolist() == [10, 11, 13]
    np.testing.assert_allclose(kept.values[1], values.values[1, 1])
    with pytest.raises(ValueError, match="all 8 runs diverged"):
        lanes.per_unit(values * np.nan, drop=True)


def test_a_long_list_of_diverged_lanes_is_cut_in_the_message_but_counted():
    with pytest.raises(ValueError, match=r"60 of 60 runs .*…") as error:
        lanes.per_unit(sweep(20, 3) * np.nan)
    assert len(str(error.value)) < 400


def training_sweep():
    dims = ("recipe", "seed", "draw", "epoch")
    curve = xr.DataArray(np.ones((2, 2, 3, 4), np.float32), dims=dims)
    at = np.full((2, 2, 3), -1, np.int32)
    at[1, 0, 2], at[0, 1, 1] = 20, 0
    return xr.Dataset(
        {
            "test_accuracy": curve,
            "zeros": curve.isel(epoch=-1),
            "diverged_at": (dims[:3], at),
            "rows": ("draw", [1.0, 2.0, 3.0]),
        },
        coords={"recipe": ["none", "L2(0.1)"], "seed": [7, 8], "draw": [0, 1, 2], "epoch": [0, 10, 20, 30]},
    )


def test_diverged_names_the_lanes_of_a_training_sweep():
    assert lanes.diverged(training_sweep()) == (
        "recipe=none, seed=8, draw=1",
        "recipe=L2(0.1), seed=7, draw=2",
    )


def test_masking_blanks_a_lane_from_its_epoch_on_and_no_other():
    masked = lanes.mask_diverged(training_sweep())
    expected = np.ones((2, 2, 3, 4))
    expected[1, 0, 2, 2:] = expected[0, 1, 1, :] = np.nan
    np.testing.assert_array_equal(masked.test_accuracy.values, expected)
    np.testing.assert_array_equal(masked.zeros.values, expected[..., -1])
    assert masked.test_accuracy.dims == ("recipe", "seed", "draw", "epoch")
    assert masked.test_accuracy.dtype == np.float32
    xr.testing.assert_identical(masked[["rows", "diverged_at"]], training_sweep()[["rows", "diverged_at"]])


def test_differences_pair_by_label_and_are_zero_within_rounding():
    a, b = sweep(6, 3), sweep(6, 3, key=1)
    by_hand = [np.mean([a.values[i, j] - b.values[i, j] for j in range(3)]) for i in range(6)]
    np.testing.assert_allclose(lanes.differences(a, b.transpose()).values, by_hand, rtol=1e-12)
    ulp = float(np.finfo(np.float32).eps)
    for unit in (1e-6, 1.0, 1e6):  # of measurement
        thirds = xr.DataArray(np.full((1, 3), unit / 3), dims=("draw", "seed"))
        assert lanes.differences(thirds, thirds * (1 + 3 * ulp)).values.tolist() == [0.0, 0.0, 0.0]
        assert (lanes.differences(thirds, thirds * (1 + 6 * ulp)).values < 0).all()


def test_a_pair_counts_only_where_both_sides_are_finite():
    a, b = sweep(3, 2), sweep(3, 2, key=1)
    a[0, 0], b[0, 1], b[1, 1], a[2, 1] = np.nan, np.nan, np.inf, np.nan
    left = lanes.differences(a, b, drop_diverged=True)
    assert left.draw.values.tolist() == [11, 12]
    np.testing.assert_allclose(left.values, a.values[1:, 0] - b.values[1:, 0])
    assert lanes.left_out(a, b) == ("draw=10, seed=10", "draw=10, seed=11", "draw=11, seed=11", "draw=12, seed=11")
    with pytest.raises(ValueError, match="4 of 6 runs"):
        lanes.differences(a, b)


def test_sides_from_other_lanes_are_refused():
    a = sweep(4, 2)
    with pytest.raises(ValueError, match="have different sizes or labels; expected the same runs"):
        lanes.differences(a, a.isel(draw=slice(3)))
    with pytest.raises(ValueError, match="have different sizes or labels; expected the same runs"):
        lanes.differences(a, a.assign_coords(draw=[0, 1, 2, 3]))
    with pytest.raises(ValueError, match=r"Not in both: 'seed'\. Select one"):
        lanes.differences(a, a.isel(seed=0))


def test_runs_of_a_function_without_diverged_at_diverge_where_a_number_is_not_finite():
    loss = xr.DataArray([[0.1, np.nan], [np.inf, 0.2]], dims=("rate", "seed"), coords={"seed": [0, 1]})
    error = xr.DataArray([[0.5, 0.5], [0.5, np.nan]], dims=("rate", "seed"))
    curve = xr.DataArray(np.ones((2, 2, 3)), dims=("rate", "seed", "epoch"))
    kept = xr.DataArray(np.full((2, 2, 4), np.nan), dims=("rate", "seed", "weight"))  # of runs that are not kept
    steps = xr.DataArray([[1, 2], [3, 4]], dims=("rate", "seed"))
    found = xr.Dataset({"loss": loss, "error": error, "curve": curve, "params": kept, "steps": steps})
    assert lanes.diverged(found) == ("rate=0, seed=1", "rate=1, seed=0", "rate=1, seed=1")
    masked = lanes.mask_diverged(found)
    np.testing.assert_array_equal(masked["loss"].isnull(), [[False, True], [True, True]])
    np.testing.assert_array_equal(masked["curve"].isnull().all("epoch"), [[False, True], [True, True]])
    assert masked["steps"].identical(found["steps"])
    with pytest.raises(ValueError, match="expected a floating-point variable with one number per run"):
        lanes.diverged(xr.Dataset({"steps": found["steps"]}))


@pytest.mark.parametrize("along", [("draw", "seed"), ("seed", "draw")])
@pytest.mark.parametrize("sizes", [(5, 3), (1, 3)])
def test_a_coordinate_of_single_runs_does_not_stay_at_the_means(along, sizes):
    values = sweep(*sizes)
    shape = [values.sizes[dim] for dim in along]
    values = values.assign_coords(
        rows=(along, np.arange(np.prod(shape)).reshape(shape)), size=("draw", range(sizes[0]))
    )
    means = lanes.per_unit(values)
    assert "rows" not in means.coords
    assert ("size" in means.coords) == (sizes[0] > 1)
    assert "rows" not in lanes.differences(values, values + 1).coords


def one_number(found):
    return found.values if isinstance(found, xr.DataArray) else np.array(found)


@pytest.mark.parametrize(
    "function",
    [
        stats.paired,
        stats.outperforms,
        stats.wilcoxon,
        stats.differences,
        lambda a, b, over: stats.nadeau_bengio(a, b, n_train=3, n_test=1, over=over),
        lambda a, _, over: stats.mean_interval(a, over),
        lambda a, _, over: stats.interquartile_mean(a, over),
        lambda a, b, over: (
            stats.nested_choice(a.expand_dims(strength=[0, 1]), b.expand_dims(strength=[0, 1]), over).mean
        ),
        lambda a, _, over: stats.one_standard_error(a.expand_dims(strength=[0, 1]), over),
    ],
)
@pytest.mark.parametrize("dim", ["seed", "repetition"])
def test_over_may_be_one_name(function, dim):
    a, b = (xr.DataArray(np.random.default_rng(key).normal(size=9), dims=dim) for key in range(2))
    one, several = (function(a, b, over=over) for over in (dim, (dim,)))
    np.testing.assert_equal(one_number(one), one_number(several))
    with pytest.raises(
        ValueError,
        match=r"expected at least one of \('fold',\)|expected only 'strength' and the dimensions of repeated runs",
    ):
        function(a, b, over="fold")


@pytest.mark.parametrize("statistic", [lanes.per_unit, lanes.units_last, stats.mean_interval])
def test_repeated_seeds_are_warned_of(statistic):
    values = xr.DataArray(np.arange(6.0), dims="seed", coords={"seed": [0, 1, 2] * 2})
    with pytest.warns(UserWarning, match="seed has 6 entries, but only 3 different values"):
        statistic(values)
    statistic(values.assign_coords(seed=range(6)))
    statistic(values.drop_vars("seed"))
