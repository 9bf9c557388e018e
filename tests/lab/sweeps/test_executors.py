"""Chunks on other machines: segments there, modules that are missing there, and the scripts of the page on clusters."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

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
        pytest.raises(ModuleNotFoundError, match=r"can't import 'own_module'.*client.upload_file\('own_module.py'\)"),
    ):
        sweep(run, {"x": [1.0]}, executor=executor)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="a script of a Unix shell")
def test_the_tasks_of_a_slurm_array_share_the_sweep_of_the_page(tmp_path: Path) -> None:
    blocks = [block for _, block in BLOCKS]
    (tmp_path / "ridge.py").write_text(blocks[0])
    (tmp_path / "sweep.sh").write_text(next(block for block in blocks if "--array" in block))
    (tmp_path / "srun").write_text('#!/bin/sh\nexec "$@"\n')
    (tmp_path / "srun").chmod(0o755)
    path = os.pathsep.join([str(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"HOME": str(tmp_path), "PATH": path}
    tasks = [subprocess.Popen(["bash", "sweep.sh"], cwd=tmp_path, env=environment) for _ in range(2)]
    assert [task.wait(300) for task in tasks] == [0, 0]
    found = open_store(tmp_path / "results" / "ridge")
    x = np.array(found["coef"].sel(draw=3).isel(alpha=0))
    assert found["coef"].shape == (50, 100, 10)
    np.testing.assert_allclose(x, jnp.arange(10.0), atol=1e-2)  # hardly any penalty, and no noise
