"""Double descent in linear regression, and its cure by ridge.

Claim: with 500 features, weights of length 1 and noise of standard deviation 0.5, the risk of least squares peaks where
there are as many points as features; the best ridge has no peak, and its strength is 125 for the sum of squares
whatever the number of points (Nakkiran, Venkat, Kakade and Ma, Optimal regularization can mitigate double descent,
2021). At 481 points theory in the limit says 6.37 without and 0.405 with; the exact mean without is 6.72.
Then the same over the number of random ReLU features, for 200 points.
Command: python experiments/double_descent.py (minutes on 2 busy cores; --draws and --out change its size and place).
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from jaxreg.lab import Labelled, sweep
from jaxreg.lab.compiled import keep_compiled
from jaxreg.lab.plots import style
from jaxreg.lab.style import BLUE, ORANGE, legend

DIMENSIONS, NOISE = 500, 0.5
POINTS = (100, 200, 300, 400, 450, 481, 500, 520, 560, 650, 800, 1200)
FEATURES = (20, 60, 100, 140, 170, 190, 200, 210, 240, 300, 500, 1000, 2000)
STRENGTHS = np.array([0.0, *(125 * 2.0 ** np.arange(-3, 4))])


def ridges(x: jax.Array, y: jax.Array, strengths: jax.Array) -> jax.Array:
    """The minima of Σ(xw - y)² + strength · Σw², the shortest where there are many: (strengths, features)."""
    n, d = x.shape
    # One decomposition of the smaller Gram matrix serves all strengths.
    values, vectors = jnp.linalg.eigh(x @ x.T if n < d else x.T @ x)
    safe = jnp.where(values > 1e-6 * values[-1], values, jnp.inf)
    inverse = 1 / (safe + strengths[:, None])
    if n < d:
        return (inverse * (vectors.T @ y)) @ vectors.T @ x
    return (inverse * (vectors.T @ (x.T @ y))) @ vectors.T


def linear(points: int, draw: jax.Array) -> dict[str, Any]:
    """The excess risk at every strength, of one draw of the points, the weights and the noise."""
    keys = jax.random.split(jax.random.key(draw), 3)
    truth = jax.random.normal(keys[0], (DIMENSIONS,))
    truth = truth / jnp.linalg.norm(truth)
    x = jax.random.normal(keys[1], (points, DIMENSIONS))
    y = x @ truth + NOISE * jax.random.normal(keys[2], (points,))
    found = ridges(x, y, jnp.asarray(STRENGTHS, jnp.float32))
    return {"risk": Labelled(jnp.sum(jnp.square(found - truth), 1), ("strength",))}


def relu(features: int, draw: jax.Array, points: int = 200, inputs: int = 50, tests: int = 1000) -> dict[str, Any]:
    """The same for a linear truth of 50 inputs, seen through random ReLU features; the risk on fresh inputs."""
    keys = jax.random.split(jax.random.key(draw), 4)
    truth = jax.random.normal(keys[0], (inputs,)) / inputs**0.5
    x = jax.random.normal(keys[1], (points + tests, inputs))
    layer = jax.random.normal(keys[2], (inputs, features)) / inputs**0.5
    hidden = jax.nn.relu(x @ layer) / features**0.5
    y = x @ truth
    noisy = y[:points] + NOISE * jax.random.normal(keys[3], (points,))
    strengths = jnp.asarray(np.array([0.0, *(10.0 ** np.arange(-4.0, 2.0))]), jnp.float32)
    found = ridges(hidden[:points], noisy, strengths)
    return {"risk": Labelled(jnp.mean(jnp.square(found @ hidden[points:].T - y[points:]), 1), ("strength",))}


def theory(points: np.ndarray[Any, Any], strength: float) -> np.ndarray[Any, Any]:
    """The excess risk in the limit of many points and features, by Marchenko and Pastur's law.

    With a = strength / n and m(a) the mean of 1 / (s + a) over the eigenvalues s of the points' covariance, zeros
    included, it is -a² m' (the squared bias) + noise² d/n (m + a m') (the variance).
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


def over(run: Any, axis: str, sizes: tuple[int, ...], draws: int, out: Path) -> xr.DataArray:
    """The risk along `axis`, whose sizes are one program each."""
    lanes = [  # a draw at a time: many decompositions in one program wait for each other on a CPU
        sweep(partial(run, size), {"draw": np.arange(draws)}, out / f"{axis}_{size}", chunk=1)["risk"].load()
        for size in sizes
    ]
    return xr.concat(lanes, axis).assign_coords({axis: list(sizes)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=64)
    parser.add_argument("--out", type=Path, default=Path("results/double_descent"))
    asked = parser.parse_args()
    keep_compiled()
    risks = over(linear, "points", POINTS, asked.draws, asked.out)
    print(f"excess risk over {asked.draws} draws, mean ± standard error; theory in the limit in brackets")
    for points in POINTS:
        here = risks.sel(points=points)
        means, errors = here.mean("draw").values, (here.std("draw", ddof=1) / asked.draws**0.5).values
        at, best = np.argmin(np.abs(STRENGTHS - 125)), int(np.argmin(means))
        free, held = (float(theory(np.array([points]), s)[0]) for s in (0.0, 125.0))
        print(
            f"{points:5d} points: {means[0]:9.3f} ± {errors[0]:.3f} ({free:.3f}) without, {means[at]:.4f} ± "
            f"{errors[at]:.4f} ({held:.4f}) with 125; the best of the grid is {STRENGTHS[best]:g}"
        )
    random = over(relu, "features", FEATURES, asked.draws, asked.out)
    best_of = random.isel(strength=slice(1, None)).mean("draw").min("strength")
    for features in FEATURES:
        losses = random.isel(strength=0).sel(features=features).values
        print(
            f"{features:5d} ReLU features: {losses.mean():9.3f} ± {losses.std(ddof=1) / len(losses) ** 0.5:.3f} "
            f"without, {float(best_of.sel(features=features)):.3f} with the best strength"
        )
    with style():
        figure = Figure(figsize=(10, 3.6), layout="constrained")
        ax = figure.add_subplot(1, 2, 1)
        dense = np.arange(60, 1300)
        for place, colour, name in ((0, BLUE, "least squares"), (4, ORANGE, "ridge, strength 125")):
            ax.plot(POINTS, risks.isel(strength=place).mean("draw"), "o", color=colour, label=name)
            ax.plot(dense, theory(dense, STRENGTHS[place]), color=colour, linewidth=1)
        ax.set(
            xlabel="points", ylabel="excess risk", yscale="log", ylim=(0.1, 100), title="500 features; lines: theory"
        )
        legend(ax)
        ax = figure.add_subplot(1, 2, 2)
        ax.plot(FEATURES, random.isel(strength=0).mean("draw"), "o-", color=BLUE, label="least squares")
        ax.plot(FEATURES, best_of, "o-", color=ORANGE, label="best ridge")
        ax.set(xlabel="random ReLU features", ylabel="excess risk", xscale="log", yscale="log", title="200 points")
        legend(ax)
        figure.savefig(asked.out / "double_descent.svg")
    print(f"picture: {asked.out / 'double_descent.svg'}")


if __name__ == "__main__":
    main()
