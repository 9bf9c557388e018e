"""QK-clip: logits of the same inputs, computed anew by NumPy after the step, are at the threshold."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr

RNG = np.random.default_rng(0)
INPUTS, HEADS, SIZE, ROWS = 5, 3, 4, 7
X = RNG.normal(size=(ROWS, INPUTS))
SHAPE = (INPUTS, HEADS, SIZE)
PARAMS = {name: jnp.asarray(RNG.normal(size=SHAPE), jnp.float32) for name in ("query", "key", "value")}
GRADS = {name: jnp.asarray(0.1 * RNG.normal(size=SHAPE), jnp.float32) for name in PARAMS}


def largest_logits(query, key):
    queries, keys = (np.einsum("ri,ihs->rhs", X, np.asarray(w, np.float64)) for w in (query, key))
    return np.abs(np.einsum("rhs,qhs->rqh", queries, keys)).max((0, 1))


MOVED = {name: PARAMS[name] - GRADS[name] for name in PARAMS}
LOGITS = largest_logits(MOVED["query"], MOVED["key"])
THRESHOLD = float(np.median(LOGITS))


def stepped(params, grads, logits, **named):
    tx = optax.chain(optax.sgd(1.0), jr.qk_clip({"query": "key"}, **named))

    @jax.jit
    def law(params, logits):
        updates, _ = tx.update(grads, tx.init(params), params, max_logits={"query": logits})
        return optax.apply_updates(params, updates)

    return law(params, logits)


def test_heads_above_the_threshold_end_on_it_and_others_stay():
    end = stepped(PARAMS, GRADS, jnp.asarray(LOGITS), threshold=THRESHOLD)
    np.testing.assert_allclose(largest_logits(end["query"], end["key"]), np.minimum(LOGITS, THRESHOLD), rtol=1e-5)
    np.testing.assert_array_equal(end["value"], MOVED["value"])
    under = LOGITS <= THRESHOLD
    assert under.any()
    assert not under.all()
    for name in ("query", "key"):
        np.testing.assert_array_equal(end[name][:, under], MOVED[name][:, under])
    factor = np.sqrt(THRESHOLD / LOGITS[~under])[None, :, None]
    np.testing.assert_allclose(end["key"][:, ~under], MOVED["key"][:, ~under] * factor, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_kernels_of_one_matrix_and_narrow_ones_and_stacks_are_the_same(dtype):
    expected = stepped(PARAMS, GRADS, jnp.asarray(LOGITS), threshold=THRESHOLD)
    flat, slopes = (
        {name: jnp.stack([w.reshape(INPUTS, -1)] * 2).astype(dtype) for name, w in tree.items()}
        for tree in (PARAMS, GRADS)
    )
    logits = jnp.stack([LOGITS, jnp.zeros(HEADS)])
    end = stepped(flat, slopes, logits, threshold=lambda step: THRESHOLD + step, axis=-1)
    assert end["key"].dtype == dtype
    for name, layers in (("query", (expected, MOVED)), ("key", (expected, MOVED))):
        for layer, tree in zip(end[name], layers, strict=True):
            np.testing.assert_allclose(layer.astype(jnp.float32), tree[name].reshape(INPUTS, -1), rtol=0.03, atol=0.02)


def test_thresholds_are_lanes():
    limits = jnp.array([THRESHOLD / 2, THRESHOLD, 1e9])
    found = jax.vmap(lambda t: stepped(PARAMS, GRADS, jnp.asarray(LOGITS), threshold=t)["key"])(limits)
    for limit, key in zip(limits, found, strict=True):
        alone = stepped(PARAMS, GRADS, jnp.asarray(LOGITS), threshold=limit)["key"]
        np.testing.assert_allclose(key, alone, rtol=1e-6)


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (lambda: jr.qk_clip({"query": "key"}, 0.0), "threshold is 0"),
        (lambda: jr.qk_clip({"query": "key"}, axis=1), "axis is 1; expected a negative number"),
        (lambda: jr.qk_clip({"query": "keys"}).init(PARAMS), "no parameter 'keys'; expected one of key, query, value"),
        (lambda: stepped(PARAMS, GRADS, jnp.ones(5)), r"shape \(5,\), and the weights \(5, 3, 4\)"),
        (lambda: stepped(PARAMS, GRADS, jnp.ones((2, 3))), r"shape \(2, 3\)"),
        (
            lambda: stepped(PARAMS, GRADS, jnp.ones(3), axis=-4),
            r"axis is -4.* \(5, 3, 4\); expected one of their axes",
        ),
        (lambda: stepped(PARAMS, GRADS, jnp.ones((5, 5)), axis=-3), "one of their axes, except the first"),
        (lambda: jr.qk_clip({"query": "key"}).update(GRADS, None, PARAMS), "got no logits for 'query'"),
        (lambda: jr.qk_clip({"query": "key"}).update(GRADS, None), "got no params"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(use, words):
    with pytest.raises(ValueError, match=words):
        use()
