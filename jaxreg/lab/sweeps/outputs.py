"""Names, dimensions and types of the outputs of one lane, checked while the lane is traced."""

import inspect
import os
import re
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxreg
from jaxreg.lab.labelled import Labelled
from jaxreg.lab.sweeps.grid import Grid, narrowed, plain
from jaxreg.lab.sweeps.manifest import Variable

Arrays = dict[str, np.ndarray]
Run = Callable[..., Any]
_TRACING = tuple(f"{Path(str(package.__file__)).parent}{os.sep}" for package in (jax, jaxreg))
"""Folders of JAX and jaxreg. They end in a separator, because a neighbour could be called jax_models."""
_TRACED = re.compile(r"(Tracer[(<]|Traced<)")
_INSTALLED = (f"{Path(jax.__file__).parents[1]}{os.sep}", f"{Path(os.__file__).parent}{os.sep}")
"""Folders of installed packages and of Python's own modules."""


def check_arguments(run: Run, names: Iterable[str], what: str = "run") -> None:
    """Check that a function accepts the axes of a sweep as keyword arguments.

    Args:
        run: Function of one point.
        names: Names of the axes, and of the settings if the sweep has a list of points.
        what: Name of the function, for the error message.

    Raises:
        TypeError: If `run` is not a function, or does not accept the arguments `names`.
    """
    names = list(names)
    try:
        signature = inspect.signature(run)
    except ValueError:  # a builtin without a signature: tracing will tell
        return
    except TypeError:
        raise TypeError(f"`{what}` must be a function with the arguments {names}, got {run!r}") from None
    try:
        signature.bind(**dict.fromkeys(names))
    except TypeError as error:
        raise TypeError(f"{what}{signature} can't be called with the axes {names} as its arguments: {error}") from None


def check_names(outputs: Any) -> None:
    """Raise `ValueError` if `run` returns an output whose name begins with a space. These names are reserved."""
    for key in outputs if isinstance(outputs, Mapping) else ():
        if isinstance(key, str) and key.startswith(" "):
            raise ValueError(f"`run` returns an output named {key!r}: use a name that does not begin with a space")


def evaluate(run: Run, point: Mapping[str, Any]) -> dict[str, Labelled]:
    """Evaluate the function `run` with traced arguments, and return its outputs as a flat dict.

    Args:
        run: Function of one point.
        point: Name of an axis or operand -> its value.

    Returns:
        Name -> labelled array. For nested outputs, the keys, fields and list indices are joined by ``/``. An array
        without labels gets the dimensions ``<name>_0``, ``<name>_1``, and so on. Types that NumPy lacks, such as
        bfloat16, are converted to wider types without loss. Random keys become the integers that they consist of.

    Raises:
        TypeError: If `run` can't be traced, or does not return named arrays.
        ValueError: If two outputs get the same name, or the labels of an array do not match its dimensions.
    """
    try:
        outputs = run(**point)
    except (TypeError, IndexError, ValueError) as error:
        seeds = _seeds(error)
        if not (seeds or _needs_value(error)):
            raise
        reason = str(error).replace(",\n", ", ").split("\n")[0]
        refusal = TypeError(
            f"`run` can't be traced, because it needs the value of a traced array. The original error: {reason}"
        )
        if line := _line(error):
            refusal.add_note(line)
        if seeds:
            refusal.add_note(
                "The random number generator needs the value of its seed. Instead, make a JAX key from the axis, "
                "key = jax.random.key(draw), and pass this key: nnx.Rngs(key) or jax.random.normal(key, shape). If "
                "NumPy makes the data, make the data of all draws before the sweep, and take data[draw] in `run`."
            )
        elif isinstance(error, jax.errors.TracerBoolConversionError):
            refusal.add_note(
                "Instead of `if`, write jnp.where(condition, a, b) or jax.lax.cond. To keep the `if`, pass the axis "
                "as choices(...), which compiles a program per value."
            )
        elif not isinstance(error, jax.errors.UnexpectedTracerError | jax.errors.KeyReuseError):
            refusal.add_note(
                "If an axis is the width or depth of a network, use jaxreg.lab.any_width or any_depth. For any other "
                "size, pass the axis as choices(...), which compiles a program per value."
            )
        raise refusal from error
    flat = {name: _native(name, labelled) for name, labelled in _flatten(named(outputs), "").items()}
    if not flat:
        raise TypeError("`run` returns no array: return an output, such as {'loss': loss}")
    return flat


def _seeds(error: Exception) -> bool:
    """Return whether a generator of random numbers, such as NumPy's or Flax's, refused a traced seed."""
    trace, values = error.__traceback__, list[Any]()
    while trace is not None:
        values, trace = list(trace.tb_frame.f_locals.values()), trace.tb_next
    traced = isinstance(error, jax.errors.JAXTypeError) or _TRACED.search(str(error))
    if not (traced or any(isinstance(value, jax.core.Tracer) for value in values)):
        return False
    words = str(error).splitlines()[:1]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if _is_own(frame):
            break
        if not frame.filename.startswith(_TRACING):
            words += [Path(frame.filename).name, frame.name]
    return re.search(r"seed|\brng|random_state", " ".join(words), re.IGNORECASE) is not None


def _is_own(frame: traceback.FrameSummary) -> bool:
    return bool(frame.line) and not frame.filename.startswith((*_TRACING, *_INSTALLED))


def _needs_value(error: Exception) -> bool:
    """Return whether an error says that a traced array has no value."""
    if isinstance(error, jax.errors.JAXTypeError | jax.errors.JAXIndexError):
        return True
    if isinstance(error, ValueError):
        return False
    # The errors of JAX and NumPy for shapes and slices have no class of their own.
    return re.search(rf"\b(concrete|static|integers?)\b.*{_TRACED.pattern}", str(error)) is not None


def _line(error: Exception) -> str:
    """Return the last line of the traceback that is neither in JAX nor in jaxreg, as text; empty if there is none.

    A line that is in no installed package counts first.
    """
    frames = [
        frame
        for frame in reversed(traceback.extract_tb(error.__traceback__))
        if frame.line and not frame.filename.startswith(_TRACING)
    ]
    for frame in (*filter(_is_own, frames), *frames):
        return f"Line {frame.lineno} of {Path(frame.filename).name}: {frame.line}"
    return ""


def describe(flat: Mapping[str, Labelled], grid: Grid) -> dict[str, Variable]:
    """Check the names and sizes of the outputs of `run`, and return their dimensions, shapes and types.

    Args:
        flat: Name of an output of one lane -> labelled array.
        grid: Grid of the sweep.

    Raises:
        ValueError: If an axis, an output or a dimension has the same name as another one. Also if a dimension has
            different lengths in two outputs.
    """
    axes = {axis.name for axis in grid.axes} | set(grid.dims)
    if taken := axes & flat.keys():
        raise ValueError(f"{sorted(taken)[0]!r} is the name of an axis and of an output: rename one of them")
    lengths: dict[str, int] = {}
    for name, labelled in flat.items():
        if taken := set(labelled.dims) & (axes | flat.keys()):
            what = sorted(taken)[0]
            raise ValueError(
                f"dimension {what!r} of output {name!r} is also the name of an axis or output: rename the dimension"
            )
        for dim, length in zip(labelled.dims, labelled.values.shape, strict=True):
            if lengths.setdefault(dim, length) != length:
                raise ValueError(
                    f"dimension {dim!r} has length {length} in output {name!r} and {lengths[dim]} in another output: "
                    "give the two dimensions different names"
                )
    return {
        name: Variable(labelled.dims, tuple(labelled.values.shape), labelled.values.dtype.name)
        for name, labelled in flat.items()
    }


def named(outputs: Any) -> Mapping[Any, Any]:
    """Return the outputs of `run` as a mapping. Convert an object with named fields, such as a NamedTuple."""
    if isinstance(outputs, Mapping):
        return outputs
    children = jax.tree_util.tree_flatten_with_path(outputs, is_leaf=lambda node: node is not outputs)[0]
    if not children or not all(path and isinstance(path[0], jax.tree_util.GetAttrKey) for path, _ in children):
        kind = "an array" if isinstance(outputs, jax.Array) else type(outputs).__name__
        raise TypeError(f"`run` must return a dict of arrays, got {kind}: return {{'loss': loss}}")
    return {path[0].name: child for path, child in children}


def _flatten(outputs: Mapping[Any, Any], prefix: str) -> dict[str, Labelled]:
    flat: dict[str, Labelled] = {}
    if not outputs:
        raise TypeError(f"`run` returns an empty dict{prefix and f' at {prefix!r}'}: add an output to it")
    for key, value in outputs.items():
        if not isinstance(key, str) or not key:
            raise TypeError(f"`run` returns an output named {key!r}: the names of outputs must be strings")
        if not key.isprintable():
            raise ValueError(f"`run` returns an output named {key!r}: use a name that can be printed")
        name = f"{prefix}/{key}" if prefix else key
        inner = _flatten(value, name) if isinstance(value, Mapping) else _leaves(name, value)
        if taken := flat.keys() & inner.keys():
            raise ValueError(
                f"`run` returns two outputs that are both stored as {sorted(taken)[0]!r}: rename one of them. The "
                "names of nested outputs are joined with '/'"
            )
        flat |= inner
    return flat


def _leaves(name: str, value: Any) -> dict[str, Labelled]:
    """Return the arrays of a tree by name. Functions, such as the activation of an Equinox module, are skipped."""
    found: dict[str, Labelled] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(value, is_leaf=is_labelled)[0]:
        inner = "/".join([name, *map(key_name, path)])
        if path and callable(leaf):
            continue
        if inner in found:
            raise ValueError(
                f"`run` returns two outputs that are both stored as {inner!r}: rename one of them. The names of nested "
                "outputs are joined with '/'"
            )
        found[inner] = _labelled(inner, leaf)
    return found


def is_labelled(node: Any) -> bool:
    """Return whether a node of a pytree is an array with named dimensions."""
    return isinstance(node, Labelled)


def key_name(key: Any) -> str:
    """Return one key of a pytree path as text. The text becomes part of the name of an output."""
    for attribute in ("name", "key", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


def _labelled(name: str, value: Any) -> Labelled:
    values = value.values if isinstance(value, Labelled) else value
    if isinstance(values, bool | int | float | complex):
        values = np.asarray(values)
    if (
        not isinstance(values, jax.Array | np.ndarray | np.generic)
        or str(getattr(values.dtype, "kind", "V")) in "OSUMm"
    ):
        is_array = isinstance(values, jax.Array | np.ndarray | np.generic)
        kind = f"an array of dtype {values.dtype}" if is_array else f"of type {type(values).__name__}"
        raise TypeError(f"output {name!r} is {kind}; expected an array of numbers, or a tree of such arrays")
    dims = value.dims if isinstance(value, Labelled) else tuple(f"{name}_{i}" for i in range(values.ndim))
    if len(dims) != values.ndim or len(set(dims)) != len(dims):
        raise ValueError(
            f"output {name!r} has shape {values.shape} and dimensions {dims}; expected one distinct name per axis"
        )
    return Labelled(values, dims)


def _native(name: str, labelled: Labelled) -> Labelled:
    values = labelled.values
    array = jnp.asarray(values if isinstance(values, jax.Array) else narrowed(f"output {name!r}", np.asarray(values)))
    if jnp.issubdtype(array.dtype, jax.dtypes.extended):
        data = plain(array)
        inner = tuple(f"{name}_{i}" for i in range(array.ndim, data.ndim))
        return Labelled(data, (*labelled.dims, *inner))
    if array.dtype.isbuiltin == 2:
        array = array.astype(np.float32 if jnp.issubdtype(array.dtype, np.floating) else np.int32)
    return Labelled(array, labelled.dims)
