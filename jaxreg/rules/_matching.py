"""Match rules to the leaves of a parameter tree, and fill in the fan-in axes of each leaf.

The argument `rules` is a mapping from path pattern to rule, or one rule for all kernels, including recurrent kernels. A
pattern is one of:

- the path of a leaf (`hidden/kernel`)
- a regular expression that must match a whole path
- one of the kinds `KERNELS`, `RECURRENT_KERNELS`, `BIASES` and `EMBEDDINGS`

A kind matches weights by their names in Flax Linen, Flax NNX, Equinox, Haiku, Keras and PyTorch. No kind matches the
scale or the offset of a normalisation layer.

If several patterns match a leaf, a path takes precedence over a regular expression, and a regular expression over a
kind.
"""

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp

from jaxreg._checks import refuse_class
from jaxreg._groups import group_axes
from jaxreg._protocols import (
    Constraint,
    Penalty,
    Rule,
    Rules,
    Tree,
    as_node,
    facts,
    has_groups,
    innermost,
    refuse_other,
)
from jaxreg.rules._frameworks import (
    BIASES,
    EMBEDDINGS,
    KERNELS,
    RECURRENT_KERNELS,
    Inference,
    Kind,
    Place,
    infer,
    is_weight,
)
from jaxreg.rules._stacked import EachLayer, of_matrices

_WRAPPERS = (jax.tree_util.GetAttrKey("value"), jax.tree_util.GetAttrKey("raw_value"))


class Leaf(NamedTuple):
    """A leaf of a parameter tree: its path, its array, and its inferred role and axes."""

    path: str
    array: Any
    inferred: Inference

    @property
    def shown(self) -> str:
        """The path in an error message. The path of a tree that is one array is empty."""
        return self.path or "the whole tree"

    @property
    def kind(self) -> Kind:
        """Role of the leaf in its layer."""
        return self.inferred.kind

    @property
    def axes(self) -> tuple[int, ...]:
        """Fan-in axes, which contain the incoming weights of one unit."""
        return self.inferred.axes

    @property
    def layers(self) -> tuple[int, ...]:
        """Axes along which layers are stacked, such as the axis that `jax.lax.scan` or `jax.vmap` runs over."""
        return self.inferred.layers


def leaves(params: Tree) -> list[Leaf]:
    """Return the leaves of `params` in the order of `jax.tree.leaves`, with path, kind and axes.

    Raises:
        ValueError: If two leaves have the same path.
    """
    entries = _unwrapped(params, jax.tree_util.tree_leaves_with_path(params))
    entries = [_of_variable(path, leaf) for path, leaf in entries]
    steps = [_steps(path) for path, _ in entries]
    path, count = Counter(map("/".join, steps)).most_common(1)[0] if steps else ("", 0)
    if count > 1:
        raise ValueError(
            f"{count} parameters have the path {path!r}; expected distinct paths. Rename a key that contains a slash"
        )
    places = [_place(params, path, names, array) for names, (path, array) in zip(steps, entries, strict=True)]
    beside: dict[tuple[str, ...], dict[str, tuple[int, ...]]] = {}  # the leaves under a path
    layers: dict[tuple[str, ...], dict[str, dict[str, tuple[int, ...]]]] = {}  # the layers under a path
    for place, _ in places:
        names, around = place.names, beside.setdefault(place.names[:-1], {})
        if len(place.shape) >= len(around.get(place.name, ())):  # the leaf with the most axes in one wrapper
            around[place.name] = place.shape
        layers.setdefault(names[:-2], {}).update(dict.fromkeys(names[-2:-1], around))
    found = []
    for step, (_, array), (place, wrapper) in zip(steps, entries, places, strict=True):
        whole = place._replace(beside=beside[place.names[:-1]], layers=layers[place.names[:-2]])
        inferred = infer(whole)
        if wrapper and not jnp.issubdtype(getattr(array, "dtype", bool), jnp.inexact):
            inferred = inferred._replace(kind=Kind.OTHERS)  # a mask
        elif wrapper and not place.axis_names:
            inferred = inferred._replace(doubt=f"{wrapper} wraps it, so the layer may use a different weight")
        found.append(Leaf("/".join(step), array, inferred))
    return found


class OptionalPattern(str):
    """A pattern that may match no leaf. The class derives from `str`, so that JAX can sort the keys of a mapping."""

    pattern: str

    def __new__(cls, pattern: str) -> Self:
        made = super().__new__(cls, pattern)
        made.pattern = pattern
        return made

    def __repr__(self) -> str:
        return f"jaxreg.optional({_shown(self.pattern)})"


def optional(pattern: str) -> str:
    """Mark a pattern as optional. An optional pattern may match no leaf. All other patterns must match a leaf.

    Args:
        pattern: Path of a leaf, such as "head/bias", regular expression for whole paths, or kind of weights, such as
            `jaxreg.KERNELS`.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> rules = {jr.KERNELS: jr.MaxNorm(1.0), jr.optional("head/bias"): jr.NonNeg()}
        >>> print(jr.feasible({"head": {"kernel": jnp.full((1, 2), 0.5)}}, rules))
        True
    """
    return OptionalPattern(pattern)


class Match(NamedTuple):
    """A leaf with its pattern and its rule. Pattern and rule are None for a leaf without a rule."""

    leaf: Leaf
    pattern: str | None
    rule: Rule | None


def assign(params: Tree, rules: Rules) -> list[tuple[Leaf, Rule | None]]:
    """Return each leaf of `params` with its rule, or with None if no pattern matches.

    If a rule has no `axis` of its own, its `axis` becomes the fan-in axes of the leaf.

    Raises:
        ValueError: If a pattern matches no leaf, two patterns of equal precedence match one leaf, or a leaf with a rule
            does not contain floating-point numbers.
        TypeError: If the rules are neither a callable nor a mapping of callables.
    """
    return [(match.leaf, match.rule) for match in matches(params, rules)]


def matches(params: Tree, rules: Rules) -> list[Match]:
    """Return each leaf with its pattern and its rule. Pattern and rule are None if no pattern matches."""
    refuse_no_rules(rules)
    found = leaves(params)
    patterns = _patterns(found, rules)
    optionals = {key.pattern for key in rules if isinstance(key, OptionalPattern)} if isinstance(rules, Mapping) else ()
    claimed: list[list[str]] = [[] for _ in found]
    for pattern in patterns:
        exact = [i for i, leaf in enumerate(found) if leaf.path == pattern and not isinstance(pattern, Kind)]
        places = exact or [i for i, leaf in enumerate(found) if _matches(pattern, leaf)]
        if not places and pattern not in optionals and not _shows_a_part(params):
            raise ValueError(f"pattern {_shown(pattern)} matches no parameter{_advice(pattern, params, found)}")
        for i in places:
            claimed[i].append(pattern)
    claimed = [_most_exact(leaf, by) for leaf, by in zip(found, claimed, strict=True)]
    return [_match(leaf, by, patterns, found) for leaf, by in zip(found, claimed, strict=True)]


def rule_axes(rule: Rule, ndim: int) -> tuple[int, ...] | None:
    """Return the axes over which `rule` groups weights, or None if the rule treats each weight separately."""
    if facts(rule).matrix or facts(rule).joint:
        return tuple(range(ndim))
    if parts := facts(rule).sets():  # weights that share a group of any part depend on each other
        axes = [of_part for part in parts if (of_part := rule_axes(part, ndim)) is not None]
        return tuple(sorted(set().union(*axes))) if axes else None
    return group_axes(ndim, facts(rule).axis) if has_groups(rule) else None


def refuse_others(rules: Rules, expected: type[Penalty] | type[Constraint], name: str, instead: str) -> None:
    """Raise an error unless `rules` are valid and of the class that the function `name` expects.

    Args:
        rules: Argument of the function `name`.
        expected: `Penalty` or `Constraint`.
        name: Name of the function, without `jaxreg.`.
        instead: Functions or arguments that accept rules of the other class. The error names them.
    """
    for pattern, rule in rules.items() if isinstance(rules, Mapping) else [(None, rules)]:
        place = "the rule" if pattern is None else f"the rule for {_shown(pattern)}"
        inside = rule if isinstance(rule, type) else innermost(rule)
        refuse_other(inside, expected, f"jaxreg.{name}: {place}", instead)
    refuse_no_rules(rules, f"jaxreg.{name}: ", f"a {expected.__name__.lower()}")


def refuse_no_rules(rules: Rules, where: str = "", expected: str = "a penalty, a constraint") -> None:
    """Raise an error unless `rules` is a callable or a mapping of callables.

    The error begins with `where`, and names the `expected` rules.
    """
    if not isinstance(rules, Mapping):
        refuse_class(rules, f"{where}the rule")
        if not callable(rules):
            single = ". Inside optax.inject_hyperparams only a mapping works, because Optax treats a single rule as a "
            raise TypeError(
                f"{where}rules are {rules!r}; expected a mapping from path pattern to rule, or one rule"
                f"{_of_several(rules)}{f'{single}schedule' if isinstance(rules, jax.Array) else ''}"
            )
        return
    for pattern, rule in rules.items():
        refuse_class(rule, f"{where}the rule for {_shown(pattern)}")
        if not callable(rule):
            raise TypeError(
                f"{where}the rule for {_shown(pattern)} is {rule!r}; expected {expected} or a function of an array"
                f"{_of_several(rule)}"
            )


def _patterns(found: list[Leaf], rules: Rules) -> Mapping[str, Rule]:
    if isinstance(rules, Mapping):
        return {key.pattern if isinstance(key, OptionalPattern) else key: rule for key, rule in rules.items()}
    kinds = {leaf.kind for leaf in found}
    return dict.fromkeys([kind for kind in (KERNELS, RECURRENT_KERNELS) if kind in kinds] or [KERNELS], rules)


def _most_exact(leaf: Leaf, by: list[str]) -> list[str]:
    # A path takes precedence over a regular expression, and a regular expression over a kind.
    exact = [pattern for pattern in by if pattern == leaf.path and not isinstance(pattern, Kind)]
    return exact or [pattern for pattern in by if not isinstance(pattern, Kind)] or by


def _match(leaf: Leaf, by: list[str], patterns: Mapping[str, Rule], found: list[Leaf]) -> Match:
    if not by:
        return Match(leaf, None, None)
    if len(by) > 1:
        raise ValueError(
            f"parameter {leaf.path} matches the patterns {' and '.join(map(_shown, by))}; expected one rule per "
            f"parameter. Narrow one of the patterns (the paths are: {_listed(found)})"
        )
    if not jnp.issubdtype(getattr(leaf.array, "dtype", bool), jnp.inexact):
        what = getattr(leaf.array, "dtype", type(leaf.array).__name__)
        raise ValueError(
            f"parameter {leaf.path} is of type {what}; expected an array of floating-point numbers for the pattern "
            f"{_shown(by[0])}. Narrow the pattern, or convert the parameter"
        )
    rule = patterns[by[0]]
    if jnp.iscomplexobj(leaf.array) and facts(rule).needs_order():
        raise ValueError(
            f"parameter {leaf.path} is of type {leaf.array.dtype}, but {rule!r} is defined only for real weights; "
            "expected a rule that depends only on magnitudes, such as MaxNorm, L2 or L1"
        )
    return Match(leaf, by[0], _on_axes(rule, leaf))


def _of_several(rules: Any) -> str:
    if not isinstance(rules, list | tuple):
        return ""
    if any(isinstance(rule, Constraint) for rule in rules):
        return ". Combine several constraints with jaxreg.Intersection(…, …)"
    return ". Use one transformation per penalty"


def _shows_a_part(params: Tree) -> bool:
    # Optax puts its own nodes, without children, in place of masked parameters and placeholders.
    def is_optax(node: Any) -> bool:
        return type(node).__module__.startswith("optax.")

    return any(map(is_optax, jax.tree.leaves(params, is_leaf=is_optax)))


def _on_axes(rule: Rule, leaf: Leaf) -> Rule:
    # The rule for this leaf, with open axes filled in, applied layer by layer to a stack of matrices.
    if facts(rule).wrapped_rule() is not None:
        return facts(rule).map_rules(lambda inside: _on_axes(inside, leaf))
    if leaf.layers and of_matrices(rule):
        one = tuple(a for a in range(leaf.array.ndim) if a not in leaf.layers)
        return EachLayer(as_node(_of_one_layer(rule, leaf, one)), one)
    if facts(rule).axis is None:
        return facts(rule).with_axis(leaf.axes)
    try:
        group_axes(leaf.array.ndim, facts(rule).axis)
    except (TypeError, ValueError) as error:
        raise type(error)(f"the rule {rule!r} for {leaf.shown}: {error}") from None
    return rule


def _of_one_layer(rule: Rule, leaf: Leaf, one: tuple[int, ...]) -> Rule:
    # The rule with its axes, given or filled in, renumbered from the stack to a single layer with the axes `one`.
    if not has_groups(rule):
        return rule
    axis = facts(rule).axis
    axes = leaf.axes if axis is None else group_axes(leaf.array.ndim, axis)
    if not set(axes) <= set(one):
        raise ValueError(
            f"the rule {rule!r} for {leaf.shown}: `axis` is {axis}; expected only axes from {one}, the axes "
            "of a single layer. The rule is applied to each layer of the stack separately"
        )
    closed = facts(rule).map_rules(
        lambda part: part if facts(part).axis is None or not has_groups(part) else _of_one_layer(part, leaf, one)
    )
    return facts(closed).with_axis(tuple(one.index(a) for a in axes))


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


def _kind_named(pattern: str) -> Kind | None:
    words = {"recurrent": RECURRENT_KERNELS, "bias": BIASES, "embedding": EMBEDDINGS, "kernel": KERNELS}
    found = [kind for word, kind in words.items() if word in pattern and not isinstance(pattern, Kind)]
    return found[0] if found else None


def _advice(pattern: str, params: Tree, found: list[Leaf]) -> str:
    if not found:
        return ", because the tree has no parameters. Pass the parameters of the model, or remove the pattern"
    if [leaf.path for leaf in found] == [""]:
        return ": the tree is one array without a name. Use its path '' as the pattern"
    known = f"The existing paths are: {_listed(found)}{_without_names(params)}"
    if isinstance(pattern, Kind):
        return (
            f": it finds {pattern.value.strip('<>')} by the names that libraries such as Flax and PyTorch give "
            f"them, and found none. Use a path, or a regular expression for a whole path"
            f"{_own_names(pattern, found)}. {known}"
        )
    return (
        "; expected a path, a regular expression for a whole path, or a kind such as "
        f"{_shown(_kind_named(pattern) or KERNELS)}. {_closest(pattern, found)}{known}"
    )


def _closest(pattern: str, found: list[Leaf]) -> str:
    # Paths that are most like the pattern, of the kind that it names. Those of the gates of a cell are equally like it.
    alike = [leaf.path for leaf in found if _kind_named(pattern) in (leaf.kind, None)]
    if not alike:
        return ""
    likeness = {path: _likeness(pattern, path) + _likeness(pattern.split("/"), path.split("/")) for path in alike}
    near = [repr(path) for path in alike if likeness[path] >= max(max(likeness.values()) - 0.05, 0.8)]
    return f"The closest path{'s are' if len(near) > 1 else ' is'} {', '.join(near[:8])}. " if near else ""


def _own_names(pattern: str, found: list[Leaf]) -> str:
    # A kind knows the names that frameworks give. Suggest a pattern for the first array whose name it does not know.
    wide = [leaf.path for leaf in found if leaf.kind is Kind.OTHERS and len(jnp.shape(leaf.array)) > 1]
    if not wide or pattern is not KERNELS:
        return ""
    layer, slash, name = wide[0].rpartition("/")
    alike = re.sub(r"\d+", "[0-9]+", re.escape(layer)) + slash
    alike += name if name.isdigit() else re.sub(r"\d+", "[0-9]+", re.escape(name))
    fits = [leaf.path for leaf in found if re.fullmatch(alike, leaf.path)]
    shown = alike if set(fits) <= set(wide) else wide[0]
    return f", such as {shown!r}"


def _likeness(one: Sequence[str], other: Sequence[str]) -> float:
    return difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()


def _listed(found: list[Leaf]) -> str:
    shown = ", ".join(leaf.path for leaf in found[:40])
    return shown if len(found) <= 40 else f"{shown} and {len(found) - 40} more"


def _without_names(params: Tree) -> str:
    # A list of values, as for Keras's `stateless_call`, has no names.
    named = not isinstance(params, list | tuple) or any(hasattr(value, "path") for value in params)
    if named or not jax.tree_util.all_leaves(params):
        return ""
    return " (a list has no names; for Keras, pass {v.path: v.value for v in model.trainable_variables})"


def _unwrapped(params: Tree, entries: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    # An NNX variable, or a Linen box in a dictionary, is only a node around the array.
    inside = Counter(path[:-1] for path, _ in entries)

    def wrapped(path: tuple[Any, ...]) -> bool:
        if len(path) < 2 or path[-1] not in _WRAPPERS or inside[path[:-1]] > 1:
            return False
        return isinstance(path[-2], jax.tree_util.DictKey) or _is_variable(_node(params, path[:-1]))

    return [(path[:-1] if wrapped(path) else path, array) for path, array in entries]


def _of_variable(path: tuple[Any, ...], leaf: Any) -> tuple[tuple[Any, ...], Any]:
    # A Keras variable has a path, which replaces its index in a list, and holds the array.
    if not hasattr(leaf, "__jax_array__") or not isinstance(getattr(leaf, "path", None), str):
        return path, leaf
    listed = not path or isinstance(path[-1], jax.tree_util.SequenceKey)
    return (jax.tree_util.DictKey(leaf.path),) if listed else path, leaf.value


def _steps(path: tuple[Any, ...]) -> tuple[str, ...]:
    # A key may hold several names, such as Haiku's "vanilla_rnn/linear".
    return tuple(name for key in path for name in jax.tree_util.keystr((key,), simple=True).split("/"))


def _shape(array: Any) -> tuple[int, ...]:
    return tuple(getattr(array, "shape", ()))


def _place(params: Tree, path: tuple[Any, ...], steps: tuple[str, ...], array: Any) -> tuple[Place, str]:
    # The place of a leaf, relative to its layer, and the class of its wrapper, empty if there is none.
    nodes = [params]
    for key in path:
        nodes.append(_child(nodes[-1], key))
    keys, wrapper = path, None
    for depth in range(1, len(path) + 1):
        name, node = getattr(path[depth - 1], "name", getattr(path[depth - 1], "key", None)), nodes[depth]
        if is_weight(name) and _wraps(node, nodes[depth:-1], path[depth:]):
            keys, wrapper = path[:depth], node
            break
    # PyTorch's flat names, such as "encoder.0.weight", hold several keys. The path is not changed.
    names = tuple(part for step in _steps(keys) for part in step.split("."))
    owner = nodes[len(keys) - 1] if keys else None
    labelled = [node for node in nodes[:-1] if isinstance(getattr(node, "label", None), str)]  # a parameter of penzai
    if wrapper is None and labelled:
        names, wrapper = tuple(re.split(r"[./]", labelled[-1].label)), labelled[-1]
    axis_names = next((found for node in nodes[:0:-1] if (found := _axis_names(node, _shape(array)))), ())
    return Place(names, _shape(array), {}, {}, owner, axis_names), "" if wrapper is None else type(wrapper).__name__


def _wraps(node: Any, inside: list[Any], keys: tuple[Any, ...]) -> bool:
    # Whether the node with the name of a weight holds the array under keys without meaning: args/1, value/data_array.
    if not keys or node is None or isinstance(node, dict | list | tuple):
        return False
    for parent, step in zip(inside, _steps(keys), strict=True):
        own = step == "weight" and type(parent).__module__.startswith("paramax")
        if not own and not re.fullmatch(r"\d+|args|value|raw_value|data_array|array|tree", step):
            return False
    return True


def _axis_names(node: Any, shape: tuple[int, ...]) -> tuple[str | None, ...]:
    # Names of axes in a box or a named array of NNX, Linen, haliax or penzai.
    metadata = node.get_metadata() if _is_variable(node) else {}
    given = [metadata.get(name) for name in ("out_sharding", "sharding_names", "sharding")]
    given += [] if metadata else [getattr(node, name, None) for name in ("names", "axes", "named_axes")]
    for found in given:
        names = [getattr(each, "name", each) for each in found] if isinstance(found, tuple | list | dict) else []
        if names and len(names) == len(shape) and all(name is None or isinstance(name, str) for name in names):
            return tuple(names)
    return ()


def _node(params: Tree, path: tuple[Any, ...]) -> Any:
    # The node at a path; None if it cannot be reached by the keys.
    node = params
    for key in path:
        node = _child(node, key)
    return node


def _child(node: Any, key: Any) -> Any:
    try:
        return getattr(node, key.name) if hasattr(key, "name") else node[getattr(key, "idx", getattr(key, "key", None))]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):  # indexing differs between nodes
        return None


def _is_variable(node: Any) -> bool:
    # Whether it is a variable of Flax NNX. The library does not import Flax.
    return any(base.__name__ == "Variable" and base.__module__.startswith("flax.") for base in type(node).__mro__)
