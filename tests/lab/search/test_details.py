"""Details on the outer folds: each class, and each column permuted."""

import numpy as np
import pytest
from sklearn.metrics import recall_score, roc_auc_score

from jaxreg.lab.search.details import details
from jaxreg.lab.search.fitted_model import Net
from jaxreg.lab.search.folds import PaddedRows, Split


def linear(kernel):
    kernel = np.asarray(kernel, float)
    scales = {"mean": np.zeros(len(kernel)), "scale": np.ones(len(kernel)), "target": np.array([0.0, 1.0])}
    return Net({"output/kernel": kernel, "output/bias": np.zeros(kernel.shape[1])} | scales)


def table(y):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 4)).astype(np.float32)
    folds = (np.arange(90) % 3)[None]
    w = np.ones(90, np.float32)
    return PaddedRows(x, y(x).astype(np.float32), w, np.ones(4), np.float32(4), folds, np.int32(0))


def test_permuting_a_number_adds_twice_its_variance_to_the_squared_error():
    rows = table(lambda x: 2 * x[:, 0] + x[:, 2] + x[:, 3])
    net = linear([[2.0], [0.0], [1.0], [1.0]])
    splits = [Split(0, fold, fold) for fold in range(3)]
    found = details([net] * 3, splits, rows, [[0], [1], [2, 3]], classes=0, ratio=0.5)
    first, second, both = (each.mean for each in found.importance)
    assert first == pytest.approx(2 * 4, rel=0.4)
    assert second == 0
    assert both == pytest.approx(2 * 2, rel=0.4)
    assert len(found.recall) == len(found.auc) == 0


@pytest.mark.parametrize("classes", [2, 3])
def test_classes_are_judged_as_scikit_learn_does(classes):
    rows = table(lambda x: np.digitize(x[:, 0] + 0.5 * x[:, 1], [-0.3, 0.5][: classes - 1]))
    rng = np.random.default_rng(1)
    nets = [linear(rng.normal(size=(4, classes if classes > 2 else 1)) + 1) for _ in range(3)]
    splits = [Split(0, fold, fold) for fold in range(3)]
    found = details(nets, splits, rows, [], classes=classes, ratio=0.5)
    given, y = np.zeros((90, classes)), rows.y.astype(int)
    for fold, net in enumerate(nets):
        mine = rows.folds[0] == fold
        given[mine] = net.probabilities(rows.x[mine])
    np.testing.assert_allclose(found.recall, recall_score(y, given.argmax(axis=1), average=None))
    np.testing.assert_allclose(found.auc, [roc_auc_score(y == each, given[:, each]) for each in range(classes)])
    assert found.importance == []
