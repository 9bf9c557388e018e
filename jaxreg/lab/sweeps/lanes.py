"""Decide how a CPU computes the lanes of a chunk: batched by `vmap`, or one after the other. A lane is one run.

Batched lanes share the cost of starting an operation. This saves time if the operations are small. Lanes with large
operations can be slower in a batch, because `vmap` transposes matrix products, uses grouped convolutions, and evaluates
both branches of a condition. If lanes are computed one after the other, slow operations can be replaced by faster ones,
as `jaxreg.lab.sweeps.rewriting` describes.

Lanes that call LAPACK, as `jnp.linalg.qr` does, are computed one after the other. Only code marked by `TOGETHER` may be
batched nevertheless. The reason is that a batch of LAPACK calls can hang: jaxlib 0.10 distributes the batch to the
threads of XLA, while the calling thread waits. If every thread is waiting, the program never ends.
https://github.com/PyAutoLabs/PyAutoFit/issues/1530 describes a program that hangs for this reason.
"""

from typing import Any

from jaxreg.lab.sweeps.chunk_size import bodies, executions, traffic, working_set
from jaxreg.lab.sweeps.rewriting import has_convolutions, has_short_loops, is_rewritable
from jaxreg.lab.sweeps.small_sums import has_small_sums
from jaxreg.lab.sweeps.splits import factorizes

BATCHED = "batched"
SUMMED = "batched, summed"
IN_TURN = "in turn"
REWRITTEN = "in turn, rewritten"
UNROLLED = "in turn, unrolled"
TOGETHER = "jaxreg.together"
"""Name of a `jax.named_scope` that marks code written to be batched, such as `fit` where each run has its own data."""

_LARGE = 2048
"""If an operation of a lane writes at least this many bytes on average, the lanes are computed one after the other."""
_LARGE_TOGETHER = 4 * _LARGE
"""The same for code marked by `TOGETHER`, and only if the runs together take long."""
_SMALL = 2**17
"""If the largest loop of a lane keeps at most this many bytes in use, lanes are batched in any case."""


def arrangement(jaxpr: Any, free: bool = True, much: bool = False) -> str:
    """Decide how a CPU computes the runs of a chunk: batched by `vmap`, or one after the other.

    The result is `BATCHED`, `SUMMED` (batched, with products over few numbers written as sums), `IN_TURN` (one after
    the other), `REWRITTEN` (one after the other, with slow operations replaced by faster ones) or `UNROLLED` (like
    `REWRITTEN`, with short loops unrolled).

    Args:
        jaxpr: Traced function of one run, ``traced.jaxpr.jaxpr``.
        free: Whether runs with large operations may be computed one after the other. If False, only runs with
            convolutions or LAPACK calls are.
        much: Whether the runs together take long. Only then are loops unrolled, is code marked by `TOGETHER` not
            batched, and has its products written as sums.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> small, large = (jax.ShapeDtypeStruct((size, size), "float32") for size in (4, 400))
        >>> [arrangement(jax.jit(lambda x: x @ jnp.sin(x)).trace(x).jaxpr.jaxpr) for x in (small, large)]
        ['batched', 'in turn']
    """
    marked = _is_marked(jaxpr)
    least = _LARGE_TOGETHER if marked else _LARGE
    large = free and traffic(jaxpr) >= least * executions(jaxpr) and working_set(jaxpr) > _SMALL
    if large and much and has_short_loops(jaxpr):
        return UNROLLED
    if has_convolutions(jaxpr, _LARGE):
        return REWRITTEN
    if factorizes(jaxpr) and not marked:
        return IN_TURN
    if not large or (marked and not much):
        summed = free and marked and much and has_small_sums(jaxpr) and not factorizes(jaxpr)
        return SUMMED if summed else BATCHED
    return REWRITTEN if is_rewritable(jaxpr) else IN_TURN


def _is_marked(jaxpr: Any) -> bool:
    return any(
        TOGETHER in str(equation.source_info.name_stack) or any(map(_is_marked, bodies(equation)))
        for equation in jaxpr.eqns
    )
