"""Tables in files: read as they are meant, or refused in one sentence that says where; never anything else."""

import csv
import dataclasses
import gzip
import io
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
from helpers.tables import GOOD, a_model, checked, mutated, outcome
from scipy.special import softmax
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

from jaxreg.lab.search import fitted_model as model_file
from jaxreg.lab.search.fitted_model import Net
from jaxreg.lab.tabular import encoding
from jaxreg.lab.tabular.files import parsed, read


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def test_a_table_is_encoded_as_by_the_transformers_of_scikit_learn():
    columns = parsed(GOOD.encode(), "good.csv")
    learnt = encoding.examine(columns, "y")
    inputs, notes = learnt.encoding(columns)
    rows = [[None if cell in ("", "?", "NA") else cell for cell in row] for row in csv.reader(io.StringIO(GOOD))][1:]
    table = np.array(rows, dtype=object)
    numbers = np.array([[float("nan") if cell is None else float(cell) for cell in row] for row in table[:, [0, 2]]])
    filled = SimpleImputer(strategy="median", add_indicator=True).fit_transform(numbers)
    words = OneHotEncoder(sparse_output=False).fit_transform(np.array([[cell] for cell in table[:, 1]], dtype=object))
    np.testing.assert_array_equal(inputs, np.column_stack([filled[:, [0, 2]], words, filled[:, [1, 3]]]))
    assert learnt.encoding.inputs == [
        *["age", "age is missing", "city=Bonn", "city=Ulm", "city is missing", "weight", "weight is missing"]
    ]
    assert notes == []
    assert learnt.notes == [
        "age: 1 missing cell, replaced by 39 and marked by an input",
        "city: 2 distinct values, one input each; 1 missing cell, marked by an input",
        "weight: 1 missing cell, replaced by 70.5 and marked by an input",
    ]


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace(",", ";"),
        GOOD.replace(",", "\t"),
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("\n", ",\n"),
        GOOD.replace("\n", ",, \n"),
        "".join(f"{number},{line}\n" for number, line in zip(["", *"413520"], GOOD.splitlines(), strict=True)),
    ],
    ids=["semicolons", "tabs", "mark", "DOS", "commas at the end", "more of them", "the index of pandas"],
)
def test_dialects_of_csv_are_one_table(text):
    inputs, target = checked(text.encode(), "GOOD.CSV")
    np.testing.assert_array_equal(inputs, checked(GOOD.encode(), "good.csv")[0])
    assert list(parsed(text.encode(), "good.csv")) == ["age", "city", "weight", "y"]
    assert target.task == "classification"


def test_a_comma_in_a_name_among_semicolons_is_no_delimiter():
    columns = parsed(b"length, mm;width, mm;y\n1;2;3\n4;5;6\n", "t.csv")
    assert list(columns) == ["length, mm", "width, mm", "y"]
    np.testing.assert_array_equal(columns["width, mm"], [2, 5])
    assert list(parsed(b"x, mm;y\n\n1;2\n", "t.csv")) == ["x, mm", "y"]


def test_arrays_are_columns():
    inputs, target = checked(npz(x=np.arange(12.0).reshape(6, 2), y=np.arange(6) / 7), "data.npz")
    np.testing.assert_array_equal(inputs, np.arange(12.0).reshape(6, 2))
    assert target.task == "regression"


@pytest.mark.parametrize(
    ("column", "task"),
    [("0 1 1 0 2 1", "classification"), ("0.5 1 2 3 4 5", "regression"), ("a b a b a b", "classification")],
)
def test_the_task_is_told_from_the_target(column, task):
    text = "x,y\n" + "".join(f"{row},{cell}\n" for row, cell in enumerate(column.split()))
    assert checked(text.encode(), "t.csv")[1].task == task


many = "".join(f"{row},word{row % 40_000},{row % 2}\n" for row in range(100_000))


def column(cell):
    return ("x;y\n" + "".join(f"{cell.format(row)}\n" for row in range(20))).encode()


REFUSED = {
    "empty": (b"", "t.csv", "t.csv is empty"),
    "blank": (b"\n\n", "t.csv", "holds only blank lines"),
    "heading": (b"x,y\n", "t.csv", "has column names but no data rows"),
    "no column": (b"x,z\n1,2\n", "t.csv", "there is no column 'y'; expected one of 'x', 'z'"),
    "one class": (b"x,y\n1,a\n2,a\n", "t.csv", "the target, holds only the class a"),
    "constant": (b"x,y\n1,2.5\n2,2.5\n", "t.csv", "the target, holds only the number 2.5"),
    "all missing": (b"x,z,y\n1,,1\n2,NA,0\n", "t.csv", "column 'z' is empty in all 2 rows"),
    "target missing": (b"x,y\n1,\n2,NA\n", "t.csv", "column 'y', the target, is empty in all 2 rows"),
    "duplicate": (b"x,x,y\n1,2,3\n", "t.csv", "columns 1 and 2 of t.csv are both named 'x'"),
    "unnamed": (b"x,,y\n1,2,3\n", "t.csv", "column 2 of t.csv has no name"),
    "unnamed first": (b",x,y\n1.5,2,3\n", "t.csv", "column 1 of t.csv has no name"),
    "unnamed, the same": (b",x,y\n1,2,3\n1,3,4\n", "t.csv", "column 1 of t.csv has no name"),
    "unnamed, all": (b",\n1,\n2,\n", "t.csv", "column 1 of t.csv has no name"),
    "infinite": (b"x,y\n1,0\ninf,1\n", "t.csv", "row 2, column 'x' of t.csv is inf; expected a number between"),
    "too large": (b"x,y\n1,0\n-1e300,1\n", "t.csv", "row 2, column 'x' of t.csv is -1e+300"),
    "ragged": (b"x,y\n1,0\n1,2,3\n", "t.csv", "row 2 of t.csv has 3 cells, but the header row has 2"),
    "quote": (b'x,y\n1,"0\n', "t.csv", "is not a valid CSV file: line 2"),
    "zero": (b"x,y\n1,\0\n", "t.csv", "zero byte in line 2"),
    "categories": (f"x,w,y\n{many}".encode(), "t.csv", "column 'w' holds 40000 distinct values, such as 'word0'"),
    "many categories": (
        f"v,w,x,y\n{''.join(f'a{row % 101},b{row % 101},2,{row % 2}' + chr(10) for row in range(202))}".encode(),
        "t.csv",
        "column 'v' holds 101 distinct values, such as 'a0'; expected at most 100 categories. Merge categories, or "
        "remove the column from the table; column 'w' holds 101 distinct values, such as 'b0'",
    ),
    "several empty": (
        b"x,z,y\n,,1\n,NA,0\n",
        "t.csv",
        "column 'x' is empty in all 2 rows: remove it from the table; column 'z' is",
    ),
    "other case": (b"x,Y\n1,2\n", "t.csv", "there is no column 'y'; did you mean 'Y'?"),
    "no heading": (b"1,2\n3,4\n5,6\n", "t.csv", "there is no column 'y'; expected one of 'c1', 'c2'"),
    "pickle": (pickle.dumps([1]), "t.csv", "t.csv is a pickle, which can run any code"),
    "pickle by name": (b"x", "t.pkl", "t.pkl is a pickle"),
    "ending": (b"x", "t.xls", "t.xls ends in '.xls'; expected a table as .csv, .xlsx, .npz or .parquet"),
    "sheet": (b"PK\3\4 and then nothing", "t.xlsx", "t.xlsx is not an Excel workbook, or is incomplete"),
    "packed and cut": (gzip.compress(b"x,y\n1,2\n")[:-9], "t.csv.gz", "t.csv.gz is a damaged gzip file"),
    "pickle, packed": (gzip.compress(pickle.dumps([1])), "t.csv", "t.csv is a pickle"),
    "currencies": ("x,y\n$5,1\n€7,0\n".encode(), "t.csv", "row 2, column 'x' is '€7', and another cell is '$5'"),
    "many words among numbers": (
        (
            "x,y\n"
            + "".join(f"{cell},{len(str(cell)) % 2}\n" for cell in [*range(500), *(f"w{row}" for row in range(13))])
        ).encode(),
        "t.csv",
        "row 501, column 'x' is 'w0', but 500 other distinct values are numbers; expected a number",
    ),
    "dates to predict": (
        column("2024-01-{0:02};1").replace(b"x;y", b"y;x"),
        "t.csv",
        "the target, holds dates, such as",
    ),
    "parquet": (b"PAR1 and then nothing", "t.parquet", "not a Parquet file, or is incomplete"),
    "npz": (npz(x=np.zeros(9))[:-30], "t.npz", "not an .npz file, or is incomplete"),
    "objects": (npz(x=np.array([None, 1], dtype=object)), "t.npz", "is of type object; expected numbers"),
    "cube": (npz(x=np.zeros((2, 2, 2))), "t.npz", "(2, 2, 2); expected (rows,) or (rows, columns)"),
    "lengths": (npz(x=np.zeros(2), y=np.zeros(3)), "t.npz", r"different numbers of rows, [2, 3]"),
    "twice": (npz(**{"x": np.zeros((2, 2)), "x.1": np.zeros(2)}), "t.npz", "two columns of t.npz are named 'x.1'"),
    "only target": (b"y\n1\n0\n", "t.csv", "no column except 'y'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_tables_are_refused_in_one_sentence(case):
    raw, name, message = REFUSED[case]
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        checked(raw, name)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_blank_line_is_a_missing_cell_where_there_is_one_column():
    columns = parsed(b"x\n1.0\n\n2.0\n", "t.csv")
    np.testing.assert_array_equal(columns["x"], [1.0, np.nan, 2.0])
    assert len(parsed(b"x,y\n1,2\n\n3,4\n\n", "t.csv")["x"]) == 2


def test_commas_inside_quotes_are_no_delimiters():
    columns = parsed(b'"income, net, yearly";y\n"1";2\n3;4\n', "t.csv")
    assert list(columns) == ["income, net, yearly", "y"]
    np.testing.assert_array_equal(columns["y"], [2, 4])


def test_columns_of_words_keep_their_words_where_they_look_like_numbers():
    columns = parsed(b"zip,x\n02134,1\n1.50,2\n,3\n", "t.csv", wanted={"zip": True, "x": False})
    assert columns["zip"].tolist() == ["02134", "1.50", None]
    np.testing.assert_array_equal(columns["x"], [1, 2, 3])


def test_columns_that_are_not_wanted_are_not_looked_at():
    raw = ("when,x\n" + "".join(f"2024-01-{day:02},{day}\n" for day in range(1, 29))).encode()
    columns = parsed(raw, "t.csv", wanted={"x": False})
    np.testing.assert_array_equal(columns["x"], np.arange(1, 29))
    for big in ((b"big,x\n1e300,1\n", "t.csv"), (npz(big=np.array([1e300]), x=np.ones(1)), "t.npz")):
        assert len(parsed(*big, wanted={"x": False})["x"]) == 1
    columns = parsed(b",q,q,,x\n1,2,3,4,5\n1,2,3,4,6\n", "t.csv", wanted={"x": False})
    np.testing.assert_array_equal(columns["x"], [5, 6])
    np.testing.assert_array_equal(parsed(b"q,q,x\n1,2,3\n", "t.csv", without=["q"])["x"], [3])
    for words in (np.array(["a", "b"]), np.array([None, 1], dtype=object)):
        for asked in ({"wanted": {"x.1": False}}, {"without": ["who"]}):
            columns = parsed(npz(who=words, x=np.eye(2)), "t.npz", **asked)
            np.testing.assert_array_equal(columns["x.1"], [0, 1])


@pytest.mark.parametrize(
    "cells",
    [
        [f"192.168.100.{host}" for host in range(20)],
        [f"212.555.{line}" for line in range(1234, 1254)],
        [f"2.{minor:03}.1" for minor in range(20)],
        [f"{row}-{row + 1}" for row in range(20)],
        [f"00 {row:03}" for row in range(20)],
        [f"1_{row:03}" for row in range(20)],
        [*map(str, range(1, 13)), "unknown", *"1234567"],
    ],
    ids=lambda cells: cells[0],
)
def test_names_that_look_a_little_like_numbers_are_words(cells):
    raw = ("x;y\n" + "".join(f"{cell};1\n" for cell in cells)).encode()
    columns = parsed(raw, "t.csv")
    assert columns["x"].tolist() == cells
    learnt = encoding.examine(columns, "y").encoding.columns
    assert [column.categories for column in learnt] == ([] if len({*cells}) > 13 else [tuple(sorted({*cells}))])


def test_as_many_words_and_classes_as_are_allowed_are_and_one_more_is_not():
    def told(count, cell):
        rows = "".join(f"{cell.format(row % count)},{cell.format(row % count)}\n" for row in range(2 * count))
        return checked(f"x,y\n{rows}".encode(), "t.csv")[1].task

    assert told(encoding.WHOLE_CLASSES, "{}") == "classification"
    assert told(encoding.WHOLE_CLASSES + 1, "{}") == "regression"
    assert told(encoding.MOST_CATEGORIES, "w{}") == "classification"
    with pytest.raises(ValueError, match="holds 101 distinct classes; expected at most 100"):
        told(encoding.MOST_CLASSES + 1, "w{}")
    columns = parsed(("x,y\n" + "".join(f"w{row % 101},1\n" for row in range(202))).encode(), "t.csv")
    with pytest.raises(ValueError, match="column 'x' holds 101 distinct values"):
        encoding.learn(columns, "y")


def test_words_that_were_not_there_in_training_are_told_and_numbers_of_a_typed_file_may_be_words():
    learnt = encoding.learn(parsed(b"code,y\n1,0\n1,1\n2.5,1\nx,0\n", "t.csv"), "y")
    inputs, notes = learnt({"code": np.array([1.0, 2.5, 7.0, np.nan])})
    np.testing.assert_array_equal(inputs, [[1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 0, 0]])
    assert notes == [
        "code: 1 missing cell is replaced by 1",
        "code: '7' in 1 cell did not occur in training, and counts as none of the known categories",
    ]


def test_words_among_numbers_that_were_not_there_are_replaced_by_the_median():
    rows = "\n".join([*map(str, range(20)), "unknown", "unknown"])
    learnt = encoding.learn(parsed(f"a,y\n{rows.replace(chr(10), ',1' + chr(10))},1\n".encode(), "t.csv"), "y")
    _, notes = learnt({"a": np.array(["3", "lost", "lost"], dtype=object)})
    assert notes == ["a: 'lost' in 2 cells did not occur in training, and is replaced by 9.5"]


def test_text_in_a_numeric_target_is_shown_with_its_row():
    columns = parsed(b"x,y\n1,2\n2,high\n", "t.csv")
    with pytest.raises(ValueError, match="row 2, column 'y': the target is 'high'; expected a number"):
        encoding.target(columns, "y", "regression")


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="is a folder; expected a file"):
        read(tmp_path)


def test_columns_are_found_by_name_in_any_order_and_missing_ones_named():
    columns = parsed(GOOD.encode(), "good.csv")
    learnt = encoding.learn(columns, "y")
    other = dict(reversed(columns.items())) | {"more": np.zeros(6)}
    np.testing.assert_array_equal(learnt(columns)[0], learnt(other)[0])
    with pytest.raises(ValueError, match=r"the table lacks the column 'city'; it has 'age', 'weight', 'y'"):
        learnt({name: values for name, values in columns.items() if name != "city"})
    words = parsed(GOOD.replace("45", "old").encode(), "good.csv")
    with pytest.raises(ValueError, match="row 3, column 'age' is 'old'; expected a number as in training"):
        learnt(words)


def test_words_that_differ_in_capitals_only_are_told():
    columns = parsed(b"a,y\nYes,ill\nyes,Ill\nno,well\n", "t.csv")
    assert encoding.target(columns, "y").notes == (
        "y: 'Ill' and 'ill' differ only in capital letters and are treated as distinct",
        "y has classes with fewer than 5 rows, too few for training and testing: Ill (1), ill (1), well (1)",
        "y is Ill, the most frequent class, in 33.3% of rows",
    )
    assert encoding.examine(columns, "y").notes[1:] == [
        "a: 'Yes' and 'yes' differ only in capital letters and are treated as distinct"
    ]


def test_a_model_comes_back_as_it_went(tmp_path):
    model, file = a_model(), tmp_path / "model.safetensors"
    model_file.save(file, model)
    loaded = model_file.load(file)
    assert (loaded.encoding, loaded.target, loaded.task, loaded.classes) == (
        model.encoding,
        "y",
        "classification",
        (0, 1),
    )
    x = np.random.default_rng(1).normal(size=(5, 7))
    np.testing.assert_array_equal(loaded.net(x), model.net(x))
    assert b"pickle" not in file.read_bytes()


def test_a_table_of_predictions_names_the_likeliest_of_many_classes():
    model, rng = a_model(), np.random.default_rng(2)
    arrays = model.net.arrays | {"output/kernel": 3 * np.eye(3), "output/bias": rng.normal(size=3)}
    x = rng.normal(size=(30, 7))
    hidden = np.maximum(x @ arrays["hidden/kernel"], 0)
    wanted = softmax(hidden @ arrays["output/kernel"] + arrays["output/bias"], axis=1)
    model = dataclasses.replace(model, net=Net(arrays), classes=("a", "b", "c"))
    heading, *rows = csv.reader(model.table(x).splitlines())
    assert heading == ["y", "probability of a", "probability of b", "probability of c"]
    assert [row[0] for row in rows] == ["abc"[best] for best in wanted.argmax(axis=1)]
    assert {row[0] for row in rows} == {*"abc"}
    np.testing.assert_allclose(np.array([row[1:] for row in rows], float), wanted, atol=3e-6)  # none is below 1e-6


def test_damaged_newer_and_other_models_are_refused(tmp_path):
    file = tmp_path / "model.safetensors"
    model_file.save(file, a_model())
    raw = file.read_bytes()
    changed = bytearray(raw)
    changed[-3] ^= 1
    newer = raw.replace(b'"format":"2"', b'"format":"7"')
    turned = raw.replace(b'"shape":[7,3]', b'"shape":[3,7]')
    assert newer != raw != turned
    for content, message in (
        (changed, "is damaged"),
        (turned, "is damaged"),
        (raw[:-9], "or is incomplete"),
        (newer, "model format 7, but this version"),
        (safetensors.numpy.save({"w": np.zeros(2)}, {"format": "7"}), "holds arrays but no jaxreg model"),
    ):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            model_file.load(file)
    with pytest.raises(ValueError, match="is a folder"):
        model_file.load(tmp_path)


SEEDS = {
    "t.csv": (GOOD.encode(), 6000),
    "t.npz": (npz(x=np.arange(12.0).reshape(6, 2), y=np.arange(6)), 2500),
}


@pytest.mark.parametrize("name", SEEDS)
def test_mutated_tables_are_read_or_refused_in_one_sentence(name):
    raw, count = SEEDS[name]
    rng = np.random.default_rng(len(name))
    for _ in range(count):
        found, sentence = outcome(checked, mutated(raw, rng), name)
        assert sentence or (np.isfinite(found[0]).all() and len(found[1].y) <= len(found[0]))


def test_mutated_models_are_read_or_refused_in_one_sentence(tmp_path):
    file = tmp_path / "model.safetensors"
    model_file.save(file, a_model())
    raw = file.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(1000):
        file.write_bytes(changed := mutated(raw, rng))
        _, sentence = outcome(model_file.load, file)
        assert str(file) in sentence if sentence else changed == raw
        assert [file] == list(tmp_path.iterdir())


def test_models_of_the_first_format_predict_as_they_did(tmp_path):
    """Without readings, `none` and `?` are missing among words, and missing cells have no input."""
    columns = [
        {"name": "age", "fill": 39.0, "categories": []},
        {"name": "city", "fill": "Ulm", "categories": ["Bonn", "Ulm"]},
    ]
    arrays = a_model().net.arrays
    arrays = {
        name: np.ascontiguousarray(array[:3]) if array.shape[:1] == (7,) else array for name, array in arrays.items()
    }
    text = json.dumps(
        {"encoding": columns, "target": "y", "task": "classification", "classes": [0.0, 1.0], "about": {}}
    )
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    header = {"jaxreg": text, "format": "1", "sha256": model_file._digest(arrays, text)}
    file, again = tmp_path / "model.safetensors", tmp_path / "again.safetensors"
    file.write_bytes(safetensors.numpy.save(arrays, header))
    model = model_file.load(file)
    rows = b"city,age\nBonn,31\nnone,?\n,45\nN/A,NA\nKiel,1\n"
    inputs, notes = model.encoding(parsed(rows, "t.csv", model.encoding.kinds))
    np.testing.assert_array_equal(inputs, [[31, 1, 0], [39, 0, 1], [45, 0, 1], [39, 0, 1], [1, 0, 0]])
    assert notes == [
        "age: 2 missing cells are replaced by 39.0",
        "city: 3 missing cells are replaced by Ulm",
        "city: 'Kiel' in 1 cell did not occur in training, and counts as none of the known categories",
    ]
    model_file.save(again, model)
    with safetensors.safe_open(again, "numpy") as opened:
        assert opened.metadata() == header


@pytest.mark.parametrize("rows", ["31,Ulm,1\n45,Bonn,0\n" * 3, "31,,x\n45,,x\n" * 3])
def test_jax_is_not_imported_before_a_table_is_judged(tmp_path, rows):
    (tmp_path / "t.csv").write_text("age,city,y\n" + rows)
    script = (
        "import sys\nfrom jaxreg.lab.cli import main\n"
        "sys.modules['jaxreg.lab.cli.search'] = None\n"  # where the search would begin
        "sys.argv = ['jaxreg', 'search', 't.csv', '--target', 'y']\n"
        "try:\n    main()\nexcept ImportError:\n    print('judged')\nexcept SystemExit as stop:\n    print(stop.code)\n"
        "print('jax' in sys.modules, 'xarray' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    refused = ",x" in rows
    assert done.stdout.split() == ["2" if refused else "judged", "False", "False"]
    if refused:
        assert done.stderr == (
            "jaxreg: 2 problems were found:\n"
            "- column 'y', the target, holds only the class x; expected at least two\n"
            "- column 'city' is empty in all 6 rows: ignore it with --leave-out\n"
            "to run without these columns: jaxreg search t.csv --target y --leave-out city\n"
        )


def test_predicting_does_not_import_jax(tmp_path):
    model_file.save(tmp_path / "model.safetensors", a_model())
    (tmp_path / "new.csv").write_text(GOOD)
    script = (
        "import sys\nfrom jaxreg.lab.cli import main\n"
        "sys.argv = ['jaxreg', 'predict', '.', 'new.csv']\nmain()\nprint('jax' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    heading, *rows, imported = done.stdout.splitlines()
    assert (heading, len(rows), imported) == ("y,probability of 0,probability of 1", 6, "False")
