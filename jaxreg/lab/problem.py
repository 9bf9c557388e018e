"""What lanes share and what tells them apart: the problem is static, and every number of a recipe is traced."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxreg as jr
from jaxreg.lab.data import Data
from jaxreg.lab.metrics import Measure, binary_accuracy, binary_cross_entropy
from jaxreg.lab.models import Model
from jaxreg.objects import Number, hyperparameters, known, static
from jaxreg.paths import Rules, Tree


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """What every lane of a sweep shares: the model, the data, the loss and how long it trains.

    Args:
        model: What is trained.
        data: On what, for one or many draws.
        epochs: Passes over the training rows.
        loss: A value a row; its mean over the rows is minimised.
        metrics: Name -> a value a row, reported like the loss as the mean over the rows of each part of the data; or
            one number for all of its rows.
        batch_size: Rows a step; the rows are shuffled anew each epoch unless one batch holds them all.
        record_every: Epochs between two points of the curves; it divides `epochs`.
        shuffle: Whether the rows are shuffled; False takes them in their order, as a series may ask for.

    Raises:
        ValueError: If a field is of another kind, a number is not positive, `record_every` does not divide `epochs`, a
            metric is named "loss", or the data holds NaN or infinity or arrays whose numbers of rows differ. Data that
            is traced is not looked into.
    """

    model: Model
    data: Data
    epochs: int
    loss: Measure = binary_cross_entropy
    metrics: Mapping[str, Measure] = dataclasses.field(default_factory=lambda: {"accuracy": binary_accuracy})
    batch_size: int = 32
    record_every: int = 1
    shuffle: bool = True

    def __post_init__(self) -> None:
        for name, kind in (("model", Model), ("data", Data)):
            if not isinstance(found := getattr(self, name), kind):
                raise ValueError(f"Problem: {name} is a {type(found).__name__}; expected a jaxreg.lab.{kind.__name__}")
        for name, array in self.data._asdict().items():
            if array is not None and not hasattr(array, "shape"):
                raise ValueError(f"Problem: {name} is a {type(array).__name__}; expected an array, (draws, rows, …)")
        if not isinstance(self.metrics, Mapping):
            raise ValueError(f"Problem: metrics is {self.metrics!r}; expected a dict, name -> function")
        for name, measure in {"loss": self.loss, **self.metrics}.items():
            if not callable(measure):
                raise ValueError(
                    f"Problem: {name} is {measure!r}; expected a function, (outputs, targets) -> a value a row"
                )
        if "loss" in self.metrics:
            raise ValueError("Problem: a metric is named 'loss', as the loss's own curve; expected another name")
        for name in ("epochs", "batch_size", "record_every"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise ValueError(f"Problem: {name} is {value!r}; expected a whole number of at least 1")
        if self.epochs % self.record_every:
            raise ValueError(
                f"Problem: record_every is {self.record_every} and epochs {self.epochs}; expected a divisor of epochs"
            )
        weights = self.data.weights()
        for part, (x, y) in self.data.parts().items():
            if x.shape[:2] != y.shape[:2] or 0 in y.shape[:2]:
                raise ValueError(
                    f"Problem: x_{part} has shape {x.shape} and y_{part} {y.shape}; expected (draws, rows, …) for both"
                )
            w = weights[part]
            if w is not None and w.shape != y.shape[:2]:
                raise ValueError(f"Problem: w_{part} has shape {w.shape}; expected {y.shape[:2]}, a number a row")
            for name, array in ((f"x_{part}", x), (f"y_{part}", y), (f"w_{part}", w)):
                if array is None or not known(array):
                    continue
                bad = np.argwhere(~np.isfinite(array))
                if len(bad):
                    raise ValueError(
                        f"Problem: {name} holds {array[tuple(bad[0])]} at {tuple(map(int, bad[0]))}, one of "
                        f"{len(bad)} such values; expected finite numbers: drop or impute those rows"
                    )

    @property
    def recorded(self) -> np.ndarray:
        """The epochs at which the curves have a point, 0 being the initial weights."""
        return np.arange(0, self.epochs + 1, self.record_every)


@hyperparameters
class Recipe:
    """How a lane is trained: a pytree, so that an array in the place of a number makes a sweep.

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

    def transformation(self) -> optax.GradientTransformation:
        """The Optax chain: penalties, optimiser with the decay beside it, proximal steps, constraints."""
        optimizer = self.optimizer(self.learning_rate)
        if self.decays is not None:
            optimizer = _with_decay(optimizer, self.decays, self.learning_rate)
        links = [optimizer]
        if self.penalties is not None:
            links.insert(0, jr.penalize(self.penalties))
        if self.proximals is not None:
            links.append(jr.proximal(self.proximals, self.learning_rate))
        if self.constraints is not None:
            links.append(jr.project(self.constraints))
        return optax.chain(*links)

    def penalty(self, params: Tree, step: jax.Array | int | None = None) -> jax.Array:
        """What is minimised beside the loss: the penalties and those taken by their proximal step, a scalar.

        Args:
            params: Tree of weight arrays.
            step: The step at which scheduled strengths are read.
        """
        rules = [rules for rules in (self.penalties, self.proximals) if rules is not None]
        return sum((jr.penalty(params, each, step) for each in rules), jnp.zeros(()))


def _with_decay(optimizer: optax.GradientTransformation, rules: Rules, rate: Number) -> optax.GradientTransformation:
    # An optimiser hands on finished steps, learning rate and sign included: decay makes a step of its own beside it.
    decay = optax.chain(jr.decay(rules), optax.scale_by_learning_rate(rate))

    def init(params: Tree) -> Any:
        return optimizer.init(params), decay.init(params)

    def update(updates: Tree, states: Any, params: Tree | None = None) -> tuple[Tree, Any]:
        none = jax.tree.map(jnp.zeros_like, updates)
        steps, state = optimizer.update(updates, states[0], params)
        pulls, decay_state = decay.update(none, states[1], params)
        return jax.tree.map(jnp.add, steps, pulls), (state, decay_state)

    return optax.GradientTransformation(init, update)
