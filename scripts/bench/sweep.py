"""Cost and memory of a sweep against its size, and the time of a second start.

    python scripts/bench/sweep.py [--most 1000000] [--rounds 5]

A lane is an Euler integration of a damped pendulum, 50 steps; each size runs in a process of its own, with
a store, the sizes in turn; small sweeps run several times in their process. A lane's cost is taken over the chunks
that finish while all cores are busy: from the first of each core to the last behind which the queue is full, on the
clock and in CPU time of all threads (the fair one where others use the machine too). Counted to the very end, chunks
that were begun before the count would make a small sweep look cheap. A chunk has 1,000 lanes, fewer where there are
more than two cores, so that 10,000 lanes keep all of them busy. "start" is all before the first chunk. Figures are
medians of the rounds; so is the ratio of a cost to that of the smallest size in the same round. TMPDIR says where
stores are: a memory disk (/dev/shm) shows the cost of the sweep alone, a disk also that of its files. Nothing is
deleted before the end: for seconds after that, ext4 takes several times as long to find room for a file.
"""

import argparse
import json
import logging
import math
import resource
import subprocess
import sys
import tempfile
import time
from statistics import median

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
SAME = 100_000
"""Lanes of a process whose sweeps are small."""


def measure(lanes: int, store: str) -> dict[str, float]:
    """One sweep of so many lanes: seconds to start, seconds a lane, and peak memory."""
    begun = time.perf_counter()
    import jax
    import jax.numpy as jnp

    from jaxreg.lab.sweeps.chunk_size import cores
    from jaxreg.lab.sweeps.compilation import keep_compiled
    from jaxreg.lab.sweeps.engine import sweep

    keep_compiled(f"{store}-compiled")

    def run(start, damping):
        def step(state, _):
            angle, speed = state
            return (angle + 0.05 * speed, speed - 0.05 * (damping * speed + jnp.sin(angle))), None

        angle, speed = jax.lax.scan(step, (start, 0.0 * start), None, 50)[0]
        return {"angle": angle, "speed": speed}

    times: list[float] = []
    work: list[float] = []

    class Clock(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("chunk "):  # another line counts the runs that were read
                times.append(time.perf_counter())
                work.append(time.process_time())

    handler = Clock()
    logger = logging.getLogger("jaxreg.sweep")
    logger.addHandler(handler)
    logger.setLevel("INFO")
    chunk = SIZES[0] // max(10, 5 * cores())
    starts = [3 * math.sin(n) for n in range(lanes // 100)]
    over = {"start": starts, "damping": [n / 100 for n in range(100)]}
    starting = opening = math.nan
    clock = cpu = counted = 0.0
    for turn in range(max(1, SAME // lanes)):
        times.clear(), work.clear()
        found = sweep(run, over, f"{store}-{turn}", chunk=chunk)
        float(found["angle"].mean())
        if turn == 0:
            starting = (times[0] if times else time.perf_counter()) - begun
            opening = time.perf_counter() - (times[-1] if times else begun)
        if times:
            first, last = cores() - 1, len(times) - 1 - 2 * cores()
            clock += times[last] - times[first]
            cpu += work[last] - work[first]
            counted += (last - first) * chunk
    done = len(times) * chunk
    return {
        "start": starting,
        "lane": clock / counted if counted else math.nan,
        "cpu": cpu / counted if counted else math.nan,
        "open": opening,
        "so far": [(times[s // chunk - 1] - times[cores() - 1]) / (s - cores() * chunk) for s in SIZES if s <= done],
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--most", type=int, choices=SIZES, default=SIZES[-1], help="lanes of the largest sweep")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(int(arguments.one[0]), arguments.one[1])))
        return
    sizes = [size for size in SIZES if size <= arguments.most]
    found: dict[str, list[dict[str, float]]] = {f"{size}": [] for size in sizes} | {"again": []}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(arguments.rounds):
            order = sizes if turn % 2 else sizes[::-1]
            for title, size in [*((f"{size}", size) for size in order), ("again", sizes[-1])]:
                command = [sys.executable, __file__, "--one", str(size), f"{folder}/{turn}-{size}"]
                done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
                found[title].append(json.loads(done.stdout))
    first = found[f"{sizes[0]}"]
    print("   lanes | start s | µs a lane (range), ratio | CPU µs a lane, ratio | open s | peak MiB")
    for title, rows in found.items():
        lane, cpu = ([1e6 * row[name] for row in rows] for name in ("lane", "cpu"))
        pairs = list(zip(rows, first, strict=True))
        ratios = [median(row[name] / small[name] for row, small in pairs) for name in ("lane", "cpu")]
        costs = f"{median(lane):5.2f} ({min(lane):.2f} to {max(lane):.2f}), {ratios[0]:4.2f} | "
        costs += f"{median(cpu):13.2f}, {ratios[1]:4.2f}"
        start, opened, memory = (median(row[name] for row in rows) for name in ("start", "open", "memory"))
        print(f"{title:>8s} | {start:7.2f} | {costs} | {opened:6.2f} | {memory:8.0f}")
    inside = [median(row["so far"][n] / row["so far"][-1] for row in found[f"{sizes[-1]}"]) for n in range(len(sizes))]
    costs = ", ".join(f"{ratio:.2f} after {size}" for size, ratio in zip(sizes, inside, strict=True))
    print(f"Inside the largest sweep, a lane so far over a lane of the whole: {costs}.")
    print("The last line of the table is the largest sweep again, with all of its chunks there.")


if __name__ == "__main__":
    main()
