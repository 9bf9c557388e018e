"""The soft spectral cap against its polynomial, and the norm it guarantees; spectral decay as a chain of links."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr

RNG = np.random.default_rng(6)


def published(limit, step):
    """The strength from the polynomial as published, with NumPy's roots."""
    k = limit + step
    roots = np.roots([-(k**9), 3 * k**7, -3 * k**5, 0, k - limit])
    return min(root.real for root in roots if abs(root.imag) < 1e-9 and root.real >= 0)


bent = jax.jit(lambda limit, step, w: (jr.SoftSpectralCap(limit, step)(w), jr.SoftSpectralCap(limit, step)(w.T)))


@pytest.mark.parametrize(("limit", "step", "shape"), [(1.0, 0.1, (7, 4)), (3.0, 0.02, (4, 7)), (0.5, 0.125, (4, 4))])
def test_singular_values_are_bent_as_published(limit, step, shape):
    w = RNG.normal(size=shape)
    w *= (limit + step) / np.linalg.norm(w, 2)
    u, s, vt = np.linalg.svd(w, full_matrices=False)
    y = s - published(limit, step) * s**3
    wanted = u @ np.diag(y + published(limit, step) * y**3) @ vt
    found, found_of_transpose = bent(limit, step, jnp.asarray(w, jnp.float32))
    np.testing.assert_allclose(found, wanted, atol=2e-5 * limit)
    np.testing.assert_allclose(found_of_transpose, wanted.T, atol=2e-5 * limit)
    np.testing.assert_allclose(np.linalg.norm(wanted, 2), limit, rtol=1e-6)  # the largest of all ends at the limit


def test_under_steps_of_bounded_norm_the_limit_holds():
    limit, rate = 0.8, 0.1
    rules = {"kernel": jr.SoftSpectralCap(limit, rate)}
    tx = optax.chain(jr.steepest(jr.SpectralNorm(1.0)), optax.scale_by_learning_rate(rate), jr.project(rules))
    params = {"kernel": jnp.zeros((6, 4))}

    def step(carry, _):
        params, state = carry
        updates, state = tx.update({"kernel": params["kernel"] - target}, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), jnp.linalg.norm(params["kernel"], 2)

    target = jnp.asarray(5 * RNG.normal(size=(6, 4)), jnp.float32)
    sizes = jax.jit(lambda: jax.lax.scan(step, (params, tx.init(params)), None, length=40)[1])()
    assert np.max(sizes) <= limit * (1 + 1e-5)
    assert sizes[-1] > 0.9 * limit


def test_spectral_decay_is_the_decay_of_the_spectral_penalty():
    rate, strength, w = 0.1, 0.5, RNG.normal(size=(6, 4))
    params = {"kernel": jnp.asarray(w, jnp.float32)}
    u, s, vt = np.linalg.svd(w, full_matrices=False)
    shrunk = w - strength * s[0] * np.outer(u[:, 0], vt[0])
    tx = optax.chain(jr.independent_decay(jr.Spectral(strength), peak=rate), optax.scale_by_learning_rate(rate))
    updates, _ = tx.update({"kernel": jnp.zeros((6, 4))}, tx.init(params), params)
    np.testing.assert_allclose(optax.apply_updates(params, updates)["kernel"], shrunk, atol=1e-5)


@pytest.mark.parametrize("step", [0.01, 0.1, 0.25])
def test_no_singular_value_up_to_2_8_limits_grows(step):
    values = np.linspace(0.1, 2.8, 28)
    ends = np.linalg.norm(jr.SoftSpectralCap(1.0, step)(jnp.diag(jnp.asarray(values, jnp.float32))), axis=0)
    assert np.all(ends <= values * (1 + 1e-6))
    assert np.linalg.norm(jr.SoftSpectralCap(1.0, 0.25)(3.0 * jnp.eye(2)), 2) > 3.0


def test_the_axes_tell_the_matrix_and_narrow_weights_are_rounded_once():
    w = jnp.asarray(RNG.normal(size=(3, 2, 4)) / 8, jnp.bfloat16)
    flat = jr.SoftSpectralCap(1.0, 0.1)(w.astype(jnp.float32).reshape(6, 4))
    found = jr.SoftSpectralCap(1.0, 0.1, axis=(1, 2))(w.transpose(2, 0, 1))
    np.testing.assert_array_equal(found, flat.astype(jnp.bfloat16).reshape(3, 2, 4).transpose(2, 0, 1))
    for shape in ((0, 3), (3, 0)):
        assert jr.SoftSpectralCap(1.0, 0.1)(jnp.ones(shape)).shape == shape


@pytest.mark.parametrize(
    ("limit", "step", "words"),
    [
        (1.0, 0.3, "step to be at most a quarter of the limit"),
        (0.0, 0.1, "limit is 0; expected a number above 0"),
        (1.0, 0.0, "step is 0; expected a number above 0"),
    ],
)
def test_numbers_out_of_range_are_refused(limit, step, words):
    with pytest.raises(ValueError, match=words):
        jr.SoftSpectralCap(limit, step)
