"""Infer the role of a leaf (kernel, bias, …) and its fan-in axes from the parameter tree.

The module knows the names of weights in Flax Linen, Flax NNX, Equinox, Haiku, Keras and PyTorch, and the named arrays
of haliax and penzai. The evidence is used in this order:

1. the name of the layer in the path, and the class of the node
2. the names of the axes, if a box (an object that wraps the array) has them
3. the shape of the bias next to the leaf
4. the usual layout for the name of the leaf

If the evidence allows several interpretations of the axes, the most likely one is used. `jaxreg.explain` reports the
others.
"""

import enum
import re
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from jaxreg.rules._layouts import (
    Axes,
    Reading,
    Shape,
    any_contraction,
    general_contraction,
    readings,
    same_groups,
    windows,
)


class Kind(enum.StrEnum):
    """Role of a parameter in its layer, such as kernel or bias. A kind can be used as a pattern in rules."""

    KERNELS = "<kernels>"
    RECURRENT_KERNELS = "<recurrent kernels>"
    BIASES = "<biases>"
    EMBEDDINGS = "<embeddings>"
    OTHERS = "<others>"

    def __repr__(self) -> str:
        return self.value


KERNELS: Kind = Kind.KERNELS
"""Pattern that matches all kernels: weights from the inputs to the units of a layer.

The layer may be a dense, convolutional, attention or recurrent layer. Recurrent kernels, the weights from the state of
a recurrent layer, match `RECURRENT_KERNELS` instead. Use the pattern as a key of rules, such as
`{jaxreg.KERNELS: jaxreg.L2(0.001)}`. `jaxreg.explain` lists all leaves with their rules.
"""

RECURRENT_KERNELS: Kind = Kind.RECURRENT_KERNELS
"""Pattern that matches all recurrent kernels: weights from the state to the units of a recurrent layer.

Use the pattern as a key of rules. A rule without a pattern applies to `KERNELS` and to `RECURRENT_KERNELS`.
"""

BIASES: Kind = Kind.BIASES
"""Pattern that matches all biases: the offsets that a layer adds to its units.

Use the pattern as a key of rules. The pattern does not match the offsets of normalisation layers.
"""

EMBEDDINGS: Kind = Kind.EMBEDDINGS
"""Pattern that matches all embedding tables.

Use the pattern as a key of rules. By default, each row of a table (the vector of one token) is a group of weights.
"""

_KERNEL = re.compile(
    r"kernel|w|w_i|weight|weight_ih(_l\d+\w*)?|(in|[qkv])_proj_weight|depthwise_kernel|pointwise_kernel"
)
_RECURRENT = re.compile(r"recurrent_kernel|w_h|weight_hh(_l\d+\w*)?")
_BIAS = re.compile(r"bias|b|bias_\w+|in_proj_bias")
_EMBEDDING = re.compile(r"embeddings?")
_NAMED_WEIGHTS = re.compile(r"weights")  # in penzai, whose axes have names
_UNITS_FIRST = re.compile(r"weight(_\w+)?|\w+_proj_weight")  # Equinox and PyTorch
_GATE = re.compile(r"[hi][ifgorznh]?_?|dense_[hi]")  # the layers of a cell in Flax, all of one bias shape
_NORM = re.compile(r".*norm.*|([a-z0-9]+_)?(ln|bn|gn)\d*(_[a-z0-9]+)?", re.IGNORECASE)
_STACK_OF_AXES = re.compile(r".*(layer|stack|scan|block|repeat|stage|ensemble|member|expert).*", re.IGNORECASE)
_LIFTED = re.compile(r"(Scan|Vmap)[A-Z]\w*_\d+")
_CONVOLUTION = re.compile(
    r"(?P<how>separabledepthwise|depthwise|separable)?conv(?P<early>transpose)?((?P<space>[123])d)?(?P<late>transpose)?\d*"
)
_DENSE = {"dense", "linear", "vanillarnn", "lstm", "gru", "rnn"} | {
    f"{cell}cell" for cell in ("lstm", "optimizedlstm", "gru", "mgu", "simple", "simplernn")
}
_CELLS = {"LSTMCell": 4, "GRUCell": 3}  # of Equinox, with their gates
_LAYERS_OF = re.compile(r"(equinox|flax\.nnx|haliax|penzai)\.nn\b.*")  # the modules of their layers


class Place(NamedTuple):
    """Position of a parameter in its tree: the keys of its path, and the shapes of neighbouring parameters.

    Attributes:
        names: Keys of the path from the root to the leaf, without keys inside a wrapper of the array.
        shape: Shape of the leaf.
        beside: {name: shape} of all leaves in the layer of the leaf, including the leaf.
        layers: {layer: {name: shape}} of the layer of the leaf and of the layers next to it.
        owner: Node of the layer; None if the node cannot be reached by the path.
        axis_names: Names of the axes of the leaf, with None for an axis without a name. Empty if no axis has a name.
    """

    names: tuple[str, ...]
    shape: Shape
    beside: Mapping[str, Shape]
    layers: Mapping[str, Mapping[str, Shape]]
    owner: Any = None
    axis_names: tuple[str | None, ...] = ()

    @property
    def name(self) -> str:
        """Return the last key of the parameter's path."""
        return self.names[-1] if self.names else ""

    @property
    def layer(self) -> str:
        """Return the name of the layer: the second-last key of the parameter's path."""
        return self.names[-2] if len(self.names) > 1 else ""

    @property
    def owner_class(self) -> str:
        """Return the name of the class of the parameter's layer, such as "Linear", or "" if the class is unknown."""
        bases = type(self.owner).__mro__
        return next((base.__name__ for base in bases if _LAYERS_OF.fullmatch(base.__module__)), "")


class Inference(NamedTuple):
    """Inferred role and inferred fan-in axes of a parameter, with the evidence for them.

    Attributes:
        kind: Role of the leaf in its layer.
        axes: Fan-in axes, which contain the incoming weights of one unit.
        layers: Axes along which layers are stacked.
        source: Evidence: "name", "class", "box", "bias" or "default".
        others: Other interpretations of the axes that fit the evidence.
        doubt: Reason why the inference may be wrong; empty if there is no such reason.
    """

    kind: Kind
    axes: Axes
    layers: Axes
    source: str
    others: tuple[Reading, ...] = ()
    doubt: str = ""


def is_weight(name: Any) -> bool:
    """Return whether `name` is a usual name of a weight, a bias or an embedding table, such as "kernel"."""
    known = (_KERNEL, _RECURRENT, _BIAS, _EMBEDDING, _NAMED_WEIGHTS)
    return isinstance(name, str) and any(pattern.fullmatch(name) for pattern in known)


def infer(place: Place) -> Inference:
    """Infer the role and the fan-in axes of a parameter. The result includes the evidence."""
    kind = _kind_of(place)
    ndim = len(place.shape)
    everything = tuple(range(ndim))
    if kind is Kind.OTHERS:
        return Inference(kind, everything[:-1] or everything, (), "default")
    if kind is Kind.BIASES:
        return _of_bias(place)
    named = _by_named_axes(place)
    if named:
        return Inference(kind, *named, "box")
    return Inference(kind, *_of_weight(place))


def _kind_of(place: Place) -> Kind:
    if _EMBEDDING.fullmatch(place.name) or (place.name == "weight" and place.owner_class == "Embedding"):
        return Kind.EMBEDDINGS
    if _BIAS.fullmatch(place.name):
        return Kind.OTHERS if _in_norm(place) else Kind.BIASES
    if len(place.shape) < 2 or (place.name == "weight" and _in_norm(place)):
        return Kind.OTHERS
    if _RECURRENT.fullmatch(place.name):
        return Kind.RECURRENT_KERNELS
    if _KERNEL.fullmatch(place.name) or (place.axis_names and _NAMED_WEIGHTS.fullmatch(place.name)):
        return Kind.RECURRENT_KERNELS if _in_recurrent_layer(place) else Kind.KERNELS
    return Kind.OTHERS


def _in_norm(place: Place) -> bool:
    # A normalisation layer is recognised by a scale, by a weight with the shape of its bias (Equinox, PyTorch), or by
    # the name or class of the layer.
    weight = place.beside.get("weight", (0, 0))
    if "scale" in place.beside or len(weight) < 2 or weight == place.beside.get("bias"):
        return True
    if any("Norm" in base.__name__ for base in type(place.owner).__mro__):
        return True
    return bool(_NORM.fullmatch(place.layer)) and not _weights_beside(place)


def _weights_beside(place: Place) -> list[str]:
    names = [name for name in place.beside if _KERNEL.fullmatch(name) or _RECURRENT.fullmatch(name)]
    return [name for name in names if len(place.beside[name]) > 1]


def _in_recurrent_layer(place: Place) -> bool:
    # Flax's cells have a Dense per gate (ii … ho, ir … hn, i and h), or a convolution (ih, hh) or a Dense (dense_i,
    # dense_h) for all gates. Haiku's convolutional cells have input_to_hidden and hidden_to_hidden. Its VanillaRNN has
    # linear for the inputs and linear_1 for the state.
    layer, layers = place.layer, place.layers
    if layer == "dense_h":
        return "dense_i" in layers
    if layer == "hidden_to_hidden":
        return "input_to_hidden" in layers
    if re.fullmatch(r"h[ifgorznh]?", layer):
        partner = "ih" if layer == "hh" else f"i{layer[1:]}"
        return partner in layers or f"{partner}_" in layers
    return layer == "linear_1" and len(place.names) > 2 and place.names[-3].startswith("vanilla_rnn")


def _by_named_axes(place: Place) -> Reading | None:
    # haliax's layers have In and Out (and Spatial, Embed), penzai's in_axis_names, out_axis_names, vocabulary_axis.
    inputs = _names_of(place.owner, "In", "Spatial", "Embed", "in_axis_names")
    units = _names_of(place.owner, "Out", "Vocab", "out_axis_names", "vocabulary_axis")
    if not place.axis_names or not inputs | units:
        return None
    places = dict(enumerate(place.axis_names))
    axes = tuple(a for a, name in places.items() if (name in inputs if inputs else name not in units))
    return Reading(axes, tuple(a for a, name in places.items() if a not in axes and name not in units))


def _names_of(owner: Any, *attributes: str) -> set[Any]:
    found: set[Any] = set()
    for attribute in attributes:
        value = getattr(owner, attribute, ())
        for axis in value if isinstance(value, list | tuple) and not hasattr(value, "name") else (value,):
            found.add(getattr(axis, "name", axis))
    return found


def _of_weight(place: Place) -> tuple[Axes, Axes, str, tuple[Reading, ...]]:
    # Readings that fit the evidence, in its order. The source is the first kind of evidence that a reading fits.
    shape, bias, stacked_on = place.shape, _bias_beside(place), _stacked_on(place)
    layouts = _by_class(place)
    source = "default" if layouts is None else "class" if place.owner_class else "name"
    if layouts is None:
        layouts = _by_name(place)
    if stacked_on is not None:
        source = "box" if place.axis_names else "name"
    elif bias is None and _beside_single_layers(place):
        stacked_on = ()
    first = _UNITS_FIRST.fullmatch(place.name) is not None and not place.owner_class  # PyTorch stacks in front
    known = partial(readings, shape, layouts, sizes=_sizes(place), in_front=first)
    found = known(stacked_on=stacked_on) or known()
    if source == "default" and len(shape) == 2 and shape[0] == shape[1] and bias in (None, shape[:1]):
        # The bias fits both ways. The layers beside this one may show that the units come first.
        units = _units_beside(place)
        if units is not None and found[0].axes == (units,):
            return (1 - units,), (), "bias", (Reading((units,)),)
        return *found[0], source, tuple(found[1:])
    if bias is not None and (source == "default" or _differ(shape, found)):
        fitting = known(bias, stacked_on=stacked_on)
        if not fitting and source == "default":  # an unusual layout for this name: the bias has the axes of the units
            fitting = readings(shape, any_contraction(len(shape)), bias)
        if fitting:
            return *fitting[0], "bias", tuple(fitting[1:])
        found = [*found, Reading(())]
    if not found:
        found = [Reading(tuple(range(len(shape) - 1))), Reading(())]
    return *found[0], source, tuple(found[1:])


def _units_beside(place: Place) -> int | None:
    # The axis of the units in the weights of this name in the layers beside this one, if all of them agree.
    bias = "b" if place.name in ("w", "w_i", "w_h") else "bias"
    found = [
        leaves[place.name].index(leaves[bias][0])
        for leaves in place.layers.values()
        if len(leaves.get(place.name, ())) == 2 and len(leaves.get(bias, ())) == 1
        if leaves[place.name].count(leaves[bias][0]) == 1
    ]
    return found[0] if found and len(set(found)) == 1 else None


def _differ(shape: Shape, found: list[Reading]) -> bool:
    return any(other.layers != found[0].layers or not same_groups(shape, found[0].axes, other.axes) for other in found)


def _by_class(place: Place) -> list[str] | None:
    # Layouts of the layer named by the class of the node or by the path; None for an unknown layer.
    first = _UNITS_FIRST.fullmatch(place.name) is not None
    dense = ["oi" if first else "io"]
    layer = _plain(place.owner_class or place.layer)
    if _EMBEDDING.fullmatch(place.name) or layer == "embedding":
        return ["oi"]
    if place.name in ("depthwise_kernel", "pointwise_kernel"):  # of a separable convolution in Keras
        return windows("oo" if place.name == "depthwise_kernel" else "io", len(place.shape) - 2)[:1]
    if told := _CONVOLUTION.fullmatch(layer):
        return _of_convolution(place, told, first)
    if layer == "convlocal":
        return windows("io", 3, "p")
    if layer in ("convlstmcell", "inputtohidden", "hiddentohidden"):
        return windows("io", 3)
    if layer in _DENSE or re.fullmatch(r"weight_[ih]h(_l\d+\w*)?|\w+_proj_weight|w_[ih]", place.name):
        return dense
    if layer in ("densegeneral", "lineargeneral"):
        return general_contraction(len(place.shape))
    if layer in ("einsum", "einsumdense"):
        return any_contraction(len(place.shape))
    if _GATE.fullmatch(place.layer) and _bias_beside(place) is not None and not first:
        return None if place.layer in ("ih", "hh") else dense
    return _of_attention(place)


def _of_convolution(place: Place, told: re.Match[str], first: bool) -> list[str]:
    window = getattr(place.owner, "kernel_size", None)
    space = len(window) if isinstance(window, tuple) else told["space"]
    if told["how"] == "depthwise" and place.name == "kernel":
        after = ["oo"]  # in Keras; in Haiku and Flax it is a grouped convolution
    elif first and not place.owner_class and (told["early"] or told["late"]):
        # PyTorch's, or Equinox's without its class. A bias that fits only the latter may be that of PyTorch's groups.
        bias = _bias_beside(place)
        after = ["io", "oi"] if bias is None or bias[-1:] == place.shape[len(bias) : len(bias) + 1] else []
    elif told["late"]:  # of Keras and Haiku
        after = ["oi"]
    elif told["early"] and not first:  # of Flax
        transposed = getattr(place.owner, "transpose_kernel", None)
        after = ["io", "oi"] if transposed is None else ["oi"] if transposed else ["io"]
    else:
        after = ["oi" if first else "io"]
    lines = [line for each in after for line in windows(each, 3, before=not first)]
    return [line for line in lines if space is None or line.count("s") == int(space)]


def _of_attention(place: Place) -> list[str] | None:
    # Flax and Keras project onto (heads, features), and back from both.
    if not {"query", "key", "value"} <= place.layers.keys() or place.name != "kernel" or len(place.shape) < 3:
        return None
    if place.layer in ("query", "key", "value"):
        back = (place.layers.get("out") or place.layers.get("attention_output") or {}).get("kernel", ())
        alike = len(back) == len(place.shape) == 3 and back[:1] == place.shape[1:2]
        return ["ioo"] if _bias_beside(place) is not None or alike or len(place.shape) > 3 else None
    return ["iio"] if place.layer in ("out", "attention_output") else None


def _by_name(place: Place) -> list[str]:
    # Layouts that a leaf of this name has in some layer, the likeliest first.
    ndim = len(place.shape)
    if _UNITS_FIRST.fullmatch(place.name):
        if ndim == 2:
            return ["oi"]
        return [*windows("oi", ndim - 2, before=False), "oi", *windows("io", ndim - 2, before=False)]
    if ndim == 2:
        return ["io"]
    space = ndim - 2
    return [*windows("io", space), "io", *windows("oi", space), *windows("oo", space), *general_contraction(ndim)]


def _plain(name: str) -> str:
    # One spelling for a class and its layer names: Conv2DTranspose, conv2d_transpose_1, conv2_d_transpose.
    lifted = re.sub(r"^(Scan|Vmap|Checkpoint|Remat)(?=[A-Z])", "", name)
    return re.sub(r"(_\d+)$", "", lifted).replace("_", "").lower()


def _bias_beside(place: Place) -> Shape | None:
    # Shape of the bias. A gate without a bias gets the shape of the bias of another gate.
    wanted = "b" if place.name in ("w", "w_i", "w_h") else "bias"
    if wanted in place.beside:
        bias = place.beside[wanted]
        space = getattr(place.owner, "num_spatial_dims", 0) if place.owner_class else 0
        return bias[: len(bias) - space]  # Equinox adds axes of length 1
    if not _GATE.fullmatch(place.layer):
        return None
    gates = [leaves.get("bias", ()) for layer, leaves in place.layers.items() if _GATE.fullmatch(layer)]
    return next((bias for bias in gates if place.shape[-1] in (bias[-1:] + bias[: len(bias) - 1])), None)


def _stacked_on(place: Place) -> Axes | None:
    # Axes along which layers are stacked, if they are named.
    named = tuple(a for a, name in enumerate(place.axis_names) if name and _STACK_OF_AXES.fullmatch(name))
    if named:
        return named
    stacks = sum("layer_stack" in name for name in place.names)  # of Haiku
    return tuple(range(stacks)) if stacks else None


def _sizes(place: Place) -> dict[str, Shape]:
    # Sizes that an Equinox or NNX layer stores, stacked or not.
    owner = place.owner
    if not place.owner_class:
        return {}
    given = {
        "i": getattr(owner, "in_features", getattr(owner, "in_channels", None)),
        "o": getattr(owner, "out_features", getattr(owner, "out_channels", None)),
    }
    hidden, gates = getattr(owner, "hidden_size", None), _CELLS.get(place.owner_class)
    if gates and isinstance(hidden, int):
        given = {"i": hidden if _RECURRENT.fullmatch(place.name) else owner.input_size, "o": gates * hidden}
    groups = getattr(owner, "groups", getattr(owner, "feature_group_count", 1))
    if isinstance(given["i"], int) and isinstance(groups, int):
        given["i"] //= groups
    sizes = {letter: (1,) if size == "scalar" else size for letter, size in given.items()}
    return {
        letter: size if isinstance(size, tuple) else (size,)
        for letter, size in sizes.items()
        if isinstance(size, int | tuple)
    }


def _beside_single_layers(place: Place) -> bool:
    # A stack adds an axis to every leaf of its layers. So a neighbouring bias or scale with one axis means no stack.
    if any(map(_LIFTED.fullmatch, place.names)):
        return False
    around = [place.beside, *place.layers.values()]
    return any(len(shape) == 1 for leaves in around for shape in leaves.values())


def _of_bias(place: Place) -> Inference:
    everything = tuple(range(len(place.shape)))

    def split(layers: Axes, source: str, doubt: str = "") -> Inference:
        counted = tuple(a for a in layers if a in everything)
        return Inference(Kind.BIASES, tuple(a for a in everything if a not in counted), counted, source, doubt=doubt)

    if place.axis_names and (units := _names_of(place.owner, "Out", "out_axis_names")):
        return split(tuple(a for a in everything if place.axis_names[a] not in units), "box")
    if weights := _weights_beside(place):
        weight = place._replace(names=(*place.names[:-1], weights[0]), shape=place.beside[weights[0]], axis_names=())
        return split(_of_weight(weight)[1] if len(everything) > 1 else (), "name")
    own = 1 if place.owner_class in ("Linear", *_CELLS) else None
    if told := _CONVOLUTION.fullmatch(_plain(place.owner_class)):
        own = 1 + int(told["space"] or getattr(place.owner, "num_spatial_dims", 0))
    if own is not None:
        return split(everything[: max(len(everything) - own, 0)], "class")
    alone = len(place.beside) == 1 and _by_class(place) is None
    return split((), "name", "no weight is next to it, so it may belong to a normalisation layer" if alone else "")
