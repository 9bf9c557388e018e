"""Nested cross-validation, computed from the losses of its trainings: the choice, its frequency, and its score."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxreg.lab.search.candidates import NONE, Candidate
from jaxreg.lab.search.folds import FIRST, Split
from jaxreg.lab.stats.intervals import share_interval

WORTH = 0.02
"""Relative reduction of the loss that a regulariser must reach to be chosen."""

_ONE_ERROR = 0.6827
"""The confidence of one standard error to both sides."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean across outer folds.

    Attributes:
        mean: Mean across the folds.
        error: Standard error of the mean, corrected for folds that share training rows (Nadeau and Bengio).
        n: Number of folds, over all repeats.
    """

    mean: float
    error: float
    n: int


class OuterFolds(NamedTuple):
    """The means of nets of each candidate on each outer fold: arrays of shape (candidates, folds).

    Args:
        score: Scores of the means; NaN for numbers, of whose losses they follow.
        loss: Losses of the means.
        ambiguity: How much less the loss of a mean is than that of its nets, told without the fold's targets.
    """

    score: np.ndarray
    loss: np.ndarray
    ambiguity: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Nested:
    """The result of nested cross-validation.

    Attributes:
        chosen: Index of the candidate chosen from all rows.
        picks: Index of the candidate chosen for each outer fold, without that fold.
        score: Score of the whole procedure, including the choice, on outer folds used neither for training nor for the
            choice.
        loss: Loss of the whole procedure on the same folds.
        score_gain: Score of the procedure minus the score without a regulariser, on the same outer folds.
        loss_gain: Loss without a regulariser minus the loss of the procedure, on the same outer folds.
        picked_scores: Score of the procedure on each outer fold.
        scores: Score of each candidate on each outer fold, of shape (candidates, folds).
        losses: Loss of each candidate on each outer fold, of shape (candidates, folds).
        rivals: Methods of the best network whose best candidate is within a standard error of the best candidate of
            all.
    """

    chosen: int
    picks: tuple[int, ...]
    score: Estimate
    loss: Estimate
    score_gain: Estimate
    loss_gain: Estimate
    picked_scores: np.ndarray
    scores: np.ndarray
    losses: np.ndarray
    rivals: tuple[str, ...]

    def tally(self, tried: Sequence[Candidate]) -> dict[str, int]:
        """Count how often each method was chosen in the outer folds, the most frequent method first."""
        return dict(Counter(tried[place].method for place in self.picks).most_common())


def outer_splits(parts: Sequence[Split]) -> list[int]:
    """Return the places of the splits that leave one fold out, to be judged on it.

    Args:
        parts: The splits, as `jaxreg.lab.search.folds.nested_splits` or `forward_splits` orders them.
    """
    first = FIRST if is_forward(parts) else 0
    return [at for at, part in enumerate(parts) if part.test == part.validation >= first]


def is_forward(parts: Sequence[Split]) -> bool:
    """Return whether folds are predicted from those before them."""
    return all(part.test == part.validation for part in parts)


def _inner(parts: Sequence[Split], outer: Split) -> list[tuple[int, bool]]:
    # The splits that serve a choice inside an outer fold, and whether they do by their fold `test`.
    if is_forward(parts):
        return [
            (at, True) for at, part in enumerate(parts) if part.repeat == outer.repeat and 0 < part.test < outer.test
        ]
    return [
        (at, part.validation == outer.test)
        for at, part in enumerate(parts)
        if part.repeat == outer.repeat and part.test != part.validation and outer.test in (part.test, part.validation)
    ]


def nested(
    tried: Sequence[Candidate],
    parts: Sequence[Split],
    test: np.ndarray,
    validation: np.ndarray,
    score: np.ndarray,
    rows: int = 0,
    outer: OuterFolds | None = None,
) -> Nested:
    """Evaluate nested cross-validation.

    Inside an outer fold, a candidate is judged by the losses of its nets on the inner folds, less the ambiguity of its
    mean on the outer fold, which takes no targets of that fold.

    Args:
        tried: The candidates, the first of each net without a regulariser.
        parts: The splits, as `jaxreg.lab.search.folds.nested_splits` or `forward_splits` orders them.
        test: Loss on the fold `test` of each split, of shape (candidates, splits); NaN if the training diverged.
        validation: Loss on the fold `validation` of each split, of shape (candidates, splits).
        score: Score on the fold `test` of each split, of shape (candidates, splits).
        rows: Number of rows, if the score is a share of them: its standard error is then at least the binomial one,
            half of Wilson's interval. Stratified folds hide that error if a net predicts one class for all rows.
        outer: The means of nets on the outer folds; single nets if None.

    Raises:
        ValueError: If every candidate diverged on some training.
    """
    places, diverged = outer_splits(parts), np.isnan(test)
    if outer is None:
        outer = OuterFolds(score[:, places], test[:, places], np.zeros((len(tried), len(places))))
    losses = np.where(diverged[:, places], np.nan, outer.loss)
    scores = np.where(diverged[:, places], np.nan, outer.score)
    picks = []
    for number, place in enumerate(places):
        inner = [test[:, at] if by_test else validation[:, at] for at, by_test in _inner(parts, parts[place])]
        means = np.stack(inner, axis=1) - outer.ambiguity[:, [number]]
        picks.append(choose(tried, np.where(diverged[:, [place]], np.nan, means)))
    whole = [at for at, part in enumerate(parts) if part.test < 0]
    lost = diverged[:, whole].any(axis=1, keepdims=True)
    chosen = choose(tried, np.where(lost, np.nan, losses))
    at, plain = np.arange(len(places)), [unregularised(tried, pick) for pick in picks]
    # Rows that judge for each row that trains.
    forward = [1 / parts[place].test for place in places] if is_forward(parts) else []
    ratio = float(np.mean(forward)) if forward else 1 / max(part.test for part in parts)
    score_of_all = estimate(scores[picks, at], ratio)
    if rows:
        low, high = share_interval(min(1.0, max(0.0, score_of_all.mean)), rows, confidence=_ONE_ERROR)
        score_of_all = dataclasses.replace(score_of_all, error=max(score_of_all.error, (high - low) / 2))
    return Nested(
        chosen=chosen,
        picks=tuple(picks),
        score=score_of_all,
        loss=estimate(losses[picks, at], ratio),
        score_gain=estimate(scores[picks, at] - scores[plain, at], ratio),
        loss_gain=estimate(losses[plain, at] - losses[picks, at], ratio),
        picked_scores=scores[picks, at],
        scores=scores,
        losses=losses,
        rivals=_rivals(tried, losses, ratio),
    )


def unregularised(tried: Sequence[Candidate], place: int) -> int:
    """Return the place of the candidate without a regulariser that trains the same net.

    Args:
        tried: The candidates.
        place: Place of a candidate.
    """
    return next(at for at, each in enumerate(tried) if each.shape == tried[place].shape and each.method == NONE)


def choose(tried: Sequence[Candidate], losses: np.ndarray) -> int:
    """Return the place of the candidate to take.

    Of each net it is no regulariser, unless its best candidate beats that by more than one standard error of their
    paired difference, and by 2 % of its loss. Otherwise it is the method of the best, with the strongest strength
    whose paired difference to that method's best is within one standard error. Of these it is the one of least loss.

    Args:
        tried: The candidates, the first of each net without a regulariser.
        losses: Of shape (candidates, folds); not finite where a lane diverged.

    Raises:
        ValueError: If every candidate diverged.

    Reference:
        Breiman et al., Classification and regression trees, 1984.
    """
    means = _means(losses)
    if not np.isfinite(means).any():
        raise ValueError(
            "every candidate diverged on at least one fold. Scale the target, or use a smaller learning rate"
        )
    shapes = dict.fromkeys(each.shape for each in tried)
    picks = [_choice(tried, losses, [at for at, each in enumerate(tried) if each.shape == shape]) for shape in shapes]
    return min(picks, key=means.__getitem__)


def _choice(tried: Sequence[Candidate], losses: np.ndarray, places: list[int]) -> int:
    means, none = _means(losses), places[0]
    best = min(places, key=means.__getitem__)
    if not np.isfinite(means[best]):
        return none
    if np.isfinite(means[none]):
        gain = estimate(losses[none] - losses[best], 0.0)
        if gain.mean <= max(gain.error, WORTH * means[none]):
            return none
    near = [best]
    for place in places:
        if tried[place].method == tried[best].method and np.isfinite(means[place]):
            gap = estimate(losses[place] - losses[best], 0.0)
            if gap.mean <= gap.error:
                near.append(place)
    return max(near, key=lambda place: tried[place].strength)


def _rivals(tried: Sequence[Candidate], losses: np.ndarray, ratio: float) -> tuple[str, ...]:
    means = _means(losses)
    best = int(np.argmin(means))
    rivals = []
    mine = [place for place, each in enumerate(tried) if each.shape == tried[best].shape]
    for method in dict.fromkeys(tried[place].method for place in mine):
        place = min((p for p in mine if tried[p].method == method), key=means.__getitem__)
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
