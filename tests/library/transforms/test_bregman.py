"""Linearised Bregman iterations against the lasso path, basis pursuit, and their formula in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.optimize import linprog
from sklearn.linear_model import lasso_path

import jaxreg as jr

RNG = np.random.default_rng(8)


def weights(x, y, tx, steps):
    """The weights after each step, from 0, for half the mean of the squares."""

    def step(carry, _):
        params, state = carry
        slope = {"kernel": (x.T @ (x @ params["kernel"][:, 0] - y) / len(x))[:, None]}
        updates, state = tx.update(slope, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params["kernel"][:, 0]

    start = {"kernel": jnp.zeros((x.shape[1], 1))}
    return np.asarray(jax.jit(lambda: jax.lax.scan(step, (start, tx.init(start)), None, length=steps)[1])())


def test_weights_enter_where_they_enter_the_lasso_path():
    # With orthogonal columns the j-th enters the path at alpha = |x_jᵀy| / n, and the flow at time 1 / alpha.
    n, d, rate = 64, 6, 0.01
    x = np.linalg.qr(RNG.normal(size=(n, d)))[0] * n**0.5
    y = x @ np.array([3.0, -2.0, 1.4, -1.0, 0.7, 0.5]) + 0.05 * RNG.normal(size=n)
    alphas, path, _ = lasso_path(x, y, alphas=np.geomspace(4, 0.3, 400), tol=1e-12)
    enters = np.array([alphas[np.argmax(row != 0)] for row in path])
    found = weights(jnp.asarray(x), jnp.asarray(y), optax.chain(optax.sgd(rate), jr.bregman(jr.L1(1.0), 100.0)), 260)
    at = np.array([np.argmax(row != 0) + 1 for row in found.T])
    np.testing.assert_array_equal(np.argsort(at), np.argsort(-enters))
    np.testing.assert_allclose(1 / (rate * at), enters, rtol=0.03)
    # And unlike the lasso's they are not shrunk: at the end they are those of least squares, the path's end.
    np.testing.assert_allclose(found[-1], x.T @ y / n, atol=5e-3)
    np.testing.assert_allclose(found[-1], lasso_path(x, y, alphas=[1e-4], tol=1e-12)[1][:, 0], atol=5e-3)


def test_of_many_solutions_it_ends_at_the_lassos():
    n, d = 20, 40
    x = RNG.normal(size=(n, d))
    y = x @ np.r_[[2.0, -1.5, 1.0], np.zeros(d - 3)]
    pursuit = linprog(np.ones(2 * d), A_eq=np.c_[x, -x], b_eq=y, bounds=(0, None)).x  # min ‖w‖₁ with xw = y
    wanted = pursuit[:d] - pursuit[d:]
    np.testing.assert_allclose(lasso_path(x, y, alphas=[1e-3], max_iter=100_000, tol=1e-9)[1][:, 0], wanted, atol=5e-3)
    rate = 0.9 * n / np.linalg.norm(x, 2) ** 2 / 50.0
    for tx in (optax.sgd(rate), optax.chain(optax.sgd(rate, momentum=0.9))):
        found = weights(jnp.asarray(x), jnp.asarray(y), optax.chain(tx, jr.bregman(jr.L1(1.0), 50.0)), 8000)[-1]
        np.testing.assert_allclose(found, wanted, atol=5e-3)
        assert np.sum(found != 0) == 3


@pytest.mark.parametrize("adam", [False, True], ids=["LinBreg", "AdaBreg"])
def test_each_step_is_the_formula(adam):
    delta, rate, b1, b2, eps = 2.0, 0.1, 0.8, 0.95, 1e-8
    strength = lambda t: 0.3 + 0.05 * t  # noqa: E731
    optimizer = optax.adam(rate, b1, b2, eps) if adam else optax.sgd(rate)
    tx = optax.chain(optimizer, jr.bregman({"kernel": jr.L1(strength)}, delta))
    params = {"kernel": jnp.array([[1.0], [0.0], [-0.5]]), "bias": jnp.ones(1)}
    state, w, update = tx.init(params), np.array([1.0, 0.0, -0.5]), jax.jit(tx.update)
    dual, m, v = w / delta + strength(0) * np.sign(w), 0.0, 0.0
    for t in range(1, 7):
        g = RNG.normal(size=3)
        updates, state = update({"kernel": jnp.asarray(g[:, None], jnp.float32), "bias": jnp.ones(1)}, state, params)
        params = optax.apply_updates(params, updates)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        dual = dual - rate * (m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps) if adam else g)
        w = delta * np.sign(dual) * np.maximum(np.abs(dual) - strength(t - 1), 0)
        np.testing.assert_allclose(params["kernel"][:, 0], w, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(np.asarray(params["kernel"])[:, 0] == 0, w == 0)
    np.testing.assert_allclose(params["bias"], 1 - 0.6, rtol=1e-4)  # no rule: the optimiser's own steps


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_narrow_weights_have_wide_dual_ones_and_are_rounded_once(dtype):
    w, u = (jnp.asarray(RNG.normal(size=(300, 1)), dtype) for _ in range(2))
    tx = jr.bregman(jr.L1(0.5), 3.0)

    @jax.jit
    def end(w, u):
        params = {"kernel": w}
        return optax.apply_updates(params, tx.update({"kernel": u}, tx.init(params), params)[0])["kernel"]

    np.testing.assert_array_equal(end(w, 0 * u), w)
    left = np.sign(u) * np.maximum(np.abs(np.asarray(u, np.float32)) - 0.5, 0)
    np.testing.assert_array_equal(end(0 * w, u), jnp.asarray(3 * left, dtype))


def test_without_steps_nothing_moves_and_bad_use_is_refused():
    params = {"kernel": RNG.normal(size=(6, 4))}  # NumPy's, in float64
    tx = jr.bregman(jr.GroupLasso(0.5), 3.0)
    still = jax.tree.map(jnp.zeros_like, params)
    moved = optax.apply_updates(params, tx.update(still, tx.init(params), params)[0])
    np.testing.assert_allclose(moved["kernel"], params["kernel"], rtol=1e-5)
    with pytest.raises(TypeError, match="has no proximal step"):
        jr.bregman(jr.Orthogonal(1.0)).update(still, jr.bregman(jr.Orthogonal(1.0)).init(params), params)
    with pytest.raises(ValueError, match="got no params"):
        tx.update(still, tx.init(params))
