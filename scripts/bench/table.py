"""Every figure of speed in one table, and the record of the run beside it.

    scripts/bench/run [trainings] [lanes] [library] [start] [--rounds 3] [--most 16384] [--peers PYTHON] [--out FOLDER]

Each measurement runs in a process of its own, and those of one comparison take turns; a figure is the median of the
rounds, and its range theirs. Compare only what one table holds: the same machine differs by a factor of two from day to
day. `--peers` names a Python that has Keras 3.15, JAX and PyTorch, in an environment of its own, such as the one that
`scripts/test_peers` makes.
Without parts to measure, all are; parts measured on one day go into one record.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

HERE = Path(__file__).parent
STEPS = {"MLP": 4000, "CNN": 300, "LSTM": 200, "GRU": 200}
LANES = 64
LANES_STEPS = 2000
"""Steps that make 64 lanes work enough to be compiled with all optimisations, as they are in a full training."""

WEIGHTS = (1e6, 1e7, 1e8)


def printed(script: str, *arguments: object) -> list | dict:
    """The JSON that a script of this folder prints last."""
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def one(program: str, system: str, lanes: int, steps: int, turn: int, folder: str) -> dict:
    """One measurement of a training; shown as it comes."""
    result = printed("trainings.py", program, system, lanes, steps, folder)
    row = {"program": program, "system": system, "lanes": lanes, "steps": steps, "turn": turn, **result}
    row["ms"] = 1e3 * row["seconds"] / lanes
    print(f"  {system:4} {program:24} {lanes:6d} lanes x {steps} steps: {row['ms']:9.2f} ms a model", file=sys.stderr)
    return row


def trainings(arguments: argparse.Namespace, folder: str) -> list[dict]:
    """The programs of each system in turn."""
    from jaxreg.lab.sweeps.chunk_size import cores

    found = []
    limit = compiled_limit(folder)
    for system, steps in STEPS.items():
        programs = dict.fromkeys(("sweep", "sweep of a library's net", "by hand", "by hand, all cores"), LANES)
        if system == "MLP":
            programs |= {"C limit": LANES} if limit else {}
            programs |= {"Keras fit": 1} if arguments.peers else {}
        if arguments.peers:
            programs |= {"PyTorch": cores(), "PyTorch, torch.func": 16 * cores()}
        for turn in range(arguments.rounds):
            found += [one(name, system, lanes, steps, turn, folder) for name, lanes in programs.items()]
    return found


def lanes(arguments: argparse.Namespace, folder: str) -> list[dict]:
    """The sweep at four times as many lanes, and again; the most lanes, which take minutes, in the last round alone."""
    counts = [LANES]
    while counts[-1] * 4 <= arguments.most:
        counts.append(counts[-1] * 4)
    plan = [(turn, count) for turn in range(arguments.rounds) for count in counts[:-1]]
    return [
        one("sweep", "MLP", count, LANES_STEPS, turn, folder) for turn, count in [*plan, (arguments.rounds, counts[-1])]
    ]


def library(arguments: argparse.Namespace, folder: str) -> list[dict]:
    """What each link of a chain adds to Adam."""
    return [row for weights in WEIGHTS for row in printed("library.py", weights, 2 * arguments.rounds + 1)]


def start(arguments: argparse.Namespace, folder: str) -> list[dict]:
    """Imports and first results."""
    return list(printed("start.py", arguments.rounds))


def compiled_limit(folder: str) -> bool:
    """Whether there is a compiler, and the program in C is made."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        print("no C compiler found: the limit is left out", file=sys.stderr)
        return False
    flags = ["-O3", "-march=native", "-ffast-math", "-o", f"{folder}/limit", str(HERE / "limit.c"), "-lm"]
    subprocess.run([compiler, *flags], check=True)
    return True


def lines_of(titles: list[str], rows: list[list]) -> list[str]:
    """A table of Markdown."""
    return [f"| {' | '.join(map(str, cells))} |" for cells in [titles, ["---"] * len(titles), *rows]]


def spread(values: list[float]) -> str:
    """The median and the range."""
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def of_trainings(found: list[dict]) -> list[str]:
    """Medians, spreads and the ratios within the run."""
    groups: dict[tuple, list[dict]] = {}
    for row in found:
        groups.setdefault((row["system"], row["steps"], row["lanes"], row["program"]), []).append(row)
    median = {key: statistics.median(row["ms"] for row in group) for key, group in groups.items()}
    of = {(system, steps, program): ms for (system, steps, _, program), ms in median.items()}
    titles = ["system", "steps", "lanes", "program", "lanes a chunk", "ms a model (range)", "lanes/s"]
    titles += ["faster than by hand", "than by hand, all cores", "over the C limit", "compile s", "peak MiB"]
    rows, notes = [], []
    for (system, steps, count, program), group in groups.items():
        ms = median[system, steps, count, program]
        ratio = lambda top, bottom: f"{top / bottom:.3g}" if top and bottom else ""  # noqa: E731
        rows.append(
            [
                *(system, steps, count, program, group[0]["chunk"]),
                spread([row["ms"] for row in group]),
                f"{1e3 / ms:.3g}",
                ratio(of.get((system, steps, "by hand")), ms),
                ratio(of.get((system, steps, "by hand, all cores")), ms),
                ratio(ms, of.get((system, steps, "C limit"))),
                f"{statistics.median(row['compile'] for row in group):.1f}" if group[0]["compile"] else "",
                f"{max(row['memory'] for row in group):.0f}",
            ]
        )
    for system in STEPS:
        last = {row["program"]: row for row in found if row["system"] == system and row["steps"] == STEPS[system]}
        if {"sweep", "by hand"} <= last.keys():
            gap = max(abs(a / b - 1) for a, b in zip(last["sweep"]["losses"], last["by hand"]["losses"], strict=True))
            tried = ", ".join(f"{size}: {ms:.3g}" for size, ms in last["by hand"]["trials"].items())
            notes.append(
                f"{system}: the final test losses of sweep and program by hand differ by at most {gap:.1e} (relative). "
                f"Populations tried by hand, ms a lane in a tenth of the steps: {tried}."
            )
        if {"sweep", "sweep of a library's net"} <= last.keys():
            times = of[system, STEPS[system], "sweep of a library's net"] / of[system, STEPS[system], "sweep"]
            notes.append(f"{system}: the sweep of a library's net takes {times:.3g} times as long as the laboratory's.")
        if "Keras fit" in last:
            times = of[system, STEPS[system], "Keras fit"] / of[system, STEPS[system], "sweep"]
            notes.append(f"{system}: the sweep is {times:.0f} times as fast a model as Keras's fit on its JAX backend.")
        if "PyTorch" in last:
            peers = [of[system, STEPS[system], name] for name in ("PyTorch", "PyTorch, torch.func")]
            times = min(peers) / of[system, STEPS[system], "sweep"]
            notes.append(f"{system}: the sweep is {times:.3g} times as fast a model as PyTorch, a process per core.")
    return [*lines_of(titles, rows), *(f"\n{note}" for note in notes)]


def of_lanes(found: list[dict]) -> list[str]:
    """The cost of a lane by their number."""
    groups: dict[int, list[dict]] = {}
    for row in found:
        groups.setdefault(row["lanes"], []).append(row)
    most = statistics.median(row["ms"] for row in groups[max(groups)])
    titles = ["lanes", "lanes a chunk", "ms a lane (range)", "lanes/s", "over the most lanes", "peak MiB", "compiled"]
    rows = []
    for count, group in groups.items():
        ms = statistics.median(row["ms"] for row in group)
        rows.append(
            [
                *(count, group[0]["chunk"]),
                spread([row["ms"] for row in group]),
                *(f"{1e3 / ms:.4g}", f"{ms / most:.3f}", f"{max(row['memory'] for row in group):.0f}"),
                "quickly" if group[0]["options"] else "fully",
            ]
        )
    return [f"The sweep of the MLP, {found[0]['steps']} steps, by the number of lanes:\n", *lines_of(titles, rows)]


def of_library(found: list[dict]) -> list[str]:
    """The cost of each link of a chain."""
    titles = ["weights", "chain", "ms a step", "over Adam (range)", "passes over the weights beyond Adam"]
    rows = []
    for row in found:
        low, high = row["range over Adam"]
        over = f"{row['over Adam']:.2f} ({low:.2f} to {high:.2f})"
        more = f"{row['passes more']:+.1f}" if row["program"] not in ("Adam", "a pass") else ""
        rows.append([f"{row['weights']:.1e}", row["program"], f"{row['ms']:.3g}", over, more])
    return lines_of(titles, rows)


def of_start(found: list[dict]) -> list[str]:
    """The first seconds."""
    rows = [[row["program"], f"{row['seconds']:.2f} ({row['range'][0]:.2f} to {row['range'][1]:.2f})"] for row in found]
    return lines_of(["start", "seconds (range)"], rows)


PARTS = {
    "trainings": (trainings, of_trainings),
    "lanes": (lanes, of_lanes),
    "library": (library, of_library),
    "start": (start, of_start),
}
"""Name -> what measures it, and what makes lines of Markdown of the rows."""


def main() -> None:
    """Print the table and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most", type=int, default=16384, help="lanes of the largest sweep")
    parser.add_argument("--peers", metavar="PYTHON", help="a Python that has Keras, JAX and PyTorch")
    parser.add_argument("--out", type=Path, default=HERE.parents[1] / "docs" / "benchmarks")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"no part is called {sorted(unknown)[0]!r}; there are {', '.join(PARTS)}")
    import jax

    from jaxreg.lab.sweeps.chunk_size import cores

    versions = {"jax": jax.__version__, "python": platform.python_version()}
    if arguments.peers:
        os.environ["JAXREG_BENCH_PEER"] = arguments.peers
        for peer in ("keras", "torch"):
            ask = f"from importlib.metadata import version; print(version({peer!r}))"
            done = subprocess.run([arguments.peers, "-c", ask], capture_output=True, text=True)
            versions[peer] = done.stdout.strip()

    device = jax.devices()[0]
    record = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {cores()} cores, {device.device_kind}",
        "versions": versions,
        "rounds": arguments.rounds,
        "parts": {},
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / f"{record['date']}-{device.platform}.json"
    if file.exists():
        before = json.loads(file.read_text())
        record["parts"] = {part: before["parts"][part] for part in PARTS if part in before["parts"]}
    for part in arguments.parts or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            record["parts"][part] = PARTS[part][0](arguments, folder)
        file.write_text(json.dumps(record, indent=1) + "\n")
    lines = [f"# {record['date']}: {', '.join([record['machine'], *(f'{k} {v}' for k, v in versions.items())])}"]
    for part, rows in record["parts"].items():
        lines += ["", f"## {part.capitalize()}", "", *PARTS[part][1](rows)]
    text = "\n".join(lines) + "\n"
    print(text)
    file.with_suffix(".md").write_text(text)
    print(file)


if __name__ == "__main__":
    main()
