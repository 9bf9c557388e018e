"""Maps over learning rate and decay on digits, under four meanings of decay.

Claim: under AdamW's decay, of size learning rate × decay, the best decay falls as the learning rate grows; under the
independent one it doesn't (Loshchilov and Hutter, Decoupled weight decay regularization, 2019, figures 1 and 2: the
basins of SGD and Adam on CIFAR-10, no numbers). The corrected one (Defazio, 2025) differs from AdamW's late in a
schedule only. Here it is the other way round: the best decay stays where it is under AdamW's and grows with the rate
under the independent one. A training here is 60 steps on one batch, so that decay works through the sum of its steps.
Decay is AdamW's d at the learning rate 0.01 for all four, so the maps agree along that column where they can.
Command: python experiments/headlines/rate_decay_maps.py (--side, --draws, --out change size and place).
"""

import argparse
from collections.abc import Callable
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
from jaxreg.lab import MLP, Problem, Recipe, categorical_accuracy, categorical_cross_entropy, digits, fit, linen, sweep
from jaxreg.lab.plots import heat_map
from jaxreg.lab.stats.intervals import mean_interval

EPOCHS, REFERENCE = 60, 0.01


def problem(draws: int) -> Problem:
    """100 digits to train a network of 32 hidden units on, one batch an epoch, the rest to test."""
    model = linen(MLP(hidden=32, outputs=10), inputs=(64,))
    data = digits(range(draws), train=100)
    data = data._replace(**{f"x_{part}": x.reshape(*x.shape[:2], 64) for part, (x, _) in data.parts().items()})
    metrics = {"accuracy": categorical_accuracy}
    return Problem(model, data, EPOCHS, categorical_cross_entropy, metrics, batch_size=100, record_every=EPOCHS)


def _decoupled(link: optax.GradientTransformation, schedule: Any) -> Recipe:
    def optimizer(rate: Any) -> optax.GradientTransformation:
        return optax.chain(optax.scale_by_adam(), link, optax.scale_by_learning_rate(rate))

    return Recipe(learning_rate=schedule, optimizer=optimizer)


def _coupled(rate: Any, decay: Any, schedule: Any) -> Recipe:
    return Recipe(penalties={jr.KERNELS: jr.L2(decay / 2)}, learning_rate=schedule, optimizer=optax.adam)


def _adamw(rate: Any, decay: Any, schedule: Any) -> Recipe:
    return _decoupled(jr.decay(jr.L2(decay / 2)), schedule)


def _independent(rate: Any, decay: Any, schedule: Any) -> Recipe:
    return _decoupled(jr.independent_decay(jr.L2(decay * REFERENCE / 2), rate), schedule)


def _corrected(rate: Any, decay: Any, schedule: Any) -> Recipe:
    return _decoupled(jr.corrected_decay(jr.L2(decay / 2), schedule, rate), schedule)


MEANINGS: dict[str, Callable[[Any, Any, Any], Recipe]] = {
    "coupled": _coupled,
    "AdamW": _adamw,
    "independent": _independent,
    "corrected": _corrected,
}


def lane(meaning: str, task: Problem, rate: jax.Array, decay: jax.Array, draw: jax.Array) -> dict[str, Any]:
    """One training, under a learning rate that falls to 0 along a cosine."""

    def schedule(step: jax.Array) -> jax.Array:
        return rate * (1 + jnp.cos(jnp.pi * step / EPOCHS)) / 2

    found = fit(task, MEANINGS[meaning](rate, decay, schedule), jax.random.key(draw), draw)
    return {name: found[name].values[-1] for name in ("test_loss", "test_accuracy")}


CHANCE = float(np.log(10))


def best_slope(losses: xr.DataArray) -> float:
    """How many decades the best decay moves for each decade of the rate, where it gains 0.01 nats on the smallest.

    It has no interval: the best of a flat row jumps from draw to draw.
    """
    mean = losses.mean("draw").transpose("rate", "decay")
    useful = (mean.isel(decay=0) - mean.min("decay") > 0.01).values & (mean.argmin("decay") > 0).values
    if useful.sum() < 3:
        return float("nan")
    best = np.log10(mean["decay"].values[mean.argmin("decay").values[useful]])
    return float(np.polyfit(np.log10(mean["rate"].values[useful]), best, 1)[0])


def edge_slope(losses: xr.DataArray) -> float:
    """The same of the decay that leaves half of what the best one of the same rate learns, for rates from 0.01 on."""
    mean = losses.mean("draw").transpose("rate", "decay").sel(rate=slice(0.0099, None))
    decays, edges = np.log10(mean["decay"].values), []
    for row in mean.values:
        half = (row.min() + CHANCE) / 2
        last = int(np.nonzero(row <= half)[0][-1])
        if last + 1 == len(row):
            return float("nan")
        across = (half - row[last]) / (row[last + 1] - row[last])
        edges.append(decays[last] + across * (decays[last + 1] - decays[last]))
    if len(edges) < 2:
        return float("nan")
    return float(np.polyfit(np.log10(mean["rate"].values), edges, 1)[0])


def interval(slope: Callable[[xr.DataArray], float], losses: xr.DataArray) -> tuple[float, float, float]:
    """A slope of the mean over draws, and the bootstrap interval of the jackknife's pseudo-values."""
    whole, draws = slope(losses), losses.sizes["draw"]
    without = [slope(losses.isel(draw=np.delete(np.arange(draws), draw))) for draw in range(draws)]
    low, high = mean_interval(draws * whole - (draws - 1) * np.array(without))
    return whole, float(low), float(high)


def trained(asked: argparse.Namespace) -> xr.Dataset:
    task = problem(asked.draws)
    over = {
        "rate": np.geomspace(1e-4, 1e-1, asked.side),
        "decay": np.geomspace(1e-4, 1e2, asked.side),
        "draw": np.arange(asked.draws),
    }
    maps = [sweep(partial(lane, meaning, task), over, asked.out / meaning).load() for meaning in MEANINGS]
    return xr.concat(maps, "meaning", combine_attrs="drop").assign_coords(meaning=list(MEANINGS))


def tell(found: xr.Dataset) -> Figure:
    print(", ".join(f"{found.sizes[axis]} {axis}s" for axis in ("rate", "decay", "draw", "meaning")))
    figure = Figure(figsize=(10, 7.5), layout="constrained")
    for number, meaning in enumerate(found["meaning"].values.tolist()):
        here = found.sel(meaning=meaning)
        # A lane that blew up is as bad as one that guesses: it must not hide all others in a mean or a scale.
        losses = here["test_loss"].where(here["test_loss"] < CHANCE, CHANCE).rename("test_loss")
        mean = losses.mean("draw")
        place = mean.argmin(["rate", "decay"])
        rate, decay = (float(mean[name][place[name]]) for name in ("rate", "decay"))
        best = here.sel(rate=rate, decay=decay)
        lowest, accuracies = best["test_loss"].values, best["test_accuracy"].values
        print(
            f"{meaning:11s} best test loss {lowest.mean():.4f} ± {lowest.std(ddof=1) / len(lowest) ** 0.5:.4f}, "
            f"accuracy {accuracies.mean():.4f}, at rate {rate:.2g} and decay {decay:.2g}; "
            f"{int((~np.isfinite(here['test_loss'])).sum())} lanes diverged"
        )
        edge, low, high = interval(edge_slope, losses)
        print(
            f"{'':11s} a decade of the rate moves the best decay by {best_slope(losses):+z.2f} decades, the edge "
            f"by {edge:+.2f} [{low:+.2f}, {high:+.2f}]"
        )
        ax = figure.add_subplot(2, 2, number + 1)
        heat_map(ax, losses, "rate", "decay", chosen=(rate, decay)).collections[0].set_rasterized(True)
        ax.set(title=meaning, xlabel="learning rate", ylabel="decay")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=24)
    parser.add_argument("--draws", type=int, default=8)
    headline(parser, "rate_decay_maps", trained, tell)


if __name__ == "__main__":
    main()
