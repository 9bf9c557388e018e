"""What the commands of `jaxreg` do; `jaxreg_cli` parses them."""

import ast
import dataclasses
import hashlib
import json
import math
import os
import re
import runpy
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

import jaxreg
from jaxreg.lab import encoding, model_file, reading, search_report, tables
from jaxreg.lab.blocks import Table, Text, numbers
from jaxreg.lab.compiled import keep_compiled
from jaxreg.lab.model_file import Model
from jaxreg.lab.net import Task
from jaxreg.lab.page import html
from jaxreg.lab.quote import Number, Source
from jaxreg.lab.record import write_whole
from jaxreg.lab.report import opened, report, write
from jaxreg.lab.search import Plan, check, planned, search
from jaxreg.lab.study import Study, run_study

_EXPERIMENTS = "experiments"


def run(
    names: Sequence[str], size: Mapping[str, int], out: Path | None, *, quick: bool = False, as_json: bool = False
) -> None:
    """Run case studies, print their tables and write one report of them.

    Args:
        names: Files with a `STUDY`, or their names among the experiments.
        size: What was asked for of the fields of `Size`; the rest is the study's own.
        out: Folder of the results; each study gets a folder of its name there.
        quick: Whether what was not asked for is that of a trial.
        as_json: Print JSON instead of tables.
    """
    start = time.perf_counter()
    studies = [find_study(name) for name in names]
    if not studies:
        raise ValueError(f"no case study named; there are {', '.join(experiments()) or 'none here'}")
    sizes = [dataclasses.replace(study.quick if quick else study.size, **size) for study in studies]
    folder = out or Path("results/quick" if quick else "results")
    keep_compiled()
    command = shlex.join(["jaxreg", *sys.argv[1:]])
    sources = {}
    for study, wanted in zip(studies, sizes, strict=True):
        place = folder / study.name
        sources[place] = Source(study.name, run_study(study, wanted, place, command))
        if not as_json:
            tables.print_source(sources[place])
            print()
    page = write(sources, _beside(list(sources)) / "report.html").resolve()
    if as_json:
        stores = {source.name: str(place.resolve()) for place, source in sources.items()}
        print(json.dumps({"results": stores, "report": str(page), "seconds": time.perf_counter() - start}))
    else:
        print(f"{time.perf_counter() - start:.0f} s. Results are in {folder.resolve()}; the report is\n{page}")


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
        print("\n".join([*notes, f"{len(x)} rows, {x.shape[1]} inputs, {wanted.task} of {asked.target}"]), flush=True)
    check(wanted.y, wanted.task, 5)
    out = asked.out or file.with_name(f"{file.stem}-search")
    command = shlex.join(["jaxreg", *sys.argv[1:]])
    plan = _plan(out, x, wanted.y, asked)
    keep_compiled()
    found = search(x, wanted.y, wanted.task, plan, store=out / "trainings")
    told = search_report.summary(found) | {"notes": notes, "file": str(file), "command": command}
    model = Model(found.net, encoded, asked.target, wanted.task, wanted.classes, {"chosen": found.chosen.label})
    model_file.save(out / "model.safetensors", model)
    write_whole(out / "verdict.json", json.dumps(told, indent=1) + "\n")
    write_whole(
        out / "report.html",
        html(f"{file.name}: which regulariser?", search_report.blocks(found, file.name, notes, command)),
    )
    seconds = time.perf_counter() - start
    if as_json:
        print(json.dumps(told | {"out": str(out.resolve()), "seconds": seconds}))
        return
    print("\n".join([*search_report.lines(found), "", *search_report.verdict(found)]))
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


def write_report(
    stores: Sequence[Path], form: Literal["html", "markdown"], out: Path | None, *, as_json: bool = False
) -> None:
    """Write the report of stored results and print its path.

    Args:
        stores: Folders of case studies or of training sweeps.
        form: What to write.
        out: The file; beside the results by default.
        as_json: Print JSON.
    """
    if not stores:
        raise ValueError("no store named; expected the folder of a case study or of a training sweep")
    file = out or _beside(stores) / ("report.html" if form == "html" else "report.md")
    page = str(report(stores, file, form).resolve())
    print(json.dumps({"report": page}) if as_json else page)


def show(store: Path, *, as_json: bool = False) -> None:
    """Print the tables of stored results.

    Args:
        store: Folder of a case study or of a training sweep.
        as_json: Print JSON: every number with the call that gives it.
    """
    (source,) = opened([store]).values()
    if not as_json:
        tables.print_source(source)
        return
    title, shown, note = tables.contents(source)
    print(json.dumps({"title": title, "tables": list(map(_plain, shown)), "note": "".join(map(str, note))}))


def list_all(as_json: bool = False) -> None:
    """Print the case studies that can be run and the results that are stored under ./results.

    Args:
        as_json: Print JSON.
    """
    runnable = [{"name": name, "file": str(file), "title": _first_line(file)} for name, file in experiments().items()]
    stored = [str(file.parent) for file in sorted(Path("results").glob("**/study.json"))]
    if as_json:
        print(json.dumps({"studies": runnable, "results": stored}))
        return
    for study in runnable:
        print(f"{study['name']:<28} {study['title']}")
    print(
        "\n".join(["", "Stored results (jaxreg show, jaxreg report):", *stored] if stored else ["", "No results yet."])
    )


def experiments() -> dict[str, Path]:
    """Name -> file of each case study in ./experiments, or else in the clone that jaxreg is installed from."""
    for root in (Path(), Path(jaxreg.__file__).parents[1]):
        if found := {file.stem: file for file in sorted((root / _EXPERIMENTS).glob("*.py")) if _defines_study(file)}:
            return found
    return {}


def find_study(name: str) -> Study:
    """The `STUDY` of a file or of an experiment.

    Args:
        name: A path that ends in ".py", or the name of an experiment.

    Raises:
        ValueError: If there is none.
    """
    file = Path(name) if name.endswith(".py") else experiments().get(name)
    if file is None or not file.is_file():
        known = ", ".join(experiments()) or "none here: run it in a clone, or give the path of a file with a STUDY"
        raise ValueError(f"no case study {name!r}; there are {known}")
    study = runpy.run_path(str(file)).get("STUDY")
    if not isinstance(study, Study):
        raise ValueError(f"{file} defines no STUDY; expected STUDY = jaxreg.lab.Study(...)")
    return study


def _defines_study(file: Path) -> bool:
    body = ast.parse(file.read_text("utf-8")).body
    targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    return any(isinstance(target, ast.Name) and target.id == "STUDY" for target in targets)


def _first_line(file: Path) -> str:
    return (ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "").split("\n")[0]


def _beside(folders: Sequence[Path]) -> Path:
    # One store has its report inside, several have it in the folder that holds them all.
    return folders[0] if len(folders) == 1 else Path(os.path.commonpath([folder.resolve() for folder in folders]))


def _plain(table: Table) -> dict[str, Any]:
    def cell(text: Text) -> Any:
        found = [_finite(number) for number in numbers(text)]
        return {"text": "".join(map(str, text)), "numbers": found} if found else "".join(map(str, text))

    rows = [dict(zip(table.columns, map(cell, row), strict=True)) for row in table.rows]
    return {"caption": "".join(map(str, table.caption)), "rows": rows}


def _finite(number: Number) -> dict[str, Any]:
    return {"value": number.value if math.isfinite(number.value) else None, "call": number.call}
