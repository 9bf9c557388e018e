"""Reader of numbers as people write them, such as "1.234,50 €", "5 kg", "69 %", "−3" and "<5"."""

import dataclasses
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np

_BLANKS = (
    "na n/a n.a. nan null none nil ? . .. ... - -- --- <na> nat #n/a #na #nv (null) (none) (blank) k.a. "
    "#value! #wert! #div/0! #ref! #bezug! #name? #null! #num! #zahl!"
)
MISSING = frozenset({*_BLANKS.split(), "", "k. a.", "n. a."})
"""Cells that mean a missing number, in lower case and as returned by `plain`."""

_SIGNS = str.maketrans(
    dict.fromkeys("\u2212\u2013\u2014\u2012\ufe63\uff0d", "-")  # minus and dashes
    | dict.fromkeys("\u00a0\u202f\u2009\u2007\u3000", " ")
    | dict.fromkeys("\u2019\u00b4\u02bc", "'")
)
_MARK = "$€£¥₹₽₩₺₴₪฿"
_CODES = "USD EUR GBP CHF JPY CNY INR AUD CAD SEK NOK DKK PLN CZK HUF BRL MXN ZAR RUB TRY KRW SGD HKD NZD ILS THB"
_CURRENCY = rf"(?:US|AU?|CA?|R|HK|NZ|S)?[{_MARK}]|{_CODES.replace(' ', '|')}|Rs\.?|kr\.?|zł|Fr\."
_CELL = re.compile(
    rf"(?P<bracket>\()?(?P<limit>[<>≤≥~≈]=? ?|ca\. ?)?(?P<sign>[+-]?) ?(?P<currency>{_CURRENCY})? ?(?P<inner>-?)"
    r"(?P<digits>\d(?:[\d.,']| (?=\d))*|[.,]\d+)(?P<power>[eE][+-]?\d+)?(?P<beyond>\+)?(?P<behind>-(?= ?[$€£]?$))? ?"
    # A unit may contain digits only after letters, as in m2 and kg/m3.
    rf"(?P<unit>(?:[^\W\d_]|[%‰°{_MARK}\"'\u2033\u2032])(?:[^\d()]|(?<=[^\W\d_^])\d(?!\d)|\([^\d()]*\))*)?(?(bracket)\))"
)
_WHOLE = {
    ".": re.compile(r"\d*\.?\d*|[1-9]\d{0,2}([,' ])\d{3}(?:\1\d{3})*(?:\.\d*)?|[1-9]\d?(?:,\d{2})+,\d{3}(?:\.\d*)?"),
    ",": re.compile(r"\d*,?\d*|[1-9]\d{0,2}([.' ])\d{3}(?:\1\d{3})*(?:,\d*)?"),
}
_LONGEST_UNIT = 24
_FEW = 0.05
KINDS = 12
"""Largest number of distinct numbers that may be categories, such as months.

Also the largest number of distinct text values that a column of numbers may contain."""
_FAMILIES: tuple[Mapping[str, float], ...] = (
    {"": 1.0, "k": 1e3, "K": 1e3, "m": 1e6, "M": 1e6, "B": 1e9, "bn": 1e9, "T": 1e12}
    | {"Tsd": 1e3, "Mio": 1e6, "Mrd": 1e9, "thousand": 1e3, "million": 1e6, "billion": 1e9},
    {"st": 1.0, "nd": 1.0, "rd": 1.0, "th": 1.0},
    {"µg": 1e-6, "μg": 1e-6, "mg": 1e-3, "g": 1.0, "kg": 1e3, "t": 1e6},
    {"mm": 1e-3, "cm": 1e-2, "dm": 1e-1, "m": 1.0, "km": 1e3},
    {"ml": 1e-3, "mL": 1e-3, "cl": 1e-2, "dl": 1e-1, "l": 1.0, "L": 1.0},
    {"ms": 1e-3, "s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0},
    {"KB": 1e3, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12},
)
"""Families of units, with the factor of each unit. A column may mix the units of one family."""


def plain(word: str) -> str:
    """Replace typographic minus signs, spaces and apostrophes in a cell by ASCII characters."""
    return " ".join(word.translate(_SIGNS).split())


def is_missing(word: str) -> bool:
    """Return whether a cell stands for a missing number, such as "n/a"."""
    return plain(word).lower() in MISSING


class CellError(ValueError):
    """Error for a cell that does not match the other cells of its column.

    Args:
        cell: Text of the cell.
        reason: Description of the problem, and what to do.
    """

    def __init__(self, cell: str, reason: str):
        super().__init__(f"{cell!r}, {reason}")
        self.cell, self.reason = cell, reason


@dataclasses.dataclass(frozen=True)
class Numeral:
    """Parts of a number as it is written in a cell: sign, digits, exponent, currency and unit.

    Args:
        digits: Digits with decimal and thousands marks.
        sign: 1 or -1.
        power: Exponent, such as `e-5`, or "".
        currency: Currency before or after the digits, or "".
        unit: Other text after the digits, or "".
        limit: Whether the number is a limit, such as `<5`.
    """

    digits: str
    sign: int
    power: str
    currency: str
    unit: str
    limit: bool

    def value(self, decimal: str) -> float | None:
        """Convert the number to a float, given the decimal mark. Return None if the digits contradict this mark."""
        if not _WHOLE[decimal].fullmatch(self.digits):
            return None
        kept = "".join(mark for mark in self.digits if mark == decimal or mark not in ".,' ")
        return self.sign * float(kept.replace(",", ".") + self.power)


def numeral(word: str) -> Numeral | None:
    """Split a cell into the parts of a number; return None if the cell is not a number.

    Args:
        word: Text of the cell.

    Example:
        >>> numeral("−1.234,5 €")
        Numeral(digits='1.234,5', sign=-1, power='', currency='€', unit='', limit=False)
    """
    found = _CELL.fullmatch(plain(word))
    if found is None:
        return None
    signs = [found["sign"] == "-", found["inner"] == "-", found["behind"] is not None, found["bracket"] is not None]
    unit, currency = (found["unit"] or "").strip(), found["currency"] or ""
    if unit and re.fullmatch(_CURRENCY, unit) and not currency:
        unit, currency = "", unit
    if sum(signs) > 1 or len(unit) > _LONGEST_UNIT:
        return None
    limit = found["limit"] is not None or found["beyond"] is not None
    return Numeral(found["digits"], -1 if any(signs) else 1, found["power"] or "", currency, unit.rstrip("."), limit)


def decimal_mark(numerals: Collection[Numeral]) -> str | None:
    """Return the decimal mark (comma or point) that fits more of the numbers. Return None for a tie."""
    allowed = {mark: sum(bool(_WHOLE[mark].fullmatch(each.digits)) for each in numerals) for mark in ".,"}
    return None if allowed["."] == allowed[","] else max(allowed, key=allowed.__getitem__)


@dataclasses.dataclass(frozen=True)
class Numbers:
    """Column type of numbers, which may have a currency or a unit.

    Args:
        decimal: Decimal mark to use if comma and point fit the cells equally well.
        currency: Currency that cells may have, or "".
        units: Units that cells may have: unit -> factor by which the number is multiplied.
    """

    decimal: str = "."
    currency: str = ""
    units: Mapping[str, float] = dataclasses.field(default_factory=lambda: {"": 1.0})

    @property
    def told(self) -> str:
        """Description of the column type for the user, such as "numbers in kg"."""
        multiples = set(self.units.values()) != {1.0}
        named = [self.currency, *({} if multiples else self.units)]
        return " ".join(["numbers", *(f"in {name}" for name in named if name)])

    def numbers(self, words: Sequence[str], decimal: str | None = None) -> np.ndarray:
        """Convert cells to numbers. Cells that are not numbers become NaN.

        Args:
            words: Text of the cells.
            decimal: Decimal mark of the file, if it is known.
        """
        found = [numeral(word) for word in words]
        there = [each for each in found if each is not None]
        mark = decimal_mark(there) or decimal or self.decimal
        return np.array([np.nan if each is None else self._number(each, mark) for each in found])

    def _number(self, each: Numeral, mark: str) -> float:
        value = each.value(mark)
        if value is None or each.currency not in ("", self.currency) or each.unit not in self.units:
            return np.nan
        return value * self.units[each.unit]

    def inputs(self, name: str, values: np.ndarray) -> dict[str, np.ndarray]:
        """Return the network inputs made from a column of numbers: a dict with the column itself."""
        return {name: values}


def judged(words: Sequence[str], decimal: str | None) -> tuple[Numbers, list[str]] | None:
    """Return the column type of numeric cells, with notes for the user. Return None if the cells are not numbers.

    Args:
        words: Distinct cells, without missing cells. Some may be other text.
        decimal: Decimal mark of the file, if it is known.

    Raises:
        CellError: If the cells have more than one currency.
    """
    found = {word: each for word in words if (each := numeral(word)) is not None}
    if not found:
        return None
    mark = decimal_mark(found.values()) or decimal or "."
    currencies = Counter(each.currency for each in found.values() if each.currency)
    units = Counter(each.unit for each in found.values())
    if len(currencies) > 1:
        first, other = (next(word for word, each in found.items() if each.currency == c) for c in list(currencies)[:2])
        raise CellError(other, f"and another cell is {first!r}; expected one currency")
    factors = _factors(units, bool(currencies))
    if factors is None:
        return None
    reading = Numbers(mark, next(iter(currencies), ""), factors)
    if len(found) <= KINDS and _coincide(found, reading):
        return None
    notes = []
    if any(mark == "," and "," in each.digits for each in found.values()):
        notes.append("with decimal commas")
    grouped = (word for word, each in found.items() if len(_MARKS.findall(each.digits)) > (mark in each.digits))
    if thousands := next(grouped, ""):
        value = reading.numbers([thousands], mark)[0]
        notes.append(f"{thousands!r} is read as {value:.12g}")
    if len(set(factors.values())) > 1:
        word = next(word for word, each in found.items() if factors.get(each.unit, 1) != 1)
        notes.append(f"{word!r} is read as {reading.numbers([word], mark)[0]:.12g}")
    if limit := next((word for word, each in found.items() if each.limit), ""):
        notes.append(f"{limit!r} is read as {reading.numbers([limit], mark)[0]:.12g}")
    return reading, notes


def _coincide(found: Mapping[str, Numeral], reading: Numbers) -> bool:
    """Return whether a limit has the same number as another cell, as in <30 and 30+, which are names of categories."""
    limits = [word for word, each in found.items() if each.limit]
    values = dict(zip(found, reading.numbers(list(found)), strict=True))
    return any(list(values.values()).count(values[word]) > 1 for word in limits)


_MARKS = re.compile(r"[.,' ]")


def _factors(units: Mapping[str, int], money: bool) -> Mapping[str, float] | None:
    """Return unit -> factor for the units of a column; None if the units do not belong together.

    A unit that occurs in few cells is treated as a typing error, such as the letter O in 1O.

    Args:
        units: Unit -> number of distinct cells with this unit.
        money: Whether cells have a currency.
    """
    total = sum(units.values())
    for family in _FAMILIES:
        # A single 12B among plain numbers is a house number, but $1.2B is money.
        if (
            len(units) > 1
            and all(unit in family for unit in units)
            and (money or "" not in units or total > len(units))
        ):
            return family
    named = [unit for unit, count in units.items() if unit and count > _FEW * total and (count > 1 or total < 3)]
    if money and named and all(unit in _FAMILIES[0] for unit in named):
        return _FAMILIES[0]
    if len({unit.casefold() for unit in named}) <= 1 and (named or "" in units):
        return dict.fromkeys(["", *named], 1.0)
    return None
