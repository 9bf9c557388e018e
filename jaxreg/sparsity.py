"""Constraints that count: how many weights of a group may be other than 0. The largest stay as they are.

Sets that are not convex: unions of subspaces. A weight at 0 still gets its gradient, and comes back once a step would
make it one of the largest.
"""

import operator

import jax
import jax.numpy as jnp

from jaxreg.groups import Axis, from_rows, group_axes, group_size, per_row, to_rows
from jaxreg.objects import Number, check, hyperparameters, partitioned, static, wide


def _kept_of_rows(rows: jax.Array, count: jax.Array) -> jax.Array:
    # Whether each is one of the `count` largest of its row, the first ones among equals, or 0 already. Sizes are
    # compared as integers, whose order is theirs: processors may take subnormal numbers for 0.
    sizes = jax.lax.bitcast_convert_type(jnp.abs(jax.lax.stop_gradient(rows)), f"int{8 * rows.dtype.itemsize}")
    falling = jnp.sort(sizes, axis=1, descending=True)
    place = jnp.clip(count - 1, 0, rows.shape[1] - 1)
    least = jnp.where(count > 0, jnp.take_along_axis(falling, place, axis=1), 2 ** (8 * sizes.dtype.itemsize - 1) - 1)
    above, equal = sizes > least, sizes == least
    room = count - jnp.sum(above, axis=1, keepdims=True, dtype=jnp.int32)
    first = equal & (jnp.cumsum(equal, axis=1, dtype=jnp.int32) <= room)
    return above | first | (sizes == 0)


@hyperparameters
class Sparse:
    """A share of each group's weights is 0: {w : at least sparsity · n of n weights of w_j are 0}; the largest stay.

    Magnitude pruning in every step. With a schedule that rises, weights go bit by bit while the others adapt.

    Args:
        sparsity: Number from 0 to 1; a float, an array (one for all groups, or one a group) or an Optax schedule. The
            number of zeros is rounded to the nearest whole number, halves to the even one.
        axis: Axes of one group; by default those of the incoming weights of one unit, so that no unit loses more of
            them than another. All axes of an array, as (0, 1), compare all of its weights.

    Raises:
        ValueError: If the sparsity is negative, above 1 or NaN, or an axis is not one of the array's.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> print(jr.Sparse(0.5)(jnp.array([0.5, -2.0, 1.0, 0.0])))
        [ 0. -2.  1.  0.]

    Reference:
        Zhu and Gupta, To prune, or not to prune: exploring the efficacy of pruning for model compression, 2017, for
        sparsity 1 - (1 - t)³ (`optax.polynomial_schedule` of power 3); Blumensath and Davies, Iterative hard
        thresholding for compressed sensing, 2009.
    """

    sparsity: Number
    axis: Axis = static(default=None)

    def __post_init__(self) -> None:
        check(self, "sparsity", high=1.0)

    @partitioned()
    def __call__(self, w: jax.Array) -> jax.Array:
        """The nearest array in the set; `w` itself, bit for bit, where it is in it."""
        if w.size == 0:
            return w
        axes = group_axes(w.ndim, self.axis)
        rows = to_rows(w, axes)
        zeros = jnp.rint(per_row(self.sparsity, wide(w), axes) * rows.shape[1]).astype(jnp.int32)
        return jnp.where(from_rows(_kept_of_rows(rows, rows.shape[1] - zeros), w.shape, axes), w, 0)


@hyperparameters
class NMSparse:
    """At most `n` of each `m` weights in a row are not 0 (N:M sparsity); the largest stay.

    2:4 is what the sparse tensor cores of GPUs compute with. The weights of a group are cut into runs of `m` in their
    order in the array.

    Args:
        n: How many of a run may be other than 0, from 0 to `m`.
        m: Length of a run, a divisor of the number of weights in a group.
        axis: Axes of one group; by default those of the incoming weights of one unit. Name the axis of the inputs alone
            where it is not the last of those: in convolutions of Equinox and PyTorch it is 1.

    Raises:
        TypeError: If `n` or `m` is no whole number.
        ValueError: If they are out of range, an axis is not one of the array's, or `m` does not divide its groups.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> print(jr.NMSparse(2, 4)(jnp.array([3.0, -1.0, 2.0, 0.5, 0.1, 0.2, -0.4, 0.3])))
        [ 3.   0.   2.   0.   0.   0.  -0.4  0.3]

    Reference:
        Zhou et al., Learning N:M fine-grained structured sparse neural networks from scratch, 2021; Mishra et al.,
        Accelerating sparse deep neural networks, 2021 (2:4).
    """

    n: int = static()
    m: int = static()
    axis: Axis = static(default=None)

    def __post_init__(self) -> None:
        for name in ("n", "m"):
            try:
                object.__setattr__(self, name, operator.index(getattr(self, name)))
            except TypeError:
                raise TypeError(
                    f"NMSparse: {name} is {getattr(self, name)!r}; expected a whole number, as in NMSparse(2, 4)"
                ) from None
        if not 0 <= self.n <= self.m or self.m < 1:
            raise ValueError(
                f"NMSparse: n is {self.n} and m is {self.m}; expected m of at least 1 and n from 0 to m, as in "
                "NMSparse(2, 4)"
            )

    @partitioned()
    def __call__(self, w: jax.Array) -> jax.Array:
        """The nearest array in the set; `w` itself, bit for bit, where it is in it."""
        axes = group_axes(w.ndim, self.axis)
        size = group_size(w.shape, axes)
        if size % self.m:
            raise ValueError(
                f"NMSparse: weights of shape {w.shape} have {size} in a group over the axes {axes}; expected a "
                f"multiple of m = {self.m}: leave this array out of the rules, or choose another axis"
            )
        if w.size == 0:
            return w
        kept = _kept_of_rows(to_rows(w, axes).reshape(-1, self.m), jnp.full((1, 1), self.n))
        return jnp.where(from_rows(kept.reshape(-1, size), w.shape, axes), w, 0)
