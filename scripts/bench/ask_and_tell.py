"""Optuna beside a sweep: points at random, by TPE, and by TPE with the worse half of each round stopped early.

    python scripts/bench/ask_and_tell.py [--rounds 64] [--studies 3]

Needs optuna. Each round asks for 8 points, which one sweep trains: a net on 100 digits with rate, momentum, decay and
scale of the initial weights. All ways train the same number of segments of 50 steps in all, 4 per finished run. Shown
is the lowest validation loss so far: medians over studies.
"""

import argparse
import statistics
import sys

import jax
import jax.numpy as jnp
import optax
import optuna

from jaxreg.lab import Segments, points, sweep
from jaxreg.lab.datasets import digits
from jaxreg.lab.sweeps import keep_compiled

POINTS, COUNT = 8, 4
SPACE = {
    "rate": optuna.distributions.FloatDistribution(1e-4, 10.0, log=True),
    "momentum": optuna.distributions.FloatDistribution(0.0, 0.99),
    "decay": optuna.distributions.FloatDistribution(1e-6, 1.0, log=True),
    "scale": optuna.distributions.FloatDistribution(1e-2, 10.0, log=True),
}
DATA = digits([0], train=100)
X, Y, X_TEST, Y_TEST = (jnp.asarray(array[0]) for array in (*DATA[:2], *DATA[2:4]))
X, X_TEST = X.reshape(len(X), -1), X_TEST.reshape(len(X_TEST), -1)


def loss(net, x, y):
    """Cross-entropy of a net of 32 units."""
    logits = jax.nn.relu(x @ net["w"]) @ net["v"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def begin(scale):
    """The net, and its momentum."""
    first, second = jax.random.split(jax.random.key(0))
    net = {"w": jax.random.normal(first, (64, 32)) / 8, "v": jax.random.normal(second, (32, 10)) / 6}
    net = jax.tree.map(lambda leaf: scale * leaf, net)
    return net, jax.tree.map(jnp.zeros_like, net)


def run(state, rate, momentum, decay, scale):
    """Fifty steps."""

    def step(carry, _):
        net, speed = carry
        slope = jax.grad(loss)(net, X, Y)
        speed = jax.tree.map(lambda s, g, w: momentum * s + g + decay * w, speed, slope, net)
        return (jax.tree.map(lambda w, s: w - rate * s, net, speed), speed), None

    state, _ = jax.lax.scan(step, state, None, 50)
    return state, {"loss": loss(state[0], X_TEST[:500], Y_TEST[:500])}


def rounds_of(sampler, halve, segments):
    """Yield the segments trained so far and the lowest loss, until there are as many segments."""
    study = optuna.create_study(sampler=sampler)
    spent, lowest = 0, float("inf")
    while spent < segments:
        trials = [study.ask(SPACE) for _ in range(POINTS)]
        asked = points(**{name: [trial.params[name] for trial in trials] for name in SPACE})
        found = sweep(run, asked, segments=Segments(begin, COUNT, halve), chunk=POINTS, progress=False)
        for trial, losses in zip(trials, found["loss"].values, strict=True):
            seen = [float(one) for one in losses if one == one]
            stopped = halve is not None and losses[-1] != losses[-1]
            for number, one in enumerate(seen):
                trial.report(one, number)
            if stopped or not seen or len(seen) < COUNT:
                state = optuna.trial.TrialState.PRUNED if seen else optuna.trial.TrialState.FAIL
                study.tell(trial, state=state)
            else:
                study.tell(trial, seen[-1])
                lowest = min(lowest, seen[-1])
        spent += int(found["segments"].sum()) if "segments" in found.coords else POINTS * COUNT
        yield spent, lowest


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=64)
    parser.add_argument("--studies", type=int, default=3)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    keep_compiled()
    whole = arguments.rounds * POINTS * COUNT
    marks = [whole // 16, whole // 4, whole]
    print("| points | " + " | ".join(f"{mark // COUNT // POINTS} x {POINTS}" for mark in marks) + " |")
    print("|" + " --- |" * (len(marks) + 1))
    ways = {
        "at random": (optuna.samplers.RandomSampler, {}, None),
        "TPE": (optuna.samplers.TPESampler, {"constant_liar": True}, None),
        "TPE, the worse half stopped": (optuna.samplers.TPESampler, {"constant_liar": True}, "loss"),
    }
    for name, (sampler, options, halve) in ways.items():
        lowest = []
        for seed in range(arguments.studies):
            seen = list(rounds_of(sampler(seed=seed, **options), halve, whole))
            lowest.append([min(value for spent, value in seen if spent <= mark) for mark in marks])
        middle = [statistics.median(values) for values in zip(*lowest, strict=True)]
        print(f"| {name} | " + " | ".join(f"{value:.4f}" for value in middle) + " |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
