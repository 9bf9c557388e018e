"""Diagnostics against NumPy on small weights whose figures are plain, and the same inside jit and vmap."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr
from jaxreg import diagnostics

PARAMS = {
    "hidden": {"kernel": jnp.array([[3.0, 0.0, 0.3], [4.0, 2.0, 0.4]]), "bias": jnp.array([0.0, -1.0, 2.0])},
    "output": {"kernel": jnp.array([[1.0], [0.0], [-2.0]])},
}
LIMITS = {"hidden/kernel": jr.MaxNorm(1.0), "hidden/bias": jr.Box(-1.0, 1.0), "output/kernel": jr.UnitNorm(axis=1)}
COSTS = {jr.KERNELS: jr.L2(0.5), "hidden/bias": jr.L1(2.0)}

# name: (the function, its rules, what it gives)
FIGURES = {
    "norms": (
        diagnostics.unit_norms,
        LIMITS,
        {"hidden/kernel": [5.0, 2.0, 0.5], "hidden/bias": np.sqrt(5), "output/kernel": [1.0, 0.0, 2.0]},
    ),
    "violations": (
        diagnostics.violations,
        LIMITS,
        {"hidden/kernel": 4.0, "hidden/bias": 1.0, "output/kernel": 1.0},
    ),
    "at limit": (
        diagnostics.at_limit,
        LIMITS,
        {"hidden/kernel": 2 / 3, "hidden/bias": 2 / 3, "output/kernel": 1.0},
    ),
    "zeros": (
        diagnostics.exact_zeros,
        LIMITS,
        {"hidden/kernel": 1 / 6, "hidden/bias": 1 / 3, "output/kernel": 1 / 3},
    ),
    "penalties": (
        diagnostics.penalties,
        COSTS,
        {jr.KERNELS: 0.5 * (9 + 16 + 4 + 0.09 + 0.16 + 1 + 4), "hidden/bias": 2.0 * 3},
    ),
    # A row of zeros under UnitNorm moves by 1, one of norm 2 too.
    "moves": (
        diagnostics.moves,
        LIMITS,
        {"hidden/kernel": np.sqrt(17), "hidden/bias": 1.0, "output/kernel": np.sqrt(2)},
    ),
}


def assert_figures(found, expected):
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        np.testing.assert_allclose(found[path], value, rtol=1e-5, err_msg=path)


@pytest.mark.parametrize("name", FIGURES)
def test_figures(name):
    function, rules, expected = FIGURES[name]
    assert_figures(jax.jit(lambda params: function(params, rules))(PARAMS), expected)


@pytest.mark.parametrize("name", FIGURES)
def test_a_batch_of_models_has_a_figure_each(name):
    function, rules, expected = FIGURES[name]
    scales = jnp.array([1.0, 0.25])
    batch = jax.tree.map(lambda a: scales.reshape(2, *[1] * a.ndim) * a, PARAMS)
    found = jax.jit(jax.vmap(lambda params: function(params, rules)))(batch)
    assert_figures(jax.tree.map(lambda a: a[0], found), expected)
    alone = jax.jit(lambda params: function(params, rules))(jax.tree.map(lambda a: 0.25 * a, PARAMS))
    assert_figures(jax.tree.map(lambda a: a[1], found), alone)


def test_the_parts_add_up_to_the_whole():
    whole, parts = jax.jit(lambda p: (jr.penalty(p, COSTS), diagnostics.penalties(p, COSTS)))(PARAMS)
    np.testing.assert_allclose(sum(parts.values()), whole, rtol=1e-6)
    whole, parts = jax.jit(lambda p: (jr.violation(p, LIMITS), diagnostics.violations(p, LIMITS)))(PARAMS)
    assert max(parts.values()) == whole


def test_only_leaves_with_a_rule_are_there():
    rules = {"hidden/kernel": jr.MaxNorm(1.0)}
    for function in (diagnostics.unit_norms, diagnostics.violations, diagnostics.at_limit, diagnostics.moves):
        assert jax.eval_shape(lambda p, f=function: f(p, rules), PARAMS).keys() == {"hidden/kernel"}
    assert jax.eval_shape(lambda p: diagnostics.penalties(p, jr.L2(0.1)), PARAMS).keys() == {jr.KERNELS}


def test_schedules_are_read_at_the_step():
    limit = {"hidden/kernel": jr.MaxNorm(optax.linear_schedule(5.0, 1.0, 4))}
    strength = {"hidden/kernel": jr.L1(optax.linear_schedule(0.0, 4.0, 4))}

    @jax.jit
    def figures(p, i):
        return (
            diagnostics.violations(p, limit, i),
            diagnostics.penalties(p, strength, i),
            diagnostics.moves(p, limit, i),
        )

    for step in (0, 4):
        far, cost, move = figures(PARAMS, step)
        assert move["hidden/kernel"] == pytest.approx(np.hypot(4, 1) if step else 0, abs=1e-5)
        assert far["hidden/kernel"] == pytest.approx(step, abs=1e-5)
        assert cost["hidden/kernel"] == pytest.approx(step * 9.7)
    with pytest.raises(ValueError, match="pass step=, the optimiser step"):
        diagnostics.at_limit(PARAMS, limit)


# name: (constraint, weights, share of groups or weights at a limit, told from the definition of the set)
HELD = {
    "max norm": (jr.MaxNorm(1.0), [[0.6, 0.0, 0.3], [0.8, 0.0, 0.4]], 1 / 3),
    "no limit": (jr.MaxNorm(float("inf")), [[0.6, 0.0, 0.3], [0.8, 0.0, 0.4]], 0.0),
    "outside": (jr.MaxNorm(0.1), [[0.6, 0.0, 0.3], [0.8, 0.0, 0.4]], 2 / 3),
    "lower and upper": (jr.MinMaxNorm(0.5, 1.0), [[0.6, 0.3, 0.6], [0.8, 0.4, 0.0]], 2 / 3),
    "far from a slow limit": (jr.MinMaxNorm(0.5, 1.0, rate=0.01), [[6.0, 0.6], [8.0, 0.0]], 1 / 2),
    "unit": (jr.UnitNorm(), [[0.6, 0.0], [0.8, 1.0]], 1.0),
    "not negative": (jr.NonNeg(), [[0.0, 1.0], [0.5, 1e-4]], 1 / 4),
    "box": (jr.Box(-0.5, 0.05), [[0.05, -0.5], [0.0, -0.499]], 1 / 2),
    "whole matrix": (jr.FrobeniusSphere(1.0), [[0.6, 0.0], [0.8, 0.0]], 1.0),
}


@pytest.mark.parametrize("name", HELD)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_share_at_the_limit(name, dtype):
    constraint, w, expected = HELD[name]
    with jax.enable_x64(dtype == "float64"):
        found = jax.jit(lambda w: diagnostics.at_limit({"kernel": w}, constraint))(jnp.array(w, dtype))
        assert found["kernel"] == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("constraint", [jr.MaxNorm(0.1), jr.UnitNorm(), jr.MinMaxNorm(20.0, 30.0)], ids=str)
def test_what_was_projected_from_outside_is_at_the_limit(constraint, dtype):
    w = jax.random.normal(jax.random.key(0), (40, 9), dtype)
    held = jax.jit(lambda w: diagnostics.at_limit(jr.projected({"kernel": w}, constraint), constraint))(w)
    assert held["kernel"] == 1.0  # the norms of the columns are near √40


def test_norms_are_those_of_units_in_every_layout():
    w = jax.random.normal(jax.random.key(0), (3, 4, 5))
    norms = diagnostics.unit_norms({"query": {"kernel": w, "bias": jnp.ones((4, 5))}}, jr.L2(0.1))["query/kernel"]
    np.testing.assert_allclose(norms, np.linalg.norm(w, axis=0), rtol=1e-6)  # heads × features
    norms = diagnostics.unit_norms({"weight": w[0]}, jr.L2(0.1))["weight"]
    np.testing.assert_allclose(norms, np.linalg.norm(w[0], axis=1), rtol=1e-6)


def test_figures_of_narrow_weights_are_wide():
    params = {"kernel": jnp.full((1001, 1), 0.75, jnp.bfloat16)}
    rule = jr.MaxNorm(1.0)
    norm, end = 0.75 * 1001**0.5, np.asarray(jr.projected(params, rule)["kernel"], np.float64)
    np.testing.assert_allclose(diagnostics.unit_norms(params, rule)["kernel"], [norm], rtol=1e-6)
    np.testing.assert_allclose(diagnostics.moves(params, rule)["kernel"], np.linalg.norm(0.75 - end), rtol=1e-6)


def test_empty_leaves_have_figures():
    for name in ("violations", "moves", "exact_zeros", "at_limit"):
        for shape in ((0, 3), (3, 0)):
            for rule in (jr.MaxNorm(1.0), jr.NonNeg()):
                assert getattr(diagnostics, name)({"kernel": jnp.ones(shape)}, rule)["kernel"] == 0


def test_leaves_under_one_norm_have_one_figure():
    radius = np.sqrt(25 + 4 + 0.25 + 1 + 4)
    for share, far in ((1.0, 0.0), (0.5, radius / 2)):
        rules = {jr.KERNELS: jr.TreeNorm(share * radius)}
        found = jax.jit(lambda p, r=rules: (diagnostics.violations(p, r), diagnostics.at_limit(p, r)))(PARAMS)
        assert_figures(found[0], {"hidden/kernel": far, "output/kernel": far})
        assert_figures(found[1], {"hidden/kernel": 1.0, "output/kernel": 1.0})
