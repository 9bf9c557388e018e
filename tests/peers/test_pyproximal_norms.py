"""Cases of PyProximal's `test_norms.py` (0.13.0), on drawn arrays. A test has the name of the case."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.exams import FAN_IN, UNITS, agree, close, drawn, unit_by_unit
from pyproximal import proximal

import jaxreg as jr

SUITE = "PyProximal: norms"
NOT_IN_SCOPE = {
    "test_L2_solver": "penalties behind a linear operator",
    "test_L2_op": "penalties behind a linear operator",
    "test_L2_op_solver": "penalties behind a linear operator",
    "test_L2_dense": "penalties behind a linear operator",
    "test_L2Convolve": "penalties behind a linear operator",
    "test_L0": "a penalty on the number of nonzero weights",
    "test_HuberCircular": "a Huber penalty on norms",
    "test_TV": "total variation",
    "test_rMS": "a truncated sum of squares",
    "test_Weighted_Nuclear": "one strength per singular value",
}
TAU = 2.0
SIGMAS = [1.0, 2.0]


def flat(function):
    # A copy, because PyProximal changes its argument when an L2 has a linear part.
    return lambda w: np.asarray(function(np.array(w).ravel())).reshape(w.shape)


def penalties_agree(ours, theirs, weights=None, *, place=unit_by_unit, value=True, tau=TAU, **tolerance):
    """Costs, proximal steps, and those of the conjugate functions."""
    weights = drawn() if weights is None else weights
    if value:
        parts = (lambda w: np.ascontiguousarray(w.T)) if place is unit_by_unit else (lambda w: [w.ravel()])
        agree(ours, lambda w: sum(float(theirs(part)) for part in parts(w)), weights, narrow=2e-3)
    agree(lambda w: ours.prox(w, tau), place(lambda w: theirs.prox(w, tau)), weights, **tolerance)
    dual = jax.jit(jax.vmap(lambda w: w - tau * ours.prox(w / tau, 1 / tau)))(weights)
    expected = np.stack([place(lambda w: theirs.proxdual(w, tau))(w) for w in weights])
    close(dual, expected, tolerance.get("relative", 3e-6))


@pytest.mark.parametrize("sigma", SIGMAS)
def test_Euclidean(sigma):
    ours, theirs = jr.GroupLasso(sigma / FAN_IN**0.5), proximal.Euclidean(sigma)
    penalties_agree(ours, theirs)
    close(jax.grad(ours)(drawn()[0]), unit_by_unit(theirs.grad)(drawn()[0]), 3e-6)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_L2_diff(sigma):
    reference = drawn(FAN_IN, UNITS, seed=1)
    ours, theirs = jr.ToReference(jr.L2(sigma / 2), reference), proximal.L2(b=reference.ravel(), sigma=sigma)
    penalties_agree(ours, theirs, place=flat)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_L2_x(sigma):
    ours, theirs = jr.L2(sigma / 2), proximal.L2(sigma=sigma)
    penalties_agree(ours, theirs, place=flat)
    close(jax.grad(ours)(drawn()[0]), flat(theirs.grad)(drawn()[0]), 3e-6)
    slope = drawn(FAN_IN, UNITS, seed=1)  # a linear part moves the argument of the proximal step
    theirs = proximal.L2(sigma=sigma, q=slope.ravel())
    stepped = flat(lambda w: theirs.prox(w, TAU))
    agree(lambda w: ours.prox((w - TAU * slope).astype(w.dtype), TAU), stepped, narrow=2**-6)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_L1(sigma):
    penalties_agree(jr.L1(sigma), proximal.L1(sigma))


def test_L1_func():
    weights = drawn(FAN_IN)
    theirs = proximal.L1(lambda call: 0.1 * call)  # calls are counted from 1
    tx = jr.proximal({"kernel": jr.L1(lambda step: 0.1 * (step + 1))}, 1.0)
    params = {"kernel": jnp.asarray(weights)}
    state, still = tx.init(params), {"kernel": jnp.zeros(FAN_IN)}
    for _ in range(3):
        updates, state = tx.update(still, state, params)
        params = optax.apply_updates(params, updates)
        weights = theirs.prox(weights, 1.0)
        close(params["kernel"], weights, 3e-6)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_L1_diff(sigma):
    reference = drawn(FAN_IN, UNITS, seed=1)
    ours, theirs = jr.ToReference(jr.L1(sigma), reference), proximal.L1(sigma, g=reference.ravel())
    penalties_agree(ours, theirs, place=flat)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_L21(sigma):
    penalties_agree(jr.GroupLasso(sigma / 2**0.5), proximal.L21(2, sigma), drawn(8, 2, 8), place=flat)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_L21_plus_L1(sigma):
    theirs = proximal.L21_plus_L1(sigma / 10, rho=0.8)
    l1, groups = jr.L1(0.8 * sigma / 10), jr.GroupLasso(0.2 * sigma / 10 / FAN_IN**0.5)
    agree(lambda w: l1(w) + groups(w), lambda w: np.float64(theirs(w)), narrow=2e-3)
    agree(lambda w: groups.prox(l1.prox(w, TAU), TAU), lambda w: theirs.prox(w, TAU), narrow=2**-6)


@pytest.mark.parametrize("alpha", SIGMAS)
def test_Huber(alpha):
    ours, theirs = jr.Huber(1 / alpha, delta=alpha), proximal.Huber(alpha)
    penalties_agree(ours, theirs, drawn(scale=0.2), tau=TAU)
    # Between α and α + τ PyProximal soft-thresholds, which is not the minimum.
    weights = drawn(scale=3.0)
    sizes = np.abs(weights)
    same = (sizes <= alpha) | (sizes > alpha + TAU)
    found = np.asarray(jax.jit(lambda w: ours.prox(w, TAU))(weights))
    expected = theirs.prox(weights, TAU)
    close(found[same], expected[same], 3e-6)

    def cost(z):
        return TAU * (np.where(np.abs(z) <= alpha, z**2 / (2 * alpha), np.abs(z) - alpha / 2)) + (z - weights) ** 2 / 2

    assert np.all(cost(found) <= cost(expected) + 1e-5)
    assert np.any(cost(found) < cost(expected) - 0.1)


def test_Nuclear_FOM():
    matrix = np.float32([[1, 2, 3], [4, 5, 6]])
    published = [[1.4089, 1.8613, 2.3137], [3.3640, 4.4441, 5.5242]]  # by the toolbox FOM, to 4 digits
    found = jr.Nuclear(1.0).prox(jnp.asarray(matrix), 1.0)
    np.testing.assert_allclose(found, published, atol=6e-5)
    close(found, flat(lambda w: proximal.Nuclear((2, 3)).prox(w, 1.0))(matrix), 3e-6)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_Nuclear(sigma):
    theirs = proximal.Nuclear((FAN_IN, UNITS), sigma)
    penalties_agree(jr.Nuclear(sigma), theirs, place=flat, relative=2e-5, narrow=2**-6)
