"""The commands for case studies: list, run, report and show. Each command imports what it needs only when it runs."""

import ast
import dataclasses
import json
import runpy
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import jaxreg
from jaxreg.lab.atomic_files import write_whole

if TYPE_CHECKING:
    from jaxreg.lab.report.provenance import Source
    from jaxreg.lab.studies.study import Study

_VERDICT = "verdict.txt"


def run(
    names: Sequence[str], size: Mapping[str, int], out: Path | None, *, quick: bool = False, as_json: bool = False
) -> None:
    """Run case studies, print their tables and write a single report.

    Args:
        names: Names of case studies, or Python files that define a `STUDY`.
        size: Numbers of seeds, draws or epochs to use instead of those of the study: field of `Size` -> number.
        out: Folder for the results. It gets one subfolder per study. None for the folder "results", or "results/quick"
            if `quick` is true.
        quick: True to use the study's trial size instead of its full size.
        as_json: True to print JSON instead of tables: the folders of the results, and the path of the report.
    """
    for name, number in size.items():
        if number < 1:  # before the seconds that imports take
            raise ValueError(f"--{name} is {number}; expected a whole number of at least 1")
    from jaxreg.lab.report.compose import beside, write
    from jaxreg.lab.report.provenance import Source
    from jaxreg.lab.report.terminal import print_source, print_verdict
    from jaxreg.lab.studies.results import NONE
    from jaxreg.lab.studies.runner import run_study
    from jaxreg.lab.sweeps.compilation import keep_compiled

    start = time.perf_counter()
    studies = [find_study(name) for name in names]
    if not studies:
        raise ValueError(
            f"no case study given; expected one or more of "
            f"{', '.join(experiments()) or 'your own files that define a STUDY'}"
        )
    for study in studies:
        if not any(NONE in arm.labels() for arm in study.arms):
            raise ValueError(
                f"study {study.name!r} has no baseline to compare with. Add Arm({NONE!r}, Recipe)"
                " or a strength that has no effect: 0 for a penalty, infinity for a constraint"
            )
    sizes = [dataclasses.replace(study.quick if quick else study.size, **size) for study in studies]
    folder = out or Path("results/quick" if quick else "results")
    keep_compiled()
    command = shlex.join(["jaxreg", *sys.argv[1:]])
    sources = {}
    for study, study_size in zip(studies, sizes, strict=True):
        store = folder / study.name
        sources[store] = Source(study.name, run_study(study, study_size, store, command))
        if not as_json:
            print_source(sources[store])
            print()
    page = write(sources, beside(list(sources)) / "report.html").resolve()
    _keep_verdicts(sources)
    if as_json:
        stores = {source.name: str(store.resolve()) for store, source in sources.items()}
        print(json.dumps({"results": stores, "report": str(page), "seconds": time.perf_counter() - start}))
    else:
        print_verdict(list(sources.values()))
        print(f"\n{time.perf_counter() - start:.0f} s. Results are in {folder.resolve()}. The report is\n{page}")


def write_report(
    stores: Sequence[Path],
    form: Literal["html", "markdown"],
    out: Path | None,
    *,
    baseline: float | None = None,
    as_json: bool = False,
) -> None:
    """Write a report of stored results and print the path of the report.

    Args:
        stores: Folders of case studies or training sweeps.
        form: Format of the report.
        out: File to write; None for a file in the folder of the results, or in the common parent of several folders.
        baseline: For a sweep, the value on its axis that means no regulariser, such as 0. None for the default of
            `jaxreg.lab.report`.
        as_json: True to print the path of the report as JSON.
    """
    from jaxreg.lab.report.compose import report

    if not stores:
        raise ValueError("no folder given; expected a folder with the results of a case study or training sweep")
    given = {} if baseline is None else {"baseline": baseline}
    page = str(report(stores, out, form, **given).resolve())
    print(json.dumps({"report": page}) if as_json else page)


def show(store: Path, *, as_json: bool = False) -> None:
    """Print the tables of stored results of a case study or a training sweep.

    Args:
        store: Folder of a case study or training sweep.
        as_json: True to print JSON. For each number, the JSON contains the Python call that computes the number.
    """
    from jaxreg.lab.report import tables
    from jaxreg.lab.report.document import as_plain
    from jaxreg.lab.report.provenance import opened
    from jaxreg.lab.report.terminal import print_source, print_verdict
    from jaxreg.lab.studies.results import is_study

    (source,) = opened([store]).values()
    if not as_json:
        print_source(source)
        if is_study(store):
            print()
            print_verdict([source])
        return
    title, shown, note = tables.contents(source)
    print(json.dumps({"title": title, "tables": list(map(as_plain, shown)), "note": "".join(map(str, note))}))


def list_all(as_json: bool = False) -> None:
    """Print the case studies that can be run, and the results that are stored below ./results.

    Args:
        as_json: True to print JSON instead of text.
    """
    runnable = [{"name": name, "file": str(file), "title": _first_line(file)} for name, file in experiments().items()]
    stored = [_stored(file) for file in sorted(Path("results").glob("**/study.json"))]
    if as_json:
        print(json.dumps({"studies": runnable, "results": [each["folder"] for each in stored], "stored": stored}))
        return
    for study in runnable:
        print(f"{study['name']:<28} {study['title']}")
    print("\nStored results (jaxreg show, jaxreg report):" if stored else "\nNo results yet.")
    for each in stored:
        print(f"{each['folder']}\n    {each['date']}, {each['size']}: {each['verdict']}")


def _keep_verdicts(sources: "Mapping[Path, Source]") -> None:
    """Write the advice of each case study to a file in its results, from which `jaxreg list` reads it."""
    from jaxreg.lab.report.verdict import advice

    for store, source in sources.items():
        write_whole(store / _VERDICT, "".join(map(str, advice(source))) + "\n")


def _stored(file: Path) -> dict[str, str]:
    """Return folder, date, size and verdict of stored results, read from small files.

    Args:
        file: File `study.json` of the results.
    """
    folder = file.parent
    date = datetime.fromtimestamp(file.stat().st_mtime).strftime("%Y-%m-%d %H:%M")
    kept = folder / _VERDICT
    told = (
        kept.read_text("utf-8", "replace").strip()
        if kept.is_file()
        else f"to see the verdict, run jaxreg show {folder}"
    )
    return {"folder": str(folder), "date": date, "size": _size(folder), "verdict": told}


def _size(folder: Path) -> str:
    """Return the numbers of recipes, seeds and draws of stored results as text, read from their manifests."""
    try:
        manifests = [json.loads(file.read_text("utf-8")) for file in sorted(folder.glob("fresh/*/manifest.json"))]
        recipes = sum(each["dims"].get("strength", 1) for each in manifests)
        dims = manifests[0]["dims"]
        sizes = {"recipe": recipes, "seed": dims["seed"], "draw": dims["draw"]}
        return ", ".join(f"{count} {name}{'s' * (count > 1)}" for name, count in sizes.items())
    except (
        OSError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
    ):  # a manifest is damaged or does not exist yet
        return "not finished"


def experiments() -> dict[str, Path]:
    """Return all available case studies as a dict: name -> file.

    The studies in ./experiments are returned. If that folder contains no study, the studies that come with jaxreg are
    returned.
    """
    package = Path(jaxreg.__file__).parent
    for folder in (Path("experiments"), package.parent / "experiments", package / "experiments"):
        files = sorted([*folder.glob("*.py"), *folder.glob("studies/*.py")])
        if studies := {file.stem: file for file in files if _defines_study(file)}:
            return studies
    return {}


def find_study(name: str) -> "Study":
    """Load the file of a case study and return the `Study` that it defines as `STUDY`.

    Args:
        name: Name of a case study, or path of a file that ends in ".py".

    Raises:
        ValueError: If the file or its `STUDY` does not exist.
    """
    from jaxreg.lab.studies.study import Study

    file = Path(name) if name.endswith(".py") else experiments().get(name)
    if file is None or not file.is_file():
        names = ", ".join(experiments()) or "the path of a Python file that defines a STUDY"
        raise ValueError(f"there is no case study {name!r}; expected {names}")
    study = runpy.run_path(str(file)).get("STUDY")
    if not isinstance(study, Study):
        raise ValueError(f"{file} defines no STUDY; expected STUDY = jaxreg.lab.Study(...)")
    return study


def _defines_study(file: Path) -> bool:
    try:
        body = ast.parse(file.read_text("utf-8")).body
    except (SyntaxError, ValueError) as error:  # not Python, or not text
        print(f"jaxreg: skipped {file}, because it is not valid Python: {error}", file=sys.stderr)
        return False
    targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    return any(isinstance(target, ast.Name) and target.id == "STUDY" for target in targets)


def _first_line(file: Path) -> str:
    return (ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "").split("\n")[0]
