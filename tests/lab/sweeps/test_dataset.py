"""A store opened as a dataset: the same numbers as plain NumPy indexing, read only where they are asked for."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from jaxreg.lab.sweeps.joined import open_store
from jaxreg.lab.sweeps.manifest import Manifest, Variable
from jaxreg.lab.sweeps.store import Store, create

MANIFEST = Manifest(
    identity={"program": "p"},
    dims={"l2": 3, "draw": 4, "seed": 5},
    chunk=7,
    coords={"l2": "l2", "draw": "draw", "seed": "seed", "method": "l2", "epoch": "epoch"},
    outputs={"curve": Variable(("epoch", "unit"), (6, 2), "float32"), "step": Variable((), (), "int32")},
    attrs={"grid": "l2 (3) x draw (4) x seed (5)"},
)
COORDS = {
    "l2": np.array([0.0, 1e-3, 0.1]),
    "draw": np.arange(4),
    "seed": np.arange(5) + 10,
    "method": np.array(["none", "L2(0.001)", "L2(0.1)"]),
    "epoch": np.arange(6) * 20,
}
CURVE = np.arange(3 * 4 * 5 * 6 * 2, dtype=np.float32).reshape(3, 4, 5, 6, 2)
STEP = np.arange(60, dtype=np.int32).reshape(3, 4, 5)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = create(tmp_path / "store", MANIFEST, COORDS)
    curve, step = CURVE.reshape(60, 6, 2), STEP.ravel()
    for number in range(len(MANIFEST.chunks)):
        rows = slice(number * 7, min(60, number * 7 + 7))
        store.write(number, {"curve": curve[rows], "step": step[rows]}, 7)
    return store


def test_the_whole_dataset(store: Store) -> None:
    expected = xr.Dataset(
        {
            "curve": (("l2", "draw", "seed", "epoch", "unit"), CURVE),
            "step": (("l2", "draw", "seed"), STEP),
        },
        {**COORDS, "method": ("l2", COORDS["method"])},
        {"grid": "l2 (3) x draw (4) x seed (5)", "sweep": MANIFEST.sweep},
    )
    xr.testing.assert_identical(open_store(store.path).load(), expected)
    xr.testing.assert_identical(open_store(str(store.path))[["step"]].load(), expected[["step"]])


KEYS = [
    {},
    {"l2": 1},
    {"l2": -1, "seed": slice(1, 5, 2)},
    {"draw": [3, 0, 0], "epoch": slice(None, None, -1)},
    {"l2": [2, 0], "draw": [1, 3], "seed": [4, 2], "unit": 1},
    {"seed": slice(0, 0)},
    {"l2": 0, "draw": 1, "seed": 2, "epoch": 3, "unit": 1},
    {"l2": xr.DataArray([0, 2, 1], dims="point"), "seed": xr.DataArray([4, 0, 1], dims="point")},
    {"draw": np.array([True, False, True, True]), "unit": [1, 0]},
]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_any_selection_is_that_of_the_array_in_memory(store: Store, key: dict) -> None:
    whole = xr.DataArray(CURVE, dims=("l2", "draw", "seed", "epoch", "unit"))
    np.testing.assert_array_equal(open_store(store.path)["curve"].isel(key).values, whole.isel(key).values)


def test_labels_select(store: Store) -> None:
    opened = open_store(store.path)
    assert opened["step"].sel(l2=1e-3, draw=2, seed=13).item() == STEP[1, 2, 3]
    assert opened["curve"].sel(epoch=40).isel(l2=0, draw=0, seed=1, unit=1).item() == CURVE[0, 0, 1, 2, 1]


def test_only_the_chunks_asked_for_are_read(store: Store) -> None:
    for number in range(1, len(MANIFEST.chunks)):
        store.file(number).write_bytes(b"not read" * 1000)
    opened = open_store(store.path)
    np.testing.assert_array_equal(opened["step"][0, 0, :5], STEP[0, 0])
    with pytest.raises(ValueError, match=r"chunk-00000001\.npz is damaged: run the same sweep again"):
        opened["step"].load()


def test_what_is_missing_is_said(store: Store, tmp_path: Path) -> None:
    store.file(2).unlink()
    with pytest.raises(ValueError, match=r"1 of 9 chunks of .* are missing: run the same sweep again"):
        open_store(store.path)
    (store.path / "coords.npz").write_bytes(b"")
    store.write(2, {"curve": CURVE.reshape(60, 6, 2)[14:21], "step": STEP.ravel()[14:21]}, 7)
    with pytest.raises(ValueError, match=r"the coordinates of .* are damaged"):
        open_store(store.path)
    with pytest.raises(FileNotFoundError, match="no store at"):
        open_store(tmp_path / "nothing")
