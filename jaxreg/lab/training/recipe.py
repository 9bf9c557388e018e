"""`Recipe`: the regularisers, optimiser and learning rate of a training run, which a sweep can vary."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

import jaxreg as jr
from jaxreg._hyperparameters import Number, hyperparameters, static
from jaxreg._protocols import Rules, Tree
from jaxreg.lab.cards import card


@hyperparameters
class Recipe:
    """Regularisers, optimiser and learning rate of a training run. A sweep can vary each number in a recipe.

    A recipe is a pytree. Its leaves are its numbers.

    Args:
        penalties: Rules for `jaxreg.penalize`, or None. Their gradients are added to the gradient of the loss.
        constraints: Rules for `jaxreg.project`, or None.
        learning_rate: A float, an array or an Optax schedule.
        optimizer: Function that takes the learning rate and returns an Optax transformation; Keras's Adam by default.
            It is static, so it is not a leaf.
        decays: Rules for `jaxreg.decay`, or None. They apply decoupled weight decay as in AdamW, with any optimiser.
        proximals: Rules for `jaxreg.proximal`, or None. They apply the proximal step of a penalty after the optimiser.

    Raises:
        TypeError: If `optimizer` is not a function.

    Example:
        >>> import jaxreg as jr
        >>> from jaxreg.lab import Recipe
        >>> recipe = Recipe(
        ...     penalties={jr.RECURRENT_KERNELS: jr.L2(1e-4)},
        ...     constraints={"lstm/kernel": jr.MaxNorm(3.0), jr.BIASES: jr.MaxNorm(2.0)},
        ...     decays={"output/kernel": jr.L2(5e-3)},
        ... )
    """

    penalties: Rules | None = None
    constraints: Rules | None = None
    learning_rate: Number = 1e-3
    optimizer: Callable[[Number], optax.GradientTransformation] = static(default=jr.keras.adam)
    decays: Rules | None = None
    proximals: Rules | None = None

    def __post_init__(self) -> None:
        if not callable(self.optimizer):
            raise TypeError(
                f"`optimizer` is of type {type(self.optimizer).__name__}; expected a function of the learning rate, "
                "such as optax.adamw itself, or lambda rate: optax.adamw(rate, weight_decay=0.01). Give the rate as "
                "`learning_rate`"
            )

    def _repr_html_(self) -> str:
        given = {name: value for name, value in vars(self).items() if value is not None}
        return card("Recipe", [], [[name, getattr(value, "__name__", repr(value))] for name, value in given.items()])

    def transformation(self) -> optax.GradientTransformation:
        """Return one Optax transformation that applies the optimiser and all regularisers.

        The order is penalties, optimiser with decoupled decay, proximal steps, constraints.
        """
        return jr.regularize(
            self.optimizer(self.learning_rate),
            self.learning_rate,
            penalties=self.penalties,
            decays=self.decays,
            proximals=self.proximals,
            constraints=self.constraints,
        )

    def penalty(self, params: Tree, step: jax.Array | int | None = None) -> jax.Array:
        """Return the sum of all penalties as a scalar. Penalties that are applied as proximal steps are included.

        Args:
            params: Tree of weight arrays.
            step: Optimiser step at which scheduled strengths are evaluated.
        """
        rules = [rules for rules in (self.penalties, self.proximals) if rules is not None]
        return sum((jr.penalty(params, each, step) for each in rules), jnp.zeros(()))
