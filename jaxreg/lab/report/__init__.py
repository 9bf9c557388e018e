"""Reports of results, as one HTML page or as Markdown. The package can be called: it is its function `report`."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from jaxreg._lazy import attach

__all__, __getattr__, __dir__ = attach(__name__)


class _Callable(ModuleType):
    """A package that is called as its function: `jaxreg.lab.report(found)`."""

    def __call__(self, *arguments: Any, **options: Any) -> Path:
        """Write a report, as `jaxreg.lab.report.report` does."""
        written: Path = self.report(*arguments, **options)
        return written


sys.modules[__name__].__class__ = _Callable
