"""Numbers that know where they are from: every one carries the call that computes it again from what is stored."""

import dataclasses
from collections.abc import Callable
from typing import Any

MISSING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"


@dataclasses.dataclass(frozen=True)
class Number:
    """A number as it is shown.

    Args:
        value: The number in full.
        text: As it is shown.
        call: Python that gives `value`, with the functions of `jaxreg.lab.figures` and the source by name.
    """

    value: float
    text: str
    call: str

    def __str__(self) -> str:
        return self.text


@dataclasses.dataclass(frozen=True)
class Result:
    """What a call gave.

    Args:
        value: A number, a record of numbers, or anything that a sentence depends on.
        call: The call.
    """

    value: Any
    call: str

    def number(self, field: str = "", form: str = ".3f", times: float = 1) -> Number:
        """One of its numbers.

        Args:
            field: Its attribute; the result itself if empty.
            form: How to show it, as `format` takes it; a missing number is shown as a dash.
            times: What to multiply it with first, such as 100 for per cent.
        """
        value = times * (getattr(self.value, field) if field else self.value)
        call = self.call + (f".{field}" if field else "")
        text = format(value, form).replace("-", MINUS) if value == value else MISSING
        return Number(value, text, f"{times} * {call}" if times != 1 else call)


class Source:
    """Something read back from disk, by the name under which the calls speak of it.

    Args:
        name: A Python expression, such as `"weight_regularization.fresh"`.
        data: What it stands for.

    Example:
        >>> source = Source("study.fresh", {"draws": 64})
        >>> source.find(len).number(form="d")
        Number(value=1, text='1', call='len(study.fresh)')
    """

    def __init__(self, name: str, data: Any) -> None:
        self.name = name
        self.data = data
        self._found: dict[str, Result] = {}
        self._parts: dict[str, Source] = {}

    def find(self, function: Callable[..., Any], *arguments: "str | Source") -> Result:
        """Call a function on the data, once.

        Args:
            function: Of the data and the arguments.
            arguments: What else it takes: words, or sources for their data.
        """
        words = [argument.name if isinstance(argument, Source) else repr(argument) for argument in arguments]
        call = f"{function.__name__}({', '.join([self.name, *words])})"
        if call not in self._found:
            data = [argument.data if isinstance(argument, Source) else argument for argument in arguments]
            self._found[call] = Result(function(self.data, *data), call)
        return self._found[call]

    def at(self, attribute: str) -> "Source":
        """An attribute of the data as a source of its own, the same one each time."""
        if attribute not in self._parts:
            self._parts[attribute] = Source(f"{self.name}.{attribute}", getattr(self.data, attribute))
        return self._parts[attribute]
