"""Pause Python's garbage collector during work that makes many objects, nearly all of which stay.

The collector looks at all objects again and again while their number grows. That is a third of the time of importing
the laboratory.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Pause Python's garbage collector, unless it is off already."""
    if not gc.isenabled():
        yield
        return
    try:
        gc.disable()
        yield
    finally:
        gc.enable()
