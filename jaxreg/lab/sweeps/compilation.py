"""Compilation of programs, and JAX's cache of compiled programs on disk."""

import contextlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

log = logging.getLogger("jaxreg.compiled")

_gone: set[str] = set()
"""Names of options that the installed version of XLA has rejected as unknown."""


def keep_compiled(folder: str | os.PathLike[str] | None = None) -> Path:
    """Store compiled programs on disk, including programs that compile quickly.

    A process that is killed while it writes leaves an empty file in the cache. JAX never replaces an empty file, so
    `keep_compiled` removes empty files.

    Args:
        folder: Cache folder; by default ``JAX_COMPILATION_CACHE_DIR``, or ``jaxreg/compiled`` in the user's cache
            folder.

    Returns:
        The folder. If the folder cannot be created, such as in a read-only home, nothing is stored, and a warning is
        logged.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     keep_compiled(folder).name == Path(folder).name
        True
        >>> jax.config.update("jax_compilation_cache_dir", None)
    """
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(folder or os.environ.get("JAX_COMPILATION_CACHE_DIR") or Path(home, "jaxreg", "compiled"))
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.warning("compiled programs are not stored: %s; set JAX_COMPILATION_CACHE_DIR to another folder", error)
        return path
    for entry in path.glob("*-cache"):
        with contextlib.suppress(OSError):
            if entry.stat().st_size == 0:
                entry.unlink()
    settings = {
        "jax_compilation_cache_dir": str(path),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_enable_xla_caches": "none",
    }
    for name, value in settings.items():
        jax.config.update(name, value)  # type: ignore[no-untyped-call]
    return path


def compile_with(lowered: Any, options: Mapping[str, Any]) -> Any:
    """Compile a lowered program. Ignore compiler options that the installed version of XLA does not know.

    Args:
        lowered: Result of `jax.jit(…).lower(…)`.
        options: Name of an XLA option -> value of the option.

    Returns:
        The compiled program.

    Example:
        >>> twice = jax.jit(lambda x: 2 * x).lower(1.0)
        >>> float(compile_with(twice, {"xla_long_gone": 1})(3.0))
        6.0
    """
    while True:
        accepted = {name: value for name, value in options.items() if name not in _gone}
        try:
            return lowered.compile(accepted)
        except jax.errors.JaxRuntimeError as error:
            gone = {name for name in accepted if f"No such compile option: '{name}'" in str(error)}
            if not gone:
                raise
            _gone.update(gone)
