"""Detection of calls from a compiled program to code outside of JAX. The text of the program lacks this code."""

import re
from collections.abc import Iterator
from typing import Any

from jaxreg.lab.sweeps.chunk_size import bodies


def find_callbacks(jaxpr: Any, text: str) -> list[str]:
    """Return the names of operations in a traced function that call code outside of JAX, such as ``pure_callback``.

    Calls of foreign functions (`jax.ffi.ffi_call`) are included. Calls of `jax.debug.print` and `jax.debug.callback`
    are left out, because no result depends on them.

    Args:
        jaxpr: The traced program.
        text: Text of the lowered program. It also contains calls that JAX adds when it lowers a primitive.

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
