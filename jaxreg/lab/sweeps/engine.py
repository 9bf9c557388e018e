"""Any pure function over any grid: lanes in chunks, chunks over devices and machines, nothing lost."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from jaxreg.lab.sweeps import dataset as results
from jaxreg.lab.sweeps.grid import Grid, make_grid, storable
from jaxreg.lab.sweeps.interrupt import Interrupt
from jaxreg.lab.sweeps.memory import Memory
from jaxreg.lab.sweeps.outputs import Run, check_arguments
from jaxreg.lab.sweeps.program import Program
from jaxreg.lab.sweeps.progress import Progress
from jaxreg.lab.sweeps.runners import Done, Here, Place, There
from jaxreg.lab.sweeps.store import Manifest, Store, Variable, create, find_manifest

log = logging.getLogger("jaxreg.sweep")

_LOOK = 0.1
"""Seconds between two looks at whether Ctrl-C was pressed."""

Labels = dict[str, tuple[str, np.ndarray]]


def sweep(
    run: Run,
    over: Mapping[str, Any],
    store: str | os.PathLike[str] | None = None,
    *,
    coords: Mapping[str, Any] | None = None,
    chunk: int | None = None,
    executor: Executor | None = None,
    devices: Sequence[jax.Device] | None = None,
    progress: bool | None = None,
    zipped: bool = False,
) -> xr.Dataset:
    """Evaluate `run` at every point of a grid.

    `run` is traced once and compiled once, for `chunk` lanes, and run chunk after chunk on every device.

    Args:
        run: a pure function of one point: it takes each axis by name (a scalar, or an entry of a pytree) and
            returns a dict of arrays. Nested names are joined by ``/``; an array may be `Labelled`.
        over: axis name -> its values; see `make_grid`.
        store: a folder to keep finished chunks in. The same call again goes on from what is there.
        coords: name of an inner dimension or an axis -> its coordinate values.
        chunk: lanes that run together on one device, and lanes a file; by default what suits the device, or
            what the store has. The same chunk gives the same bits.
        executor: where chunks run; by default in this process, on its devices.
        devices: the devices to use; by default all accelerators, or all cores of the CPU.
        progress: show progress on standard error; by default if that is a terminal or this is a notebook.
        zipped: take the axes entry by entry, along one dimension ``lane``.

    Returns:
        The dataset: the axes, then inner dimensions. With a store, values are read when they are used.

    Raises:
        ValueError: a bad axis, name or store; always before anything is compiled.
        TypeError: `run` doesn't fit the axes, or returns something that isn't an array.
        MemoryError: a single lane doesn't fit the device.
        OSError: the store can't be written; what is on disk stays.

    Example:
        >>> ds = sweep(lambda x, k: {"power": x**k}, {"x": [1.0, 2.0], "k": [1, 2, 3]}, progress=False)
        >>> ds["power"].sel(x=2.0).values.tolist()
        [2.0, 4.0, 8.0]
    """
    return prepare(
        run,
        over,
        store,
        coords=coords,
        chunk=chunk,
        executor=executor,
        devices=devices,
        progress=progress,
        zipped=zipped,
    )()


def prepare(
    run: Run,
    over: Mapping[str, Any],
    store: str | os.PathLike[str] | None = None,
    *,
    coords: Mapping[str, Any] | None = None,
    chunk: int | None = None,
    executor: Executor | None = None,
    devices: Sequence[jax.Device] | None = None,
    progress: bool | None = None,
    zipped: bool = False,
) -> Callable[[], xr.Dataset]:
    """All of `sweep` but its chunks: it is checked, its store is there, and it compiles while other work goes on.

    Args:
        run: see `sweep`, as for all of the others.
        over: the grid.
        store: the folder.
        coords: the coordinates.
        chunk: lanes that run together.
        executor: where chunks run.
        devices: the devices to use.
        progress: whether to show progress.
        zipped: whether the axes are taken entry by entry.

    Returns:
        What runs the chunks, once, and gives the dataset.
    """
    grid = make_grid(over, zipped=zipped)
    check_arguments(run, grid)
    _check_options(store, coords, chunk, executor, devices)
    path = None if store is None else Path(store).expanduser()
    known = None if path is None else find_manifest(path)
    wanted = int(chunk) if chunk else known.chunk if known else None
    place: Place
    if executor is None:
        place = Here(Program(run, grid, wanted, devices))
    else:
        place = There(executor, run, over, zipped, wanted)
    try:
        labels = _labels(grid, place.outputs, coords or {})
        manifest = _manifest(grid, place, labels)
        kept: Store | Memory
        if path is None:
            kept = Memory(manifest)
        else:
            kept = create(path, manifest, {name: values for name, (_, values) in labels.items()})
        if not all(map(kept.has, range(manifest.chunks))):
            place.start()
    except BaseException:
        place.close()
        raise

    def finish() -> xr.Dataset:
        try:
            _fill(place, manifest, kept, progress)
        finally:
            place.close()
        if isinstance(kept, Memory):
            kept.gather()
            return results.dataset(manifest, labels, kept.chunks.__getitem__).load()
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices(f"sweep {manifest.sweep}")
        return results.open_store(kept.path)

    return finish


def _check_options(store: Any, coords: Any, chunk: Any, executor: Any, devices: Any) -> None:
    if chunk is not None and (isinstance(chunk, bool) or not isinstance(chunk, int | np.integer) or chunk < 1):
        raise ValueError(f"chunk must be a positive number of lanes, got {chunk!r}")
    if coords is not None and not isinstance(coords, Mapping):
        raise TypeError(f"coords must be a dict of name -> values, got {coords!r}")
    if isinstance(devices, str) or not all(isinstance(device, jax.Device) for device in _listed(devices)):
        raise TypeError(f"devices must be a list of JAX devices, got {devices!r}: write devices=jax.devices('cpu')")
    if not hasattr(executor, "submit") and executor is not None:
        raise TypeError(f"executor must have a method submit, as those of concurrent.futures, got {executor!r}")
    context = getattr(executor, "_mp_context", None)
    if isinstance(executor, ProcessPoolExecutor) and context is not None and context.get_start_method() == "fork":
        raise ValueError(
            "executor forks this process, and JAX's threads don't live on in the copies, which hang: write "
            "ProcessPoolExecutor(mp_context=multiprocessing.get_context('spawn'))"
        )
    if store is not None and (not isinstance(store, str | os.PathLike) or not os.fspath(store)):
        raise ValueError(f"store is {store!r}; expected the path of a folder, or None to keep nothing on disk")


def _listed(devices: Any) -> Iterable[Any]:
    return devices if isinstance(devices, Iterable) else () if devices is None else (devices,)


def _fill(place: Place, manifest: Manifest, kept: Store | Memory, progress: bool | None) -> None:
    """Compute what is missing of this process's share."""
    share = range(jax.process_index(), manifest.chunks, jax.process_count())
    todo = [number for number in share if kept.read(number) is None]
    done = sum(map(manifest.length, share)) - sum(map(manifest.length, todo))
    width = manifest.chunk
    show = progress if jax.process_index() == 0 else False
    with Interrupt() as interrupt, Progress(sum(map(manifest.length, share)), done, show) as shown:
        for number, chunk in _finished(place, kept, todo, interrupt):
            if chunk.identity != place.identity:
                raise ValueError(f"a worker runs another program: {_differing(chunk.identity, place.identity)}")
            if chunk.width < width:
                width = chunk.width
                log.warning("device memory ran out: %d lanes run together from chunk %d on", width, number)
            try:
                kept.write(number, chunk.arrays, chunk.width)
            except OSError as error:
                error.add_note(_state(manifest, kept) + ": make room, or name another folder, and run it again")
                raise
            shown.advance(number, chunk.arrays)
    if interrupt.requested:
        again = ": run the same again to go on from there" if isinstance(kept, Store) else ""
        raise KeyboardInterrupt(_state(manifest, kept) + again)


def _finished(place: Place, kept: Store | Memory, todo: list[int], interrupt: Interrupt) -> Iterator[tuple[int, Done]]:
    """The chunks in the order in which they finish, a bounded number of them under way."""
    # Another process may share the store: what it has finished meanwhile is not computed again.
    waiting = (number for number in todo if kept.read(number) is None)
    running: dict[Future[Done], int] = {}
    try:
        while True:
            if interrupt.requested:
                running = {future: number for future, number in running.items() if not future.cancel()}
            while not interrupt.requested and len(running) < place.most and (number := next(waiting, None)) is not None:
                running[place.submit(number)] = number
            if not running:
                return
            done, _ = wait(running, _LOOK, FIRST_COMPLETED)  # no longer, to drop what has not begun after Ctrl-C
            for future in done:
                number = running.pop(future)
                try:
                    chunk = future.result()
                except (Exception, KeyboardInterrupt) as error:
                    if not interrupt.requested:
                        raise
                    log.warning("chunk %d is dropped: %r", number, error)  # Ctrl-C may have ended its worker
                else:
                    yield number, chunk
    finally:
        for future in running:
            future.cancel()


def _state(manifest: Manifest, kept: Store | Memory) -> str:
    if isinstance(kept, Memory):
        return "stopped; nothing is kept without a store"
    there = sum(map(kept.has, range(manifest.chunks)))
    return f"stopped with {there} of {manifest.chunks} chunks in {kept.path}"


def _differing(theirs: Mapping[str, str], first: Mapping[str, str]) -> str:
    names = [name for name in first if theirs.get(name) != first[name]]
    return "; ".join(f"{name} is {theirs.get(name)} there and was {first[name]} before" for name in names)


def _labels(grid: Grid, outputs: Mapping[str, Variable], coords: Mapping[str, Any]) -> Labels:
    """All coordinates, each with its dimension: the axes' own and the given ones."""
    labels = grid.coords()
    sizes = dict(grid.dims)
    for output in outputs.values():
        sizes |= dict(zip(output.dims, output.shape, strict=True))
    for name, values in coords.items():
        dim = labels[name][0] if name in labels else name
        try:
            array = np.asarray(values)
        except ValueError:
            raise ValueError(f"coords[{name!r}] is ragged: give it one value an entry of {name!r}") from None
        if dim not in sizes:
            raise ValueError(f"coords names {name!r}, which is no dimension: there are {sorted(sizes)}")
        if array.shape != (sizes[dim],):
            raise ValueError(f"coords[{name!r}] has shape {array.shape} and must have ({sizes[dim]},)")
        if array.dtype == object:
            array = xr.Variable(dim, array).values  # Python's datetimes become NumPy's
        labels[name] = (dim, storable(array))
    return labels


def _manifest(grid: Grid, place: Place, labels: Labels) -> Manifest:
    digest = hashlib.sha256(grid.digest().encode())
    for name, (dim, values) in labels.items():
        digest.update(f"{name} {dim} {values.dtype.str} {values.shape}".encode() + values.tobytes())
    identity = {**place.identity, "grid": digest.hexdigest()}
    return Manifest(
        identity=identity,
        dims=grid.dims,
        chunk=place.chunk,
        coords={name: dim for name, (dim, _) in labels.items()},
        outputs=dict(place.outputs),
        attrs={**identity, "grid": grid.describe(), "chunk": place.chunk, "numpy": np.__version__},
    )
