"""Large outputs that only the best runs keep: the same values, and no more files than are needed."""

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from jaxreg.lab import Segments, best, choices, open_store, points, sweep, unflatten
from jaxreg.lab.sweeps.keeping import Keeper
from jaxreg.lab.sweeps.manifest import DamagedError, Manifest
from jaxreg.lab.sweeps.store import OtherSweepError, open_folder
from jaxreg.lab.sweeps.watching import Watch

LOSSES = np.random.default_rng(0).permutation(22).astype(np.float32)
LOSSES[3] = np.nan


def run(x: Any, value: Any) -> Any:
    return {
        "loss": jnp.where(value == 99, jnp.nan, value),
        "net": {"w": x * jnp.arange(3.0), "n": jnp.arange(2)},
        "curve": x + jnp.arange(4),
    }


def runs(count: int) -> Any:
    return points(x=np.arange(count), value=np.nan_to_num(LOSSES[:count], nan=99.0))


def check(found: xr.Dataset, count: int, lanes: int, *, curve: bool = True) -> None:
    """By NumPy: the lowest losses keep their arrays."""
    stays = np.argsort(LOSSES[:lanes])[:count]  # NaN comes last
    there = np.isin(np.arange(lanes), stays)[:, None]
    x = np.arange(lanes)[:, None]
    np.testing.assert_array_equal(found["loss"], LOSSES[:lanes])
    np.testing.assert_array_equal(found["net/w"], np.where(there, x * np.arange(3.0), np.nan))
    np.testing.assert_array_equal(found["net/n"], np.where(there, np.arange(2), np.nan))
    np.testing.assert_array_equal(found["curve"], np.where(there | (not curve), x + np.arange(4), np.nan))


def test_the_best_runs_keep_their_arrays(tmp_path: Path) -> None:
    check(sweep(run, runs(18), keep=best(4, "loss"), chunk=4), 4, 18)
    keep = best(4, "loss", outputs="net")
    computed: list[int] = []

    def again(lanes: int) -> xr.Dataset:
        computed.clear()
        note = lambda settings, _: computed.extend(settings["x"].tolist())  # noqa: E731
        return sweep(run, runs(lanes), tmp_path, keep=keep, chunk=4, on_chunk=note)

    found = again(18)
    check(found, 4, 18, curve=False)
    check(open_store(tmp_path), 4, 18, curve=False)
    chunks = {int(lane) // 4 for lane in np.argsort(LOSSES[:18])[:4]}
    assert {int(file.stem[-8:]) for file in tmp_path.glob("best-*")} == chunks
    watch = Watch(tmp_path)
    watch.refresh()
    assert (watch.finished, watch.diverged) == (18, 1)
    lowest = int(np.nanargmin(LOSSES[:18]))
    np.testing.assert_array_equal(unflatten(found, lowest)["net"]["n"], [0, 1])
    with pytest.raises(ValueError, match="is missing: keep=best"):
        unflatten(found, int(np.nanargmax(LOSSES[:18])))
    file = tmp_path / f"best-{lowest // 4:08d}.npz"
    file.write_bytes(file.read_bytes()[:-1])
    check(again(18), 4, 18, curve=False)
    assert lowest in computed and len(computed) <= 4  # noqa: PT018
    check(again(22), 4, 22, curve=False)
    assert sorted(computed) == [18, 19, 20, 21]
    with pytest.raises(OtherSweepError, match="keep is"):
        sweep(run, runs(22), tmp_path, keep=best(5, "loss", outputs="net"))


def test_a_chunk_that_another_process_finishes_unnoticed_counts_at_the_end(tmp_path: Path) -> None:
    keep = best(1, "loss")
    sweep(lambda x: {"loss": -x, "w": x * jnp.ones(2)}, {"x": np.arange(6.0)}, tmp_path / "s", keep=keep, chunk=2)
    store = open_folder(tmp_path / "s")
    files = {file.name: file.read_bytes() for file in store.path.iterdir()}
    theirs = [store.path / name for name in ("chunk-00000002.npz", "best-00000002.npz")]
    for file in theirs:
        file.unlink()
    keeper = Keeper([store])  # the chunk 1 is the best so far, without its large outputs
    for file in theirs:
        file.write_bytes(files[file.name])
    assert not keeper.finish()
    assert {file.name: file.read_bytes() for file in store.path.iterdir()} == files


def test_programs_share_the_best_and_segments_have_their_own(tmp_path: Path) -> None:
    def sized(x: Any, size: Any) -> Any:
        return {"loss": x * size, "w": jnp.full(size, x)}

    found = sweep(sized, {"size": choices(2, 1), "x": [3.0, 1.0, 2.0]}, tmp_path, keep=best(2, "loss"))
    nan = [np.nan, np.nan]
    np.testing.assert_array_equal(found["w"], [[nan, [1.0, 1.0], nan], [nan, [1.0, np.nan], nan]])
    assert open_store(tmp_path).equals(found)

    def count(state: Any, x: Any) -> Any:
        return state + x, {"loss": state, "w": state * jnp.ones(1)}

    segments = Segments(lambda: jnp.zeros(()), 3)
    found = sweep(count, {"x": [3.0, 1.0, 2.0]}, segments=segments, keep=best(1, "loss"))
    np.testing.assert_array_equal(found["w"][..., 0], [[0.0, np.nan, np.nan], [np.nan, 1.0, 2.0], [np.nan] * 3])


def test_a_rule_that_does_not_fit_is_refused_in_a_sentence() -> None:
    for keep, words in (
        (best(4, "los"), r"can't rank the runs by 'los'; expected .* \(here 'loss'\)"),
        (best(4, "curve"), "can't rank the runs by 'curve'"),
        (
            best(4, "loss", "weights"),
            "there is no output 'weights'; expected one or more of loss, net/w, net/n, curve",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            sweep(run, runs(2), keep=keep)
    with pytest.raises(ValueError, match="`count` must be a positive number of runs, got 0"):
        best(0, "loss")
    with pytest.raises(TypeError, match=r"`keep` must be best\(count, by\), got 8"):
        sweep(run, runs(2), keep=8)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "rule", ["", "1", "[1]", '[0, "loss", ["w"]]', '[1, "w", ["w"]]', '[1, "loss", ["x"]]', '[1, "loss", ["n"]]']
)
def test_a_manifest_with_another_rule_is_damaged(rule: str, tmp_path: Path) -> None:
    sweep(lambda x: {"loss": x, "w": x * jnp.ones(2), "n": jnp.arange(2)}, {"x": [1.0]}, tmp_path)
    found = Manifest.decode((tmp_path / "manifest.json").read_bytes())
    changed = Manifest(found.identity | {"keep": rule}, found.dims, found.chunk, found.coords, found.outputs)
    with pytest.raises(DamagedError, match=r"its entry 'keep' in 'identity' is .*; expected a number of runs"):
        Manifest.decode(changed.encode())
    right = Manifest(
        found.identity | {"keep": json.dumps([1, "loss", ["w"]])}, found.dims, found.chunk, found.coords, found.outputs
    )
    assert Manifest.decode(right.encode()) == right
