"""Products over few numbers, written as sums, are the products of NumPy, in every position and order of axes."""

from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreg.lab.sweeps.small_sums import has_small_sums, with_small_sums

RNG = np.random.default_rng(0)
SIZES = {"r": 12, "u": 20, "a": 3, "b": 2}


def summed(function: Any, *arguments: Any) -> Any:
    """Evaluate a function with its small products written as sums. None may be left."""
    closed, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
    assert has_small_sums(closed.jaxpr)
    jaxpr = with_small_sums(closed.jaxpr)
    assert not has_small_sums(jaxpr)
    run = jax.extend.core.jaxpr_as_fun(jax.extend.core.ClosedJaxpr(jaxpr, closed.consts))
    found = jax.jit(run)(*jax.tree.leaves(arguments))
    return jax.tree.unflatten(jax.tree.structure(shape), found)


@pytest.mark.parametrize(
    "spec", ["rf,fu->ru", "fr,fu->ru", "rf,uf->ru", "rabf,fu->rabu", "raf,ufb->raub", "rfg,gfu->ru"]
)
@pytest.mark.parametrize("terms", [1, 2, 4])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_sum_is_the_product(spec: str, terms: int, dtype: str) -> None:
    sizes = SIZES | {"f": terms, "g": 1}
    left, right = (RNG.normal(size=[sizes[axis] for axis in part]) for part in spec.split("->")[0].split(","))
    with jax.enable_x64(dtype == "float64"):
        found = summed(lambda x, w: jnp.einsum(spec, x, w), left.astype(dtype), right.astype(dtype))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, np.einsum(spec, left, right), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (lambda x, w: x @ w, [(30, 5), (5, 30)]),
        (lambda x, w: x @ w, [(4, 2), (2, 500)]),
        (lambda x, w: x @ w, [(500, 2), (2, 3)]),
        (lambda x, w: jnp.einsum("brf,bfu->bru", x, w), [(2, 30, 3), (2, 3, 30)]),
        (lambda x, w: x.astype(jnp.bfloat16) @ w.astype(jnp.bfloat16), [(30, 2), (2, 30)]),
        (lambda x, w: jnp.round(x).astype(int) @ jnp.round(w).astype(int), [(30, 2), (2, 30)]),
        (lambda x, w: (x + 0j) @ (w + 0j), [(30, 2), (2, 30)]),
        (lambda x, w: jnp.matmul(x, w, precision="BF16_BF16_F32"), [(30, 2), (2, 30)]),
    ],
)
def test_other_products_stay(function: Any, shapes: list[tuple[int, ...]]) -> None:
    jaxpr = jax.make_jaxpr(function)(*(jnp.ones(shape) for shape in shapes)).jaxpr
    assert not has_small_sums(jaxpr)
    assert str(with_small_sums(jaxpr)) == str(jaxpr)


def net(w: dict[str, Any], x: Any) -> Any:
    """A network for two features, with a product of a constant too."""
    hidden = jax.nn.relu(x @ w["in"] + w["bias"])
    return hidden @ w["out"] + 1e-3 * (jnp.ones((12, 2)) @ w["in"]).sum(axis=1)


def gradients(w: Any, x: Any) -> Any:
    """The gradient of its loss."""
    return jax.grad(lambda w: jnp.mean(net(w, x) ** 2))(w)


@pytest.mark.parametrize(
    "function",
    [
        net,
        gradients,
        jax.jit(gradients),
        lambda w, x: jax.lax.scan(lambda w, _: (gradients(w, x), net(w, x)), w, None, 3),
        lambda w, x: jax.lax.fori_loop(0, x.shape[1], lambda _, w: gradients(w, x), w),
        lambda w, x: jax.lax.while_loop(
            lambda carry: jnp.max(x @ carry[1]["in"]) > 1e9 * carry[0],
            lambda carry: (carry[0] + 1, gradients(carry[1], x)),
            (jnp.zeros(()), w),
        ),
        lambda w, x: jax.lax.cond(x[0, 0] > 0, net, lambda w, x: -net(w, x), w, x),
        lambda w, x: jax.grad(lambda w: jnp.sum(jax.checkpoint(net)(w, x)))(w),
        lambda w, x: jax.vmap(net, (None, 0))(w, jnp.stack([x, 2 * x])),
    ],
)
def test_in_every_position(function: Any) -> None:
    w = {"in": RNG.normal(size=(2, 16)), "bias": RNG.normal(size=16), "out": RNG.normal(size=16)}
    w, x = jax.tree.map(lambda array: jnp.asarray(array, jnp.float32), (w, RNG.normal(size=(12, 2))))
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda array: jnp.asarray(array, jnp.float64), (w, x))
        expected = function(*wide)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), summed(function, w, x), expected)
