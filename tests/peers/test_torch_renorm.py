"""Samples of PyTorch's operator tests (2.13.0) for `torch.renorm`, on drawn arrays: one case."""

import jax.numpy as jnp
import pytest
import torch
from helpers.exams import agree, close, drawn

import jaxreg as jr

SUITE = "PyTorch: renorm"
NOT_IN_SCOPE = {}


@pytest.mark.parametrize(("dim", "limit"), [(1, 0.5), (-1, 0.5), (0, 2.0)])
def test_renorm(dim, limit):
    # Of PyTorch's samples those with p = 2: for other norms it scales too, which is not the nearest point.
    axes = tuple(axis for axis in range(3) if axis != dim % 3)
    rule = jr.MaxNorm(limit, axis=axes)
    agree(rule, lambda w: torch.renorm(torch.tensor(w), 2, dim, limit).numpy(), drawn(8, 5, 4, 8))
    inside = drawn(5, 4, 8, scale=1e-3)
    close(rule(jnp.asarray(inside)), torch.renorm(torch.tensor(inside), 2, dim, limit).numpy(), 0.0)
