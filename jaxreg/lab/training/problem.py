"""`Problem`: what all runs of a sweep share, static."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from jaxreg._checks import check_integer
from jaxreg._hyperparameters import known
from jaxreg.lab.cards import card
from jaxreg.lab.data import Data
from jaxreg.lab.models import Model
from jaxreg.lab.training.metrics import Measure, binary_accuracy, binary_cross_entropy


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """What every lane of a sweep shares: the model, the data, the loss and how long it trains.

    Args:
        model: The model.
        data: Training and test rows of one or many draws.
        epochs: Number of passes over the training rows.
        loss: Measure with one value per row; its mean over the rows is minimised.
        metrics: Name -> measure, reported for each part of the data like the loss. Its values are one per row, of which
            the mean is taken, or one for all rows.
        batch_size: Rows per step; the rows are shuffled in each epoch unless one batch holds them all.
        record_every: Epochs between two points of the curves; it divides `epochs`.
        shuffle: Whether the rows are shuffled; False takes them in their order, as a time series may need.

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
            check_integer(getattr(self, name), f"Problem: {name}", 1)
        if self.epochs % self.record_every:
            raise ValueError(
                f"Problem: record_every is {self.record_every} and epochs {self.epochs}; expected a divisor of epochs"
            )
        if "test" not in self.data.parts():
            raise ValueError(
                "Problem: the data has neither test rows nor w_test; expected x_test and y_test, or weights that make "
                "training rows test rows"
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

    def _repr_html_(self) -> str:
        words = {name: getattr(value, "__name__", repr(value)) for name, value in vars(self).items() if name != "model"}
        words["metrics"] = ", ".join(self.metrics) or "none"
        return card("Problem", [], [[name, value] for name, value in words.items()])

    @property
    def recorded(self) -> np.ndarray:
        """The epochs at which the curves have a point, 0 being the initial weights."""
        return np.arange(0, self.epochs + 1, self.record_every)
