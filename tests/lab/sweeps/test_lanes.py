"""Lanes of large operations run one after the other, lanes of small ones together; results are those of a loop."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxreg.lab import CNN, LSTM, MLP, Labelled, Problem, Recipe, fit, linen, open_store, tutorial_moons
from jaxreg.lab.datasets import digits, digits_by_row
from jaxreg.lab.sweeps import program
from jaxreg.lab.sweeps.chunk_size import cores
from jaxreg.lab.sweeps.engine import sweep
from jaxreg.lab.sweeps.grid import make_grid
from jaxreg.lab.sweeps.lanes import BATCHED, IN_TURN, REWRITTEN, SUMMED, TOGETHER, UNROLLED
from jaxreg.lab.sweeps.program import Program
from jaxreg.lab.sweeps.store import open_folder
from jaxreg.lab.training.metrics import squared_error

AXES = {"rate": [1e-3, 1e-2], "seed": range(5)}
ROWS = np.random.default_rng(0).normal(size=(64, 16)).astype(np.float32)


def train(rate: Any, seed: Any) -> dict[str, Any]:
    """A net on data in the closure, as a user writes it."""
    x, y = jnp.asarray(ROWS[:, 1:]), jnp.asarray(ROWS[:, 0])
    first, second = jax.random.split(jax.random.key(seed))
    params = {"w": jax.random.normal(first, (15, 128)) / 4, "v": jax.random.normal(second, (128,)) / 11}
    adam = optax.adam(rate)

    def loss(p: Any) -> Any:
        return jnp.mean((jax.nn.relu(x @ p["w"]) @ p["v"] - y) ** 2)

    def step(carry: Any, _: None) -> Any:
        params, state = carry
        value, slope = jax.value_and_grad(loss)(params)
        updates, state = adam.update(slope, state)
        return (optax.apply_updates(params, updates), state), value

    _, losses = jax.lax.scan(step, (params, adam.init(params)), None, 50)
    return {"loss": losses}


def decay(rate: Any, seed: Any) -> dict[str, Any]:
    """Steps of a differential equation."""
    return {"end": jax.lax.fori_loop(0, 100, lambda _, z: z - rate * z, 1.0 + seed)}


def descend(rate: Any, seed: Any) -> dict[str, Any]:
    """A net as in `train`, whose products are all fast."""
    return {"end": jax.lax.fori_loop(0, 9, lambda _, z: jnp.tanh(z @ z), jnp.full((200, 200), rate + seed))}


def convolved(rate: Any, seed: Any) -> dict[str, Any]:
    """A convolution and its gradient."""
    pictures = jnp.asarray(ROWS).reshape(16, 8, 8, 1)

    def loss(kernel: Any) -> Any:
        spec = ("NHWC", "HWIO", "NHWC")
        return jnp.sum(jnp.sin(jax.lax.conv_general_dilated(pictures, kernel, (1, 1), "SAME", dimension_numbers=spec)))

    return {"slope": jax.grad(loss)(jax.random.normal(jax.random.key(seed), (3, 3, 1, 4)) * rate)}


def small(rate: Any, seed: Any) -> dict[str, Any]:
    """Operations of 4 kB in a loop that keeps 60 kB in use."""

    def step(centres: Any, _: None) -> Any:
        far = ((ROWS[:, None] - centres) ** 2).sum(2)
        return centres + rate * jnp.exp(-far).T @ ROWS, None

    return {"centres": jax.lax.scan(step, seed + jnp.ones((4, 16)), None, 5)[0]}


def recurrent(rate: Any, seed: Any) -> dict[str, Any]:
    """A gated cell over sequences of four steps, for one row under `vmap`, and its gradients."""
    keys = jax.random.split(jax.random.key(seed), 3)
    shapes = {"inputs": (96, 4), "hidden": (96, 32), "output": (32,)}
    params = {name: jax.random.normal(key, shapes[name]) / 6 for key, name in zip(keys, shapes, strict=True)}

    def output(p: Any, rows: Any) -> Any:
        def cell(state: Any, row: Any) -> Any:
            inner, outer = jnp.split(p["inputs"] @ row, 3), jnp.split(p["hidden"] @ state, 3)
            gate, reset = (jax.nn.sigmoid(a + b) for a, b in zip(inner[:2], outer[:2], strict=True))
            new = jnp.tanh(inner[2] + reset * outer[2])
            return gate * state + (1 - gate) * new, None

        return jax.lax.scan(cell, jnp.zeros(32), rows)[0] @ p["output"]

    def loss(p: Any) -> Any:
        return jnp.mean((jax.vmap(output, (None, 0))(p, ROWS.reshape(64, 4, 4)) - ROWS[:, 0]) ** 2)

    def step(p: Any, _: None) -> Any:
        value, slope = jax.value_and_grad(loss)(p)
        return jax.tree.map(lambda w, g: w - rate * g, p, slope), value

    return {"loss": jax.lax.scan(step, params, None, 20)[1]}


def sequences(rate: Any, seed: Any) -> dict[str, Any]:
    """A recurrent net of the laboratory."""
    data = digits_by_row([0], train=100)
    data = data._replace(y_train=data.y_train / 9.0, x_test=data.x_test[:, :100], y_test=data.y_test[:, :100] / 9.0)
    net = linen(LSTM(units=(32,), outputs=1), (8, 8))
    problem = Problem(net, data, 2, squared_error, {}, batch_size=100, record_every=1)
    return fit(problem, Recipe(learning_rate=rate), jax.random.key(seed), 0 * seed)


def pictures(rate: Any, seed: Any) -> dict[str, Any]:
    """A convolutional net of the laboratory."""
    data = digits([0], train=100)
    data = data._replace(y_train=data.y_train / 9.0, x_test=data.x_test[:, :100], y_test=data.y_test[:, :100] / 9.0)
    net = linen(CNN(filters=(16,), outputs=1), (8, 8, 1))
    problem = Problem(net, data, 2, squared_error, {}, batch_size=100, record_every=1)
    return fit(problem, Recipe(learning_rate=rate), jax.random.key(seed), 0 * seed)


def trained(rate: Any, seed: Any) -> dict[str, Any]:
    """A net of the laboratory, whose operations are as large as those of `train`."""
    problem = Problem(linen(MLP(hidden=500), (2,)), tutorial_moons(), epochs=10, record_every=10)
    return fit(problem, Recipe(learning_rate=rate), jax.random.key(seed), 0 * seed)


def shared(rate: Any, seed: Any) -> dict[str, Any]:
    """The same net. All runs have the same data."""
    problem = Problem(linen(MLP(hidden=500), (2,)), tutorial_moons(), epochs=10, record_every=10)
    return fit(problem, Recipe(learning_rate=rate), jax.random.key(seed), 0)


@pytest.mark.parametrize(
    ("run", "lanes"),
    [
        (train, REWRITTEN),
        (descend, IN_TURN),
        (convolved, REWRITTEN),
        (decay, BATCHED),
        (small, BATCHED),
        (recurrent, REWRITTEN),
        (sequences, BATCHED),
        (pictures, BATCHED),
        (trained, BATCHED),
        (shared, REWRITTEN),
    ],
)
def test_large_operations_run_in_turn_but_those_of_fit(run: Any, lanes: str) -> None:
    program = Program(run, make_grid(AXES))
    assert program.arranged == lanes
    assert program.identity.get("lanes", BATCHED) == lanes
    assert Program(run, make_grid(AXES), chunk=5).arranged == (REWRITTEN if run is convolved else BATCHED)


@pytest.fixture
def much(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sweep counts as much work."""
    monkeypatch.setattr(program, "_SOME", 0)


@pytest.mark.parametrize(
    ("run", "lanes"),
    [
        (train, REWRITTEN),
        (convolved, REWRITTEN),
        (decay, BATCHED),
        (recurrent, UNROLLED),
        (sequences, UNROLLED),
        (pictures, REWRITTEN),
        (trained, SUMMED),
        (shared, REWRITTEN),
    ],
)
def test_short_loops_of_much_work_are_unrolled(run: Any, lanes: str, much: None) -> None:
    assert Program(run, make_grid(AXES)).arranged == lanes
    assert Program(run, make_grid(AXES), chunk=5).arranged == (REWRITTEN if run is convolved else BATCHED)


def test_unrolled_loops_are_no_loops(much: None) -> None:
    def loops(arranged: str) -> int:
        return str(Program(recurrent, make_grid(AXES), arranged=arranged)._text).count("stablehlo.while")

    assert loops(REWRITTEN) - loops(UNROLLED) == 2  # one there and one back


def test_the_mark_of_fit_is_in_no_program() -> None:
    def marked(x: Any) -> Any:
        with jax.named_scope(TOGETHER):
            return jax.lax.scan(lambda x, _: (jnp.sin(x), None), x, None, 3)[0]

    def plain(x: Any) -> Any:
        return jax.lax.scan(lambda x, _: (jnp.sin(x), None), x, None, 3)[0]

    texts = {jax.jit(lambda x, run=run: run(x)).lower(1.0).as_text() for run in (marked, plain)}
    assert len(texts) == 1


@pytest.mark.parametrize("run", [train, convolved, decay, recurrent, pictures, trained, shared])
def test_a_sweep_is_a_loop_however_its_lanes_run(run: Any, tmp_path: Path, much: None) -> None:
    found = sweep(run, AXES, tmp_path)
    one = jax.jit(run)
    for rate in AXES["rate"]:
        for seed in AXES["seed"]:
            for name, values in one(np.float32(rate), seed).items():
                expected = values.values if isinstance(values, Labelled) else values
                np.testing.assert_allclose(found[name].sel(rate=rate, seed=seed), expected, rtol=1e-5, atol=1e-6)


def test_a_store_keeps_the_arrangement_that_it_began_with(tmp_path: Path) -> None:
    here = sweep(train, AXES, tmp_path / "new").load()
    assert open_folder(tmp_path / "new").manifest.identity["lanes"] == REWRITTEN
    (tmp_path / "new" / "chunk-00000003.npz").unlink()
    assert sweep(train, AXES, tmp_path / "new").load().identical(here)
    old = sweep(train, AXES, tmp_path / "old", chunk=4).load()
    (tmp_path / "old" / "chunk-00000001.npz").unlink()
    again = sweep(train, AXES, tmp_path / "old").load()
    assert again.identical(old)
    assert "lanes" not in again.attrs
    with ThreadPoolExecutor(1) as executor:
        there = sweep(train, AXES, executor=executor)
    assert there.attrs["lanes"] == REWRITTEN
    np.testing.assert_array_equal(there["loss"], here["loss"])


@pytest.mark.parametrize(("run", "lanes"), [(recurrent, UNROLLED), (trained, SUMMED)])
def test_a_store_of_much_work_goes_on_where_it_counts_as_little(
    run: Any, lanes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as first:
        first.setattr(program, "_SOME", 0)
        whole = sweep(run, AXES, tmp_path).load()
    assert whole.attrs["lanes"] == lanes
    first_chunk, second_chunk, *_ = sorted(tmp_path.glob("chunk-*.npz"))
    first_chunk.unlink()
    assert sweep(run, AXES, tmp_path).load().identical(whole)
    second_chunk.unlink()
    with ThreadPoolExecutor(1) as executor:
        assert sweep(run, AXES, tmp_path, executor=executor).load().identical(whole)


def test_a_store_from_before_programs_were_rewritten_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as before:
        before.setattr(program, "arrangement", lambda jaxpr, free, much: IN_TURN)
        whole = sweep(train, AXES, tmp_path).load()
    (tmp_path / "chunk-00000003.npz").unlink()
    assert sweep(train, AXES, tmp_path).load().identical(whole)
    assert whole.attrs["lanes"] == IN_TURN


SPLIT = {
    "a product": lambda x: {"y": jnp.ones((300, 300)) @ (x * jnp.ones((300, 300)))},
    "in a loop": lambda x: {"y": jax.lax.fori_loop(0, 2, lambda _, z: jnp.sin(z * jnp.ones(2**17)).sum(), x)},
    "a factorisation": lambda x: {"y": jnp.linalg.cholesky(x * jnp.eye(300))[0]},
    "a convolution": lambda x: {"y": jnp.sum(jax.scipy.signal.convolve(x * jnp.ones((400, 400)), jnp.ones((9, 9))))},
}
WHOLE = {
    "a product": lambda x: {"y": jnp.ones((99, 99)) @ (x * jnp.ones((99, 99)))},
    "a sum": lambda x: {"y": jnp.sum(x * jnp.ones((30, 500)), 0)},
    "many": lambda x: {"y": jax.lax.fori_loop(0, 10**6, lambda _, z: jnp.ones((9, 9)) @ z, x * jnp.ones(9))},
    "a large array": lambda x: {"y": jnp.sin(x * jnp.ones(2**17))},
}


@pytest.mark.parametrize("case", [*((run, True) for run in SPLIT.values()), *((run, False) for run in WHOLE.values())])
def test_cores_name_the_sweeps_whose_bits_depend_on_them(case: Any) -> None:
    run, split = case
    identity = Program(run, make_grid({"x": [1.0, 2.0]})).identity
    assert identity.get("cores") == (str(cores()) if split else None)


def test_a_store_from_before_cores_were_recorded_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(x: jax.Array) -> dict[str, jax.Array]:
        return {"total": (jnp.arange(40_000, dtype=jnp.float32) * x).sum()}

    over = {"x": [1.0, 2.0, 3.0]}
    with monkeypatch.context() as before:
        before.setattr(program, "is_split", lambda jaxpr: False)
        whole = sweep(run, over, tmp_path, chunk=1, progress=False)["total"].values.tolist()
    assert "cores" not in open_store(tmp_path).attrs
    (tmp_path / "chunk-00000001.npz").unlink()
    assert sweep(run, over, tmp_path, chunk=1, progress=False)["total"].values.tolist() == whole
    assert sweep(run, over, tmp_path / "new", chunk=1, progress=False).attrs["cores"] == str(cores())


ON_CORES = """
import os, pathlib, sys
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[2])])
import jax, jax.numpy as jnp, numpy as np
from jaxreg.lab import sweep

def net(rows):
    data = np.random.default_rng(0).normal(size=(rows, 784)).astype(np.float32)
    def run(seed):
        step = lambda w, _: (w + 1e-3 * data.T @ jnp.tanh(data @ w), None)
        return {"w": jax.lax.scan(step, jax.random.normal(jax.random.key(seed), (784, 4)), None, 3)[0]}
    return run

for rows in (32, 2048):
    try:
        sweep(net(rows), {"seed": range(12)}, pathlib.Path(sys.argv[1], str(rows)), chunk=4)
    except ValueError as error:
        print(error)
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or cores() < 2, reason="needs two cores, and a choice of them")
def test_one_core_ends_the_store_of_two_with_the_same_bits_or_refuses_it(tmp_path: Path) -> None:
    def on(count: int) -> str:
        command = [sys.executable, "-c", ON_CORES, str(tmp_path), str(count)]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout

    def content() -> dict[Path, bytes]:
        return {file.relative_to(tmp_path): file.read_bytes() for file in tmp_path.glob("*/*") if file.suffix != ".tmp"}

    assert on(2) == ""
    whole = content()
    for lost in tmp_path.glob("*/chunk-00000001.npz"):
        lost.unlink()
    large = tmp_path / "2048"
    assert f"the store {large} belongs to another sweep: cores is '2' in the store and '1' in this sweep" in on(1)
    assert content() == {name: raw for name, raw in whole.items() if name != Path("2048", "chunk-00000001.npz")}
    assert on(2) == ""
    assert content() == whole
