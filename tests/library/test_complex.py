"""Complex weights against NumPy in complex128; a rule that needs an order of numbers refuses them by name."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr
from jaxreg import constraints, penalties

RNG = np.random.default_rng(0)
W = RNG.normal(size=(4, 3)) + 1j * RNG.normal(size=(4, 3))
SIZES = np.abs(W)
PHASES = W / SIZES


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def columns(length):
    norms = np.linalg.norm(W, axis=0)
    return W * length(norms) / norms


def with_values(change, w=W):
    u, s, vh = np.linalg.svd(w, full_matrices=False)
    return u * change(s) @ vh


def onto_sum(values, total):
    """Duchi et al.: max(values - θ, 0) of the given sum."""
    ordered = np.sort(values)[::-1]
    levels = (np.cumsum(ordered) - total) / np.arange(1, len(values) + 1)
    return np.maximum(values - levels.max(), 0)


def sparse():
    kept = np.argsort(np.argsort(-SIZES, axis=0), axis=0) < 2
    return np.where(kept, W, 0)


NEAREST = {
    jr.MaxNorm(1.0): columns(lambda n: np.minimum(n, 1.0)),
    jr.MaxNorm(np.array([1.0, 0.5, 9.0])): columns(lambda n: np.minimum(n, [1.0, 0.5, 9.0])),
    jr.MaxRMS(0.5): columns(lambda n: np.minimum(n, 0.5 * 2)),
    jr.MinMaxNorm(2.0, 2.5): columns(lambda n: np.clip(n, 2.0, 2.5)),
    jr.UnitNorm(): columns(np.ones_like),
    jr.FrobeniusSphere(2.0): W * 2 / np.linalg.norm(W),
    jr.LinfBall(0.7): PHASES * np.minimum(SIZES, 0.7),
    jr.L1Ball(1.0): PHASES * np.transpose([onto_sum(column, 1.0) for column in SIZES.T]),
    jr.L1Sphere(1.0): PHASES * np.transpose([onto_sum(column, 1.0) for column in SIZES.T]),
    jr.SumTo(0.5): W + (0.5 - W.sum(0)) / 4,
    jr.Hyperplane(np.array([1.0, 2, 0, -2]), 0.5): W + np.outer([1, 2, 0, -2], 0.5 - np.array([1, 2, 0, -2]) @ W) / 9,
    jr.Affine(np.array([[1.0, 1, 1, 1], [1, -1, 0, 0]]), np.array([0.5, 0.0])): W
    + (0.5 - W.sum(0)) / 4
    - np.outer([0.5, -0.5, 0, 0], W[0] - W[1]),
    jr.Sparse(0.5): sparse(),
    jr.NMSparse(2, 4): sparse(),
    jr.SpectralNorm(1.0): with_values(lambda s: np.minimum(s, 1.0)),
    jr.SpectralSphere(0.5): W * 0.5 * (3 / 4) ** 0.5 / np.linalg.norm(W, 2),
    jr.NuclearBall(2.0): with_values(lambda s: onto_sum(s, 2.0)),
    jr.Orthonormal(): with_values(np.ones_like),
    jr.SoftSpectralCap(9.0, 1.0): None,  # by its own strength, below
    jr.Intersection(jr.Sparse(0.5), jr.MaxNorm(1.0)): sparse() / np.maximum(np.linalg.norm(sparse(), axis=0), 1),
    jr.Intersection(jr.UnitNorm(), jr.MinMaxNorm(0.5, 1.5)): columns(np.ones_like),
    jr.keras.MaxNorm(1.0): columns(lambda n: np.minimum(n, 1.0) * n / (1e-7 + n)),
}
COSTS = {
    jr.L1(0.5): 0.5 * SIZES.sum(),
    jr.L2(0.5): 0.5 * (SIZES**2).sum(),
    jr.L1L2(0.5, 0.25): 0.5 * SIZES.sum() + 0.25 * (SIZES**2).sum(),
    jr.Lp(0.5, 1.5): 0.5 * (SIZES**1.5).sum(),
    jr.MCP(1.0, 3.0): np.where(SIZES < 3, SIZES - SIZES**2 / 6, 1.5).sum(),
    jr.Huber(0.5, 1.0): 0.5 * np.where(SIZES < 1, SIZES**2 / 2, SIZES - 0.5).sum(),
    jr.SCAD(0.1, 3.0): np.select(
        [SIZES <= 0.1, SIZES < 0.3], [0.1 * SIZES, (0.6 * SIZES - SIZES**2 - 0.01) / 4], 0.02
    ).sum(),
    jr.LogSum(0.5, 2.0): 0.5 * np.log1p(SIZES / 2).sum(),
    jr.GroupLasso(0.5): 0.5 * 2 * np.linalg.norm(W, axis=0).sum(),
    jr.NormTarget(0.5, 2.0): 0.25 * np.sum((np.linalg.norm(W, axis=0) - 2) ** 2),
    jr.Linf(0.5): 0.5 * SIZES.max(0).sum(),
    jr.Spectral(0.5): 0.25 * np.linalg.norm(W, 2) ** 2,
    jr.Nuclear(0.5): 0.5 * np.linalg.norm(W, "nuc"),
    jr.Orthogonal(0.5): 0.5 * np.linalg.norm(W.conj().T @ W - np.eye(3)) ** 2,
}
PROX = {  # of the step 0.6
    jr.L1(0.5): PHASES * np.maximum(SIZES - 0.3, 0),
    jr.L2(0.5): W / 1.6,
    jr.L1L2(0.5, 0.25): PHASES * np.maximum(SIZES - 0.3, 0) / 1.3,
    jr.GroupLasso(0.5): columns(lambda n: np.maximum(n - 0.6, 0)),
    jr.NormTarget(0.5, 2.0): columns(lambda n: (n + 0.6) / 1.3),
    jr.MCP(1.0, 3.0): PHASES * np.where(SIZES > 3, SIZES, np.maximum(SIZES - 0.6, 0) / 0.8),
    jr.Linf(0.5): W - PHASES * np.transpose([onto_sum(column, 0.3) for column in SIZES.T]),
    jr.Nuclear(0.5): with_values(lambda s: np.maximum(s - 0.3, 0)),
    jr.ToReference(jr.L2(0.5), jnp.full((4, 3), 1j, jnp.complex64)): 1j + (W - 1j) / 1.6,
}
ORDERED = [
    jr.NonNeg(),
    jr.Box(-1.0, 1.0),
    jr.Simplex(1.0),
    jr.HalfSpace(np.ones(4), 0.0),
    jr.Intersection(jr.MaxNorm(1.0), jr.NonNeg()),
    jr.initial_boxes({"kernel": W})["kernel"],
]


def test_every_rule_is_known_for_complex_weights():
    seen = {type(rule) for rule in [*NEAREST, *COSTS, *PROX, *ORDERED]} | {
        jr.TreeNorm,
        jr.Wasserstein,
        jr.PositiveSemidefinite,
        jr.ConvNorm,
    }
    rules = {getattr(package, name) for package in (constraints, penalties) for name in package.__all__}
    assert rules - {jr.tree_norm, jr.conv_norm} <= seen


@pytest.mark.parametrize("rule", [rule for rule, want in NEAREST.items() if want is not None], ids=repr)
def test_nearest_point(rule):
    params = {"kernel": jnp.asarray(W), "bias": jnp.zeros(3)}
    got, worst = jax.jit(lambda params: (jr.projected(params, rule)["kernel"], jr.violation(params, rule)))(params)
    assert got.dtype == complex
    np.testing.assert_allclose(got, NEAREST[rule], atol=1e-7 if "keras" in type(rule).__module__ else 1e-12)
    far = np.linalg.norm(W - NEAREST[rule])
    assert worst <= far * (1 + 1e-9)
    assert jax.jit(lambda params: jr.feasible(params, rule, tolerance=2e-7))({"kernel": got})


def test_single_precision():
    w = jr.MaxNorm(1.0)(jnp.asarray(W, jnp.complex64))
    assert w.dtype == jnp.complex64
    np.testing.assert_allclose(w, columns(lambda n: np.minimum(n, 1.0)), atol=1e-6)


def test_soft_cap_and_tree_norm():
    cap = jr.SoftSpectralCap(9.0, 1.0)
    alpha = float(cap.strength)
    soft = with_values(lambda s: (s - alpha * s**3) + alpha * (s - alpha * s**3) ** 3)
    np.testing.assert_allclose(cap(jnp.asarray(W)), soft, atol=1e-12)
    tree = jr.TreeNorm(2.0)({"a": jnp.asarray(W), "b": jnp.ones(2)})
    np.testing.assert_allclose(tree["a"], W * 2 / np.sqrt((SIZES**2).sum() + 2), atol=1e-12)


@pytest.mark.parametrize("rule", COSTS, ids=repr)
def test_cost_and_its_descent(rule):
    w = jnp.asarray(W)
    assert jr.penalty({"kernel": w}, rule).dtype == float
    np.testing.assert_allclose(jr.penalty({"kernel": w}, rule), COSTS[rule], rtol=1e-12)
    tx = jr.penalize(rule)
    params = {"kernel": w}
    step = tx.update({"kernel": jnp.zeros_like(w)}, tx.init(params), params)[0]["kernel"]
    change = 1e-6 * (RNG.normal(size=W.shape) + 1j * RNG.normal(size=W.shape))
    slope = (rule(w + change) - rule(w - change)) / 2
    np.testing.assert_allclose(np.sum(np.real(np.conj(step) * change)), slope, rtol=1e-6)
    assert not np.isnan(jax.grad(rule)(jnp.zeros_like(w))).any()


@pytest.mark.parametrize("rule", PROX, ids=repr)
def test_proximal_step(rule):
    np.testing.assert_allclose(rule.prox(jnp.asarray(W), 0.6), PROX[rule], atol=1e-12)


@pytest.mark.parametrize(
    "rule",
    [
        jr.MaxNorm(1.0),
        jr.MinMaxNorm(2.0, 2.5),
        jr.L1Ball(1.0),
        jr.SpectralNorm(1.0),
        jr.NuclearBall(2.0),
        jr.Orthonormal(),
    ],
    ids=repr,
)
def test_derivatives_of_projections(rule):
    w, along = jnp.asarray(W), jnp.full((4, 3), 0.3 + 0.2j)
    slope = (rule(w + 1e-6 * along) - rule(w - 1e-6 * along)) / 2e-6
    np.testing.assert_allclose(jax.jvp(rule, (w,), (along,))[1], slope, atol=1e-7)


@pytest.mark.parametrize("rule", ORDERED, ids=repr)
def test_rules_that_need_an_order_refuse(rule):
    params = {"kernel": jnp.asarray(W)}
    for use in (jr.project(rule).init, *(lambda p, f=f: f(p, rule) for f in (jr.explain, jr.feasible, jr.projected))):
        with pytest.raises(
            ValueError, match=r"parameter kernel is of type complex128, but .* is defined only for real weights"
        ) as error:
            use(params)
        assert repr(rule) in str(error.value)
    with pytest.raises(TypeError, match="expected real weights"):
        rule(params["kernel"])


def test_the_nearest_hermitian_matrix_without_negative_eigenvalues():
    square = W[:3]
    values, vectors = np.linalg.eigh((square + square.conj().T) / 2)
    assert values[0] < 0 < values[-1]
    expected = vectors * np.maximum(values, 0) @ vectors.conj().T
    np.testing.assert_allclose(jr.PositiveSemidefinite()(jnp.asarray(square)), expected, atol=1e-12)


def test_complex_weights_have_no_ranks():
    with pytest.raises(TypeError, match="expected real weights"):
        jr.Wasserstein(1.0, jnp.ones((4, 3)))(jnp.asarray(W))


def test_a_chain_of_all_links_by_hand():
    rate, d, limit = 0.1, 0.05, 1.0
    params, gradient = {"kernel": jnp.asarray(W)}, RNG.normal(size=W.shape) * (1 - 1j)
    tx = jr.regularize(
        optax.sgd(rate), rate, penalties=jr.L2(d), decays=jr.L2(d), proximals=jr.L1(d), constraints=jr.MaxNorm(limit)
    )
    (twice,) = jr.check(tx, params)
    assert twice.startswith("jaxreg.decay and jaxreg.penalize shrink the weights of 'kernel' in the same way")
    assert len(jr.check(optax.chain(optax.adam(rate), jr.decay(jr.L2(d))), params)) == 1
    updates, _ = tx.update({"kernel": jnp.asarray(gradient)}, tx.init(params), params)
    w = W - rate * (gradient + 2 * d * W) - rate * 2 * d * W
    w = w / np.abs(w) * np.maximum(np.abs(w) - rate * d, 0)
    w = w * np.minimum(1, limit / np.linalg.norm(w, axis=0))
    np.testing.assert_allclose(optax.apply_updates(params, updates)["kernel"], w, atol=1e-12)


def test_each_layer_of_a_complex_stack():
    stack = jnp.asarray(np.stack([W, 3 * W]))
    rules = {"layers/kernel": jr.SpectralNorm(1.0)}
    params = {"layers": {"kernel": stack, "bias": jnp.zeros((2, 3))}}
    want = [with_values(lambda s: np.minimum(s, 1.0), w) for w in (W, 3 * W)]
    np.testing.assert_allclose(jr.projected(params, rules)["layers"]["kernel"], want, atol=1e-12)


def test_cautious_decay_takes_the_real_part_of_the_product():
    params, u = {"kernel": jnp.asarray(W)}, RNG.normal(size=W.shape) + 1j * RNG.normal(size=W.shape)
    tx = jr.cautious_decay(jr.L2(0.5))
    got = tx.update({"kernel": jnp.asarray(u)}, tx.init(params), params)[0]["kernel"]
    np.testing.assert_allclose(got, u + np.where((u * W.conj()).real >= 0, W, 0), atol=1e-12)
