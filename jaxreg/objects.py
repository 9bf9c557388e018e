"""How penalties and constraints are made: frozen dataclasses that are pytrees of their hyperparameters."""

import dataclasses
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np

Number = Any
"""A hyperparameter: a float, an array (one value a lane under `jax.vmap`) or an Optax schedule."""

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def static(default: Any = dataclasses.MISSING) -> Any:
    """A field that is part of the structure of the pytree: hashable, and not traced."""
    return dataclasses.field(default=default, metadata={"static": True})


@dataclass_transform(frozen_default=True, field_specifiers=(static, dataclasses.field))
def hyperparameters(cls: type[T]) -> type[T]:
    """Make `cls` a frozen dataclass and a pytree whose leaves are its fields, but for the `static` ones.

    Unlike `jax.tree_util.register_dataclass`, rebuilding from leaves does not call the constructor: a
    gradient with respect to a strength is a negative strength, and must not be refused as one.
    """
    cls = dataclasses.dataclass(frozen=True)(cls)
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


def check(
    owner: object,
    name: str,
    low: float = 0.0,
    above: bool = False,
    infinite: bool = False,
    high: float = np.inf,
    under: bool = False,
) -> None:
    """Refuse the hyperparameter `name` of `owner` unless it is a number of at least `low` (above it if `above`).

    `high` is the largest one, or what it must be under if `under`. Traced values and schedules cannot be looked at, and
    pass.
    """
    check_number(getattr(owner, name), f"{type(owner).__name__}: {name}", low, above, infinite, high, under)


def check_number(
    value: Number,
    what: str,
    low: float = 0.0,
    above: bool = False,
    infinite: bool = False,
    high: float = np.inf,
    under: bool = False,
) -> None:
    """The same for any number; `what` says in the error which one it is."""
    if not known(value):
        return
    expected = "a number" if low == -np.inf else f"a number {'above' if above else 'of at least'} {low:g}"
    if np.isfinite(high):
        expected += f" and {'under' if under else 'at most'} {high:g}"
    elif not infinite:
        expected += ", not infinite"
    try:
        # NumPy would read "3" as 3.
        array = None if isinstance(value, str | None) else np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = None
    if array is None:
        raise TypeError(f"{what} is {value!r}; expected {expected}")
    right = (
        (array > low if above else array >= low)
        & ((array < high) if under else (array <= high))
        & (infinite | np.isfinite(array))
    )
    if not np.all(right):
        wrong = float(array[~right].flat[0]) if array.ndim else float(array)
        raise ValueError(f"{what} is {wrong:g}; expected {expected}")


def refuse_class(value: object, what: str) -> None:
    """Refuse a class in the place of an object of it; `what` says in the error for what it was given."""
    if isinstance(value, type):
        raise TypeError(f"{what}: {value.__name__} is a class; write {value.__name__}(...)")


def refuse_steps(penalty: object, step: Number) -> None:
    """Refuse a step for each weight, for which the proximal step of `penalty` has no closed form."""
    if jnp.ndim(step):
        raise ValueError(
            f"{type(penalty).__name__}: the step has shape {jnp.shape(step)}; expected one number, for with a step for "
            "each weight there is no closed form: use it in jaxreg.proximal, jaxreg.penalize or jaxreg.decay"
        )


def known(*values: Number) -> bool:
    """Whether every value is a number or an array that can be looked at: neither traced nor a schedule."""
    return not any(callable(value) or isinstance(value, jax.core.Tracer) for value in values)


def at_step(obj: Any, step: jax.Array | int) -> Any:
    """`obj` with every schedule among its hyperparameters replaced by the schedule's value at `step`."""
    if jax.tree_util.all_leaves([obj]):
        return obj
    return jax.tree.map(lambda leaf: leaf(step) if isinstance(leaf, Callable) else leaf, obj)  # type: ignore[arg-type]


def rate_at(learning_rate: Number, count: jax.Array) -> Any:
    """The learning rate of the update after `count` others."""
    return learning_rate(count) if callable(learning_rate) else learning_rate


def scheduled(obj: Any) -> bool:
    """Whether a hyperparameter of `obj` is a schedule."""
    return not jax.tree_util.all_leaves([obj]) and any(callable(leaf) for leaf in jax.tree.leaves(obj))


def partitioned(number: bool = False) -> Callable[[F], F]:
    """Leave it to XLA how a function works on an array whose axes are explicitly sharded, as it is with any other.

    JAX has no sort and no singular values of such an array. The result lies as the array does, the first one among the
    arguments, or everywhere if it is a `number`.
    """

    def decorate(function: F) -> F:
        @wraps(function)
        def call(*args: Any, **named: Any) -> Any:
            array = next((arg for arg in (*args, *named.values()) if hasattr(arg, "ndim")), 0)
            sharding: Any = jax.typeof(array).sharding
            axes = sharding.mesh.explicit_axes
            if not axes:
                return function(*args, **named)
            leaves, structure = jax.tree.flatten((args, named))
            arrays = {n: leaf for n, leaf in enumerate(leaves) if isinstance(leaf, jax.Array)}

            def inside(arrays: dict[int, jax.Array]) -> Any:
                args, named = jax.tree.unflatten(structure, [arrays.get(n, leaf) for n, leaf in enumerate(leaves)])
                return function(*args, **named)

            nowhere = jax.sharding.PartitionSpec()  # type: ignore[no-untyped-call]
            ends = jax.sharding.NamedSharding(sharding.mesh, nowhere) if number else sharding
            return jax.sharding.auto_axes(inside, axes=axes, out_sharding=ends)(arrays)

        return call  # type: ignore[return-value]

    return decorate


def wide(w: jax.Array) -> jax.Array:
    """`w` in float32, or in its own dtype where that is wider: the precision in which norms are taken."""
    wider = jnp.issubdtype(w.dtype, jnp.inexact) and w.dtype.itemsize > 4
    return w.astype(w.dtype if wider else jnp.float32)


def as_wide(value: Number, x: jax.Array) -> Number:
    """A hyperparameter that has a dtype, such as NumPy's float64, in that of `x`, lest work be done in a wider one."""
    return value.astype(x.dtype) if hasattr(value, "astype") else value


def eps(dtype: Any) -> float:
    """The distance from 1 to the next number of `dtype`."""
    return float(jnp.finfo(dtype).eps)  # type: ignore[no-untyped-call]


def tiny(dtype: Any) -> float:
    """The smallest number of `dtype` that is not subnormal: processors may take what is smaller for 0."""
    return float(jnp.finfo(dtype).tiny)  # type: ignore[no-untyped-call]
