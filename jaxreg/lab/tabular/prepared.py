"""`prepare`: a file as inputs and target, with all that there is to tell, or all its problems in one answer."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxreg.lab.tabular.columns import Columns, find
from jaxreg.lab.tabular.encoding import FEW_ROWS, Encoding, Problem, Target, TaskName, examine, listed, target
from jaxreg.lab.tabular.files import opened
from jaxreg.lab.tabular.leaks import leaks
from jaxreg.lab.tabular.order import group_codes, moments, neighbours_alike


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """A table as inputs and target.

    Args:
        file: Where it comes from.
        name: Name of the target.
        x: Inputs, of shape (rows, inputs).
        target: The target.
        encoding: How columns became inputs.
        notes: What to tell about the table.
        groups: Number of the group of each row, if rows belong together.
        time: Moment of each row, if later rows are to be predicted from earlier ones.
    """

    file: Path
    name: str
    x: np.ndarray
    target: Target
    encoding: Encoding
    notes: tuple[str, ...]
    groups: np.ndarray | None = None
    time: np.ndarray | None = None


class TableError(ValueError):
    """A table that cannot be used as it is.

    Args:
        sentences: What is wrong with it.
        leave_out: Columns whose leaving out would help.
    """

    def __init__(self, sentences: Sequence[str], leave_out: Sequence[str]):
        super().__init__("; ".join(sentences))
        self.leave_out = tuple(leave_out)


def prepare(
    file: Path,
    name: str,
    task: TaskName | None = None,
    *,
    leave_out: Sequence[str] = (),
    names: Sequence[str] = (),
    groups: str | None = None,
    time: str | None = None,
) -> Prepared:
    """Read a table and encode its columns.

    Args:
        file: The table.
        name: Name of the target.
        task: What is to be learnt; told from the target if None.
        leave_out: Names of columns to leave out of the inputs.
        names: Names of the columns, for a file without a heading.
        groups: Name of a column that is equal in rows that belong together, such as those of one person; no input.
        time: Name of a column that tells when a row was measured; no input.

    Raises:
        FileNotFoundError: If there is no such file.
        TableError: If the table cannot be used: with all that is wrong with it.
    """
    columns = opened(file, without=leave_out, names=names)
    return prepare_columns(columns, file, name, task, leave_out=leave_out, groups=groups, time=time)


def prepare_columns(
    columns: Columns,
    file: Path,
    name: str,
    task: TaskName | None = None,
    *,
    leave_out: Sequence[str] = (),
    groups: str | None = None,
    time: str | None = None,
) -> Prepared:
    """Encode the columns of a table, as `prepare` does.

    Args:
        columns: The table.
        file: Path of the file, or a name for the table.
        name: Name of the target.
        task: What is to be learnt; told from the target if None.
        leave_out: Names of columns to leave out of the inputs.
        groups: Name of a column that is equal in rows that belong together; no input.
        time: Name of a column that tells when a row was measured; no input.

    Raises:
        TableError: If the table cannot be used: with all that is wrong with it.
    """
    problems = [Problem(sentence) for sentence in columns.problems]
    for given in leave_out:
        if (known := find(columns, given)) is None:
            problems.append(Problem(f"--leave-out names {given!r}; there are {listed(list(columns))}"))
        elif known == find(columns, name):
            problems.append(Problem(f"--leave-out names the target, {known!r}; expected other columns"))
        else:
            del columns[known]
    known = find(columns, name)
    taken = {}
    for option, asked in (("--groups", groups), ("--time", time)):
        if asked is None:
            continue
        if (place := find(columns, asked)) is None:
            problems.append(Problem(f"{option} names {asked!r}; there are {listed(list(columns))}"))
        elif place == known:
            problems.append(Problem(f"{option} names the target, {known!r}; expected another column"))
        else:
            taken[option] = place, columns.pop(place)
    wanted = None
    try:
        wanted = target(columns, known or name, task)
        if len(wanted.rows) < FEW_ROWS:
            problems.append(
                Problem(f"{len(wanted.rows)} rows of {file.name} have a target; expected {FEW_ROWS} at least")
            )
    except ValueError as error:
        problems.append(Problem(str(error) + _way_out(columns, known, file.name)))
    learnt = examine(columns, known or name)
    problems += learnt.problems
    codes = moment = None
    try:
        codes = group_codes(*taken["--groups"]) if "--groups" in taken else None
        moment = moments(*taken["--time"], columns.decimal) if "--time" in taken else None
    except ValueError as error:
        problems.append(Problem(str(error)))
    if problems or wanted is None or known is None:
        again = [problem.leave_out for problem in problems if problem.leave_out is not None]
        raise TableError([problem.sentence for problem in problems], again)
    rows = Columns({column: values[wanted.rows] for column, values in columns.items()})
    rows.decimal = columns.decimal
    x, _ = learnt.encoding(rows)
    notes = [*columns.notes, *wanted.notes, *learnt.notes, *_counting(columns, learnt.encoding)]
    notes += [
        f"{column} alone tells {known} in all {len(x)} rows: is it known before {known} is? If not, leave it out by "
        "--leave-out"
        for column in leaks(columns, learnt.encoding, wanted)
    ]
    codes, moment = (None if each is None else each[wanted.rows] for each in (codes, moment))
    if codes is None and moment is None:
        notes += _depending(neighbours_alike(x, wanted.y, classes=bool(wanted.classes)))
    return Prepared(file, known, x, wanted, learnt.encoding, tuple(notes), codes, moment)


def _depending(share: float | None) -> list[str]:
    if share is None:
        return []
    return [
        f"rows that follow each other are alike (their distance is {share:.2f} of that of others): if they belong "
        "together, as those of one person or one day do, name the column that tells by --groups or --time; else the "
        "estimate is too good"
    ]


def _way_out(columns: Columns, known: str | None, name: str) -> str:
    if known is not None or columns.headed:
        return ""
    made_up = " ".join(list(columns)[:8])
    return (
        f": {name} has no heading, as its first row looks like data; name its target by one of these, or its columns "
        f"by --names {made_up}{' …' if len(columns) > 8 else ''}"
    )


def _counting(columns: Columns, encoding: Encoding) -> list[str]:
    # Where rows are sorted by the target, their number tells it, and no new row will be so numbered.
    names = [column.name for column in encoding.columns if columns[column.name].dtype != object]
    return [
        f"{name} counts the rows: leave it out by --leave-out, unless their order means something"
        for name in names
        if len(columns[name]) > 2 and (np.diff(columns[name]) == 1).all()
    ]
