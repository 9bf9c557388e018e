"""Dropout on the hidden units of the nets of a search."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxreg.lab import NUMBERS, Data, Problem, Recipe, fit
from jaxreg.lab.search import Plan, search
from jaxreg.lab.search.candidates import DROPOUT, METHODS, Candidate, DropoutKnobs, Knobs, candidates
from jaxreg.lab.search.folds import PaddedRows, Setting, nested_splits, searched_task, train
from jaxreg.lab.search.net import kept_units, model, rounded_rate
from jaxreg.lab.training.loop import begin

pytestmark = pytest.mark.usefixtures("compiled_quickly")


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5])
def test_masked_units_are_the_units_in_expectation(rate):
    keys, asked = jax.random.split(jax.random.key(3), 400), rate
    rate = float(rounded_rate(asked))
    assert rate == round(256 * asked) / 256
    kept = np.asarray(jax.jit(jax.vmap(lambda key: kept_units(key, rate, (7, 33))))(keys), float)
    assert kept.shape == (400, 7, 33)
    scaled = kept / (1 - rate)  # what a unit of 1 becomes
    for axis in ((0, 1, 2), (0, 1), (0, 2)):
        means = scaled.mean(axis=axis)
        assert np.abs(means - 1).max() <= 4 * np.sqrt(rate / (1 - rate) * means.size / kept.size)
    if rate:
        rows = np.corrcoef(kept.reshape(-1, 33).T)  # rows, and so the four parts of a number
        assert np.abs(rows - np.eye(33)).max() < 5 / np.sqrt(2800)


def data_and_net(dropout, hidden=(5, 4), rows=11):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(rows, 3)).astype(np.float32), rng.normal(2, 3, rows).astype(np.float32)
    w = rng.integers(1, 4, rows).astype(np.float32)
    table = PaddedRows(x, y, w, np.ones(3, np.float32), np.float32(3), None, 0)
    net = model(hidden, 1, table, jnp.asarray(w), 0, numbers=True, dropout=dropout)
    data = Data(x[None], y[None], None, None, w_train=w[None], w_test=w[None])
    return net, Problem(net, data, 3, lambda out, y: (out[:, 0] - y) ** 2, {}, batch_size=6, shuffle=False)


def numpy_training(problem, params, key, rate, step_size):
    """Gradient descent through two hidden layers, written out; the masks are given by their keys."""
    data, rate = problem.data, float(rounded_rate(rate))
    x, y, w = (np.asarray(each[0], float) for each in (data.x_train, data.y_train, data.w_train))
    share = w / w.sum()
    scale = np.sqrt(share @ x**2 - (share @ x) ** 2)
    z, middle = (x - share @ x) / scale, share @ y
    spread = np.sqrt(share @ (y - middle) ** 2)
    weights = {name: {part: np.asarray(v, float) for part, v in layer.items()} for name, layer in params.items()}
    noise = jax.random.fold_in(jax.random.split(key)[1], 0)
    for epoch in range(1, 4):
        for step, batch in enumerate((slice(0, 6), slice(6, 11))):
            of_step = jax.random.fold_in(jax.random.fold_in(noise, epoch), step)
            keys = [jax.random.fold_in(of_step, layer) for layer in range(2)]
            kept = [kept_units(of_layer, rate, (units, 6)) for of_layer, units in zip(keys, (5, 4), strict=True)]
            masks = [np.asarray(each).T[: len(y[batch])] / (1 - rate) for each in kept]
            one, two, out = (weights[name] for name in ("hidden", "hidden_2", "output"))
            first = np.maximum(z[batch] @ one["kernel"] + one["bias"], 0) * masks[0]
            second = np.maximum(first @ two["kernel"] + two["bias"], 0) * masks[1]
            given = middle + spread * (second @ out["kernel"] + out["bias"])[:, 0]
            slope = 2 * (given - y[batch]) * w[batch] / (w.mean() * len(w[batch])) * spread
            back = [slope[:, None]]
            back.insert(0, back[0] @ out["kernel"].T * masks[1] * (second > 0))
            back.insert(0, back[0] @ two["kernel"].T * masks[0] * (first > 0))
            for layer, inputs, error in zip((one, two, out), (z[batch], first, second), back, strict=True):
                layer["kernel"] = layer["kernel"] - step_size * inputs.T @ error
                layer["bias"] = layer["bias"] - step_size * error.sum(axis=0)
    return weights


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_training_with_dropout_is_that_of_numpy_with_the_same_masks(rate):
    _, problem = data_and_net(rate)
    recipe, key = Recipe(learning_rate=0.02, optimizer=optax.sgd), jax.random.key(5)
    found = jax.jit(lambda: fit(problem, recipe, key, keep=True))()
    wanted = numpy_training(problem, begin(problem, recipe, key).params, key, rate, 0.02)
    for layer, parts in wanted.items():
        for part, values in parts.items():
            np.testing.assert_allclose(found[f"params/{layer}/{part}"], values, rtol=1e-3, atol=1e-5)


def test_predictions_and_curves_have_no_mask():
    (net, problem), (plain, _) = data_and_net(0.5), data_and_net(None)
    params, x = plain.init(jax.random.key(1)), problem.data.x_train[0]
    np.testing.assert_array_equal(net.apply(params, x), plain.apply(params, x))
    assert plain.train is None
    masked = net.train(params, x, jax.random.key(2))
    assert not np.allclose(masked, plain.apply(params, x))
    np.testing.assert_array_equal(data_and_net(0.0)[0].train(params, x, jax.random.key(2)), plain.apply(params, x))
    found = fit(problem, Recipe(learning_rate=0.0), jax.random.key(1))
    params = begin(problem, Recipe(), jax.random.key(1)).params
    y, w = problem.data.y_train[0], problem.data.w_train[0]
    wanted = np.average((np.asarray(plain.apply(params, x))[:, 0] - y) ** 2, weights=w)
    np.testing.assert_allclose(found["train_loss"].values, wanted, rtol=1e-5)


def test_masks_do_not_depend_on_chunks_and_other_candidates_train_as_without_them(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=size).astype(np.float32) for size in ((256, 7), 256))
    dealt = rng.integers(0, 3, (1, 256)).astype(np.int32)
    table = PaddedRows(x, y, np.ones(256, np.float32), np.ones(7, np.float32), np.float32(7), dealt, np.int32(7))
    setting = Setting(searched_task(0), outputs=1, hidden=(6,), epochs=3, learning_rate=0.01)
    none, strong = Candidate("none", None, 0.0, Knobs()), Candidate("L2", 0.1, 0.1, Knobs(l2=0.1))
    tried = [none, strong, *(Candidate(DROPOUT, rate, rate, DropoutKnobs(dropout=rate)) for rate in (0.2, 0.5))]
    parts = nested_splits(1, 3)
    found = []
    for width in (1, 3, 28):
        monkeypatch.setattr("jaxreg.lab.search.folds._width", lambda *_, width=width: width)
        found.append(train(setting, table, tried, parts)["params/hidden/kernel"])
    for each in found[1:]:
        np.testing.assert_allclose(each, found[0], rtol=1e-4, atol=1e-6)  # the last bits are those of the products
    keys = jax.random.split(jax.random.key(0), 5)
    drawn = jax.vmap(lambda key: kept_units(key, 0.2, (6, 5)))(keys)
    for key, kept in zip(keys, drawn, strict=True):
        np.testing.assert_array_equal(kept_units(key, 0.2, (6, 5)), kept)
    assert not np.allclose(found[0][2], found[0][3])
    without = train(setting, table, [none, strong], parts)["params/hidden/kernel"]
    np.testing.assert_allclose(found[0][:2], without, rtol=1e-4, atol=1e-6)


def test_a_search_compares_dropout_with_the_other_methods():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    plan = Plan(methods=("L2", DROPOUT), hidden=(8, 4), epochs=10, folds=3, repeats=1)
    found = search(x, x[:, 0] + rng.normal(size=40), NUMBERS, plan)
    assert [each.label for each in found.tried][-2:] == ["dropout(0.2)", "dropout(0.5)"]
    losses = found.found.losses
    assert np.isfinite(losses).all()
    assert not np.allclose(losses[-1], losses[0])
    chosen = dataclasses.replace(found.found, chosen=len(found.tried) - 1)
    chosen = dataclasses.replace(found, found=chosen, constant=None)  # without a baseline that may be better
    assert "each training step leaves out each hidden unit with this probability" in chosen.verdict
    assert [each.label for each in candidates(METHODS, 100, 1)][-2:] == ["dropout(0.2)", "dropout(0.5)"]
