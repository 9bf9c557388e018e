"""The mean of nets: as the model, on the folds that none of its nets has seen, and in files."""

import dataclasses
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.tables import a_model

from jaxreg.lab import CLASSES, NUMBERS
from jaxreg.lab.search import Plan, search, to_flax, to_onnx
from jaxreg.lab.search.candidates import Candidate, Knobs
from jaxreg.lab.search.codings import learn
from jaxreg.lab.search.fitted_model import LEAST, Net, Nets, Trees, load, save
from jaxreg.lab.search.folds import PaddedRows, Setting, Split, nested_splits, searched_task, train
from jaxreg.lab.search.means import mean_net, on_outer_folds, scales

pytestmark = pytest.mark.usefixtures("compiled_quickly")

ROWS, INPUTS = 40, 3
TRIED = [Candidate("none", None, 0.0, Knobs()), Candidate("L2", 0.1, 0.1, Knobs(l2=0.1))]


@pytest.fixture(scope="module", params=[0, 2, 3], ids=["numbers", "two classes", "three classes"])
def trained(request):
    """Two repeats of three folds of 40 rows, padded to 48 rows and 7 inputs; two hidden layers."""
    classes, rng = request.param, np.random.default_rng(0)
    x, w = rng.normal(2, 3, (48, 7)), (np.arange(48) < ROWS) * rng.integers(1, 4, 48)
    x[:, INPUTS:] = 0
    y = rng.integers(0, classes, 48) if classes else rng.normal(4, 3, 48)
    dealt = np.where(w > 0, rng.integers(0, 3, (2, 48)), -2).astype(np.int32)
    kinds = np.float32, np.int32 if classes > 2 else np.float32, np.float32, np.float32
    numbers = (each.astype(kind) for each, kind in zip((x, y, w, np.arange(7) != 1), kinds, strict=True))
    table = PaddedRows(*numbers, np.float32(INPUTS), dealt, np.int32(3))
    setting = Setting(searched_task(classes), classes if classes > 2 else 1, (5, 4), epochs=8, learning_rate=0.02)
    parts = nested_splits(2, 3)
    lanes = train(setting, table, TRIED, parts)
    outputs = np.array([[by_hand(setting, table, lanes, c, at, part) for at, part in enumerate(parts)] for c in (0, 1)])
    return setting, table, parts, lanes, outputs


def by_hand(setting, table, lanes, candidate, at, part):
    """What one net gives for all rows: probabilities, or numbers."""
    x, y, w = (np.asarray(each, np.float64) for each in (table.x, table.y, table.w))
    fold = table.folds[part.repeat]
    rows = w * (fold != part.test) * (fold != part.validation)
    layers = [
        [lanes[f"params/{name}/{each}"][candidate, at] for each in ("kernel", "bias")]
        for name in ("hidden", "hidden_2", "output")
    ]
    mean = np.average(x, axis=0, weights=rows)
    spread = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=rows))
    units = (x - mean) / np.where((table.scaled > 0) & (spread > 1e-3), spread, 1)
    for kernel, bias in layers[:-1]:
        units = np.maximum(units @ kernel + bias, 0)
    out = units @ layers[-1][0] + layers[-1][1]
    if not setting.task.classes:
        middle = np.average(y, weights=rows)
        return middle + np.sqrt(np.average((y - middle) ** 2, weights=rows)) * out
    if setting.outputs == 1:
        out = np.concatenate([0 * out, out], axis=1)
    shares = np.exp(out)
    return shares / shares.sum(axis=1, keepdims=True)


def test_an_outer_fold_judges_the_mean_of_the_nets_that_have_not_seen_it(trained):
    setting, table, parts, lanes, outputs = trained
    found = on_outer_folds(setting, table, parts, [scales(setting, table, part) for part in parts], lanes)
    outer = [part for part in parts if part.test == part.validation >= 0]
    for fold, part in enumerate(outer):
        unseen = [at for at, p in enumerate(parts) if p.repeat == part.repeat and part.test in (p.test, p.validation)]
        assert len(unseen) == 3  # its own training, and one for each of the two folds inside
        mine = table.folds[part.repeat] == part.test
        y, w = table.y[mine], table.w[mine]
        right = np.arange(len(y)), y.astype(int)
        for place in (0, 1):
            each = outputs[place, unseen][:, mine]
            mean = each.mean(axis=0)
            if setting.task.classes:
                loss = np.average(-np.log(mean[right]), weights=w)
                assert found.score[place, fold] == pytest.approx(np.average(mean.argmax(axis=1) == y, weights=w))
                gap = np.average((mean * np.log(mean / each)).sum(axis=2).mean(axis=0), weights=w)  # Kullback-Leibler
            else:
                loss = np.average((mean[:, 0] - y) ** 2, weights=w)
                gap = np.mean([np.average((net[:, 0] - y) ** 2, weights=w) for net in each]) - loss
            assert found.loss[place, fold] == pytest.approx(loss, rel=1e-4)
            assert found.ambiguity[place, fold] == pytest.approx(gap, rel=1e-3, abs=1e-6)


def test_the_model_is_the_mean_of_the_nets_of_all_rows_and_of_all_but_each_fold(trained):
    setting, table, parts, lanes, outputs = trained
    arrays = mean_net(setting, parts, [scales(setting, table, part) for part in parts], lanes, 1)
    net = Net(arrays | {"mean": np.zeros(7), "scale": np.ones(7), "target": np.array([0.0, 1.0])})
    assert net.nets == 7
    wanted = outputs[1, [at for at, part in enumerate(parts) if part.test == part.validation]].mean(axis=0)
    given = net.probabilities(table.x) if setting.task.classes else net(table.x)
    np.testing.assert_allclose(given, wanted, rtol=1e-4, atol=1e-5)


def test_nets_that_diverged_are_left_out(trained):
    setting, table, parts, lanes, _ = trained
    broken = lanes | {"diverged_at": lanes["diverged_at"].copy()}
    broken["diverged_at"][1, parts.index(Split(0, 1, 1))] = 3
    scaled = [scales(setting, table, part) for part in parts]
    assert len(mean_net(setting, parts, scaled, broken, 1)["output/bias"]) == 6


def test_the_estimate_is_that_of_the_mean_and_better_than_that_of_single_nets():
    """Where nets overfit noise, the squared error of a mean is less than the mean of their squared errors."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 8))
    plan = Plan(methods=("L2",), quick=True, hidden=(16,), epochs=200, folds=3, repeats=1)
    found = search(x, x[:, 0] + rng.normal(size=60), NUMBERS, plan)
    picked = found.outer.loss[list(found.found.picks), range(3)]
    assert found.found.loss.mean == pytest.approx(picked.mean())
    assert found.found.score.mean == pytest.approx((1 - picked / found.spread[3:6]).mean())
    assert found.found.loss_gain.mean == pytest.approx((found.outer.loss[0] - picked).mean())
    np.testing.assert_array_equal(found.found.losses, found.outer.loss)
    assert (found.outer.loss[0] < found.lanes["test_loss"][0, 3:6, -1]).all()
    assert found.net.nets == 4


def test_files_hold_one_net_or_several_of_any_layers(tmp_path):
    model = a_model()
    rng, arrays = np.random.default_rng(0), dict(model.net.arrays)
    deeper = {"hidden_2/kernel": rng.normal(size=(3, 4)), "hidden_2/bias": rng.normal(size=4)}
    deeper |= {"output/kernel": rng.normal(size=(4, 1))}
    several = {name: np.stack([array, 2 * array]) if "/" in name else array for name, array in arrays.items()}
    x = rng.normal(size=(5, 7))
    for case, held in {"one": arrays, "deeper": arrays | deeper, "several": several}.items():
        file = tmp_path / f"{case}.safetensors"
        save(file, dataclasses.replace(model, net=Net(held)))
        again = load(file).net
        np.testing.assert_array_equal(again(x), Net(held)(x))
        np.testing.assert_array_equal(again.probabilities(x), Net(held).probabilities(x))
        written = b'"format":"' + (b"2" if case == "one" else b"3") + b'"'
        assert written in file.read_bytes()
    single = [Net({k: v[at] if "/" in k else v for k, v in several.items()}) for at in (0, 1)]
    np.testing.assert_allclose(
        Net(several).probabilities(x), np.mean([net.probabilities(x) for net in single], axis=0), rtol=1e-6
    )


def test_files_hold_several_kinds_of_nets(tmp_path):
    model = a_model()
    rng, arrays = np.random.default_rng(0), dict(model.net.arrays)
    deeper = {"hidden_2/kernel": rng.normal(size=(3, 4)), "hidden_2/bias": rng.normal(size=4)}
    members = (Net(arrays), Net(arrays | deeper | {"output/kernel": rng.normal(size=(4, 1))}))
    save(tmp_path / "model.safetensors", dataclasses.replace(model, net=Nets(members)))
    again = load(tmp_path / "model.safetensors").net
    x = rng.normal(size=(5, 7))
    np.testing.assert_allclose(again(x), (members[0](x) + members[1](x)) / 2)
    each = [net.probabilities(x) for net in members]
    np.testing.assert_allclose(again.probabilities(x), (each[0] + each[1]) / 2)
    assert again.nets == 2


@pytest.mark.parametrize(("task", "outputs", "nets"), [(NUMBERS, 1, 2), (CLASSES, 1, 0), (CLASSES, 3, 2)])
def test_a_flax_module_predicts_as_the_model_does(task, outputs, nets):
    rng = np.random.default_rng(0)
    sizes = {"hidden": (4, 5), "hidden_2": (5, 3), "output": (3, outputs)}
    several = (nets,) if nets else ()
    arrays = {f"{name}/kernel": rng.normal(size=(*several, *size)) for name, size in sizes.items()}
    arrays |= {f"{name}/bias": rng.normal(size=(*several, size[1])) for name, size in sizes.items()}
    target = [2.0, 3.0] if task is NUMBERS else [0.0, 1.0]
    net = Net(arrays | {"mean": rng.normal(size=4), "scale": rng.uniform(1, 2, 4), "target": np.array(target)})
    module, variables = to_flax(SimpleNamespace(net=net, kept="nets", setting=SimpleNamespace(task=task)))
    x = rng.normal(size=(6, 4))
    expected = net.probabilities(x) if task is CLASSES else net(x)
    np.testing.assert_allclose(module.apply(variables, x), expected, rtol=1e-5, atol=1e-5)


def test_trees_are_no_flax_module():
    arrays = {"trees/root": np.zeros(1, int), "trees/left": np.full(1, -1), "mean": np.zeros(1), "scale": np.ones(1)}
    with pytest.raises(ValueError, match="the model of this search is of type forest; expected networks"):
        to_flax(SimpleNamespace(net=Trees(arrays), kept="forest"))


@pytest.mark.parametrize(("task", "outputs", "nets"), [(NUMBERS, 1, 2), (CLASSES, 1, 0), (CLASSES, 3, 2)])
@pytest.mark.parametrize("kinds", [1, 2])
def test_an_onnx_graph_predicts_as_the_model_does(task, outputs, nets, kinds):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(0)
    several, members = ((nets,) if nets else ()), []
    target = [2.0, 3.0] if task is NUMBERS else [0.0, 1.0]
    given = rng.normal(size=(60, 4)).astype(np.float32)
    given[:, 3] = rng.integers(0, 2, 60)
    for at in range(kinds):
        scales = {"mean": rng.normal(size=4), "scale": rng.uniform(1, 2, 4), "target": np.array(target)}
        inputs = (given - scales["mean"]) / scales["scale"]
        maps = learn(inputs, np.ones(60), np.array([True, True, True, False])) if at else {}
        sizes = {"hidden": (len(maps.get("source", range(4))), 5), "hidden_2": (5, 3), "output": (3, outputs)}
        arrays = {f"{name}/kernel": rng.normal(size=(*several, *size)) for name, size in sizes.items()}
        arrays |= {f"{name}/bias": rng.normal(size=(*several, size[1])) for name, size in sizes.items()}
        members.append(Net(arrays | scales | {f"coding/{name}": array for name, array in maps.items()}))
    net = members[0] if kinds == 1 else Nets(tuple(members))
    model = to_onnx(SimpleNamespace(net=net, kept="nets", setting=SimpleNamespace(task=task)))
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    beyond = np.concatenate([given, 10 * given])
    (found,) = session.run(None, {"inputs": beyond})
    expected = net.probabilities(beyond) if task is CLASSES else net(beyond)
    assert [each.name for each in session.get_outputs()] == ["probabilities" if task is CLASSES else "prediction"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_without_onnx_it_is_asked_for_and_trees_are_no_graph(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"to_onnx needs onnx\. Run: pip install 'jaxreg\[onnx\]'"):
        to_onnx(SimpleNamespace(net=None, kept="nets"))
    monkeypatch.setitem(sys.modules, "onnx", SimpleNamespace())
    with pytest.raises(ValueError, match="the model of this search is of type forest; expected networks"):
        to_onnx(SimpleNamespace(net=Trees({}), kept="forest"))


@pytest.mark.parametrize("logit", [-800.0, 800.0])
def test_no_class_is_impossible(logit):
    arrays = a_model().net.arrays | {"output/kernel": np.zeros((3, 1)), "output/bias": np.array([logit])}
    shares = Net(arrays).probabilities(np.zeros((1, 7)))
    assert shares.min() >= LEAST / 2
    assert shares.max() < 1
    assert shares.sum() == pytest.approx(1)


@pytest.mark.parametrize(("hidden", "kernels"), [(6, [(2, 6), (6, 1)]), ((6, 5), [(2, 6), (6, 5), (5, 1)])])
def test_hidden_layers_are_as_asked(hidden, kernels):
    rng = np.random.default_rng(0)
    plan = Plan(methods=("MaxNorm", "L1"), quick=True, hidden=hidden, epochs=4, folds=3, repeats=1)
    found = search(rng.normal(size=(30, 2)), rng.integers(0, 2, 30), CLASSES, plan)
    arrays = found.net.arrays
    assert [array.shape[1:] for name, array in arrays.items() if name.endswith("kernel")] == kernels


@pytest.mark.parametrize("hidden", [(), "32", (32, 0), (8, 2.5)])
def test_hidden_layers_that_are_none_are_refused(hidden):
    with pytest.raises(ValueError, match=r"^`?hidden`? is"):
        Plan(hidden=hidden)
