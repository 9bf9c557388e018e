"""Calls of Python from inside a compiled program, which its text does not tell apart."""

import re
from collections.abc import Iterator
from typing import Any

from jaxreg.lab.sweeps.chunk_size import bodies


def find_callbacks(jaxpr: Any, text: str) -> list[str]:
    """Return the primitives of a program whose results come from outside of it, such as ``pure_callback``.

    A foreign function (`jax.ffi.ffi_call`) counts too. `jax.debug.print` and `jax.debug.callback` return nothing, so no
    result depends on them.

    Args:
        jaxpr: The traced program.
        text: The lowered program. It shows calls that the lowering rule of a primitive adds.

    Example:
        >>> import jax
        >>> shape = jax.ShapeDtypeStruct((), "float32")
        >>> traced = jax.jit(lambda x: jax.pure_callback(abs, shape, x)).trace(1.0)
        >>> find_callbacks(traced.jaxpr.jaxpr, traced.lower().as_text())
        ['pure_callback']
    """
    names = set(_primitives(jaxpr))
    found = {name for name in names if name == "ffi_call" or ("callback" in name and "debug" not in name)}
    if not found and re.search(r"@\w*python_\w*callback", text) and not any("debug" in name for name in names):
        found = {"a custom call to Python"}
    return sorted(found)


def _primitives(jaxpr: Any) -> Iterator[str]:
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for body in bodies(equation):
            yield from _primitives(body)
