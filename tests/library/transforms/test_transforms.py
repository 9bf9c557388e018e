"""penalize and project as links of chains, alone and inside Optax's wrappers."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr

PENALTIES = {
    "L1": (jr.L1(0.3), lambda w: 0.3 * np.sign(w)),
    "L2": (jr.L2(0.3), lambda w: 0.6 * w),
    "L1L2": (jr.L1L2(l1=0.3, l2=0.2), lambda w: 0.3 * np.sign(w) + 0.4 * w),
}

# Each constraint with what the weights of one group must satisfy; `slack` is for sets that are no more than a surface.
CONSTRAINTS = {
    "MaxNorm": (jr.MaxNorm(0.8), lambda w: np.linalg.norm(w, axis=0).max() <= 0.8),
    "MinMaxNorm": (
        jr.MinMaxNorm(0.5, 0.9),
        lambda w: np.all(abs(np.linalg.norm(w, axis=0) - 0.7) <= 0.2 + 1e-6),
    ),
    "UnitNorm": (jr.UnitNorm(), lambda w: np.all(abs(np.linalg.norm(w, axis=0) - 1) <= 1e-6)),
    "NonNeg": (jr.NonNeg(), lambda w: np.all(w >= 0)),
}
each_constraint = pytest.mark.parametrize("name", CONSTRAINTS)


def model(seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> jax.Array:
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    return {
        "hidden": {"kernel": normal(2, 8), "bias": normal(8)},
        "output": {"kernel": normal(8, 1), "bias": normal(1)},
    }


def loss(params: dict, scale: float = 1.0) -> jax.Array:
    x = jnp.asarray(np.random.default_rng(7).normal(size=(16, 2)), jnp.float32)
    hidden = jnp.tanh(x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    found = hidden @ params["output"]["kernel"] + params["output"]["bias"]
    return scale * jnp.mean((found[:, 0] - jnp.sin(3 * x[:, 0])) ** 2)


slope_of_loss = jax.grad(loss)


def trace(tx: optax.GradientTransformation, params: dict, steps: int, slope=slope_of_loss) -> list[dict]:
    """The parameters after each step."""

    @jax.jit
    def step(params, state):
        updates, state = tx.update(slope(params), state, params)
        return optax.apply_updates(params, updates), state

    state, path = tx.init(params), []
    for _ in range(steps):
        params, state = step(params, state)
        path.append(params)
    return path


def kernels(params: dict) -> list[np.ndarray]:
    return [np.asarray(layer["kernel"], np.float64) for layer in params.values()]


@pytest.mark.parametrize("name", PENALTIES)
def test_penalize_adds_the_slope_to_the_kernels_alone(name):
    penalty, slope = PENALTIES[name]
    params, grads = model(), model(1)
    tx = jr.penalize(penalty)
    updates, _ = tx.update(grads, tx.init(params), params)
    for layer in params:
        want = grads[layer]["kernel"] + slope(np.asarray(params[layer]["kernel"]))
        np.testing.assert_allclose(updates[layer]["kernel"], want, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(updates[layer]["bias"], grads[layer]["bias"])


def test_penalize_trains_like_a_penalty_in_the_loss():
    rules = {"hidden/kernel": jr.L1L2(l1=0.01, l2=0.02), jr.BIASES: jr.L2(0.1)}
    inside = trace(optax.adam(0.05), model(), 30, jax.grad(lambda p: loss(p) + jr.penalty(p, rules)))
    chex.assert_trees_all_close(
        trace(optax.chain(jr.penalize(rules), optax.adam(0.05)), model(), 30), inside, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("name", PENALTIES)
def test_strength_zero_is_no_penalty(name):
    nothing = jax.tree.map(lambda s: 0.0 * s, PENALTIES[name][0])
    tx = jr.penalize(nothing)
    chex.assert_trees_all_equal(tx.update(model(1), tx.init(model()), model())[0], model(1))
    chex.assert_trees_all_close(
        trace(optax.chain(tx, optax.adam(0.05)), model(), 5), trace(optax.adam(0.05), model(), 5), rtol=1e-5, atol=1e-6
    )


def test_l1_gives_no_kick_to_weights_at_zero():
    params = {"kernel": jnp.zeros((3, 2))}
    tx = optax.chain(jr.penalize(jr.L1(0.1)), optax.adam(0.1))
    chex.assert_trees_all_equal(trace(tx, params, 1, lambda p: jax.tree.map(jnp.zeros_like, p))[0], params)


def test_scheduled_strength_is_read_at_each_step():
    params = {"kernel": jnp.ones((1, 1))}
    tx = optax.chain(jr.penalize(jr.L2(optax.piecewise_constant_schedule(0.0, {0: 1.0}))), optax.sgd(1.0))
    still = trace(tx, params, 2, lambda p: jax.tree.map(jnp.zeros_like, p))
    chex.assert_trees_all_equal(still[-1], params)
    tx = optax.chain(jr.penalize(jr.L2(lambda step: jnp.where(step < 2, 0.0, 0.25))), optax.sgd(1.0))
    path = trace(tx, params, 4, lambda p: jax.tree.map(jnp.zeros_like, p))
    np.testing.assert_allclose([p["kernel"][0, 0] for p in path], [1, 1, 0.5, 0.25])


@each_constraint
def test_the_constraint_holds_after_every_step_of_adam(name):
    constraint, holds = CONSTRAINTS[name]
    path = trace(optax.chain(optax.adam(0.1), jr.project(constraint)), model(), 40)
    assert all(holds(w) for params in path for w in kernels(params))
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *path)
    assert jnp.max(jax.jit(jax.vmap(lambda params: jr.violation(params, constraint)))(together)) <= 1e-6
    free = trace(optax.adam(0.1), model(), 40)
    assert not all(holds(w) for params in free for w in kernels(params))


def test_projected_descent_ends_at_the_constrained_minimum():
    # min ‖w - a‖² with ‖w‖ ≤ 1 is a / ‖a‖, and with w ≥ 0 it is max(a, 0).
    a = jnp.array([[3.0], [-4.0]])
    slope = jax.grad(lambda p: jnp.sum((p["kernel"] - a) ** 2))
    start = {"kernel": jnp.array([[0.1], [0.2]])}
    ball = trace(optax.chain(optax.sgd(0.1), jr.project(jr.MaxNorm(1.0))), start, 100, slope)[-1]
    np.testing.assert_allclose(ball["kernel"], a / 5, rtol=1e-5)
    cone = trace(optax.chain(optax.sgd(0.1), jr.project(jr.NonNeg())), start, 100, slope)[-1]
    np.testing.assert_allclose(cone["kernel"], [[3.0], [0.0]], rtol=1e-5)


def test_a_scheduled_limit_tightens():
    limit = optax.linear_schedule(1.0, 0.1, 9)
    path = trace(optax.chain(optax.adam(0.1), jr.project(jr.MaxNorm(limit))), model(), 12)
    for step, params in enumerate(path):
        assert max(np.linalg.norm(w, axis=0).max() for w in kernels(params)) <= float(limit(step))


@each_constraint
def test_mapped_strengths_and_limits_equal_a_loop(name):
    def ends(limit, strength):
        params = model()
        constraint = {
            "MaxNorm": lambda: jr.MaxNorm(limit),
            "MinMaxNorm": lambda: jr.MinMaxNorm(limit / 2, limit),
            "UnitNorm": jr.UnitNorm,
            "NonNeg": jr.NonNeg,
        }[name]()
        tx = optax.chain(jr.penalize(jr.L2(strength)), optax.adam(0.05), jr.project(constraint))

        def step(carry, _):
            params, state = carry
            updates, state = tx.update(jax.grad(loss)(params), state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, tx.init(params)), None, length=10)[0][0]

    limits, strengths = jnp.array([0.5, 1.0, 2.0]), jnp.array([0.0, 0.01, 0.1])
    mapped = jax.jit(jax.vmap(ends))(limits, strengths)
    for i in range(3):
        chex.assert_trees_all_close(
            jax.tree.map(lambda x, i=i: x[i], mapped), jax.jit(ends)(limits[i], strengths[i]), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize(("make", "rule"), [(jr.penalize, jr.L2(0.1)), (jr.project, jr.NonNeg())])
def test_bad_use_is_refused_in_words(make, rule):
    params = model()
    with pytest.raises(ValueError, match=r"'hiden/kernel' matches no parameter.*hidden/bias, hidden/kernel"):
        make({"hiden/kernel": rule}).init(params)
    with pytest.raises(ValueError, match="hidden/kernel matches the patterns"):
        make({"hidden/.*": rule, ".*/kernel": rule}).init(params)
    with pytest.raises(ValueError, match="with the parameters"):
        make(rule).update(params, make(rule).init(params))


def test_functions_that_are_penalties_and_constraints_are_not_mixed_up():
    params = model()
    for tx in (jr.penalize(jax.nn.relu), jr.project(jnp.sum)):
        with pytest.raises(TypeError, match="hidden/kernel"):
            tx.update(params, tx.init(params), params)


# One constraint of each sort, and what it says in NumPy.
RULES = {
    "hidden/kernel": jr.MaxNorm(0.8),
    "hidden/bias": jr.NonNeg(),
    "output/kernel": jr.UnitNorm(),
    "output/bias": jr.MinMaxNorm(0.5, 0.6),
}


def holds(params: dict) -> bool:
    wide = jax.tree.map(lambda w: np.asarray(w, np.float64), params)
    return bool(
        np.linalg.norm(wide["hidden"]["kernel"], axis=0).max() <= 0.8
        and np.all(wide["hidden"]["bias"] >= 0)
        and abs(np.linalg.norm(wide["output"]["kernel"]) - 1) <= 1e-6
        and abs(np.linalg.norm(wide["output"]["bias"]) - 0.55) <= 0.05 + 1e-6
    )


def bits(params: dict) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(params)]


def core() -> optax.GradientTransformation:
    return optax.chain(jr.penalize(jr.L1(1e-3)), optax.adam(0.1), jr.project(RULES))


def walk(tx: optax.GradientTransformation, bad: set[int] = frozenset(), steps: int = 9) -> list[dict]:
    """A feasible start and the parameters after each update; the gradients of the `bad` ones are NaN."""

    @jax.jit
    def step(params, state, offset):
        grads = jax.tree.map(lambda g: g + offset, jax.grad(loss)(params))
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    params = jr.projected(model(), RULES)
    state, path = tx.init(params), [params]
    for i in range(steps):
        params, state = step(params, state, jnp.nan if i in bad else 0.0)
        path.append(params)
    return path


def test_constraints_hold_in_a_chain():
    path = walk(core())
    assert all(map(holds, path))
    assert len({tuple(bits(params)) for params in path}) == 10


def test_constraints_hold_under_accumulated_gradients_and_mini_steps_change_no_bit():
    path = walk(optax.MultiSteps(core(), every_k_schedule=3).gradient_transformation())
    assert all(map(holds, path))
    for i in range(9):
        assert (bits(path[i]) == bits(path[i + 1])) == ((i + 1) % 3 != 0)


def test_constraints_hold_behind_accumulated_gradients():
    inner = optax.MultiSteps(optax.adam(0.1), every_k_schedule=3).gradient_transformation()
    path = walk(optax.chain(inner, jr.project(RULES)))
    assert all(map(holds, path))
    for i in range(9):
        assert (bits(path[i]) == bits(path[i + 1])) == ((i + 1) % 3 != 0)


def test_updates_that_are_not_finite_are_skipped_and_change_no_bit():
    bad = {1, 4, 5}
    path = walk(optax.apply_if_finite(core(), max_consecutive_errors=5), bad)
    assert all(map(holds, path))
    for i in range(9):
        assert (bits(path[i]) == bits(path[i + 1])) == (i in bad)


def test_constraints_hold_with_injected_hyperparameters():
    @optax.inject_hyperparams
    def make(learning_rate, strength, limit):
        rules = RULES | {"hidden/kernel": jr.MaxNorm(limit)}
        return optax.chain(jr.penalize(jr.L2(strength)), optax.adam(learning_rate), jr.project(rules))

    path = walk(make(learning_rate=0.1, strength=optax.linear_schedule(0.0, 0.1, 5), limit=0.8))
    assert all(map(holds, path))


LINKS_OF_PENALTIES = {
    "penalties": lambda rules: jr.regularize(optax.sgd(0.1), penalties=rules),
    "decays": lambda rules: jr.regularize(optax.sgd(0.1), 0.1, decays=rules),
    "proximals": lambda rules: jr.regularize(optax.sgd(0.1), 0.1, proximals=rules),
    "proximal_adam": lambda rules: jr.proximal_adam(rules, 0.1),
    "bounded": lambda rules: jr.bounded(rules, jr.InitialBound()),
    "mean_decay": lambda rules: jr.mean_decay(rules, 0.9),
}
LINKS_OF_CONSTRAINTS = {
    "constraints": lambda rules: jr.regularize(optax.sgd(0.1), constraints=rules),
    "steepest": jr.steepest,
    "tangent": jr.tangent,
}
NO_RULES = [
    (0.03, "rules are 0.03; expected a mapping"),
    (None, "rules are None; expected a mapping"),
    ({"kernel": 0.03}, "the rule for 'kernel' is 0.03; expected a {kind} or a function of an array"),
    ([jr.L2(0.1)], "Use one transformation per penalty"),
    (jr.L2, r"the rule is the class L2{penalty}"),
    ({jr.KERNELS: jr.UnitNorm}, r"KERNELS is the class UnitNorm{constraint}"),
]


@pytest.mark.parametrize(("rules", "words"), NO_RULES)
@pytest.mark.parametrize("name", LINKS_OF_PENALTIES | LINKS_OF_CONSTRAINTS)
def test_what_is_no_rule_is_refused_when_a_link_is_made(name, rules, words):
    if rules is None and name in ("penalties", "decays", "proximals", "constraints"):
        return
    kinds = ["penalty", "constraint"] if name in LINKS_OF_PENALTIES else ["constraint", "penalty"]
    wanted = {kinds[0]: r"; expected an instance\. Write", kinds[1]: f", a {kinds[1]}; expected a {kinds[0]}"}
    with pytest.raises(TypeError, match=words.format(kind=kinds[0], **wanted)) as caught:
        (LINKS_OF_PENALTIES | LINKS_OF_CONSTRAINTS)[name](rules)
    assert "inject_hyperparams" not in str(caught.value)


def reshaped(rule):
    return {"kernel": jr.Reshaped(rule, shape=(2, -1))}


@pytest.mark.parametrize("wrap", [lambda rule: rule, reshaped], ids=["bare", "reshaped"])
@pytest.mark.parametrize("name", LINKS_OF_PENALTIES | LINKS_OF_CONSTRAINTS)
def test_a_rule_of_the_other_role_is_refused_when_a_link_is_made(name, wrap):
    other = jr.MaxNorm(1.0) if name in LINKS_OF_PENALTIES else jr.L2(1.0)
    with pytest.raises(TypeError, match=r"is (MaxNorm|L2)\(1.0\), a (constraint|penalty); expected a"):
        (LINKS_OF_PENALTIES | LINKS_OF_CONSTRAINTS)[name](wrap(other))


def test_what_optax_would_make_of_injected_rules_is_told():
    params = {"kernel": jnp.ones((2, 2))}
    with pytest.raises(ValueError, match=r"`every` is Array\(1.*as a Python int \(.*static_args=\(\"every\",\)"):
        optax.inject_hyperparams(jr.project)({jr.KERNELS: jr.MaxNorm(1.0)}).init(params)
    with pytest.raises(TypeError, match=r"rules are Array\(0.*Inside optax.inject_hyperparams only a mapping works"):
        optax.inject_hyperparams(jr.proximal)(jr.L1(0.1), learning_rate=0.1).init(params)
    for given in ({"every": 1}, {"every": 2}):
        tx = optax.inject_hyperparams(jr.project, static_args=("every",))({jr.KERNELS: jr.MaxNorm(1.0)}, **given)
        assert tx.update(params, tx.init(params), params)[0]["kernel"].shape == (2, 2)


def test_constraints_hold_under_a_mask_which_leaves_the_rest_alone():
    mask = {"hidden": {"kernel": True, "bias": False}, "output": {"kernel": False, "bias": False}}
    masked = optax.masked(jr.project({"hidden/kernel": jr.MaxNorm(0.8)}), mask)
    free, held = walk(optax.sgd(0.5), steps=1), walk(optax.chain(optax.sgd(0.5), masked), steps=1)
    assert np.linalg.norm(free[-1]["hidden"]["kernel"], axis=0).max() > 0.8
    assert np.linalg.norm(np.asarray(held[-1]["hidden"]["kernel"], np.float64), axis=0).max() <= 0.8
    chex.assert_trees_all_close(held[-1]["output"], free[-1]["output"], rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(held[-1]["hidden"]["bias"], free[-1]["hidden"]["bias"], rtol=1e-5, atol=1e-6)


def test_constraints_hold_in_a_partition():
    def part(layer: str) -> optax.GradientTransformation:
        rules = {path: rule for path, rule in RULES.items() if path.startswith(layer)}
        return optax.chain(jr.penalize({f"{layer}/kernel": jr.L1(1e-3)}), optax.adam(0.1), jr.project(rules))

    labels = {layer: dict.fromkeys(("kernel", "bias"), layer) for layer in ("hidden", "output")}
    path = walk(optax.partition({layer: part(layer) for layer in labels}, labels))
    assert all(map(holds, path))
    for found, wanted in zip(path, walk(core()), strict=True):
        chex.assert_trees_all_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_lookahead_and_averages_are_read_projected():
    tx = optax.lookahead(core(), sync_period=3, slow_step_size=0.5)
    both = optax.LookaheadParams.init_synced(jr.projected(model(), RULES))
    state, average = tx.init(both), optax.ema(0.9)
    averaged = average.init(both.fast)

    @jax.jit
    def step(both, state, averaged):
        updates, state = tx.update(jax.grad(loss)(both.fast), state, both)
        both = optax.apply_updates(both, updates)
        return both, state, *average.update(both.fast, averaged)

    off = []
    for i in range(9):
        both, state, mean, averaged = step(both, state, averaged)
        for reading in (both.slow, mean):
            assert holds(jr.projected(reading, RULES))
            off.append(not holds(reading))
        # The sets of bounds are convex: what synchronising and averaging do stays within them.
        assert all(np.min(p["hidden"]["bias"]) >= 0 for p in (both.fast, both.slow, mean))
        assert holds(both.fast) or (i + 1) % 3 == 0
    assert any(off)  # the sphere is not: the average of unit vectors is none


def test_a_norm_of_all_kernels_together_holds_after_every_step():
    radius = 0.5 * jr.tree_norm([layer["kernel"] for layer in model().values()])
    path = trace(optax.chain(optax.adam(0.1), jr.project({jr.KERNELS: jr.TreeNorm(radius)})), model(), 10)
    norms = [np.sqrt(sum(np.sum(w**2) for w in kernels(params))) for params in path]
    np.testing.assert_allclose(norms, float(radius), rtol=1e-6)


@pytest.mark.parametrize("axes", ["Auto", "Explicit"])
@pytest.mark.parametrize(
    "rule", [jr.MaxNorm(0.8), jr.UnitNorm(), jr.TreeNorm(2.0)], ids=lambda rule: type(rule).__name__
)
def test_a_norm_along_a_sharded_axis_gathers_no_weights(rule, axes):
    mesh = jax.make_mesh((4,), ("devices",), axis_types=(jax.sharding.AxisType[axes],))
    params = {"kernel": jnp.ones((8, 4))}
    tx = optax.chain(optax.adam(0.1), jr.project(rule))

    def step(params, state):
        updates, state = tx.update(params, state, params)
        return optax.apply_updates(params, updates), state

    wanted, _ = step(params, tx.init(params))
    with jax.set_mesh(mesh):
        sharded = jax.device_put(params, jax.NamedSharding(mesh, jax.P("devices")))
        state = tx.init(sharded)
        program = jax.jit(step, donate_argnums=(0, 1)).lower(sharded, state).compile()
        found, _ = program(sharded, state)
    assert "all-gather" not in program.as_text()
    assert found["kernel"].sharding.spec[0] == "devices"
    chex.assert_trees_all_close(found, wanted, rtol=1e-5, atol=1e-6)


def test_every_kth_update_is_projected():
    path = trace(optax.chain(optax.sgd(0.5), jr.project(jr.MaxNorm(0.5), every=3)), model(), 9)
    inside = [max(np.linalg.norm(w, axis=0).max() for w in kernels(params)) <= 0.5 for params in path]
    assert inside[2::3] == [True] * 3
    assert not all(inside)
    free = trace(optax.sgd(0.5), model(), 2)
    chex.assert_trees_all_close(path[:2], free, rtol=1e-5, atol=1e-6)
    for wrong in (0, -1, 2.0):
        with pytest.raises(ValueError, match=r"`every` is .*; expected a whole number of at least 1"):
            jr.project(jr.NonNeg(), every=wrong)


def test_weights_that_stay_inside_end_bit_for_bit_where_they_would_alone():
    rules = {jr.KERNELS: jr.MaxNorm(100.0), jr.BIASES: jr.Box(-100.0, 100.0)}
    for size in (1.0, 1e-2, 1e-9):  # the last is lost in the rounding of most weights
        params, updates = model(), jax.tree.map(lambda w, size=size: size * w, model(1))
        tx = jr.project(rules)
        ends = optax.apply_updates(params, tx.update(updates, tx.init(params), params)[0])
        assert (
            bits(ends) == bits(optax.apply_updates(params, updates)) == bits(jr.apply_updates(params, updates, rules))
        )


@pytest.mark.parametrize("make", [lambda: jr.penalize(jr.L2(0.1)), lambda: jr.project(jr.NonNeg())])
def test_missing_leaves_stay_missing(make):
    params = {"hidden": {"kernel": -jnp.ones((2, 2)), "bias": None}, "output": {"kernel": -jnp.ones((2, 2))}}
    tx = make()
    grads = {"hidden": {"kernel": jnp.full((2, 2), -0.5), "bias": None}, "output": {"kernel": None}}
    updates, _ = tx.update(grads, tx.init(params), params)
    assert updates["hidden"]["bias"] is None
    assert updates["output"]["kernel"] is None
    assert np.all(updates["hidden"]["kernel"] != -0.5)


def test_a_leaf_without_an_update_counts_in_a_norm_of_all():
    params = {"first": {"kernel": jnp.array([[3.0]])}, "second": {"kernel": jnp.array([[4.0]])}}
    tx = jr.project({jr.KERNELS: jr.TreeNorm(5.0)})
    updates, _ = tx.update({"first": {"kernel": jnp.ones((1, 1))}, "second": {"kernel": None}}, tx.init(params), params)
    spheres = jax.tree.map(lambda w: w / w * 12.5**0.5, params)  # of (4, 4)
    chex.assert_trees_all_close(optax.apply_updates(params, updates), spheres, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=lambda d: d.__name__)
def test_narrow_parameters_stay_feasible_and_keep_their_dtype(dtype):
    params = jax.tree.map(lambda w: w.astype(dtype), model())
    rules = {jr.KERNELS: jr.MaxNorm(0.8), jr.BIASES: jr.NonNeg()}
    path = trace(optax.chain(jr.penalize(jr.L2(0.01)), optax.sgd(0.5), jr.project(rules)), params, 10)
    for found in path:
        assert all(leaf.dtype == dtype for leaf in jax.tree.leaves(found))
        assert all(np.linalg.norm(w, axis=0).max() <= 0.8 for w in kernels(found))
        assert all(np.min(np.asarray(layer["bias"], np.float32)) >= 0 for layer in found.values())


MANY = jnp.logspace(-6, -1, 6)
WITH_STRAY_ARRAYS = {
    "projected": lambda p: jr.projected(p, jr.LinfBall(MANY)),
    "project": lambda p: moved(jr.project(jr.LinfBall(MANY)), p),
    "proximal": lambda p: moved(jr.proximal(jr.L1(MANY), 0.1), p),
    "proximal_adam": lambda p: moved(jr.proximal_adam(jr.L1(MANY), 0.1), p),
    "bregman": lambda p: moved(jr.bregman(jr.L1(jnp.ones((4, 6)))), p),
    "p_norm_decay": lambda p: moved(jr.p_norm_decay(jr.Lp(MANY, p=1.0), 0.1), p),
    "steepest": lambda p: moved(jr.steepest(jr.LinfBall(MANY)), p),
    "conditional_gradient": lambda p: moved(jr.conditional_gradient(jr.LinfBall(MANY)), p),
    "penalty": lambda p: jr.penalty(p, jr.L1(MANY)),
    "penalize": lambda p: moved(jr.penalize(jr.L1(MANY)), p),
    "decay": lambda p: moved(jr.decay(jr.L1(MANY)), p),
    "bounded": lambda p: moved(jr.bounded(jr.L1(MANY), jr.InitialBound()), p),
}


def moved(tx, params):
    return optax.apply_updates(params, tx.update(params, tx.init(params), params)[0])


@pytest.mark.parametrize("name", WITH_STRAY_ARRAYS)
def test_an_array_for_a_number_never_changes_the_shape_of_weights(name):
    params = {"kernel": jnp.ones((4, 1))}
    with pytest.raises(TypeError, match=r"for kernel returns an array of shape \(.*6,?\).*; expected"):
        jax.jit(WITH_STRAY_ARRAYS[name])(params)


def test_strengths_may_be_one_a_weight():
    w, strengths = jnp.array([[1.0, -2.0], [0.5, 0.1]]), jnp.array([[1.0, 2.0], [0.0, 4.0]])
    end = moved(optax.chain(optax.sgd(0.0), jr.proximal(jr.L1(strengths), 0.1)), {"kernel": w})["kernel"]
    np.testing.assert_allclose(end, np.sign(w) * np.maximum(np.abs(w) - 0.1 * strengths, 0), atol=1e-6)


L1, L2 = jr.L1(0.1), jr.L2(0.1)
OUT_OF_RANGE = [
    (lambda: jr.proximal(L1, -1.0), ValueError, "proximal: learning_rate is -1; expected a number of at least 0"),
    (lambda: jr.proximal(L1, float("nan")), ValueError, "proximal: learning_rate is nan"),
    (lambda: jr.proximal(L1, "0.1"), TypeError, r"proximal: learning_rate is '0\.1'; expected a number"),
    (lambda: jr.proximal_adam(L1, -0.1), ValueError, "proximal_adam: learning_rate is -0.1"),
    (lambda: jr.proximal_adam(L1, 0.1, b1=1.0), ValueError, "b1 is 1; expected a number of at least 0 and under 1"),
    (lambda: jr.proximal_adam(L1, 0.1, b2=-0.1), ValueError, "b2 is -0.1; expected"),
    (lambda: jr.proximal_adam(L1, 0.1, eps=0.0), ValueError, "eps is 0; expected a number above 0"),
    (lambda: jr.bregman(L1, delta=0), ValueError, "bregman: delta is 0; expected a number above 0"),
    (lambda: jr.bregman(L1, delta=-1), ValueError, "bregman: delta is -1; expected a number above 0"),
    (lambda: jr.independent_decay(L2, peak=0.0), ValueError, "independent_decay: peak is 0; expected a number above 0"),
    (lambda: jr.corrected_decay(L2, 0.1, peak=0.0), ValueError, "corrected_decay: peak is 0"),
    (lambda: jr.corrected_decay(L2, -0.1, peak=0.1), ValueError, "corrected_decay: learning_rate is -0.1"),
    (lambda: jr.p_norm_decay(jr.Lp(0.1, 1.0), -0.1), ValueError, "p_norm_decay: learning_rate is -0.1"),
    (lambda: jr.bounded(L2, jr.InitialBound(), rate=0), ValueError, "bounded: rate is 0; expected a number above 0"),
    (lambda: jr.bounded(L2, jr.InitialBound(), rate=-1), ValueError, "bounded: rate is -1"),
]


@pytest.mark.parametrize(("make", "error", "words"), OUT_OF_RANGE, ids=[words for *_, words in OUT_OF_RANGE])
def test_numbers_out_of_range_are_refused_when_a_link_is_made(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize("rate", [0.1, np.float32(0.1), jnp.array(0.1), optax.constant_schedule(0.1), "traced"])
def test_numbers_in_range_come_in_any_form(rate):
    params = {"kernel": jnp.array([[1.0], [-0.005]])}

    def end(rate):
        return moved(optax.chain(optax.sgd(0.0), jr.proximal(jr.L1(0.1), rate)), params)["kernel"]

    found = jax.jit(end)(0.1) if isinstance(rate, str) else end(rate)
    np.testing.assert_allclose(found, [[0.99], [0.0]], atol=1e-7)


WIDE = np.float64(0.1)
WITH_WIDE_NUMBERS = {
    "penalize": lambda: jr.penalize(jr.L2(WIDE)),
    "decay": lambda: jr.decay(jr.L1L2(WIDE, WIDE)),
    "independent_decay": lambda: jr.independent_decay(jr.L2(WIDE), peak=WIDE),
    "corrected_decay": lambda: jr.corrected_decay(jr.L2(WIDE), WIDE, peak=WIDE),
    "cautious_decay": lambda: jr.cautious_decay(jr.L2(WIDE)),
    "p_norm_decay": lambda: jr.p_norm_decay(jr.Lp(WIDE, 10 * WIDE), WIDE),
    "proximal": lambda: jr.proximal(jr.GroupLasso(WIDE), WIDE),
    "proximal_adam": lambda: jr.proximal_adam(jr.L1(WIDE), WIDE, eps=WIDE),
    "bregman": lambda: jr.bregman(jr.L1(WIDE), delta=WIDE),
    "project on norms": lambda: jr.project(jr.MinMaxNorm(WIDE, 3 * WIDE, rate=WIDE)),
    "project on bounds": lambda: jr.project(jr.Box(-WIDE, WIDE)),
    "steepest": lambda: jr.steepest(jr.MaxNorm(WIDE)),
    "conditional_gradient": lambda: jr.conditional_gradient(jr.LinfBall(WIDE)),
    "fixed": lambda: jr.bounded(jr.L2(WIDE), jr.FixedBound(WIDE), rate=WIDE),
    "initial": lambda: jr.bounded(jr.L2(WIDE), jr.InitialBound(WIDE), rate=WIDE),
    "warm": lambda: jr.bounded(jr.L2(WIDE), jr.WarmBound(np.float64(2)), rate=WIDE),
    "inflection": lambda: jr.bounded(jr.L2(WIDE), jr.InflectionBound(np.float64(2), WIDE), rate=WIDE),
}


@pytest.mark.parametrize("name", WITH_WIDE_NUMBERS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_wide_numbers_widen_neither_weights_nor_state(name, dtype):
    with jax.enable_x64(True):
        params, tx = {"kernel": jnp.ones((4, 2), dtype)}, WITH_WIDE_NUMBERS[name]()

        def step(carry, _):
            params, state = carry
            updates, state = tx.update(params, state, params)
            return (optax.apply_updates(params, updates), state), None

        start = (params, tx.init(params))
        end = jax.eval_shape(lambda: jax.lax.scan(step, start, None, length=3)[0])
        assert not [leaf for leaf in jax.tree.leaves((start, end)) if leaf.dtype == np.float64]


@pytest.mark.parametrize("name", sorted(WITH_WIDE_NUMBERS.keys() - {"proximal_adam"}))  # an optimiser chooses its own
def test_narrow_updates_of_wide_weights_stay_narrow(name):
    params, tx = {"kernel": jnp.ones((4, 2))}, WITH_WIDE_NUMBERS[name]()
    given = {"kernel": jnp.ones((4, 2), jnp.bfloat16)}
    updates, _ = jax.eval_shape(lambda: tx.update(given, tx.init(params), params))
    assert updates["kernel"].dtype == jnp.bfloat16


def test_wide_numbers_widen_no_figure():
    with jax.enable_x64(True):
        params = {"kernel": jnp.ones((4, 2), jnp.float32)}
        for rule in (jr.L2(WIDE), jr.GroupLasso(WIDE), jr.Orthogonal(WIDE), jr.Spectral(jnp.array(WIDE))):
            assert jr.penalty(params, rule).dtype == np.float32
            assert jr.diagnostics.penalties(params, rule)[jr.KERNELS].dtype == np.float32
        for rule in (jr.MaxNorm(WIDE), jr.MinMaxNorm(WIDE, WIDE, rate=WIDE), jr.LinfBall(WIDE), jr.TreeNorm(WIDE)):
            assert jr.violation(params, rule).dtype == np.float32
            assert jr.projected(params, rule)["kernel"].dtype == np.float32
