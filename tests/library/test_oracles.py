"""Answers known from elsewhere: scikit-learn's solvers, closed forms, and what theory says of the optimisers."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression, Ridge

import jaxreg as jr

RNG = np.random.default_rng(11)
N, D = 80, 10
X = RNG.normal(size=(N, D)) @ (np.eye(D) + 0.3 * RNG.normal(size=(D, D)))
TRUTH = np.where(np.arange(D) < 4, RNG.normal(size=D) * 2, 0.0)
Y = X @ TRUTH + RNG.normal(size=N)
LABELS = np.where(RNG.random(N) < 1 / (1 + np.exp(-X @ TRUTH / 2)), 1.0, -1.0)


def squares(params: dict) -> jax.Array:
    """Half the mean squared error: scikit-learn's loss in Lasso and ElasticNet; that of Ridge is 2n times it."""
    return jnp.mean((X @ params["kernel"][:, 0] + params["bias"] - Y) ** 2) / 2


def logistic(params: dict) -> jax.Array:
    """The mean logistic loss; that of LogisticRegression is its sum, C times."""
    return jnp.mean(jnp.logaddexp(0.0, -LABELS * (X @ params["kernel"][:, 0] + params["bias"])))


def fitted(loss: Callable[[dict], jax.Array], make: Callable[[float], Any], steps: int) -> dict:
    """Weights after gradient descent in float64 with the step 1 / L of the smooth part."""
    with jax.enable_x64(True):
        curvature = np.linalg.eigvalsh(np.c_[X, np.ones(N)].T @ np.c_[X, np.ones(N)] / N)[-1]
        curvature *= 0.25 if loss is logistic else 1.0
        tx = make(0.9 / curvature)
        params = {"kernel": jnp.zeros((D, 1)), "bias": jnp.zeros(())}

        def step(carry, _):
            params, state = carry
            updates, state = tx.update(jax.grad(loss)(params), state, params)
            return (optax.apply_updates(params, updates), state), None

        ends = jax.jit(lambda: jax.lax.scan(step, (params, tx.init(params)), None, length=steps)[0][0])()
        return {"kernel": np.asarray(ends["kernel"][:, 0]), "bias": np.asarray(ends["bias"])}


def penalized(rule: Any) -> Callable[[float], optax.GradientTransformation]:
    # The penalty's own curvature, 2 · strength, is small beside the loss's here.
    return lambda rate: optax.chain(jr.penalize({"kernel": rule}), optax.sgd(rate))


def penalized_falling(rule: Any) -> Callable[[float], optax.GradientTransformation]:
    # Over a kink, gradient steps come as near as they are long.
    return lambda rate: penalized(rule)(optax.exponential_decay(rate, 3000, 0.5))


def proximal(rule: Any) -> Callable[[float], optax.GradientTransformation]:
    return lambda rate: optax.chain(optax.sgd(rate), jr.proximal({"kernel": rule}, rate))


def within(rule: Any) -> Callable[[float], optax.GradientTransformation]:
    return lambda rate: optax.chain(optax.sgd(rate), jr.project({"kernel": rule}))


def decayed(rule: Any) -> Callable[[float], optax.GradientTransformation]:
    return lambda rate: optax.chain(jr.decay({"kernel": rule}), optax.scale_by_learning_rate(rate))


A, RATIO, C = 0.2, 0.4, 0.2  # scikit-learn's alpha, l1_ratio and C
RIDGE = Ridge(alpha=A * N, tol=1e-12).fit(X, Y)  # its loss is a sum: alpha / n against half the mean is A/2 · Σw²
LASSO = Lasso(alpha=A, tol=1e-12, max_iter=100_000).fit(X, Y)
NET = ElasticNet(alpha=A, l1_ratio=RATIO, tol=1e-12, max_iter=100_000).fit(X, Y)
LOGISTIC_L2 = LogisticRegression(C=C, tol=1e-10, max_iter=10_000).fit(X, LABELS)
LOGISTIC_L1 = LogisticRegression(C=C, l1_ratio=1.0, solver="saga", tol=1e-10, max_iter=100_000).fit(X, LABELS)

TWO = jr.L2(A / 2)
NET_RULE = jr.L1L2(l1=A * RATIO, l2=A * (1 - RATIO) / 2)
RUNS = {
    "Ridge by penalty": (RIDGE, squares, penalized(TWO)),
    "Ridge by decay": (RIDGE, squares, decayed(TWO)),
    "Ridge by proximal steps": (RIDGE, squares, proximal(TWO)),
    "Ridge in its ball": (RIDGE, squares, within(jr.MaxNorm(float(np.linalg.norm(RIDGE.coef_))))),
    "Lasso by penalty": (LASSO, squares, penalized_falling(jr.L1(A))),
    "Lasso by proximal steps": (LASSO, squares, proximal(jr.L1(A))),
    "Lasso in its ball": (LASSO, squares, within(jr.L1Ball(float(np.abs(LASSO.coef_).sum())))),
    "ElasticNet by penalty": (NET, squares, penalized_falling(NET_RULE)),
    "ElasticNet by proximal steps": (NET, squares, proximal(NET_RULE)),
    "Logistic L2 by penalty": (LOGISTIC_L2, logistic, penalized(jr.L2(1 / (2 * C * N)))),
    "Logistic L2 by proximal steps": (LOGISTIC_L2, logistic, proximal(jr.L2(1 / (2 * C * N)))),
    "Logistic L2 in its ball": (LOGISTIC_L2, logistic, within(jr.MaxNorm(float(np.linalg.norm(LOGISTIC_L2.coef_))))),
    "Logistic L1 by penalty": (LOGISTIC_L1, logistic, penalized_falling(jr.L1(1 / (C * N)))),
    "Logistic L1 by proximal steps": (LOGISTIC_L1, logistic, proximal(jr.L1(1 / (C * N)))),
    "Logistic L1 in its ball": (LOGISTIC_L1, logistic, within(jr.L1Ball(float(np.abs(LOGISTIC_L1.coef_).sum())))),
}


@pytest.mark.parametrize("name", RUNS)
def test_weights_are_scikit_learns(name):
    oracle, loss, make = RUNS[name]
    found = fitted(loss, make, 40_000 if "by penalty" in name else 4000)
    coefficients = np.ravel(oracle.coef_)
    np.testing.assert_allclose(found["kernel"], coefficients, atol=1e-4 * np.linalg.norm(coefficients))
    np.testing.assert_allclose(found["bias"], np.ravel(oracle.intercept_)[0], atol=1e-4)
    if "proximal" in name:
        np.testing.assert_array_equal(found["kernel"] == 0, np.abs(coefficients) < 1e-7)
    free = fitted(loss, lambda rate: optax.sgd(rate), 4000)
    assert np.linalg.norm(free["kernel"] - coefficients) > 0.05  # the regularisation matters


def trained(tx: optax.GradientTransformation, params: Any, slope: Callable[[Any], Any], steps: int) -> Any:
    def step(carry, _):
        params, state = carry
        updates, state = tx.update(slope(params), state, params)
        return (optax.apply_updates(params, updates), state), params

    (end, _), path = jax.lax.scan(step, (params, tx.init(params)), None, length=steps)
    return end, path


@pytest.mark.parametrize("decay", [0.5, 2.0])
def test_adamw_under_a_constant_gradient_ends_at_minus_its_sign_over_the_decay(decay):
    params, gradient = {"kernel": jnp.zeros((2, 2))}, {"kernel": jnp.array([[3.0, -1e-3], [0.1, -40.0]])}
    link = jr.decay(jr.L2(decay / 2))
    tx = optax.chain(optax.scale_by_adam(), link, optax.scale_by_learning_rate(0.01))
    end, _ = trained(tx, params, lambda _: gradient, 3000)
    np.testing.assert_allclose(end["kernel"], -np.sign(gradient["kernel"]) / decay, rtol=1e-4)


def pull(params: dict) -> dict:
    return jax.grad(lambda p: jnp.sum(jnp.cosh(p["kernel"] - 1)) + jnp.sum(p["kernel"][0] * p["kernel"][1]))(params)


AWAY = {"kernel": jnp.array([[0.5, -1.0], [2.0, 0.3]])}


def test_for_gradient_descent_penalty_coupled_and_decoupled_decay_are_one():
    rate, strength = 0.05, 0.3
    paths = [
        trained(tx, AWAY, pull, 30)[1]["kernel"]
        for tx in (
            optax.chain(jr.penalize(jr.L2(strength)), optax.sgd(rate)),
            optax.chain(optax.add_decayed_weights(2 * strength), optax.sgd(rate)),
            optax.chain(optax.sgd(rate), optax.add_decayed_weights(-2 * strength * rate)),
            optax.chain(jr.decay(jr.L2(strength)), optax.scale_by_learning_rate(rate)),
        )
    ]
    for path in paths[1:]:
        np.testing.assert_allclose(path, paths[0], rtol=1e-5, atol=1e-6)


def test_for_adam_they_are_two():
    coupled = optax.chain(jr.penalize(jr.L2(0.3)), optax.adam(0.05))
    decoupled = optax.chain(optax.scale_by_adam(), jr.decay(jr.L2(0.3)), optax.scale_by_learning_rate(0.05))
    ends = [trained(tx, AWAY, pull, 200)[0]["kernel"] for tx in (coupled, decoupled)]
    assert np.max(np.abs(ends[0] - ends[1])) > 0.1


@pytest.mark.parametrize("coupled", [False, True], ids=["decoupled", "coupled"])
def test_a_larger_loss_moves_adam_with_coupled_decay_alone(coupled):
    adam = optax.scale_by_adam(eps=1e-30)
    links = (jr.penalize(jr.L2(0.3)), adam) if coupled else (adam, jr.decay(jr.L2(0.3)))
    tx = optax.chain(*links, optax.scale_by_learning_rate(0.05))
    once = trained(tx, AWAY, pull, 100)[1]["kernel"]
    hundredfold = trained(tx, AWAY, lambda p: jax.tree.map(lambda g: 100 * g, pull(p)), 100)[1]["kernel"]
    if coupled:
        assert np.max(np.abs(once - hundredfold)) > 0.05
    else:
        np.testing.assert_allclose(once, hundredfold, rtol=1e-4, atol=1e-5)


def ridge_problem(n: int, draws: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points in 500 dimensions, targets with noise 0.5, and true weights of length 1, one set a draw."""
    rng = np.random.default_rng(n)
    beta = rng.normal(size=(draws, 500))
    beta /= np.linalg.norm(beta, axis=1, keepdims=True)
    x = rng.normal(size=(draws, n, 500))
    return x, np.einsum("rnd,rd->rn", x, beta) + 0.5 * rng.normal(size=(draws, n)), beta


def closed_form(x: np.ndarray, y: np.ndarray, strength: float) -> np.ndarray:
    """The minimum of Σ(xw - y)² + strength · Σw², the shortest one if there are many."""
    n, d = x.shape
    if n < d:
        return x.T @ np.linalg.solve(x @ x.T + strength * np.eye(n), y)
    return np.linalg.solve(x.T @ x + strength * np.eye(d), x.T @ y)


def ridge_by_training(x: jax.Array, y: jax.Array, strength: jax.Array) -> jax.Array:
    largest = 2 * (sum(size**0.5 for size in x.shape) + 4) ** 2  # no curvature of the sum of squares is above it
    tx = optax.chain(jr.penalize(jr.L2(strength)), optax.sgd(1 / largest, momentum=0.9))
    slope = jax.grad(lambda p: jnp.sum((x @ p["kernel"][:, 0] - y) ** 2))
    return trained(tx, {"kernel": jnp.zeros((x.shape[1], 1))}, slope, 250)[0]["kernel"][:, 0]


@pytest.mark.parametrize("n", [250, 481, 750])
def test_the_best_ridge_is_dimension_times_noise_for_every_number_of_points(n):
    x, y, beta = ridge_problem(n, draws=4)
    strengths = 125 * np.array([0.25, 1.0, 4.0])
    over_strengths = jax.vmap(ridge_by_training, in_axes=(None, None, 0))
    found = jax.jit(jax.vmap(over_strengths, in_axes=(0, 0, None)))(*map(jnp.float32, (x, y, strengths)))
    wanted = [[closed_form(points, targets, s) for s in strengths] for points, targets in zip(x, y, strict=True)]
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    risks = np.mean(np.sum(np.square(found - beta[:, None, :]), axis=2), axis=0)
    assert np.argmin(risks) == 1
    if n == 481:
        np.testing.assert_allclose(risks[1], 0.40, atol=0.03)


def test_without_ridge_the_risk_has_its_peak_where_points_and_dimensions_meet():
    risks = {}
    for n in (250, 481, 750):
        x, y, beta = ridge_problem(n, draws=12)
        risks[n] = np.mean([np.sum((closed_form(*z[:2], 0.0) - z[2]) ** 2) for z in zip(x, y, beta, strict=True)])
    assert 5 < risks[481] < 8  # 6.4 to 6.7 over many draws
    assert max(risks[250], risks[750]) < 1.5
