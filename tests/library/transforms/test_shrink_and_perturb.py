"""Warm starts, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxreg as jr

RNG = np.random.default_rng(0)
TRAINED, FRESH = (
    {"kernel": jnp.asarray(RNG.normal(size=(3, 4)), jnp.bfloat16), "bias": jnp.asarray(RNG.normal(size=4)), "count": n}
    for n in (jnp.asarray(7), jnp.asarray(0))
)


def test_weights_are_shrunk_and_perturbed_in_their_own_dtype_under_vmap():
    shares = jnp.array([1.0, 0.5, 0.0])
    found = jax.jit(jax.vmap(lambda s: jr.shrink_and_perturb(TRAINED, FRESH, s, 1 - s)))(shares)
    for i, s in enumerate(shares):
        expected = s * TRAINED["bias"] + (1 - s) * FRESH["bias"]
        np.testing.assert_allclose(found["bias"][i], expected, rtol=1e-6, atol=1e-7)
        wide = s * TRAINED["kernel"].astype(jnp.float32) + (1 - s) * FRESH["kernel"].astype(jnp.float32)
        np.testing.assert_allclose(found["kernel"][i].astype(jnp.float32), wide, rtol=1e-2, atol=1e-3)
    assert found["kernel"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(found["count"], 7)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((FRESH, 1.5), "shrink is 1.5; expected a number of at least 0 and at most 1"),
        ((FRESH, 0.5, -1.0), "perturb is -1"),
        (({"kernel": jnp.ones((2, 2))},), "expected the same shapes"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(arguments, words):
    with pytest.raises(ValueError, match=words):
        jr.shrink_and_perturb(TRAINED, *arguments)
