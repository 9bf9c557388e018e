"""Clock of a search with a time budget: measures the time per chunk of trainings and decides on further repeats."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

FINISH = 1.5
"""Seconds for the choice, the model and the report at the end of a search, on an idle machine."""

MOST_REPEATS = 100


class TooShortError(ValueError):
    """Error for a time budget that is too short for one repeat of the cross-validation."""


class Clock:
    """Clock of a search with a time budget.

    Args:
        budget: Seconds that the search may take.
        start: Time at which the search started, in seconds.
        now: Function that returns the current time in seconds.

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
        """Seconds to reserve for the work after the last training."""
        return FINISH + 0.02 * self.budget

    def fits(self) -> bool:
        """Return whether there is time for one more repeat."""
        return self._now() - self._start + self.repeat + self.finish <= self.budget

    def watch(self, chunks: int, at_once: int) -> Callable[[Mapping[str, Any], Mapping[str, Any]], None]:
        """Return a callback that measures the first repeat; call it after each chunk of one compiled program.

        The callback raises `TooShortError` if the first repeat will not end within the budget. It also adds the
        estimated time of all chunks of its program to the attribute `repeat`.

        Args:
            chunks: Number of chunks of the program.
            at_once: Number of chunks that run at the same time.
        """
        before, done, first = self.repeat, 0, math.nan

        def told(points: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
            nonlocal done, first
            now, done = self._now(), done + 1
            if done == 1:
                first = now
                return
            # The time of the first chunk includes the compilation, so it does not count.
            each = (now - first) / (done - 1)
            self.repeat = before + chunks * each
            needed = now - self._start + (chunks - done) * each + self.finish
            if done > 2 * at_once and needed > 1.1 * self.budget:
                raise TooShortError(
                    f"the budget of {self.budget:g} s is too short: a search with one repeat takes about "
                    f"{needed:.0f} s on this machine. Use --budget {math.ceil(1.2 * needed)}s, or fewer --epochs"
                )

        return told
