"""Types of prediction problems, such as binary classification, with their losses and metrics."""

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
    """Type of prediction problem, such as binary classification, with its loss and metrics.

    Args:
        loss: Function that is minimised.
        metrics: Further functions that are reported next to the loss: name -> function.
        words: Name of the loss in the text of a report, such as "cross-entropy".
        unit: Unit of the loss, such as "nats"; empty if it has none.
        classes: True if the targets are classes, False if they are numbers.

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
        """Name of the task in files and on the command line."""
        return "classification" if self.classes else "regression"


BINARY = Task(binary_cross_entropy, {"accuracy": binary_accuracy}, "cross-entropy", "nats", classes=True)
"""Binary classification: classes 0 and 1, predicted by one logit."""

CLASSES = Task(categorical_cross_entropy, {"accuracy": categorical_accuracy}, "cross-entropy", "nats", classes=True)
"""Classification: two or more classes, which are integers from 0. The network has one logit per class."""

NUMBERS = Task(squared_error, {"rmse": root_mean_squared_error}, "squared error", "", classes=False)
"""Regression: the target of a row is one or more numbers. The network has one output for each of them."""
