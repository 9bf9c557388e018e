"""Handling of Ctrl-C as a request to stop, so that it does not interrupt the writing of a file."""

import logging
import signal
import threading
from types import FrameType
from typing import Any, Self

log = logging.getLogger("jaxreg.sweep")


class Interrupt:
    """Context manager in which the first Ctrl-C only sets `requested`, and a second Ctrl-C interrupts as usual.

    Outside of the main thread, the context has no effect, because Python handles signals only in the main thread.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: Any = None

    def __enter__(self) -> Self:
        ours = threading.current_thread() is threading.main_thread()
        if ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._previous = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: Any) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        log.warning("stopping after the chunks that are being computed; press Ctrl-C again to stop now and lose them")
