"""Cases of JAXopt's `tests/prox_test.py` (0.8.5), on drawn arrays. A test has the name of the case."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from helpers.exams import FAN_IN, UNITS, agree, close, drawn, per_unit
from jaxopt import projection, prox

import jaxreg as jr

SUITE = "JAXopt: proximal operators"
NOT_IN_SCOPE = {}
STEP = 0.7


def stepped(penalty):
    return lambda w: penalty.prox(w, STEP)


def with_strength(function, strength):
    return jax.jit(lambda w: function(w, strength, STEP))


def test_prox_none():
    agree(stepped(jr.L1(0.0)), prox.prox_none)


def test_prox_lasso():
    agree(stepped(jr.L1(0.5)), with_strength(prox.prox_lasso, 0.5))
    strengths = np.abs(drawn(FAN_IN, UNITS, seed=1))
    agree(stepped(jr.L1(strengths)), with_strength(prox.prox_lasso, strengths))
    points = drawn(4, 20)
    ours = jax.vmap(jax.jacobian(lambda w: jr.L1(0.5).prox(w, 1.0)))(points)
    np.testing.assert_array_equal(ours, jax.vmap(jax.jacobian(lambda w: prox.prox_lasso(w, 0.5)))(points))


def test_prox_elastic_net():
    agree(stepped(jr.L1L2(0.5, 0.5 * 0.1 / 2)), with_strength(prox.prox_elastic_net, (0.5, 0.1)))
    lam, gamma = np.abs(drawn(2, FAN_IN, UNITS, seed=1))
    agree(stepped(jr.L1L2(lam, lam * gamma / 2)), with_strength(prox.prox_elastic_net, (lam, gamma)))


def test_prox_group_lasso():
    for strength in (0.1, 4.0, 10.0):  # no, some and all groups become 0
        ours = jr.GroupLasso(strength / FAN_IN**0.5)
        agree(stepped(ours), per_unit(with_strength(prox.prox_group_lasso, strength)))


def test_prox_ridge():
    agree(stepped(jr.L2(10.0 / 2)), with_strength(prox.prox_ridge, 10.0))


def test_prox_non_negative_ridge():
    agree(lambda w: jr.NonNeg()(jr.L2(5.0).prox(w, STEP)), with_strength(prox.prox_non_negative_ridge, 10.0))


def test_prox_non_negative_lasso():
    agree(lambda w: jr.NonNeg()(jr.L1(0.5).prox(w, STEP)), with_strength(prox.prox_non_negative_lasso, 0.5))


def test_make_prox_from_projection():
    theirs = prox.make_prox_from_projection(projection.projection_simplex)
    goals = drawn(4, 10)

    def ours(goal):
        found = jr.solve(lambda w: jnp.sum((w - goal) ** 2) / 2, {".*": jr.Simplex(1.0)}, jnp.zeros(10), tolerance=1e-5)
        return found.params

    close(jax.jit(jax.vmap(ours))(goals), jax.vmap(theirs)(goals), 1e-5)


def test_pytree_comptability():
    tree = {"a": drawn(16, 16), "b": drawn(16, seed=1)}
    rules = {
        prox.prox_none: jr.L1(0.0),
        prox.prox_lasso: jr.L1(1.0),
        prox.prox_ridge: jr.L2(0.5),
        prox.prox_elastic_net: jr.L1L2(1.0, 0.5),
    }
    for theirs, rule in rules.items():
        tx = jr.proximal({".*": rule}, 1.0)
        state = tx.init(tree)
        updates, _ = tx.update(jax.tree.map(jnp.zeros_like, tree), state, tree)
        jax.tree.map(lambda a, b: close(a, b, 3e-6), optax.apply_updates(tree, updates), theirs(tree))
    both = jr.projected(jax.tree.map(lambda w: jr.L1(1.0).prox(w, 1.0), tree), {".*": jr.NonNeg()})
    jax.tree.map(lambda a, b: close(a, b, 3e-6), both, prox.prox_non_negative_lasso(tree))
    both = jr.projected(jax.tree.map(lambda w: jr.L2(0.5).prox(w, 1.0), tree), {".*": jr.NonNeg()})
    jax.tree.map(lambda a, b: close(a, b, 3e-6), both, prox.prox_non_negative_ridge(tree))
