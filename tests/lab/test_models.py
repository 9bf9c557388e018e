"""Models against Keras: outputs with its weights, its initial weights; and models of other frameworks through `fit`."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx as flax_nnx
from helpers.reference import FIGURES, keras_figures

import jaxreg as jr
from jaxreg.lab import CNN, GRU, LSTM, MLP, Problem, Recipe, equinox, fit, linen, moons, nnx
from jaxreg.lab.layers import orthogonal
from jaxreg.lab.weights import from_keras
from jaxreg.rules._matching import leaves

MODELS = {
    "mlp": MLP(hidden=7, outputs=2),
    "conv1d": CNN(filters=(4, 3), window=(3,), outputs=2),
    "conv2d": CNN(filters=(4, 3), window=(3, 2), outputs=2),
    "lstm": LSTM(units=(5, 4), outputs=2),
    "lstm_both": LSTM(units=(5, 4), outputs=2, bidirectional=True),
    "gru": GRU(units=(5, 4), outputs=2),
    "gru_both": GRU(units=(5,), outputs=2, bidirectional=True),
}


@pytest.mark.parametrize("name", sorted({key.split(":")[0] for key in FIGURES} - {"meta"}))
def test_outputs_are_those_of_keras(name):
    x, y, weights = keras_figures(name)
    model = linen(MODELS[name], x.shape[1:])
    params = from_keras(jax.eval_shape(model.init, jax.random.key(0)), weights)
    np.testing.assert_allclose(model.apply(params, x), y, rtol=1e-5, atol=1e-6)


def test_a_window_as_large_as_the_inputs_sees_all_of_them_at_once():
    x = np.random.default_rng(0).normal(size=(4, 3, 2, 2)).astype(np.float32)
    model = linen(CNN(filters=(5,), window=(3, 2)), (3, 2, 2))
    params = jax.tree.map(lambda w: w + 0.1, model.init(jax.random.key(0)))
    conv, output = ({name: np.asarray(w) for name, w in params[layer].items()} for layer in ("conv", "output"))
    hidden = np.maximum(x.reshape(4, 12) @ conv["kernel"].reshape(12, 5) + conv["bias"], 0)
    np.testing.assert_allclose(model.apply(params, x), hidden @ output["kernel"] + output["bias"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_narrow_weights_and_inputs_have_narrow_outputs(name):
    shape = {"mlp": (2,), "conv1d": (8, 2), "conv2d": (8, 8, 2)}.get(name, (3, 2))
    model = linen(MODELS[name], shape)
    shapes = (jax.eval_shape(model.init, jax.random.key(0)), jax.ShapeDtypeStruct((4, *shape), jnp.float32))
    narrow = jax.tree.map(lambda w: jax.ShapeDtypeStruct(w.shape, jnp.bfloat16), shapes)
    assert jax.eval_shape(model.apply, *narrow).dtype == jnp.bfloat16


def test_initial_weights_are_those_that_keras_draws():
    params = jax.jit(linen(LSTM(units=(40,), outputs=30), (4, 25)).init)(jax.random.key(0))
    glorot = {"lstm": 25 + 4 * 40, "output": 40 + 30}  # the sum of fan in and fan out, of all gates together
    for layer, fans in glorot.items():
        kernel, limit = np.asarray(params[layer]["kernel"]), np.sqrt(6 / fans)
        assert np.abs(kernel).max() <= limit * (1 + 1e-6)
        np.testing.assert_allclose(kernel.std(), limit / np.sqrt(3), rtol=0.05)
    recurrent = np.asarray(params["lstm"]["recurrent_kernel"], np.float64)
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(40), atol=1e-5)
    np.testing.assert_array_equal(params["lstm"]["bias"], np.repeat([0, 1, 0, 0], 40))
    np.testing.assert_array_equal(params["output"]["bias"], 0)

    params = jax.jit(linen(CNN(filters=(64,), outputs=3), (5, 5, 8)).init)(jax.random.key(1))
    kernel, limit = np.asarray(params["conv"]["kernel"]), np.sqrt(6 / (9 * 8 + 9 * 64))
    assert np.abs(kernel).max() <= limit * (1 + 1e-6)
    np.testing.assert_allclose(kernel.std(), limit / np.sqrt(3), rtol=0.05)
    params = jax.jit(linen(GRU(units=(6,)), (4, 3)).init)(jax.random.key(0))
    recurrent = np.asarray(params["gru"]["recurrent_kernel"])
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(6), atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (40, 40), (40, 160)])
def test_orthonormal_rows_are_those_that_jax_draws(shape):
    key = jax.random.key(3)
    ours = np.asarray(jax.jit(orthogonal, static_argnums=1)(key, shape))
    np.testing.assert_allclose(ours, jax.random.orthogonal(key, shape[1], m=shape[0]).T, atol=3e-6)
    np.testing.assert_allclose(ours.astype(np.float64) @ ours.T, np.eye(shape[0]), atol=3e-6)
    assert "lapack" not in jax.jit(orthogonal, static_argnums=1).lower(key, shape).as_text()


def test_weights_have_the_kinds_and_units_that_rules_go_by():
    shapes = lambda model: jax.eval_shape(model.init, jax.random.key(0))  # noqa: E731
    params = shapes(linen(LSTM(units=(4,), bidirectional=True), (3, 2)))
    params |= {"gru": shapes(linen(GRU(units=(4,)), (3, 2)))["gru"]}
    params |= {"conv": shapes(linen(CNN(filters=(4,)), (5, 5, 2)))["conv"]}
    found = {leaf.path: (leaf.kind, leaf.axes) for leaf in leaves(params)}
    for cell in ("lstm/forward", "lstm/backward", "gru"):
        assert found[f"{cell}/kernel"] == (jr.KERNELS, (0,))
        assert found[f"{cell}/recurrent_kernel"] == (jr.RECURRENT_KERNELS, (0,))
        assert found[f"{cell}/bias"][0] == jr.BIASES
    assert found["conv/kernel"] == (jr.KERNELS, (0, 1, 2))
    assert found["output/kernel"] == (jr.KERNELS, (0,))


class TheirLinen(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(1, name="top")(nn.tanh(nn.Dense(5, name="bottom")(x)))


class TheirNnx(flax_nnx.Module):
    def __init__(self, rngs):
        self.bottom, self.top = flax_nnx.Linear(2, 5, rngs=rngs), flax_nnx.Linear(5, 1, rngs=rngs)

    def __call__(self, x):
        return self.top(jnp.tanh(self.bottom(x)))


class TheirEquinox(eqx.Module):
    bottom: eqx.nn.Linear
    top: eqx.nn.Linear
    between: Callable  # a leaf that is no array

    def __init__(self, key):
        keys = jax.random.split(key)
        self.bottom, self.top = eqx.nn.Linear(2, 5, key=keys[0]), eqx.nn.Linear(5, 1, key=keys[1])
        self.between = jnp.tanh

    def __call__(self, x):
        return self.top(self.between(self.bottom(x)))


THEIRS = {
    "linen": (linen(TheirLinen(), (2,)), "kernel", 0),
    "nnx": (nnx(TheirNnx), "kernel", 0),
    "equinox": (equinox(TheirEquinox), "weight", 1),
}


@pytest.mark.parametrize("name", THEIRS)
def test_fit_trains_a_users_own_model(name):
    model, kernel, inputs = THEIRS[name]
    problem = Problem(model, moons([0], train=40, test=50), epochs=60, batch_size=40, record_every=30)
    recipe = Recipe(
        penalties={f"top/{kernel}": jr.L2(1e-3)}, constraints={f"bottom/{kernel}": jr.MaxNorm(0.8)}, learning_rate=0.05
    )
    lanes = jax.jit(jax.vmap(lambda seed: fit(problem, recipe, jax.random.key(seed), keep=True)))(jnp.arange(2))
    assert np.all(lanes["train_loss"].values[:, -1] < 0.75 * lanes["train_loss"].values[:, 0])
    bottom = np.asarray(lanes[f"params/bottom/{kernel}"])
    norms = np.linalg.norm(bottom, axis=1 + inputs)
    assert norms.shape == (2, 5)
    assert norms.max() <= 0.8 * (1 + 1e-6)
    assert np.isclose(norms.max(), 0.8)
    assert not np.array_equal(bottom[0], bottom[1])
    # The trained weights, in plain NumPy, have the loss that was reported.
    turn = lambda w: np.asarray(w if inputs == 0 else w.T)  # noqa: E731
    weights = {
        path: turn(lanes[f"params/{path}"][0])
        for path in (f"bottom/{kernel}", "bottom/bias", f"top/{kernel}", "top/bias")
    }
    hidden = np.tanh(problem.data.x_test[0] @ weights[f"bottom/{kernel}"] + weights["bottom/bias"])
    logits = (hidden @ weights[f"top/{kernel}"] + weights["top/bias"])[:, 0]
    loss = np.mean(np.logaddexp(0, np.where(problem.data.y_test[0] > 0, -logits, logits)))
    np.testing.assert_allclose(lanes["test_loss"].values[0, -1], loss, rtol=1e-5)


class Normed(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.BatchNorm(use_running_average=False)(x)


class Counted(eqx.Module):
    count: jax.Array

    def __call__(self, x):
        return x


BAD = {
    "linen": (lambda: linen(Normed(), (2,)).init(jax.random.key(0)), "linen: the module has batch_stats"),
    "nnx": (lambda: nnx(lambda rngs: flax_nnx.BatchNorm(2, rngs=rngs)), "nnx: the module has mean, var"),
    "equinox": (lambda: equinox(lambda key: Counted(jnp.arange(3))), r"equinox: the module has \.count"),
    "conv rank": (lambda: linen(CNN(window=(3,)), (8, 8, 1)).init(jax.random.key(0)), r"window has size \(3,\)"),
    "conv size": (
        lambda: linen(CNN(), (8, 2, 1)).init(jax.random.key(0)),
        "No spatial axis may be shorter than the window",
    ),
    "lstm rank": (lambda: linen(LSTM(), (8,)).init(jax.random.key(0)), r"`LSTMLayer`: the inputs have shape \(1, 8\)"),
    "gru rank": (lambda: linen(GRU(), (8,)).init(jax.random.key(0)), "a last axis of size 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_models_that_cannot_be_trained_here_are_refused(case):
    make, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        make()
