"""The laboratory: thousands of trainings as lanes of one compiled program, kept on disk as labelled arrays."""

from typing import TYPE_CHECKING, Any

from jaxreg.lab.data import Data, moons, splits, standardised, tutorial_moons
from jaxreg.lab.datasets import breast_cancer, diabetes, digits, digits_by_row, openml, sunspots, windows
from jaxreg.lab.fit import fit
from jaxreg.lab.labelled import Labelled
from jaxreg.lab.metrics import (
    binary_accuracy,
    binary_cross_entropy,
    categorical_accuracy,
    categorical_cross_entropy,
    equal_error_rate,
    root_mean_squared_error,
    squared_error,
)
from jaxreg.lab.models import CNN, GRU, LSTM, MLP, Model, equinox, linen, nnx
from jaxreg.lab.problem import Problem, Recipe
from jaxreg.lab.record import Claim, open_study
from jaxreg.lab.results import open_store
from jaxreg.lab.running import run_study
from jaxreg.lab.study import Arm, Size, Study
from jaxreg.lab.sweep import sweep
from jaxreg.lab.tasks import BINARY, CLASSES, NUMBERS, Task

if TYPE_CHECKING:
    from jaxreg.lab.estimators import RegularizedMLPClassifier, RegularizedMLPRegressor

__all__ = [
    "BINARY",
    "CLASSES",
    "CNN",
    "GRU",
    "LSTM",
    "MLP",
    "NUMBERS",
    "Arm",
    "Claim",
    "Data",
    "Labelled",
    "Model",
    "Problem",
    "Recipe",
    "RegularizedMLPClassifier",
    "RegularizedMLPRegressor",
    "Size",
    "Study",
    "Task",
    "binary_accuracy",
    "binary_cross_entropy",
    "breast_cancer",
    "categorical_accuracy",
    "categorical_cross_entropy",
    "diabetes",
    "digits",
    "digits_by_row",
    "equal_error_rate",
    "equinox",
    "fit",
    "linen",
    "moons",
    "nnx",
    "open_store",
    "open_study",
    "openml",
    "root_mean_squared_error",
    "run_study",
    "splits",
    "squared_error",
    "standardised",
    "sunspots",
    "sweep",
    "tutorial_moons",
    "windows",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from jaxreg.lab import estimators  # when asked for: scikit-learn takes longer to import than all else together

    return getattr(estimators, name)
