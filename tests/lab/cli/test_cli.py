"""The command `jaxreg` as people and machines use it: what it prints, what it exits with, how little it loads."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import jax
import pytest
from helpers.stored import make_study, make_sweep

from jaxreg.lab.cli import main, studies
from jaxreg.lab.sweeps.compilation import keep_compiled

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "jaxreg"]
STUDY = '''"""Two recipes on few rows."""
import jaxreg as jr
from jaxreg.lab import MLP, Arm, Recipe, Study, linen, moons

STUDY = Study(
    name="mine",
    title="mine",
    model=linen(MLP(hidden=4), (2,)),
    data=moons([1], test=9),
    draws=lambda count: moons(range(count), test=20, validation=9),
    arms=[Arm("L2", lambda s: Recipe(penalties={"hidden/kernel": jr.L2(s)}), (0.0, 0.01))],
    published={},
    highlights=["L2(0.01)"],
    grid="L2",
)
'''


def jaxreg(*options, cwd):
    environment = os.environ | {"COLUMNS": "200"}
    command = [*COMMAND, *map(str, options)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, env=environment)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    (folder / "experiments").mkdir()
    (folder / "experiments" / "mine.py").write_text(STUDY)
    (folder / "experiments" / "helper.py").write_text('"""Not a study."""\n')
    return folder, jaxreg("run", "mine", "--seeds", 2, "--draws", 3, "--epochs", 20, "--json", cwd=folder)


def test_help_has_every_command_and_an_example(tmp_path):
    done = jaxreg("--help", cwd=tmp_path)
    assert done.returncode == 0
    for word in ("list", "run", "report", "show", "version", "Exit codes", "jaxreg run weight_regularization --quick"):
        assert word in done.stdout


@pytest.mark.parametrize("command", ["list", "run", "report", "show", "watch", "version"])
def test_every_command_has_help_with_an_example(command, tmp_path):
    done = jaxreg(command, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert f"Example: jaxreg {command}" in done.stdout


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        (("search", "boats.csv", "--target", "still", "afloat"), "--target 'still afloat'"),
        (("search", "boats.csv", "--quick", "--groups", "home", "harbour", "--target", "y"), "--groups 'home harbour'"),
        (("search", "--target=still", "afloat", "today", "boats.csv"), "--target 'still afloat today'"),
        (("search", "my", "boats.csv", "--target", "y"), "'my boats.csv'"),
        (("search", "boats.csv", "--target", "y", "--budgt", "3"), ""),
        (("search", "--target", "y", "boats.csv", "--budgt", "3"), ""),
        (("run", "a", "b", "--budgt", "3"), ""),
    ],
)
def test_a_name_with_spaces_without_quotes_is_pointed_at(options, advice, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["jaxreg", *options])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert ("put a name that contains spaces in quotes" in told) == bool(advice)
    assert told.endswith(f"jaxreg: put a name that contains spaces in quotes: {advice}\n" if advice else "\n")


HEAVY = {"jax", "flax", "optax", "sklearn", "matplotlib", "scipy", "xarray", "numpy"}
LOADS = """
import atexit, sys
from jaxreg.lab.cli import main
atexit.register(lambda: print("loaded", *{*%r} & {*sys.modules}, file=sys.stderr))
main()
"""


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        (["--help"], set()),
        (["--version"], set()),
        (["version"], set()),
        (["list"], set()),
        (["show", "study"], {"numpy", "scipy", "xarray"}),
        (["show", "sweep", "--json"], {"numpy", "scipy", "xarray"}),
        (["report", "study"], {"numpy", "scipy", "xarray", "matplotlib"}),
    ],
)
def test_a_command_that_trains_nothing_loads_no_jax(options, allowed, stored):
    code = LOADS % sorted(HEAVY)
    path = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, *options], capture_output=True, text=True, timeout=120, cwd=stored, env=path
    )
    assert done.returncode == 0, done.stderr
    loaded = done.stderr.splitlines()[-1].split()
    assert loaded[0] == "loaded"
    assert {*loaded[1:]} <= allowed


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A folder with a stored study and a stored sweep."""
    folder = tmp_path_factory.mktemp("stored")
    make_study(folder / "study", draws=4)
    make_sweep(folder / "sweep")
    return folder


def test_the_version_is_that_of_the_package(tmp_path):
    assert jaxreg("--version", cwd=tmp_path).stdout == f"jaxreg {version('jaxreg')}\n"


def test_the_list_skips_a_file_that_is_not_python_and_says_so(tmp_path):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "mine.py").write_text(STUDY)
    (tmp_path / "experiments" / "notes.py").write_text("def half a function\n")
    (tmp_path / "experiments" / "photo.py").write_bytes(b"\xff\xd8\xff\xe0")
    done = jaxreg("list", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [study["name"] for study in json.loads(done.stdout)["studies"]] == ["mine"]
    first, second = done.stderr.splitlines()
    assert first.startswith("jaxreg: skipped experiments/notes.py, because it is not valid Python: ")
    assert second.startswith("jaxreg: skipped experiments/photo.py, because it is not valid Python: ")


def test_a_run_hands_machines_its_results_and_its_report(ran):
    folder, done = ran
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert Path(told["results"]["mine"]) == (folder / "results" / "mine").resolve()
    assert Path(told["report"]).read_text("utf-8").startswith("<!doctype html>")


def test_the_list_names_studies_and_results(ran):
    folder, _ = ran
    told = json.loads(jaxreg("list", "--json", cwd=folder).stdout)
    assert [(study["name"], study["title"]) for study in told["studies"]] == [("mine", "Two recipes on few rows.")]
    assert told["results"] == ["results/mine"]
    (stored,) = told["stored"]
    assert stored["size"] == "2 recipes, 1 seed, 3 draws"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", stored["date"])
    words = jaxreg("list", cwd=folder).stdout
    assert "Two recipes on few rows." in words
    assert "results/mine" in words
    assert stored["verdict"] in words
    assert "none" in stored["verdict"] or "Use " in stored["verdict"] or "L2" in stored["verdict"]


def test_the_list_names_results_without_a_verdict_and_results_that_are_not_finished(tmp_path, monkeypatch, capsys):
    make_study(tmp_path / "results" / "old", draws=4)
    (tmp_path / "results" / "half").mkdir()
    (tmp_path / "results" / "half" / "study.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    studies.list_all(as_json=True)
    half, old = json.loads(capsys.readouterr().out)["stored"]
    assert (old["size"], old["verdict"]) == (
        "3 recipes, 1 seed, 4 draws",
        "to see the verdict, run jaxreg show results/old",
    )
    assert half["size"] == "not finished"


@pytest.mark.parametrize("manifest", ["[1]", '{"dims": [2]}', '{"dims": {"seed": "a", "draw": null}}', "{"])
def test_the_list_goes_on_past_damaged_results(manifest, tmp_path, monkeypatch, capsys):
    folder = make_study(tmp_path / "results" / "old", draws=4)
    for file in folder.glob("fresh/*/manifest.json"):
        file.write_text(manifest)
    (folder / "verdict.txt").write_bytes(b"\xff L2")
    monkeypatch.chdir(tmp_path)
    studies.list_all(as_json=True)
    (old,) = json.loads(capsys.readouterr().out)["stored"]
    assert (old["size"], old["verdict"]) == ("not finished", "\N{REPLACEMENT CHARACTER} L2")


@pytest.mark.parametrize("width", [80, 100, 160])
def test_stored_results_are_shown_in_the_width_of_the_terminal(width, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    studies.show(make_study(tmp_path / "weight_regularization", draws=8))
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= width
    assert "Use L2 with strength 0.01" in told
    assert "●" in told


def test_away_from_a_clone_the_list_has_the_studies_of_the_installed_one(tmp_path):
    told = json.loads(jaxreg("list", "--json", cwd=tmp_path).stdout)
    assert {"weight_regularization", "weight_constraints"} <= {study["name"] for study in told["studies"]}


def test_results_are_shown_as_tables_and_as_json(tmp_path, capsys):
    folder = make_study(tmp_path / "weight_regularization", draws=8)
    studies.show(folder)
    assert "L2(0.001)" in capsys.readouterr().out
    studies.show(folder, as_json=True)
    tables = json.loads(capsys.readouterr().out)["tables"]
    assert [row["recipe"] for row in tables[0]["rows"]] == ["none", "L2(0.001)", "L2(0.01)"]
    (number,) = tables[0]["rows"][0]["test accuracy (%), published"]["numbers"]
    assert number == {"value": 91.4, "call": "100 * published(weight_regularization, 'none', 'test')"}


def test_a_sweep_is_shown(tmp_path, capsys):
    studies.show(make_sweep(tmp_path / "sweep"))
    assert "l2=0.001" in capsys.readouterr().out


@pytest.mark.parametrize(("form", "name"), [("html", "report.html"), ("markdown", "report.md")])
def test_a_report_is_written_beside_its_results(form, name, tmp_path, capsys):
    folder = make_sweep(tmp_path / "sweep")
    studies.write_report([folder], form, None)
    assert Path(capsys.readouterr().out.strip()) == (folder / name).resolve()
    assert (folder / name).is_file()


def test_versions_are_those_that_are_installed(tmp_path):
    import jax

    told = json.loads(jaxreg("version", "--json", cwd=tmp_path).stdout)
    assert told["jax"] == jax.__version__
    assert told["python"].split(".")[:2] == list(map(str, sys.version_info[:2]))


REFUSED = {
    "no command": ((), "Expected one of"),
    "an unknown command": (("walk",), "walk"),
    "an unknown study": (("run", "nothing"), "no case study 'nothing'; expected "),
    "no study": (("run",), "no case study given; expected one or more of"),
    "a file without a study": (("run", "other.py"), "defines no STUDY"),
    "a word for a number": (("run", "mine.py", "--epochs", "many"), "many"),
    "seeds 0": (("run", "mine.py", "--seeds", 0), "--seeds is 0; expected a whole number of at least 1"),
    "no store": (("show", "nowhere"), "nowhere"),
    "an empty store": (("report", "empty"), "empty"),
    "another format": (("report", "empty", "--format", "pdf"), "pdf"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_gets_one_clear_message_and_exits_2(case, tmp_path, monkeypatch, capsys):
    options, message = REFUSED[case]
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.py").write_text("answer = 42\n")
    (tmp_path / "mine.py").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["jaxreg", *map(str, options)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_a_study_without_a_baseline_is_refused_before_it_is_trained(tmp_path, monkeypatch):
    """Its tables compare with the baseline, and would fail when all is done."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(STUDY.replace("(0.0, 0.01)", "(0.01,)"))
    with pytest.raises(ValueError, match="study 'mine' has no baseline to compare with"):
        studies.run(["mine.py"], {"seeds": 1, "draws": 2, "epochs": 1}, Path("out"))
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("search", "t.csv", "--target", "y", "--out", ""), "--out"),
        (("search", "t.csv", "--target", "y", "--out="), "--out"),
        (("search", "", "--target", "y"), "an argument"),
        (("predict", "", "t.csv"), "an argument"),
    ],
)
def test_an_empty_argument_is_refused_and_not_the_folder_that_one_is_in(options, what, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["jaxreg", *options])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert f"jaxreg: {what} is empty; expected a value" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_closed_output_is_no_error(tmp_path):
    command = f"{shlex.join([*COMMAND, 'version'])} >&-"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_error_is_told_with_what_is_kept(tmp_path, monkeypatch, capsys):
    error = "error = OSError(28, 'No space left on device', 'chunk')"
    (tmp_path / "mine.py").write_text(f"{error}\nerror.add_note('stopped with 1 of 2 chunks')\nraise error\n")
    monkeypatch.setattr(sys, "argv", ["jaxreg", "run", str(tmp_path / "mine.py")])
    with pytest.raises(SystemExit):
        main()
    assert (
        capsys.readouterr().err == "jaxreg: [Errno 28] No space left on device: 'chunk'; stopped with 1 of 2 chunks\n"
    )


def test_a_home_that_is_read_only_is_no_obstacle(tmp_path, caplog):
    before = jax.config.jax_compilation_cache_dir
    (tmp_path / "file").touch()
    keep_compiled(tmp_path / "file" / "compiled")
    assert "compiled programs are not stored" in caplog.text
    assert jax.config.jax_compilation_cache_dir == before


def test_bad_input_leaves_no_traceback(tmp_path):
    done = jaxreg("run", "nothing", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("jaxreg: there is no case study 'nothing'; expected ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("options", [["--help"], ["version"]], ids=["much", "little"])
def test_output_that_nobody_reads_on_is_no_error(options, tmp_path):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*COMMAND, *options], cwd=tmp_path, **pipes) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode != 2


def test_ctrl_c_exits_130_without_a_traceback(tmp_path):
    (tmp_path / "mine.py").write_text(STUDY)
    options = ["run", "mine.py", "--seeds", "2", "--draws", "50", "--epochs", "5000", "--out", "out"]
    process = subprocess.Popen([*COMMAND, *options], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(tmp_path.rglob("manifest.json")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "jaxreg: stopped" in errors


STRUCK = """
import gc, signal, sys
from jaxreg.lab.cli import main

def callback(phase, info):
    if "jaxreg.lab.cli.studies" in sys.modules and phase == "start":
        gc.callbacks.remove(callback)
        signal.raise_signal(signal.SIGINT)

gc.callbacks.append(callback)
gc.set_threshold(10)
main()
"""


def test_a_ctrl_c_that_strikes_in_a_callback_is_not_lost(tmp_path):
    # JAX has a callback of its own for garbage collections, and Python drops what is raised in one.
    (tmp_path / "mine.py").write_text(STUDY)
    options = ["run", "mine.py", "--seeds", "2", "--draws", "50", "--epochs", "5000", "--out", "out"]
    path = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", STRUCK, *options], cwd=tmp_path, capture_output=True, text=True, timeout=120, env=path
    )
    assert done.returncode == 130, done.stderr
    assert "jaxreg: stopped" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_shells_get_their_completion(shell, tmp_path):
    done = jaxreg("--tyro-print-completion", shell, cwd=tmp_path)
    assert done.returncode == 0
    assert "report" in done.stdout
