"""Models as pure functions, made from modules of Flax Linen, Flax NNX or Equinox; and four networks in Flax Linen.

The networks `MLP`, `CNN`, `LSTM` and `GRU` have Keras's initial weights: Glorot-uniform kernels, orthogonal recurrent
kernels, zero biases, and 1 in the bias of an LSTM's forget gate. Their outputs are linear, because the loss of
`jaxreg.lab` includes the sigmoid or softmax that Keras puts on the outputs.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxreg.lab.layers import Conv, Dense, GRULayer, LSTMLayer

__all__ = ["CNN", "GRU", "LSTM", "MLP", "Model", "equinox", "linen", "nnx"]


class Model(NamedTuple):
    """A model as two pure functions: one makes the parameters, one computes the outputs.

    Args:
        init: Function that takes a random key and returns the tree of parameters.
        apply: Function of (parameters, inputs of shape (rows, …)) that returns outputs of shape (rows, outputs).
        train: Function of (parameters, inputs, random key) that training uses in place of `apply`, for noise such as
            dropout. Each optimiser step passes a new key. If `train` is None, training uses `apply`.
    """

    init: Callable[[jax.Array], Any]
    apply: Callable[[Any, jax.Array], jax.Array]
    train: Callable[[Any, jax.Array, jax.Array], jax.Array] | None = None


def linen(module: nn.Module, inputs: Sequence[int]) -> Model:
    """Make a `Model` from a Flax Linen module that has only parameters and no other collections.

    Args:
        module: Module that takes inputs of shape (rows, *inputs).
        inputs: Shape of one row of the inputs.

    Raises:
        ValueError: When `init` is called, if the module has a collection other than parameters.

    Example:
        >>> import jax
        >>> from jaxreg.lab.models import MLP, linen
        >>> model = linen(MLP(hidden=500), inputs=(2,))
        >>> jax.tree.map(lambda w: w.shape, jax.eval_shape(model.init, jax.random.key(0)))["hidden"]
        {'bias': (500,), 'kernel': (2, 500)}
    """

    def init(key: jax.Array) -> Any:
        collections = module.init(key, jnp.zeros((1, *inputs)))
        _only_parameters("linen", sorted(set(collections) - {"params"}))
        return collections["params"]

    def apply(params: Any, x: jax.Array) -> jax.Array:
        return module.apply({"params": params}, x)

    return Model(init, apply)


def nnx(make: Callable[[Any], Any]) -> Model:
    """Make a `Model` from a Flax NNX module that has only parameters and no other state.

    Args:
        make: Function that takes `nnx.Rngs` and returns the module. The module takes inputs of shape (rows, …).

    Raises:
        ValueError: If the module has state other than parameters.

    Example:
        >>> import jax
        >>> from flax import nnx as flax_nnx
        >>> from jaxreg.lab.models import nnx
        >>> model = nnx(lambda rngs: flax_nnx.Linear(2, 3, rngs=rngs))
        >>> model.apply(model.init(jax.random.key(0)), jax.numpy.ones((5, 2))).shape
        (5, 3)
    """
    from flax import nnx as framework

    abstract = framework.eval_shape(lambda: make(framework.Rngs(0)))
    graph, parameters, rest = framework.split(abstract, framework.Param, ...)
    _only_parameters("nnx", ["/".join(map(str, path)) for path, _ in framework.to_flat_state(rest)])

    def init(key: jax.Array) -> Any:
        return framework.to_pure_dict(framework.state(make(framework.Rngs(key)), framework.Param))

    def apply(params: Any, x: jax.Array) -> jax.Array:
        state = jax.tree.map(lambda leaf: leaf, parameters)
        framework.replace_by_pure_dict(state, params)
        return framework.merge(graph, state)(x)

    return Model(init, apply)


def equinox(make: Callable[[jax.Array], Any]) -> Model:
    """Make a `Model` from an Equinox module whose arrays are all parameters.

    Args:
        make: Function that takes a random key and returns the module. The module takes a single row of the inputs, like
            all layers of Equinox.

    Raises:
        ValueError: If an array of the module does not hold floating-point numbers.

    Example:
        >>> import equinox as eqx, jax
        >>> from jaxreg.lab.models import equinox
        >>> model = equinox(lambda key: eqx.nn.Linear(2, 3, key=key))
        >>> model.apply(model.init(jax.random.key(0)), jax.numpy.ones((5, 2))).shape
        (5, 3)
    """
    import equinox as framework

    abstract = framework.filter_eval_shape(make, jax.random.key(0))
    rest = framework.partition(abstract, _is_inexact)[1]
    others = [jax.tree_util.keystr(path) for path, leaf in jax.tree.leaves_with_path(rest) if hasattr(leaf, "dtype")]
    _only_parameters("equinox", others)

    def init(key: jax.Array) -> Any:
        return framework.partition(make(key), _is_inexact)[0]

    def apply(params: Any, x: jax.Array) -> jax.Array:
        return jax.vmap(framework.combine(params, rest))(x)

    return Model(init, apply)


def _is_inexact(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.inexact)


def _only_parameters(adapter: str, others: Sequence[str]) -> None:
    if others:
        raise ValueError(
            f"{adapter}: the module has {', '.join(others)} besides its parameters; expected only parameters. Remove "
            "dropout and batch statistics from the module"
        )


class MLP(nn.Module):
    """The tutorials' network: one hidden layer of ReLU units, Glorot-uniform kernels, zero biases and linear outputs.

    For two classes, use one output: the logit of the second class. The sigmoid that Keras puts on this output is part
    of the loss of `jaxreg.lab`.

    The weights are `hidden/kernel`, `hidden/bias`, `output/kernel` and `output/bias`.

    Args:
        hidden: Number of hidden units.
        outputs: Number of outputs per row.
    """

    hidden: int = 500
    outputs: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map inputs of shape (rows, features) to outputs of shape (rows, outputs)."""
        x = nn.relu(Dense(self.hidden, name="hidden")(x))
        return Dense(self.outputs, name="output")(x)


class CNN(nn.Module):
    """Convolutions with ReLU and without padding, then a linear layer on the flattened result.

    The weights of the convolutions are `conv/kernel` and `conv/bias`, then `conv_1/…`, `conv_2/…` and so on. The linear
    layer has the weights `output/kernel` and `output/bias`.

    Args:
        filters: Number of filters of each convolution.
        window: Size of a filter along each spatial axis: (3,) for a sequence, (3, 3) for an image.
        outputs: Number of outputs per row.

    Raises:
        ValueError: When called, if the inputs do not fit the window.

    Example:
        >>> import jax
        >>> from jaxreg.lab.models import CNN, linen
        >>> model = linen(CNN(filters=(16,), outputs=10), inputs=(8, 8, 1))
        >>> jax.tree.map(lambda w: w.shape, jax.eval_shape(model.init, jax.random.key(0)))["conv"]
        {'bias': (16,), 'kernel': (3, 3, 1, 16)}
    """

    filters: Sequence[int] = (16,)
    window: Sequence[int] = (3, 3)
    outputs: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map inputs of shape (rows, *spatial, channels) to outputs of shape (rows, outputs)."""
        for number, filters in enumerate(self.filters):
            x = nn.relu(Conv(filters, tuple(self.window), name=_numbered("conv", number))(x))
        return Dense(self.outputs, name="output")(x.reshape(len(x), -1))


class LSTM(nn.Module):
    """A stack of LSTM layers, then a linear layer on the final hidden state.

    The weights of the first layer are `lstm/kernel`, `lstm/recurrent_kernel` and `lstm/bias`. The weights of further
    layers are `lstm_1/…`, `lstm_2/…` and so on. A bidirectional layer has the weights `lstm/forward/…` and
    `lstm/backward/…`. The linear layer has the weights `output/kernel` and `output/bias`.

    Each array of an LSTM layer contains the gates in Keras's order i, f, c, o: input, forget, cell, output.

    Args:
        units: Number of units of each layer, per direction.
        outputs: Number of outputs per row.
        bidirectional: If True, each layer also reads the sequence backwards.

    Raises:
        ValueError: When called, if the inputs do not have three axes.

    Example:
        >>> import jax
        >>> from jaxreg.lab.models import LSTM, linen
        >>> model = linen(LSTM(units=(12,), outputs=10), inputs=(8, 5))
        >>> jax.tree.map(lambda w: w.shape, jax.eval_shape(model.init, jax.random.key(0)))["lstm"]
        {'bias': (48,), 'kernel': (5, 48), 'recurrent_kernel': (12, 48)}

    Reference:
        Hochreiter and Schmidhuber, Long short-term memory, 1997; Keras 3.15 `layers.LSTM`.
    """

    units: Sequence[int] = (32,)
    outputs: int = 1
    bidirectional: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map inputs of shape (rows, steps, features) to outputs of shape (rows, outputs)."""
        return Dense(self.outputs, name="output")(_read(x, LSTMLayer, "lstm", self.units, self.bidirectional))


class GRU(nn.Module):
    """A stack of GRU layers, then a linear layer on the final hidden state.

    The weights of the first layer are `gru/kernel`, `gru/recurrent_kernel` and `gru/bias`. The weights of further
    layers are `gru_1/…`, `gru_2/…` and so on. A bidirectional layer has the weights `gru/forward/…` and
    `gru/backward/…`. The linear layer has the weights `output/kernel` and `output/bias`.

    Each array of a GRU layer contains the gates in Keras's order z, r, h: update, reset, candidate. The bias has one
    row for the inputs and one for the state, as in Keras with the default `reset_after=True`.

    Args:
        units: Number of units of each layer, per direction.
        outputs: Number of outputs per row.
        bidirectional: If True, each layer also reads the sequence backwards.

    Raises:
        ValueError: When called, if the inputs do not have three axes.

    Reference:
        Cho et al., Learning phrase representations using RNN encoder-decoder, 2014; Keras 3.15 `layers.GRU`.
    """

    units: Sequence[int] = (32,)
    outputs: int = 1
    bidirectional: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map inputs of shape (rows, steps, features) to outputs of shape (rows, outputs)."""
        return Dense(self.outputs, name="output")(_read(x, GRULayer, "gru", self.units, self.bidirectional))


class _BothWays(nn.Module):
    layer: Callable[..., nn.Module]
    units: int

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        ahead, last = self.layer(self.units, name="forward")(x)
        back, first = self.layer(self.units, name="backward")(jnp.flip(x, 1))
        return jnp.concatenate([ahead, jnp.flip(back, 1)], -1), jnp.concatenate([last, first], -1)


def _read(
    x: jax.Array, layer: Callable[..., nn.Module], name: str, units: Sequence[int], bidirectional: bool
) -> jax.Array:
    # Returns the last states of the last layer. Call it inside a module, which then holds the layers made here.
    last = x
    for number, size in enumerate(units):
        of = _numbered(name, number)
        x, last = _BothWays(layer, size, name=of)(x) if bidirectional else layer(size, name=of)(x)
    return last


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name
