"""What `project(MaxNorm)` adds to one Adam step on a 4096 x 4096 float32 matrix: prints ratios of median times.

All steps are jitted with donated buffers and run in turn, in one process, so that a busy machine slows all. The limit
lies at the median norm of a unit: half of the units are rescaled at every step, the dearest case. The matrix is
projected in two ways, by the last link of a chain and by `jr.apply_updates`, in two programs:

- "step alone": the gradient is an argument, and nothing else is done. Adam reads and writes ten arrays of the matrix's
  size, the fewest that it can. Projecting in place adds three. A link has to hand on the difference to the projected
  point: it keeps that point beside the parameters, reads and writes four more, and touches memory that is fresh in each
  step, whose page faults cost as much as the arithmetic where the allocator gives it back in between.
- "training": the gradient comes from a layer with a batch of rows, as in a real step, and its memory serves for the
  point too. The ratio is to the Adam step alone still: 1 + (what the projection adds) / (the step alone).

    python scripts/bench/project.py [rounds [rows]]
"""

import statistics
import sys
import time

import jax
import jax.numpy as jnp
import optax

import jaxreg as jr

SIZE = 4096


def steppers(tx: optax.GradientTransformation, apply, x, gradients):
    """The jitted step alone, and with its gradient computed; both give their buffers back."""

    def step(params, state, gradients):
        updates, state = tx.update(gradients, state, params)
        return apply(params, updates), state

    def train(params, state, x):
        return step(params, state, jax.grad(lambda p: jnp.mean(jnp.square(x @ p["kernel"])))(params))

    return (
        (jax.jit(step, donate_argnums=(0, 1)), gradients),
        (jax.jit(train, donate_argnums=(0, 1)), x),
    )


def timed(step, params, state, argument):
    """Seconds of one step, and where it led."""
    start = time.perf_counter()
    params, state = jax.block_until_ready(step(params, state, argument))
    return time.perf_counter() - start, params, state


def main(rounds: int, rows: int) -> None:
    """Time all steps in turn and print the ratios."""
    kernel = jax.random.normal(jax.random.key(0), (SIZE, SIZE)) / SIZE**0.5
    gradients = {"kernel": jax.random.normal(jax.random.key(1), (SIZE, SIZE))}
    x = jax.random.normal(jax.random.key(2), (rows, SIZE))
    rules = {"kernel": jr.MaxNorm(float(jnp.median(jnp.linalg.norm(kernel, axis=0))))}
    ways = {
        "adam": (optax.adam(1e-5), optax.apply_updates),
        "adam, jr.project": (optax.chain(optax.adam(1e-5), jr.project(rules)), optax.apply_updates),
        "adam, jr.apply_updates": (optax.adam(1e-5), lambda params, updates: jr.apply_updates(params, updates, rules)),
    }
    steps, lanes, seconds = {}, {}, {}
    for way, (tx, apply) in ways.items():
        for program, step in zip(("step alone", "training"), steppers(tx, apply, x, gradients), strict=True):
            name, params = (program, way), {"kernel": jnp.array(kernel)}
            steps[name], lanes[name], seconds[name] = step, (params, tx.init(params)), []
    for turn in range(rounds + 3):
        for name, (step, argument) in steps.items():
            spent, *lane = timed(step, *lanes[name], argument)
            lanes[name] = tuple(lane)
            if turn >= 3:
                seconds[name].append(spent)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    alone = medians["step alone", "adam"]
    for (program, way), median in medians.items():
        added = (median - medians[program, "adam"]) / alone
        print(
            f"{program:10} {way:23} {1e3 * median:7.1f} ms (median of {rounds}, fastest "
            f"{1e3 * min(seconds[program, way]):.1f}): ratio {1 + added:.2f} on {jax.devices()[0].platform}"
        )


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    main(*(given + [30, 128][len(given) :]))
