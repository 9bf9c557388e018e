"""A table of penalties × the laws every one of them keeps, against NumPy in float64 and convexity's definitions."""

import contextlib
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import jaxreg as jr

SHAPES = [(), (0,), (5,), (6, 4), (0, 3), (3, 0), (2, 3, 2, 4)]
FULL = [(7,), (6, 4), (4, 6), (2, 3, 2, 4)]
DTYPES = [jnp.float32, jnp.float16, jnp.bfloat16]


class Case(NamedTuple):
    """A penalty as a function of its strength, what it is by definition, and the prox of its conjugate if it is convex.

    `largest` is the scale of weights up to which the gradient can be represented in float32. The penalty of a case with
    `moved` is measured from a reference that is not 0.
    """

    make: Callable[[Any], Any]
    cost: Callable[[np.ndarray, float], float]
    conjugate_prox: Callable[[np.ndarray, float], np.ndarray] | None = None
    largest: float = 1e30
    moved: bool = False


def columns(w: np.ndarray) -> np.ndarray:
    """The incoming weights of one unit in each column."""
    return w.reshape(math.prod(w.shape[:-1]), w.shape[-1]) if w.ndim > 1 else w.reshape(w.size, 1)


def into_balls(x: np.ndarray, strength: float) -> np.ndarray:
    c = columns(x)
    return (c / np.maximum(1, np.linalg.norm(c, axis=0) / (strength * np.sqrt(len(c))))).reshape(x.shape)


def towards_nuclear(x: np.ndarray, strength: float) -> np.ndarray:
    # argmin_Y ‖Y‖∗² / 2s + ‖Y - X‖² / 2 lowers all singular values by their new sum over s.
    u, sigma, v = np.linalg.svd(columns(x), full_matrices=False)
    lowered = scipy.optimize.brentq(lambda t: np.maximum(sigma - t, 0).sum() - strength * t, 0, sigma[0], xtol=1e-14)
    return ((u * np.maximum(sigma - lowered, 0)) @ v).reshape(x.shape)


def into_l1_balls(x: np.ndarray, strength: float) -> np.ndarray:
    def nearest(c: np.ndarray) -> np.ndarray:
        if np.abs(c).sum() <= strength:
            return c
        lowered = scipy.optimize.brentq(lambda t: np.maximum(np.abs(c) - t, 0).sum() - strength, 0, np.abs(c).max())
        return np.sign(c) * np.maximum(np.abs(c) - lowered, 0)

    return np.apply_along_axis(nearest, 0, columns(x)).reshape(x.shape)


def into_spectral_ball(x: np.ndarray, strength: float) -> np.ndarray:
    u, sigma, v = np.linalg.svd(columns(x), full_matrices=False)
    return ((u * np.minimum(sigma, strength)) @ v).reshape(x.shape)


def levelling_off(a: np.ndarray, s: float, gamma: float) -> np.ndarray:
    # The integral of the slope max(0, s - a / γ) from 0 on.
    return np.where(a <= gamma * s, s * a - a**2 / (2 * gamma), gamma * s**2 / 2)


def smoothly_clipped(a: np.ndarray, s: float, gamma: float) -> np.ndarray:
    # The integral from 0 on of the slope s, then (γ s - a) / (γ - 1), then 0.
    end = np.clip(a, s, gamma * s)
    return s * np.minimum(a, s) + (gamma * s * (end - s) - (end**2 - s**2) / 2) / (gamma - 1)


def largest_singular_value(w: np.ndarray) -> float:
    return np.linalg.norm(columns(w), 2) if w.size else 0.0


def off_orthonormal(w: np.ndarray) -> float:
    c = columns(w) if len(columns(w)) >= columns(w).shape[1] else columns(w).T
    return np.square(c.T @ c - np.eye(c.shape[1])).sum()


CASES = {
    "L1": Case(
        jr.L1,
        lambda w, s: s * np.abs(w).sum(),
        lambda x, s: np.clip(x, -s, s),  # the conjugate is the indicator of the box
    ),
    "L2": Case(
        jr.L2,
        lambda w, s: s * np.square(w).sum(),
        lambda x, s: x / (1 + 1 / (2 * s)),  # the conjugate is Σy² / 4s
    ),
    "L1L2": Case(
        lambda s: jr.L1L2(l1=s, l2=2 * s),
        lambda w, s: s * np.abs(w).sum() + 2 * s * np.square(w).sum(),
        # The conjugate is Σ max(|y| - s, 0)² / 8s: below s it costs nothing, beyond it a ridge around ±s.
        lambda x, s: np.where(np.abs(x) <= s, x, np.sign(x) * (np.abs(x) + 1 / 4) / (1 + 1 / (4 * s))),
    ),
    "GroupLasso": Case(
        jr.GroupLasso,
        lambda w, s: s * np.sqrt(len(columns(w))) * np.linalg.norm(columns(w), axis=0).sum(),
        into_balls,  # the conjugate is the indicator of a ball a group
    ),
    "Linf": Case(
        jr.Linf,
        lambda w, s: s * np.abs(columns(w)).max(0, initial=0).sum(),
        into_l1_balls,  # the conjugate is the indicator of an L1 ball a group
    ),
    "Nuclear": Case(
        jr.Nuclear,
        lambda w, s: s * np.linalg.svd(columns(w), compute_uv=False).sum() if w.size else 0.0,
        into_spectral_ball,  # the conjugate is the indicator of σ₁ ≤ s
    ),
    "Huber": Case(
        lambda s: jr.Huber(s, 0.8),
        lambda w, s: s * np.where(np.abs(w) <= 0.8, w**2 / 2, 0.8 * (np.abs(w) - 0.4)).sum(),
        lambda x, s: np.clip(x / (1 + 1 / s), -0.8 * s, 0.8 * s),  # the conjugate is Σy² / 2s within the box
    ),
    "SCAD": Case(jr.SCAD, lambda w, s: smoothly_clipped(np.abs(w), s, 3.7).sum()),
    "LogSum": Case(lambda s: jr.LogSum(s, 0.5), lambda w, s: s * np.log1p(np.abs(w) / 0.5).sum()),
    "NormTarget": Case(
        lambda s: jr.NormTarget(s, 1.5),
        lambda w, s: s / 2 * np.square(np.linalg.norm(columns(w), axis=0) - 1.5).sum(),
        largest=1e15,
    ),
    "MCP": Case(jr.MCP, lambda w, s: levelling_off(np.abs(w), s, 3.0).sum()),
    "Spectral": Case(jr.Spectral, lambda w, s: s / 2 * largest_singular_value(w) ** 2, towards_nuclear),
    "Orthogonal": Case(jr.Orthogonal, lambda w, s: s * off_orthonormal(w), largest=1e8),
}
CASES |= {f"{name} to a reference": CASES[name]._replace(moved=True) for name in ("L2", "L1", "GroupLasso")}
PROXIMAL = [name for name in CASES if name != "Orthogonal"]
CONVEX = [name for name in PROXIMAL if CASES[name].conjugate_prox]

each = pytest.mark.parametrize("name", CASES)
each_proximal = pytest.mark.parametrize("name", PROXIMAL)
each_convex = pytest.mark.parametrize("name", CONVEX)
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def draw(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def centre(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The weights from which the penalty is measured; all of them have a short binary fraction."""
    return np.arange(math.prod(shape)).reshape(shape) % 5 / 4 - 0.5 if CASES[name].moved else np.zeros(shape)


def penalty(name: str, strength: Any, shape: tuple[int, ...]) -> Any:
    made = CASES[name].make(strength)
    return jr.ToReference(made, jnp.asarray(centre(name, shape))) if CASES[name].moved else made


def cost(name: str, w: np.ndarray, strength: float) -> float:
    return CASES[name].cost(w - centre(name, w.shape), strength)


@jax.jit
def value_and_slope(built: Any, w: jax.Array) -> tuple[jax.Array, jax.Array]:
    """One program a penalty, shape and dtype: all laws and strengths share it, as a strength is a leaf."""
    return jax.value_and_grad(lambda w: built(w))(w)


@jax.jit
def prox(built: Any, w: jax.Array, step: Any) -> jax.Array:
    """One program a penalty, shape and dtype, as above."""
    return built.prox(w, step)


@each
@each_shape
def test_cost_is_the_definition(name, shape):
    w = draw(shape)
    found, _ = value_and_slope(penalty(name, 0.3, shape), jnp.asarray(w, jnp.float32))
    assert (found.shape, found.dtype) == ((), jnp.float32)
    np.testing.assert_allclose(found, cost(name, w, 0.3), rtol=1e-5, atol=1e-6)


@each
@pytest.mark.parametrize("shape", FULL, ids=str)
def test_gradient_is_the_slope_of_the_definition(name, shape):
    w, h = draw(shape), 1e-5
    with jax.enable_x64(True):
        slope = np.asarray(value_and_slope(penalty(name, 0.3, shape), jnp.asarray(w))[1])
    for i in range(0, w.size, 5):
        bump = np.zeros(w.size)
        bump[i] = h
        rise = cost(name, w + bump.reshape(shape), 0.3) - cost(name, w - bump.reshape(shape), 0.3)
        np.testing.assert_allclose(slope.ravel()[i], rise / (2 * h), rtol=1e-6, atol=1e-8)


@each
@pytest.mark.parametrize("shape", [(), (6, 4)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
def test_gradient_is_zero_at_the_centre_and_keeps_the_dtype(name, shape, dtype):
    _, slope = value_and_slope(penalty(name, 0.3, shape), jnp.asarray(centre(name, shape), dtype))
    assert (slope.shape, slope.dtype) == (shape, dtype)
    np.testing.assert_array_equal(np.asarray(slope, np.float64), 0)


@each
def test_gradient_and_prox_are_finite_at_the_ends_of_the_range(name):
    built = penalty(name, 0.3, (6, 4))
    laws = [lambda w: value_and_slope(built, w)[1]]
    if name in PROXIMAL:
        laws.append(lambda w: prox(built, w, 0.5))
    for scale in (1e-45, 1e-40, 1e-30, CASES[name].largest):
        for w in (jnp.full((6, 4), scale), jnp.asarray(draw((6, 4)) * scale, jnp.float32)):
            for law in laws:
                assert np.isfinite(law(w)).all()


@each
@each_shape
def test_strength_zero_is_no_penalty(name, shape):
    built, w = penalty(name, 0.0, shape), jnp.asarray(draw(shape), jnp.float32)
    cost, slope = value_and_slope(built, w)
    assert cost == 0
    np.testing.assert_array_equal(slope, 0)
    if name in PROXIMAL:
        np.testing.assert_array_equal(prox(built, w, 0.5), w)


@each_proximal
@each_shape
def test_prox_keeps_the_shape(name, shape):
    assert prox(penalty(name, 0.3, shape), jnp.asarray(draw(shape), jnp.float32), 0.5).shape == shape


@each_proximal
def test_weights_and_step_may_be_named(name):
    built, w = penalty(name, 0.3, (6, 4)), jnp.asarray(draw((6, 4)), jnp.float32)
    np.testing.assert_array_equal(built.prox(w=w, step=0.5), built.prox(w, 0.5))


@each
def test_no_dtypes_are_mixed_where_jax_is_told_to_refuse_it(name):
    for dtype in DTYPES:
        w = jax.ShapeDtypeStruct((6, 4), dtype)
        with jax.numpy_dtype_promotion("strict"):
            built = penalty(name, 0.3, (6, 4))
            assert jax.eval_shape(jax.grad(built), w).dtype == dtype
            if name in PROXIMAL:
                assert jax.eval_shape(lambda w, built=built: built.prox(w, 0.5), w).dtype == dtype


def assert_minimal(name: str, w: np.ndarray, near: np.ndarray, step: Any) -> None:
    """`near` minimises penalty(z) + Σ (z - w)² / (2 step): (w - near) / step is a subgradient there."""

    def objective(z: np.ndarray) -> float:
        return cost(name, z, 0.3) + np.sum(np.square(z - w) / (2 * step))

    least, base = objective(near), cost(name, near, 0.3)
    moves = [scale * draw(w.shape, 100 + i) for i, scale in enumerate([1e-6, 1e-3, 0.1, 1.0, 10.0] * 4)]
    moves += [-near, w - near, 0.01 * near, -0.01 * near, centre(name, w.shape) - near]
    for move in moves:
        assert least <= objective(near + move) + 1e-12
        if name in CONVEX:
            assert cost(name, near + move, 0.3) >= base + np.sum((w - near) / step * move) - 1e-9


@each_proximal
@pytest.mark.parametrize("shape", FULL, ids=str)
def test_prox_minimises_its_objective(name, shape):
    w = draw(shape)
    with jax.enable_x64(True):
        built = penalty(name, 0.3, shape)
        for step in (0.01, 0.5, 20.0):
            assert_minimal(name, w, np.asarray(prox(built, jnp.asarray(w), step)), step)


@pytest.mark.parametrize("name", [name for name in PROXIMAL if name not in ("Spectral", "Nuclear", "NormTarget")])
@pytest.mark.parametrize("shape", FULL, ids=str)
def test_prox_with_a_step_for_each_weight_minimises_its_objective(name, shape):
    w = draw(shape)
    with jax.enable_x64(True):
        built = penalty(name, 0.3, shape)
        for spread, scale in [(0.0, 0.5), (1.0, 0.3), (3.0, 0.3), (1.0, 100.0)]:
            step = scale * np.exp(spread * draw(shape, 9))
            near = np.asarray(prox(built, jnp.asarray(w), jnp.asarray(step)))
            assert_minimal(name, w, near, step)
            if not spread:
                np.testing.assert_allclose(near, prox(built, jnp.asarray(w), scale), rtol=1e-10, atol=1e-12)


@each_convex
@pytest.mark.parametrize("shape", [(7,), (6, 4), (4, 6)], ids=str)
@pytest.mark.parametrize("strength", [0.1, 1.0])
def test_prox_and_prox_of_the_conjugate_add_up(name, shape, strength):
    # Moreau: x = prox_f(x) + prox_f*(x); measuring f from r instead of 0 moves the argument of the second by r.
    x = 2 * draw(shape)
    with jax.enable_x64(True):
        near = np.asarray(prox(penalty(name, strength, shape), jnp.asarray(x), 1.0))
    conjugate = CASES[name].conjugate_prox(x - centre(name, shape), strength)
    np.testing.assert_allclose(near + conjugate, x, rtol=1e-8, atol=1e-8)


@each_convex
def test_prox_is_firmly_non_expansive(name):
    with jax.enable_x64(True):
        built = penalty(name, 0.3, (6, 4))
        for seed in range(5):
            x, y = draw((6, 4), seed), 3 * draw((6, 4), seed + 50)
            apart = np.asarray(prox(built, jnp.asarray(x), 2.0)) - np.asarray(prox(built, jnp.asarray(y), 2.0))
            assert np.sum(apart**2) <= np.sum(apart * (x - y)) + 1e-12


def everything(name: str, shape: tuple[int, ...]) -> Callable[[Any, jax.Array], list[jax.Array]]:
    """All that a penalty gives, as one function of a strength and the weights."""

    def evaluated(strength, w):
        built = penalty(name, strength, shape)
        near = [built.prox(w, 0.5), penalty(name, 1.0, shape).prox(w, strength)] if name in PROXIMAL else []
        return [built(w), jax.grad(built)(w), *near]

    return evaluated


@each
def test_wide_strengths_widen_nothing(name):
    law, w = everything(name, (6, 4)), draw((6, 4)).astype(np.float32)
    with jax.enable_x64(True):
        program = jax.make_jaxpr(lambda w: law(np.float64(0.3), w))(w)
    assert {value.dtype for value in program.out_avals} == {np.dtype(np.float32)}
    assert "reference" in name or not re.search(r"f64\[\d", str(program))  # the reference itself is wide


@each
@pytest.mark.parametrize("spec", [("devices", None), (None, "devices")], ids=["inputs", "units"])
@pytest.mark.parametrize("axes", ["Auto", "Explicit"])
def test_sharded_weights_give_what_whole_ones_give(name, axes, spec):
    mesh = jax.make_mesh((4,), ("devices",), axis_types=(jax.sharding.AxisType[axes],))
    w = jnp.asarray(draw((8, 4)), jnp.float32)
    sharded = jax.device_put(w, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*spec)))
    assert len(sharded.sharding.device_set) == 4
    law = jax.jit(everything(name, (8, 4)))
    with jax.set_mesh(mesh) if axes == "Explicit" else contextlib.nullcontext():
        found = law(0.3, sharded)
    chex.assert_trees_all_close(found, law(0.3, w), rtol=2e-5, atol=2e-6)


@each
def test_strength_can_be_differentiated(name):
    w = jnp.asarray(draw((6, 4)), jnp.float32)
    slope = jax.grad(lambda s: penalty(name, s, (6, 4))(w))(0.3)
    rise = cost(name, np.asarray(w), 0.3 + 1e-4) - cost(name, np.asarray(w), 0.3 - 1e-4)
    np.testing.assert_allclose(slope, rise / 2e-4, rtol=1e-5)


@each
@pytest.mark.parametrize(
    ("strength", "error", "said"),
    [
        (-0.1, ValueError, "-0.1"),
        (np.nan, ValueError, "nan"),
        (np.inf, ValueError, "inf"),
        (np.array([0.1, -2.0]), ValueError, "-2"),
        ("much", TypeError, "number of at least 0"),
    ],
    ids=str,
)
def test_bad_strengths_are_refused_in_words(name, strength, error, said):
    with pytest.raises(error, match=said):
        CASES[name].make(strength)


def test_groups_are_those_of_the_axis():
    w = draw((3, 4, 5))
    for axis in (-1, (1, 0), (0, 1, 2)):
        norms = np.sqrt(np.square(w).sum(axis))
        size = w.size // norms.size
        found = jr.GroupLasso(0.3, axis=axis)(jnp.asarray(w, jnp.float32))
        np.testing.assert_allclose(found, 0.3 * np.sqrt(size) * norms.sum(), rtol=1e-5)
        near = jr.GroupLasso(0.3, axis=axis).prox(jnp.asarray(w, jnp.float32), 0.8)
        left = np.maximum(0, 1 - 0.24 * np.sqrt(size) / np.sqrt(np.square(w).sum(axis, keepdims=True)))
        np.testing.assert_allclose(near, w * left, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make", [jr.Spectral, jr.Nuclear, jr.Orthogonal])
def test_layouts_with_units_first_are_the_transposed_matrix(make):
    # Equinox and PyTorch: (units, inputs, height, width).
    w = draw((5, 2, 3, 2))
    there, here = make(0.3, axis=(1, 2, 3)), make(0.3)
    turned = jnp.asarray(w.reshape(5, 12).T, jnp.float32)
    np.testing.assert_allclose(there(jnp.asarray(w, jnp.float32)), here(turned), rtol=1e-5)
    if make is not jr.Orthogonal:
        near = there.prox(jnp.asarray(w, jnp.float32), 2.0)
        np.testing.assert_allclose(near, here.prox(turned, 2.0).T.reshape(w.shape), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["Spectral", "Nuclear"])
@pytest.mark.parametrize(
    "sigma", [(2.0, 2.0, 2.0), (3.0, 3.0, 1.0), (3.0, 2.9, 0.1), (2.0, 0.0, 0.0), (0.0, 0.0, 0.0)], ids=str
)
def test_prox_and_gradient_where_singular_values_meet(sigma, name):
    u, _ = np.linalg.qr(draw((4, 3)))
    v, _ = np.linalg.qr(draw((3, 3), 1))
    w, built = (u * np.array(sigma)) @ v.T, CASES[name].make(0.3)
    with jax.enable_x64(True):
        near = np.asarray(built.prox(jnp.asarray(w), 2.0))
        slope = np.asarray(jax.grad(built)(jnp.asarray(w)))
    assert_minimal(name, w, near, 2.0)
    for seed in range(10):  # a subgradient, where there is no gradient
        move = draw(w.shape, seed)
        assert cost(name, w + move, 0.3) >= cost(name, w, 0.3) + np.sum(slope * move) - 1e-12


def test_spectral_has_second_derivatives_where_the_largest_value_is_alone():
    w, move = draw((4, 3)), draw((4, 3), 1)
    with jax.enable_x64(True):
        slope = jax.grad(jr.Spectral(0.3))
        found = np.asarray(jax.jvp(slope, (jnp.asarray(w),), (jnp.asarray(move),))[1])
        rise = np.asarray(slope(jnp.asarray(w + 1e-6 * move)) - slope(jnp.asarray(w - 1e-6 * move)))
    np.testing.assert_allclose(found, rise / 2e-6, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("w", [2 * np.eye(4, 3), draw((4, 3))], ids=["alike", "apart"])
def test_the_nuclear_norm_has_second_derivatives_where_no_singular_value_is_0(w):
    def polar(w):
        u, _, v = np.linalg.svd(w, full_matrices=False)
        return u @ v

    move = draw((4, 3), 1)
    with jax.enable_x64(True):
        _, found = jax.jvp(jax.grad(jr.Nuclear(1.0)), (jnp.asarray(w),), (jnp.asarray(move),))
    np.testing.assert_allclose(found, (polar(w + 1e-6 * move) - polar(w - 1e-6 * move)) / 2e-6, atol=1e-8)


def test_a_matrix_of_which_the_nuclear_norm_leaves_nothing_is_exactly_0():
    assert not np.any(jr.Nuclear(1.0).prox(jnp.asarray(draw((6, 4)), jnp.float32), 100.0))


@pytest.mark.parametrize("make", [jr.Spectral, jr.Nuclear])
def test_penalties_of_singular_values_refuse_a_strength_for_each_unit(make):
    with pytest.raises(ValueError, match=r"has shape \(2,\)"):
        make(jnp.array([0.1, 0.2])).prox(jnp.ones((3, 2)), 1.0)


@pytest.mark.parametrize("make", [jr.Spectral, jr.Nuclear])
def test_penalties_of_singular_values_refuse_a_step_for_each_weight(make):
    with pytest.raises(ValueError, match=r"shape \(3, 2\); expected one number"):
        make(0.1).prox(jnp.ones((3, 2)), jnp.ones((3, 2)))


def test_l1_to_a_reference_stays_exactly_there():
    reference, w = jnp.asarray(draw((50,)), jnp.float32), jnp.asarray(draw((50,), 1), jnp.float32)
    np.testing.assert_array_equal(jr.ToReference(jr.L1(100.0), reference).prox(w, 1.0), reference)


def test_bad_references_are_refused_in_words():
    for wrong in (lambda w: w.sum(), 0.1):
        with pytest.raises(TypeError, match=r"expected a penalty such as jaxreg.L2"):
            jr.ToReference(wrong, jnp.ones(3))
    with pytest.raises(ValueError, match=r"\(2,\); expected the shape of the reference, \(3,\)"):
        jr.ToReference(jr.L2(0.1), jnp.ones(3))(jnp.ones(2))


@pytest.mark.parametrize("p", [0.5, 0.8, 1.0, 2.0])
def test_powers_of_weights(p):
    w = np.append(draw((9,)), 0.0)
    found, slope = jax.value_and_grad(jr.Lp(0.3, p))(jnp.asarray(w, jnp.float32))
    np.testing.assert_allclose(found, 0.3 * np.sum(np.abs(w) ** p), rtol=1e-5)
    wanted = 0.3 * p * np.sign(w[:-1]) * np.abs(w[:-1]) ** (p - 1)
    np.testing.assert_allclose(slope, np.append(wanted, 0.0), rtol=1e-5)


PROXES = {name: jax.jit(lambda w, s, t, name=name: CASES[name].make(s).prox(w, t)) for name in PROXIMAL}


@pytest.mark.parametrize("name", [name for name in PROXIMAL if not CASES[name].moved])
@settings(max_examples=40)
@given(
    w=hnp.arrays(np.float32, (4, 3), elements=st.floats(-1e6, 1e6, width=32)),
    s=st.just(0.0) | st.floats(1e-3, 100),
    t=st.floats(1e-2, 9),
)
def test_prox_lowers_its_objective_for_any_weights(name, w, s, t):
    near = np.asarray(PROXES[name](w, s, t), np.float64)
    before = CASES[name].cost(w.astype(np.float64), s)
    after = CASES[name].cost(near, s) + np.sum((near - w) ** 2) / (2 * t)
    assert np.isfinite(near).all()
    if CASES[name].cost(np.zeros((4, 3)), s) == 0:  # NormTarget draws small weights outwards
        assert np.linalg.norm(near) <= np.linalg.norm(w.astype(np.float64)) * (1 + 1e-5) + 1e-30
    assert after <= before * (1 + 1e-4) + 1e-30


@pytest.mark.parametrize("target", [1.0, 2.5, 9.0])
def test_the_largest_singular_value_is_drawn_to_the_target(target):
    w, built = draw((5, 3)), jr.Spectral(0.6, target=target)
    with jax.enable_x64(True):
        found, slope = jax.jit(jax.value_and_grad(built))(jnp.asarray(w))
        near = np.asarray(jax.jit(lambda w: built.prox(w, 2.0))(jnp.asarray(w)))
    u, sigma, v = np.linalg.svd(w, full_matrices=False)
    np.testing.assert_allclose(found, 0.3 * (sigma[0] - target) ** 2)
    np.testing.assert_allclose(slope, 0.6 * (sigma[0] - target) * np.outer(u[:, 0], v[0]), atol=1e-12)

    def objective(values):
        return 0.3 * (values.max() - target) ** 2 + np.sum((values - sigma) ** 2) / 4

    starts = [sigma, np.minimum(sigma, sigma[1]), sigma + np.eye(3)[0]]
    best = min(scipy.optimize.minimize(objective, s, method="Nelder-Mead", tol=1e-12).fun for s in starts)
    np.testing.assert_allclose(objective(np.linalg.svd(near, compute_uv=False)), best, rtol=1e-6)
    np.testing.assert_allclose(np.abs(u.T @ near @ v.T - np.diag(np.diag(u.T @ near @ v.T))), 0, atol=1e-12)


def test_the_distribution_of_weights_is_drawn_to_the_references():
    w, reference = draw((4, 3)), 2 * draw((4, 3), 1)
    built = jr.Wasserstein(0.3, jnp.asarray(reference, jnp.float32))
    x = jnp.asarray(w, jnp.float32)
    apart = np.sort(w.ravel()) - np.sort(reference.ravel())
    np.testing.assert_allclose(built(x), 0.3 * np.sum(apart**2), rtol=1e-5)
    # Each order of the reference is a distance too, and the least of all is the cost.
    orders = [np.random.default_rng(i).permutation(12) for i in range(200)]
    assert all(0.3 * np.sum((w.ravel() - reference.ravel()[order]) ** 2) >= built(x) - 1e-5 for order in orders)
    slope = np.asarray(jax.grad(built)(x)).ravel()[np.argsort(w.ravel())]
    np.testing.assert_allclose(slope, 0.6 * apart, rtol=1e-4, atol=1e-6)
    near = built.prox(x, 2.0)
    np.testing.assert_allclose(np.sort(near.ravel()), np.sort(w.ravel()) - apart * 1.2 / 2.2, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(np.argsort(near.ravel()), np.argsort(w.ravel()))
    np.testing.assert_array_equal(built.prox(x[::-1], 2.0), near[::-1])


def test_each_layer_of_a_stack_has_a_distribution_of_its_own():
    start = {"layers": {"kernel": jnp.asarray(draw((3, 4, 2)), jnp.bfloat16), "bias": jnp.zeros((3, 2), jnp.bfloat16)}}
    rules = jr.initial_distributions(start, 0.5)
    moved = {"layers": {"kernel": start["layers"]["kernel"][:, ::-1], "bias": start["layers"]["bias"]}}
    swapped = {"layers": {"kernel": start["layers"]["kernel"][::-1], "bias": start["layers"]["bias"]}}
    assert jr.penalty(start, rules) == 0
    assert jr.penalty(moved, rules) == 0
    assert jr.penalty(swapped, rules) > 0.1


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: jr.Huber(0.1, 0.0), ValueError, "delta is 0"),
        (lambda: jr.SCAD(0.1, 2.0), ValueError, "gamma is 2; expected a number above 2"),
        (lambda: jr.LogSum(0.1, -1.0), ValueError, "epsilon is -1"),
        (lambda: jr.Spectral(0.1, target=-1.0), ValueError, "target is -1"),
        (lambda: jr.Wasserstein(-0.1, jnp.ones(3)), ValueError, "strength is -0.1"),
        (lambda: jr.Wasserstein(0.1, jnp.ones(3))(jnp.ones(2)), ValueError, r"\(2,\); expected the shape"),
        (lambda: jr.Wasserstein(0.1, jnp.ones(3)).prox(jnp.ones(3), jnp.ones(3)), ValueError, "expected one number"),
    ],
)
def test_numbers_out_of_range_are_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()
