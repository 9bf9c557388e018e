"""The training loop against trainings by Keras, and the laws of a lane: alone or in a population, diverged or not."""

import dataclasses
import json
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from helpers.reference import CONSTRAINTS, DATA, GOLDEN, PENALTIES, distance, keras_trace, rules
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_curve
from sklearn.metrics import root_mean_squared_error as root_mean_squared_error_of

import jaxreg as jr
from jaxreg.lab import (
    CNN,
    LSTM,
    MLP,
    Data,
    Model,
    Problem,
    Recipe,
    binary_accuracy,
    binary_cross_entropy,
    categorical_cross_entropy,
    diabetes,
    digits,
    equal_error_rate,
    fit,
    linen,
    moons,
    points,
    root_mean_squared_error,
    squared_error,
    sweep,
    tutorial_moons,
)
from jaxreg.lab.training.loop import _batches, advance, begin
from jaxreg.lab.weights import from_keras, named

HIDDEN = "hidden/kernel"
SMALL = linen(MLP(hidden=32), inputs=(2,))
RECIPES = {
    "none": lambda s: Recipe(),
    "l1": lambda s: Recipe(penalties={HIDDEN: jr.L1(s)}),
    "l2": lambda s: Recipe(penalties={jr.KERNELS: jr.L2(s)}),
    "max_norm": lambda s: Recipe(constraints={jr.KERNELS: jr.MaxNorm(s)}),
    "min_max_norm": lambda s: Recipe(constraints={HIDDEN: jr.MinMaxNorm(s, 2 * s)}),
    "unit_norm": lambda s: Recipe(constraints={HIDDEN: jr.UnitNorm()}),
    "non_neg": lambda s: Recipe(constraints={HIDDEN: jr.NonNeg(), jr.BIASES: jr.MaxNorm(s)}),
}


def problem(**changes):
    return Problem(**{"model": SMALL, "data": tutorial_moons(), "epochs": 100, "record_every": 10} | changes)


def final(problem, recipe, seed=0):
    return fit(problem, recipe, jax.random.key(seed), keep=True)


MODELS = {
    "mlp": (lambda width: MLP(hidden=width), binary_cross_entropy, 100),
    "cnn": (lambda width: CNN(filters=(width,), outputs=10), categorical_cross_entropy, 20),
    "lstm": (lambda width: LSTM(units=(width // 4,), outputs=10), categorical_cross_entropy, 20),
}
OPTIMIZERS = {
    "adam": lambda c: Recipe(learning_rate=c["learning_rate"]),
    "adam_w": lambda c: Recipe(learning_rate=c["learning_rate"], decays={".*": jr.L2(c["weight_decay"] / 2)}),
    "sgd": lambda c: Recipe(learning_rate=c["learning_rate"], optimizer=partial(optax.sgd, momentum=c["momentum"])),
}


def as_in_keras(name):
    """(problem, recipe, {path: final weight}, losses) of a training by Keras, its layers' options as rules."""
    meta, arrays = keras_trace(name)
    module, loss, steps = MODELS[name.split("_")[0]]
    model = linen(module(arrays[f"w0:{meta['weights'][0]}"].shape[-1]), arrays["x"].shape[1:])
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    start, end = (
        from_keras(shapes, {path: arrays[f"w{step}:{path}"] for path in meta["weights"]}) for step in (0, steps)
    )
    x, y = arrays["x"][None], arrays["y"].reshape(1, -1)
    problem = Problem(
        Model(lambda key: start, model.apply),
        Data(x, y, x[:, :1], y[:, :1]),
        epochs=steps,
        loss=loss,
        metrics={},
        batch_size=64,
    )
    penalties, constraints = (
        {path.replace("lstm_cell/", ""): rule for path, rule in found.items()} or None
        for found in (
            rules(meta, "_regularizer", lambda case: PENALTIES[case["class"]](case)),
            rules(meta, "_constraint", lambda case: CONSTRAINTS[case["class"]](jr.keras, case)),
        )
    )
    recipe = OPTIMIZERS[meta["optimizer"]["name"].rstrip("0123456789").rstrip("_")](meta["optimizer"])
    recipe = dataclasses.replace(recipe, penalties=penalties, constraints=constraints)
    assert meta["keras"].startswith("3.15")
    return problem, recipe, named(end), arrays["losses"][:steps]


def trained(problem, recipe):
    quickly = {"xla_backend_optimization_level": 0}  # each program runs once: half the time to compile it
    return jax.jit(partial(fit, problem, recipe, keep=True), compiler_options=quickly)(jax.random.key(0))


@pytest.mark.parametrize("name", sorted(file.stem.removeprefix("trace_") for file in GOLDEN.glob("trace_*.npz")))
def test_fit_retraces_a_training_by_keras(name):
    problem, recipe, weights, losses = as_in_keras(name)
    tolerance = 1e-5 if not name.startswith("mlp") else 1e-6 if recipe.constraints is None else 2e-5
    lane = trained(problem, recipe)
    for path, theirs in weights.items():
        error = np.linalg.norm(lane[f"params/{path}"] - theirs)
        assert error <= tolerance * np.linalg.norm(theirs), path
    ours = lane["train_loss"].values + lane["penalty"].values
    np.testing.assert_allclose(ours[:-1], losses, atol=1e-6 if tolerance == 1e-6 else 1e-5)


def test_the_record_of_a_rule_of_keras_includes_its_epsilon():
    """Stored sweeps have such records, and must go on."""
    curves = trained(problem(epochs=1, record_every=1), Recipe(constraints={HIDDEN: jr.keras.MaxNorm(50.0)}))
    end = {HIDDEN: curves[f"params/{HIDDEN}"]}
    norms = np.linalg.norm(np.asarray(end[HIDDEN], np.float64), axis=0)
    np.testing.assert_allclose(curves["violation"].values[-1], np.max(norms * 1e-7 / (norms + 1e-7)), rtol=0.5)
    assert jr.violation(end, {HIDDEN: jr.keras.MaxNorm(50.0)}) == 0


@pytest.mark.parametrize("library", [jr, jr.keras], ids=["exact", "keras"])
@pytest.mark.parametrize("name", ["0", "012"])
def test_an_axis_means_in_fit_what_it_means_in_keras(name, library):
    # In the golden trainings of CNNs the limits on the kernel are out of reach; here they bind at every step.
    with np.load(DATA / "keras_axes.npz", allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    meta = json.loads(arrays["meta"].tobytes())
    steps, axis = meta["steps"], (0, 1, 2) if name == "012" else 0
    model = linen(CNN(filters=(4,), outputs=10), (8, 8, 1))
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    start, end = (
        from_keras(shapes, {key.removeprefix(on): w for key, w in arrays.items() if key.startswith(on)})
        for on in ("w0:", f"{name}:w{steps}:")
    )
    x, y = arrays["x"][None], arrays["y"][None]
    model = Model(lambda key: start, model.apply)
    setting = Problem(model, Data(x, y, x[:, :1], y[:, :1]), steps, categorical_cross_entropy, {}, batch_size=16)
    recipe = Recipe(constraints={"conv/kernel": library.MaxNorm(meta["limits"][name], axis=axis)})
    lane = trained(setting, recipe)
    end = named(end)
    assert distance({path: lane[f"params/{path}"] for path in end}, end) < 1e-5
    norms = np.linalg.norm(end["conv/kernel"].reshape(3, -1) if axis == 0 else end["conv/kernel"].reshape(9, 4), axis=0)
    assert np.isclose(norms.max(), meta["limits"][name], rtol=1e-5)
    np.testing.assert_allclose(lane["train_loss"].values[:-1], arrays[f"{name}:losses"], atol=1e-5)


LAYERS = {
    "lstm": (
        linen(LSTM(units=(3,), outputs=2), (4, 2)),
        ["lstm/kernel", jr.RECURRENT_KERNELS, "lstm/bias", "output/kernel", "output/bias"],
    ),
    "cnn": (
        linen(CNN(filters=(3,), outputs=2), (4, 4, 1)),
        ["conv/kernel", "conv/bias", "output/kernel", "output/bias"],
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_each_kind_of_weight_has_rules_of_its_own(name):
    # One step of SGD in one lane for each rule alone: strengths of 0 and limits beyond reach are no rule.
    model, patterns = LAYERS[name]
    rng = np.random.default_rng(0)
    start = jax.tree.map(
        lambda w: jnp.asarray(rng.normal(size=w.shape), jnp.float32), jax.eval_shape(model.init, jax.random.key(0))
    )
    data = digits([0], train=6)
    data = Data(data.x_train, data.y_train % 2, data.x_test[:, :4], data.y_test[:, :4] % 2)
    shape = (1, -1, 4, 2) if name == "lstm" else (1, -1, 4, 4, 1)
    cut = lambda x: x.reshape(1, x.shape[1], 64)[:, :, 20 : 20 + int(np.prod(shape[2:]))].reshape(shape)  # noqa: E731
    data = data._replace(x_train=cut(data.x_train), x_test=cut(data.x_test))
    problem = Problem(Model(lambda key: start, model.apply), data, 1, categorical_cross_entropy, {}, batch_size=8)
    rate, strength, limit, count = 0.5, 0.25, 0.2, len(patterns)

    def lane(on):
        at = lambda row, make: {pattern: make(on[row, i]) for i, pattern in enumerate(patterns)}  # noqa: E731
        recipe = Recipe(
            penalties=at(0, lambda flag: jr.L2(flag * strength)),
            decays=at(1, lambda flag: jr.L2(flag * strength)),
            proximals=at(2, lambda flag: jr.L1(flag * strength)),
            constraints=at(3, lambda flag: jr.MaxNorm(jnp.where(flag > 0, limit, 1e9))),
            learning_rate=rate,
            optimizer=optax.sgd,
        )
        return fit(problem, recipe, jax.random.key(0), keep=True)

    alone = np.concatenate([np.zeros((1, 4 * count)), np.eye(4 * count)]).reshape(-1, 4, count)
    lanes = jax.jit(jax.vmap(lane))(jnp.asarray(alone, jnp.float32))
    before = named(start)
    paths = [next(path for path in before if "recurrent" in path) if p is jr.RECURRENT_KERNELS else p for p in patterns]
    assert set(paths) == set(before)
    for row in range(4):
        for i, path in enumerate(paths):
            for other in paths:
                plain, found = lanes[f"params/{other}"][0], lanes[f"params/{other}"][1 + row * count + i]
                if other != path:
                    np.testing.assert_array_equal(found, plain)
                    continue
                plain, w = np.asarray(plain, np.float64), before[path].astype(np.float64)
                norms = np.sqrt(np.sum(plain**2, axis=tuple(range(max(plain.ndim - 1, 1))), keepdims=True))
                expected = [
                    plain - rate * 2 * strength * w,
                    plain - rate * 2 * strength * w,
                    np.sign(plain) * np.maximum(np.abs(plain) - rate * strength, 0),
                    plain * np.minimum(1, limit / norms),
                ][row]
                assert not np.allclose(expected, plain, atol=1e-3)
                np.testing.assert_allclose(found, expected, atol=1e-6)


def test_decay_reads_the_learning_rate_at_each_step():
    schedule = optax.piecewise_constant_schedule(0.5, {1: 0.1})
    tx = Recipe(learning_rate=schedule, decays={"w": jr.L2(0.5)}, optimizer=optax.sgd).transformation()
    params = {"w": jnp.array([2.0])}
    state, seen = tx.init(params), []
    for _ in range(2):
        updates, state = tx.update({"w": jnp.array([1.0])}, state, params)
        seen.append(float(updates["w"][0]))
    np.testing.assert_allclose(seen, [-0.5 * (1 + 2), -0.05 * (1 + 2)], rtol=1e-6)


def test_the_penalty_reported_holds_proximal_ones_and_no_decay():
    recipe = Recipe(penalties={"w": jr.L2(0.5)}, proximals={"b": jr.L1(3.0)}, decays={".*": jr.L2(7.0)})
    assert recipe.penalty({"w": jnp.array([2.0]), "b": jnp.array([-1.0])}) == 0.5 * 4 + 3
    assert Recipe().penalty({"w": jnp.ones(1)}) == 0


def test_regression_ends_where_ridge_regression_does():
    data = diabetes([0, 1], train=80)
    line = linen(nn.Dense(1), (10,))
    metrics = {"rmse": root_mean_squared_error}
    setting = Problem(line, data, 600, squared_error, metrics, batch_size=80, record_every=600)
    recipe = Recipe(penalties={"kernel": jr.L2(0.1)}, learning_rate=0.1, optimizer=partial(optax.sgd, momentum=0.8))
    lanes = jax.jit(jax.vmap(lambda draw: fit(setting, recipe, jax.random.key(0), draw, keep=True)))(jnp.arange(2))
    for draw in range(2):
        ridge = Ridge(alpha=0.1 * 80).fit(data.x_train[draw], data.y_train[draw])
        np.testing.assert_allclose(lanes["params/kernel"][draw][:, 0], ridge.coef_, atol=1e-4)
        rmse = root_mean_squared_error_of(data.y_test[draw], ridge.predict(data.x_test[draw]))
        np.testing.assert_allclose(lanes["test_rmse"].values[draw, -1], rmse, rtol=1e-4)


def test_a_metric_of_all_rows_sees_them_together():
    # More test rows than one block of them, so that a mean of blocks would differ.
    setting = problem(data=moons([0], test=700), epochs=5, record_every=5, metrics={"eer": equal_error_rate})
    lane = final(setting, Recipe())
    params = {layer: {k: lane[f"params/{layer}/{k}"] for k in ("kernel", "bias")} for layer in ("hidden", "output")}
    scores = SMALL.apply(params, setting.data.x_test[0])[:, 0]
    accepted, detected, _ = roc_curve(setting.data.y_test[0], scores, drop_intermediate=False)
    crossing = np.argmin(np.abs(accepted + detected - 1))
    np.testing.assert_allclose(lane["test_eer"].values[-1], accepted[crossing], atol=2 / 350)


def test_a_loss_that_is_no_value_a_row_is_refused():
    with pytest.raises(
        ValueError,
        match=r"the loss returns an array of shape \(\) for 30 rows; expected one value per row, of shape \(30,\)",
    ):
        final(problem(loss=lambda outputs, y: jnp.mean(outputs[:, 0] - y)), Recipe())
    message = r"three` returns an array of shape \(3,\) for 30 rows; expected shape \(30,\), or a scalar"
    with pytest.raises(ValueError, match=message):
        final(problem(metrics={"three": lambda outputs, y: jnp.zeros(3)}), Recipe())


def test_numbers_of_numpy_are_whole_numbers():
    curves = fit(
        problem(epochs=np.int64(10), record_every=np.int64(10), batch_size=np.int32(8)), Recipe(), jax.random.key(0)
    )
    assert curves["test_loss"].values.shape == (2,)


@pytest.mark.parametrize("name", RECIPES)
def test_a_lane_in_a_population_is_the_lane_alone(name):
    strengths, seeds = jnp.array([0.3, 0.01, 1.0]), jnp.array([5, 6, 7])
    setting = problem()

    def lane(strength, seed):
        return fit(setting, RECIPES[name](strength), jax.random.key(seed), keep=True)

    together = jax.jit(jax.vmap(lane))(strengths, seeds)
    for i in range(3):
        alone = jax.jit(lane)(strengths[i], seeds[i])
        chex.assert_trees_all_close(jax.tree.map(lambda a, i=i: a[i], together), alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("penalty", [jr.L1(0.0), jr.L2(0.0), jr.L1L2(0.0, 0.0)])
def test_strength_0_is_no_penalty(penalty):
    def trained(recipe):  # at XLA's own level, as users run it: a lower one adds the zero in another order
        run = jax.jit(partial(final, problem(), recipe))
        return run.lower().compile({"xla_backend_optimization_level": 3})()

    without, with_zero = trained(Recipe()), trained(Recipe(penalties={HIDDEN: penalty}))
    for name in ("params/hidden/kernel", "params/output/kernel", "params/hidden/bias"):
        np.testing.assert_array_equal(without[name], with_zero[name])


NORMS = {
    "max_norm": (jr.MaxNorm(0.4), 0.0, 0.4),
    "min_max_norm": (jr.MinMaxNorm(0.5, 0.8), 0.5, 0.8),
    "unit_norm": (jr.UnitNorm(), 1.0, 1.0),
}


@pytest.mark.parametrize("name", NORMS)
def test_the_constraint_holds_after_every_step(name):
    constraint, low, high = NORMS[name]
    setting = problem(record_every=1)
    lane = final(setting, Recipe(constraints={HIDDEN: constraint}))
    assert lane["violation"].values[0] > 0  # the initial weights are not projected
    np.testing.assert_array_equal(lane["violation"].values[1:], 0)
    # The norms of one unit's weights, from the curve of a model with a single unit: no code of ours in between.
    one = problem(model=linen(MLP(hidden=1), inputs=(2,)), record_every=1)
    norms = final(one, Recipe(constraints={HIDDEN: constraint}))["norm/hidden/kernel"].values[1:]
    assert np.all(norms <= high * (1 + 1e-6))
    assert np.all(norms >= low * (1 - 1e-6))


def test_one_compilation_for_every_strength_seed_and_draw():
    compiled = []
    monitor = "/jax/core/compile/backend_compile_duration"
    listener = lambda event, *_, **__: compiled.append(event) if event == monitor else None  # noqa: E731
    setting = problem(epochs=4, record_every=2)

    @chex.assert_max_traces(n=1)
    def run(strength, seed, draw):
        return fit(setting, Recipe(penalties={HIDDEN: jr.L2(strength)}), jax.random.key(seed), draw)

    sweep(lambda x: {"y": x}, {"x": [0.0]})  # finds which options this version of XLA has
    jax.monitoring.register_event_duration_secs_listener(listener)
    try:
        sweep(run, {"strength": [0.0, 1e-3, 1e-2], "seed": np.arange(40), "draw": [0]}, chunk=16, progress=False)
    finally:
        jax.monitoring.unregister_event_duration_listener(listener)
    assert len(compiled) == 1


def test_a_lane_that_diverges_says_when_and_leaves_its_neighbours_alone():
    setting = problem(epochs=20, record_every=5)

    def lanes(rates):
        return jax.jit(
            jax.vmap(lambda rate: fit(setting, Recipe(learning_rate=rate, optimizer=optax.sgd), jax.random.key(0)))
        )(rates)

    calm, wild = lanes(jnp.array([0.1, 0.2, 0.1])), lanes(jnp.array([0.1, 1e30, 0.1]))
    np.testing.assert_array_equal(calm["diverged_at"], [-1, -1, -1])
    assert wild["diverged_at"][0] == wild["diverged_at"][2] == -1
    assert 1 <= wild["diverged_at"][1] <= 4
    for lane in (0, 2):
        chex.assert_trees_all_equal(*jax.tree.map(lambda a, lane=lane: a[lane], (calm, wild)))


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_a_lane_whose_last_step_blows_up_has_diverged(epochs):
    """No loss of an epoch was infinite, yet the weights are; their accuracy is a number that means nothing."""
    setting = problem(epochs=epochs, record_every=epochs)
    found = fit(setting, Recipe(learning_rate=1e30, optimizer=optax.sgd), jax.random.key(0))
    assert not np.isfinite(found["train_loss"].values[-1])
    assert np.isfinite(found["test_accuracy"].values[-1])
    assert 1 <= found["diverged_at"] <= epochs


def test_a_training_in_parts_is_the_training():
    setting = problem(epochs=7, record_every=7, batch_size=8)  # batches, shuffled anew each epoch
    recipe, key = RECIPES["l1"](1e-3), jax.random.key(5)

    def in_parts(key):
        state = advance(setting, recipe, key, begin(setting, recipe, key), 0, 3)
        return advance(setting, recipe, key, state, 3, 4).params

    whole = jax.jit(lambda key: fit(setting, recipe, key, keep=True))(key)
    for path, array in named(jax.jit(in_parts)(key)).items():
        np.testing.assert_allclose(array, whole[f"params/{path}"], atol=1e-6)


def test_every_row_is_in_one_batch_of_an_epoch():
    data = tutorial_moons()
    one = jax.tree.map(lambda array: jnp.asarray(array)[0], data)
    setting = problem(batch_size=8)
    x, _, weights = _batches(one, setting, jax.random.key(3))
    assert x.shape == (4, 8, 2)
    assert weights.sum() == 30
    kept = np.asarray(x.reshape(-1, 2))[np.asarray(weights.reshape(-1)) > 0]
    np.testing.assert_array_equal(np.sort(kept, axis=0), np.sort(data.x_train[0], axis=0))
    other = _batches(one, setting, jax.random.key(4))[0]
    assert not np.array_equal(x, other)


def test_rows_keep_their_order_where_they_are_not_shuffled():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(1, 5, 3)).astype(np.float32), rng.normal(size=(1, 5)).astype(np.float32)
    line = Model(lambda key: {"w": jnp.zeros((3, 1))}, lambda params, inputs: inputs @ params["w"])
    setting = Problem(line, Data(x, y, x, y), 2, squared_error, {}, batch_size=2, shuffle=False)
    found = final(setting, Recipe(learning_rate=0.1, optimizer=optax.sgd))["params/w"][:, 0]
    w = np.zeros(3)
    for _ in range(2):
        for rows in (slice(0, 2), slice(2, 4), slice(4, 5)):
            a, b = x[0, rows].astype(float), y[0, rows]
            w -= 0.1 * 2 * a.T @ (a @ w - b) / len(b)
    np.testing.assert_allclose(found, w, rtol=1e-5)


def test_batches_average_to_the_whole_gradient():
    # With SGD at a tiny rate the steps of an epoch add up: sum of batch means, against the closed form for a line.
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(1, 12, 3)).astype(np.float32), rng.normal(size=(1, 12)).astype(np.float32)
    line = Model(lambda key: {"w": jnp.zeros((3, 1))}, lambda params, inputs: inputs @ params["w"])
    squares = lambda outputs, targets: jnp.square(outputs[:, 0] - targets)  # noqa: E731
    setting = Problem(line, Data(x, y, x, y), epochs=1, loss=squares, metrics={}, batch_size=4)
    lane = final(setting, Recipe(learning_rate=1e-4, optimizer=optax.sgd))
    slope = -2 * x[0].T @ y[0] / 12
    np.testing.assert_allclose(lane["params/w"][:, 0], -3e-4 * slope, rtol=2e-3)


def test_losses_are_apart_from_the_penalty():
    lane = final(problem(), Recipe(penalties={HIDDEN: jr.L2(0.5)}))
    kernel = np.asarray(lane["params/hidden/kernel"], np.float64)
    np.testing.assert_allclose(lane["penalty"].values[-1], 0.5 * np.sum(kernel**2), rtol=1e-5)
    np.testing.assert_allclose(lane["norm/hidden/kernel"].values[-1], np.sqrt(np.sum(kernel**2)), rtol=1e-5)
    data = tutorial_moons()
    hidden = np.maximum(data.x_test[0] @ kernel + lane["params/hidden/bias"], 0)
    logits = hidden @ np.asarray(lane["params/output/kernel"])[:, 0] + lane["params/output/bias"][0]
    loss = np.mean(np.logaddexp(0, -np.where(data.y_test[0] > 0, logits, -logits)))
    np.testing.assert_allclose(lane["test_loss"].values[-1], loss, rtol=1e-5)
    np.testing.assert_allclose(lane["test_accuracy"].values[-1], np.mean((logits > 0) == (data.y_test[0] > 0)))


def bad_data(value):
    data = tutorial_moons()
    x = data.x_train.copy()
    x[0, 3, 1] = value
    return data._replace(x_train=x)


def with_targets(value, kind=float, part="train"):
    y = np.array(tutorial_moons()._asdict()[f"y_{part}"], kind)
    y[0, 3] = value
    return tutorial_moons()._replace(**{f"y_{part}": y})


BAD = {
    "epochs 0": ({"epochs": 0}, "epochs is 0; expected a whole number of at least 1"),
    "epochs True": ({"epochs": True}, "epochs is True; expected a whole number"),
    "no data": ({"data": None}, "data is of type NoneType; expected a jaxreg.lab.Data"),
    "lists": ({"data": Data([[[1.0]]], [[1.0]], [[[1.0]]], [[1.0]])}, "x_train is of type list; expected an array"),
    "no test rows": (
        {"data": tutorial_moons()._replace(x_test=None)},
        "the data has no test rows. Pass x_test and y_test",
    ),
    "no model": ({"model": MLP(hidden=4)}, "model is of type MLP; expected a jaxreg.lab.Model"),
    "no loss": ({"loss": None}, "loss is None; expected a function"),
    "no metrics": ({"metrics": None}, "metrics is None; expected a dict from name to function"),
    "a metric named loss": ({"metrics": {"loss": binary_accuracy}}, "a metric is named 'loss'"),
    "batch -1": ({"batch_size": -1}, "batch_size is -1"),
    "record": ({"record_every": 7}, "record_every is 7 and epochs is 100; expected a record_every that divides"),
    "nan": ({"data": bad_data(np.nan)}, r"x_train has 1 NaN or infinite values, such as nan at index \(0, 3, 1\)"),
    "inf": ({"data": bad_data(np.inf)}, r"x_train has 1 NaN or infinite values, such as inf at index \(0, 3, 1\)"),
    "numbers": ({"data": with_targets(2.5)}, "y_train holds 2.5, but the loss is binary_cross_entropy.*=squared_error"),
    "signs": (
        {"data": with_targets(-1)},
        "y_train holds -1, but the loss is binary_cross_entropy, which needs classes 0",
    ),
    "classes": ({"data": with_targets(2, int)}, "y_train holds 2, but .* such as loss=categorical_cross_entropy"),
    "test": ({"data": with_targets(2.5, part="test")}, "y_test holds 2.5, but the loss is"),
    "rows": ({"data": tutorial_moons()._replace(y_test=np.zeros((1, 5)))}, r"y_test has \(1, 5\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_problems_are_refused(case):
    changes, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        problem(**changes)


def test_targets_between_the_classes_and_of_other_losses_are_taken():
    assert problem(data=with_targets(0.5)).loss is binary_cross_entropy
    assert problem(data=with_targets(2.5), loss=squared_error, metrics={}).loss is squared_error
    jax.jit(lambda y: problem(data=tutorial_moons()._replace(y_train=y)).data.y_train)(with_targets(2.5).y_train)


def test_a_draw_that_is_not_there_and_other_things_than_problems_are_refused():
    problem = Problem(linen(MLP(hidden=4), (2,)), moons(range(2), test=5), epochs=1)
    for draw in (2, -1):
        with pytest.raises(
            ValueError, match=f"`draw` is {draw}; expected an index from 0 to 1, which selects one draw"
        ):
            fit(problem, Recipe(), jax.random.key(0), draw)
    with pytest.raises(
        ValueError, match="the first two arguments are a Problem and a L2; expected a Problem and a Recipe"
    ):
        fit(problem, jr.L2(0.1), jax.random.key(0))


@pytest.mark.parametrize("over", [{"draw": range(4)}, {"draw": [-1, 0]}, {"pair": points(draw=[0, 3], seed=[1, 1])}])
def test_a_sweep_over_draws_that_are_not_there_is_refused_before_compiling(over, monkeypatch):
    problem = Problem(linen(MLP(hidden=4), (2,)), moons(range(3), test=5), epochs=1)

    def run(draw, seed=0):
        return {"loss": fit(problem, Recipe(), jax.random.key(seed), draw)["test_loss"].values[-1]}

    def trained_on(draw, seed=0):
        state = begin(problem, Recipe(), jax.random.key(seed))
        return {"w": advance(problem, Recipe(), jax.random.key(seed), state, 0, 1, draw).params["hidden"]["kernel"]}

    monkeypatch.setattr(jax.stages.Lowered, "compile", lambda *_: pytest.fail("compiled"))
    for function in (run, trained_on):
        with pytest.raises(ValueError, match=r"`draw` is (3|-1); expected an index from 0 to 2, which selects one"):
            sweep(function, over, progress=False)
    monkeypatch.undo()
    assert len(np.unique(sweep(run, {"draw": range(3)}, progress=False)["loss"])) == 3


def test_a_rule_that_matches_nothing_is_refused_before_compiling():
    with pytest.raises(
        ValueError, match=r"'hiden/kernel' matches no parameter.*The existing paths are: hidden/bias, hidden/kernel"
    ):
        sweep(
            lambda seed: fit(problem(), Recipe(penalties={"hiden/kernel": jr.L2(0.1)}), jax.random.key(seed)),
            {"seed": [0, 1]},
            progress=False,
        )


def test_a_scheduled_strength_is_reported_as_it_is_at_each_point():
    rising = Recipe(penalties={HIDDEN: jr.L2(lambda step: 0.1 * step)})
    curves = fit(problem(epochs=2, record_every=1, batch_size=8), rising, jax.random.key(0))  # 4 steps an epoch
    squares = curves[f"norm/{HIDDEN}"].values ** 2
    np.testing.assert_allclose(curves["penalty"].values, np.array([0.0, 0.4, 0.8]) * squares, rtol=1e-5)


@pytest.mark.parametrize("optimizer", [optax.adamw(3e-3), optax.chain(optax.adam(1e-3)), "adam", None])
def test_an_optimizer_that_is_no_function_of_the_learning_rate_is_refused_at_construction(optimizer):
    with pytest.raises(
        TypeError, match=r"^`optimizer` is of type \w+; expected a function of the learning rate, such as"
    ):
        Recipe(optimizer=optimizer)
    assert Recipe(optimizer=optax.adamw) is not None
