"""Momentum that points out of a constraint set: does it help to remove it after each projection?

A projection moves the weights back into the set, but leaves the momentum of the optimiser unchanged. The momentum still
points out of the set, so the next updates push the weights out again and are projected again. The alternative tested
here acts on each group whose update is cut off by the projection: it removes the part of Adam's mean gradient that
leads in the direction of the cut. No figure is published.

Command: python experiments/headlines/outward_momentum.py (--draws changes the number of draws, --out the folder).
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxreg as jr
from jaxreg._groups import group_norms
from jaxreg.lab import MLP, Problem, Recipe, fit, linen, moons, sweep
from jaxreg.lab.stats.intervals import mean_interval
from jaxreg.lab.sweeps.compilation import keep_compiled

CONSTRAINTS = {"MaxNorm(0.5)": jr.MaxNorm(0.5, axis=0), "MaxNorm(1)": jr.MaxNorm(1.0, axis=0)}


def without_outward(rate: Any, limit: Any) -> optax.GradientTransformation:
    """Return Adam with projection onto `limit` that removes outward momentum.

    After a projection, the part of Adam's mean gradient in the direction of the cut is removed.
    """
    adam = jr.keras.adam(rate)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        steps, state = adam.update(updates, state, params)
        kernel = params["hidden"]["kernel"]
        there = kernel + steps["hidden"]["kernel"]
        end = limit(there)
        cut, mean = there - end, _adam_state(state).mean["hidden"]["kernel"]
        size = group_norms(cut, (0,))
        normal = cut / jnp.where(size > 0, size, 1)
        outward = jnp.maximum(jnp.sum(-mean * normal, 0, keepdims=True), 0)  # steps go against the mean
        steps = {**steps, "hidden": {**steps["hidden"], "kernel": end - kernel}}
        return steps, _with_mean(state, mean + outward * normal)

    return optax.GradientTransformation(adam.init, update)


def _adam_state(state: Any) -> Any:
    return next(s for s in jax.tree.leaves(state, is_leaf=_is_adam) if _is_adam(s))


def _is_adam(state: Any) -> bool:
    return isinstance(state, jr.keras.AdamState)


def _with_mean(state: Any, kernel: jax.Array) -> Any:
    def changed(node: Any) -> Any:
        if not _is_adam(node):
            return node
        return node._replace(mean={**node.mean, "hidden": {**node.mean["hidden"], "kernel": kernel}})

    return jax.tree.map(changed, state, is_leaf=_is_adam)


def lane(problem: Problem, limit: Any, removed: bool, rate: jax.Array, draw: jax.Array) -> dict[str, Any]:
    """Train once on a draw of the moons."""
    rules = {"hidden/kernel": limit}
    if removed:
        recipe = Recipe(learning_rate=rate, optimizer=lambda rate: without_outward(rate, limit))
    else:
        recipe = Recipe(learning_rate=rate, constraints=rules)
    found = fit(problem, recipe, jax.random.key(draw), draw, keep=True)
    ends = {name: found[name].values[-1] for name in ("train_loss", "test_loss", "test_accuracy")}
    return ends | {"largest_norm": jnp.max(jnp.linalg.norm(found["params/hidden/kernel"], axis=0))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path("results/outward_momentum"))
    asked = parser.parse_args()
    keep_compiled()
    data = moons(range(asked.draws), train=30, test=1000)
    model = linen(MLP(hidden=100), inputs=(2,))
    problem = Problem(model, data, asked.epochs, record_every=asked.epochs)
    over = {"rate": np.array([1e-3, 1e-2]), "draw": np.arange(asked.draws)}
    for name, limit in CONSTRAINTS.items():
        stores = {gone: asked.out / f"{name}_{'removed' if gone else 'kept'}" for gone in (False, True)}
        kept, removed = (
            sweep(partial(lane, problem, limit, gone), over, store).load() for gone, store in stores.items()
        )
        for rate in kept["rate"].values:
            words = []
            for what in ("train_loss", "test_loss", "test_accuracy"):
                change = (removed[what] - kept[what]).sel(rate=rate).values
                low, high = mean_interval(change)
                mean = float(kept[what].sel(rate=rate).mean())
                words.append(f"{what} {mean:.4f}, {change.mean():+.4f} [{low:+.4f}, {high:+.4f}]")
            print(
                f"{name}, rate {rate:g}, {asked.draws} draws; with outward momentum, and change without it: "
                + "; ".join(words)
            )


if __name__ == "__main__":
    main()
