"""Functions of singular values: coefficients, derivatives and accuracy, against NumPy's SVD in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxreg as jr
from jaxreg._singular_values import STEPS, clipped, lowered, polar, polar_by_products


def test_each_polynomial_is_the_best_of_its_degree_on_the_interval_that_is_left():
    low, high = 1e-3, 1.0
    for a, b, c in STEPS[:6]:
        # The best approximation of 1 by an odd polynomial of degree 5: four extremes, of one size, in turn.
        inner = np.sqrt(np.sort(np.roots([5 * c, 3 * b, a]).real))
        x = np.array([low, *inner, high])
        errors = 1 - (a * x + b * x**3 + c * x**5)
        np.testing.assert_allclose(errors, errors[0] * np.array([1, -1, 1, -1]), rtol=1e-7)
        low, high = 1 - errors[0], 1 + errors[0]


def test_together_they_take_all_from_a_thousandth_on_to_1():
    x = np.geomspace(1e-3, 1, 10_001)
    for a, b, c in STEPS:
        x = a * x + b * x**3 + c * x**5
    np.testing.assert_allclose(x, 1, atol=1e-9)


@pytest.mark.parametrize("shape", [(40, 40), (60, 20), (20, 60)])
def test_by_products_it_is_the_polar_factor(shape):
    x = np.random.default_rng(0).normal(size=shape)
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    assert s[-1] > s[0] / 500
    np.testing.assert_allclose(polar_by_products(jnp.asarray(x, jnp.float32)), u @ vt, atol=2e-5)


def test_by_products_wide_layers_end_like_any_other():
    x = np.eye(512) + np.random.default_rng(5).normal(size=(512, 512)) / 40
    u, s, vt = np.linalg.svd(x)
    w = jnp.asarray(x, jnp.float32)
    np.testing.assert_allclose(jr.SpectralNorm(1.0, fast=True)(w), (u * np.minimum(s, 1)) @ vt, atol=3e-4)
    orthonormal = jr.Orthonormal(fast=True)
    np.testing.assert_allclose(orthonormal(w), u @ vt, atol=2e-5)
    np.testing.assert_allclose(jax.jit(orthonormal.lmo)(w), -u @ vt, atol=2e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("size", [64, 128])
def test_by_products_narrow_weights_end_in_the_set_and_stay_there(size, dtype):
    q = np.linalg.qr(np.random.default_rng(6).normal(size=(size, size)))[0]
    rule, start = jr.Orthonormal(fast=True), jnp.asarray(1.5 * q, dtype)
    end = rule(start)
    singular = np.linalg.svd(np.asarray(end, np.float64), compute_uv=False)
    np.testing.assert_allclose(singular, 1, atol=float(jnp.finfo(dtype).eps))
    np.testing.assert_array_equal(rule(end), end)
    assert jr.feasible({"kernel": end}, rule)
    assert not jr.feasible({"kernel": start}, rule)


def test_convolution_kernels_are_matrices_from_their_patches_to_their_channels():
    kernel = np.random.default_rng(1).normal(size=(3, 3, 2, 5)).astype(np.float32)
    u, s, vt = np.linalg.svd(kernel.reshape(18, 5).astype(np.float64), full_matrices=False)
    expected = (u * np.minimum(s, 2)) @ vt
    np.testing.assert_allclose(jr.SpectralNorm(2.0)(kernel).reshape(18, 5), expected, atol=1e-5)
    outwards = jr.SpectralNorm(2.0, axis=(1, 2, 3))(kernel.transpose(3, 0, 1, 2))
    np.testing.assert_allclose(outwards.transpose(1, 2, 3, 0).reshape(18, 5), expected, atol=1e-5)


def test_a_convolution_stretches_by_the_root_of_its_window_more():
    def stretch(kernel, size=5):  # the largest singular value of the layer, which sees pictures that go round
        matrix = np.zeros((size, size, kernel.shape[3], size, size, kernel.shape[2]))  # outputs, then inputs
        for i, j in np.ndindex(3, 3):
            for y, x in np.ndindex(size, size):
                matrix[y, x, :, (y + i) % size, (x + j) % size] = kernel[i, j].T
        return np.linalg.norm(matrix.reshape(size * size * kernel.shape[3], -1), 2)

    limit = jr.SpectralNorm(0.5)
    filters = jax.random.normal(jax.random.key(0), (3, 3, 2, 4))
    assert 0.5 < stretch(np.asarray(limit(filters))) <= 1.5
    np.testing.assert_allclose(stretch(np.asarray(limit(jnp.ones((3, 3, 1, 1))))), 1.5, rtol=1e-5)  # no bound is nearer


def test_what_clipping_takes_off_is_the_proximal_step_of_the_nuclear_norm():
    x = np.random.default_rng(2).normal(size=(6, 4))
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    soft = (u * np.maximum(s - 1.5, 0)) @ vt
    np.testing.assert_allclose(jr.SpectralNorm(1.5)(jnp.asarray(x, jnp.float32)) + soft, x, atol=1e-5)


@pytest.mark.parametrize("function", [clipped, lowered, lambda x, _: polar(x)], ids=["clipped", "lowered", "polar"])
@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4)])
def test_derivatives_are_those_of_finite_differences(shape, function):
    rng = np.random.default_rng(3)
    with jax.enable_x64(True):
        anywhere, direction = (jnp.asarray(rng.normal(size=shape)) for _ in range(2))
        alike, nothing = 3 * jnp.eye(*shape), jnp.zeros(shape)  # singular values that meet, or vanish
        work = jax.jit(lambda x, limit: function(x, limit)[0])
        slopes = jax.jit(lambda x, moves: jax.jvp(work, (x, jnp.asarray(1.2)), moves)[1])
        for x in (anywhere, alike, nothing) if function in (clipped, lowered) else (anywhere, alike):
            for dx, dlimit in ((direction, 0.0), (jnp.zeros(shape), 1.0)):
                ends = (work(x + sign * 1e-6 * dx, 1.2 + sign * 1e-6 * dlimit) for sign in (1, -1))
                numeric = np.subtract(*ends) / 2e-6
                np.testing.assert_allclose(slopes(x, (dx, jnp.asarray(dlimit))), numeric, atol=1e-7)


def matrix_of(values, rows, dtype):
    """A matrix with these singular values, and with `rows` rows."""
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.normal(size=(n, len(values))))[0] for n in (rows, len(values)))
    return jnp.asarray(left * values @ right.T, dtype)


def singular_values(w):
    return np.linalg.svd(np.asarray(w, np.float64), compute_uv=False)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_a_nuclear_ball_of_many_units_is_reached_by_narrow_weights(dtype):
    w = jnp.asarray(np.random.default_rng(0).normal(size=(48, 40)), dtype)
    radius = float(singular_values(w).sum() / 10)
    ball = jr.NuclearBall(radius)
    for end in (jax.jit(ball)(w), jax.jit(ball.lmo)(w)):
        assert 0.97 * radius < singular_values(end).sum() <= radius


@pytest.mark.parametrize("rule", [jr.SpectralNorm(1.0, fast=True), jr.Orthonormal(fast=True)], ids=repr)
def test_one_singular_value_among_many_is_corrected_in_bfloat16(rule):
    project = jax.jit(rule)
    end = project(matrix_of(np.array([1.05] + 63 * [1.0]), 128, jnp.bfloat16))
    assert singular_values(end).max() <= 1 + 2**-7
    np.testing.assert_array_equal(project(end), end)
