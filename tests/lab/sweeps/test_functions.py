"""Functions as users write them: a sweep of each is plain `vmap` to 1e-5, with the same bits each time."""

import runpy
from itertools import product
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxreg.lab import sweep

MODULE = runpy.run_path(str(Path(__file__).parents[3] / "scripts" / "bench" / "functions.py"))
SLOW = {"mlp", "linen", "nnx", "equinox", "cnn", "gru", "transformer", "ppo"}  # seconds to compile


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in MODULE["FUNCTIONS"]]
)
def test_a_sweep_of_a_users_function_is_plain_vmap(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, _ = MODULE["FUNCTIONS"][name]
    if "trained" in make.__code__.co_names:  # few steps: roundings grow with each
        trained = make.__globals__["trained"]
        monkeypatch.setitem(make.__globals__, "trained", lambda init, loss, steps: trained(init, loss, 5))
    monkeypatch.setitem(make.__globals__, "UPDATES", 2)  # a rounding can turn an action round
    run = make()
    rates, seeds = MODULE["points"](16)
    rates = rates[:2]
    found = sweep(run, {"rate": rates, "seed": seeds}, progress=False)
    rate, seed = (np.array(values) for values in zip(*product(rates, seeds), strict=True))
    for output, values in jax.jit(jax.vmap(run))(rate, seed).items():
        np.testing.assert_allclose(found[output], values.reshape(found[output].shape), rtol=1e-5, atol=1e-5)
    assert sweep(run, {"rate": rates, "seed": seeds}, progress=False).identical(found)
