"""Other nets and codings of numbers in a search, and other models on its folds."""

import itertools
import json
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads

from jaxreg.lab import CLASSES, NUMBERS
from jaxreg.lab.cli import main
from jaxreg.lab.search import Plan, importance, open_search, recall, search, to_flax
from jaxreg.lab.search.candidates import METHODS, OTHER, Candidate, Knobs, Shape, candidates, shaped
from jaxreg.lab.search.codings import KNOTS, MOST_PIECES, coded, learn
from jaxreg.lab.search.fitted_model import LEAST, Net, Nets, Trees, load
from jaxreg.lab.search.folds import PaddedRows, Split, nested_splits
from jaxreg.lab.search.means import on_fold
from jaxreg.lab.search.nested import OuterFolds, choose, chosen_members, nested, unregularised
from jaxreg.lab.search.plan import planned_for
from jaxreg.lab.search.rivals import BOOSTING, FOREST, KINDS, LINEAR, arrays_of, fitted, judged_rivals

pytestmark = pytest.mark.usefixtures("compiled_quickly")


def skewed(rows=200):
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.lognormal(0, 2, rows), rng.integers(0, 2, rows), rng.integers(0, 4, rows)])
    return (x - x.mean(axis=0)) / x.std(axis=0), np.ones(rows), np.array([True, False, True])


def test_quantiles_are_normal_scores_and_leave_two_values_as_they_are():
    x, w, numbers = skewed()
    made = coded(learn(x, w, numbers), x)
    np.testing.assert_allclose(made[:, 1], x[:, 1], atol=1e-9)
    scores = stats.norm.ppf((stats.rankdata(x[:, 0]) - 0.5) / len(x))
    np.testing.assert_allclose(made[:, 0], scores / scores.std(), atol=0.15)
    for column in (0, 2):
        assert abs(made[:, column].mean()) < 1e-9
        assert made[:, column].std() == pytest.approx(1)
        assert stats.spearmanr(made[:, column], x[:, column])[0] == pytest.approx(1)


def test_pieces_go_from_minus_1_to_1_between_neighbouring_quantiles():
    x, w, numbers = skewed()
    maps = learn(x, w, numbers)
    made = coded(maps, x)
    assert maps["source"].tolist() == [0, 1, 2, *[0] * MOST_PIECES, *[2] * 3]
    edges = np.quantile(x[:, 0], np.linspace(0, 1, MOST_PIECES + 1), method="inverted_cdf")
    for place, (low, high) in enumerate(itertools.pairwise(edges)):
        wanted = np.clip((x[:, 0] - low) / (high - low), 0, 1) * 2 - 1
        np.testing.assert_allclose(made[:, 3 + place], wanted, atol=1e-9)


def test_a_coding_is_that_of_rows_given_as_often_as_they_weigh():
    x, _, numbers = skewed(50)
    w = np.random.default_rng(1).integers(1, 4, 50)
    one = learn(x, w, numbers)
    other = learn(np.repeat(x, w, axis=0), np.ones(w.sum()), numbers)
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-9, atol=1e-9)


def test_many_numbers_are_cut_in_few_pieces_or_none():
    rng = np.random.default_rng(0)
    for count, pieces in ((5, MOST_PIECES), (16, 3), (24, 2), (30, 0)):
        maps = learn(rng.normal(size=(99, count)), np.ones(99), np.ones(count, bool))
        assert len(maps["source"]) == count * (1 + pieces)
        assert maps["knots"].shape == (len(maps["source"]), KNOTS)


def test_of_each_net_the_best_candidate_worth_having_is_taken_and_of_these_the_best():
    other = OTHER
    tried = [Candidate("none", None, 0.0, Knobs(), shape) for shape in (None, other)]
    tried[1:1] = [Candidate("L2", 0.1, 0.1, Knobs(l2=0.1))]
    tried += [Candidate("decay", 1.0, 1.0, Knobs(decay=1.0), other)]
    noise = np.random.default_rng(0).normal(0, 0.001, (4, 5))
    means = np.array([0.5, 0.4, 0.3, 0.299])[:, None]
    assert choose(tried, means + noise) == 2  # less than 2 % better than its own net without decay
    assert choose(tried, np.array([0.5, 0.4, 0.45, 0.42])[:, None] + noise) == 1
    assert choose(tried, np.array([0.5, 0.4, 0.45, 0.3])[:, None] + noise) == 3
    assert [unregularised(tried, place) for place in range(4)] == [0, 0, 2, 2]


def test_of_two_kinds_of_nets_both_are_averaged_if_neither_is_better():
    """The procedure is judged by the mean on each outer fold, and so are its nets without a regulariser."""
    tried = [Candidate("none", None, 0.0, Knobs(), shape) for shape in (None, OTHER)]
    tried += [Candidate("decay", 1.0, 1.0, Knobs(decay=1.0), OTHER)]
    noise = np.array([0.03, -0.02, 0.01, -0.02])
    tied, apart = (np.stack([0.4 + noise, 0.5 - noise, 0.4 - gap * np.ones(4)]) for gap in (0.001, 0.1))
    assert chosen_members(tried, tied, 0.25) == (2, 0)
    assert chosen_members(tried, apart, 0.25) == (2,)
    parts = nested_splits(1, 4)
    rng = np.random.default_rng(0)
    losses = np.array([0.4, 0.5, 0.401])[:, None] + rng.normal(0, [[0.02], [0.01], [0.01]], (3, len(parts)))
    asked = []

    def means(fold, members):
        asked.append((fold, members))
        return 0.9 - 0.1 * (1 in members), 0.2 + 0.01 * fold + 0.05 * (1 in members)

    found = nested(tried, parts, losses, losses, 1 - losses, means=means)
    assert found.members in ((0, 2), (2, 0))
    both = [fold for fold, members in enumerate(found.picked) if len(members) == 2]
    assert {fold for fold, _ in asked} == set(both) != set()
    for fold in both:
        assert found.picked_losses[fold] == 0.2 + 0.01 * fold
        assert found.picked_scores[fold] == 0.9
    outer = losses[:, [at for at, part in enumerate(parts) if part.test == part.validation >= 0]]
    gains = [0.05 if fold in both else outer[0, fold] - outer[members[0], fold] if members[0] != 2 else
             outer[1, fold] - outer[2, fold] for fold, members in enumerate(found.picked)]  # fmt: skip
    assert found.loss_gain.mean == pytest.approx(np.mean(gains))
    alone = nested(tried, parts, losses, losses, 1 - losses)
    assert (len(alone.members), set(map(len, alone.picked))) == (1, {1})


@pytest.mark.parametrize("classes", [0, 3])
def test_a_mean_of_nets_is_judged_on_a_fold_as_by_scikit_learn(classes):
    rng = np.random.default_rng(0)
    outputs, rows = max(classes, 1), 40
    x, w, dealt = rng.normal(size=(rows, 2)), rng.integers(1, 4, rows), np.arange(rows) % 3
    y = rng.integers(0, classes, rows) if classes else rng.normal(size=rows)
    table = PaddedRows(x, y, w, np.ones(2), np.float32(2), dealt[None], 0)
    plain = {"mean": np.zeros(2), "scale": np.ones(2), "target": np.array([0.0, 1.0])}
    members = [
        Net({"output/kernel": rng.normal(size=(nets, 2, outputs)), "output/bias": np.zeros((nets, outputs)), **plain})
        for nets in (2, 3)
    ]
    score, loss = on_fold(Nets(tuple(members)), table, Split(0, 1, 1), classes=bool(classes))
    mine = dealt == 1
    if not classes:
        given = np.mean([net(x[mine])[:, 0] for net in members], axis=0)
        assert np.isnan(score)
        assert loss == pytest.approx(mean_squared_error(y[mine], given, sample_weight=w[mine]))
        return
    given = np.mean([net.probabilities(x[mine]) for net in members], axis=0)
    assert loss == pytest.approx(log_loss(y[mine], given, sample_weight=w[mine], labels=range(classes)))
    assert score == pytest.approx(accuracy_score(y[mine], given.argmax(axis=1), sample_weight=w[mine]))


def test_inside_an_outer_fold_losses_count_less_the_ambiguity_of_the_mean():
    """One candidate's nets are worse one by one and better as a mean; the other's all agree."""
    tried, parts = (
        [Candidate("none", None, 0.0, Knobs()), Candidate("L2", 0.1, 0.1, Knobs(l2=0.1))],
        nested_splits(1, 4),
    )
    losses = np.stack([np.full(len(parts), 0.5), np.full(len(parts), 0.52)])
    outer = OuterFolds(np.full((2, 4), 0.5), np.array([[0.5] * 4, [0.3] * 4]), np.array([[0.0] * 4, [0.22] * 4]))
    assert nested(tried, parts, losses, losses, losses).picks == (0, 0, 0, 0)
    found = nested(tried, parts, losses, losses, losses, outer=outer)
    assert found.picks == (1, 1, 1, 1)
    assert found.loss.mean == pytest.approx(0.3)
    assert found.loss_gain.mean == pytest.approx(0.2)


def test_other_nets_are_tried_unless_one_is_asked_for_or_the_search_is_quick():
    assert Plan().open
    assert not Plan(hidden=32).open
    assert not Plan(quick=True).open
    assert [each.label for each in shaped(OTHER)] == ["none, 32-32 on pieces", "decay(2), 32-32 on pieces"]
    full, fewer = (candidates(METHODS, 100, 1, fewer=fewer) for fewer in (False, True))
    assert {each.method for each in fewer} == set(METHODS)
    assert {each.label for each in fewer} < {each.label for each in full}


def test_without_a_second_network_no_strength_is_left_out():
    for plan in (Plan(methods=["L2", "MaxNorm"]), Plan(hidden=32), Plan()):
        _, tried, _ = planned_for(plan, 0, 100)
        strengths = [each.strength for each in tried if each.method == "L2"]
        assert strengths == ([0.001, 0.003, 0.01, 0.03] if plan.open else [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1])


@pytest.mark.parametrize("classes", [0, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_models_of_scikit_learn_are_the_same_as_arrays(kind, classes):
    rng = np.random.default_rng(0)
    raw = rng.normal(3, 2, size=(80, 4))
    mean, scale = raw.mean(axis=0), raw.std(axis=0)
    x = ((raw - mean) / scale).astype(np.float32)
    y = rng.integers(0, classes, 80) if classes else (raw[:, 0] > 3) + rng.normal(size=80)
    model = fitted(kind, x, y, np.ones(80), classes, 0)
    arrays = arrays_of(kind, model) | {"mean": mean, "scale": scale, "target": np.array([0.0, 1.0])}
    net = Net(arrays) if kind == LINEAR else Trees(arrays)
    if classes:
        wanted = np.maximum(model.predict_proba(x), LEAST)
        np.testing.assert_allclose(net.probabilities(raw), wanted / wanted.sum(axis=1, keepdims=True), atol=1e-6)
    else:
        np.testing.assert_allclose(net(raw)[:, 0], model.predict(x), rtol=1e-5, atol=1e-5)


def test_models_are_judged_on_folds_that_they_have_not_seen_with_one_thread_each(monkeypatch):
    rng = np.random.default_rng(0)
    x, y, w = rng.normal(size=(60, 3)), rng.integers(0, 2, 60), rng.integers(1, 3, 60).astype(float)
    dealt = np.arange(60) % 3
    copies = rng.integers(1, 3, 60)
    found = judged_rivals(x, y, w, dealt, 2, 5, copies=copies)
    test = dealt == 1
    forest = RandomForestClassifier(100, random_state=5).fit(x[~test], y[~test], sample_weight=w[~test])
    at = KINDS.index(FOREST)
    assert found.score[at, 1] == pytest.approx(np.average(forest.predict(x[test]) == y[test], weights=w[test]))
    equal = ~test & (copies > 1)
    wanted = np.average(forest.predict(x[equal]) == y[equal], weights=w[equal])
    assert found.equal_rows[at, 1] == pytest.approx(wanted)
    right = np.maximum(forest.predict_proba(x[test])[np.arange(20), y[test]], LEAST)
    assert found.loss[at, 1] == pytest.approx(np.average(-np.log(right), weights=w[test]))
    threads: list[int] = []
    counted = HistGradientBoostingRegressor.fit
    monkeypatch.setattr(
        HistGradientBoostingRegressor,
        "fit",
        lambda self, *rows, **given: threads.append(_openmp_effective_n_threads()) or counted(self, *rows, **given),
    )
    numbers = judged_rivals(x, x[:, 0], w, dealt, 0, 5, copies=copies)
    spread = np.cov(x[dealt == 2, 0], aweights=w[dealt == 2], ddof=0)
    boosted = fitted(BOOSTING, x[dealt != 2], x[dealt != 2, 0], w[dealt != 2], 0, 5)
    equal = (dealt != 2) & (copies > 1)
    error = mean_squared_error(x[equal, 0], boosted.predict(x[equal]), sample_weight=w[equal])
    assert numbers.equal_rows[KINDS.index(BOOSTING), 2] == pytest.approx(1 - error / spread)
    threads.pop()
    assert threads == [1] * 3
    assert numbers.score[KINDS.index(LINEAR)].min() > 0.999


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    """A table of steps: an exclusive or of two numbers that a line cannot tell, and a tree does at once."""
    folder = tmp_path_factory.mktemp("steps")
    rng = np.random.default_rng(0)
    x = rng.lognormal(size=(120, 2))
    y = np.where((x[:, 0] > 1) ^ (x[:, 1] > 1), "yes", "no")
    rows = [f"{a:.4f},{b:.4f},{c}" for (a, b), c in zip(x, y, strict=True)]
    (folder / "steps.csv").write_text("\n".join(["a,b,y", *rows]) + "\n")
    return folder


def jaxreg(monkeypatch, *options):
    monkeypatch.setattr(sys, "argv", ["jaxreg", *map(str, options)])
    main()


def test_a_default_search_is_read_back_with_all_its_nets_and_other_models(steps, monkeypatch, capsys):
    monkeypatch.chdir(steps)
    monkeypatch.setattr("jaxreg.lab.search.nested.chosen_members", lambda tried, losses, ratio: (len(tried) - 1, 0))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(steps / "compiled"))
    jaxreg(monkeypatch, "search", "steps.csv", "--target", "y", "--epochs", "20", "--json")
    told = json.loads(capsys.readouterr().out)
    stored = open_search(steps / "steps-search")
    assert {each.shape for each in stored.tried} == {None, OTHER}
    assert stored.chosen.label == told["chosen"]["label"]
    assert stored.found.score.mean == pytest.approx(told["accuracy"]["mean"])
    gain = told["other_models"][FOREST]["mean"]
    mine = stored.found.picked_scores[:5]
    assert gain == pytest.approx(np.mean(stored.rivals.score[KINDS.index(FOREST)] - mine))
    assert any("forest" in sentence for sentence in told["verdict"])
    assert any("averages the nets of" in sentence for sentence in told["verdict"])
    assert stored.found.members == (len(stored.tried) - 1, 0)
    assert isinstance(stored.net, Nets)
    module, variables = to_flax(stored)
    x = np.random.default_rng(0).lognormal(size=(9, 2))
    np.testing.assert_allclose(module.apply(variables, x), stored.net.probabilities(x), atol=1e-5)
    assert set(told["importance"]) == {"a", "b"}
    assert importance(stored, "b").mean == pytest.approx(told["importance"]["b"]["mean"])
    report = (steps / "steps-search" / "report.html").read_text("utf-8")
    assert "Importance of columns" in report
    assert "Recall of each class" in report
    assert "Change of every candidate against none" in report
    assert "These are figures of the nets" not in report
    with pytest.raises(ValueError, match="there is no importance for column 'c'; expected"):
        importance(stored, "c")
    assert set(told["classes"]) == {"no", "yes"}
    assert recall(stored, "no") == told["classes"]["no"]["recall"] >= 0
    with pytest.raises(ValueError, match="there is no recall for class 'maybe'; expected one of the classes 'no', 'ye"):
        recall(stored, "maybe")
    assert told["details_of"] == "nets"
    jaxreg(monkeypatch, "predict", "steps-search", "steps.csv")
    printed = capsys.readouterr().out.splitlines()[1:]
    assert stored.verdict.split("\n") == told["verdict"]
    assert stored.predict(pd.read_csv("steps.csv")).tolist() == [line.split(",")[0] for line in printed]
    score = np.mean(stored.rivals.score[KINDS.index(FOREST)])
    assert f"forest: score {score:.4g}" in repr(stored.rivals)
    jaxreg(monkeypatch, "search", "steps.csv", "--target", "y", "--epochs", "20", "--any-model")
    kept = open_search(steps / "steps-search").kept
    report = (steps / "steps-search" / "report.html").read_text("utf-8")
    assert report.count(f"These are figures of the nets, not of the {kept}</p>") == 2
    assert "Most important columns for the nets, by" in capsys.readouterr().out


def test_a_better_model_is_kept_if_it_may_be(steps, monkeypatch, capsys):
    monkeypatch.chdir(steps)
    options = ["search", "steps.csv", "--target", "y", "--quick", "--epochs", "2", "--out", "any", "--any-model"]
    jaxreg(monkeypatch, *options, "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["model"] in (FOREST, BOOSTING)
    assert told["verdict"][0].startswith(("Use the forest", "Use boosted trees"))
    for options_of_rows, named in ((["--balanced"], "--balanced"), (["--leave-out", "a"], "--leave-out")):
        with pytest.raises(SystemExit):
            jaxreg(monkeypatch, *options, *options_of_rows)
        assert f"any contains an earlier search with different options ({named}) or rows" in capsys.readouterr().err
    stored = open_search(steps / "any")
    assert told["accuracy"]["mean"] == pytest.approx(stored.rivals.score[KINDS.index(told["model"])].mean())
    assert isinstance(load(steps / "any" / "model.safetensors").net, Trees)
    jaxreg(monkeypatch, "predict", "any", "steps.csv")
    rows = capsys.readouterr().out.splitlines()[1:]
    truth = [line.split(",")[-1] for line in (steps / "steps.csv").read_text().splitlines()[1:]]
    assert np.mean([row.split(",")[0] == each for row, each in zip(rows, truth, strict=True)]) > 0.95


def test_notes_about_a_data_frame_are_kept_as_the_command_keeps_its_own(steps):
    frame = pd.read_csv(steps / "steps.csv").assign(town=["Ulm", "Bonn", "Kiel"] * 40)
    found = search(frame, target="y", plan=Plan(methods=("L2",), quick=True, hidden=4, epochs=2, folds=3, repeats=1))
    assert "town: 3 distinct values, one input each" in found.notes
    assert "y is " in found.notes[0]


def test_the_order_of_rows_changes_nothing_with_codings_either():
    rng = np.random.default_rng(0)
    x = rng.lognormal(size=(40, 2))
    y, order = np.log(x[:, 0]), rng.permutation(40)
    plan = Plan(methods=("decay",), epochs=4, folds=3, repeats=1)
    one, other = (search(x[each], y[each], NUMBERS, plan) for each in (np.arange(40), order))
    np.testing.assert_array_equal(one.net(x), other.net(x))
    words = search(rng.integers(0, 2, (40, 3)).astype(float), (y > 0).astype(int), CLASSES, plan)
    assert [each.shape for each in words.tried if each.shape] == [Shape((32, 32), "plain")] * 2


def test_repeats_by_the_clock_are_read_back_and_a_net_that_does_not_fit_is_left_out(steps, monkeypatch, capsys):
    monkeypatch.chdir(steps)
    monkeypatch.setattr("jaxreg.lab.cli.search.START", 1e6)
    monkeypatch.setattr("jaxreg.lab.search.clock.MOST_REPEATS", 3)
    options = ["search", "steps.csv", "--target", "y", "--epochs", "20", "--json", "--budget", "1000s"]
    for out, fits, repeats in (("all", True, 3), ("one", False, 1)):
        monkeypatch.setattr("jaxreg.lab.search.clock.Clock.fits", lambda self, fits=fits: fits)
        jaxreg(monkeypatch, *options, "--out", out)
        told = json.loads(capsys.readouterr().out)
        stored = open_search(steps / out)
        assert stored.plan.repeats == repeats
        assert {each.shape for each in stored.tried} == ({None, OTHER} if fits else {None})
        assert len(stored.found.picks) == 5 * repeats
        assert stored.chosen.label == told["chosen"]["label"]
        assert stored.found.score.mean == pytest.approx(told["accuracy"]["mean"])
        assert told["left_out"] == ([] if fits else ["another net on coded numbers", "a second repeat"])
    monkeypatch.setattr("jaxreg.lab.search.clock.Clock.fits", lambda self: True)
    before = sorted(steps.glob("one/trainings*/chunk*"))
    jaxreg(monkeypatch, *options, "--out", "one", "--any-model")
    assert json.loads(capsys.readouterr().out)["model"] != "nets"
    assert sorted(steps.glob("one/trainings*/chunk*")) == before  # the budget is spent
    jaxreg(monkeypatch, *options[:-1], "2000s", "--out", "one")
    assert open_search(steps / "one").plan.repeats == 3


def test_a_budget_that_starting_takes_is_refused_at_once(steps, monkeypatch, capsys):
    monkeypatch.chdir(steps)
    with pytest.raises(SystemExit):
        jaxreg(monkeypatch, "search", "steps.csv", "--target", "y", "--budget", "2s", "--out", "short")
    assert "the budget of 2 s is too short: the shortest search takes about" in capsys.readouterr().err
    assert not (steps / "short").exists()
