"""Clock of a search with a time budget: measures the time per chunk of trainings and decides on further repeats."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

FINISH = 2.0
"""Seconds for the choice, the model, the report and the end of the process, on an idle machine."""

GRACE = 0.05
"""Share of the budget by which a repeat may end late, because its time is not known better in advance."""

MOST_REPEATS = 100


class TooShortError(ValueError):
    """Error for a time budget that is too short for one repeat of the cross-validation."""


class TimeUpError(Exception):
    """The end of a budget in the middle of a repeat."""


class Clock:
    """Clock of a search with a time budget.

    Args:
        budget: Seconds that the search may take.
        start: Time at which the search started, in seconds.
        now: Function that returns the current time in seconds.
        slowness: Time that this machine needs, as a multiple of the time of an idle one.

    Example:
        >>> times = iter([3.0, 4.0, 5.0, 6.0])
        >>> clock = Clock(20, 0, lambda: next(times))
        >>> watch = clock.watch(chunks=4, at_once=1)
        >>> [watch({}, {}) for _ in range(3)], clock.repeat
        ([None, None, None], 4.0)
        >>> clock.fits()
        True
    """

    def __init__(
        self, budget: float, start: float, now: Callable[[], float] = time.perf_counter, slowness: float = 1.0
    ) -> None:
        self.budget = budget
        self._start = start
        self._now = now
        self.repeat = 0.0
        self.finish = FINISH * slowness
        self._begun: float | None = None

    def left(self) -> float:
        """Return the seconds until the work after the last training has to start."""
        return self.budget - self.finish - (self._now() - self._start)

    def fits(self) -> bool:
        """Return whether there is time for one more repeat."""
        return self.repeat <= self.left() + GRACE * self.budget

    @property
    def first(self) -> bool:
        """Whether no repeat after the first has begun."""
        return self._begun is None

    def begin(self) -> None:
        """Begin a repeat after the first."""
        self._begun = self._now()

    def end(self) -> None:
        """End this repeat; the next one will take as long."""
        assert self._begun is not None
        self.repeat = self._now() - self._begun

    def watch(self, chunks: int, at_once: int) -> Callable[[Mapping[str, Any], Mapping[str, Any]], None]:
        """Return a callback; call it after each chunk of one compiled program.

        In the first repeat, it raises `TooShortError` if the repeat will not end within the budget, and adds the
        estimated time of all chunks of its program to the attribute `repeat`. In later repeats, it raises `TimeUpError`
        when the time is up.

        Args:
            chunks: Number of chunks of the program.
            at_once: Number of chunks that run at the same time.
        """
        if not self.first:
            return self._stop

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

    def _stop(self, points: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
        if self.left() < -GRACE * self.budget:
            raise TimeUpError
