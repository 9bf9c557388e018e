"""Files that are written whole or not at all."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path


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


def _write(path: Path, content: bytes | memoryview, *, new: bool = False) -> None:
    """Make `path` hold `content`, whole or not at all; if `new`, leave a file that is there already."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with _opened(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as descriptor:
            with memoryview(content) as rest:
                written = 0
                while written < len(rest):
                    written += os.write(descriptor, rest[written:])
            os.fsync(descriptor)
        if new:
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
            temporary.unlink()
        else:
            os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            error.filename = str(path)  # a full disk names none, and the temporary name means nothing to a reader
        raise
    with _opened(path.parent, os.O_RDONLY) as folder:
        os.fsync(folder)


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags, 0o666)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
