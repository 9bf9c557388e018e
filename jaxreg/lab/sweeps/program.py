"""Program of a sweep: one function on one grid, traced once and compiled for chunks of one width.

A chunk is a group of lanes (runs) that one call of the compiled program computes on one device. An accelerator computes
one chunk at a time. A CPU computes one chunk per core at a time: one thread per core calls the compiled program. XLA's
own threads are of no use here, because the programs are small.

A chunk is never divided between devices, for two reasons. The last bits of the results would depend on the number of
devices. And with `shard_map`, the gradients of zero-initialised biases were summed across devices.

If JAX divides a CPU into several devices, only the first device is used by default. All of these devices share the same
cores, and one device needs only one compilation.
"""

import copy
import hashlib
import platform as machine
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property
from importlib.metadata import version
from queue import SimpleQueue
from typing import Any, NamedTuple

import jax
import jax.extend.core
import numpy as np
from jax.sharding import SingleDeviceSharding

import jaxreg
from jaxreg.lab.sweeps.axis_values import noted
from jaxreg.lab.sweeps.callbacks import find_callbacks
from jaxreg.lab.sweeps.chunk_size import cores, default_width, device_memory, traffic
from jaxreg.lab.sweeps.compilation import compile_with
from jaxreg.lab.sweeps.grid import Grid, plain
from jaxreg.lab.sweeps.lanes import BATCHED, REWRITTEN, SUMMED, UNROLLED, arrangement
from jaxreg.lab.sweeps.manifest import STATE, Chunks, Variable
from jaxreg.lab.sweeps.outputs import Arrays, Run, describe, evaluate
from jaxreg.lab.sweeps.rewriting import evaluate as evaluate_rewritten
from jaxreg.lab.sweeps.segments import advance, first_state
from jaxreg.lab.sweeps.small_sums import with_small_sums
from jaxreg.lab.sweeps.splits import factorizes, is_split
from jaxreg.lab.sweeps.structures import Structure

_ALONE = threading.Lock()
"""Lock for chunks on a CPU whose program gives LAPACK stacks of matrices. With jaxlib 0.10, two such chunks at the same
time ended in a deadlock (see `jaxreg.lab.sweeps.lanes`)."""
_QUICKLY = {"xla_backend_optimization_level": 1, "xla_cpu_use_fusion_emitters": False}
"""Compiler options for little work on a CPU: half the compilation time, up to 3 times the run time."""
_REUSED = {"xla_backend_optimization_level": 1}
"""Compiler options for more work on a CPU, and for most programs with operands, which are called more than once. The
compilation takes three quarters of the time, and the run time grows by up to a quarter."""
_WIDE = {"xla_cpu_prefer_vector_width": 512}
"""Compiler options for unrolled loops on a CPU. Vectors of 512 bits save a tenth of the time of an LSTM, because its
gates need many operations per number. A CPU without such vectors uses shorter ones."""
_UNDIVIDED = {"xla_disable_hlo_passes": "cpu-parallel-task-assigner"}
"""Compiler options for programs with sums on a CPU. Otherwise XLA divides their loops between threads that are usually
busy with other chunks, and waits for them."""
_LARGE = 2**26
"""Constants of at least this many bytes are passed to the program as arguments. As part of the program, such a constant
would cost XLA seconds, and be stored on disk with the compiled program."""
_EVEN = 16
"""Chunks per worker, if lanes are computed one after the other. Many small chunks keep all cores busy until the end."""
_LITTLE, _SOME = 1.5e9, 5e10
"""Below this many bytes, written by all lanes without fusion, `_QUICKLY` or `_REUSED` saves more time than it costs."""
_FEW = 6e10
"""The same for `_QUICKLY` and a program with operands. Such a program would use `_REUSED` otherwise, and small networks
lose less time than other programs do."""


class _Lowering(NamedTuple):
    """A program for chunks of one width, after tracing and after lowering."""

    jaxpr: Any
    lowered: Any


class Program:
    """Compiled function that computes the runs of a grid, in chunks of a fixed size.

    Arrays that `run` closes over are constants of the program. Operands are arguments of the program, so that it can be
    called again with other arrays of the same shapes. Constants of at least 64 MiB are also passed as arguments.

    Args:
        run: Function of one point. The axes and the operands are its keyword arguments.
        grid: Grid of lanes.
        chunk: Lanes per chunk. By default, as many as suit the device.
        devices: Devices to use. By default, the accelerators of this process, or its CPU.
        spread: Minimum number of chunks if `chunk` is not given. By default, one chunk per worker.
        operands: Name -> pytree of arrays that all lanes share. Only their shapes and types are used here.
        arranged: How the lanes of a chunk are computed: a result of `arrangement`. By default, `BATCHED` on an
            accelerator, and the result of `arrangement` on a CPU. If `chunk` or `operands` is given, a CPU also
            uses `BATCHED`, except for programs that have convolutions or call LAPACK.
        begin: Function of the axes that returns the first state of a run. Only for a sweep with segments: `run` then
            also takes the argument `state`, and returns the next state and its outputs.

    Raises:
        TypeError: If `run` does not return a mapping of arrays, or closes over a traced value.
        ValueError: If an axis, an output or a dimension has the same name as another one. Also if a dimension has
            different lengths in two outputs.
    """

    def __init__(
        self,
        run: Run,
        grid: Grid,
        chunk: int | None = None,
        devices: Sequence[jax.Device] | None = None,
        spread: int | None = None,
        operands: Mapping[str, Any] | None = None,
        arranged: str | None = None,
        begin: Run | None = None,
    ) -> None:
        self.grid = grid
        self._x64 = bool(jax.config.jax_enable_x64)  # type: ignore[attr-defined]
        local = jax.local_devices()
        self.devices = list(devices or (local[:1] if local[0].platform == "cpu" else local))
        self.outputs: dict[str, Variable] = {}
        self._leaves = [leaf for axis in grid.axes for leaf in axis.leaves]
        self._owners = [number for number, axis in enumerate(grid.axes) for _ in axis.leaves]
        point = [_struct(leaf.shape[1:], leaf.dtype) for leaf in self._leaves]
        self._operands = jax.tree.map(lambda array: _struct(array.shape, array.dtype), dict(operands or {}))
        self._carried = [] if begin is None else self._state(begin, point)
        if begin is not None:
            run = advance(run, self._structure)
        lane = jax.jit(lambda *arguments: self._lane(run, *arguments))
        self._traced = lane.trace(point, self._operands, self._carried)
        if len(self._traced.jaxpr.in_avals) > len(point) + len(jax.tree.leaves((self._operands, self._carried))):
            raise TypeError(
                "`run` closes over a traced value: call sweep outside of jit, grad and vmap, or make the value an axis "
                "of the sweep"
            )
        written = traffic(self._traced.jaxpr.jaxpr) * grid.size
        self._options: Mapping[str, Any] = {}
        if self.devices[0].platform == "cpu":
            few = _QUICKLY if written < _LITTLE else _REUSED if written < _SOME else {}
            self._options = (_QUICKLY if written < _FEW else _REUSED) if operands else few
        consts = enumerate(self._traced.jaxpr.consts)
        self._large = [place for place, array in consts if getattr(array, "nbytes", 0) >= _LARGE]
        self._lowerings: dict[int, _Lowering] = {}
        self._loaded: dict[tuple[int, int], tuple[Any, list[jax.Array], list[jax.Array]]] = {}
        self._locks = [threading.Lock() for _ in self.devices]
        self._slots: SimpleQueue[int] = SimpleQueue()
        for _ in range(self.workers // len(self.devices)):
            for number in range(len(self.devices)):
                self._slots.put(number)
        memory = device_memory(self.devices[0])
        if arranged is None and memory is None:
            free = chunk is None and not operands
            arranged = arrangement(self._traced.jaxpr.jaxpr, free, much=written >= _SOME)
        self.arranged = arranged or BATCHED
        if self.arranged in (UNROLLED, SUMMED):
            self._options = _WIDE if self.arranged == UNROLLED else _UNDIVIDED
        least = spread or self.workers * jax.process_count()
        self.chunk = chunk or default_width(self._traced.jaxpr.jaxpr, grid.size, least, memory)
        if chunk is None and not self._is_batched:
            self.chunk = max(1, min(self.chunk, grid.size // (spread or _EVEN * least)))
        while chunk is None and memory is not None and self.chunk > 1 and self._needed() > memory:
            self._loaded.clear()
            self.chunk = -(-self.chunk // 2)
        self._width = self.chunk
        self.names_cores = True
        self._begin = begin and Program(first_state(begin), grid, self.chunk, devices)
        if self._begin:
            self._begin._options = self._options

    def on(self, lanes: np.ndarray) -> "Program":
        """Return a copy of this program that computes only the given runs. The copy shares the compiled code."""
        part = copy.copy(self)
        part.grid = replace(self.grid, lanes=lanes)
        part._begin = self._begin and self._begin.on(lanes)
        return part

    def compile_as(self, compiled: str) -> None:
        """Use the compiler options of an existing store. New results then have the same bits as stored results.

        By default, the compiler options depend on the number of runs.
        """
        for options in ({}, _QUICKLY, _REUSED):
            if _written(options) == compiled:
                self._options = options
        if self._begin:
            self._begin.compile_as(compiled)

    @property
    def workers(self) -> int:
        """Number of chunks that this process computes at the same time."""
        if self.devices[0].platform != "cpu":
            return len(self.devices)
        return len(self.devices) * max(1, cores() // len(self.devices))

    @property
    def chunks(self) -> Chunks:
        """Division of the runs into chunks."""
        return Chunks(self.grid.size, self.chunk)

    @cached_property
    def identity(self) -> dict[str, str]:
        """Dict of everything that can change the results of a chunk, except the chunk size and the values of arguments.

        The entry ``program`` is a hash of the lowered program: its operations, its shapes, and all constants.
        """
        digest = hashlib.sha256(self._text.encode())
        for constant in self._traced.jaxpr.consts:
            digest.update(np.asarray(plain(constant)).tobytes())
        device = self.devices[0]
        callbacks = find_callbacks(self._first.jaxpr.jaxpr, self._text)
        begin = self._begin.identity if self._begin else {}
        callbacks += [begin["callbacks"]] if "callbacks" in begin else []
        return {
            "program": digest.hexdigest(),
            "jaxreg": jaxreg.__version__,
            "jax": jax.__version__,
            "jaxlib": version("jaxlib"),
            "platform": f"{device.platform} {device.device_kind} {machine.machine()}",
            "compiled": _written(self._options),
            **({"lanes": self.arranged} if self.arranged != BATCHED else {}),
            **({"cores": str(cores())} if self._is_split else {}),
            **({"callbacks": ", ".join(callbacks)} if callbacks else {}),
            **({"begin": begin["program"]} if begin else {}),
        }

    @property
    def _is_batched(self) -> bool:
        return self.arranged in (BATCHED, SUMMED)

    @property
    def _is_split(self) -> bool:
        """Whether the number of cores can change the bits of a chunk, and is therefore part of the identity.

        False for a store from a version that did not record the number of cores.
        """
        traced = self._first if self.arranged in (REWRITTEN, UNROLLED) else self._traced
        return self.names_cores and self.devices[0].platform == "cpu" and is_split(traced.jaxpr.jaxpr)

    @cached_property
    def _text(self) -> str:
        return str(self._first.lowered.as_text())

    @property
    def _first(self) -> "_Lowering":
        if self.chunk not in self._lowerings:
            self._lowerings = {self.chunk: self._lowered(0, self.chunk)}
        return self._lowerings[self.chunk]

    def _needed(self) -> int:
        """Return the bytes of device memory that a chunk needs, as reported by the compiled program."""
        analysis = self._load(0, self.chunk)[0].memory_analysis()
        return int(analysis.argument_size_in_bytes + analysis.output_size_in_bytes + analysis.temp_size_in_bytes)

    def load(self) -> None:
        """Compile the program for the first device, unless it is compiled already."""
        with self._settings():
            self._load(0, self.chunk)

    def compute(
        self, number: int, operands: Mapping[str, Any] | None = None, state: Arrays | None = None
    ) -> tuple[Arrays, int]:
        """Compute one chunk on the next free device.

        If the device runs out of memory, the chunk is divided into halves until it fits. Later chunks are divided in
        the same way.

        Args:
            number: Index of the chunk.
            operands: Name of an operand -> its value.
            state: State at which the segment begins: name -> array with one row per lane. By default, the first state.

        Returns:
            The outputs, with one row per lane, and the number of lanes that were computed together.

        Raises:
            MemoryError: If not even a single lane fits into the memory of the device.
        """
        lanes = np.array(self.chunks.lanes(number))
        if self._begin is not None and state is None:
            state, _ = self._begin.compute(number)
        slot = self._slots.get()
        try:
            while True:
                width = self._width
                pieces = np.split(np.arange(len(lanes)), range(width, len(lanes), width))
                try:
                    with self._settings():
                        parts = [self._call(slot, lanes, piece, width, operands or {}, state) for piece in pieces]
                    break
                except jax.errors.JaxRuntimeError as error:
                    if "RESOURCE_EXHAUSTED" not in str(error):
                        raise
                    reason = str(error).split("\n")[0]
                if width == 1:
                    raise MemoryError(
                        f"a single run does not fit into the memory of {self.devices[slot]}. Make the run smaller, "
                        f"such as with smaller batches. The error of the device is: {reason}"
                    )
                self._width = min(self._width, -(-width // 2))
        finally:
            self._slots.put(slot)
        return {name: np.concatenate([part[name] for part in parts]) for name in self.outputs}, width

    @contextmanager
    def _settings(self) -> Iterator[None]:
        """Context with the precision that was set when the program was created, and no errors for NaN or infinity."""
        with jax.enable_x64(self._x64), jax.debug_nans(False), jax.debug_infs(False), jax.transfer_guard("allow"):
            yield

    def _state(self, begin: Run, point: Sequence[Any]) -> list[Any]:
        """Record the tree structure of the first state, and return the shapes of its arrays as they are stored."""
        found: list[Structure] = []

        def noted(**entries: Any) -> Any:
            state = begin(**entries)
            found.append(Structure.of(state))
            return state

        def first(point: Sequence[Any]) -> list[Any]:
            flat = evaluate(first_state(noted), self._entries(point))
            return [labelled.values for labelled in flat.values()]

        shapes = jax.eval_shape(first, point)
        self._structure = found[0]
        return [_struct(shape.shape, shape.dtype) for shape in shapes]

    def _entries(self, point: Sequence[Any]) -> dict[str, Any]:
        return {
            axis.name: axis.entry([leaf for leaf, owner in zip(point, self._owners, strict=True) if owner == number])
            for number, axis in enumerate(self.grid.axes)
        }

    def _lane(self, run: Run, point: Sequence[Any], operands: Mapping[str, Any], state: list[Any]) -> list[Any]:
        carried = {STATE: state} if state else {}
        with noted(point, self._leaves):
            flat = evaluate(run, {**self._entries(point), **operands, **carried})
        self.outputs = describe(flat, self.grid)
        return [labelled.values for labelled in flat.values()]

    def _lowered(self, slot: int, width: int) -> "_Lowering":
        traced = self._traced.jaxpr
        here = SingleDeviceSharding(self.devices[slot])

        def placed(array: Any) -> Any:
            return _struct(array.shape, array.dtype, here)

        def chunk(leaves: list[jax.Array], indices: tuple[jax.Array, ...], *arguments: Any) -> Any:
            large, operands, *state = arguments or ((), {})
            consts = dict(enumerate(traced.consts)) | dict(zip(self._large, large, strict=True))
            values = list(consts.values())
            jaxpr = with_small_sums(traced.jaxpr) if self.arranged == SUMMED else traced.jaxpr
            lane = jax.extend.core.jaxpr_as_fun(jax.extend.core.ClosedJaxpr(jaxpr, values))
            if self.arranged in (REWRITTEN, UNROLLED):

                def lane(*arguments: Any) -> Any:
                    return evaluate_rewritten(traced.jaxpr, values, arguments, unroll=self.arranged == UNROLLED)

            def one(index: tuple[jax.Array, ...], *state: list[jax.Array]) -> Any:
                point = (leaf[index[owner]] for owner, leaf in zip(self._owners, leaves, strict=True))
                return lane(*point, *jax.tree.leaves(operands), *jax.tree.leaves(state))

            if self._is_batched:
                return jax.vmap(one)(indices, *state)
            return jax.lax.map(lambda row: one(*row), (indices, *state)) if state else jax.lax.map(one, indices)

        leaves = [placed(leaf) for leaf in self._leaves]
        indices = tuple(_struct((width,), np.int32, here) for _ in self.grid.axes)
        large = [placed(traced.consts[place]) for place in self._large]
        with self._settings():
            rows = [_struct((width, *shape.shape), shape.dtype, here) for shape in self._carried]
            arguments = self._arguments(large, jax.tree.map(placed, self._operands), rows)
            whole = jax.jit(chunk).trace(leaves, indices, *arguments)
            return _Lowering(whole.jaxpr, whole.lower())

    def _arguments(self, large: list[Any], operands: Mapping[str, Any], state: list[Any]) -> list[Any]:
        """Return the arguments of the program that follow the axes and the indices.

        The list is empty if there are none of them. Empty arguments would change the identity of stored sweeps.
        """
        return [large, operands, *([state] if state else [])] if large or operands or state else []

    def _load(self, slot: int, width: int) -> tuple[Any, list[jax.Array], list[jax.Array]]:
        """Return the compiled program for one device, with the axes and large constants on this device."""
        with self._locks[slot]:
            if (slot, width) not in self._loaded:
                first = (slot, width) == (0, self.chunk)
                lowered = self._first if first else self._lowered(slot, width)
                compiled = compile_with(lowered.lowered, self._options)
                leaves = [jax.device_put(leaf, self.devices[slot]) for leaf in self._leaves]
                large = [jax.device_put(self._traced.jaxpr.consts[place], self.devices[slot]) for place in self._large]
                self._loaded[slot, width] = (compiled, leaves, large)
            return self._loaded[slot, width]

    @cached_property
    def _turn(self) -> AbstractContextManager[Any]:
        on_cpu = self.devices[0].platform == "cpu"
        stacks = self._is_batched or factorizes(self._traced.jaxpr.jaxpr, stacks=True)
        return _ALONE if on_cpu and stacks and "@lapack_" in self._text else nullcontext()

    def _call(
        self,
        slot: int,
        lanes: np.ndarray,
        piece: np.ndarray,
        width: int,
        operands: Mapping[str, Any],
        state: Arrays | None,
    ) -> Arrays:
        compiled, leaves, large = self._load(slot, width)
        padded = np.minimum(piece[0] + np.arange(width), piece[-1])
        carried = [rows[padded] for rows in (state or {}).values()]
        arguments = self._arguments(large, jax.device_put(operands, self.devices[slot]), carried)
        with self._turn:
            rows = [np.asarray(row) for row in compiled(leaves, self.grid.indices(lanes[padded]), *arguments)]
        return {name: row[: len(piece)] for name, row in zip(self.outputs, rows, strict=True)}


def _written(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items())


def _struct(shape: tuple[int, ...], dtype: Any, sharding: SingleDeviceSharding | None = None) -> Any:
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)  # type: ignore[no-untyped-call]
