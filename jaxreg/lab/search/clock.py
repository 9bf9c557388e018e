"""Clock of a search with a time budget: decides whether to use a shorter plan and how often to repeat."""

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

Plan = Any
"""Type `jaxreg.lab.search.plan.Plan`. It is not imported here, because its module needs this module."""

FINISH = 2.0
"""Seconds from the last training run to the end of the process, on an idle machine."""

GRACE = 0.05
"""Share of the budget by which a repeat may end late. The time of a repeat cannot be predicted more precisely."""

LATE = 0.25
"""Share of the budget by which a search may end late if no shorter plan fits. A search that is later is refused."""

SPARE = 1.2
"""Factor by which the budget that an error message advises exceeds the estimated time of the search."""

MOST_REPEATS = 100


def seconds(given: str | float | None) -> float | None:
    """Convert a duration such as "60s", "2m" or "1h" to seconds. Numbers are seconds already, and None stays None.

    Args:
        given: Duration as text or as a number, or None.

    Raises:
        ValueError: If `given` is not a duration.

    Example:
        >>> seconds("2m"), seconds(90)
        (120.0, 90.0)
    """
    if given is None:
        return None
    is_number = isinstance(given, Real) and not isinstance(given, bool) and math.isfinite(given)
    words = given if isinstance(given, str) else f"{float(given):f}" if is_number else ""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", words.strip())
    if found is None or float(found[1]) <= 0:
        raise ValueError(f"the budget is {given!r}; expected a number of seconds, or a duration such as 60s, 5m or 1h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


class TooShortError(ValueError):
    """Error for a time budget that is too short for one repeat of the cross-validation.

    Args:
        message: Description for the user.
        plan: Shorter plan to use instead, or None.
    """

    def __init__(self, message: str, plan: Plan | None = None) -> None:
        super().__init__(message)
        self.plan = plan


class TimeUpError(Exception):
    """Error raised inside a running repeat of the cross-validation when the time budget is used up."""


class Clock:
    """Clock of a search with a time budget. It decides whether there is time to repeat the cross-validation.

    Args:
        budget: Seconds that the search may take.
        start: Time at which the search started, in seconds.
        now: Function that returns the current time in seconds.
        slowness: Time that this machine needs, as a multiple of the time of an idle machine.
        ladder: Shorter plans, the longest first. If the plan of the search does not fit, one of them replaces it.
        shortened: Function that removes the training runs of the replaced plan. It is called with the shorter plan,
            before the training runs of the shorter plan start.
        finished: For a stored search that is finished and had at least this budget, its number of repeats. All of these
            repeats are read. None for a new search.
        option: Argument that sets the budget, as error messages write it; `{}` stands for the number of seconds.

    Attributes:
        shorter: Pairs of a shorter plan and its training time, the longest plan first. The training time is a share of
            the training time of the current plan.
        repeat: Seconds that one repeat of the cross-validation takes.

    Example:
        >>> seconds = [0.0]
        >>> clock = Clock(20, 0, lambda: seconds[0])
        >>> watch = clock.watch(chunks=4, at_once=1)
        >>> seconds[0] = 3.0
        >>> watch.begin()
        >>> seconds[0] = 4.0
        >>> watch({}, {})
        >>> clock.repeat, clock.fits()
        (4.0, True)
    """

    def __init__(
        self,
        budget: float,
        start: float,
        now: Callable[[], float] = time.perf_counter,
        slowness: float = 1.0,
        ladder: Sequence[Plan] = (),
        shortened: Callable[[Plan], None] = lambda plan: None,
        finished: int | None = None,
        option: str = "--budget {}s",
    ) -> None:
        self.budget = budget
        self.option = option
        self.finished = finished
        self.ladder, self.shortened = ladder, shortened
        self.shorter: Sequence[tuple[Plan, float]] = ()
        self._start = start
        self._now = now
        self.repeat = 0.0
        self.finish = FINISH * slowness
        self._begun: float | None = None

    def left(self) -> float:
        """Return the seconds left for training. Time for the work after training is already subtracted."""
        return self.budget - self.finish - (self._now() - self._start)

    def fits(self) -> bool:
        """Return whether there is time for one more repeat of the cross-validation."""
        return self.repeat <= self.left() + GRACE * self.budget

    def goes_on(self, repeats: int) -> bool:
        """Return whether another repeat of the cross-validation follows.

        A finished search has a fixed number of stored repeats. A new search is repeated as long as there is time.

        Args:
            repeats: Number of repeats so far.
        """
        if self.finished is not None:
            return repeats < self.finished
        return repeats < MOST_REPEATS and self.fits()

    @property
    def first(self) -> bool:
        """Whether the first repeat of the cross-validation is still running."""
        return self._begun is None

    def begin(self) -> None:
        """Record the start of an additional repeat of the cross-validation."""
        self._begun = self._now()

    def end(self) -> None:
        """Record the end of an additional repeat of the cross-validation, and how long the repeat took."""
        assert self._begun is not None
        self.repeat = self._now() - self._begun

    def watch(self, chunks: int, at_once: int, stored: int = 0) -> "Watch":
        """Return a callback that measures a compiled program. It must be called after each chunk of training runs.

        Args:
            chunks: Number of chunks of the program.
            at_once: Number of chunks that run at the same time.
            stored: Number of chunks that are finished already.
        """
        return Watch(self, chunks, at_once, stored, self._now())

    def late(self) -> bool:
        """Return whether the current repeat of the cross-validation exceeds the budget; always False for the first."""
        return not self.first and self.left() < -GRACE * self.budget

    def check(self, needed: float, training: float, compilation: float, *, extra: bool) -> None:
        """Raise `TooShortError` if the first repeat will exceed the budget and stopping it saves enough time.

        Args:
            needed: Estimated seconds from the start of the search to its end.
            training: Estimated seconds for all training runs of the program in the first repeat.
            compilation: Seconds that the compilation of the program took.
            extra: Whether the program trains the second network, which the search can omit.
        """
        elapsed = self._now() - self._start
        if needed <= 1.1 * self.budget:
            return
        if extra:
            raise TooShortError("the budget is too short to train a second network")
        # The cores still finish the chunks and the compilation of the plan that is given up, so count twice the time.
        ends = [(plan, elapsed + 2 * compilation + share * training + self.finish) for plan, share in self.shorter]
        plan = next((plan for plan, end in ends if end <= (1 + GRACE) * self.budget), None)
        least = min([needed, *(end for _, end in ends)])
        if plan is None and (elapsed > self.budget or least <= (1 + LATE) * self.budget):
            # Too late to refuse, or not worth it. The shortest plan limits the delay.
            if not ends or ends[-1][1] > needed / SPARE:
                return
            plan = ends[-1][0]
        raise TooShortError(
            f"the budget of {self.budget:g} s is too short: a search with one repeat takes about {least:.0f} s on this "
            f"machine, and a budget needs a margin of {100 * (SPARE - 1):.0f} %. Use "
            f"{self.option.format(math.ceil(SPARE * least))}",
            plan,
        )


class Watch:
    """Callback that reports each finished chunk of training runs to a `Clock`.

    In the first repeat, the callback adds the estimated time of all chunks to `Clock.repeat`, and calls `Clock.check`.
    In later repeats, the callback raises `TimeUpError` when the time is up.

    Args:
        clock: The clock.
        chunks: Number of chunks.
        at_once: Number of chunks that run at the same time.
        stored: Number of chunks that are finished already.
        prepared: Time at which the compilation began, in seconds.
    """

    def __init__(self, clock: Clock, chunks: int, at_once: int, stored: int, prepared: float) -> None:
        self._clock, self._chunks, self._at_once, self._stored = clock, chunks, at_once, stored
        self._before, self._done = clock.repeat, 0
        self._prepared = self._begun = prepared

    @property
    def pending(self) -> int:
        """Number of chunks that are not finished yet."""
        return self._chunks - self._stored - self._done

    def begin(self) -> None:
        """Record that the program has been compiled, and that its first chunk starts."""
        self._begun = self._clock._now()
        self._before = self._clock.repeat

    def __call__(self, points: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
        """Measure the time of a finished chunk.

        Args:
            points: Settings of the runs in the chunk; not used.
            arrays: Results of the chunk; not used.
        """
        clock = self._clock
        if not clock.first:
            if clock.late():
                raise TimeUpError
            return
        self._done += 1
        now = clock._now()
        # Chunks that run at the same time end at nearly the same time.
        finished = math.ceil(self._done / self._at_once)
        round_ = (now - self._begun) / finished
        training = round_ * math.ceil(self._chunks / self._at_once)
        clock.repeat = self._before + training
        if self.pending:
            left = math.ceil((self._chunks - self._stored) / self._at_once) - finished
            needed = now - clock._start + left * round_ + clock.finish
            clock.check(needed, training, self._begun - self._prepared, extra=self._before > 0)
