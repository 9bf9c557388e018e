"""Fitted networks and trees in NumPy, for predictions without JAX."""

import csv
import dataclasses
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from jaxreg.lab.atomic_files import write_whole
from jaxreg.lab.search.codings import coded
from jaxreg.lab.tabular.encoding import Column, Encoding, TaskName, spoken

Arrays = dict[str, np.ndarray]
"""Name -> array."""

LEAST = 1e-6
"""Smallest probability that a model predicts, because no table can show that a class is impossible."""


@dataclasses.dataclass(frozen=True, eq=False)
class Net:
    """Fitted networks of one architecture, in NumPy. Their probabilities or regression outputs are averaged.

    Each network standardises its inputs, and has layers of ReLU units and a linear output layer:
    x ↦ relu(… relu(((x − mean) / scale) W₁ + b₁) …) W + b. For regression, the result is multiplied by the scale of the
    target, and the mean of the target is added.

    Args:
        arrays: Name -> array:

            - `mean` and `scale`: mean and scale of each input
            - `target`: mean and scale of the target
            - `hidden/kernel`, `hidden/bias`, `hidden_2/kernel`, …, `output/bias`: weights of the layers. The first axis
              is the index of the network. A single network may lack this axis.
            - `coding/source`, `coding/knots` and `coding/heights`: coding of the inputs, if there is one
              (`jaxreg.lab.search.codings`)
    """

    arrays: dict[str, np.ndarray]

    @property
    def nets(self) -> int:
        """Number of networks whose predictions are averaged."""
        kernel = self.arrays["output/kernel"]
        return len(kernel) if kernel.ndim == 3 else 1

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the mean output of the networks, of shape (rows, outputs), for inputs of shape (rows, inputs)."""
        return np.asarray(sum(self.each(x)) / self.nets)

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """Return the probability of each class, of shape (rows, classes), for inputs of shape (rows, inputs)."""
        mean = np.maximum(sum(map(shares, self.each(x))) / self.nets, LEAST)
        return np.asarray(mean / mean.sum(axis=1, keepdims=True))

    def each(self, x: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the outputs of one network after another, each of shape (rows, outputs).

        Args:
            x: Inputs, of shape (rows, inputs).
        """
        arrays = self.arrays
        inputs = (np.asarray(x, np.float64) - arrays["mean"]) / arrays["scale"]
        if "coding/source" in arrays:
            inputs = coded({name: arrays[f"coding/{name}"] for name in ("source", "knots", "heights")}, inputs)
        middle, scale = arrays["target"]
        for net in range(self.nets):
            units = inputs
            for layer in layers(arrays):
                kernel, bias = (arrays[f"{layer}/{part}"] for part in ("kernel", "bias"))
                units = units @ (kernel[net] if kernel.ndim == 3 else kernel) + (bias[net] if bias.ndim == 2 else bias)
                if layer != "output":
                    units = np.maximum(units, 0)
            yield middle + scale * units


@dataclasses.dataclass(frozen=True, eq=False)
class Nets:
    """Average of several `Net` objects. They may differ in architecture and in the preprocessing of their inputs.

    Args:
        members: The `Net` objects. All have equal weight in the average.
    """

    members: tuple[Net, ...]

    @property
    def arrays(self) -> Arrays:
        """Arrays of all `members` in one dict. Each key starts with the member's index, as in `0/hidden/kernel`."""
        return {f"{at}/{name}": array for at, net in enumerate(self.members) for name, array in net.arrays.items()}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> "Nets":
        """Build `Nets` from a dict of arrays, as returned by `Nets.arrays`."""
        numbers = sorted({int(name.partition("/")[0]) for name in arrays})
        each = [{n.partition("/")[2]: a for n, a in arrays.items() if n.startswith(f"{at}/")} for at in numbers]
        return cls(tuple(map(Net, each)))

    @property
    def nets(self) -> int:
        """Number of networks whose predictions are averaged."""
        return sum(net.nets for net in self.members)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the mean outputs, of shape (rows, outputs), for inputs of shape (rows, inputs)."""
        return np.mean([net(x) for net in self.members], axis=0)

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """Return the probability of each class, of shape (rows, classes), for inputs of shape (rows, inputs)."""
        return np.mean([net.probabilities(x) for net in self.members], axis=0)


@dataclasses.dataclass(frozen=True, eq=False)
class Trees:
    """Random forest or boosted trees, in NumPy. Each tree adds the value of one of its leaves to the prediction.

    Args:
        arrays: Name -> array. The nodes of all trees are numbered in one sequence:

            - `mean` and `scale`: mean and scale of each input
            - `target`: mean and scale of the target
            - `trees/root`: number of the first node of each tree
            - `trees/left` and `trees/right`: numbers of the left and the right child of each node; -1 for a leaf
            - `trees/feature` and `trees/threshold`: input and threshold of each node. A row goes to the left child if
              its value of the input is at most the threshold.
            - `trees/value`: value of each node
            - `trees/start`: initial value of the prediction, to which the values of the leaves are added
            - `trees/logits`: for classification, true if the sums are logits, and false if they are probabilities
    """

    arrays: Arrays

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the outputs, of shape (rows, outputs), for inputs of shape (rows, inputs)."""
        arrays = self.arrays
        inputs = ((np.asarray(x, np.float64) - arrays["mean"]) / arrays["scale"]).astype(np.float32)
        rows = np.arange(len(inputs))
        total = np.tile(arrays["trees/start"], (len(inputs), 1))
        for root in arrays["trees/root"]:
            node = np.full(len(inputs), root)
            while (inner := arrays["trees/left"][node] >= 0).any():
                left = inputs[rows, arrays["trees/feature"][node]] <= arrays["trees/threshold"][node]
                onward = np.where(left, arrays["trees/left"][node], arrays["trees/right"][node])
                node = np.where(inner, onward, node)
            total += arrays["trees/value"][node]
        middle, scale = arrays["target"]
        return np.asarray(middle + scale * total)

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """Return the probability of each class, of shape (rows, classes), for inputs of shape (rows, inputs)."""
        given = self(x)
        mean = np.maximum(shares(given) if self.arrays["trees/logits"] else given, LEAST)
        return np.asarray(mean / mean.sum(axis=1, keepdims=True))


def layers(arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Return the names of the layers of a `Net`, in their order.

    Args:
        arrays: Arrays of the network.
    """
    hidden = ["hidden", *(f"hidden_{place}" for place in range(2, len(arrays)))]
    return [*(name for name in hidden if f"{name}/kernel" in arrays), "output"]


def shares(logits: np.ndarray) -> np.ndarray:
    """Convert logits to probabilities, of shape (rows, classes).

    Args:
        logits: Logits, of shape (rows, classes). For two classes, the shape may be (rows, 1): the logit of the second
            class.
    """
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


_FIRST = {f"{layer}/{part}" for layer in ("hidden", "output") for part in ("kernel", "bias")}
"""Names of the weight arrays in formats 1 and 2."""

FORMAT = 4
"""Number of the newest file format. A model is written in the lowest format that can store it.

- Format 1: a single network with one hidden layer, without types of columns
- Format 2: a single network with one hidden layer, with types of columns
- Format 3: one `Net` or `Trees` of any kind
- Format 4: `Nets`
"""


@dataclasses.dataclass(frozen=True)
class FittedModel:
    """A fitted model with all information needed to apply it to a table.

    Args:
        net: The networks, or the trees.
        encoding: Encoding of the table's columns as inputs of the model.
        target: Name of the column that the model predicts.
        task: Type of the target: classification or regression.
        classes: Classes in the order of the probabilities; empty for regression.
        about: Further information that JSON can store, such as the regulariser.
        ids: Names of columns that identify rows, such as customer numbers. The model does not use these columns. They
            are copied to the tables of predictions.
    """

    net: Net | Nets | Trees
    encoding: Encoding
    target: str
    task: TaskName
    classes: tuple[str | float, ...]
    about: dict[str, Any]
    ids: tuple[str, ...] = ()

    @property
    def version(self) -> int:
        """Lowest version of the file format that can store this model."""
        arrays = self.net.arrays
        if isinstance(self.net, Nets):
            return FORMAT
        one = {name for name in arrays if "/" in name} == _FIRST and arrays["output/kernel"].ndim == 2
        return self.encoding.version if one else 3

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Predict the targets, of shape (rows,), for inputs of shape (rows, inputs)."""
        if not self.classes:
            return np.asarray(self.net(x)[:, 0])
        return np.array(self.classes)[np.argmax(self.net.probabilities(x), axis=1)]

    def table(self, x: np.ndarray, beside: Mapping[str, np.ndarray] | None = None) -> str:
        """Return the predictions for inputs of shape (rows, inputs) as CSV, in the order of the rows.

        A row of the result contains the predicted class and the probability of each class, or the predicted number.

        Args:
            x: Inputs.
            beside: Columns to write before the predictions: name -> cells. A cell of None is written as blank.
        """
        beside = beside or {}
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        names = list(map(spoken, self.classes))
        rows.writerow([*beside, self.target, *(f"probability of {name}" for name in names)])
        if self.classes:
            shares = self.net.probabilities(x)
            made = [[names[int(np.argmax(row))], *(round(float(share), 6) for share in row)] for row in shares]
        else:
            made = [[float(number)] for number in self.net(x)[:, 0]]
        rows.writerows([*(cells[place] for cells in beside.values()), *row] for place, row in enumerate(made))
        return text.getvalue()


def save(file: Path | str, model: FittedModel) -> None:
    """Write a model to a file.

    Args:
        file: Path of the file.
        model: The model.
    """
    arrays = {name: np.ascontiguousarray(array) for name, array in model.net.arrays.items()}
    facts = {
        "encoding": [column.to_json() for column in model.encoding.columns],
        "target": model.target,
        "task": model.task,
        "classes": model.classes,
        "about": model.about,
    } | ({"ids": model.ids} if model.ids else {})
    text = json.dumps(facts)
    header = {"jaxreg": text, "format": str(model.version), "sha256": _digest(arrays, text)}
    write_whole(Path(file), safetensors.numpy.save(arrays, header))


def load(file: Path | str) -> FittedModel:
    """Read a model from a file.

    Args:
        file: Path of a file that `save` wrote.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is not a model written by jaxreg, is damaged, or was written by a newer version.
    """
    file = Path(file)
    if file.is_dir():
        raise ValueError(
            f"{str(file)!r} is a folder; expected the file of a model, such as {str(file / 'model.safetensors')!r}"
        )
    if not file.exists():
        raise FileNotFoundError(
            f"there is no file {str(file)!r}; expected a model written by jaxreg search, or its folder"
        )
    try:
        with safetensors.safe_open(file, "numpy") as opened:
            header = opened.metadata() or {}
            # Check the format first: a newer format may have other arrays and fields.
            version = header.get("format", "")
            if "jaxreg" in header and version.isdecimal() and int(version) > FORMAT:
                raise _NewerError(version)
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except _NewerError as newer:
        raise ValueError(
            f"{file} has model format {newer}, but this version of jaxreg reads formats up to {FORMAT}. Update jaxreg"
        ) from None
    except (safetensors.SafetensorError, OSError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"{file} is not a jaxreg model, or is incomplete: {error}") from None
    if "jaxreg" not in header:
        raise ValueError(f"{file} holds arrays but no jaxreg model; expected a file written by jaxreg search")
    if header.get("sha256") != _digest(arrays, header["jaxreg"]):
        raise ValueError(
            f"{file} is damaged: its content has changed since it was written. Run the search again or copy the file "
            f"again"
        )
    facts = json.loads(header["jaxreg"])
    encoding = Encoding(tuple(map(Column.from_json, facts["encoding"])))
    classes = tuple(facts["classes"])
    kind = Trees if "trees/root" in arrays else Nets.from_arrays if "0/mean" in arrays else Net
    net: Net | Nets | Trees = kind(arrays)
    model = FittedModel(
        net, encoding, facts["target"], facts["task"], classes, facts["about"], tuple(facts.get("ids", ()))
    )
    if version != str(model.version):
        raise ValueError(
            f"{file} is damaged: its format number is {version!r}, but its content has format {model.version}. Run the "
            f"search again or copy the file again"
        )
    return model


class _NewerError(Exception):
    pass


def _digest(arrays: dict[str, np.ndarray], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode() + arrays[name].tobytes())
    return digest.hexdigest()
