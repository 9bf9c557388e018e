"""Which leaves of a parameter tree a rule is for, and which axes of a leaf are the incoming weights of one unit.

Rules are a mapping from path pattern to object, or a bare object for all kernels, recurrent ones included. A pattern
is a regular expression that must match the whole path of a leaf (`hidden/kernel`), or one of the kinds `KERNELS`,
`RECURRENT_KERNELS`, `BIASES` and `EMBEDDINGS`, which know how Flax Linen, Flax NNX, Equinox, Haiku and Keras
name their weights. The offset of a normalisation layer counts as no bias, and no kind claims its scale.
"""

import dataclasses
import enum
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg.constraints import Axis, group_axes

Tree = Any
"""A pytree of arrays: the parameters as the framework hands them out."""

Rule = Callable[[jax.Array], jax.Array]
"""A penalty, a constraint, or any function of one weight array."""

Rules = Mapping[str, Rule] | Rule
"""What is for which leaves: {pattern: object}, or one object for all kernels."""


class Kind(enum.StrEnum):
    """What a leaf is to its layer; usable as a pattern."""

    KERNELS = "<kernels>"
    RECURRENT_KERNELS = "<recurrent kernels>"
    BIASES = "<biases>"
    EMBEDDINGS = "<embeddings>"
    OTHERS = "<others>"

    def __repr__(self) -> str:
        return self.value


KERNELS = Kind.KERNELS
RECURRENT_KERNELS = Kind.RECURRENT_KERNELS
BIASES = Kind.BIASES
EMBEDDINGS = Kind.EMBEDDINGS

_KERNEL_NAMES = {"kernel", "w", "w_i", "depthwise_kernel", "pointwise_kernel"}
_RECURRENT_NAMES = {"recurrent_kernel", "w_h"}
_EMBEDDING_NAMES = {"embedding", "embeddings"}
_ATTENTION_INPUTS = {"query", "key", "value"}


class Leaf(NamedTuple):
    """A leaf of a parameter tree: its path, the array, its kind, and the axes of one unit's incoming weights."""

    path: str
    array: Any
    kind: Kind
    axes: tuple[int, ...]


def leaves(params: Tree) -> list[Leaf]:
    """The leaves of `params` in the order of `jax.tree.leaves`, with path, kind and axes."""
    entries = jax.tree_util.tree_leaves_with_path(params)
    steps = [_steps(path) for path, _ in entries]
    beside: dict[tuple[str, ...], dict[str, Any]] = {}  # the arrays under a path
    layers: dict[tuple[str, ...], set[str]] = {}  # the layers under a path
    for names, (_, array) in zip(steps, entries, strict=True):
        beside.setdefault(names[:-1], {})[names[-1] if names else ""] = array
        layers.setdefault(names[:-2], set()).update(names[-2:-1])
    found = []
    for names, (path, array) in zip(steps, entries, strict=True):
        near = beside[names[:-1]]
        kind = _kind(names, np.ndim(array), near, layers[names[:-2]], _owner(params, path))
        found.append(Leaf("/".join(names), array, kind, _axes(names, np.shape(array), kind, near)))
    return found


def assign(params: Tree, rules: Rules) -> list[tuple[Leaf, Rule | None]]:
    """Each leaf of `params` with the rule for it, or None; the rule's `axis` filled in where it was left open.

    Raises:
        ValueError: If a pattern matches no leaf, two claim one leaf, or a leaf is not of floating-point numbers.
    """
    found = leaves(params)
    if not isinstance(rules, Mapping):
        if not callable(rules):
            raise TypeError(f"rules are {rules!r}; expected a mapping from path pattern to object, or one object")
        kernels = {KERNELS, RECURRENT_KERNELS} & {leaf.kind for leaf in found}
        rules = dict.fromkeys(kernels or {KERNELS}, rules)
    claims: dict[str, list[tuple[str, Rule]]] = {leaf.path: [] for leaf in found}
    for pattern, rule in rules.items():
        if not callable(rule):
            raise TypeError(
                f"the rule for {pattern!r} is {rule!r}; expected a penalty, a constraint or a function of an array"
            )
        matches = [leaf for leaf in found if _matches(pattern, leaf)]
        if not matches:
            raise ValueError(f"pattern {_shown(pattern)} matches no parameter; the paths are: {_listed(found)}")
        for leaf in matches:
            claims[leaf.path].append((pattern, rule))
    for leaf in found:
        claimed = claims[leaf.path]
        if len(claimed) > 1:
            both = " and ".join(_shown(pattern) for pattern, _ in claimed)
            raise ValueError(
                f"parameter {leaf.path} is claimed by {both}; narrow one of the patterns "
                f"(the paths are: {_listed(found)})"
            )
        if claimed and not jnp.issubdtype(jnp.result_type(leaf.array), jnp.floating):
            raise ValueError(
                f"parameter {leaf.path} has dtype {jnp.result_type(leaf.array)}; expected real floating-point "
                f"numbers under {_shown(claimed[0][0])}"
            )
    return [(leaf, _on_axes(claims[leaf.path][0][1], leaf) if claims[leaf.path] else None) for leaf in found]


def _on_axes(rule: Rule, leaf: Leaf) -> Rule:
    axis: Axis = getattr(rule, "axis", ())
    if axis is None:
        return dataclasses.replace(rule, axis=leaf.axes)  # type: ignore[type-var]
    group_axes(np.ndim(leaf.array), axis)
    return rule


def _matches(pattern: str, leaf: Leaf) -> bool:
    if isinstance(pattern, Kind):
        return leaf.kind is pattern
    if not isinstance(pattern, str):
        raise TypeError(
            f"a rule's pattern is {pattern!r}; expected a string such as 'hidden/kernel', or jaxreg.KERNELS"
        )
    try:
        return re.fullmatch(pattern, leaf.path) is not None
    except re.error as error:
        raise ValueError(f"pattern {pattern!r} is not a regular expression: {error}") from None


def _shown(pattern: str) -> str:
    return f"jaxreg.{pattern.name}" if isinstance(pattern, Kind) else repr(pattern)


def _listed(found: list[Leaf]) -> str:
    shown = ", ".join(leaf.path for leaf in found[:40]) or "none at all"
    return shown if len(found) <= 40 else f"{shown} and {len(found) - 40} more"


def _steps(path: tuple[Any, ...]) -> tuple[str, ...]:
    names = tuple(jax.tree_util.keystr((key,), simple=True) for key in path)
    # An NNX variable is a node of its own around the array.
    wrapped = (
        len(path) > 1 and isinstance(path[-1], jax.tree_util.GetAttrKey) and isinstance(path[-2], jax.tree_util.DictKey)
    )
    return names[:-1] if wrapped and names[-1] in {"value", "raw_value"} else names


def _ends(names: tuple[str, ...]) -> tuple[str, str]:
    return (names[-1] if names else "", names[-2] if len(names) > 1 else "")


def _owner(params: Tree, path: tuple[Any, ...]) -> str:
    # Equinox calls the weights of a Linear, a LayerNorm and an Embedding alike: the module's class tells.
    node = params
    for key in path[:-1]:
        try:
            node = (
                getattr(node, key.name)
                if hasattr(key, "name")
                else node[getattr(key, "idx", getattr(key, "key", None))]
            )
        except (AttributeError, IndexError, KeyError, TypeError):
            return ""
    return type(node).__name__


def _kind(names: tuple[str, ...], ndim: int, beside: Mapping[str, Any], layers: set[str], owner: str) -> Kind:
    name, layer = _ends(names)
    if name in _EMBEDDING_NAMES or (name == "weight" and owner == "Embedding"):
        return Kind.EMBEDDINGS
    norm = "scale" in beside or "Norm" in owner or np.ndim(beside.get("weight", np.zeros((1, 1)))) < 2
    if name in {"bias", "b"} or re.fullmatch(r"bias_\w+", name):
        return Kind.OTHERS if norm else Kind.BIASES
    if name in _RECURRENT_NAMES or re.fullmatch(r"weight_hh(_l\d+\w*)?", name):
        return Kind.RECURRENT_KERNELS
    kernel = name in _KERNEL_NAMES or re.fullmatch(r"weight_ih(_l\d+\w*)?", name) or (name == "weight" and not norm)
    if not kernel or ndim < 2:
        return Kind.OTHERS
    return Kind.RECURRENT_KERNELS if _recurrent(names, layer, layers) else Kind.KERNELS


def _recurrent(names: tuple[str, ...], layer: str, layers: set[str]) -> bool:
    # Flax's cells hold a Dense a gate (ii … ho, ir … hn, i and h) or one for all gates (dense_i, dense_h); Haiku's
    # VanillaRNN has linear for its inputs, linear_1 for its state.
    if layer == "dense_h":
        return "dense_i" in layers
    if re.fullmatch(r"h[ifgorzn]?", layer):
        return any(f"i{layer[1:]}{end}" in layers for end in ("", "_"))
    return layer == "linear_1" and len(names) > 2 and names[-3].startswith("vanilla_rnn")


def _axes(names: tuple[str, ...], shape: tuple[int, ...], kind: Kind, beside: Mapping[str, Any]) -> tuple[int, ...]:
    ndim, (name, layer) = len(shape), _ends(names)
    if kind is Kind.EMBEDDINGS:
        return (ndim - 1,)
    if kind not in (Kind.KERNELS, Kind.RECURRENT_KERNELS):
        return tuple(range(ndim)) if kind is Kind.BIASES else group_axes(ndim, None)
    if name.startswith("weight"):
        return tuple(range(1, ndim))
    if name == "depthwise_kernel":
        return tuple(range(ndim - 2))
    if name == "w" and "transpose" in layer:
        return tuple(a for a in range(ndim) if a != ndim - 2)
    outputs = np.shape(beside.get("bias", np.zeros(shape[-1])))
    if name == "kernel" and layer in _ATTENTION_INPUTS and ndim == 3:
        outputs = shape[1:]
    if 1 <= len(outputs) < ndim and shape[-len(outputs) :] == outputs:
        return tuple(range(ndim - len(outputs)))
    if len(outputs) == 1 and shape[-2] == outputs[0]:  # a transposed convolution with its kernel transposed
        return tuple(a for a in range(ndim) if a != ndim - 2)
    return group_axes(ndim, None)
