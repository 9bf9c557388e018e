import numpy as np
import pytest
import xarray as xr

from jaxreg.lab import stats
from jaxreg.lab.stats import selection

GRID = [np.nan, 0.1, 0.01, 0.001, 1e-4]
LABELS = ["none", "L2(0.1)", "L2(0.01)", "L2(0.001)", "L2(0.0001)"]


def accuracies(n_draws=8, n_seeds=3, key=0, spread=0.02):
    level = np.array([0.90, 0.83, 0.94, 0.945, 0.92])[:, None, None]
    noise = np.random.default_rng(key).normal(0, spread, (5, n_draws, n_seeds))
    return xr.DataArray(
        (level + noise).astype(np.float32),
        dims=("recipe", "draw", "seed"),
        coords={"recipe": LABELS, "strength": ("recipe", GRID), "draw": range(n_draws), "seed": range(n_seeds)},
    )


def one_standard_error_by_hand(values, sign):
    strength = [0.0, *GRID[1:]]
    units = values.values.astype(float).mean(axis=2)
    mean, se = units.mean(axis=1), units.std(axis=1, ddof=1) / np.sqrt(units.shape[1])
    best = max(range(5), key=lambda i: sign * mean[i])
    allowed = [strength[i] for i in range(5) if sign * mean[i] >= sign * mean[best] - se[best]]
    return max(allowed), strength[best], mean[best], se[best]


@pytest.mark.parametrize("key", range(8))
@pytest.mark.parametrize("sign", [1, -1])
def test_one_standard_error_is_the_strongest_within_one_of_the_best(key, sign):
    values = sign * accuracies(key=key, spread=0.05)
    found = selection.one_standard_error(values, lower_is_better=sign < 0)
    *places, mean, error = one_standard_error_by_hand(values, sign)
    assert [found.strength, found.best] == places
    np.testing.assert_allclose([found.best_mean, found.standard_error], [mean, error], rtol=1e-6)
    assert found.label == LABELS[GRID.index(found.strength)] if found.strength else found.label == "none"
    assert found.n == 8


def test_one_standard_error_does_not_depend_on_the_order_of_the_grid():
    values = accuracies(spread=0.05)
    assert selection.one_standard_error(values) == selection.one_standard_error(values.isel(recipe=[3, 0, 4, 1, 2]))


def test_a_strength_with_a_diverged_lane_is_named_and_not_chosen():
    values = accuracies(spread=0.001)
    values[3, 2, 1] = np.nan
    found = selection.one_standard_error(values)
    assert found.diverged == ("recipe=L2(0.001), draw=2, seed=1",)
    assert (found.strength, found.best) == (0.01, 0.01)
    with pytest.raises(ValueError, match="every strength has a run with a NaN or infinite value, such as"):
        selection.one_standard_error(values * np.nan)


def test_one_standard_error_needs_units_and_strengths():
    with pytest.raises(ValueError, match="at least 2 draws"):
        selection.one_standard_error(accuracies(1, 1))
    with pytest.raises(ValueError, match="coordinate 'strength'"):
        selection.one_standard_error(accuracies().drop_vars("strength"))


@pytest.mark.parametrize("key", range(4))
@pytest.mark.parametrize("sign", [1, -1])
def test_nested_choice_is_the_loop_over_draws(key, sign):
    validation, test = sign * accuracies(key=key), sign * accuracies(key=100 + key)
    found = selection.nested_choice(validation, test, lower_is_better=sign < 0)
    pick = [int(np.argmax(sign * validation.values[:, d].astype(float).mean(axis=1))) for d in range(8)]
    assert found.chosen.values.tolist() == [LABELS[i] for i in pick]
    read = np.array([test.values[i, d] for d, i in enumerate(pick)])
    lanes = {name: validation.coords[name] for name in ("draw", "seed")}
    wanted = xr.DataArray(read, lanes, ("draw", "seed"))  # no label is left of what was chosen among
    xr.testing.assert_identical(found.test.transpose("draw", "seed"), wanted)
    np.testing.assert_allclose(found.mean, read.mean(dtype=float))
    assert sum(found.tally.values()) == 8
    grid = test.values.astype(float).mean(axis=(1, 2))
    np.testing.assert_allclose(found.best_of_grid, sign * np.max(sign * grid))
    assert found.best_of_grid_label == LABELS[int(np.argmax(sign * grid))]


def test_the_test_data_are_read_only_where_validation_chose():
    validation, test = accuracies(), accuracies(key=5)
    first = selection.nested_choice(validation, test)
    unread = test.where(test.recipe == first.chosen, -1.0)
    xr.testing.assert_identical(selection.nested_choice(validation, unread).test, first.test)


def test_choosing_on_the_test_data_is_optimistic_and_the_nested_choice_is_not():
    # All entries equal in truth, so whatever a choice gains is illusion.
    level = accuracies(400, 1).copy(data=np.zeros((5, 400, 1), np.float32))
    rng = np.random.default_rng(0)
    validation, test = (level + rng.normal(0, 1, level.shape) for _ in range(2))
    assert abs(selection.nested_choice(validation, test).mean) < 0.15
    assert selection.nested_choice(test, test).mean > 1.0


def test_what_was_chosen_can_be_compared_with_the_baseline():
    found = selection.nested_choice(accuracies(), accuracies(key=1))
    against = stats.paired(found.test, accuracies(key=1).sel(recipe="none"))
    assert (against.n, against.unit) == (8, "draw")
    assert against.low > 0


def test_a_tie_goes_to_the_stronger_strength():
    level = accuracies(4, 1).copy(data=np.full((5, 4, 1), 0.9, np.float32))
    assert selection.nested_choice(level, level).tally == {"L2(0.1)": 4}
    assert selection.nested_choice(level.isel(recipe=[4, 3, 0]), level.isel(recipe=[4, 3, 0])).tally == {"L2(0.001)": 4}


def test_a_tie_is_one_in_every_unit_of_measurement():
    better = xr.DataArray(1 - 1e-6 * np.arange(5), dims="recipe")  # by 8 ulp of float32 each
    for unit in (1e-6, 1.0, 1e6):
        values = unit * better * accuracies(4, 1).copy(data=np.full((5, 4, 1), 0.9))
        assert selection.nested_choice(values, values).tally == {"none": 4}
        assert selection.nested_choice(values, values, lower_is_better=True).tally == {"L2(0.0001)": 4}


def test_an_entry_that_diverged_on_a_draw_is_not_chosen_there():
    validation, test = accuracies(spread=0.001), accuracies(key=1)
    validation[3, 2, 1] = np.nan
    found = selection.nested_choice(validation, test)
    assert found.chosen.values.tolist() == ["L2(0.001)"] * 2 + ["L2(0.01)"] + ["L2(0.001)"] * 5
    assert found.diverged == ("recipe=L2(0.001), draw=2, seed=1",)
    validation[:, 4] = np.nan
    with pytest.raises(ValueError, match="no strength can be chosen for draw=4: every strength"):
        selection.nested_choice(validation, test)


def test_a_chosen_lane_that_diverged_on_the_test_data_shows():
    test = accuracies(key=1)
    test[3, 0, 0] = np.nan
    found = selection.nested_choice(accuracies(spread=0.001), test)
    assert np.isnan(found.mean)
    assert found.best_of_grid_label == "L2(0.01)"  # the best of those that diverged nowhere
    assert found.best_of_grid == test.sel(recipe="L2(0.01)").astype(float).mean()


def test_with_one_draw_the_choice_is_made_per_seed_and_other_lanes_are_refused():
    assert selection.nested_choice(accuracies(1, 6), accuracies(1, 6)).chosen.dims == ("seed",)
    with pytest.raises(ValueError, match="have different sizes or labels; expected the same runs"):
        selection.nested_choice(accuracies(), accuracies(7))


@pytest.mark.parametrize(
    "choose", [lambda values: selection.nested_choice(values, values), selection.one_standard_error]
)
def test_what_is_advised_about_a_further_setting_works(choose):
    values = xr.DataArray(
        np.random.default_rng(0).normal(size=(4, 2, 3)),
        dims=("draw", "rate", "strength"),
        coords={"rate": [0.1, 0.2], "strength": [0.0, 1.0, 2.0]},
    )
    advice = (
        r"'rate', with 2 entries; .*\.isel\(rate=-1\)\. Or .* combinations: \.stack\(setting=\['strength', 'rate'\]\)$"
    )
    with pytest.raises(ValueError, match=advice):
        choose(values)
    choose(values.isel(rate=-1))
    choose(values.stack(setting=["strength", "rate"]))
