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


@pytest.mark.parametrize("inputs", [1, 3, 100])
def test_a_direction_without_a_tangent_part_moves_nothing(inputs):
    """A unit of one weight has no direction to turn to; of more weights, rounding errors are none."""
    weights = np.random.default_rng(0).normal(size=(inputs, 5))
    params = {"kernel": jnp.asarray(weights / np.linalg.norm(weights, axis=0), jnp.float32)}
    tx = jr.hyperball(jr.UnitNorm(), 0.3, tangent=True)
    for scale in (-3.0, 1e-3, 7.0):
        updates, _ = tx.update({"kernel": scale * params["kernel"]}, tx.init(params), params)
        np.testing.assert_allclose(updates["kernel"], 0, atol=2e-7)
    if inputs > 1:
        turned = {"kernel": params["kernel"] + 1e-3 * jnp.roll(params["kernel"], 1, axis=0)}
        updates, _ = tx.update(turned, tx.init(params), params)
        np.testing.assert_allclose(np.linalg.norm(updates["kernel"], axis=0), 2 * np.sin(np.arctan(0.3) / 2), rtol=1e-4)
    lost = tx.update({"kernel": params["kernel"].at[0, 0].set(jnp.nan)}, tx.init(params), params)[0]["kernel"]
    assert np.isnan(lost[:, 0]).all()
    assert np.isfinite(lost[:, 1:]).all()


@pytest.mark.parametrize("rule", [jr.FrobeniusSphere(1.0), jr.SpectralSphere(1.0), jr.TreeNorm(1.0)])
def test_a_whole_matrix_or_tree_without_a_tangent_part_stays(rule):
    draws = np.random.default_rng(1).normal(size=(2, 8, 6))
    params = jr.projected(
        {name: {"kernel": jnp.asarray(w, jnp.float32)} for name, w in zip("ab", draws, strict=True)}, rule
    )
    radial = params
    if isinstance(rule, jr.SpectralSphere):  # its normal is that of the largest singular value
        u, _, v = np.linalg.svd(np.stack([params[name]["kernel"] for name in "ab"]))
        radial = {n: {"kernel": jnp.asarray(np.outer(u[i, :, 0], v[i, 0]), jnp.float32)} for i, n in enumerate("ab")}
    tx = jr.steepest(rule, tangent=True)
    for scale in (3.0, -0.7):
        updates = tx.update(jax.tree.map(lambda g, s=scale: s * g, radial), tx.init(params), params)[0]
        chex.assert_trees_all_equal(updates, jax.tree.map(jnp.zeros_like, params))
    other = jax.tree.map(lambda g: jnp.roll(g, 1, axis=0), radial)
    updates = tx.update(other, tx.init(params), params)[0]
    assert all(jnp.linalg.norm(u) > 0.1 for u in jax.tree.leaves(updates))


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
    with pytest.raises(TypeError, match="acts on single weights"):
        jr.tangent(jr.Box(-1.0, 1.0)).update(given, bias.init(params), params)


HEADS = {"query": {"kernel": jnp.asarray(RNG.normal(size=(5, 6)), jnp.float32)}}  # two heads of three


def of_heads(tree):
    return np.asarray(tree["query"]["kernel"], float).reshape(5, 2, 3)


@pytest.mark.parametrize(
    ("fused", "dtype"), [(False, jnp.float32), (True, jnp.float32), (True, jnp.bfloat16), (True, jnp.float16)]
)
def test_each_head_keeps_its_norm_and_turns_by_its_own_tangent(fused, dtype):
    params = jax.tree.map(lambda w: (w if fused else w.reshape(5, 2, 3)).astype(dtype), HEADS)
    given = jax.tree.map(lambda w: jnp.asarray(RNG.normal(size=w.shape), dtype), params)
    rules = jr.initial_spheres(params, axis=(0, 2), shape=(-1, 2, 3) if fused else None)
    assert jr.feasible(params, rules, tolerance=1e-6)
    chained = optax.chain(jr.tangent(rules), jr.hyperball(rules, 0.1))

    @jax.jit
    def step(given):
        along = jr.tangent(rules).update(given, jr.tangent(rules).init(params), params)[0]
        updates = chained.update(given, chained.init(params), params)[0]
        return along, optax.apply_updates(params, updates), jr.violation(params, {"query/kernel": sphere})

    sphere = jr.UnitNorm(axis=(0, 2))
    sphere = jr.Reshaped(sphere, (-1, 2, 3)) if fused else sphere
    along, ended, worst = step(given)
    w, u = of_heads(params), of_heads(given)
    sizes = np.linalg.norm(w, axis=(0, 2), keepdims=True)
    part = u - np.sum(w * u, (0, 2), keepdims=True) / sizes**2 * w
    there = w - 0.1 * sizes * part / np.linalg.norm(part, axis=(0, 2), keepdims=True)
    there *= sizes / np.linalg.norm(there, axis=(0, 2), keepdims=True)
    within = 8 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(of_heads(along), part, atol=within)
    np.testing.assert_allclose(of_heads(ended), there, atol=within)
    np.testing.assert_allclose(worst, np.max(np.abs(sizes - 1)), rtol=within)


def test_a_rule_in_another_shape_is_a_penalty_too_and_sees_all_its_weights():
    lasso = jr.Reshaped(jr.GroupLasso(0.5, axis=(0, 2)), (5, 2, 3))
    expected = 0.5 * np.sqrt(15) * np.linalg.norm(of_heads(HEADS), axis=(0, 2)).sum()
    np.testing.assert_allclose(jr.penalty(HEADS, {"query/kernel": lasso}), expected, rtol=1e-6)
    np.testing.assert_allclose(lasso.prox(HEADS["query"]["kernel"], 99.0), 0)
    for shape, words in [
        ((4, -1), "expected lengths whose product is 30"),
        ((-1, -1), "one of which may be -1"),
        (5, "a tuple of positive lengths"),
    ]:
        with pytest.raises(ValueError, match=words):
            jr.Reshaped(jr.UnitNorm(), shape)(jnp.ones((5, 6)))
    with pytest.raises(ValueError, match="pass axis="):
        jr.initial_spheres(HEADS, shape=(5, 2, 3))


def test_the_tangent_of_a_stiefel_manifold_is_the_derivative_of_the_polar_factor():
    def polar(w):
        u, _, vt = np.linalg.svd(w, full_matrices=False)
        return u @ vt

    for shape in ((5, 3), (3, 5)):
        stack = np.stack([polar(w) for w in RNG.normal(size=(2, *shape))])
        moves, h = RNG.normal(size=stack.shape), 1e-5
        expected = [(polar(w + h * u) - polar(w - h * u)) / (2 * h) for w, u in zip(stack, moves, strict=True)]
        params, given = (
            {"layers": {"kernel": jnp.asarray(a, jnp.float32), "bias": jnp.zeros((2, shape[1]))}}
            for a in (stack, moves)
        )
        tx = jr.tangent(jr.Orthonormal())
        found = tx.update(given, tx.init(params), params)[0]["layers"]["kernel"]
        np.testing.assert_allclose(found, expected, atol=1e-5)
        inner = np.swapaxes(stack, 1, 2) @ np.asarray(found) if shape[0] > 3 else stack @ np.swapaxes(found, 1, 2)
        np.testing.assert_allclose(inner, -np.swapaxes(inner, 1, 2), atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_a_radial_brake_slows_norms_that_grow_for_every_share_at_once(dtype):
    params = {"layers": {"kernel": jnp.asarray(RNG.normal(size=(3, 4, 2)), dtype), "bias": jnp.zeros((3, 2), dtype)}}
    w, shares = np.asarray(params["layers"]["kernel"], float), jnp.array([0.0, 0.25, 1.0])
    rest = jnp.asarray([1.0, -0.5, 0.0], dtype)[:, None, None]  # layers whose norm grows, falls and stays
    given = jax.tree.map(lambda w: w * rest.reshape(-1, *[1] * (w.ndim - 1)), params)

    def ended(share):
        tx = jr.radial_brake(jr.FrobeniusSphere(1.0), share)
        return optax.apply_updates(params, tx.update(given, tx.init(params), params)[0])["layers"]["kernel"]

    for share, found in zip(shares, jax.jit(jax.vmap(ended))(shares), strict=True):
        expected = w * np.array([1 + share, 0.5, 1])[:, None, None]
        np.testing.assert_allclose(np.asarray(found, float), expected, rtol=2 * float(jnp.finfo(dtype).eps))
    with pytest.raises(ValueError, match="outward is 2; expected a number of at least 0 and at most 1"):
        jr.radial_brake(jr.UnitNorm(), 2.0)


def test_a_relative_update_has_the_norm_of_each_layer_unit_or_head_or_of_all_together():
    params = {"layers": {"kernel": jnp.asarray(RNG.normal(size=(2, 4, 6)), jnp.float32), "bias": jnp.ones((2, 6))}}
    given = jax.tree.map(lambda w: jnp.asarray(1e-30 * RNG.normal(size=w.shape), jnp.float32), params)
    w, u = (np.asarray(tree["layers"]["kernel"], float) for tree in (params, given))
    heads = jr.Reshaped(jr.UnitNorm(axis=(1, 3)), (2, 4, 2, 3))
    groups = {  # rules, the shape in which the groups are, and their axes
        "layers": (jr.FrobeniusSphere(1.0), (2, 4, 6), (1, 2)),
        "units": (jr.UnitNorm(), (2, 4, 6), (1,)),
        "heads": ({"layers/kernel": heads}, (2, 4, 2, 3), (1, 3)),
        "together": ({jr.KERNELS: jr.TreeNorm(1.0)}, (2, 4, 6), (0, 1, 2)),
    }
    for name, (rules, shape, axes) in groups.items():
        tx = jr.relative_update(rules)
        found = tx.update(given, tx.init(params), params)[0]["layers"]
        sizes, lengths = (np.sqrt(np.sum(x.reshape(shape) ** 2, axes, keepdims=True)) for x in (w, u))
        expected = (u.reshape(shape) / lengths * sizes).reshape(w.shape)
        np.testing.assert_allclose(found["kernel"], expected, rtol=1e-5, err_msg=name)
        np.testing.assert_array_equal(found["bias"], given["layers"]["bias"])
    tx, none = jr.relative_update({"layers/kernel": jr.UnitNorm()}), jax.tree.map(jnp.zeros_like, params)
    for weights, updates in ((params, none), (none, given)):  # a zero has no direction, or gives no size
        found = tx.update(updates, tx.init(weights), weights)[0]["layers"]["kernel"]
        np.testing.assert_array_equal(found, updates["layers"]["kernel"])
    with pytest.raises(TypeError, match=r"relative_update: the rule .* acts on single weights"):
        jr.relative_update(jr.Box(-1.0, 1.0)).update(given, tx.init(params), params)


def test_a_relative_update_with_nan_is_nan_in_its_own_group_alone():
    params, steps = {"kernel": jnp.ones((3, 2))}, {"kernel": jnp.array([[jnp.nan, 3.0], [1000.0, 0.0], [1.0, 4.0]])}
    tx = jr.relative_update(jr.UnitNorm())
    got = tx.update(steps, tx.init(params), params)[0]["kernel"]
    np.testing.assert_allclose(got, np.array([[np.nan, 0.6], [np.nan, 0.0], [np.nan, 0.8]]) * 3**0.5, rtol=1e-6)
