"""Do regularisers in combination help a search? The choice with and without combinations, on the same folds.

    python scripts/search/combinations.py [breast_cancer wine diabetes interactions clusters]

Each table is searched with one net, all methods, and combinations of decay with a limit on norms, an early stop, L1 and
the group lasso. The nested choice is then made twice from the same trainings: among the methods alone, and among all.
The program prints both losses on the outer folds, their paired difference ± one standard error (Nadeau and Bengio), and
how many outer folds chose a combination. A table takes half a minute of two cores.

Reference: Kadra et al., Well-tuned simple nets excel on tabular datasets, 2021.
"""

import sys

from sklearn import datasets

from jaxreg.lab import CLASSES, NUMBERS
from jaxreg.lab.search import Plan, plan, search
from jaxreg.lab.search.candidates import Candidate, Knobs, candidates
from jaxreg.lab.search.nested import estimate
from jaxreg.lab.search.run import judged

TABLES = {
    "breast_cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
    "wine": lambda: datasets.load_wine(return_X_y=True),
    "diabetes": lambda: datasets.load_diabetes(return_X_y=True),
    "interactions": lambda: datasets.make_friedman1(300, noise=1.0, random_state=0),
    "clusters": lambda: datasets.make_classification(
        400, 20, n_informative=8, n_clusters_per_class=8, flip_y=0.05, random_state=0
    ),
}


def combinations(epochs: int, steps: int) -> list[Candidate]:
    """Return the combinations; of one kind, a larger strength gives a simpler network."""
    early = max(1, epochs // 4) * steps
    made = []
    for decay in (0.3, 1.0):
        for high in (0.25, 0.5, 1.0):
            made.append(Candidate("decay, MaxNorm", None, decay / high, Knobs(decay=decay, high=high)))
        for stop in (epochs // 2, max(1, epochs // 8)):
            made.append(Candidate("decay, stop", None, decay / stop, Knobs(decay=decay, stop=max(1, stop) * steps)))
        made.append(Candidate("decay, L1", None, decay, Knobs(decay=decay, l1=0.1)))
        made.append(Candidate("decay, group lasso", None, decay, Knobs(decay=decay, group=0.1)))
    made.append(Candidate("decay, MaxNorm, group lasso", None, 1.0, Knobs(decay=0.3, high=0.5, group=0.1)))
    made.append(Candidate("decay, MaxNorm, stop", None, 1.0, Knobs(decay=0.3, high=0.5, stop=early)))
    return made


def compared(name: str) -> tuple:
    """Return both losses on the outer folds, and how many of these folds chose a combination."""
    x, y = TABLES[name]()
    task = CLASSES if len(set(y)) < 10 else NUMBERS
    added: list[Candidate] = []

    def with_combinations(methods, epochs, steps, **options):
        added[:] = combinations(epochs, steps)
        return candidates(methods, epochs, steps, **options) + added

    plan.candidates = with_combinations
    found = search(x, y, task, Plan(hidden=32))
    few = len(found.tried) - len(added)

    def losses(count: int):
        lanes = {each: values[:count] for each, values in found.lanes.items()}
        outer = found.outer._replace(**{part: values[:count] for part, values in found.outer._asdict().items()})
        return judged(found.tried[:count], found.parts, lanes, found.spread, found.rows, outer)

    alone, both = losses(few), losses(len(found.tried))
    return alone.picked_losses, both.picked_losses, sum(pick >= few for pick in both.picks)


def main(names: list[str]) -> None:
    """Print a row per table."""
    print("| table | methods | with combinations | change | folds that chose a combination |\n|---|---|---|---|---|")
    for name in names:
        alone, both, count = compared(name)
        change = estimate(both - alone, 1 / 4)
        print(
            f"| {name} | {alone.mean():.4f} | {both.mean():.4f} | {change.mean:+.4f} ± {change.error:.4f} "
            f"| {count} of {len(both)} |",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:] or list(TABLES))
