"""Every constraint against every law; what only one family of constraints has to show is in that family's file."""

import contextlib
import dataclasses
import re
from collections.abc import Callable
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import jaxreg as jr
from jaxreg.rules._evaluate import distances

SHAPE = (6, 4)
MANY = 32
DTYPES = ["float64", "float32", "float16", "bfloat16"]


def incoming(w):
    """The incoming weights of each unit as the columns of a matrix: the definition, apart from the library's."""
    return w.reshape(-1, w.shape[-1]) if w.ndim > 1 else w.reshape(-1, 1)


def norms(w):
    return np.linalg.norm(incoming(w), axis=0)


def singular(w):
    return np.linalg.svd(incoming(w), compute_uv=False)


def over(values, limit):
    return max(0.0, float(np.max(values - limit, initial=0.0)))


def off(values, limit):
    return float(np.max(np.abs(values - limit), initial=0.0))


def too_many(w, sparsity):
    rows = len(incoming(w))
    return over((incoming(w) != 0).sum(0), rows - np.rint(sparsity * rows))


def in_pairs(w):
    return incoming(w).T.reshape(-1, 2)


@dataclasses.dataclass(frozen=True)
class Case:
    """A constraint by its limit, how far out of its set weights are, and how many ulps of their dtype they may be."""

    make: Callable
    excess: Callable
    ulps: float = 0.0  # 0: holds exactly, as inequalities must
    convex: bool = True
    exactness: float = 3e-6  # relative, of the nearest point in float32
    run: int = 1  # what the number of weights in a group is a multiple of
    count: int | None = None  # the only number of weights in a group


NORMAL = np.array([1.0, -0.5, 2.0, 0.0, 0.25, -1.5], np.float32)
EQUATIONS = np.stack([NORMAL, np.ones(6, np.float32) / 128, NORMAL + 3]).astype(np.float32)  # of rank 2


def off_plane(w, normals, offset):
    """How far weighted sums are off, relative to the terms in them."""
    terms = np.tensordot(np.abs(normals), np.abs(incoming(w)), 1)
    return float(np.max(np.abs(np.tensordot(normals, incoming(w), 1) - offset) / (terms + np.abs(offset))))


CASES = {
    "MaxNorm": Case(jr.MaxNorm, lambda w, c: over(norms(w), c)),
    "MaxRMS": Case(jr.MaxRMS, lambda w, c: over(norms(w), c * len(incoming(w)) ** 0.5)),
    "MinMaxNorm": Case(
        lambda c: jr.MinMaxNorm(c / 2, c), lambda w, c: max(over(norms(w), c), over(c / 2, norms(w))), convex=False
    ),
    "UnitNorm": Case(lambda c: jr.UnitNorm(), lambda w, c: off(norms(w), 1), ulps=2, convex=False),
    "FrobeniusSphere": Case(
        jr.FrobeniusSphere, lambda w, c: off(np.linalg.norm(w.ravel()), c) / c, ulps=2, convex=False
    ),
    "NonNeg": Case(lambda c: jr.NonNeg(), lambda w, c: over(0, w)),
    "Box": Case(lambda c: jr.Box(-c / 4, c / 2), lambda w, c: max(over(w, c / 2), over(-c / 4, w))),
    "LinfBall": Case(jr.LinfBall, lambda w, c: over(np.abs(w), c)),
    "Simplex": Case(jr.Simplex, lambda w, c: np.inf if np.any(w < 0) else off(incoming(w).sum(0) / c, 1), ulps=2),
    "SumTo": Case(
        jr.SumTo, lambda w, c: float(np.max((abs(incoming(w).sum(0) - c)) / (abs(incoming(w)).sum(0) + c))), ulps=2
    ),
    "HalfSpace": Case(
        lambda c: jr.HalfSpace(NORMAL, c),
        lambda w, c: over((NORMAL @ incoming(w) - c) / (np.abs(NORMAL) @ np.abs(incoming(w)) + c), 0),
        ulps=2,
        count=6,
    ),
    "Affine": Case(
        lambda c: jr.Affine(EQUATIONS, c * np.float32([1, 1 / 64, 7])),
        lambda w, c: off_plane(w, EQUATIONS, c * np.array([[1], [1 / 64], [7]])),
        ulps=6,
        count=6,
    ),
    "L1Ball": Case(jr.L1Ball, lambda w, c: over(abs(incoming(w)).sum(0), c)),
    "L1Sphere": Case(jr.L1Sphere, lambda w, c: off(abs(incoming(w)).sum(0) / c, 1), ulps=2, convex=False),
    "SpectralNorm": Case(jr.SpectralNorm, lambda w, c: over(singular(w), c), exactness=1e-5),
    "SpectralNorm fast": Case(
        lambda c: jr.SpectralNorm(c, fast=True), lambda w, c: over(singular(w), c), exactness=1e-3
    ),
    "NuclearBall": Case(jr.NuclearBall, lambda w, c: over(singular(w).sum(), c), exactness=1e-5),
    "Sparse": Case(lambda c: jr.Sparse(c / 4), lambda w, c: too_many(w, c / 4), convex=False),
    "NMSparse": Case(lambda c: jr.NMSparse(1, 2), lambda w, c: over((in_pairs(w) != 0).sum(1), 1), convex=False, run=2),
    "Orthonormal": Case(lambda c: jr.Orthonormal(), lambda w, c: off(singular(w), 1), ulps=13, convex=False),
    "Orthonormal fast": Case(
        lambda c: jr.Orthonormal(fast=True), lambda w, c: off(singular(w), 1), ulps=13, convex=False, exactness=1e-4
    ),
    "NonNeg and MaxNorm": Case(
        lambda c: jr.Intersection(jr.NonNeg(), jr.MaxNorm(c)), lambda w, c: max(over(0, w), over(norms(w), c))
    ),
    "Box and MaxNorm": Case(
        lambda c: jr.Intersection(jr.Box(-c / 8, c / 2), jr.MaxNorm(c)),
        lambda w, c: max(over(-c / 8, w), over(w, c / 2), over(norms(w), c)),
    ),
    "Box and UnitNorm": Case(
        lambda c: jr.Intersection(jr.UnitNorm(), jr.Box(-0.25, 1.0)),
        lambda w, c: np.inf if over(-0.25, w) or over(w, 1) else off(norms(w), 1),
        ulps=2,
        convex=False,
    ),
    "NonNeg and L1Ball": Case(
        lambda c: jr.Intersection(jr.NonNeg(), jr.L1Ball(c)),
        lambda w, c: max(over(0, w), over(incoming(w).sum(0), c)),
    ),
    "Sparse and MaxNorm": Case(
        lambda c: jr.Intersection(jr.MaxNorm(c), jr.Sparse(c / 4)),
        lambda w, c: max(too_many(w, c / 4), over(norms(w), c)),
        convex=False,
    ),
    "NMSparse, NonNeg and L1Ball": Case(
        lambda c: jr.Intersection(jr.NMSparse(1, 2), jr.NonNeg(), jr.L1Ball(c)),
        lambda w, c: max(over((in_pairs(w) != 0).sum(1), 1), over(0, w), over(abs(incoming(w)).sum(0), c)),
        convex=False,
        run=2,
    ),
    "LinfBall and SumTo": Case(  # Dykstra: the last part holds to its rounding, the first as far as the rounds led
        lambda c: jr.Intersection(jr.SumTo(0.5 * c), jr.LinfBall(c)),
        lambda w, c: max(over(abs(w), c) / c, off(incoming(w).sum(0), 0.5 * c) / c),
        ulps=40,
        exactness=1e-4,
    ),
}
TABLE = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
LIMITS = np.linspace(0.5, 3.0, MANY).astype(np.float32)


def wide(w):
    return np.asarray(w, np.float64)


def same(a, b):
    """Equal bit for bit, the sign of 0 included."""
    return np.asarray(a).tobytes() == np.asarray(b).tobytes()


def weights(shape, seed=0, scale=1.0):
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


@cache
def many(case):
    """One compiled program: each of many arrays projected under its own, traced limit."""
    return jax.jit(jax.vmap(lambda limit, w: case.make(limit)(w)))


@pytest.mark.parametrize(
    ("name", "dtype"),
    # The inventory has each constraint in the narrower dtypes.
    [(name, dtype) for name in CASES for dtype in DTYPES if dtype == "float64" or " and " in name],
)
def test_feasible_and_idempotent_in_its_own_dtype(name, dtype):
    case = CASES[name]
    with jax.enable_x64(True) if dtype == "float64" else contextlib.nullcontext():
        project = jax.jit(jax.vmap(case.make(1.5)))
        w = jnp.asarray(np.concatenate([weights((8, *SHAPE), 1, s) for s in (0.1, 1, 5)]), dtype)
        ends = project(w)
        again = project(ends)
    assert (ends.dtype, ends.shape) == (w.dtype, w.shape)
    assert same(again, ends)
    precision = float(jnp.finfo(dtype).eps)
    precision = max(precision, 1e-15 if dtype == "float64" else 1e-7)
    for end in wide(ends):
        assert case.excess(end, 1.5) <= case.ulps * precision


@TABLE
def test_every_shape(case):
    for shape in [(), (5,), (3, 2, 2, 3), (0, 4), *([(3, 2, 2)] if case.count else [])]:
        size = int(np.prod(shape[:-1] or shape))
        if size % case.run or case.count not in (None, size):
            continue
        w = jnp.asarray(weights(shape, 2, 3.0))
        project = jax.jit(case.make(2.0))
        end = project(w)
        assert (end.shape, end.dtype) == (w.shape, w.dtype)
        if w.size:
            assert case.excess(wide(end), 2.0) <= case.ulps * 1.5e-7
            assert same(project(end), end)


@TABLE
def test_no_feasible_point_is_nearer(case):
    x, others = weights((MANY, *SHAPE), 3, 1.5), weights((MANY, *SHAPE), 4, 1.5)
    project = many(case)
    ends = wide(project(LIMITS, x))
    size = np.linalg.norm(x.reshape(MANY, -1), axis=1)
    for distance in (3.0, 0.3, 0.03):  # points all over the set, and around the one that should be nearest
        rivals = wide(project(LIMITS, (ends + distance * others).astype(np.float32)))
        ours = np.linalg.norm((x - ends).reshape(MANY, -1), axis=1)
        theirs = np.linalg.norm((x - rivals).reshape(MANY, -1), axis=1)
        assert np.all(ours <= theirs + case.exactness * size)
        if case.convex:  # ⟨x - P(x), y - P(x)⟩ ≤ 0
            inner = np.sum((x - ends) * (rivals - ends), axis=(1, 2))
            assert np.all(inner <= 3 * case.exactness * size * (size + np.linalg.norm(rivals, axis=(1, 2))))


@pytest.mark.parametrize("case", [c for c in CASES.values() if c.convex], ids=[n for n in CASES if CASES[n].convex])
def test_convex_sets_are_projected_without_expansion_and_keep_what_is_between(case):
    x, y = weights((MANY, *SHAPE), 5, 1.5), weights((MANY, *SHAPE), 6, 1.5)
    project = many(case)
    px, py = project(LIMITS, x), project(LIMITS, y)
    before, after = (np.linalg.norm(wide(a) - wide(b), axis=(1, 2)) for a, b in [(x, y), (px, py)])
    assert np.all(after <= before * (1 + 3 * case.exactness))
    between = (px + py) / 2
    kept = project(LIMITS, between)
    if case.ulps < 10:  # Dykstra's result is itself but an approximation
        assert same(kept, between)
    np.testing.assert_allclose(kept, between, atol=1e-5)


@TABLE
def test_values_and_gradients_are_finite_at_any_scale(case):
    direction = jnp.asarray(weights(SHAPE, 7))
    points = jnp.stack([s * direction for s in (0.0, 1e-40, 1e-30, 1.0, 1e30)] + [jnp.ones(SHAPE), jnp.eye(*SHAPE)])

    def inner(w):
        end = case.make(1.5)(w)
        return jnp.sum(end * direction), end

    gradients, ends = jax.jit(jax.vmap(jax.grad(inner, has_aux=True)))(points)
    assert np.all(np.isfinite(ends))
    assert np.all(np.isfinite(gradients))


@TABLE
def test_the_slopes_of_narrow_weights_are_those_of_wide_ones_but_for_rounding(case):
    w, outer = jnp.asarray(weights(SHAPE, 16, 2.0), jnp.bfloat16), weights(SHAPE, 17)
    slopes = jax.jit(jax.grad(lambda w, limit: jnp.sum(case.make(limit)(w).astype(jnp.float32) * outer), (0, 1)))
    within = 8 * float(jnp.finfo(jnp.bfloat16).eps)
    for narrow, exact in zip(slopes(w, 1.5), slopes(w.astype(jnp.float32), 1.5), strict=True):
        np.testing.assert_allclose(wide(narrow), exact, rtol=within, atol=within)


@pytest.mark.parametrize("number", [float, np.float64])
@TABLE
def test_float32_stays_float32_where_float64_is_to_be_had(case, number):
    rule = case.make(number(1.5))
    with jax.enable_x64(True):
        w = jnp.asarray(weights(SHAPE, 18), jnp.float32)
        for work in (jax.value_and_grad(lambda w: jnp.sum(rule(w))), getattr(rule, "lmo", rule)):
            program = jax.make_jaxpr(work)(w)
            assert {value.dtype for value in program.out_avals} == {w.dtype}
            assert not re.search(r"f64\[\d", str(program))  # no array, be it of one number a group


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@TABLE
def test_no_dtypes_are_mixed_where_jax_is_told_to_refuse_it(case, dtype):
    rule = case.make(1.5)
    with jax.numpy_dtype_promotion("strict"):
        for work in (rule, getattr(rule, "lmo", rule), jax.grad(lambda w: jnp.sum(rule(w)))):
            assert jax.eval_shape(work, jax.ShapeDtypeStruct(SHAPE, dtype)).dtype == dtype
        jax.eval_shape(jax.grad(lambda limit: jnp.sum(case.make(limit)(jnp.ones(SHAPE, dtype)))), 1.5)


@pytest.mark.parametrize("axes", ["Auto", "Explicit"])
@TABLE
def test_sharded_weights_end_like_whole_ones_and_stay_where_they_are(case, axes):
    mesh = jax.make_mesh((2, 2), ("rows", "columns"), axis_types=(jax.sharding.AxisType[axes],) * 2)
    w = weights(SHAPE, 9, 2.0)
    project = jax.jit(case.make(1.5))
    whole = project(jnp.asarray(w))
    sharded = jax.device_put(w, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("rows", "columns")))
    end = project(sharded)
    assert len(sharded.devices()) == 4
    assert end.sharding.is_equivalent_to(sharded.sharding, 2)
    np.testing.assert_allclose(end, whole, rtol=0, atol=1e-5)


@TABLE
def test_weights_may_be_named(case):
    rule, w = case.make(1.5), jnp.asarray(weights(SHAPE, 18))
    assert same(rule(w=w), rule(w))
    if hasattr(rule, "lmo"):
        assert same(rule.lmo(direction=w), rule.lmo(w))


def test_bounds_for_each_weight_may_lie_elsewhere_than_the_weights():
    mesh = jax.make_mesh((4,), ("devices",), axis_types=(jax.sharding.AxisType.Explicit,))
    w, low = weights((4, 4)), weights((4, 4), 1)
    with jax.set_mesh(mesh):
        sharded = {"kernel": jax.device_put(w, jax.sharding.PartitionSpec("devices"))}
        tx = jr.project(jr.Box(low, jnp.asarray(low) + 0.5))
        updates, _ = jax.jit(tx.update)(jax.tree.map(jnp.zeros_like, sharded), tx.init(sharded), sharded)
    np.testing.assert_allclose(w + updates["kernel"], np.clip(w, low, low + 0.5), atol=1e-6)


def test_an_array_of_limits_is_one_a_group_and_a_list_is_refused():
    w = weights((6, 2))
    with pytest.raises(TypeError, match=r"expected a number above 0\. For several numbers, pass a JAX or NumPy array"):
        jr.MaxRMS([0.5, 9.0])
    ends = jr.MaxRMS(np.array([0.5, 9.0]))(jnp.asarray(w))
    np.testing.assert_allclose(ends, w * [0.5 / np.sqrt(np.mean(w[:, 0] ** 2)), 1], rtol=1e-5)


@TABLE
def test_distances_are_0_in_the_set_and_how_far_it_moves_out_of_it(case):
    w = jnp.asarray(weights(SHAPE, 10, 4.0))
    constraint = case.make(1.0)
    end = constraint(w)
    assert np.max(distances(constraint, end)) == 0
    np.testing.assert_allclose(np.linalg.norm(distances(constraint, w)), np.linalg.norm(wide(w) - wide(end)), rtol=1e-5)


@pytest.mark.parametrize("limit", [1e-37, 1e-20, 1e-3, 3e8, 1e25, 3e38, np.inf])
def test_a_norm_is_limited_exactly_at_any_scale_of_limit_and_weights(limit):
    direction = np.array([[1.0, 0.5, 0.0], [1.0, -1.0, 1.0]], np.float32)
    limit, outer = float(np.float32(limit)), weights((2, 3), 12)
    for size in np.float32([0, 1e-42, 1e-30, 1e-10, 1.0, 1e10, 1e30, 2e38]):
        w = size * direction
        end, pull = jax.vjp(jr.MaxNorm(limit), jnp.asarray(w))
        far = norms(wide(w)) > limit
        wanted = wide(w) * np.where(far, limit / np.where(far, norms(wide(w)), 1), 1)
        near = norms(wide(w)) < 1e30 * limit  # what is farther out may end at 0
        np.testing.assert_allclose(wide(end)[:, near], wanted[:, near], rtol=3e-6, atol=2e-38)
        assert np.all(norms(wide(end)) <= limit)
        assert same(np.asarray(end)[:, ~far], w[:, ~far])
        assert np.all(np.isfinite(pull(outer)[0]))


def test_the_gradient_of_a_norm_s_limit_is_the_slope_of_the_projection():
    w, outer, limits = weights((5, 3), 13, 2.0), weights((5, 3), 14), weights((1, 3), 15) ** 2 + 1.5

    def projected(w, limit):  # the definition, in float64
        return np.sum(wide(w) * np.minimum(1, wide(limit) / norms(wide(w))) * outer)

    found = jax.grad(lambda w, limit: jnp.sum(jr.MaxNorm(limit)(w) * outer), (0, 1))(w, limits)
    for place, (array, got) in enumerate(zip((w, limits), found, strict=True)):
        for at in np.ndindex(array.shape):
            ends = []
            for sign in (1, -1):
                moved = [wide(w), wide(limits)]
                moved[place] = moved[place].copy()
                moved[place][at] += sign * 1e-5
                ends.append(projected(*moved))
            np.testing.assert_allclose(got[at], (ends[0] - ends[1]) / 2e-5, rtol=1e-3, atol=1e-5)


BY_LIMIT = {
    "MaxNorm": jr.MaxNorm,
    "MaxRMS": jr.MaxRMS,
    "MinMaxNorm": lambda limit, axis=None: jr.MinMaxNorm(limit / 2, limit, axis=axis),
    "MaxNorm and NonNeg": lambda limit, axis=None: jr.Intersection(jr.MaxNorm(limit, axis), jr.NonNeg()),
    "MinMaxNorm and Box": lambda limit, axis=None: jr.Intersection(
        jr.MinMaxNorm(limit / 4, limit, axis=axis), jr.Box(-0.9, 2.0)
    ),
}


@pytest.mark.parametrize("name", BY_LIMIT)
@pytest.mark.parametrize(
    ("shape", "axis"), [((3, 3), 1), ((5, 3), 0), ((2, 4, 3), (0, 1)), ((2, 4, 3), 1), ((4, 3), (0, 1))]
)
def test_an_array_of_limits_has_one_for_each_group(name, shape, axis):
    make, w = BY_LIMIT[name], weights(shape, 16, 2.0)
    limits = np.abs(np.mean(w, axis, keepdims=True)) + 0.5
    alone = np.moveaxis(w, axis, range(np.size(axis))).reshape(-1, limits.size)
    one_group = jax.jit(lambda limit, w: make(limit)(w))
    ends = np.stack([one_group(c, one) for c, one in zip(limits.ravel(), alone.T, strict=True)], axis=-1)
    for several in (limits, limits.squeeze(axis), jnp.asarray(limits.squeeze(axis))):
        found = jax.jit(make(several, axis=axis))(w)
        np.testing.assert_allclose(np.moveaxis(found, axis, range(np.size(axis))).reshape(ends.shape), ends, rtol=2e-6)
    oracle = getattr(make(1.0), "lmo", None)
    if oracle is not None:
        one_group = jax.jit(lambda limit, w: make(limit).lmo(w))
        ends = [one_group(c, one) for c, one in zip(limits.ravel(), alone.T, strict=True)]
        found = np.moveaxis(jax.jit(make(several, axis=axis).lmo)(w), axis, range(np.size(axis))).reshape(alone.shape)
        np.testing.assert_allclose(found, np.stack(ends, axis=-1), rtol=2e-6)


# Without its fusion emitters, which the tests leave out, XLA takes numbers below 1.2e-38 for 0 where it compares them.
ANY = arrays(np.float32, (6, 2), elements=st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False))


@pytest.mark.parametrize("name", [name for name in CASES if "fast" not in name and name != "LinfBall and SumTo"])
def test_any_weights_at_all(name):
    case = CASES[name]
    project = jax.jit(case.make(1.5))

    @settings(max_examples=30)
    @given(ANY)
    def holds(w):
        end = project(w)
        assert case.excess(wide(end), 1.5) <= case.ulps * 1.5e-7
        assert same(project(end), end)

    holds()


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: jr.MaxNorm(0.0), ValueError, "limit is 0; expected a number above 0"),
        (lambda: jr.MaxNorm(float("nan")), ValueError, "limit is nan"),
        (lambda: jr.MaxNorm("3"), TypeError, "limit is '3'; expected a number"),
        (lambda: jr.MaxNorm(object()), TypeError, "expected a number"),
        (lambda: jr.MaxNorm(None), TypeError, "limit is None; expected a number above 0"),
        (lambda: jr.L2(None), TypeError, "strength is None; expected a number of at least 0"),
        (lambda: jr.MaxRMS(-1.0), ValueError, "limit is -1"),
        (lambda: jr.MinMaxNorm(2.0, 1.0), ValueError, "expected max to be at least min"),
        (
            lambda: jr.keras.MinMaxNorm(1.5, 0.5),
            ValueError,
            "min is 1.5 and max is 0.5; expected max to be at least min",
        ),
        (lambda: jr.MinMaxNorm(0.0, 1.0, rate=1.5), ValueError, "rate is 1.5"),
        (lambda: jr.Box(1.0, 0.0), ValueError, "low is 1.0 and high is 0.0"),
        (lambda: jr.Box(float("nan"), 0.0), ValueError, "low is nan"),
        (lambda: jr.LinfBall(-1.0), ValueError, "radius is -1"),
        (lambda: jr.Simplex(-1.0), ValueError, "total is -1"),
        (lambda: jr.SumTo(float("inf")), ValueError, "total is inf"),
        (
            lambda: jr.Hyperplane(np.zeros(3), 0.0),
            ValueError,
            "the normal is 0, so .* expected at least one coefficient",
        ),
        (
            lambda: jr.HalfSpace([1.0, 2.0], 0.0),
            TypeError,
            r"normal is the list \[1.0, 2.0\]; .* pass a JAX or NumPy array",
        ),
        (lambda: jr.HalfSpace(np.ones(3), 0.0)(jnp.ones((2, 3))), ValueError, r"shape \(3,\) .* expected shape \(2,\)"),
        (lambda: jr.Affine(np.ones(3), 0.0), ValueError, r"coefficients have shape \(3,\).* use Hyperplane"),
        (lambda: jr.Affine(np.ones((2, 3)), np.array([1.0, 2.0])), ValueError, "no weights satisfy all 2 equations"),
        (lambda: jr.Affine(np.ones((1, 3)), 1.0)(jnp.ones((2, 4))), ValueError, "expected 2 columns"),
        (lambda: jr.Affine(np.eye(3), np.ones(2)), ValueError, r"target has shape \(2,\) for 3 equations"),
        (lambda: jr.L1Ball(-1.0), ValueError, "radius is -1"),
        (lambda: jr.Sparse(1.5), ValueError, "sparsity is 1.5; expected a number of at least 0 and at most 1"),
        (lambda: jr.NMSparse(2.5, 4), TypeError, "n is 2.5; expected a whole number"),
        (lambda: jr.NMSparse(5, 4), ValueError, "n is 5 and m is 4; expected"),
        (lambda: jr.NMSparse(2, 4)(jnp.ones((6, 4))), ValueError, r"has 6 entries; expected a multiple of m = 4"),
        (lambda: jr.FrobeniusSphere(0.0), ValueError, "radius is 0"),
        (lambda: jr.TreeNorm(0.0), ValueError, "radius is 0"),
        (lambda: jr.SpectralNorm(0.0), ValueError, "limit is 0"),
        (lambda: jr.MaxNorm(np.ones(5))(jnp.ones((3, 4))), ValueError, r"a limit has shape \(5,\).* of shape \(4,\)"),
        (lambda: jr.MaxNorm(np.ones(4), axis=1)(jnp.ones((3, 4))), ValueError, r"expected one number, or .* \(3,\)"),
        (lambda: jr.MinMaxNorm(np.ones(3), 2.0)(jnp.ones((3, 4))), ValueError, r"a limit has shape \(3,\)"),
        (lambda: jr.FrobeniusSphere(np.ones(3))(jnp.ones((3, 3))), ValueError, r"an array of shape \(\)"),
        (lambda: jr.MaxNorm(1.0, axis=2)(jnp.ones((2, 2))), ValueError, "`axis` is 2 for an array with 2 axes"),
        (lambda: jr.Simplex(1.0, axis=(0, 0))(jnp.ones((2, 2))), ValueError, "distinct integers"),
        (lambda: jr.SpectralNorm(1.0, axis=-3)(jnp.ones((2, 2))), ValueError, "`axis` is -3"),
        (lambda: jr.SpectralNorm(1.0, True)(jnp.ones((2, 2))), TypeError, "`axis` is True; expected a whole number"),
        (lambda: jr.MaxNorm(1.0, axis="in")(jnp.ones((2, 2))), TypeError, "`axis` is 'in'; expected a whole number"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize(
    ("rule", "shape"),
    [
        (jr.SpectralNorm(jnp.array([1.0, 2.0, 3.0])), (4, 3)),
        (jr.NuclearBall(jnp.array([1.0, 2.0, 3.0])), (4, 3)),
        (jr.FrobeniusSphere(jnp.array([1.0, 2.0, 3.0])), (4, 3)),
        (jr.TreeNorm(jnp.array([1.0, 2.0, 3.0])), (4, 3)),
        (jr.Simplex(jnp.arange(1.0, 6.0)), (4, 3)),
        (jr.L1Ball(jnp.arange(1.0, 6.0)), (4, 3)),
        (jr.MaxNorm(jnp.arange(1.0, 6.0)), (4, 3)),
    ],
    ids=lambda given: type(given).__name__,
)
def test_limits_that_are_neither_one_number_nor_one_a_group_are_refused(rule, shape):
    with pytest.raises(ValueError, match=r"a limit has shape \(\d,\) for weights of shape .* expected one number"):
        rule(jnp.ones(shape))


@pytest.mark.parametrize("rule", [jr.Simplex, jr.SumTo, jr.L1Ball])
def test_totals_are_one_a_group_in_every_layout(rule):
    totals = jnp.array([1.0, 2.0, 3.0])
    w = 10 * jnp.ones((3, 4))
    np.testing.assert_allclose(jnp.sum(rule(totals, axis=1)(w), axis=1), totals, rtol=1e-5)
    np.testing.assert_allclose(rule(totals, axis=1)(w), rule(totals, axis=0)(w.T).T, rtol=1e-6)
