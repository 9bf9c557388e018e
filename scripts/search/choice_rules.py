"""When is a regulariser better than none? Rules of choice against the truth of simulated tables, in one run.

    python scripts/search/choice_rules.py [plain=12 classes=8 linear=16]

Each table is searched with all methods; then each candidate's net, trained on all rows, is tested on 20,000 fresh
rows. That is the truth which no rule sees. For each rule it prints how often a method is named, how often one that is
truly worse than none, how often none is kept where more than 2 % of the loss could be saved, and what is saved on
average. Tables: `plain` and `classes` have many rows of two inputs, where hardly anything is to be gained; `linear` has
sizes, inputs and noise at random. About ten seconds of a core a table.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from jaxreg.lab import CLASSES, NUMBERS
from jaxreg.lab.search import Plan, search
from jaxreg.lab.search.fitted_model import Net
from jaxreg.lab.search.nested import choose
from jaxreg.lab.sweeps.joined import open_store

FRESH = 20_000
SAVED = 0.02

# Standard errors that the best has to gain, the share of the loss, and whether errors count that folds share rows.
RULES = {
    "best mean": (0, 0, False),
    "1 standard error": (1, 0, False),
    "1 standard error of Nadeau and Bengio": (1, 0, True),
    "2 standard errors of Nadeau and Bengio": (2, 0, True),
    "2 %": (0, SAVED, False),
    "1 standard error and 2 % (in use)": (1, SAVED, False),
    "1 standard error and 5 %": (1, 0.05, False),
}


def table(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Inputs and targets, and how many of their rows are the table; the others are fresh."""
    rng = np.random.default_rng(10_000 + seed)
    if kind == "linear":
        rows, inputs, used = (
            int(rng.choice([100, 200, 400, 800])),
            int(rng.choice([5, 20, 40])),
            int(rng.choice([2, 5])),
        )
        x = rng.normal(size=(rows + FRESH, inputs))
        return x, x[:, :used].sum(1) / used**0.5 + rng.choice([0.1, 0.3, 1.0]) * rng.normal(size=len(x)), rows
    rows = int(rng.choice([640, 960]))
    if kind == "plain":
        noise = rng.choice([0.05, 0.1, 0.2, 0.3])
        x = rng.normal(size=(rows + FRESH, 2))
        return x, np.tanh(x[:, 0]) + x[:, 1] + noise * rng.normal(size=len(x)), rows
    x = rng.normal(size=(rows + FRESH, 2))
    noise = rng.choice([0.1, 0.3, 0.6])
    return x, (np.tanh(x[:, 0]) + x[:, 1] + noise * rng.logistic(size=len(x)) > 0).astype(int), rows


def searched(kind: str, seed: int) -> tuple:
    """The candidates, their losses on the outer folds, and the true loss of each one's net."""
    x, y, rows = table(kind, seed)
    classes = kind == "classes"
    task = CLASSES if classes else NUMBERS
    with tempfile.TemporaryDirectory() as folder:
        found = search(x[:rows], y[:rows], task, Plan(seed=seed), store=Path(folder) / "trainings")
        stored = open_store(Path(folder) / "trainings").load()
    fresh, spread, truth = y[rows:], found.net.arrays["target"][1], []
    for place in range(len(found.tried)):
        w = {path: stored[f"params/{path}"].values[place, -1] for path in found.setting.weights}
        w["hidden/kernel"] = w["hidden/kernel"][: x.shape[1]]
        out = Net(found.net.arrays | w)(x[rows:])[:, 0]
        losses = np.logaddexp(0, out) - fresh * out if classes else np.square((out - fresh) / spread)
        truth.append(np.mean(losses))
    return found.tried, found.found.losses, np.array(truth)


def chosen(tried, losses: np.ndarray, errors: float, share: float, corrected: bool) -> int:
    """The place of the candidate by a rule; the strength is always that of one standard error."""
    means = losses.mean(axis=1)
    gains = losses[0] - losses[np.nanargmin(means)]
    error = gains.std(ddof=1) * (1 / len(gains) + 0.25 * corrected) ** 0.5
    if gains.mean() <= max(errors * error, share * means[0]):
        return 0
    # Worse than it was, none is left out of the choice.
    others = np.concatenate([np.full_like(losses[:1], np.nan), losses[1:]])
    return choose(tried, others)


def main(asked: list[str]) -> None:
    """Print a table a kind."""
    for words in asked:
        kind, _, count = words.partition("=")
        found = [searched(kind, seed) for seed in range(int(count))]
        print(f"\n| {kind}, {count} tables | names a method | a worse one | misses {SAVED:.0%} | saves on average |")
        print("|---|---|---|---|---|")
        for name, rule in RULES.items():
            places = [chosen(tried, losses.astype(float), *rule) for tried, losses, _ in found]
            saved = np.array([1 - truth[at] / truth[0] for at, (*_, truth) in zip(places, found, strict=True)])
            best = np.array([1 - truth.min() / truth[0] for *_, truth in found])
            none = np.array(places) == 0
            worse, missed = (~none & (saved < 0)).sum(), (none & (best > SAVED)).sum()
            print(f"| {name} | {(~none).sum()} | {worse} | {missed} | {saved.mean():+.1%} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or ["plain=12", "classes=8", "linear=16"])
