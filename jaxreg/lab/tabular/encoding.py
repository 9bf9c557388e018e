"""Encoding of columns as inputs and target of a network: numbers, one-hot categories and missing cells.

An encoding is learnt once and stored with the model as plain JSON. It finds columns by name, in any order. It does not
scale numbers, because the search standardises them inside each fold.
"""

import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxreg.lab.tabular import column_types
from jaxreg.lab.tabular.arguments import as_numbers, ignoring
from jaxreg.lab.tabular.column_types import Reading, Words
from jaxreg.lab.tabular.columns import Columns, find, plain_name
from jaxreg.lab.tabular.dates import Dates
from jaxreg.lab.tabular.numerals import KINDS, CellError, Numbers, is_missing, numeral

TaskName = Literal["classification", "regression"]
"""Type of a target: classes or numbers."""
MOST_CATEGORIES = 100
MOST_CLASSES = 100
WHOLE_CLASSES = 20
"""Integers with at most this many distinct values are treated as classes."""
FEW_ROWS = 5
"""A class needs at least this many rows, so that each fold can contain one of them."""
_OLD_BLANKS = ("", "?", "n/a", "na", "nan", "none", "null")
"""Words that count as missing in an encoding of the first format, which has no column types."""


@dataclasses.dataclass(frozen=True)
class Column:
    """Encoding of one column of a table as inputs of a network.

    Args:
        name: Name of the column.
        fill: Value for missing cells: the median of the numbers, or the most frequent category.
        categories: Distinct text values. Each becomes an input. A column of numbers may contain some text values too.
        reading: Type of the column, which converts cells to numbers.
        missing: True if the column had missing cells in training. An additional input then marks missing cells.
    """

    name: str
    fill: float | str
    categories: tuple[str, ...] = ()
    reading: Reading = dataclasses.field(default_factory=Numbers)
    missing: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the encoding as a dict for JSON. If `plain` is true, the dict has the form of file format 1."""
        told: dict[str, Any] = {"name": self.name, "fill": self.fill, "categories": self.categories}
        return told if self.plain else told | {"reading": column_types.to_json(self.reading), "missing": self.missing}

    @property
    def plain(self) -> bool:
        """True if format 1 of model files can store this encoding. This older format stores no column types."""
        first = Words(_OLD_BLANKS) if self.categories else Numbers()
        return self.reading == first and not self.missing

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Column":
        """Return the encoding from the dict that `to_json` returned.

        Args:
            told: Dict in the form of file format 1 or 2.
        """
        categories = tuple(told["categories"])
        if "reading" not in told:
            return cls(told["name"], told["fill"], categories, Words(_OLD_BLANKS) if categories else Numbers())
        return cls(told["name"], told["fill"], categories, column_types.from_json(told["reading"]), told["missing"])

    def inputs(self, values: np.ndarray, decimal: str | None = None) -> tuple[dict[str, np.ndarray], int, list[str]]:
        """Return the network inputs that are made from the cells of this column.

        Args:
            values: Cells of the column.
            decimal: Decimal mark of the file, if it is known.

        Returns:
            A tuple of three values:

            - a dict from the name of each input to its values, one per row
            - the number of missing cells; 0 if the column had missing cells in training too
            - the text of each cell with a text that did not occur in training

        Raises:
            ValueError: If a cell contains text, but the column contained only numbers in training.
        """
        cells = _Cells.of(values, self.reading, decimal)
        places = {word: place for place, word in enumerate(self.categories)}
        known = np.array([places.get(word, -1) for word in cells.words] or [-1] * len(cells.numbers), int)
        stray = np.isnan(cells.numbers) & ~cells.marks & (known < 0)
        if stray.any() and not self.categories:
            row = int(np.flatnonzero(np.isin(cells.codes, np.flatnonzero(stray)))[0])
            forms = self.reading.forms if isinstance(self.reading, Dates) else ""
            raise ValueError(
                f"row {row + 1}, column {self.name!r} is {values[row]!r}; expected {_one(self.reading)} as in "
                f"training{forms}"
            )
        blank = np.append(cells.marks, True)[cells.codes]
        unknown = np.append(stray, False)[cells.codes]
        category = np.append(known, -1)[cells.codes]
        if not self.missing and isinstance(self.reading, Words):
            category = np.where(blank, places.get(str(self.fill), -1), category)
        made: dict[str, np.ndarray] = {}
        if not isinstance(self.reading, Words):
            numbers = np.append(cells.numbers, np.nan)[cells.codes]
            made |= self.reading.inputs(self.name, np.where(np.isnan(numbers), self.fill, numbers))
        ones = category[:, None] == np.arange(len(self.categories))
        made |= {f"{self.name}={word}": ones[:, place] for word, place in places.items()}
        if self.missing:
            made[f"{self.name} is missing"] = blank | (unknown & (not isinstance(self.reading, Words)))
        return made, 0 if self.missing else int(blank.sum()), [cells.words[code] for code in cells.codes[unknown]]


def _one(reading: Reading) -> str:
    """Return words for a cell of a column type, with the currency or the units, such as "a number in €"."""
    one = f"a {type(reading).__name__.lower().removesuffix('s')}"
    if not isinstance(reading, Numbers):
        return one
    units = [unit for unit in reading.units if unit]
    if reading.currency:
        units = [reading.currency]
    elif "" in reading.units and len(units) > 1:  # multiples of a number without a unit, such as 12k
        return one
    return f"{one} in {' or '.join(part for part in (', '.join(units[:-1]), units[-1]) if part)}" if units else one


class _Cells(NamedTuple):
    """The distinct cells of a column.

    Args:
        words: Text of each distinct cell; empty for a column of float64.
        numbers: Number of each distinct cell, or NaN.
        marks: Boolean array, True for each distinct cell that counts as missing.
        codes: Index of the distinct cell of each row; -1 for a blank cell.
    """

    words: Sequence[str]
    numbers: np.ndarray
    marks: np.ndarray
    codes: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, reading: Reading, decimal: str | None) -> "_Cells":
        if values.dtype != object and isinstance(reading, Numbers):
            numbers = values[~np.isnan(values)]
            codes = np.full(len(values), -1)
            codes[~np.isnan(values)] = np.arange(len(numbers))
            return cls([], numbers, np.zeros(len(numbers), bool), codes)
        words, codes = different(values)
        return cls(words, reading.numbers(words, decimal), column_types.missing(reading, words), codes)


def different(values: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Return the distinct text values of a column, and the index of each row's value among them (-1 if blank).

    Args:
        values: Cells of the column: text or float64. A blank cell is None in text, and NaN in float64.
    """
    if values.dtype != object:
        values = np.array([None if np.isnan(cell) else spoken(cell) for cell in values], dtype=object)
    places: dict[str, int] = {}
    codes = [-1 if cell is None else places.setdefault(cell, len(places)) for cell in values]
    return list(places), np.array(codes, int)


@dataclasses.dataclass(frozen=True)
class Encoding:
    """Encoding of the columns of a table as inputs of a network.

    Args:
        columns: Encoding of each column, in the order of the inputs.
    """

    columns: tuple[Column, ...]

    @property
    def version(self) -> int:
        """Oldest format of model files that can store this encoding: 1 or 2.

        Format 1 is enough if all columns are plain numbers without missing cells, or if the encoding was loaded from a
        file of format 1. Format 2 also stores the type of each column, such as words or dates, and whether it had
        missing cells in training.
        """
        return 1 if all(column.plain for column in self.columns) else 2

    @property
    def inputs(self) -> list[str]:
        """Names of the network inputs, in their order."""
        one = np.zeros(1)
        return [
            input_
            for column in self.columns
            for input_ in column.inputs(np.full(1, None) if isinstance(column.reading, Words) else one * np.nan)[0]
        ]

    @property
    def blocks(self) -> list[list[int]]:
        """Indices of the network inputs made from each column: one list per column."""
        one = np.zeros(1)
        sizes = [
            len(column.inputs(np.full(1, None) if isinstance(column.reading, Words) else one * np.nan)[0])
            for column in self.columns
        ]
        ends = np.cumsum(sizes)
        return [list(range(end - size, end)) for end, size in zip(ends.tolist(), sizes, strict=True)]

    @property
    def kinds(self) -> dict[str, bool]:
        """Mapping from column names to booleans: True for a column of text."""
        return {column.name: isinstance(column.reading, Words) for column in self.columns}

    def __call__(self, columns: Mapping[str, np.ndarray]) -> tuple[np.ndarray, list[str]]:
        """Return the network inputs of a table, of shape (rows, inputs), and a list of notes for the user.

        The notes say which cells were missing and replaced, and which words did not occur in training.

        Args:
            columns: Table that has all columns of the encoding, in any order. Further columns are ignored.

        Raises:
            ValueError: If a column is missing, or contains text although it contained only numbers in training.
        """
        places = {column.name: find(columns, column.name) for column in self.columns}
        if absent := [name for name, place in places.items() if place is None]:
            columns_ = "column" if len(absent) == 1 else "columns"
            raise ValueError(f"the table lacks the {columns_} {listed(absent)}; it has {listed(list(columns))}")
        parts: list[np.ndarray] = []
        notes, problems = [], []
        for column in self.columns:
            try:
                found, missing, unknown = column.inputs(
                    columns[places[column.name] or ""], columns.decimal if isinstance(columns, Columns) else None
                )
            except ValueError as error:
                problems.append(str(error))
                continue
            parts += found.values()
            if missing:
                cells = "1 missing cell is" if missing == 1 else f"{missing} missing cells are"
                notes.append(f"{column.name}: {cells} replaced by {column.fill}")
            if unknown:
                notes.append(f"{column.name}: {_unknown(unknown, column)}")
        if problems:
            raise ValueError("; ".join(problems[:8]))
        return np.stack(parts, axis=1).astype(np.float64), notes


class Problem(NamedTuple):
    """Problem that was found in a table, such as an empty column.

    Args:
        sentence: Description of the problem.
        leave_out: Column to leave out, if that solves the problem.
    """

    sentence: str
    leave_out: str | None = None


class Learnt(NamedTuple):
    """The encoding of a table, with notes for the user and the problems that were found.

    Args:
        encoding: The encoding of all columns that can be inputs.
        notes: Notes for the user on how the columns were read. Each note starts with the name of its column.
        problems: Problems that were found. A column with a problem has no encoding.
        ids: Names of the columns that are ignored because they look like names or ids.
    """

    encoding: Encoding
    notes: list[str]
    problems: list[Problem]
    ids: list[str]

    def check(self) -> None:
        """Raise an error that lists all problems, if any problem was found."""
        if self.problems:
            raise ValueError("; ".join(problem.sentence for problem in self.problems))


def learn(columns: Mapping[str, np.ndarray], leave_out: str) -> Encoding:
    """Learn the encoding of all columns of a table except the target.

    Args:
        columns: Table.
        leave_out: Name of the target.

    Raises:
        ValueError: If a column is empty, cannot be read or has too many distinct values, or no column can be an input.
    """
    learnt = examine(columns, leave_out)
    learnt.check()
    return learnt.encoding


def examine(columns: Mapping[str, np.ndarray], leave_out: str) -> Learnt:
    """Learn the encoding of all columns of a table except the target. Also return notes and problems.

    Args:
        columns: Table.
        leave_out: Name of the target.
    """
    learnt: list[Column] = []
    ids: list[str] = []
    notes: list[str] = []
    problems: list[Problem] = []
    for name, values in columns.items():
        if name == leave_out:
            continue
        try:
            column, told = _learnt(name, values, columns.decimal if isinstance(columns, Columns) else None)
        except CellError as error:
            row = next(place for place, cell in enumerate(values) if cell == error.cell)
            sentence = f"row {row + 1}, column {name!r} is {_short(error.cell)}, {error.reason}"
            problems.append(Problem(sentence, name))
            continue
        except ValueError as error:
            problems.append(Problem(str(error), name))
            continue
        notes += told
        if column:
            learnt.append(column)
        else:
            ids.append(name)
    if not learnt and not problems:
        others = [repr(leave_out)] if leave_out else []
        others += ["columns of names, which are ignored"] if notes else []
        besides = f" except {' and '.join(others)}" if others else ""
        problems.append(Problem(f"the table has no column{besides}; expected at least one column to predict from"))
    return Learnt(Encoding(tuple(learnt)), notes, problems, ids)


def _learnt(name: str, values: np.ndarray, decimal: str | None) -> tuple[Column | None, list[str]]:
    if values.dtype != object:
        there = values[~np.isnan(values)]
        if not len(there):
            raise ValueError(f"column {name!r} is empty in all {len(values)} rows: {ignoring('it')}")
        column = Column(name, float(np.median(there)), missing=len(there) < len(values))
        return column, [f"{name}: {_gaps(len(values) - len(there), column)}"] if column.missing else []
    words, codes = different(values)
    reading, told = column_types.judged(words, decimal)
    numbers, marks = reading.numbers(words, decimal), column_types.missing(reading, words)
    of_row = np.append(numbers, np.nan)[codes]
    missing = np.append(marks, True)[codes]
    if missing.all():
        raise ValueError(f"column {name!r} is empty in all {len(values)} rows: {ignoring('it')}")
    strays = [word for word, number, mark in zip(words, numbers, marks, strict=True) if np.isnan(number) and not mark]
    counts = np.bincount(codes[codes >= 0], minlength=len(words))
    if isinstance(reading, Words):
        numbered = int((~np.isnan(Numbers().numbers(words))).sum())
        if len(words) > KINDS and 2 * len(words) > max(counts.sum(), 4 * numbered):
            note = (
                f"{name}: ignored, because {len(words)} distinct values in {counts.sum()} rows look like names or ids"
            )
            return None, [note]
        if len(words) > MOST_CATEGORIES:
            raise ValueError(
                f"column {name!r} holds {len(words)} distinct values, such as {_short(words[0])}; expected at most "
                f"{MOST_CATEGORIES} categories. Merge categories, or {ignoring('the column')}"
            )
        categories = tuple(sorted(words))
        fill: float | str = max(categories, key=lambda word: counts[words.index(word)])
        told = [f"{len(words)} distinct values, one input each{_odd(words, counts, codes)}"]
    else:
        categories = tuple(sorted(strays))
        there = of_row[~np.isnan(of_row)]
        if isinstance(reading, Dates):
            reading = reading.varied(there)
        fill = float(np.median(there))
        told = ["; ".join([f"read as {reading.told}", *told])]
        if strays:
            rows = int(np.isin(codes, [words.index(word) for word in strays]).sum())
            row = int(np.flatnonzero(codes == words.index(strays[0]))[0])
            told.append(
                f"{rows} cells hold text, such as {_short(strays[0])} in row {row + 1}: one input for each text"
            )
        marked = [word for word, mark in zip(words, marks, strict=True) if mark]
        told += [f"{', '.join(map(repr, marked[:3]))} count as missing"] if marked else []
    column = Column(name, fill, categories, reading, bool(missing.any()))
    told += [_gaps(int(missing.sum()), column)] if column.missing else []
    return column, [f"{name}: {'; '.join(told)}", *alike(name, categories)]


def _unknown(cells: Sequence[str], column: Column) -> str:
    words = list(dict.fromkeys(cells))
    close = [_close(word, column.categories, _SURE) for word in words[:3]]
    hints = ["" if known is None else f" (did you mean {known!r}?)" for known in close]
    shown = ", ".join(f"{_short(word)}{hint}" for word, hint in zip(words, hints, strict=False))
    shown += f" and {len(words) - 3} more" if len(words) > 3 else ""
    found = f"{shown} in {len(cells)} cell{'s' if len(cells) > 1 else ''} did not occur in training"
    if isinstance(column.reading, Words):
        return f"{found}, and counts as none of the known categories"
    if any(numeral(word) is not None for word in words):
        found += f", is not {_one(column.reading)}"
    return f"{found}, and is replaced by {column.fill:g}{' and marked as missing' if column.missing else ''}"


def _gaps(count: int, column: Column) -> str:
    cells = f"{count} missing cells" if count != 1 else "1 missing cell"
    if isinstance(column.reading, Words):
        return f"{cells}, marked by an input"
    return f"{cells}, replaced by {column.fill:g} and marked by an input"


def _odd(words: Sequence[str], counts: np.ndarray, codes: np.ndarray) -> str:
    """Return a note if a few cells with text prevent a column from being read as numbers; otherwise ""."""
    odd = np.array([numeral(word) is None and not is_missing(word) for word in words])
    strays = int(counts[odd].sum())
    if not strays or 2 * strays > len(codes):
        return ""
    row = int(np.flatnonzero(np.isin(codes, np.flatnonzero(odd)))[0])
    numbers = f"{len(codes) - strays} of {len(codes)} cells are numbers or missing"
    return f"; {numbers}, but row {row + 1} is {_short(words[codes[row]])}"


@dataclasses.dataclass(frozen=True)
class Target:
    """The target of a table: a class or a number for each row that has a target.

    Args:
        y: Number or class index for each row that has a target, of shape (rows,).
        rows: Indices, in the table, of the rows that have a target.
        task: Type of the target.
        classes: The classes, sorted; empty for regression.
        notes: Notes for the user on how the target was read, such as the number of rows without a target.
    """

    y: np.ndarray
    rows: np.ndarray
    task: TaskName
    classes: tuple[str | float, ...]
    notes: tuple[str, ...]


def target(columns: Mapping[str, np.ndarray], name: str, task: TaskName | None = None) -> Target:
    """Read the target column of a table, and infer whether it holds classes or numbers.

    Args:
        columns: Table.
        name: Name of the target.
        task: Type of the target. None infers the type from the column: text is read as classes, and so are
            integers with few distinct values. Other columns are read as numbers.

    Raises:
        ValueError: If the column does not exist, is empty or constant, has too many classes, or contains text although
            `task` is regression.
    """
    if name not in columns:
        raise ValueError(f"there is no column {name!r}; {expected_name(name, list(columns))}")
    values, notes = _target_values(columns, name, task)
    words = values.dtype == object
    there = np.array([cell is not None for cell in values], bool) if words else ~np.isnan(values)
    if not there.any():
        raise ValueError(
            f"column {name!r}, the target, is empty in all {len(values)} rows; expected classes or numbers"
        )
    rows = np.flatnonzero(there)
    kept = values[rows]
    distinct = np.unique(kept.astype(str) if words else kept)
    whole = not words and len(distinct) <= WHOLE_CLASSES and bool((distinct == np.round(distinct)).all())
    if task is None:
        task = "classification" if words or whole else "regression"
        if whole:
            note = f"{name} has {len(distinct)} distinct integers, which are used as classes"
            notes.append(f"{note}. To use them as numbers, set {as_numbers()}")
    if missing := len(values) - len(rows):
        notes.append(f"{missing} rows have no {name} and are ignored")
    if len(distinct) < 2:
        what = "the class" if task == "classification" else "the number"
        raise ValueError(f"column {name!r}, the target, holds only {what} {distinct[0]}; expected at least two")
    if task == "regression":
        return Target(kept.astype(np.float64), rows, task, (), tuple(notes))
    if len(distinct) > MOST_CLASSES:
        raise ValueError(
            f"column {name!r}, the target, holds {len(distinct)} distinct classes; expected at most {MOST_CLASSES}"
            + ("" if words else f". If they are numbers, use {as_numbers()}")
        )
    places = np.searchsorted(distinct, kept.astype(str) if words else kept)
    classes = tuple(str(each) if words else float(each) for each in distinct)
    notes += alike(name, classes)
    counts = np.bincount(places)
    if rare := [f"{spoken(classes[k])} ({counts[k]})" for k in np.flatnonzero(counts < FEW_ROWS)]:
        notes.append(
            f"{name} has classes with fewer than {FEW_ROWS} rows, too few for training and testing: "
            f"{', '.join(rare[:8])}"
        )
    if odd := [word for word in classes if isinstance(word, str) and is_missing(word)]:
        notes.append(f"{name}: {', '.join(map(repr, odd))} counts as a class. If it means missing, blank these cells")
    most = int(np.argmax(counts))
    notes.append(
        f"{name} is {spoken(classes[most])}, the most frequent class, in {counts[most] / len(rows):.1%} of rows"
    )
    return Target(places, rows, task, classes, tuple(notes))


def _target_values(columns: Mapping[str, np.ndarray], name: str, task: TaskName | None) -> tuple[np.ndarray, list[str]]:
    values = columns[name]
    if values.dtype != object:
        return values, []
    words, codes = different(values)
    decimal = columns.decimal if isinstance(columns, Columns) else None
    try:
        reading, told = column_types.judged(words, decimal)
    except CellError as error:
        if task == "classification":
            return values, []
        row = next(place for place, cell in enumerate(values) if cell == error.cell)
        raise ValueError(f"row {row + 1}, column {name!r}, the target, is {error}") from None
    numbers = np.append(reading.numbers(words, decimal), np.nan)[codes]
    marks = np.append(column_types.missing(reading, words), True)[codes]
    odd = np.flatnonzero(np.isnan(numbers) & ~marks)
    if isinstance(reading, Dates) and task != "classification":
        raise ValueError(
            f"column {name!r}, the target, holds dates, such as {words[0]!r}; expected classes or numbers. Convert the "
            "dates, e.g. to days since a fixed date"
        )
    if not isinstance(reading, Words) and not len(odd):
        return numbers, [f"{name}: {'; '.join([f'read as {reading.told}', *told])}"]
    if task == "regression" or (task is None and not isinstance(reading, Words)):
        place = next((place for place in odd if numeral(values[place]) is None), odd[0])
        raise ValueError(f"row {place + 1}, column {name!r}: the target is {_short(values[place])}; expected a number")
    return values, []


def spoken(each: str | float) -> str:
    """Return a class label as text. Whole numbers get no decimal point.

    Args:
        each: The class.

    Example:
        >>> spoken(20240101.0), spoken(0.1), spoken("yes")
        ('20240101', '0.1', 'yes')
    """
    if isinstance(each, str):
        return each
    return str(int(each)) if each == int(each) else repr(float(each))


def alike(name: str, words: Sequence[str | float]) -> list[str]:
    """Return notes about distinct text values that differ only in capital letters.

    Args:
        name: Name of the column.
        words: Distinct values of the column.

    Example:
        >>> alike("smoker", ["Yes", "no", "yes"])
        ["smoker: 'Yes' and 'yes' differ only in capital letters and are treated as distinct"]
    """
    same: dict[str, list[str]] = {}
    for word in words:
        if isinstance(word, str):
            same.setdefault(word.casefold(), []).append(word)
    groups = [" and ".join(map(repr, group)) for group in same.values() if len(group) > 1]
    return [f"{name}: {group} differ only in capital letters and are treated as distinct" for group in groups[:3]]


def _short(word: str) -> str:
    return repr(word if len(word) <= 40 else word[:40] + "…")


_SURE = 0.8
"""Similarity above which an unknown word may be a misspelt one. A lower one would suggest South for North."""


def _close(name: str, names: Sequence[str], similarity: float = 0.6) -> str | None:
    """Return the name that was probably meant: in other case, with more words, or with a typing error; else None."""
    folded = {other.casefold(): other for other in names}
    typed = plain_name(name).casefold()
    if typed in folded or not typed:
        return folded.get(typed)
    parts = re.compile(rf"(?<![^\W_]){re.escape(typed)}(?![^\W_])")
    close = [other for other in folded if parts.search(other)] or difflib.get_close_matches(
        typed, folded, n=1, cutoff=similarity
    )
    return folded[close[0]] if close else None


def expected_name(name: str, names: list[str]) -> str:
    """Return the end of an error message about an unknown column: the name that was meant, or all names.

    Args:
        name: Name that the user typed.
        names: Names of all columns.

    Example:
        >>> expected_name("sold", ["sold within a week", "price"])
        "did you mean 'sold within a week'?"
    """
    close = _close(name, names)
    return f"did you mean {close!r}?" if close is not None else f"expected one of {listed(names)}"


def listed(names: list[str]) -> str:
    """Join column names for a message, such as "'age', 'city' and 3 more". At most eight names are shown.

    Args:
        names: All names.

    Example:
        >>> listed(["age", "city"])
        "'age', 'city'"
    """
    shown = ", ".join(map(repr, names[:8]))
    return shown + (f" and {len(names) - 8} more" if len(names) > 8 else "")
