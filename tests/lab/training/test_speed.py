"""A training by hand, and costs that must not creep in, each beside another program of the same run.

Programs take turns and the best turn of each counts, in processor time, so that a busy machine slows both or neither.
The bounds are one and a half times what was measured, with XLA's optimisations and without, whichever is more: they
stop an evaluation on the hot path or a rule that takes several times its work, and tell no good day from a bad one.
"""

import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr
from jaxreg.lab import MLP, Problem, Recipe, fit, linen, tutorial_moons

STEPS, LANES = 200, 4


def best(programs, rounds):
    """Processor seconds of the best turn of each program; each is called once before, to warm up."""
    spent = {name: [] for name in programs}
    for _ in range(rounds + 1):
        for name, call in programs.items():
            start = time.process_time()
            call()
            spent[name].append(time.process_time() - start)
    return {name: min(seconds[1:]) for name, seconds in spent.items()}


def by_hand(model, data, strength, seed):
    """The final loss on the test rows, as a plain scan over the steps of Adam."""
    x, y = jnp.asarray(data.x_train[0]), jnp.asarray(data.y_train[0])

    def loss(p, x, y):
        hidden = jax.nn.relu(x @ p["hidden"]["kernel"] + p["hidden"]["bias"])
        z = (hidden @ p["output"]["kernel"] + p["output"]["bias"])[:, 0]
        return jnp.mean(jnp.maximum(z, 0) - z * y + jnp.log1p(jnp.exp(-jnp.abs(z))))

    def step(carry, t):
        p, m, v = carry
        g = jax.grad(lambda p: loss(p, x, y) + strength * jnp.sum(p["hidden"]["kernel"] ** 2))(p)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        rate = 1e-3 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        return (jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-7), p, m, v), m, v), None

    p = model.init(jax.random.split(jax.random.key(seed))[0])
    zeros = jax.tree.map(jnp.zeros_like, p)
    (p, _, _), _ = jax.lax.scan(step, (p, zeros, zeros), jnp.arange(1.0, STEPS + 1))
    return loss(p, jnp.asarray(data.x_test[0]), jnp.asarray(data.y_test[0]))


def test_fit_is_the_training_by_hand():
    data, model = tutorial_moons(), linen(MLP(hidden=500), (2,))
    problem = Problem(model, data, STEPS, record_every=STEPS // 2)

    def ours(strength, seed):
        recipe = Recipe(penalties={"hidden/kernel": jr.L2(strength)})
        return fit(problem, recipe, jax.random.key(seed))["test_loss"].values[-1]

    arguments = jnp.linspace(1e-3, 1e-2, LANES), jnp.arange(LANES)
    found, wanted = (jax.jit(jax.vmap(lane))(*arguments) for lane in (ours, partial(by_hand, model, data)))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


LIMIT = 1.0
KERNEL = {"kernel": jr.MaxNorm(LIMIT)}
CHAINS = {
    "penalize": (optax.chain(jr.penalize({"kernel": jr.L2(1e-3)}), optax.adam(1e-5)), None, 1.7),
    "decay": (optax.chain(optax.scale_by_adam(), jr.decay({"kernel": jr.L2(1e-3)}), optax.scale(-1e-5)), None, 1.6),
    "proximal": (optax.chain(optax.adam(1e-5), jr.proximal({"kernel": jr.L1(1e-3)}, 1e-5)), None, 4.2),
    "project": (optax.chain(optax.adam(1e-5), jr.project(KERNEL)), None, 4.4),
    "apply_updates": (optax.adam(1e-5), KERNEL, 2.5),
}


@pytest.fixture(scope="module")
def steps():
    """Processor seconds of a step of each chain and of plain Adam on a matrix, half of its units beyond the limit."""
    rng = np.random.default_rng(0)
    kernel, slope = rng.normal(size=(2, 1000, 1000)).astype(np.float32) / 1000**0.5
    gradients = {"kernel": jnp.asarray(slope)}

    def stepper(tx, rules):
        def step(lane):
            params, state = lane
            updates, state = tx.update(gradients, state, params)
            moved = jr.apply_updates(params, updates, rules) if rules else optax.apply_updates(params, updates)
            return moved, state

        jitted, held = jax.jit(step, donate_argnums=0), [({"kernel": jnp.array(kernel)}, tx.init({"kernel": kernel}))]

        def call():
            for _ in range(4):
                held[0] = jitted(held[0])
            jax.block_until_ready(held[0])

        return call

    chains = {name: stepper(tx, rules) for name, (tx, rules, _) in CHAINS.items()}
    return best(chains | {"Adam": stepper(optax.adam(1e-5), None)}, rounds=9)


@pytest.mark.parametrize("name", CHAINS)
def test_a_rule_costs_little_beside_adam(name, steps):
    assert steps[name] < CHAINS[name][2] * steps["Adam"], steps
