"""Constraints that count: how many weights of a group may be other than 0. The largest stay as they are.

Sets that are not convex: unions of subspaces. A weight at 0 still gets its gradient, and comes back once a step would
make it one of the largest.
"""

import operator
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from jaxreg._checks import check
from jaxreg._groups import from_rows, group_axes, group_size, per_row, to_rows
from jaxreg._hyperparameters import Axis, Number, hyperparameters, static
from jaxreg._precision import wide
from jaxreg._protocols import Constraint
from jaxreg._sharding import partitioned


def _sizes(rows: jax.Array) -> jax.Array:
    # Compared as integers, whose order is theirs: processors may take subnormal numbers for 0.
    sizes = jnp.abs(jax.lax.stop_gradient(rows))
    return jax.lax.bitcast_convert_type(sizes, f"int{8 * sizes.dtype.itemsize}")


def _kept_of_rows(rows: jax.Array, count: jax.Array) -> jax.Array:
    # Whether each is one of the `count` largest of its row, the first of equal ones, or 0 already. The smallest that
    # stays is found bit by bit, and where there are more of its size than room so is their last place: passes over the
    # weights, which take 0.16 ms for 64 x 128 of them where a sort takes 0.4.
    sizes, size = _sizes(rows), rows.shape[1]
    bits = 8 * sizes.dtype.itemsize - 1
    places = jax.lax.broadcasted_iota(jnp.int32, sizes.shape, 1)

    def number(these: jax.Array) -> jax.Array:
        return jnp.sum(these, axis=1, keepdims=True, dtype=jnp.int32)

    least = _largest(lambda least: number(sizes >= least) >= count, bits, jnp.zeros_like(sizes[:, :1]))
    above, equal = sizes > least, sizes == least
    room = count - number(above)
    tied = jnp.any(number(equal) > room)
    steps = jnp.where(tied, size.bit_length(), 0)
    end = _largest(lambda end: number(equal & (places < end)) <= room, steps, jnp.zeros_like(room))
    return above | (equal & (places < jnp.where(tied, end, size))) | (sizes == 0)


def _largest(holds: Callable[[jax.Array], jax.Array], bits: Any, zeros: jax.Array) -> jax.Array:
    # The largest numbers of so many bits for which it holds, as it does for all below them and for 0.
    def set_bit(i: jax.Array, found: jax.Array) -> jax.Array:
        higher = found | (jnp.ones_like(found) << (bits - 1 - i).astype(found.dtype))
        return jnp.where(holds(higher), higher, found)

    return jax.lax.fori_loop(0, bits, set_bit, zeros)


@hyperparameters
class Sparse(Constraint):
    """A share of each group's weights is 0: {w : at least sparsity · n of n weights of w_j are 0}; the largest stay.

    Magnitude pruning in every step. With a schedule that rises, weights go bit by bit while the others adapt. It takes
    some thirty passes over the weights: for large ones, `jaxreg.project(rules, every=10)`.

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
    convex: ClassVar[bool] = False
    cone: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check(self, "sparsity", "[0, 1]")

    @partitioned()
    def __call__(self, w: jax.Array) -> jax.Array:
        """Return the nearest array in the set; `w` itself, bit for bit, where it is in it."""
        if w.size == 0:
            return w
        axes = group_axes(w.ndim, self.axis)
        rows = to_rows(w, axes)
        zeros = jnp.rint(per_row(self.sparsity, wide(w), axes) * rows.shape[1]).astype(jnp.int32)
        return jnp.where(from_rows(_kept_of_rows(rows, rows.shape[1] - zeros), w.shape, axes), w, 0)


@hyperparameters
class NMSparse(Constraint):
    """At most `n` of each `m` weights in a row are not 0 (N:M sparsity); the largest stay.

    2:4 is what the sparse tensor cores of GPUs compute with. The weights of a group are cut into runs of `m` in their
    order in the array, along the last of the named axes first.

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
    convex: ClassVar[bool] = False
    cone: ClassVar[bool] = True

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
        """Return the nearest array in the set; `w` itself, bit for bit, where it is in it."""
        axes = group_axes(w.ndim, self.axis)
        size = group_size(w.shape, axes)
        if size % self.m:
            raise ValueError(
                f"NMSparse: weights of shape {w.shape} have {size} in a group over the axes {axes}; expected a "
                f"multiple of m = {self.m}: leave this array out of the rules, or choose another axis"
            )
        if w.size == 0:
            return w
        sizes = _sizes(to_rows(w, axes)).reshape(-1, self.m)
        mine, others = sizes[:, :, None], sizes[:, None, :]
        places = jnp.arange(self.m)
        larger, tied, own = others > mine, others == mine, places[:, None]
        ahead = larger | (tied & jnp.expand_dims(jnp.expand_dims(places, 0) < own, 0))
        kept = (jnp.sum(ahead, axis=2, dtype=jnp.int32) < self.n) | (sizes == 0)
        return jnp.where(from_rows(kept.reshape(-1, size), w.shape, axes), w, 0)
