"""Decision surface of a model with two features: the predicted probabilities on a grid that covers the data."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._protocols import Tree
from jaxreg.lab.data import Data
from jaxreg.lab.labelled import Labelled
from jaxreg.lab.models import Model

_CELLS = (56, 44)
_MARGIN = 0.4
_MOST_WEIGHTS = 10_000


class Window(NamedTuple):
    """Grid on which a model with two features is evaluated.

    Args:
        x1: Ascending values of the first feature.
        x2: Ascending values of the second feature.
    """

    x1: np.ndarray
    x2: np.ndarray

    def probability(self, model: Model, params: Tree) -> Labelled:
        """Return the probability of class 1 at each grid point, of shape (len(x2), len(x1)).

        Args:
            model: Model with one logit.
            params: Parameters of the model.
        """
        places = np.stack(np.meshgrid(self.x1, self.x2), axis=-1).reshape(-1, 2)
        logits = model.apply(params, jnp.asarray(places))[:, 0]
        return Labelled(jax.nn.sigmoid(logits).reshape(len(self.x2), len(self.x1)), ("x2", "x1"))


def window(model: Model, data: Data) -> Window | None:
    """Return a grid that covers the data, for a plot of the decision surface. Return None if no plot is possible.

    The plot is possible for a model with two features, one logit and at most 10,000 weights. The plot needs the final
    weights of all runs. With more weights, they would take more disk space than all other results.

    Args:
        model: Model to evaluate.
        data: Data on which the model is trained.

    Example:
        >>> from jaxreg.lab import MLP, linen, tutorial_moons
        >>> seen = window(linen(MLP(hidden=4), (2,)), tutorial_moons())
        >>> seen.x1.shape, seen.x2.shape
        ((56,), (44,))
    """
    if data.x_train.shape[2:] != (2,):
        return None
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    outputs = jax.eval_shape(model.apply, shapes, data.x_train[0])
    if outputs.shape[1:] != (1,) or sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes)) > _MOST_WEIGHTS:
        return None
    points = np.concatenate([x.reshape(-1, 2) for x, _ in data.parts().values()])
    low, high = points.min(axis=0) - _MARGIN, points.max(axis=0) + _MARGIN
    return Window(*(np.linspace(low[i], high[i], _CELLS[i], dtype=np.float32) for i in range(2)))
