import ast
import re

import numpy as np
import pytest
import xarray as xr

from jaxreg.lab import plots, stats
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
    with pytest.raises(ValueError, match=r"every strength has a run .* for example recipe="):
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
        r"'rate', with 2 entries; .*If its entries are repeated runs, pass "
        r"over=\('draw', 'rate'\)\. If they are settings, select one, e\.g\. \.isel\(rate=-1\), or .* "
        r"combinations of settings: \.stack\(setting=\['strength', 'rate'\]\)$"
    )
    with pytest.raises(ValueError, match=advice):
        choose(values)
    choose(values.isel(rate=-1))
    choose(values.stack(setting=["strength", "rate"]))
    again = values.stack(setting=["strength", "rate"]).expand_dims(width=[1, 2])
    with pytest.raises(ValueError, match=r"\.stack\(setting=\['strength', 'rate', 'width'\]\)$"):
        choose(again)
    words = values.assign_coords(rate=["slow", "fast"])
    with pytest.raises(ValueError, match=r"Its entries are settings: select one, e\.g\. \.sel\(rate='fast'\)"):
        choose(words)
    choose(words.sel(rate="fast"))


@pytest.mark.parametrize("dims", [("strength", "rep"), ("draw", "strength", "rep"), ("seed", "strength", "rep")])
def test_an_axis_of_repetitions_is_averaged_as_advised(dims):
    sizes = {"draw": 5, "seed": 5, "strength": 3, "rep": 4}
    values = xr.DataArray(
        np.random.default_rng(0).normal(size=[sizes[dim] for dim in dims]),
        dims=dims,
        coords={"strength": [0.0, 1.0, 2.0], "rep": range(4)},
    )
    with pytest.raises(ValueError, match="repeated runs, pass over=") as refused:
        selection.nested_choice(values, values)
    over = ast.literal_eval(re.search(r"pass over=(\(.*?\))", str(refused.value))[1])
    choice = selection.nested_choice(values, values, over)
    unit = "rep" if len(dims) == 2 else dims[0]
    by_hand = values.mean([dim for dim in dims if dim not in ("strength", unit)]).transpose(unit, "strength")
    np.testing.assert_array_equal(choice.chosen, values["strength"].values[by_hand.values.argmax(1)])


@pytest.mark.parametrize("choose", [lambda v: selection.nested_choice(v, v), selection.one_standard_error])
def test_the_only_numeric_axis_is_to_be_renamed_to_strength(choose):
    values = xr.DataArray(
        np.random.default_rng(0).normal(size=(4, 3, 2)),
        dims=("draw", "l2", "kind"),
        coords={"draw": range(4), "l2": [0.0, 1.0, 2.0], "kind": ["a", "b"]},
    )
    with pytest.raises(ValueError, match=r"'strength' along one dimension\. .*: \.rename\(l2='strength'\)$"):
        choose(values.isel(kind=0))
    choose(values.isel(kind=0).rename(l2="strength"))
    for unclear in (values.assign_coords(kind=[1, 2]), values.isel(kind=0, l2=0)):
        with pytest.raises(ValueError, match=r"coordinate 'strength' along one dimension$"):
            choose(unclear)


def test_a_tie_of_settings_that_differ_in_more_than_the_strength_goes_to_the_first():
    coords = {"strength": [0.0, 0.1], "rate": [1, 2], "draw": range(3)}
    level = xr.DataArray(np.ones((2, 2, 3)), dims=("strength", "rate", "draw"), coords=coords)
    stacked = level.stack(setting=["strength", "rate"])
    assert selection.nested_choice(stacked, stacked).tally == {(0.0, 1): 3}
    assert selection.nested_choice(stacked, stacked).best_of_grid_label == (0.0, 1)
    one = level.isel(rate=[0]).stack(setting=["strength", "rate"])
    assert selection.nested_choice(one, one).tally == {(0.1, 1): 3}
    pairs = level.isel(rate=0).rename(strength="pair").assign_coords(strength=("pair", [0.1, 0.2]), lr=("pair", [1, 2]))
    assert selection.nested_choice(pairs, pairs).tally == {0.0: 3}
    assert selection.nested_choice(pairs.drop_vars("lr"), pairs.drop_vars("lr")).tally == {0.1: 3}


def test_of_stacked_settings_with_the_largest_strength_the_best_is_chosen():
    losses = xr.DataArray(
        [[[3.0, 3.1]] * 2, [[1.05, 1.25], [1.0, 1.2]]],
        dims=("strength", "rate", "draw"),
        coords={"strength": [0.0, 0.1], "rate": [1, 2]},
    ).stack(setting=["strength", "rate"])
    assert selection.one_standard_error(losses, lower_is_better=True).label == (0.1, 2)


@pytest.mark.parametrize("name", ["val_loss", "loss", "test/rmse", "errorRate", "cross-entropy"])
def test_values_with_the_name_of_a_loss_are_better_if_lower_unless_told_otherwise(name):
    losses = (1 - accuracies()).rename(name)
    other = losses.rename(None)
    for choose in (lambda v, **k: selection.nested_choice(v, v, **k).tally, selection.one_standard_error):
        assert choose(losses) == choose(other, lower_is_better=True) != choose(other)
        assert choose(losses, lower_is_better=False) == choose(other)
    a, b = losses[3], losses[0]
    assert stats.paired(a, b).wins == stats.paired(b, a).losses == int((a.mean("seed") < b.mean("seed")).sum())
    assert stats.outperforms(a, b).probability == 1 - stats.outperforms(a, b, lower_is_better=False).probability


@pytest.mark.parametrize("name", ["test_accuracy", None])
def test_values_with_the_name_of_a_score_or_none_are_better_if_higher(name):
    values = accuracies().rename(name)
    assert selection.nested_choice(values, values).tally == selection.nested_choice(accuracies(), accuracies()).tally


@pytest.mark.parametrize("name", ["validation", "lossless", 3])
def test_values_with_a_name_that_does_not_tell_need_a_direction(name):
    values = accuracies().rename(name)
    gap = stats.differences(values[3], values[0])
    result = stats.paired(values[3], values[0], lower_is_better=False)
    for call in (
        lambda **k: selection.nested_choice(values, values, **k),
        lambda **k: selection.one_standard_error(values, **k),
        lambda **k: stats.paired(values[3], values[0], **k),
        lambda **k: stats.outperforms(values[3], values[0], **k),
        lambda **k: plots.paired_differences(None, gap, result, **k),
    ):
        with pytest.raises(
            ValueError, match=f"the name '{name}' does not tell whether lower values are better; pass low"
        ):
            call()
        call(lower_is_better=False)
    other = values.rename("test_accuracy")  # one name that tells is enough
    assert selection.nested_choice(values, other).tally == selection.nested_choice(accuracies(), accuracies()).tally


def test_negative_values_with_the_name_of_a_loss_need_a_direction():
    losses = (accuracies() - 1).rename("val_loss")  # of a changed sign, or the logarithms of densities
    for call in (
        lambda **k: selection.nested_choice(losses, losses, **k),
        lambda **k: selection.one_standard_error(losses, **k),
        lambda **k: stats.paired(losses[3], losses[0], **k),
        lambda **k: stats.outperforms(losses[3], losses[0], **k),
        lambda **k: stats.paired(abs(losses[3]), losses[0], **k),  # negative in one of them
    ):
        with pytest.raises(ValueError, match="named 'val_loss', but some are negative, so they may"):
            call()
        call(lower_is_better=False)


LIMITS = [np.inf, 2.0, 1.0, 0.5]


def limited(name="limit", limits=LIMITS):
    scores = np.random.default_rng(0).normal([0.0, 0.01, 3.0, 2.9], 0.2, size=(9, 4))
    return xr.DataArray(scores, dims=("draw", name), coords={name: limits})


@pytest.mark.parametrize("name", ["limit", "strength", "c", "max_norm"])
def test_limits_are_chosen_among_whatever_their_axis_is_called_and_infinity_is_the_weakest(name):
    values = limited(name)
    best = [LIMITS[place] for place in values.values.argmax(axis=1)]
    assert selection.nested_choice(values, values).chosen.values.tolist() == best
    level = values.copy(data=np.ones(values.shape))
    assert selection.nested_choice(level, level).tally == {0.5: 9}  # a tie goes to the strongest
    assert selection.nested_choice(level[:, :2], level[:, :2]).tally == {2.0: 9}
    mean, error = values.mean("draw").values, values.std("draw", ddof=1).values / 3
    within = [limit for limit, each in zip(LIMITS, mean, strict=True) if each >= mean.max() - error[mean.argmax()]]
    found = selection.one_standard_error(values)
    assert (found.strength, found.best) == (min(within), LIMITS[int(mean.argmax())])


def test_each_array_tells_its_own_direction():
    """An accuracy on validation rows, a loss on test rows, and the reverse."""
    grid = {"strength": [0.0, 0.1, 1.0], "draw": [0, 1]}
    accuracy = xr.DataArray([[0.7, 0.9], [0.9, 0.8], [0.8, 0.7]], coords=grid, name="val_accuracy")
    loss = xr.DataArray([[0.5, 0.1], [0.2, 0.4], [0.3, 0.6]], coords=grid, name="test_loss")
    by_accuracy = stats.nested_choice(accuracy, loss)
    assert by_accuracy.chosen.values.tolist() == [0.1, 0.0]
    assert (by_accuracy.mean, by_accuracy.best_of_grid_label) == (pytest.approx(0.15), 0.1)
    by_loss = stats.nested_choice(loss.rename("val_loss"), accuracy.rename("test_accuracy"))
    assert by_loss.chosen.values.tolist() == [0.1, 0.0]
    assert (by_loss.mean, by_loss.best_of_grid_label) == (pytest.approx(0.9), 0.1)
