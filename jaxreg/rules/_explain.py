"""What rules will do to a parameter tree, as a table: a dry run that computes nothing."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from jaxreg._hyperparameters import written
from jaxreg._protocols import Rule, Rules, Tree, facts, has_groups
from jaxreg.rules._frameworks import Kind
from jaxreg.rules._layouts import same_groups
from jaxreg.rules._matching import Leaf, Match, matches, rule_axes
from jaxreg.rules._stacked import EachLayer, of_matrices

HEADINGS = ("path", "shape", "dtype", "kind", "rule", "axes", "norms", "inferred from")


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
        source: Evidence that the axes were inferred from: "name" (of the leaf or its layer on the path), "class" (of
            the node), "box" (names of axes), "bias" (its shape) or "default"; None where the rule does not ask.
        doubt: Why the tree does not tell for certain; empty where it does.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    kind: Kind
    rule: Rule | None
    axes: tuple[int, ...] | None
    norms: int | None
    source: str | None
    doubt: str

    def cells(self) -> tuple[str, ...]:
        """Return the row as it is printed."""
        rule = "-" if self.rule is None else _shown(self.rule)
        numbers = ("-" if value is None else str(value) for value in (self.axes, self.norms))
        evidence = "-" if self.source is None else f"{self.source}, ambiguous" if self.doubt else self.source
        return (self.path, str(self.shape), self.dtype, self.kind.value.strip("<>"), rule, *numbers, evidence)

    @property
    def passed_over(self) -> bool:
        """Whether no rule claims the leaf though it has two or more axes and is no bias, as weights of layers are."""
        return self.rule is None and len(self.shape) > 1 and self.kind is not Kind.BIASES


@dataclasses.dataclass(frozen=True)
class Table:
    """The rows of `jaxreg.explain`, one per leaf: iterate over them, or print the table and the remarks under it."""

    rows: tuple[Row, ...]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        lines = [HEADINGS, *(row.cells() for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = ["  ".join(map(str.ljust, cells, widths)).rstrip() for cells in lines]
        return "\n".join([*table, *self.remarks()])

    __repr__ = __str__

    def remarks(self) -> list[str]:
        """Return a line for leaves that the tree leaves ambiguous, and one for those that no rule claims."""
        doubtful = [f"{row.path} ({row.doubt})" for row in self.rows if row.doubt]
        passed_over = [row.path for row in self.rows if row.passed_over]
        lines = [("Ambiguous, pass axis or a path: ", "; ", doubtful)]
        lines += [("Of two or more axes, and claimed by no rule: ", ", ", passed_over)]
        return [start + _some(items, between) for start, between, items in lines if items]

    def _repr_markdown_(self) -> str:
        lines = [HEADINGS, ("---",) * len(HEADINGS), *(row.cells() for row in self.rows)]
        table = ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in lines]
        return "\n".join([*table, *(f"\n{remark}" for remark in self.remarks())])


def explain(params: Tree, rules: Rules, strict: bool = False) -> Table:
    """Tabulate the rule of each leaf, its axes, and the evidence for them; leaves without a rule are included.

    It looks at paths, classes, names of axes, shapes and dtypes only, so that the tree may come from `jax.eval_shape`.

    Args:
        params: Tree of weight arrays, or of `jax.ShapeDtypeStruct`.
        rules: Which penalty or constraint for which leaves: a mapping from path pattern to object, or one object
            for all kernels, recurrent ones included.
        strict: Whether to refuse a tree that leaves a rule's axes ambiguous, or leaves of two or more axes that no
            rule claims.

    Returns:
        The table; it prints itself, and iterates over its rows.

    Raises:
        ValueError: If a pattern matches nothing, two equally exact ones claim one leaf, a leaf is not of
            floating-point numbers, an axis is not one of the leaf's, or `strict` refuses the tree.
        TypeError: If the rules are not a mapping of callables, or one.

    Example:
        >>> import jax.numpy as jnp, jaxreg as jr
        >>> params = {"hidden": {"kernel": jnp.zeros((2, 500)), "bias": jnp.zeros(500)}}
        >>> jr.explain(params, jr.MaxNorm(3.0))
        path           shape     dtype    kind     rule          axes  norms  inferred from
        hidden/bias    (500,)    float32  biases   -             -     -      -
        hidden/kernel  (2, 500)  float32  kernels  MaxNorm(3.0)  (0,)  500    bias
    """
    found = matches(params, rules)
    given = rules if isinstance(rules, Mapping) else dict.fromkeys([match.pattern for match in found], rules)
    table = Table(tuple(_row(match, given.get(match.pattern)) for match in found))
    if strict and (remarks := table.remarks()):
        raise ValueError(f"{' '.join(remarks)}; expected neither with strict=True")
    return table


def _row(match: Match, given: Rule | None) -> Row:
    leaf, pattern, rule = match
    shape = tuple(getattr(leaf.array, "shape", ()))
    dtype = str(getattr(leaf.array, "dtype", type(leaf.array).__name__))
    axes = None if rule is None else rule_axes(rule, len(shape))
    norms = None if axes is None else math.prod(n for a, n in enumerate(shape) if a not in axes)
    inferred = leaf.inferred
    if rule is None or given is None:
        return Row(leaf.path, shape, dtype, leaf.kind, None, axes, norms, None, "")
    asks = _leaves_axes_open(given)
    doubts = [inferred.doubt] if isinstance(pattern, Kind) and inferred.doubt else []
    if asks and (others := _other_groups(leaf, rule)):
        doubts.append(f"over {' or '.join(map(str, others))} as well")
    source = inferred.source if asks or doubts else None
    return Row(leaf.path, shape, dtype, leaf.kind, rule, axes, norms, source, " and ".join(doubts))


def _leaves_axes_open(rule: Rule) -> bool:
    inside = facts(rule).wrapped_rule()
    if inside is not None:
        return _leaves_axes_open(inside)
    return of_matrices(rule) or facts(rule).axis is None


def _other_groups(leaf: Leaf, rule: Rule) -> list[tuple[int, ...]]:
    # The axes of other readings that would give this rule other groups.
    shape = tuple(leaf.array.shape)
    found: dict[tuple[int, ...], None] = {}
    by_layer = isinstance(rule, EachLayer) or of_matrices(rule)
    by_unit = has_groups(rule.rule if isinstance(rule, EachLayer) else rule)
    for axes, layers in leaf.inferred.others:
        if by_unit and not same_groups(shape, axes, leaf.axes):
            found[axes] = None
        elif by_layer and not same_groups(shape, layers, leaf.layers):
            found[tuple(a for a in range(len(shape)) if a not in layers)] = None
    return list(found)


def _some(items: list[str], between: str) -> str:
    return between.join(items[:20]) + (f" and {len(items) - 20} more" if len(items) > 20 else "")


def _shown(rule: Rule) -> str:
    # Axes have a column of their own.
    if dataclasses.is_dataclass(rule):
        return written(rule, without=["axis"])
    return getattr(rule, "__name__", type(rule).__name__)
