"""The dry run: what the table says, and that it is what the transformations then do."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr


def network():
    return {
        "conv": {"kernel": jnp.ones((3, 3, 2, 5), jnp.bfloat16), "bias": jnp.ones(5)},
        "embed": {"embedding": jnp.ones((7, 3))},
        "hidden": {"kernel": jnp.ones((4, 6)), "bias": jnp.ones(6)},
        "steps": jnp.zeros((), int),
    }


RULES = {
    "conv/kernel": jr.MaxNorm(2.0),
    "hidden/kernel": jr.L1L2(optax.linear_schedule(0.0, 1.0, 5), 0.1),
    jr.EMBEDDINGS: jr.UnitNorm(),
    "hidden/bias": jr.MaxNorm(jnp.ones(1), axis=0),
}

EXPECTED = """\
path             shape         dtype     kind        rule                            axes       norms  inferred from
conv/bias        (5,)          float32   biases      -                               -          -      -
conv/kernel      (3, 3, 2, 5)  bfloat16  kernels     MaxNorm(2.0)                    (0, 1, 2)  5      bias
embed/embedding  (7, 3)        float32   embeddings  UnitNorm()                      (1,)       7      name
hidden/bias      (6,)          float32   biases      MaxNorm(array of (1,), axis=0)  (0,)       1      -
hidden/kernel    (4, 6)        float32   kernels     L1L2(l1=schedule, l2=0.1)       -          -      -
steps            ()            int32     others      -                               -          -      -"""


def test_the_table_shows_every_leaf():
    assert str(jr.explain(network(), RULES)) == EXPECTED == repr(jr.explain(network(), RULES))


def test_markdown_has_the_same_cells():
    table = jr.explain(network(), RULES)
    lines = table._repr_markdown_().splitlines()
    assert len(lines) == len(table) + 2
    assert lines[3] == "| conv/kernel | (3, 3, 2, 5) | bfloat16 | kernels | MaxNorm(2.0) | (0, 1, 2) | 5 | bias |"


def test_shapes_are_enough():
    assert str(jr.explain(jax.eval_shape(network), RULES)) == str(jr.explain(network(), RULES))


def test_the_rows_say_what_a_projection_then_does():
    """The number of norms is that of the groups that come to the limit; no other axes hold it."""
    params = network()
    after = jr.projected(params, {path: rule for path, rule in RULES.items() if path != "hidden/kernel"})
    for row in jr.explain(params, RULES):
        if row.axes is None:
            continue
        layer, name = row.path.split("/")
        w = np.asarray(after[layer][name], np.float64)
        norms = np.sqrt(np.sum(w**2, row.axes))
        assert norms.size == row.norms
        np.testing.assert_allclose(norms, {"conv": 2.0, "embed": 1.0, "hidden": 1.0}[layer], rtol=1e-2)


@pytest.mark.parametrize(
    ("rule", "axes", "norms"),
    [
        (jr.MaxNorm(1.0), (0,), 6),
        (jr.MaxNorm(1.0, axis=1), (1,), 4),
        (jr.MaxNorm(1.0, axis=(0, 1)), (0, 1), 1),
        (jr.MaxNorm(1.0, axis=-1), (1,), 4),
        (jr.NonNeg(), None, None),
        (jr.L2(0.1), None, None),
        (jr.GroupLasso(0.1), (0,), 6),
        (jr.SpectralNorm(1.0), (0, 1), 1),
        (jr.FrobeniusSphere(1.0), (0, 1), 1),
        (jr.Intersection(jr.UnitNorm(), jr.Box(0.0, 0.05)), (0,), 6),
        (jr.Intersection(jr.NonNeg(), jr.Box(-1.0, 0.5)), None, None),
        (jr.Intersection(jr.MaxNorm(1.0, axis=1), jr.NonNeg()), (1,), 4),
        (jr.Intersection(jr.MaxNorm(1.0, axis=1), jr.SumTo(0.0, axis=0)), (0, 1), 1),
        (jr.Intersection(jr.MaxNorm(1.0, axis=1), jr.SumTo(0.0)), (0, 1), 1),
        (jr.Intersection(jr.MaxNorm(1.0), jr.SumTo(0.0), axis=1), (1,), 4),
        (jr.keras.MaxNorm(1.0), (0,), 6),
        pytest.param(lambda w: w, None, None, id="function"),
    ],
    ids=str,
)
def test_axes_and_number_of_norms(rule, axes, norms):
    (row,) = jr.explain({"kernel": jnp.ones((4, 6))}, rule)
    assert (row.axes, row.norms) == (axes, norms)
    assert row.rule is not None


@pytest.mark.parametrize(
    ("rule", "shown"),
    [
        (jr.SpectralNorm(1.0, fast=True), "SpectralNorm(1.0, fast=True)"),
        (jr.SpectralNorm(1.0), "SpectralNorm(1.0)"),
        (jr.keras.UnitNorm(axis=(0, 1)), "keras.UnitNorm(axis=(0, 1))"),
        (jr.MaxNorm(1.0, axis=1), "MaxNorm(1.0, axis=1)"),
        (jr.NMSparse(2, 4), "NMSparse(n=2, m=4)"),
        (
            jr.Intersection(jr.MaxNorm(1.0, axis=1), jr.SumTo(0.0)),
            "Intersection(MaxNorm(1.0, axis=1), SumTo(0.0))",
        ),
        (jr.Intersection(jr.MaxNorm(1.0), jr.NonNeg(), axis=1), "Intersection(MaxNorm(1.0), NonNeg(), axis=1)"),
        (jr.keras.OrthogonalRegularizer(0.1, mode="columns"), "keras.OrthogonalRegularizer(0.1, mode='columns')"),
    ],
    ids=str,
)
def test_settings_that_are_not_traced_are_shown_where_they_were_chosen(rule, shown):
    (row,) = jr.explain({"kernel": jnp.ones((4, 6))}, rule)
    assert row.cells()[4] == shown


def test_a_leaf_that_is_no_array_is_shown():
    rows = list(jr.explain({"kernel": jnp.ones((4, 6)), "activation": abs, "rate": 0.5}, jr.L2(0.1)))
    assert [(row.path, row.shape) for row in rows] == [("activation", ()), ("kernel", (4, 6)), ("rate", ())]
    assert rows[2].dtype == "float"


STACK = {
    "layers": {"kernel": jnp.ones((3, 4, 4))},
    "pos": jnp.ones((5, 2)),
    "head": {"kernel": jnp.ones((4, 2))},
    "heads": {"kernel": jnp.ones((4, 3, 2)), "bias": jnp.ones((3, 2))},
}


def test_what_the_tree_leaves_open_is_said_under_the_table():
    table = jr.explain(STACK, jr.MaxNorm(1.0))
    (doubtful, passed_over) = str(table).splitlines()[-2:]
    assert doubtful.startswith("Ambiguous weights: layers/kernel (other axes ")
    assert doubtful.endswith("use its path as the pattern, and pass the right axis, if the rule takes an axis")
    assert "other axes are possible: (1,)" in doubtful
    assert passed_over == "Weights with two or more axes, but without a rule: pos"
    rows = {row.path: row for row in table}
    assert rows["layers/kernel"].cells()[-1] == "default, ambiguous"
    assert (rows["head/kernel"].source, rows["head/kernel"].doubt) == ("default", "")
    with pytest.raises(
        ValueError,
        match=r"allows .* without a rule\. Ambiguous weights: .*\. Weights .* a rule: pos\. Change the rules",
    ):
        jr.explain(STACK, jr.MaxNorm(1.0), strict=True)
    assert table._repr_markdown_().splitlines()[-1] == passed_over


def test_a_rule_with_axes_of_its_own_or_without_any_asks_nothing_of_the_tree():
    for rule in (jr.MaxNorm(1.0, axis=1), jr.L2(0.1)):
        table = jr.explain(STACK, {".*kernel": rule, "pos": jr.NonNeg()}, strict=True)
        assert not table.remarks()
        assert all(row.source is None for row in table)


def test_a_lone_bias_may_be_the_offset_of_a_norm():
    tree = {"a": {"bias": jnp.ones(3)}, "b": {"kernel": jnp.ones((3, 3)), "bias": jnp.ones(3)}}
    rows = {row.path: row for row in jr.explain(tree, {jr.BIASES: jr.NonNeg()})}
    assert "may belong to a normalisation layer" in rows["a/bias"].doubt
    assert not rows["b/bias"].doubt
    assert not any(row.doubt for row in jr.explain(tree, {"a/bias": jr.NonNeg()}))


CHAIN = """\
path             shape         dtype     kind        rule                       axes       norms  inferred from
conv/bias        (5,)          float32   biases      -                          -          -      -
conv/kernel      (3, 3, 2, 5)  bfloat16  kernels     penalties: L2(0.1)         -          -      -
conv/kernel      (3, 3, 2, 5)  bfloat16  kernels     constraints: MaxNorm(2.0)  (0, 1, 2)  5      bias
embed/embedding  (7, 3)        float32   embeddings  decays: L1(0.1)            -          -      -
hidden/bias      (6,)          float32   biases      -                          -          -      -
hidden/kernel    (4, 6)        float32   kernels     proximals: GroupLasso(1)   (0,)       6      bias
steps            ()            int32     others      -                          -          -      -"""

SETS = {
    "penalties": {"conv/kernel": jr.L2(0.1)},
    "decays": {jr.EMBEDDINGS: jr.L1(0.1)},
    "proximals": {"hidden/kernel": jr.GroupLasso(1)},
    "constraints": {"conv/kernel": jr.MaxNorm(2.0)},
}


def test_the_sets_of_a_chain_are_shown_together():
    together = jr.explain(network(), strict=True, **SETS)
    assert str(together) == CHAIN
    for name, rules in SETS.items():
        alone = {row.path: row.rule for row in jr.explain(network(), rules) if row.rule is not None}
        assert {row.path: row.rule for row in together if row.argument == name} == alone
        assert "but without a rule" in str(jr.explain(network(), rules))
    assert not any(row.argument for row in jr.explain(network(), RULES))


def test_a_leaf_is_ambiguous_once():
    (line,) = jr.explain(
        {"layers": {"kernel": jnp.ones((3, 4, 4))}}, penalties=jr.GroupLasso(1), constraints=jr.UnitNorm()
    ).remarks()
    assert line.count("layers/kernel") == 1


@pytest.mark.parametrize(
    ("sets", "error"),
    [
        ({"decays": jr.MaxNorm(1.0)}, "MaxNorm.*, a constraint; expected a penalty. Pass a constraint to constraints="),
        ({"penalties": {"kernel": jr.NonNeg()}}, "NonNeg.*, a constraint; expected a penalty"),
        ({"constraints": jr.L2(0.1)}, "L2.*, a penalty; expected a constraint. Pass a penalty to penalties=, decays="),
    ],
)
def test_a_set_by_name_has_rules_of_its_kind(sets, error):
    with pytest.raises(TypeError, match=error):
        jr.explain({"kernel": jnp.ones((4, 6))}, **sets)


@pytest.mark.parametrize(("rules", "sets"), [((), {}), ((jr.L2(0.1),), {"decays": jr.L2(0.1)})])
def test_rules_are_one_set_or_sets_by_name(rules, sets):
    with pytest.raises(TypeError, match=r"expected rules either as the second argument, or by name"):
        jr.explain(network(), *rules, **sets)


def test_a_square_kernel_is_read_like_the_layers_beside_it():
    shapes = {"first": [(64, 32), (32, 32), (10, 32)], "last": [(32, 64), (64, 64), (64, 10)], "alone": [(32, 32)]}
    units = {name: 0 if name == "first" else 1 for name in shapes}
    for name, own in shapes.items():
        params = [{"w": jnp.zeros(shape), "b": jnp.zeros(shape[units[name]])} for shape in own]
        rows = [row for row in jr.explain(params, jr.MaxNorm(1.0)) if row.rule is not None]
        assert [row.axes for row in rows] == [(1 - units[name],)] * len(own), name
        assert [bool(row.doubt) for row in rows] == [name == "first" and a == b for a, b in own], name
        turned = [
            {"weight": jnp.zeros(shape[::-1]), "bias": layer["b"]} for shape, layer in zip(own, params, strict=True)
        ]
        rows = [row for row in jr.explain(turned, jr.MaxNorm(1.0)) if row.rule is not None]
        expected = [(1,)] if name == "alone" else [(units[name],)] * len(own)  # PyTorch has the units first
        assert [row.axes for row in rows] == expected, name
        rows = [row for row in jr.explain(params, jr.MaxNorm(1.0)) if row.rule is not None]
        sources = {row.source for row, (a, b) in zip(rows, own, strict=True) if a == b}
        assert sources == {"bias" if name == "first" else "default"}
