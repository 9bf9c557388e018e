"""Parquet files: read as the CSV file of the same cells is, or refused in one sentence; never anything else."""

import datetime
import decimal
import io
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from helpers.tables import checked, mutated, outcome
from pyarrow import parquet as written

from jaxreg.lab.tabular import encoding, parquet
from jaxreg.lab.tabular.files import parsed


def raw(columns, **options):
    buffer = io.BytesIO()
    written.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), buffer, **options)
    return buffer.getvalue()


def frame():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({
        "size": rng.normal(size=40),
        "count": pd.array(rng.integers(0, 90, 40), dtype="Int64"),
        "small": rng.integers(0, 99, 40).astype(np.float16) / 4,
        "town": rng.choice(["Ulm", "Bonn", "Köln"], 40),
        "kind": pd.Categorical(rng.choice(["a", "b"], 40)),
        "open": pd.array(rng.integers(0, 2, 40).astype(bool), dtype="boolean"),
        "y": rng.integers(0, 2, 40),
    })  # fmt: skip
    for place, column in enumerate(table.columns[:-1]):
        table.loc[place, column] = None
    return table


def same(one, other):
    assert list(one) == list(other)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "gzip", "row_group_size": 7},
        {"compression": "none", "use_dictionary": False, "version": "1.0"},
    ],
)
def test_a_table_is_read_as_the_csv_file_of_the_same_cells(options):
    table = frame()
    found = parsed(raw(pa.Table.from_pandas(table, preserve_index=False), **options), "t.parquet")
    same(found, parsed(table.to_csv(index=False).encode(), "t.csv"))
    assert [values.dtype == object for values in found.values()] == [False, False, False, True, True, True, False]
    learnt = encoding.examine(found, "y")
    inputs, _ = learnt.encoding(found)
    assert inputs.shape == (40, 3 + 3 + 2 + 2 + 6)
    assert len(learnt.notes) == 6


def test_dates_and_times_are_read_as_their_text():
    table = pd.DataFrame({"day": pd.date_range("2023-01-30", periods=40, freq="19h"), "y": np.arange(40) % 2})
    table["date"] = table["day"].dt.date
    table["time"] = table["day"].dt.time
    found = parsed(raw(pa.Table.from_pandas(table, preserve_index=False)), "t.parquet")
    inputs, _ = encoding.learn(found, "y")(found)
    expected, _ = encoding.learn(parsed(table.to_csv(index=False).encode(), "t.csv"), "y")(found)
    np.testing.assert_array_equal(inputs, expected)
    since = (table["day"] - pd.Timestamp("1970-01-01")) / pd.Timedelta("1D")
    np.testing.assert_allclose(inputs[:, 0], since, rtol=1e-12)


def test_what_pandas_writes_of_an_index_without_a_name_is_left_out():
    table = frame()
    buffer = io.BytesIO()
    table[table["y"] == 1].to_parquet(buffer)
    assert "__index_level_0__" in written.read_schema(buffer).names
    same(parsed(buffer.getvalue(), "t.parquet"), parsed(table[table["y"] == 1].to_csv(index=False).encode(), "t.csv"))


def test_numbers_of_every_type_are_numbers():
    types = [pa.int8(), pa.uint64(), pa.float16(), pa.float64(), pa.decimal128(5, 2), pa.null()]
    cells = [1, 2**63 + 1, np.float16(0.5), 2.5, decimal.Decimal("1.25"), None]
    made = {str(kind): pa.array([cell, None], kind) for kind, cell in zip(types, cells, strict=True)}
    found = parsed(raw(made), "t.parquet")
    wanted = [np.nan if cell is None else float(cell) for cell in cells]
    np.testing.assert_array_equal([values[0] for values in found.values()], wanted)
    assert all(np.isnan(values[1]) for values in found.values())


def test_words_of_every_type_are_words():
    types = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.large_string())]
    found = parsed(raw({str(kind): pa.array(["a", None], kind) for kind in types}), "t.parquet")
    assert [list(values) for values in found.values()] == [["a", None]] * len(types)


REFUSED = {
    "list": (pa.array([[1, 2]]), "is of type list<element: int64>; expected numbers, strings"),
    "struct": (pa.array([{"a": 1}]), "is of type struct<a: int64>; expected numbers, strings"),
    "bytes": (pa.array([b"x"]), "is of type binary; expected numbers, strings"),
    "duration": (pa.array([datetime.timedelta(1)]), "is of type duration[us]; expected numbers, strings, dates"),
    "infinite": (pa.array([np.inf]), "row 1, column 'x' of t.parquet is inf; expected a number between"),
    "no rows": (pa.array([], pa.int64()), "has column names but no data rows"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_columns_that_are_neither_numbers_nor_words_are_refused_by_name(case):
    column, message = REFUSED[case]
    _, sentence = outcome(parsed, raw({"x": column}), "t.parquet")
    assert message in sentence


def test_columns_that_are_not_wanted_may_be_of_any_type():
    day, text = pa.array([datetime.date(2020, 1, 1)] * 2), pa.array([[1], [2]])
    table = pa.Table.from_arrays([day, pa.array([1.0, 2]), text, text], names=["day", "x", "text", "text"])
    for asked in ({"wanted": {"x": False}}, {"without": ["day", "text"]}):
        np.testing.assert_array_equal(parsed(raw(table), "t.parquet", **asked)["x"], [1, 2])


def test_columns_of_one_name_are_refused():
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    assert "columns 1 and 2 of t.parquet are both named 'x'" in outcome(parsed, raw(twice), "t.parquet")[1]


def test_a_size_that_is_only_said_is_not_made():
    # Runs of one value take little room in a file: two megabytes stand for hundreds of millions of cells.
    file = raw({f"x{place}": pa.array(np.zeros(2**22, bool)) for place in range(48)})
    assert len(file) < 2**21
    sentence = outcome(parsed, file, "t.parquet")[1]
    cells = 48 * 2**22
    assert sentence == f"t.parquet has {cells} cells according to its metadata; expected at most {parquet.MOST_CELLS}"


def test_without_pyarrow_it_is_asked_for(monkeypatch):
    file = raw({"x": [1]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "needs pyarrow. Run: pip install 'jaxreg[parquet]'" in outcome(parsed, file, "t.parquet")[1]


@pytest.mark.parametrize("compression", ["snappy", "none"])
def test_truncated_and_flipped_files_are_read_or_refused_in_one_sentence(compression):
    file = raw(pa.Table.from_pandas(frame(), preserve_index=False), compression=compression)
    for cut in np.linspace(0, len(file) - 1, 200).astype(int):
        assert outcome(parsed, file[:cut], "t.parquet")[1]
        assert outcome(parsed, file[:cut] + b"PAR1", "t.parquet")[1]
    rng = np.random.default_rng(0)
    for place in range(1000):
        changed = bytearray(file)
        # The footer says what everything else is: half of the flips are there.
        low = 0 if place % 2 else int(len(file) * 0.6)
        changed[rng.integers(low, len(file))] ^= 1 << int(rng.integers(8))
        found, sentence = outcome(checked, bytes(changed), "t.parquet")
        assert sentence or np.isfinite(found[0]).all()
    for _ in range(500):
        found, sentence = outcome(checked, mutated(file, rng), "t.parquet")
        assert sentence or np.isfinite(found[0]).all()
