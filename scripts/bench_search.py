"""The search against scikit-learn's own: quality and time on tables that ship with it, in one run.

    python scripts/bench_search.py [breast_cancer wine diabetes digits]

Each table is searched with all methods, then by GridSearchCV over an MLP of the same size, epochs and learning rate
with the strengths of L2 that the search tries (scikit-learn's alpha is 2 n times the strength), and by a regularised
linear model. All are scored on the same five outer folds, nested. Times hold everything, compilation included; both
searches use one process, scikit-learn's with all cores that its matrix products take.
"""

import sys
import time
import warnings

import numpy as np
from sklearn import datasets
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from jaxreg.lab.candidates import PULLS
from jaxreg.lab.folds import deal
from jaxreg.lab.search import Plan, search

LOADERS = {
    "breast_cancer": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
    "diabetes": datasets.load_diabetes,
    "digits": datasets.load_digits,
}


def timed(function):
    """What `function` gives, its seconds on the clock and those of all threads."""
    clock, work = time.perf_counter(), time.process_time()
    given = function()
    return given, time.perf_counter() - clock, time.process_time() - work


def compared(name: str) -> list[tuple]:
    """A row each for the search, the grid search and the linear model."""
    x, y = LOADERS[name](return_X_y=True)
    rows = np.unique(np.column_stack([x, y]), axis=0)  # the order in which the search deals the folds
    x, y = rows[:, :-1], rows[:, -1]
    classes = name != "diabetes"
    plan = Plan()
    found, clock, work = timed(lambda: search(x, y, "classification" if classes else "regression", plan))
    nested = found.found
    mine = nested.scores[list(nested.picks), np.arange(len(nested.picks))][: plan.folds]
    nets = len(found.tried) * len(found.parts)
    table = [("jaxreg, all methods", nets, mine.mean(), clock, work, found.chosen.label)]

    folds = deal(y, plan.folds, np.random.default_rng(plan.seed), classes=classes)
    train = 0.64 * len(y)  # rows of an inner training
    net = (MLPClassifier if classes else MLPRegressor)(
        hidden_layer_sizes=(plan.hidden,),
        batch_size=min(256, len(y)) if len(y) > 1024 else len(y),
        learning_rate_init=plan.learning_rate,
        max_iter=found.setting.epochs,
        n_iter_no_change=found.setting.epochs,
        random_state=0,
    )
    step = "mlpclassifier" if classes else "mlpregressor"
    alphas = [0.0, *(2 * train * strength for strength in PULLS["L2"][1])]
    grid = GridSearchCV(make_pipeline(StandardScaler(), net), {f"{step}__alpha": alphas}, cv=plan.folds - 1)
    linear = LogisticRegressionCV(Cs=10, max_iter=2000) if classes else RidgeCV(np.logspace(-2, 4, 20))
    fits = plan.folds * (len(alphas) * (plan.folds - 1) + 1)
    for title, estimator, count in (
        ("GridSearchCV, L2", grid, fits),
        ("linear model", make_pipeline(StandardScaler(), linear), 0),
    ):
        scores, clock, work = timed(lambda estimator=estimator: outer(estimator, x, y, folds))
        table.append((title, count, np.mean(scores), clock, work, ""))
    return table


def outer(estimator, x: np.ndarray, y: np.ndarray, folds: np.ndarray) -> list[float]:
    """The score on each fold of what is fitted without it."""
    if len(set(y)) > 20:  # a net learns a target of variance 1
        y = (y - y.mean()) / y.std()
    places = range(folds.max() + 1)
    return [estimator.fit(x[folds != i], y[folds != i]).score(x[folds == i], y[folds == i]) for i in places]


def main(names: list[str]) -> None:
    """Print a table a data set."""
    warnings.simplefilter("ignore")
    for name in names:
        score = "R²" if name == "diabetes" else "accuracy"
        print(f"\n| {name} | nets | outer {score} | s | CPU s | CPU ms a net | chosen |\n|---|---|---|---|---|---|---|")
        rows = compared(name)
        for title, nets, mean, clock, work, chosen in rows:
            each = f"{1000 * work / nets:.0f}" if nets else ""
            print(f"| {title} | {nets or ''} | {mean:.4f} | {clock:.1f} | {work:.1f} | {each} | {chosen} |", flush=True)
        best = max(rows, key=lambda row: row[2])
        print(f"\nBest on {name}: {best[0]}.", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(LOADERS))
