"""Types of table columns: words, numbers, dates or times. The type of a column is inferred from all its cells.

A column type converts cells to numbers. A cell that is not a number is a word. Each distinct word gets its own input.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxreg.lab.tabular import dates, numerals
from jaxreg.lab.tabular.dates import Dates, Times
from jaxreg.lab.tabular.numerals import KINDS, CellError, Numbers, is_missing

_MOSTLY = 0.9
_GLANCE = 100


@dataclasses.dataclass(frozen=True)
class Words:
    """Column type of words: each distinct word is a category.

    Args:
        blanks: Words that count as missing, in lower case.
    """

    blanks: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """Description of the column type for the user, such as "words" or "times of day, in hours"."""
        return "words"

    def numbers(self, words: Sequence[str], decimal: str | None = None) -> np.ndarray:
        """Return NaN for every cell. Words have no numeric value."""
        return np.full(len(words), np.nan)

    def inputs(self, name: str, values: np.ndarray) -> dict[str, np.ndarray]:
        """Return an empty dict. Columns of words are one-hot encoded by `jaxreg.lab.tabular.encoding.Column`."""
        return {}


Reading = Words | Numbers | Dates | Times
_KINDS: Mapping[str, Callable[..., Reading]] = {kind.__name__: kind for kind in (Words, Numbers, Dates, Times)}


def to_json(reading: Reading) -> dict[str, Any]:
    """Return a column type as a dict that can be written as JSON."""
    return {"kind": type(reading).__name__, **dataclasses.asdict(reading)}


def from_json(told: Mapping[str, Any]) -> Reading:
    """Return the column type from the dict that `to_json` returned."""
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in told.items() if key != "kind"}
    return _KINDS[told["kind"]](**values)


def missing(reading: Reading, words: Sequence[str]) -> np.ndarray:
    """Return a boolean array that marks the missing cells of a column, such as "n/a" in a column of numbers.

    Args:
        reading: Type of the column.
        words: Text of the cells that are not blank.
    """
    if isinstance(reading, Words):
        return np.array([word.lower() in reading.blanks for word in words], bool)
    return np.array([is_missing(word) for word in words], bool)


def judged(words: Sequence[str], decimal: str | None = None) -> tuple[Reading, list[str]]:
    """Infer the type of a column (words, numbers, dates or times) from its cells. Also return notes for the user.

    Args:
        words: Distinct cells that are not blank, in the order of the rows.
        decimal: Decimal mark of the file; None if it is not known.

    Raises:
        CellError: If the column has more than one currency, or contains mostly numbers but also many words.

    Example:
        >>> judged(["12 %", "7 %", "n/a"])
        (Numbers(decimal='.', currency='', units={'': 1.0, '%': 1.0}), [])
        >>> judged(["none", "n/a", "mild"])
        (Words(blanks=()), [])
    """
    there = [word for word in words if not is_missing(word)]
    reading, notes = _reading(there, decimal)
    known = ~np.isnan(reading.numbers(there, decimal))
    strays = [word for word, is_known in zip(there, known, strict=True) if not is_known]
    count = len(there) - len(strays)
    if not strays or (len(strays) <= KINDS < count and count >= 2 * len(strays)):
        return reading, notes
    if count > _MOSTLY * len(there) and count > KINDS:
        raise CellError(
            strays[0],
            f"but {count} other distinct values are numbers; expected a number, or a blank cell if it is missing",
        )
    return Words(), []


def _reading(words: Sequence[str], decimal: str | None) -> tuple[Reading, list[str]]:
    glance = words[:_GLANCE]
    found = dates.judged(glance)
    if found is not None and np.isnan(found.numbers(glance)).mean() < 0.5:
        return dates.judged(words) or found, []
    return numerals.judged(words, decimal) or (Words(), [])
