"""Loggers and an optimiser from outside, each with the real package: skipped where it is not installed."""

import re
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxreg.lab import sweep
from jaxreg.lab.sweeps.loggers import to_mlflow, to_tensorboard, to_wandb

OVER = {"lr": [0.5, 1.0], "seed": [0, 1]}


def run(lr: Any, seed: Any) -> dict[str, Any]:
    return {"loss": lr + seed, "curve": lr * np.arange(1.0, 4.0, dtype=np.float32)}


def test_tensorboard_has_a_folder_of_events_for_each_run(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    sweep(run, OVER, on_chunk=to_tensorboard(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"lr={lr},seed={s}" for lr in (0.5, 1.0) for s in (0, 1)
    ]
    raw = next((tmp_path / "lr=0.5,seed=1").iterdir()).read_bytes()
    values = {}
    while raw:
        (size,) = struct.unpack("<Q", raw[:8])
        event, raw = Event.FromString(raw[12 : 12 + size]), raw[16 + size :]
        values |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
    assert values == {("loss", 0): 1.5, ("curve", 0): 0.5, ("curve", 1): 1.0, ("curve", 2): 1.5}


@pytest.mark.filterwarnings("ignore")
def test_mlflow_has_a_run_for_each_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow import MlflowClient

    address = (tmp_path / "runs").as_uri()
    sweep(run, OVER, on_chunk=to_mlflow("ridge", address))
    client = MlflowClient(address)
    experiment = client.get_experiment_by_name("ridge")
    found = {record.info.run_name: record for record in client.search_runs([experiment.experiment_id])}
    assert len(found) == 4
    record = found["lr=1.0,seed=1"]
    assert record.data.params == {"lr": "1.0", "seed": "1"}
    assert record.data.metrics["loss"] == 2.0
    curve = client.get_metric_history(record.info.run_id, "curve")
    assert [(metric.step, metric.value) for metric in curve] == [(0, 1.0), (1, 2.0), (2, 3.0)]


@pytest.mark.filterwarnings("ignore")
def test_wandb_has_a_run_for_each_run(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    sweep(run, {"lr": [0.5], "seed": [0]}, on_chunk=to_wandb("ridge", mode="offline", dir=str(tmp_path)))
    (file,) = tmp_path.rglob("run-*.wandb")
    assert b"curve" in file.read_bytes()


def test_optuna_asks_and_is_told(tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna")
    optuna.logging.disable_default_handler()
    page = (Path(__file__).parents[3] / "docs" / "sweep.md").read_text()
    block, halved = re.findall(r"```py\n((?:import optuna|from jaxreg.lab import Segments).*?)```", page, re.DOTALL)
    names: dict[str, Any] = {"train": lambda lr, momentum: {"loss": abs(lr - 0.1) + (momentum - 0.5) ** 2}}
    exec(block, names)
    trials = names["study"].trials
    assert len(trials) == 64
    for trial in trials:
        expected = abs(trial.params["lr"] - 0.1) + (trial.params["momentum"] - 0.5) ** 2
        assert trial.value == pytest.approx(expected, rel=1e-4, abs=1e-6)
    later, first = ([trial.value for trial in part] for part in (trials[32:], trials[:16]))
    assert np.mean(later) < np.mean(first)
    names["begin"] = lambda seed: 8.0 + seed
    names["hundred_steps"] = lambda state, lr, seed: (state / 2, {"loss": abs(lr - 0.1) + state / 2})
    exec(halved, names)
    trials = names["study"].trials
    for at in range(0, 64, 8):
        far = np.argsort([abs(trial.params["lr"] - 0.1) for trial in trials[at : at + 8]], kind="stable")
        assert [trials[at + int(place)].last_step for place in far] == [3, 3, 1, 1, 0, 0, 0, 0]
        assert [trials[at + int(place)].state.name for place in far] == ["COMPLETE"] * 2 + ["PRUNED"] * 6


@pytest.mark.parametrize(
    ("package", "logger"), [("tensorboardX", to_tensorboard), ("mlflow", to_mlflow), ("wandb", to_wandb)]
)
def test_a_package_that_is_missing_is_named(package: str, logger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=f"needs {package}, which is not installed: pip install {package}"):
        logger("ridge")
