"""Columns as people write them: 60 made-up tables of each kind, against the values that they were made from."""

import datetime
import gzip
import re

import numpy as np
import pytest
from helpers.tables import prepared

from jaxreg.lab.tabular import Columns, TableError, encoding
from jaxreg.lab.tabular.files import parsed

ROWS = 40
VARIANTS = 60


def rng_of(kind, variant):
    return np.random.default_rng([*kind.encode(), variant])


def table(columns, delimiter=";", heading=True):
    """A text file of columns of cells, with a target behind them."""
    columns = dict(columns) | {"y": [f"{row % 7}.5" for row in range(len(next(iter(columns.values()))))]}
    rows = [list(columns)] * heading + list(zip(*columns.values(), strict=True))
    return "".join(delimiter.join(row) + "\n" for row in rows)


def grouped(number, digits, decimal, thousands):
    return f"{number:,.{digits}f}".translate({ord(","): thousands, ord("."): decimal})


def marks(rng):
    """How numbers are written: a function of numbers of some decimals, and the sign between cells."""
    decimal = rng.choice([".", ","])
    thousands = str(rng.choice(["", "'", " ", "\u00a0", "\u202f", "\u2019", "." if decimal == "," else ","]))
    before = str(rng.choice(["", "", "$", "€", "€ ", "US$", "CHF ", "£"]))
    units = ["%", " %", " kg", "°C", " km/h", " m²", " mg/dl", "€", " USD", " kg/m2", " years", "‰", " µg"]
    behind = "" if before else str(rng.choice(["", *units]))
    minus = str(rng.choice(["-", "\u2212", "\u2013"]))
    space = str(rng.choice(["", " "]))
    return lambda x, digits: (
        f"{space}{minus if x < 0 else ''}{before}{grouped(abs(x), digits, decimal, thousands)}{behind}{space}"
    )


@pytest.mark.parametrize("variant", range(VARIANTS))
def test_numbers_are_read_through_marks(variant):
    rng = rng_of("marks", variant)
    written = marks(rng)
    digits = int(rng.choice([1, 2, 4]))
    numbers = np.round(rng.normal(0, 10.0 ** rng.integers(1, 6), ROWS), digits)
    cells = [written(number, digits) for number in numbers]
    blanks = ["", "#N/A", "NA", "-", ".", "?", "<NA>", "n/a", "null", "None", "#DIV/0!", "nan"]
    gone = rng.random(ROWS) < rng.choice([0, 0.2])
    cells = [str(rng.choice(blanks)) if lost else cell for cell, lost in zip(cells, gone, strict=True)]
    found = prepared(table({"x": cells}))
    expected = np.where(gone, np.median(numbers[~gone]), numbers)
    np.testing.assert_allclose(found.x, np.column_stack([expected, *([gone] if gone.any() else [])]), rtol=1e-12)
    plain = all(cell.strip().lstrip("-").replace(".", "").isdecimal() for cell in cells)
    assert plain or len([note for note in found.notes if note.startswith("x: ")]) == 1


@pytest.mark.parametrize("variant", range(VARIANTS))
def test_words_are_kept_as_written_and_blanks_are_a_category(variant):
    rng = rng_of("words", variant)
    pool = ["None", "none", "NA", "null", "nan", "N/A", "?", "-", "mild", "severe", "Nothing", "yes", "NULL", ""]
    words = [str(word) for word in rng.choice(pool, int(rng.integers(2, 6)), replace=False)]
    words = ["strong", *words]
    cells = [*words, *map(str, rng.choice(words, ROWS - len(words)))]
    found = prepared(table({"x": cells, "z": map(str, range(ROWS))}))
    ones = found.x[:, : len(words)]
    assert ones.sum() == ROWS
    assert all(
        (ones[row] == ones[other]).all() == (cells[row] == cells[other]) for row in range(9) for other in range(ROWS)
    )
    renamed = ["word" if cell == words[1] else cell for cell in cells]
    other = prepared(table({"x": renamed, "z": map(str, range(ROWS))}))
    if words[1]:
        assert sorted(map(tuple, other.x.T)) == sorted(map(tuple, found.x.T))


DATES = {
    "%Y-%m-%d": "", "%Y/%m/%d": "", "%d.%m.%Y": "", "%m/%d/%Y": "", "%d/%m/%Y": "", "%m/%d/%y": "", "%d.%m.%y": "",
    "%d-%m-%Y": "", "%d %b %Y": "", "%b %d, %Y": "", "%B %d, %Y": "", "%d-%b-%y": "", "%a, %d %b %Y": "",
    "%Y-%m-%dT%H:%M:%S": "time", "%Y-%m-%d %H:%M": "time", "%d.%m.%Y %H:%M": "time", "%m/%d/%Y %I:%M %p": "time",
    "%Y-%m-%dT%H:%M:%SZ": "time",
}  # fmt: skip


@pytest.mark.parametrize("variant", range(VARIANTS))
def test_dates_are_days_since_and_parts(variant):
    rng = rng_of("dates", variant)
    form = list(DATES)[variant % len(DATES)]
    start = datetime.datetime(int(rng.integers(1970, 2060)), 1, 1)
    times = [start + datetime.timedelta(minutes=int(m)) for m in rng.integers(0, 2 * 525_600, ROWS)]
    if not DATES[form]:
        times = [time.replace(hour=0, minute=0) for time in times]
    if form[:2] in ("%d", "%m"):  # one day tells which is the month
        times[0] = times[0].replace(day=27)
    found = prepared(table({"when": [time.strftime(form) for time in times]}))
    time = times if "%S" in form or not DATES[form] else [time.replace(second=0) for time in times]
    since = [(each - datetime.datetime(1970, 1, 1)).total_seconds() / 86400 for each in time]
    names = found.encoding.inputs
    np.testing.assert_allclose(found.x[:, names.index("when")], since, atol=1e-9)
    for day in ("Monday", "Sunday"):
        np.testing.assert_array_equal(
            found.x[:, names.index(f"when={day}")], [each.strftime("%A") == day for each in time]
        )
    assert ("when, hour (sine)" in names) == bool(DATES[form])
    if DATES[form]:
        angle = [2 * np.pi * (each.hour * 60 + each.minute) / 1440 for each in time]
        np.testing.assert_allclose(found.x[:, names.index("when, hour (sine)")], np.sin(angle), atol=1e-8)
    assert len([note for note in found.notes if note.startswith("when: read as dates")]) == 1


@pytest.mark.parametrize("variant", range(VARIANTS))
def test_times_are_hours(variant):
    rng = rng_of("times", variant)
    form = ["%H:%M", "%H:%M:%S", "%I:%M %p", "%H.%M.%S", "%I:%M:%S %p", "%H:%M Uhr"][variant % 6]
    minutes = rng.integers(0, 1440, ROWS)
    cells = [datetime.time(int(m) // 60, int(m) % 60).strftime(form) for m in minutes]
    found = prepared(table({"t": cells}))
    angle = 2 * np.pi * minutes / 1440
    np.testing.assert_allclose(found.x, np.column_stack([minutes / 60, np.sin(angle), np.cos(angle)]), atol=1e-12)


ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252"]


@pytest.mark.parametrize("variant", range(VARIANTS))
def test_dialects_are_one_table(variant):
    rng = rng_of("dialects", variant)
    delimiter = str(rng.choice([",", ";", "\t", "|", " "]))
    quote = str(rng.choice(["", '"', "'"]))
    lines = str(rng.choice(["\n", "\r\n"]))
    headed, said, packed = rng.random() < 0.6, delimiter != " " and rng.random() < 0.2, rng.random() < 0.3
    decimal = "," if delimiter in ";\t" and rng.random() < 0.5 else "."
    numbers = np.round(rng.normal(size=(ROWS, 2)), 3)
    towns = rng.choice(["Köln", "Ulm", "Zürich"], ROWS)
    heads = ["größe", "gewicht", "ort", "y"]
    rows = [[*(f"{cell:.3f}".replace(".", decimal) for cell in row), town, str(place % 2)]
            for place, (row, town) in enumerate(zip(numbers, towns, strict=True))]  # fmt: skip
    rows = [heads, *rows] if headed else rows
    pad = "   " if delimiter == " " and quote == "" else ""
    text = lines.join((delimiter + pad).join(f"{quote}{cell}{quote}" for cell in row) for row in rows) + lines
    raw = ((f"sep={delimiter}{lines}" if said else "") + text).encode(str(rng.choice(ENCODINGS)))
    names = [] if headed or rng.random() < 0.5 else ["a", "b", "c", "d"]
    found = prepared(
        gzip.compress(raw) if packed else raw, target="y" if headed else "d" if names else "c4", names=names
    )
    np.testing.assert_array_equal(found.x[:, :2], numbers)
    np.testing.assert_array_equal(found.x[:, 2:], towns[:, None] == ["Köln", "Ulm", "Zürich"])
    expected = heads[:3] if headed else names[:3] or ["c1", "c2", "c3"]
    assert [column.name for column in found.encoding.columns] == expected
    assert any("has no header row" in note for note in found.notes) == (not headed and not names)


@pytest.mark.parametrize("variant", range(VARIANTS))
def test_headings_are_told_from_data(variant):
    """A heading of words, years or counts stays one; data of numbers, codes or classes is none."""
    rng = rng_of("headings", variant)
    kinds = rng.integers(0, 3, int(rng.integers(2, 6)))
    made = {
        0: lambda: [f"{cell:.2f}" for cell in rng.normal(size=ROWS)],
        1: lambda: list(map(str, rng.integers(0, 9, ROWS))),
        2: lambda: list(map(str, rng.choice(["p", "x", "s"], ROWS))),
    }
    columns = [made[int(kind)]() for kind in kinds]
    style = int(rng.integers(3))
    names = [f"{style and 2001 + place}" if style == 1 else f"v{place}" for place in range(len(kinds))]
    text = "".join(",".join(row) + "\n" for row in zip(*columns, strict=True))
    headed = parsed((",".join(names) + "\n" + text).encode(), "t.csv")
    assert (list(headed), headed.headed) == (names, True)
    bare = parsed(text.encode(), "t.csv")
    assert (list(bare), bare.headed) == ([f"c{place + 1}" for place in range(len(kinds))], False)
    assert len(bare["c1"]) == ROWS


@pytest.mark.parametrize("variant", range(VARIANTS))
def test_numbers_with_a_few_words_are_both(variant):
    rng = rng_of("mixed", variant)
    numbers = rng.permutation(200)[:ROWS].astype(float)
    words = [str(word) for word in rng.choice(["unknown", "low", "1O", "refused", "> 1 year"], 2, replace=False)]
    kind = rng.choice(3, ROWS, p=[0.8, 0.1, 0.1])
    kind[:3] = [1, 2, 0]
    cells = [f"{number:g}" if which == 0 else words[which - 1] for number, which in zip(numbers, kind, strict=True)]
    found = prepared(table({"x": cells}))
    order = np.argsort(words) + 1
    expected = [np.where(kind == 0, numbers, np.median(numbers[kind == 0])), *(kind == place for place in order)]
    np.testing.assert_array_equal(found.x, np.column_stack(expected))
    (note,) = (note for note in found.notes if note.startswith("x: "))
    assert f"'{words[0]}' in row 1: one input for each text" in note


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["<5", *map(str, range(5, 44))], [5, *range(5, 44)]),
        (["$1.5M", "$900K"] * 20, [1.5e6, 9e5] * 20),
        (["2 kg", "500 g"] * 20, [2000, 500] * 20),
        (["1,234", "12,345", "999"] * 13, [1234, 12345, 999] * 13),
        (["1,00,000", "5,000"] * 20, [100000, 5000] * 20),
        (["(1,234.5)", "7"] * 20, [-1234.5, 7] * 20),
        (["1,5E+03", "2,5"] * 20, [1500, 2.5] * 20),
        (["1st", "2nd", "3rd"] * 13, [1, 2, 3] * 13),
    ],
    ids=lambda cells: str(cells[0]),
)
def test_numbers_of_other_kinds(cells, numbers):
    np.testing.assert_allclose(prepared(table({"x": cells})).x[:, 0], numbers)


def test_german_thousands_are_told_by_other_columns():
    german = {"price": ["1.234", "12.500"] * 20, "size": ["0,5", "1,25"] * 20}
    np.testing.assert_array_equal(prepared(table(german)).x[:2], [[1234, 0.5], [12500, 1.25]])
    english = {"price": ["1.234", "12.500"] * 20, "size": ["0.5", "1.25"] * 20}
    np.testing.assert_array_equal(prepared(table(english)).x[:2], [[1.234, 0.5], [12.5, 1.25]])


def test_a_table_to_predict_may_be_written_otherwise():
    learnt = encoding.learn(
        parsed(table({"x": ["1.5 kg", "2 kg"] * 20, "d": ["2/27/2020", "3/1/2020"] * 20}).encode(), "t.csv"), "y"
    )
    other = parsed(b"d;x\n2020-03-01;2,5\n27 Feb 2020;1,5 kg\n", "t.csv", wanted=learnt.kinds)
    inputs, _ = learnt(other)
    np.testing.assert_array_equal(inputs[:, 0], [2.5, 1.5])
    assert inputs[0, 1] - inputs[1, 1] == 3
    with pytest.raises(ValueError, match=r"row 1, column 'x' is '5 lb'; expected a number in kg as in training"):
        learnt(parsed(b"d,x\n2020-03-01,5 lb\n", "t.csv", wanted=learnt.kinds))
    expected = "row 1, column 'd' is '27/2/2020'; expected a date as in training, month/day/year, or as year-month-day"
    with pytest.raises(ValueError, match=expected):
        learnt(parsed(b"d,x\n27/2/2020,5\n", "t.csv", wanted=learnt.kinds))


def test_names_of_rows_and_leaks_and_rare_classes_are_told():
    rng = np.random.default_rng(0)
    x, y = rng.random(60), np.arange(60) % 2
    cells = zip([f"item {row}" for row in range(60)], x, np.where(y, "dead", "alive"), y, strict=True)
    text = "name,x,copy,y\n" + "".join(f"{a},{b:.3f},{c},{d}\n" for a, b, c, d in cells) + "odd,0.5,lost,2\n"
    found = prepared(text)
    assert [column.name for column in found.encoding.columns] == ["x", "copy"]
    told = "\n".join(found.notes)
    assert "name: ignored, because 61 distinct values in 61 rows look like names or ids" in told
    assert "copy alone determines y in all 61 rows" in told
    assert "x alone" not in told
    assert "y has classes with fewer than 5 rows, too few for training and testing: 2 (1)" in told
    y = rng.random(60)
    money = prepared("x,euros,y\n" + "".join(f"{a:.4f},{1.1 * b + 3:.6f},{b:.6f}\n" for a, b in zip(x, y, strict=True)))
    assert [note.split()[0] for note in money.notes if "alone determines y" in note] == ["euros"]


def test_all_problems_are_told_at_once(tmp_path):
    rows = "".join(f"w{row % 120},,{row % 5},{'$€'[row % 2]}{row},x\n" for row in range(400))
    with pytest.raises(TableError) as refused:
        prepared("code,empty,n,price,n\n" + rows, target="why", leave_out=["id"])
    said = str(refused.value)
    for part in (
        "columns 3 and 5 of t.csv are both named 'n'",
        "`leave_out` names 'id'; expected one of",
        "there is no column 'why'",
        "column 'code' holds 120 distinct values",
        "column 'empty' is empty in all 400 rows",
        "row 2, column 'price' is '€1', and another cell is '$0'; expected one currency",
    ):
        assert part in said
    assert refused.value.leave_out == ("code", "empty", "price")


def test_a_target_copied_with_its_spaces_is_found():
    text = "a, Life  expectancy \n" + "".join(f"{row},{row}.25\n" for row in range(30))
    for name in ("Life expectancy", "Life  expectancy ", " Life expectancy"):
        assert prepared(text, target=name).name == "Life  expectancy"


@pytest.mark.parametrize(
    ("cells", "cell", "expected"),
    [
        (["€ 300", "450 €", "€ 20"], "$ 300", "a number in €"),
        (["5 mm", "2 cm", "1 m"], "5 kg", "a number in mm, cm, dm, m or km"),
        (["12 %", "7 %", "9 %"], "7 ‰", "a number in %"),
        (["12k", "7k", "9", "1k"], "7 lb", "a number"),
        (["1", "2", "3"], "many", "a number"),
        (["14:30", "15:40", "8:05"], "noon", "a time"),
    ],
)
def test_a_cell_of_another_currency_or_unit_is_told_what_was_learnt(cells, cell, expected):
    learnt = encoding.learn(Columns({"x": np.array(cells * 14, object)}), "")
    with pytest.raises(ValueError, match=re.escape(f"{cell!r}; expected {expected} as in training")):
        learnt(Columns({"x": np.array([cell], object)}))


def test_a_currency_is_also_told_where_words_are_allowed():
    cells = [f"€ {number}" for number in range(30)] * 2 + ["unknown", "none yet"]
    learnt = encoding.learn(Columns({"x": np.array(cells, object)}), "")
    _, notes = learnt(Columns({"x": np.array(["$ 7", "Unknown", "lost"], object)}))
    assert notes == [
        "x: '$ 7', 'Unknown' (did you mean 'unknown'?), 'lost' in 3 cells did not occur in training, is not a number "
        "in €, and is replaced by 14.5"
    ]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("mill", "Mill"),
        ("HARBOUR", "Harbour"),
        ("Harbor", "Harbour"),
        ("South", None),
        ("Docks", None),
        ("Mil", "Mill"),
    ],
)
def test_an_unknown_word_gets_the_known_one_that_was_meant(word, meant):
    learnt = encoding.learn(Columns({"shop": np.array(["Mill", "Harbour", "North"] * 9, object)}), "")
    _, notes = learnt(Columns({"shop": np.array([word], object)}))
    hint = f" (did you mean {meant!r}?)" if meant else ""
    end = "in 1 cell did not occur in training, and counts as none of the known categories"
    assert notes == [f"shop: {word!r}{hint} {end}"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("sold", "sold within a week"),
        ("Sold", "sold within a week"),
        ("week", "sold within a week"),
        ("frame", "frame (cm)"),
        ("gears", "Gears"),
        ("prize", "price"),
        ("born", "year_born"),
        ("old", None),
        ("", None),
    ],
)
def test_an_unknown_column_gets_the_known_one_that_was_meant(name, meant):
    names = ["Gears", "frame (cm)", "price", "sold within a week", "year_born"]
    wanted = f"did you mean {meant!r}?" if meant else "expected one of 'Gears', 'frame (cm)', 'price'"
    assert encoding.expected_name(name, names).startswith(wanted)


@pytest.mark.parametrize(
    ("target", "said"), [("4", r"did you mean 'c4'\? "), ("y", r"expected one of 'c1', .*'c4'\. ")]
)
def test_a_target_that_a_table_without_headings_lacks(target, said):
    rows = "".join(f"{place / 7:.3f},0,{place % 3},{place % 2}\n" for place in range(40))
    with pytest.raises(ValueError, match=rf"there is no column '{target}'; {said}\S+ has no header row"):
        prepared(rows.encode(), target=target)
