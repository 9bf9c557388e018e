"""Survival curves against SciPy."""

import warnings

import numpy as np
import pytest
from scipy import stats as scipy_stats

from jaxreg.lab.stats import kaplan_meier


@pytest.mark.parametrize("seed", range(4))
def test_the_curve_and_its_intervals_are_scipys(seed):
    random = np.random.default_rng(seed)
    times, observed = random.integers(1, 12, size=30).astype(float), random.uniform(size=30) < 0.6
    found = kaplan_meier(times, observed, confidence=0.9)
    data = scipy_stats.CensoredData(uncensored=times[observed], right=times[~observed])
    wanted = scipy_stats.ecdf(data).sf
    np.testing.assert_array_equal(found.times, wanted.quantiles)
    np.testing.assert_allclose(found.share, wanted.probabilities, atol=1e-12)
    with warnings.catch_warnings(action="ignore"):  # undefined at a share of 0 or 1
        ends = wanted.confidence_interval(confidence_level=0.9, method="log-log")
    inside = (found.share > 0) & (found.share < 1)
    assert inside.sum() > 5
    np.testing.assert_allclose(found.low[inside], ends.low.probabilities[inside], atol=1e-12)
    np.testing.assert_allclose(found.high[inside], ends.high.probabilities[inside], atol=1e-12)
    np.testing.assert_array_equal(found.at_risk, [np.sum(times >= time) for time in found.times])
    for time in (0.5, 3.0, 6.5, 20.0):
        assert found.at(time) == pytest.approx(wanted.evaluate(time))
    below = found.times[wanted.probabilities <= 0.5]
    assert found.median == (below[0] if len(below) else np.inf)


def test_runs_without_an_event_stay_at_one():
    found = kaplan_meier(np.full(5, 9.0), np.zeros(5, bool))
    assert found.share == 1
    assert found.median == np.inf
    assert np.isnan(found.low).all()


@pytest.mark.parametrize(
    ("times", "observed", "message"),
    [
        ([], [], "`times` and `observed` are empty; expected at least one run"),
        ([1.0, 2.0], [True], r"`times` has shape \(2,\) and `observed` has shape \(1,\); expected two one-dimensional"),
        ([[1.0]], [[True]], r"`observed` has shape \(1, 1\); expected two one-dimensional arrays of equal length"),
        ([1.0, np.inf], [True, False], "1 of 2 `times` are NaN or infinite; expected one finite time per run"),
    ],
)
def test_times_that_are_not_one_finite_number_per_run_are_refused(times, observed, message):
    with pytest.raises(ValueError, match=message):
        kaplan_meier(np.array(times), np.array(observed))


def test_a_confidence_in_percent_is_refused():
    with pytest.raises(ValueError, match="`confidence` is 95"):
        kaplan_meier(np.ones(3), np.ones(3), confidence=95)
