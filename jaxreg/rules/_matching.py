"""Which leaves of a parameter tree a rule is for, and which axes of a leaf are the incoming weights of one unit.

Rules are a mapping from path pattern to object, or a bare object for all kernels, recurrent ones included. A pattern
is a regular expression that must match the whole path of a leaf (`hidden/kernel`), or one of the kinds `KERNELS`,
`RECURRENT_KERNELS`, `BIASES` and `EMBEDDINGS`, which know how Flax Linen, Flax NNX, Equinox, Haiku, Keras and PyTorch
name their weights. The offset of a normalisation layer counts as no bias, and no kind claims its scale.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxreg._checks import refuse_class
from jaxreg._groups import group_axes
from jaxreg._protocols import Constraint, Penalty, Rule, Rules, Tree, as_node, facts, has_groups, refuse_other
from jaxreg.rules._frameworks import (
    KERNELS,
    RECURRENT_KERNELS,
    Kind,
    Place,
    kind_of,
    layer_axes,
    unit_axes,
)
from jaxreg.rules._stacked import EachLayer, of_matrices

_WRAPPERS = (jax.tree_util.GetAttrKey("value"), jax.tree_util.GetAttrKey("raw_value"))


class Leaf(NamedTuple):
    """A leaf of a parameter tree: its path, the array, its kind, and the axes of one unit's incoming weights.

    In a stack of layers, `layers` axes in front count them.
    """

    path: str
    array: Any
    kind: Kind
    axes: tuple[int, ...]
    layers: int


def leaves(params: Tree) -> list[Leaf]:
    """Return the leaves of `params` in the order of `jax.tree.leaves`, with path, kind and axes.

    Raises:
        ValueError: If two leaves have one path.
    """
    entries = _unwrapped(params, jax.tree_util.tree_leaves_with_path(params))
    steps = [_steps(path) for path, _ in entries]
    path, count = Counter(map("/".join, steps)).most_common(1)[0] if steps else ("", 0)
    if count > 1:
        raise ValueError(
            f"{count} parameters have the path {path!r}; expected a path each: rename a key with a / in it"
        )
    beside: dict[tuple[str, ...], dict[str, tuple[int, ...]]] = {}  # the leaves under a path
    layers: dict[tuple[str, ...], dict[str, dict[str, tuple[int, ...]]]] = {}  # the layers under a path
    # PyTorch's flat names, such as "encoder.0.weight", hold several steps; the path is left as it is.
    parts = [tuple(part for name in names for part in name.split(".")) for names in steps]
    for names, (_, array) in zip(parts, entries, strict=True):
        beside.setdefault(names[:-1], {})[names[-1] if names else ""] = _shape(array)
        layers.setdefault(names[:-2], {}).update(dict.fromkeys(names[-2:-1], beside[names[:-1]]))
    found = []
    for step, names, (path, array) in zip(steps, parts, entries, strict=True):
        place = Place(names, _shape(array), beside[names[:-1]], layers[names[:-2]], _owner(params, path))
        kind = kind_of(place)
        axes = unit_axes(place, kind)
        found.append(Leaf("/".join(step), array, kind, axes, layer_axes(place, kind, axes)))
    return found


class Match(NamedTuple):
    """A leaf with the pattern and the rule for it, both None where there is none."""

    leaf: Leaf
    pattern: str | None
    rule: Rule | None


def assign(params: Tree, rules: Rules) -> list[tuple[Leaf, Rule | None]]:
    """Return each leaf of `params` with the rule for it, or None; the rule's `axis` filled in where it was left open.

    Raises:
        ValueError: If a pattern matches no leaf, two claim one leaf, or a leaf is not of floating-point numbers.
        TypeError: If the rules are not a mapping of callables, or one.
    """
    return [(match.leaf, match.rule) for match in matches(params, rules)]


def matches(params: Tree, rules: Rules) -> list[Match]:
    """As `assign`, with the pattern that claims each leaf."""
    found = leaves(params)
    patterns = _patterns(found, rules)
    claimed: list[list[str]] = [[] for _ in found]
    for pattern, rule in patterns.items():
        refuse_class(rule, f"the rule for {_shown(pattern)}")
        if not callable(rule):
            raise TypeError(
                f"the rule for {pattern!r} is {rule!r}; expected a penalty, a constraint or a function of an array"
            )
        places = [i for i, leaf in enumerate(found) if _matches(pattern, leaf)]
        if not places:
            raise ValueError(
                f"pattern {_shown(pattern)} matches no parameter; expected a regular expression for a whole path, or a "
                f"kind such as jaxreg.KERNELS: drop it, or choose from the paths there are: {_listed(found)}"
            )
        for i in places:
            claimed[i].append(pattern)
    return [_match(leaf, by, patterns, found) for leaf, by in zip(found, claimed, strict=True)]


def rule_axes(rule: Rule, ndim: int) -> tuple[int, ...] | None:
    """Return the axes of one group of weights that `rule` looks at together; None if it looks at each weight alone."""
    if facts(rule).matrix or facts(rule).joint:
        return tuple(range(ndim))
    return group_axes(ndim, facts(rule).axis) if has_groups(rule) else None


def refuse_others(rules: Rules, expected: type[Penalty] | type[Constraint], name: str, instead: str) -> None:
    """Raise if `rules` hold a constraint where jaxreg's function `name` expects penalties, or the reverse."""
    for pattern, rule in rules.items() if isinstance(rules, Mapping) else [(None, rules)]:
        place = "the rule" if pattern is None else f"the rule for {_shown(pattern)}"
        refuse_other(rule, expected, f"jaxreg.{name}: {place}", instead)


def _patterns(found: list[Leaf], rules: Rules) -> Mapping[str, Rule]:
    if isinstance(rules, Mapping):
        return rules
    if not callable(rules):
        raise TypeError(
            f"rules are {rules!r}; expected a mapping from path pattern to object, or one object (in a mapping for "
            "optax.inject_hyperparams, which takes a callable for a schedule)"
        )
    kinds = {leaf.kind for leaf in found}
    return dict.fromkeys([kind for kind in (KERNELS, RECURRENT_KERNELS) if kind in kinds] or [KERNELS], rules)


def _match(leaf: Leaf, by: list[str], patterns: Mapping[str, Rule], found: list[Leaf]) -> Match:
    if not by:
        return Match(leaf, None, None)
    if len(by) > 1:
        raise ValueError(
            f"parameter {leaf.path} is claimed by {' and '.join(map(_shown, by))}; expected one rule a parameter: "
            f"narrow one of the patterns (the paths are: {_listed(found)})"
        )
    if not jnp.issubdtype(getattr(leaf.array, "dtype", bool), jnp.floating):
        what = getattr(leaf.array, "dtype", type(leaf.array).__name__)
        raise ValueError(
            f"parameter {leaf.path} is of type {what}; expected an array of real floating-point numbers under "
            f"{_shown(by[0])}: narrow the pattern, or make it one"
        )
    return Match(leaf, by[0], _on_axes(patterns[by[0]], leaf))


def _on_axes(rule: Rule, leaf: Leaf) -> Rule:
    # The rule for this leaf: its axes filled in where it leaves them open, layer by layer on a stack of matrices.
    if facts(rule).wrapped_rule() is not None:
        return facts(rule).map_rules(lambda inside: _on_axes(inside, leaf))
    if leaf.layers and of_matrices(rule):
        return EachLayer(as_node(_of_one_layer(rule, leaf)), tuple(range(leaf.layers, leaf.array.ndim)))
    if facts(rule).axis is None:
        return facts(rule).with_axis(leaf.axes)
    try:
        group_axes(leaf.array.ndim, facts(rule).axis)
    except (TypeError, ValueError) as error:
        raise type(error)(f"the rule {rule!r} for {leaf.path}: {error}") from None
    return rule


def _of_one_layer(rule: Rule, leaf: Leaf) -> Rule:
    # The rule with the axes that it has, or gets, in the stack counted as those of one layer.
    axis = facts(rule).axis
    axes = leaf.axes if axis is None else group_axes(leaf.array.ndim, axis)
    if any(a < leaf.layers for a in axes):
        raise ValueError(
            f"the rule {rule!r} for {leaf.path}: axis is {axis}; expected axes of one layer, from {leaf.layers} on, "
            "for a set beside one of singular values"
        )
    closed = facts(rule).map_rules(
        lambda part: part if facts(part).axis is None or not has_groups(part) else _of_one_layer(part, leaf)
    )
    return facts(closed).with_axis(tuple(a - leaf.layers for a in axes))


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
    shown = ", ".join(leaf.path or "'' (the tree is one array)" for leaf in found[:40]) or "none at all"
    return shown if len(found) <= 40 else f"{shown} and {len(found) - 40} more"


def _unwrapped(params: Tree, entries: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    # An NNX variable, or a box of Linen's in a dictionary, is a node of its own around the array, and nothing else.
    inside = Counter(path[:-1] for path, _ in entries)

    def wrapped(path: tuple[Any, ...]) -> bool:
        if len(path) < 2 or path[-1] not in _WRAPPERS or inside[path[:-1]] > 1:
            return False
        return isinstance(path[-2], jax.tree_util.DictKey) or _is_variable(_node(params, path[:-1]))

    return [(path[:-1] if wrapped(path) else path, array) for path, array in entries]


def _steps(path: tuple[Any, ...]) -> tuple[str, ...]:
    # A key may hold several names, as Haiku's "vanilla_rnn/linear".
    return tuple(name for key in path for name in jax.tree_util.keystr((key,), simple=True).split("/"))


def _shape(array: Any) -> tuple[int, ...]:
    return tuple(getattr(array, "shape", ()))


def _owner(params: Tree, path: tuple[Any, ...]) -> str:
    # Equinox calls the weights of a Linear, a LayerNorm and an Embedding alike: the module's class tells.
    node = _node(params, path[:-1])
    return "" if node is None else type(node).__name__


def _node(params: Tree, path: tuple[Any, ...]) -> Any:
    # What lies at a path; None where its keys don't lead to it.
    node = params
    for key in path:
        try:
            node = (
                getattr(node, key.name)
                if hasattr(key, "name")
                else node[getattr(key, "idx", getattr(key, "key", None))]
            )
        except (AttributeError, IndexError, KeyError, TypeError):
            return None
    return node


def _is_variable(node: Any) -> bool:
    # Whether it is one of Flax NNX, which the library does without.
    return any(base.__name__ == "Variable" and base.__module__.startswith("flax.") for base in type(node).__mro__)
