"""Weight regularisation of an LSTM on a series of 36 months, and on many similar series.

Claim: in forecasts of shampoo sales, L1, L2 or both of 0.01 on the input kernel of an LSTM lower the test RMSE from
91.6 to 82.1, 82.1 and 80.5. On the bias they change little, and on the recurrent kernel they raise it (J. Brownlee, How
to Use Weight Regularization with LSTM Networks for Time Series Forecasting in Python, 2017: `PUBLISHED`, means of 30
runs).

The procedure is that of the source:

- months 1 to 24 are for training and months 25 to 36 for testing
- each change is forecast from the change of the month before
- all changes are scaled to -1 … 1
- the LSTM has three units (the text of the source says one)
- 1000 epochs with batches of 4 rows, in the order of the months
- the state is passed from one batch to the next and starts from zero in each epoch

Command: python experiments/headlines/lstm_shampoo.py (--seeds and --draws change the size, --out the folder).
"""

import argparse
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from headline import headline
from matplotlib.figure import Figure

import jaxreg as jr
from jaxreg.lab import LSTM, NUMBERS, Data, Labelled, Model, Problem, Recipe, fit, linen, sweep
from jaxreg.lab.plots.theme import COLOURS, GREY, legend
from jaxreg.lab.stats import paired
from jaxreg.lab.stats.intervals import mean_interval

# Makridakis, Wheelwright and Hyndman, Forecasting: methods and applications, 3rd edition, 1998, chapter 3.
SALES = np.concatenate(
    [
        [266, 145.9, 183.1, 119.3, 180.3, 168.5, 231.8, 224.5, 192.8, 122.9, 336.5, 185.9],
        [194.3, 149.5, 210.1, 273.3, 191.4, 287, 226, 303.6, 289.9, 421.6, 264.5, 342.3],
        [339.7, 440.4, 315.9, 439.3, 401.3, 437.4, 575.5, 407.6, 682, 475.3, 581.3, 646.9],
    ]
)
SLOTS, TESTS, EPOCHS = 4, 12, 1000
PLACES = {"kernel": "lstm/kernel", "recurrent kernel": "lstm/recurrent_kernel", "bias": "lstm/bias"}
KINDS = {"L1": (1.0, 0.0), "L2": (0.0, 1.0), "L1L2": (1.0, 1.0)}
STRENGTHS = np.array([0, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1])
PUBLISHED = {  # mean of 30 runs without, and with 0.01 of each kind
    "kernel": (91.64, {"L1": 82.12, "L2": 82.14, "L1L2": 80.47}),
    "recurrent kernel": (92.92, {"L1": 100.68, "L2": 101.30, "L1L2": 96.82}),
    "bias": (92.82, {"L1": 95.52, "L2": 93.29, "L1L2": 92.90}),
}


class Series(NamedTuple):
    """Series to train on, of shape (series, months).

    Args:
        data: Rows of scaled changes. The input of a row is its history, and its target is the next change.
        units: Sales that a scaled change of 1 stands for, one number per series.
        naive: RMSE in sales of the forecast of no change, one number per series.
    """

    data: Data
    units: np.ndarray
    naive: np.ndarray


def histories(numbers: np.ndarray) -> np.ndarray:
    """Return all numbers that a stateful LSTM with batches of SLOTS rows has read up to each row.

    Row i continues the state of row i - SLOTS. The shape is (rows, steps, 2). An entry of the last axis is a number and
    a 1, or two zeros before the first number.
    """
    steps = -(-len(numbers) // SLOTS)
    read = np.zeros((len(numbers), steps, 2))
    for row in range(len(numbers)):
        own = numbers[row % SLOTS : row + 1 : SLOTS]
        read[row, steps - len(own) :] = np.stack([own, np.ones_like(own)], 1)
    return read


def prepared(sales: np.ndarray) -> Series:
    """Prepare sales as in the source: pair each change with the next one, and scale both by the training rows."""
    draws, units = [], []
    for changes in np.diff(sales):
        pairs = np.stack([changes[:-1], changes[1:]], 1)
        low, high = pairs[:-TESTS].min(0), pairs[:-TESTS].max(0)
        x, y = (2 * (pairs - low) / (high - low) - 1).T
        # The first two rows are left out, as there, so that the batches are full.
        draws.append((histories(x[2:-TESTS]), y[2:-TESTS], histories(x[-TESTS:]), y[-TESTS:]))
        units.append((high - low)[1] / 2)
    data = Data(*(np.stack(arrays).astype(np.float32) for arrays in zip(*draws, strict=True)))
    return Series(data, np.array(units, np.float32), np.sqrt(np.mean(np.square(np.diff(sales)[:, -TESTS:]), 1)))


def series_like_it(draws: int) -> np.ndarray:
    """Simulate series that resemble the sales: an autoregression of order 1 of the changes of log sales.

    The noise is resampled from the residuals of the real series.
    """
    changes = np.diff(np.log(SALES))
    slope, level = np.polyfit(changes[:-1], changes[1:], 1)
    residuals = changes[1:] - slope * changes[:-1] - level
    random = np.random.default_rng(0)
    found = np.full((draws, len(SALES)), np.log(SALES[0]))
    change = np.full(draws, level / (1 - slope))
    for month in range(1, len(SALES)):
        change = level + slope * change + random.choice(residuals, draws)
        found[:, month] = found[:, month - 1] + change
    return np.exp(found)


def stateful(units: int = 3) -> Model:
    """Keras's LSTM with a state that stays between batches, and a linear output.

    A row contains its history, and its state is computed from the history with the current weights. Keras computes the
    state in the earlier batches of the epoch, with weights that differ by a few thousandths. In both cases no gradient
    flows through the state.
    """
    network = linen(LSTM(units=(units,)), inputs=(1, 1))

    def apply(params: Any, x: jax.Array) -> jax.Array:
        weights = params["lstm"]

        def step(state: Any, read: jax.Array) -> tuple[Any, None]:
            hidden, cell = state
            number, there = read[:, :1], read[:, 1:]
            gates = number @ weights["kernel"] + hidden @ weights["recurrent_kernel"] + weights["bias"]
            i, f, c, o = jnp.split(gates, 4, axis=-1)
            cell = there * (jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(c))
            return (jax.nn.sigmoid(o) * jnp.tanh(cell), cell), None  # the output of a cell of 0 is 0 too

        start = jnp.zeros((len(x), units))
        state, _ = jax.lax.scan(step, (start, start), jnp.swapaxes(x[:, :-1], 0, 1))
        (hidden, _), _ = step(jax.lax.stop_gradient(state), x[:, -1])
        return hidden @ params["output"]["kernel"] + params["output"]["bias"]

    return Model(network.init, apply)


def problem(series: Series, epochs: int = EPOCHS) -> Problem:
    """Return the problem of the source. Penalties are arguments of the sweep."""
    return Problem(
        stateful(),
        series.data,
        epochs,
        NUMBERS.loss,
        NUMBERS.metrics,
        batch_size=SLOTS,
        record_every=epochs // 10,
        shuffle=False,
    )


def lane(
    task: Problem, place: jax.Array, kind: jax.Array, strength: jax.Array, seed: jax.Array, draw: jax.Array | int
) -> dict[str, Any]:
    """Train once. `place` is one-hot for the regularised weights; `kind` has a 1 for L1 and a 1 for L2 if used."""
    penalties = {
        path: jr.L1L2(strength * place[number] * kind[0], strength * place[number] * kind[1])
        for number, path in enumerate(PLACES.values())
    }
    return fit(task, Recipe(penalties=penalties), jax.random.key(seed), draw)


def trained(asked: argparse.Namespace) -> xr.Dataset:
    """Train on the real series from many seeds, and on many similar series from one seed each."""
    real, others = prepared(SALES[None]), prepared(series_like_it(asked.draws))
    grid = {"place": np.eye(len(PLACES)), "kind": np.array(list(KINDS.values())), "strength": STRENGTHS}
    names = {"place": list(PLACES), "kind": list(KINDS)}
    tasks = problem(real, asked.epochs), problem(others, asked.epochs)

    def on_sales(place: Any, kind: Any, strength: Any, seed: Any) -> dict[str, Any]:
        found = lane(tasks[0], place, kind, strength, seed, 0)
        rmse = {part: found[f"{part}_rmse"].values * real.units[0] for part in ("train", "test")}
        return {"train_rmse": rmse["train"][-1], "test_rmse": Labelled(rmse["test"], ("epoch",))}

    def on_others(place: Any, kind: Any, strength: Any, draw: Any) -> dict[str, Any]:
        found = lane(tasks[1], place, kind, strength, draw, draw)
        return {"share": found["test_rmse"].values[-1] * jnp.asarray(others.units / others.naive)[draw]}

    coords = names | {"epoch": tasks[0].recorded}
    sales = sweep(on_sales, {**grid, "seed": np.arange(asked.seeds)}, asked.out / "sales", coords=coords).load()
    like = sweep(on_others, {**grid, "draw": np.arange(asked.draws)}, asked.out / "series_like_it", coords=names).load()
    return xr.merge([sales, like], combine_attrs="drop")


def references() -> dict[str, float]:
    """Return the RMSE of three forecasts without a network: no change, the mean change, and a fitted line."""
    series = prepared(SALES[None])
    data, units = series.data, series.units[0]
    x, y = data.x_train[0, :, -1, 0], data.y_train[0]
    x_test, y_test = data.parts()["test"]
    line = np.polyval(np.polyfit(x, y, 1), x_test[0, :, -1, 0])
    errors = {"the mean change": y.mean() - y_test[0], "a line": line - y_test[0]}
    rmse = {name: float(units * np.sqrt(np.mean(np.square(error)))) for name, error in errors.items()}
    return {"no change": float(series.naive[0])} | rmse


def tell(found: xr.Dataset) -> Figure:
    simple = references()
    print("without a network: " + ", ".join(f"{name} {rmse:.1f}" for name, rmse in simple.items()))
    ends, share = found["test_rmse"].isel(epoch=-1), found["share"]
    none, line = ends.sel(strength=0, place="kernel", kind="L2", drop=True), simple["a line"]
    low, high = mean_interval(none.values)
    print(f"shampoo sales, {ends.sizes['seed']} seeds, {share.sizes['draw']} similar series, 95 % intervals")
    print("test RMSE with strength 0.01:")
    print(f"none: {float(none.mean()):.1f} [{low:.1f}, {high:.1f}], sd {float(none.std(ddof=1)):.1f}")
    for place, (before, after) in PUBLISHED.items():
        for kind, rmse in after.items():
            at = {"place": place, "kind": kind, "strength": 0.01}
            here, change = ends.sel(at, drop=True), paired(ends.sel(at, drop=True), none, lower_is_better=True)
            baseline = share.sel(at | {"strength": 0}, drop=True)
            like = paired(share.sel(at, drop=True), baseline, lower_is_better=True)
            print(
                f"{kind:4s} on the {place}: {float(here.mean()):.1f} (published {rmse:.1f}), change {change.mean:+.1f} "
                f"[{change.low:+.1f}, {change.high:+.1f}] (published {rmse - before:+.1f}), better in "
                f"{change.wins / change.n:.0%} of the seeds; similar series: {100 * like.mean:+.1f} "
                f"[{100 * like.low:+.1f}, {100 * like.high:+.1f}] % of the RMSE of no change, better in "
                f"{like.wins / like.n:.0%}"
            )
    for strength in found["strength"].values:
        rows = [f"{kind} {float(ends.sel(place='kernel', kind=kind, strength=strength).mean()):.1f}" for kind in KINDS]
        print(f"kernel, {strength:g}: " + ", ".join(rows))
    curve = found["test_rmse"].sel(strength=0, place="kernel", kind="L2").mean("seed")
    lowest = f"{float(curve.min()):.1f}; fitted line: {line:.1f}"
    print(f"without a penalty, the test RMSE is lowest at epoch {int(curve.idxmin()):d}: {lowest}")
    return _drawn(found, line)


def _drawn(found: xr.Dataset, line: float) -> Figure:
    ends, share = found["test_rmse"].isel(epoch=-1), found["share"]
    colours = dict(zip(KINDS, COLOURS, strict=False))
    figure = Figure(figsize=(12, 4), layout="constrained")
    ax = figure.add_subplot(1, 3, 1)
    rows = [("none", "kernel", "L2", 0.0)] + [(f"{k}, {p}", p, k, 0.01) for p in PLACES for k in KINDS]
    for number, (_, place, kind, strength) in enumerate(rows):
        values = ends.sel(place=place, kind=kind, strength=strength).values
        colour = colours[kind] if strength else GREY
        ax.plot(values, np.full(len(values), number), "o", color=colour, alpha=0.25, markersize=4)
        claimed = PUBLISHED[place][1][kind] if strength else PUBLISHED[place][0]
        ax.plot(claimed, number, "k|", markersize=14, label="published mean" if not number else None)
    ax.axvline(line, color=GREY, linestyle=":", label="a line")
    ax.set(yticks=range(len(rows)), xlabel="test RMSE (sales)", title="0.01, every seed")
    ax.set_yticklabels([row[0] for row in rows])
    ax.invert_yaxis()
    legend(ax, below=True)
    ax = figure.add_subplot(1, 3, 2)
    places = np.arange(len(found["strength"]))
    for kind, colour in colours.items():
        _band(ax, places, ends.sel(place="kernel", kind=kind).transpose("strength", "seed").values, colour, kind)
    ax.axhline(line, color=GREY, linestyle=":", label="a line")
    ax.set(xlabel="strength", ylabel="test RMSE (sales)", title="input kernel, shampoo sales")
    ax.set_xticks(places, [f"{s:g}" for s in found["strength"].values])
    legend(ax, below=True)
    ax = figure.add_subplot(1, 3, 3)
    for place, colour in zip(PLACES, COLOURS, strict=False):
        here = share.sel(place=place, kind="L2").transpose("strength", "draw")
        _band(ax, places, 100 * (here - here.sel(strength=0)).values, colour, place)
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set(xlabel="strength of L2", ylabel="change (% of the RMSE of no change)", title="similar series")
    ax.set_xticks(places, [f"{s:g}" for s in found["strength"].values])
    legend(ax, below=True)
    return figure


def _band(ax: Any, places: np.ndarray, values: np.ndarray, colour: str, label: str) -> None:
    low, high = mean_interval(values)
    ax.plot(places, values.mean(1), "o-", color=colour, label=label)
    ax.fill_between(places, low, high, color=colour, alpha=0.2, linewidth=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=64)
    parser.add_argument("--draws", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    headline(parser, "lstm_shampoo", trained, tell)


if __name__ == "__main__":
    main()
