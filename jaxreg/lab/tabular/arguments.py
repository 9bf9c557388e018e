"""Names of arguments in messages about a table, as in the command or function that the user called."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

Called = Literal["jaxreg search", "jaxreg predict", "prepare", "read", "search", "estimator", ""]
"""What the user called: a command, a function on tables, the `fit` of an estimator, or something else."""

_MOST = 8
_called: ContextVar[Called] = ContextVar("called", default="")


@contextmanager
def called_by(what: Called) -> Iterator[None]:
    """Write arguments in messages as in the command or function `what`, in a `with` block or a decorated function.

    If blocks are nested, the outermost one counts. For example, the command `jaxreg search` calls the function
    `prepare`, but messages contain the arguments of the command, because the user typed the command.

    Args:
        what: What the user called.

    Example:
        >>> with called_by("jaxreg search"), called_by("prepare"):
        ...     ignoring("it")
        'ignore it with --leave-out'
    """
    token = _called.set(_called.get() or what)
    try:
        yield
    finally:
        _called.reset(token)


def argument(name: str, *values: str) -> str:
    """Return an argument as the user writes it, such as `--groups` for a command. At most eight values are shown.

    Args:
        name: Name of the argument in Python.
        values: Values of a list.

    Example:
        >>> argument("names", "age", "town")
        "names=['age', 'town']"
    """
    more = ["…"] if len(values) > _MOST else []
    if _called.get().startswith("jaxreg"):
        return " ".join([f"--{name.replace('_', '-')}", *values[:_MOST], *more])
    return f"{name}=[{', '.join([*map(repr, values[:_MOST]), *more])}]" if values else f"`{name}`"


def as_numbers() -> str:
    """Return the argument that makes a target a number, such as `--task regression` for `jaxreg search`."""
    return {"jaxreg search": "--task regression", "search": "task=NUMBERS"}.get(_called.get(), "task='regression'")


def ignoring(column: str) -> str:
    """Return advice to ignore a column.

    Args:
        column: Words for the column, such as "it".

    Example:
        >>> with called_by("search"):
        ...     ignoring("it")
        'remove it from the data frame'
    """
    called = _called.get()
    if called == "jaxreg predict":  # the model needs the column
        return f"search again without {column}"
    if called in ("jaxreg search", "prepare", "read"):
        return f"ignore {column} with {argument('without' if called == 'read' else 'leave_out')}"
    return f"remove {column} from the {'data frame' if called else 'table'}"
