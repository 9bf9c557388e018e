"""Store: a folder of finished chunks, which stays valid if the process is killed at any moment.

``manifest.json`` describes the sweep, ``coords.npz`` contains the coordinates, and each finished chunk is one ``.npz``
file. A file is written under a temporary name, flushed and renamed. Then its folder is flushed. The file is therefore
either complete or missing.

The last 64 bytes of an ``.npz`` file are its checksum. The checksum is the SHA-256 of the sweep's hash, the name of the
file and all other bytes of the file. It is stored as the zip comment, which NumPy ignores. A chunk that is incomplete,
altered, renamed or from another sweep does not match its checksum, and counts as missing. An ``.npz`` file is parsed
only after its checksum is verified. Nothing is pickled.
"""

import contextlib
import hashlib
import io
import os
import re
import stat
import time
import zipfile
from collections.abc import Mapping, Set
from pathlib import Path

import numpy as np

from jaxreg.lab.atomic_files import _write, retried
from jaxreg.lab.sweeps.claims import Claims
from jaxreg.lab.sweeps.dataset import Coordinates
from jaxreg.lab.sweeps.keeping import ROWS, Keeping, filled, rule_of, split
from jaxreg.lab.sweeps.manifest import MOST_BYTES, DamagedError, Manifest, is_state

MANIFEST = "manifest.json"
COORDS = "coords.npz"
_SEAL = 64
_STALE = 3600.0


class OtherSweepError(ValueError):
    """Error for a store that holds the results of another sweep.

    A store accepts the sweep that created it, and any sweep that only adds values to the axes. The function, the
    options and the order of the axes must be the same. Each axis of the new sweep must contain all values that this
    axis has in the store. Added values must have the type of the stored values.

    The error message says what differs. To read a part of the results, use `open_store(...).sel(...)`.
    """


class Store:
    """Store of finished chunks in a folder.

    Args:
        path: Folder of the store.
        manifest: Layout of the results.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._rule = rule_of(manifest)
        large = self._rule.outputs if self._rule else ()
        self._small = {name: variable for name, variable in manifest.outputs.items() if name not in large}

    @property
    def count(self) -> int:
        """Number of chunks."""
        return len(self.manifest.chunks)

    def find(self, lanes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the chunk index of each run, and the position of the run in its chunk."""
        return self.manifest.chunks.find(lanes)

    def file(self, number: int) -> Path:
        """Return the path of the file of a chunk, whether or not the file exists."""
        return self.path / f"chunk-{number:08d}.npz"

    def has(self, number: int) -> bool:
        """Return whether the file of a chunk exists, even if it is damaged."""
        return self.file(number).exists()

    def present(self) -> set[int]:
        """Return the indices of the stored chunks.

        A chunk counts as stored if its file exists and is large enough.
        """
        lane = sum(variable.nbytes for variable in self._small.values())
        chunks, found = self.manifest.chunks, set[int]()
        if not self.path.exists():
            return found
        with os.scandir(self.path) as entries:
            for entry in entries:
                number = entry.name.removeprefix("chunk-").removesuffix(".npz")
                if not number.isdecimal() or int(number) >= len(chunks) or entry.name != self.file(int(number)).name:
                    continue
                if entry.is_file() and entry.stat().st_size >= lane * len(chunks.lanes(int(number))):
                    found.add(int(number))
        return found

    def write(self, number: int, arrays: Mapping[str, np.ndarray], width: int) -> None:
        """Write a finished chunk to disk.

        Args:
            number: Index of the chunk, from 0.
            arrays: Outputs of the chunk, with one row per run. In a sweep with segments, also the final states.
            width: Number of runs that were computed together.

        Raises:
            OSError: If the disk is full or the folder cannot be written. Existing files are not changed.
        """
        outputs = {name: array for name, array in arrays.items() if not is_state(name)}
        if len(outputs) < len(arrays):  # the state first: a chunk that is there can go on
            state = {name: array for name, array in arrays.items() if is_state(name)}
            _write_sealed(self._checkpoint(number), state, self.manifest.sweep)
        if self._rule is not None:
            outputs, large = split(self._rule, outputs)
            self.keep(number, large)
        _write_sealed(self.file(number), {**outputs, "": np.asarray(width)}, self.manifest.sweep)

    def state(self, number: int, names: Set[str]) -> dict[str, np.ndarray] | None:
        """Return the final states of the runs in a chunk, or None if the states are missing or damaged.

        Args:
            number: Index of the chunk, from 0.
            names: Names of the arrays of the state.
        """
        return _read_sealed(self._checkpoint(number), self.manifest.sweep, names)

    def forget_states(self) -> None:
        """Remove the stored final states of all runs."""
        for file in self.path.glob("state-*.npz"):
            file.unlink(missing_ok=True)

    def stores(self) -> list[Keeping]:
        """Return a list that contains only this store."""
        return [self]

    def drop(self, number: int) -> None:
        """Remove a chunk from the store, so that it is computed again."""
        self.file(number).unlink(missing_ok=True)

    def _checkpoint(self, number: int) -> Path:
        return self.path / f"state-{number:08d}.npz"

    def read(self, number: int) -> dict[str, np.ndarray] | None:
        """Return the arrays of a chunk, or None if the chunk is missing or damaged."""
        small = self.small(number)
        return small if small is None or self._rule is None else filled(self.manifest, small, self.kept(number))

    def small(self, number: int) -> dict[str, np.ndarray] | None:
        """Return the small outputs of a chunk, or None if the chunk is missing or damaged."""
        arrays = self._read(number)
        return None if arrays is None else {name: arrays[name] for name in self._small}

    def kept(self, number: int) -> dict[str, np.ndarray] | None:
        """Return the large outputs of the best runs in a chunk, and the row indices of these runs.

        Returns None if the file is missing or damaged.
        """
        names = {ROWS, *(self._rule.outputs if self._rule else ())}
        return _read_sealed(self._best(number), self.manifest.sweep, names)

    def keep(self, number: int, arrays: Mapping[str, np.ndarray] | None) -> None:
        """Replace the stored large outputs of a chunk, or remove them if `arrays` is None."""
        if arrays is None:
            self._best(number).unlink(missing_ok=True)
        else:
            _write_sealed(self._best(number), arrays, self.manifest.sweep)

    def _best(self, number: int) -> Path:
        return self.path / f"best-{number:08d}.npz"

    def claims(self) -> Claims:
        """Return a context manager that claims (locks) chunks of the store for this process."""
        return Claims(self.path)

    def width(self, number: int) -> int | None:
        """Return how many runs of a chunk were computed together.

        If device memory ran out, the number is less than the size of the chunk.
        """
        arrays = self._read(number)
        return None if arrays is None else int(arrays[""])

    def _read(self, number: int) -> dict[str, np.ndarray] | None:
        length = len(self.manifest.chunks.lanes(number))
        expected = {name: (length, *v.shape) for name, v in self._small.items()}
        size = sum(length * variable.nbytes for variable in self._small.values())
        limit = size + sum(2048 + 4 * len(name.encode()) for name in [*expected, ""])
        arrays = _read_sealed(self.file(number), self.manifest.sweep, {*expected, ""}, limit)
        if arrays is None or arrays[""].shape != () or arrays[""].dtype.kind not in "iu":
            return None
        for name, shape in expected.items():
            if arrays[name].shape != shape or arrays[name].dtype.name != self.manifest.outputs[name].dtype:
                return None
        return arrays

    def coords(self) -> Coordinates | None:
        """Return the coordinates as a dict from name to (dimension, values); None if they are damaged."""
        arrays = _read_sealed(self.path / COORDS, self.manifest.sweep, self.manifest.coords.keys())
        sizes = dict(self.manifest.dims)
        for output in self.manifest.outputs.values():
            sizes |= dict(zip(output.dims, output.shape, strict=True))
        dims = self.manifest.coords
        if arrays is None or any(values.shape != (sizes[dims[name]],) for name, values in arrays.items()):
            return None
        return {name: (dims[name], values) for name, values in arrays.items()}

    def describe(self, advice: str) -> str:
        """Return the message for an interrupted sweep: the number of stored chunks, then the text `advice`."""
        there = len(self.present())
        return f"stopped with {there} of {len(self.manifest.chunks)} chunks in {self.path}: {advice}"


def local_folder(path: str | os.PathLike[str]) -> Path:
    """Return the path of a store in the file system.

    Args:
        path: Path of the store. It may begin with ``~``.

    Raises:
        ValueError: If `path` is an address that is not supported, such as ``ftp://host/store``.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", os.fspath(path)):  # one letter is a drive of Windows
        raise ValueError(
            f"the store {path} is an address that is not supported; expected a folder, or an address that begins with "
            "s3://, gs://, az:// or memory://"
        )
    return Path(path).expanduser()


def find_manifest(path: Path) -> Manifest | None:
    """Return the manifest of a folder, or None if the folder has no readable manifest.

    Raises:
        ValueError: If `path` is a file, or the manifest has another version of the format.
    """
    if path.exists() and not path.is_dir():
        raise ValueError(f"the store {path} is a file; expected a folder")
    if path.is_symlink() and not path.exists():
        raise ValueError(
            f"the store {path} is a link whose target {os.readlink(path)!r} does not exist; expected a folder"
        )
    try:
        return _read_manifest(path / MANIFEST)
    except (FileNotFoundError, DamagedError):
        return None
    except NotADirectoryError:
        raise ValueError(f"can't create the store {path}: {_file_in(path)} is a file. Use another folder") from None
    except IsADirectoryError:
        raise ValueError(f"{path / MANIFEST} is a folder; expected a file. Use another folder for the store") from None
    except ValueError as error:
        raise ValueError(f"can't read {path / MANIFEST}: {error}") from None


def _read_manifest(file: Path) -> Manifest:
    if not stat.S_ISREG(mode := file.stat().st_mode) and not stat.S_ISDIR(mode):  # a pipe would be waited for
        raise ValueError(
            "the manifest is a device or a pipe; expected a regular file. Use another folder for the store"
        )

    def read() -> bytes:
        with file.open("rb") as opened:
            return opened.read(MOST_BYTES + 1)

    return Manifest.decode(retried(read))


def _file_in(path: Path) -> Path:
    return next((parent for parent in path.parents if parent.exists() and not parent.is_dir()), path)


def create(path: Path, manifest: Manifest, coords: Mapping[str, np.ndarray]) -> Store:
    """Open the store of a sweep. Create the folder and the files of the store if they are missing.

    Args:
        path: Folder of the store.
        manifest: Manifest that the store must have.
        coords: Values of the coordinates.

    Raises:
        OtherSweepError: If the folder belongs to another sweep.
        ValueError: If the folder holds other files.
        OSError: If the folder cannot be created or written.
    """
    store = Store(path, manifest)
    found = find_manifest(path)
    if found is None:
        _check_free(store)
        path.mkdir(parents=True, exist_ok=True)
        _write(path / MANIFEST, manifest.encode(), new=not (path / MANIFEST).exists())
        found = find_manifest(path)
    if found is None or found.sweep != manifest.sweep:
        there = None if found is None else Store(path, found).coords()
        raise OtherSweepError(
            f"the store {path} belongs to another sweep: {difference(found, there, manifest, coords)}"
        )
    if found.layout != manifest.layout:
        _write(path / MANIFEST, manifest.encode())
    if store.coords() is None:
        _write_sealed(path / COORDS, dict(coords), manifest.sweep)
    _clear_stale(path)
    return store


def open_folder(path: Path) -> Store:
    """Open the store in an existing folder.

    Raises:
        FileNotFoundError: If the folder or its manifest does not exist.
        ValueError: If the manifest is damaged.
    """
    try:
        return Store(path, _read_manifest(path / MANIFEST))
    except NotADirectoryError:
        raise ValueError(f"the store {path} is a file; expected a folder") from None
    except FileNotFoundError:
        raise FileNotFoundError(f"no store at {str(path)!r}: there is no {MANIFEST}") from None
    except DamagedError as error:
        raise ValueError(
            f"can't read {path / MANIFEST}: {error}. Run the same sweep again to repair the store"
        ) from None
    except ValueError as error:
        raise ValueError(f"can't read {path / MANIFEST}: {error}") from None


def _check_free(store: Store) -> None:
    """Raise if a folder without a readable manifest contains other files, or only chunks of other sweeps."""
    if not store.path.exists():
        return
    names = {entry.name for entry in store.path.iterdir() if not entry.name.startswith(".")}
    chunks = {name for name in names if name.startswith(("chunk-", "state-", "best-")) and name.endswith(".npz")}
    if others := names - chunks - {MANIFEST, COORDS}:
        raise ValueError(f"the folder {store.path} holds other files ({sorted(others)[0]}): use an empty folder")
    if chunks and all(store.read(number) is None for number in range(len(store.manifest.chunks))):
        raise ValueError(
            f"the store {store.path} has no readable {MANIFEST}, and none of its {len(chunks)} chunks belongs to this "
            "sweep: use another folder, or delete this one"
        )


def difference(
    found: Manifest | None, there: Coordinates | None, wanted: Manifest, here: Mapping[str, np.ndarray]
) -> str:
    """Describe how the sweep of a store differs from another sweep, as text for an error message.

    Args:
        found: Manifest of the store, or None if another process is just writing the manifest.
        there: Coordinates of the store, or None if they are damaged.
        wanted: Manifest of the sweep.
        here: Values of the coordinates of the sweep.
    """
    if found is None:
        return "another process is just creating the store. Run this sweep again, or use another folder"
    theirs = {**found.identity, "chunk": found.chunk}
    ours = {**wanted.identity, "chunk": wanted.chunk}
    parts = (
        []
        if there is None
        else _differences_of_axes(found, {name: values for name, (_, values) in there.items()}, wanted, here)
    )
    if parts:  # then the program is another one too, as it computes these axes
        return "; ".join(parts) + ". Use another folder for another sweep"
    for name in ours | theirs:
        first, second = theirs.get(name), ours.get(name)
        if first == second:
            continue
        if name == "program":
            parts.append("the function that computes a run, or the data that this function uses, is different")
            continue
        if name == "grid":
            first, second = found.attrs.get("grid"), wanted.attrs.get("grid")
            if first == second:
                parts.append(f"grid is {first!r} in both, but a coordinate has other values")
                continue
        parts.append(f"{name} is {_shortened(first)} in the store and {_shortened(second)} in this sweep")
    return (
        "; ".join(parts) + ". Use another folder for this sweep. To continue the stored sweep, undo these differences"
    )


_GIVEN_BY = {
    "float64": ". To continue the stored sweep, use np.logspace or a list of floats, which give float64",
    "float32": ". To continue the stored sweep, use jnp.logspace or jnp.asarray, which give float32",
}
"""Type of the values of an axis in a store -> advice on how to make values of this type."""


def _differences_of_axes(
    found: Manifest, there: Mapping[str, np.ndarray], wanted: Manifest, here: Mapping[str, np.ndarray]
) -> list[str]:
    """Return what keeps a sweep from reading or extending a store because of its axes, one text per difference."""
    if list(found.dims) != list(wanted.dims):
        return [f"the axes are {list(found.dims)} in the store, but {list(wanted.dims)} in this sweep"]
    parts = []
    for name in (name for name in wanted.dims if name in there and name in here):
        old, new = there[name], here[name]
        if old.dtype.kind != "U" and old.dtype != new.dtype:
            parts.append(
                f"axis {name} has values of type {old.dtype} in the store and {new.dtype} in this sweep"
                f"{_GIVEN_BY.get(str(old.dtype), '')}"
            )
        elif (lost := old[~np.isin(old, new)]).size:
            listed = ", ".join(map(repr, lost[:3].tolist())) + (", …" if lost.size > 3 else "")
            parts.append(
                f"axis {name!r} has {listed} in the store, but not in this sweep. To add runs, pass all values of the "
                f"store and the new values. To read some of the runs, use open_store(...).sel({name}=...)"
            )
    return parts


def _shortened(value: object) -> str:
    text = str(value)
    short = text if len(text) <= 40 else text[:39] + "…"
    return repr(short) if isinstance(value, str) else short


def _seal(path: Path, sweep: str, body: bytes | memoryview) -> bytes:
    digest = hashlib.sha256(f"{sweep} {path.name} ".encode())
    digest.update(body)
    return digest.hexdigest().encode()


def _write_sealed(path: Path, arrays: Mapping[str, np.ndarray], sweep: str) -> None:
    """Write an uncompressed ``.npz`` file without time stamps, with a checksum as its zip comment."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
        archive.comment = b"0" * _SEAL
    view = buffer.getbuffer()
    view[-_SEAL:] = _seal(path, sweep, view[:-_SEAL])
    _write(path, view)


def _read_sealed(path: Path, sweep: str, names: Set[str], limit: int | None = None) -> dict[str, np.ndarray] | None:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or (limit is not None and found.st_size > limit):
            return None
        raw = retried(path.read_bytes)
    except (FileNotFoundError, NotADirectoryError, MemoryError):
        return None
    body, seal = memoryview(raw)[:-_SEAL], raw[-_SEAL:]
    if len(raw) <= _SEAL or _seal(path, sweep, body) != seal:
        return None
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            members = archive.infolist()
            if any(info.compress_type != zipfile.ZIP_STORED for info in members):
                return None
            if sorted(info.filename for info in members) != sorted(f"{name}.npy" for name in names):
                return None
            return {info.filename.removesuffix(".npy"): _member(archive, info) for info in members}
    except Exception:  # its seal was made for what we never write, and each reader in turn may stumble over that
        return None


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(info) as member:
        return np.lib.format.read_array(member, allow_pickle=False)


def _clear_stale(path: Path) -> None:
    """Remove temporary files and claims of killed processes: those that were not changed for an hour."""
    for entry in path.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - entry.stat().st_mtime > _STALE:
                entry.unlink()
