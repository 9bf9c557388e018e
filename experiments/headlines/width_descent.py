"""Double descent of networks with noisy labels, and its cure by L2: width × strength × rows, on many draws.

Claims: the test loss of a network without penalty peaks where it begins to fit its noisy labels and falls beyond
(Belkin, Hsu, Ma and Mandal, Reconciling modern machine-learning practice, 2019: with squared loss, where there are as
many weights as targets). With the best L2 there is no peak: the loss falls with the width and with the rows (Nakkiran,
Venkat, Kakade and Ma, Optimal regularization can mitigate double descent, 2021; of networks they show single curves).
Here: 10 inputs, labels -1 and 1 of a linear rule, 20 % of the training labels flipped, squared loss, one hidden layer
of ReLU units trained by Adam on all rows at once. All widths of one number of rows train in one program. The strength
is chosen in each draw on validation rows with true labels; losses and errors are those of other rows with true labels.
The second half of the draws is the rerun from other seeds.
Command: python experiments/headlines/width_descent.py (--draws, --epochs, --out change its size and place).
"""

import argparse
from functools import partial
from itertools import pairwise, product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from headline import RESAMPLES, changed, detectable, headline, mean_of
from matplotlib.figure import Figure

import jaxreg as jr
from jaxreg.lab import MLP, Data, Problem, Recipe, any_width, fit, linen, squared_error, sweep
from jaxreg.lab.data import parted
from jaxreg.lab.plots.theme import BLUE, ORANGE, legend
from jaxreg.lab.stats.intervals import mean_interval

INPUTS, FLIPPED = 10, 0.2
ROWS = (40, 80, 160)
WIDTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 48)
STRENGTHS = np.array([0.0, 0.01, 0.03, 0.1, 0.3])


def noisy_labels(draws: int, rows: int, others: int = 500) -> Data:
    """Labels of a linear rule, flipped at random on training rows alone; as many rows validate as test."""
    parts = []
    for draw in range(draws):
        random = np.random.default_rng(draw)
        rule = random.normal(size=INPUTS)
        x = random.normal(size=(rows + 2 * others, INPUTS))
        y = np.sign(x @ rule)
        y[:rows] *= np.where(random.uniform(size=rows) < FLIPPED, -1, 1)
        parts.append((x, y))
    x, y = (np.stack(arrays) for arrays in zip(*parts, strict=True))
    return parted(x.astype(np.float32), y.astype(np.float32), rows, others)


def error(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """1 for each row on the wrong side of 0."""
    return ((outputs[:, 0] > 0) != (targets > 0)).astype(jnp.float32)


def lane(data: Data, epochs: int, width: jax.Array, strength: jax.Array, draw: jax.Array) -> dict[str, Any]:
    """One network, trained on all rows at once under a learning rate that falls to 0."""
    rows = data.y_train.shape[1]
    network = any_width(lambda units: linen(MLP(hidden=units), (INPUTS,)), WIDTHS)(width)
    task = Problem(network, data, epochs, squared_error, {"error": error}, batch_size=rows, record_every=epochs)
    rate = optax.cosine_decay_schedule(0.02, epochs)
    recipe = Recipe(penalties={jr.KERNELS: jr.L2(strength)}, learning_rate=rate, optimizer=optax.adam)
    found = fit(task, recipe, jax.random.key(draw), draw)
    return {name: found[name].values[-1] for name in ("train_loss", "validation_loss", "test_loss", "test_error")}


def trained(asked: argparse.Namespace) -> xr.Dataset:
    over = {"width": np.array(WIDTHS), "strength": STRENGTHS, "draw": np.arange(2 * asked.draws)}
    found = []
    for rows in ROWS:
        data = noisy_labels(2 * asked.draws, rows)
        found.append(sweep(partial(lane, data, asked.epochs), over, asked.out / f"rows_{rows}").load())
    joined = xr.concat(found, xr.DataArray(list(ROWS), dims="rows", name="rows"), combine_attrs="drop")
    first = joined.isel(draw=slice(asked.draws))
    again = joined.isel(draw=slice(asked.draws, None)).assign_coords(draw=first["draw"])
    return xr.concat([first, again], xr.DataArray([0, 1], dims="run", name="run")).astype(np.float32)


def weights(width: int) -> int:
    """Number of weights and biases of the network."""
    return width * (INPUTS + 2) + 1


def chosen(found: xr.Dataset) -> xr.Dataset:
    """The networks of the strength with the least validation loss, in each draw."""
    return found.isel(strength=found["validation_loss"].argmin("strength"))


RUNS = {0: "First run", 1: "Rerun from other seeds"}


def tell(found: xr.Dataset) -> Figure:
    last = int(found["width"][-1])
    free, cured = found["test_loss"].sel(strength=0), chosen(found)["test_loss"].transpose(..., "draw")
    print(
        f"{found['test_loss'].size} networks, {found.sizes['draw']} draws in each of two runs; means, 95 % intervals."
    )
    peaks = []
    for (run, words), rows in product(RUNS.items(), found["rows"].values.tolist()):
        here, best = free.sel(run=run, rows=rows), cured.sel(run=run, rows=rows)
        wrong = [
            part["test_error"].sel(run=run, rows=rows, width=last) for part in (found.sel(strength=0), chosen(found))
        ]
        peak = int(here.mean("draw").idxmax("width"))
        wider = best.sel(width=last) - best.sel(width=1)
        sides = [(here.sel(width=peak) - here.sel(width=other)).values for other in (1, last)]
        peaks.append((weights(peak) / rows, mean_interval(np.stack(sides), resamples=RESAMPLES)[0].min() > 0))
        print(
            f"{words}, {rows} rows, no penalty: the loss peaks at {peak} units ({weights(peak)} weights) with "
            f"{mean_of(here.sel(width=peak).values)}. {changed('This is above 1 unit', sides[0])}. "
            f"{changed(f'It is above {last} units', sides[1])}."
        )
        print(
            f"{words}, {rows} rows, L2: {mean_of(best.sel(width=peak).values)} at {peak} units. "
            f"{changed(f'{last} units instead of 1 change the loss', wider.values)}."
        )
        print(
            f"{words}, {rows} rows, {last} units: test error {mean_of(wrong[0].values)} without penalty, "
            f"{mean_of(wrong[1].values)} with L2."
        )
    shares = [share for share, _ in peaks]
    print(
        f"A peak above both ends, beyond chance: in {sum(sure for _, sure in peaks)} of {len(peaks)} cases. There are "
        f"{min(shares):.2f} to {max(shares):.2f} weights per row at the peak."
    )
    print(f"Steps of the width that raise the loss with L2 beyond chance in both runs: {_rises(cured)}.")
    small, large = found["rows"].values.tolist()[:2]
    worst = int((free.sel(run=0, rows=large) - free.sel(run=0, rows=small)).mean("draw").idxmax("width"))
    for run, words in RUNS.items():
        changes = [
            (losses.sel(rows=large) - losses.sel(rows=small)).sel(run=run, width=worst).values
            for losses in (free, cured)
        ]
        print(
            f"{words}, {worst} units, {large} rows instead of {small}: {changed('no penalty', changes[0])}. "
            f"{changed('With L2', changes[1])}."
        )
        steps = cured.sel(run=run).transpose("rows", "width", "draw").diff("width").values
        seen = np.median([detectable(step) for step in steps.reshape(-1, found.sizes["draw"])])
        print(f"{words}, power: four of five such studies would see a step of the width that raises it by {seen:.3f}.")
    return _drawn(found.sel(run=0))


def _rises(losses: xr.DataArray) -> str:
    widths, steps = (
        losses["width"].values.tolist(),
        losses.transpose("rows", "width", "run", "draw").diff("width").values,
    )
    sure = mean_interval(steps, resamples=RESAMPLES)[0].min(-1) > 0
    found = [
        f"{a} to {b} units, {rows} rows ({', '.join(f'{step:+.3f}' for step in mean)})"
        for (rows, (a, b)), mean, rises in zip(
            product(losses["rows"].values.tolist(), pairwise(widths)),
            steps.mean(-1).reshape(-1, steps.shape[2]),
            sure.ravel(),
            strict=True,
        )
        if rises
    ]
    return "; ".join(found) or "none"


def _drawn(found: xr.Dataset) -> Figure:
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    axes = figure.subplots(1, found.sizes["rows"], sharey=True)
    curves = (("no penalty", found.sel(strength=0), BLUE), ("L2 chosen in each draw", chosen(found), ORANGE))
    for ax, rows in zip(axes, found["rows"].values.tolist(), strict=True):
        for label, part, colour in curves:
            losses = part["test_loss"].sel(rows=rows).transpose("width", "draw").values
            low, high = mean_interval(losses, resamples=RESAMPLES)
            ax.plot(found["width"], losses.mean(1), "o-", color=colour, label=label, markersize=3)
            ax.fill_between(found["width"], low, high, color=colour, alpha=0.2, linewidth=0)
        ax.axvline((rows - 1) / (INPUTS + 2), color="grey", linestyle=":", label="as many weights as rows")
        ax.set(xlabel="hidden units", xscale="log", yscale="log", title=f"{rows} rows")
    axes[0].set_ylabel("test loss")
    legend(axes[-1])
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=12, help="of each of the two runs")
    parser.add_argument("--epochs", type=int, default=1500)
    headline(parser, "width_descent", trained, tell)


if __name__ == "__main__":
    main()
