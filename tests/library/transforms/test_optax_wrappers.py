"""The links inside Optax's own wrappers, which show them masks and placeholders instead of parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr
from jaxreg import transforms

PARAMS = {"a": {"kernel": jnp.full((3, 2), 2.0), "bias": jnp.zeros(2)}, "b": {"kernel": jnp.ones((2, 1))}}
L2, MAX_NORM = {"a/kernel": jr.L2(0.1)}, {"a/kernel": jr.MaxNorm(1.0)}
LINKS = {
    "penalize": lambda: jr.penalize(L2),
    "decay": lambda: jr.decay(L2),
    "independent_decay": lambda: jr.independent_decay(L2, 0.1),
    "corrected_decay": lambda: jr.corrected_decay(L2, 0.1, 0.1),
    "cautious_decay": lambda: jr.cautious_decay(L2),
    "mean_decay": lambda: jr.mean_decay(L2, 0.9),
    "p_norm_decay": lambda: jr.p_norm_decay({"a/kernel": jr.Lp(0.1, 1.0)}, 0.1),
    "proximal": lambda: jr.proximal(L2, 0.1),
    "proximal_adam": lambda: jr.proximal_adam(L2, 0.1),
    "bregman": lambda: jr.bregman(L2),
    "bounded": lambda: jr.bounded(L2, jr.InflectionBound()),
    "project": lambda: jr.project(MAX_NORM),
    "conditional_gradient": lambda: jr.conditional_gradient(MAX_NORM),
    "steepest": lambda: jr.steepest(MAX_NORM),
    "tangent": lambda: jr.tangent({"a/kernel": jr.FrobeniusSphere(1.0)}),
    "transported_momentum": lambda: jr.transported_momentum(
        optax.trace(0.9), {"a/kernel": jr.FrobeniusSphere(1.0)}, moment="trace"
    ),
    "radial_brake": lambda: jr.radial_brake({"a/kernel": jr.FrobeniusSphere(1.0)}, 0.5),
    "relative_update": lambda: jr.relative_update({"a/kernel": jr.FrobeniusSphere(1.0)}),
    "hyperball": lambda: jr.hyperball({"a/kernel": jr.FrobeniusSphere(1.0)}, 0.1),
    "regularize": lambda: jr.regularize(optax.adam(0.1), penalties=L2, constraints=MAX_NORM),
}
each_link = pytest.mark.parametrize("name", LINKS)


def test_the_table_holds_every_transformation():
    no_link, needs_logits = {"check", "shrink_and_perturb"}, {"qk_clip"}
    made = {name for name in transforms.__all__ if name[0].islower()} - no_link - needs_logits
    assert LINKS.keys() == made


@each_link
def test_a_state_can_be_mapped_over(name):
    tx = optax.chain(optax.scale_by_adam(), LINKS[name]())
    state = tx.init(PARAMS)
    same = optax.tree_map_params(tx, lambda value: value, state)
    assert jax.tree.structure(same) == jax.tree.structure(state)
    # Adam's two means, and what else a link keeps for each parameter.
    specs = jax.tree.map(lambda w: f"spec of {w.shape}", PARAMS)
    mapped = optax.tree_map_params(tx, lambda _, spec: spec, state, specs, transform_non_params=lambda _: None)
    twice = ("proximal_adam", "regularize", "transported_momentum")
    copies = 2 + 2 * (name in twice) + (name in ("bregman", "mean_decay"))
    assert jax.tree.leaves(mapped) == copies * jax.tree.leaves(specs)


@each_link
def test_a_link_that_is_masked_away_does_nothing(name):
    grads = jax.tree.map(jnp.ones_like, PARAMS)
    for mask in (jax.tree.map(lambda _: False, PARAMS), {"a": False, "b": False}, False):
        tx = optax.masked(LINKS[name](), mask)
        updates, _ = jax.jit(tx.update)(grads, tx.init(PARAMS), PARAMS)
        assert jax.tree.all(jax.tree.map(np.array_equal, updates, grads))


def test_a_group_of_a_partition_without_a_match_does_nothing():
    labels = {"a": {"kernel": "held", "bias": "free"}, "b": {"kernel": "free"}}
    tx = optax.partition(
        {label: optax.chain(optax.sgd(1.0), jr.project(MAX_NORM)) for label in ("held", "free")}, labels
    )
    updates, _ = tx.update(jax.tree.map(jnp.zeros_like, PARAMS), tx.init(PARAMS), PARAMS)
    moved = optax.apply_updates(PARAMS, updates)
    np.testing.assert_allclose(np.linalg.norm(moved["a"]["kernel"], axis=0), 1, rtol=1e-6)
    assert np.array_equal(moved["b"]["kernel"], PARAMS["b"]["kernel"])


def test_a_pattern_without_a_match_is_an_error_in_a_full_tree_unless_it_is_optional():
    rules = {"a/kernel": jr.MaxNorm(1.0), "head/kernel": jr.NonNeg()}
    with pytest.raises(ValueError, match="'head/kernel' matches no parameter"):
        jr.projected(PARAMS, rules)
    with pytest.raises(ValueError, match="EMBEDDINGS matches no parameter"):
        jr.projected(PARAMS, {jr.EMBEDDINGS: jr.NonNeg()})
    with pytest.raises(ValueError, match="'a/kernel' matches no parameter"):
        jr.projected({}, rules)
    loose = {
        "a/kernel": jr.MaxNorm(1.0),
        jr.optional("head/kernel"): jr.NonNeg(),
        jr.optional(jr.EMBEDDINGS): jr.NonNeg(),
    }
    moved = jr.projected(PARAMS, loose)
    np.testing.assert_allclose(np.linalg.norm(moved["a"]["kernel"], axis=0), 1, rtol=1e-6)
    whole = {jr.optional(jr.KERNELS): jr.MaxNorm(0.5), jr.optional("a/bias"): jr.Box(1.0, 2.0)}
    moved = jax.jit(lambda params, rules: jr.projected(params, rules))(PARAMS, whole)  # its keys are sorted
    assert np.array_equal(moved["a"]["bias"], np.ones(2))
    assert float(moved["b"]["kernel"].max()) < 0.5
