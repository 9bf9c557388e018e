"""Functions that make rules from parameters: from their values, distributions, norms or magnitudes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxreg._checks import check_number
from jaxreg._groups import group_axes, group_norms
from jaxreg._hyperparameters import Axis, Number
from jaxreg._precision import wide
from jaxreg._protocols import Rules, Tree
from jaxreg.constraints._bounds import Box
from jaxreg.constraints._norms import MinMaxNorm
from jaxreg.constraints._spheres import FrobeniusSphere
from jaxreg.penalties._reference import ToReference, Wasserstein
from jaxreg.rules._frameworks import KERNELS
from jaxreg.rules._matching import Leaf, assign
from jaxreg.rules._reshaped import Reshaped


def to_reference(reference: Tree, rules: Rules) -> dict[str, ToReference]:
    """Return rules that penalise the difference from the weights of another tree, as in L2-SP and L2-init.

    Args:
        reference: Tree like the parameters, with the pre-trained weights (L2-SP) or the initial weights (L2-init).
        rules: Penalties by path pattern, or one penalty for all kernels; see `jaxreg.explain`.

    Returns:
        A dict from path to `ToReference`, with an entry for each leaf that `rules` match. Use the dict in
        `jaxreg.penalty`, `penalize`, `decay` and `proximal`. The rules hold the arrays of `reference`, not copies. So
        do not donate these arrays to a jitted function. If the arrays are large, pass the rules to jitted functions as
        an argument. In a closure, the arrays would become constants of the compiled program.

    Raises:
        ValueError: If a pattern matches no leaf, or two patterns of equal precedence match one leaf (see
            `jaxreg.explain`).
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
    return {leaf.path: ToReference(rule, leaf.array) for leaf, rule in claimed}


def initial_distributions(params: Tree, strength: Number, pattern: str = KERNELS) -> dict[str, Wasserstein]:
    """Return rules that keep the distribution of each layer's weights near the distribution in `params`.

    Args:
        params: Tree of weight arrays, such as the initial ones.
        strength: Strength of each penalty, at least 0: a float, an array or an Optax schedule.
        pattern: Pattern of the leaves that get a rule: a path, a regular expression or a kind such as `jaxreg.KERNELS`.

    Returns:
        A dict from path to `Wasserstein`, one rule per leaf. The rules hold the arrays of `params`, not copies. If one
        leaf stacks the weights of several layers, each layer has its own distribution.

    Raises:
        ValueError: If the pattern matches no leaf, or the strength is negative, infinite or NaN.

    Example:
        The penalty is strength · Σ (sort(now) - sort(start))², here 0.5 · ((1 - 1)² + (4 - 2)²) = 2.

        >>> import jax.numpy as jnp, jaxreg as jr
        >>> start = {"hidden": {"kernel": jnp.array([[1.0], [2.0]]), "bias": jnp.zeros(1)}}
        >>> rules = jr.initial_distributions(start, strength=0.5)
        >>> now = {"hidden": {"kernel": jnp.array([[4.0], [1.0]]), "bias": jnp.ones(1)}}
        >>> print(jr.penalty(start, rules), jr.penalty(now, rules))
        0.0 2.0
    """
    matched = [leaf for leaf, rule in assign(params, {pattern: lambda w: w}) if rule is not None]
    return {leaf.path: Wasserstein(strength, leaf.array, leaf.layers) for leaf in matched}


def initial_spheres(
    params: Tree, pattern: str = KERNELS, share: Number = 1.0, axis: Axis = None, shape: tuple[int, ...] | None = None
) -> dict[str, Any]:
    """Return rules that fix the norm of each layer's weights at `share` times its norm in `params`.

    By default, one norm covers all weights of a layer. With `axis`, each group of weights has its own norm:

    - One norm per expert, for a kernel of shape (experts, inputs, units): `axis=(1, 2)`
    - One norm per head, for a kernel of shape (inputs, heads, size): `axis=(0, 2)`
    - One norm per head, for a kernel of shape (inputs, heads · size): `axis=(0, 2)` and `shape=(-1, heads, size)`

    Args:
        params: Tree of weight arrays, such as the initial ones; traced or not.
        pattern: Pattern of the leaves that get a rule: a path, a regular expression or a kind such as `jaxreg.KERNELS`.
        share: Share of the norm, above 0: a float or an array.
        axis: Axes that one norm covers. Default: all axes of a layer.
        shape: Shape to which the weights are reshaped, and to which `axis` refers. Default: the shape of the weights.

    Returns:
        A dict from path to rule, one rule per leaf.

        - Without `axis`, the rule is a `FrobeniusSphere` with one number as `radius`. If the leaf stacks the weights of
          several layers, `radius` has one number per layer.
        - With `axis`, the rule is a `MinMaxNorm`. Its two limits are equal, with one number per group.
        - With `axis` and `shape`, this `MinMaxNorm` is wrapped in `Reshaped`.

    Raises:
        ValueError: If the pattern matches no leaf, or `shape` is given without `axis`. If a norm is 0; traced norms are
            not checked.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> params = {"hidden": {"kernel": jnp.array([[3.0], [4.0]]), "bias": jnp.zeros(1)}}
        >>> print({path: float(rule.radius) for path, rule in jr.initial_spheres(params, share=0.5).items()})
        {'hidden/kernel': 2.5}
    """
    if axis is not None:
        matched = [leaf for leaf, rule in assign(params, {pattern: lambda w: w}) if rule is not None]
        return {leaf.path: _spheres_of_groups(leaf.array, share, axis, shape) for leaf in matched}
    if shape is not None:
        raise ValueError(
            f"jaxreg.initial_spheres: shape is {shape}, but axis is missing; pass axis=, the axes of a group of weights"
        )
    norms = _of_each_layer(params, pattern, lambda w, axes: group_norms(wide(w), axes))
    return {leaf.path: FrobeniusSphere(share * jnp.squeeze(norm, _axes_of_layer(leaf))) for leaf, norm in norms}


def _spheres_of_groups(array: Any, share: Number, axis: Axis, shape: tuple[int, ...] | None) -> Any:
    w = jnp.asarray(array) if shape is None else Reshaped(lambda w: w, shape).view(jnp.asarray(array))
    axes = group_axes(w.ndim, axis)
    radius = share * jnp.squeeze(group_norms(wide(w), axes), axes)
    check_number(radius, "jaxreg.initial_spheres: a norm", "(0, inf)")
    sphere = MinMaxNorm(radius, radius, axis=axes)
    return sphere if shape is None else Reshaped(sphere, shape)


def initial_boxes(params: Tree, pattern: str = KERNELS, share: Number = 1.0) -> dict[str, Box]:
    """Return rules that limit each layer's weights to `share` times the layer's largest magnitude in `params`.

    Args:
        params: Tree of weight arrays, such as the initial ones; traced or not.
        pattern: Pattern of the leaves that get a rule: a path, a regular expression or a kind such as `jaxreg.KERNELS`.
        share: Share of the largest magnitude, at least 0: a float or an array.

    Returns:
        A dict from path to `Box`, one rule per leaf. If one leaf stacks the weights of several layers, each layer has
        its own bound.

    Raises:
        ValueError: If the pattern matches no leaf.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> params = {"hidden": {"kernel": jnp.array([[3.0], [-4.0]]), "bias": jnp.zeros(1)}}
        >>> print({path: float(rule.high) for path, rule in jr.initial_boxes(params, share=2.0).items()})
        {'hidden/kernel': 8.0}

    Reference:
        Elsayed et al., Weight clipping for deep continual and reinforcement learning, 2024: bounds in proportion to
        those of the initial distribution.
    """
    largest = _of_each_layer(params, pattern, lambda w, axes: jnp.max(jnp.abs(w), axes, keepdims=True, initial=0))
    bounds = [(leaf, share * (most if leaf.layers else jnp.squeeze(most))) for leaf, most in largest]
    return {leaf.path: Box(-bound, bound) for leaf, bound in bounds}


def _of_each_layer(
    params: Tree, pattern: str, measure: Callable[[jax.Array, tuple[int, ...]], jax.Array]
) -> list[tuple[Leaf, jax.Array]]:
    # One number per layer of each leaf. The axes of the layer are kept with length 1.
    matched = [leaf for leaf, rule in assign(params, {pattern: lambda w: w}) if rule is not None]
    return [(leaf, measure(leaf.array, _axes_of_layer(leaf))) for leaf in matched]


def _axes_of_layer(leaf: Leaf) -> tuple[int, ...]:
    return tuple(a for a in range(leaf.array.ndim) if a not in leaf.layers)
