"""The common part of all headline experiments: train or read stored results, save them as one file, and print them.

An interrupted experiment continues from the stores of its sweeps. This needs the same machine and versions as before.
The final file is a labelled dataset that any netCDF reader opens. The same command prints it and draws its picture on
any machine, without training.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import jax
import numpy as np
import xarray as xr
from matplotlib import rc_context
from matplotlib.figure import Figure
from scipy.stats import nct, norm, t

from jaxreg.lab.plots.theme import style
from jaxreg.lab.stats.intervals import mean_interval
from jaxreg.lab.sweeps.compilation import keep_compiled

FILE = "found.nc"
RESAMPLES = 2000


def headline(
    parser: argparse.ArgumentParser,
    name: str,
    train: Callable[[argparse.Namespace], xr.Dataset],
    tell: Callable[[xr.Dataset], Figure],
    arguments: Sequence[str] | None = None,
) -> None:
    """Run one headline experiment from its command line.

    Args:
        parser: Parser with the options that change the size of the experiment. `--out` and `--read` are added to it.
        name: Name of the experiment and of its folder under `results`.
        train: Function that takes the options, trains, and returns the results. It stores its sweeps in `out`.
        tell: Function that takes the results as read from the file, prints them, and returns a picture.
        arguments: Arguments of the command line; those of the process if None.

    Raises:
        SystemExit: With code 2 and a message, if the dataset to read does not exist or the folder is a file.
    """
    parser.add_argument("--out", type=Path, default=Path("results") / name, help="folder for the results")
    parser.add_argument("--read", type=Path, help="stored dataset to print and to draw, without training")
    asked = parser.parse_args(arguments)
    known = _read(parser, name, asked.read) if asked.read else None
    try:
        asked.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out: {error}; expected a folder")
    if known is None:
        keep_compiled()
        temporary = asked.out / f".{FILE}.{os.getpid()}"
        size = {option: value for option, value in vars(asked).items() if option not in ("out", "read")}
        found = train(asked).assign_attrs(experiment=name, size=str(size), jax=jax.__version__)
        found.to_netcdf(temporary, engine="scipy")
        os.replace(temporary, asked.out / FILE)
        known = xr.load_dataset(asked.out / FILE, engine="scipy")
    try:
        with style(), rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
            tell(known).savefig(asked.out / f"{name}.svg", metadata={"Date": None, "Creator": None})
        print(f"picture: {asked.out / name}.svg")
        if not asked.read:
            print(f"dataset: {asked.out / FILE}; {time.process_time():.0f} s of processor time in this run")
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output, such as head, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _read(parser: argparse.ArgumentParser, name: str, file: Path) -> xr.Dataset:
    try:
        found = xr.load_dataset(file, engine="scipy")
    except (OSError, TypeError, ValueError) as error:
        parser.error(f"--read {file}: {str(error).splitlines()[0]}; expected a dataset that this command has written")
    if found.attrs.get("experiment") != name:
        parser.error(f"--read {file}: got a dataset of {found.attrs.get('experiment')}; expected one of {name}")
    return found


def mean_of(values: np.ndarray, digits: int = 3) -> str:
    """Return the mean of independent values with its 95 % interval, as text."""
    low, high = mean_interval(values, resamples=RESAMPLES)
    return f"{values.mean():.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def changed(what: str, differences: np.ndarray, digits: int = 3) -> str:
    """Return a sentence about paired differences: their mean and interval, and whether that excludes 0."""
    low, high = mean_interval(differences, resamples=RESAMPLES)
    sure = "beyond chance" if low > 0 or high < 0 else "not shown"
    return f"{what} by {differences.mean():+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}], {sure}"


def detectable(differences: np.ndarray, power: float = 0.8, alpha: float = 0.05) -> float:
    """Return the smallest mean difference that a paired t-test on as many units sees with this power.

    It is NaN if the units are too few to see ten standard errors.
    """
    n = len(differences)
    return _standard_errors(n, power, alpha) * float(np.std(differences, ddof=1)) / n**0.5


@cache
def _standard_errors(n: int, power: float, alpha: float) -> float:
    """Return how many standard errors a paired t-test on n units sees with this power."""
    critical = t.ppf(1 - alpha / 2, n - 1)
    shifts = np.linspace(0, 10, 10_001)
    reached = nct.sf(critical, n - 1, shifts) + nct.cdf(-critical, n - 1, shifts)
    enough = reached >= power
    return float(shifts[np.argmax(enough)]) if enough.any() else np.nan


def least(curves: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return where each curve over the evenly spaced points `at` is least, by a parabola through three points."""
    place = curves.argmin(-1)
    middle = np.clip(place, 1, curves.shape[-1] - 2)
    before, there, after = (np.take_along_axis(curves, (middle + shift)[..., None], -1)[..., 0] for shift in (-1, 0, 1))
    bend = before - 2 * there + after
    shift = np.where(bend > 0, (before - after) / (2 * np.where(bend > 0, bend, 1)), 0)
    vertex = at[middle] + np.clip(shift, -0.5, 0.5) * (at[1] - at[0])
    return np.where(place == middle, vertex, at[place])


def widened_interval(resampled: np.ndarray, units: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the 95 % interval of resamples along the first axis, widened as Student's t for few units."""
    tail = norm.sf(t.ppf(0.975, units - 1) * (units / (units - 1)) ** 0.5)
    low, high = np.quantile(resampled, [tail, 1 - tail], axis=0)
    return low, high
