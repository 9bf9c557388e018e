"""Where `optax.apply_updates` ends: on the projected point, or on the inner side of it."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr
from jaxreg.transforms._exact_update import landing


def step_to(rule, start, update):
    goal = rule((start + update).astype(start.dtype))
    return optax.apply_updates(start, landing(start, goal, update.dtype, rule)), goal


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("step_dtype", [None, jnp.float32])
@pytest.mark.parametrize("box", [(0.25, 0.625), (-0.625, -0.25), (-0.125, 0.5), (0.0, 0.375)])
def test_bounds_hold_exactly_wherever_the_weights_come_from(box, dtype, step_dtype):
    rng = np.random.default_rng(0)
    start = jnp.asarray(rng.uniform(-1, 1, 4000), dtype)
    update = jnp.asarray(0.3 * rng.normal(size=4000), step_dtype or dtype)
    for move in (step_to, jax.jit(step_to, static_argnums=0)):
        end = np.asarray(move(jr.Box(*box), start, update)[0], np.float64)
        assert end.min() >= box[0]
        assert end.max() <= box[1]


@pytest.mark.parametrize("rule", [None, jr.Box(-1.0, 1.0)], ids=["alone", "far from bounds"])
def test_it_lands_on_the_goal_wherever_a_step_leads_there(rule):
    rng = np.random.default_rng(1)
    start, goal = (jnp.asarray(rng.uniform(0.2, 0.9, 4000), jnp.float16) for _ in range(2))
    end = np.asarray(optax.apply_updates(start, landing(start, goal, jnp.float16, rule)))
    near = np.asarray(goal - start)
    tries = np.stack([near, np.nextafter(near, np.float16(9)), np.nextafter(near, np.float16(-9))])
    reachable = np.any(np.asarray(start) + tries == np.asarray(goal), axis=0)
    assert reachable.mean() > 0.5
    np.testing.assert_array_equal(end[reachable], np.asarray(goal)[reachable])
    assert np.all(np.abs(end) <= np.abs(np.asarray(goal)))


def test_a_narrow_step_of_wide_weights_has_the_digits_that_it_can_hold():
    start = jnp.asarray(np.random.default_rng(4).uniform(0.5, 1, 4000), jnp.float32)
    goal = start * jnp.float32(1 - 2.0**-14)
    step = landing(start, goal, jnp.bfloat16)
    assert step.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(step, np.float64), np.asarray(goal, np.float64) - start, rtol=2.0**-7)


def test_norms_stay_within_their_limit():
    rng = np.random.default_rng(2)
    start, update = (jnp.asarray(rng.normal(size=(50, 40)), jnp.bfloat16) for _ in range(2))
    end, _ = step_to(jr.MaxNorm(1.0), start, update)
    assert np.linalg.norm(np.asarray(end, np.float64), axis=0).max() <= 1.0


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("step_dtype", [None, jnp.float32])
def test_where_a_step_led_it_leads_again(dtype, step_dtype):
    """Weights that a constraint leaves alone end as they would without it, whatever the sizes of weight and step."""
    rng = np.random.default_rng(3)
    sizes = 10.0 ** rng.uniform(-4, 3, (2, 20_000))
    start, update = (
        jnp.asarray(rng.normal(size=20_000) * size, d)
        for size, d in zip(sizes, (dtype, step_dtype or dtype), strict=True)
    )
    there = optax.apply_updates(start, update)
    for land in (landing, jax.jit(landing, static_argnums=2)):
        end = optax.apply_updates(start, land(start, there, update.dtype))
        np.testing.assert_array_equal(np.asarray(end, np.float64), np.asarray(there, np.float64))


def test_the_exact_update_adds_no_function_to_a_program() -> None:
    """A stored sweep is recognised by the text of its program, which a function of its own would change."""
    text = jax.jit(lambda w, goal: landing(w, goal, w.dtype)).lower(jnp.ones(3), jnp.zeros(3)).as_text()
    names = re.findall(r"func\.func \w+ @(\w+)", text)
    assert all(name == "main" or name.startswith("_where") for name in names), names
