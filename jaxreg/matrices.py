"""Constraints on singular values: a weight array as a matrix from its incoming weights to its units.

The `axis` says which axes are incoming, as for a norm; the others together are the outgoing side. So a convolution
kernel (height, width, inputs, outputs) is a matrix (height · width · inputs, outputs).
"""

from typing import ClassVar

import jax
import jax.numpy as jnp

from jaxreg.groups import Axis, from_rows, group_axes, limit_of_groups, to_rows
from jaxreg.objects import Number, as_wide, check, eps, hyperparameters, partitioned, static, wide
from jaxreg.polar import clipped, clipped_by_products, polar, polar_by_products


def _slack(matrix: jax.Array, w: jax.Array) -> float:
    # The rounding of an SVD, and what rounding to a narrower dtype does to singular values.
    return eps(matrix.dtype) * (10 + float(max(matrix.shape)) ** 0.5) + _narrowing(matrix, w)


def _narrowing(matrix: jax.Array, w: jax.Array) -> float:
    return eps(w.dtype) if w.dtype != matrix.dtype else 0.0


@hyperparameters
class SpectralNorm:
    """Largest singular value at most `limit`: {W : σ₁(W) ≤ limit}, projected by clipping the singular values.

    A Dense layer is then Lipschitz with constant `limit`. Of a convolution W has the filters as columns; as its windows
    overlap, the layer may stretch inputs by up to √(height · width) · `limit`.

    Args:
        limit: Number above 0; a float, an array or an Optax schedule.
        axis: The incoming axes, the rows of the matrix; by default every axis but the last.
        fast: Matrix products in the place of an SVD, for GPUs and TPUs: the nearest point to 3e-4 of the limit, for
            weights of norm up to a few limits; from far outside it leads into the set, not to the nearest point.

    Raises:
        ValueError: If the limit is 0, negative, infinite or NaN.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> print(np.asarray(jr.SpectralNorm(1.0)(jnp.diag(jnp.array([3.0, 0.5])))).round(5))
        [[1.  0. ]
         [0.  0.5]]

    Reference:
        Lefkimmiatis et al., Hessian Schatten-norm regularization, 2013, for the projection; Yoshida and Miyato,
        Spectral norm regularization, 2017.
    """

    limit: Number
    axis: Axis = static(default=None)
    fast: bool = static(default=False)
    whole: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self, "limit", above=True)

    @partitioned()
    def __call__(self, w: jax.Array) -> jax.Array:
        """The nearest array in the set; `w` itself, bit for bit, where it is in it."""
        if w.size == 0:
            return w
        axes = group_axes(w.ndim, self.axis)
        matrix = to_rows(wide(w), axes).T
        limit = jnp.asarray(limit_of_groups(self.limit, matrix, (0, 1)), matrix.dtype)
        inner = limit * (1 - _slack(matrix, w) - 2e-4 * self.fast)
        if self.fast:
            nearest = clipped_by_products(matrix, inner)
            # Rounding to a narrower dtype moves every entry, and all of the singular values a little.
            moved = 1e-4 + _narrowing(matrix, w) * min(matrix.shape) ** 0.5
            inside = jnp.linalg.norm(nearest - matrix) <= moved * limit
        else:
            nearest, largest = clipped(matrix, inner)
            inside = largest <= limit
        return jnp.where(inside, w, from_rows(nearest.T, w.shape, axes).astype(w.dtype))

    @partitioned()
    def lmo(self, direction: jax.Array) -> jax.Array:
        """The point of the set farthest against `direction`: -limit · U Vᵀ, and 0 in the place of no singular value."""
        if direction.size == 0:
            return direction
        axes = group_axes(direction.ndim, self.axis)
        matrix = to_rows(wide(direction), axes).T
        inner = as_wide(self.limit, matrix) * (1 - _slack(matrix, direction) - 2e-4 * self.fast)
        if self.fast:
            ends = polar_by_products(matrix)
        else:
            u, s, vt = jnp.linalg.svd(matrix, full_matrices=False)
            ends = jnp.where(s > eps(s.dtype) * max(matrix.shape) * s[0], u, 0) @ vt
        return from_rows((-inner * ends).T, direction.shape, axes).astype(direction.dtype)


@hyperparameters
class Orthonormal:
    """Every singular value 1: {W : Wᵀ W = I}, or W Wᵀ = I where there are fewer inputs than units; the polar factor.

    The set is not convex. A singular value of 0 has no nearest direction: by SVD it gets one, a nearest point like any
    other; with `fast` it stays 0.

    Args:
        axis: The incoming axes, the rows of the matrix; by default every axis but the last.
        fast: Matrix products in the place of an SVD, for GPUs and TPUs: right to 1e-5 where the singular values are
            within a factor of 1,000 of each other, smaller ones grow to at most 1.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> print(np.asarray(jr.Orthonormal()(jnp.array([[3.0, 0.0], [0.0, -0.5]]))).round(5))
        [[ 1.  0.]
         [ 0. -1.]]

    Reference:
        Higham, Functions of Matrices, 2008, chapter 8; Amsel et al., The Polar Express, 2025.
    """

    axis: Axis = static(default=None)
    fast: bool = static(default=False)
    whole: ClassVar[bool] = True

    @partitioned()
    def __call__(self, w: jax.Array) -> jax.Array:
        """The nearest array in the set; `w` itself, bit for bit, where its singular values are 1 to rounding."""
        if w.size == 0:
            return w
        axes = group_axes(w.ndim, self.axis)
        matrix = to_rows(wide(w), axes).T
        slack = _slack(matrix, w)
        if self.fast:
            nearest = polar_by_products(matrix)
            slack += _narrowing(matrix, w) * (min(matrix.shape) ** 0.5 - 1)  # the distance is over all of them
            tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
            gram = jnp.matmul(tall.T, tall, precision=jax.lax.Precision.HIGHEST)
            off = jnp.linalg.norm(gram - jnp.eye(len(gram), dtype=gram.dtype)) / 2  # |σ² - 1| is 2 |σ - 1| near 1
        else:
            nearest, off = polar(matrix)
        rounded = from_rows(nearest.T, w.shape, axes).astype(w.dtype)
        return jnp.where(off <= slack, w, rounded)

    @partitioned()
    def lmo(self, direction: jax.Array) -> jax.Array:
        """A point of the set farthest against `direction`: the one nearest to -direction."""
        return self(-direction)
