"""`Problem`: model, data, loss and number of epochs of a training, which are equal in all runs of a sweep."""

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
    """Model, data, loss and number of epochs of a training run. All runs of a sweep share one `Problem`.

    Args:
        model: Model to train.
        data: Training rows, test rows and, optionally, validation rows of one or many draws. A draw is one random split
            or sample of the data.
        epochs: Number of passes over the training rows.
        loss: Function that returns one value per row. The mean across rows is minimised. The default is for classes 0
            and 1. If the targets are numbers, pass `squared_error`.
        metrics: Name -> function. Like the loss, metrics are recorded on the training and test rows, and on the
            validation rows if there are any. A function returns one value per row, or one value for all rows. Values
            per row are averaged.
        batch_size: Number of rows per optimiser step.
        record_every: Number of epochs between two points of the learning curves; must divide `epochs`.
        shuffle: True to shuffle the rows in each epoch. False keeps their order, e.g. for a time series. Rows that all
            fit into one batch are never shuffled.

    Raises:
        ValueError: If a field has the wrong type, a number is not positive, `record_every` does not divide `epochs`, or
            a metric is named "loss". Also if there are no test rows, if inputs and targets have different numbers of
            rows, or if the data holds NaN or infinity. Also if the loss is `binary_cross_entropy` and a target is below
            0 or above 1. The values of traced data are not checked.
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
                raise ValueError(
                    f"Problem: {name} is of type {type(found).__name__}; expected a jaxreg.lab.{kind.__name__}"
                )
        for name, array in self.data._asdict().items():
            if array is not None and not hasattr(array, "shape"):
                raise ValueError(
                    f"Problem: {name} is of type {type(array).__name__}; expected an array of shape (draws, rows, …)"
                )
        if not isinstance(self.metrics, Mapping):
            raise ValueError(f"Problem: metrics is {self.metrics!r}; expected a dict from name to function")
        for name, measure in {"loss": self.loss, **self.metrics}.items():
            if not callable(measure):
                raise ValueError(
                    f"Problem: {name} is {measure!r}; expected a function of (outputs, targets) that returns one value "
                    "per row"
                )
        if "loss" in self.metrics:
            raise ValueError(
                "Problem: a metric is named 'loss', but this name is reserved for the loss: rename the metric"
            )
        for name in ("epochs", "batch_size", "record_every"):
            check_integer(getattr(self, name), f"Problem: {name}", 1)
        if self.epochs % self.record_every:
            raise ValueError(
                f"Problem: record_every is {self.record_every} and epochs is {self.epochs}; expected a record_every "
                "that divides epochs"
            )
        if "test" not in self.data.parts():
            raise ValueError(
                "Problem: the data has no test rows. Pass x_test and y_test. Or pass w_test, with one weight per "
                "training row: the test then uses the training rows with these weights"
            )
        weights = self.data.weights()
        for part, (x, y) in self.data.parts().items():
            if x.shape[:2] != y.shape[:2] or 0 in y.shape[:2]:
                raise ValueError(
                    f"Problem: x_{part} has shape {x.shape} and y_{part} has {y.shape}; expected two arrays of shape "
                    "(draws, rows, …) with the same numbers of draws and rows, at least 1 of each"
                )
            w = weights[part]
            if w is not None and w.shape != y.shape[:2]:
                raise ValueError(
                    f"Problem: w_{part} has shape {w.shape}; expected (draws, rows), here {y.shape[:2]}: one weight "
                    "per row"
                )
            for name, array in ((f"x_{part}", x), (f"y_{part}", y), (f"w_{part}", w)):
                if array is None or not known(array):
                    continue
                bad = np.argwhere(~np.isfinite(array))
                if len(bad):
                    raise ValueError(
                        f"Problem: {name} has {len(bad)} NaN or infinite values, such as {array[tuple(bad[0])]} at "
                        f"index {tuple(map(int, bad[0]))}; expected finite numbers. Drop these rows or impute "
                        "the values"
                    )
            if self.loss is binary_cross_entropy and known(y):
                self._check_classes(part, np.asarray(y))

    def _check_classes(self, part: str, y: np.ndarray) -> None:
        """Raise if the targets are not between 0 and 1. The cross-entropy of others has no minimum."""
        outside = y[(y < 0) | (y > 1)]
        if outside.size:
            whole = np.issubdtype(y.dtype, np.integer) and y.min() >= 0
            number = "squared_error, metrics={}"
            several = "categorical_cross_entropy, metrics={'accuracy': categorical_accuracy}"
            raise ValueError(
                f"Problem: y_{part} holds {outside[0]:g}, but the loss is binary_cross_entropy, which needs classes 0 "
                f"and 1. For other targets, pass another loss and other metrics, such as "
                f"loss={several if whole else number}"
            )

    def _repr_html_(self) -> str:
        words = {name: getattr(value, "__name__", repr(value)) for name, value in vars(self).items() if name != "model"}
        words["metrics"] = ", ".join(self.metrics) or "none"
        return card("Problem", [], [[name, value] for name, value in words.items()])

    @property
    def recorded(self) -> np.ndarray:
        """Epochs at which the learning curves are recorded. Epoch 0 means the initial weights."""
        return np.arange(0, self.epochs + 1, self.record_every)
