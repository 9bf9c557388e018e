"""Searches on the lane axis: the lasso path of scikit-learn, halving and populations against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.linear_model import lasso_path

import jaxreg as jr
from jaxreg.lab.population import (
    closing_in,
    evaluated,
    population_training,
    successive_halving,
    warm_path,
    zeroing_strength,
)

RNG = np.random.default_rng(12)
X = RNG.normal(size=(60, 8))
Y = X @ np.array([2.0, -1.0, 0, 0, 0, 0.5, 0, 0]) + 0.3 * RNG.normal(size=60)


def test_a_warm_started_path_is_scikit_learns_from_the_strength_that_zeroes_everything():
    gradient = jnp.asarray(-X.T @ Y / 60)
    rate = 0.9 / np.linalg.eigvalsh(X.T @ X / 60)[-1]

    def advance(params, strength):
        tx = optax.chain(optax.sgd(rate), jr.proximal(jr.L1(strength), rate))

        def step(_, carry):
            params, state = carry
            slope = {"kernel": jnp.asarray(X.T) @ (jnp.asarray(X) @ params["kernel"] - jnp.asarray(Y)[:, None]) / 60}
            updates, state = tx.update(slope, state, params)
            return optax.apply_updates(params, updates), state

        return jax.lax.fori_loop(0, 100, step, (params, tx.init(params)))[0]

    @jax.jit
    def law():
        top = zeroing_strength(jr.L1(1.0), gradient)
        strengths = top * jnp.geomspace(1.00001, 0.01, 20)  # an ulp more, for the sums round
        return top, strengths, warm_path(advance, {"kernel": jnp.zeros((8, 1))}, strengths)["kernel"][:, :, 0]

    top, strengths, found = law()
    np.testing.assert_allclose(top, np.abs(X.T @ Y / 60).max(), rtol=1e-5)
    _, wanted, _ = lasso_path(X, Y, alphas=np.asarray(strengths, float), tol=1e-12)
    np.testing.assert_allclose(found.T, wanted, atol=2e-4)
    np.testing.assert_array_equal(found[0], 0)
    np.testing.assert_array_equal(np.asarray(found[1:]).T == 0, wanted[:, 1:] == 0)


def test_the_strength_that_zeroes_groups_is_the_largest_norm_of_one():
    gradient = RNG.normal(size=(6, 4))
    found = jax.jit(lambda g: zeroing_strength(jr.GroupLasso(1.0), g))(jnp.asarray(gradient, jnp.float32))
    np.testing.assert_allclose(found, np.linalg.norm(gradient, axis=0).max() / 6**0.5, rtol=1e-4)


def test_halving_keeps_the_best_of_each_rung():
    slopes = np.array([5.0, 1.0, np.nan, 3.0, 0.5, 4.0, 2.0, 6.0])

    def law(keep, rungs=3):
        return successive_halving(
            lambda w, s: w + s, lambda w: jnp.abs(w - 6), jnp.zeros(8), jnp.asarray(slopes), rungs, keep
        )

    # After one rung: |w - 6| of 5, 1, nan, 3, .5, 4, 2, 6 is least for 6, 5, 4, 3; after two, of 12, 10, 8, 6, for
    # 3 and 4; after three, of 9 and 12.
    found = law(0.5)
    np.testing.assert_array_equal(found.lanes, [3, 5])
    np.testing.assert_array_equal(found.losses, [3, 6])
    np.testing.assert_array_equal(found.state, [9, 12])
    assert (law(0.1).lanes.tolist(), law(0.1).losses.tolist()) == ([7], [12])  # one at least goes on
    np.testing.assert_array_equal(law(0.5, rungs=1).losses, [0, 1, 2, 3, 4, 5, 5.5, np.inf])
    with pytest.raises(ValueError, match="keep is 1; expected the share of runs to keep"):
        law(1)


def test_a_population_copies_the_best_over_the_worst_and_moves_the_strengths_of_copies_alone():
    logs = jnp.array([0.0, 1.0, 2.0, 3.0])
    one = population_training(
        lambda w, s: w + s, lambda w: -w, jnp.zeros(4), logs, jax.random.key(1), rounds=2, spread=1e-3
    )
    # After a round the best is 3, the worst 0: its lane goes on from the state of 3 with nearly its strength.
    assert sorted(map(round, np.asarray(one.state).tolist())) == [2, 4, 6, 6]
    assert sorted(np.asarray(one.lanes).tolist()) == [1, 2, 3, 3]
    assert set(np.asarray(logs).tolist()[1:]) <= set(np.asarray(one.strengths).tolist())
    copied = np.asarray(one.strengths)[np.asarray(one.lanes) == 3]
    assert len(set(copied.tolist())) == 2
    with pytest.raises(
        ValueError, match=r"share is 0\.9; expected the share of runs to replace, above 0 and at most 0\.5"
    ):
        population_training(lambda w, s: w, lambda w: w, jnp.zeros(4), logs, jax.random.key(0), 1, share=0.9)


def test_a_population_of_three_replaces_the_one_that_diverged_and_moves_all_of_its_strengths():
    logs = {"penalty": jnp.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])}
    found = population_training(
        lambda w, s: w + jnp.sum(s["penalty"]),
        lambda w: jnp.where(w == 9, -jnp.inf, -w),  # the sum of the last
        jnp.zeros(3),
        logs,
        jax.random.key(0),
        rounds=2,
        spread=1e-2,
    )
    assert sorted(found.lanes.tolist()) == [0, 1, 1]
    moves = np.sort(np.asarray(found.strengths["penalty"])[np.asarray(found.lanes) == 1] - logs["penalty"][1], axis=0)
    assert np.count_nonzero(moves) == 2
    assert np.ptp(moves[moves != 0]) > 0
    assert np.max(np.abs(moves)) < 0.05


def test_a_population_moves_otherwise_in_each_round():
    def best_and_other(rounds):
        def law(key):
            return population_training(lambda w, s: s, jnp.negative, jnp.zeros(2), jnp.zeros(2), key, rounds, 0.5)

        return np.sort(jax.vmap(law)(jax.random.split(jax.random.key(0), 20)).strengths, axis=1).T

    (_, first), (low, high) = best_and_other(2), best_and_other(3)
    rose = first > 0.1  # where the copy is the better one after its first move, it is copied and moved again
    assert 3 < np.sum(rose) < 20
    assert np.min(np.abs(high - low - first)[rose]) > 1e-3


def test_clouds_close_in_on_the_minimum_within_their_ends():
    goal = {"hidden": np.array([-1.7, 0.2]), "output": np.array(9.0)}

    def loss(logs):
        far = jnp.sum((logs["hidden"] - goal["hidden"]) ** 2) + (logs["output"] - goal["output"]) ** 2
        return jnp.where(logs["hidden"][0] > 0, jnp.nan, far)

    logs = {"hidden": jnp.array([[1.0, 0.0], [-4.0, -4.0], [-2.0, 3.0]]), "output": jnp.array([9.0, 0.0, -3.0])}
    met = evaluated(loss, logs, 3)
    np.testing.assert_array_equal(
        met.losses, [loss(jax.tree.map(lambda x, i=i: x[i], logs)) for i in (1, 2)] + [np.inf]
    )
    found = jax.jit(lambda met: closing_in(loss, met, jax.random.key(0), (2.0, 1.0, 0.5, 0.2, 0.1), 60, (-5.0, 2.0)))(
        met
    )
    # The output's goal lies beyond its end.
    np.testing.assert_allclose(found.logs["hidden"][0], goal["hidden"], atol=0.15)
    np.testing.assert_array_equal(found.logs["output"][0], 2.0)
    assert np.all(np.diff(found.losses) >= 0)
    np.testing.assert_allclose(found.losses, jax.vmap(loss)(found.logs), rtol=1e-6)
    # Each leaf moves for itself.
    alike = evaluated(lambda s: 0 * s["a"], {"a": jnp.zeros(1), "b": jnp.zeros(1)}, 1)
    apart = closing_in(lambda s: -jnp.abs(s["a"] - s["b"]), alike, jax.random.key(2), (1.0,), 9, (-5.0, 5.0))
    assert apart.losses[0] < -0.1
    wide = closing_in(loss, found, jax.random.key(1), (50.0,), 3, (-5.0, 2.0))
    np.testing.assert_array_equal(wide.losses[0], found.losses[0])
