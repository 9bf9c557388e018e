"""Interpretations (readings) of the axes of a weight array: its fan-in axes, and the axes that stack layers.

A layout is a string with one letter per axis of a layer:

- `s` for the window of a convolution
- `i` for inputs
- `o` for units
- `p` for positions or groups that have their own weights

The arrays of a stack of layers have additional axes, which count the layers. The additional axes are at the same
positions in every array of the stack. A reading is a layout together with these positions. Known facts, such as the
shape of the bias, exclude some readings. If the remaining readings have different fan-in axes, the array is ambiguous.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import combinations, product
from math import prod
from typing import NamedTuple

Shape = tuple[int, ...]
Axes = tuple[int, ...]


class Reading(NamedTuple):
    """One interpretation of the axes of a weight array: its fan-in axes, and the axes that stack layers."""

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
    """Return the possible interpretations of the axes of a weight array, the most likely one first.

    Args:
        shape: Shape of the weight array.
        layouts: Layouts that are possible for a layer of this name or class, the most likely one first.
        bias: Shape of the bias of the layer; None if there is no bias.
        sizes: Known sizes of the axes of inputs (`i`) and of units (`o`).
        stacked_on: Axes along which layers are stacked; None if unknown.
        in_front: True if layers are stacked along the first axes.
    """
    return list(_readings(shape, tuple(layouts), bias, tuple((sizes or {}).items()), stacked_on, in_front))


@lru_cache(maxsize=4096)  # a network has few shapes, and outside jit the tree is read at each call
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
        # `nn.scan` and `vmap` put the axis first or second. Each level of a nested stack adds one.
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
    """Return whether the axes `one` span the same groups of weights as the axes `other`, ignoring axes of length 1."""
    return {a for a in one if shape[a] != 1} == {a for a in other if shape[a] != 1}


def windows(around: str, most: int, letter: str = "s", before: bool = True) -> list[str]:
    """Return the axis layouts of convolutions with 1 to `most` spatial axes. Layouts with more axes come first.

    `around` contains the letters of the remaining axes. Every spatial axis has the letter `letter`. The spatial axes
    come first if `before` is True, and last otherwise.
    """
    return [letter * n + around if before else around + letter * n for n in range(most, 0, -1)]


def general_contraction(ndim: int) -> list[str]:
    """Return the layouts of linear layers with 2 to `ndim` axes. Axes of groups come first, then inputs, then units.

    Layouts with more axes come first. Layouts with equally many axes are sorted by the number of groups (fewest first),
    then by the number of inputs (most first).
    """
    return [
        "p" * groups + "i" * inputs + "o" * (n - groups - inputs)
        for n in range(ndim, 1, -1)
        for groups in range(n - 1)
        for inputs in range(n - groups - 1, 0, -1)
    ]


def any_contraction(ndim: int) -> list[str]:
    """Return the axis layouts of an einsum, which sums over some axes (inputs) and keeps the others (units).

    Layouts with fewer units come first. Layouts with equally many units are sorted by the number of units at the end
    (most first).
    """
    mixed = {"".join(letters) for letters in product("io", repeat=ndim)} - {"i" * ndim, "o" * ndim}
    return sorted(mixed, key=lambda layout: (layout.count("o"), layout.rstrip("o").count("o")))
