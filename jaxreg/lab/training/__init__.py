"""Training: the `Problem` that all runs share, the `Recipe` that a sweep varies, and the training loop."""

from jaxreg.lab.training.loop import State, advance, begin, fit
from jaxreg.lab.training.metrics import (
    Measure,
    binary_accuracy,
    binary_cross_entropy,
    categorical_accuracy,
    categorical_cross_entropy,
    equal_error_rate,
    root_mean_squared_error,
    squared_error,
)
from jaxreg.lab.training.problem import Problem
from jaxreg.lab.training.recipe import Recipe
from jaxreg.lab.training.tasks import BINARY, CLASSES, NUMBERS, Task

__all__ = [
    "BINARY",
    "CLASSES",
    "NUMBERS",
    "Measure",
    "Problem",
    "Recipe",
    "State",
    "Task",
    "advance",
    "begin",
    "binary_accuracy",
    "binary_cross_entropy",
    "categorical_accuracy",
    "categorical_cross_entropy",
    "equal_error_rate",
    "fit",
    "root_mean_squared_error",
    "squared_error",
]
