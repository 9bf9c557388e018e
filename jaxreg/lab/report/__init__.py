"""Reports of results, as one HTML page or as Markdown. Call the package itself: `jaxreg.lab.report(results)`."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from jaxreg._lazy import attach

__all__, __getattr__, __dir__ = attach(__name__)


class _Callable(ModuleType):
    """A package that can be called like its function: `jaxreg.lab.report(results)`."""

    def __call__(self, *arguments: Any, **options: Any) -> Path:
        """Write a report; the same as `jaxreg.lab.report.report`."""
        written: Path = self.report(*arguments, **options)
        return written


sys.modules[__name__].__class__ = _Callable
