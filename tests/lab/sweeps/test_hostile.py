"""Stores made to hurt: each gets one sentence, and nothing is allocated by the sizes that it names."""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxreg.lab import choices
from jaxreg.lab.cli.studies import show
from jaxreg.lab.sweeps.engine import sweep
from jaxreg.lab.sweeps.joined import find_joined, open_store, write_joined
from jaxreg.lab.sweeps.manifest import Manifest
from jaxreg.lab.sweeps.store import COORDS, MANIFEST, _seal, open_folder
from jaxreg.lab.sweeps.watching import Watch

AXIS = {"x": [1.0, 2.0, 3.0], "seed": [0, 1]}


def run(x: Any, seed: Any) -> dict[str, Any]:
    return {"y": x * seed, "pair": np.float32(1) * np.ones(2, np.float32)}


def sealed(content: dict[str, Any]) -> bytes:
    """A manifest whose hashes are right, whatever it says."""
    content = {name: value for name, value in content.items() if name != "checksum"}
    try:
        named = {"format": content["format"], "chunk": content["chunk"], **content["identity"]}
        content["sweep"] = hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()
    except (KeyError, TypeError):
        pass
    checksum = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return json.dumps({"checksum": checksum, **content}).encode()


ODD = (
    None,
    True,
    -1,
    0,
    1.5,
    1e308,
    float("nan"),
    10**30,
    "",
    "x" * 10**6,
    "\ud800",
    [],
    [[]],
    {},
    {"a": {}},
    [1] * 99,
)
FIELDS = ("format", "identity", "dims", "chunk", "coords", "outputs", "attrs")


def manifests(whole: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """More than a hundred manifests that no sweep writes."""
    for field in FIELDS:
        yield f"no {field}", sealed({name: value for name, value in whole.items() if name != field})
        for odd in ODD:
            if not (field == "attrs" and isinstance(odd, dict)):
                yield f"{field} is {str(odd)[:20]}", sealed({**whole, field: odd})
    output = whole["outputs"]["y"]
    changes: list[dict[str, Any]] = [
        {"dims": {"x": 10**12, "seed": -2}},
        {"dims": {"x": 2**40, "seed": 2**40}},
        {"dims": {"x": 3}},
        {"dims": {"x": 3, "seed": 2, "more": 4}},
        {"dims": {"x": True, "seed": 2}},
        {"dims": {"x": 3, "seed": "2"}},
        {"chunk": 2**31},
        {"coords": {"x": "x"}},
        {"coords": {**whole["coords"], "z": "nowhere"}},
        {"coords": {**whole["coords"], "z": 3}},
        {"identity": {"program": 3}},
        {"identity": {**whole["identity"], "jax": "1\n2"}},
        {"outputs": {"y": []}},
        {"outputs": {"y": {}}},
        {"outputs": {"x": output}},
        {"outputs": {"a\nb": output}},
        {"outputs": {"y": {**output, "more": 1}}},
        {"outputs": {"y": {**output, "dims": ["x"], "shape": [3]}}},
        {"outputs": {"y": {**output, "dims": ["d"]}}},
        {"outputs": {"y": {**output, "dims": ["d", "d"], "shape": [1, 1]}}},
        {"outputs": {"y": {**output, "dims": ["d"], "shape": [1]}, "z": {**output, "dims": ["d"], "shape": [2]}}},
        {"outputs": {"y": {**output, "dims": [3], "shape": [1]}}},
        {"more": 1},
    ]
    changes += [{"outputs": {"y": {**output, "dims": ["d"], "shape": [n]}}} for n in (-1, 2**63, 1.0, "1", None, True)]
    changes += [{"outputs": {"y": {**output, "dtype": kind}}} for kind in ("object", "O", "V8", "U9", "", None, [], 3)]
    for change in changes:
        yield str(change)[:60], sealed({**whole, **change})
    yield "another sweep's hash", sealed(whole).replace(whole["sweep"].encode(), b"0" * 64)
    raw = json.dumps(whole)
    yield "a name twice", raw.replace('"chunk"', '"chunk": 7, "chunk"').encode()
    yield "NaN", raw.replace('"chunk": ', '"chunk": NaN, "was": ').encode()
    yield "deep", b"[" * 10**6
    yield "deep and closed", b'{"a":' * 10**5 + b"1" + b"}" * 10**5
    yield "many digits", b'{"checksum": ' + b"9" * 10**6 + b"}"
    yield "no UTF-8", b"\xff" * 100
    yield "nothing", b""
    yield "a list", b"[]"
    yield "null", b"null"
    yield "large", b" " * (2**24 + 1)


def refused(path: Path) -> str:
    with pytest.raises((ValueError, OSError)) as caught:
        open_store(path)
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < 600
    said.encode()
    return said


def test_a_hundred_hostile_manifests_get_one_sentence_each(tmp_path: Path) -> None:
    sweep(run, AXIS, tmp_path, chunk=2)
    file = tmp_path / MANIFEST
    whole = json.loads(file.read_bytes())
    assert open_folder(tmp_path).manifest == Manifest.decode(sealed(whole))
    tried = 0
    for name, raw in manifests(whole):
        file.write_bytes(raw)
        said = refused(tmp_path)
        assert "damaged" in said or "has format" in said, name
        tried += 1
    assert tried > 100


def test_joined_stores_made_to_hurt_get_one_sentence_each(tmp_path: Path) -> None:
    def one(o: Any, x: Any) -> dict[str, Any]:
        return {"y": o * x}

    over = {"o": choices(1, 2), "x": [1.0, 2.0]}
    path = tmp_path / "s"
    expected = sweep(one, over, path).load()
    whole = find_joined(path)
    assert whole is not None

    def write(folder: Path, parts: Any, part: Any = whole.part, place: Any = whole.place, sweeps: Any = None) -> None:
        attrs = {name: value for name, value in whole.manifest.attrs.items() if name != "sweeps"}
        attrs |= {"parts": parts} if sweeps is None else {"parts": parts, "sweeps": sweeps}
        write_joined(folder, replace(whole.manifest, attrs=attrs), whole.coords(), part, place)

    names = ["o=1", "o=2"]
    lists = [[odd, "o=2"] for odd in ("..", "", "a/b", "/", "\0", "a\nb", "x" * 999, ".", "none", "../s", "o=1/../o=1")]
    lists += [["o=1", "o=2"][:count] for count in (0, 1)]
    for parts in lists:
        write(path, parts)
        refused(path)
        assert sweep(one, over, path).load().identical(expected)
    for part, place in ((whole.part + 1, whole.place), (whole.part - 9, whole.place), (whole.part, whole.place + 9**9)):
        write(path, names, part, place)
        refused(path)
    for sweeps in ([], ["x"], ["x", "y"], "xy", {"o=1": "x"}, ["../" * 9, "\0"], ["x" * 9999, "y"], 3):
        write(path, names, sweeps=sweeps)
        refused(path)
        assert sweep(one, over, path).load().identical(expected)
    write(path, names, sweeps=[1, None])  # no names of sweeps: the newest are taken, as in stores without this list
    assert open_store(path).load().sizes == expected.sizes
    write(path, ["o=1", "o=2"] * 5000)
    assert open_store(path).load().sizes == expected.sizes
    nested = tmp_path / "nested"
    for folder in (nested, *(nested / "/".join("a" * depth) for depth in range(1, 200))):
        write(folder, ["a"], 0 * whole.part)
    (tmp_path / "loop").mkdir()
    write(tmp_path / "loop", ["a"], 0 * whole.part)
    (tmp_path / "loop" / "a").symlink_to(tmp_path / "loop")
    for folder in (nested, tmp_path / "loop"):
        assert "nested more than 3 deep" in refused(folder)


def test_a_sweep_mends_what_is_damaged(tmp_path: Path) -> None:
    expected = sweep(run, AXIS, tmp_path, chunk=2).load()
    file = tmp_path / MANIFEST
    good = file.read_bytes()
    whole = json.loads(good)
    for change in ({"dims": {"x": 10**12, "seed": 2**10}}, {"chunk": -1}, {"outputs": []}):
        file.write_bytes(sealed({**whole, **change}))
        assert sweep(run, AXIS, tmp_path, chunk=2).load().identical(expected)
        assert file.read_bytes() == good


def test_many_lanes_that_are_not_there_are_counted_at_once(tmp_path: Path) -> None:
    sweep(run, AXIS, tmp_path, chunk=2)
    file = tmp_path / MANIFEST
    whole = json.loads(file.read_bytes())
    file.write_bytes(sealed({**whole, "dims": {"x": 10**9, "seed": 10**3}}))
    assert "499999999997 of 500000000000 chunks" in refused(tmp_path)
    file.write_bytes(sealed({**whole, "dims": {"x": 10**9, "seed": 10**3}, "chunk": 2**31 - 1}))
    assert "466 of 466 chunks" in refused(tmp_path)
    file.write_bytes(sealed({**whole, "dims": {"x": 10**9, "seed": 10**3}}))
    watched = Watch(tmp_path)
    watched.refresh()
    assert (watched.lanes, watched.finished) == (10**12, 6)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", [MANIFEST, COORDS, "chunk-00000000.npz"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "terabyte"])
def test_what_is_no_file_is_not_read(name: str, kind: str, tmp_path: Path) -> None:
    sweep(run, AXIS, tmp_path, chunk=2)
    file = tmp_path / name
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        with file.open("wb") as sparse:
            sparse.truncate(2**40)
    if kind != "terabyte" or name != "chunk-00000000.npz":
        refused(tmp_path)
    else:
        with pytest.raises(ValueError, match=r"chunk-00000000\.npz is damaged"):
            open_store(tmp_path).load()


def archive(members: list[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as written:
        for name, content in members:
            written.writestr(name, content)
        written.comment = b"0" * 64
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def test_chunks_sealed_by_someone_else_are_not_taken(tmp_path: Path) -> None:
    """Their seals are right: only what is in them is not what the manifest says."""
    sweep(run, AXIS, tmp_path, chunk=2)
    store = open_folder(tmp_path)
    right = store.read(0)
    assert right is not None
    members = [("y.npy", npy(right["y"])), ("pair.npy", npy(right["pair"])), (".npy", npy(np.array(2)))]
    huge = npy(right["y"]).replace(b"(2,), }             ", b"(2000000000000,), } ")
    assert b"(2000000000000,)" in huge
    hostile: dict[str, bytes] = {
        "no archive": b"1" * 500,
        "a pickle": archive([("y.npy", npy(np.array([{}, []], object))), *members[1:]]),
        "a huge shape": archive([("y.npy", huge), *members[1:]]),
        "a header that is none": archive([("y.npy", b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 99), *members[1:]]),
        "a member more": archive([*members, ("y", b"")]),
        "a path": archive([("../y.npy", members[0][1]), *members[1:]]),
        "no width": archive([*members[:2], (".npy", npy(np.array("a")))]),
        "a width of two": archive([*members[:2], (".npy", npy(np.array([2, 2])))]),
        "other types": archive([("y.npy", npy(right["y"].astype(np.float64))), *members[1:]]),
        "cut short": archive(members)[100:],
    }
    assert store.read(1) is not None
    for name, raw in hostile.items():
        body = raw[:-64]
        store.file(0).write_bytes(body + _seal(store.file(0), store.manifest.sweep, body))
        assert store.read(0) is None, name
    body = archive(members)[:-64]
    store.file(0).write_bytes(body + _seal(store.file(0), store.manifest.sweep, body))
    assert store.read(0) is not None


def test_show_says_one_sentence(tmp_path: Path) -> None:
    sweep(run, AXIS, tmp_path / "store", chunk=2)
    file = tmp_path / "store" / MANIFEST
    whole = json.loads(file.read_bytes())
    file.write_bytes(sealed({**whole, "outputs": {"\ud800": 3}, "dims": {"x": 10**12}}))
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "study.json").write_bytes(b"[" * 10**6)
    for name in ("store", "study"):
        with pytest.raises(ValueError, match=r"damaged|holds no readable case study") as caught:
            show(tmp_path / name)
        assert "\n" not in str(caught.value)
