"""The headline experiments in a small form, against independent definitions."""

import runpy
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreg.lab import categorical_cross_entropy

EXPERIMENTS = Path(__file__).parent.parent / "experiments"


@cache
def experiment(name):
    return runpy.run_path(str(EXPERIMENTS / f"{name}.py"))


def attention_by_hand(params, pair, heads=4):
    """The logits of one pair, place by place and head by head, in NumPy."""
    w = {name: np.asarray(layer["kernel"], float) for name, layer in params.items()}
    p, width = len(w["embedding"]) - 1, w["query"].shape[0]
    stream = np.stack([w["embedding"][token] + w["places"][i] for i, token in enumerate([*pair, p])])
    size, mixed = width // heads, []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        query, key, value = (stream @ w[name][:, part] for name in ("query", "key", "value"))
        scores = np.exp(query[-1] @ key.T / size**0.5)
        mixed.append(scores / scores.sum() @ value)
    last = stream[-1] + np.concatenate(mixed) @ w["attention"]
    inner = np.maximum(last @ w["hidden"] + np.asarray(params["hidden"]["bias"]), 0)
    return (last + inner @ w["output"] + np.asarray(params["output"]["bias"])) @ w["unembedding"]


def test_grokking_the_network_is_a_transformer_and_the_norm_is_held():
    grokking = experiment("grokking")
    task = grokking["problem"](2, steps=4, every=2, p=7, width=8, hidden=12)
    init = jax.jit(task.model.init)
    params = init(jax.random.key(3))
    params["hidden"]["bias"] = params["hidden"]["bias"] + 0.3
    pairs = np.array([[0, 0], [3, 6], [6, 1]])
    wanted = [attention_by_hand(params, pair) for pair in pairs]
    np.testing.assert_allclose(jax.jit(task.model.apply)(params, pairs), wanted, atol=1e-4)
    data = task.data
    assert data.x_train.shape == (2, 14, 2)
    np.testing.assert_array_equal(data.x_test.sum(axis=2) % 7, data.y_test)
    lanes = jax.jit(lambda share: grokking["held"]("all weights", task, 0, share))(0.8)
    start = init(jax.random.split(jax.random.key(0))[0])
    sizes = np.array([np.linalg.norm(leaf) for leaf in jax.tree.leaves(start)])
    ends = [v.values[-1] for name, v in lanes.items() if name.startswith("norm/")]
    assert np.linalg.norm(ends) <= 0.8 * np.linalg.norm(sizes) * (1 + 1e-5)
    np.testing.assert_allclose(np.linalg.norm(ends), 0.8 * np.linalg.norm(sizes), rtol=1e-3)  # the rest is in biases
    assert task.loss is categorical_cross_entropy


def test_grokking_the_step_of_arrival():
    import xarray as xr

    curves = xr.DataArray([[0.1, 0.96, 0.9], [0.1, 0.2, 0.3]], dims=("seed", "epoch"), coords={"epoch": [0, 10, 20]})
    np.testing.assert_array_equal(experiment("grokking")["arrival"](curves), [10, np.inf])


@pytest.mark.parametrize("n", [6, 15])
def test_double_descent_all_ridges_from_one_decomposition(n):
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=(n, 9)), rng.normal(size=n)
    found = experiment("double_descent")["ridges"](jnp.asarray(x), jnp.asarray(y), jnp.array([0.0, 0.5, 4.0]))
    wanted = [np.linalg.pinv(x) @ y, *(np.linalg.solve(x.T @ x + s * np.eye(9), x.T @ y) for s in (0.5, 4.0))]
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_double_descent_theory_is_the_published_and_the_exact_one():
    theory = experiment("double_descent")["theory"]
    at = np.array([481])
    np.testing.assert_allclose([theory(at, 0.0)[0], theory(at, 125.0)[0]], [6.37, 0.405], atol=0.005)
    # Far from the peak the exact mean for Gaussian points is near, noise² d/(n - d - 1) and likewise below.
    np.testing.assert_allclose(theory(np.array([2000]), 0.0), 0.25 * 500 / 1499, rtol=2e-3)
    np.testing.assert_allclose(theory(np.array([100]), 0.0), 0.25 * 100 / 399 + 0.8, rtol=2e-3)
    # A strength of 125 is the best one there: the slope vanishes.
    for n in (100, 481, 2000):
        around = [theory(np.array([n]), s)[0] for s in (124.0, 125.0, 126.0)]
        assert around[1] <= min(around) * (1 + 1e-9)


def test_weight_decay_in_200_dimensions_the_norms_of_a_few_draws():
    book = experiment("weight_decay_200")
    task = book["problem"](16)
    law = jax.jit(jax.vmap(lambda draw, decay: book["lane"](task, decay, draw)["norm/kernel"].values[-1], (0, None)))
    free, held = law(np.arange(16), 0.0), law(np.arange(16), 3.0)
    # Fitted, a model keeps what of its start no point sees (180 of 200 dimensions) and gains little: √180.
    assert abs(np.mean(free) / 180**0.5 - 1) < 3 * np.std(free, ddof=1) / 16**0.5 / 180**0.5 + 0.01
    assert 0.03 < np.mean(held) < 0.05


def test_the_meanings_of_decay_agree_where_they_should():
    maps = experiment("rate_decay_maps")
    task = maps["problem"](1)
    found = {
        meaning: jax.jit(lambda d, meaning=meaning: maps["lane"](meaning, task, jnp.float32(0.01), d, 0))
        for meaning in ("AdamW", "independent")
    }
    ends = {meaning: float(law(3.0)["test_loss"]) for meaning, law in found.items()}
    np.testing.assert_allclose(ends["AdamW"], ends["independent"], rtol=1e-4)  # at the rate of reference
    assert abs(ends["AdamW"] - float(found["AdamW"](0.0)["test_loss"])) > 1e-3
