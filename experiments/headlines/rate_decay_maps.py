"""Maps of the test loss over learning rate and decay, on digits, for four definitions of decay.

Claim: under AdamW's decay, which is multiplied by the learning rate, the best decay falls as the learning rate grows.
Under independent decay it does not (Loshchilov and Hutter, Decoupled weight decay regularization, 2019, figures 1 and
2: pictures of SGD and Adam on CIFAR-10, without numbers). The corrected decay (Defazio, 2025) differs from AdamW's only
late in a schedule.

The result here is the opposite: the best decay is constant under AdamW's decay and grows with the learning rate under
independent decay. A training here has 60 steps on one batch, so the effect of the decay depends on the sum of its
steps. For all four definitions, a decay d has the same effect as AdamW's d at the learning rate 0.01, where this is
possible. So the maps agree in the column of this learning rate.

Command: python experiments/headlines/rate_decay_maps.py (--side and --draws change the size, --out the folder).
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
    """Return the problem: a network of 32 hidden units, 100 training digits in one batch, all others for testing."""
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
    """Train once, with a learning rate that falls to 0 along a cosine."""

    def schedule(step: jax.Array) -> jax.Array:
        return rate * (1 + jnp.cos(jnp.pi * step / EPOCHS)) / 2

    found = fit(task, MEANINGS[meaning](rate, decay, schedule), jax.random.key(draw), draw)
    return {name: found[name].values[-1] for name in ("test_loss", "test_accuracy")}


CHANCE = float(np.log(10))


def best_slope(losses: xr.DataArray) -> float:
    """Return by how many decades the best decay changes per decade of the learning rate.

    Only learning rates at which the best decay gains 0.01 nats on the smallest decay are used. The result has no
    interval, because for some learning rates the loss is nearly flat and its minimum jumps from draw to draw.
    """
    mean = losses.mean("draw").transpose("rate", "decay")
    useful = (mean.isel(decay=0) - mean.min("decay") > 0.01).values & (mean.argmin("decay") > 0).values
    if useful.sum() < 3:
        return float("nan")
    best = np.log10(mean["decay"].values[mean.argmin("decay").values[useful]])
    return float(np.polyfit(np.log10(mean["rate"].values[useful]), best, 1)[0])


def edge_slope(losses: xr.DataArray) -> float:
    """Return by how many decades the edge of the good decays changes per decade of the learning rate, from 0.01 on.

    The edge is the decay at which the loss is halfway between the best loss of the learning rate and chance.
    """
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
    """Return the slope of the mean over draws, and a bootstrap interval from the pseudo-values of a jackknife."""
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
        # A diverged run counts as chance, so that it does not dominate the mean or the colour scale.
        losses = here["test_loss"].where(here["test_loss"] < CHANCE, CHANCE).rename("test_loss")
        mean = losses.mean("draw")
        place = mean.argmin(["rate", "decay"])
        rate, decay = (float(mean[name][place[name]]) for name in ("rate", "decay"))
        best = here.sel(rate=rate, decay=decay)
        lowest, accuracies = best["test_loss"].values, best["test_accuracy"].values
        print(
            f"{meaning:11s} best test loss {lowest.mean():.4f} ± {lowest.std(ddof=1) / len(lowest) ** 0.5:.4f}, "
            f"accuracy {accuracies.mean():.4f}, at rate {rate:.2g} and decay {decay:.2g}; "
            f"{int((~np.isfinite(here['test_loss'])).sum())} runs diverged"
        )
        edge, low, high = interval(edge_slope, losses)
        print(
            f"{'':11s} per decade of the rate, the best decay changes by {best_slope(losses):+z.2f} decades and "
            f"the edge by {edge:+.2f} [{low:+.2f}, {high:+.2f}]"
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
