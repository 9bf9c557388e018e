"""The candidates of a search: ways to regularise a net of one hidden layer, each with its strengths.

All of them are one recipe. Penalties of strength 0, limits of 0 and infinity and a stop that never comes change
nothing, so that what tells one candidate from another is seven traced numbers and all train in one compiled program.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

import jaxreg as jr
from jaxreg._hyperparameters import Number, hyperparameters
from jaxreg._protocols import Cost
from jaxreg.lab.training.recipe import Recipe

HIDDEN = "hidden/kernel"
OUTPUT = "output/kernel"
NONE = "none"
FOREVER = 2**31 - 1


@hyperparameters
class Knobs:
    """What is regularised, and how much.

    Args:
        l1: Strength of `jaxreg.L1`, by its proximal step.
        l2: Strength of `jaxreg.L2`, by its gradient.
        decay: Strength of decoupled decay.
        group: Strength of `jaxreg.GroupLasso` on the inputs, by its proximal step.
        low: Least norm of a hidden unit's incoming weights.
        high: Largest norm of them.
        stop: Steps after which the weights stay as they are.
    """

    l1: Number = 0.0
    l2: Number = 0.0
    decay: Number = 0.0
    group: Number = 0.0
    low: Number = 0.0
    high: Number = math.inf
    stop: Number = FOREVER

    def recipe(self, learning_rate: float, steps: int) -> Recipe:
        """The recipe of a lane that makes so many steps."""
        return Recipe(
            penalties={jr.KERNELS: jr.L2(self.l2)},
            decays={jr.KERNELS: jr.L2(self.decay)},
            proximals={HIDDEN: SparseGroups(self.l1, self.group), OUTPUT: jr.L1(self.l1)},
            constraints={HIDDEN: jr.MinMaxNorm(self.low, self.high)},
            learning_rate=Rate(learning_rate, steps, self.stop),
        )


@hyperparameters
class SparseGroups:
    """Absolute values and norms of the weights of each input: l1 · Σ|w| + group · Σ_i √n ‖w_i‖ (sparse group lasso).

    Args:
        l1: Strength of the absolute values, at least 0.
        group: Strength of the norms, likewise; n weights leave an input.

    Reference:
        Simon et al., A sparse-group lasso, 2013: the proximal step is that of the absolute values, then of the norms.
    """

    l1: Number
    group: Number

    def __call__(self, w: jax.Array) -> Cost:
        """The cost of `w`, a scalar."""
        return jr.L1(self.l1)(w) + jr.GroupLasso(self.group, axis=-1)(w)

    def prox(self, w: jax.Array, step: Number) -> jax.Array:
        """The proximal step."""
        return jr.GroupLasso(self.group, axis=-1).prox(jr.L1(self.l1).prox(w, step), step)


CONSTANT = 0.75
"""Share of the steps at a constant learning rate."""


@hyperparameters
class Rate:
    """A learning rate that is constant at first and falls in a line to 0 at the last step; 0 from an earlier stop on.

    Args:
        rate: The learning rate at first.
        steps: Steps that a training makes.
        stop: Steps after which nothing moves: early stopping, traced.
    """

    rate: Number
    steps: Number
    stop: Number

    def __call__(self, count: jax.Array) -> Any:
        """The learning rate after `count` steps."""
        left = 1 - count / self.steps
        return jnp.where(count < self.stop, self.rate * jnp.minimum(1.0, left / (1 - CONSTANT)), 0.0)


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One way to train.

    Args:
        method: Its name.
        shown: The strength, the limit or the number of epochs, as its label has it; None where there is none.
        strength: How hard it regularises: larger is simpler. Comparable among candidates of one method.
        knobs: What that means for the recipe.
    """

    method: str
    shown: float | None
    strength: float
    knobs: Knobs

    @property
    def label(self) -> str:
        """Method and strength, as in `L2(0.01)`."""
        return self.method if self.shown is None else f"{self.method}({self.shown:g})"


PULLS: dict[str, tuple[Callable[[float], Knobs], tuple[float, ...]]] = {
    "L1": (lambda s: Knobs(l1=s), (0.03, 0.1, 0.3, 0.6, 1.0)),
    "L2": (lambda s: Knobs(l2=s), (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)),
    "L1L2": (lambda s: Knobs(l1=30 * s, l2=s), (0.001, 0.003, 0.01, 0.03)),
    "decay": (lambda s: Knobs(decay=s), (0.03, 0.1, 0.3, 1.0, 3.0)),
    "group lasso": (lambda s: Knobs(group=s), (0.03, 0.1, 0.3, 0.6, 1.0)),
}
"""Method -> the knobs of a strength, and the strengths to try."""

LIMITS = (0.25, 0.5, 1.0, 2.0)
"""Limits of MaxNorm to try, for inputs of variance 1: a hidden unit starts with a norm near 1."""

STOPS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""Shares of the epochs after which early stopping stops."""

METHODS = (NONE, *PULLS, "MaxNorm", "UnitNorm", "early stopping")
"""Every method, in the order of tables."""


def candidates(methods: Sequence[str], epochs: int, steps: int, *, quick: bool = False) -> list[Candidate]:
    """The candidates of some methods; none is always among them, first, as what the others are compared with.

    Args:
        methods: Names out of `METHODS`.
        epochs: Epochs of a training.
        steps: Steps an epoch.
        quick: Whether to try every other strength only.

    Raises:
        ValueError: If there is no method of a name.
    """
    if unknown := [name for name in methods if name not in METHODS]:
        raise ValueError(f"there is no method {unknown[0]!r}; expected some of {', '.join(METHODS)}")
    first, step = (1, 2) if quick else (0, 1)
    found = [Candidate(NONE, None, 0.0, Knobs())]
    for method, (knobs, strengths) in PULLS.items():
        found += [Candidate(method, s, s, knobs(s)) for s in strengths[first::step]]
    found += [Candidate("MaxNorm", limit, 1 / limit, Knobs(high=limit)) for limit in LIMITS[first::step]]
    found.append(Candidate("UnitNorm", None, 1.0, Knobs(low=1.0, high=1.0)))
    stops = sorted({max(1, round(share * epochs)) for share in STOPS} - {epochs})
    found += [Candidate("early stopping", stop, 1 / stop, Knobs(stop=stop * steps)) for stop in stops[first::step]]
    return [candidate for candidate in found if candidate.method in (NONE, *methods)]
