"""Rules for one matrix on a stack of layers: each law holds of the stack as it does of its layers, one by one."""

import json
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, PartitionSpec

import jaxreg as jr

LAYERS, INPUTS, UNITS = 2, 5, 3
W = 3 * jax.random.normal(jax.random.key(0), (LAYERS, INPUTS, UNITS))
STACK = {"kernel": W, "bias": jnp.zeros((LAYERS, UNITS))}

CONSTRAINTS = {
    "SpectralNorm": jr.SpectralNorm(0.5),
    "SoftSpectralCap": jr.SoftSpectralCap(8.0, step=0.5),
    "Orthonormal": jr.Orthonormal(),
    "NuclearBall": jr.NuclearBall(2.0),
}
PENALTIES = {
    "Spectral": jr.Spectral(0.5),
    "Nuclear": jr.Nuclear(0.5),
    "Orthogonal": jr.Orthogonal(0.5),
    "GroupLasso": jr.GroupLasso(0.5),
    "Linf": jr.Linf(0.5),
}


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_a_constraint_is_on_each_layer_of_a_stack(name):
    rule = CONSTRAINTS[name]
    project = jax.jit(lambda params: jr.projected(params, rule))
    after = project(STACK)["kernel"]
    alone = jnp.stack([project({"kernel": w})["kernel"] for w in W])
    np.testing.assert_allclose(after, alone, atol=1e-6)
    moves = np.linalg.norm(alone - W, axis=(1, 2))
    assert min(moves) > 0.01
    np.testing.assert_allclose(jax.jit(lambda: jr.violation(STACK, rule))(), max(moves), rtol=1e-5)


def test_a_spectral_norm_is_that_of_each_layer():
    rules = {jr.KERNELS: jr.SpectralNorm(optax.constant_schedule(0.5))}
    tx = jr.project(rules)
    updates, _ = jax.jit(tx.update)(jax.tree.map(jnp.zeros_like, STACK), tx.init(STACK), STACK)
    singular = np.linalg.svd(optax.apply_updates(STACK, updates)["kernel"], compute_uv=False)
    np.testing.assert_allclose(singular[:, 0], 0.5, rtol=1e-5)
    (_, row) = jr.explain(STACK, {jr.KERNELS: jr.SpectralNorm(0.5)})
    assert (row.axes, row.norms) == ((1, 2), LAYERS)


def test_proximal_steps_and_farthest_points_are_those_of_the_layers():
    @partial(jax.jit, static_argnums=0)
    def moved(tx, params):
        return tx.update(jax.tree.map(jnp.ones_like, params), tx.init(params), params)[0]["kernel"]

    for tx in (
        jr.proximal(jr.Spectral(0.5), 1.0),
        jr.proximal(jr.Nuclear(0.5), 1.0),
        jr.steepest(jr.SpectralNorm(0.5)),
    ):
        alone = jnp.stack([moved(tx, {"kernel": w}) for w in W])
        np.testing.assert_allclose(moved(tx, STACK), alone, atol=1e-5)
    with pytest.raises(TypeError, match="has no proximal step; expected"):
        moved(jr.proximal(jr.Orthogonal(0.5), 1.0), STACK)


def test_bounds_hold_exactly_on_a_stack_after_a_step():
    rules = {jr.KERNELS: jr.Intersection(jr.SpectralNorm(9.0), jr.Box(0.1, 0.3))}
    tx, updates = jr.project(rules), jax.tree.map(lambda w: -0.37 * w, STACK)
    step = jax.jit(lambda params, updates: tx.update(updates, tx.init(params), params)[0])
    after = optax.apply_updates(STACK, step(STACK, updates))["kernel"]
    assert np.all((after >= np.float32(0.1)) & (after <= np.float32(0.3)))


def test_sets_that_do_not_meet_are_seen_on_a_stack():
    apart = jr.Intersection(jr.SpectralNorm(0.1), jr.Box(0.5, 1.0))
    wanted = max(jr.violation(jr.projected({"kernel": w}, apart), apart) for w in W)
    assert wanted > 0.5
    np.testing.assert_allclose(jr.violation(jr.projected(STACK, apart), apart), wanted, rtol=1e-4)


def test_axes_of_a_set_beside_one_of_singular_values_are_those_of_the_stack():
    for axis in (1, -2):
        end = jr.projected(STACK, jr.Intersection(jr.SpectralNorm(99.0), jr.L1Ball(1.0, axis=axis)))["kernel"]
        np.testing.assert_allclose(end, jr.L1Ball(1.0, axis=1)(W), atol=1e-6)
    with pytest.raises(ValueError, match=r"`axis` is 0; expected only axes from \(1, 2\), the axes of"):
        jr.explain(STACK, jr.Intersection(jr.SpectralNorm(9.0), jr.L1Ball(1.0, axis=0)))


@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_to_a_reference_has_the_axes_of_its_leaf(name):
    rules = {jr.KERNELS: jr.ToReference(PENALTIES[name], jnp.ones_like(W))}
    made = jr.to_reference(jax.tree.map(jnp.ones_like, STACK), PENALTIES[name])
    np.testing.assert_allclose(jr.penalty(STACK, rules), jr.penalty(STACK, made), rtol=1e-6)


@pytest.mark.parametrize("spec", [PartitionSpec("d"), PartitionSpec(None, None, None)], ids=str)
def test_a_stack_may_be_spread_over_devices_with_explicit_axes(spec):
    mesh = jax.make_mesh((2,), ("d",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        spread = {"kernel": jax.device_put(W, spec), "bias": STACK["bias"]}
        after = jax.jit(lambda params: jr.projected(params, jr.SpectralNorm(0.5)))(spread)["kernel"]
        cost = jax.jit(lambda params: jr.penalty(params, jr.Spectral(0.5)))(spread)
    assert after.sharding.is_equivalent_to(spread["kernel"].sharding, 3)
    np.testing.assert_allclose(after, jr.projected(STACK, jr.SpectralNorm(0.5))["kernel"], atol=1e-6)
    np.testing.assert_allclose(cost, jr.penalty(STACK, jr.Spectral(0.5)), rtol=1e-5)


ON_EIGHT_DEVICES = """
import json
import re
import jax
jax.config.update("jax_num_cpu_devices", 8)
import jax.numpy as jnp
import numpy as np
import optax
import jaxreg as jr

LAYERS = {
    "SpectralNorm": jr.SpectralNorm(0.5),
    "SpectralNorm, fast": jr.SpectralNorm(0.5, fast=True),
    "SpectralSphere": jr.SpectralSphere(0.5),
    "SoftSpectralCap": jr.SoftSpectralCap(8.0, step=0.5),
    "NuclearBall": jr.NuclearBall(2.0),
    "Orthonormal": jr.Orthonormal(),
    "Orthonormal, fast": jr.Orthonormal(fast=True),
    "PositiveSemidefinite": jr.PositiveSemidefinite(),
}
tx = optax.chain(optax.sgd(0.1), jr.project({f"{name}/kernel": rule for name, rule in LAYERS.items()}))
nuclear = jr.proximal({f"{name}/kernel": jr.Nuclear(0.1) for name in LAYERS}, 1.0)

def step(params):
    for link in (nuclear, tx):
        updates, _ = link.update(jax.tree.map(jnp.ones_like, params), link.init(params), params)
        params = optax.apply_updates(params, updates)
    return params

keys = jax.random.split(jax.random.key(1), len(LAYERS))
whole = {
    name: {"kernel": jax.random.normal(key, (8, 5, 5 if "Semi" in name else 3)), "bias": jnp.zeros((8, 3))}
    for key, name in zip(keys, LAYERS)
}
whole["PositiveSemidefinite"]["bias"] = jnp.zeros((8, 5))
expected, found = jax.jit(step)(whole), {}
for kind in jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit:
    mesh = jax.make_mesh((8,), ("layers",), axis_types=(kind,))
    spread = jax.device_put(whole, jax.NamedSharding(mesh, jax.P("layers")))
    program = jax.jit(step).lower(spread).compile()
    ends, ulps = program(spread), {}
    assert len(ends["Orthonormal"]["kernel"].sharding.device_set) == 8
    for name in LAYERS:
        w, end = (np.asarray(params[name]["kernel"]) for params in (expected, ends))
        ulps[name] = float(np.max(np.abs(end - w) / np.spacing(np.abs(w).max((1, 2), keepdims=True))))
    calls = "all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter"
    found[kind.name] = {"collectives": len(re.findall(calls, program.as_text())), "ulps": ulps}
print(json.dumps(found))
"""


def test_layers_on_eight_devices_are_projected_without_communication():
    done = subprocess.run([sys.executable, "-c", ON_EIGHT_DEVICES], capture_output=True, text=True, check=True)
    for kind, found in json.loads(done.stdout).items():
        assert found["collectives"] == 0, kind
        assert max(found["ulps"].values()) <= 2, (kind, found["ulps"])


def test_norms_stay_those_of_the_units():
    norms = jr.diagnostics.unit_norms(STACK, jr.SpectralNorm(1.0))["kernel"]
    np.testing.assert_allclose(norms, np.linalg.norm(W, axis=1), rtol=1e-6)


@pytest.mark.parametrize("wrap", [jax.vmap, lambda rule: jax.vmap(jax.jit(rule))], ids=["vmap", "jit"])
def test_a_function_around_a_rule_is_a_rule_of_its_own(wrap):
    """Without a bias no tree tells a stack; `jax.vmap` does."""
    bare = {"kernel": W}
    for rule in (jr.MinMaxNorm(0.1, 0.5, rate=0.5), jr.MaxNorm(0.5, axis=0)):
        rules = {"kernel": wrap(rule)}
        after = jr.projected(bare, rules)
        np.testing.assert_allclose(after["kernel"], jnp.stack([*map(jax.jit(rule), W)]), atol=1e-6)
        assert jr.violation(bare, rules) > 0.1
        (row,) = jr.explain(bare, rules)
        assert row.axes is None
        jr.diagnostics.at_limit(bare, rules)
    assert jr.diagnostics.unit_norms(bare, {"kernel": wrap(jr.MaxNorm(0.5))})["kernel"].shape == (UNITS,)


def test_each_layer_of_a_stack_has_a_sphere_of_its_own():
    w = W / jnp.linalg.norm(W, axis=(1, 2), keepdims=True) * jnp.array([1.0, 4.0])[:, None, None]
    params = STACK | {"kernel": w}
    one = jax.jit(lambda params: jr.projected(params, jr.FrobeniusSphere(3.0)))(params)["kernel"]
    np.testing.assert_allclose(np.linalg.norm(one, axis=(1, 2)), [3, 3], rtol=1e-6)
    rules = jr.initial_spheres(params, share=0.5)
    own = jax.jit(lambda params: jr.projected(params, rules))(jax.tree.map(lambda w: 7 * w, params))["kernel"]
    np.testing.assert_allclose(np.linalg.norm(own, axis=(1, 2)), [0.5, 2], rtol=1e-6)
    rules = jr.initial_boxes(params, share=0.5)
    boxed = jr.projected(params, rules)["kernel"]
    np.testing.assert_allclose(np.max(np.abs(boxed), axis=(1, 2)), np.max(np.abs(w), axis=(1, 2)) / 2, rtol=1e-6)
    limits = jr.projected(params, jr.SpectralNorm(jnp.array([0.1, 0.2])))["kernel"]
    np.testing.assert_allclose(np.linalg.svd(limits, compute_uv=False)[:, 0], [0.1, 0.2], rtol=1e-5)


def test_layers_may_be_counted_by_the_second_axis():
    moved = {"kernel": jnp.moveaxis(W, 0, 1), "bias": STACK["bias"].T}
    for rule in (jr.SpectralNorm(0.5), jr.FrobeniusSphere(1.0), jr.MaxNorm(0.1)):
        expected = jnp.moveaxis(jr.projected(STACK, rule)["kernel"], 0, 1)
        np.testing.assert_allclose(jr.projected(moved, rule)["kernel"], expected, atol=1e-6)
    np.testing.assert_allclose(jr.penalty(moved, jr.Nuclear(0.5)), jr.penalty(STACK, jr.Nuclear(0.5)), rtol=1e-6)
