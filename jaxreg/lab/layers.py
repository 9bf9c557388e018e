"""Layers with Keras's weights, names and initial values, written for many lanes at once: convolution, LSTM and GRU.

Under `jax.vmap` over lanes each lane has kernels of its own. A product of matrices with a lane axis stays one; a
convolution becomes a grouped one, which CPUs do slowly: so the convolution here is a product too.
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
"""Features of a layer's inputs up to which the layer is computed from columns of features."""


class Dense(nn.Module):
    """Keras's Dense layer without an activation.

    Args:
        units: Units, the outputs of a row.
    """

    units: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Inputs of shape (rows, features) -> (rows, units)."""
        kernel = self.param("kernel", _glorot, (x.shape[-1], self.units))
        bias = self.param("bias", nn.initializers.zeros, (self.units,))
        if x.shape[-1] > FEW:
            return x @ kernel + bias
        # The gradient of a kernel of few rows is a product of few rows with many columns, for which XLA on a CPU has no
        # quick form unless its left side lies transposed in memory: 2.5 against 0.8 µs for 30 rows, 2 features and 500
        # units. The bias as one row more of the kernel saves a pass over the outputs forwards and one backwards.
        filled = jnp.concatenate([x, jnp.ones((len(x), 1), x.dtype)], axis=1)
        columns = jax.lax.optimization_barrier(filled.T)  # type: ignore[no-untyped-call]
        return jnp.einsum("fr,fu->ru", columns, jnp.concatenate([kernel, bias[None]]))


class Conv(nn.Module):
    """Convolution without padding, at every place: Keras's Conv1D and Conv2D by the length of `window`.

    Args:
        filters: Filters, the outputs at each place.
        window: Shape of a filter over the places.

    Raises:
        ValueError: When called, if the inputs have another rank than the window needs, or are smaller than it.
    """

    filters: int
    window: Sequence[int]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Inputs of shape (rows, *places, channels) -> (rows, *places - window + 1, filters)."""
        places = x.shape[1:-1]
        if len(places) != len(self.window) or any(p < w for p, w in zip(places, self.window, strict=True)):
            raise ValueError(
                f"Conv got inputs of shape {x.shape} for a window of {tuple(self.window)}; expected (rows, places, …, "
                "channels) with as many axes of places as the window has, none shorter than it"
            )
        kernel = self.param("kernel", _glorot, (*self.window, x.shape[-1], self.filters))
        bias = self.param("bias", nn.initializers.zeros, (self.filters,))
        # Each place's neighbours side by side: 5 to 20 times quicker than `lax.conv` for 16 lanes on a CPU.
        sizes = [p - w + 1 for p, w in zip(places, self.window, strict=True)]
        moved = [
            x[(slice(None), *(slice(start, start + size) for start, size in zip(starts, sizes, strict=True)))]
            for starts in product(*map(range, self.window))
        ]
        return jnp.concatenate(moved, axis=-1) @ kernel.reshape(-1, self.filters) + bias


class LSTMLayer(nn.Module):
    """Keras's LSTM: gates i, f, c, o side by side in one kernel, one recurrent kernel and one bias.

    Args:
        units: Units, the size of the state.
    """

    units: int

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Inputs of shape (rows, steps, features) -> outputs of shape (rows, steps, units), and the last of them."""
        kernel, recurrent_kernel = _kernels(self, x, self.units, gates=4)
        bias = self.param("bias", _open_forget_gate, (4 * self.units,))

        # The inputs meet their kernel step by step: their product at once, kept and cut up, took 1.5 times as long.
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
    """Keras's GRU with `reset_after=True`: gates z, r, h side by side, a bias for the inputs and one for the state.

    Args:
        units: Units, the size of the state.
    """

    units: int

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Inputs of shape (rows, steps, features) -> outputs of shape (rows, steps, units), and the last of them."""
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
            f"{type(layer).__name__} got inputs of shape {x.shape}; expected (rows, steps, features): give a series of "
            "single values a last axis of 1"
        )
    return (
        layer.param("kernel", _glorot, (x.shape[-1], gates * units)),
        layer.param("recurrent_kernel", orthogonal, (units, gates * units)),
    )


def orthogonal(key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> jax.Array:
    """Random orthonormal rows, uniform over all such matrices.

    They are the columns of `jax.random.orthogonal`, to rounding. That one calls LAPACK, and chunks of lanes that do so
    take turns (see `jaxreg.lab.program`). This is Gram and Schmidt's method, each row cleared of those before it twice:
    once leaves an error of the condition number's size.

    Args:
        key: The randomness.
        shape: (rows, columns), no more rows than columns.
        dtype: Of the matrix.
    """
    vectors = jax.random.normal(key, shape[::-1], dtype).T

    def add(found: jax.Array, number: jax.Array) -> tuple[jax.Array, None]:
        row = vectors[number]
        for _ in range(2):
            row = row - (found @ row) @ found
        return found.at[number].set(row / jnp.linalg.norm(row)), None

    return jax.lax.scan(add, jnp.zeros(shape, dtype), jnp.arange(shape[0]))[0]


def _open_forget_gate(key: jax.Array, shape: tuple[int, ...], dtype: type = jnp.float32) -> jax.Array:
    # Keras's `unit_forget_bias`: at the start the cell keeps what it holds.
    gates = jnp.array([0, 1, 0, 0], dtype)
    return jnp.repeat(gates, shape[0] // 4)
