"""The clock of a search with a budget: chunks of trainings are timed, and repeats follow while there is time."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

FINISH = 1.5
"""Seconds that the choice, the model and the report take at the end, on a free machine."""

MOST_REPEATS = 100


class TooShortError(ValueError):
    """A budget that one repeat does not fit."""


class Clock:
    """Deadline of a search.

    Args:
        budget: Seconds that the search may take.
        start: When it started.
        now: Function that returns the time.

    Example:
        >>> times = iter([3.0, 4.0, 5.0, 6.0])
        >>> clock = Clock(20, 0, lambda: next(times))
        >>> watch = clock.watch(chunks=4, at_once=1)
        >>> [watch({}, {}) for _ in range(3)], clock.repeat
        ([None, None, None], 4.0)
        >>> clock.fits()
        True
    """

    def __init__(self, budget: float, start: float, now: Callable[[], float] = time.perf_counter) -> None:
        self.budget = budget
        self._start = start
        self._now = now
        self.repeat = 0.0

    @property
    def finish(self) -> float:
        """Seconds to keep for the end of the search."""
        return FINISH + 0.02 * self.budget

    def fits(self) -> bool:
        """Return whether there is time for one more repeat."""
        return self._now() - self._start + self.repeat + self.finish <= self.budget

    def watch(self, chunks: int, at_once: int) -> Callable[[Mapping[str, Any], Mapping[str, Any]], None]:
        """Return a function to call after each chunk of the first repeat, which refuses a budget that is too short.

        What the chunks of several programs take adds up to `repeat`.

        Args:
            chunks: Number of chunks of a program.
            at_once: Number of chunks that run at the same time.

        Raises:
            TooShortError: If the first repeat will not end in time.
        """
        before, done, first = self.repeat, 0, math.nan

        def told(points: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
            nonlocal done, first
            now, done = self._now(), done + 1
            if done == 1:
                first = now
                return
            # The first chunk ends after the compilation, of which the others know nothing.
            each = (now - first) / (done - 1)
            self.repeat = before + chunks * each
            needed = now - self._start + (chunks - done) * each + self.finish
            if done > 2 * at_once and needed > 1.1 * self.budget:
                raise TooShortError(
                    f"the budget of {self.budget:g} s is too short: the first repeat would end after about "
                    f"{needed:.0f} s on this machine. Give --budget {math.ceil(1.2 * needed)}s, or fewer --epochs"
                )

        return told
