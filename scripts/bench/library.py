"""What `penalize`, `decay`, `proximal` and `project` add to an Adam step on one matrix: prints JSON, a row a chain.

    python scripts/bench/library.py WEIGHTS [ROUNDS]

All steps are jitted with donated buffers and run in turn, so that a busy machine slows all. A pass is one reading and
writing of the matrix in place, timed among them. The limit lies at the median norm of a unit: half of the units are
rescaled at every step, the dearest case. A row has the median milliseconds of a step, and the median over the rounds of
its time over Adam's in the same round and of what it takes beyond Adam's in passes.
"""

import json
import statistics
import sys
import time

import jax
import jax.numpy as jnp
import optax

import jaxreg as jr

RATE = 1e-5


def chains(limit: float) -> dict:
    """Name -> (transformation, how its updates are applied)."""
    adam, plain = optax.adam(RATE), optax.apply_updates
    limits = {"kernel": jr.MaxNorm(limit)}
    direction, descent = optax.scale_by_adam(), optax.scale_by_learning_rate(RATE)
    return {
        "Adam": (adam, plain),
        "penalize L2": (optax.chain(jr.penalize({"kernel": jr.L2(1e-3)}), adam), plain),
        "penalize L1": (optax.chain(jr.penalize({"kernel": jr.L1(1e-3)}), adam), plain),
        "decay L2": (optax.chain(direction, jr.decay({"kernel": jr.L2(1e-3)}), descent), plain),
        "proximal L1": (optax.chain(adam, jr.proximal({"kernel": jr.L1(1e-3)}, RATE)), plain),
        "project MaxNorm": (optax.chain(adam, jr.project(limits)), plain),
        "apply_updates MaxNorm": (adam, lambda params, updates: jr.apply_updates(params, updates, limits)),
    }


def stepper(tx, apply):
    """One jitted step of `tx` that gives its buffers back."""

    def step(lane, gradients):
        params, state = lane
        updates, state = tx.update(gradients, state, params)
        return apply(params, updates), state

    return jax.jit(step, donate_argnums=0)


def measured(weights: int, rounds: int) -> list[dict]:
    """Every chain in turn."""
    side = int(weights**0.5)
    kernel = jax.random.normal(jax.random.key(0), (side, side)) / side**0.5
    gradients = {"kernel": jax.random.normal(jax.random.key(1), (side, side))}
    limit = float(jnp.median(jnp.linalg.norm(kernel, axis=0)))
    steps = {name: stepper(*chain) for name, chain in chains(limit).items()}
    steps["a pass"] = jax.jit(lambda lane, _: ({"kernel": lane[0]["kernel"] * 1.0001}, lane[1]), donate_argnums=0)
    inits = {name: tx.init for name, (tx, _) in chains(limit).items()} | {"a pass": lambda params: ()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    count = max(1, int(4e7 // weights))  # steps a turn: a small matrix takes less than the clock's noise
    # A lane is made anew for each turn, so that the largest matrix needs the memory of one: its first step warms up.
    for _ in range(rounds):
        for name, step in steps.items():
            params = {"kernel": jnp.array(kernel)}
            lane = step((params, inits[name](params)), gradients)
            jax.block_until_ready(lane)
            start = time.perf_counter()
            for _ in range(count):
                lane = step(lane, gradients)
            jax.block_until_ready(lane)
            seconds[name].append((time.perf_counter() - start) / count)
            del lane
    rows = []
    for name, spent in seconds.items():
        over = [a / b for a, b in zip(spent, seconds["Adam"], strict=True)]
        more = [(a - b) / p for a, b, p in zip(spent, seconds["Adam"], seconds["a pass"], strict=True)]
        rows.append(
            {
                "program": name,
                "weights": side**2,
                "ms": 1e3 * statistics.median(spent),
                "over Adam": statistics.median(over),
                "range over Adam": [min(over), max(over)],
                "passes more": statistics.median(more),
            }
        )
    return rows


if __name__ == "__main__":
    print(json.dumps(measured(int(float(sys.argv[1])), int(sys.argv[2]) if len(sys.argv) > 2 else 7)))
