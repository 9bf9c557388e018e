"""Rules on whole trees: penalty, projected, apply_updates, violation, feasible."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr


def tree(seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)

    def layer(inputs: int, units: int) -> dict:
        return {
            "kernel": jnp.asarray(rng.normal(size=(inputs, units)), jnp.float32),
            "bias": jnp.asarray(rng.normal(size=units), jnp.float32),
        }

    return {"hidden": layer(4, 3), "output": layer(3, 2)}


TAKES_RULES = {
    "penalty": lambda params, rules: jr.penalty(params, rules),
    "projected": lambda params, rules: jr.projected(params, rules),
    "violation": lambda params, rules: jr.violation(params, rules),
    "feasible": lambda params, rules: jr.feasible(params, rules),
    "apply_updates": lambda params, rules: jr.apply_updates(params, jax.tree.map(jnp.zeros_like, params), rules),
}


@pytest.mark.parametrize("name", TAKES_RULES)
@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"hiden/kernel": jr.NonNeg()}, r"'hiden/kernel' matches no parameter.*hidden/bias, hidden/kernel"),
        ({".*/kernel": jr.NonNeg(), "hidden/.*": jr.NonNeg()}, "hidden/kernel matches the patterns.*kernel.*hidden/"),
        ({jr.RECURRENT_KERNELS: jr.NonNeg()}, "RECURRENT_KERNELS matches no parameter"),
    ],
)
def test_bad_rules_are_refused_with_the_paths(name, rules, said):
    with pytest.raises(ValueError, match=said):
        TAKES_RULES[name](tree(), rules)


def test_penalty_is_the_sum_over_the_leaves_that_rules_name():
    params = tree()
    hidden, output = (np.asarray(params[k]["kernel"], np.float64) for k in ("hidden", "output"))
    bias = np.asarray(params["output"]["bias"], np.float64)
    np.testing.assert_allclose(jr.penalty(params, jr.L2(0.5)), 0.5 * (np.sum(hidden**2) + np.sum(output**2)), rtol=1e-6)
    rules = {"hidden/kernel": jr.L1(2.0), "output/bias": jr.L2(3.0)}
    np.testing.assert_allclose(jr.penalty(params, rules), 2 * np.abs(hidden).sum() + 3 * np.sum(bias**2), rtol=1e-6)


def test_a_penalty_can_be_any_function_of_an_array():
    params = tree()
    np.testing.assert_allclose(jr.penalty(params, {"output/bias": jnp.max}), np.max(params["output"]["bias"]))


def test_scheduled_strengths_are_read_at_the_step():
    params, rules = tree(), jr.L2(lambda step: 0.1 * step)
    np.testing.assert_allclose(jr.penalty(params, rules, step=3), jr.penalty(params, jr.L2(0.3)), rtol=1e-6)
    with pytest.raises(ValueError, match="pass step="):
        jr.penalty(params, rules)


def test_kinds_of_rules_are_not_mixed_up():
    with pytest.raises(TypeError, match=r"hidden/kernel.*jaxreg.project"):
        jr.penalty(tree(), jr.MaxNorm(1.0))
    with pytest.raises(TypeError, match=r"hidden/kernel.*jaxreg.penalize"):
        jr.projected(tree(), jr.L2(1.0))


def test_projected_changes_the_named_leaves_alone():
    params = tree()
    near = jr.projected(params, {"hidden/kernel": jr.MaxNorm(0.5)})
    norms = np.linalg.norm(np.asarray(params["hidden"]["kernel"], np.float64), axis=0)
    want = np.asarray(params["hidden"]["kernel"]) * np.minimum(1, 0.5 / norms)
    np.testing.assert_allclose(near["hidden"]["kernel"], want, rtol=1e-5)
    for path in (("hidden", "bias"), ("output", "kernel"), ("output", "bias")):
        np.testing.assert_array_equal(near[path[0]][path[1]], params[path[0]][path[1]])
    assert jr.violation(near, {"hidden/kernel": jr.MaxNorm(0.5)}) == 0


def test_violation_is_the_largest_distance():
    params = {"kernel": jnp.array([[3.0, 0.1], [4.0, 0.2]]), "bias": jnp.array([-0.25, 2.0])}
    rules = {jr.KERNELS: jr.MaxNorm(1.0), jr.BIASES: jr.NonNeg()}
    np.testing.assert_allclose(jr.violation(params, rules), 4.0, rtol=1e-6)
    np.testing.assert_allclose(jr.violation(params, {jr.BIASES: jr.NonNeg()}), 0.25, rtol=1e-6)
    assert jr.violation(params, {jr.KERNELS: jr.MaxNorm(6.0)}) == 0
    assert jr.feasible(params, {jr.BIASES: jr.NonNeg()}, tolerance=0.3)
    assert not jr.feasible(params, {jr.BIASES: jr.NonNeg()}, tolerance=0.2)


def test_apply_updates_lands_exactly_on_the_projection_of_the_sum():
    params, updates = tree(), tree(1)
    moved = jr.apply_updates(params, updates, {jr.KERNELS: jr.MaxNorm(0.7), jr.BIASES: jr.NonNeg()})
    plain = optax.apply_updates(params, updates)
    for layer in ("hidden", "output"):
        np.testing.assert_array_equal(moved[layer]["kernel"], jr.MaxNorm(0.7)(plain[layer]["kernel"]))
        np.testing.assert_array_equal(moved[layer]["bias"], np.maximum(plain[layer]["bias"], 0))


def test_none_leaves_stay_none():
    params = {"hidden": {"kernel": jnp.full((2, 2), 3.0), "bias": None}}
    assert jr.projected(params, jr.MaxNorm(1.0))["hidden"]["bias"] is None
    assert jr.penalty(params, jr.L1(1.0)) == 12
    assert jr.violation(params, jr.NonNeg()) == 0
    assert jr.apply_updates(params, params, jr.NonNeg())["hidden"]["bias"] is None
    # No update, as behind a mask or an Equinox filter: projected as it is.
    params = {"kernel": jnp.array([[-1.0], [2.0]]), "bias": jnp.ones(1)}
    moved = jr.apply_updates(params, dict.fromkeys(params), jr.NonNeg())
    np.testing.assert_array_equal(np.vstack([moved["kernel"], moved["bias"][:, None]]), [[0], [2], [1]])


def test_no_rules_cost_nothing_and_always_hold():
    for found in (jr.penalty(tree(), {}), jr.violation(tree(), {})):
        assert (found, found.dtype) == (0, jnp.float32)


def test_wide_updates_do_not_widen_narrow_weights():
    params = {"kernel": jnp.ones((2, 2), jnp.bfloat16), "bias": jnp.ones(2, jnp.bfloat16)}
    moved = jr.apply_updates(params, jax.tree.map(lambda w: w.astype(jnp.float32), params), jr.NonNeg())
    assert [w.dtype for w in jax.tree.leaves(moved)] == [jnp.bfloat16] * 2


@pytest.mark.parametrize("name", ["penalty", "violation"])
def test_mapped_hyperparameters_equal_a_loop(name):
    params, values = tree(), jnp.array([0.1, 0.5, 2.0])
    make = {"penalty": jr.L1, "violation": jr.MaxNorm}[name]
    found = jax.vmap(lambda v: TAKES_RULES[name](params, make(v)))(values)
    np.testing.assert_allclose(found, [TAKES_RULES[name](params, make(v)) for v in values], rtol=1e-6)


def test_a_norm_of_several_leaves_together():
    params = tree()
    rules = {jr.KERNELS: jr.TreeNorm(2.0), "hidden/bias": jr.NonNeg()}
    total = np.sqrt(sum(np.sum(np.square(np.asarray(params[k]["kernel"], np.float64))) for k in params))
    near = jr.projected(params, rules)
    for layer in params:
        np.testing.assert_allclose(near[layer]["kernel"], params[layer]["kernel"] * 2 / total, rtol=1e-5)
    np.testing.assert_array_equal(near["hidden"]["bias"], np.maximum(params["hidden"]["bias"], 0))
    np.testing.assert_array_equal(near["output"]["bias"], params["output"]["bias"])
    np.testing.assert_allclose(jr.violation(params, {jr.KERNELS: jr.TreeNorm(2.0)}), abs(total - 2), rtol=1e-5)
    assert jr.violation(near, rules) <= 1e-6


SAME = jr.TreeNorm(1.0)


@pytest.mark.parametrize(
    ("rules", "sets"),
    [
        ({"a/.*": SAME, "b/.*": SAME}, ["a", "b"]),
        ({"a/.*": jr.TreeNorm(1.0), "b/.*": jr.TreeNorm(1.0)}, ["a", "b"]),
        ({"(a|b)/.*": SAME}, ["ab"]),
        ({jr.KERNELS: SAME, jr.RECURRENT_KERNELS: SAME}, ["a", "b"]),
        (SAME, ["ab"]),
    ],
    ids=["one object", "two objects", "one pattern", "two kinds", "bare"],
)
def test_leaves_of_one_pattern_have_one_norm_inside_and_outside_of_jit(rules, sets):
    params = {name: {leaf: jnp.full((2, 2), 1.0 + i)} for i, (name, leaf) in enumerate((("a", "w_i"), ("b", "w_h")))}
    for project in (jr.projected, jax.jit(jr.projected), lambda p, r: jax.jit(lambda p: jr.projected(p, r))(p)):
        near = project(params, rules)
        for layers in sets:
            total = sum(float(jnp.sum(w**2)) for layer in layers for w in near[layer].values())
            np.testing.assert_allclose(total, 1, rtol=1e-6)


def test_lanes_may_be_spread_over_devices_with_explicit_axes():
    mesh = jax.make_mesh((4,), ("lanes",), axis_types=(jax.sharding.AxisType.Explicit,))
    lanes = {"a": {"kernel": np.full((4, 3, 2), 2.0, np.float32)}, "b": {"kernel": np.ones((4, 2, 2), np.float32)}}
    with jax.set_mesh(mesh):
        lanes = jax.device_put(lanes, jax.sharding.PartitionSpec("lanes"))
        norms = jax.jit(jax.vmap(jr.tree_norm))(lanes)
        distances = jax.jit(jax.vmap(lambda params: jr.violation(params, jr.MaxNorm(1.0))))(lanes)
    np.testing.assert_allclose(norms, 4 * [28**0.5], rtol=1e-6)
    np.testing.assert_allclose(distances, 4 * [12**0.5 - 1], rtol=1e-5)


def test_rules_to_a_reference_measure_from_it():
    start, now = tree(), tree(1)
    rules = jr.to_reference(start, {jr.KERNELS: jr.L2(0.5), "hidden/bias": jr.L1(2.0)})
    away = jax.tree.map(lambda a, b: np.asarray(a, np.float64) - np.asarray(b, np.float64), now, start)
    wanted = 0.5 * sum(np.sum(away[k]["kernel"] ** 2) for k in away) + 2 * np.abs(away["hidden"]["bias"]).sum()
    np.testing.assert_allclose(jr.penalty(now, rules), wanted, rtol=1e-6)
    assert jr.penalty(start, rules) == 0
    grouped = jr.to_reference(start, jr.GroupLasso(1.0))
    norms = sum(np.sqrt(len(away[k]["kernel"])) * np.linalg.norm(away[k]["kernel"], axis=0).sum() for k in away)
    np.testing.assert_allclose(jr.penalty(now, grouped), norms, rtol=1e-5)
    alike = {"a.c": jnp.ones(2), "abc": jnp.ones(2)}  # names are no patterns
    assert jr.penalty(alike, jr.to_reference(alike, {".*": jr.L2(1.0)})) == 0
    with pytest.raises(TypeError, match="expected a penalty such as"):
        jr.to_reference(start, {jr.KERNELS: jnp.sum})


@pytest.mark.parametrize("constraint", [jr.MinMaxNorm(1.0, 2.0, rate=0.1), jr.keras.MinMaxNorm(1.0, 2.0, rate=0.1)])
def test_violation_is_the_whole_way_to_the_set_at_any_rate(constraint):
    far = {"kernel": jnp.array([[3.0], [4.0]])}  # norm 5, and 2 is the most allowed
    np.testing.assert_allclose(jr.violation(far, constraint), 3.0, rtol=1e-5)


SLOW = [
    jr.MinMaxNorm(0.1, 0.2, rate=0.5),
    jr.keras.MinMaxNorm(0.1, 0.2, rate=0.5),
    jr.MinMaxNorm(0.1, 0.2, rate=optax.constant_schedule(0.5)),
    jr.Reshaped(jr.MinMaxNorm(0.1, 0.2, rate=0.5, axis=0), shape=(2, -1)),
]


@pytest.mark.parametrize("constraint", SLOW, ids=repr)
def test_projected_goes_the_whole_way_at_any_rate(constraint):
    params = {"kernel": jnp.array([[3.0, 0.03, 0.09], [4.0, 0.04, 0.12]])}  # norms 5, 0.05, 0.15
    for way in (lambda project: project, jax.jit):
        end = way(lambda p: jr.projected(p, {"kernel": constraint}, step=0))(params)
        norms = np.linalg.norm(np.asarray(end["kernel"], np.float64), axis=0)
        np.testing.assert_allclose(norms, [0.2, 0.1, 0.15], rtol=2e-6)
        assert jr.feasible(end, {"kernel": constraint}, step=0)
    half = jr.apply_updates(params, jax.tree.map(jnp.zeros_like, params), {"kernel": constraint}, step=0)
    np.testing.assert_allclose(np.linalg.norm(half["kernel"], axis=0), [2.6, 0.075, 0.15], rtol=1e-5)


# Rules of Keras, and the limits of the norm that each stands for.
LIMITS = [
    (jr.keras.MaxNorm(1.0), 0.0, 1.0),
    (jr.keras.MinMaxNorm(0.5, 1.0), 0.5, 1.0),
    (jr.keras.MinMaxNorm(0.5, 1.0, rate=0.3), 0.5, 1.0),
    (jr.keras.UnitNorm(), 1.0, 1.0),
    (jr.Reshaped(jr.keras.MinMaxNorm(0.5, 1.0), shape=(3, 2)), 0.5, 1.0),
    (jr.Intersection(jr.keras.MaxNorm(1.0), jr.NonNeg()), 0.0, 1.0),
    (jr.Intersection(jr.NonNeg(), jr.keras.MaxNorm(1.0), jr.Box(0.0, 5.0)), 0.0, 1.0),
]


@pytest.mark.parametrize(("constraint", "low", "high"), LIMITS)
def test_rules_of_keras_are_judged_by_their_limits_on_the_norm(constraint, low, high):
    for norm in (0.0, 1e-6, 0.25, 0.75, 1.0, 3.0):
        params = {"kernel": jnp.array([[norm, 1.0], [0.0, 0.0], [0.0, 0.0]])}
        away = abs(np.clip(norm, low, high) - norm)
        found = jax.jit(lambda p: (jr.violation(p, constraint), jr.diagnostics.violations(p, constraint)))(params)
        np.testing.assert_allclose([found[0], found[1]["kernel"]], away, rtol=1e-5, atol=0 if away == 0 else 1e-6)
        assert jr.feasible(params, constraint) == (away == 0)
        end = jr.projected(params, constraint)
        assert jr.feasible(end, constraint)
        if away == 0:
            np.testing.assert_array_equal(end["kernel"], params["kernel"])


@pytest.mark.parametrize(
    "constraint", [jr.MaxNorm(1.0), jr.UnitNorm(), jr.NonNeg(), jr.TreeNorm(1.0), jr.Box(-1.0, 1.0)]
)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_in_no_set(constraint, bad):
    params = {"kernel": jnp.array([[bad, 0.1], [0.0, 0.2]])}
    if not (bad == np.inf and constraint == jr.NonNeg()):
        assert not jr.feasible(params, constraint, tolerance=1e6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_narrow_weights_need_no_implicit_promotion(dtype):
    params = {"kernel": jnp.ones((4, 2), dtype)}
    with jax.numpy_dtype_promotion("strict"):
        assert jr.penalty(params, jr.L2(0.5)) == 4
        near = jr.projected(params, jr.MaxNorm(1.0))
        assert jr.violation(near, jr.MaxNorm(1.0)) == 0
    assert near["kernel"].dtype == dtype


def test_weights_that_a_python_number_filled_are_as_wide_as_others():
    with jax.enable_x64(True):
        filled = {"kernel": jnp.full((4, 3), 0.7)}  # JAX would let a float32 narrow them
        cast = jax.tree.map(lambda w: w.astype(w.dtype), filled)
        for rule in (jr.L2(jnp.float32(0.3)), jr.Spectral(jnp.float32(0.3))):
            assert jr.penalty(filled, rule) == jr.penalty(cast, rule)
            assert jr.penalty(filled, rule).dtype == np.float64


def test_trees_of_numpy_arrays_are_read_in_jax_s_own_precision():
    params = {"kernel": np.full((4, 1), 2.0)}  # float64
    for end in (jr.projected(params, jr.UnitNorm()), jr.apply_updates(params, params, jr.UnitNorm())):
        assert end["kernel"].dtype == jnp.float32
        np.testing.assert_allclose(end["kernel"], 0.5)
    np.testing.assert_allclose(jr.violation(params, jr.MaxNorm(1.0)), 3.0, rtol=1e-6)


@pytest.mark.skipif(jax.__version_info__ < (0, 10, 2), reason="an older XLA copies")
@pytest.mark.parametrize("way", ["apply_updates", "project"])
def test_a_large_matrix_is_projected_without_copies(way):
    """In the memory of the parameters; by a link, in that and the point's own. Fresh memory costs more than work."""
    shape = (1024, 512)
    rules, adam = {"kernel": jr.MaxNorm(1.0)}, optax.adam(1e-3)
    link = optax.chain(adam, jr.project(rules))

    def step(params, state, grads):
        if way == "project":
            updates, state = link.update(grads, state, params)
            return optax.apply_updates(params, updates), state
        updates, state = adam.update(grads, state, params)
        return jr.apply_updates(params, updates, rules), state

    params = {"kernel": jax.ShapeDtypeStruct(shape, jnp.float32)}
    state = jax.eval_shape(link.init if way == "project" else adam.init, params)
    compiled = jax.jit(step, donate_argnums=(0, 1)).lower(params, state, params).compile()
    copies = compiled.memory_analysis().temp_size_in_bytes / (4 * shape[0] * shape[1])
    assert copies < {"apply_updates": 0.1, "project": 1.1}[way]


@pytest.mark.parametrize("rule", [jr.Box(jnp.zeros(5), 1.0), jr.MaxNorm(jnp.ones(5))], ids=["Box", "MaxNorm"])
def test_limits_of_a_wrong_shape_are_refused_with_rule_and_path(rule):
    params = {"hidden": {"kernel": jnp.ones((3, 4))}}
    said = r"the rule \w+\(.*array of \(5,\).*\) for hidden/kernel: .*(5,?\)|shape)"
    for use in (
        jr.projected,
        lambda params, rules: jr.project(rules).update(params, jr.project(rules).init(params), params),
    ):
        with pytest.raises((TypeError, ValueError), match=said):
            use(params, {"hidden/kernel": rule})


def test_a_function_that_returns_a_number_and_a_class_are_no_constraints():
    params = {"kernel": jnp.ones((4, 6))}
    for judge in (jr.feasible, jr.violation, jr.diagnostics.violations, jr.projected):
        with pytest.raises(TypeError, match=r"returns an array of shape \(\) for weights of shape \(4, 6\); expected"):
            judge(params, lambda w: jnp.sum(w))
    with pytest.raises(TypeError, match=r"Reshaped: the rule is the class MaxNorm; .* Write MaxNorm\(\.\.\.\)"):
        jr.Reshaped(jr.MaxNorm, (2, -1))
