"""The operator norm of a convolution against the largest singular value of its matrix, and the constraint on it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxreg as jr


def matrix(kernel, size, padding, strides):
    """The matrix of the convolution, one place of the output after the other."""
    window = kernel.shape[:-2]
    before, outs = [], []
    for n, k, stride in zip(size, window, strides, strict=True):
        after = {"VALID": (n - k) // stride + 1}.get(padding, -(-n // stride))
        before.append(max((after - 1) * stride + k - n, 0) // 2 if padding == "SAME" else 0)
        outs.append(after)
    full = np.zeros((*outs, kernel.shape[-1], *size, kernel.shape[-2]), kernel.dtype)
    for out in np.ndindex(*outs):
        for tap in np.ndindex(*window):
            place = [o * s + t - b for o, s, t, b in zip(out, strides, tap, before, strict=True)]
            if padding == "CIRCULAR":
                place = [p % n for p, n in zip(place, size, strict=True)]
            if all(0 <= p < n for p, n in zip(place, size, strict=True)):
                full[(*out, slice(None), *place, slice(None))] += kernel[tap].T
    return full.reshape(int(np.prod(outs)) * kernel.shape[-1], -1)


def norm(kernel, size, padding, strides):
    return np.linalg.norm(matrix(np.asarray(kernel, np.float64), size, padding, strides), 2)


def kernel(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


CASES = [
    ((3, 2, 2, 3), (5, 4), "CIRCULAR", (1, 1)),
    ((3, 3, 2, 2), (2, 5), "CIRCULAR", (1, 1)),  # the window is longer than the image and meets itself
    ((3, 2, 2, 3), (5, 4), "SAME", (1, 1)),
    ((3, 2, 2), (7,), "SAME", (2,)),
    ((3, 3, 2), (7,), "CIRCULAR", (2,)),
    ((2, 2, 3, 1), (4, 4), "VALID", (1, 1)),
]


@pytest.mark.parametrize(("shape", "size", "padding", "strides"), CASES)
def test_norm_of_a_convolution(shape, size, padding, strides):
    found = jax.jit(lambda k: jax.lax.map(lambda k: jr.conv_norm(k, size, padding, strides), k))
    kernels = kernel(4, *shape)
    np.testing.assert_allclose(found(kernels), [norm(k, size, padding, strides) for k in kernels], rtol=1e-5)


@pytest.mark.slow
def test_norm_of_thirty_layers():
    rng = np.random.default_rng(1)
    for n in range(30):
        axes = int(rng.integers(1, 3))
        window = tuple(map(int, rng.integers(1, 5, axes)))
        size = tuple(map(int, rng.integers(4, 11, axes)))
        strides = tuple(map(int, rng.integers(1, 3, axes)))
        padding = ("CIRCULAR", "SAME", "VALID")[n % 3]
        k = kernel(*window, *map(int, rng.integers(1, 6, 2)), seed=n)
        found = jr.conv_norm(k, size, padding, strides)
        np.testing.assert_allclose(found, norm(k, size, padding, strides), rtol=1e-4)


@pytest.mark.parametrize("padding", ["CIRCULAR", "SAME"])
def test_gradient_is_that_of_the_largest_singular_value(padding):
    k, move = kernel(2, 2, 2, 2), kernel(2, 2, 2, 2, seed=1)
    function = lambda k: jr.conv_norm(k, (3, 3), padding)  # noqa: E731
    slope = np.sum(jax.jit(jax.grad(function))(k) * move)
    ends = [norm(np.float64(k) + step * move, (3, 3), padding, (1, 1)) for step in (-1e-4, 1e-4)]
    np.testing.assert_allclose(slope, (ends[1] - ends[0]) / 2e-4, rtol=1e-3)


def test_zeros_huge_numbers_and_nan():
    found = jax.jit(lambda k: jax.lax.map(jax.value_and_grad(lambda k: jr.conv_norm(k, (3, 3))), k))
    k = kernel(2, 2, 1, 2)
    values, slopes = found(np.stack([0 * k, 1e30 * k, np.nan * k]))
    assert values[0] == 0
    assert np.isfinite(slopes[:2]).all()
    np.testing.assert_allclose(values[1], 1e30 * norm(k, (3, 3), "SAME", (1, 1)), rtol=1e-5)
    assert np.isnan(values[2])


@pytest.mark.parametrize("padding", ["CIRCULAR", "SAME"])
def test_complex_kernels(padding):
    k = (kernel(2, 2, 2, 2) + 1j * kernel(2, 2, 2, 2, seed=1)).astype(np.complex128)
    found = jax.jit(lambda k: jr.conv_norm(k, (3, 3), padding))(k)
    np.testing.assert_allclose(found, np.linalg.norm(matrix(k, (3, 3), padding, (1, 1)), 2), rtol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_kernel_is_scaled_down_to_the_limit(dtype):
    project = jax.jit(jr.ConvNorm(1.5, size=(4, 4)))
    k = jnp.asarray(kernel(3, 3, 2, 2), dtype)
    end = project(k)
    assert end.dtype == k.dtype
    assert 1.5 * 0.98 < norm(end, (4, 4), "SAME", (1, 1)) <= 1.5
    np.testing.assert_array_equal(project(end), end)
    small = k / 100
    np.testing.assert_array_equal(project(small), small)


def test_stacks_and_units_that_come_first():
    k = kernel(2, 3, 3, 2, 4)
    rule = jr.ConvNorm(1.0, size=(4, 5))
    stack = jr.projected({"layers": {"conv": {"kernel": k, "bias": np.zeros((2, 4))}}}, rule)["layers"]["conv"]
    torch = rule.with_axis((1, 2, 3))(k[0].transpose(3, 2, 0, 1))
    for found, layer in ((stack["kernel"][0], k[0]), (stack["kernel"][1], k[1]), (torch.transpose(2, 3, 1, 0), k[0])):
        np.testing.assert_allclose(found, layer * (1 - 1e-4) / norm(layer, (4, 5), "SAME", (1, 1)), rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: jr.conv_norm(kernel(2, 3), (4,)), r"expected \(\*window, inputs, units\)"),
        (lambda: jr.conv_norm(kernel(3, 3, 1, 1), (4,)), "expected 2 numbers"),
        (lambda: jr.conv_norm(kernel(3, 3, 1, 1), (4, 0)), "expected a whole number of at least 1"),
        (lambda: jr.conv_norm(kernel(3, 3, 1, 1), (4, 2), "VALID"), "is smaller than the window"),
        (lambda: jr.conv_norm(kernel(3, 1, 1), (4,), ((1, 1), (1, 1))), r"one pair \(before, after\)"),
        (lambda: jr.conv_norm(kernel(3, 1, 1), (4,), "REFLECT"), "padding is 'REFLECT'"),
        (lambda: jr.ConvNorm(0.0, size=(4, 4)), "limit is 0"),
        (
            lambda: jr.ConvNorm(1.0, size=(4, 4), axis=(0, 1))(kernel(3, 3, 1, 2)),
            "all axes except the axis of the units",
        ),
    ],
)
def test_errors(call, says):
    with pytest.raises(ValueError, match=says):
        call()
