"""Trees of frameworks that are not installed, made again from what `scripts/references/layers.py` stored of them.

A node is an object of a class with the name, the module and the bases of the real one, with its settings, and with the
same keys on the paths of its children.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from helpers.layers import Case
from jax.tree_util import FlattenedIndexKey, GetAttrKey

FILE = Path(__file__).parents[1] / "data" / "layers.json"


class Axis(NamedTuple):
    """A named axis, as haliax has it."""

    name: str
    size: int


def stored() -> dict[str, Case]:
    """The stored cases, by name."""
    cases = json.loads(FILE.read_text())["cases"]
    tuples = {case["name"]: {path: axes and tuple(axes) for path, axes in case["axes"].items()} for case in cases}
    # An empty tuple stays: no axes are right.
    return {case["name"]: Case(case["name"], tree_of(case["tree"]), tuples[case["name"]]) for case in cases}


def tree_of(node: Any) -> Any:
    """The tree that is stored as `node`."""
    if node is None:
        return None
    if "shape" in node:
        return jax.ShapeDtypeStruct(tuple(node["shape"]), jnp.dtype(node["dtype"]))
    if "dict" in node:
        return {name: tree_of(child) for name, child in node["dict"].items()}
    if "list" in node:
        return [tree_of(child) for child in node["list"]]
    found = class_of(tuple(node["bases"]))()
    found.children = {name: tree_of(child) for name, child in node["children"].items()}
    found.settings = {name: setting(value) for name, value in node["settings"].items()}
    vars(found).update(found.children | found.settings)
    return found


def setting(value: Any) -> Any:
    """A setting of a node, from JSON."""
    if isinstance(value, dict) and "axis" in value:
        return Axis(*value["axis"])
    if isinstance(value, dict):
        return dict(value["mapping"])
    return tuple(map(setting, value)) if isinstance(value, list) else value


CLASSES: dict[tuple[str, ...], type] = {}


def class_of(bases: tuple[str, ...]) -> type:
    """A class with these names, itself first, which JAX knows as a node."""
    if bases not in CLASSES:
        parent: tuple[type, ...] = ()
        for base in reversed(bases):
            module, _, name = base.rpartition(".")
            made = type(name, parent, {"__module__": module})
            parent = (made,)
        jax.tree_util.register_pytree_with_keys(made, flatten, lambda aux, kids, made=made: unflatten(made, aux, kids))
        CLASSES[bases] = made
    return CLASSES[bases]


def flatten(node: Any) -> tuple[list[tuple[Any, Any]], Any]:
    """The children with the keys of the real class."""
    numbered = {name: FlattenedIndexKey(int(name[1:-1])) for name in node.children if name.startswith("[")}
    children = [(numbered.get(name, GetAttrKey(name)), child) for name, child in node.children.items()]
    return children, (tuple(node.children), tuple(node.settings.items()))


def unflatten(made: type, aux: Any, children: Any) -> Any:
    """The node again, with other children."""
    found = made()
    found.children = dict(zip(aux[0], children, strict=True))
    found.settings = dict(aux[1])
    vars(found).update(found.children | found.settings)
    return found
