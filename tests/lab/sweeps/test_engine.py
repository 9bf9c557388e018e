"""Sweeps held against plain loops, and against everything that can happen to one on its way."""

import hashlib
import linecache
import multiprocessing
import os
import pickle
import random
import re
import runpy
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from flax import nnx
from scipy.integrate import solve_ivp
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split

import jaxreg
from jaxreg.lab.labelled import Labelled
from jaxreg.lab.sweeps import program, splits
from jaxreg.lab.sweeps.chunk_size import CACHE, MOST, default_width, peak, traffic, working_set
from jaxreg.lab.sweeps.compilation import compile_with
from jaxreg.lab.sweeps.designs import choices, points
from jaxreg.lab.sweeps.engine import compute, sweep
from jaxreg.lab.sweeps.grid import make_grid
from jaxreg.lab.sweeps.joined import open_store
from jaxreg.lab.sweeps.manifest import Chunks
from jaxreg.lab.sweeps.progress import count_diverged
from jaxreg.lab.sweeps.runners import LocalRunner
from jaxreg.lab.sweeps.store import open_folder

ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES")}


def walk(scale: Any, seed: Any) -> dict[str, Any]:
    """A random walk: something that depends on every bit of its point."""
    steps = scale * jax.random.normal(jax.random.key(seed), (5,))
    return {"path": Labelled(jnp.cumsum(steps), ("step",)), "end": {"at": steps.sum(), "seed": jnp.asarray(seed)}}


WALKS = {"scale": [0.1, 1.0, 10.0], "seed": range(7)}


@cache
def walks_by_hand() -> dict[tuple[float, int], Any]:
    one = jax.jit(walk)
    return {(scale, seed): one(scale, seed) for scale in WALKS["scale"] for seed in WALKS["seed"]}


# What a sweep is


@pytest.mark.parametrize("chunk", [1, 4, 21, 64, None])
def test_a_sweep_is_a_loop(chunk: int | None) -> None:
    found = sweep(walk, WALKS, chunk=chunk, coords={"step": [1, 2, 3, 4, 5]})
    assert dict(found.sizes) == {"scale": 3, "seed": 7, "step": 5}
    assert found["path"].dims == ("scale", "seed", "step")
    assert found["end/seed"].dtype == np.int32
    assert found["step"].values.tolist() == [1, 2, 3, 4, 5]
    for (scale, seed), one in walks_by_hand().items():
        here = found.sel(scale=scale, seed=seed)
        np.testing.assert_allclose(here["path"].values, one["path"].values, rtol=1e-5, atol=1e-5 * scale)
        np.testing.assert_allclose(here["end/at"].item(), one["end"]["at"], rtol=1e-5, atol=1e-5 * scale)
        assert here["end/seed"].item() == seed


def test_a_ridge_regression_is_scikit_learns() -> None:
    x, y = load_diabetes(return_X_y=True)
    x = x / x.std(0)

    def run(alpha: Any) -> dict[str, Any]:
        a, b = jnp.asarray(x - x.mean(0)), jnp.asarray(y - y.mean())
        return {"coef": Labelled(jnp.linalg.solve(a.T @ a + alpha * jnp.eye(10), a.T @ b), ("feature",))}

    alphas = [0.1, 1.0, 10.0, 100.0]
    found = sweep(run, {"alpha": alphas})
    for alpha in alphas:
        np.testing.assert_allclose(found["coef"].sel(alpha=alpha), Ridge(alpha=alpha).fit(x, y).coef_, rtol=2e-3)


def test_an_ode_is_scipys() -> None:
    def run(mu: Any, start: Any) -> dict[str, Any]:
        def slope(z: jax.Array) -> jax.Array:
            return jnp.array([z[1], mu * (1 - z[0] ** 2) * z[1] - z[0]])

        def step(z: jax.Array, _: None) -> tuple[jax.Array, None]:
            k1 = slope(z)
            k2 = slope(z + 0.005 * k1)
            k3 = slope(z + 0.005 * k2)
            k4 = slope(z + 0.01 * k3)
            return z + 0.01 / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

        return {"end": jax.lax.scan(step, jnp.array([start, 0.0]), None, 300)[0]}

    found = sweep(run, {"mu": [0.5, 2.0], "start": [1.0, 2.0, 3.0]})
    for mu in (0.5, 2.0):
        for start in (1.0, 2.0, 3.0):
            exact = solve_ivp(
                lambda _, z, mu=mu: [z[1], mu * (1 - z[0] ** 2) * z[1] - z[0]], (0, 3), [start, 0], rtol=1e-9
            ).y[:, -1]
            np.testing.assert_allclose(found["end"].sel(mu=mu, start=start), exact, rtol=1e-3, atol=1e-3)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Recipe:
    rate: Any
    powers: Any


RECIPES = {
    "a list of pytrees": [Recipe(1.0, [2.0]), Recipe(3.0, [4.0])],
    "a stacked pytree": Recipe(np.array([1.0, 3.0]), [np.array([2.0, 4.0])]),
    "a dict of JAX arrays": {"rate": jnp.array([1.0, 3.0]), "powers": [jnp.array([2.0, 4.0])]},
}


@pytest.mark.parametrize("entries", RECIPES.values(), ids=RECIPES)
def test_an_axis_may_be_a_pytree(entries: Any) -> None:
    def run(recipe: Any, seed: Any) -> dict[str, Any]:
        rate, powers = (
            (recipe.rate, recipe.powers) if isinstance(recipe, Recipe) else (recipe["rate"], recipe["powers"])
        )
        return {"value": rate + 10 * powers[0] + 100 * seed}

    found = sweep(run, {"recipe": entries, "seed": [0, 1]}, coords={"recipe": ["one", "two"]})
    assert found["value"].sel(recipe="two").values.tolist() == [43.0, 143.0]
    assert sweep(run, {"recipe": entries, "seed": [0]})["recipe"].values.tolist() == [0, 1]


def test_an_axis_may_be_random_keys_or_vectors() -> None:
    keys = jax.random.split(jax.random.key(3), 4)
    found = sweep(lambda key, at: {"u": jax.random.uniform(key) + at[1]}, {"key": keys, "at": np.eye(2)})
    expected = np.array([[jax.random.uniform(key), jax.random.uniform(key) + 1] for key in keys])
    np.testing.assert_allclose(found["u"], expected, rtol=1e-6)


def test_zipped_axes_go_entry_by_entry() -> None:
    found = sweep(lambda a, b: {"sum": a + b}, {"a": [1.0, 2.0, 3.0], "b": [10, 20, 30]}, zipped=True, chunk=2)
    assert found["sum"].dims == ("lane",)
    assert found["sum"].values.tolist() == [11.0, 22.0, 33.0]
    assert found["a"].dims == found["b"].dims == ("lane",)


def test_narrow_types_widen_exactly_and_bools_stay() -> None:
    found = sweep(lambda x: {"b": x.astype(jnp.bfloat16), "positive": x > 0, "x64": x * 1}, {"x": [1.0, -2.5]})
    assert [found[name].dtype for name in ("b", "positive", "x64")] == [np.float32, bool, np.float32]
    assert found["b"].values.tolist() == [1.0, -2.5]


@pytest.mark.parametrize("kind", ["bfloat16", "float8_e4m3fn", "float16", "int4"])
def test_narrow_axes_have_coordinates_that_are_kept(kind: str, tmp_path: Path) -> None:
    found = sweep(square, {"x": jnp.array([1, 2], kind)}, tmp_path).load()
    assert found["x"].values.tolist() == [1, 2]
    assert found["y"].sel(x=2).item() == 4
    xr.testing.assert_identical(found, sweep(square, {"x": jnp.array([1, 2], kind)}))


@pytest.mark.parametrize("kind", ["int64", "uint8", "float64", "bool"])
def test_an_axis_that_was_pickled_is_the_axis_that_it_was(kind: str) -> None:
    """NumPy's `isbuiltin` is 0 for the type of an array that comes out of a pickle, as axes come to an executor."""
    values = np.arange(200).astype(kind) if kind != "bool" else np.array([False, True])
    given, pickled = (make_grid({"x": each}).axes[0] for each in (values, pickle.loads(pickle.dumps(values))))
    np.testing.assert_array_equal(pickled.leaves[0], given.leaves[0])
    assert pickled.leaves[0].dtype == given.leaves[0].dtype
    assert pickled.coordinate.dtype == given.coordinate.dtype


def test_run_may_close_over_a_random_key(tmp_path: Path) -> None:
    key = jax.random.key(7)

    def run(seed: Any) -> dict[str, Any]:
        return {"y": jax.random.normal(jax.random.fold_in(key, seed))}

    alone = [jax.random.normal(jax.random.fold_in(key, seed)).item() for seed in range(3)]
    assert sweep(run, {"seed": range(3)}, tmp_path)["y"].values.tolist() == alone
    key = jax.random.key(8)
    with pytest.raises(ValueError, match="the function that computes a run"):
        sweep(run, {"seed": range(3)}, tmp_path)


def test_attributes_say_what_was_run() -> None:
    first = sweep(walk, WALKS, chunk=4).attrs
    assert first["grid"] == "scale (3) x seed (7)"
    assert first["chunk"] == 4
    assert first["jax"] == jax.__version__
    assert {"jaxreg", "jaxlib", "numpy", "platform", "program", "sweep"} <= first.keys()
    offset = np.float32(1.0)
    hashes = [
        sweep(lambda x: {"y": x + offset}, {"x": [1.0]}).attrs["program"],
        sweep(lambda x: {"y": x + np.float32(1.0)}, {"x": [1.0]}).attrs["program"],
        sweep(lambda x: {"y": x + np.float32(2.0)}, {"x": [1.0]}).attrs["program"],
        sweep(lambda x: {"y": x + np.arange(1000.0)[900]}, {"x": [1.0]}).attrs["program"],
    ]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def test_data_in_a_closure_is_part_of_what_was_run() -> None:
    def on(data: np.ndarray) -> str:
        return sweep(lambda x: {"y": x * jnp.asarray(data).sum()}, {"x": [1.0]}).attrs["program"]

    data = np.arange(10_000, dtype=np.float32)
    changed = data.copy()
    changed[7777] += 1
    assert on(data) == on(data.copy()) != on(changed)


def test_one_trace_and_one_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    traces = []
    compilations = []
    sweep(lambda x: {"y": x}, {"x": [0.0]})  # finds which options this version of XLA has
    monkeypatch.setattr(
        jax.stages.Lowered,
        "compile",
        lambda self, *a, _compile=jax.stages.Lowered.compile, **k: compilations.append(1) or _compile(self, *a, **k),
    )

    def run(x: Any, seed: Any) -> dict[str, Any]:
        traces.append(1)
        return {"y": x * seed}

    sweep(run, {"x": [1.0, 2.0, 3.0], "seed": range(11)}, chunk=4)
    assert (len(traces), len(compilations)) == (1, 1)


@pytest.mark.parametrize("executor", [None, ThreadPoolExecutor(1)], ids=["here", "there"])
def test_a_sweep_has_the_precision_of_the_thread_that_calls_it(executor: Any) -> None:
    for dtype in (np.float64, np.float32):
        with jax.enable_x64(dtype == np.float64):
            found = sweep(lambda x: {"y": x / 3}, {"x": [1.0, 2.0]}, executor=executor)
        np.testing.assert_array_equal(found["y"], np.array([1.0, 2.0], dtype) / dtype(3), strict=True)


def test_a_guard_against_transfers_is_not_one_against_sweeps() -> None:
    jax.config.update("jax_transfer_guard", "disallow")
    try:
        found = sweep(lambda x: {"y": 2 * x}, {"x": [1.0, 2.0]})
    finally:
        jax.config.update("jax_transfer_guard", None)
    np.testing.assert_array_equal(found["y"], [2.0, 4.0])


def test_threads_find_an_option_gone_at_once() -> None:
    together = threading.Barrier(4)

    def compiled(turn: int) -> Any:
        lowered = jax.jit(lambda x: turn * x).lower(1.0)
        together.wait()
        return compile_with(lowered, {f"xla_gone_{turn}": 1})(3.0)

    with ThreadPoolExecutor(4) as pool:
        for turn in range(20):
            assert [float(job.result()) for job in [pool.submit(compiled, turn) for _ in range(4)]] == [3 * turn] * 4


def test_a_lane_that_is_no_number_is_a_result_where_jax_looks_for_nan() -> None:
    jax.config.update("jax_debug_nans", True)
    try:
        found = sweep(lambda x: {"y": jnp.log(x)}, {"x": [-1.0, 1.0]})
    finally:
        jax.config.update("jax_debug_nans", False)
    np.testing.assert_array_equal(found["y"], [np.nan, 0.0])


def test_coordinates_of_numpy_s_strings_are_kept(tmp_path: Path) -> None:
    names = np.array(["none", "L2 of 0.001"], np.dtypes.StringDType())  # type: ignore[attr-defined]
    for _ in range(2):
        found = sweep(lambda x: {"y": x}, {"x": [1.0, 2.0]}, tmp_path, coords={"x": names})
        assert found["x"].values.tolist() == ["none", "L2 of 0.001"]


def test_rows_of_a_loop_count_where_they_come_back() -> None:
    x = jax.ShapeDtypeStruct((8, 1000), jnp.float32)

    def once(carry: Any, x: Any) -> Any:
        return jax.lax.scan(lambda carry, row: (carry + row[0], row * carry), carry, x)

    def again(carry: Any, x: Any) -> Any:
        return jax.lax.scan(lambda carry, _: (once(carry, x)[1][0, 0], None), carry, None, 5)

    alone, inside = (working_set(jax.jit(run).trace(0.0, x).jaxpr.jaxpr) for run in (once, again))
    assert inside - alone == 2 * 8 * 1000 * 4  # what the inner loop takes and what it makes, in float32


def test_lanes_a_chunk_are_what_the_cache_or_half_of_the_memory_holds_or_a_workers_share() -> None:
    x = jax.ShapeDtypeStruct((1000,), jnp.float32)
    jaxpr = jax.jit(lambda x: jax.lax.add(jax.lax.sin(x), x)).trace(x).jaxpr.jaxpr
    lane = 3 * 4000  # bytes: x, its sine and their sum; taken to be half as many with fusion

    def width(lanes: int = 2**30, workers: int = 1, memory: int | None = None) -> int:
        return default_width(jaxpr, lanes, workers, memory)

    assert peak(jaxpr) == working_set(jaxpr) == lane
    assert width() <= CACHE / (lane / 2) < 2 * width()
    assert [width(memory=memory) for memory in (1, 64 * lane - 1, 64 * lane, 2**50)] == [1, 32, 64, MOST]
    assert width(lanes=10, workers=4) == 3
    loop = jax.jit(lambda x: jax.lax.scan(lambda x, _: (jax.lax.sin(x), None), x, None, 5)).trace(x).jaxpr.jaxpr
    assert (traffic(jaxpr), traffic(loop)) == (2 * 4000, 5 * 4000)


def test_a_chunk_is_halved_until_its_compiled_program_fits_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = 2**22
    monkeypatch.setattr(program, "device_memory", lambda device: memory)
    monkeypatch.setattr(program, "default_width", lambda *_: 64)  # far too many
    run = lambda x: {"y": jnp.sort(jnp.sin(x * jnp.arange(2.0**16)))}  # noqa: E731
    made = program.Program(run, make_grid({"x": np.linspace(0, 1, 64)}))
    lane = 4 * 2**16  # bytes that a lane's output takes; sorting takes as much again at least
    assert 1 <= made.chunk < 16
    assert made.chunk * lane < memory < 64 * lane
    analysis = jax.jit(jax.vmap(lambda x: run(x)["y"])).lower(jnp.zeros(2 * made.chunk)).compile().memory_analysis()
    assert analysis.output_size_in_bytes + analysis.temp_size_in_bytes >= memory


def test_lanes_that_call_lapack_do_not_wait_for_each_other() -> None:
    # In a process of its own with a time limit: batched, these lanes wait for each other for good in every second run.
    code = """
        import sys
        import jax, jax.numpy as jnp, numpy as np
        from jaxreg.lab import sweep

        def run(seed):
            keys = jax.random.split(jax.random.key(seed), 3)
            kernels = [jax.random.orthogonal(key, 32) for key in keys]  # by `jnp.linalg.qr`
            return {"gram": jnp.stack([kernel @ kernel.T for kernel in kernels])}

        gram = sweep(run, {"seed": np.arange(1024)}, chunk=8)["gram"].values
        print(np.abs(gram - np.eye(32)).max())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=ENVIRONMENT, capture_output=True, text=True, timeout=300
    )
    assert float(done.stdout) < 1e-5, done.stderr


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (jnp.linalg.qr, True),
        (jnp.linalg.eigvals, True),
        (jnp.linalg.det, True),
        (jax.scipy.linalg.expm, True),
        (lambda x: jax.random.orthogonal(jax.random.key(0), 5) + x[0, 0], True),
        (lambda x: jax.lax.scan(lambda c, _: (jnp.linalg.svd(c)[0], None), x, None, 2)[0], True),
        (lambda x: jnp.sqrt(x) @ x, False),
    ],
)
def test_lapack_is_found_before_lowering(function: Any, expected: bool) -> None:
    traced = jax.jit(function).trace(jnp.eye(5))
    assert splits.factorizes(traced.jaxpr.jaxpr) is expected is ("@lapack_" in traced.lower().as_text())


# Faults


def test_a_lane_that_diverges_leaves_its_neighbours_bits() -> None:
    def run(rate: Any) -> dict[str, Any]:
        def step(state: tuple[Any, Any], number: Any) -> tuple[tuple[Any, Any], Any]:
            x, at = state
            x = x - rate * 4 * x**3
            at = jnp.where((at < 0) & ~jnp.isfinite(x), number, at)
            return (x, at), x

        (_, at), xs = jax.lax.scan(step, (jnp.float32(1.0), jnp.int32(-1)), jnp.arange(20))
        return {"x": Labelled(xs, ("step",)), "diverged_at": at}

    healthy = np.linspace(0.01, 0.2, 12)
    wild = healthy.copy()
    wild[[2, 7]] = 50.0
    first, second = (sweep(run, {"rate": rates}, chunk=4) for rates in (healthy, wild))
    kept = np.setdiff1d(np.arange(12), [2, 7])
    assert first["x"].values[kept].tobytes() == second["x"].values[kept].tobytes()
    np.testing.assert_array_equal(np.flatnonzero(second["diverged_at"] >= 0), [2, 7])
    step = int(second["diverged_at"][2])
    assert np.isfinite(second["x"].values[2, :step]).all()
    assert not np.isfinite(second["x"].values[2, step])
    assert count_diverged({name: second[name].values for name in ("x", "diverged_at")}) == 2
    assert count_diverged({"x": second["x"].values, "n": np.arange(12)}) == 2
    assert count_diverged({"n": np.arange(12)}) == 0


def square(x: Any) -> dict[str, Any]:
    return {"y": x**2}


BAD: list[tuple[str, Callable[..., Any], dict[str, Any], dict[str, Any], type, str]] = [
    ("no axis", square, {}, {}, ValueError, "`over` is empty"),
    ("empty axis", square, {"x": []}, {}, ValueError, "axis 'x' is empty"),
    ("no seeds", square, {"x": range(0)}, {}, ValueError, "axis 'x' is empty"),
    ("empty array", square, {"x": np.zeros((0, 2))}, {}, ValueError, "axis 'x' is empty"),
    ("a number", square, {"x": 3}, {}, ValueError, r"must be a sequence of values, got 3: write \[3\]"),
    ("None", square, {"x": None}, {}, ValueError, "must be a sequence"),
    ("a string", square, {"x": "abc"}, {}, ValueError, "must be a sequence"),
    ("a zero-dimensional array", square, {"x": np.array(1.0)}, {}, ValueError, "must be a sequence"),
    ("strings", square, {"x": ["a", "b"]}, {}, TypeError, "use jaxreg.lab.choices"),
    ("NaN", square, {"x": [1.0, float("nan")]}, {}, ValueError, "axis 'x' holds NaN"),
    ("huge integers", square, {"x": [2**40]}, {}, ValueError, "integers out of range for int32"),
    ("huge numbers", square, {"x": [1.0, 1e300]}, {}, ValueError, "numbers out of range for float32, such as 1e.300"),
    ("tiny numbers", square, {"x": [1.0, 1e-60]}, {}, ValueError, "holds 1e-60, which is 0 after rounding to float32"),
    ("equal in float32", square, {"x": [1.7e9, 1.7e9 + 1]}, {}, ValueError, "1700000001.0, which are equal after"),
    ("masked", square, {"x": np.ma.array([1, 2, 3], mask=[0, 1, 0])}, {}, ValueError, "masked values"),
    ("durations", square, {"x": np.array([1, 2], "timedelta64[s]")}, {}, TypeError, "holds timedelta64.* can't be"),
    ("a generator", square, {"x": (x for x in [1.0])}, {}, TypeError, "'x' is a generator; expected a list"),
    ("a set", square, {"x": {1.0, 2.0}}, {}, TypeError, "'x' is a set; expected a list"),
    ("values of a dict", square, {"x": {"a": 1.0}.values()}, {}, TypeError, "is a dict_values; expected a list"),
    ("a record", square, {"x": np.zeros(2, [("a", float)])}, {}, TypeError, "can't be traced"),
    ("no strings", square, {"x": np.array([], str)}, {}, ValueError, "axis 'x' is empty"),
    (
        "too many lanes",
        lambda x, y, z: {"w": x},
        dict.fromkeys("xyz", np.zeros((3_000_000, 0))),
        {},
        ValueError,
        "expected at most 2",
    ),
    ("ragged", square, {"x": [[1.0], [1.0, 2.0]]}, {}, ValueError, "axis 'x' differ in tree structure"),
    ("ragged arrays", square, {"x": [np.ones(1), np.ones(2)]}, {}, ValueError, "can't be stacked"),
    (
        "ragged leaves",
        square,
        {"x": {"a": np.ones(1), "b": np.ones(2)}},
        {},
        ValueError,
        "leaves with the same first dimension",
    ),
    ("two structures", square, {"x": [1.0, (1.0, 2.0)]}, {}, ValueError, "differ in tree structure"),
    ("an odd name", square, {"x y": [1]}, {}, ValueError, "Python identifier"),
    ("unknown argument", square, {"x": [1.0], "z": [2.0]}, {}, TypeError, "can't be called with the axes"),
    ("missing argument", lambda x, z: {"y": x}, {"x": [1.0]}, {}, TypeError, "missing a required argument: 'z'"),
    ("no function", 3, {"x": [1.0]}, {}, TypeError, "must be a function"),
    (
        "zipped lengths",
        lambda x, z: {"y": x},
        {"x": [1], "z": [1, 2]},
        {"zipped": True},
        ValueError,
        "expected equal lengths",
    ),
    ("chunk 0", square, {"x": [1.0]}, {"chunk": 0}, ValueError, "`chunk` must be a positive"),
    ("chunk 1.5", square, {"x": [1.0]}, {"chunk": 1.5}, ValueError, "`chunk` must be a positive"),
    ("unknown coords", square, {"x": [1.0]}, {"coords": {"epoch": [1]}}, ValueError, "not a dimension"),
    ("short coords", square, {"x": [1.0]}, {"coords": {"x": [1, 2]}}, ValueError, r"has shape \(2,\); expected \(1,\)"),
    ("ragged coords", square, {"x": [1.0]}, {"coords": {"x": [[1], [1, 2]]}}, ValueError, "is ragged"),
    ("a list of coords", square, {"x": [1.0]}, {"coords": ["x"]}, TypeError, "`coords` must be a dict"),
    ("a name as device", square, {"x": [1.0]}, {"devices": "cpu"}, TypeError, "a list of JAX devices, got 'cpu'"),
    ("one device", square, {"x": [1.0]}, {"devices": jax.devices()[0]}, TypeError, "a list of JAX devices, got Cpu"),
    ("a number as devices", square, {"x": [1.0]}, {"devices": 3}, TypeError, "a list of JAX devices, got 3"),
    (
        "processes that fork",
        square,
        {"x": [1.0]},
        {"executor": ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork"))},
        ValueError,
        "get_context.'spawn'",
    ),
    ("a number as executor", square, {"x": [1.0]}, {"executor": 3}, TypeError, "must have a method submit"),
    ("no dict", lambda x: x, {"x": [1.0]}, {}, TypeError, "must return a dict of arrays, got an array: return"),
    ("empty dict", lambda x: {}, {"x": [1.0]}, {}, TypeError, "empty dict"),
    (
        "returns a string",
        lambda x: {"y": "a"},
        {"x": [1.0]},
        {},
        TypeError,
        "output 'y' is of type str; expected an array",
    ),
    ("returns strings", lambda x: {"y": np.array(["a"])}, {"x": [1.0]}, {}, TypeError, "is an array of dtype"),
    (
        "returns a day",
        lambda x: {"y": np.datetime64("2026-01-01")},
        {"x": [1.0]},
        {},
        TypeError,
        "is an array of dtype",
    ),
    ("returns None", lambda x: {"y": None}, {"x": [1.0]}, {}, TypeError, "returns no array"),
    ("float(x)", lambda x: {"y": float(x)}, {"x": [1.0]}, {}, TypeError, "can't be traced"),
    ("if x", lambda x: {"y": x if x > 0 else -x}, {"x": [1.0]}, {}, TypeError, "can't be traced"),
    ("x[x > 0]", lambda x: {"y": x[None][x > 0]}, {"x": [1.0]}, {}, TypeError, "can't be traced"),
    ("beyond int32", lambda x: {"y": np.array(2**40)}, {"x": [1.0]}, {}, ValueError, "integers out of range for int32"),
    (
        "beyond float32",
        lambda x: {"y": np.array(1e300)},
        {"x": [1.0]},
        {},
        ValueError,
        "numbers out of range for float32",
    ),
    ("a name with NUL", lambda x: {"a\0b": x}, {"x": [1.0]}, {}, ValueError, "can be printed"),
    (
        "a name as of states",
        lambda x: {" state": x},
        {"x": [1.0]},
        {},
        ValueError,
        "' state': use a name that does not",
    ),
    ("two kinds of keys", square, {"x": [jax.random.key(0), 3]}, {}, ValueError, "expected keys of the same generator"),
    ("named as an axis", lambda x: {"x": x}, {"x": [1.0]}, {}, ValueError, "an axis and of an output"),
    ("a number as name", lambda x: {1: x}, {"x": [1.0]}, {}, TypeError, "must be strings"),
    ("no name", lambda x: {"": x}, {"x": [1.0]}, {}, TypeError, "named '': the names of outputs must be strings"),
    ("twice", lambda x: {"a": {"b": x}, "a/b": x}, {"x": [1.0]}, {}, ValueError, "both stored as 'a/b'"),
    ("labels", lambda x: {"y": Labelled(x, ("epoch",))}, {"x": [1.0]}, {}, ValueError, "one distinct name"),
    (
        "labels twice",
        lambda x: {"y": Labelled(jnp.ones((2, 2)), ("e", "e"))},
        {"x": [1]},
        {},
        ValueError,
        "distinct name",
    ),
    ("label is an output", lambda x: {"y": Labelled(x[None], ("z",)), "z": x}, {"x": [1]}, {}, ValueError, "sion 'z'"),
    ("label is an axis", lambda x: {"y": Labelled(x[None], ("x",))}, {"x": [1.0]}, {}, ValueError, "dimension 'x' of"),
    (
        "two lengths",
        lambda x: {"y": Labelled(jnp.ones(2), ("e",)), "z": Labelled(jnp.ones(3), ("e",))},
        {"x": [1.0]},
        {},
        ValueError,
        "dimension 'e' has length 3",
    ),
]


@pytest.mark.parametrize("case", BAD, ids=[case[0] for case in BAD])
def test_bad_input_gets_one_sentence_before_anything_is_compiled(
    case: tuple[Any, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, run, over, options, error, message = case
    kept = tmp_path / "store"
    sweep(square, {"x": [1.0, 2.0, 3.0]}, kept, chunk=2)
    before = {path.name: path.read_bytes() for path in kept.iterdir()}
    monkeypatch.setattr(jax.stages.Lowered, "compile", lambda *_: pytest.fail("compiled"))
    with pytest.raises(error, match=message) as caught:
        sweep(run, over, kept, **options)
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before


def test_rows_of_settings_may_repeat_a_value() -> None:
    def run(x: Any, seed: Any) -> dict[str, Any]:
        return {"y": x + seed}

    rows = {"x": [1.0, 2.0], "seed": [0, 0]}
    for over, options in ((points(**rows), {}), (rows, {"zipped": True})):
        assert sweep(run, over, progress=False, **options)["y"].values.tolist() == [1.0, 2.0]


def test_an_if_on_a_traced_value_is_refused_with_its_line_and_what_to_write_instead() -> None:
    def branching(strength: Any, seed: Any) -> Any:
        if strength > 0:
            return {"y": seed}
        return {"y": -seed}

    with pytest.raises(TypeError, match="Attempted boolean conversion") as refused:
        sweep(branching, {"strength": [0.0, 1.0], "seed": range(2)}, progress=False)
    line = branching.__code__.co_firstlineno + 1
    where, instead, *_ = refused.value.__notes__
    assert where == f"Line {line} of test_engine.py: if strength > 0:"
    assert instead.startswith("Instead of `if`, write jnp.where")
    assert isinstance(refused.value.__cause__, jax.errors.TracerBoolConversionError)
    found = sweep(branching, {"strength": choices(0.0, 1.0), "seed": range(2)}, progress=False)  # as the error advises
    assert found["y"].values.tolist() == [[0, -1], [0, 1]]


SIZES: dict[str, Any] = {
    "zeros": lambda n: jnp.zeros(n),
    "two axes": lambda n: jnp.ones((n, 2)),
    "random": lambda n: jax.random.normal(jax.random.key(0), (n,)),
    "reshape": lambda n: jnp.ones(6).reshape(n, -1),
    "slice": lambda n: jnp.ones(6)[:n],
    "arange": lambda n: jnp.arange(n),
    "range": lambda n: jnp.array([1.0 for _ in range(n)]),
    "numpy": lambda n: jnp.asarray(np.zeros(n)),
}


@pytest.mark.parametrize("name", SIZES)
def test_a_traced_size_is_refused_with_the_advice_to_pass_choices(name: str) -> None:
    def run(n: Any) -> Any:
        return {"y": SIZES[name](n).sum()}

    with pytest.raises(TypeError, match="needs the value of a traced array") as refused:
        sweep(run, {"n": [2, 3]}, progress=False)
    where, advice, *_ = refused.value.__notes__
    assert where.startswith("Line ")
    assert " of test_engine.py: " in where
    assert "any_width" in advice
    assert advice.endswith("pass the axis as choices(...), which compiles a program per value.")
    expected = [float(SIZES[name](n).sum()) for n in (2, 3)]
    np.testing.assert_allclose(sweep(run, {"n": choices(2, 3)}, progress=False)["y"], expected)  # as the error advises


GENERATORS: dict[str, Any] = {
    "nnx": lambda seed: nnx.Rngs(seed),
    "nnx, by name": lambda seed: nnx.Rngs(params=seed),
    "numpy": lambda seed: np.random.default_rng(seed),
    "numpy, old": lambda seed: np.random.RandomState(seed),
    "python": lambda seed: random.Random(seed),
    "scikit-learn": lambda seed: train_test_split(np.arange(9), random_state=seed),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_a_traced_seed_of_a_generator_is_refused_with_the_advice_to_make_a_key(name: str) -> None:
    def run(draw: Any) -> Any:
        GENERATORS[name](draw)
        return {"y": draw}

    with pytest.raises(TypeError, match="needs the value of a traced array") as refused:
        sweep(run, {"draw": range(2)}, progress=False)
    where, advice, *_ = refused.value.__notes__
    assert where.startswith("Line ")
    assert " of test_engine.py: " in where
    assert "key = jax.random.key(draw)" in advice
    assert "nnx.Rngs(key)" in advice


def test_a_key_of_a_traced_seed_makes_a_generator_of_nnx() -> None:
    def run(draw: Any) -> Any:
        return {"y": nnx.Rngs(jax.random.key(draw)).params.uniform()}

    expected = [nnx.Rngs(jax.random.key(draw)).params.uniform() for draw in range(2)]
    np.testing.assert_allclose(sweep(run, {"draw": range(2)}, progress=False)["y"], expected)


def test_an_error_of_a_generator_that_is_given_no_traced_seed_is_its_own() -> None:
    with pytest.raises(ValueError, match="non-negative") as raised:
        sweep(lambda x: {"y": x + np.random.default_rng(-1).random()}, {"x": [1.0]}, progress=False)
    assert not any("random.key" in note for note in getattr(raised.value, "__notes__", []))


@pytest.mark.parametrize(
    "wrong",
    [lambda x: x + {}, lambda x: x(), lambda x: jnp.dot(x, "a"), lambda x: [1.0, 2.0][7]],
    ids=["operand", "call", "text", "index"],
)
def test_other_errors_of_a_function_are_its_own(wrong: Any) -> None:
    with pytest.raises((TypeError, IndexError)) as raised:
        sweep(lambda x: {"y": wrong(x)}, {"x": [1.0]}, progress=False)
    assert "needs the value" not in str(raised.value)
    assert not any("choices" in note for note in getattr(raised.value, "__notes__", []))


@pytest.mark.parametrize("package", [jax, jaxreg])
def test_the_line_of_an_error_may_be_in_a_package_whose_name_begins_as_that_of_another(
    package: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path(f"{Path(package.__file__).parent}_models", "own.py")  # a neighbour in site-packages
    source = "def run(x):\n    return {'y': float(x)}\n"
    monkeypatch.setitem(linecache.cache, str(file), (len(source), None, source.splitlines(keepends=True), str(file)))
    names: dict[str, Any] = {}
    exec(compile(source, str(file), "exec"), names)
    with pytest.raises(TypeError, match="needs the value") as refused:
        sweep(names["run"], {"x": [1.0]}, progress=False)
    assert refused.value.__notes__[0] == "Line 2 of own.py: return {'y': float(x)}"


@pytest.mark.parametrize("transform", [jax.jit, jax.grad, lambda f: lambda x: jax.vmap(f)(x[None])])
def test_values_that_a_transformation_traces_are_refused(transform: Any) -> None:
    def closed_over(a: Any) -> Any:
        sweep(lambda x: {"y": a * x}, {"x": [1.0, 2.0]})
        return a

    def axis(a: Any) -> Any:
        sweep(square, {"x": [a, 1.0]})
        return a

    with pytest.raises(TypeError, match="`run` closes over a traced value: call sweep out"):
        transform(closed_over)(jnp.float32(1.0))
    with pytest.raises(TypeError, match="axis 'x' holds a traced value: call sweep outside"):
        transform(axis)(jnp.float32(1.0))


# Stores


@pytest.mark.parametrize("store", ["", 3, b"folder", True])
def test_a_store_is_named_by_a_path(store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=re.escape(f"`store` is {store!r}; expected the path of a folder")):
        sweep(square, {"x": [1.0]}, store)
    assert not list(tmp_path.iterdir())


def test_the_chunks_that_one_variable_was_read_from_are_there_for_the_next(tmp_path: Path) -> None:
    sweep(lambda x: {"y": x**2, "z": -x}, {"x": range(20)}, tmp_path, chunk=1)
    found = open_store(tmp_path)
    assert found["y"].values.tolist() == [x**2 for x in range(20)]
    for chunk in tmp_path.glob("chunk-*.npz"):
        chunk.unlink()
    assert found["z"].values.tolist() == [-x for x in range(20)]


def test_a_store_is_read_from_another_working_directory_until_it_is_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    found = [sweep(square, {"x": [1.0, 2.0, 3.0]}, name, chunk=2) for name in ("relative", "~/there")]
    found += [open_store("relative"), open_store("~/there")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "relative"]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for dataset in found:
        assert dataset["y"].values.tolist() == [1.0, 4.0, 9.0]
    unread = open_store("../relative")
    (tmp_path / "relative").rename(tmp_path / "moved")
    with pytest.raises(ValueError, match=r"relative/chunk-00000000\.npz is missing: run the same sweep again"):
        unread.load()
    assert open_store("../moved")["y"].values.tolist() == [1.0, 4.0, 9.0]


def test_datetimes_as_coordinates_can_be_selected(tmp_path: Path) -> None:
    days = [datetime(2026, 1, day, 12) for day in (1, 2)]
    for _ in range(2):
        found = sweep(square, {"x": [1.0, 2.0]}, tmp_path, coords={"x": days})
        assert found["y"].sel(x="2026-01-02T12").item() == 4.0


def chunks_computed(caplog: pytest.LogCaptureFixture) -> list[int]:
    return sorted(int(record.args[0]) for record in caplog.records if record.msg.startswith("chunk %d"))


def test_a_sweep_goes_on_from_what_is_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "jaxreg.sweep")
    whole = sweep(walk, WALKS, chunk=4)
    caplog.clear()
    xr.testing.assert_identical(sweep(walk, WALKS, tmp_path / "s", chunk=4).load(), whole)
    assert chunks_computed(caplog) == [0, 1, 2, 3, 4, 5]
    (tmp_path / "s" / "chunk-00000002.npz").unlink()
    damaged = tmp_path / "s" / "chunk-00000004.npz"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    caplog.clear()
    xr.testing.assert_identical(sweep(walk, WALKS, tmp_path / "s").load(), whole)  # the chunk is the store's
    assert chunks_computed(caplog) == [2, 4]
    assert caplog.messages[-1] == "13 of 21 runs were read from the store, not computed"
    caplog.clear()
    xr.testing.assert_identical(sweep(walk, WALKS, tmp_path / "s").load(), whole)
    assert caplog.messages == ["21 of 21 runs were read from the store, not computed"]
    caplog.clear()
    sweep(walk, {**WALKS, "seed": range(9)}, tmp_path / "s")
    assert caplog.messages[-1] == "21 of 27 runs were read from the store, not computed"
    assert len(chunks_computed(caplog)) == 2


@pytest.mark.parametrize(
    ("run", "over", "options", "message"),
    [
        (lambda scale, seed: walk(scale * 2, seed), WALKS, {}, "the function that computes a run"),
        (walk, {**WALKS, "scale": [0.1, 1.0, 11.0]}, {}, r"sweep: axis 'scale' has 10\.0 in the store, but"),
        (walk, {**WALKS, "seed": range(6)}, {}, r"sweep: axis 'seed' has 6 in the store, but"),
        (walk, {**WALKS, "seed": range(2, 9)}, {}, r"sweep: axis 'seed' has 0, 1 in the store, but"),
        (
            walk,
            {**WALKS, "seed": np.arange(9, dtype=np.int32)},
            {},
            "sweep: axis seed has values of type int64 in the store and int32 in this sweep. Use",
        ),
        (
            walk,
            {**WALKS, "scale": jnp.array([0.1, 1.0, 10.0])},
            {},
            "float64 in the store and float32 in this sweep. To continue the stored sweep, use np.logspace",
        ),
        (
            walk,
            dict(reversed(WALKS.items())),
            {},
            r"sweep: the axes are \['scale', 'seed'\] in the store, but \['seed', 'scale'\] in this",
        ),
        (walk, WALKS, {"chunk": 5}, "chunk is 4 in the store and 5 in this sweep"),
        (walk, WALKS, {"coords": {"step": range(5)}}, "in both, but a coordinate has other values"),
    ],
)
def test_another_sweeps_store_is_refused(
    run: Any, over: Any, options: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep(walk, WALKS, tmp_path, chunk=4)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(jax.stages.Lowered, "compile", lambda *_: pytest.fail("compiled"))
    with pytest.raises(ValueError, match="belongs to another sweep") as caught:
        sweep(run, over, tmp_path, **options)
    caught.match(message)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_bar_is_shown_on_request_only(capsys: pytest.CaptureFixture[str]) -> None:
    sweep(lambda x: {"y": jnp.log(x)}, {"x": [1.0, 0.0, 2.0]}, chunk=1)
    assert capsys.readouterr() == ("", "")
    sweep(lambda x: {"y": jnp.log(x)}, {"x": [1.0, 0.0, 2.0]}, chunk=1, progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "3/3" in shown.err
    assert "runs/s" in shown.err
    assert "1 diverged" in shown.err


def test_a_sentence_below_the_bar_says_how_many_runs_were_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def square(x: jax.Array) -> dict[str, jax.Array]:
        return {"y": x**2}

    sentence = " runs were read from the store, not computed"
    first = sweep(square, {"x": [1.0, 0.0, 2.0]}, tmp_path, chunk=1, progress=True).load()
    assert sentence not in capsys.readouterr().err
    (tmp_path / "chunk-00000001.npz").unlink()
    again = sweep(square, {"x": [1.0, 0.0, 2.0]}, tmp_path, chunk=1, progress=True).load()
    assert capsys.readouterr().err.splitlines()[-1] == f"2 of 3{sentence}"
    xr.testing.assert_identical(again, first)


def test_any_executor(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as executor:
        found = sweep(walk, WALKS, tmp_path, chunk=4, executor=executor).load()
    xr.testing.assert_identical(found, sweep(walk, WALKS, chunk=4))


def test_what_can_not_travel_is_said() -> None:
    lock = threading.Lock()

    def run(x: Any) -> dict[str, Any]:
        with lock:
            return {"y": x}

    with ThreadPoolExecutor(1) as executor, pytest.raises(TypeError, match=r"can't be sent .*lock.* inside of `run`"):
        sweep(run, {"x": [1.0]}, executor=executor)


def test_after_ctrl_c_no_chunk_begins() -> None:
    begun: list[float] = []

    def slow(x: Any) -> Any:
        begun.append(float(x))
        if len(begun) == 1:
            signal.raise_signal(signal.SIGINT)
        time.sleep(0.5)
        return np.float32(x)

    def run(x: Any) -> dict[str, Any]:
        return {"y": jax.pure_callback(slow, jax.ShapeDtypeStruct((), np.float32), x, vmap_method="sequential")}

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt, match="nothing is kept without a store"):
            sweep(run, {"x": np.arange(40.0)}, chunk=1)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(begun) <= len(os.sched_getaffinity(0))


def test_the_examples_of_the_documentation_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[3] / "docs" / "sweep.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(blocks[0], names)
    rows = np.asarray(jax.random.choice(jax.random.key(3), 442, (442,)))
    x, y = names["x"][rows], (names["y"] - names["y"].mean())[rows]
    exact = Ridge(alpha=10.0, fit_intercept=False).fit(x, y).coef_
    np.testing.assert_allclose(names["found"]["coef"].sel(draw=3)[-1], exact, rtol=1e-3, atol=1e-2)
    exec(blocks[1], names)
    assert dict(names["found"].sizes) == {"start": 3, "damping": 2, "time": 10}
    sizes = []
    for block in blocks[2:12]:
        exec(block, names)
        sizes.append(
            {
                name: size
                for name, size in names["found"].sizes.items()
                if "loss" not in names["found"] or name in names["found"]["loss"].dims
            }
        )
    assert sizes[1:] == [
        {"config": 2, "seed": 8},
        {"point": 64},
        {"row": 3, "seed": 8},
        {"lr": 1, "decay": 3},
        {"optimizer": 2, "size": 3, "lr": 2},
        {"width": 5, "seed": 8},
        {"depth": 4, "seed": 8},
        {"point": 32},
        {"point": 32},
    ]
    assert names["best"]["loss"] == names["found"]["loss"].min()
    page = runpy.run_path(str(Path(__file__).parents[3] / "scripts" / "docs" / "run_pages.py"))["run"]
    assert page(text[text.index(blocks[11]) + len(blocks[11]) + len("```\n") :], "docs/sweep.md", names) == []
    assert open_store("results/ridge").sizes["draw"] == 120


# Processes: each of these runs a real one and does to it what happens to real ones


PRELUDE = """
import os, signal, sys, time
import jax, jax.numpy as jnp
import numpy as np
from jaxreg.lab import Labelled, open_store, sweep
from jaxreg.lab.sweeps import program
from jaxreg.lab.sweeps.chunk_size import working_set
from jaxreg.lab.sweeps.grid import make_grid
from jaxreg.lab.sweeps.store import Store, open_folder

def walk(scale, seed):
    def step(x, _):
        x = jnp.sin(scale * x[::-1] + 3 * x * x + seed)
        return x, x.sum()
    end, sums = jax.lax.scan(step, jnp.arange(4.0), None, 200)
    return {"end": end, "sum": Labelled(sums[::50], ("step",))}

over = {"scale": [0.1, 0.5], "seed": range(200)}
"""


def python(
    code: str, *arguments: object, environment: dict[str, str] | None = None, alone: bool = False
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(code), *map(str, arguments)],
        env=ENVIRONMENT | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=alone,
    )


def finish(*processes: subprocess.Popen[str]) -> list[str]:
    """What they print, once all of them have ended well."""
    outputs = [process.communicate(timeout=1500) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), [err for _, err in outputs]
    return [out for out, _ in outputs]


KILL = """
import pathlib, random
root, kills = pathlib.Path(sys.argv[1]), int(sys.argv[2])

over = {"scale": [0.1, 0.5], "seed": range(600)}  # 300 chunks
jax.config.update("jax_compilation_cache_dir", str(root / "compiled"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_enable_xla_caches", "none")

def begin(store):
    pid = os.fork()
    if pid == 0:
        sweep(walk, over, store, chunk=4)
        os._exit(0)
    return pid

def finished(store):  # a file that is written again has another inode or time
    return {f.name: (f.stat().st_ino, f.stat().st_mtime_ns) for f in store.glob("chunk-*.npz")}

whole = root / "whole"
assert os.waitpid(begin(root / "warm"), 0)[1] == 0
before = time.monotonic()
assert os.waitpid(begin(whole), 0)[1] == 0
lasts = time.monotonic() - before
expected = {f.name: f.read_bytes() for f in whole.iterdir()}
random.seed(7)
done = again = sweeps = 0
store = root / "0"
while kills:
    there = finished(store)
    pid = begin(store)
    time.sleep(random.uniform(0, lasts))
    os.kill(pid, signal.SIGKILL)
    ended = os.waitpid(pid, 0)[1]
    kills -= ended == signal.SIGKILL
    now = finished(store)
    again += sum(now[name] != mark for name, mark in there.items())
    done += len(now.keys() - there.keys())
    if len(now) == 300:
        assert os.waitpid(begin(store), 0)[1] == 0
        assert {f.name: f.read_bytes() for f in store.iterdir() if f.suffix != ".tmp"} == expected
        sweeps += 1
        store = root / str(sweeps)
there = finished(store)
assert os.waitpid(begin(store), 0)[1] == 0
now = finished(store)
again += sum(now[name] != mark for name, mark in there.items())
assert {f.name: f.read_bytes() for f in store.iterdir() if f.suffix != ".tmp"} == expected
print(f"{done} chunks finished before kills, {again} of them computed again, {sweeps + 1} sweeps equal")
assert again == 0
"""


@pytest.mark.parametrize("kills", [5, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_sweep_killed_at_random_moments_loses_nothing(kills: int, tmp_path: Path) -> None:
    """Every resumed store ends with the bytes of the uninterrupted one, and no finished chunk is touched."""
    (printed,) = finish(python(KILL, tmp_path, kills))
    print(f"{kills} kills: {printed}")
    assert int(printed.split()[0]) > 0


def test_two_processes_on_one_store_and_one_alone_agree(tmp_path: Path) -> None:
    code = "sweep(walk, over, sys.argv[1], chunk=4)"
    finish(python(code, tmp_path / "both"), python(code, tmp_path / "both"))
    finish(python(code, tmp_path / "alone"))
    xr.testing.assert_identical(open_store(tmp_path / "both").load(), open_store(tmp_path / "alone").load())


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(tmp_path: Path) -> None:
    store = tmp_path / "store"
    process = python("sweep(walk, {**over, 'seed': range(200_000)}, sys.argv[1], chunk=4)", store)
    while len(list(store.glob("chunk-*.npz"))) < 3 and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    try:
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == -signal.SIGINT  # which a shell reports as 130
    there = len(list(store.glob("chunk-*.npz")))
    assert (
        f"KeyboardInterrupt: stopped with {there} of 100000 chunks in {store}: run the same sweep again to continue"
        in said
    )


@pytest.mark.parametrize("chunks", [1, 20])  # after one, the second worker is still about to begin
def test_ctrl_c_in_a_terminal_which_its_workers_get_too_loses_nothing(chunks: int, tmp_path: Path) -> None:
    code = """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        sweep(walk, {**over, "seed": range(200_000)}, sys.argv[1], chunk=4, executor=pool)
    """
    store = tmp_path / "store"
    process = python(code, store, alone=True)
    while len(list(store.glob("chunk-*.npz"))) < chunks and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    try:
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    there = len(list(store.glob("chunk-*.npz")))
    assert (
        f"KeyboardInterrupt: stopped with {there} of 100000 chunks in {store}: run the same sweep again to continue"
        in said
    )
    assert "is dropped" not in said


def test_out_of_memory_halves_the_chunk_and_goes_on(tmp_path: Path) -> None:
    """A limit on the process's memory: XLA itself reports that it has run out."""
    code = """
    import resource
    def run(seed):
        turn = lambda _, x: jnp.sin(x)[::-1]
        return {"y": jax.lax.fori_loop(0, 3, turn, seed + jnp.arange(2.0**17))[::9999]}
    few = sweep(run, {"seed": range(4)}, chunk=4)
    now = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (now + 2**27,) * 2)
    many = sweep(run, {"seed": range(270)}, sys.argv[1], chunk=256)
    assert many.attrs["chunk"] == 256
    np.testing.assert_allclose(many["y"][:4], few["y"], rtol=1e-6)
    """
    process = python(code, tmp_path / "store")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "device memory ran out: " in said
    widths = [open_folder(tmp_path / "store").width(number) for number in range(2)]
    assert all(width is not None and 1 <= width < 256 for width in widths)


def test_a_full_disk_says_what_is_kept(tmp_path: Path) -> None:
    code = """
    import resource
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    sweep(walk, {"scale": [0.1], "seed": range(8)}, sys.argv[1], chunk=4)
    os.unlink(sys.argv[1] + "/chunk-00000001.npz")
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    sweep(walk, {"scale": [0.1], "seed": range(8)}, sys.argv[1], chunk=4)
    """
    process = python(code, tmp_path / "store")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"OSError: [Errno 27] File too large: '{tmp_path}/store/chunk-00000001.npz'" in said
    assert f"stopped with 1 of 2 chunks in {tmp_path / 'store'}: free some space, or use another folder" in said


def test_a_read_only_folder_is_refused_before_anything_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax.stages.Lowered, "compile", lambda *_: pytest.fail("compiled"))
    with pytest.raises(OSError, match="/proc"):
        sweep(square, {"x": [1.0]}, "/proc/store")


DEVICES = """
jax.config.update("jax_num_cpu_devices", int(sys.argv[2]))
def slope(seed):
    # Zero-initialised biases: their gradients were summed over devices by shard_map.
    x = jax.random.normal(jax.random.key(seed), (16, 3))
    w, v = jax.random.normal(jax.random.key(1), (3, 8)), jax.random.normal(jax.random.key(2), (8, 1))
    def loss(b):
        return jnp.mean((jnp.tanh(x @ w + b) @ v - x[:, :1]) ** 2)
    return {"gradient": jax.grad(loss)(jnp.zeros(8))}
sweep(slope, {"seed": range(60)}, sys.argv[1], chunk=4, devices=jax.devices())
print(len(jax.devices()))
"""


@pytest.mark.parametrize("many", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_one_and_many_devices_give_the_same_bits(many: int, tmp_path: Path) -> None:
    """And so the gradients of zero-initialised biases: on many devices they are those on one, not their sum."""
    printed = finish(*(python(DEVICES, tmp_path / str(count), count) for count in (1, many)))
    assert printed == ["1\n", f"{many}\n"]
    xr.testing.assert_identical(open_store(tmp_path / "1").load(), open_store(tmp_path / str(many)).load())
    first = open_store(tmp_path / str(many))["gradient"][0].values
    shapes = [(16, 3), (3, 8), (8, 1)]
    x, w, v = (np.asarray(jax.random.normal(jax.random.key(k), s), np.float64) for k, s in enumerate(shapes))
    hidden = np.tanh(x @ w)
    exact = (2 * (hidden @ v - x[:, :1]) * v.T * (1 - hidden**2)).mean(0)  # by hand
    np.testing.assert_allclose(first, exact, rtol=1e-4, atol=1e-5)


SHARE = """
import socket
jax.distributed.initialize(f"127.0.0.1:{sys.argv[2]}", int(sys.argv[3]), int(sys.argv[4]))
found = sweep(walk, over, sys.argv[1] if sys.argv[1] != "-" else None, chunk=4).load()
import hashlib
print(jax.process_count(), hashlib.sha256(found["end"].values.tobytes() + found["sum"].values.tobytes()).hexdigest())
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("processes", "kept"),
    [(2, True), pytest.param(2, False, marks=pytest.mark.slow), pytest.param(4, True, marks=pytest.mark.slow)],
)
def test_processes_of_jax_distributed_share_the_chunks(processes: int, kept: bool, tmp_path: Path) -> None:
    port = free_port()
    where = tmp_path / "shared" if kept else "-"
    printed = finish(*(python(SHARE, where, port, processes, number) for number in range(processes)))
    finish(python("sweep(walk, over, sys.argv[1], chunk=4)", tmp_path / "alone"))
    alone = open_store(tmp_path / "alone").load()
    expected = hashlib.sha256(alone["end"].values.tobytes() + alone["sum"].values.tobytes()).hexdigest()
    assert [lines.splitlines()[-1] for lines in printed] == [f"{processes} {expected}"] * processes
    if kept:
        xr.testing.assert_identical(open_store(where).load(), alone)


DASK = """
def main():
    from distributed import Client, LocalCluster
    def slow(scale, seed):
        out = walk(scale, seed)
        end, _ = jax.lax.scan(lambda x, _: (jnp.sin(x + x[::-1]), None), out["end"], None, 20_000)
        return {**out, "more": end}
    with LocalCluster(n_workers=4, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        import logging, threading
        finished = []
        class Count(logging.Handler):
            def emit(self, record):
                finished.append(time.monotonic())
                if len(finished) == 5:
                    os.kill(list(client.run(os.getpid).values())[0], signal.SIGKILL)
                    print("killed one of", len(cluster.workers))
        logging.getLogger("jaxreg.sweep").addHandler(Count())
        logging.getLogger("jaxreg.sweep").setLevel("INFO")
        there = sweep(slow, over, chunk=4, executor=client.get_executor())
    here = sweep(slow, over, chunk=4)
    assert there.identical(here), "other bits"
    print("the same", len(finished))
if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
def test_four_dask_workers_one_of_them_killed(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    script = tmp_path / "script.py"
    script.write_text(PRELUDE + DASK)
    done = subprocess.run([sys.executable, script], env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "killed one of 4\nthe same 200\n"


def test_a_large_constant_is_handed_to_the_program_and_still_names_it():
    """A table of a hundred megabytes in the program took XLA ten seconds, and room on disk in its cache."""
    grid = make_grid({"k": [0, 1, 2**24 - 1]})
    first, other = (np.arange(2**24, dtype=np.float32) + shift for shift in (0, 1))

    def made(constant: np.ndarray) -> program.Program:
        return program.Program(lambda k: {"at": jnp.asarray(constant)[k], "sum": jnp.sum(constant[:4]) + k}, grid)

    one, two = made(first), made(other)
    assert len(one._text) < 10_000
    assert one.identity == made(first).identity
    assert one.identity["program"] != two.identity["program"]
    for each, constant in ((one, first), (two, other)):
        arrays, _ = each.compute(0)
        np.testing.assert_array_equal(arrays["at"], constant[[0, 1, 2**24 - 1]][: len(arrays["at"])])


def test_one_program_runs_on_many_tables_of_one_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    compilations, lower = [], jax.stages.Lowered.compile
    monkeypatch.setattr(jax.stages.Lowered, "compile", lambda *of: compilations.append(of) or lower(*of))
    tables = [{"x": np.arange(21.0, dtype=np.float32).reshape(7, 3) + shift, "w": np.int32(shift)} for shift in (1, 5)]
    grid = make_grid({"row": range(7), "times": [1.0, 2.0]})
    made = program.Program(
        lambda row, times, table: {"y": times * table["x"][row] * table["w"]}, grid, 4, operands={"table": tables[0]}
    )
    for table in tables:
        rows = np.asarray(compute(made, {"table": table})["y"])
        np.testing.assert_array_equal(rows, (table["x"] * table["w"])[:, None] * np.array([[1], [2]]))
    assert len(compilations) == 1
    first, same, other = (
        LocalRunner(made, {"table": table}).identity for table in (tables[0], {**tables[0]}, tables[1])
    )
    assert first == same != other


@pytest.mark.parametrize(("size", "width"), [(1, 1), (1, 5), (10, 1), (10, 4), (12, 4), (3, 4)])
def test_chunks_are_the_lanes_in_their_order(size: int, width: int) -> None:
    chunks, lanes = Chunks(size, width), np.arange(size)
    pieces = np.split(lanes, range(width, size, width))
    assert [list(chunks.lanes(number)) for number in range(len(chunks))] == [list(piece) for piece in pieces]
    numbers, places = chunks.find(lanes)
    assert [pieces[number][place] for number, place in zip(numbers, places, strict=True)] == list(lanes)
