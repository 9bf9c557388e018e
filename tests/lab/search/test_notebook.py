"""A search from Python: its time limit, its files, and the warnings when it predicts for a data frame."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jaxreg.lab import CLASSES, RegularizedMLPClassifier
from jaxreg.lab.cli import main
from jaxreg.lab.search import Plan, open_search, search
from jaxreg.lab.search.candidates import NONE, PROMISING
from jaxreg.lab.search.clock import Clock, TooShortError
from jaxreg.lab.search.fitted_model import load, save
from jaxreg.lab.tabular import prepare, read

pytestmark = pytest.mark.usefixtures("compiled_quickly")

PLAN = Plan(methods=("L2",), quick=True, hidden=4, epochs=20, folds=3, repeats=1)


def boats(rows=60):
    """A table with words and missing numbers: boats of one harbour float."""
    rng = np.random.default_rng(0)
    length, harbour = rng.uniform(3, 12, rows).round(1), rng.choice(["Kiel", "Emden", "Husum"], rows)
    afloat = np.where(harbour == "Kiel", "yes", "no")
    return pd.DataFrame({"length in m": length, "harbour": harbour, "still afloat": afloat})


NEW = pd.DataFrame({"harbour": ["Kiel", "kiel", None], "length in m": [4.0, np.nan, 5.0], "owner": ["a", "b", "c"]})


@pytest.fixture(scope="module")
def found():
    return search(boats(), target="still afloat", plan=PLAN)


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_one_warning_says_what_the_command_says(found, method, tmp_path, monkeypatch, capsys):
    save(str(tmp_path / "model.safetensors"), found.model)
    NEW.to_csv(tmp_path / "new.csv", index=False)
    monkeypatch.setattr("sys.argv", ["jaxreg", "predict", str(tmp_path), str(tmp_path / "new.csv")])
    main()
    notes = [line.removeprefix("jaxreg: ") for line in capsys.readouterr().err.splitlines()]
    with pytest.warns(UserWarning, match="harbour") as given:
        getattr(found, method)(NEW)
    assert len(given) == 1
    sentences = str(given[0].message).split("; ")
    assert any(each.startswith("harbour: 'kiel'") for each in sentences)
    assert any(each.startswith("length in m: 1 missing cell is replaced by") for each in sentences)
    assert {*sentences} <= {*notes}
    assert given[0].filename == __file__


def test_what_is_known_causes_no_warning_and_an_estimator_warns_too(found):
    known = boats()
    assert len(found.predict(known)) == 60  # a warning would be an error
    net = RegularizedMLPClassifier(["L2"], hidden_layer_sizes=4, epochs=20, folds=3, repeats=1, quick=True)
    inputs = known.drop(columns="still afloat")
    net.fit(inputs, known["still afloat"])
    net.predict(inputs)
    with pytest.warns(UserWarning, match="harbour: 'Bonn' in 1 cell did not occur in training"):
        net.predict(pd.DataFrame({"length in m": [4.0], "harbour": ["Bonn"]}))


def test_an_estimator_of_numbers_warns_of_numbers_that_are_missing_only_now():
    x = np.random.default_rng(0).normal(size=(40, 3))
    x[3, 2] = np.nan
    net = RegularizedMLPClassifier(["L2"], hidden_layer_sizes=4, epochs=20, folds=3, repeats=1, quick=True)
    net.fit(x, x[:, 0] > 0)
    filled, median = x.copy(), np.median(x[:, 1])
    filled[:2, 1], x[:2, 1] = median, np.nan
    with pytest.warns(UserWarning, match=rf"^input 1: 2 missing cells are replaced by {median:g}$") as given:
        shares = net.predict_proba(x)
    assert len(given) == 1
    np.testing.assert_array_equal(shares, net.predict_proba(filled))  # no warning: input 2 had missing numbers before


def test_probabilities_are_in_the_order_of_the_classes(found):
    shares = found.predict_proba(boats())
    assert found.classes == ("no", "yes")
    np.testing.assert_array_equal(np.array(found.classes)[shares.argmax(axis=1)], found.predict(boats()))
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert search(np.arange(20.0)[:, None], np.arange(20) % 2, CLASSES, PLAN).classes == ()


def test_a_search_from_python_is_kept_by_pickle_or_as_a_model(found, tmp_path):
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.predict_proba(boats()), found.predict_proba(boats()))
    assert again.verdict == found.verdict
    save(str(tmp_path / "model.safetensors"), found.model)
    assert load(str(tmp_path / "model.safetensors")).classes == ("no", "yes")


def test_folders_that_hold_no_search_are_told(found, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    search(boats(), target="still afloat", plan=PLAN, store="mine")
    for folder in ("mine", Path("mine")):
        with pytest.raises(FileNotFoundError, match=r"the folder 'mine' has no plan.json; expected .* pickle.dump"):
            open_search(folder)
    (tmp_path / "mine" / "plan.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="the search in the folder 'mine' is unfinished\\. Run the same"):
        open_search("mine")
    with pytest.raises(FileNotFoundError, match="there is no folder 'yours'; expected the folder that `jaxreg search`"):
        open_search("yours")


def test_paths_may_be_text(tmp_path):
    file = str(tmp_path / "boats.csv")
    boats().to_csv(file, index=False)
    assert list(read(file)) == list(boats())
    assert prepare(file, "still afloat").target.classes == ("no", "yes")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda _: search("boats.csv", target="a"), "`x` is 'boats.csv'; expected a data frame or an array"),
        (lambda _: search(Path("boats.csv"), np.ones(4), CLASSES), "`x` is 'boats.csv'; expected a data frame or"),
        (lambda _: search(np.ones((4, 2)), target="a"), "the table is a ndarray; expected a data frame of pandas"),
        (lambda found: found.predict("new.csv"), "the table is the path 'new.csv'; expected a data frame of pandas"),
        (lambda found: found.predict_proba(NEW["owner"]), "the table is a Series; expected a data frame of pandas"),
        (
            lambda _: search(boats().iloc[:, :2], boats()["still afloat"]),
            r"`x` is a data frame, but `target` is None; .* pass target=NAME instead of `y`",
        ),
        (lambda _: search(boats(), target=boats()["still afloat"]), "`target` is a Series; expected the name of a col"),
        (lambda _: search(boats(), target="still afloat", clock=60), "`clock` is internal.* pass budget=60"),
        (lambda _: search(boats(), target="still afloat", budget="soon"), "the budget is 'soon'; expected a number of"),
        (lambda _: search(boats(), target="still afloat", budget=-3), "the budget is -3; expected a number of seconds"),
        (lambda _: search(boats(), target="still afloat", budget=True), "the budget is True; expected a number"),
        (
            lambda _: search(np.ones((4, 2)), np.ones(4), CLASSES, budget=9, folds=np.ones((1, 4))),
            "both budget and folds are given; expected only one",
        ),
    ],
)
def test_bad_arguments_get_one_sentence(found, call, message):
    with pytest.raises(ValueError, match=message):
        call(found)


def test_a_budget_from_python_decides_the_number_of_repeats(monkeypatch, tmp_path):
    monkeypatch.setattr("jaxreg.lab.search.clock.MOST_REPEATS", 3)
    options = {"target": "still afloat", "plan": PLAN}
    asked = search(boats(), budget="10m", **options)
    assert (asked.plan.repeats, asked.plan.epochs) == (3, 20)
    stored = search(boats(), budget=600, store=str(tmp_path / "mine"), **options)
    assert stored.found.loss == asked.found.loss
    assert (tmp_path / "mine-repeat-3").is_dir()


def test_a_short_budget_from_python_omits_methods_and_epochs_unless_there_is_a_plan():
    found = search(boats(), target="still afloat", budget=1)
    assert set(found.plan.methods) == {NONE, *PROMISING}
    assert found.plan.epochs < Plan().passes(60)[0]
    clock = Clock(10, 0, lambda: 5.0, option="budget={}")
    with pytest.raises(TooShortError, match=r"Use budget=\d+$"):
        clock.check(20, 10, 1, extra=False)
