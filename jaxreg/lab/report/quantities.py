"""Names, units and number formats for the variables of a sweep."""

from typing import NamedTuple

import xarray as xr

from jaxreg.lab.stats.directions import lower_is_better
from jaxreg.lab.stats.lanes import OVER

_PARTS = ("train", "test", "validation")
_CURVES = {"penalty", "violation", "diverged_at"}


class Quantity(NamedTuple):
    """The displayed name, the unit and the number formats of a variable of a training sweep.

    Args:
        words: Display name.
        unit: Unit of a difference; empty for a difference without a unit.
        form: Format specification of a difference, as for `format`.
        times: Factor by which values and differences are multiplied before they are shown.
        level: Format specification of a value, as for `format`.
    """

    words: str
    unit: str = ""
    form: str = "+.3f"
    times: float = 1
    level: str = ".3f"

    @property
    def label(self) -> str:
        """Display name with the unit in brackets, such as "accuracy (%)"."""
        unit = "%" if self.times == 100 else self.unit
        return f"{self.words} ({unit})" if unit else self.words


_METRICS = {
    "accuracy": Quantity("accuracy", "points", "+.2f", 100, ".1f"),
    "equal_error_rate": Quantity("equal error rate", "points", "+.2f", 100, ".1f"),
    "rmse": Quantity("RMSE"),
}


def quantity(dataset: xr.Dataset, variable: str) -> Quantity:
    """Return the display name, unit and number formats of a variable of a training sweep.

    Args:
        dataset: The sweep. Its optional attributes `loss` and `unit` are the display name and the unit of its losses.
        variable: Name of the variable, such as "test_accuracy", "norm/hidden/kernel" or the name of the user's output.

    Example:
        >>> quantity(xr.Dataset(attrs={"loss": "cross-entropy", "unit": "nats"}), "test_loss").label
        'cross-entropy (nats)'
        >>> quantity(xr.Dataset(), "smallest_norm").words
        'smallest norm'
    """
    part, _, name = variable.partition("_")
    if part in _PARTS and name == "loss":
        return Quantity(dataset.attrs.get("loss", "loss"), dataset.attrs.get("unit", ""))
    if part in _PARTS:
        return _METRICS.get(name, Quantity(name.replace("_", " ")))
    if variable.startswith("norm/"):
        return Quantity(f"‖{variable.removeprefix('norm/')}‖", form="+.2f", level=".2f")
    return Quantity(variable.replace("_", " "), form="+.3g", level=".3g")


def per_run(values: xr.DataArray) -> bool:
    """Return whether a variable has one number per run or per epoch, and not an array such as one number per class.

    Example:
        >>> per_run(xr.DataArray([[0.1, 0.2]], dims=("seed", "epoch")))
        True
        >>> per_run(xr.DataArray([[0.1, 0.2]], dims=("seed", "class")))
        False
    """
    return set(values.dims) <= {"recipe", "epoch", *OVER}


def measured(dataset: xr.Dataset) -> list[str]:
    """Return the names of all metrics that were computed on test rows, the loss last.

    Two kinds of metrics are left out:

    - metrics with a further dimension, such as one number per class
    - metrics that were not computed on training rows, if their name does not show whether lower values are better. The
      name "accuracy" shows it.

    Example:
        >>> measured(xr.Dataset({"test_loss": 1.0, "train_loss": 1.0, "test_accuracy": 1.0, "train_accuracy": 1.0}))
        ['accuracy', 'loss']
    """
    tested = [name for name, values in dataset.items() if str(name).startswith("test_") and per_run(values)]
    names = [str(name).removeprefix("test_") for name in tested]
    known = [name for name in names if f"train_{name}" in dataset or lower_is_better(name) is not None]
    return sorted(known, key="loss".__eq__)


def outputs(dataset: xr.Dataset) -> list[str]:
    """Return the names of the numbers that a study computes from the final weights of each run.

    Example:
        >>> lanes = xr.Dataset({"test_loss": ("seed", [1.0]), "smallest_norm": ("seed", [0.5])})
        >>> outputs(lanes)
        ['smallest_norm']
    """
    return [
        str(name)
        for name, values in dataset.items()
        if name not in _CURVES
        and str(name).partition("_")[0] not in _PARTS
        and "/" not in str(name)
        and set(values.dims) <= {"recipe", *OVER}
    ]
