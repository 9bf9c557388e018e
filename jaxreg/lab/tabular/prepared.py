"""`prepare`: read a file as inputs and target. All problems of the file are reported in one error."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxreg.lab.tabular.arguments import argument, called_by, ignoring
from jaxreg.lab.tabular.columns import Columns, find
from jaxreg.lab.tabular.encoding import FEW_ROWS, Encoding, Problem, Target, TaskName, examine, expected_name, target
from jaxreg.lab.tabular.files import opened
from jaxreg.lab.tabular.leaks import leaks
from jaxreg.lab.tabular.order import group_codes, moments, neighbours_alike


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """A table that is ready for a search: encoded inputs, target, and notes for the user.

    Args:
        file: Path of the file.
        name: Name of the target, the column to predict.
        x: Inputs, of shape (rows, inputs).
        target: The target.
        encoding: Encoding of the columns as inputs.
        notes: Notes about the table, for the user.
        groups: Group of each row, as an integer; None without groups. A search keeps the rows of one group in one fold.
        time: Time of each row, as a number; None without times. A search tests each fold with networks that were
            trained on earlier rows only.
        ids: Headings of the columns that are ignored because their cells look like names or ids.
    """

    file: Path
    name: str
    x: np.ndarray
    target: Target
    encoding: Encoding
    notes: tuple[str, ...]
    groups: np.ndarray | None = None
    time: np.ndarray | None = None
    ids: tuple[str, ...] = ()


class TableError(ValueError):
    """Error for a table that cannot be used. The message lists every problem found.

    Args:
        sentences: One sentence per problem.
        leave_out: Names of the columns that cause problems. If the table is read again without these columns, their
            problems disappear.
    """

    def __init__(self, sentences: Sequence[str], leave_out: Sequence[str]):
        several = f"{len(sentences)} problems were found:" + "".join(f"\n- {sentence}" for sentence in sentences)
        super().__init__(several if len(sentences) > 1 else sentences[0])
        self.leave_out = tuple(leave_out)


@called_by("prepare")
def prepare(
    file: Path | str,
    name: str,
    task: TaskName | None = None,
    *,
    leave_out: Sequence[str] = (),
    names: Sequence[str] = (),
    groups: str | None = None,
    time: str | None = None,
) -> Prepared:
    """Read a table from a file, and encode its columns as inputs and a target.

    Args:
        file: Path of the table.
        name: Name of the target, the column to predict.
        task: Type of the target; None infers it from the target.
        leave_out: Names of columns that are not used as inputs.
        names: Column names, for a file without a header row.
        groups: Name of a column that has the same value in rows that belong together, such as the rows of one person.
            A search keeps these rows in one fold. The column is not an input.
        time: Name of a column with the time of each row. A search then trains on earlier rows and tests on later rows.
            The column is not an input.

    Returns:
        A `Prepared`.

    Raises:
        FileNotFoundError: If the file does not exist.
        TableError: If the table cannot be used. The error lists all problems.
        ValueError: If the file is not a table.
    """
    file = Path(file)
    columns = opened(file, without=leave_out, names=names)
    return prepare_columns(columns, file, name, task, leave_out=leave_out, groups=groups, time=time)


@called_by("prepare")
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
    """Encode the columns of a table that is already in memory. For a file, use `prepare`.

    Args:
        columns: Columns of the table. The function deletes the columns in `leave_out`, `groups` and `time` from this
            dict.
        file: `Path` that names the table in error messages, such as `Path("my table")`. The file need not exist. The
            result has this path as its field `file`.
        name: Name of the target, the column to predict.
        task: Type of the target; None infers it from the target.
        leave_out: Names of columns that are not used as inputs.
        groups: Name of a column that has the same value in rows that belong together. A search keeps these rows in one
            fold. The column is not an input.
        time: Name of a column with the time of each row. A search then trains on earlier rows and tests on later rows.
            The column is not an input.

    Returns:
        A `Prepared`.

    Raises:
        TableError: If the table cannot be used. The error lists all problems.
    """
    problems = [Problem(sentence) for sentence in columns.problems]
    for given in leave_out:
        if (known := find(columns, given)) is None:
            problems.append(Problem(f"{argument('leave_out')} names {given!r}; {expected_name(given, list(columns))}"))
        elif known == find(columns, name):
            problems.append(Problem(f"{argument('leave_out')} names the target, {known!r}; expected other columns"))
        else:
            del columns[known]
    known = find(columns, name)
    taken = {}
    for kind, asked in (("groups", groups), ("time", time)):
        if asked is None:
            continue
        if (place := find(columns, asked)) is None:
            problems.append(Problem(f"{argument(kind)} names {asked!r}; {expected_name(asked, list(columns))}"))
        elif place == known:
            problems.append(Problem(f"{argument(kind)} names the target, {known!r}; expected another column"))
        else:
            taken[kind] = place, columns.pop(place)
    wanted = None
    try:
        wanted = target(columns, known or name, task)
        if len(wanted.rows) < FEW_ROWS:
            problems.append(
                Problem(f"{len(wanted.rows)} rows of {file.name} have a target; expected at least {FEW_ROWS}")
            )
    except ValueError as error:
        problems.append(Problem(_with_way_out(str(error), columns, known, file.name)))
    learnt = examine(columns, known or name)
    problems += learnt.problems
    codes = moment = None
    try:
        codes = group_codes(*taken["groups"]) if "groups" in taken else None
        moment = moments(*taken["time"], columns.decimal) if "time" in taken else None
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
        f"{column} alone determines {known} in all {len(x)} rows. If {column} is only known after {known}, "
        f"{ignoring('it')}"
        for column in leaks(columns, learnt.encoding, wanted)
    ]
    codes, moment = (None if each is None else each[wanted.rows] for each in (codes, moment))
    if codes is None and moment is None:
        notes += _depending(neighbours_alike(x, wanted.y, classes=bool(wanted.classes)))
    return Prepared(file, known, x, wanted, learnt.encoding, tuple(notes), codes, moment, tuple(learnt.ids))


def _depending(share: float | None) -> list[str]:
    if share is None:
        return []
    return [
        f"neighbouring rows are alike: their distance is {share:.2f} times the distance of random rows. If such rows "
        "belong together, such as rows of one person or one day, name the column of persons or days with "
        f"{argument('groups')} or {argument('time')}. Otherwise the estimated score is too high"
    ]


def _with_way_out(problem: str, columns: Columns, known: str | None, name: str) -> str:
    if known is not None or columns.headed:
        return problem
    return (
        f"{problem}{'' if problem.endswith('?') else '.'} {name} has no header row: its first row looks like data. So "
        "its columns are called c1, c2 and so on. Use one of these names for the target, or name the columns with "
        f"{argument('names', *columns)}"
    )


def _counting(columns: Columns, encoding: Encoding) -> list[str]:
    # If rows are sorted by the target, their numbers predict it, but the numbers of new rows will not.
    names = [column.name for column in encoding.columns if columns[column.name].dtype != object]
    return [
        f"{name} numbers the rows. {ignoring('it').capitalize()}, unless the order of the rows matters"
        for name in names
        if len(columns[name]) > 2 and (np.diff(columns[name]) == 1).all()
    ]
