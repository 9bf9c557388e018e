"""A sweep seen from outside while it runs: the callback for loggers, and the command."""

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxreg.lab import choices, open_store, points, sweep, unflatten
from jaxreg.lab.cli.watch import watch
from jaxreg.lab.sweeps.store import open_folder
from jaxreg.lab.sweeps.watching import Watch


def run(x: Any, seed: Any, **kind: Any) -> dict[str, Any]:
    return {"y": jnp.log(x) + seed, "n": seed, "curve": x * jnp.ones(3)}


def test_each_finished_chunk_is_handed_over_with_its_points(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []

    def note(points: dict[str, Any], arrays: dict[str, Any]) -> None:
        assert arrays["curve"].shape == (len(points["seed"]), 3)
        rows.extend(
            {name: values[row] for name, values in (points | arrays).items()} for row in range(len(points["x"]))
        )

    over = {"config": points(x=[1.0, 2.0, 4.0], kind=["a", "b", "a"]), "seed": [5, 7]}
    sweep(run, over, tmp_path, chunk=3, on_chunk=note)
    assert sorted((row["x"], row["kind"], row["seed"]) for row in rows) == [
        (x, kind, seed) for x, kind in [(1.0, "a"), (2.0, "b"), (4.0, "a")] for seed in (5, 7)
    ]
    for row in rows:
        np.testing.assert_allclose(row["y"], np.log(row["x"]) + row["seed"], rtol=1e-6)
    sweep(run, over, tmp_path, on_chunk=lambda *_: pytest.fail("computed anew"))
    with pytest.raises(ValueError, match="read-only"):  # else the results would change
        sweep(run, over, on_chunk=lambda _, arrays: arrays["y"].sort())
    with pytest.raises(TypeError, match="`on_chunk` must be a function"):
        sweep(run, over, on_chunk=3)


def test_on_chunk_may_change_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    over = {"x": [1.0, 2.0, 4.0], "seed": [5, 7]}
    found = sweep(run, over, "store", chunk=1, on_chunk=lambda *_: monkeypatch.chdir(tmp_path / "other"))
    assert found["n"].values.tolist() == [[5, 7]] * 3
    assert not list((tmp_path / "other").iterdir())
    assert open_store(tmp_path / "store").sizes["x"] == 3


def test_a_store_is_watched_while_it_fills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep(run, {"x": [0.0, 1.0, 2.0], "seed": [5, 7]}, tmp_path / "s", chunk=2)
    hidden = [open_folder(tmp_path / "s").file(number) for number in (0, 2)]
    for file in hidden:
        file.rename(f"{file}.away")
    watched = Watch(tmp_path / "s")
    watched.refresh()
    assert (watched.lanes, watched.finished, watched.seconds_left) == (6, 2, None)
    watch(tmp_path / "s", 1.0)
    shown = capsys.readouterr().out
    assert "2 of 6 runs, 0 diverged" in shown
    assert "curve" not in shown
    for file in hidden:
        Path(f"{file}.away").rename(file)
    watched.refresh()
    assert (watched.finished, watched.diverged, watched.seconds_left) == (6, 2, 0.0)
    figures = watched.figures["y"]
    finite = [np.log(x) + seed for x in (1.0, 2.0) for seed in (5, 7)]
    np.testing.assert_allclose(
        [figures.total / figures.count, figures.low, figures.high], [np.mean(finite), 5, 7 + np.log(2)]
    )
    watch(tmp_path / "s", 1.0, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["finished"], found["outputs"]["n"]["mean"]) == (6, 6.0)


def test_several_programs_are_watched_as_one(tmp_path: Path) -> None:
    sweep(run, {"x": [1.0, 2.0], "seed": [5, 7], "kind": choices("a", "b")}, tmp_path)
    watched = Watch(tmp_path)
    watched.refresh()
    assert (watched.lanes, watched.finished) == (8, 8)


def test_a_name_that_partial_results_use_is_said_and_nothing_is_overwritten(tmp_path: Path) -> None:
    found = sweep(lambda finished: {"y": finished}, {"finished": [0.0, 1.0]}, tmp_path / "axis")
    assert unflatten(found, 0)["y"] == 0.0
    sweep(lambda x: {"finished": x}, {"x": [0.0, 1.0]}, tmp_path / "output")
    sweep(lambda finished: {"y": finished}, {"c": points(finished=[0.0, 1.0])}, tmp_path / "setting")
    for name in ("axis", "output", "setting"):
        with pytest.raises(ValueError, match="adds a coordinate 'finished', but an axis, setting or"):
            open_store(tmp_path / name, partial=True)
        assert open_store(tmp_path / name).load().sizes


def test_what_can_not_be_watched_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no store at"):
        watch(tmp_path / "none", 1.0)
    with pytest.raises(ValueError, match="--every is 0"):
        watch(tmp_path, 0)
