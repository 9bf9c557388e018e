"""The search as scikit-learn estimators: nets that find their own regulariser inside `fit`."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import assert_all_finite, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from jaxreg.lab.search.candidates import METHODS
from jaxreg.lab.search.inputs import Frame, Numbers
from jaxreg.lab.search.plan import Plan
from jaxreg.lab.search.run import Search, search
from jaxreg.lab.tabular.frames import has_words, is_frame
from jaxreg.lab.training.tasks import CLASSES, NUMBERS, Task

_NUMBERS: dict[str, Any] = {"dtype": np.float64, "accept_sparse": ("csr", "csc"), "ensure_all_finite": "allow-nan"}
"""The numbers that an estimator takes."""


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

    def _search(self, x: np.ndarray, y: np.ndarray, sample_weight: Any, groups: Any) -> Self:
        weights = _check_sample_weight(sample_weight, x, ensure_non_negative=True)
        state = self.random_state
        seed = state if isinstance(state, int | np.integer) else check_random_state(state).randint(2**31 - 1)
        if isinstance(self.methods, str) or (self.methods is not None and not np.iterable(self.methods)):
            raise ValueError(f"methods is {self.methods!r}; expected several names, such as ['L2']")
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
        found = search(x, y, self._task, plan, weights=weights, groups=_codes(groups, len(x)))
        self.search_: Search = found
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

    def _learnt(self, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        # The inputs of the nets, and the target as an array.
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
                raise ValueError(f"X is a {type(x).__name__}; expected a data frame as in fit")
            validate_data(self, x, skip_check_array=True, reset=False)
            return self.inputs_(x)
        return self.inputs_(validate_data(self, x, reset=False, **_NUMBERS))


class RegularizedMLPClassifier(ClassifierMixin, _Searching):  # type: ignore[misc]
    """A classifier, a mean of nets of ReLU units, that finds its own regulariser.

    Every regulariser is tried at every strength on every fold of a repeated nested cross-validation. The choice follows
    the rule of one standard error. The model is the mean of the nets of the choice that were trained on all rows and on
    all but one fold. Inputs are standardised inside each fold. The order of the rows changes nothing. A row given twice
    is the same as one of weight 2, unless most inputs of a table repeat.

    Inputs may be sparse. Numbers may be missing: they get the median, and an input more says where. Columns of a data
    frame that hold words are encoded as those of a file are.

    Args:
        methods: Names out of `jaxreg.lab.search.candidates.METHODS`; None for all of them.
        hidden_layer_sizes: Units of each hidden layer, a number for one layer; None for 32, and for another net on
            coded numbers beside it (`jaxreg.lab.search.candidates.OTHER`), unless the search is quick.
        epochs: Passes over the rows; None for as many as see 120,000 rows, 20 at least and 500 at most.
        learning_rate: Learning rate of Adam for three quarters of the steps; then it falls to 0.
        folds: Number of folds of the cross-validation.
        repeats: Number of times that the rows are dealt to folds.
        quick: Whether to try every other strength only.
        random_state: A whole number, a `numpy.random.RandomState`, or None for a random seed.

    Attributes:
        best_params_: `method` and `strength` (a limit for MaxNorm, epochs for early stopping) of the net that is kept.
        best_score_: Its mean score over the outer folds, which it was chosen by: too optimistic.
        outer_score_: The mean score of the whole procedure on outer folds that neither chose nor trained: the score to
            expect on new rows.
        outer_error_: Its standard error.
        cv_results_: Each candidate's `params` and its score on each outer fold, as scikit-learn's searches have them.
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

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> Self:
        """Search on rows `X`, of shape (rows, inputs), with classes `y`; each counts `sample_weight`, 1 by default.

        Rows of equal `groups` stay in one fold of the search.
        """
        _check_there(y)
        x, y = self._learnt(X, y)
        check_classification_targets(y)
        # A class whose rows all have weight 0 is not there.
        kept = y if sample_weight is None else y[_check_sample_weight(sample_weight, x) != 0]
        self.classes_ = np.unique(kept)
        places = np.minimum(np.searchsorted(self.classes_, y), len(self.classes_) - 1)
        return self._search(x, places, sample_weight, groups)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each of `classes_`, for each row of `X`."""
        inputs = self._inputs(X)  # refuses an estimator that is not fitted
        return self.search_.net.probabilities(inputs)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each row of `X`."""
        shares = self.predict_proba(X)
        return self.classes_[np.argmax(shares, axis=1)]


class RegularizedMLPRegressor(RegressorMixin, _Searching):  # type: ignore[misc]
    """A regressor, a mean of nets of ReLU units, that finds its own regulariser.

    Arguments and attributes are those of `RegularizedMLPClassifier`; the score is R².

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> from jaxreg.lab import RegularizedMLPRegressor
        >>> x, y = load_diabetes(return_X_y=True)
        >>> net = RegularizedMLPRegressor(methods=["L2"], hidden_layer_sizes=8, epochs=100, repeats=1).fit(x, y)
        >>> net.best_params_["method"], net.outer_score_ > 0.3
        ('L2', True)
    """

    _task = NUMBERS

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> Self:
        """Search on rows `X`, of shape (rows, inputs), with numbers `y`; each counts `sample_weight`, 1 by default.

        Rows of equal `groups` stay in one fold of the search.
        """
        x, y = self._learnt(X, y)
        return self._search(x, y, sample_weight, groups)

    def predict(self, X: Any) -> np.ndarray:
        """Return the number of each row of `X`."""
        inputs = self._inputs(X)
        return self.search_.net(inputs)[:, 0]


def _codes(groups: Any, rows: int) -> np.ndarray | None:
    if groups is None:
        return None
    codes = np.unique(column_or_1d(groups), return_inverse=True)[1].ravel()
    if len(codes) != rows:
        raise ValueError(f"groups has {len(codes)} values for {rows} rows; expected one for each")
    return codes


def _check_there(y: Any) -> None:
    # What is missing can't be sorted among words; NaN in numbers is refused by scikit-learn.
    cells = np.asarray(y, dtype=object)
    if cells.ndim != 1:
        return
    if missing := [row for row, cell in enumerate(cells) if cell is None or type(cell).__name__ == "NAType"]:
        raise ValueError(
            f"y has no class in {len(missing)} of {len(cells)} rows, the first of them y[{missing[0]}]; expected one "
            "in each: leave those rows out"
        )


def cv_results(found: Search) -> dict[str, Any]:
    """Return the scores of all candidates on the outer folds, in the form of `GridSearchCV.cv_results_`.

    Args:
        found: The search.
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
