"""Decision surface of a model of two features: its probabilities on a grid that holds the data."""

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
    """Grid on which a model of two features is evaluated.

    Args:
        x1: Values of the first feature, ascending.
        x2: Values of the second feature, ascending.
    """

    x1: np.ndarray
    x2: np.ndarray

    def probability(self, model: Model, params: Tree) -> Labelled:
        """Return the probability of class 1 at each point of the grid, of shape (x2, x1).

        Args:
            model: Model with one logit.
            params: Parameters of the model.
        """
        places = np.stack(np.meshgrid(self.x1, self.x2), axis=-1).reshape(-1, 2)
        logits = model.apply(params, jnp.asarray(places))[:, 0]
        return Labelled(jax.nn.sigmoid(logits).reshape(len(self.x2), len(self.x1)), ("x2", "x1"))


def window(model: Model, data: Data) -> Window | None:
    """Return a grid with all points of the data in it.

    None unless the model has two features and one logit, and for more than 10,000 weights: the final weights of all
    lanes would take more room than everything else.

    Args:
        model: Model to evaluate.
        data: Data that the model is trained on.

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
