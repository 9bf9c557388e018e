"""Cases of PyProximal's `test_projection.py` (0.13.0), on drawn arrays. A test has the name of the case."""

import jax
import numpy as np
import pytest
from helpers.exams import FAN_IN, UNITS, agree, close, drawn, unit_by_unit
from pylops import MatrixMult
from pyproximal import proximal

import jaxreg as jr

SUITE = "PyProximal: projections"
NOT_IN_SCOPE = {
    "test_L10Ball": "a number of nonzero groups",
    "test_L10Ball_func": "a number of nonzero groups",
    "test_Simplex_engine": "names of engines",
}
TAU = 2.0


def distinct():
    """Kernels whose weights have different magnitudes in each unit, in bfloat16 too."""
    rng = np.random.default_rng(0)
    sizes = rng.permuted(np.broadcast_to(np.arange(1, FAN_IN + 1) / 4, (8, UNITS, FAN_IN)), axis=2)
    return np.float32(sizes * rng.choice([-1, 1], sizes.shape)).transpose(0, 2, 1)


def projections_agree(ours, theirs, weights=None, *, units=True, **tolerance):
    """The projections agree, and the proximal steps of the conjugate functions, which Moreau's identity gives."""

    def flat(function):
        return lambda w: np.asarray(function(np.array(w).ravel())).reshape(w.shape)

    place = unit_by_unit if units else flat
    weights = drawn() if weights is None else weights
    agree(ours, place(lambda w: theirs.prox(w, TAU)), weights, **tolerance)
    dual = jax.jit(jax.vmap(lambda w: w - TAU * ours(w / TAU)))(weights)
    expected = np.stack([place(lambda w: theirs.proxdual(w, TAU))(w) for w in weights])
    close(dual, expected, 2 * tolerance.get("relative", 3e-6))
    moreau = ours(weights[0]) + TAU * (weights[0] / TAU - ours(weights[0]) / TAU)
    close(moreau, weights[0], 3e-6)


def test_Box():
    projections_agree(jr.Box(-1.0, 1.0), proximal.Box(-1, 1))


def test_Affine():
    equations, sides = drawn(3, FAN_IN, seed=6), drawn(3, seed=7)
    theirs = proximal.AffineSet(MatrixMult(equations), sides, niter=100)
    projections_agree(jr.Affine(equations, sides), theirs, relative=1e-4)


def test_Hankel():
    # Each entry equals its neighbour along the antidiagonal.
    places = np.arange(FAN_IN * UNITS).reshape(FAN_IN, UNITS)
    one, other = places[1:, :-1].ravel(), places[:-1, 1:].ravel()
    equations = np.eye(FAN_IN * UNITS, dtype=np.float32)[one] - np.eye(FAN_IN * UNITS, dtype=np.float32)[other]
    theirs = proximal.Hankel((FAN_IN, UNITS))
    projections_agree(jr.Affine(equations, 0.0, axis=(0, 1)), theirs, units=False, relative=1e-5)


def test_Intersection():
    # The limits on the differences of three channels are six half-spaces.
    limits = np.array([[0.0, 0.3, 0.5], [0.3, 0.0, 0.4], [0.5, 0.4, 0.0]], np.float32)
    pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
    normals = np.eye(3, dtype=np.float32)
    sets = [jr.HalfSpace(normals[i] - normals[j], limits[i, j]) for i, j in pairs]
    theirs = proximal.Intersection(3, UNITS, limits, niter=1000, tol=1e-9)
    projections_agree(jr.Intersection(*sets), theirs, drawn(8, 3, UNITS), units=False, relative=1e-5)


def test_HalfSpace():
    normal = drawn(FAN_IN, seed=5)
    projections_agree(jr.HalfSpace(normal, 0.5), proximal.HalfSpace(normal, 0.5))


def test_EuclBall():
    projections_agree(jr.MaxNorm(1.0), proximal.EuclideanBall(np.zeros(FAN_IN, np.float32), 1.0))


@pytest.mark.parametrize("number", [1, 3])
def test_L0Ball(number):
    projections_agree(jr.Sparse(1 - number / FAN_IN), proximal.L0Ball(number), distinct())


def test_L0Ball_func():
    weights = distinct()[0, :, 0]
    theirs = proximal.L0Ball(lambda call: 2 * call)  # calls are counted from 1
    rules = {"kernel": jr.Sparse(lambda step: 1 - 2 * step / FAN_IN)}
    projected = jax.jit(lambda step: jr.projected({"kernel": weights}, rules, step=step)["kernel"])
    for step in (1, 2, 3):
        np.testing.assert_array_equal(projected(step), theirs.prox(weights, TAU))


def test_L1Ball():
    # PyProximal finds the threshold by bisection, to 1e-5.
    projections_agree(jr.L1Ball(1.0), proximal.L1Ball(FAN_IN, 1.0), relative=5e-5)


def test_NuclBall():
    theirs = proximal.NuclearBall((FAN_IN, UNITS), 1.0)
    weights = drawn() + np.eye(FAN_IN, UNITS, dtype=np.float32)
    projections_agree(jr.NuclearBall(1.0), theirs, weights, units=False, relative=1e-4, narrow=2**-3)


@pytest.mark.parametrize("total", [1.0, 8.0])
def test_Simplex(total):
    projections_agree(jr.Simplex(total), proximal.Simplex(FAN_IN, total), np.abs(drawn()), relative=1e-5)


@pytest.mark.parametrize("axis", [0, 1])
def test_Simplex_multi(axis):
    theirs = proximal.Simplex(FAN_IN * UNITS, 3.0, dims=(FAN_IN, UNITS), axis=axis)
    projections_agree(jr.Simplex(3.0, axis=axis), theirs, np.abs(drawn()), units=False, relative=1e-5)
