"""Constraints by linear equations and inequalities on each group: hyperplane, half-space and affine set.

The projection onto {w : ⟨a, w⟩ = b} moves w along a by (b - ⟨a, w⟩) / ‖a‖. Coefficients and offset are first multiplied
by the same power of 2. So squares of coefficients neither overflow nor underflow.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._checks import check, refuse_complex
from jaxreg._groups import from_rows, group_axes, group_size, per_row, rounding, to_rows
from jaxreg._hyperparameters import Axis, Number, hyperparameters, known, static
from jaxreg._precision import beside, held, real_dtype, wide
from jaxreg._protocols import Constraint
from jaxreg._sharding import partitioned
from jaxreg.constraints._sums import tolerance_of_sums

ROUNDS = 3
"""Number of successive projections. Each one reduces the rounding error of the previous one."""


@hyperparameters
class Hyperplane(Constraint):
    """Fixed weighted sum of each group w_j: ⟨normal, w_j⟩ = offset. Weights are projected along the normal.

    By default, each group w_j consists of the incoming weights of one unit. With a normal of ones, the set equals that
    of `SumTo`. For bounds in addition to the sum, use `Intersection(Hyperplane(normal, offset), Box(low, high))`. Its
    projection is exact.

    Args:
        normal: Finite coefficients, not all 0. An array of shape (n,) has one coefficient per weight of a group. A
            group of several axes is flattened in row-major order, with the axes in the order of `axis`. An array of the
            shape of the weights gives each group its own coefficients.
        offset: Finite number: a float, an array with one number per group, or an Optax schedule.
        axis: Axes that one weighted sum covers. Default: the fan-in axes, one sum per unit. If the constraint is called
            with a vector, the default is one sum of the whole vector.

    Raises:
        ValueError: If the normal is 0, or a number is infinite or NaN. When called, if the normal has neither the shape
            (n,) nor the shape of the weights.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> print(jr.Hyperplane(jnp.array([1.0, 2.0]), 0.0)(jnp.array([1.0, 7.0])))
        [-2.  1.]

    Reference:
        JAXopt `projection_hyperplane`, for one vector.
    """

    normal: Number
    offset: Number
    axis: Axis = static(default=None)

    def __post_init__(self) -> None:
        _check_normal(self)

    @partitioned()
    def __call__(self, w: jax.Array) -> jax.Array:
        """Return the nearest array in the set. Groups in the set up to rounding are returned bit for bit."""
        if w.size == 0:
            return w
        axes = group_axes(w.ndim, self.axis)
        x = to_rows(wide(w), axes)
        a, offsets = plane(self.normal, self.offset, w, axes)
        off = jnp.abs(_inner(a, x) - offsets)
        sizes = jnp.sum(jnp.abs(a * x), axis=1, keepdims=True)
        own, nearest = to_rows(w, axes), _onto(x, a, offsets).astype(w.dtype)
        rows = jnp.where(off <= tolerance_of_sums(sizes, x.shape[1], w, axes), held(own, nearest), nearest)
        return from_rows(rows, w.shape, axes)

    def weighted_sum(self) -> tuple[Number, Number]:
        """Return (normal, offset): the coefficients of the weighted sum of each group, and its required value."""
        return self.normal, self.offset


@hyperparameters
class HalfSpace(Constraint):
    """Upper limit on a weighted sum of each group w_j: {w : ⟨normal, w_j⟩ ≤ offset}.

    By default, each group w_j consists of the incoming weights of one unit. For a lower limit, change the signs of
    `normal` and `offset`. An `Intersection` of several half-spaces is a polyhedron. The limit holds up to the rounding
    of the weights.

    Args:
        normal: Finite coefficients, not all 0. An array of shape (n,) has one coefficient per weight of a group. A
            group of several axes is flattened in row-major order, with the axes in the order of `axis`. An array of the
            shape of the weights gives each group its own coefficients.
        offset: Finite number: a float, an array with one number per group, or an Optax schedule.
        axis: Axes that one weighted sum covers. Default: the fan-in axes, one sum per unit. If the constraint is called
            with a vector, the default is one sum of the whole vector.

    Raises:
        ValueError: If the normal is 0, or a number is infinite or NaN. When called, if the normal has neither the shape
            (n,) nor the shape of the weights.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> print(np.asarray(jr.HalfSpace(jnp.array([1.0, 2.0]), 0.0)(jnp.array([[1.0, 1.0], [7.0, -7.0]]))).round(5))
        [[-2.  1.]
         [ 1. -7.]]

    Reference:
        JAXopt `projection_halfspace`, for one vector.
    """

    normal: Number
    offset: Number
    axis: Axis = static(default=None)

    def __post_init__(self) -> None:
        _check_normal(self)

    @partitioned()
    def __call__(self, w: jax.Array) -> jax.Array:
        """Return the nearest array in the set. Groups already in the set are returned bit for bit."""
        refuse_complex(self, w)
        if w.size == 0:
            return w
        axes = group_axes(w.ndim, self.axis)
        x = to_rows(wide(w), axes)
        a, offsets = plane(self.normal, self.offset, w, axes)
        outside = _inner(a, x) > offsets
        sizes = jnp.sum(jnp.abs(a * jax.lax.stop_gradient(_onto(x, a, offsets))), axis=1, keepdims=True)
        inner = offsets - 2 * sizes * rounding(x, (1,))  # the sum of the result may round upwards
        nearest = _downwards(_onto(x, a, inner), a, w.dtype)
        return from_rows(jnp.where(outside, nearest, to_rows(w, axes)), w.shape, axes)

    def needs_order(self) -> bool:
        """Return True: complex weights are rejected, because a complex sum cannot be compared with the offset."""
        return True


@hyperparameters
class Affine(Constraint):
    """Linear equations for each group of weights w_j: {w : A w_j = target} with a matrix A.

    By default, each group w_j consists of the incoming weights of one unit. The projection is w_j - A⁺ (A w_j - target)
    with the pseudoinverse A⁺ of A. So the equations may be linearly dependent.

    Args:
        coefficients: The matrix A of shape (k, n), with finite entries: one row per equation, and one column per weight
            of a group. A group of several axes is flattened in row-major order, with the axes in the order of `axis`.
        target: Finite right sides of the equations: one number, or an array of shape (k,). An array of shape
            (k, groups) gives each group its own right sides. An Optax schedule is allowed too.
        axis: Axes of one group. Default: the fan-in axes, one group per unit. If the constraint is called with a
            vector, the default is one group: the whole vector.

    Raises:
        ValueError: If `coefficients` is not a matrix, a number is infinite or NaN, or no weights satisfy all equations.
            Traced numbers are not checked. When called, if the number of columns is not the number of weights of a
            group.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> centred = jr.Affine(jnp.array([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0]]), 0.0)  # mean 0 and slope 0
        >>> print(np.asarray(centred(jnp.array([3.0, 0.0, 0.0]))).round(5))
        [ 0.5 -1.   0.5]

    Reference:
        JAXopt `projection_affine_set`, for one vector and independent equations.
    """

    coefficients: Number
    target: Number
    axis: Axis = static(default=None)

    def __post_init__(self) -> None:
        check(self, "coefficients", "(-inf, inf)")
        check(self, "target", "(-inf, inf)")
        if np.ndim(self.coefficients) != 2:
            raise ValueError(
                f"Affine: coefficients have shape {np.shape(self.coefficients)}; expected a matrix with one row per "
                "equation and one column per weight of a group. For a single equation, use Hyperplane"
            )
        count, given = len(self.coefficients), np.shape(self.target)
        if given and given[0] != count:
            raise ValueError(
                f"Affine: target has shape {given} for {count} equations; expected one number, or an array whose "
                f"first axis has length {count}"
            )
        if known(self.coefficients, self.target):
            target = np.asarray(self.target, float)
            if not solvable(np.asarray(self.coefficients, float), target if given else np.full(count, target)):
                raise ValueError(
                    f"Affine: no weights satisfy all {count} equations; expected equations with a common solution. "
                    "Change the target, or remove an equation that contradicts the others"
                )

    @partitioned()
    def __call__(self, w: jax.Array) -> jax.Array:
        """Return the nearest array in the set. Groups in the set up to rounding are returned bit for bit."""
        if w.size == 0:
            return w
        axes = group_axes(w.ndim, self.axis)
        x = to_rows(wide(w), axes)
        a, targets = self._scaled(w, axes)
        inverse = jnp.linalg.pinv(a).astype(x.dtype)

        def residual(y: jax.Array) -> jax.Array:
            return jnp.matmul(y, a.T.astype(y.dtype), precision="highest") - targets

        y = x
        for _ in range(ROUNDS):
            y = y - jnp.matmul(residual(y), inverse.T, precision="highest")
        sizes = jnp.matmul(jnp.abs(x), jnp.abs(a).T, precision="highest")
        off = jnp.abs(residual(x)) <= tolerance_of_sums(sizes, x.shape[1], w, axes)
        inside = jnp.all(off, axis=1, keepdims=True)
        own, nearest = to_rows(w, axes), y.astype(w.dtype)
        return from_rows(jnp.where(inside, held(own, nearest), nearest), w.shape, axes)

    def equations(self) -> tuple[Number, Number]:
        """Return (coefficients, target) of the equations A w_j = target, which hold for every group w_j of weights.

        The coefficients are the matrix A, with one row per equation. The target has the form in which it was passed.
        """
        return self.coefficients, self.target

    def _scaled(self, w: jax.Array, axes: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
        # The matrix and the right sides of each group, of shape (groups, k). Rows of any size count alike.
        a = jnp.asarray(self.coefficients, real_dtype(wide(w)))
        if a.shape[1] != group_size(w.shape, axes):
            raise ValueError(
                f"Affine: coefficients have shape {a.shape} for weights of shape {w.shape} whose groups span the axes "
                f"{axes}; expected {group_size(w.shape, axes)} columns, one per weight of a group"
            )
        sides = [self.target[i] if np.ndim(self.target) else self.target for i in range(len(a))]
        each = [per_row(side, wide(w), axes) for side in sides]
        scale = _scale(a)
        return a * scale, jnp.concatenate(each, axis=1) * scale.T


def plane(normal: Number, offset: Number, w: jax.Array, axes: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Return the normal as a matrix, and the offset as a column with one number per group.

    The matrix has one row per group, or a single row for all groups. Each row and its offset are multiplied by a power
    of 2, so that the largest coefficient of the row is between 1/2 and 1.

    Raises:
        ValueError: If the normal has neither one coefficient per weight of a group nor the shape of the weights.
    """
    count = group_size(w.shape, axes)
    a = jnp.asarray(normal, real_dtype(wide(w)))
    if a.shape not in {(count,), w.shape}:
        raise ValueError(
            f"the normal has shape {a.shape} for weights of shape {w.shape} whose groups span the axes {axes}; "
            f"expected shape ({count},) with one coefficient per weight of a group, or the shape of the weights"
        )
    rows = a[None] if a.shape == (count,) else to_rows(a, axes)
    scale = _scale(rows)
    return rows * scale, per_row(offset, wide(w), axes) * scale


def _scale(rows: jax.Array) -> jax.Array:
    # A power of 2 per row.
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(rows), axis=1, keepdims=True))
    largest = jnp.where(largest > 0, largest, 1)
    return jnp.frexp(largest)[0] / largest


def _inner(a: jax.Array, x: jax.Array) -> jax.Array:
    return jnp.sum(a * x, axis=1, keepdims=True)


def _onto(x: jax.Array, a: jax.Array, offsets: jax.Array) -> jax.Array:
    # A row of `a` that is 0 leaves its group unchanged.
    squares = jnp.sum(jnp.square(a), axis=1, keepdims=True)
    along = a / jnp.where(squares > 0, squares, 1)
    y = x
    for _ in range(ROUNDS):
        y = y - along * (_inner(a, y) - offsets)
    return y


def _downwards(x: jax.Array, a: jax.Array, dtype: Any) -> jax.Array:
    # Cast so that ⟨a, x⟩ does not grow.
    rounded = x.astype(dtype)
    if rounded.dtype == x.dtype:
        return rounded
    sign = jnp.sign(a)
    goal = jnp.broadcast_to(jnp.where(a > 0, -jnp.inf, jnp.inf).astype(dtype), rounded.shape)
    return jnp.where(sign * rounded.astype(x.dtype) > sign * x, beside(rounded, goal), rounded)


def _check_normal(owner: Any) -> None:
    check(owner, "normal", "(-inf, inf)")
    check(owner, "offset", "(-inf, inf)")
    if known(owner.normal) and not np.any(np.asarray(owner.normal)):
        raise ValueError(
            f"{type(owner).__name__}: the normal is 0, so the weighted sum is 0 for all weights; expected at least one "
            "coefficient other than 0"
        )


def solvable(coefficients: np.ndarray, target: np.ndarray, tolerance: float = 1e-5) -> bool:
    """Return whether the equations have a common solution, up to rounding.

    Args:
        coefficients: One row per equation.
        target: Right sides, of shape (k,) or (k, groups). With (k, groups), each group has its own right sides.
        tolerance: Largest allowed error, relative to the largest right side, or to 1 if all right sides are smaller.
    """
    sizes = np.max(np.abs(coefficients), axis=1, keepdims=True, initial=0)
    rows, sides = (part / np.where(sizes > 0, sizes, 1) for part in (coefficients, target.reshape(len(target), -1)))
    left = rows @ (np.linalg.pinv(rows, rcond=1e-6) @ sides) - sides
    return bool(np.all(np.abs(left) <= tolerance * np.maximum(np.max(np.abs(sides), initial=0), 1)))
