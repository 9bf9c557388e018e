"""Processes that share a store compute each chunk once, and what fails for a moment is tried again."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from jaxreg.lab import atomic_files
from jaxreg.lab.sweeps.claims import Claims
from jaxreg.lab.sweeps.engine import sweep
from jaxreg.lab.sweeps.joined import open_store


def test_a_claim_is_one_processs_until_it_is_released_or_stale(tmp_path: Path) -> None:
    with Claims(tmp_path) as mine, Claims(tmp_path) as other:
        assert mine.take(3)
        assert not other.take(3)
        assert other.take(4)
        mine.release(3)
        assert other.take(3)
        (claim,) = tmp_path.glob("*3.claim.tmp")
        os.utime(claim, (time.time() - 120,) * 2)  # as if its machine had stopped
        assert mine.take(3)
        other.release(3)  # no longer its own
        assert not other.take(3)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"\xff\xff", b"elsewhere 1 2"])
def test_a_claim_that_can_not_be_read_holds_while_it_is_young(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / ".chunk-00000000.claim.tmp"
    file.write_bytes(content)
    with Claims(tmp_path) as mine:
        assert not mine.take(0)
        os.utime(file, (time.time() - 120,) * 2)
        assert mine.take(0)


@pytest.mark.skipif(os.name != "posix", reason="asks the kernel for processes")
def test_the_claim_of_a_process_that_was_killed_is_taken_at_once(tmp_path: Path) -> None:
    code = "import os; from jaxreg.lab.sweeps.claims import Claims; from pathlib import Path\n"
    code += f"claims = Claims(Path({str(tmp_path)!r})).__enter__(); claims.take(0); os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert [path.name for path in tmp_path.iterdir()] == [".chunk-00000000.claim.tmp"]
    found = sweep(lambda x: {"y": 2 * x}, {"x": [1.0, 2.0, 3.0]}, tmp_path, chunk=1)
    assert found["y"].values.tolist() == [2.0, 4.0, 6.0]
    assert not list(tmp_path.glob("*.tmp"))


SHARED = """
import logging, sys
import jax, jax.numpy as jnp
from jaxreg.lab import sweep

class Count(logging.Handler):
    def emit(self, record):
        if record.msg.startswith("chunk"):
            print(record.args[0])

logging.getLogger("jaxreg.sweep").addHandler(Count())
logging.getLogger("jaxreg.sweep").setLevel("INFO")

def run(seed):
    return {"end": jax.lax.fori_loop(0, 200_000, lambda _, x: jnp.sin(x + seed), 0.5)}

sweep(run, {"seed": range(60)}, sys.argv[1], chunk=1)
"""


def test_each_chunk_is_computed_by_one_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SHARED, str(tmp_path / "shared")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    computed = [list(map(int, process.communicate(timeout=100)[0].split())) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(number for numbers in computed for number in numbers) == list(range(60))
    assert open_store(tmp_path / "shared").sizes["seed"] == 60
    assert not list((tmp_path / "shared").glob(".*"))


KILLED = """
import os, pathlib, random, signal, sys, time
import jax, jax.numpy as jnp, numpy
import jaxreg.lab.sweeps.engine
from jaxreg.lab import sweep

root, kills = pathlib.Path(sys.argv[1]), int(sys.argv[2])
chunks = 30 if kills < 10 else 120
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])

def start(store):
    pid = os.fork()
    if pid:
        return pid
    log = os.open(store.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def wait(seed):
        there = (store / f"chunk-{int(seed):08d}.npz").exists()
        os.write(log, f"{int(seed)} {os.getpid()} {time.monotonic_ns()} {there}\\n".encode())
        time.sleep(0.1 + 0.2 * random.random())
        return numpy.float32(seed)

    def run(seed):
        waited = jax.pure_callback(wait, jax.ShapeDtypeStruct((), numpy.float32), seed, vmap_method="sequential")
        return {"sum": jnp.sin(waited + jnp.arange(50.0)).sum()}

    sweep(run, {"seed": range(chunks)}, store, chunk=1, token="1")
    os._exit(0)

def content(store):
    return {f.name: f.read_bytes() for f in store.iterdir() if f.suffix != ".tmp"}

begun, alone = time.monotonic_ns(), start(root / "whole")
assert os.waitpid(alone, 0)[1] == 0
needed = (int((root / "whole.log").read_text().split()[2]) - begun) / 1e9  # until the first chunk begins
expected, left, stores, again = content(root / "whole"), kills, 0, 0
assert len(expected) == chunks + 2
random.seed(7)
while left > 0:
    store, killed, stores = root / str(stores), {}, stores + 1
    running = [start(store) for _ in range(3)]
    while running:
        until = time.monotonic() + random.uniform(0.0, 2 * needed)
        while running and time.monotonic() < until:
            time.sleep(0.01)
            for pid in list(running):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    assert status == 0
                    running.remove(pid)
        if running and left > 0:
            pid = random.choice(running)
            killed[pid] = time.monotonic_ns()
            os.kill(pid, signal.SIGKILL)
            if os.waitpid(pid, 0)[1]:
                running[running.index(pid)] = start(store)
                left -= 1
            else:  # it had ended by itself
                running.remove(pid)
    assert content(store) == expected
    before = {}
    for line in store.with_suffix(".log").read_text().splitlines():
        seed, pid, begun, there = line.split()
        assert there == "False", f"chunk {seed} was finished, and is computed again"
        if seed in before:  # its process was killed, and only then another one began
            again += 1
            assert killed[before[seed]] < int(begun), f"two processes compute chunk {seed}"
        before[seed] = int(pid)
    assert len(before) == chunks
print(f"{kills} kills, {stores} stores equal, {again} chunks begun again after a kill, {needed:.1f} s to begin")
"""


@pytest.mark.parametrize("kills", [5, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs fork, and a clock that processes share")
def test_of_three_processes_any_may_be_killed(kills: int, tmp_path: Path) -> None:
    """The store ends with the bytes of an undisturbed one; a chunk begins again only after its process was killed."""
    command = [sys.executable, "-W", "ignore", "-c", KILLED, str(tmp_path), str(kills)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    print(done.stdout)


def failing(name: str, error: int, times: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let a function of the system fail so many times, as a network file system does."""
    real, failed = getattr(os, name), []

    def call(*arguments: Any, **options: Any) -> Any:
        if len(failed) < times:
            failed.append(error)
            raise OSError(error, os.strerror(error))
        return real(*arguments, **options)

    monkeypatch.setattr(os, name, call)
    return failed


@pytest.mark.parametrize("error", [errno.ESTALE, errno.EIO, errno.EAGAIN])
@pytest.mark.parametrize("name", ["replace", "fsync"])
def test_an_error_that_passes_is_tried_again(
    name: str, error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic_files, "_PAUSES", (0.0, 0.0))
    failed = failing(name, error, 2, monkeypatch)
    sweep(lambda x: {"y": 2 * x}, {"x": [1.0]}, tmp_path / "store")
    assert len(failed) == 2
    assert open_store(tmp_path / "store")["y"].values.tolist() == [2.0]
    failing(name, error, 9, monkeypatch)
    with pytest.raises(OSError, match=os.strerror(error)):
        sweep(lambda x: {"y": 2 * x}, {"x": [1.0]}, tmp_path / "other")


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_hard_links_holds_stores(
    error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing("link", error, 99, monkeypatch)
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda at: real(at) if not os.path.isdir(f"/proc/self/fd/{at}") else _refuse())
    for _ in range(2):
        found = sweep(lambda x: {"y": 2 * x}, {"x": [1.0, 2.0]}, tmp_path / "store")
        assert found["y"].values.tolist() == [2.0, 4.0]
    with pytest.raises(ValueError, match="belongs to another sweep"):
        sweep(lambda x: {"y": 3 * x}, {"x": [1.0, 2.0]}, tmp_path / "store")


def _refuse() -> None:
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
