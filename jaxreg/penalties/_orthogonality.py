"""Penalty on the distance of a kernel from a matrix with orthonormal columns."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from jaxreg._checks import check
from jaxreg._complex import adjoint, squares
from jaxreg._groups import group_axes, to_rows
from jaxreg._hyperparameters import Axis, Number, hyperparameters, static
from jaxreg._precision import as_wide, real_dtype, wide
from jaxreg._protocols import Cost, Penalty
from jaxreg._sharding import partitioned


@hyperparameters
class Orthogonal(Penalty):
    """Deviation of the columns from orthonormality: strength · ‖WᵀW - I‖² = strength · Σ (σ_i² - 1)².

    The σ_i are the singular values of the kernel W. A matrix with more columns than rows cannot have orthonormal
    columns. So the rows of such a matrix are penalised instead, by strength · ‖WWᵀ - I‖², which can reach 0. The two
    formulas differ by a constant, so both have the same gradient with respect to W.

    The penalty is not convex and has no proximal step. For Keras's formula see `jaxreg.keras.OrthogonalRegularizer`.

    Args:
        strength: Non-negative number: a float, an array or an Optax schedule.
        axis: Fan-in axes, which contain the weights of one unit (a column of W). Default: every axis but the last.

    Raises:
        ValueError: If the strength is negative, infinite or NaN, or an axis is out of range for the array.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> print(jr.Orthogonal(0.5)(jnp.eye(3)), jr.Orthogonal(0.5)(2 * jnp.eye(3, 2)))
        0.0 9.0

    Reference:
        Brock et al., Neural photo editing with introspective adversarial networks, 2017; Bansal, Chen and Wang, Can we
        gain more from orthogonality regularizations in training deep networks?, 2018.
    """

    strength: Number
    axis: Axis = static(default=None)
    matrix: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self, "strength", "[0, inf)")

    @partitioned(number=True)
    def __call__(self, w: jax.Array) -> Cost:
        """Return the cost of `w`, a scalar."""
        x = wide(w)
        if not x.size:
            return as_wide(self.strength, x) * jnp.zeros((), real_dtype(x))
        rows = to_rows(x, group_axes(w.ndim, self.axis))
        flat = rows if len(rows) <= rows.shape[1] else rows.T
        gram = jnp.matmul(flat, adjoint(flat), precision="highest")
        return as_wide(self.strength, x) * jnp.sum(squares(gram - jnp.eye(len(flat), dtype=x.dtype)))
