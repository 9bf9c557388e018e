"""Proximal steps as transformations: exact zeros, Adam's metric, fixed points."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr

RNG = np.random.default_rng(5)
X, TRUTH = RNG.normal(size=(60, 12)) * np.geomspace(0.3, 3, 12), np.array([2.0, -1.5, 1.0] + [0.0] * 9)
Y = X @ TRUTH + 0.3 * RNG.normal(size=60)


def loss(params: dict) -> jax.Array:
    return jnp.mean((jnp.asarray(X, jnp.float32) @ params["kernel"][:, 0] - jnp.asarray(Y, jnp.float32)) ** 2) / 2


def end(tx: optax.GradientTransformation, steps: int) -> np.ndarray:
    params = {"kernel": jnp.zeros((12, 1))}

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, tx.init(params)), None, length=steps)[0][0]["kernel"][:, 0]


def soft(x: np.ndarray, t: np.ndarray | float) -> np.ndarray:
    return np.sign(x) * np.maximum(np.abs(x) - t, 0)


def lasso(strength: float) -> np.ndarray:
    """The minimum of loss + strength · Σ|w|, by coordinate descent in float64."""
    w, squares = np.zeros(12), np.mean(X**2, axis=0)
    for _ in range(2000):
        for j in range(12):
            rest = Y - X @ w + X[:, j] * w[j]
            w[j] = soft(np.mean(X[:, j] * rest), strength) / squares[j]
    return w


def test_behind_gradient_descent_the_lasso_with_its_exact_zeros():
    wanted = lasso(0.2)
    assert 3 <= np.sum(wanted == 0) <= 9
    found = end(optax.chain(optax.sgd(0.05), jr.proximal(jr.L1(0.2), 0.05)), 3000)
    np.testing.assert_allclose(found, wanted, atol=2e-4)
    np.testing.assert_array_equal(np.asarray(found) == 0, wanted == 0)
    plain = end(optax.chain(jr.penalize(jr.L1(0.2)), optax.sgd(0.05)), 3000)
    assert np.sum(np.asarray(plain) == 0) == 0  # what the gradient of the penalty never reaches


def test_in_adams_metric_the_lasso_with_its_exact_zeros():
    wanted, rate = lasso(0.2), optax.exponential_decay(0.05, 500, 0.5)
    found = end(jr.proximal_adam(jr.L1(0.2), rate), 5000)
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    np.testing.assert_array_equal(np.asarray(found) == 0, wanted == 0)
    # With the same step for every weight the minimum is another one.
    mixed = end(optax.chain(optax.adam(rate), jr.proximal(jr.L1(0.2), rate)), 5000)
    assert np.max(np.abs(mixed - wanted)) > 0.05


def test_in_adams_metric_groups_end_where_gradient_descent_does():
    rules, rate = {jr.KERNELS: jr.GroupLasso(0.05, axis=(0, 1))}, optax.exponential_decay(0.05, 500, 0.5)
    adam = end(jr.proximal_adam(rules, rate), 5000)
    np.testing.assert_allclose(adam, end(optax.chain(optax.sgd(0.05), jr.proximal(rules, 0.05)), 3000), atol=1e-3)
    strong = {jr.KERNELS: jr.GroupLasso(100.0, axis=(0, 1))}
    np.testing.assert_array_equal(end(jr.proximal_adam(strong, 0.05), 5), 0)


def test_the_step_of_each_weight_is_that_of_adam():
    params, b1, b2, eps = {"kernel": jnp.asarray(RNG.normal(size=(5, 3)), jnp.float32)}, 0.8, 0.95, 1e-3
    tx = jr.proximal_adam(jr.L1(0.4), lambda step: 0.1 / (1 + step), b1, b2, eps)
    state, w, m, v = tx.init(params), np.asarray(params["kernel"], np.float64), 0.0, 0.0
    for t in range(1, 6):
        g = RNG.normal(size=(5, 3))
        updates, state = tx.update({"kernel": jnp.asarray(g, jnp.float32)}, state, params)
        params = optax.apply_updates(params, updates)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        d = np.sqrt(v / (1 - b2**t)) + eps
        w = soft(w - 0.1 / t * m / (1 - b1**t) / d, 0.1 / t * 0.4 / d)
        np.testing.assert_allclose(params["kernel"], w, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(np.asarray(params["kernel"]) == 0, w == 0)


def test_without_a_penalty_it_is_adam():
    found = end(jr.proximal_adam(jr.L1(0.0), 0.05), 50)
    np.testing.assert_allclose(found, end(optax.adam(0.05), 50), rtol=1e-5, atol=1e-6)


def test_a_penalty_to_a_reference_ends_there_to_an_ulp():
    params = {"kernel": jnp.asarray(RNG.normal(size=(12, 1)), jnp.float32)}
    near, tx = {"kernel": params["kernel"] * 1.01}, jr.proximal(jr.to_reference(params, jr.L1(100.0)), 0.1)
    updates, _ = tx.update({"kernel": jnp.zeros((12, 1))}, tx.init(near), near)
    np.testing.assert_allclose(optax.apply_updates(near, updates)["kernel"], params["kernel"], rtol=2e-7)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=lambda d: d.__name__)
@pytest.mark.parametrize("adam", [False, True], ids=["plain", "in Adam's metric"])
def test_zeros_are_exact_in_narrow_dtypes(dtype, adam):
    params = {"kernel": jnp.asarray(RNG.normal(size=(20, 3)), dtype)}
    tx = jr.proximal_adam(jr.L1(0.5), 0.5) if adam else jr.proximal(jr.L1(0.5), 0.5)
    incoming = jnp.ones((20, 3), dtype) * (1 if adam else -0.5)  # both go down by a half
    updates, _ = tx.update({"kernel": incoming}, tx.init(params), params)
    moved = optax.apply_updates(params, updates)["kernel"]
    assert moved.dtype == dtype
    assert 0 < np.sum(np.asarray(moved, np.float32) == 0) < 60


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=lambda d: d.__name__)
def test_small_gradients_of_narrow_weights_are_steps_of_adam(dtype):
    # In float16, their squares and eps would be 0, and a step 0 / 0.
    w, g = jnp.full((1, 3), 0.5, dtype), jnp.asarray([[1e-4, -1e-5, 0.0]], dtype)
    tx = jr.proximal_adam({"w": jr.L1(0.0)}, 0.25)
    state = tx.init({"w": w})
    for _ in range(2):
        updates, state = tx.update({"w": g}, state, {"w": w})
    assert updates["w"].dtype == dtype
    expected = [[0.25, 0.75, 0.5]]
    np.testing.assert_allclose(np.asarray(w + updates["w"], float), expected, rtol=2 * float(jnp.finfo(dtype).eps))


@pytest.mark.parametrize("adam", [False, True], ids=["plain", "in Adam's metric"])
def test_skipped_steps_change_no_bit_and_missing_leaves_stay_missing(adam):
    inner = jr.proximal_adam(jr.L1(0.1), 0.1) if adam else optax.chain(optax.sgd(0.1), jr.proximal(jr.L1(0.1), 0.1))
    tx = optax.apply_if_finite(optax.MultiSteps(inner, 2).gradient_transformation(), 3)
    params = {"kernel": jnp.ones((3, 2)), "bias": None}
    state, ends = tx.init(params), []
    for value in (0.5, 0.5, jnp.nan, 0.5, 0.5):
        updates, state = tx.update({"kernel": jnp.full((3, 2), value), "bias": None}, state, params)
        params = optax.apply_updates(params, updates)
        ends.append(np.asarray(params["kernel"]).copy())
    assert [bool(np.all(a == b)) for a, b in zip([np.ones((3, 2)), *ends[:-1]], ends, strict=True)] == [
        True,
        False,
        True,
        True,
        False,
    ]
    assert params["bias"] is None


@pytest.mark.parametrize(
    "make", [lambda rules: jr.proximal(rules, 0.1), lambda rules: jr.proximal_adam(rules, 0.1)], ids=["plain", "adam"]
)
def test_bad_use_is_refused_in_words(make):
    params = {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}
    for rules in (jr.Orthogonal(0.1), jr.to_reference(params, jr.Orthogonal(0.1)), jnp.sum):
        with pytest.raises(TypeError, match="has no proximal step"):
            make(rules).update(params, make(rules).init(params), params)
    with pytest.raises(ValueError, match=r"'nowhere' matches no parameter.*bias, kernel"):
        make({"nowhere": jr.L1(0.1)}).init(params)
    with pytest.raises(ValueError, match="got no params"):
        make(jr.L1(0.1)).update(params, make(jr.L1(0.1)).init(params))
