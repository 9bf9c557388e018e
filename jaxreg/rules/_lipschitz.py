"""Lipschitz bound of a network from the limits that its constraints enforce."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._hyperparameters import known
from jaxreg._protocols import ConstraintRules, Tree, facts
from jaxreg.rules._evaluate import at_rule, constrained
from jaxreg.rules._frameworks import Kind
from jaxreg.rules._matching import Leaf, leaves


def lipschitz(params: Tree, rules: ConstraintRules, step: jax.Array | int | None = None) -> jax.Array:
    """Return an upper bound on the Lipschitz constant of a network: the product of the norm limits of its layers.

    If the weights satisfy their constraints, ‖f(x) - f(y)‖ ≤ bound · ‖x - y‖ for all inputs x and y, up to rounding.
    The network must have the following form:

    - All layers are dense layers or convolutions.
    - The layers form one chain, in which each layer gets the output of the previous layer. Several layers may be
      stacked in one array, as `flax.linen.scan` stores them; each of them counts. Residual connections and other
      branches are not covered.
    - All functions between layers have slopes from -1 to 1, such as ReLU, tanh or max-pooling without overlap.

    The limit of a layer bounds its operator norm: the largest factor by which the layer lengthens a vector. It follows
    from the constraint on the kernel:

    - The limit of `ConvNorm` is the limit of the layer.
    - Other constraints limit the spectral norm of the kernel, written as a matrix of shape (fan-in, units). These
      constraints are `SpectralNorm`, `Orthonormal`, `NuclearBall`, `FrobeniusSphere`, limits on norms such as
      `MaxNorm`, and bounds on weights such as `Box`. For a dense layer, the limit of the matrix is the limit of the
      layer. For a convolution whose window has k positions, the limit of the layer is √k times larger, because each
      input is in up to k windows.
    - An intersection gives the smallest limit of its parts.

    Args:
        params: Tree of weight arrays. Only paths and shapes are used.
        rules: Constraints by path pattern, or one for all kernels. Each kernel needs a constraint.
        step: Optimiser step at which to evaluate scheduled limits. Needed only if there are schedules.

    Returns:
        Upper bound on the Lipschitz constant of the network, a scalar.

    Raises:
        ValueError: If a kernel has no rule that limits its norm, a leaf is neither a kernel nor a bias, or a scheduled
            limit needs `step`.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> params = {"conv": {"kernel": jnp.ones((3, 3, 1, 4))}, "output": {"kernel": jnp.ones((256, 2))}}
        >>> rules = {"conv/kernel": jr.ConvNorm(2.0, size=(8, 8)), "output/kernel": jr.SpectralNorm(0.5)}
        >>> print(jr.lipschitz(params, rules).round(3))
        1.0

    Reference:
        Gouk et al., Regularisation of neural networks by enforcing Lipschitz continuity, 2021.
    """
    limits = {}
    for rule, _, members in constrained(params, rules, "lipschitz"):
        for leaf in members:
            limits[leaf.path] = _limit(at_rule(rule, step), leaf)
    total = jnp.ones(())
    for leaf in leaves(params):
        if leaf.kind == Kind.KERNELS:
            limit = limits.get(leaf.path)
            if limit is None or (known(limit) and np.any(np.isinf(limit))):
                raise ValueError(
                    f"jaxreg.lipschitz: no rule limits the norm of {leaf.path}; expected a constraint such as "
                    "SpectralNorm or ConvNorm for every kernel"
                )
            counts = tuple(leaf.array.shape[a] for a in leaf.layers)
            total = total * jnp.prod(jnp.broadcast_to(jnp.asarray(limit, jnp.result_type(float)), counts))
        elif leaf.kind != Kind.BIASES:
            raise ValueError(
                f"jaxreg.lipschitz: parameter {leaf.path} is not a kernel or bias of a dense layer or a convolution; "
                "expected a network of only such layers"
            )
    return total


def _limit(rule: Any, leaf: Leaf) -> Any:
    """Return an upper bound of the operator norm of the layer, or of each layer of a stack; None if it is unknown."""
    rule = facts(rule)
    parts = [limit for limit in (_limit(part, leaf) for part in rule.sets()) if limit is not None]
    if parts:
        return jnp.min(jnp.stack(jnp.broadcast_arrays(*parts)), axis=0)
    if not known(rule.rate) or np.any(np.asarray(rule.rate) != 1):  # one call does not reach the set
        return None
    # The window of a convolution: the fan-in axes without that of the inputs, if one axis is that of the units.
    shape, within = leaf.array.shape, leaf.axes
    units = [a for a in range(len(shape)) if a not in (*within, *leaf.layers)]
    window = within[1:] if units and within and units[0] < min(within) else within[:-1]
    places = int(np.prod([shape[a] for a in window])) if len(units) == 1 else 1
    limit = rule.operator_bound(places)
    if limit is not None:
        return limit
    layer = tuple(a for a in range(len(shape)) if a not in leaf.layers)
    norms, bounds = rule.norm_limits(leaf.array), rule.bounds()
    if norms is not None:
        axes = tuple(range(len(shape))) if rule.axis is None else rule.axis
        groups = tuple(1 if a in np.atleast_1d(axes) % len(shape) else n for a, n in enumerate(shape))
        squares = jnp.sum(jnp.broadcast_to(jnp.square(norms[1]), groups), axis=layer)
    elif bounds is not None:
        largest = jnp.maximum(jnp.abs(jnp.asarray(bounds[0])), jnp.abs(jnp.asarray(bounds[1])))
        squares = jnp.sum(jnp.broadcast_to(jnp.square(largest), shape), axis=layer)
    else:
        return None
    return jnp.sqrt(places * squares)
