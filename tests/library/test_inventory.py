"""Every penalty, constraint and transformation of the package against its definition, in NumPy or SciPy and float64.

One program per method and dtype computes it on a stack of layers, under `jax.vmap` over its numbers. A definition
knows neither stacks nor vmap: it is evaluated layer by layer and number by number. So agreement shows that a stack is
its layers, and vmap is a loop. Compiling is nearly all of the time, and so dtypes and laws share the programs.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.linalg
from scipy.optimize import brentq

import jaxreg as jr
from jaxreg import constraints, penalties, transforms

each_dtype = pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
NUMBERS = np.float32([0.5, 1.25, 3.0])  # exact in every dtype
SCALES = (0.1, 1.0, 1.0, 5.0)  # of the layers
RNG = np.random.default_rng(0)


def eps(dtype: Any) -> float:
    return float(jnp.finfo(dtype).eps)


def stack(shape: tuple[int, ...], scales: tuple[float, ...], dtype: Any, seed: int = 0) -> jax.Array:
    """Layers of these scales, once per number."""
    drawn = np.random.default_rng(seed).normal(size=(len(scales), *shape))
    layers = np.reshape(scales, (-1, *[1] * len(shape))) * drawn
    return jnp.asarray(np.broadcast_to(layers, (len(NUMBERS), *layers.shape)), dtype)


def tree(kernel: jax.Array) -> dict:
    """A stack of layers, which its bias tells."""
    return {"layers": {"kernel": kernel, "bias": jnp.ones((len(kernel), kernel.shape[-1]), kernel.dtype)}}


def kernel(params: dict) -> jax.Array:
    return params["layers"]["kernel"]


def exact(array: Any) -> np.ndarray:
    return np.asarray(array, np.float64)


def by_unit(function: Callable) -> Callable:
    """A function of a matrix and a number that applies a function of a vector and the number to each column."""
    return lambda w, c: np.apply_along_axis(function, 0, w, c)


def by_singular_value(function: Callable) -> Callable:
    """A function of a matrix and a number that applies a function of all singular values and the number."""

    def changed(w: np.ndarray, c: float) -> np.ndarray:
        u, s, vt = np.linalg.svd(w, full_matrices=False)
        return (u * function(s, c)) @ vt

    return changed


def within(size: Callable, nearest: Callable) -> Callable:
    """`nearest`, but weights whose size is at most the number stay as they are."""
    return lambda w, c: w if size(w) <= c else nearest(w, c)


def lowered(x: np.ndarray, total: float) -> np.ndarray:
    """max(x - t, 0) with the t at which the sum is `total`."""
    t = brentq(lambda t: np.maximum(x - t, 0).sum() - total, x.min() - total, x.max(), xtol=1e-14)
    return np.maximum(x - t, 0)


def by_size(function: Callable) -> Callable:
    """A function of a vector and a number that keeps signs and applies a function of the magnitudes."""
    return lambda x, c: np.where(x < 0, -1, 1) * function(np.abs(x), c)


def into_ball(x: np.ndarray, c: float) -> np.ndarray:
    return x * min(1.0, c / np.linalg.norm(x)) if np.any(x) else x


def between_norms(x: np.ndarray, least: float, most: float) -> np.ndarray:
    n = np.linalg.norm(x)
    return x * (np.clip(n, least, most) / n) if not least <= n <= most else x


into_l1_ball = within(lambda x: np.abs(x).sum(), by_size(lowered))


def largest(x: np.ndarray, count: int) -> np.ndarray:
    return np.where(np.isin(np.arange(x.size), np.argsort(-np.abs(x), kind="stable")[:count]), x, 0)


def into_both_balls(x: np.ndarray, c: float) -> np.ndarray:
    # ‖z‖₁ ≤ c and ‖z‖₂ ≤ 0.7 c: a soft threshold, then a factor.
    def point(t: float) -> np.ndarray:
        return into_ball(np.sign(x) * np.maximum(np.abs(x) - t, 0), 0.7 * c)

    def over(t: float) -> float:
        return np.abs(point(t)).sum() - c

    return point(0.0 if over(0.0) <= 0 else brentq(over, 0, np.abs(x).max() - 1e-9, xtol=1e-14))


def shifted_into_box(x: np.ndarray, c: float) -> np.ndarray:
    t = brentq(lambda t: np.clip(x - t, -c, c).sum() - c / 2, -1e3, 1e3, xtol=1e-14)
    return np.clip(x - t, -c, c)


NORMAL = np.array([1.0, -0.5, 2.0, 0.0, 0.25, -1.5], np.float32)
EQUATIONS = np.stack([NORMAL, np.ones(6, np.float32)])
TARGET = np.float32([1.0, 0.5])


def soft_cap(s: np.ndarray, c: float) -> np.ndarray:
    def bent(s: Any, a: float) -> Any:
        y = s - a * s**3
        return y + a * y**3

    far = 8.5 * c
    return bent(s, brentq(lambda a: bent(far, a) - 8 * c, 0, 1 / (3 * far**2), xtol=1e-16))


def semidefinite(w: np.ndarray, c: float) -> np.ndarray:
    values, vectors = np.linalg.eigh((w + w.T) / 2)
    return vectors * np.maximum(values, 0) @ vectors.T


def norm_of_convolution(kernel: np.ndarray) -> float:
    """The largest singular value of the matrix of a circular convolution on images of 4 × 4."""
    height, width, inputs, units = kernel.shape
    matrix = np.zeros((4, 4, units, 4, 4, inputs))
    for y, x, i, j in np.ndindex(4, 4, height, width):
        matrix[y, x, :, (y + i) % 4, (x + j) % 4] += kernel[i, j].T
    return np.linalg.norm(matrix.reshape(16 * units, -1), 2)


class Constraint(NamedTuple):
    """A constraint of a number, and the nearest point of its set to one layer, which is the layer itself inside.

    A result may be `ulps` off the set, 0 for inequalities that hold exactly. It may be `error` off the definition in
    float32, relative to the largest weight, and `narrow` ulps more in narrower dtypes.
    """

    make: Callable[[Any], Any]
    nearest: Callable[[np.ndarray, float], np.ndarray]
    ulps: float = 0.0
    error: float = 2e-6
    narrow: float = 1.0
    shape: tuple[int, ...] = (6, 4)
    scales: tuple[float, ...] = SCALES
    projects: bool = True  # a second time, it changes nothing


CONSTRAINTS = {
    "Affine": Constraint(
        lambda c: jr.Affine(EQUATIONS, c * TARGET),
        lambda w, c: w - np.linalg.lstsq(EQUATIONS, EQUATIONS @ w - c * TARGET[:, None])[0],
        ulps=2,
    ),
    "Box": Constraint(lambda c: jr.Box(-c / 4, c / 2), lambda w, c: np.clip(w, -c / 4, c / 2)),
    "ConvNorm": Constraint(
        lambda c: jr.ConvNorm(c, size=(4, 4), padding="CIRCULAR"),
        within(norm_of_convolution, lambda w, c: w * (c / norm_of_convolution(w))),
        error=2e-4,
        narrow=2,
        shape=(3, 3, 2, 2),
    ),
    "FrobeniusSphere": Constraint(jr.FrobeniusSphere, lambda w, c: w * (c / np.linalg.norm(w)), ulps=1),
    "HalfSpace": Constraint(
        lambda c: jr.HalfSpace(NORMAL, c),
        lambda w, c: w - np.outer(NORMAL, np.maximum(NORMAL @ w - c, 0)) / (NORMAL @ NORMAL),
    ),
    "Hyperplane": Constraint(
        lambda c: jr.Hyperplane(NORMAL, c),
        lambda w, c: w - np.outer(NORMAL, NORMAL @ w - c) / (NORMAL @ NORMAL),
        ulps=1,
    ),
    "Intersection": Constraint(
        lambda c: jr.Intersection(jr.NonNeg(), jr.MaxNorm(c)), by_unit(lambda x, c: into_ball(np.maximum(x, 0), c))
    ),
    "Intersection, a sum and bounds": Constraint(
        lambda c: jr.Intersection(jr.SumTo(c / 2), jr.LinfBall(c)), by_unit(shifted_into_box), ulps=2
    ),
    "Intersection, by rounds": Constraint(
        lambda c: jr.Intersection(jr.MaxNorm(0.7 * c), jr.L1Ball(c)), by_unit(into_both_balls), ulps=4, error=2e-5
    ),
    "L1Ball": Constraint(jr.L1Ball, by_unit(into_l1_ball)),
    "L1Sphere": Constraint(jr.L1Sphere, by_unit(by_size(lowered)), ulps=1),
    "LinfBall": Constraint(jr.LinfBall, lambda w, c: np.clip(w, -c, c)),
    "MaxNorm": Constraint(jr.MaxNorm, by_unit(into_ball)),
    "MaxRMS": Constraint(jr.MaxRMS, by_unit(lambda x, c: into_ball(x, c * 6**0.5))),
    "MinMaxNorm": Constraint(lambda c: jr.MinMaxNorm(c / 2, c), by_unit(lambda x, c: between_norms(x, c / 2, c))),
    "NMSparse": Constraint(
        lambda c: jr.NMSparse(1, 3), by_unit(lambda x, c: np.r_[largest(x[:3], 1), largest(x[3:], 1)])
    ),
    "NonNeg": Constraint(lambda c: jr.NonNeg(), lambda w, c: np.maximum(w, 0)),
    "NuclearBall": Constraint(
        jr.NuclearBall,
        within(lambda w: np.linalg.norm(w, "nuc"), by_singular_value(lowered)),
        narrow=2,
    ),
    "Orthonormal": Constraint(lambda c: jr.Orthonormal(), by_singular_value(lambda s, c: np.ones_like(s)), ulps=1),
    "Orthonormal, fast": Constraint(
        lambda c: jr.Orthonormal(fast=True), by_singular_value(lambda s, c: np.ones_like(s)), ulps=1, error=1e-5
    ),
    "PositiveSemidefinite": Constraint(lambda c: jr.PositiveSemidefinite(), semidefinite, ulps=2, shape=(5, 5)),
    "Simplex": Constraint(jr.Simplex, by_unit(lowered), ulps=1),
    "SoftSpectralCap": Constraint(
        lambda c: jr.SoftSpectralCap(8 * c, step=c / 2), by_singular_value(soft_cap), scales=(0.1, 1.0), projects=False
    ),
    "Sparse": Constraint(lambda c: jr.Sparse(c / 4), by_unit(lambda x, c: largest(x, 6 - int(np.rint(1.5 * c))))),
    "SpectralNorm": Constraint(
        jr.SpectralNorm, within(lambda w: np.linalg.norm(w, 2), by_singular_value(np.minimum)), error=1e-5
    ),
    "SpectralNorm, fast": Constraint(
        lambda c: jr.SpectralNorm(c, fast=True),
        within(lambda w: np.linalg.norm(w, 2), by_singular_value(np.minimum)),
        error=5e-4,
        scales=(0.1, 1.0),
    ),
    "SpectralSphere": Constraint(
        jr.SpectralSphere, lambda w, c: w * (c * (4 / 6) ** 0.5 / np.linalg.norm(w, 2)), ulps=1
    ),
    "SumTo": Constraint(jr.SumTo, lambda w, c: w + (c - w.sum(0)) / 6, ulps=1),
    "UnitNorm": Constraint(lambda c: jr.UnitNorm(), lambda w, c: w / np.linalg.norm(w, axis=0), ulps=1),
}


@each_dtype
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_a_constraint_is_the_nearest_point_of_each_layer_and_a_second_time_changes_nothing(name, dtype):
    case = CONSTRAINTS[name]
    w = stack(case.shape, case.scales, dtype)
    law = jax.jit(jax.vmap(lambda c, w: kernel(jr.projected(tree(w), {jr.KERNELS: case.make(c)}))))
    ends = law(NUMBERS, w)
    assert (ends.dtype, ends.shape) == (w.dtype, w.shape)
    if case.projects:
        assert np.asarray(law(NUMBERS, ends)).tobytes() == np.asarray(ends).tobytes()
    for place in np.ndindex(ends.shape[:2]):
        number, before, end = float(NUMBERS[place[0]]), exact(w[place]), exact(ends[place])
        expected = case.nearest(before, number)
        error = case.error + (0 if dtype == "float32" else case.narrow * eps(dtype))
        size = max(np.abs(before).max(), np.abs(expected).max())
        np.testing.assert_allclose(end, expected, rtol=0, atol=error * size)
        if case.projects:
            slack = case.ulps * max(eps(dtype), 1e-6) * np.abs(end).max()
            np.testing.assert_allclose(end, case.nearest(end, number), rtol=0, atol=slack)


@each_dtype
def test_norms_of_convolutions_and_trees_are_the_definition(dtype):
    w = stack((3, 3, 2, 2), SCALES, dtype)[0]
    found = jax.jit(jax.vmap(lambda w: jr.conv_norm(w, (4, 4), "CIRCULAR")))(w)
    np.testing.assert_allclose(found, [norm_of_convolution(layer) for layer in exact(w)], rtol=1e-5)
    params = [w, jnp.ones(3, dtype)]
    square = np.sum(exact(w) ** 2) + 3
    np.testing.assert_allclose(jr.tree_norm(params), square**0.5, rtol=1e-6)
    ends = jax.jit(jax.vmap(lambda c: jr.TreeNorm(c)(params)))(NUMBERS)
    for i, c in enumerate(NUMBERS):
        assert [leaf.dtype for leaf in ends] == [dtype] * 2
        for before, end in zip(params, ends, strict=True):
            np.testing.assert_allclose(exact(end[i]), exact(before) * (c / square**0.5), rtol=max(eps(dtype), 1e-6))
        again = jr.TreeNorm(c)([end[i] for end in ends])
        assert all(np.array_equal(a, end[i]) for a, end in zip(again, ends, strict=True))


STEP = 0.7
SHARES = np.linspace(0, 1, 2001)
REFERENCE = RNG.normal(size=(6, 4)).astype(np.float32)
REFERENCES = jnp.broadcast_to(REFERENCE, (3, 6, 4))
TARGET_NORM, DELTA = 1.5, 0.8


def argmin(objective: Callable[[np.ndarray], np.ndarray], most: np.ndarray) -> np.ndarray:
    """Where each of many functions of one number is least between 0 and `most`, by ever finer grids."""
    low, high = np.zeros_like(most), most.astype(float)
    for _ in range(4):
        grid = low + (high - low) * SHARES.reshape(-1, *[1] * most.ndim)
        best = np.take_along_axis(grid, np.argmin(objective(grid), 0)[None], 0)[0]
        width = (high - low) / 500
        low, high = np.maximum(best - width, 0), np.minimum(best + width, most)
    return best


def of_weights(cost: Callable) -> Callable:
    """A proximal step weight by weight: it is between 0 and the weight."""

    def step(w: np.ndarray, s: float) -> np.ndarray:
        sizes = np.abs(w)
        return np.sign(w) * argmin(lambda z: cost(z, s) + (z - sizes) ** 2 / (2 * STEP), sizes)

    return step


def of_norms(cost: Callable) -> Callable:
    """A proximal step of a function of the norm of each column: it has the direction of the column."""

    def step(w: np.ndarray, s: float) -> np.ndarray:
        n = np.linalg.norm(w, axis=0)
        return w / n * argmin(lambda z: cost(z, s) + (z - n) ** 2 / (2 * STEP), n + TARGET_NORM)

    return step


def of_largest(x: np.ndarray, s: float, cost: Callable = lambda z, s: s * z) -> np.ndarray:
    """A proximal step of a function of the largest magnitude: it clips magnitudes at a level."""
    sizes = np.abs(x)

    def objective(level: np.ndarray) -> np.ndarray:
        return cost(level, s) + np.sum(np.maximum(sizes - level[..., None], 0) ** 2, axis=-1) / (2 * STEP)

    return np.sign(x) * np.minimum(sizes, argmin(objective, sizes.max(keepdims=True)))


def levelling_off(a: np.ndarray, s: float, gamma: float) -> np.ndarray:
    # The integral of the slope max(0, s - a / γ) from 0 on.
    return np.where(a <= gamma * s, s * a - a**2 / (2 * gamma), gamma * s**2 / 2)


def smoothly_clipped(a: np.ndarray, s: float, gamma: float) -> np.ndarray:
    # The integral from 0 on of the slope s, then (γ s - a) / (γ - 1), then 0.
    end = np.clip(a, s, gamma * s)
    return s * np.minimum(a, s) + (gamma * s * (end - s) - (end**2 - s**2) / 2) / (gamma - 1)


def bent(a: np.ndarray, s: float) -> np.ndarray:
    return s * np.where(a <= DELTA, a**2 / 2, DELTA * (a - DELTA / 2))


def to_distribution(w: np.ndarray, s: float) -> np.ndarray:
    aims = np.sort(REFERENCE.ravel())[np.argsort(np.argsort(w.ravel(), kind="stable"))].reshape(w.shape)
    return (w + 2 * STEP * s * aims) / (1 + 2 * STEP * s)


class Penalty(NamedTuple):
    """A penalty of a strength, its cost of one layer, and its proximal step from there with the step size `STEP`."""

    make: Callable[[Any], Any]
    cost: Callable[[np.ndarray, float], float]
    near: Callable[[np.ndarray, float], np.ndarray] | None = None


def weight_by_weight(make: Callable, cost: Callable) -> Penalty:
    return Penalty(make, lambda w, s: cost(np.abs(w), s).sum(), of_weights(cost))


def norm_by_norm(make: Callable, cost: Callable) -> Penalty:
    return Penalty(make, lambda w, s: cost(np.linalg.norm(w, axis=0), s).sum(), of_norms(cost))


SOFT = of_weights(lambda z, s: s * z)
PENALTIES = {
    "GroupLasso": norm_by_norm(jr.GroupLasso, lambda n, s: s * 6**0.5 * n),
    "Huber": weight_by_weight(lambda s: jr.Huber(s, DELTA), bent),
    "L1": weight_by_weight(jr.L1, lambda a, s: s * a),
    "L1L2": weight_by_weight(lambda s: jr.L1L2(s, 2 * s), lambda a, s: s * a + 2 * s * a**2),
    "L2": weight_by_weight(jr.L2, lambda a, s: s * a**2),
    "Linf": Penalty(jr.Linf, lambda w, s: s * np.abs(w).max(0).sum(), by_unit(of_largest)),
    "LogSum": weight_by_weight(lambda s: jr.LogSum(s, 0.5), lambda a, s: s * np.log1p(a / 0.5)),
    "Lp": Penalty(lambda s: jr.Lp(s, 1.5), lambda w, s: s * np.sum(np.abs(w) ** 1.5)),
    "MCP": weight_by_weight(jr.MCP, lambda a, s: levelling_off(a, s, 3.0)),
    "NormTarget": norm_by_norm(lambda s: jr.NormTarget(s, TARGET_NORM), lambda n, s: s / 2 * (n - TARGET_NORM) ** 2),
    "Nuclear": Penalty(jr.Nuclear, lambda w, s: s * np.linalg.norm(w, "nuc"), by_singular_value(SOFT)),
    "Orthogonal": Penalty(jr.Orthogonal, lambda w, s: s * np.sum((w.T @ w - np.eye(w.shape[1])) ** 2)),
    "SCAD": weight_by_weight(jr.SCAD, lambda a, s: smoothly_clipped(a, s, 3.7)),
    "Spectral": Penalty(
        jr.Spectral,
        lambda w, s: s / 2 * np.linalg.norm(w, 2) ** 2,
        by_singular_value(lambda values, s: of_largest(values, s, lambda z, s: s / 2 * z**2)),
    ),
    "Spectral, to 1": Penalty(
        lambda s: jr.Spectral(s, target=1.0), lambda w, s: s / 2 * (np.linalg.norm(w, 2) - 1) ** 2
    ),
    "ToReference": Penalty(
        lambda s: jr.ToReference(jr.L1(s), REFERENCES),
        lambda w, s: s * np.sum(np.abs(w - REFERENCE)),
        lambda w, s: REFERENCE + SOFT(w - REFERENCE, s),
    ),
    "Wasserstein": Penalty(
        lambda s: jr.Wasserstein(s, REFERENCES, layers=(0,)),
        lambda w, s: s * np.sum((np.sort(w.ravel()) - np.sort(REFERENCE.ravel())) ** 2),
        to_distribution,
    ),
}


def slope(function: Callable[[np.ndarray], float], w: np.ndarray) -> np.ndarray:
    """The gradient by finite differences."""
    found = np.zeros_like(w)
    for place in np.ndindex(w.shape):
        bump = np.zeros_like(w)
        bump[place] = 1e-5
        found[place] = (function(w + bump) - function(w - bump)) / 2e-5
    return found


@each_dtype
@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_has_the_cost_the_slope_and_the_proximal_step_of_its_definition_on_each_layer(name, dtype):
    case = PENALTIES[name]
    w = stack((6, 4), (0.1, 1.0, 2.0), dtype)

    def law(s: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        params, rules = tree(w), {jr.KERNELS: case.make(s)}
        cost, slopes = jax.value_and_grad(jr.penalty)(params, rules)
        if case.near is None:
            return cost, kernel(slopes), w
        tx = jr.proximal(rules, STEP)
        updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
        return cost, kernel(slopes), kernel(optax.apply_updates(params, updates))

    costs, slopes, ends = jax.jit(jax.vmap(law))(NUMBERS, w)
    assert (costs.dtype, slopes.dtype, ends.dtype) == (jnp.float32, w.dtype, w.dtype)
    error = 3e-6 if dtype == "float32" else eps(dtype)
    for i, number in enumerate(map(float, NUMBERS)):
        layers = exact(w[i])
        np.testing.assert_allclose(costs[i], sum(case.cost(layer, number) for layer in layers), rtol=1e-5)
        for layer, found, end in zip(layers, exact(slopes[i]), exact(ends[i]), strict=True):
            expected = slope(lambda x: case.cost(x, number), layer)  # noqa: B023
            np.testing.assert_allclose(found, expected, rtol=error, atol=error * np.abs(expected).max())
            if case.near is not None:
                size = max(np.abs(layer).max(), np.abs(end).max())
                np.testing.assert_allclose(end, case.near(layer, number), rtol=0, atol=error * size)


RATE, PEAK = 0.125, 0.25  # exact in every dtype
WEIGHTS = np.random.default_rng(3).normal(size=(2, 4, 3))
MOVES = np.random.default_rng(4).normal(size=(2, 2, 4, 3))  # two steps
FRESH = np.random.default_rng(5).normal(size=(2, 4, 3))
LOGITS = np.float32([[0.25, 4.0, 1.0], [2.0, 0.5, 8.0]])  # per layer and head


def unit(x: np.ndarray, axes: Any = (1, 2)) -> np.ndarray:
    return x / np.linalg.norm(x, axis=axes, keepdims=True)


def inner(a: np.ndarray, b: np.ndarray, axes: Any = (1, 2)) -> np.ndarray:
    return np.sum(a * b, axes, keepdims=True)


def steps(step: Callable) -> Callable:
    """A formula of all moves, from one for each: (weights, move, number, count) -> weights."""

    def walked(w: np.ndarray, moves: np.ndarray, c: float) -> np.ndarray:
        for t, u in enumerate(moves):
            w = step(w, u, c, t)
        return w

    return walked


def descent(pull: Callable) -> Callable:
    """Decoupled decay: w - η (u + pull)."""
    return steps(lambda w, u, c, t: w - RATE * (u + pull(w, u, c)))


def bounded(bound: Callable, speed: Callable = lambda c: 1.0) -> Callable:
    """CPR behind gradient descent. The bound is a function of the number, the first Σw², Σw², count and last bound."""

    def walked(w: np.ndarray, moves: np.ndarray, c: float) -> np.ndarray:
        first, multiplier, limit = np.sum(w**2), 0.0, np.inf
        for t, u in enumerate(moves):
            w = w - RATE * u
            limit = bound(c, first, np.sum(w**2), t + 1, limit)
            grown = speed(c) / w.size * (np.sum(w**2) - limit)
            multiplier = max(0.0, multiplier + grown) if np.isfinite(limit) else 0.0
            w = w - multiplier * 2 * w
        return w

    return walked


def mean(w: np.ndarray, moves: np.ndarray, c: float) -> np.ndarray:
    m = w
    for u in moves:
        m, w = c / 4 * m + (1 - c / 4) * w, w - RATE * (u + c * (w - m))
    return w


def soft(x: np.ndarray, t: Any) -> np.ndarray:
    return np.sign(x) * np.maximum(np.abs(x) - t, 0)


def proximal_adam(w: np.ndarray, moves: np.ndarray, c: float) -> np.ndarray:
    m = v = 0.0
    for t, g in enumerate(moves, 1):
        m, v = (m + g) / 2, 0.75 * v + 0.25 * g**2
        d = np.sqrt(v / (1 - 0.75**t)) + 1e-8
        w = soft(w - RATE * m / (1 - 0.5**t) / d, RATE * c / d)
    return w


def bregman(w: np.ndarray, moves: np.ndarray, c: float) -> np.ndarray:
    return 2 * soft(w / 2 + c * np.sign(w) - RATE * moves.sum(0), c)


def braked(w: np.ndarray, u: np.ndarray, c: float, t: int) -> np.ndarray:
    there = w - RATE * u
    before, after = (np.linalg.norm(x, axis=(1, 2), keepdims=True) for x in (w, there))
    return unit(there) * np.where(after > before, before + c / 4 * (after - before), after)


def walked_on_spheres(w: np.ndarray, moves: np.ndarray, c: float) -> np.ndarray:
    """Two steps with a momentum of memory c / 4, whose first move is rotated as the weights were, layer by layer."""
    ahead = w - RATE * moves[0]
    rotated = []
    for a, b, m in zip(unit(w).reshape(2, -1), unit(ahead).reshape(2, -1), moves[0].reshape(2, -1), strict=True):
        # `m` need not be tangent: the parts along `a` and `b` are those of the formula in the docstring.
        across = b - (a @ b) * a
        across /= np.linalg.norm(across)
        turn = np.arctan2(across @ b, a @ b) * (np.outer(across, a) - np.outer(a, across))
        rotated.append(scipy.linalg.expm(turn) @ (m - (a @ m) * a))
    return ahead - RATE * (c / 4 * np.reshape(rotated, w.shape) + moves[1])


def polar(w: np.ndarray) -> np.ndarray:
    u, _, vt = np.linalg.svd(w, full_matrices=False)
    return u @ vt


def along_stiefel(w: np.ndarray, u: np.ndarray) -> np.ndarray:
    """The derivative of the polar factor at the polar factor of `w`."""
    return (polar(polar(w) + 1e-5 * u) - polar(polar(w) - 1e-5 * u)) / 2e-5


def spectral_sphere(w: np.ndarray, u: np.ndarray, c: float) -> np.ndarray:
    """A step of SSO on one layer: the part of msign(u + μ Θ) that keeps σ₁ to first order, by a root of μ."""
    left, _, right = np.linalg.svd(w, full_matrices=False)
    theta, goal = np.outer(left[:, 0], right[0]), c * (3 / 4) ** 0.5
    mu = brentq(lambda mu: np.sum(theta * polar(u + mu * theta)), -50, 50, xtol=1e-13)
    moved = w - RATE * goal * polar(u + mu * theta)
    return moved * (goal / np.linalg.norm(moved, 2))


def clipped_heads(w: np.ndarray, u: np.ndarray, c: float, t: int) -> np.ndarray:
    return (w - RATE * u) * np.sqrt(np.minimum(1, c / LOGITS))[:, None]


class Link(NamedTuple):
    """A chain of a number, and the weights after two moves by its formula, which knows whole stacks."""

    make: Callable[[Any], optax.GradientTransformation]
    formula: Callable[[np.ndarray, np.ndarray, float], np.ndarray]
    start: Callable[[np.ndarray], np.ndarray] = lambda w: w
    ulps: float = 6.0


SGD = optax.sgd(RATE)
SPHERE = jr.FrobeniusSphere(1.0)


def before_rate(make: Callable, formula: Callable, **named: Any) -> Link:
    return Link(lambda c: optax.chain(make(c), SGD), formula, **named)


def after_rate(make: Callable, formula: Callable, **named: Any) -> Link:
    return Link(lambda c: optax.chain(SGD, make(c)), formula, **named)


LINKS = {
    "FixedBound": after_rate(
        lambda c: jr.bounded(jr.L2(1.0), jr.FixedBound(c)), bounded(lambda c, first, now, t, limit: c)
    ),
    "InflectionBound": after_rate(
        lambda c: jr.bounded(jr.L2(1.0), jr.InflectionBound(every=1, memory=c / 4)),
        bounded(lambda c, first, now, t, limit: np.inf),  # two measurements set no bound
    ),
    "InitialBound": after_rate(
        lambda c: jr.bounded(jr.L2(1.0), jr.InitialBound(c / 2)), bounded(lambda c, first, now, t, limit: c / 2 * first)
    ),
    "WarmBound": after_rate(
        lambda c: jr.bounded(jr.L2(1.0), jr.WarmBound(jnp.rint(c))),
        bounded(lambda c, first, now, t, limit: now if t == np.rint(c) else limit),
    ),
    "bounded": after_rate(
        lambda c: jr.bounded(jr.L2(1.0), jr.FixedBound(1.0), rate=c),
        bounded(lambda c, first, now, t, limit: 1.0, speed=lambda c: c),
    ),
    "bregman": after_rate(lambda c: jr.bregman(jr.L1(c), 2.0), bregman),
    "cautious_decay": before_rate(
        lambda c: jr.cautious_decay(jr.L2(c)), descent(lambda w, u, c: np.where(u * w >= 0, 2 * c * w, 0))
    ),
    "conditional_gradient": before_rate(
        lambda c: jr.conditional_gradient(jr.LinfBall(c)),
        steps(lambda w, u, c, t: (1 - RATE) * w - RATE * c * np.sign(u)),
    ),
    "corrected_decay": before_rate(
        lambda c: jr.corrected_decay(jr.L2(c), RATE, PEAK), descent(lambda w, u, c: RATE / PEAK * 2 * c * w)
    ),
    "decay": before_rate(lambda c: jr.decay(jr.L2(c)), descent(lambda w, u, c: 2 * c * w)),
    "decay, Huber (AdamHD)": before_rate(
        lambda c: jr.decay(jr.Huber(c, DELTA)), descent(lambda w, u, c: c * np.clip(w, -DELTA, DELTA))
    ),
    "decay, to a norm (AdamWN)": before_rate(
        lambda c: jr.decay(jr.NormTarget(c, TARGET_NORM)),
        descent(lambda w, u, c: c * (w - TARGET_NORM * unit(w, 1))),
    ),
    "decay, isometry (AdamO)": before_rate(
        lambda c: jr.decay(jr.Orthogonal(c / 16)),
        descent(lambda w, u, c: c / 4 * w @ (np.swapaxes(w, 1, 2) @ w - np.eye(3))),
    ),
    "decay, the learning rate squared (PaLM)": before_rate(
        lambda c: jr.decay(jr.L2(jr.convert_strength(c, jr.Meaning.SQUARED_LR, jr.Meaning.SQUARES, peak=RATE))),
        descent(lambda w, u, c: RATE * c * w),
    ),
    "hyperball": Link(
        lambda c: jr.hyperball(jr.FrobeniusSphere(c), RATE),
        steps(lambda w, u, c, t: c * unit(w - RATE * c * unit(u))),
    ),
    "hyperball, spectral (MuonSphere)": Link(
        lambda c: jr.hyperball(jr.SpectralSphere(c), RATE),
        steps(
            lambda w, u, c, t: np.stack(
                [
                    moved * (c * 0.75**0.5 / np.linalg.norm(moved, 2))
                    for moved in (w[i] - RATE * c * 0.75**0.5 * polar(u[i]) for i in range(2))
                ]
            )
        ),
    ),
    "hyperball, spectral and tangent (SSO)": Link(
        lambda c: jr.hyperball(jr.SpectralSphere(c), RATE, tangent=True),
        steps(lambda w, u, c, t: np.stack([spectral_sphere(w[i], u[i], c) for i in range(2)])),
    ),
    "independent_decay": before_rate(
        lambda c: jr.independent_decay(jr.L2(c), PEAK), descent(lambda w, u, c: 2 * c * w / PEAK)
    ),
    "mean_decay": before_rate(lambda c: jr.mean_decay(jr.L2(c / 2), c / 4), mean),
    "p_norm_decay": after_rate(
        lambda c: jr.p_norm_decay(jr.Lp(c, 1.0), RATE),
        steps(lambda w, u, c, t: (w - RATE * u) * np.abs(w) / (np.abs(w) + RATE * c)),
    ),
    "penalize": before_rate(lambda c: jr.penalize(jr.L2(c)), descent(lambda w, u, c: 2 * c * w)),
    "project": after_rate(
        lambda c: jr.project(jr.MaxNorm(c)),
        steps(
            lambda w, u, c, t: (w - RATE * u) * np.minimum(1, c / np.linalg.norm(w - RATE * u, axis=1, keepdims=True))
        ),
    ),
    "proximal": after_rate(
        lambda c: jr.proximal(jr.L1(c), RATE), steps(lambda w, u, c, t: soft(w - RATE * u, RATE * c))
    ),
    "proximal_adam": Link(lambda c: jr.proximal_adam(jr.L1(c), RATE, 0.5, 0.75), proximal_adam),
    "radial_brake": after_rate(lambda c: jr.radial_brake(SPHERE, c / 4), steps(braked)),
    "regularize": Link(
        lambda c: jr.regularize(
            SGD, RATE, penalties=jr.L2(c), decays=jr.L2(0.5), proximals=jr.L1(0.5), constraints=jr.LinfBall(1.0)
        ),
        steps(lambda w, u, c, t: np.clip(soft(w - RATE * (u + (2 * c + 1) * w), RATE / 2), -1, 1)),
    ),
    "relative_update": before_rate(
        lambda c: jr.relative_update(SPHERE),
        steps(lambda w, u, c, t: w - RATE * unit(u) * np.linalg.norm(w, axis=(1, 2), keepdims=True)),
    ),
    "steepest": before_rate(lambda c: jr.steepest(jr.MaxNorm(c)), steps(lambda w, u, c, t: w - RATE * c * unit(u, 1))),
    "tangent": before_rate(
        lambda c: jr.tangent(SPHERE),
        steps(lambda w, u, c, t: w - RATE * (u - inner(unit(w), u) * unit(w))),
    ),
    "tangent, of a Stiefel manifold": Link(
        lambda c: optax.chain(jr.tangent(jr.Orthonormal()), SGD, jr.project(jr.Orthonormal())),
        steps(lambda w, u, c, t: np.stack([polar(w[i] - RATE * along_stiefel(w[i], u[i])) for i in range(2)])),
        start=lambda w: np.stack([polar(layer) for layer in w]),
    ),
    "transported_momentum": Link(
        lambda c: optax.chain(jr.transported_momentum(optax.trace(c / 4), SPHERE, moment="trace"), optax.scale(-RATE)),
        walked_on_spheres,
    ),
}


@each_dtype
@pytest.mark.parametrize("name", LINKS)
def test_two_steps_of_a_transformation_follow_its_formula(name, dtype):
    case = LINKS[name]
    w, moves = (jnp.asarray(array, dtype) for array in (case.start(WEIGHTS), MOVES))

    def law(c: jax.Array) -> jax.Array:
        params, tx = tree(w), case.make(c)
        state = tx.init(params)
        for move in moves:
            updates, state = tx.update({"layers": {"kernel": move, "bias": jnp.zeros((2, 3), dtype)}}, state, params)
            params = optax.apply_updates(params, updates)
        return kernel(params)

    error = case.ulps * max(eps(dtype), 3e-7)
    for c, end in zip(map(float, NUMBERS), jax.jit(jax.vmap(law))(NUMBERS), strict=True):
        expected = case.formula(exact(w), exact(moves), c)
        np.testing.assert_allclose(exact(end), expected, rtol=0, atol=error * np.abs(expected).max())


@each_dtype
def test_clipped_logits_and_warm_starts_follow_their_formulas(dtype):
    w, moves, fresh = (jnp.asarray(array, dtype) for array in (WEIGHTS, MOVES, FRESH))
    paths = {"layers/kernel": "layers/key"}

    def law(c: jax.Array) -> tuple[jax.Array, jax.Array]:
        params = tree(w)
        params["layers"]["key"] = w
        tx = optax.chain(SGD, jr.qk_clip(paths, c, axis=-1))
        state = tx.init(params)
        for move in moves:
            updates, state = tx.update(
                {"layers": {"kernel": move, "key": move, "bias": jnp.zeros((2, 3), dtype)}},
                state,
                params,
                max_logits={"layers/kernel": jnp.asarray(LOGITS)},
            )
            params = optax.apply_updates(params, updates)
        warm = jr.shrink_and_perturb(tree(w), tree(fresh), c / 4, c)
        return params["layers"]["key"], kernel(warm)

    error = 6 * max(eps(dtype), 3e-7)
    for c, *ends in zip(map(float, NUMBERS), *jax.jit(jax.vmap(law))(NUMBERS), strict=True):
        walked = steps(clipped_heads)(exact(w), exact(moves), c)
        for end, expected in zip(ends, (walked, c / 4 * exact(w) + c * exact(fresh)), strict=True):
            np.testing.assert_allclose(exact(end), expected, rtol=0, atol=error * np.abs(expected).max())


ELSEWHERE = {
    "TreeNorm": "the norm of a tree, in a test of its own above",
    "conv_norm": "a function, in the same test",
    "tree_norm": "a function, in the same test",
    "check": "a dry run in float64 that returns sentences: test_check.py",
    "qk_clip": "takes logits, in a test of its own above",
    "shrink_and_perturb": "no transformation, in the same test",
}


@pytest.mark.parametrize(
    ("package", "table"),
    [(penalties, PENALTIES), (constraints, CONSTRAINTS), (transforms, LINKS)],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_the_inventory_holds_every_public_name(package, table):
    held = {name.partition(",")[0] for name in table}
    assert held <= set(package.__all__)
    missing = set(package.__all__) - held - ELSEWHERE.keys()
    assert not missing, f"enter these in the table of {package.__name__}, with their definition: {sorted(missing)}"
