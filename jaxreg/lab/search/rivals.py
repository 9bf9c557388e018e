"""Models of scikit-learn on the same folds: a regularised linear model, boosted trees and a random forest."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, RidgeCV
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from jaxreg.lab.search.fitted_model import LEAST, Arrays
from jaxreg.lab.search.folds import FIRST
from jaxreg.lab.sweeps.chunk_size import cores

LINEAR, BOOSTING, FOREST = "linear model", "boosted trees", "forest"
KINDS = (LINEAR, BOOSTING, FOREST)

TREES = 100
"""Number of trees of a random forest. Also the number of boosting rounds for regression and two classes."""


class Rivals(NamedTuple):
    """Scores and losses of other models, such as boosted trees, on the outer folds.

    Args:
        score: Scores. For the models in `KINDS`, the shape is (models, folds of the first repeat). For the constant
            baseline (`jaxreg.lab.search.constants`), the shape is (folds of all repeats,).
        loss: Losses, with the shape of `score`.
        equal_rows: Scores on the duplicate rows among the training rows, with the shape of `score`. Empty if there are
            no duplicate rows (`jaxreg.lab.search.equal_rows`).
    """

    score: np.ndarray
    loss: np.ndarray
    equal_rows: np.ndarray = np.zeros(0)

    def __repr__(self) -> str:
        """Show the mean score and loss of each model."""
        names = KINDS if len(self.score) == len(KINDS) and self.score.ndim > 1 else ("constant",)
        means = zip(names, np.atleast_2d(self.score).mean(axis=1), np.atleast_2d(self.loss).mean(axis=1), strict=True)
        return f"Rivals({', '.join(f'{name}: score {score:.4g}, loss {loss:.4g}' for name, score, loss in means)})"


def judged_rivals(
    x: np.ndarray,
    y: np.ndarray,
    w: np.ndarray,
    dealt: np.ndarray,
    classes: int,
    seed: int,
    *,
    forward: bool = False,
    copies: np.ndarray | None = None,
) -> Rivals:
    """Evaluate each model in `KINDS`, such as boosted trees, by cross-validation on the given folds.

    Args:
        x: Standardised inputs, of shape (rows, inputs).
        y: Targets: standardised numbers, or classes from 0.
        w: Weight of each row.
        dealt: Fold of each row.
        classes: Number of classes; 0 for regression.
        seed: Seed of the models.
        forward: Whether each fold is predicted only from the folds before it. If so, only outer folds are evaluated.
        copies: Number of equal rows that were merged into each row; None if no rows were merged.
    """
    first = FIRST if forward else 0
    folds = int(dealt.max()) + 1 - first

    def judge(kind: str, fold: int) -> tuple[float, float, float]:
        test = dealt == first + fold
        train = dealt < first + fold if forward else ~test
        if classes and len(np.unique(y[train])) < 2:
            return np.nan, np.nan, np.nan
        model = fitted(kind, x[train], y[train], w[train], classes, seed)

        def predicted(rows: np.ndarray) -> np.ndarray:
            with _one_thread():
                if not classes:
                    return np.asarray(model.predict(x[rows]))
                given = np.zeros((int(rows.sum()), classes))
                given[:, model.classes_.astype(int)] = model.predict_proba(x[rows])
                return given

        truth, share, given = y[test], w[test] / w[test].sum(), predicted(test)
        spread = 1.0 if classes else share @ np.square(truth - share @ truth)
        equal = np.nan
        if copies is not None and (again := train & (copies > 1)).any():
            equal = scored(predicted(again), y[again], w[again], spread)
        if classes:
            right = given[np.arange(len(truth)), truth.astype(int)]
            return scored(given, truth, w[test], spread), share @ -np.log(np.maximum(right, LEAST)), equal
        return scored(given, truth, w[test], spread), share @ np.square(given - truth), equal

    with ThreadPoolExecutor(cores()) as threads:
        found = list(threads.map(judge, *zip(*itertools.product(KINDS, range(folds)), strict=True)))
    score, loss, equal = np.array(found).T.reshape(3, len(KINDS), folds)
    return Rivals(score, loss, equal if copies is not None and (copies > 1).any() else np.zeros(0))


def scored(given: np.ndarray, y: np.ndarray, w: np.ndarray, spread: float) -> float:
    """Return the score of predictions: the accuracy for classes, R² for numbers.

    Args:
        given: Predictions: class probabilities of shape (rows, classes), or numbers of shape (rows,).
        y: Targets.
        w: Weight of each row.
        spread: Variance of the target, for R². If the variance is 0, R² is NaN.
    """
    share = w / w.sum()
    if given.ndim > 1:
        return float(share @ (given.argmax(axis=1) == y))
    return float(1 - share @ np.square(given - y) / spread) if spread > 0 else float("nan")


def fitted(kind: str, x: np.ndarray, y: np.ndarray, w: np.ndarray, classes: int, seed: int) -> Any:
    """Fit a scikit-learn model, such as a random forest, and return it.

    Args:
        kind: Name from `KINDS`.
        x: Standardised inputs, of shape (rows, inputs).
        y: Targets.
        w: Weight of each row.
        classes: Number of classes; 0 for regression.
        seed: Seed of the model.
    """
    forest = {"n_estimators": TREES, "random_state": seed}
    # For more than two classes, each boosting round adds one tree per class.
    boosting = {"max_iter": max(20, 2 * TREES // max(2, classes)), "early_stopping": False, "random_state": seed}
    if kind == LINEAR:
        model = LogisticRegression(max_iter=300, tol=1e-3) if classes else RidgeCV(np.logspace(-3, 4, 15))
    elif kind == BOOSTING:
        model = HistGradientBoostingClassifier(**boosting) if classes else HistGradientBoostingRegressor(**boosting)
    else:
        model = RandomForestClassifier(**forest) if classes else RandomForestRegressor(**forest)
    # Pass no equal weights: with weights, the binning of boosted trees takes ten times as long as the rest of a small
    # fit.
    with _one_thread():
        return model.fit(x, y, sample_weight=None if (w == w[0]).all() else w)


def _one_thread() -> AbstractContextManager[Any]:
    # OpenMP threads wait for each other in a busy loop. On a busy machine, a small fit with several threads took 80
    # times as long as with one.
    return threadpool_limits(1, user_api="openmp")


def arrays_of(kind: str, model: Any) -> Arrays:
    """Convert a fitted scikit-learn model to arrays for `Net` or `Trees` of `jaxreg.lab.search.fitted_model`.

    Args:
        kind: Name from `KINDS`.
        model: Model of scikit-learn, returned by `fitted`.
    """
    if kind == LINEAR:
        return {"output/kernel": np.atleast_2d(model.coef_).T, "output/bias": np.atleast_1d(model.intercept_)}
    if kind == FOREST:
        nodes = [each.tree_ for each in model.estimators_]
        values = [tree.value.reshape(tree.node_count, -1) / len(nodes) for tree in nodes]
        columns = [(tree.feature, tree.threshold, tree.children_left, tree.children_right) for tree in nodes]
        return _joined(columns, values, np.zeros(values[0].shape[1]), logits=False)
    columns, values = [], []
    start = model._baseline_prediction.ravel()
    for round_ in model._predictors:
        for output, tree in enumerate(round_):
            node = tree.nodes
            leaf = node["is_leaf"].astype(bool)
            left, right = (np.where(leaf, -1, node[side].astype(np.int64)) for side in ("left", "right"))
            columns.append((node["feature_idx"], node["num_threshold"], left, right))
            values.append(node["value"][:, None] * (np.arange(len(start)) == output))
    return _joined(columns, values, start, logits=True)


def _joined(columns: list[Any], values: list[np.ndarray], start: np.ndarray, *, logits: bool) -> Arrays:
    # Put the nodes of all trees into one array, one tree after another, each starting with its root.
    sizes = [len(each) for each in values]
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int32)
    made = {"feature": np.int32, "threshold": np.float64, "left": np.int32, "right": np.int32}
    arrays: Arrays = {}
    for place, (name, kind) in enumerate(made.items()):
        parts = [each[place] for each in columns]
        if kind is np.int32 and name != "feature":
            parts = [np.where(part < 0, -1, part + root) for part, root in zip(parts, roots, strict=True)]
        arrays[f"trees/{name}"] = np.concatenate(parts).astype(kind)
    value = np.concatenate(values)
    return arrays | {"trees/value": value, "trees/root": roots, "trees/start": start, "trees/logits": np.array(logits)}
