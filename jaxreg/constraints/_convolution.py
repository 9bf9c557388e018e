"""Operator norm of a convolution, and a constraint that limits it."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._checks import check, check_integer
from jaxreg._groups import group_axes, group_norms, limit_of_groups
from jaxreg._hyperparameters import Axis, Number, hyperparameters, static
from jaxreg._precision import eps, real_dtype, tiny, wide
from jaxreg._protocols import Constraint
from jaxreg._sharding import partitioned

Padding = str | tuple[tuple[int, int], ...]

RESIDUAL = 5e-5
"""Relative residual at which the iteration stops. It bounds the relative error of the squared norm."""
ITERATIONS = 500
LOWERED = 1e-4
"""Relative error of a computed norm. `ConvNorm` scales kernels to a norm that is lower than the limit by this share."""


@partitioned(number=True)
def conv_norm(
    kernel: jax.Array, size: tuple[int, ...], padding: Padding = "SAME", strides: int | tuple[int, ...] = 1
) -> jax.Array:
    """Return the operator norm of a convolution: the largest factor by which it stretches an image.

    With circular padding and stride 1, the result is exact. It is computed from the Fourier transform of the kernel,
    which is one (inputs, units) matrix per frequency. The norm is the largest singular value of all these matrices.

    With any other padding or stride, an iteration computes the norm with a relative error of at most 1e-4. The
    iteration is LOBPCG on AᵀA, where A is the matrix of the convolution.

    For a convolution in groups of channels, pass the kernel as it is, of shape (*window, inputs / groups, units). The
    result is then an upper bound on the norm.

    The spectral norm of the kernel as a matrix is a different number: see the page on Lipschitz bounds in the
    documentation.

    To penalise the norm, use a function of one array as the penalty, such as
    `lambda w: 0.01 * jr.conv_norm(w, (32, 32)) ** 2`.

    Args:
        kernel: Weights of shape (*window, inputs, units), such as (height, width, inputs, units).
        size: Size of the input along each axis of the window, such as (height, width) of the image.
        padding: "CIRCULAR", "SAME" or "VALID", or one pair (before, after) per axis of the window: the numbers of zeros
            to add before and after the input.
        strides: Strides of the window: one number for all axes, or one per axis.

    Returns:
        A scalar in float32 (float64 if the kernel is float64), differentiable with respect to the kernel.

    Raises:
        ValueError: If `size`, `padding` or `strides` does not fit the window, or the window is larger than the padded
            input.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> mean = jnp.full((3, 3, 1, 1), 1 / 9)
        >>> print(f"{jr.conv_norm(mean, (8, 8), 'CIRCULAR'):.2f} {jr.conv_norm(mean, (8, 8)):.2f}")
        1.00 0.92

    Reference:
        Sedghi, Gupta and Long, The singular values of convolutional layers, 2019; Knyazev, Toward the optimal
        preconditioned eigensolver, 2001, for the iteration.
    """
    kernel = jnp.asarray(kernel)
    size, padding, strides = _checked(kernel.shape, size, padding, strides)
    if kernel.size == 0:
        return jnp.zeros((), real_dtype(wide(kernel)))
    return _norm(wide(kernel), size, padding, strides)


@partial(jax.jit, static_argnames=("size", "padding", "strides"))
def _norm(k: jax.Array, size: tuple[int, ...], padding: Padding, strides: tuple[int, ...]) -> jax.Array:
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(k)))
    scale = jnp.where(largest > tiny(largest.dtype), largest, 1)  # squares of 1e30 overflow
    if padding == "CIRCULAR" and set(strides) == {1}:
        return scale * _by_fourier(k / scale, size)
    shape = (*size, k.shape[-2])

    def image(kernel: jax.Array, x: jax.Array) -> jax.Array:
        return _convolve(kernel, x, padding, strides)

    v = _stretched_most(lambda x: image(jax.lax.stop_gradient(k / scale), x), shape, k.dtype)
    stretched = image(k / scale, v[None]).ravel()
    return scale * group_norms(stretched, (0,))[0]


def _checked(
    shape: tuple[int, ...], size: Any, padding: Any, strides: Any
) -> tuple[tuple[int, ...], Padding, tuple[int, ...]]:
    window = shape[:-2]
    if not window:
        raise ValueError(
            f"conv_norm: the kernel has shape {shape}; expected (*window, inputs, units), such as (3, 3, 16, 32). For "
            "a dense layer use jaxreg.SpectralNorm"
        )
    size = (size,) if isinstance(size, int) else tuple(size)
    strides = (strides,) * len(window) if isinstance(strides, int) else tuple(strides)
    for name, numbers in (("size", size), ("strides", strides)):
        if len(numbers) != len(window):
            raise ValueError(
                f"conv_norm: {name} is {numbers} for a kernel of shape {shape}; expected {len(window)} numbers: one "
                f"per axis of the window {window}"
            )
        for number in numbers:
            check_integer(number, f"conv_norm: an entry of {name}", 1)
    if isinstance(padding, str):
        padding = padding.upper()
        if padding not in ("CIRCULAR", "SAME", "VALID"):
            raise ValueError(
                f"conv_norm: padding is {padding!r}; expected 'CIRCULAR', 'SAME' or 'VALID', or one pair (before, "
                "after) per axis of the window: the numbers of zeros to add before and after the input"
            )
        added = [0] * len(window) if padding == "VALID" else list(window)
    else:
        padding = tuple((int(before), int(after)) for before, after in padding)
        added = [sum(pair) for pair in padding]
    if len(added) != len(window):
        raise ValueError(
            f"conv_norm: padding is {padding!r} for a window of size {window}; expected one pair (before, after) "
            "per axis"
        )
    if any(n + more < k for n, more, k in zip(size, added, window, strict=True)):
        raise ValueError(
            f"conv_norm: the input of size {size} with the padding {padding!r} is smaller than the window of size "
            f"{window} along an axis. Pass a larger input or more padding"
        )
    return size, padding, strides


def _by_fourier(kernel: jax.Array, size: tuple[int, ...]) -> jax.Array:
    spectrum = kernel
    for axis, n in enumerate(size):
        # The spectrum of real weights is symmetric, so that half of the frequencies along one axis are enough.
        halved = axis == 0 and not jnp.iscomplexobj(kernel)
        frequencies = np.arange(n // 2 + 1 if halved else n)[:, None]
        wave = np.exp(-2j * np.pi * frequencies * np.arange(kernel.shape[axis]) / n)
        turned = jnp.tensordot(jnp.asarray(wave, jnp.result_type(kernel, jnp.complex64)), spectrum, (1, axis))
        spectrum = jnp.moveaxis(turned, 0, axis)
    return jnp.max(jnp.linalg.svd(spectrum, compute_uv=False)[..., 0])


def _convolve(kernel: jax.Array, x: jax.Array, padding: Padding, strides: tuple[int, ...]) -> jax.Array:
    window = kernel.shape[:-2]
    if padding == "CIRCULAR":
        x = jnp.pad(x, [(0, 0), *((0, k - 1) for k in window), (0, 0)], mode="wrap")
        padding = "VALID"
    places = "".join("abcdefgh"[: len(window)])
    names = (f"N{places}C", f"{places}IO", f"N{places}C")
    return jax.lax.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=names, precision=jax.lax.Precision.HIGHEST
    )


def _stretched_most(image: Callable[[jax.Array], jax.Array], shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Return the x of norm 1 for which the norm of `image(x)` is largest. The result has no derivative.

    `image` is a linear function of a batch of arrays. Each round combines the previous x, the gradient and the previous
    change of x, with the factors for which the norm is largest.
    """

    def images(columns: jax.Array) -> jax.Array:
        return image(columns.T.reshape(-1, *shape)).reshape(columns.shape[1], -1).T

    def adjoint(column: jax.Array, out: jax.Array) -> jax.Array:
        (back,) = jax.linear_transpose(images, column)(jnp.conj(out))
        return jnp.conj(back)

    def again(carry: tuple[jax.Array, ...]) -> jax.Array:
        count, _, _, left = carry
        return (count < ITERATIONS) & ~(left <= RESIDUAL)

    def improve(carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        count, x, others, _ = carry
        basis, _ = jnp.linalg.qr(jnp.concatenate([x, others], axis=1))
        out = images(basis)
        gram = jnp.matmul(jnp.conj(out.T), out, precision="highest")
        values, vectors = jnp.linalg.eigh(gram)
        best = jnp.matmul(basis, vectors[:, -1:], precision="highest")
        pull = adjoint(best, images(best))
        residual = pull - values[-1] * best
        left = jnp.linalg.norm(residual) / jnp.where(values[-1] > 0, values[-1], 1)
        move = best - x * jnp.sum(jnp.conj(x) * best)
        return count + 1, best, jnp.concatenate([residual, move], axis=1), left

    start = jax.random.normal(jax.random.key(0), (int(np.prod(shape)), 3), dtype)
    start = start / jnp.linalg.norm(start, axis=0)
    left = jnp.full((), jnp.inf, real_dtype(start))
    begin: tuple[jax.Array, ...] = (jnp.zeros((), jnp.int32), start[:, :1], start[:, 1:], left)
    _, x, _, _ = jax.lax.while_loop(again, improve, begin)
    return x.reshape(shape)


@hyperparameters
class ConvNorm(Constraint):
    """Upper limit on the operator norm of a convolution with kernel K: {K : ‖conv K‖ ≤ limit}.

    A kernel whose norm exceeds the limit is scaled down to a norm of 0.9999 · limit. The layer is then Lipschitz with
    constant `limit`, on inputs of `size`. Scaling keeps the direction of the kernel, but does not give the nearest
    point of the set. `jaxreg.conv_norm` computes the norm.

    Args:
        limit: Positive number: a float, an array or an Optax schedule.
        size: Size of the input along each axis of the window, such as (height, width) of the image.
        padding: "CIRCULAR", "SAME" or "VALID", or one pair (before, after) per axis of the window: the numbers of zeros
            to add before and after the input.
        strides: Strides of the window: one number for all axes, or one per axis.
        axis: Fan-in axes, which are the axes of the window and of the inputs. Default: every axis but the last. For
            weights of shape (units, inputs, *window), as in PyTorch and Equinox, name every axis but the first.

    Raises:
        ValueError: If the limit is 0, negative, infinite or NaN. When called, if `size`, `padding`, `strides` or `axis`
            does not fit the weights.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> kernel = jnp.full((3, 3, 1, 1), 1.0)
        >>> print(jr.conv_norm(jr.ConvNorm(2.0, size=(8, 8))(kernel), (8, 8)).round(3))
        2.0

    Reference:
        Gouk et al., Regularisation of neural networks by enforcing Lipschitz continuity, 2021.
    """

    limit: Number
    size: tuple[int, ...] = static()
    padding: Padding = static(default="SAME")
    strides: int | tuple[int, ...] = static(default=1)
    axis: Axis = static(default=None)
    matrix: ClassVar[bool] = True
    convex: ClassVar[bool] = False  # scaling is not the projection that Dykstra's algorithm needs

    def __post_init__(self) -> None:
        check(self, "limit", "(0, inf)")

    @partitioned()
    def __call__(self, w: jax.Array) -> jax.Array:
        """Return `w`, scaled down if the norm exceeds the limit. An array in the set is returned unchanged."""
        if w.size == 0:
            return w
        axes = group_axes(w.ndim, self.axis)
        units = tuple(a for a in range(w.ndim) if a not in axes)
        if len(units) != 1:
            raise ValueError(
                f"ConvNorm: axis is {self.axis} for weights of shape {w.shape}; expected all axes except the "
                "axis of the units. Weights must have the shape (*window, inputs, units) or (units, inputs, *window)"
            )
        window = axes[1:] if units == (0,) else axes[:-1]
        inputs = axes[:1] if units == (0,) else axes[-1:]
        x = wide(w)
        norm = conv_norm(jnp.transpose(x, window + inputs + units), self.size, self.padding, self.strides)
        limit = jnp.asarray(limit_of_groups(self.limit, x, tuple(range(w.ndim))), real_dtype(x)).reshape(())
        narrower = eps(w.dtype) if w.dtype != x.dtype else 0.0
        inside = norm <= limit
        scaled = x * (limit * (1 - LOWERED - narrower) / jnp.where(inside, 1, norm))
        return jnp.where(inside, w, scaled.astype(w.dtype))

    def operator_bound(self, places: int) -> Number:
        """Return 1.0001 · `limit`, an upper bound on the operator norm of a layer that satisfies the constraint.

        The constraint leaves a kernel as it is if the computed norm is at most `limit`. The true norm may be larger by
        the relative error of the computation, 1e-4. `places`, the number of positions in the window of the convolution,
        does not change the bound.
        """
        return self.limit * (1 + LOWERED)
