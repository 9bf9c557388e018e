"""How people speak of what a sweep stores: in which words, with which unit, to how many digits."""

from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

import xarray as xr

_PARTS = ("train", "test", "validation")
_CURVES = {"penalty", "violation", "diverged_at"}


class Quantity(NamedTuple):
    """What a number is.

    Args:
        words: Its name.
        unit: That of a difference; empty if it has none.
        form: How a difference is shown, as `format` takes it.
        times: What a difference is multiplied with first.
    """

    words: str
    unit: str = ""
    form: str = "+.3f"
    times: float = 1

    @property
    def label(self) -> str:
        """For an axis: the name with the unit of a value, which for shares is none."""
        return f"{self.words} ({self.unit})" if self.unit and self.times == 1 else self.words


_METRICS = {
    "accuracy": Quantity("accuracy", "points", "+.2f", 100),
    "equal_error_rate": Quantity("equal error rate", "points", "+.2f", 100),
    "rmse": Quantity("RMSE"),
}


def quantity(dataset: xr.Dataset, variable: str) -> Quantity:
    """What a variable of a training sweep is.

    Args:
        dataset: The sweep; its attributes `loss` and `unit`, if it has them, say what its losses are.
        variable: Such as "test_accuracy", "norm/hidden/kernel", or the name of an output of the user's own.

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
        return Quantity(f"‖{variable.removeprefix('norm/')}‖", form="+.2f")
    return Quantity(variable.replace("_", " "), form="+.3g")


def measured(dataset: Mapping[Hashable, Any]) -> list[str]:
    """What was measured on train and test rows: the metrics, then the loss.

    Example:
        >>> measured(xr.Dataset({"test_loss": 1.0, "train_loss": 1.0, "test_accuracy": 1.0, "train_accuracy": 1.0}))
        ['accuracy', 'loss']
    """
    names = [str(name).removeprefix("test_") for name in dataset if str(name).startswith("test_")]
    return sorted((name for name in names if f"train_{name}" in dataset), key="loss".__eq__)


def outputs(dataset: xr.Dataset) -> list[str]:
    """The numbers a lane beside its curves: what a study computes of the final weights.

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
        and set(values.dims) <= {"recipe", "seed", "draw"}
    ]
