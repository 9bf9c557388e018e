"""The search against scikit-learn's own: quality and time on tables that ship with it, in one run.

    python scripts/bench/search.py [breast_cancer wine diabetes digits]
    python scripts/bench/search.py --whole breast_cancer
    python scripts/bench/search.py --beside ../before/.venv/bin/jaxreg

Each table is searched with all methods, then by GridSearchCV over an MLP of the same size, epochs and learning rate
with the strengths of L2 that the search tries (scikit-learn's alpha is 2 n times the strength), in one process and in
as many as there are cores, and by a regularised linear model. All are scored on the same five outer folds, nested.
Times hold everything, compilation included. With --whole, GridSearchCV also does the whole work of the search, in as
many processes as there are cores: as many candidates, every repeat, and the choice from all rows. The search is short
beside that, so it runs before, between and after the others, each time in a process of its own, and its time is the
median.

With --beside, the command `jaxreg search` runs in turn with that of another version, such as one installed from an
earlier commit. It prints the processor seconds of both, user and system of all threads, and their ratio. Each run has
an empty cache of compiled programs, so that the seconds hold everything.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn import datasets
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from jaxreg.lab import CLASSES, NUMBERS
from jaxreg.lab.search import Plan, search
from jaxreg.lab.search.candidates import PULLS
from jaxreg.lab.search.dealing import deal
from jaxreg.lab.sweeps.chunk_size import cores

LOADERS = {
    "breast_cancer": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
    "diabetes": datasets.load_diabetes,
    "digits": datasets.load_digits,
}


def timed(function):
    """What `function` gives, its seconds on the clock and those of all threads of this process."""
    clock, work = time.perf_counter(), time.process_time()
    given = function()
    return given, time.perf_counter() - clock, time.process_time() - work


def searched(name: str):
    """The table as the search sees it, what it found, and its two times."""
    x, y = LOADERS[name](return_X_y=True)
    rows = np.unique(np.column_stack([x, y]), axis=0)  # the order in which the search deals the folds
    x, y = rows[:, :-1], rows[:, -1]
    task = NUMBERS if name == "diabetes" else CLASSES
    return x, y, *timed(lambda: search(x, y, task, Plan()))


def alone(name: str) -> tuple[float, float]:
    """The two times of the search in a process of its own."""
    done = subprocess.run([sys.executable, __file__, name, "--time"], stdout=subprocess.PIPE, check=True, text=True)
    return tuple(json.loads(done.stdout))


def compared(name: str, *, entire: bool) -> list[tuple]:
    """A row each for the search, the grid searches and the linear model."""
    x, y, found, *_ = searched(name)
    classes, plan, nested = name != "diabetes", Plan(), found.found
    mine = nested.scores[list(nested.picks), np.arange(len(nested.picks))][: plan.folds]
    nets = len(found.tried) * len(found.parts)
    times = [alone(name)]

    folds = deal(y, plan.folds, np.random.default_rng(plan.seed), classes=classes)
    train = 0.64 * len(y)  # rows of an inner training
    net = (MLPClassifier if classes else MLPRegressor)(
        hidden_layer_sizes=plan.layers,
        batch_size=found.setting.batch(len(y)),
        learning_rate_init=plan.learning_rate,
        max_iter=found.setting.epochs,
        n_iter_no_change=found.setting.epochs,
        random_state=0,
    )
    step = "mlpclassifier" if classes else "mlpregressor"
    alphas = [0.0, *(2 * train * strength for strength in PULLS["L2"][1])]

    def grid(strengths, processes: int, folds: int = plan.folds - 1) -> GridSearchCV:
        net_ = make_pipeline(StandardScaler(), net)
        return GridSearchCV(net_, {f"{step}__alpha": strengths}, cv=folds, n_jobs=processes)

    def whole() -> list[float]:
        strengths = [0.0, *np.logspace(-2, 2, len(found.tried) - 1)]
        rng = np.random.default_rng(plan.seed)
        dealt = [deal(y, plan.folds, rng, classes=classes) for _ in range(plan.repeats)]
        scores = [outer(grid(strengths, cores()), x, y, folds) for folds in dealt]
        grid(strengths, cores(), plan.folds).fit(x, y)
        return scores

    linear = LogisticRegressionCV(Cs=10, max_iter=2000) if classes else RidgeCV(np.logspace(-2, 4, 20))
    fits = plan.folds * (len(alphas) * (plan.folds - 1) + 1)
    work = [
        ("GridSearchCV, L2, one process", fits, lambda: outer(grid(alphas, 1), x, y, folds)),
        (f"GridSearchCV, L2, {cores()} processes", fits, lambda: outer(grid(alphas, cores()), x, y, folds)),
        ("linear model", 0, lambda: outer(make_pipeline(StandardScaler(), linear), x, y, folds)),
    ]
    table = []
    if entire:
        each = plan.folds * (len(found.tried) * (plan.folds - 1) + 1)
        total = plan.repeats * each + len(found.tried) * plan.folds + 1
        work.append((f"GridSearchCV, the whole work, {cores()} processes", total, whole))
    for title, count, function in work:
        scores, clock, used = timed(function)
        if "processes" in title:
            used = float("nan")  # theirs are not this process's
        table.append((title, count, np.mean(scores), clock, used, ""))
        times.append(alone(name))
    clock, used = np.median(times, axis=0)
    title = f"jaxreg, all methods ({', '.join(f'{clock:.1f}' for clock, _ in times)} s)"
    return [(title, nets, mine.mean(), clock, used, found.chosen.label), *table]


def outer(estimator, x: np.ndarray, y: np.ndarray, folds: np.ndarray) -> list[float]:
    """The score on each fold of what is fitted without it."""
    if len(set(y)) > 20:  # a net learns a target of variance 1
        y = (y - y.mean()) / y.std()
    places = range(folds.max() + 1)
    return [estimator.fit(x[folds != i], y[folds != i]).score(x[folds == i], y[folds == i]) for i in places]


def command_seconds(command: str, name: str, folder: Path) -> float:
    """Return the processor seconds of `jaxreg search` of one installation with default settings."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as own:
        given = [command, "search", str(folder / f"{name}.csv"), "--target", "target", "--out", f"{own}/out"]
        subprocess.run(given, stdout=subprocess.DEVNULL, check=True, env={**os.environ, "XDG_CACHE_HOME": own})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def beside(other: str, names: list[str], pairs: int) -> None:
    """Print the processor seconds of this version and of another one, in pairs of runs."""
    mine = str(Path(sys.executable).with_name("jaxreg"))
    print("| table | seconds before → now | ratio |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for name in names:
            LOADERS[name](as_frame=True).frame.to_csv(folder / f"{name}.csv", index=False)
            found = [[command_seconds(command, name, folder) for command in (other, mine)] for _ in range(pairs)]
            told = ", ".join(f"{before:.1f} → {now:.1f}" for before, now in found)
            ratio = np.median([now / before for before, now in found])
            print(f"| {name} | {told} | {ratio:.2f} |", flush=True)


def main() -> None:
    """Print a table a data set."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="TABLE", help=f"some of {', '.join(LOADERS)}; by default all")
    parser.add_argument("--whole", action="store_true", help="GridSearchCV also does the whole work of the search")
    parser.add_argument("--beside", metavar="JAXREG", help="the command jaxreg of another version, to compare times")
    parser.add_argument("--pairs", type=int, default=1, help="pairs of runs with --beside (default: 1)")
    parser.add_argument("--time", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if unknown := sorted({*arguments.names} - {*LOADERS}):
        parser.error(f"there is no table {unknown[0]!r}; expected some of {', '.join(LOADERS)}")
    names = arguments.names or list(LOADERS)
    if arguments.beside:
        beside(arguments.beside, names, arguments.pairs)
        return
    if arguments.time:
        print(json.dumps(searched(names[0])[-2:]))
        return
    warnings.simplefilter("ignore")
    os.environ["PYTHONWARNINGS"] = "ignore"  # of the processes too
    for name in names:
        score = "R²" if name == "diabetes" else "accuracy"
        columns = [name, "nets", f"outer {score}", "s", "CPU s", "ms a net", "CPU ms a net", "chosen"]
        print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
        rows = compared(name, entire=arguments.whole)
        for title, nets, mean, clock, work, chosen in rows:
            each = [f"{1000 * seconds / nets:.1f}" if nets else "" for seconds in (clock, work)]
            row = [title, nets or "", f"{mean:.4f}", f"{clock:.1f}", f"{work:.1f}", *each, chosen]
            print("|", " | ".join(map(str, row)), "|", flush=True)
        best = max(rows, key=lambda row: row[2])
        print(f"\nBest on {name}: {best[0].split(' (')[0]}.", flush=True)


if __name__ == "__main__":
    main()
