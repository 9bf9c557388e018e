"""What is trained: a model is a pair of pure functions, made here from Flax Linen modules with Keras's initialisers."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn


class Model(NamedTuple):
    """A model as two pure functions.

    Args:
        init: key -> the tree of parameters.
        apply: (parameters, inputs of shape (rows, …)) -> outputs of shape (rows, outputs).
    """

    init: Callable[[jax.Array], Any]
    apply: Callable[[Any, jax.Array], jax.Array]


def linen(module: nn.Module, inputs: Sequence[int]) -> Model:
    """The `Model` of a Flax Linen module that has parameters and no other collection.

    Args:
        module: The module; its call takes inputs of shape (rows, *inputs).
        inputs: Shape of one row of the inputs.

    Example:
        >>> import jax
        >>> from jaxreg.lab.models import MLP, linen
        >>> model = linen(MLP(hidden=500), inputs=(2,))
        >>> jax.tree.map(lambda w: w.shape, model.init(jax.random.key(0)))["hidden"]
        {'bias': (500,), 'kernel': (2, 500)}
    """

    def init(key: jax.Array) -> Any:
        return module.init(key, jnp.zeros((1, *inputs)))["params"]

    def apply(params: Any, x: jax.Array) -> jax.Array:
        return module.apply({"params": params}, x)

    return Model(init, apply)


class MLP(nn.Module):
    """The tutorials' network: one hidden layer of ReLU units, Glorot-uniform kernels, zero biases, linear outputs.

    For two classes it has one output, the logit of the second; Keras's sigmoid belongs to the loss here.
    """

    hidden: int = 500
    outputs: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Inputs of shape (rows, features) -> outputs of shape (rows, outputs)."""
        glorot = nn.initializers.glorot_uniform()
        x = nn.relu(nn.Dense(self.hidden, kernel_init=glorot, name="hidden")(x))
        return nn.Dense(self.outputs, kernel_init=glorot, name="output")(x)
