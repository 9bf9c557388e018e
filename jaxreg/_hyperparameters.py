"""Base of penalties and constraints: frozen dataclasses that are pytrees of their hyperparameters."""

import dataclasses
import inspect
import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar, dataclass_transform

import jax
import numpy as np

Number = Any
"""A hyperparameter: a float, an array (one value per run under `jax.vmap`) or an Optax schedule."""
Axis = int | tuple[int, ...] | None
"""Axes of one group of weights. None stands for the fan-in axes, which are inferred from the parameter tree later."""
T = TypeVar("T")

KERAS_NAMES = {
    "l1": ("strength",),
    "l2": ("strength",),
    "factor": ("strength",),
    "min_value": ("min",),
    "max_value": ("limit", "max"),
}
"""Name of an argument in Keras -> names of the corresponding arguments in jaxreg."""


def static(default: Any = dataclasses.MISSING) -> Any:
    """Return a dataclass field for a hashable value that JAX does not trace, such as an axis."""
    return dataclasses.field(default=default, metadata={"static": True})


@dataclass_transform(frozen_default=True, field_specifiers=(static, dataclasses.field))
def hyperparameters(cls: type[T]) -> type[T]:
    """Turn a class into a frozen dataclass and a JAX pytree. Fields declared with `static` are not traced.

    The repr of an object is the code that creates the object; see `written`. Two objects are equal if all their
    hyperparameters are equal, including arrays.

    The constructor raises an error if an argument is unknown or missing, or if there are too many arguments. The error
    lists the arguments of the class.

    When JAX rebuilds an object from its leaves, the constructor is not called. The leaves may be gradients with respect
    to strengths, and the constructor would reject a negative gradient as a negative strength. The classes of
    `jax.tree_util.register_dataclass` do call the constructor.
    """
    cls = dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)
    cls.__init__ = _of_known_names(cls.__init__)  # type: ignore[method-assign]
    cls.__repr__ = written  # type: ignore[method-assign]
    cls.__eq__ = _equal  # type: ignore[method-assign]
    cls.__hash__ = _hash  # type: ignore[method-assign]
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    data = [f.name for f in fields if not f.metadata.get("static")]
    fixed = [f.name for f in fields if f.metadata.get("static")]

    def flatten(obj: T) -> tuple[list[tuple[Any, Any]], tuple[Any, ...]]:
        leaves = [(jax.tree_util.GetAttrKey(name), getattr(obj, name)) for name in data]
        return leaves, tuple(getattr(obj, name) for name in fixed)

    def unflatten(values: tuple[Any, ...], leaves: Any) -> T:
        obj = object.__new__(cls)
        for name, value in [*zip(data, leaves, strict=True), *zip(fixed, values, strict=True)]:
            object.__setattr__(obj, name, value)
        return obj

    jax.tree_util.register_pytree_with_keys(cls, flatten, unflatten)
    return cls


def _of_known_names(construct: Callable[..., None]) -> Callable[..., None]:
    _, *parameters = inspect.signature(construct).parameters.values()
    named = [each for each in parameters if each.kind is not each.VAR_POSITIONAL]
    names = [each.name for each in named]
    by_place = [each.name for each in named if each.kind is not each.KEYWORD_ONLY]

    @wraps(construct)
    def construct_of_known_names(self: Any, *args: Any, **given: Any) -> None:
        unknown = {name: _written_value(value, ()) for name, value in given.items() if name not in names}
        if unknown:
            raise TypeError(_unknown_names(type(self), names, unknown))
        filled = {*by_place[: len(args)], *given}
        missing = [f"no {each.name}" for each in named if each.default is each.empty and each.name not in filled]
        if missing:
            raise TypeError(f"{type(self).__name__} got {' and '.join(missing)}; expected {_call(type(self))}")
        if named == parameters and len(args) > len(by_place):
            values = ", ".join(_written_value(value, ()) for value in args)
            raise TypeError(f"{type(self).__name__} got {values}; expected {_call(type(self))}")
        construct(self, *args, **given)

    return construct_of_known_names


def _call(cls: type) -> str:
    takes = [str(each.replace(annotation=each.empty)) for each in inspect.signature(cls).parameters.values()]
    return f"{cls.__name__}({', '.join(takes)})"


def _unknown_names(cls: type, names: Sequence[str], unknown: dict[str, str]) -> str:
    # Keras's L1, L2 and L1L2 call a strength by the name of its penalty: `l2` is no strength of L1.
    meant = [name for name in unknown if name not in ("l1", "l2") or name == cls.__name__.lower()]
    here = {name: alike for name in meant for alike in KERAS_NAMES.get(name, ()) if alike in names}
    advice = " and ".join(f"{here[name]}={unknown[name]} for Keras's {name}" for name in here)
    got = ", ".join(f"{name}={value}" for name, value in unknown.items())
    return f"{cls.__name__} got {got}; expected {_call(cls)}" + (f". Write {advice}" if advice else "")


def written(obj: Any, without: Sequence[str] = ()) -> str:
    """Return the repr of an object: the Python code that creates it, such as `L2(0.01)`.

    The fields in `without` are omitted, and so are fields with their default value. The name of a field is omitted if
    the field is the only required field of its class. An array is shown by its shape.

    In a class without required fields, such as `keras.MaxNorm`, the traced fields count as required. So they are
    written even if they have their default value, unless this value is None.
    """
    fields = dataclasses.fields(obj)
    required = [field.name for field in fields if field.default is dataclasses.MISSING]
    leading = required or [field.name for field in fields if not field.metadata.get("static")]
    parts = []
    for field in fields:
        value = getattr(obj, field.name)
        plain = _key(value) == _key(field.default)
        if field.name in without or (plain and (value is None or field.name not in leading)):
            continue
        if leading != [field.name]:
            parts.append(f"{field.name}={_written_value(value, without)}")
        elif isinstance(value, tuple):  # the arguments of Intersection(*parts)
            parts += [_written_value(part, without) for part in value]
        else:
            parts.append(_written_value(value, without))
    module = type(obj).__module__
    home = "keras." if module == "jaxreg.keras" else ""  # two rules of one name: jr.MaxNorm and jr.keras.MaxNorm
    return f"{home}{type(obj).__name__}({', '.join(parts)})"


def _written_value(value: Any, without: Sequence[str]) -> str:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return written(value, without)
    if isinstance(value, jax.core.Tracer):
        return str(jax.typeof(value))
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        if value.ndim:
            return f"array of {value.shape}"
        # Digits of its own precision: 0.1, not 0.10000000149.
        value = float(str(value)) if np.issubdtype(value.dtype, np.floating) else value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    return value.__name__ if callable(value) and hasattr(value, "__name__") else repr(value)


def _key(value: Any) -> Any:
    # The value that hyperparameters are compared by. A traced one equals only itself.
    if isinstance(value, jax.core.Tracer):
        return id(value)
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        array = np.asarray(value)
        return (array.dtype.name, array.shape, array.tobytes()) if array.ndim else array.item()
    return value


def _keys(obj: Any) -> tuple[Any, ...]:
    return tuple(_key(getattr(obj, field.name)) for field in dataclasses.fields(obj))


def _equal(self: Any, other: object) -> bool:
    return type(self) is type(other) and _keys(self) == _keys(other)


def _hash(self: Any) -> int:
    return hash((type(self), _keys(self)))


def known(*values: Number) -> bool:
    """Return whether all `values` are known numbers or arrays: neither traced by JAX nor given by a schedule."""
    return not any(callable(value) or isinstance(value, jax.core.Tracer) for value in values)


def at_step(obj: Any, step: jax.Array | int) -> Any:
    """Return `obj` with every scheduled hyperparameter replaced by the value of its schedule at `step`."""
    if jax.tree_util.all_leaves([obj]):
        return obj
    return jax.tree.map(lambda leaf: leaf(step) if isinstance(leaf, Callable) else leaf, obj)  # type: ignore[arg-type]


def rate_at(learning_rate: Number, count: jax.Array) -> Any:
    """Return the learning rate, a number or a schedule, at optimiser step `count`. The first step has number 0."""
    return learning_rate(count) if callable(learning_rate) else learning_rate


def scheduled(obj: Any) -> bool:
    """Return whether at least one hyperparameter of `obj` is a schedule."""
    return not jax.tree_util.all_leaves([obj]) and any(callable(leaf) for leaf in jax.tree.leaves(obj))
