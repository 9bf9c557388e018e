"""Cases of geotorch's `test/test_integration.py` (0.4.0): its manifolds. A test has the name of the case.

Geotorch reparametrises weights, and jaxreg projects them. So a sample of a manifold must be a fixed point of the
projection, a projection must lie in the manifold by geotorch's own test, and so must weights after gradient steps.
"""

import geotorch
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from geotorch.psd import PSD
from geotorch.pssd import PSSD
from geotorch.so import SO
from geotorch.sphere import Sphere, SphereEmbedded
from geotorch.stiefel import Stiefel
from helpers.exams import agree, close, drawn

import jaxreg as jr

SUITE = "geotorch: manifolds"
NOT_IN_SCOPE = {
    "test_rank": "matrices of a given rank",
    "test_pssd_rank": "matrices of a given rank",
    "test_almost_orthogonal": "a lower limit on singular values",
}
SQUARES = [(n, n) for n in (1, 2, 3, 7)]
SIZES = [*SQUARES, (3, 1), (1, 3), (2, 4), (8, 2), (1, 7)]


def manifold_agrees(rule, manifold, size, *, projection=None, closed=True, samples=({},)):
    """`projection` is the nearest point in PyTorch. Without `closed` only samples, not projections, are tested."""
    for seed, options in enumerate(samples):
        torch.manual_seed(seed)
        sample = manifold.sample(**options)
        sample = sample if isinstance(sample, torch.Tensor) else manifold(manifold.right_inverse(sample))
        start = np.asarray(sample.detach())
        close(rule(jnp.asarray(start)), start, 2e-5)
        inside = torch.tensor(np.asarray(rule(drawn(*size, seed=seed))))
        assert not closed or manifold.in_manifold(inside)
        tx = jr.regularize(optax.sgd(1e-3), constraints={"kernel": rule})
        params = {"kernel": jnp.asarray(start)}
        state = tx.init(params)
        inputs = drawn(3, size[0], seed=seed)
        for _ in range(3):
            slope = jax.grad(lambda p, inputs=inputs: jnp.mean(inputs @ p["kernel"]))(params)
            updates, state = tx.update(slope, state, params)
            params = optax.apply_updates(params, updates)
            assert not closed or manifold.in_manifold(torch.tensor(np.asarray(params["kernel"])))
    if projection is not None:
        stack = drawn(8, *size[:-1], 8)
        agree(rule, lambda w: projection(torch.tensor(w)).numpy(), stack, relative=1e-4, narrow=2**-4)


def polar(w):
    left, _, right = torch.linalg.svd(w, full_matrices=False)
    return left @ right


def nearest_semidefinite(w):
    values, vectors = torch.linalg.eigh((w + w.mT) / 2)
    return vectors @ (values.clamp(min=0)[:, None] * vectors.mT)


DRAWS = [{"distribution": "uniform"}, {"distribution": "torus"}]


@pytest.mark.parametrize("size", SQUARES)
def test_so(size):
    manifold = SO(size)
    manifold_agrees(jr.Orthonormal(), manifold, size, samples=DRAWS)
    start = np.asarray(manifold.sample().detach())
    found = np.asarray(jr.Orthonormal()(jnp.asarray(start + 0.1 * drawn(*size))))
    assert manifold.in_manifold(torch.tensor(found), in_so=True)  # a small step does not change the determinant


@pytest.mark.parametrize("size", SIZES)
def test_orthogonal(size):
    project = polar if size in ((3, 1), (2, 4)) else None
    manifold_agrees(jr.Orthonormal(), Stiefel(size), size, samples=DRAWS, projection=project)


@pytest.mark.parametrize("size", [(2, 2), (3, 3), (7, 7)])
def test_psd_and_glp(size):
    rule = jr.PositiveSemidefinite()
    manifold_agrees(rule, PSSD(size), size, samples=[{}, {}])
    manifold_agrees(rule, PSD(size), size, samples=[{}, {}], closed=False)  # positive definite: an open set
    if size == (7, 7):
        agree(
            rule, lambda w: nearest_semidefinite(torch.tensor(w)).numpy(), drawn(8, 8, 8), relative=1e-5, narrow=2**-5
        )


@pytest.mark.parametrize("radius", [0.01, 1.0, 2.0, 10.0])
def test_sphere(radius):
    rule = jr.MinMaxNorm(radius, radius, axis=-1)
    for make in (Sphere, SphereEmbedded):
        for size in ((3, 1), (2, 7), (8, 2)):
            manifold_agrees(rule, make(size, radius), size)
    embedded = SphereEmbedded((16, 8), radius)
    agree(rule, lambda w: embedded(torch.tensor(w)).numpy())
    layer = torch.nn.Linear(8, 16)
    geotorch.sphere(layer, "weight", radius)
    close(rule(jnp.asarray(layer.weight.detach().numpy())), layer.weight.detach().numpy(), 3e-6)
