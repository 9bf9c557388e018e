"""Data: each draw a partition of the rows, standardised on its training rows; real sets against their sources."""

import gzip
import hashlib
import json
import socket

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, make_moons
from sklearn.preprocessing import StandardScaler

from jaxreg.lab import (
    breast_cancer,
    diabetes,
    digits,
    digits_by_row,
    moons,
    openml,
    splits,
    standardised,
    sunspots,
    windows,
)
from jaxreg.lab.datasets import yearly_sunspots

ROWS = np.arange(20.0)


def test_a_draw_shares_out_every_row_once_with_its_target():
    data = splits(ROWS[:, None] * [1, 10], np.arange(20), states=[3, 4, 3], train=8, validation=5)
    assert {part: y.shape for part, (_, y) in data.parts().items()} == {
        "train": (3, 8),
        "test": (3, 7),
        "validation": (3, 5),
    }
    x, y = (np.concatenate(arrays, 1) for arrays in zip(*data.parts().values(), strict=True))
    np.testing.assert_array_equal(np.sort(y, 1), [np.arange(20)] * 3)
    np.testing.assert_array_equal(x, y[..., None] * [1, 10])
    assert y.dtype == np.int32
    assert x.dtype == np.float32
    np.testing.assert_array_equal(y[0], y[2])  # the same state is the same draw
    assert not np.array_equal(y[0], y[1])
    alone = splits(ROWS[:, None] * [1, 10], np.arange(20), states=[4], train=8, validation=5)
    np.testing.assert_array_equal(alone.y_test[0], data.y_test[1])


def test_standardised_is_scikit_learns_scaler_fitted_on_the_training_rows():
    rng = np.random.default_rng(0)
    x, y = np.c_[rng.normal(3, 5, size=(30, 2)), np.full(30, 1e6 / 3)], rng.normal(-7, 2, 30)
    raw = splits(x, y, states=[0, 1], train=12, validation=6)
    found = standardised(raw, targets=True)
    for draw in range(2):
        scaler, target = StandardScaler().fit(raw.x_train[draw].astype(float)), StandardScaler()
        target.fit(raw.y_train[draw, :, None])
        for part, (rows, targets) in found.parts().items():
            theirs, wanted = raw.parts()[part]
            np.testing.assert_allclose(rows[draw, :, :2], scaler.transform(theirs[draw])[:, :2], atol=1e-5)
            np.testing.assert_array_equal(rows[draw, :, 2], 0)
            np.testing.assert_allclose(targets[draw], target.transform(wanted[draw, :, None])[:, 0], atol=1e-5)
    np.testing.assert_array_equal(standardised(raw).y_test, raw.y_test)


def test_digits_are_those_of_scikit_learn():
    source, data = load_digits(), digits([5], train=1000, validation=300)
    order = np.random.default_rng(5).permutation(1797)
    np.testing.assert_array_equal(data.x_train[0, :, :, :, 0] * 16, source.images[order[:1000]])
    np.testing.assert_array_equal(data.y_test[0], source.target[order[1300:]])
    rows = digits_by_row([5], train=1000, validation=300)
    assert rows.x_validation.shape == (1, 300, 8, 8)
    np.testing.assert_array_equal(rows.x_test, data.x_test[..., 0])


def test_tables_are_those_of_scikit_learn():
    x, y = load_breast_cancer(return_X_y=True)
    data = breast_cancer([1])
    order = np.random.default_rng(1).permutation(len(x))
    np.testing.assert_allclose(
        data.x_test[0], StandardScaler().fit(x[order[:300]]).transform(x[order])[300:], rtol=1e-3, atol=1e-4
    )
    np.testing.assert_array_equal(data.y_test[0], y[order[300:]])
    x, y = load_diabetes(return_X_y=True)
    data = diabetes([1])
    order = np.random.default_rng(1).permutation(len(x))
    np.testing.assert_allclose(
        data.y_test[0], (y[order] - y[order[:250]].mean())[250:] / y[order[:250]].std(), atol=1e-4
    )
    assert np.corrcoef(data.x_train[0, :, 2], x[order[:250], 2])[0, 1] > 0.9999


def test_sunspots_are_the_published_numbers():
    years, numbers = yearly_sunspots()
    np.testing.assert_array_equal(years, np.arange(1700, 2009))
    published = {1700: 5, 1712: 0, 1957: 190.2, 2008: 2.9}  # the last, the minimum of Maunder and the highest
    assert {year: numbers[years == year][0] for year in published} == published
    assert years[np.argmax(numbers)] == 1957


def test_sunspots_are_foretold_from_the_years_before():
    data, numbers = sunspots(range(6), length=11, train=100, test=40, validation=20), yearly_sunspots()[1]
    starts = set()
    for draw in range(6):
        start = np.random.default_rng(draw).integers(len(numbers) - 171 + 1)
        starts.add(start)
        span = numbers[start : start + 171]
        scaled = (span - span[:111].mean()) / span[:111].std()
        np.testing.assert_allclose(data.x_train[draw, 0, :, 0], scaled[:11], atol=1e-6)
        np.testing.assert_allclose(data.y_train[draw], scaled[11:111], atol=1e-6)
        np.testing.assert_allclose(data.y_validation[draw], scaled[111:131], atol=1e-6)
        np.testing.assert_allclose(data.y_test[draw], scaled[131:], atol=1e-6)
        np.testing.assert_allclose(data.x_test[draw, -1, :, 0], scaled[-12:-1], atol=1e-6)
    assert len(starts) > 3


def description(data_id, target):
    return {
        "id": str(data_id), "name": "tiny", "description": "Three rows.", "version": "1",
        "format": "ARFF", "status": "active", "licence": "Public",
        "url": f"https://www.openml.org/data/v1/download/{data_id}/tiny.arff", "file_id": str(data_id),
        "default_target_attribute": target, "visibility": "public",
        "md5_checksum": hashlib.md5(ARFF).hexdigest(),
    }  # fmt: skip


ARFF = b"""@RELATION tiny
@ATTRIBUTE size REAL
@ATTRIBUTE colour {red,blue}
@ATTRIBUTE kind {b,a}
@DATA
1.5,blue,b
2.5,red,a
?,red,b
"""
FEATURES = [("size", "numeric", []), ("colour", "nominal", ["red", "blue"]), ("kind", "nominal", ["b", "a"])]


def kept(folder, data_id, target):
    """What scikit-learn keeps of a data set that it has fetched."""
    features = [
        {"index": str(i), "name": name, "data_type": kind, "nominal_value": values,
         "is_target": str(name == target).lower(), "is_ignore": "false", "is_row_identifier": "false",
         "number_of_missing_values": "0"}
        for i, (name, kind, values) in enumerate(FEATURES)
    ]  # fmt: skip
    answers = {
        f"api/v1/json/data/{data_id}": json.dumps({"data_set_description": description(data_id, target)}).encode(),
        f"api/v1/json/data/features/{data_id}": json.dumps({"data_features": {"feature": features}}).encode(),
        f"api/v1/json/data/qualities/{data_id}": json.dumps({"data_qualities": {"quality": []}}).encode(),
        f"data/v1/download/{data_id}/tiny.arff": ARFF,
    }
    for path, answer in answers.items():
        file = folder / "openml" / "openml.org" / f"{path}.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.compress(answer))


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_openml_reads_what_was_fetched_before(tmp_path, no_network):
    kept(tmp_path, 7, "kind")
    x, y = openml(7, tmp_path)
    np.testing.assert_array_equal(x, np.array([[1.5, 1], [2.5, 0], [np.nan, 0]], np.float32))
    np.testing.assert_array_equal(y, [1, 0, 1])
    assert (x.dtype, y.dtype) == (np.float32, np.int32)
    kept(tmp_path, 8, "size")
    y = openml(8, tmp_path)[1]
    np.testing.assert_array_equal(y, np.array([1.5, 2.5, np.nan], np.float32))


@pytest.mark.parametrize("rows", [2, 7, 100, 4031])
def test_moons_are_scikit_learns_to_the_last_bit(rows):
    data = moons([0, 7], train=1, test=rows - 1, noise=0.3)
    for draw, state in enumerate((0, 7)):
        points, labels = make_moons(rows, noise=0.3, random_state=state)
        x, y = (np.concatenate([part[each][draw] for part in data.parts().values()]) for each in (0, 1))
        np.testing.assert_array_equal(x, points.astype(np.float32))
        np.testing.assert_array_equal(y, labels)


def test_openml_without_a_network_says_so(tmp_path, no_network):
    with pytest.raises(ConnectionError, match=r"data set 61 is not in .*could not be reached .*copy its folder"):
        openml(61, tmp_path)


BAD = {
    "no draw": (lambda: splits(ROWS, ROWS, [], 5), "`splits`: `states` is empty; expected at least one seed"),
    "no test": (lambda: splits(ROWS, ROWS, [0], 15, 5), r"train \+ validation is 20, and `x` has 20 rows; expected"),
    "no train": (lambda: splits(ROWS, ROWS, [0], 0), "`splits`: train is 0; expected a number of at least 1"),
    "rows": (lambda: splits(ROWS, ROWS[:3], [0], 2), "`x` has 20 rows and `y` has 3; expected"),
    "digits": (lambda: digits([0], train=1797), r"train \+ validation is 1797, and `x` has 1797 rows"),
    "moons": (lambda: moons([0], train=0), "`moons`: train is 0; expected a number of at least 1"),
    "sunspots": (lambda: sunspots([0], train=300), "train .* test is 400 years; expected at most 309"),
    "no window": (lambda: sunspots([0], train=0), "`sunspots`: train is 0; expected a number of at least 1"),
    "window": (lambda: windows(ROWS, 20), r"`windows`: length is 20 and the series has shape \(20,\)"),
    "matrix": (lambda: windows(ROWS[:, None], 2), "expected a one-dimensional series"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_draws_are_refused(case):
    make, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        make()
