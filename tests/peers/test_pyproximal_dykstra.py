"""Cases of PyProximal's `test_dykstra.py` (0.13.0), on drawn arrays. A test has the name of the case."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.exams import FAN_IN, UNITS, agree, drawn, unit_by_unit
from pyproximal import projection, proximal

import jaxreg as jr

SUITE = "PyProximal: Dykstra's algorithm"
NOT_IN_SCOPE = {"test_Sum_f1f2f3f4": "proximal steps of sums that have no closed form"}
TAU = 1.0
NORMAL = np.float32(np.abs(drawn(FAN_IN, seed=3)) / np.linalg.norm(drawn(FAN_IN, seed=3)))
OFFSET, RADIUS = 0.3, 0.8
LOW, HIGH = (np.float32(np.random.default_rng(4).uniform(0.05, 0.6, FAN_IN) * sign) for sign in (-1, 1))


def half_space(w):
    above = jnp.maximum(jnp.einsum("i,ij->j", NORMAL, w) - OFFSET, 0)
    return (w - above * NORMAL[:, None] / float(np.sum(NORMAL**2))).astype(w.dtype)


SETS = {
    "ball": (jr.MaxNorm(RADIUS), projection.EuclideanBallProj(np.zeros(FAN_IN, np.float32), RADIUS)),
    "box": (jr.Box(LOW[:, None], HIGH[:, None]), projection.BoxProj(LOW, HIGH)),
    "half-space": (half_space, projection.HalfSpaceProj(NORMAL, OFFSET)),
}


def test_GenericIntersectionProx_empty():
    for make, words in ((jr.Intersection, "no parts"), (lambda: proximal.GenericIntersectionProx([]), "empty")):
        with pytest.raises(ValueError, match=words):
            make()


@pytest.mark.parametrize(
    "names",
    [
        ["ball"],
        ["box"],
        ["half-space"],
        ["ball", "box"],
        ["box", "ball"],
        ["half-space", "ball"],
        ["ball", "half-space"],
        ["box", "half-space"],
        ["half-space", "half-space"],
        ["half-space", "ball", "box"],
        ["box", "half-space", "ball"],
    ],
    ids="-".join,
)
def test_GenericIntersectionProx(names):
    ours = jr.Intersection(*(SETS[name][0] for name in names))
    theirs = proximal.GenericIntersectionProx([SETS[name][1] for name in names], tol=1e-7, niter=1000)
    agree(ours, unit_by_unit(lambda w: theirs.prox(np.float64(w), 1.0)), drawn() + 1, relative=3e-5, narrow=2**-5)


def sums_agree(ours, parts, **options):
    """`ours` maps weights to the proximal step of the sum of PyProximal's `parts`."""
    for order in (parts, parts[::-1]):
        theirs = proximal.Sum(order, tol=1e-9, **options)
        agree(ours, unit_by_unit(lambda w, theirs=theirs: theirs.prox(np.float64(w), TAU)), WEIGHTS, relative=1e-5)


WEIGHTS = drawn(scale=3.5)


def test_Sum_l1():
    sums_agree(lambda w: jr.L1(0.7).prox(w, TAU), [proximal.L1(0.7)])


def test_Sum_l1_l1():
    sums_agree(lambda w: jr.L1(0.3 + 0.6).prox(w, TAU), [proximal.L1(0.3), proximal.L1(0.6)])


def test_Sum_l2_l2():
    sums_agree(lambda w: jr.L2((0.3 + 0.6) / 2).prox(w, TAU), [proximal.L2(sigma=0.3), proximal.L2(sigma=0.6)])


def test_Sum_l21_l1():
    ours = jr.L1(0.5), jr.GroupLasso(1.5 / FAN_IN**0.5)
    theirs = [proximal.L1(0.5), proximal.L21(FAN_IN, 1.5)]
    sums_agree(lambda w: ours[1].prox(ours[0].prox(w, TAU), TAU), theirs)


def test_Sum_numeric_projection():
    goal = drawn(FAN_IN, seed=5)
    reference = np.broadcast_to(goal[:, None], (FAN_IN, UNITS))
    away, box = jr.ToReference(jr.L1(0.5), reference), SETS["box"][0]
    parts = [proximal.L1(0.5, g=np.float64(goal)), proximal.Box(np.float64(LOW), np.float64(HIGH))]
    sums_agree(lambda w: box(away.prox(w, TAU)), parts)
    both = jr.Intersection(box, jr.Box(-0.3, 0.4))
    sums_agree(both, [parts[1], proximal.Box(-0.3, 0.4)])
    inside = np.asarray(jax.jit(both)(WEIGHTS[0]), np.float64)
    assert all(part(unit) for unit in inside.T for part in (parts[1], proximal.Box(-0.3 - 1e-7, 0.4 + 1e-7)))
