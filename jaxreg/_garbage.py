"""Work that makes many objects which stay, without Python's searches for garbage among them.

Python looks for garbage whenever the number of objects has grown. Importing and tracing make hundreds of thousands of
objects, nearly all of which stay: half of the time of some imports went into looking at them again and again.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Pause Python's search for cycles of unused objects, unless it is off already."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
