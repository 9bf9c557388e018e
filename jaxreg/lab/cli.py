"""From the command line to a case study: parse, run, print, draw."""

import dataclasses
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated

import tyro

from jaxreg.lab.gallery import draw
from jaxreg.lab.study import Size, Study, run_study
from jaxreg.lab.tables import print_tables

QUICK = Size(seeds=4, draws=8, epochs=200)


@dataclasses.dataclass(frozen=True)
class Options:
    """How much to run, and where to keep it.

    Args:
        quick: A run of seconds: 4 seeds, 8 draws, 200 epochs. Its figures are not the published ones.
        seeds: Initialisations on the published data (32).
        draws: Fresh draws of the data (64).
        epochs: Epochs of each training (4000).
        out: Folder for the results, each study in a folder of its name; results, or results/quick, by default.
    """

    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    seeds: int | None = None
    draws: int | None = None
    epochs: int | None = None
    out: Path | None = None

    def size(self) -> Size:
        """How much to run: what was asked for, and the defaults of the quick or of the full run."""
        asked = {name: getattr(self, name) for name in ("seeds", "draws", "epochs")}
        given = {name: value for name, value in asked.items() if value is not None}
        return dataclasses.replace(QUICK if self.quick else Size(), **given)


def main(study: Study) -> None:
    """Run `study` as the command line asks, print its tables and draw its pictures; exits 2 on bad input."""
    options = tyro.cli(Options, description=study.title)
    out = (options.out or Path("results/quick" if options.quick else "results")) / study.name
    command = shlex.join(["python", f"experiments/{study.name}.py", *sys.argv[1:]])
    start = time.perf_counter()
    try:
        results = run_study(study, options.size(), out, command)
        files = draw(results, study.data, out)
    except (ValueError, OSError) as error:
        print(f"{study.name}: {error}", file=sys.stderr)
        sys.exit(2)
    print_tables(results)
    names = ", ".join(file.name for file in files)
    print(f"{time.perf_counter() - start:.0f} s; results and pictures ({names}) are in {out.resolve()}\n")
