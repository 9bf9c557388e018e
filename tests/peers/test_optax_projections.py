"""Cases of Optax's `projections/_projections_test.py` (0.2.8), on drawn arrays. A test has the name of the case."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.exams import FAN_IN, UNITS, agree, close, drawn, per_unit
from jax.flatten_util import ravel_pytree
from optax import projections

import jaxreg as jr

SUITE = "Optax: projections"
NOT_IN_SCOPE = {}
TREE = {"a": np.float32(-1.0), "b": {"c": np.float32(1.0), "d": (np.float32(1.0), np.float32(3.0))}}
SHAPES = {"vector": drawn(3), "matrix": drawn(2, 3), "tree": (drawn(3), drawn(2, 2, seed=1))}


def fixed(function, *arguments):
    return jax.jit(lambda w: function(w, *arguments))


def same_trees(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def as_one_vector(rule):
    """A rule for all numbers of a tree."""

    def project(tree):
        vector, back = ravel_pytree(tree)
        return back(rule(vector))

    return project


def test_projection_non_negative():
    agree(jr.NonNeg(), jax.jit(projections.projection_non_negative))
    same_trees(jr.projected(TREE, {".*": jr.NonNeg()}), projections.projection_non_negative(TREE))


def test_projection_box():
    low, high = -np.abs(drawn(FAN_IN, UNITS, seed=1)), np.abs(drawn(FAN_IN, UNITS, seed=2))
    agree(jr.Box(-0.5, 1.0), fixed(projections.projection_box, -0.5, 1.0))
    agree(jr.Box(low, high), fixed(projections.projection_box, low, high))
    lows, highs = (jax.tree.map(lambda w, value=value: np.float32(value), TREE) for value in (0.0, 2.0))
    same_trees(jr.projected(TREE, {".*": jr.Box(0.0, 2.0)}), projections.projection_box(TREE, lows, highs))


def test_projection_hypercube():
    scales = np.abs(drawn(FAN_IN, UNITS, seed=1))
    for scale in (1.0, 0.8, scales):
        agree(jr.Box(0.0, scale), fixed(projections.projection_hypercube, scale))


@pytest.mark.parametrize("total", [1.0, 0.8])
def test_projection_simplex_array(total):
    agree(jr.Simplex(total), per_unit(fixed(projections.projection_simplex, total)))
    agree(jr.Simplex(total, axis=(0, 1)), fixed(projections.projection_simplex, total))


@pytest.mark.parametrize("total", [1.0, 0.8])
def test_projection_simplex_pytree(total):
    tree = {"w": jnp.array([2.5, 3.2]), "b": jnp.float32(0.5)}
    expected = projections.projection_simplex(tree, total)
    jax.tree.map(lambda a, b: close(a, b, 3e-6), as_one_vector(jr.Simplex(total))(tree), expected)


@pytest.mark.parametrize("total", [1.0, 0.8])
def test_projection_simplex_edge_case(total):
    hole = jnp.array([0.0, 0.0, -jnp.inf])
    close(jr.Simplex(total)(hole), projections.projection_simplex(hole, total), 3e-6)


def test_projection_simplex_jacobian():
    points, along = np.abs(drawn(6, 5)), drawn(6, 5, seed=1)
    ours, theirs = jr.Simplex(1.0), projections.projection_simplex
    for mode in (jax.jacrev, jax.jacfwd):
        close(jax.vmap(mode(ours))(points), jax.vmap(mode(theirs))(points), 3e-6)
    pulled, pushed = (
        jax.vmap(lambda x, v: jax.vjp(ours, x)[1](v)[0])(points, along),
        jax.vmap(lambda x, v: jax.jvp(theirs, (x,), (v,))[1])(points, along),
    )
    close(pulled, pushed, 3e-6)  # the Jacobian is symmetric


@pytest.mark.parametrize("total", [1.0, 0.8])
def test_projection_simplex_vmap(total):
    rows, totals = drawn(3, 50), np.full(3, total, np.float32)
    expected = jax.vmap(projections.projection_simplex)(rows, totals)
    close(jax.vmap(lambda w, t: jr.Simplex(t)(w))(rows, totals), expected, 3e-6)


@pytest.mark.parametrize("radius", [1.0, 3.21])
@pytest.mark.parametrize("kind", SHAPES)
def test_projection_l1_sphere(kind, radius):
    expected = projections.projection_l1_sphere(SHAPES[kind], radius)
    found = as_one_vector(jr.L1Sphere(radius))(SHAPES[kind])
    jax.tree.map(lambda a, b: close(a, b, 3e-6), found, expected)
    if kind == "matrix":
        agree(jr.L1Sphere(radius, axis=(0, 1)), fixed(projections.projection_l1_sphere, radius))


@pytest.mark.parametrize("radius", [1.0, 3.21])
@pytest.mark.parametrize("kind", SHAPES)
def test_projection_l2_sphere(kind, radius):
    expected = projections.projection_l2_sphere(SHAPES[kind], radius)
    found = jr.TreeNorm(radius)(jax.tree.map(jnp.asarray, SHAPES[kind]))
    jax.tree.map(lambda a, b: close(a, b, 3e-6), found, expected)
    if kind == "matrix":
        agree(jr.FrobeniusSphere(radius), fixed(projections.projection_l2_sphere, radius))


BALLS = {
    "l1": (jr.L1Ball, projections.projection_l1_ball, lambda x: np.sum(np.abs(x))),
    "l2": (jr.MaxNorm, projections.projection_l2_ball, np.linalg.norm),
    "linf": (
        lambda radius, axis=None: jr.LinfBall(radius),
        projections.projection_linf_ball,
        lambda x: np.max(np.abs(x)),
    ),
}


@pytest.mark.parametrize("norm", BALLS)
@pytest.mark.parametrize("kind", SHAPES)
def test_projection_ball(kind, norm):
    ball, theirs, size = BALLS[norm]
    radius = float(size(ravel_pytree(SHAPES[kind])[0]))
    for share in (2.0, 1.0, 0.5):
        expected = theirs(SHAPES[kind], share * radius)
        found = as_one_vector(ball(share * radius))(SHAPES[kind])
        jax.tree.map(lambda a, b: close(a, b, 3e-6), found, expected)
    if kind == "matrix":
        radius = float(size(drawn()[0].ravel())) / 2
        agree(ball(radius, axis=(0, 1)), fixed(theirs, radius))


def grad_at_zero(rule, theirs):
    zero = jnp.float32(0.0)
    assert jax.grad(rule)(zero) == jax.grad(theirs)(zero) == 1.0
    np.testing.assert_array_equal(jax.jacobian(rule)(jnp.zeros(3)), np.eye(3))


def test_projection_l2_ball_grad_at_zero():
    grad_at_zero(jr.MaxNorm(1.0), projections.projection_l2_ball)


def test_projection_l1_ball_grad_at_zero():
    grad_at_zero(jr.L1Ball(1.0), projections.projection_l1_ball)


NORMAL = drawn(FAN_IN, seed=5)


def test_projection_hyperplane():
    agree(jr.Hyperplane(NORMAL, 0.5), per_unit(lambda w: projections.projection_hyperplane(w, NORMAL, 0.5)))


def test_projection_vector():
    # A line through 0 has one equation per direction that is orthogonal to it.
    across = np.linalg.svd(NORMAL[None])[2][1:]
    agree(jr.Affine(across, 0.0), per_unit(lambda w: projections.projection_vector(w, NORMAL)), relative=1e-5)


def test_projection_halfspace_1():
    agree(jr.HalfSpace(NORMAL, 0.5), per_unit(lambda w: projections.projection_halfspace(w, NORMAL, 0.5)))


def test_projection_halfspace_2():
    inside = jr.HalfSpace(NORMAL, -1.0)(drawn(FAN_IN, UNITS))
    close(per_unit(lambda w: projections.projection_halfspace(w, NORMAL, -1.0))(inside), inside, 3e-6)
    np.testing.assert_array_equal(jr.HalfSpace(NORMAL, -1.0)(inside), inside)
