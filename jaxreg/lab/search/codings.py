"""Codings of numeric inputs for a network.

A coding computes each input of the network from one column of the table by a piecewise linear function. The function
bends at points that are called knots. A coding is learnt from the inputs, without the targets. The coding `pieces`
divides the range of a column into several intervals, which are called pieces. It replaces each number by:

- its normal score, computed from the quantiles of the column
- its position inside each piece
"""

import itertools
from statistics import NormalDist
from typing import Literal

import numpy as np

Coding = Literal["plain", "pieces"]
"""`plain` keeps numbers unchanged. `pieces` replaces each number by its normal score and its position in each piece."""

KNOTS = 33
"""Number of knots of each piecewise linear function."""

MOST_PIECES = 8
PIECED = 48
"""Largest number of inputs that the pieces of all columns together may add."""

_FAR = 1e6
"""Last knot of the identity function, in standard deviations from the mean."""


def learn(x: np.ndarray, w: np.ndarray, numbers: np.ndarray) -> dict[str, np.ndarray]:
    """Fit the coding `pieces`. It replaces each numeric input by several piecewise linear functions of this input.

    Args:
        x: Standardised inputs, of shape (rows, inputs).
        w: Weight of each row.
        numbers: Boolean array that marks the inputs with more than two values. All other inputs stay unchanged.

    Returns:
        Three arrays with one entry per function. `source` is the index of the function's input in `x`, of shape
        (functions,). `knots` are the positions of the bends, of shape (functions, KNOTS). `heights` are the values at
        the knots, of the same shape. The normal scores come first, in the order of `x`. The pieces follow.
    """
    line = np.linspace(-_FAR, _FAR, KNOTS)
    scores = [_scores(x[:, at], w) if numbers[at] else (line, line) for at in range(x.shape[1])]
    found = [(at, *each) for at, each in enumerate(scores)]
    count = min(MOST_PIECES, PIECED // max(1, int(numbers.sum())))
    if count > 1:
        for at in np.flatnonzero(numbers):
            edges = np.unique(_quantiles(x[:, at], w, np.linspace(0, 1, count + 1)))
            for low, high in itertools.pairwise(edges):
                found.append((at, np.linspace(low, high, KNOTS), np.linspace(-1, 1, KNOTS)))
    source, knots, heights = zip(*found, strict=True)
    return {"source": np.array(source), "knots": np.array(knots), "heights": np.array(heights)}


def coded(maps: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """Transform inputs with the piecewise linear functions from `learn`. The result has one column per function.

    Args:
        maps: Arrays that `learn` returned.
        x: Standardised inputs, of shape (rows, inputs).
    """
    triples = zip(maps["source"], maps["knots"], maps["heights"], strict=True)
    return np.stack([np.interp(x[:, at], knots, heights) for at, knots, heights in triples], axis=1)


def _ranks(values: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # Sorted distinct values, and for each the share of smaller rows plus half the share of equal rows, by weight.
    different, places = np.unique(values, return_inverse=True)
    weight = np.bincount(places.ravel(), weights=w)
    return different, (np.cumsum(weight) - weight / 2) / weight.sum()


def _quantiles(values: np.ndarray, w: np.ndarray, at: np.ndarray) -> np.ndarray:
    order = np.argsort(values, kind="stable")
    below = np.cumsum(w[order]) / w.sum()
    return values[order][np.minimum(np.searchsorted(below, at - 1e-9), len(order) - 1)]


def _scores(values: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # Knots evenly spaced in normal scores, so that the tails get knots too.
    different, shares = _ranks(values, w)
    normal = NormalDist()
    heights = np.linspace(normal.inv_cdf(shares[0]), normal.inv_cdf(shares[-1]), KNOTS)
    knots = np.interp(list(map(normal.cdf, heights)), shares, different)
    given = np.interp(values, knots, heights)
    middle = np.average(given, weights=w)
    return knots, (heights - middle) / np.sqrt(np.average(np.square(given - middle), weights=w))
