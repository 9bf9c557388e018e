"""Dense, convolution, LSTM and GRU layers with the weights, names and initial values of Keras.

The layers are written for many runs that `jax.vmap` trains together, each with its own kernels. With an additional
axis for the runs, a matrix product is still a matrix product. A convolution of JAX becomes a grouped convolution, which
is slow on CPUs. So `Conv` uses a matrix product instead.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

__all__ = ["Conv", "Dense", "GRULayer", "LSTMLayer", "orthogonal"]

_glorot = nn.initializers.glorot_uniform()

FEW = 4
"""Largest number of input features for which `Dense` uses a matrix product that is faster for few features."""


class Dense(nn.Module):
    """Keras's Dense layer without an activation.

    Args:
        units: Number of units, which is the number of outputs per row.
    """

    units: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map inputs of shape (rows, features) to outputs of shape (rows, units)."""
        kernel = self.param("kernel", _glorot, (x.shape[-1], self.units))
        bias = self.param("bias", nn.initializers.zeros, (self.units,))
        if x.shape[-1] > FEW:
            return x @ kernel + bias
        # The gradient of a kernel with few rows multiplies few rows by many columns. XLA on a CPU is fast at this only
        # if the left factor is transposed in memory: 0.8 instead of 2.5 µs for 30 rows, 2 features and 500 units. With
        # the bias as an additional row of the kernel, the forward and the backward pass each read the outputs one time
        # less.
        filled = jnp.concatenate([x, jnp.ones((len(x), 1), x.dtype)], axis=1)
        columns = jax.lax.optimization_barrier(filled.T)  # type: ignore[no-untyped-call]
        return jnp.einsum("fr,fu->ru", columns, jnp.concatenate([kernel, bias[None]]))


class Conv(nn.Module):
    """Convolution without padding and with stride 1, as in Keras's Conv1D and Conv2D.

    Args:
        filters: Number of filters, which is the number of output channels.
        window: Size of a filter along each spatial axis: one number for Conv1D, two for Conv2D.

    Raises:
        ValueError: When called, if the inputs have the wrong rank for the window, or are smaller than the window.
    """

    filters: int
    window: Sequence[int]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map inputs of shape (rows, *size, channels) to outputs of shape (rows, *output size, filters).

        Along each spatial axis, the output size is size - window + 1.
        """
        places = x.shape[1:-1]
        if len(places) != len(self.window) or any(p < w for p, w in zip(places, self.window, strict=True)):
            raise ValueError(
                f"`Conv`: the inputs have shape {x.shape} and the window has size {tuple(self.window)}; expected "
                f"inputs of shape (rows, *spatial axes, channels) with {len(self.window)} spatial axes. No spatial "
                "axis may be shorter than the window"
            )
        kernel = self.param("kernel", _glorot, (*self.window, x.shape[-1], self.filters))
        bias = self.param("bias", nn.initializers.zeros, (self.filters,))
        # Gather the neighbours of each place: 5 to 20 times faster than `lax.conv` for 16 runs on a CPU.
        sizes = [p - w + 1 for p, w in zip(places, self.window, strict=True)]
        moved = [
            x[(slice(None), *(slice(start, start + size) for start, size in zip(starts, sizes, strict=True)))]
            for starts in product(*map(range, self.window))
        ]
        return jnp.concatenate(moved, axis=-1) @ kernel.reshape(-1, self.filters) + bias


class LSTMLayer(nn.Module):
    """Keras's LSTM layer, with a kernel, a recurrent kernel and a bias.

    Each of the three arrays contains the weights of the gates in the order `input`, `forget`, `cell`, `output`.

    Args:
        units: Number of units, the size of the state.
    """

    units: int

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Map inputs of shape (rows, steps, features) to the outputs (rows, steps, units) and the last output."""
        kernel, recurrent_kernel = _kernels(self, x, self.units, gates=4)
        bias = self.param("bias", _open_forget_gate, (4 * self.units,))

        # The inputs are multiplied by their kernel one step at a time. One product for all steps took 1.5 times as
        # long.
        def step(state: tuple[jax.Array, jax.Array], row: jax.Array) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
            hidden, cell = state
            i, f, c, o = jnp.split(row @ kernel + hidden @ recurrent_kernel + bias, 4, axis=-1)
            cell = nn.sigmoid(f) * cell + nn.sigmoid(i) * jnp.tanh(c)
            hidden = nn.sigmoid(o) * jnp.tanh(cell)
            return (hidden, cell), hidden

        start = jnp.zeros((len(x), self.units), x.dtype)
        (last, _), outputs = jax.lax.scan(step, (start, start), jnp.swapaxes(x, 0, 1))
        return jnp.swapaxes(outputs, 0, 1), last


class GRULayer(nn.Module):
    """Keras's GRU layer with `reset_after=True`, which has separate biases for the inputs and the state.

    Each weight array contains the weights of the gates in the order `update`, `reset`, `candidate`.

    Args:
        units: Number of units, the size of the state.
    """

    units: int

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Map inputs of shape (rows, steps, features) to the outputs (rows, steps, units) and the last output."""
        kernel, recurrent_kernel = _kernels(self, x, self.units, gates=3)
        bias = self.param("bias", nn.initializers.zeros, (2, 3 * self.units))

        def step(hidden: jax.Array, row: jax.Array) -> tuple[jax.Array, jax.Array]:
            z, r, h = jnp.split(row @ kernel + bias[0], 3, axis=-1)
            own_z, own_r, own_h = jnp.split(hidden @ recurrent_kernel + bias[1], 3, axis=-1)
            z = nn.sigmoid(z + own_z)
            new = jnp.tanh(h + nn.sigmoid(r + own_r) * own_h)
            hidden = z * hidden + (1 - z) * new
            return hidden, hidden

        start = jnp.zeros((len(x), self.units), x.dtype)
        last, outputs = jax.lax.scan(step, start, jnp.swapaxes(x, 0, 1))
        return jnp.swapaxes(outputs, 0, 1), last


def _kernels(layer: nn.Module, x: jax.Array, units: int, gates: int) -> tuple[jax.Array, jax.Array]:
    if x.ndim != 3:
        raise ValueError(
            f"`{type(layer).__name__}`: the inputs have shape {x.shape}; expected (rows, steps, features). If each "
            "step is a single number, add a last axis of size 1"
        )
    return (
        layer.param("kernel", _glorot, (x.shape[-1], gates * units)),
        layer.param("recurrent_kernel", orthogonal, (units, gates * units)),
    )


def orthogonal(key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> jax.Array:
    """Return a random matrix, uniformly distributed over all matrices with orthonormal rows.

    For `shape = (rows, columns)`, the result equals `jax.random.orthogonal(key, columns, m=rows).T` up to rounding.
    JAX's function calls LAPACK. On a CPU, a sweep runs several programs at the same time, in threads. With jaxlib 0.10,
    such programs can block each other forever if they call LAPACK for batches (see `jaxreg.lab.sweeps.lanes`).

    So this function uses Gram and Schmidt's method instead, which removes from each row its components along the
    earlier rows. The components are removed twice, because a single pass leaves an error proportional to the condition
    number.

    Args:
        key: Random key.
        shape: Number of rows and number of columns. There may not be more rows than columns.
        dtype: Type of the matrix.
    """
    vectors = jax.random.normal(key, shape[::-1], dtype).T

    def add(found: jax.Array, number: jax.Array) -> tuple[jax.Array, None]:
        row = vectors[number]
        for _ in range(2):
            row = row - (found @ row) @ found
        return found.at[number].set(row / jnp.linalg.norm(row)), None

    return jax.lax.scan(add, jnp.zeros(shape, dtype), jnp.arange(shape[0]))[0]


def _open_forget_gate(key: jax.Array, shape: tuple[int, ...], dtype: type = jnp.float32) -> jax.Array:
    # Keras's `unit_forget_bias`: at the start, the cell keeps its content.
    gates = jnp.array([0, 1, 0, 0], dtype)
    return jnp.repeat(gates, shape[0] // 4)
