import numpy as np
import pytest
import xarray as xr
from scipy import stats

from jaxreg.lab.stats import sample_size, variance

# Six targets rated by four judges: Shrout and Fleiss (1979), table 2.
RATINGS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]


def table(rows):
    return xr.DataArray(np.asarray(rows, dtype=float), dims=("draw", "seed"))


def test_the_published_ratings():
    split = variance.variance_split(table(RATINGS))
    # statsmodels 0.15.0, MixedLM with crossed variance components, REML.
    np.testing.assert_allclose(
        [split.draw, split.seed, split.residual], [2.55555556, 5.24444444, 1.01944444], rtol=1e-7
    )
    assert round(split.draw / split.total, 2) == 0.29  # ICC(2,1) in the paper
    assert (split.n_draws, split.n_seeds) == (6, 4)


@pytest.mark.parametrize(("sd_draw", "sd_seed", "sd_rest"), [(3.0, 1.0, 0.5), (0.5, 2.0, 1.0), (1.0, 0.0, 1.0)])
def test_known_variances_are_recovered_on_average(sd_draw, sd_seed, sd_rest):
    rng = np.random.default_rng(3)
    found = []
    for _ in range(300):
        y = rng.normal(0, sd_draw, (12, 1)) + rng.normal(0, sd_seed, (1, 10)) + rng.normal(0, sd_rest, (12, 10))
        split = variance.variance_split(table(y))
        found.append([split.draw, split.seed, split.residual])
    expected = np.array([sd_draw, sd_seed, sd_rest]) ** 2
    np.testing.assert_allclose(np.mean(found, axis=0), expected, rtol=0.12, atol=0.05)


def test_seeds_that_change_nothing_carry_nothing_and_the_order_of_dimensions_is_free():
    values = table(np.repeat([[0.91], [0.94], [0.88]], 4, axis=1))
    for layout in (values, values.transpose(), values.expand_dims(recipe=1)):
        split = variance.variance_split(layout)
        np.testing.assert_allclose(split.draw, np.var([0.91, 0.94, 0.88], ddof=1), rtol=1e-9)
        np.testing.assert_allclose([split.seed, split.residual], 0.0, atol=1e-15)


def test_a_variance_is_never_negative():
    # Draws and seeds have equal means, and only their combination matters: both estimates are negative.
    split = variance.variance_split(table([[1.0, -1.0], [-1.0, 1.0]]))
    assert (split.draw, split.seed, split.residual) == (0.0, 0.0, 4.0)


def test_what_cannot_be_split_is_refused():
    for values in (table([[1.0, 2.0]]), table(RATINGS).isel(seed=0), table(RATINGS).expand_dims(epoch=2)):
        with pytest.raises(ValueError, match="at least 2 entries each"):
            variance.variance_split(values)
    with pytest.raises(ValueError, match="1 of 4 runs have NaN or infinite values: draw=1, seed=0"):
        variance.variance_split(table([[1.0, 2.0], [np.nan, 3.0]]))


POWER = [  # effect / sd, level, power, and n of statsmodels 0.15.0, TTestPower().solve_power
    (0.5, 0.05, 0.8, 33.36713118431779),
    (0.2, 0.05, 0.95, 326.795204880985),
    (1.5, 0.01, 0.9, 10.084550621443135),
    (0.0067 / 0.031, 0.05, 0.95, 280.11785332604785),
    (0.02, 0.05, 0.8, 19624.072089561134),
]


@pytest.mark.parametrize(("effect", "alpha", "power", "n"), POWER)
def test_draws_for_a_mean(effect, alpha, power, n):
    assert sample_size.draws_for_mean(effect, 1.0, alpha=alpha, power=power) == np.ceil(n)
    assert sample_size.draws_for_mean(-3 * effect, 3.0, alpha=alpha, power=power) == np.ceil(n)


def test_draws_for_a_mean_count_both_sides_of_the_test():
    # The square of Student's t is F, and the power of a two-sided test that of F's one side.
    counts = np.arange(2, 400)
    power = stats.ncf.sf(stats.f.isf(0.3, 1, counts - 1), 1, counts - 1, counts * 0.05**2)
    assert 20 < np.argmax(power >= 0.35) < 300
    assert sample_size.draws_for_mean(0.05, 1.0, alpha=0.3, power=0.35) == counts[np.argmax(power >= 0.35)]


def test_draws_for_a_mean_have_that_power_when_simulated():
    n = sample_size.draws_for_mean(0.6, 1.0, power=0.9)
    x = np.random.default_rng(0).normal(0.6, 1.0, (4000, n))
    assert abs(np.mean(stats.ttest_1samp(x, 0.0, axis=1).pvalue < 0.05) - 0.9) < 0.02


def test_a_huge_effect_still_needs_two_draws():
    assert sample_size.draws_for_mean(1e4, 1.0) == 2


def test_29_draws_for_three_in_four():
    # Bouthillier and others (2021): 29 pairs for 0.75 at 5 % and 5 %.
    assert sample_size.draws_for_probability() == 29
    assert sample_size.draws_for_probability(0.25) == 29
    assert sample_size.draws_for_probability(0.6) > 6 * 29
    # Noether's formula with 2.326 and 0.842, the quantiles of 0.99 and 0.8 in tables.
    assert sample_size.draws_for_probability(0.75, alpha=0.01, power=0.8) == np.ceil(
        (2.326 + 0.842) ** 2 / (6 * 0.25**2)
    )


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match=r"0\.5, which means no difference"):
        sample_size.draws_for_probability(0.5)
    for function in (
        lambda: sample_size.draws_for_probability(1.0),
        lambda: sample_size.draws_for_mean(1, 1, power=95),
    ):
        with pytest.raises(ValueError, match=r"is .*; expected a number between 0 and 1"):
            function()
    for effect, sd in ((0.0, 1.0), (1.0, 0.0), (1.0, -1.0), (np.nan, 1.0)):
        with pytest.raises(ValueError, match="expected a nonzero effect and a positive sd"):
            sample_size.draws_for_mean(effect, sd)
