"""Grokking on modular addition, and how holding the norm of all weights removes it.

Claim: with decay 1, a one-layer transformer learns the training pairs of a + b mod 113 thousands of steps before the
test pairs. If the initial weights are multiplied by 0.8 and their norm is held there, it learns both at about step 300
(Liu et al., Omnigrok, 2022, one run each). Measured here: the step at which 95 % of the test pairs are right, for
several seeds, each with its own split of the pairs.

Command: python experiments/headlines/grokking.py (half an hour on one core; --seeds, --shares, --steps and --free-steps
change the size, --out the folder).
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
from jaxreg.lab import Data, Model, Problem, Recipe, categorical_accuracy, categorical_cross_entropy, fit, sweep
from jaxreg.lab.plots import learning_curves
from jaxreg.lab.plots.theme import BLUE, GREY, legend

P, HEADS, FREE = 113, 4, "decay 1"
RULES: dict[str, Callable[[Any, Any], dict[str, Any]]] = {
    "all weights": lambda params, share: {".*": jr.TreeNorm(share * jr.tree_norm(params))},
    "each matrix": lambda params, share: {
        f"{name}/kernel": jr.FrobeniusSphere(share * jnp.linalg.norm(leaf["kernel"])) for name, leaf in params.items()
    },
}


def _heads(rows: jax.Array) -> jax.Array:
    return rows.reshape(len(rows), HEADS, -1)


def transformer(p: int = P, width: int = 128, hidden: int = 512) -> Model:
    """Return the network of the source: a transformer without layer norm, with ReLU and normal initial weights.

    The sequence is (a, b, =). The outputs are those at the last position.
    """
    shapes = {
        "embedding": (p + 1, width),
        "places": (3, width),
        "query": (width, width),
        "key": (width, width),
        "value": (width, width),
        "attention": (width, width),
        "hidden": (width, hidden),
        "output": (hidden, width),
        "unembedding": (width, p + 1),
    }
    scales = {"unembedding": p + 1}

    def init(key: jax.Array) -> Any:
        keys = dict(zip(shapes, jax.random.split(key, len(shapes)), strict=True))
        params: Any = {
            name: {"kernel": jax.random.normal(keys[name], shape) / scales.get(name, width) ** 0.5}
            for name, shape in shapes.items()
        }
        params["hidden"]["bias"] = jnp.zeros(hidden)
        params["output"]["bias"] = jnp.zeros(width)
        return params

    def apply(params: Any, x: jax.Array) -> jax.Array:
        w = {name: layer["kernel"] for name, layer in params.items()}
        # A key or a value depends on the number and its place alone: tables of p rows serve all p² pairs.
        tables = [w["embedding"][:p] + w["places"][0], w["embedding"][:p] + w["places"][1]]
        last = w["embedding"][p:] + w["places"][2]
        query = _heads(last @ w["query"])[0]
        scores = [jnp.sum(_heads(rows @ w["key"]) * query, 2) / query.shape[1] ** 0.5 for rows in (*tables, last)]
        values = [rows @ w["value"] for rows in (*tables, last)]
        picks = [*(jax.nn.one_hot(x[:, place], p) for place in (0, 1)), jnp.ones((len(x), 1))]
        seen = jnp.stack([pick @ score for pick, score in zip(picks, scores, strict=True)], 2)
        shares = jax.nn.softmax(seen, axis=2)
        mixed: Any = sum(
            _heads(pick @ value) * shares[:, :, place, None]
            for place, (pick, value) in enumerate(zip(picks, values, strict=True))
        )
        stream = last + mixed.reshape(len(x), -1) @ w["attention"]
        inner = jax.nn.relu(stream @ w["hidden"] + params["hidden"]["bias"])
        stream = stream + inner @ w["output"] + params["output"]["bias"]
        return stream @ w["unembedding"]

    return Model(init, apply)


def pairs(draws: int, p: int = P, share: float = 0.3) -> Data:
    """Return all p² pairs and their sums mod p, split at random into training and test rows in each draw."""
    x = np.stack(np.meshgrid(np.arange(p), np.arange(p), indexing="ij"), 2).reshape(-1, 2).astype(np.int32)
    y = (x.sum(axis=1) % p).astype(np.int32)
    orders = np.stack([np.random.default_rng(draw).permutation(len(x)) for draw in range(draws)])
    train, test = orders[:, : int(share * len(x))], orders[:, int(share * len(x)) :]
    return Data(x[train], y[train], x[test], y[test])


def problem(draws: int, steps: int, every: int, p: int = P, width: int = 128, hidden: int = 512) -> Problem:
    """Return the problem with all training pairs as one batch, so that an epoch is one step."""
    return Problem(
        transformer(p, width, hidden),
        pairs(draws, p),
        steps,
        categorical_cross_entropy,
        {"accuracy": categorical_accuracy},
        batch_size=p * p,
        record_every=every,
    )


def held(what: str, task: Problem, seed: jax.Array, share: jax.Array) -> dict[str, Any]:
    """Train without decay, with the norm of the weights held at a share of the initial norm."""
    key = jax.random.key(seed)
    rules = RULES[what](task.model.init(jax.random.split(key)[0]), share)
    recipe = Recipe(constraints=rules, optimizer=partial(optax.adam, b2=0.98))
    return fit(task, recipe, key, seed)


def free(task: Problem, seed: jax.Array, decay: jax.Array) -> dict[str, Any]:
    """Train with AdamW, without a constraint."""
    recipe = Recipe(decays={".*": jr.L2(decay / 2)}, optimizer=partial(optax.adam, b2=0.98))
    return fit(task, recipe, jax.random.key(seed), seed)


def arrival(accuracy: xr.DataArray, level: float = 0.95) -> xr.DataArray:
    """Return the first recorded step at which an accuracy is at least `level`, or infinity."""
    there = accuracy >= level
    return there.idxmax("epoch").where(there.any("epoch"), np.inf)


def trained(asked: argparse.Namespace) -> xr.Dataset:
    """Return the accuracies of all arms. Seeds and steps that an arm does not have are NaN."""
    arms = {}

    def arm(name: str, run: Any, seeds: int, steps: int, every: int, strength: str, value: float) -> None:
        task = problem(seeds, steps, every)
        over = {strength: np.array([value]), "seed": np.arange(seeds)}
        store = asked.out / name.replace(" ", "_")
        lanes = sweep(partial(run, task), over, store, coords={"epoch": task.recorded}, chunk=1)
        arms[name] = lanes[["train_accuracy", "test_accuracy"]].load().squeeze(strength, drop=True)

    if asked.free_steps:
        arm(FREE, free, 1, asked.free_steps, 50, "decay", 1.0)
    for what in RULES:
        for share in asked.shares:
            arm(f"{what} {share:g}", partial(held, what), asked.seeds, asked.steps, 10, "share", share)
    return xr.concat(arms.values(), "arm", join="outer", combine_attrs="drop").assign_coords(arm=list(arms))


def tell(found: xr.Dataset) -> Figure:
    """Print the step at which each arm has learnt the pairs, and return the picture."""
    arrivals = {}
    for name in found["arm"].values.tolist():
        lanes = found.sel(arm=name).dropna("seed", how="all").dropna("epoch", how="all")
        steps = {part: np.sort(arrival(lanes[f"{part}_accuracy"]).values) for part in ("train", "test")}
        arrivals[name] = steps["test"]
        median, first, last = np.median(steps["test"]), *steps["test"][[0, -1]]
        words = "AdamW, decay 1" if name == FREE else f"norm of {name} times the initial norm"
        print(
            f"{words}, {lanes.sizes['seed']} seed{'s' * (lanes.sizes['seed'] > 1)}, {int(lanes['epoch'][-1])} steps: "
            f"95 % of the training pairs are right at step {np.median(steps['train']):g}, "
            f"95 % of the test pairs at step {median:g} (medians; test pairs from {first:g} to {last:g})"
        )
    if FREE in arrivals:
        for name, arrived in arrivals.items():
            if name != FREE and np.isfinite([arrivals[FREE][0], np.median(arrived)]).all():
                print(f"norm of {name}: {arrivals[FREE][0] / np.median(arrived):.1f} times earlier than with decay 1")
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    shown = [name for name in (FREE, "all weights 0.8") if name in arrivals]
    for number, name in enumerate(shown):
        ax = figure.add_subplot(1, 3, number + 1)
        lanes = found.sel(arm=name).dropna("seed", how="all").dropna("epoch", how="all")
        learning_curves(ax, lanes["train_accuracy"], lanes["test_accuracy"])
        ax.set(title=name if name == FREE else f"norm of {name} times the initial norm", xscale="log", xlabel="step")
    ax = figure.add_subplot(1, 3, 3)
    late = found["epoch"].values.max() * 2  # position in the plot of runs that never reach 95 %
    for place, arrived in enumerate(arrivals.values()):
        ax.plot(np.minimum(arrived, late), np.full(len(arrived), place), "o", color=BLUE, alpha=0.6)
    ax.axvline(late, color=GREY, linestyle=":", label="not reached")
    ax.set(xscale="log", xlabel="step at which 95 % of the test pairs are right", yticks=range(len(arrivals)))
    ax.set_yticklabels(arrivals)
    ax.invert_yaxis()
    legend(ax)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1000, help="number of steps of the runs whose norm is held")
    parser.add_argument(
        "--free-steps", type=int, default=6000, help="number of steps of the run with decay 1; 0 to leave it out"
    )
    parser.add_argument("--shares", type=float, nargs="+", default=[0.8, 0.6])
    headline(parser, "grokking", trained, tell)


if __name__ == "__main__":
    main()
