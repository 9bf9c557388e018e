"""Messages about a table name the arguments of what the user called: the command, a function, or an estimator."""

import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from helpers.tables import a_model
from pyarrow import parquet

from jaxreg.lab import RegularizedMLPRegressor
from jaxreg.lab.cli import main
from jaxreg.lab.search import fitted_model, search
from jaxreg.lab.tabular import Columns, encoding, prepare, prepare_columns, read
from jaxreg.lab.training.tasks import CLASSES

ROWS = "".join(f"{row % 3},{'ab'[row % 2]},{row % 7}\n" for row in range(40))
EMPTY = "kind,word,hole,y\n" + "".join(f"{row % 3},{'ab'[row % 2]},,{row}.5\n" for row in range(40))


def typed(monkeypatch, capsys, *words):
    monkeypatch.setattr("sys.argv", ["jaxreg", *map(str, words)])
    with pytest.raises(SystemExit):
        main()
    return capsys.readouterr().err


def refused(function, *arguments, **options):
    with pytest.raises(ValueError, match=r"\S") as said:
        function(*arguments, **options)
    return str(said.value)


def test_a_column_is_left_out_as_the_caller_can_do_it(tmp_path, monkeypatch, capsys):
    file = tmp_path / "t.csv"
    file.write_text(EMPTY)
    frame = pd.read_csv(file)
    wide = tmp_path / "t.parquet"
    parquet.write_table(pa.table({"x": [[1], [2]], "y": [1, 2]}), wide)
    columns = Columns({"hole": np.full(4, np.nan), "y": np.arange(4.0)})
    empty = "column 'hole' is empty in all 40 rows: "
    net = RegularizedMLPRegressor()
    assert empty + "ignore it with --leave-out; to run" in typed(monkeypatch, capsys, "search", file, "--target", "y")
    for said, advice in (
        (refused(prepare, file, "y"), "ignore it with `leave_out`"),
        (refused(prepare_columns, Columns(columns), file, "y"), "ignore it with `leave_out`"),
        (refused(search, frame, target="y"), "remove it from the data frame"),
        (refused(net.fit, frame[["kind", "word", "hole"]], frame["y"]), "remove it from the data frame"),
        (refused(encoding.learn, columns, "y"), "remove it from the table"),
        (refused(read, wide), "Convert the column, or ignore it with `without`"),
        (refused(prepare, wide, "y"), "Convert the column, or ignore it with `leave_out`"),
    ):
        assert advice in said
        assert "--" not in said
    assert prepare(file, "y", leave_out=["hole"]).encoding.inputs  # as is advised
    assert list(read(wide, without=["x"])["y"]) == [1, 2]
    with pytest.raises(ValueError, match="the table has no column; expected at least one"):
        encoding.learn({}, "")


def test_a_target_is_a_number_as_the_caller_can_say_it(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("kind,word,y\n" + ROWS)
    (note,) = (note for note in prepare(file, "y").notes if "distinct integers" in note)
    assert note == "y has 7 distinct integers, which are used as classes. To use them as numbers, set task='regression'"
    assert prepare(file, "y", task="regression").target.task == "regression"
    many = pd.DataFrame({"x": np.tile([0.5, 1.5], 150), "y": np.repeat(np.arange(150.0), 2)})
    many.to_csv(file, index=False)
    asked = refused(prepare, file, "y", task="classification")
    assert asked.endswith("expected at most 100. If they are numbers, use task='regression'")
    assert refused(search, many, target="y", task=CLASSES).endswith("If they are numbers, use task=NUMBERS")


def test_names_of_columns_are_given_as_the_caller_gives_them(tmp_path, monkeypatch, capsys):
    file = tmp_path / "t.csv"
    file.write_text(ROWS)
    assert read(file).notes[0].endswith("Its columns are called c1 to c3; use `names` to name them")
    assert refused(prepare, file, "y").endswith("name the columns with names=['c1', 'c2', 'c3']")
    assert (
        refused(read, file, names=["a"]) == "`names` has 1 names, but t.csv has 3 columns; expected one name per column"
    )
    headed = tmp_path / "h.csv"
    headed.write_text("kind,word,y\n" + ROWS)
    assert "h.csv: `names` replaces its header row 'kind'" in read(headed, names=["a", "b", "c"]).notes[0]
    wide = tmp_path / "w.csv"
    wide.write_text("\n".join(",".join(str(row * column + 0.5) for column in range(9)) for row in range(1, 9)))
    assert refused(prepare, wide, "y").endswith(", 'c8', …]")
    said = typed(monkeypatch, capsys, "search", wide, "--target", "y")
    assert said.rstrip().endswith("name the columns with --names c1 c2 c3 c4 c5 c6 c7 c8 …")
    np.savez(tmp_path / "t.npz", x=np.ones(3), y=np.arange(3.0))
    said = refused(read, tmp_path / "t.npz", names=["a", "b"])
    assert said == "`names` can't be used with t.npz, which has column names already. Remove `names`"


def test_no_message_in_python_names_an_option_of_the_command(tmp_path):
    rng = np.random.default_rng(0)
    walk = rng.normal(size=(60, 2)).cumsum(axis=0)
    frame = pd.DataFrame({"at": np.arange(60), "x": walk[:, 0], "z": walk[:, 1], "y": np.arange(60) // 20})
    frame["copy"] = frame["y"].map({0: "no", 1: "yes", 2: "maybe"})
    frame.to_csv(tmp_path / "t.csv", index=False)
    notes = prepare(tmp_path / "t.csv", "y").notes
    for words in ("numbers the rows", "alone determines y", "neighbouring rows", "distinct integers"):
        assert any(words in note for note in notes), words
    assert not [note for note in notes if re.search("(^| )--", note)]


def test_a_prediction_advises_what_its_command_can_do(tmp_path, monkeypatch, capsys):
    fitted_model.save(tmp_path / "model.safetensors", a_model())
    parquet.write_table(
        pa.table({"age": [[1], [2]], "city": ["Ulm", "Bonn"], "weight": [70, 60]}), tmp_path / "t.parquet"
    )
    said = typed(monkeypatch, capsys, "predict", tmp_path, tmp_path / "t.parquet")
    assert said.rstrip().endswith("Convert the column, or search again without it")
    np.savez(tmp_path / "t.npz", age=np.ones(3))
    said = typed(monkeypatch, capsys, "predict", tmp_path, tmp_path / "t.npz", "--names", "age", "city")
    assert "--names can't be used with t.npz, which has column names already. Remove --names" in said
