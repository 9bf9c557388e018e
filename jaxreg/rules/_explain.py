"""What rules will do to a parameter tree, as a table: a dry run that computes nothing."""

import dataclasses
import math
from collections.abc import Iterator
from typing import NamedTuple

from jaxreg._hyperparameters import written
from jaxreg._protocols import Rule, Rules, Tree
from jaxreg.rules._frameworks import Kind
from jaxreg.rules._matching import Leaf, matches, rule_axes

HEADINGS = ("path", "shape", "dtype", "kind", "rule", "axes", "norms")


class Row(NamedTuple):
    """One leaf of a parameter tree, and what its rule does.

    Attributes:
        path: The leaf's path, as patterns match it.
        shape: The leaf's shape.
        dtype: The name of the leaf's dtype; of its type, if it is no array.
        kind: What the leaf is to its layer.
        rule: The object for it, its `axis` filled in; None where no pattern claims the leaf.
        axes: The axes that are summed over in one norm; None where the rule looks at each weight for itself.
        norms: Number of norms (of sums, of matrices); None if there is no rule.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    kind: Kind
    rule: Rule | None
    axes: tuple[int, ...] | None
    norms: int | None

    def cells(self) -> tuple[str, ...]:
        """Return the row as it is printed."""
        rule = "-" if self.rule is None else _shown(self.rule)
        numbers = ("-" if value is None else str(value) for value in (self.axes, self.norms))
        return (self.path, str(self.shape), self.dtype, self.kind.value.strip("<>"), rule, *numbers)


@dataclasses.dataclass(frozen=True)
class Table:
    """The rows of `jaxreg.explain`, one a leaf: iterate over them, or print the table."""

    rows: tuple[Row, ...]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        lines = [HEADINGS, *(row.cells() for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(map(str.ljust, cells, widths)).rstrip() for cells in lines)

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        lines = [HEADINGS, ("---",) * len(HEADINGS), *(row.cells() for row in self.rows)]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in lines)


def explain(params: Tree, rules: Rules) -> Table:
    """Which rule is for which leaf, over which axes: a table with one row a leaf, those without a rule included.

    It looks at paths, shapes and dtypes only, so that the tree may come from `jax.eval_shape`: a dry run.

    Args:
        params: Tree of weight arrays, or of `jax.ShapeDtypeStruct`.
        rules: Which penalty or constraint for which leaves: a mapping from path pattern to object, or one object
            for all kernels, recurrent ones included.

    Returns:
        The table; it prints itself, and iterates over its rows.

    Raises:
        ValueError: If a pattern matches nothing, two claim one leaf, a leaf is not of floating-point numbers, or an
            axis is not one of the leaf's.
        TypeError: If the rules are not a mapping of callables, or one.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> params = {"hidden": {"kernel": jnp.zeros((2, 500)), "bias": jnp.zeros(500)}}
        >>> jr.explain(params, jr.MaxNorm(3.0))
        path           shape     dtype    kind     rule          axes  norms
        hidden/bias    (500,)    float32  biases   -             -     -
        hidden/kernel  (2, 500)  float32  kernels  MaxNorm(3.0)  (0,)  500
    """
    return Table(tuple(_row(leaf, rule) for leaf, _, rule in matches(params, rules)))


def _row(leaf: Leaf, rule: Rule | None) -> Row:
    shape = tuple(getattr(leaf.array, "shape", ()))
    dtype = str(getattr(leaf.array, "dtype", type(leaf.array).__name__))
    axes = None if rule is None else rule_axes(rule, len(shape))
    norms = None if axes is None else math.prod(n for a, n in enumerate(shape) if a not in axes)
    return Row(leaf.path, shape, dtype, leaf.kind, rule, axes, norms)


def _shown(rule: Rule) -> str:
    # Axes have a column of their own.
    if dataclasses.is_dataclass(rule):
        return written(rule, without=["axis"])
    return getattr(rule, "__name__", type(rule).__name__)
