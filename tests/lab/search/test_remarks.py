"""What a verdict says beside the regulariser, from made-up results of the outer folds."""

import dataclasses
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

import jaxreg as jr
from jaxreg.lab import CLASSES, NUMBERS
from jaxreg.lab.report.provenance import Source
from jaxreg.lab.search import Plan, search
from jaxreg.lab.search.candidates import OTHER, candidates
from jaxreg.lab.search.details import Details
from jaxreg.lab.search.equal_rows import EqualRows, best_rival, gaps, on_equal_rows
from jaxreg.lab.search.fitted_model import Net
from jaxreg.lab.search.folds import PaddedRows, Split
from jaxreg.lab.search.nested import Estimate
from jaxreg.lab.search.remarks import kept_model
from jaxreg.lab.search.report import _why, summary, table
from jaxreg.lab.search.rivals import KINDS, Rivals
from jaxreg.lab.search.run import Caller
from jaxreg.lab.search.summaries import (
    errors_needed,
    loss_over_constant,
    repeats_needed,
    score_over_constant,
    times_longer,
)


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


def test_columns_are_not_said_to_tell_nothing_if_only_nets_were_tried(noise):
    lead = told(dataclasses.replace(noise, rivals=None))[0]
    assert lead.startswith("Use no net: the nets do not predict the target. Other models were not compared. Compared")


@pytest.mark.parametrize(
    ("caller", "others", "longer"),
    [
        (Caller("command", budget=True), "search without --quick and", "with a --budget about 2 times as long. If"),
        (
            Caller("command"),
            "search without --quick and",
            "with another --out and with a --budget about 2 times as long as this search took. If",
        ),
        (Caller("search"), "To compare them, pass rivals=True.", "with so many repeats in the plan. If"),
        (Caller("search", budget=True), "To compare them, pass rivals=True.", "with a budget about 2 times as long."),
        (
            Caller("estimator"),
            "jaxreg.lab.search.search compares them with r",
            "with so many repeats, or splits in cv. If",
        ),
    ],
)
def test_advice_names_arguments_of_what_ran_the_search(noise, caller, others, longer):
    gains = {"loss_gain": Estimate(0.1, 0.045, 10), "chosen": 1, "picked_scores": scores(noise, 0.2)}
    found = dataclasses.replace(changed(noise, **gains), rivals=None, caller=caller)
    sentences = told(found)
    assert sentences[0].startswith("These 10 outer folds are too few to show that a regulariser helps (change in loss ")
    repeats = enough(found)
    assert repeats in (3, 4)  # twice as many as the two
    assert f"If the change stays the same, {repeats} repeats are enough. Search {longer}" in sentences[0]
    assert any(others in sentence for sentence in sentences)
    if caller.name != "command":
        assert "--" not in " ".join(sentences)


def enough(found, most=100):
    """Repeats that Student's t and the error of Nadeau and Bengio ask for, if the spread of the folds stays."""
    gain, folds = found.found.loss_gain, found.plan.folds
    spread = gain.error / (1 / gain.n + 1 / (folds - 1)) ** 0.5
    for repeats in range(found.plan.repeats, most + 1):
        n = repeats * folds
        if stats.t.interval(0.95, n - 1, gain.mean, spread * (1 / n + 1 / (folds - 1)) ** 0.5)[0] > 0:
            return repeats
    return np.inf


@pytest.mark.parametrize("errors", [1.1, 1.5, 1.9, 2.1, 2.2])
def test_the_verdict_says_how_many_repeats_would_be_enough(noise, errors):
    """With 10 folds, a change is significant from 2.26 standard errors on; with 100 repeats, from 1.76 of these on."""
    gains = {"loss_gain": Estimate(0.1, 0.1 / errors, 10), "chosen": 1, "picked_scores": scores(noise, 0.2)}
    found = changed(noise, **gains)
    assert repeats_needed(found) == enough(found)
    assert errors_needed(found) == pytest.approx(stats.t.ppf(0.975, 9))
    assert times_longer(found) == np.ceil(enough(found) / 2)
    lead = told(found)[0]
    assert f"± {0.1 / errors:.3f}; with so few folds, it must exceed 2.3 standard errors, by Student's t" in lead
    few = "These 10 outer folds are" if errors > 1.8 else "The rows of this table are"
    assert lead.startswith(f"{few} too few to show that a regulariser helps")
    assert ("More repeats would hardly be enough." in lead) == (errors < 1.8)


def test_folds_that_cannot_be_added_are_not_advised(noise):
    gains = {"loss_gain": Estimate(0.1, 0.045, 10), "chosen": 1, "picked_scores": scores(noise, 0.2)}
    found = changed(noise, **gains)
    forward = dataclasses.replace(found, setting=dataclasses.replace(found.setting, forward=True))
    assert told(forward)[0].startswith("The outer folds do not show that a regulariser helps.")


def test_the_score_stands_beside_that_of_the_most_frequent_class(noise):
    found = changed(noise, picked_scores=scores(noise, 0.2))
    expected = next(each for each in told(found) if each.startswith("Expected on new rows, for the nets: accuracy "))
    assert " (always predicting the most frequent class: 0.600), loss " in expected


@pytest.mark.parametrize("regression", [False, True])
@pytest.mark.parametrize("case", ["loss", "both", "neither"])
def test_nets_that_only_a_regulariser_makes_better_than_a_guess_are_told(noise, case, regression):
    guess, score = noise.constant.loss.mean(), noise.constant.score.mean()
    plain = guess + (-0.1 if case == "neither" else 0.2)
    plain_score = score + (-0.1 if case == "both" else 0.1)
    found = changed(
        noise,
        chosen=1,
        loss=Estimate(guess - 0.3, 0.01, 10),
        loss_gain=Estimate(plain - guess + 0.3, 0.01, 10),
        score=Estimate(score + 0.2, 0.01, 10),
        score_gain=Estimate(score + 0.2 - plain_score, 0.01, 10),
        picked_scores=scores(noise, 0.2),
    )
    if regression:
        found = dataclasses.replace(found, setting=dataclasses.replace(found.setting, task=NUMBERS))
    sentence = next((each for each in told(found) if each.startswith("Without a regulariser, the nets are no")), "")
    assert bool(sentence) == (case != "neither")
    if sentence:
        what = "the mean" if regression else "the shares of the classes"
        assert f"{what}: their loss is {plain:.3f}, that of the guess {guess:.3f}." in sentence
        better = f" Only their accuracy is better: {plain_score:.3f} instead of {score:.3f}."
        assert (better in sentence) == (case == "loss" and not regression)


def test_a_number_has_one_name_and_what_is_named_is_explained(noise):
    found = changed(noise, chosen=1, picked_scores=scores(noise, 0.2))
    other = dataclasses.replace(found.tried[-1], shape=OTHER)
    sentences = told(dataclasses.replace(found, tried=[*found.tried[:-1], other]))
    assert sum("cross-entropy" in each for each in sentences) == 1
    assert any(each.startswith("The loss is the cross-entropy, which is minus the log") for each in sentences)
    assert any(each.startswith("32-32 on pieces is a second net: ") for each in sentences)
    assert not any(each.startswith("32-32 on pieces is a second net: ") for each in told(found))
    assert any("Other models are scored in the first repeat only. This compares their accuracy" in e for e in sentences)


def test_decay_is_told_as_the_weight_decay_of_adamw(noise):
    label = next(each for each in candidates(("decay",), 10, 10) if each.strength == 0.3)
    found = dataclasses.replace(
        changed(noise, chosen=1, picked_scores=scores(noise, 0.2), loss_gain=Estimate(0.3, 0.01, 10)),
        tried=[noise.tried[0], label, *noise.tried[2:]],
    )
    decay = float(re.search(r"as by AdamW with weight_decay=(\d+\.?\d*)", " ".join(told(found)))[1])
    params = {"kernel": jnp.array([[1.0, -2.0], [0.5, 3.0]])}
    none = jax.tree.map(jnp.zeros_like, params)
    steps = []
    for chain in (
        optax.adamw(0.01, weight_decay=decay),
        jr.regularize(optax.adam(0.01), decays={jr.KERNELS: jr.L2(label.knobs.decay)}, learning_rate=0.01),
    ):
        steps.append(chain.update(none, chain.init(params), params)[0]["kernel"])
    np.testing.assert_allclose(*steps, rtol=1e-6)


def test_the_change_by_the_search_is_told_from_that_of_one_candidate(noise):
    source = Source("search", noise)
    sentence = next(
        each for each in told(noise) if each.startswith("Change by the search, which chooses anew for each")
    )
    assert "compared with the nets of that choice without a regulariser: accuracy" in sentence
    assert "A change is that of one candidate in all folds, compared with" in "".join(map(str, table(source).caption))


@pytest.mark.parametrize(("low", "words"), [([0.59], "59 % of the rows of class b"), ([0.3, 0.2], None), ([], "")])
def test_classes_with_a_low_recall_are_named_the_lowest_first(noise, low, words):
    recall = np.array([0.9, *low, 0.6])
    classes = SimpleNamespace(classes=tuple("abcd"[: len(recall)]))
    found = dataclasses.replace(noise, details=Details(recall, recall, []), model=classes)
    sentences = [each for each in told(found) if "Low recall" in each]
    words = "20 % of the rows of class c and 30 % of the rows of class b" if words is None else words
    assert sentences == [f"Low recall: the nets predict only {words} correctly."] * bool(low)


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
        ("forest", 0.1, 0.01, "A forest is better than the nets here, by 0.100 in accuracy. To use the model with the"),
        ("boosted trees", 0.1, 0.01, "Boosted trees are better than the nets here, by 0.100"),
        ("forest", 0.01, 0.05, "A forest may be better than the nets, by up to 0.10 in accuracy: these folds do not"),
        ("forest", -0.01, 0.05, "A forest may be better than the nets, by up to 0.08 in accuracy: these folds do not"),
        (
            "linear model",
            0.001,
            0.001,
            "No other model is better than the nets here by more than 0.02 in accuracy. The",
        ),
        ("forest", -0.1, 0.01, "No other model is better than the nets here by more than 0.02 in accuracy. Change"),
    ],
)
def test_each_other_model_that_may_be_better_is_named_with_its_interval(noise, kind, gain, wobble, words):
    found = against(noise, kind, gain, wobble)
    sentence = next(each for each in told(found) if "on the same 5 outer folds" in each)
    assert sentence.startswith(words)
    assert len(re.findall(r"\([^)]+ to [^)]+\)", sentence)) == len(KINDS)
    gaps = gain + wobble * np.array([1, -1, 1, -1, 0])
    error = gaps.std(ddof=1) * (1 / 5 + 1 / 4) ** 0.5  # Nadeau and Bengio
    low, high = stats.t.interval(0.95, 4, gaps.mean(), error)
    shown = f"{kind} {gaps.mean():+.3f} ({low:+.3f} to {high:+.3f})".replace("-", "\N{MINUS SIGN}")
    assert shown.replace("+0.000", "0.000") in sentence
    assert ("pass any_model=True" in sentence) == (gain > 0)
    assert ("The linear model is not significantly worse" in sentence) == (kind == "linear model")


@pytest.mark.parametrize("better", [0, 1, -1])
@pytest.mark.parametrize("rounding", [-4e-8, 4e-8])
def test_rounding_makes_no_model_better(noise, rounding, better):
    """Scores differ as those of float32 and float64 do: the lower loss decides, and equal losses leave the nets."""
    mine, losses = noise.found.picked_scores[:5], noise.found.picked_losses[:5]
    score, loss = np.stack([mine - 0.3] * len(KINDS)), np.stack([losses + 0.3] * len(KINDS))
    at = KINDS.index("boosted trees")
    score[at], loss[at] = mine + rounding * np.array([1, 1, 1, 1, 0.9]), losses - 0.1 * better + rounding
    found = dataclasses.replace(noise, rivals=Rivals(score, loss))
    assert best_rival(found.rivals, mine, losses, None) == ("boosted trees" if better > 0 else None)
    sentence = next(each for each in told(found) if "on the same 5 outer folds" in each)
    assert "boosted trees 0.000 (0.000 to 0.000)" in sentence
    assert "are better" not in sentence
    use = "To use the boosted trees, with the same accuracy and a lower loss, pass any_model=True"
    assert (use in sentence) == ("any_model" in sentence) == (better > 0)
    lead = "".join(map(str, kept_model(Source("search", dataclasses.replace(found, kept="boosted trees")), "accuracy")))
    wanted = "Use boosted trees: they have the same accuracy as the nets here" + " and a lower loss" * (better > 0)
    assert lead == f"{wanted}. The model file contains them."


def test_among_models_with_the_highest_score_the_lowest_loss_decides(noise):
    scores, losses = np.full(5, 0.8), np.full(5, 0.5)
    high = [scores + 0.1, scores + 0.1 - 5e-8, scores]
    for lost, best in (([0.4, 0.3, 0.2], "boosted trees"), ([0.3, 0.3 + 1e-8, 0.2], "linear model")):
        rivals = Rivals(np.array(high), np.array(lost)[:, None] + np.zeros(5))
        assert best_rival(rivals, scores, losses, None) == best
    missing = rivals._replace(score=np.where(np.eye(3, 5), np.nan, rivals.score))
    assert best_rival(missing, scores, losses, None) is None


def test_rounding_makes_no_net_better_than_the_most_frequent_class(noise):
    found = changed(noise, picked_scores=noise.constant.score + 4e-8, picked_losses=noise.constant.loss - 4e-8)
    assert score_over_constant(found) == loss_over_constant(found) == Estimate(0.0, 0.0, 10)


@pytest.mark.parametrize("what", ["score", "loss"])
@pytest.mark.parametrize("sure", [True, False])
def test_columns_tell_if_another_model_predicts_beyond_chance_among_three(noise, what, sure):
    """A gain is sure if the interval of Bonferroni's method for three models lies above 0."""
    wobble = 0.1 * np.array([1, -1, 1, -1, 0])
    error = wobble.std(ddof=1) * (1 / 5 + 1 / 4) ** 0.5
    ends = [error * stats.t.ppf(1 - 0.025 / count, 4) for count in (1, 3)]
    gains = np.full((len(KINDS), 5), -0.1)
    gains[KINDS.index("forest")] = wobble + (ends[1] + 0.001 if sure else np.mean(ends))
    none = np.full_like(gains, -0.1)
    score = noise.constant.score[:5] + (gains if what == "score" else none)
    loss = noise.constant.loss[:5] - (gains if what == "loss" else none)
    lead = told(dataclasses.replace(noise, rivals=Rivals(score, loss)))[0]
    assert lead.startswith("Use no model: these columns do not predict the target.") == (not sure)
    if not sure:
        return
    assert lead.startswith("Use no net: the nets do not predict the target, but a forest does. Compared with always")
    mean = f"{gains[KINDS.index('forest')].mean():.3f} ± {error:.3f}"
    assert lead.endswith(f"it is +{mean}." if what == "score" else f"than that of a constant prediction, by {mean}.")


def test_a_table_that_only_trees_predict_is_not_said_to_tell_nothing(noise):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 2))
    found = search(x, (x[:, 0] > 0) ^ (x[:, 1] > 0), CLASSES, dataclasses.replace(noise.plan, epochs=1), rivals=True)
    assert found.rivals.score[KINDS.index("boosted trees")].mean() > 0.8
    lead = told(found)[0]
    assert lead.startswith("Use no net: the nets do not predict the target, but ")
    assert "trees do" in lead or "forest does" in lead


def test_several_models_that_may_be_better_are_all_named(noise):
    mine, wobble = noise.found.picked_scores[:5], 0.05 * np.array([1, -1, 1, -1, 0])
    found = dataclasses.replace(
        noise, rivals=Rivals(mine + np.array([[0.01], [-0.3], [0.02]]) + wobble, np.ones((3, 5)))
    )
    sentence = next(each for each in told(found) if "on the same 5 outer folds" in each)
    assert sentence.startswith("A forest or a linear model may be better than the nets, by up to 0.11 and 0.10 in accu")


@pytest.mark.parametrize(("theirs", "better"), [(1.0, True), (0.8, False)])
def test_equal_rows_count_in_the_comparison_by_their_share(noise, theirs, better):
    found = against(noise, "forest", 0.0, 0.02)
    rivals = found.rivals._replace(equal_rows=np.full((len(KINDS), 5), theirs) - [[0.3], [0.3], [0]])
    found = dataclasses.replace(found, rivals=rivals, equal_rows=EqualRows(0.25, np.full(5, 0.7)))
    sentence = next(each for each in told(found) if "duplicates" in each)
    gaps = 0.75 * 0.02 * np.array([1, -1, 1, -1, 0]) + 0.25 * (theirs - 0.7)
    low, high = stats.t.interval(0.95, 4, gaps.mean(), gaps.std(ddof=1) * (1 / 5 + 1 / 4) ** 0.5)
    assert (low > 0) == better
    assert f"(25 %), a forest is {'' if better else 'not significantly '}better than the nets" in sentence
    assert f"{gaps.mean():+.3f} ({low:+.3f} to {high:+.3f})".replace("-", "\N{MINUS SIGN}") in sentence
    assert f"of the nets is 0.700 and that of a forest is {theirs:.3f}" in sentence
    few = dataclasses.replace(found, equal_rows=EqualRows(0.02, np.full(5, 0.7)))
    assert not any("duplicates" in each for each in told(few))


@pytest.mark.parametrize("classes", [0, 2])
def test_nets_are_judged_on_equal_rows_that_are_not_in_the_fold(classes):
    rng = np.random.default_rng(0)
    x, w, copies = rng.normal(size=(30, 2)), rng.integers(1, 4, 30), rng.integers(1, 3, 30)
    y, folds = (x[:, 0] + rng.normal(size=30) > 0) if classes else x[:, 0] + rng.normal(size=30), np.arange(30) % 3
    scales = {"mean": np.zeros(2), "scale": np.ones(2), "target": np.array([0.0, 1.0])}
    net = Net({"output/kernel": np.array([[1.0], [0.5]]), "output/bias": np.zeros(1)} | scales)
    table = PaddedRows(x, y.astype(float), w, np.ones(2), np.float32(2), folds[None], 0)
    splits, spread = [Split(0, fold, fold) for fold in range(3)], np.array([] if classes else [2.0, 3.0, 4.0])
    found = on_equal_rows([net] * 3, splits, table, copies, spread, classes=classes)
    assert found.share == pytest.approx(w[copies == 2].sum() / w.sum())
    given = x @ [1.0, 0.5]
    for fold in range(3):
        mine = (copies == 2) & (folds != fold)
        if classes:
            wanted = np.average((given > 0)[mine] == y[mine], weights=w[mine])
        else:
            wanted = 1 - np.average((given - y)[mine] ** 2, weights=w[mine]) / spread[fold]
        assert found.score[fold] == pytest.approx(wanted)


def test_rows_that_repeat_are_counted_and_judged_apart(noise):
    """Two of three rows are there twice and their target is noise: a forest remembers them."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(100, 3)), rng.permutation(np.arange(100) < 50).astype(int)
    x, y = np.concatenate([x, x[:60]]), np.concatenate([y, y[:60]])
    found = search(x, y, CLASSES, noise.plan, any_model=True)
    assert found.equal_rows.share == pytest.approx(120 / 160)
    at = KINDS.index("forest")
    assert (found.rivals.equal_rows[at] > 0.95).all()
    assert abs(found.rivals.score[at].mean() - 0.5) < 0.15
    assert found.kept == "forest"
    assert noise.equal_rows is None


def test_another_model_that_is_kept_comes_first_with_its_own_score(noise):
    tells = dataclasses.replace(against(noise, "linear model", 0.05, 0.05), kept="linear model")
    scores_of = tells.rivals.score[KINDS.index("linear model")]
    tells = dataclasses.replace(
        tells, constant=tells.constant._replace(score=np.resize(scores_of - [0.2, 0.21, 0.2, 0.21, 0.2], 10))
    )
    lead, expected, folds, *_ = told(tells)
    assert lead.startswith(
        "Use the linear model: it has a higher accuracy than the nets here. The difference is not sig"
    )
    error = max(scores_of.std(ddof=1) * (1 / 5 + 1 / 4) ** 0.5, 0)
    assert error > 0.045  # above the binomial one
    mean = scores_of.mean()
    assert expected.startswith(f"Expected on new rows, for the linear model: accuracy {mean:.3f} ± {error:.3f} (al")
    low, high = stats.t.interval(0.95, 4, mean, error)
    assert expected.endswith(f"With a confidence of 95 %, the accuracy is between {low:.2f} and {high:.2f}.")
    assert "over 5 outer folds of the first repeat" in folds
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
    assert ("would be preferred, but there is none" in sentence) == (case == "lowest")
    assert (f"{chosen.label} is preferred: it is the strongest candidate of its method" in sentence) == (
        case == "stronger"
    )
    assert (f"{chosen.label} has the lowest loss of the candidates that are preferred for each net" in sentence) == (
        case == "other net"
    )


def test_a_fold_that_was_trained_on_no_equal_row_takes_the_mean_of_the_others(noise):
    found = against(noise, "forest", 0.0, 0.02)
    known, missing = np.array([0.9, 1.0, 0.8, 0.7, np.nan]), np.array([1, 1, 1, 1, np.nan])
    rivals = found.rivals._replace(equal_rows=np.tile(known, (len(KINDS), 1)))
    scores = np.linspace(0.5, 0.9, 5)
    new, again = rivals.score - scores, np.array([0.4, 0.5, 0.3, 0.2, 0.35])
    np.testing.assert_allclose(gaps(rivals, scores, EqualRows(0.25, 0.5 * missing)), 0.75 * new + 0.25 * again)
    np.testing.assert_array_equal(gaps(rivals, scores, EqualRows(0.25, np.full(5, np.nan))), new)
