"""Linear minimisation oracles against the support function, found by brute force; the nuclear ball's own laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog, minimize_scalar

import jaxreg as jr

SHAPE = (5, 3)
RNG = np.random.default_rng(11)
DIRECTIONS = [RNG.normal(size=SHAPE) for _ in range(4)]


def singular(d):
    return np.linalg.svd(d, compute_uv=False)


# The largest inner product with a point of the set, from the definition of its norm's dual, or by trying its corners.
SUPPORT = {
    "Box": (jr.Box(-0.5, 2.0), lambda d: sum(max(-0.5 * x, 2.0 * x) for x in d.flat)),
    "LinfBall": (jr.LinfBall(0.7), lambda d: max_of_linear(d.ravel(), bounds=(-0.7, 0.7))),
    "MaxNorm": (jr.MaxNorm(2.0), lambda d: 2 * np.linalg.norm(d, axis=0).sum()),
    "MaxNorm over all": (jr.MaxNorm(2.0, axis=(0, 1)), lambda d: 2 * np.linalg.norm(d)),
    "MaxRMS": (jr.MaxRMS(2.0), lambda d: 2 * 5**0.5 * np.linalg.norm(d, axis=0).sum()),
    "MinMaxNorm": (jr.MinMaxNorm(0.5, 2.0), lambda d: 2 * np.linalg.norm(d, axis=0).sum()),
    "UnitNorm": (jr.UnitNorm(), lambda d: np.linalg.norm(d, axis=0).sum()),
    "L1Ball": (jr.L1Ball(1.5), lambda d: sum(l1_by_program(column, 1.5) for column in d.T)),
    "Simplex": (jr.Simplex(1.5), lambda d: sum(max_of_linear(c, total=1.5, bounds=(0, None)) for c in d.T)),
    "SpectralNorm": (jr.SpectralNorm(1.5), lambda d: 1.5 * singular(d).sum()),
    "SpectralNorm, fast": (jr.SpectralNorm(1.5, fast=True), lambda d: 1.5 * singular(d).sum()),
    "NuclearBall": (jr.NuclearBall(1.5), lambda d: 1.5 * singular(d)[0]),
    "Orthonormal": (jr.Orthonormal(), lambda d: singular(d).sum()),
    "FrobeniusSphere": (jr.FrobeniusSphere(2.0), lambda d: 2 * np.linalg.norm(d)),
}


def max_of_linear(d, bounds, total=None):
    equal = {} if total is None else {"A_eq": np.ones((1, d.size)), "b_eq": [total]}
    return -linprog(-d, bounds=bounds, **equal).fun


def l1_by_program(d, radius):
    both = np.concatenate([d, -d])
    return -linprog(-both, A_ub=np.ones((1, both.size)), b_ub=[radius], bounds=(0, None)).fun


BALLS = ["LinfBall", "MaxNorm", "L1Ball", "SpectralNorm", "SpectralNorm, fast", "NuclearBall"]


@pytest.mark.parametrize("name", SUPPORT)
def test_it_attains_the_support_function_at_a_point_of_the_set(name):
    rule, support = SUPPORT[name]
    fast = getattr(rule, "fast", False)
    within = 1e-3 if fast else 1e-5
    project = jr.SpectralNorm(rule.limit) if fast else rule  # the same set, and faster to compile

    @jax.jit  # one program a set
    def law(directions, anywhere):
        ends = jax.vmap(rule.lmo)(directions)
        return ends, *jnp.split(jax.vmap(project)(jnp.concatenate([ends, anywhere])), [len(ends)])

    anywhere = jnp.asarray(3 * RNG.normal(size=(200, *SHAPE)), jnp.float32)
    given = jnp.asarray(np.stack([*DIRECTIONS, np.zeros(SHAPE)]), jnp.float32)
    ends, nearest, points = map(np.asarray, law(given, anywhere))
    assert ends.dtype == np.float32
    np.testing.assert_allclose(nearest, ends, atol=1e-6)  # in the set: its own nearest point
    for d, end in zip(DIRECTIONS, ends[:-1], strict=True):
        np.testing.assert_allclose(np.sum(-d * end), support(-d), rtol=within)
        sampled = np.min(np.sum(d * points, axis=(1, 2)))  # no point of the set is farther
        assert sampled >= np.sum(d * end) - within * abs(np.sum(d * end))
    if name in BALLS:  # no direction: the centre
        np.testing.assert_array_equal(ends[-1], 0)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
@pytest.mark.parametrize("name", SUPPORT)
def test_of_no_weights_there_are_none(name, shape):
    end = jax.eval_shape(SUPPORT[name][0].lmo, jax.ShapeDtypeStruct(shape, jnp.bfloat16))
    assert (end.shape, end.dtype) == (shape, jnp.bfloat16)


def test_of_all_arrays_together():
    d = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([[4.0]])}
    end = jax.jit(jr.TreeNorm(10.0).lmo)(d)
    np.testing.assert_allclose(np.concatenate([end["a"], end["b"].ravel()]), [-6.0, 0.0, -8.0], rtol=1e-6)


def test_nearest_point_of_the_nuclear_ball():
    rule, w = jr.NuclearBall(1.5), DIRECTIONS[0]

    @jax.jit
    def law(w):
        near = rule(w)
        return near, rule(near), rule(w.astype(jnp.bfloat16)), jax.grad(lambda w: jnp.sum(rule(w) ** 2))(w)

    near, again, half, slope = law(jnp.asarray(w, jnp.float32))
    assert singular(np.asarray(near, float)).sum() <= 1.5
    np.testing.assert_array_equal(near, again)  # idempotent, bit for bit
    # ⟨w - P(w), z - P(w)⟩ ≤ 0 for every z in the set: for the z that makes it largest, the support of w - P(w).
    rest = w - np.asarray(near, float)
    assert 1.5 * singular(rest)[0] - np.sum(rest * np.asarray(near)) <= 1e-4
    assert half.dtype == jnp.bfloat16
    assert singular(np.asarray(half, float)).sum() <= 1.5
    assert np.all(np.isfinite(slope))


@pytest.mark.parametrize("fast", [False, True])
def test_on_the_spectral_sphere_the_steepest_step_along_it_attains_the_bound_of_its_dual(fast):
    radii = jnp.array([0.5, 2.0])

    def step(radius, w, d):
        rule = jr.SpectralSphere(radius, fast=fast)
        on = rule(w)
        return on, rule.tangent(on, d), rule.tangent_lmo(on, d)

    program = jax.jit(jax.vmap(step, (0, None, None)))
    w, ties = RNG.normal(size=SHAPE), np.eye(*SHAPE)
    for d in (DIRECTIONS[0], 1e-6 * DIRECTIONS[1], ties):
        each = program(radii, jnp.asarray(w, jnp.float32), jnp.asarray(d, jnp.float32))
        for radius, *found in zip(radii, *each, strict=True):
            on, along, end = (np.asarray(array, float) for array in found)
            goal = radius * (3 / 5) ** 0.5
            u, s, vt = np.linalg.svd(on)
            theta = np.outer(u[:, 0], vt[0])
            np.testing.assert_allclose(s[0], goal, rtol=2e-6)
            np.testing.assert_allclose(along, d - np.sum(theta * d) * theta, atol=1e-5)
            assert singular(end)[0] <= goal * (1 + 1e-4)
            assert abs(np.sum(theta * end)) <= 1e-5
            np.testing.assert_allclose(np.sum(d * end), -goal * dual(d, theta), rtol=1e-3 if fast else 2e-5)


def dual(d, theta):
    """The largest ⟨d, z⟩ over σ₁(z) ≤ 1 with ⟨Θ, z⟩ = 0, which is min_μ ‖d + μ Θ‖_*."""
    size = np.linalg.norm(d)
    found = minimize_scalar(lambda mu: singular(d + size * mu * theta).sum(), bounds=(-4, 4), options={"xatol": 1e-9})
    return found.fun


@pytest.mark.parametrize("shape", [(5, 3), (4, 4)])
def test_the_steepest_step_along_the_spectral_sphere_has_the_derivative_of_finite_differences(shape):
    # In square matrices, a singular value of direction + μ Θ may be 0 at the root, where the sign jumps.
    draws, h = 8, 1e-5
    w, d, moved, turned = RNG.normal(size=(4, draws, *shape))

    def step(w, d):
        return jr.SpectralSphere(1.0).tangent_lmo(w, d)

    def law(w, d, moved, turned):
        along = jax.jvp(step, (w, d), (moved, turned))[1]
        ahead, behind = step(w + h * moved, d + h * turned), step(w - h * moved, d - h * turned)
        back = jax.vjp(step, w, d)[1](w + d)
        return along, (ahead - behind) / (2 * h), jnp.sum(back[0] * moved) + jnp.sum(back[1] * turned)

    with jax.enable_x64(True):
        along, rise, back = map(np.asarray, jax.jit(jax.vmap(law))(w, d, moved, turned))
    scale = np.maximum(np.abs(rise).max((1, 2), keepdims=True), 1)
    np.testing.assert_allclose(along / scale, rise / scale, atol=1e-4)
    np.testing.assert_allclose(back, np.sum(rise * (w + d), axis=(1, 2)), rtol=1e-4, atol=1e-4)
