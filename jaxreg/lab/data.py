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
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def moons(states: Iterable[int], train: int = 30, test: int = 4000, noise: float = 0.2) -> Data:
    """Draws of scikit-learn's two moons; the first rows of each draw train, the rest test.

    Args:
        states: The `random_state` of each draw.
        train: Training rows a draw.
        test: Test rows a draw.
        noise: Standard deviation of the noise.

    Raises:
        ValueError: If there is no draw, or no row to train or test on.

    Example:
        >>> moons(range(2), test=70).x_test.shape
        (2, 70, 2)
    """
    states = list(states)
    if not states or train < 1 or test < 1:
        raise ValueError(f"moons: {len(states)} draws of {train} + {test} rows; expected at least 1 of each")
    draws = [make_moons(n_samples=train + test, noise=noise, random_state=state) for state in states]
    x = np.stack([points for points, _ in draws]).astype(np.float32)
    y = np.stack([labels for _, labels in draws]).astype(np.float32)
    return Data(x[:, :train], y[:, :train], x[:, train:], y[:, train:])


def tutorial_moons() -> Data:
    """The tutorials' data, one draw: 100 moons with noise 0.2 and random state 1, 30 to train and 70 to test."""
    return moons([1], train=30, test=70)
