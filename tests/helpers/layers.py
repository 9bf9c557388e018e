"""Layers of Flax Linen, Flax NNX, Equinox and Haiku, with the axes that one unit's incoming weights lie on.

The axes are written down from the documentation of each framework: the axes of a weight that the layer sums over to
make one number of its output. Nothing here asks the package. Layers are made by the frameworks themselves, as shapes;
variants are made as people make them: `jax.vmap` of the initialiser, `nn.vmap`, `nn.scan`, `eqx.filter_vmap`.

Layers of frameworks outside the lock are stored, with the same columns, by `scripts/references/layers.py`.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
from flax import nnx

Axes = tuple[int, ...] | None
"""Axes of one unit's incoming weights; None for what no kind is to claim: scales and offsets of norms."""

STACK = 6
KEY = jax.random.key(0)
ROW, LINE, PLANE, SPACE = (jnp.ones((1, *(5,) * space, 4)) for space in range(4))
TOKENS = jnp.arange(3)
SQUARE = 4


class Case(NamedTuple):
    """One layer: its tree of shapes, and the right axes by path.

    Attributes:
        name: The framework, the layer and the variant.
        tree: The parameters, as the framework makes them.
        axes: {path: axes} of the layer's weights, and None for each leaf that belongs to no unit.
    """

    name: str
    tree: Any
    axes: dict[str, Axes]


def shifted(axes: Axes, at: int) -> Axes:
    """The axes after another one was put in at `at`."""
    return None if axes is None else tuple(a + (a >= at) for a in axes)


def stacked(tree: Any, at: int, count: int = STACK) -> Any:
    """The tree with the axis that counts layers at `at` of every leaf: what `jax.vmap(init, out_axes=at)` makes."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(put_in(leaf.shape, at, count), leaf.dtype), tree)


def put_in(shape: tuple[int, ...], at: int, count: int) -> tuple[int, ...]:
    """The shape with another axis at `at`."""
    return (*shape[:at], count, *shape[at:])


class Layer(NamedTuple):
    """How a layer is made, and the right axes of its weights.

    Attributes:
        make: The module, from the number of its units and further settings.
        inputs: What it is called with.
        axes: {path below the layer: axes}.
    """

    make: Callable[..., Any]
    inputs: tuple[Any, ...]
    axes: dict[str, Axes]


# Flax Linen: https://flax-linen.readthedocs.io/en/latest/api_reference/flax.linen/layers.html
# A kernel has the axes (window …, inputs, features); with `transpose_kernel` (window …, features, inputs).
LINEN = {
    "Dense": Layer(lambda n, **kw: nn.Dense(n, **kw), (ROW,), {"kernel": (0,)}),
    "DenseGeneral onto two": Layer(lambda n, **kw: nn.DenseGeneral((2, n), **kw), (ROW,), {"kernel": (0,)}),
    "DenseGeneral from two": Layer(
        lambda n, **kw: nn.DenseGeneral(n, axis=(-2, -1), **kw), (LINE,), {"kernel": (0, 1)}
    ),
    "Einsum": Layer(lambda n, **kw: nn.Einsum((4, 2, n), "...i,ijk->...jk", **kw), (ROW,), {"kernel": (0,)}),
    "Conv 1": Layer(lambda n, **kw: nn.Conv(n, (3,), **kw), (LINE,), {"kernel": (0, 1)}),
    "Conv 2": Layer(lambda n, **kw: nn.Conv(n, (3, 3), **kw), (PLANE,), {"kernel": (0, 1, 2)}),
    "Conv 3": Layer(lambda n, **kw: nn.Conv(n, (3, 3, 3), **kw), (SPACE,), {"kernel": (0, 1, 2, 3)}),
    "Conv grouped": Layer(
        lambda n, **kw: nn.Conv(2 * n, (3, 3), feature_group_count=2, **kw), (PLANE,), {"kernel": (0, 1, 2)}
    ),
    "Conv depthwise": Layer(
        lambda n, **kw: nn.Conv(4 * n, (3, 3), feature_group_count=4, **kw), (PLANE,), {"kernel": (0, 1, 2)}
    ),
    "Conv pointwise": Layer(lambda n, **kw: nn.Conv(n, (1, 1), **kw), (PLANE,), {"kernel": (0, 1, 2)}),
    "ConvTranspose 1": Layer(lambda n, **kw: nn.ConvTranspose(n, (3,), **kw), (LINE,), {"kernel": (0, 1)}),
    "ConvTranspose 2": Layer(lambda n, **kw: nn.ConvTranspose(n, (3, 3), **kw), (PLANE,), {"kernel": (0, 1, 2)}),
    "ConvTranspose transposed": Layer(
        lambda n, **kw: nn.ConvTranspose(n, (3, 3), transpose_kernel=True, **kw), (PLANE,), {"kernel": (0, 1, 3)}
    ),
    # One kernel per position: (position …, window · inputs, features), a bias per position too.
    "ConvLocal": Layer(lambda n, **kw: nn.ConvLocal(n, (2, 2), padding="VALID", **kw), (PLANE,), {"kernel": (2,)}),
    "MultiHeadDotProductAttention": Layer(
        lambda n, **kw: nn.MultiHeadDotProductAttention(2, out_features=n, **kw),
        (LINE, LINE),
        {"query/kernel": (0,), "key/kernel": (0,), "value/kernel": (0,), "out/kernel": (0, 1)},
    ),
}
GATE = {"kernel": (0,)}
LINEN_OTHERS = {
    "Embed": Layer(lambda: nn.Embed(7, 3), (TOKENS,), {"embedding": (1,)}),
    "LayerNorm": Layer(lambda: nn.LayerNorm(), (ROW,), {"scale": None, "bias": None}),
    "LayerNorm of a matrix": Layer(
        lambda: nn.LayerNorm(reduction_axes=(-2, -1), feature_axes=(-2, -1)), (LINE,), {"scale": None, "bias": None}
    ),
    "LayerNorm without scale": Layer(lambda: nn.LayerNorm(use_scale=False), (ROW,), {"bias": None}),
    "BatchNorm": Layer(lambda: nn.BatchNorm(True), (ROW,), {"scale": None, "bias": None}),
    "GroupNorm": Layer(lambda: nn.GroupNorm(2), (PLANE,), {"scale": None, "bias": None}),
    "InstanceNorm": Layer(lambda: nn.InstanceNorm(), (PLANE,), {"scale": None, "bias": None}),
    "RMSNorm": Layer(lambda: nn.RMSNorm(), (ROW,), {"scale": None}),
    "LSTMCell": Layer(
        lambda: nn.LSTMCell(3),
        ((jnp.ones((1, 3)), jnp.ones((1, 3))), ROW),
        {f"{gate}/kernel": (0,) for gate in ("ii", "if", "ig", "io", "hi", "hf", "hg", "ho")},
    ),
    "OptimizedLSTMCell": Layer(
        lambda: nn.OptimizedLSTMCell(3),
        ((jnp.ones((1, 3)), jnp.ones((1, 3))), ROW),
        {f"{gate}/kernel": (0,) for gate in ("ii", "if", "ig", "io", "hi", "hf", "hg", "ho")},
    ),
    "GRUCell": Layer(
        lambda: nn.GRUCell(3),
        (jnp.ones((1, 3)), ROW),
        {f"{gate}/kernel": (0,) for gate in ("ir", "iz", "in", "hr", "hz", "hn")},
    ),
    "MGUCell": Layer(
        lambda: nn.MGUCell(3), (jnp.ones((1, 3)), ROW), {f"{gate}/kernel": (0,) for gate in ("if", "in", "hf", "hn")}
    ),
    "SimpleCell": Layer(lambda: nn.SimpleCell(3), (jnp.ones((1, 3)), ROW), {"i/kernel": (0,), "h/kernel": (0,)}),
    "ConvLSTMCell": Layer(
        lambda: nn.ConvLSTMCell(3, (3, 3)),
        ((jnp.ones((1, 5, 5, 3)),) * 2, PLANE),
        {"ih/kernel": (0, 1, 2), "hh/kernel": (0, 1, 2)},
    ),
}


def linen_names(layer: str) -> str:
    """The name that Linen gives the layer: its class, counted."""
    return f"{layer.split()[0]}_0"


def linen_params(module: nn.Module, inputs: tuple[Any, ...]) -> Callable[[jax.Array], Any]:
    """The initialiser of a module's parameters."""
    return lambda key: module.init(key, *inputs)["params"]


def below(name: str, tree: Any, axes: dict[str, Axes], at: int | None = None) -> tuple[Any, dict[str, Axes]]:
    """A tree and its axes under a name, with another axis at `at`."""
    moved = {f"{name}/{path}" if name else path: each for path, each in axes.items()}
    return {name: tree}, moved if at is None else {path: shifted(each, at) for path, each in moved.items()}


def linen() -> Iterator[Case]:
    """Layers of Flax Linen."""
    for name, (make, inputs, axes) in LINEN.items():
        auto = linen_names(name)
        for units, shape in ((5, ""), (SQUARE, " square")):
            for settings, bias in (({}, ""), ({"use_bias": False}, " without bias")):
                init = linen_params(make(units, **settings), inputs)
                tree = jax.eval_shape(init, KEY)
                for called in (auto, "up"):
                    yield Case(f"linen {name}{shape}{bias} as {called}", *below(called, tree, axes))
                for at in (0, 1):
                    yield Case(f"linen {name}{shape}{bias} stacked on {at}", *below(auto, stacked(tree, at), axes, at))
        if name in ("Dense", "Conv 2", "ConvTranspose transposed"):
            yield from linen_boxed(name, make, inputs, axes)
    for name, (make, inputs, axes) in LINEN_OTHERS.items():
        init = linen_params(make(), inputs)
        tree = jax.eval_shape(init, KEY)
        for called in (linen_names(name), "part"):
            yield Case(f"linen {name} as {called}", *below(called, tree, axes))
            for at in (0, 1):
                label = f"linen {name} as {called} stacked on {at}"
                yield Case(label, *below(called, stacked(tree, at), axes, at))
    yield from linen_lifted()


def linen_boxed(name: str, make: Any, inputs: Any, axes: dict[str, Axes]) -> Iterator[Case]:
    """A layer whose kernel carries the names of its axes, alone and lifted, with and without bias."""
    for box in (nn.with_partitioning, nn.with_logical_partitioning):
        for bias in (True, False):
            drawn = nn.initializers.normal()
            ndim = len(jax.eval_shape(linen_params(make(5), inputs), KEY)["kernel"].shape)
            names = (*(f"n{a}" for a in range(ndim - 2)), "embed", "mlp")
            settings = {"use_bias": bias, "kernel_init": box(drawn, names)}
            tree = jax.eval_shape(linen_params(make(5, **settings), inputs), KEY)
            label = f"linen {name} in {box.__name__[5:]}{'' if bias else ' without bias'}"
            yield Case(label, *below(linen_names(name), tree, axes))
            for at in (0, 1):
                lift = partial(
                    nn.vmap,
                    variable_axes={"params": at},
                    split_rngs={"params": True},
                    in_axes=None,
                    axis_size=STACK,
                    metadata_params={nn.PARTITION_NAME: "layers"},
                )
                inner = make(5, **settings)
                lifted = lift(type(inner))
                fields = {f: getattr(inner, f) for f in inner.__dataclass_fields__ if f not in ("parent", "name")}
                stack = jax.eval_shape(linen_params(lifted(**fields), inputs), KEY)
                yield Case(f"{label} lifted to {at}", *below("blocks", stack, axes, at))


class Scanned(nn.Module):
    """A block with a dense layer, scanned over layers, as wide as its input."""

    at: int
    settings: dict[str, Any]
    length: int
    name_of_layer: str | None = None

    @nn.compact
    def __call__(self, x):
        """The last layer's output."""

        class Block(nn.Module):
            settings: dict[str, Any]

            @nn.compact
            def __call__(self, x, _):
                return nn.Dense(x.shape[-1], **self.settings)(x), None

        scanned = nn.scan(
            Block,
            variable_axes={"params": self.at},
            split_rngs={"params": True},
            length=self.length,
            metadata_params={nn.PARTITION_NAME: "layers"},
        )
        return scanned(self.settings, name=self.name_of_layer)(x, None)[0]


def linen_lifted() -> Iterator[Case]:
    """Scanned layers, of other numbers than inputs and of as many, named by Linen and by people."""
    box = nn.with_partitioning(nn.initializers.normal(), ("embed", "mlp"))
    for at in (0, 1):
        for length in (3, 4):
            for bias in (True, False):
                for boxed in (False, True):
                    for called in (None, "layers"):
                        settings = {"use_bias": bias} | ({"kernel_init": box} if boxed else {})
                        tree = jax.eval_shape(linen_params(Scanned(at, settings, length, called), (ROW,)), KEY)
                        (outer,) = tree
                        label = f"{length} scanned to {at}{'' if bias else ' without bias'}{' boxed' * boxed}"
                        axes = {f"{outer}/Dense_0/kernel": shifted((0,), at)}
                        yield Case(f"linen {label} as {outer}", tree, axes)


# Flax NNX: https://flax.readthedocs.io/en/latest/api_reference/flax.nnx/nn/index.html; layouts as in Linen.
class Linear(nnx.Linear):
    """A class of someone's own."""


class Conv(nnx.Conv):
    """A class of someone's own."""


def nnx_attention(units: int, rngs: nnx.Rngs, **settings: Any) -> nnx.Module:
    """Attention onto `units`."""
    return nnx.MultiHeadAttention(2, 4, out_features=units, decode=False, rngs=rngs, **settings)


NNX: dict[str, tuple[Callable[..., Any], dict[str, Axes]]] = {
    "Linear": (lambda n, **kw: nnx.Linear(4, n, **kw), {"kernel": (0,)}),
    "Linear of one's own": (lambda n, **kw: Linear(4, n, **kw), {"kernel": (0,)}),
    "LinearGeneral onto two": (lambda n, **kw: nnx.LinearGeneral(4, (2, n), **kw), {"kernel": (0,)}),
    "LinearGeneral from two": (lambda n, **kw: nnx.LinearGeneral((2, 4), n, axis=(-2, -1), **kw), {"kernel": (0, 1)}),
    "Conv 1": (lambda n, **kw: nnx.Conv(4, n, (3,), **kw), {"kernel": (0, 1)}),
    "Conv 2": (lambda n, **kw: nnx.Conv(4, n, (3, 3), **kw), {"kernel": (0, 1, 2)}),
    "Conv of one's own": (lambda n, **kw: Conv(4, n, (3, 3), **kw), {"kernel": (0, 1, 2)}),
    "Conv grouped": (lambda n, **kw: nnx.Conv(4, 2 * n, (3, 3), feature_group_count=2, **kw), {"kernel": (0, 1, 2)}),
    "ConvTranspose 2": (lambda n, **kw: nnx.ConvTranspose(4, n, (3, 3), **kw), {"kernel": (0, 1, 2)}),
    "ConvTranspose transposed": (
        lambda n, **kw: nnx.ConvTranspose(4, n, (3, 3), transpose_kernel=True, **kw),
        {"kernel": (0, 1, 3)},
    ),
    "MultiHeadAttention": (
        nnx_attention,
        {"query/kernel": (0,), "key/kernel": (0,), "value/kernel": (0,), "out/kernel": (0, 1)},
    ),
}
NNX_OTHERS: dict[str, tuple[Callable[..., Any], dict[str, Axes]]] = {
    "Embed": (lambda rngs: nnx.Embed(7, 3, rngs=rngs), {"embedding": (1,)}),
    "LayerNorm": (lambda rngs: nnx.LayerNorm(3, rngs=rngs), {"scale": None, "bias": None}),
    "LayerNorm without scale": (lambda rngs: nnx.LayerNorm(3, use_scale=False, rngs=rngs), {"bias": None}),
    "BatchNorm": (lambda rngs: nnx.BatchNorm(3, rngs=rngs), {"scale": None, "bias": None}),
    "BatchNorm without scale": (lambda rngs: nnx.BatchNorm(3, use_scale=False, rngs=rngs), {"bias": None}),
    "GroupNorm": (lambda rngs: nnx.GroupNorm(4, 2, rngs=rngs), {"scale": None, "bias": None}),
    "RMSNorm": (lambda rngs: nnx.RMSNorm(3, rngs=rngs), {"scale": None}),
    "LSTMCell": (
        lambda rngs: nnx.LSTMCell(4, 3, rngs=rngs),
        {f"{gate}/kernel": (0,) for gate in ("ii", "if_", "ig", "io", "hi", "hf", "hg", "ho")},
    ),
    "OptimizedLSTMCell": (
        lambda rngs: nnx.OptimizedLSTMCell(4, 3, rngs=rngs),
        {"dense_i/kernel": (0,), "dense_h/kernel": (0,)},
    ),
    "GRUCell": (lambda rngs: nnx.GRUCell(4, 3, rngs=rngs), {"dense_i/kernel": (0,), "dense_h/kernel": (0,)}),
    "SimpleCell": (lambda rngs: nnx.SimpleCell(4, 3, rngs=rngs), {"dense_i/kernel": (0,), "dense_h/kernel": (0,)}),
}


def in_nnx() -> Iterator[Case]:
    """Layers of Flax NNX: as a state, and as the module itself."""
    nnx.use_eager_sharding(False)

    for name, (make, axes) in NNX.items():
        for units, shape in ((5, ""), (SQUARE, " square")):
            for settings, bias in (({}, ""), ({"use_bias": False}, " without bias")):
                made = partial(make, units, **settings)
                module = nnx.eval_shape(lambda m=made: m(rngs=nnx.Rngs(0)))
                tree = nnx.state(module, nnx.Param)
                yield Case(f"nnx {name}{shape}{bias}", *below("up", tree, axes))
                if name != "MultiHeadAttention":  # which holds the state of a generator too
                    yield Case(f"nnx {name}{shape}{bias}, the module", {"up": module}, below("up", 0, axes)[1])
                for at in (0, 1):
                    yield Case(f"nnx {name}{shape}{bias} stacked on {at}", *below("up", stacked(tree, at), axes, at))
    for name, (make, axes) in NNX_OTHERS.items():
        tree = nnx.state(nnx.eval_shape(lambda m=make: m(nnx.Rngs(0))), nnx.Param)
        yield Case(f"nnx {name}", *below("part", tree, axes))
        for at in (0, 1):
            yield Case(f"nnx {name} stacked on {at}", *below("part", stacked(tree, at), axes, at))
    for bias in (True, False):
        for at in (0, 1):
            stack = nnx.state(nnx_sharded_stack(bias, at), nnx.Param)
            name = f"nnx Linear with sharding{'' if bias else ' without bias'} stacked on {at}"
            yield Case(name, *below("up", stack, {"kernel": (0,)}, at))


def nnx_sharded_stack(bias: bool, at: int) -> nnx.Module:
    """Linear layers, made by `nnx.vmap`, whose kernels carry the names of their axes."""
    kernel_init = nnx.with_partitioning(nnx.initializers.normal(), ("embed", "mlp"))

    @nnx.split_rngs(splits=STACK)
    @nnx.vmap(out_axes=at, transform_metadata={nnx.PARTITION_NAME: "layers"})
    def make(rngs: nnx.Rngs) -> nnx.Linear:
        return nnx.Linear(4, 5, use_bias=bias, kernel_init=kernel_init, rngs=rngs)

    return make(nnx.Rngs(0))


# Equinox: https://docs.kidger.site/equinox/api/nn/linear/ and its neighbours. A weight is (units, inputs, window …).
class OwnLinear(eqx.nn.Linear):
    """A class of someone's own."""


class OwnConv(eqx.nn.Conv2d):
    """A class of someone's own."""


class OwnNorm(eqx.nn.LayerNorm):
    """A class of someone's own, whose name does not say what it is."""


class Scale(eqx.nn.LayerNorm):
    """Another."""


EQUINOX: dict[str, tuple[Callable[..., Any], dict[str, Axes]]] = {
    "Linear": (lambda n, **kw: eqx.nn.Linear(4, n, **kw), {"weight": (1,)}),
    "Linear onto one": (lambda n, **kw: eqx.nn.Linear(n, 1, **kw), {"weight": (1,)}),
    "Linear onto a scalar": (lambda n, **kw: eqx.nn.Linear(n, "scalar", **kw), {"weight": (1,)}),
    "Linear of one's own": (lambda n, **kw: OwnLinear(4, n, **kw), {"weight": (1,)}),
    "Conv1d": (lambda n, **kw: eqx.nn.Conv1d(4, n, 3, **kw), {"weight": (1, 2)}),
    "Conv2d": (lambda n, **kw: eqx.nn.Conv2d(4, n, 3, **kw), {"weight": (1, 2, 3)}),
    "Conv of one's own": (lambda n, **kw: OwnConv(4, n, 3, **kw), {"weight": (1, 2, 3)}),
    "Conv in any space": (lambda n, **kw: eqx.nn.Conv(2, 4, n, 3, **kw), {"weight": (1, 2, 3)}),
    "Conv grouped": (lambda n, **kw: eqx.nn.Conv2d(4, 2 * n, 3, groups=2, **kw), {"weight": (1, 2, 3)}),
    "Conv depthwise": (lambda n, **kw: eqx.nn.Conv1d(4, 4, n, groups=4, **kw), {"weight": (1, 2)}),
    # Its kernel is (units, inputs / groups, window …), as the convolution's; it is no transpose in memory.
    "ConvTranspose2d": (lambda n, **kw: eqx.nn.ConvTranspose2d(4, n, 3, **kw), {"weight": (1, 2, 3)}),
    "LSTMCell": (lambda n, **kw: eqx.nn.LSTMCell(4, n, **kw), {"weight_ih": (1,), "weight_hh": (1,)}),
    "GRUCell": (lambda n, **kw: eqx.nn.GRUCell(4, n, **kw), {"weight_ih": (1,), "weight_hh": (1,)}),
}
EQUINOX_OTHERS: dict[str, tuple[Callable[..., Any], dict[str, Axes]]] = {
    "MLP": (lambda key: eqx.nn.MLP(4, 3, 5, 2, key=key), {f"layers/{i}/weight": (1,) for i in range(3)}),
    "MultiheadAttention": (
        lambda key: eqx.nn.MultiheadAttention(2, 4, key=key),
        {f"{part}_proj/weight": (1,) for part in ("query", "key", "value", "output")},
    ),
    "Embedding": (lambda key: eqx.nn.Embedding(7, 3, key=key), {"weight": (1,)}),
    "LayerNorm": (lambda key: eqx.nn.LayerNorm(3), {"weight": None, "bias": None}),
    "LayerNorm of a matrix": (lambda key: eqx.nn.LayerNorm((4, 3)), {"weight": None, "bias": None}),
    "LayerNorm without weight": (lambda key: eqx.nn.LayerNorm(3, use_weight=False), {"bias": None}),
    "LayerNorm of one's own": (lambda key: OwnNorm(3), {"weight": None, "bias": None}),
    "LayerNorm of another name": (lambda key: Scale(3, use_weight=False), {"bias": None}),
    "GroupNorm": (lambda key: eqx.nn.GroupNorm(2, 4), {"weight": None, "bias": None}),
    "RMSNorm": (lambda key: eqx.nn.RMSNorm(3), {"weight": None, "bias": None}),
}


def equinox_shapes(make: Callable[[jax.Array], Any], at: int | None = None) -> Any:
    """The arrays of a module, or of a stack of modules, as shapes."""
    if at is not None:
        make, keys = eqx.filter_vmap(make, out_axes=eqx.if_array(at)), jax.random.split(KEY, STACK)
    else:
        keys = KEY
    return eqx.filter(eqx.filter_eval_shape(make, keys), lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))


def make_with_key(make: Callable[..., Any], key: jax.Array) -> Any:
    """The module that `make` gives with a key."""
    return make(key=key)


def in_equinox() -> Iterator[Case]:
    """Layers of Equinox."""
    for name, (make, axes) in EQUINOX.items():
        for units, shape in ((5, ""), (SQUARE, " square")):
            for settings, bias in (({}, ""), ({"use_bias": False}, " without bias")):
                made = partial(make_with_key, partial(make, units, **settings))
                yield Case(f"equinox {name}{shape}{bias}", [equinox_shapes(made)], below("0", 0, axes)[1])
                for at in (0, 1):
                    if at and not bias and name == "Linear onto a scalar":
                        continue  # its bias has no axis
                    tree = [equinox_shapes(made, at)]
                    yield Case(f"equinox {name}{shape}{bias} stacked on {at}", tree, below("0", 0, axes, at)[1])
    for name, (make, axes) in EQUINOX_OTHERS.items():
        yield Case(f"equinox {name}", [equinox_shapes(make)], below("0", 0, axes)[1])
        for at in (0, 1):
            tree = [equinox_shapes(make, at)]
            yield Case(f"equinox {name} stacked on {at}", tree, below("0", 0, axes, at)[1])
    for name, module in {
        "LayerNorm": eqx.nn.LayerNorm(3),
        "GroupNorm": eqx.nn.GroupNorm(2, 4),
        "LayerNorm of another name": Scale(3),
    }.items():
        filtered = eqx.tree_at(lambda m: m.weight, eqx.filter(module, eqx.is_array), None)
        yield Case(f"equinox {name} whose weight was filtered out", [filtered], {"0/bias": None})


# Haiku: https://dm-haiku.readthedocs.io/en/latest/api.html. w is (window …, inputs, units); transposed, (…, units,
# inputs); of a depthwise convolution (window …, 1, inputs · multiplier).
HAIKU: dict[str, tuple[Callable[..., Any], tuple[Any, ...], dict[str, Axes]]] = {
    "Linear": (lambda n, **kw: hk.Linear(n, **kw), (ROW,), {"linear/w": (0,)}),
    "Conv1D": (lambda n, **kw: hk.Conv1D(n, 3, **kw), (LINE,), {"conv1_d/w": (0, 1)}),
    "Conv2D": (lambda n, **kw: hk.Conv2D(n, 3, **kw), (PLANE,), {"conv2_d/w": (0, 1, 2)}),
    "Conv3D": (lambda n, **kw: hk.Conv3D(n, 3, **kw), (SPACE,), {"conv3_d/w": (0, 1, 2, 3)}),
    "Conv2D grouped": (
        lambda n, **kw: hk.Conv2D(2 * n, 3, feature_group_count=2, **kw),
        (PLANE,),
        {"conv2_d/w": (0, 1, 2)},
    ),
    "Conv2D named": (lambda n, **kw: hk.Conv2D(n, 3, name="up", **kw), (PLANE,), {"up/w": (0, 1, 2)}),
    "Conv1DTranspose": (lambda n, **kw: hk.Conv1DTranspose(n, 3, **kw), (LINE,), {"conv1_d_transpose/w": (0, 2)}),
    "Conv2DTranspose": (lambda n, **kw: hk.Conv2DTranspose(n, 3, **kw), (PLANE,), {"conv2_d_transpose/w": (0, 1, 3)}),
    "Conv3DTranspose": (
        lambda n, **kw: hk.Conv3DTranspose(n, 3, **kw),
        (SPACE,),
        {"conv3_d_transpose/w": (0, 1, 2, 4)},
    ),
    "Conv2DTranspose named": (lambda n, **kw: hk.Conv2DTranspose(n, 3, name="up", **kw), (PLANE,), {"up/w": (0, 1, 3)}),
    "DepthwiseConv1D": (lambda n, **kw: hk.DepthwiseConv1D(n, 3, **kw), (LINE,), {"depthwise_conv1_d/w": (0, 1)}),
    "DepthwiseConv2D": (lambda n, **kw: hk.DepthwiseConv2D(n, 3, **kw), (PLANE,), {"depthwise_conv2_d/w": (0, 1, 2)}),
    "SeparableDepthwiseConv2D": (
        lambda n, **kw: hk.SeparableDepthwiseConv2D(n, 3, **kw),
        (PLANE,),
        {f"separable_depthwise_conv2_d/~/depthwise_conv2_d{i}/w": (0, 1, 2) for i in ("", "_1")},
    ),
}
HAIKU_OTHERS: dict[str, tuple[Callable[..., Any], dict[str, Axes]]] = {
    "MultiHeadAttention": (
        lambda: hk.MultiHeadAttention(2, 3, w_init=jnp.zeros)(LINE, LINE, LINE),
        {f"multi_head_attention/{part}/w": (0,) for part in ("query", "key", "value", "linear")},
    ),
    "Embed": (lambda: hk.Embed(7, 3)(TOKENS), {"embed/embeddings": (1,)}),
    "LayerNorm": (
        lambda: hk.LayerNorm(-1, True, True)(ROW),
        {"layer_norm/scale": None, "layer_norm/offset": None},
    ),
    "BatchNorm": (
        lambda: hk.BatchNorm(True, True, 0.9)(PLANE, True),
        {"batch_norm/scale": None, "batch_norm/offset": None},
    ),
    "VanillaRNN": (
        lambda: hk.VanillaRNN(3)(ROW, jnp.ones((1, 3))),
        {"vanilla_rnn/linear/w": (0,), "vanilla_rnn/linear_1/w": (0,)},
    ),
    "LSTM": (lambda: hk.LSTM(3)(ROW, hk.LSTMState(*(jnp.ones((1, 3)),) * 2)), {"lstm/linear/w": (0,)}),
    "GRU": (lambda: hk.GRU(3)(ROW, jnp.ones((1, 3))), {"gru/w_i": (0,), "gru/w_h": (0,)}),
    "Conv2DLSTM": (
        lambda: hk.Conv2DLSTM((5, 5), 3, 3)(PLANE, hk.LSTMState(*(jnp.ones((1, 5, 5, 3)),) * 2)),
        {f"conv2_dlstm/{part}/w": (0, 1, 2) for part in ("input_to_hidden", "hidden_to_hidden")},
    ),
}


def haiku_init(call: Callable[[], Any]) -> Callable[[jax.Array], Any]:
    """The initialiser of a function's parameters."""
    return lambda key: hk.transform_with_state(call).init(key)[0]


def in_haiku() -> Iterator[Case]:
    """Layers of Haiku."""
    for name, (make, inputs, axes) in HAIKU.items():
        for units, shape in ((5, ""), (SQUARE, " square")):
            for settings, bias in (({}, ""), ({"with_bias": False}, " without bias")):
                init = haiku_init(lambda make=make, n=units, kw=settings, x=inputs: make(n, **kw)(*x))
                tree = jax.eval_shape(init, KEY)
                yield Case(f"haiku {name}{shape}{bias}", tree, axes)
                for at in (0, 1):
                    moved = {path: shifted(each, at) for path, each in axes.items()}
                    yield Case(f"haiku {name}{shape}{bias} stacked on {at}", stacked(tree, at), moved)
    for name, (call, axes) in HAIKU_OTHERS.items():
        tree = jax.eval_shape(haiku_init(call), KEY)
        yield Case(f"haiku {name}", tree, axes)
        for at in (0, 1):
            moved = {path: shifted(each, at) for path, each in axes.items()}
            yield Case(f"haiku {name} stacked on {at}", stacked(tree, at), moved)
    for bias in (True, False):
        for count in (3, 4):
            call = lambda b=bias, n=count: hk.experimental.layer_stack(n)(lambda x: hk.Linear(4, with_bias=b)(x))(ROW)  # noqa: E731
            tree = jax.eval_shape(haiku_init(call), KEY)
            (outer,) = tree
            name = f"haiku layer_stack of {count}{'' if bias else ' without bias'}"
            yield Case(name, tree, {f"{outer}/w": (1,)})


def live() -> dict[str, Case]:
    """All of them, by name."""
    cases = [*linen(), *in_nnx(), *in_equinox(), *in_haiku()]
    found = {case.name: case for case in cases}
    assert len(found) == len(cases)
    return found
