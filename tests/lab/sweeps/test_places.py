"""Stores at an address: what is uploaded counts, and a sweep goes on from there."""

import uuid
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxreg.lab import Segments, best, open_store, sweep
from jaxreg.lab.sweeps import places
from jaxreg.lab.sweeps.store import OtherSweepError

fsspec = pytest.importorskip("fsspec")


def double(x: Any) -> Any:
    return {"y": 2 * x}


@pytest.fixture
def address() -> str:
    return f"memory://bucket/{uuid.uuid4().hex}"


def test_a_sweep_that_stops_goes_on_from_what_was_uploaded(address: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    computed: list[float] = []

    def stop(settings: Any, _: Any) -> None:
        computed.extend(settings["x"])
        if len(computed) == 2:
            raise RuntimeError("the machine is gone")

    over = {"x": [1.0, 2.0, 3.0, 4.0]}
    with pytest.raises(RuntimeError, match="gone"):
        sweep(double, over, address, chunk=1, on_chunk=stop)
    there = open_store(address, partial=True)
    assert there["finished"].sum() >= 2
    assert set(computed) <= set(there["x"].values[there["finished"].values])
    found = sweep(double, over, address, on_chunk=stop)
    assert sorted(computed) == [1.0, 2.0, 3.0, 4.0]
    np.testing.assert_array_equal(found["y"], [2.0, 4.0, 6.0, 8.0])
    assert open_store(address).equals(found)
    with pytest.raises(OtherSweepError, match=f"the store {address} belongs to another sweep"):
        sweep(lambda x: {"y": 3 * x}, over, address)
    with pytest.raises(FileNotFoundError, match=f"no store at '{address}0': there is no manifest.json"):
        open_store(address + "0")
    assert not list(tmp_path.iterdir())


def test_states_and_files_that_are_not_needed_are_removed_there_too(address: str) -> None:
    def add(state: Any, x: Any) -> Any:
        return state + x, {"loss": state, "net": state * jnp.ones(2)}

    over, begin = {"x": [3.0, 1.0, 2.0]}, lambda: jnp.zeros(())
    sweep(add, over, address, segments=Segments(begin, 2), keep=best(1, "loss"), chunk=1)
    found = sweep(add, over, address, segments=Segments(begin, 3), keep=best(1, "loss"))
    np.testing.assert_array_equal(found["loss"], [[0.0, 3.0, 6.0], [0.0, 1.0, 2.0], [0.0, 2.0, 4.0]])
    assert open_store(address).equals(found)
    names = [name.rpartition("/") for name in fsspec.filesystem("memory").find(address.removeprefix("memory:/"))]
    assert [folder[-13:] for folder, _, name in names if name.startswith("state-")] == ["segment-00002"] * 3
    assert [folder[-13:] for folder, _, name in names if name.startswith("best-")] == [
        f"segment-{number:05d}" for number in range(3)
    ]


@pytest.mark.parametrize("address", ["ftp://host/x", "https://host/x", "nonsense://x", Path("s3://bucket/x")])
def test_an_address_that_can_not_hold_a_store_is_refused(address: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    for call in (lambda: sweep(double, {"x": [1.0]}, address), lambda: open_store(address)):
        with pytest.raises(
            ValueError,
            match="is an address that is not supported; expected a folder, or an address that begins with s3://",
        ):
            call()
    assert not list(tmp_path.iterdir())


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(places._PACKAGES, "gs", "gcsfs")
    monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
    with pytest.raises(ModuleNotFoundError, match="needs gcsfs, which is not installed: pip install gcsfs"):
        open_store("gs://bucket/x")
