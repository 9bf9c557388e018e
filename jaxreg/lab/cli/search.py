"""The commands `jaxreg search` and `jaxreg predict`."""

import dataclasses
import hashlib
import json
import re
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxreg.lab.atomic_files import write_whole
from jaxreg.lab.report.html import html
from jaxreg.lab.report.provenance import Source
from jaxreg.lab.search import report as search_report
from jaxreg.lab.search.fitted_model import FittedModel, load, save
from jaxreg.lab.search.plan import Plan, planned
from jaxreg.lab.search.rows import check, different_inputs
from jaxreg.lab.search.run import search
from jaxreg.lab.sweeps.compilation import keep_compiled
from jaxreg.lab.sweeps.store import OtherSweepError
from jaxreg.lab.tabular import encoding
from jaxreg.lab.tabular.columns import Columns
from jaxreg.lab.tabular.encoding import Encoding, TaskName
from jaxreg.lab.tabular.files import read
from jaxreg.lab.training.tasks import CLASSES, NUMBERS


def search_table(
    file: Path,
    target: str,
    *,
    task: TaskName | None,
    budget: float | None,
    leave_out: Sequence[str],
    quick: bool,
    epochs: int | None,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Search the regulariser for a table, print the verdict, write report, model and trainings.

    Args:
        file: The table.
        target: Name of the column to predict.
        task: Kind of the target, or None to infer it from the column.
        budget: Seconds that the search may take, or None.
        leave_out: Names of columns that are no inputs.
        quick: Whether to try every other strength only, once.
        epochs: Epochs of each training, or None for as many as suit the number of rows.
        seed: Seed for the folds and the initial weights.
        out: Folder for the files that are written, or None for one beside the table.
        as_json: Whether to print JSON.
    """
    start = time.perf_counter()
    columns = _without(read(file, without=leave_out), leave_out, target)
    wanted = encoding.target(columns, target, task)
    encoded = encoding.learn(columns, target)
    x, notes = encoded({name: values[wanted.rows] for name, values in columns.items()})
    notes = [*wanted.notes, *(_words(name, columns[name], count) for name, count in encoded.words.items()), *notes]
    notes += [*_counting(columns, encoded), *_repeats(x)]
    if not as_json:
        classes = f": {', '.join(map(encoding.spoken, wanted.classes))}" if wanted.classes else ""
        size = f"{len(x)} rows, {x.shape[1]} inputs, {wanted.task} of {target}{classes}"
        print("\n".join([*notes, size]), flush=True)
    kind = CLASSES if wanted.classes else NUMBERS
    check(wanted.y, kind, Plan.folds)
    out = out or file.with_name(f"{file.stem}-search")
    command = shlex.join(["jaxreg", *sys.argv[1:]])
    plan = _plan(out, x, wanted.y, quick=quick, seed=seed, budget=budget, epochs=epochs)
    keep_compiled()
    try:
        found = search(x, wanted.y, kind, plan, store=out / "trainings")
    except OtherSweepError:  # of the same rows and options, as the plan was
        raise ValueError(
            f"{out} holds trainings by another version of jaxreg or of JAX, or on another kind of device, which don't "
            "go with new ones; name another folder with --out, or delete it"
        ) from None
    source = Source("search", found)
    told = search_report.summary(source) | {"notes": notes, "file": str(file), "command": command}
    model = FittedModel(found.net, encoded, target, wanted.task, wanted.classes, {"chosen": found.chosen.label})
    save(out / "model.safetensors", model)
    write_whole(out / "verdict.json", json.dumps(told, indent=1, allow_nan=False) + "\n")
    write_whole(
        out / "report.html",
        html(
            f"{file.name}: which regulariser?", search_report.blocks(source, out.resolve(), file.name, notes, command)
        ),
    )
    seconds = time.perf_counter() - start
    if as_json:
        print(json.dumps(told | {"out": str(out.resolve()), "seconds": seconds}, allow_nan=False))
        return
    print("\n".join([*search_report.lines(source), "", *told["verdict"]]))
    late = f", over the budget of {budget:g} s" if budget and seconds > budget else ""
    print(f"{told['nets']} nets in {seconds:.0f} s{late}. Report, model, verdict and trainings are in {out.resolve()}")


def _without(columns: Columns, leave_out: Sequence[str], target: str) -> Columns:
    for name in leave_out:
        if name not in columns:
            raise ValueError(f"--leave-out names {name!r}; there are {encoding.listed(list(columns))}")
    if target in leave_out:
        raise ValueError(f"--leave-out names the target, {target!r}; expected other columns")
    return {name: values for name, values in columns.items() if name not in leave_out}


def predict(model: Path, file: Path, out: Path | None) -> None:
    """Predict the target for each row of a table: as CSV, printed or written.

    Args:
        model: What a search wrote.
        file: The table, with the model's columns by name, in any order.
        out: The file to write; printed if None.
    """
    if model.is_dir():
        model = model / "model.safetensors"
    loaded = load(model)
    for given in (model, file):
        if out is not None and out.exists() and given.exists() and out.samefile(given):
            raise ValueError(f"--out {out} is {given}, which would be lost; name another file")
    x, notes = loaded.encoding(read(file, loaded.encoding.kinds))
    for note in notes:
        print(f"jaxreg: {note}", file=sys.stderr)
    text = loaded.table(x)
    if out is None:
        print(text, end="")
    else:
        write_whole(out, text)


def _plan(
    out: Path, x: np.ndarray, y: np.ndarray, *, quick: bool, seed: int, budget: float | None, epochs: int | None
) -> Plan:
    """Return the plan of a search: that of the same search before, if there was one, as its trainings fit no other."""
    digest = hashlib.sha256(np.ascontiguousarray(x).tobytes() + np.ascontiguousarray(y).tobytes()).hexdigest()
    request = {"rows": digest, "quick": quick, "seed": seed, "budget": budget}
    request |= {} if epochs is None else {"epochs": epochs}
    place = out / "plan.json"
    if place.exists():
        try:
            kept = json.loads(place.read_text("utf-8"))
            if kept["request"] == request:
                return Plan(**kept["plan"])
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{place} is damaged: delete the folder {out}, or name another with --out") from None
        raise ValueError(
            f"{out} holds a search of other rows or with other options; name another folder with --out, or delete it"
        )
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; name a folder")
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"the folder {out} holds other files; name an empty one with --out")
    plan = planned(x.shape, budget, quick=quick, seed=seed, epochs=epochs)
    try:
        write_whole(place, json.dumps({"request": request, "plan": dataclasses.asdict(plan)}))
    except OSError as error:
        error.add_note("name another folder with --out")
        raise
    return plan


def _words(name: str, cells: np.ndarray, count: int) -> str:
    told = f"{name}: {count} different words, each an input"
    odd = [place for place, cell in enumerate(cells) if cell is not None and not encoding.is_number(cell)]
    if not odd or len(odd) > len(cells) / 2:
        return told
    # Which cell keeps a column of numbers from being one.
    numbers = f"{len(cells) - len(odd)} of {len(cells)} cells are numbers or missing"
    return f"{told}; {numbers}, row {odd[0] + 1} is {cells[odd[0]]!r}"


def _counting(columns: Columns, encoded: Encoding) -> list[str]:
    # Where rows are sorted by the target, their number tells it, and no new row will be so numbered.
    names = [column.name for column in encoded.columns if not column.categories]
    return [
        f"{name} counts the rows: leave it out by --leave-out, unless their order means something"
        for name in names
        if len(columns[name]) > 2 and (np.diff(columns[name]) == 1).all()
    ]


def _repeats(x: np.ndarray) -> list[str]:
    different, often = different_inputs(x, Plan.folds)
    if different == len(x):
        return []
    told = f"{len(x)} rows have {different} different inputs: "
    if often:
        return [told + "equal ones are dealt to the folds one by one, as new rows will mostly be like them"]
    return [told + "equal ones stay in one fold, so that none is tested on what it was trained on"]


def seconds(words: str | None) -> float | None:
    """The seconds of a duration such as 60s, 2m or 1h.

    Args:
        words: The duration, or None.

    Raises:
        ValueError: If it is none.

    Example:
        >>> seconds("2m")
        120.0
    """
    if words is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", words.strip())
    if found is None or float(found[1]) <= 0:
        raise ValueError(f"the budget is {words!r}; expected a duration such as 60s, 5m or 1h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]
