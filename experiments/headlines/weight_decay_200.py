"""Weight decay in 200 dimensions: the norms of one run in a textbook, repeated on many draws.

Claim: a linear model is fitted to 20 points in 200 dimensions from N(0, 1) weights. Without decay its norm stays near
√180 = 13.42, because the weights do not change in the 180 directions that no point has. With λ = 3 the norm ends at
about 0.038 (Zhang et al., Dive into Deep Learning, section on weight decay: batches of 1, learning rate 0.003, 100
epochs, one run each).

Command: python experiments/headlines/weight_decay_200.py (--draws changes the number of draws, --out the folder).
"""

import argparse
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from headline import headline
from matplotlib.figure import Figure

import jaxreg as jr
from jaxreg.lab import Data, Model, Problem, Recipe, fit, sweep
from jaxreg.lab.plots.theme import BLUE, ORANGE, legend
from jaxreg.lab.stats.intervals import mean_interval

DIMENSIONS, POINTS, TESTS = 200, 20, 100
ENDS = {"norm": "norm/kernel", "train_loss": "train_loss", "test_loss": "test_loss"}


def points(draws: int) -> Data:
    """Return points with targets 0.05 + Σ 0.01 x_i and noise of standard deviation 0.01."""
    random = np.random.default_rng(0)
    x = random.normal(size=(draws, POINTS + TESTS, DIMENSIONS)).astype(np.float32)
    y = (0.05 + 0.01 * x.sum(axis=2) + 0.01 * random.normal(size=x.shape[:2])).astype(np.float32)
    return Data(x[:, :POINTS], y[:, :POINTS], x[:, POINTS:], y[:, POINTS:])


def _init(key: jax.Array) -> Any:
    return {"kernel": jax.random.normal(key, (DIMENSIONS, 1)), "bias": jnp.zeros(1)}


def _half_square(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    return jnp.square(outputs[:, 0] - targets) / 2


def problem(draws: int, epochs: int = 100) -> Problem:
    """Return the problem of the textbook."""
    model = Model(_init, lambda params, x: x @ params["kernel"] + params["bias"])
    return Problem(model, points(draws), epochs, _half_square, {}, batch_size=1, record_every=epochs)


def lane(task: Problem, decay: jax.Array, draw: jax.Array) -> dict[str, Any]:
    """Train once. The loss of the book is half the squared error + λ/2 ‖w‖²."""
    recipe = Recipe(penalties={"kernel": jr.L2(decay / 2)}, learning_rate=0.003, optimizer=optax.sgd)
    return fit(task, recipe, jax.random.key(draw), draw)


def trained(asked: argparse.Namespace) -> xr.Dataset:
    task = problem(asked.draws)
    over = {"decay": np.array([0.0, 3.0]), "draw": np.arange(asked.draws)}
    found = sweep(partial(lane, task), over, asked.out / "lanes", coords={"epoch": task.recorded}).load()
    return xr.Dataset({name: found[old].isel(epoch=-1, drop=True) for name, old in ENDS.items()})


def tell(found: xr.Dataset) -> Figure:
    for decay in found["decay"].values:
        here = found.sel(decay=decay)
        norms = here["norm"].values
        low, high = mean_interval(norms)
        beside = f", {norms.mean() / 180**0.5 - 1:+.2%} of √180" if decay == 0 else ""
        print(
            f"λ = {decay:g}, {len(norms)} draws: ‖w‖ {norms.mean():.4f} (95 % interval [{low:.4f}, "
            f"{high:.4f}]){beside}, "
            f"from {norms.min():.4f} to {norms.max():.4f}; test loss {float(here['test_loss'].mean()):.4f}"
        )
    figure = Figure(figsize=(8, 3), layout="constrained")
    for number, (decay, colour) in enumerate(((0.0, BLUE), (3.0, ORANGE))):
        ax = figure.add_subplot(1, 2, number + 1)
        ax.hist(found["norm"].sel(decay=decay), bins=30, color=colour, label=f"λ = {decay:g}")
        if decay == 0:
            ax.axvline(180**0.5, color="black", linestyle=":", label="√180")
        ax.set(xlabel="‖w‖ after 100 epochs", ylabel="draws")
        legend(ax)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=256)
    headline(parser, "weight_decay_200", trained, tell)


if __name__ == "__main__":
    main()
