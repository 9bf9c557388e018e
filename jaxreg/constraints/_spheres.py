"""Constraints on the norm of a whole array, and on the joint norm of several arrays."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from jaxreg._checks import check
from jaxreg._groups import group_norms, limit_of_groups, rounding
from jaxreg._hyperparameters import Number, hyperparameters
from jaxreg._precision import eps, held, wide
from jaxreg._protocols import Constraint
from jaxreg.constraints._norms import MinMaxNorm, off_radius, turned, turned_groups


@hyperparameters
class FrobeniusSphere(Constraint):
    """Fixed Frobenius norm of a layer's weights: {W : ‖W‖_F = radius}, projected by W · radius / ‖W‖_F.

    In a stack of layers, each layer is projected onto its own sphere. An array of zeros has no direction, so all its
    weights get the same value.

    Args:
        radius: Positive number: a float, an Optax schedule or an array. For a stack of layers, the array may hold one
            number per layer.

    Raises:
        ValueError: If the radius is 0, negative, infinite or NaN.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> print(np.asarray(jr.FrobeniusSphere(10.0)(jnp.array([[0.3, 0.0], [0.0, 0.4]]))).round(5))
        [[6. 0.]
         [0. 8.]]

    Reference:
        Optax `projections.projection_l2_sphere`, which returns NaN for an array of zeros.
    """

    radius: Number
    matrix: ClassVar[bool] = True
    convex: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check(self, "radius", "(0, inf)")

    def __call__(self, w: jax.Array) -> jax.Array:
        """Return the nearest array in the set.

        If `w` has the right norm up to rounding, `w` is returned bit for bit.
        """
        return MinMaxNorm(self.radius, self.radius, axis=tuple(range(w.ndim)))(w)

    def lmo(self, direction: jax.Array) -> jax.Array:
        """Return a minimiser z of the inner product ⟨direction, z⟩ over the set: the projection of -direction."""
        return self(-direction)

    def tangent(self, w: jax.Array, direction: jax.Array) -> jax.Array:
        """Return `direction` without its component along `w`."""
        return off_radius(w, direction, tuple(range(w.ndim)))

    def transported(self, before: jax.Array, after: jax.Array, moment: jax.Array) -> jax.Array:
        """Move the tangent vector `moment` from the point `before` to the point `after` by parallel transport."""
        return turned_groups(before, after, moment, tuple(range(after.ndim)))

    def operator_bound(self, places: int) -> Number:
        """Return an upper bound on the operator norm of a layer that satisfies the constraint.

        `places` is the number of positions in the window of a convolution, and 1 for a dense layer.
        """
        return self.radius * places**0.5


def tree_norm(tree: Any) -> jax.Array:
    """Return the Euclidean norm of all weights of a tree, a scalar in float32 (float64 if a leaf is float64).

    Large weights are scaled down before they are squared, so their squares do not overflow. `optax.tree.norm` squares
    the weights as they are, and returns infinity if a float32 weight is above 1.8e19.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> print(jr.tree_norm({"a": jnp.array([3.0, 0.0]), "b": jnp.array([[4.0]])}))
        5.0
    """
    norms = [group_norms(wide(leaf), tuple(range(leaf.ndim))).reshape(()) for leaf in jax.tree.leaves(tree)]
    return group_norms(jnp.stack(norms or [jnp.zeros((), jnp.float32)]), (0,)).reshape(())


@hyperparameters
class TreeNorm(Constraint):
    """Fixed joint norm of several arrays: {W₁ … W_k : Σ ‖W_i‖² = radius²}, projected by scaling all arrays equally.

    The constraint maps a tree of arrays to a tree of the same structure. In a mapping from patterns to rules, all
    leaves that match the pattern of the constraint have one joint norm. Without a mapping, all kernels have one joint
    norm. Two patterns have separate norms, even if they share one `TreeNorm` object. A tree of zeros has no direction,
    so all its weights get the same value.

    Args:
        radius: Positive number: a float, an array or an Optax schedule. To keep a model at a share of its initial norm,
            pass `share * jr.tree_norm(params)`.

    Raises:
        ValueError: If the radius is 0, negative, infinite or NaN.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> tree = {"a": jnp.array([0.3, 0.0]), "b": jnp.array([[0.4]])}
        >>> print(np.asarray(jr.TreeNorm(10.0)(tree)["b"]).round(5))
        [[8.]]

    Reference:
        Liu et al., Omnigrok: grokking beyond algorithmic data, 2022.
    """

    radius: Number
    joint: ClassVar[bool] = True
    convex: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check(self, "radius", "(0, inf)")

    def __call__(self, tree: Any) -> Any:
        """Return the nearest tree in the set.

        If `tree` has the right norm up to rounding, `tree` is returned bit for bit.
        """
        leaves, structure = jax.tree.flatten(tree)
        count = sum(leaf.size for leaf in leaves)
        if count == 0:
            return tree
        limit_of_groups(self.radius, leaves[0], tuple(range(leaves[0].ndim)))  # raises if there is more than one number
        norm = tree_norm(leaves)
        # Every leaf rounds to half an ulp of its dtype. The sum of squares of the largest leaf is the least exact.
        slack = max(rounding(wide(leaf), tuple(range(leaf.ndim))) + eps(leaf.dtype) / 2 for leaf in leaves)
        inside = jnp.abs(norm - self.radius) <= slack * self.radius
        safe = jnp.where(norm == 0, 1, norm)  # a NaN norm stays NaN, and makes all leaves NaN
        fixed = jax.lax.stop_gradient(safe)  # the norm to differentiate is then 1, whose square does not underflow
        even = count**-0.5
        directions = [jnp.where(norm == 0, even, (wide(leaf) / fixed) / (safe / fixed)) for leaf in leaves]
        moved = [
            (direction * self.radius).astype(leaf.dtype) for leaf, direction in zip(leaves, directions, strict=True)
        ]
        ends = [jnp.where(inside, held(leaf, end), end) for leaf, end in zip(leaves, moved, strict=True)]
        return jax.tree.unflatten(structure, ends)

    def lmo(self, direction: Any) -> Any:
        """Return a minimiser z of the inner product ⟨direction, z⟩ over the set: the projection of -direction.

        Both z and `direction` are trees of the same structure.
        """
        return self(jax.tree.map(jnp.negative, direction))

    def tangent(self, w: Any, direction: Any) -> Any:
        """Return `direction` without its component along `w`. Both are trees of the same structure."""
        units = _unit(w)
        along = _inner(units, direction)
        return jax.tree.map(lambda u, unit: u - along * unit, direction, units)

    def transported(self, before: Any, after: Any, moment: Any) -> Any:
        """Move the tangent vector `moment` from the point `before` to the point `after` by parallel transport.

        All arguments are trees.
        """
        return turned(_unit(before), _unit(after), moment, _inner)


def _unit(tree: Any) -> Any:
    norm = tree_norm(tree)
    return jax.tree.map(lambda array: wide(array) / jnp.where(norm > 0, norm, 1), tree)


def _inner(a: Any, b: Any) -> jax.Array:
    products = jax.tree.map(lambda x, y: jnp.sum(jnp.real(jnp.conj(x) * y)), a, b)
    return jnp.sum(jnp.stack(jax.tree.leaves(products)))
