"""Sweeps that grow: equal to the sweep made at once, bit for bit, and no lane computed twice."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from jaxreg.lab import Labelled, choices, open_store, points, sweep
from jaxreg.lab.sweeps.store import OtherSweepError

DATA = np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32)


def net(scale: Any, seed: Any) -> dict[str, Any]:
    """Something whose last bits depend on the code that XLA makes of a chunk."""
    state = scale * jax.random.normal(jax.random.key(seed), (5, 5))
    for _ in range(3):
        state = jnp.tanh(state @ DATA) + 0.1 * state
    return {"state": Labelled(state.sum(0), ("unit",)), "loss": jnp.exp(state).mean()}


def grow(store: Path, over: Any, run: Any = net, **options: Any) -> tuple[xr.Dataset, int]:
    """The sweep and how many lanes it computed."""
    computed = []
    found = sweep(
        run, over, store, on_chunk=lambda _, arrays: computed.append(len(next(iter(arrays.values())))), **options
    )
    return found.load(), sum(computed)


class Growing(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = Path(self.folder.name) / "s"
        self.over: dict[str, list[Any]] = {"scale": [1.0, 2.0], "seed": [0, 1, 2]}
        self.computed = 0
        self.check()

    @rule(more=st.integers(1, 4))
    def further_seeds(self, more: int) -> None:
        seeds = self.over["seed"]
        seeds += range(max(seeds) + 1, max(seeds) + 1 + more)
        self.check()

    @rule(value=st.sampled_from([0.1, 0.25, 1.5, 3.0]), place=st.integers(0, 9), more=st.integers(0, 2))
    def a_value_inserted(self, value: float, place: int, more: int) -> None:
        scales, seeds = self.over["scale"], self.over["seed"]
        if value not in scales:
            scales.insert(place, value)
        seeds += range(max(seeds) + 1, max(seeds) + 1 + more)
        self.check()

    @rule(number=st.integers(0, 5))
    def a_chunk_is_lost(self, number: int) -> None:
        files = sorted(self.store.rglob("chunk-*.npz"))
        lost = files[number % len(files)]
        self.computed -= len(np.load(lost)["loss"])
        lost.unlink()
        self.check()

    def check(self) -> None:
        found, computed = grow(self.store, self.over, chunk=4)
        self.computed += computed
        assert self.computed == len(self.over["scale"]) * len(self.over["seed"])
        at_once = sweep(net, self.over, chunk=4)
        xr.testing.assert_identical(found, at_once)
        xr.testing.assert_identical(open_store(self.store).load(), at_once)

    def teardown(self) -> None:
        self.folder.cleanup()


Growing.TestCase.settings = settings(max_examples=2, stateful_step_count=3, deadline=None, derandomize=True)
test_a_sweep_that_grows_is_the_sweep_made_at_once = Growing.TestCase


@pytest.mark.slow
class TestGrowsTenTimes(Growing.TestCase):
    settings = settings(max_examples=4, stateful_step_count=10, deadline=None, derandomize=True)


KEYS = jax.random.split(jax.random.key(0), 8)
GROWN: dict[str, tuple[Any, Any, Any, int]] = {
    "points, one inserted": (
        lambda lr, decay, seed: {"y": lr + 10 * decay + seed},
        {"config": points(lr=[1.0, 3.0], decay=[0.0, 1.0]), "seed": range(2)},
        {"config": points(lr=[1.0, 2.0, 3.0], decay=[0.0, 1.0, 1.0]), "seed": range(3)},
        9 - 4,
    ),
    "trees": (
        lambda recipe: {"y": recipe["a"] + recipe["b"].sum()},
        {"recipe": [{"a": 1.0, "b": np.ones(2)}, {"a": 2.0, "b": np.ones(2)}]},
        {"recipe": [{"a": 1.0, "b": np.ones(2)}, {"a": 2.0, "b": np.ones(2)}, {"a": 3.0, "b": np.zeros(2)}]},
        1,
    ),
    "keys": (lambda k: {"y": jax.random.normal(k)}, {"k": KEYS[:3]}, {"k": KEYS}, 5),
    "another order": (net, {"scale": [1.0, 2.0], "seed": [0, 1]}, {"scale": [2.0, 1.0], "seed": [1, 0]}, 0),
    "off, and seeds": (
        lambda decay, seed: {"y": seed + (0.0 if decay is None else decay)},
        {"decay": [None, 0.5], "seed": range(2)},
        {"decay": [0.25, None, 0.5], "seed": range(3)},
        9 - 4,
    ),
    "choices, and seeds": (
        lambda act, seed: {"y": act(1.0 * seed)},
        {"act": choices(jnp.sin, jnp.cos), "seed": range(2)},
        {"act": choices(jnp.sin, jnp.tanh, jnp.cos), "seed": range(4)},
        12 - 4,
    ),
    "choices of names of several lengths": (
        lambda o, seed: {"y": 1.0 * seed * len(o)},
        {"o": choices("sgd", "adam"), "seed": range(2)},
        {"o": choices("sgd", "adam", "momentum"), "seed": range(4)},
        12 - 4,
    ),
    "one choice, then others": (
        lambda o, seed: {"y": 1.0 * seed * len(o)},
        {"o": choices("sgd"), "seed": range(2)},
        {"o": choices("adam", "sgd"), "seed": range(3)},
        6 - 2,
    ),
    "points with names": (
        lambda o, lr, seed: {"y": lr * seed * len(o)},
        {"config": points(o=["sgd", "adam"], lr=[0.1, 0.2]), "seed": range(2)},
        {"config": points(o=["sgd", "adam", "momentum"], lr=[0.1, 0.2, 0.3]), "seed": range(3)},
        9 - 4,
    ),
}


@pytest.mark.parametrize("case", GROWN.values(), ids=GROWN)
def test_designs_grow(case: tuple[Any, ...], tmp_path: Path) -> None:
    run, few, many, new = case
    grow(tmp_path / "s", few, run, chunk=2)
    found, computed = grow(tmp_path / "s", many, run, chunk=2)
    assert computed == new
    at_once = sweep(run, many, tmp_path / "other", chunk=2).load()
    xr.testing.assert_identical(found.drop_attrs(), at_once.drop_attrs())
    assert grow(tmp_path / "s", many, run)[1] == 0
    before, computed = grow(tmp_path / "s", few, run)  # what was asked for first is there as it was
    assert computed == 0
    assert before.sizes == sweep(run, few, chunk=2).sizes


def test_each_size_that_a_sweep_had_is_still_read(tmp_path: Path) -> None:
    sizes = {count: {"scale": np.arange(1.0, count), "seed": range(count)} for count in (3, 4, 6)}
    whole = {count: grow(tmp_path, over, chunk=4)[0] for count, over in sizes.items()}
    for count in (4, 3, 6, 4):
        found, computed = grow(tmp_path, sizes[count])
        assert (computed, found.identical(whole[count])) == (0, True)
    xr.testing.assert_identical(open_store(tmp_path).load(), whole[6])
    lost = next(tmp_path.glob("grown-*/chunk-00000000.npz"))
    lost.unlink()
    for count in (4, 6):
        xr.testing.assert_identical(grow(tmp_path, sizes[count])[0], whole[count])
    assert lost.exists()


def sums(strength: Any, seed: Any, kind: str = "") -> dict[str, Any]:
    return {"sum": 1000 * strength + seed}


FEW, MANY = [0.0, 1.0, 2.0], [0.0, 1.0, 1.5, 2.0]
CALLS = {
    "seeds": [(FEW, 4), (FEW, 8), (FEW, 4), (FEW, 16), (FEW, 8)],
    "strengths": [(FEW, 4), (MANY, 4), (FEW, 4)],
    "both": [(FEW, 4), (FEW, 8), (MANY, 8), (FEW, 4), (FEW, 8), (MANY, 8)],
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("kinds", [{}, {"kind": choices("a", "b")}], ids=["one program", "two programs"])
def test_runs_stand_at_their_coordinates_after_calls_of_all_sizes(name: str, kinds: Any, tmp_path: Path) -> None:
    largest = (0, 0)
    for strengths, seeds in CALLS[name]:
        made = sweep(sums, {**kinds, "strength": strengths, "seed": range(seeds)}, tmp_path, chunk=8)
        found = open_store(tmp_path)
        assert "sweeps" not in found.attrs
        for one in (made, found):
            wanted = 1000 * one["strength"] + one["seed"]
            np.testing.assert_array_equal(one["sum"], wanted.broadcast_like(one["sum"]).transpose(*one["sum"].dims))
        largest = max(largest, (len(strengths), seeds))
        assert (found.sizes["strength"], found.sizes["seed"]) == largest


def test_a_choice_that_grows_alone_leaves_the_others_at_their_coordinates(tmp_path: Path) -> None:
    def over(seeds: int, *kinds: str) -> dict[str, Any]:
        return {"kind": choices(*kinds), "strength": FEW, "seed": range(seeds)}

    for seeds, kinds in ((4, "ab"), (8, "a"), (4, "ab"), (8, "ab")):
        sweep(sums, over(seeds, *kinds), tmp_path)
        found = open_store(tmp_path)
        assert dict(found.sizes) == {"kind": len(kinds), "strength": 3, "seed": seeds}
        wanted = 1000 * found["strength"] + found["seed"]
        np.testing.assert_array_equal(found["sum"], wanted.broadcast_like(found["sum"]).transpose(*found["sum"].dims))


def test_later_coordinates_of_outputs_are_stored_with_several_programs(tmp_path: Path) -> None:
    def run(kind: str, seed: Any) -> dict[str, Any]:
        return {"curve": Labelled(seed + jnp.arange(3.0), ("time",))}

    over = {"kind": choices("a", "b"), "seed": range(2)}
    for times in ([1, 2, 3], [10, 20, 30]):
        made = sweep(run, over, tmp_path, coords={"time": times})
        for found in (made, open_store(tmp_path)):
            assert found["time"].values.tolist() == times


def test_a_joined_part_that_is_another_sweep_is_refused(tmp_path: Path) -> None:
    over = {"kind": choices("a", "b"), "strength": FEW, "seed": range(2)}
    sweep(sums, over, tmp_path)
    shutil.rmtree(tmp_path / "kind=a")
    sweep(sums, {**over, "kind": choices("a"), "seed": range(1, 3)}, tmp_path / "other")
    shutil.move(tmp_path / "other" / "kind=a", tmp_path / "kind=a")
    with pytest.raises(ValueError, match=r"kind=a does not hold the sweep that .*joined\.json records"):
        open_store(tmp_path)


def test_new_lanes_are_handed_over_with_their_points(tmp_path: Path) -> None:
    def run(lr: Any, seed: Any) -> dict[str, Any]:
        return {"y": 10 * lr + seed}

    seen: list[tuple[Any, ...]] = []

    def note(points: dict[str, Any], arrays: dict[str, Any]) -> None:
        seen.extend(zip(points["lr"], points["seed"], arrays["y"], strict=True))

    for lrs, seeds in (([1.0, 3.0], [0, 1]), ([1.0, 2.0, 3.0], [0, 1, 2])):
        sweep(run, {"config": points(lr=lrs), "seed": seeds}, tmp_path, on_chunk=note)
    assert sorted(seen) == [(lr, seed, 10 * lr + seed) for lr in (1.0, 2.0, 3.0) for seed in range(3)]


@pytest.mark.parametrize(
    ("run", "over", "message"),
    [
        (
            net,
            {"scale": [1.0, 3.0], "seed": range(9)},
            r"sweep: axis 'scale' has 2\.0 in the store, but not in this sweep\. To add",
        ),
        (lambda scale, seed: net(2 * scale, seed), {"scale": [1.0, 2.0], "seed": range(9)}, "the function that"),
        (
            net,
            {"scale": [1.0, 2.0], "seed": range(2)},
            r"has 2 in the store, .* open_store\(\.\.\.\)\.sel\(seed=\.\.\.\)\.",
        ),
        (net, {"scale": [1.0, 2.0, 3.0], "seed": range(2)}, r"axis 'seed' has 2 in the store, but"),
    ],
)
def test_only_the_same_function_takes_over_lanes(run: Any, over: Any, message: str, tmp_path: Path) -> None:
    sweep(net, {"scale": [1.0, 2.0], "seed": range(3)}, tmp_path, chunk=4)
    before = {path.name: path.read_bytes() for path in tmp_path.rglob("*")}
    with pytest.raises(OtherSweepError, match=message):
        sweep(run, over, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.rglob("*")} == before


def test_an_unfinished_sweep_grows_and_is_seen_while_it_does(tmp_path: Path) -> None:
    over = {"scale": [1.0, 2.0], "seed": range(6)}
    sweep(net, over, tmp_path, chunk=4)
    (tmp_path / "chunk-00000001.npz").unlink()
    seen = open_store(tmp_path, partial=True)
    assert (seen.attrs["finished"], seen.attrs["unfinished"]) == (8, 4)
    assert np.isnan(seen["loss"].values).sum() == 4
    np.testing.assert_array_equal(np.isnan(seen["loss"]), ~seen["finished"])
    more = {"scale": [1.0, 1.5, 2.0], "seed": range(6)}

    stored: list[int] = []

    def stop(points: Any, arrays: Any) -> None:
        stored.append(len(points["seed"]))  # the last chunk is shorter
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        sweep(net, more, tmp_path, on_chunk=stop)
    with pytest.raises(ValueError, match=r"2 of 5 chunks .* are missing: run the same sweep again .* partial=True"):
        open_store(tmp_path)
    assert open_store(tmp_path, partial=True).attrs["unfinished"] == 18 - 8 - sum(stored)
    found, computed = grow(tmp_path, more)
    assert computed == 18 - 8 - sum(stored)
    xr.testing.assert_identical(found, sweep(net, more, chunk=4))
