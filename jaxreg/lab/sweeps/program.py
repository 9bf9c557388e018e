"""One function over one grid: traced once, and compiled for chunks of one width.

A chunk is one call of one program on one device. On an accelerator one chunk runs at a time; on a CPU one a
core, as threads on the same compiled program: XLA's own threads gain nothing on programs this small. Each
device has the program to itself: partitioned over two devices it gives other last bits than on one, and
with `shard_map` the gradients of zero-initialised biases were summed over devices. The devices into which
JAX divides a CPU are the same cores, so one of them is enough, and one compilation.
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
from jaxreg.lab.sweeps.callbacks import find_callbacks
from jaxreg.lab.sweeps.chunk_size import cores, default_width, device_memory, traffic
from jaxreg.lab.sweeps.compilation import compile_with
from jaxreg.lab.sweeps.grid import Grid, plain
from jaxreg.lab.sweeps.lanes import BATCHED, IN_TURN, arrangement
from jaxreg.lab.sweeps.manifest import STATE, Chunks, Variable
from jaxreg.lab.sweeps.outputs import Arrays, Run, describe, evaluate
from jaxreg.lab.sweeps.segments import advance, first_state
from jaxreg.lab.sweeps.splits import factorizes, is_split
from jaxreg.lab.sweeps.structures import Structure

_ALONE = threading.Lock()
"""Held by a chunk on a CPU whose program gives LAPACK stacks of matrices: with jaxlib 0.10, two such chunks that ran
together stopped, each waiting for good (see `jaxreg.lab.sweeps.lanes`)."""
_QUICKLY = {"xla_backend_optimization_level": 1, "xla_cpu_use_fusion_emitters": False}
"""On a CPU this halves the seconds of a compilation and multiplies those of the run by 1 to 3."""
_REUSED = {"xla_backend_optimization_level": 1}
"""On a CPU, for a program with operands, which runs more than once, and for one with some work: it compiles in three
quarters of the time, and runs as fast or takes up to a quarter longer."""
_LARGE = 2**26
"""Bytes from which on a constant is made an operand: XLA spends seconds on one so large, and the compiled program that
holds it is kept on disk."""
_EVEN = 16
"""Chunks for each that runs at once, where lanes run in turn: no core then waits long for the others at the end."""
_LITTLE, _SOME = 1.5e9, 5e10
"""Bytes that all lanes write together, before fusion, in the time that `_QUICKLY` or `_REUSED` saves."""


class _Lowering(NamedTuple):
    """A program for chunks of one width: as JAX traced it, lanes batched, and lowered."""

    jaxpr: Any
    lowered: Any


class Program:
    """A function over a grid, compiled for chunks of one width.

    Arrays that `run` closes over are constants of the program. Operands are arguments of it, so that one program serves
    many arrays of the same shapes; constants of 64 MB and more are made operands too.

    Args:
        run: Function of one point; it takes the axes (`check_arguments`) and the operands by name.
        grid: The lanes.
        chunk: Lanes per chunk; by default as many as suit the device.
        devices: Devices to use; by default this process's accelerators, or its CPU.
        spread: Least number of chunks; by default one for each that runs at once.
        operands: Name -> pytree of arrays that all lanes share. Only their shapes and types are read here.
        arranged: `BATCHED` or `IN_TURN`; by default what suits a CPU, and batched if `chunk` is given.
        begin: Function of the axes that returns the first state, if `run` is one segment of a run: it then takes a
            state by name too, and returns the next one before its outputs.

    Raises:
        TypeError: If `run` does not return a mapping of arrays, or closes over a traced value.
        ValueError: If two outputs disagree on a dimension, or a name is taken.
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
                "run closes over a value that jit, grad or vmap is tracing: call sweep outside of them, or make that "
                "value an axis"
            )
        written = traffic(self._traced.jaxpr.jaxpr) * grid.size
        self._options: Mapping[str, Any] = {}
        if self.devices[0].platform == "cpu":
            few = _QUICKLY if written < _LITTLE else _REUSED if written < _SOME else {}
            self._options = _REUSED if operands else few
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
        free = memory is None and chunk is None and not operands
        lapack = memory is None and factorizes(self._traced.jaxpr.jaxpr)
        self.arranged = arranged or (arrangement(self._traced.jaxpr.jaxpr) if free or lapack else BATCHED)
        least = spread or self.workers * jax.process_count()
        self.chunk = chunk or default_width(self._traced.jaxpr.jaxpr, grid.size, least, memory)
        if chunk is None and self.arranged == IN_TURN:
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
        """Return this program, compiled or not, for some of its lanes."""
        part = copy.copy(self)
        part.grid = replace(self.grid, lanes=lanes)
        part._begin = self._begin and self._begin.on(lanes)
        return part

    def compile_as(self, compiled: str) -> None:
        """Take the options that a store says it was compiled with, which depend on the number of lanes else."""
        for options in ({}, _QUICKLY, _REUSED):
            if _written(options) == compiled:
                self._options = options
        if self._begin:
            self._begin.compile_as(compiled)

    @property
    def workers(self) -> int:
        """Number of chunks that run at once in this process."""
        if self.devices[0].platform != "cpu":
            return len(self.devices)
        return len(self.devices) * max(1, cores() // len(self.devices))

    @property
    def chunks(self) -> Chunks:
        """The lanes in chunks."""
        return Chunks(self.grid.size, self.chunk)

    @cached_property
    def identity(self) -> dict[str, str]:
        """Name -> everything that the bits of a chunk depend on but its width and the values of axes and operands.

        The program is a hash of its lowered text: operations, shapes, and every constant `run` closes over.
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
    def _is_split(self) -> bool:
        """Whether the number of cores may change bits, and the store does not date from before it was recorded."""
        return self.names_cores and self.devices[0].platform == "cpu" and is_split(self._traced.jaxpr.jaxpr)

    @cached_property
    def _text(self) -> str:
        return str(self._first.lowered.as_text())

    @property
    def _first(self) -> "_Lowering":
        if self.chunk not in self._lowerings:
            self._lowerings = {self.chunk: self._lowered(0, self.chunk)}
        return self._lowerings[self.chunk]

    def _needed(self) -> int:
        """Return the bytes of device memory that a chunk takes, by the compiled program's own account."""
        analysis = self._load(0, self.chunk)[0].memory_analysis()
        return int(analysis.argument_size_in_bytes + analysis.output_size_in_bytes + analysis.temp_size_in_bytes)

    def load(self) -> None:
        """Compile for the first device, if that has not been done."""
        with self._settings():
            self._load(0, self.chunk)

    def compute(
        self, number: int, operands: Mapping[str, Any] | None = None, state: Arrays | None = None
    ) -> tuple[Arrays, int]:
        """Run one chunk on the next free device.

        If the device's memory runs out, the chunk is cut in halves, and so are all that follow.

        Args:
            number: Number of the chunk.
            operands: Values of the operands.
            state: Name -> values, lanes first, of the state that a segment takes; by default the first one.

        Returns:
            The outputs, lanes first, without padding; and how many lanes ran together.

        Raises:
            MemoryError: If not even one lane fits.
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
                    raise MemoryError(f"a single run does not fit into the memory of {self.devices[slot]}: {reason}")
                self._width = min(self._width, -(-width // 2))
        finally:
            self._slots.put(slot)
        return {name: np.concatenate([part[name] for part in parts]) for name in self.outputs}, width

    @contextmanager
    def _settings(self) -> Iterator[None]:
        """Set for this thread the precision of the one that made the program; and NaN is a result like any other."""
        with jax.enable_x64(self._x64), jax.debug_nans(False), jax.debug_infs(False), jax.transfer_guard("allow"):
            yield

    def _state(self, begin: Run, point: Sequence[Any]) -> list[Any]:
        """Note the structure of the first state, and return the shapes of its arrays as they are stored."""
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
            lane = jax.extend.core.jaxpr_as_fun(jax.extend.core.ClosedJaxpr(traced.jaxpr, list(consts.values())))

            def one(index: tuple[jax.Array, ...], *state: list[jax.Array]) -> Any:
                point = (leaf[index[owner]] for owner, leaf in zip(self._owners, leaves, strict=True))
                return lane(*point, *jax.tree.leaves(operands), *jax.tree.leaves(state))

            if self.arranged != IN_TURN:
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
        """Return the arguments after axes and indices: none where there are none, which names sweeps stored so far."""
        return [large, operands, *([state] if state else [])] if large or operands or state else []

    def _load(self, slot: int, width: int) -> tuple[Any, list[jax.Array], list[jax.Array]]:
        """Return the program on one device, compiled once, with the axes there and its large constants."""
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
        stacks = self.arranged == BATCHED or factorizes(self._traced.jaxpr.jaxpr, stacks=True)
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
