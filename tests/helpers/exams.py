"""Comparisons of rules with functions of another library, on drawn weights.

One call of `agree` covers a rule under `jax.vmap`, on arrays sharded over 8 devices, in bfloat16 and in float16.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Function = Callable[[Any], Any]
KERNELS, FAN_IN, UNITS = 8, 16, 8


def drawn(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    """Return normal numbers in float32. Without a shape: 8 kernels with a fan-in of 16 and 8 units each."""
    numbers = np.random.default_rng(seed).normal(size=shape or (KERNELS, FAN_IN, UNITS))
    return np.float32(scale * numbers)


def per_unit(function: Function) -> Function:
    """Return a function of a kernel that applies a JAX function of a vector to the weights of each unit."""
    return jax.jit(jax.vmap(function, in_axes=1, out_axes=1))


def unit_by_unit(function: Function) -> Function:
    """Return a function of a kernel that applies a NumPy function of a vector to the weights of each unit."""
    return lambda kernel: np.stack([np.asarray(function(unit)) for unit in np.ascontiguousarray(kernel.T)], axis=1)


def close(found: Any, expected: Any, relative: float, absolute: float | None = None) -> None:
    """Compare numbers to a relative tolerance of their own, and of the largest one unless `absolute` is given."""
    expected = np.asarray(expected, np.float64)
    if absolute is None:
        absolute = relative * float(np.max(np.abs(expected), initial=0))
    np.testing.assert_allclose(np.asarray(found, np.float64), expected, rtol=relative, atol=absolute)


def agree(
    ours: Function,
    theirs: Function,
    weights: np.ndarray | None = None,
    *,
    relative: float = 3e-6,
    narrow: float = 2**-7,
) -> None:
    """Check that `ours` equals `theirs`, a function of one array in float32.

    Args:
        ours: Rule of jaxreg, or a proximal step: a function of one array.
        theirs: Function of the other library.
        weights: Eight arrays, stacked, whose last axis has a multiple of 8 entries. Default: drawn kernels.
        relative: Tolerance in float32, relative to the number and to the largest number.
        narrow: Tolerance in bfloat16, relative to the number, and one eighth of it relative to the largest number. In
            float16, which has three more bits, it is an eighth of that.
    """
    weights = drawn() if weights is None else weights
    expected = np.stack([np.asarray(theirs(one), np.float64) for one in weights])
    mapped = jax.jit(jax.vmap(ours))
    close(mapped(weights), expected, relative)

    mesh = jax.make_mesh((8,), ("device",), axis_types=(jax.sharding.AxisType.Auto,))
    place = partial(jax.NamedSharding, mesh)
    close(mapped(jax.device_put(weights, place(jax.P("device")))), expected, relative)
    last = place(jax.P(*[None] * (weights.ndim - 2), "device"))
    close(jax.jit(ours)(jax.device_put(weights[0], last)), expected[0], relative)

    for dtype, share in ((jnp.bfloat16, 1.0), (jnp.float16, 1 / 8)):
        short = jnp.asarray(weights, dtype)
        found = mapped(short)
        assert found.ndim == 1 or found.dtype == dtype
        rounded = np.stack([np.asarray(theirs(one), np.float64) for one in np.asarray(short, np.float32)])
        close(found, rounded, share * narrow, share * narrow / 8 * float(np.max(np.abs(rounded))))
