"""Sets of fixed or bounded sums, against SciPy and Moreau's decomposition; bounds and norms by Moreau too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq, linprog, minimize

import jaxreg as jr

X = np.random.default_rng(0).normal(size=6).astype(np.float32)


def solved(x, bounds, total):
    return minimize(
        lambda z: np.sum((z - x) ** 2),
        np.full(x.size, total / x.size),
        jac=lambda z: 2 * (z - x),
        bounds=bounds,
        constraints=[{"type": "eq", "fun": lambda z: z.sum() - total}],
        method="SLSQP",
        options={"maxiter": 300, "ftol": 1e-14},
    ).x


@pytest.mark.parametrize("total", [0.3, 2.0])
def test_scipy_finds_the_same_points(total):
    np.testing.assert_allclose(jr.Simplex(total)(X), solved(X, [(0, None)] * 6, total), atol=1e-6)
    np.testing.assert_allclose(jr.SumTo(-total)(X), solved(X, None, -total), atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, (0, 1), (-1,), ()])
def test_groups_are_those_of_the_axis(axis):
    w = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
    axes = axis if isinstance(axis, tuple) else (axis,)
    np.testing.assert_allclose(np.asarray(jr.Simplex(1.5, axis)(w)).sum(axes), 1.5, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(jr.SumTo(-1.5, axis)(w)).sum(axes), -1.5, rtol=1e-6)
    assert np.abs(np.asarray(jr.L1Ball(0.5, axis)(w), np.float64)).sum(axes).max() <= 0.5


def test_a_limit_for_each_group():
    w = np.random.default_rng(2).normal(size=(5, 3)).astype(np.float32)
    limits = jnp.array([[0.5, 1.0, 2.0]])
    np.testing.assert_allclose(jr.Simplex(limits)(w).sum(0), limits[0], rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(jr.MaxNorm(limits / 4)(w), axis=0), limits[0] / 4, rtol=1e-5)


def test_nothing_is_left_at_radius_0():
    for constraint in (jr.Simplex(0.0), jr.L1Ball(0.0), jr.LinfBall(0.0)):
        np.testing.assert_array_equal(constraint(jnp.asarray(X)), np.zeros(6))


def test_moreau():
    # x = P(x) + prox of the dual norm: ‖·‖∞ of the L1 ball, ‖·‖₂ of the L2 ball, ‖·‖₁ of the L∞ ball.
    level = brentq(lambda t: np.maximum(np.abs(X) - t, 0).sum() - 1.5, 0, np.abs(X).max())
    np.testing.assert_allclose(jr.L1Ball(1.5)(X) + np.clip(X, -level, level), X, atol=1e-6)
    np.testing.assert_allclose(jr.LinfBall(0.4)(X) + jr.L1(0.4).prox(jnp.asarray(X), 1.0), X, atol=1e-6)
    shrunk = X * max(0, 1 - 0.7 / np.linalg.norm(X))
    np.testing.assert_allclose(jr.MaxNorm(0.7)(X) + shrunk, X, atol=1e-6)
    np.testing.assert_array_equal(jr.NonNeg()(jnp.asarray(X)) - jr.NonNeg()(jnp.asarray(-X)), X)


@pytest.mark.parametrize("total", [1e-30, 1e-20, 1.0, 1e30])
@pytest.mark.parametrize(("make", "sizes"), [(jr.Simplex, X), (jr.L1Ball, np.abs(X))])
def test_weights_above_the_level_share_what_the_total_grows_by(make, sizes, total):
    level = brentq(lambda t: np.maximum(sizes - t, 0).sum() - 1, sizes.min() - 1, sizes.max())
    held = sizes > level
    assert 1 < held.sum() < held.size
    signs = np.sign(X) if make is jr.L1Ball else 1
    slope = jax.jit(jax.jacobian(lambda t, w: make(t)(w)))
    np.testing.assert_allclose(slope(total, total * X), signs * held / held.sum(), rtol=1e-5)
    if total < 1e-6:  # beside weights as they are, it is next to nothing, and the largest of them has it all
        np.testing.assert_allclose(slope(total, X), signs * (sizes == sizes.max()), rtol=1e-5)


def test_float32_and_float64_have_derivatives_side_by_side():
    outer = np.arange(6.0, dtype=np.float32)
    for make in (jr.Simplex, jr.L1Ball):
        slope = jax.grad(lambda w, make=make: jnp.sum(make(1.0)(w) * outer))
        expected = slope(jnp.asarray(X))
        with jax.enable_x64(True):
            found = slope(jnp.asarray(X))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


def test_what_is_not_a_number_is_not_made_one():
    w = jnp.array([[jnp.nan, 0.5], [1.0, 2.0]])
    for make in (jr.Simplex, jr.SumTo, jr.L1Ball):
        end = make(1.0)(w)
        assert np.isnan(end[0, 0])
        np.testing.assert_array_equal(end[:, 1], make(1.0)(w[:, 1]))


def test_the_l1_sphere_is_met_at_its_nearest_corner_or_face():
    # Brute force: the nearest point of each of the 2⁶ faces, found by SciPy's way of the simplex on its orthant.
    for scale in (0.05, 1.0, 5.0):
        x = scale * X
        end = np.asarray(jr.L1Sphere(1.5)(jnp.asarray(x)))
        np.testing.assert_allclose(np.abs(end).sum(), 1.5, rtol=1e-6)
        faces = [np.array(signs) for signs in np.ndindex(*[2] * 6)]
        nearest = min(np.linalg.norm((s := 2 * face - 1) * solved(s * x, [(0, None)] * 6, 1.5) - x) for face in faces)
        np.testing.assert_allclose(np.linalg.norm(end - x), nearest, atol=1e-5)
    np.testing.assert_allclose(jr.L1Sphere(3.0)(jnp.zeros(6)), 0.5, rtol=1e-6)


def test_shares_by_row_and_by_column_are_dykstras_intersection():
    # The Birkhoff polytope, and transport between given totals.
    w = np.random.default_rng(4).normal(size=(4, 4)).astype(np.float32)
    rows, columns = np.array([1.0, 2.0, 0.5, 0.5]), np.array([0.5, 1.5, 1.0, 1.0])
    for by_row, by_column in ((np.ones(4), np.ones(4)), (rows, columns)):
        both = jr.Intersection(
            jr.Simplex(jnp.asarray(by_row, jnp.float32), axis=1),
            jr.Simplex(jnp.asarray(by_column, jnp.float32), axis=0),
        )
        end = np.asarray(jax.jit(both)(w), np.float64)
        np.testing.assert_allclose(end.sum(1), by_row, atol=1e-5)
        np.testing.assert_allclose(end.sum(0), by_column, atol=1e-5)
        # No corner of the set lies on the side of `w`: ⟨w - P(w), z - P(w)⟩ is 0 at most, by a linear program.
        sums = [np.kron(np.eye(4), np.ones(4)), np.kron(np.ones(4), np.eye(4))]
        away = (w - end).ravel()
        best = -linprog(-away, A_eq=np.concatenate(sums), b_eq=np.concatenate([by_row, by_column])).fun
        assert end.min() >= 0
        assert best - away @ end.ravel() <= 1e-4
