"""The search as scikit-learn estimators: networks that find their own regulariser inside `fit`."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import assert_all_finite, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from jaxreg.lab.search.candidates import METHODS
from jaxreg.lab.search.inputs import Frame, Numbers
from jaxreg.lab.search.plan import Plan
from jaxreg.lab.search.run import Caller, Search, search
from jaxreg.lab.search.splitters import folds_of
from jaxreg.lab.tabular.arguments import called_by
from jaxreg.lab.tabular.frames import has_words, is_frame
from jaxreg.lab.training.tasks import CLASSES, NUMBERS, Task

_NUMBERS: dict[str, Any] = {"dtype": np.float64, "accept_sparse": ("csr", "csc"), "ensure_all_finite": "allow-nan"}
"""Options of scikit-learn's `validate_data` for numeric inputs."""


class _Searching(BaseEstimator):  # type: ignore[misc]
    _task: Task

    def __init__(
        self,
        methods: Sequence[str] | None = None,
        *,
        hidden_layer_sizes: int | Sequence[int] | None = None,
        epochs: int | None = None,
        learning_rate: float = 0.01,
        folds: int = 5,
        repeats: int = 2,
        quick: bool = False,
        random_state: Any = 0,
    ) -> None:
        self.methods = methods
        self.hidden_layer_sizes = hidden_layer_sizes
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.folds = folds
        self.repeats = repeats
        self.quick = quick
        self.random_state = random_state

    def _search(self, x: np.ndarray, y: np.ndarray, sample_weight: Any, groups: Any, cv: Any) -> Self:
        weights = _check_sample_weight(sample_weight, x, ensure_non_negative=True)
        state = self.random_state
        seed = state if isinstance(state, int | np.integer) else check_random_state(state).randint(2**31 - 1)
        if isinstance(self.methods, str) or (self.methods is not None and not np.iterable(self.methods)):
            raise ValueError(f"`methods` is {self.methods!r}; expected a list of names, such as ['L2']")
        plan = Plan(
            methods=METHODS if self.methods is None else self.methods,
            hidden=self.hidden_layer_sizes,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            folds=self.folds,
            repeats=self.repeats,
            quick=self.quick,
            seed=int(seed),
        )
        codes = _codes(groups, len(x))
        if cv is None:
            found = search(x, y, self._task, plan, weights=weights, groups=codes)
        else:
            folds = folds_of(cv, y, codes, classes=self._task is CLASSES)
            found = search(x, y, self._task, plan, weights=weights, folds=folds)
        found = dataclasses.replace(found, caller=Caller("estimator"), notes=self.inputs_.notes)
        self.search_: Search = found
        self.notes_ = found.notes
        self.best_params_ = _params(found, found.found.chosen)
        self.best_index_ = found.found.chosen
        self.best_score_ = float(found.found.scores[found.found.chosen].mean())
        self.outer_score_ = found.found.score.mean
        self.outer_error_ = found.found.score.error
        self.cv_results_ = cv_results(found)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.sparse = True
        return tags

    @called_by("estimator")
    def _learnt(self, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        # Return the inputs of the networks, and the target as an array.
        numeric = isinstance(self, RegressorMixin)
        if has_words(x):
            validate_data(self, x, skip_check_array=True)
            check_consistent_length(x, y)
            y = column_or_1d(y, dtype=np.float64 if numeric else None, warn=True)
            assert_all_finite(y, input_name="y")
            self.inputs_: Frame | Numbers = Frame.learn(x)
        else:
            x, y = validate_data(self, x, y, y_numeric=numeric, **_NUMBERS)
            self.inputs_ = Numbers.learn(x)
        return self.inputs_(x), y

    def _inputs(self, x: Any) -> np.ndarray:
        check_is_fitted(self)
        if isinstance(self.inputs_, Frame):
            if not is_frame(x):
                raise ValueError(f"`X` is a {type(x).__name__}; expected a data frame, as in `fit`")
            validate_data(self, x, skip_check_array=True, reset=False)
            return self.inputs_(x)
        return self.inputs_(validate_data(self, x, reset=False, **_NUMBERS))


class RegularizedMLPClassifier(ClassifierMixin, _Searching):  # type: ignore[misc]
    """A neural-network classifier that finds its own regulariser, by nested cross-validation.

    A candidate is a regulariser with a strength. `fit` tries each candidate on every fold of a repeated nested
    cross-validation, and chooses one candidate by the one-standard-error rule. The model averages the predictions of
    several networks of this candidate. One network is trained on all rows. For each fold, one more network is trained
    on the rows outside the fold. `fit` may try two architectures (see `hidden_layer_sizes`). If the best candidate of
    the other architecture is as good within one standard error, its networks are averaged too.

    Inputs are standardised inside each fold. The order of the rows does not matter. Rows with equal inputs stay in one
    fold. Rows with equal inputs and equal target are merged into one row with their total weight. There are two
    exceptions, in which equal rows are not merged and may be in different folds:

    - `fit` gets `groups` or `cv`, which then decides alone which rows stay in one fold.
    - The table has more than five rows per distinct input row, or fewer distinct input rows than folds.

    Inputs may be sparse. Missing numbers are replaced by the median of their column, and an additional input marks
    them. Text columns of a data frame are encoded in the same way as by the command `jaxreg search`.

    Args:
        methods: Names from `jaxreg.lab.search.candidates.METHODS`; None for all of them.
        hidden_layer_sizes: Number of units of each hidden layer; an integer for one layer. None tries one layer of 32
            units. If `quick` is False and decay is one of `methods`, None also tries a second architecture: two layers
            of 32 units, with piecewise linear functions of each numeric column as inputs (see
            `jaxreg.lab.search.candidates.OTHER`).
        epochs: Number of passes over the rows. None chooses about 120,000 divided by the number of rows, but at least
            20 and at most 500.
        learning_rate: Learning rate of Adam. It is constant for three quarters of the training, then decreases to 0.
        folds: Number of folds of the cross-validation.
        repeats: Number of cross-validations, each with another assignment of rows to folds.
        quick: If True, only every second strength is tried.
        random_state: Seed: an integer, a `numpy.random.RandomState`, or None for a random seed.
        class_weight: Dict from each class to a weight, by which the weights of the rows of the class are multiplied.
            "balanced" gives all classes the same total weight. None changes no weights.

    Attributes:
        classes_: Distinct classes, in ascending order. `RegularizedMLPRegressor` has no such attribute.
        best_params_: Dict with the `method` and the `strength` of the chosen candidate. The strength is a limit for
            MaxNorm, a number of epochs for early stopping, and a probability for dropout. It is None for a method
            without a strength.
        best_score_: Mean score (accuracy) of the chosen candidate on the outer folds. The candidate was chosen by its
            results on these same folds, so the score is too optimistic.
        outer_score_: Mean score on the outer folds, with a new choice of the candidate for each outer fold. For each
            outer fold, a candidate is chosen and its networks are trained without the rows of this fold. These networks
            are scored on this fold. The mean is the score to expect on new rows.
        outer_error_: Standard error of `outer_score_`.
        cv_results_: Dict with the `params` of each candidate and its score on each outer fold. The keys are those of
            scikit-learn's searches.
        notes_: Notes on how the columns were read, if the inputs are a data frame with text; otherwise empty.
        search_: The whole result, a `jaxreg.lab.search.Search`.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from jaxreg.lab import RegularizedMLPClassifier
        >>> x, y = load_iris(return_X_y=True)
        >>> net = RegularizedMLPClassifier(methods=["L2"], hidden_layer_sizes=8, epochs=100, repeats=1).fit(x, y)
        >>> sorted(net.best_params_), net.outer_score_ > 0.9
        (['method', 'strength'], True)
    """

    _task = CLASSES

    def __init__(
        self,
        methods: Sequence[str] | None = None,
        *,
        hidden_layer_sizes: int | Sequence[int] | None = None,
        epochs: int | None = None,
        learning_rate: float = 0.01,
        folds: int = 5,
        repeats: int = 2,
        quick: bool = False,
        random_state: Any = 0,
        class_weight: Mapping[Any, float] | str | None = None,
    ) -> None:
        super().__init__(
            methods,
            hidden_layer_sizes=hidden_layer_sizes,
            epochs=epochs,
            learning_rate=learning_rate,
            folds=folds,
            repeats=repeats,
            quick=quick,
            random_state=random_state,
        )
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None, cv: Any = None) -> Self:
        """Search for a regulariser and fit the model to inputs `X`, of shape (rows, inputs), and classes `y`.

        `sample_weight` holds one weight per row. `groups` holds one label per row. Rows with the same label stay in the
        same fold.

        `cv` replaces `folds` and `repeats`. It is a number of folds, an iterable of (train, test) index arrays, or a
        splitter of scikit-learn, which is called with `groups`. Successive splits that together test each row exactly
        once form a repeat. Each repeat must have the same number of splits, at least 3. Each split must use every row,
        either for training or for testing.

        The estimator itself is returned.
        """
        _check_there(y)
        x, y = self._learnt(X, y)
        check_classification_targets(y)
        # Ignore a class whose rows all have weight 0.
        kept = y if sample_weight is None else y[_check_sample_weight(sample_weight, x) != 0]
        self.classes_ = np.unique(kept)
        places = np.minimum(np.searchsorted(self.classes_, y), len(self.classes_) - 1)
        if self.class_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, x) * compute_sample_weight(self.class_weight, y)
        return self._search(x, places, sample_weight, groups, cv)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class for each row of `X`: an array of shape (rows, classes).

        The order of the columns is that of `classes_`.
        """
        inputs = self._inputs(X)  # raises if the estimator is not fitted
        return self.search_.net.probabilities(inputs)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each row of `X`."""
        shares = self.predict_proba(X)
        return self.classes_[np.argmax(shares, axis=1)]


class RegularizedMLPRegressor(RegressorMixin, _Searching):  # type: ignore[misc]
    """A neural-network regressor that finds its own regulariser, by nested cross-validation.

    The arguments and attributes are those of `RegularizedMLPClassifier`, except `class_weight` and `classes_`. The
    score is R² instead of the accuracy.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> from jaxreg.lab import RegularizedMLPRegressor
        >>> x, y = load_diabetes(return_X_y=True)
        >>> net = RegularizedMLPRegressor(methods=["L2"], hidden_layer_sizes=8, epochs=100, repeats=1).fit(x, y)
        >>> net.best_params_["method"], net.outer_score_ > 0.3
        ('L2', True)
    """

    _task = NUMBERS

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None, cv: Any = None) -> Self:
        """Search for a regulariser and fit the model to inputs `X`, of shape (rows, inputs), and numbers `y`.

        `sample_weight` holds one weight per row. `groups` holds one label per row. Rows with the same label stay in the
        same fold.

        `cv` replaces `folds` and `repeats`. It is a number of folds, an iterable of (train, test) index arrays, or a
        splitter of scikit-learn, which is called with `groups`. Successive splits that together test each row exactly
        once form a repeat. Each repeat must have the same number of splits, at least 3. Each split must use every row,
        either for training or for testing.

        The estimator itself is returned.
        """
        x, y = self._learnt(X, y)
        return self._search(x, y, sample_weight, groups, cv)

    def predict(self, X: Any) -> np.ndarray:
        """Return the predicted number for each row of `X`."""
        inputs = self._inputs(X)
        return self.search_.net(inputs)[:, 0]


def _codes(groups: Any, rows: int) -> np.ndarray | None:
    if groups is None:
        return None
    codes = np.unique(column_or_1d(groups), return_inverse=True)[1].ravel()
    if len(codes) != rows:
        raise ValueError(f"`groups` has {len(codes)} values for {rows} rows; expected one value per row")
    return codes


def _check_there(y: Any) -> None:
    # Missing values cannot be sorted among text. scikit-learn raises an error for NaN among numbers.
    cells = np.asarray(y, dtype=object)
    if cells.ndim != 1:
        return
    if missing := [row for row, cell in enumerate(cells) if cell is None or type(cell).__name__ == "NAType"]:
        raise ValueError(
            f"`y` is missing in {len(missing)} of {len(cells)} rows, such as y[{missing[0]}]; expected a class in each "
            "row. Remove the rows without a class"
        )


def cv_results(found: Search) -> dict[str, Any]:
    """Return the scores of all candidates on the outer folds, with the keys of scikit-learn's `cv_results_`.

    Args:
        found: Result of the search.
    """
    scores = found.found.scores
    params = [_params(found, place) for place in range(len(found.tried))]
    mean = scores.mean(axis=1)
    order = np.where(np.isfinite(mean), mean, -np.inf)
    return {
        "params": params,
        "param_method": np.ma.array([each["method"] for each in params]),
        "param_strength": np.ma.array([each["strength"] for each in params], dtype=object),
        **{f"split{place}_test_score": column for place, column in enumerate(scores.T)},
        "mean_test_score": mean,
        "std_test_score": scores.std(axis=1),
        "rank_test_score": np.array([1 + int((order > own).sum()) for own in order], np.int32),
    }


def _params(found: Search, place: int) -> dict[str, Any]:
    return {"method": found.tried[place].method, "strength": found.tried[place].shown}
