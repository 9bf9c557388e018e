"""Weights in and out: layouts against Keras's outputs, files read back bit for bit, and by other readers."""

import inspect
import json
import re
import struct
from pathlib import Path
from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx as framework
from helpers.reference import keras_figures, keras_trace

from jaxreg.lab import CNN, LSTM, MLP, linen, nnx, weights


class Cells(nn.Module):
    """Two layers of Flax Linen's own cells, then a linear one."""

    cell: type
    name_of: str
    units: tuple = (5, 4)

    @nn.compact
    def __call__(self, x):
        for number, units in enumerate(self.units):
            name = f"{self.name_of}_{number}" if number else self.name_of
            x = nn.RNN(self.cell(units, name=name))(x)
        return nn.Dense(2, name="output")(x[:, -1])


CELLS = {
    "LSTMCell": ("lstm", nn.LSTMCell),
    "OptimizedLSTMCell": ("lstm", nn.OptimizedLSTMCell),
    "GRUCell": ("gru", nn.GRUCell),
}


@pytest.mark.parametrize("name", CELLS)
def test_cells_of_flax_with_weights_of_keras_have_its_outputs(name):
    network, cell = CELLS[name]
    x, y, theirs = keras_figures(network)
    model = linen(Cells(cell, network), x.shape[1:])
    params = weights.from_keras(jax.eval_shape(model.init, jax.random.key(0)), theirs)
    np.testing.assert_allclose(model.apply(params, x), y, rtol=1e-5, atol=1e-6)
    back = weights.to_keras(params)
    again = weights.from_keras(params, back)
    chex.assert_trees_all_equal(params, again)
    for path, theirs_now in theirs.items():
        own = path.removeprefix(f"network_{network}/").replace(f"{network}_cell/", "")
        if name == "GRUCell" and own.endswith("/bias") and own != "output/bias":
            # Flax keeps the sum of the two biases of a gate.
            np.testing.assert_allclose(back[own].sum(0), theirs_now.sum(0), rtol=1e-6)
        else:
            np.testing.assert_array_equal(back[own], theirs_now)


class NNXCells(framework.Module):
    """The same in Flax NNX."""

    def __init__(self, cell, name_of, units, rngs):
        sizes = [3, *units]
        self.names = [f"{name_of}_{number}" if number else name_of for number in range(len(units))]
        for name, inputs, outputs in zip(self.names, sizes, units, strict=False):
            setattr(self, name, framework.RNN(cell(inputs, outputs, rngs=rngs)))
        self.output = framework.Linear(sizes[-1], 2, rngs=rngs)

    def __call__(self, x):
        for name in self.names:
            x = getattr(self, name)(x)
        return self.output(x[:, -1])


def filled_nnx(cell, name_of, units, theirs):
    model = NNXCells(cell, name_of, units, framework.Rngs(0))
    params = weights.from_keras(framework.state(model, framework.Param), theirs)
    framework.update(model, params)
    return model, params


@pytest.mark.parametrize("cell", [framework.LSTMCell, framework.OptimizedLSTMCell])
def test_an_lstm_of_nnx_with_weights_of_keras_has_its_outputs(cell):
    x, y, theirs = keras_figures("lstm")
    model, params = filled_nnx(cell, "lstm", (5, 4), theirs)
    np.testing.assert_allclose(model(x), y, rtol=1e-5, atol=1e-6)
    back = weights.to_keras(params)
    for path, array in theirs.items():
        own = path.removeprefix("network_lstm/").replace("lstm_cell/", "")
        np.testing.assert_array_equal(back[own], array)


def test_both_ways_of_nnx_with_weights_of_keras_have_its_outputs():
    x, y, theirs = keras_figures("lstm_both")

    class Both(framework.Module):
        def __init__(self, rngs):
            cells = iter([framework.RNN(framework.OptimizedLSTMCell(n, m, rngs=rngs)) for n, m in SIZES])
            self.lstm = framework.Bidirectional(next(cells), next(cells))
            self.lstm_1 = framework.Bidirectional(next(cells), next(cells))
            self.output = framework.Linear(8, 2, rngs=rngs)

        def __call__(self, x):
            last = self.lstm_1(self.lstm(x))  # the way back ends at the first step
            return self.output(jnp.concatenate([last[:, -1, :4], last[:, 0, 4:]], axis=-1))

    SIZES = [(3, 5), (3, 5), (10, 4), (10, 4)]
    model = Both(framework.Rngs(0))
    framework.update(model, weights.from_keras(framework.state(model, framework.Param), theirs))
    np.testing.assert_allclose(model(x), y, rtol=1e-5, atol=1e-6)


class Named(nn.Module):
    """Cells of names that begin as the halves of a bidirectional layer do, one after the other."""

    names: tuple

    @nn.compact
    def __call__(self, x):
        for name in self.names:
            x = nn.RNN(nn.OptimizedLSTMCell(4, name=name))(x)
        return nn.Dense(2, name="output")(x[:, -1])


class Outer(nn.Module):
    names: tuple

    @nn.compact
    def __call__(self, x):
        return Named(self.names, name="net")(x)


@pytest.mark.parametrize(
    "names", [("forward_1", "forward_2"), ("backward_a", "backward_b", "forward_a"), ("forward_1",)]
)
@pytest.mark.parametrize("module", [Named, Outer])
def test_cells_that_are_no_halves_keep_their_names_and_all_their_weights(names, module):
    model = linen(module(names), (6, 3))
    params = model.init(jax.random.key(0))
    found = weights.to_keras(params)
    start = "net/" if module is Outer else ""
    parts = ("kernel", "recurrent_kernel", "bias")
    assert {*found} == {f"{start}{name}/{part}" for name in names for part in parts} | {
        f"{start}output/{part}" for part in ("kernel", "bias")
    }
    assert sum(array.size for array in found.values()) == sum(  # a cell of Linen has one bias per gate, as Keras
        leaf.size for leaf in jax.tree.leaves(params)
    )
    theirs = {  # as Keras calls them
        re.sub(r"((?:for|back)ward_\w)/", r"\1/lstm_cell/", f"sequential/{path}"): array
        for path, array in found.items()
    }
    chex.assert_trees_all_equal(weights.from_keras(params, theirs), params)


def test_two_weights_of_one_name_are_refused_by_to_keras():
    cell = jax.tree.map(jnp.asarray, linen(Named(("forward_rnn", "backward_rnn")), (6, 3)).init(jax.random.key(0)))
    own = {
        "lstm": {name: cell[name] for name in ("forward_rnn", "backward_rnn")} | {"forward": {"kernel": jnp.ones(2)}}
    }
    with pytest.raises(
        ValueError, match=r"cell 'lstm/forward_rnn' and another .* called lstm/forward/kernel in .*Rename"
    ):
        weights.to_keras(own)
    del own["lstm"]["forward"]
    assert {path.rpartition("/")[0] for path in weights.to_keras(own)} == {"lstm/forward", "lstm/backward"}


def keras_gru(x, kernel, recurrent, bias):
    """Keras's GRU with `reset_after=True`, in double precision."""
    sigmoid, state = lambda a: 1 / (1 + np.exp(-a)), np.zeros((len(x), len(recurrent)))
    for now in np.swapaxes(x, 0, 1):
        own_z, own_r, own_n = np.split(now @ kernel + bias[0], 3, axis=-1)
        state_z, state_r, state_n = np.split(state @ recurrent + bias[1], 3, axis=-1)
        z, r = sigmoid(own_z + state_z), sigmoid(own_r + state_r)
        state = z * state + (1 - z) * np.tanh(own_n + r * state_n)
    return state


def keras_simple(x, kernel, recurrent, bias):
    state = np.zeros((len(x), len(recurrent)))
    for now in np.swapaxes(x, 0, 1):
        state = np.tanh(now @ kernel + state @ recurrent + bias)
    return state


@pytest.mark.parametrize("way", ["linen", "nnx"])
@pytest.mark.parametrize(("name", "gates"), [("gru", 3), ("simple_rnn", 1)])
def test_other_cells_follow_the_formula_of_keras(name, gates, way):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4, 6, 3))
    shapes = {"kernel": (3, 5 * gates), "recurrent_kernel": (5, 5 * gates), "bias": (2, 15) if name == "gru" else (5,)}
    own = {weight: rng.normal(size=shape) for weight, shape in shapes.items()}
    if name == "gru" and way == "nnx":
        own["bias"][1, 10:] = 0
    output = {"output/kernel": rng.normal(size=(5, 2)), "output/bias": rng.normal(size=2)}
    theirs = {f"network/{name}/{name}_cell/{weight}": array for weight, array in own.items()}
    theirs |= {f"network/{path}": array for path, array in output.items()}
    expected = {"gru": keras_gru, "simple_rnn": keras_simple}[name](x, *own.values())
    expected = expected @ output["output/kernel"] + output["output/bias"]
    narrow = jnp.asarray(x, jnp.float32)
    if way == "nnx":
        cell = {"gru": framework.GRUCell, "simple_rnn": framework.SimpleCell}[name]
        model, params = filled_nnx(cell, name, (5,), theirs)
        found = model(narrow)
    else:
        model = linen(Cells({"gru": nn.GRUCell, "simple_rnn": nn.SimpleCell}[name], name, (5,)), x.shape[1:])
        params = weights.from_keras(jax.eval_shape(model.init, jax.random.key(0)), theirs)
        found = model.apply(params, narrow)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    again = weights.from_keras(params, weights.to_keras(params))
    chex.assert_trees_all_equal(params, again)


def test_a_gru_of_nnx_refuses_a_bias_that_it_lacks():
    theirs = keras_figures("gru")[2]
    with pytest.raises(ValueError, match=r"flax\.nnx\.GRUCell has no such bias; expected 0\. Use"):
        filled_nnx(framework.GRUCell, "gru", (5, 4), theirs)


TRAINED = {
    "mlp_none": (MLP(hidden=64), 400, jax.nn.sigmoid),
    "cnn_none": (CNN(outputs=10), 60, jax.nn.softmax),
    "lstm_l2": (LSTM(units=(12,), outputs=10), 60, jax.nn.softmax),
}


@pytest.mark.parametrize("name", TRAINED)
def test_trained_weights_of_keras_predict_as_there(name):
    module, step, link = TRAINED[name]
    _, arrays = keras_trace(name)
    start = f"w{step}:"
    theirs = {path.removeprefix(start): w for path, w in arrays.items() if path.startswith(start)}
    model = linen(module, arrays["x"].shape[1:])
    params = weights.from_keras(jax.eval_shape(model.init, jax.random.key(0)), theirs)
    np.testing.assert_allclose(link(model.apply(params, arrays["x"])), arrays["prediction"], atol=1e-5)


RNG = np.random.default_rng(0)


def tree(dtype=np.float32):
    """Weights of every rank that layers have, with numbers that are hard to write down."""
    hard = np.array([[1 / 3, -0.0, 3e-39], [np.pi * 1e4, 1e-7, -7.0]])  # 3e-39 and, in float16, 1e-7 are subnormal
    arrays = {
        "conv": {"kernel": RNG.normal(size=(3, 2, 2, 4)), "bias": RNG.normal(size=4)},
        "lstm": {"forward": {"kernel": hard, "bias": RNG.normal(size=(2, 6))}},
        "output": {"kernel": RNG.normal(size=(5, 1)), "bias": np.array([1e-3]), "scale": np.array(0.1)},
    }
    return jax.tree.map(lambda w: jnp.asarray(w, dtype), arrays)


FORMATS = {
    "npz": (weights.save_npz, weights.load_npz),
    "safetensors": (weights.save_safetensors, weights.load_safetensors),
    "csv": (weights.save_csv, weights.load_csv),
}
HELD = [
    (name, dtype)
    for name in FORMATS
    for dtype in ("float32", "float16", "bfloat16")
    if (name, dtype) != ("npz", "bfloat16")
]


@pytest.mark.parametrize(("name", "dtype"), HELD)
def test_what_is_kept_is_read_back_bit_for_bit(tmp_path, name, dtype):
    save, load = FORMATS[name]
    params = tree(dtype)
    save(tmp_path / "kept", params)
    found = weights.filled(jax.tree.map(jnp.zeros_like, params), load(tmp_path / "kept"))
    assert jax.tree.structure(found) == jax.tree.structure(params)
    for ours, theirs in zip(jax.tree.leaves(params), jax.tree.leaves(found), strict=True):
        assert ours.dtype == theirs.dtype
        assert np.asarray(ours).tobytes() == np.asarray(theirs).tobytes()


def test_files_are_what_other_readers_expect(tmp_path):
    params = tree()
    weights.save_npz(tmp_path / "w.npz", params)
    with np.load(tmp_path / "w.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["conv/kernel"], params["conv"]["kernel"])
    weights.save_safetensors(tmp_path / "w.safetensors", params)
    raw = (tmp_path / "w.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    entry = json.loads(raw[8 : 8 + length])["conv/kernel"]
    begin, end = entry["data_offsets"]
    assert (entry["dtype"], entry["shape"]) == ("F32", [3, 2, 2, 4])
    assert raw[8 + length + begin : 8 + length + end] == np.asarray(params["conv"]["kernel"]).tobytes()
    weights.save_csv(tmp_path / "w", params)
    lines = (tmp_path / "w" / "conv" / "kernel.csv").read_text().splitlines()
    rows = np.array([[float(number) for number in line.split(",")] for line in lines], np.float32)
    np.testing.assert_array_equal(rows, np.asarray(params["conv"]["kernel"]).reshape(12, 4))


def test_numbers_found_elsewhere_go_into_an_lstm_and_back(tmp_path):
    # A table written by hand: 2 units that read 1 feature, gates i, f, c, o; a bias in one row.
    (tmp_path / "lstm").mkdir()
    (tmp_path / "output").mkdir()
    (tmp_path / "lstm" / "kernel.csv").write_text("0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8\n")
    (tmp_path / "lstm" / "recurrent_kernel.csv").write_text("1,0,0,0,0,0,0,2\n0,1,0,0,0,0,3,0\n")
    (tmp_path / "lstm" / "bias.csv").write_text("0,0,1,1,0,0,0,0\n")
    (tmp_path / "output" / "kernel.csv").write_text("2\n-1\n")
    (tmp_path / "output" / "bias.csv").write_text("0.5\n")
    model = linen(LSTM(units=(2,)), (3, 1))
    params = weights.filled(jax.eval_shape(model.init, jax.random.key(0)), weights.load_csv(tmp_path))
    np.testing.assert_array_equal(params["lstm"]["recurrent_kernel"][1], [0, 1, 0, 0, 0, 0, 3, 0])
    np.testing.assert_array_equal(params["lstm"]["bias"], [0, 0, 1, 1, 0, 0, 0, 0])
    x, sigmoid = np.array([0.3, -1.0, 2.0]), lambda z: 1 / (1 + np.exp(-z))
    hidden, cell = np.zeros(2), np.zeros(2)
    for now in x:  # the recurrence by its definition, in double precision
        gates = now * np.arange(1, 9) / 10 + hidden @ [[1, 0, 0, 0, 0, 0, 0, 2], [0, 1, 0, 0, 0, 0, 3, 0]]
        i, f, c, o = (gates + np.array([0, 0, 1, 1, 0, 0, 0, 0])).reshape(4, 2)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(c)
        hidden = sigmoid(o) * np.tanh(cell)
    expected = hidden @ [2, -1] + 0.5
    np.testing.assert_allclose(model.apply(params, jnp.asarray(x, jnp.float32)[None, :, None]), [[expected]], rtol=1e-5)
    weights.save_csv(tmp_path / "back", params)
    back = weights.load_csv(tmp_path / "back")
    wide = {"kernel": np.array([[1 / 3, 1e4 * np.pi]])}
    weights.save_csv(tmp_path / "wide", wide)
    np.testing.assert_array_equal(weights.load_csv(tmp_path / "wide")["kernel"], wide["kernel"])
    np.testing.assert_array_equal(back["lstm/recurrent_kernel"], np.float32(params["lstm"]["recurrent_kernel"]))


def test_weights_go_into_a_model_of_another_framework():
    model = nnx(lambda rngs: framework.Linear(3, 2, rngs=rngs))
    kernel = RNG.normal(size=(3, 2)).astype(np.float32)
    params = weights.filled(model.init(jax.random.key(0)), {"kernel": kernel, "bias": np.ones(2)})
    np.testing.assert_allclose(model.apply(params, np.eye(3, dtype=np.float32)), kernel + 1, rtol=1e-6)


LIKE = {"output": {"kernel": np.zeros((3, 2), np.float32), "bias": np.zeros(2, np.float32)}}
FITTING = {"output/kernel": np.ones((3, 2)), "output/bias": np.ones(2)}
BAD = {
    "missing": (
        {"output/kernel": np.ones((3, 2))},
        ValueError,
        r"`like`\. Missing in `arrays`: output/bias\. Expected exactly: ",
    ),
    "unknown": (
        FITTING | {"hidden/bias": np.ones(1)},
        ValueError,
        r"`like`\. Not in `like`: hidden/bias\. Expected",
    ),
    "shape": (FITTING | {"output/bias": np.ones(3)}, ValueError, r"output/bias has shape \(3,\); expected \(2,\)"),
    "turned": (FITTING | {"output/kernel": np.ones((2, 3))}, ValueError, "its shape in the model. Transpose the array"),
    "text": (FITTING | {"output/bias": np.array(["a", "b"])}, TypeError, "output/bias has dtype <U1"),
    "complex": (FITTING | {"output/bias": np.ones(2) * 1j}, TypeError, "expected an array of real numbers"),
}


@pytest.mark.parametrize("case", BAD)
def test_weights_that_do_not_fit_are_refused(case):
    arrays, error, message = BAD[case]
    with pytest.raises(error, match=message):
        weights.filled(LIKE, arrays)


@pytest.mark.parametrize(("cell", "module"), [("lstm", nn.OptimizedLSTMCell), ("gru", nn.GRUCell)])
def test_a_name_at_the_rnn_instead_of_the_cell_is_refused_with_its_place(cell, module):
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.RNN(module(5), name=cell)(x)
            return nn.Dense(2, name="output")(nn.RNN(module(4), name=f"{cell}_1")(x)[:, -1])

    x, _, theirs = keras_figures(cell)
    like = jax.eval_shape(Net().init, jax.random.key(0), x)["params"]
    with pytest.raises(ValueError, match=r"Give each layer .* in the Keras model.* to the cell, not to the nn.RNN"):
        weights.from_keras(like, theirs)
    with pytest.raises(
        ValueError,
        match=r"Missing in `arrays`: output/bias\. Not in `like`: sequential/other/bias\. .* Keras model of `arrays`$",
    ):
        weights.from_keras({"output": {"bias": np.zeros(2)}}, {"sequential/other/bias": np.zeros(2)})


class Variable:
    """A weight of a model in Keras, which can be assigned to."""

    def __init__(self, path):
        self.path = path

    def assign(self, value):
        self.value = value


@pytest.mark.parametrize("network", ["lstm", "mlp"])
def test_weights_go_back_into_keras_as_the_page_says(network):
    page = (Path(__file__).parents[2] / "docs" / "from.md").read_text("utf-8")
    (lines,) = re.findall(r"\n((?:    .*\n|\n)*?    arrays = to_keras(?:.*\n)(?:    .*\n)*)", page)
    x, _, theirs = keras_figures(network)
    model = linen(Cells(nn.OptimizedLSTMCell, "lstm") if network == "lstm" else MLP(hidden=7, outputs=2), x.shape[1:])
    params = weights.from_keras(jax.eval_shape(model.init, jax.random.key(0)), theirs)
    variables = [Variable(path) for path in theirs]
    exec(inspect.cleandoc(lines), {"params": params, "keras_model": SimpleNamespace(weights=variables)})
    for variable in variables:
        np.testing.assert_array_equal(variable.value, theirs[variable.path])


def test_normalisations_of_keras_follow_its_formula_in_flax():
    class Normed(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.BatchNorm(use_running_average=True, epsilon=1e-3, name="batch")(x)
            return nn.LayerNorm(epsilon=1e-3, name="layer")(x)

    random = np.random.default_rng(0)
    x = random.normal(size=(6, 4)).astype(np.float32)
    names = ("batch/gamma", "batch/beta", "layer/gamma", "layer/beta", "batch/moving_mean", "batch/moving_variance")
    keras = {f"model/{name}": random.uniform(0.5, 2, 4).astype(np.float32) for name in names}
    gamma, beta, gamma_2, beta_2, mean, variance = keras.values()
    batch = (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta
    layer = (batch - batch.mean(1, keepdims=True)) / np.sqrt(batch.var(1, keepdims=True) + 1e-3) * gamma_2 + beta_2
    like = jax.eval_shape(Normed().init, jax.random.key(0), x)
    with pytest.raises(ValueError, match=r"Moving statistics are not parameters\. Call from_keras once without"):
        weights.from_keras(like["params"], keras)
    moving = {path: array for path, array in keras.items() if "moving" in path}
    params = weights.from_keras(like["params"], {path: a for path, a in keras.items() if path not in moving})
    with pytest.raises(ValueError, match=r"only moving statistics: remove all entries of `arrays` except those"):
        weights.from_keras(like["batch_stats"], keras)
    statistics = weights.from_keras(like["batch_stats"], moving)
    ours = Normed().apply({"params": params, "batch_stats": statistics}, x)
    np.testing.assert_allclose(ours, layer, rtol=1e-5, atol=1e-5)
    back = weights.to_keras(params) | weights.to_keras(statistics)
    chex.assert_trees_all_equal({f"model/{path}": array for path, array in back.items()}, keras)


def test_lone_weights_of_normalisations_keep_their_names_and_take_both():
    ones, like = np.ones(2, np.float32), {"norm": {"scale": np.zeros(2, np.float32)}}
    for name in ("scale", "gamma"):  # RMSNormalization of Keras has `scale`, LayerNormalization `gamma`
        chex.assert_trees_all_equal(weights.from_keras(like, {f"model/norm/{name}": ones}), {"norm": {"scale": ones}})
    assert set(weights.to_keras(like)) == {"norm/scale"}
    lone = {"norm": {"bias": np.zeros(2, np.float32)}}
    chex.assert_trees_all_equal(weights.from_keras(lone, {"norm/beta": ones}), {"norm": {"bias": ones}})
    whole = {"norm": dict.fromkeys(("scale", "bias", "mean", "var"), np.zeros(2, np.float32))}
    keras = {f"norm/{name}": ones for name in ("gamma", "beta", "moving_mean", "moving_variance")}
    chex.assert_trees_all_equal(weights.from_keras(whole, keras), {"norm": dict.fromkeys(whole["norm"], ones)})
    assert set(weights.to_keras(whole)) == set(keras)


def test_two_weights_for_one_place_are_refused():
    with pytest.raises(ValueError, match=r"two weights match output/bias.* Remove b/output/bias"):
        weights.from_keras(LIKE, {"output/kernel": np.ones((3, 2)), "a/output/bias": np.ones(2), "b/output/bias": 0})


def test_a_path_of_keras_is_matched_by_its_longest_end_and_cells_have_numbers():
    like = {"kernel": np.zeros((1, 1)), "lstm_1": {"kernel": np.zeros((1, 1))}}
    theirs = {"kernel": np.full((1, 1), 1.0), "sequential/lstm_1/lstm_cell_1/kernel": np.full((1, 1), 2.0)}
    found = weights.from_keras(jax.tree.map(jnp.asarray, like), theirs)
    assert (found["kernel"], found["lstm_1"]["kernel"]) == (1, 2)


def test_files_that_are_something_else_are_refused(tmp_path):
    file = tmp_path / "w"
    file.write_bytes(b"not weights")
    with pytest.raises(ValueError, match=r"is not a \.npz file"):
        weights.load_npz(file)
    with pytest.raises(ValueError, match="is not a safetensors file"):
        weights.load_safetensors(file)
    with file.open("wb") as to:
        np.savez(to, a=np.array([{"an": "object"}]))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        weights.load_npz(file)
    with pytest.raises(ValueError, match=r"contains no \.csv file"):
        weights.load_csv(tmp_path)
    (tmp_path / "kernel.csv").write_text("first,second\n1,2\n")
    with pytest.raises(ValueError, match=r"kernel\.csv: .*without a header"):
        weights.load_csv(tmp_path)
    with pytest.raises(ValueError, match=r"bfloat16, which \.npz cannot hold"):
        weights.save_npz(file, {"w": jnp.ones(2, jnp.bfloat16)})
