"""Search for three strengths in one compiled program, compared with a grid over the same range.

Question: how do other searches compare with a grid of all 7³ combinations of powers of ten between 1e-6 and 1? The
three strengths are L1 and L2 of the hidden kernel, and L2 of the output kernel. They are chosen on as many validation
rows as there are training rows.

Searches at about a third of the cost of the grid:

- hypergradients: 3³ coarse points, three rounds of new points near the best ones ("clouds"), then gradient descent
- slopes (gradient descent) alone, and clouds alone
- random points

Searches with as many epochs as the grid:

- successive halving of 728 runs
- population-based training
- warm-started paths over a finer grid of L1

A search is judged by the best validation loss that it finds; the test loss at the same strengths is reported too. The
gradients are exact but of little use here. Under L1 the last steps of Adam make the loss rough. On draws 0 to 2 the
gradients hardly correlate with differences of the loss over a tenth of a decade (the correlation is 0.9 for problems
where only L2 matters). After clouds they improve the result no more than another cloud does.

Command: python experiments/headlines/strength_tuning.py (ten minutes on one core; --draws changes the number of draws,
--out the folder; --read prints a stored result).
"""

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from headline import headline
from matplotlib.figure import Figure
from sklearn.datasets import load_wine

import jaxreg as jr
from jaxreg.lab import (
    MLP,
    Problem,
    Recipe,
    binary_cross_entropy,
    breast_cancer,
    categorical_cross_entropy,
    diabetes,
    fit,
    linen,
    moons,
    splits,
    squared_error,
    standardised,
    sunspots,
)
from jaxreg.lab.hypergradient import tune
from jaxreg.lab.plots.theme import BLUE
from jaxreg.lab.population import Points, closing_in, evaluated, population_training, successive_halving, warm_path
from jaxreg.lab.stats import holm, wilcoxon
from jaxreg.lab.stats.intervals import mean_interval
from jaxreg.lab.training.loop import State, advance, begin

FIRST, EPOCHS, RATE = 1000, 300, 0.01
"""The searches were designed on draws 0 to 11. The draws on which they are judged begin at `FIRST`."""

SIDE, CHUNK = 7, 49
LOGS = np.log(np.geomspace(1e-6, 1.0, SIDE))
ENDS = float(LOGS[0]), float(LOGS[-1])
COARSE, CLOUDS, POINTS, TRAININGS = LOGS[1::2], (2.0, 1.2, 0.7), 15, 3
RUNGS, LANES, ROUNDS = 4, 728, 10  # 728 · (1 + 1/2 + 1/4 + 1/8) · 75 epochs are 343 · 300, but for rounding
STAGES = 2 * SIDE  # of a path, each of half as many epochs as a training of the grid


def _flat(data: Any) -> Any:
    return data._replace(**{f"x_{p}": x.reshape(*x.shape[:2], -1) for p, (x, _) in data.parts().items()})


def problems(draws: int, first: int = FIRST) -> dict[str, Problem]:
    """Return the problems: networks with one hidden layer on few training rows, with all rows in one batch."""

    def task(data: Any, loss: Any, outputs: int = 1) -> Problem:
        flat = _flat(data)
        model = linen(MLP(hidden=32, outputs=outputs), inputs=flat.x_train.shape[2:])
        return Problem(model, flat, EPOCHS, loss, {}, batch_size=flat.y_train.shape[1], record_every=EPOCHS)

    some = range(first, first + draws)
    rows, kinds = load_wine(return_X_y=True)
    return {
        "moons": task(moons(some, 30, 1000, 70), binary_cross_entropy),
        "breast cancer": task(breast_cancer(some, 60, 100), binary_cross_entropy),
        "diabetes": task(diabetes(some, 100, 100), squared_error),
        "sunspots": task(sunspots(some, length=10, train=60, validation=60), squared_error),
        "wine": task(standardised(splits(rows, kinds, some, 40, 60)), categorical_cross_entropy, 3),
    }


def recipe(logs: jax.Array) -> Recipe:
    l1, hidden, output = jnp.exp(jnp.clip(logs, *ENDS))
    return Recipe({"hidden/kernel": jr.L1L2(l1, hidden), "output/kernel": jr.L2(output)}, learning_rate=RATE)


class Lane(NamedTuple):
    """A problem on one draw of its data."""

    problem: Problem
    draw: jax.Array

    @property
    def key(self) -> jax.Array:
        return jax.random.key(FIRST + self.draw)

    def outcome(self, logs: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Train once, and return the validation and the test loss at the end."""
        curves = fit(self.problem, recipe(logs), self.key, self.draw)
        return curves["validation_loss"].values[-1], curves["test_loss"].values[-1]

    def validation(self, logs: jax.Array) -> jax.Array:
        return self.outcome(logs)[0]

    def advanced(self, epochs: int) -> Callable[[State, jax.Array], State]:
        # One batch holds all rows, so nothing is shuffled, and the number of earlier epochs does not matter.
        return lambda state, logs: advance(self.problem, recipe(logs), self.key, state, 0, epochs, self.draw)

    def begun(self, lanes: int) -> State:
        start = begin(self.problem, recipe(jnp.zeros(3)), self.key)
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (lanes, *x.shape)), start)

    def loss(self, state: State, part: str = "validation") -> jax.Array:
        x, y = (jnp.asarray(array)[self.draw] for array in self.problem.data.parts()[part])
        return jnp.mean(self.problem.loss(self.problem.model.apply(state.params, x), y))


def _cube(logs: np.ndarray[Any, Any]) -> jax.Array:
    return jnp.asarray(np.stack(np.meshgrid(logs, logs, logs), 3).reshape(-1, 3), jnp.float32)


def _random(lane: Lane, count: int) -> jax.Array:
    return jax.random.uniform(jax.random.fold_in(lane.key, 1), (count, 3), minval=ENDS[0], maxval=ENDS[1])


Found = tuple[jax.Array, jax.Array, jax.Array]
"""(validation loss, test loss, logarithms of the strengths) of the best point that a search evaluated."""


def by_grid(lane: Lane, points: jax.Array | None = None) -> Found:
    points = _cube(LOGS) if points is None else points
    validation, test = jax.lax.map(lane.outcome, points, batch_size=CHUNK)
    best = jnp.nanargmin(validation)
    return validation[best], test[best], points[best]


def by_hypergradients(lane: Lane) -> Found:
    """Search by clouds, then by a few steps of gradient descent from the best point."""
    return _along_slopes(lane, _clouds(lane, CLOUDS), 0.5, TRAININGS)


def by_slopes(lane: Lane) -> Found:
    """Search by gradient descent from the best of the coarse points."""
    return _along_slopes(lane, evaluated(lane.validation, _cube(COARSE), 1), 1.0, 10)


def _along_slopes(lane: Lane, met: Points, rate: float, trainings: int) -> Found:
    steps = optax.adam(optax.exponential_decay(rate, trainings, 0.3), b1=0.5, b2=0.7)
    found = tune(lane.validation, met.logs[0], trainings, steps)
    better = found.loss < met.losses[0]
    logs = jnp.clip(jnp.where(better, found.logs, met.logs[0]), *ENDS)
    return jnp.where(better, found.loss, met.losses[0]), lane.outcome(logs)[1], logs


def by_clouds(lane: Lane) -> Found:
    met = _clouds(lane, (*CLOUDS, 0.4))
    return met.losses[0], lane.outcome(met.logs[0])[1], met.logs[0]


def _clouds(lane: Lane, spreads: tuple[float, ...]) -> Points:
    met = evaluated(lane.validation, _cube(COARSE), 3)
    return closing_in(lane.validation, met, jax.random.fold_in(lane.key, 2), spreads, POINTS, ENDS)


def by_chance(lane: Lane) -> Found:
    return by_grid(lane, _random(lane, 90))


def by_halving(lane: Lane) -> Found:
    rung = lane.advanced(EPOCHS // RUNGS)
    found = successive_halving(rung, lane.loss, lane.begun(LANES), _random(lane, LANES), RUNGS)
    return _of(lane, found.state, found.losses, found.strengths)


def by_population(lane: Lane) -> Found:
    points = _cube(LOGS)
    part, key = lane.advanced(EPOCHS // ROUNDS), jax.random.fold_in(lane.key, 3)
    found = population_training(part, lane.loss, lane.begun(len(points)), points, key, ROUNDS)
    return _of(lane, found.state, found.losses, found.strengths)


def by_paths(lane: Lane) -> Found:
    """Search along one path per pair of L2 strengths. On a path, L1 grows.

    L1 does not decrease from the strength at which all weights are 0, because a network cannot learn from zero weights.
    """
    l1, pairs = jnp.linspace(*ENDS, STAGES), np.stack(np.meshgrid(LOGS, LOGS), 2).reshape(-1, 2)
    points = jax.vmap(lambda pair: jnp.column_stack([l1, jnp.tile(pair, (STAGES, 1))]))(jnp.asarray(pairs, jnp.float32))
    states = jax.vmap(lambda start, path: warm_path(lane.advanced(EPOCHS // 2), start, path))(
        lane.begun(len(pairs)), points
    )
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), states)
    return _of(lane, flat, jax.vmap(lane.loss)(flat), points.reshape(-1, 3))


def _of(lane: Lane, states: State, losses: jax.Array, logs: jax.Array) -> Found:
    best = jnp.nanargmin(losses)
    return losses[best], lane.loss(jax.tree.map(lambda x: x[best], states), "test"), jnp.clip(logs[best], *ENDS)


SEARCHES: dict[str, Callable[[Lane], Found]] = {
    "grid": by_grid,
    "hypergradients": by_hypergradients,
    "slopes": by_slopes,
    "clouds": by_clouds,
    "chance": by_chance,
    "halving": by_halving,
    "population": by_population,
    "paths": by_paths,
}


def timed(search: Callable[[Lane], Found], problem: Problem, draws: int) -> tuple[Any, float]:
    """Return the result of a search on each draw, and its CPU seconds without compilation.

    The draws are searched one after another. All draws together take twice as long, because they do not fit into the
    cache.
    """
    lanes = jnp.arange(draws)
    program = jax.jit(lambda lanes: jax.lax.map(lambda draw: search(Lane(problem, draw)), lanes)).lower(lanes).compile()
    begun = time.process_time()
    found = jax.block_until_ready(program(lanes))  # type: ignore[no-untyped-call]
    return jax.tree.map(np.asarray, found), time.process_time() - begun


def compared(problem: Problem, draws: int) -> xr.Dataset:
    """Return the result of each search on each draw, and the CPU seconds of each search."""
    found = {}
    for name, search in SEARCHES.items():
        (validation, test, logs), seconds = timed(search, problem, draws)
        found[name] = xr.Dataset(
            {
                "validation_loss": ("draw", validation),
                "test_loss": ("draw", test),
                "strength": (("draw", "rule"), np.exp(logs)),
                "seconds": seconds,
            }
        )
    return xr.concat(found.values(), xr.DataArray(list(found), dims="search", name="search"))


def trained(asked: argparse.Namespace) -> xr.Dataset:
    found = {}
    for name, problem in problems(asked.draws).items():
        file = asked.out / f"{name.replace(' ', '_')}_{asked.draws}.nc"  # finished problems are not trained again
        if not file.exists():
            compared(problem, asked.draws).to_netcdf(file, engine="scipy")
        found[name] = xr.load_dataset(file, engine="scipy")
    return xr.concat(found.values(), xr.DataArray(list(found), dims="problem", name="problem"))


def tell(found: xr.Dataset) -> Figure:
    grid = found.sel(search="grid", drop=True)
    gains = (found - grid).drop_sel(search="grid")
    cost = found["seconds"] / grid["seconds"]
    for problem in found["problem"].values:
        level = grid.sel(problem=problem)
        print(
            f"{problem}, {found.sizes['draw']} draws; grid: validation loss {level['validation_loss'].mean():.4f}, "
            f"test loss {level['test_loss'].mean():.4f}, {float(level['seconds']):.1f} s. Changes with 95 % intervals:"
        )
        for search in gains["search"].values:
            here = gains.sel(problem=problem, search=search)
            said = [f"{name} loss {_interval(here[f'{name}_loss'].values)}" for name in ("validation", "test")]
            print(
                f"  {search:14s} {'; '.join(said)}; no worse than the grid on "
                f"{int((here['validation_loss'] <= 0).sum())} draws; "
                f"{float(cost.sel(problem=problem, search=search)):.2f} of its cost"
            )
    means = gains["validation_loss"].mean("draw")
    for search in gains["search"].values:
        share = cost.sel(search=search)
        print(
            f"{search}: the mean validation loss is at most that of the grid on "
            f"{int((means.sel(search=search) <= 0).sum())} of {len(means)} problems, "
            f"at {share.min():.2f} to {share.max():.2f} of its cost"
        )
    tests = gains["test_loss"].stack(change=("search", "problem")).transpose("change", "draw")
    values = [wilcoxon(xr.DataArray(row, dims="draw"), xr.DataArray(0 * row, dims="draw")) for row in tests.values]
    sure = tests["change"].values[holm(xr.DataArray(values, dims="change")) < 0.05]
    told = ", ".join(f"{search} on {problem}" for search, problem in sure) or "none"
    print(f"significant changes of the test loss, of {len(values)} (Wilcoxon's test, Holm's correction): {told}")
    return _drawn(gains["validation_loss"])


def _interval(values: np.ndarray[Any, Any]) -> str:
    low, high = mean_interval(values)
    return f"{values.mean():+.4f} [{low:+.4f}, {high:+.4f}]"


def _drawn(gains: xr.DataArray) -> Figure:
    searches = gains["search"].values
    figure = Figure(figsize=(12, 2.6), layout="constrained")
    axes = figure.subplots(1, gains.sizes["problem"], sharey=True, squeeze=False)[0]
    for ax, problem in zip(axes, gains["problem"].values, strict=True):
        for place, search in enumerate(searches):
            values = gains.sel(problem=problem, search=search).values
            ax.plot(mean_interval(values), [place, place], color=BLUE)
            ax.plot(values.mean(), place, "o", color=BLUE)
        ax.axvline(0, color="black", linestyle=":")
        ax.set_title(problem)
        ax.locator_params(axis="x", nbins=4)
    axes[0].set_yticks(range(len(searches)), searches)
    axes[0].invert_yaxis()
    axes[len(axes) // 2].set_xlabel("change of the best validation loss against the grid, mean and 95 % interval")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=24)
    headline(parser, "strength_tuning", trained, tell)


if __name__ == "__main__":
    main()
