"""Cases of Keras's `optimizer_test.py` (3.15.1) on constraints, averages of weights and accumulated gradients.

A test has the name of the case. The other cases of that file are about optimisers, and are not counted.
"""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax
import pytest
from helpers.exams import close, drawn

import jaxreg as jr

SUITE = "Keras: optimizers"
NOT_IN_SCOPE = {}
STEPS = 9


def keras_path(optimizer, weights, slopes, constraint=None, read=lambda optimizer, variable: variable):
    variable = keras.Variable(weights)
    variable.constraint = constraint
    path = []
    for slope in slopes:
        optimizer.apply_gradients([(slope, variable)])
        path.append(np.asarray(read(optimizer, variable)))
    return np.stack(path)


def our_path(tx, weights, slopes):
    def step(carry, slope):
        params, state = carry
        updates, state = tx.update({"kernel": slope}, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params["kernel"]

    params = {"kernel": jnp.asarray(weights)}
    return jax.jit(lambda: jax.lax.scan(step, (params, tx.init(params)), slopes)[1])()


CONSTRAINTS = {
    "NonNeg": (jr.NonNeg(), keras.constraints.NonNeg()),
    "MaxNorm": (jr.keras.MaxNorm(1.5), keras.constraints.MaxNorm(1.5)),
    "UnitNorm": (jr.UnitNorm(), keras.constraints.UnitNorm()),
    "MinMaxNorm": (jr.MinMaxNorm(1.0, 1.5, rate=0.5), keras.constraints.MinMaxNorm(1.0, 1.5, rate=0.5)),
}


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraints_are_applied(name):
    ours, theirs = CONSTRAINTS[name]
    weights, slopes = drawn(4, 2), drawn(STEPS, 4, 2, seed=1)
    still = keras_path(keras.optimizers.SGD(1e-4), weights, 0 * slopes[:1], theirs)
    close(our_path(jr.regularize(optax.sgd(1e-4), constraints=ours), weights, 0 * slopes[:1]), still, 3e-6)
    for make, tx in (
        (keras.optimizers.SGD(0.1), optax.sgd(0.1)),
        (keras.optimizers.Adam(0.1), jr.keras.adam(0.1)),
    ):
        found = our_path(jr.regularize(tx, constraints=ours), weights, slopes)
        close(found, keras_path(make, weights, slopes, theirs), 1e-5)


def averages(points):
    """Running means with momentum 0.9, which start at the first point."""
    means = [points[0]]
    for point in points[1:]:
        means.append(optax.incremental_update(point, means[-1], 0.1))
    return np.stack(means)


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_ema(name):
    ours, theirs = CONSTRAINTS[name]
    weights, slopes = drawn(4, 2), drawn(STEPS, 4, 2, seed=1)
    optimizer = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9)
    expected = keras_path(
        optimizer, weights, slopes, theirs, lambda optimizer, _: optimizer._model_variables_moving_average[0]
    )
    path = our_path(jr.regularize(optax.sgd(0.1), constraints=ours), weights, slopes)
    # Keras averages what stands there before the projection, which may leave the set. Averages of the path may not.
    before = np.stack([weights, *path[:-1]]) - 0.1 * slopes
    close(averages(before), expected, 1e-5)
    assert not ours.convex or jr.feasible({"kernel": averages(path)[-1]}, {"kernel": ours}, tolerance=1e-5)


def test_ema_with_model_fit():
    layer = keras.layers.Dense(2, kernel_initializer="ones", use_bias=False)
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile(loss="mse", optimizer=keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9))
    model.fit(np.ones((1, 1)), np.zeros((1, 2)), batch_size=1, epochs=2, verbose=0)

    tx = jr.regularize(optax.sgd(0.1), constraints=jr.NonNeg())  # which changes nothing here
    params = {"kernel": jnp.ones((1, 2))}
    state, path = tx.init(params), []
    for _ in range(2):
        slope = jax.grad(lambda p: jnp.mean((jnp.ones((1, 1)) @ p["kernel"]) ** 2))(params)
        updates, state = tx.update(slope, state, params)
        params = optax.apply_updates(params, updates)
        path.append(params["kernel"])
    close(averages(path)[-1], np.asarray(layer.kernel), 1e-6)


@pytest.mark.parametrize("name", [name for name in CONSTRAINTS if name != "MinMaxNorm"])
def test_gradient_accumulation(name):
    # Keras projects at each call, also between steps. That tells for a rate below 1 only, which is left out.
    ours, theirs = CONSTRAINTS[name]
    weights, slopes = np.asarray(ours(drawn(4, 2))), drawn(STEPS, 4, 2, seed=1)
    tx = optax.MultiSteps(jr.regularize(optax.sgd(0.1), constraints=ours), 3)
    expected = keras_path(keras.optimizers.SGD(0.1, gradient_accumulation_steps=3), weights, slopes, theirs)
    close(our_path(tx, weights, slopes), expected, 1e-5)


OPTIMIZERS = {
    "sgd": (keras.optimizers.SGD, lambda: optax.sgd(0.1)),
    "adam": (keras.optimizers.Adam, lambda: jr.keras.adam(0.1)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_gradient_accumulation_with_weigth_decay(name):
    theirs, ours = OPTIMIZERS[name]
    weights, slopes = drawn(4, 2), drawn(STEPS, 4, 2, seed=1)
    accumulated = theirs(0.1, weight_decay=0.05, gradient_accumulation_steps=3)
    tx = jr.regularize(ours(), learning_rate=0.1, decays={".*": jr.L2(0.05 / 2)})
    close(our_path(optax.MultiSteps(tx, 3), weights, slopes), keras_path(accumulated, weights, slopes), 1e-5)
    means = slopes.reshape(-1, 3, 4, 2).mean(1)
    once = keras_path(theirs(0.1, weight_decay=0.05), weights, means)
    close(our_path(tx, weights, means), once, 1e-5)
