"""Double descent, and ridge regression as its cure: for linear regression, random ReLU features and a trained network.

Claim: the risk of least squares peaks if there are as many points as features, and ridge regression of the best
strength has no peak. The claim is for 500 features, weights of length 1 and noise of standard deviation 0.5. The best
strength is 125 for the sum of squares, whatever the number of points (Nakkiran, Venkat, Kakade and Ma, Optimal
regularization can mitigate double descent, 2021). At 481 points, the theory for many points and features gives a risk
of 6.37 without ridge and 0.405 with it. The exact mean without ridge is 6.72.

The experiment is repeated for other models:

- 200 points and a varying number of random ReLU features
- 100 points and a network of varying width, with both layers trained by Adam, without and with L2 on its kernels

Command: python experiments/headlines/double_descent.py (--draws changes the number of draws, --out the folder).
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from headline import headline
from matplotlib.figure import Figure

import jaxreg as jr
from jaxreg.lab import MLP, Data, Labelled, Problem, Recipe, fit, linen, squared_error, sweep
from jaxreg.lab.data import parted
from jaxreg.lab.plots.theme import BLUE, ORANGE, legend

DIMENSIONS, NOISE = 500, 0.5
POINTS = (100, 200, 300, 400, 450, 481, 500, 520, 560, 650, 800, 1200)
FEATURES = (20, 60, 100, 140, 170, 190, 200, 210, 240, 300, 500, 1000, 2000)
WIDTHS = (1, 2, 3, 4, 5, 6, 8, 12, 20, 50, 150)
STRENGTHS = np.array([0.0, *(125 * 2.0 ** np.arange(-3, 4))])
RELU_STRENGTHS = np.array([0.0, *(10.0 ** np.arange(-4.0, 2.0))])
NET_STRENGTHS = np.array([0.0, 0.003, 0.01, 0.03, 0.1, 0.3])


def ridges(x: jax.Array, y: jax.Array, strengths: jax.Array) -> jax.Array:
    """Return the minimum w of Σ(xw - y)² + strength · Σw² for each strength, of shape (strengths, features).

    If there are several minima, the result is the one of smallest norm.
    """
    n, d = x.shape
    # One decomposition of the smaller Gram matrix serves all strengths.
    values, vectors = jnp.linalg.eigh(x @ x.T if n < d else x.T @ x)
    safe = jnp.where(values > 1e-6 * values[-1], values, jnp.inf)
    inverse = 1 / (safe + strengths[:, None])
    if n < d:
        return (inverse * (vectors.T @ y)) @ vectors.T @ x
    return (inverse * (vectors.T @ (x.T @ y))) @ vectors.T


def linear(points: int, draw: jax.Array) -> dict[str, Any]:
    """Return the excess risk of linear regression at every strength, for one draw of points, weights and noise."""
    keys = jax.random.split(jax.random.key(draw), 3)
    truth = jax.random.normal(keys[0], (DIMENSIONS,))
    truth = truth / jnp.linalg.norm(truth)
    x = jax.random.normal(keys[1], (points, DIMENSIONS))
    y = x @ truth + NOISE * jax.random.normal(keys[2], (points,))
    found = ridges(x, y, jnp.asarray(STRENGTHS, jnp.float32))
    return {"risk": Labelled(jnp.sum(jnp.square(found - truth), 1), ("strength",))}


def relu(features: int, draw: jax.Array, points: int = 200, inputs: int = 50, tests: int = 1000) -> dict[str, Any]:
    """Return the excess risk of regression on random ReLU features at every strength, on new inputs.

    The true targets are a linear function of 50 inputs.
    """
    keys = jax.random.split(jax.random.key(draw), 4)
    truth = jax.random.normal(keys[0], (inputs,)) / inputs**0.5
    x = jax.random.normal(keys[1], (points + tests, inputs))
    layer = jax.random.normal(keys[2], (inputs, features)) / inputs**0.5
    hidden = jax.nn.relu(x @ layer) / features**0.5
    y = x @ truth
    noisy = y[:points] + NOISE * jax.random.normal(keys[3], (points,))
    found = ridges(hidden[:points], noisy, jnp.asarray(RELU_STRENGTHS, jnp.float32))
    return {"risk": Labelled(jnp.mean(jnp.square(found @ hidden[points:].T - y[points:]), 1), ("strength",))}


def theory(points: np.ndarray[Any, Any], strength: float) -> np.ndarray[Any, Any]:
    """Return the excess risk for many points and features, by the law of Marchenko and Pastur.

    Let a = strength / n, and let m(a) be the mean of 1 / (s + a) over all eigenvalues s of the covariance of the
    points, including those that are 0. The squared bias is -a² m', and the variance is noise² d/n (m + a m').
    """
    ratio = DIMENSIONS / np.asarray(points, float)
    if strength == 0:
        with np.errstate(divide="ignore"):
            return np.where(ratio > 1, 1 - 1 / ratio, 0) + NOISE**2 * np.minimum(ratio, 1) / np.abs(1 - ratio)
    a = strength / np.asarray(points, float)
    b = 1 - ratio + a
    m = (np.sqrt(b**2 + 4 * ratio * a) - b) / (2 * ratio * a)
    slope = -(ratio * m**2 + m) / (2 * ratio * a * m + b)
    return -(a**2) * slope + NOISE**2 * ratio * (m + a * slope)


def noisy_points(draws: int, points: int = 100, inputs: int = 20, tests: int = 500) -> Data:
    """Return data with linear targets and weights of length 1. Only training targets have noise.

    The test loss of such data is the excess risk.
    """
    random = np.random.default_rng(0)
    truth = random.normal(size=(draws, inputs, 1))
    x = random.normal(size=(draws, points + tests, inputs))
    y = (x @ truth)[..., 0] / np.linalg.norm(truth, axis=1)
    y[:, :points] += NOISE * random.normal(size=(draws, points))
    return parted(x.astype(np.float32), y.astype(np.float32), points, 0)


def net(data: Data, epochs: int, width: int, strength: jax.Array, draw: jax.Array) -> dict[str, Any]:
    """Train a network on all points as one batch, with a learning rate that falls to 0, and return its losses."""
    points, model = data.y_train.shape[1], linen(MLP(hidden=width), data.x_train.shape[2:])
    task = Problem(model, data, epochs, squared_error, {}, batch_size=points, record_every=epochs)

    def rate(step: jax.Array) -> jax.Array:
        return 0.01 * (1 + jnp.cos(jnp.pi * step / epochs))

    recipe = Recipe(penalties={jr.KERNELS: jr.L2(strength)}, learning_rate=rate, optimizer=optax.adam)
    found = fit(task, recipe, jax.random.key(draw), draw)
    return {"risk": found["test_loss"].values[-1], "train_loss": found["train_loss"].values[-1]}


def over(run: Any, axis: str, sizes: Sequence[int], grid: dict[str, Any], out: Path, chunk: int | None) -> xr.DataArray:
    """Return the risk along `axis`. Each size on this axis is a sweep with its own compiled program."""
    lanes = [sweep(partial(run, size), grid, out / f"{axis}_{size}", chunk=chunk)["risk"].load() for size in sizes]
    return xr.concat(lanes, axis, combine_attrs="drop").assign_coords({axis: list(sizes)})


def trained(asked: argparse.Namespace) -> xr.Dataset:
    draws = {"draw": np.arange(asked.draws)}
    # A draw at a time: many decompositions in one program wait for each other on a CPU.
    risks = over(linear, "points", POINTS, draws, asked.out, chunk=1).assign_coords(strength=STRENGTHS)
    random = over(relu, "features", FEATURES, draws, asked.out, chunk=1).assign_coords(strength=RELU_STRENGTHS)
    network = partial(net, noisy_points(asked.draws), asked.epochs)
    deep = over(network, "width", WIDTHS, {"strength": NET_STRENGTHS, **draws}, asked.out, chunk=None)
    parts = {"linear": risks, "relu": random, "net": deep}
    return xr.Dataset({name: part.rename(strength=f"{name}_strength") for name, part in parts.items()})


def tell(found: xr.Dataset) -> Figure:
    risks, count = found["linear"].rename(linear_strength="strength"), found.sizes["draw"]
    print(f"excess risk over {count} draws, mean ± standard error; theory for many points in brackets")
    for points in risks["points"].values:
        means, errors = _mean(risks.sel(points=points))
        at, best = int(np.argmin(np.abs(STRENGTHS - 125))), int(np.argmin(means))
        free, held = (float(theory(np.array([points]), s)[0]) for s in (0.0, 125.0))
        print(
            f"{points:5d} points: {means[0]:9.3f} ± {errors[0]:.3f} ({free:.3f}) without ridge, {means[at]:.4f} ± "
            f"{errors[at]:.4f} ({held:.4f}) with strength 125; the best strength is {STRENGTHS[best]:g}"
        )
    for name, axis, words in (("relu", "features", "random ReLU features"), ("net", "width", "trained hidden units")):
        part = found[name].rename({f"{name}_strength": "strength"})
        for size in part[axis].values:
            means, errors = _mean(part.sel({axis: size}))
            best = int(np.argmin(means[1:])) + 1
            print(
                f"{size:5d} {words}: {means[0]:9.3f} ± {errors[0]:.3f} without a penalty, {means[best]:.4f} ± "
                f"{errors[best]:.4f} with the best strength, {part['strength'].values[best]:g}"
            )
    return _drawn(found)


def _mean(lanes: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    # Along the strength, over the draws.
    values = lanes.transpose("strength", "draw").values
    return values.mean(1), values.std(1, ddof=1) / values.shape[1] ** 0.5


def _drawn(found: xr.Dataset) -> Figure:
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    ax = figure.add_subplot(1, 3, 1)
    dense = np.arange(60, 1300)
    for strength, colour, label in ((0.0, BLUE, "least squares"), (125.0, ORANGE, "ridge, strength 125")):
        risks = found["linear"].sel(linear_strength=strength)
        ax.plot(found["points"], risks.mean("draw"), "o", color=colour, label=label)
        ax.plot(dense, theory(dense, strength), color=colour, linewidth=1)
    ax.set(xlabel="points", ylabel="excess risk", yscale="log", ylim=(0.1, 100), title="500 features; lines: theory")
    legend(ax)
    parts = (
        ("relu", "features", "random ReLU features", "200 points", "least squares", "best ridge"),
        ("net", "width", "hidden units", "100 points, a network trained by Adam", "no penalty", "best L2"),
    )
    for number, (name, axis, label, title, without, cure) in enumerate(parts):
        ax = figure.add_subplot(1, 3, number + 2)
        means = found[name].mean("draw").transpose(axis, ...)
        ax.plot(found[axis], means[:, 0], "o-", color=BLUE, label=without)
        ax.plot(found[axis], means[:, 1:].min(f"{name}_strength"), "o-", color=ORANGE, label=cure)
        ax.set(xlabel=label, ylabel="excess risk", xscale="log", yscale="log", title=title)
        legend(ax)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=2000, help="number of epochs of the networks")
    headline(parser, "double_descent", trained, tell)


if __name__ == "__main__":
    main()
