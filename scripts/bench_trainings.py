"""What a training costs: our sweep, an expert's own vmapped scan, the machine's limit in C, Keras's `fit`.

    scripts/bench [--rounds 3] [--most 16384] [--peers PYTHON] [--out FOLDER]

Every figure of a table is measured in the same run, in processes of their own that take turns; it is the median of the
rounds, and its spread their range. The two programs of one system do the same arithmetic from the same initial
weights, and the largest difference between their final losses is printed. `--peers` names a Python that has Keras 3.15
and its JAX backend (see `scripts/keras_reference.py`). JSON with machine and versions lies beside the table.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import wait
from datetime import date
from pathlib import Path

HERE = Path(__file__).parent
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
STEPS = {"MLP": 4000, "CNN": 200, "LSTM": 200}
POINTS = 10


def problem(system: str, steps: int):
    """The system as the laboratory trains it, full batches, a point of the curves every tenth of the steps."""
    from jaxreg.lab import CNN, LSTM, MLP, Problem, linen, tutorial_moons
    from jaxreg.lab.datasets import digits, digits_by_row
    from jaxreg.lab.metrics import categorical_accuracy, categorical_cross_entropy

    if system == "MLP":
        return Problem(linen(MLP(hidden=500), (2,)), tutorial_moons(), steps, record_every=steps // POINTS)
    made, module, inputs = {
        "CNN": (digits, CNN(filters=(16,), outputs=10), (8, 8, 1)),
        "LSTM": (digits_by_row, LSTM(units=(32,), outputs=10), (8, 8)),
    }[system]
    data = made([0], train=100)
    data = data._replace(x_test=data.x_test[:, :200], y_test=data.y_test[:, :200])
    return Problem(
        linen(module, inputs),
        data,
        steps,
        categorical_cross_entropy,
        {"accuracy": categorical_accuracy},
        batch_size=100,
        record_every=steps // POINTS,
    )


def kernel(system: str) -> str:
    """The kernel under L2."""
    return {"MLP": "hidden/kernel", "CNN": "conv/kernel", "LSTM": "lstm/kernel"}[system]


def ours(system: str, lanes: int, steps: int, folder: str) -> dict:
    """Our sweep: the engine's own chunks on its own threads, after its one compilation."""
    import jax
    import numpy as np

    import jaxreg as jr
    from jaxreg.lab import Recipe, fit
    from jaxreg.lab.executors import Here
    from jaxreg.lab.grid import make_grid
    from jaxreg.lab.program import Program

    task = problem(system, steps)

    def run(seed, draw):
        recipe = Recipe(penalties={kernel(system): jr.L2(1e-3)})
        curves = fit(task, recipe, jax.random.key(seed), draw)
        return {name: curves[name] for name in ("test_loss", "test_accuracy", "train_loss", "train_accuracy")}

    begun = time.perf_counter()
    program = Program(run, make_grid({"seed": np.arange(lanes), "draw": np.arange(1)}))
    place = Here(program)
    program.compute(0)
    compiled = time.perf_counter() - begun
    start = time.perf_counter()
    futures = [place.submit(number) for number in range(-(-lanes // program.chunk))]
    wait(futures)
    seconds = time.perf_counter() - start
    losses = np.concatenate([future.result().arrays["test_loss"][:, -1] for future in futures])
    place.close()
    return {"seconds": seconds, "compile": compiled, "chunk": program.chunk, "losses": losses[:16].tolist()}


def by_hand(system: str, lanes: int, steps: int, folder: str) -> dict:
    """What an expert writes: jit of vmap of scan over a population of 64, the data shared, XLA's own threads."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    task = problem(system, steps)
    x, y, x_test, y_test = (jnp.asarray(a[0]) for a in task.data[:4])

    def mlp(p, x):
        hidden = jax.nn.relu(x @ p["hidden"]["kernel"] + p["hidden"]["bias"])
        return hidden @ p["output"]["kernel"] + p["output"]["bias"]

    def cnn(p, x):
        places = jax.lax.conv_general_dilated(
            x, p["conv"]["kernel"], (1, 1), "VALID", None, None, ("NHWC", "HWIO", "NHWC")
        )
        hidden = jax.nn.relu(places + p["conv"]["bias"])
        return hidden.reshape(len(x), -1) @ p["output"]["kernel"] + p["output"]["bias"]

    def lstm(p, x):
        w = p["lstm"]

        def cell(state, row):
            h, c = state
            i, f, g, o = jnp.split(row @ w["kernel"] + h @ w["recurrent_kernel"] + w["bias"], 4, -1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

        zeros = jnp.zeros((len(x), w["recurrent_kernel"].shape[0]))
        (h, _), _ = jax.lax.scan(cell, (zeros, zeros), jnp.swapaxes(x, 0, 1))
        return h @ p["output"]["kernel"] + p["output"]["bias"]

    apply = {"MLP": mlp, "CNN": cnn, "LSTM": lstm}[system]
    first, second = kernel(system).split("/")

    def cross_entropy(outputs, y):
        if outputs.shape[1] == 1:
            z = outputs[:, 0]
            return jnp.mean(jnp.maximum(z, 0) - z * y + jnp.log1p(jnp.exp(-jnp.abs(z))))
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(outputs), y[:, None], 1))

    def accuracy(outputs, y):
        return jnp.mean((outputs[:, 0] > 0) == (y > 0.5) if outputs.shape[1] == 1 else outputs.argmax(1) == y)

    def objective(p):
        return cross_entropy(apply(p, x), y) + 1e-3 * jnp.sum(p[first][second] ** 2)

    def step(carry, t):
        p, m, v = carry
        g = jax.grad(objective)(p)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        rate = 1e-3 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        return (jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-7), p, m, v), m, v), None

    def span(carry, times):
        carry, _ = jax.lax.scan(step, carry, times)
        train, test = apply(carry[0], x), apply(carry[0], x_test)
        return carry, (cross_entropy(train, y), accuracy(train, y), cross_entropy(test, y_test), accuracy(test, y_test))

    def train(seed):
        p = task.model.init(jax.random.split(jax.random.key(seed))[0])
        zeros = jax.tree.map(jnp.zeros_like, p)
        times = jnp.arange(1, steps + 1, dtype=jnp.float32).reshape(POINTS, -1)
        return jax.lax.scan(span, (p, zeros, zeros), times)[1]

    begun = time.perf_counter()
    population = jax.jit(jax.vmap(train)).lower(jnp.arange(64)).compile()
    compiled = time.perf_counter() - begun
    population(jnp.arange(64))[0].block_until_ready()
    start = time.perf_counter()
    found = [jax.device_get(population(jnp.arange(low, low + 64))) for low in range(0, lanes, 64)]
    seconds = time.perf_counter() - start
    losses = np.concatenate([part[2][:, -1] for part in found])
    return {"seconds": seconds, "compile": compiled, "chunk": 64, "losses": losses[:16].tolist()}


def limit(system: str, lanes: int, steps: int, folder: str) -> dict:
    """The C program, one process a core, each with its share of the models."""
    share = -(-lanes // CORES)
    command = [f"{folder}/limit", str(share), str(steps)]
    start = time.perf_counter()
    for process in [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(CORES)]:
        if process.wait():
            raise RuntimeError("the limit in C failed")
    seconds = (time.perf_counter() - start) * lanes / (share * CORES)
    return {"seconds": seconds, "compile": 0.0, "chunk": 1, "losses": []}


PEER = """
import json, sys, time, os
os.environ["KERAS_BACKEND"] = "jax"
import keras, numpy as np
x, y = np.load(sys.argv[1])["x"], np.load(sys.argv[1])["y"]
def model(seed):
    keras.utils.set_random_seed(seed)
    net = keras.Sequential([keras.Input((2,)),
        keras.layers.Dense(500, activation="relu", kernel_regularizer=keras.regularizers.L2(1e-3)),
        keras.layers.Dense(1, activation="sigmoid")])
    net.compile(loss="binary_crossentropy", optimizer="adam")
    return net
warm = model(0); warm.fit(x, y, epochs=20, batch_size=32, verbose=0)
start = time.perf_counter()
for seed in range(int(sys.argv[2])):
    net = model(seed); net.fit(x, y, epochs=int(sys.argv[3]), batch_size=32, verbose=0)
print(json.dumps({"seconds": time.perf_counter() - start, "compile": 0.0, "chunk": 1, "losses": []}))
"""


def peer(python: str, lanes: int, steps: int, folder: str) -> dict:
    """Keras's own `fit`, one model after the other."""
    import numpy as np

    data = problem("MLP", POINTS).data
    np.savez(f"{folder}/moons.npz", x=data.x_train[0], y=data.y_train[0])
    command = [python, "-c", PEER, f"{folder}/moons.npz", str(lanes), str(steps)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()[-1])


PROGRAMS = {"sweep": ours, "by hand": by_hand, "C limit": limit}


def one(program: str, system: str, lanes: int, steps: int, folder: str) -> dict:
    """One measurement in a process of its own."""
    command = [sys.executable, __file__, "--one", program, system, str(lanes), str(steps), folder]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def rows(arguments: argparse.Namespace, folder: str) -> list[dict]:
    """Every measurement, the programs of one system in turn."""
    found = []
    programs = [name for name in PROGRAMS if name != "C limit" or compiled_limit(folder)]
    plan = [(system, 64, STEPS[system]) for system in STEPS]
    for system, lanes, steps in plan:
        for turn in range(arguments.rounds):
            for name in programs:
                if name != "C limit" or system == "MLP":
                    found.append(measured(name, system, lanes, steps, turn, one(name, system, lanes, steps, folder)))
        if system == "MLP" and arguments.peers:
            result = {**peer(arguments.peers, 1, steps, folder), "memory": 0.0}
            found.append(measured("Keras fit", system, 1, steps, 0, result))
    lanes = 64
    while lanes <= arguments.most:
        found.append(measured("sweep", "MLP", lanes, 200, 0, one("sweep", "MLP", lanes, 200, folder)))
        lanes *= 4
    return found


def measured(name: str, system: str, lanes: int, steps: int, turn: int, result: dict) -> dict:
    """One row of the record; shown as it comes."""
    row = {"program": name, "system": system, "lanes": lanes, "steps": steps, "turn": turn, **result}
    row["ms"] = 1e3 * result["seconds"] / lanes
    print(f"  {system:4} {name:9} {lanes:6d} lanes x {steps} steps: {row['ms']:9.2f} ms a model", file=sys.stderr)
    return row


def compiled_limit(folder: str) -> bool:
    """Whether there is a compiler, and the program in C is made."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        print("no C compiler found: the limit is left out", file=sys.stderr)
        return False
    flags = ["-O3", "-march=native", "-ffast-math", "-o", f"{folder}/limit", str(HERE / "limit.c"), "-lm"]
    subprocess.run([compiler, *flags], check=True)
    return True


def table(found: list[dict]) -> list[str]:
    """The lines of the table: medians, spreads, ratios within the run."""
    groups: dict[tuple, list[dict]] = {}
    for row in found:
        groups.setdefault((row["system"], row["steps"], row["lanes"], row["program"]), []).append(row)
    median = {key: statistics.median(row["ms"] for row in group) for key, group in groups.items()}
    sweep = {key[:2]: value for key, value in reversed(median.items()) if key[3] == "sweep"}
    titles = ["system", "steps", "lanes", "program", "chunk", "ms a model (range)", "lanes/s"]
    titles += ["its time over the sweep's", "compile s", "MiB"]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for (system, steps, lanes, program), group in groups.items():
        ms = median[system, steps, lanes, program]
        spread = f"{min(row['ms'] for row in group):.3g} to {max(row['ms'] for row in group):.3g}"
        cells = [system, steps, lanes, program, group[0]["chunk"], f"{ms:.3g} ({spread})", f"{1e3 / ms:.3g}"]
        cells += [f"{ms / sweep[system, steps]:.2f}", f"{statistics.median(row['compile'] for row in group):.1f}"]
        cells += [f"{max(row['memory'] for row in group):.0f}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    for system in STEPS:
        last = {
            row["program"]: row["losses"] for row in found if row["system"] == system and row["steps"] == STEPS[system]
        }
        if last.get("sweep") and last.get("by hand"):
            gap = max(abs(a - b) for a, b in zip(last["sweep"], last["by hand"], strict=True))
            lines.append(
                f"\n{system}: final test losses of the sweep and of the program by hand differ by at most {gap:.1e}."
            )
    return lines


def main() -> None:
    """Print the table and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most", type=int, default=16384, help="lanes of the largest sweep")
    parser.add_argument("--peers", metavar="PYTHON", help="a Python that has Keras")
    parser.add_argument("--out", type=Path, default=HERE.parent / "benchmarks")
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        program, system, lanes, steps, folder = arguments.one
        result = PROGRAMS[program](system, int(lanes), int(steps), folder)
        result["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        print(json.dumps(result))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = rows(arguments, folder)
    import jax

    machine = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {CORES} cores, {jax.devices()[0].device_kind}",
        "versions": {"jax": jax.__version__, "python": platform.python_version()},
    }
    lines = table(found)
    print("\n".join(lines))
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / f"{machine['date']}-{jax.devices()[0].platform}.json"
    file.write_text(json.dumps({**machine, "rows": found}, indent=1) + "\n")
    file.with_suffix(".md").write_text(
        f"# {machine['date']}: {machine['machine']}, {machine['versions']}\n\n" + "\n".join(lines) + "\n"
    )
    print(f"\n{file}")


if __name__ == "__main__":
    main()
