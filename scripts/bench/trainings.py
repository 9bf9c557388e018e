"""One way to train many lanes, timed: our sweep, an expert's vmapped scan, the machine's limit in C, peers.

    python scripts/bench/trainings.py PROGRAM SYSTEM LANES STEPS FOLDER

Prints one line of JSON. `scripts/bench/run` runs these in turn and makes the table (`table.py`). All programs of one
system but the peers do the same arithmetic from the same initial weights. FOLDER holds what they share: the limit,
compiled, and what an earlier round found out.
"""

import json
import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

POINTS = 10

LEAST = 4.0
"""Seconds to time at least."""

POPULATIONS = (1, 4, 8, 16)
"""What an expert tries before a long run."""


def problem(system: str, steps: int):
    """The system as the laboratory trains it, full batches, a point of the curves every tenth of the steps."""
    from jaxreg.lab import CNN, GRU, LSTM, MLP, Problem, linen, tutorial_moons
    from jaxreg.lab.datasets import digits, digits_by_row
    from jaxreg.lab.training.metrics import categorical_accuracy, categorical_cross_entropy

    if system == "MLP":
        return Problem(linen(MLP(hidden=500), (2,)), tutorial_moons(), steps, record_every=steps // POINTS)
    made, module, inputs = {
        "CNN": (digits, CNN(filters=(16,), outputs=10), (8, 8, 1)),
        "LSTM": (digits_by_row, LSTM(units=(32,), outputs=10), (8, 8)),
        "GRU": (digits_by_row, GRU(units=(32,), outputs=10), (8, 8)),
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


def kernels(system: str) -> str:
    """The pattern of the kernels under L2."""
    return {"MLP": "hidden/kernel", "CNN": "conv/kernel", "LSTM": "lstm/kernel", "GRU": "gru/kernel"}[system]


def ours(system: str, lanes: int, steps: int, folder: str) -> dict:
    """Our sweep of the laboratory's own network."""
    import jax
    import numpy as np

    import jaxreg as jr
    from jaxreg.lab import Recipe, fit

    task = problem(system, steps)

    def run(seed, draw):
        recipe = Recipe(penalties={kernels(system): jr.L2(1e-3)})
        curves = fit(task, recipe, jax.random.key(seed), draw)
        return {name: curves[name] for name in ("test_loss", "test_accuracy", "train_loss", "train_accuracy")}

    return swept(run, {"seed": np.arange(lanes), "draw": np.arange(1)})


def swept(run, over) -> dict:
    """Time a sweep: the engine's own chunks on its own threads, after its one compilation."""
    import numpy as np

    from jaxreg.lab.sweeps.grid import make_grid
    from jaxreg.lab.sweeps.program import Program
    from jaxreg.lab.sweeps.runners import LocalRunner

    begun = time.perf_counter()
    program = Program(run, make_grid(over))
    program.load()
    compiled = time.perf_counter() - begun
    runner = LocalRunner(program)
    program.compute(0)
    spent: list[float] = []
    while sum(spent) < LEAST:
        start = time.perf_counter()
        futures = [runner.submit(number) for number in range(len(program.chunks))]
        wait(futures)
        spent.append(time.perf_counter() - start)
    losses = np.concatenate([future.result().arrays["test_loss"][:, -1] for future in futures])
    runner.close()
    return {
        "seconds": sum(spent) / len(spent),
        "compile": compiled,
        "chunk": program.chunk,
        "options": program.identity["compiled"],
        "losses": losses[:16].tolist(),
    }


def plain(system: str):
    """Return the network as an expert writes it: a function of parameters and inputs."""
    import jax
    import jax.numpy as jnp

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

    def gru(p, x):
        w = p["gru"]

        def cell(h, row):
            ahead, back = row @ w["kernel"] + w["bias"][0], h @ w["recurrent_kernel"] + w["bias"][1]
            (z, r, n), (z_back, r_back, n_back) = jnp.split(ahead, 3, -1), jnp.split(back, 3, -1)
            z, n = jax.nn.sigmoid(z + z_back), jnp.tanh(n + jax.nn.sigmoid(r + r_back) * n_back)
            return (1 - z) * n + z * h, None

        h, _ = jax.lax.scan(cell, jnp.zeros((len(x), w["recurrent_kernel"].shape[0])), jnp.swapaxes(x, 0, 1))
        return h @ p["output"]["kernel"] + p["output"]["bias"]

    return {"MLP": mlp, "CNN": cnn, "LSTM": lstm, "GRU": gru}[system]


def library(system: str, shape):
    """Return the network in a library: initial parameters by key, outputs, and the kernel under L2.

    The MLP is one of Flax NNX, the CNN one of Flax Linen, the LSTM and the GRU are of Equinox.
    """
    import jax
    import jax.numpy as jnp

    if system == "MLP":
        from flax import nnx

        class Net(nnx.Module):
            def __init__(self, rngs):
                self.hidden, self.output = nnx.Linear(2, 500, rngs=rngs), nnx.Linear(500, 1, rngs=rngs)

            def __call__(self, x):
                return self.output(nnx.relu(self.hidden(x)))

        graph, _ = nnx.split(Net(nnx.Rngs(0)))
        return (
            lambda key: nnx.split(Net(nnx.Rngs(key)))[1],
            lambda p, x: nnx.merge(graph, p)(x),
            lambda p: p["hidden"]["kernel"][...],
        )
    if system == "CNN":
        from flax import linen as nn

        class Pictures(nn.Module):
            @nn.compact
            def __call__(self, x):
                hidden = nn.relu(nn.Conv(16, (3, 3), padding="VALID", name="conv")(x))
                return nn.Dense(10)(hidden.reshape(len(x), -1))

        net = Pictures()
        return (lambda key: net.init(key, jnp.zeros(shape)), net.apply, lambda p: p["params"]["conv"]["kernel"])
    import equinox as eqx

    class Rows(eqx.Module):
        cell: eqx.nn.LSTMCell | eqx.nn.GRUCell
        output: eqx.nn.Linear

        def __init__(self, key):
            first, second = jax.random.split(key)
            cell = eqx.nn.LSTMCell if system == "LSTM" else eqx.nn.GRUCell
            self.cell, self.output = cell(8, 32, key=first), eqx.nn.Linear(32, 10, key=second)

        def __call__(self, x):
            zeros = jnp.zeros(32)
            start = (zeros, zeros) if system == "LSTM" else zeros
            state, _ = jax.lax.scan(lambda state, row: (self.cell(row, state), None), start, x)
            return self.output(state[0] if system == "LSTM" else state)

    _, static = eqx.partition(Rows(jax.random.key(0)), eqx.is_array)
    return (
        lambda key: eqx.partition(Rows(key), eqx.is_array)[0],
        lambda p, x: jax.vmap(eqx.combine(p, static))(x),
        lambda p: p.cell.weight_ih,
    )


def training(task, steps: int, init, apply, penalized):
    """Return the function of a seed that trains a network by hand and returns its curves."""
    import jax
    import jax.numpy as jnp

    x, y, x_test, y_test = (jnp.asarray(a[0]) for a in task.data[:4])

    def cross_entropy(outputs, y):
        if outputs.shape[1] == 1:
            z = outputs[:, 0]
            return jnp.mean(jnp.maximum(z, 0) - z * y + jnp.log1p(jnp.exp(-jnp.abs(z))))
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(outputs), y[:, None], 1))

    def accuracy(outputs, y):
        return jnp.mean((outputs[:, 0] > 0) == (y > 0.5) if outputs.shape[1] == 1 else outputs.argmax(1) == y)

    def objective(p):
        return cross_entropy(apply(p, x), y) + 1e-3 * jnp.sum(penalized(p) ** 2)

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
        p = init(jax.random.split(jax.random.key(seed))[0])
        zeros = jax.tree.map(jnp.zeros_like, p)
        times = jnp.arange(1, steps + 1, dtype=jnp.float32).reshape(POINTS, -1)
        return jax.lax.scan(span, (p, zeros, zeros), times)[1]

    return train


def by_hand(system: str, lanes: int, steps: int, folder: str, threads: int = 1) -> dict:
    """What an expert writes: jit of vmap of scan over a population, the data shared, on one thread or several.

    The population is the quickest a lane of `POPULATIONS` in a tenth of the training, tried in the first round. A
    thread uses XLA's own threads too.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    task = problem(system, steps)
    layer = kernels(system).split("/")[0]

    def compiled(population, steps):
        train = training(task, steps, task.model.init, plain(system), lambda p: p[layer]["kernel"])
        return jax.jit(jax.vmap(train)).lower(jnp.arange(population)).compile()

    def called(program, pool, starts, size):
        return list(pool.map(lambda low: jax.device_get(program(jnp.arange(low, low + size))), starts))

    def tried(population, pool):
        program, seconds = compiled(population, steps // 10), []
        for _ in range(3):
            start = time.perf_counter()
            called(program, pool, range(threads), population)
            seconds.append(time.perf_counter() - start)
        return min(seconds) / population / threads

    with ThreadPoolExecutor(threads) as pool:
        note = Path(folder, f"{system}-{threads}.json")
        if not note.exists():
            note.write_text(json.dumps({population: 1e3 * tried(population, pool) for population in POPULATIONS}))
        trials = {int(population): ms for population, ms in json.loads(note.read_text()).items()}
        size = min(lanes, min(trials, key=trials.get))
        begun = time.perf_counter()
        program = compiled(size, steps)
        seconds_to_compile = time.perf_counter() - begun
        called(program, pool, [0], size)
        start = time.perf_counter()
        found = called(program, pool, range(0, lanes, size), size)
        seconds = time.perf_counter() - start
    losses = np.concatenate([part[2][:, -1] for part in found])
    return {
        "seconds": seconds,
        "compile": seconds_to_compile,
        "chunk": size,
        "trials": trials,
        "losses": losses[:16].tolist(),
    }


def on_all_cores(system: str, lanes: int, steps: int, folder: str) -> dict:
    """The same by an expert who starts a thread per core."""
    from jaxreg.lab.sweeps.chunk_size import cores

    return by_hand(system, lanes, steps, folder, cores())


def of_a_library(system: str, lanes: int, steps: int, folder: str) -> dict:
    """Our sweep of a network of another library, its training written by hand, its data in the closure."""
    import numpy as np

    task = problem(system, steps)
    train = training(task, steps, *library(system, task.data.x_train[0][:1].shape))

    def run(seed):
        return dict(zip(("train_loss", "train_accuracy", "test_loss", "test_accuracy"), train(seed), strict=True))

    return swept(run, {"seed": np.arange(lanes)})


def limit(system: str, lanes: int, steps: int, folder: str) -> dict:
    """The C program, one process a core, each with its share of the models."""
    from jaxreg.lab.sweeps.chunk_size import cores

    count = cores()
    share = -(-lanes // count)
    command = [f"{folder}/limit", str(share), str(steps)]
    start = time.perf_counter()
    for process in [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(count)]:
        if process.wait():
            raise RuntimeError("the limit in C failed")
    seconds = (time.perf_counter() - start) * lanes / (share * count)
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


def peer(system: str, lanes: int, steps: int, folder: str) -> dict:
    """Keras's own `fit`, one model after the other, by the Python that `JAXREG_BENCH_PEER` names."""
    import numpy as np

    python = os.environ["JAXREG_BENCH_PEER"]

    data = problem("MLP", POINTS).data
    np.savez(f"{folder}/moons.npz", x=data.x_train[0], y=data.y_train[0])
    command = [python, "-c", PEER, f"{folder}/moons.npz", str(lanes), str(steps)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()[-1])


def in_torch(system: str, lanes: int, steps: int, folder: str, population: int = 1) -> dict:
    """PyTorch, by the Python that `JAXREG_BENCH_PEER` names, in a process a core, each with its share of the models."""
    import numpy as np

    from jaxreg.lab.sweeps.chunk_size import cores

    data, count = problem(system, POINTS).data, cores()
    file = f"{folder}/{system}.npz"
    np.savez(file, x=data.x_train[0], y=data.y_train[0])
    command = [os.environ["JAXREG_BENCH_PEER"], str(Path(__file__).with_name("in_torch.py")), file, system]
    command += map(str, (-(-lanes // count), steps, population))
    settings = {"stdout": subprocess.PIPE, "text": True, "env": os.environ | {"OMP_NUM_THREADS": "1"}}
    running = [subprocess.Popen(command, **settings) for _ in range(count)]
    printed = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise RuntimeError("PyTorch failed")
    result = max((json.loads(text.splitlines()[-1]) for text in printed), key=lambda each: each["seconds"])
    return result | {"seconds": result["seconds"] * lanes / (-(-lanes // count) * count)}


def in_torch_together(system: str, lanes: int, steps: int, folder: str) -> dict:
    """The same by `torch.func`: each core trains its share at once."""
    from jaxreg.lab.sweeps.chunk_size import cores

    return in_torch(system, lanes, steps, folder, -(-lanes // cores()))


PROGRAMS = {
    "sweep": ours,
    "sweep of a library's net": of_a_library,
    "by hand": by_hand,
    "by hand, all cores": on_all_cores,
    "C limit": limit,
    "Keras fit": peer,
    "PyTorch": in_torch,
    "PyTorch, torch.func": in_torch_together,
}


def peak_memory() -> float:
    """MiB that this process or one it started has held at most: of an accelerator where there is one."""
    import jax

    on_device = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return on_device / 2**20 if on_device else most / 2**10


if __name__ == "__main__":
    name, system, lanes, steps, folder = sys.argv[1:]
    result = PROGRAMS[name](system, int(lanes), int(steps), folder)
    print(json.dumps({**result, "memory": peak_memory()}))
