"""Readings of a weight's shape: which axes hold the inputs of a unit, and which count the layers of a stack.

A layout names the axes of one layer by a letter each: `s` the window of a convolution, `i` inputs, `o` units, `p`
positions or groups with a weight of their own. A stack adds axes that count its layers, at the same place of every
leaf. A reading is a layout with the places of those axes. What is known of a leaf, such as the shape of its bias, rules
readings out; those that remain agree on the axes, or the leaf is ambiguous.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import combinations, product
from math import prod
from typing import NamedTuple

Shape = tuple[int, ...]
Axes = tuple[int, ...]


class Reading(NamedTuple):
    """The axes that hold the incoming weights of one unit, and those that count the layers of a stack."""

    axes: Axes
    layers: Axes = ()


def readings(
    shape: Shape,
    layouts: Iterable[str],
    bias: Shape | None = None,
    sizes: Mapping[str, Shape] | None = None,
    stacked_on: Axes | None = None,
    in_front: bool = False,
) -> list[Reading]:
    """Return the readings of a weight of `shape` that fit what is known, the likeliest first.

    Args:
        shape: Shape of the weight.
        layouts: Layouts of one layer that its name or class allows, the likeliest first.
        bias: Shape of the bias beside it; None if there is none.
        sizes: Known sizes of the axes of inputs (`i`) and of units (`o`).
        stacked_on: Axes that count layers, if known.
        in_front: Whether those axes are the first ones.
    """
    return list(_readings(shape, tuple(layouts), bias, tuple((sizes or {}).items()), stacked_on, in_front))


@lru_cache(maxsize=4096)  # a network has few shapes, and rules look at its tree at each call outside of jit
def _readings(
    shape: Shape,
    layouts: tuple[str, ...],
    bias: Shape | None,
    sizes: tuple[tuple[str, Shape], ...],
    stacked_on: Axes | None,
    in_front: bool,
) -> tuple[Reading, ...]:
    found: dict[Reading, None] = {}
    for layout in layouts:
        extra = len(shape) - len(layout)
        if extra < 0 or (stacked_on is not None and len(stacked_on) != extra):
            continue
        # `nn.scan` and `vmap` put the axis first or second; each level of a nested stack adds one.
        places = combinations(range(extra if in_front else extra + 1), extra) if stacked_on is None else [stacked_on]
        for stack in places:
            kept = [a for a in range(len(shape)) if a not in stack]
            letters = dict(zip(kept, layout, strict=True))
            if bias is not None and not _fits(bias, shape, letters, stack):
                continue
            if any(tuple(shape[a] for a in kept if letters[a] == one) != size for one, size in sizes):
                continue
            counted = tuple(a for a in range(len(shape)) if letters.get(a, "p") == "p")
            found[Reading(tuple(a for a in kept if letters[a] in "si"), counted)] = None
    return tuple(found)


def _fits(bias: Shape, shape: Shape, letters: Mapping[int, str], stack: Axes) -> bool:
    units = [shape[a] for a, letter in letters.items() if letter in "op"]
    if "i" not in letters.values():  # one bias per pair of input and multiplier
        units = [prod(units)]
    for place in stack:
        if place > len(units):
            return False
        units.insert(place, shape[place])
    return bias == tuple(units)


def same_groups(shape: Shape, one: Axes, other: Axes) -> bool:
    """Return whether two sets of axes make the same groups: axes of length 1 change none."""
    return {a for a in one if shape[a] != 1} == {a for a in other if shape[a] != 1}


def windows(around: str, most: int, letter: str = "s", before: bool = True) -> list[str]:
    """Return the layouts of convolutions over one to `most` axes of space, the most first."""
    return [letter * n + around if before else around + letter * n for n in range(most, 0, -1)]


def general_contraction(ndim: int) -> list[str]:
    """Return the layouts (groups …, inputs …, units …) of up to `ndim` axes, the most inputs first."""
    return [
        "p" * groups + "i" * inputs + "o" * (n - groups - inputs)
        for n in range(ndim, 1, -1)
        for groups in range(n - 1)
        for inputs in range(n - groups - 1, 0, -1)
    ]


def any_contraction(ndim: int) -> list[str]:
    """Return the layouts of an einsum: every axis is summed over or kept; units that come last first."""
    mixed = {"".join(letters) for letters in product("io", repeat=ndim)} - {"i" * ndim, "o" * ndim}
    return sorted(mixed, key=lambda layout: (layout.count("o"), layout.rstrip("o").count("o")))
