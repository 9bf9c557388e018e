"""Load and save weights in .npz, safetensors or CSV files, and convert weights from and to Keras's layouts.

The functions for loading return a dict with one array per weight. The key is the path of the weight, such as
`lstm/recurrent_kernel`; see `jaxreg.paths`. `filled` puts the arrays into the parameters of a model of any framework:

    params = filled(params, load_csv("folder"))

`from_keras` puts the weights of a Keras model into the parameters:

    params = from_keras(params, {w.path: numpy.asarray(w) for w in keras_model.weights})
"""

import math
import re
import zipfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from jaxreg._protocols import Tree
from jaxreg.rules._matching import leaves

__all__ = [
    "filled",
    "from_keras",
    "load_csv",
    "load_npz",
    "load_safetensors",
    "named",
    "save_csv",
    "save_npz",
    "save_safetensors",
    "to_keras",
]

Arrays = Mapping[str, Any]
"""Dict from the path of a weight to its array."""


def named(params: Tree) -> dict[str, np.ndarray]:
    """Return the leaves of `params` as a dict from path to array.

    Example:
        >>> import jax.numpy as jnp
        >>> named({"output": {"bias": jnp.zeros(2)}})
        {'output/bias': array([0., 0.], dtype=float32)}
    """
    return {leaf.path: np.asarray(leaf.array) for leaf in leaves(params)}


def filled(like: Tree, arrays: Arrays) -> Tree:
    """Return a tree with the structure of `like`, filled with the given arrays. Arrays are matched to leaves by path.

    Each array is cast to the dtype of its leaf in `like`. Matrices from `load_csv` also get the shape of their leaf.

    Args:
        like: Parameters, or their shapes (`jax.eval_shape(model.init, key)`).
        arrays: Dict from the path of each leaf, such as `output/kernel`, to an array. The array has the shape of the
            leaf, or is a matrix from `load_csv`: the weights with all axes except the last flattened into one. A bias
            may be a matrix with one row or one column.

    Raises:
        ValueError: If a weight is missing, has the wrong shape, or does not exist in `like`.
        TypeError: If an array does not contain real numbers.

    Example:
        >>> import numpy as np
        >>> filled({"output": {"bias": np.zeros(2, np.float32)}}, {"output/bias": [[1.0, 2.0]]})
        {'output': {'bias': Array([1., 2.], dtype=float32)}}
    """
    return _filled(like, arrays, "Rename the weights, or use the model that they were saved from")


def _filled(like: Tree, arrays: Arrays, advice: str) -> Tree:
    places = leaves(like)
    missing, unknown = ({leaf.path for leaf in places} - set(arrays), set(arrays) - {leaf.path for leaf in places})
    if missing or unknown:
        found = (("Missing in `arrays`", missing), ("Not in `like`", unknown))
        wrong = [f"{word}: {_listed(paths)}. " for word, paths in found if paths]
        raise ValueError(
            f"the weights in `arrays` do not fit the tree `like`. {''.join(wrong)}Expected exactly: "
            f"{_listed({leaf.path for leaf in places})}. {advice}"
        )
    values = [_fitted(leaf.path, np.asarray(arrays[leaf.path]), leaf.array) for leaf in places]
    return jax.tree.unflatten(jax.tree.structure(like), values)


def to_keras(params: Tree) -> dict[str, np.ndarray]:
    """Return the weights in Keras's layouts, as a dict from path to array.

    Examples of paths are `lstm/kernel`, `lstm/recurrent_kernel` and `lstm/bias`.

    Dense layers, convolutions and the LSTM and GRU of `jaxreg.lab` have Keras's layout already. Four cells of Flax
    Linen and Flax NNX are converted: `LSTMCell`, `OptimizedLSTMCell`, `GRUCell` and `SimpleCell`. The gates of an LSTM
    are joined in the order i, f, c, o. The gates of a GRU are joined in the order z, r, h. The scale and bias of a
    normalisation layer get the names gamma and beta.

    Args:
        params: Parameters of a Flax model: Linen's dicts, or `nnx.state(model, nnx.Param)`.

    Raises:
        ValueError: If two weights have the same path in Keras's layout.

    Example:
        >>> import jax
        >>> from jaxreg.lab import LSTM, linen
        >>> weights = to_keras(jax.jit(linen(LSTM(units=(12,)), (8, 5)).init)(jax.random.key(0)))
        >>> {path: w.shape for path, w in weights.items() if path.startswith("lstm")}
        {'lstm/bias': (48,), 'lstm/kernel': (5, 48), 'lstm/recurrent_kernel': (12, 48)}
    """
    return named(_joined({leaf.path: leaf.array for leaf in leaves(params)}))


def from_keras(like: Tree, arrays: Arrays) -> Tree:
    """Return the weights of a Keras model as a tree with the structure of `like`. This is the inverse of `to_keras`.

    A path of Keras is shortened until it is a path in `like`. The name of a cell, such as `lstm_cell`, is removed, and
    so are leading keys, such as `sequential`. The key `forward_lstm` may be shortened to `forward`. For example,
    `sequential/lstm/forward_lstm/lstm_cell/kernel` is matched with `lstm/forward/kernel`.

    Each layer of `like` must have the same name as its layer in the Keras model. In Flax Linen, name the cell and not
    the `nn.RNN` around the cell: `nn.RNN(nn.OptimizedLSTMCell(5, name="lstm"))`. In Flax NNX, the attribute is the
    name: `self.lstm = nnx.RNN(nnx.OptimizedLSTMCell(3, 5, rngs=rngs))`.

    A GRU in Keras must have `reset_after=True`, which is the default. If `like` has a `GRUCell` of NNX, the last third
    of the recurrent bias in Keras must be 0, because NNX has no such bias.

    Args:
        like: Parameters of a model, such as `nnx.state(model, nnx.Param)`, or their shapes. Dense layers,
            convolutions, normalisation layers and the cells that `to_keras` lists are supported. For the moving
            statistics of batch normalisation, call the function again with the `batch_stats` of the model as `like`.
        arrays: Weights by their path in Keras: `{w.path: numpy.asarray(w) for w in keras_model.weights}`.

    Raises:
        ValueError: If a weight is missing, has the wrong shape, or does not exist in `like`. If two arrays match one
            weight. If a `GRUCell` of NNX lacks a bias that is not 0 in Keras.

    Example:
        >>> import jax, numpy as np
        >>> from jaxreg.lab import MLP, linen
        >>> params = linen(MLP(hidden=2), (1,)).init(jax.random.key(0))
        >>> theirs = {"hidden/kernel": [[1, 2]], "hidden/bias": [0, 0], "output/kernel": [[3], [4]], "output/bias": [5]}
        >>> ours = from_keras(params, {f"sequential/{path}": np.asarray(w) for path, w in theirs.items()})
        >>> print(ours["output"]["bias"])
        [5.]
    """
    places = {leaf.path: leaf.array for leaf in leaves(like)}
    wanted = jax.eval_shape(_joined, places)
    found: dict[str, Any] = {}
    for path, array in arrays.items():
        own, short = (_CELL.sub("", each) for each in (path, _HALF.sub(r"\1", path)))
        cuts = range(1 + own.count("/"))
        ends = (end for cut in cuts for each in (own, short) for end in _both_names(each.split("/", cut)[cut]))
        name = next((end for end in ends if end in wanted), own)
        if name in found:
            raise ValueError(f"two weights match {name}; expected only one. Remove {path} or the other weight")
        found[name] = array
    advice = "Give each layer of your model the name that it has in the Keras model of `arrays`"
    if _cells(places):
        advice += (
            ". In Flax Linen, give this name to the cell, not to the nn.RNN around it: "
            "nn.RNN(nn.OptimizedLSTMCell(5, name='lstm')). In Flax NNX, the name is the attribute that holds the "
            "nnx.RNN"
        )
    if wanted and all(path.endswith(_MOVING) for path in wanted):
        if not all(path.endswith(_MOVING) for path in found):
            advice = (
                "`like` contains only moving statistics: remove all entries of `arrays` except those named moving_mean "
                "and moving_variance"
            )
    elif any(path.endswith(_MOVING) and path not in wanted for path in found):
        advice = (
            "Moving statistics are not parameters. Call from_keras once without moving statistics in `arrays`. Then "
            "call it again with only the moving statistics in `arrays`, and the batch_stats of your model as `like`"
        )
    return filled(like, _split(places, _filled(wanted, found, advice)))


def save_npz(file: str | Path, params: Tree) -> None:
    """Save the leaves of `params` in an .npz file of NumPy. The name of each array is the path of its leaf.

    Raises:
        ValueError: If a leaf has a dtype that .npz does not support, such as bfloat16.
    """
    arrays = named(params)
    for path, array in arrays.items():
        if array.dtype.kind == "V":  # NumPy would store its bytes without their type
            raise ValueError(f"{path} has dtype {array.dtype}, which .npz cannot hold. Use save_safetensors")
    with Path(file).open("wb") as to:
        np.savez(to, **arrays)  # type: ignore[arg-type]


def load_npz(file: str | Path) -> dict[str, np.ndarray]:
    """Load the arrays of an .npz file as a dict from the name of each array to the array.

    In a file from `save_npz`, the name of an array is the path of its leaf, such as `output/kernel`.

    Raises:
        ValueError: If the file is not an .npz file, is incomplete, or contains pickled objects.
    """
    if not zipfile.is_zipfile(file):
        raise ValueError(f"{file} is not a .npz file or is incomplete; expected a file written by numpy.savez")
    with np.load(file, allow_pickle=False) as arrays:
        return {path: arrays[path] for path in arrays.files}


def save_safetensors(file: str | Path, params: Tree) -> None:
    """Save the leaves of `params` in a safetensors file. The name of each tensor is the path of its leaf.

    Any dtype works, including bfloat16.
    """
    safetensors.numpy.save_file({path: np.asarray(a, order="C") for path, a in named(params).items()}, file)


def load_safetensors(file: str | Path) -> dict[str, np.ndarray]:
    """Load the arrays of a safetensors file as a dict from the name of each tensor to its array.

    In a file from `save_safetensors`, the name of a tensor is the path of its leaf, such as `output/kernel`.

    Raises:
        ValueError: If the file is not a safetensors file, or is incomplete.
    """
    try:
        return safetensors.numpy.load_file(file)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{file} is not a safetensors file or is incomplete: {error}") from None


def save_csv(folder: str | Path, params: Tree) -> None:
    """Save each leaf of `params` as a CSV file `folder/<path>.csv`, with one column per unit.

    All axes of a kernel except the last are flattened into the lines of the file. A bias has one number per line.
    Numbers have enough digits to be read back exactly.
    """
    for path, array in named(params).items():
        file = Path(folder) / f"{path}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        digits = 17 if array.dtype == np.float64 else 9
        np.savetxt(file, array.reshape(_matrix(array.shape)).astype(np.float64), fmt=f"%.{digits}g", delimiter=",")


def load_csv(folder: str | Path) -> dict[str, np.ndarray]:
    """Load all .csv files below a folder as a dict from the path of each weight to a matrix.

    The path of a weight is the path of its file relative to the folder, without `.csv`. So `folder/output/kernel.csv`
    has the path `output/kernel`. The function `filled` reshapes the matrices to the weights of a model.

    Raises:
        ValueError: If there is no .csv file, or a file holds something other than rows of numbers.
    """
    files = sorted(Path(folder).rglob("*.csv"))
    if not files:
        raise ValueError(
            f"the folder {str(folder)!r} contains no .csv file; expected one file per weight, such as "
            f"{str(Path(folder) / 'output' / 'kernel.csv')!r}"
        )
    return {file.relative_to(folder).with_suffix("").as_posix(): _numbers(file) for file in files}


_CELL = re.compile(r"(?<=/)(lstm|gru|simple_rnn)_cell(_\d+)?/")
_NNX_CELL = re.compile(r"(?<![^/])cell/$")
_HALF = re.compile(r"(?<=/)(forward|backward)_[^/]+(?=/)")
_NORM = {"scale": "gamma", "bias": "beta"}
_STATISTICS = {"mean": "moving_mean", "var": "moving_variance"}
_MOVING = tuple(_STATISTICS.values())


def _numbers(file: Path) -> np.ndarray:
    try:
        return np.loadtxt(file, delimiter=",", ndmin=2)
    except ValueError as error:
        raise ValueError(f"{file}: {error}; expected rows of numbers separated by commas, without a header") from None


def _matrix(shape: tuple[int, ...]) -> tuple[int, int]:
    return (math.prod(shape[:-1]), shape[-1]) if len(shape) > 1 else (math.prod(shape), 1)


def _fitted(path: str, array: np.ndarray, like: Any) -> jax.Array:
    if not jnp.issubdtype(array.dtype, jnp.floating) and array.dtype.kind not in "iub":
        raise TypeError(f"{path} has dtype {array.dtype}; expected an array of real numbers")
    row = (1, math.prod(like.shape)) if len(like.shape) < 2 else None
    if array.shape not in (like.shape, _matrix(like.shape), row):
        turned = ". Transpose the array" if array.T.shape == like.shape else ""
        raise ValueError(f"{path} has shape {array.shape}; expected {like.shape}, its shape in the model{turned}")
    return jnp.asarray(array.reshape(like.shape), like.dtype)


def _listed(paths: set[str]) -> str:
    return ", ".join(sorted(paths)) or "nothing"


def _joined(arrays: Arrays) -> dict[str, Any]:
    """Convert the recurrent cells and normalisations of Flax among `arrays` to Keras's layout."""
    cells = _cells(arrays)
    places = _in_keras(cells)
    inside = {place + leaf for place, (cell, _) in cells.items() for leaf in cell}
    norms = _norms(arrays)
    found = {norms.get(path, path): array for path, array in arrays.items() if path not in inside}
    for place, (cell, gates) in cells.items():
        own = {places[place] + weight: array for weight, array in gates.join(cell).items()}
        if taken := own.keys() & found.keys():
            raise ValueError(
                f"the cell {place.rstrip('/')!r} and another layer both have a weight that is called {min(taken)} in "
                "Keras's layout; expected a different name for each weight. Rename the cell or the other layer"
            )
        found |= own
    return found


def _split(places: Arrays, arrays: Arrays) -> dict[str, Any]:
    """Convert `arrays` from Keras's layout to that of the leaves in `places`. This is the inverse of `_joined`."""
    norms = _norms(places)
    found = {path: arrays[norms.get(path, path)] for path in places if norms.get(path, path) in arrays}
    cells = _cells(places)
    in_keras = _in_keras(cells)
    for place, (_, gates) in cells.items():
        weights = {weight: arrays[in_keras[place] + weight] for weight in _Gates._fields}
        found |= {place + leaf: array for leaf, array in gates.split(weights).items()}
    return found


def _norms(paths: Collection[str]) -> dict[str, str]:
    """Return the paths in Keras of the weights and statistics of normalisations, such as `norm/gamma`."""
    layers: dict[str, set[str]] = {}
    for path in paths:
        layer, _, leaf = path.rpartition("/")
        layers.setdefault(layer, set()).add(leaf)
    return {
        f"{layer}/{leaf}".lstrip("/"): f"{layer}/{(_NORM | _STATISTICS)[leaf]}".lstrip("/")
        for layer, found in layers.items()
        if found <= set(_NORM | _STATISTICS) and (found >= set(_NORM) or found >= set(_STATISTICS))
        for leaf in found
    }


def _both_names(path: str) -> list[str]:
    """Return a path, and the path with the other name of a weight of a normalisation: `norm/gamma`, `norm/scale`."""
    layer, slash, leaf = path.rpartition("/")
    names = _NORM | _STATISTICS
    other = (names | {keras: flax for flax, keras in names.items()}).get(leaf)
    return [path] if other is None else [path, layer + slash + other]


def _in_keras(places: Collection[str]) -> dict[str, str]:
    """Return where each cell is in Keras's layout, such as `lstm/forward/` for `lstm/forward_rnn/cell/`.

    A name such as `forward_rnn` is only shortened in a layer with two halves, one forward and one backward.
    """
    plain = {place: _NNX_CELL.sub("", place) for place in places}
    halves: dict[tuple[str, str], set[str]] = {}
    for path in plain.values():
        for half in _HALF.finditer(path):
            halves.setdefault((path[: half.start()], half[1]), set()).add(half[0])

    def shortened(half: re.Match[str]) -> str:
        layer = half.string[: half.start()]
        pair = [halves.get((layer, way), ()) for way in ("forward", "backward")]
        return half[1] if all(len(names) == 1 for names in pair) else half[0]

    return {place: _HALF.sub(shortened, path) for place, path in plain.items()}


class _Gates(NamedTuple):
    """Leaves of a cell of Flax. Their arrays next to each other are the arrays of Keras."""

    kernel: tuple[str, ...]
    recurrent_kernel: tuple[str, ...]
    bias: tuple[str, ...]

    def join(self, cell: Arrays) -> dict[str, jax.Array]:
        """Return the weights in Keras's layout."""
        return {
            weight: jnp.concatenate([cell[leaf] for leaf in leaves_of], axis=-1)
            for weight, leaves_of in self._asdict().items()
        }

    def split(self, weights: Arrays) -> dict[str, jax.Array]:
        """Return the leaves of the cell. This is the inverse of `join`."""
        found: dict[str, jax.Array] = {}
        for weight, leaves_of in self._asdict().items():
            parts = jnp.split(weights[weight], len(leaves_of), axis=-1)
            found |= dict(zip(leaves_of, parts, strict=True))
        return found


class _LinenGRU(_Gates):
    """The GRU cell of Flax Linen, whose biases are those of the inputs for z, r and n, and that of the state for n."""

    def join(self, cell: Arrays) -> dict[str, jax.Array]:
        # Flax has no bias of the state for the gates z and r, because it would only be added to that of the inputs.
        found = super().join(cell)
        z, r, n, state = jnp.split(found["bias"], 4)
        none = jnp.zeros_like(state)
        return found | {"bias": jnp.stack([jnp.concatenate([z, r, n]), jnp.concatenate([none, none, state])])}

    def split(self, weights: Arrays) -> dict[str, jax.Array]:
        (z, state_z), (r, state_r), (n, state) = jnp.split(weights["bias"], 3, axis=-1)
        return super().split({**weights, "bias": jnp.concatenate([z + state_z, r + state_r, n, state])})


class _NNXGRU(_Gates):
    """The GRU cell of Flax NNX, with the order r, z, n and without a bias of the state."""

    def join(self, cell: Arrays) -> dict[str, jax.Array]:
        found = {weight: _first_two_swapped(array) for weight, array in super().join(cell).items()}
        return found | {"bias": jnp.stack([found["bias"], jnp.zeros_like(found["bias"])])}

    def split(self, weights: Arrays) -> dict[str, jax.Array]:
        inputs, state = weights["bias"]
        units = len(state) // 3
        if jnp.any(state[2 * units :] != 0):
            raise ValueError(
                "the recurrent bias of Keras's GRU is not 0 in its last third, and flax.nnx.GRUCell has no such bias; "
                "expected 0. Use flax.linen.GRUCell or jaxreg.lab.GRU"
            )
        one = {**weights, "bias": inputs + state}
        return super().split({weight: _first_two_swapped(array) for weight, array in one.items()})


def _first_two_swapped(array: jax.Array) -> jax.Array:
    first, second, third = jnp.split(array, 3, axis=-1)
    return jnp.concatenate([second, first, third], axis=-1)


def _of_gates(names: Sequence[str], weight: str) -> tuple[str, ...]:
    return tuple(f"{name}/{weight}" for name in names)


_STATE = ("hi", "hf", "hg", "ho")
_GATES = [
    *(
        _Gates(_of_gates(inputs, "kernel"), _of_gates(_STATE, "kernel"), _of_gates(_STATE, "bias"))
        for inputs in (("ii", "if", "ig", "io"), ("ii", "if_", "ig", "io"))  # Linen, NNX
    ),
    _Gates(("dense_i/kernel",), ("dense_h/kernel",), ("dense_h/bias",)),  # NNX's OptimizedLSTMCell
    _Gates(("i/kernel",), ("h/kernel",), ("i/bias",)),  # Linen's SimpleCell
    _Gates(("dense_i/kernel",), ("dense_h/kernel",), ("dense_i/bias",)),  # NNX's SimpleCell
    _LinenGRU(
        ("iz/kernel", "ir/kernel", "in/kernel"),
        ("hz/kernel", "hr/kernel", "hn/kernel"),
        ("iz/bias", "ir/bias", "in/bias", "hn/bias"),
    ),
]


def _cells(arrays: Arrays) -> dict[str, tuple[dict[str, Any], _Gates]]:
    """Return the recurrent cells of Flax by the start of their paths, such as `lstm/`.

    Each cell is a dict from the rest of the path to the array.
    """
    found: dict[str, dict[str, Any]] = {}
    for path, array in arrays.items():
        layer = path.rpartition("/")[0]
        start = layer[: layer.rfind("/") + 1]
        found.setdefault(start, {})[path.removeprefix(start)] = array
    cells = {}
    for place, cell in found.items():
        gates = next((each for each in _GATES if set(cell) == {leaf for part in each for leaf in part}), None)
        if gates and "dense_i/bias" in cell and cell["dense_h/kernel"].shape[1] == 3 * cell["dense_h/kernel"].shape[0]:
            gates = _NNXGRU(*gates)
        if gates:
            cells[place] = cell, gates
    return cells
