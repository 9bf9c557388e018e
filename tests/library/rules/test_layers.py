"""The table of layers and frameworks: the right axes, or a report that the tree does not tell them.

The right axes are written down by hand from the documentation of each framework, in `helpers.layers` and, for what is
not installed here, by `scripts/references/layers.py`. Nothing may be silently wrong: a weight over other axes, a weight
that no rule claims, an offset of a norm that a rule for biases claims.
"""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.layers import live
from helpers.stored_layers import stored

import jaxreg as jr
from jaxreg.rules._frameworks import Kind

LARGE = ["equinox", "haiku", "keras", "linen", "nnx", "torch"]
FRAMEWORKS = [*LARGE, "e3nn_jax", "flowjax", "haliax", "paramax", "penzai"]
WEIGHTS = (Kind.KERNELS, Kind.RECURRENT_KERNELS, Kind.EMBEDDINGS)
STEPS = 20


def explained(case):
    """The rows of the table for a norm on every weight, and bounds on every bias, by path."""
    kinds = {row.kind for row in jr.explain(case.tree, {})}
    rules = {kind: jr.MaxNorm(1.0) for kind in WEIGHTS if kind in kinds}
    if Kind.BIASES in kinds:
        rules[Kind.BIASES] = jr.Box(-1.0, 1.0)
    return {row.path: row for row in jr.explain(case.tree, rules)}


@pytest.fixture(scope="module")
def cases():
    return live() | stored()


@pytest.fixture(scope="module")
def rows(cases):
    return {name: explained(case) for name, case in cases.items()}


def groups(shape, axes):
    """The axes that make groups: one of length 1 makes no other."""
    return {a for a in axes if shape[a] != 1}


def verdict(row, axes):
    """Of one leaf: "right", "reported" or "silently wrong"."""
    if axes is None:
        right = row.rule is None
    else:
        right = row.rule is not None and axes != () and groups(row.shape, row.axes) == groups(row.shape, axes)
    return "right" if right else "reported" if row.doubt or row.passed_over else "silently wrong"


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_axes_are_right_or_reported(framework, cases, rows):
    wrong = []
    for name, case in cases.items():
        if name.split()[0] == framework:
            assert case.axes.keys() <= rows[name].keys(), name
            found = {path: verdict(rows[name][path], axes) for path, axes in case.axes.items()}
            wrong += [(name, path, rows[name][path].axes) for path, what in found.items() if what == "silently wrong"]
    assert not wrong, wrong


def test_most_layers_are_told_apart(cases, rows):
    """Reports are for what no tree tells; hardly a layer as it is made by default needs one."""
    found = {
        name: {verdict(rows[name][path], axes) for path, axes in case.axes.items()} for name, case in cases.items()
    }
    right = [name for name, each in found.items() if each == {"right"}]
    assert len(cases) >= 1400
    assert len(right) >= 0.78 * len(cases)
    certain = [name for name in right if not any(rows[name][path].doubt for path in cases[name].axes)]
    assert len(certain) >= 0.65 * len(cases)
    for name in (
        "keras Conv2DTranspose square",
        "keras DepthwiseConv2D times 2 without bias",
        "linen Dense as Dense_0",
    ):
        assert name in certain


def test_constraints_hold_with_the_axes_written_by_hand_after_every_step(cases, rows):
    """All cases at once: leaves that differ in sizes alone are one parameter, of the first one's shape."""
    asked, shapes = {}, {}
    for name, case in cases.items():
        for path, axes in case.axes.items():
            row = rows[name][path]
            if axes and row.rule is not None and not row.doubt:
                key = (tuple(n == 1 for n in row.shape), row.axes, axes)
                asked.setdefault(key, []).append(name)
                shapes.setdefault(key, row.shape)
    keys = {f"{number}": key for number, key in enumerate(asked)}
    draws = np.random.default_rng(0)
    params = {name: jnp.asarray(draws.normal(size=shapes[key]), jnp.float32) for name, key in keys.items()}
    slopes = {name: jnp.asarray(draws.normal(size=(STEPS, *w.shape)), jnp.float32) for name, w in params.items()}
    rules = {
        name: jr.MaxNorm(0.7, axis=found) if int(name) % 2 else jr.UnitNorm(axis=found)
        for name, (_, found, _) in keys.items()
    }
    tx = optax.chain(optax.adam(0.1), jr.project(rules))

    @jax.jit
    def train(params, slopes):
        def step(carry, slopes):
            updates, state = tx.update(slopes, carry[1], carry[0])
            after = optax.apply_updates(carry[0], updates)
            return (after, state), after

        return jax.lax.scan(step, (params, tx.init(params)), slopes)[1]

    after = train(params, slopes)
    for name, (_, _, by_hand) in keys.items():
        norms = np.sqrt(np.sum(np.asarray(after[name], np.float64) ** 2, tuple(a + 1 for a in by_hand)))
        if isinstance(rules[name], jr.MaxNorm):
            assert np.max(norms) <= 0.7 * (1 + 1e-5), asked[keys[name]]
            assert np.any(norms > 0.69), asked[keys[name]]
        else:
            np.testing.assert_allclose(norms, 1, rtol=1e-5, err_msg=str(asked[keys[name]]))
    assert sum(map(len, asked.values())) > 1000
    assert len(keys) > 25


def test_the_issue_by_name(rows):
    """The layers that people's projects came upon first."""
    expected = {
        "keras Conv2DTranspose square": ("conv2d_transpose/kernel", (0, 1, 3), "name"),
        "keras DepthwiseConv2D times 2": ("depthwise_conv2d/kernel", (0, 1), "name"),
        "linen 3 scanned to 1 as ScanBlock_0": ("ScanBlock_0/Dense_0/kernel", (0,), "bias"),
        "linen 4 scanned to 1 boxed as layers": ("layers/Dense_0/kernel", (0,), "box"),
        "linen 3 scanned to 0 without bias boxed as layers": ("layers/Dense_0/kernel", (1,), "box"),
        "haliax Linear onto 5": ("weight/0", (0,), "box"),
        "penzai Linear onto 5": ("weights/value/data_array", (0,), "box"),
        "equinox Linear of one's own": ("0/weight", (1,), "class"),
    }
    for name, (ending, axes, source) in expected.items():
        (row,) = [row for path, row in rows[name].items() if path.endswith(ending) or path.split("/")[-1] == "kernel"]
        assert (row.axes, row.source, row.doubt) == (axes, source, ""), name
    masked = rows["paramax masked onto 5"]
    assert masked["weight/args/0"].rule is None
    assert masked["weight/args/1"].axes == (1,)
    assert "Parameterize wraps it" in masked["weight/args/1"].doubt


def test_every_framework_has_its_share(cases):
    counts = Counter(name.split()[0] for name in cases)
    assert counts.keys() == set(FRAMEWORKS)
    assert min(counts[name] for name in LARGE) >= 100


@pytest.mark.parametrize("name", ["conv_transpose2d", "conv2d_transpose", "up/ConvTranspose2d_0"])
def test_a_transposed_convolution_of_pytorch_is_not_read_as_one_of_equinox(name):
    """Its weight is (inputs, units, window), that of Equinox (units, inputs, window)."""

    def row(*shape, bias=None):
        tree = {"weight": jnp.zeros(shape)} | ({} if bias is None else {"bias": jnp.zeros(bias)})
        (row,) = (row for row in jr.explain({name: tree}, jr.MaxNorm(1.0)) if row.path.endswith("weight"))
        return row

    assert (row(4, 5, 3, 3, bias=5).axes, row(4, 5, 3, 3, bias=5).doubt) == ((0, 2, 3), "")
    assert "(1, 2, 3)" in row(4, 4, 3, 3, bias=4).doubt
    assert "(1, 2, 3)" in row(4, 5, 3, 3).doubt
    assert row(4, 2, 3, 3, bias=4).doubt  # two groups, whose units have inputs of their own
