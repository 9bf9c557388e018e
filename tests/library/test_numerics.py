"""Every rule against what numbers can do to it: NaN in one group, and JAX's strict settings."""

import math

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

import jaxreg as jr
from jaxreg import constraints, penalties

SHAPE = (6, 4)
WHOLE = (0, 1)  # the axes of one group
COLUMN = (0,)
EACH = ()
NORMAL = np.array([1.0, -0.5, 2.0, 0.0, 0.25, -1.5], np.float32)

# {name: (rule, the axes of its groups)}
CONSTRAINTS = {
    "MaxNorm": (jr.MaxNorm(1.0), COLUMN),
    "MaxNorm a group": (jr.MaxNorm(np.array([1.0, 0.5, 0.3, 2.0], np.float32)), COLUMN),
    "MaxRMS": (jr.MaxRMS(0.5), COLUMN),
    "MinMaxNorm": (jr.MinMaxNorm(0.5, 1.0), COLUMN),
    "MinMaxNorm by rate": (jr.MinMaxNorm(0.5, 1.0, rate=0.5), COLUMN),
    "UnitNorm": (jr.UnitNorm(), COLUMN),
    "FrobeniusSphere": (jr.FrobeniusSphere(1.0), WHOLE),
    "NonNeg": (jr.NonNeg(), EACH),
    "Box": (jr.Box(-0.2, 0.3), EACH),
    "LinfBall": (jr.LinfBall(0.5), EACH),
    "Simplex": (jr.Simplex(1.0), COLUMN),
    "SumTo": (jr.SumTo(0.5), COLUMN),
    "Hyperplane": (jr.Hyperplane(NORMAL, 0.5), COLUMN),
    "HalfSpace": (jr.HalfSpace(NORMAL, -0.5), COLUMN),
    "Affine": (jr.Affine(np.stack([NORMAL, NORMAL**2]), 0.5), COLUMN),
    "Intersection of Hyperplane and Box": (
        jr.Intersection(jr.Hyperplane(NORMAL, 0.5), jr.Box(-1.0, 1.0)),
        COLUMN,
    ),
    "L1Ball": (jr.L1Ball(1.0), COLUMN),
    "L1Sphere": (jr.L1Sphere(1.0), COLUMN),
    "SpectralNorm": (jr.SpectralNorm(1.0), WHOLE),
    "SpectralNorm fast": (jr.SpectralNorm(1.0, fast=True), WHOLE),
    "SpectralSphere": (jr.SpectralSphere(0.5), WHOLE),
    "NuclearBall": (jr.NuclearBall(1.0), WHOLE),
    "Sparse": (jr.Sparse(0.5), COLUMN),
    "NMSparse": (jr.NMSparse(1, 2), COLUMN),
    "Orthonormal": (jr.Orthonormal(), WHOLE),
    "Orthonormal fast": (jr.Orthonormal(fast=True), WHOLE),
    "SoftSpectralCap": (jr.SoftSpectralCap(1.0, 0.1), WHOLE),
    "Intersection of NonNeg and MaxNorm": (jr.Intersection(jr.NonNeg(), jr.MaxNorm(1.0)), COLUMN),
    "Intersection of Box and MaxNorm": (jr.Intersection(jr.Box(-0.2, 0.3), jr.MaxNorm(0.5)), COLUMN),
    "Intersection of Box and UnitNorm": (jr.Intersection(jr.Box(-0.25, 1.0), jr.UnitNorm()), COLUMN),
    "Intersection of NonNeg and L1Ball": (jr.Intersection(jr.NonNeg(), jr.L1Ball(1.0)), COLUMN),
    "Intersection of Sparse and MaxNorm": (jr.Intersection(jr.Sparse(0.5), jr.MaxNorm(1.0)), COLUMN),
    "Intersection of SumTo and LinfBall": (jr.Intersection(jr.SumTo(0.5), jr.LinfBall(0.3)), COLUMN),
    "Intersection of SumTo and NonNeg": (jr.Intersection(jr.SumTo(0.5), jr.NonNeg()), COLUMN),
    "Intersection of Simplex and Box": (jr.Intersection(jr.Simplex(1.0), jr.Box(0.03, 0.4)), COLUMN),
    "Intersection of SumTo and MaxNorm": (jr.Intersection(jr.SumTo(0.2), jr.MaxNorm(0.7)), COLUMN),
    "Intersection of L1Ball and MaxNorm": (jr.Intersection(jr.L1Ball(1.0), jr.MaxNorm(0.7)), COLUMN),
    "keras MaxNorm": (jr.keras.MaxNorm(1.0), COLUMN),
    "keras UnitNorm": (jr.keras.UnitNorm(), COLUMN),
    "keras MinMaxNorm": (jr.keras.MinMaxNorm(0.5, 1.0), COLUMN),
}
PENALTIES = {
    "L1": (jr.L1(0.1), EACH),
    "L2": (jr.L2(0.1), EACH),
    "L1L2": (jr.L1L2(0.1, 0.1), EACH),
    "Lp": (jr.Lp(0.1, 1.5), EACH),
    "MCP": (jr.MCP(0.1), EACH),
    "Huber": (jr.Huber(0.1), EACH),
    "SCAD": (jr.SCAD(0.1), EACH),
    "LogSum": (jr.LogSum(0.1), EACH),
    "Wasserstein": (jr.Wasserstein(0.1, np.linspace(-1, 1, math.prod(SHAPE), dtype=np.float32).reshape(SHAPE)), WHOLE),
    "GroupLasso": (jr.GroupLasso(0.1), COLUMN),
    "Linf": (jr.Linf(0.1), COLUMN),
    "NormTarget": (jr.NormTarget(0.1, 2.0), COLUMN),
    "Nuclear": (jr.Nuclear(0.1), WHOLE),
    "Spectral": (jr.Spectral(0.1), WHOLE),
    "Orthogonal": (jr.Orthogonal(0.1), WHOLE),
    "ToReference": (jr.ToReference(jr.GroupLasso(0.1), np.ones(SHAPE, np.float32)), COLUMN),
    "keras OrthogonalRegularizer": (jr.keras.OrthogonalRegularizer(0.1), WHOLE),
}
STEP = 0.7
STEPS = np.linspace(0.1, 2.0, 24, dtype=np.float32).reshape(SHAPE)


def maps():
    """{name: (from weights to an array of the same shape, the axes of its groups)}."""
    found = {}
    for name, (rule, axes) in CONSTRAINTS.items():
        found[name] = rule, axes
        if hasattr(rule, "lmo"):
            found[f"{name}, lmo"] = rule.lmo, axes
    for name, (rule, axes) in PENALTIES.items():
        if hasattr(rule, "prox"):
            found[f"{name}, prox"] = lambda w, rule=rule: rule.prox(w, STEP), axes
            if name not in ("Nuclear", "Spectral", "Wasserstein", "NormTarget"):
                found[f"{name}, prox by weight"] = lambda w, rule=rule: rule.prox(w, STEPS), axes
        found[f"{name}, gradient"] = jax.grad(rule), axes
    return found


MAPS = maps()
VALUES = {**CONSTRAINTS, **PENALTIES}


def weights():
    return np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)


def test_the_tables_hold_every_rule():
    named = {type(rule).__name__ for rule, _ in VALUES.values()}
    assert named >= {*constraints.__all__, *penalties.__all__} - {
        "ConvNorm",  # of kernels with a window
        "PositiveSemidefinite",  # of square matrices alone
        "TreeNorm",
        "conv_norm",
        "tree_norm",
    }


@pytest.mark.parametrize("name", MAPS)
def test_nan_stays_in_its_own_group(name):
    function, axes = MAPS[name]
    clean = weights()
    spoilt = clean.copy()
    spoilt[2, 1] = np.nan
    found, expected = map(np.asarray, jax.lax.map(function, np.stack([spoilt, clean])))
    group = np.zeros(SHAPE, bool)
    group[tuple(slice(None) if a in axes else i for a, i in enumerate((2, 1)))] = True
    assert np.isnan(found[2, 1])
    # Norms are taken by another path where one of the groups needs it, to an ulp.
    np.testing.assert_allclose(found[~group], expected[~group], rtol=2e-6, atol=5e-7)


def test_nan_in_one_gradient_is_seen_in_all_leaves_of_a_tree_norm():
    tree = {"a": jnp.array([0.3, jnp.nan]), "b": jnp.array([[0.4]])}
    for function in (jr.TreeNorm(1.0), jr.TreeNorm(1.0).lmo):
        assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves(function(tree)))


@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_of_nan_is_nan(name):
    w = weights()
    w[2, 1] = np.nan
    assert np.isnan(PENALTIES[name][0](w))


@pytest.mark.parametrize("name", ["SpectralNorm", "NuclearBall"])
def test_an_lmo_of_singular_values_of_an_infinite_matrix_is_nan(name):
    w = weights()
    w[2, 1] = np.inf
    assert np.isnan(CONSTRAINTS[name][0].lmo(w)).all()


@pytest.mark.parametrize("name", [*MAPS, *PENALTIES, "TreeNorm"])
def test_strict_settings_stop_no_rule(name):
    rule = jr.TreeNorm(1.0) if name == "TreeNorm" else {**PENALTIES, **MAPS}[name]
    rule = rule[0] if isinstance(rule, tuple) else rule
    w = jnp.asarray(weights())
    tree = {"a": w, "b": jnp.ones(3)} if name == "TreeNorm" else w

    def total(tree):
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(rule(tree)))

    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        shapes = jax.eval_shape(jax.grad(total), tree)
    assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, tree)


# Names of rules that have hyperparameters; those by matrix products are right to 1e-4 only.
DERIVED = [name for name, (rule, _) in VALUES.items() if jax.tree.leaves(rule) and "fast" not in name]


@pytest.mark.parametrize("name", DERIVED)
def test_derivatives_by_every_hyperparameter_are_those_of_finite_differences(name):
    rule, _ = VALUES[name]
    with jax.enable_x64(True):
        rng = np.random.default_rng(3)
        w, direction = rng.normal(size=SHAPE), rng.normal(size=SHAPE)
        numbers, structure = jax.tree.flatten(jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), rule))
        calls = {"call": lambda rule: rule(w)}
        if hasattr(rule, "prox"):
            calls["prox"] = lambda rule: rule.prox(w, STEP)
            if name not in ("Nuclear", "Spectral", "Wasserstein", "NormTarget"):
                calls["prox by weight"] = lambda rule: rule.prox(w, STEPS.astype(np.float64))
        if hasattr(rule, "lmo"):
            calls["lmo"] = lambda rule: rule.lmo(w)
        flat, shapes = jax.flatten_util.ravel_pytree(numbers)
        for call, function in calls.items():

            @jax.jit
            def total(flat, function=function):
                return jnp.sum(direction * function(jax.tree.unflatten(structure, shapes(flat))))

            near = 1e-6 * np.eye(flat.size)
            expected = [(total(flat + h) - total(flat - h)) / 2e-6 for h in near]
            np.testing.assert_allclose(jax.grad(total)(flat), expected, rtol=1e-5, atol=1e-7, err_msg=call)
