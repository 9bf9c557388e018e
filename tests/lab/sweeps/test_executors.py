"""Chunks on other machines: segments there, modules that are missing there, and the scripts of the page on clusters."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from jaxreg.lab import Segments, open_store, sweep

PAGE = (Path(__file__).parents[3] / "docs" / "recipes" / "clusters.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_states_travel_to_workers_and_back() -> None:
    def double(state, x):
        return 2 * state, {"y": 2 * state + x}

    with ThreadPoolExecutor(2) as executor:
        segments = Segments(lambda x: x, 3, halve="y")
        found = sweep(double, {"x": [4.0, 3.0, 2.0, 1.0]}, chunk=2, executor=executor, segments=segments)
    nan = np.nan
    np.testing.assert_array_equal(found["y"], [[12.0, nan, nan], [9.0, nan, nan], [6.0, 10.0, nan], [3.0, 5.0, 9.0]])


def test_a_sweep_that_stops_runs_goes_on(tmp_path: Path) -> None:
    def shrink(state: Any, x: Any) -> Any:
        def step(state: Any, _: None) -> Any:
            return state + 1e-3 * jnp.sin(state @ (x * jnp.eye(64))), None

        state = jax.lax.scan(step, state, None, 20)[0]
        return state, {"y": state.sum()}

    segments = Segments(lambda x: x * jnp.ones((64, 64)) / 1000, 3, halve="y")

    def found() -> xr.Dataset:
        with ThreadPoolExecutor(2) as executor:
            points = {"x": np.arange(1.0, 1001.0)}
            return sweep(shrink, points, tmp_path, executor=executor, segments=segments).load()

    whole = found()
    stores = {path.parent for path in tmp_path.rglob("chunk-*.npz")}
    assert len(stores) == 3
    for store in stores:
        max(store.glob("chunk-*.npz")).unlink()
    xr.testing.assert_identical(found(), whole)


def test_an_executor_whose_futures_are_not_pythons(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="not locked, as xarray would import it everywhere")

    class Elsewhere:
        """Chunks fail on its workers."""

        def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
            return client.submit(fails if function.__name__ == "_computed" else function, *arguments)

    def fails(*_: Any) -> None:
        raise ValueError("a worker's own")

    def walk(scale: Any, seed: Any) -> dict[str, Any]:
        return {"path": jnp.cumsum(scale * jax.random.normal(jax.random.key(seed), (5,)))}

    walks = {"scale": [0.1, 1.0, 10.0], "seed": range(7)}
    with (
        distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        found = sweep(walk, walks, tmp_path, chunk=4, executor=client).load()
        with pytest.raises(ValueError, match="worker's own"):
            sweep(walk, walks, executor=Elsewhere())  # type: ignore[arg-type]
    xr.testing.assert_identical(found, sweep(walk, walks, chunk=4))


def test_a_module_that_workers_lack_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_module.py").write_text("def run(x):\n    return {'y': 2 * x}\n")
    monkeypatch.syspath_prepend(tmp_path)
    run = __import__("own_module").run

    class Elsewhere(ThreadPoolExecutor):
        def submit(self, function, *arguments):
            monkeypatch.delitem(sys.modules, "own_module")
            sys.path.remove(str(tmp_path))
            return super().submit(function, *arguments)

    with (
        Elsewhere(1) as executor,
        pytest.raises(
            ModuleNotFoundError, match=r"can't import the module 'own_module'.*client.upload_file\('own_module.py'\)"
        ),
    ):
        sweep(run, {"x": [1.0]}, executor=executor)


def page(folder: Path, part: str) -> str:
    """Write the function of the page to a folder, and return the block of the page that contains a text."""
    blocks = [block for _, block in BLOCKS]
    (folder / "ridge.py").write_text(blocks[0])
    (found,) = [block for block in blocks[1:] if part in block]
    return found


def check(store: Path) -> None:
    """Check the results of the page: hardly any penalty, and no noise."""
    found = open_store(store)
    assert found["coef"].shape == (50, 100, 10)
    np.testing.assert_allclose(found["coef"].sel(draw=3).isel(alpha=0), jnp.arange(10.0), atol=1e-2)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="a script of a Unix shell")
def test_the_tasks_of_a_slurm_array_share_the_sweep_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "sweep.sh").write_text(page(tmp_path, "--array"))
    (tmp_path / "srun").write_text('#!/bin/sh\nexec "$@"\n')
    (tmp_path / "srun").chmod(0o755)
    path = os.pathsep.join([str(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"HOME": str(tmp_path), "PATH": path}
    tasks = [subprocess.Popen(["bash", "sweep.sh"], cwd=tmp_path, env=environment) for _ in range(2)]
    assert [task.wait(300) for task in tasks] == [0, 0]
    check(tmp_path / "results" / "ridge")


@pytest.mark.slow
def test_the_pods_of_the_kubernetes_job_share_the_sweep_of_the_page(tmp_path: Path) -> None:
    """The command of the container as it is written, with its paths in a folder and the environment of a pod."""
    yaml = pytest.importorskip("yaml")
    job = yaml.safe_load(page(tmp_path, "kind: Job"))
    assert (job["apiVersion"], job["kind"], job["spec"]["completionMode"]) == ("batch/v1", "Job", "Indexed")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    (volume,) = job["spec"]["template"]["spec"]["volumes"]
    (mount,) = container["volumeMounts"]
    assert mount["name"] == volume["name"]
    (source, target) = re.findall(r"^COPY (\S+) (\S+)$", page(tmp_path, "FROM python"), re.MULTILINE)[0]
    inside = {target: str(tmp_path / source), mount["mountPath"]: str(tmp_path / "volume"), "python": sys.executable}
    command = []
    for word in container["command"]:
        place = next(place for place in inside if word == place or word.startswith(place + "/"))
        command.append(inside[place] + word.removeprefix(place))
    pods = []
    for index in range(2):
        name = f"{job['metadata']['name']}-{index}"
        environment = {"PATH": os.defpath, "HOME": "/root", "HOSTNAME": name, "JOB_COMPLETION_INDEX": str(index)}
        pods.append(subprocess.Popen(command, cwd="/", env=environment))
    assert [pod.wait(300) for pod in pods] == [0, 0]
    check(tmp_path / "volume" / "ridge")


@pytest.mark.slow
def test_the_dask_cluster_of_the_page_computes_its_sweep(tmp_path: Path) -> None:
    """The commands and the script of the page, on this machine: workers get the module by `upload_file` alone."""
    pytest.importorskip("distributed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    script = page(tmp_path, "upload_file").replace("scheduler:8786", address)
    words = "--nworkers 4 --nthreads 1"
    assert f"dask worker tcp://scheduler:8786 {words}`" in PAGE
    dask, (host, port) = [sys.executable, "-m", "dask"], address.split(":")
    (tmp_path / "elsewhere").mkdir()
    commands = [
        [*dask, "scheduler", "--host", host, "--port", port, "--no-dashboard"],
        [*dask, "worker", f"tcp://{address}", *words.replace("4", "2").split(), "--no-dashboard"],
    ]
    processes = [subprocess.Popen(command, cwd=tmp_path / "elsewhere") for command in commands]
    try:
        subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, timeout=300)
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(60)
    check(tmp_path / "results" / "ridge")


@pytest.mark.slow
@pytest.mark.parametrize(("package", "part"), [("submitit", "AutoExecutor"), ("ray", "RayExecutor")])
def test_the_other_executors_of_the_page_compute_its_sweep(package: str, part: str, tmp_path: Path) -> None:
    pytest.importorskip(package)
    subprocess.run([sys.executable, "-c", page(tmp_path, part)], cwd=tmp_path, check=True, timeout=300)
    check(tmp_path / "results" / "ridge")
