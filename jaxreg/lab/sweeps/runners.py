"""Runners, which compute chunks in threads of this process or on the workers of an executor."""

import contextlib
import copy
import hashlib
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from jaxreg.lab.sweeps.grid import make_grid
from jaxreg.lab.sweeps.manifest import Variable, is_state
from jaxreg.lab.sweeps.outputs import Arrays, Run
from jaxreg.lab.sweeps.program import Program

_SPREAD = 64
"""Minimum number of chunks on an executor, because its number of workers is not known."""

_IN_FLIGHT = 2**29
"""Maximum size in bytes of the results of all chunks that are submitted and not yet stored."""


class ChunkResult(NamedTuple):
    """Finished chunk: its outputs, the number of runs computed together, and the identity of the program."""

    arrays: Arrays
    width: int
    identity: Mapping[str, str]


Carried = Callable[[int], Arrays | None]
"""Function of the number of a chunk. It returns the state at which the chunk begins, or None in the first segment."""


class ChunkRunner(Protocol):
    """Interface of objects that compute the chunks of one program."""

    @property
    def outputs(self) -> Mapping[str, Variable]:
        """Dimensions, sizes and types of the outputs of one run, by name."""

    @property
    def states(self) -> frozenset[str]:
        """Names of the arrays that form the state of a run. Empty for a sweep without segments."""

    @property
    def chunk(self) -> int:
        """Number of runs per chunk."""

    @property
    def identity(self) -> Mapping[str, str]:
        """Dict of everything, except the points, that can change the results of a chunk."""

    @property
    def most(self) -> int:
        """Maximum number of chunks in flight: submitted, but not stored yet."""

    def start(self) -> None:
        """Start compiling the program in the background, if the runner supports this."""

    def submit(self, number: int) -> Future[ChunkResult]:
        """Submit a chunk to be computed, and return a future for its result."""

    def close(self) -> None:
        """Cancel the chunks that have not started. Running chunks may finish."""


class LocalRunner:
    """Runner that uses threads of this process: one thread per accelerator, or one per core on a CPU.

    Args:
        program: Program to compute.
        operands: Name of an operand -> its value, for a program with operands.
        carried: Function of the number of a chunk. It returns the state at which the chunk begins. None for the first
            segment.
    """

    def __init__(
        self, program: Program, operands: Mapping[str, Any] | None = None, carried: Carried | None = None
    ) -> None:
        self.outputs, self.states = _apart(program.outputs)
        self.chunk = program.chunk
        self.identity = program.identity | ({"operands": _digest(operands)} if operands else {})
        self.most = 2 * program.workers
        self._program = program
        self._operands, self._carried = operands, carried
        self._pool = ThreadPoolExecutor(program.workers, thread_name_prefix="sweep")

    def start(self) -> None:
        """Start compiling the program in the background.

        Compilation errors are ignored here, because the first chunk raises them again.
        """
        self._pool.submit(self._program.load)

    def submit(self, number: int) -> Future[ChunkResult]:
        """Submit a chunk to be computed, and return a future for its result."""
        return self._pool.submit(self._compute, number)

    def _compute(self, number: int) -> ChunkResult:
        state = self._carried(number) if self._carried else None
        return ChunkResult(*self._program.compute(number, self._operands, state), self.identity)

    def close(self) -> None:
        """Cancel the chunks that have not started. Running chunks may finish."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _apart(outputs: Mapping[str, Variable]) -> tuple[dict[str, Variable], frozenset[str]]:
    """Separate the outputs of a program from its state. Return the outputs and the names of the state's arrays."""
    return {name: v for name, v in outputs.items() if not is_state(name)}, frozenset(filter(is_state, outputs))


def _digest(operands: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(dict(operands)):
        digest.update(f"{leaf.dtype} {leaf.shape}".encode() + np.asarray(leaf).tobytes())
    return digest.hexdigest()


class ExecutorRunner:
    """Runner that uses the workers of a `concurrent.futures` executor. Each worker traces and compiles the program.

    `run` and the axes are sent to the workers, and the results are sent back. A shared file system is not needed.

    Args:
        executor: Executor such as Dask's ``client.get_executor()``, or a `ProcessPoolExecutor` that spawns its
            processes.
        run: Function of one point.
        over: Axes of the grid.
        zipped: Whether the axes are combined entry by entry instead of as a product.
        chunk: Number of runs per chunk.
        lanes: Numbers of the runs to compute; None for all runs.
        arranged: Whether the runs of a chunk are batched or computed one after the other: see `Program`.
        begin: Function that returns the first state, if the sweep has segments.
    """

    def __init__(
        self,
        executor: Executor,
        run: Run,
        over: Mapping[str, Any],
        zipped: bool,
        chunk: int | None,
        lanes: np.ndarray | None = None,
        arranged: str | None = None,
        begin: Run | None = None,
    ) -> None:
        self._executor = executor
        self._carried: Carried | None = None
        self._payload = _pack((run, dict(over), zipped, lanes, bool(jax.config.jax_enable_x64), begin))  # type: ignore[attr-defined]
        with _interrupts_held_back():
            job = executor.submit(_described, self._payload, chunk, arranged)
        outputs, self.chunk, self.arranged, self.identity = job.result()
        lane = sum(variable.nbytes for variable in outputs.values())
        self.outputs, self.states = _apart(outputs)
        self.most = max(16, min(1024, _IN_FLIGHT // max(1, lane * self.chunk)))

    def going_on(self, carried: Carried | None) -> "ExecutorRunner":
        """Return a runner for the next segment. The function `carried` returns the state at which a chunk begins."""
        runner = copy.copy(self)
        runner._carried = carried
        return runner

    def start(self) -> None:
        """Do nothing: each worker compiles the program when it gets its first chunk."""

    def submit(self, number: int) -> Future[ChunkResult]:
        """Submit a chunk to be computed, and return a future for its result."""
        state = self._carried(number) if self._carried else None
        with _interrupts_held_back():
            job = self._executor.submit(_computed, self._payload, self.chunk, self.arranged, number, state)
        return job if isinstance(job, Future) else _awaited(job)

    def close(self) -> None:
        """Do nothing. The user created the executor and must close it."""


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Block SIGINT while a chunk is submitted. Worker processes that start meanwhile inherit the block.

    A terminal also sends Ctrl-C to the workers. A busy worker would lose its chunk, and an idle one would stop the
    pool.
    """
    if not hasattr(signal, "pthread_sigmask"):  # as on Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _awaited(job: Any) -> Future[ChunkResult]:
    """Wrap a job of an executor with another class of futures, such as submitit, in a `concurrent.futures.Future`."""
    future: Future[ChunkResult] = Future()

    def watch() -> None:
        try:
            result, error = job.result(), None
        except BaseException as raised:
            result, error = None, raised
        if future.set_running_or_notify_cancel():
            future.set_result(result) if error is None else future.set_exception(error)

    threading.Thread(target=watch, daemon=True).start()
    return future


def _pack(job: tuple[Any, ...]) -> bytes:
    try:
        try:
            import cloudpickle  # type: ignore[import-untyped]
        except ImportError:
            return pickle.dumps(job)
        return cloudpickle.dumps(job)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(
            f"`run` and its axes can't be sent to other processes: {error}. Define `run` at the top of a module, or "
            "install cloudpickle. Create files, locks and clients inside of `run`"
        ) from None


_building = threading.Lock()


@lru_cache(maxsize=2)
def _build(payload: bytes, chunk: int | None, arranged: str | None) -> Program:
    try:
        run, over, zipped, lanes, x64, begin = pickle.loads(payload)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"a worker can't import the module {error.name!r}, which `run` needs. Install the module on the workers, "
            f"or send its file to them (with Dask: client.upload_file('{error.name}.py')). Or define `run` in the "
            "script itself"
        ) from None
    with jax.enable_x64(x64):
        grid = replace(make_grid(over, zipped=zipped), lanes=lanes)
        return Program(run, grid, chunk, spread=_SPREAD, arranged=arranged, begin=begin)


def _described(
    payload: bytes, chunk: int | None, arranged: str | None
) -> tuple[dict[str, Variable], int, str, dict[str, str]]:
    with _building:
        program = _build(payload, chunk, arranged)
    return program.outputs, program.chunk, program.arranged, program.identity


def _computed(payload: bytes, chunk: int, arranged: str, number: int, state: Arrays | None) -> ChunkResult:
    with _building:
        program = _build(payload, chunk, arranged)
    return ChunkResult(*program.compute(number, state=state), program.identity)
