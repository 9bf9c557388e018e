"""Kinds and axes on the layers of Flax Linen, Flax NNX, Equinox and Haiku.

The axes are held against a definition that knows no names: the incoming weights of a unit are those that reach the
output through one number. The derivative of the output with respect to them is then a matrix of rank 1 (how the output
moves with the number, times what comes in), and with two units' weights together it is of rank 2. The kinds of
a cell's kernels are held against what they multiply: a recurrent one matters only where the state is not 0.
"""

import re
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxreg as jr
from jaxreg.rules._frameworks import Kind
from jaxreg.rules._matching import leaves

KEY = jax.random.key(0)
KERNEL, RECURRENT, BIAS = Kind.KERNELS, Kind.RECURRENT_KERNELS, Kind.BIASES
EMBEDDING, OTHER = Kind.EMBEDDINGS, Kind.OTHERS
KERNELS = {KERNEL, RECURRENT}


def normal(*shape):
    return jax.random.normal(jax.random.key(sum(shape)), shape)


class Layer(NamedTuple):
    """Parameters with random entries, and the derivatives of the output as a function of the list of them."""

    params: Any
    slopes: Any


def filled(shapes):
    """No weight is 0, and no two are alike."""
    draws = np.random.default_rng(0)
    return jax.tree.map(lambda s: jnp.asarray(draws.normal(size=s.shape), s.dtype), shapes)


def layer(shapes, run, inputs=(), pick=lambda y: y):
    """`run(params, *inputs)` on random parameters; `pick` takes one position of a convolution's output."""

    def flat(params, *others):
        return jnp.concatenate([jnp.ravel(y) for y in jax.tree.leaves(pick(run(params, *(others or inputs))))])

    structure = jax.tree.structure(shapes)

    def slopes(arrays, *others):
        return jax.tree.leaves(jax.jacrev(flat)(structure.unflatten(arrays), *others))

    return Layer(filled(shapes), jax.jit(slopes))


def linen(module, *inputs, pick=lambda y: y):
    shapes = jax.eval_shape(module.init, KEY, *inputs)
    rest = filled({name: value for name, value in shapes.items() if name != "params"})
    return layer(shapes["params"], lambda p, *new: module.apply({"params": p, **rest}, *new), inputs, pick)


def in_nnx(module, *inputs, pick=lambda y: y):
    graph, shapes, rest = nnx.split(nnx.eval_shape(lambda: module(rngs=nnx.Rngs(0))), nnx.Param, ...)
    return layer(shapes, lambda p, *new: nnx.merge(graph, p, filled(rest))(*new), inputs, pick)


def equinox(module, *inputs, pick=lambda y: y):
    shapes, static = eqx.partition(
        eqx.filter_eval_shape(module, key=KEY), lambda a: isinstance(a, jax.ShapeDtypeStruct)
    )
    return layer(shapes, lambda p, *new: eqx.combine(p, static)(*new), inputs, pick)


def haiku(function, *inputs, pick=lambda y: y):
    pure = hk.without_apply_rng(hk.transform_with_state(function))
    shapes, state = jax.eval_shape(pure.init, KEY, *inputs)
    return layer(shapes, lambda p, *new: pure.apply(p, filled(state), *new)[0], inputs, pick)


def bare(module, *args):
    """A module that is made without a key."""
    return lambda key: module(*args)


def middle(y):
    return y[0, 1, 1] if y.ndim == 4 else y[:, 1, 1]


class Normed(nn.Module):
    """A norm that has but an offset."""

    @nn.compact
    def __call__(self, x):
        return nn.LayerNorm(use_scale=False)(jnp.tanh(nn.Dense(4)(x)))


ROW, SPACE = normal(1, 3), normal(1, 3, 3, 4)
TOKENS, PLANE = jnp.arange(5), normal(4, 3, 3)
# Only the first of the two positions attended to is not 0: each key and value weight then acts at one place.
QUERY, CONTEXT = normal(1, 1, 6), jnp.stack([normal(1, 6), jnp.zeros((1, 6))], axis=1)

DENSE = {"kernel": KERNEL, "bias": BIAS}
WEIGHT = {"weight": KERNEL, "bias": BIAS}
ATTENTION = {f"{part}/{name}": kind for part in ("query", "key", "value", "out") for name, kind in DENSE.items()}

LAYERS = {
    "linen dense": (lambda: linen(nn.Dense(4), ROW), DENSE),
    "linen dense without bias": (lambda: linen(nn.Dense(4, use_bias=False), ROW), {"kernel": KERNEL}),
    "linen square dense": (lambda: linen(nn.Dense(3), ROW), DENSE),
    "linen dense general": (lambda: linen(nn.DenseGeneral((2, 5)), ROW), DENSE),
    "linen dense general from two axes": (
        lambda: linen(nn.DenseGeneral((2, 5), axis=(-2, -1)), normal(1, 3, 4)),
        DENSE,
    ),
    "linen conv": (lambda: linen(nn.Conv(5, (3, 3)), SPACE, pick=middle), DENSE),
    "linen grouped conv": (lambda: linen(nn.Conv(6, (3, 3), feature_group_count=2), SPACE, pick=middle), DENSE),
    "linen depthwise conv": (lambda: linen(nn.Conv(8, (3, 3), feature_group_count=4), SPACE, pick=middle), DENSE),
    "linen transposed": (lambda: linen(nn.ConvTranspose(5, (3, 3)), SPACE, pick=middle), DENSE),
    "linen transposed, square": (lambda: linen(nn.ConvTranspose(4, (3, 3)), SPACE, pick=middle), DENSE),
    "linen transposed, kernel too": (
        lambda: linen(nn.ConvTranspose(5, (3, 3), transpose_kernel=True), SPACE, pick=middle),
        DENSE,
    ),
    "linen local conv": (lambda: linen(nn.ConvLocal(5, (2, 2), padding="VALID"), SPACE), DENSE),
    "linen attention": (lambda: linen(nn.MultiHeadDotProductAttention(2), QUERY, CONTEXT), ATTENTION),
    "linen attention without bias": (
        lambda: linen(nn.MultiHeadDotProductAttention(2, use_bias=False), QUERY, CONTEXT),
        {path: kind for path, kind in ATTENTION.items() if kind is KERNEL},
    ),
    "linen embedding": (lambda: linen(nn.Embed(5, 3), TOKENS), {"embedding": EMBEDDING}),
    "linen layer norm": (lambda: linen(nn.LayerNorm(), ROW), {"scale": OTHER, "bias": OTHER}),
    "linen group norm": (lambda: linen(nn.GroupNorm(2), SPACE), {"scale": OTHER, "bias": OTHER}),
    "linen batch norm": (lambda: linen(nn.BatchNorm(True), SPACE), {"scale": OTHER, "bias": OTHER}),
    "linen offset of a norm": (
        lambda: linen(Normed(), ROW),
        {"Dense_0/kernel": KERNEL, "Dense_0/bias": BIAS, "LayerNorm_0/bias": OTHER},
    ),
    "linen rms norm": (lambda: linen(nn.RMSNorm(), ROW), {"scale": OTHER}),
    "linen prelu": (lambda: linen(nn.PReLU(), ROW), {"negative_slope": OTHER}),
    "nnx linear": (lambda: in_nnx(partial(nnx.Linear, 3, 4), ROW), DENSE),
    "nnx linear general": (lambda: in_nnx(partial(nnx.LinearGeneral, 3, (2, 5)), ROW), DENSE),
    "nnx conv": (lambda: in_nnx(partial(nnx.Conv, 4, 5, (3, 3)), SPACE, pick=middle), DENSE),
    "nnx grouped conv": (
        lambda: in_nnx(partial(nnx.Conv, 4, 6, (3, 3), feature_group_count=2), SPACE, pick=middle),
        DENSE,
    ),
    "nnx transposed": (lambda: in_nnx(partial(nnx.ConvTranspose, 4, 5, (3, 3)), SPACE, pick=middle), DENSE),
    "nnx transposed, kernel too": (
        lambda: in_nnx(partial(nnx.ConvTranspose, 4, 5, (3, 3), transpose_kernel=True), SPACE, pick=middle),
        DENSE,
    ),
    "nnx attention": (
        lambda: in_nnx(partial(nnx.MultiHeadAttention, 2, 6, decode=False), QUERY, CONTEXT),
        ATTENTION,
    ),
    "nnx embedding": (lambda: in_nnx(partial(nnx.Embed, 5, 3), TOKENS), {"embedding": EMBEDDING}),
    "nnx layer norm": (lambda: in_nnx(partial(nnx.LayerNorm, 3), ROW), {"scale": OTHER, "bias": OTHER}),
    "nnx batch norm": (
        lambda: in_nnx(partial(nnx.BatchNorm, 4, use_running_average=True), SPACE),
        {"scale": OTHER, "bias": OTHER},
    ),
    "equinox linear": (lambda: equinox(partial(eqx.nn.Linear, 3, 4), ROW[0]), WEIGHT),
    "equinox square linear": (lambda: equinox(partial(eqx.nn.Linear, 3, 3), ROW[0]), WEIGHT),
    "equinox mlp": (
        lambda: equinox(partial(eqx.nn.MLP, 3, 4, 5, 2, activation=jnp.tanh), ROW[0]),
        {f"layers/{i}/{name}": kind for i in range(3) for name, kind in WEIGHT.items()},
    ),
    "equinox conv": (lambda: equinox(partial(eqx.nn.Conv2d, 4, 5, 3, padding=1), PLANE, pick=middle), WEIGHT),
    "equinox grouped conv": (
        lambda: equinox(partial(eqx.nn.Conv2d, 4, 6, 3, padding=1, groups=2), PLANE, pick=middle),
        WEIGHT,
    ),
    "equinox transposed": (
        lambda: equinox(partial(eqx.nn.ConvTranspose2d, 4, 5, 3, padding=1), PLANE, pick=middle),
        WEIGHT,
    ),
    "equinox attention": (
        lambda: equinox(partial(eqx.nn.MultiheadAttention, 2, 6), QUERY[0], CONTEXT[0], CONTEXT[0]),
        {f"{part}_proj/weight": KERNEL for part in ("query", "key", "value", "output")},
    ),
    "equinox embedding": (
        lambda: layer(eqx.filter_eval_shape(eqx.nn.Embedding, 5, 3, key=KEY), lambda p: jax.vmap(p)(TOKENS)),
        {"weight": EMBEDDING},
    ),
    "equinox layer norm": (lambda: equinox(bare(eqx.nn.LayerNorm, 3), ROW[0]), {"weight": OTHER, "bias": OTHER}),
    "equinox layer norm of a matrix": (
        lambda: equinox(bare(eqx.nn.LayerNorm, (4, 3)), normal(4, 3)),
        {"weight": OTHER, "bias": OTHER},
    ),
    "equinox group norm": (lambda: equinox(bare(eqx.nn.GroupNorm, 2, 4), PLANE), {"weight": OTHER, "bias": OTHER}),
    "equinox rms norm": (lambda: equinox(bare(eqx.nn.RMSNorm, 3), ROW[0]), {"weight": OTHER, "bias": OTHER}),
    "haiku linear": (lambda: haiku(lambda x: hk.Linear(4)(x), ROW), {"linear/w": KERNEL, "linear/b": BIAS}),
    "haiku conv": (
        lambda: haiku(lambda x: hk.Conv2D(5, 3)(x), SPACE, pick=middle),
        {"conv2_d/w": KERNEL, "conv2_d/b": BIAS},
    ),
    "haiku grouped conv": (
        lambda: haiku(lambda x: hk.Conv2D(6, 3, feature_group_count=2)(x), SPACE, pick=middle),
        {"conv2_d/w": KERNEL, "conv2_d/b": BIAS},
    ),
    "haiku depthwise conv": (
        lambda: haiku(lambda x: hk.DepthwiseConv2D(2, 3)(x), SPACE, pick=middle),
        {"depthwise_conv2_d/w": KERNEL, "depthwise_conv2_d/b": BIAS},
    ),
    "haiku transposed": (
        lambda: haiku(lambda x: hk.Conv2DTranspose(5, 3)(x), SPACE, pick=middle),
        {"conv2_d_transpose/w": KERNEL, "conv2_d_transpose/b": BIAS},
    ),
    "haiku transposed, square": (
        lambda: haiku(lambda x: hk.Conv2DTranspose(4, 3)(x), SPACE, pick=middle),
        {"conv2_d_transpose/w": KERNEL, "conv2_d_transpose/b": BIAS},
    ),
    "haiku transposed, named": (
        lambda: haiku(lambda x: hk.Conv2DTranspose(5, 3, name="up")(x), SPACE, pick=middle),
        {"up/w": KERNEL, "up/b": BIAS},
    ),
    "haiku attention": (
        lambda: haiku(lambda q, c: hk.MultiHeadAttention(2, 3, w_init=jnp.zeros)(q, c, c), QUERY, CONTEXT),
        {
            f"multi_head_attention/{part}/{name}": kind
            for part in ("query", "key", "value", "linear")
            for name, kind in (("w", KERNEL), ("b", BIAS))
        },
    ),
    "haiku embedding": (lambda: haiku(lambda x: hk.Embed(5, 3)(x), TOKENS), {"embed/embeddings": EMBEDDING}),
    "haiku layer norm": (
        lambda: haiku(lambda x: hk.LayerNorm(-1, True, True)(x), ROW),
        {"layer_norm/scale": OTHER, "layer_norm/offset": OTHER},
    ),
    "haiku batch norm": (
        lambda: haiku(lambda x: hk.BatchNorm(True, True, 0.9)(x, True), SPACE),
        {"batch_norm/scale": OTHER, "batch_norm/offset": OTHER},
    ),
}


# Leaves that come after others: what comes into them depends on these.
LATER = re.compile(r"(.*/)?(out|output_proj|layers)/.*|multi_head_attention/linear/.*|gru/w_h")


CONTEXTS = 12


def derivatives(layer, *inputs, contexts=1):
    """{path: (contexts, outputs, *shape of the leaf)}: each context has other values in all the other leaves."""
    draws = np.random.default_rng(1)
    found = leaves(layer.params)
    arrays = jax.tree.leaves(layer.params)
    runs = []
    for _ in range(contexts):
        runs.append([np.asarray(slope) for slope in layer.slopes(arrays, *inputs)])
        arrays = [jnp.asarray(draws.normal(size=a.shape), a.dtype) for a in arrays]
    return {leaf.path: np.stack(each) for leaf, *each in zip(found, *runs, strict=True)}


def by_group(slopes, axes):
    """(contexts, outputs, groups, weights of a group)."""
    others = [a for a in range(slopes.ndim - 2) if a not in axes]
    moved = np.transpose(slopes, (0, 1, *(2 + a for a in others), *(2 + a for a in axes)))
    return moved.reshape(*slopes.shape[:2], int(np.prod([slopes.shape[2 + a] for a in others], dtype=int)), -1)


def rank(slopes):
    """Of (contexts, outputs, weights): the dimension of what comes in."""
    rows = slopes.reshape(-1, slopes.shape[-1])
    return np.linalg.matrix_rank(rows, tol=1e-4 * np.linalg.norm(rows))


def assert_one_unit_a_group(slopes, leaf):
    grouped = by_group(slopes, leaf.axes)
    # Where what comes in is the same in all contexts, they say more than one does.
    alone = grouped[:1] if LATER.fullmatch(leaf.path) else grouped
    groups = grouped.shape[2]
    for g in range(groups):
        assert rank(alone[:, :, g]) == 1, f"group {g} of {groups} acts through {rank(alone[:, :, g])} numbers"
        for other in {(g + 1) % groups, (g + groups // 2) % groups, 0} - {g}:
            both = np.concatenate([grouped[:, :, g], grouped[:, :, other]], axis=-1)
            assert rank(both) > 1, f"groups {g} and {other} of {groups} act through one number"


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    make, expected = LAYERS[name]
    layer = make()
    found = leaves(layer.params)
    assert {leaf.path: leaf.kind for leaf in found} == expected
    slopes = derivatives(layer, contexts=CONTEXTS)
    assert name == "linen local conv" or not any(leaf.layers for leaf in found)
    for leaf in found:
        if leaf.kind in KERNELS:
            assert_one_unit_a_group(slopes[leaf.path], leaf)
        elif leaf.kind is EMBEDDING:
            moved = by_group(slopes[leaf.path], leaf.axes)[0].reshape(len(TOKENS), -1, *leaf.array.shape)
            touched = np.any(moved != 0, axis=(1, 3))
            np.testing.assert_array_equal(touched, np.eye(len(TOKENS), dtype=bool))  # token × row
        elif leaf.kind is BIAS and name != "linen local conv":  # which has a bias at each position
            assert leaf.axes == tuple(range(leaf.array.ndim))


HIDDEN, CARRY, INPUT = normal(1, 4), normal(1, 5)[:, :4], normal(1, 3)
PICTURE, FIELD = normal(1, 3, 3, 2), normal(1, 3, 3, 4)


def linen_cell(module):
    """`run(params, hidden, carry, x)`; LSTMs have a carry beside the hidden state."""
    x = PICTURE if isinstance(module, nn.ConvLSTMCell) else INPUT
    state = FIELD if isinstance(module, nn.ConvLSTMCell) else HIDDEN
    two = isinstance(module, nn.LSTMCell | nn.OptimizedLSTMCell | nn.ConvLSTMCell)
    shapes = jax.eval_shape(module.init, KEY, (state, state) if two else state, x)["params"]
    pick = (lambda y: jax.tree.map(middle, y)) if state is FIELD else lambda y: y

    def run(p, hidden, carry, x):
        return module.apply({"params": p}, (carry, hidden) if two else hidden, x)[0]

    return layer(shapes, run, pick=pick)


def nnx_cell(module):
    graph, shapes, rest = nnx.split(nnx.eval_shape(lambda: module(3, 4, rngs=nnx.Rngs(0))), nnx.Param, ...)
    two = module in (nnx.LSTMCell, nnx.OptimizedLSTMCell)

    def run(p, hidden, carry, x):
        return nnx.merge(graph, p, rest)((carry, hidden) if two else hidden, x)[0]

    return layer(shapes, run)


def equinox_cell(module):
    def run(p, hidden, carry, x):
        return eqx.combine(p, static)(x[0], (hidden[0], carry[0]) if module is eqx.nn.LSTMCell else hidden[0])

    abstract = eqx.filter_eval_shape(module, 3, 4, key=KEY)
    shapes, static = eqx.partition(abstract, lambda a: isinstance(a, jax.ShapeDtypeStruct))
    return layer(shapes, run)


def haiku_cell(module):
    def step(hidden, carry, x):
        return module(4)(x, hk.LSTMState(hidden, carry) if module is hk.LSTM else hidden)[1]

    pure = hk.without_apply_rng(hk.transform(step))
    return layer(jax.eval_shape(pure.init, KEY, HIDDEN, CARRY, INPUT), pure.apply)


def gates(inputs, states, biased):
    """Expected kinds of Flax's cells: a layer a gate."""
    kinds = {f"{gate}/kernel": KERNEL for gate in inputs} | {f"{gate}/kernel": RECURRENT for gate in states}
    return kinds | {f"{gate}/bias": BIAS for gate in biased}


LSTM_GATES = gates(("ii", "if", "ig", "io"), ("hi", "hf", "hg", "ho"), ("hi", "hf", "hg", "ho"))
GRU_GATES = gates(("ir", "iz", "in"), ("hr", "hz", "hn"), ("ir", "iz", "in", "hn"))
NNX_LSTM = {key.replace("if/", "if_/"): kind for key, kind in LSTM_GATES.items()}
PYTORCH = {"weight_ih": KERNEL, "weight_hh": RECURRENT, "bias": BIAS}

CELLS = {
    "linen lstm": (lambda: linen_cell(nn.LSTMCell(4)), LSTM_GATES),
    "linen optimized lstm": (lambda: linen_cell(nn.OptimizedLSTMCell(4)), LSTM_GATES),
    "linen conv lstm": (
        lambda: linen_cell(nn.ConvLSTMCell(4, (3, 3))),
        {"ih/kernel": KERNEL, "ih/bias": BIAS, "hh/kernel": RECURRENT, "hh/bias": BIAS},
    ),
    "linen gru": (lambda: linen_cell(nn.GRUCell(4)), GRU_GATES),
    "linen mgu": (
        lambda: linen_cell(nn.MGUCell(4)),
        gates(("if", "in"), ("hf", "hn"), ("if", "in", "hn")),
    ),
    "linen simple": (lambda: linen_cell(nn.SimpleCell(4)), gates(("i",), ("h",), ("i",))),
    "nnx lstm": (lambda: nnx_cell(nnx.LSTMCell), NNX_LSTM),
    "nnx optimized lstm": (
        lambda: nnx_cell(nnx.OptimizedLSTMCell),
        gates(("dense_i",), ("dense_h",), ("dense_h",)),
    ),
    "nnx gru": (lambda: nnx_cell(nnx.GRUCell), gates(("dense_i",), ("dense_h",), ("dense_i",))),
    "nnx simple": (lambda: nnx_cell(nnx.SimpleCell), gates(("dense_i",), ("dense_h",), ("dense_i",))),
    "equinox lstm": (lambda: equinox_cell(eqx.nn.LSTMCell), PYTORCH),
    "equinox gru": (lambda: equinox_cell(eqx.nn.GRUCell), PYTORCH | {"bias_n": BIAS}),
    "haiku lstm": (lambda: haiku_cell(hk.LSTM), {"lstm/linear/w": KERNEL, "lstm/linear/b": BIAS}),
    "haiku gru": (lambda: haiku_cell(hk.GRU), {"gru/w_i": KERNEL, "gru/w_h": RECURRENT, "gru/b": BIAS}),
    "haiku vanilla": (
        lambda: haiku_cell(hk.VanillaRNN),
        {
            "vanilla_rnn/linear/w": KERNEL,
            "vanilla_rnn/linear/b": BIAS,
            "vanilla_rnn/linear_1/w": RECURRENT,
            "vanilla_rnn/linear_1/b": BIAS,
        },
    ),
}


@pytest.mark.parametrize("name", CELLS)
def test_cells(name):
    make, expected = CELLS[name]
    cell = make()
    found = leaves(cell.params)
    assert {leaf.path: leaf.kind for leaf in found} == expected
    spatial = name == "linen conv lstm"
    hidden, carry, x = (FIELD, FIELD, PICTURE) if spatial else (HIDDEN, CARRY, INPUT)
    slopes = derivatives(cell, hidden, carry, x, contexts=CONTEXTS)
    at_rest = derivatives(cell, 0 * hidden, carry, x)
    without_input = derivatives(cell, hidden, carry, 0 * x)
    for leaf in found:
        if leaf.kind not in KERNELS:
            continue
        assert_one_unit_a_group(slopes[leaf.path], leaf)
        multiplies_state = not np.any(at_rest[leaf.path])
        multiplies_input = not np.any(without_input[leaf.path])
        assert multiplies_state == (leaf.kind is RECURRENT)
        assert multiplies_input == (leaf.kind is KERNEL and name != "haiku lstm")  # which has one kernel for both


def equinox_stack(module):
    return eqx.filter_vmap(lambda key: eqx.filter(module(key=key), eqx.is_array))(jax.random.split(KEY, 6))


def linen_stack(module, *inputs):
    stack = nn.vmap(module, variable_axes={"params": 0}, split_rngs={"params": True})
    more = jax.tree.map(lambda x: jnp.broadcast_to(x, (6, *x.shape)), inputs)
    return filled(jax.eval_shape(stack(4).init, KEY, *more)["params"])


def nnx_stack(module):
    make = nnx.vmap(lambda rngs: module(3, 4, rngs=rngs))
    return filled(nnx.state(nnx.eval_shape(lambda: make(nnx.Rngs(0).split(6))), nnx.Param))


# Six layers, every leaf with an axis more in front. Sizes of 1 make layouts look alike.
STACKS = {
    "equinox linear": lambda: equinox_stack(partial(eqx.nn.Linear, 3, 4)),
    "equinox square linear": lambda: equinox_stack(partial(eqx.nn.Linear, 3, 3)),
    "equinox linear onto one": lambda: equinox_stack(partial(eqx.nn.Linear, 3, 1)),
    "equinox linear from one": lambda: equinox_stack(partial(eqx.nn.Linear, 1, 3)),
    "equinox linear without bias": lambda: equinox_stack(partial(eqx.nn.Linear, 3, 4, use_bias=False)),
    "equinox mlp": lambda: equinox_stack(partial(eqx.nn.MLP, 2, 1, 16, 2)),
    "equinox conv": lambda: equinox_stack(partial(eqx.nn.Conv2d, 4, 5, 3)),
    "equinox conv onto one": lambda: equinox_stack(partial(eqx.nn.Conv1d, 4, 1, 3)),
    "equinox depthwise conv": lambda: equinox_stack(partial(eqx.nn.Conv2d, 4, 4, 3, groups=4)),
    "equinox conv in any space": lambda: equinox_stack(partial(eqx.nn.Conv, 2, 4, 5, 3)),
    "equinox transposed": lambda: equinox_stack(partial(eqx.nn.ConvTranspose2d, 4, 5, 3)),
    "equinox attention": lambda: equinox_stack(partial(eqx.nn.MultiheadAttention, 2, 6)),
    "equinox embedding": lambda: equinox_stack(partial(eqx.nn.Embedding, 5, 3)),
    "equinox lstm": lambda: equinox_stack(partial(eqx.nn.LSTMCell, 3, 4)),
    "equinox gru": lambda: equinox_stack(partial(eqx.nn.GRUCell, 3, 4)),
    "pytorch names": lambda: {"fc": {"weight": normal(6, 4, 3), "bias": normal(6, 4)}},
    "pytorch names onto one": lambda: {"fc": {"weight": normal(6, 1, 3), "bias": normal(6, 1)}},
    "linen lstm": lambda: linen_stack(nn.LSTMCell, (HIDDEN, CARRY), INPUT),
    "linen gru": lambda: linen_stack(nn.GRUCell, HIDDEN, INPUT),
    "linen simple": lambda: linen_stack(nn.SimpleCell, HIDDEN, INPUT),
    "nnx gru": lambda: nnx_stack(nnx.GRUCell),
    "nnx lstm": lambda: nnx_stack(nnx.LSTMCell),
}


@pytest.mark.parametrize("name", STACKS)
def test_a_stack_of_layers_is_projected_as_each_of_them(name):
    stack = STACKS[name]()
    kinds = {leaf.kind for leaf in leaves(stack)} & {*KERNELS, BIAS, EMBEDDING}
    rules = {kind: jr.MaxNorm(0.1) for kind in kinds}
    together = jax.jit(lambda stack: jr.projected(stack, rules))(stack)
    alone = jax.jit(jax.vmap(lambda layer: jr.projected(layer, rules)))(stack)
    for leaf, found, expected in zip(leaves(stack), *map(jax.tree.leaves, (together, alone)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=leaf.path)
        assert np.any(found != leaf.array)
    for leaf, layer in zip(leaves(stack), leaves(jax.tree.map(lambda w: w[0], stack)), strict=True):
        assert (leaf.layers, layer.layers) == ((0,), ()), leaf.path


def test_a_depthwise_convolution_is_no_stack_of_layers_onto_one():
    one = eqx.nn.Conv(1, 4, 4, 3, groups=4, key=KEY)  # (4, 1, 3) beside (4, 1)
    assert {leaf.path: leaf.axes for leaf in leaves(one)} == {"weight": (1, 2), "bias": (0, 1)}


def test_a_layer_that_is_called_as_a_gate_is_one_of_its_own():
    layers = {"in": {"kernel": normal(3, 4)}, "ho": {"kernel": normal(4, 3), "bias": normal(3)}}
    assert [leaf.axes for leaf in leaves(layers)] == [(0,), (0,), (0,)]
