"""Layers of frameworks that the tests do not install, with the axes that one unit's incoming weights lie on.

To make the file again, in an environment of its own with penzai 0.2 in it too:

    python -m venv layers-env
    layers-env/bin/pip install "keras==3.15.*" "jax==0.10.*" haliax==1.3 penzai==0.2.5 paramax flowjax e3nn-jax dm-haiku
    layers-env/bin/python scripts/references/layers.py tests/data/layers.json

The layers are made by the frameworks; those of PyTorch are written down from its documentation, as `state_dict` lists
them. The axes are written down by hand, from the pages that are stored beside them: the axes of a weight that the layer
sums over to make one number of its output. `null` stands for a leaf that belongs to no unit, and [] for a weight whose
units no set of axes separates. Trees are stored as dictionaries, lists and nodes with their class and settings.
"""

import json
import os
import sys
from importlib.metadata import version

os.environ["KERAS_BACKEND"] = "jax"

import jax
import jax._src.tree_util as private

if not hasattr(private, "BuiltInKeyEntry"):
    private.BuiltInKeyEntry = object  # haliax 1.3 imports this name of JAX, for an annotation

import e3nn_jax
import equinox as eqx
import flowjax.distributions
import flowjax.flows
import haiku
import haliax
import jax.numpy as jnp
import keras
import paramax
from penzai import pz

KEY = jax.random.PRNGKey(0)
STACK = 6
CASES = []


def stored(node):
    """The tree as JSON, without its numbers."""
    if isinstance(node, dict):
        return {"dict": {name: stored(value) for name, value in node.items()}}
    if isinstance(node, list | tuple):
        return {"list": [stored(value) for value in node]}
    if hasattr(node, "shape") and hasattr(node, "dtype") and not isinstance(node, haliax.NamedArray | pz.nx.NamedArray):
        return {"shape": list(node.shape), "dtype": str(node.dtype)}
    entries = jax.tree_util.default_registry.flatten_one_level_with_keys(node)
    if entries is None or isinstance(node, jax._src.custom_derivatives.custom_jvp):
        return None
    children = {}
    for key, child in entries[0]:
        attribute = isinstance(key, jax.tree_util.GetAttrKey)
        children[key.name if attribute else f"[{key.key if hasattr(key, 'key') else key.idx}]"] = stored(child)
    bases = [f"{base.__module__}.{base.__qualname__}" for base in type(node).__mro__[:-1]]
    settings = {name: plain(value) for name, value in settings_of(node) if name not in children}
    return {"bases": bases, "children": children, "settings": {k: v for k, v in settings.items() if v is not None}}


def settings_of(node):
    """What an object says about itself beside its arrays."""
    names = ["axes", "In", "Out", "Spatial", "Vocab", "Embed", "Block", "in_axis_names", "out_axis_names"]
    names += ["vocabulary_axis", "named_axes", "label", "in_features", "out_features", "groups", "kernel_size"]
    return [(name, getattr(node, name)) for name in names if hasattr(node, name)]


def plain(value):
    """A setting as JSON: an axis is {"axis": [name, size]}, a mapping from names to sizes in a list."""
    if isinstance(value, haliax.Axis):
        return {"axis": [value.name, value.size]}
    if isinstance(value, dict):
        return {"mapping": list(value.items())}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value if isinstance(value, int | str) else None


def add(framework, name, tree, axes, page):
    """Keep one case."""
    released = "2.9" if framework == "torch" else version(framework)
    CASES.append({"name": f"{framework} {name}", "version": released, "page": page, "tree": stored(tree), "axes": axes})


def shapes(**given):
    """Arrays of these shapes, names as they are."""
    return {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in given.items()}


# Keras: kernels are (window …, inputs, filters); transposed, (window …, filters, inputs); depthwise, (window …, inputs,
# multiplier), where every pair of the last two is one unit.
KERAS = "https://keras.io/api/layers/"


def keras_case(name, layer, *inputs, axes, page):
    """The weights of a layer by their paths; `axes` by the last names of these."""
    layer(*(keras.Input(shape) for shape in inputs))
    tree = {w.path: jax.ShapeDtypeStruct(tuple(w.shape), jnp.float32) for w in layer.trainable_weights}
    found = {path: axes[ending] for path in tree for ending in axes if f"/{path}".endswith(f"/{ending}")}
    add("keras", name, tree, found, KERAS + page)


def keras_layers():
    """Each with and without a bias, as wide as its inputs and not, under Keras's name and a person's."""
    layers = keras.layers
    line, plane, space = (6, 4), (6, 6, 4), (6, 6, 6, 4)
    with_bias = {
        "Dense": (lambda n, **kw: layers.Dense(n, **kw), (4,), [0], "core_layers/dense/"),
        "Conv1D": (lambda n, **kw: layers.Conv1D(n, 3, **kw), line, [0, 1], "convolution_layers/convolution1d/"),
        "Conv2D": (lambda n, **kw: layers.Conv2D(n, 3, **kw), plane, [0, 1, 2], "convolution_layers/convolution2d/"),
        "Conv3D": (lambda n, **kw: layers.Conv3D(n, 3, **kw), space, [0, 1, 2, 3], "convolution_layers/convolution3d/"),
        "Conv2D grouped": (
            lambda n, **kw: layers.Conv2D(2 * n, 3, groups=2, **kw),
            plane,
            [0, 1, 2],
            "convolution_layers/convolution2d/",
        ),
        "Conv1DTranspose": (
            lambda n, **kw: layers.Conv1DTranspose(n, 3, **kw),
            line,
            [0, 2],
            "convolution_layers/convolution1d_transpose/",
        ),
        "Conv2DTranspose": (
            lambda n, **kw: layers.Conv2DTranspose(n, 3, **kw),
            plane,
            [0, 1, 3],
            "convolution_layers/convolution2d_transpose/",
        ),
        "Conv3DTranspose": (
            lambda n, **kw: layers.Conv3DTranspose(n, 3, **kw),
            space,
            [0, 1, 2, 4],
            "convolution_layers/convolution3d_transpose/",
        ),
    }
    for name, (make, inputs, axes, page) in with_bias.items():
        for units, shape in ((5, ""), (4, " square")):
            for bias, without in ((True, ""), (False, " without bias")):
                for called, named in ((None, ""), ("up", " as up")):
                    layer = make(units, use_bias=bias, **({"name": called} if called else {}))
                    keras_case(f"{name}{shape}{without}{named}", layer, inputs, axes={"kernel": axes}, page=page)
    for multiplier in (1, 2, 4):
        for bias, without in ((True, ""), (False, " without bias")):
            for called, named in ((None, ""), ("mix", " as mix")):
                settings = {"depth_multiplier": multiplier, "use_bias": bias} | ({"name": called} if called else {})
                label = f"times {multiplier}{without}{named}"
                for space_axes, inputs in ((1, line), (2, plane)):
                    axes = list(range(space_axes))
                    keras_case(
                        f"DepthwiseConv{space_axes}D {label}",
                        getattr(layers, f"DepthwiseConv{space_axes}D")(3, **settings),
                        inputs,
                        axes={"kernel": axes},
                        page=f"convolution_layers/depthwise_convolution{space_axes}d/",
                    )
                    keras_case(
                        f"SeparableConv{space_axes}D {label}",
                        getattr(layers, f"SeparableConv{space_axes}D")(5, 3, **settings),
                        inputs,
                        axes={"depthwise_kernel": axes, "pointwise_kernel": [*axes, space_axes]},
                        page=f"convolution_layers/separable_convolution{space_axes}d/",
                    )
    einsums = {
        "abc,cd->abd": ("d", (), [0]),
        "abc,dc->abd": ("d", (), [1]),
        "abc,cde->abde": ("de", (2,), [0]),
        "abc,dce->abde": ("de", (2,), [1]),
    }
    for equation, (bias, front, axes) in einsums.items():
        for units in (5, 4):
            shape = (*front, units)
            for bias_axes in (bias, None):
                layer = layers.EinsumDense(equation, output_shape=(None, *shape), bias_axes=bias_axes)
                label = f"EinsumDense {equation} onto {shape}{'' if bias_axes else ' without bias'}"
                keras_case(label, layer, line, axes={"kernel": axes}, page="core_layers/einsum_dense/")
    rows = {"kernel": [0], "recurrent_kernel": [0]}
    recurrent = "recurrent_layers/"
    for cell in (layers.SimpleRNN, layers.LSTM, layers.GRU):
        for units in (3, 4):
            for bias in (True, False):
                label = f"{cell.__name__} of {units}{'' if bias else ' without bias'}"
                keras_case(label, cell(units, use_bias=bias), line, axes=rows, page=recurrent)
    keras_case("Bidirectional LSTM", layers.Bidirectional(layers.LSTM(3)), line, axes=rows, page=recurrent)
    keras_case("TimeDistributed Dense", layers.TimeDistributed(layers.Dense(5)), line, axes=rows, page=recurrent)
    stack = layers.RNN(layers.StackedRNNCells([layers.LSTMCell(4), layers.GRUCell(5)]))
    keras_case("stacked cells", stack, line, axes=rows, page=recurrent)
    for dims in (1, 2, 3):
        layer = getattr(layers, f"ConvLSTM{dims}D")(3, 3)
        both = list(range(dims + 1))
        axes = {"kernel": both, "recurrent_kernel": both}
        keras_case(f"ConvLSTM{dims}D", layer, (4, *(5,) * dims, 2), axes=axes, page=recurrent + f"conv_lstm{dims}d/")
    heads = {"query/kernel": [0], "key/kernel": [0], "value/kernel": [0], "attention_output/kernel": [0, 1]}
    for bias, without in ((True, ""), (False, " without bias")):
        layer = layers.MultiHeadAttention(2, 5, use_bias=bias)
        keras_case(f"MultiHeadAttention{without}", layer, line, line, axes=heads, page="attention_layers/")
        layer = layers.GroupQueryAttention(5, 4, 2, use_bias=bias)
        keras_case(f"GroupQueryAttention{without}", layer, line, line, axes=heads, page="attention_layers/")
    keras_case("Embedding", layers.Embedding(7, 3), (5,), axes={"embeddings": [1]}, page="core_layers/embedding/")
    norms = {"gamma": None, "beta": None, "scale": None}
    for layer in (
        layers.LayerNormalization(),
        layers.LayerNormalization(axis=[1, 2]),
        layers.BatchNormalization(),
        layers.GroupNormalization(2),
        layers.RMSNormalization(),
        layers.BatchNormalization(scale=False),
    ):
        keras_case(f"{type(layer).__name__} {layer.name}", layer, line, axes=norms, page="normalization_layers/")
    keras_case("PReLU", layers.PReLU(), line, axes={"alpha": None}, page="activation_layers/prelu/")


# PyTorch: a weight is (outputs, inputs, window …); of a transposed convolution (inputs, outputs / groups, window …).
TORCH = "https://docs.pytorch.org/docs/2.9/generated/torch.nn."


def torch_layers():
    """As `state_dict` lists them, under a number and under people's names, and as `torch.func` stacks them."""
    convolutions = {f"Conv{d}d": (lambda n, d=d: (n, 4, *(3,) * d), [1, *range(2, d + 2)]) for d in (1, 2, 3)} | {
        f"ConvTranspose{d}d": (lambda n, d=d: (4, n, *(3,) * d), [0, *range(2, d + 2)]) for d in (1, 2, 3)
    }
    weights = {
        "Linear": (lambda n: (n, 4), [1]),
        "Bilinear": (lambda n: (n, 4, 3), [1, 2]),
        "Conv2d grouped": (lambda n: (2 * n, 2, 3, 3), [1, 2, 3]),
        "Conv2d depthwise": (lambda n: (4 * n, 1, 3, 3), [1, 2, 3]),
        **convolutions,
    }
    for name, (shape, axes) in weights.items():
        page = f"{TORCH}{name.split()[0]}.html"
        for units, square in ((5, ""), (4, " square")):
            for bias, without in ((True, ""), (False, " without bias")):
                plain_name = {"C": "conv1", "L": "fc", "B": "mix"}[name[0]] if "Transpose" not in name else "deconv"
                for called in ("net.0", "up", plain_name):
                    weight = shape(units)
                    bias_shape = (weight[1] if "Transpose" in name else weight[0],)
                    for stack in (False, True):
                        front = (STACK,) if stack else ()
                        tree = shapes(**{f"{called}.weight": front + weight})
                        tree |= shapes(**{f"{called}.bias": front + bias_shape}) if bias else {}
                        label = f"{name}{square}{without} as {called}{' stacked' * stack}"
                        add("torch", label, tree, {f"{called}.weight": [a + stack for a in axes]}, page)
    grouped = shapes(**{"up.weight": (4, 3, 3, 3), "up.bias": (6,)})
    add("torch", "ConvTranspose2d grouped", grouped, {"up.weight": []}, f"{TORCH}ConvTranspose2d.html")
    for cell, gates in (("RNN", 1), ("LSTM", 4), ("GRU", 3)):
        for bias in (True, False):
            tree = shapes(
                **{
                    "rnn.weight_ih_l0": (3 * gates, 4),
                    "rnn.weight_hh_l0": (3 * gates, 3),
                    "rnn.weight_ih_l1_reverse": (3 * gates, 6),
                }
            )
            tree |= shapes(**{"rnn.bias_ih_l0": (3 * gates,), "rnn.bias_hh_l0": (3 * gates,)}) if bias else {}
            axes = {path: [1] for path in tree if "weight" in path}
            add("torch", f"{cell}{'' if bias else ' without bias'}", tree, axes, f"{TORCH}{cell}.html")
    one = shapes(
        **{"a.in_proj_weight": (12, 4), "a.in_proj_bias": (12,), "a.out_proj.weight": (4, 4), "a.out_proj.bias": (4,)}
    )
    page = f"{TORCH}MultiheadAttention.html"
    add("torch", "MultiheadAttention", one, {"a.in_proj_weight": [1], "a.out_proj.weight": [1]}, page)
    three = shapes(**{f"a.{part}_proj_weight": (4, n) for part, n in (("q", 4), ("k", 5), ("v", 6))})
    add("torch", "MultiheadAttention of three", three, {path: [1] for path in three}, page)
    add("torch", "Embedding", shapes(**{"embed.weight": (7, 3)}), {"embed.weight": [1]}, f"{TORCH}Embedding.html")
    for name, shape in (
        ("LayerNorm", (3,)),
        ("LayerNorm of a matrix", (4, 3)),
        ("BatchNorm2d", (4,)),
        ("GroupNorm", (4,)),
    ):
        for front, label in (((), ""), ((STACK,), " stacked")):
            tree = shapes(**{"1.weight": front + shape, "1.bias": front + shape})
            add("torch", f"{name}{label}", tree, dict.fromkeys(tree, None), f"{TORCH}{name.split()[0]}.html")
    add("torch", "PReLU", shapes(**{"1.weight": (4,)}), {"1.weight": None}, f"{TORCH}PReLU.html")
    tree = shapes(
        **{
            "fc.bias": (5,),
            "fc.parametrizations.weight.original0": (5, 1),
            "fc.parametrizations.weight.original1": (5, 4),
        }
    )
    axes = {"fc.parametrizations.weight.original0": None, "fc.parametrizations.weight.original1": [1]}
    add(
        "torch",
        "weight_norm",
        tree,
        axes,
        "https://docs.pytorch.org/docs/2.9/generated/torch.nn.utils.parametrizations.weight_norm.html",
    )


def haliax_layers():
    """Weights are named arrays; a layer says which of their axes are `In` and `Out`."""
    nn, axis = haliax.nn, haliax.Axis
    page = "https://haliax.readthedocs.io/en/latest/nn/"
    inputs, more, block = axis("in", 4), axis("k", 2), axis("block", STACK)
    for units in (axis("out", 5), axis("out", 4)):
        for bias, without in ((True, ""), (False, " without bias")):
            size = f"onto {units.size}{without}"
            for first, at in ((True, [1]), (False, [0])):
                layer = nn.Linear.init(inputs, units, key=KEY, out_first=first, use_bias=bias)
                add("haliax", f"Linear {size}{' out first' * first}", layer, {"weight/0": at}, page)
                keys = jax.random.split(KEY, STACK)
                layer = nn.Stacked.init(block, nn.Linear)(inputs, units, key=keys, out_first=first, use_bias=bias)
                moved = {"stacked/weight/0": [at[0] + 1]}
                add("haliax", f"Linear {size}{' out first' * first} stacked", layer, moved, page)
            layer = nn.Linear.init((inputs, more), units, key=KEY, use_bias=bias, out_first=False)
            add("haliax", f"Linear from two {size}", layer, {"weight/0": [0, 1]}, page)
            layer = nn.Linear.init(inputs, (more, units), key=KEY, use_bias=bias, out_first=False)
            add("haliax", f"Linear onto two {size}", layer, {"weight/0": [0]}, page)
            for kind in (nn.Conv, nn.ConvTranspose):
                layer = kind.init(("h", "w"), inputs, units, kernel_size=3, key=KEY, use_bias=bias)
                add("haliax", f"{kind.__name__} {size}", layer, {"weight/0": [1, 2, 3]}, page)
    add("haliax", "Embedding", nn.Embedding.init(axis("vocab", 7), inputs, key=KEY), {"weight/0": [1]}, page)
    add("haliax", "LayerNorm", nn.LayerNorm.init(inputs), {"weight/0": None, "bias/0": None}, page)
    layer = nn.MLP.init(inputs, axis("out", 5), 3, 2, key=KEY)
    add("haliax", "MLP", layer, {f"layers/{i}/weight/0": [0] for i in range(3)}, page)


def penzai_layers():
    """Weights are named arrays in parameters; a layer says which of their axes are contracted."""
    page = "https://penzai.readthedocs.io/en/stable/api/pz.nn.html"
    for size in (5, 4):
        linear = pz.nn.Linear.from_config("part", KEY, {"in": 4}, {"out": size})
        affine = pz.nn.Affine.from_config("part", KEY, {"in": 4}, {"out": size})
        onto = pz.nn.Linear.from_config("part", KEY, {"in": 4}, {"heads": 2, "out": size})
        for name, layer, axes in (
            ("Linear", linear, {"weights/value/data_array": [0]}),
            ("Affine", affine, {"sublayers/0/weights/value/data_array": [0]}),
            ("Linear onto two", onto, {"weights/value/data_array": [0]}),
        ):
            add("penzai", f"{name} onto {size}", pz.freeze_params(layer), axes, page)
            values = [pz.unbind_params(layer, freeze=True)[1]]
            add("penzai", f"{name} onto {size}, parameters alone", values, {"0/0/value/data_array": [0]}, page)
    table = pz.nn.EmbeddingTable.from_config("part", KEY, vocab_size=7, embedding_axes={"e": 3})
    add("penzai", "EmbeddingTable", pz.freeze_params(table), {"embeddings/value/data_array": [1]}, page)
    norm = pz.nn.LayerNorm.from_config("part", KEY, {"in": 3})
    axes = {"sublayers/1/weights/value/data_array": None, "sublayers/2/bias/value/data_array": None}
    add("penzai", "LayerNorm", pz.freeze_params(norm), axes, page)


def wrapped_layers():
    """Layers of Equinox whose weight is wrapped by paramax, and the flows of flowjax that are made so."""
    page = "https://danielward27.github.io/paramax/api/wrappers.html"
    for units in (5, 4):
        linear = eqx.nn.Linear(4, units, key=KEY)
        mask = jnp.ones_like(linear.weight, bool)
        for name, wrapper, axes in (
            (
                "WeightNormalization",
                paramax.WeightNormalization(linear.weight),
                {"weight/weight": [1], "weight/scale/args/0": None},
            ),
            (
                "masked",
                paramax.Parameterize(jnp.where, mask, linear.weight, 0.0),
                {"weight/args/0": None, "weight/args/1": [1]},
            ),
            ("exp", paramax.Parameterize(jnp.exp, linear.weight), {"weight/args/0": [1]}),
            ("NonTrainable", paramax.NonTrainable(linear.weight), {"weight/tree": [1]}),
        ):
            layer = eqx.tree_at(lambda module: module.weight, linear, wrapper)
            add("paramax", f"{name} onto {units}", eqx.filter(layer, eqx.is_array), axes, page)
    flows, base = flowjax.flows, flowjax.distributions.Normal(jnp.zeros(2))
    page = "https://danielward27.github.io/flowjax/api/flows.html"
    inner = "bijection/bijection/bijection/bijections/0"
    settings = {"base_dist": base, "flow_layers": 3, "nn_depth": 1}
    flow = flows.masked_autoregressive_flow(KEY, nn_width=5, **settings)
    axes = {f"{inner}/masked_autoregressive_mlp/layers/{i}/weight/args/1": [2] for i in range(2)}
    add("flowjax", "masked autoregressive flow", eqx.filter(flow, eqx.is_array), axes, page)
    flow = flows.coupling_flow(KEY, nn_width=5, **settings)
    axes = {f"{inner}/conditioner/layers/{i}/weight": [2] for i in range(2)}
    add("flowjax", "coupling flow", eqx.filter(flow, eqx.is_array), axes, page)
    flow = flows.block_neural_autoregressive_flow(KEY, base_dist=base, nn_depth=1)
    axes = {f"{inner}/bijection/layers/{i}/0/weight/weight/args/0": [2] for i in range(2)}
    axes |= {f"{inner}/bijection/layers/{i}/0/weight/scale/args/0": None for i in range(2)}
    add("flowjax", "block neural autoregressive flow", eqx.filter(flow, eqx.is_array), axes, page)


def e3nn_layers():
    """A weight for each pair of irreps, (multiplicity in, multiplicity out)."""
    page = "https://e3nn-jax.readthedocs.io/en/latest/api/nn.html"
    x = e3nn_jax.normal("3x0e+1x1o", KEY, (2,))
    tree = haiku.transform(lambda x: e3nn_jax.haiku.Linear("2x0e+1x1o")(x)).init(KEY, x)
    add("e3nn_jax", "Linear in Haiku", tree, {f"linear/{name}": [0] for name in tree["linear"]}, page)
    tree = e3nn_jax.flax.Linear("2x0e+1x1o").init(KEY, x)["params"]
    add("e3nn_jax", "Linear in Flax", {"linear": tree}, {f"linear/{name}": [0] for name in tree}, page)
    tree = haiku.transform(lambda x: e3nn_jax.haiku.MultiLayerPerceptron([4, 5], jax.nn.tanh)(x)).init(
        KEY, jnp.ones((2, 3))
    )
    axes = {f"multi_layer_perceptron/linear_{i}/w": [0] for i in range(2)}
    add("e3nn_jax", "MultiLayerPerceptron in Haiku", tree, axes, page)


def main() -> None:
    keras_layers()
    torch_layers()
    haliax_layers()
    penzai_layers()
    wrapped_layers()
    e3nn_layers()
    names = [case["name"] for case in CASES]
    assert len(set(names)) == len(names), [name for name in names if names.count(name) > 1]
    command = "python scripts/references/layers.py tests/data/layers.json"
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in CASES)
    with open(sys.argv[1], "w") as file:
        file.write(f'{{"command": {json.dumps(command)}, "cases": [\n{lines}\n]}}\n')
    print(len(CASES), "cases")


if __name__ == "__main__":
    main()
