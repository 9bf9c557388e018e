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


def model(hidden: tuple[int, ...], outputs: int, table: Any, w: jax.Array, repeat: Any, *, numbers: bool) -> Model:
    """Return the network of one training run. It standardises inputs and targets with statistics of the training rows.

    The standardisation is multiplied into the weights of the first layer.

    Args:
        hidden: Number of units of each hidden layer.
        outputs: Number of outputs.
        table: Rows of the table, a `jaxreg.lab.search.folds.PaddedRows`.
        w: Weight of each row in this training.
        repeat: Number of the repeat. Each repeat has other initial weights.
        numbers: Whether the target is a number. If so, it is standardised too.
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

    def apply(params: Any, inputs: jax.Array) -> jax.Array:
        # The activations have units on their first axis, and the bias is the weight of an additional input of ones. On
        # a CPU, XLA then needs no transposed copy and no separate sum for the bias, which took 40 % of an optimiser
        # step.
        kernel, output = params["hidden"]["kernel"] / scale[:, None], params["output"]
        kernel = jnp.concatenate([kernel, (params["hidden"]["bias"] - mean @ kernel)[None]])
        ones = jnp.ones((len(inputs), 1), inputs.dtype)
        units = jax.nn.relu(kernel.T @ jnp.concatenate([inputs, ones], axis=1).T)
        for name in layer_names(hidden)[1:-1]:
            units = jax.nn.relu(params[name]["kernel"].T @ units + params[name]["bias"][:, None])
        return (output["kernel"].T @ units + output["bias"][:, None]).T

    if not numbers:
        return Model(init, apply)
    y = jnp.asarray(table.y)
    middle = rows @ y
    spread = jnp.sqrt(jnp.maximum(rows @ jnp.square(y - middle), 1e-6))
    return Model(init, lambda params, inputs: middle + spread * apply(params, inputs))
