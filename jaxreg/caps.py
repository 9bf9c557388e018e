"""A soft cap on singular values by matrix products alone: small ones stay nearly as they are, large ones are held."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg.groups import Axis, from_rows, group_axes, to_rows
from jaxreg.objects import Number, check, hyperparameters, known, partitioned, static, wide

HALVINGS = 40
"""Of the interval that holds the strength, to beyond the precision of float32."""


@hyperparameters
class SoftSpectralCap:
    """Largest singular value at most `limit` after every step, softly: σ ← y + α y³ with y = σ - α σ³.

    A map for `jaxreg.project` that is no projection: it costs two products of matrices and no SVD, and bends singular
    values the more the larger they are. α is such that weights of norm `limit` that a step has taken to
    `limit` + `step` come back to `limit`. So if no step is longer than `step` in spectral norm, as Muon's and those of
    `jaxreg.steepest` with `SpectralNorm` are, weights that start under the limit stay under it. Singular values beyond
    2.8 limits would grow: bring a start in by `jaxreg.projected` with `SpectralNorm` first.

    Args:
        limit: Number above 0; a float, an array or an Optax schedule.
        step: The largest singular value that one step may have: learning rate times the limit of `steepest`; above 0
            and at most a quarter of `limit`, for beyond that larger singular values would end under smaller ones.
        axis: The incoming axes, the rows of the matrix; by default every axis but the last.

    Raises:
        ValueError: If a number is 0, negative, infinite or NaN, or the step is more than a quarter of the limit.

    Example:
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
    whole: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self, "limit", above=True)
        check(self, "step", above=True)
        if known(self.limit, self.step) and np.any(4 * np.asarray(self.step) > np.asarray(self.limit)):
            raise ValueError(
                f"SoftSpectralCap: step is {self.step} and limit is {self.limit}; expected a step of at most a quarter "
                "of the limit: lower the learning rate, or use SpectralNorm"
            )

    @partitioned()
    def __call__(self, w: jax.Array) -> jax.Array:
        """`w` with bent singular values, in its shape and dtype."""
        if w.size == 0:
            return w
        axes = group_axes(w.ndim, self.axis)
        rows = to_rows(wide(w), axes)
        x = rows if len(rows) <= rows.shape[1] else rows.T
        for sign in (-1, 1):
            x = x + sign * self.strength * jnp.matmul(jnp.matmul(x, x.T, precision="highest"), x, precision="highest")
        bent = x if len(rows) <= rows.shape[1] else x.T
        return from_rows(bent, w.shape, axes).astype(w.dtype)

    @property
    def strength(self) -> jax.Array:
        """α: with s = α (limit + step)², the root of (1 - s) (1 + s (1 - s)²) = limit / (limit + step) in [0, 1]."""
        far = jnp.asarray(self.limit + self.step, jnp.result_type(float))
        share = self.limit / far

        def halve(_: int, between: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            low, high = between
            s = (low + high) / 2
            above = (1 - s) * (1 + s * (1 - s) ** 2) > share  # falls from 1 to 0
            return jnp.where(above, s, low), jnp.where(above, high, s)

        ends = jnp.zeros_like(far), jnp.ones_like(far)
        # The upper end: rather too much than too little.
        return jax.lax.fori_loop(0, HALVINGS, halve, ends)[1] / far**2
