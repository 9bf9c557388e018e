"""The laboratory: thousands of trainings as lanes of one compiled program, kept on disk as labelled arrays."""

from jaxreg.lab.data import Data, moons, tutorial_moons
from jaxreg.lab.fit import Problem, Recipe, binary_accuracy, binary_cross_entropy, fit
from jaxreg.lab.labelled import Labelled
from jaxreg.lab.models import MLP, Model, linen
from jaxreg.lab.record import open_study
from jaxreg.lab.results import open_store
from jaxreg.lab.study import Arm, Size, Study, run_study
from jaxreg.lab.sweep import sweep

__all__ = [
    "MLP",
    "Arm",
    "Data",
    "Labelled",
    "Model",
    "Problem",
    "Recipe",
    "Size",
    "Study",
    "binary_accuracy",
    "binary_cross_entropy",
    "fit",
    "linen",
    "moons",
    "open_store",
    "open_study",
    "run_study",
    "sweep",
    "tutorial_moons",
]
