"""Cases of JAXopt's `tests/projection_test.py` (0.8.5), on drawn arrays. A test has the name of the case."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.exams import FAN_IN, agree, close, drawn, per_unit
from jaxopt import LBFGS, projection

import jaxreg as jr

SUITE = "JAXopt: projections"
NOT_IN_SCOPE = {}
NORMAL, EQUATIONS, SIDES = drawn(FAN_IN, seed=5), drawn(3, FAN_IN, seed=6), drawn(3, seed=7)
TREE = {"a": -1.0, "b": {"c": 1.0, "d": (1.0, 3.0)}, "e": 2.0}


def tree_of(function, tree=TREE):
    return jax.tree.map(function, tree)


def same_trees(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_projection_non_negative():
    agree(jr.NonNeg(), jax.jit(projection.projection_non_negative))
    tree = tree_of(jnp.float32)
    same_trees(jr.projected(tree, {".*": jr.NonNeg()}), projection.projection_non_negative(tree))


def test_projection_box():
    low, high = -np.abs(drawn(FAN_IN, 8, seed=1)), np.abs(drawn(FAN_IN, 8, seed=2))
    agree(jr.Box(-0.5, 1.0), lambda w: projection.projection_box(w, (-0.5, 1.0)))
    agree(jr.Box(low, high), lambda w: projection.projection_box(w, (low, high)))
    tree = tree_of(jnp.float32)
    ends = tree_of(jnp.zeros_like, tree), tree_of(lambda w: 2 * jnp.ones_like(w), tree)
    same_trees(jr.projected(tree, {".*": jr.Box(0.0, 2.0)}), projection.projection_box(tree, ends))


@pytest.mark.parametrize("scale", [1.0, 0.8])
def test_projection_hypercube(scale):
    agree(jr.Box(0.0, scale), lambda w: projection.projection_hypercube(w, scale))


def test_projection_simplex():
    for total in (1.0, 0.8):
        theirs = per_unit(lambda w, total=total: projection.projection_simplex(w, total))
        agree(jr.Simplex(total), theirs)
        huge = 1e9 * drawn()[0]
        with jax.enable_x64(True):  # in float32 JAXopt loses the total beside weights of 1e9
            expected = theirs(np.float64(huge))
        close(jax.jit(jr.Simplex(total))(huge), expected, 3e-6)
    hole = jnp.array([0.0, 0.0, -jnp.inf])
    close(jr.Simplex(1.0)(hole), projection.projection_simplex(hole), 3e-6)


@pytest.mark.parametrize("scale", [1.0, 1e9])
def test_projection_simplex_jacobian(scale):
    points, along = np.abs(drawn(6, 5, scale=scale)), drawn(6, 5, seed=1, scale=scale)
    for mode in (jax.jacrev, jax.jacfwd):
        expected = jax.vmap(mode(projection.projection_simplex))(points)
        close(jax.jit(jax.vmap(mode(jr.Simplex(1.0))))(points), expected, 3e-6)
    pushed = jax.vmap(lambda x, v: jax.jvp(jr.Simplex(1.0), (x,), (v,))[1])(points, along)
    close(pushed, np.einsum("nij,nj->ni", expected, along), 1e-5)


@pytest.mark.parametrize("total", [1.0, 0.8])
def test_projection_simplex_vmap(total):
    rows, totals = drawn(3, 50), np.full(3, total, np.float32)
    expected = jax.vmap(projection.projection_simplex)(rows, totals)
    close(jax.vmap(lambda w, t: jr.Simplex(t)(w))(rows, totals), expected, 3e-6)
    close(jr.Simplex(totals, axis=1)(rows), expected, 3e-6)


def test_projection_simplex_vmap_diff():
    rows, slopes = np.abs(drawn(8, 5)), drawn(8, 5, seed=1)
    ours, theirs = (
        jax.grad(lambda x, project=project: jnp.sum(slopes * jax.vmap(project)(x) ** 2))(rows)
        for project in (jr.Simplex(1.0), projection.projection_simplex)
    )
    close(ours, theirs, 3e-6)


def with_radius(project, radius):
    return jax.jit(lambda w: project(w, radius))


def spheres_and_balls_agree(ball, sphere, projection_of_ball, projection_of_sphere, norm):
    """`ball` and `sphere` make rules from a radius."""
    points = drawn(8, 8)
    sizes = norm(points)
    for share in (2.0, 0.5):  # inside and outside
        for value, position in zip(points[:4], sizes[:4], strict=True):
            radius = share * position
            close(ball(radius)(value), projection_of_ball(value, radius), 3e-6)
        ours = jax.jit(jax.vmap(jax.jacrev(lambda w, r: ball(r)(w), argnums=(0, 1))))(points, share * sizes)
        theirs = jax.vmap(jax.jacrev(projection_of_ball, argnums=(0, 1)))(points, share * sizes)
        jax.tree.map(lambda a, b: close(a, b, 1e-5), ours, theirs)
    edge = jax.vmap(lambda w, r: ball(r)(w))(points, sizes)
    close(edge, points, 3e-6)
    if sphere is not None:
        raised = jax.jit(jax.vmap(jax.jacrev(lambda w, r: sphere(r)(w), argnums=(0, 1))))(points, sizes / 2)
        theirs = jax.vmap(jax.jacrev(projection_of_sphere, argnums=(0, 1)))(points, sizes / 2)
        jax.tree.map(lambda a, b: close(a, b, 1e-5), raised, theirs)


def test_projection_l1_sphere():
    for radius in (1.0, 3.21, 40.0):
        agree(jr.L1Sphere(radius), per_unit(with_radius(projection.projection_l1_sphere, radius)))


def test_projection_l1_ball():
    agree(jr.L1Ball(5.0), per_unit(with_radius(projection.projection_l1_ball, 5.0)))
    spheres_and_balls_agree(
        jr.L1Ball,
        jr.L1Sphere,
        projection.projection_l1_ball,
        projection.projection_l1_sphere,
        lambda x: np.sum(np.abs(x), axis=1),
    )


def test_projection_l2_sphere():
    for radius in (1.0, 3.21, 40.0):
        theirs = per_unit(with_radius(projection.projection_l2_sphere, radius))
        agree(jr.MinMaxNorm(radius, radius), theirs)
        agree(jr.FrobeniusSphere(radius), with_radius(projection.projection_l2_sphere, radius))
    agree(jr.UnitNorm(), per_unit(projection.projection_l2_sphere))


def test_projection_l2_ball():
    agree(jr.MaxNorm(3.5), per_unit(with_radius(projection.projection_l2_ball, 3.5)))
    spheres_and_balls_agree(
        jr.MaxNorm,
        lambda r: jr.MinMaxNorm(r, r),
        projection.projection_l2_ball,
        projection.projection_l2_sphere,
        lambda x: np.linalg.norm(x, axis=1),
    )
    halves = {"a": drawn(25), "b": drawn(25, seed=1)}
    for radius in (1.0, 3.21):
        same = jax.tree.map(
            lambda a, b: close(a, b, 3e-6),
            jr.TreeNorm(radius)(tree_of(jnp.asarray, halves)),
            projection.projection_l2_sphere(halves, radius),
        )
        assert same == {"a": None, "b": None}


def test_projection_linf_ball():
    largest = float(np.max(np.abs(drawn())))
    for radius in (largest, largest / 2):
        agree(jr.LinfBall(radius), lambda w, radius=radius: projection.projection_linf_ball(w, radius))


def test_projection_hyperplane():
    agree(jr.Hyperplane(NORMAL, 0.5), per_unit(lambda w: projection.projection_hyperplane(w, (NORMAL, 0.5))))


def test_projection_halfspace():
    agree(jr.HalfSpace(NORMAL, 0.5), per_unit(lambda w: projection.projection_halfspace(w, (NORMAL, 0.5))))


def test_projection_affine_set():
    theirs = per_unit(lambda w: projection.projection_affine_set(w, (EQUATIONS, SIDES)))
    agree(jr.Affine(EQUATIONS, SIDES), theirs, relative=2e-5)


def test_projection_polyhedron():
    sides, limits = drawn(2, FAN_IN, seed=8), drawn(2, seed=9)
    parts = [jr.HalfSpace(side, limit) for side, limit in zip(sides, limits, strict=True)]
    ours = jax.jit(jax.vmap(jr.Intersection(*parts, jr.Affine(EQUATIONS, SIDES))))

    def theirs(w):
        return projection.projection_polyhedron(w, (EQUATIONS, SIDES, sides, limits), check_feasible=False)

    units = drawn(8, FAN_IN)
    close(ours(units), jax.jit(jax.vmap(theirs))(units), 5e-3)  # OSQP stops at 1e-3


def test_projection_polyhedron_infeasible():
    # Here an empty set shows in the distance that is left.
    apart = jr.Intersection(jr.HalfSpace(NORMAL, -1.0), jr.HalfSpace(-NORMAL, -1.0))
    ended = jr.projected({"kernel": drawn(FAN_IN, 1)}, apart)
    assert jr.violation(ended, apart) > 0.1
    sides = np.stack([NORMAL, -NORMAL]), -np.ones(2, np.float32)
    with pytest.raises(ValueError, match="empty"):
        projection.projection_polyhedron(drawn(FAN_IN), (EQUATIONS, SIDES, *sides))


def test_projection_box_section():
    normal, low, high = np.abs(NORMAL) + 0.1, -np.abs(drawn(FAN_IN, seed=10)), np.abs(drawn(FAN_IN, seed=11))
    theirs = per_unit(lambda w: projection.projection_box_section(w, (low, high, normal, 0.5)))
    ours = jr.Intersection(jr.Hyperplane(normal, 0.5), jr.Box(low[:, None], high[:, None]))
    # Narrow dtypes round the bounds inwards, and weights between their bounds make up for it.
    agree(ours, theirs, relative=1e-4, narrow=2**-6)


def test_projection_box_section_infeasible():
    for low, high in ((1.5, 1.0), (0.0, -0.5)):
        with pytest.raises(ValueError, match="expected high to be at least low"):
            jr.Box(low, high)
    x = jnp.array([1.2, 3.0, 0.7])
    with pytest.raises(ValueError, match="expected a sum between"):
        jr.Intersection(jr.SumTo(4.0), jr.Box(0.0, 1.0))(x)
    ends = jnp.zeros(3), jnp.ones(3), jnp.ones(3), 4.0
    with pytest.raises(ValueError, match="should satisfy"):
        projection.projection_box_section(x, ends, True)


def test_projection_box_section_simplex():
    def theirs(w):
        return projection.projection_box_section(w, (jnp.zeros_like(w), jnp.ones_like(w), jnp.ones_like(w), 1.0))

    ours = jr.Intersection(jr.SumTo(1.0), jr.Box(0.0, 1.0))
    agree(ours, per_unit(theirs), relative=1e-4)
    agree(ours, jr.Simplex(1.0))
    points = np.abs(drawn(4, 5))
    close(jax.vmap(jax.jacrev(ours))(points), jax.vmap(jax.jacrev(theirs))(points), 1e-5)
    close(jax.vmap(jax.jacrev(ours))(points), jax.vmap(jax.jacrev(projection.projection_simplex))(points), 1e-5)


def precise(function):
    return LBFGS(fun=function, tol=1e-6, maxiter=1000, linesearch="zoom")  # the default stops at 1e-3


def test_projection_transport():
    rng = np.random.default_rng(0)
    rows, columns = (np.float32(rng.dirichlet(np.ones(n))) for n in (5, 8))
    plans = np.float32(rng.uniform(size=(8, 5, 8)))
    ours = jr.Intersection(jr.Simplex(rows, axis=1), jr.Simplex(columns, axis=0))
    theirs = jax.jit(lambda w: projection.projection_transport(w, (rows, columns), precise))
    agree(ours, theirs, plans, relative=1e-5)


def test_projection_birkhoff():
    draws = np.float32(np.random.default_rng(0).uniform(size=(8, 8, 8)))
    draws = (draws + draws.transpose(0, 2, 1)) / 2
    ours = jr.Intersection(jr.Simplex(1.0, axis=1), jr.Simplex(1.0, axis=0))
    agree(ours, jax.jit(lambda w: projection.projection_birkhoff(w, precise)), draws, relative=1e-5)
    inside = jnp.array([[0.6, 0.4], [0.4, 0.6]])
    np.testing.assert_array_equal(ours(inside), inside)


@pytest.mark.parametrize("total", [1.0, 2.0])
def test_projection_sparse_simplex(total):
    ours = jr.Intersection(jr.Sparse(0.75), jr.Simplex(total))
    points = drawn(4, 40)

    def theirs(w):
        return projection.projection_sparse_simplex(w, max_nz=10, value=total)

    close(jax.vmap(ours)(points), jax.vmap(theirs)(points), 3e-6)
    close(jax.vmap(jax.jacobian(ours))(points), jax.vmap(jax.jacobian(theirs))(points), 1e-5)
    agree(ours, per_unit(theirs), drawn(8, 40, 8))
