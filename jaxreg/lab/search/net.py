"""Network of a training run: inputs standardised over the training rows, layers of ReLU units, linear outputs."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxreg.lab.layers import Dense
from jaxreg.lab.models import Model, linen


def layer_names(hidden: Sequence[int]) -> list[str]:
    """Return the names of the layers of a network, such as "hidden" and "output".

    Args:
        hidden: Number of units of each hidden layer.

    Example:
        >>> layer_names((64, 32))
        ['hidden', 'hidden_2', 'output']
    """
    return [*("hidden" if place == 0 else f"hidden_{place + 1}" for place in range(len(hidden))), "output"]


class Layers(nn.Module):
    """Flax module: hidden layers of ReLU units, followed by linear outputs.

    Kernels start with Glorot-uniform values, and biases start at zero.

    Args:
        hidden: Number of units of each hidden layer.
        outputs: Number of outputs.
    """

    hidden: tuple[int, ...]
    outputs: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return outputs of shape (rows, outputs) for inputs of shape (rows, inputs)."""
        *names, last = layer_names(self.hidden)
        for name, units in zip(names, self.hidden, strict=True):
            x = nn.relu(Dense(units, name=name)(x))
        return Dense(self.outputs, name=last)(x)


def kept_units(key: jax.Array, dropout: jax.Array | float, shape: tuple[int, int]) -> jax.Array:
    """Return a random dropout mask of shape (units, rows). It is True where a hidden unit is kept for a row.

    Args:
        key: Random key for one layer in one step.
        dropout: Probability of leaving out a unit, rounded by `rounded_rate`.
        shape: Number of units and number of rows.
    """
    # One random number of 32 bits serves four rows.
    units, rows = shape
    words = jax.random.bits(key, (units, -(-rows // 4)), jnp.uint32)
    drawn = jnp.concatenate([(words >> bits) & 0xFF for bits in (0, 8, 16, 24)], axis=1)[:, :rows]
    return drawn.astype(jnp.uint8) >= (jnp.asarray(dropout) * 256).astype(jnp.uint8)


def rounded_rate(dropout: jax.Array | float) -> jax.Array:
    """Round a probability of dropout to a multiple of 1/256, because dropout uses random numbers of 8 bits.

    Args:
        dropout: Probability of leaving out a unit, below 255/256.
    """
    return jnp.round(jnp.asarray(dropout) * 256) / 256


def model(
    hidden: tuple[int, ...],
    outputs: int,
    table: Any,
    w: jax.Array,
    repeat: Any,
    *,
    numbers: bool,
    dropout: jax.Array | float | None = None,
) -> Model:
    """Return the network of one training run. It standardises inputs and targets with statistics of the training rows.

    When the network is applied, the standardisation of the inputs is merged into the weights of the first layer.

    Args:
        hidden: Number of units of each hidden layer.
        outputs: Number of outputs.
        table: Rows of the table, a `jaxreg.lab.search.folds.PaddedRows`.
        w: Weight of each row in this training run.
        repeat: Number of the repeat of the cross-validation. Each repeat has different initial weights.
        numbers: Whether the target is a number. A numeric target is standardised too.
        dropout: Probability of leaving out a hidden unit in a training step, rounded to a multiple of 1/256. The
            activations of the kept units are divided by the probability of keeping a unit. None for a network without
            dropout.

    Reference:
        Srivastava et al., Dropout, 2014.
    """
    size, rows = table.x.shape[1], w / jnp.sum(w)
    net = linen(Layers(hidden, outputs), (size,))
    x = jnp.asarray(table.x)
    mean = rows @ x
    variance = rows @ jnp.square(x) - jnp.square(mean)
    scale = jnp.sqrt(jnp.where((jnp.asarray(table.scaled) > 0) & (variance > 1e-6), variance, 1))
    present = (jnp.arange(size) < table.inputs)[:, None]

    def init(key: jax.Array) -> Any:
        # Glorot's limit counts inputs without padding. Each repeat has other initial weights.
        params = net.init(jax.random.fold_in(key, repeat))
        limit = jnp.sqrt((size + hidden[0]) / (table.inputs + hidden[0]))
        params["hidden"]["kernel"] = jnp.where(present, params["hidden"]["kernel"] * limit, 0)
        return params

    share_kept: Any = None if dropout is None else 1 - rounded_rate(dropout)

    def active(units: jax.Array, key: jax.Array | None, layer: int) -> jax.Array:
        # ReLU, then dropout without its division, which the weights of the next layer have.
        if key is None:
            return jax.nn.relu(units)
        kept = kept_units(jax.random.fold_in(key, layer), 1 - share_kept, (len(units), units.shape[1]))
        return jnp.where(kept & ~(units <= 0), units, 0)  # as NaN, a diverged training goes on

    def apply(params: Any, inputs: jax.Array, key: jax.Array | None = None) -> jax.Array:
        # The activations have units on their first axis, and the bias is the weight of an additional input of ones. On
        # a CPU, XLA then needs no transposed copy and no separate sum for the bias, which took 40 % of an optimiser
        # step.
        kernel, *deeper, output = (params[name]["kernel"] for name in layer_names(hidden))
        if key is not None:
            *deeper, output = (each / share_kept for each in [*deeper, output])
        kernel = kernel / scale[:, None]
        kernel = jnp.concatenate([kernel, (params["hidden"]["bias"] - mean @ kernel)[None]])
        ones = jnp.ones((len(inputs), 1), inputs.dtype)
        units = active(kernel.T @ jnp.concatenate([inputs, ones], axis=1).T, key, 0)
        for layer, (name, kernel) in enumerate(zip(layer_names(hidden)[1:-1], deeper, strict=True), 1):
            units = active(kernel.T @ units + params[name]["bias"][:, None], key, layer)
        return (output.T @ units + params["output"]["bias"][:, None]).T

    if not numbers:
        return Model(init, apply, None if dropout is None else apply)
    y = jnp.asarray(table.y)
    middle = rows @ y
    spread = jnp.sqrt(jnp.maximum(rows @ jnp.square(y - middle), 1e-6))

    def scaled(params: Any, inputs: jax.Array, key: jax.Array | None = None) -> jax.Array:
        return middle + spread * apply(params, inputs, key)

    return Model(init, scaled, None if dropout is None else scaled)
