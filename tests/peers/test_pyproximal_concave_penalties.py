"""Cases of PyProximal's `test_concave_penalties.py` (0.13.0), on drawn arrays. A test has the name of the case."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.exams import agree, close, drawn
from pyproximal import proximal

import jaxreg as jr

SUITE = "PyProximal: concave penalties"
NOT_IN_SCOPE = {
    "test_ETP_sigma_gamma_neg": "the exponential-type penalty",
    "test_ETP": "the exponential-type penalty",
    "test_Geman_sigma_gamma_neg": "Geman's penalty",
    "test_Geman": "Geman's penalty",
}
WIDE = drawn(scale=4.0)


def flat(function):
    return lambda w: np.asarray(function(np.array(w).ravel())).reshape(w.shape)


def steps_agree(ours, theirs, tau):
    # In bfloat16 a weight next to a threshold may land on its other side.
    found = jax.jit(jax.vmap(lambda w: ours.prox(w, tau)))(WIDE)
    close(found, np.stack([flat(lambda w: theirs.prox(w, tau))(w) for w in WIDE]), 1e-5)


def no_worse(ours, value, theirs, tau, some_better=True):
    """Check that `ours` has the smaller objective where the steps differ. `value` maps weights to costs."""
    weights = np.float64(WIDE[0])
    found = np.float64(ours.prox(jnp.asarray(WIDE[0]), tau))
    expected = flat(lambda w: theirs.prox(w, tau))(weights)
    ends = [tau * value(z) + (z - weights) ** 2 / 2 for z in (found, expected)]
    assert np.all(ends[0] <= ends[1] + 1e-5 * (1 + np.abs(ends[1])))
    assert not some_better or np.any(ends[0] < ends[1] - 1e-2)


def test_SCAD_sigmaneg():
    for make in (jr.SCAD, proximal.SCAD):
        with pytest.raises(ValueError, match=r"-1|must be positive"):
            make(-1.0)
        with pytest.raises(ValueError, match=r"1\.7|must be larger"):
            make(1.0, 1.7)


@pytest.mark.parametrize(("sigma", "a"), [(1.0, 2.1), (2.0, 3.7)])
def test_SCAD(sigma, a):
    ours, theirs = jr.SCAD(sigma, a), proximal.SCAD(sigma, a)
    for weights in (drawn(scale=0.1), WIDE):
        agree(ours, lambda w: np.float64(theirs(w.ravel())), weights, narrow=2e-3)
    assert float(ours(drawn()[0] * 0.1)) == pytest.approx(sigma * np.sum(np.abs(drawn()[0] * 0.1)), rel=1e-6)
    steps_agree(ours, theirs, (a - 1) / 2)
    no_worse(ours, theirs.elementwise, theirs, a, some_better=False)  # from a - 1 on there is no linear part


def test_Log_Log1_neg():
    for make in (jr.LogSum, proximal.Log):
        with pytest.raises(ValueError, match=r"-1|must be positive"):
            make(-1.0)
        with pytest.raises(ValueError, match=r"-1|must be positive"):
            make(1.0, -1.0)
    with pytest.raises(ValueError, match="must be positive"):
        proximal.Log1(1.0, delta=-1.0)


@pytest.mark.parametrize(("sigma", "gamma"), [(1.0, 0.5), (2.0, 5.0)])
def test_Log(sigma, gamma):
    ours, theirs = jr.LogSum(sigma / np.log1p(gamma), epsilon=1 / gamma), proximal.Log(sigma, gamma)
    agree(ours, lambda w: np.float64(theirs(w.ravel())), WIDE, narrow=2e-3)
    for tau in (0.5, 2.0):
        steps_agree(ours, theirs, tau)


@pytest.mark.parametrize("delta", [0.5, 1.0])
def test_Log1(delta):
    theirs = proximal.Log1(1.0, delta)
    shift = WIDE[0].size * np.log(delta)
    agree(lambda w: jr.LogSum(1.0, delta)(w) + shift, lambda w: np.float64(theirs(w.ravel())), WIDE, narrow=2e-3)
    # Its step is that of half of the penalty, and the stationary point even where 0 is better.
    no_worse(jr.LogSum(0.5, delta), lambda z: theirs.elementwise(z) / 2, theirs, 8.0)


@pytest.mark.parametrize("mu", [0.5, 1.5])
def test_QuadraticEnvelopeCard(mu):
    ours, theirs = jr.MCP((2 * mu) ** 0.5, gamma=1.0), proximal.QuadraticEnvelopeCard(mu)
    agree(ours, lambda w: np.float64(theirs(w.ravel())), WIDE, narrow=2e-3)
    steps_agree(ours, theirs, 0.25)
    # From τ = 1 on it thresholds at √2μ for every τ. The minimum needs √2μτ.
    no_worse(ours, theirs.elementwise, theirs, 1.25)
