"""What a leaf is to its layer, and which of its axes are the incoming weights of one unit: told from the tree alone.

The names are those of Flax Linen, Flax NNX, Equinox, Haiku, Keras and PyTorch. Where a name stands for several layouts,
what lies beside the leaf decides: a bias has the shape of its layer's outputs. Layers may be stacked, axes in front.
"""

import enum
import re
from collections.abc import Mapping
from typing import NamedTuple

Shape = tuple[int, ...]


class Kind(enum.StrEnum):
    """What a leaf is to its layer; usable as a pattern."""

    KERNELS = "<kernels>"
    RECURRENT_KERNELS = "<recurrent kernels>"
    BIASES = "<biases>"
    EMBEDDINGS = "<embeddings>"
    OTHERS = "<others>"

    def __repr__(self) -> str:
        return self.value


KERNELS: Kind = Kind.KERNELS
"""The weights between a layer's inputs and its units: of dense layers, convolutions, attention and recurrent layers."""

RECURRENT_KERNELS: Kind = Kind.RECURRENT_KERNELS
"""The weights between a recurrent layer's state and its units."""

BIASES: Kind = Kind.BIASES
"""The offsets of units; not that of a normalisation layer."""

EMBEDDINGS: Kind = Kind.EMBEDDINGS
"""The tables of embeddings, of which one row is one unit."""

_KERNEL = re.compile(
    r"kernel|w|w_i|weight|weight_ih(_l\d+\w*)?|(in|[qkv])_proj_weight|depthwise_kernel|pointwise_kernel"
)
_RECURRENT = re.compile(r"recurrent_kernel|w_h|weight_hh(_l\d+\w*)?")
_BIAS = re.compile(r"bias|b|bias_\w+|in_proj_bias")
_EMBEDDING = re.compile(r"embeddings?")
_ATTENTION_INPUT = re.compile(r"query|key|value")
_OUTPUTS_FIRST = re.compile(r"weight\w*|\w+_proj_weight")  # Equinox and PyTorch
_GATE = re.compile(r"[hi][ifgorznh]?_?|dense_[hi]")  # the layers of a cell in Flax, all of one bias shape
_EQUINOX = re.compile(r"Linear|LSTMCell|GRUCell|Conv(?:Transpose)?(\d)d")  # the classes, with the axes of space


class Place(NamedTuple):
    """Where a leaf lies: the names on its path, and what is around it.

    Attributes:
        names: The steps of the path, from the root to the leaf.
        shape: The shape of the leaf.
        beside: {name: shape} of the leaves under the same parent, this one included.
        layers: {name: {name: shape}} of the leaves under the nodes beside the parent, itself included.
        owner: The name of the parent's class; empty where the tree does not tell.
    """

    names: tuple[str, ...]
    shape: Shape
    beside: Mapping[str, Shape]
    layers: Mapping[str, Mapping[str, Shape]]
    owner: str

    @property
    def name(self) -> str:
        """Return the last step of the path."""
        return self.names[-1] if self.names else ""

    @property
    def layer(self) -> str:
        """Return the step before the last."""
        return self.names[-2] if len(self.names) > 1 else ""


def kind_of(place: Place) -> Kind:
    """What the leaf is to its layer."""
    if _EMBEDDING.fullmatch(place.name) or (place.name == "weight" and place.owner == "Embedding"):
        return Kind.EMBEDDINGS
    if _BIAS.fullmatch(place.name):
        return Kind.OTHERS if _in_norm(place) else Kind.BIASES
    if len(place.shape) < 2 or (place.name == "weight" and _in_norm(place)):
        return Kind.OTHERS
    if _RECURRENT.fullmatch(place.name):
        return Kind.RECURRENT_KERNELS
    if _KERNEL.fullmatch(place.name):
        return Kind.RECURRENT_KERNELS if _in_recurrent_layer(place) else Kind.KERNELS
    return Kind.OTHERS


def _in_norm(place: Place) -> bool:
    # A normalisation layer has a scale, or (in Equinox and PyTorch) a weight of one axis, or only its name to tell.
    if "scale" in place.beside or "Norm" in place.owner or len(place.beside.get("weight", (0, 0))) < 2:
        return True
    return "norm" in place.layer.lower() and all(len(shape) < 2 for shape in place.beside.values())


def _in_recurrent_layer(place: Place) -> bool:
    # Flax's cells hold a Dense a gate (ii … ho, ir … hn, i and h), a convolution for all gates (ih, hh) or a Dense
    # (dense_i, dense_h); Haiku's convolutional cells have input_to_hidden and hidden_to_hidden, and its
    # VanillaRNN linear for the inputs and linear_1 for the state.
    layer, layers = place.layer, place.layers
    if layer == "dense_h":
        return "dense_i" in layers
    if layer == "hidden_to_hidden":
        return "input_to_hidden" in layers
    if re.fullmatch(r"h[ifgorznh]?", layer):
        partner = "ih" if layer == "hh" else f"i{layer[1:]}"
        return partner in layers or f"{partner}_" in layers
    return layer == "linear_1" and len(place.names) > 2 and place.names[-3].startswith("vanilla_rnn")


def unit_axes(place: Place, kind: Kind) -> tuple[int, ...]:
    """Return the axes that are summed over in the norm of one unit's incoming weights."""
    ndim = len(place.shape)
    everything = tuple(range(ndim))
    if kind is Kind.EMBEDDINGS:
        return everything[-1:]
    if kind is Kind.BIASES:
        by_weight = any(map(_OUTPUTS_FIRST.fullmatch, place.beside))
        return everything[_members(place) if by_weight else _stacked(place) :]
    if kind is Kind.OTHERS:
        return everything[:-1] or everything
    if _OUTPUTS_FIRST.fullmatch(place.name):
        return everything[_members(place) + 1 :]
    if place.name == "depthwise_kernel":
        return everything[:-2]
    if place.name == "w" and "transpose" in place.layer:
        return (*everything[:-2], ndim - 1)
    if place.name == "kernel" and _ATTENTION_INPUT.fullmatch(place.layer) and ndim == 3:
        return everything[:1]
    outputs = _outputs(place)
    for lead in range(len(outputs)):
        if _ends(place.shape, outputs, lead):
            return everything[lead : ndim - len(outputs) + lead]
    if outputs == place.shape[-2:-1]:  # a transposed convolution with its kernel transposed
        return (*everything[:-2], ndim - 1)
    return everything[:-1]


def layer_axes(place: Place, kind: Kind, axes: tuple[int, ...]) -> int:
    """The number of axes in front that count the layers of a stack, given the axes of one unit's incoming weights."""
    ndim = len(place.shape)
    if kind is Kind.OTHERS or not axes:
        return 0
    if kind is Kind.EMBEDDINGS:
        return max(ndim - 2, 0)
    if kind is Kind.BIASES:
        return axes[0]
    return axes[0] - 1 if _OUTPUTS_FIRST.fullmatch(place.name) else min(axes[0], ndim - 2)


def _outputs(place: Place) -> Shape:
    # The shape of the bias; a gate without one has the shape of another gate's.
    if "bias" in place.beside or "b" in place.beside or not _GATE.fullmatch(place.layer):
        return place.beside.get("bias", place.beside.get("b", place.shape[-1:]))
    gates = [leaves.get("bias", ()) for layer, leaves in place.layers.items() if _GATE.fullmatch(layer)]
    return next((bias for bias in gates if bias and bias[-1] == place.shape[-1]), place.shape[-1:])


def _ends(kernel: Shape, outputs: Shape, lead: int) -> bool:
    # Whether the outputs are the kernel's axes but for the inputs, of which `lead` are in front: one kernel a
    # position of a local convolution, or a layer of a stack.
    units = outputs[lead:]
    return len(outputs) < len(kernel) and kernel[:lead] == outputs[:lead] and kernel[-len(units) :] == units


def _members(place: Place) -> int:
    # The number of axes in front of a weight (outputs, inputs, …), or of its bias (outputs, 1, …), that count the
    # members of an ensemble: told by the class of the layer, or by the axes that weight and bias have in common.
    is_weight = _OUTPUTS_FIRST.fullmatch(place.name) is not None
    if told := _EQUINOX.fullmatch(place.owner):
        return max(len(place.shape) - int(told[1] or 0) - (2 if is_weight else 1), 0)
    wanted = _BIAS if is_weight else _OUTPUTS_FIRST
    others = [shape for name, shape in place.beside.items() if wanted.fullmatch(name)]
    fits = []
    for other in others:
        weight, bias = (place.shape, other) if is_weight else (other, place.shape)
        for n in range(min(len(bias), len(weight) - 1)):
            if weight[: n + 1] == bias[: n + 1] and all(size == 1 for size in bias[n + 1 :]):
                fits.append(n)
    # A convolution of one input looks like layers of one output: (outputs, 1, …) beside (outputs, 1).
    return (min if "Conv" in place.owner else max)(fits, default=0)


def _stacked(place: Place) -> int:
    # The number of axes in front of a bias that count layers of a stack, told by the kernel beside it.
    kernels = [shape for name, shape in place.beside.items() if _KERNEL.fullmatch(name)]
    fits = [n for shape in kernels for n in range(len(place.shape)) if _ends(shape, place.shape, n)]
    return min(fits, default=0)
