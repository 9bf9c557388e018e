"""How the nets of a search are best trained: batches and learning rates against the truth of simulated tables.

    python scripts/search/search_training.py [rough=4 interactions=4 clusters=6 moons=6 plain=8 linear=8]

Each table is searched with all methods, trained in each way for the same epochs; then the net that the search hands
back is tested on 10,000 fresh rows. It prints, for each kind of table, the loss there as a share of that of whole
tables as batches at a constant learning rate (the geometric mean over the tables), and the seconds of the searches.
Tables: `rough`, waves of three inputs; `interactions`, Friedman's first; `clusters`, eight a class in 20 inputs;
`moons`; `plain`, many rows of a smooth function of two inputs; `linear`, with sizes, inputs and noise at random. Five
seconds a table and way.
"""

import sys
import time

import numpy as np
from sklearn import datasets

from jaxreg.lab import CLASSES, NUMBERS
from jaxreg.lab.search import Plan, candidates, folds, search

FRESH = 10_000

# Rows a batch, and the share of the steps at a constant learning rate.
WAYS = {
    "whole tables, constant": (2**20, 1 - 1e-9),
    "batches, constant": (128, 1 - 1e-9),
    "batches, falls for half": (128, 0.5),
    "batches, falls for a quarter (in use)": (128, 0.75),
}


def table(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Inputs and targets, and how many of their rows are the table; the others are fresh."""
    rng = np.random.default_rng(20_000 + seed)
    rows = int(rng.choice({"plain": [640, 960], "linear": [100, 200, 400, 800]}.get(kind, [200, 400, 600, 900])))
    count = rows + FRESH
    if kind == "rough":
        x = rng.uniform(-1, 1, size=(count, 3))
        return x, np.sin(6 * x[:, 0]) * np.cos(5 * x[:, 1]) + x[:, 2] + 0.1 * rng.normal(size=count), rows
    if kind == "plain":
        x, noise = rng.normal(size=(count, 2)), rng.choice([0.05, 0.1, 0.2, 0.3])
        return x, np.tanh(x[:, 0]) + x[:, 1] + noise * rng.normal(size=count), rows
    if kind == "linear":
        x, used = rng.normal(size=(count, int(rng.choice([5, 20, 40])))), int(rng.choice([2, 5]))
        return x, x[:, :used].sum(1) / used**0.5 + rng.choice([0.1, 0.3, 1.0]) * rng.normal(size=count), rows
    made = {
        "interactions": lambda: datasets.make_friedman1(count, noise=1.0, random_state=20_000 + seed),
        "moons": lambda: datasets.make_moons(count, noise=rng.choice([0.2, 0.3]), random_state=20_000 + seed),
        "clusters": lambda: datasets.make_classification(
            count, 20, n_informative=8, n_clusters_per_class=8, flip_y=0.05, random_state=20_000 + seed
        ),
    }
    x, y = made[kind]()
    order = rng.permutation(count)
    return x[order], y[order], rows


def fresh_loss(kind: str, seed: int) -> float:
    """The loss on fresh rows of what the search hands back: squared error or cross-entropy."""
    x, y, rows = table(kind, seed)
    task = CLASSES if kind in ("clusters", "moons") else NUMBERS
    out = search(x[:rows], y[:rows], task, Plan(seed=seed)).net(x[rows:])[:, 0]
    if task is NUMBERS:
        return float(np.mean(np.square(out - y[rows:])))
    return float(np.mean(np.logaddexp(0, out) - y[rows:] * out))


def main(asked: list[str]) -> None:
    """Print a row a kind."""
    print(f"| tables | {' | '.join(WAYS)} | seconds |")
    print("|---|---|---|---|---|---|")
    for words in asked:
        kind, _, count = words.partition("=")
        losses, seconds = [], []
        for folds.BATCH, candidates.CONSTANT in WAYS.values():
            folds._program.cache_clear()  # it was compiled for the way before
            start = time.perf_counter()
            losses.append([fresh_loss(kind, seed) for seed in range(int(count))])
            seconds.append(time.perf_counter() - start)
        shares = np.exp(np.mean(np.log(losses) - np.log(losses[0]), axis=1))
        cells = [f"{share:.2f}" for share in shares] + [", ".join(f"{spent:.0f}" for spent in seconds)]
        print(f"| {count} {kind} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or ["rough=4", "interactions=4", "clusters=6", "moons=6", "plain=8", "linear=8"])
