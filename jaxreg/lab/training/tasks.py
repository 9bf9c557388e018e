"""What is to be learnt: the loss, the metrics beside it, and how people speak of the loss."""

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
        loss: What is minimised.
        metrics: Name -> what is measured beside it.
        words: What the loss is called.
        unit: That of the loss; empty if it has none.

    Example:
        >>> from jaxreg.lab import BINARY, equal_error_rate
        >>> list(BINARY._replace(metrics=BINARY.metrics | {"equal_error_rate": equal_error_rate}).metrics)
        ['accuracy', 'equal_error_rate']
    """

    loss: Measure
    metrics: Mapping[str, Measure]
    words: str
    unit: str


BINARY = Task(binary_cross_entropy, {"accuracy": binary_accuracy}, "cross-entropy", "nats")
"""Two classes, 0 and 1, told from one logit."""

CLASSES = Task(categorical_cross_entropy, {"accuracy": categorical_accuracy}, "cross-entropy", "nats")
"""Two classes or more, integers from 0, told from one logit each."""

NUMBERS = Task(squared_error, {"rmse": root_mean_squared_error}, "squared error", "")
"""Numbers: regression."""
