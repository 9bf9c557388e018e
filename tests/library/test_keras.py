"""Parity with Keras 3.15: values, gradients and whole trainings that Keras itself computed (tests/data/golden)."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.reference import CONSTRAINTS, PENALTIES, axis_of, distance, rules
from jax import lax

import jaxreg as jr

GOLDEN = Path(__file__).parents[1] / "data" / "golden"


def load(name):
    arrays = dict(np.load(GOLDEN / name, allow_pickle=False))
    return json.loads(arrays.pop("meta").tobytes()), arrays


def label(case):
    return "-".join(str(value) for key, value in case.items() if key not in {"output", "value", "grad"})


called = jax.jit(lambda rule, w: rule(w))
value_and_slope = jax.jit(jax.value_and_grad(lambda rule, w: rule(w), argnums=1))

CONSTRAINT_CASES, CONSTRAINT_ARRAYS = load("constraints.npz")
PENALTY_CASES, PENALTY_ARRAYS = load("regularizers.npz")


@pytest.mark.parametrize("library", [jr, jr.keras], ids=["exact", "keras"])
@pytest.mark.parametrize("case", CONSTRAINT_CASES["cases"], ids=label)
def test_constraints_are_those_of_keras(case, library):
    w, expected = CONSTRAINT_ARRAYS[case["input"]], CONSTRAINT_ARRAYS[case["output"]]
    found = np.asarray(called(CONSTRAINTS[case["class"]](library, case), w))
    if library is jr.keras or "axis" not in case:
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=0)
        return
    # Keras divides by norm + 1e-7: the exact ones differ from it by 1e-7 / norm, and at norm 0 in kind. Limits they
    # keep by 4 to 7 ulps, for groups of this size, and both round.
    norms = np.sqrt(np.sum(np.square(w, dtype=np.float64), axis_of(case), keepdims=True))
    allowed = (10 * np.finfo(np.float32).eps + 1e-7 / norms.clip(1e-3)) * np.abs(expected)
    assert np.all((np.abs(found - expected) <= allowed) | (norms < 1e-3))


@pytest.mark.parametrize("case", PENALTY_CASES["cases"], ids=label)
def test_penalties_are_those_of_keras(case):
    w = PENALTY_ARRAYS[case["input"]]
    value, slope = value_and_slope(PENALTIES[case["class"]](case), w)
    np.testing.assert_allclose(value, PENALTY_ARRAYS[case["value"]], rtol=1e-6)
    expected = PENALTY_ARRAYS[case["grad"]]
    # Keras on JAX has gradient `strength` for |w| at 0, and NaN for a column of zeros made a unit vector.
    np.testing.assert_array_equal(np.asarray(slope)[w == 0], 0)
    np.testing.assert_allclose(np.asarray(slope)[w != 0], expected[w != 0], rtol=1e-5, atol=1e-8)


def mlp(params, x):
    hidden = jax.nn.relu(x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    return jax.nn.sigmoid(hidden @ params["output"]["kernel"] + params["output"]["bias"])


def cnn(params, x):
    pictures = lax.conv_general_dilated(
        x, params["conv"]["kernel"], (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    features = jax.nn.relu(pictures + params["conv"]["bias"]).reshape(len(x), -1)
    return jax.nn.softmax(features @ params["output"]["kernel"] + params["output"]["bias"])


def lstm(params, x):
    """Keras's cell: one kernel for the gates i, f, c, o."""
    cell = params["lstm"]["lstm_cell"]

    def step(state, x_now):
        hidden, carry = state
        gates = x_now @ cell["kernel"] + hidden @ cell["recurrent_kernel"] + cell["bias"]
        i, f, c, o = jnp.split(gates, 4, axis=-1)
        carry = jax.nn.sigmoid(f) * carry + jax.nn.sigmoid(i) * jnp.tanh(c)
        return (jax.nn.sigmoid(o) * jnp.tanh(carry), carry), None

    units = cell["recurrent_kernel"].shape[0]
    start = (jnp.zeros((len(x), units)), jnp.zeros((len(x), units)))
    (hidden, _), _ = lax.scan(step, start, jnp.swapaxes(x, 0, 1))
    return jax.nn.softmax(hidden @ params["output"]["kernel"] + params["output"]["bias"])


def cross_entropy(probabilities, y):
    """Keras's: of probabilities, which it clips to 1e-7 from 0 and 1."""
    p = jnp.clip(probabilities, 1e-7, 1 - 1e-7)
    if p.shape[-1] == 1:
        return -jnp.mean(y * jnp.log(p) + (1 - y) * jnp.log(1 - p))
    p = jnp.clip(probabilities / jnp.sum(probabilities, -1, keepdims=True), 1e-7, 1 - 1e-7)
    return -jnp.mean(jnp.log(jnp.take_along_axis(p, y[:, None], axis=-1)))


MODELS = {"mlp": mlp, "cnn": cnn, "lstm": lstm}
OPTIMIZERS = {
    "adam": lambda c: jr.keras.adam(c["learning_rate"], c["beta_1"], c["beta_2"], c["epsilon"]),
    "adam_w": lambda c: jr.keras.adamw(c["learning_rate"], c["weight_decay"], c["beta_1"], c["beta_2"], c["epsilon"]),
    "sgd": lambda c: optax.sgd(c["learning_rate"], c["momentum"]),
}


def nested(arrays, prefix):
    """{"a": {"b": array}} of the arrays named `prefix`a/b."""
    tree = {}
    for name, array in arrays.items():
        if name.startswith(prefix):
            *path, last = name.removeprefix(prefix).split("/")
            node = tree
            for part in path:
                node = node.setdefault(part, {})
            node[last] = array
    return tree


def train(model, meta, arrays, steps, library=jr.keras):
    """(losses before each step, penalty included; {step: weights}), by jaxreg's own transformations."""
    penalties = rules(meta, "_regularizer", lambda case: PENALTIES[case["class"]](case))
    constraints = rules(meta, "_constraint", lambda case: CONSTRAINTS[case["class"]](library, case))
    optimizer = OPTIMIZERS[meta["optimizer"]["name"].rstrip("0123456789").rstrip("_")](meta["optimizer"])
    tx = optax.chain(jr.penalize(penalties), optimizer, jr.project(constraints))

    def step(state, _):
        params, inner = state
        loss, grads = jax.value_and_grad(lambda p: cross_entropy(model(p, arrays["x"]), arrays["y"]))(params)
        updates, inner = tx.update(grads, inner, params)
        return (optax.apply_updates(params, updates), inner), (loss + jr.penalty(params, penalties), params)

    params = jax.tree.map(jnp.asarray, nested(arrays, "w0:"))
    (last, _), (losses, before) = jax.jit(lambda p: lax.scan(step, (p, tx.init(p)), length=steps))(params)
    after = jax.tree.map(lambda each, end: jnp.concatenate([each[1:], end[None]]), before, last)
    return losses, {s: jax.tree.map(lambda each, s=s: each[s - 1], after) for s in meta["saved_at"] if s <= steps}


@pytest.mark.parametrize("name", sorted(file.stem for file in GOLDEN.glob("trace_*.npz")))
def test_trainings_are_those_of_keras(name):
    meta, arrays = load(f"{name}.npz")
    model = meta["case"].split("_")[0]
    constrained = any(key.endswith("_constraint") for layer in meta["layers"] for key in layer)
    steps, limit = (100, 2e-5 if constrained else 1e-6) if model == "mlp" else (20, 1e-5)
    losses, weights = train(MODELS[model], meta, arrays, steps)
    np.testing.assert_allclose(losses, arrays["losses"][:steps], rtol=0, atol=1e-6)
    assert len(weights) == 3
    for step, found in weights.items():
        assert distance(found, nested(arrays, f"w{step}:")) < limit, f"after step {step}"


def test_orthogonal_regularizer_refuses_what_it_cannot_read():
    with pytest.raises(ValueError, match="mode is 'diagonal'; expected 'rows' or 'columns'"):
        jr.keras.OrthogonalRegularizer(0.1, mode="diagonal")
    with pytest.raises(ValueError, match=r"shape \(3,\); expected a matrix"):
        jr.keras.OrthogonalRegularizer(0.1)(jnp.ones(3))
    assert jr.keras.OrthogonalRegularizer(0.1)(jnp.ones((1, 4))) == 0


@pytest.mark.parametrize(
    "rule",
    [jr.keras.MaxNorm(1.0), jr.keras.MinMaxNorm(5.0, 6.0), jr.keras.UnitNorm(), jr.keras.OrthogonalRegularizer(0.1)],
    ids=repr,
)
def test_rules_of_keras_round_narrow_weights_once(rule):
    w = jnp.asarray(np.random.default_rng(0).normal(size=(16, 4)), jnp.bfloat16)
    found, exact = (jax.jit(rule)(weights) for weights in (w, w.astype(jnp.float32)))
    assert found.dtype == (jnp.bfloat16 if found.ndim else jnp.float32)
    np.testing.assert_array_equal(found, exact.astype(found.dtype))


def test_adamw_needs_the_parameters():
    tx = jr.keras.adamw()
    with pytest.raises(ValueError, match="got no params"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)))


def test_the_first_step_of_adam_is_keras_s_and_that_of_optax_differs_for_small_gradients():
    gradients = np.geomspace(1e-9, 1, 500)
    expected = -gradients / (gradients + 1e-7 / np.sqrt(1e-3))  # in double precision
    w, g = jnp.zeros(500), jnp.asarray(gradients, jnp.float32)
    ours, other = (tx.update(g, tx.init(w), w)[0] for tx in (jr.keras.adam(1.0), optax.adam(1.0, eps=1e-7)))
    np.testing.assert_allclose(ours, expected, atol=2e-5)
    apart = np.abs(other - expected)
    np.testing.assert_allclose([apart.max(), gradients[apart.argmax()]], [0.7, 6e-7], rtol=0.1)
    assert apart[gradients > 0.01].max() < 1e-3


def test_adam_reads_a_schedule_at_the_step_before():
    rate = optax.piecewise_constant_schedule(0.1, {1: 0.0})
    for tx in (jr.keras.adam(rate), jr.keras.adamw(rate, weight_decay=0.5)):
        w, state, moves = jnp.array([1.0]), tx.init(jnp.array([1.0])), []
        for _ in range(2):
            updates, state = tx.update(jnp.array([2.0]), state, w)
            moves.append(float(updates[0]))
        assert moves[0] < -0.09
        assert moves[1] == 0


def test_adam_of_float64_weights_is_computed_in_float64():
    w, mean, square = np.array([0.7, -1.3]), np.zeros(2), np.zeros(2)
    gradients = np.random.default_rng(0).normal(size=(20, 2))
    with jax.enable_x64(True):
        tx = jr.keras.adam(0.1)
        state = tx.init(jnp.asarray(w))
        for time, gradient in enumerate(gradients, 1):
            updates, state = tx.update(jnp.asarray(gradient), state)
            mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
            wanted = -0.1 * np.sqrt(1 - 0.999**time) / (1 - 0.9**time) * mean / (np.sqrt(square) + 1e-7)
            np.testing.assert_allclose(updates, wanted, rtol=1e-12)
