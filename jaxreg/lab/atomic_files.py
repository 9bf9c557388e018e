"""Files that are written whole or not at all."""

import contextlib
import errno
import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_PASSING = {errno.EAGAIN, errno.EBUSY, errno.EIO, errno.ETIMEDOUT, getattr(errno, "ESTALE", errno.EIO)}
"""Errors that a network file system may give once and not again."""
_PAUSES = (0.05, 0.2, 0.8, 2.0)
"""Seconds to wait before each further try."""
_GUARDED = 5.0
"""Seconds after which the folder that guards a new file is taken to be left behind."""
_IMPOSSIBLE = {errno.EPERM, errno.EACCES, errno.EINVAL, errno.EBADF, errno.EISDIR, errno.ENOSYS, errno.EMLINK} | {
    *(getattr(errno, name, errno.EINVAL) for name in ("ENOTSUP", "EOPNOTSUPP"))
}
"""Errors of a file system that has no hard links, or can't flush a folder, such as FAT or a mounted bucket."""


def write_whole(file: Path, content: str | bytes) -> None:
    """Write a file, whole or not at all; its folder is made if needed.

    Args:
        file: Where to.
        content: Text, which becomes UTF-8, or bytes.

    Raises:
        ValueError: If a folder has that name, or something else that is no file, such as a pipe.
        OSError: If it can't be written; the file is as it was.
    """
    if file.is_dir():
        raise ValueError(f"{file} is a folder; expected a file, or a name that is free")
    if file.exists() and not file.is_file():  # a rename would replace /dev/null by a file
        raise ValueError(f"{file} is a device or a pipe; expected a file, or a name that is free")
    file = file.resolve()  # what a link points to, not the link, which would be lost
    file.parent.mkdir(parents=True, exist_ok=True)
    _write(file, content.encode() if isinstance(content, str) else content)


def retried(function: Callable[[], T]) -> T:
    """Call a function of files again if a network file system fails for a moment.

    Args:
        function: Function without arguments, which may be called several times.
    """
    for pause in _PAUSES:
        try:
            return function()
        except OSError as error:
            if error.errno not in _PASSING:
                raise
        time.sleep(pause)
    return function()


def _write(path: Path, content: bytes | memoryview, *, new: bool = False) -> None:
    """Make `path` hold `content`, whole or not at all; if `new`, leave a file that is there already."""
    # All of it again: after a failed flush, a second one of the same file may succeed with nothing on disk.
    retried(lambda: _write_once(path, content, new))


def _write_once(path: Path, content: bytes | memoryview, new: bool) -> None:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with _opened(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as descriptor:
            with memoryview(content) as rest:
                written = 0
                while written < len(rest):
                    written += os.write(descriptor, rest[written:])
            os.fsync(descriptor)
        if new:
            _link(temporary, path)
            temporary.unlink(missing_ok=True)
        else:
            os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            error.filename = str(path)  # a full disk names none, and the temporary name means nothing to a reader
        raise
    try:
        with _opened(path.parent, os.O_RDONLY) as folder:
            os.fsync(folder)
    except OSError as error:
        if error.errno not in _IMPOSSIBLE:
            raise


def _link(temporary: Path, path: Path) -> None:
    """Give a file its name, unless there is one of that name already."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in _IMPOSSIBLE:
            raise
        _rename_alone(temporary, path)


def _rename_alone(temporary: Path, path: Path) -> None:
    """Do what `os.link` does without hard links: a folder, which one process only can make, keeps others out."""
    guard = path.with_name(f".{path.name}.guard.tmp")
    until = time.monotonic() + _GUARDED
    while True:
        try:
            guard.mkdir()
            break
        except FileExistsError:
            if time.monotonic() > until:  # its process has ended
                break
            time.sleep(0.02)
    try:
        if not path.exists():
            os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            guard.rmdir()


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags, 0o666)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
