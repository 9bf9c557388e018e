"""Data sets, split into training, validation and test rows. A draw is one random split or sample of the data."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Data", "parted", "splits", "standardised"]


class Data(NamedTuple):
    """Training, validation and test rows of several random draws. The first axis of each array counts the draws.

    A draw is one random split or sample of the data.

    Each row can have a weight for the means of losses and metrics. All parts can then share the same rows, for example
    in a cross-validation: the rows of a fold get the weight 0 in the training, and all others the weight 0 in the test.
    To test on the rows in `x_train`, set `x_test` and `y_test` to None, and pass `w_test` with one weight per training
    row. To validate on these rows, set `x_validation` and `y_validation` to None, and pass `w_validation`.

    Args:
        x_train: Inputs, of shape (draws, rows, …). The remaining axes are (features), (steps, features) or
            (height, width, channels).
        y_train: Targets, of shape (draws, rows). Targets are numbers, or classes 0, 1, 2, ….
        x_test: Inputs to test on, of shape (draws, test rows, …), or None.
        y_test: Targets to test on, of shape (draws, test rows), or None.
        x_validation: Inputs for the choice of a strength, or None. They have the shape (draws, validation rows, …).
        y_validation: Targets for the choice of a strength, or None. They have the shape (draws, validation rows).
        w_train: Weight of each training row, of shape (draws, rows). A row of weight 0 is ignored. None means equal
            weights.
        w_test: Weight of each test row, of shape (draws, test rows). None means equal weights.
        w_validation: Weight of each validation row, of shape (draws, validation rows). None means equal weights.
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
        """Return a dict from a tuple of part names, such as ("train",), to the inputs and targets of these parts.

        The parts are "train", "test" and "validation". A part without rows has no key. Usually, each part has its own
        rows and its own key. A part that reuses the training rows shares the key of the training rows. For example, the
        key is ("train", "test") if `x_test` is None and `w_test` is given. The arrays contain all draws.
        """
        weights = self.weights()
        own = {"test": (self.x_test, self.y_test), "validation": (self.x_validation, self.y_validation)}
        shared = [part for part, (x, _) in own.items() if x is None and weights[part] is not None]
        rows: dict[tuple[str, ...], tuple[np.ndarray, np.ndarray]] = {("train", *shared): (self.x_train, self.y_train)}
        for part, (x, y) in own.items():
            if x is not None and y is not None:
                rows[part,] = (x, y)
        return rows

    def parts(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return a dict from the name of each part to its inputs and targets, for all draws.

        The names are "train", "test" and "validation". A part without rows has no entry.
        """
        return {part: rows for parts, rows in self.rows().items() for part in parts}

    def weights(self) -> dict[str, np.ndarray | None]:
        """Return a dict from "train", "test" and "validation" to the weights of the rows. None means equal weights."""
        return {"train": self.w_train, "test": self.w_test, "validation": self.w_validation}


def parted(x: np.ndarray, y: np.ndarray, train: int, validation: int) -> Data:
    """Split rows without shuffling: first the training rows, then the validation rows, then the test rows.

    Args:
        x: Inputs, of shape (draws, rows, …).
        y: Targets, of shape (draws, rows).
        train: Number of training rows per draw.
        validation: Number of validation rows per draw. All remaining rows are test rows.
    """
    split = [train, train + validation]
    (x_train, x_validation, x_test), (y_train, y_validation, y_test) = (np.split(array, split, 1) for array in (x, y))
    if not validation:
        return Data(x_train, y_train, x_test, y_test)
    return Data(x_train, y_train, x_test, y_test, x_validation, y_validation)


def splits(x: np.ndarray, y: np.ndarray, states: Iterable[int], train: int, validation: int = 0) -> Data:
    """Split a data set at random into training, validation and test rows: one split (draw) per seed in `states`.

    Each draw shuffles a copy of all rows. Its first `train` rows are for training, the next `validation` rows are for
    validation, and all remaining rows are for the test.

    Args:
        x: Inputs, of shape (rows, …).
        y: Targets, of shape (rows,); integers stay integers.
        states: Seeds, one per draw, for `numpy.random.default_rng`.
        train: Number of training rows per draw.
        validation: Number of validation rows per draw, for the choice of a strength. All remaining rows are test rows.

    Raises:
        ValueError: If `states` is empty, no row is left for the training or the test, or `x` and `y` have different
            numbers of rows.

    Example:
        >>> data = splits(np.zeros((10, 3)), np.arange(10), states=range(4), train=6)
        >>> data.x_train.shape, data.y_test.shape
        ((4, 6, 3), (4, 4))
    """
    states = list(states)
    if len(x) != len(y):
        raise ValueError(f"`splits`: `x` has {len(x)} rows and `y` has {len(y)}; expected one target per row of `x`")
    check_sizes("splits", states, {"train": train}, {"validation": validation})
    if train + validation >= len(x):
        raise ValueError(
            f"`splits`: train + validation is {train + validation}, and `x` has {len(x)} rows; expected at least 1 row "
            "that remains for the test"
        )
    orders = [np.random.default_rng(state).permutation(len(x)) for state in states]
    kind = np.int32 if np.issubdtype(np.asarray(y).dtype, np.integer) else np.float32
    shuffled = [np.stack([np.asarray(array)[order] for order in orders]) for array in (x, y)]
    return parted(shuffled[0].astype(np.float32), shuffled[1].astype(kind), train, validation)


def check_sizes(
    function: str, states: Sequence[int], positive: Mapping[str, float], non_negative: Mapping[str, float]
) -> None:
    """Raise if there is no seed, or an argument of a function that draws data is too small.

    Args:
        function: Name of the function, for the error.
        states: Seeds, one per draw.
        positive: Dict from the name to the value of each argument that must be at least 1.
        non_negative: Dict from the name to the value of each argument that must be at least 0.
    """
    if not states:
        raise ValueError(f"`{function}`: `states` is empty; expected at least one seed")
    for least, arguments in ((1, positive), (0, non_negative)):
        for name, value in arguments.items():
            if not value >= least:
                raise ValueError(f"`{function}`: {name} is {value}; expected a number of at least {least}")


def standardised(data: Data, targets: bool = False) -> Data:
    """Standardise the features of each draw by the mean and standard deviation of its training rows.

    The mean and standard deviation of the training rows also standardise the validation and test rows. So the training
    gets no information about the validation and test rows. A feature that is constant in the training rows is only
    centred.

    Args:
        data: Data to standardise.
        targets: True to standardise the targets too, by their mean and standard deviation on the training rows.

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
    # Mean and deviation per draw and feature. In double precision, so that a large constant has deviation 0.
    mean, scale = (np.asarray(f(rows, axis=1, keepdims=True, dtype=np.float64)) for f in (np.mean, np.std))
    return mean, np.where(scale > 0, scale, 1)
