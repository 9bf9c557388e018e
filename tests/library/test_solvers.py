"""`jr.solve` against scikit-learn, weak duality, and finite differences of scikit-learn's own solutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression, MultiTaskLasso

import jaxreg as jr
from jaxreg._protocols import Constraint

RNG = np.random.default_rng(3)
N, D = 60, 8
X = RNG.normal(size=(N, D)) @ (np.eye(D) + 0.3 * RNG.normal(size=(D, D)))
TRUTH = np.where(np.arange(D)[:, None] < 3, RNG.normal(size=(D, 2)) * 2, 0.0)
Y = X @ TRUTH + RNG.normal(size=(N, 2))
Y = Y - Y.mean(0)
CENTRED = X - X.mean(0)
POSITIVE = (RNG.random(N) < 1 / (1 + np.exp(-X @ TRUTH[:, 0] / 2))).astype(float)
STRENGTHS = np.array([0.02, 0.1, 0.5])


def squares(w):
    """scikit-learn's loss: half the mean squared error, summed over targets."""
    return jnp.sum((CENTRED @ w - Y[:, : w.shape[1]]) ** 2) / (2 * N)


def logistic(params):
    scores = X @ params["kernel"][:, 0] + params["bias"]
    return jnp.mean(jnp.logaddexp(0.0, scores) - POSITIVE * scores)


def solved(law, *args):
    """What a compiled function gives in float64, as arrays of NumPy."""
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, jax.jit(law)(*args))


ZEROS = np.zeros((D, 1))
NET = {"kernel": ZEROS, "bias": np.zeros(())}
EXACT = {"tol": 1e-14, "max_iter": 100_000, "fit_intercept": False}


def one(model):
    return model.fit(CENTRED, Y[:, 0]).coef_[:, None]


def classified(strength, ratio):
    solver = {"solver": "saga"} if ratio else {"solver": "newton-cholesky"}
    net = LogisticRegression(C=1 / (N * strength), l1_ratio=ratio, tol=1e-12, max_iter=100_000, **solver)
    return net.fit(X, POSITIVE).coef_.T


KINDS = {  # loss, rule, start, scikit-learn's weights
    "lasso": (squares, jr.L1, ZEROS, lambda s: one(Lasso(s, **EXACT))),
    "elastic net": (
        squares,
        lambda s: jr.L1L2(l1=0.7 * s, l2=0.15 * s),
        ZEROS,
        lambda s: one(ElasticNet(s, l1_ratio=0.7, **EXACT)),
    ),
    "group lasso": (
        squares,
        lambda s: jr.GroupLasso(s / 2**0.5, axis=-1),
        np.zeros((D, 2)),
        lambda s: MultiTaskLasso(s, **EXACT).fit(CENTRED, Y).coef_.T,
    ),
    "logistic": (logistic, jr.L1, NET, lambda s: classified(s, 1)),
    "logistic, squares": (logistic, lambda s: jr.L2(s / 2), NET, lambda s: classified(s, 0)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_many_strengths_in_one_program_end_where_scikit_learn_does(kind):
    loss, rule, start, theirs = KINDS[kind]
    pattern = jr.KERNELS if isinstance(start, dict) else ".*"
    law = jax.jit(jax.vmap(lambda s, t: jr.solve(loss, {pattern: rule(s)}, start, tolerance=t), (0, None)))
    early, found = solved(law, STRENGTHS, 1e-4), solved(law, STRENGTHS, 1e-13)
    weights = found.params["kernel"] if isinstance(start, dict) else found.params
    for strength, w in zip(STRENGTHS, weights, strict=True):
        np.testing.assert_allclose(w, theirs(strength), atol=1e-5 if kind == "logistic" else 2e-6)
    assert np.all(found.converged)
    assert np.all(early.converged)
    assert np.all(found.gap <= 1e-13)
    assert np.all(early.gap[:2] > 1e-13)
    # The gap bounds how far the value is above the minimum.
    assert np.all(early.value - found.value <= early.gap + 1e-12)
    assert np.all(early.steps[:2] < found.steps[:2])
    if kind in ("lasso", "group lasso", "logistic"):
        assert np.any(weights[-1] == 0)


REFERENCE = RNG.normal(size=(D, 2))
RULES = {
    "L1L2 without squares": jr.L1L2(l1=0.1, l2=0.0),
    "Linf": jr.Linf(0.3),
    "Nuclear": jr.Nuclear(0.3),
    "Spectral": jr.Spectral(0.3),
    "to a reference": jr.ToReference(jr.L1(0.1), REFERENCE),
    "Simplex": jr.Simplex(1.0),
    "SpectralNorm": jr.SpectralNorm(0.5),
}


def least(rule, u):
    return squares(u) + (0 if isinstance(rule, Constraint) else rule(u))


@pytest.mark.parametrize("name", RULES)
def test_the_gap_is_a_bound_at_every_point_and_closes_at_the_minimum(name):
    rule = RULES[name]
    start, moves = np.zeros((D, 2)), RNG.normal(size=(30, D, 2)) * np.geomspace(1e-4, 1, 30)[:, None, None]

    def law(tolerance):
        found = jr.solve(squares, {".*": rule}, start, tolerance=tolerance)
        # Other points of the set, near and far.
        others = found.params + moves
        others = jax.vmap(rule)(others) if isinstance(rule, Constraint) else others
        return found, jax.vmap(lambda u: least(rule, u))(others), least(rule, found.params)

    both, values, value = solved(jax.vmap(law), np.array([1e-10, 0.3]))
    found, early = (jax.tree.map(lambda leaf, i=i: leaf[i], both) for i in (0, 1))
    assert found.converged
    assert found.gap <= 1e-10 < early.gap
    assert early.gap >= early.value - found.value - 1e-12
    np.testing.assert_allclose(both.value, value, rtol=1e-9)
    assert np.all(values[0] >= found.value - 1e-10)


def test_without_a_gap_the_residual_tells_when_to_stop():
    for rule in (jr.MCP(0.1, 3.0), jr.Intersection(jr.SumTo(1.0), jr.Box(0.0, 0.4)), jr.L1(0.0)):
        found = solved(lambda start, rule=rule: jr.solve(squares, {".*": rule}, start, tolerance=1e-9), ZEROS)
        assert found.converged
        assert np.isinf(found.gap)
        assert found.residual <= 1e-9
    np.testing.assert_allclose(found.params, np.linalg.lstsq(CENTRED, Y[:, :1])[0], atol=1e-8)


def test_a_function_may_be_the_projection():
    found = solved(lambda w: jr.solve(squares, {".*": lambda w: jnp.maximum(w, 0)}, w, tolerance=1e-9), ZEROS)
    same = solved(lambda w: jr.solve(squares, {".*": jr.NonNeg()}, w, tolerance=1e-9), ZEROS)
    assert np.any(same.params == 0)
    np.testing.assert_allclose(found.params, same.params, atol=1e-9)


def test_a_floor_under_the_loss_makes_the_gap_smaller():
    free = np.sum((CENTRED @ np.linalg.lstsq(CENTRED, Y[:, :1])[0] - Y[:, :1]) ** 2) / (2 * N)

    def law(floor, tolerance):
        return jr.solve(squares, {".*": jr.L1(0.02)}, ZEROS, max_steps=100, floor=floor, tolerance=tolerance)

    plain, known, end = (solved(law, *args) for args in [(0.0, 1e-2), (free, 1e-2), (free, 1e-13)])
    # The last steps of both end where the gap without the floor is still too large.
    assert known.steps < plain.steps
    least = end.value
    assert 0 <= known.value - least <= known.gap


def test_weights_keep_their_dtype_and_a_stack_is_solved_layer_by_layer():
    start = {"layers": {"kernel": jnp.zeros((3, D, 2), jnp.bfloat16), "bias": jnp.zeros((3, 2), jnp.bfloat16)}}

    def loss(params):
        return sum(squares(layer) for layer in params["layers"]["kernel"]) + jnp.sum(params["layers"]["bias"] ** 2)

    rules = {jr.KERNELS: jr.Nuclear(0.3)}
    found = jax.jit(lambda: jr.solve(loss, rules, start, tolerance=1e-3))()
    alone = jax.jit(lambda: jr.solve(squares, {".*": jr.Nuclear(0.3)}, jnp.zeros((D, 2)), tolerance=1e-4))()
    kernel = found.params["layers"]["kernel"]
    assert kernel.dtype == jnp.bfloat16
    assert found.converged
    np.testing.assert_allclose(kernel.astype(jnp.float32), jnp.stack([alone.params] * 3), atol=0.02)


@pytest.mark.parametrize("kind", ["lasso", "group lasso", "logistic, squares"])
def test_the_derivative_by_the_strength_is_that_of_scikit_learns_solutions(kind):
    loss, rule, start, theirs = KINDS[kind]
    pattern = jr.KERNELS if isinstance(start, dict) else ".*"

    def weights(strength):
        found = jr.solve(loss, {pattern: rule(strength)}, start, tolerance=1e-13).params
        return found["kernel"] if isinstance(start, dict) else found

    forward = solved(jax.vmap(jax.jacfwd(weights)), STRENGTHS[:2])
    reverse = solved(jax.vmap(jax.grad(lambda s: jnp.sum(weights(s) ** 3))), STRENGTHS[:2])
    for strength, slope, total in zip(STRENGTHS, forward, reverse, strict=False):
        h = 1e-4 * strength
        rise = (theirs(strength + h) - theirs(strength - h)) / (2 * h)
        np.testing.assert_allclose(slope, rise, atol=2e-5 * np.abs(rise).max())
        np.testing.assert_allclose(total, np.sum(3 * theirs(strength) ** 2 * rise), rtol=1e-4)


def test_the_derivative_by_data_is_that_of_the_closed_form():
    # Ridge: w = (XᵀX/n + 2λ)⁻¹ Xᵀy/n is linear in y.
    def law(y):
        loss = lambda w: jnp.mean((CENTRED @ w - y) ** 2) / 2  # noqa: E731
        return jr.solve(loss, {".*": jr.L2(0.1)}, jnp.zeros(D), tolerance=1e-14).params

    slope = solved(jax.jacrev(law), Y[:, 0])
    hat = np.linalg.solve(CENTRED.T @ CENTRED / N + 0.2 * np.eye(D), CENTRED.T / N)
    np.testing.assert_allclose(slope, hat, atol=1e-7)


def test_a_lane_that_is_not_a_number_ends_and_leaves_the_others_alone():
    law = jax.vmap(lambda s: jr.solve(lambda w: squares(s * w), {".*": jr.L1(0.1)}, ZEROS, tolerance=1e-4))
    found = solved(law, np.array([1.0, np.nan]))
    np.testing.assert_array_equal(found.converged, [True, False])
    assert np.isfinite(found.params[0]).all()


def test_every_start_ends_where_the_convex_minimum_is_whatever_its_scale():
    def law(w, c):
        return jr.solve(lambda w: c * squares(w), {".*": jr.L1(0.1 * c)}, w, tolerance=1e-12 * c)

    starts = RNG.normal(size=(3, D, 1)) * np.array([1e-6, 1.0, 1e3])[:, None, None]
    scaled = solved(jax.vmap(law), starts, np.array([1e6, 1.0, 1e-6]))
    np.testing.assert_allclose(scaled.params, np.broadcast_to(one(Lasso(0.1, **EXACT)), (3, D, 1)), atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((3.0, {".*": jr.L1(0.1)}), TypeError, "loss is 3.0; expected a function"),
        ((lambda w: w, {".*": jr.L1(0.1)}), TypeError, r"shape \(8, 1\) and type float32; expected one real number"),
        ((squares, {".*": jr.Orthogonal(0.1)}), TypeError, r"Orthogonal\(.*\) for .*has no proximal step"),
        ((squares, {".*": lambda w: jnp.sum(w**4)}), TypeError, "has no proximal step"),
        ((squares, {".*": jr.L1(lambda step: 0.1)}), ValueError, "has a schedule"),
        ((squares, {"bias": jr.L1(0.1)}), ValueError, "matches no parameter"),
    ],
)
def test_bad_problems_are_refused_in_a_sentence(arguments, error, words):
    with pytest.raises(error, match=words):
        jr.solve(*arguments, jnp.zeros((D, 1)))


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"tolerance": -1.0}, "tolerance is -1"),
        ({"max_steps": 0}, "max_steps is 0"),
        ({"floor": float("nan")}, "floor is nan"),
    ],
)
def test_bad_numbers_are_refused_in_a_sentence(named, words):
    with pytest.raises(ValueError, match=words):
        jr.solve(squares, {".*": jr.L1(0.1)}, jnp.zeros((D, 1)), **named)
