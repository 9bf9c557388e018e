"""Loggers for `sweep(..., on_chunk=…)`, which log each run of a sweep to an experiment tracker."""

import os
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from jaxreg.lab.sweeps.options import OnChunk

Row = tuple[dict[str, Any], list[tuple[str, int, float]]]


def _rows(points: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]) -> Iterator[Row]:
    """Yield the settings of each run, and its results as (name, index, value). A curve has one value per index."""
    figures = {name: values for name, values in arrays.items() if values.ndim <= 2 and values.dtype.kind in "biuf"}
    for row in range(len(next(iter(arrays.values())))):
        settings = {name: values[row].item() for name, values in points.items()}
        steps = ((name, np.atleast_1d(values[row])) for name, values in figures.items())
        yield settings, [(name, step, float(value)) for name, curve in steps for step, value in enumerate(curve)]


def _name(settings: Mapping[str, Any]) -> str:
    return ",".join(f"{name}={value}" for name, value in settings.items()).replace(os.sep, "_")


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError:
        package = name.split(".")[0]
        raise ModuleNotFoundError(
            f"this logger needs {package}, which is not installed: pip install {package}"
        ) from None


def to_tensorboard(folder: str | Path) -> OnChunk:
    """Return a logger for `sweep(…, on_chunk=…)` that writes event files for TensorBoard. Requires tensorboardX.

    A chunk is a group of runs that a sweep computes together. After each chunk, the sweep calls the logger with two
    dicts: one has the values on the axes, the other has the outputs. The logger writes one folder per run. The name of
    the folder shows the values on the axes, such as "l2=0.1,seed=0".

    An output that is one number per run becomes a point at step 0. An output that is a one-dimensional array per run,
    such as a learning curve, becomes a curve. The index of each entry is its step. Other outputs are not written. Runs
    that the sweep reads from its store are not written again.

    In the example, `run` is the function of the sweep, and `over` contains its axes.

    Args:
        folder: Folder for the event files. Pass it to TensorBoard as ``--logdir``.

    Example:
        >>> from jaxreg.lab import sweep
        >>> sweep(run, over, on_chunk=to_tensorboard("runs"))  # doctest: +SKIP
    """
    writers = _package("tensorboardX")

    def log(points: dict[str, np.ndarray], arrays: dict[str, np.ndarray]) -> None:
        for settings, figures in _rows(points, arrays):
            with writers.SummaryWriter(str(Path(folder) / _name(settings))) as writer:
                for name, step, value in figures:
                    writer.add_scalar(name, value, step)

    return log


def to_mlflow(experiment: str, tracking_uri: str | None = None) -> OnChunk:
    """Return a logger for `sweep(…, on_chunk=…)` that writes each run of a sweep to MLflow.

    The logger requires mlflow or mlflow-skinny. A chunk is a group of runs that a sweep computes together. After each
    chunk, the sweep calls the logger with two dicts: one has the values on the axes, the other has the outputs. The
    logger makes one MLflow run per run of the sweep. The values on the axes become its parameters.

    An output that is one number per run becomes a metric at step 0. An output that is a one-dimensional array per run,
    such as a learning curve, becomes a metric with one value per entry. The index of each entry is its step. Other
    outputs are not written. Runs that the sweep reads from its store are not written again.

    In the example, `run` is the function of the sweep, and `over` contains its axes.

    Args:
        experiment: Name of the MLflow experiment. The experiment is created if it does not exist.
        tracking_uri: Address of the tracking server or database. By default, MLflow's own setting is used.

    Example:
        >>> from jaxreg.lab import sweep
        >>> sweep(run, over, on_chunk=to_mlflow("ridge", "sqlite:///mlflow.db"))  # doctest: +SKIP
    """
    client, entities = _package("mlflow").MlflowClient(tracking_uri), _package("mlflow.entities")
    found = client.get_experiment_by_name(experiment)
    number = found.experiment_id if found else client.create_experiment(experiment)

    def log(points: dict[str, np.ndarray], arrays: dict[str, np.ndarray]) -> None:
        for settings, figures in _rows(points, arrays):
            run = client.create_run(number, run_name=_name(settings)).info.run_id
            client.log_batch(run, params=[entities.Param(name, str(value)) for name, value in settings.items()])
            for start in range(0, len(figures), 1000):  # the most that one call takes
                metrics = [entities.Metric(name, value, 0, step) for name, step, value in figures[start : start + 1000]]
                client.log_batch(run, metrics=metrics)
            client.set_terminated(run)

    return log


def to_wandb(project: str, **options: Any) -> OnChunk:
    """Return a logger for `sweep(…, on_chunk=…)` that writes each run of a sweep to Weights & Biases. Requires wandb.

    A chunk is a group of runs that a sweep computes together. After each chunk, the sweep calls the logger with two
    dicts: one has the values on the axes, the other has the outputs. The logger makes one run of Weights & Biases per
    run of the sweep. The values on the axes become its config.

    An output that is one number per run is logged at step 0. An output that is a one-dimensional array per run, such as
    a learning curve, is logged entry by entry. The index of each entry is its step. Other outputs are not logged. Runs
    that the sweep reads from its store are not logged again.

    In the example, `run` is the function of the sweep, and `over` contains its axes.

    Args:
        project: Name of the project in Weights & Biases.
        options: Further arguments of ``wandb.init``, such as ``mode="offline"`` or ``group="ridge"``.

    Example:
        >>> from jaxreg.lab import sweep
        >>> sweep(run, over, on_chunk=to_wandb("ridge", mode="offline"))  # doctest: +SKIP
    """
    wandb = _package("wandb")

    def log(points: dict[str, np.ndarray], arrays: dict[str, np.ndarray]) -> None:
        for settings, figures in _rows(points, arrays):
            run = wandb.init(project=project, name=_name(settings), config=settings, reinit="create_new", **options)
            steps: dict[int, dict[str, float]] = {}
            for name, step, value in figures:
                steps.setdefault(step, {})[name] = value
            for step in sorted(steps):
                run.log(steps[step], step=step)
            run.finish()

    return log
