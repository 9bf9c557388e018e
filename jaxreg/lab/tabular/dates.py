"""Dates, times of day and durations as numeric inputs, including season, weekday and hour."""

import dataclasses
import datetime
import re
from collections.abc import Sequence

import numpy as np

from jaxreg.lab.tabular.numerals import plain

_MONTHS = [
    names.split()
    for names in (
        "january february march april may june july august september october november december",
        "januar februar märz april mai juni juli august september oktober november dezember",
        "jänner feber mrz",
    )
]
_NAME = r"(?P<month>[^\W\d_]{3,9})\.?"
_LAP = re.compile(r"(\d+):(\d\d[.,]\d+)")
_CLOCK = (
    r"(?P<hour>\d{1,3})(?:[:h](?P<minute>\d\d)(?:[:](?P<second>\d\d(?:[.,]\d+)?))?|\.(?P<minute2>\d\d)\.(?P<second2>\d\d)"
    r"|(?= ?[ap]))(?: ?(?P<half>[ap])\.?m\.?)?(?: ?(?:z|utc|gmt|uhr|h|[+-]\d\d:?\d\d))?"
)
_DAY = (
    r"(?P<year>\d{4})(?P<mark>[-/.])(?P<second>\d{1,2})(?:(?P=mark)(?P<third>\d{1,2}))?",
    r"(?P<first>\d{1,2})(?P<mark>[-/. ]|\. )(?P<second>\d{1,2})(?P=mark)(?P<year>\d{4}|\d\d)",
    rf"(?P<first>\d{{1,2}})\.?[ -]?{_NAME},?[ -]?(?P<year>\d{{4}}|\d\d)",
    rf"{_NAME}[ -]?(?P<first>\d{{1,2}})(?:st|nd|rd|th)?,? ?(?P<year>\d{{4}})",
    rf"{_NAME}[ -]?(?P<year>\d{{4}})",
)
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun|mo|di|mi|do|fr|sa|so)[a-zß]*\.?,? )?"
_TIME = re.compile(_CLOCK)
_DATES = [re.compile(rf"{_WEEKDAY}{day}(?:(?:t|,? )(?P<clock>{_CLOCK.replace('?P<', '?P<c_')}))?") for day in _DAY]
_EPOCH = datetime.date(1970, 1, 1).toordinal()
_YEAR = 365.2425
_PIVOT = 69
"""Two-digit years below this number are in this century, as in C and Python."""
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_ORDERS = {"dmy": ", day.month.year", "mdy": ", month/day/year", "": ""}


def hours(word: str) -> float:
    """Convert a time of day or a duration to hours. Other text becomes NaN.

    Args:
        word: Text of the cell.

    Example:
        >>> hours("6:30"), hours("6:30 PM")
        (6.5, 18.5)
    """
    text = plain(word).lower()
    if lap := _LAP.fullmatch(text):
        return int(lap[1]) / 60 + float(lap[2].replace(",", ".")) / 3600
    found = _TIME.fullmatch(text)
    return np.nan if found is None else _hours(found.groupdict())


def _hours(found: dict[str, str | None], c: str = "") -> float:
    hour = int(found[f"{c}hour"] or 0)
    minute = int(found[f"{c}minute"] or found[f"{c}minute2"] or 0)
    second = float((found[f"{c}second"] or found[f"{c}second2"] or "0").replace(",", "."))
    half = found[f"{c}half"]
    if minute > 59 or second >= 60 or (half and not 1 <= hour <= 12):
        return np.nan
    return (hour if half is None else hour % 12 + 12 * (half == "p")) + minute / 60 + second / 3600


def days(word: str, order: str) -> float:
    """Convert a date to days since the start of 1970. A time of day adds a fraction. Other text becomes NaN.

    Args:
        word: Text of the cell.
        order: Order of day, month and year in dates such as 2/1/1970: `dmy` or `mdy`. "" if the column has no such
            dates.

    Example:
        >>> days("2.1.1970", "dmy"), days("Feb 1, 1970 6:00", "dmy")
        (1.0, 31.25)
    """
    text = plain(word).lower()
    for pattern in _DATES if text[-1:].isalnum() or text.endswith(".") else ():
        if (match := pattern.fullmatch(text)) is None:
            continue
        found = match.groupdict()
        year = int(found["year"])
        year += 0 if len(found["year"]) == 4 else 2000 if year < _PIVOT else 1900
        if found.get("month") is not None:
            month, day = _month(found["month"]), int(found.get("first") or 1)
        elif found.get("first") is None:
            month, day = int(found["second"]), int(found["third"] or 1)
        elif not order:
            return np.nan
        else:
            day, month = (int(found[key]) for key in (("first", "second") if order == "dmy" else ("second", "first")))
        clock = 0.0 if found["clock"] is None else _hours(found, "c_")
        try:
            return datetime.date(year, month, day).toordinal() - _EPOCH + (clock / 24 if clock <= 24 else np.nan)
        except ValueError:
            return np.nan
    return np.nan


def _month(name: str) -> int:
    places = (place for names in _MONTHS for place, full in enumerate(names, 1) if full.startswith(name))
    return next(places, 0)


@dataclasses.dataclass(frozen=True)
class Dates:
    """Column type of dates, which are converted to days since the start of 1970.

    Args:
        order: Order of day, month and year in dates such as 2/1/1970: `dmy` or `mdy`. "" if the column has no such
            dates.
        parts: Additional inputs: `year` adds the season, `weekday` adds the weekday, and `day` adds the hour.
    """

    order: str
    parts: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """Description of the column type for the user. It lists the inputs that are made from each date."""
        names = {"year": "the season", "weekday": "the weekday", "day": "the hour"}
        inputs = ", ".join(["the days since 1970", *(names[part] for part in self.parts)])
        return f"dates{_ORDERS[self.order]}. The inputs are {inputs}"

    @property
    def forms(self) -> str:
        """Ways to write a date with numbers that this column type reads, as the end of a message."""
        return f"{_ORDERS[self.order]}, or as year-month-day"

    def numbers(self, words: Sequence[str], decimal: str | None = None) -> np.ndarray:
        """Convert cells to days since the start of 1970. Cells that are not dates become NaN."""
        return np.array([days(word, self.order) for word in words])

    def varied(self, values: np.ndarray) -> "Dates":
        """Return a copy of this column type without the inputs (season, weekday, hour) that hardly vary in `values`.

        Args:
            values: Dates of a column, in days since the start of 1970.
        """
        span, whole = np.ptp(values), np.floor(values)
        kept = {
            "year": span > 60,
            "weekday": span >= 14 and len(np.unique(whole % 7)) > 1,
            "day": len(np.unique(values - whole)) > 1,
        }
        return dataclasses.replace(self, parts=tuple(part for part, told in kept.items() if told))

    def inputs(self, name: str, values: np.ndarray) -> dict[str, np.ndarray]:
        """Return the network inputs made from a column of dates: a dict from names to arrays of shape (rows,)."""
        made = {name: values}
        if "year" in self.parts:
            made |= _circle(f"{name}, season", values / _YEAR)
        if "weekday" in self.parts:
            weekday = (np.floor(values) + 3) % 7
            made |= {f"{name}={day}": (weekday == place).astype(np.float64) for place, day in enumerate(_WEEKDAYS)}
        if "day" in self.parts:
            made |= _circle(f"{name}, hour", values)
        return made


@dataclasses.dataclass(frozen=True)
class Times:
    """Column type of times of day or durations, which are converted to hours.

    Args:
        clock: Whether the cells are times of day. If not, they are durations.
    """

    clock: bool

    @property
    def told(self) -> str:
        """Description of the column type for the user, such as "times of day, in hours"."""
        return "times of day, in hours" if self.clock else "durations, in hours"

    def numbers(self, words: Sequence[str], decimal: str | None = None) -> np.ndarray:
        """Convert cells to hours. Cells that are neither times of day nor durations become NaN."""
        return np.array([hours(word) for word in words])

    def inputs(self, name: str, values: np.ndarray) -> dict[str, np.ndarray]:
        """Return the network inputs made from a column of times: a dict from names to arrays of shape (rows,)."""
        return {name: values} | (_circle(f"{name}, hour", values / 24) if self.clock else {})


def _circle(name: str, turns: np.ndarray) -> dict[str, np.ndarray]:
    """Return sine and cosine of a periodic value, so that the end of a day or year is near its start.

    Args:
        name: Name of the value.
        turns: Value in periods; 1 is a full day or year.
    """
    return {f"{name} ({part})": wave(2 * np.pi * turns) for part, wave in (("sine", np.sin), ("cosine", np.cos))}


def judged(words: Sequence[str]) -> Dates | Times | None:
    """Return the column type, `Dates` or `Times`, that fits the cells of a column. Return None if neither fits.

    Args:
        words: Distinct cells in the order of the rows, without missing cells. Some cells may be neither dates nor
            times.
    """
    by_order = {order: np.array([days(word, order) for word in words]) for order in ("dmy", "mdy")}
    count = {order: int((~np.isnan(found)).sum()) for order, found in by_order.items()}
    clock = np.array([hours(word) for word in words])
    if 0 < max(count.values()) >= (~np.isnan(clock)).sum():
        if np.array_equal(by_order["dmy"], by_order["mdy"], equal_nan=True):
            return Dates("")
        if count["dmy"] != count["mdy"]:
            return Dates(max(count, key=count.__getitem__))
        # If both orders are possible: rows are often sorted by time, and dates with slashes are often American.
        back = {order: int((np.diff(found[~np.isnan(found)]) < 0).sum()) for order, found in by_order.items()}
        if back["dmy"] != back["mdy"]:
            return Dates(min(back, key=back.__getitem__))
        return Dates("mdy" if any("/" in word for word in words) else "dmy")
    return None if np.isnan(clock).all() else Times(bool(np.nanmax(clock) <= 24))
