"""The command `jaxreg`: parse, call, print.

A command imports what it needs when it is called, so that `jaxreg --help` does not wait for JAX.
"""

import dataclasses
import io
import json
import os
import re
import shlex
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

try:
    import tyro
except ImportError:
    sys.exit("jaxreg: the command needs the laboratory: pip install 'jaxreg[lab]'")

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, OmitSubcommandPrefixes, Positional

import jaxreg


def _shown(words: str, metavar: str, default: str) -> Any:
    return tyro.conf.arg(help=words, metavar=metavar, help_behavior_hint=f"(default: {default})")


Json = Annotated[bool, tyro.conf.arg(help="Print JSON, for machines.")]
Names = Annotated[
    tuple[str, ...],
    tyro.conf.arg(
        help="Names of the columns, for a file without a heading.",
        metavar="NAME [NAME …]",
        help_behavior_hint="(default: those of the heading, or c1, c2, …)",
    ),
]


@dataclasses.dataclass(frozen=True)
class List:
    """List the case studies that can be run from here, and the results that are stored here.

    Case studies are the files in ./experiments, or in the clone that jaxreg is installed from, that define a STUDY.

    For instance: jaxreg list
    """

    json: Json = False

    def __call__(self) -> None:
        """Print what there is."""
        from jaxreg.lab.cli import studies

        studies.list_all(self.json)


@dataclasses.dataclass(frozen=True)
class Run:
    """Train every recipe of case studies over seeds and draws, print the tables and write the report.

    The same command again reads what is there and goes on from where it was stopped.

    For instance: jaxreg run weight_regularization --quick

    Several, set against each other: jaxreg run weight_regularization weight_constraints --draws 256

    Your own: jaxreg run my/study.py --out my/results
    """

    names: Annotated[
        Positional[tuple[str, ...]],
        tyro.conf.arg(
            metavar="NAME [NAME …]",
            help_behavior_hint="",
            help="A file with a STUDY (FILE.py), or its name in ./experiments: see list.",
        ),
    ]
    quick: Annotated[bool, tyro.conf.arg(help="A trial of seconds: few seeds, draws and epochs.")] = False
    seeds: Annotated[int | None, _shown("Initialisations of the weights.", "N", "the study's own")] = None
    draws: Annotated[int | None, _shown("Draws of the data.", "N", "the study's own")] = None
    epochs: Annotated[int | None, _shown("Epochs of each training.", "N", "the study's own")] = None
    out: Annotated[Path | None, _shown("Folder for the results.", "FOLDER", "results, or results/quick")] = None
    json: Json = False

    def __call__(self) -> None:
        """Run them."""
        from jaxreg.lab.cli import studies

        asked = {"seeds": self.seeds, "draws": self.draws, "epochs": self.epochs}
        given = {name: value for name, value in asked.items() if value is not None}
        studies.run(self.names, given, self.out, quick=self.quick, as_json=self.json)


@dataclasses.dataclass(frozen=True)
class Report:
    """Write the report of stored results: one HTML file that needs no network, or Markdown with pictures beside it.

    For instance: jaxreg report results/weight_regularization

    Several, set against each other: jaxreg report results/weight_regularization results/weight_constraints

    Any sweep of trainings, as Markdown: jaxreg report my/sweep --format markdown
    """

    stores: Annotated[
        Positional[tuple[Path, ...]],
        tyro.conf.arg(
            metavar="STORE [STORE …]", help_behavior_hint="", help="Folders of case studies, or of training sweeps."
        ),
    ]
    format: Annotated[Literal["html", "markdown"], tyro.conf.arg(help="What to write.")] = "html"
    out: Annotated[Path | None, _shown("The file.", "FILE", "report.html or .md beside the results")] = None
    json: Json = False

    def __call__(self) -> None:
        """Write it."""
        from jaxreg.lab.cli import studies

        studies.write_report(self.stores, self.format, self.out, as_json=self.json)


@dataclasses.dataclass(frozen=True)
class Show:
    """Print the tables of stored results.

    For instance: jaxreg show results/weight_regularization

    Every number with the call that gives it: jaxreg show results/weight_regularization --json
    """

    store: Annotated[
        Positional[Path], tyro.conf.arg(metavar="STORE", help="Folder of a case study, or of a training sweep.")
    ]
    json: Json = False

    def __call__(self) -> None:
        """Print them."""
        from jaxreg.lab.cli import studies

        studies.show(self.store, as_json=self.json)


@dataclasses.dataclass(frozen=True)
class Watch:
    """Show how far a sweep is: runs, speed, time left and the figures of its outputs so far.

    In a terminal the table is renewed until the sweep is finished; Ctrl-C ends it and leaves the sweep alone.

    For instance: jaxreg watch results/ridge
    """

    store: Annotated[Positional[Path], tyro.conf.arg(metavar="STORE", help="Folder of a sweep.")]
    every: Annotated[float, tyro.conf.arg(metavar="SECONDS", help="Seconds between two looks.")] = 2.0
    json: Json = False

    def __call__(self) -> None:
        """Show it."""
        from jaxreg.lab.cli import watch

        watch.watch(self.store, self.every, as_json=self.json)


@dataclasses.dataclass(frozen=True)
class Search:
    """Find the regulariser, and its strength, for a net on a table of your own, and fit it.

    Tries no regulariser, L1, L2, both, decay, group lasso, MaxNorm, UnitNorm and early stopping by repeated nested
    cross-validation, says what to use and how sure that is, and writes report, model and trainings. The same command
    again goes on from where it was stopped.

    For instance: jaxreg search patients.csv --target diagnosis

    Within a minute, the target as a number: jaxreg search houses.csv --target price --task regression --budget 60s
    """

    table: Annotated[Positional[Path], tyro.conf.arg(metavar="TABLE", help="A .csv, .xlsx, .npz or .parquet file.")]
    target: Annotated[str, tyro.conf.arg(metavar="COLUMN", help="Column to predict.")]
    task: Annotated[
        Literal["classification", "regression"] | None,
        tyro.conf.arg(help="Whether it is a class or a number.", help_behavior_hint="(default: told from the column)"),
    ] = None
    budget: Annotated[str | None, _shown("Time that it may take, such as 60s, 5m or 1h.", "TIME", "2 repeats")] = None
    leave_out: Annotated[
        tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]],
        tyro.conf.arg(
            help="Columns that are no inputs, such as names and numbers of rows.",
            metavar="COLUMN [COLUMN …]",
            help_behavior_hint="",
        ),
    ] = ()
    names: Names = ()
    groups: Annotated[
        str | None, _shown("Column that is equal in rows that belong together, as those of a person.", "COLUMN", "none")
    ] = None
    time: Annotated[
        str | None, _shown("Column that tells when: later rows are predicted from earlier ones.", "COLUMN", "none")
    ] = None
    balanced: Annotated[bool, tyro.conf.arg(help="Let each class count as much, however many rows it has.")] = False
    quick: Annotated[
        bool, tyro.conf.arg(help="Every other strength only, and one repeat unless --budget allows more.")
    ] = False
    epochs: Annotated[int | None, _shown("Epochs of each training.", "N", "by the number of rows")] = None
    hidden: Annotated[tuple[int, ...], _shown("Units of each hidden layer.", "N [N …]", "32")] = ()
    any_model: Annotated[
        bool, tyro.conf.arg(help="Keep a linear model, boosted trees or a forest as the model if that is better.")
    ] = False
    seed: Annotated[int, tyro.conf.arg(help="Of folds and initial weights.")] = 0
    out: Annotated[Path | None, _shown("Folder for all that is written.", "FOLDER", "TABLE-search")] = None
    json: Json = False

    def __call__(self) -> None:
        """Search."""
        from jaxreg.lab.tabular import TableError, prepare

        if not all(self.leave_out):
            raise ValueError("--leave-out names no column; expected one or more behind it")
        leave_out = tuple(name for names in self.leave_out for name in names)
        # A table is judged before JAX is imported, which takes longer.
        try:
            table = prepare(
                self.table,
                self.target,
                self.task,
                leave_out=leave_out,
                names=self.names,
                groups=self.groups,
                time=self.time,
            )
        except TableError as error:
            if error.leave_out:
                again = shlex.join(["jaxreg", *sys.argv[1:], "--leave-out", *error.leave_out])
                error.add_note(f"without such columns it is {again}")
            raise

        from jaxreg.lab.cli import search

        search.search_table(
            table,
            budget=search.seconds(self.budget),
            quick=self.quick,
            epochs=self.epochs,
            hidden=self.hidden,
            any_model=self.any_model,
            balanced=self.balanced,
            seed=self.seed,
            out=self.out,
            as_json=self.json,
        )


@dataclasses.dataclass(frozen=True)
class Predict:
    """Predict the target of each row of a table with a model that search wrote; prints CSV.

    Columns are found by their names, in any order.

    For instance: jaxreg predict patients-search/model.safetensors new.csv
    """

    model: Annotated[Positional[Path], tyro.conf.arg(metavar="MODEL", help="A model.safetensors, or its folder.")]
    table: Annotated[Positional[Path], tyro.conf.arg(metavar="TABLE", help="A .csv, .xlsx, .npz or .parquet file.")]
    names: Names = ()
    out: Annotated[Path | None, _shown("The file.", "FILE", "printed")] = None

    def __call__(self) -> None:
        """Predict."""
        from jaxreg.lab.cli import predict

        predict.predict(self.model, self.table, self.out, self.names)


@dataclasses.dataclass(frozen=True)
class Version:
    """Print the versions of jaxreg and of what its results depend on.

    For instance: jaxreg version --json
    """

    json: Json = False

    def __call__(self) -> None:
        """Print them."""
        import platform
        from importlib.metadata import version

        names = ("jaxreg", "jax", "jaxlib", "numpy", "flax", "optax")
        found: dict[str, Any] = {name: version(name) for name in names} | {"python": platform.python_version()}
        print(json.dumps(found) if self.json else "\n".join(f"{name} {value}" for name, value in found.items()))


_DESCRIPTION = """Weight regularisation and weight constraints, and a laboratory that tells which of them helps.

Start with: jaxreg run weight_regularization --quick

With your own table: jaxreg search data.csv --target y

Version: jaxreg --version; with those that results depend on: jaxreg version

Completion: jaxreg --tyro-write-completion bash ~/.local/share/bash-completion/completions/jaxreg (or zsh)

Exit codes: 0 done; 2 bad input, with one line that says what is wrong; 130 stopped with Ctrl-C."""


def _check_filled(arguments: Sequence[str]) -> None:
    # An empty name would be that of the folder one is in.
    for before, argument in zip(["", *arguments], arguments, strict=False):
        option = re.fullmatch(r"(--[\w-]+)=", argument)
        if option or not argument:
            what = option[1] if option else before if before.startswith("--") else "an argument"
            raise ValueError(f"{what} is empty; expected a value: is a variable of the shell not set?")


def _strike_again(unraised: Any) -> None:
    # Python drops what is raised in a callback, such as JAX's own at a garbage collection: that Ctrl-C comes again.
    if isinstance(unraised.exc_value, KeyboardInterrupt):
        threading.Timer(0.05, signal.raise_signal, (signal.SIGINT,)).start()
    else:
        sys.__unraisablehook__(unraised)


def main() -> None:
    """Do what the command line says."""
    sys.unraisablehook = _strike_again
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # without UTF-8, a character is printed as its number
    if sys.argv[1:] == ["--version"]:
        print(f"jaxreg {jaxreg.__version__}")
        return
    try:
        _check_filled(sys.argv[1:])
        try:
            command = tyro.cli(
                List | Run | Report | Show | Watch | Search | Predict | Version,
                prog="jaxreg",
                description=_DESCRIPTION,
                config=(FlagCreatePairsOff, OmitArgPrefixes, OmitSubcommandPrefixes),
            )
            command()
        finally:
            if sys.stdout is not None:  # as it is where the shell has closed it
                sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (ValueError, OSError) as error:
        print("; ".join([f"jaxreg: {error}", *getattr(error, "__notes__", [])]), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        print(f"jaxreg: {str(stop) or 'stopped'}", file=sys.stderr, flush=True)
        os._exit(130)  # sys.exit would wait for the chunks that a second Ctrl-C drops
