"""How penalties and constraints are made: frozen dataclasses that are pytrees of their hyperparameters."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar, dataclass_transform

import jax

Number = Any
"""A hyperparameter: a float, an array (one value a lane under `jax.vmap`) or an Optax schedule."""
Axis = int | tuple[int, ...] | None
"""Axes of one group of weights; None to fill in those of one unit's incoming weights."""
T = TypeVar("T")


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
