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

    A recipe is a pytree. Its leaves are its numbers. Penalties and constraints are given as a dict from path pattern to
    rule, or as a single rule for all kernels.

    Args:
        penalties: Penalties for `jaxreg.penalize`, or None. Their gradients are added to the gradient of the loss.
        constraints: Constraints for `jaxreg.project`, or None. The weights are projected after each optimiser step.
        learning_rate: Learning rate: a float, an array or an Optax schedule.
        optimizer: Function that takes the learning rate and returns an Optax transformation; Keras's Adam by default.
            The function is static: it is not a leaf of the pytree.
        decays: Penalties for `jaxreg.decay`, or None. Weights decay as in AdamW (decoupled), with any optimiser.
        proximals: Penalties for `jaxreg.proximal`, or None. Their proximal steps are applied after the optimiser.

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
        """Return the sum of the penalties in `penalties` and `proximals`, a scalar. Those in `decays` are not included.

        Args:
            params: Tree of weight arrays.
            step: Optimiser step at which to evaluate scheduled strengths. Needed only if there are schedules.

        Raises:
            ValueError: If a strength is a schedule and `step` is None.
        """
        rules = [rules for rules in (self.penalties, self.proximals) if rules is not None]
        return sum((jr.penalty(params, each, step) for each in rules), jnp.zeros(()))
