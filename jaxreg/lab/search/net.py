"""The net of one training: inputs standardised by its rows, hidden layers of ReLU units, linear outputs."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxreg.lab.layers import Dense
from jaxreg.lab.models import Model, linen


def layer_names(hidden: Sequence[int]) -> list[str]:
    """Return the name of each layer.

    Args:
        hidden: Units of each hidden layer.

    Example:
        >>> layer_names((64, 32))
        ['hidden', 'hidden_2', 'output']
    """
    return [*("hidden" if place == 0 else f"hidden_{place + 1}" for place in range(len(hidden))), "output"]


class Layers(nn.Module):
    """Hidden layers of ReLU units, Glorot-uniform kernels, zero biases, linear outputs.

    Args:
        hidden: Units of each hidden layer.
        outputs: Number of outputs.
    """

    hidden: tuple[int, ...]
    outputs: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Inputs of shape (rows, inputs) -> outputs of shape (rows, outputs)."""
        *names, last = layer_names(self.hidden)
        for name, units in zip(names, self.hidden, strict=True):
            x = nn.relu(Dense(units, name=name)(x))
        return Dense(self.outputs, name=last)(x)


def model(hidden: tuple[int, ...], outputs: int, table: Any, w: jax.Array, repeat: Any, *, numbers: bool) -> Model:
    """Return the net on inputs that are standardised by the rows of one training, folded into the first layer.

    Args:
        hidden: Units of each hidden layer.
        outputs: Number of outputs.
        table: The rows, a `jaxreg.lab.search.folds.PaddedRows`.
        w: Weight of each row in this training.
        repeat: Number of the repeat, each of which has initial weights of its own.
        numbers: Whether the target is a number, which is standardised too.
    """
    size, rows = table.x.shape[1], w / jnp.sum(w)
    net = linen(Layers(hidden, outputs), (size,))
    x = jnp.asarray(table.x)
    mean = rows @ x
    variance = rows @ jnp.square(x) - jnp.square(mean)
    scale = jnp.sqrt(jnp.where((jnp.asarray(table.scaled) > 0) & (variance > 1e-6), variance, 1))
    present = (jnp.arange(size) < table.inputs)[:, None]

    def init(key: jax.Array) -> Any:
        # Glorot's limit counts the inputs without padding; every repeat has initial weights of its own.
        params = net.init(jax.random.fold_in(key, repeat))
        limit = jnp.sqrt((size + hidden[0]) / (table.inputs + hidden[0]))
        params["hidden"]["kernel"] = jnp.where(present, params["hidden"]["kernel"] * limit, 0)
        return params

    def apply(params: Any, inputs: jax.Array) -> jax.Array:
        # Units first, and the bias as the weight of one input more: on a CPU, XLA then neither moves the activations
        # about nor sums them for the bias, which took 40 % of a step.
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
