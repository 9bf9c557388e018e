"""Several constraints at once, against SciPy, brute force and the points that are known."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from scipy.optimize import brentq, minimize

import jaxreg as jr
from jaxreg._protocols import Constraint
from jaxreg.rules._evaluate import distances

RNG = np.random.default_rng(0)


def solved(x, bounds, constraints, start):
    """The nearest point by SciPy's sequential quadratic programming."""
    return minimize(
        lambda z: np.sum((z - x) ** 2),
        start,
        jac=lambda z: 2 * (z - x),
        bounds=bounds,
        constraints=constraints,
        method="SLSQP",
        options={"maxiter": 300, "ftol": 1e-14},
    ).x


def test_the_readers_case_norm_1_and_every_weight_in_0_to_0_05():
    both = jax.jit(jr.Intersection(jr.UnitNorm(), jr.Box(0.0, 0.05)))
    kernel = jnp.asarray(RNG.normal(size=(500, 3)), jnp.float32)
    for dtype in (jnp.float32, jnp.float16, jnp.bfloat16):
        end = both(kernel.astype(dtype))
        exact = np.asarray(end, np.float64)
        assert exact.min() >= 0
        assert exact.max() <= np.float32(0.05)
        np.testing.assert_allclose(np.linalg.norm(exact, axis=0), 1, atol=float(jnp.finfo(dtype).eps))
        np.testing.assert_array_equal(both(end), end)


def test_the_readers_case_takes_400_weights():
    both = jax.jit(jr.Intersection(jr.UnitNorm(), jr.Box(0.0, 0.05)))
    with pytest.raises(
        ValueError,
        match=r"at least 1, .* 399 weights within .* at most 0\.998749\. .* an axis with at least 400 weights",
    ):
        both(jnp.ones((399, 2)))
    np.testing.assert_allclose(both(-jnp.ones((400, 2))), 0.05, rtol=1e-4)


@pytest.mark.parametrize("box", [(0.0, 0.5), (-0.3, 0.6), (-0.5, 0.5)])
def test_no_corner_and_no_point_of_a_fine_grid_on_box_and_sphere_is_nearer(box):
    both = jax.jit(lambda w: jr.Intersection(jr.UnitNorm(), jr.Box(*box))(w))
    steps = np.linspace(*box, 31)
    grid = np.stack(np.meshgrid(*[steps] * 4, indexing="ij"), -1).reshape(-1, 4)
    # Three more weights of the five, and the fifth from the norm.
    rest = 1 - np.sum(grid**2, axis=1)
    for sign in (1, -1):
        last = sign * np.sqrt(np.maximum(rest, 0))
        points = np.c_[grid, last][(rest >= 0) & (last >= box[0] - 1e-12) & (last <= box[1] + 1e-12)]
        for seed in range(6):
            x = np.random.default_rng(seed).normal(size=5).astype(np.float32)
            end = np.asarray(both(x), np.float64)
            if len(points):
                nearest = np.min(np.linalg.norm(points - x, axis=1))
                assert np.linalg.norm(end - x) <= nearest + 1e-5


def test_negative_weights_all_over_leave_the_largest_one_of_norm_1():
    both = jax.jit(jr.Intersection(jr.NonNeg(), jr.UnitNorm()))
    np.testing.assert_allclose(both(jnp.array([-3.0, -0.5, -2.0])), [0, 1, 0])
    np.testing.assert_allclose(both(jnp.zeros(4)), [0.5] * 4)


@pytest.mark.parametrize("seed", range(3))
def test_dykstra_finds_what_scipy_finds(seed):
    x = np.random.default_rng(seed).normal(size=5).astype(np.float32)
    end = jax.jit(jr.Intersection(jr.SumTo(1.0), jr.Box(-0.1, 0.5)))(x)
    total = {"type": "eq", "fun": lambda z: z.sum() - 1}
    np.testing.assert_allclose(end, solved(x, [(-0.1, 0.5)] * 5, [total], np.full(5, 0.2)), atol=2e-4)
    end = jax.jit(jr.Intersection(jr.L1Ball(1.0), jr.MaxNorm(0.7)))(x)
    # The L1 ball by x = p - q with p, q ≥ 0.
    found = minimize(
        lambda z: np.sum((z[:5] - z[5:] - x) ** 2),
        np.full(10, 0.05),
        bounds=[(0, None)] * 10,
        constraints=[
            {"type": "ineq", "fun": lambda z: 1 - z.sum()},
            {"type": "ineq", "fun": lambda z: 0.49 - np.sum((z[:5] - z[5:]) ** 2)},
        ],
        method="SLSQP",
        options={"maxiter": 300, "ftol": 1e-14},
    ).x
    np.testing.assert_allclose(end, found[:5] - found[5:], atol=2e-4)


@pytest.mark.parametrize(
    ("total", "low", "high", "scale"),
    [
        (1.0, 0.0, 3 / 500, 1.0),
        (1.0, 0.0, 1 / 500, 1.0),
        (-2.0, -0.5, 0.1, 3.0),
        (5.0, -np.inf, 0.02, 1.0),
        (0.0, -1, 1, 50.0),
    ],
)
def test_a_sum_within_bounds_is_reached_by_one_shift_of_all_weights(total, low, high, scale):
    w = scale * np.random.default_rng(4).normal(size=(500, 3))
    both = jax.jit(lambda w: jr.Intersection(jr.SumTo(total), jr.Box(low, high))(w))

    def shifted(x):
        shift = brentq(lambda t: np.clip(x - t, low, high).sum() - total, -1e4, 1e4, xtol=1e-14, maxiter=200)
        return np.clip(x - shift, low, high)

    exact = np.apply_along_axis(shifted, 0, w)
    end = both(w.astype(np.float32))
    assert np.linalg.norm(end - exact) <= 3e-6 * np.linalg.norm(exact)
    assert np.max(end) <= np.float32(high)
    np.testing.assert_array_equal(both(end), end)
    with jax.enable_x64(True):
        np.testing.assert_allclose(both(w), exact, atol=1e-12)


def test_a_corner_of_the_box_that_has_the_sum_stays_while_weights_move():
    slope = jax.jit(jax.jacobian(jr.Intersection(jr.SumTo(1.0), jr.Box(0.0, 1.0))))
    for w in ([5.0, -1.0, -1.0], [-2.0, 0.1, 3.0]):
        np.testing.assert_array_equal(slope(jnp.array(w)), np.zeros((3, 3)))


def test_a_simplex_within_bounds_of_each_weight_is_what_scipy_finds():
    rng = np.random.default_rng(5)
    x, high = rng.normal(size=12), rng.uniform(0.05, 0.4, 12)
    rules = [{"type": "eq", "fun": lambda z: z.sum() - 1, "jac": lambda z: np.ones(12)}]
    with jax.enable_x64(True):
        end = jax.jit(jr.Intersection(jr.Simplex(1.0), jr.Box(0.0, high)))(x)
    np.testing.assert_allclose(
        end, solved(x, [*zip(np.zeros(12), high, strict=True)], rules, high / high.sum()), atol=1e-6
    )


@pytest.mark.parametrize(
    ("total", "low", "high"), [(0.0, 1.0, 1.0), (1.5, 1.0, 1.0), (-1.0, 0.0, 0.6), (0.0, 3.0, 9.0)]
)
def test_a_sum_with_limits_on_the_norm_is_reached_along_the_difference_from_the_mean(total, low, high):
    x = np.random.default_rng(6).normal(size=7)
    rules = [
        {"type": "eq", "fun": lambda z: z.sum() - total},
        {"type": "ineq", "fun": lambda z: high**2 - z @ z},
        {"type": "ineq", "fun": lambda z: z @ z - low**2},
    ]
    both = jax.jit(jr.Intersection(jr.SumTo(total), jr.MinMaxNorm(low, high)))
    with jax.enable_x64(True):
        end = np.asarray(both(x))
    np.testing.assert_allclose(end, solved(x, None, rules, end + 0.01 * x), atol=2e-5)
    narrow = both(x.astype(np.float32))
    np.testing.assert_allclose(narrow, end, atol=1e-6)
    np.testing.assert_array_equal(both(narrow), narrow)


@pytest.mark.parametrize(
    ("high", "dtype"), [(np.inf, jnp.float32), (0.5, jnp.float32), (0.5, jnp.bfloat16), (0.5, jnp.float16)]
)
def test_a_box_section_is_where_scipy_finds_it_in_every_dtype_and_for_many_offsets_at_once(high, dtype):
    normal = np.array([1.0, -0.5, 2.0, 0.0, 0.25, -1.5, 3.0], np.float32)
    x, offsets = np.random.default_rng(9).normal(size=(7, 2)).astype(np.float32), np.float32([-0.9, 0.1, 1.2])

    def section(offset, w):
        return jr.Intersection(jr.Hyperplane(normal, offset), jr.Box(-0.25, high))(w)

    precision, narrow = float(jnp.finfo(dtype).eps), jnp.asarray(x, dtype)
    ends = jax.jit(jax.vmap(section, (0, None)))(offsets, narrow)
    assert ends.dtype == dtype
    for end, offset in zip(np.asarray(ends, float), offsets, strict=True):
        assert end.min() >= -0.25
        assert end.max() <= high
        np.testing.assert_allclose(normal @ end, offset, atol=4 * precision)
        rules = [{"type": "eq", "fun": lambda z, offset=offset: normal @ z - offset}]
        for before, after in zip(np.asarray(narrow, float).T, end.T, strict=True):
            expected = solved(before, [(-0.25, high)] * 7, rules, np.zeros(7))
            np.testing.assert_allclose(after, expected, atol=1e-5 + 2 * precision)
    with pytest.raises(ValueError, match=r"offset of Hyperplane, is 9; expected a number between -2\.5625 and 3\.625"):
        jr.Intersection(jr.Hyperplane(normal, 9.0), jr.Box(-0.25, 0.5))(x)


def test_a_polyhedron_is_where_scipy_finds_it():
    x = np.random.default_rng(10).normal(size=5).astype(np.float32)
    sides, lengths = np.random.default_rng(11).normal(size=(3, 5)).astype(np.float32), np.float32([-0.5, 0.2, 0.3])
    flat = np.stack([np.ones(5), np.arange(5.0)]).astype(np.float32)
    parts = [jr.HalfSpace(side, length) for side, length in zip(sides, lengths, strict=True)]
    end = np.asarray(jax.jit(jr.Intersection(*parts, jr.Affine(flat, np.float32([1.0, 0.5]))))(x))
    rules = [
        {"type": "ineq", "fun": lambda z: lengths - sides @ z},
        {"type": "eq", "fun": lambda z: flat @ z - np.array([1.0, 0.5])},
    ]
    np.testing.assert_allclose(end, solved(x, None, rules, np.zeros(5)), atol=1e-5)
    np.testing.assert_allclose(flat @ end, [1.0, 0.5], atol=1e-6)


def test_equal_weights_get_zero_mean_and_unit_norm_and_a_norm_that_the_sum_leaves_no_room_for_is_refused():
    both = jax.jit(jr.Intersection(jr.UnitNorm(), jr.SumTo(0.0)))
    end = np.asarray(both(np.ones((4, 2), np.float32)))
    np.testing.assert_allclose([end.sum(0), np.linalg.norm(end, axis=0)], [[0, 0], [1, 1]], atol=1e-6)
    with pytest.raises(
        ValueError,
        match=r"a group is limited to 1; expected a limit of at least 1\.5, .* 4 weights must have magnitude 3",
    ):
        jr.Intersection(jr.SumTo(3.0), jr.MaxNorm(1.0))(np.ones(4, np.float32))


def test_a_sum_is_compared_with_the_limit_of_its_own_group():
    sums, limits = np.float32([[10, 0]]), np.float32([[100, 1]])
    end = jr.Intersection(jr.SumTo(sums), jr.MaxNorm(limits))(jnp.ones((4, 2)))
    np.testing.assert_allclose(end, [[2.5, 0]] * 4, atol=1e-6)  # the nearest point of each column by Pythagoras
    with pytest.raises(ValueError, match=r"limited to 1; expected a limit of at least 1\.5, .* have magnitude 3"):
        jr.Intersection(jr.SumTo(np.float32([[10, 3]])), jr.MaxNorm(limits))(jnp.ones((4, 2)))


def test_closed_forms_of_a_cone_with_a_ball_and_of_bounds_with_bounds():
    x = jnp.asarray(RNG.normal(size=6), jnp.float32)
    np.testing.assert_array_equal(jr.Intersection(jr.Box(-0.5, 1.0), jr.NonNeg())(x), np.clip(x, 0, 1))
    end = jr.Intersection(jr.NonNeg(), jr.SumTo(2.0))(x)
    total = {"type": "eq", "fun": lambda z: z.sum() - 2}
    np.testing.assert_allclose(end, solved(np.asarray(x), [(0, None)] * 6, [total], np.full(6, 1 / 3)), atol=1e-5)


@pytest.mark.parametrize("number", [float, np.float32, jnp.float32, np.float64])
def test_bounds_that_meet_in_float32_meet(number):
    both = jr.Intersection(jr.Box(0.7, 1.0), jr.Box(0.0, number(0.7)))
    np.testing.assert_array_equal(both(jnp.array([-1.0, 0.7, 2.0])), np.float32(0.7))


def test_rules_fill_in_the_axis_that_the_parts_leave_open():
    params = {"dense": {"kernel": jnp.asarray(RNG.normal(size=(4, 3)), jnp.float32)}}
    both = jr.Intersection(jr.MaxNorm(1.0, axis=1), jr.NonNeg())
    rows = jax.jit(lambda params: jr.projected(params, {jr.KERNELS: both}))(params)["dense"]["kernel"]
    assert np.linalg.norm(rows, axis=1).max() <= 1
    rules = {jr.KERNELS: jr.Intersection(jr.UnitNorm(), jr.NonNeg())}
    open_axis = jax.jit(lambda params: jr.projected(params, rules))(params)["dense"]["kernel"]
    np.testing.assert_allclose(np.linalg.norm(open_axis, axis=0), 1, atol=1e-6)


@pytest.mark.parametrize("rate", [1, 1.0, np.float32(1), np.ones(()), "traced"])
def test_limits_of_a_norm_may_be_traced_and_come_in_any_type_of_number(rate):
    x = jnp.asarray(RNG.normal(size=(5, 3)), jnp.float32)
    both = jr.Intersection(jr.MinMaxNorm(0.5, 1.0), jr.NonNeg())

    def end(rate):
        return jr.Intersection(jr.MinMaxNorm(0.5, 1.0, rate=rate), jr.NonNeg())(x)

    found = jax.jit(end)(1.0) if isinstance(rate, str) else jax.jit(lambda: end(rate))()
    wanted = jax.jit(both)(x)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(lambda both: both(x))(both), wanted, rtol=1e-6)


@pytest.mark.parametrize(("one", "other"), [(-2, 0), ((0,), 0), ((0, 2), (-1, 0)), (None, (0, 1))])
def test_one_set_of_axes_may_be_written_in_several_ways(one, other):
    x = jnp.asarray(RNG.normal(size=(5, 3) if one == -2 else (5, 3, 2)), jnp.float32)
    end = jax.jit(jr.Intersection(jr.UnitNorm(axis=one), jr.MinMaxNorm(0.5, 1.0, axis=other), jr.NonNeg()))(x)
    np.testing.assert_allclose(end, jax.jit(jr.Intersection(jr.UnitNorm(axis=other), jr.NonNeg()))(x), atol=1e-6)


@pytest.mark.parametrize("bound", [(0.3, 0.1, 1.0), (2.1, 0.0, 0.7)])  # 3 · 0.1 is above 0.3, and 3 · 0.7 under 2.1
def test_a_total_that_the_bounds_reach_to_rounding_is_reached(bound):
    total, low, high = bound
    end = jax.jit(jr.Intersection(jr.SumTo(total), jr.Box(low, high)))(jnp.ones(3))
    np.testing.assert_allclose(end, total / 3, rtol=1e-5)


def test_an_intersection_in_another_counts_as_its_parts():
    x, inner = jnp.asarray(RNG.normal(size=(6, 3)), jnp.float32), jr.Intersection(jr.UnitNorm(), jr.NonNeg())
    end = jax.jit(jr.Intersection(jr.Intersection(jr.MaxNorm(1.0), jr.Sparse(0.5), axis=1), jr.NonNeg()))(x)
    wanted = jax.jit(jr.Intersection(jr.MaxNorm(1.0, axis=1), jr.Sparse(0.5, axis=1), jr.NonNeg()))(x)
    np.testing.assert_array_equal(end, wanted)
    with pytest.raises(TypeError, match="UnitNorm is not convex"):
        jr.Intersection(inner, jr.L1Ball(1.0))


@pytest.mark.parametrize("part", [jr.SumTo(1.0), jr.L1Ball(1.0), jr.MaxNorm(1.0)], ids=str)
def test_a_set_alone_is_its_own_intersection(part):
    x = jnp.asarray(RNG.normal(size=(5, 3)), jnp.float32)
    np.testing.assert_allclose(jr.Intersection(part)(x), part(x), atol=1e-6)


# name: (sets, weights, how far each unit is from the set that it is farthest from): 200 rounds have not led, or cannot
# lead, to a common point. A radius to be filled in is no number that can be looked at.
FAR = {
    "no common point": ((jr.Simplex(1.0), jr.LinfBall), np.full((8, 2), 0.01), [0.92 / 8**0.5] * 2),
    "the last part holds": ((jr.LinfBall, jr.SumTo(1.0)), np.full((8, 1), 0.125), [0.115 * 8**0.5]),
    "groups of other axes": ((jr.SumTo(2.0, axis=0), jr.SumTo(0.0, axis=1), jr.LinfBall), [[0.01]], [1.99]),
    "an intersection in it": (
        (lambda radius: jr.Intersection(jr.SumTo(1.0), jr.SumTo(radius - 0.01)), jr.NonNeg()),
        [[0.0]],
        [1.0],
    ),
    "half-spaces apart": (
        (jr.HalfSpace(np.ones(2), -1.0), jr.HalfSpace(-np.ones(2), -1.0)),
        np.zeros((2, 1)),
        [0.5**0.5],
    ),
    "inside": ((jr.SumTo(1.0), jr.Box(-0.5, 1.0), jr.MaxNorm(1.0)), [[0.25], [0.75]], [0.0]),
}


@pytest.mark.parametrize("name", FAR)
def test_sets_that_are_missed_are_not_held(name):
    parts, w, expected = FAR[name]

    def far(radius):
        sets = [part if isinstance(part, Constraint) else part(radius) for part in parts]
        params, rules = {"kernel": jnp.asarray(w, jnp.float32)}, {"kernel": jr.Intersection(*sets)}
        found = distances(rules["kernel"], params["kernel"]).ravel()
        return found, jr.violation(params, rules), jr.feasible(params, rules, tolerance=1e-6)

    found, worst, holds = jax.jit(far)(0.01)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(worst, max(expected), rtol=1e-5, atol=1e-6)
    assert holds == (max(expected) == 0)


ONES = np.ones(3, np.float32)
PLANE = jr.Hyperplane(jnp.ones(3), 1.0, axis=0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: jr.Intersection(jr.Simplex(1.0), jr.SumTo(2.0)),
        lambda: jr.Intersection(jr.SumTo(1.0), jr.SumTo(2.0), axis=0),
        lambda: jr.Intersection(jr.NonNeg(), jr.Hyperplane(ONES, 1.0), jr.Hyperplane(-2 * ONES, 1.0)),
        lambda: jr.Intersection(jr.Hyperplane(ONES, 1.0), jr.SumTo(np.array([1.0, 1.0, 1.5]))),
        lambda: jr.Intersection(
            jr.Hyperplane(np.float32([1, 2, 3]), 0.0), jr.Hyperplane(np.float32([3, 2, 1]), 0.0), jr.SumTo(1.0)
        ),
        lambda: jr.Intersection(jr.Affine(np.float32([[1, 0, 0], [0, 1, 1]]), np.float32([1, 1])), jr.SumTo(3.0)),
        lambda: jr.Intersection(jr.SumTo(1.0, axis=0), jr.SumTo(2.0, axis=-2))(jnp.ones((3, 2))),
        lambda: jax.jit(jr.Intersection(PLANE, jr.SumTo(2.0, axis=-2)))(jnp.ones((3, 2))),
        lambda: jr.Intersection(jr.SumTo(1.0, axis=0), jr.SumTo(2.0, axis=-2))(jnp.ones((3, 2), jnp.complex64)),
    ],
)
def test_sums_that_no_weights_have_are_refused(make):
    with pytest.raises(ValueError, match=r"\w+( and \w+)+ require contradictory sums"):
        make()


def test_a_sum_out_of_reach_of_complex_weights_is_refused():
    """Two complex numbers of magnitude 1 have a sum of magnitude 2 at most."""
    with pytest.raises(ValueError, match=r"the required sum of a group is 3\.0; expected a sum between -2 and 2"):
        jr.Intersection(jr.SumTo(3.0, axis=0), jr.LinfBall(1.0))(jnp.ones((2, 4), jnp.complex64))


def test_sums_that_say_the_same_or_belong_to_other_groups_meet():
    x = jnp.asarray(RNG.normal(size=(3, 2)), jnp.float32)
    both = jr.Affine(np.stack([ONES, np.float32([1, 0, -1])]), np.float32([1, 0]))
    same = jr.Intersection(jr.Hyperplane(ONES / 2, 0.5), jr.SumTo(1.0), both)
    np.testing.assert_allclose(jnp.sum(same(x), axis=0), 1, rtol=1e-5)
    crossed = jr.Intersection(jr.SumTo(1.0, axis=0), jr.SumTo(2 / 3, axis=1))(x)
    np.testing.assert_allclose(jnp.sum(crossed, axis=0), 1, rtol=1e-5)


def shares_on(support, w, total):
    """The nearest shares of `total` with no other weights than those of `support`: max(w - θ, 0) there."""
    ordered = np.sort(w[support])[::-1]
    level = np.max((np.cumsum(ordered) - total) / np.arange(1, len(support) + 1))
    point = np.zeros_like(w)
    point[support] = np.maximum(w[support] - level, 0)
    return point


@pytest.mark.parametrize(
    ("sparse", "allowed"),
    [
        (jr.Sparse(0.5), lambda support: len(support) == 3),
        (jr.NMSparse(1, 2), lambda support: {i // 2 for i in support} == {0, 1, 2} and len(support) == 3),
    ],
    ids=["Sparse", "NMSparse"],
)
def test_sparse_shares_are_the_nearest_of_all_supports(sparse, allowed):
    w = np.concatenate([RNG.normal(size=(6, 20)), np.tile([3.0, -2.0, -9.0, 0.5, -1.0, -1.5], (2, 1)).T], axis=1)
    both = jax.jit(jr.Intersection(sparse, jr.Simplex(2.0)))
    got = np.asarray(both(w.astype(np.float32)))
    supports = [list(s) for s in itertools.combinations(range(6), 3) if allowed(s)]
    for column, point in zip(w.T, got.T, strict=True):
        points = [shares_on(support, column, 2.0) for support in supports]
        nearest = min(np.linalg.norm(each - column) for each in points)
        assert min(np.abs(each - point).max() for each in points) < 1e-5
        np.testing.assert_allclose(np.linalg.norm(point - column), nearest, rtol=1e-6)
    np.testing.assert_array_equal(both(got), got)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(
    "parts", [(jr.UnitNorm(), jr.Box(0.0, 0.1)), (jr.NonNeg(), jr.SumTo(2.0)), (jr.MaxNorm(0.3), jr.NonNeg())], ids=str
)
def test_closed_forms_end_in_every_set(parts, dtype):
    params, rules = {"kernel": jnp.asarray(RNG.normal(size=(500, 20)), dtype)}, {"kernel": jr.Intersection(*parts)}
    end = jax.jit(lambda params: jr.projected(params, rules))(params)
    holds = jax.jit(lambda params: jr.feasible(params, rules))
    assert not holds(params)
    assert holds(end)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: jr.Intersection(), ValueError, "there are no parts"),
        (lambda: jr.Intersection(3.0), TypeError, "a part is 3.0"),
        (
            lambda: jr.Intersection(jr.UnitNorm, jr.NonNeg()),
            TypeError,
            r"a part is the class UnitNorm; expected an instance. Write UnitNorm\(\.\.\.\)",
        ),
        (lambda: jr.Intersection(jr.TreeNorm(1.0)), TypeError, "a constraint on a single array"),
        (lambda: jr.Intersection(jr.UnitNorm(), jr.Simplex(1.0)), TypeError, "UnitNorm is not convex"),
        (
            lambda: jr.Intersection(jr.UnitNorm(axis=0), jr.MaxNorm(1.0, axis=1))(jnp.ones((2, 2))),
            TypeError,
            r"UnitNorm is not convex\. It allows only these other parts: limits on the norms of the same groups",
        ),
        (
            lambda: jr.Intersection(jr.MinMaxNorm(0.5, 1.0, rate=np.float32(0.5)), jr.NonNeg()),
            ValueError,
            r"MinMaxNorm has rate 0\.5; expected rate 1",
        ),
        (
            lambda: jax.jit(lambda w: jr.Intersection(jr.Simplex(1.0), jr.LinfBall(0.01))(w))(jnp.ones((8, 1))),
            ValueError,
            "the required sum of a group is 1.0; .* between 0 and 0.08, because .* 8 weights between 0 and 0.01",
        ),
        (
            lambda: jr.Intersection(jr.SumTo(jnp.array([1.0, -3.0])), jr.Box(-1, 2))(jnp.ones((2, 2))),
            ValueError,
            "expected a sum between -2 and 4",
        ),
        (
            lambda: jr.Intersection(jr.Box(0, 1), jr.Box(2, 3))(jnp.ones(2)),
            ValueError,
            "at least 2, but another part requires weights of at most 1",
        ),
        (
            lambda: jr.Intersection(jr.Box(jnp.array([0.1, 0.5]), 1), jr.LinfBall(np.float32(0.25)))(jnp.ones((3, 2))),
            ValueError,
            "requires weights of at least 0.5, but another part requires weights of at most 0.25",
        ),
        (
            lambda: jr.Intersection(jr.MaxNorm(np.array([2.0, 0.5])), jr.MinMaxNorm(1.0, 3.0))(jnp.ones((3, 2))),
            ValueError,
            "requires norms of at least 1, but another part requires norms of at most 0.5",
        ),
        (
            lambda: jr.Intersection(jr.MaxNorm(1.0), jr.Box(1, 2))(jnp.ones(4)),
            ValueError,
            "a group is limited to 1; expected a limit of at least 2, because 4 weights within the bounds",
        ),
        (
            lambda: jr.Intersection(jr.MaxNorm(np.array([9.0, 5.0])), jr.Box(np.array([[1, 3]]), 9))(jnp.ones((4, 2))),
            ValueError,
            "a group is limited to 5; expected a limit of at least 6",
        ),
        (
            lambda: jr.Intersection(jr.MinMaxNorm(np.array([9.0, 5.0]), 20), jr.Box(0, np.array([[5, 2]])))(
                jnp.ones((4, 2))
            ),
            ValueError,
            "a group must be at least 5, but 4 weights within the bounds have a norm of at most 4",
        ),
    ],
)
def test_bad_input_is_refused_in_a_sentence(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize(
    "rule",
    [
        jr.Intersection(jr.SumTo(0.5), jr.UnitNorm()),
        jr.Intersection(jr.UnitNorm(), jr.Box(-2.0, 0.7)),
        jr.Intersection(jr.MinMaxNorm(1.0, 1.0), jr.NonNeg()),
    ],
    ids=["sum and norm", "norm and box", "norm and signs"],
)
def test_derivatives_on_and_off_a_set_are_those_of_finite_differences(rule):
    with jax.enable_x64(True):
        rng = np.random.default_rng(11)
        moved = jax.jit(lambda rule, w, turned, by: jax.jvp(lambda rule, w: rule(w), (rule, w), (turned, by)))
        still, one = jax.tree.map(np.zeros_like, rule), jax.tree.map(np.ones_like, rule)
        off = rng.normal(size=(6, 4)) + 0.3
        on = np.asarray(moved(rule, off, still, off)[0])
        np.testing.assert_array_equal(moved(rule, on, still, on)[0], on)
        assert not np.array_equal(on, off)
        for w in (off, on):
            # On a bound there is no derivative, so what lies on one stays; one other than 0 holds the whole unit.
            by = np.where((w == 0) | np.any(w == 0.7, axis=0), 0.0, rng.normal(size=w.shape))
            ahead, behind = (np.asarray(moved(rule, w + step * by, still, by)[0]) for step in (1e-6, -1e-6))
            np.testing.assert_allclose(moved(rule, w, still, by)[1], (ahead - behind) / 2e-6, atol=1e-7)
        more, less = (jax.tree.map(lambda leaf, s=s: leaf + s, rule) for s in (1e-6, -1e-6))
        ahead, behind = (np.asarray(moved(r, off, still, off)[0]) for r in (more, less))
        np.testing.assert_allclose(moved(rule, off, one, 0 * off)[1], (ahead - behind) / 2e-6, atol=1e-7)


def plan(w, rows, columns):
    """The nearest non-negative matrix with the given sums, by SciPy's non-negative least squares."""
    m, n = w.shape
    sums = np.concatenate([np.kron(np.eye(m), np.ones(n)), np.kron(np.ones(m), np.eye(n))])
    system = np.concatenate([np.eye(m * n), 3e3 * sums])
    return scipy.optimize.nnls(system, np.concatenate([w.ravel(), 3e3 * rows, 3e3 * columns]))[0].reshape(w.shape)


def test_transport_plans_are_nearest_within_the_rounds_and_so_are_their_derivatives():
    # One of these draws was 9e-4 away after 200 rounds without momentum.
    rng = np.random.default_rng(0)
    rows, columns = (rng.dirichlet(np.ones(n)).astype(np.float32) for n in (5, 8))
    draws = rng.uniform(size=(8, 5, 8)).astype(np.float32)
    moves = rng.normal(size=draws.shape).astype(np.float32)

    def law(w, move, columns):
        rule = jr.Intersection(jr.Simplex(rows, axis=1), jr.Simplex(columns, axis=0))
        found, along = jax.jvp(rule, (w,), (move,))
        return found, along, jax.grad(lambda w: jnp.sum(move * rule(w)))(w)

    found, along, slope = jax.jit(jax.vmap(law, (0, 0, None)))(draws, moves, columns)
    h = 1e-4
    for w, move, ended, turned, back in zip(draws.astype(float), moves.astype(float), found, along, slope, strict=True):
        np.testing.assert_allclose(ended, plan(w, rows, columns), atol=1e-6)
        rise = (plan(w + h * move, rows, columns) - plan(w - h * move, rows, columns)) / (2 * h)
        np.testing.assert_allclose(turned, rise, atol=2e-3)
        np.testing.assert_allclose(np.sum(back * move), np.sum(rise * move), atol=2e-2)


def test_axes_as_a_list_and_narrow_equations_that_agree_are_taken():
    w = jnp.array([[3.0, 0.1], [-0.5, 0.2], [0.2, 0.4]])
    boxed = jr.Intersection(jr.SumTo(1.0, axis=[0]), jr.Box(-1.0, 1.0))(w)
    np.testing.assert_allclose(boxed.sum(0), 1, atol=1e-6)
    third = jnp.full(3, 1 / 3, jnp.bfloat16)  # its coefficients are 0.2 % from a third
    agreed = jr.Intersection(jr.Hyperplane(third, 1 / 3), jr.SumTo(1.0))(w)
    np.testing.assert_allclose(agreed.sum(0), 1, atol=1e-2)


@pytest.mark.parametrize("rule", [jr.keras.UnitNorm(), jr.keras.MinMaxNorm(0.5, 1.0)])
def test_rules_of_keras_that_are_not_convex_are_refused(rule):
    with pytest.raises(TypeError, match=r"is not convex\. Of the constraints .* only jaxreg\.UnitNorm"):
        jr.Intersection(rule, jr.Box(0.0, 0.5))


def test_an_intersection_with_the_max_norm_of_keras_is_judged_exactly():
    both = jr.Intersection(jr.keras.MaxNorm(1.0, axis=0), jr.MaxNorm(1.0, axis=1))
    params = {"kernel": np.array([[3.0, 0.0], [0.0, 0.5]], np.float32)}
    np.testing.assert_allclose(jr.violation(params, {"kernel": both}), 2.0, rtol=1e-5)
    assert jr.feasible({"kernel": np.array([[1.0, 0.0], [0.0, 0.5]], np.float32)}, {"kernel": both})
