"""Functions as users write them: a sweep of each is plain `vmap` to 1e-5, with the same bits each time.

In float32 rounding errors grow with each step of a training, so few steps are taken, and 200 in float64.
"""

import runpy
from itertools import product
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jaxreg.lab import sweep
from jaxreg.lab.sweeps import program

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


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(MODULE["FUNCTIONS"]) - {"kmeans"}))  # whose loop stays in float32
def test_a_sweep_of_200_steps_is_plain_vmap(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, _ = MODULE["FUNCTIONS"][name]
    whole = make.__globals__["trained"]

    def trained(init: Any, loss: Any, steps: int) -> Any:
        return whole(lambda key: jax.tree.map(lambda w: w.astype(np.float64), init(key)), loss, 200)

    monkeypatch.setitem(make.__globals__, "trained", trained)
    monkeypatch.setattr(program, "_SOME", 0)  # loops over short sequences are unrolled, as in a long sweep
    with jax.enable_x64(True):
        run = make()
        rates, seeds = (values.astype(float) if values.dtype.kind == "f" else values for values in MODULE["points"](8))
        found = sweep(run, {"rate": rates[:2], "seed": seeds}, progress=False)
        rate, seed = (np.array(values) for values in zip(*product(rates[:2], seeds), strict=True))
        for output, values in jax.jit(jax.vmap(run))(rate, seed).items():
            np.testing.assert_allclose(found[output], values.reshape(found[output].shape), rtol=1e-5, atol=1e-5)
