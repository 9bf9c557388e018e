"""Steps from linear minimisation oracles: what they are the same as, where they stay, where they lead."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.linear_model import Lasso

import jaxreg as jr

RNG = np.random.default_rng(4)
START = {"kernel": jnp.asarray(RNG.normal(size=(4, 3)), jnp.float32), "bias": jnp.ones(3)}
TARGET = {"kernel": jnp.asarray(3 * RNG.normal(size=(4, 3)), jnp.float32), "bias": jnp.zeros(3)}


def pull(params):
    return jax.tree.map(jnp.subtract, params, TARGET)


def walk(tx, steps=12, params=START, slope=pull):
    def step(carry, _):
        params, state = carry
        updates, state = tx.update(slope(params), state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    return jax.jit(lambda: jax.lax.scan(step, (params, tx.init(params)), None, length=steps)[1])()


def sign_descent():
    return optax.stateless(lambda updates, _: jax.tree.map(jnp.sign, updates))


def muon_direction():
    # U Vᵀ by its own definition, not by the library's: G (GᵀG)^(-1/2).
    def direct(g):
        values, vectors = jnp.linalg.eigh(g.T @ g)
        return g @ (vectors / jnp.sqrt(values)) @ vectors.T

    return optax.stateless(lambda updates, _: {**updates, "kernel": direct(updates["kernel"])})


@pytest.mark.parametrize("name", ["LinfBall", "SpectralNorm"])
def test_with_decay_built_in_it_is_sign_descent_and_muon_with_adamws_decay(name):
    decay, rate = 0.4, 0.2
    direction, ball = {
        "LinfBall": (sign_descent(), jr.LinfBall(1 / decay)),
        "SpectralNorm": (muon_direction(), jr.SpectralNorm(1 / decay)),
    }[name]
    link = jr.decay({"kernel": jr.L2(decay / 2)})
    decayed = walk(optax.chain(direction, link, optax.scale_by_learning_rate(rate)))
    found = walk(optax.chain(jr.conditional_gradient({"kernel": ball}), optax.scale_by_learning_rate(rate * decay)))
    np.testing.assert_allclose(found["kernel"], decayed["kernel"], rtol=2e-3, atol=2e-4)
    assert np.max(np.abs(found["kernel"][-1] - found["kernel"][0])) > 0.5


def test_from_inside_a_convex_set_no_step_leads_out():
    rules = {"kernel": jr.L1Ball(2.0), "bias": jr.LinfBall(0.5)}
    tx = optax.chain(optax.ema(0.9, debias=False), jr.conditional_gradient(rules), optax.scale_by_learning_rate(0.3))
    path = walk(tx, params={"kernel": jnp.zeros((4, 3)), "bias": jnp.full(3, 0.5)})
    sizes = np.abs(path["kernel"]).sum(axis=1)
    assert 1.5 < np.max(sizes) <= 2 + 1e-6
    assert np.max(np.abs(path["bias"])) <= 0.5 + 1e-7
    assert np.min(path["bias"]) < 0.2


def test_it_finds_the_lasso_in_its_ball():
    x = RNG.normal(size=(60, 8))
    y = x @ np.array([2.0, -1.0, 0, 0, 0, 0.5, 0, 0]) + 0.3 * RNG.normal(size=60)
    oracle = Lasso(alpha=0.3, fit_intercept=False, tol=1e-12).fit(x, y)
    ball = {"kernel": jr.L1Ball(float(np.abs(oracle.coef_).sum()))}
    a, b = jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)

    def loss(p):
        return jnp.mean((a @ p["kernel"][:, 0] - b) ** 2) / 2

    tx = optax.chain(jr.conditional_gradient(ball), optax.scale_by_learning_rate(lambda step: 2 / (step + 2)))
    end = walk(tx, 4000, {"kernel": jnp.zeros((8, 1))}, jax.grad(loss))["kernel"][-1]
    best = float(loss({"kernel": jnp.asarray(oracle.coef_[:, None], jnp.float32)}))
    assert best - 1e-6 <= float(loss({"kernel": end})) <= best + 2e-3  # after t steps within O(1/t)


def test_the_steepest_step_has_the_size_of_its_set_whatever_the_gradient():
    def step(rules, given):
        return jr.steepest(rules).update(given, jr.steepest(rules).init(START), START)[0]

    balls = jax.jit(lambda given: step({"kernel": jr.SpectralNorm(0.5), "bias": jr.LinfBall(0.1)}, given))
    for scale in (1e-6, 1.0, 1e6):
        updates = balls({path: scale * g for path, g in pull(START).items()})
        np.testing.assert_allclose(np.linalg.svd(updates["kernel"])[1], 0.5, rtol=1e-4)
        np.testing.assert_allclose(updates["bias"], 0.1, rtol=1e-6)
    # A weight whose own u is 0 moves with its matrix.
    part = balls({**pull(START), "kernel": pull(START)["kernel"].at[1, 2].set(0)})["kernel"]
    np.testing.assert_allclose(np.linalg.svd(part)[1], 0.5, rtol=1e-4)
    late = jr.steepest({"bias": jr.LinfBall(optax.linear_schedule(0.1, 0.3, 1))})
    state = late.init(START)
    for size in (0.1, 0.3):
        updates, state = late.update(START, state, START)
        np.testing.assert_allclose(updates["bias"], size, rtol=1e-6)
    spheres = jax.jit(lambda given: step({"kernel": jr.UnitNorm(), "bias": jr.FrobeniusSphere(1.0)}, given))
    still = spheres(jax.tree.map(jnp.zeros_like, START))
    np.testing.assert_array_equal(still["kernel"], 0)  # the sphere's own answer, all weights equal, is no descent
    np.testing.assert_array_equal(still["bias"], 0)


def test_a_norm_of_all_kernels_has_one_step_for_all():
    params = {"first": {"kernel": jnp.ones((2, 2))}, "second": {"kernel": jnp.full((1, 2), 5.0)}}
    given = {"first": {"kernel": jnp.array([[0.0, 3.0], [0.0, 0.0]])}, "second": {"kernel": jnp.array([[0.0, 4.0]])}}
    rules = {jr.KERNELS: jr.TreeNorm(10.0)}  # the farthest point is -10 u / 5, of all weights together
    for make, wanted in ((jr.steepest, lambda w, u: 2 * u), (jr.conditional_gradient, lambda w, u: w + 2 * u)):
        found = make(rules).update(given, make(rules).init(params), params)[0]
        chex.assert_trees_all_close(found, jax.tree.map(wanted, params, given), rtol=1e-6)


def test_hyperball_is_its_formula_and_keeps_the_norm():
    rules, rate = jr.initial_spheres(START), 0.1
    path = walk(optax.chain(jr.hyperball(rules, rate)), slope=lambda p: {**pull(p), "bias": jnp.zeros(3)})["kernel"]
    w, size = np.asarray(START["kernel"], float), np.linalg.norm(START["kernel"])
    for found in path:
        u = w - np.asarray(TARGET["kernel"], float)
        w = w - rate * size * u / np.linalg.norm(u)
        w *= size / np.linalg.norm(w)
        np.testing.assert_allclose(found, w, atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(found), size, rtol=1e-6)


def test_initial_spheres_trace_and_take_a_share():
    def radius(share):
        (rule,) = jr.initial_spheres(START, share=share).values()
        return rule.radius

    np.testing.assert_allclose(jax.jit(radius)(0.5), np.linalg.norm(START["kernel"]) / 2, rtol=1e-6)
    alike = {"a.c": jnp.ones((3, 3), jnp.bfloat16), "abc": jnp.full((2, 2), 3.0)}
    rules = jr.initial_spheres(alike, ".*")  # names are no patterns, and norms have more digits than bfloat16
    assert jr.feasible(alike, rules, tolerance=1e-6)
    np.testing.assert_allclose([rule.radius for rule in rules.values()], [3, 6], rtol=1e-6)
    long = {"kernel": jnp.ones((1001, 1), jnp.bfloat16)}
    np.testing.assert_allclose(jr.initial_spheres(long)["kernel"].radius, 1001**0.5, rtol=1e-6)


@pytest.mark.parametrize("make", [jr.conditional_gradient, jr.steepest])
def test_a_set_without_an_oracle_is_refused_in_words(make):
    tx = make({"kernel": jr.NonNeg()})
    with pytest.raises(TypeError, match=r"NonNeg.*kernel has no method lmo; expected a constraint on a bounded set"):
        tx.update(START, tx.init(START), START)
    with pytest.raises(ValueError, match="got no params"):
        tx.update(START, tx.init(START))


def test_a_tangent_has_no_part_along_the_weights():
    params = {"layers": {"kernel": jnp.asarray(RNG.normal(size=(2, 4, 3)), jnp.float32), "bias": jnp.zeros((2, 3))}}
    given = jax.tree.map(lambda w: jnp.asarray(RNG.normal(size=w.shape), jnp.float32), params)
    w, u = (np.asarray(tree["layers"]["kernel"], float) for tree in (params, given))
    groups = {  # the weights of a layer, of a unit, and of all together
        (1, 2): jr.FrobeniusSphere(1.0),
        (1,): jr.UnitNorm(),
        (0, 1, 2): {jr.KERNELS: jr.TreeNorm(1.0)},
    }
    for axes, rules in groups.items():
        tx = jr.tangent(rules)
        found = tx.update(given, tx.init(params), params)[0]["layers"]
        along = np.sum(w * u, axes, keepdims=True) / np.sum(w * w, axes, keepdims=True)
        np.testing.assert_allclose(found["kernel"], u - along * w, atol=1e-5)
        np.testing.assert_array_equal(found["bias"], given["layers"]["bias"])
    bias = jr.tangent({"layers/bias": jr.FrobeniusSphere(1.0)})  # zeros have no direction
    np.testing.assert_array_equal(
        bias.update(given, bias.init(params), params)[0]["layers"]["bias"], given["layers"]["bias"]
    )
    with pytest.raises(TypeError, match="no groups of weights"):
        jr.tangent(jr.Box(-1.0, 1.0)).update(given, bias.init(params), params)
