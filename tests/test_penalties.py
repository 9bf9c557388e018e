"""A table of penalties × the laws every one of them keeps, against NumPy in float64 and convexity's definitions."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxreg as jr

SHAPES = [(), (0,), (5,), (6, 4), (0, 3), (3, 0), (2, 3, 2, 4)]
FULL = [(7,), (6, 4), (4, 6), (2, 3, 2, 4)]
DTYPES = [jnp.float32, jnp.float16, jnp.bfloat16]


class Case(NamedTuple):
    """A penalty as a function of its strength, what it is by definition, and the prox of its convex conjugate."""

    make: Callable[[Any], Any]
    cost: Callable[[np.ndarray, float], float]
    conjugate_prox: Callable[[np.ndarray, float], np.ndarray] | None = None


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
}
PROXIMAL = [name for name in CASES if hasattr(CASES[name].make(1.0), "prox")]

each = pytest.mark.parametrize("name", CASES)
each_proximal = pytest.mark.parametrize("name", PROXIMAL)
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def draw(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


@each
@each_shape
def test_cost_is_the_definition(name, shape):
    case, w = CASES[name], draw(shape)
    cost = case.make(0.3)(jnp.asarray(w, jnp.float32))
    assert cost.shape == ()
    assert cost.dtype == jnp.float32
    np.testing.assert_allclose(cost, case.cost(w, 0.3), rtol=1e-5, atol=1e-6)


@each
@pytest.mark.parametrize("shape", FULL, ids=str)
def test_gradient_is_the_slope_of_the_definition(name, shape):
    case, w, h = CASES[name], draw(shape), 1e-5
    with jax.enable_x64(True):
        slope = np.asarray(jax.grad(case.make(0.3))(jnp.asarray(w)))
    for i in range(0, w.size, 5):
        bump = np.zeros(w.size)
        bump[i] = h
        rise = case.cost(w + bump.reshape(shape), 0.3) - case.cost(w - bump.reshape(shape), 0.3)
        np.testing.assert_allclose(slope.ravel()[i], rise / (2 * h), rtol=1e-6, atol=1e-8)


@each
@pytest.mark.parametrize("shape", [(), (6, 4)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
def test_gradient_is_zero_at_zero_and_keeps_the_dtype(name, shape, dtype):
    slope = jax.grad(CASES[name].make(0.3))(jnp.zeros(shape, dtype))
    assert (slope.shape, slope.dtype) == (shape, dtype)
    np.testing.assert_array_equal(np.asarray(slope, np.float64), 0)


@each
@pytest.mark.parametrize("scale", [1e-45, 1e-40, 1e-30, 1e30])
def test_gradient_and_prox_are_finite_at_the_ends_of_the_range(name, scale):
    penalty = CASES[name].make(0.3)
    for w in (jnp.full((6, 4), scale), jnp.asarray(draw((6, 4)) * scale, jnp.float32)):
        assert np.isfinite(jax.grad(penalty)(w)).all()
        if name in PROXIMAL:
            assert np.isfinite(penalty.prox(w, 0.5)).all()


@each
@each_shape
def test_strength_zero_is_no_penalty(name, shape):
    penalty, w = CASES[name].make(0.0), jnp.asarray(draw(shape), jnp.float32)
    assert penalty(w) == 0
    np.testing.assert_array_equal(jax.grad(penalty)(w), 0)
    if name in PROXIMAL:
        np.testing.assert_array_equal(penalty.prox(w, 0.5), w)


@each_proximal
@each_shape
def test_prox_keeps_the_shape(name, shape):
    assert CASES[name].make(0.3).prox(jnp.asarray(draw(shape), jnp.float32), 0.5).shape == shape


@each_proximal
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
def test_prox_keeps_the_dtype_and_is_rounded_once(name, dtype):
    w = jnp.asarray(draw((6, 4)), dtype)
    near = CASES[name].make(0.3).prox(w, 0.5)
    assert near.dtype == dtype
    wide = np.asarray(CASES[name].make(0.3).prox(w.astype(jnp.float32), 0.5))
    np.testing.assert_allclose(np.asarray(near, np.float32), wide, rtol=float(jnp.finfo(dtype).eps), atol=1e-7)


@each_proximal
@pytest.mark.parametrize("step", [0.01, 0.5, 20.0])
@pytest.mark.parametrize("shape", FULL, ids=str)
def test_prox_minimises_its_objective(name, shape, step):
    # (w - z) / step is a subgradient at z = prox(w) of a convex penalty, if and only if z is the minimum.
    case, w = CASES[name], draw(shape)
    with jax.enable_x64(True):
        near = np.asarray(case.make(0.3).prox(jnp.asarray(w), step))

    def objective(z: np.ndarray) -> float:
        return case.cost(z, 0.3) + np.square(z - w).sum() / (2 * step)

    for seed, scale in enumerate([1e-6, 1e-3, 0.1, 1.0, 10.0] * 4):
        other = near + scale * draw(shape, 100 + seed)
        assert objective(near) <= objective(other) + 1e-12
        slope = np.sum((w - near) / step * (other - near))
        assert case.cost(other, 0.3) >= case.cost(near, 0.3) + slope - 1e-9
    for other in (np.zeros(shape), w, near * 0.99, near * 1.01):
        assert objective(near) <= objective(other) + 1e-12


@each_proximal
@pytest.mark.parametrize("shape", [(7,), (6, 4), (4, 6)], ids=str)
@pytest.mark.parametrize("strength", [0.1, 1.0])
def test_prox_and_prox_of_the_conjugate_add_up(name, shape, strength):
    # Moreau: x = prox_f(x) + prox_f*(x).
    case, x = CASES[name], 2 * draw(shape)
    with jax.enable_x64(True):
        near = np.asarray(case.make(strength).prox(jnp.asarray(x), 1.0))
    np.testing.assert_allclose(near + case.conjugate_prox(x, strength), x, rtol=1e-8, atol=1e-8)


@each_proximal
@pytest.mark.parametrize("seed", range(3))
def test_prox_is_firmly_non_expansive(name, seed):
    x, y = draw((6, 4), seed), 3 * draw((6, 4), seed + 50)
    with jax.enable_x64(True):
        prox = CASES[name].make(0.3).prox
        apart = np.asarray(prox(jnp.asarray(x), 2.0)) - np.asarray(prox(jnp.asarray(y), 2.0))
    assert np.sum(apart**2) <= np.sum(apart * (x - y)) + 1e-12


@each
@pytest.mark.parametrize("shape", [(6, 4), (2, 3, 2, 4)], ids=str)
def test_loop_vmap_and_jit_agree_over_values_and_strengths(name, shape):
    make = CASES[name].make
    values = jnp.asarray(draw((3, *shape)), jnp.float32)
    strengths = jnp.array([0.0, 0.1, 2.0])
    laws = [lambda s, w: make(s)(w), lambda s, w: jax.grad(make(s))(w)]
    if name in PROXIMAL:
        laws += [lambda s, w: make(s).prox(w, 0.5), lambda s, w: make(1.0).prox(w, s)]
    for law in laws:
        loop = np.stack([law(s, w) for s, w in zip(strengths, values, strict=True)])
        for mapped in (jax.vmap(law), jax.jit(jax.vmap(law))):
            np.testing.assert_allclose(mapped(strengths, values), loop, rtol=2e-5, atol=1e-6)
        np.testing.assert_allclose(jax.jit(law)(strengths[1], values[1]), loop[1], rtol=2e-5, atol=1e-6)


@each
def test_strength_can_be_differentiated(name):
    w = jnp.asarray(draw((6, 4)), jnp.float32)
    slope = jax.grad(lambda s: CASES[name].make(s)(w))(0.3)
    np.testing.assert_allclose(slope, CASES[name].cost(np.asarray(w), 1.0), rtol=1e-5)  # the cost is linear in it


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
