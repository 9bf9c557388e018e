"""Kinds of problems: the loss, the metrics beside it, and how people speak of the loss."""

from collections.abc import Mapping
from typing import NamedTuple

from jaxreg.lab.training.metrics import (
    Measure,
    binary_accuracy,
    binary_cross_entropy,
    categorical_accuracy,
    categorical_cross_entropy,
    root_mean_squared_error,
    squared_error,
)


class Task(NamedTuple):
    """A kind of problem.

    Args:
        loss: Measure that is minimised.
        metrics: Name -> measure that is reported beside it.
        words: Name of the loss in a sentence.
        unit: Unit of the loss; empty if it has none.
        classes: Whether the targets are classes; they are numbers otherwise.

    Example:
        >>> from jaxreg.lab import BINARY, equal_error_rate
        >>> list(BINARY._replace(metrics=BINARY.metrics | {"equal_error_rate": equal_error_rate}).metrics)
        ['accuracy', 'equal_error_rate']
    """

    loss: Measure
    metrics: Mapping[str, Measure]
    words: str
    unit: str
    classes: bool

    @property
    def name(self) -> str:
        """The name in files and on the command line."""
        return "classification" if self.classes else "regression"


BINARY = Task(binary_cross_entropy, {"accuracy": binary_accuracy}, "cross-entropy", "nats", classes=True)
"""Two classes, 0 and 1, predicted by one logit."""

CLASSES = Task(categorical_cross_entropy, {"accuracy": categorical_accuracy}, "cross-entropy", "nats", classes=True)
"""Two classes or more, integers from 0, predicted by one logit each."""

NUMBERS = Task(squared_error, {"rmse": root_mean_squared_error}, "squared error", "", classes=False)
"""Numbers: regression."""
