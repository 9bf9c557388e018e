"""Evaluate a pure function on a grid, in chunks of runs that are distributed over devices and machines."""

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import AbstractContextManager, nullcontext
from itertools import zip_longest
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from jaxreg._garbage import without_garbage_collection
from jaxreg.lab.sweeps.boxes import cut
from jaxreg.lab.sweeps.claims import Claims, Unshared
from jaxreg.lab.sweeps.designs import Over
from jaxreg.lab.sweeps.interrupt import Interrupt
from jaxreg.lab.sweeps.keeping import Best, Keeper
from jaxreg.lab.sweeps.memory import InMemoryStore
from jaxreg.lab.sweeps.options import OnChunk, SweepOptions
from jaxreg.lab.sweeps.outputs import Run
from jaxreg.lab.sweeps.parts import Arranged, Part, alone, arrange
from jaxreg.lab.sweeps.places import Place, place_of
from jaxreg.lab.sweeps.program import Program
from jaxreg.lab.sweeps.progress import Progress
from jaxreg.lab.sweeps.runners import ChunkResult, ChunkRunner, LocalRunner
from jaxreg.lab.sweeps.segmented import LostLossesError, LostStateError, SegmentedSweep
from jaxreg.lab.sweeps.segments import Segments
from jaxreg.lab.sweeps.store import Store

log = logging.getLogger("jaxreg.sweep")

_POLL = 0.1
"""Seconds between two checks for Ctrl-C."""


def sweep(
    run: Run,
    over: Over,
    store: str | os.PathLike[str] | None = None,
    *,
    coords: Mapping[str, Any] | None = None,
    chunk: int | None = None,
    executor: Executor | None = None,
    devices: Sequence[jax.Device] | None = None,
    progress: bool | None = None,
    zipped: bool = False,
    on_chunk: OnChunk | None = None,
    token: str | None = None,
    segments: Segments | None = None,
    keep: Best | None = None,
) -> xr.Dataset:
    """Evaluate the function `run` for every combination of the given argument values.

    `run` is traced and compiled only once for all values that JAX can trace. For an axis made by `choices`, `run` is
    compiled once per value. None on an axis also gets its own program. The compiled program computes several runs
    together: a chunk. Each device computes one chunk after another.

    Args:
        run: Pure function that computes one run. It gets one value of each axis, as an argument with the name of the
            axis. It returns a dict of arrays or of trees of arrays. Nested names are joined by ``/``. To name the
            dimensions of an array, return it as a `Labelled`.
        over: Dict from the name of each axis to its values, as in `make_grid`. If the values are a tree of arrays, each
            run gets the same tree with one entry of each array. The values may be made by `choices`. A value of None is
            passed to `run` as None, for example to switch a regulariser off. An axis may also be made by `points` or
            `samples`, or be a DataFrame. Such an axis sets several arguments of `run` at once: one per name in `points`
            or `samples`, or one per column. It can also be passed alone, instead of a dict.
        store: Folder for finished chunks, or an address such as ``s3://bucket/ridge``. Calling `sweep` again with the
            same arguments reuses these chunks.
        coords: Dict from the name of an axis, or of a dimension of an output, to its coordinate values.
        chunk: Number of runs that are computed together on one device and stored in one file. By default, an existing
            store keeps its number, and a new store gets a number that suits the device. The number affects the last
            bits of the results. If the same sweep is computed again with the same number, on a device of the same type,
            its results are bit-identical.
        executor: Executor that computes the chunks. By default, this process computes the chunks on its own devices.
        devices: Devices to use; by default all accelerators, or all cores of the CPU.
        progress: True to show progress on standard error, False to show none. By default it is shown in terminals and
            notebooks.
        zipped: True to combine the axes entry by entry, along one dimension ``lane``. By default, all combinations are
            computed.
        on_chunk: Function ``on_chunk(coordinates, outputs)`` that is called after each chunk is stored, such as a
            logger. `coordinates` is a dict from coordinate to values, and `outputs` is a dict from output to values.
            All values are arrays with one row per run of the chunk, and the outputs are read-only. The function is
            called in this process, for one chunk at a time. It is not called for chunks that are read from the store.
        token: Version of the code that `run` calls outside of JAX, e.g. by `jax.pure_callback`. Needed if `run` calls
            such code and there is a store, because the store cannot detect changes of that code.
        segments: Division of each run into segments, with a checkpoint of its state after each segment:
            ``Segments(begin, count)``. The function `begin` returns the state at the start of a run, and `count` is the
            number of segments. See `Segments` for the arguments and the results that `run` then has.
        keep: Rule that keeps large outputs for some runs only: see `best`.

    Returns:
        A dataset whose dimensions are the axes, followed by the dimensions of each output. With a store, values are
        read when they are used.

    Raises:
        ValueError: If an axis, a name or the store is invalid. Raised before anything is computed.
        TypeError: If `run` does not take the axes as arguments, or returns something other than arrays.
        MemoryError: If not even one run fits into the memory of the device.
        OSError: If the store cannot be written. Chunks that are already stored are kept.

    Example:
        >>> ds = sweep(lambda x, k: {"power": x**k}, {"x": [1.0, 2.0], "k": [1, 2, 3]}, progress=False)
        >>> ds["power"].sel(x=2.0).values.tolist()
        [2.0, 4.0, 8.0]
    """
    options = SweepOptions(coords, chunk, executor, devices, progress, zipped, on_chunk, token, segments, keep)
    return prepare(run, over, store, options)()


def prepare(
    run: Run,
    over: Over,
    store: str | os.PathLike[str] | None = None,
    options: SweepOptions | None = None,
) -> Callable[[], xr.Dataset]:
    """Prepare a sweep: check the arguments, create the store, and start compiling in the background.

    Args:
        run: Function that computes one run.
        over: Axes of the grid.
        store: Folder for finished chunks.
        options: All other arguments of `sweep`.

    Returns:
        A function without arguments that computes the chunks and returns the dataset. It can be called once.
    """
    options = options or SweepOptions()
    segments = options.segments
    design = cut(run, over, zipped=options.zipped, begin=segments.begin if segments else None)
    if store is not None and (not isinstance(store, str | os.PathLike) or not os.fspath(store)):
        raise ValueError(f"`store` is {store!r}; expected the path of a folder, or None to store nothing on disk")
    place = place_of(store)
    with place.named():
        if segments is not None:
            return _prepared_segments(SegmentedSweep(design, place.path, options), options, place)
        with without_garbage_collection():
            arranged = arrange(design, place.path, options)
        return _prepared(arranged, options, place)


def compute(program: Program, operands: Mapping[str, Any]) -> xr.Dataset:
    """Compute all runs of a program. The operands are arrays that all runs share.

    Args:
        program: Program, which may have been run with other operands before.
        operands: Name of an operand -> its value.

    Example:
        >>> import numpy as np
        >>> from jaxreg.lab.sweeps.grid import make_grid
        >>> x, other = np.array([1.0, 2.0], np.float32), np.array([3.0, 4.0], np.float32)
        >>> program = Program(lambda k, x: {"sum": k * x.sum()}, make_grid({"k": [1.0, 10.0]}), operands={"x": x})
        >>> [compute(program, {"x": values})["sum"].values.tolist() for values in (x, other)]
        [[3.0, 30.0], [7.0, 70.0]]
    """
    return prepare_program(program, operands)()


def prepare_program(
    program: Program,
    operands: Mapping[str, Any],
    store: Path | None = None,
    options: SweepOptions | None = None,
) -> Callable[[], xr.Dataset]:
    """Compile a program in the background. Return a function that computes all runs of the program.

    Args:
        program: Program, which may have been run with other operands before.
        operands: Name of an operand -> its value.
        store: Folder to keep finished chunks in, or None to keep them in memory.
        options: Coordinates, progress and `on_chunk`; by default no progress is shown.

    Returns:
        A function without arguments that computes the chunks and returns the dataset. It can be called once.
    """
    options = options or SweepOptions(progress=False)
    return _prepared(alone(LocalRunner(program, operands), program.grid, store, options), options, Place(None))


def _prepared(arranged: Arranged, options: SweepOptions, place: Place) -> Callable[[], xr.Dataset]:
    place.push()
    parts = arranged.parts
    parts[0].start()

    def finish() -> xr.Dataset:
        try:
            with place.named():
                _fill_all(parts, options, place)
        finally:
            arranged.close()
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices(f"sweep {arranged.whole.manifest.sweep}")
        return arranged.dataset()

    return finish


def _prepared_segments(segmented: SegmentedSweep, options: SweepOptions, place: Place) -> Callable[[], xr.Dataset]:
    place.push()
    for part in segmented.parts(0):
        part.start()

    def finish() -> xr.Dataset:
        segment = 0
        try:
            with place.named(), Progress(segmented.lanes, 0, options.progress) as shown:
                while segment < segmented.segments.count:
                    try:
                        _fill_all(segmented.parts(segment), options, place, shown)
                    except (LostStateError, LostLossesError) as error:
                        if segmented.recover(error, segment):
                            log.warning("%s: its chunk is computed again", error)
                            segment -= 1
                        continue
                    segmented.finished(segment)
                    place.push()
                    segment += 1
        finally:
            segmented.close()
        return segmented.dataset()

    return finish


def _fill_all(parts: list[Part], options: SweepOptions, place: Place, shown: Progress | None = None) -> None:
    """Compute the missing chunks of all parts of a sweep, or of one segment."""
    keeper = Keeper(store for part in parts for store in part.whole.stores())
    for _ in range(2):
        for part, after in zip_longest(parts, parts[1:]):
            if after is not None:  # it compiles while this one runs
                after.start()
            _fill(part, options, keeper, place, shown)
        lost = keeper.finish()
        place.push()
        if not lost:
            break
    for part in parts:
        part.runner.close()


def _fill(part: Part, options: SweepOptions, keeper: Keeper, place: Place, shown: Progress | None = None) -> None:
    """Compute the share of this process of the missing chunks of one part of a sweep.

    Args:
        part: Part of the sweep.
        options: Options of the sweep.
        keeper: Record of the best runs so far.
        place: Location of the store.
        shown: Progress bar of the entire sweep; by default, the part has a progress bar of its own.
    """
    runner, store = part.runner, part.store
    chunks = store.manifest.chunks
    share = range(jax.process_index(), len(chunks), jax.process_count())
    missing = [number for number in share if store.read(number) is None]
    total, left = (sum(len(chunks.lanes(number)) for number in numbers) for numbers in (share, missing))
    width = chunks.width
    show = options.progress if jax.process_index() == 0 else False
    grown = part.whole.manifest.lanes - store.manifest.lanes if jax.process_index() == 0 else 0
    progress: AbstractContextManager[Progress] = Progress(grown + total, grown + total - left, show, part.label)
    if shown is not None:
        shown.skip(total - left)
        progress = nullcontext(shown)
    with Interrupt() as interrupt, progress as shown, store.claims() as claims:
        for number, result in _finished(runner, store, claims, missing, interrupt):
            if result is None:
                keeper.note(store, number)
                shown.skip(len(chunks.lanes(number)))
                continue
            if result.identity != runner.identity:
                raise ValueError(
                    f"two workers differ: {_differing(result.identity, runner.identity)}. Their results would not be "
                    "comparable. Use workers with the same hardware and packages"
                )
            if result.width < width:
                width = result.width
                log.warning(
                    "device memory ran out: from now on, %d runs are computed together (chunk %d)", width, number
                )
            try:
                store.write(number, result.arrays, result.width)
                place.push()
            except OSError as error:
                error.add_note(store.describe("free some space, or use another folder, and run the same sweep again"))
                raise
            keeper.note(store, number)
            claims.release(number)
            outputs = {name: result.arrays[name] for name in runner.outputs}
            shown.advance(number, outputs, part.label)
            if options.on_chunk is not None:
                options.on_chunk(part.points(number), {name: _read_only(array) for name, array in outputs.items()})
    if interrupt.requested:
        raise KeyboardInterrupt(store.describe("run the same sweep again to continue"))


def _finished(
    runner: ChunkRunner,
    store: Store | InMemoryStore,
    claims: Claims | Unshared,
    missing: list[int],
    interrupt: Interrupt,
) -> Iterator[tuple[int, ChunkResult | None]]:
    """Submit the missing chunks, a limited number at the same time, and yield each chunk when it is finished.

    Another process may use the same store. A chunk that this process has finished is yielded with None as its result. A
    chunk that it has claimed is tried again later, until the chunk is finished or the claim is stale.
    """
    waiting = deque(missing)
    running: dict[Future[ChunkResult], int] = {}
    try:
        while True:
            if interrupt.requested:
                running = {future: number for future, number in running.items() if not future.cancel()}
            turns = len(waiting)
            while turns and len(running) < runner.most and not interrupt.requested:
                turns -= 1
                number = waiting.popleft()
                if store.read(number) is not None:
                    yield number, None
                elif not claims.take(number):
                    waiting.append(number)
                elif store.read(number) is not None:  # finished and released between the two
                    claims.release(number)
                    yield number, None
                else:
                    running[runner.submit(number)] = number
            if not running:
                if interrupt.requested or not waiting:
                    return
                time.sleep(_POLL)
                continue
            done, _ = wait(running, _POLL, FIRST_COMPLETED)  # no longer, to drop chunks not begun after Ctrl-C
            for future in done:
                number = running.pop(future)
                try:
                    result = future.result()
                except (Exception, KeyboardInterrupt) as error:
                    if not interrupt.requested:
                        raise
                    log.warning("chunk %d is not stored: %r", number, error)  # Ctrl-C may have ended its worker
                else:
                    yield number, result
    finally:
        for future in running:
            future.cancel()


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


def _differing(theirs: Mapping[str, str], first: Mapping[str, str]) -> str:
    names = [name for name in first if theirs.get(name) != first[name]]
    return "; ".join(f"{name} is {first[name]} on the first and {theirs.get(name)} on the second" for name in names)
