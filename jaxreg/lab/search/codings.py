"""Codings of numbers for a net: by their quantiles and as pieces of a line, as maps with the knots that they have.

A coding makes each input of the net from one input of the table by a function that is linear between knots. It knows
inputs only, no targets.
"""

import itertools
from statistics import NormalDist
from typing import Literal

import numpy as np

Coding = Literal["plain", "pieces"]
"""Numbers as they are, or by normal scores of their quantiles and as pieces of a line."""

KNOTS = 33
"""Knots of a map to normal scores."""

MOST_PIECES = 8
PIECED = 48
"""Inputs that all pieces of a table make, at most."""

_FAR = 1e6
"""Standard deviations from the mean where a map ends that changes nothing."""


def learn(x: np.ndarray, w: np.ndarray, numbers: np.ndarray) -> dict[str, np.ndarray]:
    """Return the maps of a coding by pieces: `source`, the input that each takes, and its `knots` and `heights` there.

    Args:
        x: Standardised inputs, of shape (rows, inputs).
        w: Weight of each row.
        numbers: Whether each input has more than two values; the others stay as they are.

    Returns:
        Arrays of shape (coded,), (coded, KNOTS) and (coded, KNOTS); the quantiles come first, in the order of `x`.
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
    """Return the inputs of the net, of shape (rows, coded).

    Args:
        maps: What `learn` returned.
        x: Standardised inputs, of shape (rows, inputs).
    """
    triples = zip(maps["source"], maps["knots"], maps["heights"], strict=True)
    return np.stack([np.interp(x[:, at], knots, heights) for at, knots, heights in triples], axis=1)


def _ranks(values: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # Different values in order, and the share of the weight below the middle of each.
    different, places = np.unique(values, return_inverse=True)
    weight = np.bincount(places.ravel(), weights=w)
    return different, (np.cumsum(weight) - weight / 2) / weight.sum()


def _quantiles(values: np.ndarray, w: np.ndarray, at: np.ndarray) -> np.ndarray:
    order = np.argsort(values, kind="stable")
    below = np.cumsum(w[order]) / w.sum()
    return values[order][np.minimum(np.searchsorted(below, at - 1e-9), len(order) - 1)]


def _scores(values: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # Knots that are evenly spaced in normal scores, so that the ends have some.
    different, shares = _ranks(values, w)
    normal = NormalDist()
    heights = np.linspace(normal.inv_cdf(shares[0]), normal.inv_cdf(shares[-1]), KNOTS)
    knots = np.interp(list(map(normal.cdf, heights)), shares, different)
    given = np.interp(values, knots, heights)
    middle = np.average(given, weights=w)
    return knots, (heights - middle) / np.sqrt(np.average(np.square(given - middle), weights=w))
