"""The store's one law: what it hands back is what was written, or nothing."""

import json
import os
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jaxreg.lab.atomic_files import write_whole
from jaxreg.lab.sweeps.manifest import Manifest, Variable
from jaxreg.lab.sweeps.store import COORDS, MANIFEST, Store, create, open_folder

MINE = Manifest(
    identity={"program": "p", "grid": "g", "jax": "1"},
    dims={"l2": 2, "seed": 3},
    chunk=4,
    coords={"l2": "l2", "seed": "seed", "method": "l2"},
    outputs={"loss": Variable(("epoch",), (2,), "float32"), "a/b": Variable((), (), "int32")},
    attrs={"grid": "l2 (2) x seed (3)"},
)
COORD_VALUES = {"l2": np.array([0.0, 0.1]), "seed": np.arange(3), "method": np.array(["none", "L2"])}


def chunk_arrays(length: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(length)
    return {
        "loss": rng.normal(size=(length, 2)).astype(np.float32),
        "a/b": rng.integers(0, 9, length).astype(np.int32),
    }


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = create(tmp_path / "store", MINE, COORD_VALUES)
    for number in range(len(MINE.chunks)):
        store.write(number, chunk_arrays(len(MINE.chunks.lanes(number))), 4)
    return store


def same(found: dict[str, np.ndarray] | None, length: int) -> bool:
    """Whether what was read is what was written, type and bits."""
    wanted = chunk_arrays(length)
    return found is not None and all(
        found[name].dtype == wanted[name].dtype and found[name].tobytes() == wanted[name].tobytes() for name in wanted
    )


def test_what_was_written_is_read(store: Store) -> None:
    again = open_folder(store.path)
    assert again.manifest == MINE
    assert [same(again.read(n), len(MINE.chunks.lanes(n))) for n in range(len(MINE.chunks))] == [True, True]
    coords = again.coords()
    assert coords is not None
    assert {name: dim for name, (dim, _) in coords.items()} == MINE.coords
    for name, (_, values) in coords.items():
        np.testing.assert_array_equal(values, COORD_VALUES[name])


def test_a_chunk_is_a_plain_npz_without_pickle(store: Store) -> None:
    with np.load(store.file(0), allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["loss"], chunk_arrays(4)["loss"])


@pytest.mark.parametrize("name", ["chunk-00000001.npz", COORDS])
def test_every_byte_changed_is_noticed(store: Store, name: str) -> None:
    """Each byte of a file in turn gets one flipped bit; then each length is cut short."""
    path = store.path / name
    whole = path.read_bytes()
    read = store.coords if name == COORDS else lambda: store.read(1)
    assert read() is not None
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << (position % 8)
        path.write_bytes(damaged)
        assert read() is None, f"byte {position} of {len(whole)} went unnoticed"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert read() is None, f"cut to {length} of {len(whole)} bytes went unnoticed"
    path.write_bytes(whole + b"\0")
    assert read() is None
    path.write_bytes(whole)
    assert read() is not None


def test_every_byte_of_the_manifest_changed_is_noticed_or_means_the_same(store: Store) -> None:
    path = store.path / MANIFEST
    whole = path.read_bytes()
    flipped = [whole[:n] + bytes([whole[n] ^ mask]) + whole[n + 1 :] for n in range(len(whole)) for mask in (1, 32)]
    noticed = 0
    for damaged in flipped + [whole[:length] for length in range(len(whole))]:
        try:
            assert Manifest.decode(damaged) == MINE
        except ValueError:
            noticed += 1
    assert noticed > 2.5 * len(whole)


def test_a_chunk_in_another_ones_place_is_not_read(store: Store) -> None:
    other = create(store.path.parent / "other", replace(MINE, identity={**MINE.identity, "grid": "h"}), COORD_VALUES)
    other.write(0, chunk_arrays(4), 4)
    store.file(1).write_bytes(store.file(0).read_bytes())
    assert store.read(1) is None
    store.file(0).write_bytes(other.file(0).read_bytes())
    assert store.read(0) is None


def test_a_chunk_of_other_shapes_is_not_read(store: Store) -> None:
    for arrays in (
        chunk_arrays(3),
        {"loss": chunk_arrays(4)["loss"]},
        {**chunk_arrays(4), "more": np.zeros(4)},
        {**chunk_arrays(4), "a/b": np.zeros(4, np.float32)},
    ):
        store.write(0, arrays, 4)
        assert store.read(0) is None
    store.write(0, chunk_arrays(4), 4)
    assert same(store.read(0), 4)


def test_a_huge_or_compressed_file_is_not_unpacked(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(store.file(0), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("loss.npy", bytes(50_000_000))
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("a file that doesn't verify was opened"))
    assert store.read(0) is None
    os.truncate(store.file(0), 2**42)  # no disk and no memory holds so much
    assert store.read(0) is None


def test_a_damaged_or_missing_file_is_mended_or_refused(store: Store) -> None:
    """The sweep that made the store opens it again, whatever is lost; another one never does."""
    for name in (MANIFEST, COORDS, "chunk-00000000.npz"):
        for content in (None, b"", b"{}", b"[" * 100_000, b"\0" * 100):
            path = store.path / name
            whole = path.read_bytes()
            path.unlink() if content is None else path.write_bytes(content)
            mended = create(store.path, MINE, COORD_VALUES)
            assert mended.coords() is not None
            assert Manifest.decode((store.path / MANIFEST).read_bytes()) == MINE
            path.write_bytes(whole)
    (store.path / MANIFEST).unlink()
    with pytest.raises(ValueError, match="none of its 2 chunks belongs to this sweep"):
        create(store.path, replace(MINE, identity={"program": "q"}), COORD_VALUES)
    with pytest.raises(FileNotFoundError, match=r"no manifest\.json"):
        open_folder(store.path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"identity": {**MINE.identity, "program": "q"}}, "the function that computes a run, or the data that this"),
        ({"identity": {**MINE.identity, "jax": "2"}}, "jax is '1' in the store and '2' in this sweep"),
        ({"chunk": 5}, "chunk is 4 in the store and 5 in this sweep"),
        (
            {"identity": {**MINE.identity, "grid": "h"}, "attrs": {"grid": "l2 (3) x seed (3)"}},
            r"grid is 'l2 \(2\) x seed \(3\)' in the store and 'l2 \(3\) x seed \(3\)' in this sweep",
        ),
    ],
)
def test_another_sweep_is_refused_with_what_differs(store: Store, changed: dict, message: str) -> None:
    before = {path.name: path.read_bytes() for path in store.path.iterdir()}
    with pytest.raises(ValueError, match=message):
        create(store.path, replace(MINE, **changed), COORD_VALUES)
    assert {path.name: path.read_bytes() for path in store.path.iterdir()} == before


def test_a_file_or_a_folder_of_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds other files \(notes\.txt\)"):
        create(tmp_path, MINE, COORD_VALUES)
    for open_it in (lambda p: create(p, MINE, COORD_VALUES), open_folder):
        with pytest.raises(ValueError, match="is a file; expected a folder"):
            open_it(tmp_path / "notes.txt")
    with pytest.raises(ValueError, match=r"inside/it: .*notes\.txt is a file"):
        create(tmp_path / "notes.txt" / "inside" / "it", MINE, COORD_VALUES)
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(ValueError, match="is a link whose target 'nowhere' does not exist"):
        create(tmp_path / "link", MINE, COORD_VALUES)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_only_a_file_is_replaced_and_what_a_link_points_to(tmp_path: Path) -> None:
    """A rename over `/dev/null`, which its owner may do, would put a file there for the whole machine."""
    pipe, target, link = tmp_path / "pipe", tmp_path / "target", tmp_path / "link"
    os.mkfifo(pipe)
    with pytest.raises(
        ValueError, match="pipe' is a device or a pipe; expected a regular file, or a path that does not exist"
    ):
        write_whole(pipe, "text")
    assert pipe.is_fifo()
    link.symlink_to(target)
    for text in ("new", "newer"):
        write_whole(link, text)
        assert link.is_symlink()
        assert target.read_text() == text


def test_a_newer_format_is_refused(store: Store) -> None:
    import hashlib

    content = json.loads((store.path / MANIFEST).read_text())
    del content["checksum"]
    content["format"] = 99
    content["checksum"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    (store.path / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(ValueError, match="format 99"):
        open_folder(store.path)
    with pytest.raises(ValueError, match="format 99"):
        create(store.path, MINE, COORD_VALUES)


def test_only_old_temporary_files_are_cleared(store: Store) -> None:
    old, young = store.path / ".chunk-1.old.tmp", store.path / ".chunk-1.young.tmp"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    create(store.path, MINE, COORD_VALUES)
    assert (old.exists(), young.exists()) == (False, True)


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_store import MINE, COORD_VALUES, chunk_arrays, same
from jaxreg.lab.sweeps.store import create
store = create(Path({path!r}), MINE, COORD_VALUES)
for turn in range(20):
    for number in range(len(MINE.chunks)):
        store.write(number, chunk_arrays(len(MINE.chunks.lanes(number))), 4)
        assert same(store.read(number), len(MINE.chunks.lanes(number))), "torn"
"""


def test_two_processes_on_one_store_never_tear_it(tmp_path: Path) -> None:
    code = WRITER.format(tests=str(Path(__file__).parent), path=str(tmp_path / "store"))
    writers = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    store = open_folder(tmp_path / "store")
    assert [same(store.read(n), len(MINE.chunks.lanes(n))) for n in range(len(MINE.chunks))] == [True, True]
    assert not list(store.path.glob(".*.tmp"))


@pytest.mark.skipif(not Path("/dev/shm").is_dir() or sys.platform != "linux", reason="needs Linux limits")
def test_a_full_disk_leaves_what_was_there(store: Store) -> None:
    """A limit on file size makes the kernel refuse the bytes, as a full disk does."""
    code = f"""
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_store import MINE, chunk_arrays
from jaxreg.lab.sweeps.store import Store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    Store(Path({str(store.path)!r}), MINE).write(0, chunk_arrays(4), 4)
except OSError as error:
    print(error.strerror)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "File too large", done.stderr
    assert same(store.read(0), 4)
    assert not list(store.path.glob(".*.tmp"))
