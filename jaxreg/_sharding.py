"""Decorator that runs a function of explicitly sharded arrays with automatic sharding."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import jax

F = TypeVar("F", bound=Callable[..., Any])


def partitioned(number: bool = False) -> Callable[[F], F]:
    """Return a decorator for functions of explicitly sharded arrays. Inside the function, sharding is automatic.

    Use it for operations that JAX lacks for explicitly sharded arrays, such as sorting and the SVD. The result is
    sharded like the first array among the arguments. With `number=True`, the result is one number, which is replicated
    on all devices.
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
