"""Seconds to compile an Adam step on forty layers, and what `project(MaxNorm)` adds: prints medians and their ratios.

The programs are compiled in turn, in one process, and seconds are those of the processor, so that a busy machine slows
all alike. Three kinds of networks: all layers of one shape, of five shapes, each of a shape of its own. XLA compiles
equal operations once, so that the number of shapes decides. "step" is the optimiser alone; "training" has the gradient
of a network with all layers too.

"by hand" is the shortest projection that can be written, w · min(1, 1 / ‖w‖): norms may end above the limit by
rounding, and large weights overflow. It shows what one reduction and one product per layer cost. "bound" does the same
with the first 32 rows in place of the norm. That is wrong, but XLA makes one function of such a sum and two or three of
a longer one: no projection that computes a norm per kernel compiles faster. "together" stacks all kernels of a shape,
projects the stack by hand, and takes it apart again.

    python scripts/bench/compile.py [rounds]
"""

import itertools
import statistics
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import optax

import jaxreg as jr

LAYERS = 40
WIDTHS = {
    "one shape": [64] * (LAYERS + 1),
    "five shapes": [(32, 64, 48, 96, 80)[i // 2 % 5] for i in range(LAYERS + 1)],
    "all differ": [32 + i for i in range(LAYERS + 1)],
}


def network(widths: list[int]) -> dict[str, Any]:
    """Weights of dense layers, each a kernel and a bias."""
    shapes = itertools.pairwise(widths)
    return {f"layer{i}": {"kernel": jnp.ones((a, b)) / 8, "bias": jnp.zeros(b)} for i, (a, b) in enumerate(shapes)}


def loss(params: Any, x: jax.Array) -> jax.Array:
    """Mean square of the outputs of a network of tanh layers."""
    for i in range(LAYERS):
        layer = params[f"layer{i}"]
        x = jnp.tanh(x @ layer["kernel"] + layer["bias"])
    return jnp.mean(jnp.square(x))


def by_hand(rows: int | None) -> optax.GradientTransformation:
    """Project the kernels of `network` in the fewest operations, by the norms of all rows or of the first ones."""

    def shortened(w: jax.Array, update: jax.Array) -> jax.Array:
        there = w + update
        return there * jnp.minimum(1.0, jax.lax.rsqrt(jnp.sum(jnp.square(there[:rows]), axis=0))) - w

    def update(updates: Any, state: Any, params: Any) -> tuple[Any, Any]:
        return {
            name: layer | {"kernel": shortened(params[name]["kernel"], layer["kernel"])}
            for name, layer in updates.items()
        }, state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def together() -> optax.GradientTransformation:
    """Project the kernels of `network` by hand, those of one shape as one array."""

    def update(updates: Any, state: Any, params: Any) -> tuple[Any, Any]:
        names: dict[tuple[int, ...], list[str]] = {}
        for name, layer in params.items():
            names.setdefault(layer["kernel"].shape, []).append(name)
        done = {}
        for alike in names.values():
            w, u = (jnp.stack([tree[name]["kernel"] for name in alike]) for tree in (params, updates))
            there = w + u
            steps = there * jnp.minimum(1.0, jax.lax.rsqrt(jnp.sum(jnp.square(there), axis=1, keepdims=True))) - w
            done |= {name: updates[name] | {"kernel": step} for name, step in zip(alike, steps, strict=True)}
        return done, state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def seconds_to_compile(tx: optax.GradientTransformation, params: Any, training: bool) -> tuple[float, float]:
    """Return the seconds to trace and lower one step afresh, and those that XLA takes to compile it."""
    state, x = tx.init(params), jnp.ones((8, params["layer0"]["kernel"].shape[0]))
    jax.clear_caches()

    def step(params: Any, state: Any, gradients: Any, x: jax.Array) -> tuple[Any, Any]:
        gradients = jax.grad(loss)(params, x) if training else gradients
        updates, state = tx.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    start = time.process_time()
    lowered = jax.jit(step).lower(params, state, params, x)
    middle = time.process_time()
    lowered.compile()
    return middle - start, time.process_time() - middle


def main(rounds: int) -> None:
    """Compile all programs in turn and print the ratios."""
    jax.config.update("jax_enable_compilation_cache", False)
    adam = optax.adam(1e-3)
    chains = {
        "adam": adam,
        "bound": optax.chain(adam, by_hand(rows=32)),
        "by hand": optax.chain(adam, by_hand(rows=None)),
        "together": optax.chain(adam, together()),
        "project": optax.chain(adam, jr.project(jr.MaxNorm(1.0))),
    }
    for name, widths in WIDTHS.items():
        params = network(widths)
        for program in ("step", "training"):
            found: dict[str, list[tuple[float, float]]] = {chain: [] for chain in chains}
            for _ in range(rounds):
                for chain, tx in chains.items():
                    found[chain].append(seconds_to_compile(tx, params, program == "training"))
            alone = statistics.median(map(sum, found["adam"]))
            for chain, pairs in found.items():
                lowering, compiling = map(statistics.median, zip(*pairs, strict=True))
                ratio = statistics.median(map(sum, pairs)) / alone
                seconds = f"trace {lowering:5.2f} s, XLA {compiling:6.2f} s"
                print(f"{name:12} {program:9} {chain:8} {seconds}, ratio {ratio:.2f}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
