"""Tables of the rules that apply to a parameter tree, without any computation."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from jaxreg._hyperparameters import written
from jaxreg._protocols import Constraint, ConstraintRules, Penalty, PenaltyRules, Rule, Rules, Tree, facts, has_groups
from jaxreg.rules._frameworks import Kind
from jaxreg.rules._layouts import same_groups
from jaxreg.rules._matching import Leaf, Match, matches, refuse_others, rule_axes
from jaxreg.rules._stacked import EachLayer, of_matrices

HEADINGS = ("path", "shape", "dtype", "kind", "rule", "axes", "norms", "inferred from")


class Row(NamedTuple):
    """Row of the table of `jaxreg.explain`: one leaf of a parameter tree and one rule for it.

    Attributes:
        path: Path of the leaf. Patterns are compared with this path.
        shape: Shape of the leaf.
        dtype: Name of the dtype of the leaf, or of its type if it is not an array.
        kind: Role of the leaf in its layer: kernel, recurrent kernel, bias, embedding or other.
        rule: Rule for the leaf, with its `axis` filled in; None if no pattern matches the leaf.
        axes: Axes of one group of weights, for example the axes that one norm sums over; None if every weight is its
            own group. For an intersection, the axes of all its parts.
        norms: Number of groups (norms, sums or matrices); None if `axes` is None.
        source: Evidence for the inferred axes; None if the rule does not need inferred axes.

            - "name": name of the leaf, or of its layer in the path
            - "class": class of the layer
            - "box": names of the axes of the array
            - "bias": shape of the layer's bias
            - "default": no evidence
        doubt: Reason why the inferred axes or the role may be wrong; empty if there is none.
        argument: Argument of `jaxreg.explain` that contained the rule, such as "penalties"; empty for `rules`.
        given: The rule as it was passed; None if no pattern matches the leaf.
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
    argument: str = ""
    given: Rule | None = None

    def cells(self) -> tuple[str, ...]:
        """Return the cells of the printed row."""
        rule = "-" if self.given is None else _shown(self.given, of_layers=isinstance(self.rule, EachLayer))
        rule = f"{self.argument}: {rule}" if self.argument else rule
        numbers = ("-" if value is None else str(value) for value in (self.axes, self.norms))
        evidence = "-" if self.source is None else f"{self.source}, ambiguous" if self.doubt else self.source
        return (self.path, str(self.shape), self.dtype, self.kind.value.strip("<>"), rule, *numbers, evidence)

    @property
    def passed_over(self) -> bool:
        """Return whether the leaf looks like a weight (two or more axes, not a bias) but has no rule."""
        return self.rule is None and len(self.shape) > 1 and self.kind is not Kind.BIASES


@dataclasses.dataclass(frozen=True)
class Table:
    """Table of `jaxreg.explain`, with one row per leaf and rule. Print it, or iterate over its rows."""

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
        """Return the warnings below the table, about ambiguous weights and about weights without a rule."""
        doubtful = [f"{row.path} ({row.doubt})" for row in self.rows if row.doubt]
        passed_over = [row.path for row in self.rows if row.passed_over]
        advice = (
            ". For each of these weights, use its path as the pattern, and pass the right axis, if the rule takes an "
            "axis"
        )
        lines = [("Ambiguous weights: ", doubtful, advice)]
        lines += [("Weights with two or more axes, but without a rule: ", passed_over, "")]
        return [start + _some(list(dict.fromkeys(items))) + end for start, items, end in lines if items]

    def _repr_markdown_(self) -> str:
        lines = [HEADINGS, ("---",) * len(HEADINGS), *(row.cells() for row in self.rows)]
        table = ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in lines]
        return "\n".join([*table, *(f"\n{remark}" for remark in self.remarks())])


def explain(
    params: Tree,
    rules: Rules | None = None,
    strict: bool = False,
    *,
    penalties: PenaltyRules | None = None,
    decays: PenaltyRules | None = None,
    proximals: PenaltyRules | None = None,
    constraints: ConstraintRules | None = None,
) -> Table:
    """Return a table with one row per leaf: its rule, and the axes over which its weights are grouped.

    Leaves without a rule are included. The weights are not read, so the tree may come from `jax.eval_shape`. The table
    uses the paths, shapes and dtypes of the leaves. It also uses the classes of the layers, such as modules of Equinox,
    and the names that some libraries give to the axes of an array.

    These columns describe the groups of weights:

    - `axes`: axes of one group, such as the axes that one norm sums over
    - `norms`: number of groups
    - `inferred from`: evidence for the axes; a dash if the rule needs no inferred axes

    The column `kind` tells what a leaf is, such as "kernels". If the axes or the kind may be wrong, the word
    "ambiguous" is added to the evidence, and a line below the table gives the reason. The evidence is one of these
    words:

    - "name": name of the leaf, or of its layer in the path
    - "class": class of the layer
    - "box": names of the axes in a box around the array, such as Flax's `Partitioned`
    - "bias": shape of the layer's bias
    - "default": no evidence

    Pass a single set of rules, such as all constraints, as `rules`. To see all sets of an optimiser in one table, pass
    them by name, as for `jaxreg.regularize`. Then a leaf with several rules has several rows.

    Args:
        params: Tree of weight arrays, or of `jax.ShapeDtypeStruct`.
        rules: Penalties or constraints: a mapping from path pattern to rule, or one rule for all kernels and recurrent
            kernels. If several patterns match a leaf, the pattern of the highest precedence applies. A path takes
            precedence over a regular expression, and a regular expression over a kind such as `jaxreg.KERNELS`.
        strict: If True, raise an error if the axes or the kind of a leaf with a rule are ambiguous, or if a leaf with
            two or more axes has no rule.
        penalties: Rules for `jaxreg.penalize`.
        decays: Rules for `jaxreg.decay`.
        proximals: Rules for `jaxreg.proximal`.
        constraints: Rules for `jaxreg.project`.

    Returns:
        The table. Print it, or iterate over its rows.

    Raises:
        ValueError: If a pattern matches no leaf. If two patterns of equal precedence match one leaf, such as two
            regular expressions. If a leaf with a rule does not contain floating-point numbers. If an axis is out of
            range. If `strict` is True, and axes or kinds are ambiguous or a leaf with two or more axes has no rule.
        TypeError: If the rules are neither a callable nor a mapping of callables. If rules are given both as `rules`
            and by name, or not at all. If `constraints` contains a penalty, or another named set contains a constraint.

    Example:
        The bias has 500 entries, so axis 1 of the kernel counts the 500 units. `MaxNorm` therefore limits 500 norms,
        each over axis 0.

        >>> import jax.numpy as jnp, jaxreg as jr
        >>> params = {"hidden": {"kernel": jnp.zeros((2, 500)), "bias": jnp.zeros(500)}}
        >>> jr.explain(params, jr.MaxNorm(3.0))
        path           shape     dtype    kind     rule          axes  norms  inferred from
        hidden/bias    (500,)    float32  biases   -             -     -      -
        hidden/kernel  (2, 500)  float32  kernels  MaxNorm(3.0)  (0,)  500    bias
    """
    sets = {"penalties": penalties, "decays": decays, "proximals": proximals, "constraints": constraints}
    chain: dict[str, Rules] = {name: given for name, given in sets.items() if given is not None}
    if (rules is None) == (not chain):
        raise TypeError(
            f"jaxreg.explain got {'no rules' if rules is None else ' and '.join(['rules', *chain])}; expected rules "
            "either as the second argument, or by name as penalties=, decays=, proximals= or constraints="
        )
    if rules is not None:
        chain = {"": rules}
    for name, given in chain.items():
        if name == "constraints":
            refuse_others(given, Constraint, "explain", "penalties=, decays= or proximals=")
        elif name:
            refuse_others(given, Penalty, "explain", "constraints=")
    rows: list[Row] = []
    for leaf in zip(*(_rows(params, given, name) for name, given in chain.items()), strict=True):
        rows += [row for row in leaf if row.rule is not None] or leaf[:1]
    table = Table(tuple(rows))
    if strict and (remarks := table.remarks()):
        raise ValueError(
            f"jaxreg.explain: strict=True allows neither ambiguous weights nor weights without a rule. "
            f"{'. '.join(remarks)}. Change the rules, or pass strict=False"
        )
    return table


def _rows(params: Tree, rules: Rules, argument: str) -> list[Row]:
    found = matches(params, rules)
    given = rules if isinstance(rules, Mapping) else dict.fromkeys([match.pattern for match in found], rules)
    rows = [_row(match, given.get(match.pattern)) for match in found]
    return [row if row.rule is None else row._replace(argument=argument) for row in rows]


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
        doubts.append(f"other axes are possible: {' or '.join(map(str, others))}")
    source = inferred.source if asks or doubts else None
    return Row(leaf.path, shape, dtype, leaf.kind, rule, axes, norms, source, " and ".join(doubts), given=given)


def _leaves_axes_open(rule: Rule) -> bool:
    inside = facts(rule).wrapped_rule()
    if inside is not None:
        return _leaves_axes_open(inside)
    if parts := facts(rule).sets():
        return any(map(_leaves_axes_open, parts))
    return of_matrices(rule) or facts(rule).axis is None


def _other_groups(leaf: Leaf, rule: Rule) -> list[tuple[int, ...]]:
    # Axes of other readings that would give this rule different groups.
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


def _some(items: list[str]) -> str:
    return "; ".join(items[:20]) + (f" and {len(items) - 20} more" if len(items) > 20 else "")


def _shown(rule: Rule, of_layers: bool) -> str:
    # The rule as it was passed. Inferred axes are shown in their own column only.
    name = written(rule) if dataclasses.is_dataclass(rule) else getattr(rule, "__name__", type(rule).__name__)
    return f"EachLayer(rule={name})" if of_layers and not isinstance(rule, EachLayer) else name
