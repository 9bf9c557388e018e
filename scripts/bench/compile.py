"""Seconds to compile an Adam step on forty layers, and what `project(MaxNorm)` adds: prints ratios of medians.

The programs are compiled in turn, in one process, so that a busy machine slows all. Three kinds of networks: all layers
of one shape, of five shapes, each of a shape of its own. XLA compiles equal operations once, so that the number of
shapes decides. "step" is the optimiser alone; "training" has the gradient of a network with all layers too.

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
    for layer in params.values():
        x = jnp.tanh(x @ layer["kernel"] + layer["bias"])
    return jnp.mean(jnp.square(x))


def seconds_to_compile(tx: optax.GradientTransformation, params: Any, training: bool) -> float:
    """Trace and compile one step afresh."""
    state, x = tx.init(params), jnp.ones((8, params["layer0"]["kernel"].shape[0]))
    jax.clear_caches()

    def step(params: Any, state: Any, gradients: Any, x: jax.Array) -> tuple[Any, Any]:
        gradients = jax.grad(loss)(params, x) if training else gradients
        updates, state = tx.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    start = time.perf_counter()
    jax.jit(step).lower(params, state, params, x).compile()
    return time.perf_counter() - start


def main(rounds: int) -> None:
    """Compile all programs in turn and print the ratios."""
    jax.config.update("jax_enable_compilation_cache", False)
    adam = optax.adam(1e-3)
    chains = {"adam": adam, "project": optax.chain(adam, jr.project(jr.MaxNorm(1.0)))}
    for name, widths in WIDTHS.items():
        params = network(widths)
        for program in ("step", "training"):
            found: dict[str, list[float]] = {chain: [] for chain in chains}
            for _ in range(rounds):
                for chain, tx in chains.items():
                    found[chain].append(seconds_to_compile(tx, params, program == "training"))
            alone, projected = (statistics.median(found[chain]) for chain in chains)
            print(
                f"{name:12} {program:9} {alone:6.2f} s -> {projected:6.2f} s: ratio {projected / alone:.2f}", flush=True
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
