"""Loss of plasticity: twelve methods on relabelled tasks in a row, with survival curves.

Claims: a network that is trained on one task after the other loses the ability to fit the next one (Dohare and others,
Loss of plasticity in deep continual learning, Nature 2024; Lyle and others, Understanding plasticity in neural
networks, 2023). L2 towards the initial weights keeps it, better than L2 towards 0 (Kumar, Marklund and Van Roy,
Maintaining plasticity in continual learning via regenerative regularization, 2023). A penalty on the distance of each
layer's largest singular value from 1 keeps it too (Lewandowski and others, Learning continually by spectral
regularization, 2024), and so does the distance of the distribution of the weights from that at the start (Lewandowski
and others, Directions of curvature as an explanation for loss of plasticity, 2023).
Here: the same rows with new random labels in each task, full batches, no restart of the weights or of Adam; what counts
is the training accuracy at the end of each task. A network has collapsed at the first task that ends below an accuracy
of 0.75. Each method but two has four strengths; one run chooses among them, and the other, from other
seeds, says what the choice is worth.
Command: python experiments/headlines/plasticity.py (--seeds, --tasks, --out change its size and place).
"""

import argparse
from collections.abc import Callable
from functools import partial
from itertools import permutations
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from headline import RESAMPLES, changed, detectable, headline, mean_of
from matplotlib.figure import Figure
from scipy.stats import wilcoxon

import jaxreg as jr
from jaxreg.lab import binary_accuracy, binary_cross_entropy, sweep
from jaxreg.lab.plots import COLOURS
from jaxreg.lab.plots.theme import BLUE, ORANGE, legend
from jaxreg.lab.stats import Survival, holm, kaplan_meier
from jaxreg.lab.stats.intervals import mean_interval

ROWS, INPUTS, UNITS, RATE, STEPS = 32, 8, 16, 0.01, 60
COLLAPSED = 0.75


class Network(nn.Module):  # type: ignore[misc]
    """Two hidden layers of ReLU units and one logit."""

    normed: bool = False

    @nn.compact  # type: ignore[untyped-decorator]
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map inputs of shape (rows, inputs) to logits of shape (rows, 1)."""
        for _ in range(2):
            x = nn.Dense(UNITS)(x)
            x = nn.relu(nn.LayerNorm()(x) if self.normed else x)
        return nn.Dense(1)(x)


def _penalized(rules: Callable[[Any, jax.Array], Any]) -> Callable[[Any, jax.Array], Any]:
    return lambda start, strength: optax.chain(jr.penalize(rules(start, strength)), optax.adam(RATE))


def _projected(rules: Callable[[Any, jax.Array], Any]) -> Callable[[Any, jax.Array], Any]:
    return lambda start, strength: optax.chain(optax.adam(RATE), jr.project(rules(start, strength)))


def _adam(start: Any, strength: jax.Array) -> optax.GradientTransformation:
    return optax.adam(RATE)


METHODS: dict[str, tuple[Callable[[Any, jax.Array], Any], tuple[float, ...]]] = {
    "none": (_adam, (0.0,)),
    "L2": (_penalized(lambda start, s: {jr.KERNELS: jr.L2(s)}), (1e-4, 1e-3, 1e-2, 1e-1)),
    "L2 to the start": (_penalized(lambda start, s: jr.to_reference(start, jr.L2(s))), (1e-4, 1e-3, 1e-2, 1e-1)),
    "distribution of the start": (_penalized(jr.initial_distributions), (1e-3, 1e-2, 1e-1, 1.0)),
    "largest singular value 1": (
        _penalized(lambda start, s: {jr.KERNELS: jr.Spectral(s, target=1.0)}),
        (1e-2, 1e-1, 1.0, 10.0),
    ),
    "orthogonal penalty": (_penalized(lambda start, s: {jr.KERNELS: jr.Orthogonal(s)}), (1e-4, 1e-3, 1e-2, 1e-1)),
    "clipped to the start": (_projected(lambda start, s: jr.initial_boxes(start, share=s)), (0.125, 0.25, 0.5, 1.0)),
    "shrink and perturb": (_adam, (0.1, 0.3, 0.6, 0.9)),
    "unit norm": (_projected(lambda start, s: {jr.KERNELS: jr.MinMaxNorm(s, s)}), (0.5, 1.0, 2.0, 4.0)),
    "largest singular value capped": (
        _projected(lambda start, s: {jr.KERNELS: jr.SpectralNorm(s)}),
        (0.5, 1.0, 2.0, 4.0),
    ),
    "spheres of the start": (_projected(lambda start, s: jr.initial_spheres(start, share=s)), (4.0, 8.0, 16.0, 32.0)),
    "layer norm": (_adam, (0.0,)),
}


def lane(tasks: int, method: str, strength: jax.Array, seed: jax.Array) -> dict[str, Any]:
    """Training accuracy at the end of each task, of one network that meets them one after the other."""
    rows_key, start_key, labels_key, fresh_key = jax.random.split(jax.random.key(seed), 4)
    x = jax.random.normal(rows_key, (ROWS, INPUTS))
    network = Network(method == "layer norm")
    start = network.init(start_key, x)["params"]
    steps = METHODS[method][0](start, strength)

    def loss(params: Any, y: jax.Array) -> jax.Array:
        return jnp.mean(binary_cross_entropy(network.apply({"params": params}, x), y))

    def task(state: Any, number: jax.Array) -> Any:
        params, memory = state
        y = jax.random.bernoulli(jax.random.fold_in(labels_key, number), shape=(ROWS,)).astype(jnp.float32)
        if method == "shrink and perturb":
            fresh = network.init(jax.random.fold_in(fresh_key, number), x)["params"]
            params = jax.tree.map(lambda w, new: (1 - strength) * w + strength * new, params, fresh)

        def step(state: Any, _: None) -> Any:
            params, memory = state
            updates, memory = steps.update(jax.grad(loss)(params, y), memory, params)
            return (optax.apply_updates(params, updates), memory), None

        (params, memory), _ = jax.lax.scan(step, (params, memory), None, STEPS)
        return (params, memory), jnp.mean(binary_accuracy(network.apply({"params": params}, x), y))

    _, accuracy = jax.lax.scan(task, (start, steps.init(start)), jnp.arange(tasks))
    return {"accuracy": accuracy}


def trained(asked: argparse.Namespace) -> xr.Dataset:
    seeds, found = np.arange(2 * asked.seeds), []
    for method, (_, strengths) in METHODS.items():
        over = {"strength": np.array(strengths), "seed": seeds}
        store = asked.out / method.replace(" ", "_")
        done = sweep(partial(lane, asked.tasks, method), over, store)["accuracy"].load().rename(accuracy_0="task")
        levels = done.assign_coords(strength=np.arange(len(strengths)), task=np.arange(1, asked.tasks + 1))
        found.append(levels.rename(strength="level").reindex(level=range(4)))
    joined = xr.concat(found, xr.DataArray(list(METHODS), dims="rule", name="rule"), combine_attrs="drop")
    first, again = joined.isel(seed=slice(asked.seeds)), joined.isel(seed=slice(asked.seeds, None))
    runs = [first, again.assign_coords(seed=first["seed"])]
    # An accuracy is a number of rows: stored as that.
    counts = xr.concat(runs, xr.DataArray([0, 1], dims="run", name="run")) * ROWS
    return xr.Dataset({"right": counts.fillna(-1).round().astype(np.int8)})


def accuracies(found: xr.Dataset) -> xr.DataArray:
    """Accuracy by method, level, seed and task; NaN for the levels that a method lacks."""
    right = found["right"].astype(float)
    return right.where(right >= 0) / ROWS


def survival(accuracy: xr.DataArray) -> Survival:
    """Survival curve of networks; the event is the first task that ends below `COLLAPSED`."""
    low = np.array(accuracy.transpose("seed", "task") < COLLAPSED)
    ever = np.array(low.max(axis=1))
    return kaplan_meier(np.where(ever, low.argmax(axis=1) + 1, low.shape[1]), ever)


def levels(accuracy: xr.DataArray) -> dict[str, int]:
    """The level of each method with the best accuracy on the last ten tasks."""
    last = accuracy.isel(task=slice(-10, None)).mean(("task", "seed"))
    return {method: int(last.sel(rule=method).argmax("level")) for method in last["rule"].values.tolist()}


RUNS = ("first run", "rerun from other seeds")


def tell(found: xr.Dataset) -> Figure:
    accuracy = accuracies(found)
    trainings, tasks = int((found["right"].isel(task=0) >= 0).sum()), found.sizes["task"]
    print(
        f"{trainings} networks, {found.sizes['seed']} seeds in each of two runs, {tasks} tasks. Means, 95 % intervals."
    )
    for chooser, judge in permutations(range(2)):
        _told(accuracy.sel(run=judge), levels(accuracy.sel(run=chooser)), RUNS[judge].capitalize())
    return _drawn(accuracy)


def _told(accuracy: xr.DataArray, chosen: dict[str, int], words: str) -> None:
    def last(method: str) -> np.ndarray[Any, Any]:
        return accuracy.sel(rule=method, level=chosen[method]).isel(task=slice(-10, None)).mean("task").values

    first = accuracy.sel(rule="none", level=0).isel(task=slice(10)).mean("task").values
    print(f"{words}, none: {mean_of(first)} on the first ten tasks, {mean_of(last('none'))} on the last ten.")
    others = [method for method in chosen if method != "none"]
    for method in chosen:
        curve = survival(accuracy.sel(rule=method, level=chosen[method]))
        strengths = METHODS[method][1]
        name = f"{method} {strengths[chosen[method]]:g}" if len(strengths) > 1 else method
        half = "Fewer than half collapse"
        if np.isfinite(curve.median):
            half = f"Half have collapsed by task {curve.median:.0f}"
        print(
            f"{words}, {name}: {mean_of(last(method))} on the last ten tasks. {half}. {curve.share[-1]:.0%} never "
            "collapse."
        )
    differences = [last(method) - last("none") for method in others]
    tests = [wilcoxon(change).pvalue if change.any() else 1.0 for change in differences]
    sure = holm(xr.DataArray(tests, dims="rule")).values < 0.05
    gains = [change.mean() for change in differences]
    for sign, verb in ((1, "raise"), (-1, "lower")):
        listed = [name for name, is_sure, gain in zip(others, sure, gains, strict=True) if is_sure and sign * gain > 0]
        told = f"{len(listed)} of {len(others)} methods {verb} the last accuracy beyond chance (Wilcoxon, Holm)"
        print(f"{words}: {told}. They are: {', '.join(listed) or 'none'}.")
    if "L2 to the start" in chosen:
        versus = changed("L2 to the start instead of to 0 changes it", last("L2 to the start") - last("L2"))
        print(f"{words}: {versus}.")
    seen = np.median([detectable(change) for change in differences])
    print(f"{words}, power: four of five such studies would see a change against none of {seen:.3f}.")


def _drawn(accuracy: xr.DataArray) -> Figure:
    figure = Figure(figsize=(12, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    methods, chosen = accuracy["rule"].values.tolist(), levels(accuracy.sel(run=0))
    for run, colour in ((0, BLUE), (1, ORANGE)):
        part = accuracy.sel(run=run).isel(task=slice(-10, None)).mean("task")
        ends = np.stack([part.sel(rule=method, level=chosen[method]).values for method in methods])
        places = np.arange(len(methods)) + 0.3 * run
        left.hlines(places, *mean_interval(ends, resamples=RESAMPLES), color=colour)
        left.plot(ends.mean(1), places, "o", color=colour, label=RUNS[run], markersize=3)
    left.set_yticks(np.arange(len(methods)) + 0.15, methods)
    left.invert_yaxis()
    left.set(xlabel="accuracy", title="last ten tasks")
    legend(left)
    shown = [name for name in ("none", "L2", "L2 to the start", "layer norm", "unit norm") if name in methods]
    for name, colour in zip(shown, COLOURS, strict=False):
        part = accuracy.sel(run=1, rule=name, level=chosen[name])
        middle.plot(accuracy["task"], part.mean("seed"), color=colour, label=name)
        curve = survival(part)
        times, share = np.concatenate([[0], curve.times]), np.concatenate([[1], curve.share])
        right.step(times, share, where="post", color=colour, label=name)
        right.fill_between(curve.times, curve.low, curve.high, step="post", color=colour, alpha=0.15, linewidth=0)
    middle.set(xlabel="task", ylabel="accuracy at its end", title="mean over seeds")
    right.set(xlabel="task", ylabel="share not collapsed", title=f"survival: no task below {COLLAPSED}", ylim=(0, 1.02))
    legend(right)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=32, help="of each of the two runs")
    parser.add_argument("--tasks", type=int, default=100)
    headline(parser, "plasticity", trained, tell)


if __name__ == "__main__":
    main()
