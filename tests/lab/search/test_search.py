"""The search: what its folds leave out, what it chooses, and what its command reads and writes."""

import dataclasses
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.pages import Page, recompute
from helpers.tables import a_model
from scipy import stats

from jaxreg.lab import BINARY, CLASSES, NUMBERS, Data, Problem, Recipe, fit, linen, squared_error
from jaxreg.lab.cli import main
from jaxreg.lab.cli.search import _Folder, _took
from jaxreg.lab.models import MLP, Model
from jaxreg.lab.report.provenance import Source
from jaxreg.lab.search import Plan, search
from jaxreg.lab.search.candidates import FOREVER, METHODS, PROMISING, Candidate, Knobs, Rate, candidates
from jaxreg.lab.search.clock import MOST_REPEATS, Clock, TimeUpError, TooShortError
from jaxreg.lab.search.dealing import deal
from jaxreg.lab.search.fitted_model import FittedModel, Net, load, save
from jaxreg.lab.search.folds import BATCH, PaddedRows, Setting, Split, _program, nested_splits, searched_task, train
from jaxreg.lab.search.nested import Estimate, choose, nested
from jaxreg.lab.search.plan import plan_ladder, planned, training_seconds
from jaxreg.lab.search.report import _sure, summary
from jaxreg.lab.search.rows import _rows
from jaxreg.lab.search.summaries import (
    loss_change,
    loss_gain,
    mean_loss,
    mean_score,
    open_search,
    times_picked,
    win_rate,
)
from jaxreg.lab.tabular import prepare
from jaxreg.lab.training.metrics import binary_cross_entropy

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.usefixtures("compiled_quickly")


def test_weights_are_rows_given_so_often():
    rng = np.random.default_rng(0)
    x, y, w = rng.normal(size=(12, 3)), rng.normal(size=12), rng.integers(0, 3, 12)
    model = linen(MLP(hidden=4), (3,))

    def lane(x, y, weights):
        x, y = x[None].astype(np.float32), y[None].astype(np.float32)
        w = None if weights is None else weights[None].astype(np.float32)
        data = Data(x, y, x, y, w_train=w, w_test=w)
        problem = Problem(model, data, 20, squared_error, {}, batch_size=99, record_every=20)
        return fit(problem, Recipe(learning_rate=0.05), jax.random.key(0), keep=True)

    one, other = lane(x, y, w), lane(np.repeat(x, w, axis=0), np.repeat(y, w), None)
    for name in ("train_loss", "test_loss"):
        np.testing.assert_allclose(one[name].values, other[name].values, rtol=1e-5)
    np.testing.assert_allclose(one["params/hidden/kernel"], other["params/hidden/kernel"], atol=1e-5)


def test_in_batches_too_rows_count_their_weights():
    """Weighted least squares: a tenth of the rows, of another line, weighs about 30 times as much as the others."""
    rng = np.random.default_rng(0)
    x, heavy = rng.normal(size=(200, 2)).astype(np.float32), np.arange(200) < 20
    y = np.where(heavy, x @ [1, 2], x @ [-1, 1] + 3).astype(np.float32)
    w = np.where(heavy, 30, np.arange(200) % 3).astype(np.float32)  # and a third of them are left out
    model = Model(
        lambda key: {"line": jnp.zeros(3)}, lambda params, rows: rows @ params["line"][:2] + params["line"][2]
    )
    data = Data(x[None], y[None], x[None], y[None], w_train=w[None])
    problem = Problem(model, data, 300, lambda out, y: (out - y) ** 2, {}, batch_size=16, record_every=300)
    recipe = Recipe(learning_rate=optax.linear_schedule(0.02, 0.0, 300 * 13), optimizer=optax.sgd)
    found = jax.jit(lambda: fit(problem, recipe, jax.random.key(0), keep=True))()["params/line"]
    root = np.sqrt(w)[:, None]
    wanted, *_ = np.linalg.lstsq(root * np.column_stack([x, np.ones(200)]), root[:, 0] * y)
    np.testing.assert_allclose(found, wanted, atol=0.03)


def test_parts_of_the_same_rows_are_measured_as_copies_of_them_are():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(1, 300, 3)).astype(np.float32), rng.normal(size=(1, 300)).astype(np.float32)
    weights = [rng.integers(0, 2, (1, 300)).astype(np.float32) for _ in range(3)]
    model = linen(MLP(hidden=4), (3,))

    def lane(*rows):
        data = Data(*rows, *weights)
        problem = Problem(model, data, 6, squared_error, {}, batch_size=999, record_every=3)
        lowered = jax.jit(lambda key: fit(problem, Recipe(), key)).lower(jax.random.key(0))
        return lowered.as_text().count("dot_general"), lowered.compile()(jax.random.key(0))

    (once, one), (thrice, other) = lane(x, y, None, None, None, None), lane(x, y, x, y, x, y)
    assert thrice - once == 4  # two layers, for two parts more
    for name in ("train_loss", "test_loss", "validation_loss"):
        np.testing.assert_allclose(one[name].values, other[name].values, rtol=1e-6)


def test_the_loss_of_two_classes_is_the_cross_entropy():
    setting = Setting(searched_task(2), outputs=1, hidden=(1,), epochs=1, learning_rate=0.1)
    loss = setting.task.loss
    logits = jnp.array([-80.0, -1.0, 0.0, 1e-6, 3.0, 80.0, jnp.nan, jnp.inf, -jnp.inf])
    for target in (0.0, 1.0):

        def of(each, logits, target=target):
            return each(logits[:, None], jnp.full(len(logits), target))

        given, wanted = of(loss, logits), of(binary_cross_entropy, logits)
        np.testing.assert_allclose(given[:6], wanted[:6], rtol=1e-6)
        assert not np.isfinite(given[6:]).any()  # a lane that overflows is seen to diverge
        slopes = [
            jax.grad(lambda z, each=each: jnp.sum(of(each, z)))(logits[:6]) for each in (loss, binary_cross_entropy)
        ]
        np.testing.assert_allclose(*slopes, rtol=1e-5, atol=1e-30)


def test_weights_and_metrics_of_all_rows_are_refused():
    x, y = np.zeros((1, 4, 2), np.float32), np.zeros((1, 4), np.float32)
    data = Data(x, y, x, y, w_train=np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"w_train has shape \(1, 3\); expected \(draws, rows\), here \(1, 4\)"):
        Problem(linen(MLP(hidden=4), (2,)), data, 1)


def test_every_fold_has_its_share_of_rows_and_of_each_class():
    y = np.repeat([0, 1, 2], [50, 31, 7])
    dealt = deal(y, 5, np.random.default_rng(0), classes=True)
    for kind, rows in ((None, 88), (0, 50), (1, 31), (2, 7)):
        counts = np.bincount(dealt if kind is None else dealt[y == kind], minlength=5)
        assert counts.sum() == rows
        assert np.ptp(counts) <= 1


def test_inputs_that_come_back_are_in_every_fold():
    """Of nine different inputs the best net knows each class's chances, and is right as often on new rows."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, (1000, 2)).astype(float)
    y = (rng.random(1000) < np.where(x[:, 0] == 0, 0.8, 0.2)).astype(int)
    found = search(x, y, CLASSES, Plan(quick=True, repeats=1, epochs=60, methods=("L2",)))
    best = np.mean(y == (x[:, 0] == 0))  # about 0.8
    assert found.rows == 1000
    assert abs(found.found.score.mean - best) < 0.02
    assert abs(found.found.scores[0].mean() - best) < 0.02
    assert "To compare them, pass rivals=True." in found.verdict


def test_equal_rows_are_gathered_in_little_more_room_than_they_take():
    rng = np.random.default_rng(0)
    x, y, w = (
        rng.integers(-3, 4, (4000, 100)) * (rng.random((4000, 1)) < 0.4),
        rng.integers(0, 2, 4000),
        rng.random(4000),
    )
    tracemalloc.start()
    gathered, targets, total, group, copies = _rows(x, y, w, 5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4.5 * 8 * x.size
    unique, which, counts = np.unique(np.column_stack([x, y]), axis=0, return_inverse=True, return_counts=True)
    np.testing.assert_array_equal(copies, counts)
    np.testing.assert_array_equal(np.column_stack([gathered, targets]), unique)
    np.testing.assert_allclose(total, np.bincount(which.ravel(), weights=w), rtol=1e-12)
    np.testing.assert_array_equal(group, np.unique(unique[:, :-1], axis=0, return_inverse=True)[1].ravel())


def test_rows_of_equal_inputs_stay_in_one_fold():
    """Each input once in either class: a net says the same of both, and is right once, unless it was trained on one."""
    x = np.repeat(np.random.default_rng(0).normal(size=(100, 3)), 2, axis=0)
    y = np.arange(200) % 2
    found = search(x, y, CLASSES, Plan(quick=True, repeats=1, epochs=300, methods=("L2",)))
    assert found.found.scores[0].mean() == pytest.approx(0.5)


@pytest.mark.parametrize("stop", [3, 70, FOREVER])
def test_the_learning_rate_falls_to_0_over_the_last_quarter_of_the_steps(stop):
    count = jnp.arange(101)
    wanted = optax.schedules.linear_schedule(0.01, 0.0, transition_steps=25, transition_begin=75)(count)
    np.testing.assert_allclose(Rate(0.01, 100, stop)(count), jnp.where(count < stop, wanted, 0), atol=1e-8)


def test_trainings_end_at_a_learning_rate_of_0():
    # Adam moves a weight by the learning rate where its gradient hardly changes: here that of the output's bias.
    x, y = np.random.default_rng(0).normal(size=(50, 1)), np.repeat([0, 1], [10, 40])
    found = search(x, y, CLASSES, Plan(methods=("L2",), epochs=100, learning_rate=1e-6, folds=3, repeats=1))
    rates = np.minimum(1, np.arange(100, 0, -1) / 25)
    np.testing.assert_allclose(found.net.arrays["output/bias"], 1e-6 * rates.sum(), rtol=1e-3)


def test_a_large_table_is_trained_in_batches():
    setting = Setting(searched_task(2), outputs=1, hidden=(1,), epochs=1, learning_rate=0.1)
    assert [(setting.batch(rows), setting.steps(rows)) for rows in (9, BATCH, 3 * BATCH + 1)] == [
        (9, 1),
        (BATCH, 1),
        (BATCH, 4),
    ]


def test_a_second_table_of_one_size_compiles_nothing(monkeypatch):
    compilations, lower = [], jax.stages.Lowered.compile
    monkeypatch.setattr(jax.stages.Lowered, "compile", lambda *of: compilations.append(of) or lower(*of))
    rng, plan = np.random.default_rng(0), Plan(methods=(), hidden=3, epochs=2, folds=3, repeats=1)
    for rows in (60, 70):
        search(rng.normal(size=(rows, 4)), rng.normal(size=rows), NUMBERS, plan)
    assert len(compilations) == 1


def test_regularisers_that_no_candidate_uses_are_left_out_and_older_trainings_go_on(tmp_path, monkeypatch):
    rng, plan = np.random.default_rng(0), Plan(methods=("decay",), hidden=3, epochs=8, folds=3, repeats=1)
    x, y = rng.normal(size=(40, 2)), rng.normal(size=40)
    with monkeypatch.context() as before:  # a version whose programs contain all of them
        before.setattr("jaxreg.lab.search.folds.used", list)
        _program.cache_clear()
        whole = search(x, y, NUMBERS, plan, store=tmp_path / "trainings")
    _program.cache_clear()
    chunk = sorted((tmp_path / "trainings").glob("chunk-*"))[0]
    chunk.unlink()
    again = search(x, y, NUMBERS, plan, store=tmp_path / "trainings")
    assert chunk.exists()
    np.testing.assert_array_equal(again.lanes["test_loss"], whole.lanes["test_loss"])
    _program.cache_clear()
    monkeypatch.delattr("jaxreg.lab.search.candidates.SparseGroups")
    monkeypatch.setattr("jaxreg.MinMaxNorm.__call__", None)
    few = search(x, y, NUMBERS, plan)
    np.testing.assert_allclose(few.lanes["test_loss"], whole.lanes["test_loss"], rtol=1e-4)


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        ("classification", "`task` is 'classification'; expected NUMBERS, BINARY or"),
        (BINARY, "but there are 3 classes"),
    ],
)
def test_other_tasks_are_refused(task, sentence):
    with pytest.raises(ValueError, match=sentence):
        search(np.arange(12.0).reshape(6, 2), np.array([0, 1, 2] * 2), task)


@pytest.mark.parametrize("task", [CLASSES, NUMBERS])
def test_rows_that_all_count_nothing_are_refused(task):
    with pytest.raises(ValueError, match="there are n_samples=0 rows for 5 folds; expected at least one row per fold"):
        search(np.arange(12.0).reshape(6, 2), np.array([0, 1] * 3), task, weights=np.zeros(6))


@pytest.mark.parametrize("task", [CLASSES, NUMBERS])
def test_before_its_first_step_a_training_is_the_formula_on_its_own_rows(task):
    """A learning rate of 0: 37 rows of 5 inputs, in a table that is filled up to 48 rows of 8."""
    rng, inputs, hidden = np.random.default_rng(4), 5, 6
    x, there = rng.normal(3, [1, 20, 0.1, 0, 1, 9, 9, 9], (48, 8)), np.arange(48) < 37
    x[:, inputs:] = 0
    y = rng.integers(0, 2, 48) if task.classes else rng.normal(5, 7, 48)
    w, scaled = there * rng.integers(1, 4, 48), np.arange(8) != 1
    dealt = rng.integers(0, 3, (2, 48)).astype(np.int32)
    numbers = (each.astype(np.float32) for each in (x, y, w, scaled))
    table = PaddedRows(*numbers, np.float32(inputs), dealt, np.int32(7))
    setting = Setting(searched_task(2 if task.classes else 0), outputs=1, hidden=(hidden,), epochs=1, learning_rate=0.0)
    parts = [Split(0, 0, 1), Split(0, 2, 2), Split(1, 2, 2), Split(0, -1, -1)]
    found = train(setting, table, TRIED[:2], parts)
    kernels = found["params/hidden/kernel"]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert [np.array_equal(kernels[0, 0], each) for each in kernels[0]] == [True, True, False, True]  # of one repeat
    glorot = np.sqrt(6 / (inputs + hidden))
    for at, (repeat, test, validation) in enumerate(parts):
        kernel, *rest = (found[f"params/{name}"][0, at] for name in ("hidden/kernel", "output/kernel"))
        assert 0.9 * glorot < np.abs(kernel[:inputs]).max() <= glorot
        np.testing.assert_array_equal(kernel[inputs:], 0)
        rows = w * (dealt[repeat] != test) * (dealt[repeat] != validation)
        mean = np.average(x, axis=0, weights=rows)
        spread = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=rows))
        units = np.maximum((x - mean) / np.where(scaled & (spread > 1e-3), spread, 1) @ kernel, 0) @ rest[0][:, 0]
        if not task.classes:
            middle = np.average(y, weights=rows)
            losses = (middle + np.sqrt(np.average((y - middle) ** 2, weights=rows)) * units - y) ** 2
        else:
            losses = np.logaddexp(0, np.where(y == 1, -units, units))
        for name, fold in (("train", None), ("test", test), ("validation", validation)):
            weights = rows if fold is None else w * ((dealt[repeat] == fold) | (fold < 0))
            wanted = np.average(losses, weights=weights)
            np.testing.assert_allclose(found[f"{name}_loss"][0, at], wanted, rtol=2e-4)


def test_numbers_beyond_float32_are_refused_and_tiny_ones_are_scaled():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    y = x @ [1.0, -1.0]
    plan = Plan(quick=True, repeats=1, epochs=40, methods=("L2",))
    for inputs, target in ((x * 1e200, y), (x, y * 1e200)):
        with pytest.raises(ValueError, match=r"as large as .*e\+200; expected numbers up to 1e\+38"):
            search(inputs, target, NUMBERS, plan)
    plain = search(x, y, NUMBERS, plan).found.score.mean
    assert search(x * 1e-200, y * 1e-200, NUMBERS, plan).found.score.mean == pytest.approx(plain, abs=1e-3)


def test_an_accuracy_is_no_surer_than_tosses_of_a_coin():
    """Folds with their share of each class give a net that says one class always the same accuracy: spread 0."""
    tried, parts = [Candidate("none", None, 0.0, Knobs())], nested_splits(1, 5)
    losses, scores = np.full((1, len(parts)), 0.69), np.full((1, len(parts)), 0.54)
    found = nested(tried, parts, losses, losses, scores, rows=120)
    assert found.score.error == pytest.approx(np.sqrt(0.54 * 0.46 / 120), rel=0.01)
    assert nested(tried, parts, losses, losses, scores).score.error == 0


def test_an_accuracy_of_1_has_an_error():
    """All 30 rows right: by Wilson's formula with z = 1, one error is half of 1 / 31; that of p (1 - p) is 0."""
    tried, parts = [Candidate("none", None, 0.0, Knobs())], nested_splits(1, 5)
    losses, scores = np.full((1, len(parts)), 0.01), np.ones((1, len(parts)))
    error = nested(tried, parts, losses, losses, scores, rows=30).score.error
    assert error == pytest.approx(0.5 / 31, rel=1e-3)
    assert stats.binom.pmf(30, 30, 1 - 2 * error) > 0.3  # two errors away it is no surprise


@pytest.mark.parametrize("where", ["all rows", "an outer fold"])
def test_what_diverged_where_it_is_to_serve_is_not_chosen(where):
    """The best candidate diverges on all rows, of which the net is made that is handed back, or on an outer fold."""
    parts = nested_splits(1, 5)
    losses = np.repeat([[0.5], [0.3], [0.4], [0.45]], len(parts), axis=1) + 0.001 * np.random.default_rng(0).random(
        (4, len(parts))
    )
    at = parts.index(Split(0, -1, -1) if where == "all rows" else Split(0, 2, 2))
    assert nested(TRIED, parts, losses, losses, -losses).chosen == 1
    broken = losses.copy()
    broken[1, at] = np.nan
    found = nested(TRIED, parts, broken, losses, -broken)
    assert found.chosen == 2
    assert found.rivals == ("L2",)
    assert found.picks == ((1, 1, 1, 1, 1) if where == "all rows" else (1, 1, 2, 1, 1))
    assert np.isfinite([found.score.mean, found.score.error, found.loss.mean, found.score_gain.mean]).all()


WORDS = {
    "sure": (0.023, 0.01, "significantly better"),
    "likely": (0.022, 0.01, "not significant"),
    "lost": (-0.022, 0.01, "not significant"),
    "surely lost": (-0.023, 0.01, "significantly worse"),
    "nothing": (0.0, 0.0, "no change"),
    "nothing on average": (0.0, 0.01, "not significant"),
    "the same in each fold": (-0.01, 0.0, "significantly worse"),
    "unknown": (np.nan, np.nan, "unknown"),
}


@pytest.mark.parametrize("case", WORDS)
def test_a_loss_is_as_sure_as_a_gain_of_its_size(case):
    mean, error, words = WORDS[case]
    assert _sure(Estimate(mean, error, 10)) == words


@pytest.mark.parametrize("n", [2, 5, 10])
def test_an_interval_of_outer_folds_is_by_students_t(n):
    one = Estimate(0.3, 0.1, n)
    assert (one.low, one.high) == pytest.approx(stats.t.interval(0.95, n - 1, 0.3, 0.1))


def test_a_tie_is_half_a_win_and_what_diverged_is_not_counted_as_worse():
    losses = np.array([[0.5, 0.5, 0.5, 0.5], [0.4, 0.5, 0.6, 0.4], [0.4, 0.4, 0.4, np.nan], [0.6] * 4])
    read = SimpleNamespace(tried=TRIED, found=SimpleNamespace(losses=losses))
    shares = [win_rate(read, each.label) for each in TRIED]
    np.testing.assert_array_equal(shares, [0.5, 0.625, np.nan, 0])


def test_a_loss_that_falls_is_a_gain_and_a_change_below_0():
    parts = nested_splits(1, 5)
    losses = np.repeat([[0.5], [0.3], [0.4], [0.45]], len(parts), axis=1)
    read = SimpleNamespace(tried=TRIED, found=nested(TRIED, parts, losses, losses, 1 - losses))
    assert [loss_gain(read, each.label) for each in TRIED] == pytest.approx([0, 0.2, 0.1, 0.05])
    assert [mean_loss(read, each.label) for each in TRIED] == pytest.approx([0.5, 0.3, 0.4, 0.45])
    assert [mean_score(read, each.label) for each in TRIED] == pytest.approx([0.5, 0.7, 0.6, 0.55])
    assert loss_change(read).mean == pytest.approx(-0.2)
    with pytest.raises(ValueError, match=r"no candidate 'L3'; expected one of 'none', 'L2\(0\.001\)'"):
        loss_gain(read, "L3")


def random_losses(parts, tried, seed=0):
    rng = np.random.default_rng(seed)
    level = rng.uniform(0.3, 0.6, (len(tried), 1))
    return level + rng.normal(0, 0.05, (len(tried), len(parts))), level + rng.normal(0, 0.05, (len(tried), len(parts)))


@pytest.mark.parametrize("seed", range(4))
def test_nested_cross_validation_is_the_two_loops(seed):
    tried, parts = candidates(METHODS, 100, 1), nested_splits(repeats=2, folds=4)
    test, validation = random_losses(parts, tried, seed)
    points, _ = random_losses(parts, tried, 10 + seed)
    found = nested(tried, parts, test, validation, points)
    place = {tuple(part): at for at, part in enumerate(parts)}
    picks, read, scored = [], [], []
    for repeat in range(2):
        for outer in range(4):
            inner = []
            for other in sorted(set(range(4)) - {outer}):
                low, high = sorted((outer, other))
                # The row left out beside the outer fold is what validates.
                inner.append((test if other == low else validation)[:, place[repeat, low, high]])
            picks.append(choose(tried, np.stack(inner, axis=1)))
            at = place[repeat, outer, outer]
            read.append([test[picks[-1], at], test[0, at]])
            scored.append([points[picks[-1], at], points[0, at]])
    assert list(found.picks) == picks
    (loss, plain_loss), (score, plain_score) = np.transpose(read), np.transpose(scored)
    for estimate, folds in (
        (found.loss, loss),
        (found.score, score),
        (found.loss_gain, plain_loss - loss),
        (found.score_gain, score - plain_score),
    ):
        np.testing.assert_allclose(estimate.mean, np.mean(folds))
        np.testing.assert_allclose(estimate.error, np.std(folds, ddof=1) * np.sqrt(1 / 8 + 1 / 3))
    outers = [place[repeat, fold, fold] for repeat in range(2) for fold in range(4)]
    assert found.chosen == choose(tried, test[:, outers])
    np.testing.assert_array_equal(found.losses, test[:, outers])
    np.testing.assert_array_equal(found.scores, points[:, outers])
    methods = [tried[pick].method for pick in picks]
    assert found.tally(tried) == {name: methods.count(name) for name in methods}
    assert list(found.tally(tried).values()) == sorted(found.tally(tried).values(), reverse=True)
    folds, best = test[:, outers], np.argmin(np.mean(test[:, outers], axis=1))
    near = {}  # each method's best candidate, if its paired difference from the best of all is within one error
    for at in np.argsort(np.mean(folds, axis=1)):
        gap, name = folds[at] - folds[best], tried[at].method
        near.setdefault(name, np.mean(gap) <= np.std(gap, ddof=1) * np.sqrt(1 / 8 + 1 / 3))
    assert list(found.rivals) == [name for name, close in near.items() if close and name != "none"]


def lines(*means, spread=0.01):
    noise = np.random.default_rng(0).normal(0, spread, (len(means), 5))
    return np.array(means)[:, None] + noise - noise.mean(axis=1, keepdims=True)


TRIED = [Candidate("none", None, 0.0, Knobs())] + [Candidate("L2", s, s, Knobs(l2=s)) for s in (0.001, 0.01, 0.1)]


def test_the_strongest_within_one_standard_error_is_chosen():
    assert choose(TRIED, lines(0.5, 0.300, 0.302, 0.45)) == 2
    assert choose(TRIED, lines(0.5, 0.300, 0.400, 0.45)) == 1


def test_none_is_kept_unless_a_regulariser_is_worth_having():
    assert choose(TRIED, lines(0.5, 0.499, 0.6, 0.7, spread=0)) == 0  # sure, and less than 2 %
    assert choose(TRIED, lines(0.5, 0.48, 0.6, 0.7, spread=0.2)) == 0
    diverged = lines(0.5, 0.3, 0.4, 0.5)
    diverged[1, 2] = np.nan
    assert choose(TRIED, diverged) == 2
    with pytest.raises(ValueError, match="every candidate diverged"):
        choose(TRIED, diverged * np.nan)


def test_the_questions_name_the_strengths_of_decay_that_a_search_tries():
    page = " ".join((ROOT / "docs" / "faq.md").read_text("utf-8").split())
    told = re.search(r"`jaxreg search` tries (.*?)\.\s", page)[1]
    tried = candidates(METHODS, 100, 10, fewer=Plan().open)
    wanted = [each.shown for each in tried if each.method == "decay"]
    assert [float(each) for each in re.findall(r"`L2\(([\d.]+)\)`", told)] == wanted


def test_a_short_budget_allows_fewer_strengths():
    ladder = plan_ladder((569, 30))
    assert [planned((569, 30), seconds, ladder).quick for seconds in (1, 60, 600)] == [True, False, False]
    assert planned((569, 30), None, ladder) == Plan()


def test_a_clock_counts_repeats_by_what_chunks_take_without_their_compilation():
    now = [0.0]
    clock = Clock(20, 0, lambda: now[0])
    watch, _ = (clock.watch(chunks=4, at_once=1) for _ in range(2))
    now[0] = 5
    watch.begin()
    for second in (6, 7, 8, 9):
        now[0] = second
        watch({}, {})
    assert clock.repeat == pytest.approx(4)
    assert clock.fits()
    now[0] = 20 - 4 - clock.finish  # a repeat may end late by a twentieth of the budget
    assert clock.fits()
    now[0] += 1.01
    assert not clock.fits()


@pytest.mark.parametrize(
    ("shares", "stored", "plan", "message"),
    [
        ([0.5, 0.3, 0.1], 0, 2, "too short"),  # 6 s so far, 4 to compile, 30 % of 20 s, 2 at the end
        ([0.25], 0, None, "a search with one repeat takes about 21 s .* a margin of 20 %. Use --budget 26s"),
        ([], 0, None, "a search with one repeat takes about 26 s .* a margin of 20 %. Use --budget 32s"),
        ([0.1], 4, "goes on", ""),  # six rounds are done or stored
        ([0.9, 0.1], 0, "late", ""),  # too late to refuse
    ],
)
def test_a_repeat_that_does_not_fit_is_shortened_or_refused_after_its_first_chunks(shares, stored, plan, message):
    now = [0.0]
    clock = Clock(16 if plan is None else 20, 0, lambda: now[0])
    plans = [Plan(epochs=epochs) for epochs in range(1, 1 + len(shares))]
    clock.shorter = list(zip(plans, shares, strict=True))
    watch = clock.watch(chunks=20, at_once=2, stored=2 * stored)
    now[0] = 4
    watch.begin()
    now[0] = 6  # two of 20 chunks
    if plan == "goes on":
        clock.budget = 21
        watch({}, {})
        return
    if plan == "late":
        clock.budget, plan, message = 5, 1, "too short"
    with pytest.raises(TooShortError, match=message) as error:
        watch({}, {})
    assert error.value.plan == (None if plan is None else plans[plan])


def test_repeats_by_the_clock_are_those_of_a_search_that_plans_them(folder):
    """The seeds differ, so a search by the clock is compared with itself, read back, and with the folds it deals."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 2))
    y = x[:, 0] + rng.normal(size=40)
    now = itertools.chain([0.0] * 9, itertools.repeat(100.0))  # it is asked before, at the start and at the end
    clock = Clock(50, 0, lambda: next(now))
    chunks = []
    clock.watch = lambda count, at_once, stored: chunks.append(count)
    plan = Plan(methods=("L2",), quick=True, hidden=4, epochs=4, folds=3)
    found = search(x, y, NUMBERS, plan, store=folder / "trainings", clock=clock)
    assert min(chunks) >= 4  # the time of the first one is known after at most a quarter of the trainings
    assert found.plan.repeats == 4
    assert [tuple(map(int, split)) for split in found.parts] == [tuple(split) for split in nested_splits(4, 3)]
    alone = search(x, y, NUMBERS, dataclasses.replace(plan, repeats=1))
    np.testing.assert_allclose(found.lanes["test_loss"][:, :6], alone.lanes["test_loss"][:, :6], rtol=1e-5)
    np.testing.assert_allclose(found.lanes["test_loss"][:, -1], alone.lanes["test_loss"][:, -1], rtol=1e-5)
    first, second = found.lanes["test_loss"][:, 3:6], found.lanes["test_loss"][:, 9:12]
    assert not np.isclose(first, second).any()


def test_a_repeat_that_takes_longer_than_the_first_is_given_up_at_the_end_of_the_budget():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 2))
    y = x[:, 0] + rng.normal(size=40)
    now, begun = [0.0], []

    class Slowed(Clock):
        def begin(self):
            super().begin()
            begun.append(now[0])
            now[0] = 10 if len(begun) == 1 else 52.6  # the third repeat takes longer than the second

    plan = Plan(methods=("L2",), quick=True, hidden=4, epochs=4, folds=3)
    found = search(x, y, NUMBERS, plan, clock=Slowed(50, 0, lambda: now[0], slowness=0))
    assert (found.plan.repeats, begun) == (2, [0, 10])
    assert len(found.found.picks) == 6
    late = Clock(50, 0, lambda: now[0])
    late.begin()
    now[0] = 52.6 - late.finish
    with pytest.raises(TimeUpError):
        late.watch(chunks=4, at_once=1)({}, {})


def test_a_budget_shortens_trainings_but_to_30_steps_at_least():
    for rows in (5, 100, 128, 129, 256, 257, 569, 1000, 1500, 5000, 12_000, 100_000):
        epochs = planned((rows, 30), 1, plan_ladder((rows, 30))).epochs
        assert 1 <= epochs <= Plan().passes(rows)[0] / 12
        assert epochs * -(-rows // BATCH) >= 30
    assert planned((100_000, 320), 1, plan_ladder((100_000, 320))).epochs == 1
    for asked in (3, 25, 90):
        ladder = plan_ladder((569, 30), epochs=asked)
        methods = ("none", *PROMISING)
        assert planned((569, 30), 1, ladder) == Plan(methods, epochs=asked, quick=True, repeats=1)


def test_a_budget_leaves_the_less_promising_methods_undone_before_it_shortens_trainings():
    for rows in (40, 569, 5000):
        first, strengths, methods, *shorter = plan_ladder((rows, 30))
        assert first == Plan()
        assert (strengths.methods, methods.methods) == (METHODS, ("none", "L2", "group lasso", "decay"))
        assert strengths.epochs == methods.epochs == Plan().passes(rows)[0]
        assert {plan.methods for plan in shorter} == {methods.methods}
        seconds = [training_seconds((rows, 30), plan) for plan in (first, strengths, methods, *shorter)]
        assert seconds == sorted(seconds, reverse=True)


@pytest.mark.parametrize(("epochs", "ended"), [(10, False), (200, True)])
def test_a_training_that_had_not_come_to_its_end_is_told(epochs, ended):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    plan = Plan(methods=("L2",), quick=True, hidden=8, epochs=epochs, folds=3, repeats=1)
    result = search(x, x @ [1, 1] + 0.5 * rng.normal(size=60), NUMBERS, plan)
    curves = result.lanes["test_loss"][result.found.chosen, [3, 4, 5]]  # the parts that leave out one fold
    fell = min(100 * (1 - curves[:, at].sum() / curves[:, at - 1].sum()) for at in (5, 6, 7))
    told = [sentence for sentence in summary(Source("search", result))["verdict"] if "still falling" in sentence]
    assert (fell > 2) == (not ended)
    assert len(told) == (not ended)
    assert all(f"by {fell:.0f} %" in sentence and "Plan(epochs=…)" in sentence for sentence in told)


@pytest.mark.parametrize("case", ["shown", "too few folds", "by chance", "in two folds"])
def test_a_method_is_named_only_if_the_outer_folds_show_that_choosing_it_helps(case):
    """Far more inputs than rows tell, and one of the same size that is noise."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 30))
    plan = Plan(methods=("L2",), quick=True, hidden=32, epochs=200, folds=5, repeats=1)
    result = search(x, x[:, 0] + 0.3 * rng.normal(size=60), NUMBERS, plan)
    gains = result.found.losses[0] - result.found.losses[list(result.found.picks), np.arange(5)]
    mean, error = gains.mean(), np.sqrt((1 / 5 + 1 / 4) * gains.var(ddof=1))  # Nadeau and Bengio
    assert mean > 2 * error
    assert (result.found.loss_gain.mean, result.found.loss_gain.error) == pytest.approx((mean, error), rel=1e-5)
    if case in ("too few folds", "by chance"):
        # Student's t for 5 folds is 2.78
        error = mean / 2.7 if case == "too few folds" else mean * 1.1
        unsure = dataclasses.replace(result.found.loss_gain, error=error)
        result = dataclasses.replace(result, found=dataclasses.replace(result.found, loss_gain=unsure))
    if case == "in two folds":
        picks = (result.found.chosen,) * 2 + (0,) * 3
        result = dataclasses.replace(result, found=dataclasses.replace(result.found, picks=picks))
    lead = summary(Source("search", result))["verdict"][0]
    label = result.chosen.label
    if case == "shown":
        assert lead.startswith(f"Use {label}: ")
    elif case == "in two folds":
        assert lead.startswith(f"A regulariser helps, but the outer folds do not agree on which. One is {label}: ")
    elif case == "by chance":
        assert lead.startswith(f"The outer folds do not show that a regulariser helps. If you want one, use {label}: ")
    else:
        change = f"(change in loss \N{MINUS SIGN}{mean:.3f} ± {error:.3f}; with so few folds, it must exceed 2.8 sta"
        assert lead.startswith(f"These 5 outer folds are too few to show that a regulariser helps {change}")
        assert f"If you want one now, use {label}: " in lead


@pytest.fixture(scope="module")
def found():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 5)) * [1, 10, 1, 1, 1] + [0, 100, 0, 0, 0]
    y = (x[:, 0] + 0.1 * (x[:, 1] - 100) + rng.normal(size=80) > 0).astype(int)
    plan = Plan(methods=("L2", "early stopping"), quick=True, hidden=8, epochs=40, folds=3, repeats=1)
    return x, y, search(x, y, CLASSES, plan)


def test_the_last_net_is_the_lane_that_was_trained_on_all_rows(found):
    x, y, result = found
    last = {name: each[-1] if "/" in name else each for name, each in result.net.arrays.items()}
    shares = Net(last).probabilities(x)
    loss = -np.log(shares[np.arange(80), y]).mean()
    assert result.parts[-1] == Split(0, -1, -1)
    np.testing.assert_allclose(result.lanes["train_loss"][result.found.chosen, -1, -1], loss, rtol=1e-4)


def test_methods_that_were_not_chosen_were_chosen_in_no_fold(found):
    *_, result = found
    picked = [result.tried[place].method for place in result.found.picks]
    assert [times_picked(result, name) for name in METHODS] == [picked.count(name) for name in METHODS]


def test_early_stopping_stops(found):
    *_, result = found
    curves = result.lanes["train_loss"]
    for at, each in enumerate(result.tried):
        if each.method == "early stopping":
            epochs = np.linspace(0, 40, curves.shape[-1])
            after = curves[at][:, epochs >= each.shown]
            np.testing.assert_array_equal(after, after[:, :1] * np.ones_like(after))
            np.testing.assert_array_equal(curves[at][:, epochs <= each.shown], curves[0][:, epochs <= each.shown])


def test_a_fold_that_is_left_out_is_not_seen(found):
    *_, result = found
    rng = np.random.default_rng(0)
    x, y, there = rng.normal(size=(128, 16)), rng.integers(0, 2, 128), np.arange(128) < 80
    dealt = np.where(there, np.arange(128) % 3, -2)[None].astype(np.int32)
    shapes = (x.astype(np.float32), y.astype(np.float32), there.astype(np.float32), np.ones(16, np.float32))
    one = PaddedRows(*shapes, np.float32(16), dealt, np.int32(0))
    unseen = (dealt[0] == 0) | (dealt[0] == 1)
    other = one._replace(
        x=np.where(unseen[:, None], one.x + 5, one.x).astype(np.float32), y=np.where(unseen, 1 - one.y, one.y)
    )
    first, second = (train(result.setting, each, result.tried, result.parts) for each in (one, other))
    for name in ("params/hidden/kernel", "params/output/bias", "train_loss"):
        np.testing.assert_array_equal(first[name][:, 0], second[name][:, 0])  # the part that leaves out 0 and 1
        assert not np.array_equal(first[name][:, 1], second[name][:, 1])  # the one that leaves out 0 and 2


def table(path, rows=60):
    rng = np.random.default_rng(3)
    size, colour = rng.normal(10, 2, rows), rng.choice(["red", "green"], rows)
    price = 3 * size + 5 * (colour == "red") + rng.normal(size=rows)
    lines = [f"{s:.3f},{c},{p:.3f}" for s, c, p in zip(size, colour, price, strict=True)]
    lines[4] = ",green,31.5"
    path.write_text("\n".join(["size,colour,price", *lines]) + "\n")
    return price


def jaxreg(monkeypatch, *options):
    monkeypatch.setattr(sys, "argv", ["jaxreg", *map(str, options)])
    main()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "compiled"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_table_in_the_place_of_a_model_is_told(folder, monkeypatch, capsys):
    (folder / "kept").mkdir()
    for words, advice in (
        (("new.xlsx", "kept"), "jaxreg predict kept new.xlsx"),
        (("new.xlsx", "kept/model.safetensors"), "jaxreg predict kept/model.safetensors new.xlsx"),
        (("kept.csv.gz", "new.xlsx"), "jaxreg predict kept-search new.xlsx"),
    ):
        with pytest.raises(SystemExit):
            jaxreg(monkeypatch, "predict", *words)
        assert capsys.readouterr().err == (
            f"jaxreg: {words[0]} is a table; expected the folder of a search, and then the table, as in: {advice}\n"
        )


def test_a_search_writes_what_predict_reads_and_goes_on_where_it_was(folder, monkeypatch, capsys):
    price = table(folder / "houses.csv")
    options = ["search", "houses.csv", "--target", "price", "--quick"]
    jaxreg(monkeypatch, *options, "--json")
    told = json.loads(capsys.readouterr().out)
    out = folder / "houses-search"
    assert {file.name for file in out.iterdir()} == {
        "trainings", "model.safetensors", "report.html", "verdict.json", "folds.json", "plan.json"
    }  # fmt: skip
    assert told["task"] == "regression"
    assert told["R²"]["mean"] > 0.8
    assert "size: 1 missing cell, replaced by" in told["notes"][0]
    assert told["notes"][1] == "colour: 2 distinct values, one input each"
    page = Page((out / "report.html").read_text("utf-8"))
    assert len(page.numbers) > 80
    recompute(page)
    assert not re.findall(r"[^\n]{0,30}\d[^\n]{0,30}", "".join(page.words))
    stored = open_search(out)
    np.testing.assert_array_equal(stored.net(np.ones((2, 4))), load(out / "model.safetensors").net(np.ones((2, 4))))
    assert stored.chosen.label == told["chosen"]["label"]

    chunks = {file: file.stat().st_mtime_ns for file in (out / "trainings").iterdir()}
    jaxreg(monkeypatch, *options)
    printed = capsys.readouterr().out
    assert told["verdict"][0] in " ".join(printed.split())
    assert f"Reused the finished training of all {told['nets']} nets, in" in printed
    assert "Report, verdict and model of the earlier run were replaced." in printed
    assert "Trained" not in printed
    assert "<: the chosen candidate" in printed
    assert {file: file.stat().st_mtime_ns for file in (out / "trainings").iterdir()} == chunks

    rows = [line.split(",") for line in (folder / "houses.csv").read_text().splitlines()]
    (folder / "new.csv").write_text("".join(f"{c},{p},{s}\n" for s, c, p in rows))
    jaxreg(monkeypatch, "predict", out, "new.csv")
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading == "price"
    assert np.corrcoef(np.array(lines, float), price)[0, 1] > 0.9
    jaxreg(monkeypatch, "predict", out / "model.safetensors", "new.csv", "--out", "foretold.csv")
    assert (folder / "foretold.csv").read_text().splitlines() == [heading, *lines]


def test_ids_that_a_search_ignored_stand_before_the_predictions(folder, monkeypatch, capsys):
    rows = "".join(f"P{row},{row % 7},{row % 7 * 2}.5\n" for row in range(40))
    (folder / "t.csv").write_text("person,a,y\n" + rows)
    table = prepare(folder / "t.csv", "y")
    assert table.ids == ("person",)
    arrays = {"mean": np.zeros(1), "scale": np.ones(1), "target": np.array([0.0, 1.0])}
    arrays |= {"output/kernel": np.eye(1), "output/bias": np.zeros(1)}
    save(folder / "model.safetensors", FittedModel(Net(arrays), table.encoding, "y", "regression", (), {}, table.ids))
    (folder / "new.csv").write_text("a,person\n3,007\n1,\n2,Q\n")
    jaxreg(monkeypatch, "predict", "model.safetensors", "new.csv")
    printed = capsys.readouterr()
    assert printed.out.splitlines() == ["person,y", "007,3.0", ",1.0", "Q,2.0"]
    assert not printed.err
    (folder / "new.csv").write_text("owner,a,person,town\nAnna,3,007,Ulm\n")
    jaxreg(monkeypatch, "predict", "model.safetensors", "new.csv")
    printed = capsys.readouterr()
    assert printed.out.splitlines() == ["person,y", "007,3.0"]
    assert (
        printed.err == "jaxreg: 'owner', 'town': ignored, and not copied to the predictions. The rows stay in order\n"
    )
    (folder / "new.csv").write_text("a\n3\n")
    jaxreg(monkeypatch, "predict", "model.safetensors", "new.csv")
    assert capsys.readouterr().out.splitlines() == ["y", "3.0"]


def test_a_refused_budget_leaves_nothing_and_another_budget_goes_on(folder, monkeypatch, capsys):
    table(folder / "houses.csv")
    options = ["search", "houses.csv", "--target", "price", "--quick", "--epochs", "4", "--budget"]
    monkeypatch.setattr("jaxreg.lab.search.clock.MOST_REPEATS", 1)
    monkeypatch.setattr("jaxreg.lab.cli.time.process_time", lambda: 0.0)  # the command starts now, not with the tests
    with monkeypatch.context() as slow:
        refuse = TooShortError("the budget of 50 s is too short")
        slow.setattr("jaxreg.lab.search.clock.Watch.__call__", raising(refuse))
        with pytest.raises(SystemExit):
            jaxreg(monkeypatch, *options, "50s")
    assert "the budget of 50 s is too short" in capsys.readouterr().err
    assert not (folder / "houses-search").exists()
    jaxreg(monkeypatch, *options, "100s")
    trainings = folder / "houses-search" / "trainings"
    before = {file: file.stat().st_mtime_ns for file in trainings.iterdir()}
    capsys.readouterr()
    # A smaller budget in a finished folder trains nothing: the trainings had the larger one.
    for asked, had in ((60, 100), (150, 150), (100, 150)):
        jaxreg(monkeypatch, *options, f"{asked}s")
        assert {file: file.stat().st_mtime_ns for file in trainings.iterdir()} == before
        told = json.loads((folder / "houses-search" / "verdict.json").read_text())
        assert (told["budget"], told["trained_within"]) == (asked, had)
        assert f"--budget {told['budget']:g}s" in told["command"]
        earlier = "" if asked == had else f" of an earlier run, which the budget of {asked} s does not shorten"
        assert f"1 repeat within the budget of {had} s{earlier}. Omitted" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        jaxreg(monkeypatch, *options[:-3], "--epochs", "8", "--budget", "150s")
    assert "houses-search contains an earlier search with different options (--epochs)" in capsys.readouterr().err


def test_the_time_of_a_command_includes_its_start_and_does_not_contradict_the_budget(folder, monkeypatch, capsys):
    table(folder / "houses.csv")
    monkeypatch.setattr("jaxreg.lab.cli.time.process_time", lambda: 1000.0)  # as if Python had started that long ago
    jaxreg(monkeypatch, "search", "houses.csv", "--target", "price", "--quick", "--epochs", "4", "--json")
    assert json.loads(capsys.readouterr().out)["seconds"] > 1000
    for seconds in (99.4, 100.3, 100.6, 148.2):
        words = _took(seconds, 100.0)
        assert words.startswith(f"{seconds:.0f} s")
        assert ("over the budget of 100 s" in words) == (float(f"{seconds:.0f}") > 100)
    assert _took(148.2, None) == "148 s"


def test_all_repeats_of_a_finished_search_are_read_and_no_time_is_needed():
    clock = Clock(10, 0, lambda: 9.9, finished=3)
    clock.repeat = 5.0
    assert [clock.goes_on(repeats) for repeats in (1, 2, 3)] == [True, True, False]
    assert not Clock(10, 0, lambda: 9.9).goes_on(MOST_REPEATS)
    late = Clock(10, 0, lambda: 9.9)
    late.repeat = 5.0
    assert not late.goes_on(1)


def test_a_longer_budget_keeps_the_training_runs_of_a_version_with_fewer_methods(tmp_path):
    shape, folder = (100, 3), tmp_path / "mine"
    request = {"rows": "", "quick": False, "seed": 0, "budget": 60.0, "table": {}}
    plan = dataclasses.replace(planned(shape, 60, plan_ladder(shape)), methods=METHODS[:-1])
    assert _Folder(folder).begin(request, plan, shape) == plan
    (folder / "trainings").mkdir()
    longer = dataclasses.replace(plan, methods=METHODS)
    assert _Folder(folder).begin(request | {"budget": 120.0}, longer, shape) == plan
    assert (folder / "trainings").exists()
    few = dataclasses.replace(plan, methods=("none", *PROMISING))
    _Folder(tmp_path / "few").begin(request, few, shape)
    assert _Folder(tmp_path / "few").begin(request | {"budget": 120.0}, longer, shape) == longer


def test_a_search_whose_training_runs_are_gone_or_whose_results_are_damaged_is_not_finished(tmp_path):
    shape, folder = (100, 3), tmp_path / "mine"
    request = {"rows": "", "quick": False, "seed": 0, "budget": 60.0, "table": {}}
    _Folder(folder).begin(request, Plan(), shape)
    (folder / "verdict.json").write_text('{"budget": 60.0}')
    (folder / "folds.json").write_text('{"repeats": 2}')
    again = _Folder(folder)
    again.begin(request, Plan(), shape)
    assert again.finished() == (60.0, 2)
    for text in ("{", "[]"):
        (folder / "verdict.json").write_text(text)
        assert again.finished() == (None, None)
    (folder / "verdict.json").write_text('{"budget": 60.0}')
    again.replace(Plan(quick=True))
    again = _Folder(folder)
    again.begin(request, Plan(), shape)
    assert again.finished() == (None, None)


def raising(error):
    def call(*_):
        raise error

    return call


def test_a_search_that_does_not_fit_goes_on_as_a_shorter_one(folder, monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 2))
    y = x[:, 0] + rng.normal(size=40)
    plan = Plan(methods=("L2",), hidden=4, epochs=4, folds=3, repeats=1)
    quick = dataclasses.replace(plan, quick=True)
    told = []

    def shortened(each):
        told.append(each)
        shutil.rmtree(folder / "trainings")

    def check(clock, *_, extra):
        if not told:
            raise TooShortError("too long", clock.shorter[0][0])

    monkeypatch.setattr("jaxreg.lab.search.folds.chunk_width", lambda *_: 5)
    monkeypatch.setattr("jaxreg.lab.search.clock.Clock.check", check)
    clock = Clock(1000, time.perf_counter(), ladder=[plan, quick], shortened=shortened, finished=1)
    found = search(x, y, NUMBERS, plan, store=folder / "trainings", clock=clock)
    assert told == [quick] == [found.plan]
    alone = search(x, y, NUMBERS, quick)
    np.testing.assert_allclose(found.lanes["test_loss"], alone.lanes["test_loss"], rtol=1e-5)


def test_trainings_of_another_version_are_not_gone_on_with(folder, monkeypatch, capsys):
    table(folder / "houses.csv")
    options = ["search", "houses.csv", "--target", "price", "--quick", "--epochs", "4"]
    jaxreg(monkeypatch, *options)
    capsys.readouterr()
    before = {file: file.read_bytes() for file in (folder / "houses-search").rglob("*") if file.is_file()}
    monkeypatch.setattr("jaxreg.lab.search.candidates.CONSTANT", 0.5)  # a version whose learning rate falls for longer
    _program.cache_clear()
    with pytest.raises(SystemExit):
        jaxreg(monkeypatch, *options)
    said = capsys.readouterr().err
    assert said.startswith("jaxreg: houses-search contains training runs of another version of jaxreg")
    assert said.count("\n") == 1
    assert {file: file.read_bytes() for file in before} == before


def test_where_nothing_helps_none_is_used_and_all_is_written(folder, monkeypatch, capsys):
    """Many rows of a line in two inputs: there is nothing to overfit."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1500, 2))
    y = x @ [2, 1] + rng.normal(size=1500)
    np.savetxt("line.csv", np.column_stack([x, y]), delimiter=",", header="a,b,y", comments="", fmt="%.6g")
    jaxreg(monkeypatch, "search", "line.csv", "--target", "y", "--quick")
    printed = capsys.readouterr().out
    assert "Use no regulariser: no candidate reduces the loss by more than" in printed
    assert {"model.safetensors", "report.html", "verdict.json"} < {
        file.name for file in (folder / "line-search").iterdir()
    }


def test_classes_and_codes_are_written_as_they_are(folder, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    codes = rng.choice(["02134", "10001", "K1A"], 60)
    classes = np.where((codes == "02134") ^ (rng.random(60) < 0.1), 1000001, 20240101)
    lines = [f"{code},{size:.3f},{each}" for code, size, each in zip(codes, rng.random(60), classes, strict=True)]
    lines = [f"{line},2024-{row % 12 + 1}-{row % 25 + 1},P{row}" for row, line in enumerate(lines)]
    (folder / "post.csv").write_text("\n".join(["zip,size,sku,day,parcel", *lines]) + "\n")
    jaxreg(
        monkeypatch, "search", "post.csv", "--target", "sku", "--quick", "--leave-out", "day", "--leave-out", "parcel"
    )
    printed = capsys.readouterr().out
    assert "classification of sku: 1000001, 20240101" in printed
    assert "zip: 3 distinct values, one input each" in printed
    told = []
    for rows in ("02134,0.5\n10001,0.5\n", "02134,0.5\nK1A,0.5\n"):
        (folder / "new.csv").write_text("zip,size\n" + rows)
        jaxreg(monkeypatch, "predict", "post-search", "new.csv")
        found = capsys.readouterr()
        assert found.err == ""
        told.append(found.out.splitlines())
    assert told[0][0] == "sku,probability of 1000001,probability of 20240101"
    assert told[0][1] == told[1][1]  # whatever other rows there are
    assert told[0][1].startswith("1000001,")


def test_what_cannot_be_told_is_null_and_said(folder, monkeypatch, capsys):
    (folder / "five.csv").write_text("x,y\n1,1.5\n2,2.1\n3,3.7\n4,3.9\n5,5.2\n")
    jaxreg(monkeypatch, "search", "five.csv", "--target", "y", "--quick", "--json")

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    told = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert told["notes"] == ["x numbers the rows. Ignore it with --leave-out, unless the order of the rows matters"]
    json.loads((folder / "five-search" / "verdict.json").read_text(), parse_constant=refuse)
    assert told["R²"]["mean"] is None
    assert any("R² is unknown" in sentence for sentence in told["verdict"])
    assert any("R² \u2013 ± \u2013 (unknown), loss " in sentence for sentence in told["verdict"])
    assert not any("confidence" in sentence for sentence in told["verdict"])
    assert open_search(folder / "five-search").chosen.label == told["chosen"]["label"]


def test_a_terminal_without_utf_8_is_told_letters_by_their_number(tmp_path):
    model = dataclasses.replace(a_model(), classes=("ä", "ö"))
    save(tmp_path / "model.safetensors", model)
    (tmp_path / "new.csv").write_text("age,city,weight\n39,Ulm,70\n")
    command = [sys.executable, "-m", "jaxreg", "predict", ".", "new.csv"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PYTHONIOENCODING": "ascii"}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("y,probability of \\xe4,probability of \\xf6\n\\x")


REFUSED = {
    "a file as folder": (
        ("search", "houses.csv", "--target", "price", "--out", "few.csv"),
        "few.csv is a file; expected a folder",
    ),
    "no place": (
        ("search", "houses.csv", "--target", "price", "--out", "few.csv/a"),
        "few.csv/a'; name another folder with --out",
    ),
    "its table": (
        ("predict", "model", "houses.csv", "--out", "houses.csv"),
        "--out houses.csv would overwrite houses.csv, which this command reads",
    ),
    "no file": (("search", "none.csv", "--target", "price"), "there is no file 'none.csv'"),
    "no column": (("search", "houses.csv", "--target", "prize"), "there is no column 'prize'"),
    "folder": (("search", ".", "--target", "price"), "is a folder; expected a file"),
    "left out": (
        ("search", "houses.csv", "--target", "price", "--leave-out", "size", "day"),
        "names 'day'; expected one of",
    ),
    "left out twice": (
        ("search", "houses.csv", "--target", "price", "--leave-out", "day", "--leave-out", "size"),
        "--leave-out names 'day'; expected one of",
    ),
    "nothing left out": (("search", "houses.csv", "--target", "price", "--leave-out"), "--leave-out has no value"),
    "target left out": (("search", "houses.csv", "--target", "price", "--leave-out", "price"), "the target, 'price'"),
    "budget": (("search", "houses.csv", "--target", "price", "--budget", "soon"), "the budget is 'soon'"),
    "few rows": (("search", "few.csv", "--target", "price"), "4 rows of few.csv have a target; expected at least 5"),
    "text": (("search", "houses.csv", "--target", "colour", "--task", "regression"), "row 1, column 'colour'"),
    "taken": (("search", "houses.csv", "--target", "price", "--out", "taken"), "taken contains files, but no search"),
    "seed": (("search", "houses.csv", "--target", "price", "--seed", "-1"), "`seed` is -1; expected a whole number"),
    "no model": (("predict", "none.safetensors", "houses.csv"), "there is no file 'none.safetensors'"),
    "other model": (
        ("predict", "houses.csv", "houses.csv"),
        "houses.csv is a table; expected the folder of a search, and then the table, as in: jaxreg predict houses-",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_gets_one_sentence_and_exits_2_and_writes_nothing(case, folder, monkeypatch, capsys):
    options, message = REFUSED[case]
    table(folder / "houses.csv")
    table(folder / "few.csv", rows=5)
    (folder / "few.csv").write_text("\n".join((folder / "few.csv").read_text().splitlines()[:5]))
    (folder / "taken").mkdir()
    (folder / "model").mkdir()
    save(folder / "model" / "model.safetensors", a_model())
    (folder / "taken" / "letter.txt").write_text("dear")
    before = sorted(folder.rglob("*"))
    with pytest.raises(SystemExit) as stopped:
        jaxreg(monkeypatch, *options)
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("jaxreg: ")
    assert message in said
    assert [line for line in said.splitlines()[1:] if not line.startswith("- ")] == []  # several problems are a list
    assert sorted(folder.rglob("*")) == before
