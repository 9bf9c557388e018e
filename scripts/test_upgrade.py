"""Check that results written by an earlier commit open, show and go on with this one, and that nothing runs twice.

    python scripts/test_upgrade.py 9a04ab3            # two studies, forty sweeps, a search: three minutes
    python scripts/test_upgrade.py 9a04ab3 --all      # every study, cut to two draws and three epochs
    python scripts/test_upgrade.py 9a04ab3 --keep F   # keep what the earlier commit wrote in the folder F

The earlier commit writes whole results. Then chunks are taken out of a copy, as if it had been killed. This commit has
to leave every chunk that is there as it is, and to compute the missing ones with the same bits.
"""

import argparse
import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxreg as jr
from jaxreg.lab import MLP, Labelled, Problem, Recipe, fit, linen, moons, sweep

ROOT = Path(__file__).resolve().parents[1]
STUDIES = ("weight_regularization", "weight_constraints")
Build = Callable[[Any], Any]
PENALTIES: dict[str, Build] = {
    "L1": jr.L1,
    "L2": jr.L2,
    "L1L2": lambda s: jr.L1L2(s, s),
    "GroupLasso": jr.GroupLasso,
    "MCP": jr.MCP,
    "Linf": jr.Linf,
    "Nuclear": jr.Nuclear,
}
CONSTRAINTS: dict[str, Build] = {
    "MaxNorm": jr.MaxNorm,
    "UnitNorm": lambda s: jr.UnitNorm(),
    "MinMaxNorm": lambda s: jr.MinMaxNorm(s / 2, s),
    "NonNeg": lambda s: jr.NonNeg(),
    "Box": lambda s: jr.Box(-s, s),
    "LinfBall": jr.LinfBall,
    "MaxNorm and LinfBall": lambda s: jr.Intersection(jr.MaxNorm(s), jr.LinfBall(s)),
    "L1Ball": jr.L1Ball,
    "Simplex": jr.Simplex,
    "SpectralNorm": jr.SpectralNorm,
    "NuclearBall": jr.NuclearBall,
    "Orthonormal": lambda s: jr.Orthonormal(),
    "FrobeniusSphere": jr.FrobeniusSphere,
    "Sparse": lambda s: jr.Sparse(0.5),
    "NMSparse": lambda s: jr.NMSparse(2, 4),
    "MaxNorm and NonNeg": lambda s: jr.Intersection(jr.MaxNorm(s), jr.NonNeg()),
    "UnitNorm and NonNeg": lambda s: jr.Intersection(jr.UnitNorm(), jr.NonNeg()),
}
RULES = {"project": CONSTRAINTS, "penalize": PENALTIES, "proximal": PENALTIES, "decay": {"L2": jr.L2}}


def main() -> None:
    """Write results with the earlier commit, and go on with this one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("commit", help="the earlier commit")
    parser.add_argument("--all", action="store_true", help="every study")
    parser.add_argument("--keep", type=Path, help="folder for what the earlier commit writes")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    studies = sorted(path.stem for path in (ROOT / "experiments/studies").glob("[a-z]*.py")) if options.all else STUDIES
    if options.write:
        write(options.write, studies)
        return
    with tempfile.TemporaryDirectory() as folder:
        before = options.keep or Path(folder, "before")
        if not before.exists():
            source = Path(folder, "source")
            source.mkdir()
            archive = subprocess.run(["git", "archive", options.commit], cwd=ROOT, check=True, capture_output=True)
            subprocess.run(["tar", "-x", "-C", source], input=archive.stdout, check=True)
            command = [sys.executable, __file__, options.commit, "--write", before, *["--all"] * options.all]
            subprocess.run(command, env=os.environ | {"PYTHONPATH": str(source)}, check=True)
        failures = list(verify(before, Path(folder, "after"), studies))
    for failure in failures:
        print(failure)
    print(f"{len(failures)} of the results of {options.commit} fail" if failures else "all go on as they were")
    sys.exit(bool(failures))


def write(folder: Path, studies: Any) -> None:
    """Compute everything once."""
    folder.mkdir(parents=True)
    for name in sweeps():
        run_sweep(name, folder / "sweeps" / name)
    write_table(folder / "table.csv")
    for arguments in commands(folder, studies):
        command(arguments)


def verify(before: Path, after: Path, studies: Any) -> Iterator[str]:
    """Go on from whole results, then from results with chunks taken out; yield one sentence per failure."""
    whole, cut = after / "whole", after / "cut"
    for place in (whole, cut):
        shutil.copytree(before, place)
    for number, chunk in enumerate(sorted(cut.rglob("chunk-*.npz"))):
        if number % 2:
            chunk.unlink()
    for place in (whole, cut):
        kept = {chunk: chunk.stat().st_mtime_ns for chunk in place.rglob("chunk-*.npz")}
        for name in sweeps():
            try:
                run_sweep(name, place / "sweeps" / name)
            except Exception as error:
                yield f"{place.name} sweep {name}: {error!r}"
        for arguments in commands(place, studies):
            for more in (arguments, read_back(arguments)):
                try:
                    command(more)
                except BaseException as error:
                    yield f"{place.name} {' '.join(more)}: {error!r}"
        yield from (f"{chunk} was written again" for chunk, time in kept.items() if chunk.stat().st_mtime_ns != time)
        chunks = sorted(before.rglob("chunk-*.npz"))
        print(f"{place.name}: {len(chunks)} chunks, {len(chunks) - len(kept)} of them missing", flush=True)
        for chunk in chunks:
            again = place / chunk.relative_to(before)
            if not again.exists() or again.read_bytes() != chunk.read_bytes():
                yield f"{again} {'differs' if again.exists() else 'is missing'}"


def sweeps() -> list[str]:
    """Return the names of the sweeps."""
    return [*PLAIN, *(f"{link} {name}" for link, builds in RULES.items() for name in builds)]


def run_sweep(name: str, store: Path) -> None:
    """Run one sweep in chunks of two lanes."""
    if name in PLAIN:
        run, over = PLAIN[name]()
        sweep(run, over, store, chunk=2, zipped=name == "zipped", progress=False)
    else:
        link, rule = name.split(" ", 1)
        build = RULES[link][rule]
        sweep(
            lambda strength: trained(link, build, strength),
            {"strength": [0.1, 0.5, 1.0]},
            store,
            chunk=2,
            progress=False,
        )


def numbers() -> Any:
    """Return a function of two axes of numbers, with labelled outputs."""
    return (
        lambda x, k: {"power": x**k, "row": Labelled(jnp.arange(3) * x, ("place",))},
        {"x": [1.0, 2.0, 3.0], "k": [1, 2, 3]},
    )


def zipped() -> Any:
    """Return a function of two axes that are taken entry by entry."""
    return lambda x, y: {"sum": x + y}, {"x": np.arange(5.0), "y": range(5)}


def pytrees() -> Any:
    """Return a function of random keys and of dicts of arrays."""

    def run(key: jax.Array, config: Any) -> Any:
        return {"draw": config["scale"] * jax.random.normal(key, (3,)) + config["shift"]}

    return run, {
        "key": jax.random.split(jax.random.key(0), 4),
        "config": {"scale": np.ones(3), "shift": np.arange(3.0)},
    }


def training() -> Any:
    """Return the training of a small net by seed and strength."""
    problem = Problem(linen(MLP(hidden=8), inputs=(2,)), moons(range(2), train=20, test=40), epochs=10, record_every=5)

    def run(strength: jax.Array, seed: jax.Array) -> Any:
        return fit(problem, Recipe(penalties={jr.KERNELS: jr.L2(strength)}), jax.random.key(seed), seed % 2)

    return run, {"strength": [0.0, 1e-3, 1e-2], "seed": range(3)}


PLAIN: dict[str, Callable[[], Any]] = {
    "numbers": numbers,
    "zipped": zipped,
    "pytrees": pytrees,
    "training": training,
}


def trained(link: str, build: Build, strength: jax.Array) -> dict[str, jax.Array]:
    """Return the kernels after five steps of Adam with one link in its place."""
    rules = {jr.KERNELS: build(strength)}
    params = {"dense": {"kernel": jnp.linspace(-1.0, 1.0, 12).reshape(4, 3), "bias": jnp.zeros(3)}}
    if link == "penalize":
        optimizer = optax.chain(jr.penalize(rules), optax.adam(0.1))
    elif link == "decay":
        optimizer = optax.chain(optax.scale_by_adam(), jr.decay(rules), optax.scale(-0.1))
    elif link == "proximal":
        optimizer = optax.chain(optax.sgd(0.1), jr.proximal(rules, 0.1))
    else:
        optimizer = optax.chain(optax.adam(0.1), jr.project(rules))
    state = optimizer.init(params)
    for _ in range(5):
        gradients = jax.tree.map(jnp.cos, params)
        updates, state = optimizer.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
    return {"kernel": params["dense"]["kernel"]}


def commands(folder: Path, studies: Any) -> list[list[str]]:
    """Return the commands that write results; the folder comes last."""
    few = ["--draws", "2", "--seeds", "1", "--epochs", "3"]
    runs = [["run", name, *few, "--out", str(folder / "results")] for name in studies]
    search = ["search", str(folder / "table.csv"), "--target", "sick", "--quick", "--epochs", "20"]
    return [*runs, [*search, "--out", str(folder / "search")]]


def command(arguments: list[str]) -> None:
    """Run one command of jaxreg in this process; what it prints is kept for the case that it fails."""
    try:
        from jaxreg_cli import main as run  # type: ignore[import-not-found]
    except ImportError:
        from jaxreg.lab.cli import main as run
    printed = io.StringIO()
    sys.argv = ["jaxreg", *arguments]
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            run()
        except SystemExit as end:
            if end.code:
                raise ValueError(f"ended with {end.code}: {printed.getvalue()[-300:]}") from None


def read_back(arguments: list[str]) -> list[str]:
    """Return the command that reads what another one wrote."""
    if arguments[0] == "run":
        return ["show", str(Path(arguments[-1], arguments[1]))]
    return ["predict", arguments[-1], arguments[1]]


def write_table(path: Path) -> None:
    """Write a table of sixty rows."""
    rows = [(20 + i * 37 % 50, "Ulm" if i % 3 else "Bonn", int(i * 37 % 50 > 25)) for i in range(60)]
    path.write_text("age,city,sick\n" + "".join(f"{age},{city},{sick}\n" for age, city, sick in rows))


if __name__ == "__main__":
    main()
