"""What a verdict says beside the regulariser, from made-up results of the outer folds."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy import stats

from jaxreg.lab import CLASSES
from jaxreg.lab.report.provenance import Source
from jaxreg.lab.search import Plan, search
from jaxreg.lab.search.candidates import OTHER
from jaxreg.lab.search.nested import Estimate
from jaxreg.lab.search.report import _why, summary
from jaxreg.lab.search.rivals import KINDS, Rivals


@pytest.fixture(scope="module")
def noise():
    """A search on columns that do not predict the target, of which 60 % are one class."""
    jax.config.update("jax_disable_most_optimizations", True)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(100, 3)), (np.arange(100) < 40).astype(int)
    plan = Plan(methods=("L2",), quick=True, hidden=(4,), epochs=40, folds=5, repeats=2)
    yield search(x, y, CLASSES, plan, rivals=True)
    jax.config.update("jax_disable_most_optimizations", False)


def told(found):
    return summary(Source("search", found))["verdict"]


def changed(found, **parts):
    return dataclasses.replace(found, found=dataclasses.replace(found.found, **parts))


def scores(found, gain, wobble=0.01):
    """Scores of the procedure that exceed those of the most frequent class by `gain`."""
    folds = np.arange(len(found.found.picks))
    return found.constant.score + gain + wobble * np.where(folds % 2, 1, -1)


def test_the_most_frequent_class_is_judged_on_each_fold(noise):
    np.testing.assert_allclose(noise.constant.score, 0.6)
    np.testing.assert_allclose(noise.constant.loss, -0.6 * np.log(0.6) - 0.4 * np.log(0.4))


def test_columns_that_do_not_tell_are_said_to_first(noise):
    lead = told(noise)[0]
    assert lead.startswith(
        "Use no model: these columns do not predict the target. Compared with always predicting the most frequent"
    )
    assert "Use" not in told(noise)[1]


@pytest.mark.parametrize("what", ["score", "loss"])
def test_columns_tell_if_the_score_or_the_loss_is_better_beyond_chance(noise, what):
    if what == "score":
        better = changed(noise, picked_scores=scores(noise, 0.1))
    else:
        folds = np.arange(10)
        better = changed(noise, picked_losses=noise.constant.loss - 0.1 + 0.01 * (folds % 2))
    assert not any("do not predict" in sentence for sentence in told(better))


def against(noise, kind, gain, wobble, others=-0.3):
    """The search with scores of another model that differ from those of the nets by `gain`."""
    mine = noise.found.picked_scores[:5]
    score = np.stack([mine + others] * len(KINDS))
    score[KINDS.index(kind)] = mine + gain + wobble * np.array([1, -1, 1, -1, 0])
    return dataclasses.replace(noise, rivals=Rivals(score, 1 - score))


@pytest.mark.parametrize(
    ("kind", "gain", "wobble", "words"),
    [
        ("forest", 0.1, 0.01, "A forest: it is better than the nets here. To use it, pass --any-model. "),
        ("linear model", 0.1, 0.01, "A linear model: it is better than the nets here. To use it"),
        (
            "linear model",
            0.008,
            0.01,
            "A linear model: it is as good as the nets here, within two standard errors",
        ),
        ("boosted trees", 0.01, 0.05, "Boosted trees: they have a higher accuracy than the nets here, but within two"),
        ("forest", -0.1, 0.01, "No other model is better than the nets here. Change"),
        ("linear model", -0.01, 0.05, "No other model is better than the nets here. A linear model is as good, within"),
    ],
)
def test_the_best_other_model_is_better_only_beyond_two_standard_errors(noise, kind, gain, wobble, words):
    sentence = next(each for each in told(against(noise, kind, gain, wobble)) if "on the same 5 outer folds" in each)
    assert sentence.startswith(words)
    assert sentence.count(" ± ") == len(KINDS)
    assert f"{kind} {gain:+.3f} ± ".replace("-", "\N{MINUS SIGN}") in sentence


def test_another_model_that_is_kept_comes_first_with_its_own_score(noise):
    tells = dataclasses.replace(against(noise, "linear model", 0.05, 0.05), kept="linear model")
    scores_of = tells.rivals.score[KINDS.index("linear model")]
    tells = dataclasses.replace(
        tells, constant=tells.constant._replace(score=np.resize(scores_of - [0.2, 0.21, 0.2, 0.21, 0.2], 10))
    )
    lead, expected, folds, *_ = told(tells)
    assert lead.startswith("Use the linear model: it is as good as the nets here")
    error = max(scores_of.std(ddof=1) * (1 / 5 + 1 / 4) ** 0.5, 0)
    assert error > 0.045  # above the binomial one
    mean = scores_of.mean()
    assert expected.startswith(f"Expected on new rows, for the linear model: accuracy {mean:.3f} ± {error:.3f}, cross")
    low, high = stats.norm(mean, error).interval(0.95)
    assert expected.endswith(f"With a confidence of 95 %, the accuracy is between {low:.2f} and {high:.2f}.")
    assert "over 5 outer folds" in folds
    assert "at least the binomial one" in folds
    assert any(each.startswith("For a net, use") or "If you want one, use" in each for each in told(tells))
    assert summary(Source("search", tells))["accuracy"]["mean"] == pytest.approx(mean)


def test_better_probabilities_without_better_answers_are_said_to_be_that(noise):
    gains = {"loss_gain": Estimate(0.1, 0.01, 10), "score_gain": Estimate(0.01, 0.02, 10)}
    losses = noise.found.losses - 0.1 * (np.arange(len(noise.tried)) == 1)[:, None]
    common = {"losses": losses, "chosen": 1, "picks": (1,) * 10, "picked_scores": scores(noise, 0.2)}
    words = "It mostly improves the probabilities, hardly the answers."
    assert words in told(changed(noise, **common, **gains))[0]
    assert words not in told(changed(noise, **common, **gains | {"score_gain": Estimate(0.1, 0.02, 10)}))[0]


def test_a_score_too_good_to_be_true_is_pointed_at(noise):
    good = changed(noise, score=dataclasses.replace(noise.found.score, mean=1.0), picked_scores=scores(noise, 0.4))
    assert any(each.startswith("Check the columns first: accuracy 1.000 is too good to be true") for each in told(good))
    assert not any("too good" in each for each in told(noise))


def test_the_strongest_strength_is_pointed_at_if_it_is_the_best(noise):
    losses = noise.found.losses.copy()
    strongest = max(range(1, len(noise.tried)), key=lambda at: noise.tried[at].strength)
    losses[strongest] = losses.min() - 0.1
    edge = changed(noise, losses=losses, chosen=strongest)
    label = noise.tried[strongest].label
    assert any(f"{label} is the strongest candidate of its method that was tried" in each for each in told(edge))
    losses[strongest - 1] = losses.min() - 0.1
    assert not any("is the strongest" in each for each in told(changed(noise, losses=losses, chosen=strongest)))


@pytest.mark.parametrize("case", ["lowest", "stronger", "other net"])
def test_the_sentence_on_the_choice_names_the_rule_that_decided(noise, case):
    """The last candidate, or with "lowest" the one before it, is chosen; that one has the lowest loss."""
    *tried, best, chosen = noise.tried
    if case == "other net":
        best = dataclasses.replace(best, shape=OTHER)
    losses = np.array([[0.5] * 10] * len(tried) + [[0.3] * 10, [0.31] * 10])
    at = len(tried) + (case != "lowest")
    result = dataclasses.replace(changed(noise, losses=losses, chosen=at), tried=[*tried, best, chosen])
    sentence = "".join(map(str, _why(Source("search", result))))
    assert sentence.startswith(f"{best.label} has the lowest loss of all candidates. ")
    assert ("No stronger candidate of its method" in sentence) == (case == "lowest")
    assert (f"{chosen.label} is preferred: it is the strongest candidate of its method" in sentence) == (
        case == "stronger"
    )
    assert (f"{chosen.label} has the lowest loss of the candidates that are preferred for each net" in sentence) == (
        case == "other net"
    )
