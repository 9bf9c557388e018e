"""Any pure function over any grid: lanes in chunks, chunks over devices and cores, nothing lost."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from jaxreg.lab import results
from jaxreg.lab.grid import Grid, make_grid
from jaxreg.lab.program import Arrays, Program, Run
from jaxreg.lab.progress import Progress
from jaxreg.lab.store import Manifest, Store, create, find_manifest

log = logging.getLogger("jaxreg.sweep")


def sweep(
    run: Run,
    over: Mapping[str, Any],
    store: str | os.PathLike[str] | None = None,
    *,
    coords: Mapping[str, Any] | None = None,
    chunk: int | None = None,
    executor: Executor | None = None,
    progress: bool | None = None,
    zipped: bool = False,
) -> xr.Dataset:
    """Evaluate `run` at every point of a grid.

    `run` is traced once, compiled once for `chunk` lanes, and run chunk after chunk on every device.

    Args:
        run: a pure function of one point: it takes each axis by name (a scalar, or an entry of a pytree) and
            returns a dict of arrays. Nested names are joined by ``/``; an array may be `Labelled`.
        over: axis name -> its values; see `make_grid`.
        store: a folder to keep finished chunks in. The same call again goes on from what is there.
        coords: inner dimension, or axis, name -> coordinate values.
        chunk: lanes that run together on one device, and lanes a file. Bits are the same for the same chunk.
        executor: where chunks run; by default on threads of this process, one a core.
        progress: show progress on standard error; by default if that is a terminal or a notebook.
        zipped: take the axes entry by entry, along one dimension ``lane``.

    Returns:
        The dataset: the axes, then inner dimensions. With a store, values are read when they are used.

    Raises:
        ValueError: a bad axis, name or store; always before anything is compiled.
        TypeError: `run` doesn't fit the axes, or returns something that isn't an array.
        OSError: the store can't be written; what is on disk stays.

    Example:
        >>> ds = sweep(lambda x, k: {"power": x**k}, {"x": [1.0, 2.0], "k": [1, 2, 3]}, progress=False)
        >>> ds["power"].sel(x=2.0).values.tolist()
        [2.0, 4.0, 8.0]
    """
    grid = make_grid(over, zipped=zipped)
    if chunk is not None and (isinstance(chunk, bool) or not isinstance(chunk, int | np.integer) or chunk < 1):
        raise ValueError(f"chunk must be a positive number of lanes, got {chunk!r}")
    path = None if store is None else Path(store)
    known = None if path is None else find_manifest(path)
    program = Program(run, grid)
    width = int(chunk or (known and known.chunk) or min(grid.size, 64))
    labels = _labels(grid, program, coords or {})
    manifest = _manifest(grid, program, labels, width)
    values = {name: value for name, (_, value) in labels.items()}
    if path is not None:
        _fill(program, manifest, create(path, manifest, values), executor, progress)
        return results.open_store(path)
    chunks: dict[int, Arrays] = {}
    _fill(program, manifest, _Memory(chunks), executor, progress)
    return results.dataset(manifest, labels, chunks.__getitem__).load()


class _Memory:
    """What a store is, without a disk."""

    def __init__(self, chunks: dict[int, Arrays]) -> None:
        self._chunks = chunks

    def read(self, number: int) -> Arrays | None:
        return self._chunks.get(number)

    def write(self, number: int, arrays: Arrays, width: int) -> None:
        self._chunks[number] = arrays


def _fill(
    program: Program,
    manifest: Manifest,
    kept: Store | _Memory,
    executor: Executor | None,
    progress: bool | None,
) -> None:
    todo = [number for number in range(manifest.chunks) if kept.read(number) is None]
    if not todo:
        return
    program.compile(manifest.chunk)
    width = len(program.devices)
    rounds = [todo[i : i + width] for i in range(0, len(todo), width)]
    workers = max(1, (os.cpu_count() or 1) // width) if program.devices[0].platform == "cpu" else 1
    done = manifest.lanes - sum(map(manifest.length, todo))
    with Progress(manifest, done, progress) as shown, ThreadPoolExecutor(workers) as pool:
        for numbers, found in _in_flight(pool, program, manifest, rounds, 2 * workers):
            for number, arrays in zip(numbers, found, strict=True):
                whole = {name: array[: manifest.length(number)] for name, array in arrays.items()}
                kept.write(number, whole, manifest.chunk)
                shown.advance(number, whole)


def _in_flight(
    pool: Executor, program: Program, manifest: Manifest, rounds: list[list[int]], most: int
) -> Iterator[tuple[list[int], list[Arrays]]]:
    """The finished rounds in the order in which they finish, with at most `most` of them under way."""
    waiting = iter(rounds)
    running: dict[Future[list[Arrays]], list[int]] = {}
    while True:
        while len(running) < most and (numbers := next(waiting, None)) is not None:
            starts = [number * manifest.chunk for number in numbers]
            running[pool.submit(program.lanes, starts, manifest.chunk)] = numbers
        if not running:
            return
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            yield running.pop(future), future.result()


def _labels(grid: Grid, program: Program, coords: Mapping[str, Any]) -> dict[str, tuple[str, np.ndarray]]:
    """All coordinates, each with its dimension: the axes' own and the given ones."""
    labels = grid.coords()
    sizes = dict(grid.dims)
    for output in program.outputs.values():
        sizes |= dict(zip(output.dims, output.shape, strict=True))
    for name, values in coords.items():
        dim = labels[name][0] if name in labels else name
        array = np.asarray(values)
        if dim not in sizes:
            raise ValueError(f"coords names {name!r}, which is no dimension: there are {sorted(sizes)}")
        if array.shape != (sizes[dim],):
            raise ValueError(f"coords[{name!r}] has shape {array.shape} and must have ({sizes[dim]},)")
        labels[name] = (dim, array.astype(np.str_) if array.dtype == object else array)
    return labels


def _manifest(grid: Grid, program: Program, labels: Mapping[str, tuple[str, np.ndarray]], chunk: int) -> Manifest:
    digest = hashlib.sha256(grid.digest().encode())
    for name, (dim, values) in labels.items():
        digest.update(f"{name} {dim} {values.dtype.str} {values.shape}".encode() + values.tobytes())
    versions = program.versions()
    return Manifest(
        identity={"program": program.digest, "grid": digest.hexdigest(), **versions},
        dims=grid.dims,
        chunk=chunk,
        coords={name: dim for name, (dim, _) in labels.items()},
        outputs=program.outputs,
        attrs={"grid": grid.describe(), "chunk": chunk, "program": program.digest, **versions},
    )
