"""Networks of any width or depth in one program, against the networks of each size."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import jaxreg as jr
from jaxreg.lab import (
    CNN,
    LSTM,
    MLP,
    Problem,
    Recipe,
    Segments,
    any_depth,
    any_width,
    equinox,
    fit,
    linen,
    moons,
    points,
    sweep,
)

WIDTHS = (3, 8)
RECIPES = {
    "Adam, penalty, max-norm": Recipe(
        penalties={jr.KERNELS: jr.L2(1e-3)},
        constraints={"hidden/kernel": jr.MaxNorm(1.0), "output/kernel": jr.MaxNorm(2.0)},
        learning_rate=0.01,
    ),
    "SGD, decay, L1, max-norm of a matrix": Recipe(
        penalties={"hidden/bias": jr.L1(1e-3)},
        decays={jr.KERNELS: jr.L2(1e-2)},
        constraints={"hidden/kernel": jr.MaxNorm(2.0, axis=(0, 1))},
        learning_rate=0.05,
        optimizer=lambda rate: optax.sgd(rate, 0.9),
    ),
}


def own(width):
    return linen(MLP(hidden=width), inputs=(2,))


@pytest.mark.parametrize("name", RECIPES)
def test_a_network_in_the_program_of_all_widths_trains_like_itself(name):
    # In double precision: a sum over padded units may be rounded in another order, which training amplifies.
    with jax.enable_x64(True):
        data, model = moons(range(1), 30, 40), any_width(own, WIDTHS)

        def trained(model):
            problem = Problem(model, data, 1000, record_every=1000)
            return fit(problem, RECIPES[name], jax.random.key(1), keep=True)

        together = jax.jit(jax.vmap(lambda width: trained(model(width))))(jnp.array(WIDTHS[::-1]))
        alone = jax.jit(lambda: trained(own(WIDTHS[0])))()
        for output, wanted in alone.items():
            found = jax.tree.map(lambda values: np.asarray(values[1]), together[output])
            if output.startswith("params/"):
                present = tuple(map(slice, wanted.shape))
                assert np.count_nonzero(found) == np.count_nonzero(found[present])
                found = found[present]
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), found, wanted)
        assert alone["train_loss"].values[-1] < 0.7 * alone["train_loss"].values[0]


class Sigmoids(nn.Module):
    """Two layers that both depend on the width, with units that are not 0 at 0."""

    width: int

    @nn.compact
    def __call__(self, x):
        for size in (self.width, 2 * self.width):
            x = nn.sigmoid(nn.Dense(size)(x))
        return nn.Dense(2)(x)


FAMILIES = {
    "two layers of sigmoids": (lambda width: linen(Sigmoids(width), (4,)), (4,)),
    "filters before a flattened layer": (lambda width: linen(CNN((3, width), (2, 2)), (4, 4, 1)), (4, 4, 1)),
    "gates of an LSTM": (lambda width: linen(LSTM((width,)), (3, 2)), (3, 2)),
}


FIRST = "two layers of sigmoids"


@pytest.mark.parametrize("name", [FIRST, *(pytest.param(n, marks=pytest.mark.slow) for n in FAMILIES if n != FIRST)])
def test_layers_of_many_kinds_have_the_outputs_and_gradients_of_their_own_width(name):
    make, inputs = FAMILIES[name]
    x, key = np.random.default_rng(0).normal(size=(5, *inputs)).astype(np.float32), jax.random.key(3)
    model = any_width(make, (2, 5))

    def loss(params, model):
        return jnp.sum(jnp.square(model.apply(params, x) - 1))

    def measured(model):
        params = model.init(key)
        return params, jax.value_and_grad(loss)(params, model)

    (start, (found, slope)), (own_start, (wanted, own_slope)) = jax.jit(
        lambda width: (measured(model(width)), measured(make(2)))
    )(2)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    for padded, narrow in ((start, own_start), (slope, own_slope)):
        for leaf, other in zip(jax.tree.leaves(padded), jax.tree.leaves(narrow), strict=True):
            values, other = np.asarray(leaf).ravel(), np.asarray(other).ravel()
            # Zeros are put between the entries and change their order nowhere.
            np.testing.assert_allclose(values[np.abs(values) > 0], other[np.abs(other) > 0], rtol=1e-4, atol=1e-6)


def test_the_structure_of_a_module_of_equinox_is_that_of_the_widest():
    def make(width):
        return equinox(lambda key: eqx.nn.MLP(2, 1, width, 2, key=key))

    key = jax.random.key(0)
    found, wanted = (jax.eval_shape(model.init, key) for model in (any_width(make, (2, 5))(2), make(5)))
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    assert jax.tree.leaves(found) == jax.tree.leaves(wanted)


def test_a_width_that_was_not_named_is_refused_or_not_a_number():
    model = any_width(own, WIDTHS)
    with pytest.raises(ValueError, match=r"`width` is 5; expected one of 3, 8"):
        model(5)
    outside = jax.jit(lambda width: jax.tree.leaves(model(width).init(jax.random.key(0))))(5)
    assert all(np.isnan(leaf).all() for leaf in outside)
    refused_in_a_sweep(model, r"`width` is 5; expected one of 3, 8", [3, 5, 8])


def refused_in_a_sweep(model, message, sizes):
    def run(size, seed=0):
        return {"w": model(size).init(jax.random.key(seed))}

    for over in ({"size": sizes}, {"pair": points(size=sizes, seed=range(len(sizes)))}):
        with pytest.raises(ValueError, match=message):
            sweep(run, over, progress=False)

    def carried(state, size):
        return state, {"twice": 2 * size}

    with pytest.raises(ValueError, match=message):
        sweep(carried, {"size": sizes}, segments=Segments(lambda size: run(size)["w"], 1), progress=False)


class Normed(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(nn.LayerNorm()(nn.Dense(self.width)(x)))


@pytest.mark.parametrize(
    ("make", "widths", "message"),
    [
        (own, (3, 3), "expected two or more different widths"),
        (own, (0, 3), r"a width is 0"),
        (
            lambda width: linen(MLP(width + 1), (2,)),
            (3, 8),
            r"sizes 4, 9 for widths 3, 8; expected sizes in proportion",
        ),
        (lambda width: linen(CNN((2,) * width), (9, 9, 1)), (1, 2), "expected the same layers at every width"),
    ],
)
def test_widths_that_cannot_share_a_program_are_refused(make, widths, message):
    with pytest.raises(ValueError, match=message):
        any_width(make, widths)


def test_a_layer_norm_over_units_is_refused():
    model = any_width(lambda width: linen(Normed(width), (2,)), WIDTHS)
    with pytest.raises(ValueError, match="to width 8 with zero weights changes its outputs"):
        jax.eval_shape(lambda width: model(width).apply(model(width).init(jax.random.key(0)), jnp.ones((4, 2))), 3)


class Residual(nn.Module):
    """Residual blocks of two layers, with a layer norm inside if `normed`, in the widest floats that JAX is set to."""

    blocks: int
    normed: bool = False
    after: bool = False

    @nn.compact
    def __call__(self, x):
        dense, norm = partial(nn.Dense, param_dtype=float), partial(nn.LayerNorm, param_dtype=float)
        x = dense(6, name="input")(x)
        for block in range(self.blocks):
            inner = norm(force_float32_reductions=False, name=f"norm_{block}")(x) if self.normed else x
            inner = dense(5, name=f"inner_{block}")(inner)
            x = x + dense(6, name=f"outer_{block}")(nn.tanh(inner))
            x = nn.tanh(x) if self.after else x
        return dense(1, name="output")(x)


DEPTHS = (0, 1, 3)
RULES = {
    "penalty, max-norm": Recipe(
        penalties={jr.KERNELS: jr.L2(1e-3)}, constraints={jr.KERNELS: jr.MaxNorm(1.0)}, learning_rate=0.01
    ),
    "decay, unit norm": Recipe(
        decays={".*/bias": jr.L2(1e-2)},
        constraints={"input/kernel": jr.UnitNorm()},
        learning_rate=0.02,
        optimizer=lambda rate: optax.sgd(rate, 0.9),
    ),
}


@pytest.mark.parametrize(("name", "normed"), [("penalty, max-norm", True), ("decay, unit norm", False)])
def test_a_network_in_the_program_of_all_depths_trains_like_itself(name, normed):
    def own(blocks):
        return linen(Residual(blocks, normed), inputs=(2,))

    with jax.enable_x64(True):
        data, model = moons(range(1), 30, 40), any_depth(own, DEPTHS)

        def trained(model):
            problem = Problem(model, data, 1000, record_every=1000)
            return fit(problem, RULES[name], jax.random.key(1), keep=True)

        together = jax.device_get(jax.jit(jax.vmap(lambda depth: trained(model(depth))))(jnp.array(DEPTHS)))
        apart = jax.device_get(jax.jit(lambda: [trained(own(depth)) for depth in DEPTHS])())
    for place, (depth, alone) in enumerate(zip(DEPTHS, apart, strict=True)):
        found = {output: jax.tree.map(lambda each, place=place: each[place], together[output]) for output in together}
        for output, wanted in alone.items():
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), found[output], wanted)
        absent = [output for output in found if output.startswith("params/") and output not in alone]
        assert len(absent) == (6 if normed else 4) * (DEPTHS[-1] - depth)
        assert all(np.all(found[output] == 0) for output in absent)
        assert alone["train_loss"].values[-1] < 0.9 * alone["train_loss"].values[0]


def test_depths_of_a_module_of_equinox():
    class Blocks(eqx.Module):
        layers: list
        output: eqx.nn.Linear

        def __init__(self, depth, key):
            keys = jax.random.split(key, depth + 1)
            self.layers = [eqx.nn.Linear(2, 2, key=one) for one in keys[1:]]
            self.output = eqx.nn.Linear(2, 1, key=keys[0])

        def __call__(self, x):
            for layer in self.layers:
                x = x + layer(jax.nn.relu(x))
            return self.output(x)

    def make(depth):
        return equinox(lambda key: Blocks(depth, key))

    x, key = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32), jax.random.key(3)
    model = any_depth(make, (1, 4))
    for depth in (1, 4):
        found, wanted = (m.apply(m.init(key), x) for m in (model(depth), make(depth)))
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_a_depth_that_was_not_named_is_refused_or_not_a_number():
    model = any_depth(lambda blocks: linen(Residual(blocks), (2,)), DEPTHS)
    with pytest.raises(ValueError, match=r"`depth` is 2; expected one of 0, 1, 3"):
        model(2)
    outside = jax.jit(lambda depth: jax.tree.leaves(model(depth).init(jax.random.key(0))))(2)
    assert all(np.isnan(leaf).all() for leaf in outside)
    refused_in_a_sweep(model, r"`depth` is 2; expected one of 0, 1, 3", [0, 2, 3])


class Plain(nn.Module):
    blocks: int

    @nn.compact
    def __call__(self, x):
        for _ in range(self.blocks):
            x = nn.Dense(4)(x)
        return nn.Dense(1)(x)


@pytest.mark.parametrize(
    ("make", "depths", "message"),
    [
        (lambda blocks: linen(Residual(blocks), (2,)), (2, 2), "expected two or more different depths"),
        (lambda blocks: linen(Residual(blocks), (2,)), (-1, 2), "a depth is -1"),
        (
            lambda blocks: linen(Plain(blocks), (2,)),
            (1, 2),
            r"has shapes \(1,\), \(4,\) for depths 1, 2; expected one shape",
        ),
        (
            lambda blocks: linen(MLP(4) if blocks == 1 else Residual(blocks), (2,)),
            (1, 2),
            r"the model of depth 1 has a parameter .*hidden.*, which the model of depth 2 lacks",
        ),
    ],
)
def test_depths_that_cannot_share_a_program_are_refused(make, depths, message):
    with pytest.raises(ValueError, match=message):
        any_depth(make, depths)


def test_blocks_that_do_more_than_add_are_refused():
    model = any_depth(lambda blocks: linen(Residual(blocks, after=True), (2,)), DEPTHS)
    with pytest.raises(ValueError, match="to depth 3 with zero weights changes its outputs"):
        jax.eval_shape(lambda depth: model(depth).apply(model(depth).init(jax.random.key(0)), jnp.ones((4, 2))), 1)


class Scaled(nn.Module):
    blocks: int

    @nn.compact
    def __call__(self, x):
        for block in range(self.blocks):
            x = x + nn.Dense(2, name=f"block_{block}")(nn.tanh(x)) / self.blocks
        return nn.Dense(1, name="output")(x)


def test_blocks_whose_scale_depends_on_the_depth_are_refused():
    """Without blocks the scale does not show."""
    model = any_depth(lambda blocks: linen(Scaled(blocks), (2,)), DEPTHS)
    with pytest.raises(ValueError, match="the model of depth 1 to depth 3 with zero weights changes its outputs"):
        jax.eval_shape(lambda depth: model(depth).apply(model(depth).init(jax.random.key(0)), jnp.ones((4, 2))), 1)
