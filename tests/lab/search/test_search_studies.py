"""What a search is right about: the truth of synthetic problems, and the accuracy of what it hands back."""

import numpy as np
import pytest

from jaxreg.lab import CLASSES, NUMBERS
from jaxreg.lab.search import Plan, search

# Seen through a linear function of few inputs, a smooth one of few rows, and one of more rows than a net can overfit.
SPARSE, SMOOTH, PLAIN = {"L1", "L1L2", "group lasso"}, {"L2", "decay", "L1L2"}, {"none"}


def sparse(seed, rows, inputs, noise, classes=False):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, inputs))
    y = 2 * x[:, 0] - 1.5 * x[:, 1] + noise * rng.normal(size=rows)
    return x, (y > 0).astype(int) if classes else y, SPARSE


def smooth(seed, rows, noise):
    # Every input matters as much: nothing is to be left out.
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 8))
    y = np.tanh(x @ rng.choice([-1.0, 1.0], 8) / 2) + noise * rng.normal(size=rows)
    return x, y, SMOOTH


def plain(seed, rows, noise):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 2))
    return x, np.tanh(x[:, 0]) + x[:, 1] + noise * rng.normal(size=rows), PLAIN


PROBLEMS = {
    "sparse, 30 inputs": lambda seed: sparse(seed, 100, 30, 0.5),
    "sparse, 60 inputs": lambda seed: sparse(seed, 120, 60, 0.5),
    "sparse, noise 1": lambda seed: sparse(seed, 150, 40, 1.0),
    "sparse classes": lambda seed: sparse(seed, 200, 40, 0.5, classes=True),
    "smooth, 60 rows": lambda seed: smooth(seed, 60, 0.3),
    "smooth, 80 rows": lambda seed: smooth(seed, 80, 0.4),
    "smooth, 100 rows": lambda seed: smooth(seed, 100, 0.5),
    "plain, 800 rows": lambda seed: plain(seed, 800, 0.1),
    "plain, 1000 rows": lambda seed: plain(seed, 1000, 0.3),
    "plain, 600 rows": lambda seed: plain(seed, 600, 0.05),
}


@pytest.mark.slow
@pytest.mark.parametrize("first", [1, 100, 110])
def test_the_verdict_names_a_right_method_in_eight_of_ten_problems(first):
    named = {}
    for seed, (name, problem) in enumerate(PROBLEMS.items(), first):
        x, y, right = problem(seed)
        result = search(x, y, CLASSES if y.dtype == int else NUMBERS, Plan())
        named[name] = (result.chosen.label, result.chosen.method in right)
        print(seed, name, *named[name], result.found.rivals, flush=True)
    assert sum(hit for _, hit in named.values()) >= 8, named


@pytest.mark.slow
def test_no_method_is_named_where_none_is_worth_having():
    # With so many rows of two inputs no regulariser has much to save, whatever the noise.
    named = []
    for seed in range(200, 220):
        x, y, _ = plain(seed, (640, 960)[seed % 2], (0.05, 0.1, 0.2, 0.3)[seed // 2 % 4])
        named.append(search(x, y, NUMBERS, Plan(seed=seed)).chosen.label)
        print(seed, named[-1], flush=True)
    assert named.count("none") >= 18, named


@pytest.mark.slow
def test_the_outer_estimate_is_that_of_fresh_rows():
    # 200 data sets of 150 rows, each with 20,000 fresh rows for what it hands back.
    gaps = []
    direction = np.array([1.0, -1.0, 0.5, 0, 0, 0])
    plan = Plan(methods=("L2", "decay", "MaxNorm"), hidden=16, epochs=100, repeats=1)
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(20_150, 6))
        y = (x @ direction + 0.3 * x[:, 0] * x[:, 1] + rng.logistic(size=len(x)) / 2 > 0).astype(int)
        result = search(x[:150], y[:150], CLASSES, plan)
        fresh = np.mean(np.argmax(result.net.probabilities(x[150:]), axis=1) == y[150:])
        gaps.append(result.found.score.mean - fresh)
    error = np.std(gaps, ddof=1) / len(gaps) ** 0.5
    print(f"outer estimate less accuracy on fresh rows: {np.mean(gaps):+.4f} ± {error:.4f}")
    assert abs(np.mean(gaps)) < 0.01
