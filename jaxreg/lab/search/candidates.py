"""The candidates of a search: ways to regularise a net, each with its strengths.

All of them are one recipe. Penalties of strength 0, limits of 0 and infinity and a stop that never comes change
nothing. So candidates differ in seven traced numbers, and all train in one compiled program.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

import jaxreg as jr
from jaxreg._hyperparameters import Number, hyperparameters
from jaxreg._protocols import Cost
from jaxreg.lab.search.codings import Coding
from jaxreg.lab.training.recipe import Recipe

HIDDEN = "hidden/kernel"
OUTPUT = "output/kernel"
NONE = "none"
FOREVER = 2**31 - 1


@hyperparameters
class Knobs:
    """Strengths of all regularisers in one training.

    Args:
        l1: Strength of `jaxreg.L1`, applied by its proximal step.
        l2: Strength of `jaxreg.L2`, applied by its gradient.
        decay: Strength of decoupled weight decay.
        group: Strength of `jaxreg.GroupLasso` on the inputs, applied by its proximal step.
        low: Smallest allowed norm of a hidden unit's incoming weights.
        high: Largest allowed norm of a hidden unit's incoming weights.
        stop: Number of optimiser steps after which the weights stop changing.
    """

    l1: Number = 0.0
    l2: Number = 0.0
    decay: Number = 0.0
    group: Number = 0.0
    low: Number = 0.0
    high: Number = math.inf
    stop: Number = FOREVER

    def recipe(self, learning_rate: float, steps: int, hidden: int = 1) -> Recipe:
        """Return the recipe of a training.

        Args:
            learning_rate: Initial learning rate.
            steps: Number of optimiser steps of the training.
            hidden: Number of hidden layers.
        """
        deeper = [f"hidden_{place}/kernel" for place in range(2, hidden + 1)]
        return Recipe(
            penalties={jr.KERNELS: jr.L2(self.l2)},
            decays={jr.KERNELS: jr.L2(self.decay)},
            proximals={HIDDEN: SparseGroups(self.l1, self.group)}
            | {path: jr.L1(self.l1) for path in [*deeper, OUTPUT]},
            constraints={path: jr.MinMaxNorm(self.low, self.high) for path in [HIDDEN, *deeper]},
            learning_rate=Rate(learning_rate, steps, self.stop),
        )


@hyperparameters
class SparseGroups:
    """Absolute values and norms of the weights of each input: l1 · Σ|w| + group · Σ_i √n ‖w_i‖ (sparse group lasso).

    Args:
        l1: Strength of the absolute values, at least 0.
        group: Strength of the norms, at least 0; n is the number of weights of an input.

    Reference:
        Simon et al., A sparse-group lasso, 2013: the proximal step is that of the absolute values, then of the norms.
    """

    l1: Number
    group: Number

    def __call__(self, w: jax.Array) -> Cost:
        """Return the cost of `w`, a scalar."""
        return jr.L1(self.l1)(w) + jr.GroupLasso(self.group, axis=-1)(w)

    def prox(self, w: jax.Array, step: Number) -> jax.Array:
        """Return the proximal step."""
        return jr.GroupLasso(self.group, axis=-1).prox(jr.L1(self.l1).prox(w, step), step)


CONSTANT = 0.75
"""Share of the steps at a constant learning rate."""


@hyperparameters
class Rate:
    """A learning rate that is constant at first, then decreases linearly to 0; 0 after an early stop.

    Args:
        rate: Initial learning rate.
        steps: Number of optimiser steps of a training.
        stop: Number of optimiser steps after which the rate is 0 (early stopping); traced.
    """

    rate: Number
    steps: Number
    stop: Number

    def __call__(self, count: jax.Array) -> Any:
        """Return the learning rate after `count` steps."""
        left = 1 - count / self.steps
        return jnp.where(count < self.stop, self.rate * jnp.minimum(1.0, left / (1 - CONSTANT)), 0.0)


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A regulariser with a strength, and the network that it trains.

    Args:
        method: Name of the method.
        shown: Strength, limit or number of epochs that its label shows; None if it has none.
        strength: Strength for comparing candidates of the same method; larger means simpler.
        knobs: Strengths of all regularisers.
        shape: Network and coding of its numeric inputs; None for the first network of a search.
    """

    method: str
    shown: float | None
    strength: float
    knobs: Knobs
    shape: "Shape | None" = None

    @property
    def label(self) -> str:
        """Method and strength, such as `L2(0.01)`, and the network if it is not the first one of a search."""
        name = self.method if self.shown is None else f"{self.method}({self.shown:g})"
        return name if self.shape is None else f"{name}, {self.shape.label}"


@dataclasses.dataclass(frozen=True)
class Shape:
    """Hidden layers of a network, and the coding of its numeric inputs.

    Args:
        hidden: Number of units of each hidden layer.
        coding: Coding of the numeric inputs.
    """

    hidden: tuple[int, ...]
    coding: Coding

    @property
    def label(self) -> str:
        """Numbers of units, and the coding if there is one, such as `64-64 on pieces`."""
        units = "-".join(map(str, self.hidden))
        return units if self.coding == "plain" else f"{units} on {self.coding}"


SMALL = (32,)
"""Number of units of the hidden layer of the first network, by default."""

OTHER = Shape((32, 32), "pieces")
"""Network and coding that are tried in addition to the first network."""


PULLS: dict[str, tuple[Mapping[str, float], tuple[float, ...]]] = {
    "L1": ({"l1": 1}, (0.03, 0.1, 0.3, 0.6, 1.0)),
    "L2": ({"l2": 1}, (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)),
    "L1L2": ({"l1": 30, "l2": 1}, (0.001, 0.003, 0.01, 0.03)),
    "decay": ({"decay": 1}, (0.03, 0.1, 0.3, 1.0, 3.0)),
    "group lasso": ({"group": 1}, (0.03, 0.1, 0.3, 0.6, 1.0)),
}
"""Method -> the knobs that it sets, each as a multiple of the strength, and the strengths to try. Those of L1 lie about
30 times above those of L2; L1L2 keeps that ratio."""

SELDOM: dict[str, tuple[float, ...]] = {
    "L1": (0.03, 0.6),
    "L2": (0.0003, 0.1),
    "L1L2": (0.001, 0.03),
    "decay": (0.03,),
    "group lasso": (0.03, 0.6),
    "MaxNorm": (2.0,),
}
"""Strengths that are left out where another net is tried; so is every other number of epochs."""

LIMITS = (0.25, 0.5, 1.0, 2.0)
"""Limits of MaxNorm to try, for inputs of variance 1: a hidden unit starts with a norm near 1."""

STOPS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""Shares of the epochs after which early stopping stops."""

METHODS = (NONE, *PULLS, "MaxNorm", "UnitNorm", "early stopping")
"""Every method, in the order of tables."""


def shaped(methods: Sequence[str], shape: Shape) -> list[Candidate]:
    """Return the candidates of another net, with and without decay; none if decay is not to be tried.

    Args:
        methods: Names out of `METHODS`.
        shape: The net.
    """
    if "decay" not in methods:
        return []
    return [Candidate(NONE, None, 0.0, Knobs(), shape), Candidate("decay", SHAPED, SHAPED, Knobs(decay=SHAPED), shape)]


SHAPED = 2.0
"""Strength of decay to try on another net than the first."""


def candidates(
    methods: Sequence[str], epochs: int, steps: int, *, quick: bool = False, fewer: bool = False
) -> list[Candidate]:
    """Return the candidates of some methods; the first is always no regulariser, to compare the others with.

    Args:
        methods: Names out of `METHODS`.
        epochs: Epochs of a training.
        steps: Steps per epoch.
        quick: Whether to try every other strength only.
        fewer: Whether to leave out `SELDOM`, as another net is tried too.

    Raises:
        ValueError: If there is no method of a name.
    """
    if unknown := [name for name in methods if name not in METHODS]:
        raise ValueError(f"there is no method {unknown[0]!r}; expected one or more of {', '.join(METHODS)}")
    first, step = (1, 2) if quick else (0, 1)
    tried = [Candidate(NONE, None, 0.0, Knobs())]
    for method, (factors, strengths) in PULLS.items():
        for strength in strengths[first::step]:
            knobs = Knobs(**{name: factor * strength for name, factor in factors.items()})
            tried.append(Candidate(method, strength, strength, knobs))
    tried += [Candidate("MaxNorm", limit, 1 / limit, Knobs(high=limit)) for limit in LIMITS[first::step]]
    tried.append(Candidate("UnitNorm", None, 1.0, Knobs(low=1.0, high=1.0)))
    stops = sorted({max(1, round(share * epochs)) for share in STOPS} - {epochs})
    stops = stops[::2] if fewer else stops[first::step]
    tried += [Candidate("early stopping", stop, 1 / stop, Knobs(stop=stop * steps)) for stop in stops]
    kept = [candidate for candidate in tried if candidate.method in (NONE, *methods)]
    return [candidate for candidate in kept if not (fewer and candidate.shown in SELDOM.get(candidate.method, ()))]
