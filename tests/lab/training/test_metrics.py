"""Metrics against scikit-learn and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import log_softmax
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error, roc_curve

from jaxreg.lab.training import metrics

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(50, 1)).astype(np.float32)
CLASSES = (RNG.random(50) < 0.4).astype(np.float32)
MANY = RNG.normal(size=(50, 7)).astype(np.float32)
LABELS = RNG.integers(0, 7, 50)


def test_means_are_those_of_scikit_learn():
    probability = 1 / (1 + np.exp(-LOGITS[:, 0].astype(np.float64)))
    found = metrics.binary_cross_entropy(LOGITS, CLASSES)
    assert found.shape == (50,)
    np.testing.assert_allclose(jnp.mean(found), log_loss(CLASSES, probability), rtol=1e-6)
    found = jnp.mean(metrics.binary_accuracy(LOGITS, CLASSES))
    np.testing.assert_allclose(found, accuracy_score(CLASSES, probability > 0.5), rtol=1e-6)
    np.testing.assert_array_equal(metrics.binary_accuracy(jnp.zeros((2, 1)), jnp.arange(2)), [1, 0])  # of 0: class 0
    found = metrics.categorical_cross_entropy(MANY, LABELS)
    assert found.shape == (50,)
    np.testing.assert_allclose(found, -log_softmax(MANY.astype(np.float64), axis=1)[np.arange(50), LABELS], rtol=1e-5)
    found = jnp.mean(metrics.categorical_accuracy(MANY, LABELS))
    np.testing.assert_allclose(found, accuracy_score(LABELS, MANY.argmax(1)), rtol=1e-6)


@pytest.mark.parametrize("outputs", [1, 3])
def test_squared_errors_are_those_of_scikit_learn(outputs):
    found, wanted = RNG.normal(size=(2, 40, outputs)).astype(np.float32)
    expected = mean_squared_error(wanted, found)
    np.testing.assert_allclose(jnp.mean(metrics.squared_error(found, wanted)), expected, rtol=1e-6)
    rows = [mean_squared_error(*row) for row in zip(wanted, found, strict=True)]
    np.testing.assert_allclose(metrics.squared_error(found, wanted), rows, rtol=1e-5)
    np.testing.assert_allclose(metrics.root_mean_squared_error(found, wanted), np.sqrt(expected), rtol=1e-6)
    if outputs == 1:
        np.testing.assert_array_equal(metrics.squared_error(found, wanted[:, 0]), metrics.squared_error(found, wanted))


def reference_equal_error_rate(scores, classes):
    """Where scikit-learn's ROC curve meets the line from (0, 1) to (1, 0)."""
    accepted, detected, _ = roc_curve(classes, scores, drop_intermediate=False)
    # Along the curve, not along one axis: it has vertical pieces.
    place = np.arange(len(accepted))
    gap = lambda at: np.interp(at, place, accepted) + np.interp(at, place, detected) - 1  # noqa: E731
    return np.interp(brentq(gap, 0, place[-1], xtol=1e-12), place, accepted)


SCORES = {
    "as they come": lambda rng, n: rng.normal(size=n),
    "ties": lambda rng, n: rng.integers(0, 4, n).astype(float),
    "all the same": lambda rng, n: np.zeros(n),
    "infinite": lambda rng, n: np.where(rng.random(n) < 0.2, np.inf, rng.normal(size=n)),
}
equal_error_rate = jax.jit(metrics.equal_error_rate)


@pytest.mark.parametrize("name", SCORES)
def test_equal_error_rate_is_on_the_roc_curve_of_scikit_learn(name):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        classes = np.r_[0, 1, rng.random(31) < rng.random()].astype(np.float32)
        scores = (SCORES[name](rng, 33) + (seed % 3) * classes).astype(np.float32)
        usable = np.nan_to_num(scores, posinf=1e6)  # scikit-learn takes no infinite scores
        expected = reference_equal_error_rate(usable, classes)
        np.testing.assert_allclose(equal_error_rate(scores[:, None], classes), expected, atol=1e-6)


def test_equal_error_rate_at_its_ends():
    classes = np.array([0, 0, 1, 1], np.float32)
    column = lambda *scores: np.array(scores, np.float32)[:, None]  # noqa: E731
    assert equal_error_rate(column(-3, -1, 1, 2), classes) == 0
    assert equal_error_rate(column(3, 1, -1, -2), classes) == 1
    assert np.isnan(equal_error_rate(column(-3, -1, np.nan, 2), classes))
    assert np.isnan(equal_error_rate(column(-3, -1, 1, 2), np.ones(4, np.float32)))
    assert np.isnan(equal_error_rate(column(-3, -1, 1, 2), np.zeros(4, np.float32)))


def test_equal_error_rate_is_not_the_mean_of_its_blocks():
    halves = [equal_error_rate(LOGITS[rows], CLASSES[rows]) for rows in (slice(0, 25), slice(25, 50))]
    assert abs(np.mean(halves) - equal_error_rate(LOGITS, CLASSES)) > 1e-3


BAD = {
    "two logits": (
        metrics.binary_cross_entropy,
        (5, 2),
        np.zeros(5),
        ValueError,
        r"\(5, 2\).*expected outputs of shape \(rows, 1\)",
    ),
    "binary column": (metrics.binary_accuracy, (5, 1), np.zeros((5, 1)), ValueError, "the targets have shape"),
    "one class": (metrics.categorical_accuracy, (5, 1), np.zeros(5, int), ValueError, "at least 2 classes"),
    "one hot": (metrics.categorical_cross_entropy, (5, 3), np.zeros((5, 3), int), ValueError, r"of shape \(rows,\)"),
    "float labels": (metrics.categorical_cross_entropy, (5, 3), np.zeros(5), TypeError, "expected one integer class"),
    "broadcast": (metrics.squared_error, (5, 2), np.zeros(5), ValueError, "expected one target per output"),
    "no column": (metrics.equal_error_rate, (5, 2), np.zeros(5), ValueError, "`equal_error_rate`: the outputs"),
}


@pytest.mark.parametrize("case", BAD)
def test_outputs_that_do_not_fit_the_targets_are_refused(case):
    measure, shape, targets, error, message = BAD[case]
    with pytest.raises(error, match=message):
        measure(jnp.zeros(shape), jnp.asarray(targets))
