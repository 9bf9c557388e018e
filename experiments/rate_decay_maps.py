"""Maps over learning rate × decay on digits, under four meanings of decay.

Claim: under AdamW's decay, of size learning rate × decay, the best decay falls as the learning rate grows; under the
independent one it doesn't (Loshchilov and Hutter, Decoupled weight decay regularization, 2019, figures 1 and 2: the
basins of SGD and Adam on CIFAR-10). The corrected one (Defazio, 2025) differs from AdamW's late in a schedule only.
Decay is AdamW's d at the learning rate 0.01 for all four, so the maps agree along that column where they can.
Command: python experiments/rate_decay_maps.py (an hour on 2 busy cores; --side, --draws, --out change size and place).
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from matplotlib.figure import Figure

import jaxreg as jr
from jaxreg.lab import MLP, Problem, Recipe, categorical_accuracy, categorical_cross_entropy, digits, fit, linen, sweep
from jaxreg.lab.compiled import keep_compiled
from jaxreg.lab.plots import heat_map, style

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
    schedule = lambda step: rate * (1 + jnp.cos(jnp.pi * step / EPOCHS)) / 2  # noqa: E731
    found = fit(task, MEANINGS[meaning](rate, decay, schedule), jax.random.key(draw), draw)
    return {name: found[name].values[-1] for name in ("test_loss", "test_accuracy")}


def ridge_slope(losses: xr.DataArray) -> float:
    """How many decades the best decay moves for each decade of the learning rate, where the best is inside the map."""
    mean = losses.mean("draw").transpose("rate", "decay")
    best = mean.argmin("decay").values
    low = mean.min("decay").values
    near = (best > 0) & (best < mean.sizes["decay"] - 1) & (low < low.min() * 1.2)
    if near.sum() < 3:
        return float("nan")
    across, up = np.log10(mean["rate"].values[near]), np.log10(mean["decay"].values[best[near]])
    return float(np.polyfit(across, up, 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=24)
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("results/rate_decay_maps"))
    asked = parser.parse_args()
    keep_compiled()
    task = problem(asked.draws)
    over = {
        "rate": np.geomspace(1e-4, 1e-1, asked.side),
        "decay": np.geomspace(1e-4, 1e2, asked.side),
        "draw": np.arange(asked.draws),
    }
    with style():
        figure = Figure(figsize=(10, 7.5), layout="constrained")
        for number, meaning in enumerate(MEANINGS):
            found = sweep(partial(lane, meaning, task), over, asked.out / meaning).load()
            losses = found["test_loss"]
            mean = losses.mean("draw")
            place = mean.where(np.isfinite(mean), np.inf).argmin(["rate", "decay"])
            rate, decay = (float(mean[name][place[name]]) for name in ("rate", "decay"))
            best = losses.sel(rate=rate, decay=decay).values
            accuracy = found["test_accuracy"].sel(rate=rate, decay=decay).values
            print(
                f"{meaning:11s} best test loss {best.mean():.4f} ± {best.std(ddof=1) / len(best) ** 0.5:.4f}, accuracy "
                f"{accuracy.mean():.4f}, at rate {rate:.2g} and decay {decay:.2g}; the best decay moves by "
                f"{ridge_slope(losses):+.2f} decades a decade of the rate",
                flush=True,
            )
            ax = figure.add_subplot(2, 2, number + 1)
            heat_map(ax, losses, "rate", "decay", chosen=(rate, decay))
            ax.set(title=meaning, xlabel="learning rate", ylabel="decay")
        figure.savefig(asked.out / "maps.svg")
    print(f"picture: {asked.out / 'maps.svg'}")


if __name__ == "__main__":
    main()
