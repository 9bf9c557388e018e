"""Forms of decoupled decay against their formulas in NumPy, and against Optax's AdamW."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr

PEAK, STEPS, P = 0.1, 6, 0.8
RATE = optax.linear_schedule(PEAK, 0.02, STEPS - 1)
START = {"kernel": jnp.asarray(np.random.default_rng(1).normal(size=(3, 2)), jnp.float32), "bias": jnp.ones(2)}
REFERENCE = {"kernel": jnp.asarray(np.random.default_rng(2).normal(size=(3, 2)), jnp.float32), "bias": jnp.ones(2)}
DIRECTIONS = jnp.asarray(np.random.default_rng(3).normal(size=(STEPS, 3, 2)), jnp.float32)

scaled = optax.scale_by_learning_rate(RATE)


class Form(NamedTuple):
    """A chain for a decay d in AdamW's meaning, and the formula: (w, u, η, d) -> the next w."""

    chain: Callable[[Any], optax.GradientTransformation]
    formula: Callable[[np.ndarray, np.ndarray, float, float], np.ndarray]


def p_norm(w: np.ndarray, u: np.ndarray, rate: float, d: float) -> np.ndarray:
    a = np.abs(w) ** (2 - P)
    return (w - rate * u) * a / (a + P * rate * d)


FORMS = {
    "AdamW's": Form(
        lambda d: optax.chain(jr.decay(jr.L2(d / 2)), scaled),
        lambda w, u, rate, d: w - rate * (u + d * w),
    ),
    "independent": Form(
        lambda d: optax.chain(jr.independent_decay(jr.L2(d / 2), PEAK), scaled),
        lambda w, u, rate, d: w - rate * u - rate / PEAK * d * w,
    ),
    "corrected": Form(
        lambda d: optax.chain(jr.corrected_decay(jr.L2(d / 2), RATE, PEAK), scaled),
        lambda w, u, rate, d: w - rate * u - rate**2 / PEAK * d * w,
    ),
    "proximal": Form(
        lambda d: optax.chain(scaled, jr.proximal(jr.L2(d / 2), RATE)),
        lambda w, u, rate, d: (w - rate * u) / (1 + rate * d),
    ),
    "cautious": Form(
        lambda d: optax.chain(jr.cautious_decay(jr.L2(d / 2)), scaled),
        lambda w, u, rate, d: w - rate * (u + np.where(u * w >= 0, d * w, 0)),
    ),
    "p-norm": Form(lambda d: optax.chain(scaled, jr.p_norm_decay(jr.Lp(d, P), RATE)), p_norm),
    "to a reference": Form(
        lambda d: optax.chain(jr.decay(jr.to_reference(REFERENCE, jr.L2(d / 2))), scaled),
        lambda w, u, rate, d: w - rate * (u + d * (w - np.asarray(REFERENCE["kernel"]))),
    ),
    "L1's": Form(
        lambda d: optax.chain(jr.decay(jr.L1(d)), scaled),
        lambda w, u, rate, d: w - rate * (u + d * np.sign(w)),
    ),
}
each = pytest.mark.parametrize("name", FORMS)


def walk(tx: optax.GradientTransformation) -> dict:
    """The parameters after the steps of fixed directions."""

    def step(carry, direction):
        params, state = carry
        updates, state = tx.update({"kernel": direction, "bias": jnp.zeros(2)}, state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (START, tx.init(START)), DIRECTIONS)[0][0]


@each
def test_each_form_follows_its_formula_and_leaves_biases_alone(name):
    w = np.asarray(START["kernel"], np.float64)
    for t in range(STEPS):
        w = FORMS[name].formula(w, np.asarray(DIRECTIONS[t], np.float64), float(RATE(t)), 0.7)
    found = jax.jit(lambda: walk(FORMS[name].chain(0.7)))()
    np.testing.assert_allclose(found["kernel"], w, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found["bias"], START["bias"])


@each
def test_strength_zero_is_no_decay(name):
    found = jax.jit(lambda d: walk(FORMS[name].chain(d))["kernel"])(0.0)
    np.testing.assert_allclose(found, walk(scaled)["kernel"], rtol=1e-6, atol=1e-6)


def test_decay_of_half_is_adamw():
    mask = {"kernel": True, "bias": False}
    ours = optax.chain(optax.scale_by_adam(), jr.decay(jr.L2(0.7 / 2)), scaled)
    adamw = optax.adamw(RATE, weight_decay=0.7, mask=mask)
    np.testing.assert_allclose(walk(ours)["kernel"], walk(adamw)["kernel"], rtol=1e-6, atol=1e-7)


def test_scheduled_strengths_are_read_at_each_step():
    # No decay in the first three steps, AdamW's 0.7 in the others.
    late = optax.chain(jr.decay(jr.L2(lambda step: jnp.where(step < 3, 0.0, 0.35))), scaled)
    w = np.asarray(START["kernel"], np.float64)
    for t in range(STEPS):
        w = FORMS["AdamW's"].formula(w, np.asarray(DIRECTIONS[t]), float(RATE(t)), 0.0 if t < 3 else 0.7)
    np.testing.assert_allclose(walk(late)["kernel"], w, rtol=1e-5)
    # Strength and power of a p-norm that both change.
    risen = optax.chain(scaled, jr.p_norm_decay(jr.Lp(lambda step: 0.1 * step, lambda step: 0.8 + 0.1 * step), RATE))
    w = np.asarray(START["kernel"], np.float64)
    for t in range(STEPS):
        a, p = np.abs(w) ** (1.2 - 0.1 * t), 0.8 + 0.1 * t
        w = (w - float(RATE(t)) * np.asarray(DIRECTIONS[t])) * a / (a + p * float(RATE(t)) * 0.1 * t)
    np.testing.assert_allclose(walk(risen)["kernel"], w, rtol=1e-5)


def test_p_norm_decay_of_narrow_weights_is_rounded_once():
    w = jnp.asarray(np.random.default_rng(0).uniform(0.25, 2, (300, 1)), jnp.bfloat16)
    params, tx = {"kernel": w}, jr.p_norm_decay(jr.Lp(0.5, 0.8), 0.1)
    updates, _ = tx.update({"kernel": 0 * w}, tx.init(params), params)
    a = np.asarray(w, np.float64) ** 1.2
    wanted = jnp.asarray(np.asarray(w, np.float64) * a / (a + 0.04), jnp.bfloat16)
    np.testing.assert_array_equal(optax.apply_updates(params, updates)["kernel"], wanted)


def test_p_norm_decay_at_two_is_the_proximal_form():
    two = optax.chain(scaled, jr.p_norm_decay(jr.Lp(0.3, 2.0), RATE))
    np.testing.assert_allclose(walk(two)["kernel"], walk(FORMS["proximal"].chain(0.6))["kernel"], rtol=1e-6)


def test_p_norm_decay_keeps_zeros_and_refuses_other_rules():
    params = {"kernel": jnp.array([[0.0, 1e-30], [1.0, -1.0]])}
    for strength in (0.0, 0.5):
        tx = jr.p_norm_decay(jr.Lp(strength, 0.8), 0.1)
        updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
        moved = np.asarray(optax.apply_updates(params, updates)["kernel"])
        assert moved[0, 0] == 0
        assert np.all(np.abs(moved) <= np.abs(params["kernel"]))
    tx = jr.p_norm_decay(jr.L2(0.1), 0.1)
    with pytest.raises(TypeError, match=r"L2.*kernel is not a jaxreg.Lp"):
        tx.update(params, tx.init(params), params)


def test_a_weight_at_0_is_free_where_p_norm_decay_has_strength_0():
    params, step = {"kernel": jnp.array([[0.0, 2.0]])}, {"kernel": jnp.array([[0.5, 0.5]])}

    def moved(strength):
        tx = jr.p_norm_decay(jr.Lp(strength, 1.0), 0.1)
        return tx.update(step, tx.init(params), params)[0]["kernel"]

    np.testing.assert_allclose(moved(0.0), step["kernel"], rtol=1e-6)
    # Σ (w - ηu) a / (a + s η): its slope by s, at 0, is -η (w - ηu) / a, but for the weight that has a = 0.
    np.testing.assert_allclose(jax.grad(lambda s: jnp.sum(moved(s)))(0.0), -0.1 * 2.5 / 2, rtol=1e-6)


def test_cautious_decay_pulls_where_the_direction_is_0_and_where_their_product_underflows():
    params, u = {"kernel": jnp.array([[1.0, -2.0, 1e-25, 1e-25]])}, jnp.array([[0.0, 0.0, -1e-25, 1e-25]])
    tx = jr.cautious_decay(jr.L2(0.5))
    found = tx.update({"kernel": u}, tx.init(params), params)[0]["kernel"]
    np.testing.assert_allclose(found, [[1.0, -2.0, -1e-25, 2e-25]], rtol=1e-6)


@pytest.mark.parametrize("start", [0.5, 2.0, 3.0])
def test_cautious_decay_ends_where_the_loss_is_least(start):
    # Where the direction points away from 0 there is no pull: ½(w - 2)² ends at 2, under AdamW's decay at 2 / 1.5.
    # At 2 itself the direction is 0: one pull leads away, and the next steps back.
    def end(link):
        tx, params = optax.chain(link, optax.scale_by_learning_rate(0.1)), {"kernel": jnp.array([[start]])}

        def step(carry, _):
            params, state = carry
            updates, state = tx.update(jax.tree.map(lambda w: w - 2, params), state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, tx.init(params)), None, length=200)[0][0]["kernel"][0, 0]

    np.testing.assert_allclose(end(jr.cautious_decay(jr.L2(0.25))), 2.0, rtol=1e-4)
    np.testing.assert_allclose(end(jr.decay(jr.L2(0.25))), 2 / 1.5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_decay_to_a_running_mean_follows_its_formula_for_every_memory_and_on_stacks(dtype):
    rng, memories = np.random.default_rng(7), jnp.array([0.0, 0.9, 1.0])
    start = {"layers": {"kernel": jnp.asarray(rng.normal(size=(2, 3, 2)), dtype), "bias": jnp.ones((2, 2), dtype)}}
    directions = jnp.asarray(rng.normal(size=(STEPS, 2, 3, 2)), dtype)

    def walked(memory):
        tx = optax.chain(jr.mean_decay(jr.GroupLasso(0.5), memory), optax.scale_by_learning_rate(0.5))

        def step(carry, direction):
            params, state = carry
            updates = {"layers": {"kernel": direction, "bias": jnp.zeros((2, 2), dtype)}}
            updates, state = tx.update(updates, state, params)
            return (optax.apply_updates(params, updates), state), None

        (params, state), _ = jax.lax.scan(step, (start, tx.init(start)), directions)
        return params["layers"]["kernel"], state[0].mean["layers"]["kernel"], params["layers"]["bias"]

    for memory, *found in zip(memories, *jax.jit(jax.vmap(walked))(memories), strict=True):
        w = m = np.asarray(start["layers"]["kernel"], np.float64)
        for u in np.asarray(directions, np.float64):
            norms = np.linalg.norm(w - m, axis=1, keepdims=True)
            pull = 0.5 * np.sqrt(3) * (w - m) / np.where(norms > 0, norms, 1)
            m, w = float(memory) * m + (1 - float(memory)) * w, w - 0.5 * (u + pull)
        within = 10 * float(jnp.finfo(dtype).eps)
        np.testing.assert_allclose(np.asarray(found[0], float), w, rtol=within, atol=within)
        np.testing.assert_allclose(found[1], m, rtol=within, atol=within)
        np.testing.assert_array_equal(found[2], 1)
    with pytest.raises(ValueError, match=r"memory is 1\.5; expected a number of at least 0 and at most 1"):
        jr.mean_decay(jr.L2(0.1), 1.5)


LINKS = {
    "decay": lambda rules: jr.decay(rules),
    "independent_decay": lambda rules: jr.independent_decay(rules, 0.1),
    "corrected_decay": lambda rules: jr.corrected_decay(rules, 0.1, 0.1),
    "cautious_decay": lambda rules: jr.cautious_decay(rules),
    "mean_decay": lambda rules: jr.mean_decay(rules, 0.9),
    "p_norm_decay": lambda rules: jr.p_norm_decay(rules, 0.1),
}


@pytest.mark.parametrize("name", LINKS)
def test_bad_use_is_refused_in_words(name):
    tx = LINKS[name](jr.Lp(0.1, 1.0))
    with pytest.raises(ValueError, match=f"jaxreg.{name} got no params"):
        tx.update(START, tx.init(START))
    with pytest.raises(ValueError, match=r"'nowhere' matches no parameter.*bias, kernel"):
        LINKS[name]({"nowhere": jr.Lp(0.1, 1.0)}).init(START)


def test_a_step_may_donate_the_parameters_and_the_state():
    params, tx = {"kernel": jnp.ones((2, 2))}, jr.mean_decay({"kernel": jr.L2(0.1)}, 0.9)
    step = jax.jit(lambda grads, state, params: tx.update(grads, state, params), donate_argnums=(1, 2))
    updates, _ = step({"kernel": jnp.ones((2, 2))}, tx.init(params), params)
    np.testing.assert_array_equal(updates["kernel"], 1)
