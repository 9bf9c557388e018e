"""Strengths by hypergradients and by chance, against a grid of equal reach.

Question: are three strengths (L1 and L2 of the hidden kernel, L2 of the output kernel) found by forward-mode
hypergradients, fifteen trainings from the best of 3³ coarse points, as well as by all 7³ powers of ten from 1e-6 to 1,
at no more than a third of the cost? On the moons yes; elsewhere not quite, and points at random do as well (6 draws).
A search is judged by the best validation loss that it meets; the test loss there says what it is worth. No published
figure: nobody does this in one program.
Command: python experiments/strength_tuning.py (minutes on 2 busy cores; --draws, --out change its size and place).
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
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
from jaxreg.lab.intervals import mean_interval

SIDE, TRAININGS, EPOCHS = 7, 15, 300
LOGS = np.log(np.geomspace(1e-6, 1.0, SIDE))
COARSE = LOGS[1::2]


def _flat(data: Any) -> Any:
    return data._replace(**{f"x_{p}": x.reshape(*x.shape[:2], -1) for p, (x, _) in data.parts().items()})


def problems(draws: int) -> dict[str, Problem]:
    """Networks of one hidden layer, overfitted to few rows; as many rows validate. All rows are one batch."""

    def task(data: Any, loss: Any, outputs: int = 1) -> Problem:
        flat = _flat(data)
        model = linen(MLP(hidden=32, outputs=outputs), inputs=flat.x_train.shape[2:])
        return Problem(model, flat, EPOCHS, loss, {}, batch_size=flat.y_train.shape[1], record_every=EPOCHS)

    some = range(draws)
    rows, kinds = load_wine(return_X_y=True)
    return {
        "moons": task(moons(some, 30, 1000, 70), binary_cross_entropy),
        "breast cancer": task(breast_cancer(some, 60, 100), binary_cross_entropy),
        "diabetes": task(diabetes(some, 100, 100), squared_error),
        "sunspots": task(sunspots(some, length=10, train=60, validation=60), squared_error),
        "wine": task(standardised(splits(rows, kinds, some, 40, 60)), categorical_cross_entropy, 3),
    }


def outcome(problem: Problem, logs: jax.Array, draw: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The validation and the test loss at the end of one training, under an elastic net and an L2."""
    l1, hidden, output = jnp.exp(logs)
    rules: dict[str, Any] = {"hidden/kernel": jr.L1L2(l1, hidden), "output/kernel": jr.L2(output)}
    curves = fit(problem, Recipe(penalties=rules, learning_rate=0.01), jax.random.key(draw), draw)
    return curves["validation_loss"].values[-1], curves["test_loss"].values[-1]


def _best(problem: Problem, points: jax.Array, draw: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    validation, test = jax.vmap(lambda logs: outcome(problem, logs, draw))(points)
    best = jnp.nanargmin(validation)
    return validation[best], test[best], points[best]


def _cube(logs: np.ndarray[Any, Any]) -> jax.Array:
    return jnp.asarray(np.stack(np.meshgrid(logs, logs, logs), 3).reshape(-1, 3), jnp.float32)


def by_grid(problem: Problem, draw: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(validation loss, test loss, logarithms) of the best of the grid."""
    return _best(problem, _cube(LOGS), draw)


def by_hypergradients(problem: Problem, draw: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The same of trainings with tangents, from the best of the coarse points, with steps that grow smaller."""
    start = _best(problem, _cube(COARSE), draw)[2]
    steps = optax.adam(optax.exponential_decay(1.0, TRAININGS, 0.15), b1=0.5, b2=0.7)
    found = tune(lambda logs: outcome(problem, logs, draw)[0], start, TRAININGS, steps)
    return found.loss, outcome(problem, found.logs, draw)[1], found.logs


def by_chance(problem: Problem, draw: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The same of points at random in the cube of the grid, a training for each training or tangent of the above."""
    key, count = jax.random.key(draw + 1000), len(COARSE) ** 3 + TRAININGS * 4
    return _best(problem, jax.random.uniform(key, (count, 3), minval=LOGS[0], maxval=LOGS[-1]), draw)


SEARCHES: dict[str, Callable[[Problem, jax.Array], Any]] = {
    "grid": by_grid,
    "hypergradients": by_hypergradients,
    "chance": by_chance,
}


def timed(search: Callable[[Problem, jax.Array], Any], problem: Problem, draws: int) -> tuple[Any, float]:
    """What a search found on each draw, all of them lanes of one program, and its CPU seconds, compilation apart."""
    lanes = jnp.arange(draws)
    program = jax.jit(lambda lanes: jax.vmap(lambda draw: search(problem, draw))(lanes)).lower(lanes).compile()
    begun = time.process_time()
    found = jax.block_until_ready(program(lanes))  # type: ignore[no-untyped-call]
    return jax.tree.map(np.asarray, found), time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--out", type=Path, default=Path("results/strength_tuning"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    kept: dict[str, Any] = {}
    for name, problem in problems(asked.draws).items():
        file = asked.out / f"{name.replace(' ', '_')}_{asked.draws}.json"
        if not file.exists():
            rows = {}
            for method, search in SEARCHES.items():
                (validation, test, logs), seconds = timed(search, problem, asked.draws)
                rows[method] = {
                    "validation": validation.tolist(),
                    "test": test.tolist(),
                    "strengths": np.exp(logs).tolist(),
                    "seconds": seconds,
                }
            file.write_text(json.dumps(rows, indent=1))
        kept[name] = json.loads(file.read_text())
        grid = kept[name]["grid"]
        print(
            f"{name}, {asked.draws} draws; grid: validation loss {np.mean(grid['validation']):.4f}, test loss "
            f"{np.mean(grid['test']):.4f}, {grid['seconds']:.2f} CPU s"
        )
        for method in list(SEARCHES)[1:]:
            row = kept[name][method]
            gains = {part: np.subtract(row[part], grid[part]) for part in ("validation", "test")}
            ends = {part: mean_interval(gain) for part, gain in gains.items()}
            wins = np.sum(gains["validation"] <= 0)
            print(
                f"  {method:14s} validation loss {gains['validation'].mean():+.4f} [{ends['validation'][0]:+.4f}, "
                f"{ends['validation'][1]:+.4f}], no worse on {wins} of {asked.draws}; "
                f"test loss {gains['test'].mean():+.4f} [{ends['test'][0]:+.4f}, {ends['test'][1]:+.4f}]; "
                f"{row['seconds'] / grid['seconds']:.2f} of the cost",
                flush=True,
            )


if __name__ == "__main__":
    main()
