"""`regularize` against trajectories in NumPy float64, around finished optimisers of Optax."""

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr

RNG = np.random.default_rng(0)
W, G = RNG.normal(size=(4, 3)), RNG.normal(size=(5, 4, 3))
RATE, L2, LIMIT = 0.1, 0.3, 1.2


def trained(tx, gradients=G, **extra):
    params = {"kernel": jnp.asarray(W, jnp.float32), "bias": jnp.ones(3)}
    state = tx.init(params)
    for gradient in gradients:
        updates = {"kernel": jnp.asarray(gradient, jnp.float32), "bias": jnp.zeros(3)}
        updates, state = tx.update(updates, state, params, **extra)
        params = optax.apply_updates(params, updates)
    return params


def max_norm(w):
    return w * np.minimum(1, LIMIT / np.linalg.norm(w, axis=0))


def test_each_part_acts_in_its_place_around_sgd():
    w = W
    for g in G:
        step = w - RATE * (g + 2 * L2 * w) - RATE * 2 * L2 * w  # coupled, and decoupled beside it
        step = np.sign(step) * np.maximum(np.abs(step) - RATE * 0.05, 0)  # the proximal step of L1
        w = max_norm(step)
    tx = jr.regularize(
        optax.sgd(RATE),
        RATE,
        penalties=jr.L2(L2),
        decays=jr.L2(L2),
        proximals=jr.L1(0.05),
        constraints=jr.MaxNorm(LIMIT),
    )
    params = trained(tx)
    np.testing.assert_allclose(params["kernel"], w, atol=1e-6)
    chex.assert_trees_all_equal(params["bias"], jnp.ones(3))  # a bare rule is for kernels only


def test_decay_beside_adam_is_adamw():
    tx = jr.regularize(optax.adam(RATE), RATE, decays={".*": jr.L2(L2 / 2)})
    chex.assert_trees_all_close(trained(tx), trained(optax.adamw(RATE, weight_decay=L2)), atol=1e-6)


def test_an_optimiser_that_is_finished_with_a_decay_of_its_own_is_constrained():
    params = trained(jr.regularize(optax.adamw(1.0, weight_decay=0.1), constraints={jr.KERNELS: jr.MaxNorm(LIMIT)}))
    assert (np.linalg.norm(params["kernel"], axis=0) <= LIMIT).all()


def test_schedules_and_extra_arguments_pass_through():
    def scaled(updates, state, params=None, *, size):
        return jax.tree.map(lambda u: -size * u, updates), state

    optimizer = optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), scaled)
    schedule = optax.linear_schedule(0.1, 0.0, 4)
    tx = jr.regularize(optimizer, schedule, decays={jr.KERNELS: jr.L2(0.5)}, constraints=jr.MaxNorm(100.0))
    w = W
    for n, g in enumerate(G):
        w = w - 0.3 * g - 0.1 * max(0.0, 1 - n / 4) * w
    np.testing.assert_allclose(trained(tx, size=0.3)["kernel"], w, atol=1e-6)


def test_without_rules_it_is_the_optimiser():
    chex.assert_trees_all_equal(trained(jr.regularize(optax.adam(RATE))), trained(optax.adam(RATE)))


@pytest.mark.parametrize("name", ["decays", "proximals"])
def test_what_is_scaled_by_the_learning_rate_needs_it(name):
    with pytest.raises(ValueError, match=f"{name} are scaled by the learning rate.*pass learning_rate="):
        jr.regularize(optax.adam(RATE), **{name: jr.L2(1.0)})


@pytest.mark.parametrize("optimizer", [0.1, optax.adam, None])
def test_an_optimiser_that_is_none_is_refused(optimizer):
    with pytest.raises(TypeError, match="expected a complete Optax optimiser"):
        jr.regularize(optimizer)


@pytest.mark.parametrize("rules", [{jr.KERNELS: jr.MaxNorm(0.5)}, jr.MaxNorm(0.5), jr.L2(0.1)])
def test_rules_in_the_place_of_the_learning_rate_are_refused(rules):
    with pytest.raises(TypeError, match=r"learning_rate is .*Pass rules by name: penalties=.* or constraints="):
        jr.regularize(optax.adam(RATE), rules)


def test_a_negative_learning_rate_is_refused():
    with pytest.raises(ValueError, match=r"jaxreg\.regularize: learning_rate is -0\.1; expected a number"):
        jr.regularize(optax.adam(RATE), -0.1, decays=jr.L2(1.0))


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (jr.regularize(optax.adam(0.1), constraints=jr.MaxNorm(1.0)).init, "regularize"),
        (jr.proximal_adam(jr.L1(0.1), 0.1).init, "proximal_adam"),
        (lambda model: jr.check(optax.adam(0.1), model), "check"),
    ],
)
def test_a_module_with_functions_is_refused_with_the_way_to_filter_it(start, name):
    model = eqx.nn.MLP(2, 1, 3, 1, key=jax.random.key(0))
    with pytest.raises(TypeError, match=rf"jaxreg\.{name}: params holds .* at 'activation'.*eqx\.filter\(model"):
        start(model)
    start(eqx.filter(model, eqx.is_inexact_array))


def test_an_optimiser_that_accepts_functions_still_does():
    model = eqx.nn.MLP(2, 1, 3, 1, key=jax.random.key(0))
    jr.regularize(optax.sgd(0.1), constraints=jr.MaxNorm(1.0)).init(model)
