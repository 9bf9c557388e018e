"""Numbers of a report, each with the Python expression that computes the number from stored results."""

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxreg.lab.studies.results import BY_NAME, is_study, open_study, open_sweep

MISSING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"


@dataclasses.dataclass(frozen=True)
class QuotedNumber:
    """A displayed number, together with the Python expression that computes it.

    Args:
        value: Exact number.
        text: Number as it is displayed.
        call: Python expression that computes `value`: a call of functions of jaxreg on the stored results.
    """

    value: float
    text: str
    call: str

    def __str__(self) -> str:
        return self.text


def shown(value: float, form: str) -> str:
    """Return a number as text. NaN becomes a dash, and a number that rounds to 0 has no sign.

    Args:
        value: Number.
        form: Format specification, as for `format`.

    Example:
        >>> shown(-0.001, "+.2f"), shown(0.126, "+.2f")
        ('0.00', '+0.13')
    """
    text = MISSING if math.isnan(value) else format(value, form).replace("-", MINUS)
    zero = math.isfinite(value) and not text.strip(f"+{MINUS}0.")
    return text.lstrip(f"+{MINUS}") if zero else text


class Source:
    """A value with the Python expression that computes it.

    Args:
        name: Python expression, such as `"weight_regularization.fresh"`.
        data: Value of the expression.

    Example:
        >>> import xarray as xr
        >>> study = Source("study", xr.Dataset({"loss": ("draw", [0.5, 0.25])}))
        >>> study.find(len).number(form="d")
        QuotedNumber(value=1, text='1', call='len(study)')
        >>> study.at("loss.size").number(form="d")
        QuotedNumber(value=2, text='2', call='study.loss.size')
    """

    def __init__(self, name: str, data: Any) -> None:
        self.name = name
        self.data = data
        self._parts: dict[str, Source] = {}

    def find(self, function: Callable[..., Any], *arguments: "str | Source") -> "Source":
        """Call `function(data, *arguments)`, and return the result with its Python expression. Results are cached.

        Args:
            function: Function whose first argument is `data`.
            arguments: Further arguments of the function: strings or sources. The function gets the value of a source.
        """
        words = [argument.name if isinstance(argument, Source) else repr(argument) for argument in arguments]
        call = f"{function.__name__}({', '.join([self.name, *words])})"
        if call not in self._parts:
            data = [argument.data if isinstance(argument, Source) else argument for argument in arguments]
            self._parts[call] = Source(call, function(self.data, *data))
        return self._parts[call]

    def at(self, path: str) -> "Source":
        """Return the attribute of `data` at `path`, with its Python expression. Results are cached.

        Args:
            path: Name of the attribute, or a dotted path such as `"setting.epochs"`.
        """
        first, _, rest = path.partition(".")
        if first not in self._parts:
            self._parts[first] = Source(f"{self.name}.{first}", getattr(self.data, first))
        return self._parts[first].at(rest) if rest else self._parts[first]

    def number(self, path: str = "", form: str = ".3f", times: float = 1) -> QuotedNumber:
        """Format a number for display. The number is `data` itself, or the attribute of `data` at `path`.

        Args:
            path: Path of the number among the attributes of `data`; empty for `data` itself.
            form: Format specification, as for `format`; NaN is shown as a dash.
            times: Factor that multiplies the number before it is formatted, such as 100 for per cent.
        """
        if path:
            return self.at(path).number("", form, times)
        value = times * self.data
        return QuotedNumber(value, shown(value, form), self.name if times == 1 else f"{times} * {self.name}")


def opened(folders: Sequence[Path], baseline: Any = BY_NAME) -> dict[Path, Source]:
    """Read stored results from several folders. Return each as a `Source` with its own name.

    Args:
        folders: Folders of results. All folders must contain case studies, or all must contain training sweeps.
        baseline: Value of the axis of each sweep that stands for training without a regulariser, as in `by_recipe`.
            Leave out `baseline` for case studies, which have their own baselines.

    Raises:
        ValueError: If a folder does not hold finished results, if case studies and sweeps are mixed, or if a baseline
            is given for case studies.
        FileNotFoundError: If a folder does not exist.
    """
    studies = [is_study(folder) for folder in folders]
    if any(studies) and not all(studies):
        raise ValueError(
            "the folders hold both case studies and training sweeps; expected only one of the two. Write two reports"
        )
    if any(studies) and baseline is not BY_NAME:
        raise ValueError(
            f"`baseline` is {baseline!r}, but {str(folders[0])!r} holds a case study, which has its own baseline. "
            "Leave out `baseline`"
        )
    names = [re.sub(r"\W", "_", folder.resolve().name) for folder in folders]
    names = [name if name.isidentifier() else f"_{name}" for name in names]
    if len(set(names)) < len(names):
        names = [f"{name}_{place}" for place, name in enumerate(names, 1)]
    return {
        folder: Source(name, open_study(folder) if study else open_sweep(folder, baseline))
        for name, folder, study in zip(names, folders, studies, strict=True)
    }
