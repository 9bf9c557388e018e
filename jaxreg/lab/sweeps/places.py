"""Location of a store: a folder, or an address such as ``s3://bucket/ridge``.

For an address, a temporary folder holds a copy of the store. Existing files are downloaded first. Each new file is
uploaded as soon as it is written, in the order of writing. The supported services replace a file in a single operation,
so an uploaded chunk is always complete.

At an address, a process can't claim (lock) a chunk. So if several processes share an address, each process computes
all missing chunks. The processes write equal bytes.
"""

import atexit
import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxreg.lab.sweeps.store import local_folder

_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "memory": "fsspec"}
"""Scheme of an address -> package for the scheme. All listed services replace a file in a single operation."""


class Place:
    """Location of the results of a sweep: a folder, or the memory of this process.

    Args:
        path: Folder of the store, or None for results in memory.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def push(self) -> None:
        """Upload new files to the address of the store. Do nothing if the store is a folder."""

    @contextlib.contextmanager
    def named(self) -> Iterator[None]:
        """Let the errors of a `with` block name the store as the user did. Nothing needs to be done for a folder."""
        yield


class Mirror(Place):
    """Temporary local copy of a store at an address, such as s3://bucket/ridge.

    Args:
        address: Address of the store.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._files, self._root = _file_system(address)
        temporary = tempfile.mkdtemp(prefix="jaxreg-")
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)  # datasets read from it until then
        super().__init__(Path(temporary, "store"))
        self._seen: dict[str, tuple[int, int]] = {}
        self._pull()

    def push(self) -> None:
        """Upload the files that were written since the last call. Delete remote files whose local copy was deleted."""
        now = self._local()
        for name in sorted(now.keys(), key=lambda name: now[name]):  # a state before its chunk, as it was written
            if self._seen.get(name) != now[name]:
                self._files.put_file(str(self._folder / name), f"{self._root}/{name}")
        for name in self._seen.keys() - now.keys():
            with contextlib.suppress(FileNotFoundError):
                self._files.rm_file(f"{self._root}/{name}")
        self._seen = now

    @contextlib.contextmanager
    def named(self) -> Iterator[None]:
        """In the errors of a `with` block, replace the path of the temporary folder by the address of the store."""
        try:
            yield
        except BaseException as error:
            error.args = tuple(
                one.replace(str(self._folder), self._address) if isinstance(one, str) else one for one in error.args
            )
            raise

    @property
    def _folder(self) -> Path:
        assert self.path is not None
        return self.path

    def _pull(self) -> None:
        self._files.invalidate_cache()
        for remote in self._files.find(self._root):
            name = remote.removeprefix(self._root).lstrip("/")
            if name and ".." not in Path(name).parts:
                (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
                self._files.get_file(remote, str(self._folder / name))
        self._seen = self._local()

    def _local(self) -> dict[str, tuple[int, int]]:
        """Return the time and size of each file, except claims and unfinished files, whose names begin with a dot."""
        files = [file for file in self._folder.rglob("*") if file.is_file() and not file.name.startswith(".")]
        return {file.relative_to(self._folder).as_posix(): _mark(file) for file in files}


def place_of(store: str | os.PathLike[str] | None) -> Place:
    """Return the `Place` of a store, from its path or address.

    Args:
        store: Folder or address of the store, or None for results in memory.

    Raises:
        ValueError: If this type of address is not supported, or if `store` is an address and `jax.distributed` runs
            several processes.
        ModuleNotFoundError: If the package for this type of address is not installed.
    """
    if store is None:
        return Place(None)
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://.", store) if isinstance(store, str) else None
    if not isinstance(store, str) or found is None or found[1] not in _PACKAGES:
        return Place(local_folder(store).absolute())
    import jax  # only here: who reads a folder need not load it

    if jax.process_count() > 1:
        raise ValueError(
            f"the store {store} is an address, which doesn't work with jax.distributed; expected a folder on a shared "
            "disk"
        )
    return Mirror(store.rstrip("/"))


def _file_system(address: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]

        files, root = url_to_fs(address, use_listings_cache=False)
    except ImportError:
        package = _PACKAGES[address.partition("://")[0]]
        raise ModuleNotFoundError(
            f"the store {address} needs {package}, which is not installed: pip install {package}"
        ) from None
    return files, str(root).rstrip("/")


def _mark(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_mtime_ns, found.st_size
