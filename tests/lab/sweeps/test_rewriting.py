"""Rewritten functions return what XLA returns for the same functions as they are, in every position of an operation."""

from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from scipy.signal import correlate

from jaxreg.lab.sweeps.rewriting import evaluate, has_convolutions, has_short_loops, is_rewritable

RNG = np.random.default_rng(0)
NHWC = ("NHWC", "HWIO", "NHWC")


def drawn(*shape: int) -> np.ndarray:
    """Random numbers."""
    return RNG.normal(size=shape).astype(np.float32)


def convolution(**options: Any) -> Any:
    """A convolution and its gradients."""

    def run(x: Any, kernel: Any) -> Any:
        def outputs(x: Any, kernel: Any) -> Any:
            return jax.lax.conv_general_dilated(x, kernel, **options)

        found, back = jax.vjp(outputs, x, kernel)
        return found, back(jnp.cos(found))

    return run


CONVOLUTIONS = {
    "few channels": (
        convolution(window_strides=(1, 1), padding="SAME", dimension_numbers=NHWC),
        (3, 5, 6, 2),
        (3, 3, 2, 4),
    ),
    "many channels": (
        convolution(window_strides=(1, 1), padding="VALID", dimension_numbers=NHWC),
        (2, 5, 6, 9),
        (3, 2, 9, 10),
    ),
    "strides": (convolution(window_strides=(2, 3), padding="SAME", dimension_numbers=NHWC), (2, 7, 8, 3), (3, 3, 3, 9)),
    "dilated": (
        convolution(window_strides=(1, 2), padding="SAME", rhs_dilation=(2, 1), dimension_numbers=NHWC),
        (2, 7, 8, 3),
        (3, 2, 3, 9),
    ),
    "transposed": (
        convolution(window_strides=(1, 1), padding=((2, 1), (1, 2)), lhs_dilation=(2, 2), dimension_numbers=NHWC),
        (2, 4, 4, 9),
        (3, 3, 9, 10),
    ),
    "groups": (
        convolution(window_strides=(1, 1), padding="SAME", dimension_numbers=NHWC, feature_group_count=3),
        (2, 5, 6, 6),
        (8, 7, 2, 9),
    ),
    "a group per channel": (
        convolution(window_strides=(1, 1), padding="SAME", dimension_numbers=NHWC, feature_group_count=10),
        (2, 5, 6, 10),
        (3, 3, 1, 10),
    ),
    "two filters per channel": (
        convolution(
            window_strides=(2, 1),
            padding="SAME",
            rhs_dilation=(1, 2),
            dimension_numbers=NHWC,
            feature_group_count=9,
        ),
        (2, 7, 8, 9),
        (3, 3, 1, 18),
    ),
    "channels first": (convolution(window_strides=(1, 1), padding="SAME"), (2, 3, 5, 6), (4, 3, 3, 3)),
    "one axis": (
        convolution(window_strides=(1,), padding="SAME", dimension_numbers=("NHC", "HIO", "NHC")),
        (2, 9, 3),
        (5, 3, 4),
    ),
    "three axes": (
        convolution(window_strides=(1, 1, 1), padding="SAME", dimension_numbers=("NDHWC", "DHWIO", "NDHWC")),
        (2, 4, 3, 5, 2),
        (2, 3, 2, 2, 3),
    ),
    "large window": (
        convolution(window_strides=(1, 1), padding="SAME", dimension_numbers=NHWC),
        (2, 8, 8, 2),
        (6, 5, 2, 3),
    ),
}


def rewritten(run: Any) -> Any:
    """The function, traced and rewritten."""

    def changed(*arguments: Any) -> Any:
        closed, shapes = jax.make_jaxpr(run, return_shape=True)(*arguments)
        assert is_rewritable(closed.jaxpr)
        found = evaluate(closed.jaxpr, closed.consts, jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(shapes), found)

    return changed


def compare(found: Any, expected: Any) -> None:
    """Compare trees of numbers."""
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-5)


def test_convolutions_and_their_gradients_are_those_of_xla() -> None:
    arguments = {name: (drawn(*x), drawn(*kernel)) for name, (_, x, kernel) in CONVOLUTIONS.items()}

    def both(arguments: Any) -> Any:
        return {
            name: [way(run)(*arguments[name]) for way in (rewritten, lambda run: run)]
            for name, (run, _, _) in CONVOLUTIONS.items()
        }

    for found, expected in jax.jit(both)(arguments).values():
        compare(found, expected)


def test_a_convolution_is_that_of_scipy() -> None:
    x, kernel = drawn(7, 8), drawn(3, 3)
    run, _, _ = CONVOLUTIONS["few channels"]
    found, _ = jax.jit(rewritten(run))(x[None, :, :, None], kernel[:, :, None, None])
    np.testing.assert_allclose(found[0, :, :, 0], correlate(x, kernel, "same"), atol=1e-5)


@pytest.mark.parametrize("filters", [2, 9])
def test_negative_padding_cuts(filters: int) -> None:
    run = convolution(window_strides=(1, 1), padding=((-1, 1), (0, -2)), dimension_numbers=NHWC)
    same = convolution(window_strides=(1, 1), padding=((0, 1), (0, 0)), dimension_numbers=NHWC)
    x, kernel = drawn(2, 7, 8, 9), drawn(3, 3, 9, filters)
    found, (_, slope) = jax.jit(rewritten(run))(x, kernel)
    expected, (_, steepest) = jax.jit(same)(x[:, 1:, :-2], kernel)  # XLA:CPU itself reads foreign memory here
    compare((found, slope), (expected, steepest))


def test_convolutions_of_many_large_groups_and_of_few_digits_stay() -> None:
    half = convolution(window_strides=(1, 1), padding="SAME", dimension_numbers=NHWC)
    short = [jnp.zeros(shape, jnp.bfloat16) for shape in ((2, 5, 5, 4), (3, 3, 4, 4))]
    assert not is_rewritable(jax.make_jaxpr(half)(*short).jaxpr)
    closed = jax.make_jaxpr(
        lambda x, kernel: jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=NHWC, feature_group_count=9
        )
    )(drawn(2, 5, 5, 54), drawn(3, 3, 6, 54))
    assert not is_rewritable(closed.jaxpr)


@pytest.mark.parametrize("padding", ["VALID", "SAME"])
def test_maxima_over_windows_send_gradients_to_the_first_largest_entry(padding: str) -> None:
    x = RNG.integers(0, 3, (2, 7, 8, 3)).astype(np.float32)

    def run(x: Any) -> Any:
        found, back = jax.vjp(lambda x: nn.max_pool(x, (3, 2), (2, 2), padding), x)
        return back(1 + jnp.arange(found.size, dtype=jnp.float32).reshape(found.shape))

    np.testing.assert_array_equal(*jax.jit(lambda x: (rewritten(run)(x), run(x)))(x))


def layer(p: Any, x: Any) -> Any:
    """A layer of few features and one of few outputs."""
    return jnp.tanh(x @ p["w"] + p["b"]) @ p["v"] + p["c"]


PARAMS = {"w": drawn(3, 40), "b": drawn(40), "v": drawn(40, 5), "c": drawn(5)}
ROWS = drawn(7, 2, 3)


def remat(p: Any, x: Any) -> Any:
    """Gradients of a layer whose values are computed twice."""
    return jax.grad(lambda p: jnp.sum(jnp.sin(jax.checkpoint(layer)(p, x))))(p)


def plain(p: Any, x: Any) -> Any:
    """Gradients of a layer."""
    return jax.grad(lambda p: jnp.sum(jnp.sin(layer(p, x))))(p)


def looped(p: Any, x: Any) -> Any:
    """Steps along gradients, in one kind of loop or the other."""

    def step(p: Any, _: Any) -> Any:
        return jax.tree.map(lambda p, g: p - 0.001 * g, p, plain(p, x)), p["c"]  # longer steps magnify rounding

    p, seen = jax.lax.scan(step, p, None, 3)
    return jax.lax.fori_loop(0, p["c"].size + jnp.int32(x[0, 0, 0] > 9), lambda _, p: step(p, None)[0], p), seen


def branched(p: Any, x: Any) -> Any:
    """Gradients in one branch, in a function of its own."""
    return jax.lax.cond(x[0, 0, 0] > -9, jax.jit(plain), lambda p, _: p, p, x)


@jax.custom_vjp
def own(p: Any, x: Any) -> Any:
    """A function with a gradient of its own."""
    return layer(p, x)


own.defvjp(lambda p, x: (layer(p, x), (p, x)), lambda kept, g: jax.vjp(layer, *kept)[1](2 * g))


def given(p: Any, x: Any) -> Any:
    """Gradients that a function gives itself."""
    return own(p, x), jax.grad(lambda p: jnp.sum(jnp.sin(own(p, x))))(p)


def cells(p: Any, x: Any) -> Any:
    """A sum of products per row, as in a recurrent cell, and another one that is used as it is as well."""

    def sums(row: Any) -> Any:
        return p["w"].T @ row + p["v"] @ (p["c"] * row[0]) + p["v"] @ p["c"]

    wide = p["w"].T @ x[0].T + p["v"] @ jnp.ones((5, 2))
    return jax.vmap(sums)(x[:, 0]), wide.T, jnp.sin(wide)


@pytest.mark.parametrize("run", [plain, remat, looped, branched, given, cells])
def test_products_over_rows_and_sums_over_them_are_those_of_xla(run: Any) -> None:
    found, expected = jax.jit(lambda p, x: (rewritten(run)(p, x), run(p, x)))(PARAMS, ROWS)
    compare(found, expected)


def test_a_sum_before_its_product_and_one_without() -> None:
    def run(x: Any, g: Any) -> Any:
        early = g.sum(0)
        return early, jnp.einsum("ru,rf->uf", g, x) * early[:, None], x.sum(0), jnp.einsum("rf,ru->fu", x, early + g)

    x, g = drawn(9, 2), drawn(9, 30)
    found = jax.jit(rewritten(run))(x, g)
    early = g.sum(0)
    compare(found, (early, g.T @ x * early[:, None], x.sum(0), x.T @ (early + g)))


def test_a_sum_keeps_its_type_beside_a_wider_product() -> None:
    def run(x: Any, g: Any) -> Any:
        numbers = (((0,), (0,)), ((), ()))
        return jax.lax.dot_general(g, x, numbers, preferred_element_type=np.float64), g.sum(0)

    x, g = drawn(9, 2), drawn(9, 30)
    with jax.enable_x64(True):
        found = jax.jit(rewritten(run))(x, g)
    assert [array.dtype for array in found] == [np.float64, np.float32]
    compare(found, (g.T @ x, g.sum(0)))


@pytest.mark.parametrize(
    ("x", "kernel", "steps"), [((2, 2, 1), (5, 1, 3), 2), ((2, 2, 1), (5, 1, 3), 1), ((2, 6, 1), (3, 1, 0), 1)]
)
def test_convolutions_without_results(x: tuple[int, ...], kernel: tuple[int, ...], steps: int) -> None:
    run = convolution(window_strides=(steps,), padding="VALID", dimension_numbers=("NWC", "WIO", "NWC"))
    closed, shapes = jax.make_jaxpr(run, return_shape=True)(np.ones(x), np.ones(kernel))
    found = evaluate(closed.jaxpr, closed.consts, (np.ones(x), np.ones(kernel)))
    compare(jax.tree.unflatten(jax.tree.structure(shapes), found), run(np.ones(x), np.ones(kernel)))


def test_long_loops_that_compute_nothing_are_not_short() -> None:
    def run(x: Any) -> Any:
        delay = jax.lax.scan(lambda ab, x: ((x, ab[0]), ab[1]), (x, x), jnp.arange(4000.0))[1].sum()
        return jnp.sin(delay)

    closed = jax.make_jaxpr(lambda x: jax.lax.fori_loop(0, 3, lambda _, x: run(x), x))(1.0)
    assert not has_short_loops(closed.jaxpr)


def test_the_innermost_of_short_loops_are_unrolled() -> None:
    def loop(steps: int, inner: Any) -> Any:
        return lambda x: jax.lax.scan(lambda x, _: (inner(x), None), x, None, steps)[0]

    def run(x: Any) -> Any:
        return loop(50, loop(3, lambda x: loop(30, jnp.sin)(loop(4, jnp.cos)(x))))(loop(2, jnp.sin)(x))

    def lengths(jaxpr: Any) -> Any:
        for equation in jaxpr.eqns:
            if equation.primitive.name == "scan":
                yield equation.params["length"], equation.params["unroll"]
                yield from lengths(equation.params["jaxpr"].jaxpr)

    x = drawn(5)
    closed = jax.make_jaxpr(run)(x)
    assert [has_short_loops(inner.jaxpr) for inner in (closed, jax.make_jaxpr(loop(2, jnp.sin))(x))] == [True, False]
    changed = jax.make_jaxpr(lambda x: evaluate(closed.jaxpr, closed.consts, [x], unroll=True))(x)
    assert sorted(lengths(changed.jaxpr)) == [(2, 1), (3, 1), (4, 4), (30, 30), (50, 1)]
    np.testing.assert_array_equal(jax.extend.core.jaxpr_as_fun(changed)(x)[0], run(x))


def test_callbacks_run_as_often_as_before() -> None:
    seen = []

    def run(x: Any, g: Any) -> Any:
        jax.debug.callback(lambda total: seen.append(float(total)), x.sum())
        return jnp.einsum("ru,rf->uf", g, x)

    jax.device_get(jax.jit(rewritten(run))(np.ones((4, 2), np.float32), drawn(4, 30)))
    jax.effects_barrier()  # type: ignore[no-untyped-call]
    assert seen == [8.0]


def test_small_convolutions_do_not_count() -> None:
    run, x, kernel = CONVOLUTIONS["one axis"]
    jaxpr = jax.make_jaxpr(jax.jit(run))(drawn(*x), drawn(*kernel)).jaxpr
    assert [has_convolutions(jaxpr, least) for least in (288, 289)] == [True, False]
