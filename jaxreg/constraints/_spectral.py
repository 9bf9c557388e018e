"""Constraints on the singular values of a kernel."""

from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._checks import check
from jaxreg._complex import adjoint
from jaxreg._groups import from_rows, group_axes, group_norms, limit_of_groups, rounding, to_rows
from jaxreg._hyperparameters import Axis, Number, hyperparameters, known, static
from jaxreg._precision import as_wide, eps, held, real_dtype, tiny, wide
from jaxreg._protocols import Constraint
from jaxreg._sharding import partitioned
from jaxreg._singular_values import (
    clipped,
    clipped_by_products,
    leading,
    lowered,
    matrix_sign,
    norm_by_products,
    polar,
    polar_by_products,
)

HALVINGS = 40
"""Number of bisections of the interval that contains a root, enough for the precision of float32."""
JUMP = 1e-2
"""Smallest difference between the values on both sides of a root that counts as a jump."""


def _slack(matrix: jax.Array, w: jax.Array) -> float:
    # The rounding error of an SVD, and that of singular values after a cast to a narrower dtype.
    return eps(matrix.dtype) * (10 + float(max(matrix.shape)) ** 0.5) + _narrowing(matrix, w)


def _narrowing(matrix: jax.Array, w: jax.Array) -> float:
    return eps(w.dtype) if w.dtype != matrix.dtype else 0.0


@hyperparameters
class SpectralNorm(Constraint):
    """Upper limit on the spectral norm: {W : σ₁(W) ≤ limit}, projected by clipping the singular values.

    The spectral norm σ₁(W) is the largest singular value of W. A Dense layer with a kernel in the set is Lipschitz with
    constant `limit`. For a convolution, the columns of W are the filters. Because windows overlap, the Lipschitz
    constant of a convolution may be larger than `limit`. It is at most √k · `limit` for filters that cover k positions,
    such as k = 9 for 3 × 3 filters.

    Args:
        limit: Positive number: a float, an array or an Optax schedule.
        axis: Fan-in axes. Flattened, they index the rows of the matrix W, so each column of W has the weights of one
            unit. Default: every axis but the last.
        fast: If True, use matrix products instead of an SVD, for GPUs and TPUs. If the spectral norm is at most a few
            times `limit`, the result is within 3e-4 · `limit` of the nearest point. For much larger weights, the result
            lies in the set but is not the nearest point.

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
    matrix: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self, "limit", "(0, inf)")

    @partitioned()
    def __call__(self, w: jax.Array) -> jax.Array:
        """Return the nearest array in the set. An array already in the set is returned bit for bit."""
        if w.size == 0:
            return w
        axes = group_axes(w.ndim, self.axis)
        matrix = to_rows(wide(w), axes).T
        limit = jnp.asarray(limit_of_groups(self.limit, matrix, (0, 1)), real_dtype(matrix))
        inner = limit * (1 - _slack(matrix, w) - 2e-4 * self.fast)
        if self.fast:
            nearest = clipped_by_products(matrix, inner)
            inside = jnp.linalg.norm(nearest - matrix) <= 1e-4 * limit
            if matrix.dtype != w.dtype:  # rounding moves all singular values, so only the largest move counts
                moved = (1e-4 + eps(w.dtype)) * min(matrix.shape) ** 0.125
                inside = norm_by_products((nearest - matrix) / limit) <= moved
        else:
            nearest, largest = clipped(matrix, inner)
            inside = largest <= limit
        return jnp.where(inside, w, from_rows(nearest.T, w.shape, axes).astype(w.dtype))

    @partitioned()
    def lmo(self, direction: jax.Array) -> jax.Array:
        """Return a minimiser z of ⟨direction, z⟩ over the set.

        Let U S Vᵀ be the SVD of `direction` without singular values of 0. Then z = -limit · U Vᵀ. If `direction` is 0,
        z is 0.
        """
        if direction.size == 0:
            return direction
        axes = group_axes(direction.ndim, self.axis)
        matrix = to_rows(wide(direction), axes).T
        inner = as_wide(self.limit, matrix) * (1 - _slack(matrix, direction) - 2e-4 * self.fast)
        ends = matrix_sign(matrix, self.fast)
        return from_rows((-inner * ends).T, direction.shape, axes).astype(direction.dtype)

    def operator_bound(self, places: int) -> Number:
        """Return an upper bound on the operator norm of a layer that satisfies the constraint.

        The bound is limit · √places. For a convolution, `places` is the number of positions that a filter covers, such
        as 9 for a 3 × 3 filter. For a dense layer, it is 1.
        """
        return self.limit * places**0.5


@hyperparameters
class SpectralSphere(Constraint):
    """Fixed spectral norm: {W : σ₁(W) = radius · √(units / inputs)}, reached by scaling W.

    The matrix W has one row per input and one column per unit. Its spectral norm σ₁(W) is its largest singular value.
    With radius 1, the root mean square of a layer's outputs is at most that of its inputs, for layers of any width.

    All singular values are scaled by the same factor. The result is not the nearest array in the set: the nearest array
    differs from W only in the largest singular values. The set is not convex. An array of zeros has no direction, so
    all its weights get the same value.

    With this constraint, `jaxreg.hyperball(rules, learning_rate, tangent=True)` is the spectral sphere optimiser (SSO).
    SSO finds each step by bisection. With `tangent=False`, the optimiser is MuonSphere, which needs no bisection.

    Args:
        radius: Positive number, a multiple of √(units / inputs): a float, an array or an Optax schedule.
        axis: Fan-in axes. Flattened, they index the rows of the matrix W, so each column of W has the weights of one
            unit. Default: every axis but the last.
        fast: If True, use matrix products instead of SVDs in `lmo`, for GPUs and TPUs. In `tangent_lmo`, only one SVD
            is left.

    Raises:
        ValueError: If the radius is 0, negative, infinite or NaN.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> print(np.asarray(jr.SpectralSphere(1.0)(jnp.diag(jnp.array([4.0, 1.0])))).round(5))
        [[1.   0.  ]
         [0.   0.25]]

    Reference:
        Xie et al., Controlled LLM training on spectral sphere, 2026.
    """

    radius: Number = 1.0
    axis: Axis = static(default=None)
    fast: bool = static(default=False)
    matrix: ClassVar[bool] = True
    convex: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check(self, "radius", "(0, inf)")

    @partitioned()
    def __call__(self, w: jax.Array) -> jax.Array:
        """Return `w`, scaled to the fixed spectral norm.

        If `w` has this norm up to rounding, `w` is returned bit for bit.
        """
        if w.size == 0:
            return w
        axes = group_axes(w.ndim, self.axis)
        matrix = to_rows(wide(w), axes).T
        goal = self._goal(matrix)
        largest = clipped(matrix, goal)[1]
        zero = largest == 0
        moved = jnp.where(zero, w.size**-0.5, matrix / jnp.where(zero, 1, largest)) * goal
        rounded = from_rows(moved.T, w.shape, axes).astype(w.dtype)
        slack = _slack(matrix, w) + _narrowing(matrix, w) * (min(matrix.shape) ** 0.5 - 1)
        return jnp.where(jnp.abs(largest - goal) <= slack * goal, held(w, rounded), rounded)

    @partitioned()
    def lmo(self, direction: jax.Array) -> jax.Array:
        """Return a minimiser z of ⟨direction, z⟩ over the set.

        The set is {W : σ₁(W) = R} with R = radius · √(units / inputs), for a matrix W of shape (inputs, units). Let
        U S Vᵀ be the SVD of `direction` without singular values of 0. Then z = -R · U Vᵀ. If `direction` is 0, z is 0,
        which is not in the set.
        """
        if direction.size == 0:
            return direction
        axes = group_axes(direction.ndim, self.axis)
        matrix = to_rows(wide(direction), axes).T
        ends = -self._goal(matrix) * matrix_sign(matrix, self.fast)
        return from_rows(ends.T, direction.shape, axes).astype(direction.dtype)

    @partitioned()
    def tangent(self, w: jax.Array, direction: jax.Array) -> jax.Array:
        """Return the component of `direction` that is tangent to the constraint set at the point `w`.

        The component is D - ⟨Θ, D⟩ Θ, where D is `direction`. Θ = u₁ v₁ᵀ is the gradient of the spectral norm at `w`,
        with the first singular vectors u₁ and v₁ of `w`.
        """
        if w.size == 0:
            return direction
        axes = group_axes(w.ndim, self.axis)
        theta, u = leading(to_rows(w, axes)), to_rows(direction, axes)
        return from_rows(u - _product(theta, u) * theta, w.shape, axes)

    @partitioned()
    def tangent_lmo(self, w: jax.Array, direction: jax.Array) -> jax.Array:
        """Return the tangent vector z at `w` that minimises ⟨direction, z⟩ subject to σ₁(z) ≤ R.

        σ₁ is the largest singular value. R = radius · √(units / inputs) is the value of σ₁ for all weights in the set.
        With this limit, a step of learning_rate · z is at most learning_rate times as large as the weights.

        The result is z = -R · msign(direction + μ Θ). Here msign sets all nonzero singular values to 1. Θ = u₁ v₁ᵀ is
        the gradient of σ₁ at `w`, with the first singular vectors u₁ and v₁ of `w`. The number μ makes z tangent, which
        means orthogonal to Θ: f(μ) = ⟨Θ, msign(direction + μ Θ)⟩ = 0. Bisection finds μ, because f never decreases.

        If f jumps from below 0 to above 0 at μ, msign(direction + ν Θ) has two limits as ν approaches μ: one from
        below, one from above. Then msign(direction + μ Θ) is replaced by a point on the line between these two limits:
        the point that is orthogonal to Θ.
        """
        if w.size == 0:
            return direction
        axes = group_axes(w.ndim, self.axis)
        theta, x = (to_rows(array, axes).T for array in (w, direction))
        theta, norm = leading(theta), group_norms(x, (0, 1))
        ends = -self._goal(x) * _sign_across(x / jnp.where(norm > 0, norm, 1), theta, self.fast)
        return from_rows(ends.T, w.shape, axes)

    def _goal(self, matrix: jax.Array) -> jax.Array:
        inputs, units = matrix.shape
        limit = jnp.asarray(limit_of_groups(self.radius, matrix, (0, 1)), real_dtype(matrix))
        return limit.reshape(()) * (units / inputs) ** 0.5


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _sign_across(x: jax.Array, theta: jax.Array, fast: bool) -> jax.Array:
    """Return msign(x + μ Θ) for the μ at which it is orthogonal to Θ. `x` must have Frobenius norm 1."""
    return _sides(x, theta, fast)[0]


def _sides(x: jax.Array, theta: jax.Array, fast: bool) -> tuple[jax.Array, Any]:
    # The result, and for both sides of the root: μ, msign and its product with Θ.
    def step(mu: jax.Array) -> tuple[jax.Array, jax.Array]:
        sign = matrix_sign(x + mu * theta, fast)
        return sign, _product(theta, sign)

    def halve(_: int, between: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = between
        middle = (low + high) / 2
        above = step(middle)[1] > 0
        return jnp.where(above, low, middle), jnp.where(above, middle, high)

    # ‖x + μ Θ‖_* is convex in μ, at least |μ| - ‖x‖_*, and ‖x‖_* at 0. So its minimum is at |μ| ≤ 2 ‖x‖_*.
    end = jnp.full((), 2 * min(x.shape) ** 0.5, x.real.dtype)
    low, high = jax.lax.fori_loop(0, HALVINGS, halve, (-end, end))
    (below, less), (above, more) = step(low), step(high)
    share = jnp.where(more > less, jnp.clip(more / jnp.where(more > less, more - less, 1), 0, 1), 0.5)
    return share * below + (1 - share) * above, (share, (low, below, less), (high, above, more))


@_sign_across.defjvp
def _sign_across_jvp(fast: bool, primals: Any, tangents: Any) -> Any:
    # Implicit derivative. At a root f(μ) = ⟨Θ, msign(x + μ Θ)⟩ = 0. At a jump of f, a singular value of x + μ Θ is 0,
    # and the shares of both sides keep the result orthogonal to Θ.
    (x, theta), (dx, dtheta) = primals, tangents
    found, (share, low, high) = _sides(x, theta, fast)

    def along(side: Any, dmu: Any, dx: jax.Array, dtheta: jax.Array) -> tuple[jax.Array, jax.Array]:
        mu, sign, _ = side
        moved = jax.jvp(lambda a: matrix_sign(a, fast), (x + mu * theta,), (dx + dmu * theta + mu * dtheta,))[1]
        return moved, _product(theta, moved) + _product(dtheta, sign)

    jump = high[2] - low[2] > JUMP
    crossing = jnp.where(jump, high[1] - low[1], 0)  # 2 u vᵀ of the singular value that crosses 0
    rate = jnp.where(jump, _product(crossing, theta), along(low, 1.0, jnp.zeros_like(x), jnp.zeros_like(x))[1])
    off = jnp.where(jump, _product(crossing, dx + low[0] * dtheta), along(low, 0.0, dx, dtheta)[1])
    dmu = jnp.where(rate == 0, 0, -off / jnp.where(rate == 0, 1, rate))
    (below, less), (above, more) = (along(side, dmu, dx, dtheta) for side in (low, high))
    width = jnp.where(jump, high[2] - low[2], 1)
    dshare = jnp.where(jump, ((1 - share) * more + share * less) / width, 0)
    return found, share * below + (1 - share) * above + dshare * (low[1] - high[1])


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.sum(jnp.real(jnp.conj(a) * b))


@hyperparameters
class Orthonormal(Constraint):
    """Orthonormal columns: {W : Wᵀ W = I}. With fewer inputs than units, orthonormal rows: {W : W Wᵀ = I}.

    The projection is the polar factor of W: it sets all singular values to 1. If a singular value is 0, there are
    several nearest points, and the SVD picks one of them. With `fast`, a singular value of 0 stays 0. The set is not
    convex.

    Args:
        axis: Fan-in axes. Flattened, they index the rows of the matrix W, so each column of W has the weights of one
            unit. Default: every axis but the last.
        fast: If True, use matrix products instead of an SVD, for GPUs and TPUs. The error is at most 1e-5 if every
            singular value is at least a thousandth of the largest one. Smaller singular values grow, but may end
            below 1.

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
    matrix: ClassVar[bool] = True
    convex: ClassVar[bool] = False

    @partitioned()
    def __call__(self, w: jax.Array) -> jax.Array:
        """Return the nearest array in the set. If it equals `w` up to rounding, `w` is returned bit for bit."""
        if w.size == 0:
            return w
        axes = group_axes(w.ndim, self.axis)
        matrix = to_rows(wide(w), axes).T
        slack = _slack(matrix, w)
        if self.fast:
            nearest = polar_by_products(matrix)
            tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
            gram = jnp.matmul(adjoint(tall), tall, precision=jax.lax.Precision.HIGHEST)
            squares = gram - jnp.eye(len(gram), dtype=gram.dtype)
            off = jnp.linalg.norm(squares) / 2  # |σ² - 1| is 2 |σ - 1| near 1
            if matrix.dtype != w.dtype:
                off = norm_by_products(squares) / 2
                slack *= min(matrix.shape) ** 0.125
        else:
            nearest, off = polar(matrix)
        rounded = from_rows(nearest.T, w.shape, axes).astype(w.dtype)
        return jnp.where(off <= slack, held(w, rounded), rounded)

    @partitioned()
    def lmo(self, direction: jax.Array) -> jax.Array:
        """Return a minimiser z of ⟨direction, z⟩ over the set: the projection of -direction."""
        return self(-direction)

    @partitioned()
    def tangent(self, w: jax.Array, direction: jax.Array) -> jax.Array:
        """Return the component of `direction` that is tangent to the constraint set at the point `w`.

        For orthonormal columns, the component is D - W sym(Wᵀ D). Here D is `direction`, W is `w`, and
        sym(X) = (X + Xᵀ) / 2. For orthonormal rows, the formula is applied to the transposed matrices.
        """
        axes = group_axes(w.ndim, self.axis)
        x, u = (to_rows(array, axes) for array in (w, direction))
        tall = len(x) < x.shape[1]  # more inputs than units
        x, u = (x.T, u.T) if tall else (x, u)
        inner = jnp.matmul(adjoint(x), u, precision="highest")
        moved = u - jnp.matmul(x, (inner + adjoint(inner)) / 2, precision="highest")
        return from_rows(moved.T if tall else moved, w.shape, axes)

    def operator_bound(self, places: int) -> Number:
        """Return an upper bound on the operator norm of a layer that satisfies the constraint.

        The bound is √places. For a convolution, `places` is the number of positions that a filter covers, such as 9 for
        a 3 × 3 filter. For a dense layer, it is 1.
        """
        return places**0.5


@hyperparameters
class NuclearBall(Constraint):
    """Upper limit on the nuclear norm: {W : Σ σ_i ≤ radius}. This constraint gives weights of low rank.

    The nuclear norm is the sum of the singular values σ_i. If the sum exceeds `radius`, the projection lowers all
    singular values by the same amount, but not below 0. Their sum is then `radius`.

    Args:
        radius: Positive number: a float, an array or an Optax schedule.
        axis: Fan-in axes. Flattened, they index the rows of the matrix W, so each column of W has the weights of one
            unit. Default: every axis but the last.

    Raises:
        ValueError: If the radius is 0, negative, infinite or NaN.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> print(np.abs(np.asarray(jr.NuclearBall(2.0)(jnp.diag(jnp.array([3.0, 1.5]))))).round(4))
        [[1.75 0.  ]
         [0.   0.25]]

    Reference:
        Cai, Candès and Shen, A singular value thresholding algorithm for matrix completion, 2010; Jaggi, Revisiting
        Frank-Wolfe, 2013, for `lmo`.
    """

    radius: Number
    axis: Axis = static(default=None)
    matrix: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self, "radius", "(0, inf)")

    @partitioned()
    def __call__(self, w: jax.Array) -> jax.Array:
        """Return the nearest array in the set. An array already in the set is returned bit for bit."""
        if w.size == 0:
            return w
        axes = group_axes(w.ndim, self.axis)
        matrix = to_rows(wide(w), axes)
        radius = jnp.asarray(limit_of_groups(self.radius, matrix, (0, 1)), real_dtype(matrix))
        nearest, total = lowered(matrix, radius * self._share(w))
        inside = total <= radius
        return jnp.where(inside, w, from_rows(_with_room(nearest, radius, w), w.shape, axes).astype(w.dtype))

    @partitioned()
    def lmo(self, direction: jax.Array) -> jax.Array:
        """Return a minimiser z of ⟨direction, z⟩ over the set. The rank of z is at most 1.

        z is -radius · u₁ v₁ᵀ, where u₁ and v₁ are the first singular vectors of `direction`. If `direction` is 0, z
        is 0.
        """
        if direction.size == 0:
            return direction
        axes = group_axes(direction.ndim, self.axis)
        u, s, vt = jnp.linalg.svd(to_rows(wide(direction), axes), full_matrices=False)
        radius = jnp.asarray(as_wide(self.radius, u), real_dtype(u))
        end = -radius * self._share(direction) * jnp.where(s[0] == 0, 0, jnp.outer(u[:, 0], vt[0]))
        return from_rows(_with_room(end, radius, direction), direction.shape, axes).astype(direction.dtype)

    def operator_bound(self, places: int) -> Number:
        """Return an upper bound on the operator norm of a layer that satisfies the constraint.

        The bound is radius · √places. For a convolution, `places` is the number of positions that a filter covers, such
        as 9 for a 3 × 3 filter. For a dense layer, it is 1.
        """
        return self.radius * places**0.5

    def _share(self, w: jax.Array) -> float:
        # The rounding errors of an SVD and of the product.
        return 1 - 4 * rounding(wide(w), tuple(range(w.ndim)))


def _with_room(matrix: jax.Array, radius: jax.Array, w: jax.Array) -> jax.Array:
    # Shrink a matrix in the nuclear ball so that it is still there after a cast to the dtype of `w`. The cast adds
    # errors of at most half an ulp per entry. The nuclear norm of k singular values is at most √k Frobenius norms.
    if matrix.dtype == w.dtype:
        return matrix
    entries = jnp.linalg.norm(matrix) + tiny(w.dtype) * float(matrix.size) ** 0.5
    added = eps(w.dtype) / 2 * float(min(matrix.shape)) ** 0.5 * entries
    return matrix * jax.lax.stop_gradient(radius / (radius + added))


@hyperparameters
class SoftSpectralCap(Constraint):
    """Soft upper limit on the spectral norm. A polynomial shrinks large singular values.

    Every singular value σ becomes y + α y³, where y = σ - α σ³. The strength α is chosen so that `limit + step` becomes
    `limit`. Among the singular values of at most `limit + step`, larger ones shrink more than smaller ones. Singular
    values below the limit shrink too. The map is not a projection, although `jaxreg.project` applies it like one. It
    needs only matrix products, no SVD.

    If no optimiser step has a spectral norm above `step`, weights that start below the limit stay below the limit. Use
    Muon or `jaxreg.steepest` with `SpectralNorm`, whose steps have a known spectral norm.

    Singular values above 2.8 · `limit` can grow. If initial weights have such large singular values, project these
    weights first with `jaxreg.projected` and `SpectralNorm`.

    Args:
        limit: Positive number: a float, an array or an Optax schedule.
        step: Largest spectral norm of one optimiser step, above 0 and at most `limit / 4`. With
            `jaxreg.steepest(SpectralNorm(r))`, it is the learning rate times r. Larger steps could change the order of
            the singular values.
        axis: Fan-in axes. Flattened, they index the rows of the matrix W, so each column of W has the weights of one
            unit. Default: every axis but the last.

    Raises:
        ValueError: If `limit` or `step` is 0, negative, infinite or NaN, or if `step` is more than `limit / 4`.

    Example:
        In this example, α is 0.159. The polynomial maps 1.1 to 1, and 0.9 to 0.8608.

        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> w = jnp.diag(jnp.array([1.1, 0.9, 0.1]))
        >>> print(np.diag(jr.SoftSpectralCap(1.0, step=0.1)(w)).round(4))
        [1.     0.8608 0.1   ]

    Reference:
        Newhouse et al., Training transformers with enforced Lipschitz constants, 2025.
    """

    limit: Number
    step: Number
    axis: Axis = static(default=None)
    matrix: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self, "limit", "(0, inf)")
        check(self, "step", "(0, inf)")
        if known(self.limit, self.step) and np.any(4 * np.asarray(self.step) > np.asarray(self.limit)):
            raise ValueError(
                f"SoftSpectralCap: step is {self.step} and limit is {self.limit}; expected step to be at most "
                "a quarter of the limit. Lower step together with the learning rate that it is computed from, or use "
                "SpectralNorm"
            )

    @partitioned()
    def __call__(self, w: jax.Array) -> jax.Array:
        """Return `w` with its large singular values shrunk, in the shape and dtype of `w`."""
        if w.size == 0:
            return w
        axes = group_axes(w.ndim, self.axis)
        rows = to_rows(wide(w), axes)
        x = rows if len(rows) <= rows.shape[1] else rows.T
        for sign in (-1, 1):
            x = x + sign * self.strength * jnp.matmul(
                jnp.matmul(x, adjoint(x), precision="highest"), x, precision="highest"
            )
        bent = x if len(rows) <= rows.shape[1] else x.T
        return from_rows(bent, w.shape, axes).astype(w.dtype)

    @property
    def strength(self) -> jax.Array:
        """Strength α of the soft limit. With this α, a singular value of `limit + step` becomes `limit`.

        A singular value σ becomes y + α y³, where y = σ - α σ³. α is s / (limit + step)². Here s in [0, 1] solves
        (1 - s) (1 + s (1 - s)²) = limit / (limit + step).
        """
        far = jnp.asarray(self.limit + self.step, jnp.result_type(float))
        share = self.limit / far

        def halve(_: int, between: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            low, high = between
            s = (low + high) / 2
            above = (1 - s) * (1 + s * (1 - s) ** 2) > share  # falls from 1 to 0
            return jnp.where(above, s, low), jnp.where(above, high, s)

        ends = jnp.zeros_like(far), jnp.ones_like(far)
        # The upper end, so that it shrinks enough. Bisection has no derivative, so that of the root is added.
        s = jax.lax.stop_gradient(jax.lax.fori_loop(0, HALVINGS, halve, ends)[1])
        slope = (1 - s) ** 3 - 3 * s * (1 - s) ** 2 - 1
        return (s + (share - jax.lax.stop_gradient(share)) / slope) / far**2


@hyperparameters
class PositiveSemidefinite(Constraint):
    """Symmetric matrices without negative eigenvalues: {W : W = Wᵀ, xᵀ W x ≥ 0 for all x}.

    The projection sets the negative eigenvalues of (W + Wᵀ) / 2 to 0. The constraint is for kernels with as many inputs
    as units, such as covariances and metrics. Complex matrices become Hermitian. Up to rounding, the result lies in the
    set.

    Args:
        axis: Fan-in axes, which contain the weights of one unit. Default: every axis but the last.

    Raises:
        ValueError: When called, if the number of inputs is not the number of units.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> print(np.asarray(jr.PositiveSemidefinite()(jnp.array([[0.0, 3.0], [1.0, 0.0]]))).round(4))
        [[1. 1.]
         [1. 1.]]

    Reference:
        Higham, Computing a nearest symmetric positive semidefinite matrix, 1988.
    """

    axis: Axis = static(default=None)
    matrix: ClassVar[bool] = True

    @partitioned()
    def __call__(self, w: jax.Array) -> jax.Array:
        """Return the nearest array in the set. An array already in it, up to rounding, is returned bit for bit."""
        axes = group_axes(w.ndim, self.axis)
        matrix = to_rows(wide(w), axes)
        if len(matrix) != matrix.shape[1]:
            raise ValueError(
                f"PositiveSemidefinite: the weights of shape {w.shape} form a matrix of {matrix.shape[1]} inputs and "
                f"{len(matrix)} units; expected as many inputs as units"
            )
        if w.size == 0:
            return w
        symmetric = (matrix + adjoint(matrix)) / 2
        signs, _ = polar(symmetric)  # with them, |W| = W · signs is differentiable where eigenvalues coincide
        sizes = jnp.matmul(symmetric, signs, precision="highest")
        nearest = (symmetric + (sizes + adjoint(sizes)) / 2) / 2
        scale = jnp.maximum(jnp.max(jnp.abs(matrix)), tiny(real_dtype(matrix)))
        moved, size = (jnp.linalg.norm(part / scale) for part in (matrix - nearest, matrix))
        inside = (moved <= 4 * _slack(matrix, w) * size) & jnp.all(matrix == adjoint(matrix))
        return jnp.where(inside, w, from_rows(nearest, w.shape, axes).astype(w.dtype))
