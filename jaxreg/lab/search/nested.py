"""Nested cross-validation from the losses of finished training runs: the choice of a candidate and its score."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from jaxreg.lab.search.candidates import NONE, Candidate
from jaxreg.lab.search.folds import FIRST, Split
from jaxreg.lab.stats.intervals import share_interval

WORTH = 0.02
"""Relative reduction of the loss that a regulariser must reach to be chosen."""

_ONE_ERROR = 0.6827
"""Probability of an interval of one standard error on both sides of the mean, for a normal distribution."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Mean of a score or loss over the outer folds, with its standard error.

    Attributes:
        mean: Mean over the folds.
        error: Standard error of the mean, corrected for the training rows that folds share (Nadeau and Bengio).
        n: Number of folds, over all repeats.
    """

    mean: float
    error: float
    n: int

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval, by Student's t distribution with n - 1 degrees of freedom."""
        return self.mean - self._half

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval, by Student's t distribution with n - 1 degrees of freedom."""
        return self.mean + self._half

    @property
    def significant(self) -> bool:
        """Whether the 95 % interval does not contain 0."""
        return self.low > 0 or self.high < 0

    def lowest_of(self, count: int) -> float:
        """Return the lower end of the 95 % interval, corrected for several estimates by Bonferroni's method.

        Args:
            count: Number of estimates from which the reported one is selected.
        """
        return self.mean - self._half_of(count)

    @property
    def _half(self) -> float:
        return self._half_of(1)

    def _half_of(self, count: int) -> float:
        return self.error * float(stdtrit(self.n - 1, 1 - 0.025 / count)) if self.n > 1 else float("nan")


class OuterFolds(NamedTuple):
    """Score and loss of each candidate on each outer fold.

    A candidate predicts an outer fold by the mean of its networks that were not trained on this fold. All arrays have
    the shape (candidates, folds).

    Args:
        score: Score of the averaged prediction. For regression, NaN until the score is computed from the loss.
        loss: Loss of the averaged prediction.
        ambiguity: Average loss of the single networks minus the loss of their averaged prediction. This difference is
            estimated from the predictions alone, without the targets of the fold.
    """

    score: np.ndarray
    loss: np.ndarray
    ambiguity: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Nested:
    """Result of nested cross-validation: the chosen candidate, and scores and losses on the outer folds.

    Attributes:
        chosen: Index of the candidate chosen from all rows.
        members: Indices of the candidates whose networks the model averages, `chosen` first.
        picks: Index of the candidate chosen for each outer fold. The choice does not use the rows of that fold.
        picked: Indices of the candidates that are averaged for each outer fold. The first is the candidate in `picks`.
        score: Score of the whole procedure, which includes the choice of a candidate. Neither the training nor the
            choice has used the rows of the outer fold on which the score is measured.
        loss: Loss of the whole procedure, measured like the score.
        score_gain: Score of the procedure minus the score without a regulariser, on the same outer folds.
        loss_gain: Loss without a regulariser minus the loss of the procedure, on the same outer folds.
        picked_scores: Score of the procedure on each outer fold.
        picked_losses: Loss of the procedure on each outer fold.
        scores: Score of each candidate on each outer fold, of shape (candidates, folds).
        losses: Loss of each candidate on each outer fold, of shape (candidates, folds).
        rivals: Methods whose best candidate has a mean loss within one standard error of the lowest mean loss. Only
            candidates with the network of the best candidate count.
    """

    chosen: int
    members: tuple[int, ...]
    picks: tuple[int, ...]
    picked: tuple[tuple[int, ...], ...]
    score: Estimate
    loss: Estimate
    score_gain: Estimate
    loss_gain: Estimate
    picked_scores: np.ndarray
    picked_losses: np.ndarray
    scores: np.ndarray
    losses: np.ndarray
    rivals: tuple[str, ...]

    def tally(self, tried: Sequence[Candidate]) -> dict[str, int]:
        """Return the number of outer folds for which each method was chosen, the most frequent method first."""
        return dict(Counter(tried[place].method for place in self.picks).most_common())


def outer_splits(parts: Sequence[Split]) -> list[int]:
    """Return one index of a split per outer fold: the split that tests on this fold and has no validation fold.

    Args:
        parts: The splits, in the order of `jaxreg.lab.search.folds.nested_splits` or `forward_splits`.
    """
    first = FIRST if is_forward(parts) else 0
    return [at for at, part in enumerate(parts) if part.test == part.validation >= first]


def is_forward(parts: Sequence[Split]) -> bool:
    """Return whether each fold is predicted only from the folds before it."""
    return all(part.test == part.validation for part in parts)


def rows_ratio(parts: Sequence[Split]) -> float:
    """Return the number of test rows per training row of an outer fold, for `estimate`.

    If each fold is predicted only from the folds before it, this is the mean over the outer folds.

    Args:
        parts: The splits, in the order of `jaxreg.lab.search.folds.nested_splits` or `forward_splits`.
    """
    if is_forward(parts):
        return float(np.mean([1 / parts[place].test for place in outer_splits(parts)]))
    return 1 / max(part.test for part in parts)


def _inner(parts: Sequence[Split], outer: Split) -> list[tuple[int, bool]]:
    # Indices of the splits that the choice for an outer fold uses. True: it uses the loss on the fold `test`. False: it
    # uses the loss on the fold `validation`.
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
    means: Callable[[int, tuple[int, ...]], tuple[float, float]] | None = None,
) -> Nested:
    """Choose a candidate by nested cross-validation, and estimate the score to expect on new rows.

    For each outer fold, candidates are compared by their losses on the inner folds. The ambiguity of the averaged
    networks on the outer fold is subtracted from these losses, because averaging lowers the loss by the ambiguity. The
    ambiguity is computed without the targets of the outer fold.

    Args:
        tried: The candidates. The first candidate of each network has no regulariser.
        parts: The splits, in the order of `jaxreg.lab.search.folds.nested_splits` or `forward_splits`.
        test: Loss on the fold `test` of each split, of shape (candidates, splits); NaN if the training diverged.
        validation: Loss on the fold `validation` of each split, of shape (candidates, splits).
        score: Score on the fold `test` of each split, of shape (candidates, splits).
        rows: Number of rows if the score is a share of rows, such as the accuracy. Otherwise 0. The standard error of
            a share is increased to at least the binomial standard error (see `at_least_binomial`). Without the
            increase, it is nearly 0 on stratified folds if a network predicts the same class for all rows.
        outer: Results of the averaged networks on the outer folds. None means that networks are not averaged.
        means: Function of the number of an outer fold and the indices of several candidates. It returns the score and
            the loss of the averaged predictions of these candidates. None means that the model is one candidate.

    Raises:
        ValueError: If every candidate diverged in at least one training.
    """
    places, diverged = outer_splits(parts), np.isnan(test)
    if outer is None:
        outer = OuterFolds(score[:, places], test[:, places], np.zeros((len(tried), len(places))))
    losses = np.where(diverged[:, places], np.nan, outer.loss)
    scores = np.where(diverged[:, places], np.nan, outer.score)
    ratio = rows_ratio(parts)
    members = []
    for number, place in enumerate(places):
        inner = [test[:, at] if by_test else validation[:, at] for at, by_test in _inner(parts, parts[place])]
        judged = np.stack(inner, axis=1) - outer.ambiguity[:, [number]]
        members.append(chosen_members(tried, np.where(diverged[:, [place]], np.nan, judged), ratio))
    whole = [at for at, part in enumerate(parts) if part.test < 0]
    lost = diverged[:, whole].any(axis=1, keepdims=True)
    of_all = chosen_members(tried, np.where(lost, np.nan, losses), ratio)
    if means is None:
        members, of_all = [each[:1] for each in members], of_all[:1]

    def judge(number: int, them: tuple[int, ...]) -> tuple[float, float]:
        if means is None or len(them) == 1 or np.isnan(losses[list(them), number]).any():
            return scores[them[0], number], losses[them[0], number]
        return means(number, them)

    plain = [tuple(unregularised(tried, place) for place in each) for each in members]
    mine, others = (np.array([judge(*pair) for pair in enumerate(each)]).T for each in (members, plain))
    score_of_all = estimate(mine[0], ratio)
    if rows:
        score_of_all = at_least_binomial(score_of_all, rows)
    return Nested(
        chosen=of_all[0],
        members=of_all,
        picks=tuple(each[0] for each in members),
        picked=tuple(members),
        score=score_of_all,
        loss=estimate(mine[1], ratio),
        score_gain=estimate(mine[0] - others[0], ratio),
        loss_gain=estimate(others[1] - mine[1], ratio),
        picked_scores=mine[0],
        picked_losses=mine[1],
        scores=scores,
        losses=losses,
        rivals=_rivals(tried, losses, ratio),
    )


def unregularised(tried: Sequence[Candidate], place: int) -> int:
    """Return the index of the candidate that has the network of `tried[place]`, but no regulariser.

    Args:
        tried: The candidates.
        place: Index of a candidate.
    """
    return next(at for at, each in enumerate(tried) if each.shape == tried[place].shape and each.method == NONE)


def chosen_members(tried: Sequence[Candidate], losses: np.ndarray, ratio: float) -> tuple[int, ...]:
    """Return the indices of the candidates whose networks form the final model, the chosen candidate first.

    The final model averages these networks. There is at most one candidate per network architecture. A candidate is
    left out if its mean loss exceeds that of the chosen candidate by more than one standard error of the paired
    difference.

    Args:
        tried: The candidates. The first candidate of each network has no regulariser.
        losses: Losses, of shape (candidates, folds); not finite if the training diverged.
        ratio: Number of test rows per training row of a fold, for the standard error (see `estimate`).

    Raises:
        ValueError: If every candidate diverged.

    Reference:
        Breiman, Bagging predictors, 1996: the mean of equally good models is better than each of the models.
    """
    best, picks = choose(tried, losses), _picks(tried, losses)
    gaps = {place: estimate(losses[place] - losses[best], ratio) for place in picks if place != best}
    return (best, *(place for place, gap in gaps.items() if gap.mean <= gap.error))


def choose(tried: Sequence[Candidate], losses: np.ndarray) -> int:
    """Return the index of the chosen candidate, by the one-standard-error rule.

    First, one candidate is chosen for each network. The best candidate is the one with the lowest mean loss. It is
    compared with the candidate without a regulariser:

    - If the best candidate lowers the mean loss by more than 2 %, and by more than one standard error of the paired
      difference, its method is chosen. The strength is the largest one for which the mean loss exceeds the lowest mean
      loss by at most one standard error of the paired difference.
    - Otherwise, no regulariser is chosen.

    Then the chosen candidates of all networks are compared. The one with the lowest mean loss is returned.

    Args:
        tried: The candidates. The first candidate of each network has no regulariser.
        losses: Losses, of shape (candidates, folds); not finite if the training diverged.

    Raises:
        ValueError: If every candidate diverged on at least one fold.

    Reference:
        Breiman et al., Classification and regression trees, 1984.
    """
    means = _means(losses)
    if not np.isfinite(means).any():
        raise ValueError(
            "every candidate diverged on at least one fold. Scale the target, or use a smaller learning rate"
        )
    return min(_picks(tried, losses), key=means.__getitem__)


def _picks(tried: Sequence[Candidate], losses: np.ndarray) -> list[int]:
    # One candidate for each net.
    shapes = dict.fromkeys(each.shape for each in tried)
    return [_choice(tried, losses, [at for at, each in enumerate(tried) if each.shape == shape]) for shape in shapes]


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


def at_least_binomial(share: Estimate, rows: int) -> Estimate:
    """Increase the standard error of a share, such as an accuracy, to at least the binomial standard error.

    The binomial standard error is half the width of Wilson's 68 % interval. This width is above 0 even if all rows are
    predicted correctly.

    Args:
        share: Estimate of a share of rows, such as the accuracy.
        rows: Number of rows.
    """
    low, high = share_interval(min(1.0, max(0.0, share.mean)), rows, confidence=_ONE_ERROR)
    return dataclasses.replace(share, error=max(share.error, (high - low) / 2))


ROUNDING = 1e-6
"""Largest difference between scores, or between losses, that may be a rounding error of float32."""


def differences(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return `values - others`, with 0 for a difference that may be a rounding error of float32.

    Args:
        values: Scores or losses.
        others: Scores or losses on the same folds. They may have been computed in another precision.

    Example:
        >>> differences(np.array([0.96153849, 0.5]), np.array([0.96153846, 0.25]))
        array([0.  , 0.25])
    """
    return np.where(np.isclose(values, others, rtol=ROUNDING, atol=ROUNDING), 0.0, values - others)


def estimate(values: np.ndarray, ratio: float) -> Estimate:
    """Return the mean of a score or loss over the folds, and its standard error.

    Args:
        values: One number per fold.
        ratio: Number of test rows per training row of a fold, for the correction of Nadeau and Bengio. 0 means no
            correction.
    """
    values = np.asarray(values, np.float64)
    spread = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
    return Estimate(float(values.mean()), spread * (1 / len(values) + ratio) ** 0.5, len(values))
