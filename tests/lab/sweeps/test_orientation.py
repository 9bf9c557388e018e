"""Products that return what is used, or take what was transposed: the same numbers, with fewer transposes."""

from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreg.lab.sweeps.orientation import oriented, turns_results

RNG = np.random.default_rng(0)
W, V, X, Y = (jnp.asarray(RNG.normal(size=shape), jnp.float32) for shape in ((6, 4), (6, 3), (9, 4), (9, 3)))


def gates(w: Any, v: Any, x: Any, y: Any) -> Any:
    """Parts of a product per row, used apart, as in a recurrent cell."""
    a, b = jnp.split(w @ x, 2)
    return jnp.tanh(a * jnp.arange(3.0)) + b


def sums(w: Any, v: Any, x: Any, y: Any) -> Any:
    """A sum of products per row, and a number."""
    return jnp.tanh((w @ x + v @ y + 2.0) * jnp.arange(6.0))


def sliced(w: Any, v: Any, x: Any, y: Any) -> Any:
    """Every second entry of a product per row."""
    return (w @ x)[1:6:2] * jnp.arange(3.0)


def over_rows(cell: Any) -> Any:
    """The function for all rows, and its gradients."""

    def both(w: Any, v: Any, x: Any, y: Any) -> Any:
        rows = jax.vmap(cell, (None, None, 0, 0))
        return rows(w, v, x, y), jax.grad(lambda *args: jnp.sum(jnp.sin(rows(*args))), (0, 1, 2))(w, v, x, y)

    return both


TURNED = {
    "parts": over_rows(gates),
    "sums": over_rows(sums),
    "slices": over_rows(sliced),
    "one part": lambda w, v, x, y: jnp.split(w @ x.T, 2)[1].T,
    "unused": lambda w, v, x, y: ((w @ x.T).T, jnp.split(w @ x.T, 3))[0],
}
KEPT = {
    "used both ways": lambda w, v, x, y: ((p := w @ x.T).T, jnp.sin(p)),
    "returned": lambda w, v, x, y: ((p := w @ x.T).T, p),
    "a part used as it is": lambda w, v, x, y: ((parts := jnp.split(w @ x.T, 2))[0].T, jnp.sin(parts[1])),
    "a sum with no product": lambda w, v, x, y: (w @ x.T + jnp.arange(54.0).reshape(6, 9)).T,
    "a sum of a row": lambda w, v, x, y: (w @ x.T + jnp.arange(9.0)).T,
    "a factor": lambda w, v, x, y: ((p := w @ x.T) @ jnp.ones((9, 2)), p.T),
    "a gradient": lambda w, v, x, y: (x.T @ y).T,
    "many products": lambda w, v, x, y: jnp.einsum("abk,ack->abc", w.reshape(2, 3, 4), x[:8].reshape(2, 4, 4)).mT,
    "of three axes": lambda w, v, x, y: jnp.transpose(jnp.einsum("ak,bck->abc", w, x[:8].reshape(2, 4, 4)), (2, 0, 1)),
}


def compared(run: Any) -> tuple[Any, Any]:
    """The traced function before and after, whose results are compared."""
    closed = jax.make_jaxpr(run)(W, V, X, Y)
    changed = oriented(closed.jaxpr)
    expected, found = (
        jax.extend.core.jaxpr_as_fun(jax.extend.core.ClosedJaxpr(jaxpr, closed.consts))(W, V, X, Y)
        for jaxpr in (closed.jaxpr, changed)
    )
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    return closed.jaxpr, changed


def transposes(jaxpr: Any) -> list[Any]:
    """The transposes of what is computed."""
    return [e for e in jaxpr.eqns if e.primitive.name == "transpose" and e.invars[0] not in jaxpr.invars]


@pytest.mark.parametrize("run", TURNED.values(), ids=TURNED)
def test_what_is_used_transposed_is_computed_so(run: Any) -> None:
    before, after = compared(run)
    assert turns_results(before)
    assert not turns_results(after)
    assert len(transposes(after)) < len(transposes(before))


@pytest.mark.parametrize("run", KEPT.values(), ids=KEPT)
def test_other_results_stay_as_they_are(run: Any) -> None:
    before, after = compared(run)
    assert not turns_results(before)
    assert len(transposes(after)) == len(transposes(before))


CHAINS = {
    "of two": lambda w, v, x, y: (w @ x.T @ jnp.ones((5, 9)).T).T,
    "of one with itself": lambda w, v, x, y: ((p := w @ x.T) @ p.T).T,
    "on the left": lambda w, v, x, y: (jnp.ones((5, 9)) @ (w @ x.T).T).T,
    "of parts": lambda w, v, x, y: sum(part @ jnp.ones((5, 9)).T for part in jnp.split(w @ x.T, 2)).T,
}


@pytest.mark.parametrize("run", CHAINS.values(), ids=CHAINS)
def test_products_of_products_are_the_same(run: Any) -> None:
    compared(run)


def test_a_factor_of_transposes_is_made_of_what_was_transposed() -> None:
    def run(w: Any, v: Any, x: Any, y: Any) -> Any:
        parts = jnp.sin(x), jnp.cos(x)
        return jnp.concatenate([part.T for part in parts]) @ y, jnp.transpose(jnp.sin(x)[:, None], (2, 1, 0)) @ y

    _, after = compared(run)
    made = {var: equation.primitive.name for equation in after.eqns for var in equation.outvars}
    whole, folded = (e.invars[0] for e in after.eqns if e.primitive.name == "dot_general")
    assert (made[whole], whole.aval.shape) == ("concatenate", (9, 8))
    assert (made[folded], folded.aval.shape) == ("transpose", (4, 1, 9))  # its axes would come in another order


def test_factors_of_different_transposes_stay() -> None:
    def run(w: Any, v: Any, x: Any, y: Any) -> Any:
        cube = x[:8].reshape(2, 4, 4)
        both = jnp.concatenate([jnp.transpose(cube, (1, 2, 0)), jnp.transpose(cube, (2, 1, 0))])
        return jax.lax.dot_general(both, w.T[:2], (((2,), (0,)), ((), ())))

    compared(run)
