"""The lanes of a chunk on a CPU: batched by `vmap`, or one after the other.

Batched lanes share the cost of starting an operation, which matters if the operation is small. If it is large, a batch
gains nothing, and what `vmap` makes of it may be slower: transposed products, grouped convolutions, both branches.

Lanes that call LAPACK, as `jnp.linalg.qr` does, run one after the other. jaxlib 0.10 spreads a batch of factorisations
over the threads of XLA, and the thread that asks for it waits. If every thread waits in this way, none is left to do
the work, and the program never ends: https://github.com/PyAutoLabs/PyAutoFit/issues/1530 describes such a case.
"""

from typing import Any

from jaxreg.lab.sweeps.chunk_size import bodies, executions, traffic
from jaxreg.lab.sweeps.splits import factorizes

BATCHED = "batched"
IN_TURN = "in turn"
TOGETHER = "jaxreg.together"
"""Name of a `jax.named_scope` around code whose operations are written to be batched, such as those of `fit`."""

_LARGE = 2048
"""Bytes that an operation of a lane writes on average, from which on lanes run one after the other."""


def arrangement(jaxpr: Any) -> str:
    """Return how lanes of a traced function run fastest: `BATCHED` or `IN_TURN`.

    Args:
        jaxpr: A traced lane, ``traced.jaxpr.jaxpr``.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> small, large = (jax.ShapeDtypeStruct((size, size), "float32") for size in (4, 400))
        >>> [arrangement(jax.jit(lambda x: x @ jnp.sin(x)).trace(x).jaxpr.jaxpr) for x in (small, large)]
        ['batched', 'in turn']
    """
    if _is_marked(jaxpr):
        return BATCHED
    if factorizes(jaxpr):
        return IN_TURN
    return IN_TURN if traffic(jaxpr) >= _LARGE * executions(jaxpr) else BATCHED


def _is_marked(jaxpr: Any) -> bool:
    return any(
        TOGETHER in str(equation.source_info.name_stack) or any(map(_is_marked, bodies(equation)))
        for equation in jaxpr.eqns
    )
