"""Data sets: scikit-learn's small ones, the yearly sunspot numbers, and all data sets of OpenML."""

import warnings
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from urllib.error import HTTPError

import numpy as np

from jaxreg.lab.data import Data, check_sizes, parted, splits, standardised

__all__ = [
    "breast_cancer",
    "diabetes",
    "digits",
    "digits_by_row",
    "moons",
    "openml",
    "sunspots",
    "tutorial_moons",
    "windows",
    "yearly_sunspots",
]


def moons(states: Iterable[int], train: int = 30, test: int = 4000, validation: int = 0, noise: float = 0.2) -> Data:
    """Generate scikit-learn's two moons, divided into training, validation and test rows.

    Each draw is a new random sample of points.

    Args:
        states: Seeds, one per draw, for the argument `random_state` of scikit-learn's `make_moons`.
        train: Number of training rows per draw.
        test: Number of test rows per draw.
        validation: Number of validation rows per draw, for the choice of a strength.
        noise: Standard deviation of the noise that is added to the points.

    Returns:
        Inputs of shape (draws, rows, 2), and targets 0 and 1 as floats.

    Raises:
        ValueError: If `states` is empty, there are no training rows or no test rows, or the noise is negative.

    Example:
        >>> moons(range(2), test=70).x_test.shape
        (2, 70, 2)
    """
    states = list(states)
    check_sizes("moons", states, {"train": train, "test": test}, {"validation": validation, "noise": noise})
    draws = [_moons(train + validation + test, noise, state) for state in states]
    x = np.stack([points for points, _ in draws]).astype(np.float32)
    y = np.stack([labels for _, labels in draws]).astype(np.float32)
    return parted(x, y, train, validation)


def _moons(rows: int, noise: float, state: int) -> tuple[np.ndarray, np.ndarray]:
    # The numbers of `sklearn.datasets.make_moons`, without the second that the import of scikit-learn takes.
    random = np.random.RandomState(state)
    outer, inner = (np.linspace(0, np.pi, half) for half in (rows // 2, rows - rows // 2))
    points = np.concatenate(
        [np.stack([np.cos(outer), np.sin(outer)], 1), np.stack([1 - np.cos(inner), 1 - np.sin(inner) - 0.5], 1)]
    )
    order = random.permutation(rows)
    return points[order] + random.normal(scale=noise, size=points.shape), (order >= rows // 2).astype(np.int64)


def tutorial_moons() -> Data:
    """Return the data of the tutorials: two moons with noise 0.2, random state 1, 30 training and 70 test points.

    The data has a single draw, so the training inputs have shape (1, 30, 2).
    """
    return moons([1], train=30, test=70)


def digits(states: Iterable[int], train: int = 1000, validation: int = 0) -> Data:
    """Load scikit-learn's digits: 1797 images of 8 by 8 grey values from 0 to 1, in ten classes.

    Each draw is a new random split of the images into training, validation and test rows.

    Args:
        states: Seeds, one per draw, for `numpy.random.default_rng`. The seed decides how the images are split.
        train: Number of training rows per draw.
        validation: Number of validation rows per draw, for the choice of a strength. All remaining rows are test rows.

    Returns:
        Inputs of shape (draws, rows, 8, 8, 1) and integer targets. A draw takes about 0.5 MB of memory.

    Example:
        >>> digits(range(2), train=100).x_test.shape
        (2, 1697, 8, 8, 1)
    """
    from sklearn.datasets import load_digits

    pictures = load_digits()
    return splits(pictures.images[..., None] / 16, pictures.target, states, train, validation)


def digits_by_row(states: Iterable[int], train: int = 1000, validation: int = 0) -> Data:
    """Load the images of `digits` as sequences of 8 steps. Each step is one row of 8 pixels.

    Each draw is a new random split of the images into training, validation and test rows.

    Args:
        states: Seeds, one per draw, for `numpy.random.default_rng`. The seed decides how the images are split.
        train: Number of training rows per draw.
        validation: Number of validation rows per draw, for the choice of a strength. All remaining rows are test rows.

    Returns:
        Inputs of shape (draws, rows, 8, 8) and integer targets. Each image is one row of the data.
    """
    data = digits(states, train, validation)
    return data._replace(**{f"x_{part}": x[..., 0] for part, (x, _) in data.parts().items()})


def breast_cancer(states: Iterable[int], train: int = 300, validation: int = 0) -> Data:
    """Load scikit-learn's breast cancer data: 569 tumours with 30 standardised features. Class 1 is benign.

    Each draw is a new random split of the tumours into training, validation and test rows. The features are
    standardised by the mean and the standard deviation of the training rows.

    Args:
        states: Seeds, one per draw, for `numpy.random.default_rng`. The seed decides how the tumours are split.
        train: Number of training rows per draw.
        validation: Number of validation rows per draw, for the choice of a strength. All remaining rows are test rows.

    Returns:
        Inputs of shape (draws, rows, 30), and targets 0 and 1 as floats.
    """
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    return standardised(splits(x, y.astype(np.float32), states, train, validation))


def diabetes(states: Iterable[int], train: int = 250, validation: int = 0) -> Data:
    """Load scikit-learn's diabetes data: 10 features of 442 patients, to predict disease progression after a year.

    Inputs and targets are standardised: an error of 1 is one standard deviation of the progression on the training
    rows. Each draw is a new random split of the patients into training, validation and test rows.

    Args:
        states: Seeds, one per draw, for `numpy.random.default_rng`. The seed decides how the patients are split.
        train: Number of training rows per draw.
        validation: Number of validation rows per draw, for the choice of a strength. All remaining rows are test rows.

    Returns:
        Inputs of shape (draws, rows, 10), and targets as floats.
    """
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True, scaled=False)
    return standardised(splits(x, y, states, train, validation), targets=True)


def windows(series: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut a series into overlapping windows of `length` values. The target of a window is the value after it.

    The windows have shape (windows, length, 1). The targets have shape (windows,).

    Args:
        series: Equally spaced values, of shape (steps,).
        length: Number of steps per window.

    Raises:
        ValueError: If the series is not one-dimensional, or not longer than a window, or if `length` is below 1.

    Example:
        >>> x, y = windows(np.array([1.0, 2.0, 3.0, 4.0]), length=2)
        >>> x[..., 0].tolist(), y.tolist()
        ([[1.0, 2.0], [2.0, 3.0]], [3.0, 4.0])
    """
    if series.ndim != 1 or not 1 <= length < len(series):
        raise ValueError(
            f"`windows`: length is {length} and the series has shape {series.shape}; expected a one-dimensional "
            "series that is longer than `length`, and a `length` of at least 1"
        )
    return np.lib.stride_tricks.sliding_window_view(series, length)[:-1, :, None], series[length:]


def yearly_sunspots() -> tuple[np.ndarray, np.ndarray]:
    """Return the years from 1700 to 2008 and the mean sunspot number of each year.

    Reference:
        National Geophysical Data Center (NOAA), public domain. The copy is that of statsmodels.
    """
    with files("jaxreg.lab").joinpath("sunspots.csv").open() as file:
        years, numbers = np.loadtxt(file, delimiter=",", skiprows=3, unpack=True)
    return years.astype(int), numbers


def sunspots(states: Iterable[int], length: int = 20, train: int = 160, test: int = 80, validation: int = 0) -> Data:
    """Load windows of yearly sunspot numbers, to predict each year from the `length` years before it.

    A draw is a random span of years. The first years of the span are for training, the next years for validation and
    the last years for testing. So the model never learns from the future. The numbers are standardised by the mean and
    the standard deviation of the training years.

    Args:
        states: Seeds, one per draw, for `numpy.random.default_rng`. The seed decides in which year the span starts.
        length: Number of years per window.
        train: Number of training windows per draw.
        test: Number of test windows per draw.
        validation: Number of validation windows per draw, for the choice of a strength.

    Returns:
        Inputs of shape (draws, windows, length, 1), and targets as floats.

    Raises:
        ValueError: If `states` is empty, a number is too small, or the span is longer than the record.

    Example:
        >>> data = sunspots(range(3))
        >>> data.x_train.shape, data.y_test.shape
        ((3, 160, 20, 1), (3, 80))
    """
    states, numbers = list(states), yearly_sunspots()[1]
    span = length + train + validation + test
    check_sizes("sunspots", states, {"length": length, "train": train, "test": test}, {"validation": validation})
    if span > len(numbers):
        raise ValueError(
            f"`sunspots`: length + train + validation + test is {span} years; expected at most {len(numbers)}, the "
            "number of years in the record"
        )
    parts = []
    for state in states:
        start = np.random.default_rng(state).integers(len(numbers) - span + 1)
        years = numbers[start : start + span]
        known = years[: length + train]
        parts.append(windows((years - known.mean()) / known.std(), length))
    x, y = (np.stack(arrays).astype(np.float32) for arrays in zip(*parts, strict=True))
    return parted(x, y, train, validation)


def openml(data_id: int, folder: str | Path | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Load the inputs and targets of a data set from openml.org.

    Classes become integers from 0, in the order of their names. The values of a categorical feature become integers
    from 0, in the order in which the data set lists them. Missing values become NaN. A data set is downloaded once and
    then read from `folder`.

    Args:
        data_id: Number of the data set on openml.org. Each version of a data set has its own number.
        folder: Folder for downloaded data sets; scikit-learn's data folder if None.

    Returns:
        Inputs and targets. The inputs are float32, of shape (rows, features). The targets have shape (rows,). Classes
        are int32, and numbers are float32.

    Raises:
        ConnectionError: If the data set is not in the folder and openml.org cannot be reached.
        ValueError: If the data set does not exist, has no single target, or has sparse inputs.
    """
    from sklearn.datasets import fetch_openml

    home = None if folder is None else str(folder)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "A network error occurred")  # the exception says the same
            found = fetch_openml(data_id=data_id, data_home=home, as_frame=False, parser="liac-arff", n_retries=1)
    except HTTPError:
        raise
    except OSError as error:
        raise ConnectionError(
            f"OpenML's data set {data_id} is not in {folder or 'the data folder of scikit-learn'}, and openml.org "
            f"could not be reached ({error}). Download the data set on a machine with network access and copy its "
            "folder, or use a data set that needs no download: digits, breast_cancer, diabetes or sunspots"
        ) from None
    x, y = found.data, found.target
    if not isinstance(x, np.ndarray) or y is None or y.ndim != 1:
        fault = "not exactly one target" if isinstance(x, np.ndarray) else "sparse inputs"
        raise ValueError(f"OpenML's data set {data_id} has {fault}; expected a dense table with exactly one target")
    if y.dtype == object:
        return x.astype(np.float32), np.unique(y.astype(str), return_inverse=True)[1].astype(np.int32)
    return x.astype(np.float32), y.astype(np.float32)
