"""The model of a search as an ONNX graph."""

from typing import Any

import numpy as np

from jaxreg.lab.search.fitted_model import LEAST, Net, Nets, layers
from jaxreg.lab.search.run import Search

OPSET = 17
"""Version of the ONNX operators."""


class _Graph:
    """Nodes and constants of a graph."""

    def __init__(self, onnx: Any) -> None:
        self._onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, values: Any, kind: Any = np.float32) -> str:
        """Add a constant array to the graph, and return its name."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(self._onnx.numpy_helper.from_array(np.ascontiguousarray(values, kind), name))
        return name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output to the graph, and return the name of the output."""
        name = f"{operator}_{len(self.nodes)}"
        self.nodes.append(self._onnx.helper.make_node(operator, inputs, [name], name, **attributes))
        return name


def to_onnx(search: Search) -> Any:
    """Return the model of a search as an ONNX model, an `onnx.ModelProto`.

    The ONNX model has one input, `inputs`, of shape (rows, inputs) and type float32. It takes the same numbers as the
    trained model `search.net`:

    - For a search on arrays, these numbers are the columns of the array.
    - For a search on a data frame, words and missing cells must first be encoded as numbers.
      `jaxreg.lab.search.inputs.inputs_of(frame, search.model.encoding)` encodes any frame with the same columns.

    Do not scale the inputs, because the graph standardises them. If the model transforms its inputs by piecewise linear
    functions (`jaxreg.lab.search.codings`), the graph contains these functions too.

    The ONNX model has one output. For classification, it is `probabilities`, of shape (rows, classes). For regression,
    it is `prediction`, of shape (rows, 1).

    Args:
        search: Search whose model consists of networks or is a linear model.

    Raises:
        ImportError: If onnx is not installed.
        ValueError: If the model consists of trees.

    Example:
        >>> import numpy as np
        >>> from jaxreg.lab import NUMBERS
        >>> from jaxreg.lab.search import Plan, search, to_onnx
        >>> x = np.linspace(-1, 1, 40)[:, None]
        >>> found = search(x, x[:, 0] ** 2, NUMBERS, Plan(methods=["L2"], hidden=8, epochs=4, repeats=1))
        >>> model = to_onnx(found)  # doctest: +SKIP
        >>> _ = Path("model.onnx").write_bytes(model.SerializeToString())  # doctest: +SKIP

    Reference:
        https://onnx.ai/onnx/operators
    """
    try:
        import onnx  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        raise ImportError("to_onnx needs onnx. Run: pip install 'jaxreg[onnx]'") from None
    members = search.net.members if isinstance(search.net, Nets) else (search.net,)
    if not all(isinstance(net, Net) for net in members):
        raise ValueError(
            f"the model of this search is of type {search.kept}; expected networks or a linear model. "
            "Search again without any_model"
        )
    classes = bool(search.setting.task.classes)
    graph = _Graph(onnx)
    means = [_mean(graph, net.arrays, classes=classes) for net in members]
    name = "probabilities" if classes else "prediction"
    graph.nodes.append(onnx.helper.make_node("Mean", means, [name], "Mean"))
    first = members[0].arrays
    outputs = int(first["output/bias"].shape[-1])
    number = onnx.TensorProto.FLOAT
    shapes = {"inputs": len(first["mean"]), name: max(2, outputs) if classes else outputs}
    inputs, output = (onnx.helper.make_tensor_value_info(of, number, ["rows", size]) for of, size in shapes.items())
    model = onnx.helper.make_model(
        onnx.helper.make_graph(graph.nodes, "jaxreg", [inputs], [output], graph.constants),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=8,
        producer_name="jaxreg",
    )
    onnx.checker.check_model(model)
    return model


def _mean(graph: _Graph, arrays: dict[str, np.ndarray], *, classes: bool) -> str:
    # The mean of the networks of one kind. All networks are computed together, along the first axis.
    wide = np.float64
    units = graph.add("Cast", "inputs", to=graph._onnx.TensorProto.DOUBLE)
    units = graph.add("Sub", units, graph.constant(arrays["mean"], wide))
    units = graph.add("Div", units, graph.constant(arrays["scale"], wide))
    if "coding/source" in arrays:
        units = _coded(graph, units, *(arrays[f"coding/{name}"] for name in ("source", "knots", "heights")))
    units = graph.add("Cast", units, to=graph._onnx.TensorProto.FLOAT)
    for layer in layers(arrays):
        kernel, bias = arrays[f"{layer}/kernel"], arrays[f"{layer}/bias"]
        units = graph.add("MatMul", units, graph.constant(kernel if kernel.ndim == 3 else kernel[None]))
        units = graph.add("Add", units, graph.constant(bias[:, None] if bias.ndim == 2 else bias[None, None]))
        if layer != "output":
            units = graph.add("Relu", units)
    middle, scale = arrays["target"]
    units = graph.add("Add", graph.add("Mul", units, graph.constant(scale)), graph.constant(middle))
    if not classes:
        return graph.add("ReduceMean", units, axes=[0], keepdims=0)
    if arrays["output/bias"].shape[-1] == 1:  # the logit of the second of two classes
        units = graph.add("Concat", graph.add("Mul", units, graph.constant(0.0)), units, axis=2)
    shares = graph.add("ReduceMean", graph.add("Softmax", units, axis=2), axes=[0], keepdims=0)
    shares = graph.add("Max", shares, graph.constant(LEAST))
    total = graph.add("ReduceSum", shares, graph.constant([1], np.int64), keepdims=1)
    return graph.add("Div", shares, total)


def _coded(graph: _Graph, units: str, source: np.ndarray, knots: np.ndarray, heights: np.ndarray) -> str:
    # A piecewise linear function is its first height, plus slope times the way that the input goes in each interval.
    wide = np.float64
    ways = np.diff(knots, axis=1)
    slopes = np.divide(np.diff(heights, axis=1), ways, out=np.zeros_like(ways), where=ways > 0)
    inputs = graph.add("Gather", units, graph.constant(source, np.int64), axis=1)
    inputs = graph.add("Unsqueeze", inputs, graph.constant([2], np.int64))
    gone = graph.add("Max", graph.add("Sub", inputs, graph.constant(knots[:, :-1], wide)), graph.constant(0.0, wide))
    gone = graph.add("Min", gone, graph.constant(ways, wide))
    risen = graph.add("Mul", gone, graph.constant(slopes, wide))
    risen = graph.add("ReduceSum", risen, graph.constant([2], np.int64), keepdims=0)
    return graph.add("Add", risen, graph.constant(heights[:, 0], wide))
