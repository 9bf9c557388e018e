"""Progress of a running sweep: finished runs, speed, time left, diverged runs, and runs read from the store."""

import logging
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

log = logging.getLogger("jaxreg.sweep")
_READ = "%d of %d runs%s were read from the store, not computed"


def count_diverged(arrays: Mapping[str, np.ndarray]) -> int:
    """Count the runs that diverged.

    A run has diverged if its output `diverged_at` is 0 or more. Without this output, a run has diverged if any of its
    outputs is NaN or infinite.

    Args:
        arrays: Outputs, with runs along the first axis.

    Example:
        >>> count_diverged({"loss": np.array([0.1, np.nan, 0.2])})
        1
    """
    if "diverged_at" in arrays:
        return int(_any_in_lane(arrays["diverged_at"] >= 0).sum())
    flags = [_any_in_lane(~np.isfinite(array)) for array in arrays.values() if array.dtype.kind in "fc"]
    return int(np.any(flags, axis=0).sum()) if flags else 0


def _any_in_lane(flags: np.ndarray) -> np.ndarray:
    return np.asarray(flags.any(axis=tuple(range(1, flags.ndim))))


def _of(label: str) -> str:
    return f" of {label}" if label else ""


class _Rate(ProgressColumn):
    """Runs per second. Only computed when the bar is displayed, because Rich averages up to 1,000 recent chunks."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0.0:.3g} runs/s")


class Progress:
    """Progress bar on standard error, which also writes one line per chunk to the log.

    If runs were read from the store instead of computed, a sentence below the bar and in the log tells how many.

    Args:
        total: Total number of runs.
        done: Number of runs that are already finished.
        show: Whether to show the bar. None shows it in a terminal or a notebook.
        label: Name of the program that computes the runs, such as "optimizer=adam"; empty if there is only one program.
    """

    def __init__(self, total: int, done: int, show: bool | None, label: str = "") -> None:
        self._of = _of(label)
        self._lanes, self._total, self._read = done, total, done
        self._diverged = 0
        console = Console(stderr=True)
        visible = (console.is_terminal or console.is_jupyter) if show is None else show
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[diverged]} diverged{task.fields[read]}"),
            console=console,
            disable=not visible,
        )
        self._task = self._bar.add_task(
            f"runs{self._of}", total=self._total, completed=done, diverged=0, read=self._told()
        )

    def __enter__(self) -> Self:
        if not self._bar.disable:
            self._bar.start()
        return self

    def __exit__(self, error: type[BaseException] | None, *_: Any) -> None:
        if not self._bar.disable:  # an older Rich leaves an empty line for one that is not shown
            self._bar.stop()
        if self._read and error is None:
            log.info(_READ, self._read, self._total, self._of)
            if not self._bar.disable:
                self._bar.console.print(_READ % (self._read, self._total, self._of), highlight=False)

    def _told(self) -> str:
        return f", {self._read} read" if self._read else ""

    def skip(self, lanes: int) -> None:
        """Add to the finished runs those that were read from the store. `lanes` is their number."""
        self._lanes += lanes
        self._read += lanes
        self._bar.update(self._task, advance=lanes, read=self._told())

    def advance(self, number: int, arrays: Mapping[str, np.ndarray], label: str = "") -> None:
        """Add to the finished runs those of a newly computed chunk. `label` names the program of the chunk."""
        lanes = len(next(iter(arrays.values())))
        self._lanes += lanes
        self._diverged += count_diverged(arrays)
        self._bar.update(self._task, advance=lanes, diverged=self._diverged)
        counts = lanes, self._lanes, self._total, self._diverged
        log.info("chunk %d%s: %d runs, %d of %d done, %d diverged", number, _of(label), *counts)
