"""The Lipschitz bound of a network against products of norms, and against the largest slope that an ascent finds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxreg as jr

SIZE = (5, 5)


def network(seed=0):
    keys = jax.random.split(jax.random.key(seed), 4)
    shapes = {"conv": (3, 3, 1, 3), "hidden": (75, 8), "output": (8, 2)}
    return {
        name: {"kernel": jax.random.normal(key, shape), "bias": jnp.zeros(shape[-1])}
        for key, (name, shape) in zip(keys, shapes.items(), strict=False)
    }


def predict(params, image):
    x = image.reshape(1, *SIZE, 1)
    x = jax.lax.conv_general_dilated(
        x, params["conv"]["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    x = jax.nn.relu(x + params["conv"]["bias"]).ravel()
    for name in ("hidden", "output"):
        x = jax.nn.relu(x) @ params[name]["kernel"] + params[name]["bias"]
    return x


def stretch(params, pair):
    """‖f(x) - f(y)‖ / ‖x - y‖."""
    ends = [predict(params, image) for image in pair]
    return jnp.linalg.norm(ends[0] - ends[1]) / jnp.linalg.norm(pair[0] - pair[1])


@jax.jit
def attacked(params, pairs):
    """The largest slope between two images that gradient ascent finds."""

    def ascend(pair, _):
        value, slope = jax.value_and_grad(stretch, 1)(params, pair)
        return pair + 0.1 * slope / jnp.max(jnp.abs(slope)), value

    return jnp.max(jax.vmap(lambda pair: jax.lax.scan(ascend, pair, length=100)[1])(pairs))


RULES = {
    "layer by layer": (
        {
            "conv/kernel": jr.ConvNorm(2.0, size=SIZE),
            "hidden/kernel": jr.SpectralNorm(1.5),
            "output/kernel": jr.Orthonormal(),
        },
        3.0,
    ),
    "as matrices": (jr.SpectralNorm(1.0), 3.0),
}


@pytest.mark.parametrize("name", RULES)
def test_no_attack_finds_a_larger_slope(name):
    rules, expected = RULES[name]
    params = jax.jit(lambda params: jr.projected(params, rules))(network())
    bound = jr.lipschitz(params, rules)
    np.testing.assert_allclose(bound, expected, rtol=2e-4)
    slope = attacked(params, jax.random.normal(jax.random.key(1), (8, 2, 25)))
    assert 0.1 * bound < slope <= bound * (1 + 1e-5), slope


def test_limits_of_other_rules_stacks_and_schedules():
    dense = {"dense": {"kernel": jnp.ones((4, 9)), "bias": jnp.zeros(9)}}
    assert jr.lipschitz(dense, jr.Box(-0.5, 0.25)) == pytest.approx(3.0)  # 0.5 · √36
    assert jr.lipschitz(dense, jr.MaxNorm(2.0, axis=1)) == pytest.approx(4.0)
    assert jr.lipschitz(dense, jr.Intersection(jr.NuclearBall(7.0), jr.SpectralNorm(2.0))) == pytest.approx(2.0)
    assert jr.lipschitz(dense, jr.SpectralNorm(lambda step: 1.0 + step), step=2) == pytest.approx(3.0)
    stack = {"layers": {"dense": {"kernel": jnp.ones((2, 4, 9)), "bias": jnp.zeros((2, 9))}}}
    assert jr.lipschitz(stack, jr.SpectralNorm(jnp.array([2.0, 3.0]))) == pytest.approx(6.0)
    assert jr.lipschitz(stack, jr.MaxNorm(2.0)) == pytest.approx(36.0)
    torch = {"conv": {"weight": jnp.ones((5, 4, 3, 3)), "bias": jnp.zeros(5)}}
    assert jr.lipschitz(torch, jr.SpectralNorm(2.0)) == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("params", "rules", "says"),
    [
        (network(), {"conv/kernel": jr.SpectralNorm(1.0)}, "no rule limits the norm of hidden/kernel"),
        (network(), jr.NonNeg(), "no rule limits the norm of conv/kernel"),
        (network(), jr.MinMaxNorm(0.5, 1.0, rate=0.5), "no rule limits the norm of conv/kernel"),
        ({**network(), "norm": {"scale": jnp.ones(2)}}, jr.SpectralNorm(1.0), "norm/scale is not a kernel or bias"),
    ],
)
def test_networks_without_a_bound_are_refused(params, rules, says):
    with pytest.raises(ValueError, match=says):
        jr.lipschitz(params, rules)
