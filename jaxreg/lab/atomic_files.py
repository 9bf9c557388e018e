"""Write files atomically: the whole file, or nothing."""

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
"""Error numbers of temporary errors of network file systems. A second try often succeeds."""
_PAUSES = (0.05, 0.2, 0.8, 2.0)
"""Seconds to wait before the second, third, fourth and fifth try."""
_GUARDED = 5.0
"""Seconds to wait for the folder that locks a new file. A folder that is still there was left by a killed process."""
_IMPOSSIBLE = {errno.EPERM, errno.EACCES, errno.EINVAL, errno.EBADF, errno.EISDIR, errno.ENOSYS, errno.EMLINK} | {
    *(getattr(errno, name, errno.EINVAL) for name in ("ENOTSUP", "EOPNOTSUPP"))
}
"""Error numbers of file systems that cannot make hard links or flush folders, such as FAT or a mounted bucket."""


def write_whole(file: Path, content: str | bytes) -> None:
    """Write a file atomically: completely, or not at all. Create its parent folders if they are missing.

    Args:
        file: Path of the file.
        content: Bytes, or text, which is written as UTF-8.

    Raises:
        ValueError: If the path is a folder, a device or a pipe.
        OSError: If the file cannot be written. An existing file is then unchanged.
    """
    if file.is_dir():
        raise ValueError(f"{str(file)!r} is a folder; expected a file, or a path that does not exist")
    if file.exists() and not file.is_file():  # a rename would replace /dev/null by a file
        raise ValueError(f"{str(file)!r} is a device or a pipe; expected a regular file, or a path that does not exist")
    file = file.resolve()  # write the target of a link, instead of replacing the link
    file.parent.mkdir(parents=True, exist_ok=True)
    _write(file, content.encode() if isinstance(content, str) else content)


def retried(function: Callable[[], T]) -> T:
    """Call a function that reads or writes files. Retry it up to four times after temporary errors.

    Network file systems can raise temporary errors.

    Args:
        function: Function without arguments. It must be safe to call it several times.
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
    """Write `content` to `path` atomically. If `new` is true, leave an existing file unchanged."""
    # The whole write is repeated: after a failed flush, a second flush may succeed with nothing on disk.
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
            error.filename = str(path)  # a full disk gives no name, and the temporary name would confuse the reader
        raise
    try:
        with _opened(path.parent, os.O_RDONLY) as folder:
            os.fsync(folder)
    except OSError as error:
        if error.errno not in _IMPOSSIBLE:
            raise


def _link(temporary: Path, path: Path) -> None:
    """Give the temporary file the name `path`, unless a file of that name exists already."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in _IMPOSSIBLE:
            raise
        _rename_alone(temporary, path)


def _rename_alone(temporary: Path, path: Path) -> None:
    """Rename the temporary file to `path` unless `path` exists, on file systems without hard links.

    A folder acts as a lock, because only one process can create it.
    """
    guard = path.with_name(f".{path.name}.guard.tmp")
    until = time.monotonic() + _GUARDED
    while True:
        try:
            guard.mkdir()
            break
        except FileExistsError:
            if time.monotonic() > until:  # the process that made the folder has ended
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
