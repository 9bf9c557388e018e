"""Constraints that count, against every choice of the weights that stay."""

from itertools import combinations, product

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr


def weights(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def in_l1_ball(v, radius):
    """The nearest point of the ball: lowered by the level at which the sum is right, found by bisection."""
    low, high = 0.0, np.abs(v).max()
    if np.abs(v).sum() <= radius:
        return v
    for _ in range(60):
        level = (low + high) / 2
        low, high = (level, high) if np.maximum(np.abs(v) - level, 0).sum() > radius else (low, level)
    return np.sign(v) * np.maximum(np.abs(v) - low, 0)


BALLS = {
    "no ball": ((), lambda v: v),
    "MaxNorm": ((jr.MaxNorm(1.5),), lambda v: v * 1.5 / max(1.5, np.linalg.norm(v))),
    "L1Ball": ((jr.L1Ball(1.5),), lambda v: in_l1_ball(v, 1.5)),
}
RUNS = {"Sparse": (jr.Sparse(2 / 3), [6], 2), "NMSparse": (jr.NMSparse(1, 3), [3, 3], 1)}


def nearest_of_all(w, lengths, count, into_ball, positive):
    """The best of all choices of `count` weights in each of the runs, each brought into the ball."""
    starts = np.cumsum([0, *lengths])[:-1]
    choices = [
        [[s + i for i in c] for c in combinations(range(n), count)] for s, n in zip(starts, lengths, strict=True)
    ]
    points = []
    for chosen in product(*choices):
        point = np.zeros_like(w)
        kept = np.concatenate(chosen)
        point[kept] = np.maximum(w[kept], 0) if positive else w[kept]
        points.append(into_ball(point))
    return min(points, key=lambda point: np.sum((point - w) ** 2))


@pytest.mark.parametrize("positive", [False, True], ids=["any sign", "NonNeg"])
@pytest.mark.parametrize("ball", BALLS)
@pytest.mark.parametrize("run", RUNS)
def test_no_choice_of_weights_is_nearer(run, ball, positive):
    rule, lengths, count = RUNS[run]
    parts, into_ball = BALLS[ball]
    project = jr.Intersection(*parts, *([jr.NonNeg()] if positive else []), rule)
    ends = jax.jit(project)(jnp.asarray(weights((6, 40))))
    for end, w in zip(np.asarray(ends, np.float64).T, weights((6, 40)).astype(np.float64).T, strict=True):
        wanted = nearest_of_all(w, lengths, count, into_ball, positive)
        np.testing.assert_allclose(end, wanted, atol=2e-6)


def test_a_ball_may_hold_several_groups_that_count_for_themselves():
    w = weights((4, 2), 3)
    both = jr.Intersection(jr.Sparse(0.5, axis=0), jr.L1Ball(1.0, axis=(0, 1)))
    end = np.asarray(both(jnp.asarray(w)), np.float64).T.ravel()
    np.testing.assert_allclose(
        end, nearest_of_all(w.T.ravel(), [4, 4], 2, lambda v: in_l1_ball(v, 1.0), False), atol=1e-6
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: jr.Intersection(jr.Sparse(0.5), jr.Box(-1.0, 1.0)),
        lambda: jr.Intersection(jr.Sparse(0.5), jr.UnitNorm()),
        lambda: jr.Intersection(jr.Sparse(0.5), jr.NMSparse(2, 4)),
        lambda: jr.Intersection(jr.Sparse(0.5), jr.MaxNorm(1.0), jr.L1Ball(1.0)),
        lambda: jr.Intersection(jr.Sparse(0.5, axis=(0, 1)), jr.MaxNorm(1.0, axis=0))(jnp.ones((4, 3))),
    ],
)
def test_sets_without_a_closed_form_are_refused(make):
    with pytest.raises(TypeError, match=r"Sparse is not convex\. It allows only these other parts: NonNeg, and one"):
        make()


def test_the_first_of_equal_weights_stay():
    np.testing.assert_array_equal(jr.Sparse(0.5)(jnp.array([1.0, -1.0, 1.0, 1.0])), [1, -1, 0, 0])
    np.testing.assert_array_equal(jr.NMSparse(1, 2)(jnp.array([2.0, -2.0, 0.5, 0.5])), [2, 0, 0.5, 0])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_subnormal_weights_count_and_zeros_keep_their_sign(dtype):
    small = np.asarray(jnp.finfo(dtype).smallest_subnormal, jnp.dtype(dtype))
    w = np.asarray([small, 2 * small, -3 * small, -0.0], jnp.dtype(dtype))
    end = np.asarray(jax.jit(jr.Sparse(0.5))(jnp.asarray(w)))
    assert end.tobytes() == np.where([False, True, True, True], w, 0).astype(w.dtype).tobytes()


def test_a_share_for_each_group_and_all_or_nothing():
    w = jnp.asarray(weights((10, 3)))
    np.testing.assert_array_equal(np.sum(np.asarray(jr.Sparse(jnp.array([0.0, 0.35, 1.0]))(w)) != 0, 0), [10, 6, 0])


def test_runs_go_along_the_axis_that_is_named():
    # Equinox and PyTorch: (units, inputs, height, width).
    w = weights((5, 4, 3, 3), 2)
    end = np.asarray(jr.NMSparse(2, 4, axis=1)(jnp.asarray(w)))
    order = np.argsort(-np.abs(w), axis=1)
    wanted = w.copy()
    np.put_along_axis(wanted, order[:, 2:], 0, axis=1)
    np.testing.assert_array_equal(end, wanted)


def test_weights_go_bit_by_bit_and_the_right_ones_are_found():
    # Iterative hard thresholding of noiseless measurements ends at the weights that made them.
    rng = np.random.default_rng(0)
    x, truth = rng.normal(size=(60, 100)) / 60**0.5, np.zeros(100)
    truth[rng.permutation(100)[:5]] = [3, -2, 2, 1, -1]
    schedule = optax.polynomial_schedule(0.0, 0.95, 3, 200)
    tx = optax.chain(optax.sgd(0.4), jr.project({"w": jr.Sparse(schedule)}))
    y = jnp.asarray(x @ truth, jnp.float32)

    def step(carry, _):
        w, state = carry
        gradient = jax.grad(lambda w: jnp.sum((jnp.asarray(x, jnp.float32) @ w["w"] - y) ** 2) / 2)(w)
        updates, state = tx.update(gradient, state, w)
        w = optax.apply_updates(w, updates)
        return (w, state), jnp.sum(w["w"] != 0)

    start = {"w": jnp.zeros(100)}
    (end, _), left = jax.lax.scan(step, (start, tx.init(start)), length=600)
    np.testing.assert_array_equal(left[:200], 100 - np.rint(100 * 0.95 * (1 - (1 - np.arange(200) / 200) ** 3)))
    np.testing.assert_allclose(end["w"], truth, atol=1e-4)
    assert np.sum(np.asarray(end["w"]) != 0) == 5


def test_a_firm_threshold_finds_large_weights_unbiased_where_a_soft_one_does_not():
    # Orthonormal inputs: each weight is its own problem, with its least-squares value as the start.
    ols = np.array([4.0, 2.0, 0.4, -0.3, -5.0])

    def train(penalty):
        tx = optax.chain(optax.sgd(0.5), jr.proximal({"w": penalty}, 0.5))
        w = {"w": jnp.zeros(5)}
        state = tx.init(w)
        for _ in range(100):
            updates, state = tx.update({"w": w["w"] - jnp.asarray(ols, jnp.float32)}, state, w)
            w = optax.apply_updates(w, updates)
        return np.asarray(w["w"])

    np.testing.assert_allclose(train(jr.L1(0.5)), np.sign(ols) * np.maximum(np.abs(ols) - 0.5, 0), atol=1e-5)
    np.testing.assert_allclose(train(jr.MCP(0.5, gamma=3.0)), np.where(np.abs(ols) > 1.5, ols, 0), atol=1e-5)
