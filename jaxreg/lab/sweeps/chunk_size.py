"""Width of chunks: the number of lanes that run together."""

import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

CACHE = 2**21
"""Bytes of second-level cache that a core is taken to have, as on current servers and laptops."""

MOST = 2**16

_UNKNOWN = 100
"""Steps that a loop is taken to make if their number is known only when it runs."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def working_set(jaxpr: Any) -> int:
    """Return the most bytes alive at once in the loop of a traced function that writes the most.

    Without a loop, the whole function counts. A loop touches its working set in every step, so that has to be near the
    core; the arrays of a rarer loop, such as an evaluation, are touched once. The scanned inputs and outputs of an
    outermost loop are also touched once; those of a nested loop, such as an LSTM's over time, count.

    Args:
        jaxpr: A traced function, ``traced.jaxpr.jaxpr``.
    """
    loops = _loops(jaxpr)
    return max(loops)[1] if loops else peak(jaxpr)


def traffic(jaxpr: Any) -> int:
    """Return the bytes that a traced function writes in all, without fusion: a rough measure of its time.

    Args:
        jaxpr: A traced function.
    """
    return _written(jaxpr) + sum(written for written, _ in _loops(jaxpr))


def executions(jaxpr: Any) -> int:
    """Return how many operations a traced function runs in all, those in loops as often as they run.

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
    """Return the most bytes alive at once in a traced function, without fusion.

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
    """Return how many lanes to run together.

    Args:
        lane: Bytes that a lane keeps in use.
        lanes: Number of lanes in all.
        workers: Number of chunks that run at once.
        room: Bytes that a chunk may keep in use: on a CPU, a core's second-level cache.

    Returns:
        A power of two, or an equal share of the lanes if that is less, so that every worker has a chunk.
    """
    return int(min(-(-lanes // workers), MOST, 2 ** (max(1, room // max(1, lane)).bit_length() - 1)))


def default_width(jaxpr: Any, lanes: int, workers: int, memory: int | None) -> int:
    """Return how many lanes of a traced function to run together.

    On an accelerator they fit half of the device's memory (the compiled program then tells whether they do); on a CPU
    their working sets fit a core's second-level cache. Fusion is taken to halve the bytes in use: XLA's own analysis
    of the tutorials' 2-500-1 MLP under Adam has 207 of these 384 kB per lane.

    Args:
        jaxpr: One traced lane.
        lanes: Number of lanes in all.
        workers: Number of chunks that run at once.
        memory: Bytes of the device's memory, None on a CPU.
    """
    if memory is None:
        return chunk_width(working_set(jaxpr) // 2, lanes, workers)
    return chunk_width(peak(jaxpr) // 2, lanes, workers, memory // 2)


def device_memory(device: jax.Device) -> int | None:
    """Return the bytes of an accelerator that JAX may use, or None if it does not say, as on a CPU.

    Args:
        device: The device.
    """
    stats: Mapping[str, int] = device.memory_stats() or {}
    return stats.get("bytes_limit") if device.platform != "cpu" else None


def _loops(jaxpr: Any, times: int = 1) -> list[tuple[int, int]]:
    """Return for each loop, inner loops apart, the bytes written in all steps and the most bytes alive at once."""
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
    """Return the bytes of the arrays that a scan takes or makes row by row: they have an axis more than the row."""
    if equation.primitive.name != "scan":
        return 0
    pairs = [*zip(equation.invars, body.invars, strict=False), *zip(equation.outvars, body.outvars, strict=False)]
    return sum(_nbytes(var) for var, row in pairs if np.shape(var.aval) != np.shape(row.aval))


def _written(jaxpr: Any) -> int:
    """Return the bytes that one call writes outside of its loops."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name not in ("scan", "while"):
            total += sum(map(_written, bodies(equation))) or sum(map(_nbytes, equation.outvars))
    return total


def bodies(equation: Any) -> list[Any]:
    """Return the functions inside of an equation, such as the body of a loop.

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
