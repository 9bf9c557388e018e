"""Symmetric matrices without negative eigenvalues, against NumPy's eigenvalues."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxreg as jr

RNG = np.random.default_rng(2)
PROJECT = jax.jit(jax.vmap(jr.PositiveSemidefinite()))


def nearest(w):
    values, vectors = np.linalg.eigh((w + w.T) / 2)
    return vectors * np.maximum(values, 0) @ vectors.T


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_negative_eigenvalues_become_0_and_a_second_time_changes_nothing(dtype):
    w = jnp.asarray(RNG.normal(size=(6, 5, 5)) * np.array([0.01, 0.1, 1, 1, 5, 20])[:, None, None], dtype)
    ends = PROJECT(w)
    assert ends.dtype == dtype
    assert np.asarray(PROJECT(ends)).tobytes() == np.asarray(ends).tobytes()
    precision = float(jnp.finfo(dtype).eps)
    for x, end in zip(np.asarray(w, np.float64), np.asarray(ends, np.float64), strict=True):
        np.testing.assert_array_equal(end, end.T)
        np.testing.assert_allclose(end, nearest(x), atol=(precision + 2e-6) * np.abs(x).max())
        assert np.linalg.eigvalsh(end)[0] >= -5 * (precision + 1e-6) * np.abs(x).max()


def test_no_point_of_the_set_is_nearer():
    x, others = (jnp.asarray(RNG.normal(size=(20, 4, 4)), jnp.float32) for _ in range(2))
    ends, rivals = np.asarray(PROJECT(x), np.float64), np.asarray(PROJECT(others), np.float64)
    inner = np.sum((np.asarray(x) - ends) * (rivals - ends), axis=(1, 2))
    assert np.all(inner <= 1e-5)


def test_derivatives_are_those_of_the_projection_even_where_eigenvalues_meet():
    w, move, h = RNG.normal(size=(4, 4)), RNG.normal(size=(4, 4)), 1e-6
    with jax.enable_x64(True):
        slope = jax.jit(lambda w: jax.jvp(jr.PositiveSemidefinite(), (w,), (jnp.asarray(move),))[1])
        found = np.asarray(slope(jnp.asarray(w)))
        degenerate = [
            np.asarray(slope(jnp.asarray(m))) for m in (np.eye(4), np.zeros((4, 4)), np.diag([1.0, 1, -1, 0]))
        ]
    np.testing.assert_allclose(found, (nearest(w + h * move) - nearest(w - h * move)) / (2 * h), atol=1e-8)
    assert np.isfinite(degenerate).all()


def test_a_stack_is_projected_layer_by_layer_and_a_matrix_that_is_not_square_is_refused():
    stack = {"layers": {"kernel": jnp.asarray(RNG.normal(size=(3, 4, 4)), jnp.float32), "bias": jnp.zeros((3, 4))}}
    found = jr.projected(stack, jr.PositiveSemidefinite())["layers"]["kernel"]
    np.testing.assert_allclose(found, PROJECT(stack["layers"]["kernel"]), atol=1e-6)
    with pytest.raises(ValueError, match="a matrix of 3 inputs and 2 units; expected as many inputs as units"):
        jr.PositiveSemidefinite()(jnp.ones((3, 2)))
