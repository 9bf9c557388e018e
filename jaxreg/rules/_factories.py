"""Rules made from parameters: an anchor at their values, spheres at their norms."""

import re

from jaxreg._groups import group_norms
from jaxreg._hyperparameters import Number
from jaxreg._precision import wide
from jaxreg._protocols import Rules, Tree
from jaxreg.constraints._spheres import FrobeniusSphere
from jaxreg.penalties._reference import ToReference
from jaxreg.rules._frameworks import KERNELS
from jaxreg.rules._matching import assign


def to_reference(reference: Tree, rules: Rules) -> dict[str, ToReference]:
    """Make rules that measure penalties from the weights of another tree instead of 0, as L2-SP and L2-init do.

    Args:
        reference: Tree like the parameters: the pre-trained weights (L2-SP) or the initial ones (L2-init).
        rules: Which penalty for which leaves; see `jaxreg.explain`.

    Returns:
        A rule for each leaf that `rules` name, {its path: the penalty of its distance from the reference}, for
        `jaxreg.penalty`, `penalize`, `decay` and `proximal`. It holds the arrays of `reference` themselves, which must
        not be donated; large ones are for an argument of the jitted step, as a closure would make them constants.

    Raises:
        ValueError: If a pattern matches nothing or two claim one leaf.
        TypeError: If a rule is not a penalty of this package.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> start = {"hidden": {"kernel": jnp.ones((2, 2)), "bias": jnp.zeros(2)}}
        >>> rules = jr.to_reference(start, {jr.KERNELS: jr.L2(0.5)})
        >>> now = {"hidden": {"kernel": jnp.full((2, 2), 3.0), "bias": jnp.ones(2)}}
        >>> print(list(rules), jr.penalty(start, rules), jr.penalty(now, rules))
        ['hidden/kernel'] 0.0 8.0
    """
    claimed = [(leaf, rule) for leaf, rule in assign(reference, rules) if rule is not None]
    return {re.escape(leaf.path): ToReference(rule, leaf.array) for leaf, rule in claimed}


def initial_spheres(params: Tree, pattern: str = KERNELS, share: Number = 1.0) -> dict[str, FrobeniusSphere]:
    """Rules that hold each leaf at a share of the norm that it has: {its path: `FrobeniusSphere`}.

    Args:
        params: Tree of weight arrays, such as the initial ones; traced or not.
        pattern: Which leaves.
        share: Of the norm, above 0; a float or an array.

    Raises:
        ValueError: If the pattern matches nothing, or a known norm is 0.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> params = {"hidden": {"kernel": jnp.array([[3.0], [4.0]]), "bias": jnp.zeros(1)}}
        >>> print({path: float(rule.radius) for path, rule in jr.initial_spheres(params, share=0.5).items()})
        {'hidden/kernel': 2.5}
    """
    whole = {pattern: lambda w: w}
    norms = {
        leaf.path: group_norms(wide(leaf.array), tuple(range(leaf.array.ndim))).reshape(())
        for leaf, rule in assign(params, whole)
        if rule is not None
    }
    return {re.escape(path): FrobeniusSphere(share * norm) for path, norm in norms.items()}
