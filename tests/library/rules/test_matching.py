"""Which leaves a rule is for, in the trees that the frameworks hand out, and what is refused."""

import dataclasses
import re
from typing import NamedTuple

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.core import freeze

import jaxreg as jr
from jaxreg.rules._matching import assign, leaves

LIMIT = jr.MaxNorm(1.0)


def paths(params):
    return [leaf.path for leaf in leaves(params)]


def claimed(params, rules):
    return {leaf.path for leaf, rule in assign(params, rules) if rule is not None}


def network():
    return {
        "embed": {"embedding": jnp.ones((5, 3))},
        "lstm": {
            "hi": {"kernel": jnp.ones((4, 4)), "bias": jnp.ones(4)},
            "ii": {"kernel": jnp.ones((3, 4))},
        },
        "norm": {"scale": jnp.ones(4), "bias": jnp.ones(4)},
        "output": {"kernel": jnp.ones((4, 2)), "bias": jnp.ones(2)},
    }


class Attention(NamedTuple):
    """A node with a field that is called as the array inside an NNX variable."""

    query: jax.Array
    key: jax.Array
    value: jax.Array


def linen_params():
    model = nn.Sequential([nn.Dense(4), nn.LayerNorm(), nn.Dense(2)])
    return jax.jit(model.init)(jax.random.key(0), jnp.ones((1, 3)))["params"]


def nnx_model():
    rngs = nnx.Rngs(0)
    return nnx.Sequential(nnx.Linear(3, 4, rngs=rngs), nnx.LayerNorm(4, rngs=rngs), nnx.Linear(4, 2, rngs=rngs))


def equinox_model():
    keys = jax.random.split(jax.random.key(0), 2)
    return eqx.nn.Sequential(
        [
            eqx.nn.Linear(3, 4, key=keys[0]),
            eqx.nn.LayerNorm(4),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.Linear(4, 2, key=keys[1]),
        ]
    )


# name: (tree, its kernels, its biases)
TREES = {
    "linen params": (linen_params, {"layers_0/kernel", "layers_2/kernel"}, {"layers_0/bias", "layers_2/bias"}),
    "linen variables": (
        lambda: {"params": linen_params()},
        {"params/layers_0/kernel", "params/layers_2/kernel"},
        {"params/layers_0/bias", "params/layers_2/bias"},
    ),
    "frozen": (
        lambda: freeze(linen_params()),
        {"layers_0/kernel", "layers_2/kernel"},
        {"layers_0/bias", "layers_2/bias"},
    ),
    "boxed with axis names": (
        lambda: nn.Dense(4, kernel_init=nn.with_partitioning(nn.initializers.ones, (None, "x"))).init(
            jax.random.key(0), jnp.ones((1, 3))
        )["params"],
        {"kernel"},
        {"bias"},
    ),
    "nnx state": (
        lambda: nnx.state(nnx_model(), nnx.Param),
        {"layers/0/kernel", "layers/2/kernel"},
        {"layers/0/bias", "layers/2/bias"},
    ),
    "nnx split": (
        lambda: nnx.split(nnx_model(), nnx.Param, ...)[1],
        {"layers/0/kernel", "layers/2/kernel"},
        {"layers/0/bias", "layers/2/bias"},
    ),
    "nnx pure dict": (
        lambda: nnx.to_pure_dict(nnx.state(nnx_model(), nnx.Param)),
        {"layers/0/kernel", "layers/2/kernel"},
        {"layers/0/bias", "layers/2/bias"},
    ),
    "nnx module": (nnx_model, {"layers/0/kernel", "layers/2/kernel"}, {"layers/0/bias", "layers/2/bias"}),
    "equinox arrays": (
        lambda: eqx.filter(equinox_model(), eqx.is_array),
        {"layers/0/weight", "layers/3/weight"},
        {"layers/0/bias", "layers/3/bias"},
    ),
    "equinox whole": (equinox_model, {"layers/0/weight", "layers/3/weight"}, {"layers/0/bias", "layers/3/bias"}),
    "list of layers": (
        lambda: [{"w": jnp.ones((2, 3)), "b": jnp.ones(3)}, {"w": jnp.ones((3, 1)), "b": jnp.ones(1)}],
        {"0/w", "1/w"},
        {"0/b", "1/b"},
    ),
    "with a missing bias": (
        lambda: {
            "a": {"kernel": jnp.ones((2, 3)), "bias": None},
            "b": {"kernel": jnp.ones((3, 1)), "bias": jnp.ones(1)},
        },
        {"a/kernel", "b/kernel"},
        {"b/bias"},
    ),
    "masked": (
        lambda: {"a": {"kernel": optax.MaskedNode(), "bias": jnp.ones(3)}, "b": {"kernel": jnp.ones((3, 1))}},
        {"b/kernel"},
        {"a/bias"},
    ),
    "pytorch names": (
        lambda: {
            "fc": {"weight": jnp.ones((3, 2)), "bias": jnp.ones(3)},
            "bn": {"weight": jnp.ones(3), "bias": jnp.ones(3)},
            "head": {"weight": jnp.ones((2, 3)), "bias": jnp.ones(2)},
        },
        {"fc/weight", "head/weight"},
        {"fc/bias", "head/bias"},
    ),
    "pytorch state dict": (  # flat, as state_dict() gives it
        lambda: {
            "net.0.weight": jnp.ones((3, 2)),
            "net.0.bias": jnp.ones(3),
            "net.1.weight": jnp.ones(3),
            "net.1.bias": jnp.ones(3),
            "attention.in_proj_weight": jnp.ones((9, 3)),
            "attention.in_proj_bias": jnp.ones(9),
            "attention.out_proj.weight": jnp.ones((3, 3)),
            "attention.out_proj.bias": jnp.ones(3),
        },
        {"net.0.weight", "attention.in_proj_weight", "attention.out_proj.weight"},
        {"net.0.bias", "attention.in_proj_bias", "attention.out_proj.bias"},
    ),
}


@pytest.mark.parametrize("name", TREES)
def test_kernels_and_biases_are_found_in_every_kind_of_tree(name):
    make, kernels, biases = TREES[name]
    params = make()
    assert claimed(params, LIMIT) == kernels  # a bare object
    assert claimed(params, {jr.KERNELS: LIMIT, jr.BIASES: LIMIT}) == kernels | biases
    arrays = [leaf.array for leaf in leaves(params)]
    assert all(a is b for a, b in zip(arrays, jax.tree.leaves(params), strict=True))


@pytest.mark.parametrize("name", [name for name in TREES if name != "equinox whole"])
def test_rules_hold_on_every_kind_of_tree(name):
    params = TREES[name][0]()
    tx = optax.chain(optax.sgd(1.0), jr.project(LIMIT))
    far = jax.tree.map(lambda a: -100 * jnp.ones_like(a), params)

    @jax.jit
    def step(params):
        updates, _ = tx.update(far, tx.init(params), params)
        return optax.apply_updates(params, updates)

    after = step(params)
    assert jax.tree.structure(after) == jax.tree.structure(params)
    for leaf in leaves(after):
        norms = np.sqrt(np.sum(np.square(np.asarray(leaf.array, np.float64)), leaf.axes))
        assert np.all(norms <= 1.0) == (leaf.kind is jr.KERNELS), leaf.path


def test_the_flat_names_of_pytorch_stand_for_a_tree():
    names = ("net.0.weight", "net.0.bias", "bn.weight", "bn.bias", "a.in_proj_weight", "a.in_proj_bias")
    names += ("conv.weight", "conv.bias", "lstm.weight_ih_l0", "lstm.weight_hh_l0", "lstm.bias_ih_l0")
    shapes = ((3, 2), (3,), (3,), (3,), (9, 3), (9,), (5, 2, 3, 3), (5,), (8, 3), (8, 2), (8,))
    axes = ((1,), (0,), (0,), (0,), (1,), (0,), (1, 2, 3), (0,), (1,), (1,), (0,))
    flat = {name: jnp.ones(shape) for name, shape in zip(names, shapes, strict=True)}
    assert {leaf.path: leaf.axes for leaf in leaves(flat)} == dict(zip(names, axes, strict=True))
    assert claimed(flat, {jr.RECURRENT_KERNELS: LIMIT}) == {"lstm.weight_hh_l0"}
    assert claimed(flat, {"net.0.weight": LIMIT}) == {"net.0.weight"}


def test_a_bare_object_is_for_all_kernels_and_nothing_else():
    assert claimed(network(), jr.L2(0.1)) == {"lstm/hi/kernel", "lstm/ii/kernel", "output/kernel"}


def test_kinds_divide_the_leaves():
    found = {
        kind: claimed(network(), {kind: LIMIT}) for kind in (jr.KERNELS, jr.RECURRENT_KERNELS, jr.BIASES, jr.EMBEDDINGS)
    }
    assert found == {
        jr.KERNELS: {"lstm/ii/kernel", "output/kernel"},
        jr.RECURRENT_KERNELS: {"lstm/hi/kernel"},
        jr.BIASES: {"lstm/hi/bias", "output/bias"},
        jr.EMBEDDINGS: {"embed/embedding"},
    }


def test_a_pattern_matches_whole_paths():
    assert claimed(network(), {"lstm/.*": LIMIT}) == {"lstm/hi/kernel", "lstm/hi/bias", "lstm/ii/kernel"}
    assert claimed(network(), {".*/kernel": LIMIT}) == {"lstm/hi/kernel", "lstm/ii/kernel", "output/kernel"}
    with pytest.raises(ValueError, match="'kernel' matches no parameter"):
        assign(network(), {"kernel": LIMIT})


def test_an_open_axis_is_filled_in_and_a_given_one_is_kept():
    params = eqx.filter(equinox_model(), eqx.is_array)
    for given, expected in ((None, (1,)), (0, 0), ((0, 1), (0, 1))):
        rules = {leaf.path: rule for leaf, rule in assign(params, {jr.KERNELS: jr.MaxNorm(1.0, axis=given)})}
        assert rules["layers/0/weight"].axis == expected
        assert rules["layers/0/bias"] is None


def test_layers_of_a_stack_have_norms_of_their_own():
    shapes = {"kernel": (6, 3, 4), "bias": (6, 4)}, {"kernel": (6, 3, 3, 2, 4), "bias": (6, 4)}
    for stack in shapes:
        dense = {name: jnp.ones(shape) for name, shape in stack.items()}
        found = {leaf.path: leaf.axes for leaf in leaves(dense)}
        one = {leaf.path: leaf.axes for leaf in leaves(jax.tree.map(lambda a: a[0], dense))}
        assert found == {path: tuple(a + 1 for a in axes) for path, axes in one.items()}
    whole = {leaf.path: leaf.axes for leaf in leaves({"kernel": jnp.ones((3, 4, 5)), "bias": jnp.ones((4, 5))})}
    assert whole == {"kernel": (0,), "bias": (0, 1)}  # a Dense onto two axes


REFUSED = {
    "no match": (
        {"hiden/kernel": LIMIT},
        ValueError,
        r"'hiden/kernel' matches no parameter.*embed/embedding, lstm/hi/bias.*output/kernel",
    ),
    "no match, but a kind of this name": (
        {"lstm/recurrent_kernel": LIMIT},
        ValueError,
        r"'lstm/recurrent_kernel' matches no parameter.* a kind such as jaxreg\.RECURRENT_KERNELS\.",
    ),
    "kind without a match": ({"nowhere": LIMIT, jr.KERNELS: LIMIT}, ValueError, "'nowhere' matches no parameter"),
    "two claims": (
        {".*/kernel": LIMIT, "output/.*": LIMIT},
        ValueError,
        r"output/kernel matches the patterns '\.\*/kernel' and 'output/\.\*'; expected one rule.*embed/embedding",
    ),
    "not a pattern": ({3: LIMIT}, TypeError, "pattern is 3; expected a string"),
    "not a regular expression": ({"(": LIMIT}, ValueError, r"'\(' is not a regular expression"),
    "not a rule": ({jr.KERNELS: 0.01}, TypeError, r"is 0.01; expected a"),
    "a class for an object": (
        {jr.KERNELS: jr.UnitNorm},
        TypeError,
        r"KERNELS is the class UnitNorm; expected an instance. Write UnitNorm\(\.\.\.\)",
    ),
    "a class for a bare object": (
        jr.NonNeg,
        TypeError,
        r"the rule is the class NonNeg; expected an instance. Write NonNeg\(\.\.\.\)",
    ),
    "not rules": (0.01, TypeError, "rules are 0.01; expected a mapping"),
    "an axis too many": (
        {"output/bias": jr.MaxNorm(1.0, axis=1)},
        ValueError,
        r"for output/bias: `axis` is 1 for an array with 1 axes; expected",
    ),
    "an axis that is none": ({"output/bias": jr.MaxNorm(1.0, axis="in")}, TypeError, "output/bias: `axis` is 'in'"),
}


GATES = {f"{way}{gate}": {"kernel": jnp.ones((2, 3))} for way in "ih" for gate in "ifgo"}
LINEN = {
    "lstm": GATES,
    "hidden1": {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)},
    "head": {"kernel": jnp.ones((2, 1))},
}
NNX = {
    "lstm": {"cell": {"dense_i": {"kernel": jnp.ones((2, 12))}, "dense_h": {"kernel": jnp.ones((3, 12))}}},
    "head": {"kernel": jnp.ones((3, 1))},
}
# (tree, pattern, the paths that it is taken for)
CLOSEST = [
    (LINEN, "lstm/kernel", [f"lstm/i{gate}/kernel" for gate in "fgio"]),
    (LINEN, "lstm/recurrent_kernel", [f"lstm/h{gate}/kernel" for gate in "fgio"]),
    (LINEN, "functional/lstm/lstm_cell/kernel", [f"lstm/i{gate}/kernel" for gate in "fgio"]),
    (LINEN, "params/hidden1/kernel", ["hidden1/kernel"]),
    (LINEN, "hiden1/kernel", ["hidden1/kernel"]),
    (LINEN, "hidden1/bais", ["hidden1/bias"]),
    ({"params": LINEN}, "hidden1/kernel", ["params/hidden1/kernel"]),
    ({"params": LINEN}, "lstm/kernel", [f"params/lstm/i{gate}/kernel" for gate in "fgio"]),
    (NNX, "lstm/kernel", ["lstm/cell/dense_i/kernel"]),
    (NNX, "lstm/recurrent_kernel", ["lstm/cell/dense_h/kernel"]),
    (NNX, "nowhere", []),
    (NNX, jr.BIASES, []),
]


@pytest.mark.parametrize(("tree", "pattern", "paths"), CLOSEST)
def test_a_pattern_without_a_match_is_refused_with_the_closest_paths(tree, pattern, paths):
    with pytest.raises(ValueError, match="matches no parameter") as caught:
        jr.explain(tree, {pattern: LIMIT})
    said = re.search(r"The closest paths? (?:is|are) (.*?)\. The existing", str(caught.value))
    assert (re.findall(r"'(.*?)'", said[1]) if said else []) == paths


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    rules, error, message = REFUSED[name]
    for use in (lambda p: jr.project(rules).init(p), lambda p: jr.explain(p, rules)):
        with pytest.raises(error, match=message):
            use(network())


def test_a_number_is_refused_with_what_is_accepted():
    with pytest.raises(TypeError, match=r"project: .* is 0.01; expected a constraint or a function of an array"):
        jr.project({jr.KERNELS: 0.01})
    with pytest.raises(TypeError, match=r"is 0.01; expected a penalty, a constraint or a function"):
        jr.explain(network(), {jr.KERNELS: 0.01})


@pytest.mark.parametrize(
    ("leaf", "what"),
    [(jnp.ones((2, 2), int), "int32"), (3.0, "float"), (abs, "builtin")],
)
def test_a_rule_is_for_arrays_of_floating_point_numbers(leaf, what):
    with pytest.raises(ValueError, match=f"parameter w is of type {what}.*; expected an array of floating-point"):
        assign({"w": leaf, "v": jnp.ones(2)}, {"w": LIMIT})


def test_an_empty_tree_has_nothing_to_claim():
    assert assign({}, {}) == []
    with pytest.raises(ValueError, match="because the tree has no parameters"):
        assign({}, LIMIT)


class Temperature(NamedTuple):
    value: jax.Array


class Scaled(NamedTuple):
    scale: Temperature
    kernel: jax.Array


def test_a_field_that_is_called_value_keeps_its_name():
    fields = Attention(*(jnp.ones((2, 2)) for _ in range(3)))
    for tree, before in (({"attn": fields}, "attn/"), ([fields], "0/"), (fields, "")):
        assert paths(tree) == [before + name for name in ("query", "key", "value")]
    alone = Temperature(jnp.ones(2))
    for tree, path in (([alone], "0/value"), (Scaled(alone, jnp.ones((2, 2))), "scale/value")):
        assert path in paths(tree)


def test_an_nnx_module_is_differentiated_as_its_state_is():
    model = nnx_model()
    slopes = nnx.grad(lambda model: jr.penalty(model, jr.L2(0.5)))(model)
    expected = jax.grad(lambda state: jr.penalty(state, jr.L2(0.5)))(nnx.state(model, nnx.Param))
    for found, wanted in zip(jax.tree.leaves(slopes), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert any(np.any(slope != 0) for slope in jax.tree.leaves(slopes))


def test_two_leaves_with_one_path_are_refused():
    params = {"a": {"b": {"kernel": jnp.ones((2, 2))}}, "a/b": {"kernel": jnp.ones((3, 3))}}
    for use in (jr.bregman(jr.L1(0.1)).init, jr.project(LIMIT).init, lambda p: jr.to_reference(p, jr.L2(0.1))):
        with pytest.raises(ValueError, match="2 parameters have the path 'a/b/kernel'; expected distinct paths"):
            use(params)


def test_a_tree_that_is_one_array_has_an_empty_path():
    w = jnp.ones((3, 3))
    with pytest.raises(ValueError, match=r"the tree is one array without a name\. Use its path '' as the pattern"):
        jr.penalty(w, jr.L2(0.1))
    np.testing.assert_allclose(jr.penalty(w, {"": jr.L2(0.1)}), 0.9, rtol=1e-6)


def test_hundreds_of_paths_are_not_all_listed():
    params = {f"layer{i}": {"kernel": jnp.ones((1, 1))} for i in range(60)}
    with pytest.raises(ValueError, match="and 20 more"):
        assign(params, {"nothing": LIMIT})


def test_rules_are_left_as_they_were():
    rules = {jr.KERNELS: jr.MaxNorm(1.0)}
    before = {key: dataclasses.replace(rule) for key, rule in rules.items()}
    assign(network(), rules)
    assert rules == before


def test_penalties_are_matched_before_anything_is_compiled():
    with pytest.raises(ValueError, match=r"'hiden/kernel' matches no parameter.*embed/embedding, lstm/hi/bias"):
        jr.penalize({"hiden/kernel": jr.L2(0.1)}).init(network())
    with pytest.raises(ValueError, match=r"for output/bias: `axis` is 1 for an array with 1 axes; expected"):
        jr.penalize({"output/bias": jr.GroupLasso(0.1, axis=1)}).init(network())


@pytest.mark.parametrize("wrap", [lambda rule: rule, lambda rule: {"b/kernel": rule}], ids=["bare", "mapping"])
def test_several_constraints_for_one_leaf_are_told_of_intersection(wrap):
    with pytest.raises(TypeError, match=r"MaxNorm.*NonNeg.*several constraints with jaxreg\.Intersection"):
        jr.projected({"b": {"kernel": jnp.ones((2, 2))}}, wrap([jr.MaxNorm(1.0), jr.NonNeg()]))


@jax.tree_util.register_pytree_node_class
class Indexed:
    """A node that is indexed by other things than its children, as a named array of haliax is by its axes."""

    def __init__(self, array):
        self.array = array

    def tree_flatten(self):
        return (self.array,), None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(*children)

    def __getitem__(self, index):
        raise ValueError(f"no axis is named {index}")


def test_a_node_that_refuses_an_index_keeps_its_place():
    params = {"layer": {"kernel": Indexed(jnp.full((4, 3), 2.0)), "bias": Indexed(jnp.zeros(3))}}
    assert paths(params) == ["layer/bias/0", "layer/kernel/0"]
    assert claimed(params, {"layer/kernel/0": LIMIT}) == {"layer/kernel/0"}


@pytest.mark.parametrize(
    ("params", "pattern"),
    [
        ([(jnp.ones((4, 8)), jnp.ones(8)), (jnp.ones((8, 1)), jnp.ones(1))], "[0-9]+/0"),
        ({"W1": jnp.ones((3, 4)), "b1": jnp.ones(4), "W2": jnp.ones((4, 3))}, "W[0-9]+"),
        ({"net.1": {"A2": jnp.ones((2, 2)), "c": jnp.ones(2)}}, r"net\.[0-9]+/A[0-9]+"),
        ({"embed": {"embedding": jnp.ones((5, 2))}, "proj": {"wmat": jnp.ones((2, 3))}}, "proj/wmat"),
        ({"a1": jnp.ones((2, 2)), "a2": jnp.ones(2)}, "a1"),  # a pattern with digits would match a vector too
    ],
)
def test_names_of_ones_own_are_told_a_pattern_that_matches_their_matrices(params, pattern):
    with pytest.raises(ValueError, match="Use a path, or a regular expression for a whole path, such as ") as caught:
        jr.explain(params, jr.MaxNorm(1.0))
    assert f"such as {pattern!r}. The existing" in str(caught.value)
    matched = [row for row in jr.explain(params, {pattern: jr.MaxNorm(1.0)}) if row.rule is not None]
    assert [len(row.shape) for row in matched] == [2] * len(matched) != []
