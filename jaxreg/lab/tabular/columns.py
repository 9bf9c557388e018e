"""Columns of a table: checks of names and cells, and the cells that count as missing."""

import re
from collections.abc import Collection, Mapping, Sequence

import numpy as np

Columns = dict[str, np.ndarray]
"""Name -> float64 numbers, NaN where one is missing, or an object array of words, None where one is missing."""
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
LARGEST = 1e38
"""Numbers beyond it are no float32."""
_MOSTLY = 0.9
_FEW = 12
"""Different numbers that may be names of a few kinds, such as months; more of them are numbers, some with mistakes."""


def _unread(column: str, wanted: Mapping[str, bool] | None, without: Collection[str]) -> bool:
    return column in without or (wanted is not None and column not in wanted)


def _check_names(names: Sequence[str], unread: Collection[int], name: str) -> None:
    seen: dict[str, int] = {}
    for place, column in enumerate(names):
        if place in unread:
            continue
        if not column:
            raise ValueError(f"column {place + 1} of {name} has no name; name it, or delete it")
        if column in seen:
            raise ValueError(
                f"columns {seen[column] + 1} and {place + 1} of {name} are both named {column!r}; rename one"
            )
        seen[column] = place


def _nothing(place: int, cells: Sequence[str]) -> bool:
    """Whether a column without a name is the index that pandas and R add in front, or what ends of commas leave."""
    index = place == 0 and len(set(cells)) == len(cells) and all(map(str.isdecimal, cells))
    return index or not any(map(str.strip, cells))


def _column(column: str, cells: Sequence[str], name: str, wanted: Mapping[str, bool] | None) -> np.ndarray:
    told = [cell.strip() for cell in cells]
    there = [word.lower() not in MISSING for word in told]
    spoken = np.array([word if known else None for word, known in zip(told, there, strict=True)], dtype=object)
    if wanted is not None and wanted.get(column, True):
        return spoken
    numbers = np.full(len(told), np.nan)
    wrong = []
    for place, word in enumerate(told):
        if not there[place]:
            continue
        try:
            if "_" in word:  # Python reads 1_000
                raise ValueError
            numbers[place] = float(word)
        except ValueError:
            wrong.append(place)
    if not wrong:
        return numbers
    count = sum(there) - len(wrong)
    where = f"row {wrong[0] + 1}, column {column!r} of {name} is {_short(told[wrong[0]])}"
    if count > _MOSTLY * sum(there) and len(np.unique(numbers[~np.isnan(numbers)])) > _FEW:
        raise ValueError(
            f"{where}, and {count} other cells are numbers; expected a number, or nothing where it is missing"
        )
    if len(set(told)) > _FEW:  # fewer may be names of kinds that look so
        for pattern, kind, rule in _UNREAD:
            if all(pattern.fullmatch(told[place]) for place in wrong):
                raise ValueError(f"{where}, {kind}; expected {rule}")
    return spoken


_UNREAD = (
    (
        re.compile(r"[+-]?\d+,\d+|[+-]?[1-9]\d{0,2}([.,' ])\d{3}(?:\1\d{3})*(?:(?!\1)[.,]\d+)?"),
        "a number with a comma or with marks between its thousands",
        "a point before the decimals and no other mark, such as 1234.5",
    ),
    (
        re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?:[T ].*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}"),
        "a date",
        "numbers or words: turn it into such, as a year or the days since another date, or leave it out by --leave-out",
    ),
)
"""What people write that is neither a number here nor a word that an input could be made of: how it looks, what it is,
what is wanted in its place."""


def _short(word: str) -> str:
    return repr(word if len(word) <= 40 else word[:40] + "…")
