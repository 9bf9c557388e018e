"""Choice of the chunk width: the number of lanes (runs of a sweep) that are computed together."""

import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

CACHE = 2**21
"""Assumed size of a core's second-level cache in bytes, typical of current servers and laptops."""

MOST = 2**16

_UNKNOWN = 100
"""Assumed number of iterations of a loop whose number of iterations is not known before it runs."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def working_set(jaxpr: Any) -> int:
    """Return the peak memory, in bytes, of the largest loop in a traced function.

    The largest loop is the loop that writes the most bytes. A loop uses its memory again in every iteration, so this
    memory should fit into the cache. For a function without loops, the peak memory of the entire function is returned.

    The arrays that a loop scans row by row are included for nested loops only, such as the loop of an LSTM over time.
    An outermost loop reads or writes each row of its scanned arrays only once.

    Args:
        jaxpr: A traced function, ``traced.jaxpr.jaxpr``.
    """
    loops = _loops(jaxpr)
    return max(loops)[1] if loops else peak(jaxpr)


def traffic(jaxpr: Any) -> int:
    """Return how many bytes a traced function writes in total, assuming that XLA fuses nothing.

    The result is a rough measure of the function's run time.

    Args:
        jaxpr: A traced function.
    """
    return _written(jaxpr) + sum(written for written, _ in _loops(jaxpr))


def executions(jaxpr: Any) -> int:
    """Return how many operations a traced function executes. An operation in a loop counts once per iteration.

    Args:
        jaxpr: A traced function.
    """
    total = 0
    for equation in jaxpr.eqns:
        looped = equation.primitive.name in ("scan", "while")
        steps = equation.params.get("length", _UNKNOWN) if looped else 1
        total += steps * sum(map(executions, bodies(equation))) or 1
    return total


def peak(jaxpr: Any) -> int:
    """Return the peak memory of a traced function in bytes, assuming that XLA fuses nothing.

    Args:
        jaxpr: A traced function.
    """
    last: dict[Any, int] = {}
    for number, equation in enumerate(jaxpr.eqns):
        last |= {var: number for var in equation.invars if not hasattr(var, "val")}
    last |= {var: len(jaxpr.eqns) for var in jaxpr.outvars if not hasattr(var, "val")}
    dying: dict[int, list[Any]] = {}
    for var, number in last.items():
        dying.setdefault(number, []).append(var)
    alive = sum(_nbytes(var) for var in [*jaxpr.invars, *jaxpr.constvars])
    most = alive
    for number, equation in enumerate(jaxpr.eqns):
        inside = max((peak(inner) for inner in bodies(equation)), default=0)
        alive += sum(_nbytes(var) for var in equation.outvars)
        most = max(most, alive + inside)
        alive -= sum(_nbytes(var) for var in dying.get(number, []))
        alive -= sum(_nbytes(var) for var in equation.outvars if var not in last)
    return most


def chunk_width(lane: int, lanes: int, workers: int, room: int = CACHE) -> int:
    """Choose how many lanes (runs) to compute together as one chunk.

    Args:
        lane: Bytes of memory that one lane uses.
        lanes: Total number of lanes.
        workers: Number of chunks that are computed at the same time.
        room: Bytes of memory that one chunk may use; by default a core's second-level cache.

    Returns:
        The largest power of two for which the lanes fit into `room`, but at most an equal share of the lanes per
        worker, so that every worker has a chunk.
    """
    return int(min(-(-lanes // workers), MOST, 2 ** (max(1, room // max(1, lane)).bit_length() - 1)))


def default_width(jaxpr: Any, lanes: int, workers: int, memory: int | None) -> int:
    """Choose how many lanes (runs) to compute together as one chunk, from the traced function of one lane.

    On a CPU, the working sets of the lanes should fit into a core's second-level cache. On an accelerator, the lanes
    should fit into half of the device's memory. `Program` checks this again after compilation.

    The estimate of the memory assumes that fusion halves it. For the tutorials' 2-500-1 MLP with Adam, the estimate
    without fusion is 384 kB per lane, and XLA reports 207 kB.

    Args:
        jaxpr: Traced function of one lane.
        lanes: Total number of lanes.
        workers: Number of chunks that are computed at the same time.
        memory: Memory of the device in bytes; None on a CPU.
    """
    if memory is None:
        return chunk_width(working_set(jaxpr) // 2, lanes, workers)
    return chunk_width(peak(jaxpr) // 2, lanes, workers, memory // 2)


def device_memory(device: jax.Device) -> int | None:
    """Return how many bytes of an accelerator's memory JAX may use, or None if this is not known, as on a CPU.

    Args:
        device: The device.
    """
    stats: Mapping[str, int] = device.memory_stats() or {}
    return stats.get("bytes_limit") if device.platform != "cpu" else None


def _loops(jaxpr: Any, times: int = 1) -> list[tuple[int, int]]:
    """Return, for each loop, the bytes that all iterations write outside of inner loops, and the peak memory."""
    loops = []
    for equation in jaxpr.eqns:
        looped = equation.primitive.name in ("scan", "while")
        steps = times * equation.params.get("length", _UNKNOWN) if looped else times
        for body in bodies(equation):
            loops += _loops(body, steps)
            if looped:
                loops.append((steps * _written(body), peak(body) + (_rows(equation, body) if times > 1 else 0)))
    return loops


def _rows(equation: Any, body: Any) -> int:
    """Return the bytes of the arrays of which a scan reads or writes one row per iteration."""
    if equation.primitive.name != "scan":
        return 0
    pairs = [*zip(equation.invars, body.invars, strict=False), *zip(equation.outvars, body.outvars, strict=False)]
    return sum(_nbytes(var) for var, row in pairs if np.shape(var.aval) != np.shape(row.aval))


def _written(jaxpr: Any) -> int:
    """Return the bytes that one call of a traced function writes outside of its loops."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name not in ("scan", "while"):
            total += sum(map(_written, bodies(equation))) or sum(map(_nbytes, equation.outvars))
    return total


def bodies(equation: Any) -> list[Any]:
    """Return the jaxprs inside an equation of a jaxpr, such as the body of a loop.

    Args:
        equation: Equation of a traced function.
    """
    found = []
    for value in equation.params.values():
        for item in value if isinstance(value, tuple | list) else [value]:
            inner = getattr(item, "jaxpr", item)
            if hasattr(inner, "eqns"):
                found.append(inner)
    return found


def _nbytes(var: Any) -> int:
    aval = var.aval
    if not hasattr(aval, "shape") or not hasattr(aval, "dtype"):
        return 0
    return int(np.prod(aval.shape, dtype=np.int64)) * getattr(aval.dtype, "itemsize", 8)
