"""Division of a sweep into boxes. A box contains the runs that share one compiled program.

An axis may have entries that JAX can't trace: choices and None. Two rows of an axis share a compiled program if they
have equal choices and have None in the same settings. The rows that share a program form a group. A box combines one
group of each axis. A sweep without choices and None has a single box.
"""

import contextlib
import hashlib
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import jax
import numpy as np

from jaxreg.lab.sweeps.designs import Choice, Points
from jaxreg.lab.sweeps.grid import LANE, check_apart, plain, stack, storable, traceable
from jaxreg.lab.sweeps.outputs import Run, check_arguments, check_names
from jaxreg.lab.sweeps.structures import Structure

POINT = "point"
"""Name of the axis if `over` is a single set of points, which has no name of its own."""


@dataclass
class Bound:
    """The user's function `run` with its untraceable arguments, such as functions, already bound.

    Args:
        run: Function of one point, with the settings as keyword arguments.
        fixed: For each axis of points or choices, the settings that are not traced, with their values in this box.
        together: Names of the axes whose settings are passed to `run` as one dict.
        taken: Names of the arguments that are passed to `run`; None passes all arguments.
    """

    run: Run
    fixed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    together: frozenset[str] = frozenset()
    taken: frozenset[str] | None = None
    structure: Structure | None = None

    def __call__(self, **point: Any) -> Any:
        """Evaluate `run` at a point of the box."""
        arguments = {}
        for name, value in point.items():
            if name not in self.fixed:
                arguments[name] = value
                continue
            settings = {**self.fixed[name], **(value if isinstance(value, dict) else {})}
            arguments |= {name: settings} if name in self.together else settings
        if self.taken is not None:
            arguments = {name: value for name, value in arguments.items() if name in self.taken}
        outputs = self.run(**arguments)
        check_names(outputs)
        with contextlib.suppress(TypeError, ValueError):  # outputs that are no tree are refused later, by their names
            # of a segment the outputs, not the state
            self.structure = Structure.of(outputs[1] if "state" in point and isinstance(outputs, tuple) else outputs)
        return outputs


@dataclass(frozen=True)
class Box:
    """Runs of a sweep that share one compiled program.

    Args:
        run: Function of the axes of the box.
        over: Axis -> the traced values of the axis in this box. If none of its settings is traced, row numbers.
        rows: For each axis, the row numbers that belong to this box; None for all rows.
        label: Name of the folder that stores the results of the box.
        begin: Function that returns the first state, if the sweep has segments.
    """

    run: Bound
    over: Mapping[str, Any]
    rows: tuple[np.ndarray | None, ...]
    label: str
    begin: Bound | None = None

    @property
    def chosen(self) -> bool:
        """True if this box has settings that JAX does not trace, such as functions."""
        return any(self.run.fixed.values())


@dataclass(frozen=True)
class Design:
    """Division of a sweep into boxes. A box contains the runs that share one compiled program.

    Args:
        boxes: The boxes.
        sizes: Axis of points or choices -> number of its rows.
        coords: Name of a coordinate -> axis and values of the coordinate.
        zipped: Whether the axes are combined entry by entry instead of as a product.
    """

    boxes: tuple[Box, ...]
    sizes: Mapping[str, int]
    coords: Mapping[str, tuple[str, np.ndarray]]
    zipped: bool


def cut(run: Run, over: Any, *, zipped: bool = False, begin: Run | None = None) -> Design:
    """Divide a sweep into boxes. A box contains the runs that share one compiled program.

    Args:
        run: Function of one point.
        over: Axis -> entries of the axis. Points or a DataFrame may be passed without a dict, as the only axis.
        zipped: Whether the axes are combined entry by entry instead of as a product.
        begin: Function that returns the first state, if the sweep has segments. `run` then takes an argument `state`.

    Raises:
        ValueError: If two axes or settings have the same name, or an axis is invalid.
        TypeError: If `run` does not take the axes and settings as arguments.
    """
    if isinstance(over, Points) or _is_table(over):
        over = {POINT: over}
    if not isinstance(over, Mapping) or not over:
        got = "empty" if isinstance(over, Mapping) else f"a {type(over).__name__}"
        raise ValueError(f"`over` is {got}; expected a dict with at least one axis, such as over={{'seed': range(10)}}")
    over = {name: _table(name, entries) if _is_table(entries) else entries for name, entries in over.items()}
    if zipped and any(map(_special, over.values())):
        if any(isinstance(entries, Points) for entries in over.values()):
            raise ValueError(
                "zipped=True doesn't work with points(…): remove zipped. Points already combine settings row by row"
            )
        over, zipped = {LANE: Points(over)}, False
    taken = _parameters(run)
    axes = [_read(name, entries, taken) for name, entries in over.items()]
    arguments = [argument for axis in axes for argument in axis.arguments]
    if twice := {argument for argument in arguments if arguments.count(argument) > 1}:
        raise ValueError(f"two axes or settings have the name {sorted(twice)[0]!r}: rename one of them")
    if begin is not None and (clash := {"state", "segment"} & {*over, *arguments}):
        raise ValueError(
            f"{sorted(clash)[0]!r} is the name of an axis or setting, but a sweep with segments reserves this name: "
            "rename the axis or setting"
        )
    first = begin and _first(begin, arguments)
    if all(isinstance(name, str) and name.isidentifier() for name in arguments):  # others make_grid refuses
        check_arguments(run, [*(["state"] if begin else []), *arguments])
    coords = {name: found for axis in axes for name, found in axis.coords()}
    sizes = {axis.name: axis.size for axis in axes if axis.columns is not None}
    boxes = tuple(_box(run, first, axes, groups) for groups in product(*(axis.groups() for axis in axes)))
    return Design(boxes, sizes, coords, zipped)


@dataclass(frozen=True)
class _Axis:
    """One axis of a sweep: its traced entries, or, for points and choices, one column of values per setting."""

    name: str
    entries: Any
    columns: Mapping[str, Any] | None
    together: bool = False

    @property
    def arguments(self) -> list[str]:
        return [self.name] if self.columns is None or self.together else list(self.columns)

    @property
    def size(self) -> int:
        """Number of entries of the axis."""
        return _length(next(iter((self.columns or {}).values())))

    def coords(self) -> Iterator[tuple[str, tuple[str, np.ndarray]]]:
        """Yield the coordinates that describe the axis, as (name, (dimension, values)).

        A setting has a coordinate if its values are numbers or have labels.
        """
        for setting, column in (self.columns or {}).items():
            if (values := _coordinate(setting, column)) is not None:
                yield setting, (self.name, values)

    def groups(self) -> list[tuple[np.ndarray | None, dict[str, Choice]]]:
        """Group the rows of the axis by compiled program. Return the row indices and static settings of each group."""
        if self.columns is None:
            return [(None, {})]
        kinds: dict[tuple[Any, ...], list[int]] = {}
        fixed = {name: column for name, column in self.columns.items() if isinstance(column, list)}
        for row in range(self.size):
            kind = tuple(_kind(column[row]) for column in fixed.values())
            kinds.setdefault(kind, []).append(row)
        return [
            (
                np.array(rows),
                {
                    name: entry if isinstance(entry := column[rows[0]], Choice) else Choice("None", None)
                    for name, column in fixed.items()
                    if _kind(column[rows[0]])
                },
            )
            for rows in kinds.values()
        ]


def _read(name: Any, entries: Any, taken: frozenset[str]) -> _Axis:
    if not _special(entries):
        return _Axis(name, entries, None)
    if not isinstance(entries, Points):
        return _Axis(name, None, {name: list(entries)})
    if name in entries.settings and name != LANE:
        raise ValueError(f"axis {name!r} contains a setting with the same name: rename the axis")
    columns = {setting: _column(setting, values) for setting, values in entries.settings.items()}
    return _Axis(name, None, columns, together=name in taken and not taken & columns.keys())


def _special(entries: Any) -> bool:
    """Tell whether an axis consists of points, or has a choice or None among its entries."""
    if isinstance(entries, list | tuple) and not hasattr(entries, "_fields"):
        return any(entry is None or isinstance(entry, Choice) for entry in entries)
    return isinstance(entries, Points)


def _column(name: str, values: Any) -> Any:
    """Return the values of a setting as stacked arrays, or as a list if some of the values are not traced."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "OUST":
        values = values.tolist()
    if isinstance(values, list | tuple) and not hasattr(values, "_fields"):
        entries = [Choice(entry, entry) if isinstance(entry, str) else entry for entry in values]
        if any(map(_kind, entries)):
            return entries
    return stack(name, values)


def _kind(entry: Any) -> Any:
    """Return a key that is equal for entries that share a compiled program: False for a traced entry."""
    return ("choice", type(entry.label), entry.label) if isinstance(entry, Choice) else entry is None and "None"


def _length(column: Any) -> int:
    return len(column) if isinstance(column, list) else len(jax.tree.leaves(column)[0])


def _coordinate(name: str, column: Any) -> np.ndarray | None:
    if not isinstance(column, list):
        array = column if isinstance(column, np.ndarray) else None
        if array is None and hasattr(column, "dtype") and hasattr(column, "__array__"):
            array = np.asarray(plain(column))
        if array is None or array.ndim != 1 or array.dtype.kind not in "biufc":
            return None
        check_apart(name, array, traceable(name, array), from_zero_only=True)  # points may come twice
        return storable(array)
    choices = any(isinstance(entry, Choice) for entry in column)
    shown = [entry.label if isinstance(entry, Choice) else entry for entry in column]
    traced = [entry for entry in column if not _kind(entry)]
    if any(np.ndim(entry) or not np.isscalar(entry) for entry in traced if not isinstance(entry, int | float)):
        return None
    if choices and not all(isinstance(entry, int | float) and not isinstance(entry, bool) for entry in shown):
        return np.array([str(entry) for entry in shown])
    if traced:
        check_apart(name, np.asarray(traced), traceable(name, np.asarray(traced)), from_zero_only=True)
    return np.array([np.nan if entry is None else entry for entry in shown])


def _box(
    run: Run,
    begin: Bound | None,
    axes: list[_Axis],
    groups: tuple[tuple[np.ndarray | None, dict[str, Choice]], ...],
) -> Box:
    over: dict[str, Any] = {}
    fixed: dict[str, dict[str, Any]] = {}
    for axis, (rows, chosen) in zip(axes, groups, strict=True):
        if rows is None:
            over[axis.name] = axis.entries
            continue
        fixed[axis.name] = {name: choice.value for name, choice in chosen.items()}
        traced = {name: _rows(name, c, rows) for name, c in (axis.columns or {}).items() if name not in chosen}
        over[axis.name] = traced or np.arange(len(rows))
    together = frozenset(axis.name for axis in axes if axis.together)
    labels = [f"{name}={choice.label}" for _, chosen in groups for name, choice in chosen.items()]
    whole = ",".join(labels) or "traced"
    label = re.sub(r"[^\w.=+,-]", "_", whole)[:100]
    if label != whole:
        label += "-" + hashlib.sha256(whole.encode()).hexdigest()[:8]
    first = begin and replace(begin, fixed=fixed, together=together)
    return Box(Bound(run, fixed, together), over, tuple(rows for rows, _ in groups), label, first)


def _rows(name: str, column: Any, rows: np.ndarray) -> Any:
    if isinstance(column, list):
        return stack(name, [column[row] for row in rows])
    return jax.tree.map(lambda leaf: leaf[rows], column)


def _first(begin: Run, arguments: list[str]) -> Bound:
    """Wrap `begin` so that it gets only the arguments in its signature."""
    try:
        named = inspect.signature(begin).parameters
    except (TypeError, ValueError):
        return Bound(begin)
    if any(one.kind is one.VAR_KEYWORD for one in named.values()):
        return Bound(begin)
    taken = [name for name in arguments if name in named]
    check_arguments(begin, taken, "begin")
    return Bound(begin, taken=frozenset(taken))


def _parameters(run: Any) -> frozenset[str]:
    try:
        return frozenset(inspect.signature(run).parameters)
    except (TypeError, ValueError):
        return frozenset()


def _is_table(entries: Any) -> bool:
    return hasattr(entries, "columns") and hasattr(entries, "to_dict")


def _table(name: Any, table: Any) -> Points:
    """Convert a DataFrame to points, one per row. Missing values become None."""
    for column in table.columns:
        if not isinstance(column, str) or not column.isidentifier():
            raise ValueError(
                f"the DataFrame of axis {name!r} has a column {column!r}; expected the name of an argument of `run`. "
                "Rename the column"
            )
    if twice := [column for column in table.columns if list(table.columns).count(column) > 1]:
        raise ValueError(f"the DataFrame of axis {name!r} has two columns named {twice[0]!r}: rename one of them")
    return Points({column: [_present(value) for value in table[column].to_list()] for column in table.columns})


def _present(value: Any) -> Any:
    missing = type(value).__name__ in ("NAType", "NaTType") or (
        isinstance(value, float | np.floating) and bool(value != value)
    )
    return None if missing else value
