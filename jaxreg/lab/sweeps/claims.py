"""Claims: lock files that keep processes with a shared store from computing the same chunk twice.

A process claims a chunk by creating a file in the folder of the store. The flag ``O_EXCL`` lets only one process create
the file. This process touches the file every few seconds while it computes, and removes the file when the chunk is
stored.

Another process takes over a claim that is stale. A claim is stale if its process ran on this machine and has ended, or
if the file was not touched for a minute. If two processes nevertheless compute the same chunk, they store the same
bytes. So claims save work, but correct results do not depend on claims.
"""

import contextlib
import os
import platform
import threading
import uuid
from pathlib import Path
from typing import Any, Self

_TOUCHED = 5.0
"""Seconds between two touches of a claim."""
_STALE = 60.0
"""A claim that was not touched for this many seconds is stale. The clock of the file system is used."""


class Claims:
    """Context manager that claims (locks) chunks of a store for this process, so that no other process computes them.

    Args:
        folder: Folder of the store.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: set[int] = set()
        self._ended = threading.Event()
        self._owner = f"{_machine()} {os.getpid()} {uuid.uuid4().hex}".encode()

    def __enter__(self) -> Self:
        threading.Thread(target=self._touch, name="claims", daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._ended.set()
        for number in list(self._held):
            self.release(number)

    def take(self, number: int) -> bool:
        """Claim a chunk for this process. Return False if another process has already claimed it.

        A stale claim is taken over.

        Args:
            number: Number of the chunk.
        """
        file = self._file(number)
        if not self._made(file):
            if not self._is_stale(file):
                return False
            gone = file.with_name(f".{file.name}.{uuid.uuid4().hex}.tmp")
            with contextlib.suppress(FileNotFoundError):
                os.rename(file, gone)  # of several that find it stale, one renames it
                gone.unlink()
            if not self._made(file):
                return False
        self._held.add(number)
        return True

    def release(self, number: int) -> None:
        """Remove the claim of this process on a chunk.

        Args:
            number: Number of the chunk.
        """
        self._held.discard(number)
        file = self._file(number)
        with contextlib.suppress(OSError):
            if file.read_bytes() == self._owner:  # not that of a process that found ours stale
                file.unlink()

    def _file(self, number: int) -> Path:
        return self._folder / f".chunk-{number:08d}.claim.tmp"

    def _made(self, file: Path) -> bool:
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return False
        try:
            os.write(descriptor, self._owner)
        finally:
            os.close(descriptor)
        return True

    def _is_stale(self, file: Path) -> bool:
        try:
            machine, process, _ = file.read_text().rsplit(" ", 2)
            if machine == _machine() and not _runs(int(process)):
                return True
        except FileNotFoundError:
            return True
        except (OSError, ValueError):  # its owner is about to write it
            pass
        with contextlib.suppress(FileNotFoundError):
            return self._now() - file.stat().st_mtime > _STALE
        return True

    def _now(self) -> float:
        """Return the time on the clock of the file system, which may be on another machine."""
        probe = self._folder / f".clock.{uuid.uuid4().hex}.tmp"
        probe.touch()
        try:
            return probe.stat().st_mtime
        finally:
            probe.unlink()

    def _touch(self) -> None:
        while not self._ended.wait(_TOUCHED):
            for number in list(self._held):
                with contextlib.suppress(OSError):
                    os.utime(self._file(number))


class Unshared:
    """Variant of `Claims` that locks nothing, for a store that only this process uses."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None: ...

    def take(self, number: int) -> bool:
        """Claim a chunk, which always succeeds: no other process uses the store."""
        return True

    def release(self, number: int) -> None:
        """Do nothing: there is no lock to remove."""


def _machine() -> str:
    """Return a name that identifies this boot of the machine and this container (its process namespace)."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return platform.node()


def _runs(process: int) -> bool:
    if os.name != "posix":  # on Windows a signal of 0 ends the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
