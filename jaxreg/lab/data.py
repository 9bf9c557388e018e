"""Datasets: arrays split into train, validation and test, for one or many draws."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

__all__ = ["Data", "parted", "splits", "standardised"]


class Data(NamedTuple):
    """Training, test and validation rows of each draw.

    A part that has weights but no rows of its own is the training rows, with weights of their own.

    Args:
        x_train: Inputs, of shape (draws, rows, …): features, steps and features, or places and channels.
        y_train: Targets, of shape (draws, rows): classes 0 and 1, or from 0 as integers, or numbers.
        x_test: Inputs to test on, of shape (draws, test rows, …), or None.
        y_test: Targets to test on, of shape (draws, test rows), or None.
        x_validation: Inputs on which a strength may be chosen, or None.
        y_validation: Targets on which a strength may be chosen, or None.
        w_train: Weight of each training row, of shape (draws, rows), 0 for one that is left out; None for 1 each.
        w_test: Weight of each test row, of shape (draws, test rows), or None.
        w_validation: Weight of each validation row, of shape (draws, validation rows), or None.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray | None
    y_test: np.ndarray | None
    x_validation: np.ndarray | None = None
    y_validation: np.ndarray | None = None
    w_train: np.ndarray | None = None
    w_test: np.ndarray | None = None
    w_validation: np.ndarray | None = None

    def __repr__(self) -> str:
        held = {name: array for name, array in self._asdict().items() if array is not None}
        shapes = [f"{name}: {getattr(array, 'shape', array)}" for name, array in held.items()]
        return f"Data({', '.join(shapes)})"

    def rows(self) -> dict[tuple[str, ...], tuple[np.ndarray, np.ndarray]]:
        """Return all inputs and targets once, by the names of the parts that they serve."""
        weights = self.weights()
        own = {"test": (self.x_test, self.y_test), "validation": (self.x_validation, self.y_validation)}
        shared = [part for part, (x, _) in own.items() if x is None and weights[part] is not None]
        rows: dict[tuple[str, ...], tuple[np.ndarray, np.ndarray]] = {("train", *shared): (self.x_train, self.y_train)}
        for part, (x, y) in own.items():
            if x is not None and y is not None:
                rows[part,] = (x, y)
        return rows

    def parts(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return inputs and targets by the name of their part: train, test and, if there are any, validation."""
        return {part: rows for parts, rows in self.rows().items() for part in parts}

    def weights(self) -> dict[str, np.ndarray | None]:
        """Return the weights of each part's rows, or None if all count alike."""
        return {"train": self.w_train, "test": self.w_test, "validation": self.w_validation}


def parted(x: np.ndarray, y: np.ndarray, train: int, validation: int) -> Data:
    """Split the rows of each draw, of shape (draws, rows, …): the first train, the next validate, the rest test."""
    split = [train, train + validation]
    (x_train, x_validation, x_test), (y_train, y_validation, y_test) = (np.split(array, split, 1) for array in (x, y))
    if not validation:
        return Data(x_train, y_train, x_test, y_test)
    return Data(x_train, y_train, x_test, y_test, x_validation, y_validation)


def splits(x: np.ndarray, y: np.ndarray, states: Iterable[int], train: int, validation: int = 0) -> Data:
    """Draw splits of given rows: each shuffles them anew; the first train, the next validate, the rest test.

    Every draw holds a copy of all rows.

    Args:
        x: Inputs, of shape (rows, …).
        y: Targets, of shape (rows,); integers stay integers.
        states: Seed of each draw, for `numpy.random.default_rng`.
        train: Training rows per draw.
        validation: Rows per draw on which a strength may be chosen.

    Raises:
        ValueError: If there is no draw, no row to train or test on, or `x` and `y` differ in rows.

    Example:
        >>> data = splits(np.zeros((10, 3)), np.arange(10), states=range(4), train=6)
        >>> data.x_train.shape, data.y_test.shape
        ((4, 6, 3), (4, 4))
    """
    states = list(states)
    if len(x) != len(y):
        raise ValueError(f"splits got {len(x)} rows of inputs and {len(y)} targets; expected as many")
    if not states or train < 1 or validation < 0 or train + validation >= len(x):
        raise ValueError(
            f"splits: {len(states)} draws of {len(x)} rows, {train} to train and {validation} to validate; expected at "
            "least 1 draw, and 1 row to train and to test"
        )
    orders = [np.random.default_rng(state).permutation(len(x)) for state in states]
    kind = np.int32 if np.issubdtype(np.asarray(y).dtype, np.integer) else np.float32
    shuffled = [np.stack([np.asarray(array)[order] for order in orders]) for array in (x, y)]
    return parted(shuffled[0].astype(np.float32), shuffled[1].astype(kind), train, validation)


def standardised(data: Data, targets: bool = False) -> Data:
    """Standardise each feature by its mean and standard deviation over the training rows of its draw.

    Validation and test rows are scaled by the training rows' figures, so that nothing of them leaks into training. A
    feature that is constant in the training rows is only centred.

    Args:
        data: Data to standardise.
        targets: Whether to standardise the targets too; their unit is then the standard deviation of the training rows.

    Example:
        >>> data = standardised(splits(np.arange(8.0)[:, None], np.zeros(8), states=[0], train=4))
        >>> print(data.x_train.mean(), data.x_train.std())
        0.0 1.0
    """
    x_mean, x_scale = _figures(data.x_train)
    y_mean, y_scale = _figures(data.y_train) if targets else (0, 1)
    changes = {}
    for part, (x, y) in data.parts().items():
        changes[f"x_{part}"] = ((x - x_mean) / x_scale).astype(np.float32)
        changes[f"y_{part}"] = ((y - y_mean) / y_scale).astype(np.float32) if targets else y
    return data._replace(**changes)


def _figures(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # Of each draw and feature; in double precision, so that a large constant has deviation 0.
    mean, scale = (np.asarray(f(rows, axis=1, keepdims=True, dtype=np.float64)) for f in (np.mean, np.std))
    return mean, np.where(scale > 0, scale, 1)
