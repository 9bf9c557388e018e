"""Candidates of a search: each one is a regularisation method with a strength.

All candidates share one recipe, which contains every regulariser. Each of these values switches its regulariser off:

- a strength of 0
- a lower limit of 0 on a norm
- an upper limit of infinity on a norm
- an early stop after the end of the training

So candidates differ only in the seven numbers of `Knobs`. The numbers are traced, so that one compiled program trains
all candidates of one network. If no candidate of a network uses a regulariser, the program of this network does not
contain the regulariser. Dropout belongs to the network instead of the recipe, but its probability is traced too.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

import jaxreg as jr
from jaxreg._hyperparameters import Number, hyperparameters
from jaxreg._protocols import Cost, Rules
from jaxreg.lab.search.codings import Coding
from jaxreg.lab.training.recipe import Recipe

HIDDEN = "hidden/kernel"
OUTPUT = "output/kernel"
NONE = "none"
DROPOUT = "dropout"
FOREVER = 2**31 - 1


@hyperparameters
class Knobs:
    """Strengths of all regularisers in one training run.

    A strength of None leaves the regulariser out of the program.

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
        """Return the `Recipe` (rules, optimiser and learning rate) of a training run with these strengths.

        Args:
            learning_rate: Initial learning rate.
            steps: Number of optimiser steps of the training run.
            hidden: Number of hidden layers.
        """
        deeper = [f"hidden_{place}/kernel" for place in range(2, hidden + 1)]
        penalties = decays = constraints = None
        proximals: Rules | None = None
        if self.l2 is not None:
            penalties = {jr.KERNELS: jr.L2(self.l2)}
        if self.decay is not None:
            decays = {jr.KERNELS: jr.L2(self.decay)}
        if self.l1 is not None:
            layers = {path: jr.L1(self.l1) for path in [*deeper, OUTPUT]}
            proximals = {HIDDEN: SparseGroups(self.l1, self.group), **layers}
        if self.low is not None:
            constraints = {path: jr.MinMaxNorm(self.low, self.high) for path in [HIDDEN, *deeper]}
        rate = Rate(learning_rate, steps, self.stop)
        return Recipe(penalties, constraints, rate, decays=decays, proximals=proximals)


@hyperparameters
class DropoutKnobs(Knobs):
    """Strengths of all regularisers in one training run of a network with dropout.

    This is a separate class, so that stored training runs of a program without dropout can still be continued.

    Args:
        dropout: Probability of leaving out a hidden unit in a training step.
    """

    dropout: Number = 0.0


PARTS = (("l2",), ("decay",), ("l1", "group"), ("low", "high"))
"""Fields of `Knobs` for each part of the recipe. A part is left out of a program if no training run uses its fields."""


def used(knobs: Sequence[Knobs]) -> list[Knobs]:
    """Replace strengths by None in those parts of the recipe that no training run uses.

    Args:
        knobs: Strengths of each training run.

    Example:
        >>> [each.decay for each in used([Knobs(), Knobs(decay=1.0)])], used([Knobs(decay=1.0)])[0].l2
        ([0.0, 1.0], None)
    """
    off = [
        name
        for part in PARTS
        if all(getattr(each, name) == getattr(Knobs, name) for each in knobs for name in part)
        for name in part
    ]
    return [dataclasses.replace(each, **dict.fromkeys(off)) for each in knobs]


def alike(knobs: Sequence[Knobs]) -> list[Knobs]:
    """Convert all items to `DropoutKnobs` if at least one of them is a `DropoutKnobs`.

    Args:
        knobs: Strengths of each training run.

    Example:
        >>> [each.dropout for each in alike([Knobs(), DropoutKnobs(dropout=0.5)])]
        [0.0, 0.5]
    """
    if not any(isinstance(each, DropoutKnobs) for each in knobs):
        return list(knobs)
    return [each if isinstance(each, DropoutKnobs) else DropoutKnobs(**vars(each)) for each in knobs]


@hyperparameters
class SparseGroups:
    """Sparse group lasso: l1 · Σ|w| + group · Σ_i √n ‖w_i‖, where w_i is the vector of the n weights of input i.

    The proximal step of L1 is applied first, then the step of the group lasso.

    Args:
        l1: Strength of the sum of absolute values, at least 0.
        group: Strength of the sum of norms, at least 0.

    Reference:
        Simon et al., A sparse-group lasso, 2013.
    """

    l1: Number
    group: Number

    def __call__(self, w: jax.Array) -> Cost:
        """Return the cost of `w`, a scalar."""
        return jr.L1(self.l1)(w) + jr.GroupLasso(self.group, axis=-1)(w)

    def prox(self, w: jax.Array, step: Number) -> jax.Array:
        """Return the proximal step from `w` with the step size `step`."""
        return jr.GroupLasso(self.group, axis=-1).prox(jr.L1(self.l1).prox(w, step), step)


CONSTANT = 0.75
"""Share of the optimiser steps before the learning rate starts to decrease."""


@hyperparameters
class Rate:
    """Learning rate that is constant for three quarters of the training, then decreases linearly to 0.

    After an early stop the rate is 0.

    Args:
        rate: Initial learning rate.
        steps: Number of optimiser steps of a training.
        stop: Number of optimiser steps after which the rate is 0 (early stopping); traced.
    """

    rate: Number
    steps: Number
    stop: Number

    def __call__(self, count: jax.Array) -> Any:
        """Return the learning rate after `count` optimiser steps."""
        left = 1 - count / self.steps
        return jnp.where(count < self.stop, self.rate * jnp.minimum(1.0, left / (1 - CONSTANT)), 0.0)


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One candidate of a search: a regulariser with a strength, and a network to train.

    Args:
        method: Name of the method.
        shown: Number in the label: strength, limit or number of epochs. None if the method has no such number.
        strength: Strength for comparing candidates of the same method; a larger one gives a simpler network.
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
        """Label of the candidate, such as `L2(0.01)`. For the second network, the network's label follows."""
        name = self.method if self.shown is None else f"{self.method}({self.shown:g})"
        return name if self.shape is None else f"{name}, {self.shape.label}"


@dataclasses.dataclass(frozen=True)
class Shape:
    """Architecture of a network: its hidden layers, and the preprocessing (coding) of its numeric inputs.

    Args:
        hidden: Number of units of each hidden layer.
        coding: Coding of the numeric inputs.
    """

    hidden: tuple[int, ...]
    coding: Coding

    @property
    def label(self) -> str:
        """Label of the network, such as `32-32 on pieces`: units per hidden layer, then the coding unless plain."""
        units = "-".join(map(str, self.hidden))
        return units if self.coding == "plain" else f"{units} on {self.coding}"


SMALL = (32,)
"""Default number of units of the hidden layer of the first network."""

OTHER = Shape((32, 32), "pieces")
"""Second network of a search, with the coding of its numeric inputs."""


PULLS: dict[str, tuple[Mapping[str, float], tuple[float, ...]]] = {
    "L1": ({"l1": 1}, (0.03, 0.1, 0.3, 0.6, 1.0)),
    "L2": ({"l2": 1}, (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)),
    "L1L2": ({"l1": 30, "l2": 1}, (0.001, 0.003, 0.01, 0.03)),
    "decay": ({"decay": 1}, (0.03, 0.1, 0.3, 1.0, 3.0)),
    "group lasso": ({"group": 1}, (0.03, 0.1, 0.3, 0.6, 1.0)),
}
"""Method -> factors, and strengths to try. The factors map each field of `Knobs` that the method uses to a multiple of
the strength. Useful strengths of L1 are about 30 times larger than those of L2, so L1L2 uses this ratio."""

SELDOM: dict[str, tuple[float, ...]] = {
    "L1": (0.03, 0.6),
    "L2": (0.0003, 0.1),
    "L1L2": (0.001, 0.03),
    "decay": (0.03,),
    "group lasso": (0.03, 0.6),
    "MaxNorm": (2.0,),
}
"""Strengths to leave out if a second network is tried too. Early stopping then tries only every second stop."""

LIMITS = (0.25, 0.5, 1.0, 2.0)
"""Limits of MaxNorm to try. They suit inputs of variance 1, because a hidden unit then starts with a norm near 1."""

STOPS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""Times at which early stopping stops, one candidate each, as shares of the epochs."""

RATES = (0.2, 0.5)
"""Probabilities of dropout to try."""

METHODS = (NONE, *PULLS, "MaxNorm", "UnitNorm", "early stopping", DROPOUT)
"""Names of all methods, in the order in which they are tried."""


PROMISING = ("L2", "group lasso", "decay")
"""Methods to try with a short time budget: those with the best mean ranks, the best first.
`experiments/headlines/which_regulariser.py` measured the ranks of all methods except dropout, on 25 tables of 40 and
160 rows. Choosing between these three methods and no regulariser was as good as choosing among all methods."""


def shaped(shape: Shape) -> list[Candidate]:
    """Return two candidates with the network `shape`: one without a regulariser, and one with weight decay."""
    return [Candidate(NONE, None, 0.0, Knobs(), shape), Candidate("decay", SHAPED, SHAPED, Knobs(decay=SHAPED), shape)]


SHAPED = 2.0
"""Strength of decay for networks other than the first one."""


def candidates(
    methods: Sequence[str], epochs: int, steps: int, *, quick: bool = False, fewer: bool = False
) -> list[Candidate]:
    """Return all candidates of the given methods. The first candidate is always the one without a regulariser.

    Args:
        methods: Names from `METHODS`.
        epochs: Number of epochs of a training.
        steps: Number of optimiser steps per epoch.
        quick: Whether to try only every second strength.
        fewer: Whether to leave out the strengths in `SELDOM`, because a second network is tried too.

    Raises:
        ValueError: If a name is not in `METHODS`.
    """
    if unknown := [name for name in methods if name not in METHODS]:
        raise ValueError(f"there is no method {unknown[0]!r}; expected one or more of {', '.join(map(repr, METHODS))}")
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
    tried += [Candidate(DROPOUT, rate, rate, DropoutKnobs(dropout=rate)) for rate in RATES[first::step]]
    kept = [candidate for candidate in tried if candidate.method in (NONE, *methods)]
    return [candidate for candidate in kept if not (fewer and candidate.shown in SELDOM.get(candidate.method, ()))]
