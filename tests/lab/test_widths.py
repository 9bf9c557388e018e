"""Networks of any width in one program, against the networks of each width."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import jaxreg as jr
from jaxreg.lab import CNN, LSTM, MLP, Problem, Recipe, any_width, equinox, fit, linen, moons

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
