"""The command `jaxreg search`."""

import dataclasses
import hashlib
import json
import math
import shlex
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxreg.lab.atomic_files import write_whole
from jaxreg.lab.report.document import Paragraph
from jaxreg.lab.report.html import html
from jaxreg.lab.report.provenance import Source
from jaxreg.lab.report.terminal import print_blocks, print_forest, print_table
from jaxreg.lab.search import report as search_report
from jaxreg.lab.search.candidates import METHODS, NONE, PROMISING
from jaxreg.lab.search.changes import forest
from jaxreg.lab.search.clock import SPARE, Clock
from jaxreg.lab.search.fitted_model import save
from jaxreg.lab.search.plan import COMPILATION, START, Plan, plan_ladder, planned, training_seconds
from jaxreg.lab.search.rows import check, different_inputs
from jaxreg.lab.search.run import NETS, Caller, Search, fitted_model, search
from jaxreg.lab.sweeps.compilation import keep_compiled
from jaxreg.lab.sweeps.store import OtherSweepError
from jaxreg.lab.tabular.encoding import spoken
from jaxreg.lab.tabular.prepared import Prepared
from jaxreg.lab.training.tasks import CLASSES, NUMBERS

RIVALS = 1.0
"""Seconds that an idle machine takes to train and test the other kinds of model on a small table."""

MOST_SLOW = 3.0
"""Largest slowness of the machine with which the duration of the last steps is predicted. A start that was even slower
read the packages from the disk for the first time."""


def search_table(
    table: Prepared,
    *,
    started: float,
    budget: float | None,
    quick: bool,
    epochs: int | None,
    hidden: Sequence[int],
    any_model: bool,
    balanced: bool,
    seed: int,
    out: Path | None,
    as_json: bool,
    reading: Mapping[str, Any],
) -> None:
    """Search for the best regulariser on a table, print the verdict, and write the report, model and training runs.

    Args:
        table: Table with inputs and target.
        started: Start time of the command, measured by `time.perf_counter`.
        budget: Time limit in seconds; None for no limit.
        quick: True to try only every second strength and only one network. Without a budget, there is then one repeat.
        epochs: Number of training epochs. If None, it depends on the number of rows.
        hidden: Number of units of each hidden layer; empty for the default networks.
        any_model: True to keep another kind of model, such as boosted trees, if it scores higher than the networks.
        balanced: True to give all classes the same total weight.
        seed: Seed for the folds and the initial weights.
        out: Folder for the files that are written. If None, a folder next to the table.
        as_json: True to print JSON instead of text.
        reading: Name -> value of the options that decide how the table is read, such as `leave-out`.
    """
    start = time.perf_counter()
    file, x, wanted = table.file, table.x, table.target
    left, slowness = None, 1.0
    if budget is not None:
        took = start - started
        speed = max(1.0, took / START)  # above 1 on a busy machine
        slowness = min(MOST_SLOW, speed)
        left = (budget - took - slowness * (RIVALS if any_model or not quick else 0)) / speed
        if (budget - took) / slowness < COMPILATION:
            least = took + slowness * COMPILATION
            raise ValueError(
                f"the budget of {budget:g} s is too short: the shortest search takes about {math.ceil(least)} s, "
                f"including {took:.0f} s to start the command. Use --budget {math.ceil(SPARE * least)}s, or --quick "
                "without --budget"
            )
    notes = [*table.notes, *([] if table.groups is not None or table.time is not None else _repeats(x))]
    if balanced:
        notes.append("all classes have the same weight, so the accuracy is the mean of the accuracies of the classes")
    if not as_json:
        classes = f": {', '.join(map(spoken, wanted.classes))}" if wanted.classes else ""
        size = f"{len(x)} rows, {x.shape[1]} inputs, {wanted.task} of {table.name}{classes}"
        print("\n".join([*notes, size]), flush=True)
    kind = CLASSES if wanted.classes else NUMBERS
    check(wanted.y, kind, Plan.folds)
    if balanced and not wanted.classes:
        raise ValueError(f"--balanced needs classes, but the target {table.name} contains numbers. Remove --balanced")
    out = out or file.with_name(f"{file.stem}-search")
    command = shlex.join(["jaxreg", *sys.argv[1:]])
    weights = len(wanted.y) / len(wanted.classes) / np.bincount(wanted.y)[wanted.y] if balanced else None
    apart = [each for each in (table.groups, table.time, weights) if each is not None]
    folder = _Folder(out)
    ladder = plan_ladder(x.shape, quick=quick, seed=seed, epochs=epochs, hidden=hidden)
    request = {"rows": _digest([x, wanted.y, *apart]), "quick": quick, "seed": seed, "budget": budget}
    request |= ({} if epochs is None else {"epochs": epochs}) | ({"hidden": [*hidden]} if hidden else {})
    request["table"] = {name: str(value) for name, value in {**reading, "balanced": balanced}.items()}
    plan = folder.begin(request, planned(x.shape, left, ladder), x.shape)
    if not as_json and folder.told:
        print(folder.told, flush=True)
    # Nothing is trained if the folder contains a search with at least this budget. Its trainings had that budget.
    spent, repeats = folder.finished() if budget is not None else (None, None)
    before = folder.trainings()
    if budget is None or spent is None or spent < budget:
        spent, repeats = budget, None
    keep_compiled()
    try:
        found = search(
            x,
            wanted.y,
            kind,
            plan,
            weights=weights,
            groups=table.groups,
            time=table.time,
            store=out / "trainings",
            rivals=not quick or any_model,
            any_model=any_model,
            blocks=None if quick else table.encoding.blocks,
            clock=None
            if budget is None
            else Clock(
                budget,
                started,
                slowness=slowness,
                ladder=ladder,
                shortened=folder.replace,
                finished=repeats,
            ),
        )
    except OtherSweepError:  # rows and options are equal, because `_differences` has compared them
        raise ValueError(
            f"{out} contains training runs of another version of jaxreg or JAX, or of another type of device. The old "
            f"runs cannot be combined with new runs. Name another folder with --out, or delete {out}"
        ) from None
    except ValueError:
        folder.undo()
        raise
    found = dataclasses.replace(
        found,
        columns=tuple(column.name for column in table.encoding.columns),
        model=fitted_model(found, table),
        notes=tuple(notes),
        caller=Caller("command", budget is not None),
    )
    source = Source("search", found)
    told = search_report.summary(source) | {"notes": notes, "file": str(file), "command": command}
    told |= _details(found, table)
    if budget is not None:
        told["budget"] = budget
        told["trained_within"] = spent
        told["left_out"] = _left_out(found, quick=quick, asked=epochs, usual=Plan().passes(len(x))[0])
    replaced = _replaced(out, found)
    after = folder.trainings()
    assert found.model is not None
    save(out / "model.safetensors", found.model)
    write_whole(
        out / "folds.json", json.dumps(search_report.folds(found, apart=budget is not None), allow_nan=False) + "\n"
    )
    write_whole(out / "verdict.json", json.dumps(told, indent=1, allow_nan=False) + "\n")
    write_whole(
        out / "report.html",
        html(
            f"{file.name}: which regulariser?", search_report.blocks(source, out.resolve(), file.name, notes, command)
        ),
    )
    seconds = time.perf_counter() - started
    if as_json:
        print(json.dumps(told | {"out": str(out.resolve()), "seconds": seconds}, allow_nan=False))
        return
    print_table(search_report.table(source))
    print("<: the chosen candidate\n")
    print_blocks([Paragraph(sentence, lead=not place) for place, sentence in enumerate(search_report.verdict(source))])
    print_forest(forest(source))
    if "importance" in told:
        columns = ", ".join(list(told["importance"])[:5])
        whose = "" if found.kept == NETS else " for the nets"
        print(f"Most important columns{whose}, by the increase of the loss when a column is permuted: {columns}")
    if budget is not None:
        count = f"{found.plan.repeats} repeat{'s' if found.plan.repeats > 1 else ''} within the budget of {spent:g} s"
        count += f" of an earlier run, which the budget of {budget:g} s does not shorten" if spent != budget else ""
        print(f"{count}. Omitted to save time: {', '.join(told['left_out']) or 'nothing'}")
    trained = f"Trained {told['nets']} nets"
    if before & after:
        trained = f"Reused the finished training of {'some of the' if after - before else 'all'} {told['nets']} nets,"
    print(f"{trained} in {_took(seconds, budget)}.{replaced}")
    print(f"Report, model, verdict and training runs are in {out.resolve()}")


def _took(seconds: float, budget: float | None) -> str:
    """Return the time of the command as text, and the budget if the displayed time exceeds it."""
    late = budget is not None and round(seconds) > budget
    return f"{round(seconds)} s" + (f", over the budget of {budget:g} s" if late else "")


def _replaced(out: Path, found: Search) -> str:
    """Return a sentence about the results of an earlier run that are replaced; empty for a folder without results."""
    place = out / "verdict.json"
    if not place.exists():
        return ""
    before = json.loads(place.read_text("utf-8")).get("model", found.kept)
    kinds = f". The model was of type {before}, now it is of type {found.kept}" if before != found.kept else ""
    return f" Report, verdict and model of the earlier run were replaced{kinds}."


def _details(found: Search, table: Prepared) -> dict[str, Any]:
    """Return importances by column name, the largest first, and recall and AUC by class, of the nets, as plain JSON."""
    if found.details is None:
        return {}
    names = [column.name for column in table.encoding.columns]
    known = [pair for pair in zip(names, found.details.importance, strict=True) if np.isfinite(pair[1].error)]
    order = sorted(known, key=lambda pair: -pair[1].mean)
    told: dict[str, Any] = {
        "details_of": NETS,
        "importance": {name: {"mean": gain.mean, "error": gain.error} for name, gain in order},
    }
    if table.target.classes:
        pairs = zip(table.target.classes, found.details.recall.tolist(), found.details.auc.tolist(), strict=True)
        told["classes"] = {spoken(name): {"recall": _known(recall), "auc": _known(auc)} for name, recall, auc in pairs}
    return told


def _known(number: float) -> float | None:
    return number if np.isfinite(number) else None


def _digest(rows: Sequence[np.ndarray]) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(each).tobytes() for each in rows)).hexdigest()


class _Folder:
    """Folder of a search, with the plan of its training runs.

    Args:
        out: Path of the folder.
    """

    def __init__(self, out: Path) -> None:
        self.out, self.place = out, out / "plan.json"
        self.told = ""
        self._request: dict[str, Any] = {}
        self._before: str | None = None
        self._fresh = False

    def begin(self, request: dict[str, Any], plan: Plan, shape: tuple[int, ...]) -> Plan:
        """Return the stored plan if the folder contains this search already. Otherwise, store and return `plan`.

        Searches that differ only in the budget count as the same search. A budget of at least twice the stored budget
        starts the search again, if it allows a longer plan.

        Args:
            request: Rows and options of the search.
            plan: Plan of a new search.
            shape: Number of rows and number of inputs.

        Raises:
            ValueError: If the folder contains another search or other files.
        """
        out, self._request = self.out, request
        if self.place.exists():
            text = self.place.read_text("utf-8")
            try:
                kept = json.loads(text)
                before, stored = kept["request"], Plan(**kept["plan"])
                other = _differences(before, request)
            except (ValueError, KeyError, TypeError, AttributeError):
                raise ValueError(
                    f"the file {self.place} is damaged. Delete the folder {out}, or name another folder with --out"
                ) from None
            if other:
                raise ValueError(
                    f"{out} contains an earlier search with different {other}. To continue the earlier search, use its "
                    "rows and options. For a new search, name another folder with --out"
                )
            # A search of an older version has all methods of that version; only a short budget has fewer.
            whole = not {*stored.methods} <= {NONE, *PROMISING}
            same = dataclasses.replace(plan, methods=stored.methods) if whole else plan
            longer = training_seconds(shape, same) > training_seconds(shape, stored)
            if request["budget"] is None or not longer or request["budget"] < 2 * before["budget"]:
                return stored
            self._before = text
            self.told = (
                f"{out} contains a shorter search, with a budget of {before['budget']:g} s. The new search replaces it"
            )
        elif out.exists() and not out.is_dir():
            raise ValueError(f"--out {out} is a file; expected a folder")
        elif out.exists() and any(out.iterdir()):
            raise ValueError(
                f"{out} contains files, but no search; expected an empty folder. Name an empty folder with --out"
            )
        try:
            self.replace(plan)
        except OSError as error:
            error.add_note("name another folder with --out")
            raise
        self._fresh = True
        return plan

    def replace(self, plan: Plan) -> None:
        """Replace the stored plan of a search, and remove the training runs of the old plan.

        Args:
            plan: The new plan.
        """
        self._clear()
        write_whole(self.place, json.dumps({"request": self._request, "plan": dataclasses.asdict(plan)}))

    def finished(self) -> tuple[float | None, int | None]:
        """Return the budget and the number of repeats of a finished search; (None, None) without a finished search."""
        verdict, folds = self.out / "verdict.json", self.out / "folds.json"
        if self._fresh or not (verdict.exists() and folds.exists()):
            return None, None
        try:
            told, kept = (json.loads(file.read_text("utf-8")) for file in (verdict, folds))
            return told.get("trained_within", told.get("budget")), kept.get("repeats")
        except (ValueError, AttributeError):  # damaged, and written again
            return None, None

    def trainings(self) -> set[tuple[Path, int]]:
        """Return the files of finished training runs, with the time of their last change."""
        return {(file, file.stat().st_mtime_ns) for file in self.out.glob("trainings*/chunk-*")}

    def undo(self) -> None:
        """Remove the plan and the training runs of a failed search. The report of an earlier search is kept."""
        if not self._fresh:
            return
        self._clear()
        if self._before is not None:
            write_whole(self.place, self._before)
            return
        self.place.unlink()
        if not any(self.out.iterdir()):
            self.out.rmdir()

    def _clear(self) -> None:
        for trainings in self.out.glob("trainings*"):
            shutil.rmtree(trainings)
        if (folds := self.out / "folds.json").exists():  # results of these training runs
            folds.unlink()


def _differences(before: dict[str, Any], request: dict[str, Any]) -> str:
    """Return the names of what differs between two requests, such as "rows" or "options (--epochs)".

    Options that decide how the table is read are named only if the rows differ, too.
    """
    timed = [{**each, "budget": each["budget"] is not None} for each in (before, request)]
    names = [name for name in {**before, **request} if timed[0].get(name) != timed[1].get(name)]
    options = [name for name in names if name not in ("rows", "table")]
    if "rows" in names:
        old, new = before.get("table", {}), request["table"]  # older versions have not stored these options
        options = [name for name in new if name in old and old[name] != new[name]] + options
    rows = ["rows"] if "rows" in names else []
    listed = ", ".join(f"--{name}" for name in options)
    return " or ".join([*([f"options ({listed})"] if options else []), *rows])


def _left_out(found: Search, *, quick: bool, asked: int | None, usual: int) -> list[str]:
    """Return descriptions of the parts of a search that were omitted to fit the budget."""
    plan = found.plan
    left = [] if quick or not plan.quick else ["every second strength"]
    if {*plan.methods} == {NONE, *PROMISING}:
        left.append(f"the methods {', '.join(method for method in METHODS if method not in plan.methods)}")
    if not (quick or plan.hidden) and all(each.shape is None for each in found.tried):
        left.append("another net on coded numbers")
    if not asked and plan.epochs and plan.epochs < usual:
        left.append(f"{usual - plan.epochs} of {usual} epochs")
    if plan.repeats < Plan.repeats and not (quick or found.setting.forward):
        left.append("a second repeat")
    return left


def _repeats(x: np.ndarray) -> list[str]:
    different, often = different_inputs(x, Plan.folds)
    if different == len(x):
        return []
    told = f"the {len(x)} rows have {different} distinct combinations of inputs. Rows with equal inputs "
    if often:
        return [told + "may be in different folds, because most new rows will have the inputs of a known row"]
    return [told + "stay in one fold, so that no net is tested on inputs that it was trained on"]
