"""Which unit of weight decay transfers? By how many decades its best value moves if something else changes 16-fold.

Claims, stated before the run, each about the best decay of AdamW: (1) the strength λ can be kept (the defaults of
libraries are strengths). (2) The share per step ηλ does not depend on the learning rate η (Loshchilov and Hutter,
Decoupled weight decay regularization, 2019), nor on the width if η is divided by it (Kosson and others, Weight decay
may matter more than µP, 2025). The half-life, the time scale 1/(ηλ) and the rotation √(2ηλ) per step are the same
number in other units. (3) The time scale in epochs is constant over rows and widths (Wang and Aitchison, How to set
AdamW's weight decay as you scale model and dataset size, 2024). (4) λ√steps·η, the normalised decay, is constant over
epochs and batch sizes (Loshchilov and Hutter, appendix B). (5) λ grows as √width if η is divided by the width (Fan and
others, Robust layerwise scaling rules by proper weight decay tuning, 2025). The corrected decay λη²/max η (Defazio, Why
gradients rapidly increase near the end of training, 2025) is λ where, as here, all schedules have one shape.
Here: one hidden layer of ReLU units, Adam, a rate that falls to 0 by a cosine, decay of the kernels. One of batch size,
learning rate, epochs, rows, width, and width with rate/width, goes from a quarter to four times the value of the
middle. Ten decays, best by the mean over draws of the logarithm of the test loss, between the points of the grid by a
parabola. Intervals are over draws, for these problems. The second half of the draws is the rerun from other seeds.
Command: python experiments/headlines/decay_units.py (--draws, --epochs, --out change its size and place).
"""

import argparse
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
import xarray as xr
from headline import RESAMPLES, headline, least, widened_interval
from matplotlib.figure import Figure
from scipy.stats import t
from sklearn import datasets

import jaxreg as jr
from jaxreg.lab import BINARY, CLASSES, MLP, NUMBERS, Data, Problem, Recipe, Task, fit, linen, standardised, sweep
from jaxreg.lab.data import parted
from jaxreg.lab.plots.theme import BLUE, ORANGE

SHARES = 10 ** np.arange(-5, -0.4, 0.5)
"""Shares of a weight that one step at the peak of the rate takes away, ηλ."""

TESTS, MOST = 500, 512
Rows = tuple[np.ndarray, np.ndarray]


class Setting(NamedTuple):
    """What is changed; these are the values of the middle."""

    batch: int = 32
    rate: float = 0.01
    epochs: int = 100
    rows: int = 128
    width: int = 32

    @property
    def steps(self) -> int:
        return self.epochs * self.batches

    @property
    def batches(self) -> int:
        """Number of steps in an epoch."""
        return -(-self.rows // self.batch)


FACTORS: dict[str, Callable[[Setting, float], Setting]] = {
    "batch size": lambda middle, times: middle._replace(batch=int(middle.batch * times)),
    "learning rate": lambda middle, times: middle._replace(rate=middle.rate * times),
    "epochs": lambda middle, times: middle._replace(epochs=int(middle.epochs * times)),
    "rows": lambda middle, times: middle._replace(rows=int(middle.rows * times)),
    "width": lambda middle, times: middle._replace(width=int(middle.width * times)),
    "width, rate/width": lambda middle, times: middle._replace(
        width=int(middle.width * times), rate=middle.rate / times
    ),
}
LOW, HIGH = 0.25, 4.0

UNITS: dict[str, Callable[[float, Setting], float]] = {
    "strength λ": lambda share, at: jr.convert_strength(
        share, jr.Meaning.INDEPENDENT, jr.Meaning.LR_SCALED, peak=at.rate
    ),
    "λ per rate": lambda share, at: jr.convert_strength(
        share, jr.Meaning.INDEPENDENT, jr.Meaning.SQUARED_LR, peak=at.rate
    ),
    "share per step ηλ": lambda share, at: share,
    "share per epoch": lambda share, at: share * at.batches,
    "share per training": lambda share, at: share * at.steps,
    "normalised": lambda share, at: jr.convert_strength(
        share, jr.Meaning.INDEPENDENT, jr.Meaning.NORMALISED, steps=at.steps
    ),
    "λ/√width": lambda share, at: jr.convert_strength(
        share, jr.Meaning.INDEPENDENT, jr.Meaning.WIDTH_SCALED, peak=at.rate, width=at.width
    ),
}
"""What one can keep, from the share per step. Time scales and half-lives are the inverse of shares, and the rotation is
the root of twice a share; so they are not listed again."""


def noisy_labels(random: np.random.Generator, rows: int) -> Rows:
    """A random linear rule of ten inputs; a fifth of the labels is wrong."""
    x = random.normal(size=(rows, 10))
    return x, (x @ random.normal(size=10) > 0) ^ (random.uniform(size=rows) < 0.2)


def friedman(random: np.random.Generator, rows: int) -> Rows:
    found: Rows = datasets.make_friedman1(rows, noise=2.0, random_state=int(random.integers(2**31)))
    return found


def digits(random: np.random.Generator, rows: int) -> Rows:
    """Digits of 8 by 8 pixels, in another order."""
    x, y = datasets.load_digits(return_X_y=True)
    order = random.permutation(len(x))[:rows]
    return x[order], y[order]


PROBLEMS: dict[str, tuple[Callable[[np.random.Generator, int], Rows], Task]] = {
    "noisy labels": (noisy_labels, BINARY),
    "Friedman 1": (friedman, NUMBERS),
    "digits": (digits, CLASSES),
}


def data(name: str, draws: int, rows: int) -> Data:
    """The same test rows for any number of training rows, which are the first of the largest number."""
    make, task = PROBLEMS[name]
    made = [make(np.random.default_rng(draw), MOST + TESTS) for draw in range(draws)]
    x, y = (np.stack(arrays) for arrays in zip(*made, strict=True))
    kind = np.int32 if task is CLASSES else np.float32
    kept = np.r_[:rows, MOST : MOST + TESTS]
    split = parted(x[:, kept].astype(np.float32), y[:, kept].astype(kind), rows, 0)
    return standardised(split, targets=not task.classes)


def lane(problem: Problem, rate: float, share: jax.Array, draw: jax.Array) -> dict[str, Any]:
    """One training with one decay; the L2 of `decays` is Σw², so AdamW's λ is twice its strength."""
    steps = problem.epochs * -(-problem.data.y_train.shape[1] // problem.batch_size)
    recipe = Recipe(
        decays={jr.KERNELS: jr.L2(share / rate / 2)},
        learning_rate=optax.cosine_decay_schedule(rate, steps),
        optimizer=optax.adam,
    )
    return {"test_loss": fit(problem, recipe, jax.random.key(draw), draw)["test_loss"].values[-1]}


def losses(name: str, at: Setting, draws: int, store: Path) -> xr.DataArray:
    rows, task = data(name, draws, at.rows), PROBLEMS[name][1]
    outputs = int(rows.y_train.max()) + 1 if task is CLASSES else 1
    model = linen(MLP(hidden=at.width, outputs=outputs), rows.x_train.shape[2:])
    problem = Problem(model, rows, at.epochs, task.loss, {}, batch_size=at.batch, record_every=at.epochs)
    found = sweep(partial(lane, problem, at.rate), {"share": SHARES, "draw": np.arange(draws)}, store)
    kept: xr.DataArray = found["test_loss"].load()
    return kept


def settings(epochs: int) -> dict[str, tuple[Setting, Setting]]:
    """The small and the large setting of each factor."""
    middle = Setting(epochs=epochs)
    return {name: (change(middle, LOW), change(middle, HIGH)) for name, change in FACTORS.items()}


def trained(asked: argparse.Namespace) -> xr.Dataset:
    found = []
    for name in PROBLEMS:
        for factor, ends in settings(asked.epochs).items():
            for size, at in zip(("small", "large"), ends, strict=True):
                store = asked.out / "_".join([name, factor.replace("/", " per "), size]).replace(" ", "_")
                each = losses(name, at, 2 * asked.draws, store)
                found.append(each.expand_dims(problem=[name], factor=[factor], size=[size]))
    joined = xr.combine_by_coords(found, combine_attrs="drop")
    joined = joined if isinstance(joined, xr.Dataset) else joined.to_dataset(name="test_loss")
    joined = joined.sel(problem=list(PROBLEMS), factor=list(FACTORS), size=["small", "large"])
    first, again = joined.isel(draw=slice(asked.draws)), joined.isel(draw=slice(asked.draws, None))
    runs = [first, again.assign_coords(draw=first["draw"])]
    both = xr.concat(runs, xr.DataArray([0, 1], dims="run", name="run"))
    values = both["test_loss"].values.astype(float)
    logs = both["test_loss"].copy(data=np.log(np.clip(np.nan_to_num(values, nan=1e6), 1e-6, 1e6)))
    logs.encoding = {"dtype": "int16", "scale_factor": 1 / 2000, "_FillValue": -(2**15)}
    return xr.Dataset({"log_loss": logs}, {"share": SHARES}, {"epochs": asked.epochs})


RUNS = ("First run", "Rerun from other seeds")


class Moves(NamedTuple):
    """What a change 16-fold does to the best decay; the first resample is the data, the others are its bootstrap.

    Args:
        decades: Movement of the best value of each unit, of shape (resamples, units, problems, factors).
        costs: Loss, in logarithms, of keeping the best value of the small setting, of the same shape.
        edges: Number of settings whose best decay is an end of the grid.
        draws: Number of draws.
    """

    decades: np.ndarray
    costs: np.ndarray
    edges: int
    draws: int

    def interval(self, values: np.ndarray) -> tuple[float, float, float]:
        """The value of the data, and the ends of its 95 % interval, which is widened as Student's t for few draws."""
        low, high = widened_interval(values[1:], self.draws)
        return float(values[0]), float(low), float(high)

    def said(self, values: np.ndarray, digits: int = 2, sign: str = "+") -> str:
        mean, low, high = (f"{value:{sign}.{digits}f}" for value in self.interval(values))
        return f"{mean} [{low}, {high}]"


def best(curves: np.ndarray) -> np.ndarray:
    """Where each curve over `SHARES` is least, in logarithms to base 10, by a parabola through three points."""
    return least(curves, np.log10(SHARES))


def read_off(curves: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The curves at some logarithms of shares; beyond the grid, at its ends."""
    logs = np.log10(SHARES)
    steps = np.clip((at - logs[0]) / (logs[1] - logs[0]), 0, len(logs) - 1)
    left = np.minimum(steps.astype(int), len(logs) - 2)
    values = [np.take_along_axis(curves, (left + shift)[..., None], -1)[..., 0] for shift in (0, 1)]
    found: np.ndarray = values[0] + (steps - left) * (values[1] - values[0])
    return found


def moves(found: xr.Dataset) -> Moves:
    """Movements and costs of one run."""
    order = ("problem", "factor", "size", "share", "draw")
    losses = found["log_loss"].transpose(*order).values
    problems, draws = len(losses), losses.shape[-1]
    random = np.random.default_rng(0)
    picks = np.concatenate(
        [
            np.broadcast_to(np.arange(draws), (1, problems, draws)),
            random.integers(draws, size=(RESAMPLES, problems, draws)),
        ]
    )
    weights = (picks[..., None] == np.arange(draws)).mean(2)
    curves = np.einsum("rpd,pfsgd->rpfsg", weights, losses)
    where = best(curves)
    ends = settings(int(found.attrs["epochs"]))
    decades, costs = [], []
    for unit in UNITS.values():
        factor_of = np.log10([[unit(1.0, at) for at in ends[factor]] for factor in found["factor"].values.tolist()])
        kept = where + factor_of
        decades.append(kept[..., 1] - kept[..., 0])
        large = curves[..., 1, :]
        costs.append(read_off(large, kept[..., 0] - factor_of[:, 1]) - read_off(large, where[..., 1]))
    edges = int(np.isin(curves[0].argmin(-1), [0, curves.shape[-1] - 1]).sum())
    return Moves(np.stack(decades, 1), np.stack(costs, 1), edges, draws)


def tell(found: xr.Dataset) -> Figure:
    problems, factors = found["problem"].values.tolist(), found["factor"].values.tolist()
    print(
        f"{found['log_loss'].size} trainings of {len(problems)} problems, {found.sizes['draw']} draws in each of two "
        "runs. In the tables: by how many decades the best value of a unit moves if something else grows 16-fold, "
        "mean of the problems with its 95 % interval. 0 is perfect."
    )
    runs = [moves(found.sel(run=run)) for run in range(2)]
    for each, words in zip(runs, RUNS, strict=True):
        print(f"{words}:\n| kept | {' | '.join(factors)} | mean size | cost |\n|{' --- |' * (len(factors) + 3)}")
        for place, unit in enumerate(UNITS):
            across = each.decades[:, place].mean(1)
            cells = [each.said(across[:, factor]) for factor in range(len(factors))]
            size, cost = np.abs(each.decades[:, place]).mean((1, 2)), each.costs[:, place].mean((1, 2))
            print(f"| {unit} | {' | '.join([*cells, each.said(size, sign=''), each.said(cost, 3)])} |")
        _told(each, words, factors, problems)
    return _drawn(runs, factors)


def _told(each: Moves, words: str, factors: list[str], problems: list[str]) -> None:
    units = list(UNITS)
    sizes, costs = np.abs(each.decades).mean((2, 3)), each.costs.mean((2, 3))
    for values, what in ((sizes, "moves least"), (costs, "costs least")):
        first, second = np.argsort(values[0])[:2]
        digits = 2 if values is sizes else 3
        said = each.said(values[:, second] - values[:, first], digits)
        print(f"{words}: the {units[first]} {what}. The next, the {units[second]}, has {said} more.")
    share = each.decades[:, units.index("share per step ηλ")].mean(1) / np.log10(HIGH / LOW)
    powers = [f"{factor} {each.said(share[:, place])}" for place, factor in enumerate(factors)]
    print(f"{words}, powers of the best ηλ: {', '.join(powers)}.")
    spread = each.decades[0].std(1, ddof=1).mean() if len(problems) > 1 else 0.0
    print(f"{words}: movements of one unit differ between the problems by a standard deviation of {spread:.2f}.")
    print(
        f"{words}: the best decay is an end of the grid in {each.edges} of {2 * len(factors) * len(problems)} settings."
    )
    errors = each.decades[1:].mean(2).std(0, ddof=1)
    seen = float(np.median(errors)) * (t.ppf(0.975, each.draws - 1) + t.ppf(0.8, each.draws - 1))
    print(f"{words}, power: four of five such studies would see a movement of {seen:.2f} decades.")


def _drawn(runs: list[Moves], factors: list[str]) -> Figure:
    figure = Figure(figsize=(12, 4.4), layout="constrained")
    axes = figure.subplots(1, len(factors), sharex=True, sharey=True, squeeze=False)[0]
    for factor, ax in enumerate(axes):
        for place, run in product(range(len(UNITS)), range(2)):
            each = runs[run]
            mean, low, high = each.interval(each.decades[:, place].mean(1)[:, factor])
            height, colour = place + 0.3 * run - 0.15, (BLUE, ORANGE)[run]
            ax.hlines(height, low, high, color=colour)
            ax.plot(mean, height, "o", color=colour, markersize=4, label=RUNS[run] if place == 0 else None)
        ax.axvline(0, color="grey", linestyle=":")
        ax.set_title(factors[factor])
    axes[0].set_yticks(range(len(UNITS)), UNITS)
    axes[0].invert_yaxis()
    figure.supxlabel(
        "movement of the best value in decades, mean of the problems, 95 % interval over draws", fontsize=9
    )
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=12, help="of each of the two runs")
    parser.add_argument("--epochs", type=int, default=100, help="in the middle; four times as many at most")
    headline(parser, "decay_units", trained, tell)


if __name__ == "__main__":
    main()
