"""Seconds to train networks of many widths in one program, and with one program per width: prints both and their ratio.

The networks are those of the tutorials on the two moons, widths 1 to 64, eight seeds each. All sweeps are compiled from
nothing. They take turns in one process, and seconds are those of the processor, so that a busy machine slows all alike.
One program trains every network at the widest width: it saves compilations, and costs more per step.

    python scripts/bench/widths.py [rounds]
"""

import statistics
import sys
import time
from typing import Any

import jax
import numpy as np

import jaxreg as jr
from jaxreg.lab import MLP, Problem, Recipe, any_width, choices, fit, linen, moons, sweep

WIDTHS = {"8 widths": (1, 2, 4, 8, 16, 24, 32, 64), "32 widths": tuple(range(2, 65, 2))}
DATA = moons(range(8), 30, 100)


def own(width: int) -> Any:
    """The network of one width."""
    return linen(MLP(hidden=width), inputs=(2,))


def seconds(make: Any, axis: Any, epochs: int) -> float:
    """Return the seconds to compile and run a sweep over widths and seeds."""

    def run(width: Any, seed: Any) -> dict[str, Any]:
        problem = Problem(make(width), DATA, epochs, record_every=epochs)
        recipe = Recipe(penalties={jr.KERNELS: jr.L2(1e-3)}, constraints={jr.KERNELS: jr.MaxNorm(3.0)})
        return {"loss": fit(problem, recipe, jax.random.key(seed), seed)["test_loss"].values[-1]}

    jax.clear_caches()
    start = time.process_time()
    sweep(run, {"width": axis, "seed": np.arange(8)}, progress=False).load()
    return time.process_time() - start


def main(rounds: int) -> None:
    """Time all sweeps in turn and print the medians."""
    jax.config.update("jax_enable_compilation_cache", False)
    for name, widths in WIDTHS.items():
        for epochs in (100, 1000, 10_000):
            spent: dict[str, list[float]] = {"one": [], "each": []}
            for _ in range(rounds):
                spent["one"].append(seconds(any_width(own, widths), list(widths), epochs))
                spent["each"].append(seconds(own, choices(*widths), epochs))
            one, each = (statistics.median(spent[kind]) for kind in spent)
            print(
                f"{name}, {epochs} steps: {one:.1f} s in one program, {each:.1f} s with one per width, "
                f"ratio {each / one:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
