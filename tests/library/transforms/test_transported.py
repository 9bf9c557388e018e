"""Momentum on spheres against rotations by SciPy's exponential of a matrix, and its laws along a training."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.linalg

import jaxreg as jr

RNG = np.random.default_rng(7)
SHAPE = (2, 4, 6)  # a stack of two layers, or two experts
PATTERN = "layers/kernel"
CASES = {  # rules, and the axes of a group in the shape in which the groups are
    "layers": (jr.FrobeniusSphere(1.0), SHAPE, (1, 2)),
    "units": (jr.UnitNorm(), SHAPE, (1,)),
    "experts": (jr.MinMaxNorm(2.0, 2.0, axis=(1, 2)), SHAPE, (1, 2)),
    "heads": (jr.Reshaped(jr.MinMaxNorm(2.0, 2.0, axis=(1, 3)), (2, 4, 2, 3)), (2, 4, 2, 3), (1, 3)),
    "all together": (jr.TreeNorm(1.0), SHAPE, (0, 1, 2)),
}


def tree(kernel):
    return {"layers": {"kernel": kernel, "bias": jnp.zeros((kernel.shape[0], kernel.shape[2]), kernel.dtype)}}


def rotated(before, after, moment):
    """The rotation in the plane of two vectors that takes the direction of one to that of the other."""
    a, b = before / np.linalg.norm(before), after / np.linalg.norm(after)
    across = b - (a @ b) * a
    across /= np.linalg.norm(across)
    angle = np.arctan2(across @ b, a @ b)
    return scipy.linalg.expm(angle * (np.outer(across, a) - np.outer(a, across))) @ moment


def in_groups(array, shape, axes):
    """The groups of an array as rows."""
    last = tuple(range(len(shape) - len(axes), len(shape)))
    return np.moveaxis(np.asarray(array, float).reshape(shape), axes, last).reshape(
        -1, int(np.prod([shape[a] for a in axes]))
    )


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, jnp.float32) for name in CASES] + [("layers", jnp.bfloat16), ("heads", jnp.float16)],
)
def test_momentum_is_rotated_as_the_weights_were(name, dtype):
    rule, shape, axes = CASES[name]
    before, after, given = (jnp.asarray(RNG.normal(size=SHAPE), dtype) for _ in range(3))
    rules = {PATTERN: rule}
    tx = optax.chain(jr.tangent(rules), jr.transported_momentum(optax.trace(1.0), rules, moment="trace"))

    @jax.jit
    def law(before, after, given):
        tangents, state = tx.update(tree(given), tx.init(tree(before)), tree(before))
        moved, state = tx.update(tree(jnp.zeros_like(given)), state, tree(after))
        return tangents["layers"]["kernel"], moved["layers"]["kernel"], state[1].last

    tangents, moved, last = law(before, after, given)
    assert moved.dtype == dtype
    rows = [in_groups(array, shape, axes) for array in (before, after, tangents, moved)]
    np.testing.assert_array_equal(last["layers"]["kernel"], after)
    assert last["layers"]["bias"].shape == ()  # only weights with a rule are kept
    error = (2e-6 if dtype == jnp.float32 else 4 * float(jnp.finfo(dtype).eps)) * np.abs(rows[2]).max()
    for w, ahead, m, found in zip(*rows, strict=True):
        np.testing.assert_allclose(found, rotated(w, ahead, m), atol=error)
        np.testing.assert_allclose(
            np.linalg.norm(found), np.linalg.norm(m), rtol=1e-6 if dtype == jnp.float32 else 0.02
        )
        assert abs(found @ ahead) / np.linalg.norm(ahead) <= error


def test_along_a_training_momentum_stays_tangent_for_every_learning_rate_at_once():
    start = jr.projected(tree(jnp.asarray(RNG.normal(size=SHAPE), jnp.float32)), {PATTERN: jr.FrobeniusSphere(1.0)})
    goal = jnp.asarray(RNG.normal(size=SHAPE), jnp.float32)
    rules = {PATTERN: jr.FrobeniusSphere(1.0)}

    def path(rate, link):
        tx = optax.chain(jr.tangent(rules), link, jr.hyperball(rules, rate))

        def step(carry, _):
            params, state = carry
            grads = tree(params["layers"]["kernel"] - goal)
            updates, state = tx.update(grads, state, params)
            momentum = optax.tree.get(state, "mu")["layers"]["kernel"]
            sizes = jnp.linalg.norm(momentum, axis=(1, 2))
            radial = jnp.sum(momentum * params["layers"]["kernel"], axis=(1, 2)) / sizes
            return (optax.apply_updates(params, updates), state), (radial, params["layers"]["kernel"])

        return jax.lax.scan(step, (start, tx.init(start)), None, length=20)[1]

    rates = jnp.array([0.02, 0.3])
    adam = optax.scale_by_adam()
    radial, weights = jax.jit(jax.vmap(lambda rate: path(rate, jr.transported_momentum(adam, rules))))(rates)
    plain, _ = jax.jit(lambda rate: path(rate, adam))(0.3)
    assert np.max(np.abs(radial)) <= 1e-6
    assert np.max(np.abs(plain)) > 1e-2
    np.testing.assert_allclose(np.sum(np.square(weights), axis=(-2, -1)), 1, rtol=2e-6)


def test_on_a_stiefel_manifold_momentum_is_projected_and_adams_second_moments_stay():
    rules = {"mu": jr.Orthonormal()}  # the parameter has the name of the field
    before, after = ({"mu": jnp.linalg.qr(jnp.asarray(RNG.normal(size=(5, 3)), jnp.float32))[0]} for _ in range(2))
    tx = jr.transported_momentum(optax.scale_by_adam(b1=1.0, b2=1.0), rules)
    state = tx.init(before)
    moment = {"mu": jnp.asarray(RNG.normal(size=(5, 3)), jnp.float32)}
    inner = state.inner._replace(mu=moment, nu=jax.tree.map(jnp.square, moment))
    zeros = jax.tree.map(jnp.zeros_like, moment)
    end = jax.jit(tx.update)(zeros, state._replace(inner=inner), after)[1].inner
    w, m = np.asarray(after["mu"], float), np.asarray(moment["mu"], float)
    np.testing.assert_allclose(end.mu["mu"], m - w @ (w.T @ m + m.T @ w) / 2, atol=1e-6)
    np.testing.assert_array_equal(end.nu["mu"], inner.nu["mu"])


def test_weights_without_direction_and_opposite_weights_give_finite_tangents():
    rules = {"w": jr.UnitNorm()}
    tx = jr.transported_momentum(optax.trace(1.0), rules, moment="trace")
    w, m = jnp.array([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]), jnp.array([[1.0, 0.0, 0.0], [2.0, 3.0, 4.0]])
    state = tx.update({"w": m}, tx.init({"w": w}), {"w": w})[1]
    ahead = jnp.array([[1.0, -1.0, 0.0], [0.0, 0.0, 0.0]])  # from 0, to the opposite, and to 0
    moved = tx.update({"w": jnp.zeros_like(m)}, state, {"w": ahead})[0]["w"]
    np.testing.assert_allclose(moved, [[0.0, 0.0, 0.0], [2.0, 3.0, 4.0]], atol=1e-6)


def test_bad_arguments_are_refused_in_a_sentence():
    params = {"w": jnp.ones((2, 2))}
    with pytest.raises(ValueError, match="has no field 'mu'; expected the name of the momentum"):
        jr.transported_momentum(optax.trace(0.9), jr.UnitNorm()).init(params)
    tx = jr.transported_momentum(optax.scale_by_adam(), {"w": jr.Box(-1.0, 1.0)})
    with pytest.raises(TypeError, match=r"transported_momentum: the rule for w is Box.* acts on single weights"):
        tx.update(params, tx.init(params), params)
    with pytest.raises(ValueError, match="transported_momentum got no params"):
        tx.update(params, tx.init(params))
    with pytest.raises(TypeError, match="a penalty; expected a constraint"):
        jr.transported_momentum(optax.scale_by_adam(), jr.L2(0.1))
