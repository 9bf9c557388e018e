"""One function, traced once, as a compiled program that runs a chunk of lanes on each device."""

from __future__ import annotations

import hashlib
import inspect
import platform as host
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxreg
from jaxreg.lab.grid import Grid
from jaxreg.lab.labelled import Labelled
from jaxreg.lab.store import Variable

Run = Callable[..., Any]
Arrays = dict[str, np.ndarray]


class Program:
    """`run` over a grid, traced once.

    Args:
        run: the function of one point.
        grid: the lanes.

    Raises:
        TypeError: `run` doesn't take the axes, or doesn't return a mapping of arrays.
        ValueError: two outputs disagree on a dimension, or a name is taken.
    """

    def __init__(self, run: Run, grid: Grid) -> None:
        _check_arguments(run, grid)
        self.grid = grid
        self.outputs: dict[str, Variable] = {}
        leaves = [leaf for axis in grid.axes for leaf in axis.leaves]
        self._counts = [len(axis.leaves) for axis in grid.axes]
        structs = [_struct(leaf.shape[1:], leaf.dtype) for leaf in leaves]
        self._traced = jax.jit(lambda *point: self._lane(run, point)).trace(*structs)
        self._compiled: dict[int, Any] = {}
        self._leaves = leaves

    def _lane(self, run: Run, point: Sequence[Any]) -> list[jax.Array]:
        """One lane from the flat entries of its point; notes the outputs while it is traced."""
        rest = list(point)
        values = {}
        for axis, count in zip(self.grid.axes, self._counts, strict=True):
            values[axis.name] = axis.entry([rest.pop(0) for _ in range(count)])
        flat = flatten(_traceable(run, values))
        arrays = [_native(name, labelled.values) for name, labelled in flat.items()]
        self.outputs = {
            name: Variable(labelled.dims, array.shape, array.dtype.name)
            for (name, labelled), array in zip(flat.items(), arrays, strict=True)
        }
        _check_names(self.grid, self.outputs)
        return arrays

    @cached_property
    def digest(self) -> str:
        """A hash of the lowered program: operations, shapes and every constant that `run` closes over."""
        digest = hashlib.sha256(self._traced.lower().as_text().encode())
        for constant in self._traced.jaxpr.consts:
            digest.update(np.asarray(constant).tobytes())
        return digest.hexdigest()

    @cached_property
    def devices(self) -> list[Any]:
        """The devices of this process."""
        return jax.local_devices()

    @cached_property
    def _mesh(self) -> Mesh:
        return Mesh(np.array(self.devices), ("lane",), axis_types=(AxisType.Auto,))

    def _sharding(self, *spec: str) -> NamedSharding:
        return NamedSharding(self._mesh, P(*spec))  # type: ignore[no-untyped-call]

    def versions(self) -> dict[str, str]:
        """What the bits of a result depend on besides program, grid and chunk."""
        device = self.devices[0]
        return {
            "jaxreg": jaxreg.__version__,
            "jax": jax.__version__,
            "jaxlib": version("jaxlib"),
            "platform": f"{device.platform} {device.device_kind} {host.machine()}",
        }

    def compile(self, width: int) -> Any:
        """The program for `width` lanes on each device; made once."""
        if width not in self._compiled:
            self._compiled[width] = self._compile(width)
        return self._compiled[width]

    def _compile(self, width: int) -> Any:
        lane = jax.extend.core.jaxpr_as_fun(self._traced.jaxpr)
        owner = [number for number, count in enumerate(self._counts) for _ in range(count)]

        def chunk(leaves: list[jax.Array], indices: tuple[jax.Array, ...]) -> Any:
            def one(index: tuple[jax.Array, ...]) -> Any:
                return lane(*(leaf[index[axis]] for axis, leaf in zip(owner, leaves, strict=True)))

            return jax.vmap(one)(indices)

        whole, split = self._sharding(), self._sharding("lane")
        # Every device runs the whole program on its own lanes: check_vma=False keeps shard_map from summing
        # the gradients of zero-initialised biases over devices, and no collective can creep in.
        sharded = jax.shard_map(
            chunk, mesh=self._mesh, in_specs=(whole.spec, split.spec), out_specs=split.spec, check_vma=False
        )
        rows = width * len(self.devices)
        leaves = [_struct(leaf.shape, leaf.dtype, whole) for leaf in self._leaves]
        indices = tuple(_struct((rows,), np.int32, split) for _ in self.grid.axes)
        return jax.jit(sharded).lower(leaves, indices).compile()

    @cached_property
    def _placed(self) -> list[jax.Array]:
        return [jax.device_put(leaf, self._sharding()) for leaf in self._leaves]

    def lanes(self, first: Sequence[int], width: int) -> list[Arrays]:
        """Run one stretch of `width` lanes on each device, from the lane numbers in `first` on.

        Lanes past the end repeat the last one; so do the devices past the last stretch.
        """
        starts = np.resize(np.asarray(first), len(self.devices))
        numbers = np.minimum(starts[:, None] + np.arange(width), self.grid.size - 1).ravel()
        split = self._sharding("lane")
        indices = tuple(jax.device_put(index, split) for index in self.grid.indices(numbers))
        rows = [np.asarray(row) for row in self.compile(width)(self._placed, indices)]
        return [
            {name: row[d * width : (d + 1) * width] for name, row in zip(self.outputs, rows, strict=True)}
            for d in range(len(first))
        ]


def _struct(shape: tuple[int, ...], dtype: Any, sharding: NamedSharding | None = None) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)  # type: ignore[no-untyped-call]


def flatten(outputs: Any, prefix: str = "") -> dict[str, Labelled]:
    """The outputs of a lane under flat names, nested keys joined by ``/``.

    Raises:
        TypeError: something that is neither a mapping nor an array.
    """
    if isinstance(outputs, Mapping):
        flat: dict[str, Labelled] = {}
        for key, value in outputs.items():
            if not isinstance(key, str):
                raise TypeError(f"run returns a key {key!r}: the names of outputs must be strings")
            named = flatten(value, f"{prefix}/{key}" if prefix else key)
            if taken := flat.keys() & named.keys():
                raise ValueError(f"run returns {sorted(taken)} twice: nested keys are joined by '/'")
            flat |= named
        if not flat:
            raise TypeError(f"run returns an empty mapping{prefix and f' at {prefix!r}'}: name an output")
        return flat
    if not prefix:
        raise TypeError(f"run must return a dict of arrays, got {type(outputs).__name__}: return {{'loss': loss}}")
    labelled = outputs if isinstance(outputs, Labelled) else Labelled(outputs, ())
    values = labelled.values
    if not isinstance(values, jax.Array | np.ndarray | np.generic):
        raise TypeError(
            f"run returns {type(values).__name__} as {prefix!r} and must return an array: use jnp.asarray for "
            "a number, jnp.stack for a list of equal shapes, and one name for each array of other shapes"
        )
    if not isinstance(outputs, Labelled):
        return {prefix: Labelled(values, tuple(f"{prefix}_{i}" for i in range(values.ndim)))}
    if len(labelled.dims) != values.ndim or len(set(labelled.dims)) != values.ndim:
        raise ValueError(f"output {prefix!r} has shape {values.shape} and needs as many names, got {labelled.dims}")
    return {prefix: labelled}


def _native(name: str, value: Any) -> jax.Array:
    """An output in a type that NumPy itself can hold: bfloat16 and smaller widen exactly."""
    array = jnp.asarray(value)
    if jnp.issubdtype(array.dtype, jax.dtypes.extended):
        raise TypeError(f"output {name!r} is a random key: return jax.random.key_data(key)")
    if array.dtype.isbuiltin == 1:
        return array
    return array.astype(np.float32 if jnp.issubdtype(array.dtype, np.floating) else np.int32)


def _traceable(run: Run, values: dict[str, Any]) -> Any:
    try:
        return run(**values)
    except jax.errors.JAXTypeError as error:
        first = str(error).split("\n")[0]
        raise TypeError(f"run can't be traced: it turns a traced value into a Python value ({first})") from error


def _check_arguments(run: Run, grid: Grid) -> None:
    if not callable(run):
        raise TypeError(f"run must be a function of the axes, got {run!r}")
    names = [axis.name for axis in grid.axes]
    try:
        inspect.signature(run).bind(**dict.fromkeys(names))
    except TypeError as error:
        raise TypeError(f"run{inspect.signature(run)} doesn't take the axes {names}: {error}") from None
    except ValueError:  # a builtin without a signature: tracing will tell
        return


def _check_names(grid: Grid, outputs: Mapping[str, Variable]) -> None:
    axes = {axis.name for axis in grid.axes} | set(grid.dims)
    if taken := axes & outputs.keys():
        raise ValueError(f"{sorted(taken)} is the name of an axis and of an output: rename one of them")
    sizes: dict[str, int] = {}
    for name, output in outputs.items():
        if taken := set(output.dims) & (axes | outputs.keys()):
            raise ValueError(f"output {name!r} has the dimension {sorted(taken)}, already an axis or an output")
        for dim, size in zip(output.dims, output.shape, strict=True):
            if sizes.setdefault(dim, size) != size:
                raise ValueError(f"dimension {dim!r} has length {size} in {name!r} and {sizes[dim]} before")
