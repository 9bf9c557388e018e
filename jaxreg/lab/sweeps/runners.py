"""Where chunks run: on threads of this process, or wherever an executor takes them."""

from __future__ import annotations

import contextlib
import pickle
import signal
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import jax

from jaxreg.lab.sweeps.grid import make_grid
from jaxreg.lab.sweeps.outputs import Arrays, Run
from jaxreg.lab.sweeps.program import Program
from jaxreg.lab.sweeps.store import Variable

_SPREAD = 64
"""Chunks that there are at least, as an executor doesn't say how many workers it has."""

_IN_FLIGHT = 2**29
"""Bytes of results that are under way at once."""


class Done(NamedTuple):
    """A finished chunk: its outputs, how many lanes ran together, and by what program."""

    arrays: Arrays
    width: int
    identity: Mapping[str, str]


class Place(Protocol):
    """A place where the chunks of one sweep can run."""

    @property
    def outputs(self) -> Mapping[str, Variable]:
        """The layout of a lane's outputs."""

    @property
    def chunk(self) -> int:
        """Lanes a chunk."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What the bits of a chunk depend on, by name."""

    @property
    def most(self) -> int:
        """How many chunks to have under way at once."""

    def start(self) -> None:
        """Compile ahead of the first chunk, if that can be done meanwhile."""

    def submit(self, number: int) -> Future[Done]:
        """Start a chunk."""

    def close(self) -> None:
        """Start no more; what runs already may finish."""


class Here:
    """Threads of this process, one a device, or on a CPU one a core.

    Args:
        program: what to run.
    """

    def __init__(self, program: Program) -> None:
        self.outputs, self.chunk, self.identity = program.outputs, program.chunk, program.identity
        self.most = 2 * program.workers
        self._program = program
        self._pool = ThreadPoolExecutor(program.workers, thread_name_prefix="sweep")

    def start(self) -> None:
        """Compile ahead of the first chunk; what goes wrong there goes wrong again with that chunk, and is told."""
        self._pool.submit(self._program.load)

    def submit(self, number: int) -> Future[Done]:
        """Start a chunk."""
        return self._pool.submit(lambda: Done(*self._program.compute(number), self.identity))

    def close(self) -> None:
        """Start no more; what runs already may finish."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class There:
    """Any `concurrent.futures` executor: each of its workers traces and compiles for itself.

    `run` and the axes travel to the workers and results travel back, so no file system is shared.

    Args:
        executor: such as Dask's ``client.get_executor()``, or a `ProcessPoolExecutor` that spawns.
        run: the function of one point.
        over: the axes.
        zipped: whether they are taken entry by entry.
        chunk: lanes a chunk.
    """

    def __init__(self, executor: Executor, run: Run, over: Mapping[str, Any], zipped: bool, chunk: int | None) -> None:
        self._executor = executor
        self._payload = _pack((run, dict(over), zipped, bool(jax.config.jax_enable_x64)))  # type: ignore[attr-defined]
        with _unheard():
            job = executor.submit(_described, self._payload, chunk)
        self.outputs, self.chunk, self.identity = job.result()
        lane = sum(v.nbytes for v in self.outputs.values())
        self.most = max(16, min(1024, _IN_FLIGHT // max(1, lane * self.chunk)))

    def start(self) -> None:
        """Nothing: each worker compiles with its first chunk."""

    def submit(self, number: int) -> Future[Done]:
        """Start a chunk."""
        with _unheard():
            job = self._executor.submit(_computed, self._payload, self.chunk, number)
        return job if isinstance(job, Future) else _awaited(job)

    def close(self) -> None:
        """Leave the executor to whoever made it."""


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Hold Ctrl-C back: here until the end, and for good in a worker that starts meanwhile.

    A terminal sends it to workers too, which would drop their chunks or, where they have none yet, the whole pool.
    """
    if not hasattr(signal, "pthread_sigmask"):  # as on Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _awaited(job: Any) -> Future[Done]:
    """A job of an executor with futures of its own, such as submitit's or a Dask client's, as a future of Python's."""
    future: Future[Done] = Future()

    def watch() -> None:
        try:
            done, error = job.result(), None
        except BaseException as raised:
            done, error = None, raised
        if future.set_running_or_notify_cancel():
            future.set_result(done) if error is None else future.set_exception(error)

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
            f"run and its axes can't travel to other processes: {error}. Define run at the top of a module, install "
            "cloudpickle, and make what can't travel (files, locks, clients) inside of run"
        ) from None


_building = threading.Lock()


@lru_cache(maxsize=2)
def _build(payload: bytes, chunk: int | None) -> Program:
    run, over, zipped, x64 = pickle.loads(payload)
    with jax.enable_x64(x64):
        return Program(run, make_grid(over, zipped=zipped), chunk, spread=_SPREAD)


def _described(payload: bytes, chunk: int | None) -> tuple[dict[str, Variable], int, dict[str, str]]:
    with _building:
        program = _build(payload, chunk)
    return program.outputs, program.chunk, program.identity


def _computed(payload: bytes, chunk: int, number: int) -> Done:
    with _building:
        program = _build(payload, chunk)
    return Done(*program.compute(number), program.identity)
