"""Nested cross-validation from the losses of its trainings: the choice, how often it is made, and how good it is."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from jaxreg.lab.search.candidates import NONE, Candidate
from jaxreg.lab.search.folds import Split
from jaxreg.lab.stats.intervals import share_interval
from jaxreg.lab.stats.selection import one_standard_error

WORTH = 0.02
"""Share of the loss that a regulariser has to save."""

_ONE_ERROR = 0.6827
"""The confidence of one standard error to both sides."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over outer folds.

    Attributes:
        mean: Mean over the folds.
        error: Its standard error, with the variance of folds that share training rows (Nadeau and Bengio).
        n: Number of folds, over all repeats.
    """

    mean: float
    error: float
    n: int


class OuterFolds(NamedTuple):
    """What a procedure is worth on each outer fold, and what it is without a regulariser.

    Args:
        score: Scores, of shape (2, folds): those of the procedure, then those of no regulariser.
        loss: Losses, of the same shape.
    """

    score: np.ndarray
    loss: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Nested:
    """The result of nested cross-validation.

    Attributes:
        chosen: Place of the candidate that is chosen from all rows.
        picks: Place of the candidate chosen inside each outer fold, without it.
        score: Score of the whole procedure, choice included, on outer folds that neither chose nor trained.
        loss: Loss of the whole procedure on these folds.
        score_gain: Score of the procedure minus that of no regulariser on the same outer folds.
        loss_gain: Loss of no regulariser minus that of the procedure on the same outer folds.
        scores: Score of each candidate on each outer fold, of shape (candidates, folds).
        losses: Loss of each candidate on each outer fold, of shape (candidates, folds).
        outer: Scores and losses that the estimates are the means of.
        rivals: Methods whose best candidate is within a standard error of the best of all.
    """

    chosen: int
    picks: tuple[int, ...]
    score: Estimate
    loss: Estimate
    score_gain: Estimate
    loss_gain: Estimate
    scores: np.ndarray
    losses: np.ndarray
    outer: OuterFolds
    rivals: tuple[str, ...]

    def tally(self, tried: Sequence[Candidate]) -> dict[str, int]:
        """Count how often each method was chosen inside an outer fold, most often first."""
        return dict(Counter(tried[place].method for place in self.picks).most_common())


def outer_splits(parts: Sequence[Split]) -> list[int]:
    """Return the places of the splits that leave one fold out."""
    return [at for at, part in enumerate(parts) if part.test == part.validation >= 0]


def choices(
    tried: Sequence[Candidate], parts: Sequence[Split], test: np.ndarray, validation: np.ndarray
) -> tuple[int, tuple[int, ...]]:
    """Return the place of the candidate chosen from all rows, and of those chosen inside each outer fold.

    Args:
        tried: The candidates, the first of them without a regulariser.
        parts: The splits, as `jaxreg.lab.search.folds.nested_splits` orders them.
        test: Loss on the fold `test` of each split, of shape (candidates, splits); NaN if the training diverged.
        validation: Loss on the fold `validation` of each split, of shape (candidates, splits).

    Raises:
        ValueError: If every candidate diverged on some training.
    """
    diverged, outer = np.isnan(test), outer_splits(parts)
    picks = []
    for place in outer:
        repeat, fold, _ = parts[place]
        inner = [
            test[:, at] if part.validation == fold else validation[:, at]
            for at, part in enumerate(parts)
            if part.repeat == repeat and part.test != part.validation and fold in (part.test, part.validation)
        ]
        picks.append(choose(tried, np.where(diverged[:, [place]], np.nan, np.stack(inner, axis=1))))
    whole = [at for at, part in enumerate(parts) if part.test < 0]
    return choose(tried, np.where(diverged[:, whole], np.nan, test[:, outer])), tuple(picks)


def nested(
    tried: Sequence[Candidate],
    parts: Sequence[Split],
    test: np.ndarray,
    validation: np.ndarray,
    score: np.ndarray,
    rows: int = 0,
    outer: Callable[[tuple[int, ...]], OuterFolds] | None = None,
) -> Nested:
    """Evaluate nested cross-validation.

    Args:
        tried: The candidates, the first of them without a regulariser.
        parts: The splits, as `jaxreg.lab.search.folds.nested_splits` orders them.
        test: Loss on the fold `test` of each split, of shape (candidates, splits); NaN if the training diverged.
        validation: Loss on the fold `validation` of each split, of shape (candidates, splits).
        score: Score on the fold `test` of each split, of shape (candidates, splits).
        rows: Number of rows, if the score is a share of them: its standard error is then at least the binomial one,
            half of Wilson's interval. Stratified folds hide that error if a net predicts one class for all rows.
        outer: Function, places of the candidates chosen inside the outer folds -> scores and losses of what is handed
            out; those of single nets if None.

    Raises:
        ValueError: If every candidate diverged on some training.
    """
    places = outer_splits(parts)
    losses, scores = test[:, places], score[:, places]
    ratio, at = 1 / max(part.test for part in parts), np.arange(len(places))
    best, picks = choices(tried, parts, test, validation)
    single = OuterFolds(*(np.stack([values[list(picks), at], values[0]]) for values in (scores, losses)))
    of = single if outer is None else outer(picks)
    score_of_all = estimate(of.score[0], ratio)
    if rows:
        low, high = share_interval(min(1.0, max(0.0, score_of_all.mean)), rows, confidence=_ONE_ERROR)
        score_of_all = dataclasses.replace(score_of_all, error=max(score_of_all.error, (high - low) / 2))
    return Nested(
        chosen=best,
        picks=picks,
        score=score_of_all,
        loss=estimate(of.loss[0], ratio),
        score_gain=estimate(of.score[0] - of.score[1], ratio),
        loss_gain=estimate(of.loss[1] - of.loss[0], ratio),
        scores=scores,
        losses=losses,
        outer=of,
        rivals=_rivals(tried, losses, ratio),
    )


def choose(tried: Sequence[Candidate], losses: np.ndarray) -> int:
    """Return the place of the candidate to take.

    It is no regulariser, unless the best candidate beats that by more than one standard error of their paired
    difference, and by 2 % of its loss. Otherwise it is the method of the best, with the strongest strength within one
    standard error of that method's best.

    Args:
        tried: The candidates, the first of them without a regulariser.
        losses: Of shape (candidates, folds); not finite where a lane diverged.

    Raises:
        ValueError: If every candidate diverged.

    Reference:
        Breiman et al., Classification and regression trees, 1984.
    """
    means = _means(losses)
    best = int(np.argmin(means))
    if not np.isfinite(means[best]):
        raise ValueError("every candidate diverged on some fold: scale the target, or lower the learning rate")
    if np.isfinite(means[0]):
        gain = estimate(losses[0] - losses[best], 0.0)
        if gain.mean <= max(gain.error, WORTH * means[0]):
            return 0
    family = [place for place, each in enumerate(tried) if each.method == tried[best].method]
    values = xr.DataArray(
        losses[family],
        dims=("candidate", "draw"),
        coords={"candidate": family, "strength": ("candidate", [tried[place].strength for place in family])},
    )
    return int(one_standard_error(values, lower_is_better=True).label)  # type: ignore[call-overload]


def _rivals(tried: Sequence[Candidate], losses: np.ndarray, ratio: float) -> tuple[str, ...]:
    means = _means(losses)
    best = int(np.argmin(means))
    rivals = []
    for method in dict.fromkeys(each.method for each in tried):
        place = min((p for p, each in enumerate(tried) if each.method == method), key=means.__getitem__)
        gap = estimate(losses[place] - losses[best], ratio)
        if np.isfinite(means[place]) and gap.mean <= gap.error and method != NONE:
            rivals.append((means[place], method))
    return tuple(method for _, method in sorted(rivals))


def _means(losses: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(losses).all(axis=1), losses.astype(np.float64).mean(axis=1), np.inf)


def estimate(values: np.ndarray, ratio: float) -> Estimate:
    """Return the mean over folds and its standard error.

    Args:
        values: One number per fold.
        ratio: Size of a fold relative to the rows that its nets train on (Nadeau and Bengio), 0 for independent folds.
    """
    values = np.asarray(values, np.float64)
    spread = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
    return Estimate(float(values.mean()), spread * (1 / len(values) + ratio) ** 0.5, len(values))
