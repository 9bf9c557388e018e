"""Constraints on the norm of a whole array, and of many arrays together."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from jaxreg._checks import check
from jaxreg._groups import group_norms, limit_of_groups, rounding
from jaxreg._hyperparameters import Number, hyperparameters
from jaxreg._precision import eps, held, wide
from jaxreg._protocols import Constraint
from jaxreg.constraints._norms import MinMaxNorm


@hyperparameters
class FrobeniusSphere(Constraint):
    """Norm of a layer's array exactly `radius`: {W : ‖W‖_F = radius}, projected by W · radius / ‖W‖_F.

    As a rule on a stack of layers, each layer has a sphere of its own. An array of zeros has no direction; all of its
    weights become equal, a nearest point like any other.

    Args:
        radius: Number above 0; a float, an Optax schedule, or an array: one number, or one per layer of a stack.

    Raises:
        ValueError: If the radius is 0, negative, infinite or NaN.

    Example:
        >>> import jax.numpy as jnp, numpy as np, jaxreg as jr
        >>> print(np.asarray(jr.FrobeniusSphere(10.0)(jnp.array([[0.3, 0.0], [0.0, 0.4]]))).round(5))
        [[6. 0.]
         [0. 8.]]

    Reference:
        Optax `projections.projection_l2_sphere`, which is NaN at 0.
    """

    radius: Number
    matrix: ClassVar[bool] = True
    convex: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check(self, "radius", "(0, inf)")

    def __call__(self, w: jax.Array) -> jax.Array:
        """Return the nearest array in the set; `w` itself, bit for bit, where the norm holds to rounding."""
        return MinMaxNorm(self.radius, self.radius, axis=tuple(range(w.ndim)))(w)

    def lmo(self, direction: jax.Array) -> jax.Array:
        """Return a point of the set farthest against `direction`: the one nearest to -direction."""
        return self(-direction)


def tree_norm(tree: Any) -> jax.Array:
    """The Euclidean norm of all weights of a tree together, a scalar in float32 (float64 where a leaf is).

    Unlike `optax.global_norm` it takes squares in float32 at least, and of no number that they overflow at.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> print(jr.tree_norm({"a": jnp.array([3.0, 0.0]), "b": jnp.array([[4.0]])}))
        5.0
    """
    norms = [group_norms(wide(leaf), tuple(range(leaf.ndim))).reshape(()) for leaf in jax.tree.leaves(tree)]
    return group_norms(jnp.stack(norms or [jnp.zeros((), jnp.float32)]), (0,)).reshape(())


@hyperparameters
class TreeNorm(Constraint):
    """Norm of all arrays together exactly `radius`: {W₁ … W_k : Σ ‖W_i‖² = radius²}, by one factor for all.

    Called on a tree of arrays it gives a tree like it. Every rule works on all leaves that its pattern claims; this one
    works on them as one vector, and a bare one on all kernels. Two patterns are two norms, even of one object. A tree
    of zeros has no direction; all of its weights become equal.

    Args:
        radius: Number above 0; a float, an array or an Optax schedule. To hold a model at a share of its initial norm,
            `share * jr.tree_norm(params)`.

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
        """Return the nearest tree in the set; every leaf itself, bit for bit, where the norm holds to rounding."""
        leaves, structure = jax.tree.flatten(tree)
        count = sum(leaf.size for leaf in leaves)
        if count == 0:
            return tree
        limit_of_groups(self.radius, leaves[0], tuple(range(leaves[0].ndim)))  # refuses more than one number
        norm = tree_norm(leaves)
        # Every leaf rounds to half an ulp of its dtype; the sum of squares of the largest one is the least exact.
        slack = max(rounding(wide(leaf), tuple(range(leaf.ndim))) + eps(leaf.dtype) / 2 for leaf in leaves)
        inside = jnp.abs(norm - self.radius) <= slack * self.radius
        safe = jnp.where(norm == 0, 1, norm)  # a norm that is not a number stays so, and makes all leaves so
        fixed = jax.lax.stop_gradient(safe)  # leaves a norm of 1 to differentiate, whose square does not underflow
        even = count**-0.5
        directions = [jnp.where(norm == 0, even, (wide(leaf) / fixed) / (safe / fixed)) for leaf in leaves]
        moved = [
            (direction * self.radius).astype(leaf.dtype) for leaf, direction in zip(leaves, directions, strict=True)
        ]
        ends = [jnp.where(inside, held(leaf, end), end) for leaf, end in zip(leaves, moved, strict=True)]
        return jax.tree.unflatten(structure, ends)

    def lmo(self, direction: Any) -> Any:
        """Return a tree of the set farthest against the tree `direction`: the one nearest to -direction."""
        return self(jax.tree.map(jnp.negative, direction))
