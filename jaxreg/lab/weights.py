"""Load and save weights as arrays by path, in .npz, safetensors or CSV files and in Keras's layouts.

A file contains one array per weight. An array is found by the path of its weight, such as `lstm/recurrent_kernel`; see
`jaxreg.paths`. `filled` puts such arrays into the parameters of a model of any framework, so weights from all sources
are loaded in the same way:

    params = filled(params, load_csv("folder"))
    params = from_keras(params, {w.path: numpy.asarray(w) for w in keras_model.weights})
"""

import math
import re
import zipfile
from collections.abc import Callable, Mapping
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

    Each leaf has the dtype of its leaf in `like`.

    Args:
        like: Parameters, or their shapes (`jax.eval_shape(model.init, key)`).
        arrays: Dict from path to array. An array has the shape of its leaf in `like`, or the shape of its matrix in a
            CSV file. In such a matrix all axes except the last are flattened, and a bias is a row or a column.

    Raises:
        ValueError: If a weight is missing, has the wrong shape, or does not exist in `like`.
        TypeError: If an array does not contain real numbers.

    Example:
        >>> import numpy as np
        >>> filled({"output": {"bias": np.zeros(2, np.float32)}}, {"output/bias": [[1.0, 2.0]]})
        {'output': {'bias': Array([1., 2.], dtype=float32)}}
    """
    places = leaves(like)
    missing, unknown = ({leaf.path for leaf in places} - set(arrays), set(arrays) - {leaf.path for leaf in places})
    if missing or unknown:
        raise ValueError(
            f"the weights do not fit the model: {_listed(missing)} missing, {_listed(unknown)} unknown; expected "
            f"exactly {_listed({leaf.path for leaf in places})}. Rename the weights, or use the model that they "
            "were saved from"
        )
    values = [_fitted(leaf.path, np.asarray(arrays[leaf.path]), leaf.array) for leaf in places]
    return jax.tree.unflatten(jax.tree.structure(like), values)


def to_keras(params: Tree) -> dict[str, np.ndarray]:
    """Return the weights in Keras's layouts, as a dict from path to array.

    Examples of paths are `lstm/kernel`, `lstm/recurrent_kernel` and `lstm/bias`.

    Dense layers, convolutions and the LSTM and GRU of `jaxreg.lab` have Keras's layout already. The gates of Flax
    Linen's `LSTMCell` and `OptimizedLSTMCell` (ii, if, ig, io, hi, hf, hg, ho) are joined in the order i, f, c, o. The
    gates of Linen's `GRUCell` (ir, iz, in, hr, hz, hn) are joined in the order z, r, h.

    Args:
        params: Tree of dicts, such as Flax's parameters.

    Example:
        >>> import jax
        >>> from jaxreg.lab import LSTM, linen
        >>> weights = to_keras(jax.jit(linen(LSTM(units=(12,)), (8, 5)).init)(jax.random.key(0)))
        >>> {path: w.shape for path, w in weights.items() if path.startswith("lstm")}
        {'lstm/bias': (48,), 'lstm/kernel': (5, 48), 'lstm/recurrent_kernel': (12, 48)}
    """
    return named(fused(params))


def from_keras(like: Tree, arrays: Arrays) -> Tree:
    """Return the weights of a Keras model as a tree with the structure of `like`. This is the inverse of `to_keras`.

    A Keras path is shortened before it is matched. Names of cells are removed, `forward_lstm` becomes `forward`, and
    leading parts are removed until the rest is a path in `like`. So `sequential/lstm/forward_lstm/lstm_cell/kernel` is
    matched with `lstm/forward/kernel`.

    Args:
        like: Parameters of a Flax model whose layers have the same names as in the Keras model, or the shapes of the
            parameters.
        arrays: Weights by their path in Keras: `{w.path: numpy.asarray(w) for w in keras_model.weights}`.

    Raises:
        ValueError: If a weight is missing, has the wrong shape, or does not exist in `like`.

    Example:
        >>> import jax, numpy as np
        >>> from jaxreg.lab import MLP, linen
        >>> params = linen(MLP(hidden=2), (1,)).init(jax.random.key(0))
        >>> theirs = {"hidden/kernel": [[1, 2]], "hidden/bias": [0, 0], "output/kernel": [[3], [4]], "output/bias": [5]}
        >>> ours = from_keras(params, {f"sequential/{path}": np.asarray(w) for path, w in theirs.items()})
        >>> print(ours["output"]["bias"])
        [5.]
    """
    shapes = jax.eval_shape(fused, like)
    wanted = {leaf.path for leaf in leaves(shapes)}
    found: dict[str, Any] = {}
    for path, array in arrays.items():
        tidy = _CELL.sub("", _WAY.sub(r"\1", path))
        ends = [tidy[start.end() :] for start in re.finditer(r"^|/", tidy)]
        name = next((end for end in ends if end in wanted), tidy)
        if name in found:
            raise ValueError(f"two weights match {name}; expected only one. Remove {path} or the other weight")
        found[name] = array
    return like_cells(like, filled(shapes, found))


def save_npz(file: str | Path, params: Tree) -> None:
    """Save the leaves of `params` in an .npz file of NumPy, each under its path.

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
    """Load the arrays of an .npz file as a dict from path to array. Pickled objects are not read.

    Raises:
        ValueError: If the file has another format or is incomplete, or holds pickled objects.
    """
    if not zipfile.is_zipfile(file):
        raise ValueError(f"{file} is not a .npz file or is incomplete; expected a file written by numpy.savez")
    with np.load(file, allow_pickle=False) as arrays:
        return {path: arrays[path] for path in arrays.files}


def save_safetensors(file: str | Path, params: Tree) -> None:
    """Save the leaves of `params` in a safetensors file, each under its path. Any dtype works, including bfloat16."""
    safetensors.numpy.save_file({path: np.asarray(a, order="C") for path, a in named(params).items()}, file)


def load_safetensors(file: str | Path) -> dict[str, np.ndarray]:
    """Load the arrays of a safetensors file as a dict from path to array.

    Raises:
        ValueError: If the file has another format or is incomplete.
    """
    try:
        return safetensors.numpy.load_file(file)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{file} is not a safetensors file or is incomplete: {error}") from None


def save_csv(folder: str | Path, params: Tree) -> None:
    """Save each leaf of `params` as a CSV file `folder/<path>.csv`, with one column per unit.

    All axes except the last are flattened into the lines of the file. A bias has one number per line. Numbers have
    enough digits to be read back exactly.
    """
    for path, array in named(params).items():
        file = Path(folder) / f"{path}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        digits = 17 if array.dtype == np.float64 else 9
        np.savetxt(file, array.reshape(_matrix(array.shape)).astype(np.float64), fmt=f"%.{digits}g", delimiter=",")


def load_csv(folder: str | Path) -> dict[str, np.ndarray]:
    """Load all .csv files below a folder as a dict from path to matrix.

    The function `filled` reshapes the matrices to the weights of a model.

    Raises:
        ValueError: If there is no .csv file, or a file holds something other than rows of numbers.
    """
    files = sorted(Path(folder).rglob("*.csv"))
    if not files:
        raise ValueError(
            f"{folder} contains no .csv file; expected one file per weight, such as {folder}/output/kernel.csv"
        )
    return {file.relative_to(folder).with_suffix("").as_posix(): _numbers(file) for file in files}


_CELL = re.compile(r"(?<=/)(lstm|gru)_cell(_\d+)?/")
_WAY = re.compile(r"(?<=/)(forward|backward)_\w+(?=/)")


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


Node = Any
"""Nested dicts of arrays."""


def fused(params: Node) -> Node:
    """Convert the LSTM and GRU cells of Flax Linen to Keras's layout: kernel, recurrent_kernel and bias."""
    if not isinstance(params, Mapping):
        return params
    cell = _cell(params)
    return cell.join(params) if cell else {name: fused(node) for name, node in params.items()}


def like_cells(like: Node, params: Node) -> Node:
    """Convert LSTM and GRU cells from Keras's layout to that of Flax Linen, which has one layer per gate.

    Only cells that `like` has in Flax's layout are converted. This is the inverse of `fused`.
    """
    if not isinstance(like, Mapping):
        return params
    cell = _cell(like)
    return cell.split(params) if cell else {name: like_cells(node, params[name]) for name, node in like.items()}


def _join_lstm(cell: Node) -> Node:
    return {
        "kernel": jnp.concatenate([cell[f"i{gate}"]["kernel"] for gate in "ifgo"], axis=-1),
        "recurrent_kernel": jnp.concatenate([cell[f"h{gate}"]["kernel"] for gate in "ifgo"], axis=-1),
        "bias": jnp.concatenate([cell[f"h{gate}"]["bias"] for gate in "ifgo"]),
    }


def _split_lstm(weights: Node) -> Node:
    kernels, recurrent, biases = (_gates(weights, name, 4) for name in ("kernel", "recurrent_kernel", "bias"))
    own = {f"i{gate}": {"kernel": kernel} for gate, kernel in zip("ifgo", kernels, strict=True)}
    state = zip("ifgo", recurrent, biases, strict=True)
    return own | {f"h{gate}": {"kernel": kernel, "bias": bias} for gate, kernel, bias in state}


def _join_gru(cell: Node) -> Node:
    # Flax has no bias of the state for the gates, because it would only be added to the bias of the inputs.
    state = cell["hn"]["bias"]
    none = jnp.zeros_like(state)
    inputs = [cell[f"i{gate}"]["bias"] for gate in "zrn"]
    return {
        "kernel": jnp.concatenate([cell[f"i{gate}"]["kernel"] for gate in "zrn"], axis=-1),
        "recurrent_kernel": jnp.concatenate([cell[f"h{gate}"]["kernel"] for gate in "zrn"], axis=-1),
        "bias": jnp.stack([jnp.concatenate(inputs), jnp.concatenate([none, none, state])]),
    }


def _split_gru(weights: Node) -> Node:
    kernels, recurrent = (_gates(weights, name, 3) for name in ("kernel", "recurrent_kernel"))
    (z, state_z), (r, state_r), (n, state_n) = jnp.split(weights["bias"], 3, axis=-1)
    biases = {"z": z + state_z, "r": r + state_r, "n": n}
    own = {f"i{gate}": {"kernel": kernel, "bias": biases[gate]} for gate, kernel in zip("zrn", kernels, strict=True)}
    state = {f"h{gate}": {"kernel": kernel} for gate, kernel in zip("zrn", recurrent, strict=True)}
    return own | state | {"hn": state["hn"] | {"bias": state_n}}


class _Cell(NamedTuple):
    layers: frozenset[str]
    join: Callable[[Node], Node]
    split: Callable[[Node], Node]


_CELLS = [
    _Cell(frozenset(f"{way}{gate}" for way in "ih" for gate in "ifgo"), _join_lstm, _split_lstm),
    _Cell(frozenset(f"{way}{gate}" for way in "ih" for gate in "rzn"), _join_gru, _split_gru),
]


def _cell(node: Mapping[str, Any]) -> _Cell | None:
    return next((cell for cell in _CELLS if cell.layers == set(node)), None)


def _gates(weights: Node, name: str, count: int) -> list[jax.Array]:
    return jnp.split(weights[name], count, axis=-1)
