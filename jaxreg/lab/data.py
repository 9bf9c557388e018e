"""What it is trained on: arrays split into train and test, for one or many draws of the data."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from sklearn.datasets import make_moons


class Data(NamedTuple):
    """Training and test rows of each draw.

    Args:
        x_train: Inputs, of shape (draws, rows, features).
        y_train: Targets, of shape (draws, rows).
        x_test: Inputs to test on, of shape (draws, test rows, features).
        y_test: Targets to test on, of shape (draws, test rows).
        x_validation: Inputs on which a strength may be chosen, or None.
        y_validation: Targets on which a strength may be chosen, or None.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    x_validation: np.ndarray | None = None
    y_validation: np.ndarray | None = None

    def parts(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Inputs and targets by what they are for: train, test and, if there are any, validation."""
        parts = {"train": (self.x_train, self.y_train), "test": (self.x_test, self.y_test)}
        if self.x_validation is not None and self.y_validation is not None:
            parts["validation"] = (self.x_validation, self.y_validation)
        return parts


def moons(states: Iterable[int], train: int = 30, test: int = 4000, validation: int = 0, noise: float = 0.2) -> Data:
    """Draws of scikit-learn's two moons; the first rows of each draw train, the next validate, the rest test.

    Args:
        states: The `random_state` of each draw.
        train: Training rows a draw.
        test: Test rows a draw.
        validation: Rows a draw on which a strength may be chosen.
        noise: Standard deviation of the noise.

    Raises:
        ValueError: If there is no draw, or no row to train or test on.

    Example:
        >>> moons(range(2), test=70).x_test.shape
        (2, 70, 2)
    """
    states = list(states)
    if not states or train < 1 or test < 1 or validation < 0:
        raise ValueError(
            f"moons: {len(states)} draws of {train} rows to train, {validation} to validate, {test} to test; "
            "expected at least 1 draw and 1 row to train and to test"
        )
    draws = [make_moons(n_samples=train + validation + test, noise=noise, random_state=state) for state in states]
    x = np.stack([points for points, _ in draws]).astype(np.float32)
    y = np.stack([labels for _, labels in draws]).astype(np.float32)
    split = [train, train + validation]
    (x_train, x_validation, x_test), (y_train, y_validation, y_test) = (np.split(array, split, 1) for array in (x, y))
    if not validation:
        return Data(x_train, y_train, x_test, y_test)
    return Data(x_train, y_train, x_test, y_test, x_validation, y_validation)


def tutorial_moons() -> Data:
    """The tutorials' data, one draw: 100 moons with noise 0.2 and random state 1, 30 to train and 70 to test."""
    return moons([1], train=30, test=70)
