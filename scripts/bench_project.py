"""What `project(MaxNorm)` adds to one Adam step on a 4096 x 4096 float32 matrix: prints the ratio of median times.

All steps are jitted with donated buffers and run in turn, in one process, so that a busy machine slows all. The limit
lies at the median norm of a unit: half of the units are rescaled at every step, the dearest case.

The second way, `jr.apply_updates`, needs no memory beside the parameters: it projects in their place. A link of a
chain must hand on the difference to the projected point, and so keeps both points. On a CPU Adam reads and writes ten
arrays of the matrix's size; projecting in place adds three, as a link four, one of them allocated anew each step.

    python scripts/bench_project.py [rounds]
"""

import statistics
import sys
import time

import jax
import jax.numpy as jnp
import optax

import jaxreg as jr

SIZE = 4096


def stepper(tx: optax.GradientTransformation, apply=optax.apply_updates):
    """One jitted step of `tx` that gives its buffers back."""

    def step(params, state, gradients):
        updates, state = tx.update(gradients, state, params)
        return apply(params, updates), state

    return jax.jit(step, donate_argnums=(0, 1))


def timed(step, params, state, gradients):
    """Seconds of one step, and where it led."""
    start = time.perf_counter()
    params, state = jax.block_until_ready(step(params, state, gradients))
    return time.perf_counter() - start, params, state


def main(rounds: int) -> None:
    """Time both steps in turn and print the ratio."""
    kernel = jax.random.normal(jax.random.key(0), (SIZE, SIZE)) / SIZE**0.5
    gradients = {"kernel": jax.random.normal(jax.random.key(1), (SIZE, SIZE))}
    limit = jnp.median(jnp.linalg.norm(kernel, axis=0))
    steps, lanes, seconds = {}, {}, {}
    rules = {"kernel": jr.MaxNorm(float(limit))}
    chains = {
        "adam": (optax.adam(1e-5), optax.apply_updates),
        "adam, project": (optax.chain(optax.adam(1e-5), jr.project(rules)), optax.apply_updates),
        "adam, jr.apply_updates": (optax.adam(1e-5), lambda params, updates: jr.apply_updates(params, updates, rules)),
    }
    for name, (tx, apply) in chains.items():
        params = {"kernel": jnp.array(kernel)}
        steps[name], lanes[name], seconds[name] = stepper(tx, apply), (params, tx.init(params)), []
    for turn in range(rounds + 3):
        for name, step in steps.items():
            spent, *lane = timed(step, *lanes[name], gradients)
            lanes[name] = tuple(lane)
            if turn >= 3:
                seconds[name].append(spent)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, median in medians.items():
        print(
            f"{name:23} {1e3 * median:7.1f} ms a step (median of {rounds}, fastest {1e3 * min(seconds[name]):.1f}): "
            f"ratio {median / medians['adam']:.2f} on {jax.devices()[0].platform}"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
