"""Loops that start with a state of zeros: the same numbers, with fewer products."""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreg.lab.sweeps.first_steps import with_first_steps_apart
from jaxreg.lab.sweeps.small_sums import inner_functions

STEPS, ROWS, UNITS = 5, 7, 4
RNG = np.random.default_rng(0)
KERNEL, GATE = (jnp.asarray(RNG.normal(size=(UNITS, UNITS)), jnp.float32) for _ in range(2))
X = jnp.asarray(RNG.normal(size=(STEPS, ROWS, UNITS)), jnp.float32)


def scanned(start: Any, reverse: bool = False, kept: bool = False, inside: bool = False) -> Callable[..., Any]:
    """A recurrent network from a state on, with or without all of its states, or with a product of zeros inside."""

    def run(kernel: Any, gate: Any, x: Any) -> Any:
        def step(h: Any, row: Any) -> Any:
            h = jnp.tanh(row + h @ kernel) * jax.nn.sigmoid(h @ gate)
            h += jnp.zeros_like(h) @ gate if inside else 0
            return h, h if kept else None

        return jax.lax.scan(step, start(x), x, reverse=reverse)

    return run


def zeros(x: Any) -> Any:
    return jnp.zeros(x.shape[1:], x.dtype)


def transposed(kernel: Any, gate: Any, x: Any) -> Any:
    """A cell for one row, as in Equinox, for all rows; the state is a broadcast of a row of zeros."""

    def row(inputs: Any) -> Any:
        return jax.lax.scan(lambda h, x: (jnp.tanh(kernel @ h + gate @ x), None), jnp.zeros(UNITS), inputs)[0]

    return jax.vmap(row, 1)(x)


def long_and_short(kernel: Any, gate: Any, x: Any) -> Any:
    """Two states, as of an LSTM, of which one meets a kernel, and one that starts with ones."""

    def step(state: Any, row: Any) -> Any:
        h, c, ones = state
        a, b = jnp.split(row @ jnp.tile(gate, 2) + h @ jnp.tile(kernel, 2), 2, -1)
        c = jax.nn.sigmoid(a) * c + jnp.tanh(b)
        return (jnp.tanh(c), c, ones @ kernel), (c, row)

    return jax.lax.scan(step, (zeros(x), zeros(x), jnp.ones((ROWS, UNITS))), x)


def gradients(run: Callable[..., Any]) -> Callable[..., Any]:
    def of_all(*arguments: Any) -> Any:
        def loss(*arguments: Any) -> Any:
            return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(run(*arguments)) if leaf.dtype == jnp.float32)

        return jax.grad(loss, (0, 1, 2))(*arguments)

    return of_all


def numbers(kernel: Any, gate: Any, x: Any) -> Any:
    """States beside results that are plain numbers."""

    def step(h: Any, row: Any) -> Any:
        return jnp.tanh(row + h @ kernel), (0.0, True, jnp.zeros(()), np.float32(2), h)

    return jax.lax.scan(step, zeros(x), x)


def scalars(kernel: Any, gate: Any, x: Any) -> Any:
    """A product that is a single number."""

    def step(h: Any, row: Any) -> Any:
        return jnp.tanh(row + (h @ gate[0]) * h + h @ kernel), h

    return jax.lax.scan(step, jnp.zeros(UNITS), x[:, 0])


@jax.custom_jvp
def picked(h: Any, indices: Any) -> Any:
    return h[:, indices]


@picked.defjvp
def _picked_jvp(primals: Any, tangents: Any) -> Any:
    return picked(*primals), tangents[0][:, primals[1]]


def of_indices(kernel: Any, gate: Any, x: Any) -> Any:
    """Derivatives of whole numbers, whose type has no numbers."""
    last = scanned(zeros)(kernel, gate, x)[0]
    return picked(last, jnp.arange(3) + jnp.int32(x[0, 0, 0]) * 0)


APART = {
    "last state": scanned(zeros),
    "all states": scanned(zeros, kept=True),
    "backwards": scanned(zeros, reverse=True, kept=True),
    "rows of a cell": transposed,
    "several states": long_and_short,
    "plain numbers": numbers,
    "scalar products": scalars,
    "derivatives of whole numbers": of_indices,
    "of another type": scanned(lambda x: jnp.zeros(x.shape[1:], jnp.int32).astype(x.dtype)),
}
KEPT = {
    "ones": scanned(lambda x: zeros(x) + 1),
    "a state that is given": scanned(lambda x: x[0]),
    "zeros inside": scanned(lambda x: x[0] * 0 + 1, inside=True),
    "two steps": lambda kernel, gate, x: scanned(zeros)(kernel, gate, x[:2]),
    "no products": lambda kernel, gate, x: jax.lax.scan(lambda h, x: (jnp.sin(h + x), None), zeros(x), x),
    "products with something else": lambda kernel, gate, x: jax.lax.scan(lambda h, x: (h + x @ gate, h), zeros(x), x),
}


def is_loop(equation: Any) -> bool:
    return equation.primitive.name == "scan"


def products(jaxpr: Any) -> int:
    """The number of products that a traced function computes, in all steps of its loops."""
    return sum(
        (equation.primitive.name == "dot_general")
        + (equation.params["length"] if is_loop(equation) else 1)
        * sum(products(inner) for inner in inner_functions(equation))
        for equation in jaxpr.eqns
    )


def both(run: Callable[..., Any]) -> tuple[Any, Any]:
    before = jax.make_jaxpr(run)(KERNEL, GATE, X)
    return before, before.replace(jaxpr=with_first_steps_apart(before.jaxpr, is_loop))


@pytest.mark.parametrize("name", APART)
def test_the_results_are_the_same_with_fewer_products(name: str) -> None:
    before, after = both(APART[name])
    assert products(after.jaxpr) < products(before.jaxpr)
    found = jax.jit(jax.extend.core.jaxpr_as_fun(after))(KERNEL, GATE, X)
    chex.assert_trees_all_close(found, jax.tree.leaves(APART[name](KERNEL, GATE, X)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", APART)
def test_so_are_gradients(name: str) -> None:
    run = gradients(APART[name])
    before, after = both(run)
    assert products(after.jaxpr) <= products(before.jaxpr) - 2
    assert [e.params["length"] for e in after.jaxpr.eqns if is_loop(e)] == [STEPS - 1] * 2
    found = jax.jit(jax.extend.core.jaxpr_as_fun(after))(KERNEL, GATE, X)
    chex.assert_trees_all_close(found, list(run(KERNEL, GATE, X)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", KEPT)
def test_other_loops_stay_as_they_are(name: str) -> None:
    for run in (KEPT[name], gradients(KEPT[name])):
        before, after = both(run)
        assert str(after) == str(before)


def test_loops_with_effects_stay_as_they_are() -> None:
    def run(kernel: Any, gate: Any, x: Any) -> Any:
        def step(h: Any, row: Any) -> Any:
            jax.debug.callback(lambda h: None, h)
            return h @ kernel + row, None

        return jax.lax.scan(step, zeros(x), x)

    before, after = both(run)
    assert str(after) == str(before)


def test_the_first_step_is_that_of_the_mathematics() -> None:
    _, after = both(scanned(zeros, kept=True))
    states = np.asarray(jax.extend.core.jaxpr_as_fun(after)(KERNEL, GATE, X)[1], np.float64)
    state = np.zeros((ROWS, UNITS))
    for row, found in zip(np.asarray(X, np.float64), states, strict=True):
        state = np.tanh(row + state @ np.asarray(KERNEL)) / (1 + np.exp(-state @ np.asarray(GATE)))
        np.testing.assert_allclose(found, state, rtol=1e-5, atol=1e-6)
