"""Twelve functions as users write them: a sweep of each beside the best ways of writing it by hand.

    python scripts/bench/functions.py [NAME ...] [--rounds 3] [--json FILE]

By hand are: a loop over one compiled program, a thread per core over the same program, and chunks of `jit` of `vmap`,
alone and on a thread per core. All take turns in one process. "of the best" is the time of the sweep over that of the
quickest of these, below 1 if the sweep wins; "in all" counts tracing and compilation. With little work a sweep compiles
quickly and runs slower. Medians of the rounds.
"""

import argparse
import json
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxreg.lab.datasets import digits, digits_by_row, tutorial_moons
from jaxreg.lab.sweeps.chunk_size import cores
from jaxreg.lab.sweeps.engine import sweep
from jaxreg.lab.sweeps.grid import make_grid
from jaxreg.lab.sweeps.program import Program
from jaxreg.lab.sweeps.runners import LocalRunner
from jaxreg.lab.sweeps.splits import factorizes

WIDTH = 8
"""Points that are batched by hand."""
UPDATES = 10
"""Updates of the policy, each from 64 steps of 8 environments."""


def trained(init, loss, steps, optimizer=optax.adam):
    """The function of a rate and a seed that trains."""

    def run(rate, seed):
        params = init(jax.random.key(seed))
        tx = optimizer(rate)

        def step(carry, _):
            params, state = carry
            value, grads = jax.value_and_grad(loss)(params)
            updates, state = tx.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), value

        (params, _), losses = jax.lax.scan(step, (params, tx.init(params)), None, steps)
        return {"loss": losses[-1], "first": losses[0]}

    return run


def entropy(logits, y):
    """Mean cross-entropy of classes."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def pictures():
    """A hundred digits: 8 x 8 x 1 and their classes."""
    data = digits([0], train=100)
    return jnp.asarray(data[0][0]), jnp.asarray(data[1][0])


def mlp():
    """The tutorials' net with optax, its data in the closure."""
    data = tutorial_moons()
    x, y = jnp.asarray(data[0][0]), jnp.asarray(data[1][0])

    def init(key):
        first, second = jax.random.split(key)
        glorot = jax.nn.initializers.glorot_uniform()
        return {"w": glorot(first, (2, 500)), "b": jnp.zeros(500), "v": glorot(second, (500, 1)), "c": jnp.zeros(1)}

    def loss(p):
        logits = jax.nn.relu(x @ p["w"] + p["b"]) @ p["v"] + p["c"]
        return optax.sigmoid_binary_cross_entropy(logits[:, 0], y).mean() + 1e-3 * jnp.sum(p["w"] ** 2)

    return trained(init, loss, 1500)


def linen():
    """Flax Linen on digits."""
    from flax import linen as nn

    x, y = pictures()
    x = x.reshape(len(x), -1)
    model = nn.Sequential([nn.Dense(64), nn.relu, nn.Dense(64), nn.relu, nn.Dense(10)])
    return trained(lambda key: model.init(key, x[:1]), lambda p: entropy(model.apply(p, x), y), 800)


def nnx():
    """Flax NNX on digits."""
    from flax import nnx

    x, y = pictures()
    x = x.reshape(len(x), -1)

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.first, self.second = nnx.Linear(64, 128, rngs=rngs), nnx.Linear(128, 10, rngs=rngs)

        def __call__(self, x):
            return self.second(nnx.relu(self.first(x)))

    graph, _ = nnx.split(Net(nnx.Rngs(0)))
    return trained(
        lambda key: nnx.split(Net(nnx.Rngs(key)))[1], lambda state: entropy(nnx.merge(graph, state)(x), y), 800
    )


def equinox():
    """Equinox on digits."""
    import equinox as eqx

    x, y = pictures()
    x = x.reshape(len(x), -1)
    _, static = eqx.partition(eqx.nn.MLP(64, 10, 64, 2, key=jax.random.key(0)), eqx.is_array)

    def init(key):
        return eqx.partition(eqx.nn.MLP(64, 10, 64, 2, key=key), eqx.is_array)[0]

    return trained(init, lambda p: entropy(jax.vmap(eqx.combine(p, static))(x), y), 800)


def cnn():
    """Two convolutions of Linen on digits."""
    from flax import linen as nn

    x, y = pictures()

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.Conv(8, (3, 3))(x))
            x = nn.avg_pool(nn.relu(nn.Conv(16, (3, 3))(x)), (2, 2), (2, 2))
            return nn.Dense(10)(x.reshape(len(x), -1))

    net = Net()
    return trained(lambda key: net.init(key, x[:1]), lambda p: entropy(net.apply(p, x), y), 10)


def gru():
    """Linen's GRU over the rows of digits."""
    from flax import linen as nn

    data = digits_by_row([0], train=100)
    x, y = jnp.asarray(data[0][0]), jnp.asarray(data[1][0])

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(10)(nn.RNN(nn.GRUCell(32, param_dtype=jnp.result_type(float)))(x)[:, -1])

    net = Net()
    return trained(lambda key: net.init(key, x[:1]), lambda p: entropy(net.apply(p, x), y), 150)


def transformer():
    """One block of attention over the rows of digits."""
    from flax import linen as nn

    data = digits_by_row([0], train=64)
    x, y = jnp.asarray(data[0][0]), jnp.asarray(data[1][0])

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            h = nn.Dense(32)(x)
            h = h + nn.MultiHeadDotProductAttention(num_heads=2)(nn.LayerNorm()(h))
            h = h + nn.Dense(32)(nn.gelu(nn.Dense(64)(nn.LayerNorm()(h))))
            return nn.Dense(10)(h.mean(1))

    net = Net()
    return trained(lambda key: net.init(key, x[:1]), lambda p: entropy(net.apply(p, x), y), 90)


def ridge():
    """Ridge regression by gradient steps and in closed form."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(442, 10)), jnp.float32)
    y = x @ jnp.asarray(rng.normal(size=10), jnp.float32)

    def run(rate, seed):
        rows = jax.random.choice(jax.random.key(seed), 442, (442,))
        a, b = x[rows], y[rows]
        w = jnp.linalg.solve(a.T @ a + rate * jnp.eye(10), a.T @ b)
        return {"coef": w, "loss": jnp.mean((x @ w - y) ** 2)}

    return run


def ppo():
    """PPO on CartPole, the environment in JAX."""

    def physics(s, push):
        x, v, a, w = s
        force = jnp.where(push == 1, 10.0, -10.0)
        part = (force + 0.05 * w**2 * jnp.sin(a)) / 1.1
        turn = (9.8 * jnp.sin(a) - jnp.cos(a) * part) / (0.5 * (4.0 / 3.0 - 0.1 * jnp.cos(a) ** 2 / 1.1))
        move = part - 0.05 * turn * jnp.cos(a) / 1.1
        s = jnp.stack([x + 0.02 * v, v + 0.02 * move, a + 0.02 * w, w + 0.02 * turn])
        return s, (jnp.abs(s[0]) > 2.4) | (jnp.abs(s[2]) > 0.2095)

    def net(p, s):
        h = jnp.tanh(s @ p["w"] + p["b"])
        return h @ p["policy"], (h @ p["value"])[..., 0]

    def run(rate, seed):
        key, k1, k2, k3 = jax.random.split(jax.random.key(seed), 4)
        p = {"w": jax.random.normal(k1, (4, 64)) / 2, "b": jnp.zeros(64)}
        p |= {"policy": jax.random.normal(k2, (64, 2)) / 80, "value": jax.random.normal(k3, (64, 1)) / 8}
        tx = optax.adam(rate)

        def act(carry, key):
            p, s = carry
            logits, value = net(p, s)
            k1, k2 = jax.random.split(key)
            push = jax.random.categorical(k1, logits)
            after, done = jax.vmap(physics)(s, push)
            fresh = jax.random.uniform(k2, s.shape, minval=-0.05, maxval=0.05)
            logp = jnp.take_along_axis(jax.nn.log_softmax(logits), push[:, None], 1)[:, 0]
            return (p, jnp.where(done[:, None], fresh, after)), (s, push, logp, value, done)

        def update(carry, key):
            p, state, s = carry
            (_, s), (seen, pushed, logp, value, done) = jax.lax.scan(act, (p, s), jax.random.split(key, 64))

            def back(g, row):
                v, nxt, d = row
                g = 1 + 0.99 * nxt * (1 - d) - v + 0.94 * (1 - d) * g
                return g, g

            nexts = jnp.concatenate([value[1:], net(p, s)[1][None]])
            _, gain = jax.lax.scan(back, jnp.zeros(8), (value, nexts, done.astype(jnp.float32)), reverse=True)

            def loss(p):
                logits, v = net(p, seen)
                now = jnp.take_along_axis(jax.nn.log_softmax(logits), pushed[..., None], -1)[..., 0]
                ratio, a = jnp.exp(now - logp), (gain - gain.mean()) / (gain.std() + 1e-6)
                clipped = jnp.clip(ratio, 0.8, 1.2) * a
                return -jnp.mean(jnp.minimum(ratio * a, clipped)) + 0.5 * jnp.mean((v - gain - value) ** 2)

            def epoch(carry, _):
                p, state = carry
                updates, state = tx.update(jax.grad(loss)(p), state)
                return (optax.apply_updates(p, updates), state), None

            (p, state), _ = jax.lax.scan(epoch, (p, state), None, 4)
            return (p, state, s), 1 - done.mean()

        start = (p, tx.init(p), 0.01 * jnp.ones((8, 4)))
        _, alive = jax.lax.scan(update, start, jax.random.split(key, UPDATES))
        return {"loss": alive[0], "alive": alive[-1]}

    return run


def ode():
    """A damped pendulum by Runge and Kutta."""

    def slope(z, damping):
        return jnp.stack([z[1], -damping * z[1] - jnp.sin(z[0])])

    def run(rate, seed):
        def step(z, _):
            k1 = slope(z, rate)
            k2 = slope(z + 0.01 * k1, rate)
            k3 = slope(z + 0.01 * k2, rate)
            k4 = slope(z + 0.02 * k3, rate)
            return z + 0.02 / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

        z, _ = jax.lax.scan(step, jnp.stack([1.0 + 0.1 * seed, 0.0 * rate]), None, 2000)
        return {"loss": z[0], "speed": z[1]}

    return run


def mcmc():
    """A chain of Metropolis on a logistic regression."""
    x, y = pictures()
    x, y = x.reshape(len(x), -1)[:, ::4], (y > 4).astype(jnp.float32)

    def density(w):
        return -optax.sigmoid_binary_cross_entropy(x @ w, y).sum() - 0.5 * w @ w

    def run(rate, seed):
        def step(carry, key):
            w, at = carry
            k1, k2 = jax.random.split(key)
            to = w + rate * jax.random.normal(k1, w.shape)
            there = density(to)
            take = jnp.log(jax.random.uniform(k2)) < there - at
            return (jnp.where(take, to, w), jnp.where(take, there, at)), take

        w = jnp.zeros(16)
        (w, at), taken = jax.lax.scan(step, (w, density(w)), jax.random.split(jax.random.key(seed), 1000))
        return {"loss": at, "taken": taken.mean()}

    return run


def kmeans():
    """Lloyd's algorithm on shared points."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(500, 8)), jnp.float32)

    def run(rate, seed):
        def step(centres, _):
            far = jnp.sum(x**2, 1)[:, None] - 2 * x @ centres.T + jnp.sum(centres**2, 1)
            near = jax.nn.one_hot(far.argmin(1), 8)
            means = near.T @ x / jnp.maximum(near.sum(0), 1)[:, None]
            return centres + (1 - rate) * (means - centres), far.min(1).mean()

        _, losses = jax.lax.scan(step, x[jax.random.choice(jax.random.key(seed), 500, (8,))], None, 100)
        return {"loss": losses[-1], "first": losses[0]}

    return run


FUNCTIONS = {
    "mlp": (mlp, 64),
    "linen": (linen, 64),
    "nnx": (nnx, 64),
    "equinox": (equinox, 64),
    "cnn": (cnn, 16),
    "gru": (gru, 64),
    "transformer": (transformer, 64),
    "ridge": (ridge, 1024),
    "ppo": (ppo, 64),
    "ode": (ode, 256),
    "mcmc": (mcmc, 128),
    "kmeans": (kmeans, 64),
}


def points(lanes):
    """Rates and seeds of the lanes."""
    return np.linspace(1e-3, 1e-2, 4, dtype=np.float32), np.arange(lanes // 4, dtype=np.int32)


def timed(function, *arguments):
    """Return what a function returns, and the seconds it took."""
    begun = time.perf_counter()
    result = jax.block_until_ready(function(*arguments))
    return result, time.perf_counter() - begun


def by_hand(run, lanes, pool):
    """Seconds to compile and to run each program by hand."""
    rates, seeds = points(lanes)
    pairs = list(product(rates, seeds))
    rate, seed = (np.array(values) for values in zip(*pairs, strict=True))
    parts = [(rate[at : at + WIDTH], seed[at : at + WIDTH]) for at in range(0, lanes, WIDTH)]
    found = {}
    ways = [("loop", run, pairs), (f"vmap {WIDTH}", jax.vmap(run), parts)]
    if factorizes(jax.make_jaxpr(run)(*pairs[0]).jaxpr):
        ways.pop()  # with jaxlib 0.10, a batch of several small factorisations can wait for good
    for title, program, of in ways:
        compiled, compiling = timed(lambda program=program, of=of: jax.jit(program).lower(*of[0]).compile())
        jax.device_get(compiled(*of[0]))

        def called(point, compiled=compiled):
            return jax.device_get(compiled(*point))

        found[title] = compiling, timed(lambda called=called, of=of: [called(point) for point in of])[1]
        threads = timed(lambda called=called, of=of: list(pool.map(called, of)))[1]
        found["threads" if title == "loop" else f"{title}, threads"] = compiling, threads
    return found


def by_sweep(run, over):
    """Seconds to trace and compile, and to run, the program of a sweep; and the program."""

    def made():
        program = Program(run, make_grid(over))
        program.load()
        return program

    begun = time.perf_counter()
    program = made()
    compiling = time.perf_counter() - begun
    runner = LocalRunner(program)
    runner.submit(0).result()
    begun = time.perf_counter()
    wait([runner.submit(number) for number in range(len(program.chunks))])
    seconds = time.perf_counter() - begun
    runner.close()
    return (compiling, seconds), program


def by_one(run, rates, seeds):
    """The results of all points, one after the other."""
    compiled = jax.jit(run)
    return jax.tree.map(lambda *rows: np.stack(rows), *(compiled(*point) for point in zip(rates, seeds, strict=True)))


def measure(name, rounds, pool):
    """Time the ways in turn, and compare the results of a sweep with those of plain `vmap`."""
    make, lanes = FUNCTIONS[name]
    run = make()
    rates, seeds = points(lanes)
    over = {"rate": rates, "seed": seeds}
    turns = []
    for _ in range(rounds):
        turn = by_hand(lambda rate, seed: run(rate, seed), lanes, pool)
        turn["sweep"], program = by_sweep(run, over)
        turns.append(turn)
    middle = {way: [statistics.median(turn[way][part] for turn in turns) for part in (0, 1)] for way in turns[0]}
    hands = [way for way in middle if way != "sweep"]
    row = {
        "function": name,
        "lanes": lanes,
        "chunk": program.chunk,
        "arranged": program.arranged,
        "seconds": middle,
    }
    for what, spent in (("run", lambda pair: pair[1]), ("in all", sum)):
        best = min(hands, key=lambda way: spent(middle[way]))
        row[what] = {
            "best": best,
            "of the best": statistics.median(spent(turn["sweep"]) / spent(turn[best]) for turn in turns),
            "times the loop": statistics.median(spent(turn["loop"]) / spent(turn["sweep"]) for turn in turns),
        }
    first, again = (sweep(run, over, progress=False) for _ in range(2))
    rate, seed = (np.array(values) for values in zip(*product(rates, seeds), strict=True))
    batched = jax.jit(jax.vmap(run))(rate, seed) if "vmap" in " ".join(hands) else by_one(run, rate, seed)
    apart = [
        np.max(np.abs(first[out].values - value) / (1e-3 + np.abs(value)))
        for out, value in ((out, np.asarray(batched[out]).reshape(first[out].shape)) for out in batched)
    ]
    return row | {"apart": float(max(apart)), "same bits": bool(again.identical(first))}


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="functions to measure (default: all)")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", help="file to write the figures to")
    arguments = parser.parse_args()
    rows = []
    print(
        "| function | lanes | sweep: compile, run, s | of the best by hand: run, in all | times the loop: run, in all |"
    )
    print("| --- | --- | --- | --- | --- |")
    with ThreadPoolExecutor(cores()) as pool:
        for name in arguments.names or FUNCTIONS:
            row = measure(name, arguments.rounds, pool)
            rows.append(row)
            run, whole, (compiling, seconds) = row["run"], row["in all"], row["seconds"]["sweep"]
            print(
                f"| {name} | {row['lanes']}, {row['chunk']} {row['arranged']} | {compiling:.2f}, {seconds:.2f} | "
                f"{run['of the best']:.2f} ({run['best']}), {whole['of the best']:.2f} ({whole['best']}) | "
                f"{run['times the loop']:.2f}, {whole['times the loop']:.2f} |",
                flush=True,
            )
            print(
                f"{name}: {row['apart']:.0e} from vmap, {'same' if row['same bits'] else 'OTHER'} bits", file=sys.stderr
            )
    for what in ("run", "in all"):
        middle = statistics.median(row[what]["times the loop"] for row in rows)
        largest = max(row[what]["of the best"] for row in rows)
        print(f"{what}: largest of the best {largest:.2f}, median of times the loop {middle:.2f}")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    sys.exit(main())
