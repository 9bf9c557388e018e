"""Case studies as a user runs them: real processes, real files, and the published figures met."""

import dataclasses
import json
import math
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr
from jaxreg.lab import (
    MLP,
    NUMBERS,
    Arm,
    Claim,
    Model,
    Recipe,
    Size,
    Study,
    diabetes,
    linen,
    moons,
    open_study,
    run_study,
    tutorial_moons,
)
from jaxreg.lab.cli.studies import experiments, find_study
from jaxreg.lab.report import report, tables
from jaxreg.lab.report.provenance import Source

ROOT = Path(__file__).parents[3]
KERAS = json.loads((ROOT / "tests" / "data" / "keras_moons.json").read_text())["runs"]
HIDDEN = "hidden/kernel"
ONE_ROW = 0.0143  # what one of the 70 test rows is worth


def study(*arms, published=None):
    return Study(
        name="study",
        title="a study",
        model=linen(MLP(hidden=500), (2,)),
        data=tutorial_moons(),
        draws=lambda count: moons(range(count), test=50),
        arms=arms or [Arm("L2", lambda s: Recipe(penalties={HIDDEN: jr.L2(s)}), (0.0, 1e-3))],
        published=published or {},
        highlights=[],
    )


def experiment(name, *options, cwd):
    command = [sys.executable, "-m", "jaxreg", "run", name, *map(str, options)]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=300, env=os.environ | {"COLUMNS": "200"}
    )


TINY = ("--seeds", 2, "--draws", 3, "--epochs", 20, "--out", "out")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    return folder, experiment("weight_regularization", *TINY, cwd=folder)


def test_an_experiment_prints_its_tables_and_writes_its_report(tiny):
    folder, done = tiny
    assert done.returncode == 0, done.stderr
    for label in ("none", "L2(0.1)", "L2(0.001)", "L2(1e-06)"):
        assert re.search(rf"^{re.escape(label)} ", done.stdout, re.MULTILINE), label
    assert "No run diverged." in done.stdout
    report = folder / "out" / "weight_regularization" / "report.html"
    assert done.stdout.rstrip().endswith(str(report.resolve()))
    text = report.read_text("utf-8")
    assert text.index("A trial run") < text.index("<table")
    assert text.count('<div class="stop"') == 7
    assert "strength of <code>L2</code>" in text


def test_the_same_command_reads_what_is_there(tiny):
    folder, first = tiny
    chunks = {file: file.stat().st_mtime_ns for file in folder.rglob("*.npz")}
    again = experiment("weight_regularization", *TINY, cwd=folder)
    assert again.returncode == 0, again.stderr
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*.npz")} == chunks
    assert again.stdout.splitlines()[:-2] == first.stdout.splitlines()[:-2]


def test_other_epochs_in_the_same_folder_are_refused_and_lose_nothing(tiny):
    folder, _ = tiny
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    other = experiment("weight_regularization", *TINY[:4], "--epochs", 30, *TINY[6:], cwd=folder)
    assert other.returncode == 2
    assert "Traceback" not in other.stderr
    assert "another sweep" in other.stderr
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before


def test_more_seeds_in_the_same_folder_are_added_to_those_that_are_there(tiny, tmp_path):
    before = open_study(tiny[0] / "out" / "weight_regularization").published
    folder = tmp_path / "out"
    shutil.copytree(tiny[0] / "out", folder)
    chunks = {file: file.stat().st_mtime_ns for file in folder.rglob("chunk-*.npz")}
    more = experiment("weight_regularization", "--seeds", 3, *TINY[2:], cwd=tmp_path)
    assert more.returncode == 0, more.stderr
    assert {file: file.stat().st_mtime_ns for file in chunks} == chunks
    after = open_study(folder / "weight_regularization").published
    assert (before.sizes["seed"], after.sizes["seed"]) == (2, 3)
    np.testing.assert_array_equal(after["test_loss"].sel(seed=before["seed"]), before["test_loss"])


REFUSED = {
    "seeds 0": (("--seeds", 0), "--seeds is 0; expected a whole number of at least 1"),
    "draws -1": (("--draws", -1), "--draws is -1; expected a whole number of at least 1"),
    "a file in the way": (("--out", "taken"), "is a file; expected a folder"),
    "a word for a number": (("--epochs", "many"), "many"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_options_get_one_clear_message(case, tmp_path):
    options, message = REFUSED[case]
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "weight_constraints").write_text("mine")
    done = experiment("weight_constraints", "--quick", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "taken" / "weight_constraints").read_text() == "mine"


def test_an_infinite_limit_is_the_baseline(tmp_path):
    small = study(
        Arm("max_norm", lambda c: Recipe(constraints={HIDDEN: jr.MaxNorm(c)}), (np.inf, 1.0), quantity="limit"),
        Arm("plain", lambda: Recipe()),
    )
    results = run_study(small, Size(seeds=2, draws=3, epochs=20), tmp_path / "s")
    assert results.fresh["recipe"].values.tolist() == ["none", "max_norm(1)", "plain"]
    assert results.fresh["strength"].values[:2].tolist() == [0.0, 1.0]
    for dataset in (results.published, results.fresh):
        for name in ("train_loss", "test_loss", "norm/hidden/kernel"):
            sides = (dataset[name].sel(recipe=label).values for label in ("none", "plain"))
            np.testing.assert_allclose(*sides, rtol=1e-5)


def test_surface_and_weights_are_those_of_the_trained_model(tmp_path):
    small = study()
    results = run_study(small, Size(seeds=2, draws=1, epochs=20), tmp_path / "s")
    lane = results.published.isel(recipe=1, seed=1, draw=0)
    w, b = (lane[f"params/hidden/{part}"].values for part in ("kernel", "bias"))
    v, c = (lane[f"params/output/{part}"].values for part in ("kernel", "bias"))
    np.testing.assert_allclose(np.linalg.norm(w), lane["norm/hidden/kernel"].values[-1], rtol=1e-5)
    x = np.stack(np.meshgrid(lane["x1"], lane["x2"]), axis=-1)
    logits = (np.maximum(x @ w + b, 0) @ v + c)[..., 0]
    np.testing.assert_allclose(lane["probability"], 1 / (1 + np.exp(-logits)), rtol=1e-4)
    points = np.concatenate([small.data.x_train[0], small.data.x_test[0]])
    assert (points.min(axis=0) > [lane["x1"].min(), lane["x2"].min()]).all()
    assert (points.max(axis=0) < [lane["x1"].max(), lane["x2"].max()]).all()


def test_the_code_of_a_recipe_makes_it():
    small = study(
        Arm("L2", lambda s: Recipe(penalties={HIDDEN: jr.L2(s)}), (0.0, 1e-3)),
        Arm("rated", lambda s: Recipe(constraints={jr.KERNELS: jr.MinMaxNorm(s, 2 * s, rate=0.5)}), (0.5,)),
    )
    away = Arm("away", lambda s: Recipe(decays={HIDDEN: jr.L2(s)}, proximals={jr.BIASES: jr.L1(s)}), (0.5,))
    open_box = Arm("box", lambda s: Recipe(constraints={HIDDEN: jr.Box(-math.inf, np.float64(s))}), (0.5,))
    (none, l2), (rated,), (decayed,), (boxed,) = (arm.record().code for arm in (*small.arms, away, open_box))
    assert none == ""
    assert l2 == "jr.penalize({'hidden/kernel': jr.L2(strength=0.001)})"
    assert rated == "jr.project({jr.KERNELS: jr.MinMaxNorm(min=0.5, max=1.0, rate=0.5)})"
    assert decayed.split(",\n") == [
        "jr.decay({'hidden/kernel': jr.L2(strength=0.5)})",
        "jr.proximal({jr.BIASES: jr.L1(strength=0.5)}, 0.001)",
    ]
    for code in (l2, rated, decayed, boxed):
        links = eval(f"({code},)", {"jr": jr})
        assert all(isinstance(link, optax.GradientTransformation) for link in links)


@pytest.mark.parametrize("path", sorted((ROOT / "experiments" / "studies").glob("*.py")), ids=lambda path: path.stem)
def test_the_code_of_every_study_runs(path):
    """What a report tells its reader to write: nothing, rather than what a schedule or an array prints as."""
    made = runpy.run_path(str(path)).get("STUDY")
    for arm in made.arms if made else ():
        for label, code in zip(arm.labels(), arm.record().code, strict=True):
            links = eval(f"({code},)" if code else "()", {"jr": jr})
            assert all(isinstance(link, optax.GradientTransformation) for link in links), (label, code)


def test_a_recipe_that_no_numbers_write_has_no_code():
    def code(**recipe):
        return Arm("a", lambda: Recipe(**recipe)).record().code

    for number in (0.1, np.float32(0.1), jnp.float32(0.1), np.float64(0.1)):
        assert code(proximals=jr.L1(number), learning_rate=number) == ["jr.proximal(jr.L1(strength=0.1), 0.1)"]
    both = jr.Intersection(jr.MaxNorm(np.int64(1)), jr.NonNeg(), axis=1)
    assert code(constraints=both) == ["jr.project(jr.Intersection(jr.MaxNorm(limit=1), jr.NonNeg(), axis=1))"]
    assert code(penalties={HIDDEN: jr.L2(lambda step: 1e-3)}) == [""]
    assert code(penalties=jr.to_reference({"hidden": {"kernel": np.ones((2, 3))}}, {HIDDEN: jr.L2(0.1)})) == [""]
    assert code(constraints={HIDDEN: jnp.abs}) == [""]
    assert code(proximals={HIDDEN: jr.L1(1e-3)}, learning_rate=lambda step: 1e-3) == [""]


def test_a_study_is_read_back_with_its_recipes_labelled(tmp_path):
    small = study(
        Arm("L2", lambda s: Recipe(penalties={HIDDEN: jr.L2(s)}), (0.0, 1e-3)),
        Arm("unit_norm", lambda: Recipe(constraints={HIDDEN: jr.UnitNorm()})),
    )
    results = run_study(small, Size(seeds=2, draws=3, epochs=4), tmp_path / "s")
    again = open_study(tmp_path / "s")
    assert results.fresh["recipe"].values.tolist() == ["none", "L2(0.001)", "unit_norm"]
    assert results.fresh["method"].values.tolist() == ["none", "L2", "unit_norm"]
    np.testing.assert_array_equal(results.fresh["strength"], [0.0, 1e-3, np.nan])
    assert dict(results.fresh.sizes) == {"recipe": 3, "seed": 1, "draw": 3, "epoch": 5}
    assert again.fresh.identical(results.fresh)
    assert again.published.identical(results.published)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "x"}'])
def test_a_folder_that_holds_no_study_is_named(tmp_path, text):
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(ValueError, match="holds no readable case study"):
        open_study(tmp_path)


def test_regression_over_draws_and_seeds_with_several_strengths_a_recipe_and_a_model_of_an_arms_own(tmp_path):
    model = linen(MLP(hidden=3), (10,))
    zeros = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0)))
    small = Study(
        name="study",
        title="a study",
        model=model,
        task=NUMBERS,
        draws=lambda count: diabetes(range(count), train=30, validation=20),
        arms=[
            Arm(
                "L2",
                lambda kernels, biases: Recipe(penalties={jr.KERNELS: jr.L2(kernels), jr.BIASES: jr.L2(biases)}),
                ((0, 0), (50, 0), (50, 0.5)),
                label="L2({0:g}, {1:g})",
            ),
            Arm("idle", lambda: Recipe(learning_rate=0.0), model=Model(lambda _: zeros, model.apply)),
        ],
        outputs=lambda params: {"weight": jnp.sqrt(jnp.sum(params["hidden"]["kernel"] ** 2))},
        claims=[Claim("it shrinks", "L2(50, 0)", variable="weight", sign=-1)],
    )
    results = run_study(small, Size(seeds=2, draws=3, epochs=20), tmp_path / "s")
    assert results.published is None
    fresh = results.fresh
    assert fresh["recipe"].values.tolist() == ["none", "L2(50, 0)", "L2(50, 0.5)", "idle"]
    assert {dim: fresh.sizes[dim] for dim in ("recipe", "seed", "draw")} == {"recipe": 4, "seed": 2, "draw": 3}
    last = fresh.isel(epoch=-1)
    np.testing.assert_allclose(last["test_rmse"] ** 2, last["test_loss"], rtol=1e-5)
    # Zero weights foretell 0: the error is that of the targets alone, and no weight is different from 0.
    targets = diabetes(range(3), train=30, validation=20).y_test
    np.testing.assert_allclose(last["test_loss"].sel(recipe="idle", seed=1), np.mean(targets**2, axis=1), rtol=1e-5)
    np.testing.assert_allclose(last["weight"], last["norm/hidden/kernel"], rtol=1e-6)
    assert (last["weight"].sel(recipe="idle") == 0).all()
    assert (last["weight"].sel(recipe="L2(50, 0)") < last["weight"].sel(recipe="none")).all()
    _, shown, _ = tables.contents(Source("study", results))
    assert {"test squared error", "test RMSE", "change in RMSE", "RMSE better in"} <= set(shown[0].columns)
    assert shown[1].columns == ["recipe", "‖hidden/kernel‖", "‖output/kernel‖", "weight"]
    text = report([tmp_path / "s"], tmp_path / "r.html").read_text("utf-8")
    assert "✓ holds" in text
    assert "RMSE" in text
    assert "squared error" in text
    assert "cross-entropy" not in text.lower()


def test_a_study_that_speaks_of_no_recipe_of_its_own_is_refused():
    with pytest.raises(
        ValueError, match=r"`claims` contain 'L2\(1\)', which is not .*; expected one of 'none', 'L2\(0.001\)'"
    ):
        dataclasses.replace(study(), claims=[Claim("it helps", "L2(1)")])
    with pytest.raises(ValueError, match="`grid` is 'L1'; expected the name"):
        dataclasses.replace(study(), grid="L1")


def l2(*strengths, **options):
    return Arm("L2", lambda s: Recipe(penalties={HIDDEN: jr.L2(s)}), *strengths, **options)


WRONG = {
    "two arms of one name": (lambda: study(l2((0.0,)), l2((1.0,))), "study 'study' has two arms named 'L2'"),
    "a strength twice": (lambda: study(l2((0.0, 0.1, 0.1))), r"has two recipes named 'L2\(0.1\)'"),
    "two baselines": (
        lambda: study(l2((0.0,)), Arm("limit", lambda c: Recipe(constraints={HIDDEN: jr.MaxNorm(c)}), (jnp.inf,))),
        "has two recipes named 'none'; expected .*A recipe with strength 0 or an infinite limit is named 'none'",
    ),
    "no arm": (
        lambda: dataclasses.replace(study(), arms=[]),
        "`arms` is .*; expected a sequence with at least one Arm",
    ),
    "a method out of the folder": (
        lambda: Arm("../../x", l2((0.1,)).recipe),
        "`method` is '../../x'; expected a string",
    ),
    "no method": (lambda: Arm("", l2((0.1,)).recipe), "`method` is ''; expected a string"),
    "a recipe in place of a function": (lambda: Arm("a", Recipe()), r"`recipe` is Recipe.*; expected a function"),
    "a strength too few": (
        lambda: l2(()),
        r"`recipe` can't be called with no arguments \(.*'s'\)\. This arm has no strengths, so",
    ),
    "a number too many": (
        lambda: Arm("a", lambda: Recipe(), (0.1,)),
        r"`recipe` can't be called with 1 number \(.*so `recipe` must take 1 argument$",
    ),
    "one strength": (lambda: l2(0.1), r"`strengths` is 0.1; expected a sequence, such as \(0.1,\)"),
    "a word": (lambda: l2((0.0, "a")), "a strength is 'a'; expected a number, or a tuple of numbers"),
    "NaN": (lambda: l2((0.0, math.nan)), "a strength is nan; expected a number"),
    "one number and two": (lambda: l2((0.0, (1.0, 2.0))), "expected entries of equal length"),
    "labels for others": (
        lambda: l2((0.0, 0.1), label=["none"]),
        "1 labels for 2 strengths; expected one label per strength",
    ),
    "a label for two numbers": (
        lambda: l2((0.1,), label="x{1}"),
        r"`label` is 'x\{1\}', which can't be formatted with the strengths ",
    ),
    "a net in place of a model": (
        lambda: dataclasses.replace(study(), model=MLP()),
        "`model` is of type MLP; expected a jaxreg.lab.M",
    ),
    "no task": (lambda: dataclasses.replace(study(), task=None), "`task` is of type NoneType; expected a jaxreg.lab.T"),
    "draws in place of a function": (lambda: dataclasses.replace(study(), draws=moons([1])), "expected a function"),
    "half a seed": (lambda: Size(seeds=1.5), "`seeds` is 1.5; expected a whole number of at least 1, as a Python int"),
    "a word as draws": (lambda: Size(draws="3"), "`draws` is '3'; expected a whole number of at least 1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_study_that_can_not_be_is_refused_when_it_is_made(case):
    make, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        make()


UNTRAINABLE = {
    "fewer draws than asked for": (
        {"draws": lambda count: moons(range(count - 1), test=50)},
        "a Data with 1 draws; .* with 2 draws",
    ),
    "more draws than asked for": ({"draws": lambda count: moons(range(3), test=50)}, "3 draws; .* with 2 draws"),
    "no data": ({"draws": lambda count: None}, r"`study.draws\(\d+\)` is None; expected a jaxreg.lab.Data"),
    "many published draws": (
        {"data": moons(range(2), test=50)},
        "`study.data` is a Data with 2 draws; .* with 1 draws",
    ),
    "a claim about nothing": (
        {"claims": [Claim("x", "L2(0.001)", variable="test_f1")]},
        "about 'test_f1', which is not measured; expected",
    ),
    "a penalty in place of a recipe": ({"arms": [Arm("a", lambda s: jr.L2(s), (0.1,))]}, "returned L2.*; expected a"),
    "an output of a curve's name": (
        {"outputs": lambda p: {"test_loss": jnp.zeros(())}},
        "returned the name 'test_loss', which the training itself uses; expected names other than",
    ),
    "an output without a name": ({"outputs": lambda p: jnp.zeros(())}, "expected a dict from names to numbers"),
}


@pytest.mark.parametrize("case", UNTRAINABLE)
def test_a_study_is_refused_before_anything_is_trained(case, tmp_path):
    """Rather than the last draw again in the place of one that is not there, or a table that fails after hours."""
    changed, message = UNTRAINABLE[case]
    small = dataclasses.replace(study(), **{"data": None, **changed})
    with pytest.raises(ValueError, match=message):
        run_study(small, Size(seeds=1, draws=2, epochs=1), tmp_path)
    assert not list(tmp_path.rglob("chunk-*"))


def test_numbers_of_numpy_and_jax_are_those_numbers(tmp_path):
    several = np.float32([0.0, 0.5]), jnp.array([0.0, 0.5]), [np.int64(0), np.float64(0.5)], [*jnp.array([0.0, 0.5])]
    for strengths in several:
        assert l2(strengths).strengths == (0.0, 0.5)
    small = dataclasses.replace(study(l2(np.array([0.0, 0.5], np.float32))), data=None)
    results = run_study(small, Size(seeds=1, draws=2, epochs=1), str(tmp_path / "s"))
    assert results.fresh["recipe"].values.tolist() == ["none", "L2(0.5)"]
    pairs = Arm("L1L2", lambda l1, l2: Recipe(penalties=jr.L1L2(l1, l2)), np.array([[0.0, 0.0], [0.5, 0.25]]))
    assert pairs.strengths == ((0.0, 0.0), (0.5, 0.25))
    whole = Size(np.int64(1), np.int32(2), np.uint8(3))
    assert [type(count) for count in vars(whole).values()] == [int] * 3


ARMS = {
    "none": ("none", Recipe()),
    "L2(0.001)": ("l2(0.001)", Recipe(penalties={HIDDEN: jr.L2(1e-3)})),
    "unit_norm": ("unit_norm", Recipe(constraints={HIDDEN: jr.UnitNorm()})),
}
TUTORIALS = {"none": 0.914, "L2(0.001)": 0.943, "unit_norm": 0.943}


@pytest.mark.parametrize("label", ARMS)
def test_the_tutorials_figures_and_keras_are_met(label, tmp_path):
    name, recipe = ARMS[label]
    results = run_study(study(Arm(label, lambda: recipe)), Size(seeds=8, draws=1), tmp_path / "s")
    last = results.published.isel(epoch=-1, recipe=0, draw=0)
    assert abs(float(last["test_accuracy"].mean()) - TUTORIALS[label]) < ONE_ROW
    assert abs(float(last["train_accuracy"].mean()) - 1.0) < ONE_ROW
    ours = {"test_cross_entropy": last["test_loss"], "train_cross_entropy": last["train_loss"]}
    ours |= {f"{layer}_kernel_norm": last[f"norm/{layer}/kernel"] for layer in ("hidden", "output")}
    for figure, lanes in ours.items():
        theirs = np.array(KERAS[name][figure])
        error = np.sqrt(float(lanes.var(ddof=1)) / 8 + theirs.var(ddof=1) / len(theirs))
        assert abs(float(lanes.mean()) - theirs.mean()) < 4 * error + 1e-5 * theirs.mean(), figure


@pytest.mark.slow
@pytest.mark.parametrize("name", ["weight_regularization", "weight_constraints"])
def test_every_row_of_the_published_tables_is_met(name, tmp_path):
    done = experiment(name, "--draws", 1, "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    results = open_study(tmp_path / "out" / name)
    last = results.published.isel(epoch=-1).mean(("seed", "draw"))
    assert len(results.record.published) >= 7
    for label, (train, test) in results.record.published.items():
        assert abs(float(last["train_accuracy"].sel(recipe=label)) - train) < ONE_ROW, label
        assert abs(float(last["test_accuracy"].sel(recipe=label)) - test) < ONE_ROW, label


def small(**changes):
    arm = Arm("L2", lambda s: Recipe(penalties={HIDDEN: jr.L2(s)}), (0.0, 1e-3))
    draws = lambda count: moons(range(count), test=50)  # noqa: E731
    return Study("small", "a small study", linen(MLP(hidden=8), (2,)), draws, [arm], **changes)


def test_each_lane_of_a_recipe_starts_from_weights_of_its_own_and_recipes_share_them(tmp_path):
    # One seed for all draws would make them dependent: an interval over them would miss what the seed does.
    found = run_study(small(), Size(seeds=2, draws=3, epochs=1), tmp_path).fresh
    start = found["norm/hidden/kernel"].isel(epoch=0).transpose("recipe", "seed", "draw").values
    assert len(np.unique(start[0])) == 6
    np.testing.assert_array_equal(start[0], start[1])


def test_draws_from_the_same_rows_are_called_so(tmp_path):
    found = run_study(small(drawn_from="100 moons"), Size(seeds=1, draws=3, epochs=1), tmp_path)
    _, (table, *_), note = tables.contents(Source("small", found))
    assert "".join(map(str, table.caption)).startswith("3 draws from the same 100 moons, 1 epochs")
    told = (
        "Every draw is taken from the same 100 moons. The intervals cover the variation between such draws and between"
    )
    assert told in "".join(map(str, note))
    page = report([tmp_path], tmp_path / "report.html").read_text("utf-8")
    words = re.sub(r"<(code|pre|script|style|details)\b.*?</\1>|<[^>]*>", "", page, flags=re.DOTALL)
    assert told in words
    assert "fresh" not in words


def shared(data):
    """Whether a test row of one draw is, but for its scale, a row of the other one."""
    rows = np.concatenate([data.x_train, data.x_test], 1)
    flat = rows.reshape(2, rows.shape[1], -1)
    if flat.shape[2] > 2:  # of spans of a series each is standardised by itself
        flat = ((flat - flat.mean(2, keepdims=True)) / np.maximum(flat.std(2, keepdims=True), 1e-9)).round(3)
    first, second = ({tuple(row) for row in part.tolist()} for part in flat)
    return bool(first & second)


@pytest.mark.parametrize("name", experiments())
def test_studies_whose_draws_share_rows_say_from_what_they_are_taken(name):
    study = find_study(name)
    assert bool(study.drawn_from) == shared(study.draws(2))
