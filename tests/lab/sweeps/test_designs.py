"""Designs of sweeps against plain loops over the same points."""

import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest
import xarray as xr
from scipy.stats import kstest

from jaxreg.lab import (
    Labelled,
    choices,
    integers,
    log_uniform,
    open_store,
    points,
    samples,
    sweep,
    unflatten,
    uniform,
)


def loss(lr: Any, decay: Any, seed: Any) -> dict[str, Any]:
    return {"loss": 10 * lr + (0.0 if decay is None else decay) + 100 * seed, "on": jnp.asarray(decay is not None)}


# Points


PAIRS = {"lr": [0.1, 0.2, 0.2], "decay": [1.0, 1.0, 2.0]}


@pytest.mark.parametrize(
    "config",
    [points(**PAIRS), points(lr=np.array(PAIRS["lr"]), decay=jnp.array(PAIRS["decay"])), pd.DataFrame(PAIRS)],
    ids=["lists", "arrays", "a table"],
)
def test_pairs_times_seeds(config: Any, tmp_path: Path) -> None:
    found = sweep(loss, {"config": config, "seed": range(3)}, tmp_path)
    assert dict(found.sizes) == {"config": 3, "seed": 3}
    for row, (lr, decay) in enumerate(zip(*PAIRS.values(), strict=True)):
        np.testing.assert_allclose(found["loss"][row], [10 * lr + decay + 100 * seed for seed in range(3)], rtol=1e-6)
    np.testing.assert_allclose(found["lr"], PAIRS["lr"], rtol=1e-6)
    assert found["decay"].dims == ("config",)
    xr.testing.assert_identical(open_store(tmp_path).load(), found.load())


def test_points_may_stand_alone_or_be_taken_as_one_dict() -> None:
    alone = sweep(lambda lr, decay: loss(lr, decay, 0), points(**PAIRS))
    assert alone["loss"].dims == ("point",)
    np.testing.assert_allclose(alone["loss"], [2.0, 3.0, 4.0], rtol=1e-6)
    whole = sweep(lambda point: loss(point["lr"], point["decay"], 0), pd.DataFrame(PAIRS))
    np.testing.assert_array_equal(whole["loss"], alone["loss"])


def test_one_program_runs_all_points(monkeypatch: pytest.MonkeyPatch) -> None:
    traced = []
    sweep(lambda lr, decay: traced.append(0) or {"y": lr + decay}, points(**PAIRS))
    assert len(traced) == 1


def test_samples_have_their_distributions_and_more_begin_with_the_same() -> None:
    settings = {"lr": log_uniform(1e-4, 1e-1), "p": uniform(-2, 3), "n": integers(2, 5), "s": ["a", "b"]}
    few, many = (samples(count, jax.random.key(3), **settings).settings for count in (500, 2000))
    for name in settings:
        assert np.array_equal(few[name], many[name][:500]), name
    assert kstest(np.log(many["lr"]), "uniform", (np.log(1e-4), np.log(1e3))).pvalue > 1e-3
    assert kstest(many["p"], "uniform", (-2, 5)).pvalue > 1e-3
    assert kstest(samples(2000, 3, z=jax.random.normal).settings["z"], "norm").pvalue > 1e-3
    assert sorted(set(many["n"].tolist())) == [2, 3, 4]
    assert 900 < many["s"].count("a") < 1100
    alone = samples(500, 3, lr=settings["lr"]).settings["lr"]
    np.testing.assert_array_equal(alone, few["lr"])  # another setting changes nothing


def test_conditional_settings_are_none_where_they_do_not_apply() -> None:
    over = samples(3, 0, kind=["sgd"], lr=uniform(0, 1), momentum=uniform(0, 1)) + points(kind=["adam"] * 2, lr=[1, 2])

    def run(kind: str, lr: Any, momentum: Any) -> dict[str, Any]:
        assert (momentum is None) == (kind == "adam")
        return {"y": lr if momentum is None else lr + 10 * momentum}

    found = sweep(run, over)
    assert found["kind"].values.tolist() == ["sgd"] * 3 + ["adam"] * 2
    expected = found["lr"].values + 10 * np.nan_to_num(found["momentum"].values)
    np.testing.assert_allclose(found["y"], expected, rtol=1e-6)
    assert np.isnan(found["momentum"].values).tolist() == [False] * 3 + [True] * 2


# Entries that get a program each


def test_none_is_off(tmp_path: Path) -> None:
    over = {"lr": [0.1, 0.2], "decay": [0.5, None, 1.0], "seed": range(2)}
    for _ in range(2):  # the second call reads
        found = sweep(loss, over, tmp_path / "s", chunk=3)
        assert dict(found.sizes) == {"lr": 2, "decay": 3, "seed": 2}
        assert found["on"].values[0, :, 0].tolist() == [True, False, True]
        by_hand = [[[10 * lr + (d or 0) + 100 * s for s in range(2)] for d in over["decay"]] for lr in over["lr"]]
        np.testing.assert_allclose(found["loss"], by_hand, rtol=1e-6)
        np.testing.assert_array_equal(found["decay"], [0.5, np.nan, 1.0])
    xr.testing.assert_identical(sweep(loss, over, chunk=3), open_store(tmp_path / "s").load())
    zipped = sweep(loss, {"lr": [0.1, 0.2], "decay": [None, 1.0], "seed": [0, 1]}, zipped=True)
    np.testing.assert_allclose(zipped["loss"], [1.0, 103.0], rtol=1e-6)
    table = pd.DataFrame({"lr": [0.1, 0.2], "decay": [None, 1.0], "seed": [0, 1]})
    np.testing.assert_array_equal(sweep(loss, table)["loss"], zipped["loss"])


def train(optimizer: Any, size: Any, lr: Any) -> dict[str, Any]:
    tx = optimizer(lr)
    weights = jnp.arange(size, dtype=jnp.float32)
    updates, _ = tx.update(2 * weights, tx.init(weights), weights)
    return {"sum": (weights + updates).sum(), "weights": weights + updates, "units": jnp.asarray(size)}


def test_a_missing_value_of_any_kind_is_none() -> None:
    missing = [None, np.nan, np.float32("nan"), pd.NA, pd.NaT]
    table = pd.DataFrame({"decay": pd.Series([*missing, np.float32(0.5)], dtype=object)})
    found = sweep(lambda decay: {"y": jnp.float32(-1) if decay is None else 2.0 * decay}, {"row": table})
    assert found["y"].values.tolist() == [-1.0] * len(missing) + [1.0]


def test_random_keys_are_settings_and_lists_of_them_axes(tmp_path: Path) -> None:
    def run(key: Any, scale: Any) -> Any:
        return {"y": scale * jax.random.normal(key), "key": key}

    def keys_only(key: Any) -> Any:
        return {"y": jax.random.normal(key)}

    keys = jax.random.split(jax.random.key(0), 3)
    expected = [float(scale * jax.random.normal(key)) for scale, key in zip((1.0, 2.0, 3.0), keys, strict=True)]
    together = points(key=keys, scale=[1.0, 2.0, 3.0])
    joined = points(key=keys[:2], scale=[1.0, 2.0]) + points(key=keys[2:], scale=[3.0])
    for over, store in ((together, tmp_path / "s"), (joined, None), (together, tmp_path / "s")):
        found = sweep(run, over, store)
        np.testing.assert_allclose(found["y"], expected, rtol=1e-6)
        assert "key" not in found.coords
    assert (jax.random.key_data(unflatten(found, 1)["key"]) == jax.random.key_data(keys[1])).all()
    listed = sweep(keys_only, {"key": list(keys)})
    assert listed["y"].values.tolist() == sweep(keys_only, {"key": keys})["y"].values.tolist()


def test_choices_and_sizes_are_labelled_axes(tmp_path: Path) -> None:
    over = {"optimizer": choices(adam=optax.adam, sgd=optax.sgd), "size": choices(2, 4), "lr": [0.1, 0.2, 0.3]}
    found = sweep(train, over, tmp_path / "s", coords={"lr": ["a", "b", "c"]})
    assert found["sum"].dims == ("optimizer", "size", "lr")
    assert found["units"].values.dtype.kind == "i"
    for name, optimizer in {"adam": optax.adam, "sgd": optax.sgd}.items():
        for size in (2, 4):
            for place, lr in enumerate((0.1, 0.2, 0.3)):
                here = found.sel(optimizer=name, size=size).isel(lr=place)
                by_hand = train(optimizer, size, lr)
                np.testing.assert_allclose(here["sum"], by_hand["sum"], rtol=1e-5)
                np.testing.assert_allclose(here["weights"][:size], by_hand["weights"], rtol=1e-5, atol=1e-6)
                assert np.isnan(here["weights"][size:]).all()
    folders = sorted(path.name for path in (tmp_path / "s").iterdir() if path.is_dir())
    assert folders == [f"optimizer={name},size={size}" for name in ("adam", "sgd") for size in (2, 4)]
    xr.testing.assert_identical(open_store(tmp_path / "s").load(), found.load())


def test_a_choice_more_computes_only_its_own_lanes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "jaxreg.sweep")

    def run(n: int, x: Any) -> dict[str, Any]:
        return {"y": n * x}

    sweep(run, {"n": choices(2, 3), "x": [1.0, 2.0]}, tmp_path / "s", chunk=2)
    caplog.clear()
    found = sweep(run, {"n": choices(2, 5, 3), "x": [1.0, 2.0]}, tmp_path / "s", chunk=2)
    assert found["y"].values.tolist() == [[2, 4], [5, 10], [3, 6]]
    assert sum(record.msg.startswith("chunk %d") for record in caplog.records) == 1
    assert caplog.messages == [
        "2 of 2 runs of n=2 were read from the store, not computed",
        "chunk 0 of n=5: 2 runs, 2 of 2 done, 0 diverged",
        "2 of 2 runs of n=3 were read from the store, not computed",
    ]
    with pytest.raises(ValueError, match="belongs to another sweep: the function that computes a run"):
        sweep(lambda n, x: {"y": n + x}, {"n": choices(2, 3), "x": [1.0, 2.0]}, tmp_path / "s")
    with pytest.raises(ValueError, match="belongs to another sweep"):
        sweep(lambda x: {"y": x}, {"x": [1.0]}, tmp_path / "s")
    sweep(lambda x: {"y": x}, {"x": [1.0]}, tmp_path / "plain")
    with pytest.raises(ValueError, match="belongs to a sweep with a single compiled program"):
        sweep(run, {"n": choices(2, 3), "x": [1.0, 2.0]}, tmp_path / "plain")


BAD: list[tuple[str, Any, Any, type, str]] = [
    (
        "lengths",
        lambda a, b: {"y": a},
        lambda: points(a=[1, 2], b=[1]),
        ValueError,
        "the settings have lengths .*'b': 1",
    ),
    (
        "no settings",
        lambda a: {"y": a},
        lambda: points(),
        ValueError,
        "was called without settings; expected at least one",
    ),
    ("empty", lambda a: {"y": a}, lambda: points(a=[]), ValueError, "'a': 0.* equal lengths of at least 1"),
    ("a number", lambda a: {"y": a}, lambda: points(a=1.0), ValueError, r"'a' must be a sequence.*write \[1.0\]"),
    ("a string", lambda a: {"y": a}, lambda: points(a="relu"), ValueError, "'a' must be a sequence"),
    ("NaN", lambda a: {"y": a}, lambda: points(a=[1.0, np.nan]), ValueError, "holds NaN"),
    (
        "float32",
        lambda a: {"y": a},
        lambda: points(a=[0.0, 1e-60]),
        ValueError,
        "which is 0 after rounding to float32",
    ),
    (
        "twice",
        lambda a: {"y": a},
        lambda: {"a": [1.0], "p": points(a=[1.0])},
        ValueError,
        "two axes or settings have the name 'a'",
    ),
    ("own name", lambda a: {"y": a}, lambda: {"a": points(a=[1.0])}, ValueError, "with the same name: rename"),
    ("not taken", lambda a: {"y": a}, lambda: points(a=[1], b=[2]), TypeError, "can't be called with the axes"),
    ("output", lambda a: {"a": a}, lambda: points(a=[1]), ValueError, "'a' is the name of a setting and of an output"),
    ("column", lambda a: {"y": a}, lambda: pd.DataFrame({"a b": [1]}), ValueError, "column 'a b'"),
    (
        "columns twice",
        lambda a: {"y": a},
        lambda: pd.DataFrame([[1, 2]], columns=["a", "a"]),
        ValueError,
        "two columns named 'a'",
    ),
    ("zipped", lambda a: {"y": a}, lambda: {"p": points(a=[1])}, ValueError, "zipped=True doesn't work with points"),
    ("no choice", lambda a: {"y": a}, lambda: {"a": choices()}, ValueError, "no value"),
    ("no name", lambda a: {"y": a}, lambda: {"a": choices(lambda x: x)}, ValueError, "has no name; give it a name"),
    ("same name", lambda a: {"y": a}, lambda: {"a": choices(1, 1)}, ValueError, "two values with the label '1'"),
    ("no distribution", lambda a: {"y": a}, lambda: samples(3, 0, a=0.1), ValueError, "expected a sequence of values"),
    ("count", lambda a: {"y": a}, lambda: samples(0, 0, a=[1]), ValueError, "positive number of points"),
    ("bounds", lambda a: {"y": a}, lambda: samples(2, 0, a=uniform(2, 1)), ValueError, "the lower one first"),
    (
        "uncalled",
        lambda a: {"y": a},
        lambda: samples(2, 0, a=uniform),
        ValueError,
        "call it with bounds, as in uniform",
    ),
    ("halves", lambda a: {"y": a}, lambda: samples(2, 0, a=integers(0.5, 3)), ValueError, "expected whole numbers"),
    ("log of 0", lambda a: {"y": a}, lambda: samples(2, 0, a=log_uniform(0, 1)), ValueError, "positive bounds"),
    (
        "another rank",
        lambda a: {"y": jnp.ones((2,) * a)},
        lambda: {"a": choices(1, 2)},
        ValueError,
        "output 'y' has different dimensions",
    ),
]


@pytest.mark.parametrize("case", BAD, ids=[case[0] for case in BAD])
def test_bad_designs_get_one_sentence(case: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    _, run, over, error, message = case
    with pytest.raises(error, match=message) as caught:  # noqa: PT012
        design = over()
        monkeypatch.setattr(jax.stages.Lowered, "compile", lambda *_: pytest.fail("compiled"))
        sweep(run, design, zipped="zipped" in message)
    assert "\n" not in str(caught.value)


# Outputs that are trees


class Result(NamedTuple):
    loss: Any
    parts: Any


def fitted(lr: Any, seed: Any) -> dict[str, Any]:
    key = jax.random.key(seed)
    net = eqx.nn.MLP(2, 1, 3, 1, key=key)
    params = eqx.filter(net, eqx.is_array)
    tx = optax.adamw(lr)
    _, state = tx.update(jax.tree.map(jnp.ones_like, params), tx.init(params), params)
    return {"net": net, "state": state, "result": Result(lr, [jnp.ones(2), (lr, 3)]), "next": jax.random.split(key)[0]}


def same(found: Any, expected: Any) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        if callable(a):
            assert a is b
        elif jnp.issubdtype(b.dtype if hasattr(b, "dtype") else float, jax.dtypes.prng_key):
            assert jnp.array_equal(jax.random.key_data(a), jax.random.key_data(b))
            jax.random.normal(a)
        else:
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
            assert getattr(b, "dtype", a.dtype) == a.dtype


@pytest.mark.parametrize("lane", [5, {"lr": 0.2, "seed": 2}])
def test_any_tree_of_outputs_is_read_back(lane: Any, tmp_path: Path) -> None:
    found = sweep(fitted, {"lr": [0.1, 0.2], "seed": range(3)}, tmp_path)
    expected = fitted(jnp.float32(0.2), 2)
    assert "state/0/mu/layers/0/weight" in found
    tree = unflatten(found, lane)
    same(tree, expected)
    np.testing.assert_allclose(tree["net"](jnp.ones(2)), expected["net"](jnp.ones(2)), rtol=1e-5)
    same(unflatten(open_store(tmp_path), lane, like={"net": expected["net"]}), {"net": expected["net"]})


def test_a_named_tuple_may_be_all_that_is_returned_and_labels_stay() -> None:
    found = sweep(lambda x: Result(x, {"a": Labelled(x * jnp.ones(2), ("k",))}), {"x": [1.0, 2.0]})
    assert found["parts/a"].dims == ("x", "k")
    tree = unflatten(found, {"x": 2.0})
    assert isinstance(tree, Result)
    assert tree.parts["a"].tolist() == [2.0, 2.0]


def test_trees_of_several_programs_are_each_lane_s_own() -> None:
    def run(tx: Any, n: int) -> dict[str, Any]:
        return {"state": tx(0.1).init(jnp.zeros(n)), "sizes": [n * 1.0]}

    found = sweep(run, {"tx": choices(adam=optax.adam, sgd=optax.sgd), "n": choices(2, 3)})
    for name, tx in {"adam": optax.adam, "sgd": optax.sgd}.items():
        for n in (2, 3):
            same(unflatten(found, {"tx": name, "n": n}), run(tx, n))


@pytest.mark.parametrize(
    ("lane", "message"),
    [
        (9, "from 0 to 5"),
        ({"lr": 0.3, "seed": 1}, "selects no run"),
        ({"lr": 0.1}, "3 entries of 'seed'"),
        ({"lr": "0.1", "seed": 1}, "selects no run"),
        ({"rate": 1}, "has an entry 'rate', which is neither an axis"),
    ],
)
def test_a_lane_that_is_not_there_is_said(lane: Any, message: str) -> None:
    dataset = xr.Dataset({"y": (("lr", "seed"), np.ones((2, 3)))}, {"lr": [0.1, 0.2], "seed": range(3)})
    with pytest.raises(ValueError, match=message):
        unflatten(dataset.assign_attrs(grid="lr (2) x seed (3)"), lane)


def test_a_structure_that_is_not_known_is_asked_for() -> None:
    dataset = xr.Dataset({"y": ("x", np.ones(2))}, attrs={"grid": "x (2)", "sweep": "unknown"})
    with pytest.raises(ValueError, match=r"this process did not run the sweep. .* Or pass like=tree, where `tree` has"):
        unflatten(dataset, 0)
    assert unflatten(dataset, 1, like={"y": jnp.zeros(())})["y"] == 1.0


def test_a_selection_of_runs_with_several_structures_is_not_called_unknown() -> None:
    def run(kind: Any, x: Any) -> Any:
        return {"y": {"a": x} if kind == "a" else [x, x]}

    found = sweep(run, {"kind": choices("a", "b"), "x": [1.0, 2.0]}, progress=False)
    assert unflatten(found, {"kind": "b", "x": 2.0})["y"] == [2.0, 2.0]
    some = found.isel(x=[1])
    with pytest.raises(ValueError, match=r"has 2 of the 4 runs of the sweep; .* Pass the whole dataset"):
        unflatten(some, {"kind": "b", "x": 2.0})
    assert unflatten(some, {"kind": "b", "x": 2.0}, like={"y": [jnp.zeros(()), jnp.zeros(())]})["y"] == [2.0, 2.0]
    one = sweep(lambda x: {"y": [x]}, {"x": [1.0, 2.0]}, progress=False)  # a single structure fits every run
    assert unflatten(one.isel(x=[1]), 0)["y"] == [2.0]


# Identity


RECIPES = """
import optax, sys
import jax.numpy as jnp
from jaxreg.lab import Recipe, sweep
spare = [object() for _ in range(int(sys.argv[1]))]  # other addresses

def own(rate):
    return optax.sgd(rate)

recipes = [Recipe(learning_rate=rate, optimizer=own) for rate in (0.1, 0.2)]
run = lambda recipe: {"y": recipe.transformation().update(jnp.ones(1), recipe.transformation().init(jnp.ones(1)))[0]}
print(sweep(run, {"recipe": recipes}, sys.argv[2]).attrs["sweep"])
"""


def test_an_axis_of_recipes_is_resumed_by_another_process(tmp_path: Path) -> None:
    hashes = {
        subprocess.run(
            [sys.executable, "-c", RECIPES, str(count), str(tmp_path / "s")],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for count in (0, 100_003)
    }
    assert len(hashes) == 1
