"""Conversion of the model of a search to a Flax module."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxreg.lab.search.fitted_model import LEAST, Net, Nets
from jaxreg.lab.search.net import Layers
from jaxreg.lab.search.run import Search


class FittedNets(nn.Module):
    """Flax module that averages fitted networks. It returns class probabilities, or numbers in the units of the target.

    Networks of one kind have the same layers and the same coding of their inputs. A coding replaces inputs by piecewise
    linear functions of the inputs: see `jaxreg.lab.search.codings`. All kinds have equal weight in the average.

    Args:
        hidden: Number of units of each hidden layer: one tuple for each kind of network.
        sizes: Number of networks to average, for each kind.
        coded: Number of coded inputs of a network, for each kind; 0 for a kind without a coding.
        outputs: Number of outputs of a network.
        classes: True for networks that predict classes, False for regression.
    """

    hidden: tuple[tuple[int, ...], ...]
    sizes: tuple[int, ...]
    coded: tuple[int, ...]
    outputs: int
    classes: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return probabilities of shape (rows, classes), or numbers of shape (rows, 1).

        Args:
            x: Inputs, of shape (rows, inputs).
        """
        means = []
        for at, (hidden, size, coded) in enumerate(zip(self.hidden, self.sizes, self.coded, strict=True)):
            figures = {
                name: self.variable("figures", f"{at}/{name}", jnp.zeros, shape).value
                for name, shape in {"mean": x.shape[1:], "scale": x.shape[1:], "target": (2,)}.items()
            }
            inputs = (x - figures["mean"]) / figures["scale"]
            if coded:
                source, knots, heights = (
                    self.variable("figures", f"{at}/coding/{name}", jnp.zeros, (coded,)).value
                    for name in ("source", "knots", "heights")
                )
                inputs = jax.vmap(jnp.interp, in_axes=(1, 0, 0), out_axes=1)(inputs[:, source], knots, heights)
            options: dict[str, Any] = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}}
            kind = nn.vmap(Layers, in_axes=None, axis_size=size, **options)
            middle, scale = figures["target"]
            means.append(self._mean(middle + scale * kind(hidden, self.outputs, name=f"nets_{at}")(inputs)))
        return jnp.mean(jnp.stack(means), axis=0)

    def _mean(self, outputs: jax.Array) -> jax.Array:
        # Outputs have shape (networks, rows, outputs). A single logit is that of the second of two classes.
        if not self.classes:
            return jnp.mean(outputs, axis=0)
        if self.outputs == 1:
            outputs = jnp.concatenate([jnp.zeros_like(outputs), outputs], axis=-1)
        shares = jnp.maximum(jnp.mean(jax.nn.softmax(outputs), axis=0), LEAST)
        return shares / jnp.sum(shares, axis=1, keepdims=True)


def to_flax(search: Search) -> tuple[FittedNets, dict[str, Any]]:
    """Return the fitted model of a search as a Flax module and its variables.

    The model may average networks of several kinds. Networks of one kind have the same layers. All networks of a kind
    first transform their inputs by the same piecewise linear functions, or none of them does.

    The variables are a dict with two Flax collections:

    - `params`: the kernels and biases. There is one entry per kind: `nets_0`, `nets_1`, …. The first axis of each array
      is the index of the network within its kind.
    - `figures`: constants for each kind. They are the mean and scale of each input and of the target, and the piecewise
      linear functions, if there are any.

    The module takes the same inputs as `search.net`. If the search was run on a data frame, `search.model.encoding`
    converts a data frame to these inputs.

    Args:
        search: Search whose model consists of networks.

    Raises:
        ValueError: If the model is a linear model or trees.

    Example:
        `NUMBERS` is the task of predicting a number (regression).

        >>> import numpy as np
        >>> from jaxreg.lab import NUMBERS
        >>> from jaxreg.lab.search import Plan, search, to_flax
        >>> x = np.linspace(-1, 1, 40)[:, None]
        >>> found = search(x, x[:, 0] ** 2, NUMBERS, Plan(methods=["L2"], hidden=8, epochs=4, repeats=1))
        >>> module, variables = to_flax(found)
        >>> np.allclose(module.apply(variables, x), found.net(x), atol=1e-5)
        True
    """
    members = search.net.members if isinstance(search.net, Nets) else (search.net,)
    if not all(isinstance(net, Net) and "hidden/kernel" in net.arrays for net in members):
        raise ValueError(
            f"the model of this search is of type {search.kept}; expected networks. Search again without `any_model`"
        )
    hidden, sizes, coded = [], [], []
    params: dict[str, Any] = {}
    figures: dict[str, Any] = {}
    for at, net in enumerate(members):
        arrays = {name: np.asarray(array) for name, array in net.arrays.items()}
        figures |= {f"{at}/{name}": jnp.asarray(arrays[name], jnp.float32) for name in ("mean", "scale", "target")}
        if "coding/source" in arrays:
            figures |= {f"{at}/coding/{name}": jnp.asarray(arrays[f"coding/{name}"]) for name in ("knots", "heights")}
            figures[f"{at}/coding/source"] = jnp.asarray(arrays["coding/source"], jnp.int32)
        layers: dict[str, dict[str, jax.Array]] = {}
        for name in (name for name in arrays if name.endswith(("/kernel", "/bias"))):
            layer, part = name.split("/")
            several = arrays[name].ndim == (3 if part == "kernel" else 2)
            layers.setdefault(layer, {})[part] = jnp.asarray(arrays[name] if several else arrays[name][None])
        params[f"nets_{at}"] = layers
        names = ["hidden", *(f"hidden_{place}" for place in range(2, len(layers)))]
        hidden.append(tuple(layers[name]["kernel"].shape[-1] for name in names))
        sizes.append(len(layers["output"]["bias"]))
        coded.append(len(arrays["coding/source"]) if "coding/source" in arrays else 0)
    outputs = int(params["nets_0"]["output"]["bias"].shape[-1])
    classes = bool(search.setting.task.classes)
    module = FittedNets(tuple(hidden), tuple(sizes), tuple(coded), outputs, classes)
    return module, {"params": params, "figures": figures}
