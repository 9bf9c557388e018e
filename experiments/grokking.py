"""Grokking on modular addition, and its removal by holding the norm of all weights.

Claim: with decay 1 a one-layer transformer knows the training pairs of a + b mod 113 thousands of steps before the
others; with the initial weights × 0.8 and their norm held there, it learns both at about step 300 (Liu et al.,
Omnigrok, 2022, one run each). Here: the step at which 95 % of the test pairs are right, over seeds, each with a split
of its own.
Command: python experiments/grokking.py (an hour on 2 busy cores; --seeds, --shares, --free-steps 0 change its size).
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
from jaxreg.lab import Data, Model, Problem, Recipe, categorical_accuracy, categorical_cross_entropy, fit, sweep
from jaxreg.lab.compiled import keep_compiled
from jaxreg.lab.plots import learning_curves, style

P, HEADS = 113, 4
RULES: dict[str, Callable[[Any, Any], dict[str, Any]]] = {
    "all weights": lambda params, share: {".*": jr.TreeNorm(share * jr.tree_norm(params))},
    "each matrix": lambda params, share: {
        f"{name}/kernel": jr.FrobeniusSphere(share * jnp.linalg.norm(leaf["kernel"])) for name, leaf in params.items()
    },
}


def _heads(rows: jax.Array) -> jax.Array:
    return rows.reshape(len(rows), HEADS, -1)


def transformer(p: int = P, width: int = 128, hidden: int = 512) -> Model:
    """The source's network, read at the last of its three places (a, b, =): no layer norm, ReLU, normal weights."""
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
    """All p² pairs with their sum, split at random once a draw."""
    x = np.stack(np.meshgrid(np.arange(p), np.arange(p), indexing="ij"), 2).reshape(-1, 2).astype(np.int32)
    y = (x.sum(axis=1) % p).astype(np.int32)
    orders = np.stack([np.random.default_rng(draw).permutation(len(x)) for draw in range(draws)])
    train, test = orders[:, : int(share * len(x))], orders[:, int(share * len(x)) :]
    return Data(x[train], y[train], x[test], y[test])


def problem(draws: int, steps: int, every: int, p: int = P, width: int = 128, hidden: int = 512) -> Problem:
    """All training pairs are one batch: an epoch is a step."""
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
    """One lane with a norm held at a share of its initial one, without decay."""
    key = jax.random.key(seed)
    rules = RULES[what](task.model.init(jax.random.split(key)[0]), share)
    recipe = Recipe(constraints=rules, optimizer=partial(optax.adam, b2=0.98))
    return fit(task, recipe, key, seed)


def free(task: Problem, seed: jax.Array, decay: jax.Array) -> dict[str, Any]:
    """One lane with AdamW."""
    recipe = Recipe(decays={".*": jr.L2(decay / 2)}, optimizer=partial(optax.adam, b2=0.98))
    return fit(task, recipe, jax.random.key(seed), seed)


def arrival(accuracy: xr.DataArray, level: float = 0.95) -> xr.DataArray:
    """The first recorded step at which an accuracy is at least `level`; infinite if there is none."""
    there = accuracy >= level
    return there.idxmax("epoch").where(there.any("epoch"), np.inf)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=800, help="of the lanes with a norm held")
    parser.add_argument("--free-steps", type=int, default=6000, help="of the one lane with decay 1 alone; 0: none")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.8])
    parser.add_argument("--out", type=Path, default=Path("results/grokking"))
    asked = parser.parse_args()
    keep_compiled()
    found = {}
    if asked.free_steps:
        task = problem(1, asked.free_steps, 50)
        over = {"decay": np.ones(1), "seed": np.arange(1)}
        lanes = sweep(partial(free, task), over, asked.out / "decay", coords={"epoch": task.recorded}, chunk=1).load()
        found["decay 1"] = lanes
        reached = [float(arrival(lanes[f"{part}_accuracy"]).squeeze()) for part in ("train", "test")]
        print(
            f"decay 1, no norm held, 1 seed, {asked.free_steps} steps: 95 % of the train pairs at step {reached[0]:g}, "
            f"of the test pairs at {reached[1]:g}",
            flush=True,
        )
    for what in RULES:
        task = problem(asked.seeds, asked.steps, 10)
        over = {"share": np.asarray(asked.shares), "seed": np.arange(asked.seeds)}
        store = asked.out / what.replace(" ", "_")
        found[what] = sweep(partial(held, what, task), over, store, coords={"epoch": task.recorded}, chunk=1).load()
        steps = {part: arrival(found[what][f"{part}_accuracy"]) for part in ("train", "test")}
        for share in asked.shares:
            train, test = (np.sort(steps[part].sel(share=share).values) for part in ("train", "test"))
            print(
                f"norm of {what} held at {share:g} of the initial one, {asked.seeds} seeds: 95 % of the train pairs "
                f"at step {np.median(train):g}, of the test pairs at {np.median(test):g} (median; "
                f"{test[0]:g} to {test[-1]:g})",
                flush=True,
            )
    with style():
        figure = Figure(figsize=(4.5 * len(found), 3.5), layout="constrained")
        for number, (name, lanes) in enumerate(found.items()):
            ax = figure.add_subplot(1, len(found), number + 1)
            first = lanes.isel({dim: slice(1) for dim in ("share", "decay") if dim in lanes.dims})
            learning_curves(ax, first["train_accuracy"].squeeze(), first["test_accuracy"].squeeze())
            ax.set_xscale("log")
            ax.set_title(name)
        figure.savefig(asked.out / "grokking.svg")
    print(f"picture: {asked.out / 'grokking.svg'}")


if __name__ == "__main__":
    main()
