"""Programs that call Python: a store takes their results only under the version that a token names."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import io_callback

from jaxreg.lab.sweeps.engine import sweep

SCALAR = jax.ShapeDtypeStruct((), np.float32)
AXIS = {"x": [1.0, 2.0]}


def times(factor: float) -> Any:
    """A function on the host that multiplies."""
    return lambda v: np.float32(factor * v)


def pure(x: Any, factor: float = 2.0) -> Any:
    return jax.pure_callback(times(factor), SCALAR, x, vmap_method="sequential")


@jax.custom_jvp
def with_derivative(x: Any) -> Any:
    return pure(x)


with_derivative.defjvp(lambda x, dx: (with_derivative(*x), 2.0 * dx[0]))


@jax.custom_batching.custom_vmap
def only_batched(x: Any) -> Any:
    return 2.0 * x


@only_batched.def_vmap
def _batched(size: int, batched: Any, x: Any) -> Any:
    shape = jax.ShapeDtypeStruct((size,), np.float32)
    return jax.pure_callback(lambda v: np.asarray(2.0 * v, np.float32), shape, x), True


def in_a_loop(x: Any) -> Any:
    return jax.lax.scan(lambda x, _: (jax.lax.cond(x > 0, pure, lambda x: x, x), None), x, None, 1)[0]


CALLING = {
    "pure_callback": pure,
    "io_callback": lambda x: io_callback(times(2.0), SCALAR, x),
    "in a loop and a branch": in_a_loop,
    "in a nested jit": lambda x: jax.jit(jax.checkpoint(pure))(x),
    "with a derivative of its own": lambda x: jax.value_and_grad(with_derivative)(x)[0],
    "under vmap alone": only_batched,
}


@pytest.mark.parametrize("twice", CALLING.values(), ids=CALLING)
@pytest.mark.parametrize("executor", [None, ThreadPoolExecutor(1)], ids=["here", "there"])
def test_a_program_that_calls_python_is_kept_under_a_token_only(twice: Any, executor: Any, tmp_path: Path) -> None:
    def run(x: Any) -> dict[str, Any]:
        return {"y": twice(x)}

    with pytest.raises(ValueError, match=r"outside of JAX \(\w+_callback\), and a store can't notice .* token='1'"):
        sweep(run, AXIS, tmp_path / "store", executor=executor)
    assert not list(tmp_path.iterdir())
    for options in ({}, {"store": tmp_path / "store", "token": "1"}):
        found = sweep(run, AXIS, executor=executor, **options)  # type: ignore[arg-type]
        assert found["y"].values.tolist() == [2.0, 4.0]


def test_another_token_is_another_sweep(tmp_path: Path) -> None:
    for factor in (2.0, 3.0):
        store, token = tmp_path / str(factor), f"times {factor}"
        found = sweep(lambda x, by=factor: {"y": pure(x, by)}, AXIS, store, token=token)
        assert found["y"].values.tolist() == [factor, 2 * factor]
        with pytest.raises(ValueError, match=f"token is 'times {factor}' in the store and '4' in this sweep"):
            sweep(lambda x, by=factor: {"y": pure(x, by)}, AXIS, store, token="4")


def test_a_store_never_gives_the_values_of_another_callback(tmp_path: Path) -> None:
    twice, thrice = ({"y": pure}, {"y": lambda x: pure(x, 3.0)})

    def of(functions: Any, **options: Any) -> Any:
        return sweep(lambda x: {name: f(x) for name, f in functions.items()}, {"x": [3.0]}, **options)["y"].item()

    assert (of(twice), of(thrice)) == (6.0, 9.0)
    assert of(twice, store=tmp_path / "2", token="2") == 6.0
    for token, said in ((None, "outside of JAX"), ("3", "token is '2' in the store and '3' in this sweep")):
        with pytest.raises(ValueError, match=said):
            of(thrice, store=tmp_path / "2", token=token)
    assert of(thrice, store=tmp_path / "3", token="3") == 9.0


def test_printing_needs_no_token(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def run(x: Any) -> dict[str, Any]:
        jax.debug.print("x is {}", x)
        jax.debug.callback(lambda x: None, x)
        return {"y": jnp.square(x)}

    assert sweep(run, AXIS, tmp_path)["y"].values.tolist() == [1.0, 4.0]


@pytest.mark.parametrize("token", ["", 3, "a\nb"])
def test_a_token_is_a_text(token: Any) -> None:
    with pytest.raises(ValueError, match="`token` must be a printable string, such as '1', got"):
        sweep(lambda x: {"y": x}, AXIS, token=token)
