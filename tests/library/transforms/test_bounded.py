"""Bounds kept by a multiplier: KKT conditions on a convex problem, each way to set the bound, the published formula."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr

RNG = np.random.default_rng(3)
X = RNG.normal(size=(50, 6))
Y = X @ np.array([2.0, -1.0, 0.5, 0.0, 1.0, -2.0]) + 0.2 * RNG.normal(size=50)
GRAM, MOMENT = X.T @ X / 50, X.T @ Y / 50
FREE = np.linalg.solve(GRAM, MOMENT)
RATE = 2e-4  # the weights end under the bound by a share of 4 · RATE · multiplier


def ends(bound, steps=100_000):
    """(weights, multiplier of the loss) after gradient descent on half the mean of the squares, Σw² bounded."""
    tx = optax.chain(optax.sgd(RATE), jr.bounded(jr.L2(1.0), bound, rate=2e-5))
    start = {"kernel": jnp.full((6, 1), 0.3)}

    def step(carry, _):
        params, state = carry
        slope = {"kernel": jnp.asarray(GRAM) @ params["kernel"] - jnp.asarray(MOMENT)[:, None]}
        updates, state = tx.update(slope, state, params)
        return (optax.apply_updates(params, updates), state), None

    params, state = jax.lax.scan(step, (start, tx.init(start)), None, length=steps)[0]
    known = state[1].leaves["kernel"]
    return params["kernel"][:, 0], known.multiplier / RATE, known.bound


def with_square(limit):
    """(weights, multiplier) where Σw² is `limit`, by halving the multiplier of (gram + 2ν) w = moment."""
    low, high = 0.0, 1e3
    for _ in range(100):
        middle = (low + high) / 2
        w = np.linalg.solve(GRAM + 2 * middle * np.eye(6), MOMENT)
        low, high = (middle, high) if np.sum(w**2) > limit else (low, middle)
    return w, middle


def test_it_holds_the_bound_with_the_kkt_multiplier():
    squares = np.array([0.1, 0.5, 0.9]) * np.sum(FREE**2)
    found, multipliers, _ = jax.jit(jax.vmap(lambda limit: ends(jr.FixedBound(limit))))(jnp.asarray(squares))
    for limit, w, multiplier in zip(squares, found, multipliers, strict=True):
        wanted, exact = with_square(limit)
        np.testing.assert_allclose(np.sum(w**2), limit, rtol=0.01)
        np.testing.assert_allclose(w, wanted, atol=2e-3)
        np.testing.assert_allclose(multiplier, exact, rtol=0.01)


def test_a_bound_with_room_changes_nothing_and_a_share_of_the_start_is_one():
    law = jax.jit(lambda factor: ends(jr.InitialBound(factor)))
    start = 6 * 0.3**2
    assert jr.InitialBound().start(start)[0] == pytest.approx(start)
    w, multiplier, bound = law(100.0)
    np.testing.assert_allclose(w, FREE, atol=1e-3)
    assert multiplier == 0
    w, multiplier, bound = law(0.5)
    np.testing.assert_allclose(bound, start / 2, rtol=1e-6)
    np.testing.assert_allclose(np.sum(w**2), start / 2, rtol=0.01)


def test_a_warm_bound_is_the_penalty_after_so_many_updates():
    plain, path = np.full(6, 0.3), []
    for _ in range(2000):
        plain = plain - RATE * (GRAM @ plain - MOMENT)
        path.append(np.sum(plain**2))
    found, _, bounds = jax.jit(jax.vmap(lambda after: ends(jr.WarmBound(after))))(jnp.array([1, 2000]))
    np.testing.assert_allclose(bounds, [path[0], path[1999]], rtol=1e-4)
    np.testing.assert_allclose(np.sum(np.square(found), axis=1), bounds, rtol=0.01)


def test_an_inflection_is_found_where_the_mean_first_grows_by_less():
    # It grows faster and faster up to the 20th value, and more and more slowly from there on.
    values = np.r_[np.arange(21) ** 2.0, 400 + np.sqrt(np.arange(1, 41))]
    seen = values[2::3]
    means = [seen[0]]
    for value in seen[1:]:
        means.append(0.5 * means[-1] + 0.5 * value)
    slower = np.flatnonzero(np.diff(means, 2) < 0)
    wanted = seen[slower[0] + 2]
    assert wanted > 400

    @jax.jit
    def bound(values):
        rule = jr.InflectionBound(every=3, memory=0.5)
        steps = jnp.arange(1, len(values) + 1)
        return jax.lax.scan(lambda c, sv: (rule.later(*c, sv[1], sv[0]), 0), rule.start(values[0]), (steps, values))[0]

    np.testing.assert_allclose(bound(jnp.asarray(values, jnp.float32))[0], wanted, rtol=1e-6)
    # The third value is the first that grew by less than the one before; only the fourth is looked at.
    np.testing.assert_allclose(bound(jnp.repeat(jnp.array([0.0, 5.0, 6.0, 6.5, 9.0]), 3))[0], 6.5, rtol=1e-6)
    assert np.isinf(bound(jnp.full(len(values), 2.0))[0])


def test_behind_adam_each_step_is_the_published_formula():
    rate, follow = 0.05, 0.7
    tx = optax.chain(optax.adam(rate), jr.bounded({"kernel": jr.L2(1.0)}, jr.FixedBound(2.0), follow))
    params = {"kernel": jnp.asarray(RNG.normal(size=(4, 2)), jnp.float32), "bias": jnp.ones(2)}
    state, w, m, v, multiplier = tx.init(params), np.asarray(params["kernel"], float), 0.0, 0.0, 0.0
    update = jax.jit(tx.update)
    for t in range(1, 9):
        g = RNG.normal(size=(4, 2))
        updates, state = update({"kernel": jnp.asarray(g, jnp.float32), "bias": jnp.zeros(2)}, state, params)
        params = optax.apply_updates(params, updates)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        w = w - rate * m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        multiplier = max(0.0, multiplier + follow / 8 * (np.sum(w**2) - 2.0))
        w = w - multiplier * 2 * w
        np.testing.assert_allclose(params["kernel"], w, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(state[1].leaves["kernel"].multiplier, multiplier, rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(params["bias"], 1)


def test_leaves_without_weights_are_under_every_bound():
    params, tx = {"kernel": jnp.ones((0, 3))}, jr.bounded(jr.L2(1.0), jr.FixedBound(1.0))
    updates, state = tx.update(params, tx.init(params), params)
    assert updates["kernel"].shape == (0, 3)
    assert state.leaves["kernel"].multiplier == 0


def test_bad_use_is_refused_in_words():
    with pytest.raises(ValueError, match="FixedBound: value is -1; expected a number of at least 0"):
        jr.FixedBound(-1.0)
    with pytest.raises(ValueError, match="InitialBound: factor is -1; expected a number of at least 0"):
        jr.InitialBound(-1.0)
    with pytest.raises(ValueError, match="WarmBound: steps is 0; expected a number of at least 1"):
        jr.WarmBound(0)
    with pytest.raises(ValueError, match="InflectionBound: memory is 2"):
        jr.InflectionBound(memory=2.0)
    with pytest.raises(ValueError, match="memory is 1; expected a number of at least 0 and under 1"):
        jr.InflectionBound(memory=1.0)
    with pytest.raises(ValueError, match=r"steps is 2\.5; expected a whole number of at least 1"):
        jr.WarmBound(2.5)
    with pytest.raises(ValueError, match=r"every is 1\.5; expected a whole number of at least 1"):
        jr.InflectionBound(every=np.array(1.5))
    with pytest.raises(TypeError, match=r"bound is 4\.0; expected FixedBound\(value\), InitialBound"):
        jr.bounded(jr.L2(1.0), 4.0)
    with pytest.raises(TypeError, match=r"bound is the class InitialBound; expected an instance. Write InitialB"):
        jr.bounded(jr.L2(1.0), jr.InitialBound)
    tx = jr.bounded(jr.L2(1.0), jr.WarmBound(5))
    with pytest.raises(ValueError, match="got no params"):
        tx.update({"kernel": jnp.ones((2, 2))}, tx.init({"kernel": jnp.ones((2, 2))}))
