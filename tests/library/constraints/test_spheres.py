"""The norm of whole arrays and of trees."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr


def total(tree):
    return np.sqrt(sum(np.sum(np.square(np.asarray(leaf, np.float64))) for leaf in jax.tree.leaves(tree)))


def tree(scale, dtype=jnp.float32):
    rng = np.random.default_rng(0)
    return {"a": jnp.asarray(scale * rng.normal(size=(5, 3)), dtype), "b": [jnp.asarray(scale * rng.normal(size=4))]}


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_the_norm_of_a_tree_is_that_of_all_its_weights(scale):
    np.testing.assert_allclose(jr.tree_norm(tree(scale)), total(tree(scale)), rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_a_tree_goes_to_its_sphere_along_its_own_direction(dtype):
    before = tree(3.0, dtype)
    after = jr.TreeNorm(2.0)(before)
    assert [leaf.dtype for leaf in jax.tree.leaves(after)] == [leaf.dtype for leaf in jax.tree.leaves(before)]
    precision = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(total(after), 2.0, rtol=2 * precision)
    for end, start in zip(jax.tree.leaves(after), jax.tree.leaves(before), strict=True):
        expected = np.asarray(start, np.float64) * 2 / total(before)
        np.testing.assert_allclose(np.asarray(end, np.float64), expected, rtol=2 * precision)
    for again, end in zip(jax.tree.leaves(jr.TreeNorm(2.0)(after)), jax.tree.leaves(after), strict=True):
        np.testing.assert_array_equal(again, end)


def test_a_tree_of_zeros_becomes_even_and_has_finite_gradients_at_any_scale():
    after = jr.TreeNorm(3.0)({"a": jnp.zeros((2, 3)), "b": jnp.zeros(3)})
    np.testing.assert_allclose(after["a"], 1.0, rtol=1e-6)
    slope = jax.jit(jax.grad(lambda t: jr.TreeNorm(3.0)(t)["a"][0, 0]))
    for scale in (0.0, 1e-40, 1e-30, 1e30):
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slope(tree(scale))))


def test_a_radius_can_be_a_lane():
    radii = jnp.array([0.5, 2.0])
    after = jax.vmap(lambda r: jr.TreeNorm(r)(tree(1.0)))(radii)
    for i, radius in enumerate(radii):
        np.testing.assert_allclose(total(jax.tree.map(lambda leaf, i=i: leaf[i], after)), radius, rtol=1e-6)


@pytest.mark.parametrize(
    ("rule", "axes", "share"),
    [
        (jr.UnitNorm(), (0,), 1.0),
        (jr.MinMaxNorm(2.0, 2.0), (0,), 1.0),
        (jr.MinMaxNorm(2.0, 2.0, rate=0.25), (0,), 0.25),
        (jr.MinMaxNorm(0.1, 9.0), (0,), 0.0),
        (jr.FrobeniusSphere(3.0), (0, 1), 1.0),
        (lambda w: jr.TreeNorm(3.0)([w])[0], (0, 1), 1.0),
    ],
    ids=["unit", "limits that meet", "part of the way", "room", "matrix", "tree"],
)
def test_on_a_sphere_the_projection_moves_along_it(rule, axes, share):
    outer, w = np.random.default_rng(3).normal(size=(2, 6, 4)).astype(np.float32)
    for _ in range(200):
        w = np.asarray(rule(w))  # part of the way, many times
    np.testing.assert_array_equal(rule(w), w)
    slope = jax.grad(lambda w: jnp.sum(rule(w) * outer))(w)
    unit = w.astype(float) / np.linalg.norm(w.astype(float), axis=axes, keepdims=True)
    off = unit * np.sum(unit * outer, axes, keepdims=True)
    np.testing.assert_allclose(slope, outer - share * off, atol=1e-5)


def test_the_slope_on_a_sphere_by_its_radius_is_the_direction():
    w = np.array([[3.0], [4.0]], np.float32)
    for rule in (jr.FrobeniusSphere, lambda radius: jr.MinMaxNorm(radius, radius)):
        slope = jax.jacobian(lambda radius, rule=rule: rule(radius)(jnp.asarray(w)))(5.0)
        np.testing.assert_allclose(slope, w / 5, atol=1e-6)


@pytest.mark.parametrize(
    "rule",
    [jr.SumTo(1.0), jr.Simplex(1.0), jr.Intersection(jr.SumTo(1.0), jr.Box(-5.0, 5.0))],
    ids=["sum", "simplex", "sum in a box"],
)
def test_on_a_plane_the_projection_moves_along_it(rule):
    outer = np.random.default_rng(4).normal(size=(6, 4)).astype(np.float32)
    w = np.asarray(rule(np.random.default_rng(5).uniform(0.1, 0.3, size=(6, 4)).astype(np.float32)))
    np.testing.assert_array_equal(rule(w), w)
    assert np.all(w > 0)
    slope = jax.grad(lambda w: jnp.sum(rule(w) * outer))(w)
    np.testing.assert_allclose(slope, outer - outer.mean(0), atol=1e-5)


@pytest.mark.parametrize("fast", [False, True])
def test_on_orthonormal_matrices_the_projection_moves_along_them(fast):
    rng = np.random.default_rng(6)
    w = np.asarray(jr.Orthonormal()(jnp.asarray(rng.normal(size=(6, 3)), jnp.float32)))
    outer = rng.normal(size=(6, 3))
    slope = jax.grad(lambda w: jnp.sum(jr.Orthonormal(fast=fast)(w) * outer))(w)
    # The tangent at W are the Z with Wᵀ Z + Zᵀ W = 0 (Edelman, Arias and Smith, 1998).
    double = w.astype(float)
    even = double.T @ outer
    np.testing.assert_allclose(slope, outer - double @ (even + even.T) / 2, atol=3e-4)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_the_spectral_sphere_scales_each_layer_to_its_largest_singular_value(dtype):
    w = jnp.asarray(np.random.default_rng(6).normal(size=(3, 6, 4)) * np.array([0.1, 3, 0])[:, None, None], dtype)
    params = {"layers": {"kernel": w, "bias": jnp.zeros((3, 4), dtype)}}
    project = jax.jit(lambda params: jr.projected(params, jr.SpectralSphere(2.0)))
    ends = project(params)
    assert np.asarray(project(ends)["layers"]["kernel"]).tobytes() == np.asarray(ends["layers"]["kernel"]).tobytes()
    goal, within = 2 * (4 / 6) ** 0.5, 2 * float(jnp.finfo(dtype).eps)
    for before, after in zip(np.asarray(w, float)[:2], np.asarray(ends["layers"]["kernel"], float)[:2], strict=True):
        np.testing.assert_allclose(after, before * goal / np.linalg.norm(before, 2), rtol=within)
    np.testing.assert_allclose(np.asarray(ends["layers"]["kernel"], float)[2], goal / 24**0.5, rtol=within)


@pytest.mark.parametrize("tangent", [False, True])
def test_a_spectral_sphere_is_kept_and_its_loss_falls(tangent):
    keys = jax.random.split(jax.random.key(0), 3)
    params = {"kernel": jax.random.normal(keys[0], (4, 3)), "bias": jnp.zeros(3)}
    goal = 2 * jax.random.normal(keys[1], (4, 3))
    rules = {"kernel": jr.SpectralSphere(1.0)}
    params = jr.projected(params, rules)
    tx = optax.chain(optax.trace(0.9), jr.hyperball(rules, 0.01, tangent=tangent))

    def loss(params):
        return jnp.sum((params["kernel"] - goal) ** 2)

    @jax.jit
    def train(params):
        def step(_, carry):
            params, state = carry
            updates, state = tx.update(jax.grad(loss)(params), state, params)
            return optax.apply_updates(params, updates), state

        ended = jax.lax.fori_loop(0, 200, step, (params, tx.init(params)))[0]
        return ended, loss(params), loss(ended)

    ended, before, after = train(params)
    np.testing.assert_allclose(np.linalg.norm(ended["kernel"], 2), (3 / 4) ** 0.5, rtol=1e-5)
    assert after < 0.8 * before
