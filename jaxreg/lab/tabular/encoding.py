"""Columns as the inputs and the target of a net: what is missing is filled in, words become ones and zeros.

An encoding is learnt once and kept as plain JSON with the model; columns are found by their names, in any order.
Numbers stay as they are here: the search standardises them inside each fold.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from jaxreg.lab.tabular.columns import Columns

TaskName = Literal["classification", "regression"]
"""Kind of a target: a class or a number."""
MOST_CATEGORIES = 100
MOST_CLASSES = 100
WHOLE_CLASSES = 20
"""Whole numbers with at most so many different values are taken for classes."""


@dataclasses.dataclass(frozen=True)
class Column:
    """How one column is encoded.

    Args:
        name: Its name.
        fill: What stands for a missing cell: the median of its numbers, or the most frequent of its words.
        categories: Its words, each of which becomes an input; empty for numbers.
    """

    name: str
    fill: float | str
    categories: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Target:
    """The target of a table.

    Args:
        y: Numbers, or the place of each row's class, of shape (rows,); rows without a target are left out.
        rows: Which rows of the table those are.
        task: What is to be learnt.
        classes: The classes in order; empty for numbers.
        notes: What to tell about it.
    """

    y: np.ndarray
    rows: np.ndarray
    task: TaskName
    classes: tuple[str | float, ...]
    notes: tuple[str, ...]


def target(columns: Columns, name: str, task: TaskName | None = None) -> Target:
    """Read the target column.

    Args:
        columns: The table.
        name: Of the target.
        task: What is to be learnt; told from the column if None: words, and whole numbers with few values, are classes.

    Raises:
        ValueError: If there is no such column, it is constant, or it holds words where numbers are wanted.
    """
    if name not in columns:
        hint = ": the first row looks like data, give the columns names" if all(map(is_number, columns)) else ""
        raise ValueError(f"there is no column {name!r}; there are {listed(list(columns))}{hint}")
    values = columns[name]
    words = values.dtype == object
    there = _filled(values)
    if not there.any():
        raise ValueError(f"column {name!r}, the target, is empty in all {len(values)} rows")
    if words and task == "regression":
        row = next(place for place, cell in enumerate(values) if cell is not None and not is_number(cell))
        raise ValueError(f"row {row + 1}, column {name!r}: the target is {values[row]!r}; expected a number")
    rows = np.flatnonzero(there)
    kept = values[rows]
    different = np.unique(kept.astype(str) if words else kept)
    whole = not words and len(different) <= WHOLE_CLASSES and bool((different == np.round(different)).all())
    notes = []
    if task is None:
        task = "classification" if words or whole else "regression"
        if whole:
            notes.append(f"{name} has {len(different)} different whole numbers: taken for classes, as by --task")
    if missing := len(values) - len(rows):
        notes.append(f"{missing} rows have no {name} and are left out")
    if len(different) < 2:
        what = "one class only" if task == "classification" else "one number only"
        raise ValueError(f"column {name!r}, the target, holds {what}, {different[0]}: nothing can be learnt from it")
    if task == "regression":
        return Target(kept.astype(np.float64), rows, task, (), tuple(notes))
    if len(different) > MOST_CLASSES:
        raise ValueError(
            f"column {name!r}, the target, holds {len(different)} different classes; expected at most {MOST_CLASSES}"
            + ("" if words else ": are they numbers? then say --task regression")
        )
    places = np.searchsorted(different, kept.astype(str) if words else kept)
    classes = tuple(str(each) if words else float(each) for each in different)
    notes += alike(name, classes)
    counts = np.bincount(places)
    most = int(np.argmax(counts))
    notes.append(
        f"{name} is {spoken(classes[most])}, the most frequent class, in {counts[most] / len(rows):.1%} of rows"
    )
    return Target(places, rows, task, classes, tuple(notes))


def spoken(each: str | float) -> str:
    """A class or a word as it is written: whole numbers without a point.

    Args:
        each: The class.

    Example:
        >>> spoken(20240101.0), spoken(0.1), spoken("yes")
        ('20240101', '0.1', 'yes')
    """
    if isinstance(each, str):
        return each
    return str(int(each)) if each == int(each) else repr(float(each))


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How the columns of a table become inputs.

    Args:
        columns: One each, in the order of the inputs.
    """

    columns: tuple[Column, ...]

    @property
    def inputs(self) -> list[str]:
        """The name of each input."""
        return [
            input_
            for column in self.columns
            for input_ in ([f"{column.name}={word}" for word in column.categories] or [column.name])
        ]

    @property
    def kinds(self) -> dict[str, bool]:
        """Whether each column holds words."""
        return {column.name: bool(column.categories) for column in self.columns}

    @property
    def words(self) -> dict[str, int]:
        """The columns of words, and how many different ones each has."""
        return {column.name: len(column.categories) for column in self.columns if column.categories}

    def __call__(self, columns: Columns) -> tuple[np.ndarray, list[str]]:
        """Inputs of shape (rows, inputs), and what to tell about them.

        Args:
            columns: A table with these columns by name, in any order, among others.

        Raises:
            ValueError: If a column is missing, or holds words where there were numbers.
        """
        if absent := [column.name for column in self.columns if column.name not in columns]:
            raise ValueError(f"the table lacks the column {listed(absent)}; it has {listed(list(columns))}")
        parts, notes = [], []
        for column in self.columns:
            values = columns[column.name]
            inputs, missing, unknown = (_ones if column.categories else _numbers)(column, values)
            parts.append(inputs)
            notes += alike(column.name, column.categories)
            if missing:
                notes.append(f"{column.name}: {missing} missing cells are taken for {column.fill}")
            if unknown:
                notes.append(f"{column.name}: {unknown} cells hold words that were not there in training")
        return np.concatenate(parts, axis=1), notes


def learn(columns: Columns, leave_out: str) -> Encoding:
    """How to encode the columns of a table.

    Args:
        columns: The table.
        leave_out: The target.

    Raises:
        ValueError: If a column has no cell that is filled or too many different words, or there is no other column.
    """
    learnt, empty, many = [], [], []
    for name, values in columns.items():
        if name == leave_out:
            continue
        there = values[_filled(values)]
        if not len(there):
            empty.append(name)
        elif values.dtype != object:
            learnt.append(Column(name, float(np.median(there))))
        else:
            different, counts = np.unique(there.astype(str), return_counts=True)
            learnt.append(Column(name, str(different[np.argmax(counts)]), tuple(map(str, different))))
            if len(different) > MOST_CATEGORIES:
                many.append(f"column {name!r} holds {len(different)} different words, such as {there[0][:40]!r}")
    # All of them at once: a table of people has names, addresses and remarks.
    if many:
        raise ValueError(
            f"{'; '.join(many[:8])}; expected at most {MOST_CATEGORIES} categories: group them, or leave {_it(many)} "
            "out by --leave-out"
        )
    if empty:
        which = f"column {listed(empty)} is" if len(empty) == 1 else f"columns {listed(empty)} are"
        raise ValueError(f"{which} empty in all {len(values)} rows: leave {_it(empty)} out by --leave-out")
    if not learnt:
        raise ValueError(f"the table has no column beside {leave_out!r}; expected one to predict from")
    return Encoding(tuple(learnt))


def _it(several: Sequence[str]) -> str:
    return "it" if len(several) == 1 else "them"


def alike(name: str, words: Sequence[str | float]) -> list[str]:
    """What to tell about words that differ in capitals only: they stay different, and are rarely meant so.

    Args:
        name: Of the column.
        words: Its different words.

    Example:
        >>> alike("smoker", ["Yes", "no", "yes"])
        ["smoker: 'Yes' and 'yes' differ in capitals only and are taken for different words"]
    """
    same: dict[str, list[str]] = {}
    for word in words:
        if isinstance(word, str):
            same.setdefault(word.casefold(), []).append(word)
    groups = [" and ".join(map(repr, group)) for group in same.values() if len(group) > 1]
    return [f"{name}: {group} differ in capitals only and are taken for different words" for group in groups[:3]]


def _numbers(column: Column, values: np.ndarray) -> tuple[np.ndarray, int, int]:
    if values.dtype == object:
        row = next((place for place, cell in enumerate(values) if cell is not None and not is_number(cell)), 0)
        raise ValueError(f"row {row + 1}, column {column.name!r} is {values[row]!r}; expected a number as in training")
    missing = np.isnan(values)
    return np.where(missing, column.fill, values)[:, None], int(missing.sum()), 0


def _ones(column: Column, values: np.ndarray) -> tuple[np.ndarray, int, int]:
    # Of a file that has types, cells may be numbers.
    there = _filled(values)
    words = [spoken(cell) if known else column.fill for cell, known in zip(values, there, strict=True)]
    ones = np.array(words, dtype=str)[:, None] == np.array(column.categories)
    return ones.astype(np.float64), int((~there).sum()), int((~ones.any(axis=1)).sum())


def _filled(values: np.ndarray) -> np.ndarray:
    return np.array([cell is not None for cell in values], bool) if values.dtype == object else ~np.isnan(values)


def is_number(word: str) -> bool:
    """Whether a word can be read as a number.

    Args:
        word: The word.
    """
    try:
        float(word)
    except ValueError:
        return False
    return True


def listed(names: list[str]) -> str:
    """The first names of a list, and how many more there are.

    Args:
        names: All of them.

    Example:
        >>> listed(["age", "city"])
        "'age', 'city'"
    """
    shown = ", ".join(map(repr, names[:8]))
    return shown + (f" and {len(names) - 8} more" if len(names) > 8 else "")
