import ast
import dataclasses
import pathlib

import numpy as np
import pytest
import scipy.stats
import xarray as xr
from sklearn.datasets import make_moons
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.svm import SVC

import jaxreg.lab
from jaxreg.lab import stats

# Differences in height of Darwin's crossed and self-fertilised plants, the worked example of
# scipy.stats.wilcoxon: W = 24, p = 0.041259765625.
DARWIN = [6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75]


def lanes(values, **coords):
    x = np.asarray(values, dtype=float)
    return xr.DataArray(x, dims=("draw", "seed")[: x.ndim], coords=coords)


def sweep(n_draws, n_seeds, effect=0.5, key=0):
    """Two recipes over shared draws and seeds; the draw moves both sides alike."""
    rng = np.random.default_rng(key)
    shared = rng.normal(0, 3, (n_draws, 1))
    a, b = shared + rng.normal(0, 1, (2, n_draws, n_seeds))
    return lanes(a + effect), lanes(b)


@pytest.mark.parametrize("file", sorted(pathlib.Path(jaxreg.lab.stats.__path__[0]).glob("*.py")), ids=lambda f: f.stem)
def test_statistics_do_not_import_jax(file):
    source = file.read_text(encoding="utf-8")
    names = [
        name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
    ]
    assert {"jax", "flax", "optax", "matplotlib"}.isdisjoint(name.split(".")[0] for name in names)
    inner = {name for name in names if name.startswith("jaxreg")}
    assert all(name.startswith("jaxreg.lab.stats.") for name in inner - {"jaxreg.lab.cards"})


@pytest.mark.parametrize(("n_draws", "n_seeds"), [(12, 3), (40, 1), (1, 12)])
def test_paired_is_what_its_definition_says(n_draws, n_seeds):
    a, b = sweep(n_draws, n_seeds)
    gap = (a.values - b.values).mean(axis=1) if n_draws > 1 else (a.values - b.values)[0]
    result = stats.paired(a, b)
    np.testing.assert_allclose([result.mean, result.sd], [gap.mean(), gap.std(ddof=1)], rtol=1e-12)
    assert (result.wins, result.ties, result.losses) == (sum(gap > 0), 0, sum(gap < 0))
    assert (result.n, result.unit) == (gap.size, "draw" if n_draws > 1 else "seed")
    t = scipy.stats.ttest_1samp(gap, 0.0).confidence_interval()
    np.testing.assert_allclose([result.low, result.high], [t.low, t.high], atol=0.25 * (t.high - t.low))


def test_two_recipes_of_a_stored_sweep_are_compared_as_they_are_selected():
    a, b = sweep(10, 2)
    stored = xr.concat([b, a], dim="recipe").astype(np.float32).transpose("recipe", "seed", "draw")
    stored = stored.expand_dims(epoch=[0, 10]).assign_coords(
        recipe=["none", "L2(0.001)"],
        method=("recipe", ["none", "L2"]),
        strength=("recipe", [np.nan, 0.001]),
        draw=np.arange(10) + 5,
    )
    result = stats.paired(stored.sel(recipe="L2(0.001)").isel(epoch=-1), stored.sel(recipe="none").isel(epoch=0))
    np.testing.assert_allclose(result.mean, stats.paired(a, b).mean, rtol=1e-6)
    assert stats.paired(a, b).n == result.n == 10


def test_pairing_takes_out_what_the_draws_share():
    a, b = sweep(64, 2)
    result = stats.paired(a, b)
    unpaired = scipy.stats.ttest_ind(a.mean("seed"), b.mean("seed")).confidence_interval()
    assert result.high - result.low < (unpaired.high - unpaired.low) / 3


def test_seeds_inside_a_draw_are_not_counted_as_draws():
    a, b = sweep(8, 1)
    copied = [x.isel(seed=[0] * 50).drop_vars("seed", errors="ignore") for x in (a, b)]
    one, many = stats.paired(a, b), stats.paired(*copied)
    np.testing.assert_allclose([many.low, many.high, many.sd], [one.low, one.high, one.sd], rtol=1e-3)
    assert many.n == 8


def test_sides_swap_and_lower_is_better():
    a, b = sweep(20, 2)
    there, back = stats.paired(a, b), stats.paired(b, a)
    assert there.mean == -back.mean
    assert (there.wins, there.losses) == (back.losses, back.wins)
    loss = stats.paired(a, b, lower_is_better=True)
    assert (loss.wins, loss.losses, loss.mean) == (there.losses, there.wins, there.mean)


def test_equal_sides_tie_everywhere_and_collapse_the_interval():
    a, _ = sweep(16, 2)
    result = stats.paired(a, a)
    assert (result.mean, result.low, result.high, result.sd) == (0, 0, 0, 0)
    assert (result.wins, result.ties, result.losses) == (0, 16, 0)
    shifted = stats.paired(a + 0.25, a)
    np.testing.assert_allclose([shifted.low, shifted.high], 0.25, rtol=1e-9)


def test_one_lane_has_a_difference_and_no_interval():
    result = stats.paired(lanes([[0.9]]), lanes([[0.8]]))
    assert (round(result.mean, 12), result.wins, result.n) == (0.1, 1, 1)
    assert np.isnan([result.low, result.high, result.sd]).all()


def test_diverged_lanes_are_refused_by_name_or_left_out_and_named():
    a, b = sweep(10, 2)
    b[4, 1], b[7, :] = np.nan, np.inf
    functions = (stats.paired, stats.outperforms, stats.wilcoxon)
    for function in functions:
        with pytest.raises(
            ValueError, match="3 of 20 runs have NaN or infinite values: draw=4, seed=1; draw=7, seed=0"
        ):
            function(a, b)
    result = stats.paired(a, b, drop_diverged=True)
    assert result.n == 9
    assert result.diverged == ("draw=4, seed=1", "draw=7, seed=0", "draw=7, seed=1")
    assert stats.outperforms(a, b, drop_diverged=True).diverged == result.diverged
    gap = (a - b).where(np.isfinite(b)).mean("seed").dropna("draw")
    np.testing.assert_allclose(result.mean, gap.mean(), rtol=1e-12)


def test_of_lanes_that_all_diverged_nothing_is_known_and_all_are_named():
    a, b = sweep(6, 1)
    found = stats.paired(a * np.nan, b, drop_diverged=True)
    assert np.isnan([found.mean, found.low, found.high, found.sd]).all()
    assert (found.wins, found.ties, found.losses, found.n, found.unit) == (0, 0, 0, 0, "draw")
    assert len(found.diverged) == 6
    share = stats.outperforms(a * np.nan, b, drop_diverged=True)
    assert np.isnan([share.probability, share.low, share.high]).all()
    assert (share.n, share.verdict, share.diverged) == (0, "not significantly better", found.diverged)
    assert stats.wilcoxon(a * np.nan, b, drop_diverged=True) == 1.0
    for function in (stats.paired, stats.outperforms, stats.wilcoxon):
        with pytest.raises(ValueError, match="6 of 6 runs have NaN or infinite values"):
            function(a * np.nan, b)


@pytest.mark.parametrize("confidence", [0.5, 0.99])
def test_intervals_have_the_confidence_that_is_asked_for(confidence):
    a, b = sweep(7, 1)
    t = scipy.stats.ttest_rel(a.values[:, 0], b.values[:, 0]).confidence_interval(confidence)
    found = stats.paired(a, b, confidence=confidence)  # of few values it is Student's
    np.testing.assert_allclose([found.low, found.high], t, rtol=1e-9)
    assert found.confidence == confidence
    split = stats.nadeau_bengio(a, b, n_train=10**12, n_test=1, confidence=confidence)
    np.testing.assert_allclose([split.low, split.high], t, rtol=1e-6)
    wins = int((a > b).sum())
    wilson = scipy.stats.binomtest(wins, 7).proportion_ci(confidence, method="wilson")
    share = stats.outperforms(a, b, confidence=confidence)
    np.testing.assert_allclose([share.low, share.high], wilson, rtol=1e-9)


def test_paired_is_reproducible_from_its_seed():
    a, b = sweep(20, 1)
    assert stats.paired(a, b) == stats.paired(a, b)
    assert stats.paired(a, b).low not in (stats.paired(a, b, seed=1).low, stats.paired(a, b, resamples=99).low)
    with pytest.raises(dataclasses.FrozenInstanceError):
        stats.paired(a, b).mean = 0.0


@pytest.mark.slow
@pytest.mark.parametrize("n_draws", [32, 64])
def test_paired_covers_in_93_to_97_percent_of_2000_simulated_sweeps(n_draws):
    results = [stats.paired(*sweep(n_draws, 2, key=key)) for key in range(2000)]
    assert 0.93 <= np.mean([r.low <= 0.5 <= r.high for r in results]) <= 0.97


VERDICTS = {  # wins, ties, losses -> probability, verdict
    "all of three": ((3, 0, 0), 1.0, "not significantly better"),
    "22 of 29": ((22, 0, 7), 22 / 29, "significant and meaningful"),
    "ties count half": ((20, 2, 7), 21 / 29, "significant and meaningful"),
    "even": ((10, 12, 10), 0.5, "not significantly better"),
    "sure but small": ((600, 0, 400), 0.6, "significant but not meaningful"),
    "worse": ((7, 0, 22), 7 / 29, "not significantly better"),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_probability_of_outperforming_and_its_verdict(case):
    (wins, ties, losses), probability, verdict = VERDICTS[case]
    a, b = lanes(np.repeat([1.0, 0.0, -1.0], (wins, ties, losses))), lanes(np.zeros(wins + ties + losses))
    result = stats.outperforms(a, b)
    np.testing.assert_allclose(result.probability, probability, rtol=1e-12)
    assert result.verdict == verdict
    assert stats.outperforms(-a, b, lower_is_better=True) == result
    np.testing.assert_allclose(stats.outperforms(b, a).probability, 1 - probability, rtol=1e-12)
    if not ties:
        scipy_interval = scipy.stats.binomtest(wins, wins + losses).proportion_ci(method="wilson")
        np.testing.assert_allclose([result.low, result.high], scipy_interval, rtol=1e-9, atol=1e-12)


def test_29_draws_call_three_in_four_significant_as_often_as_documented():
    # The chance that Wilson's lower end passes one half: the figure in draws_for_probability's docstring.
    said = [
        stats.outperforms(lanes(np.repeat([1.0, -1.0], (wins, 29 - wins))), lanes(np.zeros(29))).verdict
        for wins in range(30)
    ]
    significant = np.array(said) != "not significantly better"
    assert round(scipy.stats.binom.pmf(np.arange(30), 29, 0.75)[significant].sum(), 2) == 0.83
    assert scipy.stats.binom.pmf(np.arange(30), 29, 0.5)[significant].sum() < 0.05


def test_wilcoxon_on_darwins_plants():
    a = lanes(DARWIN)
    assert stats.wilcoxon(a, a * 0) == 0.041259765625
    assert stats.wilcoxon(a * 0, a) == 0.041259765625


def test_wilcoxon_without_a_difference_and_with_ties_hidden_by_rounding():
    a = lanes(DARWIN)
    assert stats.wilcoxon(a, a) == 1.0
    step = np.array([1, 2, 1, -1, 3, 2, 1, -2, 1, 0, 4, 1]) / 70
    base = np.random.default_rng(0).integers(50, 60, 12) / 70
    found = stats.wilcoxon(lanes((base + step).astype(np.float32)), lanes(base.astype(np.float32)))
    whole = np.rint(step * 70)
    np.testing.assert_allclose(found, scipy.stats.wilcoxon(whole[whole != 0]).pvalue, rtol=1e-12)


def test_nadeau_bengio_on_scikit_learns_example():
    # scikit-learn's "Statistical comparison of models using grid search" prints, one-sided: corrected
    # t-value 0.750, corrected p-value 0.227.
    x, y = make_moons(noise=0.352, random_state=1, n_samples=100)
    splits = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    rbf, linear = (
        lanes(cross_val_score(SVC(kernel=kernel, random_state=0), x, y, scoring="roc_auc", cv=splits))
        for kernel in ("rbf", "linear")
    )
    result = stats.nadeau_bengio(rbf, linear, n_train=90, n_test=10)
    assert (round(result.t, 3), round(result.p / 2, 3), result.n) == (0.750, 0.227, 100)
    plain = stats.paired(rbf, linear)
    assert result.low < plain.low < plain.high < result.high


def test_nadeau_bengio_with_no_test_rows_to_speak_of_is_students_t():
    a, b = sweep(12, 1)
    result = stats.nadeau_bengio(a, b, n_train=10**12, n_test=1)
    t = scipy.stats.ttest_rel(a.values[:, 0], b.values[:, 0])
    interval = t.confidence_interval()
    np.testing.assert_allclose([result.t, result.p], [t.statistic, t.pvalue], rtol=1e-6)
    np.testing.assert_allclose([result.low, result.high], [interval.low, interval.high], rtol=1e-6)


def test_nadeau_bengio_at_its_edges():
    a, _ = sweep(12, 1)
    same = stats.nadeau_bengio(a, a, n_train=30, n_test=70)
    assert (same.mean, same.low, same.high, same.t, same.p) == (0, 0, 0, 0, 1)
    for shift in (1.0, -0.1):  # the second is not the same in every draw, by rounding
        shifted = stats.nadeau_bengio(a + shift, a, n_train=30, n_test=70)
        np.testing.assert_allclose([shifted.low, shifted.high], shift, rtol=1e-12)
        assert (shifted.t, shifted.p) == (np.sign(shift) * np.inf, 0)
    with pytest.raises(ValueError, match="at least 2"):
        stats.nadeau_bengio(a.isel(draw=[0]), a.isel(draw=[0]), n_train=30, n_test=70)
    for rows in ({"n_train": 0, "n_test": 70}, {"n_train": 30, "n_test": 0}):
        with pytest.raises(ValueError, match="expected the numbers of training and test rows"):
            stats.nadeau_bengio(a, a, **rows)


@pytest.mark.parametrize("compare", [stats.paired, stats.outperforms, stats.wilcoxon, stats.differences])
def test_arrays_without_names_of_dimensions_are_refused_in_a_sentence(compare):
    with pytest.raises(TypeError, match=r"`a` is ndarray; expected an xarray\.DataArray .* dims=\"seed\""):
        compare(np.ones(3), lanes([1, 2, 3]))


@pytest.mark.parametrize("compare", [stats.paired, stats.outperforms, stats.wilcoxon])
@pytest.mark.parametrize("dims", [("draw", "rate"), ("rate", "seed", "draw")])
def test_what_is_advised_about_a_further_dimension_works(compare, dims):
    sizes = {"draw": 5, "rate": 3, "seed": 2}
    rng = np.random.default_rng(0)
    a, b = (xr.DataArray(rng.normal(size=[sizes[dim] for dim in dims]), dims=dims) for _ in range(2))
    advice = r"'rate' has 3 entries; .* Select one entry, e\.g\. \.isel\(rate=-1\)\. If its entries are runs, pass"
    with pytest.raises(ValueError, match=advice) as refused:
        compare(a, b)
    compare(a.isel(rate=-1), b.isel(rate=-1))
    assert str(refused.value).endswith("pass over=('draw', 'seed', 'rate')")
    means = [side.mean([dim for dim in dims if dim != "draw"]) for side in (a, b)]
    assert compare(a, b, over=("draw", "seed", "rate")) == compare(*means)
