"""`Recipe`: all numbers that a sweep may vary, traced."""

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
    """Rules, optimiser and learning rate of a lane: a pytree, so that an array instead of a number makes a sweep.

    Args:
        penalties: Rules for `jaxreg.penalize`, or None: penalties by their gradient, ahead of the optimiser.
        constraints: Rules for `jaxreg.project`, or None.
        learning_rate: A float, an array or an Optax schedule.
        optimizer: learning rate -> Optax transformation; Keras's Adam by default. Static.
        decays: Rules for `jaxreg.decay`, or None: decoupled decay, in AdamW's place whatever the optimiser.
        proximals: Rules for `jaxreg.proximal`, or None: penalties by their proximal step, behind the optimiser.

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

    def _repr_html_(self) -> str:
        given = {name: value for name, value in vars(self).items() if value is not None}
        return card("Recipe", [], [[name, getattr(value, "__name__", repr(value))] for name, value in given.items()])

    def transformation(self) -> optax.GradientTransformation:
        """Return the Optax chain: penalties, optimiser with the decay beside it, proximal steps, constraints."""
        return jr.regularize(
            self.optimizer(self.learning_rate),
            self.learning_rate,
            penalties=self.penalties,
            decays=self.decays,
            proximals=self.proximals,
            constraints=self.constraints,
        )

    def penalty(self, params: Tree, step: jax.Array | int | None = None) -> jax.Array:
        """Return the sum of all penalties, those taken by their proximal step included: a scalar.

        Args:
            params: Tree of weight arrays.
            step: Step at which scheduled strengths are read.
        """
        rules = [rules for rules in (self.penalties, self.proximals) if rules is not None]
        return sum((jr.penalty(params, each, step) for each in rules), jnp.zeros(()))
