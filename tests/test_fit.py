"""The training loop against trainings by Keras, and the laws of a lane: alone or in a population, diverged or not."""

import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr
from jaxreg.lab import MLP, Data, Model, Problem, Recipe, fit, linen, sweep, tutorial_moons
from jaxreg.lab.fit import _batches

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


GOLDEN = Path(__file__).parent / "data" / "golden"
PARITY = {
    "mlp_none": (Recipe(), 1e-6),
    "mlp_l2": (Recipe(penalties={HIDDEN: jr.L2(1e-3)}), 1e-6),
    "mlp_l1l2": (Recipe(penalties={HIDDEN: jr.L1L2(1e-4, 1e-3)}), 1e-6),
    "mlp_max_norm": (Recipe(constraints={HIDDEN: jr.keras.MaxNorm(1.0)}), 2e-5),
    "mlp_unit_norm": (Recipe(constraints={HIDDEN: jr.UnitNorm()}), 2e-5),
}


@pytest.mark.parametrize("case", PARITY)
def test_fit_retraces_a_training_by_keras(case):
    recipe, tolerance = PARITY[case]
    with np.load(GOLDEN / f"trace_{case}.npz", allow_pickle=False) as trace:
        golden = {name: trace[name] for name in trace.files}
    layers = {"hidden": ["kernel", "bias"], "output": ["kernel", "bias"]}
    start = {
        layer: {name: jnp.asarray(golden[f"w0:{layer}/{name}"]) for name in names} for layer, names in layers.items()
    }
    units = golden["w0:hidden/kernel"].shape[1]
    module = linen(MLP(hidden=units), inputs=(2,))
    rows = golden["x"][None], golden["y"][None, :, 0]
    keras = Problem(Model(lambda key: start, module.apply), Data(*rows, *rows), epochs=100)
    lane = jax.jit(partial(fit, keras, recipe, keep=True))(jax.random.key(0))
    for layer, names in layers.items():
        for name in names:
            theirs = golden[f"w100:{layer}/{name}"]
            error = np.linalg.norm(lane[f"params/{layer}/{name}"] - theirs) / np.linalg.norm(theirs)
            assert error < tolerance, (layer, name)
    losses = lane["train_loss"].values + lane["penalty"].values
    np.testing.assert_allclose(losses[:100], golden["losses"][:100], atol=1e-6 if tolerance == 1e-6 else 1e-5)
    assert json.loads(bytes(golden["meta"]))["keras"].startswith("3.15")


@pytest.mark.parametrize("name", RECIPES)
def test_a_lane_in_a_population_is_the_lane_alone(name):
    strengths, seeds = jnp.array([0.3, 0.01, 1.0]), jnp.array([5, 6, 7])
    setting = problem()

    def lane(strength, seed):
        return fit(setting, RECIPES[name](strength), jax.random.key(seed), keep=True)

    together = jax.jit(jax.vmap(lane))(strengths, seeds)
    for i in range(3):
        alone = jax.jit(lane)(strengths[i], seeds[i])
        jax.tree.map(lambda a, b, i=i: np.testing.assert_allclose(a[i], b, atol=1e-5, rtol=1e-5), together, alone)


@pytest.mark.parametrize("penalty", [jr.L1(0.0), jr.L2(0.0), jr.L1L2(0.0, 0.0)])
def test_strength_0_is_no_penalty(penalty):
    without = final(problem(), Recipe())
    with_zero = final(problem(), Recipe(penalties={HIDDEN: penalty}))
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


def test_one_compilation_for_every_strength_seed_and_draw(monkeypatch):
    compiled = []
    monitor = "/jax/core/compile/backend_compile_duration"
    listener = lambda event, *_, **__: compiled.append(event) if event == monitor else None  # noqa: E731
    setting = problem(epochs=4, record_every=2)
    traced = []

    def run(strength, seed, draw):
        traced.append(strength)
        return fit(setting, Recipe(penalties={HIDDEN: jr.L2(strength)}), jax.random.key(seed), draw)

    jax.monitoring.register_event_duration_secs_listener(listener)
    try:
        sweep(run, {"strength": [0.0, 1e-3, 1e-2], "seed": np.arange(40), "draw": [0]}, chunk=16, progress=False)
    finally:
        jax.monitoring.unregister_event_duration_listener(listener)
    assert len(traced) == 1
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
        jax.tree.map(lambda a, b, lane=lane: np.testing.assert_array_equal(a[lane], b[lane]), calm, wild)


def test_every_row_is_in_one_batch_of_an_epoch():
    data = tutorial_moons()
    one = jax.tree.map(lambda array: jnp.asarray(array)[0], data)
    x, _, weights = _batches(one, 8, jax.random.key(3))
    assert x.shape == (4, 8, 2)
    assert weights.sum() == 30
    kept = np.asarray(x.reshape(-1, 2))[np.asarray(weights.reshape(-1)) > 0]
    np.testing.assert_array_equal(np.sort(kept, axis=0), np.sort(data.x_train[0], axis=0))
    other = _batches(one, 8, jax.random.key(4))[0]
    assert not np.array_equal(x, other)


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


BAD = {
    "epochs 0": ({"epochs": 0}, "epochs is 0; expected a whole number of at least 1"),
    "batch -1": ({"batch_size": -1}, "batch_size is -1"),
    "record": ({"record_every": 7}, "record_every is 7 and epochs 100; expected a divisor"),
    "nan": ({"data": bad_data(np.nan)}, r"x_train holds nan at \(0, 3, 1\), one of 1"),
    "inf": ({"data": bad_data(np.inf)}, r"x_train holds inf at \(0, 3, 1\)"),
    "rows": ({"data": tutorial_moons()._replace(y_test=np.zeros((1, 5)))}, r"y_test \(1, 5\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_problems_are_refused(case):
    changes, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        problem(**changes)


def test_a_rule_that_matches_nothing_is_refused_before_compiling():
    with pytest.raises(
        ValueError, match=r"'hiden/kernel' matches no parameter; the paths are: hidden/bias, hidden/kernel"
    ):
        sweep(
            lambda seed: fit(problem(), Recipe(penalties={"hiden/kernel": jr.L2(0.1)}), jax.random.key(seed)),
            {"seed": [0, 1]},
            progress=False,
        )
