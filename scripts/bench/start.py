"""How long the first result takes: prints JSON, seconds on the clock of processes of their own.

    python scripts/bench/start.py [ROUNDS]

Imports are timed inside the process, around the statement and after the interpreter has started. The first result is
the tutorial MLP trained by `sweep` for 100 steps from 4 seeds, from the start of the process until its mean accuracy is
printed: once with an empty cache of compiled programs and once with the one that this left behind.
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
print(float(sweep(run, {"seed": range(4)}, progress=False)["test_accuracy"].mean()), flush=True)
"""


def seconds_until_printed(code: str, **variables: str) -> tuple[float, str]:
    """Start a Python of its own, and return the seconds until it has printed a line, and this line."""
    start = time.perf_counter()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment | variables
    ) as process:
        line = process.stdout.readline()
        spent = time.perf_counter() - start
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return spent, line


def measured(rounds: int) -> list[dict]:
    """Each start in turn."""
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:  # Python compiles what it imports for the first time
        seconds_until_printed(FIRST, JAX_COMPILATION_CACHE_DIR=folder)
    for _ in range(rounds):
        for module in ("jax", "jaxreg", "jaxreg.lab"):
            seconds.setdefault(f"import {module}", []).append(float(seconds_until_printed(IMPORT.format(module))[1]))
        with tempfile.TemporaryDirectory() as folder:
            for state in ("nothing", "all"):
                spent, _ = seconds_until_printed(FIRST, JAX_COMPILATION_CACHE_DIR=folder)
                seconds.setdefault(f"first result, {state} compiled", []).append(spent)
    return [
        {"program": name, "seconds": statistics.median(spent), "range": [min(spent), max(spent)]}
        for name, spent in seconds.items()
    ]


if __name__ == "__main__":
    print(json.dumps(measured(int(sys.argv[1]) if len(sys.argv) > 1 else 3)))
