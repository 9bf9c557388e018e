"""Runs in segments: checkpoints that survive kills, sweeps that are trained on, and runs that stop early."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr

from jaxreg.lab import Segments, choices, open_store, sweep, unflatten
from jaxreg.lab.sweeps.store import OtherSweepError
from jaxreg.lab.sweeps.watching import Watch

OVER = {"lr": [0.1, 0.2, 0.3], "seed": range(5)}


def begin(seed: Any) -> Any:
    key = jax.random.key(seed)
    weights = jnp.array([1.0, 2.0, 3.0]) + jax.random.key_data(key)[1]
    return {"weights": weights.astype(jnp.bfloat16), "key": key, "sgd": optax.sgd(0.1, 0.9).init(weights), "steps": 0}


def run(state: Any, lr: Any, seed: Any) -> Any:
    """A state of all kinds: bfloat16, a random key, an optimiser's, a number."""
    weights = state["weights"].astype(jnp.float32)
    updates, sgd = optax.sgd(lr, 0.9).update(jnp.sin(weights), state["sgd"])
    weights = optax.apply_updates(weights, updates)
    state = {"weights": weights.astype(jnp.bfloat16), "key": state["key"], "sgd": sgd, "steps": state["steps"] + 1}
    return state, {"loss": jnp.sum(weights**2), "weights": weights, "steps": state["steps"]}


def trained(store: Path | None, count: int, over: Any = OVER, **options: Any) -> tuple[xr.Dataset, list[int]]:
    """The sweep, and the segment of each run that it computed."""
    computed: list[int] = []
    halve = options.pop("halve", None)
    found = sweep(
        run,
        over,
        store,
        segments=Segments(begin, count, halve),
        on_chunk=lambda settings, _: computed.extend(settings["segment"].tolist()),
        chunk=4,
        **options,
    )
    return found.load(), computed


def by_hand(count: int) -> np.ndarray:
    """The losses, each run alone in a loop."""
    losses = np.empty((3, 5, count), np.float32)
    step = jax.jit(run)
    for i, lr in enumerate(OVER["lr"]):
        for seed in range(5):
            state = begin(seed)
            for segment in range(count):
                state, outputs = step(state, lr, seed)
                losses[i, seed, segment] = outputs["loss"]
    return losses


def test_segments_go_on_where_the_one_before_ended(tmp_path: Path) -> None:
    whole, _ = trained(None, 5)
    np.testing.assert_allclose(whole["loss"], by_hand(5), rtol=1e-5)
    assert whole["steps"].dims == ("lr", "seed", "segment")
    assert (whole["steps"] == whole["segment"]).all()
    first, _ = trained(tmp_path, 2)
    assert first.equals(whole.isel(segment=slice(0, 2)))
    longer, computed = trained(tmp_path, 5)
    assert longer.equals(whole)
    assert open_store(tmp_path).equals(whole)
    assert sorted(computed) == [3] * 15 + [4] * 15 + [5] * 15
    assert trained(tmp_path, 2)[0].equals(first)
    assert open_store(tmp_path).equals(whole)
    assert [path.parent.name for path in tmp_path.glob("*/state-*")] == ["segment-00004"] * 4
    best = unflatten(longer, {"lr": 0.2, "seed": 3, "segment": 5})
    np.testing.assert_array_equal(best["weights"], longer["weights"].values[1, 3, 4])


def test_axes_and_segments_grow_together_and_lost_files_are_made_again(tmp_path: Path) -> None:
    trained(tmp_path, 2)
    over = {"lr": [0.1, 0.15, 0.2, 0.3], "seed": range(6)}
    whole, _ = trained(None, 3, over)
    larger, computed = trained(tmp_path, 3, over)
    assert larger.equals(whole)
    assert sorted(computed) == [1] * 9 + [2] * 9 + [3] * 24
    (tmp_path / "segment-00002" / "chunk-00000001.npz").unlink()
    again, computed = trained(tmp_path, 3, over)
    assert again.equals(whole)
    assert sorted(computed) == [1] * 8 + [2] * 8 + [3] * 4  # of two chunks before
    state = next((tmp_path / "segment-00002").glob("state-*2.npz"))
    state.write_bytes(state.read_bytes()[:-100] + b"0" * 100)
    longer, _ = trained(tmp_path, 4, over)
    assert longer.equals(trained(None, 4, over)[0])


def test_the_lower_half_goes_on_with_the_bits_of_the_whole_sweep(tmp_path: Path) -> None:
    whole, _ = trained(None, 4)
    halved, computed = trained(tmp_path, 4, halve="loss")
    assert [computed.count(segment) for segment in (1, 2, 3, 4)] == [15, 7, 3, 3]
    losses = whole["loss"].values.reshape(15, 4)
    stays = np.argsort(losses[:, 0], kind="stable")[:7]
    best = stays[np.argsort(losses[stays, 1], kind="stable")[:3]]
    segments = np.ones(15, int)
    segments[stays], segments[best] = 2, 4
    np.testing.assert_array_equal(halved["segments"].values.ravel(), segments)
    there = np.arange(4) < segments[:, None]
    np.testing.assert_array_equal(halved["loss"].values.reshape(15, 4), np.where(there, losses, np.nan))
    assert open_store(tmp_path).equals(halved)
    watch = Watch(tmp_path)
    watch.refresh()
    assert watch.lanes == watch.finished == 28
    longer, computed = trained(tmp_path, 5, halve="loss")
    assert computed == [5]
    assert longer["segments"].max() == 5
    assert (longer["segments"] == 5).sum() == 1
    with pytest.raises(
        OtherSweepError, match=r"grid is 'lr \(3\) x seed \(5\)' in the store and 'lr \(3\) x seed \(6\)' in this sweep"
    ):
        trained(tmp_path, 5, {**OVER, "seed": range(6)}, halve="loss")
    assert open_store(tmp_path).equals(longer)


def test_results_that_are_lost_before_the_better_half_is_chosen_are_computed_again(tmp_path: Path) -> None:
    over = {"x": [5.0, 4.0, 3.0, 2.0, 1.0, 0.0]}
    segments = Segments(lambda: jnp.zeros(()), 3, "loss")

    def add(state: Any, x: Any) -> Any:
        return state + x, {"loss": state + x}

    def lose(settings: Any, _: Any) -> None:
        files = sorted(tmp_path.glob("s/segment-00000/chunk-*"))
        if settings["segment"][0] == 1 and len(files) == 3 and not (tmp_path / "lost").exists():
            files[2].rename(tmp_path / "lost")  # has the best runs

    found = sweep(add, over, tmp_path / "s", segments=segments, chunk=2, on_chunk=lose)
    assert (tmp_path / "lost").read_bytes() == (tmp_path / "s" / "segment-00000" / "chunk-00000002.npz").read_bytes()
    assert found.equals(sweep(add, over, segments=segments, chunk=2))


def test_a_program_per_choice_runs_in_segments(tmp_path: Path) -> None:
    def add(state: Any, size: Any, step: Any) -> Any:
        return state + step, {"sum": (state + step).sum(), "state": state + step}

    over = {"size": choices(1, 3), "step": [1.0, 2.0]}
    segments = Segments(lambda size, **_: jnp.zeros(size), 3)
    found = sweep(add, over, tmp_path, segments=segments)
    np.testing.assert_array_equal(found["sum"].sel(size=3, step=2.0), [6.0, 12.0, 18.0])
    assert open_store(tmp_path).equals(found)
    np.testing.assert_array_equal(unflatten(found, {"size": 1, "step": 2.0, "segment": 2})["state"], [4.0])
    with pytest.raises(ValueError, match="the sweep needs 2 compiled programs, but `halve` allows only one"):
        sweep(add, over, segments=Segments(segments.begin, 3, "sum"))


def test_what_segments_can_not_use_is_refused_in_a_sentence(tmp_path: Path) -> None:
    start = Segments(lambda: jnp.zeros(2), 2)
    for wrong, words in (
        (lambda state, x: {"y": x}, r"must return \(state, outputs\), got dict"),
        (lambda state, x: (state[:1], {"y": x}), r"state from float32\[2\] to float32\[1\]"),
        (lambda state, x: (state, {}), "returns no array"),
        (lambda x: (x, {"y": x}), "can't be called with the axes"),
    ):
        with pytest.raises(TypeError, match=words):
            sweep(wrong, {"x": [1.0]}, segments=start)
    with pytest.raises(TypeError, match=r"`begin` returns \(\), which has no arrays; expected a tree"):
        sweep(lambda state, x: (state, {"y": x}), {"x": [1.0]}, segments=Segments(lambda: (), 2))
    with pytest.raises(ValueError, match="a sweep with segments reserves this name"):
        sweep(lambda state, segment: (state, {"y": segment}), {"segment": [1.0]}, segments=start)
    with pytest.raises(ValueError, match=r"`halve` is 'z'; expected .* \(here 'y'\)"):
        sweep(lambda state, x: (state, {"y": x}), {"x": [1.0]}, segments=Segments(start.begin, 2, "z"))
    for name in ("segments", "x"):
        with pytest.raises(
            ValueError, match="'segments' is the name of an axis, setting or output, but a sweep with `halve`"
        ):
            sweep(
                lambda state, **axis: (state, {"segments" if "x" in axis else "y": state.sum(), "loss": state.sum()}),
                {name: [1.0]},
                segments=Segments(start.begin, 2, "loss"),
            )
    with pytest.raises(ValueError, match="`count` must be a positive number"):
        Segments(start.begin, 0)
    sweep(lambda x: {"y": x}, {"x": [1.0]}, tmp_path / "plain")
    with pytest.raises(OtherSweepError, match="without segments"):
        sweep(lambda state, x: (state, {"y": x}), {"x": [1.0]}, tmp_path / "plain", segments=start)
    sweep(lambda state, x: (state, {"y": x}), {"x": [1.0]}, tmp_path / "long", segments=start)
    with pytest.raises(OtherSweepError):
        sweep(lambda x: {"y": x}, {"x": [1.0]}, tmp_path / "long")


KILLED = """
import os, pathlib, random, signal, sys, time
import jax, jax.numpy as jnp, numpy
import jaxreg.lab.sweeps.engine
from jaxreg.lab import Segments, sweep

root, kills = pathlib.Path(sys.argv[1]), int(sys.argv[2])
jax.config.update("jax_compilation_cache_dir", str(root / "compiled"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_enable_xla_caches", "none")

def begin(seed):
    return seed + jnp.arange(50.0)

def run(state, seed):
    state = jax.lax.fori_loop(0, 10_000, lambda _, x: jnp.sin(x) + 1e-3 * x, state)
    return state, {"sum": state.sum()}

def start(store):
    pid = os.fork()
    if pid == 0:
        sweep(run, {"seed": range(6)}, store, segments=Segments(begin, 24), chunk=2)
        os._exit(0)
    return pid

def finished(store):  # a file that is written again has another inode or time
    return {f: (f.stat().st_ino, f.stat().st_mtime_ns) for f in store.glob("segment-*/chunk-*.npz")}

def content(store):
    return {f.relative_to(store): f.read_bytes() for f in store.glob("segment-*/*.npz")}

assert os.waitpid(start(root / "warm"), 0)[1] == 0
before = time.monotonic()
assert os.waitpid(start(root / "whole"), 0)[1] == 0
lasts = time.monotonic() - before
expected, again, done, number = content(root / "whole"), 0, 0, 0
random.seed(7)
while kills > 0:
    store, number = root / str(number), number + 1
    ended = signal.SIGKILL
    while ended == signal.SIGKILL:
        there, pid = finished(store), start(store)
        if kills > 0:
            time.sleep(random.uniform(0, lasts))
            os.kill(pid, signal.SIGKILL)
        ended = os.waitpid(pid, 0)[1]
        kills -= ended == signal.SIGKILL
        now = finished(store)
        again += sum(now[file] != mark for file, mark in there.items())
        done += len(now.keys() - there.keys())
    assert ended == 0 and content(store) == expected
print(f"{done} segments of chunks, {again} of them computed again after a kill, {number} sweeps equal")
assert again == 0 and done == 72 * number
"""


@pytest.mark.parametrize("kills", [5, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_run_loses_at_most_a_segment_and_no_bits(kills: int, tmp_path: Path) -> None:
    """Every resumed store ends with the bytes of the uninterrupted one, states too; no finished segment is touched."""
    command = [sys.executable, "-W", "ignore", "-c", KILLED, str(tmp_path), str(kills)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
