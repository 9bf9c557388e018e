"""Does the axis of a norm constraint matter? Max-norm per unit, per input, per matrix and of the whole net.

Claim: max-norm belongs on the incoming weights of each unit (Srivastava, Hinton, Krizhevsky, Sutskever and
Salakhutdinov, Dropout, 2014; Keras's documentation: axis 0 of a dense kernel). A comparison with other groups of
weights is not known to us. Here: all seven networks of the case studies, without dropout, Adam on all rows at once.
All four get the same budget. A limit of 2 lets each kernel, or all of them, have twice the norm of the start; per
unit and per input the square of that norm is shared out equally. The limit, or none, is chosen on validation rows in
each draw. The second half of the draws is the rerun from other seeds.
Command: python experiments/headlines/norm_axis.py (--draws, --epochs, --out change its size and place).
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from headline import RESAMPLES, changed, detectable, headline
from matplotlib.figure import Figure
from scipy.stats import ttest_1samp

import jaxreg as jr
from jaxreg._protocols import Constraint
from jaxreg.lab import (
    BINARY,
    CLASSES,
    CNN,
    LSTM,
    MLP,
    NUMBERS,
    Data,
    Problem,
    Recipe,
    Task,
    choices,
    digits,
    digits_by_row,
    fit,
    linen,
    moons,
    sunspots,
    sweep,
)
from jaxreg.lab.plots.theme import BLUE, ORANGE, legend
from jaxreg.lab.stats import holm
from jaxreg.lab.stats.intervals import mean_interval

LIMITS = np.array([0.5, 1.0, 2.0, np.inf])
AXES = ("unit", "input", "matrix", "net")


class Network(NamedTuple):
    """A network of the case studies, with its data."""

    module: nn.Module
    data: Callable[[range], Data]
    task: Task


def flat_digits(states: range) -> Data:
    """The digits as rows of 64 numbers."""
    data = digits(states, 100, 200)
    return data._replace(**{f"x_{part}": x.reshape(*x.shape[:2], 64) for part, (x, _) in data.parts().items()})


def few_moons(states: range) -> Data:
    return moons(states, 30, 1000, 70)


def years(states: range) -> Data:
    return sunspots(states, length=12, train=100, validation=40, test=60)


NETWORKS = {
    "moons 2-500-1": Network(MLP(hidden=500), few_moons, BINARY),
    "moons 2-500-10-1": Network(
        nn.Sequential([nn.Dense(500), nn.relu, nn.Dense(10), nn.relu, nn.Dense(1)]), few_moons, BINARY
    ),
    "digits 64-128-10": Network(MLP(hidden=128, outputs=10), flat_digits, CLASSES),
    "digits CNN": Network(CNN(filters=(16,), outputs=10), lambda states: digits(states, 100, 200), CLASSES),
    "digits LSTM": Network(LSTM(units=(16,), outputs=10), lambda states: digits_by_row(states, 100, 200), CLASSES),
    "sunspots CNN": Network(CNN(filters=(16,), window=(3,)), years, NUMBERS),
    "sunspots LSTM": Network(LSTM(units=(8,)), years, NUMBERS),
}


@dataclass(frozen=True)
class WholeNorm(Constraint):
    """The norm of all kernels together is at most `limit`."""

    limit: jax.Array
    joint: ClassVar[bool] = True

    def __call__(self, kernels: Any) -> Any:
        """Return the nearest kernels, all scaled by one factor."""
        norm = jr.tree_norm(kernels)
        return [kernel * jnp.minimum(1, self.limit / jnp.maximum(norm, 1e-12)) for kernel in kernels]


def rules(axis: str, limit: jax.Array, start: dict[str, np.ndarray]) -> dict[str, Any]:
    """Max-norm of the kernels in `start`, path -> initial weights, with the same budget for each axis."""
    sizes = {path: float(np.linalg.norm(kernel)) for path, kernel in start.items()}
    if axis == "net":
        return {"|".join(start): WholeNorm(limit * float(np.linalg.norm(list(sizes.values()))))}
    found = {}
    for path, kernel in start.items():
        last = kernel.ndim - 1
        along, groups = {
            "unit": (tuple(range(last)), kernel.shape[-1]),
            "input": ((*range(last - 1), last), kernel.shape[-2]),
            "matrix": (tuple(range(kernel.ndim)), 1),
        }[axis]
        found[path] = jr.MaxNorm(limit * sizes[path] / groups**0.5, axis=along)
    return found


def kernels(task: Problem) -> dict[str, np.ndarray]:
    """The initial kernels of one seed by their paths; norms of other seeds differ little."""
    leaves = jax.tree.leaves_with_path(jax.jit(task.model.init)(jax.random.key(0)))
    named = {"/".join(str(entry.key) for entry in path): np.asarray(leaf) for path, leaf in leaves}
    return {path: leaf for path, leaf in named.items() if leaf.ndim > 1}


def lane(task: Problem, start: dict[str, np.ndarray], axis: str, limit: jax.Array, draw: jax.Array) -> dict[str, Any]:
    """One training with one limit."""
    recipe = Recipe(constraints=rules(axis, limit, start), learning_rate=0.01)
    found = fit(task, recipe, jax.random.key(draw), draw)
    return {name: found[name].values[-1] for name in ("train_loss", "validation_loss", "test_loss")}


def problem(network: Network, draws: int, epochs: int) -> Problem:
    data = network.data(range(draws))
    model, rows = linen(network.module, data.x_train.shape[2:]), data.y_train.shape[1]
    return Problem(model, data, epochs, network.task.loss, {}, batch_size=rows, record_every=epochs)


def trained(asked: argparse.Namespace) -> xr.Dataset:
    over = {"axis": choices(*AXES), "limit": LIMITS, "draw": np.arange(2 * asked.draws)}
    found = []
    for name, network in NETWORKS.items():
        task = problem(network, 2 * asked.draws, asked.epochs)
        run = partial(lane, task, kernels(task))
        found.append(sweep(run, over, asked.out / name.replace(" ", "_")).load())
    joined = xr.concat(found, xr.DataArray(list(NETWORKS), dims="network", name="network"), combine_attrs="drop")
    first, again = joined.isel(draw=slice(asked.draws)), joined.isel(draw=slice(asked.draws, None))
    runs = [first, again.assign_coords(draw=first["draw"])]
    return xr.concat(runs, xr.DataArray([0, 1], dims="run", name="run")).astype(np.float32)


def logarithm(losses: xr.DataArray) -> xr.DataArray:
    """The natural logarithm, in double precision."""
    return xr.apply_ufunc(np.log, losses.astype(float))


def ratios(found: xr.Dataset) -> xr.DataArray:
    """Logarithm of the test loss against that per unit, with the limits that validation rows choose."""
    at = found["validation_loss"].fillna(np.inf).argmin("limit")
    losses = logarithm(found["test_loss"].isel(limit=at))
    return (losses - losses.sel(axis="unit")).drop_sel(axis="unit").transpose("axis", "network", "draw")


RUNS = ("First run", "Rerun from other seeds")


def tell(found: xr.Dataset) -> Figure:
    draws, networks = found.sizes["draw"], found.sizes["network"]
    print(
        f"{found['test_loss'].size} trainings of {networks} networks, {draws} draws in each of two runs. Changes are "
        "of the logarithm of the test loss against max-norm per unit, 95 % intervals."
    )
    sure = [_told(found.sel(run=run), words) for run, words in enumerate(RUNS)]
    for sign, verb in ((-1, "better"), (1, "worse")):
        pairs = [pair for pair, change in sure[0].items() if sign * change > 0 and sign * sure[1].get(pair, 0.0) > 0]
        listed = ", ".join(f"per {axis} on {network}" for axis, network in pairs) or "none"
        print(f"{verb.capitalize()} than per unit beyond chance in both runs: {listed}.")
    return _drawn(found)


def _told(found: xr.Dataset, words: str) -> dict[tuple[str, str], float]:
    changes = ratios(found)
    tests = changes.stack(pair=("axis", "network")).transpose("pair", "draw")
    p = np.nan_to_num(ttest_1samp(tests.values, 0, axis=1).pvalue, nan=1.0)  # no draw changes: no evidence
    beyond = holm(xr.DataArray(p, dims="pair")).values < 0.05
    pairs = zip(tests["pair"].values, tests.values.mean(1), beyond, strict=True)
    sure = {pair: change for pair, change, is_sure in pairs if is_sure}
    better = sum(change < 0 for change in sure.values())
    print(
        f"{words}: of {len(p)} comparisons, beyond chance (t-test, Holm): {better} better than per unit, "
        f"{len(sure) - better} worse."
    )
    for axis, network in sure:
        print(
            f"{words}, {network}: {changed(f'per {axis} changes it', changes.sel(axis=axis, network=network).values)}."
        )
    for axis in changes["axis"].values:
        means = changes.sel(axis=axis).mean("draw").values
        print(f"{words}, mean of the {len(means)} networks: {changed(f'per {axis} changes it', means)}.")
    losses = logarithm(found["test_loss"].sel(axis="unit"))
    held = losses.isel(limit=found["validation_loss"].sel(axis="unit").fillna(np.inf).argmin("limit"))
    gains = (held - losses.sel(limit=np.inf)).transpose("network", "draw").values
    helped = int(np.sum(mean_interval(gains, resamples=RESAMPLES)[1] < 0))
    print(f"{words}: per unit is better than no limit, beyond chance, on {helped} of {len(gains)} networks.")
    seen = np.median([detectable(values) for values in tests.values])
    print(f"{words}, power: four of five such studies would see a change of {seen:.3f} for one network and axis.")
    return sure


def _drawn(found: xr.Dataset) -> Figure:
    figure = Figure(figsize=(12, 3.2), layout="constrained")
    axes = figure.subplots(1, len(AXES) - 1, sharey=True, sharex=True, squeeze=False)[0]
    networks = found["network"].values.tolist()
    for ax, axis in zip(axes, AXES[1:], strict=True):
        for run, colour, label in ((0, BLUE, RUNS[0]), (1, ORANGE, RUNS[1])):
            changes = ratios(found.sel(run=run)).sel(axis=axis)
            places = np.arange(len(networks)) + 0.3 * run
            ax.hlines(places, *mean_interval(changes.values, resamples=RESAMPLES), color=colour)
            ax.plot(changes.mean("draw"), places, "o", color=colour, label=label)
        ax.axvline(0, color="grey", linestyle=":")
        ax.set_title(f"per {axis}, against per unit" if axis != "net" else "whole net, against per unit")
    axes[0].set_yticks(np.arange(len(networks)) + 0.15, networks)
    axes[0].invert_yaxis()
    axes[len(axes) // 2].set_xlabel("change of the logarithm of the test loss, mean and 95 % interval")
    legend(axes[-1])
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=8, help="of each of the two runs")
    parser.add_argument("--epochs", type=int, default=200)
    headline(parser, "norm_axis", trained, tell)


if __name__ == "__main__":
    main()
