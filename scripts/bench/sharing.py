"""Time of 1, 2 and 4 processes on one store, and how often each chunk is computed.

    python scripts/bench/sharing.py [--chunks 100] [--seconds 1.0]

Each process makes the same call of `sweep` with the same folder. A chunk is one run, and each process computes one
chunk at a time. A run sleeps in a host callback instead of computing, so that four processes do not need four cores:
what is measured is the claims and the files, not the cores.

"seconds" is the time of the processes from the start of the first to the end of the last, with the import of JAX and
the compilation. "computing" is the part of it from the first computation to the end of the last one. The callback
appends a line to a log file for each computation, so computations are counted without the store. The target is 0.6 of
the time of one process for two, and 0.35 for four.
"""

import argparse
import collections
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROCESSES = (1, 2, 4)


def share(store: str, log: str, chunks: int, seconds: float) -> None:
    """Compute chunks of the shared sweep until all are there."""
    if hasattr(os, "sched_setaffinity"):  # one core each: one chunk at a time
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[os.getpid() % len(cores)]})
    import jax
    import numpy as np

    from jaxreg.lab import sweep

    lines = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def wait(seed: np.ndarray) -> np.ndarray:
        begun = time.monotonic()
        time.sleep(seconds)
        os.write(lines, f"{int(seed)} {begun} {time.monotonic()}\n".encode())  # one call appends the whole line
        return np.float32(seed) ** 2

    def run(seed: jax.Array) -> dict[str, jax.Array]:
        shape = jax.ShapeDtypeStruct((), np.float32)
        return {"square": jax.pure_callback(wait, shape, seed, vmap_method="sequential")}

    sweep(run, {"seed": range(chunks)}, store, chunk=1, token="1")


def measure(processes: int, chunks: int, seconds: float) -> dict[str, float]:
    """Return the seconds that the processes take, and the numbers of computations and of different chunks."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "computed")
        command = [sys.executable, __file__, "--share", str(Path(folder, "store")), str(log)]
        command += ["--chunks", str(chunks), "--seconds", str(seconds)]
        begun = time.perf_counter()
        started = [subprocess.Popen(command) for _ in range(processes)]
        ended = [process.wait() for process in started]
        if any(ended):
            raise SystemExit(f"processes ended with {ended}")
        lasted = time.perf_counter() - begun
        lines = [line.split() for line in log.read_text().splitlines()]
    computed = collections.Counter(seed for seed, _, _ in lines)
    return {
        "processes": processes,
        "seconds": round(lasted, 1),
        "computing": round(max(float(end) for _, _, end in lines) - min(float(begun) for _, begun, _ in lines), 1),
        "computations": sum(computed.values()),
        "chunks": len(computed),
        "most per chunk": max(computed.values()),
    }


def main() -> None:
    """Print one JSON object per number of processes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--chunks", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--share", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.share:
        share(*arguments.share, arguments.chunks, arguments.seconds)
        return
    alone: dict[str, float] = {}
    for processes in PROCESSES:
        found = measure(processes, arguments.chunks, arguments.seconds)
        alone = alone or found
        ratios = {f"{name} of one": round(found[name] / alone[name], 3) for name in ("seconds", "computing")}
        print(json.dumps({**found, **ratios}), flush=True)


if __name__ == "__main__":
    main()
