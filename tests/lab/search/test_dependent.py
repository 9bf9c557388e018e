"""Rows that depend on each other: groups stay in one fold, and later rows are predicted from earlier ones."""

import dataclasses
import json
import sys

import numpy as np
import pandas as pd
import pytest

from jaxreg.lab import CLASSES, NUMBERS, RegularizedMLPClassifier
from jaxreg.lab.cli import main
from jaxreg.lab.search import Plan, open_search, search
from jaxreg.lab.search.candidates import METHODS, candidates
from jaxreg.lab.search.dealing import deal_groups, deal_time
from jaxreg.lab.search.folds import Split, forward_splits, trained_on
from jaxreg.lab.search.nested import Estimate, choose, nested, outer_splits
from jaxreg.lab.search.summaries import change_in_loss, repeats_needed

pytestmark = pytest.mark.usefixtures("compiled_quickly")

SMALL = {"methods": ("L2",), "quick": True, "hidden": (8,), "epochs": 60, "folds": 3, "repeats": 1}


def people(count=24, times=8):
    """A coin toss per person, whose rows lie close together."""
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(count), times)
    x = rng.normal(size=(count, 4))[person] + 0.02 * rng.normal(size=(count * times, 4))
    return x, rng.permutation(np.arange(count) % 2)[person], person


@pytest.mark.parametrize("classes", [True, False])
def test_groups_stay_in_one_fold_and_folds_are_even(classes):
    rng = np.random.default_rng(0)
    group = rng.permutation(np.repeat(np.arange(40), rng.integers(1, 12, 40)))
    y = (group % 4 == 0).astype(int) if classes else rng.normal(size=len(group))
    dealt = deal_groups(y, group, 5, rng, classes=classes)
    assert len(np.unique(np.stack([group, dealt]), axis=1).T) == 40
    sizes = np.bincount(dealt, minlength=5)
    assert np.ptp(sizes) <= 0.25 * sizes.mean()
    if classes:
        assert np.ptp(np.bincount(dealt, weights=y, minlength=5)) <= 8


def test_too_few_groups_or_moments_are_refused():
    x, y, person = people(count=2)
    with pytest.raises(
        ValueError, match="there are 2 groups of rows for 3 folds; expected at least one group per fold"
    ):
        search(x, y, CLASSES, Plan(**SMALL), groups=person)
    with pytest.raises(ValueError, match="too few distinct times for 6 folds"):
        search(x, y, CLASSES, Plan(**SMALL), time=person)
    with pytest.raises(ValueError, match="both groups and time are given"):
        search(x, y, CLASSES, Plan(**SMALL), time=person, groups=person)


def test_the_score_is_that_of_new_people():
    x, y, person = people()
    plan = Plan(**SMALL | {"hidden": (32,), "epochs": 300})
    known = search(x, y, CLASSES, plan).found.score.mean
    new = search(x, y, CLASSES, plan, groups=person).found.score.mean
    assert known > 0.95
    assert new < 0.75
    net = RegularizedMLPClassifier(
        methods=("L2",), quick=True, hidden_layer_sizes=(32,), epochs=300, folds=3, repeats=1
    ).fit(x, y, groups=np.array([f"P{each:02}" for each in person]))
    assert net.outer_score_ == pytest.approx(new)
    with pytest.raises(ValueError, match="`groups` has 3 values for 192 rows"):
        net.fit(x, y, groups=[1, 2, 3])


def test_time_cuts_rows_in_blocks_and_one_moment_is_in_one():
    time = np.random.default_rng(0).permutation(np.repeat(np.arange(40.0), 3))
    dealt = deal_time(time, 5)
    assert np.bincount(dealt).tolist() == [15] * 8
    assert (np.diff(dealt[np.argsort(time)]) >= 0).all()
    assert [len(set(dealt[time == moment])) for moment in range(40)] == [1] * 40


def test_what_is_predicted_is_not_trained_on_nor_what_comes_after_it():
    dealt, w = np.array([0, 1, 2, 3, 4]), np.ones(5)
    assert trained_on(dealt, w, Split(0, 3, 3), forward=True).tolist() == [1, 1, 1, 0, 0]
    assert trained_on(dealt, w, Split(0, -1, -1), forward=True).tolist() == [1] * 5
    assert trained_on(dealt, w, Split(0, 3, 1), forward=False).tolist() == [1, 0, 1, 0, 1]


@pytest.mark.parametrize("seed", range(3))
def test_the_choice_inside_a_forward_fold_is_made_by_the_folds_before_it(seed):
    rng, tried, parts = np.random.default_rng(seed), candidates(METHODS, 100, 1), forward_splits(2, 4)
    losses = rng.uniform(0.3, 0.6, (len(tried), 1)) + rng.normal(0, 0.05, (len(tried), len(parts)))
    found = nested(tried, parts, losses, losses, -losses)
    place = {tuple(part): at for at, part in enumerate(parts)}
    outer = [(repeat, fold) for repeat in range(2) for fold in range(3, 7)]
    assert outer_splits(parts) == [place[repeat, fold, fold] for repeat, fold in outer]
    picks = [choose(tried, losses[:, [place[r, k, k] for k in range(1, fold)]]) for r, fold in outer]
    assert list(found.picks) == picks
    assert found.chosen == choose(tried, losses[:, outer_splits(parts)])


def test_the_score_is_that_of_the_future():
    """The target follows the input at first, and its opposite later."""
    rng = np.random.default_rng(0)
    time, x = np.arange(240.0), rng.normal(size=(240, 1))
    y = np.where(time < 150, 1, -1) * x[:, 0]
    mixed = search(np.column_stack([x, time]), y, NUMBERS, Plan(**SMALL)).found.score.mean
    ahead = search(x, y, NUMBERS, Plan(**SMALL), time=time)
    assert mixed > 0.5
    assert ahead.found.score.mean < 0
    assert ahead.net.nets == 1
    dealt = deal_time(time, 3)
    each = ahead.outer.loss[1] - ahead.outer.loss[0]
    ratios = [(dealt == fold).sum() / (dealt < fold).sum() for fold in range(3, 3 + len(each))]
    error = np.sqrt(np.var(each, ddof=1) * (1 / len(each) + np.mean(ratios)))  # Nadeau and Bengio
    change = change_in_loss(ahead, ahead.tried[1].label)
    assert (change.mean, change.error) == pytest.approx((each.mean(), error), rel=1e-6)
    clear = dataclasses.replace(ahead.found, loss_gain=Estimate(1.0, 0.01, 5))  # with new folds, two repeats would do
    assert repeats_needed(dataclasses.replace(ahead, found=clear)) == np.inf


@pytest.mark.parametrize("option", ["--groups", "--time"])
def test_a_column_tells_what_belongs_together_or_when(option, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "compiled"))
    x, y, person = people()
    days = [f"2024-{1 + each // 28:02}-{1 + each % 28:02}" for each in range(len(x))]
    rows = [
        f"P{p},{day}," + ",".join(f"{v:.3f}" for v in each) + f",{'ab'[k]}"
        for p, day, each, k in zip(person, days, x, y, strict=True)
    ]
    (tmp_path / "people.csv").write_text("\n".join(["person,day,a,b,c,d,y", *rows]) + "\n")
    options = ["people.csv", "--target", "y", "--quick", "--epochs", "20", "--json"]
    column = {"--groups": "person", "--time": "day"}[option]
    other = ({"person", "day"} - {column}).pop()
    monkeypatch.setattr(sys, "argv", ["jaxreg", "search", *options, option, column, "--leave-out", other])
    main()
    told = json.loads(capsys.readouterr().out)
    assert told["accuracy"]["mean"] < 0.75
    assert not any("alike" in note for note in told["notes"])
    stored = open_search(tmp_path / "people-search")
    assert stored.found.score.mean == pytest.approx(told["accuracy"]["mean"])
    assert stored.setting.forward == (option == "--time")


ROWS = np.arange(40.0)[:, None]
FRAME = pd.DataFrame({"x": ROWS[:, 0], "who": np.arange(40) // 4, "y": ROWS[:, 0] % 2})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"x": FRAME, "target": "y", "groups": FRAME["who"].to_numpy()}, "`groups` is a ndarray; expected the name"),
        ({"x": FRAME, "target": "y", "time": [1] * 40}, "`time` is a list; expected the name"),
        ({"x": FRAME, "target": "y", "weights": np.ones(40)}, "`weights` is only for arrays"),
        ({"x": FRAME, "target": "y", "y": np.ones(40)}, "`y` is only for arrays"),
        ({"x": ROWS, "groups": "who"}, r"`groups` has shape \(\), but there are 40 rows"),
        ({"x": ROWS, "time": np.ones((40, 2))}, r"`time` has shape \(40, 2\), but there are 40 rows"),
        ({"x": np.where(ROWS == 3, np.nan, ROWS)}, "an input is NaN; expected numbers"),
    ],
)
def test_what_a_search_cannot_use_is_refused(given, message):
    targets = {} if "target" in given else {"y": ROWS[:, 0] % 2, "task": CLASSES}
    with pytest.raises(ValueError, match=message):
        search(**targets | given)


def test_groups_and_moments_may_be_of_any_type_that_has_an_order():
    rng = np.random.default_rng(0)
    x, moment = rng.normal(size=(60, 2)), rng.permutation(60)
    y, plan = (x[:, 0] > 0).astype(int), Plan(methods=("L2",), quick=True, hidden=8, epochs=20, folds=3, repeats=1)
    days = np.datetime64("2026-01-01") + moment
    names = np.array([f"{number:02d}" for number in moment // 5])
    for option, plain, other in (("time", moment, days), ("groups", moment // 5, names)):
        one, two = (search(x, y, CLASSES, plan, **{option: given}) for given in (plain, other))
        assert one.found.loss.mean == two.found.loss.mean


@pytest.mark.parametrize("budget", [None, "60s"])
def test_folds_in_the_order_of_time_are_counted_once(budget):
    x = np.random.default_rng(0).normal(size=(60, 2))
    plan = Plan(methods=("L2",), quick=True, hidden=8, epochs=5, folds=3, repeats=2)
    found = search(x, (x[:, 0] > 0).astype(int), task=CLASSES, plan=plan, time=np.arange(60), budget=budget)
    assert found.plan.repeats == 1
    assert (found.found.score.n, found.found.loss.n) == (3, 3)
