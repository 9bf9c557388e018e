"""How long the first result takes: prints JSON, seconds on the clock of processes of their own.

    python scripts/bench/start.py [ROUNDS]

Imports are timed inside the process, around the statement and after the interpreter has started. The first result is
the tutorial MLP trained by `sweep` for 100 steps from 4 seeds, from the start of the process to its dataset: once with
an empty cache of compiled programs and once with the one that this left behind.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

IMPORT = "import time; start = time.perf_counter(); import {0}; print(time.perf_counter() - start)"
FIRST = """
import jax
import jaxreg as jr
from jaxreg.lab import MLP, Problem, Recipe, fit, linen, sweep, tutorial_moons
from jaxreg.lab.sweeps import keep_compiled
keep_compiled()
problem = Problem(linen(MLP(hidden=500), (2,)), tutorial_moons(), 100, record_every=10)
def run(seed):
    return fit(problem, Recipe(penalties={"hidden/kernel": jr.L2(1e-3)}), jax.random.key(seed))
print(float(sweep(run, {"seed": range(4)}, progress=False)["test_accuracy"].mean()))
"""


def printed(code: str, **variables: str) -> str:
    """What a Python of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, text=True, env={**os.environ, **variables}
    )
    return done.stdout


def first(folder: str) -> float:
    """Seconds from the start of a process to its first result."""
    start = time.perf_counter()
    printed(FIRST, JAX_COMPILATION_CACHE_DIR=folder)
    return time.perf_counter() - start


def measured(rounds: int) -> list[dict]:
    """Each start in turn."""
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        for module in ("jax", "jaxreg", "jaxreg.lab"):
            seconds.setdefault(f"import {module}", []).append(float(printed(IMPORT.format(module))))
        with tempfile.TemporaryDirectory() as folder:
            seconds.setdefault("first result, nothing compiled", []).append(first(folder))
            seconds.setdefault("first result, all compiled", []).append(first(folder))
    return [
        {"program": name, "seconds": statistics.median(spent), "range": [min(spent), max(spent)]}
        for name, spent in seconds.items()
    ]


if __name__ == "__main__":
    print(json.dumps(measured(int(sys.argv[1]) if len(sys.argv) > 1 else 3)))
