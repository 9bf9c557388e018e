"""What `project(MaxNorm)` adds to one Adam step on a 4096 x 4096 float32 matrix: prints the ratio of median times.

Both steps are jitted with donated buffers and run in turn, in one process, so that a busy machine slows both. The
limit lies at the median norm of a unit: half of the units are rescaled at every step, the dearest case.

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


def stepper(tx: optax.GradientTransformation):
    """One jitted step of `tx` that gives its buffers back."""

    def step(params, state, gradients):
        updates, state = tx.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

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
    chains = {
        "adam": optax.adam(1e-5),
        "adam + project": optax.chain(optax.adam(1e-5), jr.project({"kernel": jr.MaxNorm(float(limit))})),
    }
    for name, tx in chains.items():
        params = {"kernel": jnp.array(kernel)}
        steps[name], lanes[name], seconds[name] = stepper(tx), (params, tx.init(params)), []
    for turn in range(rounds + 3):
        for name, step in steps.items():
            spent, *lane = timed(step, *lanes[name], gradients)
            lanes[name] = tuple(lane)
            if turn >= 3:
                seconds[name].append(spent)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, median in medians.items():
        print(f"{name:15} {1e3 * median:8.1f} ms a step (median of {rounds}, fastest {1e3 * min(seconds[name]):.1f})")
    print(f"ratio {medians['adam + project'] / medians['adam']:.3f} on {jax.devices()[0].platform}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
