"""`jaxreg.solve` against scikit-learn: 100 strengths × 100 folds of one table, for four kinds of problem. Prints JSON.

    python scripts/bench/solve.py [KIND ...] [--rounds 3] [--folds 10]

A kind is lasso, elastic-net, group-lasso, logistic or large; all but the last by default. Both sides solve every
problem of a kind to a duality gap of 1e-6 in float64, each path from its largest strength on; ours is one program.
scikit-learn starts at its last solution, and ours on the line through the last two. They run in turn. scikit-learn runs
on the first of the folds only, and its time is that per fold times all folds. A row has the median of the ratios of one
round, of wall time and of CPU time, and how far the ends are apart: objectives at that gap, and weights at a gap of
1e-12.

Rows of the diabetes table are drawn for each fold, 353 of 442. The group lasso has all weights of one input as a group,
for two targets: the progression and its square. Classes are rows above the median.

`large` is one lasso with 500 rows and 10,000 inputs, against celer and skglm, which have to be installed.
"""

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from sklearn.datasets import load_diabetes  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.linear_model import LogisticRegression, enet_path  # noqa: E402

import jaxreg as jr  # noqa: E402

STRENGTHS, FOLDS, TRAIN = 100, 100, 353


def standardised(values: np.ndarray) -> np.ndarray:
    return (values - values.mean(0)) / values.std(0)


ROWS, PROGRESSION = load_diabetes(return_X_y=True)
X = standardised(ROWS)
RNG = np.random.default_rng(0)
CHOSEN = np.stack([RNG.permutation(len(X))[:TRAIN] for _ in range(FOLDS)])


class Kind(NamedTuple):
    """A kind of problem: a fold's data, the loss on it, the penalty, and scikit-learn's path and objective."""

    data: Callable[[np.ndarray], Any]
    loss: Callable[..., Any]
    rule: Callable[[Any], Any]
    theirs: Callable[[np.ndarray, float], np.ndarray]
    objective: Callable[[np.ndarray, np.ndarray, float], float]
    outputs: int
    together: int = FOLDS  # folds side by side: fewer where a step is long, for all of them wait for the slowest


def softplus(scores: Any) -> Any:
    """log(1 + exp(scores)), whose slope takes one exponential where that of `jax.nn.softplus` takes three."""
    return jnp.maximum(scores, 0) + jnp.log1p(jnp.exp(-jnp.maximum(scores, -scores)))


def squares(targets: np.ndarray, rule: Callable, share: float) -> Kind:
    """Half the mean squared error, which depends on a fold through its Gram matrix alone."""
    y = standardised(targets.reshape(len(X), -1))

    def rows(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return X[chosen] - X[chosen].mean(0), y[chosen] - y[chosen].mean(0)

    def data(chosen: np.ndarray) -> Any:
        x, t = rows(chosen)
        root = np.linalg.cholesky(x.T @ x / TRAIN).T
        aim = np.linalg.solve(root.T, x.T @ t / TRAIN)
        return root, aim, (np.sum(t**2) / TRAIN - np.sum(aim**2)) / 2

    def theirs(chosen: np.ndarray, tolerance: float) -> np.ndarray:
        x, t = rows(chosen)
        one = t.shape[1] == 1
        given = (np.asfortranarray(x), t[:, 0] if one else np.asfortranarray(t))
        gram = {"precompute": True} if one else {}
        found = enet_path(*given, l1_ratio=share, alphas=ALPHAS, tol=tolerance, max_iter=100_000, **gram)[1]
        return np.moveaxis(found, -1, 0).transpose(0, *range(found.ndim - 1, 0, -1)).reshape(STRENGTHS, 10, -1)

    def objective(chosen: np.ndarray, w: np.ndarray, strength: float) -> float:
        x, t = rows(chosen)
        lengths = np.sum(np.linalg.norm(w, axis=1))
        return np.sum((x @ w - t) ** 2) / TRAIN / 2 + strength * (share * lengths + (1 - share) / 2 * np.sum(w**2))

    def loss(data: Any, w: Any) -> Any:
        root, aim, rest = data
        # Column by column: XLA runs a product with one column as a loop, and calls Eigen fold by fold for more.
        return sum(jnp.sum((root @ w[:, k] - aim[:, k]) ** 2) for k in range(w.shape[1])) / 2 + rest

    return Kind(data, loss, rule, theirs, objective, y.shape[1])


def logistic() -> Kind:
    """The mean logistic loss; scikit-learn's is its sum, C times."""
    positive = (np.median(PROGRESSION) < PROGRESSION).astype(float)

    def data(chosen: np.ndarray) -> Any:
        return np.isin(np.arange(len(X)), chosen) / TRAIN

    def loss(weights: Any, w: Any) -> Any:
        scores = (X @ w)[:, 0]
        return jnp.sum(weights * (softplus(scores) - positive * scores))

    def theirs(chosen: np.ndarray, tolerance: float) -> np.ndarray:
        net = LogisticRegression(
            l1_ratio=1, solver="liblinear", fit_intercept=False, tol=tolerance, max_iter=10_000, random_state=0
        )
        found = []
        for strength in ALPHAS:
            found.append(net.set_params(C=1 / (TRAIN * strength)).fit(X[chosen], positive[chosen]).coef_[0])
        return np.array(found)[..., None]

    def objective(chosen: np.ndarray, w: np.ndarray, strength: float) -> float:
        scores = (X[chosen] @ w)[:, 0]
        return np.mean(np.logaddexp(0, scores) - positive[chosen] * scores) + strength * np.abs(w).sum()

    return Kind(data, loss, jr.L1, theirs, objective, 1, together=20)


KINDS = {
    "lasso": squares(PROGRESSION, jr.L1, 1.0),
    "elastic-net": squares(PROGRESSION, lambda s: jr.L1L2(l1=s / 2, l2=s / 4), 0.5),
    "group-lasso": squares(
        np.stack([PROGRESSION, PROGRESSION**2], 1), lambda s: jr.GroupLasso(s / 2**0.5, axis=-1), 1.0
    ),
    "logistic": logistic(),
}
ALPHAS = np.geomspace(0.5, 0.0005, STRENGTHS)


def ours(kind: Kind) -> Callable[..., Any]:
    """One program for every strength and fold: (data of all folds, tolerance) -> weights, gaps, whether all ended."""

    def path(data: Any, tolerance: Any) -> Any:
        start = jnp.zeros((X.shape[1], kind.outputs))

        def loss(w: Any) -> Any:
            return kind.loss(data, w)

        free = jr.solve(loss, {}, start, tolerance=1e-8)
        floor = free.value - free.residual * (1 + jnp.linalg.norm(free.params))

        def onwards(last: Any, strength: Any) -> Any:
            # On the line through the last two solutions, as a function of the strength.
            ahead = last[1] + ALPHAS[1] / ALPHAS[0] * (last[1] - last[0])
            found = jr.solve(loss, {".*": kind.rule(strength)}, ahead, tolerance=tolerance, floor=floor)
            return (last[1], found.params), (found.params, found.gap, found.converged)

        return jax.lax.scan(onwards, (start, start), ALPHAS)[1]

    return jax.jit(
        lambda data, tolerance: jax.lax.map(lambda fold: path(fold, tolerance), data, batch_size=kind.together)
    )


def timed(run: Callable[[], Any]) -> tuple[Any, float, float]:
    """What a function returns, its seconds, and the seconds of all cores."""
    wall, cpu = time.perf_counter(), time.process_time()
    return run(), time.perf_counter() - wall, time.process_time() - cpu


def measured(name: str, rounds: int, folds: int) -> dict:
    """One kind of problem: both sides in turn."""
    kind = KINDS[name]
    data = jax.tree.map(lambda *parts: np.stack(parts), *(kind.data(chosen) for chosen in CHOSEN))
    program = ours(kind)
    jax.block_until_ready(program(data, 1e-6))
    ratios, times = [], []
    for _ in range(rounds):
        (weights, gaps, ended), *here = timed(lambda: jax.block_until_ready(program(data, 1e-6)))
        theirs, *there = timed(lambda: [kind.theirs(chosen, 1e-6) for chosen in CHOSEN[:folds]])
        there = [seconds * FOLDS / folds for seconds in there]
        ratios.append([b / a for a, b in zip(here, there, strict=True)])
        times.append((here[0], there[0]))
    weights = np.asarray(weights).reshape(FOLDS, STRENGTHS, -1, kind.outputs)
    pairs = [(f, s) for f in range(folds) for s in range(STRENGTHS)]
    apart = [
        kind.objective(CHOSEN[f], weights[f, s], ALPHAS[s]) - kind.objective(CHOSEN[f], theirs[f][s], ALPHAS[s])
        for f, s in pairs
    ]
    exact = np.asarray(program(data, 1e-12)[0]).reshape(weights.shape)[:2]
    reference = np.stack([kind.theirs(chosen, 1e-13) for chosen in CHOSEN[:2]])
    return {
        "kind": name,
        "problems": STRENGTHS * FOLDS,
        "seconds": round(statistics.median(t[0] for t in times), 3),
        "scikit-learn, seconds": round(statistics.median(t[1] for t in times), 3),
        "ratio": round(statistics.median(wall for wall, _ in ratios), 1),
        "ratio of CPU time": round(statistics.median(cpu for _, cpu in ratios), 1),
        "ratios": [round(wall, 1) for wall, _ in ratios],
        "largest gap": float(np.max(gaps)),
        "all converged": bool(np.all(ended)),
        "objectives apart": float(np.max(np.abs(apart))),
        "weights apart": float(np.max(np.abs(exact - reference))),
    }


def large(rounds: int) -> dict:
    """One large lasso, which solvers with working sets are made for."""
    from celer import Lasso as Celer
    from skglm import Lasso as Skglm
    from sklearn.linear_model import Lasso

    x = np.asfortranarray(standardised(RNG.normal(size=(500, 10_000))))
    y = x[:, :30] @ RNG.normal(size=30) + RNG.normal(size=500)
    y = standardised(y)
    strength = np.abs(x.T @ y).max() / len(x) / 10
    program = jax.jit(
        lambda x, y: jr.solve(lambda w: jnp.mean((x @ w - y) ** 2) / 2, {".*": jr.L1(strength)}, jnp.zeros(x.shape[1]))
    )
    table = jax.device_put((x, y))
    named = {"tol": 1e-6, "fit_intercept": False}
    models = {"scikit-learn": Lasso(strength, max_iter=100_000, **named)}
    models |= {"celer": Celer(strength, **named), "skglm": Skglm(strength, **named)}
    runs = {"jaxreg": lambda: jax.block_until_ready(program(*table).params)}
    runs |= {name: lambda model=model: model.fit(x, y).coef_ for name, model in models.items()}
    for run in runs.values():
        run()  # compiles
    rows = [{name: timed(run) for name, run in runs.items()} for _ in range(rounds)]
    values = {name: np.mean((x @ w - y) ** 2) / 2 + strength * np.abs(w).sum() for name, (w, *_) in rows[0].items()}
    return {
        "kind": "large",
        "seconds": {name: round(statistics.median(row[name][1] for row in rows), 3) for name in runs},
        "objective above the least": {name: value - min(values.values()) for name, value in values.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", help="kinds of problem")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folds", type=int, default=10, help="folds that scikit-learn runs on")
    given = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    for name in given.kinds or KINDS:
        row = large(given.rounds) if name == "large" else measured(name, given.rounds, given.folds)
        print(json.dumps(row, default=float), flush=True)


if __name__ == "__main__":
    main()
