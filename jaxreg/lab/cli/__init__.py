"""The command `jaxreg`: parses the command line and calls the function of a subcommand.

Each subcommand imports its modules only when it is called, so that `jaxreg --help` does not import JAX.
"""

import dataclasses
import io
import itertools
import json
import os
import re
import shlex
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

try:
    import tyro
except ImportError:
    sys.exit("jaxreg: this command needs additional packages. Run: pip install 'jaxreg[lab]'")

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, OmitSubcommandPrefixes, Positional

import jaxreg


def _shown(words: str, metavar: str, default: str) -> Any:
    return tyro.conf.arg(help=words, metavar=metavar, help_behavior_hint=f"(default: {default})")


Json = Annotated[bool, tyro.conf.arg(help="Print JSON instead of text.")]
Names = Annotated[
    tuple[str, ...],
    tyro.conf.arg(
        help="Column names, for a file without a header row.",
        metavar="NAME [NAME …]",
        help_behavior_hint="(default: c1, c2, …; not needed if the first row contains the names)",
    ),
]


@dataclasses.dataclass(frozen=True)
class List:
    """List the case studies that you can run, and the results that are stored in ./results.

    Case studies are Python files that define a STUDY. They are read from ./experiments. If this folder contains
    none, the case studies that come with jaxreg are listed.

    Example: jaxreg list
    """

    json: Json = False

    def __call__(self) -> None:
        """Print the lists."""
        from jaxreg.lab.cli import studies

        studies.list_all(self.json)


@dataclasses.dataclass(frozen=True)
class Run:
    """Run case studies: train a network with each regulariser, print the tables and write a report.

    Finished results are reused. Run the same command again to continue after an interruption.

    Example: jaxreg run weight_regularization --quick

    Compare several studies: jaxreg run weight_regularization weight_constraints --draws 256

    Run your own study: jaxreg run my/study.py --out my/results
    """

    names: Annotated[
        Positional[tuple[str, ...]],
        tyro.conf.arg(
            metavar="NAME [NAME …]",
            help_behavior_hint="",
            help="Name of a study that `jaxreg list` prints, or path of a Python file that defines a STUDY.",
        ),
    ]
    quick: Annotated[
        bool, tyro.conf.arg(help="Make a short trial with few seeds, draws and epochs. The study sets these numbers.")
    ] = False
    seeds: Annotated[int | None, _shown("Number of weight initialisations.", "N", "set by the study or --quick")] = None
    draws: Annotated[int | None, _shown("Number of random draws of the data.", "N", "set by the study or --quick")] = (
        None
    )
    epochs: Annotated[int | None, _shown("Number of training epochs.", "N", "set by the study or --quick")] = None
    out: Annotated[Path | None, _shown("Folder for the results.", "FOLDER", "results; with --quick results/quick")] = (
        None
    )
    json: Json = False

    def __call__(self) -> None:
        """Run the studies."""
        from jaxreg.lab.cli import studies

        asked = {"seeds": self.seeds, "draws": self.draws, "epochs": self.epochs}
        given = {name: value for name, value in asked.items() if value is not None}
        studies.run(self.names, given, self.out, quick=self.quick, as_json=self.json)


@dataclasses.dataclass(frozen=True)
class Report:
    """Write a report of stored results: one HTML file that works offline, or Markdown with separate pictures.

    Example: jaxreg report results/weight_regularization

    Compare several results: jaxreg report results/weight_regularization results/weight_constraints

    Report what `jaxreg.lab.sweep` stored, as Markdown: jaxreg report my/sweep --format markdown
    """

    stores: Annotated[
        Positional[tuple[Path, ...]],
        tyro.conf.arg(
            metavar="FOLDER [FOLDER …]",
            help_behavior_hint="",
            help="Folders with the results of case studies (`jaxreg run`), or folders with the results of training "
            "sweeps (`jaxreg.lab.sweep` in Python).",
        ),
    ]
    format: Annotated[Literal["html", "markdown"], tyro.conf.arg(help="Format of the report.")] = "html"
    out: Annotated[
        Path | None,
        _shown(
            "File of the report.",
            "FILE",
            "report.html or report.md, in FOLDER; for several folders, in the folder that contains them all",
        ),
    ] = None
    baseline: Annotated[
        float | None,
        _shown(
            "For a training sweep with one axis besides seed and draw, the value on this axis that means no "
            "regulariser.",
            "VALUE",
            "inf if this is a value of the axis; otherwise 0 if this is a value of the axis; otherwise no baseline. "
            "But 0 is not used on an axis with negative values, on an axis of limits such as max_norm, or on an axis "
            "of logarithms such as log_l2",
        ),
    ] = None
    json: Annotated[
        bool, tyro.conf.arg(help="Print the path of the report as JSON instead of text. The report stays the same.")
    ] = False

    def __call__(self) -> None:
        """Write the report."""
        from jaxreg.lab.cli import studies

        studies.write_report(self.stores, self.format, self.out, baseline=self.baseline, as_json=self.json)


@dataclasses.dataclass(frozen=True)
class Show:
    """Print the tables of stored results.

    Example: jaxreg show results/weight_regularization

    Print JSON, with the Python call that computes each number: jaxreg show results/weight_regularization --json
    """

    store: Annotated[
        Positional[Path],
        tyro.conf.arg(
            metavar="FOLDER",
            help="Folder with the results of a case study (`jaxreg run`), or of a training sweep (`jaxreg.lab.sweep` "
            "in Python).",
        ),
    ]
    json: Annotated[
        bool,
        tyro.conf.arg(
            help="Print JSON instead of text. It contains, for each number, the Python call that computes the number."
        ),
    ] = False

    def __call__(self) -> None:
        """Print the tables."""
        from jaxreg.lab.cli import studies

        studies.show(self.store, as_json=self.json)


@dataclasses.dataclass(frozen=True)
class Watch:
    """Show the progress of a sweep: finished runs, speed, time left and statistics of the finished runs.

    In a terminal, the table is updated until the sweep is finished. Ctrl-C stops the display, but not the sweep.

    Example: jaxreg watch results/ridge
    """

    store: Annotated[Positional[Path], tyro.conf.arg(metavar="FOLDER", help="Folder with the results of a sweep.")]
    every: Annotated[float, tyro.conf.arg(metavar="SECONDS", help="Seconds between updates.")] = 2.0
    json: Json = False

    def __call__(self) -> None:
        """Show the progress."""
        from jaxreg.lab.cli import watch

        watch.watch(self.store, self.every, as_json=self.json)


@dataclasses.dataclass(frozen=True)
class Search:
    """Find the best regulariser and its strength for a neural network on your table, and fit the network.

    Trains networks without a regulariser and with L1, L2, L1 plus L2, decoupled weight decay, group lasso, MaxNorm,
    UnitNorm, early stopping or dropout. Compares them by repeated nested cross-validation. Prints which regulariser to
    use and how certain this choice is. Writes a report, the model and all training runs. Run the same command again to
    continue after an interruption.

    Example: jaxreg search patients.csv --target diagnosis

    Predict a number, within a minute: jaxreg search houses.csv --target price --task regression --budget 60s
    """

    table: Annotated[
        Positional[Path], tyro.conf.arg(metavar="TABLE", help="Table as a .csv, .xlsx, .npz or .parquet file.")
    ]
    target: Annotated[str, tyro.conf.arg(metavar="COLUMN", help="Name of the column to predict.")]
    task: Annotated[
        Literal["classification", "regression"] | None,
        tyro.conf.arg(
            help="Type of the target.",
            metavar="{classification,regression}",
            help_behavior_hint="(default: inferred from the column)",
        ),
    ] = None
    budget: Annotated[
        str | None,
        _shown(
            "Time limit for the whole command, such as 60s, 5m or 1h. The cross-validation runs as often as the limit "
            "allows. If one run takes too long, fewer candidates and fewer epochs are tried. With --time, the "
            "cross-validation always runs once.",
            "TIME",
            "no limit; the cross-validation runs twice, or once with --quick",
        ),
    ] = None
    leave_out: Annotated[
        tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]],
        tyro.conf.arg(
            help="Columns to ignore, such as names or row numbers.",
            metavar="COLUMN [COLUMN …]",
            help_behavior_hint="",
        ),
    ] = ()
    names: Names = ()
    groups: Annotated[
        str | None,
        _shown(
            "Column with the same value in related rows, such as a patient number. Related rows stay in one fold.",
            "COLUMN",
            "rows are unrelated",
        ),
    ] = None
    time: Annotated[
        str | None,
        _shown(
            "Column with the time of each row. Networks are trained on earlier rows and tested on later rows. The "
            "column is not an input.",
            "COLUMN",
            "no times",
        ),
    ] = None
    balanced: Annotated[
        bool, tyro.conf.arg(help="Give every class the same total weight, regardless of its number of rows.")
    ] = False
    quick: Annotated[
        bool,
        tyro.conf.arg(
            help="Search faster: try half of the strengths, and one network architecture instead of two. Other kinds "
            "of model are only trained if --any-model is given. Without --budget, the cross-validation runs once."
        ),
    ] = False
    epochs: Annotated[
        int | None, _shown("Number of training epochs.", "N", "20 to 500; the more rows, the fewer epochs")
    ] = None
    hidden: Annotated[
        tuple[int, ...],
        _shown(
            "Number of units of each hidden layer. If given, only this network is tried.",
            "N [N …]",
            "one layer of 32 units; without --quick, also a second network, with two layers of 32 units",
        ),
    ] = ()
    any_model: Annotated[
        bool,
        tyro.conf.arg(
            help="Use a linear model, boosted trees or a random forest as the final model if it scores higher than the "
            "networks. Without this option, these models are only compared with the networks."
        ),
    ] = False
    seed: Annotated[int, tyro.conf.arg(help="Seed for folds and initial weights.")] = 0
    out: Annotated[Path | None, _shown("Folder for all files that are written.", "FOLDER", "TABLE-search")] = None
    json: Json = False

    def __call__(self) -> None:
        """Run the search."""
        # The budget includes the start of Python and the import of JAX.
        started = time.perf_counter() - time.process_time()
        from jaxreg.lab.tabular import TableError, prepare
        from jaxreg.lab.tabular.arguments import called_by

        if not all(self.leave_out):
            raise ValueError("--leave-out has no value; expected one or more column names")
        leave_out = tuple(name for names in self.leave_out for name in names)
        # Check the table before importing JAX, which takes longer.
        try:
            with called_by("jaxreg search"):
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
                error.add_note(f"to run without these columns: {again}")
            raise

        from jaxreg.lab.cli import search
        from jaxreg.lab.search.clock import seconds

        search.search_table(
            table,
            started=started,
            budget=seconds(self.budget),
            quick=self.quick,
            epochs=self.epochs,
            hidden=self.hidden,
            any_model=self.any_model,
            balanced=self.balanced,
            seed=self.seed,
            out=self.out,
            as_json=self.json,
            reading={
                "target": self.target,
                "leave-out": sorted(leave_out),
                "names": self.names,
                "groups": self.groups,
                "time": self.time,
            },
        )


@dataclasses.dataclass(frozen=True)
class Predict:
    """Predict the target of each row of a table with a model from `jaxreg search`, and print CSV.

    Columns of the table are found by name, in any order. Id columns that the search ignored are copied to the output.

    Example: jaxreg predict patients-search/model.safetensors new.csv
    """

    model: Annotated[
        Positional[Path],
        tyro.conf.arg(metavar="MODEL", help="Model that `jaxreg search` wrote: model.safetensors, or its folder."),
    ]
    table: Annotated[
        Positional[Path], tyro.conf.arg(metavar="TABLE", help="Table as a .csv, .xlsx, .npz or .parquet file.")
    ]
    names: Names = ()
    out: Annotated[Path | None, _shown("CSV file for the predictions.", "FILE", "print to the terminal")] = None

    def __call__(self) -> None:
        """Print or write the predictions."""
        from jaxreg.lab.cli import predict

        predict.predict(self.model, self.table, self.out, self.names)


@dataclasses.dataclass(frozen=True)
class Version:
    """Print the versions of jaxreg and of the packages that affect its results.

    Example: jaxreg version --json
    """

    json: Json = False

    def __call__(self) -> None:
        """Print the versions."""
        import platform
        from importlib.metadata import version

        names = ("jaxreg", "jax", "jaxlib", "numpy", "flax", "optax")
        found: dict[str, Any] = {name: version(name) for name in names} | {"python": platform.python_version()}
        print(json.dumps(found) if self.json else "\n".join(f"{name} {value}" for name, value in found.items()))


_DESCRIPTION = """Weight regularisation and weight constraints: compare them in case studies or on your own table.

Start with: jaxreg run weight_regularization --quick

With your own table: jaxreg search data.csv --target y

Version of jaxreg: jaxreg --version (not listed below). Versions of all packages that affect results: jaxreg version

Tab completion in bash (or zsh): jaxreg --tyro-write-completion bash ~/.local/share/bash-completion/completions/jaxreg

Exit codes: 0 for success, 2 for bad input (explained in one line), 130 if stopped by Ctrl-C."""


def _check_filled(arguments: Sequence[str]) -> None:
    # An empty path would mean the current folder.
    for before, argument in zip(["", *arguments], arguments, strict=False):
        option = re.fullmatch(r"(--[\w-]+)=", argument)
        if option or not argument:
            what = option[1] if option else before if before.startswith("--") else "an argument"
            raise ValueError(
                f"{what} is empty; expected a value. If the value comes from a shell variable, set the variable"
            )


_SINGLE = ("search", "--target", "--groups", "--time")
"""Arguments that one path or name follows, which may contain spaces."""


def _unquoted(arguments: Sequence[str]) -> str:
    """Return advice to put a path or name with spaces in quotes, if a command line has such a one without; else ""."""
    words = [part for each in arguments for part in (each.split("=", 1) if each.startswith("--") else [each])]
    table_follows = not words[1:] or words[1].startswith("-")
    for place, word in enumerate(words):
        values = list(itertools.takewhile(lambda each: not each.startswith("-"), words[place + 1 :]))
        values = values[:-1] if table_follows else values
        if word in _SINGLE and len(values) > 1:
            option = f"{word} " if word.startswith("--") else ""
            return f"put a name that contains spaces in quotes: {option}{shlex.quote(' '.join(values))}"
    return ""


def _strike_again(unraised: Any) -> None:
    # Python discards exceptions that are raised in callbacks, such as those of JAX during garbage collection. If Ctrl-C
    # arrived there, send it again.
    if isinstance(unraised.exc_value, KeyboardInterrupt):
        threading.Timer(0.05, signal.raise_signal, (signal.SIGINT,)).start()
    else:
        sys.__unraisablehook__(unraised)


def _parsed() -> Any:
    try:
        return tyro.cli(
            List | Run | Report | Show | Watch | Search | Predict | Version,
            prog="jaxreg",
            description=_DESCRIPTION,
            config=(FlagCreatePairsOff, OmitArgPrefixes, OmitSubcommandPrefixes),
        )
    except SystemExit as stop:
        if stop.code == 2 and (advice := _unquoted(sys.argv[1:])):
            print(f"jaxreg: {advice}", file=sys.stderr)
        raise


def main() -> None:
    """Parse the command line and run the subcommand."""
    sys.unraisablehook = _strike_again
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # terminals without UTF-8 show the number of a character
    if sys.argv[1:] == ["--version"]:
        print(f"jaxreg {jaxreg.__version__}")
        return
    try:
        _check_filled(sys.argv[1:])
        try:
            command = _parsed()
            command()
        finally:
            if sys.stdout is not None:  # None if the shell closed the standard output
                sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output, such as head, has stopped reading
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (ValueError, OSError) as error:
        lines = [f"jaxreg: {error}", *getattr(error, "__notes__", [])]
        print(("\n" if "\n" in lines[0] else "; ").join(lines), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        print(f"jaxreg: {str(stop) or 'stopped'}", file=sys.stderr, flush=True)
        os._exit(130)  # sys.exit would wait for running chunks, which a second Ctrl-C should stop
