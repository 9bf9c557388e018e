"""What the commands `jaxreg search` and `jaxreg predict` do; `jaxreg_cli` parses them."""

import dataclasses
import hashlib
import json
import re
import shlex
import sys
import time
from pathlib import Path

import numpy as np

from jaxreg.lab import encoding, model_file, reading, search_report
from jaxreg.lab.compiled import keep_compiled
from jaxreg.lab.model_file import Model
from jaxreg.lab.net import Task
from jaxreg.lab.page import html
from jaxreg.lab.quote import Source
from jaxreg.lab.record import write_whole
from jaxreg.lab.search import Plan, check, planned, search


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is asked of a search.

    Args:
        target: Name of the column to foretell.
        task: What it is, or None to tell from the column.
        quick: Whether to try every other strength only, once.
        seed: Of folds and initial weights.
        budget: Seconds it may take, or None.
        out: Folder for all that is written, or None for one beside the table.
    """

    target: str
    task: Task | None = None
    quick: bool = False
    seed: int = 0
    budget: float | None = None
    out: Path | None = None


def search_table(file: Path, asked: Asked, *, as_json: bool = False) -> None:
    """Search the regulariser for a table, print the verdict, write report, model and trainings.

    Args:
        file: The table.
        asked: What is asked.
        as_json: Print JSON.
    """
    start = time.perf_counter()
    columns = reading.read(file)
    wanted = encoding.target(columns, asked.target, asked.task)
    encoded = encoding.learn(columns, asked.target)
    x, notes = encoded({name: values[wanted.rows] for name, values in columns.items()})
    notes = [*wanted.notes, *notes]
    if not as_json:
        classes = f": {', '.join(map(_class, wanted.classes))}" if wanted.classes else ""
        size = f"{len(x)} rows, {x.shape[1]} inputs, {wanted.task} of {asked.target}{classes}"
        print("\n".join([*notes, size]), flush=True)
    check(wanted.y, wanted.task, 5)
    out = asked.out or file.with_name(f"{file.stem}-search")
    command = shlex.join(["jaxreg", *sys.argv[1:]])
    plan = _plan(out, x, wanted.y, asked)
    keep_compiled()
    found = search(x, wanted.y, wanted.task, plan, store=out / "trainings")
    source = Source("search", found)
    told = search_report.summary(source) | {"notes": notes, "file": str(file), "command": command}
    model = Model(found.net, encoded, asked.target, wanted.task, wanted.classes, {"chosen": found.chosen.label})
    model_file.save(out / "model.safetensors", model)
    write_whole(out / "verdict.json", json.dumps(told, indent=1) + "\n")
    write_whole(
        out / "report.html",
        html(
            f"{file.name}: which regulariser?", search_report.blocks(source, out.resolve(), file.name, notes, command)
        ),
    )
    seconds = time.perf_counter() - start
    if as_json:
        print(json.dumps(told | {"out": str(out.resolve()), "seconds": seconds}))
        return
    print("\n".join([*search_report.lines(source), "", *told["verdict"]]))
    print(f"{told['nets']} nets in {seconds:.0f} s. Report, model, verdict and trainings are in {out.resolve()}")


def predict(model: Path, file: Path, out: Path | None) -> None:
    """Foretell the target for each row of a table: as CSV, printed or written.

    Args:
        model: What a search wrote.
        file: The table, with the model's columns by name, in any order.
        out: The file to write; printed if None.
    """
    if model.is_dir():
        model = model / "model.safetensors"
    loaded = model_file.load(model)
    x, notes = loaded.encoding(reading.read(file))
    for note in notes:
        print(f"jaxreg: {note}", file=sys.stderr)
    text = loaded.table(x)
    if out is None:
        print(text, end="")
    else:
        write_whole(out, text)


def _plan(out: Path, x: np.ndarray, y: np.ndarray, asked: Asked) -> Plan:
    """The plan of a search; that of the same search before, where there was one, for its trainings fit no other."""
    digest = hashlib.sha256(np.ascontiguousarray(x).tobytes() + np.ascontiguousarray(y).tobytes()).hexdigest()
    request = {"rows": digest, "quick": asked.quick, "seed": asked.seed, "budget": asked.budget}
    place = out / "plan.json"
    if place.exists():
        try:
            kept = json.loads(place.read_text("utf-8"))
            if kept["request"] == request:
                return Plan(**{**kept["plan"], "methods": tuple(kept["plan"]["methods"])})
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{place} is damaged: delete the folder {out}, or name another with --out") from None
        raise ValueError(
            f"{out} holds a search of other rows or with other options; name another folder with --out, or delete it"
        )
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"the folder {out} holds other files; name an empty one with --out")
    plan = planned(x.shape, asked.budget, quick=asked.quick, seed=asked.seed)
    write_whole(place, json.dumps({"request": request, "plan": dataclasses.asdict(plan)}))
    return plan


def _class(each: str | float) -> str:
    return each if isinstance(each, str) else f"{each:g}"


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
