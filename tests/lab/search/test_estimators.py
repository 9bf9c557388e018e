"""The estimators against scikit-learn's own checks, and against their own laws: order, weights, repeats."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    RepeatedKFold,
    ShuffleSplit,
    TimeSeriesSplit,
    check_cv,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from jaxreg.lab import RegularizedMLPClassifier, RegularizedMLPRegressor

pytestmark = pytest.mark.usefixtures("compiled_quickly")

SMALL = {"methods": ("L2",), "quick": True, "hidden_layer_sizes": 8, "epochs": 60, "folds": 3, "repeats": 1}
SMALL |= {"learning_rate": 0.03}


@parametrize_with_checks([RegularizedMLPClassifier(**SMALL), RegularizedMLPRegressor(**SMALL)])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_every_check_of_scikit_learn_passes(estimator, check):
    check(estimator)


def blobs(rows=90):
    return make_classification(rows, 3, n_informative=3, n_redundant=0, class_sep=0.8, random_state=0)


def test_neither_the_order_of_rows_nor_repeats_in_place_of_weights_change_anything():
    x, y = blobs()
    weights = np.random.default_rng(1).integers(0, 3, len(x))
    order = np.random.default_rng(2).permutation(len(x))
    one = RegularizedMLPClassifier(**SMALL).fit(x[order], y[order], sample_weight=weights[order])
    other = RegularizedMLPClassifier(**SMALL).fit(np.repeat(x, weights, axis=0), np.repeat(y, weights))
    np.testing.assert_array_equal(one.predict_proba(x), other.predict_proba(x))
    assert one.cv_results_["mean_test_score"].tolist() == other.cv_results_["mean_test_score"].tolist()


@pytest.mark.parametrize(
    ("cv", "groups"),
    [
        (RepeatedKFold(n_splits=3, n_repeats=2, random_state=1), None),
        (GroupKFold(3), np.repeat(np.arange(9), 10)),
        (list(KFold(3, shuffle=True, random_state=0).split(np.zeros((90, 1)))), None),
        (3, None),
    ],
    ids=["repeats", "groups", "iterable", "number"],
)
def test_folds_are_those_of_a_splitter(cv, groups):
    """The baseline of the most frequent class is judged on the same folds by scikit-learn."""
    x, y = blobs()
    y = np.where(np.arange(90) < 70, y, 1)  # folds differ in their classes
    found = RegularizedMLPClassifier(**SMALL).fit(x, y, groups=groups, cv=cv).search_
    splits = list(check_cv(cv, y, classifier=True).split(x, y, groups))
    expected = [
        np.mean(y[test] == DummyClassifier().fit(x[train], y[train]).predict(x[test])) for train, test in splits
    ]
    assert (found.plan.repeats, found.plan.folds) == (len(splits) // 3, 3)
    np.testing.assert_allclose(sorted(found.constant.score), sorted(expected), rtol=1e-6)


def test_groups_are_routed_through_a_pipeline_as_scikit_learn_routes_them():
    x, y = blobs()
    groups = np.repeat(list("abcdefghi"), 10)
    with config_context(enable_metadata_routing=True):
        net = RegularizedMLPClassifier(**SMALL).set_fit_request(groups=True, cv=True)
        routed = make_pipeline(FunctionTransformer(), net).fit(x, y, groups=groups, cv=GroupKFold(3))
    alone = RegularizedMLPClassifier(**SMALL).fit(x, y, groups=groups, cv=GroupKFold(3))
    np.testing.assert_array_equal(routed[-1].search_.found.losses, alone.search_.found.losses)
    other = RegularizedMLPClassifier(**SMALL).fit(x, y)
    assert not np.array_equal(other.search_.found.losses, alone.search_.found.losses)


@pytest.mark.parametrize(
    ("cv", "sentence"),
    [
        (TimeSeriesSplit(3), "split 1 of `cv` leaves out a row or uses a row twice"),
        (ShuffleSplit(20, random_state=0), "the test rows contain a row that is also in an earlier test split"),
        (KFold(2), "`cv` has 2 folds; expected at least 3"),
        (
            [(np.arange(30, 90), np.arange(30)), (np.r_[0:30, 60:90], np.arange(30, 60))],
            "does not test each row exactly once",
        ),
        (0.3, "`cv` is 0.3; expected a splitter"),
    ],
    ids=["time", "shuffle", "two", "part", "share"],
)
def test_splits_that_a_nested_choice_cannot_use_are_refused(cv, sentence):
    x, y = blobs()
    with pytest.raises(ValueError, match=sentence):
        RegularizedMLPClassifier(**SMALL).fit(x, y, cv=cv)


def test_it_stands_in_pipelines_and_cross_validations_and_can_be_cloned():
    x, y = blobs()
    estimator = make_pipeline(StandardScaler(), RegularizedMLPClassifier(**SMALL))
    scores = cross_val_score(estimator, x, np.array(["no", "yes"])[y], cv=3)
    assert scores.min() > 0.6
    assert clone(estimator[-1]).get_params() == estimator[-1].get_params()


def test_the_results_are_those_of_the_candidates():
    x, y = blobs()
    found = RegularizedMLPClassifier(**SMALL).fit(x, y)
    results = found.cv_results_
    assert results["params"][found.best_index_] == found.best_params_
    assert results["params"][0] == {"method": "none", "strength": None}
    folds = [results[f"split{fold}_test_score"] for fold in range(3)]
    np.testing.assert_allclose(np.mean(folds, axis=0), results["mean_test_score"])
    assert found.best_score_ == results["mean_test_score"][found.best_index_]
    assert 0.5 < found.outer_score_ <= 1


@pytest.mark.parametrize("missing", [None, pd.NA])
def test_classes_that_are_missing_are_named(missing):
    x, y = blobs()
    words = np.array(["no", "yes"], object)[y]
    words[[4, 7]] = missing
    with pytest.raises(ValueError, match=r"`y` is missing in 2 of 90 rows, such as y\[4\]; expected a class"):
        RegularizedMLPClassifier(**SMALL).fit(x, words)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ["pruning"]}, "there is no method 'pruning'; expected one or more of 'none', 'L1'"),
        ({"methods": "L2"}, r"`methods` is 'L2'; expected a list of names, such as \['L2'\]"),
        ({"methods": 3}, r"`methods` is 3; expected a list of names, such as \['L2'\]"),
        ({"quick": "no"}, "`quick` is 'no'; expected True or False"),
        ({"learning_rate": "a"}, "`learning_rate` is 'a'; expected a number above 0"),
        ({"hidden_layer_sizes": 0}, "`hidden` is 0; expected a whole number of at least 1"),
        ({"folds": 2}, "`folds` is 2; expected a whole number of at least 3"),
        ({"epochs": 1.5}, "`epochs` is 1.5; expected a whole number"),
        ({"random_state": -1}, "`seed` is -1; expected a whole number from 0"),
        ({"learning_rate": -1.0}, "`learning_rate` is -1.0; expected a number above 0"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    x, y = blobs()
    with pytest.raises(ValueError, match=message):
        RegularizedMLPClassifier(**SMALL | change).fit(x, y)


def test_sparse_inputs_are_as_dense_ones():
    x, y = blobs()
    x = np.where(np.abs(x) < 0.5, 0, x)
    one, other = (RegularizedMLPClassifier(**SMALL).fit(each, y) for each in (x, sparse.csr_matrix(x)))
    np.testing.assert_array_equal(one.predict_proba(x), other.predict_proba(sparse.csc_matrix(x)))


def test_a_number_that_is_missing_tells_something():
    """Only whether a number is there tells the class."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(90, 2)), rng.integers(0, 2, 90)
    x[y == 1, 0] = np.nan
    net = RegularizedMLPClassifier(**SMALL).fit(x, y)
    assert net.outer_score_ > 0.95
    with pytest.warns(UserWarning, match="input 1: 1 missing cell is replaced by"):
        assert net.predict([[np.nan, 0.0], [0.3, np.nan]]).tolist() == [1, 0]


def test_words_of_a_data_frame_are_inputs():
    rng = np.random.default_rng(0)
    town, size = rng.choice(["Ulm", "Bonn", "None"], 90), rng.normal(size=90)
    frame = pd.DataFrame({"town": town, "size": size, "kind": pd.Categorical(rng.choice(["a", "b"], 90))})
    frame.loc[3, "town"] = None
    y = np.where(town == "None", 1.0, 0.0) + 0.1 * size
    net = RegularizedMLPRegressor(**SMALL).fit(frame, y)
    assert net.outer_score_ > 0.8
    assert net.feature_names_in_.tolist() == ["town", "size", "kind"]
    assert net.notes_ == net.search_.notes
    assert net.notes_[0] == "town: 3 distinct values, one input each; 1 missing cell, marked by an input"
    assert RegularizedMLPRegressor(**SMALL).fit(frame[["size"]], y).notes_ == ()
    found = net.predict(frame)
    assert np.corrcoef(found, y)[0, 1] > 0.9
    np.testing.assert_array_equal(net.predict(frame.iloc[::-1]), found[::-1])
    with pytest.raises(ValueError, match="`X` is a ndarray; expected a data frame, as in `fit`"):
        net.predict(frame.to_numpy())
    with pytest.warns(UserWarning, match="town: 1 missing cell is replaced by"):  # no fold trains and tests on it
        assert GridSearchCV(net, {"methods": [("L2",)]}, cv=2).fit(frame, y).best_score_ > 0.5


def test_weights_of_classes_are_weights_of_their_rows():
    x, y = blobs()
    x, y = x[: 30 + y[30:].argmax()], y[: 30 + y[30:].argmax()]
    y[:5], share = 0, np.random.default_rng(0).integers(1, 3, len(y))
    names = np.array(["no", "yes"])[y]
    counts = np.bincount(y)
    for given, weight in (({"yes": 3}, np.array([1, 3])), ("balanced", len(y) / 2 / counts)):
        one = RegularizedMLPClassifier(**SMALL, class_weight=given).fit(x, names, share)
        other = RegularizedMLPClassifier(**SMALL).fit(x, names, share * weight[y])
        np.testing.assert_allclose(one.predict_proba(x), other.predict_proba(x))
    with pytest.raises(ValueError, match="class_weight"):
        RegularizedMLPClassifier(**SMALL, class_weight="even").fit(x, names)


def test_one_hot_columns_of_a_pipeline_are_inputs():
    words = np.array(["a", "b", "c"])[np.arange(60) % 3]
    pipeline = make_pipeline(OneHotEncoder(), RegularizedMLPClassifier(**SMALL)).fit(words[:, None], words == "b")
    assert pipeline.score(words[:, None], words == "b") == 1
