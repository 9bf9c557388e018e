"""Slopes of a validation loss by the strengths: finite differences, closed forms, memory; tuning by them."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr
from jaxreg.lab import Model, Problem, Recipe, fit, moons
from jaxreg.lab.hypergradient import conjugate_gradients, forward, implicit, neumann, tune

RNG = np.random.default_rng(2)
X, XV = RNG.normal(size=(40, 5)), RNG.normal(size=(30, 5))
TRUTH = np.array([1.0, -2.0, 0.0, 0.0, 0.5])
Y, YV = X @ TRUTH + RNG.normal(size=40), XV @ TRUTH + RNG.normal(size=30)


def network(hidden=6):
    """Two layers with tanh, so that the second differences of the training's end are small."""

    def init(key):
        first, second = jax.random.split(key)
        return {
            "hidden": {"kernel": jax.random.normal(first, (2, hidden)), "bias": jnp.zeros(hidden)},
            "output": {"kernel": jax.random.normal(second, (hidden, 1)) / hidden**0.5, "bias": jnp.zeros(1)},
        }

    def apply(params, x):
        inner = jnp.tanh(x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
        return inner @ params["output"]["kernel"] + params["output"]["bias"]

    return Model(init, apply)


def last_loss(problem, logs):
    recipe = Recipe(
        penalties={"hidden/kernel": jr.L2(jnp.exp(logs[0]))},
        decays={"output/kernel": jr.L2(jnp.exp(logs[1]))},
        learning_rate=0.02,
    )
    return fit(problem, recipe, jax.random.key(0))["validation_loss"].values[-1]


@cache
def problem(epochs, dtype=np.float32):
    data = moons([3], train=24, test=8, validation=40, noise=0.3)
    data = jax.tree.map(lambda array: array.astype(dtype), data)
    return Problem(network(), data, epochs, batch_size=24, record_every=epochs)


def test_through_500_steps_of_adam_it_agrees_with_finite_differences():
    logs = np.log([1e-2, 1e-1])
    with jax.enable_x64(True):
        task = problem(500, np.float64)
        loss = jax.jit(partial(last_loss, task))
        step = 1e-4
        wanted = [float(loss(logs + step * e) - loss(logs - step * e)) / (2 * step) for e in np.eye(2)]
        value, slope = jax.jit(lambda s: forward(partial(last_loss, task), s))(jnp.asarray(logs))
        np.testing.assert_allclose(value, loss(logs), rtol=1e-12)
    assert min(map(abs, wanted)) > 1e-3
    np.testing.assert_allclose(slope, wanted, rtol=1e-3)


def test_it_goes_through_proximal_steps_and_projections():
    def loss(logs):
        recipe = Recipe(
            proximals={"hidden/kernel": jr.L1(jnp.exp(logs[0]))},
            constraints={"output/kernel": jr.MaxNorm(jnp.exp(logs[1]))},
            learning_rate=0.02,
        )
        return fit(problem(40, np.float64), recipe, jax.random.key(0))["validation_loss"].values[-1]

    logs, step = np.log([3e-2, 0.8]), 1e-5
    with jax.enable_x64(True):
        law = jax.jit(jax.vmap(loss))
        ends = law(jnp.concatenate([logs + step * jnp.eye(2), logs - step * jnp.eye(2)]))
        slope = jax.jit(lambda s: forward(loss, s))(jnp.asarray(logs))[1]
    wanted = (np.asarray(ends)[:2] - np.asarray(ends)[2:]) / (2 * step)
    assert np.min(np.abs(wanted)) > 1e-3
    np.testing.assert_allclose(slope, wanted, rtol=1e-3)


def test_its_memory_does_not_grow_with_the_number_of_steps():
    def scratch(epochs):
        law = jax.jit(lambda s: forward(partial(last_loss, problem(epochs)), s))
        return law.lower(jnp.zeros(2)).compile().memory_analysis().temp_size_in_bytes

    assert scratch(50) == scratch(5000) > 0


def ridge(logs):
    """(weights, validation loss) of half the mean of the squares + exp(s_j) w_j² for each weight."""
    weights = np.linalg.solve(X.T @ X / 40 + 2 * np.diag(np.exp(logs)), X.T @ Y / 40)
    return weights, np.mean((XV @ weights - YV) ** 2) / 2


@pytest.mark.parametrize("solve", [conjugate_gradients(), neumann(0.3, 400)], ids=["conjugate gradients", "Neumann"])
def test_implicitly_it_is_the_slope_of_the_closed_form(solve):
    def train_loss(w, logs):
        return jnp.mean((X @ w - Y) ** 2) / 2 + jnp.sum(jnp.exp(logs) * w**2)

    logs, step = np.log([0.1, 0.01, 0.3, 0.05, 0.2]), 1e-5
    wanted = [(ridge(logs + step * e)[1] - ridge(logs - step * e)[1]) / (2 * step) for e in np.eye(5)]
    with jax.enable_x64(True):
        law = jax.jit(lambda w, s: implicit(train_loss, lambda w: jnp.mean((XV @ w - YV) ** 2) / 2, w, s, solve))
        np.testing.assert_allclose(law(ridge(logs)[0], logs), wanted, rtol=1e-4, atol=1e-8)


def test_tuned_strengths_are_those_that_minimise_the_validation_loss():
    def loss(s):
        eye = jnp.eye(5) * jnp.exp(s)
        weights = jnp.linalg.solve(X.T @ X / 40 + 2 * eye, X.T @ Y / 40)
        return jnp.mean((XV @ weights - YV) ** 2) / 2

    grid = np.linspace(-8, 3, 2000)
    losses = np.array([ridge(np.full(5, s))[1] for s in grid])
    starts = jnp.array([-6.0, 2.0])
    found = jax.jit(jax.vmap(lambda s: tune(loss, s, steps=40, optimizer=optax.adam(0.5, b1=0.5, b2=0.9))))(starts)
    np.testing.assert_allclose(found.loss, losses.min(), rtol=1e-3)
    np.testing.assert_array_equal(found.loss, np.min(found.losses, axis=1))
    assert found.path.shape == found.losses.shape == (2, 40)


def test_a_diverged_training_is_no_step_and_never_the_best():
    def loss(s):
        return (s - 1) ** 2 + 0 * jnp.sqrt(s)  # not a number below 0, nor is its slope

    found = tune(loss, jnp.asarray(0.3), steps=5, optimizer=optax.sgd(1.6))
    path = [0.3, 0.3 + 1.6 * 1.4, 2.54 - 1.6 * 3.08]  # the last one diverged
    np.testing.assert_allclose(found.path, [*path, path[2], path[2]], rtol=1e-5)
    np.testing.assert_allclose(found.losses, [0.7**2, 1.54**2, np.nan, np.nan, np.nan], rtol=1e-5)
    np.testing.assert_allclose([found.logs, found.loss], [0.3, 0.49], rtol=1e-5)
    lost = tune(loss, jnp.asarray(-1.0), steps=3)
    np.testing.assert_array_equal(lost.path, -1.0)


def test_logarithms_may_be_whole_numbers_and_the_optimiser_is_shown_them():
    value, slope = forward(lambda s: s["a"] ** 2, {"a": 3})
    assert (value, slope["a"]) == (9, 6)
    halving = optax.chain(optax.add_decayed_weights(0.5), optax.sgd(1.0))
    np.testing.assert_array_equal(tune(lambda s: 0.0 * s, 1, 3, halving).path, [1, 0.5, 0.25])


def test_solvers_stop_where_they_are_told_to():
    curvature, b = jnp.array([1.0, 4.0]), jnp.array([2.0, 1.0])

    def solved(solve):
        return solve(lambda x: curvature * x, b)

    terms = [(1 - 0.2 * curvature) ** k * b for k in range(3)]
    np.testing.assert_allclose(solved(neumann(0.2, terms=3)), 0.2 * sum(terms), rtol=1e-6)
    downhill = jnp.vdot(b, b) / jnp.vdot(b, curvature * b) * b  # the first step goes to the minimum along b
    np.testing.assert_allclose(solved(conjugate_gradients(steps=1)), downhill, rtol=1e-6)
    np.testing.assert_allclose(solved(conjugate_gradients(steps=2)), b / curvature, rtol=1e-5)
    residual = float(jnp.linalg.norm(curvature * downhill - b) / jnp.linalg.norm(b))
    np.testing.assert_allclose(solved(conjugate_gradients(tolerance=1.01 * residual)), downhill, rtol=1e-6)
